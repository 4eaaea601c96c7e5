//! `docs/glossary.md`: what other systems call a thing finds it here.

use super::source::walk;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Words without one item of the public API, or whose item has that very name.
const WITHOUT: [&str; 11] =
    ["ready", "claim", "delivery", "lease", "expire (a lease)", "dead letter", "redrive", "watched", "end", "completed", "dropped"];

fn plain(word: &str) -> String {
    word.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase()
}

/// The search aliases in a piece of code.
fn aliases(code: &str) -> BTreeSet<String> {
    code.split("doc(alias = \"").skip(1).filter_map(|rest| rest.split('"').next()).map(plain).collect()
}

/// The rows of the first table whose words elsewhere are no aliases.
fn unfindable(page: &str, aliases: &BTreeSet<String>) -> Vec<String> {
    let rows = page.split("\n## ").nth(1).unwrap_or_default().lines().filter(|line| line.starts_with("| ")).skip(1);
    let cells = rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    cells
        .filter(|cells| cells.len() == 3 && !cells[2].is_empty() && !WITHOUT.contains(&cells[0]))
        .filter(|cells| !cells[2].split(", ").any(|word| aliases.contains(&plain(word))))
        .map(|cells| cells[0].to_owned())
        .collect()
}

#[test]
fn words_of_other_systems_are_search_aliases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    walk(&root.join("src"), &mut files);
    let code: String = files.iter().map(|file| fs::read_to_string(file).expect("it is there")).collect();
    let page = fs::read_to_string(root.join("docs/glossary.md")).expect("the page is there");
    assert_eq!(unfindable(&page, &aliases(&code)), Vec::<String>::new());
}

#[test]
fn a_word_that_finds_nothing_is_found() {
    let page = "# Glossary\n\n## A life\n\n| word | meaning | elsewhere |\n|---|---|---|\n| ack | done | delete |\n| job | | task, work item |\n| claim | | fetch |\n";
    let found = |code: &str| unfindable(page, &aliases(code));
    assert_eq!(found(""), ["ack", "job"]);
    assert_eq!(found("#[doc(alias = \"delete\")] #[doc(alias = \"work_item\")]"), Vec::<String>::new());
}
