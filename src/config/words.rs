//! Words of messages: names that are nearly right, and lengths of time as topology files write them.

use std::time::Duration;

/// How much of a name is compared.
const COMPARED: usize = 64;

/// How many edits lead from one name to the other: a character more, less, another one, or two swapped.
#[cfg(all(test, feature = "config"))]
pub(crate) fn distance(one: &str, other: &str) -> usize {
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
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
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

/// A length of time as a whole number of the largest unit up to days in which it is whole.
pub(crate) fn written(time: Duration) -> String {
    const UNITS: [(&str, u128); 7] = [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];
    let nanos = time.as_nanos();
    let whole = UNITS.iter().find(|(_, unit)| nanos > 0 && nanos.is_multiple_of(*unit));
    whole.map_or_else(|| "0s".to_owned(), |(name, unit)| format!("{}{name}", nanos / unit))
}

/// What may be set from `low` to `high`; no upper bound is said where there is none but that of the type.
pub(crate) fn between(low: Duration, high: Duration) -> String {
    if high == Duration::MAX { format!("{} or more", written(low)) } else { format!("{} to {}", written(low), written(high)) }
}

/// How many names are listed.
const LISTED: usize = 8;

/// What could have stood for a name that nothing has: some of those that there are, and the nearest.
pub(crate) fn choices<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let mut choices = known.clone().take(LISTED).collect::<Vec<_>>().join(", ");
    let more = known.clone().count().saturating_sub(LISTED);
    if more > 0 {
        choices.push_str(&format!(" and {more} more"));
    }
    if let Some(meant) = nearest(name, known) {
        choices.push_str(&format!("; did you mean `{meant}`?"));
    }
    choices
}
