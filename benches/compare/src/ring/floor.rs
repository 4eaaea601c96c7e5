//! What waiting costs with nothing else in the way: one place, and the system's own means to sleep beside it.

use super::queue::{Consumer, Producer, Queue, Taken};
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, Condvar, Mutex};

const EMPTY: u32 = 0;
const FULL: u32 = 1;
const CLOSED: u32 = 2;

/// A word and a futex.
pub struct Futex;

struct Cell {
    state: AtomicU32,
    item: AtomicU64,
}

pub struct FutexProducer(Arc<Cell>);
pub struct FutexConsumer(Arc<Cell>);

impl Queue for Futex {
    type Producer = FutexProducer;
    type Consumer = FutexConsumer;

    fn open(producers: usize, consumers: usize) -> (Vec<FutexProducer>, Vec<FutexConsumer>) {
        assert_eq!((producers, consumers), (1, 1), "a single place has one of each");
        let cell = Arc::new(Cell { state: AtomicU32::new(EMPTY), item: AtomicU64::new(0) });
        (vec![FutexProducer(Arc::clone(&cell))], vec![FutexConsumer(cell)])
    }
}

impl FutexProducer {
    fn set(&self, state: u32) {
        // release: the item
        self.0.state.store(state, Release);
        atomic_wait::wake_one(&self.0.state);
    }

    fn is_full(&self) -> bool {
        // acquire: the item has been read
        self.0.state.load(Acquire) == FULL
    }
}

impl Producer for FutexProducer {
    #[inline]
    fn push(&mut self, item: u64, _: u64) -> u64 {
        if self.is_full() {
            return 0;
        }
        self.0.item.store(item, Relaxed);
        self.set(FULL);
        1
    }
}

impl Drop for FutexProducer {
    fn drop(&mut self) {
        while self.is_full() {
            std::thread::yield_now();
        }
        self.set(CLOSED);
    }
}

impl Consumer for FutexConsumer {
    #[inline]
    fn pop(&mut self) -> Taken {
        loop {
            // acquire: the item
            match self.0.state.load(Acquire) {
                EMPTY => atomic_wait::wait(&self.0.state, EMPTY),
                CLOSED => return Taken::Closed,
                _ => {
                    let item = self.0.item.load(Relaxed);
                    // release: that the item has been read
                    self.0.state.store(EMPTY, Release);
                    return Taken::one(Some(item));
                }
            }
        }
    }
}

/// A mutex and a condition variable.
pub struct Monitor;

struct Guarded {
    place: Mutex<Place>,
    filled: Condvar,
}

#[derive(Default)]
struct Place {
    item: Option<u64>,
    closed: bool,
}

pub struct MonitorProducer(Arc<Guarded>);
pub struct MonitorConsumer(Arc<Guarded>);

impl Queue for Monitor {
    type Producer = MonitorProducer;
    type Consumer = MonitorConsumer;

    fn open(producers: usize, consumers: usize) -> (Vec<MonitorProducer>, Vec<MonitorConsumer>) {
        assert_eq!((producers, consumers), (1, 1), "a single place has one of each");
        let guarded = Arc::new(Guarded { place: Mutex::default(), filled: Condvar::new() });
        (vec![MonitorProducer(Arc::clone(&guarded))], vec![MonitorConsumer(guarded)])
    }
}

impl Producer for MonitorProducer {
    #[inline]
    fn push(&mut self, item: u64, _: u64) -> u64 {
        let mut place = self.0.place.lock().expect("nobody panics inside");
        if place.item.is_some() {
            return 0;
        }
        place.item = Some(item);
        drop(place);
        self.0.filled.notify_one();
        1
    }
}

impl Drop for MonitorProducer {
    fn drop(&mut self) {
        self.0.place.lock().expect("nobody panics inside").closed = true;
        self.0.filled.notify_one();
    }
}

impl Consumer for MonitorConsumer {
    #[inline]
    fn pop(&mut self) -> Taken {
        let place = self.0.place.lock().expect("nobody panics inside");
        let mut place = self.0.filled.wait_while(place, |place| place.item.is_none() && !place.closed).expect("nobody panics inside");
        place.item.take().map_or(Taken::Closed, |item| Taken::one(Some(item)))
    }
}
