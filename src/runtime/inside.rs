//! Which runtime's handler the current thread is in: a handler must not wait for its own runtime.

use crate::sync::thread_local;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Tells runtimes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuntimeId(u64);

thread_local! {
    static INSIDE: Cell<Option<RuntimeId>> = const { Cell::new(None) };
}

impl RuntimeId {
    /// A new one.
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // relaxed: only uniqueness matters
        RuntimeId(NEXT.fetch_add(1, Relaxed))
    }

    /// True in a handler of this runtime.
    pub fn is_inside(self) -> bool {
        INSIDE.with(|inside| inside.get() == Some(self))
    }
}

/// Marks the current thread as in a handler of `runtime`, until the guard is dropped.
#[inline]
pub fn enter(runtime: RuntimeId) -> Inside {
    Inside { before: INSIDE.with(|inside| inside.replace(Some(runtime))) }
}

/// The current thread is in a handler.
#[derive(Debug)]
pub struct Inside {
    before: Option<RuntimeId>,
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.with(|inside| inside.set(self.before));
    }
}
