//! Which accounts exist. Opening may wait for another opener; visiting never waits.

use super::account::Account;
use crate::limits::ACCOUNTS_MAX;
use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::sync::{OnceLock, peek_u64};
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

/// Accounts allocated at a time.
const BLOCK: usize = if ACCOUNTS_MAX < 16 { ACCOUNTS_MAX } else { 16 };
const BLOCKS: usize = ACCOUNTS_MAX / BLOCK;
const WORDS: usize = ACCOUNTS_MAX.div_ceil(64);
const _: () = assert!(ACCOUNTS_MAX.is_multiple_of(BLOCK) && (ACCOUNTS_MAX <= 64 || ACCOUNTS_MAX.is_multiple_of(64)));

/// The right to fill one account.
///
/// It can move to another thread but is not shared between threads: an account has one owner at a time.
#[derive(Debug)]
pub struct AccountId {
    index: u32,
    /// The account itself: its owner comes by with every job, and goes straight to it.
    account: Arc<Account>,
    one_thread_at_a_time: PhantomData<Cell<()>>,
}

/// Two ids are equal if they are of one account.
impl PartialEq for AccountId {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.account, &other.account)
    }
}

impl Eq for AccountId {}

impl AccountId {
    /// What is left in the place of an id that was closed: the right to an account of no pool.
    pub fn closed() -> Self {
        AccountId { index: ACCOUNTS_MAX as u32, account: Arc::new(Account::new()), one_thread_at_a_time: PhantomData }
    }

    /// The account, for its owner.
    #[inline]
    pub(super) fn account(&self) -> &Account {
        &self.account
    }
}

#[derive(Debug)]
pub(super) struct Registry {
    /// One bit per account: set by whoever opens it (CAS), cleared by whoever closes it, read by every visitor. An account whose bit is clear is
    /// empty.
    open: [AtomicU64; WORDS],
    /// How many bits are set. RMWs by openers and closers; sizes refills.
    count: AtomicU32,
    /// Made by the first opener of a block, read by all, never removed.
    blocks: [OnceLock<Box<[Arc<Account>]>>; BLOCKS],
}

impl Registry {
    pub(super) fn new() -> Self {
        let registry = Registry {
            open: std::array::from_fn(|_| AtomicU64::new(0)),
            count: AtomicU32::new(0),
            blocks: std::array::from_fn(|_| OnceLock::new()),
        };
        if cfg!(loom) {
            registry.blocks.iter().for_each(|block| drop(block.set(new_block())));
        }
        registry
    }

    /// An account that nobody owns, or `None` when all [`ACCOUNTS_MAX`] are open.
    pub(super) fn open(&self) -> Option<AccountId> {
        let index = (0..WORDS as u32).find_map(|word| self.open_in(word))?;
        // relaxed: statistics
        self.count.fetch_add(1, Relaxed);
        let block = self.blocks[index as usize / BLOCK].get_or_init(new_block);
        let account = Arc::clone(&block[index as usize % BLOCK]);
        Some(AccountId { index, account, one_thread_at_a_time: PhantomData })
    }

    fn open_in(&self, word: u32) -> Option<u32> {
        let bits = &self.open[word as usize];
        let mut seen = peek_u64(bits);
        loop {
            let bit = seen.trailing_ones();
            let index = word * 64 + bit;
            if bit == 64 || index as usize >= ACCOUNTS_MAX {
                return None;
            }
            // edge credit.id, acquire: the last owner left the account empty. (A CAS on a stale word would fail anyway; the edge is what makes
            // "one owner at a time" a fact and not a race. No model misses it.)
            // relaxed on failure: CAS re-checks
            match bits.compare_exchange_weak(seen, seen | 1 << bit, Acquire, Relaxed) {
                Ok(_) => return Some(index),
                Err(now) => seen = now,
            }
        }
    }

    /// Gives an account back. The caller has emptied it.
    pub(super) fn close(&self, id: AccountId) {
        debug_assert_eq!(id.account().len(), 0);
        // edge credit.id, release: the account is empty
        self.open[id.index as usize / 64].fetch_and(!(1 << (id.index % 64)), Release);
        // relaxed: statistics
        self.count.fetch_sub(1, Relaxed);
    }

    /// How many accounts are open.
    pub(super) fn count(&self) -> u32 {
        // relaxed: statistics
        self.count.load(Relaxed)
    }

    /// Every open account but `id`'s, those after it first, so that two who starve do not begin at the same one.
    pub(super) fn others(&self, id: Option<&AccountId>) -> impl Iterator<Item = &Account> {
        let own = id.map_or(ACCOUNTS_MAX as u32, |id| id.index);
        let after = self.indices().filter(move |&index| index > own);
        let before = self.indices().filter(move |&index| index < own);
        // an account whose block is not there yet has never been filled
        after.chain(before).filter_map(|index| self.visit(index))
    }

    fn indices(&self) -> impl Iterator<Item = u32> {
        self.open.iter().zip(0u32..).flat_map(|(bits, word)| {
            // relaxed: who must not miss an account that holds something has passed the fence credit.wait
            let mut left = bits.load(Relaxed);
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros();
                left &= left.wrapping_sub(1);
                (bit < 64).then_some(word * 64 + bit)
            })
        })
    }

    fn visit(&self, index: u32) -> Option<&Account> {
        let index = index as usize;
        self.blocks[index / BLOCK].get().map(|block| &*block[index % BLOCK])
    }
}

fn new_block() -> Box<[Arc<Account>]> {
    (0..BLOCK).map(|_| Arc::new(Account::new())).collect()
}
