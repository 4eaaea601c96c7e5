//! Tasks that publish and wait for a slot. They are polled by hand, and need not look when they are woken.

use super::*;
use crate::model::{At, New, Slots};
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::task::{Context as TaskContext, Poll, Wake};

type Published = Result<(JobId, Option<Completion<()>>), PublishError<Load>>;

/// A task that has a job to publish.
pub(super) struct Waiter {
    number: u64,
    queue: usize,
    load: u32,
    lane: usize,
    ttl: Option<u64>,
    key: Option<u8>,
    watched: bool,
    /// When it gives up.
    until: u64,
    woken: Arc<Woken>,
    future: Pin<Box<dyn Future<Output = Published>>>,
}

/// It was woken since it last looked.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

impl Run {
    #[allow(clippy::too_many_arguments, reason = "what a job is published with")]
    pub(super) fn wait(
        &mut self,
        queue: usize,
        lane: usize,
        ttl: Option<u64>,
        key: Option<u8>,
        plan: u64,
        watched: bool,
        patience: Option<u64>,
    ) {
        let key = self.key_in(queue, key);
        let load = Load::new(plan, &self.world);
        let number = load.number;
        let job = self.job_with(queue, load, lane, ttl, key);
        let mut producer = self.queues[queue].handle.producer().unwrap();
        let future: Pin<Box<dyn Future<Output = Published>>> = if watched {
            Box::pin(async move { producer.publish_watched_async(job).await.map(|completion| (completion.job_id(), Some(completion))) })
        } else {
            Box::pin(async move { producer.publish_async(job).await.map(|id| (id, None)) })
        };
        let until = patience.map_or(u64::MAX, |patience| self.now() + patience);
        self.tasks += 1;
        let woken = Arc::default();
        let mut waiter = Waiter { number: self.tasks, queue, load: number, lane, ttl, key, watched, until, woken, future };
        let expected = if self.closed { Some(Expected::Closed) } else { self.asked(queue, key, watched) };
        let expected = expected.or_else(|| (self.queues[queue].model.room(lane) > 0).then_some(Expected::Taken));
        let slots = self.queues[queue].model.slot_for(lane);
        if self.looks(&mut waiter, expected, slots) {
            return;
        }
        self.queues[queue].model.join_line(waiter.number, lane);
        self.waiters.push(waiter);
    }

    pub(super) fn look(&mut self, at: usize) {
        let mut waiter = self.waiters.remove(at);
        let Waiter { number, queue, key, watched, .. } = waiter;
        let come_to = self.queues[queue].model.has_come_to(number);
        let slots = if come_to.is_some() { self.queues[queue].model.leave_line(number) } else { &[] };
        let expected = come_to.map(|slot| if slot { self.asked(queue, key, watched).unwrap_or(Expected::Taken) } else { Expected::Closed });
        if !self.looks(&mut waiter, expected, slots) {
            self.waiters.insert(at, waiter);
        }
    }

    /// One look of a task; `expected`: what it comes to, if it does; `slots`: what slot its job has then. True if it is over.
    fn looks(&mut self, waiter: &mut Waiter, expected: Option<Expected>, slots: Slots) -> bool {
        let waker = Arc::clone(&waiter.woken).into();
        waiter.woken.0.store(false, Relaxed);
        let Poll::Ready(published) = waiter.future.as_mut().poll(&mut TaskContext::from_waker(&waker)) else {
            assert_eq!(expected, None, "a task waits, at {}", self.now());
            return false;
        };
        let &mut Waiter { queue, load, lane, ttl, key, .. } = waiter;
        assert!(expected.is_some(), "a task waits no more, at {}: {published:?}", self.now());
        let published = published.map(|(id, completion)| {
            self.watched.extend(completion.map(|completion| (queue, id, completion)));
            id
        });
        let expires = ttl.map_or(u64::MAX, |ttl| self.now() + ttl);
        let new = New { load: Some(load), lane, slots, expires, key };
        self.published(queue, published.map_err(publish::refused), expected, new, At::Waiting);
        true
    }

    pub(super) fn give_up(&mut self, at: usize) {
        let waiter = self.waiters.remove(at);
        self.queues[waiter.queue].model.give_up(waiter.number);
    }

    /// Those whose time is over leave.
    pub(super) fn lose_patience(&mut self) {
        let now = self.now();
        while let Some(at) = self.waiters.iter().position(|waiter| waiter.until <= now) {
            self.give_up(at);
            self.observe();
        }
    }

    /// Those who wait in the queue and have been woken.
    pub(super) fn told(&self, queue: usize) -> BTreeSet<u64> {
        let told = self.waiters.iter().filter(|waiter| waiter.queue == queue && waiter.woken.0.load(Relaxed));
        told.map(|waiter| waiter.number).collect()
    }

    /// Whoever has been served, and nobody else, has been woken.
    pub(super) fn see_waiters(&self) {
        for waiter in &self.waiters {
            let (come_to, model) = (waiter.woken.0.load(Relaxed), &self.queues[waiter.queue].model);
            assert_eq!(come_to, model.has_come_to(waiter.number).is_some(), "task {} waits in {model:?}", waiter.number);
        }
    }
}
