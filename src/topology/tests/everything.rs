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

/// Each of these is wrong only beside another setting of its queue.
#[test]
fn all_that_is_wrong_between_the_settings_of_a_queue_is_said() {
    let text = "
queues:
- name: q
  max_length: 10
  overflow: caller-runs
  partitions: 8
  visibility: 1m
  max_lease: 30s
  lanes: [{ name: a, reserve: 11 }]
  dead_letters: { max_length: 0, overflow: drop-oldest }
  dead_letter_target: r
- { name: r }
";
    let error = yaml(text).unwrap_err();
    let lines: Vec<_> = error.faults().iter().map(|fault| fault.line().unwrap()).collect();
    assert_eq!(lines, [5, 8, 9, 10], "{error}");
    // in code, the same four and one of each other kind
    let mut topology = Topology::new();
    let letters = DeadLetterConfig::new().capacity(0).routing_key("a..b").retention(Duration::ZERO);
    let config = QueueConfig::new("").capacity(10).overflow(Overflow::CallerRuns).partitions(8).prefetch(0).weight(0).watermarks(9, 9);
    let lanes = [LaneConfig::new("").reserve(11), LaneConfig::new("a").weight(0), LaneConfig::new("a")];
    topology.queues.push(QueueSpec::new(config.lanes(lanes).visibility(Duration::ZERO).dead_letters(letters)));
    let error = topology.validate().unwrap_err();
    assert_eq!(error.faults().len(), 14, "{error}");
    assert_eq!(topology.queues[0].config.validate().unwrap_err().field(), "name", "the first one");
    // what follows from another is not said
    for config in [QueueConfig::new("q").capacity(0), QueueConfig::new("q").visibility(Duration::MAX)] {
        assert_eq!(config.faults().len(), 1, "{:?}", config.faults());
    }
}

#[test]
fn all_that_is_wrong_with_the_way_of_dead_letters_is_said() {
    let keys = "dead_letter_routing_key: 'a..b', dead_letter_exchange: nowhere, dead_letter_target: nobody";
    for text in [format!("queues:\n- {{ name: q, {keys} }}"), format!("queues:\n- {{ name: q, dlq: d }}\n- {{ name: d, {keys} }}")] {
        let error = yaml(&text).unwrap_err();
        let messages: Vec<_> = error.faults().iter().map(Fault::message).collect();
        assert_eq!(
            messages,
            [
                "routing key `a..b`, byte 2: a word is missing; words are split by single dots",
                "exchange `nowhere` is not declared",
                "dead letters have a `dead_letter_target` or a `dead_letter_exchange`, not both",
                "queue `nobody` is not declared",
            ],
        );
    }
}

#[test]
fn a_key_that_is_there_twice_hides_nothing() {
    refused(
        "queues:\n- { name: q, weight: 2, weight: 3 }\n- { name: q }\n",
        &[("the key `weight` is there twice", (2, 25), Some("weight"), None), ("queue `q` is declared twice", (3, 11), Some("q"), None)],
    );
    let error = toml("[[queues]]\nname = 'q'\nweight = 2\nweight = 3\n[[queues]]\nname = 'q'\n").unwrap_err();
    let found: Vec<_> = error.faults().iter().map(|fault| (fault.message(), fault.line())).collect();
    assert_eq!(found, [("the key `weight` is there twice", Some(4)), ("queue `q` is declared twice", Some(6))], "{error}");
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
                "`overflow` is caller-runs, allowed is any other: a queue with partitions keeps an order that its publishers would break",
                (3, 26),
                Some("caller-runs"),
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

#[test]
fn a_dead_letter_queue_that_is_written_wrong_is_met_with_any_queue_but_its_own() {
    refused(
        "queues:\n- { name: q, dlq: dedd }\n- { name: dead, max_length: 5, retention: 7d }\n- { name: dedq, dlq: dedr }",
        &[
            ("queue `dedd` is not declared", (2, 19), Some("dedd"), Some("dead")),
            ("queue `dedr` is not declared", (4, 22), Some("dedr"), None),
        ],
    );
}

#[test]
fn a_type_that_is_written_wrong_says_nothing_of_keys() {
    refused(
        "exchanges: [{ name: x, type: fanuot, bindings: [{ queue: q }] }]\nqueues: [{ name: q }]",
        &[("`type` is `fanuot`, expected `direct`, `topic` or `fanout`", (1, 30), Some("fanuot"), Some("fanout"))],
    );
    refused(
        "queues: [{ name: q, discipline: strct, max_wait: 1s }]",
        &[("`discipline` is `strct`, expected `weighted` or `strict`", (1, 33), Some("strct"), Some("strict"))],
    );
}

#[test]
fn lanes_that_cannot_be_read_say_nothing_of_bindings() {
    for (lanes, message) in [
        ("high", "`lanes` is a single value, expected a list"),
        ("{}", "`lanes` is a table, expected a list"),
        ("[]", "`lanes` is not right: lanes is 0, allowed is 1..=8"),
        ("[a, a]", "lane `a` is there twice"),
        ("[[], b]", "a lane is a list, expected a table"),
        ("[a, b, c, d, e, f, g, h, i]", "`lanes` is not right: lanes is 9, allowed is 1..=8"),
    ] {
        let bindings = "[{ routing_key: a, queue: q, priority: 1 }, { routing_key: b, queue: q, lane: low }]";
        let text = format!("exchanges: [{{ name: x, type: topic, bindings: {bindings} }}]\nqueues: [{{ name: q, lanes: {lanes} }}]");
        let error = yaml(&text).unwrap_err();
        let messages: Vec<&str> = error.faults().iter().map(Fault::message).collect();
        assert_eq!(messages, [message], "{error}");
    }
}

#[test]
fn what_is_no_name_of_a_dead_letter_queue_makes_none() {
    let (first, second) =
        ("`t` is the `dlq` of a queue and has a `dlq` itself, `u`", "`u` is the `dlq` of a queue and has a `dlq` itself, `t`");
    let text =
        "queues:\n- { name: q }\n- { name: t, dlq: u }\n- { name: u, dlq: t }\n- { name: v, dlq: w }\n- { name: w, dlq: x }\n- { name: x }";
    let third = "`w` is the `dlq` of a queue and has a `dlq` itself, `x`";
    refused(text, &[(first, (3, 19), Some("u"), None), (second, (4, 19), Some("t"), None), (third, (6, 19), Some("x"), None)]);
    refused(
        "queues: [{ name: q, dlq: }, { prefetch: 3 }]",
        &[("`dlq` is nothing, expected a text", (1, 24), None, None), ("a queue has no `name`", (1, 29), None, None)],
    );
    let error = toml("[[queues]]\nname = 'q'\ndlq = 7\n[[queues]]\nname = '7'\nprefetch = 3\n").unwrap_err();
    let messages: Vec<&str> = error.faults().iter().map(Fault::message).collect();
    assert_eq!(messages, ["`dlq` is 7, expected a text"]);
    let mut topology = full();
    topology.dead_letter_queues.push(DeadLetterQueueSpec::new("spare", DeadLetterConfig::new()));
    let error = topology.validate().unwrap_err().to_string();
    assert!(error.starts_with("error: no queue has `spare` as its `dlq`\n --> queue `spare`, name"), "{error}");
}

/// Lanes that nobody named have their numbers for names, once a binding asks for more than one.
#[test]
fn lanes_by_number_and_by_name() {
    let text = |lane: &str| {
        format!(
            "exchanges: [{{ name: x, type: topic, bindings: [{{ routing_key: a, queue: q, lane: {lane} }}, {{ routing_key: b, queue: q, priority: 1 }}] }}]\n\
             queues: [{{ name: q }}]"
        )
    };
    let topology = yaml(&text("1")).unwrap();
    assert_eq!(topology.exchanges[0].bindings.iter().map(|binding| binding.lane).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(yaml(&text("'0'")).unwrap().exchanges[0].bindings[0].lane, 0);
    let error = refused(&text("default"), &[("queue `q` has no lane `default`", (1, 82), Some("default"), None)]);
    assert!(error.to_string().contains("its lanes are `0`, `1`"), "{error}");
    yaml(&text("default").replace("priority: 1", "priority: 0")).unwrap();
    refused(
        &text("'7'").replace("priority: 1", "priority: 8"),
        &[("lane 8 of queue `q`, which has lanes 0..8", (1, 127), Some("8"), None)],
    );
}

#[test]
fn keys_of_dead_letters_are_kept_where_it_is_said() {
    refused(
        "queues:\n- { name: q, dlq: d, keep_routing_keys: true }\n- { name: d, keep_routing_key: 1, keep_routing_keys: 1 }\n- { name: r, dead_letters: { keeps_routing_keys: true } }",
        &[
            (
                "`keep_routing_keys` is a setting of dead-letter queues, and no queue has `q` as its `dlq`",
                (2, 22),
                Some("keep_routing_keys"),
                None,
            ),
            ("a queue has no key `keep_routing_key`", (3, 14), Some("keep_routing_key"), Some("keep_routing_keys")),
            ("`keep_routing_keys` is `1`, expected `true` or `false`", (3, 54), Some("1"), None),
            ("`dead_letters` has no key `keeps_routing_keys`", (4, 30), Some("keeps_routing_keys"), Some("keep_routing_keys")),
        ],
    );
}

#[test]
fn help_names_each_key_once() {
    let error = yaml("queues: [{ name: q, dlq: d }, { name: d, colour: red }]").unwrap_err().to_string();
    assert_eq!(error.matches("`max_length`").count(), 1, "{error}");
}
