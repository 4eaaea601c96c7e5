//! The settings of queues and pools. Each is tried alone on a default configuration, whose `validate` knows the range.

use super::fault::Fault;
use super::node::{Node, Value};
use super::read::{Reader, listed};
use crate::config::{
    DeadLetterConfig, DeadLetterOverflow, Discipline, LaneConfig, Overflow, PublishBreaker, QueueConfig, RetryPolicy, TICK,
};
use crate::error::ConfigError;
use crate::limits::{CAPACITY_MAX, LANES_MAX};
use crate::retry::{Backoff, Jitter};
use crate::runtime::{Idle, OnPinFailure, Placement, PoolConfig};
use std::time::Duration;

pub(super) const QUEUE: [&str; 25] = [
    "name",
    "durable",
    "max_length",
    "overflow",
    "block_timeout",
    "publish_breaker",
    "lanes",
    "discipline",
    "max_wait",
    "visibility",
    "max_lease",
    "retry",
    "dlq",
    "dead_letters",
    "completed",
    "dedupe",
    "partitions",
    "dead_letter_exchange",
    "dead_letter_routing_key",
    "dead_letter_target",
    "retention",
    "watermarks",
    "prefetch",
    "pool",
    "weight",
];
pub(super) const DEAD_LETTER_QUEUE: [&str; 9] = [
    "name",
    "durable",
    "max_length",
    "overflow",
    "retention",
    "keep_routing_keys",
    "dead_letter_exchange",
    "dead_letter_routing_key",
    "dead_letter_target",
];
/// What says where dead letters move on to.
const ONWARD: [&str; 3] = ["dead_letter_exchange", "dead_letter_routing_key", "dead_letter_target"];
const LANE: [&str; 3] = ["name", "weight", "reserve"];
const RETRY: [&str; 3] = ["max_attempts", "max_expiries", "backoff"];
const BACKOFF: [&str; 4] = ["base", "factor", "cap", "jitter"];
const PUBLISH_BREAKER: [&str; 3] = ["failures", "within", "open"];
const COMPLETED: [&str; 2] = ["count", "age"];
const LETTERS: [&str; 4] = ["max_length", "overflow", "retention", "keep_routing_keys"];
const POOL: [&str; 7] = ["name", "workers", "placement", "on_pin_failure", "idle", "spin", "spares"];

const OVERFLOWS: [(&str, Overflow); 5] = [
    ("reject-publish", Overflow::Reject),
    ("block", Overflow::Block(Duration::ZERO)),
    ("drop-oldest", Overflow::DropOldest),
    ("drop-new", Overflow::DropNew),
    ("caller-runs", Overflow::CallerRuns),
];
const LETTER_OVERFLOWS: [(&str, DeadLetterOverflow); 2] =
    [("hold", DeadLetterOverflow::Hold), ("drop-oldest", DeadLetterOverflow::DropOldest)];
const JITTERS: [(&str, Jitter); 4] =
    [("none", Jitter::None), ("full", Jitter::Full), ("equal", Jitter::Equal), ("decorrelated", Jitter::Decorrelated)];
const PIN_FAILURES: [(&str, OnPinFailure); 3] =
    [("warn", OnPinFailure::Warn), ("error", OnPinFailure::Error), ("ignore", OnPinFailure::Ignore)];

/// A configuration on which every other setting can be tried alone: its bounds are as wide as can be.
fn widest() -> QueueConfig {
    QueueConfig::new("q").capacity(CAPACITY_MAX.into()).visibility(TICK).max_lease(Duration::from_secs(365 * 24 * 3600))
}

impl Reader<'_> {
    /// Sets one setting, if it may have that value.
    pub(super) fn set(&mut self, config: QueueConfig, node: &Node, what: &str, set: impl Fn(QueueConfig) -> QueueConfig) -> QueueConfig {
        match set(widest()).validate() {
            Ok(()) => set(config),
            Err(error) => {
                self.out_of_range(node, what, &error);
                config
            }
        }
    }

    fn out_of_range(&mut self, node: &Node, what: &str, error: &ConfigError) {
        let inner = error.field().rsplit('.').next().unwrap_or_default();
        if let Some(at) = node.get(inner) {
            return self.out_of_range(at, &format!("`{inner}`"), error);
        }
        let source = self.source;
        let written = source.written(node).unwrap_or(error.value());
        let shown = match &node.value {
            Value::List(items) if error.field() == "watermarks" => {
                let marks: Vec<&str> = items.iter().filter_map(Node::word).collect();
                source.written(node).map_or_else(|| format!("[{}]", marks.join(", ")), str::to_owned)
            }
            Value::List(_) | Value::Table(_) => format!("not right: {} is {}", error.field(), error.value()),
            _ => written.escape_debug().to_string(),
        };
        self.fault(&node.span, Fault::new(format!("{what} is {shown}, allowed is {}", error.allowed())).value(written));
    }

    /// The table of a queue of jobs. Settings of dead-letter queues are named as such.
    pub(super) fn queue_table<'n>(&mut self, node: &'n Node) -> Option<&'n Node> {
        let name = node.get("name").and_then(Node::text).unwrap_or_default().escape_debug().to_string();
        let why = format!("is a setting of dead-letter queues, and no queue has `{name}` as its `dlq`");
        self.either_table(node, &QUEUE, &DEAD_LETTER_QUEUE, &why)
    }

    /// The table of a dead-letter queue. Settings of queues of jobs are named as such.
    pub(super) fn dead_letter_queue_table<'n>(&mut self, node: &'n Node) -> Option<&'n Node> {
        let name = node.get("name").and_then(Node::text).unwrap_or_default().escape_debug().to_string();
        // a `dlq` of a dead-letter queue may be one of a circle: that is said of the whole
        let queue: Vec<&str> = QUEUE.into_iter().filter(|key| *key != "dlq").collect();
        let known: Vec<&str> = DEAD_LETTER_QUEUE.into_iter().chain(["dlq"]).collect();
        self.dead_letter_chain(node, &name);
        self.either_table(node, &known, &queue, &format!("is a setting of queues of jobs, and `{name}` is the `dlq` of a queue"))
    }

    fn dead_letter_chain(&mut self, node: &Node, name: &str) {
        let Some(next) = node.get("dlq") else { return };
        let to = next.word().unwrap_or_default().to_owned();
        let fault = Fault::new(format!("`{name}` is the `dlq` of a queue and has a `dlq` itself, `{}`", to.escape_debug()));
        let fault = fault
            .value(to)
            .help("a dead-letter queue is a list: its letters move on by a `dead_letter_exchange` or a `dead_letter_target`");
        self.fault(&next.span, fault);
    }

    fn either_table<'n>(&mut self, node: &'n Node, keys: &[&str], others: &[&str], why: &str) -> Option<&'n Node> {
        let known: Vec<&str> = keys.iter().chain(others.iter().filter(|key| !keys.contains(key))).copied().collect();
        let table = self.table(node, "a queue", &known)?;
        if let Value::Table(entries) = &table.value {
            for entry in entries.iter().filter(|entry| others.contains(&entry.key.as_str()) && !keys.contains(&entry.key.as_str())) {
                let fault = Fault::new(format!("`{}` {why}", entry.key)).value(entry.key.as_str());
                self.fault(&entry.key_span, fault.help(format!("its keys are {}", listed(keys.iter().copied()))));
            }
        }
        Some(table)
    }

    pub(super) fn queue_settings(&mut self, node: &Node, mut config: QueueConfig) -> QueueConfig {
        if let Some(name) = node.get("name") {
            let long = config.name.clone();
            if !long.is_empty() {
                let kept = config.clone();
                config = self.set(kept, name, "`name`", |config| QueueConfig { name: long.clone(), ..config });
            }
        }
        if let (Some(at), Some(jobs)) = (node.get("max_length"), self.ranged(node.get("max_length"), "`max_length`", u64::MAX)) {
            config = self.set(config, at, "`max_length`", |config| config.capacity(jobs));
        }
        if let Some(overflow) = self.overflow(node) {
            config = config.overflow(overflow);
        }
        if let Some(breaker) = node.get("publish_breaker") {
            config = config.publish_breaker(self.publish_breaker(breaker));
        }
        if let Some(lanes) = node.get("lanes") {
            config = self.queue_lanes(config, lanes);
        } else {
            self.laneless.insert(config.name.clone());
        }
        config = config.discipline(self.discipline(node));
        if let (Some(at), Some(time)) = (node.get("visibility"), self.duration(node.get("visibility"), "`visibility`")) {
            config = self.set(config, at, "`visibility`", |config| config.visibility(time));
        }
        if let (Some(at), Some(time)) = (node.get("max_lease"), self.duration(node.get("max_lease"), "`max_lease`")) {
            config = self.set(config, at, "`max_lease`", |config| config.max_lease(time));
        }
        if let Some(retry) = node.get("retry") {
            config = config.retry(self.retry(retry));
        }
        if let Some(letters) = node.get("dead_letters") {
            if let Some(dlq) = node.entry("dlq") {
                let fault = Fault::new("a queue has `dlq` or `dead_letters`, not both");
                self.fault(&dlq.key_span, fault.help("the settings of its dead letters are those of the queue that `dlq` names"));
            }
            if let Some(letters) = self.table(letters, "`dead_letters`", &LETTERS) {
                config = config.dead_letters(self.dead_letter_settings(letters));
            }
        }
        if let Some(at) = node.get("completed") {
            config = self.completed(config, at);
        }
        if let Some(at) = node.get("dedupe") {
            config = self.dedupe(config, at);
        }
        if let Some(at) = node.get("partitions") {
            config = self.partitions(config, at);
        }
        let moves = self.letters_onward(node, config.dead_letters.clone());
        config = config.dead_letters(moves);
        if let Some((dlq, entry)) = node.get("dlq").zip(ONWARD.iter().find_map(|key| node.entry(key))) {
            let fault = Fault::new(format!("`{}` beside a `dlq`", entry.key)).value(entry.key.as_str());
            self.fault(
                &entry.key_span,
                fault.help(format!("it is a setting of `{}`, which keeps the dead letters", dlq.word().unwrap_or_default())),
            );
        }
        if let (Some(at), Some(age)) = (node.get("retention"), self.duration(node.get("retention"), "`retention`")) {
            config = self.set(config, at, "`retention`", |config| config.retention(age));
        }
        if let Some(marks) = node.get("watermarks") {
            let percent: Vec<Option<u32>> =
                self.list(Some(marks), "`watermarks`").iter().map(|at| self.ranged(Some(at), "a watermark", u32::MAX)).collect();
            match percent[..] {
                [Some(low), Some(high)] => config = self.set(config, marks, "`watermarks`", |config| config.watermarks(low, high)),
                _ if percent.contains(&None) || !matches!(marks.value, Value::List(_)) => {}
                _ => self.fault(&marks.span, Fault::new("`watermarks` are two numbers: low and high, in per cent of `max_length`")),
            }
        }
        if let (Some(at), Some(jobs)) = (node.get("prefetch"), self.ranged(node.get("prefetch"), "`prefetch`", u32::MAX)) {
            config = self.set(config, at, "`prefetch`", |config| config.prefetch(jobs));
        }
        if let Some(pool) = self.text(node.get("pool"), "`pool`") {
            config = config.pool(pool);
        }
        if let (Some(at), Some(weight)) = (node.get("weight"), self.ranged(node.get("weight"), "`weight`", u32::MAX)) {
            config = self.set(config, at, "`weight`", |config| config.weight(weight));
        }
        config
    }

    fn overflow(&mut self, node: &Node) -> Option<Overflow> {
        let patience = self.duration(node.get("block_timeout"), "`block_timeout`");
        let overflow = self.choice(node.get("overflow"), "`overflow`", &OVERFLOWS);
        let blocks = matches!(overflow, Some(Overflow::Block(_)));
        match (node.get("overflow"), node.entry("block_timeout")) {
            (Some(at), None) if blocks => {
                let fault = Fault::new("`overflow` is `block`, and there is no `block_timeout`").value("block");
                self.fault(&at.span, fault.help("say how long a publish waits for room: `block_timeout: 5s`"));
            }
            (at, Some(timeout)) if !blocks && (at.is_none() || overflow.is_some()) => {
                let fault = Fault::new("`block_timeout` is for `overflow: block`").value("block_timeout");
                self.fault(&timeout.key_span, fault);
            }
            _ => {}
        }
        if blocks { patience.map(Overflow::Block) } else { overflow }
    }

    /// When a publisher stops asking.
    fn publish_breaker(&mut self, node: &Node) -> PublishBreaker {
        let mut breaker = PublishBreaker::new();
        let Some(table) = self.table(node, "`publish_breaker`", &PUBLISH_BREAKER) else { return breaker };
        if let (Some(at), Some(failures)) = (table.get("failures"), self.ranged(table.get("failures"), "`failures`", u32::MAX)) {
            breaker = self.breaker_with(breaker, at, "`failures`", |breaker| breaker.failures(failures));
        }
        if let (Some(at), Some(within)) = (table.get("within"), self.duration(table.get("within"), "`within`")) {
            breaker = self.breaker_with(breaker, at, "`within`", |breaker| breaker.within(within));
        }
        if let (Some(at), Some(open)) = (table.get("open"), self.duration(table.get("open"), "`open`")) {
            breaker = self.breaker_with(breaker, at, "`open`", |breaker| breaker.open(open));
        }
        breaker
    }

    /// Sets one setting of a breaker, if it may have that value.
    fn breaker_with(
        &mut self,
        breaker: PublishBreaker,
        at: &Node,
        what: &str,
        set: impl Fn(PublishBreaker) -> PublishBreaker,
    ) -> PublishBreaker {
        let config = self.set(QueueConfig::new("q"), at, what, |config| config.publish_breaker(set(PublishBreaker::new())));
        if config.publish_breaker.is_some() { set(breaker) } else { breaker }
    }

    fn discipline(&mut self, node: &Node) -> Discipline {
        let max_wait = self.duration(node.get("max_wait"), "`max_wait`");
        let strict = self.choice(node.get("discipline"), "`discipline`", &[("weighted", false), ("strict", true)]);
        if strict.is_none() && node.get("discipline").is_some() {
            return Discipline::Weighted; // what `max_wait` is to it is not known
        }
        let strict = strict.unwrap_or(false);
        match (strict, max_wait, node.entry("max_wait")) {
            (true, Some(max_wait), Some(entry)) => {
                let set = |config: QueueConfig| config.discipline(Discipline::Strict { max_wait });
                return self.set(QueueConfig::new("q"), &entry.node, "`max_wait`", set).discipline;
            }
            (true, None, None) => {
                let span = node.get("discipline").map_or(node.span.clone(), |at| at.span.clone());
                let fault = Fault::new("`discipline` is `strict`, and there is no `max_wait`").value("strict");
                self.fault(&span, fault.help("say how long the head of a lower lane waits at most: `max_wait: 5s`"));
            }
            (false, _, Some(entry)) => self.fault(&entry.key_span, Fault::new("`max_wait` is for `discipline: strict`").value("max_wait")),
            _ => {}
        }
        Discipline::Weighted
    }

    /// The lanes of a queue. Where they cannot be read, nothing is said of what its bindings want of them.
    fn queue_lanes(&mut self, config: QueueConfig, node: &Node) -> QueueConfig {
        let name = config.name.clone();
        let before = self.faults.count();
        let read = self.lanes(node);
        let is_list = matches!(node.value, Value::List(_));
        let config = if is_list { self.set(config, node, "`lanes`", |config| config.lanes(read.clone())) } else { config };
        if config.lanes != read {
            self.laneless.insert(name.clone());
        }
        if self.faults.count() != before {
            self.unread_lanes.insert(name);
        }
        config
    }

    fn lanes(&mut self, node: &Node) -> Vec<LaneConfig> {
        let items = self.list(Some(node), "`lanes`");
        if items.len() > LANES_MAX {
            // said once, of all
            return items.iter().map(|_| LaneConfig::new("")).collect();
        }
        let mut lanes: Vec<LaneConfig> = Vec::new();
        for item in items {
            // a name for one that has none, which is a fault already
            let unnamed = || format!("the lane at {}", lanes.len());
            // a lane without settings is its name
            if item.word().is_some() {
                let name = self.text(Some(item), "a lane").unwrap_or_else(unnamed);
                lanes.push(LaneConfig::new(name));
            } else if let Some(table) = self.table(item, "a lane", &LANE) {
                let mut lane = LaneConfig::new(self.name(table, "a lane").unwrap_or_else(unnamed));
                if let (Some(at), Some(weight)) = (table.get("weight"), self.ranged(table.get("weight"), "`weight`", u32::MAX)) {
                    let tried = LaneConfig::new("a").weight(weight);
                    let config = self.set(QueueConfig::new("q"), at, "`weight`", |config| config.lanes([tried.clone()]));
                    lane = lane.weight(config.lanes[0].weight);
                }
                lane.reserve = self.number(table.get("reserve"), "`reserve`").unwrap_or(0);
                lanes.push(lane);
            } else {
                let name = unnamed();
                lanes.push(LaneConfig::new(name));
            }
            let (last, before) = lanes.split_last_mut().expect("just pushed");
            if before.iter().any(|lane| lane.name == last.name) {
                let fault = Fault::new(format!("lane `{}` is there twice", last.name.escape_debug())).value(last.name.as_str());
                self.fault(&item.get("name").unwrap_or(item).span, fault);
                last.name = format!("the lane at {}", before.len());
            }
        }
        lanes
    }

    fn retry(&mut self, node: &Node) -> RetryPolicy {
        let mut policy = RetryPolicy::new();
        let Some(node) = self.table(node, "`retry`", &RETRY) else { return policy };
        if let (Some(at), Some(attempts)) = (node.get("max_attempts"), self.ranged(node.get("max_attempts"), "`max_attempts`", u32::MAX)) {
            let config = QueueConfig::new("q");
            policy.max_attempts =
                self.set(config, at, "`max_attempts`", |config| config.retry(RetryPolicy::new().max_attempts(attempts))).retry.max_attempts;
        }
        if let (Some(at), Some(expiries)) = (node.get("max_expiries"), self.ranged(node.get("max_expiries"), "`max_expiries`", u32::MAX)) {
            let config = QueueConfig::new("q");
            policy.max_expiries =
                self.set(config, at, "`max_expiries`", |config| config.retry(RetryPolicy::new().max_expiries(expiries))).retry.max_expiries;
        }
        if let Some(at) = node.get("backoff")
            && let Some(backoff) = self.backoff(at)
        {
            let set = |config: QueueConfig| config.retry(RetryPolicy::new().backoff(backoff.clone()));
            policy.backoff = self.set(QueueConfig::new("q"), at, "`backoff`", set).retry.backoff;
        }
        policy
    }

    /// How many jobs that ended are remembered, and for how long.
    fn completed(&mut self, config: QueueConfig, node: &Node) -> QueueConfig {
        let Some(table) = self.table(node, "`completed`", &COMPLETED) else { return config };
        let (count, age) = (self.ranged(table.get("count"), "`count`", u64::MAX), self.duration(table.get("age"), "`age`"));
        match (table.get("count"), table.get("age")) {
            (Some(at_count), Some(at_age)) => {
                let (Some(count), Some(age)) = (count, age) else { return config };
                let alone = QueueConfig::new("q");
                let counted = self.set(alone.clone(), at_count, "`count`", |config| config.completed_records(count, TICK));
                let aged = self.set(alone, at_age, "`age`", |config| config.completed_records(1, age));
                if counted.completed.is_some() && aged.completed.is_some() { config.completed_records(count, age) } else { config }
            }
            _ => {
                let fault = Fault::new("`completed` has a `count` and an `age`, and one is not there");
                self.fault(
                    &node.span,
                    fault.help("say how many records are kept, and for how long: `completed: { count: 5000, age: 1h }`"),
                );
                config
            }
        }
    }

    /// A list of delays, or the numbers of an exponential one.
    fn backoff(&mut self, node: &Node) -> Option<Backoff> {
        if let Value::List(items) = &node.value {
            let delays: Vec<Option<Duration>> = items.iter().map(|item| self.duration(Some(item), "a delay")).collect();
            if delays.is_empty() {
                self.fault(
                    &node.span,
                    Fault::new("`backoff` is an empty list, allowed is at least one delay")
                        .value(self.source.written(node).unwrap_or("[]")),
                );
                return None;
            }
            return delays.into_iter().collect::<Option<Vec<_>>>().map(Backoff::List);
        }
        if node.word().is_some() {
            let fault = Fault::new(format!("`backoff` is {}, expected a list of durations or a table", node.kind()));
            self.fault(&node.span, fault.help(format!("its keys are {}", listed(BACKOFF))));
            return None;
        }
        let node = self.table(node, "`backoff`", &BACKOFF)?;
        let Backoff::Exponential { mut base, mut factor, mut cap, mut jitter } = Backoff::default() else { return None };
        base = self.duration(node.get("base"), "`base`").unwrap_or(base);
        factor = self.number(node.get("factor"), "`factor`").unwrap_or(factor);
        cap = self.duration(node.get("cap"), "`cap`").unwrap_or(cap);
        jitter = self.choice(node.get("jitter"), "`jitter`", &JITTERS).unwrap_or(jitter);
        Some(Backoff::Exponential { base, factor, cap, jitter })
    }

    /// Length, overflow and age of dead letters, and whether their keys are kept.
    pub(super) fn dead_letter_settings(&mut self, node: &Node) -> DeadLetterConfig {
        let mut letters = DeadLetterConfig::new();
        if let Some(overflow) = self.choice(node.get("overflow"), "`overflow` of dead letters", &LETTER_OVERFLOWS) {
            letters = letters.overflow(overflow);
        }
        let tried = letters.clone();
        if let (Some(at), Some(length)) = (node.get("max_length"), self.ranged(node.get("max_length"), "`max_length`", u32::MAX)) {
            let set = |config: QueueConfig| config.dead_letters(tried.clone().capacity(length));
            letters.capacity = self.set(QueueConfig::new("q"), at, "`max_length`", set).dead_letters.capacity;
        }
        if let (Some(at), Some(age)) = (node.get("retention"), self.duration(node.get("retention"), "`retention`")) {
            let set = |config: QueueConfig| config.dead_letters(DeadLetterConfig::new().retention(age));
            letters.retention = self.set(QueueConfig::new("q"), at, "`retention`", set).dead_letters.retention;
        }
        if self.flag(node.get("keep_routing_keys"), "`keep_routing_keys`") == Some(true) {
            letters = letters.keep_routing_keys();
        }
        letters
    }

    /// Where dead letters move on to.
    pub(super) fn letters_onward(&mut self, node: &Node, mut letters: DeadLetterConfig) -> DeadLetterConfig {
        letters.exchange = self.text(node.get("dead_letter_exchange"), "`dead_letter_exchange`");
        letters.routing_key = self.text(node.get("dead_letter_routing_key"), "`dead_letter_routing_key`");
        letters.queue = self.text(node.get("dead_letter_target"), "`dead_letter_target`");
        letters
    }

    pub(super) fn pool(&mut self, node: &Node) -> Option<PoolConfig> {
        let node = self.table(node, "a pool", &POOL)?;
        let mut pool = PoolConfig::new(self.name(node, "a pool").unwrap_or_default());
        if let (Some(at), Some(workers)) = (node.get("workers"), self.ranged(node.get("workers"), "`workers`", usize::MAX)) {
            match PoolConfig::new("p").workers(workers).validate() {
                Ok(()) => pool = pool.workers(workers),
                Err(error) => self.out_of_range(at, "`workers`", &error),
            }
        }
        if let (Some(at), Some(spares)) = (node.get("spares"), self.ranged(node.get("spares"), "`spares`", usize::MAX)) {
            match PoolConfig::new("p").spares(spares).validate() {
                Ok(()) => pool = pool.spares(spares),
                Err(error) => self.out_of_range(at, "`spares`", &error),
            }
        }
        if let Some(placement) = self.placement(node.get("placement")) {
            pool = pool.placement(placement);
        }
        if let Some(failure) = self.choice(node.get("on_pin_failure"), "`on_pin_failure`", &PIN_FAILURES) {
            pool = pool.on_pin_failure(failure);
        }
        Some(pool.idle(self.idle(node)))
    }

    fn idle(&mut self, node: &Node) -> Idle {
        let spin = self.duration(node.get("spin"), "`spin`");
        let choices = [("adaptive", Idle::default()), ("busy-spin", Idle::BusySpin), ("park", Idle::Park)];
        let idle = self.choice(node.get("idle"), "`idle`", &choices).unwrap_or_default();
        match (idle, spin, node.entry("spin")) {
            (Idle::Adaptive { .. }, Some(spin), _) => Idle::Adaptive { spin },
            (Idle::Adaptive { .. }, ..) | (_, _, None) => idle,
            (_, _, Some(entry)) => {
                self.fault(&entry.key_span, Fault::new("`spin` is for `idle: adaptive`").value("spin"));
                idle
            }
        }
    }

    /// A word, or `cores` and a list.
    fn placement(&mut self, node: Option<&Node>) -> Option<Placement> {
        let at = node?;
        if let Some(list) = at.word().and_then(|word| word.strip_prefix("cores ")) {
            match list.parse() {
                Ok(cores) => return Some(Placement::Cores(cores)),
                Err(error) => self.fault(&at.span, Fault::new(format!("`placement`: {error}")).value(list)),
            }
            return None;
        }
        let choices = [
            ("none", Placement::None),
            ("auto", Placement::Auto),
            ("spread", Placement::Spread),
            ("pack", Placement::Pack),
            ("cores 2-5,9", Placement::None),
        ];
        self.choice(node, "`placement`", &choices)
    }
}
