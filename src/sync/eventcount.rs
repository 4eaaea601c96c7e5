//! Sleeping without missing work: an eventcount.
//!
//! # The idea
//!
//! A worker that finds nothing to do must sleep, and whoever publishes work must wake one, at next to no cost while nobody sleeps. The work
//! itself lives elsewhere (rings, mailboxes, flags); this is only the doorbell. One word says everything a publisher has to know:
//!
//! ```text
//! 63        56 55                                                    0
//! +-----------+-------------------------------------------------------+
//! | searching |                 sleepers, one bit a seat              |
//! +-----------+-------------------------------------------------------+
//! ```
//!
//! A seat belongs to one worker. Seen from the word it is in one of three states:
//!
//! ```text
//!             try_search                     announce (leaves searching, sets the bit: one RMW)
//!      Busy ---------------> Searching ------------------------------------------------> Asleep
//!       ^  <---------------   ^  ^                                                        |  |
//!       |    found_work,      |  +---- retract: its own re-check found work, or time is up +  |
//!       |   give_up_search    +------- notify_*: a waker clears the bit and counts it --------+
//!       +------------------------- announce without having searched: Busy -> Asleep --------->
//! ```
//!
//! So a seat that leaves `Asleep` is *always* counted as searching, whoever cleared its bit, and leaves `Searching` by exactly one of
//! `announce`, `found_work` and `give_up_search`.
//!
//! # The protocol
//!
//! | publisher | sleeper |
//! |---|---|
//! | 1. publish the work | 1. `announce`: set the own bit |
//! | 2. full fence | 2. full fence |
//! | 3. load the word: sleepers and no searcher? wake one | 3. look at *all* work again: any? `retract` |
//! | | 4. sleep until the bit is clear |
//!
//! **No sleeper is missed.** This is store buffering: each side writes, then reads what the other wrote. Both fences are sequentially
//! consistent, so one comes first in their single order S:
//! - *The publisher's fence comes first.* The publication precedes it, the sleeper's second look follows the sleeper's fence: the look sees the publication (or
//!   that somebody took it), and the sleeper does not sleep.
//! - *The sleeper's fence comes first.* The bit was set before it, the publisher's load follows the publisher's fence: the load sees the bit, or a later value in
//!   which somebody cleared it. Whoever clears a bit has taken over the duty: a waker wakes that seat, the seat itself looks again.
//!
//! **Somebody searching is as good as a wake-up.** A publisher that sees `searching > 0` does nothing. Let X be the RMW that first takes the
//! count it saw to zero. X comes later in the word's modification order than the value the publisher loaded. Had the fence that follows X come before the
//! publisher's fence in S, the load would have seen X. So the publisher's fence comes first, and the look that follows X sees the publication. X is an
//! `announce` (and its second look is mandatory), a `found_work` (and the **last searcher** asks `more()` and wakes the next one) or a
//! `give_up_search` (which wakes the next one without asking). The rule is no optimisation. In a FIFO ring, publisher A may claim place k and stall; B publishes
//! k + 1 and wakes X, who cannot reach it yet and sleeps again; A publishes k and wakes one worker, for two jobs: only that worker's
//! `found_work` wakes the second.
//!
//! A searcher that is *stopped* keeps that promise late. So nobody sleeps on it for ever: a sleeper that sees work and a searcher at two heartbeats in a row gets up by
//! itself ([`sleep_watched`](EventCount::sleep_watched)).
//!
//! **Not everybody may be relied on.** A worker of the library that was woken looks at once. A program's own thread or task may take its time: a future that was
//! woken and is not polled would hold up every job that is published meanwhile. An eventcount [for consumers](EventCount::for_consumers) therefore counts nobody:
//! a seat goes from `Asleep` to `Busy`, every publisher wakes a sleeper of its own for each job, and whoever has been woken and does not look any more, or takes
//! something else, passes the wake-up on if there is work (`found_work`, as every last searcher does).
//!
//! **Only the bit decides.** The park token is a hint: it may be stale (a waker that was slow to unpark), and a handler may have used up or left a
//! token of its own. A sleeper that returns because time is up retracts by the same RMW as everyone else and learns whether a waker was faster.
//!
//! # What callers must keep to
//!
//! - The second look must read the very locations publishers write (the ring's slots, the mailbox, the closing flag), not a cached copy and not a counter that is updated
//!   later; and it must be *all* of them.
//! - Every wake-up goes through the word. A worker that is unparked beside it stays counted as asleep, and the counts never recover.
//! - The number of searchers is bounded by the number of seats; a thread without a seat does not search.
//!
//! # Progress
//!
//! Publishing with nobody asleep: one fence and one load, wait-free. Waking: a CAS loop (lock-free) and then the sleeper's parker, which has a lock.
//!
//! # Who got it wrong
//!
//! | where | what |
//! |---|---|
//! | LMAX Disruptor #119, #246 | elided signal, no fence: one message waited 6 s where the mean is 1 ms |
//! | tokio #1768, #1788 | the idle check was a plain load that raced the park |
//! | tokio #4383 | the last searcher left without waking the next |
//! | tokio #8372 | a worker woken beside the protocol stayed counted as asleep: the counter underflowed, nobody was woken again |
//! | event-listener #138, #139 | two "nobody waits" shortcuts without a fence; found by loom |
//! | brpc #3539, affinitypool #21, oneTBB #2136 | the same store-load pair with relaxed or acquire-release accesses |
//! | hew #2830 | the second look read the shutdown flag and not the work; a 10 ms timeout hid it |
//! | parking_lot #465, #466 | a timeout cleared the parked bit without regard to a waker |
//! | poco #5214 | wake-all at shutdown missed whoever was about to sleep |
//!
//! Each row is a model with a failing twin in `loom-tests/parking.rs`, or a mutation of [`Rules`].

use super::atomic::{AtomicU64, Ordering};
use super::{CachePadded, Mutex, Parker, Unparker, full_fence, full_fence_after_rmw};
use crate::limits::{MODEL, SLEEPERS_MAX};
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// The bits of the sleepers.
const SLEEPERS: u64 = (1 << SLEEPERS_MAX) - 1;
/// One searcher.
const SEARCHER: u64 = 1 << SLEEPERS_MAX;

/// How often a sleeper sees work that nobody rings for, before it believes that a wake-up was lost.
pub const SUSPICIONS: u32 = 8;

const _: () = assert!(SLEEPERS_MAX < 64, "the searching count needs room above the sleepers");
const _: () = assert!(SLEEPERS_MAX < 1 << (64 - SLEEPERS_MAX), "every seat may search at once");

/// Which parts of the protocol are in force. Everything but [`Standard`] is a mutation that a model must catch.
#[doc(hidden)]
pub trait Rules: fmt::Debug {
    /// A publisher fences between its publication and its look at the word.
    const PUBLISHER_FENCE: bool = true;
    /// A sleeper fences between its announcement and its second look.
    const SLEEPER_FENCE: bool = true;
    /// The last searcher fences, looks again and wakes the next one.
    const LAST_SEARCHER: bool = true;
    /// The last searcher fences before it looks again.
    const SEARCHER_FENCE: bool = true;
    /// Edge `park.wake` carries what the waker published.
    const WAKE_EDGE: bool = true;
    /// A sleeper that takes back its announcement respects a waker that was faster.
    const RETRACT_ASKS: bool = true;
    /// A waker counts the seat it woke as searching.
    const WAKER_COUNTS: bool = true;
}

/// The protocol as it is.
#[derive(Debug)]
pub struct Standard;

impl Rules for Standard {}

/// A worker's place in an [`EventCount`]. Not cloneable: its holder is the only one who sleeps there.
#[derive(Debug, PartialEq, Eq)]
pub struct Seat(u8);

impl Seat {
    /// The number of the seat, below [`SLEEPERS_MAX`]: what [`EventCount::notify_seat`] takes.
    #[inline]
    pub fn index(&self) -> usize {
        usize::from(self.0)
    }

    #[inline]
    fn bit(&self) -> u64 {
        1 << self.0
    }
}

/// How an announcement was taken back. Either way the caller is now counted as searching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retracted {
    /// Nobody had noticed it.
    InTime,
    /// A waker had chosen this seat; its unpark is on the way and leaves a stale token.
    AlreadyWoken,
}

/// How a sleep ended. Either way the caller is now counted as searching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// Somebody cleared the bit.
    Signalled,
    /// Time was up: after [`EventCount::sleep`], any reason or none (work that is found now may be only just published); after
    /// [`EventCount::sleep_watched`], a lost wake-up.
    TimedOut,
    /// There was work at two heartbeats in a row, and somebody who searched and did not find it: after [`EventCount::sleep_watched`] only.
    Overdue,
}

/// The doorbell of a group of workers; see the module's essay.
pub struct EventCount<R: Rules = Standard> {
    /// Sleepers and searchers. Written (RMW only) by seats that announce, retract and search and by wakers; read by every publisher. On a line of its own, mostly read.
    word: CachePadded<AtomicU64>,
    /// Which seats are taken. Written (RMW only) by `take_seat` and `free_seat`.
    taken: AtomicU64,
    /// How to wake each seat. Written by the seat's owner when it takes and frees the seat and while it is awake, read by wakers.
    unparkers: Box<[Mutex<Option<Unparker>>]>,
    /// What a seat that was woken adds to the word: [`SEARCHER`], or nothing where those who sleep may take their time.
    woken: u64,
    rules: PhantomData<R>,
}

impl EventCount {
    /// An eventcount with every seat free.
    pub fn new() -> Self {
        Self::with_rules()
    }

    /// An eventcount for sleepers that may take their time after they were woken: nobody is counted as searching, and each job wakes a sleeper of its own.
    pub fn for_consumers() -> Self {
        Self::for_consumers_with_rules()
    }
}

impl Default for EventCount {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Rules> EventCount<R> {
    /// How a seat looks whether its bit was cleared: edge `park.wake`, acquire.
    // relaxed: a model's mutation
    const WOKEN: Ordering = if R::WAKE_EDGE { Ordering::Acquire } else { Ordering::Relaxed };

    /// An eventcount under the rules `R`, for models.
    #[doc(hidden)]
    pub fn with_rules() -> Self {
        // a model has few threads: fewer locks to look after
        let seats = if cfg!(loom) {
            4
        } else if MODEL {
            16
        } else {
            SLEEPERS_MAX
        };
        EventCount {
            word: CachePadded::new(AtomicU64::new(0)),
            taken: AtomicU64::new(0),
            unparkers: (0..seats).map(|_| Mutex::new(None)).collect(),
            woken: SEARCHER,
            rules: PhantomData,
        }
    }

    /// As [`for_consumers`](EventCount::for_consumers), for models.
    #[doc(hidden)]
    pub fn for_consumers_with_rules() -> Self {
        EventCount { woken: 0, ..Self::with_rules() }
    }

    /// Takes the lowest free seat; `None` when all are taken.
    ///
    /// The owner starts out busy: neither asleep nor searching.
    pub fn take_seat(&self, unparker: Unparker) -> Option<Seat> {
        // relaxed: CAS re-checks; the unparker is guarded by its lock
        let mut taken = self.taken.load(Ordering::Relaxed);
        loop {
            let index = taken.trailing_ones();
            if index as usize >= self.unparkers.len() {
                return None;
            }
            // relaxed: as above
            match self.taken.compare_exchange(taken, taken | 1 << index, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    *self.unparkers[index as usize].lock() = Some(unparker);
                    return Some(Seat(index as u8));
                }
                Err(seen) => taken = seen,
            }
        }
    }

    /// From here on wakers wake this. The owner of the seat is awake: what it sets before it announces itself is what a waker finds that sees the
    /// announcement, for the lock orders the two if the announcement does not.
    pub fn wake_by(&self, seat: &Seat, unparker: Unparker) {
        // what a task leaves behind is dropped outside of the lock
        let _old = self.unparkers[seat.index()].lock().replace(unparker);
    }

    /// Gives a seat back. Its owner must be busy: neither asleep nor searching.
    ///
    /// A waker that was slow to unpark may still leave a stale token with the next owner.
    pub fn free_seat(&self, seat: Seat) {
        debug_assert!(!self.is_asleep(&seat), "a seat is given back awake");
        *self.unparkers[seat.index()].lock() = None;
        // relaxed: the unparker is guarded by its lock, and the owner has cleared it
        self.taken.fetch_and(!seat.bit(), Ordering::Relaxed);
    }

    // ---- publishers ----

    /// Work was published: wakes one sleeper, unless somebody searches already.
    #[inline]
    pub fn notify_one(&self) {
        self.notify_many(1);
    }

    /// `jobs` jobs were published: wakes at most so many, less those who search already.
    #[inline]
    pub fn notify_many(&self, jobs: usize) {
        self.publisher_fence();
        self.notify_fenced(jobs);
    }

    /// As [`notify_many`](Self::notify_many), for jobs that were published by an RMW, as a push into a ring is: on x86 nothing else need be fenced.
    #[inline]
    pub fn notify_pushed(&self, jobs: usize) {
        if R::PUBLISHER_FENCE {
            full_fence_after_rmw();
        }
        crate::crash_point!("park.publisher.fenced");
        self.notify_fenced(jobs);
    }

    #[inline]
    fn notify_fenced(&self, jobs: usize) {
        // relaxed: ordered by the fence; a waking CAS re-checks
        let word = self.word.load(Ordering::Relaxed);
        if wanted(word, jobs) > 0 {
            self.wake(word, |word| lowest(word, wanted(word, jobs)));
        }
    }

    /// Something changed for everybody (a flag was set): wakes every sleeper.
    pub fn notify_all(&self) {
        self.publisher_fence();
        // relaxed: ordered by the fence; the CAS re-checks
        let word = self.word.load(Ordering::Relaxed);
        self.wake(word, |word| word & SLEEPERS);
    }

    /// Work was published for one seat: wakes it if it sleeps. False if it is awake (and will look before it sleeps) or free.
    ///
    /// Work that others may take as well, and that the owner is too busy for, wants a [`notify_one`](Self::notify_one) after `false`.
    #[inline]
    pub fn notify_seat(&self, index: usize) -> bool {
        debug_assert!(index < SLEEPERS_MAX);
        self.publisher_fence();
        // relaxed: ordered by the fence; the CAS re-checks
        let word = self.word.load(Ordering::Relaxed);
        let bit = 1 << index;
        word & bit != 0 && self.wake(word, |word| word & bit) != 0
    }

    /// The publisher's half of the store-load pair; its partner is the fence of [`announce`](Self::announce), and that of the last searcher in [`found_work`](Self::found_work).
    ///
    /// If this fence is first: the partner's look at the work, which follows its fence, sees what we published before ours.
    /// If the partner's is first: our load of the word, which follows, sees the partner's RMW (its bit, its absence from the searchers) or a later value.
    #[inline]
    fn publisher_fence(&self) {
        if R::PUBLISHER_FENCE {
            full_fence();
        }
        crate::crash_point!("park.publisher.fenced");
    }

    /// Clears the bits that `choose` names, counts those seats as searching, and unparks them. Returns the bits; zero when `choose` names none.
    #[cold]
    fn wake(&self, mut word: u64, choose: impl Fn(u64) -> u64) -> u64 {
        loop {
            let chosen = choose(word);
            if chosen == 0 {
                return 0;
            }
            let counted = if R::WAKER_COUNTS { u64::from(chosen.count_ones()) * self.woken } else { 0 };
            // edge park.wake, release by the caller's full fence: what the waker published, so that the woken finds it at its first look
            // relaxed failure: re-evaluated, still after that fence
            match self.word.compare_exchange(word, (word & !chosen) + counted, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    crate::crash_point!("park.wake.cleared");
                    self.unpark(chosen);
                    return chosen;
                }
                Err(seen) => word = seen,
            }
        }
    }

    fn unpark(&self, mut seats: u64) {
        while seats != 0 {
            let index = seats.trailing_zeros() as usize;
            seats &= seats - 1;
            // the lock is not held while the system is asked to wake the thread
            let unparker = self.unparkers[index].lock().clone();
            if let Some(unparker) = unparker {
                unparker.unpark();
            }
        }
    }

    // ---- sleepers ----

    /// Begins to search, unless `limit` others do so already. A worker that may not search announces itself at once.
    ///
    /// While somebody searches, publishers wake nobody: a searcher must soon find work, announce itself or give up.
    pub fn try_search(&self, limit: u32) -> bool {
        // relaxed: CAS re-checks; the count orders nothing, leaving it does
        let mut word = self.word.load(Ordering::Relaxed);
        while searching(word) < u64::from(limit) {
            // relaxed: as above
            match self.word.compare_exchange(word, word + SEARCHER, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(seen) => word = seen,
            }
        }
        false
    }

    /// Announces that the owner of `seat` is about to sleep, and no longer searches.
    ///
    /// The caller now looks at all its work once more, and calls either [`retract`](Self::retract) or [`sleep`](Self::sleep).
    #[inline]
    pub fn announce(&self, seat: &Seat, was_searching: bool) {
        let left = if was_searching { SEARCHER } else { 0 };
        // relaxed: ordered by the fence below; one RMW, so that no publisher sees the seat neither searching nor asleep
        let before = self.word.fetch_add(seat.bit().wrapping_sub(left), Ordering::Relaxed);
        debug_assert!(before & seat.bit() == 0, "a seat sleeps once at a time");
        debug_assert!(!was_searching || searching(before) > 0, "only a searcher leaves the search");
        crate::crash_point!("park.announce.announced");
        // The partner is `publisher_fence`.
        // If ours is first: the publisher's load of the word sees our bit, or that somebody cleared it and took over.
        // If the publisher's is first: our second look sees what it published.
        if R::SLEEPER_FENCE {
            full_fence();
        }
    }

    /// Takes back an announcement. The caller is counted as searching, whoever cleared the bit (where anybody is counted).
    pub fn retract(&self, seat: &Seat) -> Retracted {
        if !R::RETRACT_ASKS {
            // the mutation: clear and count, whatever a waker did; relaxed as the sound way is
            self.word.fetch_and(!seat.bit(), Ordering::Relaxed);
            self.word.fetch_add(self.woken, Ordering::Relaxed);
            return Retracted::InTime;
        }
        // edge park.wake, acquire: what the waker published
        let mut word = self.word.load(Self::WOKEN);
        while word & seat.bit() != 0 {
            // relaxed success: the caller found its work by itself
            // edge park.wake, acquire on failure: as above
            match self.word.compare_exchange(word, (word & !seat.bit()) + self.woken, Ordering::Relaxed, Self::WOKEN) {
                Ok(_) => return Retracted::InTime,
                Err(seen) => word = seen,
            }
        }
        Retracted::AlreadyWoken
    }

    /// Sleeps until the bit is cleared, or for about `timeout`. The caller is counted as searching afterwards.
    ///
    /// Stale tokens in `parker` are used up; each may prolong the sleep by one `timeout`.
    pub fn sleep(&self, seat: &Seat, parker: &Parker, timeout: Option<Duration>) -> Woken {
        while self.is_asleep(seat) {
            crate::crash_point!("park.sleep.looked");
            match timeout {
                None => parker.park(),
                Some(timeout) => {
                    let token = parker.park_timeout(timeout);
                    if !token && self.retract(seat) == Retracted::InTime {
                        return Woken::TimedOut;
                    }
                }
            }
        }
        Woken::Signalled
    }

    /// Sleeps until the bit is cleared. The caller is counted as searching afterwards.
    ///
    /// A lost wake-up is healed, and told as [`Woken::TimedOut`]: count it, for it must not happen. At every `heartbeat` the sleeper looks whether there is `work` and nobody
    /// searches. That may be so for a moment, while a publisher stands between its publication and its look at the word, or a last searcher before its `more()`; so the
    /// sleeper looks [`SUSPICIONS`] times more, over a second heartbeat, and lets them ring, before it believes it.
    ///
    /// While somebody searches, nobody is woken. A searcher that is stopped would keep everybody asleep; so who finds work and a searcher at two heartbeats in a row gets up
    /// ([`Woken::Overdue`]).
    pub fn sleep_watched(&self, seat: &Seat, parker: &Parker, heartbeat: Duration, mut work: impl FnMut() -> bool) -> Woken {
        debug_assert!(self.woken != 0, "work that lies about is no sign of a lost wake-up where those who were woken may take their time");
        let (mut suspicions, mut vain) = (0, 0);
        while self.is_asleep(seat) {
            let token = parker.park_timeout(if suspicions == 0 { heartbeat } else { heartbeat / SUSPICIONS });
            // a token: woken, or stale
            if token {
                continue;
            }
            if !work() {
                (suspicions, vain) = (0, 0);
                continue;
            }
            // relaxed: a hint, looked at again and again
            if searching(self.word.load(Ordering::Relaxed)) > 0 {
                (suspicions, vain) = (0, vain + 1);
                if vain > 1 && self.retract(seat) == Retracted::InTime {
                    return Woken::Overdue;
                }
                continue;
            }
            suspicions += 1;
            if suspicions > SUSPICIONS && self.retract(seat) == Retracted::InTime {
                return Woken::TimedOut;
            }
        }
        Woken::Signalled
    }

    /// True while the bit of `seat` is set: nobody has woken it since it announced itself.
    #[inline]
    pub fn is_asleep(&self, seat: &Seat) -> bool {
        // edge park.wake, acquire: what the waker published
        self.word.load(Self::WOKEN) & seat.bit() != 0
    }

    /// Ends a search that found work. The last searcher asks whether there is `more`, and wakes the next one if so.
    pub fn found_work(&self, more: impl FnOnce() -> bool) {
        let last = if self.woken == 0 {
            true
        } else {
            // relaxed: ordered by the fence below where it matters
            let before = self.word.fetch_sub(SEARCHER, Ordering::Relaxed);
            debug_assert!(searching(before) > 0, "only a searcher leaves the search");
            // a seat that falls asleep after this RMW looks at the work after it, and finds what we would have handed on
            searching(before) == 1 && before & SLEEPERS != 0
        };
        if !R::LAST_SEARCHER || !last {
            return;
        }
        crate::crash_point!("park.found.left");
        // The partner is `publisher_fence`, of a publisher that woke nobody because we searched.
        // If ours is first: the publisher's load of the word sees that we left (or were never counted), and it wakes somebody itself.
        // If the publisher's is first: `more` sees what it published.
        if R::SEARCHER_FENCE {
            full_fence();
        }
        // relaxed: ordered by the fence; a waking CAS re-checks
        let word = self.word.load(Ordering::Relaxed);
        if wanted(word, 1) > 0 && more() {
            self.wake(word, |word| lowest(word, wanted(word, 1)));
        }
    }

    /// Ends a search without having looked, as a worker does that must go: the last searcher wakes the next one to search in its stead.
    pub fn give_up_search(&self) {
        self.found_work(|| true);
    }

    // ---- looking in ----

    /// How many sleep and how many search, for snapshots and tests; both may change at once.
    pub fn census(&self) -> (u32, u32) {
        // relaxed: statistics
        let word = self.word.load(Ordering::Relaxed);
        ((word & SLEEPERS).count_ones(), searching(word) as u32)
    }
}

impl<R: Rules> fmt::Debug for EventCount<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sleeping, searching) = self.census();
        f.debug_struct("EventCount").field("sleeping", &sleeping).field("searching", &searching).finish_non_exhaustive()
    }
}

#[inline]
fn searching(word: u64) -> u64 {
    word >> SLEEPERS_MAX
}

/// How many sleepers `jobs` new jobs should wake: those that no searcher will take.
#[inline]
fn wanted(word: u64, jobs: usize) -> usize {
    if word & SLEEPERS == 0 { 0 } else { jobs.saturating_sub(searching(word) as usize) }
}

/// The lowest `count` bits of the sleepers: low seats stay warm, high seats sleep long.
#[inline]
fn lowest(word: u64, count: usize) -> u64 {
    let mut rest = word & SLEEPERS;
    for _ in 0..count.min(SLEEPERS_MAX) {
        rest &= rest.wrapping_sub(1);
    }
    word & SLEEPERS & !rest
}

#[cfg(all(test, not(loom)))]
mod stress;
#[cfg(all(test, not(loom)))]
mod tests;
