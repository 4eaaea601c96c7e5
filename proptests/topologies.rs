//! Topologies made at random: what `validate` says of the data, a runtime says that is built from it, and that is bound once more when it runs.

use proptest::collection::vec;
use proptest::option::{of, weighted};
use proptest::prelude::*;
use proptest::sample::select;
use ringmill::clock::ManualClock;
use ringmill::topology::{BindingSpec, DeadLetterQueueSpec, ExchangeSpec, QueueSpec, Topology};
use ringmill::{Binding, Context, DeadLetterConfig, Exchange, ExchangeConfig, ExchangeKind, Overflow, QueueConfig, QueueHandle, Runtime};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Which of so many, and rarely one that there is not.
fn one_of(letter: char, count: usize) -> impl Strategy<Value = String> {
    (0..count.max(1) * 40).prop_map(move |at| format!("{letter}{}", if at == 0 { count } else { at % count.max(1) }))
}

fn letters(queues: usize, exchanges: usize) -> impl Strategy<Value = DeadLetterConfig> {
    let exchange = (one_of('x', exchanges), of(select(vec!["a", "b", "a.b", "c", "c.b"])));
    let way = prop_oneof![
        1 => Just((None, None, None)),
        1 => one_of('q', queues).prop_map(|queue| (Some(queue), None, None)),
        3 => exchange.prop_map(|(exchange, key)| (None, Some(exchange), key)),
    ];
    (way, weighted(0.25, Just(Duration::from_secs(10)))).prop_map(|((queue, exchange, key), retention)| {
        let letters = queue.into_iter().fold(DeadLetterConfig::new(), DeadLetterConfig::queue);
        let letters = key.into_iter().fold(exchange.into_iter().fold(letters, DeadLetterConfig::exchange), DeadLetterConfig::routing_key);
        retention.into_iter().fold(letters, DeadLetterConfig::retention)
    })
}

/// A queue, what keeps its letters under a name of its own, and whether it has a handler.
fn queue(number: usize, queues: usize, exchanges: usize) -> impl Strategy<Value = (QueueSpec, Option<DeadLetterQueueSpec>, bool)> {
    let overflow = prop_oneof![2 => Just(Overflow::Reject), 1 => Just(Overflow::DropOldest)];
    let settings = (overflow, weighted(0.2, Just(Duration::from_secs(5))), letters(queues, exchanges));
    (settings, any::<bool>(), prop::bool::weighted(0.25)).prop_map(move |((overflow, retention, letters), handled, apart)| {
        let config = QueueConfig::new(format!("q{number}")).capacity(2).overflow(overflow);
        // that a handler leaves nothing to a retention is not in the data
        let handled = handled && retention.is_none();
        let mut spec = QueueSpec::new(retention.into_iter().fold(config, QueueConfig::retention));
        if apart {
            spec.dlq = Some(format!("d{number}"));
            return (spec, Some(DeadLetterQueueSpec::new(format!("d{number}"), letters)), handled);
        }
        spec.config = spec.config.dead_letters(letters);
        (spec, None, handled)
    })
}

fn kind() -> impl Strategy<Value = ExchangeKind> {
    select(vec![ExchangeKind::Topic, ExchangeKind::Topic, ExchangeKind::Direct, ExchangeKind::Fanout])
}

/// A binding key, most often one that the exchange takes.
fn key(kind: ExchangeKind) -> impl Strategy<Value = &'static str> {
    let fitting = match kind {
        ExchangeKind::Topic => vec!["#", "a", "b", "a.b", "a.#", "*", "#.b", "*.b", "a.*", "#.#"],
        ExchangeKind::Direct => vec!["a", "b", "a.b"],
        _ => vec!["#"],
    };
    prop_oneof![60 => select(fitting), 1 => select(vec!["a..b", "#a", "*"])]
}

/// An exchange; its alternate is one before it, so that there is no circle of them, which a runtime cannot be told.
fn exchange(number: usize, queues: usize) -> impl Strategy<Value = ExchangeSpec> {
    let bindings = kind().prop_flat_map(move |kind| {
        let least = usize::from(kind == ExchangeKind::Fanout);
        (Just(kind), vec((key(kind), one_of('q', queues)), least..least + 4))
    });
    (bindings, of(0..number.max(1))).prop_map(move |((kind, bindings), alternate)| {
        let mut spec = ExchangeSpec::new(format!("x{number}"), kind);
        spec.alternate = alternate.filter(|_| number > 0).map(|at| format!("x{at}"));
        // a runtime takes the second of two that are the same in the place of the first
        let bindings: BTreeSet<_> = bindings.into_iter().collect();
        spec.bindings = bindings.into_iter().map(|(key, queue)| BindingSpec::new(key, queue)).collect();
        spec
    })
}

#[derive(Debug, Clone)]
struct Case {
    topology: Topology,
    handled: BTreeSet<String>,
    /// An exchange and what is bound to it when the runtime runs.
    later: Option<(usize, BindingSpec)>,
}

fn case() -> impl Strategy<Value = Case> {
    (2usize..7, 0usize..5).prop_flat_map(|(queues, exchanges)| {
        let specs: Vec<_> = (0..exchanges).map(|at| exchange(at, queues)).collect();
        let later = (any::<prop::sample::Index>(), 0..queues, select(vec!["a", "b", "a.b", "#", "*.b"]));
        ((0..queues).map(|at| queue(at, queues, exchanges)).collect::<Vec<_>>(), specs, later).prop_map(|(queues, exchanges, later)| {
            let mut topology = Topology::new();
            let mut handled = BTreeSet::new();
            for (queue, letters, has_handler) in queues {
                handled.extend(has_handler.then(|| queue.name().to_owned()));
                topology.dead_letter_queues.extend(letters);
                topology.queues.push(queue);
            }
            topology.exchanges = exchanges;
            let (at, queue, key) = later;
            let later =
                (!topology.exchanges.is_empty()).then(|| (at.index(topology.exchanges.len()), BindingSpec::new(key, format!("q{queue}"))));
            Case { topology, handled, later }
        })
    })
}

/// Whether the data is refused, but for what is only of no use: retentions that nothing falls under.
fn is_refused(topology: &Topology, about: &str) -> bool {
    let of_use = |message: &str| !message.contains("is for dead letters of other queues") && message.contains(about);
    topology.validate().is_err_and(|error| error.faults().iter().any(|fault| of_use(fault.message())))
}

type Built = (Runtime, BTreeMap<String, QueueHandle<u32>>, Vec<Exchange<u32>>);

/// A runtime, declared by hand: nothing asks `validate`. Or why there is none.
fn build(case: &Case) -> Result<Built, String> {
    let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
    let mut queues = BTreeMap::new();
    for spec in &case.topology.queues {
        let kept = case.topology.dead_letter_queues.iter().find(|kept| spec.dlq.as_ref() == Some(&kept.name));
        let config = kept.map_or(spec.config.clone(), |kept| spec.config.clone().dead_letters(kept.config.clone()));
        let handle = match case.handled.contains(spec.name()) {
            true => builder.queue(config, |_: &u32, _: &Context<u32>| ()),
            false => builder.pull_queue(config),
        };
        queues.insert(spec.name().to_owned(), handle.map_err(|error| error.to_string())?);
    }
    let mut exchanges: Vec<Exchange<u32>> = Vec::new();
    for spec in &case.topology.exchanges {
        let alternate = exchanges.iter().find(|exchange| spec.alternate.as_deref() == Some(exchange.name()));
        let config = alternate.into_iter().fold(ExchangeConfig::new(spec.name.as_str(), spec.kind), ExchangeConfig::alternate);
        let exchange = builder.exchange(config).map_err(|error| error.to_string())?;
        let binding = |spec: &BindingSpec| Some(Binding::new(spec.routing_key.as_str(), queues.get(&spec.queue)?));
        let bindings: Option<Vec<_>> = spec.bindings.iter().map(binding).collect();
        exchange.rebind(bindings.ok_or("a queue that is not there")?).map_err(|error| error.to_string())?;
        exchanges.push(exchange);
    }
    Ok((builder.build().map_err(|error| error.to_string())?, queues, exchanges))
}

proptest! {
    #[test]
    fn data_is_refused_where_a_runtime_is(case in case()) {
        let built = build(&case);
        let refused = is_refused(&case.topology, "");
        prop_assert_eq!(refused, built.is_err(), "{:?}, then {:?}", case.topology.validate(), built.err());
        let (Ok((_runtime, queues, exchanges)), Some((at, binding))) = (built, &case.later) else { return Ok(()) };
        let bound = exchanges[*at].bind(Binding::new(binding.routing_key.as_str(), &queues[&binding.queue]));
        let mut next = case.topology.clone();
        next.exchanges[*at].bindings.push(binding.clone());
        // a key that leads to several queues is looked at when the runtime is built, and not again
        let refused = ["dead letters would go in a circle", "is no binding key"].iter().any(|about| is_refused(&next, about));
        prop_assert_eq!(refused, bound.is_err(), "bound later: {:?}, then {:?}", next.validate(), bound);
    }
}
