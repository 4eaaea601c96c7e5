//! Jobs by the calendar: "at nine on weekdays". Feature `cron`.
//!
//! A [`CronSchedule`] is read from the text that cron has made a standard, and [`Producer::cron`](crate::Producer::cron) publishes a job whenever it says so.
//!
//! ```
//! use ringmill::clock::ManualClock;
//! use ringmill::cron::CronSchedule;
//! use ringmill::{MissedPeriods, QueueConfig, Runtime};
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! let clock = Arc::new(ManualClock::new()); // 1 January 1970, a Thursday
//! let mut builder = Runtime::builder().manual(clock.clone());
//! let reports = builder.queue(QueueConfig::new("reports"), |_: &&str, _: &_| ())?;
//! let runtime = builder.build()?;
//! let weekdays = CronSchedule::new("0 9 * * MON-FRI")?;
//! let morning = reports.producer()?.cron(&weekdays, MissedPeriods::Skip, || "daily");
//! runtime.advance(&clock, Duration::from_secs(7 * 24 * 3600));
//! assert_eq!(reports.counts().acked, 5);
//! morning.stop();
//! runtime.advance(&clock, Duration::from_secs(7 * 24 * 3600));
//! assert_eq!(reports.counts().acked, 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # When the wall clock is set
//!
//! Calendars go by the time on the [wall](crate::clock::Clock::wall), which people and time servers set, and which stands still for nobody: not for a machine that is suspended either. The
//! timer looks at the wall when an occurrence is due and at least once a minute, and works out anew how long to wait.
//!
//! | the wall | what happens |
//! |---|---|
//! | goes | a job is published when its time is on the wall, never earlier |
//! | is set forwards, over k occurrences | they are found within a minute, and are missed: one job for all of them, or k ([`MissedPeriods`](crate::MissedPeriods)) |
//! | is set back, by a day or less | what has been is not published again: the schedule goes on with the occurrence after the last |
//! | is set back, by more than a day | it was wrong before: the schedule begins anew, with what comes after the time that is on the wall now |
//!
//! The last line keeps a clock that was in the next century for a moment from silencing a schedule until then. A machine without a clock of its own begins in 1970 and leaps forwards
//! when it has found a time server: with `CatchUp` that is decades of jobs.
//!
//! # Invariants
//! 1. Between two looks no state changes but by `Due::look`, which is told what is on the wall: it reads no clock.
//! 2. A look takes bounded time, however many occurrences there were: what it does not count the next one does, at once.
//! 3. What croner reads is what this module has read before: its leniencies are none of ours. None of its types are seen outside.

mod due;
mod fields;
mod moment;
mod periodic;
mod schedule;

pub use periodic::CronPeriodic;
pub use schedule::CronSchedule;

#[cfg(all(test, not(loom)))]
mod tests;
