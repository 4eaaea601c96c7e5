//! The plain model of one queue: per job where it is, how often it was tried, and who reads it.
//!
//! What is decided by the model alone (a start, a verdict, a publish, a cancellation) it works out, and the queue must agree. Where the queue has a choice (whether the timer has
//! come by yet, when within two sweeps a lease ends, which job a full queue drops) the model [follows](Queue::follow) it, once it has found that the choice was one it had. It
//! counts by itself all the while.

use crate::world::How;
use ringmill::clock::Timestamp;
use ringmill::sim::{JobPhase, JobState};
use ringmill::{Counts, DeathReason, End, JobId, Overflow};
use std::collections::{BTreeMap, VecDeque};

/// Rules that a test gets wrong on purpose: a simulator that does not notice shows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// One attempt more than there is.
    Attempts,
    /// A snooze spends an attempt.
    SnoozeSpends,
    /// A job whose lease ran out has not been delivered.
    ExpiryUncounted,
    /// The key of a job is free while the job runs.
    KeyFreeEarly,
    /// A dead job that finds the dead letters full gives its slot back.
    HeldIsFree,
    /// Stale settlements are not counted.
    StaleUncounted,
}

/// What the model knows of a queue's settings. Times are in milliseconds.
#[derive(Debug, Clone)]
pub struct Rules {
    pub name: &'static str,
    /// It has workers; otherwise it is received from by hand.
    pub push: bool,
    pub capacity: usize,
    pub attempts: u32,
    pub expiries: u32,
    pub visibility: u64,
    pub max_lease: u64,
    pub backoff: u64,
    pub overflow: Overflow,
    pub letters: usize,
    /// A full list of dead letters holds the next one in its slot; otherwise it drops its oldest.
    pub hold: bool,
    /// Its letters move on.
    pub onward: bool,
    /// One live job per key.
    pub dedupe: bool,
    /// One job of a key at a time, in order.
    pub partitions: bool,
    /// How long a letter of another queue waits here.
    pub retention: Option<u64>,
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    Waiting,
    Cancelled,
    Expired,
    Delayed(u64),
    Running,
    /// Dead, and read by a stale holder.
    Dying(DeathReason),
    /// Over, and read by a stale holder.
    Lingering,
    /// Dead in the act under way: of those that die in one act the queue says which found room among the letters.
    Dead(DeathReason),
    Held(DeathReason),
    Letter,
}

#[derive(Debug, Clone)]
pub struct Job {
    /// Its payload; of a letter that has come from elsewhere it is known when it is delivered.
    pub load: Option<u32>,
    pub lane: usize,
    pub at: At,
    pub failures: u32,
    pub expiries: u32,
    pub snoozes: u32,
    pub expires: u64,
    pub cancelled: bool,
    pub key: Option<u8>,
    /// Its place among those of its key.
    pub place: u64,
    pub holds: Vec<Hold>,
}

/// A delivery in the hands of a worker or of the test.
#[derive(Debug, Clone)]
pub struct Hold {
    pub id: u64,
    pub current: bool,
    pub started: u64,
    /// Its lease is `length` from `since`.
    pub since: u64,
    pub length: u64,
    /// Time that passed unseen: the timer may have begun to count as much later.
    pub unseen: u64,
    /// An overrun of a job with a partition key was reported.
    pub reported: bool,
    /// A follow-up that goes with it.
    pub next: Option<u32>,
}

impl Hold {
    fn is_over(&self, now: u64) -> bool {
        now - self.since >= self.length
    }
}

/// What a delivery says of itself.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    pub load: u32,
    pub lane: usize,
    pub attempt: u32,
    pub failures: u32,
    pub expiries: Option<u32>,
}

/// A job that is to turn up with an id that the model does not know yet.
#[derive(Debug, Clone, Copy)]
pub struct New {
    pub load: Option<u32>,
    pub lane: usize,
    pub expires: u64,
}

#[derive(Debug)]
pub struct Queue {
    pub rules: Rules,
    pub wrong: Option<Wrong>,
    pub jobs: BTreeMap<JobId, Job>,
    /// How jobs ended.
    pub ends: BTreeMap<JobId, End>,
    pub letters: VecDeque<JobId>,
    pub held: VecDeque<JobId>,
    pub counts: Counts,
    pub paused: bool,
    places: u64,
    holds: u64,
    /// Payloads of letters that have moved on, oldest first.
    pub moved: Vec<Option<u32>>,
    /// Letters that came in the act under way.
    fresh: Vec<JobId>,
    /// Deliveries of jobs with a partition key that ended in the act under way: the timer may have come by before.
    over: Vec<Hold>,
    /// Jobs that were cancelled while they were delayed: since when, and how many deliveries had been started by then.
    recalled: Vec<(JobId, u64, u64)>,
}

impl Queue {
    pub fn new(rules: Rules, wrong: Option<Wrong>) -> Self {
        Queue {
            rules,
            wrong,
            jobs: BTreeMap::new(),
            ends: BTreeMap::new(),
            letters: VecDeque::new(),
            held: VecDeque::new(),
            counts: Counts::default(),
            paused: false,
            places: 0,
            holds: 0,
            moved: Vec::new(),
            fresh: Vec::new(),
            over: Vec::new(),
            recalled: Vec::new(),
        }
    }

    pub fn job(&mut self, id: JobId) -> &mut Job {
        self.jobs.get_mut(&id).expect("the model knows the job")
    }

    /// Slots in use.
    pub fn occupied(&self) -> usize {
        let free = |job: &Job| job.at == At::Letter || self.wrong == Some(Wrong::HeldIsFree) && matches!(job.at, At::Held(_));
        self.jobs.values().filter(|job| !free(job)).count()
    }

    /// Payloads that live.
    pub fn alive(&self) -> usize {
        self.jobs.len() + self.jobs.values().flat_map(|job| &job.holds).filter(|hold| hold.next.is_some()).count()
    }

    /// Another job has the key.
    pub fn has_key(&self, key: Option<u8>) -> bool {
        let early = self.wrong == Some(Wrong::KeyFreeEarly);
        let takes = |at: At| !matches!(at, At::Lingering | At::Letter) && !(early && matches!(at, At::Running));
        self.rules.dedupe && key.is_some() && self.jobs.values().any(|job| job.key == key && takes(job.at))
    }

    pub fn letters_full(&self) -> bool {
        self.letters.len() >= self.rules.letters
    }

    pub fn take_in(&mut self, id: JobId, load: Option<u32>, lane: usize, at: At, expires: u64, key: Option<u8>) {
        self.places += 1;
        let job = Job {
            load,
            lane,
            at,
            failures: 0,
            expiries: 0,
            snoozes: 0,
            expires,
            cancelled: false,
            key,
            place: self.places,
            holds: Vec::new(),
        };
        assert!(self.jobs.insert(id, job).is_none(), "{id} twice");
        self.counts.accepted += 1;
    }

    // ---- ends ----

    pub fn end(&mut self, id: JobId, end: End) {
        match end {
            End::Acked => self.counts.acked += 1,
            End::Discarded => self.counts.dropped_discarded += 1,
            End::Cancelled => self.counts.dropped_cancelled += 1,
            End::Purged => self.counts.dropped_purged += 1,
            other => unreachable!("{other} is told otherwise"),
        }
        self.ends.insert(id, end);
        if self.job(id).holds.is_empty() {
            self.jobs.remove(&id);
        } else {
            self.job(id).at = At::Lingering;
            self.counts.lingering_made += 1;
        }
    }

    pub fn die(&mut self, id: JobId, reason: DeathReason) {
        let read = !self.job(id).holds.is_empty();
        self.job(id).at = if read { At::Dying(reason) } else { At::Dead(reason) };
    }

    fn hold(&mut self, id: JobId, reason: DeathReason) {
        self.job(id).at = At::Held(reason);
        self.held.push_back(id);
    }

    pub fn bury(&mut self, id: JobId, reason: DeathReason) {
        self.count_death(reason);
        self.ends.insert(id, End::DeadLettered(reason));
        self.job(id).at = At::Letter;
        self.letters.push_back(id);
        self.fresh.push(id);
    }

    pub fn count_death(&mut self, reason: DeathReason) {
        self.counts.dead_lettered += 1;
        *match reason {
            DeathReason::Rejected => &mut self.counts.dead_rejected,
            DeathReason::TooManyAttempts => &mut self.counts.dead_attempts,
            DeathReason::TooManyExpiries => &mut self.counts.dead_expiries,
            DeathReason::Expired => &mut self.counts.dead_expired,
            DeathReason::OverLength => &mut self.counts.dead_over_length,
            other => unreachable!("{other} is no death of a job in its slot"),
        } += 1;
    }

    // ---- deliveries ----

    /// A delivery has started. Gives it a number.
    pub fn start(&mut self, id: JobId, told: Told, now: u64) -> u64 {
        assert!(!self.paused, "a paused queue delivers {id}");
        self.may_wait(id, now);
        let (partitions, length) = (self.rules.partitions, self.rules.visibility);
        let job = self.jobs.get(&id).unwrap_or_else(|| panic!("{id} is delivered, and is not there"));
        assert_eq!(job.at, At::Waiting, "{id} is delivered: {job:?}");
        assert!(job.expires > now, "an expired job starts: {job:?}");
        assert!(job.load.is_none_or(|load| load == told.load), "another payload than {told:?}: {job:?}");
        assert_eq!((told.lane, told.failures), (job.lane, job.failures), "{job:?}");
        assert!(told.expiries.is_none_or(|expiries| expiries == job.expiries), "{told:?}: {job:?}");
        assert_eq!(told.attempt, 1 + job.failures + job.expiries + job.snoozes, "{job:?}");
        if partitions && job.key.is_some() {
            for (other, before) in self.jobs.iter().filter(|(other, before)| **other != id && before.key == job.key) {
                let at_work = !before.holds.is_empty() && matches!(before.at, At::Running | At::Dying(_));
                assert!(!at_work, "{id} and {other} have one partition key and run at once");
                let tried = before.failures + before.expiries + before.snoozes > 0;
                let lives = before.expires > now;
                let waits = before.at == At::Waiting && lives || matches!(before.at, At::Delayed(due) if due > now || lives) && tried;
                assert!(!waits || before.place > job.place, "{id} overtakes {other} of its partition key, at {now}: {job:?} {before:?}");
            }
        }
        self.holds += 1;
        let hold = Hold { id: self.holds, current: true, started: now, since: now, length, unseen: 0, reported: false, next: None };
        let job = self.job(id);
        job.load = Some(told.load);
        job.at = At::Running;
        job.holds.push(hold);
        self.counts.started += 1;
        self.holds
    }

    /// The timer may have come by: what is due waits.
    fn may_wait(&mut self, id: JobId, now: u64) {
        match self.jobs.get(&id).map(|job| job.at) {
            Some(At::Delayed(due)) if due <= now => self.job(id).at = At::Waiting,
            Some(At::Running) if self.lease_is_over(id, now) => self.expire(id),
            _ => {}
        }
    }

    fn lease_is_over(&self, id: JobId, now: u64) -> bool {
        let job = &self.jobs[&id];
        let keeps = self.rules.partitions && job.key.is_some();
        !keeps && job.holds.iter().any(|hold| hold.current && hold.is_over(now))
    }

    fn expire(&mut self, id: JobId) {
        self.counts.expired_leases += 1;
        let (most, uncounted) = (self.rules.expiries, self.wrong == Some(Wrong::ExpiryUncounted));
        let job = self.job(id);
        job.holds.iter_mut().for_each(|hold| hold.current = false);
        job.expiries += u32::from(!uncounted);
        if job.cancelled {
            self.end(id, End::Cancelled);
        } else if job.expiries > most {
            job.at = At::Dying(DeathReason::TooManyExpiries);
        } else {
            job.at = At::Waiting;
        }
    }

    /// A delivery has ended; `counted`: its verdict counts. Gives the follow-up that was published.
    pub fn settle(&mut self, id: JobId, hold: u64, how: How, counted: bool, now: u64) -> Option<u32> {
        let at = self.job(id).holds.iter().position(|held| held.id == hold).expect("somebody has the delivery");
        if !counted && self.job(id).holds[at].current {
            assert!(self.lease_is_over(id, now), "stale within its lease, at {now}: {:?}", self.job(id));
            self.expire(id);
        }
        let held = self.job(id).holds.remove(at);
        assert_eq!(held.current, counted, "{id}, at {now}: {held:?}");
        if how == How::Break {
            let broken = if self.rules.push { &mut self.counts.panics } else { &mut self.counts.abandoned };
            *broken += 1;
        }
        if counted {
            let next = held.next;
            if self.rules.partitions && self.job(id).key.is_some() {
                self.over.push(held);
            } else {
                self.assert_in_time(&held, now);
            }
            self.verdict(id, how, now);
            return next;
        }
        self.counts.stale_settles += u64::from(self.wrong != Some(Wrong::StaleUncounted));
        if self.job(id).holds.is_empty() {
            match self.job(id).at {
                At::Lingering => {
                    self.counts.lingering_gone += 1;
                    self.jobs.remove(&id);
                }
                At::Dying(reason) => self.die(id, reason),
                _ => {}
            }
        }
        None
    }

    fn verdict(&mut self, id: JobId, how: How, now: u64) {
        let backoff = self.rules.backoff;
        match how {
            How::Ack | How::Chain => self.end(id, End::Acked),
            How::Discard => self.end(id, End::Discarded),
            How::Reject => self.die(id, DeathReason::Rejected),
            How::Retry | How::Break => self.fail(id, now, backoff),
            How::RetryAfter(delay) => self.fail(id, now, delay),
            How::Snooze(_) if self.job(id).cancelled => self.end(id, End::Cancelled),
            How::Snooze(delay) => {
                self.counts.snoozed += 1;
                let spends = self.wrong == Some(Wrong::SnoozeSpends);
                let job = self.job(id);
                job.snoozes += 1;
                job.failures += u32::from(spends);
                self.come_back(id, now, delay);
            }
        }
    }

    fn fail(&mut self, id: JobId, now: u64, delay: u64) {
        let most = self.rules.attempts + u32::from(self.wrong == Some(Wrong::Attempts));
        let job = self.job(id);
        let last = job.failures + 1 >= most;
        if job.cancelled && !last {
            return self.end(id, End::Cancelled);
        }
        job.failures += 1;
        if last {
            self.die(id, DeathReason::TooManyAttempts);
        } else {
            self.counts.retried += 1;
            self.come_back(id, now, delay);
        }
    }

    fn come_back(&mut self, id: JobId, now: u64, delay: u64) {
        self.job(id).at = if delay == 0 { At::Waiting } else { At::Delayed(now + delay) };
    }

    /// Somebody cancels a job. True if it was there to be cancelled.
    pub fn cancel(&mut self, id: JobId, now: u64) -> bool {
        let started = self.counts.started;
        let job = self.job(id);
        match job.at {
            At::Delayed(_) if job.key.is_none() => self.recalled.push((id, now, started)),
            At::Waiting | At::Delayed(_) => {}
            At::Running => job.cancelled = true,
            _ => return false,
        }
        if self.job(id).at != At::Running {
            self.job(id).at = At::Cancelled;
        }
        true
    }

    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
        self.recalled.clear();
    }

    /// Time has passed that nobody saw.
    pub fn leap(&mut self, by: u64) {
        self.jobs.values_mut().flat_map(|job| &mut job.holds).for_each(|hold| hold.unseen += by);
        self.recalled.iter_mut().for_each(|(_, since, _)| *since += by);
    }

    fn sweep_every(&self) -> u64 {
        (self.rules.visibility / 8).clamp(1, 100)
    }

    fn assert_in_time(&self, hold: &Hold, now: u64) {
        let latest = hold.length + 2 * self.sweep_every() + 1 + hold.unseen;
        assert!(now - hold.since <= latest, "a lease of {} ms still runs, at {now}: {hold:?}", hold.length);
    }

    /// Leases of jobs with a partition key that have run out, and were not known to have been reported: `reported` of them have been by now.
    pub fn report_overruns(&mut self, reported: u64, now: u64) {
        let running = self.jobs.values_mut().filter(|job| job.key.is_some() && job.at == At::Running).flat_map(|job| &mut job.holds);
        let over = running.chain(&mut self.over).filter(|hold| hold.current && !hold.reported && hold.is_over(now));
        let mut over: Vec<&mut Hold> = over.collect();
        assert!(reported as usize <= over.len(), "{reported} overruns were reported, at {now}: {over:?}");
        over.sort_by_key(|hold| hold.since + hold.length + hold.unseen);
        over.iter_mut().take(reported as usize).for_each(|hold| hold.reported = true);
        self.over.clear();
        self.counts.expired_leases += reported;
    }

    // ---- following ----

    /// Brings the model to where the queue is, if that is somewhere it may be. `evictions`: so many waiting jobs may have been dropped for new ones. `new`: jobs that must have
    /// turned up, in the order of their ids.
    pub fn follow(&mut self, real: &[JobState], letters: &[JobId], now: u64, mut evictions: usize, new: Vec<New>) {
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        for &id in &ids {
            let state = real.binary_search_by_key(&id, |state| state.job).ok().map(|at| &real[at]);
            self.follow_job(id, state, now, &mut evictions);
        }
        let mut new = new.into_iter();
        for state in real {
            if !self.jobs.contains_key(&state.job) {
                let New { load, lane, expires } = new.next().unwrap_or_else(|| panic!("where does it come from? {state:?}"));
                self.take_in(state.job, load, lane, At::Waiting, expires, None);
            }
        }
        assert_eq!(new.len(), 0, "{new:?} should be in `{}`", self.rules.name);
        self.follow_letters(letters);
        for state in real {
            let Some(job) = self.jobs.get(&state.job) else { panic!("the model has no {state:?}") };
            let seen = (state.lane, state.failures, state.expiries, state.snoozes, state.holders as usize);
            assert_eq!(seen, (job.lane, job.failures, job.expiries, job.snoozes, job.holds.len()), "{state:?}: {job:?}");
        }
    }

    fn follow_job(&mut self, id: JobId, state: Option<&JobState>, now: u64, evictions: &mut usize) {
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
                (At::Delayed(at), _) if at <= now => self.job(id).at = At::Waiting,
                (At::Running, _) if self.lease_is_over(id, now) => self.expire(id),
                (At::Waiting, None | Some(JobPhase::Held)) if *evictions > 0 && job.holds.is_empty() => {
                    *evictions -= 1;
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
                    self.held.retain(|held| *held != id);
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

    /// Nobody has anything to do now.
    pub fn assert_at_rest(&mut self, now: u64, has_free_worker: bool) {
        let keyed = |job: &Job| self.rules.partitions && job.key.is_some();
        for (id, job) in &self.jobs {
            assert!(!matches!(job.at, At::Delayed(due) if due <= now), "{id} is due, at {now}: {job:?}");
            job.holds.iter().filter(|hold| hold.current && !keyed(job)).for_each(|hold| self.assert_in_time(hold, now));
        }
        if !self.rules.push || self.paused || !has_free_worker {
            return;
        }
        // a key may wait for another one in its partition
        let busy = self.jobs.values().any(|job| keyed(job) && !matches!(job.at, At::Waiting | At::Letter | At::Held(_)));
        let waits = self.jobs.iter().find(|(_, job)| job.at == At::Waiting && !(busy && keyed(job)));
        assert!(waits.is_none(), "a worker is idle, and this waits, at {now}: {waits:?}");
        // a worker that has started nothing has not claimed it either, not for longer than until the timer took it back
        let (started, patience) = (self.counts.started, 8 * self.sweep_every());
        self.recalled.retain(|(id, _, then)| *then == started && self.jobs.get(id).is_some_and(|job| job.at == At::Cancelled));
        let late = self.recalled.iter().find(|(_, since, _)| now.saturating_sub(*since) > patience);
        assert!(late.is_none(), "a worker is idle, and this is cancelled and keeps its slot, at {now}: {late:?}");
    }
}
