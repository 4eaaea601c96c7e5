//! A clock that is cheap enough to stand inside what it measures.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A moment, in ticks of the machine's own counter: some 10 ns to read, where `Instant::now` takes some 25.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn ticks() -> u64 {
    // SAFETY: every x86-64 has a time stamp counter
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// A moment, in nanoseconds.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub fn ticks() -> u64 {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    ORIGIN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// How many nanoseconds a tick is, measured once.
pub fn tick_nanos() -> f64 {
    static NANOS: OnceLock<f64> = OnceLock::new();
    *NANOS.get_or_init(|| {
        let (began, first) = (Instant::now(), ticks());
        std::thread::sleep(Duration::from_millis(50));
        let (took, counted) = (began.elapsed(), ticks() - first);
        took.as_nanos() as f64 / counted as f64
    })
}

/// So many ticks in nanoseconds.
pub fn nanos(ticks: u64) -> u64 {
    (ticks as f64 * tick_nanos()) as u64
}
