//! Waiting for the end of a job.

use super::producer::Producer;
use crate::clock::{Clock, Timestamp};
use crate::completion::{Completed, Look, Promise};
use crate::error::WaitError;
use crate::id::JobId;
use crate::job::Payload;
use crate::queue::{Queue, Watch};
use crate::runtime::inside::RuntimeId;
use crate::sync::{Parker, Unparker};
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

/// The end of one job, for whoever published it [watched](Producer::watched): waits for it, awaits it, or cancels the job.
///
/// It is a future, for any executor. It may outlive its producer, its queue and its runtime. Dropped, it loses nothing but the answer: the job goes on as if it
/// had been published without.
///
/// ```
/// use ringmill::{Context, End, JobError, Payload, QueueConfig, Request, Runtime, Verdict};
///
/// struct Divide(u32, u32);
///
/// impl Payload for Divide {}
///
/// impl Request for Divide {
///     type Answer = u32;
/// }
///
/// fn divide(job: &Divide, context: &Context<Divide>) -> Result<Verdict, JobError> {
///     let quotient = job.0.checked_div(job.1).ok_or_else(|| JobError::fatal("division by zero"))?;
///     Ok(context.complete(quotient))
/// }
///
/// let mut builder = Runtime::builder();
/// let quotients = builder.queue(QueueConfig::new("quotients"), divide)?;
/// let runtime = builder.build()?;
/// let producer = quotients.producer()?;
/// let mut good = producer.watched().publish(Divide(12, 4))?;
/// let mut bad = producer.watched().publish(Divide(1, 0))?;
/// assert_eq!(good.wait()?.answer, Some(3));
/// let outcome = bad.wait()?;
/// assert_eq!(outcome.end.to_string(), "dead-lettered: rejected");
/// assert_eq!(outcome.error.as_deref(), Some("division by zero"));
/// # drop(runtime);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Guarantees
/// - Every job's end is told once, when the ledger has counted it: acked, dead-lettered, discarded, cancelled, purged or handed back.
/// - Retries, snoozes and leases that run out are no end, nor is waiting for room among the dead letters.
/// - A death is an end. What becomes of a dead letter that is redriven is told to nobody: it is another life, with the same id.
/// - The answer is that of the delivery whose ack counted.
///
/// # Progress
/// One allocation for the job, and one for its answer. The end of such a job takes two locks, for a few instructions each; other jobs take none.
#[doc(alias = "AsyncResult")]
pub struct Completion<A> {
    promise: Arc<Promise>,
    job: JobId,
    queue: Weak<dyn Cancels>,
    clock: Arc<dyn Clock>,
    runtime: RuntimeId,
    answer: PhantomData<fn() -> A>,
}

/// A queue, its payload forgotten.
trait Cancels: Send + Sync {
    fn cancel_at(&self, slot: u32, job: JobId) -> bool;
}

impl<T: Payload> Cancels for Queue<T> {
    fn cancel_at(&self, slot: u32, job: JobId) -> bool {
        Queue::cancel_at(self, slot, job)
    }
}

impl<A: 'static> Completion<A> {
    pub(super) fn new<T: Payload>(producer: &Producer<T>, watch: &Watch, job: JobId) -> Self {
        let (handle, promise) = (&producer.handle, Arc::clone(&watch.promise));
        let queue: Weak<Queue<T>> = Arc::downgrade(&handle.queue);
        Completion { promise, job, queue, clock: Arc::clone(&handle.clock), runtime: handle.runtime, answer: PhantomData }
    }

    /// The job's id.
    pub fn job_id(&self) -> JobId {
        self.job
    }

    /// True once the job has ended, whether its end was taken or not.
    pub fn is_over(&self) -> bool {
        self.promise.has_ended()
    }

    /// The job's end, if it has ended and nobody has taken it yet.
    pub fn try_take(&mut self) -> Option<Completed<A>> {
        match self.promise.peek() {
            Look::Ended(kept) => Some(kept.into_completed(self.job)),
            Look::Open | Look::Over => None,
        }
    }

    /// Waits for the job's end, for as long as it takes.
    ///
    /// # Blocking
    /// Until the job has ended. A handler that is stuck for ever, a delivery that is kept or forgotten after the shutdown, a dead job that is held for want of
    /// room, or a delay of years keeps it waiting: [`wait_timeout`](Self::wait_timeout) has a deadline.
    ///
    /// # Errors
    /// [`WaitError::WouldDeadlock`] in a handler of the same runtime, whose worker may be the one to work on the job; [`WaitError::Taken`] when the end was taken
    /// before.
    #[doc(alias = "get")]
    #[doc(alias = "join")]
    pub fn wait(&mut self) -> Result<Completed<A>, WaitError> {
        self.wait_until(Timestamp::MAX)
    }

    /// Waits for the job's end for at most `timeout`; `Duration::MAX` waits for as long as it takes. In a handler of the same runtime too: its worker does nothing
    /// else meanwhile, and what it has claimed ahead goes to others.
    ///
    /// ```
    /// use ringmill::{End, QueueConfig, Runtime, WaitError};
    /// use std::time::Duration;
    ///
    /// let mut builder = Runtime::builder();
    /// let words = builder.pull_queue::<&str>(QueueConfig::new("words"))?;
    /// let runtime = builder.build()?;
    /// let (producer, consumer) = (words.producer()?, words.consumer()?);
    /// let mut end = producer.watched().publish_timeout("hello", Duration::from_secs(1))?;
    /// assert_eq!(end.wait_timeout(Duration::from_millis(5)).unwrap_err(), WaitError::TimedOut);
    /// let delivery = consumer.recv()?;
    /// assert_eq!((delivery.job_id(), end.is_over()), (end.job_id(), false));
    /// delivery.ack()?;
    /// assert_eq!(end.wait_timeout(Duration::from_secs(9))?.end, End::Acked);
    /// assert!(end.is_over());
    /// let later = producer.watched().publish_at("world", runtime.now() + Duration::from_secs(3600))?;
    /// assert!(later.cancel());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WaitError::TimedOut`]: the job goes on, and can be waited for again. Otherwise as [`wait`](Self::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Completed<A>, WaitError> {
        self.wait_until(self.clock.now() + timeout)
    }

    fn wait_until(&mut self, deadline: Timestamp) -> Result<Completed<A>, WaitError> {
        match self.promise.peek() {
            Look::Ended(kept) => return Ok(kept.into_completed(self.job)),
            Look::Over => return Err(WaitError::Taken),
            Look::Open => {}
        }
        if deadline == Timestamp::MAX && self.runtime.is_inside() {
            return Err(WaitError::WouldDeadlock);
        }
        let parker = Parker::new();
        loop {
            match self.promise.look(parker.unparker()) {
                Look::Ended(kept) => return Ok(kept.into_completed(self.job)),
                Look::Over => return Err(WaitError::Taken),
                Look::Open if deadline == Timestamp::MAX => parker.park(),
                Look::Open if self.clock.now() >= deadline => return Err(WaitError::TimedOut),
                Look::Open => {
                    parker.park_timeout(self.clock.sleep_hint(deadline));
                }
            }
        }
    }

    /// Cancels the job: a waiting or delayed one ends as soon as somebody comes to it, a running one is told through its [`Context`](crate::Context) and will not
    /// be delivered again. False when it has ended or is about to: it was cancelled already, or is dead and waits for room among the dead letters.
    ///
    /// It is a wish: a handler may be done before it hears of it. What became of the job is what this handle yields.
    ///
    /// # Progress
    /// Lock-free, but for a look whether it has ended (lock).
    #[doc(alias = "abort")]
    pub fn cancel(&self) -> bool {
        let Some(slot) = self.promise.slot() else { return false };
        // a job that was redriven has its id, and may have its slot
        !self.promise.has_ended() && self.queue.upgrade().is_some_and(|queue| queue.cancel_at(slot, self.job))
    }
}

impl<A: 'static> Future for Completion<A> {
    type Output = Result<Completed<A>, WaitError>;

    /// [`WaitError::WouldDeadlock`] when a handler of the same runtime polls it and the job has not ended.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let look = if this.runtime.is_inside() { this.promise.peek() } else { this.promise.look(Unparker::of_task(context.waker())) };
        match look {
            Look::Ended(kept) => Poll::Ready(Ok(kept.into_completed(this.job))),
            Look::Over => Poll::Ready(Err(WaitError::Taken)),
            Look::Open if this.runtime.is_inside() => Poll::Ready(Err(WaitError::WouldDeadlock)),
            Look::Open => Poll::Pending,
        }
    }
}

impl<A> Drop for Completion<A> {
    fn drop(&mut self) {
        // an answer that was not taken is dropped here, like anything else of the caller's
        drop(self.promise.forsake());
    }
}

impl<A> fmt::Debug for Completion<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completion").field("job", &self.job).field("over", &self.promise.has_ended()).finish_non_exhaustive()
    }
}
