//! From binding keys to a [`TopicTable`].

use super::edges::Edges;
use super::key::{BindingKey, Pattern};
use super::topics::{Node, TopicTable};
use super::words::{NONE, Words};
use std::collections::BTreeMap;

/// A node in the making.
#[derive(Default)]
struct Draft {
    words: BTreeMap<u32, u32>,
    one: Option<u32>,
    any: Option<u32>,
    /// The node is behind a `#`.
    open: bool,
    bindings: Vec<u32>,
}

impl TopicTable {
    /// A table of these keys. What it finds are their positions: 0, 1, 2...
    ///
    /// # Complexity
    /// O(n log n) in the words of the keys.
    pub fn new<'k>(keys: impl IntoIterator<Item = &'k BindingKey>) -> Self {
        Self::numbered((0..).zip(keys))
    }

    /// A table of these keys, each with the number by which it is found.
    ///
    /// # Complexity
    /// As [`new`](Self::new).
    pub fn numbered<'k>(keys: impl IntoIterator<Item = (u32, &'k BindingKey)>) -> Self {
        let mut words: BTreeMap<&str, u32> = BTreeMap::new();
        let mut drafts = vec![Draft::default()];
        for (binding, key) in keys {
            let mut at = 0;
            for pattern in key.patterns() {
                // `#.#` is `#`
                if pattern == Pattern::Any && drafts[at].open {
                    continue;
                }
                at = child(&mut drafts, &mut words, at, pattern);
            }
            drafts[at].bindings.push(binding);
        }
        assemble(&drafts, &words)
    }
}

/// The node behind `pattern` at `from`, made if there is none.
fn child<'k>(drafts: &mut Vec<Draft>, words: &mut BTreeMap<&'k str, u32>, from: usize, pattern: Pattern<'k>) -> usize {
    let new = drafts.len() as u32;
    let draft = &mut drafts[from];
    let at = match pattern {
        Pattern::One => *draft.one.get_or_insert(new),
        Pattern::Any => *draft.any.get_or_insert(new),
        Pattern::Word(word) => {
            let number = words.len() as u32;
            let word = *words.entry(word).or_insert(number);
            *draft.words.entry(word).or_insert(new)
        }
    };
    if at == new {
        drafts.push(Draft { open: pattern == Pattern::Any, ..Draft::default() });
    }
    at as usize
}

fn assemble(drafts: &[Draft], words: &BTreeMap<&str, u32>) -> TopicTable {
    let mut bindings = Vec::new();
    let mut edges = Vec::new();
    let mut stamps = 0;
    let nodes = drafts.iter().enumerate().map(|(at, draft)| {
        let first = bindings.len() as u32;
        bindings.extend(&draft.bindings);
        edges.extend(draft.words.iter().map(|(&word, &to)| (at as u32, word, to)));
        let stamp = if draft.open { stamps } else { NONE };
        stamps += u32::from(draft.open);
        Node {
            one: draft.one.unwrap_or(NONE),
            any: draft.any.unwrap_or(NONE),
            first,
            end: bindings.len() as u32,
            stamp,
            has_words: !draft.words.is_empty(),
        }
    });
    let nodes = nodes.collect();
    TopicTable { words: Words::new(words), edges: Edges::new(&edges), nodes, bindings: bindings.into(), stamps: stamps as usize }
}
