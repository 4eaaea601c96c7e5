//! A job that goes to several queues: slots of all of them first, then a copy into each.

use super::producer::Producer;
use crate::clock::{Clock, Timestamp};
use crate::config::{Overflow, validate_payload};
use crate::error::Refusal;
use crate::exchange::{Held, Slots, take_all};
use crate::job::{Job, Payload};
use crate::routing::Hop;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

/// How long a publish waits for room.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wait {
    /// As the full queue's overflow policy says.
    AsTheQueueSays,
    /// Not at all.
    Never,
    /// So long, whatever the policies.
    AtMost(Duration),
}

/// Where the job goes, and memory that is used again for each.
pub(super) struct Fan<T> {
    clock: Arc<dyn Clock>,
    hops: Vec<Hop>,
    slots: Vec<(usize, u32)>,
    /// Every copy but the job itself.
    copies: Vec<T>,
}

/// A job that no queue took: which refused it first, the job, and why.
type Refused<T> = (usize, Job<T>, Refusal);

impl<T: Payload> Fan<T> {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Fan { clock, hops: Vec::new(), slots: Vec::new(), copies: Vec::new() }
    }

    pub(super) fn set_hops(&mut self, hops: &[Hop]) {
        self.hops.clear();
        self.hops.extend_from_slice(hops);
    }

    pub(super) fn hops(&self) -> &[Hop] {
        &self.hops
    }
}

impl<T: Payload + Clone> Fan<T> {
    /// A copy into every queue, or none anywhere.
    #[inline]
    pub(super) fn publish_all(&mut self, producers: &[Option<Producer<T>>], job: Job<T>, wait: Wait) -> Result<usize, Refused<T>> {
        let queues = Queues::new(producers, &self.hops, wait, &*self.clock);
        if let Err(reason) = validate_payload(&job.payload) {
            return Err(queues.refused(0, job, Refusal::Invalid { reason }));
        }
        match take_all(&queues, self.hops.len(), &mut self.slots) {
            Ok(held) => Ok(queues.publish(held, &mut self.copies, job)),
            Err((at, refusal)) => Err(queues.refused(at, job, refusal)),
        }
    }

    /// A copy into every queue that takes one at once; the others are `missed`.
    pub(super) fn publish_some(
        &mut self,
        producers: &[Option<Producer<T>>],
        job: Job<T>,
        missed: &mut Vec<(usize, Refusal)>,
    ) -> Result<usize, Refused<T>> {
        let queues = Queues::new(producers, &self.hops, Wait::Never, &*self.clock);
        if let Err(reason) = validate_payload(&job.payload) {
            return Err(queues.refused(0, job, Refusal::Invalid { reason }));
        }
        let mut held = Held::none(&queues, &mut self.slots);
        for at in 0..self.hops.len() {
            match queues.take(at) {
                Ok(slot) => held.push(at, slot),
                Err(refusal) => {
                    queues.producer(at).publisher.count_refusal(&refusal);
                    missed.push((self.hops[at].target as usize, refusal));
                }
            }
        }
        if held.is_empty() {
            let (target, refusal) = missed.swap_remove(0);
            return Err((target, job, refusal));
        }
        Ok(queues.publish(held, &mut self.copies, job))
    }
}

/// The queues of one fan-out.
struct Queues<'a, T: Payload> {
    producers: &'a [Option<Producer<T>>],
    hops: &'a [Hop],
    wait: Wait,
    clock: &'a dyn Clock,
    /// When the publish began, or last stopped waiting.
    now: Cell<Timestamp>,
    /// When it first began to wait.
    waiting_since: Cell<Option<Timestamp>>,
}

impl<'a, T: Payload> Queues<'a, T> {
    fn new(producers: &'a [Option<Producer<T>>], hops: &'a [Hop], wait: Wait, clock: &'a dyn Clock) -> Self {
        Queues { producers, hops, wait, clock, now: Cell::new(clock.stamp()), waiting_since: Cell::new(None) }
    }

    #[inline]
    fn producer(&self, at: usize) -> &Producer<T> {
        self.producers[self.hops[at].target as usize].as_ref().expect("it was opened")
    }

    fn lane(&self, at: usize) -> usize {
        usize::from(self.hops[at].lane)
    }

    #[cold]
    fn refused(&self, at: usize, job: Job<T>, refusal: Refusal) -> Refused<T> {
        self.producer(at).publisher.count_refusal(&refusal);
        (self.hops[at].target as usize, job, refusal)
    }
}

impl<T: Payload + Clone> Queues<'_, T> {
    /// A copy into each slot. First all copies are made: should `clone` panic, no queue has one, and the slots are given back.
    #[inline]
    fn publish(&self, mut held: Held<'_, Self>, copies: &mut Vec<T>, job: Job<T>) -> usize {
        let count = held.len();
        let mut made = std::mem::take(copies);
        made.extend((1..count).map(|_| job.payload.clone()));
        let Job { payload, ttl, visibility, .. } = job;
        let mut payload = Some(payload);
        while let Some((at, slot)) = held.pop() {
            let payload = made.pop().or_else(|| payload.take()).expect("there are as many as slots");
            let producer = self.producer(at);
            let copy = Job { payload, lane: self.lane(at), ttl, visibility };
            producer.handle.queue.publish_into(&producer.publisher, slot, copy, self.now.get());
        }
        *copies = made;
        count
    }
}

impl<T: Payload> Slots for Queues<'_, T> {
    type Refusal = Refusal;

    #[inline]
    fn take(&self, at: usize) -> Result<u32, Refusal> {
        let (Producer { handle, publisher }, lane) = (self.producer(at), self.lane(at));
        match handle.queue.slot_at_hand(publisher, lane) {
            Some(slot) => Ok(slot),
            None => handle.queue.take_slot(publisher, lane, self.now.get()),
        }
    }

    fn wait(&self, at: usize, refusal: Refusal) -> Result<u32, Refusal> {
        let Producer { handle, publisher } = self.producer(at);
        let patience = match (self.wait, handle.queue.settings.overflow) {
            _ if !matches!(refusal, Refusal::Full { .. }) => return Err(refusal),
            (Wait::AtMost(timeout), _) => timeout,
            (Wait::AsTheQueueSays, Overflow::Block(patience)) => patience,
            _ => return Err(refusal),
        };
        if handle.runtime.is_inside() {
            return Err(Refusal::WouldDeadlock);
        }
        let since = self.waiting_since.get().unwrap_or_else(|| self.clock.now());
        self.waiting_since.set(Some(since));
        let slot = handle.queue.wait_for_slot(publisher, self.lane(at), self.clock, since + patience);
        self.now.set(self.clock.stamp());
        slot
    }

    fn give_back(&self, at: usize, slot: u32) {
        let producer = self.producer(at);
        producer.handle.queue.give_slot_back(&producer.publisher, slot);
    }
}
