//! Time as data: the only place that asks the machine what time it is.
//!
//! Everything else is handed a [`Timestamp`]. With a [`ManualClock`] every timing rule of the crate can be tested without sleeping.
//!
//! # Two readings
//!
//! [`Clock::now`] is for what is decided: it is read after the loads before it, so "I saw the handler running, then I read the clock" means what it says.
//! [`Clock::stamp`] is for what is measured: it costs less, and may be read some dozens of nanoseconds beside its place.
//!
//! # The wall
//!
//! All of these count from somewhere, and only forwards. What a calendar shows is [`Clock::wall`]: people and time servers set it, to and fro. Nothing in the crate waits by it
//! but schedules by the calendar, which look again and again.
//!
//! # Where the time comes from
//!
//! Asking the operating system takes about 26 ns, dearer than the whole ring. Where Linux itself keeps time by the time stamp counter of an x86, the
//! [`SystemClock`] reads that counter, in half the time, and converts it along a **line**: "at so many ticks it was so many nanoseconds, from there on so
//! many nanoseconds a tick, and this holds for so many ticks". Everywhere else it asks the operating system.
//!
//! ```text
//!   nanos                                       next line: starts at the greater of
//!     |                                    o---  (the end of the last, the OS's time now)
//!     |                     .-------------´
//!     |      .-------------´ line           the OS is asked once a line, by whoever reads beyond its end
//!     |. . .´  first line
//!     | the OS is asked
//!     +----------------------------------------------> ticks
//!        1 ms   2 ms         4 ms, 8 ms .. 1 s
//! ```
//!
//! - `line` is the arithmetic: a line, a sample of both clocks, the next line. Pure.
//! - `disciplined` keeps the latest line where all threads find it, and replaces it.
//! - `tsc` has the instructions, and knows whether they may be used; `no_tsc` takes its place on other machines.
//!
//! **Invariant.** Nobody reads a line beyond its end, and no line starts before the end of the last. So whatever rates were fitted, time does not run backwards.
//! **Invariant.** Nobody waits for whoever replaces the line: see [`Latest`](crate::sync::Latest).

mod disciplined;
mod line;
mod manual;
mod system;
mod timestamp;
#[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux", not(any(loom, ringmill_shuttle)), not(miri))), path = "no_tsc.rs")]
mod tsc;
mod wall;

pub use manual::ManualClock;
pub use system::SystemClock;
pub use timestamp::Timestamp;
pub(crate) use timestamp::nanos;
#[cfg(feature = "cron")]
pub(crate) use wall::date;
pub(crate) use wall::{Rfc3339, Wall};

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A source of time.
///
/// A clock may stand still or step back; its readers clamp. It must not panic.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// The time now: not before any load that comes before it in the program.
    fn now(&self) -> Timestamp;

    /// As [`now`](Self::now), but cheaper where a clock can have it cheaper: the reading may be taken some dozens of nanoseconds before or after the memory
    /// accesses around it. For what is measured, not for what is decided.
    #[inline]
    fn stamp(&self) -> Timestamp {
        self.now()
    }

    /// The time on the wall, for schedules by the calendar. It may be set at any time, forwards or back, and no other time notices.
    ///
    /// A clock that does not say has [`now`](Self::now) on the wall, counted from the beginning of 1970.
    fn wall(&self) -> SystemTime {
        wall_after(UNIX_EPOCH, self.now())
    }

    /// How long, in real time, a thread that waits for `until` may sleep before it looks at the clock again.
    fn sleep_hint(&self, until: Timestamp) -> Duration {
        until.since(self.now())
    }
}

/// What is on the wall at `now` if it was `origin` when the clock began.
fn wall_after(origin: SystemTime, now: Timestamp) -> SystemTime {
    origin.checked_add(now.since(Timestamp::ZERO)).unwrap_or(origin)
}
