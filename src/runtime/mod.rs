//! Threads, pinning, waiting and time: the driver around the passive core.

mod config;
pub(crate) mod handler;
pub mod idle;
pub(crate) mod inside;
pub mod placement;
pub(crate) mod pool;
pub(crate) mod served;
pub(crate) mod timer;
pub mod topology;
pub(crate) mod worker;

pub use config::PoolConfig;
pub use handler::{CancelCause, Context, Handler};
pub use pool::PoolSnapshot;
pub use idle::Idle;
pub use placement::{CoreList, OnPinFailure, Placement, PlacementReport, WorkerPlacement};
