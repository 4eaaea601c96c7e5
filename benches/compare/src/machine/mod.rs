//! The machine: where threads run, what state its caches are in, what it is called.

mod cores;
mod probe;

pub use cores::pin;
pub use probe::{Probe, State};
