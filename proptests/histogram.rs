//! The histogram against a sorted vector.

use proptest::prelude::*;
use ringmill::histogram::{Histogram, HistogramSnapshot};

/// Values of every magnitude that the histogram resolves, small ones among them.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..40, (24u32..64, any::<u64>()).prop_map(|(shift, noise)| noise >> shift)]
}

fn filled(values: &[u64]) -> HistogramSnapshot {
    let histogram = Histogram::new();
    values.iter().for_each(|&value| histogram.record(value));
    histogram.snapshot()
}

proptest! {
    #[test]
    fn a_quantile_is_never_too_small_and_too_large_by_a_sixteenth_at_most(mut values in prop::collection::vec(value(), 1..400), q in 0.0f64..=1.0) {
        let snapshot = filled(&values);
        values.sort_unstable();
        for q in [q, 0.0, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let rank = ((q * values.len() as f64).ceil() as usize).max(1);
            let exact = values[rank - 1];
            let answer = snapshot.quantile(q);
            prop_assert!(answer >= exact && answer - exact <= exact / 16, "q {}: {} for {}", q, answer, exact);
            if exact < 16 {
                prop_assert_eq!(answer, exact);
            }
        }
        prop_assert_eq!(snapshot.quantile(1.0), *values.last().unwrap());
        prop_assert_eq!(snapshot.max(), *values.last().unwrap());
        prop_assert_eq!(snapshot.count(), values.len() as u64);
        prop_assert_eq!(snapshot.sum(), values.iter().sum::<u64>());
        prop_assert_eq!(snapshot.mean(), snapshot.sum() as f64 / values.len() as f64);
    }

    #[test]
    fn merging_is_recording_together(one in prop::collection::vec(any::<u64>(), 0..100), other in prop::collection::vec(value(), 0..100)) {
        let mut merged = HistogramSnapshot::default();
        merged.merge(&filled(&one));
        merged.merge(&HistogramSnapshot::default());
        merged.merge(&filled(&other));
        prop_assert_eq!(merged, filled(&[one, other].concat()));
    }

    #[test]
    fn quantiles_rise_with_q(values in prop::collection::vec(any::<u64>(), 1..200), a in 0.0f64..=1.0, b in 0.0f64..=1.0) {
        let snapshot = filled(&values);
        prop_assert!(snapshot.quantile(a.min(b)) <= snapshot.quantile(a.max(b)));
        prop_assert!(snapshot.quantile(1.0) == snapshot.max());
    }
}

#[test]
fn a_snapshot_taken_meanwhile_is_one_of_the_moments_between() {
    let histogram = Histogram::new();
    std::thread::scope(|scope| {
        scope.spawn(|| (1..=200_000u64).for_each(|value| histogram.record(value)));
        let mut last = 0;
        while last < 200_000 {
            let snapshot = histogram.snapshot();
            assert!(snapshot.count() >= last, "a count went back");
            assert!(snapshot.quantile(1.0) <= snapshot.max());
            last = snapshot.count();
        }
    });
    assert_eq!(histogram.snapshot().sum(), 200_000 * 200_001 / 2);
}
