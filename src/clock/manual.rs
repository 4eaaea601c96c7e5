//! Time that a test moves.

use super::{Clock, Timestamp, nanos, wall_after};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A clock that moves only when it is told to, forwards or backwards. It stops before [`Timestamp::MAX`], which is when nothing ever happens.
///
/// ```
/// use ringmill::clock::{Clock, ManualClock};
/// use std::time::Duration;
///
/// let clock = ManualClock::new();
/// clock.advance(Duration::from_secs(7 * 24 * 3600));
/// assert_eq!(clock.now().as_nanos(), 604_800_000_000_000);
/// ```
#[derive(Debug)]
pub struct ManualClock {
    /// Written by whoever moves the clock, read by everyone.
    now: AtomicU64,
    /// What was on the wall at the clock's origin.
    origin: Mutex<SystemTime>,
}

impl ManualClock {
    /// A clock at its origin, when 1970 begins on the wall.
    pub fn new() -> Self {
        ManualClock { now: AtomicU64::new(0), origin: Mutex::new(UNIX_EPOCH) }
    }

    /// The last moment that there is.
    pub(crate) const END: Timestamp = Timestamp::from_nanos(u64::MAX - 1);

    /// Moves the clock forwards.
    pub fn advance(&self, by: Duration) {
        let mut now = self.now.load(Ordering::Relaxed);
        // relaxed: CAS re-checks; time carries no data
        let later = |now: u64| now.saturating_add(nanos(by)).min(Self::END.as_nanos());
        while let Err(seen) = self.now.compare_exchange(now, later(now), Ordering::Relaxed, Ordering::Relaxed) {
            now = seen;
        }
    }

    /// Sets the clock, also back.
    pub fn set(&self, to: Timestamp) {
        // relaxed: time carries no data
        self.now.swap(to.min(Self::END).as_nanos(), Ordering::Relaxed);
    }

    /// Sets the wall, forwards or back; from there it goes with the clock, and nothing else notices.
    ///
    /// ```
    /// use ringmill::clock::{Clock, ManualClock, Timestamp};
    /// use std::time::{Duration, UNIX_EPOCH};
    ///
    /// let (clock, minute) = (ManualClock::new(), Duration::from_secs(60));
    /// clock.advance(minute);
    /// assert_eq!(clock.wall(), UNIX_EPOCH + minute);
    /// let new_year = UNIX_EPOCH + Duration::from_secs(1_767_225_600); // 2026-01-01 00:00 UTC
    /// clock.set_wall(new_year);
    /// assert_eq!(clock.now(), Timestamp::ZERO + minute);
    /// clock.advance(minute);
    /// assert_eq!(clock.wall(), new_year + minute);
    /// ```
    pub fn set_wall(&self, to: SystemTime) {
        let since = self.now().since(Timestamp::ZERO);
        *self.origin.lock() = to.checked_sub(since).unwrap_or(UNIX_EPOCH);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        // relaxed: time carries no data
        Timestamp::from_nanos(self.now.load(Ordering::Relaxed))
    }

    fn wall(&self) -> SystemTime {
        wall_after(*self.origin.lock(), self.now())
    }

    /// Real time says nothing about this clock: look again soon.
    fn sleep_hint(&self, _until: Timestamp) -> Duration {
        Duration::from_millis(1)
    }
}
