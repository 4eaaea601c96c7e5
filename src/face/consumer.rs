//! Receiving by hand.

use super::futures::RecvAsync;
use super::handle::QueueHandle;
use crate::clock::Timestamp;
use crate::error::{ExtendError, HandleError, RecvError, Stale};
use crate::id::JobId;
use crate::job::{Job, Payload};
use crate::ledger::Count;
use crate::queue::{Aftermath, CancelCause, ClaimBlock, Claimer, Lease, Plan, Publisher};
use crate::request::Request;
use crate::rng::Rng;
use crate::slab::Fate;
use crate::sync::{EventCount, Mutex, Parker, Seat, SpinWait, Unparker};
use crate::verdict::{JobError, Verdict};
use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// Receives the jobs of a pull queue as [`Delivery`]s. One per thread or task that waits.
///
/// ```
/// use ringmill::{QueueConfig, Runtime};
///
/// let mut builder = Runtime::builder();
/// let words = builder.pull_queue::<String>(QueueConfig::new("words").capacity(16))?;
/// let runtime = builder.build()?;
/// words.producer()?.publish("hello".to_owned())?;
/// let consumer = words.consumer()?;
/// let delivery = consumer.recv()?;
/// assert_eq!(*delivery, "hello");
/// delivery.ack()?;
/// # drop(runtime);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "receiver")]
pub struct Consumer<T: Payload> {
    handle: QueueHandle<T>,
    shared: Arc<Mutex<Claimer<T>>>,
    block: Arc<ClaimBlock>,
    bell: Arc<EventCount>,
    seat: Option<Seat>,
    parker: Parker,
    /// A task sleeps in the seat, or has slept there when it was forgotten.
    dozes: Cell<bool>,
    publisher: Publisher,
}

impl<T: Payload> Consumer<T> {
    pub(super) fn open(handle: QueueHandle<T>) -> Result<Self, HandleError> {
        let Some(bell) = handle.bell.clone() else { return Err(HandleError::NotAPullQueue) };
        let parker = Parker::new();
        let seat = bell.take_seat(parker.unparker()).ok_or(HandleError::TooManyConsumers)?;
        let offset = seat.index();
        let opened = handle.queue.open_publisher().and_then(|mut publisher| {
            let claimer = handle.queue.open_claimer(offset, true, offset as u64);
            if claimer.is_none() {
                handle.queue.close_publisher(&mut publisher);
            }
            Some((publisher, claimer?))
        });
        let Some((publisher, claimer)) = opened else {
            bell.free_seat(seat);
            return Err(HandleError::TooManyHandles);
        };
        let block = Arc::clone(claimer.block());
        let shared = Arc::new(Mutex::new(claimer));
        Ok(Consumer { handle, shared, block, bell, seat: Some(seat), parker, dozes: Cell::new(false), publisher })
    }

    /// Another consumer of the same queue, for another thread.
    ///
    /// ```
    /// use ringmill::{QueueConfig, Runtime};
    ///
    /// let mut builder = Runtime::builder();
    /// let words = builder.pull_queue::<&str>(QueueConfig::new("words"))?;
    /// let runtime = builder.build()?;
    /// words.producer()?.publish_batch(&mut ["hello", "world"].into_iter());
    /// let consumer = words.consumer()?;
    /// let other = consumer.try_clone()?;
    /// let there = std::thread::spawn(move || other.recv().unwrap().ack().is_ok());
    /// consumer.recv()?.ack()?;
    /// assert!(there.join().unwrap());
    /// assert_eq!(words.counts().acked, 2);
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the queue has as many consumers or handles as it can have.
    pub fn try_clone(&self) -> Result<Self, HandleError> {
        Self::open(self.handle.clone())
    }

    /// The next job, if one is ready.
    ///
    /// # Errors
    /// [`RecvError::Empty`], or [`RecvError::Closed`] when the queue is shut down and nothing is left.
    pub fn try_recv(&self) -> Result<Delivery<T>, RecvError> {
        // of a future that was forgotten
        self.rouse();
        self.look(true).ok_or_else(|| if self.is_over() { RecvError::Closed } else { RecvError::Empty })
    }

    /// The next job, waiting for it.
    ///
    /// # Errors
    /// [`RecvError::Closed`] when the queue is shut down, [`RecvError::WouldDeadlock`] in a handler of the same runtime.
    pub fn recv(&self) -> Result<Delivery<T>, RecvError> {
        self.recv_timeout(Duration::MAX)
    }

    /// The next job, for a task that waits for it in whatever executor it runs. A future that is dropped has taken no job: nothing is lost.
    ///
    /// A poll runs user code that is due: payloads to drop, periodic jobs to make, callbacks.
    ///
    /// ```
    /// use ringmill::{QueueConfig, Runtime};
    ///
    /// let mut builder = Runtime::builder();
    /// let words = builder.pull_queue::<String>(QueueConfig::new("words"))?;
    /// let runtime = builder.build()?;
    /// let mut producer = words.producer()?;
    /// let mut consumer = words.consumer()?;
    /// # let tokio = tokio::runtime::Builder::new_current_thread().build()?;
    /// # tokio.block_on(async {
    /// producer.publish_async("hello".to_owned()).await?;
    /// let delivery = consumer.recv_async().await?;
    /// assert_eq!(*delivery, "hello");
    /// delivery.ack()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv`](Self::recv), in the future's output.
    pub fn recv_async(&mut self) -> RecvAsync<'_, T> {
        RecvAsync::new(self)
    }

    /// The next job, waiting for it for at most `timeout`.
    ///
    /// ```
    /// use ringmill::{QueueConfig, RecvError, Runtime};
    /// use std::time::Duration;
    ///
    /// let mut builder = Runtime::builder();
    /// let words = builder.pull_queue::<&str>(QueueConfig::new("words"))?;
    /// let runtime = builder.build()?;
    /// let consumer = words.consumer()?;
    /// assert_eq!(consumer.recv_timeout(Duration::from_millis(5)).unwrap_err(), RecvError::TimedOut);
    /// drop(runtime);
    /// assert_eq!(consumer.recv_timeout(Duration::MAX).unwrap_err(), RecvError::Closed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RecvError::TimedOut`], and as [`recv`](Self::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Delivery<T>, RecvError> {
        if let Some(delivery) = self.look(false) {
            return Ok(delivery);
        }
        if self.handle.runtime.is_inside() {
            return Err(RecvError::WouldDeadlock);
        }
        let clock = &*self.handle.clock;
        let deadline = clock.now() + timeout;
        let mut spin = SpinWait::new();
        while !spin.is_yielding() {
            spin.spin();
            if let Some(delivery) = self.look(false) {
                return Ok(delivery);
            }
        }
        self.sleep_until(deadline)
    }

    fn sleep_until(&self, deadline: Timestamp) -> Result<Delivery<T>, RecvError> {
        let clock = &*self.handle.clock;
        self.rouse();
        loop {
            if let Some(received) = self.lie_down(|| clock.now() >= deadline) {
                return received;
            }
            // a colleague may have been woken for a job and take its time: worth a look now and then
            self.bell.sleep(self.seat(), &self.parker, Some(clock.sleep_hint(deadline).min(HEARTBEAT)));
        }
    }

    /// One look of a task that waits for a job.
    pub(super) fn poll_recv(&self, waker: &Waker) -> Poll<Result<Delivery<T>, RecvError>> {
        if self.handle.runtime.is_inside() {
            self.rouse();
            return Poll::Ready(self.look(false).ok_or(RecvError::WouldDeadlock));
        }
        if self.dozes.replace(false) {
            self.bell.retract(self.seat());
        } else if let Some(delivery) = self.look(false) {
            return Poll::Ready(Ok(delivery));
        }
        // before the announcement, and that before the look: whoever publishes after the look wakes this task, and not the one that polled last
        self.bell.wake_by(self.seat(), Unparker::of_task(waker));
        match self.lie_down(|| false) {
            None => {
                self.dozes.set(true);
                Poll::Pending
            }
            Some(received) => {
                self.bell.wake_by(self.seat(), self.parker.unparker());
                Poll::Ready(received)
            }
        }
    }

    /// No task sleeps here any more. If it had been woken for a job, the next one is.
    pub(super) fn rouse(&self) {
        if self.dozes.replace(false) {
            self.get_up();
            self.bell.wake_by(self.seat(), self.parker.unparker());
        }
    }

    /// Announces itself and looks at everything once more. `None`: it is asleep. Otherwise it is awake: there was something, nothing will come any more,
    /// or it is too `late`.
    fn lie_down(&self, late: impl Fn() -> bool) -> Option<Result<Delivery<T>, RecvError>> {
        loop {
            self.bell.announce(self.seat(), false);
            let (found, left) = self.take(true);
            let (over, late) = (self.is_over(), late());
            if found.is_none() && !over && !late && left.is_empty() && !self.handle.queue.has_chores() {
                return None;
            }
            // before user code runs: others should not wait for it
            self.get_up();
            self.run_errands(left);
            if found.is_some() || over || late {
                return Some(found.ok_or(if over { RecvError::Closed } else { RecvError::TimedOut }));
            }
        }
    }

    /// Takes the announcement back, and wakes the next one if there is more work: somebody may have been woken in this one's stead.
    fn get_up(&self) {
        self.bell.retract(self.seat());
        self.bell.found_work(|| self.shared.lock().may_have_more(0));
    }

    fn seat(&self) -> &Seat {
        self.seat.as_ref().expect("a live consumer has its seat")
    }

    /// One look, at what colleagues have claimed too if it `steals`; runs user code that is due on the way.
    fn look(&self, steals: bool) -> Option<Delivery<T>> {
        if self.handle.queue.has_chores() {
            // one of them may publish what this look is for
            self.run_errands(Vec::new());
        }
        let (found, left) = self.take(steals);
        self.run_errands(left);
        found
    }

    /// Runs user code that is due: the chores of the timer, and what jobs `left` that ended before they started. Without the claimer's lock: it may
    /// settle a delivery of this consumer.
    fn run_errands(&self, left: Vec<Aftermath<T>>) {
        let queue = &self.handle.queue;
        left.into_iter().for_each(|aftermath| aftermath.run(queue));
        if queue.has_chores() {
            queue.take_chores().into_iter().for_each(|chore| queue.do_chore(&self.publisher, chore, &*self.handle.clock));
        }
    }

    /// Starts a job that is ready or, if it `steals`, that another consumer has claimed and not started. Gives also the user code that is left to run.
    fn take(&self, steals: bool) -> (Option<Delivery<T>>, Vec<Aftermath<T>>) {
        let mut claimer = self.shared.lock();
        let mut lease = None;
        // what it has found may have been taken back, have expired or be cancelled, which shows when it is started: there may be another one all the same
        while lease.is_none() && (claimer.look() || steals && claimer.steal()) {
            lease = claimer.next(self.handle.clock.now());
        }
        let left = claimer.take_left();
        drop(claimer);
        (lease.map(|lease| self.delivery(lease)), left)
    }

    fn delivery(&self, lease: Lease) -> Delivery<T> {
        let parts = Parts { handle: self.handle.clone(), shared: Arc::clone(&self.shared), block: Arc::clone(&self.block) };
        Delivery { parts, lease: Some(lease) }
    }

    /// Nothing will come any more.
    fn is_over(&self) -> bool {
        let over = self.handle.queue.is_over();
        if over {
            // whoever passed the closed door just before may still come in; a shutdown gives that back
            self.block.leave();
        }
        over
    }
}

/// A sleeper looks around this often even if nobody wakes it.
const HEARTBEAT: Duration = Duration::from_millis(500);

impl<T: Payload> Drop for Consumer<T> {
    fn drop(&mut self) {
        // of a future that was forgotten
        self.rouse();
        self.shared.lock().give_back();
        if let Some(seat) = self.seat.take() {
            self.bell.free_seat(seat);
        }
        self.handle.queue.close_publisher(&mut self.publisher);
    }
}

impl<T: Payload> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Consumer").field(&self.handle).finish()
    }
}

/// What a delivery keeps of its consumer.
struct Parts<T> {
    handle: QueueHandle<T>,
    shared: Arc<Mutex<Claimer<T>>>,
    block: Arc<ClaimBlock>,
}

/// A job in your hands, until it is settled or its lease runs out. Dereferences to the payload.
///
/// Settling consumes it, so nothing can be settled twice. Dropped unsettled, it counts as a failed attempt; forgotten
/// ([`std::mem::forget`]), its lease runs out, and its slot is lost until the queue goes: should the job die later, no letter is written and its handle is not told, as for a handler that never
/// returns. It may be settled in
/// another thread, and after the runtime was shut down.
///
/// ```
/// use ringmill::clock::ManualClock;
/// use ringmill::{Became, CancelCause, QueueConfig, Runtime, Verdict};
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// let clock = Arc::new(ManualClock::new());
/// let mut builder = Runtime::builder().manual(clock.clone());
/// let words = builder.pull_queue::<&str>(QueueConfig::new("words").visibility(Duration::from_secs(10)))?;
/// let runtime = builder.build()?;
/// let (producer, consumer) = (words.producer()?, words.consumer()?);
/// let job = producer.publish("hello")?;
///
/// let first = consumer.try_recv()?;
/// assert_eq!((first.job_id(), first.payload(), first.attempt()), (job, &"hello", 1));
/// assert_eq!(job.get(), 1);
/// let fencing = first.fencing();
/// first.snooze(Duration::from_secs(5))?; // not now
/// assert!(consumer.try_recv().is_err());
/// runtime.advance(&clock, Duration::from_secs(6));
///
/// let second = consumer.try_recv()?;
/// assert_eq!((second.attempt(), second.failures(), second.cancelled()), (2, 0, None));
/// assert!(second.fencing() > fencing);
/// runtime.advance(&clock, Duration::from_secs(8)); // of ten
/// assert!(second.is_late() && second.is_current());
/// runtime.advance(&clock, Duration::from_secs(4)); // its lease runs out
/// assert_eq!((second.is_current(), second.cancelled()), (false, Some(CancelCause::LeaseLost)));
/// assert_eq!(second.ack().unwrap_err().became(), Became::Waiting);
///
/// let third = consumer.try_recv()?;
/// assert_eq!(third.expiries(), 1);
/// third.complete_with("world").unwrap(); // a follow-up in the same slot
/// let fourth = consumer.try_recv()?;
/// assert!(words.cancel(fourth.job_id()));
/// assert_eq!(fourth.cancelled(), Some(CancelCause::Cancelled));
/// fourth.settle(Verdict::Discard)?;
/// assert_eq!(words.depth(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a delivery that is dropped unsettled counts as a failed attempt"]
pub struct Delivery<T: Payload> {
    parts: Parts<T>,
    /// `None` once settled.
    lease: Option<Lease>,
}

impl<T: Payload> Delivery<T> {
    fn lease(&self) -> &Lease {
        self.lease.as_ref().expect("settling consumes the delivery")
    }

    /// The payload.
    pub fn payload(&self) -> &T {
        self.parts.handle.queue.payload(self.lease())
    }

    /// The job's id.
    pub fn job_id(&self) -> JobId {
        self.lease().job_id()
    }

    /// The lane it was published to.
    pub fn lane(&self) -> usize {
        self.lease().lane()
    }

    /// The number of this delivery, from 1: every hand-over counts.
    #[doc(alias = "delivery_count")]
    pub fn attempt(&self) -> u32 {
        self.lease().attempt()
    }

    /// How many deliveries of the job failed before.
    pub fn failures(&self) -> u32 {
        self.lease().failures()
    }

    /// How many leases of the job ran out before.
    pub fn expiries(&self) -> u32 {
        self.lease().expiries()
    }

    /// A number that grows with every delivery of the job: what a store downstream compares to refuse the writes of a delivery that was overtaken.
    pub fn fencing(&self) -> u64 {
        self.lease().fencing()
    }

    /// True while this delivery is the job's current one. May turn false at any time, never true again.
    pub fn is_current(&self) -> bool {
        self.parts.handle.queue.is_current(self.lease())
    }

    /// Why whoever has the delivery should come to an end, if it should.
    pub fn cancelled(&self) -> Option<CancelCause> {
        self.parts.handle.queue.cancelled(self.lease())
    }

    /// True once four fifths of the visibility timeout have passed since the delivery was received or extended: extend it, or come to an end.
    pub fn is_late(&self) -> bool {
        self.parts.handle.queue.is_late(self.lease(), self.parts.handle.clock.now())
    }

    /// Gives this delivery another `length` from now, up to the queue's `max_lease` after its start. Returns how much was granted.
    ///
    /// # Errors
    /// When the lease had run out, or `max_lease` is used up.
    pub fn extend(&mut self, length: Duration) -> Result<Duration, ExtendError> {
        let _claimer = self.parts.shared.lock();
        self.parts.handle.queue.extend(&self.parts.block, self.lease(), length, self.parts.handle.clock.now())
    }

    /// The job is done.
    ///
    /// # Errors
    /// [`Stale`] when the lease had run out: the job comes back, or came back, elsewhere.
    #[doc(alias = "delete")]
    pub fn ack(self) -> Result<(), Stale> {
        self.settle(Verdict::Ack)
    }

    /// The attempt failed; the job comes back after the queue's backoff.
    ///
    /// # Errors
    /// [`Stale`], as [`ack`](Self::ack).
    #[doc(alias = "nack")]
    pub fn retry(self, error: impl Into<JobError>) -> Result<(), Stale> {
        self.settle(Verdict::Retry(error.into()))
    }

    /// The job will never succeed: to the dead letters.
    ///
    /// # Errors
    /// [`Stale`], as [`ack`](Self::ack).
    #[doc(alias = "bury")]
    pub fn reject(self, error: impl Into<JobError>) -> Result<(), Stale> {
        self.settle(Verdict::Reject(error.into()))
    }

    /// Not now: the job comes back after `delay`, and no attempt is spent.
    ///
    /// # Errors
    /// [`Stale`], as [`ack`](Self::ack).
    #[doc(alias = "defer")]
    pub fn snooze(self, delay: Duration) -> Result<(), Stale> {
        self.settle(Verdict::Snooze(delay))
    }

    /// Settles with any verdict.
    ///
    /// # Errors
    /// [`Stale`], as [`ack`](Self::ack).
    pub fn settle(mut self, verdict: Verdict) -> Result<(), Stale> {
        let lease = self.lease.take().expect("settling consumes the delivery");
        self.parts.settle(lease, verdict)
    }

    /// Acks, and publishes `next` in the same slot, with the same credit: it cannot fail for want of room. Otherwise as [`Context::complete_with`](crate::Context::complete_with).
    ///
    /// # Errors
    /// [`Stale`] and `next`, when the lease had run out.
    pub fn complete_with(mut self, next: impl Into<Job<T>>) -> Result<(), (Stale, Job<T>)> {
        let lease = self.lease.take().expect("settling consumes the delivery");
        let mut next = next.into();
        next.lane = next.lane.min(self.parts.handle.queue.lane_count() - 1);
        let now = self.parts.handle.clock.now();
        let fits = self.parts.handle.queue.is_well_formed(&next);
        let settled = self.parts.shared.lock().settle_chained(lease, next, fits, now, false);
        let queue = &self.parts.handle.queue;
        match settled {
            Ok((aftermath, deferred)) => {
                aftermath.run(queue);
                queue.follow_through(deferred);
                Ok(())
            }
            Err((stale, next, aftermath)) => {
                aftermath.run(queue);
                Err((stale, next))
            }
        }
    }
}

impl<T: Request> Delivery<T> {
    /// The job is done, with an answer for whoever waits for its [completion](crate::Completion).
    ///
    /// # Errors
    /// [`Stale`] and the answer, when the lease had run out.
    pub fn complete(mut self, answer: T::Answer) -> Result<(), (Stale, T::Answer)> {
        let lease = self.lease.take().expect("settling consumes the delivery");
        let (queue, now) = (&self.parts.handle.queue, self.parts.handle.clock.now());
        let watched = lease.is_watched();
        let settled = self.parts.shared.lock().settle(lease, Plan::End(Fate::Acked, None), now, false);
        match settled {
            Ok(aftermath) if watched => aftermath.answered(Box::new(answer)).run(queue),
            Ok(aftermath) => {
                aftermath.run(queue);
                queue.discard(answer);
            }
            Err((stale, aftermath)) => {
                aftermath.run(queue);
                return Err((stale, answer));
            }
        }
        Ok(())
    }
}

impl<T: Payload> Parts<T> {
    fn settle(&self, lease: Lease, verdict: Verdict) -> Result<(), Stale> {
        let (queue, now) = (&self.handle.queue, self.handle.clock.now());
        // user code (the retry function) runs before, and user code (drops) after the lock
        let mut rng = Rng::new(lease.fencing() ^ lease.job_id().get().rotate_left(32) ^ now.as_nanos());
        let plan = queue.plan(&lease, verdict, &mut rng);
        let settled = self.shared.lock().settle(lease, plan, now, false);
        let (result, aftermath) = match settled {
            Ok(aftermath) => (Ok(()), aftermath),
            Err((stale, aftermath)) => (Err(stale), aftermath),
        };
        aftermath.run(queue);
        result
    }
}

impl<T: Payload> Deref for Delivery<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.payload()
    }
}

impl<T: Payload> Drop for Delivery<T> {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.parts.shared.lock().ledger().bump(Count::Abandoned);
            // a stale drop has nothing to give back
            let _ = self.parts.settle(lease, Verdict::Retry(JobError::transient("the delivery was dropped unsettled")));
        }
    }
}

impl<T: Payload> fmt::Debug for Delivery<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("lease", &self.lease).finish_non_exhaustive()
    }
}
