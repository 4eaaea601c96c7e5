//! Where dead letters go, by the data alone.

use super::check::{Check, Site, named};
use super::data::{DeadLetterQueueSpec, Topology};
use super::fault::{FAULTS_MAX, Fault};
use super::read::listed;
use crate::config::DeadLetterConfig;
use crate::dead_letter::{Graph, Source, shown};
use crate::routing::RoutingKey;
use std::collections::HashMap;

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

    /// What becomes of every queue's dead letters.
    fn sources(&self) -> impl Iterator<Item = Source<'_>> {
        let kept: HashMap<&str, &DeadLetterQueueSpec> = self.dead_letter_queues.iter().map(|kept| (kept.name.as_str(), kept)).collect();
        self.queues.iter().map(move |queue| match queue.dlq.as_deref().and_then(|dlq| kept.get(dlq)) {
            Some(kept) => {
                let keeper = Some(kept.name.as_str()).filter(|keeper| *keeper != queue.name());
                Source { keeper, ..Source::new(&queue.config, &kept.config, false) }
            }
            None => Source::new(&queue.config, &queue.config.dead_letters, false),
        })
    }
}

impl<'t> Check<'t> {
    /// Where the dead letters kept under these settings go.
    pub(super) fn onward(&mut self, site: &Site, letters: &'t DeadLetterConfig) {
        let mut has_key = false;
        if let Some(text) = letters.routing_key.as_deref() {
            let site = site.key(&["dead_letter_routing_key"]);
            match RoutingKey::new(text) {
                Ok(_) => has_key = true,
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
        if !self.exchanges.contains_key(exchange.as_str()) {
            self.undeclared(site.key(&["dead_letter_exchange"]), "exchanges", exchange, Some("direct"));
            return;
        }
        let reached = if has_key { self.routes.of(letters) } else { None };
        let Some(reached) = reached.filter(|reached| reached.stops.len() > 1) else { return };
        let others = if reached.more { " and others" } else { "" };
        let queues = listed(reached.stops.iter().map(|(_, queue)| *queue));
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
        let routes = std::mem::take(&mut self.routes);
        let unsure = self.unsure;
        let sources = self.topology.sources().map(|source| {
            let mut exchanges = source.letters.exchange.as_deref().into_iter().flat_map(|exchange| routes.chain(exchange));
            let is_unsure = exchanges.any(|exchange| unsure.exchange(exchange))
                || [Some(source.name), source.keeper].into_iter().flatten().any(|queue| unsure.letters(queue));
            if is_unsure { Source { by_itself: false, at_once: false, ..source } } else { source }
        });
        let sources = sources.collect();
        let mut graph = Graph::new(sources, routes);
        let mut coming = vec![0; graph.nodes.len()];
        for way in graph.nodes.iter().flat_map(|node| &node.ways) {
            coming[way.to] += 1;
        }
        for (site, queue) in named("queues", &self.topology.queues, |queue| queue.name()) {
            let is_named = !queue.name().is_empty() && !self.meant.contains(queue.name());
            let receives = graph.number(queue.name()).is_some_and(|number| coming[number] > 0);
            if queue.config.retention.is_some() && is_named && !unsure.ways && !receives {
                let fault = Fault::new(format!(
                    "`retention` of `{0}` is for dead letters of other queues, and none go to `{0}`",
                    queue.name().escape_debug()
                ));
                let help = "dead letters that are to be kept for a time are those of a `dlq`; they come here by a `dead_letter_target` or a `dead_letter_exchange`";
                self.report(site.key(&["retention"]), fault.help(help));
            }
        }
        // each is looked for from the start: more than are shown are not worth it
        for _ in 0..FAULTS_MAX {
            let Some(circle) = graph.circle() else { break };
            let path = graph.path(&circle);
            // it is broken where the fewest others are: where few ways come to and few go on from
            let others = |at: &usize| {
                let (from, to) = (circle.ways[*at].0, circle.ways[(at + 1) % circle.ways.len()].0);
                coming[from] * graph.nodes[to].ways.len()
            };
            let broken = (0..circle.ways.len()).min_by_key(others).map(|at| circle.ways[at]);
            if let Some((node, way)) = broken {
                graph.nodes[node].ways.remove(way);
            }
            let keeper = graph.sources.get(circle.ways[0].0).map_or("", |source| source.keeper.unwrap_or(source.name));
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
            let fault = Fault::new(format!("dead letters would go in a circle {how}: {}", shown(&path))).value(path[1]);
            self.report(site.key(&["dead_letter_target", "dead_letter_exchange"]), fault.help(help));
        }
    }
}
