//! A buffer in front of a queue: jobs that are published a batch at a time.
//!
//! What is buffered lies behind one lock, which its owner takes for each job and whoever flushes holds while he publishes, so that jobs keep their order. A buffer with
//! jobs is *watched*: the queue's timer has a period for it, which is due when its oldest job has its age.
//!
//! **Invariant.** Under the lock: a buffer that is not watched is empty. Who puts in the first job has it watched; only the timer, which finds it empty, ends that. (The
//! timer looks with the time of the period locked, and tries the buffer's lock only; owners lock the buffer and then that time.)

use super::periodic::Running;
use super::producer::Producer;
use crate::clock::{Clock, Timestamp};
use crate::config::BufferConfig;
use crate::error::{ConfigError, PublishError, Refusal};
use crate::job::{Job, Payload};
use crate::queue::{Bend, Publisher, Queue, When, is_bent};
use crate::sync::{Mutex, MutexGuard};
use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// A [`Producer`] that gathers jobs and publishes them a batch at a time: when there are as many as it may hold, when the oldest has waited as long as it may, on
/// [`flush`](Self::flush), and when it is dropped.
///
/// A job that is gathered has the memory of its keys asked for at once, as by [`Producer::prefetch_keys`], and shares what a [batch](Producer::publish_batch) shares.
///
/// # Guarantees
/// **Buffered is not accepted.** A job in the buffer has no slot, is seen by nobody, and ends with the process. It leaves the buffer in one of three ways: it is accepted; it is
/// refused for good (invalid, a duplicate, no such lane, closed, ...) and goes to the function that the buffer was given for that; or [`into_jobs`](Self::into_jobs)
/// hands it back. Where the queue is full the rest stays in the buffer, in order, and is tried again; a buffer that holds as many as it may refuses the next job then.
/// A buffer that is dropped, by a thread that panics too, publishes what it can without waiting, and the function gets the rest. Jobs of one lane are accepted in
/// the order in which they were given.
///
/// What has its age is published by whoever works for the queue: a worker, or a consumer that looks for a job. (One that is forgotten by [`std::mem::forget`] goes on doing that.)
///
/// # Blocking
/// As [`Producer::publish`], when it flushes. Beside that for as long as another thread takes that publishes what has its age.
///
/// ```
/// use ringmill::{BufferConfig, QueueConfig, Runtime};
/// use std::time::Duration;
///
/// let mut builder = Runtime::builder();
/// let numbers = builder.pull_queue::<u32>(QueueConfig::new("numbers").capacity(5))?;
/// let runtime = builder.build()?;
/// let config = BufferConfig::new().jobs(4).age(Duration::from_secs(60));
/// let buffered = numbers.producer()?.buffered(config, |refused| panic!("{refused}"))?;
/// for number in 0..3 {
///     buffered.publish(number)?;
/// }
/// assert_eq!((buffered.len(), numbers.depth()), (3, 0)); // nobody has seen them
/// buffered.publish(3)?;
/// assert_eq!((buffered.len(), numbers.depth()), (0, 4));
///
/// for number in 4..8 {
///     buffered.publish(number)?;
/// }
/// assert_eq!((buffered.len(), numbers.depth()), (3, 5)); // the queue is full
/// buffered.publish(8)?;
/// assert_eq!(buffered.publish(9).unwrap_err().into_inner(), 9); // and so is the buffer
/// let left: Vec<_> = buffered.into_jobs().into_iter().map(|job| job.into_payload()).collect();
/// assert_eq!(left, [5, 6, 7, 8]);
/// # drop(runtime);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BufferedProducer<T: Payload> {
    producer: Producer<T>,
    buffer: Arc<Buffer<T>>,
    period: Running<T>,
    /// Swapped with the jobs while they are published.
    empty: Cell<VecDeque<Job<T>>>,
}

/// What the owner shares with whoever publishes what has its age.
struct Buffer<T> {
    held: Mutex<Held<T>>,
    config: BufferConfig,
    refused: Box<dyn Fn(PublishError<T>) + Send + Sync>,
}

struct Held<T> {
    /// The oldest first.
    jobs: VecDeque<Job<T>>,
    /// When the oldest was put in, or last tried.
    since: Timestamp,
    /// The timer comes by when the oldest has its age.
    watched: bool,
}

/// The jobs of a buffer, from the oldest on.
struct FromFront<'a, T>(&'a mut VecDeque<Job<T>>);

impl<T> Iterator for FromFront<'_, T> {
    type Item = Job<T>;

    #[inline]
    fn next(&mut self) -> Option<Job<T>> {
        self.0.pop_front()
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len(), Some(self.0.len()))
    }
}

/// Jobs that were refused for good.
type Refused<T> = Vec<PublishError<T>>;

impl<T: Payload> Producer<T> {
    /// Gathers jobs before they are published: see [`BufferedProducer`]. `refused` is given what was buffered and cannot be published, in this thread or in one that works
    /// for the queue.
    ///
    /// # Errors
    /// When the configuration is out of range.
    pub fn buffered(
        self,
        config: BufferConfig,
        refused: impl Fn(PublishError<T>) + Send + Sync + 'static,
    ) -> Result<BufferedProducer<T>, ConfigError> {
        config.validate(|| format!("a buffer of queue `{}`", self.handle.name()))?;
        let jobs = VecDeque::with_capacity(config.jobs);
        let held = Mutex::new(Held { jobs, since: Timestamp::ZERO, watched: false });
        let buffer = Arc::new(Buffer { held, config, refused: Box::new(refused) });
        let (looked_at, flushed) = (Arc::clone(&buffer), Arc::clone(&buffer));
        let period = self.run_period(
            Timestamp::MAX,
            move |_, now| looked_at.look(now),
            false,
            move |queue: &Queue<T>, publisher: &Publisher, clock: &dyn Clock| flushed.flush_aged(queue, publisher, clock),
        );
        let empty = Cell::new(VecDeque::with_capacity(config.jobs));
        Ok(BufferedProducer { producer: self, buffer, period, empty })
    }
}

impl<T: Payload> BufferedProducer<T> {
    /// The queue's producer. What is published by it does not wait for what is buffered.
    pub fn producer(&self) -> &Producer<T> {
        &self.producer
    }

    /// How many jobs are buffered. Others may publish some of them meanwhile.
    pub fn len(&self) -> usize {
        self.buffer.held.lock().jobs.len()
    }

    /// True when no job is buffered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a job into the buffer; if that holds as many as it may then, they are published.
    ///
    /// # Errors
    /// The job comes back: the buffer holds as many as it may and the queue takes none, or the queue is closed.
    pub fn publish(&self, job: impl Into<Job<T>>) -> Result<(), PublishError<T>> {
        let (job, bound, queue) = (job.into(), self.buffer.config.jobs, &self.producer.handle.queue);
        self.producer.prefetch_keys(&job);
        let mut held = self.buffer.held.lock();
        if held.jobs.len() >= bound || queue.is_closed() {
            drop(held);
            let why = self.flush().err().or_else(|| queue.is_closed().then_some(Refusal::Closed));
            held = self.buffer.held.lock();
            if let Some(refusal) = why
                && (held.jobs.len() >= bound || refusal == Refusal::Closed)
            {
                return Err(PublishError::new(job, refusal));
            }
        }
        if held.jobs.is_empty() {
            held.since = self.producer.handle.clock.stamp();
        }
        held.jobs.push_back(job);
        if held.jobs.len() < bound {
            self.watch(held);
        } else {
            drop(held);
            // what is left is tried again with the next job, or when it has its age
            let _ = self.flush();
        }
        Ok(())
    }

    /// The timer comes by when the oldest has its age.
    fn watch(&self, mut held: MutexGuard<'_, Held<T>>) {
        if !held.watched && !held.jobs.is_empty() {
            held.watched = true;
            self.producer.handle.queue.set_period(self.period.period(), held.since + self.buffer.config.age);
        }
    }

    /// Publishes what is buffered. What happens on a full queue is its [`Overflow`](crate::Overflow) policy, as for [`Producer::publish`].
    ///
    /// # Errors
    /// Why the rest is still in the buffer: the queue is full; or closed, and then the function for what is refused has the rest.
    ///
    /// ```
    /// use ringmill::{BufferConfig, QueueConfig, Refusal, Runtime};
    ///
    /// let mut builder = Runtime::builder();
    /// let words = builder.pull_queue::<&str>(QueueConfig::new("words").capacity(1))?;
    /// let runtime = builder.build()?;
    /// let buffered = words.producer()?.buffered(BufferConfig::new(), |refused| panic!("{refused}"))?;
    /// buffered.publish("hello")?;
    /// assert_eq!(buffered.flush(), Ok(()));
    /// buffered.publish("world")?;
    /// assert!(matches!(buffered.flush(), Err(Refusal::Full { .. })));
    /// words.consumer()?.try_recv()?.ack()?;
    /// assert_eq!(buffered.flush(), Ok(()));
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush(&self) -> Result<(), Refusal> {
        let mut refused = Refused::new();
        let result = flush(&mut Taken::all(self).jobs, &mut refused, |jobs| self.producer.publish_batch(jobs).refused);
        self.buffer.hand_back(&self.producer.handle.queue, refused);
        result
    }

    /// The jobs that are buffered, back.
    pub fn into_jobs(self) -> Vec<Job<T>> {
        std::mem::take(&mut self.buffer.held.lock().jobs).into()
    }
}

/// The jobs of a buffer while their owner publishes them: not under the lock, because he may wait, and run a handler. What is left goes back.
struct Taken<'a, T: Payload> {
    buffered: &'a BufferedProducer<T>,
    jobs: VecDeque<Job<T>>,
}

impl<'a, T: Payload> Taken<'a, T> {
    fn all(buffered: &'a BufferedProducer<T>) -> Self {
        let mut jobs = buffered.empty.take();
        let mut held = buffered.buffer.held.lock();
        held.since = buffered.producer.handle.clock.stamp();
        std::mem::swap(&mut held.jobs, &mut jobs);
        Taken { buffered, jobs }
    }
}

impl<T: Payload> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        let mut held = self.buffered.buffer.held.lock();
        std::mem::swap(&mut held.jobs, &mut self.jobs);
        self.buffered.watch(held);
        self.buffered.empty.set(std::mem::take(&mut self.jobs));
    }
}

impl<T: Payload> Drop for BufferedProducer<T> {
    fn drop(&mut self) {
        let Producer { handle, publisher } = &self.producer;
        let mut held = self.buffer.held.lock();
        let mut refused = Refused::new();
        if let Err(refusal) = flush_at_once(&mut held.jobs, &handle.queue, publisher, &*handle.clock, &mut refused) {
            refused.extend(held.jobs.drain(..).map(|job| PublishError::new(job, refusal.clone())));
        }
        drop(held);
        self.buffer.hand_back(&handle.queue, refused);
    }
}

impl<T> Buffer<T> {
    /// For the timer: how often the buffer is to be flushed now, and when to look again.
    fn look(&self, now: Timestamp) -> (u64, Timestamp) {
        let again = now + self.config.age;
        // (whoever has the lock is at it)
        let Some(mut held) = self.held.try_lock() else { return (0, again) };
        if held.jobs.is_empty() {
            if is_bent(Bend::LooksAway) {
                drop(held);
                held = self.held.lock();
            }
            held.watched = false;
            return (0, Timestamp::MAX);
        }
        let due = held.since + self.config.age;
        if due > now { (0, due) } else { (1, again) }
    }
}

impl<T: Payload> Buffer<T> {
    /// For who works for the queue: publishes what has its age. What its owner publishes meanwhile need not be waited for.
    fn flush_aged(&self, queue: &Queue<T>, publisher: &Publisher, clock: &dyn Clock) {
        let Some(mut held) = self.held.try_lock() else { return };
        held.since = clock.stamp();
        let mut refused = Refused::new();
        if is_bent(Bend::FlushesUnlocked) {
            let mut jobs = std::mem::take(&mut held.jobs);
            drop(held);
            let _ = flush_at_once(&mut jobs, queue, publisher, clock, &mut refused);
            return self.held.lock().jobs.extend(jobs);
        }
        // what is left is tried again when the timer looks again
        let _ = flush_at_once(&mut held.jobs, queue, publisher, clock, &mut refused);
        drop(held);
        self.hand_back(queue, refused);
    }

    /// User code: not under the lock.
    fn hand_back(&self, queue: &Queue<T>, refused: Refused<T>) {
        refused.into_iter().for_each(|error| queue.call_back(|| (self.refused)(error)));
    }
}

/// Publishes what can be without waiting.
fn flush_at_once<T: Payload>(
    jobs: &mut VecDeque<Job<T>>,
    queue: &Queue<T>,
    publisher: &Publisher,
    clock: &dyn Clock,
    refused: &mut Refused<T>,
) -> Result<(), Refusal> {
    flush(jobs, refused, |jobs| {
        let alone = |job, when: When<'_>| queue.try_publish(publisher, job, when, clock.stamp());
        queue.publish_batch(publisher, jobs, clock, false, 0, alone).1
    })
}

/// Publishes jobs by `publish`, which says which one was refused, until there are none; or until one is refused that may be accepted later, which stays.
fn flush<T>(
    jobs: &mut VecDeque<Job<T>>,
    refused: &mut Refused<T>,
    publish: impl Fn(&mut FromFront<'_, T>) -> Option<PublishError<T>>,
) -> Result<(), Refusal> {
    while let Some(error) = publish(&mut FromFront(jobs)) {
        let refusal = error.refusal().clone();
        if refusal.may_pass() {
            jobs.push_front(error.into_job());
            return Err(refusal);
        }
        refused.push(error);
        if refusal == Refusal::Closed {
            refused.extend(jobs.drain(..).map(|job| PublishError::new(job, Refusal::Closed)));
            return Err(refusal);
        }
    }
    Ok(())
}

impl<T: Payload> fmt::Debug for BufferedProducer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferedProducer")
            .field("queue", &self.producer.handle)
            .field("jobs", &self.len())
            .field("config", &self.buffer.config)
            .finish_non_exhaustive()
    }
}
