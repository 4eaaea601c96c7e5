//! What a topology says, as plain data.

use crate::config::{DeadLetterConfig, QueueConfig};
use crate::exchange::ExchangeKind;
use crate::runtime::PoolConfig;

/// Exchanges, queues, dead-letter queues and pools, as data.
///
/// ```
/// use ringmill::topology::{BindingSpec, ExchangeSpec, QueueSpec, Topology};
/// use ringmill::{Context, ExchangeKind, QueueConfig, Runtime};
///
/// let mut topology = Topology::new();
/// topology.queues.push(QueueSpec::new(QueueConfig::new("invoices").capacity(100)));
/// let mut tasks = ExchangeSpec::new("tasks", ExchangeKind::Topic);
/// tasks.bindings.push(BindingSpec::new("billing.#", "invoices"));
/// topology.exchanges.push(tasks);
///
/// let text = "
///     exchanges = [{ name = 'tasks', type = 'topic', bindings = [{ routing_key = 'billing.#', queue = 'invoices' }] }]
///     queues = [{ name = 'invoices', max_length = 100 }]";
/// assert_eq!(Topology::from_toml(text, "tasks.toml")?, topology);
///
/// let mut builder = Runtime::builder();
/// let declared = topology.declare(&mut builder, |_queue| Some(|_: &u32, _: &Context<u32>| ()))?;
/// let runtime = builder.build()?;
/// let mut publisher = declared.exchange("tasks").unwrap().publisher();
/// publisher.publish("billing.march", 7)?;
/// let report = runtime.shutdown(Default::default());
/// assert_eq!(report.queue("invoices").unwrap().counts.acked, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Topology {
    /// The exchanges, with their bindings.
    pub exchanges: Vec<ExchangeSpec>,
    /// The queues of jobs.
    pub queues: Vec<QueueSpec>,
    /// The queues that keep the dead letters of other queues. In a file these are the queues that another names as its `dlq`.
    pub dead_letter_queues: Vec<DeadLetterQueueSpec>,
    /// The pools. `default` need not be here.
    pub pools: Vec<PoolConfig>,
}

impl Topology {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }
}

/// An exchange and its bindings.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExchangeSpec {
    /// The name.
    pub name: String,
    /// How it reads binding keys.
    pub kind: ExchangeKind,
    /// Whether it should outlive the process. That needs a journal, which there is not yet: [`Topology::validate`] refuses it.
    pub durable: bool,
    /// The exchange that takes what no binding wants.
    pub alternate: Option<String>,
    /// Which keys go where.
    pub bindings: Vec<BindingSpec>,
}

impl ExchangeSpec {
    /// An exchange without bindings.
    pub fn new(name: impl Into<String>, kind: ExchangeKind) -> Self {
        ExchangeSpec { name: name.into(), kind, durable: false, alternate: None, bindings: Vec::new() }
    }
}

/// Which routing keys go to which lane of which queue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BindingSpec {
    /// The binding key; `#` for every key.
    pub routing_key: String,
    /// The name of the queue.
    pub queue: String,
    /// The lane: 0 is the most urgent.
    pub lane: usize,
}

impl BindingSpec {
    /// A binding to the most urgent lane.
    pub fn new(routing_key: impl Into<String>, queue: impl Into<String>) -> Self {
        BindingSpec { routing_key: routing_key.into(), queue: queue.into(), lane: 0 }
    }

    /// The same into another lane.
    #[must_use]
    pub fn lane(mut self, lane: usize) -> Self {
        self.lane = lane;
        self
    }
}

/// A queue of jobs.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct QueueSpec {
    /// Everything about it that a runtime has. Where a `dlq` is named, that one's settings take the place of those for dead letters here.
    pub config: QueueConfig,
    /// Whether it should outlive the process. That needs a journal, which there is not yet: [`Topology::validate`] refuses it.
    pub durable: bool,
    /// The name of the dead-letter queue that keeps its dead letters.
    pub dlq: Option<String>,
}

impl QueueSpec {
    /// A queue whose dead letters are kept as its settings say.
    pub fn new(config: QueueConfig) -> Self {
        QueueSpec { config, durable: false, dlq: None }
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.config.name()
    }
}

/// A queue that keeps the dead letters of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetterQueueSpec {
    /// The name.
    pub name: String,
    /// How many letters it keeps, for how long, what happens when it is full, and where they move on to.
    pub config: DeadLetterConfig,
    /// Whether it should outlive the process. That needs a journal, which there is not yet: [`Topology::validate`] refuses it.
    pub durable: bool,
}

impl DeadLetterQueueSpec {
    /// One that keeps letters as `config` says.
    pub fn new(name: impl Into<String>, config: DeadLetterConfig) -> Self {
        DeadLetterQueueSpec { name: name.into(), config, durable: false }
    }
}
