//! Where a publisher's jobs go: the bindings it saw last, and what its routes lead to by them.

use super::destination::Address;
use super::exchange::{ExchangeInner, Guard, QueueTable};
use super::route::Route;
use crate::exchange::{Finder, Row};
use crate::job::Payload;
use crate::routing::{Hop, RoutingKey};
use crate::sync::contain;
use std::sync::Arc;

/// A publisher's view of an exchange's bindings.
pub(super) struct Ways<T: Payload> {
    /// The table it goes by, and its version.
    version: u64,
    table: Arc<QueueTable<T>>,
    /// Per route: what it leads to by this table.
    rows: Vec<RouteRow>,
    finder: Finder,
}

/// What the route of this id leads to. Ids begin at 1.
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
        Ways { version, table, rows: Vec::new(), finder: Finder::new() }
    }

    pub(super) fn table(&self) -> &QueueTable<T> {
        &self.table
    }

    /// True when the bindings have not changed since.
    #[inline(always)]
    pub(super) fn are_current(&self, exchange: &ExchangeInner<T>) -> bool {
        exchange.current.version() == self.version
    }

    /// Goes by the bindings that there are now. Returns the table that it went by.
    #[cold]
    pub(super) fn renew(&mut self, exchange: &ExchangeInner<T>) -> Arc<QueueTable<T>> {
        let (version, table) = exchange.current.load();
        self.version = version;
        self.rows.clear();
        std::mem::replace(&mut self.table, table)
    }

    /// Where a route leads that was resolved and leads to one queue whatever the job: an array look-up.
    #[inline(always)]
    pub(super) fn straight(&self, route: &Route, exchange: &ExchangeInner<T>) -> Option<Hop> {
        let (place, id) = route.place(&exchange.routes)?;
        match self.rows.get(place) {
            Some(RouteRow { id: of, row: Row::One(hop) }) if *of == id => Some(*hop),
            _ => None,
        }
    }

    /// Where a job goes, and the table that says so.
    ///
    /// # Errors
    /// The message of a predicate's panic.
    #[inline]
    pub(super) fn find(&mut self, to: &Address<'_>, payload: &T, exchange: &ExchangeInner<T>) -> Result<(&[Hop], &QueueTable<T>), String> {
        let (key, place) = match to {
            Address::Key(key) => (*key, None),
            Address::Route(route) => (route.key(), route.place(&exchange.routes)),
        };
        let mut panicked = None;
        let admits = |guard: &Guard<T>| admits(guard, key, payload, &mut panicked);
        let hops = match place {
            Some((place, id)) => self.look_up(key, place, id, admits),
            None => {
                self.table.find(key, &mut self.finder, admits);
                None
            }
        };
        match panicked {
            Some(message) => Err(message),
            None => Ok((hops.map_or(self.finder.hops(), |place| self.rows[place].hops()), &self.table)),
        }
    }

    /// The way of a route, which is resolved if it has not been by this table: its row, or `None` if it is in `finder`.
    #[inline]
    fn look_up(&mut self, key: RoutingKey<'_>, place: usize, id: u64, admits: impl FnMut(&Guard<T>) -> bool) -> Option<usize> {
        if self.rows.get(place).is_none_or(|row| row.id != id) {
            self.resolve(key, place, id);
        }
        if let Row::Guarded(bindings) = &self.rows[place].row {
            self.table.choose(bindings, &mut self.finder, admits);
            return None;
        }
        Some(place)
    }

    #[cold]
    fn resolve(&mut self, key: RoutingKey<'_>, place: usize, id: u64) {
        if self.rows.len() <= place {
            self.rows.resize_with(place + 1, || RouteRow { id: 0, row: Row::Nowhere });
        }
        self.rows[place] = RouteRow { id, row: self.table.row(key, &mut self.finder) };
    }
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
