//! The seam between the replay and the runtime: the only file of the example that builds and drives one.
//!
//! One queue with three lanes in shares 6 : 3 : 1, one pool, one publisher: the calling thread. Between two publishes it takes the dead letters out, tells
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
    Backoff, Context, DeathReason, Invalid, Jitter, Job, JobError, LaneConfig, Overflow, Payload, PoolConfig, PoolSnapshot, Producer,
    QueueConfig, QueueHandle, QueueSnapshot, Refusal, RetryPolicy, Runtime, ShutdownOptions, Snapshot,
};

use crate::aggregate::Aggregate;
use crate::args::Speed;
use crate::dead::DeadLetter;
use crate::handler::{Failure, handle};
use crate::outcome::{Counts, Lane, Outcome, Quantiles, Worker};
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
    let (runtime, queue) = start(options, aggregate).map_err(drive_error)?;
    let producer = queue.producer().map_err(drive_error)?;
    let schedule = Schedule::new(records, options.passes, options.speed);
    let total = schedule.total();
    let mut publisher = Publisher::new(&queue, producer, stop, listeners);
    for (due, record) in schedule {
        if !due.is_none_or(|due| publisher.wait_until(due)) || !publisher.publish(record)? {
            break;
        }
    }
    let interrupted = !publisher.wait_for_the_end();
    publisher.counts.unpublished = total - publisher.offered;
    publisher.finish(runtime, interrupted)
}

/// The one queue. A job shares its record with the trace, so that publishing copies nothing.
type Queue = QueueHandle<Arc<Record>>;

fn start(options: &Options, aggregate: &Arc<Aggregate>) -> Result<(Runtime, Queue), Box<dyn std::error::Error>> {
    let ms = Duration::from_millis;
    let backoff = Backoff::Exponential { base: ms(2), factor: 2, cap: ms(50), jitter: Jitter::Full };
    let config = QueueConfig::new(QUEUE)
        .capacity(u64::from(options.capacity))
        .lanes(LANES.iter().zip(WEIGHTS).map(|(name, weight)| LaneConfig::new(*name).weight(weight)))
        .overflow(Overflow::Block(TURN))
        .visibility(options.visibility)
        .max_lease(options.visibility.max(MAX_LEASE))
        .retry(RetryPolicy::new().max_attempts(MAX_ATTEMPTS).backoff(backoff));
    let (aggregate, work_scale) = (Arc::clone(aggregate), options.work_scale);
    let handler = move |record: &Arc<Record>, context: &Context<Arc<Record>>| {
        handle(record, context.attempt(), work_scale, &aggregate).map_err(|failure| match failure {
            Failure::Transient(error) => JobError::transient(error),
            Failure::Fatal(error) => JobError::fatal(error),
        })
    };
    let mut builder = Runtime::builder();
    let queue = builder.queue(config, handler)?;
    let mut pool = PoolConfig::new("default");
    if let Some(workers) = options.workers {
        pool = pool.workers(workers as usize);
    }
    builder.pool(pool)?;
    Ok((builder.build()?, queue))
}

/// The thread that publishes, and what it has seen.
struct Publisher<'a, 'l> {
    queue: &'a Queue,
    producer: Producer<Arc<Record>>,
    stop: &'a AtomicBool,
    listeners: &'a mut Listeners<'l>,
    start: Instant,
    told: Instant,
    /// Only what a publisher knows by itself: `accepted`, `invalid`, `unpublished`.
    counts: Counts,
    /// Records that were dealt with.
    offered: u64,
    /// Dead letters taken out of the queue.
    letters: u64,
    behind_max: Duration,
}

impl<'a, 'l> Publisher<'a, 'l> {
    fn new(queue: &'a Queue, producer: Producer<Arc<Record>>, stop: &'a AtomicBool, listeners: &'a mut Listeners<'l>) -> Self {
        let start = Instant::now();
        Publisher {
            queue,
            producer,
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
            let error = match self.producer.publish(job) {
                Ok(_) => {
                    self.counts.accepted += 1;
                    self.offered += 1;
                    return Ok(true);
                }
                Err(error) => error,
            };
            match error.refusal() {
                Refusal::Invalid { .. } => {
                    self.counts.invalid += 1;
                    self.offered += 1;
                    return Ok(true);
                }
                _ if error.is_full() => self.look_around(),
                _ => return Err(drive_error(error)),
            }
            job = error.into_job();
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
        self.queue.counts().ended()
    }

    /// Takes the dead letters out, so that they never fill their queue and hold up this one; tells the progress.
    fn look_around(&mut self) {
        self.take_letters();
        if self.told.elapsed() < PROGRESS_EVERY {
            return;
        }
        self.told = Instant::now();
        let counts = self.queue.counts();
        let progress = Progress {
            published: self.offered,
            finished: counts.acked + counts.dead_lettered,
            redelivered: counts.retried + counts.expired_leases,
            dead_lettered: counts.dead_lettered,
        };
        (self.listeners.progress)(progress);
    }

    fn take_letters(&mut self) {
        let letters = self.queue.dead_letters();
        while let Some(letter) = letters.take() {
            self.letters += 1;
            (self.listeners.dead_letter)(translate(letter));
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
        let undone = report.take_undone(self.queue).len() as u64;
        let snapshot = report.snapshot();
        let queue = report.queue(QUEUE).ok_or_else(|| drive_error("the snapshot has no such queue"))?;
        let balanced = snapshot.queues.iter().all(QueueSnapshot::ledger_balances);
        let counts = self.add_up(queue);
        Ok(Outcome {
            // the runtime's count, the publisher's, and what came out by value
            ledger_ok: balanced
                && queue.counts.accepted == counts.accepted
                && counts.handed_back == undone
                && counts.dead_lettered == self.letters,
            counts,
            elapsed,
            behind_max: self.behind_max,
            interrupted,
            lanes: lanes(queue),
            workers: snapshot.pools.iter().flat_map(workers).collect(),
            wake_rescued: snapshot.wake_rescued(),
            warnings: warnings(snapshot),
        })
    }

    fn add_up(&self, queue: &QueueSnapshot) -> Counts {
        let started: u64 = queue.lanes.iter().map(|lane| lane.started).sum();
        // a wait is recorded once a job, when it is started first
        let first: u64 = queue.lanes.iter().map(|lane| lane.wait.count()).sum();
        Counts {
            acked: queue.counts.acked,
            dead_lettered: queue.counts.dead_lettered,
            dropped: queue.dropped(),
            handed_back: queue.counts.handed_back,
            running: queue.held(),
            redelivered: started - first,
            expired_leases: queue.counts.expired_leases,
            stale_acks: queue.counts.stale_settles,
            panics: queue.counts.panics,
            ..self.counts
        }
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

fn lanes(queue: &QueueSnapshot) -> Vec<Lane> {
    let quantiles = |times: &ringmill::HistogramSnapshot| Quantiles {
        p50: times.quantile(0.5),
        p99: times.quantile(0.99),
        p999: times.quantile(0.999),
        max: times.max(),
    };
    let lane = |lane: &ringmill::LaneSnapshot| Lane {
        name: lane.name.clone(),
        started: lane.started,
        wait_ns: quantiles(&lane.wait),
        run_ns: quantiles(&lane.run),
    };
    queue.lanes.iter().map(lane).collect()
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
