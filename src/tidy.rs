//! The house rules, as a test: it reads `src/` and fails where the code breaks them.
//!
//! Each rule is a function over one [`Source`], a file cut into code and comments, its test modules left out. [`RULES`] lists them; [`SPECIMENS`] shows each of
//! them a piece of code that it must catch and one that it must leave alone: a check that cannot fail shows nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

mod bad_input;
mod examples;
mod glossary;
mod sites;
mod source;

use sites::ORDERINGS;
use source::{Source, after_each, edges_in, is_word, says_word, sources, tested_code, walk};

// ---- the tables ----

/// Every module: its layer, and what it may use of its own layer. Everything below may be used, nothing above.
const LAYERS: [(&str, u32, &[&str]); 37] = [
    ("limits", 0, &[]),
    ("id", 0, &[]),
    ("rng", 0, &[]),
    ("verdict", 0, &[]),
    ("sync", 1, &[]),
    ("clock", 1, &["sync"]),
    ("chain", 1, &["sync"]),
    ("key", 1, &["sync"]),
    ("job", 1, &["key"]),
    ("request", 1, &["job"]),
    ("error", 1, &["job"]),
    ("ring", 2, &[]),
    ("slab", 2, &[]),
    ("credit", 2, &[]),
    ("wheel", 2, &[]),
    ("inbox", 2, &[]),
    ("retry", 2, &[]),
    ("routing", 2, &[]),
    ("idempotency", 2, &[]),
    ("keyed_lock", 2, &[]),
    ("histogram", 2, &[]),
    ("partitions", 2, &[]),
    ("lanes", 3, &[]),
    ("ledger", 3, &[]),
    ("config", 3, &[]),
    ("breaker", 3, &["config"]),
    ("exchange", 3, &[]),
    ("dedupe", 3, &[]),
    ("dead_letter", 3, &["config"]),
    ("completion", 3, &["dead_letter"]),
    ("queue", 4, &[]),
    ("runtime", 5, &[]),
    ("face", 6, &[]),
    ("guide", 6, &[]),
    // beside: optional features, which nothing else may know
    ("topology", 7, &[]),
    ("cron", 7, &[]),
    ("sim", 7, &[]),
];

/// What code may say only in the files that begin with one of these, and why. A needle that ends in `*` also catches longer words.
const PLACES: [(&str, &[&str], &str); 17] = [
    ("std::sync::atomic", &["sync/"], "`sync` is the only door to atomics"),
    ("std::sync::Mutex", &["sync/"], "`sync` is the only door to locks"),
    ("std::sync::RwLock", &["sync/"], "`sync` is the only door to locks"),
    ("std::sync::Condvar", &["sync/"], "`sync` is the only door to locks"),
    ("parking_lot", &["sync/"], "`sync` is the only door to locks"),
    ("Instant::now", &["clock/"], "time is an argument; `clock` asks the machine"),
    ("SystemTime::now", &["clock/"], "time is an argument; `clock` asks the machine"),
    ("SystemTime", &["clock/", "cron/", "face/runtime.rs"], "only calendars go by the time on the wall"),
    ("thread::spawn*", &["sync/", "runtime/"], "threads are made by `runtime`"),
    ("thread::Builder", &["sync/"], "threads are made by `runtime`, through `sync`"),
    ("thread::sleep*", &[], "wait on a parker or on the clock"),
    ("thread::park*", &[], "use `sync::Parker`"),
    ("SeqCst", &["sync/mod.rs", "sync/sanitize_backend.rs"], "no SeqCst accesses; `full_fence` is the only fence"),
    (
        "unsafe",
        &[
            "slab/slot.rs",
            "queue/publish.rs",
            "queue/settle.rs",
            "queue/claim.rs",
            "queue/end.rs",
            "queue/onward.rs",
            "queue/window.rs",
            "clock/tsc.rs",
            "sync/prefetch.rs",
            "sync/sanitize_backend.rs",
        ],
        "payload cells, the tick counter, a prefetch, and a call for the sanitizer",
    ),
    ("todo!", &[], "finish it"),
    ("unimplemented!", &[], "finish it"),
    ("dbg!", &[], "a trace left behind"),
];

/// Files that may be longer than [`LONG`], with the reason.
const LONG_FILES: [(&str, &str); 0] = [];
const LONG: usize = 600;
/// How many lines above its operation a comment may begin.
const REACH: usize = 6;

type Rule = fn(&Source, &mut Vec<String>);

const RULES: [(&str, Rule); 6] = [
    ("imports go down", imports_go_down),
    ("everything in its place", everything_in_its_place),
    ("orderings are named", orderings_are_named),
    ("relaxed has a reason", relaxed_has_a_reason),
    ("unsafe is argued", unsafe_is_argued),
    ("files are short", files_are_short),
];

// ---- the rules ----

fn imports_go_down(source: &Source, found: &mut Vec<String>) {
    let of = |module: &str| LAYERS.iter().find(|(name, ..)| *name == module);
    let own = source.module();
    if own == "lib" {
        return;
    }
    let Some((_, own_layer, sideways)) = of(own) else {
        return found.push(format!("{}: module `{own}` has no layer", source.path));
    };
    for (line, code, _) in source.lines() {
        for used in after_each(code, "crate::").map(|rest| rest.split(|c: char| !is_word(c)).next().unwrap_or_default()) {
            // the one macro lives with the hooks it calls
            let used = if used == "crash_point" { "sync" } else { used };
            let may = match of(used) {
                _ if used == own || sideways.contains(&used) => true,
                Some((_, layer, _)) => layer < own_layer,
                // a name of the crate's root: for the face only
                None => own == "face",
            };
            if !may {
                found.push(source.at(line, &format!("`{own}` uses `{used}`, which is not below it")));
            }
        }
    }
}

fn everything_in_its_place(source: &Source, found: &mut Vec<String>) {
    for (line, code, comment) in source.lines() {
        // `use std::sync::{Arc, Mutex}` says it in pieces
        let spread =
            after_each(code, "std::sync::{").flat_map(|list| list.split(['{', ',', '}', ' '])).map(|name| format!("std::sync::{name}"));
        let said: Vec<String> = spread.chain([code.to_owned()]).collect();
        for (needle, places, why) in PLACES {
            let (word, open) = needle.strip_suffix('*').map_or((needle, false), |word| (word, true));
            let says = said.iter().any(|code| after_each(code, word).any(|rest| open || !rest.starts_with(is_word)));
            if says && !places.iter().any(|place| source.path.starts_with(place)) {
                found.push(source.at(line, &format!("`{word}` is not for here: {why}")));
            }
        }
        for mark in ["FIXME", "TODO", "XXX"] {
            if comment.contains(mark) {
                found.push(source.at(line, &format!("{mark} in a comment: do it, or write down why not")));
            }
        }
    }
}

/// Every operation that releases or acquires names its edge. A constant that stands for an ordering is an operation where it is used.
fn orderings_are_named(source: &Source, found: &mut Vec<String>) {
    // it reads the names of orderings, and has no operation
    if source.path == "sync/weaken.rs" {
        return;
    }
    for (line, code, _) in source.lines().filter(|(line, ..)| !source.in_use[*line]) {
        let names = ordering_constants().iter().filter(|(name, _)| says_word(code, &format!("::{name}")));
        let constants = names.map(|(_, order)| *order);
        let literals = ORDERINGS.into_iter().filter(|order| says_word(code, order) && !code.contains(": Ordering ="));
        for order in literals.chain(constants) {
            let edges = source.edges_near(line);
            for side in [("release", order != "Acquire"), ("acquire", order != "Release")].into_iter().filter(|side| side.1) {
                if !edges.iter().any(|(_, said)| *said == side.0) {
                    found.push(source.at(line, &format!("{order} without an `edge <name>, {}` comment", side.0)));
                }
            }
        }
    }
}

fn relaxed_has_a_reason(source: &Source, found: &mut Vec<String>) {
    for (line, code, _) in source.lines().filter(|(line, ..)| !source.in_use[*line]) {
        let near = line.saturating_sub(REACH)..(line + 5).min(source.code.len());
        let reasoned =
            source.comments[near].iter().any(|comment| comment.contains("relaxed") || comment.contains("by the caller's full fence"));
        if says_word(code, "Relaxed") && !reasoned {
            found.push(source.at(line, "Relaxed without a reason"));
        }
    }
}

fn unsafe_is_argued(source: &Source, found: &mut Vec<String>) {
    for (line, code, _) in source.lines() {
        let argued = source.comments[line.saturating_sub(REACH)..=line]
            .iter()
            .any(|comment| comment.contains("SAFETY:") || comment.contains("# Safety"));
        if says_word(code, "unsafe") && !argued {
            found.push(source.at(line, "unsafe without a SAFETY comment"));
        }
    }
}

fn files_are_short(source: &Source, found: &mut Vec<String>) {
    let lines = source.code.iter().filter(|code| !code.trim().is_empty()).count();
    if lines > LONG && !LONG_FILES.iter().any(|(path, _)| *path == source.path) {
        found.push(format!("{}: {lines} lines of code, more than {LONG}", source.path));
    }
}

/// As [`sites::ordering_constants`], read once.
fn ordering_constants() -> &'static [(String, &'static str)] {
    static FOUND: OnceLock<Vec<(String, &'static str)>> = OnceLock::new();
    FOUND.get_or_init(|| sites::ordering_constants(&sources()))
}

// ---- the tests ----

#[test]
fn the_house_is_tidy() {
    let sources = sources();
    assert!(sources.len() > 60, "only {} files were read", sources.len());
    let mut found = Vec::new();
    for source in &sources {
        RULES.iter().for_each(|(_, rule)| rule(source, &mut found));
    }
    assert!(found.is_empty(), "{} findings:\n{}", found.len(), found.join("\n"));
}

/// Code and ledger (`docs/memory-ordering.md`) name the same edges; every edge has two ends; every model named there exists.
#[test]
fn the_ledger_of_edges_is_complete() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut ends: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (name, side) in sources().iter().flat_map(|source| source.comments.iter()).flat_map(|comment| edges_in(comment)) {
        ends.entry(name).or_default().insert(side);
    }
    let ledger = fs::read_to_string(root.join("docs/memory-ordering.md")).expect("the ledger is there");
    let edges = ledger.split("## Fences").next().unwrap_or_default().lines().filter(|line| line.starts_with("| `"));
    let rows: Vec<Vec<&str>> = edges.map(|line| line.split('|').map(str::trim).collect()).collect();
    let written: BTreeSet<String> = rows.iter().map(|row| row[1].trim_matches('`').to_owned()).collect();
    let coded: BTreeSet<String> = ends.keys().cloned().collect();
    assert_eq!(coded, written, "left: edges in the code; right: rows of the ledger");
    let one_sided: Vec<_> = ends.iter().filter(|(_, sides)| sides.len() < 2).collect();
    assert!(one_sided.is_empty(), "edges with one end: {one_sided:?}");
    let models = loom_models(root);
    for row in &rows {
        for model in row[5].split('`').skip(1).step_by(2).filter(|said| said.chars().all(is_word)) {
            assert!(is_model(&models, model), "{}: there is no model `{model}`", row[1]);
        }
    }
}

/// The text of all loom models.
fn loom_models(root: &Path) -> String {
    let mut files = Vec::new();
    walk(&root.join("loom-tests"), &mut files);
    files.iter().map(|file| fs::read_to_string(file).expect("models are UTF-8")).collect()
}

fn is_model(models: &str, name: &str) -> bool {
    says_word(models, &format!("fn {name}")) || says_word(models, &format!("mod {name}"))
}

/// The table of orderings has a row for each site of `src` and for no other; it names the edges that the site names, and says of every weakening which model
/// fails, a model that exists, or why it stays.
#[test]
fn the_table_of_orderings_is_complete() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (sites, unread) = sites::sites(&sources());
    assert!(unread.is_empty(), "{}", unread.join("\n"));
    let models = loom_models(root);
    let page = fs::read_to_string(root.join("docs/memory-ordering.md")).expect("the page is there");
    let table = page.split("\n## ").find(|part| part.starts_with(TABLE)).expect("the table is there");
    let found = table_findings(table, &sites, &models);
    assert!(found.is_empty(), "{} findings:\n{}", found.len(), found.join("\n"));
    // and it can fail: without its first row, with a row too many, with a model that is none
    let first = table.lines().find(|line| line.starts_with("| `")).expect("the table has rows");
    let model = sites::models_in(first).next().expect("the first row names a model").to_owned();
    for bent in [
        table.replace(first, ""),
        table.replace(first, &format!("{first}\n| `ring/ring::nowhere` load | Acquire | `ring.publish` | Relaxed: `{model}` |")),
        table.replace(first, &first.replace(&model, "no_such_model")),
        table.replace(first, &first.replace(&format!("`{model}`"), "fine")),
    ] {
        assert!(!table_findings(&bent, &sites, &models).is_empty());
    }
}

/// The head of the table in `docs/memory-ordering.md`.
const TABLE: &str = "Every ordering, weakened alone";

fn table_findings(table: &str, sites: &[sites::Site], models: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rows: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in table.lines().filter(|line| line.starts_with("| `")) {
        let row: Vec<&str> = line.split('|').map(str::trim).collect();
        if rows.insert(row[1], row).is_some() {
            found.push(format!("two rows: {line}"));
        }
    }
    for site in sites {
        let Some(row) = rows.remove(site.row().as_str()) else {
            found.push(format!("no row for {} ({}:{})", site.row(), site.place.0, site.place.1));
            continue;
        };
        let edges: Vec<String> = site.edges.iter().map(|edge| format!("`{edge}`")).collect();
        if row[2] != site.said_ordering() || site.op != "fence" && row[3] != edges.join(", ") {
            found.push(format!("{}: the code says {} and {}", row[1], site.said_ordering(), edges.join(", ")));
        }
        let verdicts: Vec<&str> = row[4].split("; ").collect();
        for weaker in site.weaker() {
            let said = verdicts.iter().find_map(|said| said.strip_prefix(&format!("{weaker}: ")));
            let model = said.and_then(|said| said.strip_prefix('`')?.split('`').next());
            match (said, model) {
                (_, Some(model)) if is_model(models, model) => {}
                (_, Some(model)) => found.push(format!("{}: there is no model `{model}`", row[1])),
                (Some(reason), None) if reason.starts_with("none, ") && reason.len() > 20 => {}
                _ => found.push(format!("{}: {weaker} has neither a model nor a reason", row[1])),
            }
        }
    }
    found.extend(rows.keys().map(|site| format!("no such site: {site}")));
    found
}

/// Per rule: a path, a piece of code, and whether the rule must catch it.
const SPECIMENS: [(&str, &str, &str, bool); 26] = [
    ("imports go down", "ring/ring.rs", "use crate::queue::Queue;", true),
    ("imports go down", "ring/ring.rs", "use crate::slab::Slab;", true),
    ("imports go down", "queue/end.rs", "fn f() { crate::Verdict::Ack }", true),
    ("imports go down", "attic/mod.rs", "", true),
    ("imports go down", "queue/end.rs", "use crate::ring::IndexRing; // not crate::face\ncrate::crash_point!(\"x\");", false),
    ("everything in its place", "queue/mod.rs", "use std::sync::atomic::AtomicU64;", true),
    ("everything in its place", "queue/mod.rs", "use std::sync::{Arc, Mutex};", true),
    ("everything in its place", "queue/mod.rs", "let now = std::time::Instant::now();", true),
    ("everything in its place", "cron/due.rs", "let now = SystemTime::now();", true),
    ("everything in its place", "face/runtime.rs", "thread::spawn_named(name, run);", true),
    ("everything in its place", "wheel/wheel.rs", "unsafe { read(cell) }", true),
    ("everything in its place", "wheel/wheel.rs", "// TODO: think", true),
    ("everything in its place", "wheel/wheel.rs", "let text = \"unsafe SeqCst\"; // never todo!\nuse std::sync::{Arc, Weak};", false),
    ("everything in its place", "wheel/wheel.rs", "#[cfg(all(test, not(loom)))]\nmod tests {\n    use std::sync::Mutex;\n}", false),
    ("everything in its place", "wheel/wheel.rs", "#[cfg(test)]\nmod tests {\n}\nuse std::sync::Mutex;", true),
    ("orderings are named", "inbox/mod.rs", "flag.store(1, Release);", true),
    ("orderings are named", "inbox/mod.rs", "// edge inbox.flag, acquire: all\nflag.swap(1, AcqRel);", true),
    ("orderings are named", "ring/ring.rs", "self.head.load(R::HEAD_READ);", true),
    (
        "orderings are named",
        "inbox/mod.rs",
        "use x::Ordering::{\n    Acquire,\n};\n// edge inbox.flag, release: all; acquire: more\nflag.swap(1, AcqRel);",
        false,
    ),
    ("relaxed has a reason", "inbox/mod.rs", "flag.load(Relaxed);", true),
    ("relaxed has a reason", "inbox/mod.rs", "// relaxed: CAS re-checks\nflag.load(Relaxed);", false),
    ("unsafe is argued", "slab/slot.rs", "let it = unsafe { &*cell };", true),
    ("unsafe is argued", "slab/slot.rs", "// SAFETY: the caller owns it\nlet it = unsafe { &*cell };", false),
    ("files are short", "slab/slot.rs", LONG_TEXT, true),
    ("files are short", "slab/slot.rs", "let a = 1;", false),
    ("everything in its place", "clock/system.rs", "Instant::now();", false),
];

/// Stands for a file that is one line too long.
const LONG_TEXT: &str = "(too many lines)";

#[test]
fn every_rule_can_fail() {
    for (name, path, text, caught) in SPECIMENS {
        let text = if text == LONG_TEXT { "a\n".repeat(LONG + 1) } else { text.to_owned() };
        let rule = RULES.iter().find(|(rule, _)| *rule == name).expect("the rule exists").1;
        let mut found = Vec::new();
        rule(&Source::new(path, &text), &mut found);
        assert_eq!(!found.is_empty(), caught, "{name}, {path}:\n{text}\n{found:?}");
    }
    for (name, _) in RULES {
        let both: BTreeSet<bool> = SPECIMENS.iter().filter(|specimen| specimen.0 == name).map(|specimen| specimen.3).collect();
        assert_eq!(both.len(), 2, "`{name}` needs a specimen to catch and one to leave alone");
    }
}

/// The pages name tests; a test that is renamed must be renamed there too.
#[test]
fn the_tests_that_the_docs_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let code = tested_code(root);
    for page in ["testing", "guarantees", "adr/0009-the-first-wave-of-retries"] {
        let text = fs::read_to_string(root.join(format!("docs/{page}.md"))).expect("the page is there");
        let named = text.split('`').filter(|said| {
            said.matches('_').count() >= 3 && said.chars().all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit())
        });
        for name in named {
            assert!(says_word(&code, &format!("fn {name}")) || says_word(&code, name), "{page}.md names `{name}`, which is nowhere");
        }
    }
}
