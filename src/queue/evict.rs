//! Waiting jobs are ended where they wait: the oldest of a full queue, which goes to the dead letters, and those whose life is over.

use super::bent::{Bend, is_bent};
use super::order::Order;
use super::{Accounts, Aftermath, Queue};
use crate::clock::Timestamp;
use crate::ledger::Block;
use crate::limits::LANES_MAX;
use crate::ring::{IndexRing, Popped};
use crate::slab::{Fate, Phase};
use crate::sync::atomic::Ordering::Relaxed;
use std::cell::Cell;

/// So many jobs that are over are ended in one turn of the timer.
const CLEARED_AT_ONCE: usize = 256;

impl<T> Queue<T> {
    /// Ends the oldest waiting job of the lowest lane where that helps a publisher to `lane`. `None` when it would help nowhere.
    ///
    /// Only the head of a lane can be taken out without disturbing the order behind it, so a lane whose oldest job is of no help is left alone, and
    /// the next lane up is asked.
    pub(super) fn evict_for(&self, lane: usize, accounts: &Accounts, ledger: &Block, now: Timestamp) -> Option<Aftermath<T>> {
        let index = self.pop_victim(lane)?;
        let (epoch, parting) = (self.slab.state(index).load().epoch(), self.parting(index));
        let disposed = self.slab.state(index).end_claimed(epoch, Fate::OverLength);
        Some(self.dispose(accounts, ledger, index, parting, disposed, now).unwrap_or(Aftermath::Nothing))
    }

    /// The index of such a job, in the caller's hand: the head of its lane, or of its partition.
    fn pop_victim(&self, lane: usize) -> Option<u32> {
        // (chains have one index in a queue that evicts, see `chain_limit`)
        // a slot that the publisher's lane may use, and that is the publisher's as soon as the job has ended: no handler that overran its lease reads it still,
        // and nobody stands in line for it
        let free = |index: u32| self.slab.state(index).load().holders() == 0 && !self.credits.is_awaited(index);
        let wanted = |index: u32| self.credits.may_occupy(lane, index) && free(index);
        let pop = |ring: &IndexRing| pop_head(ring, wanted);
        let Some(order) = &self.order else { return self.lanes.iter().rev().find_map(pop) };
        let published = |index: u32| self.slab.slot(index).published();
        let oldest = self.oldest_in_order(order, wanted);
        self.lanes.iter().zip(oldest).rev().find_map(|(ring, oldest)| {
            let take_out = || oldest.filter(|&index| order.partitions.take_out(&self.slab, index, wanted));
            // what lies in the lane of a partition's has been taken once: it is older than the rest of the partition
            let lane_first = oldest.is_none_or(|index| ring.peek().is_some_and(|head| published(head) <= published(index)));
            if lane_first { pop(ring).or_else(take_out) } else { take_out().or_else(|| pop(ring)) }
        })
    }

    /// Ends waiting jobs at the heads of their lanes and partitions that were cancelled or whose time to live has ended, a bounded number of them. False when there may be more.
    ///
    /// For the timer: who works here would end them as he takes them, but may be busy, and a queue may be paused or have nobody. User code is left as a chore; where as
    /// many payloads lie there as the queue has slots, jobs keep theirs.
    pub(super) fn clear_heads(&self, now: Timestamp) -> bool {
        let mut left = CLEARED_AT_ONCE;
        loop {
            let before = left;
            for ring in &self.lanes {
                while left > 0 && self.may_leave_more() {
                    let Some(index) = pop_head(ring, |index| self.is_doomed(index)) else { break };
                    self.end_over(index, now);
                    left -= 1;
                }
            }
            for index in self.over_in_order() {
                let Some(order) = &self.order else { break };
                if left > 0 && self.may_leave_more() && order.partitions.take_out(&self.slab, index, |index| self.is_doomed(index)) {
                    self.end_over(index, now);
                    left -= 1;
                }
            }
            if left == 0 || left == before {
                // (those behind the ones that went may be over too)
                return left > 0;
            }
        }
    }

    /// True while a job at a head is over that can be ended.
    pub(super) fn awaits_clearing(&self) -> bool {
        let at_head = |ring: &IndexRing| {
            let over = Cell::new(false);
            // looks, and takes nothing
            let _ = ring.pop_if(&mut Popped::new(), |chain| {
                over.set(chain.len() == 1 && self.is_doomed(chain.first()));
                false
            });
            over.get()
        };
        // relaxed: a hint; nobody acts where time leaps
        self.marks.load(Relaxed) && self.may_leave_more() && (self.lanes.iter().any(at_head) || !self.over_in_order().is_empty())
    }

    /// False while as much as the queue holds waits for whoever does chores: a queue is bounded, also where nobody comes by.
    fn may_leave_more(&self) -> bool {
        self.chores.left() < self.capacity()
    }

    fn is_doomed(&self, index: u32) -> bool {
        self.slab.state(index).load().phase() == Phase::Doomed
    }

    fn over_in_order(&self) -> Vec<u32> {
        let mut over = Vec::new();
        if let Some(order) = &self.order {
            order.partitions.heads(&self.slab, |index| {
                if self.is_doomed(index) {
                    over.push(index)
                }
            });
        }
        over
    }

    /// The caller has taken the job out of its place.
    fn end_over(&self, index: u32, now: Timestamp) {
        let (epoch, parting) = (self.slab.state(index).load().epoch(), self.parting(index));
        let disposed = self.slab.state(index).dispose(epoch);
        self.leave_to_others(self.dispose_by_house(index, parting, disposed, now).unwrap_or(Aftermath::Nothing));
    }

    /// Per lane, the oldest job that waits in a partition and is `wanted`.
    fn oldest_in_order(&self, order: &Order, wanted: impl Fn(u32) -> bool) -> [Option<u32>; LANES_MAX] {
        let published = |index: u32| self.slab.slot(index).published();
        let mut oldest = [None; LANES_MAX];
        order.partitions.heads(&self.slab, |index| {
            let known = &mut oldest[order.partitions.place(index).lane()];
            if wanted(index) && known.is_none_or(|known| published(index) < published(known)) {
                *known = Some(index);
            }
        });
        oldest
    }
}

/// Takes out the head of a lane, if it came alone and is `wanted`. (Jobs that came as one chain can only be taken together.)
fn pop_head(ring: &IndexRing, wanted: impl Fn(u32) -> bool) -> Option<u32> {
    if is_bent(Bend::EndsInPlace) {
        return ring.peek().filter(|&index| wanted(index));
    }
    let mut popped = Popped::new();
    ring.pop_if(&mut popped, |chain| chain.len() == 1 && wanted(chain.first())).then(|| popped.chains()[0].first())
}
