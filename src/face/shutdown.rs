//! The end of a runtime: close, drain, cancel, hand back.

use super::runtime::Runtime;
use super::snapshot::{self, QueueSnapshot, Snapshot};
use crate::clock::Timestamp;
use crate::id::JobId;
use crate::job::Payload;
use crate::queue::Undone;
use crate::runtime::served::Served;
use crate::sync::{Condvar, Mutex, nap};
use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long a shutdown may take.
///
/// ```
/// use ringmill::ShutdownOptions;
/// use std::time::Duration;
///
/// let options = ShutdownOptions::default().drain(Duration::from_secs(1));
/// assert_eq!(options, ShutdownOptions::new(Duration::from_secs(1), Duration::from_secs(2)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShutdownOptions {
    drain: Duration,
    cancel: Duration,
}

impl ShutdownOptions {
    /// So long for waiting jobs to finish, then so long for running handlers to notice that they are cancelled.
    pub fn new(drain: Duration, cancel: Duration) -> Self {
        ShutdownOptions { drain, cancel }
    }

    /// How long waiting jobs may take to finish.
    #[must_use]
    pub fn drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }

    /// How long running handlers may take to notice that they are cancelled.
    #[must_use]
    pub fn cancel(mut self, cancel: Duration) -> Self {
        self.cancel = cancel;
        self
    }
}

impl Default for ShutdownOptions {
    /// 10 s to drain, 2 s to cancel.
    fn default() -> Self {
        ShutdownOptions { drain: Duration::from_secs(10), cancel: Duration::from_secs(2) }
    }
}

/// A job that was still with a handler or consumer when the shutdown ended, or in the hands of a thread that was just giving it back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunningJob {
    /// Its queue.
    pub queue: String,
    /// Its id.
    pub job: JobId,
    /// The number of the delivery; 0: it was never delivered.
    pub attempt: u32,
}

/// What a shutdown came to.
pub struct ShutdownReport {
    undone: HashMap<String, (Box<dyn Any + Send>, usize)>,
    running: Vec<RunningJob>,
    snapshot: Snapshot,
    clean: bool,
}

impl ShutdownReport {
    /// True when every job was done and every worker had come back in time.
    pub fn is_clean(&self) -> bool {
        self.clean
    }

    /// The undone jobs of `queue`, by value, with those that have come back since the report was made: a late publish, a running job that asked for another
    /// attempt. Each is given out once; [`QueueHandle::reclaim`](super::QueueHandle::reclaim) has what comes back later.
    ///
    /// ```
    /// use ringmill::{QueueConfig, Runtime, ShutdownOptions};
    /// use std::time::Duration;
    ///
    /// let mut builder = Runtime::builder();
    /// let words = builder.pull_queue::<&str>(QueueConfig::new("words"))?;
    /// let runtime = builder.build()?;
    /// words.producer()?.publish("hello")?;
    /// let mut report = runtime.shutdown(ShutdownOptions::new(Duration::ZERO, Duration::ZERO));
    /// assert!(!report.is_clean());
    /// assert_eq!(report.take_undone(&words)[0].payload, "hello");
    /// assert_eq!((report.take_undone(&words).len(), report.undone_count()), (0, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn take_undone<T: Payload>(&mut self, queue: &super::QueueHandle<T>) -> Vec<Undone<T>> {
        let mut undone = match self.undone.remove(queue.name()) {
            None => Vec::new(),
            Some((boxed, count)) => match boxed.downcast::<Vec<Undone<T>>>() {
                Ok(undone) => *undone,
                Err(boxed) => {
                    // a handle of another runtime's queue of the same name
                    self.undone.insert(queue.name().to_owned(), (boxed, count));
                    return Vec::new();
                }
            },
        };
        undone.extend(queue.reclaim());
        undone
    }

    /// How many jobs were handed back, over all queues (whether taken out of the report or not).
    pub fn undone_count(&self) -> u64 {
        self.snapshot.queues.iter().map(|queue| queue.counts.handed_back).sum()
    }

    /// Jobs that are still with a handler or consumer. They are not handed back: somebody reads them.
    pub fn running(&self) -> &[RunningJob] {
        &self.running
    }

    /// Counts and gauges at the end.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Counts and gauges of one queue at the end.
    pub fn queue(&self, name: &str) -> Option<&QueueSnapshot> {
        self.snapshot.queue(name)
    }
}

impl fmt::Debug for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let undone: Vec<(&String, usize)> = self.undone.iter().map(|(queue, (_, count))| (queue, *count)).collect();
        f.debug_struct("ShutdownReport").field("undone", &undone).field("running", &self.running).finish_non_exhaustive()
    }
}

/// Asks a runtime to shut down: publishes are refused at once, and whoever waits in
/// [`wait_for_shutdown_request`](Runtime::wait_for_shutdown_request) wakes up to do the rest.
///
/// No signal handlers are installed; wire this to yours.
#[derive(Clone)]
pub struct ShutdownHandle {
    shared: Arc<Requested>,
}

struct Requested {
    queues: Vec<std::sync::Weak<dyn Served>>,
    requested: Mutex<bool>,
    changed: Condvar,
}

impl ShutdownHandle {
    pub(super) fn new(queues: &[Arc<dyn Served>]) -> Self {
        let queues = queues.iter().map(Arc::downgrade).collect();
        ShutdownHandle { shared: Arc::new(Requested { queues, requested: Mutex::new(false), changed: Condvar::new() }) }
    }

    /// Asks for it. May be called again, and after the runtime is gone.
    pub fn request(&self) {
        for queue in self.shared.queues.iter().filter_map(std::sync::Weak::upgrade) {
            queue.close();
        }
        *self.shared.requested.lock() = true;
        self.shared.changed.notify_all();
    }

    /// True once somebody asked.
    pub fn is_requested(&self) -> bool {
        *self.shared.requested.lock()
    }

    pub(super) fn wait(&self) {
        let mut requested = self.shared.requested.lock();
        while !*requested {
            requested = self.shared.changed.wait(requested);
        }
    }
}

impl fmt::Debug for ShutdownHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownHandle").field("requested", &self.is_requested()).finish()
    }
}

/// How often a drain looks whether it is done.
const DRAIN_LOOK: Duration = Duration::from_millis(1);

impl Runtime {
    /// The phases:
    /// 1. close: publishes are refused, waiting publishers let go;
    /// 2. drain: workers and timer go on until nothing waits or the time is up;
    /// 3. stop: nothing is started any more, handlers are told;
    /// 4. cancel: workers come back, or the time is up;
    /// 5. the timer stops;
    /// 6. hand back: what is left comes out by value; what runs is named.
    pub(super) fn shut_down(&mut self, options: ShutdownOptions) -> ShutdownReport {
        self.down = true;
        self.shutdown.request();
        // a handler that shuts its own runtime down would wait for itself
        let inside = self.id.is_inside();
        let drained = !inside && self.drain(self.clock.now() + options.drain);
        for queue in &self.queues {
            queue.stop();
        }
        for pool in &self.pools {
            pool.stop();
        }
        let deadline = if inside { self.clock.now() } else { self.clock.now() + options.cancel };
        let patience = || (self.clock.now() < deadline).then(|| self.clock.sleep_hint(deadline));
        let mut joined = self.crew.as_ref().is_none_or(|crew| {
            let finished = inside || crew.finish(deadline);
            crew.dismiss();
            finished
        });
        for pool in &self.pools {
            joined &= pool.join(patience);
        }
        self.timer.stop();
        if let Some(timer) = self.timer_thread.take() {
            // never runs user code, so it comes back at once
            let _ = timer.join();
        }
        let mut undone = HashMap::new();
        let mut running = Vec::new();
        for queue in &self.queues {
            undone.insert(queue.name().to_owned(), queue.hand_back());
            running.extend(queue.running().into_iter().map(|(job, attempt)| RunningJob { queue: queue.name().to_owned(), job, attempt }));
        }
        // letters stay where they are now, and queues do not hold each other any more
        self.queues.iter().for_each(|queue| queue.let_go());
        let snapshot = snapshot::take(self.clock.now(), &self.queues, &self.exchanges, &self.pools);
        let done = running.is_empty() && undone.values().all(|(_, count)| *count == 0);
        ShutdownReport { undone, running, snapshot, clean: drained && joined && done }
    }

    /// As [`shutdown`](Self::shutdown), in the time of a runtime without threads: it passes, and `turn` lets everybody act.
    #[cfg(feature = "test-util")]
    pub(crate) fn shutdown_in_its_time(mut self, options: ShutdownOptions, mut turn: impl FnMut()) -> ShutdownReport {
        self.shutdown.request();
        let (crew, deadline) = (Arc::clone(self.crew()), self.clock.now() + options.drain);
        crew.advance_to(crew.clock(), deadline, || {
            turn();
            !self.queues.iter().all(|queue| queue.is_drained(deadline))
        });
        self.shut_down(options.drain(Duration::ZERO))
    }

    /// Waits until nothing waits or runs, or `deadline`. True if nothing does.
    fn drain(&self, deadline: Timestamp) -> bool {
        loop {
            if let Some(crew) = &self.crew {
                crew.turn();
            }
            if self.queues.iter().all(|queue| queue.is_drained(deadline)) {
                return true;
            }
            let now = self.clock.now();
            // without threads nothing moves while we wait
            if now >= deadline || self.timer_thread.is_none() {
                return false;
            }
            nap(self.clock.sleep_hint(deadline).min(DRAIN_LOOK));
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::config::QueueConfig;

    #[test]
    fn a_job_that_a_late_handler_still_reads_is_named_and_can_be_reclaimed() {
        let clock = Arc::new(ManualClock::new());
        let mut builder = Runtime::builder().manual(clock.clone());
        let visibility = Duration::from_millis(10);
        let queue = builder.pull_queue::<String>(QueueConfig::new("q").capacity(4).visibility(visibility)).unwrap();
        let runtime = builder.build().unwrap();
        queue.producer().unwrap().publish("late".to_owned()).unwrap();
        let consumer = queue.consumer().unwrap();
        let delivery = consumer.recv().unwrap();
        runtime.advance(&clock, 4 * visibility);
        assert!(!delivery.is_current(), "the job waits for its next delivery");

        let mut report = runtime.shutdown(ShutdownOptions::new(Duration::ZERO, Duration::ZERO));
        assert!(report.take_undone(&queue).is_empty(), "somebody reads it");
        assert!(report.queue("q").unwrap().ledger_balances(), "{:?}", report.snapshot());
        assert_eq!(report.queue("q").unwrap().held(), 1);
        assert_eq!(report.running(), [RunningJob { queue: "q".to_owned(), job: delivery.job_id(), attempt: 1 }]);
        assert!(!report.is_clean());

        assert_eq!(delivery.ack().unwrap_err().became(), crate::Became::Ended);
        let undone = queue.reclaim();
        assert_eq!((undone.len(), undone[0].payload.as_str(), undone[0].expiries), (1, "late", 1));
        let counts = queue.counts();
        assert_eq!((counts.accepted, counts.handed_back, counts.ended()), (1, 1, 1));
        assert_eq!(counts.lingering_made, counts.lingering_gone);
    }
}
