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
pub fn main_state(outcomes: &[Outcome]) -> State {
    let rounds = |state| outcomes.iter().map(|outcome| outcome.rounds_in(state)).sum::<usize>();
    if rounds(State::Far) > rounds(State::Near) { State::Far } else { State::Near }
}

/// What a probe usually found in `state`: the round trip of a line in nanoseconds.
pub fn round_trip(outcomes: &[Outcome], state: State) -> Option<f64> {
    let all: Vec<f64> = outcomes.iter().flat_map(|outcome| outcome.round_trips(state)).copied().collect();
    Summary::of(&all).map(|summary| summary.median)
}

/// Every row of every outcome in `state`.
pub fn lines(outcomes: &[Outcome], state: State) -> Vec<Line> {
    outcomes.iter().flat_map(|outcome| (0..outcome.metrics.len()).flat_map(move |metric| lines_of(outcome, metric, state))).collect()
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
