//! A runtime in the making.

use super::exchange::{Exchange, ExchangeConfig};
use super::handle::QueueHandle;
use super::onward::LetterWays;
use super::runtime::Runtime;
use super::snapshot::Exchanges;
use crate::clock::{Clock, ManualClock, SystemClock};
use crate::config::words::choices;
use crate::config::{Overflow, POOL_DEFAULT, QueueConfig, TICK};
use crate::error::{BuildError, ConfigError};
use crate::job::Payload;
use crate::queue::Queue;
use crate::runtime::PoolConfig;
use crate::runtime::handler::Handler;
use crate::runtime::inside::RuntimeId;
use crate::runtime::pool::Pool;
use crate::runtime::probe::Probe;
use crate::runtime::served::{PullQueue, PushQueue, Served};
use crate::runtime::timer::Timer;
use crate::sync::EventCount;
use crate::sync::atomic::{AtomicBool, AtomicU64};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Collects queues and pools, then [builds](RuntimeBuilder::build) the runtime.
///
/// ```
/// use ringmill::{PoolConfig, QueueConfig, Runtime};
///
/// let mut builder = Runtime::builder();
/// let mails = builder.queue(QueueConfig::new("mails").capacity(1024), |to: &String, _: &_| assert!(to.contains('@')))?;
/// builder.pool(PoolConfig::new("default").workers(1))?;
/// let runtime = builder.build()?;
/// mails.producer()?.publish("jo@example.org".to_owned())?;
/// let report = runtime.shutdown(Default::default());
/// assert_eq!(report.queue("mails").unwrap().counts.acked, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RuntimeBuilder {
    clock: Arc<dyn Clock>,
    manual: Option<Arc<ManualClock>>,
    /// What sees the workers' deliveries, in a simulation.
    pub(crate) probe: Probe,
    tick: Duration,
    freeze_after: Duration,
    pub(crate) seed: u64,
    id: RuntimeId,
    timer_bell: Arc<EventCount>,
    timer_until: Arc<AtomicU64>,
    queues: Vec<Declared>,
    exchanges: Exchanges,
    letters: LetterWays,
    pools: BTreeMap<String, PoolConfig>,
    bells: BTreeMap<String, Arc<EventCount>>,
}

/// A queue of a pool, and its share of it.
type Member = (Arc<dyn Served>, u32);

struct Declared {
    queue: Arc<dyn Served>,
    /// The pool that serves it, and its share; `None` for a pull queue.
    pool: Option<(String, u32)>,
    /// It has a runtime.
    built: bool,
}

/// A queue that never gets a runtime refuses publishes: nobody would work on them.
impl Drop for Declared {
    fn drop(&mut self) {
        if !self.built {
            self.queue.close();
            self.queue.stop();
            self.queue.let_go();
            // whoever waits for a job is told
            self.queue.recall();
        }
    }
}

impl RuntimeBuilder {
    pub(super) fn new() -> Self {
        RuntimeBuilder {
            clock: Arc::new(SystemClock::new()),
            manual: None,
            probe: Probe::default(),
            tick: TICK,
            freeze_after: Duration::from_secs(1),
            seed: 0x5EED,
            id: RuntimeId::new(),
            timer_bell: Arc::new(EventCount::new()),
            timer_until: Arc::new(AtomicU64::new(u64::MAX)),
            queues: Vec::new(),
            exchanges: Exchanges::default(),
            letters: LetterWays::default(),
            pools: BTreeMap::new(),
            bells: BTreeMap::new(),
        }
    }

    /// Takes the time from `clock`.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Starts no threads: workers and timer run in [`Runtime::turn`], on `clock`. For tests of timing rules; a gap between two turns then never counts as a
    /// frozen process.
    #[must_use]
    pub fn manual(mut self, clock: Arc<ManualClock>) -> Self {
        self.clock = Arc::clone(&clock) as Arc<dyn Clock>;
        self.manual = Some(clock);
        self.freeze_after = Duration::MAX;
        self
    }

    /// A gap between two looks of the timer that is longer than this counts as a frozen process (suspended, stopped), in which leases do not age. 1 s unless set; for each queue at
    /// least ten of its sweeps, which are an eighth of its visibility timeout and at most 100 ms. [`manual`](Self::manual) switches it off.
    ///
    /// ```
    /// use ringmill::{QueueConfig, Runtime};
    /// use std::time::Duration;
    ///
    /// // half a second without a look of the timer is a pause of the machine; and jitter that is the same in every run
    /// let mut builder = Runtime::builder().freeze_after(Duration::from_millis(500)).seed(7);
    /// let words = builder.queue(QueueConfig::new("words").visibility(Duration::from_millis(400)), |_: &&str, _: &_| ())?;
    /// let runtime = builder.build()?;
    /// words.producer()?.publish("hello")?;
    /// assert!(runtime.shutdown(Default::default()).is_clean());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn freeze_after(mut self, gap: Duration) -> Self {
        self.freeze_after = gap;
        self
    }

    /// The seed of jitter.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Declares a pool, or the settings of the pool `default`. One that no queue with a handler names has no threads, and is in no snapshot.
    ///
    /// # Errors
    /// When a setting is out of range, or the pool was declared before.
    pub fn pool(&mut self, config: PoolConfig) -> Result<&mut Self, ConfigError> {
        config.validate()?;
        let name = config.name.clone();
        if self.pools.insert(name.clone(), config).is_some() {
            return Err(ConfigError::new("runtime", "pool", format_args!("`{name}`, declared twice"), "each pool once"));
        }
        Ok(self)
    }

    /// Declares a queue whose jobs `handler` works on, in the workers of the queue's pool.
    ///
    /// The queues of a runtime, and of one pool, may have any payload types. A handle, its producers and its handler agree on theirs when the program is
    /// compiled:
    ///
    /// ```
    /// use ringmill::{PoolConfig, QueueConfig, Runtime};
    ///
    /// struct Resize { width: u32 }
    /// impl ringmill::Payload for Resize {}
    ///
    /// let mut builder = Runtime::builder();
    /// builder.pool(PoolConfig::new("default").workers(2))?;
    /// // two picks for mails to one for images, while both have jobs
    /// let mails = builder.queue(QueueConfig::new("mails").weight(2), |to: &String, _: &_| assert!(to.contains('@')))?;
    /// let images = builder.queue(QueueConfig::new("images").weight(1), |image: &Resize, _: &_| assert!(image.width > 0))?;
    /// let runtime = builder.build()?;
    /// mails.producer()?.publish("ada@example.org".to_owned())?;
    /// images.producer()?.publish(Resize { width: 640 })?;
    /// let report = runtime.shutdown(Default::default());
    /// assert!(report.is_clean());
    /// assert_eq!((mails.counts().acked, images.counts().acked), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// ```compile_fail,E0277
    /// # use ringmill::{QueueConfig, Runtime};
    /// # let mut builder = Runtime::builder();
    /// let mails = builder.queue(QueueConfig::new("mails"), |to: &String, _: &_| ()).unwrap();
    /// mails.producer().unwrap().publish(640_u32); // no mail
    /// ```
    ///
    /// # Errors
    /// When a setting is out of range, or a queue of that name was declared before.
    pub fn queue<T: Payload, H: Handler<T>>(&mut self, config: QueueConfig, handler: H) -> Result<QueueHandle<T>, ConfigError> {
        let bell = self.bell(&config.pool);
        let queue = self.declare(&config, bell)?;
        let handler = Arc::new(handler);
        let seed = self.seed ^ (self.queues.len() as u64) << 32;
        let push = PushQueue {
            queue: Arc::clone(&queue),
            handler: Arc::clone(&handler),
            runtime: self.id,
            clock: Arc::clone(&self.clock),
            seed,
            probe: self.probe.clone(),
        };
        self.queues.push(Declared { queue: Arc::new(push), pool: Some((config.pool.clone(), config.weight)), built: false });
        // only then do publishers need it; a handler often has a handle of its own queue
        let callers: Option<Arc<dyn Handler<T>>> = if config.overflow == Overflow::CallerRuns { Some(handler) } else { None };
        let handle = QueueHandle::new(queue, Arc::clone(&self.clock), self.id, callers, None);
        self.letters.add_queue(&handle, &config, true);
        Ok(handle)
    }

    /// Declares a queue whose jobs are received by hand, through [`QueueHandle::consumer`].
    ///
    /// # Errors
    /// When a setting is out of range, or a queue of that name was declared before.
    pub fn pull_queue<T: Payload>(&mut self, config: QueueConfig) -> Result<QueueHandle<T>, ConfigError> {
        let bell = Arc::new(EventCount::for_consumers());
        let queue = self.declare(&config, Arc::clone(&bell))?;
        self.queues.push(Declared { queue: Arc::new(PullQueue(Arc::clone(&queue))), pool: None, built: false });
        let handle = QueueHandle::new(queue, Arc::clone(&self.clock), self.id, None, Some(bell));
        self.letters.add_queue(&handle, &config, false);
        Ok(handle)
    }

    /// Declares an exchange, which publishes to queues by routing key. Queues are bound through its handle, before or after the runtime is built.
    ///
    /// # Errors
    /// When its name is empty or too long, its alternate is of another runtime, or an exchange of that name was declared before.
    pub fn exchange<T: Payload>(&mut self, config: ExchangeConfig<T>) -> Result<Exchange<T>, ConfigError> {
        if self.exchanges.iter().any(|declared| declared.name() == config.name()) {
            let value = format_args!("`{}`, declared twice", config.name()).to_string();
            return Err(ConfigError::new("runtime", "exchange", value, "each exchange once"));
        }
        let exchange = Exchange::new(config, self.id, Arc::clone(&self.clock), Arc::clone(&self.letters.map))?;
        self.exchanges.push(Arc::new(exchange.clone()));
        self.letters.add_exchange(&exchange);
        Ok(exchange)
    }

    fn declare<T: Payload>(&mut self, config: &QueueConfig, bell: Arc<EventCount>) -> Result<Arc<Queue<T>>, ConfigError> {
        if self.queues.iter().any(|declared| declared.queue.name() == config.name()) {
            return Err(ConfigError::new("runtime", "queue", format_args!("`{}`, declared twice", config.name()), "each queue once"));
        }
        let (timer_bell, timer_until) = (Arc::clone(&self.timer_bell), Arc::clone(&self.timer_until));
        Ok(Arc::new(Queue::new(config, self.tick, self.freeze_after, bell, timer_bell, timer_until)?))
    }

    fn bell(&mut self, pool: &str) -> Arc<EventCount> {
        Arc::clone(self.bells.entry(pool.to_owned()).or_insert_with(|| Arc::new(EventCount::new())))
    }

    /// Finds the ways of dead letters, and starts the threads.
    ///
    /// # Dead letters that go in a circle
    /// Dead-lettering may lead back to where it began ([`DeadLetterConfig::queue`](crate::DeadLetterConfig::queue),
    /// [`exchange`](crate::DeadLetterConfig::exchange)) only if a handler has a say on the way. A queue passes letters on *by itself* if it drops its oldest when it is full
    /// ([`Overflow::DropOldest`](crate::Overflow::DropOldest)) or has a [`retention`](crate::QueueConfig::retention): a letter that came there may die without having been
    /// delivered. A circle of such queues would never end, and is refused. One with a queue in it in which jobs die by a handler (rejected, failed or overrun too often) is a
    /// retry, and needs a pause: two queues that send their letters to each other at once would run a job that both reject as fast as they can, for ever. So a circle
    /// of any length, be it a queue straight back to itself, is refused too if every letter goes round in it, and there is no `retention`: neither
    /// [of the letters](crate::DeadLetterConfig::retention), after which they go on, nor of a [pull queue](Self::pull_queue) where they wait to go on. (A `retention` of a
    /// queue with a handler is no pause: it says how long a job waits at most, and a worker that is free starts it at once.) (A job's own time to live starts no circle: a letter has it not any more. Nor does
    /// [`Overflow::DropNew`](crate::Overflow::DropNew): a letter that finds no room waits where it is.) Where it depends on a predicate, or on the key that a job came by, where a
    /// letter goes, it is taken to go everywhere it may by itself, and is let be where handlers send it. Bindings that change later are held to the same.
    ///
    /// ```
    /// use ringmill::{DeadLetterConfig, Overflow, QueueConfig, Runtime};
    /// use std::time::Duration;
    ///
    /// let to = |queue: &str| DeadLetterConfig::new().queue(queue);
    /// let mut builder = Runtime::builder();
    /// builder.pull_queue::<u32>(QueueConfig::new("a").overflow(Overflow::DropOldest).dead_letters(to("b")))?;
    /// builder.pull_queue::<u32>(QueueConfig::new("b").overflow(Overflow::DropOldest).dead_letters(to("a")))?;
    /// let error = builder.build().unwrap_err().to_string();
    /// assert!(error.contains("a -> b -> a"));
    ///
    /// // by rejects, too; a pause makes it a retry
    /// let pair = |back: DeadLetterConfig| {
    ///     let mut builder = Runtime::builder();
    ///     builder.pull_queue::<u32>(QueueConfig::new("a").dead_letters(to("b")))?;
    ///     builder.pull_queue::<u32>(QueueConfig::new("b").dead_letters(back))?;
    ///     builder.build()
    /// };
    /// assert!(pair(to("a")).unwrap_err().to_string().contains("`a -> b -> a`, a circle without a pause"));
    /// assert!(pair(to("a").retention(Duration::from_secs(10))).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When a queue names a pool that was not declared; or, for its dead letters, a queue or an exchange that was not, or one of another payload, or a routing key that
    /// leads to several queues; when dead letters would go in a circle by themselves or without a pause; when a pool's workers cannot be placed, or a thread cannot be started. Nothing is
    /// left running.
    pub fn build(mut self) -> Result<Runtime, BuildError> {
        let mut members: BTreeMap<String, Vec<Member>> = BTreeMap::new();
        for declared in &self.queues {
            if let Some((pool, weight)) = &declared.pool {
                members.entry(pool.clone()).or_default().push((Arc::clone(&declared.queue), *weight));
            }
        }
        for pool in members.keys().filter(|pool| *pool != POOL_DEFAULT) {
            if !self.pools.contains_key(pool) {
                let known = choices(pool, self.pools.keys().map(String::as_str).chain([POOL_DEFAULT]));
                return Err(ConfigError::new("runtime", "pool", format_args!("`{pool}`, which was not declared"), known).into());
            }
        }
        let mut pools = Vec::new();
        for (name, queues) in members {
            let config = self.pools.remove(&name).unwrap_or_else(|| PoolConfig::new(name.as_str()));
            let bell = self.bell(&name);
            pools.push(Arc::new(Pool::new(config, bell, queues, Arc::clone(&self.clock), self.manual.is_none())?));
        }
        self.letters.connect(&self.exchanges)?;
        // from here on the runtime closes them, also when it cannot be started
        let queues: Vec<_> = self.queues.iter().map(|declared| Arc::clone(&declared.queue)).collect();
        self.queues.iter_mut().for_each(|declared| declared.built = true);
        let timer = Arc::new(Timer {
            queues: queues.clone(),
            pools: pools.clone(),
            clock: Arc::clone(&self.clock),
            bell: self.timer_bell,
            until: self.timer_until,
            stopping: AtomicBool::new(false),
        });
        Runtime::start(self.id, self.clock, queues, self.exchanges, pools, timer, self.manual)
    }
}

impl fmt::Debug for RuntimeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.queues.iter().map(|declared| declared.queue.name()).collect();
        f.debug_struct("RuntimeBuilder").field("queues", &names).field("pools", &self.pools).finish_non_exhaustive()
    }
}
