//! Every operation of `src` that is not Relaxed, and every fence: what the command that weakens orderings goes through, and what
//! `docs/memory-ordering.md` has a row for.

use super::source::{Source, is_word, says_word};
use std::collections::BTreeMap;

/// An ordering at its place.
#[derive(Debug, Clone)]
pub struct Site {
    /// File and function, which stay true when lines move; a function's second operation of a kind has a `#2`.
    pub name: String,
    /// `load`, `CAS`, `CAS lost` (its failure), `swap` and so on, or `fence`.
    pub op: String,
    /// `AcqRel`, `Acquire`, `Release`, or `SeqCst` for a fence.
    pub ordering: &'static str,
    /// Where the compiler says that the operation is called: file and line; and which of a CAS's two orderings it is.
    pub place: (String, usize, u8),
    /// The edges that its comment names.
    pub edges: Vec<String>,
}

impl Site {
    /// How the table names it.
    pub fn row(&self) -> String {
        format!("`{}` {}", self.name, self.op)
    }

    /// Its ordering in the table.
    pub fn said_ordering(&self) -> &'static str {
        if self.ordering == "SeqCst" { "fence" } else { self.ordering }
    }

    /// What it is weakened to.
    pub fn weaker(&self) -> &'static [&'static str] {
        match self.ordering {
            "AcqRel" => &["Acquire", "Release"],
            "SeqCst" => &["gone"],
            _ => &["Relaxed"],
        }
    }
}

/// The models that a row of the table names.
pub(super) fn models_in(row: &str) -> impl Iterator<Item = &str> {
    let verdicts = row.split('|').nth(4).unwrap_or_default();
    verdicts.split('`').skip(1).step_by(2)
}

/// The orderings that need a name.
pub(super) const ORDERINGS: [&str; 3] = ["AcqRel", "Acquire", "Release"];
const FENCES: [&str; 2] = ["full_fence", "full_fence_after_rmw"];
/// The back end itself.
const DOORS: [&str; 4] = ["sync/mod.rs", "sync/loom_backend.rs", "sync/shuttle_backend.rs", "sync/weaken.rs"];

/// The constants of the crate that stand for an ordering, with the strongest they stand for: those of the rules, and the eventcount's.
pub(super) fn ordering_constants(sources: &[Source]) -> Vec<(String, &'static str)> {
    let lines = sources.iter().flat_map(|source| &source.code);
    let declared = lines.filter_map(|code| code.trim_start().strip_prefix("const ")?.split_once(": Ordering = "));
    declared.filter_map(|(name, value)| Some((name.to_owned(), ORDERINGS.into_iter().find(|order| says_word(value, order))?))).collect()
}

/// All sites, in the order of the files and lines; and what looks like one and cannot be read.
pub fn sites(sources: &[Source]) -> (Vec<Site>, Vec<String>) {
    let constants = ordering_constants(sources);
    let (mut sites, mut unread) = (Vec::new(), Vec::new());
    for source in sources.iter().filter(|source| !DOORS.contains(&source.path.as_str())) {
        let before = sites.len();
        of_file(source, &constants, &mut sites, &mut unread);
        number(&mut sites[before..]);
    }
    (sites, unread)
}

fn of_file(source: &Source, constants: &[(String, &'static str)], sites: &mut Vec<Site>, unread: &mut Vec<String>) {
    let mut function = String::new();
    for (line, code, _) in source.lines().filter(|(line, ..)| !source.in_use[*line]) {
        if let Some((_, rest)) = code.split_once("fn ") {
            function = rest.chars().take_while(|c| is_word(*c)).collect();
        }
        for (at, word) in words(code) {
            let before = code[..at].trim_end_matches(|c: char| is_word(c) || c == ':');
            let ordering = ORDERINGS.into_iter().find(|order| *order == word && !code.contains(": Ordering ="));
            let constant = || constants.iter().find(|(name, _)| name == word && code[..at].ends_with("::")).map(|(_, order)| *order);
            let is_call = FENCES.contains(&word) && code[at + word.len()..].starts_with('(') && !before.ends_with("fn ");
            let (op, call, argument, ordering) = if is_call {
                ("fence".to_owned(), line, 0, "SeqCst")
            } else if let Some(ordering) = ordering.or_else(constant) {
                match operation(source, line, at) {
                    Some((op, call, argument)) => (op, call, argument, ordering),
                    None => {
                        unread.push(source.at(line, "an ordering outside of an operation that is known"));
                        continue;
                    }
                }
            } else {
                continue;
            };
            let side = |side: &str| ordering == "SeqCst" || ordering == "AcqRel" || ordering.to_lowercase() == side;
            let mut edges: Vec<String> = if op == "fence" { vec![] } else { source.edges_near(line) }
                .into_iter()
                .filter(|(_, said)| side(if *said == "release" { "release" } else { "acquire" }))
                .map(|(name, _)| name)
                .collect();
            edges.sort();
            edges.dedup();
            sites.push(Site {
                name: format!("{}::{function}", source.path.trim_end_matches(".rs")),
                op,
                ordering,
                place: (format!("src/{}", source.path), call + 1, argument),
                edges,
            });
        }
    }
}

/// The call that the ordering at `at` is an argument of: what it is, its line, and which of a CAS's orderings this one is.
fn operation(source: &Source, line: usize, at: usize) -> Option<(String, usize, u8)> {
    let (mut depth, mut commas) = (0, 0);
    let mut call = (line, at);
    'found: for above in (line.saturating_sub(8)..=line).rev() {
        let code = &source.code[above];
        let end = if above == line { at } else { code.len() };
        for (here, c) in code[..end].char_indices().rev() {
            match c {
                ')' | ']' | '}' => depth += 1,
                '(' if depth == 0 => {
                    call = (above, here);
                    break 'found;
                }
                '(' | '[' | '{' => depth -= 1,
                ',' if depth == 0 => commas += 1,
                _ => {}
            }
        }
    }
    let code = &source.code[call.0][..call.1];
    let method = &code[code.rfind(|c| !is_word(c)).map_or(0, |at| at + 1)..];
    let (op, argument) = match (method, commas) {
        ("load", 0) | ("store", 1) | ("swap", 1) => (method.to_owned(), 0),
        ("look_u64", 1) => ("load".to_owned(), 0),
        ("store_exclusive", 2) => ("store".to_owned(), 0),
        ("compare_exchange" | "compare_exchange_weak", 2) => ("CAS".to_owned(), 0),
        ("compare_exchange" | "compare_exchange_weak", 3) => ("CAS lost".to_owned(), 1),
        (_, 1) if method.starts_with("fetch_") => (method.to_owned(), 0),
        _ => return None,
    };
    Some((op, call.0, argument))
}

fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let begins = code.char_indices().filter(|&(at, c)| is_word(c) && !code[..at].ends_with(is_word));
    begins.map(|(at, _)| (at, code[at..].split(|c| !is_word(c)).next().unwrap_or_default()))
}

fn number(sites: &mut [Site]) {
    let mut seen: BTreeMap<(String, String), u32> = BTreeMap::new();
    for site in sites {
        let count = seen.entry((site.name.clone(), site.op.clone())).or_default();
        *count += 1;
        if *count > 1 {
            site.op = format!("{} #{count}", site.op);
        }
    }
}

#[test]
fn a_site_is_read_where_it_is_called() {
    let text = "impl A {\n    fn go(&self) {\n        // edge a.b, release: x; acquire: y\n        self.word\n            .compare_exchange(f(a, b),\n            c, AcqRel,\n            Acquire);\n        \
        self.word.load(Acquire);\n        full_fence();\n    }\n}";
    let (found, unread) = sites(&[Source::new("a/b.rs", text)]);
    assert!(unread.is_empty(), "{unread:?}");
    let said: Vec<_> = found.iter().map(|site| (site.name.as_str(), site.op.as_str(), site.ordering, site.place.1, site.place.2)).collect();
    let expected = [
        ("a/b::go", "CAS", "AcqRel", 5, 0),
        ("a/b::go", "CAS lost", "Acquire", 5, 1),
        ("a/b::go", "load", "Acquire", 8, 0),
        ("a/b::go", "fence", "SeqCst", 9, 0),
    ];
    assert_eq!(said, expected);
    assert_eq!(sites(&[Source::new("a.rs", "fn f() { g(Acquire); }")]).1.len(), 1);
}
