//! A queue of the `ring` suite with threads behind it, as a job system: what a queue alone costs.

use super::{Crew, System, Work};
use crate::machine::pin;
use crate::ring::queue::{Consumer, Producer, Queue, Taken};
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

/// Workers that wait as the queue waits; at one that does not wait they spin.
pub struct Through<Q: Queue, W> {
    producer: Q::Producer,
    stopping: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
    work: PhantomData<W>,
}

impl<Q: Queue, W: Work> Through<Q, W> {
    pub fn start(crew: Crew) -> Self {
        let (mut producers, consumers) = Q::open(1, crew.workers);
        let stopping = Arc::new(AtomicBool::new(false));
        let worker = |(number, consumer)| {
            let stopping = Arc::clone(&stopping);
            thread::spawn(move || {
                if let Some(first) = crew.first_cpu {
                    pin(first + number);
                }
                work::<W>(consumer, &stopping);
            })
        };
        let workers = consumers.into_iter().enumerate().map(worker).collect();
        let producer = producers.pop().expect("one was asked for");
        Through { producer, stopping, workers, work: PhantomData }
    }
}

fn work<W: Work>(mut consumer: impl Consumer, stopping: &AtomicBool) {
    loop {
        match consumer.pop() {
            Taken::Some { count, sum } => {
                assert_eq!(count, 1, "only queues that are popped one by one tell which job it was");
                W::run(sum);
            }
            Taken::Closed => return,
            Taken::Nothing if stopping.load(Relaxed) => return,
            Taken::Nothing => std::hint::spin_loop(),
        }
    }
}

impl<Q: Queue, W: Work> System for Through<Q, W> {
    fn publish(&mut self, jobs: Range<u64>) {
        for job in jobs {
            self.publish_one(job);
        }
    }

    #[inline]
    fn publish_one(&mut self, job: u64) {
        while self.producer.push(job, job + 1) == 0 {
            std::hint::spin_loop();
        }
    }

    fn stop(self, _: u64) {
        self.stopping.store(true, Relaxed);
        drop(self.producer);
        self.workers.into_iter().for_each(|worker| worker.join().expect("no job panics"));
    }
}
