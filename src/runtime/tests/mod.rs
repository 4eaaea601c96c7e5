//! The runtime as a whole: rules that need several rooms, and stress on real threads.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod leases;
mod memory;
mod stress;
