//! How long jobs wait: read at leisure, from what is known of each job anyway.

use super::Queue;
use crate::clock::Timestamp;
use crate::slab::Phase;
use std::time::Duration;

impl<T> Queue<T> {
    /// Per lane: how long the job has been eligible that has waited longest. One pass over the slots while everything goes on.
    pub fn oldest_eligible(&self, now: Timestamp) -> Vec<Option<Duration>> {
        let mut oldest = vec![None; self.lanes.len()];
        for index in 0..self.capacity() {
            let Some((lane, since)) = self.eligible_since(index) else { continue };
            oldest[lane] = oldest[lane].max(Some(now.since(since)));
        }
        oldest
    }

    /// The lane of the job in a slot, and when it became eligible, if it waits to be started.
    fn eligible_since(&self, index: u32) -> Option<(usize, Timestamp)> {
        let slot = self.slab.slot(index);
        let word = slot.state.load();
        if word.phase() != Phase::Ready {
            return None;
        }
        let first = slot.published();
        let is_first = word.is_untried() && slot.snoozes() == 0;
        // one that is just coming back has its old time still: not before it was eligible first
        let since = if is_first { first } else { self.slab.due(index).max(first) };
        // read of one job, unless it has gone meanwhile
        (slot.state.load() == word).then(|| (usize::from(word.lane()), since))
    }
}
