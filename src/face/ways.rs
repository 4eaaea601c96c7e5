//! Where a publisher's jobs go: the bindings it saw last, what its routes lead to by them, and its producers.

use super::destination::{Address, Destination};
use super::exchange::{ExchangeInner, Guard, QueueTable};
use super::handle::QueueHandle;
use super::producer::Producer;
use super::route::Route;
use super::routed::RouteRefusal;
use crate::error::Refusal;
use crate::exchange::{Finder, KeyCache, Row};
use crate::job::Payload;
use crate::routing::{Hop, RoutingKey};
use crate::sync::contain;
use std::sync::Arc;

/// A publisher's view of an exchange's bindings.
pub(super) struct Ways<T: Payload> {
    /// The table it goes by, and its version.
    version: u64,
    table: Arc<QueueTable<T>>,
    /// Per target of the table: its producer, once something was published there.
    pub(super) producers: Vec<Option<Producer<T>>>,
    /// How many of them are missing.
    missing: usize,
    /// Per route: what it leads to by this table.
    rows: Vec<RouteRow>,
    finder: Finder,
    /// Keys that lead to one target, whose producer is open.
    known: KeyCache,
}

/// None, one or several hops, and the producers that they count in.
pub(super) type Found<'a, T> = (&'a [Hop], &'a [Option<Producer<T>>]);

/// The way of a job: where it goes, and to what it was published.
#[derive(Debug)]
pub(super) struct Way<'a, T: Payload> {
    pub(super) hops: &'a [Hop],
    pub(super) producers: &'a [Option<Producer<T>>],
    pub(super) to: Address<'a>,
}

impl<T: Payload> Copy for Way<'_, T> {}

impl<T: Payload> Clone for Way<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<'a, T: Payload> Way<'a, T> {
    /// The producer of hop `at`.
    #[inline]
    pub(super) fn producer(&self, at: usize) -> &'a Producer<T> {
        of(&self.hops[at], self.producers)
    }

    /// Tells the producers by which key the next job comes, where queues keep that.
    pub(super) fn note_key(&self) {
        (0..self.hops.len()).for_each(|at| note_key(self.producer(at), self.to));
    }
}

/// Tells a producer by which key the next job comes, if its queue keeps that.
#[inline]
pub(super) fn note_key<'k, T: Payload>(producer: &Producer<T>, to: impl Destination<'k>) {
    if producer.handle.queue.keeps_routing_keys() {
        producer.publisher.set_routing_key(to.stated().text());
    }
}

/// The producer of a hop.
#[inline]
pub(super) fn of<'p, T: Payload>(hop: &Hop, producers: &'p [Option<Producer<T>>]) -> &'p Producer<T> {
    producers[hop.target as usize].as_ref().expect("it was opened")
}

/// What the route of this id leads to; the producers of these hops are open. Ids begin at 1.
struct RouteRow {
    id: u64,
    row: Row,
}

impl RouteRow {
    /// Where it leads, if that is the same for every job.
    fn hops(&self) -> &[Hop] {
        match &self.row {
            Row::One(hop) => std::slice::from_ref(hop),
            Row::Several(hops) => hops,
            Row::Nowhere | Row::Guarded(_) => &[],
        }
    }
}

impl<T: Payload> Ways<T> {
    pub(super) fn new(exchange: &ExchangeInner<T>) -> Self {
        let (version, table) = exchange.current.load();
        let (producers, missing) = (table.targets().iter().map(|_| None).collect(), table.targets().len());
        Ways { version, table, producers, missing, rows: Vec::new(), finder: Finder::new(), known: KeyCache::new() }
    }

    /// True when the bindings have not changed since.
    #[inline(always)]
    fn are_current(&self, exchange: &ExchangeInner<T>) -> bool {
        exchange.current.version() == self.version
    }

    /// Goes by the bindings that there are now, and keeps the producers of queues that are still bound.
    #[cold]
    fn renew(&mut self, exchange: &ExchangeInner<T>) {
        let (version, table) = exchange.current.load();
        self.version = version;
        self.rows.clear();
        self.known.clear();
        let before = std::mem::replace(&mut self.table, table);
        let mut kept = |queue: &QueueHandle<T>| before.target(queue.name()).and_then(|at| self.producers[at].take());
        let producers: Vec<_> = self.table.targets().iter().map(&mut kept).collect();
        self.missing = producers.iter().filter(|producer| producer.is_none()).count();
        self.producers = producers;
        // user code, if nobody else goes by it any more: what predicates own. The job in hand has no part in it
        let _ = contain(|| drop(before));
    }

    /// Where a route leads that was resolved and taken before: an array look-up.
    #[inline(always)]
    pub(super) fn straight(&self, route: &Route, exchange: &ExchangeInner<T>) -> Option<(&Row, &[Option<Producer<T>>])> {
        if !self.are_current(exchange) {
            return None;
        }
        let (place, id) = route.place();
        match self.rows.get(place) {
            Some(RouteRow { id: of, row }) if *of == id => Some((row, &self.producers)),
            _ => None,
        }
    }

    /// Where a key leads that was found before and that every job goes to one queue by.
    #[inline]
    pub(super) fn known(&self, key: &str, exchange: &ExchangeInner<T>) -> Option<(Hop, &Producer<T>)> {
        if !self.are_current(exchange) {
            return None;
        }
        self.known.find(key).map(|hop| (hop, of(&hop, &self.producers)))
    }

    /// Where a job goes by the bindings that there are now, and the producers, those of all these queues among them.
    ///
    /// # Errors
    /// A predicate panicked, or a queue has no room for another producer.
    #[inline]
    pub(super) fn find(&mut self, to: &Address<'_>, payload: &T, exchange: &ExchangeInner<T>) -> Result<Found<'_, T>, RouteRefusal> {
        if !self.are_current(exchange) {
            self.renew(exchange);
        }
        let (key, place) = match to {
            Address::Key(key) => (*key, None),
            Address::Route(route) => (route.key(), route.is_of(&exchange.routes).then(|| route.place())),
        };
        let (mut panicked, mut guarded) = (None, false);
        let admits = |guard: &Guard<T>| {
            guarded = true;
            admits(guard, key, payload, &mut panicked)
        };
        let row = match place {
            Some((place, id)) => self.look_up(key, place, id, admits)?,
            None => {
                self.table.find(key, &mut self.finder, admits);
                None
            }
        };
        if let Some(message) = panicked {
            return Err(RouteRefusal::PredicatePanicked { message });
        }
        let hops = row.map_or(self.finder.hops(), |place| self.rows[place].hops());
        if self.missing > 0 {
            open(hops, &self.table, &mut self.producers, &mut self.missing)?;
        }
        if let (None, false, [hop]) = (row, guarded, hops) {
            self.known.keep(key.as_str(), *hop);
        }
        Ok((hops, &self.producers))
    }

    /// The way of a route, which is resolved if it has not been by this table: its row, or `None` if it is in `finder`.
    #[inline]
    fn look_up(
        &mut self,
        key: RoutingKey<'_>,
        place: usize,
        id: u64,
        admits: impl FnMut(&Guard<T>) -> bool,
    ) -> Result<Option<usize>, RouteRefusal> {
        if self.rows.get(place).is_none_or(|row| row.id != id) {
            self.resolve(key, place, id)?;
        }
        if let Row::Guarded(bindings) = &self.rows[place].row {
            self.table.choose(bindings, &mut self.finder, admits);
            return Ok(None);
        }
        Ok(Some(place))
    }

    #[cold]
    fn resolve(&mut self, key: RoutingKey<'_>, place: usize, id: u64) -> Result<(), RouteRefusal> {
        if self.rows.len() <= place {
            self.rows.resize_with(place + 1, || RouteRow { id: 0, row: Row::Nowhere });
        }
        let row = RouteRow { id, row: self.table.row(key, &mut self.finder) };
        open(row.hops(), &self.table, &mut self.producers, &mut self.missing)?;
        self.rows[place] = row;
        Ok(())
    }
}

/// Opens the producers that a job needs and that are missing.
#[inline(never)]
fn open<T: Payload>(
    hops: &[Hop],
    table: &QueueTable<T>,
    producers: &mut [Option<Producer<T>>],
    missing: &mut usize,
) -> Result<(), RouteRefusal> {
    for target in hops.iter().map(|hop| hop.target as usize) {
        if producers[target].is_none() {
            let queue = &table.targets()[target];
            producers[target] = Some(queue.producer().map_err(|_| refusal_of(queue, Refusal::TooManyHandles))?);
            *missing -= 1;
        }
    }
    Ok(())
}

/// A queue's refusal, with its name.
#[cold]
pub(super) fn refusal_of<T: Payload>(queue: &QueueHandle<T>, refusal: Refusal) -> RouteRefusal {
    RouteRefusal::Queue { queue: Arc::clone(&queue.queue.settings.name), refusal }
}

fn admits<T>(guard: &Guard<T>, key: RoutingKey<'_>, payload: &T, panicked: &mut Option<String>) -> bool {
    if panicked.is_some() {
        return false;
    }
    contain(|| guard(&key, payload)).unwrap_or_else(|message| {
        *panicked = Some(message);
        false
    })
}
