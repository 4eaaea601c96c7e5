//! ringmill, through its public interface: leases, retries, counts and histograms as they are by default.

use super::{CAPACITY, System, WORKERS};
use crate::tally;
use ringmill::{Context, Overflow, PoolConfig, Producer, QueueConfig, QueueHandle, Runtime, ShutdownOptions};
use std::time::Duration;

const BATCH: u64 = 32;

struct Mill {
    runtime: Runtime,
    queue: QueueHandle<u64>,
    producer: Producer<u64>,
}

impl Mill {
    fn start() -> Self {
        let mut builder = Runtime::builder();
        let config = QueueConfig::new("jobs").capacity(CAPACITY as u64).overflow(Overflow::Block(Duration::MAX));
        let queue = builder.queue(config, |job: &u64, _: &Context<u64>| tally::count(*job)).expect("the settings are valid");
        builder.pool(PoolConfig::new("default").workers(WORKERS)).expect("the settings are valid");
        let runtime = builder.build().expect("threads can be started");
        let producer = queue.producer().expect("accounts are left");
        Mill { runtime, queue, producer }
    }

    fn stop(self, jobs: u64) {
        let report = self.runtime.shutdown(ShutdownOptions::default());
        assert!(report.is_clean(), "undone jobs");
        let queue = report.queue("jobs").expect("it is there");
        assert!(queue.ledger_balances() && queue.counts.acked == jobs && queue.counts.wake_rescued == 0, "{queue:?}");
    }
}

/// `publish`, one by one.
pub struct OneByOne(Mill);

impl System for OneByOne {
    fn start() -> Self {
        OneByOne(Mill::start())
    }

    fn publish(&mut self, jobs: u64) {
        for job in 0..jobs {
            self.0.producer.publish(job).expect("it is open");
        }
    }

    fn is_idle(&self) -> bool {
        self.0.queue.depth() == 0
    }

    fn stop(self, jobs: u64) {
        self.0.stop(jobs);
    }
}

/// `publish_batch`, 32 jobs a call.
pub struct Batches(Mill);

impl System for Batches {
    fn start() -> Self {
        Batches(Mill::start())
    }

    fn publish(&mut self, jobs: u64) {
        for first in (0..jobs).step_by(BATCH as usize) {
            let mut batch = first..jobs.min(first + BATCH);
            while let Some(refused) = self.0.producer.publish_batch(&mut batch).refused {
                // full: wait for a slot with the job that came back, then go on with the rest
                self.0.producer.publish(refused.into_inner()).expect("it is open");
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.0.queue.depth() == 0
    }

    fn stop(self, jobs: u64) {
        self.0.stop(jobs);
    }
}
