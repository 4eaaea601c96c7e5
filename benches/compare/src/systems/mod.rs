//! Job systems with their workers running: ringmill, and what else runs jobs inside a process.

pub mod apalis;
pub mod mill;
pub mod peers;
pub mod through;

use std::ops::Range;

/// Jobs that wait at most, where there is a bound.
pub const CAPACITY: usize = 1_024;

/// What a job does. A type, so that every system has a copy of it compiled in.
pub trait Work: Send + Sync + 'static {
    fn run(job: u64);
}

/// Who works.
#[derive(Debug, Clone, Copy)]
pub struct Crew {
    pub workers: usize,
    /// The first worker is pinned to this allowed CPU, the next to the next.
    pub first_cpu: Option<usize>,
}

impl Crew {
    /// Workers wherever the system and the scheduler put them.
    pub fn of(workers: usize) -> Self {
        Crew { workers, first_cpu: None }
    }

    /// One worker on this CPU.
    pub const fn alone_on(cpu: usize) -> Self {
        Crew { workers: 1, first_cpu: Some(cpu) }
    }
}

/// A job system with its workers running.
pub trait System: Send {
    /// Publishes these jobs as one publishes many. May return before they have run.
    fn publish(&mut self, jobs: Range<u64>);

    /// Publishes one job and does not wait for it.
    fn publish_one(&mut self, job: u64) {
        self.publish(job..job + 1);
    }

    /// True once the jobs that have run have left nothing behind.
    fn is_idle(&self) -> bool {
        true
    }

    /// Stops the workers, and checks what can be checked: `jobs` were published in all.
    fn stop(self, jobs: u64);
}
