//! What a topology must be as a whole: every name declared, once; nothing in a circle; nothing that the runtime does not have.

use super::data::{BindingSpec, DeadLetterQueueSpec, ExchangeSpec, QueueSpec, Topology};
use super::fault::{Completion, FAULTS_MAX, Fault, Faults, TopologyError};
use super::route::{ALTERNATES_MAX, Compiled, compiled, routes};
use super::unsure::Unsure;
use super::words::nearest;
use crate::config::{POOL_DEFAULT, QueueConfig};
use crate::dead_letter::Routes;
use crate::error::ConfigError;
use crate::exchange::ExchangeKind;
use crate::limits::{BINDINGS_MAX, LANES_MAX};
use crate::routing::BindingKey;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// A place in the data.
#[derive(Debug, Clone, Default)]
pub(super) struct Site {
    /// `exchanges`, `queues` or `pools`; empty for the whole.
    pub(super) list: &'static str,
    pub(super) name: String,
    /// How many of that name come before it.
    pub(super) nth: usize,
    pub(super) binding: Option<usize>,
    /// The key, and others that may stand for it; `a.b` is `b` in the table `a`, and in a list that of the item in which it is largest.
    pub(super) keys: &'static [&'static str],
}

impl Site {
    pub(super) fn key(&self, keys: &'static [&'static str]) -> Site {
        Site { keys, ..self.clone() }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.list.is_empty() {
            return f.write_str("the topology");
        }
        write!(f, "{} `{}`", self.list.trim_end_matches('s'), self.name)?;
        if let Some(binding) = self.binding {
            write!(f, ", binding {}", binding + 1)?;
        }
        if let Some(key) = self.keys.first() {
            write!(f, ", {key}")?;
        }
        Ok(())
    }
}

impl Topology {
    /// Checks everything: each setting, each name, and the whole.
    ///
    /// # Errors
    /// Every fault that was found.
    ///
    /// ```
    /// use ringmill::topology::{BindingSpec, ExchangeSpec, Topology};
    /// use ringmill::ExchangeKind;
    ///
    /// let mut topology = Topology::new();
    /// topology.exchanges.push(ExchangeSpec::new("tasks", ExchangeKind::Topic));
    /// topology.exchanges[0].bindings.push(BindingSpec::new("billing..x", "invoices"));
    /// let error = topology.validate().unwrap_err();
    /// assert_eq!(error.faults().len(), 3); // no queues, no such queue, no such key
    /// ```
    pub fn validate(&self) -> Result<(), TopologyError> {
        let unsure = Unsure::default();
        let compiled = compiled(self);
        let mut check = Check::new(self, &compiled, &unsure);
        check.all();
        check.unserved();
        let Check { found, more, .. } = check;
        if found.is_empty() {
            return Ok(());
        }
        let kept = found.into_iter().map(|(site, fault)| Fault { site: site.to_string(), ..fault }).collect();
        Err(TopologyError::new(None, Faults { kept, more }))
    }
}

/// The first [`FAULTS_MAX`] faults, each with its place, and how many more there are. With `count_only` none is worked out.
pub(super) fn check(topology: &Topology, unsure: &Unsure, count_only: bool) -> (Vec<(Site, Fault)>, usize) {
    let compiled = compiled(topology);
    let mut check = Check { room: if count_only { 0 } else { FAULTS_MAX }, ..Check::new(topology, &compiled, unsure) };
    check.all();
    (check.found, check.more)
}

/// Each of a list with its site.
pub(super) fn named<'t, T>(list: &'static str, items: &'t [T], name: impl Fn(&T) -> &str + 't) -> impl Iterator<Item = (Site, &'t T)> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    items.iter().map(move |item| {
        let name = name(item).to_owned();
        let count = seen.entry(name.clone()).or_default();
        *count += 1;
        (Site { list, name, nth: *count - 1, ..Site::default() }, item)
    })
}

pub(super) struct Check<'t> {
    pub(super) topology: &'t Topology,
    /// What cannot be said of it.
    pub(super) unsure: &'t Unsure,
    found: Vec<(Site, Fault)>,
    /// How many are kept.
    room: usize,
    more: usize,
    pub(super) routes: Routes<'t>,
    pub(super) exchanges: HashMap<&'t str, &'t ExchangeSpec>,
    pub(super) queues: HashMap<&'t str, &'t QueueSpec>,
    pub(super) letter_queues: HashSet<&'t str>,
    pools: HashSet<&'t str>,
    /// The first queue that each dead-letter queue serves.
    served: HashMap<&'t str, &'t str>,
    /// The queues that were probably meant as a `dlq`, and written wrong.
    pub(super) meant: HashSet<&'t str>,
}

impl<'t> Check<'t> {
    fn new(topology: &'t Topology, compiled: &'t [Compiled<'t>], unsure: &'t Unsure) -> Self {
        let mut served = HashMap::new();
        for (dlq, name) in topology.queues.iter().filter_map(|queue| Some((queue.dlq.as_deref()?, queue.name()))) {
            served.entry(dlq).or_insert(name);
        }
        Check {
            topology,
            unsure,
            found: Vec::new(),
            room: FAULTS_MAX,
            more: 0,
            routes: routes(compiled),
            exchanges: topology.exchanges.iter().map(|exchange| (exchange.name.as_str(), exchange)).collect(),
            queues: topology.queues.iter().map(|queue| (queue.name(), queue)).collect(),
            letter_queues: topology.dead_letter_queues.iter().map(|queue| queue.name.as_str()).collect(),
            pools: topology.pools.iter().map(|pool| pool.name.as_str()).chain([POOL_DEFAULT]).collect(),
            served,
            meant: HashSet::new(),
        }
    }

    fn all(&mut self) {
        let topology = self.topology;
        if topology.queues.is_empty() {
            self.report(Site::default(), Fault::new("there is no queue").help("add one to `queues`"));
        }
        for (site, exchange) in named("exchanges", &topology.exchanges, |exchange| &exchange.name) {
            self.exchange(&site, exchange);
        }
        let queue_names: Vec<&str> = topology
            .queues
            .iter()
            .map(QueueSpec::name)
            .chain(topology.dead_letter_queues.iter().map(|queue| queue.name.as_str()))
            .collect();
        for (site, _) in named("queues", &queue_names, |name| name).filter(|(site, _)| site.nth > 0) {
            self.twice(&site, "queue");
        }
        for (site, queue) in named("queues", &topology.queues, |queue| queue.name()) {
            self.queue(&site, queue);
        }
        for (site, queue) in named("queues", &topology.dead_letter_queues, |queue| &queue.name) {
            self.dead_letter_queue(&site, queue);
        }
        for (site, pool) in named("pools", &topology.pools, |pool| &pool.name) {
            self.twice(&site, "pool");
            if let Err(error) = pool.validate() {
                self.setting(&site, &error);
            }
        }
        self.circles();
    }

    pub(super) fn report(&mut self, site: Site, fault: Fault) {
        if self.found.len() < self.room {
            self.found.push((site, fault));
        } else {
            self.more += 1;
        }
    }

    fn twice(&mut self, site: &Site, what: &str) {
        if site.nth > 0 {
            let fault = Fault::new(format!("{what} `{}` is declared twice", site.name.escape_debug())).value(site.name.as_str());
            self.report(site.key(&["name"]), fault.help("each name once"));
        }
    }

    fn durable(&mut self, site: &Site, durable: bool) {
        if durable {
            let fault = Fault::new(format!("`durable` needs a journal, and there is none: `{}` lives in memory", site.name.escape_debug()));
            let fault = fault.value("true").help("leave `durable` away: what is not finished when the process dies is gone");
            let what = format!("`durable` of `{}`", site.name);
            self.report(site.key(&["durable"]), fault.completed_by(Completion::Remove(what)));
        }
    }

    /// Everything that `validate` knows. Where dead letters go is [looked at](Self::onward) with the other names.
    fn settings(&mut self, site: &Site, config: &QueueConfig) {
        let moved = ["dead_letters.exchange", "dead_letters.queue", "dead_letters.routing_key"];
        for error in config.faults().iter().filter(|error| !moved.contains(&error.field())) {
            let other = match error.field() {
                "max_lease" => "visibility",
                "lane reserves (sum)" => "max_length",
                _ => "",
            };
            if !self.unsure.setting(&site.name, other) {
                self.setting(site, error);
            }
        }
    }

    /// A setting that `validate` refuses.
    fn setting(&mut self, site: &Site, error: &ConfigError) {
        let keys: &'static [&'static str] = match error.field() {
            "name" => &["name"],
            "lanes" | "lane name" | "lane weight" => &["lanes"],
            "lane reserves (sum)" => &["lanes.reserve", "lanes"],
            "max_lease" => &["max_lease", "visibility"],
            "watermarks" => &["watermarks"],
            "retention" => &["retention"],
            "dead_letters.capacity" => &["dead_letters.max_length", "max_length"],
            "overflow" => &["overflow"],
            "dedupe bound" | "dedupe: Window" | "dedupe: Debounce" | "dedupe: KeepLast" => &["dedupe"],
            "partitions" => &["partitions"],
            "weight" => &["weight"],
            "workers" => &["workers"],
            "spares" => &["spares"],
            _ => &[],
        };
        let message = format!("{} is {}, allowed is {}", error.field(), error.value(), error.allowed());
        let fault = Fault { allowed: Some(error.allowed().to_owned()), ..Fault::new(message) };
        self.report(site.key(keys), fault.value(error.value()));
    }

    /// The lanes that a queue which is not declared needs.
    fn lanes_of(&self, list: &str, name: &str) -> Vec<String> {
        let named = self.unsure.named_lanes(name).filter(|_| list == "queues");
        let Some(mut lanes) = named.map(<[String]>::to_vec) else { return Vec::new() };
        let bindings = self.topology.exchanges.iter().flat_map(|exchange| &exchange.bindings);
        let last = bindings.filter(|binding| binding.queue == name).map(|binding| binding.lane).max().unwrap_or(0);
        // bindings that give a number need as many
        for number in lanes.len()..=last.min(LANES_MAX - 1) {
            let mut lane = number.to_string();
            while lanes.contains(&lane) {
                lane.insert(0, '0');
            }
            lanes.push(lane);
        }
        lanes
    }

    /// The name that was probably meant, if there is one.
    pub(super) fn undeclared(&mut self, site: Site, list: &'static str, name: &str, kind: Option<&'static str>) -> Option<&'t str> {
        if self.found.len() >= self.room {
            self.more += 1;
            return None;
        }
        let mut names: Vec<&'t str> = match list {
            "exchanges" => self.exchanges.keys().copied().collect(),
            "queues" if site.keys != ["dlq"] => self.queues.keys().copied().collect(),
            // what is named becomes a dead-letter queue by it: any but itself may be meant
            "queues" => self.letter_queues.iter().chain(self.queues.keys()).copied().filter(|known| *known != site.name).collect(),
            _ => self.pools.iter().copied().collect(),
        };
        names.sort_unstable(); // of equally near ones always the same
        let what = list.trim_end_matches('s');
        let fault = Fault::new(format!("{what} `{}` is not declared", name.escape_debug())).value(name);
        let meant = nearest(name, names.iter().copied().filter(|known| !known.is_empty()));
        let fault = match meant {
            Some(_) => fault.meant(meant),
            None => fault.help(format!("declare it in `{list}`")),
        };
        self.report(site, fault.completed_by(Completion::Declare { list, name: name.to_owned(), kind, lanes: self.lanes_of(list, name) }));
        meant
    }

    fn exchange(&mut self, site: &Site, exchange: &ExchangeSpec) {
        self.twice(site, "exchange");
        self.durable(site, exchange.durable);
        if exchange.name.is_empty() || exchange.name.len() > 255 {
            let fault = Fault::new(format!("an exchange's name is {} bytes long, allowed is 1..=255 bytes", exchange.name.len()));
            self.report(site.key(&["name"]), fault.value(exchange.name.as_str()));
        }
        if exchange.kind == ExchangeKind::Fanout && exchange.bindings.is_empty() {
            let fault = Fault::new(format!("fanout exchange `{}` has no bindings: it reaches no queue", exchange.name.escape_debug()));
            self.report(site.key(&["bindings", "type"]), fault.value(exchange.name.as_str()));
        }
        if exchange.bindings.len() > BINDINGS_MAX {
            let count = exchange.bindings.len();
            self.report(site.key(&["bindings"]), Fault::new(format!("{count} bindings, allowed is 0..={BINDINGS_MAX}")));
        }
        let mut seen = HashSet::new();
        for (index, binding) in exchange.bindings.iter().enumerate() {
            let site = Site { binding: Some(index), ..site.clone() };
            if !binding.queue.is_empty() && !seen.insert((&binding.routing_key, &binding.queue)) {
                let (key, queue) = (&binding.routing_key, &binding.queue);
                let fault =
                    Fault::new(format!("`{}` is bound to `{}` twice", key.escape_debug(), queue.escape_debug())).value(key.as_str());
                self.report(site.key(&["routing_key"]), fault);
            }
            self.binding(&site, exchange.kind, binding);
        }
        self.alternate(site, exchange);
    }

    fn binding(&mut self, site: &Site, kind: ExchangeKind, binding: &BindingSpec) {
        let (text, name) = (&binding.routing_key, &binding.queue);
        match BindingKey::new(text) {
            Err(error) => self.report(site.key(&["routing_key"]), Fault::new(error.to_string()).value(text.as_str())),
            Ok(key) if !kind.takes(&key) => {
                let fault = Fault::new(format!("`{key}` is no binding key of a {kind} exchange, allowed is {}", kind.allowed()));
                self.report(site.key(&["routing_key"]), fault.value(text.as_str()));
            }
            Ok(_) => {}
        }
        if name.is_empty() {
            return self.report(site.key(&["queue"]), Fault::new("a binding names no `queue`").value(""));
        }
        if self.letter_queues.contains(name.as_str()) {
            let fault = Fault::new(format!("`{}` keeps dead letters and cannot be published to", name.escape_debug()));
            return self.report(site.key(&["queue"]), fault.value(name.as_str()));
        }
        let Some(queue) = self.queues.get(name.as_str()) else {
            self.undeclared(site.key(&["queue"]), "queues", name, None);
            return;
        };
        let lanes = queue.config.lanes.len();
        if binding.lane >= lanes {
            let fault = Fault::new(format!("lane {} of queue `{}`, which has lanes 0..{lanes}", binding.lane, name.escape_debug()));
            self.report(site.key(&["priority", "lane"]), fault.value(binding.lane.to_string()));
        }
    }

    fn alternate(&mut self, site: &Site, exchange: &ExchangeSpec) {
        let Some(alternate) = &exchange.alternate else { return };
        if !self.exchanges.contains_key(alternate.as_str()) {
            self.undeclared(site.key(&["alternate"]), "exchanges", alternate, Some("direct"));
            return;
        }
        let mut path = vec![exchange.name.as_str()];
        let mut next = Some(alternate.as_str());
        while let Some(name) = next {
            path.push(name);
            if name == exchange.name {
                let fault = Fault::new(format!("alternates go in a circle: {}", path.join(" -> "))).value(alternate.as_str());
                return self.report(site.key(&["alternate"]), fault);
            }
            if path[..path.len() - 1].contains(&name) {
                return; // into a circle that this exchange is no part of
            }
            if path.len() > ALTERNATES_MAX {
                let fault = Fault::new(format!("more than {ALTERNATES_MAX} alternates one after another")).value(alternate.as_str());
                return self.report(site.key(&["alternate"]), fault);
            }
            next = self.exchanges.get(name).and_then(|exchange| exchange.alternate.as_deref());
        }
    }

    fn queue(&mut self, site: &Site, queue: &'t QueueSpec) {
        self.durable(site, queue.durable);
        self.settings(site, &queue.config);
        if queue.dlq.is_none() {
            self.onward(site, &queue.config.dead_letters);
        }
        let pool = &queue.config.pool;
        if !self.pools.contains(pool.as_str()) {
            self.undeclared(site.key(&["pool"]), "pools", pool, None);
        }
        let Some(dlq) = &queue.dlq else { return };
        if !self.letter_queues.contains(dlq.as_str()) {
            let meant = self.undeclared(site.key(&["dlq"]), "queues", dlq, None);
            self.meant.extend(meant);
            return;
        }
        if let Some(first) = self.served.get(dlq.as_str()).filter(|first| **first != queue.name()) {
            let fault = Fault::new(format!("`{}` is the `dlq` of `{first}` already", dlq.escape_debug())).value(dlq.as_str());
            let help = "each queue keeps its dead letters by itself: name a `dlq` of its own";
            self.report(site.key(&["dlq"]), fault.help(help));
        }
    }

    fn dead_letter_queue(&mut self, site: &Site, queue: &'t DeadLetterQueueSpec) {
        self.durable(site, queue.durable);
        // its settings are tried as those of a queue's dead letters
        self.settings(site, &QueueConfig::new(queue.name.as_str()).dead_letters(queue.config.clone()));
        self.onward(site, &queue.config);
    }

    /// Dead-letter queues that no queue has. A file has none: there they are what they are because they are named.
    fn unserved(&mut self) {
        for (site, queue) in named("queues", &self.topology.dead_letter_queues, |queue| &queue.name) {
            if !self.served.contains_key(queue.name.as_str()) && !self.topology.queues.is_empty() {
                let fault = Fault::new(format!("no queue has `{}` as its `dlq`", queue.name.escape_debug()));
                self.report(site.key(&["name"]), fault.value(queue.name.as_str()));
            }
        }
    }
}
