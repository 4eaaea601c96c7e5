//! What is only wrong because something else could not be read is not said; what is wrong in any case is.

use super::bad_input::refused;
use super::*;

fn messages(text: &str) -> Vec<String> {
    yaml(text).expect_err("must be refused").faults().iter().map(|fault| fault.message().to_owned()).collect()
}

#[test]
fn a_pause_that_cannot_be_read_makes_no_circle() {
    let pair = |more: &str| format!("queues:\n- {{ name: a, dead_letter_target: b, {more} }}\n- {{ name: b, dead_letter_target: a }}\n");
    for more in [
        "dead_letters: { retention: 5 min }",
        "dead_letters: { retention: 0s }",
        "dead_letters: { retenton: 5m }",
        "dead_letters: 5m",
        "retenton: 5m",
        "retention: 0s",
        "dlq: []",
    ] {
        let found = messages(&pair(more));
        assert_eq!(found.iter().filter(|message| message.contains("circle")).count(), 0, "{more}: {found:?}");
        assert_eq!(found.len(), 1 + usize::from(more.starts_with("dlq")), "{more}: {found:?}");
    }
    let text =
        "[[queues]]\nname='a'\ndead_letter_target='b'\n[queues.dead_letters]\nretention=5\n[[queues]]\nname='b'\ndead_letter_target='a'\n";
    assert_eq!(toml(text).unwrap_err().faults().len(), 1);
    // in the list that keeps them, and in an exchange on the way
    let text = "
queues: [{ name: a, dlq: d }, { name: d, retention: 5, dead_letter_exchange: x }]
exchanges: [{ name: x, type: fanout, bindings: [{ queue: a }] }]";
    assert_eq!(messages(text), ["`retention` is `5`, which is no duration"]);
    let text = "
queues: [{ name: a, dead_letter_exchange: x }]
exchanges: [{ name: x, type: topic, bindings: [{ routing_key: [b], queue: a }] }]";
    assert_eq!(messages(text).len(), 1);
    // what has no part in it is no excuse
    for more in ["visibility: 0s", "dead_letters: { retention: 1m }, weight: none"] {
        let circles = messages(&pair(more)).iter().filter(|message| message.contains("circle")).count();
        assert_eq!(circles, usize::from(more.starts_with('v')), "{more}");
    }
}

#[test]
fn settings_are_not_compared_with_what_cannot_be_read() {
    let count = |settings: &str| messages(&format!("queues: [{{ name: q, {settings} }}]")).len();
    for one in [
        "visibility: 0s, max_lease: 5s",
        "visibilty: 1s, max_lease: 5s",
        "visibility: soon, max_lease: 5s",
        "max_lenght: 5000, lanes: [{ name: a, reserve: 4000 }]",
        "max_length: many, lanes: [{ name: a, reserve: 4000 }]",
    ] {
        assert_eq!(count(one), 1, "{one}");
    }
    for two in [
        "partitions: 3, overflow: caller-runs",
        "partitions: { count: 0 }, overflow: caller-runs",
        "weight: 0, max_lease: 5s",
        "max_length: 5, lanes: [{ name: a, reserve: 4000 }], visibility: 0s",
    ] {
        assert_eq!(count(two), 2, "{two}");
    }
}

#[test]
fn a_way_that_cannot_be_read_may_have_led_here() {
    let text = |more: &str| format!("queues: [{{ name: a, {more} }}, {{ name: b, retention: 1m }}]");
    for more in ["dead_letter_target: []", "dead_letter_tagret: b", "dead_letter_target: bb"] {
        assert_eq!(messages(&text(more)).len(), 1, "{more}");
    }
    assert_eq!(messages(&text("weight: 0")).len(), 2);
}

#[test]
fn what_takes_everything_leaves_nothing_to_its_alternate() {
    let text = "
queues: [{ name: src, overflow: drop-oldest, dead_letter_exchange: x }, { name: a }, { name: b }]
exchanges:
- { name: x, type: topic, alternate: y, bindings: [{ routing_key: '#', queue: a }, { routing_key: foo, queue: b }] }
- { name: y, type: topic, bindings: [{ routing_key: '#', queue: src }] }";
    let topology = yaml(text).unwrap();
    let mut builder = Runtime::builder();
    topology.declare_pull::<u32>(&mut builder).unwrap();
    builder.build().unwrap();
    assert_eq!(messages(&text.replace("'#', queue: a", "'a', queue: a")).len(), 1);
}

#[test]
fn a_queue_that_every_key_leads_to_is_known_through_alternates() {
    let text = "
queues: [{ name: q1, dead_letter_exchange: x0 }, { name: other }]
exchanges:
- { name: x0, type: topic, alternate: x1, bindings: [{ routing_key: a.b, queue: q1 }] }
- { name: x1, type: topic, bindings: [{ routing_key: '#', queue: q1 }] }";
    let error = refused(text, &[("dead letters would go in a circle without a pause: q1 -> x0 -> q1", (2, 44), Some("x0"), None)]);
    assert_eq!(error.faults().len(), 1);
    for good in [text.replace("a.b, queue: q1", "a.b, queue: other"), text.replace("'#', queue: q1", "'b', queue: q1")] {
        let mut builder = Runtime::builder();
        yaml(&good).unwrap().declare_pull::<u32>(&mut builder).unwrap();
        builder.build().unwrap();
    }
}

#[test]
fn every_circle_through_a_queue_is_said() {
    let circles = |text: &str| {
        let of = |message: &String| message.split(": ").nth(1).unwrap_or_default().to_owned();
        let mut found: Vec<String> = messages(text).iter().map(of).collect();
        found.sort();
        found
    };
    let text = "
queues:
- { name: a, overflow: drop-oldest, dead_letter_exchange: x }
- { name: b, overflow: drop-oldest, dead_letter_target: a }
- { name: c, overflow: drop-oldest, dead_letter_target: a }
exchanges: [{ name: x, type: topic, bindings: [{ routing_key: b, queue: b }, { routing_key: c, queue: c }] }]";
    assert_eq!(circles(text), ["a -> x -> b -> a", "a -> x -> c -> a"]);
    // where what they share is the way into the queue
    let text = "
queues:
- { name: a, overflow: drop-oldest, dead_letter_exchange: y }
- { name: b, overflow: drop-oldest, dead_letter_exchange: x }
- { name: c, overflow: drop-oldest, dead_letter_exchange: x }
exchanges:
- { name: y, type: topic, bindings: [{ routing_key: b, queue: b }, { routing_key: c, queue: c }] }
- { name: x, type: topic, bindings: [{ routing_key: a, queue: a }] }";
    assert_eq!(circles(text).len(), 2);
}

#[test]
fn of_a_long_circle_the_middle_is_left_out() {
    let queues: Vec<String> = (0..5_000).map(|n| format!("- {{ name: q{n}, dead_letter_target: q{} }}\n", (n + 1) % 5_000)).collect();
    let error = yaml(&format!("queues:\n{}", queues.concat())).unwrap_err();
    let circle = "q0 -> q1 -> q2 -> q3 -> (4993 more) -> q4997 -> q4998 -> q4999 -> q0";
    assert_eq!(error.faults()[0].message(), format!("dead letters would go in a circle without a pause: {circle}"));
    assert!(error.to_string().len() < 1_000);
}

#[test]
fn a_completion_has_the_lanes_that_bindings_name() {
    let bindings = [
        "{ routing_key: a, queue: mails, lane: high }",
        "{ routing_key: b, queue: mails, lane: 'on' }",
        "{ routing_key: c, queue: mails, lane: high }",
        "{ routing_key: d, queue: mails, priority: 2 }",
    ];
    for (count, lanes) in [(1, "[high]"), (3, "[high, \"on\"]"), (4, "[high, \"on\", \"2\"]")] {
        let row = format!("- {{ name: mails, lanes: {lanes} }}");
        let text = format!(
            "exchanges: [{{ name: x, type: topic, bindings: [{}] }}]\nqueues:\n- {{ name: other }}\n",
            bindings[..count].join(", ")
        );
        let error = yaml(&text).unwrap_err();
        assert_eq!(error.completion().unwrap(), format!("add to `queues`:\n    {row}"));
        yaml(&format!("{text}{row}")).unwrap();
    }
    let text = "[[exchanges]]\nname = 'x'\ntype = 'fanout'\nbindings = [{ queue = 'mails', lane = 'high' }]\n[[queues]]\nname = 'other'\n";
    let completion = toml(text).unwrap_err().completion().unwrap();
    let row = "[[queues]]\nname = \"mails\"\nlanes = [\"high\"]";
    assert_eq!(completion, format!("add to `queues`:\n    {}", row.replace('\n', "\n    ")));
    toml(&format!("{text}{row}")).unwrap();
}
