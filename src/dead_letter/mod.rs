//! Dead letters: jobs that will not be delivered again, with their history.
//!
//! Two stores. [`Histories`] remembers, beside the slots, what went wrong with jobs that are still alive; it is empty in the steady state and then costs
//! one relaxed load a job. [`DeadLetters`] is the bounded queue of the dead, with those that wait for room in it. [`Labels`] has the routing keys that jobs came by,
//! where a queue needs them. `json` writes a letter as text.
//!
//! Where letters move on: [`Routes`] follows exchanges, [`Graph`] has the ways from queue to queue, and `cycles` finds dead-lettering that would go in a circle by itself.

mod cycles;
mod graph;
mod histories;
mod json;
mod labels;
mod letters;
mod record;
mod routes;

pub use cycles::shown;
pub use graph::{Graph, Source};
pub use histories::{Histories, Past};
pub use json::write_line;
pub use labels::Labels;
pub use letters::{DeadLetters, Held, Kept, Stored};
pub use record::{DeadLetter, Death, DeathReason, DeathRecord, add_death};
pub use routes::{Bindings, Bound, Exchange, Routes};
