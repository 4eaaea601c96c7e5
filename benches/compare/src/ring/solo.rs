//! One thread: bursts in, bursts out.

use super::queue::{Consumer, Producer, Queue, Taken, sum_of};
use crate::effort::{Amount, Effort};
use crate::machine::pin;
use std::time::{Duration, Instant};

/// Items that are in the queue at most.
const BURST: u64 = 64;

pub fn run<Q: Queue>(effort: &Effort) -> impl FnMut() -> f64 + use<Q> {
    let mut amount = Amount::for_run(effort.run / 2);
    move || {
        let items = amount.find(|items| bursts::<Q>(items));
        nanos_per_item::<Q>(items)
    }
}

/// In and out.
pub fn nanos_per_item<Q: Queue>(items: u64) -> f64 {
    let items = items.next_multiple_of(BURST);
    bursts::<Q>(items).as_nanos() as f64 / items as f64
}

fn bursts<Q: Queue>(items: u64) -> Duration {
    let items = items.next_multiple_of(BURST);
    let (producers, consumers) = Q::open(1, 1);
    // a thread of its own, so that the caller stays unpinned
    std::thread::scope(|scope| {
        let run = move || {
            pin(0);
            let (mut producer, mut consumer) = (single(producers), single(consumers));
            let began = Instant::now();
            let sum = (0..items).step_by(BURST as usize).fold(0u64, |sum, from| {
                fill(&mut producer, from, from + BURST);
                sum.wrapping_add(drain(&mut consumer))
            });
            let took = began.elapsed();
            assert_eq!(sum, sum_of(0, items), "something else came out than went in");
            took
        };
        scope.spawn(run).join().expect("a run does not panic")
    })
}

#[inline]
fn fill(producer: &mut impl Producer, mut from: u64, to: u64) {
    while from < to {
        let pushed = producer.push(from, to);
        assert!(pushed > 0, "a queue of more places than a burst is full");
        from += pushed;
    }
}

#[inline]
fn drain(consumer: &mut impl Consumer) -> u64 {
    let (mut left, mut total) = (BURST, 0u64);
    while left > 0 {
        match consumer.pop() {
            Taken::Some { count, sum } => {
                left -= count;
                total = total.wrapping_add(sum);
            }
            Taken::Nothing | Taken::Closed => panic!("{left} items of a burst are missing"),
        }
    }
    total
}

fn single<T>(all: Vec<T>) -> T {
    all.into_iter().next().expect("one was asked for")
}
