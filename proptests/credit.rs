//! Credits against the naive model: a set of free indices.

use proptest::prelude::*;
use ringmill::chain::{Chain, LinkArray};
use ringmill::credit::{AccountId, CreditPool, Signal, WaitError, Waiting, Watermark};
use std::collections::BTreeSet;

/// What one thread may do to a pool. Accounts and held credits are named by a number, modulo how many there are.
#[derive(Debug, Clone)]
enum Act {
    Open,
    Close(usize),
    Acquire(usize),
    AcquireChain(usize, u32),
    Wait(usize),
    Release(usize, usize),
    ReleaseChain(usize, usize),
    ReleaseUnowned(usize),
    Batch(usize, usize),
}

fn act() -> impl Strategy<Value = Act> {
    let any = any::<usize>;
    prop_oneof![
        1 => Just(Act::Open),
        1 => any().prop_map(Act::Close),
        8 => any().prop_map(Act::Acquire),
        3 => (any(), 0u32..40).prop_map(|(id, want)| Act::AcquireChain(id, want)),
        1 => any().prop_map(Act::Wait),
        5 => (any(), any()).prop_map(|(id, at)| Act::Release(id, at)),
        2 => (any(), 1usize..33).prop_map(|(id, count)| Act::ReleaseChain(id, count)),
        1 => (1usize..33).prop_map(Act::ReleaseUnowned),
        1 => (any(), 1usize..80).prop_map(|(id, count)| Act::Batch(id, count)),
    ]
}

struct Model {
    pool: CreditPool,
    links: LinkArray,
    accounts: Vec<AccountId>,
    free: BTreeSet<u32>,
    held: Vec<u32>,
}

impl Model {
    fn new(base: u32, capacity: u32) -> Self {
        let links = LinkArray::new((base + capacity) as usize);
        let pool = CreditPool::new(base..base + capacity, &links);
        let accounts = vec![pool.open_account().unwrap()];
        Model { pool, links, accounts, free: (base..base + capacity).collect(), held: Vec::new() }
    }

    fn account(&self, number: usize) -> &AccountId {
        &self.accounts[number % self.accounts.len()]
    }

    /// `index` was handed out: it must have been free.
    fn took(&mut self, index: u32) {
        assert!(self.free.remove(&index), "{index} was not free");
        self.held.push(index);
    }

    fn give_back(&mut self, count: usize) -> Vec<u32> {
        let from = self.held.len() - count.min(self.held.len());
        let given = self.held.split_off(from);
        self.free.extend(&given);
        given
    }

    fn apply(&mut self, act: &Act) {
        match *act {
            Act::Open => {
                if self.accounts.len() < 70 {
                    self.accounts.push(self.pool.open_account().unwrap());
                }
            }
            Act::Close(id) => {
                if self.accounts.len() > 1 {
                    let id = self.accounts.swap_remove(id % self.accounts.len());
                    self.pool.close_account(&self.links, id);
                }
            }
            Act::Acquire(id) => match self.pool.acquire(&self.links, self.account(id)) {
                Some(index) => self.took(index),
                None => assert!(self.free.is_empty(), "full with {} free", self.free.len()),
            },
            Act::AcquireChain(id, want) => match self.pool.acquire_chain(&self.links, self.account(id), want) {
                Some(chain) => {
                    assert!((1..=want.max(1)).contains(&chain.len()));
                    let indices: Vec<u32> = chain.iter(&self.links).collect();
                    indices.into_iter().for_each(|index| self.took(index));
                }
                None => assert!(self.free.is_empty(), "full with {} free", self.free.len()),
            },
            Act::Wait(id) => match Waiting::new().wait(&self.links, &[(&self.pool, self.account(id))], || None, || false) {
                Ok(index) => self.took(index),
                Err(error) => assert_eq!((error, self.free.len()), (WaitError::TimedOut, 0)),
            },
            Act::Release(id, at) => {
                if !self.held.is_empty() {
                    let index = self.held.swap_remove(at % self.held.len());
                    self.free.insert(index);
                    self.pool.release(&self.links, self.account(id), index);
                }
            }
            Act::ReleaseChain(id, count) => {
                let given = self.give_back(count);
                if !given.is_empty() {
                    self.pool.release_chain(&self.links, self.account(id), Chain::link(&self.links, &given));
                }
            }
            Act::ReleaseUnowned(count) => {
                let given = self.give_back(count);
                if !given.is_empty() {
                    self.pool.release_unowned(&self.links, Chain::link(&self.links, &given));
                }
            }
            Act::Batch(id, count) => {
                for index in self.give_back(count) {
                    self.pool.deposit(&self.links, self.account(id), index);
                }
                self.pool.look_for_waiters(&self.links, self.account(id));
            }
        }
        assert_eq!(self.pool.free() as usize, self.free.len());
        assert_eq!(self.pool.waiting(), 0);
    }
}

proptest! {
    #[test]
    fn a_pool_is_a_set_of_free_indices(
        base in 0u32..20,
        capacity in prop_oneof![1u32..20, 20u32..600],
        acts in prop::collection::vec(act(), 1..400),
    ) {
        let mut model = Model::new(base, capacity);
        for act in &acts {
            model.apply(act);
        }
        // and one account, whichever, can always take what is free
        let left = model.free.len();
        for _ in 0..left {
            model.apply(&Act::Acquire(acts.len()));
        }
        prop_assert!(model.free.is_empty());
    }

    #[test]
    fn one_active_producer_fills_the_queue_beside_63_idle_ones(capacity in 64u32..2000, hoards in prop::collection::vec(1u32..32, 63)) {
        let mut model = Model::new(0, capacity);
        for (id, hoard) in (1..).zip(hoards) {
            model.apply(&Act::Open);
            model.apply(&Act::AcquireChain(id, hoard));
            model.apply(&Act::ReleaseChain(id, hoard as usize));
        }
        for _ in 0..capacity {
            let got = model.pool.acquire(&model.links, &model.accounts[0]);
            prop_assert!(got.is_some());
            model.took(got.unwrap());
        }
        prop_assert_eq!(model.pool.acquire(&model.links, &model.accounts[0]), None);
    }

    #[test]
    fn a_watermark_signals_each_crossing_once(low in 0u32..50, gap in 1u32..50, depths in prop::collection::vec(0u32..120, 0..200)) {
        let high = low + gap;
        let mut mark = Watermark::new(low, high);
        let mut last = Signal::Low;
        for depth in depths {
            match mark.update(depth) {
                Some(signal) => {
                    prop_assert_ne!(signal, last);
                    let beyond = if signal == Signal::High { depth >= high } else { depth <= low };
                    prop_assert!(beyond);
                    last = signal;
                }
                None => {
                    let between = if last == Signal::High { depth > low } else { depth < high };
                    prop_assert!(between);
                }
            }
            prop_assert_eq!(mark.is_high(), last == Signal::High);
        }
    }
}
