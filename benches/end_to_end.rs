//! The full cycle: publish, lane, lease, no-op handler, ack, counters. One producer, two workers, 1 024 places.
//!
//! | subject | what it does |
//! |---|---|
//! | `ringmill_publish` | `publish`, one by one; a full queue makes the producer wait |
//! | `ringmill_publish_batch` | `publish_batch`, up to 32 at a time |
//! | `crossbeam_channel` | `bounded(1024)` of `Box<dyn FnOnce>` to two threads: no lease, no retry, no count |
//! | `tokio_spawn` | `tokio::spawn` on a runtime with two workers, at most 1 024 tasks in flight |
//!
//! Every run is the same number of jobs, from the first publish to the last end, on a runtime that runs already. Counts are asserted on every run, before and
//! while it is timed. `latency`: from a publish to the start of the handler, beside a worker that spins and one that sleeps.

#![allow(missing_docs, clippy::disallowed_methods)]

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use ringmill::{Idle, Overflow, Placement, PoolConfig, Producer, QueueConfig, QueueHandle, Runtime};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

const CAPACITY: u64 = 1_024;
const WORKERS: usize = 2;
const RUN_JOBS: u64 = 1 << 17;

/// A runtime with one queue whose handler adds up its payloads.
struct Mill {
    // dropped first: the runtime shuts down while the queue's handles still live
    runtime: Option<Runtime>,
    queue: QueueHandle<u64>,
    producer: Producer<u64>,
    acked: u64,
}

impl Mill {
    fn new() -> Self {
        let mut builder = Runtime::builder();
        let config = QueueConfig::new("jobs").capacity(CAPACITY).overflow(Overflow::Block(Duration::MAX));
        let queue = builder
            .queue(config, |job: &u64, _: &_| {
                std::hint::black_box(*job);
            })
            .expect("the settings are valid");
        builder.pool(PoolConfig::new("default").workers(WORKERS)).expect("the settings are valid");
        let runtime = builder.build().expect("threads can be started");
        let producer = queue.producer().expect("accounts are left");
        Mill { runtime: Some(runtime), queue, producer, acked: 0 }
    }

    /// `RUN_JOBS` jobs from the first publish to the last ack.
    fn run(&mut self, publish: impl FnOnce(&Producer<u64>)) -> Duration {
        let begun = Instant::now();
        publish(&self.producer);
        // the last slot is free again when its job has been acked
        while self.queue.depth() > 0 {
            thread::yield_now();
        }
        let spent = begun.elapsed();
        self.acked += RUN_JOBS;
        self.settle();
        spent
    }

    /// Counts follow their job's slot by a moment.
    fn settle(&self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.queue.counts().acked != self.acked {
            assert!(Instant::now() < deadline, "{} of {} jobs acked", self.queue.counts().acked, self.acked);
            thread::yield_now();
        }
    }

    fn shut_down(mut self) {
        let report = self.runtime.take().expect("it was not shut down before").shutdown(Default::default());
        assert!(report.is_clean());
        let queue = report.queue("jobs").expect("it is there");
        assert!(queue.ledger_balances() && queue.counts.acked == self.acked && queue.counts.wake_rescued == 0, "{queue:?}");
    }
}

fn one_by_one(producer: &Producer<u64>) {
    (0..RUN_JOBS).for_each(|job| {
        producer.publish(job).expect("it is open");
    });
}

fn in_batches(producer: &Producer<u64>) {
    let mut jobs = 0..RUN_JOBS;
    while let Some(refused) = producer.publish_batch(&mut jobs).refused {
        producer.publish(refused.into_inner()).expect("it is open");
    }
}

fn crossbeam() -> Duration {
    let (sender, receiver) = crossbeam_channel::bounded::<Box<dyn FnOnce() + Send>>(CAPACITY as usize);
    let done = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let (receiver, done) = (receiver.clone(), Arc::clone(&done));
            thread::spawn(move || {
                let ran = receiver.iter().map(|job| job()).count();
                done.fetch_add(ran as u64, Relaxed);
            })
        })
        .collect();
    drop(receiver);
    let begun = Instant::now();
    for job in 0..RUN_JOBS {
        sender
            .send(Box::new(move || {
                std::hint::black_box(job);
            }))
            .expect("it is open");
    }
    drop(sender);
    workers.into_iter().for_each(|worker| worker.join().expect("no job panics"));
    let spent = begun.elapsed();
    assert_eq!(done.load(Relaxed), RUN_JOBS);
    spent
}

fn tokio_spawn(runtime: &tokio::runtime::Runtime) -> Duration {
    let done = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    for job in 0..RUN_JOBS {
        while job - done.load(Relaxed) >= CAPACITY {
            thread::yield_now();
        }
        let done = Arc::clone(&done);
        drop(runtime.spawn(async move {
            std::hint::black_box(job);
            done.fetch_add(1, Relaxed);
        }));
    }
    while done.load(Relaxed) < RUN_JOBS {
        thread::yield_now();
    }
    begun.elapsed()
}

fn timed(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut run: impl FnMut() -> Duration) {
    run();
    group.bench_function(name, |bencher| bencher.iter_custom(|rounds| (0..rounds).map(|_| run()).sum()));
}

fn full_cycle(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("full_cycle_1p2w");
    group.throughput(Throughput::Elements(RUN_JOBS));
    group.sample_size(10);
    for (name, publish) in [("ringmill_publish", one_by_one as fn(&Producer<u64>)), ("ringmill_publish_batch", in_batches)] {
        let mut mill = Mill::new();
        timed(&mut group, name, || mill.run(publish));
        mill.shut_down();
    }
    timed(&mut group, "crossbeam_channel", crossbeam);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).build().expect("threads can be started");
    timed(&mut group, "tokio_spawn", || tokio_spawn(&runtime));
    group.finish();
}

/// From a publish to the start of its handler, in one worker.
fn latency(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish_to_start");
    group.sample_size(10);
    for (name, idle, rest) in [("spinning", Idle::BusySpin, Duration::ZERO), ("sleeping", Idle::Park, Duration::from_micros(200))] {
        let zero = Instant::now();
        let started = Arc::new(AtomicU64::new(0));
        let mut builder = Runtime::builder();
        let seen = Arc::clone(&started);
        let handler = move |_: &u64, _: &_| seen.store(zero.elapsed().as_nanos() as u64, Relaxed);
        let queue = builder.queue(QueueConfig::new("jobs").capacity(16), handler).expect("the settings are valid");
        builder.pool(PoolConfig::new("default").workers(1).idle(idle).placement(Placement::None)).expect("the settings are valid");
        let runtime = builder.build().expect("threads can be started");
        let producer = queue.producer().expect("accounts are left");
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let one = |job| {
                    if !rest.is_zero() {
                        thread::sleep(rest);
                    }
                    started.store(0, Relaxed);
                    let published = zero.elapsed().as_nanos() as u64;
                    producer.publish(job).expect("there is room");
                    loop {
                        match started.load(Relaxed) {
                            0 => std::hint::spin_loop(),
                            started => break Duration::from_nanos(started.saturating_sub(published)),
                        }
                    }
                };
                (0..rounds).map(one).sum()
            });
        });
        assert_eq!(runtime.shutdown(Default::default()).snapshot().wake_rescued(), 0);
    }
    group.finish();
}

criterion_group!(benches, full_cycle, latency);
criterion_main!(benches);
