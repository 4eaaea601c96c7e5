//! What a simulation sees of the workers' deliveries, and how long it makes them take.
//!
//! A seat has a [`Watcher`]. Without the feature `test-util` it sees nothing and is nothing.

#[cfg(not(feature = "test-util"))]
mod off;
#[cfg(feature = "test-util")]
mod on;

#[cfg(not(feature = "test-util"))]
pub(crate) use off::{Probe, Watcher};
#[cfg(feature = "test-util")]
pub use on::{DeliveryRecord, Outcome, takes};
#[cfg(feature = "test-util")]
pub(crate) use on::{Log, Probe, Watcher};
