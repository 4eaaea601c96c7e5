//! The wheel against an ordered set.

use proptest::prelude::*;
use ringmill::clock::Timestamp;
use ringmill::wheel::{Advance, Wheel, tick_after, tick_reached};
use std::time::Duration;

mod pair;

use pair::{CAPACITY, FAR, Pair, Tick};

#[derive(Debug, Clone)]
enum Op {
    Insert { id: u32, due: Tick },
    Reschedule { id: u32, due: Tick },
    Cancel { id: u32 },
    Advance { to: Tick, budget: usize },
    Settle { to: Tick },
}

fn origin() -> impl Strategy<Value = u64> {
    let powers = prop::sample::select(vec![6u32, 12, 18, 24, 30, 36, 42, 48, 54, 60, 62, 63]);
    prop_oneof![
        1 => Just(0),
        6 => (powers, -1i64..=1).prop_map(|(power, off)| (1u64 << power).saturating_add_signed(off)),
        1 => any::<u64>().prop_map(|tick| tick / 2),
    ]
}

fn tick() -> impl Strategy<Value = Tick> {
    prop_oneof![
        4 => (0u64..200).prop_map(Tick::Ahead),
        4 => (0u32..=10, 0u64..=65, -1i64..=1).prop_map(|(level, factor, off)| Tick::Boundary { level, factor, off }),
        3 => (0u32..46, any::<u64>()).prop_map(|(bits, noise)| Tick::Ahead((1 << bits) | (noise & ((1 << bits) - 1)))),
        1 => (0u64..100_000).prop_map(Tick::Behind),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let budget = prop_oneof![Just(0usize), Just(1), Just(2), Just(7), Just(usize::MAX)];
    let due = || prop_oneof![12 => tick(), 1 => Just(Tick::End)];
    prop_oneof![
        6 => (0..CAPACITY, due()).prop_map(|(id, due)| Op::Insert { id, due }),
        2 => (0..CAPACITY, due()).prop_map(|(id, due)| Op::Reschedule { id, due }),
        2 => (0..CAPACITY).prop_map(|id| Op::Cancel { id }),
        3 => (tick(), budget).prop_map(|(to, budget)| Op::Advance { to, budget }),
        3 => tick().prop_map(|to| Op::Settle { to }),
    ]
}

proptest! {
    #[test]
    fn the_wheel_fires_what_a_sorted_map_would(origin in origin(), ops in prop::collection::vec(op(), 1..120)) {
        let mut pair = Pair::new(origin);
        for op in ops {
            let now = pair.wheel.now();
            match op {
                Op::Insert { id, due } => {
                    if !pair.wheel.contains(id) {
                        pair.put(id, due.from(now));
                    }
                }
                Op::Reschedule { id, due } => pair.put(id, due.from(now)),
                Op::Cancel { id } => {
                    let before = pair.model.len();
                    pair.model.retain(|_, other| *other != id);
                    prop_assert_eq!(pair.wheel.cancel(id), pair.model.len() < before);
                    prop_assert!(!pair.wheel.contains(id));
                }
                Op::Advance { to, budget } => {
                    let _ = pair.advance(to.from(now), budget);
                }
                Op::Settle { to } => {
                    let to = to.from(now);
                    let mut calls = 0;
                    while pair.advance(to, 3) == Advance::More {
                        calls += 1;
                        prop_assert!(calls < 2000, "an advance that does not end");
                    }
                }
            }
            pair.check();
            if !pair.wheel.contains(FAR) {
                pair.put(FAR, u64::MAX);
            }
        }
        while pair.advance(u64::MAX, 5) == Advance::More {}
        prop_assert!(pair.wheel.is_empty() && pair.model.is_empty());
    }

    #[test]
    fn equal_ticks_fire_in_the_order_of_insertion(origin in origin(), ops in prop::collection::vec((0..CAPACITY, tick(), any::<bool>()), 1..200)) {
        let mut pair = Pair::new(origin);
        // insert and advance, never interrupted: `Pair` compares the whole order
        for (id, tick, insert) in ops {
            let tick = tick.from(pair.wheel.now());
            if insert {
                pair.put(id, tick);
                pair.put((id + 1) % CAPACITY, tick);
            } else {
                prop_assert_eq!(pair.advance(tick, usize::MAX), Advance::Done);
            }
            pair.check();
        }
        prop_assert!(pair.fifo);
    }

    #[test]
    fn a_driver_that_sleeps_until_next_due_is_exact_and_wakes_seldom(origin in origin(), dues in prop::collection::vec(tick(), 1..24)) {
        let mut wheel = Wheel::new(24, origin);
        let dues: Vec<u64> = dues.into_iter().map(|due| due.from(origin).max(origin)).collect();
        dues.iter().zip(0..).for_each(|(&due, id)| wheel.insert(id, due));
        let mut wakes = 0;
        while let Some(tick) = wheel.next_due() {
            wakes += 1;
            let left = wheel.advance(tick, usize::MAX, |id| assert_eq!(dues[id as usize], tick, "fired at its very tick"));
            prop_assert_eq!(left, Advance::Done);
        }
        prop_assert!(wakes <= 7 * dues.len(), "{} wake-ups for {} entries", wakes, dues.len());
    }

    #[test]
    fn rounding_never_makes_anything_early(due in 0u64..1 << 62, off in -3i64..=3, ticks in -1i64..=1, tick in 1u64..10_000_000_000) {
        // a due time close to the edge of a tick, and a present within three nanoseconds of it, or of one tick before or after
        let due = ((due / tick + 4) * tick).saturating_add_signed(off);
        let now = due.saturating_add_signed(off + ticks * tick as i64);
        let length = Duration::from_nanos(tick);
        let fires = tick_reached(Timestamp::from_nanos(now), length) >= tick_after(Timestamp::from_nanos(due), length);
        prop_assert!(!fires || now >= due, "early: {} for {}", now, due);
        prop_assert!(fires || now < due + tick, "late by a tick: {} for {}", now, due);
    }
}

#[test]
fn at_every_boundary_an_entry_fires_at_its_tick_and_not_one_before() {
    let origins = [0u64].into_iter().chain([6, 12, 18, 24, 30, 36, 62].into_iter().flat_map(|k| [(1u64 << k) - 1, 1 << k, (1 << k) + 1]));
    for origin in origins {
        for (level, factor, off) in (0..=7).flat_map(|level| {
            [1u64, 2, 63, 64, 65]
                .map(|factor| (level, factor))
                .into_iter()
                .flat_map(|(level, factor)| [-1i64, 0, 1].map(|off| (level, factor, off)))
        }) {
            // both k * 64^n ahead, and k * 64^n itself
            let span = factor << (6 * level);
            for due in [(origin + span).saturating_add_signed(off), span.saturating_add_signed(off)] {
                let mut wheel = Wheel::new(2, origin);
                wheel.insert(0, due);
                wheel.insert(1, u64::MAX);
                if due > origin {
                    assert_eq!(wheel.advance(due - 1, usize::MAX, |id| panic!("{id} fired early: {origin} -> {due}")), Advance::Done);
                }
                let mut fired = Vec::new();
                while wheel.advance(due, 1, |id| fired.push(id)) == Advance::More {}
                assert_eq!(fired, [0], "{origin} -> {due}");
            }
        }
    }
}

#[test]
fn after_thirteen_days_beside_a_far_timer_short_timers_still_fire() {
    // a wheel of this kind hung here (2^30 ms), another one panicked at 2^36 ms
    for origin in [1u64 << 30, 1 << 36] {
        let mut wheel = Wheel::new(2, 0);
        wheel.insert(0, u64::MAX);
        let _ = wheel.advance(origin - 500, 1, |_| {});
        for step in 0..1000 {
            wheel.insert(1, wheel.now() + 10);
            let mut fired = 0;
            assert_eq!(wheel.advance(wheel.now() + 10, usize::MAX, |_| fired += 1), Advance::Done);
            assert_eq!(fired, 1, "step {step}");
        }
    }
}

#[test]
fn clocks_that_jump_about_fire_each_entry_once() {
    let (second, day, years) = (1000u64, 86_400_000u64, 315_576_000_000u64);
    let mut wheel = Wheel::new(4, 10 * second);
    [second, day, years, u64::MAX].into_iter().zip(0..).for_each(|(by, id)| wheel.insert(id, (10 * second).saturating_add(by)));
    let mut fired = Vec::new();
    for to in [9 * second, 10 * second, 0, 11 * second, 10 * second, 11 * second + day, second, 10 * second + years, 5] {
        while wheel.advance(to, 1, |id| fired.push(id)) == Advance::More {}
    }
    assert_eq!(fired, [0, 1, 2]);
    assert!(wheel.contains(3));
}
