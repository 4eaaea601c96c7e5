//! The dead letters of a queue, by hand.

use super::handle::QueueHandle;
use crate::dead_letter::DeadLetter;
use crate::error::Refusal;
use crate::id::JobId;
use crate::job::Payload;
use std::fmt;

/// Looks at, takes out, publishes again or drops the dead letters of a queue. Oldest first.
///
/// Every dead job is found here. Those that are [held](crate::DeadLetterOverflow::Hold) in their slots for want of room stand behind the others, and each call finds them as well. When the queue
/// stops, they come back [with the undone](crate::Origin::Held); the others stay.
///
/// Letters that have reached their [age](crate::DeadLetterConfig::retention) go, or move on, before anything else is done here: no call finds them, and they are dropped in the caller's
/// thread, under no lock.
///
/// ```
/// use ringmill::clock::ManualClock;
/// use ringmill::{JobError, PoolConfig, QueueConfig, Runtime};
/// use std::sync::Arc;
///
/// let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
/// let handler = |n: &u32, _: &_| if *n == 13 { Err(JobError::fatal("unlucky")) } else { Ok(()) };
/// let numbers = builder.queue(QueueConfig::new("numbers").capacity(64), handler)?;
/// builder.pool(PoolConfig::new("default").workers(1))?;
/// let runtime = builder.build()?;
/// let producer = numbers.producer()?;
/// for n in 0..20 {
///     producer.publish(n)?;
/// }
/// runtime.turn();
/// let letters = numbers.dead_letters();
/// assert_eq!(letters.len(), 1);
/// let letter = letters.take().unwrap();
/// assert_eq!(*letter.payload(), 13);
/// assert_eq!(letter.record().last_error.as_deref(), Some("unlucky"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DeadLetterQueue<'a, T: Payload> {
    pub(super) handle: &'a QueueHandle<T>,
}

impl<T: Payload> DeadLetterQueue<'_, T> {
    /// How many there are, those included that are held. May change at any time.
    pub fn len(&self) -> usize {
        self.handle.queue.count_letters(self.handle.clock.now())
    }

    /// How many of them are [held](crate::DeadLetterOverflow::Hold) in their slots, because there is no room for more letters: more than 0, and the queue has so much less room for jobs.
    /// May change at any time.
    ///
    /// ```
    /// use ringmill::{DeadLetterConfig, QueueConfig, Runtime};
    ///
    /// let mut builder = Runtime::builder();
    /// let letters = DeadLetterConfig::new().capacity(1);
    /// let words = builder.pull_queue::<&str>(QueueConfig::new("words").capacity(8).dead_letters(letters))?;
    /// let runtime = builder.build()?;
    /// let (producer, consumer) = (words.producer()?, words.consumer()?);
    /// for word in ["a", "b", "c"] {
    ///     producer.publish(word)?;
    ///     consumer.recv()?.reject("no")?;
    /// }
    /// let letters = words.dead_letters();
    /// assert_eq!((letters.len(), letters.held(), words.snapshot().free), (3, 2, 6));
    /// assert_eq!(letters.redrive_where(|letter| *letter.payload() == "c"), 1);
    /// assert_eq!((letters.len(), letters.held(), words.depth()), (2, 1, 2));
    /// letters.take(); // the other one has room now
    /// assert_eq!((letters.len(), letters.held(), words.depth()), (1, 0, 1));
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn held(&self) -> usize {
        self.handle.queue.count_held(self.handle.clock.now())
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Looks at each, under the dead-letter queue's lock: do not publish or settle in here.
    pub fn for_each(&self, mut look: impl FnMut(&DeadLetter<T>)) {
        self.handle.queue.with_letters(self.handle.clock.now(), |letters| letters.for_each(&mut look));
    }

    /// A copy of the oldest, up to `most`. Payloads are cloned under the lock, as in [`for_each`](Self::for_each).
    pub fn list(&self, most: usize) -> Vec<DeadLetter<T>>
    where
        T: Clone,
    {
        self.handle.queue.with_letters(self.handle.clock.now(), |letters| letters.take(most).map(DeadLetter::copy).collect())
    }

    /// Takes out the oldest.
    pub fn take(&self) -> Option<DeadLetter<T>> {
        self.handle.queue.take_letter(None, self.handle.clock.now())
    }

    /// Takes out that of `job`.
    ///
    /// ```
    /// use ringmill::{DeathReason, QueueConfig, Runtime};
    ///
    /// let mut builder = Runtime::builder();
    /// let words = builder.pull_queue::<&str>(QueueConfig::new("words"))?;
    /// let runtime = builder.build()?;
    /// let (producer, consumer) = (words.producer()?, words.consumer()?);
    /// let jobs = ["a", "b", "c"].map(|word| producer.publish(word).unwrap());
    /// for _ in jobs {
    ///     consumer.recv()?.reject("no")?;
    /// }
    /// let letters = words.dead_letters();
    /// let letter = letters.take_job(jobs[1]).unwrap();
    /// assert_eq!((letter.job_id(), letter.reason(), *letter.payload()), (jobs[1], DeathReason::Rejected, "b"));
    /// assert!(letters.take_job(jobs[1]).is_none());
    /// assert_eq!(letters.redrive_job(jobs[2]), Ok(true)); // that one first
    /// assert_eq!(letters.redrive(), Ok(true)); // then the oldest
    /// assert_eq!(letters.redrive(), Ok(false));
    /// for word in ["c", "a"] {
    ///     let delivery = consumer.recv()?;
    ///     assert_eq!(*delivery, word);
    ///     delivery.ack()?;
    /// }
    /// assert_eq!((letters.redrive_all(), letters.purge()), (0, 0));
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn take_job(&self, job: JobId) -> Option<DeadLetter<T>> {
        self.handle.queue.take_letter(Some(job), self.handle.clock.now())
    }

    /// Publishes the oldest again: same id, same lane, same visibility timeout, attempts counted anew, its deaths remembered; its time to live is over and not kept. Its payload is not
    /// validated again. `Ok(false)` when there is none.
    ///
    /// # Errors
    /// When the queue is full or closed, or another job with the same key is live there; the letter stays.
    pub fn redrive(&self) -> Result<bool, Refusal> {
        self.handle.queue.redrive(None, self.handle.clock.now())
    }

    /// Publishes that of `job` again.
    ///
    /// # Errors
    /// As [`redrive`](Self::redrive).
    pub fn redrive_job(&self, job: JobId) -> Result<bool, Refusal> {
        self.handle.queue.redrive(Some(job), self.handle.clock.now())
    }

    /// Publishes those that are there now and `wanted` again, as [`redrive`](Self::redrive) does, oldest first, until each lane is full. Those stay whose key another job has, or for whose key
    /// there is no room. Says how many went.
    ///
    /// `wanted` runs under no lock. While it looks at a letter, that one is out of the others' sight, and its place is kept. It is not asked about letters whose lane was found full, nor about
    /// those that come meanwhile. Those that are [held](Self::held) are among the ones that are there.
    ///
    /// # Complexity
    /// O(log letters) for each that is looked at, and for each that goes.
    ///
    /// # Panics
    /// When `wanted` does; the letter is back in its place then, and those before it have gone.
    ///
    /// ```
    /// use ringmill::{QueueConfig, Runtime};
    ///
    /// let mut builder = Runtime::builder();
    /// let mails = builder.pull_queue::<&str>(QueueConfig::new("mails"))?;
    /// let runtime = builder.build()?;
    /// let (producer, consumer) = (mails.producer()?, mails.consumer()?);
    /// for (mail, error) in [("a", "timeout"), ("b", "no such address"), ("c", "timeout")] {
    ///     producer.publish(mail)?;
    ///     consumer.recv()?.reject(error)?;
    /// }
    /// let letters = mails.dead_letters();
    /// let redriven = letters.redrive_where(|letter| letter.record().last_error.as_deref() == Some("timeout"));
    /// assert_eq!((redriven, letters.len(), mails.depth()), (2, 1, 2));
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn redrive_where(&self, mut wanted: impl FnMut(&DeadLetter<T>) -> bool) -> usize {
        let handle = self.handle;
        let (mut redriven, mut full_lanes, mut round) = (0, 0_u8, handle.queue.round());
        while let Some(letter) = round.next(handle.clock.now()) {
            let lane = letter.lane();
            if full_lanes & 1 << lane != 0 || !wanted(&letter) {
                continue;
            }
            match letter.redrive(handle.clock.now()) {
                Ok(went) => redriven += usize::from(went),
                // another lane may have slots of its own
                Err(Refusal::Full { .. }) => full_lanes |= 1 << lane,
                Err(Refusal::Closed) => break,
                Err(_) => {}
            }
        }
        redriven
    }

    /// Publishes all that are there now again: [`redrive_where`](Self::redrive_where) all are wanted.
    pub fn redrive_all(&self) -> usize {
        self.redrive_where(|_| true)
    }

    /// Drops all that are there now. Says how many.
    pub fn purge(&self) -> usize {
        self.handle.queue.purge_letters(self.handle.clock.now())
    }
}

impl<T: Payload> fmt::Debug for DeadLetterQueue<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetterQueue").field("queue", self.handle).field("len", &self.len()).field("held", &self.held()).finish()
    }
}
