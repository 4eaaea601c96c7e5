//! Handlers by job kind.

use crate::error::ConfigError;
use crate::limits::KIND_BYTES_MAX;
use crate::runtime::handler::{Context, Handler};
use crate::verdict::{JobError, Verdict};
use std::fmt;
use std::sync::Arc;

/// A payload that says of which kind it is.
///
/// ```
/// use ringmill::{Kind, Payload};
///
/// struct Task { kind: String, body: Vec<u8> }
///
/// impl Payload for Task {}
/// impl Kind for Task {
///     fn kind(&self) -> &str {
///         &self.kind
///     }
/// }
/// # assert_eq!(Task { kind: "email:welcome".to_owned(), body: Vec::new() }.kind(), "email:welcome");
/// ```
#[doc(alias = "task_type")]
#[doc(alias = "job_type")]
pub trait Kind {
    /// The kind: a name such as `email:welcome`, in whatever notation the program likes.
    fn kind(&self) -> &str;
}

impl<K: Kind + ?Sized> Kind for Arc<K> {
    fn kind(&self) -> &str {
        (**self).kind()
    }
}

/// A handler for each kind of job in one queue, found by the job's kind: by its exact name, else by the longest prefix of it.
///
/// Where the kinds are known when the program is compiled, an `enum` and a `match` in one handler are better still, or a queue for each payload type: any
/// number of them share one [pool](crate::RuntimeBuilder::queue).
///
/// # Guarantees
/// - An exact name wins over every prefix, a longer prefix over a shorter one, the fallback comes last. The order of registration is of no concern.
/// - A job whose kind nobody wants is [rejected](Verdict::Reject) as `` no handler for kind `...` `` and becomes a dead letter, to be redriven when
///   there is a handler; unless there is a [fallback](Mux::fallback).
/// - A prefix is text, without regard for separators: `mail` is a prefix of `mailbox`.
///
/// # Complexity
/// Among n names: one binary search for an exact name; one more for a prefix, and a further one each time that the search meets a name which only begins
/// like the kind, at most as often as a name can have characters, however long the kind. Nothing is allocated.
///
/// # Examples
/// ```
/// use ringmill::{Context, Kind, Mux, QueueConfig, Runtime};
/// use std::sync::{Arc, Mutex};
///
/// struct Task(&'static str);
///
/// impl ringmill::Payload for Task {}
/// impl Kind for Task {
///     fn kind(&self) -> &str {
///         self.0
///     }
/// }
///
/// let ran = Arc::new(Mutex::new(Vec::new()));
/// let note = |by: &'static str| {
///     let ran = ran.clone();
///     move |task: &Task, _: &Context<Task>| ran.lock().unwrap().push((task.0, by))
/// };
/// let mux = Mux::new()
///     .on("image:resize", note("resize"))?
///     .on_prefix("image:", note("images"))?
///     .on_prefix("image:thumb", note("thumbnails"))?;
///
/// let mut builder = Runtime::builder();
/// let tasks = builder.queue(QueueConfig::new("tasks"), mux)?;
/// let runtime = builder.build()?;
/// let producer = tasks.producer()?;
/// for kind in ["image:resize", "image:rotate", "image:thumbnail", "video:cut"] {
///     producer.publish(Task(kind))?;
/// }
/// runtime.shutdown(Default::default());
/// let mut ran = ran.lock().unwrap();
/// ran.sort();
/// assert_eq!(*ran, [("image:resize", "resize"), ("image:rotate", "images"), ("image:thumbnail", "thumbnails")]);
///
/// let letter = tasks.dead_letters().take().unwrap();
/// assert_eq!(letter.record().last_error.as_deref(), Some("no handler for kind `video:cut`"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "ServeMux")]
#[doc(alias = "router")]
pub struct Mux<T> {
    kind: fn(&T) -> &str,
    exact: Names<Box<dyn Handler<T>>>,
    prefixes: Names<Box<dyn Handler<T>>>,
    fallback: Option<Box<dyn Handler<T>>>,
}

/// Names, with what they stand for.
struct Names<V> {
    sorted: Vec<(Box<str>, V)>,
    /// What they are called in errors.
    field: &'static str,
}

impl<T: Kind> Mux<T> {
    /// A mux without handlers, for payloads that know their kind.
    pub fn new() -> Self {
        Mux::by(T::kind)
    }
}

impl<T: Kind> Default for Mux<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Mux<T> {
    /// A mux without handlers, for payloads whose kind `kind` tells.
    ///
    /// ```
    /// use ringmill::{Context, Mux, QueueConfig, Runtime};
    ///
    /// let mux = Mux::by(|line: &String| line.split(' ').next().unwrap_or_default()).on("GET", |_: &String, _: &Context<String>| ())?;
    /// let mut builder = Runtime::builder();
    /// let requests = builder.queue(QueueConfig::new("requests"), mux)?;
    /// let runtime = builder.build()?;
    /// requests.producer()?.publish("GET /index.html".to_owned())?;
    /// runtime.shutdown(Default::default());
    /// assert_eq!(requests.counts().acked, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn by(kind: fn(&T) -> &str) -> Self {
        Mux { kind, exact: Names::new("name"), prefixes: Names::new("prefix"), fallback: None }
    }

    /// Jobs of exactly this kind go to `handler`.
    ///
    /// # Errors
    /// When `name` is empty, longer than [`KIND_BYTES_MAX`], or has a handler already.
    ///
    /// ```
    /// use ringmill::{Context, Mux};
    ///
    /// let mux = Mux::by(|kind: &String| kind);
    /// let mux = mux.on("mail", |_: &String, _: &Context<String>| ())?;
    /// let error = mux.on("mail", |_: &String, _: &Context<String>| ()).unwrap_err();
    /// assert_eq!(error.to_string(), "mux: name is `mail`, registered twice, allowed is each once");
    /// # Ok::<(), ringmill::ConfigError>(())
    /// ```
    #[doc(alias = "HandleFunc")]
    pub fn on(mut self, name: impl Into<String>, handler: impl Handler<T>) -> Result<Self, ConfigError> {
        self.exact.register(name.into(), Box::new(handler))?;
        Ok(self)
    }

    /// Jobs whose kind begins with `prefix` go to `handler`, unless their exact name or a longer prefix has another.
    ///
    /// # Errors
    /// When `prefix` is empty ([`fallback`](Self::fallback) is for every kind), longer than [`KIND_BYTES_MAX`], or has a handler already.
    pub fn on_prefix(mut self, prefix: impl Into<String>, handler: impl Handler<T>) -> Result<Self, ConfigError> {
        self.prefixes.register(prefix.into(), Box::new(handler))?;
        Ok(self)
    }

    /// Jobs of all other kinds go to `handler`, instead of to the dead letters.
    ///
    /// # Errors
    /// When there is a fallback already.
    ///
    /// ```
    /// use ringmill::{Context, Mux, QueueConfig, Runtime, Verdict};
    ///
    /// let mux = Mux::by(|kind: &String| kind).on("mail", |_: &String, _: &Context<String>| ())?;
    /// let mux = mux.fallback(|_: &String, _: &Context<String>| Verdict::Discard)?;
    /// let mut builder = Runtime::builder();
    /// let tasks = builder.queue(QueueConfig::new("tasks"), mux)?;
    /// let runtime = builder.build()?;
    /// for kind in ["mail", "fax"] {
    ///     tasks.producer()?.publish(kind.to_owned())?;
    /// }
    /// runtime.shutdown(Default::default());
    /// assert_eq!((tasks.counts().acked, tasks.counts().dropped_discarded), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fallback(mut self, handler: impl Handler<T>) -> Result<Self, ConfigError> {
        if self.fallback.replace(Box::new(handler)).is_some() {
            return Err(ConfigError::new("mux", "fallback", "registered twice", "one"));
        }
        Ok(self)
    }

    fn find(&self, kind: &str) -> Option<&dyn Handler<T>> {
        let named = self.exact.get(kind).or_else(|| self.prefixes.longest_prefix(kind));
        named.or(self.fallback.as_ref()).map(|handler| &**handler)
    }
}

impl<T: 'static> Handler<T> for Mux<T> {
    #[inline]
    fn handle(&self, payload: &T, context: &Context<T>) -> Verdict {
        let kind = (self.kind)(payload);
        match self.find(kind) {
            Some(handler) => handler.handle(payload, context),
            None => unknown(kind),
        }
    }
}

impl<T> fmt::Debug for Mux<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mux")
            .field("exact", &self.exact)
            .field("prefixes", &self.prefixes)
            .field("fallback", &self.fallback.is_some())
            .finish_non_exhaustive()
    }
}

impl<V> Names<V> {
    fn new(field: &'static str) -> Self {
        Names { sorted: Vec::new(), field }
    }

    fn register(&mut self, name: String, value: V) -> Result<(), ConfigError> {
        let refuse = |value: fmt::Arguments<'_>, allowed: fmt::Arguments<'_>| Err(ConfigError::new("mux", self.field, value, allowed));
        if name.is_empty() || name.len() > KIND_BYTES_MAX {
            return refuse(format_args!("`{}` ({} bytes)", clipped(&name), name.len()), format_args!("1..={KIND_BYTES_MAX} bytes"));
        }
        match self.search(&name) {
            Ok(_) => refuse(format_args!("`{name}`, registered twice"), format_args!("each once")),
            Err(place) => {
                self.sorted.insert(place, (name.into_boxed_str(), value));
                Ok(())
            }
        }
    }

    /// Where `name` is, or would be.
    #[inline]
    fn search(&self, name: &str) -> Result<usize, usize> {
        self.sorted.binary_search_by(|(known, _)| (**known).cmp(name))
    }

    #[inline]
    fn get(&self, name: &str) -> Option<&V> {
        self.search(name).ok().map(|at| &self.sorted[at].1)
    }

    /// What the longest name stands for that `kind` begins with.
    ///
    /// Names that begin `kind` sort before it. If the greatest name up to `kind` does not begin it, then any that does also begins what the two have in common:
    /// it sorts before that name and begins it as well.
    fn longest_prefix(&self, kind: &str) -> Option<&V> {
        let mut rest = kind;
        loop {
            let up_to = self.search(rest).map_or_else(|place| place, |at| at + 1);
            let (name, value) = self.sorted[..up_to].last()?;
            if rest.starts_with(&**name) {
                return Some(value);
            }
            rest = common_prefix(rest, name);
        }
    }
}

impl<V> fmt::Debug for Names<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sorted.iter().map(|(name, _)| name)).finish()
    }
}

fn common_prefix<'a>(one: &'a str, other: &str) -> &'a str {
    let differ = one.char_indices().zip(other.chars()).find(|((_, a), b)| a != b);
    &one[..differ.map_or(one.len().min(other.len()), |((at, _), _)| at)]
}

#[cold]
fn unknown(kind: &str) -> Verdict {
    Verdict::Reject(JobError::fatal(format!("no handler for kind `{}`", clipped(kind))))
}

/// A kind comes with the job, and may be anything: so much of it goes into a message.
fn clipped(kind: &str) -> String {
    let end = (0..=KIND_BYTES_MAX.min(kind.len())).rev().find(|&end| kind.is_char_boundary(end)).unwrap_or_default();
    let mark = if end < kind.len() { "..." } else { "" };
    format!("{}{mark}", kind[..end].escape_debug())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn found<'a>(names: &[&'a str], kind: &str) -> Option<&'a str> {
        let mut known = Names::new("prefix");
        names.iter().for_each(|&name| known.register(name.to_owned(), name).unwrap());
        known.longest_prefix(kind).copied()
    }

    #[test]
    fn the_longest_prefix_is_found_behind_names_that_sort_between() {
        assert_eq!(found(&["a", "ab", "abd", "abcde"], "abcd"), Some("ab"));
        assert_eq!(found(&["a", "aa0", "aaa0", "aaaa0"], "aaaaa"), Some("a"));
        assert_eq!(found(&["mail", "mail:", "mail:x"], "mail:welcome"), Some("mail:"));
        assert_eq!(found(&["mail"], "mail"), Some("mail"));
        assert_eq!(found(&["mail"], "mai"), None);
        assert_eq!(found(&["mail"], ""), None);
        assert_eq!(found(&[], "mail"), None);
    }

    #[test]
    fn characters_that_begin_with_the_same_bytes_are_no_prefix_of_each_other() {
        // é is C3 A9, è is C3 A8: the names part in the middle of a character
        assert_eq!(found(&["caf", "café:a"], "cafè"), Some("caf"));
        assert_eq!(found(&["é", "éa"], "éb"), Some("é"));
        assert_eq!(found(&["è"], "é"), None);
    }

    #[test]
    fn messages_clip_what_a_job_brings_and_show_what_cannot_be_seen() {
        assert_eq!(clipped("a\n\u{202e}b"), "a\\n\\u{202e}b");
        let long = "é".repeat(1_000);
        assert_eq!(clipped(&long), format!("{}...", "é".repeat(127)), "at most 255 bytes, whole characters");
    }
}
