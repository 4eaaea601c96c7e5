//! The compiled binding keys of an exchange, and the walk that matches a key.

use super::edges::Edges;
use super::key::RoutingKey;
use super::words::{NONE, Words};

/// Which bindings a routing key matches. Immutable.
///
/// ```
/// use ringmill::routing::{BindingKey, RoutingKey, TopicTable, Walk};
///
/// let keys = ["a.b", "a.*", "a.#", "#.b"].map(|key| BindingKey::new(key).unwrap());
/// let table = TopicTable::new(&keys);
/// let mut walk = Walk::new();
/// let mut found = Vec::new();
/// table.matches(RoutingKey::new("a")?, &mut walk, |binding| found.push(binding));
/// assert_eq!(found, [2]);
/// # Ok::<(), ringmill::KeyError>(())
/// ```
#[derive(Debug)]
pub struct TopicTable {
    pub(super) words: Words,
    pub(super) edges: Edges,
    /// The root is node 0.
    pub(super) nodes: Box<[Node]>,
    /// The bindings of all nodes, node by node.
    pub(super) bindings: Box<[u32]>,
    /// How many nodes are behind a `#`.
    pub(super) stamps: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    /// The node behind `*`.
    pub(super) one: u32,
    /// The node behind `#`.
    pub(super) any: u32,
    /// The bindings that end here.
    pub(super) first: u32,
    pub(super) end: u32,
    /// Of a node behind a `#`: its number among those.
    pub(super) stamp: u32,
    /// Words lead on from here.
    pub(super) has_words: bool,
}

impl Node {
    /// A word can lead on from here.
    fn goes_on(&self) -> bool {
        self.has_words || self.one != NONE
    }
}

/// What a walk needs: the set of nodes it is at. Belongs to one thread, serves any table, and is used again.
#[derive(Debug, Default)]
pub struct Walk {
    here: Vec<u32>,
    next: Vec<u32>,
    /// Nodes behind a `#` from which words lead on: once in the set, always in it.
    open: Vec<u32>,
    /// Per node behind a `#`: the round that met it last.
    stamps: Vec<u32>,
    round: u32,
}

impl Walk {
    /// A new one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the walk before.
    #[inline]
    fn begin(&mut self, stamps: usize) {
        self.next.clear();
        self.open.clear();
        if self.stamps.len() < stamps {
            self.stamps.resize(stamps, 0);
        }
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            self.stamps.fill(0);
            self.round = 1;
        }
    }
}

impl TopicTable {
    /// Calls `found` with every binding that `key` matches, once each, in no order that means anything.
    ///
    /// Allocates nothing once `walk` has grown to the widest set of nodes it met.
    #[inline]
    pub fn matches(&self, key: RoutingKey<'_>, walk: &mut Walk, mut found: impl FnMut(u32)) {
        self.parts(key, walk, |bindings| bindings.iter().for_each(|&binding| found(binding)));
    }

    /// As [`matches`](Self::matches), with those that have one binding key in one piece, which is the same for every key. Some may be empty.
    #[inline]
    pub fn parts<'t>(&'t self, key: RoutingKey<'_>, walk: &mut Walk, mut found: impl FnMut(&'t [u32])) {
        walk.begin(self.stamps);
        self.enter(0, walk, &mut found);
        for word in words(key.as_str().as_bytes()) {
            std::mem::swap(&mut walk.here, &mut walk.next);
            walk.next.clear();
            if walk.here.is_empty() && walk.open.is_empty() {
                return;
            }
            let mut number = None;
            // a `#` that this word enters has yet to take one: it is behind those that were open before
            let open = walk.open.len();
            for at in 0..walk.here.len() {
                self.step(walk.here[at], word, &mut number, walk, &mut found);
            }
            for at in 0..open {
                self.step(walk.open[at], word, &mut number, walk, &mut found);
            }
        }
        for at in walk.next.iter().chain(&walk.open) {
            self.report(&self.nodes[*at as usize], &mut found);
        }
    }

    /// Follows `word` from a node. `number` is the word's number, once somebody had to look it up.
    // always, here and below: a call costs as much as the rest
    #[inline(always)]
    fn step<'t>(&'t self, from: u32, word: &[u8], number: &mut Option<u32>, walk: &mut Walk, found: &mut impl FnMut(&'t [u32])) {
        let node = &self.nodes[from as usize];
        if node.has_words {
            let number = *number.get_or_insert_with(|| self.words.find(word));
            if number != NONE {
                let to = self.edges.find(from, number);
                if to != NONE {
                    self.enter(to, walk, found);
                }
            }
        }
        if node.one != NONE {
            self.enter(node.one, walk, found);
        }
    }

    /// Puts a node into the set, and the `#` below it, which may stand for no word at all.
    #[inline(always)]
    fn enter<'t>(&'t self, to: u32, walk: &mut Walk, found: &mut impl FnMut(&'t [u32])) {
        let node = &self.nodes[to as usize];
        if node.goes_on() || node.first < node.end {
            walk.next.push(to);
        }
        if node.any == NONE {
            return;
        }
        let any = &self.nodes[node.any as usize];
        let stamp = &mut walk.stamps[any.stamp as usize];
        if *stamp == walk.round {
            return;
        }
        *stamp = walk.round;
        if any.goes_on() {
            walk.open.push(node.any);
        } else {
            // whatever follows, it matches
            self.report(any, found);
        }
    }

    #[inline(always)]
    fn report<'t>(&'t self, node: &Node, found: &mut impl FnMut(&'t [u32])) {
        found(&self.bindings[node.first as usize..node.end as usize]);
    }
}

/// The words of a key. As `split`, whose search pays off in longer ones.
#[inline]
fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(key);
    std::iter::from_fn(move || {
        let key = rest?;
        let end = key.iter().position(|&byte| byte == b'.');
        rest = end.map(|end| &key[end + 1..]);
        Some(&key[..end.unwrap_or(key.len())])
    })
}
