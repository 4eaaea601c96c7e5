//! Exchanges: from a routing key to the queues a job goes to, by a table that can be swapped while everybody publishes.
//!
//! # Idea
//! The bindings of an exchange are compiled into one immutable [`Table`]. Whoever changes a binding compiles a new table and swaps the whole; every publisher
//! keeps the table it saw last, and asks before each job whether there is a newer one. So a job goes by one table, the old or the new, and nobody publishes by
//! half of each.
//!
//! ```text
//!   publisher                                 exchange                          whoever binds
//!   table, version it saw  -- same version --> version                            edits: lock
//!        |                                       ^                                compile a new table
//!        |   another version:                    | 2                              latest: lock
//!        +-- latest: lock, take the Arc <---- (version, table) <------ 1 -------- put table and version, then the version word
//! ```
//!
//! # Invariants
//! 1. The version word changes only under the lock of `latest`, together with what is under it. Whoever read a version finds a table at least as new there: its
//!    lock comes after the swap's, because a read cannot come before the write it reads.
//! 2. So a publish that begins after `bind` returned goes by the new table: it cannot read an older version.
//! 3. Targets are sorted by name and each is in a table once. That is the order in which a fan-out takes slots.
//!
//! # A fan-out takes all its slots or none
//! [`take_all`] takes a slot of each queue, in the order of their names. When one is full it **gives back what it has before it waits**, and starts again with
//! the slot it waited for. Nobody waits with a slot in hand, so there is no circle of waiters, whatever else those who wait hold: two fan-outs cannot stop each
//! other, nor can a fan-out and a consumer that publishes. The order of names makes two of them meet at the same queue, where the line is first come, first
//! served, instead of giving way to each other for ever. The price: a fan-out that waits may be overtaken at the queues it has left.
//!
//! # Progress
//! | operation | progress |
//! |---|---|
//! | [`Current::version`] | wait-free |
//! | [`Current::load`], once after a swap | a lock, held for the copy of an `Arc` |
//! | [`Current::edit`] | waits for other edits; compiles; the lock of `load` for one store |
//! | [`take_all`] without waiting | as a publish to each queue |

mod counts;
mod current;
mod kind;
#[doc(hidden)]
pub mod rules;
mod slots;
mod table;

pub use counts::{Block, Count, ExchangeCounts, ExchangeLedger};
pub use current::Current;
pub use kind::ExchangeKind;
pub use slots::{Held, Slots, take_all};
pub use table::{Binding, Finder, Row, Table, Target};
