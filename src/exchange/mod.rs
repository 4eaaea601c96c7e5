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
//! 3. What a publisher remembers of keys ([`KeyCache`]) belongs to the table it goes by, and is forgotten with it.
//! 4. Targets are sorted by name and each is in a table once. That is the order in which a fan-out takes slots.
//!
//! # A fan-out takes all its slots or none
//! [`Held::take_all`] takes a slot of each queue, **in the order of the queues' names**, and only when it has all of them is a copy made. Without waiting, the first
//! refusal gives everything back. A fan-out that may wait keeps what it has and waits at the queue that is full. It then has slots of queues whose names come
//! before, and wants none of those: of all fan-outs that wait, the one that waits at the last name waits for nobody who waits, but for jobs to end. So there is
//! no circle, whatever queues they share, in whatever exchanges. Names are unique in a runtime, which is what makes this one order for all.
//!
//! Giving everything back before each wait would need no order to be free of deadlock. But two fan-outs that wait for each other's queue could then be
//! granted them at the same moment, refuse each other, and go on like that; loom found them doing it. The price of keeping is that a fan-out which waits at one
//! queue occupies a slot of others, one per waiting thread.
//!
//! # Progress
//! | operation | progress |
//! |---|---|
//! | [`Current::version`] | wait-free |
//! | [`Current::load`], once after a swap | a lock, held for the copy of an `Arc` |
//! | [`Current::edit`] | waits for other edits; compiles; the lock of `load` for one store |
//! | [`Held::take_all`] | as a publish to each queue |

mod cache;
mod counts;
mod current;
mod kind;
#[doc(hidden)]
pub mod rules;
mod slots;
mod table;

pub use cache::KeyCache;
pub use counts::{Block, Count, ExchangeCounts, ExchangeLedger};
pub use current::Current;
pub use kind::ExchangeKind;
pub use slots::{Held, Slots};
pub use table::{Binding, Finder, Row, Table, Target};
