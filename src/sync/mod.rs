//! The only door to the machine: atomics, cells, locks, threads and waiting.
//!
//! Everything above this module names these types and no others, so that the same text runs on four back ends:
//!
//! | back end | cfg | what it is |
//! |---|---|---|
//! | `std` | default | `std::sync::atomic`, `parking_lot`, `std::thread` |
//! | `loom` | `--cfg loom` | loom's doubles; every interleaving is tried |
//! | sanitizer | `--cfg ringmill_sanitize` | `std`, told so that ThreadSanitizer understands it: fences as RMWs, one hand-over per value made on first use |
//! | shuttle | `--cfg ringmill_shuttle` | whole runtimes with many threads, in schedules drawn at random and by PCT; sequentially consistent |
//!
//! Rules, each the fix of a real false alarm or a real blind spot of loom 0.7:
//! - A word is either written by RMW only, or by one owner with stores only. [`store_exclusive`] is the one way to store to an RMW word: the
//!   caller owns it, and under loom it is a swap.
//! - No SeqCst accesses. Store-load pairs use [`full_fence`], which loom models and SeqCst accesses it does not.
//! - Nobody calls `thread::park`: [`Parker`] is a mutex, a flag and a condvar on every back end.
//! - loom tries too few orders of loads and writes of one atomic: models of whole queues run `thorough`, see the loom back end.
//! - Deadlines are data from a `Clock`; under loom and shuttle a timed wait never times out.

/// The atomics there are, and what may be done to each: for back ends that watch every access.
#[cfg(any(loom, ringmill_shuttle))]
macro_rules! atomics {
    ($watched:ident) => {
        $watched! {
            AtomicBool bool: swap fetch_or fetch_and;
            AtomicU8 u8: swap fetch_or fetch_and fetch_add fetch_sub;
            AtomicU32 u32: swap fetch_or fetch_and fetch_add fetch_sub fetch_max;
            AtomicU64 u64: swap fetch_or fetch_and fetch_add fetch_sub fetch_max;
            AtomicUsize usize: swap fetch_or fetch_and fetch_add fetch_sub fetch_max;
        }
    };
}

#[cfg(loom)]
#[path = "loom_backend.rs"]
mod backend;
#[cfg(all(ringmill_sanitize, not(loom)))]
#[path = "sanitize_backend.rs"]
mod backend;
#[cfg(all(ringmill_shuttle, not(any(loom, ringmill_sanitize))))]
#[path = "shuttle_backend.rs"]
mod backend;
#[cfg(not(any(loom, ringmill_sanitize, ringmill_shuttle)))]
#[path = "std_backend.rs"]
mod backend;

pub mod chaos;
mod contain;
pub mod eventcount;
pub mod late;
pub mod latest;
mod parker;
mod prefetch;
mod spin;
#[cfg(loom)]
mod weaken;

#[cfg(ringmill_shuttle)]
pub use backend::pace;
#[cfg(loom)]
pub use backend::thorough;
pub(crate) use backend::thread_local;
pub use backend::{Arc, Condvar, Mutex, MutexGuard, OnceLock, UnsafeCell, atomic, thread};
pub(crate) use contain::contain;
pub use crossbeam_utils::CachePadded;
pub use eventcount::{EventCount, Retracted, Seat, Woken};
pub use latest::Latest;
pub use parker::{Parker, Unparker, nap};
pub use prefetch::prefetch_for_write;
pub use spin::{SpinWait, pause};
#[cfg(loom)]
pub use weaken::{is_weakened, reached};
/// Counters that nothing is decided by. loom does not see them: a model of a queue would spend its executions on how old a statistic is.
pub mod statistics {
    pub use std::sync::atomic::AtomicU64;
}

use atomic::{AtomicU32, AtomicU64, Ordering};

/// A number that nobody else in the process is given. Not 0.
///
/// On every back end the standard library's counter: loom's cannot be static, and no model asks which number it is.
pub fn unique() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    // relaxed: only uniqueness matters
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A store to a word that is otherwise only changed by RMW, by its exclusive owner.
///
/// loom 0.7 reports false alarms when plain stores race RMWs on one atomic, so there it is a swap.
#[inline]
#[cfg_attr(loom, track_caller)]
pub fn store_exclusive(word: &AtomicU64, value: u64, order: Ordering) {
    #[cfg(loom)]
    word.swap(value, order);
    #[cfg(not(loom))]
    word.store(value, order);
}

/// The relaxed load before a CAS that re-checks it.
///
/// loom 0.7 keeps one last access per atomic. A thread that loads before its RMW thereby hides the loads that other threads made before, and the
/// schedule in which the RMW comes first is never tried: a model of "look" against "load, CAS" has *one* execution. So there it is an RMW.
#[inline]
pub fn peek_u64(word: &AtomicU64) -> u64 {
    // relaxed: CAS re-checks
    look_u64(word, Ordering::Relaxed)
}

/// As [`peek_u64`], for whoever needs what the word stands for before the CAS.
#[inline]
#[track_caller]
pub fn look_u64(word: &AtomicU64, order: Ordering) -> u64 {
    #[cfg(loom)]
    return word.fetch_or(0, order);
    #[cfg(not(loom))]
    word.load(order)
}

/// As [`peek_u64`], for 32 bits.
#[inline]
pub fn peek_u32(word: &AtomicU32) -> u32 {
    // relaxed, both: CAS re-checks
    #[cfg(loom)]
    return word.fetch_or(0, Ordering::Relaxed);
    #[cfg(not(loom))]
    word.load(Ordering::Relaxed)
}

/// A sequentially consistent fence, for the store-load half of a handshake. Each caller names its partner and argues both orders.
#[inline]
#[cfg_attr(loom, track_caller)]
pub fn full_fence() {
    atomic::fence(Ordering::SeqCst);
}

/// As [`full_fence`], for a caller that published by an RMW. What it has written since, as the hint of a ring, nobody need see in time.
///
/// On x86 a locked instruction is a full barrier already (Intel SDM 3A 8.2.3.9, AMD APM 2 7.4.2), so only the compiler has to be held back; elsewhere, and
/// for the models, it is the fence.
#[inline]
#[cfg_attr(loom, track_caller)]
pub fn full_fence_after_rmw() {
    if cfg!(all(target_arch = "x86_64", not(any(loom, ringmill_sanitize, ringmill_shuttle)))) {
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
    } else {
        full_fence();
    }
}
