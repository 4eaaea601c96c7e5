//! What a key costs: a publish with one beside a publish without, with a thousand and with a million keys taken; and the table beside one map under one lock.
//!
//! | group | subjects |
//! |---|---|
//! | `dedupe_publish_1m_live` | a queue that dedupes and holds a million delayed jobs with keys: publish jobs without a key, with one, with one that was asked for 8 jobs ahead, and with one through a buffer of 32; the same queue without dedupe |
//! | `dedupe_table_1m` | claim and forget a key among a million: the table; a `HashMap` of the texts under one lock |
//!
//! Before the groups `ratios` runs the subjects of the first in turns, each first as often as the others, and prints medians: that is where the figures of the docs are
//! from. One thread; the same thread receives and acks the jobs, which is timed apart. Keys are text of 12 bytes, made beforehand; their hashing is part of the
//! publish. Of a million taken keys the lines are looked at in no order; beside that stands the same with so few fresh keys that their lines stay in the caches: the
//! difference is the miss. `in_line` does the same in queues in which a million jobs wait, so that each job that ends was published a million jobs ago. Before them `floor` walks through as much memory as the table has, from line to line in no order: what one miss costs here.

#![allow(missing_docs, clippy::disallowed_methods, clippy::disallowed_types)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringmill::clock::Timestamp;
use ringmill::dedupe::Table;
use ringmill::id::JobId;
use ringmill::key::Key;
use ringmill::{BufferConfig, BufferedProducer, Consumer, Dedupe, Job, Producer, QueueConfig, Runtime};
use std::collections::{HashMap, VecDeque};
use std::hint::black_box;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const LIVE: usize = 1_000_000;
const FEW: usize = 1_000;
const SPARE: usize = 4_096;
/// Fresh keys whose lines do not: 4 MB, touched again after a hundred milliseconds of other work.
const FRESH: usize = 1 << 16;
/// Fresh keys whose lines, 64 bytes each, stay in a core's cache.
const NEAR: usize = 2_048;
const BATCH: usize = 256;
/// So many jobs ahead a publisher asks for the memory of a job's key.
const AHEAD: usize = 8;

struct World {
    _runtime: Runtime,
    producer: Producer<u64>,
    buffered: BufferedProducer<u64>,
    consumer: Consumer<u64>,
}

impl World {
    /// A queue in which so many jobs with keys wait for a day.
    fn new(live: usize, dedupes: bool) -> Self {
        let world = Self::empty(live, dedupes);
        for n in 0..live as u64 {
            let job = Job::new(n).key(format!("order-{n:06}"));
            world.producer.publish_after(job, Duration::from_secs(86_400)).expect("there is room");
        }
        world
    }

    /// A queue with room for some more than `live` jobs.
    fn empty(live: usize, dedupes: bool) -> Self {
        let mut builder = Runtime::builder();
        let room = (live + SPARE) as u64;
        let config = QueueConfig::new("jobs").capacity(room);
        let config = if dedupes { config.dedupe(Dedupe::WhileLive, room) } else { config };
        let queue = builder.pull_queue(config).expect("a good configuration");
        let runtime = builder.build().expect("it starts");
        // whole batches: no buffer's age is ever reached
        let config = BufferConfig::new().jobs(32).age(Duration::from_secs(3600));
        let producer = || queue.producer().expect("a handle");
        let buffered = producer().buffered(config, |refused| panic!("{refused}")).expect("a good configuration");
        World { producer: producer(), buffered, consumer: queue.consumer().expect("a handle"), _runtime: runtime }
    }

    /// How long it takes to publish a batch, and to receive and ack it.
    fn publish(&self, jobs: impl Iterator<Item = Job<u64>>) -> [Duration; 2] {
        self.timed(|| jobs.for_each(|job| self.publish_one(job)))
    }

    /// The same, where the publisher asks for the memory of each job's key some jobs ahead.
    fn publish_ahead(&self, jobs: impl Iterator<Item = Job<u64>>) -> [Duration; 2] {
        self.timed(|| {
            let mut ahead = VecDeque::with_capacity(AHEAD + 1);
            for job in jobs {
                self.producer.prefetch_keys(&job);
                ahead.push_back(job);
                if ahead.len() > AHEAD {
                    ahead.pop_front().into_iter().for_each(|job| self.publish_one(job));
                }
            }
            ahead.into_iter().for_each(|job| self.publish_one(job));
        })
    }

    /// The same, through a buffer.
    fn publish_buffered(&self, jobs: impl Iterator<Item = Job<u64>>) -> [Duration; 2] {
        self.timed(|| jobs.for_each(|job| self.buffered.publish(job).expect("there is room")))
    }

    fn publish_one(&self, job: Job<u64>) {
        self.producer.try_publish(job).expect("there is room, and no key comes twice");
    }

    fn timed(&self, publish: impl FnOnce()) -> [Duration; 2] {
        let start = Instant::now();
        publish();
        let published = start.elapsed();
        for _ in 0..BATCH {
            self.consumer.try_recv().expect("it was published").ack().expect("it is ours");
        }
        [published, start.elapsed() - published]
    }
}

/// So many keys that are not among the million, in no order. `count` is a power of two.
fn fresh_keys(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("fresh-{:06}", n * 40_503 % count)).collect()
}

fn batch(keys: &[String], turn: usize) -> impl Iterator<Item = Job<u64>> + '_ {
    let from = turn * BATCH % (keys.len() - BATCH);
    keys[from..from + BATCH].iter().map(|key| Job::new(7).key(key))
}

fn plain() -> impl Iterator<Item = Job<u64>> {
    (0..BATCH).map(|_| Job::new(7))
}

/// The median of a batch, as nanoseconds of one of it.
fn each(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_nanos() as f64 / BATCH as f64
}

/// Of `ratios`.
const SUBJECTS: usize = 6;

fn ratios(_: &mut Criterion) {
    let (without, with, few) = (World::new(LIVE, false), World::new(LIVE, true), World::new(FEW, true));
    let (keys, near_keys) = (fresh_keys(FRESH), fresh_keys(NEAR));
    let mut times: [[Vec<Duration>; 2]; SUBJECTS] = Default::default();
    for turn in 0..2_000 * SUBJECTS {
        // each is first as often as the others, and a batch of keys is everybody's in turn
        let (subject, turn) = ((turn + turn / SUBJECTS) % SUBJECTS, turn / SUBJECTS);
        let took = match subject {
            0 => without.publish(plain()),
            1 => with.publish(plain()),
            2 => few.publish(batch(&keys, turn)),
            3 => with.publish(batch(&near_keys, turn)),
            4 => with.publish(batch(&keys, turn)),
            // not those whose lines have just been here
            _ => with.publish_ahead(batch(&keys, turn + FRESH / BATCH / 2)),
        };
        times[subject].iter_mut().zip(took).for_each(|(times, took)| times.push(took));
    }
    let [none, unkeyed, few, near, many, ahead] = times.map(|[publish, end]| (each(publish), each(end)));
    let rows = [
        ("without dedupe", none),
        ("dedupe, no key", unkeyed),
        ("a key, 1 000 taken", few),
        ("a key, 1 000 000 taken, its line in the cache", near),
        ("a key, 1 000 000 taken", many),
        ("a key, 1 000 000 taken, its line asked for 8 jobs ahead", ahead),
    ];
    for (what, (publish, end)) in rows {
        println!("ratios: {what}: publish {publish:.1} ns, {:+.1}; receive and ack {end:.1} ns, {:+.1}", publish - none.0, end - none.1);
    }
}

/// A buffer beside the others: apart, so that what it does to the caches is not in their figures.
fn through_a_buffer(_: &mut Criterion) {
    let (without, with) = (World::new(LIVE, false), World::new(LIVE, true));
    let keys = fresh_keys(FRESH);
    let mut times: [[Vec<Duration>; 2]; 4] = Default::default();
    for turn in 0..2_000 * 4 {
        let (subject, turn) = ((turn + turn / 4) % 4, turn / 4);
        let took = match subject {
            0 => without.publish(plain()),
            1 => without.publish_buffered(plain()),
            2 => with.publish(batch(&keys, turn)),
            _ => with.publish_buffered(batch(&keys, turn + FRESH / BATCH / 2)),
        };
        times[subject].iter_mut().zip(took).for_each(|(times, took)| times.push(took));
    }
    let [none, buffered, keyed, both] = times.map(|[publish, end]| (each(publish), each(end)));
    let rows = [
        ("without dedupe", none),
        ("without dedupe, through a buffer of 32", buffered),
        ("a key, 1 000 000 taken", keyed),
        ("a key, 1 000 000 taken, through a buffer of 32", both),
    ];
    for (what, (publish, end)) in rows {
        println!("buffer: {what}: publish {publish:.1} ns, {:+.1}; receive and ack {end:.1} ns, {:+.1}", publish - none.0, end - none.1);
    }
}

/// A million jobs are in line: the keys that end are those that were published longest ago.
fn in_line(_: &mut Criterion) {
    let worlds = [World::empty(LIVE, false), World::empty(LIVE, true), World::empty(LIVE, true)];
    let mut next = 0_u64;
    let mut times: [[Vec<Duration>; 2]; 3] = Default::default();
    for turn in 0..(LIVE / BATCH + 2_000) {
        let keys: Vec<String> = (0..BATCH as u64).map(|n| format!("order-{:08}", next + n)).collect();
        next += BATCH as u64;
        for at in [0, 1, 2].map(|at| (at + turn) % 3) {
            if turn < LIVE / BATCH {
                for key in &keys {
                    worlds[at].producer.publish(Job::new(7).key(key)).expect("there is room");
                }
                continue;
            }
            let took = match at {
                0 => worlds[0].publish(plain()),
                1 => worlds[1].publish(keys.iter().map(|key| Job::new(7).key(key))),
                _ => worlds[2].publish_ahead(keys.iter().map(|key| Job::new(7).key(key))),
            };
            times[at].iter_mut().zip(took).for_each(|(times, took)| times.push(took));
        }
    }
    let [none, keyed, ahead] = times.map(|[publish, end]| (each(publish), each(end)));
    for (what, (publish, end)) in [("without keys", none), ("with keys", keyed), ("with keys, asked for 8 jobs ahead", ahead)] {
        println!("in line: {what}: publish {publish:.1} ns, {:+.1}; receive and ack {end:.1} ns, {:+.1}", publish - none.0, end - none.1);
    }
}

#[repr(align(64))]
struct Line([u64; 8]);

/// Asks for huge pages, where they are to be had.
#[cfg(target_os = "linux")]
fn ask_for_huge_pages(lines: &mut Vec<Line>) {
    unsafe extern "C" {
        fn madvise(start: *mut std::ffi::c_void, length: usize, advice: i32) -> i32;
    }
    const PAGE: usize = 4096;
    const MADV_HUGEPAGE: i32 = 14;
    let start = lines.as_mut_ptr() as usize;
    let (from, to) = (start.next_multiple_of(PAGE), (start + lines.capacity() * size_of::<Line>()) / PAGE * PAGE);
    // SAFETY: the pages are those of a vector that is still empty, and the advice changes no contents
    let answer = unsafe { madvise(from as *mut std::ffi::c_void, to - from, MADV_HUGEPAGE) };
    println!("floor: huge pages: {}", if answer == 0 { "asked for" } else { "not to be had" });
}

#[cfg(not(target_os = "linux"))]
fn ask_for_huge_pages(_: &mut Vec<Line>) {}

/// What one step costs from line to line, each of which names the next, in no order.
fn walk(bytes: usize, huge: bool) -> f64 {
    let count = bytes / size_of::<Line>();
    let mut lines: Vec<Line> = Vec::with_capacity(count);
    if huge {
        ask_for_huge_pages(&mut lines);
    }
    let mut order: Vec<usize> = (0..count).collect();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for at in (1..count).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        order.swap(at, (state >> 33) as usize % (at + 1));
    }
    lines.extend((0..count).map(|_| Line([0; 8])));
    for (&from, &to) in order.iter().zip(order.iter().cycle().skip(1)) {
        lines[from].0[0] = to as u64;
    }
    let mut rounds = Vec::new();
    let mut at = order[0];
    for _ in 0..9 {
        let start = Instant::now();
        for _ in 0..count {
            at = lines[at].0[0] as usize;
        }
        rounds.push(start.elapsed().as_nanos() as f64 / count as f64);
    }
    assert_eq!(black_box(at), order[0], "every line was on the way");
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

fn floor(_: &mut Criterion) {
    for (what, bytes) in [("the lines of 1 000 000 keys", LIVE * 8), ("their entries", LIVE * 48)] {
        let (small, huge) = (walk(bytes, false), walk(bytes, true));
        println!("floor: {what}, {} MB: {small:.1} ns a read in no order, {huge:.1} ns in huge pages", bytes / 1_000_000);
    }
}

fn publish(criterion: &mut Criterion) {
    let (without, with) = (World::new(LIVE, false), World::new(LIVE, true));
    let keys = fresh_keys(FRESH);
    let mut group = criterion.benchmark_group("dedupe_publish_1m_live");
    group.throughput(Throughput::Elements(1));
    let mut timed = |name: &str, run: &dyn Fn(usize) -> [Duration; 2]| {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let turns = iterations.div_ceil(BATCH as u64);
                let took: Duration = (0..turns as usize).map(|turn| run(turn)[0]).sum();
                took.mul_f64(iterations as f64 / (turns * BATCH as u64) as f64)
            });
        });
    };
    timed("without_dedupe", &|_| without.publish(plain()));
    timed("no_key", &|_| with.publish(plain()));
    timed("key", &|turn| with.publish(batch(&keys, turn)));
    timed("key_ahead", &|turn| with.publish_ahead(batch(&keys, turn)));
    timed("key_buffered", &|turn| with.publish_buffered(batch(&keys, turn)));
    group.finish();
}

fn table(criterion: &mut Criterion) {
    let texts: Vec<String> = (0..LIVE).map(|n| format!("order-{n:06}")).collect();
    let fresh = fresh_keys(FRESH);
    let job = JobId::from_number(1);
    let ours = Table::new(LIVE + SPARE, None);
    for text in &texts {
        ours.claim(Key::of(text.as_bytes()), job, Timestamp::ZERO).expect("there is room");
    }
    let map = Mutex::new(HashMap::with_capacity(LIVE + SPARE));
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

criterion_group!(benches, floor, ratios, through_a_buffer, in_line, publish, table);
criterion_main!(benches);
