//! How many instructions the paths of one job take, counted by valgrind: the same number on a busy machine and an idle one.
//!
//! ```console
//! $ cargo bench --bench instructions                                       # counts and reports
//! $ cargo bench --bench instructions -- wheel                              # the paths with `wheel` in their names
//! $ cargo bench --bench instructions -- --list                             # the paths
//! $ cargo bench --profile release --bench instructions -- --check          # fails where a path is dearer, or cheaper, than `expected.txt` allows
//! $ cargo bench --profile release --bench instructions -- --update         # makes `expected.txt` say what is found
//! $ cargo bench --profile release --bench instructions -- --self-check     # shows that a check can fail
//! ```
//!
//! The counts of another compiler, or on another target, are other counts: they are reported and not judged. Without valgrind nothing is counted, which is said
//! and is no failure, except of an update.

#![allow(missing_docs)]

mod count;
mod paths;
mod table;

use count::{Uncounted, count};
use paths::{PATHS, Path, RUNS_MAX};
use std::process::{Command, ExitCode};
use table::{Judgement, Table};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/expected.txt");

fn main() -> ExitCode {
    // cargo's own, and criterion's wish for a short run: this one is short anyway
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench" && argument != "--quick").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [] => report(""),
        ["--check"] => check(),
        ["--update"] => update(),
        ["--self-check"] => self_check(),
        ["--list"] => list(),
        ["--run", path, times] => run(path, times),
        [part] if !part.starts_with('-') => report(part),
        _ => Err("--check, --update, --self-check, --list, or a part of a path's name".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("instructions: {why}");
            ExitCode::FAILURE
        }
    }
}

fn list() -> Result<(), String> {
    PATHS.iter().for_each(|path| println!("{:<20} {}", path.name, path.operation));
    Ok(())
}

/// What valgrind counts: nothing but the operations depends on `times`.
fn run(path: &str, times: &str) -> Result<(), String> {
    let times = times.parse().ok().filter(|&times| times <= RUNS_MAX).ok_or_else(|| format!("`{times}`: a number up to {RUNS_MAX}"))?;
    let path = PATHS.iter().find(|known| known.name == path).ok_or_else(|| format!("there is no path `{path}`; --list names them"))?;
    let mut prepared = (path.prepare)();
    prepared(times);
    // what it leaves is not dropped: that would take as long as there is much of it
    std::mem::forget(prepared);
    Ok(())
}

fn report(part: &str) -> Result<(), String> {
    let table = read_table()?;
    for path in PATHS.iter().filter(|path| path.name.contains(part)) {
        match count(path) {
            Ok(found) => println!("{}", line(&table, path, found)),
            Err(uncounted) => return explain(uncounted),
        }
    }
    Ok(())
}

fn check() -> Result<(), String> {
    let table = read_table()?;
    let mismatches = table.mismatches();
    if !mismatches.is_empty() {
        return Err(format!("{}; --update mends it", mismatches.join(", ")));
    }
    let mut found = Vec::new();
    for path in &PATHS {
        match count(path) {
            Ok(counted) => {
                println!("{}", line(&table, path, counted));
                found.push((path.name, counted));
            }
            Err(uncounted) => return explain(uncounted),
        }
    }
    println!("{}", judge(&table, &compiler()?, &found)?);
    Ok(())
}

/// The judgement in words; an error where something is off by more than its tolerance and the table is for this compiler.
fn judge(table: &Table, compiler: &str, found: &[(&str, u64)]) -> Result<String, String> {
    if table.compiler != compiler {
        return Ok(format!("not judged: the table is for {}, this is {compiler}", table.compiler));
    }
    let off = |wanted: Judgement| {
        let of = |(path, found): &&(&str, u64)| table.row(path).is_some_and(|row| row.judge(*found) == wanted);
        found.iter().filter(of).map(|(path, _)| *path).collect::<Vec<_>>().join(", ")
    };
    let (dearer, cheaper) = (off(Judgement::Dearer), off(Judgement::Cheaper));
    match (dearer.is_empty(), cheaper.is_empty()) {
        (true, true) => Ok(format!("{} as expected", found.len())),
        (true, false) => Err(format!("cheaper: {cheaper}. Keep it so: --update")),
        (false, true) => Err(format!("dearer: {dearer}. If it has to be: --update")),
        (false, false) => Err(format!("dearer: {dearer}; cheaper: {cheaper}. If the one is the price of the other: --update")),
    }
}

fn update() -> Result<(), String> {
    let old = read_table()?;
    let found: Vec<u64> = PATHS
        .iter()
        .map(|path| count(path).inspect(|&found| println!("{}", line(&old, path, found))))
        .collect::<Result<_, _>>()
        .map_err(why)?;
    std::fs::write(TABLE, old.updated(&compiler()?, &found).to_string()).map_err(|error| format!("{TABLE}: {error}"))
}

/// Counts one path and judges it by three tables: one that is right, and two that are not.
fn self_check() -> Result<(), String> {
    let path = PATHS.iter().find(|path| path.name == "wheel_insert").expect("it is among them");
    let found = match count(path) {
        Ok(found) => found,
        Err(uncounted) => return explain(uncounted),
    };
    let compiler = compiler()?;
    let judged = |expected: u64, by: &str| {
        let table = Table::parse(&format!("compiler: {by}\n{} {expected} 5 %", path.name))?;
        judge(&table, &compiler, &[(path.name, found)])
    };
    let says = |judged: Result<String, String>, words: &str| judged.unwrap_or_else(|why| format!("error: {why}")).starts_with(words);
    let tenth = found / 10;
    let right = [
        ("a right expectation is accepted", found > 0 && says(judged(found, &compiler), "1 as expected")),
        ("a dearer path is refused", says(judged(found - tenth, &compiler), "error: dearer: wheel_insert")),
        ("a cheaper path is refused", says(judged(found + tenth, &compiler), "error: cheaper: wheel_insert")),
        ("another compiler is not judged", says(judged(2 * found, "another"), "not judged")),
        ("a table that makes no sense is refused", Table::parse("wheel_insert about 30").is_err()),
        ("a path without a row is noticed", !Table::default().mismatches().is_empty()),
        ("a table is read as it was written", {
            let table = Table::default().updated(&compiler, &[found; PATHS.len()]);
            Table::parse(&table.to_string()).as_ref() == Ok(&table) && table.mismatches().is_empty()
        }),
    ];
    match right.iter().find(|(_, right)| !right) {
        Some((claim, _)) => Err(format!("not so: {claim}")),
        None => {
            right.iter().for_each(|(claim, _)| println!("{claim}"));
            Ok(())
        }
    }
}

/// One path: what was expected, what was found.
fn line(table: &Table, path: &Path, found: u64) -> String {
    let name = path.name;
    match table.row(name) {
        None => format!("{name:<20} expected      -   found {found:>6}"),
        Some(row) => {
            let percent = 100.0 * (found as f64 / row.instructions as f64 - 1.0);
            let (expected, tolerance) = (row.instructions, row.tolerance_percent);
            let mark = if row.judge(found) == Judgement::AsExpected { "" } else { "   <--" };
            format!("{name:<20} expected {expected:>6}   found {found:>6}   {percent:>+6.1} % of {tolerance} allowed{mark}")
        }
    }
}

fn read_table() -> Result<Table, String> {
    let text = std::fs::read_to_string(TABLE).map_err(|error| format!("{TABLE}: {error}"))?;
    Table::parse(&text).map_err(|error| format!("{TABLE}: {error}"))
}

/// The compiler that cargo uses here, and what it compiles for unless told otherwise.
fn compiler() -> Result<String, String> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(&rustc).arg("-vV").output().map_err(|error| format!("{rustc}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    text.lines().next().zip(host).map(|(release, host)| format!("{release}, {host}")).ok_or_else(|| format!("{rustc} -vV says nothing"))
}

/// Nothing to count with is no failure; everything else is.
fn explain(uncounted: Uncounted) -> Result<(), String> {
    match uncounted {
        Uncounted::NoValgrind => {
            println!("SKIPPED: {}", why(uncounted));
            Ok(())
        }
        Uncounted::Failed(_) => Err(why(uncounted)),
    }
}

fn why(uncounted: Uncounted) -> String {
    match uncounted {
        Uncounted::NoValgrind => "valgrind is not installed, so nothing is counted".into(),
        Uncounted::Failed(what) => what,
    }
}
