//! What a key costs: a publish with one beside a publish without, with a million keys taken; and the table beside one map under one lock.
//!
//! | group | subjects |
//! |---|---|
//! | `dedupe_publish_1m_live` | a queue that dedupes and holds a million delayed jobs with keys: publish jobs without a key, and with one; the same queue without dedupe |
//! | `dedupe_table_1m` | claim and forget a key among a million: the table; a `HashMap` of the texts under one lock |
//!
//! Before the groups `ratios` runs the subjects of the first in turns and prints medians: that is where the figures of the docs are from. One thread; the jobs
//! are received and acked by the same thread, which is not timed. Keys are text of 12 bytes, made beforehand; their hashing is part of the publish.

#![allow(missing_docs, clippy::disallowed_methods, clippy::disallowed_types)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringmill::clock::Timestamp;
use ringmill::dedupe::Table;
use ringmill::id::JobId;
use ringmill::key::Key;
use ringmill::{Consumer, Dedupe, Job, Producer, QueueConfig, Runtime};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const LIVE: usize = 1_000_000;
const BATCH: usize = 256;

struct World {
    _runtime: Runtime,
    producer: Producer<u64>,
    consumer: Consumer<u64>,
}

impl World {
    /// A queue in which a million jobs with keys wait for a day.
    fn new(dedupes: bool) -> Self {
        let mut builder = Runtime::builder();
        let config = QueueConfig::new("jobs").capacity(LIVE as u64 + 4_096);
        let config = if dedupes { config.dedupe(Dedupe::WhileLive, LIVE as u64 + 4_096) } else { config };
        let queue = builder.pull_queue(config).expect("a good configuration");
        let runtime = builder.build().expect("it starts");
        let world =
            World { producer: queue.producer().expect("a handle"), consumer: queue.consumer().expect("a handle"), _runtime: runtime };
        for n in 0..LIVE as u64 {
            let job = Job::new(n).key(format!("order-{n:06}"));
            world.producer.publish_after(job, Duration::from_secs(86_400)).expect("there is room");
        }
        world
    }

    /// How long it takes to publish a batch.
    fn publish(&self, jobs: impl Iterator<Item = Job<u64>>) -> Duration {
        let start = Instant::now();
        let mut count = 0;
        for job in jobs {
            self.producer.try_publish(job).expect("there is room, and no key comes twice");
            count += 1;
        }
        let took = start.elapsed();
        for _ in 0..count {
            self.consumer.try_recv().expect("it was published").ack().expect("it is ours");
        }
        took
    }
}

/// Keys that are not among the million, in no order.
fn fresh_keys() -> Vec<String> {
    (0..1 << 16).map(|n| format!("fresh-{:06}", n * 40_503 % (1 << 16))).collect()
}

fn batch(keys: &[String], turn: usize) -> impl Iterator<Item = Job<u64>> + '_ {
    let from = turn * BATCH % (keys.len() - BATCH);
    keys[from..from + BATCH].iter().map(|key| Job::new(7).key(key))
}

fn plain() -> impl Iterator<Item = Job<u64>> {
    (0..BATCH).map(|_| Job::new(7))
}

fn ratios(_: &mut Criterion) {
    let (without, with) = (World::new(false), World::new(true));
    let keys = fresh_keys();
    let mut times: [Vec<Duration>; 3] = Default::default();
    for turn in 0..2_000 {
        times[0].push(without.publish(plain()));
        times[1].push(with.publish(plain()));
        times[2].push(with.publish(batch(&keys, turn)));
    }
    let [none, unkeyed, keyed] = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2].as_nanos() as f64 / BATCH as f64
    });
    println!(
        "ratios: a publish without dedupe {none:.1} ns; with dedupe, no key {unkeyed:.1} ns; with a key {keyed:.1} ns: {:.1} ns more",
        keyed - none
    );
}

fn publish(criterion: &mut Criterion) {
    let (without, with) = (World::new(false), World::new(true));
    let keys = fresh_keys();
    let mut group = criterion.benchmark_group("dedupe_publish_1m_live");
    group.throughput(Throughput::Elements(1));
    let mut timed = |name: &str, run: &dyn Fn(usize) -> Duration| {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let turns = iterations.div_ceil(BATCH as u64);
                let took: Duration = (0..turns as usize).map(run).sum();
                took.mul_f64(iterations as f64 / (turns * BATCH as u64) as f64)
            });
        });
    };
    timed("without_dedupe", &|_| without.publish(plain()));
    timed("no_key", &|_| with.publish(plain()));
    timed("key", &|turn| with.publish(batch(&keys, turn)));
    group.finish();
}

fn table(criterion: &mut Criterion) {
    let texts: Vec<String> = (0..LIVE).map(|n| format!("order-{n:06}")).collect();
    let fresh = fresh_keys();
    let job = JobId::from_number(1);
    let ours = Table::new(LIVE + 4_096, None);
    texts.iter().for_each(|text| ours.claim(Key::of(text.as_bytes()), job, Timestamp::ZERO).expect("there is room"));
    let map = Mutex::new(HashMap::with_capacity(LIVE + 4_096));
    map.lock().expect("nobody panics").extend(texts.into_iter().map(|text| (text, job)));

    let mut group = criterion.benchmark_group("dedupe_table_1m");
    group.throughput(Throughput::Elements(1));
    group.bench_function("ringmill", |bencher| {
        let mut at = 0;
        bencher.iter(|| {
            at = (at + 1) % fresh.len();
            let key = Key::of(fresh[at].as_bytes());
            ours.claim(key, job, Timestamp::ZERO).expect("it is fresh");
            ours.forget(key, job);
        });
    });
    group.bench_function("hash_map_under_a_lock", |bencher| {
        let mut at = 0;
        bencher.iter(|| {
            at = (at + 1) % fresh.len();
            assert!(map.lock().expect("nobody panics").insert(fresh[at].clone(), job).is_none());
            map.lock().expect("nobody panics").remove(&fresh[at]);
        });
    });
    group.finish();
}

criterion_group!(benches, ratios, publish, table);
criterion_main!(benches);
