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
    try_split(links, chain, count).expect("the links of a chain lead to its end")
}

/// As [`split`], of a chain that may be somebody else's by now. `None` if its links lead nowhere, so that it is; otherwise what comes back means nothing before the caller
/// knows that it was its own.
#[inline]
pub(super) fn try_split(links: &impl Links, chain: Chain, count: u32) -> Option<(Chain, Option<Chain>)> {
    debug_assert!(count > 0);
    if chain.len() <= count {
        return Some((chain, None));
    }
    let mut cut = chain.first();
    for _ in 0..count {
        cut = links.next(cut);
        if cut == INDEX_NONE {
            return None;
        }
    }
    Some((Chain::new(chain.first(), count), Some(Chain::new(cut, chain.len() - count))))
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
