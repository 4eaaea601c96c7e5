//! Publishing.

use super::futures::PublishAsync;
use super::handle::QueueHandle;
use crate::clock::Timestamp;
use crate::completion::{End, Kept};
use crate::config::Overflow;
use crate::error::{HandleError, PublishError, Refusal};
use crate::id::JobId;
use crate::job::{Job, Payload};
use crate::ledger::Count;
use crate::queue::{Keeps, Publisher, When};
use crate::runtime::handler::{Context, call};
use crate::runtime::inside;
use crate::verdict::Verdict;
use std::fmt;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// Publishes jobs to one queue. One per thread: it keeps a few slots at hand, and anybody who starves takes them back.
///
/// # Guarantees
/// A publish that is refused hands the job back, whole. One that is accepted is acked, dead-lettered, dropped for a counted reason, or handed back at shutdown.
///
/// # Progress
/// [`try_publish`](Self::try_publish) is lock-free: a thread stopped anywhere holds up nobody. Only a publish that waits for a slot waits.
#[doc(alias = "sender")]
pub struct Producer<T: Payload> {
    pub(super) handle: QueueHandle<T>,
    pub(super) publisher: Publisher,
}

impl<T: Payload> Producer<T> {
    pub(super) fn open(handle: QueueHandle<T>) -> Result<Self, HandleError> {
        let publisher = handle.queue.open_guarded_publisher().ok_or(HandleError::TooManyHandles)?;
        Ok(Producer { handle, publisher })
    }

    /// Another producer of the same queue, for another thread.
    ///
    /// ```
    /// use ringmill::{QueueConfig, Runtime};
    ///
    /// let mut builder = Runtime::builder();
    /// let words = builder.pull_queue::<&str>(QueueConfig::new("words"))?;
    /// let runtime = builder.build()?;
    /// let producer = words.producer()?;
    /// let other = producer.try_clone()?;
    /// std::thread::spawn(move || other.publish("from there").is_ok()).join().unwrap();
    /// producer.publish("from here")?;
    /// assert_eq!(words.depth(), 2);
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the queue has as many handles as it can have.
    pub fn try_clone(&self) -> Result<Self, HandleError> {
        Self::open(self.handle.clone())
    }

    /// The queue.
    pub fn queue(&self) -> &QueueHandle<T> {
        &self.handle
    }

    /// Publishes; what happens on a full queue is the queue's [`Overflow`] policy.
    ///
    /// # Errors
    /// The job comes back: full, timed out, this producer's [breaker](crate::QueueConfig::publish_breaker) is open, closed, invalid, no such lane, or in a handler that would have to
    /// wait for its own runtime.
    ///
    /// # Blocking
    /// Only under [`Overflow::Block`], for at most its duration; under [`Overflow::CallerRuns`] a full queue runs the handler in this thread.
    #[doc(alias = "send")]
    #[doc(alias = "enqueue")]
    #[inline]
    pub fn publish(&self, job: impl Into<Job<T>>) -> Result<JobId, PublishError<T>> {
        // not by `publish_as`: there the job would be moved before the policy is known, which is 20 instructions
        match self.handle.queue.settings.overflow {
            Overflow::Block(patience) => self.publish_timeout(job, patience),
            Overflow::CallerRuns => self.publish_or_run(job.into(), When::Now),
            _ => self.try_publish(job),
        }
    }

    /// As [`publish`](Self::publish), watched or not.
    pub(super) fn publish_as(&self, job: Job<T>, when: When<'_>) -> Result<JobId, PublishError<T>> {
        match self.handle.queue.settings.overflow {
            Overflow::Block(patience) => self.publish_within(job, when, patience),
            Overflow::CallerRuns => self.publish_or_run(job, when),
            _ => self.try_publish_as(job, when),
        }
    }

    fn publish_or_run(&self, job: Job<T>, when: When<'_>) -> Result<JobId, PublishError<T>> {
        let queue = &self.handle.queue;
        let result = match queue.attempt(&self.publisher, job, when, self.handle.clock.stamp()) {
            Err(error) if error.is_full() && queue.callers_may_run(error.job()) => self.run_here(error.into_job(), when),
            result => result,
        };
        result.or_else(|error| queue.refused(&self.publisher, error, when, self.handle.clock.stamp()))
    }

    /// Publishes without waiting. Policies that wait or run the handler act as [`Overflow::Reject`].
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    #[doc(alias = "try_send")]
    #[inline]
    pub fn try_publish(&self, job: impl Into<Job<T>>) -> Result<JobId, PublishError<T>> {
        self.handle.queue.try_publish(&self.publisher, job.into(), When::Now, self.handle.clock.stamp())
    }

    /// As [`try_publish`](Self::try_publish), watched or not.
    pub(super) fn try_publish_as(&self, job: Job<T>, when: When<'_>) -> Result<JobId, PublishError<T>> {
        self.handle.queue.try_publish(&self.publisher, job, when, self.handle.clock.stamp())
    }

    /// Publishes, waiting for a slot for at most `timeout`, whatever the queue's overflow policy, first come, first served. `Duration::MAX` waits for ever.
    ///
    /// ```
    /// use ringmill::{QueueConfig, Runtime};
    /// use std::time::Duration;
    ///
    /// let mut builder = Runtime::builder();
    /// let words = builder.pull_queue::<&str>(QueueConfig::new("words").capacity(1))?;
    /// let runtime = builder.build()?;
    /// let producer = words.producer()?;
    /// producer.publish_timeout("hello", Duration::from_secs(1))?;
    /// let error = producer.publish_timeout("world", Duration::from_millis(5)).unwrap_err();
    /// assert!(error.is_full());
    /// assert_eq!(error.into_inner(), "world");
    /// drop(runtime);
    /// assert!(producer.publish_timeout("again", Duration::MAX).unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`publish`](Self::publish); [`Refusal::WouldDeadlock`] in a handler of the same runtime that would have to wait.
    pub fn publish_timeout(&self, job: impl Into<Job<T>>, timeout: Duration) -> Result<JobId, PublishError<T>> {
        self.publish_within(job.into(), When::Now, timeout)
    }

    #[inline]
    pub(super) fn publish_within(&self, job: Job<T>, when: When<'_>, timeout: Duration) -> Result<JobId, PublishError<T>> {
        let (queue, clock) = (&self.handle.queue, &self.handle.clock);
        queue.publish_within(&self.publisher, job, when, &**clock, timeout, || self.handle.runtime.is_inside())
    }

    /// Publishes from a task, in whatever executor it runs, which waits for a slot for as long as it takes: in one line with the threads that wait, first come,
    /// first served, whatever the queue's [`Overflow`] policy.
    ///
    /// A deadline is the executor's: a future that is dropped leaves the line. [`PublishAsync::into_job`] gives the job back.
    ///
    /// ```
    /// use ringmill::{QueueConfig, Runtime};
    ///
    /// let mut builder = Runtime::builder();
    /// let numbers = builder.pull_queue::<u32>(QueueConfig::new("numbers").capacity(1))?;
    /// let runtime = builder.build()?;
    /// let mut producer = numbers.producer()?;
    /// # let tokio = tokio::runtime::Builder::new_current_thread().build()?;
    /// # tokio.block_on(async {
    /// producer.publish_async(1).await?;
    /// let second = producer.publish_async(2); // would wait: the queue is full
    /// assert_eq!(second.into_job().unwrap().into_payload(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// In the future's output, the job comes back: the breaker is open, closed, invalid, no such lane, or [`Refusal::WouldDeadlock`] when a handler of the same runtime polls it
    /// while the queue is full.
    #[doc(alias = "send")]
    pub fn publish_async(&mut self, job: impl Into<Job<T>>) -> PublishAsync<'_, T> {
        PublishAsync::new(self, job.into())
    }

    pub(super) fn poll_publish(
        &self,
        job: &mut Option<Job<T>>,
        when: When<'_>,
        first: bool,
        waker: &Waker,
    ) -> Poll<Result<JobId, PublishError<T>>> {
        let (queue, clock) = (&self.handle.queue, &self.handle.clock);
        let published = queue.poll_publish(&self.publisher, job, when, first, waker, &**clock);
        if published.is_pending()
            && self.handle.runtime.is_inside()
            && let Some(job) = job.take()
        {
            let error = PublishError::new(job, Refusal::WouldDeadlock);
            self.publisher.count_refusal(error.refusal(), clock.stamp());
            return Poll::Ready(Err(error));
        }
        published
    }

    pub(super) fn leave_line(&self) {
        self.handle.queue.leave_line(&self.publisher);
    }

    /// Publishes a job that becomes ready after `delay`: not before, and at most a tick after. It occupies its slot from now on.
    ///
    /// # Errors
    /// As [`try_publish`](Self::try_publish).
    #[doc(alias = "scheduled")]
    #[doc(alias = "countdown")]
    pub fn publish_after(&self, job: impl Into<Job<T>>, delay: Duration) -> Result<JobId, PublishError<T>> {
        let due = self.handle.clock.now() + delay;
        self.publish_at(job, due)
    }

    /// Publishes a job that becomes ready at `due`, on the runtime's clock ([`Runtime::now`](crate::Runtime::now)).
    ///
    /// ```
    /// use ringmill::clock::ManualClock;
    /// use ringmill::{QueueConfig, Runtime};
    /// use std::sync::Arc;
    /// use std::time::Duration;
    ///
    /// let clock = Arc::new(ManualClock::new());
    /// let mut builder = Runtime::builder().manual(clock.clone());
    /// let words = builder.queue(QueueConfig::new("words"), |_: &&str, _: &_| ())?;
    /// let runtime = builder.build()?;
    /// let noon = runtime.now() + Duration::from_secs(3600);
    /// words.producer()?.publish_at("lunch", noon)?;
    /// runtime.advance(&clock, Duration::from_secs(3599));
    /// assert_eq!(words.counts().acked, 0);
    /// runtime.advance(&clock, Duration::from_secs(2));
    /// assert_eq!(words.counts().acked, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`try_publish`](Self::try_publish).
    pub fn publish_at(&self, job: impl Into<Job<T>>, due: Timestamp) -> Result<JobId, PublishError<T>> {
        let now = self.handle.clock.now();
        let when = if due <= now { When::Now } else { When::At(due) };
        self.handle.queue.try_publish(&self.publisher, job.into(), when, now)
    }

    /// Publishes from an iterator, up to 32 jobs for one shared operation, until it is exhausted or a job is refused. Jobs of one lane keep their order, and so do those
    /// with one partition key. Up to 32 jobs with partition keys share all but the step into their partition; a job that waits for others with its key ([`KeepLast`](crate::Dedupe::KeepLast), [`Debounce`](crate::Dedupe::Debounce)) goes in alone.
    /// A full queue does with each job what its [`Overflow`] policy says, as for [`publish`](Self::publish).
    ///
    /// Pass the iterator by `&mut`: what was not pulled is still in it. It runs while up to 31 jobs are in hand, as many as its `size_hint` promises at least, and these
    /// are delivered when it has brought the others or has ended: an iterator that waits for something should promise none (`.filter(|_| true)`), and must not wait for
    /// its own jobs. What it publishes itself may come before them.
    ///
    /// ```
    /// use ringmill::{QueueConfig, Runtime};
    ///
    /// let mut builder = Runtime::builder();
    /// let numbers = builder.pull_queue::<u64>(QueueConfig::new("numbers").capacity(100))?;
    /// let runtime = builder.build()?;
    /// let producer = numbers.producer()?;
    /// let mut jobs = 0..250;
    /// let batch = producer.publish_batch(&mut jobs);
    /// assert_eq!(batch.accepted, 100);
    /// assert_eq!(batch.refused.unwrap().into_inner(), 100);
    /// assert_eq!(jobs.next(), Some(101)); // never pulled
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_batch<J: Into<Job<T>>>(&self, jobs: &mut impl Iterator<Item = J>) -> Batch<T> {
        let (accepted, refused) = self.publish_each(jobs, 0);
        Batch { accepted, refused }
    }

    /// Publishes from an iterator, and has `kept` note each job that is taken in. With the job that was refused, if one was.
    #[inline]
    pub(super) fn publish_each<J: Into<Job<T>>, K: Keeps>(
        &self,
        jobs: &mut impl Iterator<Item = J>,
        kept: K,
    ) -> (K, Option<PublishError<T>>) {
        let Producer { handle: QueueHandle { queue, clock, .. }, publisher } = self;
        let mut jobs = jobs.map(Into::into);
        let patient = matches!(queue.settings.overflow, Overflow::Block(_));
        queue.publish_batch(publisher, &mut jobs, &**clock, patient, kept, |job, when| self.publish_as(job, when))
    }

    /// Asks the processor for the memory that a publish of `job` is going to look at for its [key](Job::key) and its [partition key](Job::partition_key), and does not
    /// wait for it. Nothing else happens, whatever the job.
    ///
    /// A key that is one among many lies in a place that no cache has, and a partition in the cache of the worker that was there last. A publisher that has its
    /// next jobs at hand asks for those of some jobs ahead: the memory is on its way while it publishes the jobs before. A handful is enough. ([`publish_batch`](Self::publish_batch)
    /// does so for partition keys by itself.)
    ///
    /// ```
    /// use ringmill::{Dedupe, Job, QueueConfig, Runtime};
    ///
    /// let mut builder = Runtime::builder();
    /// let orders = builder.pull_queue::<u64>(QueueConfig::new("orders").capacity(1_000).dedupe(Dedupe::WhileLive, 1_000))?;
    /// let runtime = builder.build()?;
    /// let producer = orders.producer()?;
    /// // (as they were read from a socket, say)
    /// let jobs = (0..100).map(|order: u64| Job::new(order).key(order.to_le_bytes())).collect::<Vec<_>>();
    /// let mut ahead = jobs.clone().into_iter().skip(8);
    /// for job in jobs {
    ///     if let Some(later) = ahead.next() {
    ///         producer.prefetch_keys(&later);
    ///     }
    ///     producer.try_publish(job)?;
    /// }
    /// assert_eq!(orders.depth(), 100);
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn prefetch_keys(&self, job: &Job<T>) {
        self.handle.queue.prefetch_keys(job);
    }

    /// Slots for `count` jobs of `lane`, all or none: publishing into them cannot fail for want of room.
    ///
    /// # Errors
    /// When there are not as many free, this producer's breaker is open, the queue is closed, or has no such lane.
    pub fn reserve(&self, lane: usize, count: usize) -> Result<Permits<'_, T>, Refusal> {
        let slots = self.handle.queue.reserve(&self.publisher, lane, count, self.handle.clock.stamp())?;
        Ok(Permits { producer: self, lane, slots })
    }

    /// Runs the handler here, once: the queue is full.
    fn run_here(&self, job: Job<T>, when: When<'_>) -> Result<JobId, PublishError<T>> {
        let Some(handler) = &self.handle.handler else {
            return Err(PublishError::new(job, self.handle.queue.full()));
        };
        if self.handle.runtime.is_inside() {
            return Err(PublishError::new(job, Refusal::WouldDeadlock));
        }
        let queue = &self.handle.queue;
        let name = match queue.name_in_caller(&self.publisher, &job, self.handle.clock.now()) {
            Ok(name) => name,
            Err(refusal) => return Err(PublishError::new(job, refusal)),
        };
        let context = Context::of_caller(Arc::clone(queue), Arc::clone(&self.handle.clock), job.lane, when.promise().is_some());
        let outcome = {
            let _inside = inside::enter(self.handle.runtime);
            call(&**handler, job.payload(), &context)
        };
        let (mut follow_up, mut answer) = context.take_more();
        if !matches!(outcome, Ok(Verdict::Ack)) && (follow_up.is_some() || answer.is_some()) {
            queue.discard(follow_up.take());
            queue.discard(answer.take());
        }
        let ran = |end, count, answer| {
            let job = queue.ran_in_caller(&self.publisher, name, count);
            queue.tell_slotless(when.promise(), job, Kept { end, answer, error: None }, 1, self.handle.clock.now());
            Ok(job)
        };
        let reason = match outcome {
            Ok(Verdict::Ack) => {
                if let Some(next) = follow_up {
                    queue.defer(next);
                }
                return ran(End::Acked, Count::Acked, answer);
            }
            Ok(Verdict::Discard) => return ran(End::Discarded, Count::Discarded, None),
            Ok(Verdict::Retry(error) | Verdict::RetryAfter(error, _) | Verdict::Reject(error)) => error.reason().to_owned(),
            Ok(Verdict::Snooze(_)) => "not now".to_owned(),
            Err(message) => format!("panicked: {message}"),
        };
        queue.failed_in_caller(name);
        Err(PublishError::new(job, Refusal::HandlerFailed { reason }))
    }
}

impl<T: Payload> Drop for Producer<T> {
    fn drop(&mut self) {
        self.handle.queue.close_publisher(&mut self.publisher);
    }
}

impl<T: Payload> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Producer").field(&self.handle).finish()
    }
}

/// How far a batch got.
#[derive(Debug)]
pub struct Batch<T> {
    /// How many jobs were accepted.
    pub accepted: usize,
    /// The job that was refused and ended the batch, if one was. The jobs behind it are still in the iterator.
    pub refused: Option<PublishError<T>>,
}

/// Reserved slots. Those that are not used are given back on drop.
pub struct Permits<'a, T: Payload> {
    pub(super) producer: &'a Producer<T>,
    lane: usize,
    slots: Vec<u32>,
}

impl<T: Payload> Permits<'_, T> {
    /// How many are left.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// True when all are used.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Publishes into a reserved slot, to the lane it was reserved for.
    ///
    /// # Errors
    /// Never for want of room while permits are left. What a publish would refuse otherwise still is (an invalid payload, a duplicate, too many keys, a closed queue), and costs
    /// its permit.
    pub fn publish(&mut self, job: impl Into<Job<T>>) -> Result<JobId, PublishError<T>> {
        self.publish_as(job.into(), When::Now)
    }

    #[inline]
    pub(super) fn publish_as(&mut self, job: Job<T>, when: When<'_>) -> Result<JobId, PublishError<T>> {
        let job = job.lane(self.lane);
        let handle = &self.producer.handle;
        match self.slots.pop() {
            Some(slot) => handle.queue.publish_reserved(&self.producer.publisher, slot, job, when, handle.clock.stamp()),
            None => Err(PublishError::new(job, Refusal::Full { retry_after: None })),
        }
    }
}

#[cfg(all(test, not(loom)))]
impl<T: Payload> Permits<'_, T> {
    /// Publishes as one does who looked whether the queue is closed just before it was.
    pub(crate) fn publish_past_the_door(&mut self, payload: T) {
        let handle = &self.producer.handle;
        let slot = self.slots.pop().expect("a permit is left");
        handle.queue.admit_for_tests(&self.producer.publisher, slot, Job::new(payload), handle.clock.now());
    }
}

impl<T: Payload> Drop for Permits<'_, T> {
    fn drop(&mut self) {
        self.producer.handle.queue.unreserve(&self.producer.publisher, &self.slots);
    }
}

impl<T: Payload> fmt::Debug for Permits<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permits").field("lane", &self.lane).field("left", &self.len()).finish()
    }
}
