//! How many more keys may be taken.

use crate::limits::MODEL;
use crate::sync::CachePadded;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// The most that a shard takes at a time.
const PORTION_MAX: usize = 32;

/// The room that no shard has.
///
/// A shard takes some for the next keys as well, so that the word that all of them share is not written for each. While there is plenty it takes a portion at a time,
/// and keeps what becomes free, up to two. Where there is not much it takes what it needs, and keeps nothing: what is left is in the pool then.
#[derive(Debug)]
pub(super) struct Pool {
    words: CachePadded<Words>,
    /// A portion is one of so many parts of what is left.
    parts: usize,
}

#[derive(Debug)]
struct Words {
    /// Lowered under the lock of a shard that takes some, raised under that of one that gives.
    room: AtomicUsize,
    /// A shard may have room. Raised under its lock, lowered by whoever is about to look into all of them.
    is_kept: AtomicBool,
}

impl Pool {
    /// A pool of `bound` keys for so many shards.
    pub(super) fn new(bound: usize, shards: usize) -> Self {
        let words = Words { room: AtomicUsize::new(bound), is_kept: AtomicBool::new(false) };
        Pool { words: CachePadded::new(words), parts: if MODEL { 2 } else { 4 * shards } }
    }

    /// How many keys may be taken by those who ask here.
    pub(super) fn room(&self) -> usize {
        // relaxed: only the number matters
        self.words.room.load(Relaxed)
    }

    /// True if there may be more than is here, and nobody was told so since it was kept: the caller looks into every shard.
    pub(super) fn was_kept(&self) -> bool {
        // relaxed, both: whoever keeps some says so under the lock of his shard, before the caller has looked there or after
        self.words.is_kept.load(Relaxed) && self.words.is_kept.swap(false, Relaxed)
    }

    fn say_kept(&self) {
        // relaxed, both: see `was_kept`
        if !self.words.is_kept.load(Relaxed) {
            self.words.is_kept.store(true, Relaxed);
        }
    }

    /// How much is taken at a time when this much is left.
    fn portion(&self, room: usize) -> usize {
        (room / self.parts).clamp(1, PORTION_MAX)
    }

    /// One more key is taken, by a shard that has room for so many. False if there is no room.
    #[inline]
    pub(super) fn enter(&self, of_shard: &mut usize) -> bool {
        if *of_shard == 0 {
            *of_shard = self.take();
        }
        let fits = *of_shard > 0;
        *of_shard -= usize::from(fits);
        if *of_shard > 0 {
            self.say_kept();
        }
        fits
    }

    /// A portion, or what there is.
    fn take(&self) -> usize {
        let mut room = self.room();
        loop {
            let portion = self.portion(room).min(room);
            if portion == 0 {
                return 0;
            }
            // relaxed, both: only the number matters
            match self.words.room.compare_exchange(room, room - portion, Relaxed, Relaxed) {
                Ok(_) => return portion,
                Err(now) => room = now,
            }
        }
    }

    /// So many keys are taken no more, of a shard that has room for so many.
    #[inline]
    pub(super) fn leave(&self, of_shard: &mut usize, keys: usize) {
        *of_shard += keys;
        let portion = self.portion(self.room());
        if *of_shard > 2 * (portion - 1) {
            self.give(*of_shard - (portion - 1));
            *of_shard = portion - 1;
        }
        if *of_shard > 0 {
            self.say_kept();
        }
    }

    /// So much more room is nobody's.
    pub(super) fn give(&self, room: usize) {
        if room > 0 {
            // relaxed: only the number matters
            self.words.room.fetch_add(room, Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_shard_takes_portions_while_there_is_plenty_and_single_keys_at_the_end() {
        let pool = Pool::new(400, 2);
        let mut shard = 0;
        let mut left = Vec::new();
        while pool.enter(&mut shard) {
            left.push((pool.room(), shard));
            assert_eq!(pool.was_kept(), shard > 0);
        }
        assert_eq!(left[0], (368, 31), "a portion");
        assert_eq!(left.len(), 400);
        let portions: Vec<usize> = left.windows(2).map(|two| two[0].0 - two[1].0).filter(|taken| *taken > 0).collect();
        assert!(portions.is_sorted_by(|one, other| one >= other), "{portions:?}");
        assert!(left[385..].iter().all(|(_, shard)| *shard == 0), "nothing is kept of the last {:?}", &left[385..]);
        assert_eq!((shard, pool.room(), pool.enter(&mut shard)), (0, 0, false));
    }

    #[test]
    fn what_becomes_free_stays_with_its_shard_while_there_is_plenty() {
        let pool = Pool::new(1_000, 2);
        let mut shard = 0;
        for keys in 1..=62 {
            pool.leave(&mut shard, 1);
            assert_eq!((shard, pool.room()), (keys, 1_000));
        }
        pool.leave(&mut shard, 1);
        assert_eq!((shard, pool.room()), (31, 1_032));
        pool.leave(&mut shard, 500);
        assert_eq!((shard, pool.room(), pool.was_kept(), pool.was_kept()), (31, 1_532, true, false));
    }

    #[test]
    fn nothing_that_becomes_free_stays_with_its_shard_where_there_is_little() {
        let pool = Pool::new(0, 2);
        let mut shard = 0;
        for keys in 1..16 {
            pool.leave(&mut shard, 1);
            assert_eq!((shard, pool.room(), pool.was_kept()), (0, keys, false));
        }
    }
}
