//! Jobs that wait out a window for others with the same key ([`Dedupe::Debounce`](crate::Dedupe::Debounce), [`KeepLast`](crate::Dedupe::KeepLast)).
//!
//! Such a job is delayed: its index is the timer's. A publish with the same key puts its payload in the place of the one that waits. That is exclusive because it
//! happens under the lock of the timer's side: whoever makes the job ready (the timer), or hands it back, has that lock; nobody else ever touches the payload of a delayed job
//! that was not started. Whoever cancels it only marks the state word, which is looked at first.
//!
//! **Invariant.** Under that lock, a key is taken if and only if its job waits out its window, or was cancelled and has not ended yet: the key is claimed together with
//! the job's filling, and forgotten together with its firing.

use super::bent::{Bend, is_bent};
use super::publish::{Publisher, Watch};
use super::{Queue, TimerSide, When};
use crate::clock::Timestamp;
use crate::dedupe::Waiting;
use crate::error::{PublishError, Refusal};
use crate::id::JobId;
use crate::job::{Job, Payload};
use crate::key::Key;
use crate::ledger::Count;
use crate::limits::INDEX_NONE;
use crate::slab::Phase;
use crate::sync::MutexGuard;
use crate::wheel::tick_after;

impl<T: Payload> Queue<T> {
    /// Takes in a job that opens a window: it is ready when that has ended, or when it was asked for, whichever is later. If another one has opened it meanwhile, it takes the
    /// payload. The caller has `index` in hand.
    #[cold]
    pub(super) fn open_window(
        &self,
        publisher: &Publisher,
        index: u32,
        job: Job<T>,
        when: When<'_>,
        window: Waiting,
        now: Timestamp,
    ) -> Result<JobId, PublishError<T>> {
        let (key, keys) = (job.key, (job.key, job.order));
        let side = self.timer.lock();
        let id = match self.name_job(publisher, index, key, now) {
            Ok(id) => id,
            Err(refusal) => {
                drop(side);
                self.credits.release(&self.slab, &publisher.accounts, index);
                let error = PublishError::new(job, refusal);
                return self.replace(publisher, error, when, false, now);
            }
        };
        self.keep_place(key, id, index);
        let job = self.lay(index, job);
        self.send_otherwise(publisher, index, id, job, when, Some(now + window.length), now);
        drop(side);
        if self.met_the_stop() {
            return self.take_back(id, keys, now);
        }
        Ok(id)
    }

    /// A publish was refused. If that was because a job with its key waits out a window, its payload takes the place of that one's, and the publish is as good
    /// as accepted. If the window has ended meanwhile it is tried `again`, once.
    ///
    /// # Errors
    /// The refusal, with the job.
    #[cold]
    pub(super) fn replace(
        &self,
        publisher: &Publisher,
        error: PublishError<T>,
        when: When<'_>,
        again: bool,
        now: Timestamp,
    ) -> Result<JobId, PublishError<T>> {
        if !error.is_duplicate() || self.keys.is_none() {
            return Err(error);
        }
        let (refusal, job) = (error.refusal().clone(), error.into_job());
        let Some(window) = self.window_of(job.key) else { return Err(PublishError::new(job, refusal)) };
        let mut side = self.timer.lock();
        let Some((id, index)) = self.waits_in(job.key) else {
            drop(side);
            return match again.then(|| self.credits.acquire(&self.slab, &publisher.accounts, job.lane)).flatten() {
                Some(index) => self.open_window(publisher, index, job, when, window, now),
                None => Err(PublishError::new(job, refusal)),
            };
        };
        if matches!(when, When::Watched(_)) {
            // the job that waits has an end of its own
            return Err(PublishError::new(job, refusal));
        }
        if !self.has_its_payload(id, index) {
            return Err(PublishError::new(job, refusal));
        }
        if is_bent(Bend::ReplaceLooksEarly) {
            drop(side);
            side = self.timer.lock();
        }
        let before = self.take_place(side, id, index, job, when.due(), window, now);
        publisher.ledger.bump(Count::Replaced);
        self.discard(before);
        Ok(id)
    }

    /// The job that waits out its window in the slot was not cancelled. Under the timer's lock.
    ///
    /// One that was, and has fired, may have ended since, and its slot have another delayed job: what is read between two looks at one word is of one job.
    pub(super) fn has_its_payload(&self, id: JobId, index: u32) -> bool {
        let slot = self.slab.slot(index);
        let word = slot.state.load();
        let waits = word.phase() == Phase::Delayed && word.holders() == 0;
        waits && slot.job_id() == id && slot.state.load() == word
    }

    /// Puts a payload in the place of that of job `id`, which waits out its window in the slot and has it still. The payload that was there.
    /// The lock ends here: the timer is woken, if it is to come by sooner now.
    ///
    /// It becomes ready when its window has ended, and not before the time it was `asked` for now, nor, if it is not put off, before it would have been.
    #[allow(clippy::too_many_arguments, reason = "a job, its place, and when it is ready")]
    fn take_place(
        &self,
        mut side: MutexGuard<'_, TimerSide>,
        id: JobId,
        index: u32,
        job: Job<T>,
        asked: Option<Timestamp>,
        window: Waiting,
        now: Timestamp,
    ) -> T {
        // SAFETY: under the timer's lock nobody else has the payload of a job that waits out its window, see above
        let before = unsafe { self.slab.take(index) };
        let ends = if window.postpones { now + window.length } else { self.slab.due(index) };
        let due = asked.map_or(ends, |asked| asked.max(ends));
        let is_keyed = self.slab.slot(index).is_keyed();
        self.write_job(index, id, job, due, now);
        if is_keyed {
            // its partition key is still the first one's
            self.slab.slot(index).set_keyed();
        }
        self.slab.set_due(index, due);
        let fires = self.fires(index);
        if side.owns(index) {
            side.wheel.reschedule(index, tick_after(fires, self.settings.tick));
        }
        drop(side);
        self.wake_timer(fires.as_nanos());
        before
    }

    /// Publishes a copy of a job that goes to several queues, as if it went to this one alone: it opens the window of its key, or takes the place of the job that
    /// waits in it. First `more` is asked whether its siblings can be had, under the locks that decide this one: so nothing is changed unless they can, and
    /// nothing can come between.
    ///
    /// `slot` is in the caller's hand, or `INDEX_NONE`: a copy that takes another's place needs none. Of a copy that goes in it is used, or given back here.
    /// With the payload whose place was taken, to be dropped when no lock is held; [`look_again`](Self::look_again) is to follow then too.
    ///
    /// # Errors
    /// What was refused here, as `why` puts it; or what `more` said.
    #[cold]
    #[allow(clippy::too_many_arguments, reason = "a copy, where it goes, and its siblings")]
    pub fn publish_in_window<C, E>(
        &self,
        publisher: &Publisher,
        slot: u32,
        lane: usize,
        key: Key,
        watch: Option<&Watch>,
        now: Timestamp,
        siblings: &mut C,
        why: impl FnOnce(Refusal) -> E,
        more: impl FnOnce(&mut C) -> Result<(), E>,
        copy: impl FnOnce(&mut C) -> Job<T>,
    ) -> Result<(JobId, Option<T>), E> {
        let window = self.window_of(key).expect("its jobs wait for others");
        let mut index = slot;
        let refuse = |index: u32, error: E| {
            if index != slot {
                self.give_slot_back(publisher, index);
            }
            Err(error)
        };
        let side = loop {
            let side = self.timer.lock();
            if let Some((id, place)) = self.waits_in(key) {
                // (of one that is watched: the job that waits has an end of its own)
                if watch.is_some() || !self.has_its_payload(id, place) {
                    return refuse(index, why(Refusal::Duplicate { existing: id }));
                }
                if let Err(error) = more(siblings) {
                    return refuse(index, error);
                }
                let before = self.take_place(side, id, place, copy(siblings), None, window, now);
                publisher.ledger.bump(Count::Replaced);
                self.give_slot_back(publisher, index);
                return Ok((id, Some(before)));
            }
            if index != INDEX_NONE {
                break side;
            }
            // its window has ended meanwhile: it needs a slot after all, which is not looked for under the lock
            drop(side);
            match self.credits.acquire(&self.slab, &publisher.accounts, lane) {
                Some(free) => index = free,
                None => return Err(why(self.full())),
            }
        };
        if let Err(error) = self.claim_copy(publisher, index, key, now, why, || more(siblings)) {
            return refuse(index, error);
        }
        let id = self.id_of_copy(publisher, index, key);
        self.keep_place(key, id, index);
        let when = watch.map_or(When::Now, When::Watched);
        let job = self.lay(index, copy(siblings));
        self.send_otherwise(publisher, index, id, job, when, Some(now + window.length), now);
        drop(side);
        Ok((id, None))
    }

    /// A copy, or a follow-up, went in under locks, which are free again. One that meets the stop becomes undone. Drops payloads: user code.
    #[cold]
    pub fn look_again(&self) {
        if self.met_the_stop() {
            self.recall_all();
        }
    }
}
