//! What is known of every job from outside: who holds it, how often it ran and why again, whether it was acked, where its payload went.
//!
//! One record per job, written with single RMWs; counts are kept per thread. An oracle serves one queue of one life after another: a soak of any length has the same
//! memory, so that whatever grows is the library's.

use ringmill::sync::{CachePadded, Mutex};
use ringmill::{Payload, rng::Rng};
use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed},
};

/// One job, seen from outside.
#[derive(Default)]
#[repr(align(32))]
struct Record {
    /// The newest delivery that has begun, by its fencing number.
    newest: AtomicU64,
    /// Handlers and consumers that read the payload now; above them, in [`RUN`]s, deliveries that began.
    readers: AtomicU64,
    /// Deliveries that ended otherwise than with an ack: after each of them there may be another one.
    unfinished: AtomicU32,
    /// How often the payload was dropped; [`MADE`] once it was made.
    drops: AtomicU32,
    /// Acks that were confirmed.
    acks: AtomicU32,
}

const RUN: u64 = 1 << 32;
const MADE: u32 = 1 << 31;

/// Where a payload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum End {
    /// Dropped by the library.
    Inside,
    /// A publish was refused.
    Refused,
    /// Shutdown gave it back.
    HandedBack,
    /// A dead letter that was taken out or met the callback.
    Letter,
    /// A follow-up whose delivery was found stale.
    FollowUp,
}

/// What is counted. The first five are the [`End`]s.
#[derive(Debug, Clone, Copy)]
#[repr(usize)]
pub enum Tally {
    /// Refusals by a closed queue: a publish that met the shutdown was accepted and handed back all the same.
    RefusedClosed = 5,
    /// Deliveries that began.
    Deliveries,
    /// Handlers that ran in the publisher's thread.
    InCaller,
    /// Acks of consumers that were confirmed.
    Acks,
    /// Letters that met the callback.
    Callback,
    /// Deliveries that are never settled while their runtime lives.
    Forgotten,
    /// Handlers that run now: counted up and down.
    Inside,
    Made,
}

const TALLIES: usize = 16;
/// Threads that count at once without sharing a line.
const SHARDS: usize = 32;

/// The jobs of one queue of one life.
pub struct Oracle {
    pub name: &'static str,
    cells: Box<[Record]>,
    /// Jobs of this life, at most all cells.
    quota: AtomicUsize,
    next: AtomicUsize,
    tallies: [CachePadded<[AtomicU64; TALLIES]>; SHARDS],
    pub over: AtomicBool,
    pub violations: Mutex<Vec<String>>,
}

thread_local! {
    static SHARD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Relaxed) % SHARDS
    };
}

impl Oracle {
    /// An oracle for lives of at most `jobs` jobs, for as long as the process runs.
    pub fn new(name: &'static str, jobs: usize) -> &'static Self {
        Box::leak(Box::new(Oracle {
            name,
            cells: (0..jobs).map(|_| Record::default()).collect(),
            quota: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            tallies: Default::default(),
            over: AtomicBool::new(false),
            violations: Mutex::new(Vec::new()),
        }))
    }

    /// A new life begins: nothing of the last one is left, or its books did not close.
    pub fn begin(&self, jobs: usize) {
        for cell in &self.cells[..self.used()] {
            cell.newest.store(0, Relaxed);
            cell.readers.store(0, Relaxed);
            cell.unfinished.store(0, Relaxed);
            cell.drops.store(0, Relaxed);
            cell.acks.store(0, Relaxed);
        }
        self.tallies.iter().flat_map(|shard| shard.iter()).for_each(|count| count.store(0, Relaxed));
        self.over.store(false, Relaxed);
        self.quota.store(jobs.min(self.cells.len()), Relaxed);
        self.next.store(0, Relaxed);
    }

    fn used(&self) -> usize {
        self.next.load(Relaxed).min(self.quota.load(Relaxed))
    }

    /// The numbers of the next jobs: up to `count`, fewer at the end of the life.
    pub fn numbers(&'static self, count: usize) -> Numbers {
        let (quota, from) = (self.quota.load(Relaxed), self.next.fetch_add(count, Relaxed));
        if from + count >= quota {
            self.over.store(true, Relaxed);
        }
        Numbers { oracle: self, next: from.min(quota), end: (from + count).min(quota) }
    }

    /// The next payload, while the life has jobs left.
    pub fn make(&'static self) -> Option<Parcel> {
        self.numbers(1).next()
    }

    pub fn tally(&self, what: Tally) {
        self.count(what as usize, 1);
    }

    fn count(&self, what: usize, by: u64) {
        self.tallies[SHARD.with(|shard| *shard)][what].fetch_add(by, Relaxed);
    }

    fn sum(&self, what: usize) -> u64 {
        self.tallies.iter().fold(0, |sum, shard| sum.wrapping_add(shard[what].load(Relaxed)))
    }

    pub fn total(&self, what: Tally) -> u64 {
        self.sum(what as usize)
    }

    pub fn ended(&self, end: End) -> u64 {
        self.sum(end as usize)
    }

    pub fn violation(&self, text: fmt::Arguments<'_>) {
        let mut violations = self.violations.lock();
        if violations.len() < 20 {
            violations.push(format!("{}: {text}", self.name));
        }
    }

    /// After everything is gone: every payload that was made was dropped, once; and no job ran again without a reason. `stale` settlements told nobody but the library
    /// that they were late.
    pub fn check_jobs(&self, stale: u64) {
        let (mut kept, mut unexplained) = (0u64, 0u64);
        for (id, cell) in self.cells[..self.used()].iter().enumerate() {
            let drops = cell.drops.load(Acquire);
            kept += u64::from(drops == MADE);
            if drops != 0 && drops & MADE == 0 {
                self.violation(format_args!("payload {id} was dropped and never made"));
            }
            let runs = cell.readers.load(Acquire) / RUN;
            let reasons = u64::from(cell.unfinished.load(Acquire)) + 1;
            unexplained += runs.saturating_sub(reasons);
        }
        if kept > 0 {
            self.violation(format_args!("{kept} payloads were never dropped"));
        }
        if unexplained > stale {
            self.violation(format_args!("{unexplained} deliveries came again without a reason, {stale} settlements were stale"));
        }
    }
}

/// Numbers of jobs that are to be made.
pub struct Numbers {
    oracle: &'static Oracle,
    next: usize,
    end: usize,
}

impl Iterator for Numbers {
    type Item = Parcel;

    fn next(&mut self) -> Option<Parcel> {
        let id = self.next;
        (id < self.end).then(|| {
            self.next += 1;
            self.oracle.tally(Tally::Made);
            self.oracle.cells[id].drops.fetch_or(MADE, Relaxed);
            Parcel { id: id as u32, end: AtomicU32::new(End::Inside as u32), magic: id as u64 ^ MAGIC, oracle: self.oracle }
        })
    }
}

const MAGIC: u64 = 0xC0FF_EE00_D15E_A5E5;

/// A payload that knows when it dies.
pub struct Parcel {
    id: u32,
    end: AtomicU32,
    magic: u64,
    oracle: &'static Oracle,
}

impl Payload for Parcel {}

impl Parcel {
    /// The owner has it by value and drops it.
    pub fn end(self, end: End) {
        if end == End::Refused && self.cell().readers.load(Acquire) >= RUN {
            self.oracle.violation(format_args!("job {} was refused and delivered all the same", self.id));
        }
        self.end.store(end as u32, Relaxed);
    }

    /// A delivery begins. `fencing` is 0 in the publisher's own thread.
    pub fn enter(&self, fencing: u64, is_current: impl FnOnce() -> bool) -> Reading<'_> {
        let cell = self.cell();
        cell.readers.fetch_add(if fencing == 0 { 1 } else { RUN + 1 }, AcqRel);
        self.oracle.tally(Tally::Inside);
        if self.magic != u64::from(self.id) ^ MAGIC || cell.drops.load(Acquire) != MADE {
            self.oracle.violation(format_args!("payload {} was delivered after its drop", self.id));
        }
        let reading = Reading { parcel: self, fencing: Cell::new(fencing) };
        if fencing == 0 {
            self.oracle.tally(Tally::InCaller);
            return reading;
        }
        self.oracle.tally(Tally::Deliveries);
        // a stale delivery may come late, but no number comes twice
        if cell.newest.fetch_max(fencing, AcqRel) == fencing {
            self.oracle.violation(format_args!("job {}: two deliveries are number {fencing}", self.id));
        }
        if cell.acks.load(Acquire) != 0 && is_current() {
            self.oracle.violation(format_args!("job {} was delivered after its ack", self.id));
        }
        reading
    }

    fn cell(&self) -> &Record {
        &self.oracle.cells[self.id as usize]
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        let cell = self.cell();
        if self.magic != u64::from(self.id) ^ MAGIC {
            self.oracle.violation(format_args!("a payload was dropped that is none, {}", self.id));
        }
        if cell.drops.fetch_add(1, AcqRel) != MADE {
            self.oracle.violation(format_args!("payload {} was dropped twice", self.id));
        }
        if !cell.readers.load(Acquire).is_multiple_of(RUN) {
            self.oracle.violation(format_args!("payload {} was dropped while somebody reads it", self.id));
        }
        self.oracle.count(self.end.load(Relaxed) as usize, 1);
    }
}

/// A delivery as its handler sees it.
pub struct Reading<'a> {
    parcel: &'a Parcel,
    fencing: Cell<u64>,
}

impl Reading<'_> {
    /// The delivery was extended: it has a new number, and nobody had one in between.
    pub fn extended(&self, fencing: u64) {
        let (mine, before) = (self.fencing.replace(fencing), self.parcel.cell().newest.fetch_max(fencing, AcqRel));
        if before == fencing || before < fencing && before != mine {
            self.parcel.oracle.violation(format_args!("job {}: {before} ran between {mine} and its extension {fencing}", self.parcel.id));
        }
    }

    /// At most one delivery is current: if a newer one has begun, this one must know that it is not. True if it is, or was just now.
    pub fn check_current(&self, is_current: impl Fn() -> bool) -> bool {
        let newest = self.parcel.cell().newest.load(Acquire);
        let current = is_current();
        if self.fencing.get() != 0 && newest > self.fencing.get() && current {
            self.parcel.oracle.violation(format_args!("job {}: {} is current beside {newest}", self.parcel.id, self.fencing.get()));
        }
        current
    }

    /// The delivery ends otherwise than with an ack: the job may come again.
    pub fn unfinished(&self) {
        self.parcel.cell().unfinished.fetch_add(1, AcqRel);
    }

    /// What is left of a reading whose payload may be gone when the outcome is known.
    pub fn leave(self) -> Trace {
        Trace { id: self.parcel.id, oracle: self.parcel.oracle }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let cell = self.parcel.cell();
        if cell.drops.load(Acquire) != MADE {
            self.parcel.oracle.violation(format_args!("payload {} was dropped under its reader", self.parcel.id));
        }
        cell.readers.fetch_sub(1, AcqRel);
        self.parcel.oracle.count(Tally::Inside as usize, 1u64.wrapping_neg());
    }
}

/// A job by its number.
pub struct Trace {
    id: u32,
    oracle: &'static Oracle,
}

impl Trace {
    fn cell(&self) -> &Record {
        &self.oracle.cells[self.id as usize]
    }

    /// The ack was confirmed.
    pub fn acked(&self) {
        self.oracle.tally(Tally::Acks);
        if self.cell().acks.fetch_add(1, AcqRel) != 0 {
            self.oracle.violation(format_args!("job {} was acked twice", self.id));
        }
    }

    /// As [`Reading::unfinished`]. Before the library is told: a redelivery must find its reason.
    pub fn unfinished(&self) {
        self.cell().unfinished.fetch_add(1, AcqRel);
    }
}

/// Dice.
pub fn chance(rng: &mut Rng, per_mille: u64) -> bool {
    rng.up_to(999) < per_mille
}

/// One of `0..=max`.
pub fn roll(rng: &mut Rng, max: u64) -> u64 {
    rng.up_to(max)
}
