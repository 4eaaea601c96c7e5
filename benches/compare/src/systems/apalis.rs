//! apalis on its memory backend.
//!
//! A storage serves one worker, whose jobs run in the worker's own task: two workers would mean two queues, and `parallelize(tokio::spawn)` is slower still.
//! So the jobs are pushed in bulk and then run: its best case.

use super::{System, Work};
use apalis::prelude::{MemoryStorage, TaskSink, WorkerBuilder, WorkerContext};
use std::marker::PhantomData;
use std::ops::Range;

pub struct Apalis<W> {
    runtime: tokio::runtime::Runtime,
    work: PhantomData<W>,
}

impl<W: Work> Apalis<W> {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Apalis { runtime: runtime.expect("a runtime can be made"), work: PhantomData }
    }
}

/// A job; the last one of a run stops the worker.
#[derive(Debug, Clone, Copy)]
struct Job {
    number: u64,
    last: bool,
}

impl<W: Work> System for Apalis<W> {
    fn publish(&mut self, jobs: Range<u64>) {
        let last = jobs.end - 1;
        self.runtime.block_on(async {
            let mut storage = MemoryStorage::new();
            let batch = jobs.map(|number| Job { number, last: number == last }).collect();
            storage.push_bulk(batch).await.expect("it is open");
            let run = async |job: Job, worker: WorkerContext| {
                W::run(job.number);
                if job.last {
                    worker.stop().expect("it runs");
                }
            };
            WorkerBuilder::new("worker").backend(storage).build(run).run().await.expect("it stops when told to");
        });
    }

    fn stop(self, _: u64) {}
}
