//! What the jobs of a run did: how many ran, and the sum of their numbers.
//!
//! Each thread counts in a cell of its own, written by plain stores, so that counting costs every job system the same nanosecond or two and no shared line.

use crossbeam_utils::CachePadded;
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::{Duration, Instant};

#[derive(Default)]
struct Counter {
    count: AtomicU64,
    sum: AtomicU64,
}

/// One per thread that ever counted; they live as long as the program.
static COUNTERS: Mutex<Vec<&'static CachePadded<Counter>>> = Mutex::new(Vec::new());

thread_local! {
    static MINE: Cell<Option<&'static CachePadded<Counter>>> = const { Cell::new(None) };
}

/// Counts a job in the calling thread.
#[inline]
pub fn count(job: u64) {
    let mine = MINE.get().unwrap_or_else(open);
    // one writer
    mine.sum.store(mine.sum.load(Relaxed).wrapping_add(job), Relaxed);
    mine.count.store(mine.count.load(Relaxed) + 1, Release);
}

#[cold]
fn open() -> &'static CachePadded<Counter> {
    let counter = Box::leak(Box::default());
    COUNTERS.lock().expect("nobody panics inside").push(counter);
    MINE.set(Some(counter));
    counter
}

/// What all threads together have counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    pub count: u64,
    pub sum: u64,
}

pub fn total() -> Total {
    let counters = COUNTERS.lock().expect("nobody panics inside");
    counters.iter().fold(Total { count: 0, sum: 0 }, |total, counter| Total {
        count: total.count + counter.count.load(Acquire),
        sum: total.sum.wrapping_add(counter.sum.load(Relaxed)),
    })
}

/// Waits until `jobs` more than `before` have been counted, and `done` says so too.
///
/// # Panics
/// When a minute goes by: jobs were lost.
pub fn wait(before: Total, jobs: u64, done: impl Fn() -> bool) {
    let began = Instant::now();
    loop {
        let counted = total().count - before.count;
        if counted >= jobs && done() {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "after a minute {counted} of {jobs} jobs have run");
        std::thread::yield_now();
    }
}

impl Total {
    /// The jobs `0..jobs` ran since `before`, each once.
    pub fn assert_grown(self, before: Total, jobs: u64) {
        assert_eq!(self.count - before.count, jobs, "lost or run twice");
        let sum = (0..jobs).fold(0u64, u64::wrapping_add);
        assert_eq!(self.sum.wrapping_sub(before.sum), sum, "other jobs ran than were published");
    }
}
