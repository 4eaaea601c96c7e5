//! What leases, retries, histograms and the ledger cost, as far as it shows from outside: the whole cycle on one thread, less the bare data path on one thread.
//!
//! On a clock that stands still the reading of the clock is left out; on the machine's own it is in.

use super::{Count, SUITE};
use crate::contest::{Better, Contest, Metric, Readings, Role, Subject};
use crate::effort::{Amount, Effort};
use crate::ring::{CHUNK, mill, solo};
use crate::systems::Work;
use crate::tally;
use ringmill::clock::{Clock, ManualClock, SystemClock};
use ringmill::{Context, Producer, QueueConfig, Runtime};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Jobs that are published before they are run.
const BURST: u64 = 512;

pub fn contest(effort: &Effort) -> Contest {
    let metric = |shape: &str| Metric::new(shape, "ns/job", Better::Lower);
    let metrics = vec![metric("semantics, solo: full cycle"), metric("semantics, solo: beyond credits + slab + lane")];
    let still = || Arc::new(ManualClock::new()) as Arc<dyn Clock>;
    let ticking = || Arc::new(SystemClock::new()) as Arc<dyn Clock>;
    let bare = solo::nanos_per_item::<mill::Single<mill::Credits<1>>>;
    let bare_batches = solo::nanos_per_item::<mill::Chunks<mill::Credits<CHUNK>>>;
    Contest::of_many(SUITE, "semantics, solo", metrics)
        .with(subject("publish, clock stands still", effort, still, one_by_one, bare))
        .with(subject("publish_batch(32), clock stands still", effort, still, in_batches, bare_batches))
        .with(subject("publish, system clock", effort, ticking, one_by_one, bare))
        .with(subject("publish_batch(32), system clock", effort, ticking, in_batches, bare_batches))
}

type Publish = fn(&Producer<u64>, u64);

fn one_by_one(producer: &Producer<u64>, first: u64) {
    for job in first..first + BURST {
        producer.publish(job).expect("there is room for a burst");
    }
}

fn in_batches(producer: &Producer<u64>, first: u64) {
    for first in (first..first + BURST).step_by(CHUNK) {
        let batch = producer.publish_batch(&mut (first..first + CHUNK as u64));
        assert_eq!(batch.accepted, CHUNK, "there is room for a burst");
    }
}

fn subject(name: &str, effort: &Effort, clock: fn() -> Arc<dyn Clock>, publish: Publish, bare: fn(u64) -> f64) -> Subject {
    let mut amount = Amount::for_run(effort.run);
    Subject::new(name, Role::Mill, move || -> Readings {
        let jobs = amount.find(|jobs| cycles(clock(), publish, jobs));
        let full = cycles(clock(), publish, jobs).as_nanos() as f64 / jobs.next_multiple_of(BURST) as f64;
        vec![Some(full), Some(full - bare(jobs))]
    })
}

/// Bursts through a runtime without threads.
fn cycles(clock: Arc<dyn Clock>, publish: Publish, jobs: u64) -> Duration {
    let jobs = jobs.next_multiple_of(BURST);
    // without threads, but by the given clock
    let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new())).clock(clock);
    let config = QueueConfig::new("jobs").capacity(2 * BURST);
    let queue = builder.queue(config, |job: &u64, _: &Context<u64>| Count::run(*job)).expect("the settings are valid");
    let runtime = builder.build().expect("nothing has to be started");
    let producer = queue.producer().expect("accounts are left");
    let before = tally::total();
    let began = Instant::now();
    for first in (0..jobs).step_by(BURST as usize) {
        publish(&producer, first);
        runtime.turn();
    }
    let took = began.elapsed();
    tally::total().assert_grown(before, jobs);
    let queue = queue.snapshot();
    assert!(queue.ledger_balances() && queue.counts.acked == jobs, "{queue:?}");
    took
}
