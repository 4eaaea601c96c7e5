//! What is shown of a file that is wrong: whatever is in it, it is one that a terminal and an editor can bear.

use super::bad_input::{TempFile, refused};
use super::*;

#[test]
fn a_text_that_looks_like_something_else_is_called_a_text() {
    refused(
        "queues: [{ name: q, durable: 'true', max_length: \"10\", weight: '1e3', partitions: { count: 8, redeliver_overrun: 'no' } }]",
        &[
            ("`durable` is the text `true`, expected `true` or `false`", (1, 30), Some("true"), None),
            ("`max_length` is the text `10`, expected a whole number", (1, 50), Some("10"), None),
            ("`weight` is `1e3`, expected a whole number", (1, 64), Some("1e3"), None),
            ("`redeliver_overrun` is `no`, expected `true` or `false`", (1, 114), Some("no"), None),
        ],
    );
    let error = toml("[[queues]]\nname = 'q'\ndurable = 'false'\n").unwrap_err();
    assert_eq!(error.faults()[0].message(), "`durable` is the text `false`, expected `true` or `false`");
}

/// What is offered is read as the name that is missing.
#[test]
fn completions_are_yaml_and_toml() {
    let names = [
        "null",
        "True",
        "no",
        "7",
        "a b",
        "a\"b\\c",
        "\u{1b}[31m",
        "e\u{301}",
        "\u{202e}x",
        "tab\t",
        "\u{85}\u{7f}",
        "plain-name",
        "\u{1F980}",
    ];
    for name in names {
        let mut topology = Topology::new();
        topology.exchanges.push(ExchangeSpec::new("x", ExchangeKind::Topic));
        topology.exchanges[0].bindings.push(BindingSpec::new("a", name));
        topology.queues.push(QueueSpec::new(QueueConfig::new("somewhere-else-altogether")));
        let completion = topology.validate().unwrap_err().completion().unwrap();
        let read = yaml(&completion.replace("add to `queues`:", "queues:")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read.queues[0].name(), name, "{completion}");
        let text = topology_in_toml(name);
        let completion = toml(&text).unwrap_err().completion().unwrap();
        let read =
            toml(&completion.replace("add to `queues`:", "queues = [").replace("},", "}]")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read.queues[0].name(), name, "{completion}");
        assert!(!completion.contains(['\u{1b}', '\u{202e}']), "{completion:?}");
    }
    let plain = yaml("exchanges: [{ name: x, type: topic, bindings: [{ routing_key: a, queue: plain-name }] }]\nqueues: [{ name: q }]")
        .unwrap_err();
    assert_eq!(plain.completion().unwrap(), "add to `queues`:\n    { name: plain-name },");
    yaml("exchanges: [{ name: x, type: topic, bindings: [{ routing_key: a, queue: plain-name }] }]\nqueues: [{ name: plain-name }, { name: q }]")
        .unwrap();
}

fn topology_in_toml(queue: &str) -> String {
    let queue: String = queue.chars().map(|c| format!("\\U{:08X}", u32::from(c))).collect();
    format!(
        "exchanges = [{{ name = 'x', type = 'topic', bindings = [{{ routing_key = 'a', queue = \"{queue}\" }}] }}]\nqueues = [{{ name = 'somewhere-else-altogether' }}]"
    )
}

#[test]
fn lines_end_with_any_line_end() {
    for end in ["\n", "\r\n", "\r"] {
        let text = ["queues:", "- name: q", "  dlq: dead", "- name: r", "  max_length: 0", ""].join(end);
        let error = refused(
            &text,
            &[
                ("queue `dead` is not declared", (3, 8), Some("dead"), None),
                ("`max_length` is 0, allowed is 1..=16777215", (5, 15), Some("0"), None),
            ],
        );
        assert!(error.to_string().contains("\n3 |   dlq: dead\n  |        ^^^^\n"), "{error}");
    }
    // mixed, and at the end of a line
    let error = yaml("# a\r# b\r\n# c\n\r\nqueues: [\r\n").unwrap_err();
    assert!((5..=6).contains(&error.faults()[0].line().unwrap()), "{error}");
}

#[test]
fn a_mark_before_the_text_is_no_part_of_it() {
    let error = yaml("\u{feff}queues: [{ name: q, dlq: dead }]").unwrap_err();
    assert_eq!(error.faults()[0].column(), Some(26));
    let file = TempFile::new("mark.toml", b"\xEF\xBB\xBFname = '\xE9'\n");
    let error = Topology::load(&file.0).unwrap_err();
    let fault = &error.faults()[0];
    assert_eq!((fault.message(), fault.line(), fault.column()), ("the file is no UTF-8: byte 11 is 0xe9", Some(1), Some(9)));
}

#[test]
fn nothing_that_a_terminal_obeys_reaches_it() {
    let texts = [
        "queues: [{ name: \"q\\e[31mx\", dlq: \"d\\e[1m\", \"k\\e\": 1 }, { name: \"d\\e[1n\" }]",
        "queues: [{ name: \"q\\e[31mx\", lanes: [\"l\\e[1m\"] }]\nexchanges: [{ name: x, type: topic, bindings: [{ routing_key: a, queue: \"q\\e[31mx\", lane: z }] }]",
        "queues: [{ name: \"q\\e\", dlq: d }, { name: \"r\\e\", dlq: d, dead_letter_target: q }, { name: d, prefetch: 1 }]",
        "queues: [{ name: \"q\\e\", dead_letter_target: \"q\\e\" }]\nexchanges: [{ name: \"x\\e\", type: topic, alternate: \"x\\e\", durable: true }]",
        "queues: [{ name: \"\u{202e}abc\", dlq: \"\u{202e}dead\", \u{2066}a: \u{200f} }] # \u{202e}",
        "exchanges: [{ name: x, type: direct, bindings: [{ routing_key: \"a\\e.*\", queue: q }, { routing_key: \"\\e..\", queue: q }] }]\nqueues: [{ name: q }]",
        "queues: [\u{202e}\u{1b}",
        "? \"\\e\u{202e}\"\n: 1\n? \"\\e\u{202e}\"\n: 2\n",
    ];
    let obeyed = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c) || c == '\u{200f}' || c == '\u{2066}';
    for text in texts {
        let shown = Topology::from_yaml(text, "a\u{1b}\u{202e}.yaml").unwrap_err().to_string();
        assert!(!shown.contains(obeyed), "{shown:?}");
        let lines = Topology::from_yaml(text, "a\nb").unwrap_err().to_string();
        assert!(!lines.contains("a\nb"), "{lines:?}");
    }
    let mut topology = full();
    topology.queues[0].config = QueueConfig::new("w\u{1b}").prefetch(0).pool("p\u{1b}");
    topology.exchanges[0].durable = true;
    topology.exchanges[0].name = "x\u{1b}".to_owned();
    let shown = topology.validate().unwrap_err().to_string();
    assert!(!shown.contains(obeyed), "{shown:?}");
}
