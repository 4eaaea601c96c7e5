//! Runs a contest: rounds in which every subject has a turn, probed in between.

use crate::contest::{Contest, Metric, Readings, Role};
use crate::effort::Effort;
use crate::machine::{Probe, State};
use crate::progress::Progress;
use crate::statistics::Summary;

/// What a contest came to.
pub struct Outcome {
    pub suite: &'static str,
    pub metrics: Vec<Metric>,
    pub rows: Vec<Row>,
    /// What the probes found: round trips of a line in nanoseconds, per state.
    round_trips: [Vec<f64>; 2],
}

/// The readings of one subject.
pub struct Row {
    pub subject: String,
    pub role: Role,
    /// Per state, per metric.
    readings: [Vec<Vec<f64>>; 2],
    /// Runs that count, per state.
    runs: [usize; 2],
}

impl Row {
    pub fn summary(&self, state: State, metric: usize) -> Option<Summary> {
        Summary::of(&self.readings[state as usize][metric])
    }
}

impl Outcome {
    /// Of a contest that has not begun.
    pub fn new(contest: &Contest) -> Self {
        let metrics = contest.metrics.clone();
        let rows = contest.subjects.iter().map(|subject| Row {
            subject: subject.name.clone(),
            role: subject.role,
            readings: std::array::from_fn(|_| vec![Vec::new(); metrics.len()]),
            runs: [0; 2],
        });
        Outcome { suite: contest.suite, rows: rows.collect(), metrics, round_trips: Default::default() }
    }

    /// A run of the subject at `row` counts.
    pub fn count(&mut self, row: usize, state: State, readings: Readings) {
        let row = &mut self.rows[row];
        row.runs[state as usize] += 1;
        for (column, reading) in row.readings[state as usize].iter_mut().zip(readings) {
            column.extend(reading);
        }
    }

    /// Every subject has as many runs in this state, or more.
    pub fn rounds_in(&self, state: State) -> usize {
        self.rows.iter().map(|row| row.runs[state as usize]).min().unwrap_or(0)
    }

    pub fn round_trips(&self, state: State) -> &[f64] {
        &self.round_trips[state as usize]
    }

    fn probe(&mut self) -> Option<State> {
        let probe = Probe::take();
        let state = probe.state()?;
        self.round_trips[state as usize].extend(probe.round_trip);
        Some(state)
    }
}

/// Runs `contest` until each subject has the wanted number of runs in one state.
///
/// A run counts if the probes before and after it found the same state; the others are dropped. Each round begins with another subject, so that none
/// always follows the same one at the same moment.
pub fn run(contest: Contest, effort: &Effort, progress: &mut Progress) -> Outcome {
    let mut outcome = Outcome::new(&contest);
    let Contest { suite, shape, metrics, mut subjects } = contest;
    progress.begin(suite, &shape, subjects.len());
    // once for nothing: caches, page tables, and amounts that are found out on first use
    subjects.iter_mut().for_each(|subject| drop(subject.run()));
    for round in 0.. {
        let counted = State::ALL.into_iter().map(|state| outcome.rounds_in(state)).max().unwrap_or(0);
        if effort.is_enough(round, counted) {
            break;
        }
        let mut before = outcome.probe();
        for turn in 0..subjects.len() {
            let at = (round + turn) % subjects.len();
            let readings = subjects[at].run();
            assert_eq!(readings.len(), metrics.len(), "{suite} {shape}: {} does not fit its contest", subjects[at].name);
            let after = outcome.probe();
            match before {
                Some(state) if before == after => outcome.count(at, state, readings),
                _ => progress.dropped(),
            }
            before = after;
        }
        progress.round();
    }
    progress.end(&outcome);
    outcome
}
