//! A job that goes to several queues: slots of all of them first, then a copy into each.

use super::handle::QueueHandle;
use super::producer::Producer;
use super::routed::{Partial, RouteRefusal, Routed};
use crate::clock::{Clock, Timestamp};
use crate::config::{Overflow, validate_payload};
use crate::error::Refusal;
use crate::exchange::{Held, Slots, take_all};
use crate::job::{Job, Payload};
use crate::key::Key;
use crate::queue::When;
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

/// The way of a job to several queues.
pub(super) trait Several<T: Payload, R>:
    Fn(&mut Fan<T>, &[Option<Producer<T>>], &[Hop], Job<T>, Wait) -> Result<R, (Job<T>, RouteRefusal)>
{
}

impl<T: Payload, R, F> Several<T, R> for F where
    F: Fn(&mut Fan<T>, &[Option<Producer<T>>], &[Hop], Job<T>, Wait) -> Result<R, (Job<T>, RouteRefusal)>
{
}

/// Memory that is used again for each job.
pub(super) struct Fan<T> {
    clock: Arc<dyn Clock>,
    slots: Vec<(usize, u32)>,
    /// The payloads, one per queue.
    copies: Vec<T>,
}

impl<T: Payload> Fan<T> {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Fan { clock, slots: Vec::new(), copies: Vec::new() }
    }

    /// Nowhere: the job may not be cloned.
    pub(super) fn publish_none<R>(
        &mut self,
        _: &[Option<Producer<T>>],
        hops: &[Hop],
        job: Job<T>,
        _: Wait,
    ) -> Result<R, (Job<T>, RouteRefusal)> {
        Err((job, RouteRefusal::Several { queues: hops.len() }))
    }
}

impl<T: Payload + Clone> Fan<T> {
    /// A copy into every queue, or none anywhere.
    #[inline]
    pub(super) fn publish_all(
        &mut self,
        producers: &[Option<Producer<T>>],
        hops: &[Hop],
        job: Job<T>,
        wait: Wait,
    ) -> Result<Routed, (Job<T>, RouteRefusal)> {
        self.copy_to_all(producers, hops, job, wait, unwatched).map(|copies| Routed { copies, job: None })
    }

    /// A copy into every queue that takes one at once.
    pub(super) fn publish_some(
        &mut self,
        producers: &[Option<Producer<T>>],
        hops: &[Hop],
        job: Job<T>,
        wait: Wait,
    ) -> Result<Partial, (Job<T>, RouteRefusal)> {
        self.copy_to_some(producers, hops, job, wait, unwatched).map(|(copies, missed)| Partial { copies, missed })
    }

    /// A copy into every queue, or none anywhere, as `each` puts it there: in the last one first. How many.
    #[inline]
    pub(super) fn copy_to_all(
        &mut self,
        producers: &[Option<Producer<T>>],
        hops: &[Hop],
        job: Job<T>,
        wait: Wait,
        each: impl FnMut(&Producer<T>, u32, Job<T>, Timestamp),
    ) -> Result<usize, (Job<T>, RouteRefusal)> {
        let queues = Queues::new(producers, hops, wait, &*self.clock, job.key);
        if let Err((at, refusal)) = queues.check(&job) {
            return Err((job, queues.refusal(at, refusal)));
        }
        match take_all(&queues, hops.len(), &mut self.slots) {
            Ok(held) => queues.publish(held, &mut self.copies, job, None, each),
            Err((at, refusal)) => Err((job, queues.refusal(at, refusal))),
        }
    }

    /// A copy into every queue that takes one at once, as `each` puts it there: in the last one first. How many, and who has none.
    pub(super) fn copy_to_some(
        &mut self,
        producers: &[Option<Producer<T>>],
        hops: &[Hop],
        job: Job<T>,
        wait: Wait,
        each: impl FnMut(&Producer<T>, u32, Job<T>, Timestamp),
    ) -> Result<(usize, Vec<Missed>), (Job<T>, RouteRefusal)> {
        let queues = Queues::new(producers, hops, wait, &*self.clock, job.key);
        if let Err((at, refusal)) = queues.check(&job) {
            return Err((job, queues.refusal(at, refusal)));
        }
        let mut held = Held::none(&queues, &mut self.slots);
        let mut missed = Vec::new();
        for at in 0..hops.len() {
            match queues.take(at) {
                Ok(slot) => held.push(at, slot),
                Err(refusal) => missed.push(queues.missed(at, refusal)),
            }
        }
        if held.is_empty() {
            let (queue, refusal) = missed.swap_remove(0);
            return Err((job, RouteRefusal::Queue { queue, refusal }));
        }
        let copies = queues.publish(held, &mut self.copies, job, Some(&mut missed), each)?;
        Ok((copies, missed))
    }
}

/// Puts a copy into its slot, and nobody waits for its end.
#[inline(always)]
fn unwatched<T: Payload>(producer: &Producer<T>, slot: u32, copy: Job<T>, now: Timestamp) {
    producer.handle.queue.publish_copy(&producer.publisher, slot, copy, When::Now, now);
}

/// A queue's refusal, with its name.
#[cold]
pub(super) fn refusal_of<T: Payload>(queue: &QueueHandle<T>, refusal: Refusal) -> RouteRefusal {
    RouteRefusal::Queue { queue: Arc::clone(&queue.queue.settings.name), refusal }
}

/// A queue that took no copy, and why.
pub(super) type Missed = (Arc<str>, Refusal);

/// The queues of one fan-out.
struct Queues<'a, T: Payload> {
    producers: &'a [Option<Producer<T>>],
    hops: &'a [Hop],
    wait: Wait,
    clock: &'a dyn Clock,
    key: Key,
    /// When the publish began, or last stopped waiting.
    now: Cell<Timestamp>,
    /// When it first began to wait.
    waiting_since: Cell<Option<Timestamp>>,
}

impl<'a, T: Payload> Queues<'a, T> {
    fn new(producers: &'a [Option<Producer<T>>], hops: &'a [Hop], wait: Wait, clock: &'a dyn Clock, key: Key) -> Self {
        Queues { producers, hops, wait, clock, key, now: Cell::new(clock.stamp()), waiting_since: Cell::new(None) }
    }

    #[inline]
    fn producer(&self, at: usize) -> &Producer<T> {
        self.producers[self.hops[at].target as usize].as_ref().expect("it was opened")
    }

    fn lane(&self, at: usize) -> usize {
        usize::from(self.hops[at].lane)
    }

    /// What can be refused before a slot is taken, and by which queue.
    fn check(&self, job: &Job<T>) -> Result<(), (usize, Refusal)> {
        validate_payload(&job.payload).map_err(|reason| (0, Refusal::Invalid { reason }))?;
        if job.order.fault().is_none() {
            return Ok(());
        }
        (0..self.hops.len()).try_for_each(|at| self.producer(at).handle.queue.check_order_key(job.order).map_err(|refusal| (at, refusal)))
    }

    /// A queue that takes no copy, which counts it.
    #[cold]
    fn missed(&self, at: usize, refusal: Refusal) -> Missed {
        let Producer { handle, publisher } = self.producer(at);
        publisher.count_refusal(&refusal);
        (Arc::clone(&handle.queue.settings.name), refusal)
    }

    /// The refusal of one queue, which counts it.
    #[cold]
    fn refusal(&self, at: usize, refusal: Refusal) -> RouteRefusal {
        let Producer { handle, publisher } = self.producer(at);
        publisher.count_refusal(&refusal);
        refusal_of(handle, refusal)
    }
}

impl<T: Payload + Clone> Queues<'_, T> {
    /// A copy into each slot. First all copies are made: should `clone` panic, no queue has one, and the slots are given back. Then the key is claimed, in all
    /// queues at once; or, if some may be `missed`, in each by itself.
    #[inline]
    fn publish(
        &self,
        mut held: Held<'_, Self>,
        copies: &mut Vec<T>,
        job: Job<T>,
        missed: Option<&mut Vec<Missed>>,
        mut each: impl FnMut(&Producer<T>, u32, Job<T>, Timestamp),
    ) -> Result<usize, (Job<T>, RouteRefusal)> {
        let copies = Emptied(copies);
        for _ in 1..held.len() {
            copies.0.push(job.payload.clone());
        }
        if self.key.is_some()
            && let Err(refusal) = self.claim(&mut held, missed)
        {
            return Err((job, refusal));
        }
        let count = held.len();
        let Job { payload, ttl, visibility, key, order, .. } = job;
        copies.0.push(payload);
        while let Some((at, slot)) = held.pop()
            && let Some(payload) = copies.0.pop()
        {
            crate::crash_point!("fan_out.copy");
            let copy = Job { payload, lane: self.lane(at), ttl, visibility, key, order };
            each(self.producer(at), slot, copy, self.now.get());
        }
        Ok(count)
    }
}

impl<T: Payload> Queues<'_, T> {
    /// Claims the key in the queues of the slots that are held.
    #[cold]
    fn claim(&self, held: &mut Held<'_, Self>, missed: Option<&mut Vec<Missed>>) -> Result<(), RouteRefusal> {
        let Some(missed) = missed else { return self.claim_all(held.slots()).map_err(|(at, refusal)| self.refusal(at, refusal)) };
        held.retain(|at, slot| match self.claim_all(&[(at, slot)]) {
            Ok(()) => true,
            Err((at, refusal)) => {
                missed.push(self.missed(at, refusal));
                false
            }
        });
        if held.is_empty() {
            let (queue, refusal) = missed.swap_remove(0);
            return Err(RouteRefusal::Queue { queue, refusal });
        }
        Ok(())
    }

    /// All or none: the locks of the tables are taken one after the other, in the order in which every fan-out goes through its queues.
    fn claim_all(&self, slots: &[(usize, u32)]) -> Result<(), (usize, Refusal)> {
        let Some((&(at, slot), rest)) = slots.split_first() else { return Ok(()) };
        let Producer { handle, publisher } = self.producer(at);
        handle.queue.claim_copy(publisher, slot, self.key, self.now.get(), |refusal| (at, refusal), || self.claim_all(rest))
    }
}

/// A list that nothing stays in, also when a panic ends its use.
struct Emptied<'a, T>(&'a mut Vec<T>);

impl<T> Drop for Emptied<'_, T> {
    fn drop(&mut self) {
        self.0.clear();
    }
}

impl<T: Payload> Slots for Queues<'_, T> {
    type Refusal = Refusal;

    #[inline]
    fn take(&self, at: usize) -> Result<u32, Refusal> {
        let (Producer { handle, publisher }, lane) = (self.producer(at), self.lane(at));
        match handle.queue.slot_at_hand(publisher, lane) {
            Some(slot) => Ok(slot),
            None => handle.queue.take_slot(publisher, lane, self.key, self.now.get()),
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
