//! ringmill beside its peers, interleaved in one run.
//!
//! A [contest] is a suite's question in one shape: subjects that do the same thing in turns. [rounds] runs it and probes the [machine]'s caches between
//! any two runs, [report] sets medians side by side. The suites are [ring], [jobs].

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
    /// Only subjects whose name contains this; may be given several times.
    #[arg(long, value_name = "SUBSTRING")]
    only: Vec<String>,
    /// Only shapes whose name contains this; may be given several times.
    #[arg(long, value_name = "SUBSTRING")]
    shape: Vec<String>,
    /// In a child of its own: weighs this subject of `scale memory`.
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

fn main() {
    let options = Options::parse();
    if let Some(subject) = &options.resident {
        return scale::resident::weigh(subject);
    }
    let effort = if options.quick { Effort::quick() } else { Effort::full() };
    let contests = select(options.suite.contests(&effort), &options);
    let mut progress = Progress::new(contests.len());
    let outcomes: Vec<_> = contests.into_iter().map(|contest| rounds::run(contest, &effort, &mut progress)).collect();
    let state = report::main_state(&outcomes);
    if options.json {
        println!("{}", report::json(state, &report::lines(&outcomes, state)));
        return;
    }
    for state in State::ALL {
        print!("{}", report::text(state, &report::lines(&outcomes, state)));
    }
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
