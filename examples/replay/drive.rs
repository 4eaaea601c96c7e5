//! The seam between the replay and the runtime: what drives one. (A topology file's is built in `plan/files.rs`.)
//!
//! One queue with three lanes in shares 6 : 3 : 1 and one pool, or the queues and pools of a topology file; one publisher: the calling thread. Between two publishes it takes the dead letters out, tells
//! the progress and looks at the stop flag; so it never waits for longer than [`TURN`].
//!
//! *Retries.* A replay is not a production system, so failed jobs come back soon: after a random 0 to 2 ms, then 0 to 4, 0 to 8, 0 to 16 (full jitter).
//!
//! *The end.* When every job has come to an end, or somebody asked to stop, the runtime is shut down. After a request to stop, waiting jobs get [`DRAIN`] to
//! finish; the others are handed back and counted. Handlers that are stuck get [`CANCEL`]; after that the report names their jobs as running.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ringmill::{
    Backoff, Context, DeathReason, ExchangePublisher, Handler, Invalid, Jitter, Job, JobError, LaneConfig, Overflow, Payload, PoolConfig,
    PoolSnapshot, Producer, QueueConfig, QueueHandle, QueueSnapshot, Refusal, RetryPolicy, RouteRefusal, Runtime, ShutdownOptions,
    Snapshot,
};

use crate::aggregate::Aggregate;
use crate::args::Speed;
use crate::dead::DeadLetter;
use crate::handler::{Failure, handle};
use crate::outcome::{Counts, Lane, Outcome, Quantiles, Worker};
use crate::plan::Plan;
use crate::record::{LANES, Record, Work};
use crate::schedule::Schedule;

/// How often a job may fail before it is a dead letter.
pub const MAX_ATTEMPTS: u32 = 5;
const QUEUE: &str = "replay";
/// The lanes' shares of the workers' picks.
const WEIGHTS: [u32; LANES.len()] = [6, 3, 1];
/// The longest that the publisher waits before it looks around.
const TURN: Duration = Duration::from_millis(10);
/// After so many publishes in a row the publisher looks around too.
const LOOK_EVERY: u64 = 64;
/// How often the progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// How long waiting jobs may go on after a request to stop.
const DRAIN: Duration = Duration::from_secs(1);
/// How long handlers that still run are waited for.
const CANCEL: Duration = Duration::from_secs(1);
/// The longest that one delivery may last, unless the visibility timeout is longer.
const MAX_LEASE: Duration = Duration::from_secs(600);

/// How to replay.
#[derive(Debug, Clone)]
pub struct Options {
    pub speed: Speed,
    pub passes: u32,
    /// `None`: what the runtime chooses.
    pub workers: Option<u32>,
    pub capacity: u32,
    pub visibility: Duration,
    pub work_scale: f64,
    /// The queues of a topology file, in the place of the one.
    pub plan: Option<Plan>,
}

/// How far a replay is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Records dealt with by the publisher.
    pub published: u64,
    /// Jobs that have come to an end.
    pub finished: u64,
    pub redelivered: u64,
    pub dead_lettered: u64,
}

/// Those who want to hear of things as they happen.
pub struct Listeners<'a> {
    /// Called about ten times a second.
    pub progress: &'a mut dyn FnMut(Progress),
    /// Called with every dead letter, sooner or later.
    pub dead_letter: &'a mut dyn FnMut(DeadLetter),
}

impl fmt::Debug for Listeners<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").finish_non_exhaustive()
    }
}

/// Why a replay did not happen, or came to a halt.
#[derive(Debug)]
pub struct DriveError(String);

impl fmt::Display for DriveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DriveError {}

fn drive_error(error: impl fmt::Display) -> DriveError {
    DriveError(error.to_string())
}

impl Payload for Record {
    fn validate(&self) -> Result<(), Invalid> {
        match &self.work {
            Work::Invalid(fault) => Err(Invalid::new(fault.to_string())),
            _ => Ok(()),
        }
    }
}

/// Replays `records` until all have come to an end or `stop` is set.
pub fn drive(
    records: &[Arc<Record>],
    options: &Options,
    aggregate: &Arc<Aggregate>,
    stop: &AtomicBool,
    listeners: &mut Listeners<'_>,
) -> Result<Outcome, DriveError> {
    let (runtime, queues, door) = start(options, aggregate).map_err(drive_error)?;
    let schedule = Schedule::new(records, options.passes, options.speed);
    let total = schedule.total();
    let mut publisher = Publisher::new(&queues, door, stop, listeners);
    for (due, record) in schedule {
        if !due.is_none_or(|due| publisher.wait_until(due)) || !publisher.publish(record)? {
            break;
        }
    }
    let interrupted = !publisher.wait_for_the_end();
    publisher.counts.unpublished = total - publisher.offered;
    publisher.finish(runtime, interrupted)
}

/// A queue. A job shares its record with the trace, so that publishing copies nothing.
pub type Queue = QueueHandle<Arc<Record>>;

/// Where jobs go in.
pub enum Door {
    Queue(Producer<Arc<Record>>),
    #[cfg_attr(not(feature = "config"), expect(dead_code, reason = "exchanges come from topology files"))]
    Exchange(Box<ExchangePublisher<Arc<Record>>>),
}

/// Why a job did not go in.
enum Shut {
    Invalid,
    Unroutable,
    Full(Job<Arc<Record>>),
    Broken(DriveError),
}

impl Door {
    /// Publishes a job of `record`. The answer is how many queues have it.
    fn publish(&mut self, record: &Record, job: Job<Arc<Record>>) -> Result<u64, Shut> {
        match self {
            Door::Queue(producer) => match producer.publish(job) {
                Ok(_) => Ok(1),
                Err(error) if matches!(error.refusal(), Refusal::Invalid { .. }) => Err(Shut::Invalid),
                Err(error) if error.is_full() => Err(Shut::Full(error.into_job())),
                Err(error) => Err(Shut::Broken(drive_error(error))),
            },
            // a line that could not be read has no routing key to speak of
            Door::Exchange(_) if record.validate().is_err() => Err(Shut::Invalid),
            Door::Exchange(publisher) => match publisher.publish(&*record.key, job) {
                Ok(routed) => Ok(routed.copies as u64),
                Err(error) if matches!(error.refusal(), RouteRefusal::Unroutable { .. }) => Err(Shut::Unroutable),
                Err(error) if error.is_full() => Err(Shut::Full(error.into_job())),
                Err(error) => Err(Shut::Broken(drive_error(error))),
            },
        }
    }
}

type Started = (Runtime, Vec<Queue>, Door);

fn start(options: &Options, aggregate: &Arc<Aggregate>) -> Result<Started, Box<dyn std::error::Error>> {
    if let Some(plan) = &options.plan {
        return plan.start(|| handler(options, aggregate));
    }
    let ms = Duration::from_millis;
    let backoff = Backoff::Exponential { base: ms(2), factor: 2, cap: ms(50), jitter: Jitter::Full };
    let config = QueueConfig::new(QUEUE)
        .capacity(u64::from(options.capacity))
        .lanes(LANES.iter().zip(WEIGHTS).map(|(name, weight)| LaneConfig::new(*name).weight(weight)))
        .overflow(Overflow::Block(TURN))
        .visibility(options.visibility)
        .max_lease(options.visibility.max(MAX_LEASE))
        .retry(RetryPolicy::new().max_attempts(MAX_ATTEMPTS).backoff(backoff));
    let mut builder = Runtime::builder();
    let queue = builder.queue(config, handler(options, aggregate))?;
    let mut pool = PoolConfig::new("default");
    if let Some(workers) = options.workers {
        pool = pool.workers(workers as usize);
    }
    builder.pool(pool)?;
    let runtime = builder.build()?;
    let door = Door::Queue(queue.producer()?);
    Ok((runtime, vec![queue], door))
}

fn handler(options: &Options, aggregate: &Arc<Aggregate>) -> impl Handler<Arc<Record>> + use<> {
    let (aggregate, work_scale) = (Arc::clone(aggregate), options.work_scale);
    move |record: &Arc<Record>, context: &Context<Arc<Record>>| {
        handle(record, context.attempt(), work_scale, &aggregate).map_err(|failure| match failure {
            Failure::Transient(error) => JobError::transient(error),
            Failure::Fatal(error) => JobError::fatal(error),
        })
    }
}

/// The thread that publishes, and what it has seen.
struct Publisher<'a, 'l> {
    queues: &'a [Queue],
    door: Door,
    stop: &'a AtomicBool,
    listeners: &'a mut Listeners<'l>,
    start: Instant,
    told: Instant,
    /// Only what a publisher knows by itself: `accepted`, `extra_copies`, `invalid`, `unroutable`, `unpublished`.
    counts: Counts,
    /// Records that were dealt with.
    offered: u64,
    /// Dead letters taken out of the queue.
    letters: u64,
    behind_max: Duration,
}

impl<'a, 'l> Publisher<'a, 'l> {
    fn new(queues: &'a [Queue], door: Door, stop: &'a AtomicBool, listeners: &'a mut Listeners<'l>) -> Self {
        let start = Instant::now();
        Publisher {
            queues,
            door,
            stop,
            listeners,
            start,
            told: start,
            counts: Counts::default(),
            offered: 0,
            letters: 0,
            behind_max: Duration::ZERO,
        }
    }

    fn is_stopped(&self) -> bool {
        // relaxed: a request, nothing is published with it
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits until a record is due. False when the replay is to stop.
    fn wait_until(&mut self, due: Duration) -> bool {
        loop {
            let left = due.saturating_sub(self.start.elapsed());
            if left.is_zero() || self.is_stopped() {
                break;
            }
            self.look_around();
            std::thread::sleep(due.saturating_sub(self.start.elapsed()).min(TURN));
        }
        self.behind_max = self.behind_max.max(self.start.elapsed().saturating_sub(due));
        !self.is_stopped()
    }

    /// Publishes a record, however long the queue stays full. False when the replay is to stop.
    fn publish(&mut self, record: &Arc<Record>) -> Result<bool, DriveError> {
        if self.offered.is_multiple_of(LOOK_EVERY) {
            self.look_around();
        }
        let mut job = Job::new(Arc::clone(record)).lane(usize::from(record.lane));
        while !self.is_stopped() {
            match self.door.publish(record, job) {
                Ok(copies) => {
                    self.counts.accepted += copies;
                    self.counts.extra_copies += copies - 1;
                }
                Err(Shut::Invalid) => self.counts.invalid += 1,
                Err(Shut::Unroutable) => self.counts.unroutable += 1,
                Err(Shut::Full(back)) => {
                    self.look_around();
                    job = back;
                    continue;
                }
                Err(Shut::Broken(error)) => return Err(error),
            }
            self.offered += 1;
            return Ok(true);
        }
        Ok(false)
    }

    /// Waits until every accepted job has come to an end. False when the replay is to stop before that.
    fn wait_for_the_end(&mut self) -> bool {
        let mut nap = Duration::from_micros(50);
        while self.ended() < self.counts.accepted {
            if self.is_stopped() {
                return false;
            }
            self.look_around();
            std::thread::sleep(nap);
            nap = (2 * nap).min(TURN);
        }
        !self.is_stopped()
    }

    /// Jobs that have come to an end. May grow at any time.
    fn ended(&self) -> u64 {
        self.queues.iter().map(|queue| queue.counts().ended()).sum()
    }

    /// Takes the dead letters out, so that they never fill their queue and hold up this one; tells the progress.
    fn look_around(&mut self) {
        self.take_letters();
        if self.told.elapsed() < PROGRESS_EVERY {
            return;
        }
        self.told = Instant::now();
        let mut progress = Progress { published: self.offered, ..Progress::default() };
        for counts in self.queues.iter().map(Queue::counts) {
            progress.finished += counts.acked + counts.dead_lettered;
            progress.redelivered += counts.retried + counts.expired_leases;
            progress.dead_lettered += counts.dead_lettered;
        }
        (self.listeners.progress)(progress);
    }

    fn take_letters(&mut self) {
        for queue in self.queues {
            let letters = queue.dead_letters();
            while let Some(letter) = letters.take() {
                self.letters += 1;
                (self.listeners.dead_letter)(translate(letter));
            }
        }
    }

    /// Shuts the runtime down and reads everything off it.
    fn finish(mut self, runtime: Runtime, interrupted: bool) -> Result<Outcome, DriveError> {
        self.take_letters();
        let mut elapsed = self.start.elapsed();
        let drain = if interrupted { DRAIN } else { Duration::ZERO };
        let mut report = runtime.shutdown(ShutdownOptions::new(drain, CANCEL));
        if interrupted {
            elapsed = self.start.elapsed();
        }
        self.take_letters();
        let undone: u64 = self.queues.iter().map(|queue| report.take_undone(queue).len() as u64).sum();
        let snapshot = report.snapshot();
        let balanced = snapshot.queues.iter().all(QueueSnapshot::ledger_balances);
        let accepted: u64 = snapshot.queues.iter().map(|queue| queue.counts.accepted).sum();
        let evicted: u64 = snapshot.queues.iter().map(|queue| queue.letters_dropped_oldest + queue.letters_dropped_by_age).sum();
        let counts = self.add_up(&snapshot.queues);
        Ok(Outcome {
            // the runtime's count, the publisher's, and what came out by value
            ledger_ok: balanced
                && accepted == counts.accepted
                && counts.handed_back == undone
                && counts.dead_lettered == self.letters + evicted,
            counts,
            elapsed,
            behind_max: self.behind_max,
            interrupted,
            lanes: lanes(&snapshot.queues),
            workers: snapshot.pools.iter().flat_map(workers).collect(),
            wake_rescued: snapshot.wake_rescued(),
            warnings: warnings(snapshot),
        })
    }

    fn add_up(&self, queues: &[QueueSnapshot]) -> Counts {
        let mut counts = self.counts;
        for queue in queues {
            let started: u64 = queue.lanes.iter().map(|lane| lane.started).sum();
            // a wait is recorded once a job, when it is started first
            let first: u64 = queue.lanes.iter().map(|lane| lane.wait.count()).sum();
            counts.acked += queue.counts.acked;
            counts.dead_lettered += queue.counts.dead_lettered;
            counts.dropped += queue.dropped();
            counts.handed_back += queue.counts.handed_back;
            counts.running += queue.held();
            counts.redelivered += started - first;
            counts.expired_leases += queue.counts.expired_leases;
            counts.stale_acks += queue.counts.stale_settles;
            counts.panics += queue.counts.panics;
        }
        counts
    }
}

fn translate(letter: ringmill::DeadLetter<Arc<Record>>) -> DeadLetter {
    let reason = match letter.reason() {
        DeathReason::Rejected => "rejected".to_string(),
        DeathReason::TooManyAttempts => "max_attempts".to_string(),
        DeathReason::TooManyExpiries => "max_expiries".to_string(),
        other => other.to_string(),
    };
    let history = letter.record();
    // the delivery that rejects a job is no failure
    let rejecting = u32::from(letter.reason() == DeathReason::Rejected);
    let attempts = history.failures + history.expiries + rejecting;
    let error = history.last_error.as_deref().unwrap_or_default().to_string();
    DeadLetter { reason, attempts, error, record: letter.into_payload() }
}

/// The lanes of all queues; of several queues with the queue's name.
fn lanes(queues: &[QueueSnapshot]) -> Vec<Lane> {
    let quantiles = |times: &ringmill::HistogramSnapshot| Quantiles {
        p50: times.quantile(0.5),
        p99: times.quantile(0.99),
        p999: times.quantile(0.999),
        max: times.max(),
    };
    let lane = |queue: &QueueSnapshot, lane: &ringmill::LaneSnapshot| Lane {
        name: if queues.len() > 1 { format!("{}.{}", queue.name, lane.name) } else { lane.name.clone() },
        started: lane.started,
        wait_ns: quantiles(&lane.wait),
        run_ns: quantiles(&lane.run),
    };
    queues.iter().flat_map(|queue| queue.lanes.iter().map(move |one| (queue, one))).map(|(queue, one)| lane(queue, one)).collect()
}

/// The workers of a pool, and those of its spares that had something to do.
fn workers(pool: &PoolSnapshot) -> Vec<Worker> {
    let worker = |(index, &jobs): (usize, &u64)| {
        let Some(placement) = pool.placement.workers.get(index) else {
            return (jobs > 0).then(|| Worker { index, jobs, ..Worker::default() });
        };
        Some(Worker { index, requested_core: placement.requested, actual_core: placement.actual, pinned: placement.pinned, jobs })
    };
    pool.jobs.iter().enumerate().filter_map(worker).collect()
}

fn warnings(snapshot: &Snapshot) -> Vec<String> {
    snapshot.pools.iter().flat_map(|pool| pool.placement.warnings.iter().cloned()).collect()
}
