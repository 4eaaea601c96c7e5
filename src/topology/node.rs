//! The tree that both formats become. Every node knows where it stands.

use super::source::Span;

/// How deep tables and lists may lie in each other.
pub const DEPTH_MAX: usize = 16;

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Text, which is never a number.
    Text(String),
    /// A word of YAML without quotes: text, or a number, or whatever is wanted of it.
    Plain(String),
    /// A number, boolean or date of TOML, as it was written.
    Other(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) node: Node,
}

impl Node {
    /// What an empty file has.
    pub(super) fn nothing() -> Node {
        Node { span: 0..0, value: Value::Plain(String::new()) }
    }

    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Text(_) => "a text",
            _ if self.is_nothing() => "nothing",
            Value::Plain(_) | Value::Other(_) => "a single value",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// Whether it stands for nothing.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(&self.value, Value::Plain(word) if is_null(word))
    }

    /// The text of a single value.
    pub(super) fn word(&self) -> Option<&str> {
        match &self.value {
            Value::Text(word) | Value::Plain(word) | Value::Other(word) => Some(word),
            Value::List(_) | Value::Table(_) => None,
        }
    }

    /// A text that is not empty. A number of TOML is none.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) if !text.is_empty() => Some(text),
            Value::Plain(word) if !is_null(word) => Some(word),
            _ => None,
        }
    }

    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Table(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    pub(super) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }
}

/// A word that stands for nothing.
pub(super) fn is_null(word: &str) -> bool {
    matches!(word, "" | "~" | "null" | "Null" | "NULL")
}
