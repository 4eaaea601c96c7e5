//! The rules a ring runs by: every ordering by name, and the two rules that a model may bend.
//!
//! Production uses [`Sound`] and nothing else. The models bend one rule at a time to show that they would notice; all of it is constants, so
//! the ring itself pays nothing.

use crate::limits::MODEL;
use crate::sync::atomic::Ordering::{self, AcqRel, Acquire, Release};

/// The constants of a ring. Every default is the sound one.
pub trait Rules: 'static {
    /// The claim of tickets: `tail.fetch_add`.
    const TICKET: Ordering = AcqRel;
    /// The read of tail before a consumer says Empty.
    const TAIL_READ: Ordering = Acquire;
    /// The publishing CAS on a slot.
    const PUBLISH: Ordering = Release;
    /// That CAS when it finds the slot changed.
    const PUBLISH_LOST: Ordering = Acquire;
    /// Every read of a slot.
    const SLOT_READ: Ordering = Acquire;
    /// The CAS that gives a ticket up.
    const TOMBSTONE: Ordering = AcqRel;
    /// That CAS when the producer came after all.
    const TOMBSTONE_LOST: Ordering = Acquire;
    /// Every CAS that moves head.
    const HEAD_MOVE: Ordering = AcqRel;
    /// That CAS when head had moved.
    const HEAD_MOVED: Ordering = Acquire;
    /// Every read of head.
    const HEAD_READ: Ordering = Acquire;
    /// Whether a consumer that finds a later lap at its head moves head on.
    const HELP: bool = true;
    /// Looks a call may spend on a late producer before it gives the ticket up. None in a model: it would be a mere repetition.
    const PATIENCE: u32 = if MODEL { 0 } else { 64 };
}

/// The rules of production.
#[derive(Debug, Clone, Copy)]
pub enum Sound {}

impl Rules for Sound {}
