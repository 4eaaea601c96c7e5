//! How a job's end reaches those who want to know of it: a handle that waits, and a record that is kept.
//!
//! # The promise
//!
//! A job that is published *watched* has a [`Promise`]: one cell, shared by the queue and the handle of the publisher. The queue puts the job's end there, the
//! handle takes it out. It is in one of three states:
//!
//! ```text
//!             keep: the end is put in; whoever sleeps is woken
//!      Open ---------------------------------------------------> Kept
//!       |  ^                                                      |
//!       |  | look: says whom to wake                              | look: takes it out
//!       |  +---                                                   | forsake: takes it out
//!       |                                                         v
//!       +-----------------------------------------------------> Over
//!             forsake: the handle is dropped first                 keep: gives back what nobody wants
//! ```
//!
//! Every state is changed under the cell's lock, and nothing of the user's runs under it: neither the drop of an answer nor a waker. That there is one `keep`
//! needs no lock: a job ends once, because the slot's word decides so, and whoever ends it takes the promise out of [`Watched`].
//!
//! - **No wake-up is lost.** The waiter looks *and* says whom to wake in one hold of the lock. If `keep` comes first, the look finds the end. If the look
//!   comes first, `keep` finds whom to wake, and wakes after it has put the end in: the woken one finds it.
//! - **The right one is woken.** A task may have moved to another executor since: each look replaces whom to wake by its own.
//! - **A handle may go at any time.** It takes out what is kept, so that its owner drops it; or it leaves `Over`, so that `keep` gives the end back, and
//!   whoever ended the job drops it where a panic is caught. Nothing is left in the cell for whoever lets go of it last.
//! - **A queue may go before its jobs have ended.** [`Watched`] then keeps every promise with [`End::Lost`].
//!
//! A waiter whose time is up just goes: a token that comes later lies in a parker that nobody uses any more.
//!
//! The models are in `loom-tests/completion.rs`; each rule that they break is a constant of [`Rules`].
//!
//! # Progress
//!
//! Each step holds the lock for a few instructions. The end of a watched job takes two locks, a shard's of [`Watched`] and the promise's; other jobs take none.

mod end;
mod promise;
mod records;
mod watched;

pub use end::{Answer, Completed, End, Kept};
pub use promise::{Look, Promise, Rules, Standard};
pub use records::{CompletedJob, Records};
pub use watched::Watched;
