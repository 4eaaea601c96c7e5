//! Words of files: names that are nearly right, and lengths of time.

#[cfg(test)]
pub(super) use crate::config::words::distance;
pub(super) use crate::config::words::{nearest, written};
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
