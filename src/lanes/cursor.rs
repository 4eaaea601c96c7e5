//! A worker's place in the cycle of turns.

use super::Schedule;

/// Where one worker stands in a [`Schedule`].
///
/// ```
/// use ringmill::lanes::{Cursor, Schedule};
///
/// let schedule = Schedule::weighted(&[3, 1]).unwrap();
/// let mut lanes = [vec!["a"], vec!["b", "c"]];
/// let mut cursor = Cursor::new(0);
/// let mut pick = || cursor.pick(&schedule, |lane| lanes[lane].pop());
/// assert_eq!(pick(), Some((0, "a")));
/// assert_eq!(pick(), Some((1, "c"))); // lane 0 is empty: its turn falls through
/// assert_eq!(pick(), Some((1, "b")));
/// assert_eq!(pick(), None);
/// ```
#[derive(Debug, Clone)]
pub struct Cursor {
    /// The position of the next turn, reduced when it is used: a schedule may be replaced by a shorter one.
    position: usize,
}

impl Cursor {
    /// A cursor that starts `offset` turns into the cycle. Workers that start apart do not crowd one lane.
    pub fn new(offset: usize) -> Self {
        Cursor { position: offset }
    }

    /// The source whose turn it is; the cursor moves on.
    #[inline]
    pub fn next(&mut self, schedule: &Schedule) -> usize {
        // a division only where a shorter schedule was put in between
        if self.position >= schedule.turns() {
            self.position = if self.position == schedule.turns() { 0 } else { self.position % schedule.turns() };
        }
        let source = schedule.turn(self.position);
        self.position += 1;
        source
    }

    /// The sources in the order in which to try them: the one whose turn it is, then the others from the most urgent down.
    ///
    /// A turn is spent either way: whoever steps in for an empty source owes it nothing later.
    #[inline]
    pub fn order(&mut self, schedule: &Schedule) -> impl Iterator<Item = usize> + use<> {
        let turn = self.next(schedule);
        std::iter::once(turn).chain((0..schedule.sources()).filter(move |&source| source != turn))
    }

    /// Tries the sources in [order](Self::order) until one has something. `None` if none has anything.
    #[inline]
    pub fn pick<R>(&mut self, schedule: &Schedule, mut try_lane: impl FnMut(usize) -> Option<R>) -> Option<(usize, R)> {
        self.order(schedule).find_map(|source| try_lane(source).map(|got| (source, got)))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_a_shorter_schedule() {
        let (long, short) = (Schedule::weighted(&[60, 4]).unwrap(), Schedule::weighted(&[1]).unwrap());
        let mut cursor = Cursor::new(usize::MAX);
        for _ in 0..40 {
            cursor.next(&long);
        }
        assert_eq!(cursor.next(&short), 0);
    }

    #[test]
    fn a_cursor_starts_as_far_into_the_cycle_as_it_is_told_round_and_round() {
        let schedule = Schedule::weighted(&[1, 1, 1]).unwrap();
        for offset in 0..12 {
            assert_eq!(Cursor::new(offset).next(&schedule), offset % 3);
        }
    }

    #[test]
    fn every_source_is_tried_once_before_a_pick_fails() {
        let schedule = Schedule::weighted(&[2, 1, 1]).unwrap();
        let mut tried = Vec::new();
        assert_eq!(
            Cursor::new(0).pick(&schedule, |lane| -> Option<()> {
                tried.push(lane);
                None
            }),
            None
        );
        tried.sort_unstable();
        assert_eq!(tried, [0, 1, 2]);
    }
}
