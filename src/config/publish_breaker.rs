//! When a publisher stops asking a full queue.

use std::time::Duration;

/// When a publishing handle stops asking a queue that is full, and for how long: see [`QueueConfig::publish_breaker`](crate::QueueConfig::publish_breaker).
///
/// ```
/// use ringmill::{PublishBreaker, QueueConfig};
/// use std::time::Duration;
///
/// let breaker = PublishBreaker::new().failures(3).within(Duration::from_millis(100)).open(Duration::from_millis(500));
/// assert!(QueueConfig::new("q").publish_breaker(breaker).validate().is_ok());
/// let error = QueueConfig::new("q").publish_breaker(breaker.failures(0)).validate().unwrap_err();
/// assert_eq!(error.to_string(), "queue `q`: publish_breaker: failures is 0, allowed is 1..=1024");
/// assert_eq!(PublishBreaker::new(), PublishBreaker::default());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishBreaker {
    pub(crate) failures: u32,
    pub(crate) within: Duration,
    pub(crate) open: Duration,
}

impl PublishBreaker {
    /// Five failures within a second; open for five.
    pub fn new() -> Self {
        PublishBreaker { failures: 5, within: Duration::from_secs(1), open: Duration::from_secs(5) }
    }

    /// How many times in a row a publish finds the queue full before the breaker opens: 1..=1024.
    #[must_use]
    pub fn failures(mut self, failures: u32) -> Self {
        self.failures = failures;
        self
    }

    /// How long before the last of them the first may have been at most: 1 ms to 1 year.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// How long it stays open: 1 ms to 1 year.
    #[must_use]
    pub fn open(mut self, open: Duration) -> Self {
        self.open = open;
        self
    }
}

impl Default for PublishBreaker {
    fn default() -> Self {
        Self::new()
    }
}
