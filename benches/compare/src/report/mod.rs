//! What came out: rows with their ratios, and the forms they are printed in.

mod chart;
mod json;
mod markdown;
mod text;

use crate::contest::{Better, Role};
use crate::machine::State;
use crate::rounds::Outcome;
use crate::statistics::Summary;
use serde::Serialize;

pub use chart::charts;
pub use json::json;
pub use markdown::{markdown, replace_in};
pub use text::text;

/// One subject in one shape, in one state.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    pub suite: &'static str,
    pub shape: String,
    pub subject: String,
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub unit: &'static str,
    /// How many times better than the best peer of the same shape; above 1 is better. `None` without peers.
    pub vs_best_peer: Option<f64>,
    /// The same against the baseline.
    pub vs_baseline: Option<f64>,
    #[serde(skip)]
    pub better: Better,
    #[serde(skip)]
    pub role: Role,
    #[serde(skip)]
    pub rounds: usize,
}

/// The state most of the rounds were in; near if it is a draw.
pub fn most_rounds(outcomes: &[Outcome]) -> State {
    let rounds = |state| outcomes.iter().map(|outcome| outcome.rounds_in(state)).sum::<usize>();
    if rounds(State::Far) > rounds(State::Near) { State::Far } else { State::Near }
}

/// What a probe usually found in `state`: the round trip of a line in nanoseconds.
pub fn round_trip(outcomes: &[Outcome], state: State) -> Option<f64> {
    let all: Vec<f64> = outcomes.iter().flat_map(|outcome| outcome.round_trips(state)).copied().collect();
    Summary::of(&all).map(|summary| summary.median)
}

/// Every row in `state`, of the outcomes that have enough rounds in it.
pub fn lines(outcomes: &[Outcome], state: State) -> Vec<Line> {
    outcomes.iter().filter(|outcome| counts_in(outcome, state)).flat_map(|outcome| all_lines_of(outcome, state)).collect()
}

/// Every row of every outcome: in `state` or, where there were not enough rounds in it, in the other, which the shape then says.
pub fn lines_or_other(outcomes: &[Outcome], state: State) -> Vec<Line> {
    let lines = |outcome| {
        if counts_in(outcome, state) {
            return all_lines_of(outcome, state);
        }
        let other = most_rounds(std::slice::from_ref(outcome));
        let mut lines = all_lines_of(outcome, other);
        lines.iter_mut().for_each(|line| line.shape = format!("{} ({})", line.shape, other.name()));
        lines
    };
    outcomes.iter().flat_map(lines).collect()
}

/// Rounds below which a state says nothing, unless the other has even less.
const ROUNDS_MIN: usize = 3;

fn counts_in(outcome: &Outcome, state: State) -> bool {
    outcome.rounds_in(state) >= ROUNDS_MIN || most_rounds(std::slice::from_ref(outcome)) == state
}

fn all_lines_of(outcome: &Outcome, state: State) -> Vec<Line> {
    (0..outcome.metrics.len()).flat_map(|metric| lines_of(outcome, metric, state)).collect()
}

fn lines_of(outcome: &Outcome, metric: usize, state: State) -> Vec<Line> {
    let better = outcome.metrics[metric].better;
    let summaries: Vec<(&str, Role, Summary)> = (outcome.rows.iter())
        .filter_map(|row| row.summary(state, metric).map(|summary| (row.subject.as_str(), row.role, summary)))
        .collect();
    let medians = |wanted: fn(Role) -> bool| summaries.iter().filter(move |(_, role, _)| wanted(*role)).map(|(.., summary)| summary.median);
    let baseline = medians(|role| matches!(role, Role::Baseline | Role::Yardstick)).next();
    let best_peer = medians(|role| matches!(role, Role::Baseline | Role::Peer))
        .reduce(|best, next| if better.ratio(next, best) > 1.0 { next } else { best });
    // nothing compares with a zero
    let ratio = |ours, theirs: Option<f64>| theirs.map(|theirs| better.ratio(ours, theirs)).filter(|ratio| ratio.is_finite());
    (summaries.iter())
        .map(|&(subject, role, summary)| Line {
            suite: outcome.suite,
            shape: outcome.metrics[metric].shape.clone(),
            subject: subject.to_owned(),
            median: summary.median,
            min: summary.min,
            max: summary.max,
            unit: outcome.metrics[metric].unit,
            vs_best_peer: ratio(summary.median, best_peer),
            vs_baseline: ratio(summary.median, baseline),
            better,
            role,
            rounds: summary.count,
        })
        .collect()
}

/// A figure with three significant digits.
pub fn figure(value: f64) -> String {
    let digits = match value.abs() {
        value if value >= 99.95 => 0,
        value if value >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contest::{Contest, Subject};

    fn outcome(better: Better) -> Outcome {
        let subject = |name, role, value: f64| Subject::of_one(name, role, move || value);
        let mut contest = Contest::new("test", "shape", "ns", better)
            .with(subject("ours", Role::Mill, 10.0))
            .with(subject("baseline", Role::Baseline, 40.0))
            .with(subject("peer", Role::Peer, 20.0))
            .with(subject("narrow", Role::Narrow, 1.0));
        let mut outcome = Outcome::new(&contest);
        for (row, subject) in contest.subjects.iter_mut().enumerate() {
            outcome.count(row, State::Far, subject.run());
        }
        outcome
    }

    #[test]
    fn ratios_above_one_are_better_whichever_way_is_good() {
        for (better, vs_baseline, vs_best_peer) in [(Better::Lower, 4.0, 2.0), (Better::Higher, 0.25, 0.25)] {
            let outcomes = [outcome(better)];
            assert_eq!(most_rounds(&outcomes), State::Far);
            let lines = lines(&outcomes, State::Far);
            assert_eq!((lines[0].subject.as_str(), lines[0].median), ("ours", 10.0));
            assert_eq!((lines[0].vs_baseline, lines[0].vs_best_peer), (Some(vs_baseline), Some(vs_best_peer)));
        }
    }

    #[test]
    fn who_solves_less_is_not_the_best_peer() {
        let outcomes = [outcome(Better::Lower)];
        let lines = lines(&outcomes, State::Far);
        let peer = lines.iter().find(|line| line.subject == "peer").expect("it is there");
        assert_eq!(peer.vs_best_peer, Some(1.0));
        assert!(lines.iter().any(|line| line.subject == "narrow" && line.vs_best_peer == Some(20.0)));
    }

    #[test]
    fn a_shape_says_when_it_was_measured_in_the_other_state() {
        let outcomes = [outcome(Better::Lower)];
        assert!(lines(&outcomes, State::Near).is_empty());
        assert_eq!(lines_or_other(&outcomes, State::Far)[0].shape, "shape");
        assert_eq!(lines_or_other(&outcomes, State::Near)[0].shape, "shape (far)");
    }

    #[test]
    fn json_is_one_object_with_the_promised_keys() {
        let outcomes = [outcome(Better::Lower)];
        let json = json(State::Far, &lines(&outcomes, State::Far));
        let report: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        assert_eq!(report["state"], "far");
        let mut keys: Vec<&str> = report["results"][0].as_object().expect("it has rows").keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["max", "median", "min", "shape", "subject", "suite", "unit", "vs_baseline", "vs_best_peer"]);
    }

    #[test]
    fn figures_have_three_digits() {
        assert_eq!([0.004, 1.234, 9.996, 12.34, 99.96, 1234.5].map(figure), ["0.00", "1.23", "10.0", "12.3", "100", "1234"]);
    }
}
