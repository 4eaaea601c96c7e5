//! A lock-free, in-process job runtime.

pub mod clock;
pub mod limits;

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
