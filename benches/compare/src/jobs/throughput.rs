//! Jobs a second.

use crate::effort::Amount;
use crate::systems::{CAPACITY, System};
use crate::tally;
use std::time::{Duration, Instant};

/// Million jobs a second, in runs of about `goal`.
///
/// Workers are started for each run and warmed up, so that no subject's idle threads disturb another's run.
pub fn run<S: System>(goal: Duration, start: impl Fn() -> S) -> impl FnMut() -> f64 {
    let mut amount = Amount::for_run(goal);
    move || {
        let jobs = amount.find(|jobs| once(&start, jobs));
        jobs as f64 / once(&start, jobs).as_secs_f64() / 1e6
    }
}

fn once<S: System>(start: &impl Fn() -> S, jobs: u64) -> Duration {
    let mut system = start();
    let warm_up = (jobs / 8).max(CAPACITY as u64);
    measure(&mut system, warm_up);
    let took = measure(&mut system, jobs);
    system.stop(warm_up + jobs);
    took
}

/// From the first publish of `0..jobs` to the last end.
pub fn measure(system: &mut impl System, jobs: u64) -> Duration {
    let before = tally::total();
    let began = Instant::now();
    system.publish(0..jobs);
    tally::wait(before, jobs, || system.is_idle());
    let took = began.elapsed();
    tally::total().assert_grown(before, jobs);
    took
}
