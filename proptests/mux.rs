//! Handlers by kind, against a search through the list of names.

#![allow(clippy::disallowed_types, reason = "a user of the crate, not the crate")]

use proptest::prelude::*;
use ringmill::clock::ManualClock;
use ringmill::{Context, Mux, QueueConfig, Runtime};
use std::sync::{Arc, Mutex};

/// Few letters, one of them of two bytes whose first it shares with another, so that names begin one another and part in the middle of a character.
fn name(least: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", ":", "\u{e8}", "\u{e9}"]), least..7).prop_map(|letters| letters.concat())
}

/// Which handler ran: an exact name's, a prefix's, or the fallback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By<'a> {
    Exact(&'a str),
    Prefix(&'a str),
    Fallback,
}

fn naive<'a>(exact: &'a [String], prefixes: &'a [String], kind: &str) -> By<'a> {
    let longest = prefixes.iter().filter(|prefix| kind.starts_with(*prefix)).max_by_key(|prefix| prefix.len());
    match exact.iter().find(|name| *name == kind) {
        Some(name) => By::Exact(name),
        None => longest.map_or(By::Fallback, |prefix| By::Prefix(prefix)),
    }
}

type Ran = Arc<Mutex<Vec<String>>>;

/// A handler that notes which it is.
fn noting(ran: &Ran, by: By<'_>) -> impl Fn(&String, &Context<String>) + use<> {
    let (ran, by) = (Arc::clone(ran), format!("{by:?}"));
    move |_, _| ran.lock().unwrap().push(by.clone())
}

proptest! {
    #[test]
    fn a_mux_dispatches_as_the_naive_search_does(
        exact in prop::collection::btree_set(name(1), 0..8),
        prefixes in prop::collection::btree_set(name(1), 0..12),
        kinds in prop::collection::vec(name(0), 1..20),
    ) {
        let (exact, prefixes): (Vec<_>, Vec<_>) = (exact.into_iter().collect(), prefixes.into_iter().collect());
        let ran = Ran::default();
        let mut mux = Mux::by(|kind: &String| kind).fallback(noting(&ran, By::Fallback)).unwrap();
        for name in &exact {
            mux = mux.on(name, noting(&ran, By::Exact(name))).unwrap();
        }
        for prefix in &prefixes {
            mux = mux.on_prefix(prefix, noting(&ran, By::Prefix(prefix))).unwrap();
        }
        let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
        let queue = builder.queue(QueueConfig::new("tasks").capacity(32), mux).unwrap();
        let runtime = builder.build().unwrap();
        let producer = queue.producer().unwrap();
        for kind in &kinds {
            producer.publish(kind.clone()).unwrap();
        }
        runtime.turn();
        let wanted: Vec<String> = kinds.iter().map(|kind| format!("{:?}", naive(&exact, &prefixes, kind))).collect();
        prop_assert_eq!(&*ran.lock().unwrap(), &wanted);
        prop_assert_eq!(queue.counts().acked, kinds.len() as u64);
    }
}
