//! Counting without sharing: every handle counts in a block of its own, and a reader adds the blocks up.
//!
//! A block has one writer, so a count is a load and a store, never an RMW, and no two writers share a line. When a handle goes, its block is folded into
//! the retired total under the registry's lock; counting itself takes no lock.
//!
//! The identity that every test asserts, per queue, whenever nothing is in motion:
//! `accepted = acked + dead_lettered + dropped + handed_back + held`.

use crate::histogram::{Histogram, HistogramSnapshot};
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::statistics::AtomicU64;
use crate::sync::{CachePadded, Mutex};
use std::fmt;
use std::sync::Arc;

macro_rules! counts {
    ($($(#[$doc:meta])* $variant:ident $field:ident,)*) => {
        /// One thing that is counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Count { $($(#[$doc])* $variant,)* }

        /// How many things are counted.
        pub const COUNTS: usize = [$(Count::$variant),*].len();

        /// Every count of a queue, added up.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[non_exhaustive]
        pub struct Counts { $($(#[$doc])* pub $field: u64,)* }

        impl Counts {
            /// Adds one block.
            fn add(&mut self, block: &[AtomicU64; COUNTS]) {
                // relaxed: statistics
                $(self.$field += block[Count::$variant as usize].load(Relaxed);)*
            }
        }
    };
}

counts! {
    /// Jobs that were taken in.
    Accepted accepted,
    /// Jobs that ended well.
    Acked acked,
    /// Jobs that went to the dead letters. A job held for want of room there is counted once it moves in.
    DeadLettered dead_lettered,
    /// Dropped because the handler said so.
    Discarded dropped_discarded,
    /// Dropped because somebody cancelled the job.
    Cancelled dropped_cancelled,
    /// Dropped because somebody purged the queue.
    Purged dropped_purged,
    /// Jobs given back by value at shutdown, or by a publish that met it.
    HandedBack handed_back,
    /// Publishes refused because the queue was full.
    RejectedFull rejected_full,
    /// Publishes refused because their publisher's [breaker](crate::QueueConfig::publish_breaker) was open.
    RejectedBreaker rejected_breaker,
    /// Publishes refused by the payload's own check, or for a key that cannot be one.
    RejectedInvalid rejected_invalid,
    /// Publishes refused because the queue was closed.
    RejectedClosed rejected_closed,
    /// Publishes whose payload took the place of that of a job with the same key, which waits out its window. They are no jobs of their own: the job was accepted
    /// once, and ends once.
    Replaced replaced,
    /// Publishes refused because another job with the same key stands for them.
    RejectedDuplicate rejected_duplicate,
    /// Publishes refused for another reason (no such lane, too many keys, would deadlock, the handler failed in the caller's thread).
    RejectedOther rejected_other,
    /// Deliveries started, to workers and consumers. What its publisher runs ([`CallerRuns`](crate::Overflow::CallerRuns)) is no delivery.
    Started started,
    /// Deliveries that failed and come back.
    Retried retried,
    /// Deliveries that were put off without spending an attempt.
    Snoozed snoozed,
    /// Handlers that panicked.
    Panics panics,
    /// Deliveries dropped without a verdict.
    Abandoned abandoned,
    /// Leases that ran out.
    ExpiredLeases expired_leases,
    /// Settlements that came after their lease had run out.
    StaleSettles stale_settles,
    /// Claimed jobs that somebody else took because their worker was busy.
    TakenBack taken_back,
    /// Dead-lettered: the handler rejected the job.
    DeadRejected dead_rejected,
    /// Dead-lettered: its attempts were used up.
    DeadAttempts dead_attempts,
    /// Dead-lettered: too many of its leases ran out.
    DeadExpiries dead_expiries,
    /// Dead-lettered: its time to live ended before a delivery started.
    DeadExpired dead_expired,
    /// Dead-lettered: the queue was full.
    DeadOverLength dead_over_length,
    /// Payloads whose drop panicked.
    DropPanics drop_panics,
    /// Jobs that ended while a stale handler still reads them: occupied slots without a live job.
    Lingering lingering_made,
    /// Slots that the last stale handler left.
    LingeringGone lingering_gone,
    /// Wake-ups of workers that a timeout had to make good: always 0, or a wake-up was lost.
    WakeRescued wake_rescued,
    /// Periodic jobs that were refused (a full queue, a duplicate, an invalid payload) or whose maker panicked, and were skipped.
    PeriodsMissed periods_missed,
}

impl Counts {
    /// Jobs that were dropped, for whatever reason.
    pub fn dropped(&self) -> u64 {
        self.dropped_discarded + self.dropped_cancelled + self.dropped_purged
    }

    /// Jobs that have come to an end, one way or another: every accepted job does, once.
    pub fn ended(&self) -> u64 {
        self.acked + self.dead_lettered + self.dropped() + self.handed_back
    }
}

/// The counts of one handle. One writer, many readers.
pub struct Block {
    counts: CachePadded<[AtomicU64; COUNTS]>,
    /// Per lane: how long jobs waited, how long handlers ran. Empty for handles that only publish.
    lanes: Box<[LaneTimes]>,
}

#[derive(Debug, Default)]
struct LaneTimes {
    wait: Histogram,
    run: Histogram,
    started: AtomicU64,
}

impl Block {
    /// A block with histograms for `lanes` lanes; 0 for a handle that only publishes.
    pub fn new(lanes: usize) -> Self {
        Block {
            counts: CachePadded::new(std::array::from_fn(|_| AtomicU64::new(0))),
            lanes: (0..lanes).map(|_| LaneTimes::default()).collect(),
        }
    }

    /// Counts one. Only the block's writer calls this.
    #[inline]
    pub fn bump(&self, count: Count) {
        self.add(count, 1);
    }

    /// Counts `many`. Only the block's writer calls this.
    #[inline]
    pub fn add(&self, count: Count, many: u64) {
        let cell = &self.counts[count as usize];
        // relaxed: single writer
        cell.store(cell.load(Relaxed) + many, Relaxed);
    }

    /// How many were counted. For the block's writer, who has seen all of them.
    pub fn get(&self, count: Count) -> u64 {
        // relaxed: single writer
        self.counts[count as usize].load(Relaxed)
    }

    /// A delivery of `lane` starts; `wait_nanos` if it is the job's first.
    #[inline]
    pub fn start(&self, lane: usize, wait_nanos: Option<u64>) {
        self.bump(Count::Started);
        let times = &self.lanes[lane];
        // relaxed: single writer
        times.started.store(times.started.load(Relaxed) + 1, Relaxed);
        if let Some(nanos) = wait_nanos {
            times.wait.record(nanos);
        }
    }

    /// A handler of `lane` returned after `nanos`.
    #[inline]
    pub fn run(&self, lane: usize, nanos: u64) {
        self.lanes[lane].run.record(nanos);
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts = Counts::default();
        counts.add(&self.counts);
        f.debug_struct("Block").field("counts", &counts).finish_non_exhaustive()
    }
}

/// What one lane has seen.
#[derive(Debug, Clone, Default)]
pub struct LaneTotals {
    /// Deliveries started.
    pub started: u64,
    /// From eligible to the first start.
    pub wait: HistogramSnapshot,
    /// From a handler's start to its return.
    pub run: HistogramSnapshot,
}

/// Everything that a queue's handles counted.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// The counts.
    pub counts: Counts,
    /// The lanes, most urgent first.
    pub lanes: Vec<LaneTotals>,
}

impl Totals {
    fn add(&mut self, block: &Block) {
        self.counts.add(&block.counts);
        for (total, times) in self.lanes.iter_mut().zip(&block.lanes) {
            // relaxed: statistics
            total.started += times.started.load(Relaxed);
            total.wait.merge(&times.wait.snapshot());
            total.run.merge(&times.run.snapshot());
        }
    }
}

/// The blocks of a queue's handles.
#[derive(Debug)]
pub struct Ledger {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    live: Vec<Arc<Block>>,
    retired: Totals,
}

impl Ledger {
    /// A ledger of a queue with `lanes` lanes.
    pub fn new(lanes: usize) -> Self {
        let retired = Totals { counts: Counts::default(), lanes: vec![LaneTotals::default(); lanes] };
        Ledger { inner: Mutex::new(Inner { live: Vec::new(), retired }) }
    }

    /// A block for a new handle.
    pub fn open(&self, lanes: usize) -> Arc<Block> {
        let block = Arc::new(Block::new(lanes));
        self.inner.lock().live.push(Arc::clone(&block));
        block
    }

    /// Folds a block whose handle is gone into the retired total.
    pub fn retire(&self, block: &Arc<Block>) {
        let mut inner = self.inner.lock();
        if let Some(at) = inner.live.iter().position(|live| Arc::ptr_eq(live, block)) {
            let block = inner.live.swap_remove(at);
            inner.retired.add(&block);
        }
    }

    /// The counts alone, added up. Cheap enough to ask ten thousand times a second; while handles count, the sum is of slightly different moments.
    ///
    /// # Complexity
    /// O(handles).
    pub fn counts(&self) -> Counts {
        let inner = self.inner.lock();
        let mut counts = inner.retired.counts;
        for block in &inner.live {
            counts.add(&block.counts);
        }
        counts
    }

    /// Everything, added up. While handles count, the sum is of slightly different moments.
    pub fn totals(&self) -> Totals {
        let inner = self.inner.lock();
        let mut totals = inner.retired.clone();
        for block in &inner.live {
            totals.add(block);
        }
        totals
    }
}
