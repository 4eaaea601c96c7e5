//! The slab: where jobs lie, and the word that decides about each.

mod slot;
mod state;
mod word;

pub use slot::{Slab, Slot};
pub use state::{CancelStep, Dispose, Expire, Fire, Leave, Next, Settled, SlotState, Stale, Start};
pub use word::{Claim, Epoch, Fate, Phase, Word};
