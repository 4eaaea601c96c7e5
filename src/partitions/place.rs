//! Where a job stands with its key.

use crate::key::OrderKey;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a job is to its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// It has no key.
    Unkeyed = 0,
    /// It has a key. In the partition, or delayed, it has nothing else; once taken, it is a head and has the partition's token.
    Keyed = 1,
    /// It waits for a retry or runs again; its key waits for it, its partition does not.
    Loose = 2,
    /// It has a key, and will not be taken any more: it passes nothing on.
    Apart = 3,
}

/// A job's key, lane and role.
///
/// ```text
///   63             5 4    2 1    0
///  +----------------+------+------+
///  |  key (59 bits) | lane | role |
///  +----------------+------+------+
/// ```
///
/// The partition is the topmost bits of the key. That two keys agree in 59 bits is next to impossible, and would only keep them in one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(u64);

const ROLE: u64 = 0b11;
const LANE_SHIFT: u32 = 2;
const LANE: u64 = 0b111;
const KEY_SHIFT: u32 = 5;

const _: () = assert!(crate::limits::LANES_MAX <= LANE as usize + 1);

impl Place {
    /// The place of a job without a key.
    pub const UNKEYED: Place = Place(0);

    /// The place of a job that is about to enter its partition, or to be delayed before.
    #[inline]
    pub fn new(key: OrderKey, lane: usize) -> Self {
        if !key.is_some() {
            return Place::UNKEYED;
        }
        Place(key.raw() & !((1 << KEY_SHIFT) - 1) | (lane as u64 & LANE) << LANE_SHIFT | Role::Keyed as u64)
    }

    /// What the job is to its partition.
    #[inline]
    pub fn role(self) -> Role {
        match self.0 & ROLE {
            0 => Role::Unkeyed,
            1 => Role::Keyed,
            2 => Role::Loose,
            _ => Role::Apart,
        }
    }

    /// The job's lane.
    #[inline]
    pub fn lane(self) -> usize {
        (self.0 >> LANE_SHIFT & LANE) as usize
    }

    /// The bits of the key that are kept.
    #[inline]
    pub fn key(self) -> u64 {
        self.0 >> KEY_SHIFT
    }

    /// The key, to be published with again.
    #[inline]
    pub fn order_key(self) -> OrderKey {
        if self.role() == Role::Unkeyed { OrderKey::NONE } else { OrderKey::from_high_bits(self.0 & !((1 << KEY_SHIFT) - 1)) }
    }

    /// The partition among `1 << bits`.
    #[inline]
    pub fn partition(self, bits: u32) -> usize {
        (self.0 >> 1 >> (63 - bits)) as usize
    }

    #[inline]
    fn with_role(self, role: Role) -> Self {
        Place(self.0 & !ROLE | role as u64)
    }
}

/// A place per slot index, of jobs with a key. Written and read by the owner of the index, which the partition, a lane or the inbox carries with it; and read by
/// the holders of the slot. For statistics, by anybody.
///
/// Not one of them is read on the usual way of a job: the line is the publisher's, and would have to come over for it.
#[derive(Debug)]
pub(super) struct Places {
    cells: Box<[AtomicU64]>,
    one_lane: bool,
}

impl Places {
    pub(super) fn new(capacity: u32, lanes: usize) -> Self {
        Places { cells: (0..capacity).map(|_| AtomicU64::new(Place::UNKEYED.0)).collect(), one_lane: lanes == 1 }
    }

    /// The lane of a job.
    #[inline]
    pub(super) fn lane(&self, index: u32) -> usize {
        if self.one_lane { 0 } else { self.get(index).lane() }
    }

    #[inline]
    pub(super) fn get(&self, index: u32) -> Place {
        // relaxed: carried by whatever carried the index
        Place(self.cells[index as usize].load(Relaxed))
    }

    #[inline]
    pub(super) fn set(&self, index: u32, place: Place) {
        // relaxed: exclusive owner
        self.cells[index as usize].store(place.0, Relaxed);
    }

    #[inline]
    pub(super) fn set_role(&self, index: u32, role: Role) {
        self.set(index, self.get(index).with_role(role));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_place_says_what_it_was_made_of() {
        for key in [OrderKey::of(b"order-42"), OrderKey::from_high_bits(u64::MAX)] {
            let place = Place::new(key, 7);
            assert_eq!((place.role(), place.lane()), (Role::Keyed, 7));
            let loose = place.with_role(Role::Loose);
            assert_eq!((loose.role(), loose.lane(), loose.key()), (Role::Loose, 7, place.key()));
            let again = Place::new(loose.order_key(), 0);
            assert_eq!((again.key(), again.partition(10)), (place.key(), place.partition(10)));
            assert_eq!(place.partition(0), 0);
            assert!(place.partition(12) < 4096);
        }
        assert_eq!(Place::new(OrderKey::NONE, 3).role(), Role::Unkeyed);
    }
}
