//! The waiter's side: a wait, from joining the lines to leaving them.

use super::pool::{CreditPool, WaitError};
use super::registry::AccountId;
use super::rules::{Rules, Sound};
use super::waiters::{Standing, Turn, Waiter};
use crate::chain::{Chain, Links};
use crate::crash_point;
use crate::sync::{Arc, Parker, full_fence, thread};
use std::cell::Cell;
use std::task::{Poll, Waker};
use std::time::Duration;

/// Where to look for a credit: a pool, and the account that one has there.
pub type Place<'a, R = Sound> = (&'a CreditPool<R>, &'a AccountId);

/// One who waits for credits, again and again; a thread or a task. Made once, so that a wait allocates nothing.
///
/// A wait names its places, in order of preference: it stands in the line of each pool, and the first grant ends it in all of them.
#[derive(Debug)]
pub struct Waiting {
    waiter: Arc<Waiter>,
    parker: Parker,
    /// The number of the last wait.
    wait: Cell<u32>,
}

impl Waiting {
    /// One who does not wait yet.
    pub fn new() -> Self {
        let parker = Parker::new();
        Waiting { waiter: Arc::new(Waiter::new(parker.unparker())), parker, wait: Cell::new(0) }
    }

    /// Takes a credit, waiting in the lines for one if there is none.
    ///
    /// `patience` says how long to park before it is asked again; `None`: the deadline has passed; zero: yield instead of parking. `closed` says
    /// whether the queue is closed; whoever closes it first makes that true, then calls [`close`](CreditPool::close) for every pool.
    ///
    /// Blocking: yes. A credit that arrives together with the deadline is `Ok`; one that arrives together with the close is passed on.
    pub fn wait<R: Rules>(
        &self,
        links: &impl Links,
        places: &[Place<'_, R>],
        mut patience: impl FnMut() -> Option<Duration>,
        closed: impl Fn() -> bool,
    ) -> Result<u32, WaitError> {
        self.waiter.wake_by(self.parker.unparker());
        loop {
            if let Some(done) = self.look(links, places) {
                return done;
            }
            if closed() {
                return self.give_up(links, places, WaitError::Closed);
            }
            match patience() {
                None => return self.give_up(links, places, WaitError::TimedOut),
                Some(Duration::ZERO) => thread::yield_now(),
                Some(limit) => {
                    self.parker.park_timeout(limit);
                }
            }
        }
    }

    /// One look of a task, which is woken when another may be worth its while. As [`wait`](Self::wait) otherwise; without a deadline, for a task that
    /// runs out of patience [leaves](Self::leave).
    pub fn poll<R: Rules>(
        &self,
        links: &impl Links,
        places: &[Place<'_, R>],
        waker: &Waker,
        closed: impl Fn() -> bool,
    ) -> Poll<Result<u32, WaitError>> {
        // before the look: whoever decides after it wakes this task, and not the one that polled last. The lock of the unparker orders the two: if the
        // granter reads the old one, its grant came before, and the look finds it
        if R::REGISTERS_FIRST {
            self.waiter.wake_task(waker);
        }
        if let Some(done) = self.look(links, places) {
            return Poll::Ready(done);
        }
        if closed() {
            return Poll::Ready(self.give_up(links, places, WaitError::Closed));
        }
        if !R::REGISTERS_FIRST {
            self.waiter.wake_task(waker);
        }
        Poll::Pending
    }

    /// Leaves the lines of all `pools`, which are at least those of the wait that is under way, if one is; a grant that was faster is passed on.
    pub fn leave<'a, R: Rules>(&self, links: &impl Links, pools: impl Iterator<Item = &'a CreditPool<R>> + Clone) {
        if let Standing::Granted(index) = self.step_out(pools.clone())
            && R::PASSES_ON
        {
            pass_on(links, pools, index);
        }
        // nothing of the task is kept
        self.waiter.wake_by(self.parker.unparker());
    }

    /// What has come of the wait; joins the lines if it has not yet.
    fn look<R: Rules>(&self, links: &impl Links, places: &[Place<'_, R>]) -> Option<Result<u32, WaitError>> {
        let mut standing = self.waiter.hear();
        if standing == Standing::Out {
            // a first look, or a clock that publishes with our handle had us lose our place
            if let Some(index) = self.join(links, places) {
                return Some(Ok(index));
            }
            standing = self.waiter.hear();
        }
        let told = match standing {
            Standing::Out | Standing::Waiting => return None,
            Standing::Granted(index) => Ok(index),
            Standing::Closed => Err(WaitError::Closed),
        };
        self.forget(places.iter().map(|place| place.0), standing);
        Some(told)
    }

    /// Joins the lines, unless there is a credit at once. What turns up meanwhile goes to the line, and so to us when it is our turn.
    fn join<R: Rules>(&self, links: &impl Links, places: &[Place<'_, R>]) -> Option<u32> {
        let at_once = places.iter().find_map(|(pool, id)| pool.acquire(links, id));
        if at_once.is_some() {
            return at_once;
        }
        self.wait.set(self.wait.get().wrapping_add(1));
        self.waiter.begin(self.wait.get());
        let turn = Turn::new(&self.waiter, self.wait.get());
        places.iter().for_each(|(pool, _)| pool.waiters.join(turn.clone()));
        // fence credit.wait, against credit.deposit: the counts above, the scan of the stacks and of all accounts below (the own ones are empty).
        // For each of the pools:
        // - ours first: the depositor reads the count after its own fence and serves us;
        // - theirs first: the scan finds the deposit, or that somebody took it since, who then looks for waiters if it leaves any of it.
        if R::WAIT_FENCE {
            full_fence();
        }
        crash_point!("credit.wait");
        if R::RESCANS
            && let Some((pool, found)) = places.iter().find_map(|(pool, id)| Some((*pool, pool.find(id)?)))
        {
            pool.hand_over(links, Some(found));
        }
        None
    }

    /// Leaves the lines without a credit, unless a grant came first: a late waiter uses it, a closed one passes it on.
    fn give_up<R: Rules>(&self, links: &impl Links, places: &[Place<'_, R>], why: WaitError) -> Result<u32, WaitError> {
        let pools = places.iter().map(|place| place.0);
        match self.step_out(pools.clone()) {
            Standing::Granted(index) if why == WaitError::TimedOut => Ok(index),
            Standing::Granted(index) => {
                if R::PASSES_ON {
                    pass_on(links, pools, index);
                }
                Err(why)
            }
            Standing::Closed => Err(WaitError::Closed),
            Standing::Out | Standing::Waiting => Err(why),
        }
    }

    /// Leaves the lines, and says what had come of the wait.
    fn step_out<'a, R: Rules>(&self, pools: impl Iterator<Item = &'a CreditPool<R>>) -> Standing {
        let standing = self.waiter.leave(self.wait.get());
        if standing != Standing::Out {
            self.forget(pools, standing);
        }
        standing
    }

    /// The wait is over: no line holds its turn any more. The one that granted has taken it out already.
    fn forget<'a, R: Rules>(&self, pools: impl Iterator<Item = &'a CreditPool<R>>, standing: Standing) {
        if !R::LEAVES_ALL {
            return;
        }
        let turn = Turn::new(&self.waiter, self.wait.get());
        pools.filter(|pool| !matches!(standing, Standing::Granted(index) if pool.owns(index))).for_each(|pool| pool.waiters.forget(&turn));
    }
}

impl Default for Waiting {
    fn default() -> Self {
        Self::new()
    }
}

/// A grant that its waiter does not want goes to the next in the line of its pool, or back to the stack.
fn pass_on<'a, R: Rules>(links: &impl Links, mut pools: impl Iterator<Item = &'a CreditPool<R>>, index: u32) {
    let pool = pools.find(|pool| pool.owns(index)).expect("a grant comes from the line of one of the pools");
    pool.hand_over(links, Some(Chain::one(index)));
}
