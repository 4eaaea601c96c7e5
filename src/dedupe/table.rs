//! The table of taken keys.

use super::rules::{Rules, Sound};
use crate::clock::{Timestamp, nanos};
use crate::id::JobId;
use crate::key::Key;
use crate::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use crate::sync::{CachePadded, Mutex, MutexGuard};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::marker::PhantomData;
use std::time::Duration;

/// How many locks there are.
const SHARDS: usize = if cfg!(loom) { 1 } else { 64 };
/// How many windows that have ended a claim clears away before it looks: more than the one that it may add, so that they do not pile up.
const CLEARED_BY_CLAIM: usize = 2;
/// How many a sweep clears away in each shard.
const CLEARED_BY_SWEEP: usize = 256;

/// Why a key was not claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// This job has it.
    Taken(JobId),
    /// As many keys are taken as may be.
    Full,
}

/// Which job has which key. See the [module's](super) essay.
pub struct Table<R: Rules = Sound> {
    shards: Box<[CachePadded<Mutex<Shard>>]>,
    /// How many keys are taken. Raised under the lock of the shard that enters a key, lowered under that of the shard that drops one; read by claims.
    taken: CachePadded<AtomicUsize>,
    bound: usize,
    /// How long a key is taken, in nanoseconds; `None`: until it is forgotten.
    window: Option<u64>,
    rules: PhantomData<fn() -> R>,
}

#[derive(Debug, Default)]
struct Shard {
    holders: HashMap<Key, Holder, BuildHasherDefault<AsItIs>>,
    /// When windows end, and whose: about in order, as the publishers' clocks are.
    ends: VecDeque<(u64, Key)>,
}

#[derive(Debug, Clone, Copy)]
struct Holder {
    job: JobId,
    /// Where the job is, if that was said.
    slot: Option<u32>,
    /// Until when, in nanoseconds.
    until: u64,
}

/// Half a key is a hash.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("a key is hashed as one word")
    }

    #[inline]
    fn write_u64(&mut self, half: u64) {
        self.0 = half;
    }
}

impl Table {
    /// A table for at most `bound` keys, whose memory is reserved here. With a `window` a key is taken for that long, otherwise until it is forgotten.
    pub fn new(bound: usize, window: Option<Duration>) -> Self {
        Self::with_rules(bound, window)
    }
}

impl<R: Rules> Table<R> {
    /// As [`new`](Table::new), under the rules `R`.
    #[doc(hidden)]
    pub fn with_rules(bound: usize, window: Option<Duration>) -> Self {
        let shard = || {
            let holders = HashMap::with_capacity_and_hasher(bound.div_ceil(SHARDS), BuildHasherDefault::default());
            CachePadded::new(Mutex::new(Shard { holders, ends: VecDeque::new() }))
        };
        Table {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            taken: CachePadded::new(AtomicUsize::new(0)),
            bound,
            window: window.map(nanos),
            rules: PhantomData,
        }
    }

    /// How many keys may be taken.
    pub fn bound(&self) -> usize {
        self.bound
    }

    /// How many keys are taken: those included whose window has ended and that were not cleared away yet.
    pub fn len(&self) -> usize {
        // relaxed: statistics
        self.taken.load(Relaxed)
    }

    /// True when no key is taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        self.shards[key.halves().0 as usize % SHARDS].lock()
    }

    /// The job that has `key` now. The answer may be old when it arrives.
    #[inline]
    pub fn holder(&self, key: Key, now: Timestamp) -> Option<JobId> {
        self.shard(key).holder(key, now.as_nanos())
    }

    /// Gives `key` to `job`.
    ///
    /// # Errors
    /// When another job has it, or too many are taken.
    #[inline]
    pub fn claim(&self, key: Key, job: JobId, now: Timestamp) -> Result<(), Denied> {
        self.claim_with(key, job, now, |denied| denied, || Ok(()))
    }

    /// As [`claim`](Self::claim), if `more` says so too, which is asked last and while the key's lock is held: it may claim in other tables.
    ///
    /// # Errors
    /// What was denied here, as `why` puts it; or what `more` said.
    #[inline]
    pub fn claim_with<E>(
        &self,
        key: Key,
        job: JobId,
        now: Timestamp,
        why: impl FnOnce(Denied) -> E,
        more: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let now = now.as_nanos();
        if !R::CLAIMS_AT_ONCE
            && let Some(job) = self.shard(key).holder(key, now)
        {
            return Err(why(Denied::Taken(job)));
        }
        let until = self.window.map_or(u64::MAX, |window| now.saturating_add(window));
        for last in [false, true] {
            let mut guard = self.shard(key);
            let shard = &mut *guard;
            if self.window.is_some() {
                self.lower(shard.clear(now, CLEARED_BY_CLAIM));
            }
            match shard.holders.entry(key) {
                Entry::Occupied(found) if R::CLAIMS_AT_ONCE && found.get().until > now => return Err(why(Denied::Taken(found.get().job))),
                Entry::Occupied(mut ended) => {
                    more()?;
                    ended.insert(Holder { job, slot: None, until });
                }
                Entry::Vacant(free) if self.raise() => {
                    more().inspect_err(|_| self.lower(1))?;
                    free.insert(Holder { job, slot: None, until });
                }
                Entry::Vacant(_) if last || self.window.is_none() => return Err(why(Denied::Full)),
                Entry::Vacant(_) => {
                    // windows that have ended elsewhere may make room; one lock of a table at a time
                    drop(guard);
                    self.sweep_all(now);
                    continue;
                }
            }
            if self.window.is_some() {
                shard.ends.push_back((until, key));
            }
            return Ok(());
        }
        unreachable!("the last try ends in a claim or a refusal")
    }

    /// `job`, which has `key`, is in `slot`.
    pub fn keep_place(&self, key: Key, job: JobId, slot: u32) {
        if let Some(holder) = self.shard(key).holders.get_mut(&key).filter(|holder| holder.job == job) {
            holder.slot = Some(slot);
        }
    }

    /// The job that has `key`, and its slot, if it was said which.
    pub fn place(&self, key: Key) -> Option<(JobId, u32)> {
        self.shard(key).holders.get(&key).and_then(|holder| Some((holder.job, holder.slot?)))
    }

    /// `job` has no need of `key` any more. Nothing happens when another job has it by now.
    #[inline]
    pub fn forget(&self, key: Key, job: JobId) {
        let mut guard = self.shard(key);
        let shard = &mut *guard;
        if let Entry::Occupied(found) = shard.holders.entry(key)
            && (found.get().job == job || !R::FORGETS_ITS_OWN)
        {
            let until = found.remove().until;
            self.lower(1);
            // its record, which was made a moment ago if there is one
            if let Some(at) = shard.ends.iter().rposition(|record| *record == (until, key)) {
                shard.ends.remove(at);
            }
        }
    }

    /// Clears away windows that have ended, a bounded number of them. For the timer.
    pub fn sweep(&self, now: Timestamp) {
        if self.window.is_some() && !self.is_empty() {
            for shard in &self.shards {
                self.lower(shard.lock().clear(now.as_nanos(), CLEARED_BY_SWEEP));
            }
        }
    }

    #[cold]
    fn sweep_all(&self, now: u64) {
        for shard in &self.shards {
            self.lower(shard.lock().clear(now, usize::MAX));
        }
    }

    /// Counts one more key, if there may be one more.
    fn raise(&self) -> bool {
        // relaxed: CAS re-checks
        let mut taken = self.taken.load(Relaxed);
        while taken < self.bound {
            // relaxed, both: only the number matters
            match self.taken.compare_exchange(taken, taken + 1, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(now) => taken = now,
            }
        }
        false
    }

    fn lower(&self, keys: usize) {
        if keys > 0 {
            // relaxed: only the number matters
            self.taken.fetch_sub(keys, Relaxed);
        }
    }
}

impl Shard {
    fn holder(&self, key: Key, now: u64) -> Option<JobId> {
        self.holders.get(&key).filter(|holder| holder.until > now).map(|holder| holder.job)
    }

    /// Clears away up to `most` windows that have ended. Says how many keys are free now.
    fn clear(&mut self, now: u64, most: usize) -> usize {
        let mut freed = 0;
        for _ in 0..most {
            let Some(&(until, key)) = self.ends.front().filter(|(until, _)| *until <= now) else { break };
            self.ends.pop_front();
            // the key may have been claimed anew since, or forgotten
            if let Entry::Occupied(found) = self.holders.entry(key)
                && found.get().until == until
            {
                found.remove();
                freed += 1;
            }
        }
        freed
    }
}

impl<R: Rules> fmt::Debug for Table<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("taken", &self.len())
            .field("bound", &self.bound)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}
