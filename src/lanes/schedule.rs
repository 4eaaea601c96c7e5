//! The table of turns that weights are worked out into.

use crate::limits::{LANE_TABLE, SOURCES_MAX, WEIGHT_MAX};
use std::fmt;

/// A cycle of turns in which every source has exactly its weight, mixed as evenly as smooth weighted round robin does.
///
/// Immutable: workers share it and each has its own [`Cursor`](super::Cursor) into it.
///
/// ```
/// use ringmill::lanes::{Cursor, Schedule};
///
/// let schedule = Schedule::weighted(&[6, 3]).unwrap(); // 2 : 1
/// let mut cursor = Cursor::new(0);
/// let turns: Vec<usize> = (0..6).map(|_| cursor.next(&schedule)).collect();
/// assert_eq!(turns, [0, 1, 0, 0, 1, 0]);
///
/// let invalid = Schedule::weighted(&[6, 0]).unwrap_err();
/// assert_eq!(invalid.to_string(), "weight of lane 1 is 0, allowed: 1..=1024");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The source of each turn.
    turns: Box<[u8]>,
    sources: usize,
}

const _: () = assert!(SOURCES_MAX <= 256, "a source is one byte of the table");

impl Schedule {
    /// The schedule for these weights, the most urgent source first.
    ///
    /// The cycle is as long as the sum of the weights after division by their greatest common divisor.
    ///
    /// # Errors
    /// No weights or too many, a weight outside its range, or a cycle that is too long.
    pub fn weighted(weights: &[u32]) -> Result<Schedule, Invalid> {
        if !(1..=SOURCES_MAX).contains(&weights.len()) {
            return Err(Invalid::new("number of weights", weights.len(), format!("1..={SOURCES_MAX}")));
        }
        for (lane, weight) in weights.iter().enumerate() {
            if !(1..=WEIGHT_MAX).contains(weight) {
                return Err(Invalid::new(format!("weight of lane {lane}"), weight, format!("1..={WEIGHT_MAX}")));
            }
        }
        let divisor = weights.iter().copied().fold(0, gcd);
        let reduced: Vec<i64> = weights.iter().map(|weight| i64::from(weight / divisor)).collect();
        let total: i64 = reduced.iter().sum();
        if total > LANE_TABLE as i64 {
            let range = format!("at most {LANE_TABLE}, after division by the common divisor");
            return Err(Invalid::new(format!("sum of the weights {weights:?}"), total, range));
        }
        Ok(Schedule { turns: interleave(&reduced, total), sources: weights.len() })
    }

    /// How many sources take turns.
    #[inline]
    pub fn sources(&self) -> usize {
        self.sources
    }

    /// The length of the cycle.
    #[inline]
    pub fn turns(&self) -> usize {
        self.turns.len()
    }

    /// The source whose turn it is at `position`, below [`turns`](Self::turns).
    #[inline]
    pub(super) fn turn(&self, position: usize) -> usize {
        usize::from(self.turns[position])
    }
}

/// Smooth weighted round robin, as nginx does it: everyone earns its weight per turn; the richest takes the turn and pays the total.
fn interleave(weights: &[i64], total: i64) -> Box<[u8]> {
    let mut earned = vec![0; weights.len()];
    (0..total)
        .map(|_| {
            earned.iter_mut().zip(weights).for_each(|(earned, weight)| *earned += weight);
            // of equals, the most urgent
            let richest = (0..weights.len()).rev().max_by_key(|&source| earned[source]).expect("there is a source");
            earned[richest] -= total;
            richest as u8
        })
        .collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A setting that makes no sense: which one, what it was, what it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The setting.
    pub field: String,
    /// Its value.
    pub value: String,
    /// What it may be.
    pub range: String,
}

impl Invalid {
    pub(super) fn new(field: impl Into<String>, value: impl ToString, range: String) -> Self {
        Invalid { field: field.into(), value: value.to_string(), range }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, allowed: {}", self.field, self.value, self.range)
    }
}

impl std::error::Error for Invalid {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn weights_are_divided_by_their_common_divisor() {
        assert_eq!(Schedule::weighted(&[1000, 500]), Schedule::weighted(&[2, 1]));
        assert_eq!(Schedule::weighted(&[1024; 8]).unwrap().turns(), 8);
        assert_eq!(Schedule::weighted(&[1023, 1]).unwrap().turns(), LANE_TABLE);
    }

    #[test]
    fn the_known_example_of_smooth_weighted_round_robin_comes_out() {
        let schedule = Schedule::weighted(&[5, 1, 1]).unwrap();
        assert_eq!(*schedule.turns, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let error = |weights: &[u32]| Schedule::weighted(weights).unwrap_err().to_string();
        assert_eq!(error(&[]), "number of weights is 0, allowed: 1..=64");
        assert_eq!(error(&[1; 65]), "number of weights is 65, allowed: 1..=64");
        assert_eq!(error(&[1, 2, 0]), "weight of lane 2 is 0, allowed: 1..=1024");
        assert_eq!(error(&[1025]), "weight of lane 0 is 1025, allowed: 1..=1024");
        assert_eq!(
            error(&[1000, 999]),
            "sum of the weights [1000, 999] is 1999, allowed: at most 1024, after division by the common divisor"
        );
    }
}
