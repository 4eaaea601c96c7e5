//! The seam between the replay and the runtime: the only file of the example that knows ringmill's API.
//!
//! TEMPORARY: one thread, no runtime. It honours capacity, lanes, attempts, verdicts, panics, the schedule and the stop flag, so that
//! the rest of the example can be tested end to end. There is no visibility timeout and no backoff.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::aggregate::Aggregate;
use crate::args::Speed;
use crate::dead::DeadLetter;
use crate::handler::{Failure, handle};
use crate::outcome::{Counts, Lane, Outcome, Quantiles, Worker};
use crate::record::{LANES, Record, Work};
use crate::schedule::Schedule;

/// How often a job may fail before it is a dead letter.
pub const MAX_ATTEMPTS: u32 = 5;
/// How often the progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

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

/// Why a replay did not happen.
#[derive(Debug)]
pub struct DriveError(String);

impl fmt::Display for DriveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DriveError {}

/// Replays `records` until all have come to an end or `stop` is set.
pub fn drive(
    records: &[Arc<Record>],
    options: &Options,
    aggregate: &Arc<Aggregate>,
    stop: &AtomicBool,
    listeners: &mut Listeners<'_>,
) -> Result<Outcome, DriveError> {
    if options.capacity == 0 {
        return Err(DriveError("capacity is 0, expected at least 1".to_string()));
    }
    let mut executor = Executor::new(options, aggregate.clone());
    let schedule = Schedule::new(records, options.passes, options.speed);
    let total = schedule.total();
    let mut offered = 0;
    let mut behind_max = Duration::ZERO;
    for (due, record) in schedule {
        if let Some(due) = due {
            while !stopped(stop) && executor.start.elapsed() < due {
                executor.tell(offered, listeners);
                if !executor.run_one(listeners) {
                    std::thread::sleep(due.saturating_sub(executor.start.elapsed()).min(PROGRESS_EVERY));
                }
            }
            behind_max = behind_max.max(executor.start.elapsed().saturating_sub(due));
        }
        if stopped(stop) {
            break;
        }
        offered += 1;
        executor.publish(record, listeners);
        executor.tell(offered, listeners);
    }
    while !stopped(stop) && executor.run_one(listeners) {
        executor.tell(offered, listeners);
    }
    executor.counts.unpublished = total - offered;
    Ok(executor.finish(behind_max, stopped(stop)))
}

fn stopped(stop: &AtomicBool) -> bool {
    // relaxed: a request, nothing is published with it
    stop.load(Ordering::Relaxed)
}

struct Job {
    record: Arc<Record>,
    attempt: u32,
    ready: Instant,
}

struct Executor<'a> {
    options: &'a Options,
    aggregate: Arc<Aggregate>,
    start: Instant,
    told: Instant,
    counts: Counts,
    lanes: [VecDeque<Job>; LANES.len()],
    times: [(Vec<u64>, Vec<u64>); LANES.len()],
}

impl<'a> Executor<'a> {
    fn new(options: &'a Options, aggregate: Arc<Aggregate>) -> Self {
        let start = Instant::now();
        Executor { options, aggregate, start, told: start, counts: Counts::default(), lanes: Default::default(), times: Default::default() }
    }

    fn publish(&mut self, record: &Arc<Record>, listeners: &mut Listeners<'_>) {
        if let Work::Invalid(_) = record.work {
            self.counts.invalid += 1;
            return;
        }
        while self.lanes.iter().map(VecDeque::len).sum::<usize>() >= self.options.capacity as usize {
            self.run_one(listeners);
        }
        self.counts.accepted += 1;
        self.lanes[usize::from(record.lane)].push_back(Job { record: record.clone(), attempt: 1, ready: Instant::now() });
    }

    fn run_one(&mut self, listeners: &mut Listeners<'_>) -> bool {
        let Some(mut job) = self.lanes.iter_mut().find_map(VecDeque::pop_front) else { return false };
        let lane = usize::from(job.record.lane);
        let started = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| handle(&job.record, job.attempt, self.options.work_scale, &self.aggregate)));
        self.times[lane].0.push((started - job.ready).as_nanos() as u64);
        self.times[lane].1.push(started.elapsed().as_nanos() as u64);
        let (reason, error) = match result {
            Ok(Ok(())) => {
                self.counts.acked += 1;
                return true;
            }
            Ok(Err(Failure::Fatal(error))) => ("rejected", error),
            Ok(Err(Failure::Transient(error))) => ("max_attempts", error),
            Err(panic) => {
                self.counts.panics += 1;
                ("max_attempts", panic.downcast_ref::<String>().cloned().unwrap_or_default())
            }
        };
        if reason == "rejected" || job.attempt == MAX_ATTEMPTS {
            self.counts.dead_lettered += 1;
            let letter = DeadLetter { record: job.record, reason: reason.to_string(), attempts: job.attempt, error };
            (listeners.dead_letter)(letter);
            return true;
        }
        self.counts.redelivered += 1;
        job.attempt += 1;
        job.ready = Instant::now();
        self.lanes[lane].push_back(job);
        true
    }

    fn tell(&mut self, published: u64, listeners: &mut Listeners<'_>) {
        if self.told.elapsed() < PROGRESS_EVERY {
            return;
        }
        self.told = Instant::now();
        let Counts { acked, dead_lettered, redelivered, .. } = self.counts;
        (listeners.progress)(Progress { published, finished: acked + dead_lettered, redelivered, dead_lettered });
    }

    fn finish(mut self, behind_max: Duration, interrupted: bool) -> Outcome {
        self.counts.handed_back = self.lanes.iter().map(VecDeque::len).sum::<usize>() as u64;
        let started = self.counts.acked + self.counts.dead_lettered + self.counts.redelivered;
        let lanes = LANES.iter().zip(&mut self.times).map(|(name, (wait, run))| Lane {
            name: name.to_string(),
            started: wait.len() as u64,
            wait_ns: quantiles(wait),
            run_ns: quantiles(run),
        });
        Outcome {
            counts: self.counts,
            ledger_ok: true,
            elapsed: self.start.elapsed(),
            behind_max,
            interrupted,
            lanes: lanes.collect(),
            workers: vec![Worker { index: 0, requested_core: None, actual_core: None, pinned: false, jobs: started }],
            wake_rescued: 0,
        }
    }
}

fn quantiles(times: &mut [u64]) -> Quantiles {
    times.sort_unstable();
    let at = |share: f64| times.get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1))).copied().unwrap_or(0);
    Quantiles { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1.0) }
}
