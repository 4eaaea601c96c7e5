//! The lines of those who wait for a credit.

use super::rules::Rules;
use crate::limits::INDEX_NONE;
use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::sync::{Arc, CachePadded, Mutex, Unparker, peek_u64, store_exclusive};
use std::collections::VecDeque;
use std::task::Waker;

/// The FIFO of a pool. Its length stands beside it, where depositors read it without the lock.
#[derive(Debug)]
pub(super) struct Waiters {
    /// The length of the line. Changed under the lock; read by every depositor after the fence credit.deposit.
    count: CachePadded<AtomicU32>,
    line: Mutex<VecDeque<Turn>>,
}

/// A place in a line: whose, and for which of its waits.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    waiter: Arc<Waiter>,
    wait: u32,
}

/// One who waits, again and again; in several lines at once, of which the fastest serves it.
#[derive(Debug)]
pub(super) struct Waiter {
    /// `wait:32 | state:32`. The number of the wait, and OUT, or WAITING and then once and for all a granted index or CLOSED. From WAITING by a CAS of the
    /// granter (who took the turn from a line), of the closer, or of the waiter that leaves; from there on, and to the next wait, by the waiter alone. A turn
    /// that was left in a line names a wait that is over, and fits no more.
    word: AtomicU64,
    /// How to wake it. Set by the waiter before it looks at the word; read by whoever has decided, after the CAS.
    unparker: Mutex<Unparker>,
}

const WAITING: u32 = u32::MAX;
const OUT: u32 = u32::MAX - 1;
const CLOSED: u32 = u32::MAX - 2;
const _: () = assert!(INDEX_NONE < CLOSED);

/// What a waiter comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It waits in no line, or has left.
    Out,
    /// Nothing was decided so far.
    Waiting,
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

    /// One more, at the end.
    pub(super) fn join(&self, turn: Turn) {
        let mut line = self.line.lock();
        line.push_back(turn);
        // relaxed: ordered by fence credit.wait
        self.count.fetch_add(1, Relaxed);
    }

    /// Takes the head of the line. Does not touch the lock while nobody seems to wait: who finds none deposits, fences and looks again.
    pub(super) fn next(&self) -> Option<Turn> {
        if self.count() == 0 { None } else { self.pop() }
    }

    fn pop(&self) -> Option<Turn> {
        let mut line = self.line.lock();
        let head = line.pop_front()?;
        // relaxed: changed under the lock
        self.count.fetch_sub(1, Relaxed);
        Some(head)
    }

    /// Takes a turn that nobody is to be served by out of the line, if it is still there.
    pub(super) fn forget(&self, turn: &Turn) {
        let mut line = self.line.lock();
        if let Some(at) = line.iter().position(|other| other.wait == turn.wait && Arc::ptr_eq(&other.waiter, &turn.waiter)) {
            line.remove(at);
            // relaxed: changed under the lock
            self.count.fetch_sub(1, Relaxed);
        }
    }

    /// Empties the line and tells everyone in it that it is over.
    pub(super) fn close(&self) {
        while let Some(turn) = self.pop() {
            turn.waiter.decide(turn.wait, CLOSED);
        }
    }

    /// Wakes everyone in the line for another look at the world; nobody leaves it by that.
    pub(super) fn wake_all(&self) {
        let line: Vec<_> = self.line.lock().iter().cloned().collect();
        line.iter().for_each(|turn| turn.waiter.wake());
    }
}

impl Turn {
    /// The place of `waiter` in one of its waits.
    pub(super) fn new(waiter: &Arc<Waiter>, wait: u32) -> Self {
        Turn { waiter: Arc::clone(waiter), wait }
    }

    /// Hands `index` over. False: the waiter has left, or another line was faster, and the caller still owns the index.
    pub(super) fn grant<R: Rules>(&self, index: u32) -> bool {
        // a twin hands it to whatever the waiter waits for now
        let wait = if R::NUMBERED { self.wait } else { wait_of(peek_u64(&self.waiter.word)) };
        self.waiter.decide(wait, index)
    }
}

impl Waiter {
    pub(super) fn new(unparker: Unparker) -> Self {
        Waiter { word: AtomicU64::new(pack(0, OUT)), unparker: Mutex::new(unparker) }
    }

    /// Begins a wait. The waiter is in no line, and nothing of its last wait is left to hear.
    pub(super) fn begin(&self, wait: u32) {
        // relaxed: the lines' locks carry it to the granters
        store_exclusive(&self.word, pack(wait, WAITING), Relaxed);
    }

    /// From here on whoever decides wakes this.
    pub(super) fn wake_by(&self, unparker: Unparker) {
        // what a task leaves behind is dropped outside of the lock
        let _old = std::mem::replace(&mut *self.unparker.lock(), unparker);
    }

    /// As [`wake_by`](Self::wake_by), for a task, which may be a new one at every poll.
    pub(super) fn wake_task(&self, waker: &Waker) {
        if !self.unparker.lock().wakes(waker) {
            self.wake_by(Unparker::of_task(waker));
        }
    }

    fn wake(&self) {
        // it is not woken under its lock: an executor may do as it likes
        let unparker = self.unparker.lock().clone();
        unparker.unpark();
    }

    fn decide(&self, wait: u32, verdict: u32) -> bool {
        // edge credit.grant, release: the end of the last use of the slot. (Where a look led here its fence would carry that too; a grant
        // that is passed on, or comes from a thread without an account, has no fence of its own.)
        // relaxed on failure: it left, or waits for something else by now, and nothing of it is needed
        let decided = self.word.compare_exchange(pack(wait, WAITING), pack(wait, verdict), Release, Relaxed).is_ok();
        if decided {
            self.wake();
        }
        decided
    }

    /// What was decided so far. A verdict is told once: the waiter is out afterwards.
    pub(super) fn hear(&self) -> Standing {
        // edge credit.grant, acquire: the slot is ours
        self.heard(self.word.load(Acquire))
    }

    /// The waiter itself leaves the wait: `Waiting`, or what was decided before.
    pub(super) fn leave(&self, wait: u32) -> Standing {
        // relaxed on success: nothing is handed over
        // edge credit.grant, acquire (on failure): the slot is ours
        match self.word.compare_exchange(pack(wait, WAITING), pack(wait, OUT), Relaxed, Acquire) {
            Ok(_) => Standing::Waiting,
            Err(word) => self.heard(word),
        }
    }

    fn heard(&self, word: u64) -> Standing {
        let standing = standing(word);
        if matches!(standing, Standing::Granted(_) | Standing::Closed) {
            // relaxed: what is decided is the waiter's alone
            store_exclusive(&self.word, pack(wait_of(word), OUT), Relaxed);
        }
        standing
    }
}

fn pack(wait: u32, state: u32) -> u64 {
    u64::from(wait) << 32 | u64::from(state)
}

fn wait_of(word: u64) -> u32 {
    (word >> 32) as u32
}

fn standing(word: u64) -> Standing {
    match word as u32 {
        WAITING => Standing::Waiting,
        OUT => Standing::Out,
        CLOSED => Standing::Closed,
        index => Standing::Granted(index),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::rules::Sound;
    use super::*;
    use crate::sync::Parker;

    #[test]
    fn a_turn_of_a_wait_that_is_over_fits_no_more() {
        let waiter = Arc::new(Waiter::new(Parker::new().unparker()));
        waiter.begin(1);
        assert_eq!((waiter.leave(1), waiter.hear()), (Standing::Waiting, Standing::Out));
        waiter.begin(2);
        let turn = |wait| Turn::new(&waiter, wait);
        assert!(!turn(1).grant::<Sound>(5));
        assert_eq!(waiter.hear(), Standing::Waiting);
        assert!(turn(2).grant::<Sound>(5) && !turn(2).grant::<Sound>(6));
        assert_eq!((waiter.hear(), waiter.hear()), (Standing::Granted(5), Standing::Out));
    }
}
