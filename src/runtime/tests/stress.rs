//! Starting, stopping, sleeping and waking, over and over, on real threads.

use crate::tests::threads::{Mutex, mpsc, within};
use crate::{
    Context, Idle, JobError, Overflow, Placement, PoolConfig, Producer, QueueConfig, QueueHandle, Runtime, ShutdownOptions, ShutdownReport,
};
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Release},
};
use std::thread;
use std::time::{Duration, Instant};

struct Cycle {
    runtime: Option<Runtime>,
    queue: QueueHandle<u64>,
    pull: QueueHandle<u64>,
    stop: Arc<AtomicBool>,
    /// Filled for a handler to take and shut down.
    mine: Arc<Mutex<Option<Runtime>>>,
    reports: mpsc::Receiver<ShutdownReport>,
}

fn cycle(workers: usize) -> Cycle {
    let mut builder = Runtime::builder();
    let mine: Arc<Mutex<Option<Runtime>>> = Arc::default();
    let (send, reports) = mpsc::channel();
    let theirs = Arc::clone(&mine);
    let handler = move |job: &u64, context: &Context<u64>| {
        let runtime = theirs.try_lock().ok().and_then(|mut runtime| runtime.take());
        if let Some(runtime) = runtime {
            let _ = send.send(runtime.shutdown(ShutdownOptions::default()));
        }
        if job.is_multiple_of(16) && context.attempt() == 1 { Err(JobError::transient("once")) } else { Ok(()) }
    };
    let config = |name: &str| QueueConfig::new(name).capacity(64).overflow(Overflow::Block(Duration::from_millis(50)));
    let queue = builder.queue(config("push"), handler).unwrap();
    let pull = builder.pull_queue(config("pull")).unwrap();
    builder.pool(PoolConfig::new("default").workers(workers).placement(Placement::None)).unwrap();
    let runtime = Some(builder.build().unwrap());
    Cycle { runtime, queue, pull, stop: Arc::default(), mine, reports }
}

fn load(cycle: &Cycle) -> Vec<thread::JoinHandle<()>> {
    let publish = |producer: Producer<u64>, stop: Arc<AtomicBool>| {
        move || {
            let mut jobs = 0..;
            while !stop.load(Acquire) && !producer.publish(jobs.next().unwrap()).is_err_and(|error| error.is_closed()) {}
        }
    };
    let consumer = cycle.pull.consumer().unwrap();
    let receive = move || {
        while let Ok(delivery) = consumer.recv() {
            let _ = delivery.ack();
        }
    };
    let producers = [cycle.queue.producer().unwrap(), cycle.pull.producer().unwrap()];
    let mut threads: Vec<_> = producers.map(|producer| thread::spawn(publish(producer, Arc::clone(&cycle.stop)))).into();
    threads.push(thread::spawn(receive));
    threads
}

/// Ends by turns: graceful, out of time, dropped, from a handler.
fn start_and_stop(turn: u64) {
    let mut cycle = cycle(1 + turn as usize % 3);
    let threads = load(&cycle);
    thread::sleep(Duration::from_micros(turn.wrapping_mul(0x9E37_79B9) % 1_500));
    let runtime = cycle.runtime.take().unwrap();
    let report = match turn % 4 {
        0 => Some(runtime.shutdown(ShutdownOptions::new(Duration::from_secs(2), Duration::from_secs(1)))),
        1 => Some(runtime.shutdown(ShutdownOptions::new(Duration::ZERO, Duration::ZERO))),
        2 => {
            drop(runtime);
            None
        }
        _ => {
            *cycle.mine.lock().unwrap() = Some(runtime);
            Some(cycle.reports.recv().unwrap())
        }
    };
    cycle.stop.store(true, Release);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let mut report = report;
    // workers that were given no time come back by themselves
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let undone = report.as_mut().map_or(0, |report| report.take_undone(&cycle.queue).len() + report.take_undone(&cycle.pull).len());
        let late = cycle.queue.reclaim().len() + cycle.pull.reclaim().len();
        let _ = (undone, late);
        let (push, pull) = (cycle.queue.snapshot(), cycle.pull.snapshot());
        if push.held() + pull.held() == 0 && push.ledger_balances() && pull.ledger_balances() {
            assert_eq!(push.counts.wake_rescued + pull.counts.wake_rescued, 0);
            return;
        }
        assert!(Instant::now() < deadline, "turn {turn}: {push:?} {pull:?}");
        thread::sleep(Duration::from_micros(100));
    }
}

fn cycles(count: u64) {
    for turn in 0..count {
        within(Duration::from_secs(5), &format!("start and stop {turn}"), move || start_and_stop(turn));
    }
    // the workers' threads are detached: they say that they are gone right before they are
    let deadline = Instant::now() + Duration::from_secs(5);
    while runtime_threads() > 0 {
        assert!(Instant::now() < deadline, "{} threads of gone runtimes are left", runtime_threads());
        thread::sleep(Duration::from_millis(1));
    }
}

/// Threads named as the cycles' own are; other tests of this binary name their pools otherwise, or are awaited.
fn runtime_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks.filter(|task| std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with("rm-"))).count()
}

#[test]
fn five_hundred_runtimes_start_and_stop_under_load() {
    cycles(500);
}

/// `cargo test --release --lib -- --ignored a_hundred_thousand`
#[test]
#[ignore = "takes about half an hour"]
fn a_hundred_thousand_runtimes_start_and_stop_under_load() {
    cycles(100_000);
}

/// The pool sleeps before every job; the job must wake it.
fn naps(count: u64, workers: usize) {
    let mut builder = Runtime::builder();
    let done = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&done);
    let handler = move |_: &u64, _: &Context<u64>| {
        seen.fetch_add(1, Release);
    };
    let queue = builder.queue(QueueConfig::new("push").capacity(64), handler).unwrap();
    builder.pool(PoolConfig::new("default").workers(workers).idle(Idle::Park).placement(Placement::None)).unwrap();
    let runtime = builder.build().unwrap();
    let producer = queue.producer().unwrap();
    let mut slowest = Duration::ZERO;
    for job in 0..count {
        // now and then give the workers time to sleep, mostly race their way there
        if job % 4 == 0 {
            thread::sleep(Duration::from_micros(job % 97));
        }
        let published = Instant::now();
        producer.publish(job).unwrap();
        while done.load(Acquire) <= job {
            assert!(published.elapsed() < Duration::from_secs(5), "job {job} is not run: {:?}", runtime.snapshot());
            thread::yield_now();
        }
        slowest = slowest.max(published.elapsed());
    }
    let snapshot = runtime.snapshot();
    let parks: u64 = snapshot.pools.iter().flat_map(|pool| &pool.parks).sum();
    println!("{count} jobs, {parks} sleeps, slowest start {slowest:?}");
    assert!(parks > count / 100, "only {parks} sleeps in {count} jobs");
    assert_eq!(runtime.shutdown(ShutdownOptions::default()).snapshot().wake_rescued(), 0);
}

#[test]
fn every_sleeping_worker_is_woken_by_its_job() {
    naps(20_000, 1);
    naps(20_000, 3);
}

/// `cargo test --release --lib -- --ignored ten_million`
#[test]
#[ignore = "takes about ten minutes"]
fn every_sleeping_worker_is_woken_by_its_job_ten_million_times() {
    naps(10_000_000, 2);
}
