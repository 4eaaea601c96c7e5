//! What order costs: jobs with partition keys beside jobs without, one producer and two workers.
//!
//! | subject | what it does |
//! |---|---|
//! | `unkeyed` | a queue without partitions, jobs without keys: the baseline |
//! | `unkeyed_in_partitioned` | the same jobs, in a queue that has partitions |
//! | `keys_1000` | 1 000 keys in turn, 1 024 partitions |
//! | `keys_1000_ahead` | the same, where the producer asks for the memory of each key 8 jobs ahead |
//! | `keys_1000_random` | the same keys in no order |
//! | `key_1` | all jobs have one key: one worker at a time can help it |
//! | `unkeyed_batch`, `keys_1000_batch` | as `unkeyed` and `keys_1000`, published as batches |
//!
//! Every run is the same number of jobs, from the first publish to the last end, on a runtime that runs already; a full queue makes the producer wait. In the first
//! run of each subject, which is not timed, the handler checks that each key's jobs come in order; after that it does nothing, so that no time is that of handlers that wait
//! for each other's lines. Before the group `ratios` runs all subjects in turns and prints medians: that is where the figures of the docs are
//! from. Keys are eight bytes; their hashing is part of the publish. Each worker is pinned to a CPU of its own: left to the scheduler, a runtime with as many workers as there are CPUs has one
//! of two rates for as long as it lives, the lower one that of a single worker.

#![allow(missing_docs, clippy::disallowed_methods, clippy::disallowed_types)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_utils::CachePadded;
use ringmill::{Context, Job, Overflow, Placement, PoolConfig, Producer, QueueConfig, QueueHandle, Runtime};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

const CAPACITY: u64 = 1_024;
const KEYS: u64 = 1_000;
const PARTITIONS: u32 = 1_024;
const RUN_JOBS: u64 = 1 << 17;

#[derive(Clone, Copy)]
enum Keys {
    None,
    InTurn(u64),
    Random,
}

impl Keys {
    fn job(self, number: u64) -> Job<(u64, u64)> {
        let key = match self {
            Keys::None => return Job::new((number % KEYS, number)),
            Keys::InTurn(keys) => number % keys,
            // a Weyl sequence, mixed: in no order, and the same in every run
            Keys::Random => (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % KEYS,
        };
        Job::new((key, number)).partition_key(key.to_le_bytes())
    }
}

/// How the producer publishes.
#[derive(Clone, Copy)]
enum Way {
    OneByOne,
    Ahead,
    Batch,
}

/// So many jobs ahead the producer asks for the memory of a job's key, if it does.
const AHEAD: usize = 8;

/// A runtime with one queue whose handler has looked at the order.
struct Mill {
    // dropped first: the runtime shuts down while the queue's handles still live
    runtime: Option<Runtime>,
    queue: QueueHandle<(u64, u64)>,
    producer: Producer<(u64, u64)>,
    keys: Keys,
    way: Way,
    published: u64,
}

/// What a handler looks at.
struct Check {
    /// While this is up.
    is_on: CachePadded<AtomicBool>,
    /// The number of each key's last job.
    last: [AtomicU64; KEYS as usize],
}

impl Check {
    fn see(&self, key: u64, number: u64) {
        // one job of the key at a time: no RMW
        let last = &self.last[key as usize];
        assert!(last.load(Relaxed) <= number, "key {key}: {number} comes late");
        last.store(number, Relaxed);
    }
}

impl Mill {
    fn new(partitions: Option<u32>, keys: Keys, way: Way) -> Self {
        let mut builder = Runtime::builder();
        let config = QueueConfig::new("jobs").capacity(CAPACITY).overflow(Overflow::Block(Duration::MAX));
        let config = if let Some(partitions) = partitions { config.partitions(partitions) } else { config };
        let ordered = !matches!(keys, Keys::None);
        let check = Arc::new(Check { is_on: AtomicBool::new(ordered).into(), last: [const { AtomicU64::new(0) }; KEYS as usize] });
        let checked = Arc::clone(&check);
        let handler = move |&(key, number): &(u64, u64), _: &Context<(u64, u64)>| {
            if checked.is_on.load(Relaxed) {
                checked.see(key, number);
            }
        };
        let queue = builder.queue(config, handler).expect("the settings are valid");
        builder.pool(PoolConfig::new("default").workers(2).placement(Placement::Spread)).expect("the settings are valid");
        let runtime = builder.build().expect("threads can be started");
        let producer = queue.producer().expect("accounts are left");
        let mut mill = Mill { runtime: Some(runtime), queue, producer, keys, way, published: 0 };
        mill.run();
        check.is_on.store(false, Relaxed);
        mill
    }

    /// `RUN_JOBS` jobs from the first publish to the last end.
    fn run(&mut self) -> Duration {
        let begun = Instant::now();
        let mut jobs = (self.published..self.published + RUN_JOBS).map(|number| self.keys.job(number));
        let publish = |job| {
            self.producer.publish(job).expect("it is open");
        };
        match self.way {
            Way::OneByOne => jobs.for_each(publish),
            Way::Ahead => {
                let mut ahead = VecDeque::with_capacity(AHEAD + 1);
                for job in jobs {
                    self.producer.prefetch_keys(&job);
                    ahead.push_back(job);
                    if ahead.len() > AHEAD {
                        ahead.pop_front().into_iter().for_each(publish);
                    }
                }
                ahead.into_iter().for_each(publish);
            }
            Way::Batch => assert_eq!(self.producer.publish_batch(&mut jobs).accepted as u64, RUN_JOBS),
        }
        // the last slot is free again when its job has been acked
        while self.queue.depth() > 0 {
            thread::yield_now();
        }
        let spent = begun.elapsed();
        self.published += RUN_JOBS;
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.queue.counts().acked != self.published {
            assert!(Instant::now() < deadline, "{} of {} jobs acked", self.queue.counts().acked, self.published);
            thread::yield_now();
        }
        spent
    }
}

impl Drop for Mill {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            assert!(runtime.shutdown(Default::default()).is_clean());
            let counts = self.queue.counts();
            assert_eq!((counts.panics, counts.wake_rescued), (0, 0));
        }
    }
}

fn subjects() -> [(&'static str, Mill); 8] {
    let (none, some, in_turn) = (None, Some(PARTITIONS), Keys::InTurn(KEYS));
    [
        ("unkeyed", Mill::new(none, Keys::None, Way::OneByOne)),
        ("unkeyed_in_partitioned", Mill::new(some, Keys::None, Way::OneByOne)),
        ("keys_1000", Mill::new(some, in_turn, Way::OneByOne)),
        ("keys_1000_ahead", Mill::new(some, in_turn, Way::Ahead)),
        ("keys_1000_random", Mill::new(some, Keys::Random, Way::OneByOne)),
        ("key_1", Mill::new(some, Keys::InTurn(1), Way::OneByOne)),
        ("unkeyed_batch", Mill::new(none, Keys::None, Way::Batch)),
        ("keys_1000_batch", Mill::new(some, in_turn, Way::Batch)),
    ]
}

fn ratios(_: &mut Criterion) {
    const ROUNDS: usize = 31;
    let mut subjects = subjects();
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); subjects.len()];
    for round in 0..ROUNDS {
        for turn in 0..subjects.len() {
            let at = (turn + round) % subjects.len();
            rates[at].push(RUN_JOBS as f64 / subjects[at].1.run().as_secs_f64() / 1e6);
        }
    }
    rates.iter_mut().for_each(|rates| rates.sort_by(f64::total_cmp));
    let baseline = rates[0][ROUNDS / 2];
    for ((name, _), rates) in subjects.iter().zip(&rates) {
        let median = rates[ROUNDS / 2];
        println!("ratios: {name}: {median:.2} ({:.2}-{:.2}) M jobs/s, {:.2} of unkeyed", rates[0], rates[ROUNDS - 1], median / baseline);
    }
}

fn throughput(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("partitions_1p2w");
    group.throughput(Throughput::Elements(RUN_JOBS)).sample_size(20);
    for (name, mut mill) in subjects() {
        group.bench_function(name, |bencher| bencher.iter_custom(|iterations| (0..iterations).map(|_| mill.run()).sum()));
    }
    group.finish();
}

criterion_group!(benches, ratios, throughput);
criterion_main!(benches);
