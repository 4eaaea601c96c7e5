//! From the runtime's clock to the one on the wall.

use super::{Clock, Timestamp};
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// What both clocks said at one moment: moments of the one become moments of the other by their distance from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wall {
    now: Timestamp,
    wall: SystemTime,
}

impl Wall {
    /// Reads both.
    pub(crate) fn read(clock: &dyn Clock) -> Self {
        Wall { now: clock.now(), wall: clock.wall() }
    }

    /// What was or will be on the wall at `at`, if nobody sets it meanwhile. Beyond what a `SystemTime` can say it is what is there now.
    pub(crate) fn at(&self, at: Timestamp) -> SystemTime {
        let moved = if at < self.now { self.wall.checked_sub(self.now.since(at)) } else { self.wall.checked_add(at.since(self.now)) };
        moved.unwrap_or(self.wall)
    }
}

/// A time on the wall as RFC 3339 writes it, in UTC, to the nanosecond: `1970-01-01T00:00:00.000000000Z`. Before the year 0 and after the year 9999, which it cannot write, the nearest
/// that it can.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rfc3339(pub(crate) SystemTime);

/// Seconds from 1970 to the first moment of the year 0, and to the last second of 9999.
const SECONDS: (i64, i64) = (-62_167_219_200, 253_402_300_799);

const DAY: i64 = 24 * 60 * 60;

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        let (seconds, nanos) = match self.0.duration_since(UNIX_EPOCH) {
            Ok(since) => (whole(since.as_secs()), since.subsec_nanos()),
            // 1.25 s before is 2 s before, and 0.75
            Err(before) => match (whole(before.duration().as_secs()), before.duration().subsec_nanos()) {
                (seconds, 0) => (-seconds, 0),
                (seconds, nanos) => (-seconds - 1, 1_000_000_000 - nanos),
            },
        };
        let (seconds, nanos) = match seconds {
            seconds if seconds < SECONDS.0 => (SECONDS.0, 0),
            seconds if seconds > SECONDS.1 => (SECONDS.1, 999_999_999),
            seconds => (seconds, nanos),
        };
        let ((year, month, day), second) = (date(seconds.div_euclid(DAY)), seconds.rem_euclid(DAY));
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
    }
}

/// Year, month and day, so many days after 1970 began. As in Howard Hinnant's "chrono-compatible low-level date algorithms": years begin in March, so the leap day is a year's last, and 400
/// of them have 146 097 days.
pub(crate) fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::time::Duration;

    fn said(seconds: i64, nanos: u32) -> String {
        let (whole, part) = (Duration::from_secs(seconds.unsigned_abs()), Duration::from_nanos(nanos.into()));
        let at = if seconds < 0 { UNIX_EPOCH - whole + part } else { UNIX_EPOCH + whole + part };
        Rfc3339(at).to_string()
    }

    #[test]
    fn times_are_written_as_rfc_3339_says() {
        for (seconds, nanos, text) in [
            (0, 0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_399, 999_999_999, "2000-02-28T23:59:59.999999999Z"),
            (951_782_400, 0, "2000-02-29T00:00:00.000000000Z"),
            (1_709_251_199, 1, "2024-02-29T23:59:59.000000001Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000000Z"),
            (-1, 750_000_000, "1969-12-31T23:59:59.750000000Z"),
            (-2_203_891_200, 0, "1900-03-01T00:00:00.000000000Z"),
            (SECONDS.0, 0, "0000-01-01T00:00:00.000000000Z"),
            (SECONDS.0 - 1, 5, "0000-01-01T00:00:00.000000000Z"),
            (SECONDS.1, 5, "9999-12-31T23:59:59.000000005Z"),
            (SECONDS.1 + 1, 5, "9999-12-31T23:59:59.999999999Z"),
        ] {
            assert_eq!(said(seconds, nanos), text);
        }
    }

    #[test]
    fn days_follow_one_another() {
        let long = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let (mut year, mut month, mut day) = (1600, 1, 1);
        for days in -135_140..200_000 {
            assert_eq!(date(days), (year, month, day));
            let last = match month {
                2 => 28 + i64::from(long(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            (year, month, day) = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (month, day) if day == last => (year, month + 1, 1),
                (month, day) => (year, month, day + 1),
            };
        }
    }

    #[test]
    fn moments_are_converted_by_their_distance() {
        let at = |seconds| Timestamp::ZERO + Duration::from_secs(seconds);
        let wall = Wall { now: at(100), wall: UNIX_EPOCH + Duration::from_secs(1_000) };
        assert_eq!(wall.at(at(100)), UNIX_EPOCH + Duration::from_secs(1_000));
        assert_eq!(wall.at(at(0)), UNIX_EPOCH + Duration::from_secs(900));
        assert_eq!(wall.at(at(160)), UNIX_EPOCH + Duration::from_secs(1_060));
        let early = Wall { now: Timestamp::MAX, wall: UNIX_EPOCH };
        assert!(early.at(at(0)) < UNIX_EPOCH);
    }
}
