//! The time stamp counter of an x86, where Linux trusts it.

use super::disciplined::{Disciplined, Machine};
use super::nanos;
use crate::sync::OnceLock;
use std::arch::x86_64::{_mm_lfence, _rdtsc};
use std::time::Instant;

/// The counter, and the operating system's monotonic clock.
#[derive(Debug)]
pub(super) struct Tsc {
    epoch: Instant,
}

/// The clock of the process; `None` where the counter is not to be trusted.
pub(super) fn process_wide() -> Option<&'static Disciplined<Tsc>> {
    static CLOCK: OnceLock<Option<Disciplined<Tsc>>> = OnceLock::new();
    CLOCK.get_or_init(|| is_trusted().then(Tsc::new).and_then(Disciplined::new)).as_ref()
}

/// Whether Linux keeps its own time by the counter: then it ticks evenly, through sleep states, and alike on every CPU. The kernel has measured that, and
/// goes on watching.
fn is_trusted() -> bool {
    const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    std::fs::read_to_string(SOURCE).is_ok_and(|source| source.trim() == "tsc")
}

impl Tsc {
    #[allow(clippy::disallowed_methods, reason = "this module asks the machine")]
    fn new() -> Self {
        Tsc { epoch: Instant::now() }
    }
}

impl Machine for Tsc {
    #[inline]
    fn ticks(&self) -> u64 {
        // SAFETY: x86_64 has the instruction; Linux lets programs use it unless one asked to be killed for it (prctl PR_SET_TSC), and then `Instant` kills as well
        unsafe { _rdtsc() }
    }

    #[inline]
    fn ticks_after_loads(&self) -> u64 {
        // SAFETY: every x86_64 has SSE2
        unsafe { _mm_lfence() };
        self.ticks()
    }

    #[inline]
    fn os_nanos(&self) -> u64 {
        nanos(self.epoch.elapsed())
    }
}
