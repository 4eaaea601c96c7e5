//! The table of taken keys.

use super::line::{Home, Lines};
use super::names::{Name, Place};
use super::pool::Pool;
use super::rules::{Rules, Sound};
use super::shard::{Entry, Shard};
use crate::clock::{Timestamp, nanos};
use crate::id::JobId;
use crate::key::Key;
use crate::limits::MODEL;
use crate::sync::{CachePadded, Mutex};
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// How many locks there are.
const SHARDS: usize = if MODEL { 2 } else { 64 };
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
    lines: Lines,
    /// The entries of every so many-th line.
    shards: Box<[CachePadded<Mutex<Shard>>]>,
    /// The room that no shard has.
    pool: Pool,
    /// Held by whoever looks into every shard for room.
    looks: Mutex<()>,
    bound: usize,
    /// How long a key is taken, in nanoseconds; `None`: until it is forgotten.
    window: Option<u64>,
    rules: PhantomData<fn() -> R>,
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
        Table {
            lines: Lines::new(bound, SHARDS),
            shards: (0..SHARDS).map(|_| CachePadded::new(Mutex::new(Shard::new(bound, SHARDS)))).collect(),
            pool: Pool::new(bound, SHARDS),
            looks: Mutex::new(()),
            bound,
            window: window.map(nanos),
            rules: PhantomData,
        }
    }

    /// How many keys may be taken.
    pub fn bound(&self) -> usize {
        self.bound
    }

    /// How many keys are taken: those included whose window has ended and that were not cleared away yet. Right when nobody takes or frees any meanwhile.
    pub fn len(&self) -> usize {
        let room: usize = self.shards.iter().map(|shard| shard.lock().room).sum();
        self.bound.saturating_sub(room + self.pool.room())
    }

    /// True when no key is taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn shard(&self, home: Home<'_>) -> &Mutex<Shard> {
        &self.shards[home.at % SHARDS]
    }

    /// Asks for the line in which `key` is looked for.
    #[inline]
    pub fn prefetch(&self, key: Key) {
        self.lines.home(key).prefetch();
    }

    /// The job that has `key` now. The answer may be old when it arrives.
    #[inline]
    pub fn holder(&self, key: Key, now: Timestamp) -> Option<JobId> {
        let home = self.lines.home(key);
        if home.may_have() { self.locked_holder(home, key, now.as_nanos()) } else { None }
    }

    /// The first look of [`holder`](Self::holder).
    #[cfg(all(test, not(loom)))]
    pub(super) fn may_have(&self, key: Key) -> bool {
        self.lines.home(key).may_have()
    }

    #[cold]
    fn locked_holder(&self, home: Home<'_>, key: Key, now: u64) -> Option<JobId> {
        let shard = self.shard(home).lock();
        let entry = shard.entry(shard.find(home, key)?);
        (entry.until > now).then_some(entry.job)
    }

    /// Gives `key` to `job`. Says where its entry is.
    ///
    /// # Errors
    /// When another job has it, or too many are taken.
    #[inline]
    pub fn claim(&self, key: Key, job: JobId, now: Timestamp) -> Result<Place, Denied> {
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
    ) -> Result<Place, E> {
        let (now, home) = (now.as_nanos(), self.lines.home(key));
        if !R::CLAIMS_AT_ONCE
            && let Some(job) = self.locked_holder(home, key, now)
        {
            return Err(why(Denied::Taken(job)));
        }
        let until = self.window.map_or(u64::MAX, |window| now.saturating_add(window));
        loop {
            let mut guard = self.shard(home).lock();
            let shard = &mut *guard;
            if self.window.is_some() {
                self.clear_ended(shard, now, CLEARED_BY_CLAIM);
            }
            let at = match shard.find(home, key) {
                Some(at) if R::CLAIMS_AT_ONCE && shard.entry(at).until > now => return Err(why(Denied::Taken(shard.entry(at).job))),
                Some(ended) => {
                    more()?;
                    let entry = shard.entry_mut(ended);
                    (entry.job, entry.slot, entry.until) = (job, None, until);
                    ended
                }
                None if self.pool.enter(&mut shard.room) => {
                    more().inspect_err(|_| self.pool.leave(&mut shard.room, 1))?;
                    shard.enter(home, Entry::new(key, job, until))
                }
                None => {
                    // one lock of a table at a time
                    drop(guard);
                    if !self.make_room(now) {
                        return Err(why(Denied::Full));
                    }
                    continue;
                }
            };
            if self.window.is_some() {
                shard.push_end(until, at);
            }
            return Ok(Place(at));
        }
    }

    /// `job`, which has `key`, is in `slot`.
    pub fn keep_place(&self, key: Key, job: JobId, slot: u32) {
        let home = self.lines.home(key);
        let mut shard = self.shard(home).lock();
        if let Some(at) = shard.find(home, key).filter(|at| shard.entry(*at).job == job) {
            shard.entry_mut(at).slot = Some(slot);
        }
    }

    /// The job that has `key`, and its slot, if it was said which.
    pub fn place(&self, key: Key) -> Option<(JobId, u32)> {
        let home = self.lines.home(key);
        let shard = self.shard(home).lock();
        let entry = shard.entry(shard.find(home, key)?);
        Some((entry.job, entry.slot?))
    }

    /// `job` has no need of `key` any more. Nothing happens when another job has it by now.
    #[inline]
    pub fn forget(&self, key: Key, job: JobId) {
        let home = self.lines.home(key);
        let mut shard = self.shard(home).lock();
        if let Some(at) = shard.find(home, key) {
            self.drop_entry(&mut shard, home, at, job);
        }
    }

    /// As [`forget`](Self::forget), for a caller who was told the place: it need not be looked for.
    #[inline]
    pub fn forget_at(&self, Name { key, job, place }: Name) {
        if place == Place::NOWHERE {
            return self.forget(key, job);
        }
        let home = self.lines.home(key);
        // beside the entry, not after it
        home.prefetch();
        let mut shard = self.shard(home).lock();
        if shard.has(place.0, key) {
            self.drop_entry(&mut shard, home, place.0, job);
        }
    }

    #[inline]
    fn drop_entry(&self, shard: &mut Shard, home: Home<'_>, at: u32, job: JobId) {
        if shard.entry(at).job == job || !R::FORGETS_ITS_OWN {
            let until = shard.entry(at).until;
            shard.leave::<R>(home, at);
            self.pool.leave(&mut shard.room, 1);
            if self.window.is_some() {
                shard.drop_end(until, at);
            }
        }
    }

    /// Clears away windows that have ended, a bounded number of them. For the timer.
    pub fn sweep(&self, now: Timestamp) {
        if self.window.is_some() {
            for shard in &self.shards {
                self.clear_ended(&mut shard.lock(), now.as_nanos(), CLEARED_BY_SWEEP);
            }
        }
    }

    /// Clears away up to `most` windows of a shard that have ended.
    fn clear_ended(&self, shard: &mut Shard, now: u64, most: usize) {
        let ended = shard.clear::<R>(&self.lines, now, most);
        self.pool.leave(&mut shard.room, ended);
    }

    /// Clears away all windows that have ended, and gathers the room that shards have. False if there is none.
    #[cold]
    fn make_room(&self, now: u64) -> bool {
        // whoever comes meanwhile waits for what is found
        let _looks = R::LOOKS_ALONE.then(|| self.looks.lock());
        if self.window.is_some() || R::LOOKS_FOR_ROOM && self.pool.was_kept() {
            for shard in &self.shards {
                let mut shard = shard.lock();
                let ended = shard.clear::<R>(&self.lines, now, usize::MAX);
                self.pool.give(std::mem::take(&mut shard.room) + ended);
            }
        }
        self.pool.room() > 0
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
