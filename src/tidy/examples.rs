//! Every function of the public interface is called in an example that asserts.
//!
//! Its own example or another's: a getter is best shown where what it gets comes about. Names are all that is looked at, so one `len` stands for another; rustdoc's own
//! lint tells more, and only on a nightly compiler.

use super::source::{is_word, says_word, walk};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Modules that are public as a whole, or all of whose public items are exported.
const OPEN: [&str; 7] = ["clock", "config", "cron", "error", "face", "limits", "topology"];

/// Rooms with a type of their own that has the name of an exported one.
const HOMONYMS: [&str; 2] = ["completion/watched.rs", "runtime/topology.rs"];

/// The code of all examples that assert, in doc comments and in pages.
fn examples(text: &str) -> String {
    let mut found = String::new();
    let mut block: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim_start();
        let line = trimmed.strip_prefix("///").or(trimmed.strip_prefix("//!")).unwrap_or(line).trim_start();
        match (line.strip_prefix("```"), &mut block) {
            (Some(kind), None) => {
                block = Some(if ["", "no_run", "should_panic"].contains(&kind) { String::new() } else { "compile_fail".to_owned() })
            }
            (Some(_), Some(code)) => {
                if code.contains("assert") && !code.starts_with("compile_fail") {
                    found.push_str(code);
                }
                block = None;
            }
            (None, Some(code)) => {
                code.push_str(line);
                code.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

/// The names behind `pub use` at the crate's root.
fn exported(root: &str) -> BTreeSet<&str> {
    let uses = root.split("\npub use ").skip(1).filter_map(|rest| rest.split(';').next());
    uses.flat_map(|list| list.split("::").skip(1))
        .flat_map(|names| names.split(|c: char| !is_word(c)))
        .filter(|name| !name.is_empty())
        .collect()
}

/// The items at the top of a file that are `pub`.
fn declared(text: &str) -> impl Iterator<Item = &str> {
    let kinds = ["struct", "enum", "trait", "fn", "const", "type"];
    let items = text.lines().filter_map(|line| line.strip_prefix("pub ")?.split_once(' '));
    items.filter(move |(kind, _)| kinds.contains(kind)).filter_map(|(_, rest)| rest.split(|c: char| !is_word(c)).next())
}

/// What stands behind the `<...>` of an `impl`, if there is one.
fn behind_generics(rest: &str) -> &str {
    let mut depth = 0;
    let end = rest.find(|c: char| {
        depth += i32::from(c == '<') - i32::from(c == '>');
        depth == 0
    });
    if rest.starts_with('<') { end.map_or("", |end| &rest[end + 1..]) } else { rest }
}

/// The functions and constants of a file that users can reach: (what they belong to, name).
fn reachable<'a>(text: &'a str, exported: &BTreeSet<&str>) -> Vec<(&'a str, &'a str)> {
    let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let (mut found, mut owner, mut hidden) = (Vec::new(), None, false);
    for line in code.lines() {
        let trimmed = line.trim_start();
        if let Some(rest) = line.strip_prefix("impl") {
            let name = behind_generics(rest).trim_start().split(|c: char| !is_word(c)).next().unwrap_or_default();
            owner = (!line.contains(" for ") && exported.contains(name)).then_some(name);
        } else if line == "}" {
            owner = None;
        } else if trimmed.starts_with("#[") {
            hidden |= trimmed.contains("doc(hidden)") || trimmed.contains("cfg(");
            continue;
        } else if trimmed.starts_with("///") {
            continue;
        }
        let item = trimmed.strip_prefix("pub const fn ").or(trimmed.strip_prefix("pub fn ")).or(trimmed.strip_prefix("pub const "));
        let name = item.and_then(|item| item.split(|c: char| !is_word(c)).next());
        if let (Some(name), false) = (name, hidden) {
            let top = line.starts_with("pub");
            if top && exported.contains(name) {
                found.push(("", name));
            } else if let (false, Some(owner)) = (top, owner) {
                found.push((owner, name));
            }
        }
        hidden = false;
    }
    found
}

#[test]
fn every_public_function_is_called_in_an_example_that_asserts() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    walk(&root.join("src"), &mut files);
    let sources: Vec<(String, String)> = files
        .iter()
        .map(|file| {
            let path = file.strip_prefix(root.join("src")).expect("it was found there").to_string_lossy().into_owned();
            (path, fs::read_to_string(file).expect("code is UTF-8"))
        })
        .filter(|(path, _)| !path.starts_with("tidy") && !path.contains("tests"))
        .collect();
    let mut shown: String = sources.iter().map(|(_, text)| examples(text)).collect();
    for entry in fs::read_dir(root.join("docs")).expect("the pages are there").flatten().filter(|entry| entry.path().is_file()) {
        shown.push_str(&examples(&fs::read_to_string(entry.path()).expect("pages are UTF-8")));
    }
    shown.push_str(&examples(&fs::read_to_string(root.join("README.md")).expect("it is there")));

    let lib = &sources.iter().find(|(path, _)| path == "lib.rs").expect("the root is there").1;
    let open = sources.iter().filter(|(path, _)| OPEN.iter().any(|module| path.starts_with(module)));
    let exported: BTreeSet<&str> = exported(lib).into_iter().chain(open.flat_map(|(_, text)| declared(text))).collect();
    let (mut count, mut missing) = (0, Vec::new());
    for (path, text) in sources.iter().filter(|(path, _)| !HOMONYMS.contains(&path.as_str())) {
        for (owner, name) in reachable(text, &exported) {
            count += 1;
            if !says_word(&shown, name) {
                missing.push(format!("{path}: {owner}::{name}"));
            }
        }
    }
    assert!(count > 250, "only {count} functions were found");
    assert!(missing.is_empty(), "{} of {count} are in no example that asserts:\n{}", missing.len(), missing.join("\n"));
}

#[test]
fn a_function_without_an_example_is_found() {
    let text = "/// ```\n/// assert!(Ring::new().is_empty());\n/// ```\n/// ```\n/// Ring::push();\n/// ```\n/// ```compile_fail\n/// assert!(Ring::pop());\n/// ```\n";
    let shown = examples(text);
    assert!(says_word(&shown, "is_empty") && says_word(&shown, "new"));
    assert!(!says_word(&shown, "push"), "an example that asserts nothing");
    assert!(!says_word(&shown, "pop"), "one that does not compile");
    let root = "mod a;\npub use ring::{Full, Ring};\n\npub use slab::Slab;\n";
    let exported = exported(root);
    assert_eq!(exported.iter().copied().collect::<Vec<_>>(), ["Full", "Ring", "Slab"]);
    let code = "pub const SIZE: usize = 1;\nimpl<T: X> Ring<T> {\n    pub fn new() {}\n    #[doc(hidden)]\n    pub fn raw() {}\n    fn own() {}\n}\nimpl Inner {\n    pub fn far() {}\n}\nimpl Drop for Ring {\n}\n";
    assert_eq!(reachable(code, &exported), [("Ring", "new")]);
    let more: BTreeSet<&str> = exported.into_iter().chain(declared("pub const SIZE: usize = 1;\npub(crate) struct Inner;\n")).collect();
    assert_eq!(reachable(code, &more), [("", "SIZE"), ("Ring", "new")]);
}
