//! Where exchanges lead dead letters.

use crate::config::DeadLetterConfig;
use crate::routing::{RoutingKey, TopicTable, Walk};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::rc::Rc;

/// The bindings of an exchange.
pub trait Bindings {
    /// That of a number; they are counted from 0 on.
    fn get(&self, number: u32) -> Option<Bound<'_>>;
    /// Which of them a key matches, by number.
    fn topics(&self) -> &TopicTable;
}

/// A binding.
#[derive(Debug, Clone, Copy)]
pub struct Bound<'g> {
    /// Its key.
    pub key: &'g str,
    /// The queue that it leads to.
    pub queue: &'g str,
    /// A predicate has a say.
    pub guarded: bool,
}

/// An exchange.
#[derive(Clone, Copy)]
pub struct Exchange<'g> {
    /// Its name.
    pub name: &'g str,
    /// The one that takes what it leads nowhere.
    pub alternate: Option<&'g str>,
    /// Its bindings.
    pub bindings: &'g dyn Bindings,
}

/// How many of the queues that letters may go to are told apart; one is what most questions are about.
pub(super) const STOPS_MAX: usize = 8;

/// Where an exchange and its alternates lead letters, by one key or by any.
#[derive(Debug, Default)]
pub struct Reached<'g> {
    /// Queues, each with how many exchanges are named on the way to it.
    pub stops: BTreeSet<(usize, &'g str)>,
    /// There are others.
    pub more: bool,
    /// To how many queues a letter goes in any case, as far as there are none, one or several; no exchange after these is asked.
    surely: usize,
    /// The bindings that lead there.
    pub(super) parts: Vec<Part<'g>>,
}

impl<'g> Reached<'g> {
    /// The queues of the last exchange that is asked, if it leads every letter to several.
    pub fn several(&self) -> Option<BTreeSet<&'g str>> {
        let last = self.parts.last().filter(|_| self.surely > 1)?.passed;
        Some(self.parts.iter().filter(|part| part.passed == last).flat_map(|part| &part.bundle.queues).copied().collect())
    }

    /// The way that every letter goes, if there is one.
    pub(super) fn certain(&self) -> Option<(usize, &'g str)> {
        let last = self.stops.last()?;
        let one = !self.more && self.stops.iter().all(|(_, queue)| *queue == last.1);
        (one && self.surely == 1).then_some(*last)
    }
}

/// Bindings that letters go by together.
#[derive(Debug, Clone)]
pub(super) struct Part<'g> {
    /// An exchange, and the first of its bindings that have one key; `None`: all that it has.
    pub(super) id: (&'g str, Option<u32>),
    /// How many exchanges are passed there.
    pub(super) passed: usize,
    pub(super) bundle: Rc<Bundle<'g>>,
}

/// Where bindings lead that go together.
#[derive(Debug, Default)]
pub(super) struct Bundle<'g> {
    /// Every queue once, in the order of the bindings.
    pub(super) queues: Vec<&'g str>,
    /// Those to which no predicate has a say; two stand for any more.
    surely: Vec<&'g str>,
}

/// Where exchanges lead. What was asked is not worked out again, and no binding is looked at more than twice: for its key, and for any.
#[derive(Default)]
pub struct Routes<'g> {
    exchanges: Vec<Exchange<'g>>,
    places: HashMap<&'g str, usize>,
    passed_max: usize,
    named_max: usize,
    reached: HashMap<(usize, Option<&'g str>), Rc<Reached<'g>>>,
    bundles: HashMap<(&'g str, Option<u32>), Rc<Bundle<'g>>>,
    walk: Walk,
}

impl<'g> Routes<'g> {
    /// Through these exchanges, no more than `passed_max` of them one after another; of those on a way that is sure, `named_max` are named.
    pub fn new(exchanges: Vec<Exchange<'g>>, passed_max: usize, named_max: usize) -> Self {
        let places = exchanges.iter().enumerate().map(|(at, exchange)| (exchange.name, at)).collect();
        Routes { exchanges, places, passed_max, named_max, ..Routes::default() }
    }

    /// Where the exchange of these letters leads them. None if they go through none, or one that is not there.
    pub fn of(&mut self, letters: &'g DeadLetterConfig) -> Option<Rc<Reached<'g>>> {
        let exchange = *self.places.get(letters.exchange.as_deref()?)?;
        let key = letters.routing_key.as_deref().and_then(|key| RoutingKey::new(key).ok());
        let asked = (exchange, key.map(RoutingKey::as_str));
        if !self.reached.contains_key(&asked) {
            let reached = self.follow(exchange, key);
            self.reached.insert(asked, Rc::new(reached));
        }
        self.reached.get(&asked).cloned()
    }

    /// An exchange and its alternates.
    pub fn chain(&self, exchange: &str) -> impl Iterator<Item = &'g str> {
        let place = |name: &str| self.places.get(name).copied();
        let all = std::iter::successors(place(exchange), move |at| place(self.exchanges[*at].alternate?));
        all.take(self.passed_max).map(|at| self.exchanges[at].name)
    }

    fn follow(&mut self, exchange: usize, key: Option<RoutingKey<'g>>) -> Reached<'g> {
        let mut reached = Reached::default();
        let (mut next, mut surely) = (Some(exchange), HashSet::<&str>::new());
        for passed in 1..=self.passed_max {
            let Some(at) = next.filter(|_| surely.is_empty()) else { break };
            let Exchange { name, alternate, bindings } = self.exchanges[at];
            let mut found: Vec<Option<&'g [u32]>> = Vec::new();
            match key {
                Some(key) => bindings.topics().parts(key, &mut self.walk, |part| found.extend((!part.is_empty()).then_some(Some(part)))),
                None => found.push(None),
            }
            for part in found {
                let id = (name, part.map(|part| part[0]));
                let bundle = Rc::clone(self.bundles.entry(id).or_insert_with(|| Rc::new(Bundle::new(bindings, part))));
                surely.extend(&bundle.surely);
                for queue in bundle.queues.iter().take(STOPS_MAX + 1) {
                    let stop = (passed.min(self.named_max), *queue);
                    if reached.stops.len() < STOPS_MAX {
                        reached.stops.insert(stop);
                    } else {
                        reached.more |= !reached.stops.contains(&stop);
                    }
                }
                reached.parts.push(Part { id, passed, bundle });
            }
            next = alternate.and_then(|name| self.places.get(name).copied());
        }
        reached.surely = surely.len();
        reached
    }
}

impl<'g> Bundle<'g> {
    /// Of some bindings, or of all.
    fn new(bindings: &'g dyn Bindings, part: Option<&[u32]>) -> Self {
        let (mut bundle, mut seen) = (Bundle::default(), HashSet::new());
        let (count, number) = (part.map_or(u32::MAX, |part| part.len() as u32), |at: u32| part.map_or(at, |part| part[at as usize]));
        for bound in (0..count).map_while(|at| bindings.get(number(at))) {
            if seen.insert(bound.queue) {
                bundle.queues.push(bound.queue);
            }
            // of any key is only what any key matches
            let sure = !bound.guarded && (part.is_some() || bound.key == "#");
            if sure && bundle.surely.len() < 2 && !bundle.surely.contains(&bound.queue) {
                bundle.surely.push(bound.queue);
            }
        }
        bundle
    }
}

impl fmt::Debug for Routes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").field("places", &self.places).finish_non_exhaustive()
    }
}
