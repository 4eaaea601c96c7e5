//! How a job ended, and what it left.

use crate::dead_letter::DeathReason;
use crate::id::JobId;
use std::any::Any;
use std::fmt;

/// How a job ended.
///
/// | end | the ledger counts it as |
/// |---|---|
/// | `Acked` | `acked` |
/// | `DeadLettered` | `dead_lettered`, when the letter is written: a job that is held for want of room has not ended |
/// | `Discarded` | `dropped_discarded` |
/// | `Cancelled` | `dropped_cancelled` |
/// | `Purged` | `dropped_purged` |
/// | `HandedBack` | `handed_back` |
/// | `Lost` | nothing: there is no ledger any more |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum End {
    /// A delivery was acked, or completed.
    Acked,
    /// It went to the dead letters, for this reason: rejected, expired, over-length, too many attempts, too many expiries.
    DeadLettered(DeathReason),
    /// The handler, or the retry function, said that nobody needs it.
    Discarded,
    /// Somebody cancelled it.
    Cancelled,
    /// Somebody purged the queue.
    Purged,
    /// It was given back undone at shutdown.
    HandedBack,
    /// The queue was dropped with the job in it.
    Lost,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Acked => f.write_str("acked"),
            End::DeadLettered(reason) => write!(f, "dead-lettered: {reason}"),
            End::Discarded => f.write_str("discarded"),
            End::Cancelled => f.write_str("cancelled"),
            End::Purged => f.write_str("purged"),
            End::HandedBack => f.write_str("handed back"),
            End::Lost => f.write_str("lost with its queue"),
        }
    }
}

/// How a watched job ended, and what its handler answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Completed<A> {
    /// The job.
    pub job: JobId,
    /// How it ended.
    pub end: End,
    /// What the handler answered, if it was acked by [`complete`](crate::Context::complete).
    pub answer: Option<A>,
    /// What its last failed attempt said, if it was dead-lettered.
    pub error: Option<Box<str>>,
}

/// An answer whose type only the publisher and the handler know.
pub type Answer = Box<dyn Any + Send>;

/// An [`Completed`], its type forgotten.
pub struct Kept {
    /// How the job ended.
    pub end: End,
    /// What the handler answered.
    pub answer: Option<Answer>,
    /// What the last failed attempt said.
    pub error: Option<Box<str>>,
}

impl Kept {
    /// An end that says nothing else.
    pub fn bare(end: End) -> Self {
        Kept { end, answer: None, error: None }
    }

    /// The outcome of a job whose answers are of the type `A`.
    ///
    /// # Panics
    /// When the answer is of another type: a payload has one type of answer.
    pub fn into_completed<A: 'static>(self, job: JobId) -> Completed<A> {
        let answer = self.answer.map(|answer| *answer.downcast::<A>().expect("a payload has one type of answer"));
        Completed { job, end: self.end, answer, error: self.error }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("end", &self.end).field("answered", &self.answer.is_some()).field("error", &self.error).finish()
    }
}
