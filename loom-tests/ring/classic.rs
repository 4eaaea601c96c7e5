//! The classic bounded queue (Vyukov's), for the failing twin of a model about indices that go back: it says that it is full while a consumer is inside pop.

use super::{Arc, B3, Bound, check, empty, must_fail, pop, push, thread};
use ringmill::ring::{IndexRing, Sound};
use ringmill::sync::atomic::{
    AtomicU32, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

/// What holds indices and takes them back.
pub(super) trait Lane: Send + Sync + 'static {
    fn new() -> Self;
    /// False: refused.
    fn push(&self, index: u32) -> bool;
    fn pop(&self) -> Option<u32>;
}

const CELLS: usize = 2;

impl Lane for IndexRing<Sound> {
    fn new() -> Self {
        empty(CELLS as u32, CELLS as u64)
    }

    fn push(&self, index: u32) -> bool {
        push(self, &[index]);
        true
    }

    fn pop(&self) -> Option<u32> {
        pop(self)
    }
}

/// A cell is free for the ticket that its sequence names, and filled when that is one more.
struct Classic {
    cells: [(AtomicUsize, AtomicU32); CELLS],
    head: AtomicUsize,
    tail: AtomicUsize,
}

impl Lane for Classic {
    fn new() -> Self {
        let cells = std::array::from_fn(|at| (AtomicUsize::new(at), AtomicU32::new(0)));
        Classic { cells, head: AtomicUsize::new(0), tail: AtomicUsize::new(0) }
    }

    fn push(&self, index: u32) -> bool {
        loop {
            let ticket = self.tail.load(Relaxed);
            let (sequence, cell) = &self.cells[ticket % CELLS];
            let found = sequence.load(Acquire);
            if found == ticket {
                if self.tail.compare_exchange(ticket, ticket + 1, Relaxed, Relaxed).is_ok() {
                    cell.store(index, Relaxed);
                    sequence.store(ticket + 1, Release);
                    return true;
                }
            } else if found < ticket {
                return false;
            }
        }
    }

    fn pop(&self) -> Option<u32> {
        loop {
            let ticket = self.head.load(Relaxed);
            let (sequence, cell) = &self.cells[ticket % CELLS];
            let found = sequence.load(Acquire);
            if found == ticket + 1 {
                if self.head.compare_exchange(ticket, ticket + 1, Relaxed, Relaxed).is_ok() {
                    let index = cell.load(Relaxed);
                    sequence.store(ticket + CELLS, Release);
                    return Some(index);
                }
            } else if found <= ticket {
                return None;
            }
        }
    }
}

/// (M5) As many cells as indices. A consumer stops inside pop, others go round: an index that its owner puts back is refused, for its cell is still the stopped
/// consumer's.
pub(super) fn an_index_goes_back<L: Lane>() {
    let lane = Arc::new(L::new());
    assert!(lane.push(0) && lane.push(1));
    let other = Arc::clone(&lane);
    let stopping = thread::spawn(move || other.pop());
    for _ in 0..2 {
        if let Some(index) = lane.pop() {
            assert!(lane.push(index), "{index} has an owner, and nowhere to go");
        }
    }
    let mut seen: Vec<u32> = stopping.join().unwrap().into_iter().chain(std::iter::from_fn(|| lane.pop())).collect();
    seen.sort_unstable();
    assert_eq!(seen, [0, 1], "lost or duplicated");
}

#[test]
fn ring_an_index_goes_back() {
    check("ring (M5)", B3, an_index_goes_back::<IndexRing<Sound>>);
}

#[test]
fn ring_an_index_goes_back_twin_classic() {
    must_fail("ring (M5), the classic queue", Bound::ALL, an_index_goes_back::<Classic>);
}
