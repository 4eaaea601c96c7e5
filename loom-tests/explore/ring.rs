//! The index ring, every interleaving under sequential consistency: one shared access per step, depth first, visited states by fingerprint.
//!
//! The step machine below is `IndexRing` line by line, with the crate's own slot words. It sees what loom at its bounds does not: a tail that has
//! gone back, searches over several laps, livelock, and threads frozen for ever.
//!
//! Checked in every state: each index is in exactly one place; the filled tickets are a run from head, no longer than there are indices, with
//! nothing filled beyond it; tail never says more than is filled. On every pop: nothing comes out before a chain that was pushed completely before
//! its own push began. On every Empty: no chain whose push had returned before the call is left, and there was an instant in the call without a
//! filled slot. On the graph: no cycle, so no infinite run completes only finitely many calls (lock-freedom of that client); with `solo`, from every
//! state every thread finishes its call alone.
//!
//! A client is written `01:+2 -2 | -1 +1`: threads between bars; the indices a thread holds at first; `+k` pushes all it holds as chains of at most
//! k, in one batch; `-k` pops at most k indices.

#![allow(clippy::disallowed_methods, reason = "models make threads, and say how long they took")]

use ringmill::chain::Chain;
use ringmill::ring::{Seen, SlotLayout};
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};

const ITEMS: usize = 4;
const SLOTS: usize = 8;
const THREADS: usize = 4;
const NO_LINK: u8 = 15;
/// The lap in which head starts: that far behind it tail may start.
const FIRST_LAP: u8 = 4;
/// Filled tickets that a search passes one by one, as in a model.
const STEPS: u8 = 1;
const SOLO_STEPS_MAX: u32 = 300;

/// The rule that is bent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Sound,
    /// Publish with a store.
    PlainStore,
    /// Fill over the word of a later lap as over an older one.
    OverLater,
    /// Move tail before the slot is filled.
    TailFirst,
    /// Take the first unfilled slot that the search meets, however long its stride.
    NoNarrowing,
    /// The slot at tail is filled: read tail again until it has moved, instead of searching.
    WaitForTail,
    /// A later lap at head: the ring is empty.
    LaterIsEmpty,
    /// A later lap at head: read the slot again instead of head.
    StaleHead,
    /// Move head with a store.
    PlainHead,
    /// A tail that is not beyond head: the ring is empty.
    BelieveTail,
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Push { chunk: u8 },
    Pop { max: u8 },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
enum Step {
    #[default]
    Done,
    PushTail,
    PushRead,
    PushSearch,
    PushFill,
    PushCompare,
    PushMove,
    PopHead,
    /// Only with [`Rule::BelieveTail`].
    PopTail,
    PopRead,
    PopTake,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Thread {
    at: Step,
    op: u8,
    begun: bool,
    hand: [u8; ITEMS],
    held: u8,
    /// Push: the ticket in work, all below which are filled; in the end, where tail goes. Pop: head as this call knows it.
    ticket: u8,
    /// Push: the slot word last read.
    word: u64,
    /// Push: the search.
    stride: u8,
    steps: u8,
    narrowing: bool,
    /// Push: tail is moved before the slot is filled.
    early: bool,
    /// Pop: the chains collected.
    chains: [(u8, u8); ITEMS],
    collected: u8,
    // ghosts
    /// Push: what this call has put in and nobody has taken.
    mine: u8,
    /// Pop: what was complete before the call and nobody has taken.
    owed: u8,
    /// Pop: whether some instant of the call had no filled slot.
    saw_empty: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    head: u8,
    tail: u8,
    slots: [u64; SLOTS],
    links: [u8; ITEMS],
    threads: [Thread; THREADS],
    // ghosts
    /// The indices in the ring whose push has returned.
    complete: u8,
    /// For each index in the ring, those that must leave before it.
    before: [u8; ITEMS],
}

struct Client {
    items: u8,
    slots: u8,
    ops: Vec<Vec<Op>>,
    held: Vec<Vec<u8>>,
    ring: Vec<Vec<u8>>,
    /// How far tail is behind the end of the ring at first.
    behind: u8,
    rule: Rule,
    solo: bool,
    /// Whether to check the shape of the ring (the run of filled tickets, tail), or only what comes out of it.
    shape: bool,
}

/// What was met, and how often; transitions, not states.
#[derive(Debug, Default)]
struct Report {
    states: u64,
    transitions: u64,
    /// Searches begun.
    searched: u64,
    /// Looks of a search further than at the next slot.
    strode: u64,
    /// CASes on a slot that found it changed.
    refused: u64,
    /// Tail went back.
    back: u64,
    /// A later lap at what a consumer took for head.
    later: u64,
    /// CASes on head that found it moved.
    overtaken: u64,
    longest_solo: u32,
    /// The most tickets from head to the end of the ring, and from tail to it.
    widest: u8,
    lag: u8,
    /// The most tickets filled in one run.
    filled: u8,
}

impl Client {
    fn new(items: u8, slots: u8, text: &str) -> Self {
        let (ops, held, ring) = (vec![], vec![], vec![]);
        let mut client = Client { items, slots, ops, held, ring, behind: 0, rule: Rule::Sound, solo: true, shape: true };
        for thread in text.split('|') {
            let (held, script) = thread.split_once(':').unwrap_or(("", thread));
            client.held.push(held.trim().bytes().map(|digit| digit - b'0').collect());
            let op = |word: &str| {
                let number = word[1..].parse().unwrap();
                match &word[..1] {
                    "+" => Op::Push { chunk: number },
                    "-" => Op::Pop { max: number },
                    other => panic!("no operation {other}"),
                }
            };
            client.ops.push(script.split_whitespace().map(op).collect());
        }
        client
    }

    /// Chains in the ring at first.
    fn holding(mut self, chains: &[&[u8]]) -> Self {
        self.ring = chains.iter().map(|chain| chain.to_vec()).collect();
        self
    }

    /// Tail at first is so many tickets behind the end of the ring: somebody stood still between comparing and moving it.
    fn behind(mut self, tickets: u8) -> Self {
        self.behind = tickets;
        self
    }

    fn bent(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self.solo = false;
        self
    }

    fn solo(mut self, solo: bool) -> Self {
        self.solo = solo;
        self
    }

    fn shapeless(mut self) -> Self {
        self.shape = false;
        self
    }

    /// How many threads pop.
    fn poppers(&self) -> usize {
        self.ops.iter().filter(|ops| ops.iter().any(|op| matches!(op, Op::Pop { .. }))).count()
    }

    // ---- slot words: the crate's layout, with laps of `slots` tickets laid onto its eight positions, so that any number of slots will do ----

    fn position(&self, ticket: u8) -> usize {
        usize::from(ticket % self.slots)
    }

    fn laid_out(&self, ticket: u8) -> u64 {
        u64::from(ticket / self.slots) * LAYOUT.slots() + self.position(ticket) as u64
    }

    fn decode(&self, word: u64, ticket: u8) -> Seen {
        LAYOUT.decode(word, self.laid_out(ticket))
    }

    fn is_older(&self, word: u64, ticket: u8) -> bool {
        LAYOUT.is_older(word, self.laid_out(ticket))
    }

    /// The ticket with which `word` was published, which is not older than `ticket`.
    fn written(&self, word: u64, ticket: u8) -> u8 {
        let laid_out = LAYOUT.written(word, self.laid_out(ticket));
        (laid_out / LAYOUT.slots()) as u8 * self.slots + (laid_out % LAYOUT.slots()) as u8
    }

    fn seen(&self, state: &State, ticket: u8) -> Seen {
        self.decode(state.slots[self.position(ticket)], ticket)
    }

    fn chain_of(&self, state: &State, chain: Chain) -> impl Iterator<Item = u8> + use<> {
        let links = state.links;
        std::iter::successors(Some(chain.first() as u8), move |&index| links.get(usize::from(index)).copied()).take(chain.len() as usize)
    }

    /// One lap from head: all that can be in the ring, were there holes in it.
    fn filled_slots(&self, state: &State) -> impl Iterator<Item = Chain> {
        (state.head..state.head + self.slots).filter_map(|ticket| match self.seen(state, ticket) {
            Seen::Filled(chain) => Some(chain),
            _ => None,
        })
    }

    /// The end of the ring: the first ticket from head on that is not filled.
    fn end(&self, state: &State) -> u8 {
        (state.head..).find(|&ticket| !matches!(self.seen(state, ticket), Seen::Filled(_))).unwrap()
    }

    // ---- the machine ----

    fn start(&self) -> State {
        let first = FIRST_LAP * self.slots;
        let mut state = State {
            head: first,
            tail: 0,
            slots: [0; SLOTS],
            links: [NO_LINK; ITEMS],
            threads: [Thread::default(); THREADS],
            complete: 0,
            before: [0; ITEMS],
        };
        for position in 0..self.slots {
            state.slots[usize::from(position)] = LAYOUT.vacant(self.laid_out(first + position));
        }
        for (ticket, indices) in (first..).zip(&self.ring) {
            let earlier = state.complete;
            self.write_chain(&mut state, ticket, indices);
            for (place, &index) in indices.iter().enumerate() {
                state.before[usize::from(index)] = earlier | mask(&indices[..place]);
            }
            state.complete |= mask(indices);
        }
        state.tail = self.end(&state) - self.behind;
        for (number, held) in self.held.iter().enumerate() {
            let thread = &mut state.threads[number];
            thread.hand[..held.len()].copy_from_slice(held);
            thread.held = held.len() as u8;
            self.begin(number, thread);
        }
        state
    }

    fn write_chain(&self, state: &mut State, ticket: u8, indices: &[u8]) {
        for pair in indices.windows(2) {
            state.links[usize::from(pair[0])] = pair[1];
        }
        let chain = Chain::new(u32::from(indices[0]), indices.len() as u32);
        state.slots[self.position(ticket)] = LAYOUT.filled(self.laid_out(ticket), chain);
    }

    /// Sets `thread` to the first step of its next operation.
    fn begin(&self, number: usize, thread: &mut Thread) {
        loop {
            *thread = Thread { op: thread.op, hand: thread.hand, held: thread.held, ..Thread::default() };
            match self.ops[number].get(usize::from(thread.op)) {
                None => return,
                Some(Op::Push { .. }) if thread.held == 0 => thread.op += 1,
                Some(Op::Push { .. }) => return thread.at = Step::PushTail,
                Some(Op::Pop { .. }) => return thread.at = Step::PopHead,
            }
        }
    }

    /// One shared access by one thread.
    fn step(&self, state: &mut State, number: usize, report: &mut Report) -> Result<(), String> {
        let mut thread = state.threads[number];
        match self.ops[number][usize::from(thread.op)] {
            Op::Push { chunk } => self.step_push(state, number, &mut thread, chunk, report),
            Op::Pop { max } => self.step_pop(state, number, &mut thread, max, report)?,
        }
        state.threads[number] = thread;
        if self.filled_slots(state).next().is_none() {
            let pops = |thread: &&mut Thread| matches!(thread.at, Step::PopHead | Step::PopTail | Step::PopRead | Step::PopTake);
            for thread in state.threads.iter_mut().filter(pops) {
                thread.saw_empty = thread.begun;
            }
        }
        Ok(())
    }

    fn step_push(&self, state: &mut State, number: usize, thread: &mut Thread, chunk: u8, report: &mut Report) {
        let position = self.position(thread.ticket);
        match thread.at {
            Step::PushTail => {
                if !thread.begun {
                    thread.begun = true;
                    for place in 0..usize::from(thread.held) {
                        state.before[usize::from(thread.hand[place])] = state.complete | mask(&thread.hand[..place]);
                    }
                }
                thread.ticket = state.tail;
                thread.early = self.rule == Rule::TailFirst;
                thread.at = if thread.early { Step::PushCompare } else { Step::PushRead };
            }
            Step::PushRead => {
                thread.word = state.slots[position];
                self.judge_ticket(thread, report);
            }
            Step::PushSearch => self.step_search(state, thread, report),
            Step::PushFill if state.slots[position] == thread.word || self.rule == Rule::PlainStore => {
                let len = thread.held.min(chunk);
                let indices = thread.hand;
                let indices = &indices[..usize::from(len)];
                self.write_chain(state, thread.ticket, indices);
                thread.mine |= mask(indices);
                thread.hand.rotate_left(usize::from(len));
                thread.held -= len;
                thread.hand[usize::from(thread.held)..].fill(0);
                thread.word = 0;
                thread.ticket += 1;
                thread.at = if thread.held > 0 { Step::PushRead } else { Step::PushCompare };
            }
            Step::PushFill => {
                report.refused += 1;
                thread.word = state.slots[position];
                self.judge_ticket(thread, report);
            }
            Step::PushCompare if thread.ticket + u8::from(thread.early) > state.tail => thread.at = Step::PushMove,
            Step::PushCompare => self.tail_moved(state, number, thread),
            Step::PushMove => {
                let to = thread.ticket + u8::from(thread.early);
                report.back += u64::from(to < state.tail);
                state.tail = to;
                self.tail_moved(state, number, thread);
            }
            other => unreachable!("{other:?} is no step of push"),
        }
    }

    /// With the slot of its ticket read: fill it, or look for the first that is not filled.
    fn judge_ticket(&self, thread: &mut Thread, report: &mut Report) {
        let seen = self.decode(thread.word, thread.ticket);
        if seen == Seen::Older || (seen == Seen::Newer && self.rule == Rule::OverLater) {
            thread.at = Step::PushFill;
        } else if self.rule == Rule::WaitForTail {
            (thread.at, thread.ticket, thread.word) = (Step::PushTail, 0, 0);
        } else {
            report.searched += 1;
            thread.ticket = self.written(thread.word, thread.ticket) + 1;
            (thread.at, thread.word, thread.stride) = (Step::PushSearch, 0, 1);
        }
    }

    fn step_search(&self, state: &State, thread: &mut Thread, report: &mut Report) {
        let ticket = thread.ticket + thread.stride - 1;
        let word = state.slots[self.position(ticket)];
        report.strode += u64::from(thread.stride > 1);
        if !self.is_older(word, ticket) {
            thread.ticket = self.written(word, ticket) + 1;
            if thread.narrowing {
                thread.stride = (thread.stride / 2).max(1);
            } else if thread.steps < STEPS {
                thread.steps += 1;
            } else {
                thread.stride = (thread.stride * 2).min(self.slots / 2).max(1);
            }
        } else if thread.stride == 1 || self.rule == Rule::NoNarrowing {
            (thread.at, thread.ticket, thread.word) = (Step::PushFill, ticket, word);
            (thread.stride, thread.steps, thread.narrowing) = (0, 0, false);
        } else {
            (thread.stride, thread.steps, thread.narrowing) = (thread.stride / 2, 0, true);
        }
    }

    /// The end of a push, unless tail has been moved early.
    fn tail_moved(&self, state: &mut State, number: usize, thread: &mut Thread) {
        if thread.early {
            (thread.at, thread.early) = (Step::PushRead, false);
        } else {
            state.complete |= thread.mine;
            self.finish(number, thread);
        }
    }

    fn step_pop(&self, state: &mut State, number: usize, thread: &mut Thread, max: u8, report: &mut Report) -> Result<(), String> {
        match thread.at {
            Step::PopHead => {
                if !thread.begun {
                    thread.begun = true;
                    thread.owed = state.complete;
                    thread.saw_empty = self.filled_slots(state).next().is_none();
                }
                self.look_at(thread, state.head);
            }
            Step::PopTail if state.tail <= thread.ticket => return self.empty(number, thread),
            Step::PopTail => thread.at = Step::PopRead,
            Step::PopRead => {
                let ticket = thread.ticket + thread.collected;
                let word = state.slots[self.position(ticket)];
                let total: u8 = thread.chains.iter().map(|chain| chain.1).sum();
                match self.decode(word, ticket) {
                    Seen::Filled(chain) if thread.collected == 0 || total + chain.len() as u8 <= max => {
                        thread.chains[usize::from(thread.collected)] = (chain.first() as u8, chain.len() as u8);
                        thread.collected += 1;
                        if total + chain.len() as u8 >= max {
                            thread.at = Step::PopTake;
                        }
                    }
                    _ if thread.collected > 0 => thread.at = Step::PopTake,
                    Seen::Newer => {
                        report.later += 1;
                        match self.rule {
                            Rule::LaterIsEmpty => return self.empty(number, thread),
                            Rule::StaleHead => {}
                            _ => (thread.at, thread.ticket) = (Step::PopHead, 0),
                        }
                    }
                    _ => return self.empty(number, thread),
                }
            }
            Step::PopTake if state.head == thread.ticket || self.rule == Rule::PlainHead => self.take(state, number, thread)?,
            Step::PopTake => {
                report.overtaken += 1;
                self.look_at(thread, state.head);
            }
            other => unreachable!("{other:?} is no step of pop"),
        }
        Ok(())
    }

    /// Starts over from `head`, which the thread has just learnt, and with nothing collected.
    fn look_at(&self, thread: &mut Thread, head: u8) {
        let at = if self.rule == Rule::BelieveTail { Step::PopTail } else { Step::PopRead };
        *thread = Thread { at, ticket: head, chains: Default::default(), collected: 0, ..*thread };
    }

    fn finish(&self, number: usize, thread: &mut Thread) {
        thread.op += 1;
        self.begin(number, thread);
    }

    fn empty(&self, number: usize, thread: &mut Thread) -> Result<(), String> {
        if thread.owed != 0 {
            return Err(format!("T{number} says Empty, though {:#b} were complete before and nobody took them", thread.owed));
        }
        if !thread.saw_empty {
            return Err(format!("T{number} says Empty, though at every instant of the call some chain was in the ring"));
        }
        self.finish(number, thread);
        Ok(())
    }

    fn take(&self, state: &mut State, number: usize, thread: &mut Thread) -> Result<(), String> {
        state.head = thread.ticket + thread.collected;
        for &(first, len) in &thread.chains[..usize::from(thread.collected)] {
            let indices: Vec<u8> = self.chain_of(state, Chain::new(u32::from(first), u32::from(len))).collect();
            for index in indices {
                let Some(link) = state.links.get_mut(usize::from(index)) else { return Err(format!("T{number} walks off a chain")) };
                *link = NO_LINK;
                let bit = 1 << index;
                if state.before[usize::from(index)] != 0 {
                    let earlier = state.before[usize::from(index)];
                    return Err(format!("T{number} pops {index} while {earlier:#b}, pushed before it, is still in"));
                }
                state.complete &= !bit;
                state.before.iter_mut().for_each(|before| *before &= !bit);
                for other in &mut state.threads {
                    other.mine &= !bit;
                    other.owed &= !bit;
                }
                thread.hand[usize::from(thread.held) % ITEMS] = index;
                thread.held += 1;
            }
        }
        if usize::from(thread.held) > ITEMS {
            return Err(format!("T{number} holds an index twice"));
        }
        self.finish(number, thread);
        Ok(())
    }

    // ---- what must hold ----

    fn check(&self, state: &State, report: &mut Report) -> Result<(), String> {
        let mut places = [0u8; ITEMS];
        for thread in &state.threads {
            thread.hand[..usize::from(thread.held)].iter().for_each(|&index| places[usize::from(index)] += 1);
        }
        for chain in self.filled_slots(state) {
            for index in self.chain_of(state, chain) {
                *places.get_mut(usize::from(index)).ok_or("a chain in the ring is broken")? += 1;
            }
        }
        for (index, &count) in places[..usize::from(self.items)].iter().enumerate() {
            if count != 1 {
                return Err(format!("index {index} is {}", if count == 0 { "lost" } else { "duplicated" }));
            }
        }
        let end = self.end(state);
        report.widest = report.widest.max(end - state.head);
        report.lag = report.lag.max(end.saturating_sub(state.tail));
        report.filled = report.filled.max(end - FIRST_LAP * self.slots);
        if !self.shape {
            return Ok(());
        }
        if end - state.head > self.items {
            return Err(format!("{} tickets from head to the end", end - state.head));
        }
        if state.tail > end {
            return Err(format!("tail says {} too much", state.tail - end));
        }
        if let Some(ticket) = (end..state.head + self.slots).find(|&ticket| self.seen(state, ticket) != Seen::Older) {
            return Err(format!("a hole: {} tickets beyond the end, the slot is not of an older lap", ticket - end));
        }
        Ok(())
    }

    /// From `state`, every thread must finish its operation while all others stand still for ever.
    fn check_solo(&self, state: &State, report: &mut Report) -> Result<(), String> {
        for number in 0..self.ops.len() {
            let (mut alone, op, mut steps) = (*state, state.threads[number].op, 0);
            while alone.threads[number].at != Step::Done && alone.threads[number].op == op {
                steps += 1;
                if steps > SOLO_STEPS_MAX {
                    return Err(format!("T{number} alone never finishes, at {:?}", alone.threads[number].at));
                }
                self.step(&mut alone, number, &mut Report::default())?;
            }
            report.longest_solo = report.longest_solo.max(steps);
        }
        Ok(())
    }

    fn explore(&self) -> (Report, Result<(), String>) {
        let mut report = Report::default();
        let verdict = self.search(&mut report);
        (report, verdict)
    }

    fn search(&self, report: &mut Report) -> Result<(), String> {
        struct Frame {
            state: State,
            print: u64,
            next: usize,
        }
        let start = self.start();
        self.check(&start, report)?;
        let mut visited = Prints::default();
        let mut on_path = Prints::default();
        let print = fingerprint(&start);
        visited.insert(print);
        on_path.insert(print);
        let mut path = vec![Frame { state: start, print, next: 0 }];
        while let Some(frame) = path.last_mut() {
            let number = frame.next;
            if number == self.ops.len() {
                on_path.remove(&frame.print);
                path.pop();
                continue;
            }
            frame.next += 1;
            if frame.state.threads[number].at == Step::Done {
                continue;
            }
            let mut state = frame.state;
            report.transitions += 1;
            self.step(&mut state, number, report)?;
            self.check(&state, report)?;
            let print = fingerprint(&state);
            if visited.insert(print) {
                if self.solo {
                    self.check_solo(&state, report)?;
                }
                on_path.insert(print);
                path.push(Frame { state, print, next: 0 });
            } else if on_path.contains(&print) {
                return Err("a cycle: an infinite run in which no call completes".into());
            }
        }
        report.states = visited.len() as u64;
        Ok(())
    }
}

const LAYOUT: SlotLayout = SlotLayout::for_capacity(8);

fn mask(indices: &[u8]) -> u8 {
    indices.iter().fold(0, |mask, &index| mask | 1 << index)
}

type Prints = HashSet<u64, BuildHasherDefault<Fold>>;

fn fingerprint(state: &State) -> u64 {
    let mut fold = Fold::default();
    state.hash(&mut fold);
    fold.finish()
}

/// Multiply-and-fold hashing over whole words.
struct Fold {
    state: u64,
    pending: u64,
    bytes: u32,
}

impl Default for Fold {
    fn default() -> Self {
        Fold { state: 0x9E37_79B9_7F4A_7C15, pending: 0, bytes: 0 }
    }
}

impl Fold {
    fn fold(state: u64, value: u64) -> u64 {
        let wide = u128::from(state ^ value) * u128::from(0xA076_1D64_78BD_642F_u64);
        ((wide >> 64) as u64 ^ wide as u64).wrapping_add(state.rotate_left(29))
    }
}

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        Self::fold(Self::fold(self.state, self.pending), 0xE703_7ED1_A0B4_28DB)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u8(byte));
    }

    fn write_u8(&mut self, value: u8) {
        self.pending = self.pending << 8 | u64::from(value);
        self.bytes += 1;
        if self.bytes == 8 {
            self.state = Self::fold(self.state, self.pending);
            (self.pending, self.bytes) = (0, 0);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.state = Self::fold(self.state, value);
    }

    /// The length of an array, which never varies.
    fn write_usize(&mut self, _length: usize) {}

    fn write_isize(&mut self, discriminant: isize) {
        self.write_u8(discriminant as u8);
    }
}

// ---- the clients ----

/// Fails as well when the client did not meet what it is for.
#[track_caller]
fn holds(client: Client) {
    let began = std::time::Instant::now();
    let (report, verdict) = client.explore();
    println!(
        "{} in {}: {report:?}, {:.1} s, {}",
        client.items,
        client.slots,
        began.elapsed().as_secs_f64(),
        if verdict.is_ok() { "DONE" } else { "FAILED" }
    );
    verdict.unwrap();
    let producers_met = report.searched > 0 && report.refused > 0 && report.back > 0;
    assert!(producers_met, "no two producers were in each other's way: this client shows too little");
    // whoever pops alone finds head where it has left it
    let consumers_meet = client.poppers() > 1;
    assert_eq!(report.overtaken > 0, consumers_meet, "whether a consumer was overtaken");
    assert!(consumers_meet || report.later == 0, "a consumer alone was overtaken by a lap");
    // a ticket over a lap is not enough: the thread that stands still may be the one that it takes to fill it
    let lapped = consumers_meet && report.filled > client.slots + 1;
    assert!(!lapped || report.later > 0, "no consumer was overtaken by a lap: this client shows too little");
}

#[track_caller]
fn caught(client: Client, expected: &str) {
    let (report, verdict) = client.explore();
    let found = verdict.expect_err("the bent rule was not caught");
    println!("{:?}, {} in {}: {found}, after {} transitions", client.rule, client.items, client.slots, report.transitions);
    assert!(found.contains(expected), "caught, but as: {found}");
}

#[test]
fn two_indices_in_two_slots() {
    holds(Client::new(2, 2, "0:+1 -1 +1 -1 +1 -1 +1 | 1:+1 -1 +1 -1 +1 -1 +1"));
    holds(Client::new(2, 2, "0:+1 -1 +1 | 1:+1 -1 +1 | -1 +1 -1 +1"));
    holds(Client::new(2, 2, "0:+1 -1 | 1:+1 -1 | -1 +1 | -1 +1"));
}

#[test]
fn three_indices_with_and_without_a_spare_slot() {
    for slots in [3, 4] {
        holds(Client::new(3, slots, "0:+1 -1 +1 | 1:+1 -1 +1 | 2:+1 -1"));
        holds(Client::new(3, slots, "0:+1 | 1:+1 | 2:+1 | -2 +1 -1"));
    }
}

#[test]
fn batches() {
    holds(Client::new(2, 2, "01:+1 -2 +1 | -1 +1 | -2 +1"));
    holds(Client::new(3, 3, "01:+1 -2 +1 | 2:+1 -2 +1 | -2"));
    holds(Client::new(4, 4, "0:+1 | 1:+1 | 23:+1 | -2 +1 -2"));
}

#[test]
fn chains_of_two_in_one_slot() {
    holds(Client::new(2, 2, "01:+2 -2 +1 | -1 +1 | -2 +2"));
    holds(Client::new(3, 4, "01:+2 -2 +2 | 2:+1 -3 +2 | -1 +1"));
    holds(Client::new(4, 4, "01:+2 -2 +1 | 23:+2 -3 +2 | -2 +2"));
    holds(Client::new(4, 4, "01:+2 -2 +1 | 23:+2 -2 +2 | -2 +1 -2 +2"));
    // a ring that starts with chains in it, as a lane does that others fill
    holds(Client::new(4, 4, "-2 +1 | 3:+1 -2 +2 | -3 +2 -1").holding(&[&[0, 1], &[2]]));
}

/// However far tail has gone back, within a lap and over several; eight slots, so that a search strides, and narrows.
#[test]
fn a_tail_far_behind() {
    for behind in [0, 1, 2, 3, 4, 5, 6, 7, 8, 23] {
        holds(Client::new(3, 8, "0:+1 -1 +1 | 1:+1 -1 | 2:+1").behind(behind));
    }
    for behind in [3, 9] {
        holds(Client::new(4, 4, "-2 +1 | 3:+1 -3 +1 | -1 +1").holding(&[&[0], &[1], &[2]]).behind(behind));
    }
    // on over a lap of eight
    holds(Client::new(4, 8, "012:+1 -3 +1 -2 +1 | 3:+1 -1 +1 -1").behind(6));
}

#[test]
fn a_bent_push_is_caught() {
    let two = "0:+1 -1 +1 | 1:+1 -1 +1 | -1 +1";
    caught(Client::new(2, 2, two).bent(Rule::PlainStore), "lost");
    caught(Client::new(2, 2, two).bent(Rule::OverLater), "lost");
    caught(Client::new(2, 2, "0:+1 | 1:+1").bent(Rule::WaitForTail), "a cycle");
    caught(Client::new(2, 2, "0:+1 | 1:+1").bent(Rule::WaitForTail).solo(true), "alone never finishes");
}

/// Each with the shape of the ring watched, and then, unwatched, with the harm that it does.
#[test]
fn a_hole_is_caught() {
    let two = "0:+1 -1 +1 | 1:+1 -1 +1 | -1 +1";
    caught(Client::new(2, 2, two).bent(Rule::TailFirst), "tail says 1 too much");
    caught(Client::new(2, 2, two).bent(Rule::TailFirst).shapeless(), "says Empty, though 0b");
    let four = "012:+1 | 3:+1 | -3 -1";
    caught(Client::new(4, 8, four).bent(Rule::NoNarrowing), "a hole");
    caught(Client::new(4, 8, four).bent(Rule::NoNarrowing).shapeless(), "says Empty, though 0b");
}

#[test]
fn a_bent_pop_is_caught() {
    let two = "0:+1 -1 +1 | 1:+1 -1 +1 | -1 +1";
    caught(Client::new(2, 2, two).bent(Rule::LaterIsEmpty), "says Empty");
    caught(Client::new(2, 2, two).bent(Rule::StaleHead), "a cycle");
    caught(Client::new(2, 2, two).bent(Rule::StaleHead).solo(true), "alone never finishes");
    caught(Client::new(1, 2, "0:+1 | -1 | -1").bent(Rule::PlainHead), "duplicated");
    caught(Client::new(2, 2, "0:+1 | 1:+1 | -1 -1").bent(Rule::BelieveTail), "says Empty");
}

#[test]
fn a_slot_too_few_is_caught() {
    caught(Client::new(2, 1, "0:+1 -1 +1 | 1:+1 -1 +1").solo(false).shapeless(), "lost");
    caught(Client::new(3, 2, "0:+1 -1 +1 | 1:+1 -1 +1 | 2:+1 -1 +1").solo(false).shapeless(), "lost");
}

/// Chains need fewer slots, not more: with chains of two, three slots are too few for four indices only because chains may be broken up.
#[test]
fn a_slot_too_few_for_broken_up_chains_is_caught() {
    caught(Client::new(4, 3, "01:+2 -2 +1 | 23:+2 -2 +1 | -2 +1").solo(false).shapeless(), "lost");
}

/// `cargo test --release --test explore ring -- --ignored --nocapture --test-threads=1`: half a minute each.
#[test]
#[ignore = "tier 2: tens of millions of states"]
fn deeper() {
    holds(Client::new(2, 2, "0:+1 -1 +1 -1 +1 -1 | 1:+1 -1 +1 -1 +1 -1 | -1 +1 -1 +1 -1 +1"));
    for slots in [3, 4] {
        holds(Client::new(3, slots, "0:+1 -1 +1 -1 +1 | 1:+1 -1 +1 -1 | 2:+1 -1 +1 -1").solo(false));
    }
    holds(Client::new(4, 4, "01:+2 -2 +1 -2 +1 | 23:+2 -2 +2 -2 | -2 +1 -2 +2").solo(false));
    holds(Client::new(4, 4, "01:+1 -2 | 23:+2 -3 +1 | -2 +2 | -1 +1").solo(false));
    holds(Client::new(4, 8, "0:+1 -1 +1 | 1:+1 -2 +1 | 23:+1 -2 +1 -1 +1").behind(5).solo(false));
}
