//! A buffer in front of a queue: what is in it is published, whether or not its owner comes back.

use super::world::{model, twin};
use crate::support::Bound;
use ringmill::clock::ManualClock;
use ringmill::queue::Bend;
use ringmill::sync::thread;
use ringmill::{BufferConfig, BufferedProducer, Consumer, QueueConfig, Runtime};
use std::sync::Arc;
use std::time::Duration;

const AGE: Duration = Duration::from_millis(2);
const B2: Bound = Bound::preemptions(2);

struct Desk {
    clock: Arc<ManualClock>,
    runtime: Runtime,
    consumer: Consumer<u32>,
}

impl Desk {
    /// A queue for three jobs, and a buffer for four.
    fn new() -> (Self, BufferedProducer<u32>) {
        let clock = Arc::new(ManualClock::new());
        let mut builder = Runtime::builder().manual(Arc::clone(&clock));
        let queue = builder.pull_queue(QueueConfig::new("q").capacity(3)).unwrap();
        let runtime = builder.build().unwrap();
        let config = BufferConfig::new().jobs(4).age(AGE);
        let buffered = queue.producer().unwrap().buffered(config, |refused| panic!("{refused}")).unwrap();
        (Desk { clock, runtime, consumer: queue.consumer().unwrap() }, buffered)
    }

    fn turn(&self) {
        self.clock.advance(2 * AGE);
        self.runtime.turn();
    }

    fn take(&self) -> Option<u32> {
        let delivery = self.consumer.try_recv().ok()?;
        let number = *delivery.payload();
        delivery.ack().unwrap();
        Some(number)
    }
}

/// The timer finds a buffer empty as its owner puts something in: it ends the watch, and the owner, who saw it go on, waits for nobody.
fn filled_as_the_watch_ends() {
    let (desk, buffered) = Desk::new();
    buffered.publish(0).unwrap();
    buffered.flush().unwrap();
    assert_eq!(desk.take(), Some(0));
    let owner = thread::spawn(move || {
        buffered.publish(1).unwrap();
        buffered
    });
    desk.turn();
    let buffered = owner.join().unwrap();
    desk.turn();
    assert_eq!(desk.take(), Some(1), "it is in the buffer for ever");
    assert!(buffered.is_empty());
}

/// The owner adds a job and flushes, as what has its age is published for him: order is kept, and nothing is published twice or left.
fn flushed_by_two() {
    let (desk, buffered) = Desk::new();
    buffered.publish(0).unwrap();
    buffered.publish(1).unwrap();
    desk.turn();
    let owner = thread::spawn(move || {
        buffered.publish(2).unwrap();
        buffered.flush().unwrap();
        buffered
    });
    let mut taken: Vec<u32> = desk.take().into_iter().collect();
    let buffered = owner.join().unwrap();
    taken.extend(std::iter::from_fn(|| desk.take()));
    desk.turn();
    taken.extend(std::iter::from_fn(|| desk.take()));
    assert_eq!((taken, buffered.len()), (vec![0, 1, 2], 0));
}

#[test]
fn a_buffer_is_watched_as_long_as_there_is_something_in_it() {
    model("filled_as_the_watch_ends", B2, filled_as_the_watch_ends);
}

#[test]
fn a_buffer_is_watched_as_long_as_there_is_something_in_it_twin() {
    twin("filled_as_the_watch_ends", Bend::LooksAway, B2, filled_as_the_watch_ends);
}

#[test]
fn a_buffer_that_two_flush_keeps_its_order() {
    model("flushed_by_two", B2, flushed_by_two);
}

#[test]
fn a_buffer_that_two_flush_keeps_its_order_twin() {
    twin("flushed_by_two", Bend::FlushesBeside, B2, flushed_by_two);
}
