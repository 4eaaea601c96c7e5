//! A second of a calendar, for croner: `days_from_civil`, as Howard Hinnant has written it down (<https://howardhinnant.github.io/date_algorithms.html>), is the
//! inverse of the clock's `date`.

use crate::clock::date;
use croner::errors::CronError;
use croner::{CivilDate, CivilDateTime, CivilTime, CronDateTime, Resolution, Weekday};
use std::cmp::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: i64 = 24 * 60 * 60;
/// A cycle of the calendar: 400 years, in days. Weekdays repeat with it too.
const CYCLE: i64 = 146_097;

/// Seconds since 1970 began on this wall, which may show another time than UTC's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub(super) i64);

impl Moment {
    /// What croner can search: the years 1 to 4999.
    const FIRST: Moment = Moment(days_before(1, 1, 1) * DAY);
    const END: Moment = Moment(days_before(5000, 1, 1) * DAY);
    /// From here on it searches one whole cycle: what is not found there is never.
    pub(super) const LAST_CYCLE: Moment = Moment((days_before(5000, 1, 1) - CYCLE) * DAY - 1);

    /// The second in which `time` is, on a wall that is `offset` seconds ahead of UTC. `None` outside of the years that can be searched.
    pub(super) fn of(time: SystemTime, offset: i64) -> Option<Moment> {
        let seconds = match time.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).ok()?,
            // rounded down, as above
            Err(before) => -i64::try_from(before.duration().as_nanos().div_ceil(1_000_000_000)).ok()?,
        };
        let moment = Moment(seconds.checked_add(offset)?);
        (Self::FIRST..Self::END).contains(&moment).then_some(moment)
    }

    /// Its beginning; `None` as above.
    pub(super) fn time(self, offset: i64) -> Option<SystemTime> {
        if self >= Self::END {
            return None;
        }
        let seconds = self.0 - offset;
        let distance = Duration::from_secs(seconds.unsigned_abs());
        if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
    }
}

/// Days from the beginning of 1970 to a date. Years begin in March here, so that leap days come last.
const fn days_before(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (cycle, of_cycle) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month as i64 + 9) % 12) + 2) / 5 + day as i64 - 1;
    cycle * CYCLE + of_cycle * 365 + of_cycle / 4 - of_cycle / 100 + of_year - 719_468
}

impl CronDateTime for Moment {
    fn to_civil(&self) -> CivilDateTime {
        let (year, month, day) = date(self.0.div_euclid(DAY));
        let second = self.0.rem_euclid(DAY);
        CivilDateTime::new(
            // the years are those of `FIRST..END`
            CivilDate::from_parts_unchecked(year as i32, month as u32, day as u32),
            CivilTime::from_parts_unchecked((second / 3_600) as u32, (second / 60 % 60) as u32, (second % 60) as u32),
        )
    }

    fn civil_weekday(&self) -> Weekday {
        // 1970 began on a Thursday
        Weekday::from_days_from_sunday((self.0.div_euclid(DAY) + 4).rem_euclid(7) as u32)
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let days = days_before(i64::from(civil.year()), civil.month(), civil.day());
        Ok(Resolution::Single(Moment(
            days * DAY + i64::from(civil.hour()) * 3_600 + i64::from(civil.minute()) * 60 + i64::from(civil.second()),
        )))
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(seconds).map(Moment)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.cmp(other)
    }
}
