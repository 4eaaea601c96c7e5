//! A file: its name, its text, and where in it a byte is.

use super::node::{Node, Value};
use super::words::is_active;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of the text.
pub(super) type Span = Range<usize>;

/// The name and the text of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
}

/// A place in a file, with its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: Arc<str>,
    /// From 1.
    pub(super) line: usize,
    /// From 1, in characters.
    pub(super) column: usize,
    /// What is shown of the line.
    pub(super) excerpt: String,
    /// Where the carets begin under the excerpt, and how many they are.
    pub(super) carets: (usize, usize),
}

/// The longest excerpt, in characters.
const EXCERPT_MAX: usize = 160;
/// What is shown before the place, where the line is longer.
const BEFORE: usize = 60;

impl Source<'_> {
    /// A value as it is written, if it is not longer than a line; of a text, what it says.
    pub(super) fn written<'n>(&'n self, node: &'n Node) -> Option<&'n str> {
        let written =
            || self.text.get(node.span.clone()).map(str::trim_end).filter(|text| !text.is_empty() && !text.contains(['\n', '\r']));
        match &node.value {
            Value::Text(word) | Value::Plain(word) => Some(word),
            Value::Other(word) => written().or(Some(word)),
            Value::List(_) | Value::Table(_) => written(),
        }
    }

    /// Where a span begins.
    pub(super) fn place(&self, span: &Span) -> Place {
        let mut start = self.boundary(span.start);
        let end = self.boundary(span.end.max(start));
        if self.text[..start].ends_with('\r') && self.text[start..].starts_with('\n') {
            start -= 1; // both are one end of a line
        }
        let (before, behind) = self.text.split_at(start);
        let line_start = before.rfind('\n').max(before.rfind('\r')).map_or(0, |at| at + 1);
        let line_end = [behind.find('\n'), behind.find('\r')].into_iter().flatten().min().map_or(self.text.len(), |at| start + at);
        let line = 1 + self.lines_before(line_start);
        let before = self.text[line_start..start].chars().count();
        let marked = self.text[start..end.min(line_end)].trim_end().chars().count().max(1);
        let skipped = if self.text[line_start..line_end].chars().count() > EXCERPT_MAX { before.saturating_sub(BEFORE) } else { 0 };
        let shown = self.text[line_start..line_end].trim_end().chars().skip(skipped).take(EXCERPT_MAX);
        let excerpt: String = shown.map(|c| if is_active(c) { ' ' } else { c }).collect();
        let caret = before - skipped;
        let carets = (caret, marked.min(EXCERPT_MAX.saturating_sub(caret).max(1)));
        Place { file: self.name.into(), line, column: before + 1, excerpt, carets }
    }

    /// How many lines end before a byte: with a line feed, a carriage return, or both.
    fn lines_before(&self, at: usize) -> usize {
        let feeds = self.text[..at].matches('\n').count();
        let returns = self.text[..at].match_indices('\r');
        feeds + returns.filter(|(at, _)| self.text.as_bytes().get(at + 1) != Some(&b'\n')).count()
    }

    /// The character that this byte belongs to.
    fn boundary(&self, at: usize) -> usize {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}
