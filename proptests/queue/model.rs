//! What the queue is compared with: acts, and where each job of the naive model is.

use ringmill::sync::Mutex;
use ringmill::{JobId, Payload};
use std::collections::BTreeSet;
use std::sync::Arc;

pub const CAPACITY: usize = 7;
pub const VISIBILITY: u64 = 16;
pub const MAX_LEASE: u64 = 60;
/// An eighth of the visibility.
pub const SWEEP: u64 = 2;
pub const BACKOFF: u64 = 7;
pub const ATTEMPTS: u32 = 3;
/// Of jobs without a time to live. With one, no job waits that a stale holder still reads: where such a job goes when it is popped cannot be seen from outside.
pub const EXPIRIES: u32 = 2;

/// Numbers of deliveries and jobs are taken modulo how many there are.
#[derive(Debug, Clone)]
pub enum Act {
    Publish { lane: usize, delay: u64, ttl: Option<u64> },
    Batch { lane: usize, jobs: u32 },
    Recv,
    Settle(usize, How),
    Forget(usize),
    Extend(usize, u64),
    Complete(usize),
    Cancel(usize),
    Pause(bool),
    TakeLetter,
    Redrive(Option<usize>),
    PurgeLetters,
    Purge,
    Advance(u64),
}

#[derive(Debug, Clone, Copy)]
pub enum How {
    Ack,
    Retry,
    Snooze(u64),
    Reject,
    Discard,
    Drop,
}

pub type Alive = Arc<Mutex<BTreeSet<u32>>>;

pub struct Numbered(pub u32, Alive);

impl Payload for Numbered {}

impl Numbered {
    pub fn new(number: u32, alive: &Alive) -> Self {
        assert!(alive.lock().insert(number), "payload {number} lives twice");
        Numbered(number, Arc::clone(alive))
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        assert!(self.1.lock().remove(&self.0), "payload {} is dropped twice", self.0);
    }
}

/// Where a job of the model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// In its lane, since a moment between these two (time and act).
    Waiting((u64, u32), (u64, u32)),
    /// In its lane, for whoever pops it to drop.
    Cancelled,
    Delayed(u64),
    Running,
    /// Dead, but a stale holder still reads it.
    Dying,
    Held,
    Letter,
    /// Over, but a stale holder still reads it.
    Lingering,
    Gone,
}

#[derive(Debug, Clone)]
pub struct Model {
    pub lane: usize,
    pub at: At,
    pub id: Option<JobId>,
    pub failures: u32,
    pub expiries: u32,
    pub snoozes: u32,
    pub expires: u64,
    pub cancelled: bool,
    /// Deliveries in somebody's hands, forgotten ones included.
    pub holders: u32,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub accepted: u64,
    pub acked: u64,
    pub discarded: u64,
    pub cancelled: u64,
    pub purged: u64,
    pub dead: u64,
    pub retried: u64,
    pub snoozed: u64,
    pub abandoned: u64,
    pub stale: u64,
    pub full: u64,
    pub started: u64,
}
