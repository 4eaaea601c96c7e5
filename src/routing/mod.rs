//! Keys, and which bindings a key matches.
//!
//! A [`RoutingKey`] is what a job is published under: words split by dots. A [`BindingKey`] is a pattern of words, in which `*` stands for one word and `#` for
//! zero or more, anywhere. Both are checked once, on their way in.
//!
//! # Idea
//! [`TopicTable`] is a trie of the binding keys' words, and matching is a walk over it with a set of nodes: one step per word of the key. Words are interned, so
//! a word of the key is hashed once, however many nodes are looked at, and a step from a node is one probe of a table of (node, word).
//!
//! ```text
//!   bindings: 1 `a.b`   2 `a.*`   3 `a.#`   4 `#.b`        key `a.b`: 1 2 3 4, `a`: 3, `x.y.b`: 4
//!
//!            root ---- a ---- a --+-- b --> 1
//!              |                  +-- * --> 2
//!              |                  +-- # --> 3      a leaf: matched as soon as it is reached, never walked
//!              +------ # ---- b --> 4              an open `#`: stays in the set for good
//! ```
//!
//! # Invariants
//! 1. A node of words has one parent, and a parent is in the set at most once: so is the node. A `#` has two ways in, from its parent and from itself; it is
//!    stamped with the number of the walk. So every binding is found at most once.
//! 2. `#.#` means `#` and is compiled so: a `#` has no `#` below it.
//! 3. A table is immutable, and a walk allocates nothing once its [`Walk`] has grown to the widest set it met.
//!
//! # Complexity
//! O(words of the key x nodes in the set). The set holds the ways in which a prefix of the key fits: a few, unless the patterns are made to be alike. What a
//! key can look like is up to whoever publishes, but it only probes: the tables are made of the binding keys, which are the program's own.

mod compile;
mod edges;
mod key;
mod targets;
#[cfg(all(test, not(loom)))]
mod tests;
mod topics;
mod words;

pub use key::{BindingKey, KeyError, KeyFault, Pattern, RoutingKey};
pub use targets::{Hop, TargetSet};
pub use topics::{TopicTable, Walk};
pub(crate) use words::hash;
