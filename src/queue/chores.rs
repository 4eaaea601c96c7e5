//! Work for user code that the timer noticed but must not do itself: it is left to the next worker or consumer that comes by.

use super::Pressure;
use crate::clock::Timestamp;
use crate::job::Job;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One thing to do.
pub enum Chore<T> {
    /// A watermark was crossed: tell the callback.
    Pressure(Pressure),
    /// Dead letters have reached their age, or wait to move on: drop or move them. It is so late at least, also if the clock has stepped back since.
    RetireLetters(Timestamp),
    /// Follow-ups wait for a slot: publish them if there is one.
    Deferred,
    /// A periodic job is due: make and publish it.
    Period(Arc<Period<T>>),
    /// A periodic job was stopped: drop it, and what its closure holds.
    Forget(Arc<Period<T>>),
}

/// A job that is published again and again.
pub struct Period<T> {
    /// Makes the job of one period.
    pub make: Box<dyn Fn() -> Job<T> + Send + Sync>,
    /// From one to the next.
    pub every: Duration,
    /// Publish the periods that were slept through, or only the last.
    pub catch_up: bool,
    /// Set by whoever stops it.
    pub stopped: AtomicBool,
    /// How many publications are due. Added to by the timer, taken by the worker that does the chore.
    pub owed: crate::sync::atomic::AtomicU64,
    /// When the next one is due.
    pub next: Mutex<Timestamp>,
}

/// The list, with a flag that says whether it is worth looking.
#[derive(Debug)]
pub(super) struct Chores<T> {
    /// Raised by whoever adds, cleared by whoever takes, read by workers and consumers.
    waiting: AtomicBool,
    list: Mutex<Vec<Chore<T>>>,
}

impl<T> Chores<T> {
    pub(super) fn new() -> Self {
        Chores { waiting: AtomicBool::new(false), list: Mutex::new(Vec::new()) }
    }

    pub(super) fn add(&self, chore: Chore<T>) {
        let mut list = self.list.lock();
        // a queue that nobody looks at must not pile up what need be done only once
        let once = matches!(chore, Chore::RetireLetters(_) | Chore::Deferred);
        if !once || !list.iter().any(|waiting| std::mem::discriminant(waiting) == std::mem::discriminant(&chore)) {
            list.push(chore);
        }
        // relaxed: the list is guarded by its lock; before a sleep, the bell's fence orders the flag
        self.waiting.store(true, Relaxed);
    }

    /// Takes out those that have to do with periods.
    pub(super) fn take_periods(&self) -> Vec<Chore<T>> {
        let mut list = self.list.lock();
        let (periods, others) =
            std::mem::take(&mut *list).into_iter().partition(|chore| matches!(chore, Chore::Period(_) | Chore::Forget(_)));
        *list = others;
        periods
    }

    /// True when there is something to do; a load, for the hot path.
    #[inline]
    pub(super) fn any(&self) -> bool {
        // relaxed: `take` looks under the lock
        self.waiting.load(Relaxed)
    }

    pub(super) fn take(&self) -> Vec<Chore<T>> {
        let mut list = self.list.lock();
        // relaxed: it only says that taking is worth while. A chore that is added meanwhile raises it again after its push
        self.waiting.store(false, Relaxed);
        std::mem::take(&mut *list)
    }
}

impl<T> fmt::Debug for Chore<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Chore::Pressure(_) => "Pressure",
            Chore::RetireLetters(_) => "RetireLetters",
            Chore::Deferred => "Deferred",
            Chore::Period(_) => "Period",
            Chore::Forget(_) => "Forget",
        })
    }
}

impl<T> fmt::Debug for Period<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Period").field("every", &self.every).field("catch_up", &self.catch_up).finish_non_exhaustive()
    }
}
