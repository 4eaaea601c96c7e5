//! One JSON object: the rows of the state that most rounds were in.

use super::Line;
use crate::machine::State;
use serde::Serialize;

#[derive(Serialize)]
struct Report<'a> {
    state: &'static str,
    results: &'a [Line],
}

pub fn json(state: State, lines: &[Line]) -> String {
    let report = Report { state: state.name(), results: lines };
    serde_json::to_string(&report).expect("numbers and strings can be written")
}
