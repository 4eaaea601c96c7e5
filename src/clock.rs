//! Time as data: the only place that asks the machine what time it is.
//!
//! Everything else is handed a [`Timestamp`]. With a [`ManualClock`] every timing rule of the crate can be tested without sleeping.

use crate::sync::atomic::{AtomicU64, Ordering};
use std::fmt;
use std::time::Duration;

/// Nanoseconds since the origin of a [`Clock`]; 584 years fit.
///
/// Arithmetic saturates: `Duration::MAX` is a valid distance and lies at the end of time.
///
/// ```
/// use ringmill::clock::Timestamp;
/// use std::time::Duration;
///
/// let start = Timestamp::ZERO;
/// let later = start + Duration::from_millis(5);
/// assert_eq!(later.since(start), Duration::from_millis(5));
/// assert_eq!(start.since(later), Duration::ZERO); // a clock that steps back is clamped
/// assert_eq!(start + Duration::MAX, Timestamp::MAX);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The origin of the clock.
    pub const ZERO: Timestamp = Timestamp(0);
    /// The end of time.
    pub const MAX: Timestamp = Timestamp(u64::MAX);

    /// `nanos` nanoseconds after the origin.
    #[inline]
    pub const fn from_nanos(nanos: u64) -> Self {
        Timestamp(nanos)
    }

    /// Nanoseconds since the origin.
    #[inline]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this, zero if `earlier` is later.
    #[inline]
    pub const fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Timestamp;

    #[inline]
    fn add(self, distance: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(nanos(distance)))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{:?}", Duration::from_nanos(self.0))
    }
}

/// The nanoseconds of a duration, saturated at 584 years.
#[inline]
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A source of time.
///
/// A clock may stand still or step back; its readers clamp. It must not panic.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// How long, in real time, a thread that waits for `until` may sleep before it looks at the clock again.
    fn sleep_hint(&self, until: Timestamp) -> Duration {
        until.since(self.now())
    }
}

/// The machine's monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: std::time::Instant,
}

impl SystemClock {
    /// A clock whose origin is now.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn new() -> Self {
        SystemClock { origin: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[inline]
    fn now(&self) -> Timestamp {
        Timestamp(nanos(self.origin.elapsed()))
    }
}

/// A clock that moves only when it is told to, forwards or backwards.
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

    /// Moves the clock forwards.
    pub fn advance(&self, by: Duration) {
        let mut now = self.now.load(Ordering::Relaxed);
        // relaxed: CAS re-checks; time carries no data
        while let Err(seen) = self.now.compare_exchange(now, now.saturating_add(nanos(by)), Ordering::Relaxed, Ordering::Relaxed) {
            now = seen;
        }
    }

    /// Sets the clock, also back.
    pub fn set(&self, to: Timestamp) {
        // relaxed: time carries no data
        self.now.swap(to.0, Ordering::Relaxed);
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
        Timestamp(self.now.load(Ordering::Relaxed))
    }

    /// Real time says nothing about this clock: look again soon.
    fn sleep_hint(&self, _until: Timestamp) -> Duration {
        Duration::from_millis(1)
    }
}
