//! What a queue does with the keys of jobs: dedupe, and order by partition key.

use super::fault::Fault;
use super::node::{Node, Value};
use super::read::Reader;
use crate::config::{Dedupe, OrderPolicy, QueueConfig};
use std::time::Duration;

const DEDUPE: [&str; 3] = ["mode", "window", "bound"];
const PARTITIONS: [&str; 3] = ["count", "order", "redeliver_overrun"];

/// How a mode with a window is made, if the mode has one.
type Mode = Option<fn(Duration) -> Dedupe>;

const MODES: [(&str, Mode); 4] =
    [("while-live", None), ("window", Some(Dedupe::Window)), ("debounce", Some(Dedupe::Debounce)), ("keep-last", Some(Dedupe::KeepLast))];
const ORDERS: [(&str, OrderPolicy); 2] = [("block-key", OrderPolicy::BlockKey), ("skip", OrderPolicy::Skip)];

impl Reader<'_> {
    /// When a job is a duplicate of another, and how many keys are remembered.
    pub(super) fn dedupe(&mut self, config: QueueConfig, node: &Node) -> QueueConfig {
        let Some(table) = self.table(node, "`dedupe`", &DEDUPE) else { return config };
        let bound = self.ranged(table.get("bound"), "`bound`", u64::MAX);
        let mode = self.dedupe_mode(table);
        for key in ["mode", "bound"].into_iter().filter(|key| table.get(key).is_none()) {
            let fault = Fault::new(format!("`dedupe` has no `{key}`"));
            let fault = match key {
                "mode" => fault.help("it is `while-live`, `window`, `debounce` or `keep-last`"),
                _ => fault.help("say how many keys are remembered at most; `max_length` of them are enough for `while-live`"),
            };
            self.fault(&node.span, fault);
        }
        let bound = table.get("bound").zip(bound).and_then(|(at, bound)| {
            let set = |config: QueueConfig| config.dedupe(Dedupe::WhileLive, bound);
            self.set(QueueConfig::new("q"), at, "`bound`", set).dedupe.map(|(_, bound)| bound)
        });
        match mode.zip(bound) {
            Some((mode, bound)) => config.dedupe(mode, bound),
            None => config,
        }
    }

    fn dedupe_mode(&mut self, table: &Node) -> Option<Dedupe> {
        let window = self.duration(table.get("window"), "`window`");
        let mode = self.choice(table.get("mode"), "`mode`", &MODES)?;
        match (mode, table.entry("window")) {
            (None, None) => Some(Dedupe::WhileLive),
            (None, Some(entry)) => {
                let fault = Fault::new("`window` is for the modes `window`, `debounce` and `keep-last`").value("window");
                self.fault(&entry.key_span, fault);
                None
            }
            (Some(mode), Some(entry)) => {
                let mode = mode(window?);
                let set = |config: QueueConfig| config.dedupe(mode, 1);
                self.set(QueueConfig::new("q"), &entry.node, "`window`", set).dedupe.map(|(mode, _)| mode)
            }
            (Some(_), None) => {
                let at = table.get("mode").unwrap_or(table);
                let word = at.word().unwrap_or_default();
                let fault = Fault::new(format!("`mode` is `{word}`, and there is no `window`")).value(word);
                self.fault(&at.span, fault.help("say how long: `window: 10m`"));
                None
            }
        }
    }

    /// How many partitions; or that, and what becomes of a key whose job is late.
    pub(super) fn partitions(&mut self, mut config: QueueConfig, node: &Node) -> QueueConfig {
        let at_count = if matches!(node.value, Value::Table(_)) {
            let Some(table) = self.table(node, "`partitions`", &PARTITIONS) else { return config };
            if let Some(order) = self.choice(table.get("order"), "`order`", &ORDERS) {
                config = config.order(order);
            }
            if let Some(redeliver) = self.flag(table.get("redeliver_overrun"), "`redeliver_overrun`") {
                config = config.redeliver_overrun(redeliver);
            }
            let Some(count) = table.get("count") else {
                self.fault(&node.span, Fault::new("`partitions` has no `count`").help("a power of two; sixteen for each worker or more"));
                return config;
            };
            count
        } else {
            node
        };
        // what they are called where they stand
        let what = if std::ptr::eq(at_count, node) { "`partitions`" } else { "`count`" };
        match self.ranged(Some(at_count), what, u32::MAX) {
            // there are to be some, however many: what cannot be beside them is said now
            Some(count) => self.set(config.partitions(1), at_count, what, |config| config.partitions(count)),
            None => config,
        }
    }
}
