//! More producers at one worker: mostly more threads than CPUs.

use super::{growing, growth};
use crate::contest::{Contest, Role};
use crate::effort::{Amount, Effort};
use crate::jobs::Count;
use crate::systems::mill::{Mill, Options, publish_in_batches};
use crate::systems::peers::Boxed;
use crate::systems::{Crew, System};
use crate::tally;
use std::ops::Range;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

const POINTS: &[u64] = &[1, 4, 16, 64];
const WORKERS: usize = 1;

pub fn contest(effort: &Effort) -> Contest {
    growth("producers", "ns/job", POINTS)
        .with(growing("ringmill, publish", Role::Mill, POINTS, each_point(effort, one_by_one)))
        .with(growing("ringmill, publish_batch(32)", Role::Mill, POINTS, each_point(effort, in_batches)))
        .with(growing("crossbeam-channel, Box<dyn FnOnce>", Role::Baseline, POINTS, each_point(effort, boxed)))
}

/// Nanoseconds a job at each point, in runs of as many jobs as one producer publishes in the time of a run.
fn each_point(effort: &Effort, run: fn(u64, u64) -> Duration) -> impl FnMut(u64) -> f64 + use<> {
    let mut amount = Amount::for_run(effort.run);
    move |producers| {
        let jobs = amount.find(|jobs| run(1, jobs));
        run(producers, jobs).as_nanos() as f64 / jobs as f64
    }
}

fn one_by_one(producers: u64, jobs: u64) -> Duration {
    mill(producers, jobs, |producer, jobs| jobs.for_each(|job| producer.publish(job).map(drop).expect("it is open")))
}

fn in_batches(producers: u64, jobs: u64) -> Duration {
    mill(producers, jobs, publish_in_batches)
}

fn mill(producers: u64, jobs: u64, publish: fn(&ringmill::Producer<u64>, Range<u64>)) -> Duration {
    let mill = Mill::<Count>::start(Options::of(Crew::of(WORKERS)));
    let took = race(&mill, producers, jobs, || mill.producer(), |producer, jobs| publish(&producer, jobs));
    mill.stop(jobs);
    took
}

fn boxed(producers: u64, jobs: u64) -> Duration {
    let boxed = Boxed::<Count>::start(Crew::of(WORKERS));
    let publish = |sender: crossbeam_channel::Sender<_>, jobs: Range<u64>| {
        jobs.for_each(|job| sender.send(Boxed::<Count>::job(job)).expect("it is open"));
    };
    let took = race(&boxed, producers, jobs, || boxed.sender(), publish);
    boxed.stop(jobs);
    took
}

/// From the first publish to the last end.
fn race<H: Send>(
    system: &impl System,
    producers: u64,
    jobs: u64,
    handle: impl Fn() -> H,
    publish: impl Fn(H, Range<u64>) + Sync,
) -> Duration {
    let before = tally::total();
    let start = Barrier::new(producers as usize);
    let began = thread::scope(|scope| {
        let threads: Vec<_> = (0..producers)
            .map(|number| {
                let (handle, start, publish) = (handle(), &start, &publish);
                scope.spawn(move || {
                    start.wait();
                    let began = Instant::now();
                    publish(handle, jobs * number / producers..jobs * (number + 1) / producers);
                    began
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a producer panicked")).min().expect("there is one")
    });
    tally::wait(before, jobs, || system.is_idle());
    let took = began.elapsed();
    tally::total().assert_grown(before, jobs);
    took
}
