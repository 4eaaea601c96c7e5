//! What is a key, what is none, and what matches what.

use super::{BindingKey, Hop, KeyFault, RoutingKey, TargetSet, TopicTable, Walk};
use crate::limits::{KEY_BYTES_MAX, KEY_WORDS_MAX};

fn words(count: usize) -> String {
    vec!["w"; count].join(".")
}

/// What is wrong with a key of either kind, and where.
#[test]
fn a_bad_key_is_refused_with_its_place_and_reason() {
    let too_long = "x".repeat(KEY_BYTES_MAX + 1);
    let too_many = words(KEY_WORDS_MAX + 1);
    let cases: [(&str, KeyFault, usize); 11] = [
        ("", KeyFault::Empty, 0),
        (".", KeyFault::EmptyWord, 0),
        (".a", KeyFault::EmptyWord, 0),
        ("a.", KeyFault::EmptyWord, 2),
        ("a..b", KeyFault::EmptyWord, 2),
        ("a.b...", KeyFault::EmptyWord, 4),
        (&too_long, KeyFault::TooLong { bytes: KEY_BYTES_MAX + 1 }, KEY_BYTES_MAX),
        (&too_many, KeyFault::TooManyWords, 2 * KEY_WORDS_MAX),
        ("a\nb", KeyFault::Control('\n'), 1),
        ("a.\0", KeyFault::Control('\0'), 2),
        ("\u{7f}", KeyFault::Control('\u{7f}'), 0),
    ];
    for (text, fault, position) in cases {
        for error in [RoutingKey::new(text).unwrap_err(), BindingKey::new(text).unwrap_err()] {
            assert_eq!((error.fault(), error.position()), (&fault, position), "{text:?}");
        }
    }
}

#[test]
fn wildcards_are_for_binding_keys_and_stand_alone_there() {
    for (text, c, position) in [("*", '*', 0), ("a.#", '#', 2), ("a*", '*', 1)] {
        let error = RoutingKey::new(text).unwrap_err();
        assert_eq!((error.fault(), error.position()), (&KeyFault::Wildcard(c), position), "{text:?}");
    }
    for (text, c, position) in [("a*", '*', 1), ("*a", '*', 0), ("x.a#b", '#', 3), ("**", '*', 0), ("#*", '#', 0), ("a.##", '#', 2)] {
        let error = BindingKey::new(text).unwrap_err();
        assert_eq!((error.fault(), error.position()), (&KeyFault::WildcardInWord(c), position), "{text:?}");
    }
    for text in ["*", "#", "*.#", "#.a.*", "a.*.b"] {
        assert!(BindingKey::new(text).is_ok_and(|key| !key.is_literal()), "{text:?}");
    }
}

#[test]
fn bytes_that_are_no_utf_8_are_refused_where_they_begin() {
    for error in [RoutingKey::from_bytes(b"ab.\xFFc").unwrap_err(), BindingKey::from_bytes(b"ab.\xFFc").unwrap_err()] {
        assert_eq!((error.fault(), error.position()), (&KeyFault::NotUtf8, 3));
    }
    assert_eq!(RoutingKey::from_bytes("größe.5".as_bytes()).unwrap().as_str(), "größe.5");
}

#[test]
fn the_limits_themselves_are_allowed() {
    assert!(RoutingKey::new(&"x".repeat(KEY_BYTES_MAX)).is_ok());
    assert_eq!(RoutingKey::new(&words(KEY_WORDS_MAX)).unwrap().words().count(), KEY_WORDS_MAX);
    assert!(BindingKey::new(&vec!["#"; KEY_WORDS_MAX].join(".")).is_ok());
}

#[test]
fn an_error_shows_the_key_where_and_why_and_not_a_book() {
    assert_eq!(RoutingKey::new("a.#").unwrap_err().to_string(), "routing key `a.#`, byte 2: `#` is for binding keys");
    assert_eq!(
        BindingKey::new("a..b").unwrap_err().to_string(),
        "binding key `a..b`, byte 2: a word is missing; words are split by single dots"
    );
    assert_eq!(RoutingKey::new("a\n").unwrap_err().to_string(), "routing key `a\\n`, byte 1: the control character 0x0a");
    let long = RoutingKey::new(&"ä".repeat(10_000)).unwrap_err().to_string();
    assert!(long.contains("it has 20000 bytes, allowed are 1..=255") && long.len() < 300, "{long}");
}

/// What the bindings of a table match, by the table and one by one.
fn matching(bindings: &[&str], key: &str) -> Vec<u32> {
    let bindings: Vec<BindingKey> = bindings.iter().map(|text| BindingKey::new(text).unwrap()).collect();
    let key = RoutingKey::new(key).unwrap();
    let mut found = Vec::new();
    TopicTable::new(&bindings).matches(key, &mut Walk::new(), |binding| found.push(binding));
    found.sort_unstable();
    let one_by_one: Vec<u32> = (0..).zip(&bindings).filter(|(_, binding)| binding.matches(key)).map(|(at, _)| at).collect();
    assert_eq!(found, one_by_one, "{key}");
    found
}

#[test]
fn a_star_is_one_word_and_a_hash_is_zero_or_more_anywhere() {
    let cases: [(&str, &[&str], &[&str]); 12] = [
        ("lazy.#", &["lazy", "lazy.a", "lazy.a.b"], &["lazier", "a.lazy"]),
        ("#.lazy", &["lazy", "a.lazy", "a.b.lazy", "lazy.lazy"], &["lazy.a"]),
        ("audit.*", &["audit.a"], &["audit", "audit.a.b"]),
        ("*.*", &["a.b"], &["a", "a.b.c"]),
        ("#", &["a", "a.b.c"], &[]),
        ("#.#", &["a", "a.b.c"], &[]),
        ("#.*", &["a", "a.b"], &[]),
        ("*.#", &["a", "a.b"], &[]),
        ("#.*.*.#", &["a.b", "a.b.c"], &["a"]),
        ("a.#.b", &["a.b", "a.x.b", "a.b.b"], &["a", "b", "a.b.c"]),
        ("a.#.b.#.c", &["a.b.c", "a.b.b.c.c", "a.x.b.y.c"], &["a.c.b", "a.c"]),
        ("#.a.#.a.#", &["a.a", "x.a.x.a.x"], &["a", "x.a.x"]),
    ];
    for (binding, wanted, unwanted) in cases {
        wanted.iter().for_each(|key| assert_eq!(matching(&[binding], key), [0], "{binding} {key}"));
        unwanted.iter().for_each(|key| assert_eq!(matching(&[binding], key), [], "{binding} {key}"));
    }
}

#[test]
fn each_binding_is_found_once_however_many_ways_there_are() {
    // `a.a.a.a` fits each in several ways
    assert_eq!(matching(&["#.a.#", "#.a.#.a.#", "#", "*.#", "#.*", "#.#.#", "a.#.a"], "a.a.a.a"), [0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn bindings_of_one_key_are_one_part_whatever_key_finds_them() {
    let keys = ["a.#", "a.b", "a.#", "#", "a.b"].map(|key| BindingKey::new(key).unwrap());
    let table = TopicTable::numbered([10, 11, 12, 13, 14].into_iter().zip(&keys));
    let parts = |key: &str| {
        let mut parts = Vec::new();
        table.parts(RoutingKey::new(key).unwrap(), &mut Walk::new(), |part| parts.push(part));
        parts.retain(|part| !part.is_empty());
        parts.sort_unstable();
        parts
    };
    assert_eq!(parts("a.b"), [&[10, 12][..], &[11, 14], &[13]]);
    assert_eq!(parts("a.c"), [&[10, 12][..], &[13]]);
    assert_eq!(parts("b"), [[13]]);
}

#[test]
fn patterns_made_to_branch_do_not_explode() {
    let nasty = ["#.a"; KEY_WORDS_MAX / 2].join(".");
    assert_eq!(matching(&[&nasty], &vec!["a"; KEY_WORDS_MAX].join(".")), [0]);
    assert_eq!(matching(&[&nasty], &vec!["b"; KEY_WORDS_MAX].join(".")), []);
}

#[test]
fn words_that_look_alike_are_told_apart() {
    let bindings = ["ab", "ba", "abcdefgh", "abcdefgi", "abcdefghabcdefgh", "abcdefghabcdefgi", "a", "ä", "A"];
    for (at, key) in bindings.iter().enumerate() {
        assert_eq!(matching(&bindings, key), [at as u32], "{key}");
    }
    assert_eq!(matching(&bindings, "abc"), []);
}

#[test]
fn an_empty_table_matches_nothing() {
    assert_eq!(matching(&[], "a.b"), []);
}

#[test]
fn a_walk_serves_one_table_after_the_other() {
    let keys = ["#.a", "a.#", "#.a.#"].map(|key| BindingKey::new(key).unwrap());
    let tables: Vec<TopicTable> = (1..=3).map(|count| TopicTable::new(&keys[..count])).collect();
    let mut walk = Walk::new();
    for round in 0..30 {
        let count = round % 3 + 1;
        let mut found = 0;
        tables[count - 1].matches(RoutingKey::new("x.a").unwrap(), &mut walk, |_| found += 1);
        assert_eq!(found, [1, 1, 2][count - 1]);
    }
}

#[test]
fn of_two_lanes_of_one_target_the_more_urgent_counts() {
    let mut set = TargetSet::new();
    for _ in 0..2 {
        set.begin(3);
        for (target, lane) in [(2, 3), (0, 1), (2, 0), (2, 5), (0, 1)] {
            set.offer(Hop { target, lane });
        }
        assert_eq!(set.finish(), [Hop { target: 0, lane: 1 }, Hop { target: 2, lane: 0 }]);
    }
    set.begin(3);
    assert!(set.finish().is_empty());
}
