//! Slot indices in hand: chains of them, and the links they hang on.
//!
//! An index is always in exactly one place: a lane, the free list, an account, a claim, the wheel, or somebody's hand. That is why one
//! intrusive link per slot is enough for every list in the crate, and why its owner may write it with plain (Relaxed) stores: the list that
//! hands the index over carries the release and the acquire.

use crate::limits::{CHAIN_MAX, INDEX_NONE};
use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// In a link, beside the index: a note of the list whose link it is. Whoever sets one takes it out; to others a link may lead anywhere.
pub const MARK: u32 = 1 << 31;

const _: () = assert!(INDEX_NONE < MARK);

/// The intrusive links of a slab: one per slot index.
pub trait Links {
    /// The link of `index`. Only the owner of the index may write it.
    fn link(&self, index: u32) -> &AtomicU32;

    /// The link of `index`, if there is such an index.
    fn link_if_any(&self, index: u32) -> Option<&AtomicU32>;

    /// Asks for the line of `index`, for an index that its owner is about to use. A hint.
    #[inline]
    fn prefetch(&self, index: u32) {
        let _ = index;
    }

    /// The hints to chains, if there are any: see [`Hints`].
    #[inline]
    fn hints(&self) -> Option<&Hints> {
        None
    }

    /// Writes down what `chain` holds, for whoever gets it. The caller owns it, and has its links in cache.
    #[inline]
    fn note(&self, chain: Chain)
    where
        Self: Sized,
    {
        if let Some(hints) = self.hints() {
            for (cell, index) in hints.row_for(chain.first()).0.iter().zip(chain.iter(self)) {
                // relaxed: a hint
                cell.store(index, Relaxed);
            }
        }
    }

    /// Asks for the lines of a whole chain at once. To follow its links is to wait for each line before the next can be asked for.
    #[inline]
    fn prefetch_chain(&self, chain: Chain) {
        if let Some(hints) = self.hints()
            && let Some(row) = hints.row_of(chain.first())
        {
            for cell in &row.0[1..chain.len() as usize] {
                // relaxed: a hint
                self.prefetch(cell.load(Relaxed));
            }
            row.clear();
        }
    }

    /// The index that follows `index` in its chain.
    #[inline]
    fn next(&self, index: u32) -> u32 {
        // relaxed: a chain is handed over by the list that carries it
        self.link(index).load(Relaxed)
    }

    /// As [`next`](Self::next), for whoever may own the chain no more: its links may lead anywhere then, without a [`MARK`]. Nothing follows `INDEX_NONE`.
    #[inline]
    fn next_if_any(&self, index: u32) -> u32 {
        // relaxed: the caller finds out whether it was the owner
        self.link_if_any(index).map_or(INDEX_NONE, |link| link.load(Relaxed) & INDEX_NONE)
    }

    /// Makes `next` follow `index`.
    #[inline]
    fn set_next(&self, index: u32, next: u32) {
        // relaxed: the caller owns `index`
        self.link(index).store(next, Relaxed);
    }
}

/// What chains hold, side by side, where the links only say it one after the other.
///
/// Only a hint, to prefetch by: a row is shared by chains whose first indices hash alike, and may be of a chain that is gone. Nothing is decided by it.
#[derive(Debug)]
pub struct Hints(Box<[Row]>);

/// The indices of one chain, from the first on; [`INDEX_NONE`] in front where there is none. Written by whoever makes a chain for others, cleared by whoever
/// gets it, read by the latter.
#[derive(Debug)]
#[repr(align(128))]
struct Row([AtomicU32; CHAIN_MAX as usize]);

impl Row {
    /// The first index of its chain.
    #[inline]
    fn first(&self) -> u32 {
        // relaxed: a hint
        self.0[0].load(Relaxed)
    }

    /// Its chain has been asked for: another may have the row.
    #[inline]
    fn clear(&self) {
        // relaxed: a hint
        self.0[0].store(INDEX_NONE, Relaxed);
    }
}

impl Hints {
    /// Rows for the indices `0..capacity`: 6.4 bytes for each, which is 1.6 rows for every chain of full length.
    pub fn new(capacity: u32) -> Self {
        let row = || Row(std::array::from_fn(|_| AtomicU32::new(INDEX_NONE)));
        Hints((0..capacity.div_ceil(20)).map(|_| row()).collect())
    }

    /// The row of the chain that begins with `first`, if it has one.
    #[inline]
    fn row_of(&self, first: u32) -> Option<&Row> {
        self.rows(first).into_iter().find(|row| row.first() == first)
    }

    /// A row for that chain: its own, or one that is empty, or one that it takes from another chain.
    #[inline]
    fn row_for(&self, first: u32) -> &Row {
        let [one, other] = self.rows(first);
        let is_free = |row: &Row| row.first() == first || row.first() == INDEX_NONE;
        if !is_free(one) && is_free(other) { other } else { one }
    }

    /// The two rows that a chain may have.
    #[inline]
    fn rows(&self, first: u32) -> [&Row; 2] {
        // Fibonacci hashing: neighbours come to lie far apart
        [0x9E37_79B9, 0x85EB_CA6B].map(|factor| {
            let hash = u64::from(first.wrapping_mul(factor));
            &self.0[((hash * self.0.len() as u64) >> 32) as usize]
        })
    }
}

/// 1..=[`CHAIN_MAX`] indices in hand, hanging on each other's links.
///
/// The link of the last index is not part of the chain: `len` ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    first: u32,
    len: u32,
}

impl Chain {
    /// A chain of one.
    #[inline]
    pub const fn one(index: u32) -> Self {
        debug_assert!(index < INDEX_NONE);
        Chain { first: index, len: 1 }
    }

    /// A chain of `len` indices that already hang on each other.
    #[inline]
    pub const fn new(first: u32, len: u32) -> Self {
        debug_assert!(first < INDEX_NONE && 1 <= len && len <= CHAIN_MAX);
        Chain { first, len }
    }

    /// Links `indices` (1..=[`CHAIN_MAX`] of them, all owned by the caller) into a chain, in that order.
    ///
    /// # Panics
    /// When `indices` is empty or too long.
    #[inline]
    pub fn link(links: &impl Links, indices: &[u32]) -> Self {
        assert!(!indices.is_empty() && indices.len() <= CHAIN_MAX as usize, "a chain has 1..={CHAIN_MAX} indices");
        for pair in indices.windows(2) {
            links.set_next(pair[0], pair[1]);
        }
        Chain { first: indices[0], len: indices.len() as u32 }
    }

    /// The first index.
    #[inline]
    pub const fn first(&self) -> u32 {
        self.first
    }

    /// How many indices.
    #[inline]
    #[allow(clippy::len_without_is_empty, reason = "a chain is never empty")]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// The indices, in order.
    #[inline]
    pub fn iter<L: Links>(self, links: &L) -> ChainIter<'_, L> {
        ChainIter { links, at: self.first, left: self.len }
    }
}

/// The indices of a chain in order. Reads the link of an index before it yields that index, so the caller may re-link what it was given.
#[derive(Debug)]
pub struct ChainIter<'a, L> {
    links: &'a L,
    at: u32,
    left: u32,
}

impl<L: Links> Iterator for ChainIter<'_, L> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        if self.left == 0 {
            return None;
        }
        let index = self.at;
        self.left -= 1;
        if self.left > 0 {
            self.at = self.links.next(index);
        }
        Some(index)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

/// A plain array of links, for lists that stand alone (models, property tests, benchmarks).
#[derive(Debug)]
pub struct LinkArray(Box<[AtomicU32]>);

impl LinkArray {
    /// Links for the indices `0..capacity`.
    pub fn new(capacity: usize) -> Self {
        LinkArray((0..capacity).map(|_| AtomicU32::new(INDEX_NONE)).collect())
    }
}

impl Links for LinkArray {
    #[inline]
    fn link(&self, index: u32) -> &AtomicU32 {
        &self.0[index as usize]
    }

    #[inline]
    fn link_if_any(&self, index: u32) -> Option<&AtomicU32> {
        self.0.get(index as usize)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_linked_chain_yields_its_indices_in_order() {
        let links = LinkArray::new(8);
        let chain = Chain::link(&links, &[5, 2, 7]);
        assert_eq!((chain.first(), chain.len()), (5, 3));
        assert_eq!(chain.iter(&links).collect::<Vec<_>>(), [5, 2, 7]);
    }

    #[test]
    fn an_index_may_be_relinked_once_it_was_yielded() {
        let links = LinkArray::new(8);
        let chain = Chain::link(&links, &[1, 2, 3]);
        let seen: Vec<u32> = chain.iter(&links).inspect(|&index| links.set_next(index, 0)).collect();
        assert_eq!(seen, [1, 2, 3]);
    }

    #[test]
    #[should_panic(expected = "a chain has 1..=32 indices")]
    fn an_empty_chain_is_refused() {
        let _ = Chain::link(&LinkArray::new(1), &[]);
    }

    /// Links with hints, and what was asked for by them.
    struct Hinted {
        links: LinkArray,
        hints: Hints,
        asked: std::cell::RefCell<Vec<u32>>,
    }

    impl Hinted {
        fn new(capacity: u32) -> Self {
            Hinted { links: LinkArray::new(capacity as usize), hints: Hints::new(capacity), asked: Default::default() }
        }

        fn asked_for(&self, chain: Chain) -> Vec<u32> {
            self.prefetch_chain(chain);
            self.asked.take()
        }
    }

    impl Links for Hinted {
        fn link(&self, index: u32) -> &AtomicU32 {
            self.links.link(index)
        }

        fn link_if_any(&self, index: u32) -> Option<&AtomicU32> {
            self.links.link_if_any(index)
        }

        fn prefetch(&self, index: u32) {
            self.asked.borrow_mut().push(index);
        }

        fn hints(&self) -> Option<&Hints> {
            Some(&self.hints)
        }
    }

    #[test]
    fn a_chain_that_was_noted_is_asked_for_and_no_other() {
        let links = Hinted::new(32);
        let noted = Chain::link(&links, &[5, 2, 7]);
        links.note(noted);
        assert_eq!(links.asked_for(Chain::link(&links, &[3, 4])), [], "its rows are the same, and it is not the one that was noted");
        assert_eq!(links.asked_for(noted), [2, 7]);
        assert_eq!(links.asked_for(noted), [], "it has been asked for");
        links.note(Chain::one(5));
        assert_eq!(links.asked_for(Chain::one(5)), [], "the first is in hand");
    }

    #[test]
    fn of_the_chains_that_fill_a_slab_nine_in_ten_have_a_row() {
        const CAPACITY: u32 = 4_096;
        let links = Hinted::new(CAPACITY);
        // an order without a pattern: an odd factor is a permutation
        let indices: Vec<u32> = (0..CAPACITY).map(|at| at.wrapping_mul(2_654_435_761) % CAPACITY).collect();
        for turn in 0..3 {
            let chains: Vec<Chain> = indices[turn..].chunks_exact(32).map(|chunk| Chain::link(&links, chunk)).collect();
            chains.iter().for_each(|&chain| links.note(chain));
            let found = chains.iter().filter(|&&chain| links.asked_for(chain).len() == 31).count();
            assert!(found * 10 >= chains.len() * 9, "{found} of {} in turn {turn}", chains.len());
        }
    }

    #[test]
    fn a_row_goes_to_the_chain_that_comes_last() {
        let links = Hinted::new(16);
        let (one, other) = (Chain::link(&links, &[1, 2]), Chain::link(&links, &[3, 4]));
        links.note(one);
        links.note(other);
        assert_eq!((links.asked_for(one), links.asked_for(other)), (vec![], vec![4]), "there is one row");
    }

    #[test]
    fn neighbours_are_noted_in_rows_of_their_own() {
        let links = Hinted::new(32 * 64);
        let chains = [1, 2, 3].map(|first| Chain::link(&links, &[first, 100 + first]));
        chains.into_iter().for_each(|chain| links.note(chain));
        assert_eq!(chains.map(|chain| links.asked_for(chain)), [[101], [102], [103]]);
    }

    #[test]
    fn a_chain_knows_how_much_of_it_is_left() {
        let links = LinkArray::new(8);
        let mut left = Chain::link(&links, &[5, 2, 7]).iter(&links);
        for expected in [3, 2, 1, 0] {
            assert_eq!(left.size_hint(), (expected, Some(expected)));
            left.next();
        }
    }
}
