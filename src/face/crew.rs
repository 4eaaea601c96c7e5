//! The workers of a runtime without threads, and the timer: they act one at a time, in the thread of whoever tells them to.

use crate::clock::{Clock, ManualClock, Timestamp};
use crate::error::BuildError;
use crate::runtime::inside::RuntimeId;
use crate::runtime::pool::{Pool, PoolShared};
use crate::runtime::timer::Timer;
use crate::runtime::worker::{BUDGET, Worker};
use crate::sync::atomic::{AtomicBool, Ordering::Relaxed};
use crate::sync::{Mutex, late};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct Crew {
    runtime: RuntimeId,
    clock: Arc<ManualClock>,
    timer: Arc<Timer>,
    members: Mutex<Vec<Member>>,
    /// One of them acts. Written and read by the thread that tells them to.
    at_work: AtomicBool,
}

struct Member {
    worker: Worker,
    /// A spare retires when nobody is stuck any more.
    spare: Option<(Arc<PoolShared>, u32)>,
}

impl Crew {
    pub(super) fn new(runtime: RuntimeId, clock: Arc<ManualClock>, timer: Arc<Timer>, pools: &[Arc<Pool>]) -> Result<Self, BuildError> {
        let mut members = Vec::new();
        for pool in pools {
            for index in 0..pool.workers() {
                members.push(Member { worker: pool.worker(index)?, spare: None });
            }
        }
        Ok(Crew { runtime, clock, timer, members: Mutex::new(members), at_work: AtomicBool::new(false) })
    }

    /// The timer's turn, and the spares that it finds to be needed.
    pub(crate) fn turn_timer(&self) {
        // as its thread does: what has become due in a turn already gets one more
        while self.timer.turn() <= self.clock.now() {}
        for pool in &self.timer.pools {
            if let Some((worker, spare)) = pool.next_spare() {
                self.members.lock().push(Member { worker, spare: Some((Arc::clone(&pool.shared), spare)) });
            }
        }
    }

    /// How many workers there are, spares included.
    pub(crate) fn len(&self) -> usize {
        self.members.lock().len()
    }

    /// One act of a worker: at most `budget` jobs. True if it did something.
    pub(crate) fn step(&self, at: usize, budget: u32) -> bool {
        assert!(!self.runtime.is_inside(), "a handler runs in a turn, and cannot begin another");
        let mut members = self.members.lock();
        let _at_work = AtWork::begin(&self.at_work);
        let Some(member) = members.get_mut(at) else { return false };
        if member.worker.busy_until().is_none() && member.spare.as_ref().is_some_and(|(pool, spare)| pool.retires(*spare)) {
            members.remove(at);
            return true;
        }
        late::outside(|| member.worker.step(budget))
    }

    /// True while one of them acts.
    #[cfg(feature = "test-util")]
    pub(crate) fn is_at_work(&self) -> bool {
        // relaxed: of account in the acting thread only
        self.at_work.load(Relaxed)
    }

    /// Everybody acts until nobody has anything to do. Says how many acts there were.
    pub(crate) fn turn(&self) -> usize {
        assert!(!self.runtime.is_inside(), "a handler runs in a turn, and cannot begin another");
        let mut rounds = 0;
        loop {
            self.turn_timer();
            let before = rounds;
            let mut at = 0;
            while at < self.len() {
                while self.step(at, BUDGET) {
                    rounds += 1;
                }
                at += 1;
            }
            if rounds == before {
                return rounds;
            }
        }
    }

    /// Lets time pass until `end`, with a `turn` at every moment at which there is something to do. `turn` says whether to go on.
    pub(crate) fn advance_to(&self, clock: &ManualClock, end: Timestamp, mut turn: impl FnMut() -> bool) {
        let end = end.min(ManualClock::END);
        while turn() {
            let now = clock.now();
            if now >= end {
                return;
            }
            clock.set(self.next_event(now).min(end));
        }
    }

    /// When somebody has something to do again, if nobody does anything before.
    fn next_event(&self, now: Timestamp) -> Timestamp {
        let busy_until = self.members.lock().iter().filter_map(|member| member.worker.busy_until()).min();
        self.timer.next_event().min(busy_until.unwrap_or(Timestamp::MAX)).max(now + Duration::from_nanos(1))
    }

    /// The clock.
    #[cfg(feature = "test-util")]
    pub(crate) fn clock(&self) -> &Arc<ManualClock> {
        &self.clock
    }

    /// Nothing is started any more: deliveries that take their time have until `deadline` to end. True if all have.
    pub(super) fn finish(&self, deadline: Timestamp) -> bool {
        loop {
            let mut members = self.members.lock();
            let next = members.iter().enumerate().filter_map(|(at, member)| Some((member.worker.busy_until()?, at))).min();
            match next {
                None => return true,
                Some((until, _)) if until > deadline => return false,
                Some((until, at)) => {
                    self.clock.set(until.max(self.clock.now()));
                    late::outside(|| members[at].worker.step(0));
                }
            }
        }
    }

    /// The workers go: their claims come back.
    pub(super) fn dismiss(&self) {
        let members = std::mem::take(&mut *self.members.lock());
        drop(members);
    }
}

struct AtWork<'a>(&'a AtomicBool);

impl<'a> AtWork<'a> {
    fn begin(at_work: &'a AtomicBool) -> Self {
        // relaxed: as in `is_at_work`
        at_work.swap(true, Relaxed);
        AtWork(at_work)
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        // relaxed: as in `is_at_work`
        self.0.swap(false, Relaxed);
    }
}

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew").field("clock", &self.clock).finish_non_exhaustive()
    }
}
