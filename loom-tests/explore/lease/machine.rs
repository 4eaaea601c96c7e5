//! The lease protocol as a step machine: every shared access of workers, timer, canceller and producer is one step.
//!
//! The transitions of the word are the crate's own: a step runs the real [`SlotState`] on the slot's word. That is one step because each is
//! one CAS loop, which takes effect at its last CAS (or at the load that makes it give up).

mod clients;
mod places;
mod timer;
mod worker;

use super::{Config, Mutation};
use ringmill::slab::{CancelStep, Claim, Dispose, Epoch, Expire, Fate, Fire, Leave, Next, Phase, Settled, SlotState, Stale, Start, Word};
use std::sync::atomic::Ordering::Relaxed;

pub const SLOTS: usize = 2;
pub const WORKERS: usize = 2;
pub const SEATS: usize = 2;
pub const JOBS: usize = 3;

const HANDOVER: u8 = 1;
const POKE: u8 = 2;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Slot {
    word: u64,
    /// The job whose payload is here; 0: none.
    payload: u8,
    id: u8,
    /// The clock when the current lease began.
    began: u8,
    /// The inbox flags.
    mail: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
enum At {
    #[default]
    Idle,
    ReadEpoch,
    StoreClaim,
    Steal,
    Start,
    StoreClaimLate,
    Dispose,
    Read,
    Settle,
    SettleStore(u8),
    Leave,
    LeaveAgain,
    Push,
    SettleAfterPush,
    Drop,
    Free,
    Mail,
    Post,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Worker {
    at: At,
    /// The slot this step is about, and whether its index is in this worker's hand.
    slot: u8,
    hand: bool,
    /// The claims of the batch; `at` speaks of number `cur`.
    batch: [u64; SEATS],
    len: u8,
    cur: u8,
    job: u8,
    lease: u64,
    /// What was read, for mutations that look first and store later, and for thieves.
    seen: u64,
    halted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
enum TimerAt {
    #[default]
    Idle,
    LoadClaim,
    LoadWord,
    Expire,
    TakeBack,
    Push,
    EndSweep,
    TakeMail,
    Look,
    Fire,
    FireStore,
}

/// What the timer saw at a seat: nothing, an unstarted claim, a running lease.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Sight {
    kind: u8,
    slot: u8,
    epoch: u64,
    stamp: u8,
    fresh: bool,
}

const WAITS: u8 = 1;
const RUNS: u8 = 2;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Timer {
    at: TimerAt,
    slot: u8,
    hand: bool,
    /// The slots in the wheel, as bits.
    wheel: u8,
    now: u8,
    sweeps: u8,
    seat: u8,
    sweeping: bool,
    claim: u64,
    seen: u64,
    sights: [Sight; WORKERS * SEATS],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
enum CancelAt {
    #[default]
    Idle,
    LoadWord,
    LoadId,
    Cas,
    Mail,
    Post,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Canceller {
    at: CancelAt,
    left: u8,
    job: u8,
    slot: u8,
    word: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
enum ProducerAt {
    #[default]
    Idle,
    Write,
    Fill,
    Push,
    Mail,
    Post,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Producer {
    at: ProducerAt,
    slot: u8,
    hand: bool,
    published: u8,
}

/// Everything. Sets of indices are bit sets: free list, lane and inbox are atomic here and have explorers and models of their own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct State {
    slots: [Slot; SLOTS],
    workers: [Worker; WORKERS],
    claims: [u64; WORKERS * SEATS],
    timer: Timer,
    canceller: Canceller,
    producer: Producer,
    free: u8,
    lane: u8,
    inbox: u8,
    clock: u8,
    /// Per job: its fate, and where it lies.
    fates: [u8; JOBS],
    lies: [u8; JOBS],
    ttl: u8,
    returns: u8,
    steals: u8,
    extends: u8,
    sweeps_at_halt: u8,
}

/// The successors of a state, each with who did what.
pub type Successors = Vec<(&'static str, &'static str, State)>;
/// A violated oracle.
pub type Broken = String;

const NAMES: [&str; WORKERS] = ["worker 0", "worker 1"];

fn at(slot: u8) -> usize {
    slot as usize
}

fn bits(set: u8, config: &Config) -> impl Iterator<Item = u8> {
    (0..config.slots).filter(move |slot| set >> slot & 1 != 0)
}

impl Slot {
    fn view(&self) -> Word {
        Word::from_raw(self.word)
    }

    /// Runs a transition of the crate on this word.
    fn run<R>(&mut self, transition: impl FnOnce(&SlotState) -> R) -> R {
        let state = SlotState::new();
        state.raw().store(self.word, Relaxed);
        let outcome = transition(&state);
        self.word = state.raw().load(Relaxed);
        outcome
    }
}

impl State {
    pub fn first(config: &Config) -> State {
        let mut state = State {
            free: (1 << config.slots) - 1,
            ttl: config.ttl,
            returns: config.returns,
            steals: config.steals,
            extends: config.extends,
            claims: [Claim::NONE.raw(); WORKERS * SEATS],
            ..State::default()
        };
        state.canceller.left = config.cancels;
        state
    }

    fn slot(&mut self, slot: u8) -> &mut Slot {
        &mut self.slots[at(slot)]
    }

    // ---- the oracles of single steps ----

    fn inside(&self, worker: usize, slot: u8) -> bool {
        let worker = &self.workers[worker];
        let holds = matches!(worker.at, At::StoreClaimLate | At::Read | At::Settle | At::SettleStore(_) | At::Leave | At::SettleAfterPush);
        worker.slot == slot && holds
    }

    fn push_lane(&mut self, slot: u8) -> Result<(), Broken> {
        if self.lane >> slot & 1 != 0 {
            return Err(format!("index {slot} pushed into the lane twice"));
        }
        self.lane |= 1 << slot;
        Ok(())
    }

    fn push_free(&mut self, slot: u8) -> Result<(), Broken> {
        if self.free >> slot & 1 != 0 {
            return Err(format!("index {slot} freed twice"));
        }
        self.free |= 1 << slot;
        Ok(())
    }

    fn push_inbox(&mut self, slot: u8) -> Result<(), Broken> {
        if self.inbox >> slot & 1 != 0 {
            return Err(format!("index {slot} posted twice"));
        }
        self.inbox |= 1 << slot;
        Ok(())
    }

    fn end(&mut self, slot: u8, fate: Fate) -> Result<(), Broken> {
        let job = self.slots[at(slot)].payload;
        if job == 0 {
            return Err(format!("an outcome for the empty slot {slot}"));
        }
        if self.fates[job as usize - 1] != 0 {
            return Err(format!("job {job} ended twice"));
        }
        self.fates[job as usize - 1] = fate as u8;
        Ok(())
    }

    fn drop_payload(&mut self, slot: u8) -> Result<(), Broken> {
        let job = self.slots[at(slot)].payload;
        if job == 0 {
            return Err(format!("payload of slot {slot} dropped twice"));
        }
        if let Some(worker) = (0..WORKERS).find(|&worker| self.inside(worker, slot)) {
            return Err(format!("payload of slot {slot} dropped while worker {worker} holds it"));
        }
        if self.fates[job as usize - 1] == 0 {
            return Err(format!("payload of job {job} dropped though it has not ended"));
        }
        self.slot(slot).payload = 0;
        Ok(())
    }

    // ---- steps that several actors take ----

    fn expiry_is_early(&self, config: &Config, slot: u8) -> bool {
        // the lease began before the next tick of the clock
        self.timer.now < self.slots[at(slot)].began + 1 + config.lease
    }

    pub fn successors(&self, config: &Config, out: &mut Successors) -> Result<(), (&'static str, Broken)> {
        out.clear();
        for (worker, name) in NAMES.iter().enumerate().take(config.workers) {
            self.worker(config, worker, out).map_err(|broken| (*name, broken))?;
        }
        self.timer(config, out).map_err(|broken| ("timer", broken))?;
        self.canceller(config, out).map_err(|broken| ("canceller", broken))?;
        self.producer(config, out).map_err(|broken| ("producer", broken))
    }
}
