//! The report of a replay, as one JSON object.

use serde::Serialize;

use crate::aggregate::{Aggregate, Ranking};
use crate::outcome::{Counts, Lane, Outcome, Worker};
use crate::record::Fault;
use crate::trace::Trace;

/// How many tenants and keys a report shows.
const TOP: usize = 10;
/// How many invalid lines a report shows.
pub const FAULTS_SHOWN: usize = 5;

/// A report; its fields are those of the JSON object, in their order.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What was replayed.
    pub trace: String,
    /// Records of all passes.
    pub records: u64,
    /// What became of them.
    #[serde(flatten)]
    pub counts: Counts,
    pub elapsed_s: f64,
    /// Jobs that came to an end (acked or dead-lettered), per second.
    pub jobs_per_s: f64,
    /// The most that the publisher was behind the trace's timestamps.
    pub behind_max_s: f64,
    pub interrupted: bool,
    /// Every record is accounted for once, by the runtime's count and by this example's.
    pub ledger_ok: bool,
    pub lanes: Vec<Lane>,
    pub workers: Vec<Worker>,
    pub wake_rescued: u64,
    /// What `units` of a tenant or key counts.
    pub unit: &'static str,
    pub tenants: Ranking,
    pub keys: Ranking,
    /// The first lines that could not be read.
    pub invalid_lines: Vec<InvalidLine>,
}

/// A line that could not be read.
#[derive(Debug, Serialize)]
pub struct InvalidLine {
    pub line: u64,
    pub column: usize,
    pub message: String,
}

impl From<&Fault> for InvalidLine {
    fn from(fault: &Fault) -> Self {
        InvalidLine { line: fault.line, column: fault.column, message: fault.message.clone() }
    }
}

impl Report {
    /// Puts a report together.
    pub fn new(trace: &Trace, passes: u32, outcome: Outcome, aggregate: &Aggregate, unit: &'static str) -> Self {
        let records = trace.records.len() as u64 * u64::from(passes);
        let counts = outcome.counts;
        let (tenants, keys) = aggregate.rankings(TOP);
        let elapsed_s = outcome.elapsed.as_secs_f64();
        Report {
            trace: trace.name.clone(),
            records,
            counts,
            elapsed_s,
            jobs_per_s: if elapsed_s > 0.0 { (counts.acked + counts.dead_lettered) as f64 / elapsed_s } else { 0.0 },
            behind_max_s: outcome.behind_max.as_secs_f64(),
            interrupted: outcome.interrupted,
            ledger_ok: outcome.ledger_ok && counts.balance(records),
            lanes: outcome.lanes,
            workers: outcome.workers,
            wake_rescued: outcome.wake_rescued,
            unit,
            tenants,
            keys,
            invalid_lines: trace.faults().take(FAULTS_SHOWN).map(InvalidLine::from).collect(),
        }
    }
}
