//! What else runs jobs inside a process. None of it has leases, retries, dead letters or a bound on jobs in flight.

use super::{CAPACITY, Crew, System, Work};
use crate::machine::pin;
use crossbeam_channel::Sender;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

/// Pins the threads that ask, one CPU after the other.
#[derive(Clone)]
struct Places {
    first: Option<usize>,
    taken: Arc<AtomicUsize>,
}

impl Places {
    fn of(crew: Crew) -> Self {
        Places { first: crew.first_cpu, taken: Arc::default() }
    }

    fn take(&self) {
        if let Some(first) = self.first {
            pin(first + self.taken.fetch_add(1, Relaxed));
        }
    }
}

// ---- threads that run what comes through a channel ----

struct Threads<J> {
    sender: Sender<J>,
    workers: Vec<JoinHandle<u64>>,
}

impl<J: Send + 'static> Threads<J> {
    fn start(crew: Crew, run: impl Fn(J) + Send + Copy + 'static) -> Self {
        let (sender, receiver) = crossbeam_channel::bounded(CAPACITY);
        let places = Places::of(crew);
        let worker = || {
            let (receiver, places) = (receiver.clone(), places.clone());
            thread::spawn(move || {
                places.take();
                receiver.iter().map(run).count() as u64
            })
        };
        Threads { sender, workers: (0..crew.workers).map(|_| worker()).collect() }
    }

    fn stop(self, jobs: u64) {
        drop(self.sender);
        let ran: u64 = self.workers.into_iter().map(|worker| worker.join().expect("no job panics")).sum();
        assert_eq!(ran, jobs);
    }
}

type Closure = Box<dyn FnOnce() + Send>;

/// The usual thing: a bounded channel of boxed closures.
pub struct Boxed<W> {
    threads: Threads<Closure>,
    work: PhantomData<W>,
}

impl<W: Work> Boxed<W> {
    pub fn start(crew: Crew) -> Self {
        Boxed { threads: Threads::start(crew, |job: Closure| job()), work: PhantomData }
    }

    /// Another way in.
    pub fn sender(&self) -> Sender<Closure> {
        self.threads.sender.clone()
    }

    #[inline]
    pub fn job(job: u64) -> Closure {
        Box::new(move || W::run(job))
    }
}

impl<W: Work> System for Boxed<W> {
    fn publish(&mut self, jobs: Range<u64>) {
        for job in jobs {
            self.threads.sender.send(Self::job(job)).expect("it is open");
        }
    }

    fn stop(self, jobs: u64) {
        self.threads.stop(jobs);
    }
}

/// As little as a job can be: a function and a number.
pub struct Bare<W> {
    threads: Threads<(fn(u64), u64)>,
    work: PhantomData<W>,
}

impl<W: Work> Bare<W> {
    pub fn start(crew: Crew) -> Self {
        Bare { threads: Threads::start(crew, |(run, job): (fn(u64), u64)| run(job)), work: PhantomData }
    }
}

impl<W: Work> System for Bare<W> {
    fn publish(&mut self, jobs: Range<u64>) {
        for job in jobs {
            self.threads.sender.send((W::run, job)).expect("it is open");
        }
    }

    fn stop(self, jobs: u64) {
        self.threads.stop(jobs);
    }
}

// ---- pools ----

/// A scope's spawns from outside the pool, so that there are a producer and workers here too.
pub struct Rayon<W> {
    pool: rayon::ThreadPool,
    work: PhantomData<W>,
}

impl<W: Work> Rayon<W> {
    pub fn start(crew: Crew) -> Self {
        let places = Places::of(crew);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(crew.workers).start_handler(move |_| places.take());
        Rayon { pool: pool.build().expect("threads can be started"), work: PhantomData }
    }
}

impl<W: Work> System for Rayon<W> {
    fn publish(&mut self, jobs: Range<u64>) {
        self.pool.in_place_scope(|scope| {
            for job in jobs {
                scope.spawn(move |_| W::run(job));
            }
        });
    }

    fn publish_one(&mut self, job: u64) {
        self.pool.spawn(move || W::run(job));
    }

    fn stop(self, _: u64) {}
}

/// Its workers cannot be pinned.
pub struct ThreadPool<W> {
    pool: threadpool::ThreadPool,
    work: PhantomData<W>,
}

impl<W: Work> ThreadPool<W> {
    pub fn start(crew: Crew) -> Self {
        ThreadPool { pool: threadpool::ThreadPool::new(crew.workers), work: PhantomData }
    }
}

impl<W: Work> System for ThreadPool<W> {
    fn publish(&mut self, jobs: Range<u64>) {
        for job in jobs {
            self.pool.execute(move || W::run(job));
        }
    }

    fn stop(self, _: u64) {
        self.pool.join();
        assert_eq!(self.pool.panic_count(), 0);
    }
}

pub struct Tokio<W> {
    runtime: tokio::runtime::Runtime,
    work: PhantomData<W>,
}

impl<W: Work> Tokio<W> {
    pub fn start(crew: Crew) -> Self {
        let places = Places::of(crew);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(crew.workers).on_thread_start(move || places.take()).build();
        Tokio { runtime: runtime.expect("threads can be started"), work: PhantomData }
    }
}

impl<W: Work> System for Tokio<W> {
    fn publish(&mut self, jobs: Range<u64>) {
        for job in jobs {
            drop(self.runtime.spawn(async move { W::run(job) }));
        }
    }

    fn stop(self, _: u64) {}
}
