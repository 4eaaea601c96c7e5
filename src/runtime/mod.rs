//! Threads, pinning, waiting and time: the driver around the passive core.

pub mod idle;
pub mod placement;
pub mod topology;
