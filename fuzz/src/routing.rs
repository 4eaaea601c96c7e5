//! Binding keys and routing keys beside the naive matcher; and any bytes at all as a key.

use crate::bytes::Bytes;
use crate::faulty;
use ringmill::routing::{BindingKey, RoutingKey, TopicTable, Walk};

#[path = "../../proptests/routing/naive.rs"]
mod naive;

use naive::naive;

const BINDINGS_MAX: u64 = 24;
/// The naive matcher takes exponential time in the `#`s of a binding key.
const WORDS_MAX: u64 = 7;

pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    if bytes.flag() {
        return anything(bytes.0);
    }
    let words = ["a", "b", "c", "longer-than-eight", "longer-than-eighty", "\u{e9}", "#", "*"];
    let texts = |bytes: &mut Bytes<'_>, words: &[&'static str]| {
        (0..=bytes.below(WORDS_MAX)).map(|_| bytes.one_of(words)).collect::<Vec<_>>().join(".")
    };
    let bindings: Vec<String> = (0..bytes.below(BINDINGS_MAX)).map(|_| texts(&mut bytes, &words)).collect();
    let compiled: Vec<BindingKey> = bindings.iter().map(|text| BindingKey::new(text).expect("whole words")).collect();
    let table = TopicTable::new(&compiled);
    let mut walk = Walk::new();
    loop {
        let text = texts(&mut bytes, &words[..6]);
        let key = RoutingKey::new(&text).expect("words without wildcards");
        let mut found = Vec::new();
        table.matches(key, &mut walk, |binding| found.push(binding as usize));
        found.sort_unstable();
        // the lie: a key of six words does not fit a binding key of two `#`
        let lie = |at: &usize| faulty() && text.matches('.').count() == 5 && bindings[*at].matches('#').count() == 2;
        let wanted: Vec<usize> = (0..bindings.len()).filter(|at| naive(&bindings[*at], &text) && !lie(at)).collect();
        assert_eq!(found, wanted, "{text} against {bindings:?}");
        let alone: Vec<usize> = (0..bindings.len()).filter(|&at| compiled[at].matches(key)).collect();
        assert_eq!(alone, wanted, "one by one: {text} against {bindings:?}");
        if bytes.is_empty() {
            break;
        }
    }
}

/// It is taken or refused at a place inside of it.
fn anything(bytes: &[u8]) {
    match RoutingKey::from_bytes(bytes) {
        Ok(key) => {
            let binding = BindingKey::new(key.as_str()).expect("a routing key is a binding key");
            assert!(binding.is_literal() && binding.matches(key));
        }
        Err(error) => {
            assert!(error.position() <= bytes.len());
            assert!(!error.to_string().is_empty());
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(binding) = BindingKey::new(text)
    {
        let _ = binding.matches(RoutingKey::new("a.b").expect("a key"));
    }
}
