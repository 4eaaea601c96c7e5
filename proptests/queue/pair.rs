//! The queue and the model side by side: what the model knows, and that it is so.

use super::model::{ATTEMPTS, Alive, At, BACKOFF, CAPACITY, EXPIRIES, How, MAX_LEASE, Model, Numbered, Tally, VISIBILITY};
use ringmill::clock::ManualClock;
use ringmill::{
    Backoff, Consumer, DeadLetterConfig, Delivery, Discipline, JobId, LaneConfig, Producer, QueueConfig, QueueHandle, RetryPolicy, Runtime,
    ShutdownOptions,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) struct Hand {
    pub(super) real: Option<Delivery<Numbered>>,
    pub(super) job: u32,
    pub(super) current: bool,
    pub(super) started: u64,
    /// Its lease is `length` from `since`.
    pub(super) since: u64,
    pub(super) length: u64,
}

pub struct Pair {
    pub(super) clock: Arc<ManualClock>,
    pub(super) runtime: Runtime,
    pub(super) queue: QueueHandle<Numbered>,
    pub(super) producer: Producer<Numbered>,
    pub(super) consumer: Consumer<Numbered>,
    pub(super) alive: Alive,
    pub(super) letters_max: usize,
    pub(super) expiries_max: u32,

    pub(super) now: u64,
    pub(super) acts: u32,
    pub(super) next: u32,
    pub(super) paused: bool,
    pub(super) jobs: BTreeMap<u32, Model>,
    pub(super) hands: Vec<Hand>,
    /// Deliveries that nobody settles any more.
    pub(super) forgotten: Vec<Delivery<Numbered>>,
    pub(super) letters: VecDeque<u32>,
    pub(super) held: VecDeque<u32>,
    pub(super) tally: Tally,
}

impl Pair {
    pub fn new(with_ttl: bool) -> Self {
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
            forgotten: Vec::new(),
            letters: VecDeque::new(),
            held: VecDeque::new(),
            tally: Tally::default(),
        }
    }

    pub(super) fn job(&mut self, number: u32) -> &mut Model {
        self.jobs.get_mut(&number).unwrap()
    }

    pub(super) fn here(&self) -> At {
        At::Waiting((self.now, self.acts), (self.now, self.acts))
    }

    pub(super) fn occupied(&self) -> usize {
        self.jobs.values().filter(|job| !matches!(job.at, At::Letter | At::Gone)).count()
    }

    pub(super) fn take_in(&mut self, number: u32, lane: usize, at: At, id: Option<JobId>, ttl: Option<u64>) {
        let expires = ttl.map_or(u64::MAX, |ttl| self.now + ttl);
        let job = Model { lane, at, id, failures: 0, expiries: 0, snoozes: 0, expires, cancelled: false, holders: 0 };
        self.jobs.insert(number, job);
        self.tally.accepted += 1;
    }

    // ---- ends, in the model ----

    pub(super) fn end(&mut self, number: u32) {
        let job = self.job(number);
        job.at = if job.holders > 0 { At::Lingering } else { At::Gone };
    }

    pub(super) fn die(&mut self, number: u32) {
        if self.job(number).holders > 0 {
            self.job(number).at = At::Dying;
        } else if self.letters.len() < self.letters_max {
            self.bury(number);
        } else {
            self.job(number).at = At::Held;
            self.held.push_back(number);
        }
    }

    pub(super) fn bury(&mut self, number: u32) {
        self.job(number).at = At::Letter;
        self.letters.push_back(number);
        self.tally.dead += 1;
    }

    pub(super) fn bury_held(&mut self) {
        while self.letters.len() < self.letters_max
            && let Some(number) = self.held.pop_front()
        {
            self.bury(number);
        }
    }

    pub(super) fn leave(&mut self, number: u32) {
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
        let (now, due, here) = (self.now, self.now + delay, self.here());
        let job = self.job(number);
        if job.cancelled {
            self.tally.cancelled += 1;
            self.end(number);
        } else {
            // one whose life is over is not kept waiting
            job.at = if delay == 0 || job.expires <= now { here } else { At::Delayed(due) };
        }
    }

    pub(super) fn settled(&mut self, number: u32, how: How) {
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

    pub(super) fn expired(&mut self, number: u32, earliest: u64) {
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

    /// What is found among the dead letters, those apart that are held.
    pub(super) fn letters_and_held(&self) -> (Vec<u32>, Vec<u32>) {
        let (mut letters, dead) = (Vec::new(), self.queue.dead_letters());
        dead.for_each(|letter| letters.push(letter.payload().0));
        assert_eq!(letters.len(), dead.len());
        let held = letters.split_off(dead.len() - dead.held());
        (letters, held)
    }

    pub(super) fn check(&self) {
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
        assert!(self.letters_and_held().1.iter().eq(&self.held), "the held, oldest first: {:?}", self.held);
        let alive: BTreeSet<u32> = self.jobs.iter().filter(|(_, job)| job.at != At::Gone).map(|(&number, _)| number).collect();
        assert_eq!(*self.alive.lock(), alive, "every payload is where the model says");
    }

    /// Everything that is left comes out by value, once.
    pub fn shut_down(self) {
        let Pair { runtime, queue, producer, consumer, alive, jobs, hands, forgotten: kept, now, .. } = self;
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
        // the queue lives for as long as somebody may read in it
        drop(kept);
        assert!(alive.lock().is_empty(), "{alive:?} are left when all is gone");
    }
}
