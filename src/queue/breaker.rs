//! A publisher that finds the queue full again and again is refused for a while, without a look at the queue.

use super::{Publisher, Queue};
use crate::breaker::Breaker;
use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::job::Payload;
use crate::ledger::Count;
use std::cell::{Cell, RefCell};

/// A publisher's breaker, if it has one.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// It is not closed, so it must be asked. A publish reads nothing else of it.
    pub(super) is_up: Cell<bool>,
    /// Elsewhere, so that handles of queues without one stay small.
    breaker: Option<Box<RefCell<Breaker>>>,
}

impl Publisher {
    /// A publish found the queue full.
    #[cold]
    pub(super) fn note_full(&self, now: Timestamp) {
        if let Some(breaker) = &self.guard.breaker {
            let mut breaker = breaker.borrow_mut();
            breaker.note_full(now, self.ledger.get(Count::Accepted));
            self.guard.is_up.set(!breaker.is_closed());
        }
    }

    #[cold]
    #[inline(never)]
    fn ask_breaker(&self, now: Timestamp) -> Result<(), Refusal> {
        let Some(breaker) = &self.guard.breaker else { return Ok(()) };
        let mut breaker = breaker.borrow_mut();
        let left = breaker.ask(now, self.ledger.get(Count::Accepted));
        self.guard.is_up.set(!breaker.is_closed());
        left.map_or(Ok(()), |retry_after| Err(Refusal::BreakerOpen { retry_after }))
    }
}

impl<T: Payload> Queue<T> {
    /// As [`open_publisher`](Self::open_publisher), for a user: one who is subject to the queue's breaker. Workers and consumers are not: what they publish has nobody
    /// who could come back later.
    pub fn open_guarded_publisher(&self) -> Option<Publisher> {
        let mut publisher = self.open_publisher()?;
        publisher.guard.breaker = self.settings.publish_breaker.map(|rule| Box::new(RefCell::new(Breaker::new(rule))));
        Some(publisher)
    }

    /// Refuses while the publisher's breaker is open. That the queue is closed is said by others, and is final.
    #[inline]
    pub fn check_breaker(&self, publisher: &Publisher, now: impl FnOnce() -> Timestamp) -> Result<(), Refusal> {
        if publisher.guard.is_up.get() && !self.is_closed() { publisher.ask_breaker(now()) } else { Ok(()) }
    }
}
