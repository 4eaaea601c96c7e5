//! The index ring, every interleaving under sequential consistency: one shared access per step, depth first, visited states by fingerprint.
//!
//! The step machine below is `IndexRing` line by line, with the crate's own slot words; patience is left out (it only reads again). It sees what
//! loom at its bounds does not: a scan without a second look at head, a tombstone away from head, livelock, and threads frozen for ever.
//!
//! Checked in every state: each index is in exactly one place; head <= tail <= head + N + 1; at most one tombstone, and only at head. On
//! every pop: nothing comes out before a chain that was pushed completely before its own push began. On every Empty: no chain whose push had
//! returned before the call is left, and there was an instant in the call without a filled slot. On the graph: no cycle, so no infinite run
//! completes only finitely many calls (lock-freedom of that client); with `solo`, from every state every thread finishes its call alone.
//!
//! A client is written `01:+2 -2 ~1 | -1 +1`: threads between bars; the indices a thread holds at first; `+k` pushes all it holds as chains of at
//! most k, in one batch; `-k` pops at most k indices strictly, `~k` weakly.

#![allow(clippy::disallowed_methods, reason = "models make threads, and say how long they took")]

use ringmill::chain::Chain;
use ringmill::ring::{Seen, SlotLayout};
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};

const ITEMS: usize = 4;
const THREADS: usize = 4;
const NO_LINK: u8 = 15;
/// More tickets than any finite client can need.
const TICKETS_MAX: u8 = 120;
const SOLO_STEPS_MAX: u32 = 300;

/// The rule that is bent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Sound,
    /// A later lap at head: read head again instead of moving it.
    NoHelp,
    /// Give up the last unfilled ticket that the scan met, not the one at head.
    GiveUpAnywhere,
    /// Do not look at head again after the scan.
    NoConfirm,
    /// Give the head ticket up whether or not something complete is behind it.
    NoWitness,
    /// Publish with a store.
    PlainStore,
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Push { chunk: u8 },
    Pop { max: u8, strict: bool },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
enum Step {
    #[default]
    Done,
    PushClaim,
    PushRead,
    PushFill,
    PopHead,
    PopRead,
    PopTake,
    PopPass,
    PopTail,
    PopScan,
    PopConfirm,
    PopGiveUp,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Thread {
    at: Step,
    op: u8,
    begun: bool,
    hand: [u8; ITEMS],
    held: u8,
    /// Push: the ticket in work and the end of those claimed. Pop: head as this call knows it, and the end of its scan.
    ticket: u8,
    end: u8,
    /// The slot word last read, and (pop) the ticket it belongs to.
    word: u64,
    word_ticket: u8,
    /// Pop: the chains collected.
    chains: [(u8, u8); ITEMS],
    collected: u8,
    offset: u8,
    witness: bool,
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
    slots: [u64; ITEMS],
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
    rule: Rule,
    solo: bool,
    /// Whether to check the shape of the ring (tombstones, distance), or only what comes out of it.
    shape: bool,
}

#[derive(Debug, Default)]
struct Report {
    states: u64,
    transitions: u64,
    given_up: u64,
    helped: u64,
    lost_tickets: u64,
    longest_solo: u32,
    widest: u8,
}

impl Client {
    fn new(items: u8, slots: u8, text: &str) -> Self {
        let mut client = Client { items, slots, ops: vec![], held: vec![], ring: vec![], rule: Rule::Sound, solo: true, shape: true };
        for thread in text.split('|') {
            let (held, script) = thread.split_once(':').unwrap_or(("", thread));
            client.held.push(held.trim().bytes().map(|digit| digit - b'0').collect());
            let op = |word: &str| {
                let number = word[1..].parse().unwrap();
                match &word[..1] {
                    "+" => Op::Push { chunk: number },
                    "-" => Op::Pop { max: number, strict: true },
                    "~" => Op::Pop { max: number, strict: false },
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

    fn seen(&self, state: &State, ticket: u8) -> Seen {
        self.decode(state.slots[self.position(ticket)], ticket)
    }

    fn chain_of(&self, state: &State, chain: Chain) -> impl Iterator<Item = u8> + use<> {
        let links = state.links;
        std::iter::successors(Some(chain.first() as u8), move |&index| links.get(usize::from(index)).copied()).take(chain.len() as usize)
    }

    fn filled_slots(&self, state: &State) -> impl Iterator<Item = Chain> {
        (state.head..state.tail).filter_map(|ticket| match self.seen(state, ticket) {
            Seen::Filled(chain) => Some(chain),
            _ => None,
        })
    }

    // ---- the machine ----

    fn start(&self) -> State {
        let mut state = State {
            head: self.slots,
            tail: self.slots,
            slots: [0; ITEMS],
            links: [NO_LINK; ITEMS],
            threads: [Thread::default(); THREADS],
            complete: 0,
            before: [0; ITEMS],
        };
        for position in 0..self.slots {
            state.slots[usize::from(position)] = LAYOUT.vacant(self.laid_out(self.slots + position));
        }
        for indices in &self.ring {
            let (earlier, ticket) = (state.complete, state.tail);
            self.write_chain(&mut state, ticket, indices);
            state.tail += 1;
            for (place, &index) in indices.iter().enumerate() {
                state.before[usize::from(index)] = earlier | mask(&indices[..place]);
            }
            state.complete |= mask(indices);
        }
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
                Some(Op::Push { .. }) => return thread.at = Step::PushClaim,
                Some(Op::Pop { .. }) => return thread.at = Step::PopHead,
            }
        }
    }

    /// One shared access by one thread.
    fn step(&self, state: &mut State, number: usize, report: &mut Report) -> Result<(), String> {
        let mut thread = state.threads[number];
        match self.ops[number][usize::from(thread.op)] {
            Op::Push { chunk } => self.step_push(state, number, &mut thread, chunk, report)?,
            Op::Pop { max, strict } => self.step_pop(state, number, &mut thread, max, strict, report)?,
        }
        state.threads[number] = thread;
        if self.filled_slots(state).next().is_none() {
            for thread in state.threads.iter_mut().filter(|thread| thread.begun) {
                thread.saw_empty = true;
            }
        }
        Ok(())
    }

    fn step_push(&self, state: &mut State, number: usize, thread: &mut Thread, chunk: u8, report: &mut Report) -> Result<(), String> {
        let position = self.position(thread.ticket);
        match thread.at {
            Step::PushClaim => {
                if !thread.begun {
                    thread.begun = true;
                    for place in 0..usize::from(thread.held) {
                        state.before[usize::from(thread.hand[place])] = state.complete | mask(&thread.hand[..place]);
                    }
                }
                thread.ticket = state.tail;
                state.tail += thread.held.div_ceil(chunk);
                thread.end = state.tail;
                thread.at = Step::PushRead;
                if state.tail > TICKETS_MAX {
                    return Err("tickets without end".into());
                }
            }
            Step::PushRead => {
                thread.word = state.slots[position];
                self.judge_ticket(thread, report);
            }
            Step::PushFill if state.slots[position] == thread.word || self.rule == Rule::PlainStore => {
                let len = thread.held.min(chunk);
                let indices = thread.hand;
                let indices = &indices[..usize::from(len)];
                self.write_chain(state, thread.ticket, indices);
                thread.mine |= mask(indices);
                thread.hand.rotate_left(usize::from(len));
                thread.held -= len;
                thread.hand[usize::from(thread.held)..].fill(0);
                self.next_ticket(thread);
                if thread.held == 0 {
                    state.complete |= thread.mine;
                    thread.op += 1;
                    self.begin(number, thread);
                }
            }
            Step::PushFill => {
                thread.word = state.slots[position];
                self.judge_ticket(thread, report);
            }
            other => unreachable!("{other:?} is no step of push"),
        }
        Ok(())
    }

    /// With the slot of its ticket read: fill it, or go on to the next.
    fn judge_ticket(&self, thread: &mut Thread, report: &mut Report) {
        if self.decode(thread.word, thread.ticket) == Seen::Older {
            thread.at = Step::PushFill;
        } else {
            report.lost_tickets += 1;
            self.next_ticket(thread);
        }
    }

    fn next_ticket(&self, thread: &mut Thread) {
        thread.word = 0;
        thread.ticket += 1;
        thread.at = Step::PushRead;
        if thread.ticket == thread.end {
            (thread.ticket, thread.end) = (0, 0);
            thread.at = Step::PushClaim;
        }
    }

    fn step_pop(
        &self,
        state: &mut State,
        number: usize,
        thread: &mut Thread,
        max: u8,
        strict: bool,
        report: &mut Report,
    ) -> Result<(), String> {
        match thread.at {
            Step::PopHead => {
                if !thread.begun {
                    thread.begun = true;
                    thread.owed = state.complete;
                    thread.saw_empty = self.filled_slots(state).next().is_none();
                }
                self.look_at(thread, state.head);
            }
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
                    Seen::Older if strict => {
                        (thread.word, thread.word_ticket) = (word, ticket);
                        thread.at = Step::PopTail;
                    }
                    Seen::Older => self.finish(number, thread),
                    Seen::Newer if self.rule == Rule::NoHelp => thread.at = Step::PopHead,
                    Seen::Newer => {
                        report.helped += u64::from(state.head == thread.ticket);
                        thread.at = Step::PopPass;
                    }
                    _ => thread.at = Step::PopPass,
                }
                if thread.at == Step::PopHead {
                    self.forget(thread);
                }
            }
            Step::PopTake if state.head == thread.ticket => self.take(state, number, thread)?,
            Step::PopTake => self.look_at(thread, state.head),
            Step::PopPass => {
                state.head += u8::from(state.head == thread.ticket);
                self.look_at(thread, state.head);
            }
            Step::PopTail => {
                if state.tail <= thread.ticket {
                    return self.empty(number, thread);
                }
                thread.end = state.tail.min(thread.ticket + self.slots);
                thread.offset = 1;
                thread.at = if self.rule == Rule::NoWitness { Step::PopGiveUp } else { Step::PopScan };
                self.end_of_scan(number, thread)?;
            }
            Step::PopScan => {
                let ticket = thread.ticket + thread.offset;
                let word = state.slots[self.position(ticket)];
                match self.decode(word, ticket) {
                    Seen::Filled(_) => thread.witness = true,
                    Seen::Older if self.rule == Rule::GiveUpAnywhere => (thread.word, thread.word_ticket) = (word, ticket),
                    _ => {}
                }
                thread.offset += 1;
                self.end_of_scan(number, thread)?;
            }
            Step::PopConfirm if state.head != thread.ticket => self.look_at(thread, state.head),
            Step::PopConfirm if thread.witness => thread.at = Step::PopGiveUp,
            Step::PopConfirm => return self.empty(number, thread),
            Step::PopGiveUp => {
                let (head, ticket, word) = (thread.ticket, thread.word_ticket, thread.word);
                let slot = &mut state.slots[self.position(ticket)];
                let mine = *slot == word;
                if mine {
                    report.given_up += 1;
                    *slot = LAYOUT.tombstone(self.laid_out(ticket));
                }
                self.forget(thread);
                thread.at = Step::PopHead;
                if mine && ticket == head {
                    (thread.at, thread.ticket) = (Step::PopPass, head);
                }
            }
            other => unreachable!("{other:?} is no step of pop"),
        }
        Ok(())
    }

    /// After a look at tail or at a slot behind head: on with the scan, or what follows it.
    fn end_of_scan(&self, number: usize, thread: &mut Thread) -> Result<(), String> {
        if thread.at != Step::PopScan || (!thread.witness && thread.ticket + thread.offset < thread.end) {
            return Ok(());
        }
        thread.at = Step::PopConfirm;
        if self.rule == Rule::NoConfirm {
            if !thread.witness {
                return self.empty(number, thread);
            }
            thread.at = Step::PopGiveUp;
        }
        Ok(())
    }

    /// Starts over from `head`, which the thread has just learnt.
    fn look_at(&self, thread: &mut Thread, head: u8) {
        self.forget(thread);
        thread.ticket = head;
        thread.at = Step::PopRead;
    }

    /// Drops what a thread that starts over no longer uses, so that equal futures are equal states.
    fn forget(&self, thread: &mut Thread) {
        *thread = Thread {
            ticket: 0,
            end: 0,
            word: 0,
            word_ticket: 0,
            chains: Default::default(),
            collected: 0,
            offset: 0,
            witness: false,
            ..*thread
        };
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
        state.head += thread.collected;
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
        if state.head > state.tail {
            return Err("head passed tail".into());
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
        let distance = state.tail - state.head;
        report.widest = report.widest.max(distance);
        if self.shape && distance > self.items + 1 {
            return Err(format!("{distance} tickets between head and tail"));
        }
        if self.shape && (state.head..state.tail).any(|ticket| ticket != state.head && self.seen(state, ticket) == Seen::Tombstone) {
            return Err("a tombstone away from head".into());
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
    assert!(report.given_up > 0, "no ticket was given up: this client shows too little");
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

#[test]
fn weak_pops_among_strict_ones() {
    holds(Client::new(2, 2, "0:+1 ~1 +1 | 1:+1 -1 +1 | ~1 ~1 +1"));
    holds(Client::new(3, 3, "01:+2 ~2 +1 | 2:+1 -2 +1 | ~1 -1"));
}

#[test]
fn a_missing_rule_is_caught() {
    let two = "0:+1 -1 +1 | 1:+1 -1 +1 | -1 +1";
    caught(Client::new(2, 2, "0:+1 | 1:+1 | -1 | -1").bent(Rule::NoHelp), "a cycle");
    caught(Client::new(2, 2, two).bent(Rule::NoHelp).solo(true), "alone never finishes");
    caught(Client::new(2, 2, two).bent(Rule::NoWitness), "tickets without end");
    caught(Client::new(2, 2, two).bent(Rule::PlainStore), "lost");
    caught(Client::new(2, 2, "0:+1 -1 +1 -1 +1 | 1:+1 -1 +1 -1 +1 | -1 +1 -1 +1").bent(Rule::NoConfirm), "says Empty");
}

#[test]
fn a_tombstone_away_from_head_is_caught() {
    let text = "0:+1 -1 +1 | 1:+1 -1 +1 | 2:+1 -1 +1";
    caught(Client::new(3, 4, text).bent(Rule::GiveUpAnywhere), "a tombstone away from head");
    // the harm it does, with the shape of the ring unwatched: with as many slots as indices an index is overwritten
    let text = "0:+1 -1 +1 -1 +1 | 1:+1 -1 +1 -1 +1 | 2:+1 -1 +1 -1 +1";
    caught(Client::new(3, 3, text).bent(Rule::GiveUpAnywhere).shapeless(), "lost");
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

/// The helping rule is for as many slots as indices; a spare slot does without.
#[test]
fn a_spare_slot_needs_no_help() {
    let (_, verdict) = Client::new(3, 4, "0:+1 -1 +1 | 1:+1 -1 +1 | 2:+1").bent(Rule::NoHelp).explore();
    verdict.unwrap();
}

/// `cargo test --release --test explore ring -- --ignored --nocapture --test-threads=1`: half a minute each.
#[test]
#[ignore = "tier 2: tens of millions of states"]
fn deeper() {
    holds(Client::new(2, 2, "0:+1 -1 +1 -1 +1 | 1:+1 -1 +1 -1 +1 | -1 +1 -1 +1 -1 +1"));
    for slots in [3, 4] {
        holds(Client::new(3, slots, "0:+1 -1 +1 -1 | 1:+1 -1 +1 -1 | 2:+1 -1 +1").solo(false));
    }
    holds(Client::new(4, 4, "01:+2 -2 +1 | 23:+2 -2 +2 -2 | -2 +1 -2 +2").solo(false));
    holds(Client::new(4, 4, "01:+1 -2 +2 | 23:+2 -3 +1 | -2 +2 | -1 +1").solo(false));
}
