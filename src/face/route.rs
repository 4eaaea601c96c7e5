//! A routing key with a number, by which publishers keep what it leads to.

use crate::routing::RoutingKey;
use crate::sync::{Mutex, unique};
use std::fmt;
use std::sync::Arc;

/// A routing key of one exchange that is resolved once per publisher and table: publishing by it looks up an array instead of searching.
///
/// Made by [`Exchange::route`](crate::Exchange::route). Stays valid when bindings change: it is resolved again then. With a publisher of another exchange it is
/// as good as its key.
///
/// ```
/// use ringmill::{Binding, ExchangeConfig, QueueConfig, Runtime};
///
/// let mut builder = Runtime::builder();
/// let (old, new) = (builder.pull_queue::<u32>(QueueConfig::new("old"))?, builder.pull_queue::<u32>(QueueConfig::new("new"))?);
/// let exchange = builder.exchange(ExchangeConfig::direct("exchange"))?;
/// exchange.bind(Binding::new("jobs", &old))?;
/// let runtime = builder.build()?;
///
/// let route = exchange.route("jobs")?;
/// let mut publisher = exchange.publisher();
/// publisher.publish(&route, 1)?;
/// exchange.rebind([Binding::new("jobs", &new)])?;
/// publisher.publish(&route, 2)?;
/// assert_eq!((old.depth(), new.depth()), (1, 1));
/// # drop(runtime);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Route {
    /// Which row of a publisher is this route's, while it lives.
    row: u32,
    /// Never given to another route of the process: who finds another id in its row has found what is left of that one, or a row of another exchange.
    id: u64,
    inner: Arc<RouteInner>,
}

struct RouteInner {
    key: Box<str>,
    row: u32,
    numbers: Arc<RouteNumbers>,
}

/// The numbers of an exchange's routes.
#[derive(Debug, Default)]
pub(super) struct RouteNumbers {
    inner: Mutex<Numbers>,
}

#[derive(Debug, Default)]
struct Numbers {
    /// Rows of routes that are gone.
    free: Vec<u32>,
    rows: u32,
}

impl Route {
    pub(super) fn new(key: RoutingKey<'_>, numbers: &Arc<RouteNumbers>) -> Self {
        let mut inner = numbers.inner.lock();
        let row = inner.free.pop().unwrap_or_else(|| {
            inner.rows += 1;
            inner.rows - 1
        });
        Route { row, id: unique(), inner: Arc::new(RouteInner { key: key.as_str().into(), row, numbers: Arc::clone(numbers) }) }
    }

    /// The key.
    pub fn key(&self) -> RoutingKey<'_> {
        RoutingKey::checked(&self.inner.key)
    }

    /// Its row in publishers of its exchange, and its id.
    #[inline(always)]
    pub(super) fn place(&self) -> (usize, u64) {
        (self.row as usize, self.id)
    }

    /// True when it is of the exchange with these numbers.
    #[inline]
    pub(super) fn is_of(&self, numbers: &Arc<RouteNumbers>) -> bool {
        Arc::ptr_eq(&self.inner.numbers, numbers)
    }
}

impl Drop for RouteInner {
    fn drop(&mut self) {
        self.numbers.inner.lock().free.push(self.row);
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Route").field(&self.inner.key).finish()
    }
}
