//! The bindings of an exchange, compiled.

use crate::routing::{BindingKey, Hop, RoutingKey, TargetSet, TopicTable, Walk};
use std::fmt;
use std::sync::Arc;

/// Where a binding leads. Targets of one name are one target.
pub trait Target: Clone {
    /// Its name.
    fn name(&self) -> &str;
}

/// A binding: which keys, to which target and lane, and under which further condition.
#[derive(Debug)]
pub struct Binding<Q, G: ?Sized> {
    /// The keys.
    pub key: BindingKey,
    /// Where to.
    pub target: Q,
    /// The lane of the copy.
    pub lane: u8,
    /// What else must hold.
    pub guard: Option<Arc<G>>,
}

/// The bindings of an exchange, compiled. Immutable.
pub struct Table<Q, G: ?Sized> {
    bindings: Vec<Arc<Binding<Q, G>>>,
    /// Per binding: its target and lane, and whether it has a guard.
    hops: Box<[(Hop, bool)]>,
    /// Every target once, by name.
    targets: Box<[Q]>,
    topics: TopicTable,
}

/// What a key leads to by one table, found once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// Nowhere.
    Nowhere,
    /// To one target.
    One(Hop),
    /// To these.
    Several(Box<[Hop]>),
    /// Guards decide, job by job: the bindings that the key matches.
    Guarded(Box<[u32]>),
}

/// What a search needs, and what it found. Belongs to one thread, serves any table, and is used again.
#[derive(Debug, Default)]
pub struct Finder {
    walk: Walk,
    set: TargetSet,
}

impl Finder {
    /// A new one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The targets that were found, by name, each once, with the most urgent lane of its bindings.
    #[inline]
    pub fn hops(&self) -> &[Hop] {
        self.set.hops()
    }
}

impl<Q: Target, G: ?Sized> Table<Q, G> {
    /// Compiles bindings.
    ///
    /// # Complexity
    /// O(n log n) in the words of the bindings.
    pub fn new(bindings: Vec<Arc<Binding<Q, G>>>) -> Self {
        let mut targets: Vec<Q> = bindings.iter().map(|binding| binding.target.clone()).collect();
        targets.sort_by(|a, b| a.name().cmp(b.name()));
        targets.dedup_by(|a, b| a.name() == b.name());
        let number = |target: &Q| targets.binary_search_by(|other| other.name().cmp(target.name())).expect("it was put in") as u32;
        let hop = |binding: &Binding<Q, G>| Hop { target: number(&binding.target), lane: binding.lane };
        let hops = bindings.iter().map(|binding| (hop(binding), binding.guard.is_some())).collect();
        let topics = TopicTable::new(bindings.iter().map(|binding| &binding.key));
        Table { bindings, hops, targets: targets.into(), topics }
    }

    /// The bindings, in the order they were made.
    pub fn bindings(&self) -> &[Arc<Binding<Q, G>>] {
        &self.bindings
    }

    /// Their keys, compiled.
    pub fn topics(&self) -> &TopicTable {
        &self.topics
    }

    /// The targets, by name.
    pub fn targets(&self) -> &[Q] {
        &self.targets
    }

    /// The number of the target of that name.
    pub fn target(&self, name: &str) -> Option<usize> {
        self.targets.binary_search_by(|target| target.name().cmp(name)).ok()
    }

    /// Finds the targets of `key`, into `finder`. `admits` answers for the guards.
    #[inline]
    pub fn find(&self, key: RoutingKey<'_>, finder: &mut Finder, mut admits: impl FnMut(&G) -> bool) {
        let Finder { walk, set } = finder;
        set.begin(self.targets.len());
        self.topics.matches(key, walk, |binding| self.offer(binding, set, &mut admits));
        set.finish();
    }

    /// As [`find`](Self::find), for the bindings of a [`Row::Guarded`].
    pub fn choose(&self, bindings: &[u32], finder: &mut Finder, mut admits: impl FnMut(&G) -> bool) {
        let set = &mut finder.set;
        set.begin(self.targets.len());
        bindings.iter().for_each(|&binding| self.offer(binding, set, &mut admits));
        set.finish();
    }

    #[inline]
    fn offer(&self, binding: u32, set: &mut TargetSet, admits: &mut impl FnMut(&G) -> bool) {
        let (hop, guarded) = self.hops[binding as usize];
        if !guarded || self.guard(binding).is_some_and(admits) {
            set.offer(hop);
        }
    }

    #[cold]
    fn guard(&self, binding: u32) -> Option<&G> {
        self.bindings[binding as usize].guard.as_deref()
    }

    /// What `key` leads to, for use while this table is the current one.
    pub fn row(&self, key: RoutingKey<'_>, finder: &mut Finder) -> Row {
        let mut matching = Vec::new();
        self.topics.matches(key, &mut finder.walk, |binding| matching.push(binding));
        if matching.iter().any(|&binding| self.hops[binding as usize].1) {
            return Row::Guarded(matching.into());
        }
        self.choose(&matching, finder, |_| true);
        match finder.hops() {
            [] => Row::Nowhere,
            [hop] => Row::One(*hop),
            hops => Row::Several(hops.into()),
        }
    }
}

impl<Q: fmt::Debug, G: ?Sized> fmt::Debug for Table<Q, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("bindings", &self.bindings.len()).field("targets", &self.targets).finish_non_exhaustive()
    }
}
