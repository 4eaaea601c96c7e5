//! One job at a time, at a steady pace: when does it start, how long does the publish take, what CPU do the workers use?

use crate::contest::{Better, Metric, Readings};
use crate::effort::Effort;
use crate::machine::{OthersCpu, nanos, pin, tick_nanos, ticks};
use crate::statistics::quantile;
use crate::systems::{System, Work};
use crate::tally;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::thread;
use std::time::Duration;

const JOBS_MAX: usize = 1 << 14;
const WARM_UP: u64 = 50;

/// When each job of the run started; zero: it did not yet. One run at a time.
static STARTED: [AtomicU64; JOBS_MAX] = [const { AtomicU64::new(0) }; JOBS_MAX];

/// The job: notes when it started.
pub struct Arrival;

impl Work for Arrival {
    #[inline]
    fn run(job: u64) {
        let now = ticks();
        STARTED[job as usize].store(now, Release);
        tally::count(job);
    }
}

pub fn name(gap: Duration) -> String {
    format!("every {} us", gap.as_micros())
}

pub fn metrics(shape: &str) -> Vec<Metric> {
    let metric = |what, unit| Metric::new(format!("{shape}, {what}"), unit, Better::Lower);
    vec![
        metric("publish to start, p50", "us"),
        metric("publish to start, p99", "us"),
        metric("publish to start, max", "us"),
        metric("publish call, p50", "us"),
        metric("publish call, p99", "us"),
        metric("CPU of all but the publisher", "% of a CPU"),
    ]
}

/// Runs of jobs that are `gap` apart, from a publisher on the first CPU.
pub fn run<S: System, F: Fn() -> S>(gap: Duration, effort: &Effort, start: F) -> impl FnMut() -> Readings + use<S, F> {
    let length = effort.pick(Duration::from_millis(300), Duration::from_millis(60));
    let jobs = ((length.as_nanos() / gap.as_nanos()) as u64).min(JOBS_MAX as u64 - WARM_UP);
    let gap = (gap.as_nanos() as f64 / tick_nanos()) as u64;
    move || {
        let mut system = start();
        let before = tally::total();
        // in a thread of its own, so that the caller stays unpinned
        let readings = thread::scope(|scope| {
            let publish = || {
                pin(0);
                publish_all(&mut system, gap, jobs)
            };
            scope.spawn(publish).join().expect("a publisher panicked")
        });
        tally::total().assert_grown(before, WARM_UP + jobs);
        system.stop(WARM_UP + jobs);
        readings
    }
}

fn publish_all(system: &mut impl System, gap: u64, jobs: u64) -> Readings {
    STARTED.iter().for_each(|started| started.store(0, Relaxed));
    let before = tally::total();
    let mut due = ticks();
    let mut publish = |job| {
        while ticks() < due {
            std::hint::spin_loop();
        }
        let began = ticks();
        system.publish_one(job);
        let ended = ticks();
        // not sooner because it is late
        due = ended.max(due + gap);
        (began, ended - began)
    };
    for job in 0..WARM_UP {
        publish(job);
    }
    let cpu = OthersCpu::start();
    let published: Vec<(u64, u64)> = (WARM_UP..WARM_UP + jobs).map(&mut publish).collect();
    let percent = cpu.percent();
    tally::wait(before, WARM_UP + jobs, || true);
    let starts = published.iter().zip(&STARTED[WARM_UP as usize..]).map(|((began, _), started)| {
        let started = started.load(Acquire);
        assert!(started > 0, "a job did not start");
        started.saturating_sub(*began)
    });
    let starts = sorted(starts.collect());
    let calls = sorted(published.iter().map(|(_, took)| *took).collect());
    let micros = |times: &[u64], at| Some(nanos(quantile(times, at) as u64) as f64 / 1e3);
    vec![micros(&starts, 500), micros(&starts, 990), micros(&starts, 1_000), micros(&calls, 500), micros(&calls, 990), Some(percent)]
}

fn sorted(mut times: Vec<u64>) -> Vec<u64> {
    times.sort_unstable();
    times
}
