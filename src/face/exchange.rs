//! Exchanges and bindings, by hand.

use super::exchange_publisher::ExchangePublisher;
use super::handle::QueueHandle;
use super::onward::LetterMap;
use super::route::{Route, RouteNumbers};
use super::routed::RouteRefusal;
use crate::clock::Clock;
use crate::error::ConfigError;
use crate::exchange::{self, Current, ExchangeCounts, ExchangeKind, ExchangeLedger, Table, Target};
use crate::job::Payload;
use crate::limits::BINDINGS_MAX;
use crate::routing::{BindingKey, KeyError, RoutingKey};
use crate::runtime::inside::RuntimeId;
use std::fmt;
use std::sync::Arc;

/// A condition of a binding beyond its key.
pub(super) type Guard<T> = dyn Fn(&RoutingKey<'_>, &T) -> bool + Send + Sync;
pub(super) type QueueTable<T> = Table<QueueHandle<T>, Guard<T>>;

/// The settings of an exchange.
pub struct ExchangeConfig<T: Payload> {
    name: String,
    kind: ExchangeKind,
    alternate: Option<Exchange<T>>,
}

impl<T: Payload> ExchangeConfig<T> {
    /// An exchange of some kind.
    pub fn new(name: impl Into<String>, kind: ExchangeKind) -> Self {
        ExchangeConfig { name: name.into(), kind, alternate: None }
    }

    /// A routing key goes where a binding key is the same.
    pub fn direct(name: impl Into<String>) -> Self {
        Self::new(name, ExchangeKind::Direct)
    }

    /// Binding keys are patterns.
    pub fn topic(name: impl Into<String>) -> Self {
        Self::new(name, ExchangeKind::Topic)
    }

    /// Every job goes to every queue.
    #[doc(alias = "multicast")]
    pub fn fanout(name: impl Into<String>) -> Self {
        Self::new(name, ExchangeKind::Fanout)
    }

    /// The exchange that takes what no binding wants. It was declared before, so alternates form no circle.
    #[must_use]
    pub fn alternate(mut self, exchange: &Exchange<T>) -> Self {
        self.alternate = Some(exchange.clone());
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<T: Payload> fmt::Debug for ExchangeConfig<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alternate = self.alternate.as_ref().map(Exchange::name);
        f.debug_struct("ExchangeConfig").field("name", &self.name).field("kind", &self.kind).field("alternate", &alternate).finish()
    }
}

/// A binding: which routing keys go to which queue, into which lane, and under which condition.
///
/// Plain data; what is wrong with it is said when an exchange takes it.
///
/// ```
/// use ringmill::{Binding, ExchangeConfig, LaneConfig, QueueConfig, Runtime};
///
/// let mut builder = Runtime::builder();
/// let lanes = [LaneConfig::new("high"), LaneConfig::new("low")];
/// let invoices = builder.pull_queue::<u64>(QueueConfig::new("invoices").lanes(lanes))?;
/// let large = builder.pull_queue::<u64>(QueueConfig::new("large"))?;
/// let billing = builder.exchange(ExchangeConfig::topic("billing"))?;
/// billing.rebind([
///     Binding::new("invoice.#", &invoices).lane(1),
///     Binding::new("invoice.overdue", &invoices), // lane 0: of two bindings to one queue the more urgent counts
///     Binding::new("#", &large).when(|_key, euros| *euros >= 10_000),
/// ])?;
///
/// let mut publisher = billing.publisher();
/// assert_eq!(publisher.publish("invoice.overdue", 50)?.copies, 1);
/// assert_eq!(publisher.publish("invoice.new", 20_000)?.copies, 2);
/// assert!(publisher.publish("order", 50).unwrap_err().is_unroutable());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Binding<T: Payload> {
    key: String,
    queue: QueueHandle<T>,
    lane: usize,
    guard: Option<Arc<Guard<T>>>,
}

impl<T: Payload> Binding<T> {
    /// Keys that match `key` go to lane 0 of `queue`.
    pub fn new(key: impl Into<String>, queue: &QueueHandle<T>) -> Self {
        Binding { key: key.into(), queue: queue.clone(), lane: 0, guard: None }
    }

    /// Every key goes to lane 0 of `queue`: the binding of a fanout exchange.
    pub fn all(queue: &QueueHandle<T>) -> Self {
        Self::new("#", queue)
    }

    /// The lane of the copies, whatever the job itself says; 0 is the most urgent. Where two bindings lead a job to one queue, the more urgent lane counts.
    #[doc(alias = "priority")]
    #[must_use]
    pub fn lane(mut self, lane: usize) -> Self {
        self.lane = lane;
        self
    }

    /// Only jobs for which `predicate` holds. It runs in the publisher's thread, once per publish; a panic in it refuses the job.
    #[must_use]
    pub fn when(mut self, predicate: impl Fn(&RoutingKey<'_>, &T) -> bool + Send + Sync + 'static) -> Self {
        self.guard = Some(Arc::new(predicate));
        self
    }
}

impl<T: Payload> fmt::Debug for Binding<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding")
            .field("key", &self.key)
            .field("queue", &self.queue.name())
            .field("lane", &self.lane)
            .field("when", &self.guard.is_some())
            .finish()
    }
}

/// A binding as an exchange has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BindingInfo {
    /// The keys.
    pub key: BindingKey,
    /// The queue.
    pub queue: String,
    /// The lane.
    pub lane: usize,
    /// It has a predicate.
    pub guarded: bool,
}

/// An exchange: publishes jobs to queues by routing key.
///
/// Declared by [`RuntimeBuilder::exchange`](crate::RuntimeBuilder::exchange). A handle: clones are the same exchange.
///
/// # Guarantees
/// A binding takes effect as a whole: each job goes by the bindings before or after a change, never by a mix, and a publish that begins after the change
/// returned goes by the new ones.
///
/// # Progress
/// Publishers never wait for who binds, but for a lock that is held while an `Arc` is copied, once after a change.
///
/// ```
/// use ringmill::{Binding, ExchangeConfig, QueueConfig, Runtime};
///
/// let mut builder = Runtime::builder();
/// let billing = builder.pull_queue::<&str>(QueueConfig::new("billing"))?;
/// let mails = builder.pull_queue::<&str>(QueueConfig::new("mails"))?;
/// let tasks = builder.exchange(ExchangeConfig::topic("tasks"))?;
/// tasks.bind(Binding::new("billing.#", &billing))?;
/// tasks.bind(Binding::new("*.created", &mails))?;
/// let runtime = builder.build()?;
///
/// let mut publisher = tasks.publisher();
/// assert_eq!(publisher.publish("billing.invoice.created", "0x1F")?.copies, 1);
/// assert_eq!(publisher.publish("billing.created", "0x20")?.copies, 2);
/// let error = publisher.publish("other", "0x21").unwrap_err();
/// assert!(error.is_unroutable());
/// assert_eq!(error.into_inner(), "0x21");
///
/// let counts = tasks.counts();
/// assert_eq!((counts.routed, counts.copies(), counts.unroutable), (2, 3, 1));
/// # drop(runtime);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Exchange<T: Payload> {
    pub(super) inner: Arc<ExchangeInner<T>>,
}

pub(super) struct ExchangeInner<T: Payload> {
    name: String,
    kind: ExchangeKind,
    runtime: RuntimeId,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) current: Current<QueueTable<T>>,
    pub(super) ledger: ExchangeLedger,
    pub(super) routes: Arc<RouteNumbers>,
    pub(super) alternate: Option<Exchange<T>>,
    /// Where dead letters go in the runtime: the bindings must not lead them in a circle.
    letters: Arc<LetterMap>,
}

impl<T: Payload> Clone for Exchange<T> {
    fn clone(&self) -> Self {
        Exchange { inner: Arc::clone(&self.inner) }
    }
}

impl<T: Payload> Exchange<T> {
    pub(super) fn new(
        config: ExchangeConfig<T>,
        runtime: RuntimeId,
        clock: Arc<dyn Clock>,
        letters: Arc<LetterMap>,
    ) -> Result<Self, ConfigError> {
        let ExchangeConfig { name, kind, alternate } = config;
        let refuse = |field, value: fmt::Arguments<'_>, allowed| Err(ConfigError::new(format!("exchange `{name}`"), field, value, allowed));
        if name.is_empty() || name.len() > 255 {
            return refuse("name", format_args!("{} bytes long", name.len()), "1..=255 bytes");
        }
        if let Some(other) = alternate.as_ref().filter(|other| other.inner.runtime != runtime) {
            return refuse("alternate", format_args!("`{}`, of another runtime", other.name()), "an exchange of this runtime");
        }
        let current = Current::new(Table::new(Vec::new()));
        let (ledger, routes) = (ExchangeLedger::default(), Arc::default());
        Ok(Exchange { inner: Arc::new(ExchangeInner { name, kind, runtime, clock, current, ledger, routes, alternate, letters }) })
    }

    /// The exchange's name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Why a job came back that nobody wants.
    pub(super) fn unroutable(&self) -> RouteRefusal {
        RouteRefusal::Unroutable { exchange: self.name().to_owned() }
    }

    /// How it reads binding keys.
    pub fn kind(&self) -> ExchangeKind {
        self.inner.kind
    }

    /// The exchange that takes what no binding wants.
    pub fn alternate(&self) -> Option<&Exchange<T>> {
        self.inner.alternate.as_ref()
    }

    /// A publisher: one per publishing thread. It opens a handle of each queue when it first publishes there.
    pub fn publisher(&self) -> ExchangePublisher<T> {
        ExchangePublisher::open(self)
    }

    /// A routing key that is resolved once per publisher and table, so that a publish costs no search. Serves every publisher of this exchange; it may be made
    /// before anything is bound.
    ///
    /// # Errors
    /// When `key` is no routing key.
    pub fn route(&self, key: &str) -> Result<Route, KeyError> {
        Ok(Route::new(RoutingKey::new(key)?, &self.inner.routes))
    }

    /// Adds a binding. One without a predicate takes the place of another without, of the same key and queue: it changes the lane.
    ///
    /// # Errors
    /// When the key, the lane or the queue is not one for this exchange, or dead letters would go in a circle by themselves or without a pause (see
    /// [`RuntimeBuilder::build`](crate::RuntimeBuilder::build)). Nothing has changed then.
    ///
    /// # Complexity
    /// O(n log n) in all bindings: all are compiled again. For many, use [`rebind`](Self::rebind).
    pub fn bind(&self, binding: Binding<T>) -> Result<(), ConfigError> {
        let binding = self.check(binding)?;
        self.edit(|table| {
            let mut bindings = table.bindings().to_vec();
            add(&mut bindings, binding);
            self.compile(bindings)
        })
    }

    /// Removes every binding of `key` to `queue`. False when there was none.
    ///
    /// # Errors
    /// When dead letters would go in a circle by themselves or without a pause, by the alternate exchange. Nothing has changed then.
    pub fn unbind(&self, key: &str, queue: &QueueHandle<T>) -> Result<bool, ConfigError> {
        if queue.runtime != self.inner.runtime {
            // one of ours may have its name
            return Ok(false);
        }
        let edited = self.edit(|table| {
            let mut bindings = table.bindings().to_vec();
            bindings.retain(|bound| bound.key.as_str() != key || bound.target.name() != queue.name());
            if bindings.len() < table.bindings().len() { Ok(Table::new(bindings)) } else { Err(None) }
        });
        match edited {
            Ok(()) => Ok(true),
            Err(None) => Ok(false),
            Err(Some(error)) => Err(error),
        }
    }

    /// Puts these bindings in the place of all that there are, at once.
    ///
    /// # Errors
    /// The first of them that is not one for this exchange; or as [`bind`](Self::bind). Nothing has changed then.
    ///
    /// # Complexity
    /// O(n log n) in the bindings.
    pub fn rebind(&self, bindings: impl IntoIterator<Item = Binding<T>>) -> Result<(), ConfigError> {
        let bindings = bindings.into_iter().map(|binding| self.check(binding)).collect::<Result<Vec<_>, _>>()?;
        let mut kept: Vec<Bound<T>> = Vec::with_capacity(bindings.len());
        let mut places = std::collections::HashMap::new();
        for binding in bindings {
            let place = (binding.key.clone(), binding.target.name().to_owned());
            match places.get(&place) {
                Some(&at) if binding.guard.is_none() => kept[at] = binding,
                _ => {
                    if binding.guard.is_none() {
                        places.insert(place, kept.len());
                    }
                    kept.push(binding);
                }
            }
        }
        self.edit(|_| self.compile(kept))
    }

    /// The bindings, in the order they were made.
    pub fn bindings(&self) -> Vec<BindingInfo> {
        let (_, table) = self.inner.current.load();
        let info = |bound: &Bound<T>| BindingInfo {
            key: bound.key.clone(),
            queue: bound.target.name().to_owned(),
            lane: usize::from(bound.lane),
            guarded: bound.guard.is_some(),
        };
        table.bindings().iter().map(info).collect()
    }

    /// Everything its publishers counted. May grow at any time.
    ///
    /// # Complexity
    /// O(publishers).
    pub fn counts(&self) -> ExchangeCounts {
        self.inner.ledger.counts()
    }

    /// Changes the bindings, unless dead letters would go in a circle by them.
    fn edit<E: From<ConfigError>>(&self, make: impl FnOnce(&QueueTable<T>) -> Result<QueueTable<T>, E>) -> Result<(), E> {
        // what nobody goes by any more, or will: dropped when no lock is held, for predicates are the user's
        let mut refused = None;
        let before = self.inner.letters.change(|check| {
            self.inner.current.edit(|table| {
                let next = make(table)?;
                match check((self.name(), &next)) {
                    Ok(()) => Ok(next),
                    Err(error) => {
                        refused = Some(next);
                        Err(error.into())
                    }
                }
            })
        });
        before.map(drop)
    }

    fn compile(&self, bindings: Vec<Bound<T>>) -> Result<QueueTable<T>, ConfigError> {
        match bindings.len() {
            0..=BINDINGS_MAX => Ok(Table::new(bindings)),
            many => Err(self.refusal("bindings", &many, &format_args!("0..={BINDINGS_MAX}"))),
        }
    }

    fn check(&self, binding: Binding<T>) -> Result<Bound<T>, ConfigError> {
        let Binding { key: text, queue, lane, guard } = binding;
        let key = BindingKey::new(&text).map_err(|error| self.refusal("binding key", &error.place_and_reason(), &self.kind().allowed()))?;
        if !self.kind().takes(&key) {
            return Err(self.refusal(
                "binding key",
                &format_args!("`{key}`"),
                &format_args!("{}: it is {}", self.kind().allowed(), self.kind()),
            ));
        }
        if queue.runtime != self.inner.runtime {
            return Err(self.refusal("queue", &format_args!("`{}`, of another runtime", queue.name()), &"a queue of this runtime"));
        }
        let lanes = queue.queue.lane_count();
        if lane >= lanes {
            let field = format!("lane of the binding `{key}` to queue `{}`", queue.name());
            return Err(self.refusal(&field, &lane, &format_args!("0..{lanes}")));
        }
        Ok(Arc::new(exchange::Binding { key, target: queue, lane: lane as u8, guard }))
    }

    fn refusal(&self, field: &str, value: &dyn fmt::Display, allowed: &dyn fmt::Display) -> ConfigError {
        ConfigError::new(format!("exchange `{}`", self.name()), field, value, allowed)
    }
}

type Bound<T> = Arc<exchange::Binding<QueueHandle<T>, Guard<T>>>;

/// Adds a binding, or puts it where it belongs.
fn add<T: Payload>(bindings: &mut Vec<Bound<T>>, binding: Bound<T>) {
    let same = |bound: &&mut Bound<T>| {
        bound.guard.is_none() && binding.guard.is_none() && bound.key == binding.key && bound.target.name() == binding.target.name()
    };
    match bindings.iter_mut().find(same) {
        Some(bound) => *bound = binding,
        None => bindings.push(binding),
    }
}

impl<T: Payload> Target for QueueHandle<T> {
    fn name(&self) -> &str {
        QueueHandle::name(self)
    }
}

impl<T: Payload> fmt::Debug for Exchange<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("name", &self.inner.name).field("kind", &self.inner.kind).finish_non_exhaustive()
    }
}
