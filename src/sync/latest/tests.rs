//! Single threads, and threads that are stopped. What threads do to each other is modelled in `loom-tests/latest.rs`.

#![allow(clippy::disallowed_methods, reason = "tests start threads and read the clock")]

use super::{Latest, SLOTS};
use crate::sync::chaos::set_hook;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;

#[test]
fn a_replacement_replaces_what_was_seen() {
    let latest = Latest::new([1, 2, 3]);
    let (value, seen) = latest.read();
    assert_eq!(value, [1, 2, 3]);
    assert!(latest.replace(seen, [4, 5, 6]));
    assert_eq!(latest.read().0, [4, 5, 6]);
    assert!(!latest.replace(seen, [7, 8, 9]), "somebody was faster");
    assert_eq!(latest.read().0, [4, 5, 6]);
}

#[test]
fn a_confirmation_outdates_what_was_seen() {
    let latest = Latest::new([1]);
    let (_, old) = latest.read();
    assert!(latest.confirm(old));
    assert!(!latest.confirm(old) && !latest.replace(old, [2]));
    let (value, seen) = latest.read();
    assert_eq!(value, [1]);
    assert!(latest.replace(seen, [2]));
}

#[test]
fn slots_are_used_again() {
    let latest = Latest::new([0; 2]);
    for turn in 1..1000 {
        let ([last, _], seen) = latest.read();
        assert_eq!(last, turn - 1);
        assert!(latest.replace(seen, [turn, turn]));
    }
}

/// A thread for each of `places`, stopped there in the middle of a replacement until `go` is set.
fn stop_at(latest: &Arc<Latest<2>>, places: &[&'static str], go: &Arc<AtomicBool>) -> Vec<thread::JoinHandle<bool>> {
    let stopped = Arc::new(AtomicU64::new(0));
    places
        .iter()
        .map(|&place| {
            let (latest, go, stopped) = (Arc::clone(latest), Arc::clone(go), Arc::clone(&stopped));
            let (before, began) = (stopped.load(SeqCst), Arc::clone(&stopped));
            let thread = thread::spawn(move || {
                set_hook(Some(Box::new(move |at| {
                    if at == place {
                        stopped.fetch_add(1, SeqCst);
                        while !go.load(SeqCst) {
                            thread::yield_now();
                        }
                    }
                })));
                let ([value, _], seen) = latest.read();
                latest.replace(seen, [value + 1, value + 1])
            });
            while began.load(SeqCst) == before {
                thread::yield_now();
            }
            thread
        })
        .collect()
}

#[test]
fn a_thread_stopped_at_any_step_holds_nobody_up_and_undoes_nothing() {
    for (place, wins) in [("latest.taken", false), ("latest.filled", false), ("latest.published", true)] {
        let (latest, go) = (Arc::new(Latest::new([0; 2])), Arc::new(AtomicBool::new(false)));
        let threads = stop_at(&latest, &[place], &go);
        let before = u64::from(wins);
        for turn in before..before + 100 {
            let (value, seen) = latest.read();
            assert_eq!(value, [turn, turn], "beside a thread stopped at {place}");
            assert!(latest.replace(seen, [turn + 1, turn + 1]), "beside a thread stopped at {place}");
        }
        go.store(true, SeqCst);
        for thread in threads {
            assert_eq!(thread.join().unwrap(), wins, "{place}");
        }
        assert_eq!(latest.read().0, [before + 100; 2], "{place}");
    }
}

#[test]
fn without_a_spare_slot_reading_and_confirming_go_on() {
    let (latest, go) = (Arc::new(Latest::new([0; 2])), Arc::new(AtomicBool::new(false)));
    let threads = stop_at(&latest, &["latest.taken"; SLOTS as usize - 1], &go);
    let (value, seen) = latest.read();
    assert_eq!(value, [0, 0]);
    assert!(!latest.replace(seen, [9, 9]));
    assert!(latest.confirm(seen));
    go.store(true, SeqCst);
    for thread in threads {
        assert!(!thread.join().unwrap(), "the confirmation came later");
    }
    let (value, seen) = latest.read();
    assert_eq!(value, [0, 0]);
    assert!(latest.replace(seen, [1, 1]), "the slots are back");
}
