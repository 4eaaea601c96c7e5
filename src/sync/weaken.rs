//! One ordering weakened at a time, and who reaches which: for the command that mutates orderings (`loom-tests/weaken.rs`).
//!
//! Under loom only. The back end asks here, at each operation, with which ordering to go on; the operation is named by the place in the source that called it.
//!
//! | variable | means |
//! |---|---|
//! | `RINGMILL_WEAKEN=src/ring/ring.rs:246:0:Relaxed` | the operation of that file and line has the weaker ordering (argument 0; a CAS has 1 too, the ordering of its failure). `gone`: its fence is not there. More than one are joined by commas |
//! | `RINGMILL_REACH` | set: the places are collected for [`reached`] |

use super::atomic::Ordering;
use std::collections::BTreeSet;
use std::panic::Location;
use std::sync::{LazyLock, Mutex};

/// A weakened operation: file, line, argument, and the ordering it has instead; `None` for a fence that is gone.
type Weak = (String, u32, u8, Option<Ordering>);

static WEAKENED: LazyLock<Vec<Weak>> = LazyLock::new(|| std::env::var("RINGMILL_WEAKEN").map_or(Vec::new(), |said| parse(&said)));
static RECORDS: LazyLock<bool> = LazyLock::new(|| std::env::var_os("RINGMILL_REACH").is_some());
static REACHED: Mutex<BTreeSet<(&str, u32)>> = Mutex::new(BTreeSet::new());

fn parse(said: &str) -> Vec<Weak> {
    said.split(',').map(one).collect()
}

fn one(said: &str) -> Weak {
    let parts: Vec<&str> = said.split(':').collect();
    let [file, line, argument, weaker] = parts[..] else { panic!("RINGMILL_WEAKEN: `{said}` is not file:line:argument:ordering") };
    // relaxed: because whoever runs the models says so
    let ordering = match weaker {
        "gone" => None,
        "Relaxed" => Some(Ordering::Relaxed),
        "Acquire" => Some(Ordering::Acquire),
        "Release" => Some(Ordering::Release),
        other => panic!("RINGMILL_WEAKEN: `{other}` is no weaker ordering"),
    };
    (file.to_owned(), line.parse().expect("a line is a number"), argument.parse().expect("an argument is 0 or 1"), ordering)
}

/// Whether anything is weakened: then a model that fails by itself (a twin) has nothing to say.
pub fn is_weakened() -> bool {
    !WEAKENED.is_empty()
}

/// The places, as file and line, that were reached since the last call.
pub fn reached() -> Vec<(&'static str, u32)> {
    std::mem::take(&mut *REACHED.lock().unwrap()).into_iter().collect()
}

fn here(caller: &'static Location<'static>, argument: u8) -> Option<&'static Weak> {
    if *RECORDS {
        REACHED.lock().unwrap().insert((caller.file(), caller.line()));
    }
    WEAKENED.iter().find(|weak| weak.1 == caller.line() && weak.2 == argument && weak.0 == caller.file())
}

/// The ordering of the caller's operation.
#[track_caller]
pub(super) fn order(said: Ordering, argument: u8) -> Ordering {
    // what is relaxed cannot be weakened
    if said == Ordering::Relaxed {
        return said;
    }
    here(Location::caller(), argument).and_then(|weak| weak.3).unwrap_or(said)
}

/// Whether the caller's fence is there.
#[track_caller]
pub(super) fn fences() -> bool {
    here(Location::caller(), 0).is_none()
}
