//! The cell that one job's end goes through: see the essay of the [room](super).

use super::end::Kept;
use crate::limits::INDEX_NONE;
use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};
use crate::sync::{Mutex, Unparker, contain};
use std::fmt;
use std::marker::PhantomData;

/// Which parts of the protocol are in force. Everything but [`Standard`] is a mutation that a model must catch.
#[doc(hidden)]
pub trait Rules: fmt::Debug {
    /// A waiter looks and says whom to wake in one hold of the lock.
    const ONE_HOLD: bool = true;
    /// The end is put in before anybody is woken.
    const WAKES_AFTER: bool = true;
    /// A later look replaces whom to wake.
    const WAKES_THE_LATEST: bool = true;
    /// A handle that goes says so.
    const FORSAKES: bool = true;
}

/// The protocol as it is.
#[derive(Debug)]
pub struct Standard;

impl Rules for Standard {}

/// Where a watched job's end is put, for its handle to take.
pub struct Promise<R: Rules = Standard> {
    state: Mutex<State>,
    /// The job's slot, where it lies from its acceptance to its end; `INDEX_NONE`: it had none. Written by the publisher before it shares the promise, read by
    /// the handle that it makes.
    slot: AtomicU32,
    rules: PhantomData<R>,
}

enum State {
    /// The job has not ended. Whom to wake when it has.
    Open(Option<Unparker>),
    /// It has, and nobody has taken its end yet.
    Kept(Kept),
    /// Its end was taken, or nobody will ask for it any more.
    Over,
}

/// What a look found.
#[derive(Debug)]
pub enum Look {
    /// The job's end, taken out.
    Ended(Kept),
    /// The job has not ended.
    Open,
    /// Its end was taken before.
    Over,
}

impl Promise {
    /// A promise of a job that has not been published yet.
    pub fn new() -> Self {
        Self::with_rules()
    }
}

impl Default for Promise {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Rules> Promise<R> {
    #[doc(hidden)]
    pub fn with_rules() -> Self {
        Promise { state: Mutex::new(State::Open(None)), slot: AtomicU32::new(INDEX_NONE), rules: PhantomData }
    }

    /// The job has its slot. For its publisher.
    pub fn set_slot(&self, index: u32) {
        // relaxed: read by the thread that wrote it
        self.slot.store(index, Relaxed);
    }

    /// The job's slot, if it had one. For its publisher.
    pub fn slot(&self) -> Option<u32> {
        // relaxed: written by this thread
        let index = self.slot.load(Relaxed);
        (index != INDEX_NONE).then_some(index)
    }

    /// The job has ended: puts its end in and wakes whoever sleeps. Gives back what nobody will ask for; its drop is user code.
    pub fn keep(&self, kept: Kept) -> Option<Kept> {
        if !R::WAKES_AFTER {
            self.sleeper().into_iter().for_each(|sleeper| sleeper.unpark());
        }
        let sleeper = {
            let mut state = self.state.lock();
            let State::Open(sleeper) = &mut *state else { return Some(kept) };
            let sleeper = if R::WAKES_AFTER { sleeper.take() } else { None };
            *state = State::Kept(kept);
            sleeper
        };
        if let Some(sleeper) = sleeper {
            sleeper.unpark();
            // a waker is the executor's
            let _ = contain(|| drop(sleeper));
        }
        None
    }

    /// Takes the end out, if the job has ended; otherwise `sleeper` is woken when it does.
    pub fn look(&self, sleeper: Unparker) -> Look {
        if !R::ONE_HOLD {
            match self.peek() {
                Look::Open => {}
                found => return found,
            }
        }
        let mut state = self.state.lock();
        let before = match &mut *state {
            State::Open(known) if known.is_some() && !R::WAKES_THE_LATEST => None,
            State::Open(known) => known.replace(sleeper),
            _ if R::ONE_HOLD => return Self::take(&mut state),
            // as if it had not been looked at again
            _ => None,
        };
        drop(state);
        // a waker is the executor's: not under the lock
        drop(before);
        Look::Open
    }

    /// Takes the end out, if the job has ended.
    pub fn peek(&self) -> Look {
        Self::take(&mut self.state.lock())
    }

    /// True once the job has ended.
    pub fn has_ended(&self) -> bool {
        !matches!(&*self.state.lock(), State::Open(_))
    }

    /// Nobody will ask any more. Gives what was kept and not taken to the caller, to be dropped.
    pub fn forsake(&self) -> Option<Kept> {
        if !R::FORSAKES {
            return None;
        }
        let state = std::mem::replace(&mut *self.state.lock(), State::Over);
        match state {
            State::Kept(kept) => Some(kept),
            State::Open(_) | State::Over => None,
        }
    }

    fn take(state: &mut State) -> Look {
        match state {
            State::Open(_) => Look::Open,
            State::Kept(_) => match std::mem::replace(state, State::Over) {
                State::Kept(kept) => Look::Ended(kept),
                _ => Look::Over,
            },
            State::Over => Look::Over,
        }
    }

    fn sleeper(&self) -> Option<Unparker> {
        match &mut *self.state.lock() {
            State::Open(sleeper) => sleeper.take(),
            _ => None,
        }
    }
}

impl<R: Rules> fmt::Debug for Promise<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &*self.state.lock() {
            State::Open(_) => "open",
            State::Kept(_) => "kept",
            State::Over => "over",
        };
        f.debug_tuple("Promise").field(&state).finish()
    }
}
