//! A copy of a job that was routed: first a slot, then, once its siblings have theirs too, the way into the lane.
//!
//! What can be refused is refused before or with the slot. From then on a copy goes in, also when it meets a shutdown: it is handed back with its siblings.

use super::Queue;
use super::publish::{Publisher, When};
use crate::clock::{Clock, Timestamp};
use crate::config::Overflow;
use crate::credit::WaitError;
use crate::error::{PublishError, Refusal};
use crate::id::JobId;
use crate::job::{Job, Payload};
use crate::key::Key;
use crate::limits::INDEX_NONE;

impl<T: Payload> Queue<T> {
    /// A slot for a job in `lane`, if there is one nearby; otherwise it is for [`attempt`](Self::attempt) and its kind to find one, or to say why there is none.
    /// A queue that dedupes or has partitions has none here: it has more to ask first. So has a publisher whose breaker is not closed.
    #[inline(always)]
    pub fn slot_at_hand(&self, publisher: &Publisher, lane: usize) -> Option<u32> {
        if lane >= self.lane_count() || self.is_closed() || self.tracks || publisher.guard.is_up.get() {
            return None;
        }
        self.credits.acquire_near(&self.slab, &publisher.accounts, lane)
    }

    /// As [`free_slot`](Self::free_slot); a full queue that drops its oldest does so.
    #[cold]
    pub fn take_slot(&self, publisher: &Publisher, lane: usize, key: Key, now: Timestamp) -> Result<u32, Refusal> {
        self.free_slot(publisher, lane, key, now).or_else(|refusal| match refusal {
            Refusal::Full { .. } => self.make_room(publisher, lane, now).ok_or(refusal),
            refusal => Err(refusal),
        })
    }

    /// A slot for a copy in `lane`, without waiting; or `INDEX_NONE`, if it seems to need none: a job with its key waits out a window, whose place it may take.
    ///
    /// # Errors
    /// Full, closed, no such lane, or a duplicate.
    #[cold]
    pub fn free_slot(&self, publisher: &Publisher, lane: usize, key: Key, now: Timestamp) -> Result<u32, Refusal> {
        if lane >= self.lane_count() {
            return Err(Refusal::NoSuchLane { lane, lanes: self.lane_count() });
        }
        if self.is_closed() {
            return Err(Refusal::Closed);
        }
        if key.is_some()
            && let Err(refusal) = self.check_key(key, now)
        {
            return if matches!(refusal, Refusal::Duplicate { .. }) && self.makes_wait(key) { Ok(INDEX_NONE) } else { Err(refusal) };
        }
        self.credits.acquire(&self.slab, &publisher.accounts, lane).ok_or_else(|| {
            self.tell_if_untold();
            self.full()
        })
    }

    /// A slot that the oldest waiting job had, if that is the queue's policy.
    fn make_room(&self, publisher: &Publisher, lane: usize, now: Timestamp) -> Option<u32> {
        if self.settings.overflow != Overflow::DropOldest || self.would_hold() {
            return None;
        }
        // a slot may be taken under our hands; as many tries as a publish has
        (0..=self.lane_count()).find_map(|_| {
            self.evict_for(lane, &publisher.accounts, &publisher.ledger, now)?.run(self);
            self.credits.acquire(&self.slab, &publisher.accounts, lane)
        })
    }

    /// A slot for a copy in `lane`, waiting for one until `deadline`, first come, first served.
    ///
    /// # Errors
    /// Timed out, or closed.
    pub fn wait_for_slot(&self, publisher: &Publisher, lane: usize, clock: &dyn Clock, deadline: Timestamp) -> Result<u32, Refusal> {
        let patience = || self.nap_before(deadline, clock);
        self.credits.wait(&self.slab, &publisher.accounts, lane, patience, || self.is_closed()).map_err(|error| match error {
            WaitError::TimedOut => Refusal::TimedOut,
            WaitError::Closed => Refusal::Closed,
        })
    }

    /// Gives a slot back, if it is one.
    pub fn give_slot_back(&self, publisher: &Publisher, slot: u32) {
        if slot != INDEX_NONE {
            self.credits.release(&self.slab, &publisher.accounts, slot);
        }
    }

    /// Publishes a job into a slot that was [at hand](Self::slot_at_hand). Its payload was validated, its lane is there.
    ///
    /// # Errors
    /// The queue stopped meanwhile, and neither a worker nor the hand-back had the job yet.
    // always: a job that is passed on is copied, and that costs as much as the rest
    #[inline(always)]
    pub fn publish_into(&self, publisher: &Publisher, slot: u32, job: Job<T>, now: Timestamp) -> Result<JobId, PublishError<T>> {
        let keys = (job.key, job.order);
        let id = self.next_id(publisher);
        let job = self.lay(slot, job);
        self.send(publisher, slot, id, job, now);
        if self.met_the_stop() {
            return self.take_back(id, keys, now);
        }
        self.at_once.run();
        Ok(id)
    }

    /// As [`publish_into`](Self::publish_into), for a copy whose payload was [laid](Self::lay_payload) into its slot and whose siblings are on their way: one that
    /// meets the stop becomes undone, like them. Its key, if it has one, was [claimed](Self::claim_copy).
    #[inline(always)]
    pub fn publish_laid(&self, publisher: &Publisher, slot: u32, job: Job<()>, when: When<'_>, now: Timestamp) -> JobId {
        let id = self.id_of_copy(publisher, slot, job.key);
        match when {
            When::Now => self.send(publisher, slot, id, job, now),
            when => self.send_otherwise(publisher, slot, id, job, when, None, now),
        }
        if self.met_the_stop() {
            self.recall_all();
        }
        self.at_once.run();
        id
    }
}
