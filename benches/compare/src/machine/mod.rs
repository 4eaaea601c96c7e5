//! The machine: where threads run, what state its caches are in, what time it is, how much CPU was used.

mod cores;
mod cpu_time;
mod describe;
mod probe;
mod ticks;

pub use cores::{cpu_number, pin};
pub use cpu_time::{OthersCpu, used_by_threads};
pub use describe::{commit, describe, today};
pub use probe::{Probe, State};
pub use ticks::{nanos, tick_nanos, ticks};
