//! Lane scheduling: exact shares, even mixing, no starvation.

use proptest::prelude::*;
use ringmill::clock::Timestamp;
use ringmill::lanes::{Cursor, Schedule, StrictPicker};
use std::collections::VecDeque;
use std::time::Duration;

fn weights() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(prop_oneof![3 => 1u32..10, 1 => 1u32..=100], 1..=8)
}

#[test]
fn six_to_three_is_exact() {
    let schedule = Schedule::weighted(&[6, 3]).unwrap();
    for offset in [0, 1, 2, 77] {
        let mut cursor = Cursor::new(offset);
        let mut picks = [0; 2];
        for _ in 0..9_000 {
            picks[cursor.pick(&schedule, |_| Some(())).unwrap().0] += 1;
        }
        assert_eq!(picks, [6_000, 3_000]);
    }
}

#[test]
fn an_empty_lanes_share_goes_to_the_other() {
    let schedule = Schedule::weighted(&[6, 3]).unwrap();
    for full in 0..2 {
        let mut cursor = Cursor::new(0);
        let picks = (0..9_000).filter(|_| cursor.pick(&schedule, |lane| (lane == full).then_some(())) == Some((full, ()))).count();
        assert_eq!(picks, 9_000);
    }
}

proptest! {
    #[test]
    fn a_cycle_holds_every_weight_exactly(weights in weights(), offset in any::<usize>()) {
        let schedule = Schedule::weighted(&weights).unwrap();
        let sum: usize = weights.iter().map(|&weight| weight as usize).sum();
        prop_assert_eq!(sum % schedule.turns(), 0);
        let mut picks = vec![0usize; weights.len()];
        let mut cursor = Cursor::new(offset);
        (0..sum).for_each(|_| picks[cursor.next(&schedule)] += 1);
        prop_assert_eq!(picks, weights.iter().map(|&weight| weight as usize).collect::<Vec<_>>());
    }

    /// Never ahead by a whole turn; behind by less than one turn for each other lane.
    #[test]
    fn turns_are_mixed_evenly(weights in weights()) {
        let schedule = Schedule::weighted(&weights).unwrap();
        let sum: i64 = weights.iter().map(|&weight| i64::from(weight)).sum();
        let mut cursor = Cursor::new(0);
        let mut picks = vec![0i64; weights.len()];
        for turn in 1..=schedule.turns() as i64 {
            picks[cursor.next(&schedule)] += 1;
            for (&picks, &weight) in picks.iter().zip(&weights) {
                // in units of 1/sum turns
                let ahead = picks * sum - turn * i64::from(weight);
                prop_assert!(ahead < sum, "ahead by {} / {} after {} turns", ahead, sum, turn);
                prop_assert!(-ahead <= sum * (weights.len() as i64 - 1).max(1) && (weights.len() != 2 || -ahead < sum));
            }
        }
    }

    #[test]
    fn a_pick_fails_only_if_every_lane_is_empty(weights in weights(), loads in prop::collection::vec(0usize..20, 8), offset in any::<usize>()) {
        let schedule = Schedule::weighted(&weights).unwrap();
        let mut left = loads[..weights.len()].to_vec();
        let mut cursor = Cursor::new(offset);
        for remaining in (1..=left.iter().sum::<usize>()).rev() {
            let before = left.clone();
            let got = cursor.pick(&schedule, |lane| (left[lane] > 0).then(|| left[lane] -= 1));
            let (lane, ()) = got.expect("there was work");
            prop_assert_eq!(before[lane], left[lane] + 1);
            prop_assert_eq!(left.iter().sum::<usize>(), remaining - 1);
        }
        prop_assert_eq!(cursor.pick(&schedule, |lane| (left[lane] > 0).then_some(())), None);
    }

    /// A lane that stays overdue gets at least every k + 1-th pick, whatever the others and the clock do; k = the other lanes but the top, and it.
    #[test]
    fn an_overdue_lane_gets_its_turn(lanes in 2usize..=8, victim in 1usize..8, steps in prop::collection::vec((0u64..40, any::<u8>(), any::<u8>()), 20..200)) {
        let victim = 1 + (victim - 1) % (lanes - 1);
        let mut picker = StrictPicker::new(lanes, Duration::from_millis(160)).unwrap();
        let (mut now, mut gap) = (0u64, 0usize);
        for (step, old, full) in steps {
            now += step * 1_000_000;
            let age = |lane: usize| Some(Duration::from_millis(if lane == victim || old >> lane & 1 == 1 { 150 } else { 3 }));
            let (lane, ()) = picker.pick(Timestamp::from_nanos(now), age, |lane| (lane == victim || full >> lane & 1 == 1).then_some(())).unwrap();
            gap = if lane == victim { 0 } else { gap + 1 };
            prop_assert!(gap < lanes, "lane {} of {} was passed over {} times", victim, lanes, gap);
        }
    }

    /// The top lane never runs dry; the others get no more than their turns can carry: no job of theirs waits longer than `max_wait`.
    #[test]
    fn under_a_saturated_top_lane_nobody_waits_longer_than_max_wait(
        lower in 1usize..=4, seed in any::<u64>(), service_us in prop::collection::vec(1u64..1_000, 50), max_wait_ms in 80u64..400,
    ) {
        let max_wait = Duration::from_millis(max_wait_ms);
        let lanes = lower + 1;
        let mut picker = StrictPicker::new(lanes, max_wait).unwrap();
        let mut rng = ringmill::rng::Rng::new(seed);
        // per lower lane: what waits (since when), and when the next one comes
        let mut waiting: Vec<VecDeque<u64>> = vec![VecDeque::new(); lanes];
        let mut next: Vec<u64> = (0..lanes).map(|_| rng.up_to(10_000_000)).collect();
        let (mut now, mut picks, mut top, mut longest) = (0u64, 0usize, 0usize, 0u64);
        while now < 3 * max_wait.as_nanos() as u64 {
            for lane in 1..lanes {
                while next[lane] <= now {
                    waiting[lane].push_back(next[lane]);
                    // a round of the longest jobs, and up to as much again
                    let round = lanes as u64 * 1_000_000;
                    next[lane] += round + rng.up_to(round);
                }
            }
            let heads: Vec<Option<u64>> = waiting.iter().map(|lane| lane.front().copied()).collect();
            let mut behind: Vec<Option<u64>> = waiting.iter().map(|lane| lane.get(1).copied()).collect();
            let mut taken = None;
            let age = |head: Option<u64>| head.map(|since| Duration::from_nanos(now - since));
            let popped = std::cell::Cell::new(usize::MAX);
            let (lane, ()) = picker
                .pick(
                    Timestamp::from_nanos(now),
                    |lane| age(if popped.get() == lane { behind[lane].take() } else { heads[lane] }),
                    |lane| {
                        if lane > 0 {
                            taken = Some(heads[lane]?);
                            popped.set(lane);
                        }
                        Some(())
                    },
                )
                .unwrap();
            if lane > 0 {
                waiting[lane].pop_front();
                longest = longest.max(now - taken.unwrap());
            } else {
                top += 1;
            }
            now += service_us[picks % service_us.len()] * 1000;
            picks += 1;
        }
        prop_assert!(Duration::from_nanos(longest) <= max_wait, "{:?} > {:?}", Duration::from_nanos(longest), max_wait);
        prop_assert!(top * lanes >= picks, "the top lane got {} of {} picks", top, picks);
        for lane in waiting.iter().skip(1) {
            prop_assert!(lane.front().is_none_or(|since| Duration::from_nanos(now - since) <= max_wait));
        }
    }
}
