//! The keys of the jobs in the slots.

use crate::id::JobId;
use crate::key::Key;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A job and its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// The key, or [`Key::NONE`].
    pub key: Key,
    /// The job.
    pub job: JobId,
}

/// A name per slot index. Written by the owner of the index before the slot is filled; read by its owner and its holders, whom the slot's hand-over orders
/// behind that. Who reads it without being either has to confirm it by a step on the state word with the job's own epoch.
#[derive(Debug)]
pub struct Names {
    cells: Box<[[AtomicU64; 3]]>,
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
        let [high, low, job] = self.cells[index as usize].each_ref().map(|word| word.load(Relaxed));
        Name { key: Key::from_halves((high, low)), job: JobId(job) }
    }

    /// Names the job that is about to go into the slot. The caller owns `index`.
    #[inline]
    pub fn set(&self, index: u32, name: Name) {
        let (high, low) = name.key.halves();
        for (word, value) in self.cells[index as usize].iter().zip([high, low, name.job.0]) {
            // relaxed: exclusive owner; `slot.fill` releases it
            word.store(value, Relaxed);
        }
    }
}
