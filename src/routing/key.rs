//! Routing keys, binding keys, and what can be wrong with them.

use crate::limits::{KEY_BYTES_MAX, KEY_WORDS_MAX};
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What a job is published under: words split by single dots, such as `billing.invoice.created`.
///
/// At most [`KEY_BYTES_MAX`] bytes and [`KEY_WORDS_MAX`] words. A word is any text without dots, `*`, `#` and ASCII control characters.
///
/// ```
/// use ringmill::{KeyFault, RoutingKey};
///
/// let key = RoutingKey::new("billing.invoice")?;
/// assert_eq!(key.words().collect::<Vec<_>>(), ["billing", "invoice"]);
///
/// let error = RoutingKey::new("billing..invoice").unwrap_err();
/// assert_eq!((error.fault(), error.position()), (&KeyFault::EmptyWord, 8));
/// # Ok::<(), ringmill::KeyError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoutingKey<'a> {
    text: &'a str,
}

impl<'a> RoutingKey<'a> {
    /// Checks a key.
    ///
    /// # Errors
    /// Where and why it is none.
    #[inline]
    pub fn new(text: &'a str) -> Result<Self, KeyError> {
        match first_fault(text, WORDS_ONLY) {
            None => Ok(RoutingKey { text }),
            Some((fault, position)) => Err(KeyError::new(text, fault, position)),
        }
    }

    /// Checks a key that comes from outside as bytes.
    ///
    /// # Errors
    /// As [`new`](Self::new), and where it is not UTF-8.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, KeyError> {
        Self::new(utf8(bytes)?)
    }

    /// The key.
    pub fn as_str(self) -> &'a str {
        self.text
    }

    /// Its words, from the first.
    pub fn words(self) -> impl Iterator<Item = &'a str> {
        self.text.split('.')
    }

    /// A key that was checked before.
    pub(crate) fn checked(text: &'a str) -> Self {
        debug_assert!(first_fault(text, WORDS_ONLY).is_none());
        RoutingKey { text }
    }
}

impl fmt::Display for RoutingKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl<'a> TryFrom<&'a str> for RoutingKey<'a> {
    type Error = KeyError;

    fn try_from(text: &'a str) -> Result<Self, KeyError> {
        Self::new(text)
    }
}

/// A pattern for routing keys: words, `*` for exactly one word, `#` for zero or more, anywhere.
///
/// The limits are those of a [`RoutingKey`]; `*` and `#` are words of their own.
///
/// ```
/// use ringmill::{BindingKey, RoutingKey};
///
/// let lazy = BindingKey::new("lazy.#")?;
/// assert!(lazy.matches(RoutingKey::new("lazy")?) && lazy.matches(RoutingKey::new("lazy.brown.fox")?));
/// let audit = BindingKey::new("audit.*")?;
/// assert!(audit.matches(RoutingKey::new("audit.user")?) && !audit.matches(RoutingKey::new("audit")?));
/// assert_eq!(
///     BindingKey::new("logs.err*").unwrap_err().to_string(),
///     "binding key `logs.err*`, byte 8: `*` inside a word; it stands for a whole one"
/// );
/// # Ok::<(), ringmill::KeyError>(())
/// ```
#[doc(alias = "subject")]
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindingKey {
    text: Arc<str>,
}

/// One word of a [`BindingKey`].
///
/// ```
/// use ringmill::{BindingKey, Pattern, RoutingKey};
///
/// let key = BindingKey::from_bytes(b"billing.*.#")?;
/// let words: Vec<Pattern<'_>> = key.patterns().collect();
/// assert_eq!(words, [Pattern::Word("billing"), Pattern::One, Pattern::Any]);
/// assert_eq!((key.as_str(), BindingKey::any().as_str()), ("billing.*.#", "#"));
/// assert!(!key.is_literal() && key.matches(RoutingKey::from_bytes(b"billing.eu")?));
/// assert!(RoutingKey::from_bytes(b"billing.\xff").is_err());
/// # Ok::<(), ringmill::KeyError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern<'a> {
    /// This word.
    Word(&'a str),
    /// `*`: any one word.
    One,
    /// `#`: any words, or none.
    Any,
}

impl BindingKey {
    /// Checks a key.
    ///
    /// # Errors
    /// Where and why it is none.
    pub fn new(text: &str) -> Result<Self, KeyError> {
        match first_fault(text, PATTERNS) {
            None => Ok(BindingKey { text: text.into() }),
            Some((fault, position)) => Err(KeyError { binding: true, ..KeyError::new(text, fault, position) }),
        }
    }

    /// Checks a key that comes from outside as bytes.
    ///
    /// # Errors
    /// As [`new`](Self::new), and where it is not UTF-8.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let text = utf8(bytes).map_err(|error| KeyError { binding: true, ..error })?;
        Self::new(text)
    }

    /// `#`, which every routing key matches.
    pub fn any() -> Self {
        BindingKey { text: "#".into() }
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its words, from the first.
    pub fn patterns(&self) -> impl Iterator<Item = Pattern<'_>> {
        self.text.split('.').map(|word| match word {
            "*" => Pattern::One,
            "#" => Pattern::Any,
            word => Pattern::Word(word),
        })
    }

    /// True when it has no `*` and no `#`: it matches one routing key.
    pub fn is_literal(&self) -> bool {
        self.patterns().all(|pattern| matches!(pattern, Pattern::Word(_)))
    }

    /// Whether `key` matches. An exchange does not ask its bindings one by one.
    ///
    /// # Complexity
    /// O(words of the one x words of the other).
    pub fn matches(&self, key: RoutingKey<'_>) -> bool {
        let (patterns, words): (Vec<_>, Vec<_>) = (self.patterns().collect(), key.words().collect());
        let (mut at, mut word) = (0, 0);
        // the last `#` passed, and up to which word it is taken to reach: when what follows does not fit, it reaches one further
        let mut reach: Option<(usize, usize)> = None;
        loop {
            match patterns.get(at) {
                Some(Pattern::Any) => {
                    reach = Some((at, word));
                    at += 1;
                    continue;
                }
                None if word == words.len() => return true,
                Some(Pattern::One) if word < words.len() => {}
                Some(Pattern::Word(text)) if words.get(word) == Some(text) => {}
                _ => match &mut reach {
                    Some((any, end)) if *end < words.len() => {
                        *end += 1;
                        (at, word) = (*any + 1, *end);
                        continue;
                    }
                    _ => return false,
                },
            }
            at += 1;
            word += 1;
        }
    }
}

impl fmt::Display for BindingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for BindingKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::new(text)
    }
}

impl TryFrom<&str> for BindingKey {
    type Error = KeyError;

    fn try_from(text: &str) -> Result<Self, KeyError> {
        Self::new(text)
    }
}

// ---- what can be wrong ----

/// Why a text is no key: what, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyError {
    /// The key, or its beginning.
    text: String,
    binding: bool,
    fault: KeyFault,
    position: usize,
}

/// What is wrong with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyFault {
    /// It is empty.
    Empty,
    /// It has more than [`KEY_BYTES_MAX`] bytes.
    TooLong {
        /// How many it has.
        bytes: usize,
    },
    /// It has more than [`KEY_WORDS_MAX`] words.
    TooManyWords,
    /// It begins or ends with a dot, or has two in a row.
    EmptyWord,
    /// `*` or `#` in a routing key.
    Wildcard(char),
    /// `*` or `#` in a word of a binding key.
    WildcardInWord(char),
    /// An ASCII control character.
    Control(char),
    /// Bytes that are no UTF-8.
    NotUtf8,
}

impl KeyError {
    /// How much of the key the error shows.
    const SHOWN: usize = 64;

    #[cold]
    fn new(text: &str, fault: KeyFault, position: usize) -> Self {
        let mut shown: String = text.chars().take(Self::SHOWN).collect();
        if shown.len() < text.len() {
            shown.push_str("...");
        }
        KeyError { text: shown, binding: false, fault, position }
    }

    /// What is wrong.
    pub fn fault(&self) -> &KeyFault {
        &self.fault
    }

    /// Where, in bytes from the beginning of the key.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The message for a place where the kind of the key was named before.
    pub(crate) fn place_and_reason(&self) -> impl fmt::Display {
        PlaceAndReason(self)
    }
}

/// An error about a key whose kind was named before.
struct PlaceAndReason<'a>(&'a KeyError);

impl fmt::Display for PlaceAndReason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KeyError { text, fault, position, .. } = self.0;
        write!(f, "`{}`, byte {position}: ", text.escape_debug())?;
        match fault {
            KeyFault::Empty => f.write_str("it is empty"),
            KeyFault::TooLong { bytes } => write!(f, "it has {bytes} bytes, allowed are 1..={KEY_BYTES_MAX}"),
            KeyFault::TooManyWords => write!(f, "one word too many, allowed are 1..={KEY_WORDS_MAX}"),
            KeyFault::EmptyWord => f.write_str("a word is missing; words are split by single dots"),
            KeyFault::Wildcard(c) => write!(f, "`{c}` is for binding keys"),
            KeyFault::WildcardInWord(c) => write!(f, "`{c}` inside a word; it stands for a whole one"),
            KeyFault::Control(c) => write!(f, "the control character {:#04x}", u32::from(*c)),
            KeyFault::NotUtf8 => f.write_str("it is no UTF-8"),
        }
    }
}

impl From<Infallible> for KeyError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.binding { "binding" } else { "routing" };
        write!(f, "{kind} key {}", self.place_and_reason())
    }
}

impl std::error::Error for KeyError {}

fn utf8(bytes: &[u8]) -> Result<&str, KeyError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let text = String::from_utf8_lossy(bytes);
        KeyError::new(&text, KeyFault::NotUtf8, error.valid_up_to())
    })
}

const WORDS_ONLY: bool = false;
const PATTERNS: bool = true;

/// The first thing that is wrong with `text`, and where.
#[inline]
fn first_fault(text: &str, patterns: bool) -> Option<(KeyFault, usize)> {
    let bytes = text.as_bytes();
    match bytes.len() {
        0 => return Some((KeyFault::Empty, 0)),
        1..=KEY_BYTES_MAX => {}
        bytes => return Some((KeyFault::TooLong { bytes }, KEY_BYTES_MAX)),
    }
    let (mut words, mut begun) = (1, 0);
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'.' if at == begun => return Some((KeyFault::EmptyWord, at)),
            b'.' if words == KEY_WORDS_MAX => return Some((KeyFault::TooManyWords, at + 1)),
            b'.' => (words, begun) = (words + 1, at + 1),
            b'*' | b'#' if !patterns => return Some((KeyFault::Wildcard(byte as char), at)),
            b'*' | b'#' if at > begun || bytes.get(at + 1).is_some_and(|&next| next != b'.') => {
                return Some((KeyFault::WildcardInWord(byte as char), at));
            }
            0..0x20 | 0x7F => return Some((KeyFault::Control(byte as char), at)),
            _ => {}
        }
    }
    (begun == bytes.len()).then_some((KeyFault::EmptyWord, begun))
}
