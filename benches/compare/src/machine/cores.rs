//! Which CPUs there are, and putting threads on them.

use core_affinity::CoreId;
use std::sync::OnceLock;

/// The CPUs this process may run on, read once, before anything is pinned.
pub fn cores() -> &'static [CoreId] {
    static CORES: OnceLock<Vec<CoreId>> = OnceLock::new();
    CORES.get_or_init(|| core_affinity::get_core_ids().unwrap_or_default())
}

/// Pins the calling thread to the `number`th allowed CPU. Does nothing where there are not as many: then threads have to share anyway.
pub fn pin(number: usize) {
    if let Some(&core) = cores().get(number) {
        core_affinity::set_for_current(core);
    }
}

/// What the system calls the `number`th allowed CPU.
pub fn cpu_number(number: usize) -> Option<usize> {
    cores().get(number).map(|core| core.id)
}
