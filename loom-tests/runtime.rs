//! The composed protocol: models of the queue itself, with its rings, credits, state words, inbox and timer, as the runtime uses them.
//!
//! | file | what meets what |
//! |---|---|
//! | `flow` | publishers, claimers, sleepers, waiting publishers |
//! | `lease` | settlements, leases that run out, thieves, delays, cancels |
//! | `letters` | dead letters that move on, and whoever else wants them |
//! | `windows` | a payload that is replaced, against its window's end, a cancel, a shutdown |
//! | `shutdown` | close, stop and hand-back against everybody else |
//! | `batches` | a batch of jobs with keys, against a publish |
//! | `buffered` | a buffer's owner, the timer, and who publishes for him |
//! | `chains` | follow-ups on their way, against who looks whether anything is left |
//!
//! A twin bends one step of the protocol ([`Bend`](ringmill::queue::Bend)) and must fail.
//!
//! *Bounds.* A queue has a few hundred atomics and an act touches some dozen of them, so most models are cut to two or three preemptions, which each says. Deeper
//! bounds are behind `#[ignore]`:
//! `RUSTFLAGS="--cfg loom -C debug-assertions" CARGO_TARGET_DIR=target/loom cargo test --release --test loom runtime -- --ignored --test-threads=1 --nocapture`
//!
//! *What these models do not see.* Counts and histograms are outside of loom. Its SeqCst fences order more than the language's do, and nearly every act has one:
//! that each edge is needed and strong enough is shown room by room (`ring`, `credit`, `state`, `parking`); here it is the composition that is on trial.

mod batches;
mod buffered;
mod chains;
mod flow;
mod lease;
mod letters;
mod shutdown;
mod told;
mod windows;
mod world;
