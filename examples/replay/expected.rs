//! What must become of a trace, worked out from its records alone.

use std::sync::Arc;

use crate::record::{Record, Verdict, Work};

/// Counts that are exactly predictable as long as no lease expires and nobody interrupts the replay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expected {
    pub records: u64,
    pub invalid: u64,
    pub accepted: u64,
    pub acked: u64,
    pub dead_lettered: u64,
    /// Deliveries after the first of a job.
    pub redelivered: u64,
    pub panics: u64,
}

/// The counts of `passes` replays of `records` where a job may fail `max_attempts` times.
pub fn expected(records: &[Arc<Record>], passes: u32, max_attempts: u32) -> Expected {
    let mut sum = Expected::default();
    for record in records {
        sum.records += 1;
        match record.work {
            Work::Invalid(_) => sum.invalid += 1,
            _ => {
                sum.accepted += 1;
                follow(record, max_attempts, &mut sum);
            }
        }
    }
    sum.times(u64::from(passes))
}

/// Follows one accepted job from delivery to delivery.
fn follow(record: &Record, max_attempts: u32, sum: &mut Expected) {
    for attempt in 1..=max_attempts {
        sum.redelivered += u64::from(attempt > 1);
        match record.work.verdict(attempt) {
            Verdict::Ack => {
                sum.acked += 1;
                return;
            }
            Verdict::Reject(_) => {
                sum.dead_lettered += 1;
                return;
            }
            Verdict::Transient(_) => {}
            Verdict::Panic(_) => sum.panics += 1,
        }
    }
    sum.dead_lettered += 1;
}

impl Expected {
    fn times(self, passes: u64) -> Expected {
        Expected {
            records: self.records * passes,
            invalid: self.invalid * passes,
            accepted: self.accepted * passes,
            acked: self.acked * passes,
            dead_lettered: self.dead_lettered * passes,
            redelivered: self.redelivered * passes,
            panics: self.panics * passes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Fault, Names, Script};
    use std::time::Duration;

    fn records(work: Vec<Work>) -> Vec<Arc<Record>> {
        let name = Names::default().get("a");
        let record = |work| Record { line: 1, at: Duration::ZERO, tenant: name.clone(), key: name.clone(), lane: 0, work };
        work.into_iter().map(record).map(Arc::new).collect()
    }

    #[test]
    fn every_course_is_counted() {
        let script = |fail_times, reject, panic| Work::Scripted(Script { fail_times, reject, panic, ..Script::default() });
        let work = vec![
            script(0, false, false),
            script(4, false, false),
            script(5, false, false),
            script(2, true, false),
            script(1, false, true),
            script(0, false, true),
            Work::Invalid(Fault::at(0, "x")),
        ];
        let counts = expected(&records(work), 2, 5);
        let redelivered = 2 * (4 + 4 + 2 + 1 + 4);
        assert_eq!(
            counts,
            Expected { records: 14, invalid: 2, accepted: 12, acked: 6, dead_lettered: 6, redelivered, panics: 2 * (1 + 5) }
        );
    }
}
