//! Words of files: names that are nearly right, and lengths of time.

use std::time::Duration;

/// How much of a name is compared.
const COMPARED: usize = 64;

/// How many edits lead from one name to the other: a character more, less, another one, or two swapped.
pub(super) fn distance(one: &str, other: &str) -> usize {
    let lower = |text: &str| text.chars().take(COMPARED).flat_map(char::to_lowercase).collect::<Vec<_>>();
    let (one, other) = (lower(one), lower(other));
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (row, a) in one.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, b) in other.iter().enumerate() {
            let mut edits = (last[column] + usize::from(a != b)).min(last[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && *a == other[column - 1] && one[row - 1] == *b {
                edits = edits.min(before[column - 1] + 1);
            }
            current.push(edits);
        }
        before = std::mem::replace(&mut last, current);
    }
    last[other.len()]
}

/// The candidate that was probably meant: at most a third of the word is different.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).max(1);
    let near = candidates.into_iter().map(|candidate| (distance(word, candidate), candidate));
    near.filter(|(edits, _)| *edits <= allowed).min_by_key(|(edits, _)| *edits).map(|(_, candidate)| candidate)
}

/// The units, in nanoseconds, with the words people write for them.
const UNITS: [(&str, u64, &[&str]); 8] = [
    ("ns", 1, &["nanosecond", "nanoseconds", "nanos"]),
    ("us", 1_000, &["microsecond", "microseconds", "micros", "µs"]),
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

fn hint(number: &str, unit: &str) -> String {
    let meant = UNITS.iter().find(|(name, _, words)| {
        let unit = unit.to_lowercase();
        unit == *name || words.contains(&unit.as_str())
    });
    match (number, unit, meant) {
        ("", ..) => format!("write {DURATION}"),
        (_, "", _) => format!("a unit is missing: `{number}s` are seconds, `{number}ms` milliseconds"),
        (_, _, Some((name, ..))) => format!("write `{number}{name}`"),
        _ if unit.starts_with('.') => "whole numbers only: instead of `1.5s` write `1500ms`".to_owned(),
        _ => format!("write {DURATION}"),
    }
}
