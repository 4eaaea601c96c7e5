//! The pool: where a thread finds a credit, and where it leaves one.

use super::packed::split;
use super::registry::{AccountId, Registry};
use super::rules::{Rules, Sound};
use super::stack::Stack;
use super::waiters::Waiters;
use crate::chain::{Chain, Links};
use crate::crash_point;
use crate::limits::{CAPACITY_MAX, CHAIN_MAX};
use crate::sync::{full_fence, full_fence_after_rmw};
use std::fmt;
use std::ops::Range;

/// The credits of a queue, or of a part of it: the free ones among a range of slot indices.
///
/// A pool does not own the links its chains hang on; every call gets the same ones.
#[derive(Debug)]
pub struct CreditPool<R: Rules = Sound> {
    range: Range<u32>,
    /// How long the chains are that travel through the stack: an eighth of the pool, so that a small pool has several.
    chain: u32,
    pub(super) stack: Stack<R>,
    registry: Registry,
    pub(super) waiters: Waiters,
}

/// Why a wait ended without a credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitError {
    /// The deadline passed.
    TimedOut,
    /// The queue was closed.
    Closed,
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WaitError::TimedOut => "no credit became free before the deadline",
            WaitError::Closed => "the queue was closed while waiting for a credit",
        })
    }
}

impl std::error::Error for WaitError {}

impl CreditPool {
    /// A pool whose credits, the indices of `range`, are all free.
    ///
    /// # Panics
    /// When the range is empty or reaches beyond [`CAPACITY_MAX`].
    pub fn new(range: Range<u32>, links: &impl Links) -> Self {
        let chain = (range.end.saturating_sub(range.start)).div_ceil(8).min(CHAIN_MAX);
        Self::with_rules(range, links, chain)
    }
}

impl<R: Rules> CreditPool<R> {
    /// As [`new`](CreditPool::new), under the rules `R` and with chains of a given length.
    #[doc(hidden)]
    pub fn with_rules(range: Range<u32>, links: &impl Links, chain: u32) -> Self {
        assert!(range.start < range.end && range.end <= CAPACITY_MAX, "a pool has 1..={CAPACITY_MAX} slots, not {range:?}");
        let stack = Stack::with_rules(range.clone());
        // from the end, so that the lowest indices come first
        let mut end = range.end;
        while end > range.start {
            let first = end.saturating_sub(chain).max(range.start);
            (first + 1..end).for_each(|index| links.set_next(index - 1, index));
            stack.push(Chain::new(first, end - first));
            end = first;
        }
        CreditPool { range, chain, stack, registry: Registry::new(), waiters: Waiters::new() }
    }

    /// How many credits there are.
    #[inline]
    pub fn capacity(&self) -> u32 {
        self.range.end - self.range.start
    }

    /// True when `index` is one of its credits.
    #[inline]
    pub(super) fn owns(&self, index: u32) -> bool {
        self.range.contains(&index)
    }

    /// How many credits are free: exact at rest; otherwise off by what other threads have in hand.
    pub fn free(&self) -> u32 {
        let cached: u32 = self.registry.others(None).map(|account| account.len()).sum();
        (self.stack.free() + cached).min(self.capacity())
    }

    /// How many threads wait for a credit. The answer may be old when it arrives.
    pub fn waiting(&self) -> u32 {
        self.waiters.count()
    }

    /// An account for a producer or a worker; `None` when [`ACCOUNTS_MAX`](crate::limits::ACCOUNTS_MAX) are open.
    pub fn open_account(&self) -> Option<AccountId> {
        self.registry.open()
    }

    /// Closes an account. What it holds goes to those who wait, or back to the stack.
    pub fn close_account(&self, links: &impl Links, id: AccountId) {
        if let Some(held) = id.account().take_all() {
            self.hand_over(links, Some(held));
        }
        self.registry.close(id);
    }

    // ---- taking ----

    /// Takes a credit: from the own account, else from the stack, else from the other accounts. `None`: full.
    ///
    /// Exact at rest; while other threads have credits in hand, `None` may be early by those.
    /// Progress: the own account wait-free, the rest lock-free.
    #[inline(always)]
    pub fn acquire(&self, links: &impl Links, id: &AccountId) -> Option<u32> {
        match id.account().take_one(links) {
            Some(index) => Some(index),
            None => self.refill(links, id, 1).map(|chain| chain.first()),
        }
    }

    /// As [`acquire`](Self::acquire), but leaves the other accounts alone: for one who will look again. Whoever takes the few credits that a busy worker has
    /// gathered so far takes its line as well, job after job; a little later they are a chain on the stack.
    #[inline(always)]
    pub fn acquire_near(&self, links: &impl Links, id: &AccountId) -> Option<u32> {
        id.account().take_one(links).or_else(|| self.refill_near(links, id, 1).map(|chain| chain.first()))
    }

    /// As [`acquire_chain`](Self::acquire_chain), but leaves the other accounts alone.
    #[inline]
    pub fn acquire_chain_near(&self, links: &impl Links, id: &AccountId, want: u32) -> Option<Chain> {
        let want = want.clamp(1, CHAIN_MAX);
        id.account().take(links, want).or_else(|| self.refill_near(links, id, want))
    }

    #[cold]
    fn refill_near(&self, links: &impl Links, id: &AccountId, want: u32) -> Option<Chain> {
        self.stack.pop().map(|found| self.keep_rest(links, id, found, want))
    }

    /// Takes 1..=`want` credits at once, as many as the first place that has any can give. At most [`CHAIN_MAX`].
    #[inline]
    pub fn acquire_chain(&self, links: &impl Links, id: &AccountId, want: u32) -> Option<Chain> {
        let want = want.clamp(1, CHAIN_MAX);
        id.account().take(links, want).or_else(|| self.refill(links, id, want))
    }

    /// The own account is empty: finds a chain, takes `want` of it, keeps some and puts the rest back.
    #[cold]
    fn refill(&self, links: &impl Links, id: &AccountId, want: u32) -> Option<Chain> {
        let found = self.find(id)?;
        Some(self.keep_rest(links, id, found, want))
    }

    /// Takes `want` of what was found, keeps some and puts the rest back.
    fn keep_rest(&self, links: &impl Links, id: &AccountId, found: Chain, want: u32) -> Chain {
        crash_point!("credit.refill");
        links.prefetch_chain(found);
        let (taken, rest) = split(links, found, want);
        if let Some(rest) = rest {
            self.keep_share(links, id, rest, self.share().saturating_sub(taken.len()));
            if R::REFILL_LOOKS {
                self.look_for_waiters(links, id);
            }
        }
        taken
    }

    /// A chain from the stack, else all of the first account that is not empty.
    pub(super) fn find(&self, id: &AccountId) -> Option<Chain> {
        self.stack.pop().or_else(|| {
            // a twin that never revokes looks at nobody
            R::REVOKES.then(|| self.registry.others(Some(id)).find_map(|account| account.take_all()))?
        })
    }

    /// Puts `share` of `rest` into the own account, which is empty, and what is over back on the stack.
    fn keep_share(&self, links: &impl Links, id: &AccountId, rest: Chain, share: u32) {
        if share == 0 {
            return self.stack.push(rest);
        }
        let (kept, surplus) = split(links, rest, share);
        if let Some(surplus) = surplus {
            self.stack.push(surplus);
        }
        let older = id.account().put(links, kept, CHAIN_MAX);
        debug_assert!(older.is_none(), "an empty account stays empty until its owner fills it");
    }

    /// How many credits one account may keep from a refill, so that idle accounts hold half of the pool at most. To cut a
    /// chain is to walk it, and each of its slots is another core's last write: while few share the pool a chain is kept whole.
    fn share(&self) -> u32 {
        if R::KEEPS_ALL {
            return CHAIN_MAX;
        }
        (self.capacity() / (2 * self.registry.count().max(1))).clamp(1, CHAIN_MAX)
    }

    // ---- giving back ----

    /// Gives one credit back, to whoever waits first.
    #[inline]
    pub fn release(&self, links: &impl Links, id: &AccountId, index: u32) {
        self.deposit(links, id, index);
        self.look_for_waiters(links, id);
    }

    /// Gives a chain of credits back, to those who wait first.
    #[inline]
    pub fn release_chain(&self, links: &impl Links, id: &AccountId, chain: Chain) {
        self.deposit_chain(links, id, chain);
        self.look_for_waiters(links, id);
    }

    /// The first half of [`release`](Self::release): the credit is free, but who sleeps has not been told.
    ///
    /// A worker that gives back many may deposit them all and then call [`look_for_waiters`](Self::look_for_waiters) once: one fence for the
    /// batch. That is legal as long as the thread neither parks, nor runs code that may block or panic, nor closes the account, between the
    /// first deposit and the look.
    #[inline]
    pub fn deposit(&self, links: &impl Links, id: &AccountId, index: u32) {
        self.deposit_chain(links, id, Chain::one(index));
    }

    /// As [`deposit`](Self::deposit), for a chain.
    // always: much of it is not there for one credit
    #[inline(always)]
    pub fn deposit_chain(&self, links: &impl Links, id: &AccountId, chain: Chain) {
        debug_assert!(self.owns(chain.first()), "{} is no credit of {:?}", chain.first(), self.range);
        if chain.len() >= self.chain {
            self.spill(links, chain);
        } else if let Some(older) = id.account().put(links, chain, self.chain) {
            crash_point!("credit.spill");
            self.spill(links, older);
        }
    }

    /// A chain for the stack.
    // never: it comes once in 32 credits, and the others would save registers for it
    #[inline(never)]
    fn spill(&self, links: &impl Links, chain: Chain) {
        links.note(chain);
        self.stack.push(chain);
    }

    /// The second half of [`release`](Self::release): if anyone waits, hands over what this thread's account and the stack hold.
    #[inline]
    pub fn look_for_waiters(&self, links: &impl Links, id: &AccountId) {
        // fence credit.deposit, against credit.wait: deposits above, the waiter count below.
        // - ours first: the waiter scans after its own fence and finds what we deposited, or that somebody took it since;
        // - theirs first: we read a count that includes the waiter, or it was served or has left since.
        // Every deposit ends in an RMW.
        if R::DEPOSIT_FENCE {
            full_fence_after_rmw();
        }
        if self.waiters.count() > 0 {
            self.serve(links, id);
        }
    }

    /// Gives credits back on behalf of a thread that has no account.
    pub fn release_unowned(&self, links: &impl Links, chain: Chain) {
        self.hand_over(links, Some(chain));
    }

    #[cold]
    fn serve(&self, links: &impl Links, id: &AccountId) {
        let own = id.account().take_all();
        self.hand_over(links, own);
    }

    /// Gives what is in hand, then what the stack holds, to the line; ends when either has run out. What nobody wants goes to the stack.
    pub(super) fn hand_over(&self, links: &impl Links, mut hand: Option<Chain>) {
        loop {
            while let Some(chain) = hand
                && let Some(turn) = self.waiters.next()
            {
                // cut before the grant: afterwards the index and its link are the waiter's
                let (one, rest) = split(links, chain, 1);
                crash_point!("credit.grant");
                if turn.grant::<R>(one.first()) {
                    hand = rest;
                }
            }
            if let Some(unwanted) = hand {
                self.stack.push(unwanted);
                if !R::LAST_LOOK {
                    return;
                }
                // fence credit.deposit, against credit.wait: the push above, the count below; the two cases are those of look_for_waiters
                full_fence();
            }
            if self.waiters.count() == 0 {
                return;
            }
            hand = self.stack.pop();
            if hand.is_none() {
                return;
            }
        }
    }

    // ---- waiting: see `Waiting` ----

    /// Sends everyone who waits home with [`WaitError::Closed`].
    ///
    /// First make `closed` true: who joins the line after this looks at it, and the line's lock makes it visible.
    pub fn close(&self) {
        self.waiters.close();
    }

    /// Wakes everyone who waits, to ask `closed` and `patience` again.
    pub fn wake_all(&self) {
        self.waiters.wake_all();
    }
}
