//! What kinds of exchanges there are.

use crate::routing::BindingKey;
use std::fmt;

/// How an exchange reads its binding keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExchangeKind {
    /// A routing key goes where a binding key is the same, word for word.
    Direct,
    /// Binding keys are patterns: `*` is one word, `#` zero or more.
    Topic,
    /// Every routing key goes to every queue. The only binding key is `#`.
    Fanout,
}

impl ExchangeKind {
    /// Its name, as in topology files.
    pub fn name(self) -> &'static str {
        match self {
            ExchangeKind::Direct => "direct",
            ExchangeKind::Topic => "topic",
            ExchangeKind::Fanout => "fanout",
        }
    }

    /// What it takes as a binding key.
    pub(crate) fn allowed(self) -> &'static str {
        match self {
            ExchangeKind::Direct => "words without `*` and `#`",
            ExchangeKind::Topic => "words, `*` and `#`",
            ExchangeKind::Fanout => "`#`",
        }
    }

    /// Whether it takes this one.
    pub(crate) fn takes(self, key: &BindingKey) -> bool {
        match self {
            ExchangeKind::Direct => key.is_literal(),
            ExchangeKind::Topic => true,
            ExchangeKind::Fanout => key.as_str() == "#",
        }
    }
}

impl fmt::Display for ExchangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
