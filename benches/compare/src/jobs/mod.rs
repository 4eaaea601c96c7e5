//! `jobs`: whole job systems, one producer, two workers, jobs that only count themselves.
//!
//! | shape | what |
//! |---|---|
//! | `publish, 1p2w` and `publish_batch(32), 1p2w` | from the first publish to the last end, on workers that run already: million jobs a second |
//! | `semantics, solo` | the same cycle on one thread, and what of it is neither ring nor slab nor credits: ns a job |
//! | `leases` | what leases cost the workers, and what the thread costs that watches them |
//!
//! Each job adds its number to its thread's [tally], which is how count and checksum are asserted, and costs all subjects the same.

mod leases;
mod semantics;
mod throughput;

use crate::contest::{Better, Contest, Role, Subject};
use crate::effort::Effort;
use crate::systems::apalis::Apalis;
use crate::systems::mill::{Batches, Mill, Options};
use crate::systems::peers::{Bare, Boxed, Rayon, ThreadPool, Tokio};
use crate::systems::{Crew, System, Work};
use crate::tally;

pub const SUITE: &str = "jobs";
const WORKERS: usize = 2;

/// The job of this suite.
pub struct Count;

impl Work for Count {
    #[inline]
    fn run(job: u64) {
        tally::count(job);
    }
}

pub fn contests(effort: &Effort) -> Vec<Contest> {
    let crew = Crew::of(WORKERS);
    let one_by_one = subject("ringmill publish", Role::Mill, effort, move || Mill::<Count>::start(Options::of(crew)));
    let batches = subject("ringmill publish_batch(32)", Role::Mill, effort, move || Batches(Mill::<Count>::start(Options::of(crew))));
    vec![
        with_peers(empty("publish, 1p2w").with(one_by_one), effort),
        with_peers(empty("publish_batch(32), 1p2w").with(batches), effort),
        semantics::contest(effort),
        leases::contest(effort),
    ]
}

fn empty(shape: &str) -> Contest {
    Contest::new(SUITE, shape, "M jobs/s", Better::Higher)
}

/// The same peers beside both: none of them publishes in batches.
fn with_peers(contest: Contest, effort: &Effort) -> Contest {
    let crew = Crew::of(WORKERS);
    contest
        .with(subject("crossbeam-channel, Box<dyn FnOnce>", Role::Baseline, effort, move || Boxed::<Count>::start(crew)))
        .with(subject("crossbeam-channel, fn and u64", Role::Narrow, effort, move || Bare::<Count>::start(crew)))
        .with(subject("rayon scope spawn", Role::Peer, effort, move || Rayon::<Count>::start(crew)))
        .with(subject("threadpool execute", Role::Peer, effort, move || ThreadPool::<Count>::start(crew)))
        .with(subject("tokio::spawn", Role::Peer, effort, move || Tokio::<Count>::start(crew)))
        .with(subject("apalis memory, push_bulk and run", Role::Peer, effort, Apalis::<Count>::start))
}

fn subject<S: System + 'static>(name: &str, role: Role, effort: &Effort, start: impl Fn() -> S + 'static) -> Subject {
    Subject::of_one(name, role, throughput::run(effort.run * 2, start))
}
