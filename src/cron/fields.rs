//! The fields of a schedule: what may be written in each, and which one is at fault.
//!
//! croner has the ranges, and a grammar that reads on where it should stop: it looks for names of months and weekdays in the whole text before it reads any field, and passes over what is empty or
//! comes after what it knows. `1MON` is 11 to it, `SUN-SUN` 0-7, `15W*` 15W, `FRI#TUE` the second Friday. So the form of every item is checked here first:
//!
//! ```text
//! field  = item {, item}             day of week: + in front
//! item   = (* | ? | range) [/number]
//!        | range #(1-5 | L) | word L day of week
//!        | L | LW | number W         day of month, L not beside LW
//! range  = word [-word]              not from SUN to SUN
//! word   = number | name             names of months and weekdays, each in its field
//! ```
//!
//! What fits this and cannot be is left to croner: numbers that are out of range, ranges downwards, `5/10`, `?` as an hour.

use croner::Cron;
use croner::parser::{CronParser, Year};

/// A field, and what is allowed in it.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) allowed: &'static str,
    is_item: fn(&str) -> bool,
}

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const FIELDS: [Field; 6] = [
    Field {
        name: "second",
        allowed: "0-59: *, lists (1,5), ranges upwards (1-5), steps (*/5, 10-50/5)",
        is_item: |item| is_stepped(item, &[]),
    },
    Field {
        name: "minute",
        allowed: "0-59: *, lists (1,5), ranges upwards (1-5), steps (*/5, 10-50/5)",
        is_item: |item| is_stepped(item, &[]),
    },
    Field {
        name: "hour",
        allowed: "0-23: *, lists (1,5), ranges upwards (1-5), steps (*/5, 8-18/2)",
        is_item: |item| is_stepped(item, &[]),
    },
    Field {
        name: "day of month",
        allowed: "1-31: *, lists (1,15), ranges upwards (1-5), steps (*/5, 1-15/2), L (the last), 15W (the weekday closest to it), LW (not beside L)",
        is_item: |item| matches!(item, "L" | "LW") || item.strip_suffix('W').map_or_else(|| is_stepped(item, &[]), is_number),
    },
    Field {
        name: "month",
        allowed: "1-12 or JAN-DEC: *, lists (1,7), ranges upwards (1-5), steps (*/3, 1-6/2)",
        is_item: |item| is_stepped(item, &MONTHS),
    },
    Field {
        name: "day of week",
        allowed: "0-7 or SUN-SAT, 0 and 7 are Sunday: *, lists (1,5), ranges upwards (1-5, FRI-SUN), steps (*/2, 1-5/2), 5#2 (the second Friday), 5#L or 5L (the last); \
                  + in front (only if the day of month fits too)",
        is_item: is_of_week,
    },
];

/// How many bytes a text may have.
pub(super) const LONGEST: usize = 256;

/// What has a name of its own.
const NICKNAMES: [&str; 6] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly"];
const NICKNAMED: &str = "@yearly, @annually, @monthly, @weekly, @daily, @hourly";

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_word(word: &str, names: &[&str]) -> bool {
    is_number(word) || names.contains(&word)
}

/// A word or two.
fn is_range(range: &str, names: &[&str]) -> bool {
    let Some((from, to)) = range.split_once('-') else { return is_word(range, names) };
    let ends = [from, to];
    // `-SUN` is 7 to croner and `SUN-` is 0, so that these would be a week
    let from_sunday_to_sunday = ends.contains(&"SUN") && ends.iter().all(|end| matches!(end.trim_start_matches('0'), "" | "7" | "SUN"));
    ends.iter().all(|end| is_word(end, names)) && !from_sunday_to_sunday
}

fn is_stepped(item: &str, names: &[&str]) -> bool {
    let (range, step) = item.split_once('/').unwrap_or((item, "1"));
    is_number(step) && (matches!(range, "*" | "?") || is_range(range, names))
}

fn is_of_week(item: &str) -> bool {
    if let Some((range, place)) = item.split_once('#') {
        return matches!(place, "1" | "2" | "3" | "4" | "5" | "L") && is_range(range, &WEEKDAYS);
    }
    item.strip_suffix('L').map_or_else(|| is_stepped(item, &WEEKDAYS), |day| is_word(day, &WEEKDAYS))
}

impl Field {
    /// True when what is written in it has the form that is meant for it.
    fn fits(&self, written: &str) -> bool {
        let written = written.to_ascii_uppercase();
        let of_week = self.name == "day of week";
        let listed = written.strip_prefix('+').filter(|_| of_week).unwrap_or(&written);
        let items: Vec<&str> = listed.split(',').collect();
        // croner forgets an `L` when there is an `LW`
        items.iter().all(|item| (self.is_item)(item)) && !["L", "LW"].iter().all(|last| items.contains(last))
    }
}

/// What is wrong with a text: the field, what is written in it, what is allowed.
pub(super) type Fault = (&'static str, String, &'static str);

/// Reads a text.
pub(super) fn parse(text: &str) -> Result<Cron, Fault> {
    let parser = CronParser::builder().year(Year::Disallowed).build();
    if text.len() > LONGEST {
        return Err(("length", format!("{} bytes", text.len()), "up to 256 bytes"));
    }
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
