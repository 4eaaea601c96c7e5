//! YAML to nodes: one document of tables, lists and single values. Anchors, aliases and tags are refused, so that a file is as large as it looks.

use super::fault::{Fault, Faults};
use super::node::{DEPTH_MAX, Entry, Node, Value};
use super::source::{Source, Span};
use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};
use std::collections::HashSet;

/// Reads a whole file. Of a key that is there twice the first counts; that is said in `faults`.
///
/// # Errors
/// The first thing that is no YAML, or no YAML that is read here.
pub(super) fn parse(source: &Source<'_>, faults: &mut Faults) -> Result<Node, Box<Fault>> {
    let mut reader = Reader { source, parser: Parser::new_from_str(source.text), bytes: Bytes::new(source.text), faults };
    let mut document = None;
    loop {
        match reader.next()? {
            (Event::StreamEnd, span) => return Ok(document.unwrap_or(Node { span, value: Value::Plain(String::new()) })),
            (Event::StreamStart | Event::DocumentEnd | Event::Nothing, _) => {}
            (Event::DocumentStart(_), span) if document.is_some() => return Err(reader.fault(&span, "a second document; one is read")),
            (Event::DocumentStart(_), _) => {
                let first = reader.next()?;
                document = Some(reader.node(first, 1)?);
            }
            (_, span) => return Err(reader.fault(&span, "a value outside of the document")),
        }
    }
}

struct Reader<'a> {
    source: &'a Source<'a>,
    parser: Parser<'a, StrInput<'a>>,
    bytes: Bytes,
    faults: &'a mut Faults,
}

type Next<'a> = (Event<'a>, Span);

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Next<'a>, Box<Fault>> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                let start = self.bytes.at(span.start.index());
                Ok((event, start..self.bytes.at(span.end.index()).max(start)))
            }
            Some(Err(error)) => {
                let at = self.bytes.at(error.marker().index());
                if error.info().contains("recursion limit") {
                    return Err(self.too_deep(&(at..at)));
                }
                let alias = if error.info().contains("anchor") { "; aliases are not read here: write the value out" } else { "" };
                let fault = self.fault(&(at..at), &format!("this is no YAML: {}{alias}", error.info()));
                let is_star = self.source.text[at..].starts_with('*');
                Err(if is_star { Box::new(fault.help("a text that begins with `*` is written in quotes: `\"*\"`")) } else { fault })
            }
            None => Ok((Event::StreamEnd, self.source.text.len()..self.source.text.len())),
        }
    }

    fn node(&mut self, (event, span): Next<'a>, depth: usize) -> Result<Node, Box<Fault>> {
        if depth > DEPTH_MAX {
            return Err(self.too_deep(&span));
        }
        let (anchor, tag) = match &event {
            Event::Alias(_) => return Err(self.fault(&span, "an alias; write the value out: aliases can make a small file a huge one")),
            Event::Scalar(_, _, anchor, tag) | Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => {
                (*anchor, tag.is_some())
            }
            _ => return Err(self.fault(&span, "a value is missing")),
        };
        if anchor > 0 {
            return Err(self.fault(&span, "an anchor; anchors and aliases are not read here: write the value out where it is needed"));
        }
        if tag {
            return Err(self.fault(&span, "a tag; tags are not read here, the schema says what a value is"));
        }
        match event {
            Event::Scalar(word, ScalarStyle::Plain, ..) => Ok(Node { span, value: Value::Plain(word.into_owned()) }),
            Event::Scalar(text, ..) => Ok(Node { span, value: Value::Text(text.into_owned()) }),
            Event::SequenceStart(..) => self.list(span, depth),
            _ => self.table(span, depth),
        }
    }

    fn list(&mut self, span: Span, depth: usize) -> Result<Node, Box<Fault>> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, end) => {
                    // one in brackets is all that is between them
                    let end = if self.source.text[span.clone()].starts_with('[') { end.end } else { span.end };
                    return Ok(Node { span: span.start..end, value: Value::List(items) });
                }
                item => items.push(self.node(item, depth + 1)?),
            }
        }
    }

    fn table(&mut self, span: Span, depth: usize) -> Result<Node, Box<Fault>> {
        let (mut entries, mut keys) = (Vec::new(), HashSet::new());
        loop {
            let (event, key_span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Node { span, value: Value::Table(entries) });
            }
            let key = self.node((event, key_span.clone()), depth + 1)?;
            let Some(key) = key.word().map(str::to_owned) else {
                return Err(self.fault(&key_span, "a key is a single word"));
            };
            let value = self.next()?;
            let node = self.node(value, depth + 1)?;
            if keys.insert(key.clone()) {
                entries.push(Entry { key, key_span, node });
                continue;
            }
            self.faults.add(|| Fault { place: Some(self.source.place(&key_span)), ..Fault::twice(&key) });
        }
    }

    fn too_deep(&self, span: &Span) -> Box<Fault> {
        self.fault(span, &format!("more than {DEPTH_MAX} levels deep"))
    }

    fn fault(&self, span: &Span, message: &str) -> Box<Fault> {
        Box::new(Fault { place: Some(self.source.place(span)), ..Fault::new(message) })
    }
}

/// From the parser's characters to bytes.
struct Bytes {
    /// The byte at which each character begins; empty where every character is one byte.
    starts: Vec<usize>,
    len: usize,
}

impl Bytes {
    fn new(text: &str) -> Self {
        let starts = if text.is_ascii() { Vec::new() } else { text.char_indices().map(|(at, _)| at).collect() };
        Bytes { starts, len: text.len() }
    }

    fn at(&self, character: usize) -> usize {
        if self.starts.is_empty() { character.min(self.len) } else { self.starts.get(character).copied().unwrap_or(self.len) }
    }
}
