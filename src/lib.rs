//! A lock-free, in-process job runtime: priority lanes, leases, retries and dead letters at ring-buffer speed.
//!
//! A service links ringmill in, hands it jobs from any thread, and ringmill's workers run them: the urgent first, each until it is done, tried again when it
//! fails, set aside with its history when it cannot succeed. A full queue pushes back at an exact bound. Jobs live in memory: **what is not finished when the
//! process dies is gone.**
//!
//! # A tour
//!
//! - A [`Runtime`] holds queues, the pools of workers that serve them, and one timer thread. It is put together by a [`RuntimeBuilder`].
//! - A **queue** ([`QueueConfig`]) has a capacity, one to eight **lanes** ([`LaneConfig`]), and rules for retries, leases and dead letters. A
//!   [`QueueHandle`] is how the program holds it.
//! - A [`Producer`] publishes [`Job`]s: a [`Payload`], a lane, limits. One per publishing thread.
//! - An [`Exchange`] finds the queues of a job by its [routing key](RoutingKey); an [`ExchangePublisher`] publishes there, to several queues all or nothing.
//! - A [`Handler`] works on a delivery in a worker of the queue's **pool** ([`PoolConfig`]), with a [`Context`] that knows the attempt, and ends it with a
//!   [`Verdict`]; a `Result` will do. Handlers are put together: by job kind in a [`Mux`], with [`Layers`] around them and [state](with_state) beside them. Or a [`Consumer`] receives [`Delivery`]s by hand.
//! - A [`Completion`] waits for the end of a job that was published [watched](Producer::watched), and has what its handler answered ([`Request`]).
//! - A **lease** makes a delivery exclusive for the queue's visibility timeout. If the handler overruns it, the job is delivered again, and the late verdict
//!   is [`Stale`]. Handlers share the payload (`&T`) and must bear being called twice.
//! - A [`DeadLetter`] is a job that will not be delivered again, with its history; the [`DeadLetterQueue`] lists, takes out and redrives them.
//! - A [`Snapshot`] has every count, gauge and histogram; a [`ShutdownReport`] has the undone jobs, by value.
//!
//! # Example
//!
//! ```
//! use ringmill::{Context, Job, JobError, LaneConfig, QueueConfig, Runtime, ShutdownOptions};
//!
//! fn send(address: &String, context: &Context<String>) -> Result<(), JobError> {
//!     match address.split_once('@') {
//!         None => Err(JobError::fatal("no address")), // to the dead letters
//!         Some((_, "slow.example")) if context.attempt() == 1 => Err(JobError::transient("no answer")), // again, a little later
//!         Some(_) => Ok(()),
//!     }
//! }
//!
//! let lanes = [LaneConfig::new("urgent").weight(6), LaneConfig::new("bulk").weight(1)];
//! let mut builder = Runtime::builder();
//! let mail = builder.queue(QueueConfig::new("mail").capacity(4096).lanes(lanes), send)?;
//! let runtime = builder.build()?;
//! let producer = mail.producer()?;
//! for address in ["ada@example.org", "bob@slow.example", "nobody"] {
//!     producer.publish(Job::new(address.to_owned()).lane(1))?; // a refused job comes back in the error
//! }
//! let report = runtime.shutdown(ShutdownOptions::default()); // drains, retries included, for up to 10 s
//! assert!(report.is_clean());
//! let counts = mail.counts();
//! assert_eq!((counts.acked, counts.retried, counts.dead_lettered), (2, 1, 1));
//! assert_eq!(mail.dead_letters().take().unwrap().payload(), "nobody");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Timing rules are tested without threads and without sleeping, on a [`ManualClock`](clock::ManualClock):
//!
//! ```
//! use ringmill::clock::ManualClock;
//! use ringmill::{QueueConfig, Runtime};
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! let clock = Arc::new(ManualClock::new());
//! let mut builder = Runtime::builder().manual(clock.clone());
//! let reports = builder.queue(QueueConfig::new("reports"), |_: &&str, _: &_| ())?;
//! let runtime = builder.build()?;
//! let day = Duration::from_secs(24 * 3600);
//! reports.producer()?.publish_after("weekly", 7 * day)?;
//! runtime.advance(&clock, 6 * day);
//! assert_eq!(reports.counts().acked, 0);
//! runtime.advance(&clock, day + Duration::from_millis(1));
//! assert_eq!(reports.counts().acked, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! - **Capacity is exact.** A queue of N holds N jobs, whatever they are doing, and one active producer can always fill it.
//! - **A refused job comes back**, whole, in the [`PublishError`].
//! - **At least once, while the process lives.** Of several settlements of one delivery exactly one counts.
//! - **A lease is never shorter than asked** and late by less than two sweeps of the timer; a sweep is an eighth of it, 1 to 100 ms.
//! - **Nothing vanishes.** `accepted = acked + dead-lettered + dropped + handed back + held`, per queue, whenever nothing is in motion:
//!   [`QueueSnapshot::ledger_balances`].
//! - **Shutdown returns** by its deadline, even with a handler stuck for ever, and names the job that handler has.
//! - **Lock-free where it counts.** A thread stopped anywhere in a [`try_publish`](Producer::try_publish) or in a worker's claim holds up nobody else.
//!
//! Not promised: durability, effects that happen exactly once, an order across lanes or retries but for jobs with a [partition key](QueueConfig::partitions).
//!
//! # Which feature is which type
//!
//! | feature | where |
//! |---|---|
//! | publish: at once, waiting, from a task, in batches, into reserved slots | [`Producer::try_publish`], [`publish_timeout`](Producer::publish_timeout), [`publish_async`](Producer::publish_async), [`publish_batch`](Producer::publish_batch), [`reserve`](Producer::reserve) and [`Permits`] |
//! | jobs gathered, and published a batch at a time | [`Producer::buffered`], [`BufferedProducer`], [`BufferConfig`] |
//! | publish later, at a time, every so often | [`Producer::publish_after`], [`publish_at`](Producer::publish_at), [`every`](Producer::every) and [`Periodic`] |
//! | publish by the calendar | module `cron`, feature `cron` |
//! | routing by key, patterns, to everybody; bindings with lanes and predicates; an alternate | [`Exchange`], [`ExchangeConfig`], [`Binding`], [`RoutingKey`], [`BindingKey`] |
//! | publishing through an exchange, to several queues or none, to some, by a resolved key, from a task | [`ExchangePublisher`], [`Route`], [`Routed`], [`Partial`], [`RouteError`], [`PublishRouted`] |
//! | validation before admission | [`Payload::validate`], [`Invalid`] |
//! | what a full queue does | [`Overflow`]; why a publish was refused: [`Refusal`] |
//! | a publisher that stops asking a full queue for a while | [`QueueConfig::publish_breaker`], [`PublishBreaker`], [`Refusal::BreakerOpen`] |
//! | one job per key: while it is live, in a window of time, or the last of those in it | [`Job::key`], [`QueueConfig::dedupe`], [`Dedupe`] |
//! | an order per key, one job of it at a time; what a retry blocks; how the keys spread | [`Job::partition_key`], [`QueueConfig::partitions`], [`OrderPolicy`], [`PartitionsSnapshot`] |
//! | an effect once per id, a lock per key | [`IdempotencyGuard`], [`KeyedLock`] |
//! | signals of a filling queue | [`QueueConfig::watermarks`], [`QueueHandle::on_pressure`], [`Pressure`] |
//! | priorities, shares, reserved slots | [`LaneConfig`], [`Discipline`] |
//! | several queues in one pool | [`QueueConfig::pool`], [`QueueConfig::weight`] |
//! | time to live, own visibility timeout of a job | [`Job::ttl`], [`Job::visibility`] |
//! | push: handlers | [`Handler`], [`Context`], [`Verdict`], [`IntoVerdict`] |
//! | queues of several payload types in one runtime and one pool | [`RuntimeBuilder::queue`]; each [`QueueHandle`] has its own type |
//! | handlers by job kind: exact names, prefixes, a fallback | [`Mux`], [`Kind`] |
//! | handlers as functions, or methods, of shared state | [`with_state`] |
//! | layers around handlers: before and after, timing, tracing, panics as verdicts | [`Layers`], [`Layer`], [`Observed`] |
//! | pull: deliveries by hand, in threads and tasks | [`RuntimeBuilder::pull_queue`], [`Consumer`], [`recv_async`](Consumer::recv_async), [`Delivery`] |
//! | leases, extension, cancellation | [`QueueConfig::visibility`], [`Context::extend`], [`Context::cancelled`], [`QueueHandle::cancel`] |
//! | transient and fatal errors | [`JobError`], [`ErrorClass`] |
//! | retries, backoff, jitter, own decisions | [`RetryPolicy`], [`Backoff`], [`Jitter`], [`RetryDecision`] |
//! | a handle to a job's end: wait, await, cancel, its answer | [`Producer::watched`], [`publish_watched_async`](Producer::publish_watched_async), [`Permits::publish_watched`]; of a batch: [`WatchedBatch`]; of each copy: [`ExchangePublisher::watched`], [`WatchedCopies`]; [`Completion`], [`Completed`], [`End`]; [`Request`], [`Context::complete`], [`Delivery::complete`] |
//! | records of the jobs that ended lately | [`QueueConfig::completed_records`], [`QueueHandle::completed`], [`QueueHandle::completed_job`], [`CompletedJob`] |
//! | a follow-up in the same slot | [`Context::complete_with`], [`Delivery::complete_with`] |
//! | dead letters that move on: to another queue, through an exchange | [`DeadLetterConfig::queue`], [`DeadLetterConfig::exchange`], [`QueueConfig::retention`] |
//! | dead letters: listed, published again, exported as JSON | [`DeadLetterConfig`], [`DeadLetterOverflow`], [`DeadLetterQueue`], [`DeadLetterQueue::export`], [`DeathRecord`] |
//! | pinned workers, spares for stuck ones | [`PoolConfig`], [`Placement`], [`PlacementReport`] |
//! | how idle workers wait | [`Idle`] |
//! | pause, resume, purge | [`QueueHandle::pause`], [`resume`](QueueHandle::resume), [`purge`](QueueHandle::purge) |
//! | counts, gauges, histograms | [`Runtime::snapshot`], [`QueueSnapshot`], [`LaneSnapshot`], [`PoolSnapshot`]; counts alone: [`QueueHandle::counts`] |
//! | graceful shutdown | [`Runtime::shutdown`], [`ShutdownOptions`], [`ShutdownReport`], [`Undone`]; from a signal handler's thread: [`ShutdownHandle`] |
//! | deterministic simulation: a service's own tests in virtual time, by a seed | module `sim`, feature `test-util` |
//! | time without waiting | [`RuntimeBuilder::manual`], [`Runtime::advance`], [`clock`] |
//! | hard bounds | [`limits`] |
//!
//! # More to read
//!
//! The [`guide`] has a page for whoever comes from another system, and pages on priorities, prefetch, idempotent handlers, model checking and, with the feature
//! `test-util`, testing.
//!
//! In the repository: `docs/guarantees.md` has every guarantee with its conditions and the test that shows it, `docs/architecture.md` the parts and their
//! invariants, `docs/memory-ordering.md` which store is read where, `docs/testing.md` how it is checked, `docs/glossary.md` the words. `examples/replay` is a
//! program on top of all this.

#![cfg_attr(
    any(loom, ringmill_shuttle),
    allow(clippy::modulo_one, clippy::reversed_empty_ranges, reason = "the tables of models are small")
)]
#![cfg_attr(ringmill_sanitize, feature(cfg_sanitize))]
#![cfg_attr(all(test, ringmill_sanitize), feature(custom_test_frameworks, test), test_runner(one_thread::run))]

pub mod clock;
mod config;
#[cfg(feature = "cron")]
pub mod cron;
mod dead_letter;
mod error;
mod face;
#[cfg(any(doc, doctest))]
pub mod guide;
mod idempotency;
mod job;
mod keyed_lock;
#[doc(hidden)]
pub mod ledger;
pub mod limits;
#[cfg(all(test, ringmill_sanitize))]
#[path = "../loom-tests/support/one_thread.rs"]
mod one_thread;
#[doc(hidden)]
pub mod queue;
mod request;
#[cfg(feature = "test-util")]
pub mod sim;
#[cfg(all(test, not(loom)))]
mod tests;
#[cfg(all(test, not(loom)))]
mod tidy;
#[cfg(feature = "config")]
pub mod topology;
mod verdict;

pub use completion::{Completed, CompletedJob, End};
pub use config::*;
pub use dead_letter::{DeadLetter, Death, DeathReason, DeathRecord};
pub use error::*;
pub use exchange::{ExchangeCounts, ExchangeKind};
pub use face::*;
pub use histogram::HistogramSnapshot;
pub use id::JobId;
pub use idempotency::{Begin, IdempotencyGuard, Permit, TooManyInFlight};
pub use job::{Invalid, Job, Payload};
pub use keyed_lock::{KeyedGuard, KeyedLock, TooManyKeysInUse};
pub use ledger::Counts;
pub use queue::{CancelCause, Origin, Phases, Pressure, Undone};
pub use request::Request;
pub use retry::{Backoff, Jitter};
pub use routing::{BindingKey, KeyError, KeyFault, Pattern, RoutingKey};
pub use runtime::{Context, CoreList, Handler, Idle, OnPinFailure, Placement, PlacementReport, PoolConfig, PoolSnapshot, WorkerPlacement};
pub use verdict::{ErrorClass, IntoVerdict, JobError, Verdict};

// The rooms are reachable for the crate's own models, property tests and benchmarks. They are no part of the public interface: names and
// shapes change without notice.
#[doc(hidden)]
pub mod breaker;
#[doc(hidden)]
pub mod chain;
#[doc(hidden)]
pub mod completion;
#[doc(hidden)]
pub mod credit;
#[doc(hidden)]
pub mod dedupe;
#[doc(hidden)]
pub mod exchange;
#[doc(hidden)]
pub mod histogram;
#[doc(hidden)]
pub mod id;
#[doc(hidden)]
pub mod inbox;
#[doc(hidden)]
pub mod key;
#[doc(hidden)]
pub mod lanes;
#[doc(hidden)]
pub mod partitions;
#[doc(hidden)]
pub mod retry;
#[doc(hidden)]
pub mod ring;
#[doc(hidden)]
pub mod rng;
#[doc(hidden)]
pub mod routing;
#[doc(hidden)]
pub mod runtime;
#[doc(hidden)]
pub mod slab;
#[doc(hidden)]
pub mod sync;
#[doc(hidden)]
pub mod wheel;

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;
