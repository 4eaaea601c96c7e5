//! The back end for sanitizers: real threads, told in words that ThreadSanitizer understands. `.ci/sanitize` builds with it.
//!
//! ThreadSanitizer knows atomic accesses and the pthread calls, but no fences, and it sees only what was compiled with it. The standard library was not, so what happens inside
//! of it orders nothing. Four things follow; the rest is the `std` back end, whose locks come from a crate that is compiled along:
//!
//! - A fence is an RMW on one static: all fences are in one order, and each acquires what those before it released. That is what a sequentially consistent fence promises.
//! - A value made on first use is handed over by a flag of ours: the one of the standard library is set inside of it.
//! - What the standard library keeps of a thread is kept for ever.
//! - `Arc` counts down with a release and, when it was the last, fences. What is inlined from the standard library is compiled with the sanitizer, so the linker can bend it:
//!   `.ci/sanitize` links with `--wrap` and [`__wrap___tsan_atomic64_fetch_sub`]. The standard library does the same when it is built for the sanitizer.

#[path = "std_backend.rs"]
mod real;

pub use real::{Arc, Condvar, Mutex, MutexGuard, UnsafeCell, thread_local};

/// Threads.
pub mod thread {
    pub use super::real::thread::*;

    /// As the `std` back end's. What the standard library keeps of a thread, its name among it, is counted inside of it: nobody may be the last to let go of it.
    pub fn spawn_named(name: String, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
        let spawned = super::real::thread::spawn_named(name, run);
        if cfg!(sanitize = "thread") {
            spawned.iter().for_each(|handle| std::mem::forget(handle.thread().clone()));
        }
        spawned
    }
}

/// Atomics, and fences that ThreadSanitizer sees.
pub mod atomic {
    pub use super::real::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

    /// A sequentially consistent fence, whatever was asked for.
    #[inline]
    pub fn fence(_order: Ordering) {
        static FENCE: AtomicU32 = AtomicU32::new(0);
        FENCE.fetch_add(0, Ordering::SeqCst);
    }
}

/// A value made on first use.
#[derive(Debug)]
pub struct OnceLock<T> {
    value: real::OnceLock<T>,
    /// Written by whoever made the value, read by everybody before they look at it.
    is_made: atomic::AtomicBool,
}

impl<T> OnceLock<T> {
    /// Without a value.
    pub const fn new() -> Self {
        OnceLock { value: real::OnceLock::new(), is_made: atomic::AtomicBool::new(false) }
    }

    /// The value, if there is one.
    pub fn get(&self) -> Option<&T> {
        self.is_made.load(atomic::Ordering::SeqCst).then(|| self.value.get().expect("it was made before the flag"))
    }

    /// The value, made by `make` if there is none.
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        let mut mine = false;
        let value = self.value.get_or_init(|| {
            mine = true;
            make()
        });
        if mine {
            self.is_made.store(true, atomic::Ordering::SeqCst);
        }
        while !self.is_made.load(atomic::Ordering::SeqCst) {
            thread::yield_now();
        }
        value
    }

    /// Sets the value.
    ///
    /// # Errors
    /// When there is one already.
    pub fn set(&self, value: T) -> Result<(), T> {
        self.value.set(value).inspect(|()| self.is_made.store(true, atomic::Ordering::SeqCst))
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(sanitize = "thread")]
mod counted {
    /// C11's numbers, which the sanitizer uses.
    const RELEASE: i32 = 3;
    const ACQ_REL: i32 = 4;

    // SAFETY: the sanitizer's own function, under the name that `--wrap` gives it
    unsafe extern "C" {
        fn __real___tsan_atomic64_fetch_sub(word: *mut u64, value: u64, order: i32) -> u64;
    }

    /// Every releasing decrement acquires as well. In this program only the standard library's reference counts decrement by a mere release, and all of them fence when they
    /// reach zero; the crate's own decrements are Relaxed or AcqRel.
    ///
    /// # Safety
    /// As the sanitizer's.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn __wrap___tsan_atomic64_fetch_sub(word: *mut u64, value: u64, order: i32) -> u64 {
        let order = if order == RELEASE { ACQ_REL } else { order };
        // SAFETY: handed on
        unsafe { __real___tsan_atomic64_fetch_sub(word, value, order) }
    }
}
