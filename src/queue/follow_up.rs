//! A follow-up on its way: the job before it has ended, and it has no slot yet, or is about to go into another one. Whoever looks at the slots one by one to learn whether
//! anything is left may find it in none of them. So it is counted from before that end until it is in.

use super::Queue;
use super::bent::{Bend, is_bent};
use crate::job::{Job, Payload};
use crate::sync::Mutex;

/// Follow-ups on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Chains {
    /// How many have set out so far.
    begun: u64,
    /// How many of them have not arrived yet.
    open: u32,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Chaining<'a>(&'a Mutex<Chains>);

impl Drop for Chaining<'_> {
    fn drop(&mut self) {
        self.0.lock().open -= 1;
    }
}

impl<T> Queue<T> {
    /// A job is about to end that has a follow-up. Dropped when that is in its lane.
    pub(super) fn chaining(&self) -> Chaining<'_> {
        {
            let mut chains = self.chains.lock();
            chains.begun += 1;
            chains.open += 1;
        }
        Chaining(&self.chains)
    }

    /// What `look` finds in the slots, one by one, if no follow-up was on its way meanwhile.
    ///
    /// One that arrived before is seen where it is, by the lock; of one that set out later the job before it is seen to run, or, by the word that it has left, that it
    /// has set out.
    pub(super) fn unless_chaining(&self, look: impl FnOnce() -> bool) -> bool {
        let before = *self.chains.lock();
        before.open == 0 && look() && (is_bent(Bend::ChainsCountedOnce) || *self.chains.lock() == before)
    }

    /// True when nothing will come any more: the queue is closed, and has no job that runs or is yet to run.
    pub fn is_over(&self) -> bool {
        self.is_stopped() || self.is_closed() && self.unless_chaining(|| self.gauges().phases.live() == 0)
    }
}

impl<T: Payload> Queue<T> {
    /// The rest of a [settlement with a follow-up](super::Claimer::settle_chained), when no lock is held: keeps the follow-up if it found no slot; one that is in may have met
    /// the stop.
    #[cold]
    pub fn follow_through(&self, deferred: Option<Job<T>>) {
        match deferred {
            Some(next) => self.defer(next),
            None => self.look_again(),
        }
    }
}
