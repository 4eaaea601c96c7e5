//! What is known of a dead job.

use crate::clock::Timestamp;
use crate::id::JobId;
use crate::key::{Key, OrderKey};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Why a job was dead-lettered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DeathReason {
    /// The handler rejected it.
    Rejected,
    /// Its attempts were used up.
    TooManyAttempts,
    /// Too many of its leases ran out.
    TooManyExpiries,
    /// Its time to live ended before a delivery started.
    Expired,
    /// The queue was full.
    OverLength,
    /// It had been a dead letter for as long as its queue keeps them, and moved on.
    Aged,
}

impl fmt::Display for DeathReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DeathReason::Rejected => "rejected",
            DeathReason::TooManyAttempts => "too many attempts",
            DeathReason::TooManyExpiries => "too many expiries",
            DeathReason::Expired => "expired",
            DeathReason::OverLength => "over-length",
            DeathReason::Aged => "aged",
        })
    }
}

/// How often a job died for one reason in one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Death {
    /// The queue.
    pub queue: Arc<str>,
    /// The reason.
    pub reason: DeathReason,
    /// How many times.
    pub count: u32,
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
    /// The routing key by which the job had come to the queue, the first time; as far as the queue [keeps it](crate::DeadLetterConfig::keep_routing_keys).
    pub routing_key: Option<Arc<str>>,
}

/// A job that will not be delivered again, and why.
pub struct DeadLetter<T> {
    pub(crate) payload: T,
    pub(crate) job: JobId,
    pub(crate) lane: usize,
    /// The job's own visibility timeout.
    pub(crate) visibility: Option<Duration>,
    /// The last fencing number it was delivered under, or one that is larger.
    pub(crate) fencing: u64,
    /// The job's key, if its queue dedupes.
    pub(crate) key: Key,
    /// The job's partition key, if its queue has partitions.
    pub(crate) order: OrderKey,
    /// The routing key by which it came to the queue it died in, if that is known.
    pub(crate) came_by: Option<Arc<str>>,
    pub(crate) record: DeathRecord,
}

/// The history of a dead job, without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeathRecord {
    /// Deaths, the latest first, one entry per queue and reason.
    pub deaths: Vec<Death>,
    /// What the last failed attempt said.
    pub last_error: Option<Box<str>>,
    /// How many attempts failed in the job's last life.
    pub failures: u32,
    /// How many leases ran out in the job's last life.
    pub expiries: u32,
    /// How often it was snoozed in its last life.
    pub snoozes: u32,
    /// When it was published, or became ready if that was later.
    pub published: Timestamp,
    /// The routing key that the job was published by, whatever keys it went by since; as far as its first queue [keeps it](crate::DeadLetterConfig::keep_routing_keys).
    pub routing_key: Option<Arc<str>>,
}

impl<T: Clone> DeadLetter<T> {
    pub(crate) fn copy(&self) -> Self {
        let DeadLetter { job, lane, visibility, fencing, key, order, .. } = *self;
        let (came_by, record) = (self.came_by.clone(), self.record.clone());
        DeadLetter { payload: self.payload.clone(), job, lane, visibility, fencing, key, order, came_by, record }
    }
}

impl<T> DeadLetter<T> {
    /// The payload.
    pub fn payload(&self) -> &T {
        &self.payload
    }

    /// The payload itself.
    pub fn into_payload(self) -> T {
        self.payload
    }

    /// The job's id.
    pub fn job_id(&self) -> JobId {
        self.job
    }

    /// The lane it was published to.
    pub fn lane(&self) -> usize {
        self.lane
    }

    /// Why it is here.
    pub fn reason(&self) -> DeathReason {
        self.record.deaths[0].reason
    }

    /// The routing key by which it came to the queue it died in, as far as that is [kept](crate::DeadLetterConfig::keep_routing_keys).
    pub fn routing_key(&self) -> Option<&str> {
        self.came_by.as_deref()
    }

    /// Its history.
    pub fn record(&self) -> &DeathRecord {
        &self.record
    }
}

impl<T> fmt::Debug for DeadLetter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter").field("job", &self.job).field("record", &self.record).finish_non_exhaustive()
    }
}

/// Adds a death to a job's history, merged per queue and reason, the latest first. It had come to the queue `by` this key.
pub fn add_death(deaths: &mut Vec<Death>, queue: &Arc<str>, reason: DeathReason, now: Timestamp, by: Option<&Arc<str>>) {
    let death = match deaths.iter().position(|death| death.reason == reason && death.queue == *queue) {
        Some(at) => {
            let mut death = deaths.remove(at);
            death.count = death.count.saturating_add(1);
            death.last = now;
            death
        }
        None => Death { queue: Arc::clone(queue), reason, count: 1, first: now, last: now, routing_key: by.cloned() },
    };
    deaths.insert(0, death);
}
