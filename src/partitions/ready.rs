//! Which partitions are ready, for one lane: a bit each.

use super::rules::Rules;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sync::{CachePadded, full_fence_after_rmw, prefetch_for_write};

/// Bits of a word.
pub(super) const WORD: usize = 64;

/// A hint per partition. Set by whoever made it ready; cleared by whoever is about to look, by RMW both.
#[derive(Debug)]
pub(super) struct Ready(CachePadded<Box<[AtomicU64]>>);

impl Ready {
    pub(super) fn new(partitions: usize) -> Self {
        Ready(CachePadded::new((0..partitions.div_ceil(WORD)).map(|_| AtomicU64::new(0)).collect()))
    }

    /// Says that a partition is ready: by an RMW on its word, which is what the caller's last write was.
    #[inline]
    pub(super) fn say<R: Rules>(&self, partition: usize) {
        if R::FENCED {
            full_fence_after_rmw();
        }
        let (word, bit) = (&self.0[partition / WORD], 1 << (partition % WORD));
        // relaxed: ordered by the fence
        if word.load(Relaxed) & bit == 0 {
            // relaxed: ordered by the fence
            word.fetch_or(bit, Relaxed);
        }
    }

    /// Asks for the line of a partition's bit, which is about to be set.
    #[inline]
    pub(super) fn prefetch(&self, partition: usize) {
        prefetch_for_write(&self.0[partition / WORD]);
    }

    /// Clears up to `want` bits of `mask` in one word, lowest first. Says which were set, for the caller to look at.
    #[inline]
    pub(super) fn clear(&self, word: usize, mask: u64, want: usize) -> u64 {
        // relaxed: the RMW says which were set
        let set = self.0[word].load(Relaxed) & mask;
        if set == 0 {
            return 0;
        }
        let chosen = lowest(set, want);
        // relaxed: ordered by the fence, on either side
        let cleared = self.0[word].fetch_and(!chosen, Relaxed) & chosen;
        full_fence_after_rmw();
        cleared
    }

    /// The bits of one word. Racy.
    #[inline]
    pub(super) fn bits(&self, word: usize) -> u64 {
        // relaxed: a hint
        self.0[word].load(Relaxed)
    }

    /// How many words.
    pub(super) fn words(&self) -> usize {
        self.0.len()
    }
}

/// The `want` lowest of the bits.
#[inline]
fn lowest(bits: u64, want: usize) -> u64 {
    if bits.count_ones() as usize <= want {
        return bits;
    }
    let mut rest = bits;
    for _ in 0..want {
        rest &= rest - 1;
    }
    bits & !rest
}

/// The numbers of the bits that are set, lowest first.
#[inline]
pub(super) fn ones(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let one = (bits != 0).then(|| bits.trailing_zeros() as usize);
        bits &= bits.wrapping_sub(1);
        one
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::rules::Sound;
    use super::*;

    #[test]
    fn so_many_bits_are_cleared_as_are_wanted() {
        let ready = Ready::new(128);
        [3, 5, 64, 127].into_iter().for_each(|partition| ready.say::<Sound>(partition));
        assert_eq!(ready.clear(0, u64::MAX, 1), 1 << 3);
        assert_eq!(ready.clear(0, u64::MAX, 9), 1 << 5);
        assert_eq!(ready.clear(0, u64::MAX, 9), 0);
        assert_eq!(ready.clear(1, 1 << 63, 9), 1 << 63);
        assert_eq!(ones(ready.bits(1)).collect::<Vec<_>>(), [0]);
    }
}
