//! The routing keys that jobs came by.

use crate::id::JobId;
use crate::limits::KEY_BYTES_MAX;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::fmt;
use std::sync::Arc;

/// Words of a key's bytes.
const WORDS: usize = KEY_BYTES_MAX.div_ceil(8);

/// A routing key per slot index, with the job that it belongs to: a job that came by none need not say so. Written by the owner of the index before the slot is
/// filled; read by whoever owns it when the job has ended.
pub struct Labels {
    cells: Box<[Cell]>,
}

struct Cell {
    job: AtomicU64,
    bytes: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl Labels {
    /// Room for `capacity` keys.
    pub fn new(capacity: u32) -> Self {
        let zero = || AtomicU64::new(0);
        Labels { cells: (0..capacity).map(|_| Cell { job: zero(), bytes: zero(), words: std::array::from_fn(|_| zero()) }).collect() }
    }

    /// `job`, which is about to go into the slot, came by `key`. The caller owns `index`.
    pub fn set(&self, index: u32, job: JobId, key: &str) {
        let cell = &self.cells[index as usize];
        // relaxed, all: exclusive owner; `slot.fill` releases it
        cell.job.store(job.0, Relaxed);
        cell.bytes.store(key.len() as u64, Relaxed);
        for (word, bytes) in cell.words.iter().zip(key.as_bytes().chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            // relaxed: as above
            word.store(u64::from_le_bytes(padded), Relaxed);
        }
    }

    /// The key that `job` came by, if it came by one. The caller owns `index`.
    pub fn get(&self, index: u32, job: JobId) -> Option<Arc<str>> {
        let cell = &self.cells[index as usize];
        // relaxed, all: carried by the state word
        if cell.job.load(Relaxed) != job.0 {
            return None;
        }
        let bytes: Vec<u8> =
            cell.words.iter().flat_map(|word| word.load(Relaxed).to_le_bytes()).take(cell.bytes.load(Relaxed) as usize).collect();
        std::str::from_utf8(&bytes).ok().map(Arc::from)
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Labels").field("slots", &self.cells.len()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_its_jobs_and_no_others() {
        let labels = Labels::new(2);
        let long = "x".repeat(KEY_BYTES_MAX);
        for (number, key) in ["a", "billing.", "b\u{e9}.c.d.e.f", &long].into_iter().enumerate() {
            let job = JobId(number as u64 + 1);
            labels.set(1, job, key);
            assert_eq!(labels.get(1, job).as_deref(), Some(key));
            assert_eq!((labels.get(1, JobId(99)), labels.get(0, job)), (None, None));
        }
    }
}
