//! Dead letters: jobs that will not be delivered again, with their history.
//!
//! Two stores. [`Histories`] remembers, beside the slots, what went wrong with jobs that are still alive; it is empty in the steady state and then costs
//! one relaxed load a job. [`DeadLetters`] is the bounded queue of the dead, with the slots that wait for room in it.

use crate::clock::Timestamp;
use crate::config::{DeadLetterConfig, DeadLetterOverflow};
use crate::id::JobId;
use crate::key::{Key, OrderKey};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Why a job was dead-lettered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DeathReason {
    /// The handler rejected it.
    Rejected,
    /// Its attempts were used up.
    TooManyAttempts,
    /// Too many of its leases ran out.
    TooManyExpiries,
    /// Its time to live ended before a delivery started.
    Expired,
    /// The queue was full.
    OverLength,
}

impl fmt::Display for DeathReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DeathReason::Rejected => "rejected",
            DeathReason::TooManyAttempts => "too many attempts",
            DeathReason::TooManyExpiries => "too many expiries",
            DeathReason::Expired => "expired",
            DeathReason::OverLength => "over-length",
        })
    }
}

/// How often a job died for one reason in one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Death {
    /// The queue.
    pub queue: Arc<str>,
    /// The reason.
    pub reason: DeathReason,
    /// How many times.
    pub count: u32,
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
}

/// A job that will not be delivered again, and why.
pub struct DeadLetter<T> {
    pub(crate) payload: T,
    pub(crate) job: JobId,
    pub(crate) lane: usize,
    /// The job's own visibility timeout.
    pub(crate) visibility: Option<Duration>,
    /// The last fencing number it was delivered under, or one that is larger.
    pub(crate) fencing: u64,
    /// The job's key, if its queue dedupes.
    pub(crate) key: Key,
    /// The job's partition key, if its queue has partitions.
    pub(crate) order: OrderKey,
    pub(crate) record: DeathRecord,
}

/// The history of a dead job, without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeathRecord {
    /// Deaths, the latest first, one entry per queue and reason.
    pub deaths: Vec<Death>,
    /// What the last failed attempt said.
    pub last_error: Option<Box<str>>,
    /// How many attempts failed in the job's last life.
    pub failures: u32,
    /// How many leases ran out in the job's last life.
    pub expiries: u32,
    /// How often it was snoozed in its last life.
    pub snoozes: u32,
    /// When it was published.
    pub published: Timestamp,
}

impl<T: Clone> DeadLetter<T> {
    pub(crate) fn copy(&self) -> Self {
        let DeadLetter { job, lane, visibility, fencing, key, order, .. } = *self;
        DeadLetter { payload: self.payload.clone(), job, lane, visibility, fencing, key, order, record: self.record.clone() }
    }
}

impl<T> DeadLetter<T> {
    /// The payload.
    pub fn payload(&self) -> &T {
        &self.payload
    }

    /// The payload itself.
    pub fn into_payload(self) -> T {
        self.payload
    }

    /// The job's id.
    pub fn job_id(&self) -> JobId {
        self.job
    }

    /// The lane it was published to.
    pub fn lane(&self) -> usize {
        self.lane
    }

    /// Why it is here.
    pub fn reason(&self) -> DeathReason {
        self.record.deaths[0].reason
    }

    /// Its history.
    pub fn record(&self) -> &DeathRecord {
        &self.record
    }
}

impl<T> fmt::Debug for DeadLetter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter").field("job", &self.job).field("record", &self.record).finish_non_exhaustive()
    }
}

/// What is remembered of a job that failed, expired or was redriven, while it is alive.
#[derive(Debug, Default, Clone)]
pub struct History {
    /// The job it belongs to; a slot's next job must not inherit it.
    pub job: Option<JobId>,
    /// What the last failed attempt said.
    pub last_error: Option<Box<str>>,
    /// The delay after that attempt.
    pub last_delay: Duration,
    /// The deaths before a redrive.
    pub deaths: Vec<Death>,
}

/// Histories by slot index. Blocking, but touched only by jobs that have one.
#[derive(Debug)]
pub struct Histories {
    shards: Box<[Mutex<HashMap<u32, History>>]>,
    /// How many histories there are. Written under a shard's lock, read by every settlement to skip the locks.
    live: AtomicUsize,
}

const SHARDS: usize = 16;

impl Histories {
    /// No histories.
    pub fn new() -> Self {
        Histories { shards: (0..SHARDS).map(|_| Mutex::new(HashMap::new())).collect(), live: AtomicUsize::new(0) }
    }

    /// Notes what a failed attempt of `job` said, and how long the job waits after it.
    pub fn note_error(&self, index: u32, job: JobId, error: &str, delay: Duration) {
        self.update(index, job, |history| {
            history.last_error = Some(error.into());
            history.last_delay = delay;
        });
    }

    /// How long `job` waited after its last failure; zero if it has none.
    pub fn last_delay(&self, index: u32, job: JobId) -> Duration {
        // relaxed: see `update`
        if self.live.load(Relaxed) == 0 {
            return Duration::ZERO;
        }
        let shard = self.shards[index as usize % SHARDS].lock();
        shard.get(&index).filter(|history| history.job == Some(job)).map_or(Duration::ZERO, |history| history.last_delay)
    }

    /// Gives a redriven job its past.
    pub fn restore(&self, index: u32, job: JobId, last_error: Option<Box<str>>, deaths: Vec<Death>) {
        self.update(index, job, |history| {
            history.last_error = last_error;
            history.deaths = deaths;
        });
    }

    fn update(&self, index: u32, job: JobId, change: impl FnOnce(&mut History)) {
        let mut shard = self.shards[index as usize % SHARDS].lock();
        let entry = shard.entry(index).or_insert_with(|| {
            // relaxed: read as a hint by the job's own settlement, which the slot's hand-over orders after this
            self.live.fetch_add(1, Relaxed);
            History::default()
        });
        if entry.job != Some(job) {
            *entry = History { job: Some(job), ..History::default() };
        }
        change(entry);
    }

    /// The history of `job`, which ends here.
    #[inline]
    pub fn take(&self, index: u32, job: JobId) -> Option<History> {
        // relaxed: see `update`
        if self.live.load(Relaxed) == 0 { None } else { self.take_slow(index, job) }
    }

    #[cold]
    fn take_slow(&self, index: u32, job: JobId) -> Option<History> {
        let mut shard = self.shards[index as usize % SHARDS].lock();
        let history = shard.remove(&index)?;
        // relaxed: see `update`
        self.live.fetch_sub(1, Relaxed);
        (history.job == Some(job)).then_some(history)
    }
}

impl Default for Histories {
    fn default() -> Self {
        Self::new()
    }
}

/// What became of a letter that was offered.
#[derive(Debug)]
pub enum Stored<T> {
    /// It is in the queue; an old one may have had to go.
    Kept {
        /// The letter that made room, to be dropped outside the lock.
        evicted: Option<DeadLetter<T>>,
    },
    /// The queue is full and keeps to `Hold`.
    NoRoom(DeadLetter<T>),
}

/// The bounded queue of the dead, and the slots that wait for room in it. Passive: time is an argument, payloads are returned, never dropped.
#[derive(Debug)]
pub struct DeadLetters<T> {
    config: DeadLetterConfig,
    letters: VecDeque<(Timestamp, DeadLetter<T>)>,
    /// Slots of dead jobs that wait for room, oldest first.
    held: VecDeque<u32>,
    /// Letters dropped to make room.
    pub dropped_oldest: u64,
    /// Letters dropped because of their age.
    pub dropped_by_age: u64,
    /// Letters dropped by `purge`.
    pub purged: u64,
    /// Letters published again.
    pub redriven: u64,
}

impl<T> DeadLetters<T> {
    /// An empty dead-letter queue.
    pub fn new(config: DeadLetterConfig) -> Self {
        DeadLetters {
            config,
            letters: VecDeque::new(),
            held: VecDeque::new(),
            dropped_oldest: 0,
            dropped_by_age: 0,
            purged: 0,
            redriven: 0,
        }
    }

    /// How many letters there are.
    pub fn len(&self) -> usize {
        self.letters.len()
    }

    /// How many there are, those included that are held for want of room.
    pub fn len_with_held(&self) -> usize {
        self.letters.len() + self.held.len()
    }

    /// True when another letter would have to be held.
    pub fn is_full(&self) -> bool {
        self.letters.len() >= self.config.capacity as usize
    }

    /// Takes a letter in.
    pub fn store(&mut self, letter: DeadLetter<T>, now: Timestamp) -> Stored<T> {
        if !self.is_full() {
            self.letters.push_back((now, letter));
            return Stored::Kept { evicted: None };
        }
        match self.config.overflow {
            DeadLetterOverflow::Hold => Stored::NoRoom(letter),
            DeadLetterOverflow::DropOldest => {
                self.dropped_oldest += 1;
                self.letters.push_back((now, letter));
                Stored::Kept { evicted: self.letters.pop_front().map(|(_, letter)| letter) }
            }
        }
    }

    /// Remembers a slot whose job waits for room.
    pub fn hold(&mut self, index: u32) {
        self.held.push_back(index);
    }

    /// The longest-waiting held slot.
    pub fn first_held(&self) -> Option<u32> {
        self.held.front().copied()
    }

    /// Takes out the longest-waiting held slot, if there is room for it now.
    pub fn next_held(&mut self) -> Option<u32> {
        if self.is_full() { None } else { self.held.pop_front() }
    }

    /// Every held slot, at shutdown.
    pub fn take_held(&mut self) -> VecDeque<u32> {
        std::mem::take(&mut self.held)
    }

    /// The letters, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &DeadLetter<T>> {
        self.letters.iter().map(|(_, letter)| letter)
    }

    /// Takes out the letter of `job`.
    pub fn remove(&mut self, job: JobId) -> Option<(Timestamp, DeadLetter<T>)> {
        let at = self.letters.iter().position(|(_, letter)| letter.job == job)?;
        self.letters.remove(at)
    }

    /// Takes out the oldest letter.
    pub fn pop(&mut self) -> Option<(Timestamp, DeadLetter<T>)> {
        self.letters.pop_front()
    }

    /// When the oldest letter reaches its age, if letters do.
    pub fn next_retirement(&self) -> Option<Timestamp> {
        let retention = self.config.retention?;
        self.letters.front().map(|(since, _)| *since + retention)
    }

    /// Takes out the letters that are older than the retention, to be dropped outside the lock.
    pub fn retire(&mut self, now: Timestamp) -> Vec<DeadLetter<T>> {
        let mut old = Vec::new();
        while self.next_retirement().is_some_and(|at| at <= now) {
            if let Some((_, letter)) = self.letters.pop_front() {
                self.dropped_by_age += 1;
                old.push(letter);
            }
        }
        old
    }
}

/// Adds a death to a job's history, merged per queue and reason, the latest first.
pub fn add_death(deaths: &mut Vec<Death>, queue: &Arc<str>, reason: DeathReason, now: Timestamp) {
    let death = match deaths.iter().position(|death| death.reason == reason && death.queue == *queue) {
        Some(at) => {
            let mut death = deaths.remove(at);
            death.count = death.count.saturating_add(1);
            death.last = now;
            death
        }
        None => Death { queue: Arc::clone(queue), reason, count: 1, first: now, last: now },
    };
    deaths.insert(0, death);
}
