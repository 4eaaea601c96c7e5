//! Replays a trace of jobs through ringmill and prints what became of every one of them.
//!
//! ```text
//! cargo run --release --example replay
//! cargo run --release --example replay -- --trace access.log --format apache --speed 3600 --report json
//! cargo run --release --features config --example replay -- --topology examples/topologies/tenants.yaml
//! cargo run --release --features config --example replay -- check examples/topologies/weblog.toml --svg weblog.svg
//! ```
//!
//! | file | what |
//! |---|---|
//! | `args` | the command line |
//! | `record` | a record, its job and how each delivery of it ends |
//! | `trace`, `apache`, `azure`, `jsonl` | reading files; `cursor` and `civil` help |
//! | `generated` | the workload without a file |
//! | `schedule` | when each job is due |
//! | `handler`, `aggregate` | what a delivery does and adds up |
//! | `plan` | topology files: which queues there are, and `check` |
//! | `drive` | the seam: the only file, beside `plan`, that knows the runtime |
//! | `expected` | what must come out, worked out without a runtime |
//! | `outcome`, `report`, `text`, `table`, `dead`, `progress` | what is shown |

// An example is a user: it has the standard library and not the crate's own doors to time, threads and locks.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod aggregate;
mod apache;
mod args;
mod azure;
mod civil;
mod cursor;
mod dead;
mod drive;
#[cfg(test)]
mod expected;
mod generated;
mod handler;
mod jsonl;
mod outcome;
mod plan;
mod progress;
mod record;
mod replay;
mod report;
mod schedule;
mod table;
mod text;
mod trace;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;

/// Set by the first Ctrl-C.
static STOP: AtomicBool = AtomicBool::new(false);
/// What a shell expects of a program that SIGINT ended.
const EXIT_INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let args = args::Args::parse();
    if let Some(args::Command::Check(check)) = &args.command {
        return match plan::check(check, &mut std::io::stdout().lock()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        };
    }
    let replay = match replay::Replay::prepare(args) {
        Ok(replay) => replay,
        Err(error) => return fail(&error),
    };
    // set only now: until here nothing is under way and Ctrl-C may simply end the program
    if let Err(error) = ctrlc::set_handler(on_interrupt) {
        eprintln!("warning: Ctrl-C will not stop the replay gracefully: {error}");
    }
    match replay.run(&STOP, &mut std::io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => fail(&error),
    }
}

fn on_interrupt() {
    // relaxed: a request, nothing is published with it
    if STOP.swap(true, Ordering::Relaxed) {
        std::process::exit(EXIT_INTERRUPTED);
    }
    eprintln!("stopping; press Ctrl-C again to end at once");
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    let text = error.to_string();
    // the faults of a topology file say themselves that they are errors
    let prefix = if text.starts_with("error: ") { "" } else { "error: " };
    eprintln!("{prefix}{text}");
    ExitCode::from(2)
}
