//! Settings: plain data with one `validate()` each. Setters never panic; what is out of range is named when the runtime is built.

mod buffer;
mod check;
mod dead_letters;
mod publish_breaker;
pub(crate) mod words;

pub use buffer::BufferConfig;
pub use dead_letters::{DeadLetterConfig, DeadLetterOverflow};
pub use publish_breaker::PublishBreaker;

use crate::job::Payload;
use crate::limits;
use crate::retry::Backoff;
use crate::verdict::JobError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The shortest tick, lease and period there is.
///
/// ```
/// use ringmill::{QueueConfig, TICK};
///
/// assert!(QueueConfig::new("q").visibility(TICK).validate().is_ok());
/// assert!(QueueConfig::new("q").visibility(TICK / 2).validate().is_err());
/// ```
pub const TICK: Duration = Duration::from_millis(1);

/// What happens to a publish when every slot is occupied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Overflow {
    /// The job comes back with [`Refusal::Full`](crate::Refusal::Full).
    #[default]
    Reject,
    /// `publish` waits for a slot, at most this long; first come, first served.
    Block(Duration),
    /// The oldest waiting job of the lowest lane goes to the dead letters as over-length and its slot is used.
    ///
    /// No job goes for nothing: where the oldest job of a lane lies in a slot that is [reserved](LaneConfig::reserve) for that lane and the new job is of
    /// another, is still read by a handler that overran its lease, or would be given to a publisher that waits for one, the next lane up is asked. Where none can help, and where the dead letters would
    /// [hold](DeadLetterOverflow::Hold) the old job in its slot, the new job comes back as full.
    DropOldest,
    /// The new job goes to the dead letters as over-length.
    DropNew,
    /// The publisher's own thread runs the handler, once. Not while the queue is paused, or a follow-up of such a job still waits for a slot: then the queue is full.
    ///
    /// Only a publish that may take its time does so. One that does not wait is refused ([`try_publish`](crate::Producer::try_publish), delayed publishes,
    /// [`publish_best_effort`](crate::ExchangePublisher::publish_best_effort)), for a handler may run for as long as it likes; one with a time limit of its own waits for a slot. So is a job that
    /// goes to several queues: what has run cannot be taken back when another queue refuses its copy.
    CallerRuns,
}

/// How a worker chooses among the lanes of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Discipline {
    /// Each lane gets its share, exactly over a full cycle of the weights; an empty lane's share goes on to the others.
    #[default]
    Weighted,
    /// The highest lane first, but a job that has waited this long at the head of its lane is served in turn with it.
    Strict {
        /// The longest a lower lane's head waits while work is done.
        max_wait: Duration,
    },
}

/// One priority of a queue. The first lane of a queue is the most urgent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneConfig {
    pub(crate) name: String,
    pub(crate) weight: u32,
    pub(crate) reserve: u32,
}

impl LaneConfig {
    /// A lane of weight 1 without a reserve.
    pub fn new(name: impl Into<String>) -> Self {
        LaneConfig { name: name.into(), weight: 1, reserve: 0 }
    }

    /// The lane's share of the picks, relative to the other lanes: 1..=1024. Strict lanes make no use of it.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Slots that only this lane may occupy: a flood in the other lanes cannot take them. All reserves together are less than the capacity.
    #[must_use]
    pub fn reserve(mut self, slots: u32) -> Self {
        self.reserve = slots;
        self
    }
}

/// What a custom retry function decides.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryDecision {
    /// Deliver again after this delay.
    After(Duration),
    /// To the dead letters.
    Reject,
    /// Drop the job.
    Discard,
}

/// A custom retry function: `n` is 0 for the first failure.
pub type RetryFn = dyn Fn(u32, &JobError) -> RetryDecision + Send + Sync;

/// How often and how soon a failed job is delivered again.
#[derive(Clone)]
pub struct RetryPolicy {
    pub(crate) max_attempts: u32,
    pub(crate) max_expiries: u32,
    pub(crate) backoff: Backoff,
    pub(crate) decide: Option<Arc<RetryFn>>,
}

impl RetryPolicy {
    /// Five attempts, two expiries, 50 ms doubled up to 30 s with full jitter.
    pub fn new() -> Self {
        RetryPolicy { max_attempts: 5, max_expiries: 2, backoff: Backoff::default(), decide: None }
    }

    /// How many deliveries may fail before the job is dead-lettered: 1..=255. Only failures count.
    #[doc(alias = "delivery_limit")]
    #[doc(alias = "max_retries")]
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// How many leases may run out before the job is dead-lettered: 0..=14. Each may leave a stuck handler behind.
    #[must_use]
    pub fn max_expiries(mut self, expiries: u32) -> Self {
        self.max_expiries = expiries;
        self
    }

    /// The delay between attempts.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Replaces the backoff by a function, called once per failure that leaves attempts over, with n = 0, 1, 2...
    ///
    /// ```
    /// use ringmill::clock::ManualClock;
    /// use ringmill::{JobError, QueueConfig, RetryDecision, RetryPolicy, Runtime};
    /// use std::sync::Arc;
    /// use std::time::Duration;
    ///
    /// let decide = |n: u32, error: &JobError| match (n, error.reason()) {
    ///     (_, "gone") => RetryDecision::Discard,
    ///     (0 | 1, _) => RetryDecision::After(Duration::from_secs(1 << n)),
    ///     _ => RetryDecision::Reject,
    /// };
    /// let retry = RetryPolicy::new().max_attempts(10).max_expiries(0).decide(decide);
    /// let clock = Arc::new(ManualClock::new());
    /// let mut builder = Runtime::builder().manual(clock.clone());
    /// let calls = builder.queue(QueueConfig::new("calls").retry(retry), |what: &String, _: &_| Err::<(), _>(what.clone()))?;
    /// let runtime = builder.build()?;
    /// calls.producer()?.publish_batch(&mut ["busy", "gone"].map(String::from).into_iter());
    /// runtime.advance(&clock, Duration::from_secs(4));
    /// let counts = calls.counts();
    /// assert_eq!((counts.started, counts.retried, counts.dropped_discarded, counts.dead_lettered), (4, 2, 1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn decide(mut self, decide: impl Fn(u32, &JobError) -> RetryDecision + Send + Sync + 'static) -> Self {
        self.decide = Some(Arc::new(decide));
        self
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::new()
    }
}

/// Two policies with a function are equal when it is the same one: a clone's.
impl PartialEq for RetryPolicy {
    fn eq(&self, other: &Self) -> bool {
        let same_function = match (&self.decide, &other.decide) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        same_function && (self.max_attempts, self.max_expiries, &self.backoff) == (other.max_attempts, other.max_expiries, &other.backoff)
    }
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy")
            .field("max_attempts", &self.max_attempts)
            .field("max_expiries", &self.max_expiries)
            .field("backoff", &self.backoff)
            .field("decide", &self.decide.is_some())
            .finish()
    }
}

/// When a job is a duplicate of another with the same [key](crate::Job::key).
///
/// ```
/// use ringmill::clock::ManualClock;
/// use ringmill::{Dedupe, Job, QueueConfig, Runtime};
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// let clock = Arc::new(ManualClock::new());
/// let mut builder = Runtime::builder().manual(clock.clone());
/// let minute = Duration::from_secs(60);
/// let alarms = builder.queue(QueueConfig::new("alarms").dedupe(Dedupe::Window(minute), 1000), |_: &&str, _: &_| ())?;
/// let runtime = builder.build()?;
/// let producer = alarms.producer()?;
/// producer.publish(Job::new("disk full").key("disk"))?;
/// runtime.advance(&clock, minute / 2);
/// assert_eq!(alarms.counts().acked, 1); // done, and still remembered
/// assert!(producer.publish(Job::new("disk full").key("disk")).unwrap_err().is_duplicate());
/// runtime.advance(&clock, minute / 2);
/// assert!(producer.publish(Job::new("disk full").key("disk")).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dedupe {
    /// While the other one is live: from its acceptance to its end, however it ends. Acked, discarded, cancelled, purged, dead-lettered and handed back are
    /// ends; retries, snoozes and waiting for room among the dead letters are not. A dead letter that is redriven is live again.
    WhileLive,
    /// So long after the other one was accepted, whatever became of it since: 1 ms to 1 year. A job that lives longer than that can have a sibling. Redriving
    /// a dead letter is no publish: it asks for no window and opens none.
    Window(Duration),
    /// Of a burst the last, when it is over: a job is ready when nothing more was published with its key for so long, 1 ms to 1 year. Until then a publish with the key is no
    /// refusal: its payload, with its time to live and visibility timeout, takes the place of the one that waits, and the job is put off: ready so long after *this*
    /// publish, or when it was asked for ([`publish_after`](crate::Producer::publish_after)), whichever is later. It keeps its id, slot and lane, and the publish returns its id; the payload that had to go is dropped, and counted as
    /// [`replaced`](crate::Counts::replaced). Such a publish needs no slot, so a full queue refuses none. Its lane, [partition key](crate::Job::partition_key) and routing key stay those of the first. A
    /// [watched](crate::Producer::watched) publish replaces nothing and is refused as a duplicate: the job that waits has an end of its own.
    /// The copies of a job that an exchange sends to several queues do the same, each in its queue; or none does, when one of the queues refuses.
    ///
    /// The window ends when the job becomes ready, or ends before that. From then on the key is free: the next publish opens another window, whatever became of the job. A key that
    /// is published again and again within its window puts its job off for ever; [`KeepLast`](Self::KeepLast) does not. Redriving a dead letter opens no window.
    #[doc(alias = "extend")]
    Debounce(Duration),
    /// Of so long a time the last: as [`Debounce`](Self::Debounce), but not put off: the job is ready so long after the *first* publish, with the newest payload; or later, if one of
    /// them asked for that. So in each window one job waits, and a key makes at most one job in that time.
    #[doc(alias = "throttle")]
    #[doc(alias = "coalesce")]
    KeepLast(Duration),
}

/// What becomes of the other jobs of a [partition key](crate::Job::partition_key) while one of them waits for a retry or a snooze.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OrderPolicy {
    /// They wait too, behind it: no job of the key overtakes another. Other keys of the same partition go on.
    #[default]
    BlockKey,
    /// They go on. The one that waited takes its place anew, behind those that are there when its time has come.
    Skip,
}

/// The settings of one queue.
///
/// ```
/// use ringmill::{LaneConfig, Overflow, QueueConfig, RetryPolicy};
/// use std::time::Duration;
///
/// let config = QueueConfig::new("billing")
///     .capacity(50_000)
///     .lanes([LaneConfig::new("critical").weight(6).reserve(100), LaneConfig::new("default").weight(3)])
///     .overflow(Overflow::Reject)
///     .visibility(Duration::from_secs(30))
///     .retry(RetryPolicy::new().max_attempts(5));
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct QueueConfig {
    pub(crate) name: String,
    pub(crate) capacity: u64,
    pub(crate) lanes: Vec<LaneConfig>,
    pub(crate) discipline: Discipline,
    pub(crate) overflow: Overflow,
    pub(crate) publish_breaker: Option<PublishBreaker>,
    pub(crate) visibility: Duration,
    /// `None`: ten minutes, or the visibility timeout if that is longer.
    pub(crate) max_lease: Option<Duration>,
    pub(crate) retry: RetryPolicy,
    pub(crate) dead_letters: DeadLetterConfig,
    pub(crate) retention: Option<Duration>,
    pub(crate) dedupe: Option<(Dedupe, u64)>,
    pub(crate) completed: Option<(u64, Duration)>,
    pub(crate) partitions: Option<u32>,
    pub(crate) order: OrderPolicy,
    pub(crate) redeliver_overrun: bool,
    pub(crate) watermarks: (u32, u32),
    pub(crate) prefetch: Option<u32>,
    pub(crate) pool: String,
    pub(crate) weight: u32,
}

impl QueueConfig {
    /// A queue of 65 536 slots with one lane and every default.
    pub fn new(name: impl Into<String>) -> Self {
        QueueConfig {
            name: name.into(),
            capacity: u64::from(limits::CAPACITY_DEFAULT),
            lanes: vec![LaneConfig::new("default")],
            discipline: Discipline::Weighted,
            overflow: Overflow::Reject,
            publish_breaker: None,
            visibility: Duration::from_secs(30),
            max_lease: None,
            retry: RetryPolicy::new(),
            dead_letters: DeadLetterConfig::new(),
            retention: None,
            dedupe: None,
            completed: None,
            partitions: None,
            order: OrderPolicy::BlockKey,
            redeliver_overrun: false,
            watermarks: (60, 80),
            prefetch: None,
            pool: POOL_DEFAULT.to_owned(),
            weight: 1,
        }
    }

    /// How many jobs the queue holds, exactly: 1..=16777215. Ready, claimed, running, delayed, held and lingering jobs count.
    #[must_use]
    pub fn capacity(mut self, jobs: u64) -> Self {
        self.capacity = jobs;
        self
    }

    /// The lanes, most urgent first: 1..=8.
    #[must_use]
    pub fn lanes(mut self, lanes: impl IntoIterator<Item = LaneConfig>) -> Self {
        self.lanes = lanes.into_iter().collect();
        self
    }

    /// How workers choose among the lanes.
    ///
    /// ```
    /// use ringmill::{Discipline, LaneConfig, QueueConfig, Runtime};
    /// use std::time::Duration;
    ///
    /// let lanes = [LaneConfig::new("urgent"), LaneConfig::new("bulk")];
    /// let strict = Discipline::Strict { max_wait: Duration::from_secs(60) };
    /// let mut builder = Runtime::builder();
    /// let mails = builder.pull_queue::<u32>(QueueConfig::new("mails").lanes(lanes).discipline(strict))?;
    /// let runtime = builder.build()?;
    /// let (producer, consumer) = (mails.producer()?, mails.consumer()?);
    /// for n in 0..6 {
    ///     producer.publish(ringmill::Job::new(n).lane(n as usize % 2))?;
    /// }
    /// for n in [0, 2, 4, 1, 3, 5] { // all that is urgent first
    ///     let delivery = consumer.recv()?;
    ///     assert_eq!(*delivery, n);
    ///     delivery.ack()?;
    /// }
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn discipline(mut self, discipline: Discipline) -> Self {
        self.discipline = discipline;
        self
    }

    /// What happens when the queue is full.
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// A publisher that finds the queue full again and again stops asking for a while: its breaker opens, and its publishes are refused at once, as
    /// [`BreakerOpen`](crate::Refusal::BreakerOpen) with the time that is left. None unless set.
    ///
    /// Each publishing handle (a [`Producer`](crate::Producer); an exchange's publisher has one for each queue) has a breaker of its own, and knows only its own answers.
    ///
    /// - It **opens** when so many publishes found the queue full ([`Full`](crate::Refusal::Full), or [`TimedOut`](crate::Refusal::TimedOut)) within the time that is set, with
    ///   none of the handle's accepted between them. Other refusals (an invalid payload, a duplicate) are of no account.
    /// - **While it is open** nothing is touched: no slot is looked for, none is reserved, no job is evicted, nobody waits, no handler runs in the publisher's thread, whatever the
    ///   [`Overflow`] policy, and no payload is replaced that waits out a window. A batch ends there. A fan-out is refused as a whole, and one by
    ///   best effort misses the queue. [`Permits`](crate::Permits) that the handle has stay good. A closed queue still says so.
    /// - Then the next publish (of a batch, its first chain) is a **probe**, and goes the way it always would. If it is accepted the breaker closes; if the queue is full it is open as long again; if it is refused
    ///   for another reason, or given up, the next one is the probe.
    ///
    /// What the runtime publishes itself knows no breaker: follow-ups, periodic jobs, dead letters that move on or are redriven. Nobody is there who could wait.
    ///
    /// A publish that is accepted pays for the question whether the breaker is closed, and writes nothing for it.
    ///
    /// ```
    /// use ringmill::clock::ManualClock;
    /// use ringmill::{PublishBreaker, QueueConfig, Refusal, Runtime};
    /// use std::sync::Arc;
    /// use std::time::Duration;
    ///
    /// let second = Duration::from_secs(1);
    /// let clock = Arc::new(ManualClock::new());
    /// let mut builder = Runtime::builder().manual(clock.clone());
    /// let breaker = PublishBreaker::new().failures(2).within(second).open(5 * second);
    /// let numbers = builder.pull_queue::<u32>(QueueConfig::new("numbers").capacity(1).publish_breaker(breaker))?;
    /// let runtime = builder.build()?;
    /// let (producer, consumer) = (numbers.producer()?, numbers.consumer()?);
    /// producer.publish(1)?;
    /// assert!(producer.publish(2).unwrap_err().is_full());
    /// assert!(producer.publish(2).unwrap_err().is_full());
    /// consumer.try_recv()?.ack()?; // there is room, and it is not asked for
    /// runtime.advance(&clock, 2 * second);
    /// let error = producer.publish(2).unwrap_err();
    /// assert!(error.is_breaker_open());
    /// assert_eq!(*error.refusal(), Refusal::BreakerOpen { retry_after: 3 * second });
    /// runtime.advance(&clock, 3 * second);
    /// producer.publish(error.into_job())?; // the probe
    /// assert_eq!(numbers.counts().rejected_breaker, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "circuit_breaker")]
    #[must_use]
    pub fn publish_breaker(mut self, breaker: PublishBreaker) -> Self {
        self.publish_breaker = Some(breaker);
        self
    }

    /// How long a handler may run before its job is delivered again: 1 ms to 1 year. The clock starts when the handler starts.
    #[doc(alias = "AckWait")]
    #[doc(alias = "lock_duration")]
    #[must_use]
    pub fn visibility(mut self, visibility: Duration) -> Self {
        self.visibility = visibility;
        self
    }

    /// How long one delivery may last with all its extensions: the visibility timeout to 1 year. Ten minutes unless set, or the visibility timeout if that is longer.
    #[must_use]
    pub fn max_lease(mut self, max_lease: Duration) -> Self {
        self.max_lease = Some(max_lease);
        self
    }

    /// How failed jobs are retried.
    #[must_use]
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Where jobs go that will not be delivered again.
    #[must_use]
    pub fn dead_letters(mut self, dead_letters: DeadLetterConfig) -> Self {
        self.dead_letters = dead_letters;
        self
    }

    /// How long a job waits here for its start that came as a dead letter of another queue: 1 ms to 10 years. Then it expires, as with a [`Job::ttl`](crate::Job::ttl),
    /// into this queue's own dead letters. Without it such a job waits as long as it takes; jobs that are published here wait as they say themselves.
    #[must_use]
    pub fn retention(mut self, age: Duration) -> Self {
        self.retention = Some(age);
        self
    }

    /// Accepts one job of those with the same [key](crate::Job::key), and refuses the others as [`Duplicate`](crate::Refusal::Duplicate), or, as the mode says, lets the newest
    /// take the place of the one that waits. At most `bound` keys
    /// are remembered, 1..=16777215; one more is [`TooManyKeys`](crate::Refusal::TooManyKeys). The memory for them is reserved at once, about 56 bytes each, and
    /// 32 for each slot.
    ///
    /// A bound of the queue's capacity or more is never met by [`Dedupe::WhileLive`] (but for jobs that run in their publishers' threads, see
    /// [`Overflow::CallerRuns`]). [`Dedupe::Window`] needs one for every job with a key that is accepted within the window.
    ///
    /// # Blocking
    /// The publish and the end of a job with a key take one of 64 locks, for a look into a table. Jobs without a key take none. Under [`Dedupe::Debounce`] and
    /// [`Dedupe::KeepLast`] a publish with a key also waits for the timer's turn at this queue to end, if one is under way.
    #[doc(alias = "unique")]
    #[must_use]
    pub fn dedupe(mut self, mode: Dedupe, bound: u64) -> Self {
        self.dedupe = Some((mode, bound));
        self
    }

    /// Remembers the last `count` jobs that ended, 1..=16777215, none for longer than `age`: see [`CompletedJob`](crate::CompletedJob), and
    /// [`QueueHandle::completed`](crate::QueueHandle::completed). None unless set. Memory is taken as it is needed, about 48 bytes a record.
    ///
    /// # Blocking
    /// The end of every job takes one lock then. A queue without records pays nothing for them.
    #[doc(alias = "retention")]
    #[must_use]
    pub fn completed_records(mut self, count: u64, age: Duration) -> Self {
        self.completed = Some((count, age));
        self
    }

    /// Keeps jobs with a [partition key](crate::Job::partition_key) in order, each key in one of `count` partitions: a power of two, 1..=4096. Sixteen for each
    /// worker or more keep all of them busy.
    ///
    /// # Guarantees
    /// - Jobs of one key are delivered in the order in which their publishes took effect: that of one publisher in the order of its calls, that of several in some
    ///   order. A delayed job takes its place when its time has come, a redriven one when it is redriven.
    /// - No key is worked on twice at a time: the next job of a key is delivered when the one before has ended, by whatever end, or waits under
    ///   [`OrderPolicy::Skip`]. What its handler wrote is visible to the next.
    /// - **A lease that runs out is reported, and not revoked**: the handler may be running still, so the key stays blocked until it has returned, and its verdict
    ///   counts. A delivery that is [forgotten](std::mem::forget) blocks its key for good. [`redeliver_overrun`](Self::redeliver_overrun) says otherwise.
    /// - Between keys there is no order, nor between jobs with a key and jobs without; the lanes share the workers as always. Within a key order is above the lane:
    ///   an urgent job waits for a less urgent one that was published before it.
    ///
    /// # How it runs
    /// A partition runs one job at a time, so keys that share one take turns. Each worker looks first after the partitions at home with it, and then after all: adding a worker to
    /// n moves about 1/(n + 1) of them. A waiting job that is cancelled, or whose time to live ends, keeps its slot until its turn comes.
    ///
    /// # Progress
    /// Publishing stays lock-free: a publisher stopped anywhere holds up nobody else. A worker takes the lock of one partition, for a few steps, when more than one
    /// job waits there. [`Overflow::DropOldest`] looks at every partition when the queue is full.
    ///
    /// A queue with [`Overflow::CallerRuns`] can have none: a publisher that runs a job would overtake others of its key.
    #[must_use]
    pub fn partitions(mut self, count: u32) -> Self {
        self.partitions = Some(count);
        self
    }

    /// What becomes of the other jobs of a partition key while one of them waits for a retry. Of no account without [`partitions`](Self::partitions).
    #[must_use]
    pub fn order(mut self, policy: OrderPolicy) -> Self {
        self.order = policy;
        self
    }

    /// Delivers a job with a partition key again when its lease has run out, as other jobs are: the handler that overran it may then be at work beside the next
    /// one. What they write can be told apart by [`Context::fencing`](crate::Context::fencing).
    ///
    /// ```
    /// use ringmill::clock::ManualClock;
    /// use ringmill::{Job, QueueConfig, Runtime};
    /// use std::sync::Arc;
    /// use std::time::Duration;
    ///
    /// for redeliver in [false, true] {
    ///     let clock = Arc::new(ManualClock::new());
    ///     let mut builder = Runtime::builder().manual(clock.clone());
    ///     let config = QueueConfig::new("orders").partitions(8).visibility(Duration::from_secs(10)).redeliver_overrun(redeliver);
    ///     let orders = builder.pull_queue::<&str>(config)?;
    ///     let runtime = builder.build()?;
    ///     orders.producer()?.publish(Job::new("paid").partition_key("order-42"))?;
    ///     let consumer = orders.consumer()?;
    ///     let overrun = consumer.recv()?;
    ///     runtime.advance(&clock, Duration::from_secs(20));
    ///     assert_eq!(consumer.try_recv().is_ok(), redeliver);
    ///     drop(overrun);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn redeliver_overrun(mut self, redeliver: bool) -> Self {
        self.redeliver_overrun = redeliver;
        self
    }

    /// The depths, in per cent of the capacity, below and above which the queue signals relief and pressure. The depth is sampled: once a sweep, an eighth of the
    /// visibility timeout and at most 100 ms. See [`QueueHandle::on_pressure`](crate::QueueHandle::on_pressure).
    #[must_use]
    pub fn watermarks(mut self, low_percent: u32, high_percent: u32) -> Self {
        self.watermarks = (low_percent, high_percent);
        self
    }

    /// How many jobs a worker claims ahead, 1..=32. Without it the worker claims about 100 us of work.
    #[doc(alias = "QoS")]
    #[must_use]
    pub fn prefetch(mut self, jobs: u32) -> Self {
        self.prefetch = Some(jobs);
        self
    }

    /// The pool whose workers serve this queue.
    #[must_use]
    pub fn pool(mut self, name: impl Into<String>) -> Self {
        self.pool = name.into();
        self
    }

    /// The queue's share of its pool's picks, relative to the pool's other queues: 1..=1024.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The longest a delivery may be extended to.
    pub(crate) fn longest_lease(&self) -> Duration {
        self.max_lease.unwrap_or(Duration::from_secs(600).max(self.visibility))
    }
}

/// The pool that serves queues which name none.
///
/// ```
/// use ringmill::{POOL_DEFAULT, PoolConfig, QueueConfig, Runtime};
///
/// let mut builder = Runtime::builder();
/// builder.pool(PoolConfig::new(POOL_DEFAULT).workers(2))?;
/// builder.queue(QueueConfig::new("words"), |_: &&str, _: &_| ())?;
/// let runtime = builder.build()?;
/// assert_eq!(runtime.snapshot().pools[0].name, POOL_DEFAULT);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub const POOL_DEFAULT: &str = "default";

/// The longest lease, wait and period: a year of 365 days.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A payload check as a function pointer, so that queues of any payload share one publish path.
pub(crate) fn validate_payload<T: Payload>(payload: &T) -> Result<(), String> {
    match crate::sync::contain(|| payload.validate()) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(invalid)) => Err(invalid.reason().to_owned()),
        Err(message) => Err(format!("validate panicked: {message}")),
    }
}
