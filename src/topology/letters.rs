//! Where dead letters go, by the data alone.

use super::check::{Check, Site};
use super::data::{QueueSpec, Topology};
use super::fault::Fault;
use super::read::listed;
use crate::config::{DeadLetterConfig, Overflow};
use crate::dead_letter::cycles::{self, Node, Way};
use crate::routing::RoutingKey;

/// What becomes of the dead letters of a queue.
pub(super) struct LetterWay<'t> {
    pub(super) queue: &'t QueueSpec,
    /// Whose settings they are: the queue's, or those of its dead-letter queue.
    pub(super) keeper: &'t str,
    pub(super) config: &'t DeadLetterConfig,
}

impl LetterWay<'_> {
    fn key(&self) -> Option<RoutingKey<'_>> {
        self.config.routing_key.as_deref().and_then(|key| RoutingKey::new(key).ok())
    }
}

impl Topology {
    /// The exchanges that dead letters go to.
    pub fn dead_letter_exchanges(&self) -> impl Iterator<Item = &str> {
        self.letters().filter_map(|(_, letters)| letters.exchange.as_deref())
    }

    /// Whoever keeps dead letters, with its settings for them.
    pub(super) fn letters(&self) -> impl Iterator<Item = (&str, &DeadLetterConfig)> {
        let own = self.queues.iter().filter(|queue| queue.dlq.is_none()).map(|queue| (queue.name(), &queue.config.dead_letters));
        own.chain(self.dead_letter_queues.iter().map(|queue| (queue.name.as_str(), &queue.config)))
    }

    /// The way of every queue's dead letters.
    pub(super) fn letter_ways(&self) -> impl Iterator<Item = LetterWay<'_>> {
        self.queues.iter().map(|queue| {
            let kept = self.dead_letter_queues.iter().find(|kept| queue.dlq.as_deref() == Some(&kept.name));
            match kept {
                Some(kept) => LetterWay { queue, keeper: &kept.name, config: &kept.config },
                None => LetterWay { queue, keeper: queue.name(), config: &queue.config.dead_letters },
            }
        })
    }

    /// The queues that the dead letters of a queue may move on to.
    fn targets(&self, way: &LetterWay<'_>) -> Vec<&str> {
        let through = way.config.exchange.as_deref().map(|exchange| self.reached(exchange, way.key())).unwrap_or_default();
        let direct = way.config.queue.as_deref().and_then(|name| self.queues.iter().find(|queue| queue.name() == name));
        through.into_iter().chain(direct.map(QueueSpec::name)).collect()
    }

    fn node(&self, way: &LetterWay<'_>) -> Node {
        let queue = &way.queue.config;
        let between = [Some(way.keeper).filter(|keeper| *keeper != queue.name), way.config.exchange.as_deref()];
        let targets = self.targets(way);
        let certain = targets.len() == 1 && (way.config.queue.is_some() || way.config.routing_key.is_some());
        let through: Vec<String> = between.into_iter().flatten().map(str::to_owned).collect();
        Node {
            name: queue.name.clone(),
            by_itself: queue.overflow == Overflow::DropOldest || queue.retention.is_some(),
            at_once: way.config.retention.is_none(),
            ways: targets.into_iter().map(|to| Way { through: through.clone(), to: to.to_owned(), certain }).collect(),
        }
    }
}

impl Check<'_> {
    /// Where the dead letters kept under these settings go. True when nothing is wrong with it.
    pub(super) fn onward(&mut self, site: &Site, letters: &DeadLetterConfig) -> bool {
        let text = letters.routing_key.as_deref();
        let key = match text.map(RoutingKey::new).transpose() {
            Ok(key) => key,
            Err(error) => {
                self.report(site.key(&["dead_letter_routing_key"]), Fault::new(error.to_string()).value(text.unwrap_or_default()));
                return false;
            }
        };
        if let (Some(text), None) = (text, &letters.exchange) {
            let fault = Fault::new("`dead_letter_routing_key` without a `dead_letter_exchange`");
            self.report(site.key(&["dead_letter_routing_key"]), fault.value(text));
            return false;
        }
        if let Some(queue) = &letters.queue {
            let site = site.key(&["dead_letter_target"]);
            if letters.exchange.is_some() {
                let fault = Fault::new("dead letters have a `dead_letter_target` or a `dead_letter_exchange`, not both");
                self.report(site, fault.value(queue.as_str()));
                return false;
            }
            return self.queue_of_jobs(site, queue);
        }
        let Some(exchange) = &letters.exchange else { return true };
        if !self.exchanges.contains_key(exchange.as_str()) {
            self.undeclared(site.key(&["dead_letter_exchange"]), "exchanges", exchange, Some("direct"));
            return false;
        }
        let reached = self.topology.reached(exchange, key);
        if key.is_some() && reached.len() > 1 {
            let fault =
                Fault::new(format!("`{}` leads dead letters to {}", exchange.escape_debug(), listed(reached))).value(exchange.as_str());
            self.report(
                site.key(&["dead_letter_exchange"]),
                fault.help("a dead letter is moved, not copied: its key must lead to one queue"),
            );
            return false;
        }
        true
    }

    /// A name that must be a queue of jobs. True if it is.
    fn queue_of_jobs(&mut self, site: Site, name: &str) -> bool {
        if self.letter_queues.contains(name) {
            let fault = Fault::new(format!("`{}` keeps dead letters and cannot be published to", name.escape_debug()));
            self.report(site, fault.value(name));
            return false;
        }
        let known = self.queues.contains_key(name);
        if !known {
            self.undeclared(site, "queues", name, None);
        }
        known
    }

    /// Circles that would go on by themselves, and retentions that nothing ever falls under.
    pub(super) fn circles(&mut self) {
        let topology = self.topology;
        let ways: Vec<LetterWay<'_>> = topology.letter_ways().collect();
        for (at, queue) in topology.queues.iter().enumerate().filter(|(_, queue)| queue.config.retention.is_some()) {
            if !ways.iter().any(|way| topology.targets(way).contains(&queue.name())) {
                let nth = topology.queues[..at].iter().filter(|other| other.name() == queue.name()).count();
                let site = Site { list: "queues", name: queue.name().to_owned(), nth, ..Site::default() };
                let fault = Fault::new(format!(
                    "`retention` of `{0}` is for dead letters of other queues, and none go to `{0}`",
                    queue.name().escape_debug()
                ));
                let help = "dead letters that are to be kept for a time are those of a `dlq`; they come here by a `dead_letter_target` or a `dead_letter_exchange`";
                self.report(site.key(&["retention"]), fault.help(help));
            }
        }
        let mut nodes: Vec<Node> = ways.iter().map(|way| topology.node(way)).filter(|node| !node.ways.is_empty()).collect();
        while let Some(cycle) = cycles::find(&nodes) {
            nodes.retain(|node| node.name != cycle.path[0]);
            let keeper = ways.iter().find(|way| way.queue.name() == cycle.path[0]).map_or("", |way| way.keeper);
            let site = Site { list: "queues", name: keeper.to_owned(), ..Site::default() };
            let fault = Fault::new(format!("dead letters would go in a circle by themselves: {cycle}")).value(cycle.path[1].as_str());
            let help = "in a circle at least one queue must neither drop its oldest nor have a `retention`: its jobs then die by a handler only; \
                        and a queue does not send its letters straight back to itself";
            self.report(site.key(&["dead_letter_target", "dead_letter_exchange"]), fault.help(help));
        }
    }
}
