//! A pool: its threads, their stand-ins, and what they report.

use super::config::PoolConfig;
use super::idle::IdleState;
use super::placement::{self, PinOutcome, PlacementReport};
use super::served::{Served, Station};
use super::topology::{CpuId, Topology};
use super::worker::Worker;
use crate::clock::Clock;
use crate::error::BuildError;
use crate::lanes::Schedule;
use crate::queue::ClaimBlock;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use crate::sync::{CachePadded, Condvar, EventCount, Mutex, thread};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What the workers of a pool share.
pub(crate) struct PoolShared {
    pub(crate) bell: Arc<EventCount>,
    stopping: AtomicBool,
    /// Workers and spares, by index: written by each for itself.
    gauges: Box<[CachePadded<Gauge>]>,
    workers: usize,
    /// Threads that have not returned yet.
    alive: Mutex<usize>,
    returned: Condvar,
    /// Spares that run now: a bit each. Written (RMW) by supervision and by retiring spares.
    spares: AtomicU64,
    /// Claim blocks of the workers, and of the spares that have run, for supervision.
    blocks: Mutex<Vec<Vec<Arc<ClaimBlock>>>>,
}

#[derive(Debug, Default)]
struct Gauge {
    jobs: AtomicU64,
    parks: AtomicU64,
}

impl PoolShared {
    pub(crate) fn is_stopping(&self) -> bool {
        // relaxed: re-read before every round; whoever stops the pool fences and wakes
        self.stopping.load(Relaxed)
    }

    #[inline]
    pub(crate) fn count_jobs(&self, worker: usize, ran: u64) {
        let jobs = &self.gauges[worker].jobs;
        // relaxed: single writer
        jobs.store(jobs.load(Relaxed) + ran, Relaxed);
    }

    pub(crate) fn count_park(&self, worker: usize) {
        let parks = &self.gauges[worker].parks;
        // relaxed: single writer
        parks.store(parks.load(Relaxed) + 1, Relaxed);
    }

    /// At most half of the workers search at a time.
    pub(crate) fn search_limit(&self) -> u32 {
        (self.workers as u32 / 2).max(1)
    }

    /// Workers whose handler overran its lease and has not returned; a spare may be one of them.
    fn stuck(&self) -> usize {
        self.blocks.lock().iter().filter(|blocks| blocks.iter().any(|block| block.is_stuck())).count()
    }

    /// True when fewer workers are stuck than spares run: the caller, `spare`, retires.
    pub(crate) fn retires(&self, spare: u32) -> bool {
        // relaxed, both: CAS re-checks; at worst a spare stays a round longer
        let spares = self.spares.load(Relaxed);
        spares.count_ones() as usize > self.stuck()
            && self.spares.compare_exchange(spares, spares & !(1 << spare), Relaxed, Relaxed).is_ok()
    }
}

impl fmt::Debug for PoolShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolShared").field("bell", &self.bell).finish_non_exhaustive()
    }
}

/// What a pool looks like now.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PoolSnapshot {
    /// The pool.
    pub name: String,
    /// Where its workers run.
    pub placement: PlacementReport,
    /// Jobs each worker ran; spares follow the regular workers.
    pub jobs: Vec<u64>,
    /// How often each worker went to sleep.
    pub parks: Vec<u64>,
    /// Workers, spares among them, whose handler overran its lease and has not returned.
    pub stuck: usize,
    /// Spares that stand in for them.
    pub spares: usize,
}

/// A pool of workers.
#[derive(Debug)]
pub(crate) struct Pool {
    config: PoolConfig,
    workers: usize,
    plan: Vec<Option<CpuId>>,
    idle: IdleState,
    pub(crate) shared: Arc<PoolShared>,
    queues: Vec<(Arc<dyn Served>, u32)>,
    clock: Arc<dyn Clock>,
    report: Mutex<PlacementReport>,
}

/// Workers of a pool that says nothing of them, in a runtime without threads: the same on every machine.
const WORKERS_WITHOUT_THREADS: usize = 2;

impl Pool {
    /// A pool whose workers have `threads`, or none: then nothing depends on the machine.
    pub(crate) fn new(
        config: PoolConfig,
        bell: Arc<EventCount>,
        queues: Vec<(Arc<dyn Served>, u32)>,
        clock: Arc<dyn Clock>,
        threads: bool,
    ) -> Result<Self, BuildError> {
        config.validate()?;
        let topology = Topology::machine();
        let (workers, plan) = if threads {
            let workers = config.workers.unwrap_or_else(|| placement::workers_default(topology)).min(PoolConfig::WORKERS_MAX);
            let plan = placement::plan(&config.placement, workers, topology).map_err(|error| BuildError::Placement(error.to_string()))?;
            (workers, plan)
        } else {
            let workers = config.workers.unwrap_or(WORKERS_WITHOUT_THREADS);
            (workers, vec![None; workers])
        };
        let seats = workers + config.spares;
        let shared = Arc::new(PoolShared {
            bell,
            stopping: AtomicBool::new(false),
            gauges: (0..seats).map(|_| CachePadded::new(Gauge::default())).collect(),
            workers,
            alive: Mutex::new(0),
            returned: Condvar::new(),
            spares: AtomicU64::new(0),
            blocks: Mutex::new(vec![Vec::new(); seats]),
        });
        // a worker that spins on every CPU takes the publishers' time: it gives its slice away instead
        let idle = IdleState::new(config.idle, topology.is_crowded_by(workers + 1));
        let report = PlacementReport { warnings: placement::warnings(config.idle, &plan, topology), ..PlacementReport::default() };
        Ok(Pool { config, workers, plan, idle, shared, queues, clock, report: Mutex::new(report) })
    }

    /// A worker with its seats, on no thread yet.
    pub(crate) fn worker(&self, index: usize) -> Result<Worker, BuildError> {
        let weights: Vec<u32> = self.queues.iter().map(|(_, weight)| *weight).collect();
        let schedule = Schedule::weighted(&weights).map_err(|invalid| {
            let scope = format!("pool `{}`", self.config.name);
            crate::error::ConfigError::new(scope, invalid.field, invalid.value, invalid.range)
        })?;
        let mut stations: Vec<Box<dyn Station>> = Vec::with_capacity(self.queues.len());
        for (queue, _) in &self.queues {
            stations.push(queue.seat(index).ok_or_else(|| {
                BuildError::Placement(format!(
                    "queue `{}` has no account left for worker {index} of pool `{}`",
                    queue.name(),
                    self.config.name
                ))
            })?);
        }
        self.shared.blocks.lock()[index] = stations.iter().map(|station| station.block()).collect();
        Ok(Worker::new(index, stations, schedule, Arc::clone(&self.shared), Arc::clone(&self.clock), self.idle.clone()))
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// Starts the workers, and waits until each knows where it runs.
    pub(crate) fn start(&self) -> Result<(), BuildError> {
        let pins = Arc::new((Mutex::new(vec![None::<Option<PinOutcome>>; self.workers]), Condvar::new()));
        for index in 0..self.workers {
            let worker = self.worker(index)?;
            let (cpu, pins) = (self.plan[index], Arc::clone(&pins));
            self.spawn(
                worker,
                move || {
                    let outcome = cpu.map(placement::pin_current);
                    pins.0.lock()[index] = Some(outcome);
                    pins.1.notify_all();
                },
                || false,
            )?;
        }
        let mut outcomes = pins.0.lock();
        while outcomes.iter().any(Option::is_none) {
            outcomes = pins.1.wait(outcomes);
        }
        let outcomes: Vec<Option<PinOutcome>> = outcomes.iter().cloned().map(Option::flatten).collect();
        let mut report = PlacementReport::new(&self.plan, &outcomes, self.config.on_pin_failure, Topology::machine())
            .map_err(|error| BuildError::Placement(error.to_string()))?;
        let mut mine = self.report.lock();
        report.warnings.append(&mut mine.warnings);
        *mine = report;
        Ok(())
    }

    fn spawn(
        &self,
        worker: Worker,
        first: impl FnOnce() + Send + 'static,
        retire: impl Fn() -> bool + Send + 'static,
    ) -> Result<(), BuildError> {
        // 15 bytes are what Linux keeps of a thread's name, and a NUL ends it
        let name: String = format!("rm-{}-{}", self.config.name, worker.index).chars().filter(|c| *c != '\0').take(15).collect();
        *self.shared.alive.lock() += 1;
        let shared = Arc::clone(&self.shared);
        let spawned = thread::spawn_named(name, move || {
            let _returned = Returned(shared);
            first();
            worker.run(retire);
        });
        spawned.map(drop).map_err(|error| {
            *self.shared.alive.lock() -= 1;
            BuildError::Spawn(error)
        })
    }

    /// Starts a spare for a worker that is stuck past its lease, if there is one. Called by the timer.
    pub(crate) fn supervise(&self) {
        let Some((worker, spare)) = self.next_spare() else { return };
        let shared = Arc::clone(&self.shared);
        if self.spawn(worker, || (), move || shared.retires(spare)).is_err() {
            // relaxed: only the timer adds spares
            self.shared.spares.fetch_and(!(1 << spare), Relaxed);
        }
    }

    /// A spare for a worker that is stuck past its lease, if one is needed and there is one; counted as running from here on.
    pub(crate) fn next_spare(&self) -> Option<(Worker, u32)> {
        // relaxed, both: only the timer adds spares
        let (spares, stuck) = (self.shared.spares.load(Relaxed), self.shared.stuck());
        let running = spares.count_ones() as usize;
        if running > stuck {
            // one of them may be asleep, and goes only when it wakes
            self.shared.bell.notify_all();
        }
        if running >= self.config.spares || self.shared.is_stopping() || stuck <= running {
            return None;
        }
        let spare = spares.trailing_ones();
        let worker = self.worker(self.workers + spare as usize).ok()?;
        // relaxed: see above
        self.shared.spares.fetch_or(1 << spare, Relaxed);
        Some((worker, spare))
    }

    /// Tells the workers to stop; does not wait.
    pub(crate) fn stop(&self) {
        // relaxed: the bell's fence orders it before the look at who sleeps; nothing else hangs on it
        self.shared.stopping.store(true, Relaxed);
        self.shared.bell.notify_all();
    }

    /// Waits until every thread has returned, as long as `patience` gives it time. True if they have. The lock carries what they did.
    pub(crate) fn join(&self, mut patience: impl FnMut() -> Option<Duration>) -> bool {
        let mut alive = self.shared.alive.lock();
        while *alive > 0 {
            let Some(left) = patience() else { return false };
            alive = self.shared.returned.wait_timeout(alive, left).0;
        }
        true
    }

    pub(crate) fn snapshot(&self) -> PoolSnapshot {
        // relaxed: statistics
        let read = |of: fn(&Gauge) -> &AtomicU64| self.shared.gauges.iter().map(|gauge| of(gauge).load(Relaxed)).collect();
        PoolSnapshot {
            name: self.config.name.clone(),
            placement: self.report.lock().clone(),
            jobs: read(|gauge| &gauge.jobs),
            parks: read(|gauge| &gauge.parks),
            stuck: self.shared.stuck(),
            // relaxed: statistics
            spares: self.shared.spares.load(Relaxed).count_ones() as usize,
        }
    }
}

/// Says that a thread has returned, however it did.
struct Returned(Arc<PoolShared>);

impl Drop for Returned {
    fn drop(&mut self) {
        *self.0.alive.lock() -= 1;
        self.0.returned.notify_all();
    }
}
