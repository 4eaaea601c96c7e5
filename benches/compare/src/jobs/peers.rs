//! What else runs jobs inside a process. None of it has leases, retries, dead letters or a bound on jobs in flight.

use super::{CAPACITY, System, WORKERS};
use crate::tally;
use crossbeam_channel::Sender;
use std::thread::{self, JoinHandle};

/// Threads that run what comes through a channel.
struct Threads<J> {
    sender: Sender<J>,
    workers: Vec<JoinHandle<u64>>,
}

impl<J: Send + 'static> Threads<J> {
    fn start(run: impl Fn(J) + Send + Copy + 'static) -> Self {
        let (sender, receiver) = crossbeam_channel::bounded(CAPACITY);
        let worker = || {
            let receiver = receiver.clone();
            thread::spawn(move || receiver.iter().map(run).count() as u64)
        };
        Threads { sender, workers: (0..WORKERS).map(|_| worker()).collect() }
    }

    fn stop(self, jobs: u64) {
        drop(self.sender);
        let ran: u64 = self.workers.into_iter().map(|worker| worker.join().expect("no job panics")).sum();
        assert_eq!(ran, jobs);
    }
}

/// The usual thing: a bounded channel of boxed closures.
pub struct Boxed(Threads<Box<dyn FnOnce() + Send>>);

impl System for Boxed {
    fn start() -> Self {
        Boxed(Threads::start(|job: Box<dyn FnOnce() + Send>| job()))
    }

    fn publish(&mut self, jobs: u64) {
        for job in 0..jobs {
            self.0.sender.send(Box::new(move || tally::count(job))).expect("it is open");
        }
    }

    fn stop(self, jobs: u64) {
        self.0.stop(jobs);
    }
}

/// As little as a job can be: a function and a number.
pub struct Bare(Threads<(fn(u64), u64)>);

impl System for Bare {
    fn start() -> Self {
        Bare(Threads::start(|(run, job): (fn(u64), u64)| run(job)))
    }

    fn publish(&mut self, jobs: u64) {
        for job in 0..jobs {
            self.0.sender.send((tally::count, job)).expect("it is open");
        }
    }

    fn stop(self, jobs: u64) {
        self.0.stop(jobs);
    }
}

/// A scope's spawns from outside the pool, so that there are a producer and two workers here too.
pub struct Rayon(rayon::ThreadPool);

impl System for Rayon {
    fn start() -> Self {
        Rayon(rayon::ThreadPoolBuilder::new().num_threads(WORKERS).build().expect("threads can be started"))
    }

    fn publish(&mut self, jobs: u64) {
        self.0.in_place_scope(|scope| {
            for job in 0..jobs {
                scope.spawn(move |_| tally::count(job));
            }
        });
    }

    fn stop(self, _: u64) {}
}

pub struct ThreadPool(threadpool::ThreadPool);

impl System for ThreadPool {
    fn start() -> Self {
        ThreadPool(threadpool::ThreadPool::new(WORKERS))
    }

    fn publish(&mut self, jobs: u64) {
        for job in 0..jobs {
            self.0.execute(move || tally::count(job));
        }
    }

    fn stop(self, _: u64) {
        self.0.join();
        assert_eq!(self.0.panic_count(), 0);
    }
}

pub struct Tokio(tokio::runtime::Runtime);

impl System for Tokio {
    fn start() -> Self {
        Tokio(tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).build().expect("threads can be started"))
    }

    fn publish(&mut self, jobs: u64) {
        for job in 0..jobs {
            drop(self.0.spawn(async move { tally::count(job) }));
        }
    }

    fn stop(self, _: u64) {}
}
