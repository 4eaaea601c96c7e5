//! Dead letters by hand, purge, and the chores.

use super::bent::{Bend, is_bent};
use super::chores::Period;
use super::{Aftermath, Chore, House, Publisher, Queue, When};
use crate::clock::{Clock, Timestamp};
use crate::completion::{End, Kept};
use crate::dead_letter::{DeadLetter, DeadLetters, DeathReason, Held};
use crate::dedupe::Name;
use crate::error::{PublishError, Refusal};
use crate::id::JobId;
use crate::job::{Job, Payload};
use crate::ledger::Count;
use crate::limits::PREFETCH_MAX;
use crate::ring::Popped;
use crate::slab::Fate;
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::contain;
use std::sync::Arc;

/// So many missed periods are caught up with by one chore: after a long sleep there may be millions, and their worker has other things to do as well.
const CAUGHT_UP_AT_ONCE: u64 = 4096;

impl<T> Queue<T> {
    /// Looks at the dead letters, oldest first, under their lock. None of them has reached its age, but for those whose way on is barred.
    pub fn with_letters<R>(&self, now: Timestamp, look: impl FnOnce(&mut dyn Iterator<Item = &DeadLetter<T>>) -> R) -> R {
        self.retire_aged(now);
        let dead = self.dead.lock();
        look(&mut dead.iter())
    }

    /// How many dead letters there are, those included that somebody has in hand, and those that are held. None has reached its age, as above.
    pub fn count_letters(&self, now: Timestamp) -> usize {
        self.retire_aged(now);
        let dead = self.dead.lock();
        dead.len() + dead.held()
    }

    /// How many of them are held.
    pub fn count_held(&self, now: Timestamp) -> usize {
        self.retire_aged(now);
        self.dead.lock().held()
    }

    /// Takes out a dead letter: that of `job`, or the oldest.
    pub fn take_letter(&self, job: Option<JobId>, now: Timestamp) -> Option<DeadLetter<T>> {
        self.retire_aged(now);
        // the house before the dead, as everywhere
        let house = self.house.lock();
        let mut dead = self.dead.lock();
        let place = dead.find(job);
        let (letter, told) = match place.and_then(|place| self.take_held(&house, &mut dead, place, now)) {
            Some((held, told)) => {
                self.forget_key(held.slot);
                self.credits.release(&self.slab, &house.accounts, held.slot);
                (Some(held.letter), told)
            }
            None => (place.and_then(|place| dead.take_at(place)), Aftermath::Nothing),
        };
        dead.purged += u64::from(letter.is_some());
        drop(dead);
        drop(house);
        told.run(self);
        self.settle_held(now);
        letter
    }

    /// Drops every dead letter that is there now. Says how many.
    pub fn purge_letters(&self, now: Timestamp) -> usize {
        // here already, lest one that goes by its age be counted among them
        let there = self.count_letters(now);
        let letters = (0..there).map_while(|_| self.take_letter(None, now));
        letters.map(|letter| Aftermath::Evicted(letter).run(self)).count()
    }

    /// Publishes a dead letter again, with its past: that of `job`, or the oldest. `Ok(false)` when there is none, `Err` when the queue is full or closed, or
    /// another job has the key; then the letter stays where it is.
    pub fn redrive(&self, job: Option<JobId>, now: Timestamp) -> Result<bool, Refusal> {
        self.redrive_found(|dead| dead.find(job), now)
    }

    /// As [`redrive`](Self::redrive), for the letter that `find` says the place of.
    fn redrive_found(&self, find: impl FnOnce(&DeadLetters<T>) -> Option<u64>, now: Timestamp) -> Result<bool, Refusal> {
        self.retire_aged(now);
        if self.is_closed() {
            return Err(Refusal::Closed);
        }
        // the house before the dead, as everywhere
        let house = self.house.lock();
        let mut dead = self.dead.lock();
        let Some(place) = find(&dead) else { return Ok(false) };
        let (index, name, letter, told) = match self.take_held(&house, &mut dead, place, now) {
            // it has kept its slot, and its key
            Some((Held { slot, letter, .. }, told)) => {
                (slot, self.name_of(slot).unwrap_or(Name::unclaimed(letter.key, letter.job_id())), letter, told)
            }
            None => {
                let Some(letter) = dead.at(place) else { return Ok(false) };
                let (free, name) = self.slot_and_name(&house, &dead, letter, now)?;
                if is_bent(Bend::RedriveLooksEarly) {
                    drop(dead);
                    dead = self.dead.lock();
                }
                let letter = dead.take_at(place).expect("found above, under the same lock");
                // full of dead jobs that are held: one of them takes the letter's place, and the letter its slot
                let (index, told) = match free {
                    Some(index) => (index, Aftermath::Nothing),
                    None => self.bury_held(&house, &mut dead, now).expect("the letter has just made room for a held job"),
                };
                (index, name, letter, told)
            }
        };
        dead.redriven += 1;
        self.revive(&house, index, name, letter, Timestamp::MAX, now);
        drop(dead);
        drop(house);
        told.run(self);
        self.settle_held(now);
        self.revived();
        self.at_once.run();
        Ok(true)
    }

    /// A slot for a letter that is to be redriven, and its name with its key. No slot: that of the first that is held will be its own.
    fn slot_and_name(
        &self,
        house: &House,
        dead: &DeadLetters<T>,
        letter: &DeadLetter<T>,
        now: Timestamp,
    ) -> Result<(Option<u32>, Name), Refusal> {
        let lane = letter.lane();
        // the slot first: a letter that finds none keeps its place
        let free = self.credits.acquire(&self.slab, &house.accounts, lane);
        if free.is_none() && !dead.first_held().is_some_and(|held| self.credits.may_occupy(lane, held)) {
            return Err(self.full());
        }
        match self.name_again(Name::unclaimed(letter.key, letter.job_id()), now) {
            Ok(name) => Ok((free, name)),
            Err(refusal) => {
                free.into_iter().for_each(|index| self.credits.release(&self.slab, &house.accounts, index));
                Err(refusal)
            }
        }
    }

    /// Drops every job that waits now, claimed ones too. Says how many.
    pub fn purge(&self, now: Timestamp) -> usize {
        self.recall_claimed();
        let mut purged = 0;
        let mut popped = Popped::new();
        for ring in &self.lanes {
            // so many chains: what is published from now on lies behind them, and there may be no end of it
            let mut left = ring.len_hint();
            while left > 0 && ring.pop(left.min(PREFETCH_MAX.into()) as u32, &mut popped) {
                left -= popped.chains().len() as u64;
                purged +=
                    popped.chains().iter().flat_map(|chain| chain.iter(&self.slab)).filter(|&index| self.purge_one(index, now)).count();
            }
        }
        purged + self.drain_partitions().filter(|&index| self.purge_one(index, now)).count()
    }

    /// Drops a waiting job. The caller owns `index`.
    fn purge_one(&self, index: u32, now: Timestamp) -> bool {
        let state = self.slab.state(index);
        let parting = self.parting(index);
        let disposed = state.end_claimed(state.load().epoch(), Fate::Purged);
        self.dispose_by_house(index, parting, disposed, now).map(|left| left.run(self)).is_some()
    }

    /// Moves on the dead letters that are due, or drops those that have reached their age. Runs user code: not to be called with any lock.
    pub fn retire_letters(&self, now: Timestamp) {
        self.move_letters(now);
        self.drop_aged(now);
        self.settle_held(now);
    }

    /// As [`retire_letters`](Self::retire_letters), if a letter has reached its age. For whoever is about to look at them: there may be nobody else who comes by.
    fn retire_aged(&self, now: Timestamp) {
        if self.letters_age && self.dead.lock().may_retire(now) {
            self.retire_letters(now);
        }
    }

    /// Drops the dead letters that have reached their age, and moves none: for whoever only counts. Runs user code, as above.
    pub fn drop_aged(&self, now: Timestamp) {
        let old = if self.letters_age { self.dead.lock().retire(now) } else { Vec::new() };
        if !old.is_empty() {
            old.into_iter().for_each(|letter| Aftermath::Evicted(letter).run(self));
            self.settle_held(now);
        }
    }
}

impl<T: Payload> Queue<T> {
    /// Does a chore. Runs user code.
    pub fn do_chore(&self, publisher: &Publisher, chore: Chore<T>, clock: &dyn Clock) {
        match chore {
            Chore::RetireLetters(seen) => self.retire_letters(clock.now().max(seen)),
            Chore::Deferred => {
                let deferred = std::mem::take(&mut *self.deferred.lock());
                for job in deferred {
                    // not counted when it is refused: nobody publishes it. It waits for a slot, whatever the queue does with others when it is full
                    let now = clock.now();
                    let published = match self.check(&job, || now) {
                        Ok(()) => self.admit_if_free(publisher, job, When::Now, now, || self.full()),
                        Err(refusal) => Err(PublishError::new(job, refusal)),
                    };
                    match published.or_else(|error| self.replace(publisher, error, When::Now, true, now)) {
                        Ok(_) => {}
                        Err(error) if error.is_full() || error.is_closed() || matches!(error.refusal(), Refusal::TooManyKeys { .. }) => {
                            self.deferred.lock().push(error.into_job());
                        }
                        // it will never be accepted
                        Err(error) => self.bury_refused(publisher, error.into_job(), clock.now()),
                    }
                }
            }
            Chore::Pressure => self.tell_crossings(),
            Chore::Period(period) => {
                self.run_period(publisher, &period, clock);
                self.forget(period);
            }
            Chore::After(aftermath) => aftermath.run(self),
            Chore::Forget(period) => self.forget(period),
        }
    }

    /// Lets go of a period. If nobody else holds it, what its closure holds is dropped here.
    fn forget(&self, period: Arc<Period<T>>) {
        self.discard(period);
    }

    /// Nobody works here any more: lets go of what periods hold, which may be handles of this queue, and runs what was left to others.
    pub fn let_go(&self) {
        let periods = std::mem::take(&mut *self.periods.lock());
        for chore in self.chores.take_last() {
            match chore {
                Chore::After(aftermath) => aftermath.run(self),
                chore => self.discard(chore),
            }
        }
        self.discard(periods);
    }

    /// A follow-up that no publish accepts: to the dead letters, or to the deferred again while there is no room for it.
    fn bury_refused(&self, publisher: &Publisher, job: Job<T>, now: Timestamp) {
        let lane = job.lane.min(self.lanes.len() - 1);
        let id = JobId(self.reserve_ids(1));
        match self.bury_new(id, Job { lane, ..job }, DeathReason::Rejected, now, publisher) {
            Ok(aftermath) => {
                publisher.ledger.bump(Count::Accepted);
                aftermath.run(self);
                self.tell_slotless(None, id, Kept::bare(End::DeadLettered(DeathReason::Rejected)), 0, now);
            }
            Err(job) => self.deferred.lock().push(job),
        }
    }

    fn run_period(&self, publisher: &Publisher, period: &Arc<Period<T>>, clock: &dyn Clock) {
        // relaxed: the chore list's lock carried it
        let owed = period.owed.swap(0, Relaxed);
        let later = owed.saturating_sub(CAUGHT_UP_AT_ONCE);
        // relaxed: as above. Whoever finds nothing owed adds the chore
        if later > 0 && period.owed.fetch_add(later, Relaxed) == 0 {
            self.add_chore(Chore::Period(Arc::clone(period)));
        }
        for _ in 0..owed - later {
            // relaxed: a stopped period may fire once more
            if period.stopped.load(Relaxed) || self.is_stopped() {
                return;
            }
            (period.act)(self, publisher, clock);
        }
    }

    /// Publishes what `make` returns for one period.
    pub fn publish_made(&self, publisher: &Publisher, make: impl FnOnce() -> Job<T>, clock: &dyn Clock) {
        let published = match contain(make) {
            Ok(job) => self.try_publish(publisher, job, When::Now, clock.now()).map_err(|error| self.discard(error)),
            Err(_) => Err(()),
        };
        if published.is_err() {
            publisher.ledger.bump(Count::PeriodsMissed);
        }
    }

    /// Calls what somebody wants to be told by. User code: not under a lock.
    pub fn call_back(&self, call: impl FnOnce()) {
        if contain(call).is_err() {
            self.count_house(Count::DropPanics);
        }
    }

    /// The period is due at `at`. Not for one that is due before: whoever does that tells the timer nothing new.
    pub fn set_period(&self, period: &Period<T>, at: Timestamp) {
        *period.next.lock() = at;
        // relaxed: as in `add_period`, and the time's lock orders it behind the timer's clearing, unless the timer sees the time
        self.periods_changed.store(true, Relaxed);
        self.wake_timer(at.as_nanos());
    }

    /// Does what `period` does, from its first due time on.
    pub fn add_period(&self, period: Arc<Period<T>>) {
        {
            let mut periods = self.periods.lock();
            if self.is_stopped() {
                drop(periods);
                return drop(period);
            }
            periods.push(period);
            // relaxed: written under the lock; `wake_timer` fences before the timer's second look
            self.periods_changed.store(true, Relaxed);
        }
        self.wake_timer(0);
    }
}

mod round;

#[cfg(all(test, not(loom)))]
mod tests;
