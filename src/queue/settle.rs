//! A delivery ends.
//!
//! Two steps, so that user code never runs inside the protocol: [`Queue::plan`] asks the retry function what to do, then [`Claimer::settle`] does it with
//! one CAS. Whoever loses that CAS is stale: it leaves the slot and touches nothing.

use super::bent::{Bend, is_bent};
use super::{Aftermath, CancelCause, Claimer, Lease, Queue, Undone};
use crate::clock::Timestamp;
use crate::config::RetryDecision;
use crate::error::{Became, ExtendError, Stale};
use crate::id::JobId;
use crate::inbox::Flag;
use crate::job::Job;
use crate::ledger::Count;
use crate::rng::Rng;
use crate::slab::{Fate, Leave, Next, Phase, Settled, Word};
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::contain;
use crate::verdict::{JobError, Verdict};
use std::time::Duration;

/// What to do with a delivery.
#[derive(Debug)]
pub enum Plan {
    /// The job is over.
    End(Fate, Option<JobError>),
    /// The attempt failed; the job comes back after a delay.
    Retry(JobError, Duration),
    /// The job comes back after a delay; no attempt is spent.
    Snooze(Duration),
    /// The delivery failed for good: its attempts are used up.
    Exhausted(JobError),
}

/// Why a job that ends under a stale holder has left what is to be known of it.
const PARTED: &str = "who holds a slot beside the current holder has held it since before";

impl<T> Queue<T> {
    /// Turns a verdict into a plan: asks backoff and retry function. Runs user code; call it outside of locks.
    pub fn plan(&self, lease: &Lease, verdict: Verdict, rng: &mut Rng) -> Plan {
        let retry = &self.settings.retry;
        match verdict {
            Verdict::Ack => Plan::End(Fate::Acked, None),
            Verdict::Discard => Plan::End(Fate::Discarded, None),
            Verdict::Reject(error) => Plan::End(Fate::Rejected, Some(error)),
            Verdict::Snooze(after) => Plan::Snooze(after),
            Verdict::Retry(error) | Verdict::RetryAfter(error, _) if lease.failures() + 1 >= retry.max_attempts => Plan::Exhausted(error),
            Verdict::RetryAfter(error, after) => Plan::Retry(error, after),
            Verdict::Retry(error) => match &retry.decide {
                None => {
                    let previous = self.histories.last_delay(lease.index, lease.job);
                    let delay = retry.backoff.delay(lease.failures(), previous, rng);
                    Plan::Retry(error, delay)
                }
                // it is stale, and no failure of the job's
                Some(_) if !self.is_current(lease) => Plan::Retry(error, Duration::ZERO),
                Some(decide) => match contain(|| decide(lease.failures(), &error)) {
                    Ok(RetryDecision::After(delay)) => Plan::Retry(error, delay),
                    Ok(RetryDecision::Reject) => Plan::End(Fate::Rejected, Some(error)),
                    Ok(RetryDecision::Discard) => Plan::End(Fate::Discarded, Some(error)),
                    // a retry function that panics is no reason to lose the job
                    Err(_) => Plan::Retry(error, retry.backoff.delay(lease.failures(), Duration::ZERO, rng)),
                },
            },
        }
    }

    /// What became of a job whose delivery was found stale.
    fn became(word: Word) -> Stale {
        Stale::new(match word.phase() {
            Phase::Ready | Phase::Delayed => Became::Waiting,
            Phase::Running => Became::Redelivered,
            Phase::Free | Phase::Doomed | Phase::Zombie | Phase::Held => Became::Ended,
        })
    }

    /// Hands a delayed job to the timer. The caller owns `index`.
    pub(super) fn delay(&self, index: u32, due: Timestamp) {
        self.slab.set_due(index, due);
        let fires = self.fires(index);
        self.inbox.post(index, Flag::Handover);
        self.wake_timer(fires.as_nanos());
    }
}

impl<T> Claimer<T> {
    /// [`Queue::plan`] with this claimer's own randomness.
    #[inline]
    pub fn plan(&mut self, lease: &Lease, verdict: Verdict) -> Plan {
        self.queue.plan(lease, verdict, &mut self.rng)
    }

    /// Ends a delivery as planned. The payload of an ended job is dropped where it lies if `in_place`, else left to the caller.
    ///
    /// # Errors
    /// [`Stale`] when the lease had run out: nothing was touched.
    #[allow(clippy::result_large_err, reason = "a stale settlement may still be the last to leave, and then has the same to hand over")]
    #[inline]
    pub fn settle(&mut self, lease: Lease, plan: Plan, now: Timestamp, in_place: bool) -> Result<Aftermath<T>, (Stale, Aftermath<T>)> {
        let queue = &self.queue;
        let state = queue.slab.state(lease.index);
        let stopped = queue.is_stopped();
        let (next, error, delay, snooze) = match plan {
            Plan::End(fate, error) => (Next::End { fate, spend_failure: false }, error, Duration::ZERO, false),
            Plan::Exhausted(error) => (Next::End { fate: Fate::Attempts, spend_failure: true }, Some(error), Duration::ZERO, false),
            // nobody would start it any more
            Plan::Retry(error, _) if stopped => {
                (Next::End { fate: Fate::HandedBack, spend_failure: true }, Some(error), Duration::ZERO, false)
            }
            Plan::Snooze(_) if stopped => (Next::End { fate: Fate::HandedBack, spend_failure: false }, None, Duration::ZERO, false),
            Plan::Retry(error, Duration::ZERO) => (Next::Ready { spend_failure: true }, Some(error), Duration::ZERO, false),
            Plan::Snooze(Duration::ZERO) => (Next::Ready { spend_failure: false }, None, Duration::ZERO, true),
            Plan::Retry(error, delay) => (Next::Delayed { spend_failure: true }, Some(error), delay, false),
            Plan::Snooze(delay) => (Next::Delayed { spend_failure: false }, None, delay, true),
        };
        if let Some(error) = &error {
            // before the CAS: afterwards the slot may be somebody else's. A lease that runs out in between leaves its note until the next attempt's
            queue.histories.note_error(lease.index, lease.job, error.reason(), delay, || queue.is_current(&lease));
        }
        let epoch = if is_bent(Bend::SettleRereads) { state.load().epoch() } else { lease.epoch() };
        let parting = queue.parting_from_others(lease.index, lease.running.get());
        let settled = state.settle(epoch, |word| match next {
            Next::Ready { .. } | Next::Delayed { .. } | Next::End { fate: Fate::HandedBack, .. } if word.is_cancelled() => {
                Next::End { fate: Fate::Cancelled, spend_failure: false }
            }
            next => next,
        });
        crate::crash_point!("queue.settle.decided");
        let aftermath = match settled {
            Ok(Settled::Left(word)) if is_bent(Bend::EndUnderReaders) => {
                queue.end(&self.accounts, &self.ledger, lease.index, word, now, in_place)
            }
            Ok(Settled::Owner(word)) => {
                if word.fate() == Fate::HandedBack {
                    queue.count_fate(&self.ledger, lease.index, word.fate());
                    let told = queue.hand_back_one(lease.index, word, super::Origin::Interrupted, now);
                    queue.credits.release(&queue.slab, &self.accounts, lease.index);
                    told
                } else {
                    queue.finish(&self.accounts, &self.ledger, lease.index, word, now, in_place)
                }
            }
            Ok(Settled::Left(word)) => queue.count_left(&self.ledger, parting.expect(PARTED), word, now),
            Ok(Settled::Ready(word)) => {
                self.count_return(lease.index, snooze);
                // for those who ask since when it has waited
                queue.slab.set_due(lease.index, now);
                queue.watch_time_to_live(lease.index);
                queue.come_back(lease.index, word);
                queue.ring_bell(1);
                Aftermath::Nothing
            }
            Ok(Settled::Delayed(_)) => {
                self.count_return(lease.index, snooze);
                queue.step_back(lease.index);
                queue.delay(lease.index, now + delay);
                Aftermath::Nothing
            }
            Err(stale) => return Err(self.lost(&lease, stale.0, now, in_place)),
        };
        self.clear_delivery(&lease);
        Ok(aftermath)
    }

    /// Ends the delivery in `place` well: [`settle`](Self::settle) with `Fate::Acked`, for a claimer whose deliveries stay where they are. The usual case takes one
    /// CAS, and the lease is not moved: one that was written a moment ago cannot be read in larger pieces without waiting for the writes.
    // always: into the worker's loop
    #[inline(always)]
    pub fn ack(&mut self, place: &mut Option<Lease>, now: Timestamp) {
        let Some(lease) = place.as_ref() else { return };
        let queue = &*self.queue;
        let index = lease.index;
        if !queue.slab.state(index).ack(lease.running.get()) {
            return self.ack_unusual(place, now);
        }
        crate::crash_point!("queue.settle.decided");
        self.clear_delivery(lease);
        *place = None;
        if queue.tracks {
            return self.ack_tracked(index);
        }
        self.ledger.bump(Count::Acked);
        queue.end_in_place(&self.accounts, &self.ledger, index);
    }

    /// The job in `index` was acked: its key is free, and the next job of its partition may be ours. The caller owns `index`.
    #[inline(never)]
    fn ack_tracked(&mut self, index: u32) {
        let queue = &*self.queue;
        queue.forget_key(index);
        self.ledger.bump(Count::Acked);
        let turn = self.turn_of(index);
        queue.end_in_place(&self.accounts, &self.ledger, index);
        self.end_turn(turn);
    }

    #[cold]
    fn ack_unusual(&mut self, place: &mut Option<Lease>, now: Timestamp) {
        let Some(lease) = place.take() else { return };
        match self.settle(lease, Plan::End(Fate::Acked, None), now, true) {
            Ok(aftermath) | Err((_, aftermath)) => self.after(aftermath),
        }
    }

    /// Acks a delivery and publishes a follow-up in the same slot, with the same credit. A stale holder that still reads the old payload sends the
    /// follow-up through a slot of its own. So does one whose follow-up goes to a lane that may not occupy the slot, if there is one: if not, it stays there. `fits`: it is
    /// [well-formed](Queue::is_well_formed).
    ///
    /// The caller [follows through](Queue::follow_through) afterwards, outside of its locks.
    ///
    /// # Errors
    /// [`Stale`] when the lease had run out, with the follow-up back. `Ok` with the follow-up: acked, but it is to be deferred, since no other slot was
    /// free, or a publish would refuse it.
    #[allow(clippy::type_complexity, clippy::result_large_err, reason = "two ways to get the follow-up back, both spelled out above")]
    pub fn settle_chained(
        &mut self,
        lease: Lease,
        next: Job<T>,
        fits: bool,
        now: Timestamp,
        in_place: bool,
    ) -> Result<(Aftermath<T>, Option<Job<T>>), (Stale, Job<T>, Aftermath<T>)> {
        let queue = &self.queue;
        let state = queue.slab.state(lease.index);
        let parting = queue.parting_from_others(lease.index, lease.running.get());
        let mut chaining = (!is_bent(Bend::ChainUncounted)).then(|| queue.chaining());
        let settled = state.settle(lease.epoch(), |_| Next::End { fate: Fate::Chained, spend_failure: false });
        crate::crash_point!("queue.settle.decided");
        let (index, aftermath) = match settled {
            Ok(Settled::Owner(word)) => {
                queue.count_fate(&self.ledger, lease.index, word.fate());
                let news = queue.news_of(lease.index, word, None, now);
                queue.histories.take(lease.index, lease.job);
                let aftermath = if !in_place && std::mem::needs_drop::<T>() {
                    // SAFETY: `Settled::Owner`: the payload is ours
                    Aftermath::Garbage(unsafe { queue.slab.take(lease.index) })
                } else {
                    // SAFETY: as above
                    if contain(|| unsafe { queue.slab.drop_in_place(lease.index) }).is_err() {
                        self.ledger.bump(Count::DropPanics);
                    }
                    Aftermath::Nothing
                };
                (Some(lease.index), aftermath.and_tell(news))
            }
            Ok(Settled::Left(word)) => {
                let told = queue.count_left(&self.ledger, parting.expect(PARTED), word, now);
                (queue.credits.acquire(&queue.slab, &self.accounts, next.lane), told)
            }
            Ok(Settled::Ready(_) | Settled::Delayed(_)) => unreachable!("a chained job ends"),
            Err(stale) => {
                let (stale, aftermath) = self.lost(&lease, stale.0, now, in_place);
                return Err((stale, next, aftermath));
            }
        };
        self.clear_delivery(&lease);
        let Some(index) = index.map(|index| self.queue.credits.fitting(&self.queue.slab, &self.accounts, next.lane, index)) else {
            return Ok((aftermath, Some(next)));
        };
        let queue = &self.queue;
        let (lane, order) = (next.lane, next.order);
        let id = JobId(queue.reserve_ids(1));
        let goes_in = fits && queue.window_of(next.key).is_none() && queue.name_job_as(id, index, next.key, now).is_ok();
        if !goes_in {
            queue.credits.release(&queue.slab, &self.accounts, index);
            return Ok((aftermath, Some(next)));
        }
        if is_bent(Bend::ChainArrivesEarly) {
            chaining = None;
        }
        let ttl = next.ttl;
        queue.write_job(index, id, next, now, now);
        queue.slab.state(index).fill(lane as u8);
        queue.line_up(index, lane, order);
        self.ledger.bump(Count::Accepted);
        if let Some(ttl) = ttl
            && queue.inbox.post(index, Flag::Poke)
        {
            queue.wake_timer((now + ttl).as_nanos());
        }
        drop(chaining);
        queue.ring_bell(1);
        Ok((aftermath, None))
    }

    /// The lease had run out: counts it, and leaves the slot without touching the job.
    fn lost(&self, lease: &Lease, found: Word, now: Timestamp, in_place: bool) -> (Stale, Aftermath<T>) {
        self.ledger.bump(Count::StaleSettles);
        // the timer may have marked it between the handler's return and here
        self.block.clear_stuck();
        let aftermath = self.leave(lease, now, in_place);
        self.clear_delivery(lease);
        (Queue::<T>::became(found), aftermath)
    }

    /// A stale holder leaves; the last one reclaims the slot.
    fn leave(&self, lease: &Lease, now: Timestamp, in_place: bool) -> Aftermath<T> {
        let left = self.queue.slab.state(lease.index).leave();
        crate::crash_point!("queue.settle.left");
        match left {
            Leave::NotLast => Aftermath::Nothing,
            Leave::Owner(word) => {
                if super::end::ends_at_once(word.fate()) {
                    self.ledger.bump(Count::LingeringGone);
                }
                if word.fate() == Fate::HandedBack {
                    let told = self.queue.hand_back_one(lease.index, word, super::Origin::Interrupted, now);
                    self.queue.credits.release(&self.queue.slab, &self.accounts, lease.index);
                    return told;
                }
                self.queue.end(&self.accounts, &self.ledger, lease.index, word, now, in_place)
            }
        }
    }

    /// The job comes back: counts it. The caller owns the index.
    fn count_return(&self, index: u32, snooze: bool) {
        if snooze {
            self.queue.slab.slot(index).add_snooze();
            self.ledger.bump(Count::Snoozed);
        } else {
            self.ledger.bump(Count::Retried);
        }
    }
}

impl<T> Queue<T> {
    /// Gives the holder of `lease` another `length` from now, at most up to `max_lease` after its start.
    ///
    /// An extension is a re-lease: the holder bumps the epoch, then announces the length and the new claim. So it races settle and expiry through the same
    /// word, and the timer sees a fresh lease, aged from the moment it sees it. The length comes after the epoch: announced before, by a holder whose lease is
    /// gone, it would be that of the job's next delivery, which has the same epoch.
    ///
    /// # Errors
    /// When the lease had run out, or `max_lease` is used up.
    pub fn extend(&self, block: &super::ClaimBlock, lease: &Lease, length: Duration, now: Timestamp) -> Result<Duration, ExtendError> {
        let left = (lease.started + self.settings.max_lease).since(now);
        let granted = length.min(left);
        let state = self.slab.state(lease.index);
        if granted.is_zero() {
            return Err(if self.is_current(lease) { ExtendError::Capped } else { ExtendError::Stale(Self::became(state.load())) });
        }
        match state.extend(lease.epoch()) {
            Ok(epoch) => {
                crate::crash_point!("queue.extend.bumped");
                self.slab.set_extension(lease.index, epoch.raw(), granted);
                block.reclaim(lease, epoch);
                lease.running.set(lease.running.get().with_epoch(epoch));
                lease.extended.set(now);
                if block.is_unobserved(lease) && self.inbox.post(lease.index, Flag::Poke) {
                    self.wake_timer(0);
                }
                Ok(granted)
            }
            Err(stale) => Err(ExtendError::Stale(Self::became(stale.0))),
        }
    }

    /// How long the current lease of a delivery is.
    pub fn lease_of(&self, lease: &Lease) -> Duration {
        let own = self.slab.extension(lease.index, lease.epoch().raw()).or_else(|| self.slab.visibility(lease.index));
        own.unwrap_or(self.settings.visibility)
    }

    /// Keeps a follow-up that found no slot because a stale handler still reads the old one; the timer has it published as soon as there is a slot.
    #[cold]
    pub fn defer(&self, next: Job<T>) {
        self.deferred.lock().push(next);
    }

    /// True while the delivery is the job's current one.
    pub fn is_current(&self, lease: &Lease) -> bool {
        let word = self.slab.state(lease.index).load();
        word.phase() == Phase::Running && word.epoch() == lease.epoch()
    }

    /// Why the delivery should come to an end, if it should.
    pub fn cancelled(&self, lease: &Lease) -> Option<CancelCause> {
        let word = self.slab.state(lease.index).load();
        if word.phase() != Phase::Running || word.epoch() != lease.epoch() {
            Some(CancelCause::LeaseLost)
        } else if word.is_cancelled() {
            Some(CancelCause::Cancelled)
        } else {
            self.is_stopped().then_some(CancelCause::Shutdown)
        }
    }

    /// True once four fifths of the lease have passed since the delivery started or was extended.
    pub fn is_late(&self, lease: &Lease, now: Timestamp) -> bool {
        let length = self.lease_of(lease);
        now.since(lease.extended()) >= length - length / 5
    }

    /// Cancels a job: a waiting one is dropped, a running one is told. False when there is no such job.
    ///
    /// # Complexity
    /// O(capacity): the slots are searched.
    pub fn cancel(&self, job: JobId) -> bool {
        (0..self.capacity()).any(|index| self.cancel_at(index, job))
    }

    /// As [`cancel`](Self::cancel), for a caller who knows the job's slot.
    pub fn cancel_at(&self, index: u32, job: JobId) -> bool {
        let slot = self.slab.slot(index);
        let mut word = slot.state.load();
        loop {
            if slot.job_id() != job {
                return false;
            }
            match slot.state.cancel(word, Fate::Cancelled) {
                crate::slab::CancelStep::Doomed | crate::slab::CancelStep::Flagged => {
                    // relaxed: a hint for the next sweep
                    self.marks.store(true, Relaxed);
                    if is_bent(Bend::CancelTells) {
                        self.tell_ahead(job);
                    }
                    return true;
                }
                crate::slab::CancelStep::DoomedDelayed => {
                    crate::crash_point!("queue.cancel.decided");
                    if !is_bent(Bend::CancelUntold) && self.inbox.post(index, Flag::Poke) {
                        self.wake_timer(0);
                    }
                    return true;
                }
                crate::slab::CancelStep::Retry(now) => word = now,
                crate::slab::CancelStep::Gone => return false,
            }
        }
    }

    /// A job by value, with what is known of it. Its key is free from here on. The caller owns its payload; the slot counts as empty afterwards.
    pub(super) fn undone(&self, index: u32, word: Word, origin: super::Origin) -> Undone<T> {
        let slot = self.slab.slot(index);
        let job = slot.job_id();
        self.forget_key(index);
        let history = self.histories.take(index, job).unwrap_or_default();
        Undone {
            // SAFETY: the caller owns the payload
            payload: unsafe { self.slab.take(index) },
            job,
            lane: usize::from(word.lane()),
            failures: word.failures(),
            expiries: word.expiries(),
            last_error: history.last_error,
            deaths: history.past.map(|past| past.deaths).unwrap_or_default(),
            published: slot.published(),
            origin,
            expires: slot.expires(),
            visibility: self.slab.visibility(index),
        }
    }
}
