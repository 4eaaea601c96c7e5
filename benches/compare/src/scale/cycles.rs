//! More lanes, more queues: bursts that go round all of them.

use super::{growing, growth};
use crate::contest::{Contest, Role};
use crate::effort::{Amount, Effort};
use crate::jobs::Count;
use crate::systems::Work;
use crate::tally;
use ringmill::clock::ManualClock;
use ringmill::{Context, Job, LaneConfig, Producer, QueueConfig, Runtime};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Jobs that are published before they are run, over all lanes and queues.
const BURST: u64 = 512;
const CAPACITY: u64 = 1_024;

pub fn lanes(effort: &Effort) -> Contest {
    const POINTS: &[u64] = &[1, 2, 4, 8];
    growth("lanes", "ns/job", POINTS).with(growing("ringmill, publish", Role::Mill, POINTS, each_point(effort, |lanes| (1, lanes))))
}

pub fn queues(effort: &Effort) -> Contest {
    const POINTS: &[u64] = &[1, 4, 16, 64];
    growth("queues", "ns/job", POINTS).with(growing("ringmill, publish", Role::Mill, POINTS, each_point(effort, |queues| (queues, 1))))
}

/// What a job costs with so many queues of so many lanes.
fn each_point(effort: &Effort, split: fn(u64) -> (u64, u64)) -> impl FnMut(u64) -> f64 + use<> {
    let mut amount = Amount::for_run(effort.run / 2);
    move |point| {
        let (queues, lanes) = split(point);
        let jobs = amount.find(|jobs| cycles(queues, lanes, jobs)).next_multiple_of(BURST);
        cycles(queues, lanes, jobs).as_nanos() as f64 / jobs as f64
    }
}

fn cycles(queues: u64, lanes: u64, jobs: u64) -> Duration {
    let jobs = jobs.next_multiple_of(BURST);
    let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
    let mut queue = |number| {
        let lanes = (0..lanes).map(|lane| LaneConfig::new(format!("lane-{lane}")));
        let config = QueueConfig::new(format!("queue-{number}")).capacity(CAPACITY).lanes(lanes);
        builder.queue(config, |job: &u64, _: &Context<u64>| Count::run(*job)).expect("the settings are valid")
    };
    let queues: Vec<_> = (0..queues).map(&mut queue).collect();
    let runtime = builder.build().expect("nothing has to be started");
    let producers: Vec<Producer<u64>> = queues.iter().map(|queue| queue.producer().expect("accounts are left")).collect();
    let before = tally::total();
    let began = Instant::now();
    for first in (0..jobs).step_by(BURST as usize) {
        for job in first..first + BURST {
            let producer = &producers[(job % producers.len() as u64) as usize];
            producer.publish(Job::new(job).lane((job % lanes) as usize)).expect("there is room for a burst");
        }
        runtime.turn();
    }
    let took = began.elapsed();
    tally::total().assert_grown(before, jobs);
    assert!(queues.iter().all(|queue| queue.snapshot().ledger_balances()));
    took
}
