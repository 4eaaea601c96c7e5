//! Which keys are taken: so that of several jobs with one key only one is accepted.
//!
//! A [`Table`] maps keys to the jobs that have them. It is passive: time is an argument. Its shards have a lock each, which is held for one look or one change
//! and never while user code runs; queues that ask for no dedupe have no table, and jobs without a key never come here.
//!
//! # Protocol
//!
//! A publish asks twice. [`Table::holder`] comes first and refuses a duplicate before it costs a slot, evicts a job or waits in a line. [`Table::claim`]
//! comes when the slot is in hand, and is the one that decides: it looks and enters under one lock, so of several claims of a key one wins. In between a slot
//! may be taken for nothing, and is given back. The other order, the key first, would tell others that they are duplicates of a job that then
//! finds no slot.
//!
//! A job's end forgets its key, but only if the key is still that job's ([`Table::forget`] takes both): of a slot that several holders leave, the last may
//! come when the key belongs to somebody else for long.
//!
//! Several tables are claimed as one ([`Table::claim_with`]) by whoever publishes one job to several queues: each lock is kept while the next one is taken,
//! in the order in which every fan-out goes through its queues.
//!
//! **Invariant.** A key is taken by at most one job.
//! **Invariant.** At most `bound` keys are taken, exactly: the count is raised before a key is entered and lowered after it is gone.
//! **Invariant.** In a table with a window, each entry has one record in its shard's line, in which the windows end one after the other; records of
//! entries that were replaced are behind none that is still in force.

mod names;
pub mod rules;
mod table;

pub use names::{Name, Names};
use std::time::Duration;
pub use table::{Denied, Table};

/// How jobs wait for others with the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// How long.
    pub length: Duration,
    /// From the latest publish on, not the first.
    pub postpones: bool,
}
