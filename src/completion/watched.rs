//! Who wants to know of which job's end.

use super::end::{End, Kept};
use super::promise::Promise;
use crate::id::JobId;
use crate::limits::MODEL;
use crate::sync::{Mutex, contain};
use std::collections::HashMap;
use std::sync::Arc;

/// The promises of the watched jobs of a queue. Blocking, but touched only by watched jobs: when they are published, and when they end.
///
/// By job, not by slot: a job may end while a stale holder keeps its slot, which the next job has before the promise is taken out.
#[derive(Debug)]
pub struct Watched {
    shards: [Mutex<HashMap<JobId, Arc<Promise>>>; SHARDS],
}

const SHARDS: usize = if MODEL { 1 } else { 8 };

impl Watched {
    /// None.
    pub fn new() -> Self {
        Watched { shards: std::array::from_fn(|_| Mutex::new(HashMap::new())) }
    }

    fn shard(&self, job: JobId) -> &Mutex<HashMap<JobId, Arc<Promise>>> {
        &self.shards[job.get() as usize % SHARDS]
    }

    /// The job is about to be published. Before it can end.
    pub fn insert(&self, job: JobId, promise: Arc<Promise>) {
        let before = self.shard(job).lock().insert(job, promise);
        debug_assert!(before.is_none(), "a job has one id");
    }

    /// The job has ended: its promise, for whoever ended it.
    pub fn remove(&self, job: JobId) -> Option<Arc<Promise>> {
        self.shard(job).lock().remove(&job)
    }

    /// How many watched jobs have not ended.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// True when none has not.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Watched {
    fn default() -> Self {
        Self::new()
    }
}

/// The queue goes, and its jobs with it: whoever waits for one is told.
impl Drop for Watched {
    fn drop(&mut self) {
        for shard in &mut self.shards {
            for (_, promise) in shard.get_mut().drain() {
                // wakers are not ours
                let _ = contain(|| promise.keep(Kept::bare(End::Lost)));
            }
        }
    }
}
