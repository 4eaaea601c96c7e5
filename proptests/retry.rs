//! Retry delays: their bounds, and how far apart they bring what failed together.

use proptest::prelude::*;
use ringmill::retry::{Backoff, Jitter};
use ringmill::rng::Rng;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn jitter() -> impl Strategy<Value = Jitter> {
    prop::sample::select(vec![Jitter::None, Jitter::Full, Jitter::Equal, Jitter::Decorrelated])
}

/// From nothing to more than the crate's clock can hold.
fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        8 => (0u32..64, any::<u64>()).prop_map(|(shift, noise)| Duration::from_nanos(noise >> shift)),
        1 => Just(Duration::MAX),
        1 => Just(Duration::ZERO),
    ]
}

fn failures() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..40, any::<u32>()]
}

proptest! {
    #[test]
    fn a_delay_lies_within_its_bounds(
        base in duration(), factor in prop_oneof![0u32..5, any::<u32>()], cap in duration(), jitter in jitter(),
        failures in failures(), previous in duration(), seed in any::<u64>(),
    ) {
        // whatever the numbers, valid or not
        let backoff = Backoff::Exponential { base, factor, cap, jitter };
        let delay = backoff.delay(failures, previous, &mut Rng::new(seed));
        prop_assert!(delay <= cap);
        prop_assert_eq!(backoff.validate().is_ok(), factor > 0 && base <= cap);
    }

    #[test]
    fn each_jitter_keeps_to_its_own_bounds(base in 1u64..1 << 32, factor in 1u32..5, span in 0u64..1 << 40, failures in failures(), previous in any::<u64>(), seed in any::<u64>()) {
        let cap = base + span;
        // the delay without jitter, the slow way
        let mut full = u128::from(base);
        for _ in 0..failures.min(200) {
            full = (full * u128::from(factor)).min(u128::from(cap));
        }
        let full = full as u64;
        let most = previous.max(base).saturating_mul(3).min(cap);
        let mut rng = Rng::new(seed);
        for (jitter, least, most) in [(Jitter::None, full, full), (Jitter::Full, 0, full), (Jitter::Equal, full / 2, full), (Jitter::Decorrelated, base, most)] {
            let backoff = Backoff::Exponential { base: Duration::from_nanos(base), factor, cap: Duration::from_nanos(cap), jitter };
            let delay = backoff.delay(failures, Duration::from_nanos(previous), &mut rng).as_nanos() as u64;
            prop_assert!((least..=most).contains(&delay), "{:?}: {} not in {}..={}", jitter, delay, least, most);
        }
    }

    #[test]
    fn a_list_gives_its_entries_and_repeats_the_last(delays in prop::collection::vec(duration(), 1..6), failures in failures(), seed in any::<u64>()) {
        let expected = delays[(failures as usize).min(delays.len() - 1)];
        prop_assert_eq!(Backoff::List(delays).delay(failures, Duration::ZERO, &mut Rng::new(seed)), expected);
    }
}

/// The share of all retries that the fullest 10 ms hold, in percent; any 10 ms, not only those on a grid.
fn fullest_ten_ms(mut retries: Vec<Duration>) -> f64 {
    retries.sort_unstable();
    let mut from = 0;
    let fullest = (0..retries.len()).map(|to| {
        while retries[to] - retries[from] >= 10 * MS {
            from += 1;
        }
        to - from + 1
    });
    100.0 * fullest.max().unwrap() as f64 / retries.len() as f64
}

/// 10 000 jobs fail at one moment, each for the `failures_before + 1`-th time.
fn storm(backoff: &Backoff, failures_before: u32, seed: u64) -> f64 {
    let mut rng = Rng::new(seed);
    fullest_ten_ms((0..10_000).map(|_| backoff.delay(failures_before, Duration::ZERO, &mut rng)).collect())
}

/// What full jitter can and cannot do: a wave that comes back within `d` has at least 10 ms / `d` of itself in some 10 ms. With the default of
/// 50 ms that is 20 % after the first failure, whatever the randomness; below 5 % it is from the fourth failure on, where `d` is 400 ms.
#[test]
fn ten_thousand_failures_at_once_come_back_apart() {
    for seed in 0..20 {
        let default = |failures| storm(&Backoff::default(), failures, seed);
        for (failures, expected) in [(0, 20.0), (1, 10.0), (2, 5.0)] {
            let fullest = default(failures);
            assert!((expected..expected * 1.25).contains(&fullest), "after failure {}: {fullest} %", failures + 1);
        }
        for failures in 3..20 {
            let fullest = default(failures);
            assert!(fullest < 5.0, "after failure {}: {fullest} %", failures + 1);
        }
    }
}

#[test]
fn with_a_base_of_250_ms_already_the_first_wave_comes_back_apart() {
    let backoff = Backoff::Exponential { base: 250 * MS, factor: 2, cap: 30_000 * MS, jitter: Jitter::Full };
    for seed in 0..20 {
        for failures in 0..8 {
            let fullest = storm(&backoff, failures, seed);
            assert!(fullest < 5.0, "after failure {}: {fullest} %", failures + 1);
        }
    }
}

/// A whole outage: 10 000 jobs fail together and then at every retry. All four retries of all jobs on one time line.
#[test]
fn over_a_whole_outage_jitter_takes_the_peaks_off() {
    let outage = |jitter| {
        let backoff = Backoff::Exponential { base: 50 * MS, factor: 2, cap: 30_000 * MS, jitter };
        let mut rng = Rng::new(11);
        let mut retries = Vec::new();
        for _ in 0..10_000 {
            let (mut at, mut previous) = (Duration::ZERO, Duration::ZERO);
            for failures in 0..4 {
                previous = backoff.delay(failures, previous, &mut rng);
                at += previous;
                retries.push(at);
            }
        }
        fullest_ten_ms(retries)
    };
    let [none, full, equal, decorrelated] = [Jitter::None, Jitter::Full, Jitter::Equal, Jitter::Decorrelated].map(outage);
    println!("fullest 10 ms: none {none:.1} %, full {full:.1} %, equal {equal:.1} %, decorrelated {decorrelated:.1} %");
    assert_eq!(none, 25.0, "without jitter each wave comes back as one");
    assert!(decorrelated < 5.0 && full < 8.0 && equal < 11.0, "full {full} %, equal {equal} %, decorrelated {decorrelated} %");
}
