//! Which lane a worker serves next, when several have work.
//!
//! Two disciplines, for the lanes of a queue and likewise for the queues of a pool (a *source* here is either; source 0 is the most urgent):
//!
//! | | [`Weighted`](Schedule) | [`Strict`](StrictPicker) |
//! |---|---|---|
//! | rule | each source gets its share of the picks | the most urgent source that has work |
//! | share | exact over a cycle, evenly mixed within it | none, but a source whose oldest job has waited too long gets a turn |
//! | idle source | its turns go to the most urgent source that has work | nothing to do |
//! | state | a table, shared and immutable; a position per worker | all per worker |
//! | cost of a pick | one table look-up | one comparison of timestamps |
//!
//! Both are passive and private to a worker: no atomics, no clock, no randomness. The caller says how to try a source, and for `Strict` how
//! old the oldest job of a source is and what time it is. Nothing here learns of a publish; an empty source is found empty by trying it.
//!
//! # Invariants
//!
//! 1. **Work-conserving**: a pick fails only if every source was tried and none had work.
//! 2. **Exact**: in one cycle of a [`Schedule`] every source has exactly its weight (divided by the common divisor) of the turns.
//! 3. **Even**: within a cycle, a source is never ahead of its share by a whole turn.
//! 4. **No starvation**: a weight is at least 1; under `Strict`, of `k` overdue sources each gets at least every `k + 1`-th pick.
//!
//! What is deliberately not here: the real inversion, long jobs of low priority on every core, is no matter of picking. Limits on concurrency per
//! lane and workers that serve the top lane only answer it.

mod cursor;
mod schedule;
mod strict;

pub use cursor::Cursor;
pub use schedule::{Invalid, Schedule};
pub use strict::StrictPicker;
