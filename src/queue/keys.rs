//! A job's key is claimed when the job has a slot, and forgotten when it ends. See [`dedupe`](crate::dedupe) for the protocol.
//!
//! Whoever counts the end of a job forgets its key first: who sees the count may publish the key again.

use super::{Publisher, Queue};
use crate::clock::Timestamp;
use crate::config::{Dedupe, QueueConfig};
use crate::dead_letter::Labels;
use crate::dedupe::{Denied, Name, Names, Place, Table, Waiting};
use crate::error::Refusal;
use crate::id::JobId;
use crate::job::Job;
use crate::key::Key;
use std::sync::Arc;

/// What some queues know of their jobs beside the slots.
#[derive(Debug)]
pub(super) struct Keys {
    /// Of a queue that dedupes.
    deduped: Option<Deduped>,
    /// The routing keys that jobs came by, where dead letters need them.
    labels: Option<Labels>,
}

/// What a queue that dedupes knows of keys.
#[derive(Debug)]
struct Deduped {
    table: Table,
    /// The keys of the jobs in the slots.
    names: Names,
    /// An ended job's key is free. Otherwise it is free when its window has ended.
    until_the_end: bool,
    /// Jobs with a key wait for others: their key is free when they become ready.
    waiting: Option<Waiting>,
}

impl Keys {
    pub(super) fn of(config: &QueueConfig) -> Option<Self> {
        let capacity = config.capacity as u32;
        let deduped = config.dedupe.map(|(mode, bound)| Deduped::new(mode, bound as usize, capacity));
        let labels = config.dead_letters.needs_routing_keys().then(|| Labels::new(capacity));
        (deduped.is_some() || labels.is_some()).then_some(Keys { deduped, labels })
    }

    /// The job in the slot came by what its publisher was told. The caller owns `index`.
    fn label(&self, publisher: &Publisher, index: u32, job: JobId) {
        if let Some(labels) = &self.labels {
            let key = publisher.came_by.borrow();
            if !key.is_empty() {
                labels.set(index, job, &key);
            }
        }
    }
}

impl Deduped {
    fn new(mode: Dedupe, bound: usize, capacity: u32) -> Self {
        let (window, waiting) = match mode {
            Dedupe::WhileLive => (None, None),
            Dedupe::Window(window) => (Some(window), None),
            Dedupe::Debounce(length) => (None, Some(Waiting { length, postpones: true })),
            Dedupe::KeepLast(length) => (None, Some(Waiting { length, postpones: false })),
        };
        Deduped { table: Table::new(bound, window), names: Names::new(capacity), until_the_end: window.is_none(), waiting }
    }

    fn refusal(&self, denied: Denied) -> Refusal {
        match denied {
            Denied::Taken(existing) => Refusal::Duplicate { existing },
            Denied::Full => Refusal::TooManyKeys { bound: self.table.bound() },
        }
    }

    fn job_ended(&self, name: Name) {
        if self.until_the_end && name.key.is_some() {
            self.table.forget_at(name);
        }
    }
}

impl<T> Queue<T> {
    #[inline]
    fn deduped(&self) -> Option<&Deduped> {
        self.keys.as_ref()?.deduped.as_ref()
    }

    /// True when `job` may be a duplicate.
    #[inline]
    pub(super) fn dedupes(&self, job: &Job<T>) -> bool {
        self.deduped().is_some() && job.key.is_some()
    }

    /// How a job with this key waits for others, if it does.
    #[inline]
    pub(super) fn window_of(&self, key: Key) -> Option<Waiting> {
        self.deduped()?.waiting.filter(|_| key.is_some())
    }

    /// True when a job with this key waits for others here: a copy goes in by [`publish_in_window`](Self::publish_in_window).
    #[inline]
    pub fn makes_wait(&self, key: Key) -> bool {
        self.window_of(key).is_some()
    }

    /// `job`, which has claimed `key` and waits out its window, is in slot `index`.
    pub(super) fn keep_place(&self, key: Key, job: JobId, index: u32) {
        if let Some(keys) = self.deduped() {
            keys.table.keep_place(key, job, index);
        }
    }

    /// The job that waits out the window of `key`, and its slot.
    pub(super) fn waits_in(&self, key: Key) -> Option<(JobId, u32)> {
        self.deduped()?.table.place(key)
    }

    /// The window of the job in the slot ends, if it has one: it is about to be ready. For the timer, under its lock.
    pub(super) fn end_window(&self, index: u32) {
        if let Some(keys) = self.deduped()
            && keys.waiting.is_some()
        {
            keys.job_ended(keys.names.get(index));
        }
    }

    /// True when it remembers the routing keys that jobs came by.
    #[inline]
    pub fn keeps_routing_keys(&self) -> bool {
        self.keys.as_ref().is_some_and(|keys| keys.labels.is_some())
    }

    /// The routing key that the job in the slot came by, if it came by one and that was kept. The caller owns `index`.
    pub(super) fn routing_key_of(&self, index: u32, job: JobId) -> Option<Arc<str>> {
        self.keys.as_ref()?.labels.as_ref()?.get(index, job)
    }

    /// The first question: refuses what is a duplicate already, before it costs anything.
    #[inline(never)]
    pub(super) fn check_key(&self, key: Key, now: Timestamp) -> Result<(), Refusal> {
        let Some(keys) = self.deduped() else { return Ok(()) };
        if let Some(bytes) = key.fault() {
            return Err(Refusal::BadKey { bytes });
        }
        match keys.table.holder(key, now) {
            Some(existing) if key.is_some() => Err(Refusal::Duplicate { existing }),
            _ => Ok(()),
        }
    }

    /// Asks for the line in which `key` is looked for.
    #[inline]
    pub(super) fn prefetch_key(&self, key: Key) {
        if let Some(keys) = self.deduped()
            && key.is_some()
        {
            keys.table.prefetch(key);
        }
    }

    /// The second question, and the one that decides: the id of the job that goes into the slot, whose key is its own now. The caller owns `index`.
    ///
    /// # Errors
    /// When another job has the key, or too many are taken.
    #[inline(never)]
    pub(super) fn name_job(&self, publisher: &Publisher, index: u32, key: Key, now: Timestamp) -> Result<JobId, Refusal> {
        let job = self.next_id(publisher);
        self.name_job_as(job, index, key, now)?;
        if let Some(keys) = &self.keys {
            keys.label(publisher, index, job);
        }
        Ok(job)
    }

    /// The id of the job that goes into the slot; it has claimed its key, where keys are of account. The caller owns `index`.
    ///
    /// # Errors
    /// When another job has the key, or too many are taken.
    #[inline]
    pub(super) fn id_of_next(&self, publisher: &Publisher, index: u32, key: Key, now: Timestamp) -> Result<JobId, Refusal> {
        if self.keys.is_some() { self.name_job(publisher, index, key, now) } else { Ok(self.next_id(publisher)) }
    }

    /// As [`name_job`](Self::name_job), for a job that has an id.
    ///
    /// # Errors
    /// As there.
    pub(super) fn name_job_as(&self, job: JobId, index: u32, key: Key, now: Timestamp) -> Result<(), Refusal> {
        let Some(keys) = self.deduped() else { return Ok(()) };
        let place = match key.is_some() {
            true => keys.table.claim(key, job, now).map_err(|denied| keys.refusal(denied))?,
            false => Place::NOWHERE,
        };
        keys.names.set(index, Name { key, job, place });
        Ok(())
    }

    /// Claims the key of the copy that goes into `slot`, if `more` finds that it can have the others'. The caller owns `slot`.
    ///
    /// # Errors
    /// Why not, as `why` puts it; or what `more` said.
    pub fn claim_copy<E>(
        &self,
        publisher: &Publisher,
        slot: u32,
        key: Key,
        now: Timestamp,
        why: impl FnOnce(Refusal) -> E,
        more: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(keys) = self.deduped() else { return more() };
        let job = self.next_id(publisher);
        let place = keys.table.claim_with(key, job, now, |denied| why(keys.refusal(denied)), more)?;
        keys.names.set(slot, Name { key, job, place });
        Ok(())
    }

    /// The id of a copy that goes into `slot`: the one that has claimed its key, if it has one. The caller owns `slot`.
    #[inline]
    pub(super) fn id_of_copy(&self, publisher: &Publisher, slot: u32, key: Key) -> JobId {
        match &self.keys {
            None => self.next_id(publisher),
            Some(keys) => self.id_of_kept_copy(keys, publisher, slot, key),
        }
    }

    #[inline(never)]
    fn id_of_kept_copy(&self, keys: &Keys, publisher: &Publisher, slot: u32, key: Key) -> JobId {
        let job = match &keys.deduped {
            Some(deduped) if key.is_some() => deduped.names.get(slot).job,
            _ => {
                let job = self.next_id(publisher);
                self.set_name(slot, Name::unclaimed(Key::NONE, job));
                job
            }
        };
        keys.label(publisher, slot, job);
        job
    }

    /// Names a redriven job: it is live again, and needs its key if keys are for the living.
    ///
    /// # Errors
    /// When another job has the key, or too many are taken.
    pub(super) fn name_again(&self, name: Name, now: Timestamp) -> Result<Name, Refusal> {
        match self.deduped() {
            Some(keys) if keys.until_the_end && keys.waiting.is_none() && name.key.is_some() => {
                let place = keys.table.claim(name.key, name.job, now).map_err(|denied| keys.refusal(denied))?;
                Ok(Name { place, ..name })
            }
            _ => Ok(name),
        }
    }

    /// The slot's job is `name`. The caller owns `index`.
    pub(super) fn set_name(&self, index: u32, name: Name) {
        if let Some(keys) = self.deduped() {
            keys.names.set(index, name);
        }
    }

    /// The job in the slot and its key, for a caller who is about to end it and will not own the slot then. `None` where keys are of no account.
    #[inline]
    pub(super) fn name_of(&self, index: u32) -> Option<Name> {
        self.deduped().map(|keys| keys.names.get(index))
    }

    /// The job in the slot ends. The caller owns `index`.
    #[inline]
    pub(super) fn forget_key(&self, index: u32) {
        if let Some(keys) = self.deduped() {
            keys.job_ended(keys.names.get(index));
        }
    }

    /// A job has ended whose slot the caller does not own.
    pub(super) fn forget_name(&self, name: Option<Name>) {
        if let (Some(keys), Some(name)) = (self.deduped(), name) {
            keys.job_ended(name);
        }
    }

    /// Claims the key of a job that gets no slot: it runs in its publisher's thread, or dies at once. To be followed by
    /// [`end_slotless`](Self::end_slotless).
    ///
    /// # Errors
    /// When another job has the key, or too many are taken.
    pub(super) fn claim_slotless(&self, name: Name, now: Timestamp) -> Result<(), Refusal> {
        match self.deduped() {
            Some(keys) if name.key.is_some() => {
                keys.table.claim(name.key, name.job, now).map(|_| ()).map_err(|denied| keys.refusal(denied))
            }
            _ => Ok(()),
        }
    }

    /// That job has ended, or was not accepted after all.
    pub(super) fn end_slotless(&self, name: Name, accepted: bool) {
        if let Some(keys) = self.deduped()
            && name.key.is_some()
            && (keys.until_the_end || !accepted)
        {
            keys.table.forget(name.key, name.job);
        }
    }

    /// Clears away windows that have ended. For the timer.
    pub(super) fn sweep_keys(&self, now: Timestamp) {
        if let Some(keys) = self.deduped() {
            keys.table.sweep(now);
        }
    }

    /// How many keys are taken.
    pub(super) fn keys_taken(&self) -> usize {
        self.deduped().map_or(0, |keys| keys.table.len())
    }
}
