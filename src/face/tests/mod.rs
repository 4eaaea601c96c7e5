//! The behaviour of the public face, one file per theme. Timing rules run on the manual clock and sleep nowhere; what is about threads uses threads.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests watch real threads from outside")]

mod ages;
mod bad_input;
mod breaker;
mod buffered;
mod caller_runs;
mod capacity;
mod completions;
mod dead_letters;
mod dedupe;
mod delivering;
mod exchanges;
mod follow_ups;
mod futures;
mod handlers;
mod handles;
mod misuse;
mod onward;
mod over;
mod partitions;
mod publishing;
mod routed_futures;
mod settling;
mod shutdown;
mod stopped;
mod stopped_at_shutdown;
mod timing;
mod together;
mod wakers;
mod watched_many;
mod windows;

use crate::clock::ManualClock;
use crate::tests::threads::{mpsc, within};
use crate::{
    Backoff, Consumer, Counts, Delivery, Handler, Invalid, Payload, PoolConfig, Producer, QueueConfig, QueueHandle, QueueSnapshot,
    RetryPolicy, Runtime, ShutdownOptions,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Runs `test` in a thread of its own and fails if it has not come back after 30 s: nothing may hang.
fn watched<R: Send + 'static>(test: impl FnOnce() -> R + Send + 'static) -> R {
    within(secs(30), "the test", test)
}

/// Waits for something that other threads are about to make true.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < secs(20), "never: {what}");
        std::thread::sleep(ms(1));
    }
}

/// A shutdown that waits for nobody.
fn at_once() -> ShutdownOptions {
    ShutdownOptions::new(Duration::ZERO, Duration::ZERO)
}

/// A door that stays shut until it is opened, for handlers that hang.
#[derive(Clone, Default)]
struct Door(Arc<AtomicBool>);

impl Door {
    fn open(&self) {
        self.0.store(true, SeqCst);
    }

    fn pass(&self) {
        eventually("the door opens", || self.0.load(SeqCst));
    }
}

/// Counts the payloads that live.
#[derive(Debug, Clone, Default)]
struct Census(Arc<AtomicI64>);

impl Census {
    fn born(&self, number: u32) -> Counted {
        self.0.fetch_add(1, SeqCst);
        Counted { number, census: self.clone() }
    }

    fn alive(&self) -> i64 {
        self.0.load(SeqCst)
    }
}

/// A payload that is counted, to show that nothing is lost or dropped twice.
#[derive(Debug)]
struct Counted {
    number: u32,
    census: Census,
}

impl Payload for Counted {
    fn validate(&self) -> Result<(), Invalid> {
        if self.number == u32::MAX { Err(Invalid::new("the number is too large")) } else { Ok(()) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.census.0.fetch_sub(1, SeqCst);
    }
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "as planned");
    }
}

/// A pull queue under the manual clock.
struct Pull<T: Payload> {
    clock: Arc<ManualClock>,
    runtime: Runtime,
    queue: QueueHandle<T>,
    producer: Producer<T>,
    consumer: Consumer<T>,
}

impl<T: Payload> Pull<T> {
    fn new(config: QueueConfig) -> Self {
        let clock = Arc::new(ManualClock::new());
        let mut builder = Runtime::builder().manual(Arc::clone(&clock));
        let queue = builder.pull_queue(config).unwrap();
        let runtime = builder.build().unwrap();
        let (producer, consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
        Pull { clock, runtime, queue, producer, consumer }
    }

    fn advance(&self, by: Duration) {
        self.runtime.advance(&self.clock, by);
    }

    fn get(&self) -> Option<Delivery<T>> {
        self.consumer.try_recv().ok()
    }

    /// Receives and acks whatever is ready, in its order, with a look at each.
    fn ack_all<V>(&self, look: impl Fn(&Delivery<T>) -> V) -> Vec<V> {
        let seen = |delivery: Delivery<T>| {
            let seen = look(&delivery);
            delivery.ack().unwrap();
            seen
        };
        std::iter::from_fn(|| self.get()).map(seen).collect()
    }

    fn seen(&self) -> QueueSnapshot {
        snapshot(&self.runtime)
    }

    fn counts(&self) -> Counts {
        self.seen().counts
    }

    /// Nothing is in motion: everything adds up.
    fn settled(&self) -> Counts {
        adds_up(&self.runtime)
    }
}

/// A queue with a handler, under the manual clock.
struct Push<T: Payload> {
    clock: Arc<ManualClock>,
    runtime: Runtime,
    queue: QueueHandle<T>,
    producer: Producer<T>,
}

impl<T: Payload> Push<T> {
    fn new(config: QueueConfig, handler: impl Handler<T>) -> Self {
        Self::on(Arc::new(ManualClock::new()), config, handler)
    }

    /// On a clock that the handler knows.
    fn on(clock: Arc<ManualClock>, config: QueueConfig, handler: impl Handler<T>) -> Self {
        let mut builder = Runtime::builder().manual(Arc::clone(&clock));
        let queue = builder.queue(config, handler).unwrap();
        builder.pool(PoolConfig::new("default").workers(1)).unwrap();
        let runtime = builder.build().unwrap();
        let producer = queue.producer().unwrap();
        Push { clock, runtime, queue, producer }
    }

    fn advance(&self, by: Duration) {
        self.runtime.advance(&self.clock, by);
    }

    fn turn(&self) {
        self.runtime.turn();
    }

    fn settled(&self) -> Counts {
        adds_up(&self.runtime)
    }
}

fn snapshot(runtime: &Runtime) -> QueueSnapshot {
    runtime.snapshot().queues.remove(0)
}

/// The ledger identity and the capacity identity of every queue.
fn adds_up(runtime: &Runtime) -> Counts {
    let snapshot = runtime.snapshot();
    for queue in &snapshot.queues {
        assert!(queue.ledger_balances(), "the ledger does not balance: {queue:#?}");
        let phases = queue.phases;
        let occupied = phases.ready + phases.running + phases.delayed + phases.zombies + phases.held;
        assert_eq!(queue.free + occupied, queue.capacity, "slots are missing: {queue:#?}");
    }
    snapshot.queues[0].counts
}

/// Retries at once, `attempts` times.
fn at_once_up_to(attempts: u32) -> RetryPolicy {
    RetryPolicy::new().max_attempts(attempts).backoff(Backoff::fixed(Duration::ZERO))
}

fn q(capacity: u64) -> QueueConfig {
    QueueConfig::new("q").capacity(capacity)
}
