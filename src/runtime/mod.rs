//! Threads, pinning, waiting and time: the driver around the passive core.
//!
//! | file | what |
//! |---|---|
//! | [`topology`] | what the machine looks like and how much of it is ours: read once, before anything is pinned |
//! | [`placement`] | which worker runs where: the wish, the plan (a pure function), the pinning (by each worker for itself), the report |
//! | [`idle`] | how long a worker looks for work before it sleeps: a passive state machine with a budget in time |
//!
//! How a worker sleeps without missing work is [`sync::eventcount`](crate::sync::eventcount).
//!
//! # A worker's life, as far as waiting goes
//!
//! ```text
//! pin_current, then allocate                          (what a pinned thread touches first lies near it)
//! loop:
//!   claim work?   -- yes: idle.found_work(pause); if searching { events.found_work(more) }; run it
//!                 -- no:  searching |= events.try_search(max(1, workers / 2))
//!                         not searching: go to sleep at once; others look
//!                         match idle.step(now):
//!                           Spin(pauses), Yield: do so, look again
//!                           Sleep: events.announce(seat, searching)
//!                                  look at everything again: work, mailbox, closing flag
//!                                    found: events.retract(seat)
//!                                    none:  events.sleep_watched(seat, ...)  TimedOut: wake_rescued += 1
//!                                  searching = true, either way
//! closing: if searching { events.give_up_search() }; events.free_seat(seat)
//! ```
//!
//! # Invariants
//!
//! - Nobody but a worker is ever pinned, and only by itself: children inherit the mask, so the timer and helper threads are spawned by a thread that is not.
//! - Pinning fails as a report or an error, never by a panic.
//! - A worker that is not asleep looks at all its work before it sleeps; so only sleepers need be woken.

mod config;
pub(crate) mod handler;
pub mod idle;
pub(crate) mod inside;
pub mod placement;
pub(crate) mod pool;
pub(crate) mod probe;
pub(crate) mod served;
pub(crate) mod timer;
pub mod topology;
pub(crate) mod worker;

pub use config::PoolConfig;
pub use handler::{Context, Handler};
pub use idle::Idle;
pub use placement::{CoreList, OnPinFailure, Placement, PlacementReport, WorkerPlacement};
pub use pool::PoolSnapshot;
#[cfg(feature = "test-util")]
pub use probe::{DeliveryRecord, Outcome, takes};

#[cfg(all(test, not(loom)))]
mod tests;
