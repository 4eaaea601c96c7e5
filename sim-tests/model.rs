//! The plain model of one queue: per job where it is, how often it was tried, and who reads it.
//!
//! What is decided by the model alone (a start, a verdict, a publish, a cancellation) it works out, and the queue must agree. Where the queue has a choice (whether the timer has
//! come by yet, when within two sweeps a lease ends, which job a full queue drops) the model [follows](Queue::follow) it, once it has found that the choice was one it had. It
//! counts by itself all the while.

mod follow;
mod keys;
mod line;
mod periods;
mod slots;

use crate::world::How;
use line::Line;
pub use periods::Period;
use ringmill::{Counts, DeathReason, End, JobId, Overflow};
pub use slots::{EITHER, RESERVE, SHARED, Slot, Slots};
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
    /// A worker of one pool has an eye on the queues of another.
    AnyPool,
    /// A job that its publisher runs is a delivery.
    CallerDelivers,
    /// Of those who wait for a slot the last comes first.
    LastComeFirst,
    /// Who waited for a slot, was given one and leaves has it still.
    LeaverKeeps,
    /// Jobs of a batch do not see each other's keys.
    BatchBlind,
    /// A copy opens no window.
    CopiesOpenNone,
    /// A reserve is for the jobs of any lane.
    ReserveForAll,
    /// A job takes a slot of its lane's reserve when there is no other.
    ReserveLast,
    /// Periods that went by unseen have a job each, also where they are to be skipped.
    SkipCatchesUp,
}

/// What the model knows of a queue's settings. Times are in milliseconds.
#[derive(Debug, Clone)]
pub struct Rules {
    pub name: &'static str,
    /// It has workers; otherwise it is received from by hand.
    pub push: bool,
    /// Whose workers they are.
    pub pool: usize,
    pub capacity: usize,
    /// A lane, and how many slots are for it alone.
    pub reserve: Option<(usize, usize)>,
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
    /// Which of several jobs with a key is a duplicate.
    pub dedupe: Option<Rule>,
    /// One job of a key at a time, in order.
    pub partitions: bool,
    /// How long a letter of another queue waits here.
    pub retention: Option<u64>,
}

/// When a key is taken, with the length of its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    WhileLive,
    Window(u64),
    Debounce(u64),
    KeepLast(u64),
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
    /// What slot it may have: of one kind, once that was seen.
    pub slots: Slots,
    pub at: At,
    pub failures: u32,
    pub expiries: u32,
    pub snoozes: u32,
    pub expires: u64,
    pub cancelled: bool,
    pub key: Option<u8>,
    /// It waits out a window in which its payload may be replaced.
    pub in_window: bool,
    /// Its place among those of its key.
    pub place: u64,
    pub holds: Vec<Hold>,
}

impl Job {
    /// When the timer lets go of it, if it is delayed: when it is due, or its life ends before that.
    pub fn leaves(&self) -> u64 {
        if let At::Delayed(due) = self.at { due.min(self.expires) } else { u64::MAX }
    }

    /// The timer may have ended it where it waits.
    pub fn may_be_gone(&self, now: u64) -> bool {
        matches!(self.at, At::Cancelled | At::Expired) || matches!(self.at, At::Waiting | At::Delayed(_)) && self.expires <= now
    }
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
    /// Of a job with a partition key: it may have been reported as an overrun by now; it must have been.
    pub may_be_reported: bool,
    pub must_be_reported: bool,
    /// A follow-up that goes with it.
    pub next: Option<u32>,
}

impl Hold {
    fn is_over(&self, now: u64) -> bool {
        now - self.since >= self.length
    }

    /// How old it gets at most before the timer has found that it has run out.
    fn latest(&self, sweep: u64) -> u64 {
        self.length + 2 * sweep + 1 + self.unseen
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
    pub slots: Slots,
    pub expires: u64,
    pub key: Option<u8>,
}

#[derive(Debug)]
pub struct Queue {
    pub rules: Rules,
    pub wrong: Option<Wrong>,
    pub jobs: BTreeMap<JobId, Job>,
    /// How jobs ended.
    pub ends: BTreeMap<JobId, End>,
    pub letters: VecDeque<JobId>,
    /// Jobs that are held, in their order, with the act in which they were: of those of one act nobody says which was first.
    pub held: VecDeque<(u64, JobId)>,
    acts: u64,
    pub counts: Counts,
    pub paused: bool,
    /// Until when a key is taken by whoever had it last.
    pub windows: BTreeMap<u8, u64>,
    /// Who waits for a slot, and who has been given one; who has been told that there will be none.
    line: Line,
    turned_away: Vec<u64>,
    /// How many slots that all lanes share were free before the act under way.
    was_free: usize,
    places: u64,
    holds: u64,
    /// Payloads of letters that have moved on, oldest first.
    pub moved: Vec<Option<u32>>,
    /// Letters that came in the act under way.
    fresh: Vec<JobId>,
    /// Deliveries of jobs with a partition key that ended in the act under way: the timer may have come by before.
    over: Vec<Hold>,
    /// Jobs whose last stale holder has left in the act under way; of those, how many have ended in it, before or after.
    left: Vec<JobId>,
    ended_as_left: u64,
    /// Overruns of jobs with a partition key that were reported; that may have been; that must have been.
    overruns: u64,
    overruns_possible: u64,
    overruns_due: u64,
    /// Jobs that were cancelled while they were delayed: since when somebody might have come to them.
    recalled: Vec<(JobId, u64)>,
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
            acts: 0,
            counts: Counts::default(),
            paused: false,
            windows: BTreeMap::new(),
            line: Line::default(),
            turned_away: Vec::new(),
            was_free: 0,
            places: 0,
            holds: 0,
            moved: Vec::new(),
            fresh: Vec::new(),
            over: Vec::new(),
            left: Vec::new(),
            ended_as_left: 0,
            overruns: 0,
            overruns_possible: 0,
            overruns_due: 0,
            recalled: Vec::new(),
        }
    }

    pub fn job(&mut self, id: JobId) -> &mut Job {
        self.jobs.get_mut(&id).expect("the model knows the job")
    }

    /// Payloads that live.
    pub fn alive(&self) -> usize {
        self.jobs.len() + self.jobs.values().flat_map(|job| &job.holds).filter(|hold| hold.next.is_some()).count()
    }

    pub fn letters_full(&self) -> bool {
        self.letters.len() >= self.rules.letters
    }

    pub fn take_in(&mut self, id: JobId, new: New, at: At) {
        let New { load, lane, slots, expires, key } = new;
        self.places += 1;
        let job = Job {
            load,
            lane,
            slots,
            at,
            failures: 0,
            expiries: 0,
            snoozes: 0,
            expires,
            cancelled: false,
            key,
            in_window: false,
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
            self.ended_as_left += u64::from(self.left.contains(&id));
            self.jobs.remove(&id);
        } else {
            self.job(id).at = At::Lingering;
            self.counts.lingering_made += 1;
        }
    }

    /// How many jobs have ended in the act under way that their last stale holder left in it.
    pub fn take_ended_as_left(&mut self) -> u64 {
        self.left.clear();
        std::mem::take(&mut self.ended_as_left)
    }

    pub fn die(&mut self, id: JobId, reason: DeathReason) {
        let read = !self.job(id).holds.is_empty();
        self.job(id).at = if read { At::Dying(reason) } else { At::Dead(reason) };
    }

    fn hold(&mut self, id: JobId, reason: DeathReason) {
        self.job(id).at = At::Held(reason);
        self.held.push_back((self.acts, id));
    }

    /// Those of whom one has been held for longest.
    pub fn first_held(&self) -> impl Iterator<Item = &Job> {
        let first = self.held.front().map(|(act, _)| *act);
        self.held.iter().filter(move |(act, _)| Some(*act) == first).map(|(_, id)| &self.jobs[id])
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
                let waits = lives && (before.at == At::Waiting || matches!(before.at, At::Delayed(_)) && tried);
                assert!(!waits || before.place > job.place, "{id} overtakes {other} of its partition key, at {now}: {job:?} {before:?}");
            }
        }
        self.holds += 1;
        let hold = Hold {
            id: self.holds,
            current: true,
            started: now,
            since: now,
            length,
            unseen: 0,
            may_be_reported: false,
            must_be_reported: false,
            next: None,
        };
        let job = self.job(id);
        job.load = Some(told.load);
        job.at = At::Running;
        job.holds.push(hold);
        self.counts.started += 1;
        self.holds
    }

    /// The timer may have come by: what is due waits.
    fn may_wait(&mut self, id: JobId, now: u64) {
        match self.jobs.get(&id) {
            Some(job) if job.leaves() <= now => self.fire(id),
            Some(job) if job.at == At::Running && self.lease_is_over(id, now) => self.expire(id),
            _ => {}
        }
    }

    fn fire(&mut self, id: JobId) {
        let job = self.job(id);
        (job.at, job.in_window) = (At::Waiting, false);
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
    pub fn settle(&mut self, id: JobId, hold: u64, how: How, counted: bool, now: u64) -> Option<New> {
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
            let next = held.next.map(|load| self.follow_up(id, load));
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
                _ => self.left.push(id),
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
        let partitions = self.rules.partitions;
        let job = self.job(id);
        match job.at {
            At::Delayed(_) if !(partitions && job.key.is_some()) => self.recalled.push((id, now)),
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
        self.recalled.iter_mut().for_each(|(_, since)| *since += by);
    }

    /// A worker has started a job, and what it has claimed besides waits until the timer takes it back; or all of them are busy.
    pub fn workers_are_busy(&mut self, now: u64) {
        self.recalled.iter_mut().for_each(|(_, since)| *since = now);
    }

    fn sweep_every(&self) -> u64 {
        (self.rules.visibility / 8).clamp(1, 100)
    }

    fn assert_in_time(&self, hold: &Hold, now: u64) {
        let latest = hold.latest(self.sweep_every());
        assert!(now - hold.since <= latest, "a lease of {} ms still runs, at {now}: {hold:?}", hold.length);
    }
}
