//! The keys of the jobs in the slots.

use crate::id::JobId;
use crate::key::Key;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Where a table has an entry: it says so when it makes one. Good for [`Table::forget_at`](super::Table::forget_at).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(pub(super) u32);

impl Place {
    /// No entry, or none that is known.
    pub const NOWHERE: Place = Place(u32::MAX);
}

/// A job and its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// The key, or [`Key::NONE`].
    pub key: Key,
    /// The job.
    pub job: JobId,
    /// Where the table has the key.
    pub place: Place,
}

impl Name {
    /// A job that has not claimed its key.
    pub fn unclaimed(key: Key, job: JobId) -> Self {
        Name { key, job, place: Place::NOWHERE }
    }
}

/// A name per slot index. Written by the owner of the index before the slot is filled; read by its owner and its holders, whom the slot's hand-over orders
/// behind that. Who reads it without being either has to confirm it by a step on the state word with the job's own epoch.
#[derive(Debug)]
pub struct Names {
    cells: Box<[[AtomicU64; 4]]>,
}

impl Names {
    /// Names for `capacity` slots.
    pub fn new(capacity: u32) -> Self {
        Names { cells: (0..capacity).map(|_| std::array::from_fn(|_| AtomicU64::new(0))).collect() }
    }

    /// The name of the job in the slot.
    #[inline]
    pub fn get(&self, index: u32) -> Name {
        // relaxed: carried by the state word
        let [high, low, job, place] = self.cells[index as usize].each_ref().map(|word| word.load(Relaxed));
        Name { key: Key::from_halves((high, low)), job: JobId(job), place: Place(place as u32) }
    }

    /// Names the job that is about to go into the slot. The caller owns `index`.
    #[inline]
    pub fn set(&self, index: u32, name: Name) {
        let (high, low) = name.key.halves();
        for (word, value) in self.cells[index as usize].iter().zip([high, low, name.job.0, name.place.0.into()]) {
            // relaxed: exclusive owner; `slot.fill` releases it
            word.store(value, Relaxed);
        }
    }
}
