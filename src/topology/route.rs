//! Where a routing key leads, by the data alone.

use super::data::{BindingSpec, ExchangeSpec, Topology};
use crate::dead_letter::{Bindings, Bound, Exchange, Routes};
use crate::routing::{BindingKey, RoutingKey, TopicTable};
use std::cell::OnceCell;
use std::collections::BTreeSet;

impl Topology {
    /// The names of the queues that a job goes to, published to `exchange` under `routing_key`; sorted, each once. Empty when it is unroutable, or there is no
    /// such exchange or no such key.
    ///
    /// # Complexity
    /// O(bindings). For drawings and checks; a runtime does it faster.
    ///
    /// ```
    /// use ringmill::topology::Topology;
    ///
    /// let topology = Topology::from_yaml("
    /// exchanges: [{ name: tasks, type: topic, bindings: [{ routing_key: 'billing.#', queue: invoices }] }]
    /// queues: [{ name: invoices }]
    /// ", "tasks.yaml")?;
    /// assert_eq!(topology.route("tasks", "billing.march"), ["invoices"]);
    /// assert!(topology.route("tasks", "other").is_empty());
    /// # Ok::<(), ringmill::topology::TopologyError>(())
    /// ```
    pub fn route(&self, exchange: &str, routing_key: &str) -> Vec<&str> {
        let Ok(key) = RoutingKey::new(routing_key) else { return Vec::new() };
        let mut reached = BTreeSet::new();
        let mut next = self.exchange(exchange);
        // alternates may go in a circle, which `validate` refuses
        for _ in 0..=self.exchanges.len() {
            let Some(exchange) = next else { break };
            let matching = |binding: &&BindingSpec| BindingKey::new(&binding.routing_key).is_ok_and(|bound| bound.matches(key));
            reached.extend(exchange.bindings.iter().filter(matching).map(|binding| binding.queue.as_str()));
            if !reached.is_empty() {
                break;
            }
            next = exchange.alternate.as_deref().and_then(|name| self.exchange(name));
        }
        reached.into_iter().collect()
    }

    fn exchange(&self, name: &str) -> Option<&ExchangeSpec> {
        self.exchanges.iter().find(|exchange| exchange.name == name)
    }
}

/// The most exchanges that follow each other as alternates.
pub(super) const ALTERNATES_MAX: usize = 64;

/// An exchange, its keys read when somebody asks by one.
pub(super) struct Compiled<'t> {
    exchange: &'t ExchangeSpec,
    topics: OnceCell<TopicTable>,
}

/// Every exchange, for [`routes`].
pub(super) fn compiled(topology: &Topology) -> Vec<Compiled<'_>> {
    topology.exchanges.iter().map(|exchange| Compiled { exchange, topics: OnceCell::new() }).collect()
}

/// Where exchanges lead.
pub(super) fn routes<'t>(compiled: &'t [Compiled<'t>]) -> Routes<'t> {
    let exchange = |one: &'t Compiled<'t>| {
        let ExchangeSpec { name, alternate, bindings, .. } = one.exchange;
        let takes_all = bindings.iter().any(|binding| binding.routing_key == "#");
        Exchange { name, alternate: alternate.as_deref().filter(|_| !takes_all), bindings: one }
    };
    // alternates may go in a circle, which is a fault of its own
    Routes::new(compiled.iter().map(exchange).collect(), ALTERNATES_MAX + 1, 1)
}

impl Bindings for Compiled<'_> {
    fn get(&self, number: u32) -> Option<Bound<'_>> {
        let BindingSpec { routing_key, queue, .. } = self.exchange.bindings.get(number as usize)?;
        Some(Bound { key: routing_key, queue, guarded: false })
    }

    fn topics(&self) -> &TopicTable {
        self.topics.get_or_init(|| {
            let read = |(number, binding): (u32, &BindingSpec)| Some((number, BindingKey::new(&binding.routing_key).ok()?));
            let keys: Vec<(u32, BindingKey)> = (0..).zip(&self.exchange.bindings).filter_map(read).collect();
            TopicTable::numbered(keys.iter().map(|(number, key)| (*number, key)))
        })
    }
}
