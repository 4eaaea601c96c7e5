//! A line asked for before it is needed.

/// Asks for the cache line at `place` to be brought here for writing, and does not wait for it.
///
/// A line that another core has written is otherwise fetched twice: for the first read, and again, in exclusive state, for the first RMW. Only a hint: on other
/// machines than x86-64, and in models, nothing happens.
#[inline(always)]
pub fn prefetch_for_write<T>(place: &T) {
    #[cfg(all(target_arch = "x86_64", not(any(loom, miri))))]
    // SAFETY: PREFETCHW reads and writes nothing that a program can see, whatever the address; where it is not known it does nothing
    unsafe {
        std::arch::asm!("prefetchw [{0}]", in(reg) std::ptr::from_ref(place), options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(loom, miri)))))]
    let _ = place;
}
