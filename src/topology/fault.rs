//! What is wrong with a topology: every fault, each with its place.

use super::source::Place;
use super::words::{is_active, printable};
use std::fmt;

/// How many faults are kept; more are only counted.
pub const FAULTS_MAX: usize = 64;

/// One thing that is wrong.
///
/// Its `Display` is that of a compiler: message, file, line and column, the line with carets under the value, and help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub(super) message: String,
    pub(super) value: Option<String>,
    pub(super) nearest: Option<String>,
    pub(super) help: Vec<String>,
    pub(super) place: Option<Place>,
    /// Where in the data, for topologies that come from no file.
    pub(super) site: String,
    /// What a file that lacks it could say.
    pub(super) completion: Option<Completion>,
    /// What a setting may be, where that is what is wrong.
    pub(super) allowed: Option<String>,
}

/// A change that mends a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Completion {
    /// Declare a name, of some type or with some lanes, in a list.
    Declare { list: &'static str, name: String, kind: Option<&'static str>, lanes: Vec<String> },
    /// Leave something away.
    Remove(String),
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Toml,
    Yaml,
}

impl Format {
    /// An entry of a list, for between its brackets if it is written inline. Of one that is not it is a row of YAML, or a table of TOML for the end of the file.
    fn entry(self, list: &str, name: &str, kind: Option<&str>, lanes: &[String], inline: bool) -> String {
        let mut keys = vec![("name", self.text(name))];
        keys.extend(kind.map(|kind| ("type", self.text(kind))));
        if !lanes.is_empty() {
            let lanes: Vec<String> = lanes.iter().map(|lane| self.text(lane)).collect();
            keys.push(("lanes", format!("[{}]", lanes.join(", "))));
        }
        let is = if self == Format::Toml { " = " } else { ": " };
        let keys: Vec<String> = keys.into_iter().map(|(key, value)| format!("{key}{is}{value}")).collect();
        match self {
            Format::Toml if !inline => format!("[[{list}]]\n{}", keys.join("\n")),
            Format::Yaml if !inline => format!("- {{ {} }}", keys.join(", ")),
            _ => format!("{{ {} }},", keys.join(", ")),
        }
    }

    fn text(self, text: &str) -> String {
        let is_word =
            text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        let is_plain = self == Format::Yaml && is_word && !OTHERS.iter().any(|other| text.eq_ignore_ascii_case(other));
        if is_plain { text.to_owned() } else { quoted(text) }
    }
}

/// Words of YAML that are no text, to some of those who read it.
const OTHERS: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];

/// A text in double quotes, as both formats write it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if is_active(c) || matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}') => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Fault {
            message: printable(message.into()),
            value: None,
            nearest: None,
            help: Vec::new(),
            place: None,
            site: String::new(),
            completion: None,
            allowed: None,
        }
    }

    /// A key that its table has already.
    pub(super) fn twice(key: &str) -> Self {
        Fault::new(format!("the key `{}` is there twice", key.escape_debug())).value(key)
    }

    pub(super) fn value(mut self, value: impl Into<String>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// The name that was probably meant, if there is one.
    pub(super) fn meant(mut self, nearest: Option<&str>) -> Self {
        if let Some(nearest) = nearest {
            self.help.push(printable(format!("did you mean `{nearest}`?")));
            self.nearest = Some(nearest.to_owned());
        }
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(printable(help.into()));
        self
    }

    pub(super) fn completed_by(mut self, completion: Completion) -> Self {
        self.completion = Some(completion);
        self
    }

    /// A setting that is refused, as the file writes it.
    pub(super) fn quoting(mut self, key: &str, written: &str) -> Self {
        // what is wrong with reserves is their sum
        if let Some(allowed) = self.allowed.take().filter(|_| key != "reserve") {
            self.message = printable(format!("`{key}` is {written}, allowed is {allowed}"));
        }
        self.value(written)
    }

    /// What is wrong, on one line.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The value that is wrong, as it was written.
    pub fn offending_value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// The valid name nearest to the one that is wrong, if one is near.
    pub fn nearest(&self) -> Option<&str> {
        self.nearest.as_deref()
    }

    /// The line in the file, from 1.
    pub fn line(&self) -> Option<usize> {
        self.place.as_ref().map(|place| place.line)
    }

    /// The column in the line, from 1, in characters.
    pub fn column(&self) -> Option<usize> {
        self.place.as_ref().map(|place| place.column)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        let gutter = match &self.place {
            Some(place) => {
                let number = place.line.to_string();
                let gutter = " ".repeat(number.len());
                let (before, carets) = (" ".repeat(place.carets.0), "^".repeat(place.carets.1));
                write!(f, "\n{gutter}--> {}:{}:{}\n{gutter} |", printable(place.file.to_string()), place.line, place.column)?;
                write!(f, "\n{number} | {}\n{gutter} | {before}{carets}", place.excerpt)?;
                gutter
            }
            None if self.site.is_empty() => " ".to_owned(),
            None => {
                write!(f, "\n --> {}", printable(self.site.clone()))?;
                " ".to_owned()
            }
        };
        for help in &self.help {
            write!(f, "\n{gutter} = help: {help}")?;
        }
        Ok(())
    }
}

/// Faults as they are found: the first [`FAULTS_MAX`], and how many more there are. What is not kept need not be worked out.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) kept: Vec<Fault>,
    pub(super) more: usize,
}

impl Faults {
    pub(super) fn add(&mut self, fault: impl FnOnce() -> Fault) {
        if self.is_full() {
            self.more += 1;
        } else {
            self.kept.push(fault());
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.kept.len() >= FAULTS_MAX
    }

    pub(super) fn count(&self) -> usize {
        self.kept.len() + self.more
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

/// Why a topology is refused: every fault that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopologyError {
    name: Option<String>,
    faults: Vec<Fault>,
    /// Those that were not kept.
    more: usize,
    format: Format,
    /// The lists that the file writes inline.
    inline: Vec<&'static str>,
}

impl TopologyError {
    /// Sorts the faults by place; those at one place stay in the order in which they were found.
    pub(super) fn new(name: Option<&str>, Faults { kept: mut faults, more }: Faults) -> Self {
        let place = |fault: &Fault| fault.place.as_ref().map(|place| (place.line, place.column));
        faults.sort_by_key(place);
        TopologyError { name: name.map(str::to_owned), faults, more, format: Format::Yaml, inline: Vec::new() }
    }

    pub(super) fn in_format(mut self, format: Format, inline: Vec<&'static str>) -> Self {
        (self.format, self.inline) = (format, inline);
        self
    }

    pub(super) fn one(name: Option<&str>, fault: Fault) -> Self {
        Self::new(name, Faults { kept: vec![fault], more: 0 })
    }

    /// The faults, in the order of the file. At least one, at most [`FAULTS_MAX`].
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The least that would mend all faults which can be mended by declaring a name or leaving a word away; `None` where there is none of those.
    ///
    /// ```
    /// use ringmill::topology::{DEPTH_MAX, FAULTS_MAX, FILE_MAX, Topology};
    ///
    /// let text = "exchanges: [{ name: x, type: topic, bindings: [{ routing_key: a, queue: mails }] }]\nqueues: [{ name: other }]";
    /// let error = Topology::from_yaml(text, "x.yaml").unwrap_err();
    /// assert_eq!(error.faults()[0].offending_value(), Some("mails"));
    /// assert_eq!(error.completion().unwrap(), "add to `queues`:\n    { name: mails },");
    /// assert!(error.faults().len() <= FAULTS_MAX);
    /// let (deep, long) = ("[".repeat(DEPTH_MAX + 1), " ".repeat(FILE_MAX + 1));
    /// assert!(Topology::from_yaml(&deep, "x.yaml").is_err() && Topology::from_yaml(&long, "x.yaml").is_err());
    /// ```
    pub fn completion(&self) -> Option<String> {
        let mut lists: Vec<(&str, Vec<String>)> = Vec::new();
        let mut removed = Vec::new();
        for completion in self.faults.iter().filter(|fault| fault.nearest.is_none()).filter_map(|fault| fault.completion.as_ref()) {
            match completion {
                Completion::Declare { list, name, kind, lanes } => {
                    let entry = self.format.entry(list, name, *kind, lanes, self.inline.contains(list));
                    let at = lists.iter().position(|(name, _)| name == list).unwrap_or_else(|| {
                        lists.push((list, Vec::new()));
                        lists.len() - 1
                    });
                    if !lists[at].1.contains(&entry) {
                        lists[at].1.push(entry);
                    }
                }
                Completion::Remove(what) => removed.push(what),
            }
        }
        let mut lines = Vec::new();
        for (list, entries) in lists {
            lines.push(format!("add to `{list}`:"));
            lines.extend(entries.into_iter().map(|entry| format!("    {}", entry.replace('\n', "\n    "))));
        }
        lines.extend(removed.into_iter().map(|what| printable(format!("remove {what}"))));
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

impl fmt::Display for TopologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            write!(f, "{fault}\n\n")?;
        }
        let count = self.faults.len() + self.more;
        let name = printable(self.name.clone().unwrap_or_else(|| "topology".to_owned()));
        write!(f, "{name}: {count} error{}", if count == 1 { "" } else { "s" })?;
        if self.more > 0 {
            write!(f, ", {} shown", self.faults.len())?;
        }
        if let Some(completion) = self.completion() {
            write!(f, "\nthe smallest completion:\n  {}", completion.replace('\n', "\n  "))?;
        }
        Ok(())
    }
}

impl std::error::Error for TopologyError {}
