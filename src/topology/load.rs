//! Files, from the disk to a topology.

use super::check::{Site, check};
use super::data::Topology;
use super::fault::{Fault, Faults, Format, TopologyError};
use super::node::{Entry, Node, Value};
use super::source::{Place, Source, Span};
use super::words::nearest;
use super::{read, toml, yaml};
use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The largest file that is read: 1 MiB.
pub const FILE_MAX: usize = 1 << 20;

impl Topology {
    /// Reads a file: TOML by its extension `toml`, YAML by `yaml` or `yml`.
    ///
    /// # Errors
    /// Every fault that was found. A file that cannot be read, is no UTF-8 or is larger than [`FILE_MAX`] is one.
    ///
    /// ```
    /// use ringmill::topology::Topology;
    ///
    /// let error = Topology::load("no/such/file.toml").unwrap_err().to_string();
    /// assert!(error.starts_with("error: cannot be read: "));
    /// assert!(Topology::load("tasks.json").is_err());
    /// ```
    pub fn load(path: impl AsRef<Path>) -> Result<Topology, TopologyError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let refuse = |fault: Fault| TopologyError::one(Some(&name), Fault { site: name.clone(), ..fault });
        let format = match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => Format::Toml,
            Some("yaml" | "yml") => Format::Yaml,
            _ => return Err(refuse(Fault::new("its name ends in neither `.toml` nor `.yaml` nor `.yml`"))),
        };
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(FILE_MAX as u64 + 1).read_to_end(&mut bytes));
        read.map_err(|error| refuse(Fault::new(format!("cannot be read: {error}"))))?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => parse(text, &name, format),
            // cut in the middle of a character
            Err(_) if bytes.len() > FILE_MAX => Err(refuse(too_large())),
            Err(error) => {
                let at = error.valid_up_to();
                let text = String::from_utf8_lossy(&bytes);
                let text = without_mark(&text);
                let in_text = if bytes.starts_with(MARK.as_bytes()) { at - MARK.len() } else { at };
                let place = Source { name: &name, text }.place(&(in_text..in_text + 1));
                let fault = Fault::new(format!("the file is no UTF-8: byte {at} is 0x{:02x}", bytes[at]));
                Err(TopologyError::one(Some(&name), Fault { place: Some(place), ..fault }))
            }
        }
    }

    /// Reads TOML. `name` is the file's, for messages.
    ///
    /// # Errors
    /// Every fault that was found; or, where the text is no TOML, the first place where it is not.
    ///
    /// ```
    /// use ringmill::topology::Topology;
    ///
    /// let error = Topology::from_toml("[[queues]]\nname = 'mails'\nmax_lenght = 10\n", "mails.toml").unwrap_err();
    /// let fault = &error.faults()[0];
    /// assert_eq!((fault.line(), fault.column(), fault.nearest()), (Some(3), Some(1), Some("max_length")));
    /// ```
    pub fn from_toml(text: &str, name: &str) -> Result<Topology, TopologyError> {
        parse(text, name, Format::Toml)
    }

    /// Reads YAML: one document, without anchors, aliases and tags. `name` is the file's, for messages.
    ///
    /// # Errors
    /// Every fault that was found; or, where the text is no YAML, the first place where it is not.
    ///
    /// ```
    /// use ringmill::topology::Topology;
    ///
    /// let error = Topology::from_yaml("queues:\n  - { name: mails, visibility: 5 minutes }\n", "mails.yaml").unwrap_err();
    /// assert!(error.to_string().contains("write `5m`"));
    /// ```
    pub fn from_yaml(text: &str, name: &str) -> Result<Topology, TopologyError> {
        parse(text, name, Format::Yaml)
    }
}

/// What some editors begin a file with; it is no part of the text.
const MARK: &str = "\u{feff}";

fn without_mark(text: &str) -> &str {
    text.strip_prefix(MARK).unwrap_or(text)
}

fn too_large() -> Fault {
    Fault::new(format!("the file is larger than {FILE_MAX} bytes")).help("that is more than any topology needs")
}

fn parse(text: &str, name: &str, format: Format) -> Result<Topology, TopologyError> {
    let refuse = |faults| Err(TopologyError::new(Some(name), faults).in_format(format, Vec::new()));
    if text.len() > FILE_MAX {
        return refuse(Faults { kept: vec![Fault { site: name.to_owned(), ..too_large() }], more: 0 });
    }
    let source = Source { name, text: without_mark(text) };
    let mut faults = Faults::default();
    let tree = match format {
        _ if source.text.trim().is_empty() => Ok(Node::nothing()),
        Format::Toml => toml::parse(&source, &mut faults),
        Format::Yaml => yaml::parse(&source, &mut faults),
    };
    let root = match tree {
        Ok(root) => root,
        Err(fault) => return refuse(Faults { kept: vec![*fault], more: 0 }),
    };
    let (topology, mut faults, unsure) = read::read(&root, source, faults);
    let (found, more) = check(&topology, &unsure, faults.is_full());
    faults.more += more;
    let place_of = |place: &Place| (place.line, place.column);
    // what could not be read was left at its default, and what is wrong with that has been said
    let said: HashSet<_> = faults.kept.iter().filter_map(|fault| fault.place.as_ref().map(place_of)).collect();
    for (site, fault) in found {
        let (span, setting) = locate(&root, &site);
        let place = source.place(&span);
        let fault = match setting.and_then(|(key, node)| Some((key, source.written(node)?))) {
            Some((key, written)) if fault.allowed.is_some() => fault.quoting(key, written),
            _ => fault,
        };
        let whole = site.list.is_empty();
        let follows = if whole { are_queues_unread(&root) } else { is_about_no_name(&site) || said.contains(&place_of(&place)) };
        if faults.is_empty() || !follows {
            faults.add(|| Fault { place: Some(place), ..fault });
        }
    }
    if faults.is_empty() {
        return Ok(topology);
    }
    Err(TopologyError::new(Some(name), faults).in_format(format, inline_lists(&root, source.text)))
}

/// The lists of a file that are written between brackets, and not item by item.
fn inline_lists(root: &Node, text: &str) -> Vec<&'static str> {
    let is_inline = |list: &&str| {
        root.entry(list).is_some_and(|entry| {
            // the key of a TOML table of its own stands between brackets itself
            let is_table = text[..entry.key_span.start].trim_end().ends_with("[[");
            !is_table && text[entry.node.span.clone()].starts_with('[')
        })
    };
    ["exchanges", "queues", "pools"].into_iter().filter(is_inline).collect()
}

/// Whether there is something that was to be queues.
fn are_queues_unread(root: &Node) -> bool {
    match &root.value {
        Value::Table(entries) => entries.iter().any(|Entry { key, node, .. }| match key.as_str() {
            "queues" => !matches!(&node.value, Value::List(items) if items.is_empty()),
            // by another name
            other => nearest(other, read::TOP) == Some("queues"),
        }),
        _ => true,
    }
}

/// Whether the fault is that there is no name. What else is wrong with the thing is another fault.
fn is_about_no_name(site: &Site) -> bool {
    site.name.is_empty() && site.binding.is_none() && site.keys == ["name"]
}

/// The name of an item, as it was read: empty if it was not.
fn name_of(item: &Node) -> Option<&str> {
    let is_read = matches!(item.value, Value::Table(_));
    is_read.then(|| item.get("name").and_then(Node::text).unwrap_or_default())
}

/// The value of a key that is written as in [`Site::keys`].
fn at<'n>(node: &'n Node, path: &str) -> Option<&'n Node> {
    let number = |node: &&Node| node.word().and_then(|word| word.replace('_', "").parse::<u64>().ok());
    path.split('.').try_fold(node, |node, key| match &node.value {
        Value::List(items) => items.iter().filter_map(|item| item.get(key)).max_by_key(number),
        _ => node.get(key),
    })
}

/// Where in the tree a site is: the value of the key, which comes with it, or the nearest thing around it that is there.
fn locate<'n>(root: &'n Node, site: &Site) -> (Span, Option<(&'static str, &'n Node)>) {
    let items = root.get(site.list).map(Node::items).unwrap_or_default();
    let mut named = items.iter().filter(|item| name_of(item) == Some(&site.name));
    let Some(item) = named.nth(site.nth) else { return (root.span.clone(), None) };
    let binding = site.binding.and_then(|index| item.get("bindings").map(Node::items).unwrap_or_default().get(index));
    let within = binding.unwrap_or(item);
    let setting = site.keys.iter().find_map(|key| Some((key.rsplit('.').next()?, at(within, key)?)));
    let fallback = if binding.is_some() { None } else { item.get("name") };
    (setting.map(|(_, node)| node).or(fallback).unwrap_or(within).span.clone(), setting)
}
