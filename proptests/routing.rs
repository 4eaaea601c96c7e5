//! Topic matching against a naive matcher, and the table of an exchange against a plain list of bindings.

use proptest::prelude::*;
use ringmill::exchange::{Binding, Finder, Row, Table, Target};
use ringmill::routing::{BindingKey, Hop, RoutingKey, TopicTable, Walk};
use std::collections::BTreeMap;
use std::sync::Arc;

mod naive;

use naive::naive;

/// Few words, so that things match.
fn word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c", "longer-than-eight", "longer-than-eighty"])
}

fn key() -> impl Strategy<Value = String> {
    prop::collection::vec(word(), 1..8).prop_map(|words| words.join("."))
}

fn binding() -> impl Strategy<Value = String> {
    let pattern = prop_oneof![4 => word(), 2 => Just("*"), 3 => Just("#")];
    prop::collection::vec(pattern, 1..7).prop_map(|patterns| patterns.join("."))
}

#[derive(Debug, Clone)]
struct Queue(String);

impl Target for Queue {
    fn name(&self) -> &str {
        &self.0
    }
}

/// A guard that says its answer.
type Guard = bool;

fn bound() -> impl Strategy<Value = (String, u8, u8, Option<Guard>)> {
    (binding(), 0u8..4, 0u8..3, prop::option::weighted(0.3, any::<bool>()))
}

proptest! {
    #[test]
    fn a_table_matches_as_the_naive_matcher_does(bindings in prop::collection::vec(binding(), 0..60), keys in prop::collection::vec(key(), 1..12)) {
        let compiled: Vec<BindingKey> = bindings.iter().map(|text| BindingKey::new(text).unwrap()).collect();
        let table = TopicTable::new(&compiled);
        let mut walk = Walk::new();
        for text in &keys {
            let key = RoutingKey::new(text).unwrap();
            let mut found = Vec::new();
            table.matches(key, &mut walk, |binding| found.push(binding as usize));
            found.sort_unstable();
            let wanted: Vec<usize> = (0..bindings.len()).filter(|&at| naive(&bindings[at], text)).collect();
            prop_assert_eq!(&found, &wanted, "{}", text);
            let alone: Vec<usize> = (0..bindings.len()).filter(|&at| compiled[at].matches(key)).collect();
            prop_assert_eq!(alone, wanted, "one by one: {}", text);
        }
    }

    /// Each queue once, in the order of names, in the most urgent lane that a binding with a consenting guard gives it; found by key as by row.
    #[test]
    fn a_job_goes_to_each_queue_once_in_its_most_urgent_lane(bindings in prop::collection::vec(bound(), 0..40), text in key()) {
        let mut wanted: BTreeMap<String, u8> = BTreeMap::new();
        for (binding, queue, lane, guard) in &bindings {
            if naive(binding, &text) && guard.unwrap_or(true) {
                let best = wanted.entry(format!("q{queue}")).or_insert(*lane);
                *best = (*best).min(*lane);
            }
        }
        let bindings = bindings.iter().map(|(key, queue, lane, guard)| {
            let target = Queue(format!("q{queue}"));
            Arc::new(Binding { key: BindingKey::new(key).unwrap(), target, lane: *lane, guard: guard.map(Arc::new) })
        });
        let table: Table<Queue, Guard> = Table::new(bindings.collect());
        let key = RoutingKey::new(&text).unwrap();
        let mut finder = Finder::new();
        let named = |hops: &[Hop]| hops.iter().map(|hop| (table.targets()[hop.target as usize].0.clone(), hop.lane)).collect::<Vec<_>>();
        let wanted: Vec<(String, u8)> = wanted.into_iter().collect();

        table.find(key, &mut finder, |guard| *guard);
        prop_assert_eq!(&named(finder.hops()), &wanted);
        let by_row = match table.row(key, &mut finder) {
            Row::Nowhere => Vec::new(),
            Row::One(hop) => named(&[hop]),
            Row::Several(hops) => named(&hops),
            Row::Guarded(bindings) => {
                table.choose(&bindings, &mut finder, |guard| *guard);
                named(finder.hops())
            }
        };
        prop_assert_eq!(by_row, wanted);
    }

    /// Whatever it is, it is taken or refused at a place inside of it; what is taken has no word that a binding key would read as a pattern.
    #[test]
    fn any_text_is_a_key_or_an_error(bytes in prop::collection::vec(prop_oneof![4 => any::<u8>(), 2 => Just(b'.'), 1 => Just(b'*'), 1 => Just(b'#'), 8 => b'a'..b'e'], 0..300)) {
        match RoutingKey::from_bytes(&bytes) {
            Ok(key) => {
                let binding = BindingKey::new(key.as_str()).unwrap();
                prop_assert!(binding.is_literal() && binding.matches(key));
            }
            Err(error) => prop_assert!(error.position() <= bytes.len() && !error.to_string().is_empty()),
        }
    }
}
