//! How much CPU was used.

use cpu_time::{ProcessTime, ThreadTime};
use std::time::{Duration, Instant};

/// Measures what all threads but the calling one use.
pub struct OthersCpu {
    began: Instant,
    process: ProcessTime,
    thread: ThreadTime,
}

impl OthersCpu {
    pub fn start() -> Self {
        OthersCpu { began: Instant::now(), process: ProcessTime::now(), thread: ThreadTime::now() }
    }

    /// In per cent of one CPU.
    pub fn percent(&self) -> f64 {
        let others = self.process.elapsed().saturating_sub(self.thread.elapsed());
        100.0 * others.as_secs_f64() / self.began.elapsed().as_secs_f64()
    }
}

/// What the threads of this name have used so far. `None` where the system does not tell.
pub fn used_by_threads(name: &str) -> Option<Duration> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    let mut used = Duration::ZERO;
    for task in tasks.flatten() {
        let read = |file| std::fs::read_to_string(task.path().join(file)).ok();
        // a thread may end at any moment
        if read("comm").is_some_and(|comm| comm.trim_end() == name)
            && let Some(statistics) = read("schedstat")
        {
            used += Duration::from_nanos(statistics.split_whitespace().next()?.parse().ok()?);
        }
    }
    Some(used)
}
