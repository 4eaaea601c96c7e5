//! A job that goes to several queues: slots of all of them first, then a copy into each.

use super::producer::Producer;
use super::routed::{Partial, RouteRefusal, Routed};
use super::ways::{Way, of, refusal_of};
use crate::clock::{Clock, Timestamp};
use crate::config::{Overflow, validate_payload};
use crate::error::Refusal;
use crate::exchange::{Held, Slots};
use crate::id::JobId;
use crate::job::{Job, Payload};
use crate::key::Key;
use crate::limits::INDEX_NONE;
use crate::queue::{Watch, When};
use crate::sync::contain;
use std::cell::Cell;
use std::sync::Arc;
use std::task::{Poll, Waker};
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
pub(super) trait Several<T: Payload, R>: Fn(&mut Fan<T>, Way<'_, T>, Job<T>, Wait) -> Result<R, (Job<T>, RouteRefusal)> {}

impl<T: Payload, R, F> Several<T, R> for F where F: Fn(&mut Fan<T>, Way<'_, T>, Job<T>, Wait) -> Result<R, (Job<T>, RouteRefusal)> {}

/// To every queue, or none: [`Fan::publish_all`].
// a closure: of a function that is passed as a value, a copy that is called is made
#[inline(always)]
pub(super) fn to_all<T: Payload + Clone>() -> impl Several<T, Routed> {
    #[inline(always)]
    |fan: &mut Fan<T>, way: Way<'_, T>, job: Job<T>, wait: Wait| fan.publish_all(way, job, wait)
}

/// Memory that is used again for each job.
pub(super) struct Fan<T> {
    clock: Arc<dyn Clock>,
    /// Empty between publishes; or what the task holds whose copies go in next.
    pub(super) slots: Vec<(usize, u32)>,
    payloads: Payloads<T>,
}

/// Payloads of one fan-out.
struct Payloads<T> {
    /// One per queue.
    copies: Vec<T>,
    /// Those whose place copies have taken, and of which queue: to be dropped when no lock is held.
    replaced: Vec<(usize, T)>,
}

/// Who notes where copies went.
pub(super) trait Notes<T: Payload> {
    /// Where the end of the next copy goes, if somebody waits for it.
    fn watch(&mut self) -> Option<Watch>;
    /// That copy is in.
    fn note(&mut self, producer: &Producer<T>, watch: Option<Watch>, job: JobId);
}

/// Nobody waits for any end.
struct Unwatched;

impl<T: Payload> Notes<T> for Unwatched {
    #[inline(always)]
    fn watch(&mut self) -> Option<Watch> {
        None
    }

    #[inline(always)]
    fn note(&mut self, _: &Producer<T>, _: Option<Watch>, _: JobId) {}
}

impl<T: Payload> Fan<T> {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Fan { clock, slots: Vec::new(), payloads: Payloads { copies: Vec::new(), replaced: Vec::new() } }
    }

    /// Nowhere: the job may not be cloned.
    pub(super) fn publish_none<R>(&mut self, way: Way<'_, T>, job: Job<T>, _: Wait) -> Result<R, (Job<T>, RouteRefusal)> {
        Err((job, RouteRefusal::Several { queues: way.hops.len() }))
    }
}

impl<T: Payload> Fan<T> {
    /// One look of a task: takes slots of the queues that follow on those in `slots`, and `waits` in the line of the first that has none.
    pub(super) fn poll_slots(
        &self,
        way: Way<'_, T>,
        job: &Job<T>,
        slots: &mut Vec<(usize, u32)>,
        waits: &mut bool,
        waker: &Waker,
    ) -> Poll<Result<(), RouteRefusal>> {
        let queues = Queues::new(way, Wait::AtMost(Duration::MAX), &*self.clock, job.key);
        if let Err((at, refusal)) = queues.check(job) {
            return Poll::Ready(Err(queues.refusal(at, refusal)));
        }
        for at in slots.len()..way.hops.len() {
            match queues.poll(at, waits, waker) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(slot)) => slots.push((at, slot)),
                Poll::Ready(Err(refusal)) => return Poll::Ready(Err(queues.refusal(at, refusal))),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Payload + Clone> Fan<T> {
    /// A copy into every queue, or none anywhere.
    #[inline(always)]
    pub(super) fn publish_all(&mut self, way: Way<'_, T>, job: Job<T>, wait: Wait) -> Result<Routed, (Job<T>, RouteRefusal)> {
        match AtHand::copy_to_all(way, job, &*self.clock) {
            Ok(copies) => Ok(Routed { copies, job: None }),
            Err(job) => self.publish_with_care(way, job, wait),
        }
    }

    /// As [`publish_all`](Self::publish_all), whatever there is to do first, and into the slots that are there already.
    #[inline(never)]
    pub(super) fn publish_with_care(&mut self, way: Way<'_, T>, job: Job<T>, wait: Wait) -> Result<Routed, (Job<T>, RouteRefusal)> {
        self.copy_to_all(way, job, wait, &mut Unwatched).map(|copies| Routed { copies, job: None })
    }

    /// A copy into every queue that takes one at once.
    pub(super) fn publish_some(&mut self, way: Way<'_, T>, job: Job<T>, wait: Wait) -> Result<Partial, (Job<T>, RouteRefusal)> {
        self.copy_to_some(way, job, wait, &mut Unwatched).map(|(copies, missed)| Partial { copies, missed })
    }

    /// A copy into every queue, or none anywhere, as `notes` is told. How many.
    #[inline]
    pub(super) fn copy_to_all(
        &mut self,
        way: Way<'_, T>,
        job: Job<T>,
        wait: Wait,
        notes: &mut impl Notes<T>,
    ) -> Result<usize, (Job<T>, RouteRefusal)> {
        let queues = Queues::new(way, wait, &*self.clock, job.key);
        let held = Held::of(&queues, &mut self.slots);
        match queues.check(&job).and_then(|()| held.take_all(way.hops.len())) {
            Ok(held) => queues.publish(held, &mut self.payloads, job, None, notes),
            Err((at, refusal)) => Err((job, queues.refusal(at, refusal))),
        }
    }

    /// A copy into every queue that takes one at once, as `notes` is told; or among its dead letters, if what finds it full goes there. How many, and who has none.
    pub(super) fn copy_to_some(
        &mut self,
        way: Way<'_, T>,
        job: Job<T>,
        wait: Wait,
        notes: &mut impl Notes<T>,
    ) -> Result<(usize, Vec<Missed>), (Job<T>, RouteRefusal)> {
        let queues = Queues::new(way, wait, &*self.clock, job.key);
        if let Err(refusal) = check_payload(&job) {
            return Err((job, queues.refusal(0, refusal)));
        }
        let mut held = Held::of(&queues, &mut self.slots);
        let (mut missed, mut over) = (Vec::new(), Vec::new());
        for at in 0..way.hops.len() {
            match queues.check_hop(at, &job).and_then(|()| queues.take(at)) {
                Ok(slot) => held.push(at, slot),
                Err(Refusal::Full { .. }) if queues.drops_new(at) => over.push(at),
                Err(refusal) => missed.push(queues.missed(at, refusal)),
            }
        }
        let buried = queues.publish_over(&over, &job, &mut missed, notes);
        let (job, refusal) = if held.is_empty() {
            (job, None)
        } else {
            match queues.publish(held, &mut self.payloads, job, Some(&mut missed), notes) {
                Ok(copies) => return Ok((copies + buried, missed)),
                Err((job, refusal)) => (job, Some(refusal)),
            }
        };
        if buried > 0 {
            if let Some(RouteRefusal::Queue { queue, refusal }) = refusal {
                missed.push((queue, refusal));
            }
            // only copies of it went
            queues.producer(0).handle.queue.discard(job);
            return Ok((buried, missed));
        }
        let first = |(queue, refusal)| RouteRefusal::Queue { queue, refusal };
        Err((job, refusal.unwrap_or_else(|| first(missed.swap_remove(0)))))
    }
}

/// To so many queues a job goes straight into slots that are at hand; a fan-out to more takes its time.
const FEW: usize = 8;

/// The straight way of a job to a few queues that all have a slot at hand. It waits for nothing while it holds slots, so it stops no other fan-out. Dropped on the
/// way, it leaves no payload and no slot behind.
struct AtHand<'a, T: Payload> {
    stops: [(&'a Producer<T>, u32); FEW],
    /// How many of them have their slot, and how many their payload.
    taken: usize,
    laid: usize,
}

impl<T: Payload + Clone> AtHand<'_, T> {
    /// A copy into every queue. How many; or the job, for which there is more to do. Nothing is kept in any memory but the slots, and each producer is looked
    /// up once: that is a third of what it costs.
    ///
    /// First all copies are made, where they are to lie: should `clone` panic, no queue has one.
    #[inline(always)]
    fn copy_to_all(way: Way<'_, T>, job: Job<T>, clock: &dyn Clock) -> Result<usize, Job<T>> {
        let count = way.hops.len();
        if count == 0 || count > FEW || validate_payload(&job.payload).is_err() {
            return Err(job);
        }
        let mut hand = AtHand { stops: [(way.producer(0), INDEX_NONE); FEW], taken: 0, laid: 0 };
        for (hop, stop) in way.hops.iter().zip(&mut hand.stops) {
            let producer = of(hop, way.producers);
            let Some(slot) = producer.handle.queue.slot_at_hand(&producer.publisher, usize::from(hop.lane)) else { return Err(job) };
            *stop = (producer, slot);
            hand.taken += 1;
        }
        let now = clock.stamp();
        let (like, payload) = job.apart();
        for (producer, slot) in &hand.stops[1..count] {
            producer.handle.queue.lay_payload(*slot, payload.clone());
            hand.laid += 1;
        }
        // all copies are there: from here on they are their queues'
        hand.taken = 0;
        let (producer, slot) = hand.stops[0];
        producer.handle.queue.lay_payload(slot, payload);
        for ((producer, slot), hop) in hand.stops[..count].iter().zip(way.hops).rev() {
            crate::crash_point!("fan_out.copy");
            producer.handle.queue.publish_laid(&producer.publisher, *slot, like.lane(usize::from(hop.lane)), When::Now, now);
        }
        Ok(count)
    }
}

impl<T: Payload> AtHand<'_, T> {
    #[cold]
    fn give_back(&mut self) {
        for (at, (producer, slot)) in self.stops[..self.taken].iter().enumerate() {
            if (1..=self.laid).contains(&at) {
                let copy = producer.handle.queue.take_out(*slot);
                // on the way of a panic: another one would end the process
                drop(contain(|| drop(copy)));
            }
            producer.handle.queue.give_slot_back(&producer.publisher, *slot);
        }
    }
}

impl<T: Payload> Drop for AtHand<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.taken > 0 {
            self.give_back();
        }
    }
}

fn check_payload<T: Payload>(job: &Job<T>) -> Result<(), Refusal> {
    validate_payload(&job.payload).map_err(|reason| Refusal::Invalid { reason })
}

/// A queue that took no copy, and why.
pub(super) type Missed = (Arc<str>, Refusal);

/// The queues of one fan-out.
struct Queues<'a, T: Payload> {
    way: Way<'a, T>,
    wait: Wait,
    clock: &'a dyn Clock,
    key: Key,
    /// When the publish began, or last stopped waiting.
    now: Cell<Timestamp>,
    /// When it first began to wait.
    waiting_since: Cell<Option<Timestamp>>,
}

impl<'a, T: Payload> Queues<'a, T> {
    fn new(way: Way<'a, T>, wait: Wait, clock: &'a dyn Clock, key: Key) -> Self {
        way.note_key();
        Queues { way, wait, clock, key, now: Cell::new(clock.stamp()), waiting_since: Cell::new(None) }
    }

    #[inline]
    fn producer(&self, at: usize) -> &Producer<T> {
        self.way.producer(at)
    }

    fn lane(&self, at: usize) -> usize {
        usize::from(self.way.hops[at].lane)
    }

    /// What can be refused before a slot is taken, and by which queue.
    fn check(&self, job: &Job<T>) -> Result<(), (usize, Refusal)> {
        check_payload(job).map_err(|refusal| (0, refusal))?;
        (0..self.way.hops.len()).try_for_each(|at| self.check_hop(at, job).map_err(|refusal| (at, refusal)))
    }

    /// What does not fit there is a dead letter.
    fn drops_new(&self, at: usize) -> bool {
        self.producer(at).handle.queue.settings.overflow == Overflow::DropNew
    }

    /// Refuses a copy while its publisher's breaker is open, and a partition key that is none, in a queue where it matters.
    fn check_hop(&self, at: usize, job: &Job<T>) -> Result<(), Refusal> {
        let Producer { handle, publisher } = self.producer(at);
        handle.queue.check_breaker(publisher, || self.now.get())?;
        handle.queue.check_order_key(job.order)
    }

    /// A queue that takes no copy, which counts it.
    #[cold]
    fn missed(&self, at: usize, refusal: Refusal) -> Missed {
        let Producer { handle, publisher } = self.producer(at);
        publisher.count_refusal(&refusal, self.now.get());
        (Arc::clone(&handle.queue.settings.name), refusal)
    }

    /// A slot of a queue for a task, which waits for it in the queue's line.
    fn poll(&self, at: usize, waits: &mut bool, waker: &Waker) -> Poll<Result<u32, Refusal>> {
        let Producer { handle, publisher } = self.producer(at);
        if !*waits {
            match self.take(at) {
                Err(Refusal::Full { .. }) => {}
                taken => return Poll::Ready(taken),
            }
        }
        let slot = handle.queue.poll_slot(publisher, self.lane(at), !*waits, waker);
        *waits = slot.is_pending();
        if *waits && handle.runtime.is_inside() {
            return Poll::Ready(Err(Refusal::WouldDeadlock));
        }
        slot
    }

    /// The refusal of one queue, which counts it.
    #[cold]
    fn refusal(&self, at: usize, refusal: Refusal) -> RouteRefusal {
        let Producer { handle, publisher } = self.producer(at);
        publisher.count_refusal(&refusal, self.now.get());
        refusal_of(handle, refusal)
    }
}

impl<T: Payload + Clone> Queues<'_, T> {
    /// A copy for each queue that is full and sends what is new to its dead letters: as its own producer publishes it. How many went; the others are `missed`.
    fn publish_over(&self, over: &[usize], job: &Job<T>, missed: &mut Vec<Missed>, notes: &mut impl Notes<T>) -> usize {
        let mut buried = 0;
        for &at in over {
            let (producer, watch) = (self.producer(at), notes.watch());
            let when = watch.as_ref().map_or(When::Now, When::Watched);
            match producer.try_publish_as(job.clone().lane(self.lane(at)), when) {
                Ok(id) => {
                    notes.note(producer, watch, id);
                    buried += 1;
                }
                Err(error) => {
                    missed.push((Arc::clone(&producer.handle.queue.settings.name), error.refusal().clone()));
                    producer.handle.queue.discard(error);
                }
            }
        }
        if !over.is_empty() {
            // as the queues are
            missed.sort_by(|one, other| one.0.cmp(&other.0));
        }
        buried
    }

    /// A copy into each slot. First all copies are made: should `clone` panic, no queue has one, and the slots are given back. A key is claimed next, see
    /// [`publish_keyed`](Self::publish_keyed).
    #[inline]
    fn publish(
        &self,
        mut held: Held<'_, Self>,
        payloads: &mut Payloads<T>,
        job: Job<T>,
        missed: Option<&mut Vec<Missed>>,
        notes: &mut impl Notes<T>,
    ) -> Result<usize, (Job<T>, RouteRefusal)> {
        let payloads = Emptied(payloads);
        for _ in 1..held.len() {
            payloads.0.copies.push(job.payload.clone());
        }
        if self.key.is_some() {
            return self.publish_keyed(held, payloads, job, missed, notes);
        }
        let copies = &mut payloads.0.copies;
        let count = held.len();
        let (like, payload) = job.apart();
        copies.push(payload);
        while let Some((at, slot)) = held.pop()
            && let Some(payload) = copies.pop()
        {
            self.put(at, slot, like, payload, notes);
        }
        Ok(count)
    }
}

impl<T: Payload> Queues<'_, T> {
    /// A copy into its slot.
    fn put(&self, at: usize, slot: u32, like: Job<()>, payload: T, notes: &mut impl Notes<T>) {
        let producer = self.producer(at);
        crate::crash_point!("fan_out.copy");
        producer.handle.queue.lay_payload(slot, payload);
        let watch = notes.watch();
        let when = watch.as_ref().map_or(When::Now, When::Watched);
        let job = producer.handle.queue.publish_laid(&producer.publisher, slot, like.lane(self.lane(at)), when, self.now.get());
        notes.note(producer, watch, job);
    }

    /// As [`publish`](Self::publish), for a job with a key, whose copies but one are there. The key is claimed in all queues at once; or, if some may be
    /// `missed`, in each by itself. Where jobs wait for others, a copy goes in while that is done.
    #[cold]
    fn publish_keyed<N: Notes<T>>(
        &self,
        mut held: Held<'_, Self>,
        payloads: Emptied<'_, T>,
        job: Job<T>,
        missed: Option<&mut Vec<Missed>>,
        notes: &mut N,
    ) -> Result<usize, (Job<T>, RouteRefusal)> {
        let Payloads { copies, replaced } = &mut *payloads.0;
        let (like, payload) = job.apart();
        // the job's own is used last: until something is sure to go in, it may have to come back
        copies.push(payload);
        let last = copies.len() - 1;
        copies.swap(0, last);
        let mut load = Load { like, copies, replaced, notes };
        if let Err(refusal) = self.claim(&mut held, missed, &mut load) {
            let payload = load.copies.swap_remove(0);
            load.copies.drain(..).for_each(|copy| self.producer(0).handle.queue.discard(copy));
            return Err((load.like.with(payload), refusal));
        }
        let count = held.len();
        while let Some((at, slot)) = held.pop() {
            if self.makes_wait(at) {
                self.producer(at).handle.queue.look_again();
            } else if let Some(payload) = load.copies.pop() {
                self.put(at, slot, load.like, payload, load.notes);
            }
        }
        load.replaced.drain(..).for_each(|(at, payload)| self.producer(at).handle.queue.discard(payload));
        Ok(count)
    }

    /// Jobs with this key wait for others in this queue.
    fn makes_wait(&self, at: usize) -> bool {
        self.producer(at).handle.queue.makes_wait(self.key)
    }

    /// Claims the key in the queues of the slots that are held.
    fn claim<N: Notes<T>>(
        &self,
        held: &mut Held<'_, Self>,
        missed: Option<&mut Vec<Missed>>,
        load: &mut Load<'_, T, N>,
    ) -> Result<(), RouteRefusal> {
        let Some(missed) = missed else {
            return self.claim_all(held.slots(), load).map_err(|(at, refusal)| self.refusal(at, refusal));
        };
        held.retain(|at, slot| match self.claim_all(&[(at, slot)], load) {
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

    /// All or none: the locks of the tables are taken one after the other, in the order in which every fan-out goes through its queues; so is that of the timer's
    /// side, before the table's, where jobs wait for others. Once the last key is claimed nothing can fail: on the way back copies take their places there.
    fn claim_all<N: Notes<T>>(&self, slots: &[(usize, u32)], load: &mut Load<'_, T, N>) -> Result<(), (usize, Refusal)> {
        let Some((&(at, slot), rest)) = slots.split_first() else { return Ok(()) };
        let producer = self.producer(at);
        let (Producer { handle, publisher }, key, now) = (producer, self.key, self.now.get());
        let why = |refusal| (at, refusal);
        if !self.makes_wait(at) {
            return handle.queue.claim_copy(publisher, slot, key, now, why, || self.claim_all(rest, load));
        }
        let (watch, lane) = (load.notes.watch(), self.lane(at));
        let more = |load: &mut Load<'_, T, N>| self.claim_all(rest, load);
        let copy = |load: &mut Load<'_, T, N>| {
            let payload = load.copies.pop().expect("there is one for each queue");
            load.like.with(payload).lane(lane)
        };
        let (job, before) = handle.queue.publish_in_window(publisher, slot, lane, key, watch.as_ref(), now, load, why, more, copy)?;
        load.notes.note(producer, watch, job);
        load.replaced.extend(before.map(|payload| (at, payload)));
        Ok(())
    }
}

/// What a fan-out of a job with a key has in hand.
struct Load<'a, T, N> {
    /// What its copies have in common.
    like: Job<()>,
    /// The payloads that have no place yet, the job's own first.
    copies: &'a mut Vec<T>,
    replaced: &'a mut Vec<(usize, T)>,
    notes: &'a mut N,
}

/// Payloads of which nothing stays, also when a panic ends their use.
struct Emptied<'a, T>(&'a mut Payloads<T>);

impl<T> Drop for Emptied<'_, T> {
    fn drop(&mut self) {
        // on the way of a panic: another one would end the process
        while let Some(copy) = self.0.copies.pop() {
            drop(contain(|| drop(copy)));
        }
        while let Some(replaced) = self.0.replaced.pop() {
            drop(contain(|| drop(replaced)));
        }
    }
}

impl<T: Payload> Slots for Queues<'_, T> {
    type Refusal = Refusal;

    #[inline]
    fn take(&self, at: usize) -> Result<u32, Refusal> {
        let (Producer { handle, publisher }, lane) = (self.producer(at), self.lane(at));
        match (handle.queue.slot_at_hand(publisher, lane), self.wait) {
            (Some(slot), _) => Ok(slot),
            // whoever waits lets the others be
            (None, Wait::AtMost(_)) => handle.queue.free_slot(publisher, lane, self.key, self.now.get()),
            (None, _) => handle.queue.take_slot(publisher, lane, self.key, self.now.get()),
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
