//! Which runtime's handler the current thread is in: a handler must not wait for its own runtime.

use crate::sync::{thread_local, unique};
use std::cell::RefCell;

/// Tells runtimes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuntimeId(u64);

thread_local! {
    /// Those whose handlers the thread is in: the handler of one runtime may run that of another, in its own thread.
    static INSIDE: RefCell<Vec<RuntimeId>> = const { RefCell::new(Vec::new()) };
}

impl RuntimeId {
    /// A new one.
    pub fn new() -> Self {
        RuntimeId(unique())
    }

    /// True in a handler of this runtime.
    pub fn is_inside(self) -> bool {
        // where the thread's locals are gone it runs no handler
        INSIDE.try_with(|inside| inside.borrow().contains(&self)).unwrap_or(false)
    }
}

/// True in a handler of any runtime.
pub fn in_a_handler() -> bool {
    INSIDE.try_with(|inside| !inside.borrow().is_empty()).unwrap_or(false)
}

/// Marks the current thread as in a handler of `runtime`, until the guard is dropped.
#[inline]
pub fn enter(runtime: RuntimeId) -> Inside {
    Inside(INSIDE.try_with(|inside| inside.borrow_mut().push(runtime)).is_ok())
}

/// The current thread is in a handler.
#[derive(Debug)]
pub struct Inside(bool);

impl Drop for Inside {
    fn drop(&mut self) {
        if self.0 {
            INSIDE.with(|inside| inside.borrow_mut().pop());
        }
    }
}
