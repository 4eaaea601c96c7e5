//! The runtime as a whole: rules that need several rooms, and stress on real threads.
#![allow(clippy::disallowed_methods)]

mod leases;
