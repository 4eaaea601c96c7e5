//! Topologies: exchanges, bindings, queues and pools as data, in code or in a file.
//!
//! A [`Topology`] says what a runtime is made of. It is built in code or read from TOML ([`Topology::from_toml`]) or YAML ([`Topology::from_yaml`]); the two
//! compare equal. It is checked as a whole ([`Topology::validate`]), drawn ([`Topology::to_dot`], [`Topology::to_svg`]), and declared in a
//! [`RuntimeBuilder`](crate::RuntimeBuilder) ([`Topology::declare`]), where each queue gets its handler. `docs/topology.md` has the schema.
//!
//! # How a file is read
//! ```text
//!   text -- toml, yaml --> tree of nodes -- read --> Topology -- check --> Topology, or every fault
//!              |            with spans        |                    |
//!              +-- syntax: the first fault    +-- each value       +-- names, circles, what the runtime does not have
//! ```
//! Both formats become one tree, whose nodes know where they stand. There is no derive between the tree and the data, because a derived reader stops at the
//! first error: here every fault is found, and each points at its place.
//!
//! # Invariants
//! 1. A range is known in one place: a value is tried on a default [`QueueConfig`](crate::QueueConfig) or [`PoolConfig`](crate::PoolConfig), and their
//!    `validate` says what is allowed.
//! 2. What is checked about a topology as a whole does not know whether it comes from a file: `check` names a site, which a file turns into line and column.
//! 3. A file of any content costs bounded time and memory: at most [`FILE_MAX`] bytes, [`DEPTH_MAX`] levels, no YAML aliases, [`FAULTS_MAX`] faults kept.

mod check;
mod data;
mod declare;
mod dot;
mod fault;
mod keyed;
mod letters;
mod load;
mod node;
mod read;
mod route;
mod settings;
mod source;
mod svg;
mod toml;
mod unsure;
mod words;
mod yaml;

pub use data::{BindingSpec, DeadLetterQueueSpec, ExchangeSpec, QueueSpec, Topology};
pub use declare::Declared;
pub use fault::{FAULTS_MAX, Fault, TopologyError};
pub use load::FILE_MAX;
pub use node::DEPTH_MAX;

#[cfg(all(test, not(loom)))]
mod tests;
