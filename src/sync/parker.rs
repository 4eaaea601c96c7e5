//! One thread or task waits, anyone may wake it.

use super::{Arc, Condvar, Mutex, late};
use crate::limits::MODEL;
use std::task::Waker;
use std::time::Duration;

/// The waiting side. A token that arrives before [`park`](Parker::park) is kept, so a wake-up is never lost; at most one is kept.
///
/// The token is a hint: whoever parks must re-check what it waits for, because a stale token may be left over.
#[derive(Debug)]
pub struct Parker {
    shared: Arc<Shared>,
}

/// The waking side: of a [`Parker`], or of a task that waits in some executor.
#[derive(Debug, Clone)]
pub struct Unparker {
    sleeper: Sleeper,
}

#[derive(Debug, Clone)]
enum Sleeper {
    Thread(Arc<Shared>),
    Task(Waker),
}

#[derive(Debug)]
struct Shared {
    /// The token: set by `unpark`, taken by `park`.
    token: Mutex<bool>,
    arrived: Condvar,
}

impl Parker {
    /// A parker without a token.
    pub fn new() -> Self {
        Parker { shared: Arc::new(Shared { token: Mutex::new(false), arrived: Condvar::new() }) }
    }

    /// A handle that wakes this parker.
    pub fn unparker(&self) -> Unparker {
        Unparker { sleeper: Sleeper::Thread(Arc::clone(&self.shared)) }
    }

    /// Waits for a token and takes it.
    pub fn park(&self) {
        let mut token = self.shared.token.lock();
        while !*token {
            token = self.shared.arrived.wait(token);
        }
        *token = false;
    }

    /// As [`park`](Self::park), for at most `timeout`. Says whether a token was taken.
    pub fn park_timeout(&self, timeout: Duration) -> bool {
        let mut token = self.shared.token.lock();
        if !*token {
            token = self.shared.arrived.wait_timeout(token, timeout).0;
        }
        std::mem::take(&mut *token)
    }
}

/// Waits for `time`, whatever happens meanwhile. In a model, where time does not pass, the others go on first.
pub fn nap(time: Duration) {
    if MODEL {
        super::thread::yield_now();
    } else {
        Parker::new().park_timeout(time);
    }
}

impl Default for Parker {
    fn default() -> Self {
        Self::new()
    }
}

impl Unparker {
    /// Wakes a task instead of a thread.
    pub fn of_task(waker: &Waker) -> Self {
        Unparker { sleeper: Sleeper::Task(waker.clone()) }
    }

    /// True when this wakes the task of `waker`.
    pub fn wakes(&self, waker: &Waker) -> bool {
        matches!(&self.sleeper, Sleeper::Task(own) if own.will_wake(waker))
    }

    /// Leaves a token and wakes the parker if it waits; or tells the task's executor, whose panic is its own affair.
    pub fn unpark(&self) {
        match &self.sleeper {
            Sleeper::Thread(shared) => {
                let mut token = shared.token.lock();
                if !*token {
                    *token = true;
                    shared.arrived.notify_one();
                }
            }
            Sleeper::Task(waker) => late::wake(waker),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use super::*;

    #[test]
    fn a_token_left_early_is_kept_and_taken_once() {
        let parker = Parker::new();
        parker.unparker().unpark();
        parker.unparker().unpark();
        parker.park();
        assert!(!parker.park_timeout(Duration::from_millis(1)));
    }

    #[test]
    fn a_parked_thread_wakes() {
        let parker = Parker::new();
        let unparker = parker.unparker();
        let waker = std::thread::spawn(move || unparker.unpark());
        parker.park();
        waker.join().unwrap();
    }
}
