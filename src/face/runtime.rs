//! A running runtime.

use super::builder::RuntimeBuilder;
use super::crew::Crew;
use super::shutdown::{ShutdownHandle, ShutdownOptions, ShutdownReport};
use super::snapshot::{self, Exchanges, Snapshot};
use crate::clock::{Clock, ManualClock, Timestamp, Wall};
use crate::error::BuildError;
use crate::runtime::PlacementReport;
use crate::runtime::inside::RuntimeId;
use crate::runtime::pool::Pool;
use crate::runtime::served::Served;
use crate::runtime::timer::Timer;
use crate::sync::thread;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Queues, their workers and the timer.
///
/// Dropping a runtime shuts it down with the default [`ShutdownOptions`]; undone jobs are dropped then. [`shutdown`](Runtime::shutdown) gives them back.
pub struct Runtime {
    pub(super) id: RuntimeId,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) queues: Vec<Arc<dyn Served>>,
    pub(super) exchanges: Exchanges,
    pub(super) pools: Vec<Arc<Pool>>,
    pub(super) timer: Arc<Timer>,
    pub(super) timer_thread: Option<thread::JoinHandle<()>>,
    /// Workers without threads.
    pub(super) crew: Option<Arc<Crew>>,
    pub(super) shutdown: ShutdownHandle,
    pub(super) down: bool,
}

impl Runtime {
    /// A builder.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::new()
    }

    pub(super) fn start(
        id: RuntimeId,
        clock: Arc<dyn Clock>,
        queues: Vec<Arc<dyn Served>>,
        exchanges: Exchanges,
        pools: Vec<Arc<Pool>>,
        timer: Arc<Timer>,
        manual: Option<Arc<ManualClock>>,
    ) -> Result<Runtime, BuildError> {
        let shutdown = ShutdownHandle::new(&queues);
        let mut runtime = Runtime { id, clock, queues, exchanges, pools, timer, timer_thread: None, crew: None, shutdown, down: false };
        // an error below drops `runtime`, which stops what was started
        if let Some(clock) = manual {
            runtime.crew = Some(Arc::new(Crew::new(id, clock, Arc::clone(&runtime.timer), &runtime.pools)?));
        } else {
            runtime.timer_thread = Some(runtime.timer.start().map_err(BuildError::Spawn)?);
            for pool in &runtime.pools {
                pool.start()?;
            }
        }
        Ok(runtime)
    }

    /// The time on the runtime's clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The time on the wall at a moment of the runtime's clock, which goes on evenly: by how far that moment is from [now](Self::now), and by what is on the
    /// [wall](Clock::wall) now. Two calls differ by as much as the wall clock was set in between.
    ///
    /// ```
    /// use ringmill::clock::{Clock, ManualClock};
    /// use ringmill::{QueueConfig, Runtime};
    /// use std::sync::Arc;
    /// use std::time::Duration;
    ///
    /// let clock = Arc::new(ManualClock::new());
    /// let mut builder = Runtime::builder().manual(clock.clone());
    /// let words = builder.pull_queue::<&str>(QueueConfig::new("words"))?;
    /// let runtime = builder.build()?;
    /// words.producer()?.publish("oops")?;
    /// words.consumer()?.recv()?.reject("no")?;
    /// clock.advance(Duration::from_secs(60));
    /// let letter = words.dead_letters().take().unwrap();
    /// let died = runtime.wall_time(letter.record().deaths[0].last);
    /// assert_eq!(died + Duration::from_secs(60), clock.wall());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wall_time(&self, at: Timestamp) -> SystemTime {
        Wall::read(&*self.clock).at(at)
    }

    /// Counts, gauges and histograms of every queue and pool. Reading costs the hot path nothing; the values are of slightly different moments unless nothing moves.
    ///
    /// # Complexity
    /// O(capacity) per queue: the slots' phases are counted one by one.
    pub fn snapshot(&self) -> Snapshot {
        snapshot::take(self.clock.now(), &self.queues, &self.exchanges, &self.pools)
    }

    /// Where the workers of each pool run: pool name and report.
    pub fn placement(&self) -> Vec<(String, PlacementReport)> {
        self.pools.iter().map(|pool| pool.snapshot()).map(|pool| (pool.name, pool.placement)).collect()
    }

    /// A handle that asks this runtime to shut down, from anywhere: a signal handler's thread, another task.
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        self.shutdown.clone()
    }

    /// Waits until somebody calls [`ShutdownHandle::request`].
    ///
    /// ```
    /// use ringmill::{QueueConfig, Runtime, ShutdownOptions};
    ///
    /// let mut builder = Runtime::builder();
    /// let words = builder.pull_queue::<&str>(QueueConfig::new("words"))?;
    /// let runtime = builder.build()?;
    /// let handle = runtime.shutdown_handle();
    /// assert!(!handle.is_requested());
    /// let other = handle.clone();
    /// std::thread::spawn(move || other.request()); // a signal handler's thread, say
    /// runtime.wait_for_shutdown_request();
    /// assert!(handle.is_requested());
    /// assert!(words.producer()?.publish("late").unwrap_err().is_closed());
    /// assert!(runtime.shutdown(ShutdownOptions::default()).is_clean());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_for_shutdown_request(&self) {
        self.shutdown.wait();
    }

    /// Runs the timer and every worker once, until nothing is left to do now, in the caller's thread. Only for runtimes built with
    /// [`manual`](RuntimeBuilder::manual); says how many rounds had something to do.
    ///
    /// To let time pass, advance the clock in steps no longer than the shortest delay or lease that matters, and turn after each: see [`advance`](Self::advance).
    ///
    /// # Panics
    /// When the runtime has threads of its own, and in one of its handlers.
    pub fn turn(&self) -> usize {
        self.crew().turn()
    }

    /// Lets `by` pass on `clock`, turning at every moment at which the runtime has something to do.
    ///
    /// # Panics
    /// When the runtime has threads of its own.
    pub fn advance(&self, clock: &ManualClock, by: Duration) {
        let crew = self.crew();
        let end = clock.now() + by;
        crew.advance_to(clock, end, || {
            crew.turn();
            true
        });
    }

    /// Whoever publishes calls `run` on its way out.
    #[cfg(feature = "test-util")]
    pub(crate) fn run_at_once(&self, run: crate::queue::Run) {
        self.queues.iter().for_each(|queue| queue.run_at_once(Arc::clone(&run)));
    }

    /// Those who work without threads.
    pub(crate) fn crew(&self) -> &Arc<Crew> {
        self.crew.as_ref().expect("this is for runtimes built with `manual`")
    }

    /// Shuts down: refuses publishes, lets waiting jobs finish until `options.drain` has passed, tells running handlers to come to an end, waits `options.cancel` for
    /// them, and hands back every undone job. Returns by then even if a handler is stuck for ever; its job is named in the report.
    ///
    /// # Blocking
    /// For at most `drain + cancel`. In a handler of this runtime it does not wait at all: the handler's own worker could never finish.
    pub fn shutdown(mut self, options: ShutdownOptions) -> ShutdownReport {
        self.shut_down(options)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if !self.down {
            let _ = self.shut_down(ShutdownOptions::default());
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.queues.iter().map(|queue| queue.name()).collect();
        f.debug_struct("Runtime").field("queues", &names).finish_non_exhaustive()
    }
}
