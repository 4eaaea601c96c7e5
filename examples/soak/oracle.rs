//! What is known of every job from outside: who holds it, whether it was acked, where its payload went.

use ringmill::{Payload, rng::Rng};
use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use std::sync::{Arc, Mutex};

/// One job, seen from outside.
#[derive(Default)]
struct Record {
    /// The newest delivery that has begun, by its fencing number.
    newest: AtomicU64,
    /// Handlers and consumers that read the payload now.
    readers: AtomicU32,
    /// How often the payload was dropped.
    drops: AtomicU32,
    /// Acks that were confirmed.
    acks: AtomicU32,
}

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

const ENDS: usize = 5;

/// The jobs of one queue of one life.
pub struct Oracle {
    pub name: &'static str,
    cells: Box<[Record]>,
    made: AtomicU64,
    ends: [AtomicU64; ENDS],
    /// Refusals by a closed queue: a publish that met the shutdown was accepted and handed back all the same.
    pub refused_closed: AtomicU64,
    /// Deliveries that began.
    pub deliveries: AtomicU64,
    /// Handlers that ran in the publisher's thread.
    pub in_caller: AtomicU64,
    /// Acks of consumers that were confirmed.
    pub acks: AtomicU64,
    /// Letters that met the callback.
    pub callback: AtomicU64,
    pub forgotten: AtomicU64,
    /// Handlers that run now.
    pub inside: AtomicU64,
    pub over: AtomicBool,
    pub violations: Mutex<Vec<String>>,
}

impl Oracle {
    pub fn new(name: &'static str, jobs: usize) -> Arc<Self> {
        Arc::new(Oracle {
            name,
            cells: (0..jobs).map(|_| Record::default()).collect(),
            made: AtomicU64::new(0),
            ends: Default::default(),
            refused_closed: AtomicU64::new(0),
            deliveries: AtomicU64::new(0),
            in_caller: AtomicU64::new(0),
            acks: AtomicU64::new(0),
            callback: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            inside: AtomicU64::new(0),
            over: AtomicBool::new(false),
            violations: Mutex::new(Vec::new()),
        })
    }

    /// The next payload, while the life has jobs left.
    pub fn make(self: &Arc<Self>) -> Option<Parcel> {
        let id = self.made.fetch_add(1, Relaxed);
        if (id as usize) < self.cells.len() {
            return Some(Parcel {
                id: id as usize,
                magic: id ^ MAGIC,
                end: AtomicUsize::new(End::Inside as usize),
                oracle: Arc::clone(self),
            });
        }
        self.made.fetch_sub(1, Relaxed);
        self.over.store(true, Relaxed);
        None
    }

    pub fn made(&self) -> u64 {
        self.made.load(Relaxed)
    }

    pub fn ended(&self, end: End) -> u64 {
        self.ends[end as usize].load(Relaxed)
    }

    pub fn violation(&self, text: fmt::Arguments<'_>) {
        let mut violations = self.violations.lock().expect("nobody panics here");
        if violations.len() < 20 {
            violations.push(format!("{}: {text}", self.name));
        }
    }

    /// After everything is gone: every payload was dropped once, but those that a forgotten delivery still holds, and with them the queue.
    pub fn check_drops(&self) {
        let drops = |cell: &Record| cell.drops.load(Acquire);
        let kept = self.cells.iter().take(self.made() as usize).filter(|cell| drops(cell) == 0).count() as u64;
        let forgotten = self.forgotten.load(Relaxed);
        if kept > forgotten {
            self.violation(format_args!("{kept} payloads were never dropped, {forgotten} deliveries were forgotten"));
        }
    }
}

const MAGIC: u64 = 0xC0FF_EE00_D15E_A5E5;

/// A payload that knows when it dies.
pub struct Parcel {
    id: usize,
    magic: u64,
    end: AtomicUsize,
    oracle: Arc<Oracle>,
}

impl Payload for Parcel {}

impl Parcel {
    /// The owner has it by value and drops it.
    pub fn end(self, end: End) {
        self.end.store(end as usize, Relaxed);
    }

    /// A delivery begins. `fencing` is 0 in the publisher's own thread.
    pub fn enter(&self, fencing: u64, is_current: impl FnOnce() -> bool) -> Reading<'_> {
        let cell = self.cell();
        cell.readers.fetch_add(1, AcqRel);
        self.oracle.inside.fetch_add(1, Relaxed);
        if self.magic != self.id as u64 ^ MAGIC || cell.drops.load(Acquire) != 0 {
            self.oracle.violation(format_args!("payload {} was delivered after its drop", self.id));
        }
        let reading = Reading { parcel: self, fencing: Cell::new(fencing) };
        if fencing == 0 {
            self.oracle.in_caller.fetch_add(1, Relaxed);
            return reading;
        }
        self.oracle.deliveries.fetch_add(1, Relaxed);
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
        &self.oracle.cells[self.id]
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        let cell = self.cell();
        if self.magic != self.id as u64 ^ MAGIC {
            self.oracle.violation(format_args!("a payload was dropped that is none, {}", self.id));
        }
        if cell.drops.fetch_add(1, AcqRel) != 0 {
            self.oracle.violation(format_args!("payload {} was dropped twice", self.id));
        }
        if cell.readers.load(Acquire) != 0 {
            self.oracle.violation(format_args!("payload {} was dropped while somebody reads it", self.id));
        }
        self.oracle.ends[self.end.load(Relaxed)].fetch_add(1, Relaxed);
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

    /// At most one delivery is current: if a newer one has begun, this one must know that it is not.
    pub fn check_current(&self, is_current: impl FnOnce() -> bool) {
        let newest = self.parcel.cell().newest.load(Acquire);
        if self.fencing.get() != 0 && newest > self.fencing.get() && is_current() {
            self.parcel.oracle.violation(format_args!("job {}: {} is current beside {newest}", self.parcel.id, self.fencing.get()));
        }
    }

    /// What is left of a reading whose payload may be gone when the outcome is known.
    pub fn leave(self) -> Trace {
        Trace { id: self.parcel.id, oracle: Arc::clone(&self.parcel.oracle) }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let cell = self.parcel.cell();
        if cell.drops.load(Acquire) != 0 {
            self.parcel.oracle.violation(format_args!("payload {} was dropped under its reader", self.parcel.id));
        }
        cell.readers.fetch_sub(1, AcqRel);
        self.parcel.oracle.inside.fetch_sub(1, Relaxed);
    }
}

/// A job by its number.
pub struct Trace {
    id: usize,
    oracle: Arc<Oracle>,
}

impl Trace {
    /// The ack was confirmed.
    pub fn acked(&self) {
        self.oracle.acks.fetch_add(1, Relaxed);
        if self.oracle.cells[self.id].acks.fetch_add(1, AcqRel) != 0 {
            self.oracle.violation(format_args!("job {} was acked twice", self.id));
        }
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
