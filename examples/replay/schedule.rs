//! When each job of a replay is due.

use std::sync::Arc;
use std::time::Duration;

use crate::args::Speed;
use crate::record::Record;

/// The jobs of all passes over a trace, each with the time it is due; `None` is at once.
#[derive(Debug, Clone)]
pub struct Schedule<'a> {
    records: &'a [Arc<Record>],
    passes: u32,
    speed: Speed,
    /// From the start of one pass to the start of the next, in trace time.
    period: Duration,
    pass: u32,
    next: usize,
}

impl<'a> Schedule<'a> {
    /// Passes follow one another with the mean gap of the trace between them.
    pub fn new(records: &'a [Arc<Record>], passes: u32, speed: Speed) -> Self {
        let span = records.last().map_or(Duration::ZERO, |record| record.at);
        let gap = span / u32::try_from(records.len().max(2) - 1).unwrap_or(u32::MAX);
        Schedule { records, passes, speed, period: span + gap, pass: 0, next: 0 }
    }

    /// How many jobs all passes have.
    pub fn total(&self) -> u64 {
        self.records.len() as u64 * u64::from(self.passes)
    }

    fn due(&self, at: Duration) -> Option<Duration> {
        match self.speed {
            Speed::Max => None,
            Speed::Factor(factor) => {
                let seconds = (self.period.as_secs_f64() * f64::from(self.pass) + at.as_secs_f64()) / factor;
                Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
            }
        }
    }
}

impl<'a> Iterator for Schedule<'a> {
    type Item = (Option<Duration>, &'a Arc<Record>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.records.len() {
            self.pass += 1;
            self.next = 0;
        }
        if self.pass >= self.passes {
            return None;
        }
        let record = self.records.get(self.next)?;
        self.next += 1;
        Some((self.due(record.at), record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Names, Script, Work};

    fn records(at_ms: &[u64]) -> Vec<Arc<Record>> {
        let name = Names::default().get("a");
        let record = |&ms| Record {
            line: 1,
            at: Duration::from_millis(ms),
            tenant: name.clone(),
            key: name.clone(),
            lane: 0,
            work: Work::Scripted(Script::default()),
        };
        at_ms.iter().map(record).map(Arc::new).collect()
    }

    fn due_ms(at_ms: &[u64], passes: u32, speed: Speed) -> Vec<Option<u128>> {
        Schedule::new(&records(at_ms), passes, speed).map(|(due, _)| due.map(|due| due.as_millis())).collect()
    }

    #[test]
    fn at_full_speed_nothing_waits() {
        assert_eq!(due_ms(&[0, 5], 2, Speed::Max), [None; 4]);
    }

    #[test]
    fn a_factor_compresses_and_passes_follow_one_another() {
        assert_eq!(due_ms(&[0, 10, 40], 2, Speed::Factor(2.0)), [0, 5, 20, 30, 35, 50].map(Some));
    }

    #[test]
    fn one_record_and_endless_time_are_no_trouble() {
        assert_eq!(due_ms(&[0], 3, Speed::Factor(1.0)), [Some(0); 3]);
        let far = Schedule::new(&records(&[0, u64::MAX]), 1, Speed::Factor(0.001)).last().unwrap().0;
        assert_eq!(far, Some(Duration::MAX));
        assert_eq!(Schedule::new(&[], 1, Speed::Max).next(), None);
        assert_eq!(Schedule::new(&records(&[0, 1]), 7, Speed::Max).total(), 14);
    }
}
