//! The lease protocol as a step machine: every shared access of workers, timer, canceller and producer is one step.
//!
//! The transitions of the word are the crate's own: a step runs the real [`SlotState`] on the slot's word. That is one step because each is
//! one CAS loop, which takes effect at its last CAS (or at the load that makes it give up).

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

/// The successors of a state.
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

    // ---- the worker ----

    /// On to the next claim of the batch, or to a new batch.
    fn next_claim(&mut self, worker: usize) {
        let worker = &mut self.workers[worker];
        let (batch, len, cur) = (worker.batch, worker.len, worker.cur + 1);
        *worker = Worker { at: At::Start, batch, len, cur, ..Worker::default() };
        if cur >= len {
            *worker = Worker::default();
        }
    }

    fn go(&mut self, worker: usize, at: At) {
        self.workers[worker].at = at;
    }

    /// The slot is over and this worker's to clear.
    fn owns_dead(&mut self, worker: usize) {
        self.workers[worker].hand = true;
        self.workers[worker].at = At::Drop;
    }

    fn settled(&mut self, config: &Config, worker: usize, settled: Settled) -> Result<(), Broken> {
        let me = self.workers[worker];
        match settled {
            Settled::Ready(_) => {
                self.workers[worker].hand = true;
                self.go(worker, At::Push);
            }
            Settled::Delayed(_) => {
                self.workers[worker].hand = true;
                self.go(worker, At::Mail);
            }
            Settled::Owner(word) => {
                self.end(me.slot, word.fate())?;
                self.owns_dead(worker);
            }
            Settled::Left(word) => {
                self.end(me.slot, word.fate())?;
                if config.is(Mutation::SettleReclaims) {
                    self.slot(me.slot).word = word.with_phase(Phase::Free).raw();
                    self.owns_dead(worker);
                } else {
                    self.next_claim(worker);
                }
            }
        }
        Ok(())
    }

    /// What settlement number `choice` does to `word`: 0 acknowledges, 1 fails, 2 fails with a delay.
    fn decide(config: &Config, choice: u8, word: Word) -> Next {
        let end = |fate| Next::End { fate, spend_failure: choice != 0 };
        match choice {
            0 => end(Fate::Acked),
            _ if word.is_cancelled() => end(Fate::Cancelled),
            _ if word.failures() + 1 > config.max_failures => end(Fate::Attempts),
            1 => Next::Ready { spend_failure: true },
            _ => Next::Delayed { spend_failure: true },
        }
    }

    fn started(&mut self, worker: usize, word: Word) -> Result<(), Broken> {
        let slot = self.workers[worker].slot;
        let job = self.slots[at(slot)].payload;
        if job == 0 {
            return Err(format!("starts slot {slot} without a payload"));
        }
        if self.fates[job as usize - 1] != 0 {
            return Err(format!("job {job} delivered after its end"));
        }
        let other = 1 - worker;
        if self.inside(other, slot) && self.workers[other].lease == word.epoch().raw() {
            return Err(format!("starts slot {slot} at {:?}, which worker {other} believes to be its lease", word.epoch()));
        }
        self.slot(slot).began = self.clock;
        let me = &mut self.workers[worker];
        me.job = job;
        me.lease = word.epoch().raw();
        me.at = At::Read;
        Ok(())
    }

    fn worker(&self, config: &Config, worker: usize, out: &mut Successors) -> Result<(), Broken> {
        let me = self.workers[worker];
        if me.halted {
            return Ok(());
        }
        let name = NAMES[worker];
        let slot = me.slot;
        let claim = Claim::from_raw(me.batch[me.cur as usize % SEATS]);
        // every arm changes a copy and hands it in
        let mut next = *self;
        let mut step = |what: &'static str, next: State| out.push((name, what, next));
        if config.halt && worker == 0 && !(me.at == At::Idle && me.len == 0) {
            let mut halted = *self;
            halted.workers[0].halted = true;
            halted.sweeps_at_halt = self.timer.sweeps;
            step("halts for ever", halted);
        }
        match me.at {
            At::Idle => {
                if me.len < config.batch {
                    for popped in bits(self.lane, config) {
                        let mut next = *self;
                        next.lane &= !(1 << popped);
                        next.workers[worker] = Worker { at: At::ReadEpoch, slot: popped, hand: true, ..me };
                        step("pop", next);
                    }
                }
                if me.len > 0 {
                    next.workers[worker].at = At::Start;
                    step("stop popping", next);
                } else if self.steals > 0 {
                    for seat in 0..config.batch as usize {
                        let claim = Claim::from_raw(self.claims[(1 - worker) * SEATS + seat]);
                        if !claim.is_none() {
                            let mut next = *self;
                            next.steals -= 1;
                            next.workers[worker] = Worker { at: At::Steal, slot: claim.index() as u8, seen: claim.raw(), ..me };
                            step("read another's claim", next);
                        }
                    }
                }
            }
            At::Steal => {
                let epoch = Claim::from_raw(me.seen).epoch();
                let stolen = if config.is(Mutation::StealWithoutBump) {
                    let word = self.slots[at(slot)].view();
                    (word.epoch() == epoch && word.phase() == Phase::Ready).then_some(epoch)
                } else {
                    next.slot(slot).run(|state| state.steal(epoch))
                };
                match stolen {
                    Some(epoch) => {
                        let thief = &mut next.workers[worker];
                        thief.batch[0] = Claim::new(slot as u32, epoch).raw();
                        thief.at = At::StoreClaim;
                    }
                    None => next.workers[worker] = Worker::default(),
                }
                step("steal", next);
            }
            At::ReadEpoch => {
                let word = self.slots[at(slot)].view();
                if !matches!(word.phase(), Phase::Ready | Phase::Doomed) {
                    return Err(format!("popped index {slot} in phase {:?}", word.phase()));
                }
                let popper = &mut next.workers[worker];
                popper.batch[me.len as usize] = Claim::new(slot as u32, word.epoch()).raw();
                popper.hand = false;
                popper.at = At::StoreClaim;
                step("read the epoch", next);
            }
            At::StoreClaim => {
                if !config.is(Mutation::ClaimAfterStart) {
                    next.claims[worker * SEATS + me.len as usize] = me.batch[me.len as usize];
                }
                let popper = &mut next.workers[worker];
                popper.len += 1;
                popper.seen = 0;
                popper.slot = 0;
                popper.at = if popper.len == config.batch { At::Start } else { At::Idle };
                step("publish the claim", next);
            }
            At::Start => {
                let slot = claim.index() as u8;
                let epoch = if config.is(Mutation::StartRereads) { self.slots[at(slot)].view().epoch() } else { claim.epoch() };
                next.workers[worker].slot = slot;
                match next.slot(slot).run(|state| state.start(epoch)) {
                    Start::Running(mut word) => {
                        if config.is(Mutation::StartWithoutBump) {
                            word = word.with_epoch(epoch);
                            next.slot(slot).word = word.raw();
                        }
                        next.started(worker, word)?;
                        if config.is(Mutation::ClaimAfterStart) {
                            next.go(worker, At::StoreClaimLate);
                        }
                    }
                    Start::Doomed => next.go(worker, At::Dispose),
                    Start::Moved => next.next_claim(worker),
                }
                step("start", next);
                self.other_starts(config, worker, claim, &mut step)?;
            }
            At::StoreClaimLate => {
                next.claims[worker * SEATS + me.cur as usize] = claim.raw();
                next.go(worker, At::Read);
                step("publish the claim late", next);
            }
            At::Dispose => {
                let word = self.slots[at(slot)].view();
                match next.slot(slot).run(|state| state.dispose(claim.epoch())) {
                    Dispose::Owner(_) => next.owns_dead(worker),
                    Dispose::Left(_) if config.is(Mutation::DisposeReclaims) => {
                        next.slot(slot).word = word.with_phase(Phase::Free).raw();
                        next.owns_dead(worker);
                    }
                    Dispose::Left(_) | Dispose::Moved => next.next_claim(worker),
                }
                step("dispose", next);
            }
            At::Read => {
                if self.slots[at(slot)].payload != me.job {
                    return Err(format!("reads the payload of job {} in slot {slot}, finds {}", me.job, self.slots[at(slot)].payload));
                }
                next.go(worker, At::Settle);
                step("read the payload", next);
            }
            At::Settle => self.settle(config, worker, &mut step)?,
            At::SettleStore(choice) => {
                // the mutation: the word as it was seen, settled, stored over the word as it is
                next.slot(slot).word = me.seen;
                let settled =
                    next.slot(slot).run(|state| state.settle(Epoch::from_raw(me.lease), |word| Self::decide(config, choice, word)));
                next.settled(config, worker, settled.map_err(|stale| format!("{stale:?}"))?)?;
                step("settle by store", next);
            }
            At::Leave => {
                if config.is(Mutation::StaleNeverLeaves) {
                    next.next_claim(worker);
                } else {
                    if self.slots[at(slot)].view().holders() == 0 {
                        return Err(format!("leaves slot {slot} without holding it"));
                    }
                    match next.slot(slot).run(SlotState::leave) {
                        _ if config.is(Mutation::LeaveRereads) => next.go(worker, At::LeaveAgain),
                        Leave::Owner(_) => next.owns_dead(worker),
                        Leave::NotLast => next.next_claim(worker),
                    }
                }
                step("leave", next);
            }
            At::LeaveAgain => {
                let word = self.slots[at(slot)].view();
                if word.phase() == Phase::Zombie && word.holders() == 0 {
                    next.owns_dead(worker);
                } else {
                    next.next_claim(worker);
                }
                step("look again after leaving", next);
            }
            At::Push => {
                next.push_lane(slot)?;
                next.next_claim(worker);
                step("push", next);
            }
            At::SettleAfterPush => {
                match next.slot(slot).run(|state| state.settle(Epoch::from_raw(me.lease), |_| Next::Ready { spend_failure: true })) {
                    Ok(_) => next.next_claim(worker),
                    Err(_) => next.go(worker, At::Leave),
                }
                step("settle after the push", next);
            }
            At::Drop => {
                next.drop_payload(slot)?;
                next.go(worker, At::Free);
                step("drop the payload", next);
            }
            At::Free => {
                next.push_free(slot)?;
                next.next_claim(worker);
                step("free", next);
            }
            At::Mail => {
                let before = self.slots[at(slot)].mail;
                next.slot(slot).mail |= HANDOVER;
                if before == 0 {
                    next.workers[worker].hand = false;
                    next.go(worker, At::Post);
                } else {
                    next.next_claim(worker);
                }
                step("raise the handover flag", next);
            }
            At::Post => {
                next.push_inbox(slot)?;
                next.next_claim(worker);
                step("post", next);
            }
        }
        Ok(())
    }

    /// What a worker may do with an unstarted claim besides starting it.
    fn other_starts(&self, config: &Config, worker: usize, claim: Claim, step: &mut impl FnMut(&'static str, State)) -> Result<(), Broken> {
        let slot = claim.index() as u8;
        let word = self.slots[at(slot)].view();
        if self.ttl > 0 {
            let mut next = *self;
            next.ttl -= 1;
            next.workers[worker].slot = slot;
            match next.slot(slot).run(|state| state.end_claimed(claim.epoch(), Fate::Expired)) {
                Dispose::Moved => next.next_claim(worker),
                outcome => {
                    if word.phase() == Phase::Ready {
                        next.end(slot, Fate::Expired)?;
                    }
                    if matches!(outcome, Dispose::Owner(_)) { next.owns_dead(worker) } else { next.next_claim(worker) }
                }
            }
            step("drop unstarted, too old", next);
        }
        if self.returns > 0 && word.epoch() == claim.epoch() && word.phase() == Phase::Ready {
            let mut next = *self;
            next.returns -= 1;
            next.workers[worker].slot = slot;
            if !config.is(Mutation::ReturnWithoutBump) {
                next.slot(slot).run(|state| state.take_back(claim.epoch()));
            }
            next.workers[worker].hand = true;
            next.go(worker, At::Push);
            step("give back unstarted", next);
        }
        Ok(())
    }

    fn settle(&self, config: &Config, worker: usize, step: &mut impl FnMut(&'static str, State)) -> Result<(), Broken> {
        let me = self.workers[worker];
        let slot = me.slot;
        let word = self.slots[at(slot)].view();
        let mut lease = Epoch::from_raw(me.lease);
        let current = word.phase() == Phase::Running && word.epoch() == lease;
        if config.is(Mutation::LateSettle) && word.phase() == Phase::Running {
            lease = word.epoch();
        }
        let choices: &[(u8, &'static str)] = match (config.nack, config.delay) {
            (false, _) => &[(0, "acknowledge")],
            (true, false) => &[(0, "acknowledge"), (1, "fail")],
            (true, true) => &[(0, "acknowledge"), (1, "fail"), (2, "fail, delayed")],
        };
        for &(choice, what) in choices {
            let mut next = *self;
            if config.is(Mutation::SettleByStore) && current {
                next.workers[worker].seen = word.raw();
                next.go(worker, At::SettleStore(choice));
                step("look before settling", next);
                continue;
            }
            if config.is(Mutation::NackPushesFirst)
                && choice == 1
                && current
                && word.failures() < config.max_failures
                && !word.is_cancelled()
            {
                next.push_lane(slot)?;
                next.go(worker, At::SettleAfterPush);
                step("push before settling", next);
                continue;
            }
            match next.slot(slot).run(|state| state.settle(lease, |word| Self::decide(config, choice, word))) {
                Ok(settled) => {
                    if !current {
                        return Err(format!("settles slot {slot} in {word:?} with the lease e{}", me.lease));
                    }
                    if config.is(Mutation::AckKeepsHolder) && choice == 0 {
                        next.slot(slot).word = word.with_phase(Phase::Zombie).raw();
                        next.end(slot, Fate::Acked)?;
                        next.next_claim(worker);
                    } else {
                        next.settled(config, worker, settled)?;
                    }
                    step(what, next);
                }
                Err(Stale(_)) => {
                    next.go(worker, At::Leave);
                    step("settle too late", next);
                    break;
                }
            }
        }
        if self.extends > 0 {
            let mut next = *self;
            next.extends -= 1;
            let outcome = if config.is(Mutation::ExtendWithoutBump) {
                if current { Ok(lease) } else { Err(Stale(word)) }
            } else {
                next.slot(slot).run(|state| state.extend(lease))
            };
            match outcome {
                Ok(fresh) => {
                    next.slot(slot).began = self.clock;
                    next.workers[worker].lease = fresh.raw();
                    next.go(worker, At::Read);
                }
                Err(_) => next.go(worker, At::Leave),
            }
            step("extend", next);
        }
        Ok(())
    }

    // ---- the timer ----

    /// After one seat, or one piece of mail.
    fn timer_next(&mut self, config: &Config) {
        let timer = &mut self.timer;
        (timer.hand, timer.slot, timer.claim, timer.seen) = (false, 0, 0, 0);
        timer.at = TimerAt::Idle;
        if timer.sweeping {
            timer.seat += 1;
            if config.batch == 1 && timer.seat as usize % SEATS == 1 {
                timer.seat += 1;
            }
            timer.at = if (timer.seat as usize) < SEATS * config.workers { TimerAt::LoadClaim } else { TimerAt::EndSweep };
        }
    }

    fn over(&self, config: &Config) -> bool {
        let ended = self.fates[..config.jobs as usize].iter().all(|&fate| fate != 0);
        ended && (!config.halt || self.free == (1 << config.slots) - 1)
    }

    fn timer(&self, config: &Config, out: &mut Successors) -> Result<(), Broken> {
        let me = self.timer;
        let slot = me.slot;
        let mut next = *self;
        let mut step = |what: &'static str, next: State| out.push(("timer", what, next));
        match me.at {
            TimerAt::Idle => {
                if me.sweeps < config.sweeps && !self.over(config) {
                    next.clock += 1;
                    let now = next.clock;
                    next.timer = Timer { now, sweeps: me.sweeps + 1, seat: 0, sweeping: true, at: TimerAt::LoadClaim, ..me };
                    step("begin a sweep", next);
                }
                for posted in bits(self.inbox, config) {
                    let mut next = *self;
                    next.inbox &= !(1 << posted);
                    (next.timer.slot, next.timer.at) = (posted, TimerAt::TakeMail);
                    step("take from the inbox", next);
                }
                for due in bits(me.wheel, config) {
                    let mut next = *self;
                    next.timer.wheel &= !(1 << due);
                    (next.timer.slot, next.timer.hand, next.timer.at) = (due, true, TimerAt::Fire);
                    step("unlink from the wheel", next);
                }
            }
            TimerAt::LoadClaim => {
                let claim = Claim::from_raw(self.claims[me.seat as usize]);
                if claim.is_none() {
                    next.timer_next(config);
                } else {
                    (next.timer.claim, next.timer.slot, next.timer.at) = (claim.raw(), claim.index() as u8, TimerAt::LoadWord);
                }
                step("load a claim", next);
            }
            TimerAt::LoadWord => {
                let word = self.slots[at(slot)].view();
                next.sight(config, word);
                step("load the word", next);
            }
            TimerAt::Expire => {
                let sight = me.sights[me.seat as usize];
                let word = self.slots[at(slot)].view();
                let mut lease = Epoch::from_raw(sight.epoch);
                if config.is(Mutation::SightWithoutEpoch) {
                    lease = word.epoch();
                }
                match next.slot(slot).run(|state| state.expire(lease, config.max_expiries)) {
                    Expire::Lost(_) => next.timer_next(config),
                    outcome => {
                        if self.expiry_is_early(config, slot) {
                            return Err(format!("the lease of slot {slot} at {lease:?} expires too early"));
                        }
                        if config.is(Mutation::ExpireDropsHolder) {
                            let word = next.slots[at(slot)].view();
                            next.slot(slot).word = word.with_holders(word.holders() - 1).raw();
                        }
                        match outcome {
                            Expire::Ready(_) => (next.timer.hand, next.timer.at) = (true, TimerAt::Push),
                            Expire::Buried(word) => {
                                next.end(slot, word.fate())?;
                                if config.is(Mutation::BuriedReclaims) {
                                    next.drop_payload(slot)?;
                                }
                                next.timer_next(config);
                            }
                            Expire::Lost(_) => unreachable!(),
                        }
                    }
                }
                step("expire", next);
            }
            TimerAt::TakeBack => {
                let claim = Claim::from_raw(me.claim).epoch();
                let taken = if config.is(Mutation::TakeBackWithoutBump) {
                    let word = self.slots[at(slot)].view();
                    word.epoch() == claim && matches!(word.phase(), Phase::Ready | Phase::Doomed)
                } else {
                    next.slot(slot).run(|state| state.take_back(claim)).is_some()
                };
                if taken {
                    (next.timer.hand, next.timer.at) = (true, TimerAt::Push);
                } else {
                    next.timer_next(config);
                }
                step("take back", next);
            }
            TimerAt::Push => {
                next.push_lane(slot)?;
                next.timer_next(config);
                step("push", next);
            }
            TimerAt::EndSweep => {
                next.clock += 1;
                let stamp = if config.is(Mutation::StampFromSweepBegin) { me.now } else { next.clock };
                for sight in next.timer.sights.iter_mut().filter(|sight| sight.fresh) {
                    (sight.stamp, sight.fresh) = (stamp, false);
                }
                for (index, slot) in self.slots.iter().enumerate() {
                    if slot.view().phase() == Phase::Running && slot.began + 1 + 2 * config.lease <= me.now {
                        return Err(format!("the lease of slot {index} at {:?} is overdue by two sweeps", slot.view().epoch()));
                    }
                }
                (next.timer.seat, next.timer.sweeping, next.timer.at) = (0, false, TimerAt::Idle);
                if me.sweeps == config.sweeps {
                    (next.timer.sights, next.timer.now) = (Default::default(), 0);
                }
                step("end the sweep", next);
            }
            TimerAt::TakeMail => {
                let mail = self.slots[at(slot)].mail;
                next.slot(slot).mail = 0;
                let mine = mail & HANDOVER != 0 || config.is(Mutation::OneFlag) || me.wheel >> slot & 1 != 0;
                if mine {
                    next.timer.wheel &= !(1 << slot);
                    (next.timer.hand, next.timer.at) = (true, TimerAt::Look);
                } else {
                    next.timer_next(config);
                }
                step("take the flags", next);
            }
            TimerAt::Look => {
                match self.slots[at(slot)].view().phase() {
                    Phase::Doomed => next.timer.at = TimerAt::Push,
                    Phase::Delayed => {
                        next.timer.wheel |= 1 << slot;
                        next.timer_next(config);
                    }
                    other => return Err(format!("owns index {slot} in phase {other:?}")),
                }
                step("look at the word", next);
            }
            TimerAt::Fire => {
                let word = self.slots[at(slot)].view();
                if !matches!(word.phase(), Phase::Delayed | Phase::Doomed) {
                    return Err(format!("fires index {slot} in phase {:?}", word.phase()));
                }
                if config.is(Mutation::FireByStore) && word.phase() == Phase::Delayed {
                    (next.timer.seen, next.timer.at) = (word.with_phase(Phase::Ready).raw(), TimerAt::FireStore);
                } else {
                    let (Fire::Ready(_) | Fire::Doomed(_)) = next.slot(slot).run(SlotState::fire);
                    next.timer.at = TimerAt::Push;
                }
                step("fire", next);
            }
            TimerAt::FireStore => {
                next.slot(slot).word = me.seen;
                next.timer.at = TimerAt::Push;
                step("fire by store", next);
            }
        }
        Ok(())
    }

    /// Compares what lies at the claimed slot with what was seen there before, and ages it.
    ///
    /// A running lease is known by the epoch in the *word*, not by the claim: an extension needs no new claim.
    fn sight(&mut self, config: &Config, word: Word) {
        let timer = &mut self.timer;
        let claim = Claim::from_raw(timer.claim);
        let unstarted = word.epoch() == claim.epoch() && matches!(word.phase(), Phase::Ready | Phase::Doomed);
        let running = word.phase() == Phase::Running;
        let known = !config.is(Mutation::SightByClaim) || word.epoch() == claim.epoch().next();
        let mut found = Sight { slot: timer.slot, ..Sight::default() };
        if running && known {
            (found.kind, found.epoch) = (RUNS, word.epoch().raw());
        } else if unstarted {
            (found.kind, found.epoch) = (WAITS, claim.epoch().raw());
            if config.is(Mutation::AgeFromClaim) {
                // the claim is taken for the beginning of the lease
                (found.kind, found.epoch) = (RUNS, claim.epoch().next().raw());
            }
        }
        if config.is(Mutation::SightWithoutEpoch) {
            found.epoch = 0;
        }
        let sight = &mut timer.sights[timer.seat as usize];
        let same = (found.kind, found.slot, found.epoch) == (sight.kind, sight.slot, sight.epoch);
        if !same {
            *sight = Sight { fresh: found.kind != 0, ..found };
        }
        let old = same && timer.now - sight.stamp >= config.lease;
        if old && running && known {
            timer.at = TimerAt::Expire;
        } else if old && unstarted && !config.is(Mutation::NoTakeBack) {
            timer.at = TimerAt::TakeBack;
        } else {
            self.timer_next(config);
        }
    }

    // ---- the canceller ----

    fn canceller(&self, config: &Config, out: &mut Successors) -> Result<(), Broken> {
        let me = self.canceller;
        let slot = me.slot;
        let idle = Canceller { left: me.left, ..Canceller::default() };
        let mut next = *self;
        let mut step = |what: &'static str, next: State| out.push(("canceller", what, next));
        match me.at {
            CancelAt::Idle if me.left > 0 => {
                for (job, &lies) in (1..).zip(&self.lies).filter(|&(_, &lies)| lies != 0) {
                    let mut next = *self;
                    next.canceller = Canceller { at: CancelAt::LoadWord, left: me.left - 1, job, slot: lies - 1, word: 0 };
                    step("choose a job", next);
                }
            }
            CancelAt::Idle => {}
            CancelAt::LoadWord => {
                (next.canceller.word, next.canceller.at) = (self.slots[at(slot)].word, CancelAt::LoadId);
                step("load the word", next);
            }
            CancelAt::LoadId => {
                let mine = self.slots[at(slot)].id == me.job || config.is(Mutation::CancelWithoutId);
                next.canceller = if mine { Canceller { at: CancelAt::Cas, ..me } } else { idle };
                step("load the id", next);
            }
            CancelAt::Cas => {
                let before = self.slots[at(slot)];
                let outcome = next.slot(slot).run(|state| state.cancel(Word::from_raw(me.word), Fate::Cancelled));
                next.canceller = idle;
                match outcome {
                    CancelStep::Retry(word) => next.canceller = Canceller { at: CancelAt::LoadId, word: word.raw(), ..me },
                    CancelStep::Gone => {}
                    _ if before.payload != me.job => return Err(format!("the cancel of job {} hits job {}", me.job, before.payload)),
                    CancelStep::Flagged => {}
                    CancelStep::Doomed | CancelStep::DoomedDelayed => {
                        next.end(slot, Fate::Cancelled)?;
                        if outcome == CancelStep::DoomedDelayed {
                            next.canceller = Canceller { at: CancelAt::Mail, ..me };
                        } else if config.is(Mutation::CancelReclaims) && before.view().holders() == 0 {
                            next.drop_payload(slot)?;
                            next.slot(slot).word = next.slots[at(slot)].view().with_phase(Phase::Free).raw();
                            next.push_free(slot)?;
                        }
                    }
                }
                step("cancel", next);
            }
            CancelAt::Mail => {
                let before = self.slots[at(slot)].mail;
                next.slot(slot).mail |= POKE;
                next.canceller = if before == 0 { Canceller { at: CancelAt::Post, ..me } } else { idle };
                step("raise the poke flag", next);
            }
            CancelAt::Post => {
                next.push_inbox(slot)?;
                next.canceller = idle;
                step("post", next);
            }
        }
        Ok(())
    }

    // ---- the producer ----

    fn producer(&self, config: &Config, out: &mut Successors) -> Result<(), Broken> {
        let me = self.producer;
        let slot = me.slot;
        let mut next = *self;
        let done = Producer { published: me.published + 1, ..Producer::default() };
        let mut step = |what: &'static str, next: State| out.push(("producer", what, next));
        match me.at {
            ProducerAt::Idle => {
                if me.published < config.jobs {
                    for free in bits(self.free, config) {
                        let mut next = *self;
                        next.free &= !(1 << free);
                        next.producer = Producer { at: ProducerAt::Write, slot: free, hand: true, ..me };
                        step("take a free index", next);
                    }
                }
            }
            ProducerAt::Write => {
                if self.slots[at(slot)].payload != 0 {
                    return Err(format!("writes over the payload of slot {slot}"));
                }
                if (0..WORKERS).any(|worker| self.inside(worker, slot)) {
                    return Err(format!("writes slot {slot} under the eyes of a holder"));
                }
                (next.slot(slot).payload, next.slot(slot).id) = (me.published + 1, me.published + 1);
                next.producer.at = ProducerAt::Fill;
                step("write payload and id", next);
            }
            ProducerAt::Fill => {
                let word = self.slots[at(slot)].view();
                if word.holders() != 0 || !matches!(word.phase(), Phase::Free | Phase::Zombie) {
                    return Err(format!("fills slot {slot} in {word:?}"));
                }
                next.slot(slot).began = 0;
                next.lies[me.published as usize] = slot + 1;
                if config.delayed_publish {
                    let mut next = next;
                    next.slot(slot).run(|state| state.fill_delayed(0));
                    next.producer.at = ProducerAt::Mail;
                    step("fill, delayed", next);
                }
                next.slot(slot).run(|state| state.fill(0));
                if config.is(Mutation::FillWithoutBump) {
                    let filled = next.slots[at(slot)].view();
                    next.slot(slot).word = filled.with_epoch(word.epoch()).raw();
                }
                next.producer.at = ProducerAt::Push;
                step("fill", next);
            }
            ProducerAt::Push => {
                next.push_lane(slot)?;
                next.producer = done;
                step("push", next);
            }
            ProducerAt::Mail => {
                let before = self.slots[at(slot)].mail;
                next.slot(slot).mail |= HANDOVER;
                next.producer = if before == 0 { Producer { hand: false, at: ProducerAt::Post, ..me } } else { done };
                step("raise the handover flag", next);
            }
            ProducerAt::Post => {
                next.push_inbox(slot)?;
                next.producer = done;
                step("post", next);
            }
        }
        Ok(())
    }

    // ---- the oracles of states ----

    /// Every index is in exactly one place, and the holders are those who are inside.
    pub fn check_places(&self, config: &Config) -> Result<(), Broken> {
        if config.is(Mutation::NackPushesFirst) {
            return Ok(());
        }
        for index in 0..config.slots {
            let slot = &self.slots[at(index)];
            let word = slot.view();
            let mut places = Vec::with_capacity(4);
            let mut place = |there: bool, name: &'static str| {
                if there {
                    places.push(name);
                }
            };
            place(self.free >> index & 1 != 0, "free list");
            place(self.lane >> index & 1 != 0, "lane");
            place(self.timer.wheel >> index & 1 != 0, "wheel");
            place(self.timer.hand && self.timer.slot == index, "timer's hand");
            place(self.producer.hand && self.producer.slot == index, "producer's hand");
            place(slot.mail & HANDOVER != 0, "inbox");
            place(word.phase() == Phase::Running, "lease");
            place(word.phase() == Phase::Zombie && word.holders() > 0, "last holder");
            for (worker, name) in self.workers.iter().zip(NAMES) {
                place(worker.hand && worker.slot == index, name);
                let stolen = worker.at == At::StoreClaim;
                let first = if matches!(worker.at, At::Idle | At::ReadEpoch | At::StoreClaim | At::Start | At::Dispose) { 0 } else { 1 };
                for &claim in &worker.batch[(worker.cur + first) as usize..(worker.len + u8::from(stolen)) as usize] {
                    let claim = Claim::from_raw(claim);
                    let live = claim.index() == index as u32 && claim.epoch() == word.epoch();
                    place(live && matches!(word.phase(), Phase::Ready | Phase::Doomed), "live claim");
                }
            }
            if places.len() != 1 {
                return Err(format!("index {index} ({word:?}) is in {} places: {places:?}", places.len()));
            }
            let inside = (0..WORKERS).filter(|&worker| self.inside(worker, index)).count() as u32;
            if inside != word.holders() {
                return Err(format!("slot {index} counts {} holders, {inside} are inside", word.holders()));
            }
        }
        Ok(())
    }

    /// Nobody can take another step: everything must be over, except what a halted worker may keep.
    pub fn check_end(&self, config: &Config) -> Result<(), Broken> {
        if self.workers[0].halted {
            return self.check_stranded(config);
        }
        if self.producer.published < config.jobs {
            return Err("an index is lost: the producer starves".into());
        }
        if let Some(job) = self.fates[..config.jobs as usize].iter().position(|&fate| fate == 0) {
            return Err(format!("job {} has no outcome", job + 1));
        }
        if self.free != (1 << config.slots) - 1 {
            return Err(format!("an index is lost: free is {:b}", self.free));
        }
        if self.slots.iter().any(|slot| slot.payload != 0 || slot.view().holders() != 0 || slot.mail != 0) {
            return Err("a slot is left in disorder".into());
        }
        Ok(())
    }

    /// A worker that stops for ever may keep what it has in its hand, a zombie it holds, and the windows named in the essay; nothing else.
    fn check_stranded(&self, config: &Config) -> Result<(), Broken> {
        let worker = &self.workers[0];
        for index in bits(!self.free, config) {
            let slot = &self.slots[at(index)];
            let keeps = worker.hand && worker.slot == index
                || self.inside(0, index) && slot.view().phase() == Phase::Zombie
                || worker.at == At::Post && slot.mail != 0
                || worker.at == At::StoreClaim && Claim::from_raw(worker.batch[worker.len as usize]).index() == index as u32;
            let had_time = self.sweeps_at_halt + 3 <= config.sweeps;
            if !keeps && had_time {
                return Err(format!("slot {index} is stranded in {:?} by a worker that stopped at {:?}", slot.view(), worker.at));
            }
        }
        Ok(())
    }

    /// One line per slot, for traces.
    pub fn describe(&self, config: &Config) -> String {
        let slot = |slot: &Slot| {
            let word = slot.view();
            let cancelled = if word.is_cancelled() { " cancelled" } else { "" };
            format!("{:?}({:?} h{}{cancelled}) job {}", word.phase(), word.epoch(), word.holders(), slot.payload)
        };
        self.slots[..config.slots as usize].iter().map(slot).collect::<Vec<_>>().join(" | ")
    }
}
