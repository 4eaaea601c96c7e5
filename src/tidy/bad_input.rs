//! The table of bad inputs in `docs/testing.md`: every row has a test, and every test that is named there is one.

use super::source::tested_code;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Fewer rows than this, and some have been lost.
const ROWS_LEAST: usize = 60;

/// The names of the functions marked as tests.
fn tests_in(code: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let mut marked = false;
    for line in code.lines().map(str::trim_start) {
        if line.starts_with("#[test]") {
            marked = true;
        } else if let Some(rest) = line.strip_prefix("fn ").filter(|_| marked) {
            found.insert(rest.split(['(', '<']).next().unwrap_or(rest));
            marked = false;
        } else if !line.starts_with("#[") && !line.starts_with("//") {
            marked = false;
        }
    }
    found
}

/// How many rows the table has, and what is wrong with them.
fn rows(page: &str, tests: &BTreeSet<&str>) -> (usize, Vec<String>) {
    let table = page.split("## Bad input").nth(1).unwrap_or_default().split("\n## ").next().unwrap_or_default();
    let (mut count, mut found, mut inputs) = (0, Vec::new(), BTreeSet::new());
    for line in table.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let &[input, outcome, shown] = &cells[..] else {
            found.push(format!("a row of {} cells: {line}", cells.len()));
            continue;
        };
        // a heading within the table
        if input.starts_with("**") {
            continue;
        }
        count += 1;
        if outcome.is_empty() || !inputs.insert(input) {
            found.push(format!("`{input}` is there twice, or without what happens"));
        }
        // doctests come last, and rooms in brackets
        let shown = shown.split("doctest").next().unwrap_or_default();
        let said =
            shown.split('`').enumerate().filter(|(at, _)| at % 2 == 1 && !shown.split('`').nth(at - 1).unwrap_or_default().ends_with('('));
        let named: Vec<&str> = said.map(|(_, name)| name).collect();
        if named.is_empty() {
            found.push(format!("`{input}` has no test"));
        }
        found.extend(named.iter().filter(|name| !tests.contains(*name)).map(|name| format!("`{input}` names `{name}`, which is no test")));
    }
    (count, found)
}

#[test]
fn every_bad_input_has_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let code = tested_code(root);
    let page = fs::read_to_string(root.join("docs/testing.md")).expect("the page is there");
    let (count, found) = rows(&page, &tests_in(&code));
    assert!(found.is_empty(), "{} findings:\n{}", found.len(), found.join("\n"));
    assert!(count >= ROWS_LEAST, "{count} rows, wanted are {ROWS_LEAST}");
}

#[test]
fn a_row_without_a_test_is_found() {
    let code = "#[test]\n#[ignore]\nfn a_real_one() {}\nfn a_helper() {}\nproptest! {\n    #[test]\n    fn another(x in 0..1) {}\n}\n";
    let tests = tests_in(code);
    assert_eq!(tests.iter().copied().collect::<Vec<_>>(), ["a_real_one", "another"]);
    let page = |row: &str| {
        format!("## Bad input\n| input | what happens | test |\n|---|---|---|\n| **part** | | |\n{row}\n\n## More\n| x | y | `z` |\n")
    };
    let found = |row: &str| rows(&page(row), &tests).1.len();
    assert_eq!(rows(&page("| 0 | refused | `a_real_one`, `another` (`room`), doctest of `X::new` |"), &tests), (1, vec![]));
    assert_eq!(found("| 0 | refused | `a_helper` |"), 1, "no test");
    assert_eq!(found("| 0 | refused | `a_real_one`, `renamed_since` |"), 1, "nowhere");
    assert_eq!(found("| 0 | refused | doctest of `X` |"), 1, "nothing that can be looked for");
    assert_eq!(found("| 0 | | `a_real_one` |"), 1, "no outcome");
    assert_eq!(found("| 0 | refused | `a_real_one` |\n| 0 | taken | `another` |"), 1, "twice");
    assert_eq!(found("| 0 | refused |"), 1, "a cell is missing");
}
