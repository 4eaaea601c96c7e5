//! Dates and times of day as a duration since 1970 in UTC.

use std::time::Duration;

/// A date and a time of day, with an offset from UTC. Leap seconds are not told apart: second 60 is second 0 of the next minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Civil {
    pub year: u32,
    /// From 1.
    pub month: u32,
    /// From 1.
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
    pub nanos: u32,
    /// Seconds east of UTC.
    pub offset: i64,
}

impl Civil {
    /// The time since 1970-01-01T00:00:00Z; `None` for a day that does not exist or a time before that.
    pub fn since_epoch(&self) -> Option<Duration> {
        if !(1..=12).contains(&self.month) || self.day == 0 || self.day > days_in_month(self.year, self.month) {
            return None;
        }
        let time_of_day = i64::from(self.hour * 3600 + self.minute * 60 + self.second);
        let seconds = days_from_epoch(self.year, self.month, self.day) * 86_400 + time_of_day - self.offset;
        Some(Duration::new(u64::try_from(seconds).ok()?, self.nanos))
    }
}

fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days_from_epoch(year: u32, month: u32, day: u32) -> i64 {
    let (month, day) = (i64::from(month), i64::from(day));
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(year: u32, month: u32, day: u32) -> Option<u64> {
        Civil { year, month, day, ..Civil::default() }.since_epoch().map(|since| since.as_secs() / 86_400)
    }

    #[test]
    fn known_days() {
        assert_eq!(day(1970, 1, 1), Some(0));
        assert_eq!(day(1972, 3, 1), Some(790));
        assert_eq!(day(2000, 2, 29), Some(11_016));
        assert_eq!(day(2015, 5, 17), Some(16_572));
        assert_eq!(day(9999, 12, 31), Some(2_932_896));
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut last = None;
        for year in 1970..2110 {
            for month in 1..=12 {
                for d in 1..=days_in_month(year, month) {
                    let now = day(year, month, d).unwrap();
                    assert!(last.is_none_or(|last: u64| last + 1 == now), "{year}-{month}-{d}");
                    last = Some(now);
                }
            }
        }
    }

    #[test]
    fn days_that_do_not_exist_are_refused() {
        for (y, m, d) in [(2015, 0, 1), (2015, 13, 1), (2015, 2, 29), (1900, 2, 29), (2015, 4, 31), (2015, 5, 0), (1969, 12, 31)] {
            assert_eq!(day(y, m, d), None, "{y}-{m}-{d}");
        }
    }

    #[test]
    fn an_offset_is_taken_off() {
        let noon = Civil { year: 2015, month: 5, day: 17, hour: 12, ..Civil::default() };
        let east = Civil { hour: 14, offset: 7200, ..noon };
        let west = Civil { hour: 10, offset: -7200, ..noon };
        assert_eq!(noon.since_epoch(), east.since_epoch());
        assert_eq!(noon.since_epoch(), west.since_epoch());
    }
}
