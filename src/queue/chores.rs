//! Work for user code that the timer noticed but must not do itself: it is left to the next worker or consumer that comes by.

use super::{Aftermath, Pressure, Publisher, Queue};
use crate::clock::{Clock, Timestamp};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// One thing to do.
pub enum Chore<T> {
    /// Watermarks were crossed: tell the callback.
    Pressure,
    /// Dead letters have reached their age, or wait to move on: drop or move them. It is so late at least, also if the clock has stepped back since.
    RetireLetters(Timestamp),
    /// Follow-ups wait for a slot: publish them if there is one.
    Deferred,
    /// A period is due: do it.
    Period(Arc<Period<T>>),
    /// What jobs left that the timer has ended.
    After(Aftermath<T>),
    /// A period was stopped: drop it, and what its closure holds.
    Forget(Arc<Period<T>>),
}

/// Crossings of watermarks that have not been told of, in their order. One thread at a time tells.
#[derive(Debug, Default)]
pub(super) struct Signals(Mutex<Untold>);

#[derive(Debug, Default)]
struct Untold {
    crossings: VecDeque<Pressure>,
    /// Somebody is telling, and comes back for what is added.
    telling: bool,
}

/// So many crossings are kept for a queue that nobody does chores of. Ups and downs alternate, so beyond that the oldest up and down go.
const UNTOLD_MAX: usize = 1024;

impl Signals {
    pub(super) fn add(&self, crossing: Pressure) {
        let crossings = &mut self.0.lock().crossings;
        crossings.push_back(crossing);
        if crossings.len() > UNTOLD_MAX {
            crossings.drain(..2);
        }
    }

    /// Tells of all of them, unless somebody is at it.
    pub(super) fn tell(&self, mut tell: impl FnMut(Pressure)) {
        if std::mem::replace(&mut self.0.lock().telling, true) {
            return;
        }
        while let Some(crossing) = self.next() {
            tell(crossing);
        }
    }

    /// The next one, for whoever is telling; if there is none he is no more.
    fn next(&self) -> Option<Pressure> {
        let mut untold = self.0.lock();
        let next = untold.crossings.pop_front();
        untold.telling = next.is_some();
        next
    }
}

/// What is done when a period is due.
pub type Act<T> = Box<dyn Fn(&Queue<T>, &Publisher, &dyn Clock) + Send + Sync>;

/// A period was due then, and it is now that late. How often it was due from then on, and when to ask again. (One that is watched for something may not have been due at all; one that
/// was due very often says so in several answers.) Called by the timer, under locks.
pub type Rhythm = Box<dyn Fn(Timestamp, Timestamp) -> (u64, Timestamp) + Send + Sync>;

/// Something that is done again and again.
pub struct Period<T> {
    /// Done once for each time.
    pub act: Act<T>,
    /// When.
    pub rhythm: Rhythm,
    /// Make up for the times that were slept through, or only for the last.
    pub catch_up: bool,
    /// Set by whoever stops it.
    pub stopped: AtomicBool,
    /// How many times are due. Added to by the timer, taken by the worker that does the chore.
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
        let once = matches!(chore, Chore::RetireLetters(_) | Chore::Deferred | Chore::Pressure);
        if !once || !list.iter().any(|waiting| std::mem::discriminant(waiting) == std::mem::discriminant(&chore)) {
            list.push(chore);
        }
        // relaxed: the list is guarded by its lock; before a sleep, the bell's fence orders the flag
        self.waiting.store(true, Relaxed);
    }

    /// Takes out those that have to do with periods, and what jobs left.
    pub(super) fn take_last(&self) -> Vec<Chore<T>> {
        let mut list = self.list.lock();
        let (last, others) = std::mem::take(&mut *list)
            .into_iter()
            .partition(|chore| matches!(chore, Chore::Period(_) | Chore::Forget(_) | Chore::After(_)));
        *list = others;
        last
    }

    /// How many payloads are among what jobs left.
    #[cfg(feature = "test-util")]
    pub(super) fn left_to_drop(&self) -> usize {
        let has_payload =
            |chore: &&Chore<T>| matches!(chore, Chore::After(Aftermath::Garbage(_) | Aftermath::Evicted(_) | Aftermath::Callback(..)));
        self.list.lock().iter().filter(has_payload).count()
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
            Chore::Pressure => "Pressure",
            Chore::RetireLetters(_) => "RetireLetters",
            Chore::Deferred => "Deferred",
            Chore::Period(_) => "Period",
            Chore::After(_) => "After",
            Chore::Forget(_) => "Forget",
        })
    }
}

impl<T> fmt::Debug for Period<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Period").field("next", &*self.next.lock()).field("catch_up", &self.catch_up).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn crossings_are_told_in_their_order_by_one_at_a_time() {
        let (signals, mut told) = (Signals::default(), Vec::new());
        signals.tell(|_| panic!("there are none"));
        signals.add(Pressure::High);
        signals.tell(|crossing| {
            if told.is_empty() {
                signals.add(Pressure::Low);
                signals.tell(|_| panic!("somebody is telling"));
            }
            told.push(crossing);
        });
        assert_eq!(told, [Pressure::High, Pressure::Low]);
    }

    #[test]
    fn crossings_that_nobody_tells_of_do_not_pile_up() {
        let (signals, mut told) = (Signals::default(), Vec::new());
        (0..10 * UNTOLD_MAX).for_each(|n| signals.add(if n % 2 == 0 { Pressure::High } else { Pressure::Low }));
        signals.tell(|crossing| told.push(crossing));
        assert!(told.len() <= UNTOLD_MAX);
        assert!(told.chunks(2).all(|two| two == [Pressure::High, Pressure::Low]));
    }
}
