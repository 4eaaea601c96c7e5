//! A job is taken in: a credit, a slot, a lane.

use super::bent::{Bend, is_bent};
use super::breaker::Guard;
use super::{Accounts, Queue};
use crate::clock::{Clock, Timestamp};
use crate::completion::{End, Kept, Promise};
use crate::config::{Overflow, validate_payload};
use crate::credit::WaitError;
use crate::dead_letter::DeathReason;
use crate::dedupe::Name;
use crate::error::{PublishError, Refusal};
use crate::id::JobId;
use crate::inbox::Flag;
use crate::job::{Job, Payload};
use crate::ledger::{Block, Count};
use crate::slab::Phase;

use crate::sync::atomic::Ordering::Relaxed;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

/// When a published job becomes ready, and whether somebody waits for its end.
#[derive(Debug, Clone, Copy)]
pub enum When<'a> {
    /// At once.
    Now,
    /// Not before this time, and at most a tick after it.
    At(Timestamp),
    /// As these say, and its end goes into a promise.
    Watched(&'a Watch),
}

/// A promise, and when the job becomes ready: at once, or at that time.
#[derive(Debug)]
pub struct Watch {
    /// Where the job's end goes.
    pub promise: Arc<Promise>,
    /// `None`: at once.
    pub due: Option<Timestamp>,
}

impl Watch {
    /// A promise that nobody has seen yet.
    pub fn new(due: Option<Timestamp>) -> Self {
        Watch { promise: Arc::new(Promise::new()), due }
    }
}

impl When<'_> {
    /// Where the job's end goes, if somebody waits for it.
    pub fn promise(&self) -> Option<&Arc<Promise>> {
        match self {
            When::Watched(watch) => Some(&watch.promise),
            _ => None,
        }
    }

    /// When the job becomes ready at the earliest, if not at once.
    pub(super) fn due(&self) -> Option<Timestamp> {
        match self {
            When::Now => None,
            When::At(due) => Some(*due),
            When::Watched(watch) => watch.due,
        }
    }
}

/// A publishing handle's share of a queue: accounts, counts, job ids. One thread at a time.
#[derive(Debug)]
pub struct Publisher {
    pub(super) accounts: Accounts,
    pub(super) ledger: Arc<Block>,
    /// The next job id and the end of the block of ids.
    ids: Cell<(u64, u64)>,
    /// The routing key that the next job is published by; empty: none.
    pub(super) came_by: RefCell<String>,
    /// Whether it stops asking when the queue is full.
    pub(super) guard: Guard,
}

impl Publisher {
    /// What is published from here on comes by this routing key. For queues that [keep](Queue::keeps_routing_keys) them.
    pub fn set_routing_key(&self, key: &str) {
        let mut came_by = self.came_by.borrow_mut();
        came_by.clear();
        came_by.push_str(key);
    }

    /// Counts a refusal that its publisher is told of.
    pub fn count_refusal(&self, refusal: &Refusal, now: Timestamp) {
        self.ledger.bump(match refusal {
            Refusal::Full { .. } | Refusal::TimedOut => {
                self.note_full(now);
                Count::RejectedFull
            }
            Refusal::BreakerOpen { .. } => Count::RejectedBreaker,
            Refusal::Closed => Count::RejectedClosed,
            Refusal::Invalid { .. } | Refusal::BadKey { .. } => Count::RejectedInvalid,
            Refusal::Duplicate { .. } => Count::RejectedDuplicate,
            _ => Count::RejectedOther,
        });
    }
}

/// Job ids are taken from the queue in blocks of this size.
const ID_BLOCK: u64 = 1024;

impl<T: Payload> Queue<T> {
    /// A new publisher, or `None` when the queue has as many handles as it can have.
    pub fn open_publisher(&self) -> Option<Publisher> {
        let accounts = self.credits.open(&self.slab)?;
        Some(Publisher {
            accounts,
            ledger: self.ledger.open(0),
            ids: Cell::new((0, 0)),
            came_by: RefCell::default(),
            guard: Guard::default(),
        })
    }

    /// Gives back what a publisher holds.
    pub fn close_publisher(&self, publisher: &mut Publisher) {
        self.credits.close(&self.slab, &mut publisher.accounts);
        self.ledger.retire(&publisher.ledger);
    }

    /// Publishes without waiting; overflow policies that need no waiting and no handler are applied here.
    // always: a job that is passed on is copied, and that costs as much as the rest
    #[inline(always)]
    pub fn try_publish(&self, publisher: &Publisher, job: Job<T>, when: When<'_>, now: Timestamp) -> Result<JobId, PublishError<T>> {
        self.attempt(publisher, job, when, now).or_else(|error| self.refused(publisher, error, when, now))
    }

    /// A publish was refused. If it may yet take the place of a job that waits, it does; otherwise the refusal is counted.
    #[cold]
    #[inline(never)]
    pub fn refused(&self, publisher: &Publisher, error: PublishError<T>, when: When<'_>, now: Timestamp) -> Result<JobId, PublishError<T>> {
        self.replace(publisher, error, when, true, now).inspect_err(|error| publisher.count_refusal(error.refusal(), now))
    }

    /// As [`try_publish`](Self::try_publish), for a caller who has more to try before the job is refused: a refusal is not counted.
    #[inline(always)]
    pub fn attempt(&self, publisher: &Publisher, job: Job<T>, when: When<'_>, now: Timestamp) -> Result<JobId, PublishError<T>> {
        if let Err(refusal) = self.check_publish(publisher, &job, || now) {
            return Err(PublishError::new(job, refusal));
        }
        match self.credits.acquire(&self.slab, &publisher.accounts, job.lane) {
            Some(index) => self.admit(publisher, index, job, when, now),
            None => self.overflow(publisher, job, when, now),
        }
    }

    /// Publishes, waiting for a slot for at most `timeout`. Whoever `must_not_wait` is refused instead: [`Refusal::WouldDeadlock`].
    #[inline]
    pub fn publish_within(
        &self,
        publisher: &Publisher,
        job: Job<T>,
        when: When<'_>,
        clock: &dyn Clock,
        timeout: Duration,
        must_not_wait: impl FnOnce() -> bool,
    ) -> Result<JobId, PublishError<T>> {
        let published = match self.check_publish(publisher, &job, || clock.stamp()) {
            Err(refusal) => Err(PublishError::new(job, refusal)),
            Ok(()) => match self.credits.acquire_near(&self.slab, &publisher.accounts, job.lane) {
                Some(index) => self.admit(publisher, index, job, when, clock.stamp()),
                // whoever would free a slot may be waiting for it
                None if must_not_wait() => self.admit_if_free(publisher, job, when, clock.now(), || Refusal::WouldDeadlock),
                None => self.wait_and_admit(publisher, job, when, clock, timeout),
            },
        };
        published.or_else(|error| self.refused(publisher, error, when, clock.stamp()))
    }

    /// For one who neither waits nor makes room: a handler of the same runtime, a follow-up.
    #[cold]
    pub(super) fn admit_if_free(
        &self,
        publisher: &Publisher,
        job: Job<T>,
        when: When<'_>,
        now: Timestamp,
        otherwise: impl FnOnce() -> Refusal,
    ) -> Result<JobId, PublishError<T>> {
        match self.credits.acquire(&self.slab, &publisher.accounts, job.lane) {
            Some(index) => self.admit_late(publisher, index, job, when, now),
            None => Err(PublishError::new(job, otherwise())),
        }
    }

    #[cold]
    fn wait_and_admit(
        &self,
        publisher: &Publisher,
        job: Job<T>,
        when: When<'_>,
        clock: &dyn Clock,
        timeout: Duration,
    ) -> Result<JobId, PublishError<T>> {
        let deadline = clock.now() + timeout;
        match self.credits.wait(&self.slab, &publisher.accounts, job.lane, || self.nap_before(deadline, clock), || self.is_closed()) {
            Ok(index) => self.admit_late(publisher, index, job, when, clock.now()),
            Err(WaitError::Closed) => Err(PublishError::new(job, Refusal::Closed)),
            Err(WaitError::TimedOut) => Err(PublishError::new(job, Refusal::TimedOut)),
        }
    }

    /// How long who waits for a slot may sleep before he looks again; `None` when `deadline` has come.
    pub(super) fn nap_before(&self, deadline: Timestamp, clock: &dyn Clock) -> Option<Duration> {
        // user code, which may have waited here too, and left the line: look again
        let told = self.tell_if_untold();
        (clock.now() < deadline).then(|| if told { Duration::ZERO } else { clock.sleep_hint(deadline) })
    }

    /// Slots for `count` later publishes to `lane`, all or none.
    pub fn reserve(&self, publisher: &Publisher, lane: usize, count: usize, now: Timestamp) -> Result<Vec<u32>, Refusal> {
        if lane >= self.lanes.len() {
            return Err(Refusal::NoSuchLane { lane, lanes: self.lanes.len() });
        }
        if self.is_closed() {
            return Err(Refusal::Closed);
        }
        self.check_breaker(publisher, || now).inspect_err(|refusal| publisher.count_refusal(refusal, now))?;
        if count > self.capacity() as usize {
            // never to be had: that says nothing to a breaker
            publisher.ledger.bump(Count::RejectedFull);
            return Err(self.full());
        }
        let mut slots = Vec::with_capacity(count);
        while slots.len() < count {
            match self.credits.acquire(&self.slab, &publisher.accounts, lane) {
                Some(index) => slots.push(index),
                None => {
                    self.unreserve(publisher, &slots);
                    self.tell_if_untold();
                    let refusal = self.full();
                    publisher.count_refusal(&refusal, now);
                    return Err(refusal);
                }
            }
        }
        Ok(slots)
    }

    /// Gives reserved slots back.
    pub fn unreserve(&self, publisher: &Publisher, slots: &[u32]) {
        for &index in slots {
            self.credits.release(&self.slab, &publisher.accounts, index);
        }
    }

    /// Publishes into a slot that `reserve` gave. On refusal the slot is given back too.
    pub fn publish_reserved(
        &self,
        publisher: &Publisher,
        index: u32,
        job: Job<T>,
        when: When<'_>,
        now: Timestamp,
    ) -> Result<JobId, PublishError<T>> {
        match self.check(&job, || now) {
            Ok(()) => self.admit(publisher, index, job, when, now),
            Err(refusal) => {
                self.credits.release(&self.slab, &publisher.accounts, index);
                self.replace(publisher, PublishError::new(job, refusal), when, true, now)
            }
        }
        .inspect_err(|error| publisher.count_refusal(error.refusal(), now))
    }

    /// False when a job that finds the queue full is not to run in its publisher's thread: the queue is paused, the job has no time to live, or a follow-up of such
    /// a job has no slot yet (there would be more and more of them).
    pub fn callers_may_run(&self, job: &Job<T>) -> bool {
        !self.is_paused() && job.ttl.is_none_or(|ttl| !ttl.is_zero()) && self.deferred.lock().is_empty()
    }

    /// A job that `Overflow::CallerRuns` ran to its end in the publisher's thread.
    pub fn ran_in_caller(&self, publisher: &Publisher, name: Name, end: Count) -> JobId {
        self.end_slotless(name, true);
        publisher.ledger.bump(Count::Accepted);
        publisher.ledger.bump(end);
        name.job
    }

    /// An id, and the key, for a job that is to run in its publisher's thread. To be followed by [`ran_in_caller`](Self::ran_in_caller), or by
    /// [`failed_in_caller`](Self::failed_in_caller).
    ///
    /// # Errors
    /// When another job has the key.
    pub fn name_in_caller(&self, publisher: &Publisher, job: &Job<T>, now: Timestamp) -> Result<Name, Refusal> {
        let name = Name::unclaimed(job.key, self.next_id(publisher));
        self.claim_slotless(name, now).map(|()| name)
    }

    /// It did not succeed, and was not accepted.
    pub fn failed_in_caller(&self, name: Name) {
        self.end_slotless(name, false);
    }

    /// What can be refused before a credit is taken, by the publisher's breaker or for the job.
    #[inline]
    pub(super) fn check_publish(&self, publisher: &Publisher, job: &Job<T>, now: impl Fn() -> Timestamp) -> Result<(), Refusal> {
        self.check_breaker(publisher, &now)?;
        self.check(job, now)
    }

    /// What can be refused before a credit is taken, for the job.
    #[inline]
    pub(super) fn check(&self, job: &Job<T>, now: impl FnOnce() -> Timestamp) -> Result<(), Refusal> {
        if job.lane >= self.lanes.len() {
            return Err(Refusal::NoSuchLane { lane: job.lane, lanes: self.lanes.len() });
        }
        if self.is_closed() {
            return Err(Refusal::Closed);
        }
        validate_payload(&job.payload).map_err(|reason| Refusal::Invalid { reason })?;
        if self.tracks { self.check_keys(job, now) } else { Ok(()) }
    }

    /// False for a job that every publish would refuse, for its payload or one of its keys. User code: not under a lock.
    pub fn is_well_formed(&self, job: &Job<T>) -> bool {
        let named = !self.dedupes(job) || job.key.fault().is_none();
        named && self.check_order_key(job.order).is_ok() && validate_payload(&job.payload).is_ok()
    }

    /// Names the job, fills the slot and sends it on its way.
    // always: much of it is not there for a job without settings of its own, and what is known of that is known to the caller
    #[inline(always)]
    pub(super) fn admit(
        &self,
        publisher: &Publisher,
        index: u32,
        job: Job<T>,
        when: When<'_>,
        now: Timestamp,
    ) -> Result<JobId, PublishError<T>> {
        if self.keys.is_some() {
            return self.admit_named(publisher, index, Some(job), when, now);
        }
        let id = self.next_id(publisher);
        self.set_off(publisher, index, id, job, when, now)
    }

    /// As [`admit`](Self::admit), for those who have waited or made room.
    #[inline(never)]
    pub(super) fn admit_late(
        &self,
        publisher: &Publisher,
        index: u32,
        job: Job<T>,
        when: When<'_>,
        now: Timestamp,
    ) -> Result<JobId, PublishError<T>> {
        self.admit(publisher, index, job, when, now)
    }

    /// As [`admit`](Self::admit), where more is kept of a job than lies in its slot. (It comes in an `Option` so that the other way need not have it in memory.)
    #[inline(never)]
    fn admit_named(
        &self,
        publisher: &Publisher,
        index: u32,
        job: Option<Job<T>>,
        when: When<'_>,
        now: Timestamp,
    ) -> Result<JobId, PublishError<T>> {
        let job = job.expect("it is there");
        if let Some(window) = self.window_of(job.key) {
            return self.open_window(publisher, index, job, when, window, now);
        }
        match self.name_job(publisher, index, job.key, now) {
            Ok(id) => {
                crate::crash_point!("queue.publish.named");
                self.set_off(publisher, index, id, job, when, now)
            }
            Err(refusal) => Err(self.turn_away(publisher, index, job, refusal)),
        }
    }

    /// Fills the slot and sends it on its way.
    #[inline(always)]
    fn set_off(
        &self,
        publisher: &Publisher,
        index: u32,
        id: JobId,
        job: Job<T>,
        when: When<'_>,
        now: Timestamp,
    ) -> Result<JobId, PublishError<T>> {
        // (what else is needed of a job that comes back is read from its slot: copies that nobody looks at cost as much as the rest)
        let keys = (job.key, job.order);
        let job = self.lay(index, job);
        match when {
            When::Now => self.send(publisher, index, id, job, now),
            when => self.send_otherwise(publisher, index, id, job, when, None, now),
        };
        if self.met_the_stop() {
            return self.take_back(id, keys, now);
        }
        self.at_once.run();
        Ok(id)
    }

    /// Another job got the key while this one got a slot.
    #[cold]
    fn turn_away(&self, publisher: &Publisher, index: u32, job: Job<T>, refusal: Refusal) -> PublishError<T> {
        self.credits.release(&self.slab, &publisher.accounts, index);
        PublishError::new(job, refusal)
    }

    /// Fills the slot, in which the payload [lies](Self::lay), pushes it into its lane and rings. The caller looks next whether the queue has stopped.
    // always: a job that is passed on is copied, and that costs as much as the rest
    #[inline(always)]
    pub(super) fn send(&self, publisher: &Publisher, index: u32, id: JobId, job: Job<()>, now: Timestamp) {
        self.send_as(publisher, index, id, job, now, false);
    }

    #[inline(always)]
    fn send_as(&self, publisher: &Publisher, index: u32, id: JobId, job: Job<()>, now: Timestamp, watched: bool) {
        let (lane, ttl, order) = (job.lane, job.ttl, job.order);
        self.describe(index, id, &job, now, now);
        self.slab.state(index).fill_as(Phase::Ready, lane as u8, watched);
        crate::crash_point!("queue.publish.filled");
        let wakes = self.line_up(index, lane, order);
        crate::crash_point!("queue.publish.pushed");
        publisher.ledger.bump(Count::Accepted);
        if let Some(ttl) = ttl
            && self.inbox.post(index, Flag::Poke)
        {
            self.wake_timer((now + ttl).as_nanos());
        }
        if wakes {
            self.ring_bell(1);
        }
    }

    /// As [`send`](Self::send), for a job that is ready later, or whose end somebody waits for.
    /// If it opens a `window`, it is ready when that has ended at the earliest.
    #[cold]
    #[allow(clippy::too_many_arguments, reason = "what a job is sent with, and when")]
    pub(super) fn send_otherwise(
        &self,
        publisher: &Publisher,
        index: u32,
        id: JobId,
        job: Job<()>,
        when: When<'_>,
        window: Option<Timestamp>,
        now: Timestamp,
    ) {
        let (due, promise) = (when.due().max(window), when.promise());
        if let Some(promise) = promise
            && !is_bent(Bend::PromiseLate)
        {
            self.promise_end(index, id, Arc::clone(promise));
        }
        match due {
            None => self.send_as(publisher, index, id, job, now, promise.is_some()),
            Some(due) => self.send_later(publisher, index, id, job, due, now, promise.is_some()),
        }
        if let Some(promise) = promise
            && is_bent(Bend::PromiseLate)
        {
            self.promise_end(index, id, Arc::clone(promise));
        }
    }

    /// Somebody waits for the end of the job that goes into the slot. Said before the slot is filled: the job may end before this thread goes on.
    #[cold]
    pub(super) fn promise_end(&self, index: u32, id: JobId, promise: Arc<Promise>) {
        promise.set_slot(index);
        self.watched.insert(id, promise);
    }

    /// Fills the slot and hands it to the timer.
    #[allow(clippy::too_many_arguments, reason = "what a job is sent with, and when")]
    fn send_later(&self, publisher: &Publisher, index: u32, id: JobId, job: Job<()>, due: Timestamp, now: Timestamp, watched: bool) {
        let (lane, order) = (job.lane, job.order);
        let expires = self.describe(index, id, &job, due.max(now), now);
        self.line_up_later(index, lane, order);
        self.slab.set_due(index, due);
        self.slab.state(index).fill_as(Phase::Delayed, lane as u8, watched);
        publisher.ledger.bump(Count::Accepted);
        crate::crash_point!("queue.publish.filled");
        self.inbox.post(index, Flag::Handover);
        crate::crash_point!("queue.publish.posted");
        self.wake_timer(due.min(expires).as_nanos());
    }

    /// The second half of a publish whose first half was before the close.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn admit_for_tests(&self, publisher: &Publisher, index: u32, job: Job<T>, now: Timestamp) {
        assert!(self.admit_late(publisher, index, job, When::Now, now).is_ok());
    }

    /// The queue is full.
    #[cold]
    fn overflow(&self, publisher: &Publisher, job: Job<T>, when: When<'_>, now: Timestamp) -> Result<JobId, PublishError<T>> {
        self.tell_if_untold();
        match self.settings.overflow {
            // where the dead are held for want of room, evicting a job would cost it its life and free no slot
            Overflow::DropOldest if self.would_hold() => Err(PublishError::new(job, self.full())),
            Overflow::DropOldest => {
                // a victim may be claimed under our hands; as many tries as there are lanes to look at, then give up
                for _ in 0..=self.lanes.len() {
                    let Some(aftermath) = self.evict_for(job.lane, &publisher.accounts, &publisher.ledger, now) else { break };
                    aftermath.run(self);
                    if let Some(index) = self.credits.acquire(&self.slab, &publisher.accounts, job.lane) {
                        return self.admit_late(publisher, index, job, when, now);
                    }
                }
                Err(PublishError::new(job, self.full()))
            }
            Overflow::DropNew => {
                let name = Name::unclaimed(job.key, self.next_id(publisher));
                // until it is buried others are told that they are its duplicates, even if there turns out to be no room for it
                if let Err(refusal) = self.claim_slotless(name, now) {
                    return Err(PublishError::new(job, refusal));
                }
                let buried = self.bury_new(name.job, job, DeathReason::OverLength, now, publisher);
                self.end_slotless(name, buried.is_ok());
                match buried {
                    Ok(aftermath) => {
                        publisher.ledger.bump(Count::Accepted);
                        aftermath.run(self);
                        self.tell_slotless(when.promise(), name.job, Kept::bare(End::DeadLettered(DeathReason::OverLength)), 0, now);
                        Ok(name.job)
                    }
                    Err(job) => Err(PublishError::new(job, self.full())),
                }
            }
            _ => Err(PublishError::new(job, self.full())),
        }
    }
}

impl<T> Queue<T> {
    /// The refusal of a full queue, with a hint.
    pub fn full(&self) -> Refusal {
        // relaxed: a hint
        let gap = self.settle_gap.load(Relaxed);
        Refusal::Full { retry_after: (gap > 0).then(|| Duration::from_nanos(gap)) }
    }

    #[inline]
    pub(super) fn next_id(&self, publisher: &Publisher) -> JobId {
        let (mut next, mut end) = publisher.ids.get();
        if next == end {
            next = self.reserve_ids(ID_BLOCK);
            end = next + ID_BLOCK;
        }
        publisher.ids.set((next + 1, end));
        JobId(next)
    }

    /// Writes payload and description into a slot: the caller has its index in hand, and it is empty. When the job's time to live ends.
    #[inline(always)]
    pub(super) fn write_job(&self, index: u32, id: JobId, job: Job<T>, eligible: Timestamp, now: Timestamp) -> Timestamp {
        let job = self.lay(index, job);
        self.describe(index, id, &job, eligible, now)
    }

    /// Moves the payload into a slot: the caller has its index in hand, and it is empty. What there is of the job besides.
    // always: a job is moved into its slot once, and on no stack before
    #[inline(always)]
    pub(super) fn lay(&self, index: u32, job: Job<T>) -> Job<()> {
        let (job, payload) = job.apart();
        self.lay_payload(index, payload);
        job
    }

    /// As [`lay`](Self::lay), for a payload alone: of a copy, to be followed by [`publish_laid`](Self::publish_laid), or by [`take_out`](Self::take_out).
    #[inline(always)]
    pub fn lay_payload(&self, index: u32, payload: T) {
        // SAFETY: `index` is a credit in hand, or a slot whose job its caller has just ended: it is empty and nobody else may touch it
        unsafe { self.slab.write(index, payload) };
    }

    /// A copy that was laid into its slot, and that does not go in after all. The slot is as before.
    pub fn take_out(&self, slot: u32) -> T {
        // SAFETY: a credit in hand, into which the caller has laid a payload: nobody else may touch it
        unsafe { self.slab.take(slot) }
    }

    /// Describes the job whose payload the caller has laid into the slot. When its time to live ends.
    #[inline(always)]
    fn describe(&self, index: u32, id: JobId, job: &Job<()>, eligible: Timestamp, now: Timestamp) -> Timestamp {
        let expires = job.ttl.map_or(Timestamp::MAX, |ttl| now + ttl);
        self.slab.slot(index).describe(id, eligible, expires);
        if let Some(visibility) = job.visibility {
            self.set_visibility(index, visibility);
        }
        expires
    }
}

impl<T> Queue<T> {
    /// A job has a visibility timeout of its own, in the queue's range.
    pub(super) fn set_visibility(&self, index: u32, visibility: Duration) {
        self.slab.set_visibility(index, visibility.clamp(self.settings.tick, self.settings.max_lease));
    }
}
