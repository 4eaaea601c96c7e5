//! The loom models. One file per room; each model names the bad interleaving it would catch, and has a twin that must fail.
//!
//! Exhaustive: `RUSTFLAGS="--cfg loom -C debug-assertions" CARGO_TARGET_DIR=target/loom cargo test --release --test loom -- --test-threads=1`.
//! Under plain `cargo test` each model runs some rounds on real threads, so that it always compiles and does not rot.

#![allow(missing_docs)]
#![cfg_attr(ringmill_sanitize, feature(custom_test_frameworks, test), test_runner(support::one_thread::run))]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "models make their own threads")]

mod completion;
mod consumers;
mod credit;
mod dedupe;
mod latest;
mod lines;
mod parking;
mod partitions;
mod ring;
mod routing;
mod runtime;
#[cfg(all(ringmill_shuttle, feature = "test-util"))]
mod schedules;
#[cfg(ringmill_sanitize)]
mod seeded;
mod state;
mod support;
mod users;
mod weaken;
