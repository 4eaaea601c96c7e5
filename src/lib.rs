//! A lock-free, in-process job runtime.

pub mod clock;
mod config;
mod dead_letter;
mod error;
mod face;
mod job;
#[doc(hidden)]
pub mod ledger;
pub mod limits;
#[doc(hidden)]
pub mod queue;
mod verdict;

pub use config::*;
pub use dead_letter::{DeadLetter, Death, DeathReason, DeathRecord};
pub use error::*;
pub use face::*;
pub use histogram::HistogramSnapshot;
pub use id::JobId;
pub use job::{Invalid, Job, Payload};
pub use ledger::Counts;
pub use queue::{Origin, Phases, Pressure, Undone};
pub use retry::{Backoff, Jitter};
pub use runtime::{
    CancelCause, Context, CoreList, Handler, Idle, OnPinFailure, Placement, PlacementReport, PoolConfig, PoolSnapshot, WorkerPlacement,
};
pub use verdict::{ErrorClass, IntoVerdict, JobError, Verdict};

// The rooms are reachable for the crate's own models, property tests and benchmarks. They are no part of the public interface: names and
// shapes change without notice.
#[doc(hidden)]
pub mod chain;
#[doc(hidden)]
pub mod credit;
#[doc(hidden)]
pub mod histogram;
#[doc(hidden)]
pub mod id;
#[doc(hidden)]
pub mod inbox;
#[doc(hidden)]
pub mod lanes;
#[doc(hidden)]
pub mod retry;
#[doc(hidden)]
pub mod ring;
#[doc(hidden)]
pub mod rng;
#[doc(hidden)]
pub mod runtime;
#[doc(hidden)]
pub mod slab;
#[doc(hidden)]
pub mod sync;
#[doc(hidden)]
pub mod wheel;
