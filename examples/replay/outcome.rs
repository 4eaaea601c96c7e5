//! What a replay came to: the numbers that `drive` reads off the runtime.

use std::time::Duration;

use serde::Serialize;

/// Everything a report is made of.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    pub counts: Counts,
    /// The runtime's own ledgers balanced.
    pub ledger_ok: bool,
    /// From the first publish to the end of the last job, or of the shutdown if it was interrupted.
    pub elapsed: Duration,
    /// The most that the publisher was behind the trace's timestamps; zero at full speed.
    pub behind_max: Duration,
    /// Somebody asked to stop before the end.
    pub interrupted: bool,
    pub lanes: Vec<Lane>,
    pub workers: Vec<Worker>,
    /// Sleepers that only their safety timeout woke. Must stay 0.
    pub wake_rescued: u64,
    /// What the runtime thinks of where its workers run.
    pub warnings: Vec<String>,
}

/// What became of the records, and of the jobs that they were. A part of the report's JSON object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Refused by the payload's own validation.
    pub invalid: u64,
    /// No binding of the topology wanted it.
    pub unroutable: u64,
    /// Jobs beyond the first that one record became: a topology sent it to several queues.
    pub extra_copies: u64,
    pub accepted: u64,
    pub acked: u64,
    pub dead_lettered: u64,
    /// Accepted and then thrown out by policy.
    pub dropped: u64,
    /// Given back undone by the shutdown.
    pub handed_back: u64,
    /// Still with a handler when the shutdown gave up waiting.
    pub running: u64,
    /// Not offered to the queue any more, or refused because it was closing: an interrupted replay.
    pub unpublished: u64,
    /// Deliveries after the first of a job.
    pub redelivered: u64,
    pub expired_leases: u64,
    pub stale_acks: u64,
    pub panics: u64,
}

impl Counts {
    /// Whether every one of `records` is accounted for, once.
    pub fn balance(&self, records: u64) -> bool {
        let ended = self.acked + self.dead_lettered + self.dropped + self.handed_back;
        records + self.extra_copies == self.invalid + self.unroutable + self.accepted + self.unpublished
            && self.accepted == ended + self.running
    }
}

/// What a lane did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Lane {
    pub name: String,
    /// Deliveries that started.
    pub started: u64,
    /// From being ready to the start of the job's first delivery.
    pub wait_ns: Quantiles,
    /// Inside the handler, and settling the job before: a worker reads the clock once a job.
    pub run_ns: Quantiles,
}

/// A distribution, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    pub p50: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

/// Where a worker ran and how much it did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Worker {
    pub index: usize,
    pub requested_core: Option<usize>,
    pub actual_core: Option<usize>,
    pub pinned: bool,
    pub jobs: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_a_doubled_job_breaks_the_balance() {
        let ended = Counts { acked: 6, dead_lettered: 1, dropped: 1, handed_back: 1, running: 1, ..Counts::default() };
        let counts = Counts { invalid: 1, accepted: 10, unpublished: 2, ..ended };
        assert!(counts.balance(13));
        assert!(!counts.balance(14));
        assert!(!Counts { acked: 7, ..counts }.balance(13));
        assert!(!Counts { accepted: 9, ..counts }.balance(13));
        assert!(Counts { unroutable: 2, extra_copies: 1, ..counts }.balance(14));
    }
}
