//! Pinning the current thread, and looking whether it worked.

use super::joined;
use crate::runtime::topology::{self, CpuId};
use std::fmt;

/// What became of a wish to pin a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PinOutcome {
    /// Pinned, and the system confirms it.
    Pinned(CpuId),
    /// The system took the wish and has no way to confirm it.
    Unconfirmed(CpuId),
    /// The system took the wish, yet the thread may run elsewhere.
    Elsewhere {
        /// The CPU asked for.
        requested: CpuId,
        /// Where the thread may run.
        mask: Vec<CpuId>,
    },
    /// The system refused: the CPU is offline, outside the cpuset, or pinning is not permitted.
    Refused(CpuId),
    /// The number is beyond what the system interface can say.
    OutOfRange {
        /// The CPU asked for.
        requested: CpuId,
        /// The first number that cannot be said.
        limit: usize,
    },
    /// This system does not pin threads.
    Unsupported,
}

impl PinOutcome {
    /// The CPU the thread is known, or believed, to run on.
    pub fn cpu(&self) -> Option<CpuId> {
        match self {
            PinOutcome::Pinned(cpu) | PinOutcome::Unconfirmed(cpu) => Some(*cpu),
            PinOutcome::Elsewhere { mask, .. } if mask.len() == 1 => Some(mask[0]),
            _ => None,
        }
    }
}

impl fmt::Display for PinOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PinOutcome::Pinned(cpu) => write!(f, "pinned to CPU {cpu}"),
            PinOutcome::Unconfirmed(cpu) => write!(f, "asked for CPU {cpu}; this system cannot confirm it"),
            PinOutcome::Elsewhere { requested, mask } => {
                write!(f, "asked for CPU {requested}, but may run on {}", joined(mask.iter()))
            }
            PinOutcome::Refused(cpu) => write!(f, "the system refused CPU {cpu}: offline, outside the cpuset, or not permitted"),
            PinOutcome::OutOfRange { requested, limit } => {
                write!(f, "CPU {requested} is beyond the {limit} this system's interface can name")
            }
            PinOutcome::Unsupported => f.write_str("this system does not pin threads"),
        }
    }
}

/// The first CPU number that core_affinity cannot say: it would index past the system's mask.
const CPU_LIMIT: usize = if cfg!(windows) {
    64
} else if cfg!(any(target_os = "linux", target_os = "android")) {
    1024
} else {
    128
};

/// Systems on which `get_core_ids` tells the mask of the calling thread.
const CONFIRMS: bool = cfg!(any(target_os = "linux", target_os = "android"));
/// Systems on which pinning does something.
const PINS: bool = cfg!(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd", windows));

/// Pins the current thread, and looks whether it worked. Never panics.
pub fn pin_current(cpu: CpuId) -> PinOutcome {
    if !PINS {
        return PinOutcome::Unsupported;
    }
    if cpu.0 >= CPU_LIMIT {
        return PinOutcome::OutOfRange { requested: cpu, limit: CPU_LIMIT };
    }
    if !core_affinity::set_for_current(core_affinity::CoreId { id: cpu.0 }) {
        return PinOutcome::Refused(cpu);
    }
    if !CONFIRMS {
        return PinOutcome::Unconfirmed(cpu);
    }
    match topology::allowed_now() {
        Some(mask) if mask == [cpu] => PinOutcome::Pinned(cpu),
        Some(mask) => PinOutcome::Elsewhere { requested: cpu, mask },
        None => PinOutcome::Unconfirmed(cpu),
    }
}
