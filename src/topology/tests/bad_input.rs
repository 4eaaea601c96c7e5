//! One test for each thing that should not be in a file.

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::tests::growth::grows_no_faster_than_its_size;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

/// Message, line and column, value and nearest name of every fault.
pub(super) type Found<'a> = (&'a str, (usize, usize), Option<&'a str>, Option<&'a str>);

pub(super) fn found(error: &TopologyError) -> Vec<Found<'_>> {
    error
        .faults()
        .iter()
        .map(|fault| {
            let place = (fault.line().unwrap_or(0), fault.column().unwrap_or(0));
            (fault.message(), place, fault.offending_value(), fault.nearest())
        })
        .collect()
}

#[track_caller]
pub(super) fn refused(text: &str, wanted: &[Found<'_>]) -> TopologyError {
    let error = yaml(text).expect_err("must be refused");
    assert_eq!(found(&error), wanted, "{error}");
    error
}

/// One setting of one queue, in its own line.
#[track_caller]
fn setting(line: &str, message: &str, column: usize) -> TopologyError {
    let error = yaml(&format!("queues:\n- name: q\n  {line}\n")).expect_err("must be refused");
    let found: Vec<_> = found(&error).into_iter().map(|(message, place, ..)| (message, place)).collect();
    assert_eq!(found, [(message, (3, column))], "{error}");
    error
}

/// The same of a queue in TOML, whose settings begin in line 3.
#[track_caller]
fn refused_in_toml(settings: &str, wanted: Found<'_>) {
    let error = toml(&format!("[[queues]]\nname = 'q'\n{settings}\n")).expect_err("must be refused");
    assert_eq!(found(&error), [wanted], "{error}");
}

/// Each of these numbers is out of its range.
#[track_caller]
fn out_of_range(allowed: &str, settings: &[(&str, &str, &str)]) {
    for (before, key, value) in settings {
        let line = format!("{before}{key}: {value}{}", if before.is_empty() { "" } else { " }" });
        setting(&line, &format!("`{key}` is {value}, allowed is {allowed}"), 3 + before.len() + key.len() + 2);
    }
}

#[test]
fn unknown_names_are_met_with_the_nearest() {
    let text = "
exchanges:
- name: tasks
  type: topik
  alternate: reste
  bindings:
  - { routing_key: a, queue: biling }
- { name: rest, type: direct }
queues:
- { name: billing, pool: fats }
pools:
- { name: fast }
";
    refused(
        text,
        &[
            ("`type` is `topik`, expected `direct`, `topic` or `fanout`", (4, 9), Some("topik"), Some("topic")),
            ("exchange `reste` is not declared", (5, 14), Some("reste"), Some("rest")),
            ("queue `biling` is not declared", (7, 30), Some("biling"), Some("billing")),
            ("pool `fats` is not declared", (10, 26), Some("fats"), Some("fast")),
        ],
    );
}

#[test]
fn unknown_keys_name_the_nearest_key() {
    let text = "queue: []\nqueues: [{ name: q, max_lenght: 1, capacity: 2, colour: red }]";
    let error = refused(
        text,
        &[
            ("the file has no key `queue`", (1, 1), Some("queue"), Some("queues")),
            ("a queue has no key `max_lenght`", (2, 21), Some("max_lenght"), Some("max_length")),
            ("a queue has no key `capacity`", (2, 36), Some("capacity"), Some("max_length")),
            ("a queue has no key `colour`", (2, 49), Some("colour"), None),
        ],
    );
    assert!(error.to_string().contains("help: its keys are `name`, `durable`, `max_length`"), "{error}");
}

#[test]
fn durations_say_what_to_write() {
    for (written, hint) in [
        ("5 minutes", "write `5m`"),
        ("5minutes", "write `5m`"),
        ("30 s", "write `30s`"),
        ("10 MS", "write `10ms`"),
        ("30", "a unit is missing"),
        ("-1s", "not negative"),
        ("1.5s", "instead of `1.5s` write `1500ms`"),
        ("1.5h", "instead of `1.5h` write `90m`"),
        ("0.25 days", "instead of `0.25 days` write `6h`"),
        ("2.0m", "instead of `2.0m` write `2m`"),
        ("1.5", "whole numbers only"),
        ("0.3ns", "whole numbers only"),
        ("5\u{b5}s", "write `5us`"),
        ("5\u{3bc}s", "write `5us`"),
        ("soon", "write a whole number and a unit"),
        ("1y", "write a whole number and a unit"),
        ("99999999999999999999s", "longer than can be counted"),
        ("18446744073709551615w", "longer than can be counted"),
    ] {
        let error = setting(&format!("visibility: {written}"), &format!("`visibility` is `{written}`, which is no duration"), 15);
        assert!(error.to_string().contains(hint), "{written}: {error}");
    }
    for (written, time) in [("7d", 7 * 86_400_000), ("30s", 30_000), ("250ms", 250), ("2w", 1_209_600_000), ("12h", 43_200_000)] {
        let topology = yaml(&format!("queues: [{{ name: q, visibility: {written}, max_lease: 3w }}]")).unwrap();
        assert_eq!(topology.queues[0].config.visibility, Duration::from_millis(time), "{written}");
    }
}

#[test]
fn durations_out_of_range_say_what_is_allowed() {
    setting("visibility: 520w", "`visibility` is 520w, allowed is 1ms to 365d", 15);
    setting("visibility: 0s", "`visibility` is 0s, allowed is 1ms to 365d", 15);
    setting("max_lease: 1s", "`max_lease` is 1s, allowed is 30s to 365d", 14);
    let text = "queues: [{ name: q, dlq: d }, { name: d, retention: 0s }]";
    let allowed = yaml(text).unwrap_err();
    assert_eq!(allowed.faults()[0].message(), "`retention` is 0s, allowed is 1ms or more");
}

#[test]
fn numbers_out_of_range_say_what_is_allowed() {
    setting("max_length: 0", "`max_length` is 0, allowed is 1..=16777215", 15);
    setting("max_length: 16777216", "`max_length` is 16777216, allowed is 1..=16777215", 15);
    setting("max_length: -1", "`max_length` is -1, allowed is 1..=16777215", 15);
    setting("max_length: 99999999999999999999", "`max_length` is 99999999999999999999, allowed is 1..=16777215", 15);
    setting("max_length: 1e3", "`max_length` is `1e3`, expected a whole number", 15);
    setting("max_length: '10'", "`max_length` is the text `10`, expected a whole number", 15);
    setting("max_length: [10]", "`max_length` is a list, expected a whole number", 15);
    setting("lanes: [{ name: a, reserve: -1 }]", "`reserve` is -1, expected a number that is not negative", 31);
    setting("lanes: [{ name: a, reserve: 4294967296 }]", "`reserve` is 4294967296, which is larger than any number here", 31);
    setting("prefetch: 33", "`prefetch` is 33, allowed is 1..=32", 13);
    setting("weight: 4294967296", "`weight` is 4294967296, allowed is 1..=1024", 11);
    setting("weight: 1025", "`weight` is 1025, allowed is 1..=1024", 11);
    setting("retry: { max_attempts: 0 }", "`max_attempts` is 0, allowed is 1..=255", 26);
    setting("retry: { max_expiries: 15 }", "`max_expiries` is 15, allowed is 0..=14", 26);
    setting("watermarks: [80, 60]", "`watermarks` is [80, 60], allowed is low < high <= 100", 15);
    setting("watermarks: [80]", "`watermarks` are two numbers: low and high, in per cent of `max_length`", 15);
    setting("completed: { count: 0, age: 1h }", "`count` is 0, allowed is 1..=16777215", 23);
    setting("completed: { count: 1, age: 0s }", "`age` is 0s, allowed is 1ms or more", 31);
    setting("completed: { count: 1 }", "`completed` has a `count` and an `age`, and one is not there", 14);
    setting("lanes: []", "`lanes` is not right: lanes is 0, allowed is 1..=8", 10);
    setting("lanes: [a, b, c, d, e, f, g, h, i]", "`lanes` is not right: lanes is 9, allowed is 1..=8", 10);
    setting("lanes: [{ name: a, weight: 0 }]", "`weight` is 0, allowed is 1..=1024", 30);
    setting("lanes: [{ name: a, reserve: 65536 }]", "lane reserves (sum) is 65536, allowed is 0..65536, the capacity", 31);
    setting("lanes: [a, b, a]", "lane `a` is there twice", 17);
    setting("retry: { backoff: [] }", "`backoff` is an empty list, allowed is at least one delay", 21);
    setting("retry: { backoff: 5s }", "`backoff` is a single value, expected a list of durations or a table", 21);
    setting("retry: { backoff: { factor: 0 } }", "`factor` is 0, allowed is at least 1; 1 keeps the delay constant", 31);
}

/// What is wrong is quoted from the file, at its place; so are bounds that could stand there.
#[test]
fn values_are_given_as_they_are_written() {
    for (line, value) in [
        ("overflow: caller-runs, partitions: 8", "caller-runs"),
        ("lanes: [{ name: a, reserve: 3 }, { name: b, reserve: 65_534 }]", "65_534"),
        ("visibility: 1m, max_lease: 0030s", "0030s"),
        ("watermarks: [ 80, 60 ]", "[ 80, 60 ]"),
        ("retry: { backoff: { base: 1m, cap: 1s } }", "1m"),
        ("dead_letters: { retention: 0ms }", "0ms"),
        ("completed: { count: 1, age: 1us }", "1us"),
    ] {
        let text = format!("queues: [{{ name: q, {line} }}]");
        let error = yaml(&text).unwrap_err();
        let fault = &error.faults()[0];
        assert_eq!((fault.offending_value(), error.faults().len()), (Some(value), 1), "{error}");
        assert_eq!(fault.column(), text.find(value).map(|at| at + 1), "{error}");
    }
    refused_in_toml("prefetch = 0x40", ("`prefetch` is 0x40, allowed is 1..=32", (3, 12), Some("0x40"), None));
    for time in [Duration::ZERO, Duration::from_nanos(1_001), Duration::from_secs(31_536_000), Duration::from_millis(1_500)] {
        assert_eq!(words::duration(&words::written(time)), Ok(time));
    }
    assert_eq!(words::written(Duration::from_secs(7 * 86_400)), "7d");
    assert_eq!(words::duration(&words::written(Duration::from_secs(u64::MAX))), Ok(Duration::from_secs(u64::MAX)));
}

#[test]
fn windows_bounds_and_modes_of_dedupe() {
    let range = "allowed is 1ms to 365d";
    for mode in ["window", "debounce", "keep-last"] {
        let column = "  dedupe: { mode: , bound: 9, window: x".len() + mode.len();
        for window in ["0s", "0w", "999us", "3650d", "10000w"] {
            let line = format!("dedupe: {{ mode: {mode}, bound: 9, window: {window} }}");
            setting(&line, &format!("`window` is {window}, {range}"), column);
        }
        setting(&format!("dedupe: {{ mode: {mode}, bound: 9 }}"), &format!("`mode` is `{mode}`, and there is no `window`"), 19);
    }
    setting("dedupe: { mode: window, window: -1s, bound: 9 }", "`window` is `-1s`, which is no duration", 35);
    setting("dedupe: { mode: while-live, window: 1s, bound: 9 }", "`window` is for the modes `window`, `debounce` and `keep-last`", 31);
    let bound = "dedupe: { mode: while-live, ";
    out_of_range("1..=16777215", &[(bound, "bound", "0"), (bound, "bound", "16777216"), (bound, "bound", "-1")]);
    setting("dedupe: { mode: while-live, bound: many }", "`bound` is `many`, expected a whole number", 38);
    setting("dedupe: { mode: while-live }", "`dedupe` has no `bound`", 11);
    setting("dedupe: { bound: 9 }", "`dedupe` has no `mode`", 11);
    setting("dedupe: while-live", "`dedupe` is a single value, expected a table", 11);
    refused(
        "queues: [{ name: q, dedupe: { mode: windw, bund: 9, bound: 0 } }]",
        &[
            ("`mode` is `windw`, expected `while-live`, `window`, `debounce` or `keep-last`", (1, 37), Some("windw"), Some("window")),
            ("`dedupe` has no key `bund`", (1, 44), Some("bund"), Some("bound")),
            ("`bound` is 0, allowed is 1..=16777215", (1, 60), Some("0"), None),
        ],
    );
    let window = ("`window` is 3650d, allowed is 1ms to 365d", (3, 38), Some("3650d"), None);
    refused_in_toml("dedupe = { mode = 'window', window = '3650d', bound = 9 }", window);
}

#[test]
fn counts_and_times_of_a_publish_breaker() {
    let breaker = "publish_breaker: { ";
    out_of_range("1..=1024", &[(breaker, "failures", "0"), (breaker, "failures", "1025")]);
    setting("publish_breaker: { failures: many }", "`failures` is `many`, expected a whole number", 32);
    out_of_range("1ms to 365d", &[(breaker, "within", "0s"), (breaker, "open", "3650d")]);
    setting("publish_breaker: 5", "`publish_breaker` is a single value, expected a table", 20);
    refused(
        "queues: [{ name: q, publish_braker: {}, publish_breaker: { failuers: 5, within: soon, open: 0s } }]",
        &[
            ("a queue has no key `publish_braker`", (1, 21), Some("publish_braker"), Some("publish_breaker")),
            ("`publish_breaker` has no key `failuers`", (1, 60), Some("failuers"), Some("failures")),
            ("`within` is `soon`, which is no duration", (1, 81), Some("soon"), None),
            ("`open` is 0s, allowed is 1ms to 365d", (1, 93), Some("0s"), None),
        ],
    );
    refused_in_toml("[queues.publish_breaker]\nopen = '0s'", ("`open` is 0s, allowed is 1ms to 365d", (4, 8), Some("0s"), None));
}

#[test]
fn counts_and_orders_of_partitions() {
    for count in ["0", "3", "1048576", "8192", "4294967296", "-1"] {
        out_of_range("a power of two, 1..=4096", &[("", "partitions", count), ("partitions: { ", "count", count)]);
    }
    setting("partitions: some", "`partitions` is `some`, expected a whole number", 15);
    setting("partitions: [8]", "`partitions` is a list, expected a whole number", 15);
    setting("partitions: { order: skip }", "`partitions` has no `count`", 15);
    refused(
        "queues: [{ name: q, partitions: { count: 8, order: blok-key, redeliver_overrun: 1, on_expiry: x } }]",
        &[
            ("`order` is `blok-key`, expected `block-key` or `skip`", (1, 52), Some("blok-key"), Some("block-key")),
            ("`redeliver_overrun` is `1`, expected `true` or `false`", (1, 81), Some("1"), None),
            ("`partitions` has no key `on_expiry`", (1, 84), Some("on_expiry"), None),
        ],
    );
    refused(
        "queues: [{ name: q, overflow: caller-runs, partitions: 8 }]",
        &[(
            "`overflow` is caller-runs, allowed is any other: a queue with partitions keeps an order that its publishers would break",
            (1, 31),
            Some("caller-runs"),
            None,
        )],
    );
    let count = ("`count` is 3, allowed is a power of two, 1..=4096", (4, 9), Some("3"), None);
    refused_in_toml("[queues.partitions]\ncount = 3", count);
}

#[test]
fn settings_that_need_or_exclude_each_other() {
    setting("overflow: block", "`overflow` is `block`, and there is no `block_timeout`", 13);
    setting("block_timeout: 1s", "`block_timeout` is for `overflow: block`", 3);
    setting("discipline: strict", "`discipline` is `strict`, and there is no `max_wait`", 15);
    setting("max_wait: 1s", "`max_wait` is for `discipline: strict`", 3);
    setting("retention: 7d", "`retention` of `q` is for dead letters of other queues, and none go to `q`", 14);
    setting("durable: true", "`durable` needs a journal, and there is none: `q` lives in memory", 12);
    setting("durable: yes", "`durable` is `yes`, expected `true` or `false`", 12);
    setting(
        "overflow: drop-head",
        "`overflow` is `drop-head`, expected `reject-publish`, `block`, `drop-oldest`, `drop-new` or `caller-runs`",
        13,
    );
    refused(
        "queues: [{ name: q, dlq: d }, { name: d, prefetch: 1 }]",
        &[("`prefetch` is a setting of queues of jobs, and `d` is the `dlq` of a queue", (1, 42), Some("prefetch"), None)],
    );
    refused(
        "queues: [{ name: q }]\npools: [{ name: p, workers: 49, spares: 9, placement: cores x, idle: park, spin: 1s }]",
        &[
            ("`workers` is 49, allowed is 1..=48", (2, 29), Some("49"), None),
            ("`spares` is 9, allowed is 0..=8", (2, 41), Some("9"), None),
            ("`placement`: malformed list of CPUs at position 0: not a number", (2, 55), Some("x"), None),
            ("`spin` is for `idle: adaptive`", (2, 76), Some("spin"), None),
        ],
    );
}

#[test]
fn names_are_declared_once() {
    let text = "
exchanges: [{ name: x, type: direct }, { name: x, type: topic }]
queues:
- { name: q, dlq: d }
- { name: q }
- { name: d }
- { name: d }
pools: [{ name: p }, { name: p }]";
    refused(
        text,
        &[
            ("exchange `x` is declared twice", (2, 48), Some("x"), None),
            ("queue `q` is declared twice", (5, 11), Some("q"), None),
            ("queue `d` is declared twice", (7, 11), Some("d"), None),
            ("pool `p` is declared twice", (8, 30), Some("p"), None),
        ],
    );
}

#[test]
fn binding_keys_that_are_none() {
    let long = "x".repeat(256);
    for (kind, key, message) in [
        ("topic", "", "binding key ``, byte 0: it is empty"),
        ("topic", ".a", "binding key `.a`, byte 0: a word is missing; words are split by single dots"),
        ("topic", "a.", "binding key `a.`, byte 2: a word is missing; words are split by single dots"),
        ("topic", "a..b", "binding key `a..b`, byte 2: a word is missing; words are split by single dots"),
        ("topic", "a.b#", "binding key `a.b#`, byte 3: `#` inside a word; it stands for a whole one"),
        ("direct", "a.*", "`a.*` is no binding key of a direct exchange, allowed is words without `*` and `#`"),
        ("fanout", "a", "`a` is no binding key of a fanout exchange, allowed is `#`"),
        ("topic", &long, &format!("binding key `{}...`, byte 255: it has 256 bytes, allowed are 1..=255", "x".repeat(64))),
    ] {
        let text =
            format!("exchanges: [{{ name: x, type: {kind}, bindings: [{{ queue: q, routing_key: '{key}' }}] }}]\nqueues: [{{ name: q }}]");
        let error = yaml(&text).unwrap_err();
        assert_eq!(error.faults().len(), 1, "{error}");
        assert_eq!((error.faults()[0].message(), error.faults()[0].offending_value()), (message, Some(key)));
        assert_eq!(error.faults()[0].column(), Some(text.find('\'').unwrap() + 1));
    }
}

#[test]
fn bindings_that_lead_nowhere() {
    let text = "
exchanges:
- { name: f, type: fanout }
- name: t
  type: topic
  bindings:
  - { routing_key: a, queue: q, priority: 1 }
  - { routing_key: b, queue: q, lane: hihg }
  - { routing_key: c, queue: d }
  - { routing_key: c, queue: q, priority: 0, lane: high }
  - { routing_key: c, queue: q }
  - { queue: q }
  - { routing_key: d }
  - e
queues: [{ name: q, lanes: [high], dlq: d }, { name: d }]";
    refused(
        text,
        &[
            ("fanout exchange `f` has no bindings: it reaches no queue", (3, 20), Some("f"), None),
            ("lane 1 of queue `q`, which has lanes 0..1", (7, 43), Some("1"), None),
            ("queue `q` has no lane `hihg`", (8, 39), Some("hihg"), Some("high")),
            ("`d` keeps dead letters and cannot be published to", (9, 30), Some("d"), None),
            ("a binding has `priority` or `lane`, not both", (10, 46), None, None),
            ("`c` is bound to `q` twice", (11, 20), Some("c"), None),
            ("a binding has no `routing_key`", (12, 5), None, None),
            ("a binding has no `queue`", (13, 5), None, None),
            ("a binding is a single value, expected a table", (14, 5), None, None),
        ],
    );
}

#[test]
fn dead_letters_go_in_no_circle() {
    let error = refused(
        "queues:\n- { name: a, dlq: b }\n- { name: b, dlq: a }\n",
        &[
            ("`a` is the `dlq` of a queue and has a `dlq` itself, `b`", (2, 19), Some("b"), None),
            ("`b` is the `dlq` of a queue and has a `dlq` itself, `a`", (3, 19), Some("a"), None),
        ],
    );
    assert!(error.to_string().contains("a dead-letter queue is a list"));
    refused("queues: [{ name: a, dlq: a }]", &[("`a` is the `dlq` of a queue and has a `dlq` itself, `a`", (1, 26), Some("a"), None)]);
    let text = "
exchanges: [{ name: x, type: topic, bindings: [{ routing_key: 'a.#', queue: q }, { routing_key: b, queue: r }] }]
queues:
- { name: q, dlq: d }
- { name: d, dead_letter_exchange: x, dead_letter_routing_key: KEY }
- { name: r }";
    let at = (5, 36);
    let circle = "dead letters would go in a circle by themselves: q -> d -> x -> q";
    let no_pause = "dead letters would go in a circle without a pause: q -> d -> x -> q";
    refused(&text.replace("KEY", "a.b"), &[(no_pause, at, Some("d"), None)]);
    for good in [
        text.replace("KEY", "a.b").replace("dead_letter_exchange", "retention: 7d, dead_letter_exchange"),
        text.replace(", dead_letter_routing_key: KEY", ""),
        text.replace("KEY", "b"),
        text.replace("KEY", "c"),
    ] {
        yaml(&good).unwrap_or_else(|error| panic!("{error}"));
    }
    // whatever the key was, if nothing but full queues is on the way
    let dropping = text.replace("{ name: q,", "{ name: q, overflow: drop-oldest,").replace(", dead_letter_routing_key: KEY", "");
    refused(&dropping, &[(circle, at, Some("d"), None)]);
    let text = "
queues:
- { name: a, overflow: drop-oldest, dead_letter_target: b }
- { name: b, retention: 1m, dead_letter_target: c, dead_letters: { retention: 1d } }
- { name: c, overflow: drop-oldest, dead_letter_target: b }
- { name: d, dead_letter_target: d }
- { name: e, dead_letter_target: a, retention: 1m }
";
    let error = refused(
        text,
        &[
            ("dead letters would go in a circle by themselves: b -> c -> b", (4, 49), Some("c"), None),
            ("dead letters would go in a circle without a pause: d -> d", (6, 34), Some("d"), None),
            ("`retention` of `e` is for dead letters of other queues, and none go to `e`", (7, 48), None, None),
        ],
    );
    assert!(error.to_string().contains("in a circle at least one queue must neither drop its oldest"), "{error}");
}

#[test]
fn two_queues_do_not_dead_letter_into_each_other_at_once() {
    let text = "
queues:
- { name: a, dead_letter_target: b }
- { name: b, dlq: d }
- { name: d, dead_letter_exchange: x }
exchanges: [{ name: x, type: fanout, bindings: [{ queue: a }] }]
";
    let circle = "dead letters would go in a circle without a pause: a -> b -> d -> x -> a";
    let error = refused(text, &[(circle, (3, 34), Some("b"), None)]);
    assert!(error.to_string().contains("with a `retention` of the dead letters on the way it is a retry"), "{error}");
    for good in [
        text.replace("{ name: d,", "{ name: d, retention: 1ms,"),
        text.replace("target: b }", "target: b, dead_letters: { retention: 1ms } }"),
        // a queue in which jobs wait to go on
        text.replace("{ name: b,", "{ name: b, retention: 10s,"),
        // by the key that each letter came by
        text.replace("type: fanout, bindings: [{ ", "type: topic, bindings: [{ routing_key: a, "),
    ] {
        let topology = yaml(&good).unwrap_or_else(|error| panic!("{error}"));
        let mut builder = Runtime::builder();
        topology.declare_pull::<u32>(&mut builder).unwrap();
        builder.build().unwrap();
    }
}

#[test]
fn dead_letters_that_lead_nowhere() {
    let text = "
exchanges: [{ name: x, type: fanout, bindings: [{ queue: q }, { queue: r }] }]
queues:
- { name: q, dead_letter_target: rr }
- { name: r, dead_letter_exchange: y, dead_letter_routing_key: k }
- { name: s, dlq: d, dead_letter_target: q }
- { name: d, dead_letter_exchange: x, dead_letter_routing_key: k }
- { name: t, dead_letter_target: d }
- { name: u, dead_letter_target: q, dead_letter_exchange: x }
- { name: v, dead_letter_routing_key: k }
- { name: w, dead_letter_target: q, dead_letters: { max_length: 0, overflow: drop-oldest } }
- { name: z, dead_letter_exchange: x, dead_letter_routing_key: a..b }
";
    refused(
        text,
        &[
            ("queue `rr` is not declared", (4, 34), Some("rr"), Some("r")),
            ("exchange `y` is not declared", (5, 36), Some("y"), Some("x")),
            ("`dead_letter_target` beside a `dlq`", (6, 22), Some("dead_letter_target"), None),
            ("`x` leads dead letters to `q`, `r`", (7, 36), Some("x"), None),
            ("`d` keeps dead letters and cannot be published to", (8, 34), Some("d"), None),
            ("dead letters have a `dead_letter_target` or a `dead_letter_exchange`, not both", (9, 34), Some("q"), None),
            ("`dead_letter_routing_key` without a `dead_letter_exchange`", (10, 39), Some("k"), None),
            ("`max_length` is 0, allowed is 1..=16777215", (11, 65), Some("0"), None),
            ("routing key `a..b`, byte 2: a word is missing; words are split by single dots", (12, 64), Some("a..b"), None),
        ],
    );
    let text = "queues: [{ name: q, dlq: d }, { name: r, dlq: d }, { name: d, dead_letter_routing_key: 'a.*' }]";
    refused(
        text,
        &[
            ("`d` is the `dlq` of `q` already", (1, 47), Some("d"), None),
            ("routing key `a.*`, byte 2: `*` is for binding keys", (1, 88), Some("a.*"), None),
            ("`dead_letter_routing_key` without a `dead_letter_exchange`", (1, 88), Some("a.*"), None),
        ],
    );
}

#[test]
fn alternates_go_in_no_circle() {
    let text = "
exchanges:
- { name: a, type: direct, alternate: b }
- { name: b, type: direct, alternate: c }
- { name: c, type: direct, alternate: b }
queues: [{ name: q }]";
    refused(
        text,
        &[
            ("alternates go in a circle: b -> c -> b", (4, 39), Some("c"), None),
            ("alternates go in a circle: c -> b -> c", (5, 39), Some("b"), None),
        ],
    );
}

#[test]
fn files_without_content() {
    for text in ["", "\n \n", "\u{feff}", "# nothing\n", "---\n", "null"] {
        assert_eq!(yaml(text).unwrap_err().faults()[0].message(), "the file is empty", "{text:?}");
    }
    assert_eq!(toml("").unwrap_err().faults()[0].message(), "the file is empty");
    assert_eq!(toml("# nothing").unwrap_err().faults()[0].message(), "there is no queue");
    assert_eq!(yaml("queues: []").unwrap_err().faults()[0].message(), "there is no queue");
    refused("queues: {}", &[("`queues` is a table, expected a list", (1, 9), None, None)]);
    refused("[1, 2]", &[("the file is a list, expected a table", (1, 1), None, None)]);
    refused(
        "queues: [{}, 7, { name: ~ }, { name: '' }]",
        &[
            ("a queue has no `name`", (1, 10), None, None),
            ("a queue is a single value, expected a table", (1, 14), None, None),
            ("`name` is nothing, expected a text", (1, 25), None, None),
            ("`name` is empty", (1, 38), Some(""), None),
        ],
    );
}

#[test]
fn what_is_no_yaml_and_no_toml_points_at_the_place() {
    refused("queues: [{ name: q }\nexchanges: []\n", &[("this is no YAML: invalid indentation in flow construct", (2, 1), None, None)]);
    let twice = ("the key `queues` is there twice", (2, 1), Some("queues"), None);
    refused("queues: [{ name: q }]\nqueues: []\n", &[twice]);
    refused("queues: []\n---\nqueues: []\n", &[("a second document; one is read", (2, 1), None, None)]);
    refused("? [a]\n: b\n", &[("a key is a single word", (1, 3), None, None)]);
    let error = toml("[[queues]]\nname = q\n").unwrap_err();
    assert_eq!(found(&error)[0].1, (2, 8), "{error}");
    let error = toml("[[queues]]\nname = 'q'\nname = 'r'\n").unwrap_err();
    assert_eq!(found(&error), [("the key `name` is there twice", (3, 1), Some("name"), None)], "{error}");
}

#[test]
fn toml_values_of_another_type() {
    let error = toml("[[queues]]\nname = 7\nmax_length = 'many'\ndurable = 1\nvisibility = 1979-05-27\n").unwrap_err();
    let messages: Vec<&str> = error.faults().iter().map(Fault::message).collect();
    assert_eq!(
        messages,
        [
            "`name` is 7, expected a text",
            "`max_length` is `many`, expected a whole number",
            "`durable` is `1`, expected `true` or `false`",
            "`visibility` is `1979-05-27`, which is no duration",
        ],
    );
}

#[test]
fn aliases_anchors_and_tags_are_refused() {
    let alias = "a: &a [x, x]\nb: &b [*a, *a]\n";
    refused(alias, &[("an anchor; anchors and aliases are not read here: write the value out where it is needed", (1, 4), None, None)]);
    refused("a: !!int 4\n", &[("a tag; tags are not read here, the schema says what a value is", (1, 4), None, None)]);
    let error = yaml("queues: *q\n").unwrap_err();
    assert!(error.faults()[0].message().ends_with("aliases are not read here: write the value out"), "{error}");
    let mut bomb = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for n in 1..12 {
        writeln!(bomb, "a{n}: &a{n} [{}]", vec![format!("*a{}", n - 1); 9].join(", ")).unwrap();
    }
    let clock = SystemClock::new();
    let began = clock.now();
    assert_eq!(yaml(&bomb).unwrap_err().faults().len(), 1);
    assert!(clock.now().since(began) < Duration::from_secs(5));
}

#[test]
fn depth_is_bounded() {
    let clock = SystemClock::new();
    let began = clock.now();
    for (open, close) in [("[", "]"), ("{ a: ", "}"), ("- ", "")] {
        for depth in [DEPTH_MAX + 1, 10_000, 150_000] {
            let text = format!("{}{}", open.repeat(depth), close.repeat(depth));
            let error = yaml(&text).unwrap_err();
            assert_eq!(error.faults()[0].message(), "more than 16 levels deep", "{open:?} {depth}");
        }
    }
    for depth in [DEPTH_MAX + 1, 10_000, 500_000] {
        let error = toml(&format!("a = {}{}", "[".repeat(depth), "]".repeat(depth))).unwrap_err();
        assert_eq!(error.faults().len(), 1, "{error}");
    }
    let block: String = (0..DEPTH_MAX + 1).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert!(yaml(&block).is_err());
    assert!(clock.now().since(began) < Duration::from_secs(10));
}

/// A file that is gone when the test ends.
pub(super) struct TempFile(pub(super) PathBuf);

impl TempFile {
    pub(super) fn new(name: &str, content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("ringmill-topology-{}-{name}", std::process::id()));
        fs::write(&path, content).unwrap();
        TempFile(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_large_file_is_refused_quickly() {
    let file = TempFile::new("large.yaml", &b"- { name: q }\n".repeat(750_000));
    let clock = SystemClock::new();
    let began = clock.now();
    let error = Topology::load(&file.0).unwrap_err();
    assert_eq!(error.faults()[0].message(), "the file is larger than 1048576 bytes");
    assert!(clock.now().since(began) < Duration::from_secs(1), "{:?}", clock.now().since(began));
    assert_eq!(yaml(&"é".repeat(FILE_MAX)).unwrap_err().faults()[0].message(), "the file is larger than 1048576 bytes");
}

#[test]
fn a_file_that_is_no_utf8_names_the_byte() {
    let file = TempFile::new("latin.toml", b"[[queues]]\nname = \"caf\xE9\"\n");
    let error = Topology::load(&file.0).unwrap_err();
    let fault = &error.faults()[0];
    assert_eq!(fault.message(), "the file is no UTF-8: byte 22 is 0xe9");
    assert_eq!((fault.line(), fault.column()), (Some(2), Some(12)));
}

#[test]
fn a_file_that_is_not_there_and_one_of_another_kind() {
    let error = Topology::load(std::env::temp_dir().join("ringmill-no-such.yaml")).unwrap_err();
    assert!(error.faults()[0].message().starts_with("cannot be read: "), "{error}");
    let error = Topology::load("topology.json").unwrap_err();
    assert_eq!(error.faults()[0].message(), "its name ends in neither `.toml` nor `.yaml` nor `.yml`");
}

/// A file of nothing but faults: they are found in one go, and as many as can be read are kept.
#[test]
fn many_faults_cost_little() {
    let text = |count: usize| {
        let queue = |n| format!("- {{ name: queue_{n}, dlq: none_{n}, max_lenght: 1 }}\n");
        format!("queues:\n{}", (0..count).map(queue).collect::<String>())
    };
    let mut last = None;
    grows_no_faster_than_its_size(18_000, text, |text| last = yaml(&text).err());
    let error = last.unwrap();
    assert_eq!(error.faults().len(), FAULTS_MAX);
    assert!(error.to_string().contains("t.yaml: 36000 errors, 64 shown"));
}

#[test]
fn positions_count_characters_and_long_lines_are_cut() {
    let error = yaml("queues:\n- { name: \"é\u{1F980}\", dlq: dead }\r\n").unwrap_err();
    assert_eq!(found(&error), [("queue `dead` is not declared", (2, 22), Some("dead"), None)]);
    assert!(error.to_string().contains("2 | - { name: \"é\u{1F980}\", dlq: dead }\n  |                      ^^^^\n"), "{error}");
    let error = yaml(&format!("queues: [{{ name: {}, dlq: dead }}]", "x".repeat(200))).unwrap_err();
    assert!(error.to_string().lines().all(|line| line.chars().count() < 300), "{error}");
    let caret = error.to_string().lines().nth(4).unwrap().find('^').unwrap();
    assert_eq!(&error.to_string().lines().nth(3).unwrap()[caret..caret + 4], "dead");
}

#[test]
fn in_code_the_site_is_named() {
    let mut topology = full();
    topology.exchanges[0].bindings[1].queue = "wrok".to_owned();
    topology.queues[0].config = topology.queues[0].config.clone().prefetch(0);
    let text = topology.validate().unwrap_err().to_string();
    assert!(
        text.contains("error: queue `wrok` is not declared\n --> exchange `tasks`, binding 2, queue\n  = help: did you mean `work`?"),
        "{text}"
    );
    assert!(text.contains("error: prefetch is 0, allowed is 1..=32\n --> queue `work`"), "{text}");
    assert!(text.ends_with("topology: 2 errors"), "{text}");
}

#[test]
fn distances_are_edits() {
    for (one, other, edits) in [("", "", 0), ("abc", "", 3), ("abc", "abd", 1), ("abc", "acb", 1), ("abc", "ABC", 0), ("ab", "abcd", 2)] {
        assert_eq!((words::distance(one, other), words::distance(other, one)), (edits, edits), "{one} {other}");
    }
    assert_eq!(words::nearest("max_lenght", ["max_length", "max_lease"]), Some("max_length"));
    assert_eq!(words::nearest("x", ["completely", "different"]), None);
}
