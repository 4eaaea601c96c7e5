//! The credits of a queue: one pool that all lanes share, and one per lane that has a reserve.
//!
//! A reserve is a range of slot indices that only its lane may occupy, so which pool a credit belongs to follows from its index: nothing is counted that
//! could disagree.

use crate::chain::{Chain, Links};
use crate::config::LaneConfig;
use crate::credit::{AccountId, CreditPool, Place, WaitError, Waiting};
use crate::limits::{LANES_MAX, MODEL};
use crate::sync::thread;
use std::cell::OnceCell;
use std::task::{Poll, Waker};
use std::time::Duration;

/// How often a publisher looks for a slot before it parks. In between it gives its time slice away: by pausing it would keep a CPU from a worker, who frees
/// the slots.
const LOOKS: u32 = if MODEL { 0 } else { 32 };

/// The pools of a queue.
#[derive(Debug)]
pub(super) struct Credits {
    shared: CreditPool,
    /// In lane order.
    reserves: Vec<CreditPool>,
    /// The first index of each reserve, ascending; indices below the first belong to the shared pool.
    starts: Vec<u32>,
    /// Which reserve is a lane's own.
    reserve_of: [Option<u8>; LANES_MAX],
}

/// A handle's accounts, one per pool, and its place in the lines. Its owner is the only one to use them.
#[derive(Debug)]
pub struct Accounts {
    shared: AccountId,
    reserves: Vec<AccountId>,
    /// Made by the first wait.
    waiting: OnceCell<Waiting>,
}

impl Credits {
    pub(super) fn new(links: &impl Links, capacity: u32, lanes: &[LaneConfig]) -> Self {
        let reserved: u32 = lanes.iter().map(|lane| lane.reserve).sum();
        let (mut reserves, mut starts, mut reserve_of) = (Vec::new(), Vec::new(), [None; LANES_MAX]);
        let mut start = capacity - reserved;
        let shared = CreditPool::new(0..start, links);
        for (lane, config) in lanes.iter().enumerate().filter(|(_, config)| config.reserve > 0) {
            reserve_of[lane] = Some(reserves.len() as u8);
            reserves.push(CreditPool::new(start..start + config.reserve, links));
            starts.push(start);
            start += config.reserve;
        }
        Credits { shared, reserves, starts, reserve_of }
    }

    /// Accounts for a new handle; `None` when there are `ACCOUNTS_MAX` handles.
    pub(super) fn open(&self, links: &impl Links) -> Option<Accounts> {
        let shared = self.shared.open_account()?;
        let mut accounts = Accounts { shared, reserves: Vec::with_capacity(self.reserves.len()), waiting: OnceCell::new() };
        for reserve in &self.reserves {
            let Some(id) = reserve.open_account() else {
                // fresh accounts hold nothing
                self.close(links, &mut accounts);
                return None;
            };
            accounts.reserves.push(id);
        }
        Some(accounts)
    }

    /// Gives back what the accounts hold. They are of no use afterwards.
    pub(super) fn close(&self, links: &impl Links, accounts: &mut Accounts) {
        self.leave(links, accounts);
        self.shared.close_account(links, std::mem::replace(&mut accounts.shared, AccountId::closed()));
        for (reserve, id) in self.reserves.iter().zip(accounts.reserves.drain(..)) {
            reserve.close_account(links, id);
        }
    }

    /// The pool of an index, and the handle's account there.
    #[inline]
    fn home<'a>(&'a self, accounts: &'a Accounts, index: u32) -> (&'a CreditPool, &'a AccountId) {
        match self.reserve_at(index) {
            None => (&self.shared, &accounts.shared),
            Some(reserve) => (&self.reserves[reserve], &accounts.reserves[reserve]),
        }
    }

    /// The reserve that an index belongs to, if it belongs to one.
    #[inline]
    fn reserve_at(&self, index: u32) -> Option<usize> {
        if self.starts.is_empty() {
            return None;
        }
        self.starts.partition_point(|&start| start <= index).checked_sub(1)
    }

    /// The reserve of a lane, and the handle's account there.
    #[inline]
    fn reserve<'a>(&'a self, accounts: &'a Accounts, lane: usize) -> Option<(&'a CreditPool, &'a AccountId)> {
        self.reserve_of[lane].map(|reserve| (&self.reserves[usize::from(reserve)], &accounts.reserves[usize::from(reserve)]))
    }

    /// True when a job of `lane` may occupy slot `index`: it is of the lane's reserve, or of the shared pool.
    pub(super) fn may_occupy(&self, lane: usize, index: u32) -> bool {
        self.reserve_at(index).is_none_or(|reserve| self.reserve_of[lane] == Some(reserve as u8))
    }

    /// True when somebody waits who is given slot `index` if it becomes free.
    pub(super) fn is_awaited(&self, index: u32) -> bool {
        self.reserve_at(index).map_or(&self.shared, |reserve| &self.reserves[reserve]).waiting() > 0
    }

    /// A slot for a job of `lane`: from its reserve first, then from the shared pool.
    // always, here and in the pool: a call costs as much as the rest
    #[inline(always)]
    pub(super) fn acquire(&self, links: &impl Links, accounts: &Accounts, lane: usize) -> Option<u32> {
        if let Some((reserve, id)) = self.reserve(accounts, lane)
            && let Some(index) = reserve.acquire(links, id)
        {
            return Some(index);
        }
        self.shared.acquire(links, &accounts.shared)
    }

    /// As [`acquire`](Self::acquire), but leaves what other handles' accounts hold of the shared pool alone. Not what they hold of a reserve: its lane draws on
    /// the shared pool only when the reserve is used up.
    #[inline(always)]
    pub(super) fn acquire_near(&self, links: &impl Links, accounts: &Accounts, lane: usize) -> Option<u32> {
        if let Some((reserve, id)) = self.reserve(accounts, lane)
            && let Some(index) = reserve.acquire(links, id)
        {
            return Some(index);
        }
        self.shared.acquire_near(links, &accounts.shared)
    }

    /// Up to `want` slots for jobs of `lane`, as one chain.
    #[inline]
    pub(super) fn acquire_chain(&self, links: &impl Links, accounts: &Accounts, lane: usize, want: u32) -> Option<Chain> {
        if let Some((reserve, id)) = self.reserve(accounts, lane)
            && let Some(chain) = reserve.acquire_chain(links, id, want)
        {
            return Some(chain);
        }
        self.shared.acquire_chain(links, &accounts.shared, want)
    }

    /// As [`acquire_chain`](Self::acquire_chain), but as near as [`acquire_near`](Self::acquire_near).
    #[inline]
    pub(super) fn acquire_chain_near(&self, links: &impl Links, accounts: &Accounts, lane: usize, want: u32) -> Option<Chain> {
        if let Some((reserve, id)) = self.reserve(accounts, lane)
            && let Some(chain) = reserve.acquire_chain(links, id, want)
        {
            return Some(chain);
        }
        self.shared.acquire_chain_near(links, &accounts.shared, want)
    }

    /// For a job of `lane`, who has slot `index` in hand: that one, or, if it is of another lane's reserve, one that its lane may occupy, if any is free.
    pub(super) fn fitting(&self, links: &impl Links, accounts: &Accounts, lane: usize, index: u32) -> u32 {
        if self.may_occupy(lane, index) {
            return index;
        }
        let Some(own) = self.acquire(links, accounts, lane) else { return index };
        self.release(links, accounts, index);
        own
    }

    /// Gives a slot back.
    #[inline]
    pub(super) fn release(&self, links: &impl Links, accounts: &Accounts, index: u32) {
        let (pool, id) = self.home(accounts, index);
        pool.release(links, id, index);
    }

    /// Waits for a slot, first come, first served. `patience` says how long to park, `None` when time is up.
    pub(super) fn wait(
        &self,
        links: &impl Links,
        accounts: &Accounts,
        lane: usize,
        mut patience: impl FnMut() -> Option<Duration>,
        closed: impl Fn() -> bool,
    ) -> Result<u32, WaitError> {
        // jobs are short, and a wake-up costs a thousand of them: look again for a while, unless others wait already
        for look in 0..LOOKS {
            if self.waiting() > 0 || closed() {
                break;
            }
            if patience().is_none() {
                // what other handles have gathered was not looked at yet
                return self.acquire(links, accounts, lane).ok_or(WaitError::TimedOut);
            }
            thread::yield_now();
            let found = if look % 4 == 3 { self.acquire(links, accounts, lane) } else { self.acquire_near(links, accounts, lane) };
            if let Some(index) = found {
                return Ok(index);
            }
        }
        // of a task that was forgotten while it waited
        self.leave(links, accounts);
        let (places, count) = self.places(accounts, lane);
        accounts.waiting.get_or_init(Waiting::new).wait(links, &places[..count], patience, closed)
    }

    /// One look of a task that waits for a slot, first come, first served. It goes on with the wait that is under way if it is not the `first` look.
    pub(super) fn poll(
        &self,
        links: &impl Links,
        accounts: &Accounts,
        lane: usize,
        first: bool,
        waker: &Waker,
        closed: impl Fn() -> bool,
    ) -> Poll<Result<u32, WaitError>> {
        if first {
            self.leave(links, accounts);
        }
        let (places, count) = self.places(accounts, lane);
        accounts.waiting.get_or_init(Waiting::new).poll(links, &places[..count], waker, closed)
    }

    /// Whoever waited here does not any more: a grant that came too late for it is passed on.
    pub(super) fn leave(&self, links: &impl Links, accounts: &Accounts) {
        if let Some(waiting) = accounts.waiting.get() {
            waiting.leave(links, self.pools());
        }
    }

    /// Where a job of `lane` may find a slot, and how many such places there are.
    fn places<'a>(&'a self, accounts: &'a Accounts, lane: usize) -> ([Place<'a>; 2], usize) {
        let shared = (&self.shared, &accounts.shared);
        match self.reserve(accounts, lane) {
            None => ([shared; 2], 1),
            Some(reserve) => ([reserve, shared], 2),
        }
    }

    /// Wakes every waiting publisher with `Closed`.
    pub(super) fn close_waiters(&self) {
        self.pools().for_each(CreditPool::close);
    }

    /// Wakes everyone who waits, for another look at the world. All of them stand in the shared line.
    pub(super) fn wake_waiters(&self) {
        self.shared.wake_all();
    }

    pub(super) fn free(&self) -> u32 {
        self.pools().map(CreditPool::free).sum()
    }

    /// The lane whose reserve slot `index` is of, if it is of one.
    #[cfg(feature = "test-util")]
    pub(super) fn lane_of_reserve(&self, index: u32) -> Option<usize> {
        let reserve = self.reserve_at(index)? as u8;
        self.reserve_of.iter().position(|own| *own == Some(reserve))
    }

    /// How many slots are free for jobs of `lane`.
    #[cfg(feature = "test-util")]
    pub(super) fn room(&self, lane: usize) -> u32 {
        let reserve = self.reserve_of[lane].map_or(0, |reserve| self.reserves[usize::from(reserve)].free());
        reserve + self.shared.free()
    }

    /// How many wait. All of them stand in the shared line.
    pub(super) fn waiting(&self) -> usize {
        self.shared.waiting() as usize
    }

    fn pools(&self) -> impl Iterator<Item = &CreditPool> + Clone {
        std::iter::once(&self.shared).chain(&self.reserves)
    }
}
