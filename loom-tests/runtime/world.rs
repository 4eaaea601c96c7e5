//! What the models share: a small queue, payloads that know who touches them, and the last look at the end.

use crate::support::{Bound, check, must_die, must_fail};
use ringmill::clock::{Clock, ManualClock, Timestamp};
use ringmill::queue::{Bend, Claimer, Lease, Plan, Publisher, Queue, When, bend};
use ringmill::slab::Fate;
use ringmill::sync::atomic::AtomicU64;
use ringmill::sync::{EventCount, UnsafeCell};
use ringmill::{Job, JobId, Payload, QueueConfig, Refusal, Undone};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

pub const B1: Bound = Bound::preemptions(1);
pub const B2: Bound = Bound::preemptions(2);
pub const B3: Bound = Bound::preemptions(3);

/// Tier 2.
pub const DEEP1: Bound = Bound { preemptions: Some(1), seconds: 1800 };
pub const DEEP2: Bound = Bound { preemptions: Some(2), seconds: 1800 };
pub const DEEP3: Bound = Bound { preemptions: Some(3), seconds: 1800 };

pub const TICK: Duration = Duration::from_millis(1);
pub const VISIBILITY: Duration = Duration::from_millis(8);

/// The most jobs of a model.
const JOBS: usize = 4;

/// What became of the payloads. Outside of loom: it decides nothing.
#[derive(Debug)]
pub struct Board {
    made: [AtomicUsize; JOBS],
    dropped: [AtomicUsize; JOBS],
    acked: [AtomicUsize; JOBS],
}

/// A payload. Reading it and dropping it are accesses that loom checks against each other.
#[derive(Debug)]
pub struct Probe {
    pub job: usize,
    alive: UnsafeCell<usize>,
    board: &'static Board,
}

// SAFETY: readers share the cell, and only the owner's drop writes it; loom reports it if the queue lets the two meet.
unsafe impl Sync for Probe {}
// SAFETY: nothing in it belongs to a thread.
unsafe impl Send for Probe {}

impl Payload for Probe {}

const ALIVE: usize = 0x5AFE;

impl Probe {
    /// What a handler does.
    pub fn read(&self) {
        // SAFETY: only read, as everywhere but in the drop
        self.alive.with(|alive| assert_eq!(unsafe { *alive }, ALIVE, "a dropped payload was read"));
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // counted first: the access below panics when it meets a reader, and the queue catches panics of drops
        self.board.dropped[self.job].fetch_add(1, Relaxed);
        // SAFETY: the owner's last access
        self.alive.with_mut(|alive| unsafe { *alive = 0 });
    }
}

/// A queue, its bell and its clock.
#[derive(Debug, Clone)]
pub struct World {
    pub queue: Arc<Queue<Probe>>,
    pub bell: Arc<EventCount>,
    pub clock: Arc<ManualClock>,
    board: &'static Board,
}

pub fn config(capacity: u64) -> QueueConfig {
    QueueConfig::new("model").capacity(capacity).visibility(VISIBILITY).prefetch(1)
}

impl World {
    pub fn new(config: &QueueConfig) -> Self {
        let counters = || std::array::from_fn(|_| AtomicUsize::new(0));
        Self::with_board(config, Box::leak(Box::new(Board { made: counters(), dropped: counters(), acked: counters() })))
    }

    /// Another queue, for the same jobs.
    pub fn beside(&self, config: &QueueConfig) -> Self {
        Self::with_board(config, self.board)
    }

    fn with_board(config: &QueueConfig, board: &'static Board) -> Self {
        let (bell, timer_bell) = (Arc::new(EventCount::new()), Arc::new(EventCount::new()));
        // the timer of a model turns when it is told to, and is never asleep: nobody has an earlier wish
        let until = Arc::new(AtomicU64::new(0));
        let queue = Queue::new(config, TICK, Duration::from_secs(3600), Arc::clone(&bell), timer_bell, until).unwrap();
        World { queue: Arc::new(queue), bell, clock: Arc::new(ManualClock::new()), board }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn job(&self, job: usize) -> Job<Probe> {
        self.board.made[job].fetch_add(1, Relaxed);
        Job::new(Probe { job, alive: UnsafeCell::new(ALIVE), board: self.board })
    }

    pub fn publisher(&self) -> Publisher {
        self.queue.open_publisher().unwrap()
    }

    /// A worker's claimer. Its seed is of no account.
    pub fn claimer(&self) -> Claimer<Probe> {
        self.queue.open_claimer(0, false, 1).unwrap()
    }

    /// A consumer's claimer, whose deliveries have entries of their own.
    pub fn detached(&self) -> Claimer<Probe> {
        self.queue.open_claimer(0, true, 1).unwrap()
    }

    pub fn publish(&self, publisher: &Publisher, job: usize) -> Result<JobId, Refusal> {
        self.publish_to(publisher, job, 0, When::Now)
    }

    pub fn publish_to(&self, publisher: &Publisher, job: usize, lane: usize, when: When) -> Result<JobId, Refusal> {
        self.publish_job(publisher, job, self.job(job).lane(lane), when)
    }

    /// Publishes these as a batch. How many were taken in, and why no more.
    pub fn publish_batch<const N: usize>(&self, publisher: &Publisher, jobs: [Job<Probe>; N]) -> (usize, Option<Refusal>) {
        let mut jobs = jobs.into_iter();
        let alone = |job, when: When<'_>| self.queue.try_publish(publisher, job, when, self.now());
        let (accepted, refused) = self.queue.publish_batch(publisher, &mut jobs, &*self.clock, false, 0, alone);
        assert_eq!(accepted + jobs.len() + usize::from(refused.is_some()), N);
        (accepted, refused.map(|error| error.refusal().clone()))
    }

    /// As [`publish`](Self::publish), with a key that all have.
    pub fn publish_keyed(&self, publisher: &Publisher, job: usize) -> Result<JobId, Refusal> {
        self.publish_job(publisher, job, self.job(job).key(b"a"), When::Now)
    }

    /// As [`publish`](Self::publish), with a partition key that all have.
    pub fn publish_in_order(&self, publisher: &Publisher, job: usize) -> Result<JobId, Refusal> {
        self.publish_job(publisher, job, self.job(job).partition_key(b"a"), When::Now)
    }

    /// As [`publish`](Self::publish), with a time to live.
    pub fn publish_for(&self, publisher: &Publisher, job: usize, ttl: Duration) -> Result<JobId, Refusal> {
        self.publish_job(publisher, job, self.job(job).ttl(ttl), When::Now)
    }

    pub fn publish_job(&self, publisher: &Publisher, number: usize, job: Job<Probe>, when: When) -> Result<JobId, Refusal> {
        self.queue.try_publish(publisher, job, when, self.now()).map_err(|error| {
            let refusal = error.refusal().clone();
            assert_eq!(error.into_inner().job, number, "somebody else's job came back");
            refusal
        })
    }

    /// As [`publish`](Self::publish), but by the way of a routed job: first a slot, then into it.
    pub fn publish_routed(&self, publisher: &Publisher, job: usize) -> Result<JobId, Refusal> {
        let slot = self.queue.slot_at_hand(publisher, 0).ok_or(Refusal::Closed)?;
        self.queue.publish_into(publisher, slot, self.job(job), self.now()).map_err(|error| {
            let refusal = error.refusal().clone();
            assert_eq!(error.into_inner().job, job, "somebody else's job came back");
            refusal
        })
    }

    /// One turn of the timer after `passed`.
    pub fn turn(&self, passed: Duration) {
        self.clock.advance(passed);
        self.queue.turn(&*self.clock);
    }

    /// Takes the next job, reads it, and acks it. The job, and whether the ack was current.
    pub fn work(&self, claimer: &mut Claimer<Probe>) -> Option<(usize, bool)> {
        let lease = claimer.next(self.now())?;
        Some(self.ack(claimer, lease))
    }

    /// Reads the payload and acks.
    pub fn ack(&self, claimer: &mut Claimer<Probe>, lease: Lease) -> (usize, bool) {
        let job = self.read(&lease);
        let current = self.settle(claimer, lease, Plan::End(Fate::Acked, None));
        if current {
            assert_eq!(self.board.acked[job].fetch_add(1, Relaxed), 0, "acked twice");
        }
        (job, current)
    }

    /// Reads the payload and acks, with `next` as the follow-up, in `lane`. The lease has not run out, and nobody else holds the slot.
    pub fn chain(&self, claimer: &mut Claimer<Probe>, lease: Lease, next: usize, lane: usize) {
        let job = self.read(&lease);
        let next = self.job(next).lane(lane);
        let Ok((aftermath, None)) = claimer.settle_chained(lease, next, true, self.now(), true) else {
            panic!("the follow-up found no slot")
        };
        assert_eq!(self.board.acked[job].fetch_add(1, Relaxed), 0, "acked twice");
        claimer.after(aftermath);
    }

    pub fn read(&self, lease: &Lease) -> usize {
        let payload = self.queue.payload(lease);
        payload.read();
        payload.job
    }

    /// True if the lease was current.
    pub fn settle(&self, claimer: &mut Claimer<Probe>, lease: Lease, plan: Plan) -> bool {
        let (current, aftermath) = match claimer.settle(lease, plan, self.now(), true) {
            Ok(aftermath) => (true, aftermath),
            Err((_, aftermath)) => (false, aftermath),
        };
        claimer.after(aftermath);
        current
    }

    pub fn is_acked(&self, job: usize) -> bool {
        self.board.acked[job].load(Relaxed) == 1
    }

    /// The last handle of the queue goes: what is still inside is dropped, once.
    pub fn assert_dropped_with_the_queue(self) {
        let World { queue, board, .. } = self;
        assert_eq!(Arc::strong_count(&queue), 1, "somebody still has the queue");
        drop(queue);
        for job in 0..JOBS {
            let [made, dropped] = [&board.made, &board.dropped].map(|counts| counts[job].load(Relaxed));
            assert_eq!(dropped, made, "job {job} was made {made} times and dropped {dropped} times");
        }
    }

    /// Everything that is left is run.
    pub fn run_dry(&self, claimer: &mut Claimer<Probe>) {
        while self.work(claimer).is_some() {}
    }

    /// Everybody has come back: every slot is free, no index is left anywhere, the books balance, and every payload was dropped once.
    pub fn close_the_books(&self, mut claimer: Claimer<Probe>) {
        let gauges = self.queue.gauges();
        assert!(gauges.phases.is_empty(), "occupied at the end: {gauges:?}");
        assert_eq!(gauges.free, gauges.capacity, "a credit was lost");
        if !self.queue.is_stopped() {
            assert!(!claimer.look(), "an index was in two places");
        }
        drop(claimer);
        // what the timer left to others
        self.queue.let_go();
        let counts = self.queue.totals().counts;
        let dropped = counts.dropped_discarded + counts.dropped_cancelled + counts.dropped_purged;
        assert_eq!(
            counts.accepted,
            counts.acked + counts.dead_lettered + dropped + counts.handed_back,
            "the books do not balance: {counts:?}"
        );
        assert_eq!(counts.lingering_made, counts.lingering_gone, "a stale holder never left");
        assert_eq!(counts.drop_panics, 0, "a payload was dropped under a reader's eyes");
        let gone = gauges.letters_moved + gauges.letters_redriven + gauges.letters_purged;
        let letters = self.queue.gauges().dead_letters as u64;
        assert_eq!(letters + gone, counts.dead_lettered);
        for job in 0..JOBS {
            let [made, dropped] = [&self.board.made, &self.board.dropped].map(|counts| counts[job].load(Relaxed));
            if letters == 0 {
                assert_eq!(dropped, made, "job {job} was made {made} times and dropped {dropped} times");
            }
        }
    }
}

/// The jobs of `undone`.
pub fn jobs_of(undone: &[Undone<Probe>]) -> Vec<usize> {
    undone.iter().map(|undone| undone.payload.job).collect()
}

/// Checks a model as it is.
pub fn model(name: &str, bound: Bound, model: fn()) {
    let _straight = Straighten::bent(None);
    check(&format!("runtime/{name}"), bound, model);
}

/// The model must fail with one step bent.
pub fn twin(name: &str, bent: Bend, bound: Bound, model: fn()) {
    let _straight = Straighten::bent(Some(bent));
    must_fail(&format!("runtime/{name} with {bent:?}"), bound, model);
}

/// The model must end in a deadlock with one step bent.
pub fn hangs(name: &str, bent: Bend, bound: Bound, model: fn()) {
    aborts(name, bent, "deadlock", bound, model);
}

/// The model must fail with one step bent, for `reason`, in the middle of a destructor.
pub fn aborts(name: &str, bent: Bend, reason: &str, bound: Bound, model: fn()) {
    let _straight = Straighten::bent(Some(bent));
    must_die(&format!("runtime/{name} with {bent:?}"), reason, bound, model);
}

/// The model, which is wrong in itself, must end in a deadlock.
pub fn hangs_unbent(name: &str, bound: Bound, model: fn()) {
    let _straight = Straighten::bent(None);
    must_die(&format!("runtime/{name}"), "deadlock", bound, model);
}

/// Thorough and bent while it lives.
struct Straighten;

impl Straighten {
    fn bent(bent: Option<Bend>) -> Self {
        // on real threads no twin runs
        bend(bent.filter(|_| cfg!(loom)));
        #[cfg(loom)]
        ringmill::sync::thorough(true);
        Straighten
    }
}

impl Drop for Straighten {
    fn drop(&mut self) {
        bend(None);
        #[cfg(loom)]
        ringmill::sync::thorough(false);
    }
}
