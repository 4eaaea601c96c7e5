//! The table of `docs/benchmarks.md`: what ringmill does in each shape, beside the baseline and the best peer.

use super::{Line, figure};
use crate::contest::Role;
use crate::machine::{State, commit, describe, today};
use std::fmt::Write;
use std::io;
use std::path::Path;

const BEGIN: &str = "<!-- compare: begin -->";
const END: &str = "<!-- compare: end -->";

/// One table a suite and state. `round_trips`: what the probes found, in nanoseconds, per state.
pub fn markdown(command: &str, sections: &[(State, Vec<Line>, Option<f64>)]) -> String {
    let mut out = String::new();
    let commit = commit().map_or(String::new(), |commit| format!(", commit {commit}"));
    let _ = writeln!(out, "Machine: {}. {}{commit}. `{command}`.\n", describe(), today());
    out.push_str("The best peer is the best of those that solve as much; above 1x is better than it.\n");
    for (state, lines, round_trip) in sections {
        for suite in lines.chunk_by(|one, other| one.suite == other.suite) {
            let round_trip = round_trip.map_or(String::new(), |nanos| format!(", a line's round trip {nanos:.0} ns"));
            let _ = writeln!(out, "\n#### {}, {}{round_trip}\n", suite[0].suite, state.name());
            out.push_str("| shape | ringmill | median (min-max) | baseline | best peer | vs baseline | vs best peer |\n|---|---|---|---|---|---|---|\n");
            for shape in suite.chunk_by(|one, other| one.shape == other.shape) {
                shape.iter().filter(|line| line.role == Role::Mill).for_each(|line| out.push_str(&row(line, shape)));
            }
        }
    }
    out
}

fn row(line: &Line, shape: &[Line]) -> String {
    let named = |line: &Line| format!("{} {}", escaped(&line.subject), figure(line.median));
    let baseline = shape.iter().find(|line| matches!(line.role, Role::Baseline | Role::Yardstick)).map(named);
    // the one that the ratio is to
    let peers = shape.iter().filter(|line| matches!(line.role, Role::Baseline | Role::Peer));
    let best = peers.reduce(|best, next| if next.better.ratio(next.median, best.median) > 1.0 { next } else { best }).map(named);
    let ratio = |ratio: Option<f64>| match ratio {
        Some(ratio) if ratio < 0.995 => format!("{} **loses**", times(ratio)),
        Some(ratio) => times(ratio),
        None => "-".to_owned(),
    };
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    format!(
        "| {}, {} | {} | {} ({}-{}) | {} | {} | {} | {} |\n",
        escaped(&line.shape),
        line.unit,
        escaped(line.subject.trim_start_matches("ringmill").trim_start_matches([':', ',', ' '])),
        figure(line.median),
        figure(line.min),
        figure(line.max),
        or_dash(baseline),
        or_dash(best),
        ratio(line.vs_baseline),
        ratio(line.vs_best_peer),
    )
}

fn times(ratio: f64) -> String {
    if ratio < 0.1 { format!("{ratio:.3}x") } else { format!("{}x", figure(ratio)) }
}

/// `Box<dyn FnOnce>` is no HTML.
fn escaped(text: &str) -> String {
    text.replace('<', "&lt;").replace('>', "&gt;").replace('|', "\\|")
}

/// Puts `table` between the two marks in the file at `path`.
pub fn replace_in(path: &Path, table: &str) -> io::Result<()> {
    let text = std::fs::read_to_string(path)?;
    let Some(text) = replaced(&text, table) else {
        return Err(io::Error::other(format!("`{BEGIN}` ... `{END}` is not in {}", path.display())));
    };
    std::fs::write(path, text)
}

fn replaced(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", table.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_replaces_the_one_before_and_nothing_else() {
        let page = format!("above\n\n{BEGIN}\n\nold\n\n{END}\n\nbelow\n");
        let once = replaced(&page, "| new |\n").expect("the marks are there");
        assert_eq!(once, format!("above\n\n{BEGIN}\n\n| new |\n\n{END}\n\nbelow\n"));
        assert_eq!(replaced(&once, "| new |").as_deref(), Some(once.as_str()));
        assert_eq!(replaced("no marks", "| new |"), None);
    }

    #[test]
    fn the_page_has_its_marks() {
        let page = include_str!("../../../../docs/benchmarks.md");
        assert!(replaced(page, "").is_some());
    }
}
