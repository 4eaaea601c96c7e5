//! Publishing with a handle to the job's end.

use super::completion::Completion;
use super::futures::PublishWatched;
use super::producer::{Permits, Producer};
use crate::clock::Timestamp;
use crate::error::PublishError;
use crate::id::JobId;
use crate::job::{Job, Payload};
use crate::queue::{Keeps, Watch, When};
use crate::request::Request;
use std::time::Duration;

/// A producer whose publishes return a [`Completion`]; made by [`Producer::watched`].
#[derive(Debug, Clone, Copy)]
pub struct Watched<'a, T: Payload> {
    producer: &'a Producer<T>,
}

impl<T: Request> Producer<T> {
    /// This producer, for publishes that return a handle to the job's end.
    ///
    /// Such a job costs an allocation, and locks when it is published and when it ends. Jobs that are published without pay nothing for it. Reserved slots have
    /// [`Permits::publish_watched`], exchanges [`ExchangePublisher::watched`](crate::ExchangePublisher::watched). A follow-up takes the place of a job and has no handle;
    /// nor has a periodic job: see [`every`](Producer::every).
    ///
    /// ```
    /// use ringmill::{End, QueueConfig, Runtime};
    ///
    /// let mut builder = Runtime::builder();
    /// let words = builder.pull_queue::<&str>(QueueConfig::new("words"))?;
    /// let runtime = builder.build()?;
    /// let (producer, consumer) = (words.producer()?, words.consumer()?);
    /// let mut first = producer.watched().publish("hello")?;
    /// let mut second = producer.watched().publish("world")?;
    /// assert!(first.cancel());
    /// let delivery = consumer.recv()?;
    /// assert_eq!(*delivery, "world");
    /// assert_eq!(first.wait()?.end, End::Cancelled);
    /// assert!(second.try_take().is_none(), "it has not ended");
    /// delivery.ack()?;
    /// assert_eq!(second.wait()?.end, End::Acked);
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "publish_with_handle")]
    pub fn watched(&self) -> Watched<'_, T> {
        Watched { producer: self }
    }
}

impl<T: Request> Producer<T> {
    /// As [`publish_async`](Self::publish_async), with a handle to the job's end.
    ///
    /// ```
    /// use ringmill::{End, QueueConfig, Runtime};
    ///
    /// let mut builder = Runtime::builder();
    /// let words = builder.queue(QueueConfig::new("words").capacity(1), |_: &&str, _: &_| ())?;
    /// let runtime = builder.build()?;
    /// let mut producer = words.producer()?;
    /// # let tokio = tokio::runtime::Builder::new_current_thread().build()?;
    /// # tokio.block_on(async {
    /// let first = producer.publish_watched_async("hello").await?;
    /// let second = producer.publish_watched_async("world").await?; // when there is room
    /// assert_eq!((first.await?.end, second.await?.end), (End::Acked, End::Acked));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As there.
    pub fn publish_watched_async(&mut self, job: impl Into<Job<T>>) -> PublishWatched<'_, T> {
        PublishWatched::new(self.publish_async(job))
    }
}

impl<T: Request> Watched<'_, T> {
    /// As [`Producer::publish`].
    ///
    /// # Errors
    /// As there: the job comes back.
    pub fn publish(&self, job: impl Into<Job<T>>) -> Result<Completion<T::Answer>, PublishError<T>> {
        self.watch(None, |when| self.producer.publish_as(job.into(), when))
    }

    /// As [`Producer::try_publish`].
    ///
    /// # Errors
    /// As there.
    pub fn try_publish(&self, job: impl Into<Job<T>>) -> Result<Completion<T::Answer>, PublishError<T>> {
        self.watch(None, |when| self.producer.try_publish_as(job.into(), when))
    }

    /// As [`Producer::publish_timeout`].
    ///
    /// # Errors
    /// As there.
    pub fn publish_timeout(&self, job: impl Into<Job<T>>, timeout: Duration) -> Result<Completion<T::Answer>, PublishError<T>> {
        self.watch(None, |when| self.producer.publish_within(job.into(), when, timeout))
    }

    /// As [`Producer::publish_after`].
    ///
    /// # Errors
    /// As there.
    pub fn publish_after(&self, job: impl Into<Job<T>>, delay: Duration) -> Result<Completion<T::Answer>, PublishError<T>> {
        self.publish_at(job, self.producer.handle.clock.now() + delay)
    }

    /// As [`Producer::publish_at`].
    ///
    /// # Errors
    /// As there.
    pub fn publish_at(&self, job: impl Into<Job<T>>, due: Timestamp) -> Result<Completion<T::Answer>, PublishError<T>> {
        let Producer { handle, publisher } = self.producer;
        let now = handle.clock.now();
        self.watch((due > now).then_some(due), |when| handle.queue.try_publish(publisher, job.into(), when, now))
    }

    /// As [`Producer::publish_batch`], with a handle to each job's end, in the order of the iterator.
    ///
    /// ```
    /// use ringmill::{End, QueueConfig, Runtime};
    ///
    /// let mut builder = Runtime::builder();
    /// let words = builder.pull_queue::<&str>(QueueConfig::new("words").capacity(2))?;
    /// let runtime = builder.build()?;
    /// let (producer, consumer) = (words.producer()?, words.consumer()?);
    /// let mut jobs = ["one", "two", "three", "four"].into_iter();
    /// let mut batch = producer.watched().publish_batch(&mut jobs);
    /// assert_eq!(batch.completions.len(), 2); // as many as there was room for
    /// assert_eq!(batch.refused.unwrap().into_inner(), "three");
    /// assert_eq!(jobs.next(), Some("four"));
    /// assert!(batch.completions[1].cancel());
    /// consumer.recv()?.ack()?;
    /// assert_eq!(batch.completions[0].wait()?.end, End::Acked);
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// When the iterator does. The jobs that were taken in by then go on, without handles.
    pub fn publish_batch<J: Into<Job<T>>>(&self, jobs: &mut impl Iterator<Item = J>) -> WatchedBatch<T> {
        let handles = Handles { producer: self.producer, watch: None, completions: Vec::new() };
        let (handles, refused) = self.producer.publish_each(jobs, handles);
        WatchedBatch { completions: handles.completions, refused }
    }

    fn watch(
        &self,
        due: Option<Timestamp>,
        publish: impl FnOnce(When<'_>) -> Result<JobId, PublishError<T>>,
    ) -> Result<Completion<T::Answer>, PublishError<T>> {
        let watch = Watch::new(due);
        let job = publish(When::Watched(&watch))?;
        Ok(Completion::new(self.producer, &watch, job))
    }
}

/// The handles to the jobs of a batch.
struct Handles<'a, T: Request> {
    producer: &'a Producer<T>,
    /// Of the next job.
    watch: Option<Watch>,
    completions: Vec<Completion<T::Answer>>,
}

impl<T: Request> Keeps for Handles<'_, T> {
    fn next(&mut self) -> When<'_> {
        When::Watched(self.watch.insert(Watch::new(None)))
    }

    fn note(&mut self, job: JobId) {
        let watch = self.watch.take().expect("a job is taken in after it was asked how");
        self.completions.push(Completion::new(self.producer, &watch, job));
    }

    fn count(&mut self, _: usize) {}
}

/// How far a watched batch got; made by [`Watched::publish_batch`].
#[derive(Debug)]
#[must_use = "a handle that is dropped tells nobody of its job's end"]
pub struct WatchedBatch<T: Request> {
    /// A handle to the end of each job that was accepted, in the order in which they were pulled.
    pub completions: Vec<Completion<T::Answer>>,
    /// The job that was refused and ended the batch, if one was. The jobs behind it are still in the iterator.
    pub refused: Option<PublishError<T>>,
}

impl<T: Request> Permits<'_, T> {
    /// As [`publish`](Self::publish), with a handle to the job's end.
    ///
    /// ```
    /// use ringmill::{End, QueueConfig, Runtime};
    ///
    /// let mut builder = Runtime::builder();
    /// let words = builder.pull_queue::<&str>(QueueConfig::new("words"))?;
    /// let runtime = builder.build()?;
    /// let (producer, consumer) = (words.producer()?, words.consumer()?);
    /// let mut permits = producer.reserve(0, 1).unwrap();
    /// let mut end = permits.publish_watched("hello")?;
    /// assert!(permits.publish_watched("world").is_err()); // none is left
    /// consumer.recv()?.ack()?;
    /// assert_eq!(end.wait()?.end, End::Acked);
    /// # drop((permits, runtime));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As there: the job comes back.
    pub fn publish_watched(&mut self, job: impl Into<Job<T>>) -> Result<Completion<T::Answer>, PublishError<T>> {
        self.producer.watched().watch(None, |when| self.publish_as(job.into(), when))
    }
}
