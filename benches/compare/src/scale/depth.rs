//! Many jobs queued: all are published, then all are run.
//!
//! The queue has room for a million at every point, so that the depth is what differs. Beside it: `ArrayQueue`, and a cache line a job with no queue at all,
//! which tells how much of the growth is the memory's.

use super::{growing, growth};
use crate::contest::{Contest, Role};
use crate::effort::Effort;
use crate::jobs::Count;
use crate::systems::Work;
use crate::tally;
use crossbeam_queue::ArrayQueue;
use ringmill::clock::ManualClock;
use ringmill::{Context, QueueConfig, Runtime};
use std::sync::Arc;
use std::time::Instant;

const POINTS: &[u64] = &[1_000, 10_000, 100_000, 1_000_000];
const ROOM: usize = 1_000_000;
const BATCH: u64 = 32;

pub fn contest(effort: &Effort) -> Contest {
    // so many jobs at each point, and at least one fill
    let jobs = effort.pick(2_000_000, 500_000);
    growth("depth", "ns/job", POINTS)
        .with(growing("ringmill, publish_batch(32)", Role::Mill, POINTS, move |depth| runtime(depth, jobs)))
        .with(growing("crossbeam ArrayQueue", Role::Narrow, POINTS, move |depth| array_queue(depth, jobs)))
        .with(growing("a cache line a job, written and read", Role::Narrow, POINTS, move |depth| lines(depth, jobs)))
}

/// Nanoseconds a job. The first fill is for the pages.
fn fills(depth: u64, jobs: u64, mut fill_and_drain: impl FnMut(u64)) -> f64 {
    fill_and_drain(depth);
    let fills = jobs.div_ceil(depth);
    let began = Instant::now();
    (0..fills).for_each(|_| fill_and_drain(depth));
    began.elapsed().as_nanos() as f64 / (fills * depth) as f64
}

fn runtime(depth: u64, jobs: u64) -> f64 {
    let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
    let config = QueueConfig::new("jobs").capacity(ROOM as u64);
    let queue = builder.queue(config, |job: &u64, _: &Context<u64>| Count::run(*job)).expect("the settings are valid");
    let runtime = builder.build().expect("nothing has to be started");
    let producer = queue.producer().expect("accounts are left");
    fills(depth, jobs, |depth| {
        let before = tally::total();
        for first in (0..depth).step_by(BATCH as usize) {
            let mut batch = first..depth.min(first + BATCH);
            assert!(producer.publish_batch(&mut batch).refused.is_none(), "there is room");
        }
        assert_eq!(u64::from(queue.depth()), depth);
        runtime.turn();
        tally::total().assert_grown(before, depth);
    })
}

fn array_queue(depth: u64, jobs: u64) -> f64 {
    let queue = ArrayQueue::new(ROOM);
    fills(depth, jobs, |depth| {
        let before = tally::total();
        (0..depth).for_each(|job| queue.push(job).expect("there is room"));
        while let Some(job) = queue.pop() {
            Count::run(job);
        }
        tally::total().assert_grown(before, depth);
    })
}

fn lines(depth: u64, jobs: u64) -> f64 {
    #[derive(Clone, Copy, Default)]
    #[repr(align(64))]
    struct Line(u64);

    let mut lines = vec![Line::default(); ROOM];
    fills(depth, jobs, |depth| {
        let before = tally::total();
        lines.iter_mut().zip(0..depth).for_each(|(line, job)| line.0 = job);
        std::hint::black_box(&mut lines);
        lines[..depth as usize].iter().for_each(|line| Count::run(line.0));
        tally::total().assert_grown(before, depth);
    })
}
