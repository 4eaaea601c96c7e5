//! The claims of one worker or consumer, where others see them.

use super::Lease;
use crate::limits::{MODEL, PREFETCH_MAX};
use crate::slab::{Claim, Epoch};
use crate::sync::CachePadded;
use crate::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// Deliveries of one consumer that the timer observes; more are promoted into the wheel one by one.
pub(super) const DELIVERIES: usize = if MODEL { 2 } else { 32 };
/// Entries for prefetched jobs of one lane. A model has no chains longer than two, and the timer reads every entry.
pub(super) const AHEAD_MAX: usize = if MODEL { 2 } else { PREFETCH_MAX as usize };

/// The claims of one worker or consumer, where the timer and thieves see them.
///
/// The first entries are prefetched jobs, `AHEAD_MAX` per lane; behind them, for a consumer, are the deliveries in its user's hands.
#[derive(Debug)]
pub struct ClaimBlock {
    /// A [`Claim`] each. Written (stores only) by the claimer, or by the settler of the delivery the entry belongs to; read by the timer and by thieves.
    entries: CachePadded<Box<[AtomicU64]>>,
    /// How many jobs the last claim took; 0 once the claimer has found no more. Written by the claimer; read by thieves as a hint.
    ahead: AtomicU32,
    /// The claim whose lease the timer has seen run out while it was still running; [`Claim::NONE`] once its handler has returned. Written by the timer
    /// and the claimer, by RMW; read by supervision.
    stuck: AtomicU64,
    /// Its consumer has been told that nothing comes any more. Written by the consumer, read by a shutdown that drains.
    pub(super) left: AtomicBool,
    pub(super) prefetched: usize,
}

impl ClaimBlock {
    pub(super) fn new(lanes: usize, deliveries: usize) -> Self {
        let prefetched = lanes * AHEAD_MAX;
        ClaimBlock {
            entries: CachePadded::new((0..prefetched + deliveries).map(|_| AtomicU64::new(Claim::NONE.raw())).collect()),
            ahead: AtomicU32::new(0),
            stuck: AtomicU64::new(Claim::NONE.raw()),
            left: AtomicBool::new(false),
            prefetched,
        }
    }

    /// How many entries.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The claim in an entry.
    #[inline]
    pub(super) fn claim(&self, entry: usize) -> Claim {
        // edge claim.publish, acquire: the slot was Ready with this epoch when it was claimed
        Claim::from_raw(self.entries[entry].load(Acquire))
    }

    /// The claims in its entries.
    pub(super) fn claims(&self) -> impl Iterator<Item = Claim> {
        (0..self.len()).map(|entry| self.claim(entry)).filter(|claim| !claim.is_none())
    }

    #[inline]
    pub(super) fn publish(&self, entry: usize, claim: Claim) {
        // edge claim.publish, release: what the claimer has seen of the slot
        self.entries[entry].store(claim.raw(), Release);
    }

    /// Tells thieves how many jobs were claimed. They are told once for all of them: what has been started since they see by the slots' words.
    #[inline]
    pub(super) fn set_ahead(&self, jobs: u32) {
        // relaxed, both: a hint. Not written for nothing: an idle claimer comes by at every look
        if self.ahead.load(Relaxed) != jobs {
            self.ahead.store(jobs, Relaxed);
        }
    }

    /// A hint that it pays to look for claims that have not been started.
    pub(super) fn is_ahead(&self) -> bool {
        // relaxed: a hint
        self.ahead.load(Relaxed) > 0
    }

    pub(super) fn clear(&self, entry: Option<u32>) {
        if let Some(entry) = entry {
            self.publish(entry as usize, Claim::NONE);
        }
    }

    /// The timer saw the lease of this claim run out.
    pub(super) fn mark_stuck(&self, claim: Claim) {
        // relaxed: supervision only; RMW because two may write
        self.stuck.swap(claim.raw(), Relaxed);
    }

    /// The lease had been settled after all.
    pub(super) fn unmark_stuck(&self, claim: Claim) {
        // relaxed, both: supervision only
        let _ = self.stuck.compare_exchange(claim.raw(), Claim::NONE.raw(), Relaxed, Relaxed);
    }

    /// True while the handler of a lease that ran out has not returned.
    pub fn is_stuck(&self) -> bool {
        // relaxed: supervision only
        self.stuck.load(Relaxed) != Claim::NONE.raw()
    }

    /// The consumer was told that nothing comes any more: a drain does not wait for it to receive what comes all the same, from a publisher that was on
    /// its way when the queue was closed.
    pub fn leave(&self) {
        // relaxed: read again and again
        self.left.store(true, Relaxed);
    }

    /// The holder of `lease` has it under a new epoch: its claim follows, wherever it stands.
    pub(super) fn reclaim(&self, lease: &Lease, epoch: Epoch) {
        let old = lease.claim();
        let new = Claim::new(lease.index, epoch.previous());
        for entry in 0..self.len() {
            // relaxed: only this claimer writes its entries
            if self.entries[entry].load(Relaxed) == old.raw() {
                self.publish(entry, new);
            }
        }
    }

    /// True when the timer sees no claim of `lease` here: the delivery was promoted into the wheel.
    pub(super) fn is_unobserved(&self, lease: &Lease) -> bool {
        let claim = lease.claim();
        // relaxed: only this claimer writes its entries
        self.entries.iter().all(|entry| entry.load(Relaxed) != claim.raw())
    }

    /// The handler has returned.
    #[inline]
    pub(super) fn clear_stuck(&self) {
        if self.is_stuck() {
            // relaxed: supervision only
            self.stuck.swap(Claim::NONE.raw(), Relaxed);
        }
    }
}
