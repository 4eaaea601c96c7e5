//! How much a buffer in front of a queue holds, and for how long.

use super::check::{range, spans};
use super::{TICK, YEAR};
use crate::error::ConfigError;
use crate::limits::BUFFERED_MAX;
use std::time::Duration;

/// The bounds of a [`BufferedProducer`](crate::BufferedProducer).
///
/// ```
/// use ringmill::{BufferConfig, QueueConfig, Runtime};
/// use std::time::Duration;
///
/// let mut builder = Runtime::builder();
/// let words = builder.pull_queue::<&str>(QueueConfig::new("words"))?;
/// let runtime = builder.build()?;
/// let config = BufferConfig::new().jobs(100).age(Duration::from_millis(5));
/// assert!(words.producer()?.buffered(config, drop).is_ok());
/// let error = words.producer()?.buffered(config.jobs(0), drop).unwrap_err();
/// assert_eq!(error.to_string(), "a buffer of queue `words`: jobs is 0, allowed is 1..=1024");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferConfig {
    pub(crate) jobs: usize,
    pub(crate) age: Duration,
}

impl BufferConfig {
    /// 32 jobs, for a millisecond.
    pub fn new() -> Self {
        BufferConfig { jobs: 32, age: Duration::from_millis(1) }
    }

    /// How many jobs are gathered: 1..=1024. When there are as many they are published.
    #[must_use]
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.jobs = jobs;
        self
    }

    /// How long a job is in the buffer at most before it is published, as far as somebody works for the queue then: a millisecond to a year. (It takes a tick longer at most, and
    /// where the queue is full it is tried again so often.)
    #[doc(alias = "linger")]
    #[must_use]
    pub fn age(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    pub(crate) fn validate(&self, scope: impl Fn() -> String) -> Result<(), ConfigError> {
        range(&scope, "jobs", self.jobs as u64, 1, BUFFERED_MAX as u64)?;
        spans(&scope, "age", self.age, TICK, YEAR)
    }
}

impl Default for BufferConfig {
    fn default() -> Self {
        Self::new()
    }
}
