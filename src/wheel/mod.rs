//! The timer wheel: what comes back later, in the order in which it is due.
//!
//! A wheel holds at most one due tick for each of the entries `0..capacity` and hands the entries out again once the cursor has reached it.
//! It is a pure data structure: ticks go in, due entries come out. It knows no clock, no thread and no atomic; one owner calls it.
//!
//! # The idea
//!
//! A tick is a number of 11 digits in base 64 (the last has 4 bits). An entry lies at the **level** of the highest digit in which its due
//! tick differs from the cursor, in the **bucket** that this digit names:
//!
//! ```text
//!   bit  63 ........ 36 35 .. 30 29 .. 24 23 .. 18 17 .. 12 11 ... 6 5 .... 0
//!       |    block     | level 5| level 4| level 3| level 2| level 1| level 0|
//!       |   parked     | 12.4 d | 4.7 h  | 4.4 min| 4.1 s  | 64 ms  | 1 ms   |   one bucket, at ticks of 1 ms
//! ```
//!
//! So everything in level 0 is due before everything in level 1, and so on: the next thing to happen is found with one `trailing_zeros` in the
//! occupancy word of the lowest level that holds anything. The cursor jumps there, over any distance. When it enters a bucket of level 1
//! or above, the bucket's entries move down (at most 5 times in the life of an entry); when it enters a bucket of level 0, they fire.
//!
//! An entry that differs from the cursor above bit 35 is **parked**: in a list of its own, with the true due tick. When the cursor reaches the
//! block of the earliest of them, all of them are looked at again.
//!
//! # Layout
//!
//! 16 bytes per entry: the due tick and two u32 links. The buckets are sentinel nodes behind the entries, in rings that need no flag for "which
//! bucket am I in". 386 sentinels (6 x 64 buckets, 2 for the parked) are 6 KiB per wheel. Nothing is allocated after [`Wheel::new`].
//!
//! # Invariants
//!
//! 1. An entry is in at most one ring; it is in none exactly if its link is `NONE`.
//! 2. An occupancy bit is set exactly if its bucket has an entry.
//! 3. Every entry of level n agrees with the cursor in all digits above n and has a greater digit n, with two exceptions: what is due now (level
//!    0), and what an interrupted [`Wheel::advance`] has not yet moved out of the one bucket that the cursor entered last.
//! 4. Every other parked entry lies in a later block than the cursor.
//! 5. No entry is due before the cursor: a due tick that has passed counts as due now.
//!
//! # What it promises
//!
//! - **Never early**: an entry fires only in a call whose `to_tick` has reached its due tick. Durations are rounded up ([`tick_after`]) and
//!   the present is rounded down ([`tick_reached`]).
//! - **In order**: by due tick; equal ones in the order in which they were inserted, unless an insert came between the two halves of an
//!   interrupted `advance`.
//! - **Bounded**: a call touches at most `budget` entries.
//! - **Indifferent to sleep**: the cost is O(levels + fired + moved), however far time jumped. Time that steps back is ignored.
//!
//! | operation | cost | progress |
//! |---|---|---|
//! | `insert`, `reschedule`, `cancel` | O(1) | one owner: wait-free |
//! | `next_due` | O(levels) | wait-free |
//! | `advance` | O(levels + fired + moved), at most `budget` entries | wait-free |
//!
//! After G. Varghese and T. Lauck, "Hashed and hierarchical timing wheels" (SOSP 1987), scheme 7.

mod level;
mod list;
mod ticks;
#[allow(clippy::module_inception, reason = "one file, one noun")]
mod wheel;

pub use ticks::{tick_after, tick_reached};
pub use wheel::{Advance, Wheel};
