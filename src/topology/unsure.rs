//! What of a topology is not known, because something of its file could not be read.
//!
//! What could not be read is left at its default. A fault that may only be there because of that is not said; it is when what was written can be read, should it still be one.

use super::node::{Entry, Node, Value};
use super::read::Reader;
use super::source::Span;
use crate::limits::LANES_MAX;
use std::collections::{HashMap, HashSet};

/// What is not known.
#[derive(Debug, Default)]
pub(super) struct Unsure {
    /// The queues, and dead-letter queues, whose letters may go elsewhere, or rest.
    letters: HashSet<String>,
    /// The exchanges that may lead elsewhere.
    exchanges: HashSet<String>,
    /// Settings, each with its queue.
    settings: HashSet<(String, &'static str)>,
    /// The lanes that bindings name, of queues that are not there.
    named_lanes: HashMap<String, Vec<String>>,
    /// Dead letters may go to queues that none seem to go to.
    pub(super) ways: bool,
}

impl Unsure {
    /// Whether what becomes of the letters of a queue is not known.
    pub(super) fn letters(&self, queue: &str) -> bool {
        self.letters.contains(queue)
    }

    /// Whether it is not known where an exchange leads.
    pub(super) fn exchange(&self, exchange: &str) -> bool {
        self.exchanges.contains(exchange)
    }

    /// The lanes that bindings name of a queue that is not there, each once.
    pub(super) fn named_lanes(&self, queue: &str) -> Option<&[String]> {
        self.named_lanes.get(queue).map(Vec::as_slice)
    }

    pub(super) fn name_lane(&mut self, queue: &str, lane: String) {
        let lanes = self.named_lanes.entry(queue.to_owned()).or_default();
        // of more than there can be none need be told apart
        if lanes.len() <= LANES_MAX && !lanes.contains(&lane) {
            lanes.push(lane);
        }
    }

    /// Whether a setting of a queue is not known.
    pub(super) fn setting(&self, queue: &str, setting: &'static str) -> bool {
        !self.settings.is_empty() && self.settings.contains(&(queue.to_owned(), setting))
    }
}

/// The settings that others are compared with.
const COMPARED: [&str; 2] = ["visibility", "max_length"];
/// Those that say where dead letters go.
const WAYS: [&str; 4] = ["dlq", "dead_letter_target", "dead_letter_exchange", "dead_letter_routing_key"];
/// Those that say whether letters rest on the way.
const RESTS: [&str; 3] = ["name", "retention", "dead_letters"];

impl Reader<'_> {
    /// Notes what is not known of a queue that was read, from the [reports](Reader::reported) since. `known` are its keys.
    pub(super) fn note_queue(&mut self, table: &Node, name: &str, known: &[&str]) {
        if self.reported.is_empty() {
            return;
        }
        // a key that is not known may be any that is not there
        let has_unknown = match &table.value {
            Value::Table(entries) => entries.iter().any(|entry| !known.contains(&entry.key.as_str()) && self.reports(&entry.key_span)),
            _ => false,
        };
        let unsure = |key: &&'static str| table.entry(key).map_or(has_unknown, |entry| self.reports_in(entry));
        let settings: Vec<_> = COMPARED.into_iter().filter(unsure).map(|setting| (name.to_owned(), setting)).collect();
        let ways = WAYS.iter().any(unsure);
        let letters = ways || RESTS.iter().any(unsure);
        self.unsure.settings.extend(settings);
        self.unsure.ways |= ways;
        if letters {
            self.unsure.letters.insert(name.to_owned());
        }
    }

    /// Notes that an exchange is not known, if anything was [reported](Reader::reported) of it.
    pub(super) fn note_exchange(&mut self, name: &str) {
        if !self.reported.is_empty() {
            self.unsure.ways = true;
            self.unsure.exchanges.insert(name.to_owned());
        }
    }

    fn reports(&self, span: &Span) -> bool {
        self.reported.contains(span)
    }

    /// Whether anything was reported of a key or in its value. Tables are no deeper than [`DEPTH_MAX`](super::DEPTH_MAX).
    fn reports_in(&self, entry: &Entry) -> bool {
        self.reports(&entry.key_span) || self.reports_within(&entry.node)
    }

    fn reports_within(&self, node: &Node) -> bool {
        self.reports(&node.span)
            || match &node.value {
                Value::List(items) => items.iter().any(|item| self.reports_within(item)),
                Value::Table(entries) => entries.iter().any(|entry| self.reports_in(entry)),
                _ => false,
            }
    }
}
