//! A queue: where a job's life is written, one file per act.
//!
//! | file | act |
//! |---|---|
//! | `publish` | a job takes a slot and enters a lane, or the timer's inbox |
//! | `batch` | many jobs enter a lane as one chain |
//! | `at_once` | in simulations: a publish lets the handlers run |
//! | `line` | a task waits for a slot |
//! | `breaker` | a publisher that found the queue full again and again is refused for a while |
//! | `evict` | a full queue sends an old job to the dead letters, for a new one |
//! | `keys` | a job's key is claimed, and forgotten when the job ends |
//! | `order` | a job with a partition key waits for those before it, and lets the next one go when it ends |
//! | `window` | a job waits for others with its key, and takes the payload of the last |
//! | `fan_out` | a copy takes a slot first, and enters a lane when its siblings have slots too |
//! | `claim` | a worker or consumer takes jobs out of the lanes and starts one |
//! | `settle` | a delivery ends: the job is over, comes back, or waits |
//! | `expire` | the timer's side: leases that ran out, delays that ended, claims that nobody starts |
//! | `end` | a job is over: its payload goes, its slot is free again |
//! | `follow` | somebody wants to know how a job ends |
//! | `follow_up` | a job ends, and its follow-up is on its way into a slot |
//! | `letters` | dead letters by hand: list, redrive, purge |
//! | `onward` | dead letters move on to another queue |
//! | `ages` | how long jobs wait |
//! | `states` | in simulations: what each job is doing |
//! | `hand_back` | shutdown: every undone job comes out by value |
//!
//! A queue is passive. It has no threads and no clock: the time is an argument, waiting is left to the layer above, and user code runs only where the caller
//! of [`Claimer`] lets it. The one exception is `Drop` of payloads, which runs in whoever ends a job, never in the timer.
//!
//! *Invariant.* Every index is in exactly one place: free (stack, account, waiter's hand), in a lane, in a partition, claimed, leased, in the timer's hands (inbox, wheel),
//! held by the dead letters, lingering with a stale holder, or in the hand of a thread between two of these. Between them they count `capacity`.

mod accounts;
mod ages;
mod at_once;
mod batch;
mod bent;
mod breaker;
mod chores;
mod claim;
mod claim_block;
mod end;
mod evict;
mod expire;
mod fan_out;
mod follow;
mod follow_up;
mod hand_back;
mod keys;
mod lease;
mod letters;
mod line;
mod onward;
mod order;
mod publish;
mod settle;
#[cfg(feature = "test-util")]
mod states;
#[cfg(all(test, not(loom)))]
mod tests;
mod window;

pub use accounts::Accounts;
#[cfg(feature = "test-util")]
pub(crate) use at_once::Run;
pub use batch::Keeps;
#[doc(hidden)]
pub use bent::{Bend, bend};
pub use chores::{Chore, Period};
pub use claim::Claimer;
pub use claim_block::ClaimBlock;
pub use end::Aftermath;
pub use expire::TimerSide;
pub use hand_back::{Origin, Undone};
pub use lease::{CancelCause, Lease};
pub use onward::{Onward, Way};
pub use order::Spread;
pub use publish::{Publisher, Watch, When};
pub use settle::Plan;
#[cfg(feature = "test-util")]
pub use states::{JobPhase, JobState};

use crate::clock::Timestamp;
use crate::completion::{Records, Watched};
use crate::config::{DeadLetterOverflow, Discipline, Overflow, PublishBreaker, QueueConfig, RetryPolicy};
use crate::dead_letter::{DeadLetters, Histories};
use crate::error::ConfigError;
use crate::inbox::Inbox;
use crate::lanes::Schedule;
use crate::ledger::{Count, Ledger, Totals};
use crate::ring::IndexRing;
use crate::slab::{Fate, Phase, Slab};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use crate::sync::{CachePadded, EventCount, Mutex};
use accounts::Credits;
pub(crate) use bent::is_bent;
use chores::{Chores, Signals};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A function that takes the dead letters which find no room.
pub type LetterCallback<T> = Arc<dyn Fn(crate::dead_letter::DeadLetter<T>) + Send + Sync>;
/// A function that hears of watermark crossings.
pub type PressureCallback = Arc<dyn Fn(Pressure) + Send + Sync>;

/// How full a queue is, with hysteresis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pressure {
    /// The depth has not reached the high watermark since it was last at or below the low one.
    #[default]
    Low,
    /// The depth reached the high watermark and has not yet come down to the low one.
    High,
}

/// What the protocol needs of the configuration, in its own units.
#[derive(Debug)]
pub struct Settings {
    /// The queue's name, shared with dead-letter records.
    pub name: Arc<str>,
    /// The lanes' names, most urgent first.
    pub lane_names: Vec<String>,
    /// What happens to a publish when the queue is full.
    pub overflow: Overflow,
    /// When a publisher stops asking; `None`: never.
    pub publish_breaker: Option<PublishBreaker>,
    /// How long a lease is.
    pub visibility: Duration,
    /// How long a delivery may last with its extensions.
    pub max_lease: Duration,
    /// Attempts, expiries, backoff.
    pub retry: RetryPolicy,
    /// How workers choose among the lanes.
    pub discipline: Discipline,
    /// The weights of the lanes, as a table.
    pub schedule: Schedule,
    /// A fixed prefetch; `None`: about 100 us of work.
    pub prefetch: Option<u32>,
    /// The timer's tick.
    pub tick: Duration,
    /// A gap between two sweeps longer than this counts as a frozen process.
    pub freeze_after: Duration,
}

/// A queue.
pub struct Queue<T> {
    /// The configuration in the protocol's units.
    pub settings: Settings,
    /// What a publish does on its way out.
    pub(crate) at_once: at_once::AtOnce,
    slab: Slab<T>,
    lanes: Box<[IndexRing]>,
    credits: Credits,
    /// Whose key is taken, and the routing keys that jobs came by; `None`: neither is anything to this queue.
    keys: Option<Box<keys::Keys>>,
    /// Where jobs with a partition key wait; `None`: partition keys are nothing to this queue.
    order: Option<Box<order::Order>>,
    /// It has one of these two (`keys`, `order`), so a job may ask for more than a slot and a lane.
    tracks: bool,
    inbox: Inbox,
    /// The promises of watched jobs.
    watched: Watched,
    records: follow::Recorded,
    /// Who sleeps for want of this queue's jobs. Shared with the other queues of the pool.
    bell: Arc<EventCount>,
    /// The timer thread's own bell.
    timer_bell: Arc<EventCount>,
    /// When the timer looks again by itself, in nanoseconds. Written by the timer, read by whoever has an earlier wish.
    timer_until: Arc<AtomicU64>,
    histories: Histories,
    /// Where locks are nested they are taken in the order strays, timer, house, dead.
    dead: Mutex<DeadLetters<T>>,
    dead_overflow: DeadLetterOverflow,
    letter_callback: Mutex<Option<LetterCallback<T>>>,
    /// Dead letters do not stay here.
    moves_on: bool,
    /// Dead letters have an age at which they go.
    letters_age: bool,
    /// The way of dead letters from here, once the runtime is built. Its lock is held for a look.
    onward: Mutex<Option<Arc<dyn Onward<T>>>>,
    /// When a letter that found its target full is tried again, in nanoseconds. Written by whoever moves letters, read and reset by the timer.
    letters_again: AtomicU64,
    /// How long a job waits here that came as a dead letter.
    retention: Option<Duration>,
    listener: Mutex<Option<chores::Listener>>,
    signals: Signals,
    /// Claim blocks of workers and consumers, for the timer and for thieves.
    claims: Mutex<Vec<Arc<ClaimBlock>>>,
    /// Counts by everyone.
    pub ledger: Ledger,
    /// The queue's own account and block, for acts that belong to no handle: redrive, purge, hand-back. Taken before `dead` where both are needed.
    house: Mutex<House>,
    /// Waiting jobs are cancelled or expire here: sweeps look whether one can be ended. Raised by whoever did that first.
    marks: AtomicBool,
    chores: Chores<T>,
    timer: Mutex<TimerSide>,
    /// Set when a period was added since the timer looked at them. Written under the lock of `periods`.
    periods_changed: AtomicBool,
    periods: Mutex<Vec<Arc<chores::Period<T>>>>,
    /// Set once, at shutdown: publishes are refused from here on.
    closed: AtomicBool,
    /// Set once, after the workers were told to stop: what comes back now is handed back.
    stopped: AtomicBool,
    /// Set and cleared by the user: nothing is started meanwhile.
    paused: AtomicBool,
    /// The state of the watermarks at the last sweep. Written by the timer side, read by anyone.
    pressure: AtomicBool,
    /// Job ids are given out in blocks.
    next_ids: AtomicU64,
    /// About how long a handler runs, in nanoseconds; 0: not known yet. Written by workers (any may win), read as a hint. Apart from the flags that every
    /// publish reads.
    run_estimate: CachePadded<AtomicU64>,
    /// Nanoseconds between settlements lately, or since the last one if that is longer, for the `retry_after` hint; 0: not known yet. Written by the timer side.
    settle_gap: AtomicU64,
    strays: Mutex<Vec<Undone<T>>>,
    /// Follow-ups that found no slot yet.
    deferred: Mutex<Vec<crate::job::Job<T>>>,
    /// Follow-ups on their way into a slot. Its lock is held for a look.
    chains: Mutex<follow_up::Chains>,
}

/// The accounts and the block that belong to the queue itself.
#[derive(Debug)]
struct House {
    accounts: Accounts,
    block: Arc<crate::ledger::Block>,
}

impl<T> Queue<T> {
    /// An empty queue.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn new(
        config: &QueueConfig,
        tick: Duration,
        freeze_after: Duration,
        bell: Arc<EventCount>,
        timer_bell: Arc<EventCount>,
        timer_until: Arc<AtomicU64>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let capacity = config.capacity as u32;
        let weights: Vec<u32> = config.lanes.iter().map(|lane| lane.weight).collect();
        let schedule = Schedule::weighted(&weights)
            .map_err(|invalid| ConfigError::new(format!("queue `{}`", config.name), invalid.field, invalid.value, invalid.range))?;
        if !Slab::<T>::fits(capacity) {
            let allowed = format_args!("what fits into memory at {} bytes each", Slab::<T>::SLOT_BYTES).to_string();
            return Err(ConfigError::new(format!("queue `{}`", config.name), "capacity", capacity, allowed));
        }
        let slab = Slab::new(capacity);
        let credits = Credits::new(&slab, capacity, &config.lanes);
        let ledger = Ledger::new(config.lanes.len());
        let house_accounts = credits.open(&slab).expect("the first handle of a queue finds an account");
        let house = House { accounts: house_accounts, block: ledger.open(0) };
        let jobs = |percent: u32| (u64::from(capacity) * u64::from(percent) / 100) as u32;
        let low = jobs(config.watermarks.0);
        let watermarks = (low, jobs(config.watermarks.1).max(low + 1));
        let (keys, order) = (keys::Keys::of(config).map(Box::new), order::Order::new(config));
        let tracks = keys.is_some() || order.is_some();
        Ok(Queue {
            settings: Settings {
                name: config.name.as_str().into(),
                lane_names: config.lanes.iter().map(|lane| lane.name.clone()).collect(),
                overflow: config.overflow,
                publish_breaker: config.publish_breaker,
                visibility: config.visibility,
                max_lease: config.longest_lease(),
                retry: config.retry.clone(),
                discipline: config.discipline,
                schedule,
                prefetch: config.prefetch,
                tick,
                freeze_after,
            },
            at_once: at_once::AtOnce::default(),
            lanes: config.lanes.iter().map(|_| IndexRing::new(capacity)).collect(),
            credits,
            keys,
            order,
            tracks,
            inbox: Inbox::new(capacity),
            watched: Watched::new(),
            records: config.completed.map(|(count, age)| Mutex::new(Records::new(count as usize, age))),
            bell,
            timer_bell,
            timer_until,
            histories: Histories::new(),
            dead: Mutex::new(DeadLetters::new(config.dead_letters.clone())),
            dead_overflow: config.dead_letters.overflow,
            letter_callback: Mutex::new(None),
            moves_on: config.dead_letters.moves_on(),
            letters_age: config.dead_letters.retention.is_some(),
            onward: Mutex::new(None),
            letters_again: AtomicU64::new(u64::MAX),
            retention: config.retention,
            listener: Mutex::new(None),
            signals: Signals::default(),
            claims: Mutex::new(Vec::new()),
            timer: Mutex::new(TimerSide::new(capacity, watermarks, ledger.open(0))),
            periods_changed: AtomicBool::new(false),
            periods: Mutex::new(Vec::new()),
            ledger,
            house: Mutex::new(house),
            marks: AtomicBool::new(false),
            chores: Chores::new(),
            closed: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            pressure: AtomicBool::new(false),
            next_ids: AtomicU64::new(1),
            run_estimate: CachePadded::new(AtomicU64::new(0)),
            settle_gap: AtomicU64::new(0),
            strays: Mutex::new(Vec::new()),
            deferred: Mutex::new(Vec::new()),
            chains: Mutex::new(follow_up::Chains::default()),
            slab,
        })
    }

    /// How many jobs it holds.
    pub fn capacity(&self) -> u32 {
        self.slab.capacity()
    }

    /// How many lanes it has.
    pub fn lane_count(&self) -> usize {
        self.lanes.len()
    }

    /// Free slots; exact while nothing is in motion.
    pub fn free(&self) -> u32 {
        self.credits.free()
    }

    /// Occupied slots; exact while nothing is in motion.
    pub fn occupied(&self) -> u32 {
        self.capacity().saturating_sub(self.free())
    }

    /// True once publishes are refused.
    pub fn is_closed(&self) -> bool {
        // relaxed: a late reader is caught by `publish`'s second look, which a fence orders
        self.closed.load(Relaxed)
    }

    /// True once the workers were told to stop.
    pub fn is_stopped(&self) -> bool {
        // relaxed: re-read before every start
        self.stopped.load(Relaxed)
    }

    /// True while nothing is started.
    pub fn is_paused(&self) -> bool {
        // relaxed: re-read before every start
        self.paused.load(Relaxed)
    }

    /// Stops or resumes the start of jobs. Running handlers go on.
    pub fn set_paused(&self, paused: bool) {
        // relaxed: `notify_all` fences
        self.paused.store(paused, Relaxed);
        if !paused {
            self.bell.notify_all();
        }
    }

    /// How full it is, with hysteresis; as of the last sweep.
    pub fn pressure(&self) -> Pressure {
        // relaxed: statistics
        if self.pressure.load(Relaxed) { Pressure::High } else { Pressure::Low }
    }

    /// Calls `callback` with every dead letter that finds the dead-letter queue full, instead of what its overflow policy says; with those that are held at once.
    pub fn on_dead_letter(&self, callback: LetterCallback<T>, now: Timestamp) {
        let before = self.letter_callback.lock().replace(callback);
        self.settle_held(now);
        // user code, with no lock held
        drop(before);
    }

    /// Wakes whoever sleeps for want of the `jobs` jobs that the caller has just pushed or doomed: by an RMW, either way.
    #[inline]
    fn ring_bell(&self, jobs: usize) {
        if is_bent(Bend::SilentPush) {
            return;
        }
        self.bell.notify_pushed(jobs);
    }

    /// Wakes the timer if it means to sleep longer than until `due`.
    fn wake_timer(&self, due: u64) {
        crate::sync::full_fence();
        // relaxed: ordered by the fence; its partner is the timer's announcement, which follows its store of `timer_until` and precedes its second look
        if self.timer_until.load(Relaxed) > due {
            self.timer_bell.notify_one();
        }
    }

    /// A worker has learnt about how long handlers run.
    fn note_run_estimate(&self, nanos: u64) {
        // relaxed, both: a hint, and what is nearly the same is not worth the line
        let known = self.run_estimate.load(Relaxed);
        if known.abs_diff(nanos) > known / 4 {
            self.run_estimate.store(nanos, Relaxed);
        }
    }

    /// What a snapshot says of this queue.
    pub fn gauges(&self) -> Gauges {
        let mut phases = Phases::default();
        for index in 0..self.capacity() {
            let word = self.slab.state(index).load();
            match word.phase() {
                Phase::Free => {}
                // empty, and about to be free
                Phase::Doomed if word.fate() == Fate::TakenOut => {}
                Phase::Ready | Phase::Doomed => phases.ready += 1,
                Phase::Running => phases.running += 1,
                Phase::Delayed => phases.delayed += 1,
                Phase::Zombie if word.holders() > 0 => phases.zombies += 1,
                Phase::Zombie => {}
                Phase::Held => phases.held += 1,
            }
        }
        let dead = self.dead.lock();
        Gauges {
            capacity: self.capacity(),
            free: self.free(),
            phases,
            dead_letters: dead.len(),
            letters_dropped_oldest: dead.dropped_oldest,
            letters_dropped_by_age: dead.dropped_by_age,
            letters_purged: dead.purged,
            letters_redriven: dead.redriven,
            letters_moved: dead.moved,
            letters_unroutable: dead.unroutable,
            publishers_waiting: self.credits.waiting(),
            keys: self.keys_taken(),
            partitions: self.spread(),
        }
    }

    /// Every count and histogram, added up.
    pub fn totals(&self) -> Totals {
        self.ledger.totals()
    }

    /// True when the timer left something to do.
    #[inline]
    pub fn has_chores(&self) -> bool {
        self.chores.any()
    }

    /// What the timer left to do.
    pub fn take_chores(&self) -> Vec<Chore<T>> {
        self.chores.take()
    }

    /// A block of the queue's job ids.
    fn reserve_ids(&self, count: u64) -> u64 {
        // relaxed: only uniqueness matters
        self.next_ids.fetch_add(count, Relaxed)
    }

    /// Counts something that belongs to no handle.
    fn count_house(&self, count: Count) {
        self.house.lock().block.bump(count);
    }
}

/// Slots by phase, from one pass over the slab while everything goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Phases {
    /// Waiting in a lane or claimed.
    pub ready: u32,
    /// With a handler or consumer.
    pub running: u32,
    /// Waiting for their time.
    pub delayed: u32,
    /// Ended, but a stale handler still reads.
    pub zombies: u32,
    /// Dead, waiting for room among the dead letters, and found there with the others.
    pub held: u32,
}

impl Phases {
    /// Jobs that are still to run, or to end: those that are dead and wait for room, or for a stale handler, are not.
    pub(crate) fn live(&self) -> u32 {
        self.ready + self.running + self.delayed
    }

    /// True when every slot is free.
    pub fn is_empty(&self) -> bool {
        *self == Phases::default()
    }
}

/// What a queue looks like now.
#[derive(Debug, Clone, Copy)]
pub struct Gauges {
    /// Slots.
    pub capacity: u32,
    /// Free slots.
    pub free: u32,
    /// The others.
    pub phases: Phases,
    /// Dead letters, without those that are held.
    pub dead_letters: usize,
    /// Letters dropped to make room.
    pub letters_dropped_oldest: u64,
    /// Letters dropped because of their age.
    pub letters_dropped_by_age: u64,
    /// Letters purged by hand.
    pub letters_purged: u64,
    /// Letters published again.
    pub letters_redriven: u64,
    /// Letters that moved on.
    pub letters_moved: u64,
    /// Letters that had no way on.
    pub letters_unroutable: u64,
    /// Publishers that wait for a slot.
    pub publishers_waiting: usize,
    /// Keys that are taken.
    pub keys: usize,
    /// How the jobs with a partition key spread, if the queue has partitions.
    pub partitions: Option<Spread>,
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("settings", &self.settings).field("free", &self.free()).finish_non_exhaustive()
    }
}
