//! The public face: what users hold in their hands.

mod buffered;
mod builder;
mod completion;
mod consumer;
mod crew;
mod destination;
mod exchange;
mod exchange_publisher;
mod export;
mod fan_out;
mod futures;
mod handle;
mod handlers;
mod letters;
mod onward;
mod periodic;
mod producer;
mod publish_routed;
mod route;
mod routed;
mod runtime;
mod shutdown;
mod snapshot;
mod watched;
mod watched_exchange;
mod ways;

pub use buffered::BufferedProducer;
pub use builder::RuntimeBuilder;
pub use completion::Completion;
pub use consumer::{Consumer, Delivery};
#[cfg(feature = "test-util")]
pub(crate) use crew::Crew;
pub use destination::Destination;
pub use exchange::{Binding, BindingInfo, Exchange, ExchangeConfig};
pub use exchange_publisher::ExchangePublisher;
pub use export::{ExportError, ExportFault};
pub use futures::{PublishAsync, PublishWatched, RecvAsync};
pub use handle::QueueHandle;
pub use handlers::{Around, CatchPanic, Kind, Layer, Layered, Layers, Mux, Observe, Observed, Timed, WithState, with_state};
pub use letters::DeadLetterQueue;
#[cfg(feature = "cron")]
pub(crate) use periodic::Running;
pub use periodic::{MissedPeriods, Periodic};
pub use producer::{Batch, Permits, Producer};
pub use publish_routed::PublishRouted;
pub use route::Route;
pub use routed::{Partial, RouteError, RouteRefusal, Routed};
pub use runtime::Runtime;
pub use shutdown::{RunningJob, ShutdownHandle, ShutdownOptions, ShutdownReport};
pub use snapshot::{ExchangeSnapshot, LaneSnapshot, PartitionsSnapshot, QueueSnapshot, Snapshot};
pub use watched::{Watched, WatchedBatch};
pub use watched_exchange::{WatchedCopies, WatchedExchange};

#[cfg(all(test, not(loom)))]
mod tests;
