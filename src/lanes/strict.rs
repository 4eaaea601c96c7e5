//! Strict priority, with a limit to how long the others wait.

use super::Invalid;
use crate::clock::{Timestamp, nanos};
use crate::limits::SOURCES_MAX;
use std::time::Duration;

/// Serves the most urgent source that has work, but lets a source whose oldest job has waited for almost `max_wait` have a turn in between.
///
/// # When a source is overdue
/// When the job at its head has waited for 7/8 of `max_wait`. The heads are looked at once per 1/16 of `max_wait`, and the head behind one
/// that was served out of turn at once. So an overdue head is known by 15/16 of `max_wait`, which leaves 1/16 for its turn to come.
///
/// # Guarantees
/// Picks go round: one to the most urgent source that has work, then one to each overdue source. With `k` overdue sources each of them therefore
/// gets at least every `k + 1`-th pick; with one of them, it and the top alternate.
///
/// So a job waits for at most `max_wait` if it is at the head of its source by 15/16 of it and the worker makes `k + 1` picks in the rest. A job
/// behind `j` other overdue ones of its source waits for up to `j * (k + 1)` picks more: half the workers' time is the most that one overdue
/// source gets, and what comes in faster than that falls behind.
///
/// # Progress and cost
/// Wait-free; private to a worker. While nothing is overdue a pick is one comparison of timestamps, then the sources in order.
///
/// ```
/// use ringmill::clock::Timestamp;
/// use ringmill::lanes::StrictPicker;
/// use std::time::Duration;
///
/// let mut picker = StrictPicker::new(2, Duration::from_millis(80)).unwrap();
/// let mut pick_at = |ms: u64| {
///     // lane 0 always has work; the head of lane 1 has waited since 0
///     let now = Timestamp::from_nanos(ms * 1_000_000);
///     let waited = |_lane| Some(now.since(Timestamp::ZERO));
///     picker.pick(now, waited, |_lane| Some(())).unwrap().0
/// };
/// assert_eq!([pick_at(0), pick_at(30), pick_at(69)], [0, 0, 0]);
/// assert_eq!([pick_at(75), pick_at(75), pick_at(75)], [1, 0, 1]); // overdue: they alternate
/// ```
#[derive(Debug, Clone)]
pub struct StrictPicker {
    sources: usize,
    /// From this age on a head is overdue.
    overdue_after: Duration,
    /// The time between two looks at the heads.
    look_every: Duration,
    /// When to look next.
    look_at: Timestamp,
    /// Bit n: the head of source n was overdue when it was looked at last.
    overdue: u64,
    /// Where the round is: the overdue source that was served last, 0 after the top's turn.
    last: u32,
}

const _: () = assert!(SOURCES_MAX <= 64, "one bit per source");

impl StrictPicker {
    /// A picker for `sources` sources. With a `max_wait` of zero all that have work take turns; with `Duration::MAX` nobody is ever overdue.
    ///
    /// # Errors
    /// No sources or too many.
    pub fn new(sources: usize, max_wait: Duration) -> Result<Self, Invalid> {
        if !(1..=SOURCES_MAX).contains(&sources) {
            return Err(Invalid::new("number of lanes", sources, format!("1..={SOURCES_MAX}")));
        }
        let max_wait = nanos(max_wait);
        Ok(StrictPicker {
            sources,
            overdue_after: Duration::from_nanos(max_wait - max_wait / 8),
            look_every: Duration::from_nanos(max_wait / 16),
            look_at: Timestamp::ZERO,
            overdue: 0,
            last: 0,
        })
    }

    /// Picks a source that has work. `None` if `try_lane` found none.
    ///
    /// `head_age` says how long the job at the head of a source has been ready, `None` if there is none; it is not asked about source 0, which
    /// is never passed over. `try_lane` takes work from a source.
    #[inline]
    pub fn pick<R>(
        &mut self,
        now: Timestamp,
        mut head_age: impl FnMut(usize) -> Option<Duration>,
        mut try_lane: impl FnMut(usize) -> Option<R>,
    ) -> Option<(usize, R)> {
        // the second half: a clock that stepped back
        if now >= self.look_at || now + self.look_every < self.look_at {
            self.look(now, &mut head_age);
        }
        // the overdue sources behind the one that was served last, in order
        while let candidates @ 1.. = self.overdue & (u64::MAX << self.last << 1) {
            self.last = candidates.trailing_zeros();
            let source = self.last as usize;
            let got = try_lane(source);
            self.note(source, got.as_ref().and_then(|_| head_age(source)));
            if let Some(got) = got {
                return Some((source, got));
            }
        }
        // the top's turn, and a new round
        self.last = 0;
        (0..self.sources).find_map(|source| try_lane(source).map(|got| (source, got)))
    }

    /// Looks at every head but the top's.
    #[cold]
    fn look(&mut self, now: Timestamp, head_age: &mut impl FnMut(usize) -> Option<Duration>) {
        for source in 1..self.sources {
            self.note(source, head_age(source));
        }
        self.look_at = now + self.look_every;
    }

    /// Notes whether `source`, whose head is of that age, is overdue.
    #[inline]
    fn note(&mut self, source: usize, head_age: Option<Duration>) {
        let overdue = head_age.is_some_and(|age| age >= self.overdue_after);
        self.overdue = self.overdue & !(1 << source) | u64::from(overdue) << source;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u32) -> Timestamp {
        Timestamp::ZERO + ms * MS
    }

    #[test]
    fn while_nothing_is_overdue_the_top_is_served() {
        let mut picker = StrictPicker::new(3, 1000 * MS).unwrap();
        for ms in 0..500 {
            assert_eq!(picker.pick(at(ms), |_| Some(10 * MS), |_| Some(())), Some((0, ())));
        }
        assert_eq!(picker.pick(at(500), |_| None, |lane| (lane == 2).then_some(())), Some((2, ())));
        assert_eq!(picker.pick(at(501), |_| None, |_| None::<()>), None);
    }

    #[test]
    fn the_heads_are_looked_at_sixteen_times_per_max_wait() {
        let mut picker = StrictPicker::new(2, 160 * MS).unwrap();
        let mut looks = 0;
        for us in 0..320_000 {
            let now = Timestamp::from_nanos(us * 1000);
            picker.pick(
                now,
                |_| {
                    looks += 1;
                    Some(MS)
                },
                |_| Some(()),
            );
        }
        assert_eq!(looks, 32);
    }

    #[test]
    fn all_overdue_sources_and_the_top_go_round() {
        let mut picker = StrictPicker::new(4, 100 * MS).unwrap();
        let overdue = |lane| (lane != 2).then_some(90 * MS);
        let picks: Vec<usize> = (0..6).map(|_| picker.pick(at(1), overdue, |_| Some(())).unwrap().0).collect();
        assert_eq!(picks, [1, 3, 0, 1, 3, 0]);
    }

    #[test]
    fn an_overdue_source_that_others_emptied_costs_nobody_a_turn() {
        let mut picker = StrictPicker::new(2, 100 * MS).unwrap();
        assert_eq!(picker.pick(at(1), |_| Some(90 * MS), |lane| (lane == 0).then_some(())), Some((0, ())));
    }

    #[test]
    fn a_source_whose_next_job_is_young_goes_back_into_line() {
        let mut picker = StrictPicker::new(2, 100 * MS).unwrap();
        let served = std::cell::Cell::new(false);
        let age = |_| Some(if served.get() { MS } else { 90 * MS });
        let take = |lane| {
            served.set(served.get() || lane == 1);
            Some(())
        };
        let mut pick = || picker.pick(at(1), age, take).unwrap().0;
        assert_eq!([pick(), pick(), pick(), pick()], [1, 0, 0, 0]);
    }

    #[test]
    fn a_source_that_comes_to_be_overdue_within_a_round_does_not_push_in() {
        let mut picker = StrictPicker::new(3, 160 * MS).unwrap();
        let only = |overdue: &'static [usize]| move |lane| Some(if overdue.contains(&lane) { 150 * MS } else { MS });
        assert_eq!(picker.pick(at(0), only(&[2]), |_| Some(())), Some((2, ())));
        // each pick is slower than the time between two looks
        let picks: Vec<usize> = (1..7).map(|n| picker.pick(at(20 * n), only(&[1, 2]), |_| Some(())).unwrap().0).collect();
        assert_eq!(picks, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_clock_that_steps_back_does_not_stop_the_looks() {
        let mut picker = StrictPicker::new(2, 100 * MS).unwrap();
        picker.pick(at(1_000_000), |_| None, |_| Some(()));
        assert_eq!(picker.pick(at(10), |_| Some(90 * MS), |_| Some(())), Some((1, ())));
    }

    #[test]
    fn extreme_limits_do_not_overflow() {
        let mut never = StrictPicker::new(2, Duration::MAX).unwrap();
        let mut always = StrictPicker::new(2, Duration::ZERO).unwrap();
        let year = Some(Duration::from_secs(365 * 24 * 3600));
        assert_eq!((0..4).map(|n| never.pick(at(n), |_| year, |_| Some(())).unwrap().0).collect::<Vec<_>>(), [0, 0, 0, 0]);
        assert_eq!((0..4).map(|n| always.pick(at(n), |_| Some(MS), |_| Some(())).unwrap().0).collect::<Vec<_>>(), [1, 0, 1, 0]);
        assert!(StrictPicker::new(0, MS).is_err() && StrictPicker::new(65, MS).is_err());
    }
}
