//! The index ring (essay follows)

mod popped;
#[allow(clippy::module_inception, reason = "one file, one noun")]
mod ring;
mod rules;
mod slot;
#[cfg(all(test, not(loom)))]
mod tests;

pub use popped::{POPPED_MAX, Popped};
pub use ring::{IndexRing, Pop, PopResult};
#[doc(hidden)]
pub use rules::{Rules, Sound};
#[doc(hidden)]
pub use slot::{Seen, SlotLayout};
