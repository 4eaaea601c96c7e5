//! When a job is due, by the calendar.

use super::fields;
use super::moment::Moment;
use crate::error::ConfigError;
use croner::Cron;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

/// A schedule by the calendar, as cron writes it: five fields, or six with seconds in front.
///
/// ```text
///   second (0-59, may be left out: then 0)
///   |  minute (0-59)
///   |  |  hour (0-23)
///   |  |  |  day of month (1-31)
///   |  |  |  |  month (1-12, JAN-DEC)
///   |  |  |  |  |  day of week (0-7, SUN-SAT; 0 and 7 are Sunday)
///   0  30 9  *  *  MON-FRI
/// ```
///
/// | written | means |
/// |---|---|
/// | `*` | each; in the two fields of days also `?` |
/// | `1,15` `1-5` `*/10` `8-18/2` | lists, ranges upwards, steps. A step needs a `*` or a range: `5/10` is refused |
/// | `MON-FRI` `FRI-SUN` `JAN-6` | names stand where the numbers do, but in steps and after `#`. `SUN` is a 7 at the end of a range, else a 0; `SUN-SUN` is refused |
/// | `L` as day of month | the last of the month |
/// | `15W` as day of month | the weekday closest to the 15th in the same month; `LW`: the last weekday. `LW` and `L` in one list are refused |
/// | `5#2` `5#L` `5L` as day of week | the second Friday, the last Friday; `MON-FRI#1`: the first of each |
/// | both a day of month and a day of week | **either** will do, as for cron: `0 0 13 * FRI` is every 13th and every Friday. A field takes no part if it is just `*`; `*/2` does |
/// | `+` before the day of week | **both** must fit: `0 0 13 * +FRI` is Friday the 13th |
/// | `@yearly` `@annually` `@monthly` `@weekly` `@daily` `@hourly` | `0 0 1 1 *`, `0 0 1 1 *`, `0 0 1 * *`, `0 0 * * 0`, `0 0 * * *`, `0 * * * *`; there are no others |
///
/// Names may be in any case. There is no field for years. Text that names a day that never comes, such as 30 February, is refused, and so is one
/// of more than 256 bytes.
///
/// # Time zones
/// A schedule is for UTC, or for a [fixed offset](Self::utc_offset) from it. It knows no named time zones: they need a database that changes several times a year, and a day with a time that comes
/// twice, or not at all. Whoever has that database knows the offset, and can schedule anew when it changes.
///
/// # Equality
/// Two are equal when text and offset are: `@daily` is not `0 0 * * *`.
///
/// ```
/// use ringmill::cron::CronSchedule;
/// use std::time::{Duration, UNIX_EPOCH};
///
/// let schedule: CronSchedule = "30 9 L * *".parse()?; // 1970 began on a Thursday
/// assert_eq!(schedule.to_string(), "30 9 L * *");
/// let days = |days: u64| UNIX_EPOCH + Duration::from_secs(days * 24 * 3600);
/// let at = Duration::from_secs(9 * 3600 + 30 * 60);
/// assert_eq!(schedule.next_after(UNIX_EPOCH), Some(days(30) + at)); // 31 January
/// assert_eq!(schedule.next_after(days(30) + at), Some(days(58) + at)); // 28 February
///
/// let error = CronSchedule::new("0 24 * * *").unwrap_err();
/// assert_eq!((error.field(), error.value()), ("hour", "24"));
/// assert!(error.allowed().starts_with("0-23"));
/// # Ok::<(), ringmill::ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct CronSchedule {
    text: Arc<str>,
    cron: Arc<Cron>,
    /// How many minutes its wall is ahead of UTC.
    offset: i16,
}

impl CronSchedule {
    /// Reads a schedule, for UTC.
    ///
    /// # Errors
    /// When the text is longer than 256 bytes, a field is not as it may be, or there is no such day in any year: names the field, what is written there and what is allowed.
    pub fn new(text: &str) -> Result<Self, ConfigError> {
        match fields::parse(text) {
            Ok(cron) => Ok(CronSchedule { text: text.into(), cron: Arc::new(cron), offset: 0 }),
            Err((field, value, allowed)) => Err(ConfigError::new(scope(text), field, value, allowed)),
        }
    }

    /// The same for a wall that is so many minutes ahead of UTC (behind it, if negative).
    ///
    /// ```
    /// use ringmill::cron::CronSchedule;
    /// use std::time::{Duration, UNIX_EPOCH};
    ///
    /// let in_india = CronSchedule::new("0 9 * * *")?.utc_offset(5 * 60 + 30)?;
    /// assert_eq!(in_india.next_after(UNIX_EPOCH), Some(UNIX_EPOCH + Duration::from_secs(3 * 3600 + 30 * 60)));
    /// # Ok::<(), ringmill::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// When it is a day or more.
    pub fn utc_offset(self, minutes: i16) -> Result<Self, ConfigError> {
        const MAX: i16 = 24 * 60 - 1;
        if minutes.unsigned_abs() > MAX.unsigned_abs() {
            return Err(ConfigError::new(scope(&self.text), "utc_offset", minutes, format_args!("{}..={MAX} minutes", -MAX)));
        }
        Ok(CronSchedule { offset: minutes, ..self })
    }

    /// The first occurrence later than `time`; always a whole second.
    ///
    /// `None` from the year 5000 on, and before the year 1: there it is not searched.
    ///
    /// # Complexity
    /// Some steps for each month that is passed over, and for each day of those that fit. The rarest days (29 February, on one day of the week) come after 40 years at
    /// most, some thousands of steps.
    pub fn next_after(&self, time: SystemTime) -> Option<SystemTime> {
        let offset = i64::from(self.offset) * 60;
        let next = self.cron.find_next_occurrence(&Moment::of(time, offset)?, false).ok()?;
        next.time(offset)
    }
}

/// A text that is too long is not repeated as a whole.
fn scope(text: &str) -> String {
    if text.len() <= fields::LONGEST {
        return format!("cron schedule `{text}`");
    }
    format!("cron schedule `{}…`", text.chars().take(32).collect::<String>())
}

impl FromStr for CronSchedule {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        Self::new(text)
    }
}

/// The text, as it was given.
impl fmt::Display for CronSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for CronSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CronSchedule").field("text", &self.text).field("utc_offset", &self.offset).finish()
    }
}
