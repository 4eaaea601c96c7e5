//! One thread's cache of credits: a chain in a word.

use super::packed::{EMPTY, follow, last, pack, unpack};
use crate::chain::{Chain, Links};
use crate::crash_point;
use crate::limits::INDEX_NONE;
use crate::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::sync::{CachePadded, peek_u32};

/// The account of one producer or worker.
///
/// Methods that say *owner* are for the owner alone; the pool guarantees it by the [`AccountId`](super::AccountId), which is not `Sync`.
#[derive(Debug)]
pub(super) struct Account {
    /// `len:8 | first:24`, or EMPTY. Only the owner makes it non-empty; anyone may swap it to EMPTY.
    word: CachePadded<AtomicU32>,
}

impl Account {
    pub(super) fn new() -> Self {
        Account { word: CachePadded::new(AtomicU32::new(EMPTY)) }
    }

    /// Owner: takes the index put last.
    #[inline(always)]
    pub(super) fn take_one(&self, links: &impl Links) -> Option<u32> {
        self.take(links, 1).map(|chain| chain.first())
    }

    /// Owner: takes up to `max` (at least 1) indices, the last ones first.
    ///
    /// A failed CAS means that somebody emptied the account, and then it stays empty: one attempt is enough.
    // always: much of it is not there for one index
    #[inline(always)]
    pub(super) fn take(&self, links: &impl Links, max: u32) -> Option<Chain> {
        let word = peek_u32(&self.word);
        let held = unpack(word)?;
        crash_point!("credit.take.read");
        let (taken, rest) = if held.len() <= max {
            (held, EMPTY)
        } else {
            // whoever empties the account may use the slots, and their links, at once
            let rest = follow(links, held, max);
            if rest == INDEX_NONE {
                return None;
            }
            links.prefetch(rest);
            (Chain::new(held.first(), max), pack(Chain::new(rest, held.len() - max)))
        };
        crash_point!("credit.take");
        // relaxed: exclusive owner; everything in the account was put there by this thread. The RMW keeps the put's release alive for revokers
        self.word.compare_exchange(word, rest, Relaxed, Relaxed).ok()?;
        Some(taken)
    }

    /// Owner: puts `chain` on top. If more than `limit` would gather, the older ones come back, to be spilled.
    #[inline(always)]
    #[must_use]
    pub(super) fn put(&self, links: &impl Links, chain: Chain, limit: u32) -> Option<Chain> {
        let word = peek_u32(&self.word);
        if let Some(held) = unpack(word)
            && held.len() + chain.len() <= limit
        {
            links.set_next(last(links, chain), held.first());
            crash_point!("credit.put");
            let both = Chain::new(chain.first(), held.len() + chain.len());
            // edge credit.account, release: the links, and the end of the last use of the slots
            // relaxed on failure: it is EMPTY now and stays so
            if self.word.compare_exchange(word, pack(both), Release, Relaxed).is_ok() {
                return None;
            }
        }
        // edge credit.account, release: as above. What comes back was put by this thread itself
        unpack(self.word.swap(pack(chain), Release))
    }

    /// Anyone: takes everything.
    #[inline]
    pub(super) fn take_all(&self) -> Option<Chain> {
        // relaxed: a look before the swap, so that empty accounts keep their line. Who must not miss a deposit has passed the fence credit.wait
        if self.word.load(Relaxed) == EMPTY {
            return None;
        }
        crash_point!("credit.take_all");
        // edge credit.account, acquire: the links, and the end of the last use of the slots
        unpack(self.word.swap(EMPTY, Acquire))
    }

    /// How many indices are in it.
    pub(super) fn len(&self) -> u32 {
        // relaxed: statistics
        unpack(self.word.load(Relaxed)).map_or(0, |chain| chain.len())
    }
}
