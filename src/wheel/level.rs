//! A level: which of its 64 buckets hold anything, and which ticks a bucket stands for.

use crate::limits::{WHEEL_BUCKETS, WHEEL_LEVELS};

/// Bits of a tick that name a bucket within its level.
const DIGIT_BITS: u32 = WHEEL_BUCKETS.trailing_zeros();
/// Bits of a tick that the levels cover together; the rest is the block.
const BLOCK_SHIFT: u32 = DIGIT_BITS * WHEEL_LEVELS as u32;

/// The occupancy of one level. Bit n is set exactly if bucket n has an entry.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Level {
    occupied: u64,
}

impl Level {
    #[inline]
    pub(super) fn mark(&mut self, bucket: usize) {
        self.occupied |= 1 << bucket;
    }

    #[inline]
    pub(super) fn unmark(&mut self, bucket: usize) {
        self.occupied &= !(1 << bucket);
    }

    #[inline]
    pub(super) fn is_marked(self, bucket: usize) -> bool {
        self.occupied >> bucket & 1 == 1
    }

    /// The first occupied bucket behind `bucket`.
    #[inline]
    pub(super) fn next_after(self, bucket: usize) -> Option<usize> {
        // two shifts: one by 64 would be no shift at all
        let behind = self.occupied & (u64::MAX << bucket << 1);
        (behind != 0).then(|| behind.trailing_zeros() as usize)
    }
}

/// The level of `due` seen from `now`: the highest digit in which they differ; `WHEEL_LEVELS` and more if that is in the block.
#[inline]
pub(super) fn level_of(now: u64, due: u64) -> usize {
    // `| 1`: the same tick is level 0
    (((now ^ due) | 1).ilog2() / DIGIT_BITS) as usize
}

/// The bucket of `tick` in `level`.
#[inline]
pub(super) fn bucket_of(tick: u64, level: usize) -> usize {
    (tick >> (DIGIT_BITS * level as u32)) as usize % WHEEL_BUCKETS
}

/// The first tick of `bucket` in `level`, in the round that `now` is in.
#[inline]
pub(super) fn bucket_start(now: u64, level: usize, bucket: usize) -> u64 {
    let shift = DIGIT_BITS * level as u32;
    let round = now >> (shift + DIGIT_BITS) << (shift + DIGIT_BITS);
    round | (bucket as u64) << shift
}

/// The first tick of the block that `tick` is in.
#[inline]
pub(super) fn block_start(tick: u64) -> u64 {
    tick >> BLOCK_SHIFT << BLOCK_SHIFT
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_the_highest_digit_that_differs() {
        assert_eq!(level_of(0, 0), 0);
        assert_eq!(level_of(0, 63), 0);
        assert_eq!(level_of(0, 64), 1);
        assert_eq!(level_of(63, 64), 1);
        assert_eq!(level_of(64, 127), 0);
        assert_eq!(level_of(0, (1 << 36) - 1), 5);
        assert_eq!(level_of(0, 1 << 36), WHEEL_LEVELS);
        assert!(level_of(0, u64::MAX) >= WHEEL_LEVELS);
    }

    #[test]
    fn a_bucket_starts_in_the_round_of_the_cursor() {
        assert_eq!(bucket_start(1000, 0, 63), 1023);
        assert_eq!(bucket_start(5000, 1, 20), 4096 + 20 * 64);
        assert_eq!(bucket_start(u64::MAX, 5, 0), block_start(u64::MAX));
    }

    #[test]
    fn the_last_bucket_has_none_behind_it() {
        let mut level = Level::default();
        level.mark(63);
        level.mark(7);
        assert_eq!((level.next_after(0), level.next_after(7), level.next_after(63)), (Some(7), Some(63), None));
        level.unmark(63);
        assert_eq!(level.next_after(7), None);
        assert!(level.is_marked(7) && !level.is_marked(63));
    }
}
