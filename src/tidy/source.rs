//! What the rules read: files cut into code and comments.

use std::fs;
use std::path::{Path, PathBuf};

use super::REACH;

/// A file, line by line: code without comments, strings and test modules; and the comments.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) code: Vec<String>,
    pub(super) comments: Vec<String>,
    /// The line belongs to a `use`.
    pub(super) in_use: Vec<bool>,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let (mut code, mut comments, mut in_use) = (Vec::new(), Vec::new(), Vec::new());
        let (mut string, mut using, mut test, mut skipping) = (false, false, false, false);
        for line in text.lines() {
            let (mut said, comment) = split(line, &mut string);
            let top = !line.starts_with([' ', '}']);
            skipping |= test && top && said.starts_with("mod ") && said.ends_with('{');
            test = is_test_cfg(&said);
            if skipping {
                skipping = line != "}";
                said.clear();
            }
            using |= ["use ", "pub use "].iter().any(|start| said.trim_start().starts_with(start));
            in_use.push(using);
            using &= !said.contains(';');
            code.push(said);
            comments.push(comment);
        }
        Source { path: path.to_owned(), code, comments, in_use }
    }

    pub(super) fn module(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// Numbered from 0: line, code, comment.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str, &str)> {
        self.code.iter().zip(&self.comments).enumerate().map(|(line, (code, comment))| (line, code.as_str(), comment.as_str()))
    }

    pub(super) fn at(&self, line: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path, line + 1)
    }

    pub(super) fn edges_near(&self, line: usize) -> Vec<(String, &'static str)> {
        self.comments[line.saturating_sub(REACH)..=line].iter().flat_map(|comment| edges_in(comment)).collect()
    }
}

/// Code and comment of a line. Strings are emptied; `string` says whether the line begins, and then whether it ends, inside of one.
fn split(line: &str, string: &mut bool) -> (String, String) {
    let (mut code, mut chars) = (String::new(), line.char_indices().peekable());
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if *string => drop(chars.next()),
            '"' => *string = !*string,
            _ if *string => {}
            '\'' if line[at..].starts_with("'\"'") => drop((chars.next(), chars.next())),
            '/' if line[at..].starts_with("//") => return (code, line[at..].to_owned()),
            _ => code.push(c),
        }
    }
    (code, String::new())
}

/// `edge name.part, release: ...; acquire: ...`
pub(super) fn edges_in(comment: &str) -> Vec<(String, &'static str)> {
    let mut edges = Vec::new();
    for said in after_each(comment, "edge ") {
        let Some((name, rest)) = said.split_once(", ") else { continue };
        let is_name = |part: &str| !part.is_empty() && part.chars().all(|c| c == '_' || c.is_ascii_lowercase());
        if !name.split_once('.').is_some_and(|(room, part)| is_name(room) && is_name(part)) {
            continue;
        }
        for side in ["release", "acquire"] {
            if rest.starts_with(side) || rest.contains(&format!("; {side}")) {
                edges.push((name.to_owned(), side));
            }
        }
    }
    edges
}

fn is_test_cfg(code: &str) -> bool {
    code.starts_with("#[cfg(") && code.contains("test") && !code.contains("any(")
}

pub(super) fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// What follows each `needle` that begins a word.
pub(super) fn after_each<'a>(text: &'a str, needle: &'a str) -> impl Iterator<Item = &'a str> {
    let fresh = move |at: usize| !needle.starts_with(is_word) || !text[..at].ends_with(is_word);
    text.match_indices(needle).filter(move |(at, _)| fresh(*at)).map(move |(at, _)| &text[at + needle.len()..])
}

pub(super) fn says_word(code: &str, word: &str) -> bool {
    after_each(code, word).any(|rest| !rest.starts_with(is_word))
}

/// The text of every file that may hold tests, one after the other.
pub(super) fn tested_code(root: &Path) -> String {
    let mut files = Vec::new();
    ["src", "loom-tests", "proptests", "sim-tests", "examples", "compile-fail/tests"]
        .iter()
        .for_each(|folder| walk(&root.join(folder), &mut files));
    files.iter().map(|file| fs::read_to_string(file).expect("code is UTF-8")).collect()
}

pub(super) fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is readable").map(|entry| entry.expect("the folder is readable").path()) {
        if entry.is_dir() { walk(&entry, files) } else { files.push(entry) }
    }
}

/// Every file of `src` but those that are test modules: declared behind a test `cfg`.
pub(super) fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    let mut tests = Vec::new();
    let mut sources = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("src is UTF-8");
        let home =
            if file.ends_with("mod.rs") || file.ends_with("lib.rs") { file.parent().unwrap().to_owned() } else { file.with_extension("") };
        for pair in text.lines().collect::<Vec<_>>().windows(2).filter(|pair| is_test_cfg(pair[0])) {
            if let Some(name) = pair[1].strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
                tests.push(home.join(name));
            }
        }
        let path = file.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
        sources.push((file, Source::new(&path, &text)));
    }
    sources.retain(|(file, _)| !tests.iter().any(|test| file.starts_with(test) || file.with_extension("") == *test));
    sources.into_iter().map(|(_, source)| source).collect()
}

#[test]
fn the_scanner_tells_code_from_the_rest() {
    let source = Source::new("a.rs", "let a = \"// no\"; // yes\nlet b = '\"'; c // edge a.b, release: x\nlet d = \"one\n two\"; e");
    assert_eq!(source.code, ["let a = ; ", "let b = ; c ", "let d = ", "; e"]);
    assert_eq!(edges_in(&source.comments[1]), [("a.b".to_owned(), "release")]);
    assert_eq!(edges_in("// edge is what makes it"), []);
    assert_eq!(edges_in("// edge a.b, release by the fence; acquire: y"), [("a.b".to_owned(), "release"), ("a.b".to_owned(), "acquire")]);
}
