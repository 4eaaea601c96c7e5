//! What comes of a job that is published through an exchange.

use crate::error::Refusal;
use crate::id::JobId;
use crate::job::Job;
use crate::routing::KeyError;
use std::fmt;
use std::sync::Arc;

/// A job was taken by every queue it was routed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Routed {
    /// How many queues have a copy: 1 or more.
    pub copies: usize,
    /// The job's id in its queue, if it went to one queue only. Each copy of a fan-out has an id of its own, in its own queue.
    pub job: Option<JobId>,
}

/// A job was taken by some of the queues it was routed to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Partial {
    /// How many queues have a copy: 1 or more.
    pub copies: usize,
    /// The queues that refused one, and why.
    pub missed: Vec<(Arc<str>, Refusal)>,
}

/// Why no queue took a job.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteRefusal {
    /// What it was published under is no routing key.
    BadKey(KeyError),
    /// No binding of the exchange, nor of its alternates, wants it.
    #[doc(alias = "returned")]
    Unroutable {
        /// The exchange that was asked last.
        exchange: String,
    },
    /// A queue refused it, and no queue has a copy.
    Queue {
        /// The queue.
        queue: Arc<str>,
        /// Why.
        refusal: Refusal,
    },
    /// It goes to more than one queue, and was published without leave to clone it.
    Several {
        /// How many.
        queues: usize,
    },
    /// The predicate of a binding panicked.
    PredicatePanicked {
        /// The panic's message.
        message: String,
    },
}

impl fmt::Display for RouteRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RouteRefusal::BadKey(error) => error.fmt(f),
            RouteRefusal::Unroutable { exchange } => write!(f, "no binding of exchange `{exchange}` wants the job"),
            RouteRefusal::Queue { queue, refusal } => write!(f, "queue `{queue}`: {refusal}"),
            RouteRefusal::Several { queues } => write!(f, "the job goes to {queues} queues and may not be cloned"),
            RouteRefusal::PredicatePanicked { message } => write!(f, "the predicate of a binding panicked: {message}"),
        }
    }
}

/// A job that no queue took, and why.
pub struct RouteError<T> {
    job: Job<T>,
    refusal: RouteRefusal,
}

impl<T> RouteError<T> {
    #[cold]
    pub(super) fn new(job: Job<T>, refusal: RouteRefusal) -> Self {
        RouteError { job, refusal }
    }

    /// Why.
    pub fn refusal(&self) -> &RouteRefusal {
        &self.refusal
    }

    /// The payload, back.
    pub fn into_inner(self) -> T {
        self.job.into_payload()
    }

    /// The whole job, back, to be published again.
    pub fn into_job(self) -> Job<T> {
        self.job
    }

    /// True when nobody wants the job.
    pub fn is_unroutable(&self) -> bool {
        matches!(self.refusal, RouteRefusal::Unroutable { .. })
    }

    /// True when trying again later can help: a queue was full.
    pub fn is_full(&self) -> bool {
        matches!(self.refusal, RouteRefusal::Queue { refusal: Refusal::Full { .. } | Refusal::TimedOut, .. })
    }

    /// True when this publisher's [breaker](crate::QueueConfig::publish_breaker) for a queue is open.
    ///
    /// ```
    /// use ringmill::{Binding, ExchangeConfig, PublishBreaker, QueueConfig, Runtime};
    ///
    /// let mut builder = Runtime::builder();
    /// let audit = builder.pull_queue::<u32>(QueueConfig::new("audit"))?;
    /// let small = builder.pull_queue::<u32>(QueueConfig::new("small").capacity(1).publish_breaker(PublishBreaker::new().failures(1)))?;
    /// let news = builder.exchange(ExchangeConfig::fanout("news"))?;
    /// news.rebind([Binding::all(&audit), Binding::all(&small)])?;
    /// let runtime = builder.build()?;
    /// let mut publisher = news.publisher();
    /// publisher.publish("a", 1)?;
    /// assert!(publisher.publish("a", 2).unwrap_err().is_full());
    /// assert!(publisher.publish("a", 2).unwrap_err().is_breaker_open());
    /// assert_eq!(publisher.publish_best_effort("a", 2)?.copies, 1); // `small` is not asked
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_breaker_open(&self) -> bool {
        matches!(self.refusal, RouteRefusal::Queue { refusal: Refusal::BreakerOpen { .. }, .. })
    }

    /// True when a queue is shutting down.
    pub fn is_closed(&self) -> bool {
        matches!(self.refusal, RouteRefusal::Queue { refusal: Refusal::Closed, .. })
    }
}

impl<T> fmt::Debug for RouteError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteError").field("refusal", &self.refusal).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for RouteError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refusal.fmt(f)
    }
}

impl<T> std::error::Error for RouteError<T> {}
