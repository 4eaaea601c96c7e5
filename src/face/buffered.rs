//! A buffer in front of a queue: jobs that are published a batch at a time.
//!
//! What is buffered lies behind one lock. Whoever flushes takes it *away*, publishes without the lock (it may take time, and runs user code), and brings back what is left. Nobody else
//! flushes meanwhile, so jobs keep their order: the owner waits until a worker has brought back what is left, and a worker leaves the owner alone. User code that runs in a flush may put
//! jobs in, and not flush.
//!
//! A buffer with jobs is *watched*: the queue's timer has a period for it, which is due when its oldest job has its age.
//!
//! **Invariant.** Under the lock: a buffer that is not watched is empty, and nothing of it is away. Who puts in the first job has it watched; only the timer, which finds it empty, ends that.
//! (The timer looks with the time of the period locked, and tries the buffer's lock only; owners lock the buffer and then that time.)

use super::periodic::Running;
use super::producer::Producer;
use crate::clock::{Clock, Timestamp};
use crate::config::{BufferConfig, TICK};
use crate::error::{ConfigError, PublishError, Refusal};
use crate::job::{Job, Payload};
use crate::queue::{Bend, Publisher, Queue, When, is_bent};
use crate::sync::thread::{self, ThreadId};
use crate::sync::{Condvar, Mutex, MutexGuard};
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
/// As [`Producer::publish`], when it flushes. Beside that, with a full buffer, for as long as another thread takes that publishes what has its age. User code that runs in a flush may put
/// jobs in and look; what would flush is refused there ([`Refusal::WouldDeadlock`]).
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
}

/// What the owner shares with whoever publishes what has its age.
struct Buffer<T> {
    held: Mutex<Held<T>>,
    /// Nothing is away any more.
    back: Condvar,
    config: BufferConfig,
    refused: Box<dyn Fn(PublishError<T>) + Send + Sync>,
}

struct Held<T> {
    /// The oldest first; what is away is older.
    jobs: VecDeque<Job<T>>,
    /// Who publishes jobs of the buffer, and how many they were.
    away: Option<(ThreadId, usize)>,
    /// When the oldest was put in, or last tried.
    since: Timestamp,
    /// The timer comes by when the oldest has its age.
    watched: bool,
    /// Swapped with the jobs when they are taken away.
    spare: VecDeque<Job<T>>,
}

impl<T> Held<T> {
    /// With what is away.
    fn len(&self) -> usize {
        self.jobs.len() + self.away.map_or(0, |(_, jobs)| jobs)
    }
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
        let room = || VecDeque::with_capacity(config.jobs);
        let held = Held { jobs: room(), away: None, since: Timestamp::ZERO, watched: false, spare: room() };
        let buffer = Arc::new(Buffer { held: Mutex::new(held), back: Condvar::new(), config, refused: Box::new(refused) });
        let (looked_at, flushed) = (Arc::clone(&buffer), Arc::clone(&buffer));
        let period = self.run_period(
            Timestamp::MAX,
            move |_, now| looked_at.look(now),
            false,
            move |queue: &Queue<T>, publisher: &Publisher, clock: &dyn Clock| flushed.flush_aged(queue, publisher, clock),
        );
        Ok(BufferedProducer { producer: self, buffer, period })
    }
}

impl<T: Payload> BufferedProducer<T> {
    /// The queue's producer. What is published by it does not wait for what is buffered.
    pub fn producer(&self) -> &Producer<T> {
        &self.producer
    }

    /// How many jobs are buffered. Some of them may just be published.
    pub fn len(&self) -> usize {
        self.buffer.held.lock().len()
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
        let mut tried = false;
        if held.len() >= bound || queue.is_closed() {
            drop(held);
            let why = self.flush().err().or_else(|| queue.is_closed().then_some(Refusal::Closed));
            tried = why.is_some();
            held = self.buffer.held.lock();
            if let Some(refusal) = why
                && (held.jobs.len() >= bound || refusal == Refusal::Closed)
            {
                return Err(PublishError::new(job, refusal));
            }
        }
        if held.len() == 0 {
            held.since = self.producer.handle.clock.stamp();
        }
        held.jobs.push_back(job);
        if held.jobs.len() < bound || tried {
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
        // (by a handler, say, that its own flush runs)
        let Some(mut taken) = Taken::by_owner(self) else { return Err(Refusal::WouldDeadlock) };
        let mut refused = Refused::new();
        let result = flush(&mut taken.jobs, &mut refused, |jobs| self.producer.publish_batch(jobs).refused);
        drop(taken);
        self.watch(self.buffer.held.lock());
        self.buffer.hand_back(&self.producer.handle.queue, refused);
        result
    }

    /// The jobs that are buffered, back.
    pub fn into_jobs(self) -> Vec<Job<T>> {
        Taken::by_owner(&self).map_or_else(Vec::new, |mut taken| std::mem::take(&mut taken.jobs).into())
    }
}

/// The jobs of a buffer while somebody publishes them. What is left goes back, before those that were put in meanwhile.
struct Taken<'a, T> {
    buffer: &'a Buffer<T>,
    jobs: VecDeque<Job<T>>,
}

impl<'a, T> Taken<'a, T> {
    fn all(buffer: &'a Buffer<T>, mut held: MutexGuard<'a, Held<T>>, clock: &dyn Clock) -> Self {
        let spare = std::mem::take(&mut held.spare);
        let jobs = std::mem::replace(&mut held.jobs, spare);
        (held.since, held.away) = (clock.stamp(), Some((thread::current().id(), jobs.len())));
        Taken { buffer, jobs }
    }

    /// Waits for a worker who is at it. `None`: this thread is, and runs user code.
    fn by_owner(buffered: &'a BufferedProducer<T>) -> Option<Self>
    where
        T: Payload,
    {
        let buffer = &*buffered.buffer;
        let mut held = buffer.held.lock();
        while let Some((by, _)) = held.away
            && !is_bent(Bend::FlushesBeside)
        {
            if by == thread::current().id() {
                return None;
            }
            held = buffer.back.wait(held);
        }
        Some(Taken::all(buffer, held, &*buffered.producer.handle.clock))
    }
}

impl<T> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        let mut held = self.buffer.held.lock();
        let Held { jobs, away, spare, .. } = &mut *held;
        self.jobs.append(jobs);
        *spare = std::mem::replace(jobs, std::mem::take(&mut self.jobs));
        *away = None;
        self.buffer.back.notify_all();
    }
}

impl<T: Payload> Drop for BufferedProducer<T> {
    fn drop(&mut self) {
        let Producer { handle, publisher } = &self.producer;
        let Some(mut taken) = Taken::by_owner(self) else { return };
        let mut refused = Refused::new();
        if let Err(refusal) = flush_at_once(&mut taken.jobs, &handle.queue, publisher, &*handle.clock, &mut refused) {
            refused.extend(taken.jobs.drain(..).map(|job| PublishError::new(job, refusal.clone())));
        }
        drop(taken);
        self.buffer.hand_back(&handle.queue, refused);
    }
}

impl<T> Buffer<T> {
    /// For the timer: how often the buffer is to be flushed now, and when to look again.
    fn look(&self, now: Timestamp) -> (u64, Timestamp) {
        // (somebody puts something in)
        let Some(mut held) = self.held.try_lock() else { return (0, now + TICK) };
        let due = held.since + self.config.age;
        if held.away.is_some() {
            return (0, due.max(now + TICK));
        }
        if held.jobs.is_empty() {
            if is_bent(Bend::LooksAway) {
                drop(held);
                held = self.held.lock();
            }
            held.watched = false;
            return (0, Timestamp::MAX);
        }
        if due > now { (0, due) } else { (1, now + self.config.age) }
    }
}

impl<T: Payload> Buffer<T> {
    /// For who works for the queue: publishes what has its age, unless its owner does.
    fn flush_aged(&self, queue: &Queue<T>, publisher: &Publisher, clock: &dyn Clock) {
        let held = self.held.lock();
        if held.away.is_some() {
            return;
        }
        let mut taken = Taken::all(self, held, clock);
        let mut refused = Refused::new();
        // what is left is tried again when the timer looks again
        let _ = flush_at_once(&mut taken.jobs, queue, publisher, clock, &mut refused);
        drop(taken);
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
