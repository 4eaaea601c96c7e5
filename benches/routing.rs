//! What routing costs: matching a key, and publishing through an exchange beside publishing to the queue itself.
//!
//! | group | subjects |
//! |---|---|
//! | `match_10k_bindings` | the compiled table, with the set of targets; every binding asked one by one; a `HashMap` of the literal keys, which knows no patterns |
//! | `publish` | `Producer::publish`; through a topic exchange with 1 000 bindings by `Route`, by keys that come again and by keys that have not been there; a fan-out to three queues of a plain payload and of an `Arc` |
//!
//! Before the groups `ratios` runs the subjects of `publish` in turns, and prints medians and what they come to: that is where the figures of the docs are from.
//! One thread; the jobs are received and acked by the same thread, which is not timed.

#![allow(missing_docs, clippy::disallowed_methods)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringmill::limits::CACHED_KEYS;
use ringmill::routing::{Hop, TargetSet, TopicTable, Walk};
use ringmill::{Binding, BindingKey, Consumer, ExchangeConfig, ExchangePublisher, Producer, QueueConfig, Route, RoutingKey, Runtime};
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

// ---- matching ----

/// `count` binding keys as a service might have them: 8 in 10 literal, the others with a `*` or a `#` at some place.
fn binding_keys(count: usize) -> Vec<BindingKey> {
    let key = |n: usize| {
        let (tenant, area, event) = (n / 40, n / 10 % 4, n % 10);
        match event {
            0 => format!("tenant{tenant}.area{area}.#"),
            1 => format!("*.area{area}.event{tenant}"),
            _ => format!("tenant{tenant}.area{area}.event{event}"),
        }
    };
    (0..count).map(|n| BindingKey::new(&key(n)).expect("it is a key")).collect()
}

/// Keys of which each matches a few bindings.
fn routing_keys(bindings: usize) -> Vec<String> {
    (0..1_024usize)
        .map(|n| {
            let n = n * 7_919 % bindings;
            format!("tenant{}.area{}.event{}", n / 40, n / 10 % 4, 2 + n % 8)
        })
        .collect()
}

/// Keys that no publisher remembers when they come again: four times as many as it can. Each matches one binding of [`binding_keys`], with a `#`.
fn fresh_keys(bindings: usize) -> Vec<String> {
    (0..4 * CACHED_KEYS).map(|n| format!("tenant{}.area{}.order{n}", n % (bindings / 40), n % 4)).collect()
}

const MATCHED: usize = 10_000;
const TARGETS: usize = 16;

fn matching(criterion: &mut Criterion) {
    let bindings = binding_keys(MATCHED);
    let texts = routing_keys(MATCHED);
    let keys: Vec<RoutingKey<'_>> = texts.iter().map(|text| RoutingKey::new(text).expect("it is a key")).collect();
    let table = TopicTable::new(&bindings);
    let literal: HashMap<&str, u32> = (0..).zip(&bindings).filter(|(_, key)| key.is_literal()).map(|(n, key)| (key.as_str(), n)).collect();
    let (mut walk, mut set) = (Walk::new(), TargetSet::new());
    let mut compiled = |key| {
        set.begin(TARGETS);
        table.matches(key, &mut walk, |binding| set.offer(Hop { target: binding % TARGETS as u32, lane: 0 }));
        set.finish().len()
    };
    for &key in &keys {
        let naive: std::collections::BTreeSet<usize> =
            (0..).zip(&bindings).filter(|(_, binding)| binding.matches(key)).map(|(n, _)| n % TARGETS).collect();
        assert!(!naive.is_empty() && compiled(key) == naive.len(), "{key}");
    }

    let mut group = criterion.benchmark_group("match_10k_bindings");
    group.throughput(Throughput::Elements(keys.len() as u64));
    group.bench_function("ringmill", |bencher| bencher.iter(|| keys.iter().map(|&key| compiled(key)).sum::<usize>()));
    group.bench_function("ringmill_from_text", |bencher| {
        bencher.iter(|| texts.iter().map(|text| compiled(RoutingKey::new(text).expect("it is a key"))).sum::<usize>());
    });
    group.bench_function("baseline_hash_map_of_literals", |bencher| {
        bencher.iter(|| texts.iter().filter_map(|text| literal.get(text.as_str())).count());
    });
    group.throughput(Throughput::Elements(1));
    group.sample_size(10);
    group.bench_function("baseline_one_by_one", |bencher| {
        let mut keys = keys.iter().cycle();
        bencher.iter(|| {
            let key = *keys.next().expect("it goes round");
            bindings.iter().filter(|binding| binding.matches(key)).count()
        });
    });
    group.finish();
}

// ---- publishing ----

const BINDINGS: usize = 1_000;
const ROUND: u64 = 512;

/// A queue that is published to directly and through an exchange with [`BINDINGS`] bindings, and a fan-out to three queues of each payload.
struct Mill {
    _runtime: Runtime,
    consumers: Vec<Consumer<u64>>,
    shared_consumers: Vec<Consumer<Arc<[u8]>>>,
    direct: Producer<u64>,
    topic: ExchangePublisher<u64>,
    route: Route,
    keys: Vec<String>,
    /// Of the same exchange, so that what it does not remember takes no room from what the other does.
    stranger: ExchangePublisher<u64>,
    fresh: Vec<String>,
    fresh_at: usize,
    fan: ExchangePublisher<u64>,
    fan_route: Route,
    shared: ExchangePublisher<Arc<[u8]>>,
    shared_route: Route,
    shared_one: Producer<Arc<[u8]>>,
    payload: Arc<[u8]>,
}

impl Mill {
    fn new() -> Self {
        let mut builder = Runtime::builder();
        let config = |name: String| QueueConfig::new(name).capacity(2 * ROUND);
        let queues: Vec<_> = (0..4).map(|n| builder.pull_queue::<u64>(config(format!("q{n}"))).expect("it is valid")).collect();
        let shared: Vec<_> = (0..3).map(|n| builder.pull_queue::<Arc<[u8]>>(config(format!("s{n}"))).expect("it is valid")).collect();
        let topic = builder.exchange(ExchangeConfig::topic("topic")).expect("it is valid");
        let fan = builder.exchange(ExchangeConfig::fanout("fan")).expect("it is valid");
        let shared_fan = builder.exchange(ExchangeConfig::fanout("shared")).expect("it is valid");
        let runtime = builder.build().expect("threads can be started");
        topic.rebind(binding_keys(BINDINGS).iter().map(|key| Binding::new(key.as_str(), &queues[0]))).expect("they are valid");
        fan.rebind(queues[1..].iter().map(Binding::all)).expect("they are valid");
        shared_fan.rebind(shared.iter().map(Binding::all)).expect("they are valid");
        let keys = routing_keys(BINDINGS);
        Mill {
            _runtime: runtime,
            consumers: queues.iter().map(|queue| queue.consumer().expect("there is room")).collect(),
            shared_consumers: shared.iter().map(|queue| queue.consumer().expect("there is room")).collect(),
            direct: queues[0].producer().expect("there is room"),
            route: topic.route(&keys[0]).expect("it is a key"),
            topic: topic.publisher(),
            stranger: topic.publisher(),
            keys,
            fresh: fresh_keys(BINDINGS),
            fresh_at: 0,
            fan_route: fan.route("k").expect("it is a key"),
            fan: fan.publisher(),
            shared_route: shared_fan.route("k").expect("it is a key"),
            shared: shared_fan.publisher(),
            shared_one: shared[0].producer().expect("there is room"),
            payload: vec![0; 256].into(),
        }
    }

    /// How long `ROUND` publishes take. All jobs that come of them are received and acked afterwards.
    fn round(&mut self, subject: Subject) -> Duration {
        let begun = Instant::now();
        for job in 0..ROUND {
            let copies = match subject {
                Subject::Direct => self.direct.publish(job).map_or(0, |_| 1),
                Subject::Route => self.topic.publish(&self.route, job).map_or(0, |routed| routed.copies),
                Subject::Key => self.topic.publish(&self.keys[job as usize % self.keys.len()], job).map_or(0, |routed| routed.copies),
                Subject::FreshKey => {
                    self.fresh_at = (self.fresh_at + 1) % self.fresh.len();
                    self.stranger.publish(&self.fresh[self.fresh_at], job).map_or(0, |routed| routed.copies)
                }
                Subject::FanOut => self.fan.publish(&self.fan_route, job).map_or(0, |routed| routed.copies),
                Subject::DirectArc => self.shared_one.publish(Arc::clone(&self.payload)).map_or(0, |_| 1),
                Subject::FanOutArc => self.shared.publish(&self.shared_route, Arc::clone(&self.payload)).map_or(0, |routed| routed.copies),
            };
            black_box(copies);
        }
        let spent = begun.elapsed();
        let copies = if matches!(subject, Subject::FanOut | Subject::FanOutArc) { 3 } else { 1 };
        let received = drain(&self.consumers) + drain(&self.shared_consumers);
        assert_eq!(received, copies * ROUND);
        spent
    }
}

fn drain<T: ringmill::Payload>(consumers: &[Consumer<T>]) -> u64 {
    let all = |consumer: &Consumer<T>| std::iter::from_fn(|| consumer.try_recv().ok().map(|job| job.ack().expect("in time"))).count();
    consumers.iter().map(|consumer| all(consumer) as u64).sum()
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Subject {
    Direct,
    Route,
    Key,
    FreshKey,
    FanOut,
    DirectArc,
    FanOutArc,
}

const SUBJECTS: [(&str, Subject); 7] = [
    ("baseline_producer", Subject::Direct),
    ("route", Subject::Route),
    ("key_1000_bindings", Subject::Key),
    ("fresh_key_1000_bindings", Subject::FreshKey),
    ("fan_out_to_3", Subject::FanOut),
    ("baseline_producer_arc", Subject::DirectArc),
    ("fan_out_to_3_arc", Subject::FanOutArc),
];

/// The subjects in turns: medians in nanoseconds, and what they come to.
fn ratios(_: &mut Criterion) {
    const ROUNDS: usize = 2_001;
    let mut mill = Mill::new();
    let mut spent: Vec<Vec<f64>> = vec![Vec::new(); SUBJECTS.len()];
    for round in 0..ROUNDS {
        for turn in 0..SUBJECTS.len() {
            let at = (turn + round) % SUBJECTS.len();
            let nanos = mill.round(SUBJECTS[at].1).as_nanos() as f64 / ROUND as f64;
            if round > 0 {
                spent[at].push(nanos);
            }
        }
    }
    let medians: Vec<f64> = spent
        .iter_mut()
        .map(|spent| {
            spent.sort_by(f64::total_cmp);
            spent[spent.len() / 2]
        })
        .collect();
    let [direct, route, key, fresh, fan, direct_arc, fan_arc] = medians[..] else { unreachable!("one median per subject") };
    println!("publish, medians of {} rounds in turns:", ROUNDS - 1);
    println!("  producer {direct:.1} ns, Arc {direct_arc:.1} ns");
    println!("  route {route:.1} ns, {:+.1} % against the producer (goal: at most +10 %)", (route / direct - 1.0) * 100.0);
    println!("  key, {BINDINGS} bindings {key:.1} ns, {:+.1} ns against the producer (goal: at most +150 ns)", key - direct);
    println!("  key that has not been there {fresh:.1} ns, {:+.1} ns against the producer", fresh - direct);
    println!("  fan-out to 3 {fan:.1} ns, {:.2}x one publish (goal: at most 3.3x)", fan / direct);
    println!("  fan-out to 3, Arc {fan_arc:.1} ns, {:.2}x one publish", fan_arc / direct_arc);
}

fn publishing(criterion: &mut Criterion) {
    let mut mill = Mill::new();
    let mut group = criterion.benchmark_group("publish");
    group.throughput(Throughput::Elements(ROUND));
    for (name, subject) in SUBJECTS {
        group.bench_function(name, |bencher| bencher.iter_custom(|rounds| (0..rounds).map(|_| mill.round(subject)).sum()));
    }
    group.finish();
}

criterion_group!(benches, ratios, matching, publishing);
criterion_main!(benches);
