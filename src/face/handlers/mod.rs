//! What is put together from handlers: layers around one, a mux in front of several, state beside one.
//!
//! | part | what it is |
//! |---|---|
//! | [`Layer`], [`Layers`] | what happens around a handler: timing, tracing, panics mapped to a verdict, code of one's own. Compiled into the handler |
//! | [`Mux`], [`Kind`] | one handler for a queue whose jobs say of which kind they are; one table look-up and one indirect call |
//! | [`with_state`] | a function of state, payload and context as a handler |
//!
//! Each is a [`Handler`](crate::Handler) again, so they nest in any order. The runtime knows none of them: a queue that uses none pays for none.
//!
//! **Invariant.** Nothing here allocates per job, but for the reason of a rejected one.

mod hooks;
mod layer;
mod mux;
mod state;

pub use hooks::{Around, CatchPanic, Observe, Observed, Timed};
pub use layer::{Layer, Layered, Layers};
pub use mux::{Kind, Mux};
pub use state::{WithState, with_state};
