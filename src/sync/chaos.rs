//! Crash points: named places between two shared accesses where a test may stop a thread.
//!
//! [`crash_point!`](crate::crash_point) expands to nothing unless the crate is built for its own unit tests or with `--cfg ringmill_chaos`. A test installs a hook for the
//! current thread with `set_hook`; the hook may block (a frozen thread), yield, or count.

/// Names a place between two shared accesses; see [`chaos`](crate::sync::chaos).
#[macro_export]
#[doc(hidden)]
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(all(any(test, ringmill_chaos), not(loom)))]
        $crate::sync::chaos::hit($name);
    };
}

#[cfg(all(any(test, ringmill_chaos), not(loom)))]
mod hook {
    use std::cell::RefCell;

    type Hook = Box<dyn FnMut(&'static str)>;

    thread_local! {
        static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    }

    /// Installs the hook of the current thread, or removes it.
    pub fn set_hook(hook: Option<Hook>) {
        HOOK.with(|cell| *cell.borrow_mut() = hook);
    }

    /// Called at every crash point. A hook that reaches crash points itself is not called again.
    pub fn hit(name: &'static str) {
        // `try_with`: a thread may reach a crash point while its locals are being torn down
        let _ = HOOK.try_with(|cell| {
            if let Ok(mut slot) = cell.try_borrow_mut()
                && let Some(hook) = slot.as_mut()
            {
                hook(name);
            }
        });
    }
}

#[cfg(all(any(test, ringmill_chaos), not(loom)))]
pub use hook::{hit, set_hook};
