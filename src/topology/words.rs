//! Words of files: names that are nearly right, and lengths of time.

use std::time::Duration;

/// Whether a character does something to whatever shows it: a control character, or one that ends a line or turns the order of reading.
pub(super) fn is_active(c: char) -> bool {
    c.is_control() || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text for people, with such characters written out.
pub(super) fn printable(text: String) -> String {
    if !text.contains(is_active) {
        return text;
    }
    text.chars().fold(String::new(), |mut shown, c| {
        if is_active(c) {
            shown.extend(c.escape_debug());
        } else {
            shown.push(c);
        }
        shown
    })
}

/// How much of a name is compared.
const COMPARED: usize = 64;

/// How many edits lead from one name to the other: a character more, less, another one, or two swapped.
#[cfg(test)]
pub(super) fn distance(one: &str, other: &str) -> usize {
    let (mut letters, mut rows) = (Vec::new(), Rows::default());
    let one = lower(one).collect::<Vec<_>>();
    letters.extend(lower(other));
    rows.distance(&one, &letters, usize::MAX).expect("no bound")
}

fn lower(text: &str) -> impl Iterator<Item = char> {
    text.chars().take(COMPARED).flat_map(char::to_lowercase)
}

/// The rows of the table in which edits are counted, used again from name to name.
#[derive(Default)]
struct Rows {
    before: Vec<usize>,
    last: Vec<usize>,
    current: Vec<usize>,
}

impl Rows {
    /// The edits, if they are fewer than `bound`.
    fn distance(&mut self, one: &[char], other: &[char], bound: usize) -> Option<usize> {
        let Rows { before, last, current } = self;
        if one.len().abs_diff(other.len()) >= bound {
            return None;
        }
        last.clear();
        last.extend(0..=other.len());
        let mut least_before = 0;
        for (row, a) in one.iter().enumerate() {
            current.clear();
            current.push(row + 1);
            let mut least = row + 1;
            for (column, b) in other.iter().enumerate() {
                let mut edits = (last[column] + usize::from(a != b)).min(last[column + 1] + 1).min(current[column] + 1);
                if row > 0 && column > 0 && *a == other[column - 1] && one[row - 1] == *b {
                    edits = edits.min(before[column - 1] + 1);
                }
                least = least.min(edits);
                current.push(edits);
            }
            // what comes below is no less than the two rows above it
            if least >= bound && least_before >= bound {
                return None;
            }
            least_before = least;
            std::mem::swap(before, last);
            std::mem::swap(last, current);
        }
        Some(last[other.len()]).filter(|edits| *edits < bound)
    }
}

/// The candidate that was probably meant: at most a third of the word is different. Of equally near ones the first.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut bound = (word.chars().count() / 3).max(1) + 1;
    let word: Vec<char> = lower(word).collect();
    let (mut letters, mut rows, mut found) = (Vec::new(), Rows::default(), None);
    for candidate in candidates {
        letters.clear();
        letters.extend(lower(candidate));
        if let Some(edits) = rows.distance(&word, &letters, bound) {
            (bound, found) = (edits, Some(candidate));
        }
    }
    found
}

/// The units, in nanoseconds, with the words people write for them.
const UNITS: [Unit; 8] = [
    ("ns", 1, &["nanosecond", "nanoseconds", "nanos"]),
    ("us", 1_000, &["microsecond", "microseconds", "micros", "\u{b5}s", "\u{3bc}s"]),
    ("ms", 1_000_000, &["millisecond", "milliseconds", "millis", "msec"]),
    ("s", 1_000_000_000, &["second", "seconds", "sec", "secs"]),
    ("m", 60_000_000_000, &["minute", "minutes", "min", "mins"]),
    ("h", 3_600_000_000_000, &["hour", "hours", "hr", "hrs"]),
    ("d", 86_400_000_000_000, &["day", "days"]),
    ("w", 604_800_000_000_000, &["week", "weeks"]),
];

/// What a length of time looks like.
pub(super) const DURATION: &str = "a whole number and a unit, such as `250ms`, `30s`, `5m`, `12h` or `7d`";

/// Reads a length of time: a whole number and a unit.
///
/// # Errors
/// What to write instead.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if text.starts_with('-') {
        return Err(format!("a duration is not negative; write {DURATION}"));
    }
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = (&text[..digits], &text[digits..]);
    let Some((_, nanos, _)) = UNITS.iter().find(|(name, ..)| *name == unit).filter(|_| digits > 0) else {
        return Err(hint(number, unit.trim()));
    };
    let whole = number.parse::<u64>().ok().and_then(|number| match nanos {
        1_000_000_000.. => number.checked_mul(nanos / 1_000_000_000).map(Duration::from_secs),
        _ => number.checked_mul(*nanos).map(Duration::from_nanos),
    });
    whole.ok_or_else(|| "that is longer than can be counted".to_owned())
}

type Unit = (&'static str, u64, &'static [&'static str]);

/// The unit that was probably meant.
fn unit_meant(unit: &str) -> Option<&'static Unit> {
    let unit = unit.to_lowercase();
    UNITS.iter().find(|(name, _, words)| unit == *name || words.contains(&unit.as_str()))
}

/// What `1.5h` is in the largest unit in which it is whole. `fraction` is all that comes behind the point.
fn whole(number: &str, fraction: &str) -> Option<String> {
    let digits = fraction.find(|c: char| !c.is_ascii_digit()).filter(|digits| (1..=9).contains(digits))?;
    let (digits, unit) = fraction.split_at(digits);
    let (.., nanos, _) = unit_meant(unit.trim())?;
    let parts = format!("{number}{digits}").parse::<u128>().ok()?.checked_mul((*nanos).into())?;
    let scale = 10_u128.pow(digits.len() as u32);
    let total = (parts > 0 && parts.is_multiple_of(scale)).then(|| parts / scale)?;
    let (name, nanos, _) = UNITS.iter().rev().find(|(_, nanos, _)| total.is_multiple_of((*nanos).into()))?;
    Some(format!("{}{name}", total / u128::from(*nanos)))
}

fn hint(number: &str, unit: &str) -> String {
    let meant = unit_meant(unit);
    if let Some((fraction, length)) = unit.strip_prefix('.').and_then(|fraction| Some((fraction, whole(number, fraction)?))) {
        return format!("whole numbers only: instead of `{number}.{fraction}` write `{length}`");
    }
    match (number, unit, meant) {
        ("", ..) => format!("write {DURATION}"),
        (_, "", _) => format!("a unit is missing: `{number}s` are seconds, `{number}ms` milliseconds"),
        (_, _, Some((name, ..))) => format!("write `{number}{name}`"),
        _ if unit.starts_with('.') => "whole numbers only: instead of `1.5s` write `1500ms`".to_owned(),
        _ => format!("write {DURATION}"),
    }
}
