//! From data to a runtime.

use super::data::{DeadLetterQueueSpec, ExchangeSpec, QueueSpec, Topology};
use super::fault::{Fault, TopologyError};
use crate::error::ConfigError;
use crate::face::{Binding, Exchange, ExchangeConfig, QueueHandle, RuntimeBuilder};
use crate::job::Payload;
use crate::runtime::{Context, Handler};
use crate::verdict::Verdict;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// The handles of what a topology declared.
pub struct Declared<T: Payload> {
    queues: BTreeMap<String, QueueHandle<T>>,
    exchanges: BTreeMap<String, Exchange<T>>,
}

impl<T: Payload> Declared<T> {
    /// The queue of this name. A dead-letter queue is no queue of its own: see [`QueueHandle::dead_letters`] of the queue that it serves.
    pub fn queue(&self, name: &str) -> Option<&QueueHandle<T>> {
        self.queues.get(name)
    }

    /// The exchange of this name.
    pub fn exchange(&self, name: &str) -> Option<&Exchange<T>> {
        self.exchanges.get(name)
    }

    /// Every queue, by name.
    pub fn queues(&self) -> impl Iterator<Item = &QueueHandle<T>> {
        self.queues.values()
    }

    /// Every exchange, by name.
    pub fn exchanges(&self) -> impl Iterator<Item = &Exchange<T>> {
        self.exchanges.values()
    }
}

impl<T: Payload> fmt::Debug for Declared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (queues, exchanges): (Vec<_>, Vec<_>) = (self.queues.keys().collect(), self.exchanges.keys().collect());
        f.debug_struct("Declared").field("queues", &queues).field("exchanges", &exchanges).finish()
    }
}

impl Topology {
    /// Declares pools, queues, exchanges and bindings in a runtime in the making. `handler` is asked once for each queue; where it has none, the queue is one to
    /// receive from by hand ([`QueueHandle::consumer`]), and its pool and weight count for nothing.
    ///
    /// All queues and exchanges of one topology have payloads of one type, `T`; what leads to each other must. For payloads of several types there are two ways: a topology for each
    /// type, all declared in one builder, as below; or an enum of them as `T`. Names are given once over all topologies of a builder, and a queue names a
    /// pool of its own topology, or `default`.
    ///
    /// Handlers of different types are boxed: `Box<dyn Fn(&T, &Context<T>) -> Verdict + Send + Sync>` is one.
    ///
    /// ```
    /// use ringmill::topology::Topology;
    /// use ringmill::{Context, Runtime};
    ///
    /// let (texts, numbers) = ("queues: [{ name: mails }]", "queues: [{ name: bills }]");
    /// let mut builder = Runtime::builder();
    /// let mail = |_: &_| Some(|mail: &String, _: &Context<String>| assert_eq!(mail, "hello"));
    /// let texts = Topology::from_yaml(texts, "texts.yaml")?.declare(&mut builder, mail)?;
    /// let bill = |_: &_| Some(|bill: &u64, _: &Context<u64>| assert_eq!(*bill, 7));
    /// let numbers = Topology::from_yaml(numbers, "numbers.yaml")?.declare(&mut builder, bill)?;
    /// let runtime = builder.build()?;
    /// texts.queue("mails").unwrap().producer()?.publish("hello".to_owned())?;
    /// numbers.queue("bills").unwrap().producer()?.publish(7)?;
    /// let report = runtime.shutdown(Default::default());
    /// assert!(["mails", "bills"].iter().all(|name| report.queue(name).unwrap().counts.acked == 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`validate`](Self::validate), and when the builder has a pool, queue or exchange of the same name already; some may have been declared then.
    pub fn declare<T: Payload, H: Handler<T>>(
        &self,
        builder: &mut RuntimeBuilder,
        mut handler: impl FnMut(&QueueSpec) -> Option<H>,
    ) -> Result<Declared<T>, TopologyError> {
        self.validate()?;
        let mut declared = Declared { queues: BTreeMap::new(), exchanges: BTreeMap::new() };
        for pool in &self.pools {
            builder.pool(pool.clone()).map_err(refused)?;
        }
        let kept: HashMap<&str, &DeadLetterQueueSpec> = self.dead_letter_queues.iter().map(|kept| (kept.name.as_str(), kept)).collect();
        for queue in &self.queues {
            let mut config = queue.config.clone();
            if let Some(letters) = queue.dlq.as_deref().and_then(|dlq| kept.get(dlq)) {
                config = config.dead_letters(letters.config.clone());
            }
            let handle = match handler(queue) {
                Some(handler) => builder.queue(config, handler),
                None => builder.pull_queue(config),
            };
            declared.queues.insert(queue.name().to_owned(), handle.map_err(refused)?);
        }
        for exchange in self.alternates_first() {
            let mut config = ExchangeConfig::new(exchange.name.as_str(), exchange.kind);
            if let Some(alternate) = exchange.alternate.as_deref().and_then(|name| declared.exchanges.get(name)) {
                config = config.alternate(alternate);
            }
            let handle = builder.exchange(config).map_err(refused)?;
            let bindings = exchange.bindings.iter().filter_map(|binding| {
                Some(Binding::new(binding.routing_key.as_str(), declared.queues.get(&binding.queue)?).lane(binding.lane))
            });
            handle.rebind(bindings).map_err(refused)?;
            declared.exchanges.insert(exchange.name.clone(), handle);
        }
        Ok(declared)
    }

    /// Declares everything, with every queue to be received from by hand.
    ///
    /// ```
    /// use ringmill::topology::Topology;
    /// use ringmill::{Runtime, ShutdownOptions};
    ///
    /// let text = "
    ///     queues:
    ///     - { name: mails, dead_letter_exchange: dead }
    ///     - { name: failed }
    ///     exchanges:
    ///     - { name: dead, type: topic, bindings: [{ routing_key: '#', queue: failed }] }";
    /// let topology = Topology::from_yaml(text, "mails.yaml")?;
    /// assert_eq!(topology.dead_letter_exchanges().collect::<Vec<_>>(), ["dead"]);
    /// let mut builder = Runtime::builder();
    /// let declared = topology.declare_pull::<String>(&mut builder)?;
    /// let runtime = builder.build()?;
    /// assert_eq!(declared.queues().map(|queue| queue.name()).collect::<Vec<_>>(), ["failed", "mails"]);
    /// assert!(runtime.shutdown(ShutdownOptions::default()).is_clean());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`declare`](Self::declare).
    pub fn declare_pull<T: Payload>(&self, builder: &mut RuntimeBuilder) -> Result<Declared<T>, TopologyError> {
        self.declare(builder, |_| None::<fn(&T, &Context<T>) -> Verdict>)
    }

    /// The exchanges, each after its alternate. They go in no circle: that was checked.
    fn alternates_first(&self) -> Vec<&ExchangeSpec> {
        let by_name: HashMap<&str, &ExchangeSpec> = self.exchanges.iter().map(|exchange| (exchange.name.as_str(), exchange)).collect();
        let depth = |exchange: &ExchangeSpec| {
            let alternate = |exchange: &&ExchangeSpec| by_name.get(exchange.alternate.as_deref()?).copied();
            std::iter::successors(Some(exchange), alternate).count()
        };
        let mut exchanges: Vec<&ExchangeSpec> = self.exchanges.iter().collect();
        exchanges.sort_by_cached_key(|exchange| depth(exchange));
        exchanges
    }
}

fn refused(error: ConfigError) -> TopologyError {
    TopologyError::one(None, Fault::new(error.to_string()).value(error.value()))
}
