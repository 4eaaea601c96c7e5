//! The machine's clock.

use super::disciplined::Disciplined;
use super::tsc::{self, Tsc};
use super::{Clock, Timestamp, nanos};
use std::time::{Instant, SystemTime};

/// The machine's monotonic clock: it agrees with the operating system's, and is cheaper to read where the machine allows.
///
/// # Guarantees
/// In one thread it never runs backwards. A reading that happens after another thread's is less than it by no more than what the machine's CPUs disagree by,
/// and for [`stamp`](Clock::stamp) some dozens of nanoseconds. It is within a few microseconds of `std::time::Instant` (typically 0.1) as long as the operating
/// system does not change its own pace by more than one part in a million a second, and finds back by itself when it does; `docs/guarantees.md` has the numbers.
///
/// # Progress
/// Lock-free: no thread waits for another to read the clock.
///
/// ```
/// use ringmill::clock::{Clock, SystemClock, Timestamp};
///
/// let clock = SystemClock::new();
/// let (early, late) = (clock.stamp(), clock.now());
/// assert!(Timestamp::ZERO <= early && early <= late);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    source: Source,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    /// The operating system is asked each time.
    Asked { origin: Instant },
    /// The tick counter is read and converted; `origin` is on the process-wide clock.
    Counted { clock: &'static Disciplined<Tsc>, origin: u64 },
}

impl SystemClock {
    /// A clock whose origin is now.
    #[allow(clippy::disallowed_methods, reason = "this module asks the machine")]
    pub fn new() -> Self {
        let source = match tsc::process_wide() {
            Some(clock) => Source::Counted { clock, origin: clock.now() },
            None => Source::Asked { origin: Instant::now() },
        };
        SystemClock { source }
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
        Timestamp::from_nanos(match self.source {
            Source::Counted { clock, origin } => clock.now().saturating_sub(origin),
            Source::Asked { origin } => nanos(origin.elapsed()),
        })
    }

    #[inline]
    fn stamp(&self) -> Timestamp {
        Timestamp::from_nanos(match self.source {
            // a stamp may be a little older than the origin
            Source::Counted { clock, origin } => clock.stamp().saturating_sub(origin),
            Source::Asked { origin } => nanos(origin.elapsed()),
        })
    }

    #[allow(clippy::disallowed_methods, reason = "this module asks the machine")]
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}
