//! The rules a ring runs by: every ordering by name, and the rule that a model may bend.
//!
//! Production uses [`Sound`] and nothing else. The models bend one rule at a time to show that they would notice; all of it is constants, so
//! the ring itself pays nothing.

use crate::limits::MODEL;
use crate::sync::atomic::Ordering::{self, AcqRel, Acquire, Release};

/// The constants of a ring. Every default is the sound one.
pub trait Rules: 'static {
    /// Every read of tail but the comparison before it is moved.
    const TAIL_READ: Ordering = Acquire;
    /// The store that moves tail.
    const TAIL_MOVE: Ordering = Release;
    /// The publishing CAS on a slot.
    const PUBLISH: Ordering = Release;
    /// That CAS when it finds the slot changed.
    const PUBLISH_LOST: Ordering = Acquire;
    /// Every read of a slot.
    const SLOT_READ: Ordering = Acquire;
    /// The CAS that moves head.
    const HEAD_MOVE: Ordering = AcqRel;
    /// That CAS when head had moved.
    const HEAD_MOVED: Ordering = Acquire;
    /// Every read of head.
    const HEAD_READ: Ordering = Acquire;
    /// Whether a producer moves tail before it has filled its ticket, and so says too much.
    const TAIL_FIRST: bool = false;
    /// Filled tickets that a producer passes one by one before its strides grow. One in a model, so that a small ring sees both.
    const STEPS: u32 = if MODEL { 1 } else { 8 };
}

/// The rules of production.
#[derive(Debug, Clone, Copy)]
pub enum Sound {}

impl Rules for Sound {}
