//! The jobs that ended lately.

use super::end::End;
use crate::clock::Timestamp;
use crate::id::JobId;
use std::collections::VecDeque;
use std::time::Duration;

/// A job that has ended: what a queue that keeps [completed records](crate::QueueConfig::completed_records) remembers of it.
///
/// Not its payload, and not its answer: a record is of one size, whatever the job was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompletedJob {
    /// The job. One that was redriven and ended again has two records.
    pub job: JobId,
    /// How it ended.
    pub end: End,
    /// How many deliveries it had, whatever came of them. (One that was put off when the runtime had stopped is not counted.)
    pub attempts: u32,
    /// When it was published, or became ready if that was later.
    pub published: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
}

/// The last so many of them, none older than so much. Passive: time is an argument.
#[derive(Debug)]
pub struct Records {
    count: usize,
    age: Duration,
    /// In the order in which their ends were noted.
    jobs: VecDeque<CompletedJob>,
}

impl Records {
    /// At most `count`, at least 1, none older than `age`. Memory is taken as it is needed.
    pub fn new(count: usize, age: Duration) -> Self {
        Records { count, age, jobs: VecDeque::new() }
    }

    /// A job has ended.
    pub fn add(&mut self, job: CompletedJob) {
        if self.jobs.len() >= self.count {
            self.jobs.pop_front();
        }
        self.jobs.push_back(job);
    }

    /// Forgets what is too old by `now`, and gives memory back once nothing is left.
    pub fn retire(&mut self, now: Timestamp) {
        while self.jobs.front().is_some_and(|job| self.is_old(job, now)) {
            self.jobs.pop_front();
        }
        if self.jobs.is_empty() {
            self.jobs.shrink_to(SMALL);
        }
    }

    /// Those that are not too old by `now`, the latest last.
    pub fn list(&self, now: Timestamp) -> impl DoubleEndedIterator<Item = &CompletedJob> {
        self.jobs.iter().filter(move |job| !self.is_old(job, now))
    }

    /// How many there is memory for.
    pub fn reserved(&self) -> usize {
        self.jobs.capacity()
    }

    fn is_old(&self, job: &CompletedJob, now: Timestamp) -> bool {
        now.since(job.ended) >= self.age
    }
}

/// So many may stay reserved when none is left.
const SMALL: usize = 64;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn job(number: u64, second: u64) -> CompletedJob {
        let at = Timestamp::ZERO + Duration::from_secs(second);
        CompletedJob { job: JobId::from_number(number), end: End::Acked, attempts: 1, published: Timestamp::ZERO, ended: at }
    }

    fn numbers(records: &Records, second: u64) -> Vec<u64> {
        records.list(Timestamp::ZERO + Duration::from_secs(second)).map(|job| job.job.get()).collect()
    }

    #[test]
    fn the_last_so_many_are_kept() {
        let mut records = Records::new(3, Duration::from_secs(100));
        (1..=5).for_each(|number| records.add(job(number, number)));
        assert_eq!(numbers(&records, 5), [3, 4, 5]);
    }

    #[test]
    fn what_is_too_old_is_not_listed_and_then_forgotten() {
        let mut records = Records::new(1000, Duration::from_secs(100));
        // two ends may be noted the other way round
        [2, 1, 3].into_iter().for_each(|number| records.add(job(number, number)));
        assert_eq!(numbers(&records, 100), [2, 1, 3]);
        assert_eq!(numbers(&records, 101), [2, 3]);
        (4..=1000).for_each(|number| records.add(job(number, 3)));
        records.retire(Timestamp::ZERO + Duration::from_secs(103));
        assert!(numbers(&records, 0).is_empty() && records.reserved() <= SMALL, "{}", records.reserved());
    }
}
