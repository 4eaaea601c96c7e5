//! What it costs to choose a lane: the schedule and the strict picker beside naive scans.
//!
//! `cargo bench --bench lanes`. Times are per pick.

#![allow(missing_docs)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ringmill::clock::Timestamp;
use ringmill::lanes::{Cursor, Schedule, StrictPicker};
use std::hint::black_box;
use std::time::Duration;

const WEIGHTS: [u32; 8] = [32, 16, 8, 4, 2, 1, 1, 1];

/// Smooth weighted round robin without a table: every pick scans all lanes, twice.
struct Scan {
    weights: Vec<i64>,
    earned: Vec<i64>,
    total: i64,
}

impl Scan {
    fn new(weights: &[u32]) -> Self {
        let weights: Vec<i64> = weights.iter().map(|&weight| i64::from(weight)).collect();
        Scan { earned: vec![0; weights.len()], total: weights.iter().sum(), weights }
    }

    fn pick<R>(&mut self, mut try_lane: impl FnMut(usize) -> Option<R>) -> Option<(usize, R)> {
        self.earned.iter_mut().zip(&self.weights).for_each(|(earned, weight)| *earned += weight);
        let turn = (0..self.earned.len()).rev().max_by_key(|&lane| self.earned[lane])?;
        self.earned[turn] -= self.total;
        if let Some(got) = try_lane(turn) {
            return Some((turn, got));
        }
        (0..self.earned.len()).filter(|&lane| lane != turn).find_map(|lane| try_lane(lane).map(|got| (lane, got)))
    }
}

/// Lanes that hold a count of jobs behind one pointer, as a ring's tail would be.
struct Lanes(Vec<u64>);

impl Lanes {
    fn take(&mut self, lane: usize) -> Option<u64> {
        let left = black_box(&mut self.0[lane]);
        (*left > 0).then(|| {
            *left -= 1;
            *left
        })
    }
}

fn assert_all_agree(lanes: usize) {
    let weights = &WEIGHTS[..lanes];
    let schedule = Schedule::weighted(weights).unwrap();
    let (mut cursor, mut scan) = (Cursor::new(0), Scan::new(weights));
    let mut picks = vec![0u32; lanes];
    let cycle: u32 = weights.iter().sum();
    for _ in 0..cycle {
        let (lane, ()) = cursor.pick(&schedule, |_| Some(())).unwrap();
        assert_eq!(lane, scan.pick(|_| Some(())).unwrap().0);
        picks[lane] += 1;
    }
    assert_eq!(picks, weights);
}

fn benches(c: &mut Criterion) {
    for (name, full) in [("all_full", u64::MAX), ("only_the_last_full", 0)] {
        let mut group = c.benchmark_group(format!("lanes/{name}"));
        for count in [1usize, 2, 4, 8] {
            assert_all_agree(count);
            let weights = &WEIGHTS[..count];
            let mut lanes = Lanes(vec![full; count]);
            lanes.0[count - 1] = u64::MAX;

            let schedule = Schedule::weighted(weights).unwrap();
            let mut cursor = Cursor::new(0);
            group.bench_function(BenchmarkId::new("weighted", count), |b| {
                b.iter(|| cursor.pick(&schedule, |lane| lanes.take(lane)).unwrap())
            });

            let mut picker = StrictPicker::new(count, Duration::from_secs(1)).unwrap();
            let mut now = Timestamp::ZERO;
            group.bench_function(BenchmarkId::new("strict", count), |b| {
                b.iter(|| {
                    now = now + Duration::from_nanos(100);
                    picker.pick(now, |_| Some(Duration::from_millis(1)), |lane| lanes.take(lane)).unwrap()
                });
            });

            let mut scan = Scan::new(weights);
            group.bench_function(BenchmarkId::new("baseline_scan", count), |b| b.iter(|| scan.pick(|lane| lanes.take(lane)).unwrap()));
        }
        group.finish();
    }

    // an overdue lane: every other pick looks at the head behind the one it served
    let mut group = c.benchmark_group("lanes/two_overdue_of_8");
    let mut lanes = Lanes(vec![u64::MAX; 8]);
    let mut picker = StrictPicker::new(8, Duration::from_secs(1)).unwrap();
    let overdue = |lane: usize| Some(Duration::from_millis(if lane >= 6 { 990 } else { 1 }));
    let first: Vec<usize> = (0..3).map(|_| picker.pick(Timestamp::ZERO, overdue, |_| Some(())).unwrap().0).collect();
    assert_eq!(first, [6, 7, 0]);
    group.bench_function("strict", |b| b.iter(|| picker.pick(Timestamp::ZERO, overdue, |lane| lanes.take(lane)).unwrap()));
    group.finish();
}

criterion_group!(lanes, benches);
criterion_main!(lanes);
