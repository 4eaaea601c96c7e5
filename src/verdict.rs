//! What a handler decides about a delivery.

use std::fmt;
use std::time::Duration;

/// The end of a delivery.
///
/// | verdict | the job | spends an attempt |
/// |---|---|---|
/// | `Ack` | is done | |
/// | `Retry` | comes back after the queue's backoff, or is dead-lettered when its attempts are used up | yes |
/// | `RetryAfter` | the same, after this delay | yes |
/// | `Snooze` | comes back after this delay | no |
/// | `Reject` | is dead-lettered | |
/// | `Discard` | is dropped and counted | |
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Done.
    Ack,
    /// Failed; try again after the queue's backoff.
    Retry(JobError),
    /// Failed; try again after this delay.
    RetryAfter(JobError, Duration),
    /// Not now; the attempt does not count.
    Snooze(Duration),
    /// Will never succeed: to the dead letters.
    Reject(JobError),
    /// Nobody needs it any more.
    Discard,
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// It may work next time.
    Transient,
    /// It will never work.
    Fatal,
}

/// Why a handler failed: a reason, and whether trying again can help.
///
/// This is the classifier of a queue: `impl From<MyError> for JobError` decides, per kind of error, whether the job retries. Text and boxed errors are
/// transient.
///
/// ```
/// use ringmill::{ErrorClass, JobError};
///
/// enum PayError { Declined, Unreachable(String) }
///
/// impl From<PayError> for JobError {
///     fn from(error: PayError) -> Self {
///         match error {
///             PayError::Declined => JobError::fatal("the card was declined"),
///             PayError::Unreachable(host) => JobError::transient(format!("{host} does not answer")),
///         }
///     }
/// }
///
/// assert_eq!(JobError::from(PayError::Declined).class(), ErrorClass::Fatal);
/// assert_eq!(JobError::from(PayError::Unreachable("bank".into())).class(), ErrorClass::Transient);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobError {
    reason: Box<str>,
    class: ErrorClass,
}

impl JobError {
    /// A failure that may pass.
    pub fn transient(reason: impl Into<Box<str>>) -> Self {
        JobError { reason: reason.into(), class: ErrorClass::Transient }
    }

    /// A failure for good.
    pub fn fatal(reason: impl Into<Box<str>>) -> Self {
        JobError { reason: reason.into(), class: ErrorClass::Fatal }
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether trying again can help.
    pub fn class(&self) -> ErrorClass {
        self.class
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<&str> for JobError {
    fn from(reason: &str) -> Self {
        JobError::transient(reason)
    }
}

impl From<String> for JobError {
    fn from(reason: String) -> Self {
        JobError::transient(reason)
    }
}

impl From<Box<dyn std::error::Error>> for JobError {
    fn from(error: Box<dyn std::error::Error>) -> Self {
        JobError::transient(error.to_string())
    }
}

impl From<Box<dyn std::error::Error + Send + Sync>> for JobError {
    fn from(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        JobError::transient(error.to_string())
    }
}

/// What a handler may return.
///
/// ```
/// use ringmill::{IntoVerdict, JobError, Verdict};
///
/// assert_eq!(().into_verdict(), Verdict::Ack);
/// assert_eq!(Ok::<(), &str>(()).into_verdict(), Verdict::Ack);
/// assert!(matches!(Err::<(), _>("busy").into_verdict(), Verdict::Retry(_)));
/// assert!(matches!(Err::<(), _>(JobError::fatal("no such user")).into_verdict(), Verdict::Reject(_)));
/// ```
pub trait IntoVerdict {
    /// The verdict this value stands for.
    fn into_verdict(self) -> Verdict;
}

impl IntoVerdict for Verdict {
    #[inline]
    fn into_verdict(self) -> Verdict {
        self
    }
}

impl IntoVerdict for () {
    #[inline]
    fn into_verdict(self) -> Verdict {
        Verdict::Ack
    }
}

impl<V: IntoVerdict, E: Into<JobError>> IntoVerdict for Result<V, E> {
    #[inline]
    fn into_verdict(self) -> Verdict {
        match self {
            Ok(value) => value.into_verdict(),
            Err(error) => {
                let error = error.into();
                match error.class() {
                    ErrorClass::Transient => Verdict::Retry(error),
                    ErrorClass::Fatal => Verdict::Reject(error),
                }
            }
        }
    }
}
