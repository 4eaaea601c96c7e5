//! The ring as a FIFO queue: pushes always go in, a pop has the oldest, or nothing when there was nothing.

use super::linear::{Event, Model, explains};
use super::{Watch, play};
use crate::chain::Chain;
use crate::ring::{IndexRing, Popped, Rules, Sound};
use crate::rng::Rng;
use crate::tests::threads::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

#[derive(Debug, Clone)]
enum Operation {
    Push(u32),
    /// What came, oldest first; nothing: it said that the ring was empty.
    Pop(Vec<u32>),
}

struct Fifo;

impl Model for Fifo {
    type Operation = Operation;
    type State = VecDeque<u32>;

    fn step(&self, state: &VecDeque<u32>, history: &[Event<Operation>], at: usize) -> Vec<VecDeque<u32>> {
        let mut next = state.clone();
        let right = match &history[at].operation {
            Operation::Push(index) => {
                next.push_back(*index);
                true
            }
            Operation::Pop(indices) if indices.is_empty() => state.is_empty(),
            Operation::Pop(indices) => indices.iter().all(|index| next.pop_front() == Some(*index)),
        };
        if right { vec![next] } else { vec![] }
    }
}

/// A producer says that its ticket is filled before it is: the next one leaves a hole behind it.
enum TailFirst {}

impl Rules for TailFirst {
    const TAIL_FIRST: bool = true;
}

struct World<R: Rules> {
    ring: IndexRing<R>,
    /// Indices that are in nobody's hands yet.
    free: Mutex<Vec<u32>>,
}

const THREADS: usize = 4;
const OPERATIONS: u64 = 8;

fn world<R: Rules>() -> World<R> {
    World { ring: IndexRing::with_rules(8, 8), free: Mutex::new((0..8).collect()) }
}

/// Pushes what it holds and pops what it gets, in any order.
fn part<R: Rules>(world: &World<R>, watch: &Watch, rng: &mut Rng, history: &mut Vec<Event<Operation>>) {
    let mut held: Vec<u32> = {
        let mut free = world.free.lock().unwrap();
        (0..2).filter_map(|_| free.pop()).collect()
    };
    let mut out = Popped::new();
    for _ in 0..OPERATIONS {
        match held.pop() {
            Some(index) if rng.up_to(1) == 0 => watch.record(history, || {
                world.ring.push(Chain::one(index));
                Operation::Push(index)
            }),
            other => {
                held.extend(other);
                let most = 1 + rng.up_to(1) as u32;
                watch.record(history, || {
                    let taken = world.ring.pop(most, &mut out);
                    assert_eq!(taken, !out.is_empty());
                    Operation::Pop(out.chains().iter().map(|chain| chain.first()).collect())
                });
                if let Some(Event { operation: Operation::Pop(indices), .. }) = history.last() {
                    held.extend(indices);
                }
            }
        }
    }
}

/// How many of the histories no order explains. Stops at the first of them where there must be none.
fn unexplained<R: Rules>(seed: u64, rounds: u64, sound: bool) -> u64 {
    let mut count = 0;
    play(seed, rounds, THREADS, world::<R>, Arc::new(part::<R>), |round, _, history| {
        if !explains(&Fifo, VecDeque::new(), &history) {
            count += 1;
            assert!(!sound, "seed {seed}, round {round}: no order explains {history:#?}");
        }
    });
    count
}

#[test]
fn histories_of_the_ring_are_those_of_a_queue() {
    unexplained::<Sound>(1, 2_000, true);
}

/// The seeded violation: a completed push stays behind one that was held up. A bounded queue whose producers take a ticket first has that flaw.
#[test]
fn a_producer_that_leaves_a_hole_is_found_out() {
    let count = unexplained::<TailFirst>(1, 2_000, false);
    assert!(count > 0, "the checker found nothing wrong with it");
}

#[test]
#[ignore = "minutes"]
fn a_million_histories_of_the_ring() {
    assert!((0..100).all(|seed| unexplained::<Sound>(seed, 10_000, true) == 0));
}
