//! What the fuzzer calls: per target a function of bytes that panics when ringmill and a naive model disagree.
//!
//! | target | bytes are read as | compared with |
//! |---|---|---|
//! | [`api`] | calls on a queue under the manual clock | the naive queue of the property tests; ledger, capacity and payloads after each call |
//! | [`wheel`] | insertions, cancellations, advances | a sorted map |
//! | [`word`] | fields of a state word, and calls on a slot | a struct of plain fields |
//! | [`routing`] | binding keys and routing keys | a matcher that is nothing but its definition |
//! | [`topology`] | TOML and YAML files | nothing: it ends, faults lie inside the file, what is taken can be declared and drawn |
//! | [`trace`] | trace files of the replay example | the lines, counted by hand |
//!
//! Each has a seeded fault, a lie that it tells one of the two sides in a rare case: with `RINGMILL_FUZZ_FAULT` set it must be found. The models are those of
//! `proptests/`; here the fuzzer chooses, led by coverage, and not a distribution. `README.md` beside this crate has the commands and what they reached.

pub mod api;
mod bytes;
pub mod routing;
pub mod topology;
pub mod trace;
pub mod wheel;
pub mod word;

use std::sync::OnceLock;

/// What the readers of the replay example take from its command line.
mod args {
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Format {
        Apache,
        AzureLlm,
        Jsonl,
    }

    pub const RECORDS_MAX: u64 = 16_000_000;
}

#[allow(dead_code, reason = "the half of it that a replay needs and a reader does not")]
#[path = "../../examples/replay/apache.rs"]
mod apache;
#[allow(dead_code, reason = "as above")]
#[path = "../../examples/replay/azure.rs"]
mod azure;
#[path = "../../examples/replay/civil.rs"]
mod civil;
#[path = "../../examples/replay/cursor.rs"]
mod cursor;
#[path = "../../examples/replay/jsonl.rs"]
mod jsonl;
#[allow(dead_code, reason = "files are read from memory here")]
#[path = "../../examples/replay/trace.rs"]
mod reader;
#[allow(dead_code, reason = "as above")]
#[path = "../../examples/replay/record.rs"]
mod record;
#[allow(dead_code, reason = "as above")]
#[path = "../../examples/replay/table.rs"]
mod table;

/// Whether the seeded faults are there.
fn faulty() -> bool {
    static FAULTY: OnceLock<bool> = OnceLock::new();
    *FAULTY.get_or_init(|| std::env::var_os("RINGMILL_FUZZ_FAULT").is_some())
}

#[cfg(test)]
mod tests;
