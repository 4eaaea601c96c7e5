//! From timestamps to ticks: dues are rounded up, the present is rounded down, so nothing fires early.

use crate::clock::{Timestamp, nanos};
use std::time::Duration;

/// The first tick that is not before `due`, for a due time. The end of time is never reached: it has the tick `u64::MAX`.
///
/// ```
/// use ringmill::clock::Timestamp;
/// use ringmill::wheel::tick_after;
/// use std::time::Duration;
///
/// let tick = Duration::from_millis(1);
/// assert_eq!(tick_after(Timestamp::ZERO, tick), 0);
/// assert_eq!(tick_after(Timestamp::from_nanos(1), tick), 1);
/// assert_eq!(tick_after(Timestamp::from_nanos(1_000_000), tick), 1);
/// assert_eq!(tick_after(Timestamp::ZERO + Duration::MAX, tick), u64::MAX);
/// ```
#[inline]
pub fn tick_after(due: Timestamp, tick: Duration) -> u64 {
    if due == Timestamp::MAX {
        return u64::MAX;
    }
    due.as_nanos().div_ceil(nanos(tick).max(1))
}

/// The last tick that is not after `now`, for the present.
///
/// ```
/// use ringmill::clock::Timestamp;
/// use ringmill::wheel::tick_reached;
/// use std::time::Duration;
///
/// assert_eq!(tick_reached(Timestamp::from_nanos(1_999_999), Duration::from_millis(1)), 1);
/// ```
#[inline]
pub fn tick_reached(now: Timestamp, tick: Duration) -> u64 {
    now.as_nanos() / nanos(tick).max(1)
}
