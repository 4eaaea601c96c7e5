//! Files as people write them, and as they should not.

use super::*;
use crate::config::{
    DeadLetterConfig, DeadLetterOverflow, Dedupe, Discipline, LaneConfig, OrderPolicy, Overflow, PublishBreaker, QueueConfig, RetryPolicy,
};
use crate::exchange::ExchangeKind;
use crate::face::Runtime;
use crate::retry::{Backoff, Jitter};
use crate::runtime::{Idle, OnPinFailure, Placement, PoolConfig};
use std::time::Duration;

mod bad_input;
mod cost;
mod drawings;
mod everything;
mod example;
mod follows;
mod page;
mod shown;
mod three_ways;

fn yaml(text: &str) -> Result<Topology, TopologyError> {
    Topology::from_yaml(text, "t.yaml")
}

fn toml(text: &str) -> Result<Topology, TopologyError> {
    Topology::from_toml(text, "t.toml")
}

/// Everything that a file can say, in YAML.
const FULL_YAML: &str = r#"
exchanges:
  - name: tasks
    type: topic
    durable: false
    alternate: rest
    bindings:
      - { routing_key: "a.#", queue: work, lane: low }
      - { routing_key: a.b, queue: work, priority: 0 }
  - { name: rest, type: fanout, bindings: [{ queue: other }] }
queues:
  - name: work
    max_length: 1_000
    overflow: block
    block_timeout: 5s
    publish_breaker: { failures: 7, within: 2s, open: 30s }
    lanes: [{ name: high, weight: 6, reserve: 10 }, low]
    discipline: strict
    max_wait: 250ms
    visibility: 20m
    max_lease: 1h
    retry: { max_attempts: 7, max_expiries: 1, backoff: { base: 10ms, factor: 3, cap: 1s, jitter: equal } }
    dlq: dead
    completed: { count: 5000, age: 1h }
    dedupe: { mode: window, window: 10m, bound: 2_000 }
    partitions: { count: 64, order: skip, redeliver_overrun: true }
    watermarks: [50, 90]
    prefetch: 4
    pool: fast
    weight: 3
  - { name: dead, max_length: 10, overflow: drop-oldest, retention: 7d, keep_routing_keys: true, dead_letter_exchange: rest, dead_letter_routing_key: was.dead }
  - name: other
    overflow: drop-new
    retry: { backoff: [10ms, 1s] }
    dead_letters: { max_length: 5, retention: 1d, keep_routing_keys: true }
    dead_letter_target: work
    dedupe: { mode: while-live, bound: 65536 }
    partitions: 8
    retention: 30d
pools:
  - { name: fast, workers: 2, placement: "cores 0-1", on_pin_failure: ignore, idle: adaptive, spin: 50us, spares: 2 }
  - { name: default, workers: 1, placement: none, idle: park }
"#;

const FULL_TOML: &str = r#"
[[exchanges]]
name = "tasks"
type = "topic"
durable = false
alternate = "rest"
bindings = [
    { routing_key = "a.#", queue = "work", lane = "low" },
    { routing_key = "a.b", queue = "work", priority = 0 },
]
[[exchanges]]
name = "rest"
type = "fanout"
[[exchanges.bindings]]
queue = "other"

[[queues]]
name = "work"
max_length = 1_000
overflow = "block"
block_timeout = "5s"
publish_breaker = { failures = 7, within = "2s", open = "30s" }
lanes = [{ name = "high", weight = 6, reserve = 10 }, "low"]
discipline = "strict"
max_wait = "250ms"
visibility = "20m"
max_lease = "1h"
dlq = "dead"
completed = { count = 5000, age = "1h" }
dedupe = { mode = "window", window = "10m", bound = 2_000 }
partitions = { count = 64, order = "skip", redeliver_overrun = true }
watermarks = [50, 90]
prefetch = 0x4
pool = "fast"
weight = 3
[queues.retry]
max_attempts = 7
max_expiries = 1
backoff = { base = "10ms", factor = 3, cap = "1s", jitter = "equal" }
[[queues]]
name = "dead"
max_length = 10
overflow = "drop-oldest"
retention = "7d"
keep_routing_keys = true
dead_letter_exchange = "rest"
dead_letter_routing_key = "was.dead"
[[queues]]
name = "other"
overflow = "drop-new"
retry.backoff = ["10ms", "1s"]
dead_letters = { max_length = 5, retention = "1d", keep_routing_keys = true }
dead_letter_target = "work"
dedupe = { mode = "while-live", bound = 65536 }
partitions = 8
retention = "30d"

[[pools]]
name = "fast"
workers = 2
placement = "cores 0-1"
on_pin_failure = "ignore"
idle = "adaptive"
spin = "50us"
spares = 2
[[pools]]
name = "default"
workers = 1
placement = "none"
idle = "park"
"#;

/// The same in code.
fn full() -> Topology {
    let (ms, secs) = (Duration::from_millis, Duration::from_secs);
    let mut topology = Topology::new();
    let mut tasks = ExchangeSpec::new("tasks", ExchangeKind::Topic);
    tasks.alternate = Some("rest".to_owned());
    tasks.bindings = vec![BindingSpec::new("a.#", "work").lane(1), BindingSpec::new("a.b", "work")];
    let mut rest = ExchangeSpec::new("rest", ExchangeKind::Fanout);
    rest.bindings = vec![BindingSpec::new("#", "other")];
    topology.exchanges = vec![tasks, rest];
    let backoff = Backoff::Exponential { base: ms(10), factor: 3, cap: secs(1), jitter: Jitter::Equal };
    let mut work = QueueSpec::new(
        QueueConfig::new("work")
            .capacity(1000)
            .overflow(Overflow::Block(secs(5)))
            .publish_breaker(PublishBreaker::new().failures(7).within(secs(2)).open(secs(30)))
            .lanes([LaneConfig::new("high").weight(6).reserve(10), LaneConfig::new("low")])
            .discipline(Discipline::Strict { max_wait: ms(250) })
            .visibility(secs(1200))
            .max_lease(secs(3600))
            .retry(RetryPolicy::new().max_attempts(7).max_expiries(1).backoff(backoff))
            .completed_records(5000, secs(3600))
            .dedupe(Dedupe::Window(secs(600)), 2_000)
            .partitions(64)
            .order(OrderPolicy::Skip)
            .redeliver_overrun(true)
            .watermarks(50, 90)
            .prefetch(4)
            .pool("fast")
            .weight(3),
    );
    work.dlq = Some("dead".to_owned());
    let other = QueueConfig::new("other")
        .overflow(Overflow::DropNew)
        .retry(RetryPolicy::new().backoff(Backoff::List(vec![ms(10), secs(1)])))
        .retention(secs(30 * 86_400))
        .dedupe(Dedupe::WhileLive, 65_536)
        .partitions(8)
        .dead_letters(DeadLetterConfig::new().capacity(5).retention(secs(86_400)).keep_routing_keys().queue("work"));
    topology.queues = vec![work, QueueSpec::new(other)];
    let dead = DeadLetterConfig::new()
        .capacity(10)
        .overflow(DeadLetterOverflow::DropOldest)
        .retention(secs(7 * 86_400))
        .keep_routing_keys()
        .exchange("rest")
        .routing_key("was.dead");
    topology.dead_letter_queues = vec![DeadLetterQueueSpec::new("dead", dead)];
    let fast = PoolConfig::new("fast").workers(2).placement(Placement::Cores(vec![0, 1].into())).on_pin_failure(OnPinFailure::Ignore);
    topology.pools = vec![
        fast.idle(Idle::Adaptive { spin: Duration::from_micros(50) }).spares(2),
        PoolConfig::new("default").workers(1).placement(Placement::None).idle(Idle::Park),
    ];
    topology
}

#[test]
fn code_toml_and_yaml_that_say_the_same_are_equal() {
    assert_eq!(full().validate(), Ok(()));
    assert_eq!(yaml(FULL_YAML), Ok(full()));
    assert_eq!(toml(FULL_TOML), Ok(full()));
    assert_ne!(yaml(&FULL_YAML.replace("max_attempts: 7", "max_attempts: 8")), Ok(full()));
    let forgets = FULL_YAML.replacen("keep_routing_keys: true", "keep_routing_keys: false", 1);
    assert_ne!(yaml(&forgets), Ok(full()));
    assert_ne!(toml(&FULL_TOML.replace("spares = 2", "spares = 1")), Ok(full()));
}

#[test]
fn everything_is_declared_in_a_runtime_and_jobs_go_where_the_data_says() {
    let mut builder = Runtime::builder();
    let declared = full().declare_pull::<&str>(&mut builder).unwrap();
    let runtime = builder.build().unwrap();
    let mut publisher = declared.exchange("tasks").unwrap().publisher();
    for (key, queue) in [("a.x", "work"), ("a.b", "work"), ("b", "other")] {
        let before = declared.queue(queue).unwrap().depth();
        publisher.publish(key, "job").unwrap();
        assert_eq!(declared.queue(queue).unwrap().depth(), before + 1, "{key}");
        assert_eq!(full().route("tasks", key), [queue]);
    }
    let consumer = declared.queue("work").unwrap().consumer().unwrap();
    for lane in [0, 1] {
        let delivery = consumer.try_recv().unwrap();
        assert_eq!(delivery.lane(), lane, "the more urgent lane first");
        delivery.ack().unwrap();
    }
    drop(runtime);
}

#[test]
fn a_dlq_gives_its_settings_to_the_queue_it_serves() {
    let text = "queues: [{ name: q, dlq: d }, { name: d, max_length: 1, overflow: drop-oldest }]";
    let mut builder = Runtime::builder();
    let declared = yaml(text).unwrap().declare_pull::<u32>(&mut builder).unwrap();
    assert!(declared.queue("d").is_none());
    let queue = declared.queue("q").unwrap();
    let runtime = builder.build().unwrap();
    let (producer, consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
    for job in 0..3 {
        producer.publish(job).unwrap();
        consumer.try_recv().unwrap().reject("no").unwrap();
    }
    let letters = queue.dead_letters();
    assert_eq!((letters.len(), letters.take().map(|letter| letter.into_payload())), (1, Some(2)));
    drop(runtime);
}

#[test]
fn a_queue_without_lanes_has_those_its_bindings_ask_for() {
    let text = "
exchanges: [{ name: x, type: direct, bindings: [{ routing_key: a, queue: q, priority: 2 }, { routing_key: b, queue: r }] }]
queues: [{ name: q }, { name: r }]";
    let topology = yaml(text).unwrap();
    let names = |queue: usize| topology.queues[queue].config.lanes.iter().map(|lane| lane.name.as_str()).collect::<Vec<_>>();
    assert_eq!((names(0), names(1)), (vec!["0", "1", "2"], vec!["default"]));
}

#[test]
fn a_topology_that_was_declared_before_is_refused() {
    let topology = full();
    let mut builder = Runtime::builder();
    topology.declare_pull::<u8>(&mut builder).unwrap();
    let error = topology.declare_pull::<u8>(&mut builder).unwrap_err();
    assert!(error.to_string().contains("`fast`, declared twice"), "{error}");
}
