//! The whole queue as a state machine under the manual clock, against a naive sequential model.
//!
//! Every act is carried out on both. Where the real queue has a choice (which of two leases the same sweep ends first, when within two sweeps) the model follows
//! it, after checking that the choice was one it had. After every act the ledger and the capacity add up, and every payload is where the model says: the
//! payloads themselves tell which of them live.

use proptest::prelude::*;
use proptest::test_runner::Config;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use ringmill::clock::ManualClock;
use ringmill::sync::Mutex;
use ringmill::{
    Backoff, Became, Consumer, DeadLetterConfig, Delivery, Discipline, ExtendError, Job, JobId, LaneConfig, Payload, Producer, QueueConfig,
    QueueHandle, Refusal, RetryPolicy, Runtime, ShutdownOptions, Verdict,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

const CAPACITY: usize = 7;
const VISIBILITY: u64 = 16;
const MAX_LEASE: u64 = 60;
/// An eighth of the visibility.
const SWEEP: u64 = 2;
const BACKOFF: u64 = 7;
const ATTEMPTS: u32 = 3;
/// Of jobs without a time to live. With one, no job waits that a stale holder still reads: where such a job goes when it is popped cannot be seen from outside.
const EXPIRIES: u32 = 2;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Numbers of deliveries and jobs are taken modulo how many there are.
#[derive(Debug, Clone)]
enum Act {
    Publish { lane: usize, delay: u64, ttl: Option<u64> },
    Batch { lane: usize, jobs: u32 },
    Recv,
    Settle(usize, How),
    Forget(usize),
    Extend(usize, u64),
    Complete(usize),
    Cancel(usize),
    Pause(bool),
    TakeLetter,
    Redrive(Option<usize>),
    PurgeLetters,
    Purge,
    Advance(u64),
}

#[derive(Debug, Clone, Copy)]
enum How {
    Ack,
    Retry,
    Snooze(u64),
    Reject,
    Discard,
    Drop,
}

fn act(with_ttl: bool) -> BoxedStrategy<Act> {
    let number = any::<usize>;
    let ttl = if with_ttl { prop_oneof![2 => Just(None), 1 => (0u64..30).prop_map(Some)].boxed() } else { Just(None).boxed() };
    let how = prop_oneof![
        3 => Just(How::Ack),
        3 => Just(How::Retry),
        2 => prop_oneof![Just(0), 1u64..20].prop_map(How::Snooze),
        2 => Just(How::Reject),
        1 => Just(How::Discard),
        1 => Just(How::Drop),
    ];
    prop_oneof![
        8 => (0usize..2, prop_oneof![2 => Just(0), 1 => 1u64..40], ttl).prop_map(|(lane, delay, ttl)| Act::Publish { lane, delay, ttl }),
        2 => (0usize..2, 0u32..9).prop_map(|(lane, jobs)| Act::Batch { lane, jobs }),
        14 => Just(Act::Recv),
        14 => (number(), how).prop_map(|(at, how)| Act::Settle(at, how)),
        1 => number().prop_map(Act::Forget),
        3 => (number(), 1u64..50).prop_map(|(at, length)| Act::Extend(at, length)),
        2 => number().prop_map(Act::Complete),
        3 => number().prop_map(Act::Cancel),
        1 => any::<bool>().prop_map(Act::Pause),
        2 => Just(Act::TakeLetter),
        2 => proptest::option::of(number()).prop_map(Act::Redrive),
        1 => Just(Act::PurgeLetters),
        1 => Just(Act::Purge),
        6 => prop_oneof![1u64..6, 1u64..50].prop_map(Act::Advance),
    ]
    .boxed()
}

/// What generates the acts: nothing but whether jobs have a time to live (then the dead letters have room for all; otherwise they are few and hold).
#[derive(Debug, Clone)]
struct Acts;

impl ReferenceStateMachine for Acts {
    type State = bool;
    type Transition = Act;

    fn init_state() -> BoxedStrategy<bool> {
        any::<bool>().no_shrink().boxed()
    }

    fn transitions(with_ttl: &bool) -> BoxedStrategy<Act> {
        act(*with_ttl)
    }

    fn apply(with_ttl: bool, _act: &Act) -> bool {
        with_ttl
    }
}

type Alive = Arc<Mutex<BTreeSet<u32>>>;

struct Numbered(u32, Alive);

impl Payload for Numbered {}

impl Numbered {
    fn new(number: u32, alive: &Alive) -> Self {
        assert!(alive.lock().insert(number), "payload {number} lives twice");
        Numbered(number, Arc::clone(alive))
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        assert!(self.1.lock().remove(&self.0), "payload {} is dropped twice", self.0);
    }
}

/// Where a job of the model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In its lane, since a moment between these two (time and act).
    Waiting((u64, u32), (u64, u32)),
    /// In its lane, for whoever pops it to drop.
    Cancelled,
    Delayed(u64),
    Running,
    /// Dead, but a stale holder still reads it.
    Dying,
    Held,
    Letter,
    /// Over, but a stale holder still reads it.
    Lingering,
    Gone,
}

#[derive(Debug, Clone)]
struct Model {
    lane: usize,
    at: At,
    id: Option<JobId>,
    failures: u32,
    expiries: u32,
    snoozes: u32,
    expires: u64,
    cancelled: bool,
    /// Deliveries in somebody's hands, forgotten ones included.
    holders: u32,
}

struct Hand {
    real: Option<Delivery<Numbered>>,
    job: u32,
    current: bool,
    started: u64,
    /// Its lease is `length` from `since`.
    since: u64,
    length: u64,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    accepted: u64,
    acked: u64,
    discarded: u64,
    cancelled: u64,
    purged: u64,
    dead: u64,
    retried: u64,
    snoozed: u64,
    abandoned: u64,
    stale: u64,
    full: u64,
    started: u64,
}

struct Pair {
    clock: Arc<ManualClock>,
    runtime: Runtime,
    queue: QueueHandle<Numbered>,
    producer: Producer<Numbered>,
    consumer: Consumer<Numbered>,
    alive: Alive,
    letters_max: usize,
    expiries_max: u32,

    now: u64,
    acts: u32,
    next: u32,
    paused: bool,
    jobs: BTreeMap<u32, Model>,
    hands: Vec<Hand>,
    letters: VecDeque<u32>,
    held: VecDeque<u32>,
    tally: Tally,
}

impl Pair {
    fn new(with_ttl: bool) -> Self {
        let (letters_max, expiries_max) = if with_ttl { (1_000, 0) } else { (2, EXPIRIES) };
        let clock = Arc::new(ManualClock::new());
        let mut builder = Runtime::builder().manual(Arc::clone(&clock));
        let retry = RetryPolicy::new().max_attempts(ATTEMPTS).max_expiries(expiries_max).backoff(Backoff::fixed(ms(BACKOFF)));
        let config = QueueConfig::new("q")
            .capacity(CAPACITY as u64)
            .lanes([LaneConfig::new("high"), LaneConfig::new("low")])
            .discipline(Discipline::Strict { max_wait: Duration::from_secs(3_600) })
            .visibility(ms(VISIBILITY))
            .max_lease(ms(MAX_LEASE))
            .retry(retry)
            .dead_letters(DeadLetterConfig::new().capacity(letters_max as u32));
        let queue = builder.pull_queue(config).unwrap();
        let runtime = builder.build().unwrap();
        let (producer, consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
        Pair {
            clock,
            runtime,
            queue,
            producer,
            consumer,
            alive: Alive::default(),
            letters_max,
            expiries_max,
            now: 0,
            acts: 0,
            next: 0,
            paused: false,
            jobs: BTreeMap::new(),
            hands: Vec::new(),
            letters: VecDeque::new(),
            held: VecDeque::new(),
            tally: Tally::default(),
        }
    }

    fn job(&mut self, number: u32) -> &mut Model {
        self.jobs.get_mut(&number).unwrap()
    }

    fn here(&self) -> At {
        At::Waiting((self.now, self.acts), (self.now, self.acts))
    }

    fn occupied(&self) -> usize {
        self.jobs.values().filter(|job| !matches!(job.at, At::Letter | At::Gone)).count()
    }

    fn take_in(&mut self, number: u32, lane: usize, at: At, id: Option<JobId>, ttl: Option<u64>) {
        let expires = ttl.map_or(u64::MAX, |ttl| self.now + ttl);
        let job = Model { lane, at, id, failures: 0, expiries: 0, snoozes: 0, expires, cancelled: false, holders: 0 };
        self.jobs.insert(number, job);
        self.tally.accepted += 1;
    }

    // ---- ends, in the model ----

    fn end(&mut self, number: u32) {
        let job = self.job(number);
        job.at = if job.holders > 0 { At::Lingering } else { At::Gone };
    }

    fn die(&mut self, number: u32) {
        if self.job(number).holders > 0 {
            self.job(number).at = At::Dying;
        } else if self.letters.len() < self.letters_max {
            self.bury(number);
        } else {
            self.job(number).at = At::Held;
            self.held.push_back(number);
        }
    }

    fn bury(&mut self, number: u32) {
        self.job(number).at = At::Letter;
        self.letters.push_back(number);
        self.tally.dead += 1;
    }

    fn bury_held(&mut self) {
        while self.letters.len() < self.letters_max
            && let Some(number) = self.held.pop_front()
        {
            self.bury(number);
        }
    }

    fn leave(&mut self, number: u32) {
        let job = self.job(number);
        job.holders -= 1;
        if job.holders == 0 {
            match job.at {
                At::Lingering => job.at = At::Gone,
                At::Dying => self.die(number),
                _ => {}
            }
        }
    }

    fn come_back(&mut self, number: u32, delay: u64) {
        let (due, here) = (self.now + delay, self.here());
        let job = self.job(number);
        if job.cancelled {
            self.tally.cancelled += 1;
            self.end(number);
        } else {
            job.at = if delay == 0 { here } else { At::Delayed(due) };
        }
    }

    fn settled(&mut self, number: u32, how: How) {
        self.job(number).holders -= 1;
        match how {
            How::Ack => {
                self.tally.acked += 1;
                self.end(number);
            }
            How::Discard => {
                self.tally.discarded += 1;
                self.end(number);
            }
            How::Reject => self.die(number),
            How::Snooze(delay) => {
                if !self.job(number).cancelled {
                    self.tally.snoozed += 1;
                    self.job(number).snoozes += 1;
                }
                self.come_back(number, delay);
            }
            How::Retry | How::Drop => {
                self.job(number).failures += 1;
                if self.job(number).failures >= ATTEMPTS {
                    self.die(number);
                } else {
                    self.tally.retried += u64::from(!self.job(number).cancelled);
                    self.come_back(number, BACKOFF);
                }
            }
        }
    }

    fn expired(&mut self, number: u32, earliest: u64) {
        let (lo, hi, expiries_max) = ((earliest, 0), (self.now, self.acts), self.expiries_max);
        let job = self.job(number);
        job.expiries += 1;
        if job.cancelled {
            job.at = At::Lingering;
            self.tally.cancelled += 1;
        } else if job.expiries > expiries_max {
            job.at = At::Dying;
        } else {
            job.at = At::Waiting(lo, hi);
        }
    }

    // ---- following the real queue ----

    /// Time has passed: delays end to the millisecond; leases never early and within two sweeps.
    fn follow_time(&mut self) {
        for job in self.jobs.values_mut() {
            if let At::Delayed(due) = job.at
                && due <= self.now
            {
                job.at = At::Waiting((due, self.acts), (due, self.acts));
            }
        }
        for at in 0..self.hands.len() {
            let hand = &self.hands[at];
            if !hand.current {
                continue;
            }
            let age = self.now - hand.since;
            let current = match &hand.real {
                Some(real) => real.is_current(),
                // forgotten: enough time was let pass
                None => age < hand.length,
            };
            if age < hand.length {
                assert!(current, "the lease of job {} ended after {age} of {} ms", hand.job, hand.length);
            }
            if age > hand.length + 2 * SWEEP + 1 {
                assert!(!current, "the lease of job {} of {} ms still runs after {age}", hand.job, hand.length);
            }
            if !current {
                let (job, earliest) = (hand.job, hand.since + hand.length);
                self.hands[at].current = false;
                self.expired(job, earliest);
            }
        }
    }

    /// Jobs that the model has doomed and somebody has popped; `all` must have been.
    fn follow_disposals(&mut self, all: bool) {
        let mut letters = Vec::new();
        self.queue.dead_letters().for_each(|letter| letters.push(letter.payload().0));
        let alive = self.alive.lock().clone();
        for &number in &letters {
            let job = &self.jobs[&number];
            if job.at != At::Letter {
                assert!(matches!(job.at, At::Waiting(..)) && job.expires <= self.now && job.holders == 0, "no letter yet: {job:?}");
                self.bury(number);
            }
        }
        assert_eq!(letters, self.letters.iter().copied().collect::<Vec<_>>(), "the dead letters, oldest first");
        let numbers: Vec<u32> = self.jobs.keys().copied().collect();
        for number in numbers {
            let job = &self.jobs[&number];
            match job.at {
                At::Cancelled if !alive.contains(&number) => {
                    self.tally.cancelled += 1;
                    self.end(number);
                }
                At::Cancelled => assert!(!all, "a cancelled job was not dropped: {job:?}"),
                At::Waiting(..) if all => panic!("{job:?} waits and is not delivered"),
                _ => {}
            }
        }
    }

    fn recv(&mut self) {
        match self.consumer.try_recv() {
            Ok(real) => {
                let number = real.0;
                assert!(!self.paused, "a paused queue delivers");
                let job = self.jobs[&number].clone();
                let At::Waiting(lo, _) = job.at else { panic!("delivered, but not waiting: {job:?}") };
                assert!(job.expires > self.now, "an expired job starts");
                for other in self.jobs.values().filter(|other| other.expires > self.now) {
                    if let At::Waiting(_, hi) = other.at {
                        assert!(other.lane >= job.lane, "the high lane goes first");
                        assert!(other.lane > job.lane || hi >= lo, "a lane is first in, first out: {job:?} before {other:?}");
                    }
                }
                assert_eq!((real.lane(), real.failures()), (job.lane, job.failures));
                assert_eq!(real.attempt(), 1 + job.failures + job.expiries + job.snoozes);
                if let Some(id) = job.id {
                    assert_eq!(real.job_id(), id);
                }
                let model = self.job(number);
                (model.at, model.id) = (At::Running, Some(real.job_id()));
                model.holders += 1;
                self.tally.started += 1;
                let hand = Hand { real: Some(real), job: number, current: true, started: self.now, since: self.now, length: VISIBILITY };
                self.hands.push(hand);
                self.follow_disposals(false);
            }
            Err(_) if self.paused => {}
            Err(_) => self.follow_disposals(true),
        }
    }

    fn clock_ms(&self) -> u64 {
        self.runtime.now().as_nanos() / 1_000_000
    }

    fn became(&self, number: u32) -> Option<Became> {
        let job = &self.jobs[&number];
        match job.at {
            At::Waiting(..) if job.expires <= self.now => None,
            At::Waiting(..) | At::Delayed(_) => Some(Became::Waiting),
            At::Running => Some(Became::Redelivered),
            _ => Some(Became::Ended),
        }
    }

    fn settle(&mut self, at: usize, how: How) {
        let Some(at) = self.in_hand(at) else { return };
        let mut hand = self.hands.remove(at);
        let real = hand.real.take().unwrap();
        let result = match how {
            How::Ack => real.ack(),
            How::Retry => real.retry("no"),
            How::Snooze(delay) => real.snooze(ms(delay)),
            How::Reject => real.reject("never"),
            How::Discard => real.settle(Verdict::Discard),
            How::Drop => {
                drop(real);
                self.tally.abandoned += 1;
                if hand.current {
                    Ok(())
                } else {
                    self.tally.stale += 1;
                    self.leave(hand.job);
                    return;
                }
            }
        };
        match result {
            Ok(()) => {
                assert!(hand.current, "a stale delivery was settled");
                self.settled(hand.job, how);
            }
            Err(stale) => {
                assert!(!hand.current, "a current delivery is stale");
                if let Some(became) = self.became(hand.job) {
                    assert_eq!(stale.became(), became);
                }
                self.tally.stale += 1;
                self.leave(hand.job);
            }
        }
    }

    /// The deliveries that are not forgotten, by number.
    fn in_hand(&self, number: usize) -> Option<usize> {
        let in_hand: Vec<usize> = (0..self.hands.len()).filter(|&at| self.hands[at].real.is_some()).collect();
        (!in_hand.is_empty()).then(|| in_hand[number % in_hand.len()])
    }

    fn extend(&mut self, at: usize, length: u64) {
        let Some(at) = self.in_hand(at) else { return };
        let now = self.now;
        let hand = &mut self.hands[at];
        let left = (hand.started + MAX_LEASE).saturating_sub(now);
        match hand.real.as_mut().unwrap().extend(ms(length)) {
            Ok(granted) => {
                assert!(hand.current);
                assert_eq!(granted, ms(length.min(left)));
                (hand.since, hand.length) = (now, length.min(left));
            }
            Err(ExtendError::Capped) => assert!(hand.current && left == 0),
            Err(error) => assert!(!hand.current, "{error}"),
        }
    }

    fn complete(&mut self, at: usize) {
        let Some(at) = self.in_hand(at) else { return };
        let number = self.hands[at].job;
        if self.hands[at].current && self.jobs[&number].holders > 1 {
            // a slot of its own, later: the behaviour tests have that
            return;
        }
        let mut hand = self.hands.remove(at);
        let next = self.next_number();
        let lane = self.jobs[&number].lane;
        let job = Job::new(Numbered::new(next, &self.alive)).lane(lane);
        match hand.real.take().unwrap().complete_with(job) {
            Ok(()) => {
                assert!(hand.current);
                self.settled(number, How::Ack);
                self.take_in(next, lane, self.here(), None, None);
            }
            Err((_, job)) => {
                assert!(!hand.current);
                assert_eq!(job.payload().0, next);
                self.tally.stale += 1;
                self.leave(number);
            }
        }
    }

    fn next_number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn publish(&mut self, lane: usize, delay: u64, ttl: Option<u64>) {
        let number = self.next_number();
        let mut job = Job::new(Numbered::new(number, &self.alive)).lane(lane);
        if let Some(ttl) = ttl {
            job = job.ttl(ms(ttl));
        }
        let full = self.occupied() == CAPACITY;
        match self.producer.publish_after(job, ms(delay)) {
            Ok(id) => {
                assert!(!full, "accepted beyond the capacity");
                let at = if delay == 0 { self.here() } else { At::Delayed(self.now + delay) };
                self.take_in(number, lane, at, Some(id), ttl);
            }
            Err(error) => {
                assert!(full, "refused with a slot free: {error}");
                assert_eq!(error.into_inner().0, number);
                self.tally.full += 1;
            }
        }
    }

    fn batch(&mut self, lane: usize, jobs: u32) {
        let free = (CAPACITY - self.occupied()) as u32;
        let (first, alive) = (self.next + 1, Arc::clone(&self.alive));
        let mut all = (first..first + jobs).map(|number| Job::new(Numbered::new(number, &alive)).lane(lane));
        let batch = self.producer.publish_batch(&mut all);
        assert_eq!(batch.accepted as u32, jobs.min(free));
        if jobs > free {
            assert_eq!(batch.refused.unwrap().into_inner().0, first + free);
            self.tally.full += 1;
        }
        for number in first..first + jobs.min(free) {
            self.take_in(number, lane, self.here(), None, None);
            // one after another
            self.acts += 1;
        }
        self.next += jobs;
    }

    fn cancel(&mut self, at: usize) {
        let known: Vec<(u32, JobId)> = self.jobs.iter().filter_map(|(&number, job)| Some((number, job.id?))).collect();
        if known.is_empty() {
            return;
        }
        let (number, id) = known[at % known.len()];
        if self.jobs[&number].holders > 0 && self.jobs[&number].at != At::Running {
            // when it is popped cannot be seen from outside; the behaviour tests have that
            return;
        }
        let done = self.queue.cancel(id);
        let now = self.now;
        let job = self.job(number);
        match job.at {
            // the timer may have noticed that it has expired
            At::Waiting(..) if job.expires <= now => {
                if done {
                    job.at = At::Cancelled;
                }
                return;
            }
            At::Waiting(..) | At::Delayed(_) => job.at = At::Cancelled,
            At::Running => job.cancelled = true,
            _ => return assert!(!done, "there was nothing to cancel"),
        }
        assert!(done);
    }

    fn redrive(&mut self, which: Option<usize>) {
        let number = match which {
            Some(at) if !self.letters.is_empty() => Some(self.letters[at % self.letters.len()]),
            _ => self.letters.front().copied(),
        };
        // a held job may take the place of the letter, and the letter its slot
        let full = self.occupied() == CAPACITY && self.held.is_empty();
        let result = match (which, number) {
            (Some(_), Some(number)) => self.queue.dead_letters().redrive_job(self.jobs[&number].id.unwrap()),
            _ => self.queue.dead_letters().redrive(),
        };
        match (number, result) {
            (None, result) => assert_eq!(result, Ok(false)),
            (Some(_), Err(refusal)) => assert!(full && matches!(refusal, Refusal::Full { .. })),
            (Some(number), result) => {
                assert_eq!(result, Ok(true));
                assert!(!full);
                self.letters.retain(|&letter| letter != number);
                let Model { lane, id, .. } = self.jobs[&number];
                self.take_in(number, lane, self.here(), id, None);
                self.bury_held();
            }
        }
    }

    fn purge(&mut self) {
        let waiting: Vec<u32> =
            self.jobs.iter().filter(|(_, job)| matches!(job.at, At::Waiting(..) | At::Cancelled)).map(|(&number, _)| number).collect();
        assert_eq!(self.queue.purge(), waiting.len());
        let mut letters = BTreeSet::new();
        self.queue.dead_letters().for_each(|letter| {
            letters.insert(letter.payload().0);
        });
        for number in waiting {
            let job = &self.jobs[&number];
            match job.at {
                At::Cancelled => {
                    self.tally.cancelled += 1;
                    self.end(number);
                }
                _ if letters.contains(&number) => {}
                _ => {
                    self.tally.purged += 1;
                    self.end(number);
                }
            }
        }
        self.follow_disposals(false);
    }

    fn advance(&mut self, by: u64) {
        self.runtime.advance(&self.clock, ms(by));
        self.now += by;
        assert_eq!(self.now, self.clock_ms());
        self.follow_time();
    }

    fn carry_out(&mut self, act: Act) {
        self.acts += 1;
        match act {
            Act::Publish { lane, delay, ttl } => self.publish(lane, delay, ttl),
            Act::Batch { lane, jobs } => self.batch(lane, jobs),
            Act::Recv => self.recv(),
            Act::Settle(at, how) => self.settle(at, how),
            Act::Forget(at) => {
                if let Some(at) = self.in_hand(at) {
                    std::mem::forget(self.hands[at].real.take());
                    let hand = &self.hands[at];
                    let left = (hand.since + hand.length + 2 * SWEEP + 2).saturating_sub(self.now);
                    self.advance(left);
                }
            }
            Act::Extend(at, length) => self.extend(at, length),
            Act::Complete(at) => self.complete(at),
            Act::Cancel(at) => self.cancel(at),
            Act::Pause(paused) => {
                if paused {
                    self.queue.pause();
                } else {
                    self.queue.resume();
                }
                self.paused = paused;
            }
            Act::TakeLetter => {
                let taken = self.queue.dead_letters().take().map(|letter| letter.payload().0);
                let expected = self.letters.pop_front();
                assert_eq!(taken, expected);
                if let Some(number) = expected {
                    self.job(number).at = At::Gone;
                }
                self.bury_held();
            }
            Act::Redrive(which) => self.redrive(which),
            Act::PurgeLetters => {
                assert_eq!(self.queue.dead_letters().purge(), self.letters.len() + self.held.len());
                while let Some(number) = self.letters.pop_front() {
                    self.job(number).at = At::Gone;
                    self.bury_held();
                }
            }
            Act::Purge => self.purge(),
            Act::Advance(by) => self.advance(by),
        }
        self.runtime.turn();
        self.check();
    }

    fn check(&self) {
        let seen = self.runtime.snapshot();
        let seen = seen.queue("q").unwrap();
        assert!(seen.ledger_balances(), "the ledger: {seen:#?}");
        let phases = seen.phases;
        assert_eq!(seen.free + phases.ready + phases.running + phases.delayed + phases.zombies + phases.held, CAPACITY as u32, "{seen:#?}");
        assert_eq!(seen.capacity - seen.free, self.occupied() as u32, "{:#?}\n{seen:#?}", self.jobs);
        let counts = seen.counts;
        let real = Tally {
            accepted: counts.accepted,
            acked: counts.acked,
            discarded: counts.dropped_discarded,
            cancelled: counts.dropped_cancelled,
            purged: counts.dropped_purged,
            dead: counts.dead_lettered,
            retried: counts.retried,
            snoozed: counts.snoozed,
            abandoned: counts.abandoned,
            stale: counts.stale_settles,
            full: counts.rejected_full,
            started: counts.started,
        };
        assert_eq!(real, self.tally);
        let count = |which: fn(&At) -> bool| self.jobs.values().filter(|job| which(&job.at)).count() as u32;
        assert_eq!(phases.ready, count(|at| matches!(at, At::Waiting(..) | At::Cancelled)));
        assert_eq!((phases.running, phases.delayed), (count(|at| *at == At::Running), count(|at| matches!(at, At::Delayed(_)))));
        assert_eq!((phases.held, phases.zombies), (count(|at| *at == At::Held), count(|at| matches!(at, At::Dying | At::Lingering))));
        assert_eq!(seen.dead_letters, self.letters.len());
        let alive: BTreeSet<u32> = self.jobs.iter().filter(|(_, job)| job.at != At::Gone).map(|(&number, _)| number).collect();
        assert_eq!(*self.alive.lock(), alive, "every payload is where the model says");
    }

    /// Everything that is left comes out by value, once.
    fn shut_down(self) {
        let Pair { runtime, queue, producer, consumer, alive, jobs, hands, now, .. } = self;
        let mut report = runtime.shutdown(ShutdownOptions::new(Duration::ZERO, Duration::ZERO));
        assert!(report.queue("q").unwrap().ledger_balances(), "{report:?}");
        let undone = report.take_undone(&queue);
        let numbers: BTreeSet<u32> = undone.iter().map(|job| job.payload.0).collect();
        assert_eq!(numbers.len(), undone.len(), "handed back once");
        for (number, job) in &jobs {
            let (must, may) = match job.at {
                // the timer may have noticed that it has expired
                At::Waiting(..) => (job.holders == 0 && job.expires > now, job.holders == 0),
                At::Delayed(_) => (job.holders == 0, job.holders == 0),
                At::Held => (true, true),
                _ => (false, false),
            };
            let is = numbers.contains(number);
            assert!(is || !must, "not handed back: {job:?}");
            assert!(!is || may, "handed back: {job:?}");
        }
        for job in &undone {
            let model = &jobs[&job.payload.0];
            assert_eq!((job.lane, job.failures, job.expiries), (model.lane, model.failures, model.expiries));
        }
        drop(undone);
        let forgotten: BTreeSet<u32> = hands.iter().filter(|hand| hand.real.is_none()).map(|hand| hand.job).collect();
        drop(hands);
        drop(queue.reclaim());
        let mut left = alive.lock().clone();
        queue.dead_letters().for_each(|letter| assert!(left.remove(&letter.payload().0)));
        assert!(left.is_subset(&forgotten), "{left:?} are neither done, dead, dropped, handed back nor read by anyone");
        drop((report, producer, consumer, queue));
    }
}

struct TheQueue;

impl StateMachineTest for TheQueue {
    type SystemUnderTest = Pair;
    type Reference = Acts;

    fn init_test(with_ttl: &bool) -> Pair {
        Pair::new(*with_ttl)
    }

    fn apply(mut pair: Pair, _with_ttl: &bool, act: Act) -> Pair {
        pair.carry_out(act);
        pair
    }

    fn teardown(pair: Pair, _with_ttl: bool) {
        pair.shut_down();
    }
}

/// `PROPTEST_CASES=200000 cargo test --test properties queue::` looks for longer.
fn config() -> Config {
    let default = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { 4_000 };
    Config { cases, ..default }
}

prop_state_machine! {
    #![proptest_config(config())]

    #[test]
    fn the_queue_does_what_the_naive_model_does(sequential 1..120 => TheQueue);
}
