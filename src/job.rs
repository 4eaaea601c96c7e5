//! What is published: a payload and how it wants to be treated.

use crate::key::{Key, OrderKey};
use std::fmt;
use std::time::Duration;

/// What can be published.
///
/// A handler reads the payload where it lies, by shared reference: when a lease runs out while a handler is still reading, the next delivery reads
/// the same memory. Hence `Send + Sync`. [`validate`](Payload::validate) runs in [`publish`](crate::Producer::publish), before any slot is taken.
///
/// ```
/// use ringmill::{Invalid, Payload};
///
/// struct Mail { to: String }
///
/// impl Payload for Mail {
///     fn validate(&self) -> Result<(), Invalid> {
///         if self.to.contains('@') { Ok(()) } else { Err(Invalid::new("`to` is no address")) }
///     }
/// }
///
/// assert!(Mail { to: "nobody".into() }.validate().is_err());
/// ```
#[doc(alias = "args")]
pub trait Payload: Send + Sync + 'static {
    /// Refuses a payload that no handler could work on. The default accepts everything.
    ///
    /// # Errors
    /// [`Invalid`] with a reason; the publisher gets it and the job back. A panic in here counts as a refusal.
    fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

/// Why a payload was refused.
///
/// ```
/// use ringmill::{Invalid, Payload, QueueConfig, Refusal, Runtime};
///
/// #[derive(Debug)]
/// struct Resize(u32);
///
/// impl Payload for Resize {
///     fn validate(&self) -> Result<(), Invalid> {
///         if self.0 == 0 { Err(Invalid::new("the width is 0")) } else { Ok(()) }
///     }
/// }
///
/// assert_eq!(Resize(0).validate().unwrap_err().reason(), "the width is 0");
/// let mut builder = Runtime::builder();
/// let images = builder.pull_queue::<Resize>(QueueConfig::new("images"))?;
/// let error = images.producer()?.publish(Resize(0)).unwrap_err();
/// assert_eq!(error.refusal(), &Refusal::Invalid { reason: "the width is 0".into() });
/// assert_eq!(error.into_inner().0, 0); // it comes back
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    reason: String,
}

impl Invalid {
    /// A refusal with a reason, a lower-case clause.
    pub fn new(reason: impl Into<String>) -> Self {
        Invalid { reason: reason.into() }
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Invalid {}

macro_rules! plain_payloads {
    ($($type:ty),* $(,)?) => { $(impl Payload for $type {})* };
}

plain_payloads!((), bool, char, u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64, String, &'static str, Duration);

impl<P: Send + Sync + 'static> Payload for Vec<P> {}
impl<P: Send + Sync + 'static> Payload for Box<[P]> {}
impl<P: Send + Sync + 'static, const N: usize> Payload for [P; N] {}
impl<P: Send + Sync + 'static> Payload for Option<P> {}
impl<A: Send + Sync + 'static, B: Send + Sync + 'static> Payload for (A, B) {}
impl<A: Send + Sync + 'static, B: Send + Sync + 'static, C: Send + Sync + 'static> Payload for (A, B, C) {}
impl<A: Send + Sync + 'static, B: Send + Sync + 'static, C: Send + Sync + 'static, D: Send + Sync + 'static> Payload for (A, B, C, D) {}

impl<P: Payload> Payload for Box<P> {
    fn validate(&self) -> Result<(), Invalid> {
        (**self).validate()
    }
}

/// To be shared as an `Arc<str>`.
impl Payload for str {}
/// To be shared as an `Arc<[P]>`.
impl<P: Send + Sync + 'static> Payload for [P] {}

impl<P: Payload + ?Sized> Payload for std::sync::Arc<P> {
    fn validate(&self) -> Result<(), Invalid> {
        (**self).validate()
    }
}

/// A payload with its lane and limits. A bare payload becomes a job of lane 0 with the queue's defaults.
///
/// ```
/// use ringmill::Job;
/// use std::time::Duration;
///
/// let job = Job::new("rebuild the index").lane(1).ttl(Duration::from_secs(60));
/// assert_eq!(*job.payload(), "rebuild the index");
/// ```
#[doc(alias = "task")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job<T> {
    pub(crate) payload: T,
    pub(crate) lane: usize,
    pub(crate) ttl: Option<Duration>,
    pub(crate) visibility: Option<Duration>,
    pub(crate) key: Key,
    pub(crate) order: OrderKey,
}

impl<T> Job<T> {
    /// A job of lane 0 with the queue's defaults.
    #[inline]
    pub fn new(payload: T) -> Self {
        Job { payload, lane: 0, ttl: None, visibility: None, key: Key::NONE, order: OrderKey::NONE }
    }

    /// The job without its payload, and that.
    #[inline(always)]
    pub(crate) fn apart(self) -> (Job<()>, T) {
        let Job { payload, lane, ttl, visibility, key, order } = self;
        (Job { payload: (), lane, ttl, visibility, key, order }, payload)
    }

    /// The lane: 0 is the most urgent.
    #[must_use]
    #[inline]
    pub fn lane(mut self, lane: usize) -> Self {
        self.lane = lane;
        self
    }

    /// How long after its publication the job may still be started; later it is dead-lettered as expired.
    #[doc(alias = "expires")]
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// The visibility timeout of this job's deliveries, instead of the queue's. Zero and very long times are brought into the queue's range
    /// (one tick at the least).
    #[must_use]
    pub fn visibility(mut self, visibility: Duration) -> Self {
        self.visibility = Some(visibility);
        self
    }

    /// The job's key, 1 to 1024 bytes: of the jobs with one key a queue that [dedupes](crate::QueueConfig::dedupe) accepts one at a time, or one in each
    /// window. Other queues take no notice of it.
    ///
    /// The key is kept as 128 bits of a keyed hash. That two keys are taken for one is possible: with 16 million keys at a time its chance is below 2^-80.
    ///
    /// ```
    /// use ringmill::{Dedupe, Job, QueueConfig, Refusal, Runtime};
    ///
    /// let mut builder = Runtime::builder();
    /// let orders = builder.pull_queue::<&str>(QueueConfig::new("orders").dedupe(Dedupe::WhileLive, 10_000))?;
    /// let runtime = builder.build()?;
    /// let (producer, consumer) = (orders.producer()?, orders.consumer()?);
    /// let first = producer.publish(Job::new("bill it").key("order-42"))?;
    /// let error = producer.publish(Job::new("bill it again").key("order-42")).unwrap_err();
    /// assert_eq!(*error.refusal(), Refusal::Duplicate { existing: first });
    /// assert_eq!(error.into_inner(), "bill it again"); // the job comes back
    /// consumer.try_recv()?.ack()?;
    /// assert!(producer.publish(Job::new("bill it later").key("order-42")).is_ok());
    /// # consumer.try_recv()?.ack()?;
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "job_id")]
    #[doc(alias = "message_deduplication_id")]
    #[must_use]
    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.key = Key::of(key.as_ref());
        self
    }

    /// The job's partition key, 1 to 1024 bytes: a queue that has [partitions](crate::QueueConfig::partitions) delivers jobs with one key in the order in which
    /// they were published, and one at a time. Other queues take no notice of it. It goes with every copy of a routed job.
    ///
    /// The key is kept as a keyed hash. Two keys that are taken for one (among a million keys the chance is below one in a million) share one order.
    ///
    /// ```
    /// use ringmill::{Job, QueueConfig, RecvError, Runtime};
    ///
    /// let mut builder = Runtime::builder();
    /// let ledger = builder.pull_queue::<i64>(QueueConfig::new("ledger").partitions(64))?;
    /// let runtime = builder.build()?;
    /// let (producer, consumer) = (ledger.producer()?, ledger.consumer()?);
    /// producer.publish(Job::new(100).partition_key("account-1"))?;
    /// producer.publish(Job::new(-30).partition_key("account-1"))?;
    /// let first = consumer.try_recv()?;
    /// assert_eq!(*first, 100);
    /// assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty); // the account is being worked on
    /// first.ack()?;
    /// let second = consumer.try_recv()?;
    /// assert_eq!(*second, -30);
    /// # second.ack()?;
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "message_group_id")]
    #[doc(alias = "ordering_key")]
    #[must_use]
    pub fn partition_key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.order = OrderKey::of(key.as_ref());
        self
    }

    /// The payload.
    pub fn payload(&self) -> &T {
        &self.payload
    }

    /// The payload itself.
    pub fn into_payload(self) -> T {
        self.payload
    }
}

impl Job<()> {
    /// A job like this one, with this payload.
    #[inline(always)]
    pub(crate) fn with<T>(self, payload: T) -> Job<T> {
        let Job { payload: (), lane, ttl, visibility, key, order } = self;
        Job { payload, lane, ttl, visibility, key, order }
    }
}

impl<T> From<T> for Job<T> {
    #[inline]
    fn from(payload: T) -> Self {
        Job::new(payload)
    }
}
