//! The public face: what users hold in their hands.

mod builder;
mod consumer;
mod futures;
mod handle;
mod letters;
mod producer;
mod runtime;
mod shutdown;
mod snapshot;

pub use builder::RuntimeBuilder;
pub use consumer::{Consumer, Delivery};
pub use futures::{PublishAsync, RecvAsync};
pub use handle::QueueHandle;
pub use letters::DeadLetterQueue;
pub use producer::{Batch, MissedPeriods, Periodic, Permits, Producer};
pub use runtime::Runtime;
pub use shutdown::{RunningJob, ShutdownHandle, ShutdownOptions, ShutdownReport};
pub use snapshot::{LaneSnapshot, QueueSnapshot, Snapshot};

#[cfg(all(test, not(loom)))]
mod tests;
