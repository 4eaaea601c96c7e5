//! The user's code, and what it is told about the delivery in its hands.

use crate::clock::Clock;
use crate::completion::Answer;
use crate::error::ExtendError;
use crate::id::JobId;
use crate::job::Job;
use crate::queue::{CancelCause, ClaimBlock, Lease, Queue};
use crate::request::Request;
use crate::sync::contain;
use crate::verdict::{IntoVerdict, Verdict};
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Works on jobs. Implemented by closures `Fn(&T, &Context<T>) -> impl IntoVerdict`.
///
/// A handler may be called again for a job whose lease ran out while an earlier call is still at it, so it must be idempotent, and it shares the payload.
///
/// ```
/// use ringmill::{Context, Handler, Verdict};
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// struct Sum(AtomicU64);
///
/// impl Handler<u64> for Sum {
///     fn handle(&self, number: &u64, _context: &Context<u64>) -> Verdict {
///         self.0.fetch_add(*number, Ordering::Relaxed);
///         Verdict::Ack
///     }
/// }
/// # let _ = Sum(AtomicU64::new(0));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no handler for jobs of type `{T}`",
    note = "a handler of `{T}` is a function `Fn(&{T}, &Context<{T}>)` that returns a verdict (`()`, `Result<(), E>` where `E: Into<JobError>`, `Verdict`), or implements `Handler<{T}>`"
)]
#[doc(alias = "processor")]
pub trait Handler<T>: Send + Sync + 'static {
    /// Works on one job. A panic counts as a failed attempt.
    fn handle(&self, payload: &T, context: &Context<T>) -> Verdict;
}

impl<T, F, R> Handler<T> for F
where
    F: Fn(&T, &Context<T>) -> R + Send + Sync + 'static,
    R: IntoVerdict,
{
    #[inline]
    fn handle(&self, payload: &T, context: &Context<T>) -> Verdict {
        self(payload, context).into_verdict()
    }
}

/// One handler in several places, such as a mux behind two queues.
impl<T, H: Handler<T> + ?Sized> Handler<T> for Arc<H> {
    #[inline]
    fn handle(&self, payload: &T, context: &Context<T>) -> Verdict {
        (**self).handle(payload, context)
    }
}

/// What a handler knows of its delivery, and can do about it.
///
/// ```
/// use ringmill::clock::ManualClock;
/// use ringmill::{CancelCause, Context, QueueConfig, Runtime, Verdict};
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// let clock = Arc::new(ManualClock::new());
/// let hands = clock.clone();
/// let mut builder = Runtime::builder().manual(clock);
/// let handler = move |word: &&str, context: &Context<&str>| {
///     assert!(context.job_id().is_some());
///     assert_eq!((context.failures(), context.expiries(), context.cancelled()), (0, 0, None));
///     if *word == "world" {
///         return Verdict::Ack;
///     }
///     assert!(!context.is_late());
///     hands.advance(Duration::from_secs(9)); // of ten
///     assert!(context.is_late());
///     context.extend(Duration::from_secs(10)).unwrap();
///     assert!(!context.is_late());
///     context.complete_with("world") // in the same slot
/// };
/// let config = QueueConfig::new("words").visibility(Duration::from_secs(10)).max_lease(Duration::from_secs(60));
/// let words = builder.queue(config, handler)?;
/// let runtime = builder.build()?;
/// words.producer()?.publish("hello")?;
/// runtime.turn();
/// assert_eq!((words.counts().acked, words.counts().panics), (2, 0));
/// assert_ne!(CancelCause::LeaseLost, CancelCause::Shutdown);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Context<T> {
    queue: Arc<Queue<T>>,
    clock: Arc<dyn Clock>,
    worker: Option<usize>,
    /// The claims of the worker; `None` in the publisher's own thread.
    block: Option<Arc<ClaimBlock>>,
    /// `None` in the publisher's own thread: no slot, no lease.
    lease: Option<Lease>,
    follow_up: Cell<Option<Job<T>>>,
    answer: Cell<Option<Answer>>,
    /// There is more to an ack than that: a follow-up, an answer, or a record to be written.
    more: Cell<bool>,
    /// In the publisher's own thread: its lane, and whether somebody waits for its end.
    lane: usize,
    watched: bool,
}

impl<T> Context<T> {
    /// A worker's context. It lives as long as the worker; deliveries come and go.
    pub(crate) fn of_worker(queue: Arc<Queue<T>>, clock: Arc<dyn Clock>, worker: usize, block: Arc<ClaimBlock>) -> Self {
        let more = Cell::new(queue.keeps_records());
        Context {
            queue,
            clock,
            worker: Some(worker),
            block: Some(block),
            lease: None,
            follow_up: Cell::new(None),
            answer: Cell::new(None),
            more,
            lane: 0,
            watched: false,
        }
    }

    /// The context of a handler that runs in the publisher's own thread.
    pub(crate) fn of_caller(queue: Arc<Queue<T>>, clock: Arc<dyn Clock>, lane: usize, watched: bool) -> Self {
        let (follow_up, answer, more) = (Cell::new(None), Cell::new(None), Cell::new(false));
        Context { queue, clock, worker: None, block: None, lease: None, lane, follow_up, answer, more, watched }
    }

    /// Where the next delivery is to be put: it stays there until it is settled, and is not moved about meanwhile.
    #[inline]
    pub(crate) fn place(&mut self) -> &mut Option<Lease> {
        &mut self.lease
    }

    /// Calls the handler on the delivery. The panic of a handler is an `Err` with its message.
    #[inline]
    pub(crate) fn deliver<H: Handler<T> + ?Sized>(&self, handler: &H) -> Result<Verdict, String> {
        let lease = self.lease.as_ref().expect("a delivery has begun");
        call(handler, self.queue.payload(lease), self)
    }

    /// The delivery ends.
    #[inline]
    pub(crate) fn end(&mut self) -> Lease {
        self.lease.take().expect("a handler cannot take the lease away")
    }

    /// True when there is more to do than to ack.
    #[inline]
    pub(crate) fn has_more(&self) -> bool {
        self.more.get()
    }

    /// What the handler left: a job to be published behind its delivery, and an answer.
    pub(crate) fn take_more(&self) -> (Option<Job<T>>, Option<Answer>) {
        self.more.set(self.queue.keeps_records());
        (self.follow_up.take(), self.answer.take())
    }

    /// Drops what the handler left: one by one, since either may panic when it is dropped.
    pub(crate) fn drop_more(&self) {
        if self.more.get() {
            let (follow_up, answer) = self.take_more();
            self.queue.discard(follow_up);
            self.queue.discard(answer);
        }
    }

    /// The job's id; `None` in the publisher's own thread ([`Overflow::CallerRuns`](crate::Overflow::CallerRuns)), where the job has no slot.
    pub fn job_id(&self) -> Option<JobId> {
        self.lease.as_ref().map(Lease::job_id)
    }

    /// The lane it was published to.
    pub fn lane(&self) -> usize {
        self.lease.as_ref().map_or(self.lane, Lease::lane)
    }

    /// The number of this delivery, from 1: every hand-over counts.
    #[doc(alias = "delivery_count")]
    pub fn attempt(&self) -> u32 {
        self.lease.as_ref().map_or(1, Lease::attempt)
    }

    /// How many deliveries of the job failed before.
    pub fn failures(&self) -> u32 {
        self.lease.as_ref().map_or(0, Lease::failures)
    }

    /// How many leases of the job ran out before.
    pub fn expiries(&self) -> u32 {
        self.lease.as_ref().map_or(0, Lease::expiries)
    }

    /// A number that grows with every delivery of the job: what a store downstream compares to refuse the writes of a delivery that was overtaken.
    pub fn fencing(&self) -> u64 {
        self.lease.as_ref().map_or(0, Lease::fencing)
    }

    /// The worker that runs the handler; `None` in the publisher's own thread.
    pub fn worker(&self) -> Option<usize> {
        self.worker
    }

    /// The runtime's clock: handlers that measure time by it measure what a test moves.
    ///
    /// ```
    /// use ringmill::clock::{Clock, ManualClock};
    /// use ringmill::{Context, QueueConfig, Runtime};
    /// use std::sync::Arc;
    /// use std::time::Duration;
    ///
    /// let clock = Arc::new(ManualClock::new());
    /// let hands = clock.clone();
    /// let mut builder = Runtime::builder().manual(clock);
    /// let jobs = builder.queue(QueueConfig::new("jobs"), move |millis: &u64, context: &Context<u64>| {
    ///     let (began, long) = (context.clock().now(), Duration::from_millis(*millis));
    ///     hands.advance(long);
    ///     assert_eq!(context.clock().now().since(began), long);
    /// })?;
    /// let runtime = builder.build()?;
    /// jobs.producer()?.publish(5)?;
    /// runtime.turn();
    /// assert_eq!((jobs.counts().acked, jobs.counts().panics), (1, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// True while this delivery is the job's current one. May turn false at any time, never true again.
    pub fn is_current(&self) -> bool {
        self.lease.as_ref().is_none_or(|lease| self.queue.is_current(lease))
    }

    /// Why the handler should come to an end, if it should.
    pub fn cancelled(&self) -> Option<CancelCause> {
        match &self.lease {
            Some(lease) => self.queue.cancelled(lease),
            None => self.queue.is_stopped().then_some(CancelCause::Shutdown),
        }
    }

    /// True once four fifths of the visibility timeout have passed since the delivery started or was extended: extend it, or come to an end.
    pub fn is_late(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| self.queue.is_late(lease, self.clock.now()))
    }

    /// Gives this delivery another `length` from now, up to the queue's `max_lease` after its start. Returns how much was granted.
    ///
    /// # Errors
    /// When the lease had run out, or `max_lease` is used up.
    pub fn extend(&self, length: Duration) -> Result<Duration, ExtendError> {
        match (&self.lease, &self.block) {
            (Some(lease), Some(block)) => self.queue.extend(block, lease, length, self.clock.now()),
            // nothing runs out in the publisher's own thread
            _ => Ok(length),
        }
    }

    /// Ends the delivery well and publishes `next` in its slot, with its credit: it cannot fail for want of room. Return the verdict. A lane that the queue does
    /// not have becomes its last one.
    ///
    /// What a publish would refuse for good (an invalid payload, a key that cannot be one) ends as a dead letter, and so does a `next` whose key another job has. If the slot
    /// is of the reserve of another lane than `next`'s, it takes one of its own, or keeps this one if none is free.
    ///
    /// If a handler that overran its lease still reads the old payload, `next` needs a slot of its own; when none is free it
    /// is published as soon as one is that no publisher stands in line for, or handed back at shutdown.
    #[must_use = "the follow-up is published when the handler returns this verdict"]
    pub fn complete_with(&self, next: impl Into<Job<T>>) -> Verdict {
        let mut next = next.into();
        next.lane = next.lane.min(self.queue.lane_count() - 1);
        self.more.set(true);
        self.follow_up.set(Some(next));
        Verdict::Ack
    }

    /// Ends the delivery well, with an answer for whoever waits for the job's [completion](crate::Completion). Return the verdict.
    ///
    /// The answer is the job's if this delivery is: it is dropped if the handler returns another verdict, or returns this one when its lease has run out. It is
    /// dropped at once if nobody waits. A panic of such a drop is caught and counted; it fails no job.
    #[must_use = "the job is answered when the handler returns this verdict"]
    pub fn complete(&self, answer: T::Answer) -> Verdict
    where
        T: Request,
    {
        if self.lease.as_ref().map_or(self.watched, Lease::is_watched) {
            self.more.set(true);
            if let Some(before) = self.answer.replace(Some(Box::new(answer))) {
                self.queue.discard(before);
            }
        } else {
            self.queue.discard(answer);
        }
        Verdict::Ack
    }
}

impl<T> fmt::Debug for Context<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("lease", &self.lease).field("worker", &self.worker).finish_non_exhaustive()
    }
}

/// Calls the handler. The panic of a handler is an `Err` with its message.
#[inline]
pub(crate) fn call<T, H: Handler<T> + ?Sized>(handler: &H, payload: &T, context: &Context<T>) -> Result<Verdict, String> {
    contain(|| handler.handle(payload, context))
}
