//! Counts a path's instructions: this program is run under valgrind, once for `RUNS` operations and once for twice as many. Start-up, preparation and end are
//! the same in both, so what the second took more is `RUNS` operations and nothing else.

use crate::paths::{Path, RUNS_MAX};
use std::io::ErrorKind;
use std::process::Command;

/// Operations of the shorter run.
const RUNS: u32 = RUNS_MAX / 2;

/// Why there is no count.
pub enum Uncounted {
    /// There is no valgrind to run.
    NoValgrind,
    /// It ran, and said this.
    Failed(String),
}

/// Instructions that one operation takes, rounded.
pub fn count(path: &Path) -> Result<u64, Uncounted> {
    let (once, twice) = (total(path, RUNS)?, total(path, 2 * RUNS)?);
    let more =
        twice.checked_sub(once).ok_or_else(|| Uncounted::Failed(format!("{}: {once} for {RUNS}, {twice} for twice as many", path.name)))?;
    Ok((more + u64::from(RUNS / 2)) / u64::from(RUNS))
}

/// Instructions of a whole process that runs the path so many times.
fn total(path: &Path, runs: u32) -> Result<u64, Uncounted> {
    let failed = |what: String| Uncounted::Failed(format!("{}: {what}", path.name));
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["--run", path.name, &runs.to_string()])
        .output()
        .map_err(|error| if error.kind() == ErrorKind::NotFound { Uncounted::NoValgrind } else { failed(error.to_string()) })?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(failed(format!("{}\n{said}", output.status)));
    }
    said.lines().find_map(instructions).ok_or_else(|| failed(format!("valgrind names no count\n{said}")))
}

/// The count in a line like `==123== Collected : 4567890`.
fn instructions(line: &str) -> Option<u64> {
    line.split_once("== Collected : ")?.1.trim().parse().ok()
}
