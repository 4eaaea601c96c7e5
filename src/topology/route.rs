//! Where a routing key leads, by the data alone.

use super::data::{BindingSpec, ExchangeSpec, Topology};
use crate::routing::{BindingKey, RoutingKey, TopicTable, Walk};
use std::collections::{BTreeSet, HashMap};

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

/// How many of the queues that a key leads to are told apart; one is what most questions are about.
const REACHED_MAX: usize = 8;

/// Where a key leads.
#[derive(Debug, Default)]
pub(super) struct Reached<'t> {
    /// Queues, sorted, each once.
    pub(super) queues: BTreeSet<&'t str>,
    /// There are others.
    pub(super) more: bool,
}

/// An exchange whose keys were read.
struct Compiled<'t> {
    table: TopicTable,
    /// Where each binding leads.
    queues: Vec<&'t str>,
}

/// Where keys lead, for many questions: each exchange is compiled once, and each key followed once.
pub(super) struct Routes<'t> {
    exchanges: HashMap<&'t str, &'t ExchangeSpec>,
    compiled: HashMap<&'t str, Compiled<'t>>,
    reached: HashMap<(&'t str, &'t str), Reached<'t>>,
    always: HashMap<&'t str, Option<&'t str>>,
    walk: Walk,
}

impl<'t> Routes<'t> {
    pub(super) fn new(topology: &'t Topology) -> Self {
        let exchanges = topology.exchanges.iter().map(|exchange| (exchange.name.as_str(), exchange)).collect();
        Routes { exchanges, compiled: HashMap::new(), reached: HashMap::new(), always: HashMap::new(), walk: Walk::new() }
    }

    pub(super) fn exchange(&self, name: &str) -> Option<&'t ExchangeSpec> {
        self.exchanges.get(name).copied()
    }

    pub(super) fn exchanges(&self) -> impl Iterator<Item = &'t str> {
        self.exchanges.keys().copied()
    }

    /// An exchange and those that take what it leads nowhere, one after another.
    pub(super) fn alternates(&self, exchange: &str) -> impl Iterator<Item = &'t str> {
        let next = |exchange: &&'t ExchangeSpec| self.alternate(exchange);
        std::iter::successors(self.exchange(exchange), next).take(ALTERNATES_MAX + 1).map(|exchange| exchange.name.as_str())
    }

    /// Where an exchange sends what it leads nowhere.
    fn alternate(&self, exchange: &ExchangeSpec) -> Option<&'t ExchangeSpec> {
        self.exchange(exchange.alternate.as_deref().filter(|_| !takes_all(exchange))?)
    }

    /// The queue that an exchange leads to by any key, be it by an alternate, if there is one.
    pub(super) fn always(&mut self, exchange: &'t str) -> Option<&'t str> {
        let (mut chain, mut next) = (Vec::new(), self.exchange(exchange));
        // alternates may go in a circle, which is a fault of its own
        while let Some(exchange) = next.filter(|next| chain.len() <= ALTERNATES_MAX && !self.always.contains_key(&*next.name)) {
            chain.push(exchange);
            next = self.alternate(exchange);
        }
        let mut always = next.and_then(|known| self.always.get(&*known.name).copied().flatten());
        for exchange in chain.into_iter().rev() {
            let mut queues = exchange.bindings.iter().map(|binding| binding.queue.as_str());
            let first = queues.next();
            let one = first.filter(|first| queues.all(|queue| queue == *first));
            always = match one {
                _ if takes_all(exchange) => one,
                Some(one) => always.filter(|always| *always == one),
                None if first.is_none() => always,
                None => None,
            };
            self.always.insert(&exchange.name, always);
        }
        always
    }

    /// The queues that a key leads to.
    pub(super) fn reached(&mut self, exchange: &'t str, key: RoutingKey<'t>) -> &Reached<'t> {
        let asked = (exchange, key.as_str());
        if !self.reached.contains_key(&asked) {
            let reached = self.follow(exchange, key);
            self.reached.insert(asked, reached);
        }
        &self.reached[&asked]
    }

    fn follow(&mut self, exchange: &str, key: RoutingKey<'_>) -> Reached<'t> {
        let mut reached = Reached::default();
        let mut next = self.exchange(exchange);
        // alternates may go in a circle, which is a fault of its own
        for _ in 0..=ALTERNATES_MAX {
            let Some(exchange) = next else { break };
            let Compiled { table, queues } = self.compiled.entry(&exchange.name).or_insert_with(|| compile(exchange));
            table.matches(key, &mut self.walk, |binding| {
                let queue = queues[binding as usize];
                if reached.queues.len() < REACHED_MAX {
                    reached.queues.insert(queue);
                } else {
                    reached.more |= !reached.queues.contains(queue);
                }
            });
            if !reached.queues.is_empty() {
                break;
            }
            next = exchange.alternate.as_deref().and_then(|name| self.exchange(name));
        }
        reached
    }
}

/// Whether nothing is ever unroutable in an exchange.
pub(super) fn takes_all(exchange: &ExchangeSpec) -> bool {
    exchange.bindings.iter().any(|binding| binding.routing_key == "#")
}

fn compile(exchange: &ExchangeSpec) -> Compiled<'_> {
    let read = exchange.bindings.iter().filter_map(|binding| Some((BindingKey::new(&binding.routing_key).ok()?, binding.queue.as_str())));
    let (keys, queues): (Vec<BindingKey>, Vec<&str>) = read.unzip();
    Compiled { table: TopicTable::new(&keys), queues }
}
