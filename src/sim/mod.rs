//! Deterministic simulation: a whole service on one thread, a virtual clock and a seed. For tests; feature `test-util`.
//!
//! The queues, handlers and settings are the service's own, and the code that runs them is the one that runs in production, without its threads. A [`Sim`] chooses who acts
//! next, by its seed: this worker, that worker, the timer. Time passes when the test says so, in leaps from one event to the next, so a week of retries takes
//! milliseconds. The same seed gives the same run, to the last choice.
//!
//! ```
//! use ringmill::sim::{Outcome, Sim};
//! use ringmill::{ConfigError, Context, JobError, QueueConfig, QueueHandle, RuntimeBuilder, Verdict};
//! use std::time::Duration;
//!
//! // the service, as in production
//! fn send(address: &String, context: &Context<String>) -> Result<(), JobError> {
//!     match address.split_once('@') {
//!         None => Err(JobError::fatal("no address")),
//!         Some((_, "slow.example")) if context.attempt() < 3 => Err(JobError::transient("no answer")),
//!         Some(_) => Ok(()),
//!     }
//! }
//! fn declare(builder: &mut RuntimeBuilder) -> Result<QueueHandle<String>, ConfigError> {
//!     builder.queue(QueueConfig::new("mails"), send)
//! }
//!
//! // its test
//! let mut builder = Sim::builder(7);
//! let mails = declare(&mut builder)?;
//! let sim = Sim::start(builder)?;
//! let producer = mails.producer()?;
//! let slow = producer.publish("bob@slow.example".to_owned())?;
//! producer.publish("nobody".to_owned())?;
//! sim.advance(Duration::from_secs(7 * 24 * 3600));
//!
//! let attempts = sim.deliveries_of(&mails, slow);
//! assert_eq!(attempts.len(), 3);
//! assert_eq!(attempts[2].outcome, Outcome::Settled(Verdict::Ack));
//! assert_eq!(mails.dead_letters().take().unwrap().payload(), "nobody");
//! sim.assert_balanced();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | what a test needs | where |
//! |---|---|
//! | one act at a time, or all there is to do | [`Sim::step`], [`Sim::run_until_idle`] |
//! | time | [`Sim::advance`], [`Sim::run_until`]; leaps of the clock: [`Sim::clock`] |
//! | handlers that take long, or are stuck | [`takes`] |
//! | what happened | [`Sim::deliveries`], [`Sim::deliveries_of`]; counts, dead letters and records as ever |
//! | what each job is doing now | [`Sim::jobs`] |
//! | how many more find room | [`Sim::room`] |
//! | that nothing was lost | [`Sim::assert_balanced`] |
//! | handlers that run when a job is published | [`Sim::inline`] |
//! | a shutdown in virtual time | [`Sim::shutdown`] |
//! | many seeds; the one that failed, again | [`each_seed`] |
//! | a failing run, as short as can be | [`shrink`] |
//!
//! # What is not simulated
//!
//! A handler runs to its end in one act. What happens *within* it at the same time as something else, such as two threads in one critical section, is for
//! [models](crate::guide::model_checking). A delivery of a pull queue may be held as long as the test likes.
//!
//! # The feature
//!
//! With `test-util` the hashes of [keys](crate::Job::key) have no secret, so that runs can be repeated in another process: whoever may choose keys can look for
//! two that agree. Enable it under `[dev-dependencies]` only.

mod seeds;
mod shrink;
mod simulation;

pub use crate::queue::{JobPhase, JobState};
pub use crate::runtime::{DeliveryRecord, Outcome, takes};
pub use seeds::each_seed;
pub use shrink::shrink;
pub use simulation::Sim;

#[cfg(all(test, not(loom)))]
mod tests;
