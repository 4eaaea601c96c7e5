//! What is wrong is wrong in code, in TOML and in YAML, and is said in the same words.

use super::bad_input::{TempFile, found};
use super::*;
use crate::clock::{Clock, SystemClock};

/// Both files are refused with nothing but this fault, at the place of its value: where it stands last in the text.
#[track_caller]
fn files_are_refused(yaml_text: &str, toml_text: &str, message: &str, value: &str) {
    for (text, read) in [(yaml_text, yaml(yaml_text)), (toml_text, toml(toml_text))] {
        let error = read.expect_err(text);
        let [fault] = error.faults() else { panic!("{text}\n{error}") };
        assert_eq!((fault.message(), fault.offending_value()), (message, Some(value)), "{error}");
        let before = &text[..text.rfind(value).unwrap()];
        let (line, column) = (before.split('\n').count(), before.rsplit('\n').next().unwrap().chars().count() + 1);
        let found = (fault.line().unwrap(), fault.column().unwrap());
        assert!(found == (line, column) || found == (line, column - 1), "line {line}, column {column}, or a quote before it: {error}");
    }
}

/// A setting out of range. `field` is its name in code.
#[track_caller]
fn setting(key: &str, value: &str, allowed: &str, field: &str, code: QueueConfig) {
    let (table, last) = key.split_once('.').map_or(("", key), |(table, last)| (table, last));
    let (open, close) = if table.is_empty() { (String::new(), "") } else { (format!("{table}: {{ "), " }") };
    let in_yaml = format!("queues:\n- name: q\n  {open}{last}: {value}{close}\n");
    let word = if value.ends_with(char::is_alphabetic) { format!("'{value}'") } else { value.to_owned() };
    let in_toml = format!("[[queues]]\nname = 'q'\n{key} = {word}\n");
    files_are_refused(&in_yaml, &in_toml, &format!("`{last}` is {value}, allowed is {allowed}"), value);
    let mut topology = Topology::new();
    topology.queues.push(QueueSpec::new(code.clone()));
    let error = topology.validate().unwrap_err();
    assert!(error.to_string().contains(" --> queue `q`"), "{error}");
    let [fault] = error.faults() else { panic!("{error}") };
    let message = format!("{field} is {value}, allowed is {allowed}");
    assert_eq!(fault.message(), message);
    assert_eq!(Runtime::builder().pull_queue::<u8>(code).unwrap_err().to_string(), format!("queue `q`: {message}"));
}

fn q() -> QueueConfig {
    QueueConfig::new("q")
}

#[test]
fn numbers_out_of_range() {
    let jobs = "1..=16777215";
    setting("max_length", "0", jobs, "capacity", q().capacity(0));
    setting("max_length", "16777216", jobs, "capacity", q().capacity(16_777_216));
    for count in [0, 3, 8192, 1 << 20] {
        setting("partitions", &count.to_string(), "a power of two, 1..=4096", "partitions", q().partitions(count));
    }
    setting("prefetch", "33", "1..=32", "prefetch", q().prefetch(33));
    setting("weight", "1025", "1..=1024", "weight", q().weight(1025));
    setting("retry.max_attempts", "256", "1..=255", "max_attempts", q().retry(RetryPolicy::new().max_attempts(256)));
    setting("retry.max_expiries", "15", "0..=14", "max_expiries", q().retry(RetryPolicy::new().max_expiries(15)));
}

/// What no number here can be is out of its range too.
#[test]
fn numbers_that_cannot_be_counted_with_are_out_of_range() {
    for value in ["-1", "-99999999999999999999", "4294967296", "18446744073709551616", "99999999999999999999999999999999999999999"] {
        for (lead, key, allowed) in [
            ("", "max_length", "1..=16777215"),
            ("", "partitions", "a power of two, 1..=4096"),
            ("", "prefetch", "1..=32"),
            ("", "weight", "1..=1024"),
            ("retry", "max_attempts", "1..=255"),
            ("retry", "max_expiries", "0..=14"),
            ("partitions", "count", "a power of two, 1..=4096"),
            ("publish_breaker", "failures", "1..=1024"),
            ("dead_letters", "max_length", "1..=16777215"),
        ] {
            let (yaml_text, toml_text) = match lead {
                "" => (format!("queues:\n- name: q\n  {key}: {value}\n"), format!("[[queues]]\nname = 'q'\n{key} = {value}\n")),
                _ => (
                    format!("queues:\n- name: q\n  {lead}: {{ {key}: {value} }}\n"),
                    format!("[[queues]]\nname = 'q'\n[queues.{lead}]\n{key} = {value}\n"),
                ),
            };
            files_are_refused(&yaml_text, &toml_text, &format!("`{key}` is {value}, allowed is {allowed}"), value);
        }
        let pools = (
            format!("queues: [{{ name: q }}]\npools: [{{ name: p, workers: {value} }}]\n"),
            format!("[[queues]]\nname = 'q'\n[[pools]]\nname = 'p'\nworkers = {value}\n"),
        );
        files_are_refused(&pools.0, &pools.1, &format!("`workers` is {value}, allowed is 1..=48"), value);
    }
}

#[test]
fn windows_of_nothing_and_of_ten_years() {
    for (mode, name, code) in [
        ("window", "Window", Dedupe::Window as fn(Duration) -> Dedupe),
        ("debounce", "Debounce", Dedupe::Debounce),
        ("keep-last", "KeepLast", Dedupe::KeepLast),
    ] {
        for (window, length) in [("0s", Duration::ZERO), ("3650d", Duration::from_secs(3650 * 86_400))] {
            files_are_refused(
                &format!("queues:\n- name: q\n  dedupe: {{ mode: {mode}, bound: 9, window: {window} }}\n"),
                &format!("[[queues]]\nname = 'q'\ndedupe = {{ mode = '{mode}', bound = 9, window = '{window}' }}\n"),
                &format!("`window` is {window}, allowed is 1ms to 365d"),
                window,
            );
            let mut topology = Topology::new();
            topology.queues.push(QueueSpec::new(q().dedupe(code(length), 9)));
            let error = topology.validate().unwrap_err();
            assert_eq!(error.faults()[0].message(), format!("dedupe: {} is {length:?}, allowed is 1ms to 365d", name));
        }
    }
}

#[test]
fn words_that_are_no_duration() {
    for (word, hint) in [("5 minutes", "write `5m`"), ("-1s", "not negative"), ("7 d", "write `7d`"), ("5", "a unit is missing")] {
        let (yaml_text, toml_text) =
            (format!("queues:\n- name: q\n  visibility: {word}\n"), format!("[[queues]]\nname = 'q'\nvisibility = '{word}'\n"));
        files_are_refused(&yaml_text, &toml_text, &format!("`visibility` is `{word}`, which is no duration"), word);
        for error in [yaml(&yaml_text), toml(&toml_text)] {
            let shown = error.unwrap_err().to_string();
            assert!(shown.contains(hint), "{shown}");
        }
    }
    let week = q().visibility(Duration::from_secs(7 * 86_400)).max_lease(Duration::from_secs(7 * 86_400));
    let mut topology = Topology::new();
    topology.queues.push(QueueSpec::new(week));
    assert_eq!(yaml("queues: [{ name: q, visibility: 7d, max_lease: 7d }]"), Ok(topology.clone()));
    assert_eq!(toml("queues = [{ name = 'q', visibility = '7d', max_lease = '7d' }]"), Ok(topology));
}

/// All three are refused with these messages; the files also say where, and the code of what.
#[track_caller]
fn refused_alike(code: &Topology, yaml_text: &str, toml_text: &str, messages: &[&str]) {
    for (error, is_file) in [
        (code.validate().expect_err("in code"), false),
        (yaml(yaml_text).expect_err(yaml_text), true),
        (toml(toml_text).expect_err(toml_text), true),
    ] {
        let found: Vec<&str> = error.faults().iter().map(Fault::message).collect();
        assert_eq!(found, messages, "{error}");
        assert!(error.faults().iter().all(|fault| fault.line().is_some() == is_file), "{error}");
    }
}

fn with_binding(kind: ExchangeKind, key: &str, queue: &str) -> Topology {
    let mut topology = Topology::new();
    topology.queues.push(QueueSpec::new(q()));
    let mut exchange = ExchangeSpec::new("x", kind);
    exchange.bindings.push(BindingSpec::new(key, queue));
    topology.exchanges.push(exchange);
    topology
}

#[test]
fn binding_keys() {
    let long = "x".repeat(256);
    let many = vec!["x"; 129].join(".");
    for (key, message) in [
        ("", "binding key ``, byte 0: it is empty"),
        (".", "binding key `.`, byte 0: a word is missing; words are split by single dots"),
        (".a", "binding key `.a`, byte 0: a word is missing; words are split by single dots"),
        ("a.", "binding key `a.`, byte 2: a word is missing; words are split by single dots"),
        ("a..b", "binding key `a..b`, byte 2: a word is missing; words are split by single dots"),
        ("a.b#", "binding key `a.b#`, byte 3: `#` inside a word; it stands for a whole one"),
        ("a*.b", "binding key `a*.b`, byte 1: `*` inside a word; it stands for a whole one"),
        ("##", "binding key `##`, byte 0: `#` inside a word; it stands for a whole one"),
        (&long, &format!("binding key `{}...`, byte 255: it has 256 bytes, allowed are 1..=255", "x".repeat(64))),
        (&many, &format!("binding key `{}...`, byte 255: it has 257 bytes, allowed are 1..=255", "x.".repeat(32))),
    ] {
        refused_alike(
            &with_binding(ExchangeKind::Topic, key, "q"),
            &format!("queues: [{{ name: q }}]\nexchanges: [{{ name: x, type: topic, bindings: [{{ queue: q, routing_key: '{key}' }}] }}]"),
            &format!(
                "queues = [{{ name = 'q' }}]\nexchanges = [{{ name = 'x', type = 'topic', bindings = [{{ queue = 'q', routing_key = '{key}' }}] }}]"
            ),
            &[message],
        );
    }
}

#[test]
fn names() {
    let (long, name) = ("x".repeat(256), "`name` is");
    for (value, message) in [("", "`name` is empty".to_owned()), (&long, format!("{name} {long}, allowed is 1..=255 bytes"))] {
        for (error, at) in
            [(yaml(&format!("queues:\n- name: '{value}'\n")), (2, 9)), (toml(&format!("[[queues]]\nname = '{value}'\n")), (2, 8))]
        {
            assert_eq!(found(&error.unwrap_err()), [(message.as_str(), at, Some(value), None)]);
        }
        let mut topology = Topology::new();
        topology.queues.push(QueueSpec::new(QueueConfig::new(value)));
        assert_eq!(topology.validate().unwrap_err().faults().len(), 1);
    }
    let mut twice = with_binding(ExchangeKind::Topic, "a", "q");
    twice.queues.push(QueueSpec::new(q()));
    twice.exchanges.push(ExchangeSpec::new("x", ExchangeKind::Direct));
    twice.pools = vec![PoolConfig::new("p"), PoolConfig::new("p")];
    refused_alike(
        &twice,
        "
exchanges: [{ name: x, type: topic, bindings: [{ queue: q, routing_key: a }] }, { name: x, type: direct }]
queues: [{ name: q }, { name: q }]
pools: [{ name: p }, { name: p }]",
        "
exchanges = [{ name = 'x', type = 'topic', bindings = [{ queue = 'q', routing_key = 'a' }] }, { name = 'x', type = 'direct' }]
queues = [{ name = 'q' }, { name = 'q' }]
pools = [{ name = 'p' }, { name = 'p' }]",
        &["exchange `x` is declared twice", "queue `q` is declared twice", "pool `p` is declared twice"],
    );
}

#[test]
fn bindings_to_nowhere_and_a_fan_out_to_nothing() {
    let exchange = |kind: &str, bindings: &str, is: &str| format!("[{{ name{is} 'x', type{is} '{kind}', bindings{is} [{bindings}] }}]");
    refused_alike(
        &with_binding(ExchangeKind::Direct, "a", "qq"),
        &format!("queues: [{{ name: q }}]\nexchanges: {}", exchange("direct", "{ queue: qq, routing_key: a }", ":")),
        &format!("queues = [{{ name = 'q' }}]\nexchanges = {}", exchange("direct", "{ queue = 'qq', routing_key = 'a' }", " =")),
        &["queue `qq` is not declared"],
    );
    let mut topology = with_binding(ExchangeKind::Fanout, "#", "q");
    topology.exchanges[0].bindings.clear();
    refused_alike(
        &topology,
        &format!("queues: [{{ name: q }}]\nexchanges: {}", exchange("fanout", "", ":")),
        &format!("queues = [{{ name = 'q' }}]\nexchanges = {}", exchange("fanout", "", " =")),
        &["fanout exchange `x` has no bindings: it reaches no queue"],
    );
}

#[test]
fn circles_of_dead_letters() {
    let onward = |name: &str, target: &str| QueueConfig::new(name).dead_letters(DeadLetterConfig::new().queue(target));
    let mut topology = Topology::new();
    topology.queues = [onward("a", "b"), onward("b", "a")].map(QueueSpec::new).into();
    refused_alike(
        &topology,
        "queues:\n- { name: a, dead_letter_target: b }\n- { name: b, dead_letter_target: a }\n",
        "[[queues]]\nname = 'a'\ndead_letter_target = 'b'\n[[queues]]\nname = 'b'\ndead_letter_target = 'a'\n",
        &["dead letters would go in a circle without a pause: a -> b -> a"],
    );
    topology.queues =
        [onward("a", "b").overflow(Overflow::DropOldest), onward("b", "a").overflow(Overflow::DropOldest)].map(QueueSpec::new).into();
    refused_alike(
        &topology,
        "queues:\n- { name: a, overflow: drop-oldest, dead_letter_target: b }\n- { name: b, overflow: drop-oldest, dead_letter_target: a }\n",
        "
[[queues]]
name = 'a'
overflow = 'drop-oldest'
dead_letter_target = 'b'
[[queues]]
name = 'b'
overflow = 'drop-oldest'
dead_letter_target = 'a'
",
        &["dead letters would go in a circle by themselves: a -> b -> a"],
    );
}

/// What only files can be.
#[test]
fn files_that_are_no_text_too_large_or_too_deep() {
    let began = SystemClock::new();
    let start = began.now();
    for (format, line, nest) in [("yaml", "- { name: q }\n", "a: "), ("toml", "[[queues]]\nname = 'q'\n", "a = ")] {
        let latin = TempFile::new(&format!("latin.{format}"), b"# caf\xE9\n");
        let large = TempFile::new(&format!("ten-megabytes.{format}"), line.repeat(10_000_000 / line.len()).as_bytes());
        let deep = TempFile::new(&format!("deep.{format}"), format!("{nest}{}{}\n", "[".repeat(400_000), "]".repeat(400_000)).as_bytes());
        for (file, message) in [
            (&latin, "the file is no UTF-8: byte 5 is 0xe9"),
            (&large, "the file is larger than 1048576 bytes"),
            (&deep, "more than 16 levels deep"),
        ] {
            let error = Topology::load(&file.0).unwrap_err();
            let found: Vec<&str> = error.faults().iter().map(Fault::message).collect();
            assert_eq!(found, [message], "{format}");
        }
    }
    assert!(began.now().since(start) < Duration::from_secs(10));
}

#[test]
fn keys_that_nobody_knows() {
    for (key, meant) in [
        ("max_lenght", "max_length"),
        ("x-max-length", "max_length"),
        ("x-dead-letter-exchange", "dead_letter_exchange"),
        ("prefetch_count", "prefetch"),
    ] {
        let (yaml_text, toml_text) = (format!("queues:\n- name: q\n  {key}: 1\n"), format!("[[queues]]\nname = 'q'\n{key} = 1\n"));
        files_are_refused(&yaml_text, &toml_text, &format!("a queue has no key `{key}`"), key);
        for error in [yaml(&yaml_text).unwrap_err(), toml(&toml_text).unwrap_err()] {
            assert_eq!(error.faults()[0].nearest(), Some(meant), "{error}");
        }
    }
}

/// Words that other systems have for the same, and such as are no numbers here.
#[test]
fn words_of_other_systems() {
    for (word, meant) in
        [("drop-head", "drop-oldest"), ("reject-publish-dlx", "drop-new"), ("reject", "reject-publish"), ("Block", "block")]
    {
        let (yaml_text, toml_text) =
            (format!("queues:\n- name: q\n  overflow: {word}\n"), format!("[[queues]]\nname = 'q'\noverflow = '{word}'\n"));
        for error in [yaml(&yaml_text).unwrap_err(), toml(&toml_text).unwrap_err()] {
            assert_eq!((error.faults().len(), error.faults()[0].nearest()), (1, Some(meant)), "{error}");
        }
    }
    for word in [
        "1e3",
        "1.0",
        "+-5",
        "--5",
        "_1",
        "1_",
        "1__0",
        "0o17",
        "0b11",
        "0x10",
        ".inf",
        ".nan",
        "yes",
        "1,000",
        "1 000",
        "\u{ff11}\u{ff10}",
        "2001-01-01",
        "12:30:45",
    ] {
        let error = yaml(&format!("queues:\n- name: q\n  max_length: {word}\n")).expect_err(word);
        assert_eq!(found(&error), [(format!("`max_length` is `{word}`, expected a whole number").as_str(), (3, 15), Some(word), None)]);
    }
    for word in ["1e3", "1.0", "inf", "-inf", "nan", "true", "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z"] {
        let error = toml(&format!("[[queues]]\nname = 'q'\nmax_length = {word}\n")).expect_err(word);
        assert_eq!(found(&error), [(format!("`max_length` is `{word}`, expected a whole number").as_str(), (3, 14), Some(word), None)]);
    }
    for (word, jobs) in [("1_000", 1000), ("+5", 5), ("017", 17)] {
        let topology = yaml(&format!("queues: [{{ name: q, max_length: {word} }}]")).unwrap();
        assert_eq!(topology.queues[0].config.capacity, jobs, "{word}");
    }
    for (word, jobs) in [("1_000", 1000), ("+5", 5), ("0x10", 16), ("0o17", 15), ("0b11", 3)] {
        let topology = toml(&format!("queues = [{{ name = 'q', max_length = {word} }}]")).unwrap();
        assert_eq!(topology.queues[0].config.capacity, jobs, "{word}");
    }
}

/// Numbers of TOML are quoted as they are written wherever they stand.
#[test]
fn numbers_where_texts_are_expected() {
    for word in ["+5", "0x10", "1_000"] {
        let error = toml(&format!("[[queues]]\nname = 'q'\nvisibility = {word}\npool = {word}\n")).unwrap_err();
        let (duration, text) = (format!("`visibility` is `{word}`, which is no duration"), format!("`pool` is {word}, expected a text"));
        assert_eq!(found(&error), [(duration.as_str(), (3, 14), Some(word), None), (text.as_str(), (4, 8), Some(word), None)], "{error}");
    }
}

/// What YAML takes for nothing, a comment or an alias.
#[test]
fn words_that_yaml_does_not_take_for_texts() {
    for nothing in ["", "~", "null"] {
        let text =
            format!("queues:\n- name: q\n  max_length: {nothing}\n  visibility: {nothing}\n  overflow: {nothing}\n  durable: {nothing}\n");
        let error = yaml(&text).unwrap_err();
        let messages: Vec<&str> = error.faults().iter().map(Fault::message).collect();
        let wanted = [
            "`max_length` is nothing, expected a whole number",
            "`visibility` is nothing, expected a duration",
            "`overflow` is nothing, expected `reject-publish`, `block`, `drop-oldest`, `drop-new` or `caller-runs`",
            "`durable` is nothing, expected `true` or `false`",
        ];
        assert_eq!(messages, wanted, "{error}");
    }
    let with_key = |key: &str| {
        yaml(&format!("queues:\n- name: q\nexchanges:\n- name: x\n  type: topic\n  bindings:\n  - routing_key: {key}\n    queue: q\n"))
    };
    for (key, column, help) in [
        ("#", 16, "a text that begins with `#` is written in quotes: `\"#\"`"),
        ("#.paid", 16, "a text that begins with `#` is written in quotes"),
        ("*", 18, "a text that begins with `*` is written in quotes: `\"*\"`"),
        ("*.paid", 18, "a text that begins with `*` is written in quotes"),
    ] {
        let error = with_key(key).unwrap_err();
        let places: Vec<_> = error.faults().iter().map(|fault| (fault.line(), fault.column())).collect();
        assert_eq!(places, [(Some(7), Some(column))], "{error}");
        assert!(error.to_string().contains(help), "{error}");
        assert!(with_key(&format!("\"{key}\"")).is_ok(), "{key}");
    }
}

#[test]
fn lists_that_are_written_as_something_else() {
    let error = toml("[queues]\nname = 'q'\n").unwrap_err();
    assert_eq!(found(&error), [("`queues` is a table, expected a list", (1, 1), None, None)]);
    assert!(error.to_string().contains("help: a header in `[[` and `]]` begins an item of a list"), "{error}");
    for error in [yaml("queue:\n- name: q\n").unwrap_err(), toml("[[Queues]]\nname = 'q'\n").unwrap_err()] {
        assert_eq!((error.faults().len(), error.faults()[0].nearest()), (1, Some("queues")), "that there is no queue follows: {error}");
    }
}

#[test]
fn marks_ends_of_lines_and_characters_that_do_not_show() {
    for (text, at) in [
        ("\u{feff}queues:\r\n- name: q\r\n  max_length: 0\r\n", (3, 15)),
        ("queues:\r- name: q\r  max_length: 0\r", (3, 15)),
        ("%YAML 1.2\n---\nqueues:\n- name: q\n  max_length: 0\n...\n", (5, 15)),
    ] {
        assert_eq!(found(&yaml(text).unwrap_err()), [("`max_length` is 0, allowed is 1..=16777215", at, Some("0"), None)], "{text:?}");
    }
    let error = toml("\u{feff}[[queues]]\r\nname = 'q'\r\nmax_length = 0\r\n").unwrap_err();
    assert_eq!(found(&error), [("`max_length` is 0, allowed is 1..=16777215", (3, 14), Some("0"), None)]);
    for text in [
        "queues:\n- name: a\0b\n",
        "\0",
        "queues:\n- name: q\n\tmax_length: 5\n",
        "queues:\n- <<: *q\n",
        "queues:\n- !q {}\n",
        "---\n---\n",
    ] {
        assert_eq!(yaml(text).unwrap_err().faults().len(), 1, "{text:?}");
    }
    for text in
        ["[[queues]]\nname = 'a\0b'\n", "\0", "[[queues]]\rname = 'q'\r", "[[queues]]\nname = \u{2018}q\u{2019}\n", "[[queues]]\nname: q\n"]
    {
        assert_eq!(toml(text).unwrap_err().faults().len(), 1, "{text:?}");
    }
    // a name that looks like another is another
    let text = "exchanges: [{ name: x, type: direct, bindings: [{ routing_key: a, queue: \u{440}ay }] }]\nqueues: [{ name: pay }]\n";
    assert_eq!(found(&yaml(text).unwrap_err()), [("queue `\u{440}ay` is not declared", (1, 74), Some("\u{440}ay"), Some("pay"))]);
}
