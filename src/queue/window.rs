//! Jobs that wait out a window for others with the same key ([`Dedupe::Debounce`](crate::Dedupe::Debounce), [`KeepLast`](crate::Dedupe::KeepLast)).
//!
//! Such a job is delayed: its index is the timer's. A publish with the same key puts its payload in the place of the one that waits. That is exclusive because it
//! happens under the lock of the timer's side: whoever makes the job ready (the timer), or hands it back, has that lock; nobody else ever touches the payload of a delayed job
//! that was not started. Whoever cancels it only marks the state word, which is looked at first.
//!
//! **Invariant.** Under that lock, a key is taken if and only if its job waits out its window, or was cancelled and has not ended yet: the key is claimed together with
//! the job's filling, and forgotten together with its firing.

use super::bent::{Bend, is_bent};
use super::publish::Publisher;
use super::{Queue, When};
use crate::clock::Timestamp;
use crate::dedupe::Waiting;
use crate::error::PublishError;
use crate::id::JobId;
use crate::job::{Job, Payload};
use crate::ledger::Count;
use crate::slab::Phase;
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
                return if matches!(when, When::Watched(_)) { Err(error) } else { self.replace(publisher, error, None, now) };
            }
        };
        self.keep_place(key, id, index);
        self.send_otherwise(publisher, index, id, job, when, Some(now + window.length), now);
        drop(side);
        if self.met_the_stop() {
            return self.take_back(id, keys, now);
        }
        Ok(id)
    }

    /// A publish was refused. If that was because a job with its key waits out a window, its payload takes the place of that one's, and the publish is as good
    /// as accepted. If the window has ended meanwhile it is tried once more, if it is said for `when`.
    ///
    /// # Errors
    /// The refusal, with the job.
    #[cold]
    pub(super) fn replace(
        &self,
        publisher: &Publisher,
        error: PublishError<T>,
        when: Option<When<'_>>,
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
            let slot = when.and_then(|when| Some((when, self.credits.acquire(&self.slab, &publisher.accounts, job.lane)?)));
            return match slot {
                Some((when, index)) => self.open_window(publisher, index, job, when, window, now),
                None => Err(PublishError::new(job, refusal)),
            };
        };
        if matches!(when, Some(When::Watched(_))) {
            // the job that waits has an end of its own
            return Err(PublishError::new(job, refusal));
        }
        let word = self.slab.state(index).load();
        if word.phase() != Phase::Delayed || word.holders() > 0 {
            // cancelled
            return Err(PublishError::new(job, refusal));
        }
        if is_bent(Bend::ReplaceLooksEarly) {
            drop(side);
            side = self.timer.lock();
        }
        // SAFETY: under the timer's lock nobody else has the payload of a job that waits out its window, see above
        let before = unsafe { self.slab.take(index) };
        let due = if window.postpones { now + window.length } else { self.slab.due(index) };
        let is_keyed = self.slab.slot(index).is_keyed();
        self.write_job(index, id, job, due, now);
        if is_keyed {
            // its partition key is still the first one's
            self.slab.slot(index).set_keyed();
        }
        if window.postpones {
            self.slab.set_due(index, due);
            if side.owns(index) {
                side.wheel.reschedule(index, tick_after(due, self.settings.tick));
            }
        }
        drop(side);
        publisher.ledger.bump(Count::Replaced);
        self.discard(before);
        Ok(id)
    }
}
