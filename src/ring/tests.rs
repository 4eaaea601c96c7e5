//! What the ring does, on real threads.

#![allow(clippy::disallowed_methods, reason = "tests make threads as they like")]

mod freeze;

use super::*;
use crate::chain::{Chain, LinkArray};
use crate::limits::CAPACITY_MAX;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

fn push_each(ring: &IndexRing, indices: impl IntoIterator<Item = u32>) {
    indices.into_iter().for_each(|index| ring.push(Chain::one(index)));
}

fn firsts(out: &Popped) -> Vec<u32> {
    out.chains().iter().map(|chain| chain.first()).collect()
}

/// Everything there is, chain by chain.
fn drain(ring: &IndexRing) -> Vec<u32> {
    let mut out = Popped::new();
    let mut seen = vec![];
    while ring.pop(u32::MAX, &mut out) {
        seen.extend(firsts(&out));
    }
    seen
}

#[test]
fn an_empty_ring_says_so() {
    let ring = IndexRing::new(4);
    let mut out = Popped::new();
    assert!(!ring.pop(1, &mut out));
    assert!(out.is_empty());
    assert_eq!((ring.peek(), ring.len_hint()), (None, 0));
}

#[test]
fn chains_leave_in_the_order_they_came() {
    let ring = IndexRing::new(5);
    push_each(&ring, [3, 1, 4]);
    assert_eq!((ring.peek(), ring.len_hint()), (Some(3), 3));
    ring.push_batch(&[Chain::one(0), Chain::one(2)]);
    assert_eq!(drain(&ring), [3, 1, 4, 0, 2]);
}

#[test]
fn a_ring_holds_all_its_indices_lap_after_lap() {
    for capacity in [1, 2, 3, 4, 5, 8, 17] {
        let ring = IndexRing::new(capacity);
        for _ in 0..5 {
            push_each(&ring, 0..capacity);
            assert_eq!(drain(&ring), (0..capacity).collect::<Vec<_>>(), "capacity {capacity}");
        }
    }
}

#[test]
fn a_pop_stops_before_the_chain_that_would_be_too_much() {
    let ring = IndexRing::new(64);
    let mut out = Popped::new();
    ring.push_batch(&[Chain::new(0, 4), Chain::new(4, 3), Chain::new(7, 2)]);
    assert!(ring.pop(8, &mut out));
    assert_eq!((firsts(&out), out.indices()), (vec![0, 4], 7));
    assert!(ring.pop(8, &mut out));
    assert_eq!((firsts(&out), out.indices()), (vec![7], 2));
}

#[test]
fn the_first_chain_comes_whatever_its_length() {
    let ring = IndexRing::new(64);
    let mut out = Popped::new();
    for max in [0, 1, 31] {
        ring.push_batch(&[Chain::new(0, 32), Chain::one(32)]);
        assert!(ring.pop(max, &mut out));
        assert_eq!((firsts(&out), out.indices()), (vec![0], 32), "max {max}");
        assert_eq!(drain(&ring), [32]);
    }
}

#[test]
fn a_pop_takes_no_more_chains_than_popped_holds() {
    let ring = IndexRing::new(64);
    let mut out = Popped::new();
    push_each(&ring, 0..40);
    assert!(ring.pop(u32::MAX, &mut out));
    assert_eq!(firsts(&out), (0..POPPED_MAX as u32).collect::<Vec<_>>());
    assert_eq!(drain(&ring), (POPPED_MAX as u32..40).collect::<Vec<_>>());
}

#[test]
fn nothing_comes_of_an_empty_batch() {
    let ring = IndexRing::new(2);
    ring.push_batch(&[]);
    assert_eq!(ring.len_hint(), 0);
}

#[test]
fn the_smallest_and_the_largest_ring_are_made() {
    assert_eq!(IndexRing::new(0).slots(), 2);
    let ring = IndexRing::new(CAPACITY_MAX);
    push_each(&ring, [CAPACITY_MAX - 1]);
    assert_eq!(drain(&ring), [CAPACITY_MAX - 1]);
}

#[test]
#[should_panic(expected = "is above 16777215")]
fn a_ring_too_large_is_refused() {
    let _ = IndexRing::new(CAPACITY_MAX + 1);
}

#[test]
#[should_panic(expected = "index 4 is outside the ring")]
fn an_index_of_another_ring_is_refused() {
    IndexRing::new(4).push(Chain::one(4));
}

#[test]
fn an_index_outside_the_ring_leaves_it_usable() {
    let ring = Arc::new(IndexRing::new(4));
    let bad = Arc::clone(&ring);
    assert!(thread::spawn(move || bad.push(Chain::one(9))).join().is_err());
    assert_eq!(ring.len_hint(), 0, "a refused push has claimed nothing");
    push_each(&ring, [1, 2]);
    assert_eq!(drain(&ring), [1, 2]);
}

/// Two producers, two consumers, chains of mixed lengths: every index out exactly as often as in, each producer's own order kept.
#[test]
fn a_crowd_loses_and_reorders_nothing() {
    const CAPACITY: u32 = 64;
    const ROUNDS: u64 = 30_000;
    let (free, lane) = (IndexRing::new(CAPACITY), IndexRing::new(CAPACITY));
    let links = LinkArray::new(CAPACITY as usize);
    // who wrote this slot, and its count
    let payload: Vec<AtomicU64> = (0..CAPACITY).map(|_| AtomicU64::new(0)).collect();
    push_each(&free, 0..CAPACITY);
    let consumed = AtomicU64::new(0);
    crate::tests::threads::scope(|scope| {
        for producer in 0..2u64 {
            let (free, lane, links, payload) = (&free, &lane, &links, &payload);
            scope.spawn(move || {
                let mut out = Popped::new();
                let mut count = 0;
                while count < ROUNDS {
                    if !free.pop(1 + (count % 5) as u32, &mut out) {
                        thread::yield_now();
                        continue;
                    }
                    let indices: Vec<u32> = out.chains().iter().flat_map(|chain| chain.iter(links)).collect();
                    for &index in &indices {
                        count += 1;
                        payload[index as usize].store(producer << 32 | count, Ordering::Relaxed);
                    }
                    lane.push(Chain::link(links, &indices));
                }
            });
        }
        for _ in 0..2 {
            let (free, lane, links, payload, consumed) = (&free, &lane, &links, &payload, &consumed);
            scope.spawn(move || {
                let mut out = Popped::new();
                let mut last = [0u64; 2];
                let mut idle = 0;
                while idle < 2_000 {
                    if !lane.pop(3, &mut out) {
                        idle += u32::from(consumed.load(Ordering::Relaxed) >= 2 * ROUNDS);
                        thread::yield_now();
                        continue;
                    }
                    idle = 0;
                    for chain in out.chains() {
                        let indices: Vec<u32> = chain.iter(links).collect();
                        for &index in &indices {
                            let word = payload[index as usize].load(Ordering::Relaxed);
                            let (producer, count) = ((word >> 32) as usize, word & u64::from(u32::MAX));
                            assert!(count > last[producer], "producer {producer}: {count} after {}", last[producer]);
                            last[producer] = count;
                        }
                        consumed.fetch_add(indices.len() as u64, Ordering::Relaxed);
                        indices.iter().for_each(|&index| free.push(Chain::one(index)));
                    }
                }
            });
        }
    });
    let mut seen = drain(&free);
    seen.sort_unstable();
    assert_eq!(seen, (0..CAPACITY).collect::<Vec<_>>());
}

#[test]
fn only_what_is_wanted_is_taken() {
    let ring = IndexRing::new(8);
    let mut popped = Popped::new();
    assert!(!ring.pop_if(&mut popped, |_| true));
    (0..3).for_each(|index| ring.push(Chain::one(index)));
    assert!(!ring.pop_if(&mut popped, |chain| chain.first() != 0));
    assert!(popped.is_empty(), "what is not taken is not shown");
    assert!(ring.pop_if(&mut popped, |chain| chain.first() == 0));
    assert_eq!(popped.chains(), [Chain::one(0)], "the head alone");
    assert!(ring.pop(8, &mut popped));
    assert_eq!(popped.chains(), [Chain::one(1), Chain::one(2)], "in their order");
}
