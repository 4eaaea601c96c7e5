//! A reader of schedules that counts on its fingers: every day since 1970, every second of a day.

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

/// A day, and what is asked about it.
#[derive(Clone, Copy)]
struct Day {
    of_month: u64,
    /// How many its month has.
    length: u64,
    /// 0 is Sunday.
    of_week: u64,
}

impl Day {
    /// The weekday of a day of this month.
    fn weekday(self, of_month: u64) -> u64 {
        (self.of_week + 35 + of_month - self.of_month) % 7
    }

    fn is_workday(self, of_month: u64) -> bool {
        (1..=self.length).contains(&of_month) && (1..=5).contains(&self.weekday(of_month))
    }

    /// How many days in a part of its month are on the same weekday.
    fn same(self, part: impl Iterator<Item = u64>) -> usize {
        part.filter(|of_month| self.weekday(*of_month) == self.of_week).count()
    }
}

/// One of what is listed in a field.
enum Item {
    Numbers(Vec<u64>),
    Last,
    LastWorkday,
    /// The workday closest to a day of the month.
    Closest(u64),
    /// The so-manieth of these weekdays.
    Nth(Vec<u64>, usize),
    /// The last of these weekdays.
    LastOf(Vec<u64>),
}

const FROM_TO: [(u64, u64); 6] = [(0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7)];
const OF_MONTH: usize = 3;
const MONTH: usize = 4;
const OF_WEEK: usize = 5;

/// A number that is allowed in field `at`, or the name of one.
fn number(word: &str, at: usize) -> Option<u64> {
    const MONTHS: &str = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC";
    const WEEKDAYS: &str = "SUN MON TUE WED THU FRI SAT";
    let (from, to) = FROM_TO[at];
    let names = [MONTHS, WEEKDAYS][at.saturating_sub(MONTH)];
    let named = names.split(' ').position(|name| name == word).filter(|_| at >= MONTH);
    let number = match named {
        Some(place) => place as u64 + from,
        None if word.starts_with('+') => return None,
        None => word.parse().ok()?,
    };
    (from..=to).contains(&number).then_some(number)
}

/// `5`, `1-5`.
fn range(range: &str, at: usize) -> Option<Vec<u64>> {
    let words: Vec<&str> = range.split('-').collect();
    let [from, to] = words[..] else { return Some(vec![number(range, at)?]) };
    let (low, mut high) = (number(from, at)?, number(to, at)?);
    let sunday_to_sunday = at == OF_WEEK && low % 7 == 0 && high % 7 == 0 && (from == "SUN" || to == "SUN");
    if to == "SUN" {
        high = 7;
    }
    (low <= high && !sunday_to_sunday).then(|| (low..=high).collect())
}

impl Item {
    fn read(item: &str, at: usize) -> Option<Item> {
        if let Some((all, step)) = item.split_once('/') {
            let all = match all {
                "*" => (FROM_TO[at].0..=FROM_TO[at].1).collect(),
                "?" if at == OF_MONTH || at == OF_WEEK => (FROM_TO[at].0..=FROM_TO[at].1).collect(),
                _ if all.contains('-') => range(all, at)?,
                _ => return None,
            };
            // no more than croner counts
            let step: u16 = step.bytes().all(|byte| byte.is_ascii_digit()).then(|| step.parse().ok())??;
            return (step > 0).then(|| Item::Numbers(all.into_iter().step_by(step.into()).collect()));
        }
        match (at, item.as_bytes()) {
            (OF_MONTH, b"L") => Some(Item::Last),
            (OF_MONTH, b"LW") => Some(Item::LastWorkday),
            (OF_MONTH, [.., b'W']) => Some(Item::Closest(number(&item[..item.len() - 1], at)?)),
            (OF_WEEK, [.., b'#', b'L']) => Some(Item::LastOf(range(&item[..item.len() - 2], at)?)),
            (OF_WEEK, [.., b'#', place @ b'1'..=b'5']) => Some(Item::Nth(range(&item[..item.len() - 2], at)?, usize::from(place - b'0'))),
            (OF_WEEK, [.., b'L']) => Some(Item::LastOf(vec![number(&item[..item.len() - 1], at)?])),
            _ => range(item, at).map(Item::Numbers),
        }
    }

    /// A number; or a day, whose number it is.
    fn allows(&self, value: u64, day: Day) -> bool {
        // Sunday has two
        let listed = |numbers: &[u64]| numbers.contains(&day.of_week) || day.of_week == 0 && numbers.contains(&7);
        match self {
            Item::Numbers(numbers) => numbers.contains(&value),
            Item::Last => value == day.length,
            Item::LastWorkday => (1..=day.length).rev().find(|other| day.is_workday(*other)) == Some(value),
            Item::Closest(to) if *to > day.length => false,
            Item::Closest(to) => {
                (0..=2).flat_map(|away| [to.saturating_sub(away), to + away]).find(|other| day.is_workday(*other)) == Some(value)
            }
            Item::Nth(weekdays, place) => listed(weekdays) && day.same(1..=day.of_month) == *place,
            Item::LastOf(weekdays) => listed(weekdays) && day.same(day.of_month + 1..=day.length) == 0,
        }
    }
}

/// What one field allows.
struct Field {
    /// `*`, which is no condition.
    all: bool,
    items: Vec<Item>,
}

impl Field {
    fn read(text: &str, at: usize) -> Option<Field> {
        if text == "*" || text == "?" && (at == OF_MONTH || at == OF_WEEK) {
            return Some(Field { all: true, items: Vec::new() });
        }
        let items = text.split(',').map(|item| Item::read(item, at)).collect::<Option<Vec<_>>>()?;
        let last = |which: fn(&Item) -> bool| items.iter().any(which);
        // this is refused, though it could be read
        let refused = last(|item| matches!(item, Item::Last)) && last(|item| matches!(item, Item::LastWorkday));
        (!refused).then_some(Field { all: false, items })
    }

    fn allows(&self, value: u64, day: Day) -> bool {
        self.all || self.items.iter().any(|item| item.allows(value, day))
    }
}

/// Something that can be written in field `at`, if it does not go downwards.
pub(super) fn field(rng: &mut Rng, at: usize) -> String {
    const MONTHS: [&str; 3] = ["JAN", "feb", "DEC"];
    const WEEKDAYS: [&str; 4] = ["SUN", "MON", "fri", "Sat"];
    let (from, to) = FROM_TO[at];
    let (one, other) = (from + rng.up_to(to - from), from + rng.up_to(to - from));
    let (low, high, step) = (one.min(other), one.max(other), 1 + rng.up_to(to - 1));
    let place = ["#1", "#2", "#4", "#5", "#L", "L"][rng.up_to(5) as usize];
    match (rng.up_to(8), at) {
        (0 | 1, _) => "*".to_owned(),
        (2, _) => format!("{low}"),
        (3, _) => format!("{high},{low}"),
        (4, _) => format!("{low}-{high}/{step}"),
        (5, OF_MONTH) => format!("{one}W"),
        (6, OF_MONTH) => format!("LW,{one}W,{other}"),
        (7, OF_MONTH) => format!("{one},L"),
        (5, MONTH) => MONTHS[rng.up_to(2) as usize].to_owned(),
        (6, MONTH) => format!("Jan-{high}/{step}"),
        (5, OF_WEEK) => format!("{}{place}", WEEKDAYS[rng.up_to(3) as usize]),
        (6, OF_WEEK) => format!("tue-SUN/{step}"),
        (7, OF_WEEK) => format!("{low}-{high}#3,{one}{place}"),
        _ => format!("*/{step}"),
    }
}

/// A schedule.
pub(super) struct Reader {
    /// Second, minute, hour, day of month, month, day of week.
    fields: [Field; 6],
    both: bool,
}

impl Reader {
    /// Five or six fields that can be read.
    pub(super) fn text(rng: &mut Rng) -> String {
        let [second, minute, hour, of_month, month, of_week] = std::array::from_fn(|at| field(rng, at));
        let second = if rng.up_to(1) == 0 { "" } else { &second };
        let plus = if rng.up_to(2) == 0 { "+" } else { "" };
        format!("{second} {minute} {hour} {of_month} {month} {plus}{of_week}")
    }

    /// What a text says, if that is anything.
    pub(super) fn read(text: &str) -> Option<Reader> {
        let text = text.to_ascii_uppercase();
        let mut written: Vec<&str> = text.split_whitespace().collect();
        if written.len() == 5 {
            written.insert(0, "0");
        }
        let both = written.get(OF_WEEK)?.strip_prefix('+');
        written[OF_WEEK] = both.unwrap_or(written[OF_WEEK]);
        let fields = written.iter().enumerate().map(|(at, field)| Field::read(field, at)).collect::<Option<Vec<_>>>()?;
        Some(Reader { fields: fields.try_into().ok()?, both: both.is_some() })
    }

    /// The first second later than `time`, if there is one within so many days.
    pub(super) fn next_after(&self, time: SystemTime, days: u64) -> Option<SystemTime> {
        let [second, minute, hour, by_month, month, by_week] = &self.fields;
        let first = time.duration_since(UNIX_EPOCH).unwrap().as_secs() + 1;
        let mut today = day(first / DAY);
        for count in first / DAY..first / DAY + days {
            let day = Day { of_month: today.2, length: month_length(today.0, today.1), of_week: (count + 4) % 7 };
            let (of_month, of_week) =
                (by_month.allows(day.of_month, day), by_week.allows(day.of_week, day) || day.of_week == 0 && by_week.allows(7, day));
            let either = !by_month.all && !by_week.all && !self.both;
            let fits = if either { of_month || of_week } else { of_month && of_week };
            if fits && month.allows(today.1, day) {
                let mut of_day = (count * DAY).max(first) % DAY..DAY;
                let found = of_day.find(|s| second.allows(s % 60, day) && minute.allows(s / 60 % 60, day) && hour.allows(s / 3600, day));
                if let Some(found) = found {
                    return Some(UNIX_EPOCH + Duration::from_secs(count * DAY + found));
                }
            }
            today = tomorrow(today);
        }
        None
    }
}
