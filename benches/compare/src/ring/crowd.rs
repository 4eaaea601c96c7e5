//! Producers and consumers at full speed.

use super::queue::{Consumer, Misses, Producer, Queue, Taken, sum_of};
use crate::effort::{Amount, Effort};
use crate::machine::pin;
use crossbeam_utils::CachePadded;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Million items a second through `pairs` producers and as many consumers.
pub fn run<Q: Queue>(pairs: usize, effort: &Effort) -> impl FnMut() -> f64 + use<Q> {
    let mut amount = Amount::for_run(effort.run);
    move || {
        let items = amount.find(|items| race::<Q>(pairs, items));
        items as f64 / race::<Q>(pairs, items).as_secs_f64() / 1e6
    }
}

/// From the first push to the last pop, by the threads' own clocks: whoever only waits for them may be scheduled late.
fn race<Q: Queue>(pairs: usize, items: u64) -> Duration {
    let (producers, consumers) = Q::open(pairs, pairs);
    let (start, goal) = (Barrier::new(2 * pairs), Goal::of(items));
    // pinned only where nobody has to share
    let place = |cpu| {
        if pairs == 1 {
            pin(cpu);
        }
    };
    thread::scope(|scope| {
        let (start, goal) = (&start, &goal);
        let share = |number: usize| items * number as u64 / pairs as u64;
        let producers: Vec<_> = (producers.into_iter().enumerate())
            .map(|(number, producer)| {
                scope.spawn(move || {
                    place(0);
                    start.wait();
                    let began = Instant::now();
                    produce(producer, share(number), share(number + 1));
                    began
                })
            })
            .collect();
        let consumers: Vec<_> = consumers
            .into_iter()
            .map(|consumer| {
                scope.spawn(move || {
                    place(1);
                    start.wait();
                    (goal.consume(consumer, |_| ()), Instant::now())
                })
            })
            .collect();
        let began = producers.into_iter().map(|thread| thread.join().expect("a producer panicked")).min();
        let ends: Vec<_> = consumers.into_iter().map(|thread| thread.join().expect("a consumer panicked")).collect();
        let (count, sum) = ends.iter().fold((0, 0u64), |(count, sum), ((some, part), _)| (count + some, sum.wrapping_add(*part)));
        assert_eq!(count, items, "lost or duplicated");
        assert_eq!(sum, sum_of(0, items), "something else came out than went in");
        let ended = ends.into_iter().map(|(_, end)| end).max();
        ended.zip(began).map(|(ended, began)| ended - began).expect("there is a pair")
    })
}

fn produce(mut producer: impl Producer, mut from: u64, to: u64) {
    let mut misses = Misses::default();
    while from < to {
        match producer.push(from, to) {
            0 => misses.wait(),
            pushed => from += pushed,
        }
    }
}

/// When consumers are done: the queue is closed or, if it cannot be, all items have been taken.
pub struct Goal {
    items: AtomicU64,
    consumed: CachePadded<AtomicU64>,
}

impl Goal {
    pub fn of(items: u64) -> Self {
        Goal { items: AtomicU64::new(items), consumed: CachePadded::new(AtomicU64::new(0)) }
    }

    /// How many items there are is not known yet.
    pub fn open() -> Self {
        Goal::of(u64::MAX)
    }

    pub fn set(&self, items: u64) {
        self.items.store(items, Relaxed);
    }

    /// Consumes to the end and tells of every batch. How many items, and their sum. The shared count is written on misses only.
    #[inline]
    pub fn consume(&self, mut consumer: impl Consumer, mut taken: impl FnMut(u64)) -> (u64, u64) {
        let (mut count, mut total, mut reported, mut misses) = (0, 0u64, 0, Misses::default());
        loop {
            match consumer.pop() {
                Taken::Some { count: some, sum } => {
                    count += some;
                    total = total.wrapping_add(sum);
                    taken(some);
                }
                Taken::Closed => return (count, total),
                Taken::Nothing => {
                    if count > reported {
                        self.consumed.fetch_add(count - reported, Relaxed);
                        reported = count;
                    }
                    if self.consumed.load(Relaxed) >= self.items.load(Relaxed) {
                        return (count, total);
                    }
                    misses.wait();
                }
            }
        }
    }
}
