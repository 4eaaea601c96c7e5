//! How far a schedule has come.

use super::schedule::CronSchedule;
use crate::face::MissedPeriods;
use std::time::{Duration, SystemTime};

/// The wall is looked at so often at least: it may have been set, or the machine suspended.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// A wall that goes back by more was wrong before.
const CORRECTION: Duration = Duration::from_secs(24 * 60 * 60);
/// At most so many occurrences are counted in one look.
const COUNTED_AT_ONCE: u64 = 256;

/// A schedule, and what of it has been.
#[derive(Debug)]
pub(super) struct Due {
    schedule: CronSchedule,
    missed: MissedPeriods,
    /// What was due by then has been.
    passed: SystemTime,
    /// The first occurrence after `passed`.
    next: Option<SystemTime>,
}

impl Due {
    /// From now on.
    pub(super) fn new(schedule: CronSchedule, missed: MissedPeriods, wall: SystemTime) -> Self {
        let next = schedule.next_after(wall);
        Due { schedule, missed, passed: wall, next }
    }

    /// How many jobs are due when this is on the wall, and how long to wait before the next look.
    pub(super) fn look(&mut self, wall: SystemTime) -> (u64, Duration) {
        if wall.checked_add(CORRECTION).is_some_and(|latest| latest < self.passed) {
            self.pass(wall);
        }
        let mut times = 0;
        while let Some(next) = self.next.filter(|next| *next <= wall && times < COUNTED_AT_ONCE) {
            times += 1;
            self.pass(if self.missed == MissedPeriods::Skip { wall } else { next });
        }
        // no wait at all if there are more
        let wait = self.next.map_or(LOOK_EVERY, |next| next.duration_since(wall).unwrap_or_default());
        (times, wait.min(LOOK_EVERY))
    }

    fn pass(&mut self, time: SystemTime) {
        self.passed = time;
        self.next = self.schedule.next_after(time);
    }
}
