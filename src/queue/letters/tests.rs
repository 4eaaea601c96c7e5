//! What acts by hand do to each other, and whose thread runs user code.

#![allow(clippy::disallowed_methods)]

use crate::clock::ManualClock;
use crate::tests::threads::mpsc;
use crate::{Job, MissedPeriods, PoolConfig, QueueConfig, Runtime};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Purging disposes of expired jobs, which writes dead letters; redriving takes letters and publishes them. Both need the queue's own accounts and
/// the dead letters, and must lock them in the same order.
#[test]
fn purging_and_redriving_at_once_do_not_wait_for_each_other_for_ever() {
    let clock = Arc::new(ManualClock::new());
    let mut builder = Runtime::builder().manual(Arc::clone(&clock));
    let jobs = builder.pull_queue::<u32>(QueueConfig::new("jobs").capacity(512)).unwrap();
    let runtime = builder.build().unwrap();
    let producer = jobs.producer().unwrap();
    let (done, is_done) = mpsc::channel();
    for round in 0..40 {
        while producer.publish(Job::new(round).ttl(MS)).is_ok() {}
        runtime.advance(&clock, 2 * MS);
        let (purger, redriver, purged) = (jobs.clone(), jobs.clone(), Arc::new(AtomicBool::new(false)));
        let stop = Arc::clone(&purged);
        let threads = [
            std::thread::spawn(move || {
                purger.purge();
                purged.store(true, Relaxed);
            }),
            std::thread::spawn(move || {
                while !stop.load(Relaxed) {
                    let _ = redriver.dead_letters().redrive();
                }
            }),
        ];
        let done = done.clone();
        std::thread::spawn(move || {
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            done.send(()).unwrap();
        });
        if is_done.recv_timeout(Duration::from_secs(20)).is_err() {
            // its shutdown would wait for the same locks
            std::mem::forget(runtime);
            panic!("round {round}: purge and redrive wait for each other");
        }
        jobs.purge();
        jobs.dead_letters().purge();
    }
    drop(runtime);
}

/// Says which thread dropped it, and panics.
struct Bomb(mpsc::Sender<()>);

impl Drop for Bomb {
    fn drop(&mut self) {
        let _ = self.0.send(());
        panic!("dropped");
    }
}

#[test]
fn a_stopped_period_is_dropped_by_a_worker_whose_panics_are_caught() {
    let clock = Arc::new(ManualClock::new());
    let mut builder = Runtime::builder().manual(Arc::clone(&clock));
    let jobs = builder.queue(QueueConfig::new("jobs").capacity(8), |_: &u32, _: &_| ()).unwrap();
    builder.pool(PoolConfig::new("default").workers(1)).unwrap();
    let runtime = builder.build().unwrap();
    let (sender, dropped) = mpsc::channel();
    let bomb = Bomb(sender);
    let periodic = jobs
        .producer()
        .unwrap()
        .every(10 * MS, MissedPeriods::Skip, move || {
            let _ = &bomb;
            1u32
        })
        .unwrap();
    runtime.advance(&clock, 15 * MS);
    periodic.stop();
    // the timer notices; the panic of the drop must not come out of its turn
    runtime.advance(&clock, 20 * MS);
    dropped.try_recv().expect("what a stopped period holds is dropped");
    assert_eq!(runtime.snapshot().queues[0].counts.drop_panics, 1);
}
