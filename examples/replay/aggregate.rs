//! What the handlers add up: per tenant and per routing key.
//!
//! Each thread adds to a shard of its own, so its lock is free unless a report is being made or a spare worker shares the shard. A
//! delivery adds when it succeeds. Delivery is at least once: a job whose lease expired while its handler went on is added twice.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// More shards than workers that a machine usually has; threads beyond share.
const SHARDS: usize = 64;

/// Sums of finished deliveries.
#[derive(Debug)]
pub struct Aggregate {
    shards: Vec<Mutex<Shard>>,
}

#[derive(Debug, Default)]
struct Shard {
    tenants: HashMap<Arc<str>, Tally>,
    keys: HashMap<Arc<str>, Tally>,
}

/// The sums of one name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Deliveries that succeeded.
    pub jobs: u64,
    /// What the format counts: bytes sent, tokens, or microseconds of service.
    pub units: u64,
    /// Responses with a status from 400.
    pub errors: u64,
}

/// The greatest names of a kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ranking {
    /// How many names there are.
    pub distinct: usize,
    /// The greatest, by jobs; equal ones by name.
    pub top: Vec<Ranked>,
}

/// A name with its sums.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ranked {
    pub name: String,
    #[serde(flatten)]
    pub tally: Tally,
}

impl Default for Aggregate {
    fn default() -> Self {
        Aggregate { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl Aggregate {
    /// Adds one delivery.
    pub fn add(&self, tenant: &Arc<str>, key: &Arc<str>, tally: Tally) {
        let mut shard = self.shards[thread_number() % SHARDS].lock().unwrap_or_else(PoisonError::into_inner);
        add(&mut shard.tenants, tenant, tally);
        add(&mut shard.keys, key, tally);
    }

    /// The `count` greatest tenants and keys.
    pub fn rankings(&self, count: usize) -> (Ranking, Ranking) {
        let (mut tenants, mut keys) = (HashMap::new(), HashMap::new());
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.tenants.iter().for_each(|(name, tally)| add(&mut tenants, name, *tally));
            shard.keys.iter().for_each(|(name, tally)| add(&mut keys, name, *tally));
        }
        (rank(&tenants, count), rank(&keys, count))
    }
}

fn add(names: &mut HashMap<Arc<str>, Tally>, name: &Arc<str>, more: Tally) {
    let sum = match names.get_mut(name) {
        Some(sum) => sum,
        None => names.entry(name.clone()).or_default(),
    };
    sum.jobs += more.jobs;
    sum.units = sum.units.saturating_add(more.units);
    sum.errors += more.errors;
}

fn rank(names: &HashMap<Arc<str>, Tally>, count: usize) -> Ranking {
    let mut all: Vec<_> = names.iter().collect();
    all.sort_by(|(a, x), (b, y)| y.jobs.cmp(&x.jobs).then(a.cmp(b)));
    let top = all.into_iter().take(count).map(|(name, tally)| Ranked { name: name.to_string(), tally: *tally }).collect();
    Ranking { distinct: names.len(), top }
}

/// A number of this thread's own, given out when it first asks.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static NUMBER: Cell<Option<usize>> = const { Cell::new(None) });
    NUMBER.with(|number| {
        number.get().unwrap_or_else(|| {
            // relaxed: only distinct, nothing hangs on the order
            let new = NEXT.fetch_add(1, Ordering::Relaxed);
            number.set(Some(new));
            new
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_several_threads_come_together() {
        let sums = Aggregate::default();
        let [a, b, key]: [Arc<str>; 3] = ["a", "b", "k"].map(Into::into);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..100 {
                        sums.add(if n % 4 == 0 { &a } else { &b }, &key, Tally { jobs: 1, units: 10, errors: n % 2 });
                    }
                });
            }
        });
        let (tenants, keys) = sums.rankings(1);
        assert_eq!((tenants.distinct, tenants.top.len()), (2, 1));
        assert_eq!((tenants.top[0].name.as_str(), tenants.top[0].tally.jobs), ("b", 300));
        assert_eq!(keys.top[0].tally, Tally { jobs: 400, units: 4000, errors: 200 });
    }

    #[test]
    fn equal_names_are_ranked_by_name() {
        let sums = Aggregate::default();
        for name in ["b", "c", "a"] {
            sums.add(&name.into(), &"k".into(), Tally { jobs: 1, ..Tally::default() });
        }
        let names: Vec<_> = sums.rankings(2).0.top.into_iter().map(|ranked| ranked.name).collect();
        assert_eq!(names, ["a", "b"]);
    }
}
