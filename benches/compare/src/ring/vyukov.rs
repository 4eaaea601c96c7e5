//! D. Vyukov's bounded MPMC queue, as a reference: what the same idea costs that may wait for a stopped thread.
//!
//! A sketch for numbers only, which is why it needs no unsafe code.

use super::CAPACITY;
use super::queue::{Consumer, Producer, Queue, Taken};
use crossbeam_utils::CachePadded;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

pub struct Vyukov;

#[derive(Clone)]
pub struct Handle(Arc<Ring>);

struct Ring {
    tail: CachePadded<AtomicU64>,
    head: CachePadded<AtomicU64>,
    slots: Box<[Slot]>,
}

struct Slot {
    /// The ticket whose turn it is here: t to be pushed, t + 1 to be popped.
    turn: AtomicU64,
    item: AtomicU64,
}

impl Ring {
    fn new() -> Self {
        let slots = (0..CAPACITY as u64).map(|ticket| Slot { turn: AtomicU64::new(ticket), item: AtomicU64::new(0) });
        Ring { tail: CachePadded::new(AtomicU64::new(0)), head: CachePadded::new(AtomicU64::new(0)), slots: slots.collect() }
    }

    fn slot(&self, ticket: u64) -> &Slot {
        &self.slots[ticket as usize % CAPACITY]
    }

    #[inline]
    fn push(&self, item: u64) -> bool {
        let mut ticket = self.tail.load(Relaxed);
        loop {
            let slot = self.slot(ticket);
            // acquire: the pop that made room
            let turn = slot.turn.load(Acquire);
            if turn == ticket {
                match self.tail.compare_exchange_weak(ticket, ticket + 1, Relaxed, Relaxed) {
                    Ok(_) => {
                        slot.item.store(item, Relaxed);
                        // release: the item
                        slot.turn.store(ticket + 1, Release);
                        return true;
                    }
                    Err(now) => ticket = now,
                }
            } else if turn < ticket {
                return false;
            } else {
                ticket = self.tail.load(Relaxed);
            }
        }
    }

    #[inline]
    fn pop(&self) -> Option<u64> {
        let mut ticket = self.head.load(Relaxed);
        loop {
            let slot = self.slot(ticket);
            // acquire: the item
            let turn = slot.turn.load(Acquire);
            if turn == ticket + 1 {
                match self.head.compare_exchange_weak(ticket, ticket + 1, Relaxed, Relaxed) {
                    Ok(_) => {
                        let item = slot.item.load(Relaxed);
                        // release: that the item has been read
                        slot.turn.store(ticket + CAPACITY as u64, Release);
                        return Some(item);
                    }
                    Err(now) => ticket = now,
                }
            } else if turn <= ticket {
                return None;
            } else {
                ticket = self.head.load(Relaxed);
            }
        }
    }
}

impl Queue for Vyukov {
    type Producer = Handle;
    type Consumer = Handle;

    fn open(producers: usize, consumers: usize) -> (Vec<Handle>, Vec<Handle>) {
        let handle = Handle(Arc::new(Ring::new()));
        (vec![handle.clone(); producers], vec![handle; consumers])
    }
}

impl Producer for Handle {
    #[inline]
    fn push(&mut self, from: u64, _: u64) -> u64 {
        u64::from(self.0.push(from))
    }
}

impl Consumer for Handle {
    #[inline]
    fn pop(&mut self) -> Taken {
        Taken::one(self.0.pop())
    }
}
