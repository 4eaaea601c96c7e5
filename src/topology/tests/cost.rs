//! What a file costs grows as the file does, whatever its queues and exchanges have to do with each other.

use super::*;
use crate::tests::growth::grows_no_faster_than_its_size;
use std::fmt::Write;

/// The faults of a text, of which there may be none.
fn messages(text: &str) -> Vec<String> {
    match yaml(text) {
        Ok(_) => Vec::new(),
        Err(error) => error.faults().iter().map(|fault| fault.message().to_owned()).collect(),
    }
}

const MANY: usize = 3_000;

/// Reads the text of [`MANY`] things and of a tenth as many, and gives the faults of the former.
#[track_caller]
fn read_quickly(text: impl Fn(usize) -> String) -> Vec<String> {
    let mut found = Vec::new();
    grows_no_faster_than_its_size(MANY, text, |text| found = messages(&text));
    found
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut text, n| {
        writeln!(text, "{}", line(n)).unwrap();
        text
    })
}

#[test]
fn many_targets_of_dead_letters() {
    let text = |line: fn(usize) -> String| move |count| format!("queues:\n{}", lines(count, line));
    let targets = text(|n| format!("- {{ name: q{n}, dead_letter_target: r{n} }}\n- {{ name: r{n}, retention: 7d }}"));
    assert_eq!(read_quickly(targets), [""; 0]);
    let kept =
        text(|n| format!("- {{ name: q{n}, dlq: d{n} }}\n- {{ name: d{n}, dead_letter_target: r{n} }}\n- {{ name: r{n}, retention: 7d }}"));
    assert_eq!(read_quickly(kept), [""; 0]);
    let row = text(|n| format!("- {{ name: q{n}, retention: 1s, dead_letter_target: q{} }}", n + 1));
    assert_eq!(
        read_quickly(|count| format!("{}- {{ name: q{count} }}\n", row(count))),
        ["`retention` of `q0` is for dead letters of other queues, and none go to `q0`"]
    );
}

#[test]
fn many_dead_letters_through_one_exchange() {
    let text = |letters: &'static str, binding: fn(usize) -> String| {
        move |count| {
            let key = |n| letters.replace("KEY", &format!("a.k{n}"));
            let queues = lines(count, |n| format!("- {{ name: q{n}, retention: 1s, dead_letter_exchange: x, {} }}", key(n)));
            let bindings = lines(count, |n| format!("  - {}", binding(n)));
            format!("queues:\n- {{ name: r0 }}\n- {{ name: r1 }}\n{queues}exchanges:\n- name: x\n  type: topic\n  bindings:\n{bindings}")
        }
    };
    let by_key = "dead_letter_routing_key: KEY";
    let faults = read_quickly(text(by_key, |n| format!("{{ routing_key: 'a.k{n}', queue: r{} }}", n % 2)));
    assert!(faults.iter().all(|fault| fault.starts_with("`retention` of `q")), "{faults:?}");
    // each to each by any key: all in one circle, or rather in many
    let to_each = |n| format!("{{ routing_key: '#', queue: q{n} }}");
    let faults = read_quickly(text("", to_each));
    assert!(faults.iter().any(|fault| fault == "dead letters would go in a circle by themselves: q0 -> x -> q0"), "{faults:?}");
    let faults = read_quickly(text(by_key, to_each));
    assert!(faults[0].starts_with("`x` leads dead letters to `q0`, `q1`, `q"), "{faults:?}");
    assert!(faults[0].ends_with(" and others"), "{faults:?}");
}

#[test]
fn many_alternates() {
    for more in ["", ", dead_letter_routing_key: k"] {
        let text = |count| {
            let next = |n| if n % 50 == 49 || n + 1 == count { "last".to_owned() } else { format!("x{}", n + 1) };
            let row = lines(count, |n| format!("- {{ name: x{n}, type: direct, alternate: {} }}", next(n)));
            let last = "- { name: last, type: topic, bindings: [{ routing_key: '#', queue: r }] }\nqueues:\n- { name: r, retention: 1d }\n";
            let queues = lines(count, |n| format!("- {{ name: q{n}, dead_letter_exchange: x{n}{more} }}"));
            format!("exchanges:\n{row}{last}{queues}")
        };
        assert_eq!(read_quickly(text), [""; 0]);
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
    assert_eq!(messages(text), ["dead letters would go in a circle by themselves: q -> x -> y -> q"]);
}

/// One lane more than that is no number.
#[test]
fn a_priority_beyond_all_numbers_is_refused() {
    let text = "
exchanges: [{ name: x, type: topic, bindings: [{ routing_key: a, queue: q, priority: 18446744073709551615 }] }]
queues: [{ name: q }]";
    let faults = messages(text);
    assert!(faults.len() == 1 && faults[0].starts_with("lane 18446744073709551615 of queue `q`"), "{faults:?}");
}
