//! What goes wrong between the acts, one file per hazard. Timing runs on the manual clock; what is about threads uses threads.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests watch real threads from outside")]

mod claims;
mod fan_out;
mod losses;
mod time_to_live;
mod user_code;
mod waking;

use super::{Claimer, Publisher, Queue, When};
use crate::clock::{Clock, ManualClock};
use crate::sync::EventCount;
use crate::tests::threads::within;
use crate::{Payload, PoolConfig, QueueConfig, Runtime};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn q(capacity: u64) -> QueueConfig {
    QueueConfig::new("q").capacity(capacity)
}

/// Runs `test` in a thread of its own and fails if it has not come back after 10 s.
fn watched<R: Send + 'static>(test: impl FnOnce() -> R + Send + 'static) -> R {
    within(Duration::from_secs(10), "the test", test)
}

/// Waits until `is_so`, for a few seconds at most. Says whether it came true.
fn soon(is_so: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() > Duration::from_secs(4) {
            return false;
        }
        std::thread::sleep(ms(1));
    }
    true
}

/// A queue alone: no threads, no runtime.
struct Bare<T: Payload> {
    queue: Arc<Queue<T>>,
    clock: ManualClock,
    publisher: Publisher,
}

impl<T: Payload> Bare<T> {
    fn new(config: &QueueConfig) -> Self {
        let bell = || Arc::new(EventCount::new());
        let until = Arc::new(crate::sync::atomic::AtomicU64::new(u64::MAX));
        let queue = Queue::new(config, ms(1), Duration::MAX, bell(), bell(), until).unwrap();
        let publisher = queue.open_publisher().unwrap();
        Bare { queue: Arc::new(queue), clock: ManualClock::new(), publisher }
    }

    fn publish(&self, job: impl Into<crate::Job<T>>) -> crate::JobId {
        self.queue.try_publish(&self.publisher, job.into(), When::Now, self.clock.now()).unwrap()
    }

    fn worker(&self) -> Claimer<T> {
        self.queue.open_claimer(0, false, 1).unwrap()
    }
}
