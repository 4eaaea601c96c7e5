//! The arithmetic of the disciplined clock: lines, samples, and the line that follows. Pure.

/// The tick counter and the operating system's clock, read at the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) ticks: u64,
    pub(super) os_nanos: u64,
}

/// How ticks become nanoseconds for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    /// Where it starts, on the tick counter.
    ticks: u64,
    /// Where it starts, on this clock. Never before the operating system's time.
    nanos: u64,
    /// Nanoseconds of this clock per tick, 32.32.
    rate: u64,
    /// The ticks for which it holds; zero for a line that was not fitted and is a mere point.
    span: u64,
    /// The operating system's time at the start.
    os_nanos: u64,
    /// Nanoseconds of the operating system per tick, 32.32, as last measured. `rate` is less while this clock is ahead.
    os_rate: u64,
}

/// The words of a [`Line`], for where it is kept.
pub(super) const WORDS: usize = 6;

/// The shortest stretch to fit a line to. Two samples that are each 25 ns off give a rate that is 50 millionths off.
const SHORTEST: u64 = 1_000_000;
/// The longest line: how long an error in its rate can add up.
const LONGEST: u64 = 1_000_000_000;
/// A line spans so many times the stretch that it was fitted to. Errors of the samples grow by as much until its end.
const REACH: u64 = 2;
/// A stretch that is so many times longer than planned is not fitted to: who knows what happened meanwhile.
const STALE: u64 = 64;
/// Two measured rates that differ by more than 2^-10 are of two regimes: the machine was suspended, or moved, or the system is being set right.
const REGIME_SHIFT: u32 = 10;
/// Rates that a first fit believes in: 62 MHz to 16 GHz.
const PLAUSIBLE: std::ops::RangeInclusive<u64> = 1 << 28..=1 << 36;
/// Ticks by which a reading may lie before the start of the line: it was taken just before somebody replaced the line, or on a CPU that is a little behind.
const SLACK: u64 = 1 << 20;

impl Line {
    /// The mere point at `sample`, not before `floor`.
    pub(super) fn point(sample: Sample, floor: u64) -> Self {
        let Sample { ticks, os_nanos } = sample;
        Line { ticks, nanos: os_nanos.max(floor), rate: 0, span: 0, os_nanos, os_rate: 0 }
    }

    /// The time at `ticks`; `None` beyond the line. A reading from a little before the start counts as the start.
    #[inline]
    pub(super) fn at(&self, ticks: u64) -> Option<u64> {
        let passed = ticks.wrapping_sub(self.ticks);
        if passed <= self.span {
            return Some(self.nanos + scale(passed, self.rate));
        }
        (passed >= SLACK.wrapping_neg()).then_some(self.nanos)
    }

    /// The latest time on the line.
    pub(super) fn end(&self) -> u64 {
        self.nanos + scale(self.span, self.rate)
    }

    /// The line that follows, from a sample beyond the end. `None` while too little time has passed to fit a first line.
    ///
    /// It starts at the sample, and not before the end of this line. If that makes it run ahead of the operating system, it loses its lead by the end of its
    /// span, but goes at half speed at least.
    pub(super) fn next(&self, sample: Sample) -> Option<Line> {
        let passed = sample.os_nanos.saturating_sub(self.os_nanos);
        let planned = SHORTEST.max(scale(self.span, self.os_rate));
        let restart = Line::point(sample, self.end());
        if sample.ticks <= self.ticks || passed > STALE.saturating_mul(planned) {
            return Some(restart);
        }
        if passed < SHORTEST {
            return (self.span > 0).then_some(restart);
        }
        let os_rate = ratio(passed, sample.ticks - self.ticks);
        let believable =
            if self.span > 0 { os_rate.abs_diff(self.os_rate) <= self.os_rate >> REGIME_SHIFT } else { PLAUSIBLE.contains(&os_rate) };
        if !believable {
            return Some(restart);
        }
        let stretch = (REACH * passed).min(LONGEST);
        let lead = (restart.nanos - sample.os_nanos).min(stretch / 2);
        let span = ratio(stretch, os_rate);
        Some(Line { rate: ratio(stretch - lead, span), span, os_rate, ..restart })
    }

    #[inline]
    pub(super) fn words(&self) -> [u64; WORDS] {
        [self.ticks, self.nanos, self.rate, self.span, self.os_nanos, self.os_rate]
    }

    #[inline]
    pub(super) fn from_words([ticks, nanos, rate, span, os_nanos, os_rate]: [u64; WORDS]) -> Self {
        Line { ticks, nanos, rate, span, os_nanos, os_rate }
    }
}

/// `ticks` at `rate`, in nanoseconds.
#[inline]
fn scale(ticks: u64, rate: u64) -> u64 {
    // a span is at most 2^35 ticks (`LONGEST` at 16 GHz) and a rate at most 2^36: 2^39 after the shift
    ((u128::from(ticks) * u128::from(rate)) >> 32) as u64
}

/// `over / under` as 32.32; also the ticks in so many nanoseconds, given a rate.
fn ratio(over: u64, under: u64) -> u64 {
    u64::try_from((u128::from(over) << 32) / u128::from(under.max(1))).unwrap_or(u64::MAX)
}

const _: () = assert!(STALE >= 2 * REACH && SHORTEST * STALE < LONGEST, "lines grow by themselves, and a first fit is a short one");

#[cfg(all(test, not(loom)))]
mod tests;
