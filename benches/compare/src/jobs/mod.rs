//! `jobs`: whole job systems, one producer, two workers, jobs that only count themselves.
//!
//! Every run is on workers that run already, from the first publish to the last end; million jobs a second. Each job adds its number to its worker's
//! [tally](crate::tally), which is how count and checksum are asserted, and costs all subjects the same.

mod mill;
mod peers;

use crate::contest::{Better, Contest, Role, Subject};
use crate::effort::{Amount, Effort};
use crate::tally;
use std::time::{Duration, Instant};

pub const WORKERS: usize = 2;
/// Jobs that wait at most, where there is a bound.
pub const CAPACITY: usize = 1_024;

/// A job system with its workers running.
pub trait System: Sized {
    fn start() -> Self;
    /// Publishes the jobs `0..jobs`. May return before they have run; each calls [`tally::count`] with its number.
    fn publish(&mut self, jobs: u64);
    /// True once nothing is left behind of `jobs` that have run.
    fn is_idle(&self) -> bool {
        true
    }
    /// Stops the workers and checks what can be checked: `jobs` were published in all.
    fn stop(self, jobs: u64);
}

pub fn contests(effort: &Effort) -> Vec<Contest> {
    vec![one_by_one(effort), in_batches(effort)]
}

fn one_by_one(effort: &Effort) -> Contest {
    with_peers(
        Contest::new("jobs", "publish, 1p2w", "M jobs/s", Better::Higher).with(subject::<mill::OneByOne>(
            "ringmill publish",
            Role::Mill,
            effort,
        )),
        effort,
    )
}

fn in_batches(effort: &Effort) -> Contest {
    with_peers(
        Contest::new("jobs", "publish_batch(32), 1p2w", "M jobs/s", Better::Higher).with(subject::<mill::Batches>(
            "ringmill publish_batch(32)",
            Role::Mill,
            effort,
        )),
        effort,
    )
}

/// The same peers beside both: none of them publishes in batches.
fn with_peers(contest: Contest, effort: &Effort) -> Contest {
    contest
        .with(subject::<peers::Boxed>("crossbeam-channel, Box<dyn FnOnce>", Role::Baseline, effort))
        .with(subject::<peers::Bare>("crossbeam-channel, fn and u64", Role::Narrow, effort))
        .with(subject::<peers::Rayon>("rayon scope spawn", Role::Peer, effort))
        .with(subject::<peers::ThreadPool>("threadpool execute", Role::Peer, effort))
        .with(subject::<peers::Tokio>("tokio::spawn", Role::Peer, effort))
}

fn subject<S: System>(name: &str, role: Role, effort: &Effort) -> Subject {
    let mut amount = Amount::for_run(effort.run * 2);
    Subject::of_one(name, role, move || {
        let jobs = amount.find(run::<S>);
        jobs as f64 / run::<S>(jobs).as_secs_f64() / 1e6
    })
}

/// Workers are started for each run and warmed up, so that no subject's idle threads disturb another's run.
fn run<S: System>(jobs: u64) -> Duration {
    let mut system = S::start();
    let warm_up = (jobs / 8).max(CAPACITY as u64);
    measure(&mut system, warm_up);
    let took = measure(&mut system, jobs);
    system.stop(warm_up + jobs);
    took
}

fn measure<S: System>(system: &mut S, jobs: u64) -> Duration {
    let before = tally::total();
    let began = Instant::now();
    system.publish(jobs);
    while tally::total().count - before.count < jobs || !system.is_idle() {
        std::thread::yield_now();
    }
    let took = began.elapsed();
    tally::total().assert_grown(before, jobs);
    took
}
