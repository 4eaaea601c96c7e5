//! ringmill beside its peers, interleaved in one run.
//!
//! A [contest] is a suite's question in one shape: subjects that do the same thing in turns. [rounds] runs it and probes the [machine]'s caches between
//! any two runs, [mod@report] sets medians side by side. The suites are [ring], [jobs], [latency], [wakeup], [timers] and [scale]; [systems] has the job systems
//! that several of them run.

mod contest;
mod effort;
mod jobs;
mod latency;
mod machine;
mod progress;
mod report;
mod ring;
mod rounds;
mod scale;
mod statistics;
mod systems;
mod tally;
mod timers;
mod wakeup;

use clap::{Parser, ValueEnum};
use contest::Contest;
use effort::Effort;
use machine::State;
use progress::Progress;
use rounds::Outcome;
use std::io;
use std::path::Path;

/// Where the charts go, and the table in full.
const CHARTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/compare");
/// Where the table goes that is shown.
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/benchmarks.md");

#[derive(Parser)]
#[command(about = "ringmill beside its peers, interleaved in one run")]
struct Options {
    #[arg(value_enum, default_value = "all")]
    suite: Suite,
    /// Fewer and shorter rounds: `all` in five minutes.
    #[arg(long)]
    quick: bool,
    /// One JSON object instead of tables.
    #[arg(long)]
    json: bool,
    /// The table of docs/benchmarks.md instead of tables.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Puts the table into docs/benchmarks.md as well. Only with the suite `all`.
    #[arg(long)]
    docs: bool,
    /// Only subjects whose name contains this; may be given several times.
    #[arg(long, value_name = "SUBSTRING", conflicts_with = "docs")]
    only: Vec<String>,
    /// Only shapes whose name contains this; may be given several times.
    #[arg(long, value_name = "SUBSTRING", conflicts_with = "docs")]
    shape: Vec<String>,
    /// In a child of its own: weighs this subject of `scale`, `memory`.
    #[arg(long, hide = true, value_name = "SUBJECT")]
    resident: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// Raw queues.
    Ring,
    /// Whole job systems.
    Jobs,
    /// How soon a job starts.
    Latency,
    /// What waking a sleeper costs.
    Wakeup,
    /// Ways to keep timers.
    Timers,
    /// What a job costs as things grow.
    Scale,
    All,
}

impl Suite {
    fn contests(self, effort: &Effort) -> Vec<Contest> {
        match self {
            Suite::Ring => ring::contests(effort),
            Suite::Jobs => jobs::contests(effort),
            Suite::Latency => latency::contests(effort),
            Suite::Wakeup => wakeup::contests(effort),
            Suite::Timers => timers::contests(),
            Suite::Scale => scale::contests(effort),
            Suite::All => {
                Suite::value_variants().iter().filter(|suite| **suite != Suite::All).flat_map(|suite| suite.contests(effort)).collect()
            }
        }
    }
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    if let Some(subject) = &options.resident {
        scale::resident::weigh(subject);
        return Ok(());
    }
    if options.docs && options.suite != Suite::All {
        return Err(io::Error::other("the table of docs/benchmarks.md has all suites"));
    }
    let effort = if options.quick { Effort::quick() } else { Effort::full() };
    let contests = select(options.suite.contests(&effort), &options);
    let mut progress = Progress::new(contests.len());
    let outcomes: Vec<_> = contests.into_iter().map(|contest| rounds::run(contest, &effort, &mut progress)).collect();
    report(&options, &outcomes)
}

fn report(options: &Options, outcomes: &[Outcome]) -> io::Result<()> {
    let mut sections = State::ALL.map(|state| (state, report::lines(outcomes, state), report::round_trip(outcomes, state))).to_vec();
    sections.retain(|(_, lines, _)| !lines.is_empty());
    let text: String = sections.iter().map(|(state, lines, _)| report::text(*state, lines)).collect();
    let markdown = report::markdown(&command(options), &sections);
    if options.json {
        let state = report::most_rounds(outcomes);
        println!("{}", report::json(state, &report::lines_or_other(outcomes, state)));
    } else if options.markdown {
        print!("{markdown}");
    } else {
        print!("{text}");
    }
    let folder = Path::new(CHARTS);
    let mut drawn = 0;
    for (state, lines, _) in &sections {
        drawn += report::charts(folder, *state, lines)?.len();
    }
    std::fs::write(folder.join("table.txt"), text)?;
    if options.docs {
        report::replace_in(Path::new(DOCS), &markdown)?;
    }
    eprintln!("{drawn} charts and table.txt in target/compare");
    Ok(())
}

/// How these figures are made again.
fn command(options: &Options) -> String {
    let suite = options.suite.to_possible_value().expect("no suite is hidden");
    let quick = if options.quick { " --quick" } else { "" };
    format!("cargo run --release --manifest-path benches/compare/Cargo.toml -- {}{quick}", suite.get_name())
}

/// The contests that are asked for, with the subjects that are asked for.
fn select(contests: Vec<Contest>, options: &Options) -> Vec<Contest> {
    let wanted =
        |name: &str, parts: &[String]| parts.is_empty() || parts.iter().any(|part| name.to_lowercase().contains(&part.to_lowercase()));
    contests
        .into_iter()
        .filter(|contest| wanted(&contest.shape, &options.shape))
        .map(|mut contest| {
            contest.subjects.retain(|subject| wanted(&subject.name, &options.only));
            contest
        })
        .filter(|contest| !contest.subjects.is_empty())
        .collect()
}
