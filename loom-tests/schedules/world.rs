//! What the scenarios share: tickets that know what happened to them, and the last look at the end.

use ringmill::clock::{Clock, Timestamp};
use ringmill::sync::atomic::AtomicU64 as Watched;
use ringmill::sync::thread::{self, JoinHandle};
use ringmill::sync::{Condvar, Mutex, UnsafeCell};
use ringmill::{Backoff, Idle, Payload, Placement, PoolConfig, Producer, QueueConfig, QueueHandle, QueueSnapshot, RetryPolicy, Undone};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The most jobs of a scenario.
const JOBS: usize = 16;

/// Time that stands still.
#[derive(Debug)]
pub struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(1_000_000_000)
    }
}

/// What became of the tickets. Nobody is scheduled by it.
#[derive(Debug, Default)]
pub struct Board {
    made: [AtomicU64; JOBS],
    dropped: [AtomicU64; JOBS],
    runs: [AtomicU64; JOBS],
    acked: [AtomicU64; JOBS],
    handed_back: [AtomicU64; JOBS],
    refused: [AtomicU64; JOBS],
}

/// A payload. Reading and dropping it are accesses that may not meet.
#[derive(Debug)]
pub struct Ticket {
    pub job: usize,
    alive: UnsafeCell<bool>,
    board: Arc<Board>,
}

// SAFETY: readers share the cell, and only the owner's drop writes it; the cell panics if the queue lets the two meet
unsafe impl Sync for Ticket {}
// SAFETY: nothing in it belongs to a thread
unsafe impl Send for Ticket {}

impl Payload for Ticket {}

impl Ticket {
    /// What a handler does.
    pub fn read(&self) -> usize {
        // SAFETY: only read, as everywhere but in the drop
        self.alive.with(|alive| assert!(unsafe { *alive }, "a dropped payload was read"));
        self.job
    }

    /// Reads it; the number of this run, from 1.
    pub fn run(&self) -> u64 {
        self.board.runs[self.read()].fetch_add(1, Relaxed) + 1
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.board.dropped[self.job].fetch_add(1, Relaxed);
        // SAFETY: the owner's last access
        self.alive.with_mut(|alive| unsafe { *alive = false });
    }
}

impl Board {
    pub fn ticket(self: &Arc<Self>, job: usize) -> Ticket {
        self.made[job].fetch_add(1, Relaxed);
        Ticket { job, alive: UnsafeCell::new(true), board: Arc::clone(self) }
    }

    /// Somebody's acknowledgement of it counted.
    pub fn ack(&self, job: usize) {
        assert_eq!(self.acked[job].fetch_add(1, Relaxed), 0, "job {job} was acked twice");
    }

    pub fn refuse(&self, job: usize) {
        assert_eq!(self.refused[job].fetch_add(1, Relaxed), 0, "job {job} was refused twice");
    }

    pub fn hand_back(&self, undone: &[Undone<Ticket>]) {
        for undone in undone {
            let job = undone.payload.read();
            assert_eq!(self.handed_back[job].fetch_add(1, Relaxed), 0, "job {job} was handed back twice");
        }
    }

    pub fn runs(&self, job: usize) -> u64 {
        self.runs[job].load(Relaxed)
    }

    pub fn acked(&self, job: usize) -> u64 {
        self.acked[job].load(Relaxed)
    }

    pub fn handed_back(&self, job: usize) -> u64 {
        self.handed_back[job].load(Relaxed)
    }

    pub fn refused(&self, job: usize) -> u64 {
        self.refused[job].load(Relaxed)
    }

    /// Everything is gone: each payload that was made was dropped, once.
    pub fn close(&self) {
        for job in 0..JOBS {
            let [made, dropped] = [&self.made, &self.dropped].map(|counts| counts[job].load(Relaxed));
            assert_eq!(dropped, made, "job {job} was made {made} times and dropped {dropped} times");
        }
    }
}

/// The runtime is down and everybody has come back: nothing is held, the books balance.
pub fn close_the_books(queue: &QueueSnapshot) {
    assert_eq!(queue.free, queue.capacity, "a slot was not given back: {queue:?}");
    assert!(queue.ledger_balances(), "the books do not balance: {queue:?}");
    assert_eq!(queue.publishers_waiting, 0, "a publisher waits still");
    assert_eq!(queue.counts.lingering_made, queue.counts.lingering_gone, "a stale holder never left");
    assert_eq!((queue.counts.drop_panics, queue.counts.panics), (0, 0), "a payload was dropped under a reader's eyes: {queue:?}");
    assert_eq!(queue.counts.wake_rescued, 0);
}

/// A small queue whose jobs come back at once, once.
pub fn config(capacity: u64) -> QueueConfig {
    QueueConfig::new("jobs")
        .capacity(capacity)
        .prefetch(2)
        .retry(RetryPolicy::new().max_attempts(2).backoff(Backoff::fixed(Duration::ZERO)))
}

pub fn pool(workers: usize) -> PoolConfig {
    PoolConfig::new("default").workers(workers).idle(Idle::Park).placement(Placement::None)
}

/// So many threads that publish the next `each` tickets each, as `publish` says.
pub fn publishers(
    jobs: &QueueHandle<Ticket>,
    board: &Arc<Board>,
    threads: usize,
    each: usize,
    publish: impl Fn(&Producer<Ticket>, &Arc<Board>, usize) + Clone + Send + 'static,
) -> Vec<JoinHandle<()>> {
    (0..threads)
        .map(|thread| {
            let (producer, board, publish) = (jobs.producer().unwrap(), Arc::clone(board), publish.clone());
            thread::spawn(move || (thread * each..(thread + 1) * each).for_each(|job| publish(&producer, &board, job)))
        })
        .collect()
}

/// Opens when so many things have happened.
#[derive(Debug)]
pub struct Latch {
    left: Mutex<usize>,
    open: Condvar,
}

impl Latch {
    pub fn new(things: usize) -> Self {
        Latch { left: Mutex::new(things), open: Condvar::new() }
    }

    pub fn happened(&self) {
        let mut left = self.left.lock();
        *left -= 1;
        if *left == 0 {
            self.open.notify_all();
        }
    }

    pub fn wait(&self) {
        let mut left = self.left.lock();
        while *left > 0 {
            left = self.open.wait(left);
        }
    }
}

/// So many are in there.
#[derive(Debug, Default)]
pub struct Inside(Watched);

impl Inside {
    /// Comes and goes, in several steps; panics when somebody else is in there.
    pub fn alone<R>(&self, act: impl FnOnce() -> R) -> R {
        // relaxed: everything is sequentially consistent here
        assert_eq!(self.0.fetch_add(1, Relaxed), 0, "a key is met twice at a time");
        let answer = act();
        self.0.fetch_sub(1, Relaxed);
        answer
    }
}
