//! Which keys are taken: so that of several jobs with one key only one is accepted.
//!
//! A [`Table`] maps keys to the jobs that have them. It is passive: time is an argument. Its shards have a lock each, which is held for one look or one change
//! and never while user code runs; queues that ask for no dedupe have no table, and jobs without a key never come here.
//!
//! # Where a key is
//!
//! ```text
//!   key, 128 bits of hash -> line (64 bytes)                    -> entries of the line's shard
//!                            [tag|index] [tag|index] ... | list    { key, job, until, slot }
//! ```
//! Half of a key chooses a line, bits of the other half are its tag. A line has a word for each of its first 14 entries; the few that come when all of them are
//! taken are a list. A key that is not taken is as a rule told by its line alone, and 8 bytes a key are all that is looked at there.
//! Every 64th line is of the same shard, whose lock guards its lines and its entries.
//!
//! # Protocol
//!
//! A publish asks twice. [`Table::holder`] comes first and refuses a duplicate before it costs a slot, evicts a job or waits in a line. It looks at the key's
//! line without the lock, and takes the lock only if the key may be taken. [`Table::claim`]
//! comes when the slot is in hand, and is the one that decides: it looks and enters under one lock, so of several claims of a key one wins. In between a slot
//! may be taken for nothing, and is given back. The other order, the key first, would tell others that they are duplicates of a job that then
//! finds no slot.
//!
//! A claim needs room: its shard's, or the pool's, of which a shard takes some more than it needs while there is plenty (`pool.rs`). Who finds none gathers what the
//! shards keep, and tries again.
//!
//! A job's end forgets its key, but only if the key is still that job's ([`Table::forget`] takes both): of a slot that several holders leave, the last may
//! come when the key belongs to somebody else for long. Whoever has kept the [`Place`] that the claim gave need not look for the entry.
//!
//! Several tables are claimed as one ([`Table::claim_with`]) by whoever publishes one job to several queues: each lock is kept while the next one is taken,
//! in the order in which every fan-out goes through its queues. Where jobs wait for others, the lock of the timer's side is kept with it, and taken before it.
//!
//! **Invariant.** A key is taken by at most one job.
//! **Invariant.** The keys that are taken, the room that the shards have and that of the pool are `bound` together, exactly. Whoever enters a key takes its room first,
//! and whoever drops one gives it back after; a claim is refused when neither its shard nor the pool has any, and a look into every shard found none either.
//! **Invariant.** An entry hangs on one word, or in the list, from its claim to its end, and never moves: a look without the lock misses no key that was claimed before it
//! and is taken all the while.
//! **Invariant.** In a table with a window, each entry has one record in its shard's line, in which the windows end one after the other; records of
//! entries that were replaced are behind none that is still in force.

mod line;
mod names;
mod pool;
pub mod rules;
mod shard;
mod table;
#[cfg(all(test, not(loom)))]
mod tests;

pub use names::{Name, Names, Place};
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
