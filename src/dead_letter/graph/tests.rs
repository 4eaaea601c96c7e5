use super::*;
use crate::dead_letter::routes::STOPS_MAX;
use crate::dead_letter::{Bindings, Bound, Exchange, shown};
use crate::routing::{BindingKey, TopicTable};

/// An exchange: its name, its alternate, and its bindings, in which `?` before a queue is a predicate.
struct Plain {
    name: &'static str,
    alternate: Option<&'static str>,
    bound: Vec<(String, String)>,
    topics: TopicTable,
}

impl Plain {
    fn exchange(&self) -> Exchange<'_> {
        Exchange { name: self.name, alternate: self.alternate, bindings: self }
    }
}

impl Bindings for Plain {
    fn get(&self, number: u32) -> Option<Bound<'_>> {
        let (key, queue) = self.bound.get(number as usize)?;
        Some(Bound { key, queue: queue.trim_start_matches('?'), guarded: queue.starts_with('?') })
    }

    fn topics(&self) -> &TopicTable {
        &self.topics
    }
}

fn exchange(
    name: &'static str,
    alternate: Option<&'static str>,
    bound: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
) -> Plain {
    let bound: Vec<(String, String)> = bound.into_iter().map(|(key, queue)| (key.into(), queue.into())).collect();
    let keys: Vec<BindingKey> = bound.iter().map(|(key, _)| BindingKey::new(key).unwrap()).collect();
    Plain { name, alternate, topics: TopicTable::new(&keys), bound }
}

fn none(name: &'static str, alternate: Option<&'static str>) -> Plain {
    exchange(name, alternate, [("", ""); 0])
}

fn routes(exchanges: &[Plain], named_max: usize) -> Routes<'_> {
    Routes::new(exchanges.iter().map(Plain::exchange).collect(), 100, named_max)
}

/// A queue that evicts: its letters go on by themselves and at once.
fn drops(name: impl Into<String>, letters: DeadLetterConfig) -> QueueConfig {
    QueueConfig::new(name).overflow(Overflow::DropOldest).dead_letters(letters)
}

fn rejects(name: impl Into<String>, letters: DeadLetterConfig) -> QueueConfig {
    QueueConfig::new(name).dead_letters(letters)
}

fn through(exchange: &str) -> DeadLetterConfig {
    DeadLetterConfig::new().exchange(exchange)
}

fn graph<'g>(queues: &'g [QueueConfig], exchanges: &'g [Plain]) -> Graph<'g> {
    Graph::new(queues.iter().map(|queue| Source::new(queue, &queue.dead_letters, true)).collect(), routes(exchanges, usize::MAX))
}

fn circle(queues: &[QueueConfig], exchanges: &[Plain]) -> Option<(String, bool)> {
    let graph = graph(queues, exchanges);
    graph.circle().map(|circle| (shown(&graph.path(&circle)), circle.by_itself))
}

fn by_itself(path: &str) -> Option<(String, bool)> {
    Some((path.to_owned(), true))
}

fn without_a_pause(path: &str) -> Option<(String, bool)> {
    Some((path.to_owned(), false))
}

#[test]
fn a_circle_begins_at_a_queue_and_names_the_exchanges() {
    let exchanges = [exchange("x", Some("y"), [("a", "?b")]), exchange("y", None, [("#", "c"), ("a", "b")])];
    let to_x = || [drops("a", through("x")), drops("c", through("x"))];
    assert_eq!(circle(&to_x(), &exchanges), by_itself("c -> x -> y -> c"));
    let keyed = |key| [drops("b", through("x").routing_key(key)), drops("c", through("x").routing_key(key))];
    assert_eq!(circle(&keyed("a"), &exchanges), by_itself("b -> x -> b"));
    assert_eq!(circle(&keyed("b"), &exchanges), by_itself("c -> x -> y -> c"));
    assert_eq!(circle(&to_x()[..1], &exchanges), None);
}

#[test]
fn without_a_pause_only_what_is_certain_makes_a_circle() {
    let to_x = |key: Option<&str>| [rejects("a", key.into_iter().fold(through("x"), DeadLetterConfig::routing_key))];
    let one = |bound: &[(&str, &str)]| exchange("x", Some("y"), bound.iter().copied());
    let rest = |queue: &str| exchange("y", None, [("#", queue)]);
    for key in [None, Some("k")] {
        assert_eq!(circle(&to_x(key), &[one(&[("#", "a")])]), without_a_pause("a -> x -> a"), "{key:?}");
        assert_eq!(circle(&to_x(key), &[one(&[("#", "a"), ("k", "b")])]), None, "{key:?}");
        assert_eq!(circle(&to_x(key), &[one(&[("#", "?a")])]), None, "{key:?}");
        assert_eq!(circle(&to_x(key), &[one(&[("#", "?a")]), rest("a")]), without_a_pause("a -> x -> y -> a"), "{key:?}");
        assert_eq!(circle(&to_x(key), &[one(&[("#", "?b")]), rest("a")]), None, "{key:?}");
        assert_eq!(circle(&to_x(key), &[one(&[("#", "a")]), rest("b")]), without_a_pause("a -> x -> a"), "{key:?}");
        assert_eq!(circle(&to_x(key), &[none("x", Some("y")), rest("a")]), without_a_pause("a -> x -> y -> a"), "{key:?}");
        assert_eq!(circle(&to_x(key), &[none("x", Some("y")), none("y", None)]), None, "{key:?}");
    }
    assert_eq!(circle(&to_x(None), &[one(&[("k", "a")])]), None, "others go nowhere");
    assert_eq!(circle(&to_x(Some("k")), &[one(&[("k", "a")])]), without_a_pause("a -> x -> a"));
}

/// More queues than are told apart, and still none that the key does not lead to.
#[test]
fn a_key_leads_to_many_queues_and_to_no_other() {
    let many = (0..50).map(|n| ("#".to_owned(), format!("?r{n}"))).chain([("a".to_owned(), "?b".to_owned())]);
    let exchanges = [exchange("x", None, many)];
    let queues = |key: &str, name: &str| [drops(name, through("x").routing_key(key))];
    assert_eq!(circle(&queues("a", "b"), &exchanges), by_itself("b -> x -> b"));
    assert_eq!(circle(&queues("c", "b"), &exchanges), None);
    assert_eq!(circle(&queues("c", "r49"), &exchanges), by_itself("r49 -> x -> r49"));
    let both = [drops("b", through("x").routing_key("c")), drops("r49", through("x").routing_key("a"))];
    assert_eq!(circle(&both, &exchanges), by_itself("r49 -> x -> r49"));
}

#[test]
fn where_a_key_leads_is_said_with_all_its_queues_or_some() {
    let many = (0..20).map(|n| ("#".to_owned(), format!("r{n}")));
    let exchanges = [
        none("w", Some("x")),
        exchange("x", None, many),
        exchange("y", None, [("k", "a"), ("#", "?b")]),
        exchange("z", Some("z"), [("k", "a")]),
    ];
    let mut routes = routes(&exchanges, 1);
    let letters = [
        through("w").routing_key("k"),
        through("y").routing_key("k"),
        through("z").routing_key("l"),
        through("nowhere"),
        DeadLetterConfig::new(),
    ];
    let several = routes.of(&letters[0]).unwrap();
    assert_eq!((several.several().unwrap().len(), several.stops.len(), several.more), (20, STOPS_MAX, true));
    let one = routes.of(&letters[1]).unwrap();
    assert_eq!((one.several(), &one.stops, one.more), (None, &BTreeSet::from([(1, "a"), (1, "b")]), false));
    assert!(routes.of(&letters[2]).unwrap().stops.is_empty(), "round and round");
    assert!(routes.of(&letters[3]).is_none() && routes.of(&letters[4]).is_none());
    assert_eq!((routes.chain("w").collect::<Vec<_>>(), routes.chain("z").count()), (vec!["w", "x"], 100));
}

/// Ten times as many queues and bindings have ten times as many nodes and ways, whatever the queues have to do with the exchange.
#[test]
fn the_graph_grows_as_queues_and_bindings_do() {
    type Bind = fn(usize) -> (String, String);
    let by_own_key: Bind = |n| (format!("a.k{n}"), format!("q{n}"));
    let by_any_key: Bind = |n| ("#".to_owned(), format!("?q{n}"));
    let by_either: Bind = |n| if n % 2 == 0 { ("#".to_owned(), format!("?q{n}")) } else { (format!("a.k{n}"), format!("?q{n}")) };
    for bind in [by_own_key, by_any_key, by_either] {
        for key in [|_| None, |_| Some("a.k0".to_owned()), |n| Some(format!("a.k{n}"))] as [fn(usize) -> Option<String>; 3] {
            let size = |count: usize| {
                let queue = |n| drops(format!("q{n}"), key(n).into_iter().fold(through("x"), DeadLetterConfig::routing_key));
                let queues: Vec<QueueConfig> = (0..count).map(queue).collect();
                let exchanges = [none("x", Some("y")), exchange("y", None, (0..count).map(bind))];
                let graph = graph(&queues, &exchanges);
                graph.nodes.len() + graph.nodes.iter().map(|node| node.ways.len()).sum::<usize>()
            };
            let (few, many) = (size(200), size(2_000));
            assert!((200..=1_000).contains(&few) && many <= 10 * few, "{few}, then {many}");
        }
    }
}
