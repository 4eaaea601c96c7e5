//! Jobs that are published whenever a schedule says so.

use super::due::Due;
use super::schedule::CronSchedule;
use crate::clock::Timestamp;
use crate::face::{MissedPeriods, Producer, Running};
use crate::job::{Job, Payload};
use crate::sync::Mutex;
use std::fmt;
use std::sync::Arc;

impl<T: Payload> Producer<T> {
    /// Publishes what `make` returns whenever `schedule` says so, from now on, until the returned guard is stopped or dropped. As [`every`](Self::every), by the
    /// calendar: the [module](crate::cron) says what happens when the wall clock is set. Feature `cron`.
    ///
    /// ```
    /// use ringmill::clock::ManualClock;
    /// use ringmill::cron::CronSchedule;
    /// use ringmill::{MissedPeriods, QueueConfig, Runtime};
    /// use std::sync::Arc;
    /// use std::time::{Duration, UNIX_EPOCH};
    ///
    /// let clock = Arc::new(ManualClock::new());
    /// clock.set_wall(UNIX_EPOCH + Duration::from_secs(1_772_323_140)); // 2026-02-28 23:59 UTC
    /// let mut builder = Runtime::builder().manual(clock.clone());
    /// let bills = builder.queue(QueueConfig::new("bills"), |_: &&str, _: &_| ())?;
    /// let runtime = builder.build()?;
    /// let monthly = bills.producer()?.cron(&CronSchedule::new("@monthly")?, MissedPeriods::CatchUp, || "bill");
    /// assert_eq!(monthly.schedule().to_string(), "@monthly");
    /// runtime.advance(&clock, Duration::from_secs(59));
    /// assert_eq!(bills.counts().acked, 0);
    /// runtime.advance(&clock, Duration::from_secs(1));
    /// assert_eq!(bills.counts().acked, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "crontab")]
    #[doc(alias = "repeat")]
    pub fn cron<J: Into<Job<T>>>(
        &self,
        schedule: &CronSchedule,
        missed: MissedPeriods,
        make: impl Fn() -> J + Send + Sync + 'static,
    ) -> CronPeriodic<T> {
        let clock = Arc::clone(self.clock());
        let due = Mutex::new(Due::new(schedule.clone(), missed, clock.wall()));
        let rhythm = move |_, now: Timestamp| {
            let (times, wait) = due.lock().look(clock.wall());
            // the clock is read after the wall, so that the wait ends late rather than early
            (times, clock.now().max(now) + wait)
        };
        // the first look is now
        CronPeriodic { schedule: schedule.clone(), _period: self.publish_in_rhythm(self.clock().now(), rhythm, missed, make) }
    }
}

/// A job by the calendar; stopped when dropped.
pub struct CronPeriodic<T> {
    schedule: CronSchedule,
    _period: Running<T>,
}

impl<T> CronPeriodic<T> {
    /// No more jobs, except one that may be on its way.
    pub fn stop(self) {}

    /// The schedule.
    pub fn schedule(&self) -> &CronSchedule {
        &self.schedule
    }
}

impl<T> fmt::Debug for CronPeriodic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CronPeriodic").field("schedule", &self.schedule).finish_non_exhaustive()
    }
}
