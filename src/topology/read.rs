//! From the tree of a file to a topology: what may stand where, and every fault on the way.

use super::data::{BindingSpec, DeadLetterQueueSpec, ExchangeSpec, QueueSpec, Topology};
use super::fault::{Fault, Faults};
use super::node::{Entry, Node, Value, is_null};
use super::settings::{DEAD_LETTER_QUEUE, QUEUE};
use super::source::{Source, Span};
use super::unsure::Unsure;
use super::words::{self, DURATION, nearest};
use crate::config::{LaneConfig, QueueConfig};
use crate::exchange::ExchangeKind;
use crate::limits::LANES_MAX;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

pub(super) const TOP: [&str; 3] = ["exchanges", "queues", "pools"];
const EXCHANGE: [&str; 5] = ["name", "type", "durable", "alternate", "bindings"];
const BINDING: [&str; 4] = ["routing_key", "queue", "priority", "lane"];
const KINDS: [(&str, ExchangeKind); 3] =
    [("direct", ExchangeKind::Direct), ("topic", ExchangeKind::Topic), ("fanout", ExchangeKind::Fanout)];

/// Words of other systems and of the code, and what they are called here.
const SYNONYMS: [(&str, &str); 15] = [
    ("capacity", "max_length"),
    ("kind", "type"),
    ("binding_key", "routing_key"),
    ("pattern", "routing_key"),
    ("key", "routing_key"),
    ("dead_letter_queue", "dlq"),
    ("dead_letter_to", "dead_letter_target"),
    ("visibility_timeout", "visibility"),
    ("alternate_exchange", "alternate"),
    ("threads", "workers"),
    ("concurrency", "workers"),
    ("prefetch_count", "prefetch"),
    ("reject", "reject-publish"),
    ("reject-publish-dlx", "drop-new"),
    ("drop-head", "drop-oldest"),
];

/// The word that was probably meant: the same by another name, or the nearest.
fn meant<'a, I: Iterator<Item = &'a str>>(word: &str, words: impl Fn() -> I) -> Option<&'a str> {
    let synonym = SYNONYMS.iter().find(|(other, _)| *other == word).and_then(|(_, here)| words().find(|word| word == here));
    synonym.or_else(|| nearest(word, words()))
}

/// Reads a tree, behind the faults that were found in it. What could not be read is left at its default, so that the rest can be checked too.
pub(super) fn read(root: &Node, source: Source<'_>, faults: Faults) -> (Topology, Faults, Unsure) {
    let mut reader = Reader::new(source, faults);
    let mut topology = Topology::new();
    if root.word().is_some_and(is_null) {
        reader.fault(&root.span, Fault::new("the file is empty").help("a topology has `queues`, and mostly `exchanges` and `pools`"));
        return (topology, reader.faults, reader.unsure);
    }
    let Some(top) = reader.table(root, "the file", &TOP) else { return (topology, reader.faults, reader.unsure) };
    let queues = reader.list(top.get("queues"), "`queues`");
    let letter_queues: BTreeSet<&str> = queues.iter().filter_map(|queue| queue.get("dlq")?.text()).collect();
    for node in queues {
        let name = node.get("name").and_then(Node::text).unwrap_or_default();
        if letter_queues.contains(name) {
            topology.dead_letter_queues.extend(reader.dead_letter_queue(node));
        } else if let Some(queue) = reader.queue(node) {
            topology.queues.push(queue);
        }
    }
    for node in reader.list(top.get("exchanges"), "`exchanges`") {
        topology.exchanges.extend(reader.exchange(node, topology.exchanges.len()));
    }
    for node in reader.list(top.get("pools"), "`pools`") {
        topology.pools.extend(reader.pool(node));
    }
    give_lanes(&mut topology, &reader.laneless);
    reader.find_lanes(&mut topology);
    (topology, reader.faults, reader.unsure)
}

/// A queue that says nothing of lanes has as many as its bindings ask for by number, up to the most there can be.
fn give_lanes(topology: &mut Topology, laneless: &HashSet<String>) {
    let mut wanted: BTreeMap<&str, usize> = BTreeMap::new();
    for binding in topology.exchanges.iter().flat_map(|exchange| &exchange.bindings) {
        let lanes = wanted.entry(&binding.queue).or_default();
        *lanes = (*lanes).max(binding.lane.saturating_add(1));
    }
    for queue in topology.queues.iter_mut().filter(|queue| laneless.contains(queue.name())) {
        if let Some(&lanes @ 2..) = wanted.get(queue.name()) {
            queue.config.lanes = (0..lanes.min(LANES_MAX)).map(|lane| LaneConfig::new(lane.to_string())).collect();
        }
    }
}

/// Reads values and remembers what is wrong with them.
pub(super) struct Reader<'a> {
    pub(super) source: Source<'a>,
    pub(super) faults: Faults,
    /// Where the faults of what is being read are.
    pub(super) reported: HashSet<Span>,
    pub(super) unsure: Unsure,
    /// The queues that say nothing of lanes, or nothing that can be read.
    pub(super) laneless: HashSet<String>,
    /// The queues of whose lanes something is wrong.
    pub(super) unread_lanes: HashSet<String>,
    named_lanes: Vec<NamedLane>,
}

/// A lane that a binding names. It is looked up when all lanes are known.
struct NamedLane {
    exchange: usize,
    binding: usize,
    name: String,
    span: Span,
}

impl<'a> Reader<'a> {
    fn new(source: Source<'a>, faults: Faults) -> Self {
        let (laneless, unread_lanes) = (HashSet::new(), HashSet::new());
        let (reported, unsure) = (HashSet::new(), Unsure::default());
        Reader { source, faults, reported, unsure, laneless, unread_lanes, named_lanes: Vec::new() }
    }
}

impl Reader<'_> {
    pub(super) fn fault(&mut self, span: &Span, fault: Fault) {
        self.reported.insert(span.clone());
        self.faults.add(|| Fault { place: Some(self.source.place(span)), ..fault });
    }

    /// A table with none but these keys.
    pub(super) fn table<'n>(&mut self, node: &'n Node, what: &str, keys: &[&str]) -> Option<&'n Node> {
        let Value::Table(entries) = &node.value else {
            self.fault(&node.span, Fault::new(format!("{what} is {}, expected a table", node.kind())));
            return None;
        };
        for entry in entries.iter().filter(|entry| !keys.contains(&entry.key.as_str())) {
            self.unknown(entry, what, keys);
        }
        Some(node)
    }

    fn unknown(&mut self, Entry { key, key_span, .. }: &Entry, what: &str, keys: &[&str]) {
        if self.faults.is_full() {
            self.reported.insert(key_span.clone());
            self.faults.more += 1; // the nearest key need not be looked for
            return;
        }
        let fault = Fault::new(format!("{what} has no key `{}`", key.escape_debug())).value(key.as_str());
        let fault = match meant(key, || keys.iter().copied()) {
            meant @ Some(_) => fault.meant(meant),
            None => fault.help(format!("its keys are {}", listed(keys.iter().copied()))),
        };
        self.fault(key_span, fault);
    }

    pub(super) fn list<'n>(&mut self, node: Option<&'n Node>, what: &str) -> &'n [Node] {
        let Some(node) = node else { return &[] };
        if !matches!(node.value, Value::List(_)) {
            let fault = Fault::new(format!("{what} is {}, expected a list", node.kind()));
            let is_header = self.source.text[node.span.clone()].starts_with('[');
            self.fault(&node.span, if is_header { fault.help("a header in `[[` and `]]` begins an item of a list") } else { fault });
        }
        node.items()
    }

    /// A text that is not empty.
    pub(super) fn text(&mut self, node: Option<&Node>, what: &str) -> Option<String> {
        let node = node?;
        if let Some(text) = node.text() {
            return Some(text.to_owned());
        }
        match &node.value {
            Value::Text(_) => self.fault(&node.span, Fault::new(format!("{what} is empty")).value("")),
            Value::Other(_) => {
                let written = self.source.written(node).unwrap_or_default();
                self.fault(&node.span, Fault::new(format!("{what} is {written}, expected a text")).value(written));
            }
            _ => {
                let fault = Fault::new(format!("{what} is {}, expected a text", node.kind()));
                // YAML takes the rest of the line for a comment
                let is_comment =
                    node.is_nothing() && self.source.text[node.span.end..].trim_start_matches([':', ' ', '\t']).starts_with('#');
                let fault = if is_comment { fault.help("a text that begins with `#` is written in quotes: `\"#\"`") } else { fault };
                self.fault(&node.span, fault);
            }
        }
        None
    }

    /// The name of a thing, which it must have.
    pub(super) fn name(&mut self, node: &Node, what: &str) -> Option<String> {
        if node.get("name").is_none() {
            self.fault(&node.span, Fault::new(format!("{what} has no `name`")));
        }
        self.text(node.get("name"), "`name`")
    }

    pub(super) fn flag(&mut self, node: Option<&Node>, what: &str) -> Option<bool> {
        let node = node?;
        match &node.value {
            Value::Plain(word) | Value::Other(word) if word == "true" => Some(true),
            Value::Plain(word) | Value::Other(word) if word == "false" => Some(false),
            _ => {
                let is_quoted = matches!(&node.value, Value::Text(word) if word == "true" || word == "false");
                let value = format!("{}{}", if is_quoted { "the text " } else { "" }, self.shown(node));
                let fault = Fault::new(format!("{what} is {value}, expected `true` or `false`")).value(node.word().unwrap_or(""));
                self.fault(&node.span, fault);
                None
            }
        }
    }

    /// A number that is not negative.
    pub(super) fn number<N: TryFrom<u64>>(&mut self, node: Option<&Node>, what: &str) -> Option<N> {
        self.number_or(node, what, None)
    }

    /// A number whose range is asked for behind this. One that cannot be counted with is `beyond` the range, so that what is allowed is said of it too.
    pub(super) fn ranged<N: TryFrom<u64>>(&mut self, node: Option<&Node>, what: &str, beyond: N) -> Option<N> {
        self.number_or(node, what, Some(beyond))
    }

    fn number_or<N: TryFrom<u64>>(&mut self, node: Option<&Node>, what: &str, beyond: Option<N>) -> Option<N> {
        let node = node?;
        let word = node.word().unwrap_or_default();
        let unsigned = word.strip_prefix(['-', '+']).unwrap_or(word);
        let looks_so = unsigned.split('_').all(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
        let is_text = matches!(node.value, Value::Text(_));
        if looks_so && !is_text {
            let number = unsigned.replace('_', "").parse::<u64>().ok().filter(|number| *number == 0 || !word.starts_with('-'));
            if let Some(number) = number.and_then(|number| N::try_from(number).ok()).or(beyond) {
                return Some(number);
            }
        }
        let written = node.word().and_then(|_| self.source.written(node)).unwrap_or_default().to_owned();
        let fault = match (looks_so, is_text) {
            (true, true) => Fault::new(format!("{what} is the text `{written}`, expected a whole number")),
            (true, false) if word.starts_with('-') => Fault::new(format!("{what} is {written}, expected a number that is not negative")),
            (true, false) => Fault::new(format!("{what} is {written}, which is larger than any number here")),
            _ => Fault::new(format!("{what} is {}, expected a whole number", self.shown(node))),
        };
        self.fault(&node.span, fault.value(written));
        None
    }

    /// A value as it is written, or what it is.
    fn shown(&self, node: &Node) -> String {
        match self.source.written(node) {
            Some(written) if node.word().is_some() && !node.is_nothing() => format!("`{}`", written.escape_debug()),
            _ => node.kind().to_owned(),
        }
    }

    pub(super) fn duration(&mut self, node: Option<&Node>, what: &str) -> Option<Duration> {
        let node = node?;
        let word = node.word().filter(|_| !node.is_nothing());
        let Some(word) = word else {
            self.fault(&node.span, Fault::new(format!("{what} is {}, expected a duration", node.kind())).help(format!("write {DURATION}")));
            return None;
        };
        match words::duration(word) {
            Ok(duration) => Some(duration),
            Err(hint) => {
                let written = self.source.written(node).unwrap_or(word);
                let fault = Fault::new(format!("{what} is {}, which is no duration", self.shown(node))).value(written).help(hint);
                self.fault(&node.span, fault);
                None
            }
        }
    }

    /// One of several words.
    pub(super) fn choice<T: Clone>(&mut self, node: Option<&Node>, what: &str, choices: &[(&str, T)]) -> Option<T> {
        let node = node?;
        let word = node.word();
        if let Some((_, chosen)) = choices.iter().find(|(name, _)| word == Some(name)) {
            return Some(chosen.clone());
        }
        let names = || choices.iter().map(|(name, _)| *name);
        let fault = Fault::new(format!("{what} is {}, expected {}", self.shown(node), either(names()))).value(word.unwrap_or_default());
        self.fault(&node.span, fault.meant(word.and_then(|word| meant(word, names))));
        None
    }

    fn exchange(&mut self, node: &Node, number: usize) -> Option<ExchangeSpec> {
        self.reported.clear();
        self.unsure.ways |= !matches!(node.value, Value::Table(_));
        let node = self.table(node, "an exchange", &EXCHANGE)?;
        let name = self.name(node, "an exchange").unwrap_or_default();
        if node.get("type").is_none() {
            let fault = Fault::new("an exchange has no `type`").help("it is `direct`, `topic` or `fanout`");
            self.fault(&node.entry("name").map_or(node.span.clone(), |entry| entry.node.span.clone()), fault);
        }
        let kind = self.choice(node.get("type"), "`type`", &KINDS);
        let mut exchange = ExchangeSpec::new(name, kind.unwrap_or(ExchangeKind::Topic));
        exchange.durable = self.flag(node.get("durable"), "`durable`").unwrap_or(false);
        exchange.alternate = self.text(node.get("alternate"), "`alternate`");
        for binding in self.list(node.get("bindings"), "`bindings`") {
            // one that cannot be read holds its place
            let at = (number, exchange.bindings.len());
            exchange.bindings.push(self.binding(binding, kind, at).unwrap_or_else(|| BindingSpec::new("#", "")));
        }
        self.note_exchange(&exchange.name);
        Some(exchange)
    }

    /// A binding; `at` are the numbers of its exchange and its own.
    fn binding(&mut self, node: &Node, kind: Option<ExchangeKind>, at: (usize, usize)) -> Option<BindingSpec> {
        let node = self.table(node, "a binding", &BINDING)?;
        for key in ["queue", "routing_key"] {
            // of a type that could not be read it is not known
            let needless = key == "routing_key" && matches!(kind, Some(ExchangeKind::Fanout) | None);
            if node.get(key).is_none() && !needless {
                self.fault(&node.span, Fault::new(format!("a binding has no `{key}`")));
            }
        }
        let key = match node.get("routing_key").map(|key| &key.value) {
            Some(Value::Text(key)) => Some(key.clone()), // what is wrong with one that is empty is said of all keys
            _ => self.text(node.get("routing_key"), "`routing_key`"),
        };
        let queue = self.text(node.get("queue"), "`queue`").unwrap_or_default();
        let number = self.number(node.get("priority"), "`priority`");
        if let (Some(name), Some(lane)) = (self.text(node.get("lane"), "`lane`"), node.get("lane")) {
            self.named_lanes.push(NamedLane { exchange: at.0, binding: at.1, name, span: lane.span.clone() });
        }
        if let (Some(lane), Some(_)) = (node.entry("lane"), node.get("priority")) {
            self.fault(&lane.key_span, Fault::new("a binding has `priority` or `lane`, not both").help("`priority` is the lane's number"));
        }
        Some(BindingSpec::new(key.unwrap_or_else(|| "#".to_owned()), queue).lane(number.unwrap_or(0)))
    }

    /// The numbers of the lanes that are named.
    fn find_lanes(&mut self, topology: &mut Topology) {
        // of queues that are declared twice the first counts
        let queues: HashMap<&str, &[LaneConfig]> =
            topology.queues.iter().rev().map(|queue| (queue.name(), queue.config.lanes.as_slice())).collect();
        for NamedLane { exchange, binding, name, span } in std::mem::take(&mut self.named_lanes) {
            let binding = &mut topology.exchanges[exchange].bindings[binding];
            let queue = binding.queue.as_str();
            let Some(lanes) = queues.get(queue) else {
                self.unsure.name_lane(queue, name);
                continue;
            };
            if self.unread_lanes.contains(queue) {
                continue;
            }
            if let Some(number) = lanes.iter().position(|lane| lane.name == name) {
                binding.lane = number;
                continue;
            }
            let names = || lanes.iter().map(|lane| lane.name.as_str());
            let fault = Fault::new(format!("queue `{}` has no lane `{}`", queue.escape_debug(), name.escape_debug())).value(name.as_str());
            let fault = match nearest(&name, names()) {
                meant @ Some(_) => fault.meant(meant),
                None => fault.help(format!("its lanes are {}", listed(names()))),
            };
            self.fault(&span, fault);
        }
    }

    fn queue(&mut self, node: &Node) -> Option<QueueSpec> {
        self.reported.clear();
        self.unsure.ways |= !matches!(node.value, Value::Table(_));
        let node = self.queue_table(node)?;
        let name = self.name(node, "a queue").unwrap_or_default();
        let mut queue = QueueSpec::new(QueueConfig::new(name));
        queue.durable = self.flag(node.get("durable"), "`durable`").unwrap_or(false);
        queue.dlq = self.text(node.get("dlq"), "`dlq`");
        queue.config = self.queue_settings(node, queue.config);
        self.note_queue(node, queue.name(), &QUEUE);
        Some(queue)
    }

    fn dead_letter_queue(&mut self, node: &Node) -> Option<DeadLetterQueueSpec> {
        self.reported.clear();
        let node = self.dead_letter_queue_table(node)?;
        let name = self.name(node, "a queue").unwrap_or_default();
        let letters = self.dead_letter_settings(node);
        let mut queue = DeadLetterQueueSpec::new(name, self.letters_onward(node, letters));
        queue.durable = self.flag(node.get("durable"), "`durable`").unwrap_or(false);
        self.note_queue(node, &queue.name, &DEAD_LETTER_QUEUE);
        Some(queue)
    }
}

/// "`a`, `b`, `c`"
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// "`a`, `b` or `c`"
fn either<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names = listed(names);
    match names.rsplit_once(", ") {
        Some((first, last)) => format!("{first} or {last}"),
        None => names,
    }
}
