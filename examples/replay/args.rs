//! The command line: every option, its range and its default.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum, value_parser};
use ringmill::limits;

/// The most jobs of one generated workload, and the most records of one trace.
pub const RECORDS_MAX: u64 = 10_000_000;
/// The most workers that can be asked for.
const WORKERS_MAX: i64 = 48;
/// The longest visibility timeout that can be asked for: a week.
const VISIBILITY_MS_MAX: i64 = 7 * 24 * 3600 * 1000;
const SPEED_MIN: f64 = 0.001;
const SPEED_MAX: f64 = 1e6;
const WORK_SCALE_MAX: f64 = 1000.0;

/// Replay a trace of jobs through ringmill and print what became of every one of them.
///
/// Without --trace a generated workload runs (see --jobs and --seed). Exit status: 0 when the ledger balances, 1 when it does not,
/// 2 for a wrong command line or a file that cannot be read or written.
#[derive(Debug, Parser)]
#[command(name = "replay", version, max_term_width = 120, allow_negative_numbers = true, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Publish to the exchange of this topology file, by the routing key of each record (needs the feature `config`)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["workers", "capacity", "visibility_ms"])]
    pub topology: Option<PathBuf>,

    /// The exchange that jobs are published to [default: the only one that is nobody's alternate or dead_letter_exchange]
    #[arg(long, value_name = "NAME", requires = "topology")]
    pub exchange: Option<String>,

    /// The trace to replay; one job per record
    #[arg(long, value_name = "FILE", requires = "format")]
    pub trace: Option<PathBuf>,

    /// How the trace is written
    #[arg(long, value_enum, requires = "trace")]
    pub format: Option<Format>,

    /// `max`, or how many times faster than the trace's own timestamps, from 0.001 to 1000000
    #[arg(long, value_name = "max|FACTOR", default_value = "max", allow_hyphen_values = true)]
    pub speed: Speed,

    /// Replay the whole trace this many times
    #[arg(long = "loop", value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub loops: u32,

    /// Worker threads [default: what the runtime chooses]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=WORKERS_MAX))]
    pub workers: Option<u32>,

    /// The most jobs the queue holds at a time; the publisher waits when it is full
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = value_parser!(u32).range(1..=i64::from(limits::CAPACITY_MAX)))]
    pub capacity: u32,

    /// How long a handler may run before its job is given to another worker
    #[arg(long, value_name = "MS", default_value_t = 30_000, value_parser = value_parser!(u64).range(1..=VISIBILITY_MS_MAX as u64))]
    pub visibility_ms: u64,

    /// What the report looks like
    #[arg(long, value_enum, default_value_t = ReportStyle::Text)]
    pub report: ReportStyle,

    /// Write every dead letter to this file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub dead_letters: Option<PathBuf>,

    /// Multiply the simulated service time, from 0 to 1000
    #[arg(long, value_name = "F", default_value = "1", value_parser = work_scale, allow_hyphen_values = true)]
    pub work_scale: f64,

    /// Jobs of the generated workload
    #[arg(long, value_name = "N", default_value_t = 100_000, conflicts_with = "trace", value_parser = value_parser!(u64).range(1..=RECORDS_MAX))]
    pub jobs: u64,

    /// The seed of the generated workload: the same seed, the same jobs
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "trace")]
    pub seed: u64,
}

impl Args {
    /// The visibility timeout as a duration.
    pub fn visibility(&self) -> Duration {
        Duration::from_millis(self.visibility_ms)
    }
}

/// What else there is to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Validate a topology file and draw it; nothing is replayed (needs the feature `config`)
    Check(Check),
}

/// What to validate, and where to draw it.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Check {
    /// The topology: .toml, .yaml or .yml
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Write an SVG drawing to this file
    #[arg(long, value_name = "OUT")]
    pub svg: Option<PathBuf>,

    /// Write a Graphviz graph to this file
    #[arg(long, value_name = "OUT")]
    pub dot: Option<PathBuf>,
}

/// The formats a trace can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The combined log format of web servers
    Apache,
    /// TIMESTAMP,ContextTokens,GeneratedTokens
    AzureLlm,
    /// One JSON object a line, which scripts what its job does
    Jsonl,
}

/// What the report looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportStyle {
    /// Tables for people
    Text,
    /// One JSON object on one line
    Json,
}

/// How fast records are published.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// As fast as the queue takes them.
    Max,
    /// Open loop, by the timestamps of the trace divided by this factor.
    Factor(f64),
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Speed::Max);
        }
        ranged(text, SPEED_MIN, SPEED_MAX).map(Speed::Factor).map_err(|range| format!("expected `max` or {range}"))
    }
}

fn work_scale(text: &str) -> Result<f64, String> {
    ranged(text, 0.0, WORK_SCALE_MAX).map_err(|range| format!("expected {range}"))
}

/// A finite number between two bounds, or what was expected. A comparison with NaN is false, so NaN is out of every range.
fn ranged(text: &str, min: f64, max: f64) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value >= min && value <= max => Ok(value),
        _ => Err(format!("a number from {min} to {max}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Args, String> {
        Args::try_parse_from(std::iter::once(&"replay").chain(words)).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn refused(words: &[&str], needles: &[&str]) {
        let message = parse(words).expect_err("must be refused");
        for needle in needles {
            assert!(message.contains(needle), "{needle:?} is missing in: {message}");
        }
    }

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn no_argument_means_the_generated_workload_at_full_speed() {
        let args = parse(&[]).unwrap();
        assert_eq!((args.trace, args.format, args.speed, args.loops), (None, None, Speed::Max, 1));
        assert_eq!((args.workers, args.capacity, args.visibility_ms), (None, 4096, 30_000));
    }

    #[test]
    fn a_topology_has_its_own_workers_and_capacities() {
        let args = parse(&["--topology", "t.toml", "--exchange", "x"]).unwrap();
        assert_eq!((args.topology, args.exchange), (Some("t.toml".into()), Some("x".to_owned())));
        refused(&["--topology", "t.toml", "--workers", "2"], &["--workers", "--topology"]);
        refused(&["--topology", "t.toml", "--capacity", "2"], &["--capacity", "--topology"]);
        refused(&["--topology", "t.toml", "--visibility-ms", "2"], &["--visibility-ms", "--topology"]);
        refused(&["--exchange", "x"], &["--topology", "required"]);
    }

    #[test]
    fn check_goes_with_no_replay() {
        let check = Check { file: "t.yaml".into(), svg: Some("t.svg".into()), dot: None };
        assert_eq!(parse(&["check", "t.yaml", "--svg", "t.svg"]).unwrap().command, Some(Command::Check(check)));
        refused(&["--jobs", "5", "check", "t.yaml"], &["check"]);
        refused(&["check"], &["FILE"]);
    }

    #[test]
    fn trace_and_format_come_together() {
        refused(&["--trace", "x.log"], &["--format", "required"]);
        refused(&["--format", "apache"], &["--trace", "required"]);
        assert_eq!(parse(&["--trace", "x", "--format", "azure-llm"]).unwrap().format, Some(Format::AzureLlm));
        refused(&["--trace", "x", "--format", "csv"], &["--format", "'csv'", "apache", "azure-llm", "jsonl"]);
    }

    #[test]
    fn the_generated_workload_and_a_trace_exclude_each_other() {
        refused(&["--trace", "x", "--format", "jsonl", "--jobs", "5"], &["--jobs", "--trace"]);
        refused(&["--trace", "x", "--format", "jsonl", "--seed", "5"], &["--seed", "--trace"]);
    }

    #[test]
    fn speed_names_field_value_and_range() {
        for bad in ["0", "-1", "NaN", "inf", "-0", "fast", "", "1e7", "0.0001"] {
            refused(&["--speed", bad], &["--speed", &format!("'{bad}'").replace("''", "--speed"), "from 0.001 to 1000000"]);
        }
        assert_eq!(parse(&["--speed", "2.5"]).unwrap().speed, Speed::Factor(2.5));
        assert_eq!(parse(&["--speed", "max"]).unwrap().speed, Speed::Max);
    }

    #[test]
    fn numbers_out_of_range_name_field_value_and_range() {
        refused(&["--capacity", "0"], &["--capacity", "0 is not in 1..=16777215"]);
        refused(&["--capacity", "2147483648"], &["--capacity", "2147483648 is not in 1..=16777215"]);
        refused(&["--capacity", "-1"], &["--capacity", "-1 is not in"]);
        refused(&["--workers", "0"], &["--workers", "0 is not in 1..=48"]);
        refused(&["--workers", "49"], &["--workers", "49 is not in 1..=48"]);
        refused(&["--loop", "0"], &["--loop", "0 is not in 1..=1000000"]);
        refused(&["--visibility-ms", "0"], &["--visibility-ms", "0 is not in 1..=604800000"]);
        refused(&["--jobs", "0"], &["--jobs", "0 is not in 1..=10000000"]);
        refused(&["--jobs", "many"], &["--jobs", "'many'"]);
        for bad in ["-1", "nan", "1001", "x"] {
            refused(&["--work-scale", bad], &["--work-scale", bad, "from 0 to 1000"]);
        }
        assert_eq!(parse(&["--work-scale", "0", "--capacity", "1"]).unwrap().work_scale, 0.0);
    }
}
