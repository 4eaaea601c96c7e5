//! Shutdown: every undone job comes out by value, unless somebody reads it.
//!
//! Jobs are taken by their *index* first, in order, from where indices lie: lanes, partitions, claims, inbox, wheel. What is left then is in the hands of threads between two of
//! these: one has changed the word (a retry: Ready, or Delayed) and not pushed yet, or it has popped and not claimed, or it publishes. Such a job is taken by its *word*, and its
//! index stays where it is:
//!
//! 1. One CAS makes the word Doomed, with the fate `TakenOut`, and us a holder. From then on nobody can start, cancel or end the job, so the payload is ours.
//! 2. We take it, and leave. As ever, the last of two frees the slot: whoever comes upon the index disposes of it, as of any doomed job, and if that is while we are still at
//!    the payload, it finds a holder and leaves the slot to us.
//!
//! So the thread that was stopped goes on as if nothing had happened: it pushes an index that somebody will find doomed, or finds so itself when it starts the job. What
//! cannot be taken is [named](Queue::running): a job that somebody reads; and one that was ended to be handed back (a retry, when nothing is started any more) by a thread that has its
//! payload in hand. Its slot is Free and says `HandedBack` until the job is among the strays.

use super::bent::{Bend, is_bent};
use super::end::ends_at_once;
use super::{Aftermath, Queue, TimerSide};
use crate::clock::Timestamp;
use crate::completion::{CompletedJob, End};
use crate::dead_letter::{DeadLetter, Death, DeathRecord, Held};
use crate::error::{PublishError, Refusal};
use crate::id::JobId;
use crate::job::Job;
use crate::key::{Key, OrderKey};
use crate::ledger::Count;
use crate::limits::PREFETCH_MAX;
use crate::ring::Popped;
use crate::slab::{Dispose, Fate, Leave, Phase, Word};
use crate::sync::atomic::Ordering::Relaxed;
use std::fmt;
use std::time::Duration;

/// Where an undone job was when it was handed back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// In a lane or claimed, never started or waiting for its next attempt.
    Waiting,
    /// Waiting for its time.
    Delayed,
    /// Dead, waiting for room among the dead letters.
    Held,
    /// Running at shutdown, and its handler asked for another attempt.
    Interrupted,
}

/// A job that was accepted and not done, given back at shutdown.
#[non_exhaustive]
pub struct Undone<T> {
    /// The payload.
    pub payload: T,
    /// The job's id.
    pub job: JobId,
    /// The lane it was published to.
    pub lane: usize,
    /// How many attempts failed.
    pub failures: u32,
    /// How many leases ran out.
    pub expiries: u32,
    /// What the last failed attempt said.
    pub last_error: Option<Box<str>>,
    /// Deaths before a redrive; of a job that was [held](Origin::Held), its last death as well.
    pub deaths: Vec<Death>,
    /// When it was published, or would have become ready.
    pub published: Timestamp,
    /// Where it was.
    pub origin: Origin,
    /// When its time to live ends.
    pub(super) expires: Timestamp,
    /// Its own visibility timeout.
    pub(super) visibility: Option<Duration>,
}

impl<T> Undone<T> {
    /// A job that was held.
    fn of_held(letter: DeadLetter<T>, published: Timestamp, expires: Timestamp) -> Self {
        let DeadLetter { payload, job, lane, visibility, record, .. } = letter;
        let DeathRecord { deaths, last_error, failures, expiries, .. } = record;
        Undone { payload, job, lane, failures, expiries, last_error, deaths, published, origin: Origin::Held, expires, visibility }
    }
}

impl<T> fmt::Debug for Undone<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Undone").field("job", &self.job).field("lane", &self.lane).field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl<T> Queue<T> {
    /// Refuses publishes from here on, and lets waiting publishers go.
    pub fn close(&self) {
        // relaxed: the lines' locks order it before the look of who waits, and the bell's fence before that of who sleeps
        self.closed.store(true, Relaxed);
        if !is_bent(Bend::CloseUntold) {
            self.credits.close_waiters();
        }
        self.bell.notify_all();
    }

    /// Lets nothing start any more.
    ///
    /// The bell's fence pairs with the one that every publish does after its push, see `publish`.
    pub fn stop(&self) {
        // relaxed: the bell's fence orders it
        self.stopped.store(true, Relaxed);
        if is_bent(Bend::StopUnfenced) {
            return;
        }
        self.bell.notify_all();
    }

    /// The jobs that are with a handler or consumer now and have not ended, with the number of their latest delivery. A job whose lease ran out is among
    /// them once it cannot be delivered again: it is over when its last holder has left, and among the strays.
    pub fn running(&self) -> Vec<(JobId, u32)> {
        // whoever recalls a job that he was just publishing has this lock: the job is nobody's delivery, and comes back to him
        let _strays = self.strays.lock();
        (0..self.capacity())
            .filter_map(|index| {
                let word = self.slab.state(index).load();
                let failed = word.failures() + word.expiries() + self.slab.slot(index).snoozes();
                let attempt = match word.phase() {
                    Phase::Running => failed + 1,
                    Phase::Zombie if word.holders() > 0 && !ends_at_once(word.fate()) => failed,
                    Phase::Ready | Phase::Delayed if word.holders() > 0 => failed,
                    Phase::Free | Phase::Zombie if word.fate() == Fate::HandedBack => failed,
                    _ => return None,
                };
                Some((self.slab.slot(index).job_id(), attempt))
            })
            .collect()
    }

    /// True when nothing waits or runs, and nothing that is delayed is due by `deadline`. Nobody waits for what nobody will take.
    ///
    /// Slot by slot: the count of free slots has one twice that is moved as it is taken.
    pub fn is_drained(&self, deadline: Timestamp) -> bool {
        let nobody_comes = !self.has_takers();
        let rests = |index| match self.slab.state(index).load().phase() {
            Phase::Running => false,
            Phase::Ready | Phase::Doomed => nobody_comes,
            Phase::Delayed => nobody_comes || self.slab.due(index) > deadline,
            Phase::Free | Phase::Zombie | Phase::Held => true,
        };
        is_bent(Bend::DrainCounts) && self.occupied() == 0 || self.unless_chaining(|| (0..self.capacity()).all(rests))
    }

    /// Every undone job that is not with a handler, by value. Call it after [`stop`](Self::stop), when the timer has stopped too; again at any later time for
    /// jobs that have come back since.
    pub fn hand_back(&self) -> Vec<Undone<T>> {
        self.recall_all();
        std::mem::take(&mut *self.strays.lock())
    }

    /// Moves everything that lies in lanes, claims, inbox, wheel and the held list, or is in the hand of a thread between them, to the strays.
    pub fn recall_all(&self) {
        let mut left = Vec::new();
        {
            let mut strays = self.strays.lock();
            // whoever replaces the payload of a job that waits has this lock
            let mut side = self.timer.lock();
            // as the timer saw it last
            let now = side.last();
            self.recall_claimed();
            self.recall_lanes(&mut strays, &mut left, now);
            self.recall_delayed(&mut side, &mut strays, &mut left, now);
            self.recall_held(&mut strays, &mut left, now);
            self.recall_from_hands(&mut strays, &mut left, now);
            self.recall_deferred(&mut strays, now);
        }
        // user code, which may come back here
        left.into_iter().for_each(|aftermath: Aftermath<T>| aftermath.run(self));
    }

    pub(super) fn take_stray(&self, job: JobId) -> Option<Undone<T>> {
        let mut strays = self.strays.lock();
        let at = strays.iter().position(|stray| stray.job == job)?;
        Some(strays.swap_remove(at))
    }

    /// An ended job whose fate is to be handed back. The caller owns payload and index, and frees the slot.
    pub(super) fn hand_back_one(&self, index: u32, word: Word, origin: Origin, now: Timestamp) -> Aftermath<T> {
        let undone = self.undone(index, word, origin);
        {
            let mut strays = self.strays.lock();
            strays.push(undone);
            // (whoever asks which jobs are running has that lock)
            self.slab.state(index).has_arrived();
        }
        self.count_house(Count::HandedBack);
        Aftermath::Nothing.and_tell(self.news_of(index, word, None, now))
    }

    /// Claims that were not started go back to their lanes.
    pub(super) fn recall_claimed(&self) {
        let blocks = self.claims.lock();
        for block in blocks.iter() {
            for entry in 0..block.len() {
                let claim = block.claim(entry);
                if claim.is_none() {
                    continue;
                }
                let state = self.slab.state(claim.index());
                if state.take_back(claim.epoch()).is_some() {
                    let lane = usize::from(state.load().lane());
                    self.lanes[lane].push(crate::chain::Chain::one(claim.index()));
                }
            }
        }
    }

    fn recall_lanes(&self, strays: &mut Vec<Undone<T>>, left: &mut Vec<Aftermath<T>>, now: Timestamp) {
        let mut popped = Popped::new();
        for ring in &self.lanes {
            while ring.pop(PREFETCH_MAX, &mut popped) {
                for index in popped.chains().iter().flat_map(|chain| chain.iter(&self.slab)) {
                    self.recall_waiting(index, Origin::Waiting, strays, left, now);
                }
            }
        }
        self.drain_partitions().for_each(|index| self.recall_waiting(index, Origin::Waiting, strays, left, now));
    }

    /// The caller owns the index of a waiting job.
    fn recall_waiting(&self, index: u32, origin: Origin, strays: &mut Vec<Undone<T>>, left: &mut Vec<Aftermath<T>>, now: Timestamp) {
        let state = self.slab.state(index);
        let parting = self.parting(index);
        match state.end_claimed(state.load().epoch(), Fate::HandedBack) {
            Dispose::Owner(word) if word.fate() == Fate::HandedBack => {
                strays.push(self.undone(index, word, origin));
                state.has_arrived();
                let house = self.house.lock();
                house.block.bump(Count::HandedBack);
                left.push(Aftermath::Nothing.and_tell(self.news_of(index, word, None, now)));
                self.credits.release(&self.slab, &house.accounts, index);
            }
            // it had been cancelled or had expired before, or somebody else has it
            disposed => left.extend(self.dispose_by_house(index, parting, disposed, now)),
        }
    }

    /// What nobody reads and was not found anywhere: it is in somebody's hand, who keeps the index.
    fn recall_from_hands(&self, strays: &mut Vec<Undone<T>>, left: &mut Vec<Aftermath<T>>, now: Timestamp) {
        if is_bent(Bend::HandsKeep) {
            return;
        }
        for index in 0..self.capacity() {
            let state = self.slab.state(index);
            let Some(before) = state.take_over() else { continue };
            let origin = if before.phase() == Phase::Delayed { Origin::Delayed } else { Origin::Waiting };
            strays.push(self.undone(index, before, origin));
            let house = self.house.lock();
            house.block.bump(Count::HandedBack);
            left.push(Aftermath::Nothing.and_tell(self.news_of(index, before.with_fate(Fate::HandedBack), None, now)));
            if let Leave::Owner(_) = state.leave() {
                self.credits.release(&self.slab, &house.accounts, index);
            }
        }
    }

    /// Follow-ups that never found a slot: taken in and handed back in one breath.
    fn recall_deferred(&self, strays: &mut Vec<Undone<T>>, now: Timestamp) {
        for job in std::mem::take(&mut *self.deferred.lock()) {
            let id = JobId(self.reserve_ids(1));
            self.record(CompletedJob { job: id, end: End::HandedBack, attempts: 0, published: now, ended: now });
            strays.push(Undone {
                payload: job.payload,
                job: id,
                lane: job.lane,
                failures: 0,
                expiries: 0,
                last_error: None,
                deaths: Vec::new(),
                published: now,
                origin: Origin::Waiting,
                expires: Timestamp::MAX,
                visibility: job.visibility,
            });
            self.count_house(Count::Accepted);
            self.count_house(Count::HandedBack);
        }
    }

    /// What is in the timer's hands: fired ahead of time, into the lanes.
    fn recall_delayed(&self, side: &mut TimerSide, strays: &mut Vec<Undone<T>>, left: &mut Vec<Aftermath<T>>, now: Timestamp) {
        let mut owned = Vec::new();
        self.inbox.drain(|index, flags| {
            if flags.handover() {
                owned.push(index);
            }
        });
        for index in 0..self.capacity() {
            if side.owns(index) {
                side.wheel.cancel(index);
                owned.push(index);
            }
        }
        for index in owned {
            // Delayed -> Ready (or Doomed already), then as any waiting job
            let _ = self.slab.state(index).fire();
            self.renounce_place(index);
            self.recall_waiting(index, Origin::Delayed, strays, left, now);
        }
    }

    fn recall_held(&self, strays: &mut Vec<Undone<T>>, left: &mut Vec<Aftermath<T>>, now: Timestamp) {
        let seen = if is_bent(Bend::HeldLooksEarly) { self.dead.lock().first_held() } else { None };
        let mut held = self.dead.lock().pop_held();
        if let (Some(slot), None) = (seen, &held) {
            self.slab.state(slot).unhold();
            self.credits.release(&self.slab, &self.house.lock().accounts, slot);
        }
        while let Some(Held { slot, letter, .. }) = held {
            let state = self.slab.state(slot);
            let word = state.load();
            self.forget_key(slot);
            let (published, expires) = (self.slab.slot(slot).published(), self.slab.slot(slot).expires());
            strays.push(Undone::of_held(letter, published, expires));
            state.unhold();
            let house = self.house.lock();
            house.block.bump(Count::HandedBack);
            left.push(Aftermath::Nothing.and_tell(self.news_of(slot, word.with_fate(Fate::HandedBack), None, now)));
            self.credits.release(&self.slab, &house.accounts, slot);
            drop(house);
            held = self.dead.lock().pop_held();
        }
    }

    /// The second look. The bell (or the timer's wake, or the push into a held partition) has fenced between our push and this load; the bell of `stop` fences
    /// between its store and the last look at the lanes: if our fence is first, that finds the job; if its fence is first, we see that it has stopped, and take
    /// the job back ourselves.
    #[inline]
    pub(super) fn met_the_stop(&self) -> bool {
        self.is_stopped() && !is_bent(Bend::NoSecondLook)
    }

    /// It was counted as accepted and handed back: it was.
    #[cold]
    pub(super) fn take_back(&self, id: JobId, keys: (Key, OrderKey), now: Timestamp) -> Result<JobId, PublishError<T>> {
        self.recall(id, keys, now).map_or(Ok(id), |job| Err(PublishError::new(job, Refusal::Closed)))
    }

    /// The queue stopped while this job was on its way in. Whatever lies in the lanes now is nobody's: it becomes undone, and if this publisher's job is
    /// among it, the publisher gets it back.
    ///
    /// `None`: a worker or the hand-back had it first.
    #[cold]
    fn recall(&self, id: JobId, (key, order): (Key, OrderKey), published: Timestamp) -> Option<Job<T>> {
        self.recall_all();
        let Undone { payload, lane, expires, visibility, .. } = self.take_stray(id)?;
        let ttl = (expires != Timestamp::MAX).then(|| expires.since(published));
        Some(Job { payload, lane, ttl, visibility, key, order })
    }
}
