//! Property tests: each room against a naive model.

#![allow(missing_docs)]
#![cfg(not(loom))]

mod breaker;
mod completions;
mod credit;
mod dedupe;
mod export;
mod histogram;
mod keys;
mod lanes;
mod letters;
mod mux;
mod partitions;
mod queue;
mod retry;
mod ring;
mod routing;
#[cfg(feature = "config")]
mod topologies;
mod wheel;
mod word;
