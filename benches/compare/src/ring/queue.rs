//! What the suite asks of a queue.

use std::time::{Duration, Instant};

/// A bounded queue of numbers, as seen by the threads that use it.
pub trait Queue: 'static {
    type Producer: Producer;
    type Consumer: Consumer;

    /// An empty queue of [`CAPACITY`](super::CAPACITY) places, and a handle for each thread.
    fn open(producers: usize, consumers: usize) -> (Vec<Self::Producer>, Vec<Self::Consumer>);
}

/// One producing thread's handle. When all of them are dropped the queue is closed, if it knows what that is.
pub trait Producer: Send {
    /// Pushes the first of the numbers `from..to`, or as many of them as it pushes at a time. How many: 0 if the queue is full and does not wait.
    fn push(&mut self, from: u64, to: u64) -> u64;

    /// Pushes one number if there is room.
    fn try_push(&mut self, item: u64) -> bool {
        self.push(item, item + 1) == 1
    }
}

/// One consuming thread's handle.
pub trait Consumer: Send {
    /// Takes what there is, as many as it takes at a time; waits if the queue does.
    fn pop(&mut self) -> Taken;

    /// Takes what there is, without waiting.
    fn try_pop(&mut self) -> Taken {
        self.pop()
    }
}

/// What a pop came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Some {
        count: u64,
        sum: u64,
    },
    /// Nothing there.
    Nothing,
    /// Nothing there, and nobody is left who could push.
    Closed,
}

impl Taken {
    #[inline]
    pub fn one(item: Option<u64>) -> Taken {
        item.map_or(Taken::Nothing, |sum| Taken::Some { count: 1, sum })
    }
}

/// Waits after a miss; the same for every queue that does not wait itself.
#[derive(Debug)]
pub struct Misses {
    count: u32,
    began: Instant,
}

impl Default for Misses {
    fn default() -> Self {
        Misses { count: 0, began: Instant::now() }
    }
}

impl Misses {
    /// # Panics
    /// A minute after it was made: no run takes that long, so an item was lost.
    pub fn wait(&mut self) {
        (0..20).for_each(|_| std::hint::spin_loop());
        self.count = self.count.wrapping_add(1);
        // with more threads than CPUs the one that is waited for may need this one's
        if self.count.is_multiple_of(64) {
            std::thread::yield_now();
        }
        if self.count.is_multiple_of(1 << 16) {
            assert!(self.began.elapsed() < Duration::from_secs(60), "nothing to push or pop for a minute");
        }
    }
}

/// The sum of the numbers `from..to`.
pub fn sum_of(from: u64, to: u64) -> u64 {
    ((u128::from(from) + u128::from(to - 1)) * u128::from(to - from) / 2) as u64
}
