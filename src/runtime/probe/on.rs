//! Every delivery is written down, and lasts as long as its handler says that it takes.

use crate::clock::{Clock, Timestamp};
use crate::id::JobId;
use crate::runtime::handler::Context;
use crate::sync::Mutex;
use crate::verdict::Verdict;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

thread_local! {
    static TAKES: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// In a handler under simulation: this delivery takes `time` (more, if it is called again).
///
/// The handler runs to its end at once; its verdict waits until that time has passed on the simulation's clock. Until then its worker is busy and the job is running: other
/// workers go on, its lease may run out, it may be cancelled, the runtime may shut down. With [`Duration::MAX`] the handler is stuck for ever.
///
/// It says how long a dependency takes, so the place for it is the test's double of that: the mail server that hangs, the slow disk. Elsewhere than in a handler that a
/// [`Sim`](crate::sim::Sim) runs it has no effect.
///
/// ```
/// use ringmill::sim::{self, Outcome, Sim};
/// use ringmill::{JobError, QueueConfig};
/// use std::time::Duration;
///
/// fn send(_mail: &&str, context: &ringmill::Context<&str>) -> Result<(), JobError> {
///     if context.attempt() == 1 {
///         sim::takes(Duration::from_secs(40)); // the mail server hangs
///     }
///     Ok(())
/// }
///
/// let mut builder = Sim::builder(1);
/// let mails = builder.queue(QueueConfig::new("mails").visibility(Duration::from_secs(30)), send)?;
/// let sim = Sim::start(builder)?;
/// let job = mails.producer()?.publish("hello")?;
/// sim.advance(Duration::from_secs(60));
/// let outcomes: Vec<Outcome> = sim.deliveries_of(&mails, job).into_iter().map(|delivery| delivery.outcome).collect();
/// assert_eq!(outcomes, [Outcome::Stale(ringmill::Verdict::Ack), Outcome::Settled(ringmill::Verdict::Ack)]); // the mail went out twice
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn takes(time: Duration) {
    TAKES.set(TAKES.get().saturating_add(time));
}

/// One delivery of a job to a worker, as a simulation has seen it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveryRecord {
    /// The queue.
    pub queue: Arc<str>,
    /// The job.
    pub job: JobId,
    /// The number of the delivery, from 1.
    pub attempt: u32,
    /// The worker, within its pool.
    pub worker: usize,
    /// When the handler was called.
    pub started: Timestamp,
    /// When the verdict was there; `None` while the delivery goes on.
    pub ended: Option<Timestamp>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It goes on: its time has not passed.
    Running,
    /// The verdict counted.
    Settled(Verdict),
    /// The handler panicked with this message, and that counted as a failed attempt.
    Panicked(String),
    /// The lease had run out: the verdict did not count. (That of a panic is a retry.)
    Stale(Verdict),
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Log {
    records: Mutex<Records>,
}

#[derive(Debug, Default)]
struct Records {
    /// How many were taken out.
    taken: usize,
    kept: Vec<DeliveryRecord>,
}

impl Log {
    fn begin(&self, record: DeliveryRecord) -> usize {
        let mut records = self.records.lock();
        records.kept.push(record);
        records.taken + records.kept.len() - 1
    }

    fn end(&self, at: usize, outcome: Outcome, now: Timestamp) {
        let mut records = self.records.lock();
        let at = at.checked_sub(records.taken);
        if let Some(record) = at.and_then(|at| records.kept.get_mut(at)) {
            (record.outcome, record.ended) = (outcome, Some(now));
        }
    }

    pub(crate) fn with<R>(&self, look: impl FnOnce(&[DeliveryRecord]) -> R) -> R {
        look(&self.records.lock().kept)
    }

    pub(crate) fn take(&self) -> Vec<DeliveryRecord> {
        let mut records = self.records.lock();
        records.taken += records.kept.len();
        std::mem::take(&mut records.kept)
    }
}

/// What a queue's seats write into; nothing, outside of simulations.
#[derive(Debug, Clone, Default)]
pub(crate) struct Probe(pub(crate) Option<Arc<Log>>);

impl Probe {
    pub(crate) fn watch(&self, queue: &Arc<str>, worker: usize) -> Watcher {
        Watcher { log: self.0.clone(), queue: Arc::clone(queue), worker, at: 0, began: Timestamp::ZERO, kept: None }
    }
}

/// A seat's look at its deliveries.
pub(crate) struct Watcher {
    log: Option<Arc<Log>>,
    queue: Arc<str>,
    worker: usize,
    /// The record of the delivery under way.
    at: usize,
    began: Timestamp,
    kept: Option<Kept>,
}

/// A handler has returned, and its time has not passed.
struct Kept {
    outcome: Result<Verdict, String>,
    until: Timestamp,
}

impl Watcher {
    pub(crate) fn begin<T>(&mut self, context: &Context<T>, now: Timestamp) {
        TAKES.set(Duration::ZERO);
        self.began = now;
        if let (Some(log), Some(job)) = (&self.log, context.job_id()) {
            let (queue, attempt, worker) = (Arc::clone(&self.queue), context.attempt(), self.worker);
            self.at = log.begin(DeliveryRecord { queue, job, attempt, worker, started: now, ended: None, outcome: Outcome::Running });
        }
    }

    /// Gives the outcome back if the delivery ends now.
    pub(crate) fn keep(&mut self, outcome: Result<Verdict, String>, clock: &dyn Clock) -> Option<Result<Verdict, String>> {
        let time = TAKES.replace(Duration::ZERO);
        if time.is_zero() || self.log.is_none() {
            return Some(outcome);
        }
        self.kept = Some(Kept { outcome, until: clock.now() + time });
        None
    }

    pub(crate) fn end<T>(&mut self, context: &Context<T>, outcome: &Result<Verdict, String>, now: Timestamp) {
        let Some(log) = &self.log else { return };
        let outcome = match outcome {
            // nobody else is at it between this look and the settlement
            Ok(verdict) if context.is_current() => Outcome::Settled(verdict.clone()),
            Err(message) if context.is_current() => Outcome::Panicked(message.clone()),
            Ok(verdict) => Outcome::Stale(verdict.clone()),
            Err(message) => Outcome::Stale(Verdict::Retry(message.as_str().into())),
        };
        log.end(self.at, outcome, now);
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.kept.is_some()
    }

    pub(crate) fn busy_until(&self) -> Option<Timestamp> {
        self.kept.as_ref().map(|kept| kept.until)
    }

    /// The outcome of the delivery that took its time, and when it began.
    pub(crate) fn take_kept(&mut self) -> Option<(Result<Verdict, String>, Timestamp)> {
        self.kept.take().map(|kept| (kept.outcome, self.began))
    }
}
