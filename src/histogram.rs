//! Latency histograms that cost the recording thread a few plain stores.
//!
//! A value goes into a bucket of fixed relative width: exact below 16, then 16 buckets to each power of two, so that a bucket is at most a
//! sixteenth of its values wide:
//!
//! ```text
//!   value (binary)   0000000 1 b b b b x x x x      exponent = position of the leading 1
//!                            | |-----|               bucket   = 16 * (exponent - 3) + bbbb
//!                       leading  sub-bucket
//! ```
//!
//! Values from 2^40 ns (18 minutes) on share the last bucket; the maximum is kept apart and exact.
//!
//! Each thread has its own histogram and is its only writer: a load and a store per counter, no RMW, no shared line. Whoever reads takes a
//! [`snapshot`](Histogram::snapshot) of each and merges them.

use crate::limits::MODEL;
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::statistics::AtomicU64;
use std::fmt;

/// Bits of a value that name the bucket within its power of two.
const SUB_BITS: u32 = 4;
/// Buckets per power of two.
const SUB: usize = 1 << SUB_BITS;
/// Values of this many bits and more share the last bucket. Small in models, which make many.
const RANGE_BITS: u32 = if MODEL { SUB_BITS } else { 40 };
/// Buckets of a histogram.
const BUCKETS: usize = (RANGE_BITS - SUB_BITS + 1) as usize * SUB;

/// The bucket of `value`.
#[inline]
const fn bucket_of(value: u64) -> usize {
    if value < SUB as u64 {
        return value as usize;
    }
    let shift = value.ilog2() - SUB_BITS;
    let bucket = shift as usize * SUB + (value >> shift) as usize;
    if bucket < BUCKETS { bucket } else { BUCKETS - 1 }
}

/// The smallest value of `bucket`.
#[inline]
const fn bucket_low(bucket: usize) -> u64 {
    if bucket < 2 * SUB {
        return bucket as u64;
    }
    ((SUB + bucket % SUB) as u64) << (bucket / SUB - 1)
}

/// The largest value of `bucket`.
#[inline]
const fn bucket_high(bucket: usize) -> u64 {
    if bucket + 1 < BUCKETS { bucket_low(bucket + 1) - 1 } else { u64::MAX }
}

/// A histogram of nanoseconds with one writer and any number of readers. 4 752 bytes.
pub struct Histogram {
    /// The sum of all values. Written by the owner, read by snapshots.
    sum: AtomicU64,
    /// The largest value. Written by the owner, read by snapshots.
    max: AtomicU64,
    /// How many values each bucket got. Written by the owner, read by snapshots.
    counts: [AtomicU64; BUCKETS],
}

const _: () = assert!(MODEL || size_of::<Histogram>() == 4_752, "the documentation says so");

impl Histogram {
    /// An empty histogram.
    pub fn new() -> Self {
        Histogram { sum: AtomicU64::new(0), max: AtomicU64::new(0), counts: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// Counts one value. Only the owner may call this: of two threads that record at once, one value may be lost (nothing worse).
    ///
    /// Wait-free; no RMW.
    #[inline]
    pub fn record(&self, nanos: u64) {
        let count = &self.counts[bucket_of(nanos)];
        // relaxed: single writer, statistics (this and the following)
        count.store(count.load(Relaxed) + 1, Relaxed);
        self.sum.store(self.sum.load(Relaxed).saturating_add(nanos), Relaxed);
        if nanos > self.max.load(Relaxed) {
            self.max.store(nanos, Relaxed);
        }
    }

    /// What has been counted so far. A value that is being recorded meanwhile may be missing, or missing from the sum only.
    pub fn snapshot(&self) -> HistogramSnapshot {
        // relaxed: statistics (this and the following)
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Relaxed)).collect();
        let mut snapshot = HistogramSnapshot { sum: self.sum.load(Relaxed), max: self.max.load(Relaxed), counts };
        // a value that was counted while we read may not have reached the maximum yet
        let highest = snapshot.counts.iter().rposition(|&count| count > 0);
        snapshot.max = snapshot.max.max(highest.map_or(0, bucket_low));
        snapshot
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

/// What a histogram held at one moment: plain data, mergeable.
///
/// ```
/// use ringmill::histogram::{Histogram, HistogramSnapshot};
///
/// let (one, other) = (Histogram::new(), Histogram::new());
/// (1..=90).for_each(|nanos| one.record(nanos));
/// (0..10).for_each(|_| other.record(1_000_000));
///
/// let mut all = HistogramSnapshot::default();
/// all.merge(&one.snapshot());
/// all.merge(&other.snapshot());
/// assert_eq!((all.count(), all.max()), (100, 1_000_000));
/// assert_eq!(all.quantile(0.5), 51); // 50, rounded up to the end of its bucket
/// assert_eq!(all.quantile(0.99), 1_000_000);
/// assert_eq!((all.sum(), all.mean()), (10_004_095, 100_040.95));
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct HistogramSnapshot {
    sum: u64,
    max: u64,
    /// One count per bucket; none at all in an empty default.
    counts: Vec<u64>,
}

impl HistogramSnapshot {
    /// Adds what `other` holds.
    pub fn merge(&mut self, other: &HistogramSnapshot) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The value that a share of `q` of all values does not exceed, in nanoseconds: at least the true one, more by at most a sixteenth, and at
    /// most [`max`](Self::max). 0 if there are no values; `q` is clamped to 0..=1.
    ///
    /// Values from 2^40 ns on are reported as the maximum.
    pub fn quantile(&self, q: f64) -> u64 {
        let count = self.count();
        // the cast turns a NaN into 0
        let rank = ((q.clamp(0.0, 1.0) * count as f64).ceil() as u64).clamp(1, count.max(1));
        let mut below = 0;
        for (bucket, &count) in self.counts.iter().enumerate() {
            below += count;
            if below >= rank {
                return bucket_high(bucket).min(self.max);
            }
        }
        0
    }

    /// The largest value, exactly; 0 if there are none.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The sum of all values, saturated at 584 years.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The mean of all values; 0 if there are none.
    pub fn mean(&self) -> f64 {
        match self.count() {
            0 => 0.0,
            count => self.sum as f64 / count as f64,
        }
    }
}

impl fmt::Debug for HistogramSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistogramSnapshot")
            .field("count", &self.count())
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .field("p999", &self.quantile(0.999))
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_buckets_tile_the_range() {
        assert_eq!(bucket_low(0), 0);
        for bucket in 0..BUCKETS - 1 {
            let (low, high) = (bucket_low(bucket), bucket_high(bucket));
            assert_eq!((bucket_of(low), bucket_of(high)), (bucket, bucket));
            assert_eq!(bucket_of(high + 1), bucket + 1);
            assert!((high - low) * 16 <= low || low < 16, "bucket {bucket} is too wide: {low}..={high}");
        }
        assert_eq!(bucket_of(1 << RANGE_BITS), BUCKETS - 1);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn an_empty_histogram_answers_zero() {
        let empty = Histogram::new().snapshot();
        assert_eq!((empty.count(), empty.quantile(0.5), empty.max(), empty.sum(), empty.mean()), (0, 0, 0, 0, 0.0));
        assert_eq!(HistogramSnapshot::default().quantile(1.0), 0);
    }

    #[test]
    fn a_single_value_is_every_quantile() {
        let histogram = Histogram::new();
        histogram.record(1_000_003);
        for q in [0.0, 0.5, 1.0, -3.0, 7.0, f64::NAN, f64::INFINITY] {
            assert_eq!(histogram.snapshot().quantile(q), 1_000_003, "{q}");
        }
    }

    #[test]
    fn a_value_caught_half_recorded_counts_in_the_maximum_as_well() {
        let histogram = Histogram::new();
        histogram.record(20);
        histogram.counts[bucket_of(1000)].store(1, Relaxed);
        let snapshot = histogram.snapshot();
        assert_eq!((snapshot.count(), snapshot.quantile(1.0)), (2, bucket_low(bucket_of(1000))));
    }

    #[test]
    fn beyond_the_range_the_maximum_answers() {
        let histogram = Histogram::new();
        histogram.record(1 << 50);
        histogram.record(u64::MAX);
        let snapshot = histogram.snapshot();
        assert_eq!((snapshot.quantile(0.1), snapshot.max(), snapshot.sum()), (u64::MAX, u64::MAX, u64::MAX));
    }
}
