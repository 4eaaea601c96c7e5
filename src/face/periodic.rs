//! Jobs that are published again and again.

use super::producer::Producer;
use crate::clock::{Clock, Timestamp, nanos};
use crate::config::TICK;
use crate::error::ConfigError;
use crate::job::{Job, Payload};
use crate::queue::{Period, Publisher, Queue};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

impl<T: Payload> Producer<T> {
    /// Publishes what `make` returns every `period`, from one period from now on, until the returned guard is stopped or dropped. `make` runs in a worker's or
    /// consumer's thread.
    ///
    /// Its jobs have no handles: nobody is there to be given one when a job is published, and one that finds the queue full never is a job. What shall be told of
    /// its end takes with it whom to tell (a sender that `make` puts into the payload), or the queue keeps [records](crate::QueueConfig::completed_records). Whoever
    /// wants to wait for each job publishes the next one himself, [watched](Self::watched) and after a delay.
    ///
    /// ```
    /// use ringmill::clock::ManualClock;
    /// use ringmill::{MissedPeriods, QueueConfig, Runtime};
    /// use std::sync::Arc;
    /// use std::time::Duration;
    ///
    /// let clock = Arc::new(ManualClock::new());
    /// let mut builder = Runtime::builder().manual(clock.clone());
    /// let ticks = builder.queue(QueueConfig::new("ticks"), |_: &&str, _: &_| ())?;
    /// let runtime = builder.build()?;
    /// let minute = Duration::from_secs(60);
    /// let periodic = ticks.producer()?.every(minute, MissedPeriods::Skip, || "tick")?;
    /// assert_eq!(periodic.period(), minute);
    /// runtime.advance(&clock, 5 * minute + Duration::from_secs(1));
    /// assert_eq!(ticks.counts().acked, 5);
    /// periodic.stop();
    /// runtime.advance(&clock, 5 * minute);
    /// assert_eq!(ticks.counts().acked, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When `period` is shorter than a tick.
    pub fn every<J: Into<Job<T>>>(
        &self,
        period: Duration,
        missed: MissedPeriods,
        make: impl Fn() -> J + Send + Sync + 'static,
    ) -> Result<Periodic<T>, ConfigError> {
        if period < TICK {
            let scope = format!("queue `{}`", self.handle.name());
            return Err(ConfigError::new(scope, "period", format_args!("{period:?}"), format_args!("{TICK:?} or more")));
        }
        let every = nanos(period);
        let rhythm = move |due: Timestamp, now: Timestamp| {
            let times = nanos(now.since(due)) / every + 1;
            (times, due + Duration::from_nanos(every.saturating_mul(times)))
        };
        let first = self.clock().now() + period;
        Ok(Periodic { every: Duration::from_nanos(every), _period: self.publish_in_rhythm(first, rhythm, missed, make) })
    }

    /// The clock of the runtime.
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.handle.clock
    }

    /// Publishes what `make` returns in this rhythm, which is asked first at `first`.
    pub(crate) fn publish_in_rhythm<J: Into<Job<T>>>(
        &self,
        first: Timestamp,
        rhythm: impl Fn(Timestamp, Timestamp) -> (u64, Timestamp) + Send + Sync + 'static,
        missed: MissedPeriods,
        make: impl Fn() -> J + Send + Sync + 'static,
    ) -> Running<T> {
        let act = move |queue: &Queue<T>, publisher: &Publisher, clock: &dyn Clock| queue.publish_made(publisher, || make().into(), clock);
        self.run_period(first, rhythm, missed == MissedPeriods::CatchUp, act)
    }

    /// Has something done in this rhythm.
    pub(super) fn run_period(
        &self,
        first: Timestamp,
        rhythm: impl Fn(Timestamp, Timestamp) -> (u64, Timestamp) + Send + Sync + 'static,
        catch_up: bool,
        act: impl Fn(&Queue<T>, &Publisher, &dyn Clock) + Send + Sync + 'static,
    ) -> Running<T> {
        let period = Arc::new(Period {
            act: Box::new(act),
            rhythm: Box::new(rhythm),
            catch_up,
            stopped: AtomicBool::new(false),
            owed: AtomicU64::new(0),
            next: Mutex::new(first),
        });
        self.handle.queue.add_period(Arc::clone(&period));
        Running(period)
    }
}

/// What happens to periods that went by while nobody could publish them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissedPeriods {
    /// One job stands for all of them.
    Skip,
    /// Each gets its job.
    CatchUp,
}

/// A periodic job; stopped when dropped.
pub struct Periodic<T> {
    every: Duration,
    _period: Running<T>,
}

impl<T> Periodic<T> {
    /// No more jobs, except one that may be on its way.
    pub fn stop(self) {}

    /// The period.
    pub fn period(&self) -> Duration {
        self.every
    }
}

impl<T> fmt::Debug for Periodic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Periodic").field("every", &self.every).finish_non_exhaustive()
    }
}

/// A period, until this is dropped.
pub(crate) struct Running<T>(Arc<Period<T>>);

impl<T> Running<T> {
    pub(super) fn period(&self) -> &Period<T> {
        &self.0
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        // relaxed: one more job may be on its way
        self.0.stopped.store(true, Relaxed);
    }
}
