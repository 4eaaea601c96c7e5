//! The right to run one job and to settle it.

use crate::clock::Timestamp;
use crate::id::JobId;
use crate::slab::{Claim, Epoch, Word};
use std::cell::Cell;

/// Why a handler should come to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelCause {
    /// Somebody cancelled the job.
    Cancelled,
    /// The lease has run out: the job may be running elsewhere.
    LeaseLost,
    /// The runtime is shutting down and has stopped waiting.
    Shutdown,
}

/// The right to run one job and to settle it, once.
#[derive(Debug)]
pub struct Lease {
    pub(super) index: u32,
    /// How often the job was snoozed before.
    pub(super) snoozes: u32,
    /// The slot's word as the start left it; an extension moves its epoch on.
    pub(super) running: Cell<Word>,
    pub(super) job: JobId,
    pub(super) started: Timestamp,
    /// When it was extended last.
    pub(super) extended: Cell<Timestamp>,
    /// The entry of the claim block that a consumer's delivery occupies.
    pub(super) entry: Option<u32>,
}

impl Lease {
    /// The claim under which the timer observes it.
    pub(super) fn claim(&self) -> Claim {
        Claim::new(self.index, self.epoch().previous())
    }

    /// The current lease.
    #[inline]
    pub(super) fn epoch(&self) -> Epoch {
        self.running.get().epoch()
    }

    /// The job.
    pub fn job_id(&self) -> JobId {
        self.job
    }

    /// Its lane.
    #[inline]
    pub fn lane(&self) -> usize {
        usize::from(self.running.get().lane())
    }

    /// True when somebody waits for the job's end.
    pub fn is_watched(&self) -> bool {
        self.running.get().is_watched()
    }

    /// The number of this delivery, from 1.
    pub fn attempt(&self) -> u32 {
        1 + self.failures() + self.expiries() + self.snoozes
    }

    /// True for the first delivery.
    #[inline]
    pub(super) fn is_first(&self) -> bool {
        self.running.get().is_untried() && self.snoozes == 0
    }

    /// How many deliveries of the job failed before.
    #[inline]
    pub fn failures(&self) -> u32 {
        self.running.get().failures()
    }

    /// How many leases of the job ran out before.
    pub fn expiries(&self) -> u32 {
        self.running.get().expiries()
    }

    /// The fencing number: grows with every delivery and extension of the job.
    pub fn fencing(&self) -> u64 {
        self.epoch().raw()
    }

    /// When the delivery was extended last, or started.
    pub fn extended(&self) -> Timestamp {
        self.extended.get()
    }

    /// When the delivery started.
    pub fn started(&self) -> Timestamp {
        self.started
    }
}
