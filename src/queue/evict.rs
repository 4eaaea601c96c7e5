//! A full queue makes room: an old job goes to the dead letters.

use super::order::Order;
use super::{Accounts, Aftermath, Queue};
use crate::clock::Timestamp;
use crate::ledger::Block;
use crate::limits::LANES_MAX;
use crate::ring::{IndexRing, Popped};
use crate::slab::Fate;

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

    /// The index of such a job, in the caller's hand.
    fn pop_victim(&self, lane: usize) -> Option<u32> {
        // a slot that the publisher's lane may use, and that is the publisher's as soon as the job has ended: no handler that overran its lease reads it still,
        // and nobody stands in line for it
        let free = |index: u32| self.slab.state(index).load().holders() == 0 && !self.credits.is_awaited(index);
        let helps = |index: u32| self.credits.may_occupy(lane, index) && free(index);
        let mut popped = Popped::new();
        let mut pop = |ring: &IndexRing| {
            // (chains have one index in a queue that evicts, see `chain_limit`: more could only be taken together)
            let taken = ring.pop_if(&mut popped, |chain| chain.len() == 1 && helps(chain.first()));
            taken.then(|| popped.chains()[0].first())
        };
        let Some(order) = &self.order else { return self.lanes.iter().rev().find_map(pop) };
        let published = |index: u32| self.slab.slot(index).published();
        let oldest = self.oldest_in_order(order, helps);
        self.lanes.iter().zip(oldest).rev().find_map(|(ring, oldest)| {
            let take_out = || oldest.filter(|&index| order.partitions.take_out(&self.slab, index, helps));
            // what lies in the lane of a partition's has been taken once: it is older than the rest of the partition
            let lane_first = oldest.is_none_or(|index| ring.peek().is_some_and(|head| published(head) <= published(index)));
            if lane_first { pop(ring).or_else(take_out) } else { take_out().or_else(|| pop(ring)) }
        })
    }

    /// Per lane, the oldest job that waits in a partition and helps.
    fn oldest_in_order(&self, order: &Order, helps: impl Fn(u32) -> bool) -> [Option<u32>; LANES_MAX] {
        let published = |index: u32| self.slab.slot(index).published();
        let mut oldest = [None; LANES_MAX];
        order.partitions.heads(&self.slab, |index| {
            let known = &mut oldest[order.partitions.place(index).lane()];
            if helps(index) && known.is_none_or(|known| published(index) < published(known)) {
                *known = Some(index);
            }
        });
        oldest
    }
}
