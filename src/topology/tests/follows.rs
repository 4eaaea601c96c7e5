//! What is only wrong because something else could not be read is not said; what is wrong in any case is.

use super::bad_input::refused;
use super::*;

fn messages(text: &str) -> Vec<String> {
    yaml(text).expect_err("must be refused").faults().iter().map(|fault| fault.message().to_owned()).collect()
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
