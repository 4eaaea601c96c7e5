//! The timer wheel beside a binary heap: insert, cancel, expire.
//!
//! `cargo bench --bench wheel`. Times are per call over all timers; criterion's throughput line gives timers per second.

#![allow(missing_docs)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ringmill::rng::Rng;
use ringmill::wheel::{Advance, Wheel};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;

/// Dues lie 1..=SPAN ticks ahead.
const SPAN: u64 = 10_000;

fn dues(count: u32) -> Vec<u64> {
    let mut rng = Rng::new(1);
    (0..count).map(|_| 1 + rng.up_to(SPAN - 1)).collect()
}

fn filled_wheel(dues: &[u64]) -> Wheel {
    let mut wheel = Wheel::new(dues.len() as u32, 0);
    dues.iter().zip(0..).for_each(|(&due, id)| wheel.insert(id, due));
    wheel
}

/// The usual way: a heap of (due, id, generation); an entry is cancelled by raising its generation and dropped when it comes up.
struct Heap {
    heap: BinaryHeap<Reverse<(u64, u32, u32)>>,
    generations: Vec<u32>,
}

impl Heap {
    fn new(capacity: usize) -> Self {
        Heap { heap: BinaryHeap::with_capacity(capacity), generations: vec![0; capacity] }
    }

    fn filled(dues: &[u64]) -> Self {
        let mut heap = Heap::new(dues.len());
        dues.iter().zip(0..).for_each(|(&due, id)| heap.insert(id, due));
        heap
    }

    fn insert(&mut self, id: u32, due: u64) {
        self.heap.push(Reverse((due, id, self.generations[id as usize])));
    }

    fn cancel(&mut self, id: u32) {
        self.generations[id as usize] += 1;
    }

    fn advance(&mut self, to: u64, mut fire: impl FnMut(u32)) {
        while let Some(&Reverse((due, id, generation))) = self.heap.peek()
            && due <= to
        {
            self.heap.pop();
            if self.generations[id as usize] == generation {
                fire(id);
            }
        }
    }
}

/// Runs through all ticks; returns a checksum of what fired, and when.
fn expire_wheel(wheel: &mut Wheel) -> u64 {
    let mut sum = 0u64;
    for tick in 1..=SPAN {
        while wheel.advance(tick, 256, |id| sum = sum.wrapping_add(tick * u64::from(id + 1))) == Advance::More {}
    }
    sum
}

fn expire_heap(heap: &mut Heap) -> u64 {
    let mut sum = 0u64;
    for tick in 1..=SPAN {
        heap.advance(tick, |id| sum = sum.wrapping_add(tick * u64::from(id + 1)));
    }
    sum
}

fn assert_both_are_right(dues: &[u64]) {
    let expected = dues.iter().zip(1u64..).fold(0u64, |sum, (due, id)| sum.wrapping_add(due * id));
    assert_eq!(expire_wheel(&mut filled_wheel(dues)), expected);
    assert_eq!(expire_heap(&mut Heap::filled(dues)), expected);
    let (mut wheel, mut heap) = (filled_wheel(dues), Heap::filled(dues));
    for id in 0..dues.len() as u32 {
        assert!(wheel.cancel(id));
        heap.cancel(id);
    }
    assert_eq!((expire_wheel(&mut wheel), expire_heap(&mut heap)), (0, 0));
}

fn benches(c: &mut Criterion) {
    // a million shows the cache misses, and takes a minute
    for count in [10_000u32, 100_000] {
        let dues = dues(count);
        assert_both_are_right(&dues);
        let ids: Vec<u32> = (0..count).collect();

        let mut group = c.benchmark_group(format!("wheel/insert/{count}"));
        group.sample_size(20).throughput(Throughput::Elements(u64::from(count)));
        group.bench_function("wheel", |b| {
            b.iter_batched_ref(
                || Wheel::new(count, 0),
                |wheel| dues.iter().zip(&ids).for_each(|(&due, &id)| wheel.insert(id, due)),
                BatchSize::PerIteration,
            );
        });
        group.bench_function("binary_heap", |b| {
            b.iter_batched_ref(
                || Heap::new(count as usize),
                |heap| dues.iter().zip(&ids).for_each(|(&due, &id)| heap.insert(id, due)),
                BatchSize::PerIteration,
            );
        });
        group.finish();

        // the heap's cancel only marks; it pays when the entry comes up, so that is part of the same figure
        let mut group = c.benchmark_group(format!("wheel/cancel_all_and_run_out/{count}"));
        group.sample_size(20).throughput(Throughput::Elements(u64::from(count)));
        group.bench_function("wheel", |b| {
            b.iter_batched_ref(
                || filled_wheel(&dues),
                |wheel| {
                    ids.iter().for_each(|&id| assert!(wheel.cancel(id)));
                    black_box(expire_wheel(wheel))
                },
                BatchSize::PerIteration,
            );
        });
        group.bench_function("binary_heap", |b| {
            b.iter_batched_ref(
                || Heap::filled(&dues),
                |heap| {
                    ids.iter().for_each(|&id| heap.cancel(id));
                    black_box(expire_heap(heap))
                },
                BatchSize::PerIteration,
            );
        });
        group.finish();

        let mut group = c.benchmark_group(format!("wheel/expire/{count}"));
        group.sample_size(20).throughput(Throughput::Elements(u64::from(count)));
        group.bench_function("wheel", |b| b.iter_batched_ref(|| filled_wheel(&dues), expire_wheel, BatchSize::PerIteration));
        group.bench_function("binary_heap", |b| b.iter_batched_ref(|| Heap::filled(&dues), expire_heap, BatchSize::PerIteration));
        group.finish();
    }

    // one timer armed and disarmed among 10 000 that stay
    let dues = dues(10_001);
    let mut group = c.benchmark_group("wheel/cancel_and_insert/10000_resident");
    group.bench_function("wheel", |b| {
        let mut wheel = filled_wheel(&dues);
        let mut at = 0;
        b.iter(|| {
            at = (at + 7) % dues.len();
            wheel.cancel(at as u32);
            wheel.insert(at as u32, dues[(at * 31) % dues.len()]);
        });
    });
    group.bench_function("binary_heap", |b| {
        let mut heap = Heap::filled(&dues);
        let mut at = 0;
        b.iter(|| {
            at = (at + 7) % dues.len();
            heap.cancel(at as u32);
            heap.insert(at as u32, dues[(at * 31) % dues.len()]);
            if heap.heap.len() > 2 * dues.len() {
                // lazy cancels pile up: somebody has to sweep
                let generations = &heap.generations;
                heap.heap.retain(|Reverse((_, id, generation))| generations[*id as usize] == *generation);
            }
        });
    });
    group.finish();

    // a process that sleeps for twelve days, over and over, beside an entry at the end of time
    let mut group = c.benchmark_group("wheel/insert_and_jump_2^30_ticks");
    group.bench_function("wheel", |b| {
        let mut wheel = Wheel::new(2, 0);
        wheel.insert(1, u64::MAX);
        b.iter(|| {
            let due = wheel.now() + (1 << 30);
            wheel.insert(0, due);
            let mut fired = 0;
            assert_eq!(wheel.advance(due, 256, |_| fired += 1), Advance::Done);
            assert_eq!(fired, 1);
        });
    });
    group.bench_function("binary_heap", |b| {
        let mut heap = Heap::new(2);
        heap.insert(1, u64::MAX);
        let mut now = 0;
        b.iter(|| {
            now += 1 << 30;
            heap.insert(0, now);
            let mut fired = 0;
            heap.advance(now, |_| fired += 1);
            assert_eq!(fired, 1);
        });
    });
    group.finish();
}

criterion_group!(wheel, benches);
criterion_main!(wheel);
