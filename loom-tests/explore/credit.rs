//! Credits, every interleaving: the stack of chains, the accounts, the line of waiters.
//!
//! Sets of indices are bit masks. Threads 0..3 are producers, thread 3 is the worker; each has an account. One step is one access to something
//! shared; stack and line are atomic here (loom looks inside them). Checked in every state: each index is in exactly one place. Checked where
//! nothing can move: nobody sleeps while an index is free, and with a worker nobody sleeps at all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

const THREADS: usize = 4;
const WORKER: usize = 3;
const STATES_MAX: usize = 6_000_000;

/// The worker settles whatever there is.
const ENDLESS: u8 = u8::MAX;

/// A set of indices.
type Set = u8;

/// What a mutated protocol does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutation {
    /// The protocol as it is.
    None,
    /// Nobody else's account is ever emptied.
    NoRevocation,
    /// Producers' accounts are, the worker's is not.
    WorkerKeeps,
    /// A waiter parks right after it joined the line.
    NoRescan,
    /// A waiter looks at the stack again, but not at the accounts.
    RescanStackOnly,
    /// The rest of a refill is put away without a look for waiters.
    RefillNoLook,
    /// The look comes before the deposit.
    LookFirst,
    /// What nobody in the line wanted goes to the stack, and that is that.
    NoLastLook,
    /// A cancelled waiter forgets the grant that came first.
    CancelLeaks,
    /// A cancelled waiter puts the grant back without a look.
    CancelSilent,
    /// Who served a waiter stops, though the stack may still hold what the same look was for.
    StopsEarly,
}

#[derive(Debug, Clone, Copy)]
struct Config {
    name: &'static str,
    indices: u8,
    /// The chains on the stack at first, top last.
    stack: [Set; 3],
    accounts: [Set; THREADS],
    occupied: Set,
    /// How many credits each producer wants.
    wants: [u8; 3],
    /// Every parked producer but the second may be told to leave at any time.
    cancels: bool,
    /// How many indices the worker settles before it is busy for ever.
    settles: u8,
    /// A refill keeps its rest in the own account; otherwise it goes back to the stack.
    keeps: bool,
    /// The worker settles all there is before it looks for waiters once, and its account holds one: it spills.
    batch: bool,
    mutation: Mutation,
}

const BASE: Config = Config {
    name: "",
    indices: 1,
    stack: [0; 3],
    accounts: [0; THREADS],
    occupied: 0,
    wants: [2, 2, 0],
    cancels: false,
    settles: ENDLESS,
    keeps: true,
    batch: false,
    mutation: Mutation::None,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Step {
    #[default]
    Begin,
    TakeOwn,
    PopStack,
    Revoke,
    Join,
    RescanStack,
    RescanAccounts,
    /// The waiter leaves the line with what the scan found.
    LeaveWith,
    Parked,
    Cancel,
    LookFirst,
    PutAway,
    Spill,
    Look,
    TakeBack,
    NextWaiter,
    Grant,
    PushUnwanted,
    LookAgain,
    PopForLine,
    Use,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Waiting {
    #[default]
    No,
    Yes,
    Granted(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Thread {
    at: Step,
    wants: u8,
    /// Indices on the way from one place to another.
    hand: Set,
    /// The credit the current operation is about.
    got: Option<u8>,
    /// The account to be looked at next.
    scan: u8,
    /// The waiter taken from the line, about to be granted.
    serves: Option<u8>,
    waiting: Waiting,
    /// What the look before the deposit said (a mutation).
    saw_waiters: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct World {
    /// Chains, top last; 0 is no chain.
    stack: [Set; 3],
    accounts: [Set; THREADS],
    occupied: Set,
    /// Waiting threads plus one, head first; 0 is nobody.
    line: [u8; 3],
    threads: [Thread; THREADS],
}

fn lowest(set: Set) -> u8 {
    set.trailing_zeros() as u8
}

impl World {
    fn new(config: &Config) -> Self {
        let mut world = World { stack: config.stack, accounts: config.accounts, occupied: config.occupied, ..World::default() };
        for (thread, wants) in world.threads.iter_mut().zip(config.wants) {
            thread.wants = wants;
        }
        world.threads[WORKER].wants = config.settles;
        world
    }

    fn push(&mut self, chain: Set) {
        let free = self.stack.iter().position(|&chain| chain == 0).expect("as many chains as indices at most");
        self.stack[free] = chain;
    }

    fn pop(&mut self) -> Set {
        self.stack.iter_mut().rev().find(|chain| **chain != 0).map_or(0, std::mem::take)
    }

    fn someone_waits(&self) -> bool {
        self.line[0] != 0
    }

    fn leave_line(&mut self, thread: usize) {
        if let Some(at) = self.line.iter().position(|&waiter| waiter == thread as u8 + 1) {
            self.line[at..].rotate_left(1);
            self.line[2] = 0;
        }
    }

    /// One index of the hand is the one that was wanted, if one still is.
    fn keep_one(&mut self, me: usize) {
        let thread = &mut self.threads[me];
        if me != WORKER && thread.got.is_none() {
            let index = lowest(thread.hand);
            thread.got = Some(index);
            thread.hand &= !(1 << index);
        }
    }

    fn finish(&mut self, me: usize) {
        let thread = &mut self.threads[me];
        debug_assert_eq!(thread.hand, 0);
        thread.scan = 0;
        thread.at = if thread.got.is_some() { Step::Use } else { Step::Begin };
    }

    /// A refill or a revocation found something; so did a worker that settled.
    fn deposit_rest(&mut self, config: &Config, me: usize) {
        self.threads[me].scan = 0;
        if self.threads[me].hand == 0 {
            self.finish(me);
        } else {
            self.threads[me].at = if config.mutation == Mutation::LookFirst { Step::LookFirst } else { Step::PutAway };
        }
    }

    /// Whether `me` may empty the account of `other`.
    fn revokes(config: &Config, me: usize, other: usize) -> bool {
        let spared = match config.mutation {
            Mutation::NoRevocation => true,
            Mutation::WorkerKeeps => other == WORKER,
            _ => false,
        };
        other != me && !spared
    }

    /// Empties the account that is next in the scan. False: the scan is over.
    fn scan_next(&mut self, config: &Config, me: usize) -> bool {
        let other = self.threads[me].scan as usize;
        if other == THREADS {
            return false;
        }
        self.threads[me].scan += 1;
        if Self::revokes(config, me, other) {
            self.threads[me].hand = std::mem::take(&mut self.accounts[other]);
        }
        true
    }

    /// All that thread `me` may do next, one world each.
    fn successors(&self, config: &Config, me: usize, out: &mut Vec<World>) {
        let before = self.threads[me];
        match before.at {
            Step::Begin if me == WORKER => {
                for index in (0..config.indices).filter(|index| before.wants > 0 && self.occupied >> index & 1 != 0) {
                    let mut next = *self;
                    next.settle(me, index);
                    next.deposit_rest(config, me);
                    out.push(next);
                }
            }
            Step::Begin if before.wants == 0 => {}
            Step::Parked => self.parked(config, me, out),
            _ => {
                let mut next = *self;
                next.step(config, me);
                out.push(next);
            }
        }
    }

    fn parked(&self, config: &Config, me: usize, out: &mut Vec<World>) {
        if let Waiting::Granted(index) = self.threads[me].waiting {
            let mut next = *self;
            next.threads[me].waiting = Waiting::No;
            next.threads[me].got = Some(index);
            next.finish(me);
            out.push(next);
        }
        if config.cancels && me != 1 {
            let mut next = *self;
            next.threads[me].at = Step::Cancel;
            out.push(next);
        }
    }

    fn step(&mut self, config: &Config, me: usize) {
        let before = self.threads[me];
        match before.at {
            Step::Begin => {
                self.threads[me].wants -= 1;
                self.threads[me].at = Step::TakeOwn;
            }
            Step::TakeOwn => {
                if self.accounts[me] == 0 {
                    self.threads[me].at = Step::PopStack;
                } else {
                    let index = lowest(self.accounts[me]);
                    self.accounts[me] &= !(1 << index);
                    self.threads[me].got = Some(index);
                    self.finish(me);
                }
            }
            Step::PopStack => {
                self.threads[me].hand = self.pop();
                if self.threads[me].hand == 0 {
                    self.threads[me].at = Step::Revoke;
                } else {
                    self.keep_one(me);
                    self.deposit_rest(config, me);
                }
            }
            Step::Revoke => {
                if !self.scan_next(config, me) {
                    self.threads[me].scan = 0;
                    self.threads[me].at = Step::Join;
                } else if self.threads[me].hand != 0 {
                    self.keep_one(me);
                    self.deposit_rest(config, me);
                }
            }
            Step::Join => {
                let end = self.line.iter().position(|&waiter| waiter == 0).expect("three producers at most");
                self.line[end] = me as u8 + 1;
                self.threads[me].waiting = Waiting::Yes;
                self.threads[me].at = if config.mutation == Mutation::NoRescan { Step::Parked } else { Step::RescanStack };
            }
            Step::RescanStack => {
                self.threads[me].hand = self.pop();
                self.threads[me].at = match (self.threads[me].hand, config.mutation) {
                    (0, Mutation::RescanStackOnly) => Step::Parked,
                    (0, _) => Step::RescanAccounts,
                    _ => Step::LeaveWith,
                };
            }
            Step::RescanAccounts => {
                if !self.scan_next(config, me) {
                    self.threads[me].scan = 0;
                    self.threads[me].at = Step::Parked;
                } else if self.threads[me].hand != 0 {
                    self.threads[me].scan = 0;
                    self.threads[me].at = Step::LeaveWith;
                }
            }
            Step::LeaveWith => {
                match before.waiting {
                    Waiting::Granted(index) => self.threads[me].got = Some(index),
                    _ => {
                        self.leave_line(me);
                        self.keep_one(me);
                    }
                }
                self.threads[me].waiting = Waiting::No;
                if self.threads[me].hand == 0 { self.finish(me) } else { self.threads[me].at = Step::NextWaiter }
            }
            Step::Cancel => self.cancel(config, me),
            Step::LookFirst => {
                self.threads[me].saw_waiters = self.someone_waits();
                self.threads[me].at = Step::PutAway;
            }
            Step::PutAway if me == WORKER && config.batch => {
                std::mem::swap(&mut self.accounts[me], &mut self.threads[me].hand);
                if self.threads[me].hand == 0 { self.next_of_batch(me) } else { self.threads[me].at = Step::Spill }
            }
            Step::Spill => {
                let older = std::mem::take(&mut self.threads[me].hand);
                self.push(older);
                self.next_of_batch(me);
            }
            Step::PutAway => {
                let hand = std::mem::take(&mut self.threads[me].hand);
                if config.keeps || me == WORKER {
                    self.accounts[me] |= hand
                } else {
                    self.push(hand)
                }
                if config.mutation == Mutation::RefillNoLook && me != WORKER { self.finish(me) } else { self.threads[me].at = Step::Look }
            }
            Step::Look => {
                let saw = std::mem::take(&mut self.threads[me].saw_waiters);
                let waits = if config.mutation == Mutation::LookFirst { saw } else { self.someone_waits() };
                if waits { self.threads[me].at = Step::TakeBack } else { self.finish(me) }
            }
            Step::TakeBack => {
                self.threads[me].hand = std::mem::take(&mut self.accounts[me]);
                self.threads[me].at = if self.threads[me].hand == 0 { Step::LookAgain } else { Step::NextWaiter };
            }
            Step::NextWaiter => {
                if self.someone_waits() {
                    self.threads[me].serves = Some(self.line[0] - 1);
                    self.leave_line(usize::from(self.line[0] - 1));
                    self.threads[me].at = Step::Grant;
                } else {
                    self.threads[me].at = Step::PushUnwanted;
                }
            }
            Step::Grant => {
                let waiter = usize::from(self.threads[me].serves.take().expect("taken from the line"));
                if self.threads[waiter].waiting == Waiting::Yes {
                    let index = lowest(self.threads[me].hand);
                    self.threads[waiter].waiting = Waiting::Granted(index);
                    self.threads[me].hand &= !(1 << index);
                }
                match (self.threads[me].hand, config.mutation) {
                    (0, Mutation::StopsEarly) => self.finish(me),
                    (0, _) => self.threads[me].at = Step::LookAgain,
                    _ => self.threads[me].at = Step::NextWaiter,
                }
            }
            Step::PushUnwanted => {
                let hand = std::mem::take(&mut self.threads[me].hand);
                self.push(hand);
                if config.mutation == Mutation::NoLastLook { self.finish(me) } else { self.threads[me].at = Step::LookAgain }
            }
            Step::LookAgain => {
                if self.someone_waits() {
                    self.threads[me].at = Step::PopForLine
                } else {
                    self.finish(me)
                }
            }
            Step::PopForLine => {
                self.threads[me].hand = self.pop();
                if self.threads[me].hand == 0 { self.finish(me) } else { self.threads[me].at = Step::NextWaiter }
            }
            Step::Use => {
                let index = self.threads[me].got.take().expect("got one");
                self.occupied |= 1 << index;
                self.threads[me].at = Step::Begin;
            }
            Step::Parked => unreachable!("has successors of its own"),
        }
    }

    /// The worker is done with a job.
    fn settle(&mut self, me: usize, index: u8) {
        self.occupied &= !(1 << index);
        self.threads[me].hand = 1 << index;
        if self.threads[me].wants != ENDLESS {
            self.threads[me].wants -= 1;
        }
    }

    /// The worker put one away: it settles another, or looks for waiters.
    fn next_of_batch(&mut self, me: usize) {
        if self.occupied == 0 || self.threads[me].wants == 0 {
            self.threads[me].at = Step::Look;
        } else {
            self.settle(me, lowest(self.occupied));
            self.threads[me].at = Step::PutAway;
        }
    }

    fn cancel(&mut self, config: &Config, me: usize) {
        let waiting = std::mem::take(&mut self.threads[me].waiting);
        match (waiting, config.mutation) {
            (Waiting::Granted(_), Mutation::CancelLeaks) => self.finish(me),
            (Waiting::Granted(index), Mutation::CancelSilent) => {
                self.push(1 << index);
                self.finish(me);
            }
            (Waiting::Granted(index), _) => {
                self.threads[me].hand = 1 << index;
                self.threads[me].at = Step::NextWaiter;
            }
            _ => {
                self.leave_line(me);
                self.finish(me);
            }
        }
    }

    /// Each index is in exactly one place.
    fn check(&self, config: &Config) -> Result<(), String> {
        for index in 0..config.indices {
            let here = |set: Set| u32::from(set >> index & 1);
            let shared: u32 = self.stack.iter().chain(&self.accounts).map(|&set| here(set)).sum();
            let private: u32 = self
                .threads
                .iter()
                .map(|thread| {
                    here(thread.hand) + u32::from(thread.got == Some(index)) + u32::from(thread.waiting == Waiting::Granted(index))
                })
                .sum();
            let places = shared + private + here(self.occupied);
            if places != 1 {
                return Err(format!("index {index} is in {places} places"));
            }
        }
        Ok(())
    }

    /// Nothing can move: does anyone sleep who should not?
    fn check_final(&self, config: &Config) -> Result<(), String> {
        let asleep = self.threads.iter().filter(|thread| thread.waiting != Waiting::No).count();
        let free = self.stack.iter().chain(&self.accounts).fold(0, |all, set| all | set);
        if asleep > 0 && free != 0 {
            return Err(format!("{asleep} asleep while {free:#b} is free"));
        }
        if asleep > 0 && config.settles == ENDLESS {
            return Err(format!("{asleep} asleep for ever"));
        }
        Ok(())
    }
}

/// How many states there are, or what went wrong and the steps that lead there.
fn explore(config: &Config) -> Result<usize, String> {
    let start = World::new(config);
    // per state: the state before it, and who stepped
    let mut found: HashMap<World, (World, u8)> = HashMap::from([(start, (start, u8::MAX))]);
    let mut frontier = vec![start];
    let mut successors = Vec::new();
    while let Some(world) = frontier.pop() {
        let mut stuck = true;
        for me in 0..THREADS {
            world.successors(config, me, &mut successors);
            for next in successors.drain(..) {
                stuck = false;
                if let Entry::Vacant(entry) = found.entry(next) {
                    entry.insert((world, me as u8));
                    next.check(config).map_err(|what| trace(&found, next, what))?;
                    frontier.push(next);
                }
            }
        }
        if stuck {
            world.check_final(config).map_err(|what| trace(&found, world, what))?;
        }
        assert!(found.len() < STATES_MAX, "{}: more than {STATES_MAX} states", config.name);
    }
    Ok(found.len())
}

fn trace(found: &HashMap<World, (World, u8)>, mut world: World, what: String) -> String {
    let mut steps = Vec::new();
    while let Some(&(before, me)) = found.get(&world).filter(|(_, me)| *me != u8::MAX) {
        steps.push(format!("{me} {:?}", before.threads[me as usize].at));
        world = before;
    }
    steps.reverse();
    format!("{what}: {}", steps.join("; "))
}

/// One index, taken; two producers that want it twice.
const ONE: Config = Config { name: "one index", occupied: 0b1, ..BASE };
/// Two in one chain: a refill has a rest.
const REFILL: Config = Config { name: "refill", indices: 2, stack: [0b11, 0, 0], ..BASE };
/// The idle third account holds an index.
const IDLE: Config = Config { name: "idle account", indices: 2, stack: [0b01, 0, 0], accounts: [0, 0, 0b10, 0], ..BASE };
/// One index, two that wait and one of them leaves; no producer beyond.
const CANCEL: Config = Config { name: "cancel", occupied: 0b1, cancels: true, ..BASE };
/// Both wait while two come back, and one may leave.
const CANCEL_TWO: Config = Config { name: "cancel, two indices", indices: 2, occupied: 0b11, cancels: true, ..BASE };
/// Three producers for one index.
const THREE: Config = Config { name: "three producers", occupied: 0b1, wants: [1, 1, 1], cancels: true, ..BASE };
/// No worker: what is free at first must be enough for as many.
const NO_WORKER: Config = Config { name: "no worker", indices: 3, stack: [0b111, 0, 0], wants: [1, 1, 1], settles: 0, ..BASE };
/// As above, and the rest of a refill goes back to the stack in chains.
const NO_WORKER_TIGHT: Config = Config { name: "no worker, tight", keeps: false, ..NO_WORKER };
/// Two chains on the stack and nothing cached.
const TIGHT: Config = Config { name: "tight", indices: 3, stack: [0b001, 0b110, 0], wants: [2, 1, 1], keeps: false, ..BASE };

/// Many deposits, one look: what was spilled to the stack needs it as much as what is in the account.
const BATCH: Config = Config { name: "batch", indices: 2, occupied: 0b11, batch: true, ..BASE };
/// As above, and then the worker never settles again: this look is the last one.
const LAST_BATCH: Config = Config { name: "last batch", wants: [1, 1, 0], settles: 2, ..BATCH };
const BATCH_CANCEL: Config =
    Config { name: "batch, cancel", indices: 2, occupied: 0b11, wants: [1, 1, 1], cancels: true, batch: true, ..BASE };

const ALL: [Config; 12] =
    [ONE, REFILL, IDLE, CANCEL, CANCEL_TWO, THREE, NO_WORKER, NO_WORKER_TIGHT, TIGHT, BATCH, LAST_BATCH, BATCH_CANCEL];

/// Everything at once. `cargo test --release --test explore credit -- --ignored --nocapture`
#[test]
#[ignore = "minutes, and gigabytes"]
fn big_configurations() {
    let big = [
        Config { name: "three that want two", indices: 2, stack: [0b11, 0, 0], wants: [2, 2, 1], cancels: true, ..BASE },
        Config { name: "three in a batch", indices: 3, occupied: 0b111, wants: [2, 1, 1], cancels: true, batch: true, ..BASE },
    ];
    for config in big {
        let states = explore(&config).unwrap_or_else(|what| panic!("{}: {what}", config.name));
        println!("credit, {}: {states} states", config.name);
    }
}

#[test]
fn no_credit_is_lost_doubled_or_slept_beside() {
    for config in ALL {
        let states = explore(&config).unwrap_or_else(|what| panic!("{}: {what}", config.name));
        println!("credit, {}: {states} states", config.name);
    }
}

/// The mutation must be caught by one of the configurations.
fn must_be_caught(mutation: Mutation) {
    let caught = ALL.iter().find_map(|config| Some((config.name, explore(&Config { mutation, ..*config }).err()?)));
    let (name, what) = caught.unwrap_or_else(|| panic!("{mutation:?} was not caught"));
    println!("credit, {mutation:?}, caught by {name}: {what}");
}

#[test]
fn every_mutation_is_caught() {
    use Mutation::*;
    for mutation in
        [NoRevocation, WorkerKeeps, NoRescan, RescanStackOnly, RefillNoLook, LookFirst, NoLastLook, CancelLeaks, CancelSilent, StopsEarly]
    {
        must_be_caught(mutation);
    }
}
