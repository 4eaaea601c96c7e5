//! A reader of simple schedules that counts on its fingers: every day since 1970, every second of a day.

use crate::rng::Rng;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Year, month, day, hour, minute, second.
pub(super) type Date = (u64, u64, u64, u64, u64, u64);

const DAY: u64 = 86_400;

fn month_length(year: u64, month: u64) -> u64 {
    let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1]
}

/// The day after.
fn tomorrow((year, month, day): (u64, u64, u64)) -> (u64, u64, u64) {
    match (month, day) {
        _ if day < month_length(year, month) => (year, month, day + 1),
        (12, _) => (year + 1, 1, 1),
        _ => (year, month + 1, 1),
    }
}

/// So many days after 1 January 1970.
fn day(count: u64) -> (u64, u64, u64) {
    let (mut date, mut left) = ((1970, 1, 1), count);
    while left > 0 {
        let months = if date.2 == 1 { month_length(date.0, date.1) } else { u64::MAX };
        if left >= months {
            left -= months;
            date = if date.1 == 12 { (date.0 + 1, 1, 1) } else { (date.0, date.1 + 1, 1) };
        } else {
            left -= 1;
            date = tomorrow(date);
        }
    }
    date
}

pub(super) fn at((year, month, of_month, hour, minute, second): Date) -> SystemTime {
    let years: u64 = (1970..year).map(|year| (1..=12).map(|month| month_length(year, month)).sum::<u64>()).sum();
    let months: u64 = (1..month).map(|month| month_length(year, month)).sum();
    UNIX_EPOCH + Duration::from_secs((years + months + of_month - 1) * DAY + hour * 3600 + minute * 60 + second)
}

pub(super) fn date(time: SystemTime) -> Date {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (year, month, of_month) = day(seconds / DAY);
    (year, month, of_month, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

/// What one field allows.
struct Field {
    text: String,
    allowed: Vec<bool>,
}

impl Field {
    fn random(rng: &mut Rng, from: u64, to: u64) -> Field {
        let value = |rng: &mut Rng| from + rng.up_to(to - from);
        let (mut low, mut high) = (value(rng), value(rng));
        if low > high {
            (low, high) = (high, low);
        }
        let step = 1 + rng.up_to(to - 1);
        let (text, allowed): (String, Vec<u64>) = match rng.up_to(5) {
            0 | 1 => ("*".to_owned(), (from..=to).collect()),
            2 => (format!("{low}"), vec![low]),
            3 => (format!("{high},{low}"), vec![low, high]),
            4 => (format!("{low}-{high}/{step}"), (low..=high).step_by(step as usize).collect()),
            _ => (format!("*/{step}"), (from..=to).step_by(step as usize).collect()),
        };
        Field { text, allowed: (0..=to).map(|n| allowed.contains(&n)).collect() }
    }

    fn allows(&self, value: u64) -> bool {
        self.allowed[value as usize]
    }
}

/// A schedule of simple fields.
pub(super) struct Reader {
    pub(super) text: String,
    /// Second, minute, hour, day of month, month, day of week.
    fields: [Field; 6],
    both: bool,
}

impl Reader {
    pub(super) fn random(rng: &mut Rng) -> Reader {
        let mut fields = [(0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6)].map(|(from, to)| Field::random(rng, from, to));
        let (seconds, both) = (rng.up_to(1) == 0, rng.up_to(2) == 0);
        if !seconds {
            fields[0] = Field { text: String::new(), allowed: (0..60).map(|n| n == 0).collect() };
        }
        let [second, minute, hour, month_day, month, weekday] = fields.each_ref().map(|field| field.text.as_str());
        let plus = if both { "+" } else { "" };
        let text = format!("{second} {minute} {hour} {month_day} {month} {plus}{weekday}");
        Reader { text, fields, both }
    }

    /// The first second later than `time`, if there is one within so many days.
    pub(super) fn next_after(&self, time: SystemTime, days: u64) -> Option<SystemTime> {
        let [second, minute, hour, month_day, month, weekday] = &self.fields;
        let first = time.duration_since(UNIX_EPOCH).unwrap().as_secs() + 1;
        let mut today = day(first / DAY);
        for count in first / DAY..first / DAY + days {
            let (by_month, by_week) = (month_day.allows(today.2), weekday.allows((count + 4) % 7));
            let fits = match (month_day.text == "*", weekday.text == "*") {
                (true, true) => true,
                (true, false) => by_week,
                (false, true) => by_month,
                (false, false) if self.both => by_month && by_week,
                (false, false) => by_month || by_week,
            };
            if fits && month.allows(today.1) {
                let of_day = (count * DAY).max(first) % DAY..DAY;
                let found = of_day.into_iter().find(|s| second.allows(s % 60) && minute.allows(s / 60 % 60) && hour.allows(s / 3600));
                if let Some(found) = found {
                    return Some(UNIX_EPOCH + Duration::from_secs(count * DAY + found));
                }
            }
            today = tomorrow(today);
        }
        None
    }
}
