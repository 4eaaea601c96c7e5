//! Slots: those of a reserve are for the jobs of one lane, and all others for those of any.

use super::line::Line;
use super::{At, Job, New, Queue, Wrong};
use ringmill::JobId;
use ringmill::sim::JobState;

/// What a slot is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// Any lane.
    Shared,
    /// The lane that has the reserve.
    Reserve,
}

/// What a job's slot may be.
pub type Slots = &'static [Slot];

pub const SHARED: Slots = &[Slot::Shared];
pub const RESERVE: Slots = &[Slot::Reserve];
pub const EITHER: Slots = &[Slot::Shared, Slot::Reserve];

impl Queue {
    /// How many such slots there are.
    fn size(&self, slot: Slot) -> usize {
        let reserve = self.rules.reserve.map_or(0, |(_, slots)| slots);
        if slot == Slot::Reserve { reserve } else { self.rules.capacity - reserve }
    }

    fn is_in_slot(&self, job: &Job) -> bool {
        !(job.at == At::Letter || self.wrong == Some(Wrong::HeldIsFree) && matches!(job.at, At::Held(_)))
    }

    /// Slots in use.
    pub fn occupied(&self) -> usize {
        self.jobs.values().filter(|job| self.is_in_slot(job)).count() + self.granted()
    }

    /// How many such slots are free. (A job of which that is not known has the slot of one that goes in the act under way, and counts still.)
    pub fn free(&self, slot: Slot) -> usize {
        self.free_beside(&self.line, slot).unwrap_or(0)
    }

    /// As [`free`](Self::free), if the line had come to this. `None`: it cannot have.
    pub fn free_beside(&self, line: &Line, slot: Slot) -> Option<usize> {
        let jobs = self.jobs.values().filter(|job| self.is_in_slot(job) && job.slots == [slot]).count();
        self.size(slot).checked_sub(jobs + line.granted_of(slot))
    }

    /// A job of the lane may have such a slot.
    pub fn may_have(&self, lane: usize, slot: Slot) -> bool {
        let own = self.rules.reserve.is_some_and(|(of, _)| of == lane || self.wrong == Some(Wrong::ReserveForAll));
        slot == Slot::Shared || own
    }

    /// How many jobs of the lane find a slot.
    pub fn room(&self, lane: usize) -> usize {
        EITHER.iter().filter(|slot| self.may_have(lane, **slot)).map(|slot| self.free(*slot)).sum()
    }

    /// What slots so many jobs of the lane take, one after the other: those of the reserve first. Beyond the free ones, those that others have.
    pub fn slots_for(&self, lane: usize, jobs: usize) -> impl Iterator<Item = Slots> + use<> {
        let own = self.may_have(lane, Slot::Reserve);
        let (shared, reserve) = (self.free(Slot::Shared), if own { self.free(Slot::Reserve) } else { 0 });
        let last = if self.wrong == Some(Wrong::ReserveLast) { shared } else { 0 };
        let any = if own { EITHER } else { SHARED };
        (0..jobs).map(move |at| match at {
            at if at >= shared + reserve => any,
            at if at >= last && at < last + reserve => RESERVE,
            _ => SHARED,
        })
    }

    /// What slot a job of the lane takes.
    pub fn slot_for(&self, lane: usize) -> Slots {
        self.slots_for(lane, 1).next().expect("one job")
    }

    /// As [`slot_for`](Self::slot_for), in the act that has just ended. Jobs that were over have `gone` in it, perhaps before.
    pub fn slot_in_this_act(&self, lane: usize, gone: bool) -> Slots {
        if gone && self.may_have(lane, Slot::Reserve) { EITHER } else { self.slot_for(lane) }
    }

    /// What the slot of one of these jobs may be.
    pub fn slots_of<'a>(mut jobs: impl Iterator<Item = &'a Job>) -> Slots {
        let Some(first) = jobs.next() else { return SHARED };
        if jobs.all(|job| job.slots == first.slots) { first.slots } else { EITHER }
    }

    /// The follow-up of a job has its slot; it leaves the reserve of another lane if it finds a slot that all lanes share.
    pub fn follow_up(&self, id: JobId, load: u32) -> New {
        let (lane, before) = (0, self.jobs[&id].slots);
        let stays = before.iter().all(|slot| self.may_have(lane, *slot));
        let slots = if stays {
            before
        } else if self.was_free > 0 {
            SHARED
        } else {
            EITHER
        };
        New { load: Some(load), lane, slots, expires: u64::MAX, key: None }
    }

    /// What slot a job has, which it keeps.
    pub fn see_slot(&mut self, state: &JobState) {
        let slots = if state.reserve_of.is_some() { RESERVE } else { SHARED };
        let job = self.job(state.job);
        assert!(job.slots.contains(&slots[0]), "{state:?} has another slot than it may have: {job:?}");
        job.slots = slots;
    }
}
