//! Time that a test moves.

use super::{Clock, Timestamp, nanos};
use crate::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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
}

impl ManualClock {
    /// A clock at its origin.
    pub fn new() -> Self {
        ManualClock { now: AtomicU64::new(0) }
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

    /// Real time says nothing about this clock: look again soon.
    fn sleep_hint(&self, _until: Timestamp) -> Duration {
        Duration::from_millis(1)
    }
}
