//! Where dead letters go, by the data alone.

use super::check::{Check, Site, named};
use super::data::{DeadLetterQueueSpec, QueueSpec, Topology};
use super::fault::{FAULTS_MAX, Fault};
use super::read::listed;
use super::route::{Reached, Routes, takes_all};
use super::unsure::Unsure;
use crate::config::{DeadLetterConfig, Overflow};
use crate::dead_letter::cycles::{self, Node, Way};
use crate::routing::RoutingKey;
use std::collections::{HashMap, HashSet};

/// What becomes of the dead letters of a queue.
struct LetterWay<'t> {
    queue: &'t QueueSpec,
    /// Whose settings they are: the queue's, or those of its dead-letter queue.
    keeper: &'t str,
    config: &'t DeadLetterConfig,
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
    fn letter_ways<'t>(&'t self) -> Vec<LetterWay<'t>> {
        let kept: HashMap<&str, &DeadLetterQueueSpec> = self.dead_letter_queues.iter().map(|kept| (kept.name.as_str(), kept)).collect();
        let way = |queue: &'t QueueSpec| match queue.dlq.as_deref().and_then(|dlq| kept.get(dlq)) {
            Some(kept) => LetterWay { queue, keeper: &kept.name, config: &kept.config },
            None => LetterWay { queue, keeper: queue.name(), config: &queue.config.dead_letters },
        };
        self.queues.iter().map(way).collect()
    }
}

impl<'t> Check<'t> {
    /// Where the dead letters kept under these settings go.
    pub(super) fn onward(&mut self, site: &Site, letters: &'t DeadLetterConfig) {
        let mut key = None;
        if let Some(text) = letters.routing_key.as_deref() {
            let site = site.key(&["dead_letter_routing_key"]);
            match RoutingKey::new(text) {
                Ok(read) => key = Some(read),
                Err(error) => self.report(site.clone(), Fault::new(error.to_string()).value(text)),
            }
            if letters.exchange.is_none() {
                let fault = Fault::new("`dead_letter_routing_key` without a `dead_letter_exchange`");
                self.report(site, fault.value(text));
            }
        }
        if let Some(queue) = &letters.queue {
            let site = site.key(&["dead_letter_target"]);
            if letters.exchange.is_some() {
                let fault = Fault::new("dead letters have a `dead_letter_target` or a `dead_letter_exchange`, not both");
                self.report(site.clone(), fault.value(queue.as_str()));
            }
            self.queue_of_jobs(site, queue);
        }
        let Some(exchange) = &letters.exchange else { return };
        if self.routes.exchange(exchange).is_none() {
            self.undeclared(site.key(&["dead_letter_exchange"]), "exchanges", exchange, Some("direct"));
            return;
        }
        let Some(reached) = key.map(|key| self.routes.reached(exchange, key)).filter(|reached| reached.queues.len() > 1) else { return };
        let others = if reached.more { " and others" } else { "" };
        let queues = listed(reached.queues.iter().copied());
        let fault = Fault::new(format!("`{}` leads dead letters to {queues}{others}", exchange.escape_debug())).value(exchange.as_str());
        let help = "a dead letter is moved, not copied: its key must lead to one queue";
        self.report(site.key(&["dead_letter_exchange"]), fault.help(help));
    }

    /// A name that must be a queue of jobs.
    fn queue_of_jobs(&mut self, site: Site, name: &str) {
        if self.letter_queues.contains(name) {
            let fault = Fault::new(format!("`{}` keeps dead letters and cannot be published to", name.escape_debug()));
            self.report(site, fault.value(name));
        } else if !self.queues.contains_key(name) {
            let meant = self.undeclared(site, "queues", name, None);
            self.meant.extend(meant);
        }
    }

    /// Circles that must not be, and retentions that nothing ever falls under.
    pub(super) fn circles(&mut self) {
        let ways = self.topology.letter_ways();
        let graph = Graph::new(self.topology, &ways, &mut self.routes, self.unsure);
        for (site, queue) in named("queues", &self.topology.queues, |queue| queue.name()) {
            let is_named = !queue.name().is_empty() && !self.meant.contains(queue.name());
            if queue.config.retention.is_some() && is_named && !self.unsure.ways && !graph.receiving.contains(queue.name()) {
                let fault = Fault::new(format!(
                    "`retention` of `{0}` is for dead letters of other queues, and none go to `{0}`",
                    queue.name().escape_debug()
                ));
                let help = "dead letters that are to be kept for a time are those of a `dlq`; they come here by a `dead_letter_target` or a `dead_letter_exchange`";
                self.report(site.key(&["retention"]), fault.help(help));
            }
        }
        let mut nodes = graph.nodes;
        let mut coming: HashMap<String, usize> = HashMap::new();
        for way in nodes.iter().flat_map(|node| &node.ways) {
            *coming.entry(way.to.clone()).or_default() += 1;
        }
        // each is looked for from the start: more than are shown are not worth it
        for _ in 0..FAULTS_MAX {
            let Some(circle) = cycles::find(&nodes) else { break };
            // it is broken where the fewest others are: where few ways come to and few go on from
            let others = |at: &usize| {
                let (from, to) = (circle.ways[*at].0, circle.ways[(at + 1) % circle.ways.len()].0);
                coming.get(&nodes[from].name).copied().unwrap_or(0) * nodes[to].ways.len()
            };
            let broken = (0..circle.ways.len()).min_by_key(others).map(|at| circle.ways[at]);
            if let Some((node, way)) = broken {
                nodes[node].ways.remove(way);
            }
            let mut path = circle.path;
            path.pop();
            let first = path.iter().position(|step| queue_of(step).is_some()).unwrap_or(0);
            path.rotate_left(first);
            path.push(path[0].clone());
            let shown: Vec<&str> = path.iter().map(|step| shown(step, self.topology)).collect();
            let keeper = queue_of(&path[0]).map_or("", |queue| ways[queue].keeper);
            let site = Site { list: "queues", name: keeper.to_owned(), ..Site::default() };
            let (how, help) = if circle.by_itself {
                (
                    "by themselves",
                    "in a circle at least one queue must neither drop its oldest nor have a `retention`: its jobs then die by a handler only",
                )
            } else {
                (
                    "without a pause",
                    "a job that every handler rejects would go round as fast as it is run; with a `retention` of the dead letters on the way it is a retry",
                )
            };
            let message = format!("dead letters would go in a circle {how}: {}", cycles::shown(&shown));
            let fault = Fault::new(message).value(shown[1]);
            self.report(site.key(&["dead_letter_target", "dead_letter_exchange"]), fault.help(help));
        }
    }
}

/// Where all dead letters go. A step is written so that no name is taken for another: `q` and a queue's number, `x` and an exchange's, `-` and what only has a name.
///
/// An exchange through which letters go by any key is a node of its own. So there are as many ways as bindings, not as many as queues times bindings.
struct Graph<'t> {
    nodes: Vec<Node>,
    /// The queues that dead letters may come to.
    receiving: HashSet<&'t str>,
    queues: HashMap<&'t str, usize>,
    exchanges: HashMap<&'t str, usize>,
    /// The exchanges that are nodes.
    opened: HashSet<&'t str>,
    /// Nodes of exchanges; they come after the queues, so that circles begin at queues.
    hubs: Vec<Node>,
    unsure: &'t Unsure,
}

impl<'t> Graph<'t> {
    fn new(topology: &'t Topology, ways: &[LetterWay<'t>], routes: &mut Routes<'t>, unsure: &'t Unsure) -> Self {
        let mut graph = Graph {
            nodes: Vec::new(),
            receiving: HashSet::new(),
            queues: topology.queues.iter().enumerate().map(|(at, queue)| (queue.name(), at)).collect(),
            exchanges: topology.exchanges.iter().enumerate().map(|(at, exchange)| (exchange.name.as_str(), at)).collect(),
            opened: HashSet::new(),
            hubs: Vec::new(),
            unsure,
        };
        for (at, way) in ways.iter().enumerate() {
            graph.queue(at, way, routes);
        }
        graph.nodes.append(&mut graph.hubs);
        graph
    }

    fn queue(&mut self, at: usize, way: &LetterWay<'t>, routes: &mut Routes<'t>) {
        let queue = &way.queue.config;
        let by_name = |name: &str| format!("-{name}");
        let mut through: Vec<String> = Some(way.keeper).filter(|keeper| *keeper != queue.name).map(by_name).into_iter().collect();
        let mut ways: Vec<Way> = way.config.queue.as_deref().and_then(|to| self.way(to, &through, true)).into_iter().collect();
        if let Some(exchange) = way.config.exchange.as_deref() {
            let key = way.config.routing_key.as_deref().and_then(|key| RoutingKey::new(key).ok());
            let always = if way.config.routing_key.is_none() { routes.always(exchange) } else { None };
            let reached = key.map(|key| routes.reached(exchange, key)).filter(|reached| !reached.more);
            if let Some(to) = always {
                through.push(by_name(exchange));
                ways.extend(self.way(to, &through, true));
            } else if let Some(Reached { queues, .. }) = reached {
                through.push(by_name(exchange));
                ways.extend(queues.iter().filter_map(|to| self.way(to, &through, queues.len() == 1)));
            } else if let Some(number) = self.exchanges.get(exchange) {
                ways.push(Way { through, to: format!("x{number}"), certain: false });
                self.open(exchange, routes);
            }
        }
        let exchanges = way.config.exchange.as_deref().into_iter().flat_map(|name| routes.alternates(name));
        let unsure = exchanges.into_iter().any(|exchange| self.unsure.exchange(exchange))
            || [way.keeper, way.queue.name()].into_iter().any(|queue| self.unsure.letters(queue));
        if !ways.is_empty() && !unsure {
            let by_itself = queue.overflow == Overflow::DropOldest || queue.retention.is_some();
            let at_once = queue.retention.is_none() && way.config.retention.is_none();
            self.nodes.push(Node { name: format!("q{at}"), by_itself, at_once, ways });
        }
    }

    fn way(&mut self, to: &'t str, through: &[String], certain: bool) -> Option<Way> {
        self.receiving.insert(to);
        let number = self.queues.get(to)?;
        Some(Way { through: through.to_vec(), to: format!("q{number}"), certain })
    }

    /// Makes a node of an exchange, and of its alternates.
    fn open(&mut self, exchange: &'t str, routes: &Routes<'t>) {
        let mut walked = HashSet::new();
        let mut next = routes.exchange(exchange);
        while let Some(exchange) = next.filter(|exchange| self.opened.insert(&exchange.name)) {
            walked.insert(exchange.name.as_str());
            let mut ways: Vec<Way> = exchange.bindings.iter().filter_map(|binding| self.way(&binding.queue, &[], false)).collect();
            // a circle of alternates is a fault of its own, and none of dead letters
            let alternate = exchange.alternate.as_deref().filter(|name| !walked.contains(name) && !takes_all(exchange));
            ways.extend(alternate.and_then(|name| self.exchanges.get(name)).map(|number| Way {
                through: Vec::new(),
                to: format!("x{number}"),
                certain: false,
            }));
            if self.unsure.exchange(&exchange.name) {
                ways.clear();
            }
            self.hubs.push(Node { name: format!("x{}", self.exchanges[exchange.name.as_str()]), by_itself: true, at_once: false, ways });
            next = alternate.and_then(|name| routes.exchange(name));
        }
    }
}

/// The number of a queue, if the step is one.
fn queue_of(step: &str) -> Option<usize> {
    step.strip_prefix('q')?.parse().ok()
}

fn shown<'s>(step: &'s str, topology: &'s Topology) -> &'s str {
    let (kind, rest) = step.split_at(1);
    let number = || rest.parse::<usize>().unwrap_or(usize::MAX);
    match kind {
        "q" => topology.queues.get(number()).map_or(rest, QueueSpec::name),
        "x" => topology.exchanges.get(number()).map_or(rest, |exchange| &exchange.name),
        _ => rest,
    }
}
