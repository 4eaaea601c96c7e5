//! The ways of dead letters: what the settings name, found, checked and connected.

use super::exchange::{Exchange, QueueTable};
use super::handle::QueueHandle;
use super::snapshot::{Exchanges, Watched};
use crate::config::words::choices;
use crate::config::{DeadLetterConfig, QueueConfig};
use crate::dead_letter::{self, Bindings, Bound, DeadLetter, Graph, Routes, Source};
use crate::error::ConfigError;
use crate::exchange::Finder;
use crate::job::Payload;
use crate::queue::{Onward, Queue, Way};
use crate::routing::{RoutingKey, TopicTable};
use crate::sync::{Mutex, contain};
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};

/// To another queue.
struct ToQueue<T: Payload>(Arc<Queue<T>>);

impl<T: Payload> Onward<T> for ToQueue<T> {
    fn version(&self) -> u64 {
        0
    }

    fn way(&self, _letter: &DeadLetter<T>) -> Option<Way<T>> {
        Some(Way { queue: Arc::clone(&self.0), lane: None, key: None })
    }
}

/// To where an exchange leads.
struct ToExchange<T: Payload> {
    exchange: Exchange<T>,
    /// By this key; `None`: by the one that each letter came by.
    key: Option<Arc<str>>,
    /// By its name go those that came by none.
    source: Arc<str>,
}

impl<T: Payload> ToExchange<T> {
    fn exchanges(&self) -> impl Iterator<Item = &Exchange<T>> {
        std::iter::successors(Some(&self.exchange), |exchange| exchange.alternate())
    }
}

impl<T: Payload> Onward<T> for ToExchange<T> {
    fn version(&self) -> u64 {
        // each only grows
        self.exchanges().map(|exchange| exchange.inner.current.version()).sum()
    }

    fn way(&self, letter: &DeadLetter<T>) -> Option<Way<T>> {
        let text = self.key.as_deref().or(letter.routing_key()).unwrap_or(&self.source);
        let key = RoutingKey::new(text).ok()?;
        let mut finder = Finder::new();
        for exchange in self.exchanges() {
            let (_, table) = exchange.inner.current.load();
            // a predicate that panics does not hold
            table.find(key, &mut finder, |guard| contain(|| guard(&key, letter.payload())).unwrap_or(false));
            let first = finder.hops().first().map(|hop| (Arc::clone(&table.targets()[hop.target as usize].queue), usize::from(hop.lane)));
            // whoever is the last to have a table drops its predicates: a panic of theirs costs no letter
            drop(contain(|| drop(table)));
            match (first, finder.hops().len()) {
                (None, _) => {}
                (Some((queue, lane)), 1) => return Some(Way { queue, lane: Some(lane), key: Some(Arc::from(text)) }),
                _ => return None,
            }
        }
        None
    }
}

impl<T: Payload> Bindings for QueueTable<T> {
    fn get(&self, number: u32) -> Option<Bound<'_>> {
        let bound = self.bindings().get(number as usize)?;
        Some(Bound { key: bound.key.as_str(), queue: bound.target.name(), guarded: bound.guard.is_some() })
    }

    fn topics(&self) -> &TopicTable {
        QueueTable::topics(self)
    }
}

/// Everything that was declared, by name, whatever its payload.
#[derive(Default)]
struct Known {
    queues: Things,
    exchanges: Things,
}

/// Handles.
type Things = BTreeMap<String, Box<dyn Any + Send + Sync>>;

/// A queue whose dead letters move on.
#[derive(Debug)]
struct Letters {
    config: QueueConfig,
    /// It has a handler.
    handled: bool,
}

type Connect = Box<dyn FnOnce(&Known) -> Result<(), ConfigError> + Send + Sync>;

/// The ways of the dead letters of a runtime in the making.
#[derive(Default)]
pub(super) struct LetterWays {
    known: Known,
    sources: Vec<Letters>,
    connects: Vec<Connect>,
    pub(super) map: Arc<LetterMap>,
}

impl LetterWays {
    pub(super) fn add_exchange<T: Payload>(&mut self, exchange: &Exchange<T>) {
        self.known.exchanges.insert(exchange.name().to_owned(), Box::new(exchange.clone()));
    }

    /// `handled`: it has a handler, which starts what comes as soon as a worker is free.
    pub(super) fn add_queue<T: Payload>(&mut self, handle: &QueueHandle<T>, config: &QueueConfig, handled: bool) {
        self.known.queues.insert(handle.name().to_owned(), Box::new(handle.clone()));
        if !config.dead_letters.moves_on() {
            return;
        }
        self.sources.push(Letters { config: config.clone(), handled });
        let (queue, letters) = (Arc::clone(&handle.queue), config.dead_letters.clone());
        self.connects.push(Box::new(move |known| connect(&queue, &letters, known)));
    }

    /// Finds and connects what was named, and watches over it from here on.
    ///
    /// # Errors
    /// A name that nothing has, or something of another payload; a routing key that leads to several queues; a circle.
    pub(super) fn connect(self, exchanges: &Exchanges) -> Result<(), ConfigError> {
        let LetterWays { known, sources, connects, map } = self;
        connects.into_iter().try_for_each(|connect| connect(&known))?;
        let built = Built { sources, exchanges: exchanges.iter().map(Arc::downgrade).collect() };
        let mut current = map.built.lock();
        built.check(None)?;
        *current = Some(built);
        Ok(())
    }
}

fn connect<T: Payload>(queue: &Arc<Queue<T>>, letters: &DeadLetterConfig, known: &Known) -> Result<(), ConfigError> {
    let source = &queue.settings.name;
    let onward: Arc<dyn Onward<T>> = if let Some(name) = &letters.exchange {
        let exchange: &Exchange<T> = find(source, "exchange", name, &known.exchanges)?;
        let key = letters.routing_key.as_deref().map(Arc::from);
        Arc::new(ToExchange { exchange: exchange.clone(), key, source: Arc::clone(source) })
    } else {
        let name = letters.queue.as_deref().unwrap_or_default();
        let target: &QueueHandle<T> = find(source, "queue", name, &known.queues)?;
        Arc::new(ToQueue(Arc::clone(&target.queue)))
    };
    queue.set_onward(Some(onward));
    Ok(())
}

/// What the dead letters of `source` name: it has to be there, and of the same payload.
fn find<'k, X: 'static>(source: &str, field: &str, name: &str, things: &'k Things) -> Result<&'k X, ConfigError> {
    let refuse = |why: &str, allowed: String| {
        ConfigError::new(format!("queue `{source}`"), format!("dead_letters.{field}"), format_args!("`{name}`, {why}"), allowed)
    };
    match things.get(name) {
        None => Err(refuse("which was not declared", choices(name, things.keys().map(String::as_str)))),
        Some(thing) => thing.downcast_ref().ok_or_else(|| refuse("of another payload", format!("one whose payload is that of `{source}`"))),
    }
}

/// Where dead letters go in a runtime: bindings are checked against it before they change.
#[derive(Default)]
pub(super) struct LetterMap {
    /// `None` until the runtime is built: then everything is checked at once.
    built: Mutex<Option<Built>>,
}

struct Built {
    sources: Vec<Letters>,
    exchanges: Vec<Weak<dyn Watched>>,
}

impl LetterMap {
    /// Changes the bindings of an exchange, if `change` finds that the check which it is given says so. One change in a runtime at a time.
    pub(super) fn change<R>(&self, change: impl FnOnce(&dyn Fn(Candidate<'_>) -> Result<(), ConfigError>) -> R) -> R {
        let built = self.built.lock();
        change(&|candidate| built.as_ref().map_or(Ok(()), |built| built.check(Some(candidate))))
    }
}

/// An exchange as it would be: its name, and its bindings.
pub(super) type Candidate<'a> = (&'a str, &'a dyn Bindings);

impl Built {
    fn check(&self, candidate: Option<Candidate<'_>>) -> Result<(), ConfigError> {
        let exchanges: Vec<_> = self.exchanges.iter().filter_map(Weak::upgrade).collect();
        let tables: Vec<_> = exchanges.iter().map(|exchange| exchange.table()).collect();
        let would_be = |(exchange, table)| {
            let (exchange, table): (&Arc<dyn Watched>, &Arc<dyn Bindings>) = (exchange, table);
            let bindings = candidate.filter(|(name, _)| *name == exchange.name()).map_or(&**table, |(_, bindings)| bindings);
            dead_letter::Exchange { name: exchange.name(), alternate: exchange.alternate(), bindings }
        };
        let mut routes = Routes::new(exchanges.iter().zip(&tables).map(would_be).collect(), usize::MAX, usize::MAX);
        for Letters { config, .. } in self.sources.iter().filter(|_| candidate.is_none()) {
            let letters = &config.dead_letters;
            let Some(key) = &letters.routing_key else { continue };
            if let Some(queues) = routes.of(letters).and_then(|reached| reached.several()) {
                let queues = queues.iter().map(|queue| format!("`{queue}`")).collect::<Vec<_>>().join(", ");
                let allowed = "a key that leads to one queue: a letter is moved, not copied";
                return Err(refusal(config.name(), "dead_letters.routing_key", format_args!("`{key}`, which leads to {queues}"), allowed));
            }
        }
        let sources = self.sources.iter().map(|Letters { config, handled }| Source::new(config, &config.dead_letters, *handled));
        let graph = Graph::new(sources.collect(), routes);
        let Some(circle) = graph.circle() else { return Ok(()) };
        let (what, allowed) = if circle.by_itself {
            ("that goes on by itself", "a way that ends, or one with a queue in it whose letters die by a handler only")
        } else {
            ("without a pause", "a way that ends, or one with a `retention` of dead letters in it: a retry with a pause")
        };
        let path = graph.path(&circle);
        Err(refusal(path[0], "dead_letters", format_args!("`{}`, a circle {what}", dead_letter::shown(&path)), allowed))
    }
}

fn refusal(queue: &str, field: &str, value: fmt::Arguments<'_>, allowed: &str) -> ConfigError {
    ConfigError::new(format!("queue `{queue}`"), field, value, allowed)
}

impl fmt::Debug for LetterWays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LetterWays").field("sources", &self.sources).finish_non_exhaustive()
    }
}
