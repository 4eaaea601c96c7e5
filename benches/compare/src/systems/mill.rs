//! ringmill, through its public interface: leases, retries, counts and histograms as they are by default.

use super::{CAPACITY, Crew, System, Work};
use crate::machine::{cpu_number, pin};
use ringmill::{Context, Idle, Overflow, Placement, PoolConfig, Producer, QueueConfig, QueueHandle, Runtime, ShutdownOptions};
use std::marker::PhantomData;
use std::ops::Range;
use std::thread::{self, JoinHandle};
use std::time::Duration;

const BATCH: u64 = 32;

/// What may differ from the defaults.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub crew: Crew,
    pub idle: Idle,
    pub visibility: Duration,
    pub max_lease: Duration,
}

impl Options {
    pub fn of(crew: Crew) -> Self {
        Options { crew, idle: Idle::default(), visibility: Duration::from_secs(30), max_lease: Duration::from_secs(600) }
    }

    pub fn idle(self, idle: Idle) -> Self {
        Options { idle, ..self }
    }

    pub fn visibility(self, visibility: Duration) -> Self {
        Options { visibility, ..self }
    }
}

/// A runtime with one queue; a publisher that finds it full waits.
pub struct Mill<W> {
    runtime: Runtime,
    queue: QueueHandle<u64>,
    producer: Producer<u64>,
    work: PhantomData<W>,
}

impl<W: Work> Mill<W> {
    pub fn start(options: Options) -> Self {
        let Options { crew, idle, visibility, max_lease } = options;
        let mut builder = Runtime::builder();
        let config = QueueConfig::new("jobs")
            .capacity(CAPACITY as u64)
            .overflow(Overflow::Block(Duration::MAX))
            .visibility(visibility)
            .max_lease(max_lease);
        let queue = builder.queue(config, |job: &u64, _: &Context<u64>| W::run(*job)).expect("the settings are valid");
        let mut pool = PoolConfig::new("default").workers(crew.workers).idle(idle);
        if let Some(first) = crew.first_cpu {
            let cpus: Option<Vec<usize>> = (first..first + crew.workers).map(cpu_number).collect();
            // where there are not as many CPUs nothing is pinned
            pool = pool.placement(cpus.map_or(Placement::None, |cpus| Placement::Cores(cpus.into())));
        }
        builder.pool(pool).expect("the settings are valid");
        let runtime = builder.build().expect("threads can be started");
        let producer = queue.producer().expect("accounts are left");
        Mill { runtime, queue, producer, work: PhantomData }
    }

    /// Another producer of the same queue.
    pub fn producer(&self) -> Producer<u64> {
        self.producer.try_clone().expect("accounts are left")
    }
}

/// `publish`, one by one.
impl<W: Work> System for Mill<W> {
    fn publish(&mut self, jobs: Range<u64>) {
        for job in jobs {
            self.publish_one(job);
        }
    }

    #[inline]
    fn publish_one(&mut self, job: u64) {
        self.producer.publish(job).expect("it is open");
    }

    fn is_idle(&self) -> bool {
        self.queue.depth() == 0
    }

    fn stop(self, jobs: u64) {
        let report = self.runtime.shutdown(ShutdownOptions::default());
        assert!(report.is_clean(), "undone jobs");
        let queue = report.queue("jobs").expect("it is there");
        assert!(queue.ledger_balances() && queue.counts.acked == jobs && queue.counts.wake_rescued == 0, "{queue:?}");
    }
}

/// 32 jobs a call. Where the queue is full it waits for a slot with the job that came back, then goes on with the rest.
pub fn publish_in_batches(producer: &Producer<u64>, jobs: Range<u64>) {
    for first in jobs.clone().step_by(BATCH as usize) {
        let mut batch = first..jobs.end.min(first + BATCH);
        while let Some(refused) = producer.publish_batch(&mut batch).refused {
            producer.publish(refused.into_inner()).expect("it is open");
        }
    }
}

/// `publish_batch`, 32 jobs a call.
pub struct Batches<W>(pub Mill<W>);

impl<W: Work> System for Batches<W> {
    fn publish(&mut self, jobs: Range<u64>) {
        publish_in_batches(&self.0.producer, jobs);
    }

    fn is_idle(&self) -> bool {
        self.0.is_idle()
    }

    fn stop(self, jobs: u64) {
        self.0.stop(jobs);
    }
}

/// A pull queue, and threads that receive from it.
pub struct Pull<W> {
    runtime: Runtime,
    producer: Producer<u64>,
    workers: Vec<JoinHandle<()>>,
    work: PhantomData<W>,
}

impl<W: Work> Pull<W> {
    pub fn start(crew: Crew) -> Self {
        let mut builder = Runtime::builder();
        let config = QueueConfig::new("jobs").capacity(CAPACITY as u64).overflow(Overflow::Block(Duration::MAX));
        let queue = builder.pull_queue::<u64>(config).expect("the settings are valid");
        let runtime = builder.build().expect("threads can be started");
        let worker = |number| {
            let consumer = queue.consumer().expect("accounts are left");
            thread::spawn(move || {
                if let Some(first) = crew.first_cpu {
                    pin(first + number);
                }
                while let Ok(delivery) = consumer.recv() {
                    W::run(*delivery.payload());
                    delivery.ack().expect("its lease has not run out");
                }
            })
        };
        let workers = (0..crew.workers).map(worker).collect();
        let producer = queue.producer().expect("accounts are left");
        Pull { runtime, producer, workers, work: PhantomData }
    }
}

impl<W: Work> System for Pull<W> {
    fn publish(&mut self, jobs: Range<u64>) {
        for job in jobs {
            self.producer.publish(job).expect("it is open");
        }
    }

    fn stop(self, jobs: u64) {
        let report = self.runtime.shutdown(ShutdownOptions::default());
        self.workers.into_iter().for_each(|worker| worker.join().expect("no job panics"));
        assert!(report.is_clean(), "undone jobs");
        assert_eq!(report.queue("jobs").expect("it is there").counts.acked, jobs);
    }
}
