//! A tick counter, held to the operating system's clock.

use super::line::{Line, Sample, WORDS};
use crate::sync::Latest;

/// What a machine has: a counter that is cheap and nobody's time, and a clock that is neither.
pub(super) trait Machine {
    /// The counter, read anywhere near this place of the program.
    fn ticks(&self) -> u64;
    /// The counter, read after the loads before it.
    fn ticks_after_loads(&self) -> u64;
    /// The operating system's monotonic clock: what a thread reads is not less than what any thread read before.
    fn os_nanos(&self) -> u64;
}

/// The clock of a machine: reads the counter, asks the operating system once a line.
///
/// # Why no thread sees it run backwards
/// Every answer belongs to a *version* of `line`, and a thread sees versions in order. Within one, ticks rise. An answer is either read off the line, so not after
/// its end; or comes with a move to the next version, and is then the greater of the line's end and the operating system's time, asked under this
/// version. Whatever line comes later starts at such an answer, asked under a version as late.
#[derive(Debug)]
pub(super) struct Disciplined<M> {
    machine: M,
    /// The latest line. Replaced by whoever reads beyond its end.
    line: Latest<WORDS>,
}

/// The widest pair of counter readings between which the operating system was asked that still makes a sample, in ticks: 0.1 to 0.3 us. The sample is
/// off by half of it at most.
const NARROW: u64 = 512;
/// How often a sample is tried for before the answer is given without one.
const TRIES: u32 = 5;

/// What came of asking the operating system.
enum Asked {
    Sample(Sample),
    /// The thread was interrupted each time: the time, but not at which tick.
    Time(u64),
}

impl<M: Machine> Disciplined<M> {
    /// The clock of `machine`; `None` if its counter is too slow to be of use.
    #[cfg_attr(any(loom, ringmill_shuttle), allow(dead_code, reason = "models have no counter"))]
    pub(super) fn new(machine: M) -> Option<Self> {
        let Asked::Sample(sample) = (0..TRIES).map(|_| ask(&machine)).find(|asked| matches!(asked, Asked::Sample(_)))? else { return None };
        Some(Disciplined { machine, line: Latest::new(Line::point(sample, 0).words()) })
    }

    /// The time, read after the loads before it.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.at(self.machine.ticks_after_loads())
    }

    /// The time, read anywhere near this place of the program.
    #[inline]
    pub(super) fn stamp(&self) -> u64 {
        self.at(self.machine.ticks())
    }

    #[inline]
    fn at(&self, ticks: u64) -> u64 {
        Line::from_words(self.line.read().0).at(ticks).unwrap_or_else(|| self.renew())
    }

    /// The line ended: asks the operating system, and puts the next line in place. Nobody waits for that: several threads may try at once, one of them wins,
    /// and the others find its line.
    #[cold]
    #[inline(never)]
    fn renew(&self) -> u64 {
        loop {
            let (words, seen) = self.line.read();
            let line = Line::from_words(words);
            let (time, next) = match ask(&self.machine) {
                Asked::Time(time) => (time, None),
                Asked::Sample(sample) => match line.at(sample.ticks) {
                    // somebody was faster, or the reading that led here was old
                    Some(time) => return time,
                    None => (sample.os_nanos, line.next(sample)),
                },
            };
            // without a next line, or a place for it, this answer still outdates what others asked before
            if next.is_some_and(|next| self.line.replace(seen, next.words())) || self.line.confirm(seen) {
                return time.max(line.end());
            }
        }
    }
}

fn ask(machine: &impl Machine) -> Asked {
    let mut time = 0;
    for _ in 0..TRIES {
        let before = machine.ticks_after_loads();
        time = machine.os_nanos();
        let width = machine.ticks_after_loads().wrapping_sub(before);
        if width <= NARROW {
            return Asked::Sample(Sample { ticks: before + width / 2, os_nanos: time });
        }
    }
    Asked::Time(time)
}

#[cfg(all(test, not(loom)))]
mod tests;
