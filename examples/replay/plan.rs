//! Topology files: the queues and exchanges that a replay runs through, and `replay check`.
//!
//! They are read by the crate's feature `config`. A build without it says so, and how to get one.

use std::fmt;
use std::path::{Path, PathBuf};

#[cfg(feature = "config")]
mod files;
#[cfg(not(feature = "config"))]
mod none;

#[cfg(feature = "config")]
pub use files::{Plan, check};
#[cfg(not(feature = "config"))]
pub use none::{Plan, check};

/// Why there is no topology to run through.
#[derive(Debug)]
#[cfg_attr(not(feature = "config"), expect(dead_code, reason = "nothing but `NotBuilt` happens"))]
#[cfg_attr(feature = "config", expect(dead_code, reason = "`NotBuilt` does not happen"))]
pub enum PlanError {
    /// This build reads no topology files.
    NotBuilt,
    /// Every fault of the file.
    Faults(String),
    /// The file has no such exchange, or not one only that can be chosen; and those it has.
    NoExchange { wanted: Option<String>, there: Vec<String>, fitting: usize },
    /// A drawing, or what was found out, cannot be written.
    Output(PathBuf, std::io::Error),
    /// A drawing would overwrite the topology.
    SameFile(PathBuf),
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlanError::NotBuilt => {
                f.write_str("this build reads no topology files: run it with `cargo run --release --features config --example replay`")
            }
            PlanError::Faults(faults) => f.write_str(faults),
            PlanError::NoExchange { wanted: Some(wanted), there, .. } => {
                write!(f, "--exchange {wanted} is not in the topology, expected one of: {}", there.join(", "))
            }
            PlanError::NoExchange { wanted: None, there, .. } if there.is_empty() => {
                f.write_str("the topology has no exchange to publish to")
            }
            PlanError::NoExchange { wanted: None, there, fitting: 0 } => write!(
                f,
                "every exchange of the topology is an alternate or a dead-letter exchange, name one with --exchange: {}",
                there.join(", ")
            ),
            PlanError::NoExchange { wanted: None, there, .. } => {
                write!(f, "the topology has several exchanges, name one with --exchange: {}", there.join(", "))
            }
            PlanError::Output(path, error) => write!(f, "cannot write {}: {error}", path.display()),
            PlanError::SameFile(path) => write!(f, "{} is the topology itself, expected another file to draw it into", path.display()),
        }
    }
}

impl std::error::Error for PlanError {}

/// True when both are there and one file.
pub fn is_same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}
