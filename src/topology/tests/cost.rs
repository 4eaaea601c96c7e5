//! What a file costs grows as the file does, whatever its queues and exchanges have to do with each other.

use super::*;
use crate::clock::{Clock, SystemClock};
use std::fmt::Write;

/// Reads a text, and gives the faults, of which there may be none.
#[track_caller]
fn read_quickly(text: &str) -> Vec<String> {
    let clock = SystemClock::new();
    let began = clock.now();
    let messages = match yaml(text) {
        Ok(_) => Vec::new(),
        Err(error) => error.faults().iter().map(|fault| fault.message().to_owned()).collect(),
    };
    // a walk over all pairs of these takes longer
    let took = clock.now().since(began);
    assert!(took < Duration::from_secs(5), "{took:?}");
    messages
}

const MANY: usize = 3_000;

fn many(line: impl Fn(usize) -> String) -> String {
    (0..MANY).fold(String::new(), |mut text, n| {
        writeln!(text, "{}", line(n)).unwrap();
        text
    })
}

#[test]
fn many_targets_of_dead_letters() {
    let text = many(|n| format!("- {{ name: q{n}, dead_letter_target: r{n} }}\n- {{ name: r{n}, retention: 7d }}"));
    assert_eq!(read_quickly(&format!("queues:\n{text}")), [""; 0]);
    let text =
        many(|n| format!("- {{ name: q{n}, dlq: d{n} }}\n- {{ name: d{n}, dead_letter_target: r{n} }}\n- {{ name: r{n}, retention: 7d }}"));
    assert_eq!(read_quickly(&format!("queues:\n{text}")), [""; 0]);
    let row = many(|n| format!("- {{ name: q{n}, retention: 1s, dead_letter_target: q{} }}", n + 1));
    assert_eq!(
        read_quickly(&format!("queues:\n{row}- {{ name: q{MANY} }}\n")),
        ["`retention` of `q0` is for dead letters of other queues, and none go to `q0`"]
    );
}

#[test]
fn many_dead_letters_through_one_exchange() {
    let queues = |more: &str| {
        many(|n| format!("- {{ name: q{n}, retention: 1s, dead_letter_exchange: x, {} }}", more.replace("KEY", &format!("a.k{n}"))))
    };
    let bindings = many(|n| format!("  - {{ routing_key: 'a.k{n}', queue: r{} }}", n % 2));
    let exchange = format!("exchanges:\n- name: x\n  type: topic\n  bindings:\n{bindings}");
    let text = format!("queues:\n- {{ name: r0 }}\n- {{ name: r1 }}\n{}{exchange}", queues("dead_letter_routing_key: KEY"));
    let faults = read_quickly(&text);
    assert!(faults.iter().all(|fault| fault.starts_with("`retention` of `q")), "{faults:?}");
    // each to each by any key: all in one circle, or rather in many
    let bindings = many(|n| format!("  - {{ routing_key: '#', queue: q{n} }}"));
    let exchange = format!("exchanges:\n- name: x\n  type: topic\n  bindings:\n{bindings}");
    let faults = read_quickly(&format!("queues:\n{}{exchange}", queues("")));
    assert!(faults.iter().any(|fault| fault == "dead letters would go in a circle by themselves: q0 -> x -> q0"), "{faults:?}");
    let faults = read_quickly(&format!("queues:\n{}{exchange}", queues("dead_letter_routing_key: KEY")));
    assert!(faults[0].starts_with("`x` leads dead letters to `q0`, `q1`, `q"), "{faults:?}");
    assert!(faults[0].ends_with(" and others"), "{faults:?}");
}

#[test]
fn many_alternates() {
    let row = |last: &str| {
        many(|n| {
            format!("- {{ name: x{n}, type: direct, alternate: {} }}", if n % 50 == 49 { last.to_owned() } else { format!("x{}", n + 1) })
        })
    };
    let queues = |more: &str| many(|n| format!("- {{ name: q{n}, dead_letter_exchange: x{n}{more} }}"));
    let last = "- { name: last, type: topic, bindings: [{ routing_key: '#', queue: r }] }\nqueues:\n- { name: r, retention: 1d }\n";
    for more in ["", ", dead_letter_routing_key: k"] {
        assert_eq!(read_quickly(&format!("exchanges:\n{}{last}{}", row("last"), queues(more))), [""; 0]);
    }
}

#[test]
fn a_circle_through_alternates_is_named_from_a_queue_on() {
    let text = "
exchanges:
- { name: x, type: topic, bindings: [{ routing_key: a, queue: other }], alternate: y }
- { name: y, type: topic, bindings: [{ routing_key: b, queue: q }, { routing_key: '#', queue: last }] }
queues:
- { name: first, dead_letter_exchange: x, overflow: drop-oldest }
- { name: q, dead_letter_exchange: x, overflow: drop-oldest }
- { name: other }
- { name: last }";
    assert_eq!(read_quickly(text), ["dead letters would go in a circle by themselves: q -> x -> y -> q"]);
}

/// One lane more than that is no number.
#[test]
fn a_priority_beyond_all_numbers_is_refused() {
    let text = "
exchanges: [{ name: x, type: topic, bindings: [{ routing_key: a, queue: q, priority: 18446744073709551615 }] }]
queues: [{ name: q }]";
    let faults = read_quickly(text);
    assert!(faults.len() == 1 && faults[0].starts_with("lane 18446744073709551615 of queue `q`"), "{faults:?}");
}
