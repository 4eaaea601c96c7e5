//! TOML to nodes.

use super::fault::{Fault, Faults};
use super::node::{DEPTH_MAX, Entry, Node, Value};
use super::source::{Source, Span};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Reads a whole file. Keys that are there twice are said in `faults`; nothing depends on them.
///
/// # Errors
/// The first thing that is no TOML; what comes after it depends on it too often to be worth reading.
pub(super) fn parse(source: &Source<'_>, faults: &mut Faults) -> Result<Node, Box<Fault>> {
    let (table, errors) = DeTable::parse_recoverable(source.text);
    let fault = |error: &toml::de::Error| {
        let span = error.span().unwrap_or(0..0);
        if error.message().contains("recursion depth") {
            return too_deep(source, &span);
        }
        Fault { place: Some(source.place(&span)), ..Fault::new(format!("this is no TOML: {}", error.message())) }
    };
    let others = errors.iter().filter(|error| error.message() != "duplicate key");
    if let Some(error) = others.min_by_key(|error| error.span().map_or(0, |span| span.start)) {
        return Err(Box::new(fault(error)));
    }
    for error in &errors {
        let key = error.span().and_then(|span| source.text.get(span)).unwrap_or_default();
        faults.add(|| Fault { place: fault(error).place, ..Fault::twice(key) });
    }
    let span = table.span();
    Ok(Node { span, value: Value::Table(entries(table.into_inner(), 1, source)?) })
}

fn too_deep(source: &Source<'_>, span: &Span) -> Fault {
    Fault { place: Some(source.place(span)), ..Fault::new(format!("more than {DEPTH_MAX} levels deep")) }
}

fn entries(table: DeTable<'_>, depth: usize, source: &Source<'_>) -> Result<Vec<Entry>, Box<Fault>> {
    let mut entries = Vec::with_capacity(table.len());
    for (key, value) in table {
        entries.push(Entry { key_span: key.span(), node: node(value, depth, source)?, key: key.into_inner().into_owned() });
    }
    entries.sort_by_key(|entry| entry.key_span.start);
    Ok(entries)
}

fn node(value: Spanned<DeValue<'_>>, depth: usize, source: &Source<'_>) -> Result<Node, Box<Fault>> {
    let span = value.span();
    if depth > DEPTH_MAX {
        return Err(Box::new(too_deep(source, &span)));
    }
    let written = source.text.get(span.clone()).unwrap_or_default().to_owned();
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => Value::Other(i128::from_str_radix(number.as_str(), number.radix()).map_or(written, |n| n.to_string())),
        DeValue::Boolean(flag) => Value::Other(flag.to_string()),
        DeValue::Float(_) | DeValue::Datetime(_) => Value::Other(written),
        DeValue::Array(items) => Value::List(items.into_iter().map(|item| node(item, depth + 1, source)).collect::<Result<_, _>>()?),
        DeValue::Table(table) => Value::Table(entries(table, depth + 1, source)?),
    };
    Ok(Node { span, value })
}
