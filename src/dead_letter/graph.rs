//! Where dead letters may go, from queue to queue.

use super::cycles::{self, Cycle, Node, Way};
use super::routes::{Part, Routes};
use crate::config::{DeadLetterConfig, Overflow, QueueConfig};
use std::collections::{BTreeSet, HashMap};

/// A queue, and what becomes of its dead letters.
#[derive(Debug)]
pub struct Source<'g> {
    /// Its name.
    pub name: &'g str,
    /// The name under which its letters are kept, if it is another.
    pub keeper: Option<&'g str>,
    /// As that of a [`Node`].
    pub by_itself: bool,
    /// As that of a [`Node`].
    pub at_once: bool,
    /// Where they go.
    pub letters: &'g DeadLetterConfig,
}

impl<'g> Source<'g> {
    /// A queue whose letters are treated as `letters` says. `handled`: it has a handler, which starts what comes as soon as a worker is free.
    pub fn new(config: &'g QueueConfig, letters: &'g DeadLetterConfig, handled: bool) -> Self {
        let by_itself = config.overflow == Overflow::DropOldest || config.retention.is_some();
        // its own `retention` says how long a job waits at most: a pause only where nobody starts it
        let waits = config.retention.is_some() && !handled;
        Source { name: config.name(), keeper: None, by_itself, at_once: !waits && letters.retention.is_none(), letters }
    }
}

/// Where the letters of queues may go. The first nodes are the queues; those behind them are bindings that letters of several queues, or to several, go by
/// together. So there are about as many ways as queues and bindings, not as queues times bindings.
#[derive(Debug)]
pub struct Graph<'g> {
    /// The nodes.
    pub nodes: Vec<Node<'g>>,
    /// The queues.
    pub sources: Vec<Source<'g>>,
    /// The number of each queue.
    numbers: HashMap<&'g str, usize>,
    routes: Routes<'g>,
    /// The nodes of bindings.
    parts: HashMap<(&'g str, Option<u32>), usize>,
}

impl<'g> Graph<'g> {
    /// Of these queues; letters that go elsewhere go nowhere from there.
    ///
    /// # Complexity
    /// O(n log n) in queues and bindings, if few binding keys match a key, and few alternates are in a row.
    pub fn new(sources: Vec<Source<'g>>, routes: Routes<'g>) -> Self {
        let numbers = sources.iter().enumerate().map(|(at, source)| (source.name, at)).collect();
        let nodes = sources.iter().map(|&Source { by_itself, at_once, .. }| Node { by_itself, at_once, ways: Vec::new() }).collect();
        let mut graph = Graph { nodes, sources, numbers, routes, parts: HashMap::new() };
        for at in 0..graph.sources.len() {
            graph.nodes[at].ways = graph.ways(graph.sources[at].letters);
        }
        graph
    }

    fn ways(&mut self, letters: &'g DeadLetterConfig) -> Vec<Way<'g>> {
        let mut ways: Vec<Way> = letters.queue.as_deref().and_then(|queue| self.way(queue, ("", 0), true)).into_iter().collect();
        let (Some(exchange), Some(reached)) = (letters.exchange.as_deref(), self.routes.of(letters)) else { return ways };
        let by_key = reached.parts.iter().all(|part| part.id.1.is_some());
        // of a key that is none nothing is sure
        let certain = reached.certain().filter(|_| by_key || letters.routing_key.is_none());
        if certain.is_some() || by_key && !reached.more {
            let way = |stop: &(usize, &'g str)| self.way(stop.1, (exchange, stop.0), certain == Some(*stop));
            ways.extend(reached.stops.iter().filter_map(way));
        } else if by_key {
            for part in &reached.parts {
                ways.push(Way { to: self.part(part, None), through: (exchange, part.passed), certain: false });
            }
        } else {
            // what one leads nowhere goes to the next
            let mut other = None;
            for part in reached.parts.iter().rev() {
                other = Some(Way { to: self.part(part, other), through: (part.id.0, 1), certain: false });
            }
            ways.extend(other);
        }
        ways
    }

    /// A way to a queue; none if its letters go nowhere.
    fn way(&self, queue: &str, through: (&'g str, usize), certain: bool) -> Option<Way<'g>> {
        Some(Way { to: self.number(queue)?, through, certain })
    }

    /// The number of the node of these bindings, from which some letters go another way.
    fn part(&mut self, part: &Part<'g>, other: Option<Way<'g>>) -> usize {
        if let Some(number) = self.parts.get(&part.id) {
            return *number;
        }
        let queues = BTreeSet::from_iter(&part.bundle.queues);
        let ways = queues.into_iter().filter_map(|queue| self.way(queue, ("", 0), false)).chain(other).collect();
        self.nodes.push(Node { by_itself: true, at_once: false, ways });
        self.parts.insert(part.id, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    /// The number of a queue.
    pub fn number(&self, queue: &str) -> Option<usize> {
        self.numbers.get(queue).copied()
    }

    /// The first circle that must not be, if there is one. It begins at a queue.
    pub fn circle(&self) -> Option<Cycle> {
        let mut circle = cycles::find(&self.nodes)?;
        let first = circle.ways.iter().position(|(node, _)| *node < self.sources.len()).unwrap_or(0);
        circle.ways.rotate_left(first);
        Some(circle)
    }

    /// What a circle goes through; the first is the last.
    pub fn path(&self, circle: &Cycle) -> Vec<&'g str> {
        let mut path = Vec::new();
        for &(node, way) in &circle.ways {
            path.extend(self.sources.get(node).into_iter().flat_map(|source| [Some(source.name), source.keeper]).flatten());
            let (first, count) = self.nodes[node].ways[way].through;
            path.extend(self.routes.chain(first).take(count));
        }
        path.extend(path.first().copied());
        path
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
