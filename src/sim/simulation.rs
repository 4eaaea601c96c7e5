//! A runtime in virtual time, and who acts next.

use crate::clock::{Clock, ManualClock, Timestamp};
use crate::error::BuildError;
use crate::face::{QueueHandle, QueueSnapshot, Runtime, RuntimeBuilder, ShutdownOptions, ShutdownReport};
use crate::id::JobId;
use crate::job::Payload;
use crate::queue::JobState;
use crate::rng::Rng;
use crate::runtime::probe::{DeliveryRecord, Log, Probe};
use crate::sync::Mutex;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A runtime without threads, in virtual time, whose workers and timer act in an order that a seed decides.
///
/// ```
/// use ringmill::QueueConfig;
/// use ringmill::sim::Sim;
/// use std::time::Duration;
///
/// let mut builder = Sim::builder(42);
/// let reports = builder.queue(QueueConfig::new("reports"), |_: &&str, _: &_| ())?;
/// let sim = Sim::start(builder)?;
/// reports.producer()?.publish_after("weekly", Duration::from_secs(7 * 24 * 3600))?;
/// assert!(!sim.step(), "nobody has anything to do");
/// sim.advance(Duration::from_secs(7 * 24 * 3600));
/// assert_eq!(reports.counts().acked, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Sim {
    /// `None` once it is shut down.
    runtime: Option<Runtime>,
    stage: Arc<Stage>,
    log: Arc<Log>,
    seed: u64,
}

/// Who acts, and by which choices.
struct Stage {
    crew: Arc<crate::face::Crew>,
    choices: Mutex<Rng>,
}

impl Sim {
    /// A builder for a simulation with this seed: choices and jitter are a function of it. Declare queues, exchanges and pools with it as ever.
    ///
    /// A pool that does not say how many [workers](crate::PoolConfig::workers) it has gets two, whatever the machine.
    pub fn builder(seed: u64) -> RuntimeBuilder {
        let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new())).seed(seed);
        builder.probe = Probe(Some(Arc::new(Log::default())));
        builder
    }

    /// Builds what was declared, and begins at the time 0.
    ///
    /// # Errors
    /// As [`RuntimeBuilder::build`].
    ///
    /// # Panics
    /// When the builder is not one of [`Sim::builder`].
    pub fn start(builder: RuntimeBuilder) -> Result<Sim, BuildError> {
        let log = builder.probe.0.clone().expect("a simulation begins with `Sim::builder`");
        let seed = builder.seed;
        let runtime = builder.build()?;
        let stage = Stage { crew: Arc::clone(runtime.crew()), choices: Mutex::new(Rng::new(seed)) };
        Ok(Sim { runtime: Some(runtime), stage: Arc::new(stage), log, seed })
    }

    /// Runs handlers when jobs are published: a publish returns when nobody has anything left to do. For tests of what a service does, and not of when.
    ///
    /// What is delayed, by a publish or by a retry, waits for [`advance`](Self::advance) still. A job that a handler publishes runs when that handler has returned. A publish of
    /// a thread that holds a lock waits for itself if a handler wants that lock.
    ///
    /// ```
    /// use ringmill::QueueConfig;
    /// use ringmill::sim::Sim;
    ///
    /// let mut builder = Sim::builder(1);
    /// let mails = builder.queue(QueueConfig::new("mails"), |_: &&str, _: &_| ())?;
    /// let _sim = Sim::start(builder)?.inline();
    /// mails.producer()?.publish("hello")?;
    /// assert_eq!(mails.counts().acked, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "eager")]
    #[must_use]
    pub fn inline(self) -> Self {
        let stage = Arc::downgrade(&self.stage);
        self.runtime().run_at_once(Arc::new(move || {
            if let Some(stage) = stage.upgrade() {
                stage.run_at_once();
            }
        }));
        self
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The runtime: snapshots, a shutdown handle.
    pub fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("a shutdown consumes the simulation")
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock().now()
    }

    /// The clock, to be moved by hand: what the runtime does not see pass is a leap, as of a machine that was suspended or a clock that was set, forwards or back.
    ///
    /// Leases age in a leap, as long as [`freeze_after`](RuntimeBuilder::freeze_after) is not set.
    pub fn clock(&self) -> &Arc<ManualClock> {
        self.stage.crew.clock()
    }

    /// The choices that follow are those of `seed`: for runs that are put together from recorded steps.
    pub fn reseed(&self, seed: u64) {
        *self.stage.choices.lock() = Rng::new(seed);
    }

    /// Somebody acts: a worker runs one job or does a chore, after the timer's turn or before it. False when nobody has anything to do now.
    pub fn step(&self) -> bool {
        self.stage.step()
    }

    /// Acts until nobody has anything to do now. Says how many acts there were. Never ends if a job comes back at once for ever.
    #[doc(alias = "drain")]
    pub fn run_until_idle(&self) -> usize {
        self.stage.run_until_idle()
    }

    /// Lets `by` pass, with everything that happens in it. Takes as long as there are events in it, however long it is.
    pub fn advance(&self, by: Duration) {
        self.run_until(by, || false);
    }

    /// Lets time pass, act by act, until `done`, or until `limit` has passed. True if it is done.
    ///
    /// ```
    /// use ringmill::sim::Sim;
    /// use ringmill::{JobError, QueueConfig};
    /// use std::time::Duration;
    ///
    /// let mut builder = Sim::builder(3);
    /// let jobs = builder.queue(QueueConfig::new("jobs"), |_: &u32, _: &_| Err::<(), _>(JobError::transient("not yet")))?;
    /// let sim = Sim::start(builder)?;
    /// jobs.producer()?.publish(5)?;
    /// assert!(sim.run_until(Duration::from_secs(3600), || !jobs.dead_letters().is_empty()));
    /// assert_eq!(jobs.counts().started, 5); // max_attempts
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run_until(&self, limit: Duration, mut done: impl FnMut() -> bool) -> bool {
        let (clock, end) = (self.clock(), self.now() + limit);
        let mut is_done = done();
        self.stage.crew.advance_to(clock, end, || {
            while !is_done && self.step() {
                is_done = done();
            }
            is_done = is_done || done();
            !is_done
        });
        is_done
    }

    /// Every delivery to a worker so far, by the time of its start. Deliveries of pull queues are in the test's own hands, and jobs that run in their publisher's thread
    /// ([`Overflow::CallerRuns`](crate::Overflow::CallerRuns)) have none.
    pub fn deliveries(&self) -> Vec<DeliveryRecord> {
        self.log.with(<[_]>::to_vec)
    }

    /// As [`deliveries`](Self::deliveries), without a copy.
    pub fn with_deliveries<R>(&self, look: impl FnOnce(&[DeliveryRecord]) -> R) -> R {
        self.log.with(look)
    }

    /// The deliveries of one job.
    pub fn deliveries_of<T: Payload>(&self, queue: &QueueHandle<T>, job: JobId) -> Vec<DeliveryRecord> {
        self.log.with(|all| all.iter().filter(|delivery| delivery.job == job && *delivery.queue == *queue.name()).cloned().collect())
    }

    /// Every job that occupies a slot of the queue, by its id: what it is doing now.
    ///
    /// ```
    /// use ringmill::QueueConfig;
    /// use ringmill::clock::Timestamp;
    /// use ringmill::sim::{JobPhase, Sim};
    /// use std::time::Duration;
    ///
    /// let mut builder = Sim::builder(1);
    /// let jobs = builder.pull_queue::<u32>(QueueConfig::new("jobs"))?;
    /// let sim = Sim::start(builder)?;
    /// let job = jobs.producer()?.publish_after(5, Duration::from_secs(60))?;
    /// let [state] = sim.jobs(&jobs)[..] else { panic!("one job") };
    /// assert_eq!((state.job, state.phase), (job, JobPhase::Delayed(Timestamp::ZERO + Duration::from_secs(60))));
    /// sim.advance(Duration::from_secs(60));
    /// assert_eq!(sim.jobs(&jobs)[0].phase, JobPhase::Waiting);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Complexity
    /// O(capacity).
    pub fn jobs<T: Payload>(&self, queue: &QueueHandle<T>) -> Vec<JobState> {
        queue.queue.states()
    }

    /// How many slots of the queue are free for jobs of `lane`: those of the lane's [reserve](crate::LaneConfig::reserve), and those that all lanes share.
    ///
    /// ```
    /// use ringmill::sim::Sim;
    /// use ringmill::{Job, LaneConfig, QueueConfig};
    ///
    /// let mut builder = Sim::builder(1);
    /// let lanes = [LaneConfig::new("critical").reserve(2), LaneConfig::new("default")];
    /// let jobs = builder.pull_queue::<u32>(QueueConfig::new("jobs").capacity(10).lanes(lanes))?;
    /// let sim = Sim::start(builder)?;
    /// jobs.producer()?.publish_batch(&mut (0..20).map(|n| Job::new(n).lane(1)));
    /// assert_eq!((sim.room(&jobs, 0), sim.room(&jobs, 1)), (2, 0));
    /// assert!(sim.jobs(&jobs).iter().all(|job| job.reserve_of.is_none()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// When the queue has no such lane.
    pub fn room<T: Payload>(&self, queue: &QueueHandle<T>, lane: usize) -> u32 {
        assert!(lane < queue.queue.lane_count(), "there is no lane {lane}");
        queue.queue.room(lane)
    }

    /// How many payloads of jobs that the timer has ended lie where the next worker or consumer who comes by drops them.
    ///
    /// ```
    /// use ringmill::QueueConfig;
    /// use ringmill::sim::Sim;
    /// use std::time::Duration;
    ///
    /// let mut builder = Sim::builder(1);
    /// let jobs = builder.pull_queue::<String>(QueueConfig::new("jobs"))?;
    /// let sim = Sim::start(builder)?;
    /// let job = jobs.producer()?.publish("hello".to_owned())?;
    /// assert!(jobs.cancel(job));
    /// sim.run_until(Duration::from_millis(200), || false); // a sweep
    /// assert_eq!((jobs.depth(), sim.left_to_drop(&jobs)), (0, 1));
    /// assert!(jobs.consumer()?.try_recv().is_err());
    /// assert_eq!(sim.left_to_drop(&jobs), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn left_to_drop<T: Payload>(&self, queue: &QueueHandle<T>) -> usize {
        queue.queue.left_to_drop()
    }

    /// The deliveries so far, which are forgotten: for runs that would remember too many.
    pub fn take_deliveries(&self) -> Vec<DeliveryRecord> {
        self.log.take()
    }

    /// Checks of every queue that no job was lost or counted twice (`accepted = acked + dead-lettered + dropped + handed back + held`), and that every slot is
    /// accounted for (`free + ready + running + delayed + held + lingering = capacity`).
    ///
    /// # Panics
    /// When they do not add up.
    pub fn assert_balanced(&self) {
        self.runtime().snapshot().queues.iter().for_each(adds_up);
    }

    /// Shuts down, in virtual time: waiting jobs and retries have `drain` to finish, deliveries that take their time another `cancel`. What is undone is handed back.
    pub fn shutdown(mut self, options: ShutdownOptions) -> ShutdownReport {
        let runtime = self.runtime.take().expect("a shutdown consumes the simulation");
        let report = runtime.shutdown_in_its_time(options, || {
            self.run_until_idle();
        });
        report.snapshot().queues.iter().for_each(adds_up);
        report
    }
}

fn adds_up(queue: &QueueSnapshot) {
    let phases = queue.phases;
    let used = phases.ready + phases.running + phases.delayed + phases.held + phases.zombies;
    assert!(queue.ledger_balances(), "the ledger of `{}` does not balance: {queue:#?}", queue.name);
    assert_eq!(queue.free + used, queue.capacity, "the slots of `{}` do not add up: {queue:#?}", queue.name);
}

impl Stage {
    fn step(&self) -> bool {
        let workers = self.crew.len();
        let first = self.choices.lock().up_to(workers as u64) as usize;
        for at in (first..=workers).chain(0..first) {
            if at == workers {
                self.crew.turn_timer();
            } else if self.crew.step(at, 1) {
                return true;
            }
        }
        // those who were asked before the timer
        (0..self.crew.len()).any(|at| self.crew.step(at, 1))
    }

    fn run_until_idle(&self) -> usize {
        std::iter::repeat_with(|| self.step()).take_while(|&acted| acted).count()
    }

    /// A job was published. If it was by somebody who acts, it runs when he is done.
    fn run_at_once(&self) {
        if !self.crew.is_at_work() {
            self.run_until_idle();
        }
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim").field("seed", &self.seed).field("now", &self.now()).finish_non_exhaustive()
    }
}
