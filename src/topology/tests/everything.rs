//! A file is refused with everything that is wrong with it, and with nothing that is not.

use super::bad_input::refused;
use super::*;

#[test]
fn two_things_are_missing_at_one_place() {
    refused(
        "exchanges: [{ name: x, type: topic, bindings: [{}] }]\nqueues: [{ name: q, dedupe: {} }, {}]",
        &[
            ("a binding has no `queue`", (1, 48), None, None),
            ("a binding has no `routing_key`", (1, 48), None, None),
            ("`dedupe` has no `mode`", (2, 29), None, None),
            ("`dedupe` has no `bound`", (2, 29), None, None),
            ("a queue has no `name`", (2, 35), None, None),
        ],
    );
}

#[test]
fn a_number_is_no_name_that_something_is_found_by() {
    let error = toml("[[queues]]\nname = 7\n[[queues]]\nname = '7'\ndlq = 'dead'\n").unwrap_err();
    let found: Vec<_> = error.faults().iter().map(|fault| (fault.message(), fault.line())).collect();
    assert_eq!(found, [("`name` is 7, expected a text", Some(2)), ("queue `dead` is not declared", Some(5))]);
}

#[test]
fn what_has_no_name_is_looked_at() {
    refused(
        "
queues:
- { dlq: nope, overflow: caller-runs, partitions: 8 }
- 7
- { name: ~, pool: fats }
exchanges:
- { type: fanout }
- { type: direct, alternate: y }
pools: [{ name: fast }, { workers: 0 }]",
        &[
            ("a queue has no `name`", (3, 3), None, None),
            ("queue `nope` is not declared", (3, 10), Some("nope"), None),
            (
                "overflow is CallerRuns, allowed is any other: a queue with partitions keeps an order that its publishers would break",
                (3, 26),
                Some("CallerRuns"),
                None,
            ),
            ("a queue is a single value, expected a table", (4, 3), None, None),
            ("`name` is nothing, expected a text", (5, 11), None, None),
            ("pool `fats` is not declared", (5, 20), Some("fats"), Some("fast")),
            ("an exchange has no `name`", (7, 3), None, None),
            ("fanout exchange `` has no bindings: it reaches no queue", (7, 11), Some(""), None),
            ("an exchange has no `name`", (8, 3), None, None),
            ("exchange `y` is not declared", (8, 30), Some("y"), None),
            ("a pool has no `name`", (9, 25), None, None),
            ("`workers` is 0, allowed is 1..=48", (9, 36), Some("0"), None),
        ],
    );
}

#[test]
fn that_there_is_no_queue_is_said_beside_other_things() {
    let kind = ("`type` is `fanuot`, expected `direct`, `topic` or `fanout`", (1, 30), Some("fanuot"), Some("fanout"));
    let none = ("there is no queue", (1, 1), None, None);
    refused("exchanges: [{ name: x, type: fanuot }]", &[none, kind]);
    refused("exchanges: [{ name: x, type: fanuot }]\nqueues: []", &[none, kind]);
    refused("colour: red\n", &[("the file has no key `colour`", (1, 1), Some("colour"), None), none]);
    let lost = ("`queues` is a single value, expected a list", (2, 9), None, None);
    refused("exchanges: [{ name: x, type: fanuot }]\nqueues: 7", &[kind, lost]);
}

#[test]
fn a_key_is_looked_at_where_the_queue_is_missing() {
    refused(
        "
exchanges:
- name: x
  type: direct
  bindings: [{ routing_key: a..b }, { routing_key: a }, { routing_key: a }, { routing_key: 'a.*', queue: '' }, {}, 7]
queues: [{ name: q }]",
        &[
            ("a binding has no `queue`", (5, 14), None, None),
            ("binding key `a..b`, byte 2: a word is missing; words are split by single dots", (5, 29), Some("a..b"), None),
            ("a binding has no `queue`", (5, 37), None, None),
            ("a binding has no `queue`", (5, 57), None, None),
            ("`a.*` is no binding key of a direct exchange, allowed is words without `*` and `#`", (5, 92), Some("a.*"), None),
            ("`queue` is empty", (5, 106), Some(""), None),
            ("a binding has no `queue`", (5, 112), None, None),
            ("a binding has no `routing_key`", (5, 112), None, None),
            ("a binding is a single value, expected a table", (5, 116), None, None),
        ],
    );
    let mut topology = full();
    topology.exchanges[0].bindings[0].queue.clear();
    let error = topology.validate().unwrap_err().to_string();
    assert!(error.starts_with("error: a binding names no `queue`\n --> exchange `tasks`, binding 1, queue"), "{error}");
}
