//! A queue, by its handle.

use super::consumer::Consumer;
use super::letters::DeadLetterQueue;
use super::producer::Producer;
use super::snapshot::{self, QueueSnapshot};
use crate::clock::Clock;
use crate::completion::CompletedJob;
use crate::dead_letter::DeadLetter;
use crate::error::HandleError;
use crate::id::JobId;
use crate::job::Payload;
use crate::ledger::Counts;
use crate::queue::{Pressure, Queue, Undone};
use crate::runtime::handler::Handler;
use crate::runtime::inside::{self, RuntimeId};
use crate::runtime::served::PullQueue;
use crate::sync::EventCount;
use std::fmt;
use std::sync::Arc;

/// One queue of a runtime: makes producers and consumers, and operates it.
///
/// Handles may outlive the runtime; publishes are refused then.
pub struct QueueHandle<T> {
    pub(crate) queue: Arc<Queue<T>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) runtime: RuntimeId,
    pub(super) handler: Option<Arc<dyn Handler<T>>>,
    /// Of a pull queue: where its consumers sleep.
    pub(super) bell: Option<Arc<EventCount>>,
}

impl<T> Clone for QueueHandle<T> {
    fn clone(&self) -> Self {
        QueueHandle {
            queue: Arc::clone(&self.queue),
            clock: Arc::clone(&self.clock),
            runtime: self.runtime,
            handler: self.handler.clone(),
            bell: self.bell.clone(),
        }
    }
}

impl<T: Payload> QueueHandle<T> {
    pub(super) fn new(
        queue: Arc<Queue<T>>,
        clock: Arc<dyn Clock>,
        runtime: RuntimeId,
        handler: Option<Arc<dyn Handler<T>>>,
        bell: Option<Arc<EventCount>>,
    ) -> Self {
        QueueHandle { queue, clock, runtime, handler, bell }
    }

    /// The queue's name.
    pub fn name(&self) -> &str {
        &self.queue.settings.name
    }

    /// How many jobs it holds.
    pub fn capacity(&self) -> u32 {
        self.queue.capacity()
    }

    /// How many slots are occupied. May change at any time; exact while nothing is in motion.
    pub fn depth(&self) -> u32 {
        self.queue.occupied()
    }

    /// Everything that was counted since the start, without the gauges and histograms of a [snapshot](crate::Runtime::snapshot). May grow at any time; exact while
    /// nothing is in motion.
    ///
    /// # Complexity
    /// O(producers, workers and consumers).
    pub fn counts(&self) -> Counts {
        self.queue.ledger.counts()
    }

    /// A producer: one per publishing thread.
    ///
    /// # Errors
    /// When the queue has [`limits::ACCOUNTS_MAX`](crate::limits::ACCOUNTS_MAX) handles.
    pub fn producer(&self) -> Result<Producer<T>, HandleError> {
        Producer::open(self.clone())
    }

    /// A consumer of a pull queue.
    ///
    /// # Errors
    /// When the queue has a handler, or as many handles or consumers as it can have.
    pub fn consumer(&self) -> Result<Consumer<T>, HandleError> {
        Consumer::open(self.clone())
    }

    /// Counts, gauges and histograms of this queue, also after the runtime is gone.
    ///
    /// # Complexity
    /// O(capacity): the slots' phases are counted one by one.
    pub fn snapshot(&self) -> QueueSnapshot {
        snapshot::of_queue(&PullQueue(Arc::clone(&self.queue)), self.clock.now())
    }

    /// Cancels a job: a waiting or delayed one is never delivered, and dropped by whoever comes to it, so not while the queue is paused or nobody takes jobs; a running one
    /// is told through its [`Context`](crate::Context) and will not be delivered again. False when the queue has no such job any more, or it
    /// is about to end: it was cancelled already, or is dead and waits for room among the dead letters.
    ///
    /// # Complexity
    /// O(capacity): the slots are searched.
    pub fn cancel(&self, job: JobId) -> bool {
        self.queue.cancel(job)
    }

    /// Starts no job until [`resume`](Self::resume). Running handlers go on; publishes are accepted.
    ///
    /// ```
    /// use ringmill::{QueueConfig, Runtime};
    ///
    /// let mut builder = Runtime::builder();
    /// let words = builder.pull_queue::<&str>(QueueConfig::new("words"))?;
    /// let runtime = builder.build()?;
    /// let (producer, consumer) = (words.producer()?, words.consumer()?);
    /// words.pause();
    /// producer.publish("hello")?; // publishing goes on
    /// assert!(consumer.try_recv().is_err());
    /// words.resume();
    /// let delivery = consumer.try_recv()?;
    /// assert_eq!(*delivery, "hello");
    /// delivery.ack()?;
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pause(&self) {
        self.queue.set_paused(true);
    }

    /// Starts jobs again.
    pub fn resume(&self) {
        self.queue.set_paused(false);
    }

    /// Drops every job that waits now (not the running and delayed ones), and says how many; what is published meanwhile stays. Their drops run in the caller's thread.
    ///
    /// ```
    /// use ringmill::{QueueConfig, Runtime};
    ///
    /// let mut builder = Runtime::builder();
    /// let words = builder.pull_queue::<&str>(QueueConfig::new("words"))?;
    /// let runtime = builder.build()?;
    /// let (producer, consumer) = (words.producer()?, words.consumer()?);
    /// producer.publish_batch(&mut ["hello", "old", "world"].into_iter());
    /// let running = consumer.try_recv()?;
    /// assert_eq!(words.purge(), 2);
    /// running.ack()?; // what runs is left alone
    /// assert_eq!((words.depth(), words.counts().dropped()), (0, 2));
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn purge(&self) -> usize {
        self.queue.purge(self.clock.now())
    }

    /// How full the queue is, with hysteresis, as of the last sweep.
    pub fn pressure(&self) -> Pressure {
        self.queue.pressure()
    }

    /// Calls `callback` once at every watermark crossing, as [`pressure`](Self::pressure) sees it: the depth is looked at once a sweep (an eighth of the visibility timeout, at most
    /// 100 ms), and what comes and goes in between is no crossing.
    ///
    /// Whoever comes by first calls it, one at a time: a worker between two jobs; a consumer that looks for one; or, as the others may all be busy, a publisher that
    /// finds the queue full, whether it is refused, makes room, or waits for a slot, for which it is woken (a task: polled). A handler that publishes does not. No lock of
    /// this crate is held meanwhile; but a caller who publishes under a lock of his own must not have `callback` take that one. Whoever calls it goes on when it
    /// returns: it should be short. If nobody takes jobs, and nobody publishes to the full queue, nobody calls.
    ///
    /// ```
    /// use ringmill::clock::ManualClock;
    /// use ringmill::{Pressure, QueueConfig, Runtime};
    /// use std::sync::{Arc, Mutex};
    /// use std::time::Duration;
    ///
    /// let clock = Arc::new(ManualClock::new());
    /// let mut builder = Runtime::builder().manual(clock.clone());
    /// let words = builder.queue(QueueConfig::new("words").capacity(10).watermarks(20, 50), |_: &&str, _: &_| ())?;
    /// let runtime = builder.build()?;
    /// let heard = Arc::new(Mutex::new(Vec::new()));
    /// let log = heard.clone();
    /// words.on_pressure(move |pressure| log.lock().unwrap().push(pressure));
    /// words.pause();
    /// words.producer()?.publish_batch(&mut ["word"; 8].into_iter());
    /// runtime.advance(&clock, Duration::from_secs(1));
    /// assert_eq!(words.pressure(), Pressure::High);
    /// words.resume();
    /// runtime.advance(&clock, Duration::from_secs(1));
    /// assert_eq!(words.pressure(), Pressure::Low);
    /// assert_eq!(*heard.lock().unwrap(), [Pressure::High, Pressure::Low]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_pressure(&self, callback: impl Fn(Pressure) + Send + Sync + 'static) {
        self.queue.on_pressure(Arc::new(callback), inside::in_a_handler);
    }

    /// Gives every dead letter that finds the dead-letter queue full to `callback`, in the thread that ended the job, instead of holding it or dropping an old one.
    /// Jobs that are held already are given to it at once, in the caller's thread.
    ///
    /// ```
    /// use ringmill::{DeadLetterConfig, QueueConfig, Runtime};
    /// use std::sync::{Arc, Mutex};
    ///
    /// let mut builder = Runtime::builder();
    /// let letters = DeadLetterConfig::new().capacity(1);
    /// let words = builder.pull_queue::<&str>(QueueConfig::new("words").dead_letters(letters))?;
    /// let runtime = builder.build()?;
    /// let elsewhere = Arc::new(Mutex::new(Vec::new()));
    /// let log = elsewhere.clone();
    /// words.on_dead_letter_overflow(move |letter| log.lock().unwrap().push(letter.into_payload()));
    /// let (producer, consumer) = (words.producer()?, words.consumer()?);
    /// for word in ["first", "second"] {
    ///     producer.publish(word)?;
    ///     consumer.recv()?.reject("no such word")?;
    /// }
    /// assert_eq!(words.dead_letters().len(), 1);
    /// assert_eq!(*elsewhere.lock().unwrap(), ["second"]);
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_dead_letter_overflow(&self, callback: impl Fn(DeadLetter<T>) + Send + Sync + 'static) {
        self.queue.on_dead_letter(Arc::new(callback), self.clock.now());
    }

    /// The jobs that ended lately, the latest last, as far as the queue keeps [completed records](crate::QueueConfig::completed_records).
    ///
    /// ```
    /// use ringmill::clock::ManualClock;
    /// use ringmill::{End, QueueConfig, Runtime};
    /// use std::sync::Arc;
    /// use std::time::Duration;
    ///
    /// let hour = Duration::from_secs(3600);
    /// let clock = Arc::new(ManualClock::new());
    /// let mut builder = Runtime::builder().manual(clock.clone());
    /// let mails = builder.queue(QueueConfig::new("mails").completed_records(2, hour), |_: &&str, _: &_| ())?;
    /// let runtime = builder.build()?;
    /// let producer = mails.producer()?;
    /// let ids = ["ada", "bob", "eve"].map(|to| producer.publish(to).unwrap());
    /// runtime.turn();
    /// assert_eq!(mails.completed().iter().map(|record| record.job).collect::<Vec<_>>(), ids[1..]);
    /// assert_eq!(mails.completed_job(ids[2]).unwrap().end, End::Acked);
    /// runtime.advance(&clock, hour);
    /// assert!(mails.completed().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Complexity
    /// O(count), under the lock that the end of every job takes.
    pub fn completed(&self) -> Vec<CompletedJob> {
        self.queue.completed(self.clock.now())
    }

    /// The latest record of a job that ended lately.
    ///
    /// # Complexity
    /// O(count), from the latest on, under the lock that the end of every job takes.
    pub fn completed_job(&self, job: JobId) -> Option<CompletedJob> {
        self.queue.completed_job(job, self.clock.now())
    }

    /// The dead letters.
    pub fn dead_letters(&self) -> DeadLetterQueue<'_, T> {
        DeadLetterQueue { handle: self }
    }

    /// After shutdown: jobs that have come back since, by value: running ones that asked for another attempt, and publishes that met the shutdown.
    ///
    /// ```
    /// use ringmill::{QueueConfig, Runtime, ShutdownOptions};
    /// use std::time::Duration;
    ///
    /// let mut builder = Runtime::builder();
    /// let words = builder.pull_queue::<&str>(QueueConfig::new("words"))?;
    /// let runtime = builder.build()?;
    /// words.producer()?.publish("hello")?;
    /// let delivery = words.consumer()?.try_recv()?;
    /// let report = runtime.shutdown(ShutdownOptions::new(Duration::ZERO, Duration::ZERO));
    /// assert_eq!(report.running().len(), 1);
    /// assert_eq!((report.undone_count(), words.reclaim().len()), (0, 0)); // somebody has it in hand
    /// delivery.retry("not today")?;
    /// assert_eq!(words.reclaim()[0].payload, "hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reclaim(&self) -> Vec<Undone<T>> {
        if self.queue.is_stopped() { self.queue.hand_back() } else { Vec::new() }
    }
}

impl<T> fmt::Debug for QueueHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QueueHandle").field(&self.queue.settings.name).finish()
    }
}
