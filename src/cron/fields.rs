//! The fields of a schedule: what may be written in each, and which one is at fault.
//!
//! croner has the grammar and the ranges. It looks for names of months and weekdays in the whole text before it reads any field, and passes over what is empty: `1MON` is 11 to it, and
//! `MON` a minute. So words are read here first.

use croner::Cron;
use croner::parser::{CronParser, Year};

/// A field, and what is allowed in it.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) allowed: &'static str,
    words: fn(&str) -> bool,
}

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const FIELDS: [Field; 6] = [
    Field { name: "second", allowed: "0-59: *, lists (1,5), ranges upwards (1-5), steps (*/5, 10-50/5)", words: is_number },
    Field { name: "minute", allowed: "0-59: *, lists (1,5), ranges upwards (1-5), steps (*/5, 10-50/5)", words: is_number },
    Field { name: "hour", allowed: "0-23: *, lists (1,5), ranges upwards (1-5), steps (*/5, 8-18/2)", words: is_number },
    Field {
        name: "day of month",
        allowed: "1-31: *, lists (1,15), ranges upwards (1-5), steps (*/5, 1-15/2), L (the last), 15W (the weekday closest to it), LW",
        words: |word| matches!(word, "L" | "LW") || is_number(word.strip_suffix('W').unwrap_or(word)),
    },
    Field {
        name: "month",
        allowed: "1-12 or JAN-DEC: *, lists (1,7), ranges upwards (1-5), steps (*/3, 1-6/2)",
        words: |word| is_number(word) || MONTHS.contains(&word),
    },
    Field {
        name: "day of week",
        allowed: "0-7 or SUN-SAT, 0 and 7 are Sunday: *, lists (1,5), ranges upwards (1-5), steps (*/2, 1-5/2), 5#2 (the second Friday), 5#L or 5L (the last); \
                  + in front (only if the day of month fits too)",
        words: |word| is_weekday(word.strip_suffix('L').unwrap_or(word)),
    },
];

/// What has a name of its own.
const NICKNAMES: [&str; 6] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly"];
const NICKNAMED: &str = "@yearly, @annually, @monthly, @weekly, @daily, @hourly";

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_weekday(word: &str) -> bool {
    is_number(word) || WEEKDAYS.contains(&word)
}

impl Field {
    /// True when all that is written in it is meant for it.
    fn fits(&self, written: &str) -> bool {
        let written = written.to_ascii_uppercase();
        let of_week = self.name == "day of week";
        let listed = written.strip_prefix('+').filter(|_| of_week).unwrap_or(&written);
        listed.split(',').all(|item| {
            let item = item.strip_suffix("#L").filter(|_| of_week).unwrap_or(item);
            let mut words = item.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
            !item.is_empty() && words.all(self.words)
        })
    }
}

/// What is wrong with a text: the field, what is written in it, what is allowed.
pub(super) type Fault = (&'static str, String, &'static str);

/// Reads a text.
pub(super) fn parse(text: &str) -> Result<Cron, Fault> {
    let parser = CronParser::builder().year(Year::Disallowed).build();
    let text = text.trim();
    if text.starts_with('@') {
        let known = NICKNAMES.iter().any(|name| name.eq_ignore_ascii_case(text));
        return known.then(|| parser.parse(text).ok()).flatten().ok_or_else(|| ("nickname", text.to_owned(), NICKNAMED));
    }
    let written: Vec<&str> = text.split_whitespace().collect();
    let fields = match written.len() {
        5 => &FIELDS[1..],
        6 => &FIELDS[..],
        count => return Err(("number of fields", count.to_string(), "5, or 6 with seconds in front")),
    };
    for (at, (field, written)) in fields.iter().zip(&written).enumerate() {
        // the others are as they may be: what croner refuses is this one
        let mut alone = vec!["*"; fields.len()];
        alone[at] = written;
        if !field.fits(written) || parser.parse(&alone.join(" ")).is_err() {
            return Err((field.name, (*written).to_owned(), field.allowed));
        }
    }
    let (date, whole) = (written[written.len() - 3..].join(" "), written.join(" "));
    parser.parse(&whole).map_err(|_| ("fields", whole, "what each of them allows")).and_then(|cron| {
        // a cycle of the calendar has every date there is, on every weekday that it falls on
        let ever = cron.find_next_occurrence(&super::moment::Moment::LAST_CYCLE, false).is_ok();
        if ever { Ok(cron) } else { Err(("date", date, "one that comes: day of month, month, day of week")) }
    })
}
