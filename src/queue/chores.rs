//! Work for user code that the timer noticed but must not do itself: it is left to the next worker or consumer that comes by.

use super::{Aftermath, Pressure, PressureCallback, Publisher, Queue};
use crate::clock::{Clock, Timestamp};
use crate::job::Payload;
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use crate::sync::{Mutex, late};
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

/// Who hears of the watermarks.
#[derive(Clone)]
pub(super) struct Listener {
    pub(super) callback: PressureCallback,
    /// Whether the current thread is in a handler, which should not wait for the callback.
    pub(super) in_handler: fn() -> bool,
}

/// Crossings of watermarks that have not been told of, in their order. One thread at a time tells.
#[derive(Debug, Default)]
pub(super) struct Signals {
    untold: Mutex<Untold>,
    /// There are some, and nobody is telling. Written under the lock, read by whoever finds the queue full.
    waiting: AtomicBool,
}

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
        let mut untold = self.untold.lock();
        untold.crossings.push_back(crossing);
        if untold.crossings.len() > UNTOLD_MAX {
            untold.crossings.drain(..2);
        }
        // relaxed: `tell` looks under the lock
        self.waiting.store(!untold.telling, Relaxed);
    }

    /// True when there are crossings that nobody is telling of; a load.
    #[inline]
    fn are_waiting(&self) -> bool {
        // relaxed: as above. Who is about to wait has joined the line, whose lock orders it: see `Queue::cross`
        self.waiting.load(Relaxed)
    }

    /// Tells of all of them, unless somebody is at it.
    pub(super) fn tell(&self, mut tell: impl FnMut(Pressure)) {
        {
            let mut untold = self.untold.lock();
            if std::mem::replace(&mut untold.telling, true) {
                return;
            }
            // relaxed: as in `add`
            self.waiting.store(false, Relaxed);
        }
        while let Some(crossing) = self.next() {
            tell(crossing);
        }
    }

    /// The next one, for whoever is telling; if there is none he is no more.
    fn next(&self) -> Option<Pressure> {
        let mut untold = self.untold.lock();
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
    /// How many of them are what jobs left. Written under the list's lock.
    left: AtomicU32,
    list: Mutex<Vec<Chore<T>>>,
}

impl<T> Chores<T> {
    pub(super) fn new() -> Self {
        Chores { waiting: AtomicBool::new(false), left: AtomicU32::new(0), list: Mutex::new(Vec::new()) }
    }

    pub(super) fn add(&self, chore: Chore<T>) {
        let mut list = self.list.lock();
        if matches!(chore, Chore::After(_)) {
            // relaxed: written under the lock
            self.left.store(self.left.load(Relaxed) + 1, Relaxed);
        }
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
        // relaxed: written under the lock
        self.left.store(0, Relaxed);
        *list = others;
        last
    }

    /// How much of it is what jobs left.
    pub(super) fn left(&self) -> u32 {
        // relaxed: who asks has added what there is, or sees less of what others took
        self.left.load(Relaxed)
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
        // relaxed: written under the lock
        self.left.store(0, Relaxed);
        std::mem::take(&mut *list)
    }
}

impl<T> Queue<T> {
    /// Calls `callback` at every watermark crossing, in a worker's or consumer's thread, or in that of a publisher who finds the queue full and is not `in_handler`.
    pub fn on_pressure(&self, callback: PressureCallback, in_handler: fn() -> bool) {
        let before = self.listener.lock().replace(Listener { callback, in_handler });
        // user code, with no lock held
        drop(before);
    }

    /// The timer has seen a crossing: somebody is to tell of it. Where every worker is busy and nobody takes jobs, that is whoever waits for a slot: he is woken for it.
    ///
    /// Nobody misses it. Who joins the line before this wakes it is woken; who joins later sees the crossing, by the line's lock, when he looks before he sleeps.
    pub(super) fn cross(&self, crossing: Pressure) {
        if self.listener.lock().is_none() {
            return;
        }
        self.signals.add(crossing);
        self.add_chore(Chore::Pressure);
        self.credits.wake_waiters();
    }
}

impl<T: Payload> Queue<T> {
    /// Tells of the crossings. User code: not under a lock.
    pub(super) fn tell_crossings(&self) {
        self.signals.tell(|crossing| {
            let listener = self.listener.lock().clone();
            if let Some(listener) = listener {
                self.call_back(|| (listener.callback)(crossing));
            }
        });
    }

    /// For a publisher who finds the queue full: if there are crossings to tell of, it may be that nobody else comes by. Not in a handler, and not under a lock.
    /// True if there were.
    #[inline]
    pub fn tell_if_untold(&self) -> bool {
        let untold = self.signals.are_waiting();
        if untold {
            self.tell_unless_busy();
        }
        untold
    }

    #[cold]
    fn tell_unless_busy(&self) {
        let busy = late::holds_a_lock() || self.listener.lock().as_ref().is_some_and(|listener| (listener.in_handler)());
        if !busy {
            self.tell_crossings();
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
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
        assert!(signals.are_waiting());
        signals.tell(|crossing| {
            if told.is_empty() {
                signals.add(Pressure::Low);
                assert!(!signals.are_waiting(), "they do not wait for somebody");
                signals.tell(|_| panic!("somebody is telling"));
            }
            told.push(crossing);
        });
        assert_eq!(told, [Pressure::High, Pressure::Low]);
    }

    #[test]
    fn what_need_be_done_only_once_is_on_the_list_once_beside_the_others() {
        let chores = Chores::<()>::new();
        for _ in 0..3 {
            chores.add(Chore::Deferred);
            chores.add(Chore::Pressure);
            chores.add(Chore::RetireLetters(Timestamp::ZERO));
            chores.add(Chore::After(Aftermath::Nothing));
        }
        assert_eq!(chores.left(), 3);
        let mut names: Vec<_> = chores.take().iter().map(|chore| format!("{chore:?}")).collect();
        names.sort();
        assert_eq!(names, ["After", "After", "After", "Deferred", "Pressure", "RetireLetters"]);
        assert!(!chores.any() && chores.left() == 0);
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
