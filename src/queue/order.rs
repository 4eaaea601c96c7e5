//! Jobs with a partition key: how they enter, and what follows when one ends. See [`partitions`](crate::partitions) for the protocol.
//!
//! A head is a job of its lane like any other: it is claimed, stolen, taken back and given back through the lane. Only three things differ. A publish enters the
//! partition and not the lane; whoever ends a head passes the token on, *before* the slot is free; and a lease that runs out is reported, not revoked.

use super::Queue;
use crate::chain::Chain;
use crate::clock::Timestamp;
use crate::config::{OrderPolicy, QueueConfig};
use crate::error::Refusal;
use crate::job::Job;
use crate::key::OrderKey;
use crate::partitions::{Next, Partitions, Place, Role, Seat, Skew};
use crate::slab::{Phase, Word};

/// What a queue with partitions has.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) partitions: Partitions,
    policy: OrderPolicy,
    redeliver_overrun: bool,
}

impl Order {
    pub(super) fn new(config: &QueueConfig) -> Option<Box<Self>> {
        let partitions = Partitions::new(config.partitions?, config.lanes.len(), config.capacity as u32);
        Some(Box::new(Order { partitions, policy: config.order, redeliver_overrun: config.redeliver_overrun }))
    }
}

/// A claimer's part in the partitions.
#[derive(Debug)]
pub(super) struct OrderSeat {
    pub(super) seat: Seat,
    /// Whether the partitions are asked before the lane, next time: they take turns.
    pub(super) partitions_first: bool,
}

/// How the jobs with a partition key spread over the partitions.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// Partitions.
    pub partitions: usize,
    /// Jobs by partition.
    pub skew: Skew,
    /// Partitions that have a job claimed or running.
    pub busy: usize,
    /// Keys that wait for a retry.
    pub blocked_keys: usize,
}

impl<T> Queue<T> {
    /// A claimer's part in the partitions, if there are any.
    pub(super) fn open_order_seat(&self) -> Option<Box<OrderSeat>> {
        let order = self.order.as_ref()?;
        let seat = order.partitions.join();
        // half of the claimers begin with the partitions
        Some(Box::new(OrderSeat { partitions_first: seat.is_even(), seat }))
    }

    /// What can be refused of a job's keys before it costs anything.
    #[inline(never)]
    pub(super) fn check_keys(&self, job: &Job<T>, now: Timestamp) -> Result<(), Refusal> {
        self.check_order_key(job.order)?;
        if self.dedupes(job) { self.check_key(job.key, now) } else { Ok(()) }
    }

    /// Refuses a partition key that is none, where it matters.
    pub fn check_order_key(&self, key: OrderKey) -> Result<(), Refusal> {
        match key.fault() {
            Some(bytes) if self.order.is_some() => Err(Refusal::BadKey { bytes }),
            _ => Ok(()),
        }
    }

    /// True for a job that does not travel in a chain with others.
    #[inline]
    pub(super) fn goes_alone(&self, job: &Job<T>) -> bool {
        self.tracks && (self.dedupes(job) || self.order.is_some() && job.order.is_some())
    }

    /// A new job, filled and ready, takes its place in `lane`, or in its partition. The caller rings.
    // always: a branch around a push
    #[inline(always)]
    pub(super) fn line_up(&self, index: u32, lane: usize, key: OrderKey) {
        match &self.order {
            None => self.lanes[lane].push(Chain::one(index)),
            Some(order) => self.line_up_in_order(order, index, lane, key),
        }
    }

    #[inline(never)]
    fn line_up_in_order(&self, order: &Order, index: u32, lane: usize, key: OrderKey) {
        if key.is_some() {
            order.partitions.enter(&self.slab, index, key, lane);
        } else {
            order.partitions.set_place(index, Place::UNKEYED);
            self.lanes[lane].push(Chain::one(index));
        }
    }

    /// As [`line_up`](Self::line_up), for a job that the timer is about to get: it takes its place when its time has come.
    pub(super) fn line_up_later(&self, index: u32, lane: usize, key: OrderKey) {
        if let Some(order) = &self.order {
            order.partitions.set_place(index, Place::new(key, lane));
        }
    }

    /// A job waits again: in its lane, with its token if it has one; or in its partition, if it gave up its place there. The caller owns `index`, and rings.
    pub(super) fn line_up_again(&self, index: u32, word: Word) {
        if let Some(order) = &self.order
            && word.phase() == Phase::Ready
            && order.partitions.place(index).role() == Role::Apart
        {
            order.partitions.enter_again(&self.slab, index, order.partitions.place(index));
        } else {
            self.lanes[usize::from(word.lane())].push(Chain::one(index));
        }
    }

    /// A job that failed or was snoozed does not end, and will come back: at once, or when the timer brings it. The caller owns `index`.
    #[inline]
    pub(super) fn step_back(&self, index: u32, at_once: bool) {
        if let Some(order) = &self.order {
            self.step_back_in_order(order, index, at_once);
        }
    }

    #[cold]
    fn step_back_in_order(&self, order: &Order, index: u32, at_once: bool) {
        let wakes = match (order.policy, order.partitions.place(index).role()) {
            // the token comes with it
            (OrderPolicy::BlockKey, Role::Head) if at_once => false,
            (OrderPolicy::BlockKey, Role::Head) => order.partitions.step_aside(&self.slab, index),
            (OrderPolicy::Skip, Role::Head) => {
                let place = order.partitions.take_leave(index);
                order.partitions.leave(&self.slab, place)
            }
            _ => false,
        };
        if wakes {
            self.ring_bell(1);
        }
    }

    /// Where the job in the slot stands with its partition key.
    #[inline]
    pub(super) fn place_of(&self, index: u32) -> Place {
        self.order.as_ref().map_or(Place::UNKEYED, |order| order.partitions.place(index))
    }

    /// The job in the slot has ended: whoever waits for it goes on. The caller owns `index`.
    #[inline]
    pub(super) fn pass_on(&self, index: u32) {
        if let Some(order) = &self.order {
            self.pass_on_from(order, order.partitions.place(index));
        }
    }

    /// A job has ended whose slot the caller does not own, and whose place this was.
    pub(super) fn pass_on_from_place(&self, place: Place) {
        if let Some(order) = &self.order {
            self.pass_on_from(order, place);
        }
    }

    fn pass_on_from(&self, order: &Order, place: Place) {
        if order.partitions.leave(&self.slab, place) {
            self.ring_bell(1);
        }
    }

    /// A job has ended that `seat`'s owner ran. The next one of its partition, if the owner may go on with it.
    pub(super) fn go_on(&self, place: Place, seat: &mut Seat, in_a_row: u32) -> Option<u32> {
        let order = self.order.as_ref()?;
        if place.role() != Role::Head {
            self.pass_on_from(order, place);
            return None;
        }
        match order.partitions.go_on(&self.slab, place, seat, in_a_row) {
            Next::Job(next) => Some(next),
            Next::Ready(_) => {
                self.ring_bell(1);
                None
            }
            Next::Nothing => None,
        }
    }

    /// True when a lease that has run out is reported and not revoked: the job has a key, which stays blocked while its handler runs.
    pub(super) fn keeps_overrun(&self, index: u32) -> bool {
        self.order.as_ref().is_some_and(|order| !order.redeliver_overrun) && self.place_of(index).role() != Role::Unkeyed
    }

    /// Every job that waits in a partition, one after the other in the caller's hand.
    pub(super) fn drain_partitions(&self) -> impl Iterator<Item = u32> {
        let partitions = self.order.as_ref().map(|order| &order.partitions);
        partitions.into_iter().flat_map(|partitions| (0..partitions.count()).flat_map(|at| partitions.drain(&self.slab, at)))
    }

    /// How the jobs spread over the partitions.
    pub(super) fn spread(&self) -> Option<Spread> {
        let partitions = &self.order.as_ref()?.partitions;
        let is_live =
            |index: &u32| matches!(self.slab.state(*index).load().phase(), Phase::Ready | Phase::Running | Phase::Delayed | Phase::Doomed);
        Some(Spread {
            partitions: partitions.count(),
            skew: partitions.skew((0..self.capacity()).filter(is_live)),
            busy: partitions.held(),
            blocked_keys: partitions.waiting_keys(),
        })
    }
}
