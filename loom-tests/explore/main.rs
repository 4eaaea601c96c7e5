//! Sequentially consistent explorers: every interleaving of the step machines of ring, lease and credit, one shared access per step.

#![allow(missing_docs)]
#![cfg(not(loom))]

mod credit;
mod lease;
mod ring;
