//! In simulations: what each job of a queue is doing now.

use super::Queue;
use crate::clock::Timestamp;
use crate::id::JobId;
use crate::slab::{Fate, Phase};

/// What a job is doing now, as a simulation sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobState {
    /// The job.
    pub job: JobId,
    /// Its lane.
    pub lane: usize,
    /// The lane whose [reserve](crate::LaneConfig::reserve) its slot is of; `None`: it is a slot that all lanes share.
    pub reserve_of: Option<usize>,
    /// What it is doing.
    pub phase: JobPhase,
    /// How many deliveries failed.
    pub failures: u32,
    /// How many leases ran out.
    pub expiries: u32,
    /// How often it was snoozed.
    pub snoozes: u32,
    /// Handlers and consumers that read its payload, those whose lease has run out included.
    pub holders: u32,
}

/// What a job can be doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobPhase {
    /// It waits for a worker or consumer, in its lane or partition, or claimed.
    Waiting,
    /// It was cancelled or has expired while it waited: whoever comes to it disposes of it.
    Doomed,
    /// It waits until this time.
    Delayed(Timestamp),
    /// A handler or consumer has it.
    Running,
    /// It will not be delivered any more, but a handler or consumer whose lease has run out still reads it.
    Lingering,
    /// It is dead, and waits for room among the dead letters.
    Held,
}

impl<T> Queue<T> {
    /// Every job that occupies a slot, by its id.
    pub(crate) fn states(&self) -> Vec<JobState> {
        let mut states: Vec<JobState> = (0..self.capacity()).filter_map(|index| self.state_at(index)).collect();
        states.sort_unstable_by_key(|state| state.job);
        states
    }

    /// How many slots are free for jobs of `lane`.
    pub(crate) fn room(&self, lane: usize) -> u32 {
        self.credits.room(lane)
    }

    /// How many payloads wait for whoever does chores.
    pub(crate) fn left_to_drop(&self) -> usize {
        self.chores.left_to_drop()
    }

    fn state_at(&self, index: u32) -> Option<JobState> {
        let (slot, word) = (self.slab.slot(index), self.slab.state(index).load());
        let phase = match word.phase() {
            Phase::Free => return None,
            Phase::Ready => JobPhase::Waiting,
            Phase::Doomed if word.fate() == Fate::TakenOut => return None,
            Phase::Doomed => JobPhase::Doomed,
            Phase::Delayed => JobPhase::Delayed(self.slab.due(index)),
            Phase::Running => JobPhase::Running,
            Phase::Zombie if word.holders() > 0 => JobPhase::Lingering,
            Phase::Zombie => return None,
            Phase::Held => JobPhase::Held,
        };
        Some(JobState {
            job: slot.job_id(),
            lane: usize::from(word.lane()),
            reserve_of: self.credits.lane_of_reserve(index),
            phase,
            failures: word.failures(),
            expiries: word.expiries(),
            snoozes: slot.snoozes(),
            holders: word.holders(),
        })
    }
}
