//! Every public error, in the order a caller meets them. A failed publish hands the job back.

use crate::id::JobId;
use crate::job::Job;
use std::fmt;
use std::time::Duration;

/// A setting that cannot be: names the field, the value and what is allowed.
///
/// ```
/// use ringmill::QueueConfig;
///
/// let error = QueueConfig::new("mail").capacity(0).validate().unwrap_err();
/// assert_eq!(error.to_string(), "queue `mail`: capacity is 0, allowed is 1..=16777215");
/// assert_eq!((error.field(), error.value(), error.allowed()), ("capacity", "0", "1..=16777215"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// What the field belongs to, such as "queue `mail`".
    scope: String,
    field: String,
    value: String,
    allowed: String,
}

impl ConfigError {
    pub(crate) fn new(scope: impl Into<String>, field: impl Into<String>, value: impl fmt::Display, allowed: impl fmt::Display) -> Self {
        ConfigError { scope: scope.into(), field: field.into(), value: value.to_string(), allowed: allowed.to_string() }
    }

    /// The name of the setting.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// The value that was refused.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What would have been accepted.
    pub fn allowed(&self) -> &str {
        &self.allowed
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} is {}, allowed is {}", self.scope, self.field, self.value, self.allowed)
    }
}

impl std::error::Error for ConfigError {}

/// Why a runtime could not be built.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// A setting is out of range.
    Config(ConfigError),
    /// Workers cannot be placed on the cores asked for.
    Placement(String),
    /// The operating system refused a thread.
    Spawn(std::io::Error),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::Config(error) => error.fmt(f),
            BuildError::Placement(reason) => write!(f, "placement: {reason}"),
            BuildError::Spawn(error) => write!(f, "a thread could not be started: {error}"),
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BuildError::Config(error) => Some(error),
            BuildError::Placement(_) => None,
            BuildError::Spawn(error) => Some(error),
        }
    }
}

impl From<ConfigError> for BuildError {
    fn from(error: ConfigError) -> Self {
        BuildError::Config(error)
    }
}

/// Why a job was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Every slot the job's lane may use is occupied.
    Full {
        /// When another slot is likely to be free, by the queue's pace: the time between two settlements, as it was when the last ones were seen; or, if it has
        /// stood still for longer since, the time that it stands still. `None` while nothing was settled yet, and for [`Permits`](crate::Permits) that are used up.
        ///
        /// A hint: of many who are refused the first may take that slot. It is as old as the last sweep (an eighth of the visibility timeout, at most 100 ms), and what
        /// a queue does not do while it is idle, or has but delayed jobs, does not count.
        retry_after: Option<Duration>,
    },
    /// A blocking publish reached its deadline while the queue was full.
    TimedOut,
    /// This publisher found the queue full too often lately: its [breaker](crate::QueueConfig::publish_breaker) is open, and the queue was not asked.
    BreakerOpen {
        /// How long it is open yet; never zero.
        retry_after: Duration,
    },
    /// The queue is shutting down.
    Closed,
    /// The payload's own check refused it.
    Invalid {
        /// What the check said.
        reason: String,
    },
    /// What the job was given as its [key](Job::key) cannot be one.
    BadKey {
        /// How many bytes it has; 1 to 1024 are allowed.
        bytes: u64,
    },
    /// Another job with the same [key](Job::key) is in the queue, or was accepted within the queue's window.
    Duplicate {
        /// That job.
        existing: JobId,
    },
    /// The queue remembers as many [keys](Job::key) as it may: jobs that bring a new one are refused until one of them is forgotten.
    TooManyKeys {
        /// How many it may remember.
        bound: usize,
    },
    /// The queue has fewer lanes.
    NoSuchLane {
        /// The lane asked for.
        lane: usize,
        /// How many the queue has: lanes are `0..lanes`.
        lanes: usize,
    },
    /// A handler would have had to wait for its own runtime.
    WouldDeadlock,
    /// `Overflow::CallerRuns` ran the handler in the publisher's thread and it did not succeed.
    HandlerFailed {
        /// What the handler said.
        reason: String,
    },
    /// The queue has as many handles as it can have.
    TooManyHandles,
}

impl Refusal {
    /// True when the same job may be accepted later by the same queue, as it is.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Refusal::Full { .. } | Refusal::TimedOut | Refusal::WouldDeadlock | Refusal::BreakerOpen { .. })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Full { retry_after: None } => f.write_str("the queue is full"),
            Refusal::Full { retry_after: Some(after) } => write!(f, "the queue is full, try again in about {after:?}"),
            Refusal::TimedOut => f.write_str("the queue stayed full until the deadline"),
            Refusal::BreakerOpen { retry_after } => write!(f, "the publisher's breaker is open, try again in {retry_after:?}"),
            Refusal::Closed => f.write_str("the queue is closed"),
            Refusal::Invalid { reason } => write!(f, "the payload is invalid: {reason}"),
            Refusal::BadKey { bytes } => write!(f, "the key has {bytes} bytes, allowed are 1..={}", crate::limits::JOB_KEY_BYTES_MAX),
            Refusal::Duplicate { existing } => write!(f, "{existing} has the same key"),
            Refusal::TooManyKeys { bound } => write!(f, "the queue remembers {bound} keys, as many as it may"),
            Refusal::NoSuchLane { lane, lanes } => write!(f, "lane is {lane}, the queue has lanes 0..{lanes}"),
            Refusal::WouldDeadlock => f.write_str("a handler may not wait for its own runtime"),
            Refusal::HandlerFailed { reason } => write!(f, "the handler failed in the caller's thread: {reason}"),
            Refusal::TooManyHandles => write!(f, "the queue already has {} handles", crate::limits::ACCOUNTS_MAX),
        }
    }
}

/// A job that was not accepted, and why.
///
/// ```
/// use ringmill::{QueueConfig, Runtime};
///
/// let mut builder = Runtime::builder();
/// let numbers = builder.pull_queue::<u64>(QueueConfig::new("numbers").capacity(1))?;
/// let runtime = builder.build()?;
/// let producer = numbers.producer()?;
/// producer.try_publish(1)?;
/// let error = producer.try_publish(2).unwrap_err();
/// assert!(error.is_full());
/// assert_eq!(error.into_inner(), 2);
/// # drop(runtime);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PublishError<T> {
    job: Job<T>,
    refusal: Refusal,
}

impl<T> PublishError<T> {
    pub(crate) fn new(job: Job<T>, refusal: Refusal) -> Self {
        PublishError { job, refusal }
    }

    /// Why.
    pub fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    /// The payload, back.
    pub fn into_inner(self) -> T {
        self.job.into_payload()
    }

    /// The job.
    pub(crate) fn job(&self) -> &Job<T> {
        &self.job
    }

    /// The whole job, back, to be published again.
    pub fn into_job(self) -> Job<T> {
        self.job
    }

    /// True when trying again later can help: the queue was full.
    pub fn is_full(&self) -> bool {
        matches!(self.refusal, Refusal::Full { .. } | Refusal::TimedOut)
    }

    /// True when this publisher's [breaker](crate::QueueConfig::publish_breaker) is open; the [refusal](Refusal::BreakerOpen) says for how long.
    pub fn is_breaker_open(&self) -> bool {
        matches!(self.refusal, Refusal::BreakerOpen { .. })
    }

    /// True when another job with the same key stands for this one.
    pub fn is_duplicate(&self) -> bool {
        matches!(self.refusal, Refusal::Duplicate { .. })
    }

    /// True when the queue is shutting down.
    pub fn is_closed(&self) -> bool {
        matches!(self.refusal, Refusal::Closed)
    }
}

impl<T> fmt::Debug for PublishError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishError").field("refusal", &self.refusal).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for PublishError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refusal.fmt(f)
    }
}

impl<T> std::error::Error for PublishError<T> {}

/// A queue has no room for another handle (producer, worker or consumer), or is not of the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandleError {
    /// `limits::ACCOUNTS_MAX` producers, workers and consumers exist.
    TooManyHandles,
    /// `limits::SLEEPERS_MAX` consumers exist.
    TooManyConsumers,
    /// The queue has a handler; it is not consumed by hand.
    NotAPullQueue,
}

impl fmt::Display for HandleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandleError::TooManyHandles => write!(f, "the queue already has {} handles", crate::limits::ACCOUNTS_MAX),
            HandleError::TooManyConsumers => write!(f, "the queue already has {} consumers", crate::limits::SLEEPERS_MAX),
            HandleError::NotAPullQueue => f.write_str("the queue has a handler, so it has no consumers"),
        }
    }
}

impl std::error::Error for HandleError {}

/// What became of a job whose delivery is no longer current.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Became {
    /// The lease ran out and the job waits to be delivered again.
    Waiting,
    /// The lease ran out and another delivery is running.
    Redelivered,
    /// The job has ended: acked, discarded or dead-lettered through another delivery.
    Ended,
}

/// The lease of a delivery had run out: nothing was touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale {
    became: Became,
}

impl Stale {
    pub(crate) fn new(became: Became) -> Self {
        Stale { became }
    }

    /// What became of the job.
    pub fn became(&self) -> Became {
        self.became
    }
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let became = match self.became {
            Became::Waiting => "the job waits for its next delivery",
            Became::Redelivered => "the job is running elsewhere",
            Became::Ended => "the job has ended",
        };
        write!(f, "the lease of this delivery had run out: {became}")
    }
}

impl std::error::Error for Stale {}

/// Why a lease was not extended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExtendError {
    /// The lease had already run out.
    Stale(Stale),
    /// The delivery has used up `max_lease`.
    Capped,
}

impl fmt::Display for ExtendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExtendError::Stale(stale) => stale.fmt(f),
            ExtendError::Capped => f.write_str("the delivery has used up its max_lease"),
        }
    }
}

impl std::error::Error for ExtendError {}

/// Why nothing was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// No job is ready.
    Empty,
    /// No job became ready before the deadline.
    TimedOut,
    /// The queue is shut down.
    Closed,
    /// A handler may not wait for its own runtime.
    WouldDeadlock,
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecvError::Empty => "no job is ready",
            RecvError::TimedOut => "no job became ready before the deadline",
            RecvError::Closed => "the queue is shut down",
            RecvError::WouldDeadlock => "a handler may not wait for its own runtime",
        })
    }
}

impl std::error::Error for RecvError {}

/// Why the end of a job was not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitError {
    /// The job did not end before the deadline.
    TimedOut,
    /// A handler may not wait for its own runtime without a deadline.
    WouldDeadlock,
    /// Its end was taken before.
    Taken,
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WaitError::TimedOut => "the job did not end before the deadline",
            WaitError::WouldDeadlock => "a handler may not wait for its own runtime without a deadline",
            WaitError::Taken => "the end of the job was taken before",
        })
    }
}

impl std::error::Error for WaitError {}
