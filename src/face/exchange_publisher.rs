//! Publishing through an exchange.

use super::destination::{Address, Destination, Stated};
use super::exchange::Exchange;
use super::fan_out::{Fan, Several, Wait, to_all};
use super::producer::Producer;
use super::routed::{Partial, RouteError, RouteRefusal, Routed};
use super::ways::{Way, Ways, note_key, of, refusal_of};
use crate::config::validate_payload;
use crate::error::PublishError;
use crate::exchange::{Block, Count, Row};
use crate::id::JobId;
use crate::job::{Job, Payload};
use crate::queue::{Watch, When};
use crate::routing::{Hop, RoutingKey};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Publishes jobs through an exchange. One per thread: it holds a producer of each queue it published to, and the bindings it saw last.
///
/// Jobs are published to a [`Destination`]: a routing key, or a [`Route`](crate::Route). The lane of a copy is its binding's, whatever the job says; its keys, time to live and
/// visibility timeout go with every copy.
///
/// # Guarantees
/// - A job that no queue took comes back, whole.
/// - **All or nothing**: a job that is routed to several queues goes to all of them, or, when one refuses it, to none. Only
///   [`publish_best_effort`](Self::publish_best_effort) does otherwise. A queue that is full and drops its oldest makes room, unless this publish waits for
///   room; under every other policy a full queue refuses, or is waited for.
/// - Fan-outs that want each other's queues cannot stop each other: all take their slots in the order of the queues' names. One that waits keeps those it has.
/// - A job that goes to one queue is not cloned. `Arc<P>` payloads are shared by all copies.
///
/// # Progress
/// As a [`Producer`]'s. The first publish after the bindings changed takes a lock, which is held while an `Arc` is copied.
///
/// # Allocation
/// None per job, once every queue was published to, every [`Route`](crate::Route) used, and the widest fan-out made. The first publish by key takes 68 KiB, for the
/// [keys that come again](crate::limits::CACHED_KEYS).
///
/// ```
/// use ringmill::{Binding, ExchangeConfig, QueueConfig, Runtime};
/// use std::sync::Arc;
///
/// let mut builder = Runtime::builder();
/// let audit = builder.pull_queue::<Arc<str>>(QueueConfig::new("audit"))?;
/// let small = builder.pull_queue::<Arc<str>>(QueueConfig::new("small").capacity(1))?;
/// let news = builder.exchange(ExchangeConfig::fanout("news"))?;
/// news.rebind([Binding::all(&audit), Binding::all(&small)])?;
/// let runtime = builder.build()?;
///
/// let mut publisher = news.publisher();
/// let text: Arc<str> = "it rains".into();
/// assert_eq!(publisher.publish("weather", Arc::clone(&text))?.copies, 2);
///
/// let error = publisher.publish("weather", Arc::clone(&text)).unwrap_err(); // `small` is full
/// assert!(error.is_full());
/// assert_eq!(audit.depth(), 1); // no copy anywhere
///
/// let partial = publisher.publish_best_effort("weather", text)?;
/// assert_eq!((partial.copies, &*partial.missed[0].0), (1, "small"));
/// # drop(runtime);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ExchangePublisher<T: Payload> {
    pub(super) exchange: Exchange<T>,
    pub(super) ways: Ways<T>,
    pub(super) fan: Fan<T>,
    pub(super) counts: Arc<Block>,
    pub(super) alternate: Option<Box<ExchangePublisher<T>>>,
}

impl<T: Payload> ExchangePublisher<T> {
    pub(super) fn open(exchange: &Exchange<T>) -> Self {
        let inner = &exchange.inner;
        ExchangePublisher {
            exchange: exchange.clone(),
            ways: Ways::new(inner),
            fan: Fan::new(Arc::clone(&inner.clock)),
            counts: inner.ledger.open(),
            alternate: inner.alternate.as_ref().map(|alternate| Box::new(Self::open(alternate))),
        }
    }

    /// The exchange.
    pub fn exchange(&self) -> &Exchange<T> {
        &self.exchange
    }

    /// Publishes a job that may go to one queue only: for payloads that are not to be cloned. What happens when that queue is full is its
    /// [`Overflow`](crate::Overflow) policy.
    ///
    /// ```
    /// use ringmill::{Binding, ExchangeConfig, Payload, QueueConfig, Runtime};
    /// use std::time::Duration;
    ///
    /// #[derive(Debug)]
    /// struct Unique(u32); // cannot be cloned
    /// impl Payload for Unique {}
    ///
    /// let mut builder = Runtime::builder();
    /// let ones = builder.pull_queue::<Unique>(QueueConfig::new("ones"))?;
    /// let tasks = builder.exchange(ExchangeConfig::direct("tasks"))?;
    /// tasks.bind(Binding::new("one", &ones))?;
    /// let runtime = builder.build()?;
    /// let mut publisher = tasks.publisher();
    /// assert_eq!(publisher.publish_one("one", Unique(1))?.copies, 1);
    /// assert!(publisher.try_publish_one("two", Unique(2)).is_err()); // no binding wants it
    /// assert!(tasks.unbind("one", &ones)?);
    /// assert!(publisher.try_publish_one("one", Unique(3)).is_err());
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The job comes back: no routing key, unroutable, routed to several queues, or refused as by [`Producer::publish`].
    ///
    /// # Blocking
    /// As [`Producer::publish`].
    #[inline]
    pub fn publish_one<'k>(&mut self, to: impl Destination<'k>, job: impl Into<Job<T>>) -> Result<Routed, RouteError<T>> {
        self.send(to, job.into(), Wait::AsTheQueueSays, Fan::publish_none)
    }

    /// As [`publish_one`](Self::publish_one), without waiting.
    ///
    /// # Errors
    /// As [`publish_one`](Self::publish_one).
    #[inline]
    pub fn try_publish_one<'k>(&mut self, to: impl Destination<'k>, job: impl Into<Job<T>>) -> Result<Routed, RouteError<T>> {
        self.send(to, job.into(), Wait::Never, Fan::publish_none)
    }
}

impl<T: Payload + Clone> ExchangePublisher<T> {
    /// Publishes to every queue whose bindings want the job, or to none. A queue that is full is waited for if its policy is
    /// [`Overflow::Block`](crate::Overflow::Block), for as long as that says.
    ///
    /// # Errors
    /// The job comes back: no routing key, unroutable, or a queue refused it, which is named.
    ///
    /// # Blocking
    /// As [`Producer::publish`], for every queue of the fan-out.
    ///
    /// # Panics
    /// When the payload's `clone` does; no queue has a copy then.
    #[doc(alias = "send")]
    #[doc(alias = "basic_publish")]
    // always: to save registers for a call is a third of what an exchange costs a job
    #[inline(always)]
    pub fn publish<'k>(&mut self, to: impl Destination<'k>, job: impl Into<Job<T>>) -> Result<Routed, RouteError<T>> {
        self.send(to, job.into(), Wait::AsTheQueueSays, to_all())
    }

    /// As [`publish`](Self::publish), without waiting.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    #[inline]
    pub fn try_publish<'k>(&mut self, to: impl Destination<'k>, job: impl Into<Job<T>>) -> Result<Routed, RouteError<T>> {
        self.send(to, job.into(), Wait::Never, to_all())
    }

    /// As [`publish`](Self::publish), waiting for room for at most `timeout`, whatever the queues' policies. `Duration::MAX` waits for ever.
    ///
    /// ```
    /// use ringmill::{Binding, ExchangeConfig, QueueConfig, Runtime};
    /// use std::time::Duration;
    ///
    /// let mut builder = Runtime::builder();
    /// let ones = builder.pull_queue::<u32>(QueueConfig::new("ones").capacity(1))?;
    /// let tasks = builder.exchange(ExchangeConfig::fanout("tasks"))?;
    /// tasks.bind(Binding::all(&ones))?;
    /// let runtime = builder.build()?;
    /// let mut publisher = tasks.publisher();
    /// publisher.publish_timeout("a", 1, Duration::from_secs(1))?;
    /// assert!(publisher.publish_timeout("a", 2, Duration::from_millis(5)).unwrap_err().is_full());
    /// drop(runtime);
    /// assert!(publisher.publish_timeout("a", 3, Duration::MAX).unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`publish`](Self::publish); [`Refusal::WouldDeadlock`](crate::Refusal::WouldDeadlock) in a handler of the same runtime that would have to wait.
    pub fn publish_timeout<'k>(
        &mut self,
        to: impl Destination<'k>,
        job: impl Into<Job<T>>,
        timeout: Duration,
    ) -> Result<Routed, RouteError<T>> {
        self.send(to, job.into(), Wait::AtMost(timeout), to_all())
    }

    /// Publishes to those queues that take the job at once, and says which did not. Does not wait.
    ///
    /// Each copy fares as by [`Producer::try_publish`]: a full queue that [drops its oldest](crate::Overflow::DropOldest) makes room, one that [drops what is new](crate::Overflow::DropNew) has
    /// its copy among its dead letters, which counts as taken, and every other one refuses it, also where
    /// a publish would wait for room ([`Block`](crate::Overflow::Block)), or run the job in this thread ([`CallerRuns`](crate::Overflow::CallerRuns)): neither is at once, and a handler that runs here
    /// would keep the other queues' copies waiting.
    ///
    /// # Errors
    /// The job comes back when no queue took it: the first refusal.
    ///
    /// # Allocation
    /// For the list of queues that refused, if there are any.
    pub fn publish_best_effort<'k>(&mut self, to: impl Destination<'k>, job: impl Into<Job<T>>) -> Result<Partial, RouteError<T>> {
        self.send(to, job.into(), Wait::Never, Fan::publish_some)
    }
}

// ---- the way there ----

impl<T: Payload> ExchangePublisher<T> {
    /// Finds the way and takes it; `several` is the way to more than one queue.
    // always: this is little more than a look into an array, and to pass a job on costs more than that
    #[inline(always)]
    pub(super) fn send<'k, R: Taken<T>>(
        &mut self,
        to: impl Destination<'k>,
        job: Job<T>,
        wait: Wait,
        several: impl Several<T, R>,
    ) -> Result<R, RouteError<T>> {
        if let Stated::Checked(Address::Route(route)) = to.stated()
            && let Some((row, producers)) = self.ways.straight(route, &self.exchange.inner)
        {
            match row {
                Row::One(hop) => return deliver(of(hop, producers), *hop, to, job, wait, &self.counts),
                Row::Several(hops) => {
                    let way = Way { hops, producers, to: Address::Route(route) };
                    return all_counted(several(&mut self.fan, way, job, wait), &self.counts);
                }
                Row::Nowhere | Row::Guarded(_) => {}
            }
        }
        self.send_far(to, job, wait, several)
    }

    /// As [`send`](Self::send), whatever there is to do first.
    #[inline(never)]
    fn send_far<'k, R: Taken<T>>(
        &mut self,
        to: impl Destination<'k>,
        job: Job<T>,
        wait: Wait,
        several: impl Several<T, R>,
    ) -> Result<R, RouteError<T>> {
        let to = to.stated();
        if !matches!(to, Stated::Checked(Address::Route(_)))
            && let Some((hop, producer)) = self.ways.known(to.text(), &self.exchange.inner)
        {
            return deliver(producer, hop, Address::Key(RoutingKey::checked(to.text())), job, wait, &self.counts);
        }
        let to = match to.check() {
            Ok(to) => to,
            Err(error) => return Err(refuse(job, RouteRefusal::BadKey(error), &self.counts)),
        };
        match self.ways.find(&to, &job.payload, &self.exchange.inner) {
            Ok(([], _)) => self.send_on(to, job, wait, several),
            Ok(([hop], producers)) => deliver(of(hop, producers), *hop, to, job, wait, &self.counts),
            Ok((hops, producers)) => all_counted(several(&mut self.fan, Way { hops, producers, to }, job, wait), &self.counts),
            Err(refusal) => Err(refuse(job, refusal, &self.counts)),
        }
    }

    /// No binding wants it, but the alternate exchange may.
    #[cold]
    fn send_on<R: Taken<T>>(&mut self, to: Address<'_>, job: Job<T>, wait: Wait, several: impl Several<T, R>) -> Result<R, RouteError<T>> {
        match &mut self.alternate {
            Some(alternate) => {
                self.counts.add(Count::ToAlternate, 1);
                alternate.send_far(to, job, wait, several)
            }
            None => Err(refuse(job, self.exchange.unroutable(), &self.counts)),
        }
    }
}

/// What its publisher has of a job that was taken.
#[doc(hidden)]
pub trait Taken<T: Payload>: Sized {
    /// Where the end of a job that goes to one queue is noted, if somebody waits for it.
    #[inline(always)]
    fn watch() -> Option<Watch> {
        None
    }
    /// Of a job that one queue took.
    fn of_one(producer: &Producer<T>, watch: Option<Watch>, job: JobId) -> Self;
    /// How many queues have a copy: 1 or more.
    fn copies(&self) -> usize;
    /// How many refused one.
    fn missed(&self) -> usize {
        0
    }
}

impl<T: Payload> Taken<T> for Routed {
    #[inline(always)]
    fn of_one(_: &Producer<T>, _: Option<Watch>, job: JobId) -> Self {
        Routed { copies: 1, job: Some(job) }
    }

    fn copies(&self) -> usize {
        self.copies
    }
}

impl<T: Payload> Taken<T> for Partial {
    fn of_one(_: &Producer<T>, _: Option<Watch>, _: JobId) -> Self {
        Partial { copies: 1, missed: Vec::new() }
    }

    fn copies(&self) -> usize {
        self.copies
    }

    fn missed(&self) -> usize {
        self.missed.len()
    }
}

/// To one queue: straight into a slot, if there is one at hand and nobody waits for the job's end.
#[inline(always)]
fn deliver<'k, T: Payload, R: Taken<T>>(
    producer: &Producer<T>,
    hop: Hop,
    to: impl Destination<'k>,
    job: Job<T>,
    wait: Wait,
    counts: &Block,
) -> Result<R, RouteError<T>> {
    let (queue, lane, asked, watch) = (&producer.handle.queue, usize::from(hop.lane), job.lane, R::watch());
    if watch.is_none()
        && validate_payload(&job.payload).is_ok()
        && let Some(slot) = queue.slot_at_hand(&producer.publisher, lane)
    {
        let now = producer.handle.clock.stamp();
        let result = queue.publish_into(&producer.publisher, slot, job.lane(lane), now);
        return match result {
            Ok(id) => {
                counts.add(Count::Routed, 1);
                Ok(R::of_one(producer, None, id))
            }
            Err(error) => {
                producer.publisher.count_refusal(error.refusal(), now);
                Err(refused_by(producer, error, asked, counts))
            }
        };
    }
    let when = watch.as_ref().map_or(When::Now, When::Watched);
    deliver_or_refuse(producer, asked, to, job.lane(lane), when, wait, counts).map(|id| R::of_one(producer, watch, id))
}

/// To one queue: as its own producer does, which may wait, make room, or say why not.
#[cold]
fn deliver_or_refuse<'k, T: Payload>(
    producer: &Producer<T>,
    asked: usize,
    to: impl Destination<'k>,
    job: Job<T>,
    when: When<'_>,
    wait: Wait,
    counts: &Block,
) -> Result<JobId, RouteError<T>> {
    note_key(producer, to);
    let result = match wait {
        Wait::AsTheQueueSays => producer.publish_as(job, when),
        Wait::Never => producer.try_publish_as(job, when),
        Wait::AtMost(timeout) => producer.publish_within(job, when, timeout),
    };
    counted(result, producer, asked, counts)
}

/// Counts what came of a job for one queue. It comes back with the lane that it `asked` for: that of its binding was its copy's.
#[inline]
pub(super) fn counted<T: Payload>(
    result: Result<JobId, PublishError<T>>,
    producer: &Producer<T>,
    asked: usize,
    counts: &Block,
) -> Result<JobId, RouteError<T>> {
    match result {
        Ok(id) => {
            counts.add(Count::Routed, 1);
            Ok(id)
        }
        Err(error) => Err(refused_by(producer, error, asked, counts)),
    }
}

#[cold]
fn refused_by<T: Payload>(producer: &Producer<T>, error: PublishError<T>, asked: usize, counts: &Block) -> RouteError<T> {
    let refusal = refusal_of(&producer.handle, error.refusal().clone());
    refuse(error.into_job().lane(asked), refusal, counts)
}

/// Counts what came of a job for several queues.
#[inline]
pub(super) fn all_counted<T: Payload, R: Taken<T>>(result: Result<R, (Job<T>, RouteRefusal)>, counts: &Block) -> Result<R, RouteError<T>> {
    match result {
        Ok(taken) => {
            counts.add(Count::Routed, 1);
            counts.add(Count::ExtraCopies, taken.copies() as u64 - 1);
            if taken.missed() > 0 {
                counts.add(Count::Missed, taken.missed() as u64);
            }
            Ok(taken)
        }
        Err((job, refusal)) => Err(refuse(job, refusal, counts)),
    }
}

/// Counts a job that comes back.
#[cold]
pub(super) fn refuse<T>(job: Job<T>, refusal: RouteRefusal, counts: &Block) -> RouteError<T> {
    let count = match refusal {
        RouteRefusal::BadKey(_) => Count::BadKeys,
        RouteRefusal::Unroutable { .. } => Count::Unroutable,
        RouteRefusal::Queue { .. } | RouteRefusal::Several { .. } | RouteRefusal::PredicatePanicked { .. } => Count::Refused,
    };
    counts.add(count, 1);
    RouteError::new(job, refusal)
}

impl<T: Payload> Drop for ExchangePublisher<T> {
    fn drop(&mut self) {
        self.exchange.inner.ledger.retire(&self.counts);
    }
}

impl<T: Payload> fmt::Debug for ExchangePublisher<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ExchangePublisher").field(&self.exchange).finish()
    }
}
