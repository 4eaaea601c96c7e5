//! The credits of a queue: one pool that all lanes share, and one per lane that has a reserve.
//!
//! A reserve is a range of slot indices that only its lane may occupy, so which pool a credit belongs to follows from its index: nothing is counted that
//! could disagree.

use crate::chain::{Chain, Links};
use crate::config::LaneConfig;
use crate::credit::{AccountId, CreditPool, WaitError};
use crate::limits::LANES_MAX;
use crate::sync::{pause, thread};
use std::time::Duration;

/// How often a publisher looks for a slot before it parks. In between it leaves the lines alone for so many pauses, the first few times; after that it
/// gives its time slice to a worker that may have no CPU of its own.
const LOOKS: u32 = if cfg!(loom) { 0 } else { 32 };
const PAUSING_LOOKS: u32 = 8;
const PAUSES: u32 = 100;

/// The pools of a queue.
#[derive(Debug)]
pub(super) struct Credits {
    /// Pool 0 is shared; the others are reserves, in lane order.
    pools: Vec<CreditPool>,
    /// The first index of each pool but the shared one, ascending; indices below the first belong to the shared pool.
    starts: Vec<u32>,
    /// Which pool is a lane's reserve; 0: none.
    reserve_of: [u8; LANES_MAX],
}

/// A handle's accounts, one per pool. Its owner is the only one to use them.
#[derive(Debug)]
pub struct Accounts {
    ids: Vec<AccountId>,
}

impl Credits {
    pub(super) fn new(links: &impl Links, capacity: u32, lanes: &[LaneConfig]) -> Self {
        let reserved: u32 = lanes.iter().map(|lane| lane.reserve).sum();
        let shared = capacity - reserved;
        let mut pools = vec![CreditPool::new(0..shared, links)];
        let mut starts = Vec::new();
        let mut reserve_of = [0; LANES_MAX];
        let mut start = shared;
        for (lane, config) in lanes.iter().enumerate().filter(|(_, config)| config.reserve > 0) {
            reserve_of[lane] = pools.len() as u8;
            pools.push(CreditPool::new(start..start + config.reserve, links));
            starts.push(start);
            start += config.reserve;
        }
        Credits { pools, starts, reserve_of }
    }

    /// Accounts for a new handle; `None` when there are `ACCOUNTS_MAX` handles.
    pub(super) fn open(&self, links: &impl Links) -> Option<Accounts> {
        let mut ids = Vec::with_capacity(self.pools.len());
        for (at, pool) in self.pools.iter().enumerate() {
            match pool.open_account() {
                Some(id) => ids.push(id),
                None => {
                    // fresh accounts hold nothing
                    self.pools[..at].iter().zip(ids).for_each(|(pool, id)| pool.close_account(links, id));
                    return None;
                }
            }
        }
        Some(Accounts { ids })
    }

    /// Gives back what the accounts hold.
    pub(super) fn close(&self, links: &impl Links, accounts: &mut Accounts) {
        for (pool, id) in self.pools.iter().zip(accounts.ids.drain(..)) {
            pool.close_account(links, id);
        }
    }

    #[inline]
    fn pool_of(&self, index: u32) -> usize {
        if self.starts.is_empty() { 0 } else { self.starts.partition_point(|&start| start <= index) }
    }

    /// True when a job of `lane` may occupy slot `index`: it is of the lane's reserve, or of the shared pool.
    pub(super) fn may_occupy(&self, lane: usize, index: u32) -> bool {
        let pool = self.pool_of(index);
        pool == 0 || pool == usize::from(self.reserve_of[lane])
    }

    /// A slot for a job of `lane`: from its reserve first, then from the shared pool.
    #[inline]
    pub(super) fn acquire(&self, links: &impl Links, accounts: &Accounts, lane: usize) -> Option<u32> {
        let reserve = usize::from(self.reserve_of[lane]);
        if reserve > 0
            && let Some(index) = self.pools[reserve].acquire(links, &accounts.ids[reserve])
        {
            return Some(index);
        }
        self.pools[0].acquire(links, &accounts.ids[0])
    }

    /// Up to `want` slots for jobs of `lane`, as one chain.
    #[inline]
    pub(super) fn acquire_chain(&self, links: &impl Links, accounts: &Accounts, lane: usize, want: u32) -> Option<Chain> {
        let reserve = usize::from(self.reserve_of[lane]);
        if reserve > 0
            && let Some(chain) = self.pools[reserve].acquire_chain(links, &accounts.ids[reserve], want)
        {
            return Some(chain);
        }
        self.pools[0].acquire_chain(links, &accounts.ids[0], want)
    }

    /// Gives a slot back.
    #[inline]
    pub(super) fn release(&self, links: &impl Links, accounts: &Accounts, index: u32) {
        let pool = self.pool_of(index);
        self.pools[pool].release(links, &accounts.ids[pool], index);
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
                return Err(WaitError::TimedOut);
            }
            if look < PAUSING_LOOKS {
                pause(PAUSES)
            } else {
                thread::yield_now()
            }
            if let Some(index) = self.acquire(links, accounts, lane) {
                return Ok(index);
            }
        }
        let reserve = usize::from(self.reserve_of[lane]);
        if reserve == 0 {
            return self.pools[0].wait(links, &accounts.ids[0], patience, closed);
        }
        // two pools could grant: wait at the shared one in short turns, and look at the reserve in between
        loop {
            if let Some(index) = self.acquire(links, accounts, lane) {
                return Ok(index);
            }
            let Some(left) = patience() else { return Err(WaitError::TimedOut) };
            let mut turn = Some(left.min(Duration::from_millis(2)));
            match self.pools[0].wait(links, &accounts.ids[0], || turn.take(), &closed) {
                Err(WaitError::TimedOut) => {}
                decided => return decided,
            }
        }
    }

    /// Wakes every waiting publisher with `Closed`.
    pub(super) fn close_waiters(&self) {
        for pool in &self.pools {
            pool.close();
        }
    }

    pub(super) fn free(&self) -> u32 {
        self.pools.iter().map(CreditPool::free).sum()
    }

    pub(super) fn waiting(&self) -> usize {
        self.pools.iter().map(|pool| pool.waiting() as usize).sum()
    }
}
