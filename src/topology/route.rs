//! Where a routing key leads, by the data alone.

use super::data::{ExchangeSpec, Topology};
use crate::routing::{BindingKey, RoutingKey};
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
        self.reached(exchange, Some(key)).into_iter().collect()
    }

    /// The queues a key leads to; without a key, those that any key may lead to.
    pub(super) fn reached(&self, exchange: &str, key: Option<RoutingKey<'_>>) -> BTreeSet<&str> {
        let mut reached = BTreeSet::new();
        let mut next = self.exchange(exchange);
        // alternates may go in a circle, which is a fault of its own
        for _ in 0..=self.exchanges.len() {
            let Some(exchange) = next else { break };
            let matching = exchange.bindings.iter().filter(|binding| match key {
                Some(key) => BindingKey::new(&binding.routing_key).is_ok_and(|bound| bound.matches(key)),
                None => true,
            });
            reached.extend(matching.map(|binding| binding.queue.as_str()));
            if key.is_some() && !reached.is_empty() {
                break;
            }
            next = exchange.alternate.as_deref().and_then(|name| self.exchange(name));
        }
        reached
    }

    pub(super) fn exchange(&self, name: &str) -> Option<&ExchangeSpec> {
        self.exchanges.iter().find(|exchange| exchange.name == name)
    }
}
