//! Names of things: newtypes without logic.

use std::fmt;

/// Identifies a job within its queue, from 1, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub(crate) u64);

impl JobId {
    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The id with this number, for the crate's own models.
    #[doc(hidden)]
    pub const fn from_number(number: u64) -> Self {
        JobId(number)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job-{}", self.0)
    }
}
