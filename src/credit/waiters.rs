//! The line of those who wait for a credit.

use crate::limits::INDEX_NONE;
use crate::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::sync::{Arc, CachePadded, Mutex, Unparker};
use std::collections::VecDeque;

/// A FIFO of waiters. Its length stands beside it, where depositors read it without the lock.
#[derive(Debug)]
pub(super) struct Waiters {
    /// The length of the line. Changed under the lock; read by every depositor after the fence credit.deposit.
    count: CachePadded<AtomicU32>,
    line: Mutex<VecDeque<Arc<Waiter>>>,
}

/// One who waits.
#[derive(Debug)]
pub(super) struct Waiter {
    /// WAITING, then once and for all a granted index, LEFT or CLOSED. CAS by the granter (who took the waiter from the line), by the closer and
    /// by the waiter itself.
    state: AtomicU32,
    unparker: Unparker,
}

const WAITING: u32 = u32::MAX;
const LEFT: u32 = u32::MAX - 1;
const CLOSED: u32 = u32::MAX - 2;
const _: () = assert!(INDEX_NONE < CLOSED);

/// What others decided about a waiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Granted(u32),
    Closed,
}

impl Waiters {
    pub(super) fn new() -> Self {
        Waiters { count: CachePadded::new(AtomicU32::new(0)), line: Mutex::new(VecDeque::new()) }
    }

    /// How many stand in the line.
    #[inline]
    pub(super) fn count(&self) -> u32 {
        // relaxed: ordered by fence credit.deposit where it matters
        self.count.load(Relaxed)
    }

    /// A new waiter, at the end.
    pub(super) fn join(&self, unparker: Unparker) -> Arc<Waiter> {
        let waiter = Arc::new(Waiter { state: AtomicU32::new(WAITING), unparker });
        let mut line = self.line.lock();
        line.push_back(Arc::clone(&waiter));
        // relaxed: ordered by fence credit.wait
        self.count.fetch_add(1, Relaxed);
        waiter
    }

    /// Takes the head of the line. Does not touch the lock while nobody seems to wait: who finds none deposits, fences and looks again.
    pub(super) fn next(&self) -> Option<Arc<Waiter>> {
        if self.count() == 0 { None } else { self.pop() }
    }

    fn pop(&self) -> Option<Arc<Waiter>> {
        let mut line = self.line.lock();
        let head = line.pop_front()?;
        // relaxed: changed under the lock
        self.count.fetch_sub(1, Relaxed);
        Some(head)
    }

    /// Takes a waiter that left out of the line, if nobody has yet.
    pub(super) fn forget(&self, waiter: &Arc<Waiter>) {
        let mut line = self.line.lock();
        if let Some(at) = line.iter().position(|other| Arc::ptr_eq(other, waiter)) {
            line.remove(at);
            // relaxed: changed under the lock
            self.count.fetch_sub(1, Relaxed);
        }
    }

    /// Empties the line and tells everyone in it that it is over.
    pub(super) fn close(&self) {
        while let Some(waiter) = self.pop() {
            waiter.decide(CLOSED);
        }
    }

    /// Wakes everyone in the line for another look at the world; nobody leaves it by that.
    pub(super) fn wake_all(&self) {
        let line: Vec<_> = self.line.lock().iter().cloned().collect();
        line.iter().for_each(|waiter| waiter.unparker.unpark());
    }
}

impl Waiter {
    /// Hands `index` over. False: the waiter has left, and the caller still owns the index.
    pub(super) fn grant(&self, index: u32) -> bool {
        self.decide(index)
    }

    fn decide(&self, verdict: u32) -> bool {
        // edge credit.grant, release: the end of the last use of the slot. (Where a look led here its fence would carry that too, which is why
        // the models do not miss this release; a grant passed on has no fence of its own.)
        // relaxed on failure: it left, and nothing of it is needed
        let decided = self.state.compare_exchange(WAITING, verdict, Release, Relaxed).is_ok();
        if decided {
            self.unparker.unpark();
        }
        decided
    }

    /// What was decided so far.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        // edge credit.grant, acquire: the slot is ours
        read(self.state.load(Acquire))
    }

    /// The waiter itself leaves, unless it was decided upon before.
    pub(super) fn leave(&self) -> Result<(), Verdict> {
        // relaxed on success: nothing is handed over
        // edge credit.grant, acquire (on failure): the slot is ours
        match self.state.compare_exchange(WAITING, LEFT, Relaxed, Acquire) {
            Ok(_) => Ok(()),
            Err(state) => Err(read(state).expect("nobody but the waiter makes it leave")),
        }
    }
}

fn read(state: u32) -> Option<Verdict> {
    match state {
        WAITING | LEFT => None,
        CLOSED => Some(Verdict::Closed),
        index => Some(Verdict::Granted(index)),
    }
}
