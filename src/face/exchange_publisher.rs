//! Publishing through an exchange.

use super::destination::{Address, Destination};
use super::exchange::{Exchange, Guard, QueueTable};
use super::fan_out::{Fan, Wait};
use super::producer::Producer;
use super::route::Route;
use super::routed::{Partial, RouteError, RouteRefusal, Routed};
use crate::config::validate_payload;
use crate::error::{PublishError, Refusal};
use crate::exchange::{Block, Count, Finder, Row};
use crate::job::{Job, Payload};
use crate::routing::{Hop, KeyError, RoutingKey};
use crate::sync::contain;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Publishes jobs through an exchange. One per thread: it holds a producer of each queue it published to, and the bindings it saw last.
///
/// Jobs are published to a [`Destination`]: a routing key, or a [`Route`]. The lane of a copy is its binding's, whatever the job says; time to live and
/// visibility timeout go with every copy.
///
/// # Guarantees
/// - A job that no queue took comes back, whole.
/// - **All or nothing**: a job that is routed to several queues goes to all of them, or, when one refuses it, to none. Only
///   [`publish_best_effort`](Self::publish_best_effort) does otherwise. A queue that is full and drops its oldest makes room; under every other policy a full
///   queue refuses, or is waited for.
/// - Fan-outs that want each other's queues cannot stop each other: all take their slots in the order of the queues' names. One that waits keeps those it has.
/// - A job that goes to one queue is not cloned. `Arc<P>` payloads are shared by all copies.
///
/// # Progress
/// As a [`Producer`]'s. The first publish after the bindings changed takes a lock, which is held while an `Arc` is copied.
///
/// # Allocation
/// None per job, once every queue was published to, every [`Route`] used, and the widest fan-out made.
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
    exchange: Exchange<T>,
    /// The table it goes by, and its version.
    version: u64,
    table: Arc<QueueTable<T>>,
    /// Per target of the table: its producer, once something was published there.
    pub(super) producers: Vec<Option<Producer<T>>>,
    /// Per route: what it leads to by this table.
    rows: Vec<RouteRow>,
    finder: Finder,
    fan: Fan<T>,
    counts: Arc<Block>,
    alternate: Option<Box<ExchangePublisher<T>>>,
}

/// What the route of this id leads to. Ids begin at 1.
struct RouteRow {
    id: u64,
    row: Row,
}

/// Where a job goes by the current table.
enum Found {
    Nowhere,
    One(Hop),
    /// To the hops that are in `fan`.
    Several,
}

impl<T: Payload> ExchangePublisher<T> {
    pub(super) fn open(exchange: &Exchange<T>) -> Self {
        let inner = &exchange.inner;
        let (version, table) = inner.current.load();
        ExchangePublisher {
            exchange: exchange.clone(),
            version,
            producers: table.targets().iter().map(|_| None).collect(),
            table,
            rows: Vec::new(),
            finder: Finder::new(),
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
    /// # Errors
    /// The job comes back: no routing key, unroutable, routed to several queues, or refused as by [`Producer::publish`].
    ///
    /// # Blocking
    /// As [`Producer::publish`].
    #[inline]
    pub fn publish_one<'k>(&mut self, to: impl Destination<'k>, job: impl Into<Job<T>>) -> Result<Routed, RouteError<T>> {
        self.send(to.address(), job.into(), Wait::AsTheQueueSays, Self::refuse_several)
    }

    /// As [`publish_one`](Self::publish_one), without waiting.
    ///
    /// # Errors
    /// As [`publish_one`](Self::publish_one).
    #[inline]
    pub fn try_publish_one<'k>(&mut self, to: impl Destination<'k>, job: impl Into<Job<T>>) -> Result<Routed, RouteError<T>> {
        self.send(to.address(), job.into(), Wait::Never, Self::refuse_several)
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
    #[inline]
    pub fn publish<'k>(&mut self, to: impl Destination<'k>, job: impl Into<Job<T>>) -> Result<Routed, RouteError<T>> {
        self.send(to.address(), job.into(), Wait::AsTheQueueSays, Self::fan_out)
    }

    /// As [`publish`](Self::publish), without waiting.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    #[inline]
    pub fn try_publish<'k>(&mut self, to: impl Destination<'k>, job: impl Into<Job<T>>) -> Result<Routed, RouteError<T>> {
        self.send(to.address(), job.into(), Wait::Never, Self::fan_out)
    }

    /// As [`publish`](Self::publish), waiting for room for at most `timeout`, whatever the queues' policies. `Duration::MAX` waits for ever.
    ///
    /// # Errors
    /// As [`publish`](Self::publish); [`Refusal::WouldDeadlock`] in a handler of the same runtime that would have to wait.
    pub fn publish_timeout<'k>(
        &mut self,
        to: impl Destination<'k>,
        job: impl Into<Job<T>>,
        timeout: Duration,
    ) -> Result<Routed, RouteError<T>> {
        self.send(to.address(), job.into(), Wait::AtMost(timeout), Self::fan_out)
    }

    /// Publishes to those queues that take the job at once, and says which did not. Does not wait.
    ///
    /// # Errors
    /// The job comes back when no queue took it: the first refusal.
    ///
    /// # Allocation
    /// For the list of queues that refused, if there are any.
    pub fn publish_best_effort<'k>(&mut self, to: impl Destination<'k>, job: impl Into<Job<T>>) -> Result<Partial, RouteError<T>> {
        self.send(to.address(), job.into(), Wait::Never, Self::fan_out_partly)
    }
}

// ---- where a job goes ----

impl<T: Payload> ExchangePublisher<T> {
    /// Finds the way and takes it; `several` is the way to more than one queue.
    // always: this is little more than a look into an array, and to pass a job on costs more than that
    #[inline(always)]
    fn send<R: From<Routed>>(
        &mut self,
        to: Result<Address<'_>, KeyError>,
        job: Job<T>,
        wait: Wait,
        several: impl Fn(&mut Self, Job<T>, Wait) -> Result<R, RouteError<T>>,
    ) -> Result<R, RouteError<T>> {
        if let Ok(Address::Route(route)) = &to
            && self.exchange.inner.current.version() == self.version
            && let Some((place, id)) = route.place(&self.exchange.inner.routes)
            && let Some(RouteRow { id: of, row: Row::One(hop) }) = self.rows.get(place)
            && *of == id
            && let Some(producer) = &self.producers[hop.target as usize]
        {
            return self.deliver(producer, *hop, job, wait).map(R::from);
        }
        self.send_far(to, job, wait, several)
    }

    /// As [`send`](Self::send), whatever there is to do first.
    #[inline(never)]
    fn send_far<R: From<Routed>>(
        &mut self,
        to: Result<Address<'_>, KeyError>,
        job: Job<T>,
        wait: Wait,
        several: impl Fn(&mut Self, Job<T>, Wait) -> Result<R, RouteError<T>>,
    ) -> Result<R, RouteError<T>> {
        if self.exchange.inner.current.version() != self.version {
            self.adopt();
        }
        let found = match &to {
            Ok(Address::Route(route)) => self.look_up(route, job.payload()),
            Ok(Address::Key(key)) => self.search(*key, job.payload()),
            Err(_) => Ok(Found::Nowhere),
        };
        let hop = match found {
            Ok(Found::One(hop)) => hop,
            Ok(Found::Several) => return several(self, job, wait),
            Ok(Found::Nowhere) => return self.send_on(to, job, wait, several),
            Err(message) => return Err(self.panicked(job, message)),
        };
        let target = hop.target as usize;
        if self.producers[target].is_none()
            && let Err(refusal) = self.open_producer(target)
        {
            return Err(self.refused(target, job, refusal));
        }
        let producer = self.producers[target].as_ref().expect("it was opened");
        self.deliver(producer, hop, job, wait).map(R::from)
    }

    #[cold]
    fn panicked(&self, job: Job<T>, message: String) -> RouteError<T> {
        self.counts.add(Count::Refused, 1);
        RouteError::new(job, RouteRefusal::PredicatePanicked { message })
    }

    /// It is published under no key; or no binding wants it, but the alternate exchange may.
    #[cold]
    fn send_on<R: From<Routed>>(
        &mut self,
        to: Result<Address<'_>, KeyError>,
        job: Job<T>,
        wait: Wait,
        several: impl Fn(&mut Self, Job<T>, Wait) -> Result<R, RouteError<T>>,
    ) -> Result<R, RouteError<T>> {
        if let Err(error) = to {
            self.counts.add(Count::BadKeys, 1);
            return Err(RouteError::new(job, RouteRefusal::BadKey(error)));
        }
        match &mut self.alternate {
            Some(alternate) => {
                self.counts.add(Count::ToAlternate, 1);
                alternate.send(to, job, wait, several)
            }
            None => {
                self.counts.add(Count::Unroutable, 1);
                Err(RouteError::new(job, RouteRefusal::Unroutable { exchange: self.exchange.name().to_owned() }))
            }
        }
    }

    /// The bindings have changed.
    #[cold]
    fn adopt(&mut self) {
        let (version, table) = self.exchange.inner.current.load();
        let kept = |name| self.table.target(name).and_then(|at| self.producers[at].take());
        self.producers = table.targets().iter().map(|queue| queue.name()).map(kept).collect();
        self.rows.clear();
        (self.version, self.table) = (version, table);
    }

    fn search(&mut self, key: RoutingKey<'_>, payload: &T) -> Result<Found, String> {
        let mut panicked = None;
        self.table.find(key, &mut self.finder, |guard| admits(guard, key, payload, &mut panicked));
        self.found(panicked)
    }

    /// The way of a route, which is resolved if it has not been by this table.
    fn look_up(&mut self, route: &Route, payload: &T) -> Result<Found, String> {
        let Some((place, id)) = route.place(&self.exchange.inner.routes) else { return self.search(route.key(), payload) };
        if self.rows.len() <= place {
            self.rows.resize_with(place + 1, || RouteRow { id: 0, row: Row::Nowhere });
        }
        let slot = &mut self.rows[place];
        if slot.id != id {
            *slot = RouteRow { id, row: self.table.row(route.key(), &mut self.finder) };
        }
        match &slot.row {
            Row::Nowhere => Ok(Found::Nowhere),
            Row::One(hop) => Ok(Found::One(*hop)),
            Row::Several(hops) => {
                self.fan.set_hops(hops);
                Ok(Found::Several)
            }
            Row::Guarded(bindings) => {
                let mut panicked = None;
                self.table.choose(bindings, &mut self.finder, |guard| admits(guard, route.key(), payload, &mut panicked));
                self.found(panicked)
            }
        }
    }

    /// What `finder` has found.
    fn found(&mut self, panicked: Option<String>) -> Result<Found, String> {
        match (panicked, self.finder.hops()) {
            (Some(message), _) => Err(message),
            (None, []) => Ok(Found::Nowhere),
            (None, [hop]) => Ok(Found::One(*hop)),
            (None, hops) => {
                self.fan.set_hops(hops);
                Ok(Found::Several)
            }
        }
    }
}

fn admits<T>(guard: &Guard<T>, key: RoutingKey<'_>, payload: &T, panicked: &mut Option<String>) -> bool {
    if panicked.is_some() {
        return false;
    }
    contain(|| guard(&key, payload)).unwrap_or_else(|message| {
        *panicked = Some(message);
        false
    })
}

// ---- the way there ----

impl<T: Payload> ExchangePublisher<T> {
    /// To one queue: straight into a slot, if there is one at hand.
    #[inline(always)]
    fn deliver(&self, producer: &Producer<T>, hop: Hop, job: Job<T>, wait: Wait) -> Result<Routed, RouteError<T>> {
        let (queue, lane) = (&producer.handle.queue, usize::from(hop.lane));
        if validate_payload(&job.payload).is_ok()
            && let Some(slot) = queue.slot_at_hand(&producer.publisher, lane)
        {
            let id = queue.publish_into(&producer.publisher, slot, job.lane(lane), producer.handle.clock.stamp());
            self.counts.add(Count::Routed, 1);
            return Ok(Routed { copies: 1, job: Some(id) });
        }
        self.deliver_or_refuse(producer, hop, job, wait)
    }

    /// To one queue: as its own producer does, which may wait, make room, or say why not.
    #[cold]
    fn deliver_or_refuse(&self, producer: &Producer<T>, hop: Hop, job: Job<T>, wait: Wait) -> Result<Routed, RouteError<T>> {
        let job = job.lane(usize::from(hop.lane));
        let result = match wait {
            Wait::AsTheQueueSays => producer.publish(job),
            Wait::Never => producer.try_publish(job),
            Wait::AtMost(timeout) => producer.publish_timeout(job, timeout),
        };
        match result {
            Ok(id) => {
                self.counts.add(Count::Routed, 1);
                Ok(Routed { copies: 1, job: Some(id) })
            }
            Err(error) => Err(self.not_published(hop.target as usize, error)),
        }
    }

    #[cold]
    fn not_published(&self, target: usize, error: PublishError<T>) -> RouteError<T> {
        let refusal = error.refusal().clone();
        self.refused(target, error.into_job(), refusal)
    }

    #[cold]
    fn open_producer(&mut self, target: usize) -> Result<(), Refusal> {
        let producer = self.table.targets()[target].producer().map_err(|_| Refusal::TooManyHandles)?;
        self.producers[target] = Some(producer);
        Ok(())
    }

    /// Opens what a fan-out needs.
    fn open_producers(&mut self) -> Result<(), (usize, Refusal)> {
        for at in 0..self.fan.hops().len() {
            let target = self.fan.hops()[at].target as usize;
            if self.producers[target].is_none() {
                self.open_producer(target).map_err(|refusal| (target, refusal))?;
            }
        }
        Ok(())
    }

    #[cold]
    fn refused(&self, target: usize, job: Job<T>, refusal: Refusal) -> RouteError<T> {
        self.counts.add(Count::Refused, 1);
        RouteError::new(job, RouteRefusal::Queue { queue: self.queue_name(target), refusal })
    }

    fn queue_name(&self, target: usize) -> Arc<str> {
        Arc::clone(&self.table.targets()[target].queue.settings.name)
    }

    fn refuse_several(&mut self, job: Job<T>, _wait: Wait) -> Result<Routed, RouteError<T>> {
        self.counts.add(Count::Refused, 1);
        Err(RouteError::new(job, RouteRefusal::Several { queues: self.fan.hops().len() }))
    }
}

impl<T: Payload + Clone> ExchangePublisher<T> {
    #[inline]
    fn fan_out(&mut self, job: Job<T>, wait: Wait) -> Result<Routed, RouteError<T>> {
        if let Err((target, refusal)) = self.open_producers() {
            return Err(self.refused(target, job, refusal));
        }
        match self.fan.publish_all(&self.producers, job, wait) {
            Ok(copies) => {
                self.count_copies(copies);
                Ok(Routed { copies, job: None })
            }
            Err((target, job, refusal)) => Err(self.refused(target, job, refusal)),
        }
    }

    #[inline]
    fn fan_out_partly(&mut self, job: Job<T>, _wait: Wait) -> Result<Partial, RouteError<T>> {
        if let Err((target, refusal)) = self.open_producers() {
            return Err(self.refused(target, job, refusal));
        }
        let mut missed = Vec::new();
        match self.fan.publish_some(&self.producers, job, &mut missed) {
            Ok(copies) => {
                self.count_copies(copies);
                self.counts.add(Count::Missed, missed.len() as u64);
                let missed = missed.into_iter().map(|(target, refusal)| (self.queue_name(target), refusal)).collect();
                Ok(Partial { copies, missed })
            }
            Err((target, job, refusal)) => Err(self.refused(target, job, refusal)),
        }
    }

    fn count_copies(&self, copies: usize) {
        self.counts.add(Count::Routed, 1);
        self.counts.add(Count::ExtraCopies, copies as u64 - 1);
    }
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
