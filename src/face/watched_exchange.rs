//! Publishing through an exchange, with handles to the ends of the copies.

use super::completion::Completion;
use super::destination::Destination;
use super::exchange_publisher::{ExchangePublisher, Taken};
use super::fan_out::{Fan, Missed, Notes, Wait};
use super::producer::Producer;
use super::routed::{RouteError, RouteRefusal};
use super::ways::Way;
use crate::error::Refusal;
use crate::id::JobId;
use crate::job::{Job, Payload};
use crate::queue::Watch;
use crate::request::Request;
use std::sync::Arc;
use std::time::Duration;

/// A publisher whose publishes return a [`Completion`] for each copy; made by [`ExchangePublisher::watched`].
///
/// # Guarantees
/// - There are as many handles as copies, in the order of the queues' names. A publish that is refused has no copy and no handle: the job comes back.
/// - A handle is told of the end of its own copy, by its own queue. To wait for the job as a whole is to wait for each; to cancel it, to cancel each.
#[derive(Debug)]
pub struct WatchedExchange<'a, T: Payload> {
    pub(super) publisher: &'a mut ExchangePublisher<T>,
}

/// A watched job was taken by queues that it was routed to.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "a handle that is dropped tells nobody of its job's end"]
pub struct WatchedCopies<T: Request> {
    /// The queues that have a copy, 1 or more, in the order of their names, and the handle to its end.
    pub completions: Vec<(Arc<str>, Completion<T::Answer>)>,
    /// The queues that refused one, and why. None, unless it was published by [`publish_best_effort`](WatchedExchange::publish_best_effort).
    pub missed: Vec<(Arc<str>, Refusal)>,
}

impl<T: Request> ExchangePublisher<T> {
    /// This publisher, for publishes that return a handle to the end of each copy.
    ///
    /// A copy costs what a [watched](Producer::watched) job costs, and the list of handles an allocation more. Copies that are published without pay nothing for it.
    ///
    /// ```
    /// use ringmill::{Binding, End, ExchangeConfig, QueueConfig, Runtime};
    ///
    /// let mut builder = Runtime::builder();
    /// let audit = builder.pull_queue::<&str>(QueueConfig::new("audit"))?;
    /// let mail = builder.pull_queue::<&str>(QueueConfig::new("mail"))?;
    /// let news = builder.exchange(ExchangeConfig::topic("news"))?;
    /// news.rebind([Binding::new("#", &audit), Binding::new("mail.#", &mail)])?;
    /// let runtime = builder.build()?;
    ///
    /// let mut publisher = news.publisher();
    /// let mut copies = publisher.watched().publish("mail.new", "hello")?.completions;
    /// assert_eq!(copies.iter().map(|(queue, _)| &**queue).collect::<Vec<_>>(), ["audit", "mail"]);
    /// audit.consumer()?.recv()?.ack()?;
    /// mail.consumer()?.recv()?.reject("no such address")?;
    /// assert_eq!(copies[0].1.wait()?.end, End::Acked);
    /// assert_eq!(copies[1].1.wait()?.error.as_deref(), Some("no such address"));
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "publish_with_handle")]
    pub fn watched(&mut self) -> WatchedExchange<'_, T> {
        WatchedExchange { publisher: self }
    }
}

impl<T: Request> WatchedExchange<'_, T> {
    /// As [`ExchangePublisher::publish_one`].
    ///
    /// ```
    /// use ringmill::{Binding, Completion, End, ExchangeConfig, QueueConfig, Runtime};
    ///
    /// let mut builder = Runtime::builder();
    /// let ones = builder.queue(QueueConfig::new("ones"), |_: &u32, _: &_| ())?;
    /// let tasks = builder.exchange(ExchangeConfig::direct("tasks"))?;
    /// tasks.bind(Binding::new("one", &ones))?;
    /// let runtime = builder.build()?;
    /// let (mut publisher, route) = (tasks.publisher(), tasks.route("one")?);
    /// let mut by_key: Completion<()> = publisher.watched().publish_one("one", 1)?;
    /// let mut by_route = publisher.watched().try_publish_one(&route, 2)?;
    /// assert_eq!((by_key.wait()?.end, by_route.wait()?.end), (End::Acked, End::Acked));
    /// assert!(publisher.watched().publish_one("two", 3).unwrap_err().is_unroutable());
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As there.
    pub fn publish_one<'k>(&mut self, to: impl Destination<'k>, job: impl Into<Job<T>>) -> Result<Completion<T::Answer>, RouteError<T>> {
        self.publisher.send(to, job.into(), Wait::AsTheQueueSays, Fan::publish_none)
    }

    /// As [`ExchangePublisher::try_publish_one`].
    ///
    /// # Errors
    /// As there.
    pub fn try_publish_one<'k>(
        &mut self,
        to: impl Destination<'k>,
        job: impl Into<Job<T>>,
    ) -> Result<Completion<T::Answer>, RouteError<T>> {
        self.publisher.send(to, job.into(), Wait::Never, Fan::publish_none)
    }
}

impl<T: Request + Clone> WatchedExchange<'_, T> {
    /// As [`ExchangePublisher::publish`].
    ///
    /// # Errors
    /// As there.
    pub fn publish<'k>(&mut self, to: impl Destination<'k>, job: impl Into<Job<T>>) -> Result<WatchedCopies<T>, RouteError<T>> {
        self.publisher.send(to, job.into(), Wait::AsTheQueueSays, Fan::publish_all_watched)
    }

    /// As [`ExchangePublisher::try_publish`].
    ///
    /// # Errors
    /// As there.
    pub fn try_publish<'k>(&mut self, to: impl Destination<'k>, job: impl Into<Job<T>>) -> Result<WatchedCopies<T>, RouteError<T>> {
        self.publisher.send(to, job.into(), Wait::Never, Fan::publish_all_watched)
    }

    /// As [`ExchangePublisher::publish_timeout`].
    ///
    /// # Errors
    /// As there.
    pub fn publish_timeout<'k>(
        &mut self,
        to: impl Destination<'k>,
        job: impl Into<Job<T>>,
        timeout: Duration,
    ) -> Result<WatchedCopies<T>, RouteError<T>> {
        self.publisher.send(to, job.into(), Wait::AtMost(timeout), Fan::publish_all_watched)
    }

    /// As [`ExchangePublisher::publish_best_effort`].
    ///
    /// ```
    /// use ringmill::{Binding, ExchangeConfig, QueueConfig, Runtime};
    /// use std::time::Duration;
    ///
    /// let mut builder = Runtime::builder();
    /// let audit = builder.pull_queue::<u32>(QueueConfig::new("audit"))?;
    /// let small = builder.pull_queue::<u32>(QueueConfig::new("small").capacity(1))?;
    /// let news = builder.exchange(ExchangeConfig::fanout("news"))?;
    /// news.rebind([Binding::all(&audit), Binding::all(&small)])?;
    /// let runtime = builder.build()?;
    /// let mut publisher = news.publisher();
    /// let _two = publisher.watched().publish_timeout("weather", 1, Duration::from_secs(1))?;
    /// assert!(publisher.watched().try_publish("weather", 2).unwrap_err().is_full());
    /// let one = publisher.watched().publish_best_effort("weather", 3)?;
    /// assert_eq!((one.completions.len(), &*one.completions[0].0), (1, "audit"));
    /// assert_eq!(&*one.missed[0].0, "small");
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As there.
    pub fn publish_best_effort<'k>(&mut self, to: impl Destination<'k>, job: impl Into<Job<T>>) -> Result<WatchedCopies<T>, RouteError<T>> {
        self.publisher.send(to, job.into(), Wait::Never, Fan::publish_some_watched)
    }
}

// ---- the copies ----

impl<T: Request> Taken<T> for Completion<T::Answer> {
    fn watch() -> Option<Watch> {
        Some(Watch::new(None))
    }

    fn of_one(producer: &Producer<T>, watch: Option<Watch>, job: JobId) -> Self {
        Completion::new(producer, &watch.expect("each copy has one"), job)
    }

    fn copies(&self) -> usize {
        1
    }
}

impl<T: Request> Taken<T> for WatchedCopies<T> {
    fn watch() -> Option<Watch> {
        Some(Watch::new(None))
    }

    fn of_one(producer: &Producer<T>, watch: Option<Watch>, job: JobId) -> Self {
        WatchedCopies { completions: vec![(name_of(producer), Completion::of_one(producer, watch, job))], missed: Vec::new() }
    }

    fn copies(&self) -> usize {
        self.completions.len()
    }

    fn missed(&self) -> usize {
        self.missed.len()
    }
}

impl<T: Request + Clone> Fan<T> {
    /// As [`publish_all`](Self::publish_all), with a handle to each copy's end.
    pub(super) fn publish_all_watched(
        &mut self,
        way: Way<'_, T>,
        job: Job<T>,
        wait: Wait,
    ) -> Result<WatchedCopies<T>, (Job<T>, RouteRefusal)> {
        let mut handles = Handles(Vec::with_capacity(way.hops.len()));
        self.copy_to_all(way, job, wait, &mut handles)?;
        Ok(handles.with(Vec::new()))
    }

    /// As [`publish_some`](Self::publish_some), with a handle to each copy's end.
    fn publish_some_watched(&mut self, way: Way<'_, T>, job: Job<T>, wait: Wait) -> Result<WatchedCopies<T>, (Job<T>, RouteRefusal)> {
        let mut handles = Handles(Vec::with_capacity(way.hops.len()));
        let (_, missed) = self.copy_to_some(way, job, wait, &mut handles)?;
        Ok(handles.with(missed))
    }
}

/// Handles of the copies, in the order in which they went in.
struct Handles<T: Request>(Vec<(Arc<str>, Completion<T::Answer>)>);

impl<T: Request> Notes<T> for Handles<T> {
    fn watch(&mut self) -> Option<Watch> {
        Some(Watch::new(None))
    }

    fn note(&mut self, producer: &Producer<T>, watch: Option<Watch>, job: JobId) {
        self.0.push((name_of(producer), Completion::of_one(producer, watch, job)));
    }
}

impl<T: Request> Handles<T> {
    fn with(mut self, missed: Vec<Missed>) -> WatchedCopies<T> {
        self.0.sort_by(|one, other| one.0.cmp(&other.0));
        WatchedCopies { completions: self.0, missed }
    }
}

fn name_of<T: Payload>(producer: &Producer<T>) -> Arc<str> {
    Arc::clone(&producer.handle.queue.settings.name)
}
