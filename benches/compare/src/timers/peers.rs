//! Ways to keep timers.

use super::Timers;
use hierarchical_hash_wheel_timer::IdOnlyTimerEntry;
use hierarchical_hash_wheel_timer::wheels::{Skip, cancellable, quad_wheel};
use ringmill::wheel::{Advance, Wheel};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;
use tokio_util::time::{DelayQueue, delay_queue};

/// ringmill's wheel.
pub struct Mill(Wheel);

/// What the timer thread fires at a time.
const BUDGET: usize = 256;

impl Timers for Mill {
    fn new(capacity: usize) -> Self {
        Mill(Wheel::new(capacity as u32, 0))
    }

    #[inline]
    fn insert(&mut self, timer: u32, due: u64) {
        self.0.insert(timer, due);
    }

    #[inline]
    fn cancel(&mut self, timer: u32) {
        assert!(self.0.cancel(timer), "it ran");
    }

    fn advance(&mut self, to: u64, mut fire: impl FnMut(u32)) {
        while self.0.advance(to, BUDGET, &mut fire) == Advance::More {}
    }
}

/// tokio-util's `DelayQueue`, on a clock that is moved by hand.
pub struct Tokio {
    runtime: tokio::runtime::Runtime,
    start: tokio::time::Instant,
    now: u64,
    queue: DelayQueue<u32>,
    keys: Vec<Option<delay_queue::Key>>,
}

impl Timers for Tokio {
    fn new(capacity: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime can be made");
        let inside = runtime.enter();
        let (start, queue) = (tokio::time::Instant::now(), DelayQueue::with_capacity(capacity));
        drop(inside);
        Tokio { runtime, start, now: 0, queue, keys: vec![None; capacity] }
    }

    #[inline]
    fn insert(&mut self, timer: u32, due: u64) {
        self.keys[timer as usize] = Some(self.queue.insert_at(timer, self.start + Duration::from_millis(due)));
    }

    #[inline]
    fn cancel(&mut self, timer: u32) {
        let key = self.keys[timer as usize].take().expect("it ran");
        self.queue.remove(&key);
    }

    fn inside<R>(&mut self, act: impl FnOnce(&mut Self) -> R) -> R {
        let runtime = self.runtime.handle().clone();
        let _inside = runtime.enter();
        act(self)
    }

    fn advance(&mut self, to: u64, mut fire: impl FnMut(u32)) {
        let passed = Duration::from_millis(to - self.now);
        self.now = to;
        let queue = &mut self.queue;
        self.runtime.block_on(async {
            tokio::time::advance(passed).await;
            let expire = poll_fn(|context| {
                while let Poll::Ready(Some(expired)) = queue.poll_expired(context) {
                    fire(expired.into_inner());
                }
                Poll::Ready(())
            });
            // a task's budget would end long before a hundred ticks do
            tokio::task::unconstrained(expire).await;
        });
    }
}

/// The quad wheel of hierarchical_hash_wheel_timer, with its hash map for cancelling.
pub struct Hashed {
    wheel: cancellable::QuadWheelWithOverflow<IdOnlyTimerEntry<u32>>,
    now: u64,
}

impl Timers for Hashed {
    fn new(_: usize) -> Self {
        Hashed { wheel: cancellable::QuadWheelWithOverflow::new(), now: 0 }
    }

    #[inline]
    fn insert(&mut self, timer: u32, due: u64) {
        let entry = IdOnlyTimerEntry::new(timer, Duration::from_millis(due - self.now));
        self.wheel.insert(entry).expect("it is due later");
    }

    #[inline]
    fn cancel(&mut self, timer: u32) {
        self.wheel.cancel(&timer).expect("it ran");
    }

    fn advance(&mut self, to: u64, mut fire: impl FnMut(u32)) {
        while self.now < to {
            match self.wheel.can_skip() {
                Skip::Empty => self.now = to,
                Skip::Millis(millis) => {
                    let millis = u64::from(millis).min(to - self.now);
                    self.wheel.skip(millis as u32);
                    self.now += millis;
                }
                Skip::None => {
                    self.wheel.tick().iter().for_each(|entry| fire(entry.id));
                    self.now += 1;
                }
            }
        }
    }
}

/// The same wheel without cancelling.
pub struct Quad {
    wheel: quad_wheel::QuadWheelWithOverflow<u32>,
    now: u64,
}

impl Timers for Quad {
    const CANCELS: bool = false;

    fn new(_: usize) -> Self {
        Quad { wheel: quad_wheel::QuadWheelWithOverflow::new(quad_wheel::no_prune), now: 0 }
    }

    #[inline]
    fn insert(&mut self, timer: u32, due: u64) {
        self.wheel.insert_with_delay(timer, Duration::from_millis(due - self.now)).expect("it is due later");
    }

    fn cancel(&mut self, _: u32) {
        unreachable!("it cannot");
    }

    fn advance(&mut self, to: u64, mut fire: impl FnMut(u32)) {
        while self.now < to {
            match self.wheel.can_skip() {
                Skip::Empty => self.now = to,
                Skip::Millis(millis) => {
                    let millis = u64::from(millis).min(to - self.now);
                    self.wheel.skip(millis as u32);
                    self.now += millis;
                }
                Skip::None => {
                    self.wheel.tick().into_iter().for_each(&mut fire);
                    self.now += 1;
                }
            }
        }
    }
}

/// A heap of (due, timer, generation): cancelling raises the generation, and the entry is dropped when it comes up.
pub struct Heap {
    heap: BinaryHeap<Reverse<(u64, u32, u32)>>,
    generations: Vec<u32>,
    capacity: usize,
}

impl Timers for Heap {
    fn new(capacity: usize) -> Self {
        Heap { heap: BinaryHeap::with_capacity(capacity), generations: vec![0; capacity], capacity }
    }

    #[inline]
    fn insert(&mut self, timer: u32, due: u64) {
        if self.heap.len() >= 2 * self.capacity {
            // cancelled ones pile up: somebody has to sweep
            let generations = &self.generations;
            self.heap.retain(|Reverse((_, timer, generation))| generations[*timer as usize] == *generation);
        }
        self.heap.push(Reverse((due, timer, self.generations[timer as usize])));
    }

    #[inline]
    fn cancel(&mut self, timer: u32) {
        self.generations[timer as usize] += 1;
    }

    fn advance(&mut self, to: u64, mut fire: impl FnMut(u32)) {
        while let Some(&Reverse((due, timer, generation))) = self.heap.peek()
            && due <= to
        {
            self.heap.pop();
            if self.generations[timer as usize] == generation {
                fire(timer);
            }
        }
    }
}

/// A tree of (due, timer).
pub struct Tree {
    tree: BTreeMap<(u64, u32), ()>,
    dues: Vec<u64>,
}

impl Timers for Tree {
    fn new(capacity: usize) -> Self {
        Tree { tree: BTreeMap::new(), dues: vec![0; capacity] }
    }

    #[inline]
    fn insert(&mut self, timer: u32, due: u64) {
        self.dues[timer as usize] = due;
        self.tree.insert((due, timer), ());
    }

    #[inline]
    fn cancel(&mut self, timer: u32) {
        self.tree.remove(&(self.dues[timer as usize], timer)).expect("it ran");
    }

    fn advance(&mut self, to: u64, mut fire: impl FnMut(u32)) {
        while let Some(entry) = self.tree.first_entry()
            && entry.key().0 <= to
        {
            fire(entry.remove_entry().0.1);
        }
    }
}
