//! The wheel itself: the cursor, the levels, and the entries between them.

use super::level::{Level, block_start, bucket_of, bucket_start, level_of};
use super::list::Lists;
use crate::limits::{WHEEL_BUCKETS, WHEEL_LEVELS};

/// The first of the two buckets for parked entries; the levels' buckets lie before it.
const PARKED: usize = WHEEL_LEVELS * WHEEL_BUCKETS;

/// What [`Wheel::advance`] left undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "after `More`, call again"]
pub enum Advance {
    /// Nothing: the cursor is at the tick that was asked for.
    Done,
    /// The budget ran out before the cursor got there. Call again.
    More,
}

/// A hierarchical timer wheel over the entries `0..capacity`. The idea and the invariants: see the [module](super).
#[derive(Debug)]
pub struct Wheel {
    /// The cursor. Nothing is due before it.
    now: u64,
    levels: [Level; WHEEL_LEVELS],
    lists: Lists,
    len: u32,
    /// The bucket, not of level 0, that the cursor entered last, while it may still hold entries that belong further down.
    entered: Option<usize>,
    /// Which of the two parked buckets takes what lies beyond the block. The other one is entered, or empty.
    parking: usize,
    /// No parked entry is due before this. Too early after a cancel, until the cursor reaches its block; never in a block that the cursor has
    /// reached; `u64::MAX` when nothing is parked.
    parked_due: u64,
}

impl Wheel {
    /// An empty wheel for `capacity` entries, with the cursor at `now_tick`.
    ///
    /// # Panics
    /// When `capacity` leaves no room for the buckets in 32 bits.
    pub fn new(capacity: u32, now_tick: u64) -> Self {
        Wheel {
            now: now_tick,
            levels: [Level::default(); WHEEL_LEVELS],
            lists: Lists::new(capacity, PARKED + 2),
            len: 0,
            entered: None,
            parking: 0,
            parked_due: u64::MAX,
        }
    }

    /// The cursor: every tick before it is done with.
    #[inline]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// How many entries wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether no entry waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many entries there is room for.
    #[inline]
    pub fn capacity(&self) -> u32 {
        self.lists.entries()
    }

    /// Whether `id` waits.
    ///
    /// # Panics
    /// When `id` is not below the capacity; so do all methods that take one.
    #[inline]
    pub fn contains(&self, id: u32) -> bool {
        self.due(id).is_some()
    }

    /// The tick at which `id` is due, if it waits. A tick that had passed when it came was replaced by the cursor of that moment.
    #[inline]
    pub fn due(&self, id: u32) -> Option<u64> {
        self.lists.due(id)
    }

    /// Lets `id` fire once the cursor reaches `due_tick`; in the next [`advance`](Self::advance) if it has been reached already.
    ///
    /// In debug builds it is an error if `id` waits already; otherwise that is a [`reschedule`](Self::reschedule).
    #[inline]
    pub fn insert(&mut self, id: u32, due_tick: u64) {
        debug_assert!(!self.contains(id), "entry {id} is in the wheel already");
        self.reschedule(id, due_tick);
    }

    /// As [`insert`](Self::insert), whether or not `id` waits already.
    #[inline]
    pub fn reschedule(&mut self, id: u32, due_tick: u64) {
        if self.contains(id) {
            self.unlink(id);
            self.len -= 1;
        }
        self.len += 1;
        self.link(id, due_tick.max(self.now));
    }

    /// Takes `id` out. Whether it was in.
    #[inline]
    pub fn cancel(&mut self, id: u32) -> bool {
        let waits = self.contains(id);
        if waits {
            self.unlink(id);
            self.len -= 1;
        }
        waits
    }

    /// The next tick at which [`advance`](Self::advance) has something to do; `None` if nothing waits.
    ///
    /// Never later than the earliest due tick, and exactly that if it is less than 64 ticks away in the cursor's round of level 0. Otherwise
    /// it is the tick at which entries move to a lower level.
    pub fn next_due(&self) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        let busy = self.entered.is_some() || self.first_to_fire().is_some();
        if busy { Some(self.now) } else { self.next_event().map(|(tick, _)| tick) }
    }

    /// Moves the cursor to `to_tick`, or leaves it where it is if that lies behind, and hands every entry that is due by then to `fire`,
    /// in the order of their ticks.
    ///
    /// At most `budget` entries are fired or moved to a lower level, and at least one. An entry is out of the wheel before `fire` sees it.
    pub fn advance(&mut self, to_tick: u64, budget: usize, mut fire: impl FnMut(u32)) -> Advance {
        let to = to_tick.max(self.now);
        let mut left = budget.max(1);
        loop {
            while let Some((id, due)) = self.first_to_move() {
                if left == 0 {
                    return Advance::More;
                }
                left -= 1;
                self.unlink(id);
                self.link(id, due);
            }
            while let Some(id) = self.first_to_fire() {
                if left == 0 {
                    return Advance::More;
                }
                left -= 1;
                self.unlink(id);
                self.len -= 1;
                fire(id);
            }
            match self.next_event() {
                Some((tick, bucket)) if tick <= to => self.enter(tick, bucket),
                _ => {
                    self.now = to;
                    return Advance::Done;
                }
            }
        }
    }

    /// Puts the cursor on `tick`, the next event, where `bucket` begins.
    #[inline]
    fn enter(&mut self, tick: u64, bucket: usize) {
        self.now = tick;
        if bucket >= WHEEL_BUCKETS {
            self.entered = Some(bucket);
        }
        if bucket >= PARKED {
            // what turns out to belong further ahead goes to the other one
            self.parking ^= 1;
            self.parked_due = u64::MAX;
        }
    }

    /// The first entry of the entered bucket. Forgets the bucket when it is empty: it will be filled again for another round.
    #[inline]
    fn first_to_move(&mut self) -> Option<(u32, u64)> {
        let first = self.lists.first(self.entered?);
        if first.is_none() {
            self.entered = None;
        }
        first
    }

    /// The first entry that is due now, unless some may still lie in an entered bucket.
    #[inline]
    fn first_to_fire(&self) -> Option<u32> {
        let bucket = bucket_of(self.now, 0);
        if self.levels[0].is_marked(bucket) { self.lists.first(bucket).map(|(id, _)| id) } else { None }
    }

    /// The first tick after the cursor at which a bucket with entries begins, and that bucket.
    #[inline]
    fn next_event(&self) -> Option<(u64, usize)> {
        for (level, occupancy) in self.levels.iter().enumerate() {
            if let Some(bucket) = occupancy.next_after(bucket_of(self.now, level)) {
                return Some((bucket_start(self.now, level, bucket), level * WHEEL_BUCKETS + bucket));
            }
        }
        let parked = PARKED + self.parking;
        self.lists.first(parked).map(|_| (block_start(self.parked_due), parked))
    }

    /// Hangs `id` where `due`, which is not before the cursor, belongs.
    #[inline]
    fn link(&mut self, id: u32, due: u64) {
        let level = level_of(self.now, due);
        if level < WHEEL_LEVELS {
            let bucket = bucket_of(due, level);
            self.levels[level].mark(bucket);
            self.lists.push_back(level * WHEEL_BUCKETS + bucket, id, due);
        } else {
            self.parked_due = self.parked_due.min(due);
            self.lists.push_back(PARKED + self.parking, id, due);
        }
    }

    /// Takes `id`, which waits, out of its bucket.
    #[inline]
    fn unlink(&mut self, id: u32) {
        match self.lists.unlink(id) {
            Some(emptied) if emptied < PARKED => self.levels[emptied / WHEEL_BUCKETS].unmark(emptied % WHEEL_BUCKETS),
            // what was the earliest may lie behind the cursor when the next one is parked
            Some(emptied) if emptied == PARKED + self.parking => self.parked_due = u64::MAX,
            _ => {}
        }
    }
}

#[cfg(all(test, not(loom)))]
#[path = "tests.rs"]
mod tests;
