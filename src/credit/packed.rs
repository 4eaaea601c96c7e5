//! A chain, or none, in 32 bits.

use crate::chain::{Chain, Links};
use crate::limits::{CHAIN_MAX, INDEX_BITS, INDEX_NONE};

const _: () = assert!(CHAIN_MAX < 1 << (u32::BITS - INDEX_BITS), "a chain's length fits beside its first index");

/// No chain: length 0.
pub(super) const EMPTY: u32 = INDEX_NONE;

/// `len:8 | first:24`.
#[inline]
pub(super) fn pack(chain: Chain) -> u32 {
    chain.len() << INDEX_BITS | chain.first()
}

/// The chain, unless the word is [`EMPTY`].
#[inline]
pub(super) fn unpack(word: u32) -> Option<Chain> {
    let len = word >> INDEX_BITS;
    (len > 0).then(|| Chain::new(word & INDEX_NONE, len))
}

/// Cuts a chain after its first `count` (at least 1) indices. The caller owns the chain.
#[inline]
pub(super) fn split(links: &impl Links, chain: Chain, count: u32) -> (Chain, Option<Chain>) {
    if chain.len() <= count {
        return (chain, None);
    }
    (Chain::new(chain.first(), count), Some(Chain::new(follow(links, chain, count), chain.len() - count)))
}

/// The index `count` (at least 1, and less than there are) places behind the first. Where the chain is somebody else's by now it is any index, or [`INDEX_NONE`].
#[inline]
pub(super) fn follow(links: &impl Links, chain: Chain, count: u32) -> u32 {
    debug_assert!(0 < count && count < chain.len());
    (0..count).fold(chain.first(), |at, _| links.next_if_any(at))
}

/// The last index of a chain that the caller owns.
#[inline]
pub(super) fn last(links: &impl Links, chain: Chain) -> u32 {
    let mut index = chain.first();
    for _ in 1..chain.len() {
        index = links.next(index);
    }
    index
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::chain::LinkArray;
    use crate::limits::CAPACITY_MAX;

    #[test]
    fn a_packed_chain_comes_back() {
        for first in [0, 1, CAPACITY_MAX - 1] {
            for len in [1, 2, CHAIN_MAX] {
                assert_eq!(unpack(pack(Chain::new(first, len))), Some(Chain::new(first, len)));
            }
        }
        assert_eq!(unpack(EMPTY), None);
    }

    #[test]
    fn a_chain_is_cut_where_asked() {
        let links = LinkArray::new(8);
        let chain = Chain::link(&links, &[3, 1, 4, 5]);
        let (front, rest) = split(&links, chain, 3);
        assert_eq!(front.iter(&links).collect::<Vec<_>>(), [3, 1, 4]);
        assert_eq!(rest, Some(Chain::one(5)));
        assert_eq!(split(&links, chain, 4), (chain, None));
        assert_eq!(last(&links, chain), 5);
    }
}
