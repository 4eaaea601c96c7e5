//! Whether throughput holds while threads are taken off the CPU: the slowest 10 ms of a crowd beside the usual 10 ms.

use super::crowd::Goal;
use super::queue::{Misses, Producer, Queue, sum_of};
use crate::contest::Readings;
use crate::effort::Effort;
use crate::machine::{nanos, ticks};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

const WINDOW_NANOS: u64 = 10_000_000;
/// Items between two readings of the clock.
const STRIDE: u64 = 64;

/// The slowest window and the median one, in million items a second, and the one as a part of the other.
pub fn run<Q: Queue>(pairs: usize, effort: &Effort) -> impl FnMut() -> Readings + use<Q> {
    let length = effort.pick(Duration::from_secs(1), Duration::from_millis(250));
    move || {
        let mut windows = crowd::<Q>(pairs, length);
        // the first and the last are not whole
        windows.pop();
        windows.remove(0);
        windows.sort_unstable();
        let (slowest, median) = (windows[0] as f64, windows[windows.len() / 2] as f64);
        vec![Some(slowest / median), Some(median / WINDOW_NANOS as f64 * 1e3)]
    }
}

/// Items taken in each window.
fn crowd<Q: Queue>(pairs: usize, length: Duration) -> Vec<u64> {
    let (producers, consumers) = Q::open(pairs, pairs);
    let (start, stop, goal) = (Barrier::new(2 * pairs + 1), AtomicBool::new(false), Goal::open());
    let began = ticks();
    thread::scope(|scope| {
        let (start, stop, goal) = (&start, &stop, &goal);
        let producers: Vec<_> = (producers.into_iter().enumerate())
            .map(|(number, producer)| {
                scope.spawn(move || {
                    start.wait();
                    produce(producer, (number as u64) << 40, stop)
                })
            })
            .collect();
        let consumers: Vec<_> = consumers
            .into_iter()
            .map(|consumer| {
                scope.spawn(move || {
                    start.wait();
                    let mut windows = Windows::new(began, length);
                    let (count, sum) = goal.consume(consumer, |some| windows.add(some));
                    (count, sum, windows.items)
                })
            })
            .collect();
        start.wait();
        thread::sleep(length);
        stop.store(true, Relaxed);
        let add = |(count, sum): (u64, u64), (some, part): (u64, u64)| (count + some, sum.wrapping_add(part));
        let pushed = producers.into_iter().map(|thread| thread.join().expect("a producer panicked")).fold((0, 0), add);
        goal.set(pushed.0);
        let (mut taken, mut total) = ((0, 0), Vec::new());
        for (count, sum, windows) in consumers.into_iter().map(|thread| thread.join().expect("a consumer panicked")) {
            taken = add(taken, (count, sum));
            total.resize(windows.len(), 0);
            total.iter_mut().zip(windows).for_each(|(total, items)| *total += items);
        }
        assert_eq!(taken, pushed, "lost, duplicated or changed");
        total
    })
}

/// Pushes the numbers from `from` on until told to stop. How many, and their sum.
fn produce(mut producer: impl Producer, from: u64, stop: &AtomicBool) -> (u64, u64) {
    let (mut next, mut misses) = (from, Misses::default());
    while !stop.load(Relaxed) {
        let to = next + STRIDE;
        while next < to {
            match producer.push(next, to) {
                0 if stop.load(Relaxed) => break,
                0 => misses.wait(),
                pushed => next += pushed,
            }
        }
    }
    (next - from, if next > from { sum_of(from, next) } else { 0 })
}

/// One consumer's items by window. The windows of all begin at the same time, whenever each of them first runs.
struct Windows {
    began: u64,
    pending: u64,
    items: Vec<u64>,
}

impl Windows {
    fn new(began: u64, length: Duration) -> Self {
        let windows = length.as_nanos() as u64 / WINDOW_NANOS;
        Windows { began, pending: 0, items: vec![0; windows as usize] }
    }

    #[inline]
    fn add(&mut self, items: u64) {
        self.pending += items;
        if self.pending >= STRIDE {
            let window = nanos(ticks() - self.began) / WINDOW_NANOS;
            // what comes after the end does not count
            if let Some(sum) = self.items.get_mut(window as usize) {
                *sum += self.pending;
            }
            self.pending = 0;
        }
    }
}
