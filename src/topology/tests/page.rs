//! What `docs/topology.md` says of ranges and defaults is what a file is held to.

use super::*;

fn page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/topology.md")).unwrap()
}

/// The two numbers of "1 to 16 777 215" behind `lead`.
fn range(page: &str, lead: &str) -> (u64, u64) {
    let (_, rest) = page.split_once(lead).unwrap_or_else(|| panic!("the page does not say `{lead}`"));
    let (low, rest) = rest.split_once(" to ").unwrap_or_else(|| panic!("no range behind `{lead}`"));
    let high: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == ' ').filter(|c| *c != ' ').collect();
    (low.parse().unwrap(), high.parse().unwrap())
}

/// What stands before a range on the page, and a file with one such value.
type Ranged = (&'static str, fn(u64) -> String);

const RANGES: [Ranged; 14] = [
    ("| queue | `name` | text, ", |n| format!("queues: [{{ name: {} }}]", "x".repeat(n as usize))),
    ("| `max_length` | jobs, ", |n| format!("queues: [{{ name: q, max_length: {n} }}]")),
    ("| `lanes` | ", |n| format!("queues: [{{ name: q, lanes: [{}] }}]", (0..n).map(|n| format!("l{n}")).collect::<Vec<_>>().join(", "))),
    ("tables of `name`, `weight` (", |n| format!("queues: [{{ name: q, lanes: [{{ name: a, weight: {n} }}] }}]")),
    ("table of `max_attempts` (", |n| format!("queues: [{{ name: q, retry: {{ max_attempts: {n} }} }}]")),
    ("`max_expiries` (", |n| format!("queues: [{{ name: q, retry: {{ max_expiries: {n} }} }}]")),
    ("table of `failures` (", |n| format!("queues: [{{ name: q, publish_breaker: {{ failures: {n} }} }}]")),
    ("table of `count`, ", |n| format!("queues: [{{ name: q, completed: {{ count: {n}, age: 1h }} }}]")),
    ("| `prefetch` | jobs, ", |n| format!("queues: [{{ name: q, prefetch: {n} }}]")),
    ("share of the pool's picks, ", |n| format!("queues: [{{ name: q, weight: {n} }}]")),
    ("| `max_length` | letters, ", |n| format!("queues: [{{ name: q, dlq: d }}, {{ name: d, max_length: {n} }}]")),
    ("| `workers` | ", |n| format!("queues: [{{ name: q }}]\npools: [{{ name: p, workers: {n} }}]")),
    ("| `spares` | ", |n| format!("queues: [{{ name: q }}]\npools: [{{ name: p, spares: {n} }}]")),
    ("| exchange | `name` | text, ", |n| {
        format!(
            "queues: [{{ name: q }}]\nexchanges: [{{ name: {}, type: direct, bindings: [{{ routing_key: a, queue: q }}] }}]",
            "x".repeat(n as usize)
        )
    }),
];

#[test]
fn ranges_are_those_of_the_page() {
    let page = page();
    for (lead, file) in RANGES {
        let (low, high) = range(&page, lead);
        for n in [low, high] {
            yaml(&file(n)).unwrap_or_else(|error| panic!("{lead}{n} is refused: {error}"));
        }
        for n in low.checked_sub(1).into_iter().chain([high + 1]) {
            assert!(yaml(&file(n)).is_err(), "{lead}{n} is taken");
        }
    }
}

#[test]
fn durations_of_the_page_are_allowed_and_no_longer_ones() {
    let page = page();
    for (key, more) in [("visibility", ", max_lease: 365d"), ("max_wait", ", discipline: strict")] {
        assert!(page.contains(&format!("| `{key}` | duration, 1 ms to a year")), "{key}");
        let file = |length: &str| yaml(&format!("queues: [{{ name: q, {key}: {length}{more} }}]"));
        assert!(file("1ms").is_ok() && file("365d").is_ok(), "{key}");
        assert!(file("999us").is_err() && file("366d").is_err(), "{key}");
    }
    assert!(page.contains("`within` and `open` (durations, 1 ms to a year)"));
    for key in ["within", "open"] {
        let file = |length: &str| yaml(&format!("queues: [{{ name: q, publish_breaker: {{ {key}: {length} }} }}]"));
        assert!(file("1ms").is_ok() && file("365d").is_ok(), "{key}");
        assert!(file("999us").is_err() && file("366d").is_err(), "{key}");
    }
    assert!(page.contains("| `retention` | duration, 1 ms to ten years"));
    let file = |length: &str| yaml(&format!("queues: [{{ name: a, dead_letter_target: q }}, {{ name: q, retention: {length} }}]"));
    assert!(file("1ms").is_ok() && file("3650d").is_ok());
    assert!(file("999us").is_err() && file("3651d").is_err());
}

/// A default that is one value: the file that says it is the file that does not.
#[test]
fn defaults_are_those_of_the_page() {
    let page = page();
    let (mut of, mut compared) = (String::new(), 0);
    for row in page.split("## The schema").nth(1).unwrap().lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        if !cells[0].is_empty() {
            of = cells[0].to_owned();
        }
        let (key, default) = (cells[1].trim_matches('`'), cells[3]);
        let number: String = default.chars().filter(|c| *c != ' ').collect();
        let value = if number.bytes().all(|byte| byte.is_ascii_digit()) && !number.is_empty() {
            number
        } else if let Some(value) = default.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).filter(|value| !value.contains('`')) {
            value.to_owned()
        } else {
            continue;
        };
        let file = |setting: &str| {
            let text = match of.as_str() {
                "queue" => format!("queues: [{{ name: q{setting} }}]"),
                "dead-letter queue" => format!("queues: [{{ name: q, dlq: d }}, {{ name: d{setting} }}]"),
                "pool" => format!("queues: [{{ name: q }}]\npools: [{{ name: p{setting} }}]"),
                "exchange" => format!(
                    "queues: [{{ name: q }}]\nexchanges: [{{ name: x, type: direct, bindings: [{{ routing_key: a, queue: q }}]{setting} }}]"
                ),
                "binding" => format!(
                    "queues: [{{ name: q }}]\nexchanges: [{{ name: x, type: direct, bindings: [{{ routing_key: a, queue: q{setting} }}] }}]"
                ),
                _ => panic!("{of}"),
            };
            yaml(&text).unwrap_or_else(|error| panic!("{row}: {error}"))
        };
        assert_eq!(file(&format!(", {key}: {value}")), file(""), "{row}");
        compared += 1;
    }
    assert!(compared >= 15, "only {compared} defaults were compared");
}

#[test]
fn a_breaker_of_which_nothing_is_said_has_the_defaults_of_the_page() {
    assert!(page().contains("| none; of what is not said: 5, `1s`, `5s` |"));
    let file = |breaker: &str| yaml(&format!("queues: [{{ name: q, publish_breaker: {breaker} }}]")).unwrap();
    assert_eq!(file("{}"), file("{ failures: 5, within: 1s, open: 5s }"));
    assert_ne!(file("{}"), yaml("queues: [{ name: q }]").unwrap());
}

#[test]
fn the_bounds_of_a_file_are_those_of_the_page() {
    let said = format!(
        "files of at most {} MiB, {DEPTH_MAX} levels of nesting, no YAML anchors, aliases and tags, {FAULTS_MAX} faults shown",
        FILE_MAX >> 20
    );
    assert!(page().contains(&said), "{said}");
    assert_eq!(FILE_MAX % (1 << 20), 0);
}
