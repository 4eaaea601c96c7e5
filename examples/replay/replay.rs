//! One replay from the command line to the report.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::aggregate::Aggregate;
use crate::args::{Args, Format, ReportStyle};
use crate::dead::{DeadLetter, DeadLetterFile};
use crate::drive::{DriveError, Listeners, Options, drive};
use crate::plan::{Plan, PlanError, is_same_file};
use crate::progress::ProgressLine;
use crate::report::{FAULTS_SHOWN, Report};
use crate::trace::{Trace, TraceError};
use crate::{generated, text, trace};

/// A trace that is read and files that are open: nothing but the replay itself is left to do.
#[derive(Debug)]
pub struct Replay {
    args: Args,
    trace: Trace,
    dead_letters: Option<DeadLetterFile<File>>,
    plan: Option<Plan>,
}

/// Why there is no report.
#[derive(Debug)]
pub enum ReplayError {
    Trace(TraceError),
    /// The topology file is none.
    Plan(PlanError),
    /// The file of `--dead-letters` cannot be made or written.
    DeadLetters(PathBuf, io::Error),
    /// The file of `--dead-letters` is one that is read.
    SameFile(PathBuf),
    Drive(DriveError),
    /// The report cannot be written.
    Output(io::Error),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplayError::Trace(error) => error.fmt(f),
            ReplayError::Plan(error) => error.fmt(f),
            ReplayError::DeadLetters(path, error) => write!(f, "cannot write --dead-letters {}: {error}", path.display()),
            ReplayError::SameFile(path) => {
                write!(f, "--dead-letters {} is the trace or the topology itself, expected another file", path.display())
            }
            ReplayError::Drive(error) => error.fmt(f),
            ReplayError::Output(error) => write!(f, "cannot write the report: {error}"),
        }
    }
}

impl std::error::Error for ReplayError {}

impl Replay {
    /// Reads the trace and opens the files; tells of invalid lines on stderr.
    pub fn prepare(args: Args) -> Result<Self, ReplayError> {
        let plan =
            args.topology.as_deref().map(|path| Plan::load(path, args.exchange.as_deref())).transpose().map_err(ReplayError::Plan)?;
        let trace = match (&args.trace, args.format) {
            (Some(path), Some(format)) => trace::read(path, format).map_err(ReplayError::Trace)?,
            _ => generated::workload(args.jobs, args.seed, args.visibility()),
        };
        warn(&trace);
        let dead_letters = match &args.dead_letters {
            Some(path) => Some(create(path, [&args.trace, &args.topology])?),
            None => None,
        };
        Ok(Replay { args, trace, dead_letters, plan })
    }

    /// Replays and writes the report to `out`. The answer is whether the ledger balances.
    pub fn run(mut self, stop: &AtomicBool, out: &mut dyn Write) -> Result<bool, ReplayError> {
        let args = &self.args;
        let options = Options {
            speed: args.speed,
            passes: args.loops,
            workers: args.workers,
            capacity: args.capacity,
            visibility: args.visibility(),
            work_scale: args.work_scale,
            plan: self.plan.take(),
        };
        let aggregate = Arc::new(Aggregate::default());
        let line = ProgressLine::new(self.trace.records.len() as u64 * u64::from(args.loops));
        let mut write_failed = None;
        let mut listeners = Listeners {
            progress: &mut |progress| line.show(progress),
            dead_letter: &mut |letter| note(&mut self.dead_letters, &letter, &mut write_failed),
        };
        let outcome = drive(&self.trace.records, &options, &aggregate, stop, &mut listeners);
        line.clear();
        let outcome = outcome.map_err(ReplayError::Drive)?;
        for warning in &outcome.warnings {
            eprintln!("warning: {warning}");
        }

        let report = Report::new(&self.trace, args.loops, outcome, &aggregate, unit(args.format));
        print(&report, args.report, out).map_err(ReplayError::Output)?;
        // the report comes first: a full disk must not hide what happened
        let finished = self.dead_letters.as_mut().map_or(Ok(()), DeadLetterFile::finish);
        match (write_failed.map_or(finished, Err), args.dead_letters.clone()) {
            (Err(error), Some(path)) => Err(ReplayError::DeadLetters(path, error)),
            _ => Ok(report.ledger_ok),
        }
    }
}

fn warn(trace: &Trace) {
    let count = trace.faults().count();
    for fault in trace.faults().take(FAULTS_SHOWN) {
        eprintln!("warning: {}:{fault}", trace.name);
    }
    if count > FAULTS_SHOWN {
        eprintln!("warning: and {} more invalid lines", count - FAULTS_SHOWN);
    }
    if count == trace.records.len() {
        eprintln!("warning: not one line of {} could be read: is --format right?", trace.name);
    }
}

fn create(path: &Path, read: [&Option<PathBuf>; 2]) -> Result<DeadLetterFile<File>, ReplayError> {
    if read.into_iter().flatten().any(|read| is_same_file(path, read)) {
        return Err(ReplayError::SameFile(path.to_path_buf()));
    }
    DeadLetterFile::create(path).map_err(|error| ReplayError::DeadLetters(path.to_path_buf(), error))
}

/// Writes a letter; after the first error no more.
fn note(file: &mut Option<DeadLetterFile<File>>, letter: &DeadLetter, failed: &mut Option<io::Error>) {
    if let (Some(file), None) = (file, &failed) {
        *failed = file.write(letter).err();
    }
}

/// What the aggregate counts beside jobs.
fn unit(format: Option<Format>) -> &'static str {
    match format {
        Some(Format::Apache) => "bytes",
        Some(Format::AzureLlm) => "tokens",
        Some(Format::Jsonl) | None => "service us",
    }
}

/// Whoever closes the pipe early has read enough: that is no error.
fn print(report: &Report, style: ReportStyle, out: &mut dyn Write) -> io::Result<()> {
    let text = match style {
        ReportStyle::Text => text::render(report),
        ReportStyle::Json => serde_json::to_string(report)? + "\n",
    };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests;
