//! A table to read in a terminal.

use super::{Line, figure};
use crate::contest::Role;
use crate::machine::State;
use std::fmt::Write;

const COLUMNS: [&str; 6] = ["median", "min", "max", "vs best peer", "vs baseline", "rounds"];

/// One block per shape, the subjects in the order of the contest. `*` is the baseline, `~` who solves less and is never the best peer.
pub fn text(state: State, lines: &[Line]) -> String {
    let mut out = String::new();
    let width = lines.iter().map(|line| line.subject.chars().count()).max().unwrap_or(0) + 2;
    let mut shape = None;
    for line in lines {
        if shape.replace((line.suite, &line.shape)) != Some((line.suite, &line.shape)) {
            let [median, min, max, best, baseline, rounds] = COLUMNS;
            let title = format!("{} | {} | {}, {}", line.suite, line.shape, line.unit, state.name());
            let _ = writeln!(out, "\n{title}");
            let _ = writeln!(out, "{:width$} {median:>10} {min:>10} {max:>10} {best:>13} {baseline:>12} {rounds:>7}", "");
        }
        let mark = match line.role {
            Role::Baseline | Role::Yardstick => "* ",
            Role::Narrow => "~ ",
            Role::Mill => "> ",
            Role::Peer => "  ",
        };
        let [best, baseline] =
            [line.vs_best_peer, line.vs_baseline].map(|ratio| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}x")));
        let subject = format!("{mark}{}", line.subject);
        let [median, min, max] = [line.median, line.min, line.max].map(figure);
        let _ = writeln!(out, "{subject:width$} {median:>10} {min:>10} {max:>10} {best:>13} {baseline:>12} {:>7}", line.rounds);
    }
    out
}
