//! Somebody wants to know how a job ends: a handle waits for it, or the queue keeps records of all of them.
//!
//! Whoever counts the end of a job tells of it afterwards: who is told finds it counted. The record is written at once; telling a handle is left to the
//! [aftermath](super::Aftermath), outside of every lock, since it may drop an answer that nobody wants any more.

use super::Queue;
use super::end::death_of;
use crate::clock::Timestamp;
use crate::completion::{Answer, CompletedJob, End, Kept, Promise, Records};
use crate::dedupe::Name;
use crate::id::JobId;
use crate::partitions::Place;
use crate::slab::{Fate, Word};
use crate::sync::Mutex;
use std::sync::Arc;

/// What a job leaves that ends in a slot which its ender may not own afterwards: read before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parting {
    /// Its key, where keys are of account.
    pub(super) name: Option<Name>,
    /// Where it stands with its partition key.
    pub(super) place: Place,
    job: JobId,
    published: Timestamp,
    snoozes: u32,
}

/// Somebody is to be told of a job's end.
#[derive(Debug)]
pub struct News {
    promise: Arc<Promise>,
    kept: Kept,
}

impl News {
    /// Tells. Drops what nobody wants: user code.
    pub(super) fn tell(self) {
        drop(self.promise.keep(self.kept));
    }

    /// With what the handler answered.
    pub(super) fn answered(&mut self, answer: Answer) {
        self.kept.answer = Some(answer);
    }
}

impl End {
    /// The end that a fate is.
    fn of(fate: Fate) -> Self {
        match fate {
            Fate::Acked | Fate::Chained => End::Acked,
            Fate::Discarded => End::Discarded,
            Fate::Cancelled => End::Cancelled,
            Fate::Purged => End::Purged,
            Fate::HandedBack | Fate::TakenOut => End::HandedBack,
            dead => death_of(dead).map_or(End::Lost, End::DeadLettered),
        }
    }
}

/// How many deliveries a job had that ended as `word` says: those that failed, expired or were snoozed, and the one that ended it otherwise.
fn attempts(word: Word, snoozes: u32) -> u32 {
    let last = match word.fate() {
        Fate::Acked | Fate::Chained | Fate::Discarded | Fate::Rejected => 1,
        // a job that waited is doomed, not marked
        Fate::Cancelled if word.is_cancelled() => 1,
        _ => 0,
    };
    word.failures() + word.expiries() + snoozes + last
}

impl<T> Queue<T> {
    /// True when somebody wants to know how the job with this word ends.
    #[inline]
    pub(super) fn is_followed(&self, word: Word) -> bool {
        word.is_watched() || self.records.is_some()
    }

    /// True when every job's end is recorded.
    pub fn keeps_records(&self) -> bool {
        self.records.is_some()
    }

    /// Reads what the job in the slot leaves, for a caller who is about to end it and may not own the slot then.
    #[inline]
    pub(super) fn parting(&self, index: u32) -> Parting {
        let slot = self.slab.slot(index);
        Parting {
            name: self.name_of(index),
            place: self.place_of(index),
            job: slot.job_id(),
            published: slot.published(),
            snoozes: slot.snoozes(),
        }
    }

    /// As [`parting`](Self::parting), for a holder who started the job with the word `running`: `None` if nobody else held it then, and so nobody else does now.
    #[inline]
    pub(super) fn parting_from_others(&self, index: u32, running: Word) -> Option<Parting> {
        if running.holders() > 1 { self.parting_at_last(index) } else { None }
    }

    #[cold]
    fn parting_at_last(&self, index: u32) -> Option<Parting> {
        Some(self.parting(index))
    }

    /// A job has ended, and was counted, whose slot the caller does not own.
    pub(super) fn news_of_left(&self, parting: Parting, word: Word, now: Timestamp) -> Option<News> {
        if self.is_followed(word) { self.news_about(parting, word, None, now) } else { None }
    }

    /// A job has ended, and was counted, whose slot the caller owns. `error` is what its last failed attempt said, if it died.
    pub(super) fn news_of(&self, index: u32, word: Word, error: Option<&str>, now: Timestamp) -> Option<News> {
        if self.is_followed(word) { self.news_about(self.parting(index), word, error, now) } else { None }
    }

    #[cold]
    fn news_about(&self, parting: Parting, word: Word, error: Option<&str>, now: Timestamp) -> Option<News> {
        let Parting { job, published, snoozes, .. } = parting;
        let end = End::of(word.fate());
        // it may have ended before it was due
        self.record(CompletedJob { job, end, attempts: attempts(word, snoozes), published: published.min(now), ended: now });
        let promise = if word.is_watched() { self.watched.remove(job) } else { None };
        promise.map(|promise| News { promise, kept: Kept { end, answer: None, error: error.map(Into::into) } })
    }

    /// Nobody waits for any end.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn watches_none(&self) -> bool {
        self.watched.is_empty()
    }

    /// For the models: tells of an end that has not come.
    #[cold]
    pub(super) fn tell_ahead(&self, job: JobId) {
        self.watched.remove(job).map(|promise| promise.keep(Kept::bare(End::Cancelled)));
    }

    /// A job has ended, and was counted, that never had a slot. Tells at once: call it outside of locks.
    pub fn tell_slotless(&self, promise: Option<&Arc<Promise>>, job: JobId, kept: Kept, attempts: u32, now: Timestamp) {
        self.record(CompletedJob { job, end: kept.end, attempts, published: now, ended: now });
        self.discard(match promise {
            Some(promise) => promise.keep(kept),
            None => Some(kept),
        });
    }

    /// A job has ended, if the queue keeps records of that.
    pub(super) fn record(&self, job: CompletedJob) {
        if let Some(records) = &self.records {
            records.lock().add(job);
        }
    }

    /// The jobs that ended lately, the latest last, if the queue keeps records.
    pub fn completed(&self, now: Timestamp) -> Vec<CompletedJob> {
        self.with_records(|records| records.list(now).copied().collect()).unwrap_or_default()
    }

    /// The latest record of `job`.
    pub fn completed_job(&self, job: JobId, now: Timestamp) -> Option<CompletedJob> {
        self.with_records(|records| records.list(now).rfind(|record| record.job == job).copied()).flatten()
    }

    fn with_records<R>(&self, look: impl FnOnce(&Records) -> R) -> Option<R> {
        self.records.as_ref().map(|records| look(&records.lock()))
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn records_reserved(&self) -> usize {
        self.with_records(Records::reserved).unwrap_or_default()
    }

    /// Forgets the records that are too old. For the timer: they have nothing of the user's.
    pub(super) fn sweep_records(&self, now: Timestamp) {
        if let Some(records) = &self.records {
            records.lock().retire(now);
        }
    }
}

/// The records of a queue that keeps some.
pub(super) type Recorded = Option<Mutex<Records>>;
