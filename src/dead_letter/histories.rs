//! What went wrong with jobs that are still alive, beside their slots.

use super::record::{Death, DeathRecord};
use crate::id::JobId;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What is remembered of a job that failed, expired or was redriven, while it is alive.
#[derive(Debug, Default, Clone)]
pub struct History {
    /// The job it belongs to; a slot's next job must not inherit it.
    pub job: Option<JobId>,
    /// What the last failed attempt said.
    pub last_error: Option<Box<str>>,
    /// The delay after that attempt.
    pub last_delay: Duration,
    /// What it brought along when it was redriven or moved here. (Few have one, and histories are moved about.)
    pub past: Option<Box<Past>>,
}

/// What is remembered of a job that was a dead letter.
#[derive(Debug, Default, Clone)]
pub struct Past {
    /// The deaths before it was redriven or moved here.
    pub deaths: Vec<Death>,
    /// The routing key that it was first published by.
    pub routing_key: Option<Arc<str>>,
    /// The routing key by which it came to this queue.
    pub came_by: Option<Arc<str>>,
}

/// Histories by slot index. Blocking, but touched only by jobs that have one.
#[derive(Debug)]
pub struct Histories {
    shards: Box<[Mutex<HashMap<u32, History>>]>,
    /// How many histories there are. Written under a shard's lock, read by every settlement to skip the locks.
    live: AtomicUsize,
}

const SHARDS: usize = 16;

impl Histories {
    /// No histories.
    pub fn new() -> Self {
        Histories { shards: (0..SHARDS).map(|_| Mutex::new(HashMap::new())).collect(), live: AtomicUsize::new(0) }
    }

    /// Notes what a failed attempt of `job` said, and how long the job waits after it: if `is_current`, which is asked under the lock. Who is current then has
    /// nobody after him who has noted anything.
    pub fn note_error(&self, index: u32, job: JobId, error: &str, delay: Duration, is_current: impl FnOnce() -> bool) {
        let mut shard = self.shard(index).lock();
        if is_current() {
            let history = self.entry(&mut shard, index, job);
            history.last_error = Some(error.into());
            history.last_delay = delay;
        }
    }

    /// How long `job` waited after its last failure; zero if it has none.
    pub fn last_delay(&self, index: u32, job: JobId) -> Duration {
        // relaxed: see `entry`
        if self.live.load(Relaxed) == 0 {
            return Duration::ZERO;
        }
        let shard = self.shard(index).lock();
        shard.get(&index).filter(|history| history.job == Some(job)).map_or(Duration::ZERO, |history| history.last_delay)
    }

    /// Gives a job that was a dead letter its past.
    pub fn restore(&self, index: u32, job: JobId, record: DeathRecord, came_by: Option<Arc<str>>) {
        let mut shard = self.shard(index).lock();
        let history = self.entry(&mut shard, index, job);
        history.last_error = record.last_error;
        history.past = Some(Box::new(Past { deaths: record.deaths, routing_key: record.routing_key, came_by }));
    }

    fn shard(&self, index: u32) -> &Mutex<HashMap<u32, History>> {
        &self.shards[index as usize % SHARDS]
    }

    /// The history of `job`, empty if it has none yet.
    fn entry<'a>(&self, shard: &'a mut HashMap<u32, History>, index: u32, job: JobId) -> &'a mut History {
        let entry = shard.entry(index).or_insert_with(|| {
            // relaxed: read as a hint by the job's own settlement, which the slot's hand-over orders after this
            self.live.fetch_add(1, Relaxed);
            History::default()
        });
        if entry.job != Some(job) {
            *entry = History { job: Some(job), ..History::default() };
        }
        entry
    }

    /// The history of `job`, which ends here.
    #[inline]
    pub fn take(&self, index: u32, job: JobId) -> Option<History> {
        // relaxed: see `entry`
        if self.live.load(Relaxed) == 0 { None } else { self.take_slow(index, job) }
    }

    #[cold]
    fn take_slow(&self, index: u32, job: JobId) -> Option<History> {
        let history = self.shard(index).lock().remove(&index)?;
        // relaxed: see `entry`
        self.live.fetch_sub(1, Relaxed);
        (history.job == Some(job)).then_some(history)
    }
}

impl Default for Histories {
    fn default() -> Self {
        Self::new()
    }
}
