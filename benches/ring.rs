//! The index ring beside crossbeam's `ArrayQueue`: 1 024 places, 8-byte payloads.
//!
//! | subject | what it does |
//! |---|---|
//! | `array_queue` | pushes and pops the payload itself, one by one |
//! | `ringmill` | the payload in a slab, its index through the ring, one by one |
//! | `ringmill_batch_pop` | pushed one by one, popped up to 32 at a time |
//! | `ringmill_chains` | pushed and popped as chains of 32 |
//!
//! `solo`: one thread, 64 in, 64 out. `1p1c`, `2p2c`: producers and consumers; the ringmill subjects also carry the free indices back through a
//! second ring, in chains of 32, which `ArrayQueue` need not. Everybody waits alike on a miss: 20 pauses, after 64 misses a yield.
//! Count and checksum are asserted on every run, before and while it is timed.

#![allow(missing_docs, clippy::disallowed_methods)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_queue::ArrayQueue;
use ringmill::chain::{Chain, LinkArray, Links};
use ringmill::ring::{IndexRing, Popped};
use ringmill::sync::{CachePadded, pause};
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

const CAPACITY: u32 = 1_024;
const BATCH: u32 = 32;
const SOLO_ITEMS: u32 = 64;
const RUN_ITEMS: u64 = 1 << 17;

/// How a subject moves its items.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    push_len: u32,
    pop_max: u32,
}

const SHAPES: [Shape; 3] = [
    Shape { name: "ringmill", push_len: 1, pop_max: 1 },
    Shape { name: "ringmill_batch_pop", push_len: 1, pop_max: BATCH },
    Shape { name: "ringmill_chains", push_len: BATCH, pop_max: BATCH },
];

/// The payloads, the links of their slots, and the two rings that carry them.
struct Slab {
    lane: IndexRing,
    free: IndexRing,
    links: LinkArray,
    payload: Box<[AtomicU64]>,
}

impl Slab {
    fn new() -> Self {
        let slab = Slab {
            lane: IndexRing::new(CAPACITY),
            free: IndexRing::new(CAPACITY),
            links: LinkArray::new(CAPACITY as usize),
            payload: (0..CAPACITY).map(|_| AtomicU64::new(0)).collect(),
        };
        let indices: Vec<u32> = (0..CAPACITY).collect();
        indices.chunks(BATCH as usize).for_each(|chunk| slab.free.push(Chain::link(&slab.links, chunk)));
        slab
    }
}

/// Waits after a miss; the same for every subject.
#[derive(Default)]
struct Misses(u32);

impl Misses {
    fn wait(&mut self) {
        pause(20);
        self.0 += 1;
        if self.0.is_multiple_of(64) {
            std::thread::yield_now();
        }
    }
}

// ---- one thread ----

fn solo_array_queue(queue: &ArrayQueue<u64>, items: u32) -> u64 {
    for item in 0..items {
        queue.push(u64::from(item)).expect("there is room");
    }
    (0..items).filter_map(|_| queue.pop()).sum()
}

fn solo_ring(slab: &Slab, out: &mut Popped, shape: Shape, items: u32) -> u64 {
    for first in (0..items).step_by(shape.push_len as usize) {
        for index in first..first + shape.push_len {
            slab.payload[index as usize].store(u64::from(index), Relaxed);
            slab.links.set_next(index, index + 1);
        }
        slab.lane.push(Chain::new(first, shape.push_len));
    }
    let (mut sum, mut left) = (0, items);
    while left > 0 && slab.lane.pop(shape.pop_max, out) {
        for chain in out.chains() {
            sum += chain.iter(&slab.links).map(|index| slab.payload[index as usize].load(Relaxed)).sum::<u64>();
        }
        left -= out.indices();
    }
    sum
}

fn solo(criterion: &mut Criterion) {
    let expected: u64 = (0..u64::from(SOLO_ITEMS)).sum();
    let mut group = criterion.benchmark_group("ring/solo");
    group.throughput(Throughput::Elements(u64::from(SOLO_ITEMS)));
    let queue = ArrayQueue::new(CAPACITY as usize);
    assert_eq!(solo_array_queue(&queue, SOLO_ITEMS), expected);
    group.bench_function("array_queue", |bencher| bencher.iter(|| solo_array_queue(black_box(&queue), black_box(SOLO_ITEMS))));
    for shape in SHAPES {
        let (slab, mut out) = (Slab::new(), Popped::new());
        assert_eq!(solo_ring(&slab, &mut out, shape, SOLO_ITEMS), expected);
        group.bench_function(shape.name, |bencher| bencher.iter(|| solo_ring(black_box(&slab), &mut out, shape, black_box(SOLO_ITEMS))));
    }
    group.finish();
}

// ---- producers and consumers ----

/// A consumer in a loop: takes what it can and adds it up.
trait Consume {
    /// Takes some items: how many, and their sum.
    fn take(&mut self) -> (u64, u64);
}

/// Runs `pairs` producers and as many consumers over the numbers below `items`; `produce(from, to)` publishes a part of them.
fn run<C: Consume>(pairs: u64, items: u64, produce: impl Fn(u64, u64) + Sync, consumer: impl Fn() -> C + Sync) -> Duration {
    let consumed = CachePadded::new(AtomicU64::new(0));
    let start = Barrier::new(2 * pairs as usize);
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    // pinned only where nobody has to share
    let pin = |number: usize| pairs == 1 && cores.len() >= 2 && core_affinity::set_for_current(cores[number]);
    std::thread::scope(|scope| {
        let (produce, consumer, start, consumed, pin) = (&produce, &consumer, &start, &consumed, &pin);
        let producers: Vec<_> = (0..pairs)
            .map(|pair| {
                scope.spawn(move || {
                    pin(0);
                    start.wait();
                    let began = Instant::now();
                    produce(items * pair / pairs, items * (pair + 1) / pairs);
                    began
                })
            })
            .collect();
        let consumers: Vec<_> = (0..pairs)
            .map(|_| {
                scope.spawn(move || {
                    pin(1);
                    let mut consumer = consumer();
                    start.wait();
                    (consume_all(&mut consumer, consumed, items), Instant::now())
                })
            })
            .collect();
        // by the threads' own clocks: whoever only waits for them may be scheduled late
        let began = producers.into_iter().map(|producer| producer.join().expect("a producer panicked")).min();
        let (sums, ends): (Vec<u64>, Vec<Instant>) =
            consumers.into_iter().map(|consumer| consumer.join().expect("a consumer panicked")).unzip();
        assert_eq!(consumed.load(Relaxed), items, "lost or duplicated");
        assert_eq!(sums.into_iter().sum::<u64>(), (0..items).sum::<u64>(), "something else came out than went in");
        ends.into_iter().max().zip(began).map(|(end, began)| end - began).unwrap_or_default()
    })
}

/// Consumes until all consumers together have `items`. The shared count is touched on misses only.
fn consume_all(consumer: &mut impl Consume, consumed: &AtomicU64, items: u64) -> u64 {
    let (mut sum, mut unreported, mut misses) = (0, 0, Misses::default());
    loop {
        let (count, subtotal) = consumer.take();
        if count > 0 {
            unreported += count;
            sum += subtotal;
            continue;
        }
        if consumed.fetch_add(std::mem::take(&mut unreported), Relaxed) >= items || consumed.load(Relaxed) >= items {
            return sum;
        }
        misses.wait();
    }
}

struct QueueConsumer<'a>(&'a ArrayQueue<u64>);

impl Consume for QueueConsumer<'_> {
    fn take(&mut self) -> (u64, u64) {
        self.0.pop().map_or((0, 0), |item| (1, item))
    }
}

fn run_array_queue(pairs: u64, items: u64) -> Duration {
    let queue = ArrayQueue::new(CAPACITY as usize);
    let produce = |from, to| {
        let mut misses = Misses::default();
        for item in from..to {
            while queue.push(item).is_err() {
                misses.wait();
            }
        }
    };
    run(pairs, items, produce, || QueueConsumer(&queue))
}

struct RingConsumer<'a> {
    slab: &'a Slab,
    shape: Shape,
    out: Popped,
    /// Indices on their way back, one by one.
    spent: Vec<u32>,
    /// The last pop came up short: hold off before the next.
    short: bool,
}

impl Consume for RingConsumer<'_> {
    fn take(&mut self) -> (u64, u64) {
        let Self { slab, shape, out, spent, short } = self;
        if std::mem::take(short) {
            pause(20);
        }
        if !slab.lane.pop(shape.pop_max, out) {
            return (0, 0);
        }
        *short = out.indices() < shape.pop_max;
        let mut sum = 0;
        for chain in out.chains() {
            for index in chain.iter(&slab.links) {
                sum += slab.payload[index as usize].load(Relaxed);
                if shape.push_len == 1 {
                    spent.push(index);
                    if spent.len() == BATCH as usize {
                        slab.free.push(Chain::link(&slab.links, spent));
                        spent.clear();
                    }
                }
            }
            if shape.push_len > 1 {
                slab.free.push(*chain);
            }
        }
        (u64::from(out.indices()), sum)
    }
}

fn run_ring(pairs: u64, items: u64, shape: Shape) -> Duration {
    let slab = Slab::new();
    let produce = |from: u64, to: u64| {
        let (mut out, mut misses, mut next) = (Popped::new(), Misses::default(), from);
        while next < to {
            if !slab.free.pop(BATCH, &mut out) {
                misses.wait();
                continue;
            }
            for &chain in out.chains() {
                for index in chain.iter(&slab.links) {
                    slab.payload[index as usize].store(next, Relaxed);
                    next += 1;
                    if shape.push_len == 1 {
                        slab.lane.push(Chain::one(index));
                    }
                }
                if shape.push_len > 1 {
                    slab.lane.push(chain);
                }
            }
        }
    };
    let consumer = || RingConsumer { slab: &slab, shape, out: Popped::new(), spent: Vec::with_capacity(BATCH as usize), short: false };
    run(pairs, items, produce, consumer)
}

fn crowd(criterion: &mut Criterion) {
    for pairs in [1, 2] {
        let mut group = criterion.benchmark_group(format!("ring/{pairs}p{pairs}c"));
        group.throughput(Throughput::Elements(RUN_ITEMS)).sample_size(20);
        let times = |iterations: u64, run: &dyn Fn() -> Duration| (0..iterations).map(|_| run()).sum();
        run_array_queue(pairs, RUN_ITEMS);
        group.bench_function("array_queue", |bencher| {
            bencher.iter_custom(|iterations| times(iterations, &|| run_array_queue(pairs, RUN_ITEMS)));
        });
        for shape in SHAPES {
            run_ring(pairs, RUN_ITEMS, shape);
            group.bench_function(shape.name, |bencher| {
                bencher.iter_custom(|iterations| times(iterations, &|| run_ring(pairs, RUN_ITEMS, shape)));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, solo, crowd);
criterion_main!(benches);
