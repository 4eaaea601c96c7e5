//! The free list against a bounded queue of indices.
//!
//! `cargo bench --bench credit`. Times are per credit, taken and given back. The baseline is `crossbeam_queue::ArrayQueue<u32>` as the free list:
//! pop to acquire, push to release, which neither waits nor revokes.
#![allow(missing_docs)]
#![allow(clippy::disallowed_methods, reason = "a benchmark starts threads and reads the clock")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_queue::ArrayQueue;
use ringmill::chain::{Chain, LinkArray};
use ringmill::credit::CreditPool;
use std::collections::HashSet;
use std::hint::black_box;
use std::time::{Duration, Instant};

const CAPACITY: u32 = 4096;
const CHAIN: u32 = 32;

fn pool() -> (CreditPool, LinkArray) {
    let links = LinkArray::new(CAPACITY as usize);
    (CreditPool::new(0..CAPACITY, &links), links)
}

fn queue() -> ArrayQueue<u32> {
    let queue = ArrayQueue::new(CAPACITY as usize);
    (0..CAPACITY).for_each(|index| queue.push(index).unwrap());
    queue
}

/// What is measured must be right: every credit once, and all of them back.
fn assert_correct() {
    let (pool, links) = pool();
    let (producer, worker) = (pool.open_account().unwrap(), pool.open_account().unwrap());
    for _ in 0..3 {
        let taken: HashSet<u32> = std::iter::from_fn(|| pool.acquire(&links, &producer)).collect();
        assert_eq!(taken.len(), CAPACITY as usize);
        taken.into_iter().for_each(|index| pool.release(&links, &worker, index));
        assert_eq!(pool.free(), CAPACITY);
    }
    assert!(handoff_pool(100_000) > Duration::ZERO && handoff_queue(100_000) > Duration::ZERO);
}

fn solo(criterion: &mut Criterion) {
    assert_correct();
    let mut group = criterion.benchmark_group("credit_solo");
    group.throughput(Throughput::Elements(1));
    let (pool, links) = pool();
    let id = pool.open_account().unwrap();
    group.bench_function("acquire_release", |bencher| {
        bencher.iter(|| {
            let index = pool.acquire(&links, &id).unwrap();
            pool.release(&links, &id, black_box(index));
        });
    });
    group.bench_function("acquire_deposit", |bencher| {
        bencher.iter(|| {
            let index = pool.acquire(&links, &id).unwrap();
            pool.deposit(&links, &id, black_box(index));
        });
    });
    let queue = queue();
    group.bench_function("array_queue", |bencher| {
        bencher.iter(|| {
            let index = queue.pop().unwrap();
            queue.push(black_box(index)).unwrap();
        });
    });
    group.finish();
}

fn chain(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("credit_chain_32");
    group.throughput(Throughput::Elements(u64::from(CHAIN)));
    let (pool, links) = pool();
    let id = pool.open_account().unwrap();
    group.bench_function("acquire_release_chain", |bencher| {
        bencher.iter(|| {
            let chain = pool.acquire_chain(&links, &id, CHAIN).unwrap();
            pool.release_chain(&links, &id, black_box(chain));
        });
    });
    group.bench_function("acquire_chain_deposit_each", |bencher| {
        bencher.iter(|| {
            let chain = pool.acquire_chain(&links, &id, CHAIN).unwrap();
            chain.iter(&links).for_each(|index| pool.deposit(&links, &id, black_box(index)));
            pool.look_for_waiters(&links, &id);
        });
    });
    let queue = queue();
    group.bench_function("array_queue", |bencher| {
        bencher.iter(|| {
            let taken: [u32; CHAIN as usize] = std::array::from_fn(|_| queue.pop().unwrap());
            black_box(taken).into_iter().for_each(|index| queue.push(index).unwrap());
        });
    });
    group.finish();
}

/// One thread acquires, the other releases; the indices cross in batches of 32, the same way in both, so that the free list is what differs.
fn handoff(
    transport: &ArrayQueue<[u32; CHAIN as usize]>,
    batches: u64,
    mut acquire: impl FnMut() -> Option<u32>,
    release: impl FnOnce() + Send,
) -> Duration {
    std::thread::scope(|scope| {
        let worker = scope.spawn(release);
        let began = Instant::now();
        for _ in 0..batches {
            let mut batch = std::array::from_fn(|_| {
                loop {
                    match acquire() {
                        Some(index) => break index,
                        None => std::thread::yield_now(),
                    }
                }
            });
            while let Err(back) = transport.push(batch) {
                batch = back;
                std::thread::yield_now();
            }
        }
        worker.join().unwrap();
        began.elapsed()
    })
}

fn receive(transport: &ArrayQueue<[u32; CHAIN as usize]>, batches: u64, mut settle: impl FnMut([u32; CHAIN as usize])) {
    for _ in 0..batches {
        loop {
            match transport.pop() {
                Some(batch) => break settle(batch),
                None => std::thread::yield_now(),
            }
        }
    }
}

fn handoff_pool(credits: u64) -> Duration {
    let (pool, links) = pool();
    let transport = ArrayQueue::new(64);
    let batches = credits.div_ceil(u64::from(CHAIN));
    let (producer, worker) = (pool.open_account().unwrap(), pool.open_account().unwrap());
    let (pool_ref, links_ref, transport_ref) = (&pool, &links, &transport);
    let release = move || {
        receive(transport_ref, batches, |batch| {
            batch.into_iter().for_each(|index| pool_ref.deposit(links_ref, &worker, index));
            pool_ref.look_for_waiters(links_ref, &worker);
        });
    };
    let took = handoff(&transport, batches, || pool.acquire(&links, &producer), release);
    assert_eq!(pool.free(), CAPACITY);
    took
}

/// As [`handoff_pool`], with a chain taken and a chain given back at a time.
fn handoff_chains(credits: u64) -> Duration {
    let (pool, links) = pool();
    let transport = ArrayQueue::new(64);
    let batches = credits.div_ceil(u64::from(CHAIN));
    let (producer, worker) = (pool.open_account().unwrap(), pool.open_account().unwrap());
    let (pool_ref, links_ref, transport_ref) = (&pool, &links, &transport);
    let release = move || {
        receive(transport_ref, batches, |batch| pool_ref.release_chain(links_ref, &worker, Chain::link(links_ref, &batch)));
    };
    let mut at_hand = Vec::with_capacity(CHAIN as usize);
    let acquire = || {
        at_hand.pop().or_else(|| {
            at_hand.extend(pool.acquire_chain(&links, &producer, CHAIN)?.iter(&links));
            at_hand.pop()
        })
    };
    handoff(&transport, batches, acquire, release)
}

fn handoff_queue(credits: u64) -> Duration {
    let queue = queue();
    let transport = ArrayQueue::new(64);
    let batches = credits.div_ceil(u64::from(CHAIN));
    let release = || receive(&transport, batches, |batch| batch.into_iter().for_each(|index| queue.push(index).unwrap()));
    let took = handoff(&transport, batches, || queue.pop(), release);
    assert_eq!(queue.len(), CAPACITY as usize);
    took
}

fn two_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("credit_two_threads");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    type Run = fn(u64) -> Duration;
    let rivals: [(&str, Run); 3] = [("pool", handoff_pool), ("pool_chains", handoff_chains), ("array_queue", handoff_queue)];
    for (name, run) in rivals {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|credits| {
                let credits = credits.max(u64::from(CHAIN));
                run(credits)
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = solo, chain, two_threads
}
criterion_main!(benches);
