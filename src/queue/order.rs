//! Jobs with a partition key: how they enter, and what follows when one ends. See [`partitions`](crate::partitions) for the protocol.
//!
//! A head is a job of its lane like any other: it is claimed, stolen, taken back and given back through the lane. Only three things differ. A publish enters the
//! partition and not the lane; whoever ends a head passes the token on, *before* the slot is free; and a lease that runs out is reported, not revoked.

use super::Queue;
use super::claim_block::AHEAD_MAX;
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
    /// Per lane: the partitions of the claims, which came from there; or nothing, if they came from the lane.
    pub(super) heads: Box<[Option<[u16; AHEAD_MAX]>]>,
    /// What was taken last.
    pub(super) taken: [(u32, u16); AHEAD_MAX],
}

/// What ends with a job that a claimer has run.
#[derive(Debug, Clone, Copy)]
pub(super) enum Turn {
    /// Nothing: it had no key.
    Nobodys,
    /// It was a head of this partition, in this lane, which the claimer took itself.
    Heads(u16, usize),
    /// It came some other way, with this place.
    Other(Place),
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
        let seat = self.order.as_ref()?.partitions.join();
        let heads = self.lanes.iter().map(|_| None).collect();
        // half of the claimers begin with the partitions
        Some(Box::new(OrderSeat { partitions_first: seat.is_even(), seat, heads, taken: [(0, 0); AHEAD_MAX] }))
    }

    /// What can be refused of a job's keys before it costs anything.
    #[inline(never)]
    pub(super) fn check_keys(&self, job: &Job<T>, now: impl FnOnce() -> Timestamp) -> Result<(), Refusal> {
        if job.order.is_some() {
            self.check_order_key(job.order)?;
            self.prefetch_order(job.order, job.lane);
        }
        if self.dedupes(job) { self.check_key(job.key, now()) } else { Ok(()) }
    }

    /// Asks for the lines that a publish of `job` will look at for its keys.
    #[inline]
    pub fn prefetch_keys(&self, job: &Job<T>) {
        if self.tracks && job.lane < self.lanes.len() {
            self.prefetch_order(job.order, job.lane);
            self.prefetch_key(job.key);
        }
    }

    /// Asks for the lines of a partition that a job of `lane` is about to enter, if it has a key and they matter.
    #[inline]
    pub(super) fn prefetch_order(&self, key: OrderKey, lane: usize) {
        if let Some(order) = &self.order
            && key.is_some()
        {
            order.partitions.prefetch(key, lane);
        }
    }

    /// Refuses a partition key that is none, where it matters.
    pub fn check_order_key(&self, key: OrderKey) -> Result<(), Refusal> {
        match key.fault() {
            Some(bytes) if self.order.is_some() => Err(Refusal::BadKey { bytes }),
            _ => Ok(()),
        }
    }

    /// A new job, filled and ready, takes its place in `lane`, or in its partition. True if the caller rings; the caller's last look at the world is fenced from
    /// the push by the bell then, and otherwise already.
    // always: a branch around a push
    #[inline(always)]
    pub(super) fn line_up(&self, index: u32, lane: usize, key: OrderKey) -> bool {
        match &self.order {
            Some(order) if key.is_some() => self.enter(order, index, lane, key),
            _ => {
                self.lanes[lane].push(Chain::one(index));
                true
            }
        }
    }

    #[inline(never)]
    fn enter(&self, order: &Order, index: u32, lane: usize, key: OrderKey) -> bool {
        self.slab.slot(index).set_keyed();
        order.partitions.enter(&self.slab, index, key, lane)
    }

    /// As [`line_up`](Self::line_up), for a job that takes its place later: when the timer has had it, or with others.
    #[inline]
    pub(super) fn line_up_later(&self, index: u32, lane: usize, key: OrderKey) {
        if let Some(order) = &self.order
            && key.is_some()
        {
            self.slab.slot(index).set_keyed();
            order.partitions.set_place(index, Place::new(key, lane));
        }
    }

    /// Those of the jobs in these slots take their places that have a key, and the others move up to the front: as many as are said first. Then, how many partitions
    /// are ready by that. The caller owns the slots, and its last look at the world is fenced from what has entered.
    #[inline]
    pub(super) fn enter_keyed(&self, slots: &mut [u32]) -> (usize, usize) {
        match &self.order {
            None => (slots.len(), 0),
            Some(order) => self.enter_each(order, slots),
        }
    }

    #[inline(never)]
    fn enter_each(&self, order: &Order, slots: &mut [u32]) -> (usize, usize) {
        let (mut unkeyed, mut ready) = (0, 0);
        for at in 0..slots.len() {
            let index = slots[at];
            let place = self.place_of(index);
            if place.role() == Role::Unkeyed {
                slots[unkeyed] = index;
                unkeyed += 1;
            } else {
                ready += usize::from(order.partitions.enter_again(&self.slab, index, place));
            }
        }
        (unkeyed, ready)
    }

    /// A delayed job's time has come, or it was cancelled: it takes its place, unless it has kept it. The caller, who owns `index`, rings.
    pub(super) fn line_up_due(&self, index: u32, word: Word) {
        if word.phase() == Phase::Ready
            && let Some(order) = &self.order
            && self.place_of(index).role() == Role::Keyed
        {
            order.partitions.enter_again(&self.slab, index, order.partitions.place(index));
            return;
        }
        // whoever pops it disposes of it
        self.renounce_place(index);
        self.line_up_again(index, word);
    }

    /// A delayed job will not take its place again: if it has not kept its token it has none to pass on. The caller owns `index`.
    pub(super) fn renounce_place(&self, index: u32) {
        if let Some(order) = &self.order
            && self.place_of(index).role() == Role::Keyed
        {
            order.partitions.set_apart(index);
        }
    }

    /// A job that was taken before waits again, with its token if it has one. The caller owns `index`, and rings.
    #[inline]
    pub(super) fn line_up_again(&self, index: u32, word: Word) {
        self.lanes[usize::from(word.lane())].push(Chain::one(index));
    }

    /// A job that failed or was snoozed comes back at once. The caller owns `index`, and rings.
    #[inline]
    pub(super) fn come_back(&self, index: u32, word: Word) {
        let place = self.place_of(index);
        match &self.order {
            Some(order) if order.policy == OrderPolicy::Skip && place.role() == Role::Keyed => {
                order.partitions.enter_again(&self.slab, index, place);
                order.partitions.leave(&self.slab, place);
            }
            // its turn comes with it
            _ => self.line_up_again(index, word),
        }
    }

    /// A job that failed or was snoozed is about to go to the timer. The caller owns `index`.
    #[inline]
    pub(super) fn step_back(&self, index: u32) {
        let place = self.place_of(index);
        if let Some(order) = &self.order
            && place.role() == Role::Keyed
        {
            let wakes = match order.policy {
                OrderPolicy::BlockKey => order.partitions.step_aside(&self.slab, index),
                OrderPolicy::Skip => order.partitions.leave(&self.slab, place),
            };
            if wakes {
                self.ring_bell(1);
            }
        }
    }

    /// Where the job in the slot stands with its partition key.
    #[inline]
    pub(super) fn place_of(&self, index: u32) -> Place {
        match &self.order {
            Some(order) if self.slab.slot(index).is_keyed() => order.partitions.place(index),
            _ => Place::UNKEYED,
        }
    }

    /// The job in the slot has ended: whoever waits for it goes on. The caller owns `index`.
    #[inline]
    pub(super) fn pass_on(&self, index: u32) {
        if let Some(order) = &self.order {
            self.pass_on_from(order, self.place_of(index));
        }
    }

    /// A job has ended whose place this was, and which the caller may not own any more.
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

    /// A head of `partition` has ended, in `lane`, that `seat`'s owner ran. The next one, if the owner may go on with it.
    pub(super) fn go_on(&self, partition: u16, lane: usize, seat: &mut Seat, in_a_row: u32) -> Option<u32> {
        let order = self.order.as_ref()?;
        match order.partitions.go_on(&self.slab, usize::from(partition), lane, seat, in_a_row) {
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
        let is_live = |index: &u32| {
            let slot = self.slab.slot(*index);
            slot.is_keyed() && matches!(slot.state.load().phase(), Phase::Ready | Phase::Running | Phase::Delayed | Phase::Doomed)
        };
        Some(Spread {
            partitions: partitions.count(),
            skew: partitions.skew((0..self.capacity()).filter(is_live)),
            busy: partitions.held(),
            blocked_keys: partitions.waiting_keys(),
        })
    }
}
