//! The model learns what the queue has chosen, once it has found that the choice was one it had.

use super::{At, Job, New, Queue, Wrong};
use ringmill::clock::Timestamp;
use ringmill::sim::{JobPhase, JobState};
use ringmill::{DeathReason, End, JobId};

/// Waiting jobs that may have been dropped for new ones.
struct Evictions {
    left: usize,
    /// So many of them had expired.
    expired: usize,
}

impl Evictions {
    fn takes(&mut self, has_expired: bool) -> bool {
        let takes = self.left > 0 && (!has_expired || self.expired > 0);
        self.left -= usize::from(takes);
        self.expired -= usize::from(takes && has_expired);
        takes
    }
}

impl Queue {
    /// Leases of jobs with a partition key that have run out are reported, each once: `reported` of them in this act. Which of them, nobody says.
    pub fn report_overruns(&mut self, reported: u64, now: u64) {
        let ended = std::mem::take(&mut self.over);
        self.overruns_possible += ended.iter().filter(|hold| !hold.may_be_reported && hold.is_over(now)).count() as u64;
        let running = self.jobs.values_mut().filter(|job| job.key.is_some() && job.at == At::Running).flat_map(|job| &mut job.holds);
        for hold in running.filter(|hold| !hold.may_be_reported && hold.is_over(now)) {
            hold.may_be_reported = true;
            self.overruns_possible += 1;
        }
        self.overruns += reported;
        self.counts.expired_leases += reported;
        let (overruns, possible) = (self.overruns, self.overruns_possible);
        assert!(overruns <= possible, "{overruns} overruns were reported, at {now}, of {possible}: {:?}", self.jobs);
    }

    /// Overruns that the timer must have seen by now.
    fn assert_overruns_are_reported(&mut self, now: u64) {
        let sweep = self.sweep_every();
        let running = self.jobs.values_mut().filter(|job| job.key.is_some() && job.at == At::Running).flat_map(|job| &mut job.holds);
        for hold in running.filter(|hold| !hold.must_be_reported && now - hold.since > hold.latest(sweep)) {
            hold.must_be_reported = true;
            self.overruns_due += 1;
        }
        let (overruns, due) = (self.overruns, self.overruns_due);
        assert!(overruns >= due, "{overruns} overruns were reported, at {now}, and {due} there have been: {:?}", self.jobs);
    }

    /// Brings the model to where the queue is, if that is somewhere it may be. `evictions`: so many waiting jobs may have been dropped for new ones; `over_length`: so many more than
    /// the model knows have died of it. `new`: jobs that must have turned up, in the order of their ids.
    pub fn follow(&mut self, real: &[JobState], letters: &[JobId], now: u64, evictions: usize, over_length: u64, new: Vec<New>) {
        let find = |id: JobId| real.binary_search_by_key(&id, |state| state.job).ok().map(|at| &real[at]);
        let waits = |job: &Job| job.at == At::Waiting || job.leaves() <= now;
        let sure = self.jobs.iter().filter(|(id, job)| waits(job) && job.expires > now && find(**id).is_none()).count();
        // of one that has expired too it is not known
        let mut evictions = Evictions { left: evictions, expired: (over_length as usize).saturating_sub(sure) };
        let (ids, held): (Vec<JobId>, _) = (self.jobs.keys().copied().collect(), self.held.clone());
        self.acts += 1;
        for &id in &ids {
            self.follow_job(id, find(id), now, &mut evictions);
        }
        let last_gone = held.iter().filter(|held| !self.held.contains(held)).map(|(act, _)| *act).max();
        assert!(
            self.held.front().is_none_or(|(act, _)| last_gone <= Some(*act)),
            "held jobs move on in their order: {held:?}, {:?}",
            self.held
        );
        let mut new = new.into_iter();
        for state in real {
            if !self.jobs.contains_key(&state.job) {
                let new = new.next().unwrap_or_else(|| panic!("where does it come from? {state:?}"));
                self.take_in(state.job, new, At::Waiting);
                if let Some(key) = new.key.filter(|_| self.wrong != Some(Wrong::CopiesOpenNone)) {
                    self.open_window(state.job, key, now);
                }
            }
        }
        assert_eq!(new.len(), 0, "{new:?} should be in `{}`", self.rules.name);
        self.follow_letters(letters);
        for state in real {
            let Some(job) = self.jobs.get(&state.job) else { panic!("the model has no {state:?}") };
            let seen = (state.lane, state.failures, state.expiries, state.snoozes, state.holders as usize);
            assert_eq!(seen, (job.lane, job.failures, job.expiries, job.snoozes, job.holds.len()), "{state:?}: {job:?}");
            self.see_slot(state);
        }
    }

    fn follow_job(&mut self, id: JobId, state: Option<&JobState>, now: u64, evictions: &mut Evictions) {
        loop {
            let phase = state.map(|state| state.phase);
            let job = &self.jobs[&id];
            let due = |due: u64| Timestamp::ZERO + crate::world::ms(due);
            match (job.at, phase) {
                (At::Letter, None)
                | (At::Waiting, Some(JobPhase::Waiting))
                | (At::Cancelled | At::Expired, Some(JobPhase::Doomed))
                | (At::Running, Some(JobPhase::Running))
                | (At::Dying(_) | At::Lingering, Some(JobPhase::Lingering))
                | (At::Held(_), Some(JobPhase::Held)) => return,
                (At::Delayed(at), Some(JobPhase::Delayed(real))) if real == due(at) => return,
                (At::Delayed(_), _) if job.leaves() <= now => self.fire(id),
                (At::Running, _) if self.lease_is_over(id, now) => self.expire(id),
                (At::Waiting, None | Some(JobPhase::Held)) if job.holds.is_empty() && evictions.takes(job.expires <= now) => {
                    return self.dies_as(id, DeathReason::OverLength, phase);
                }
                (At::Waiting, _) if job.expires <= now => self.job(id).at = At::Expired,
                (At::Cancelled, None | Some(JobPhase::Lingering)) => return self.end(id, End::Cancelled),
                (At::Expired, Some(JobPhase::Lingering)) if !job.holds.is_empty() => return self.die(id, DeathReason::Expired),
                (At::Expired, None | Some(JobPhase::Held)) if job.holds.is_empty() => {
                    return self.dies_as(id, DeathReason::Expired, phase);
                }
                (At::Dead(reason), None | Some(JobPhase::Held)) => return self.dies_as(id, reason, phase),
                (At::Held(reason), None) => {
                    self.held.retain(|held| held.1 != id);
                    return self.bury(id, reason);
                }
                _ => panic!("{id} of `{}`, at {now}, is {state:?}, and should be {job:?}", self.rules.name),
            }
        }
    }

    fn dies_as(&mut self, id: JobId, reason: DeathReason, phase: Option<JobPhase>) {
        if phase == Some(JobPhase::Held) {
            assert!(self.rules.hold, "{id} is held where the oldest letter goes");
            self.hold(id, reason);
        } else {
            self.bury(id, reason);
        }
    }

    fn follow_letters(&mut self, real: &[JobId]) {
        let known = self.letters.len();
        let gone: Vec<JobId> = self.letters.iter().copied().filter(|id| !real.contains(id)).collect();
        self.letters.retain(|id| real.contains(id));
        if !gone.is_empty() {
            if self.rules.onward {
                // of those that came and went in one act nobody has seen which was first
                let unseen = gone.iter().filter(|id| self.fresh.contains(id)).count();
                for id in gone {
                    let load = self.jobs.remove(&id).and_then(|job| job.load);
                    self.moved.push(load.filter(|_| unseen < 2 || !self.fresh.contains(&id)));
                }
            } else {
                assert!(!self.rules.hold, "letters are gone: {gone:?}");
                assert_eq!(gone.len(), known.saturating_sub(self.rules.letters), "so many letters had to make room");
                gone.iter().for_each(|id| drop(self.jobs.remove(id)));
            }
        }
        assert!(
            real.iter().all(|id| self.letters.contains(id)) && real.len() == self.letters.len(),
            "letters: {real:?} {:?}",
            self.letters
        );
        assert!(real.len() <= self.rules.letters, "more letters than there is room for");
        // of those that came in one act the queue says which was first
        self.letters = real.iter().copied().collect();
        self.fresh.clear();
        assert!(self.held.is_empty() || self.rules.hold && (self.letters_full() || self.rules.onward), "jobs are held beside room");
    }

    /// These are held, oldest first, and found among the dead letters.
    pub fn assert_held(&self, real: &[JobId]) {
        let act = |id: &JobId| self.held.iter().find(|(_, held)| held == id).map(|(act, _)| *act);
        let acts: Vec<_> = real.iter().map(act).collect();
        let all = acts.len() == self.held.len() && acts.iter().all(Option::is_some);
        assert!(all && acts.is_sorted(), "held: {real:?} {:?}", self.held);
    }

    /// Nobody has anything to do now.
    pub fn assert_at_rest(&mut self, now: u64, has_free_worker: bool) {
        let partitions = self.rules.partitions;
        let keyed = |job: &Job| partitions && job.key.is_some();
        for (id, job) in &self.jobs {
            assert!(job.leaves() > now, "{id} is due, at {now}: {job:?}");
            job.holds.iter().filter(|hold| hold.current && !keyed(job)).for_each(|hold| self.assert_in_time(hold, now));
        }
        if partitions {
            self.assert_overruns_are_reported(now);
        }
        if !self.rules.push || self.paused || !has_free_worker {
            return;
        }
        // a key may wait for another one in its partition
        let busy = self.jobs.values().any(|job| keyed(job) && !matches!(job.at, At::Waiting | At::Letter | At::Held(_)));
        let waits = self.jobs.iter().find(|(_, job)| job.at == At::Waiting && !(busy && keyed(job)));
        assert!(waits.is_none(), "a worker is idle, and this waits, at {now}: {waits:?}");
        self.recalled.retain(|(id, _)| self.jobs.get(id).is_some_and(|job| job.at == At::Cancelled));
        let patience = 8 * self.sweep_every();
        let late = self.recalled.iter().find(|(_, since)| now.saturating_sub(*since) > patience);
        assert!(late.is_none(), "a worker is idle, and this is cancelled and keeps its slot, at {now}: {late:?}");
    }
}
