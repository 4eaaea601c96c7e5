//! The state word and the timer inbox.
//!
//! The models run the crate's own [`SlotState`] and [`Inbox`]; payload and link are cells whose races loom reports. A twin replaces one step of
//! the protocol by a mutation of it ([`Protocol`]) and must fail.

#![allow(clippy::disallowed_methods)]

use crate::support::{Bound, check, must_fail};
use ringmill::inbox::{Flag, Inbox};
use ringmill::slab::{CancelStep, Dispose, Epoch, Expire, Fate, Fire, Leave, Next, Phase, Settled, SlotState, Stale, Start, Word};
use ringmill::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use ringmill::sync::{Arc, UnsafeCell, thread};
use std::marker::PhantomData;

/// Makes every step of the protocol begin with an RMW.
///
/// loom 0.7.3 remembers one last access per atomic. A load that begins a CAS loop hides an earlier load by another thread from the CAS that
/// follows, and the order "CAS first, then that load" is never tried: without this, [`claim_is_seen`] has one execution and finds nothing.
fn turn(slot: &SlotState) {
    slot.raw().fetch_or(0, Relaxed);
}

/// The steps a mutation may replace. The provided ones are the crate's.
trait Protocol: Send + Sync + 'static {
    fn fill(slot: &SlotState) -> Epoch {
        turn(slot);
        slot.fill(0)
    }
    fn load(slot: &SlotState) -> Word {
        turn(slot);
        slot.load()
    }
    fn start(slot: &SlotState, claim: Epoch) -> Start {
        turn(slot);
        slot.start(claim)
    }
    fn settle(slot: &SlotState, lease: Epoch, decide: impl FnMut(Word) -> Next) -> Result<Settled, Stale> {
        turn(slot);
        slot.settle(lease, decide)
    }
    fn leave(slot: &SlotState) -> Leave {
        turn(slot);
        slot.leave()
    }
    fn dispose(slot: &SlotState, epoch: Epoch) -> Dispose {
        turn(slot);
        slot.dispose(epoch)
    }
    fn expire(slot: &SlotState, lease: Epoch, max: u32) -> Expire {
        turn(slot);
        slot.expire(lease, max)
    }
    fn extend(slot: &SlotState, lease: Epoch) -> Result<Epoch, Stale> {
        turn(slot);
        slot.extend(lease)
    }
    fn take_back(slot: &SlotState, claim: Epoch) -> Option<(Epoch, Phase)> {
        turn(slot);
        slot.take_back(claim)
    }
    fn give_back(slot: &SlotState, claim: Epoch) -> Option<(Epoch, Phase)> {
        turn(slot);
        slot.take_back(claim)
    }
    fn steal(slot: &SlotState, claim: Epoch) -> Option<Epoch> {
        turn(slot);
        slot.steal(claim)
    }
    fn fire(slot: &SlotState) -> Fire {
        turn(slot);
        slot.fire()
    }
    const CLAIM_FIRST: bool = true;
    const POKE: Flag = Flag::Poke;
    const CHECKS_ID: bool = true;
}

/// No mutation.
struct Sound;
impl Protocol for Sound {}

/// Declares a mutation: a type, and the step it replaces.
macro_rules! mutation {
    ($(#[$doc:meta])* $name:ident: $($step:tt)*) => {
        $(#[$doc])*
        struct $name;
        impl Protocol for $name { $($step)* }
    };
}

fn peek(slot: &SlotState) -> Word {
    turn(slot);
    Word::from_raw(slot.raw().load(Acquire))
}

fn cas(slot: &SlotState, from: Word, to: Word) -> bool {
    slot.raw().compare_exchange(from.raw(), to.raw(), AcqRel, Acquire).is_ok()
}

fn running(word: Word) -> Word {
    word.with_phase(Phase::Running).with_epoch(word.epoch().next()).with_holders(word.holders() + 1)
}

mutation! {
    /// Starts keep the epoch.
    StartWithoutBump:
    fn start(slot: &SlotState, claim: Epoch) -> Start {
        loop {
            let word = peek(slot);
            if word.epoch() != claim || word.phase() != Phase::Ready {
                return Start::Moved;
            }
            let next = running(word).with_epoch(claim);
            if cas(slot, word, next) {
                return Start::Running(next);
            }
        }
    }
}
mutation! {
    /// Starts by look and store.
    StartByStore:
    fn start(slot: &SlotState, claim: Epoch) -> Start {
        let word = peek(slot);
        if word.epoch() != claim || word.phase() != Phase::Ready {
            return Start::Moved;
        }
        slot.raw().swap(running(word).raw(), AcqRel);
        Start::Running(running(word))
    }
}
mutation! {
    /// A failed start takes the epoch it finds.
    StartRereads:
    fn start(slot: &SlotState, _claim: Epoch) -> Start {
        slot.start(peek(slot).epoch())
    }
}
mutation! {
    /// Starts compare two bits of the epoch.
    TwoBitEpoch:
    fn start(slot: &SlotState, claim: Epoch) -> Start {
        let found = peek(slot).epoch();
        if (found.raw() ^ claim.raw()) & 3 == 0 { slot.start(found) } else { Start::Moved }
    }
}
mutation! {
    /// Starts do not wait for the payload.
    StartWithoutAcquire:
    fn start(slot: &SlotState, claim: Epoch) -> Start {
        turn(slot);
        let word = Word::from_raw(slot.raw().load(Relaxed));
        if word.epoch() != claim || word.phase() != Phase::Ready {
            return Start::Moved;
        }
        match slot.raw().compare_exchange(word.raw(), running(word).raw(), Release, Relaxed) {
            Ok(_) => Start::Running(running(word)),
            Err(_) => Start::Moved,
        }
    }
}
mutation! {
    /// Starts publish nothing.
    StartWithoutRelease:
    fn start(slot: &SlotState, claim: Epoch) -> Start {
        let word = peek(slot);
        if word.epoch() != claim || word.phase() != Phase::Ready {
            return Start::Moved;
        }
        match slot.raw().compare_exchange(word.raw(), running(word).raw(), Acquire, Relaxed) {
            Ok(_) => Start::Running(running(word)),
            Err(_) => Start::Moved,
        }
    }
}
mutation! {
    /// The claim is published after the start.
    ClaimAfterStart:
    const CLAIM_FIRST: bool = false;
}
mutation! {
    /// A slot is filled in its old epoch.
    FillWithoutBump:
    fn fill(slot: &SlotState) -> Epoch {
        let word = Word::FREE.with_phase(Phase::Ready).with_epoch(peek(slot).epoch());
        slot.raw().swap(word.raw(), Release);
        word.epoch()
    }
}
mutation! {
    /// A fill publishes nothing.
    FillWithoutRelease:
    fn fill(slot: &SlotState) -> Epoch {
        let word = Word::FREE.with_phase(Phase::Ready).with_epoch(peek(slot).epoch().next());
        slot.raw().swap(word.raw(), Relaxed);
        word.epoch()
    }
}
mutation! {
    /// A look at the word that does not order the look at the id.
    LoadWithoutAcquire:
    fn load(slot: &SlotState) -> Word {
        turn(slot);
        Word::from_raw(slot.raw().load(Relaxed))
    }
}
mutation! {
    /// A settlement looks, then stores.
    SettleByStore:
    fn settle(slot: &SlotState, lease: Epoch, mut decide: impl FnMut(Word) -> Next) -> Result<Settled, Stale> {
        let word = peek(slot);
        if word.phase() != Phase::Running || word.epoch() != lease {
            return Err(Stale(word));
        }
        // what the crate's own settle makes of this word, stored over whatever is there by now
        let copy = SlotState::new();
        copy.restore(word);
        let epoch = copy.load().epoch();
        copy.raw().swap(word.with_epoch(epoch).raw(), Relaxed);
        let settled = copy.settle(epoch, &mut decide);
        slot.raw().swap(copy.load().with_epoch(lease).raw(), AcqRel);
        settled
    }
}
mutation! {
    /// A settlement takes any lease for its own.
    LateSettle:
    fn settle(slot: &SlotState, _lease: Epoch, decide: impl FnMut(Word) -> Next) -> Result<Settled, Stale> {
        slot.settle(peek(slot).epoch(), decide)
    }
}
mutation! {
    /// A settlement frees the slot though others hold it.
    SettleReclaims:
    fn settle(slot: &SlotState, lease: Epoch, decide: impl FnMut(Word) -> Next) -> Result<Settled, Stale> {
        match slot.settle(lease, decide) {
            Ok(Settled::Left(word)) => Ok(Settled::Owner(word)),
            other => other,
        }
    }
}
mutation! {
    /// A settlement publishes nothing.
    SettleWithoutRelease:
    fn settle(slot: &SlotState, lease: Epoch, decide: impl FnMut(Word) -> Next) -> Result<Settled, Stale> {
        settle_ordered::<false>(slot, lease, decide)
    }
}
mutation! {
    /// A settlement does not wait for the readers that left.
    SettleWithoutAcquire:
    fn settle(slot: &SlotState, lease: Epoch, decide: impl FnMut(Word) -> Next) -> Result<Settled, Stale> {
        settle_ordered::<true>(slot, lease, decide)
    }
}

/// Ends with one ordering instead of two: Release or Acquire.
fn settle_ordered<const RELEASE: bool>(slot: &SlotState, lease: Epoch, mut decide: impl FnMut(Word) -> Next) -> Result<Settled, Stale> {
    loop {
        turn(slot);
        let word = Word::from_raw(slot.raw().load(Relaxed));
        if word.phase() != Phase::Running || word.epoch() != lease {
            return Err(Stale(word));
        }
        let Next::End { fate, .. } = decide(word) else { panic!("this mutation only ends jobs") };
        let left = word.with_holders(word.holders() - 1).with_fate(fate);
        let next = left.with_phase(if left.holders() == 0 { Phase::Free } else { Phase::Zombie });
        if slot.raw().compare_exchange(word.raw(), next.raw(), if RELEASE { Release } else { Acquire }, Relaxed).is_ok() {
            return Ok(if left.holders() == 0 { Settled::Owner(next) } else { Settled::Left(next) });
        }
    }
}

mutation! {
    /// A leaver looks again after it has left.
    LeaveRereads:
    fn leave(slot: &SlotState) -> Leave {
        let _ = slot.leave();
        let word = peek(slot);
        if word.phase() == Phase::Zombie && word.holders() == 0 { Leave::Owner(word) } else { Leave::NotLast }
    }
}
mutation! {
    /// A stale holder goes without leaving.
    NeverLeaves:
    fn leave(_slot: &SlotState) -> Leave {
        Leave::NotLast
    }
}
mutation! {
    /// Leaving publishes nothing.
    LeaveWithoutRelease:
    fn leave(slot: &SlotState) -> Leave {
        leave_ordered::<false>(slot)
    }
}
mutation! {
    /// The last leaver does not wait for the other readers.
    LeaveWithoutAcquire:
    fn leave(slot: &SlotState) -> Leave {
        leave_ordered::<true>(slot)
    }
}

fn leave_ordered<const RELEASE: bool>(slot: &SlotState) -> Leave {
    let holder = Word::FREE.with_holders(1).raw();
    let before = Word::from_raw(slot.raw().fetch_sub(holder, if RELEASE { Release } else { Acquire }));
    if before.phase() == Phase::Zombie && before.holders() == 1 { Leave::Owner(before) } else { Leave::NotLast }
}

mutation! {
    /// Whoever disposes of a slot does not wait for the readers that left.
    DisposeWithoutAcquire:
    fn dispose(slot: &SlotState, epoch: Epoch) -> Dispose {
        loop {
            turn(slot);
        let word = Word::from_raw(slot.raw().load(Relaxed));
            assert!(word.phase() == Phase::Doomed && word.epoch() == epoch);
            let next = word.with_phase(if word.holders() == 0 { Phase::Free } else { Phase::Zombie });
            if slot.raw().compare_exchange(word.raw(), next.raw(), Release, Relaxed).is_ok() {
                return if word.holders() == 0 { Dispose::Owner(next) } else { Dispose::Left(next) };
            }
        }
    }
}
mutation! {
    /// Whoever disposes of a slot does not look at the holders.
    DisposeReclaims:
    fn dispose(slot: &SlotState, epoch: Epoch) -> Dispose {
        match slot.dispose(epoch) {
            Dispose::Left(_) => Dispose::Owner(peek(slot)),
            other => other,
        }
    }
}
mutation! {
    /// An expiry counts the stuck holder out.
    ExpireDropsHolder:
    fn expire(slot: &SlotState, lease: Epoch, max: u32) -> Expire {
        let outcome = slot.expire(lease, max);
        if !matches!(outcome, Expire::Lost(_)) {
            slot.raw().fetch_sub(Word::FREE.with_holders(1).raw(), AcqRel);
        }
        outcome
    }
}
mutation! {
    /// An expiry ends whatever lease it finds.
    ExpireIgnoresEpoch:
    fn expire(slot: &SlotState, _lease: Epoch, max: u32) -> Expire {
        slot.expire(peek(slot).epoch(), max)
    }
}
mutation! {
    /// The timer takes the index without having seen its last owner go.
    ExpireWithoutAcquire:
    fn expire(slot: &SlotState, lease: Epoch, _max: u32) -> Expire {
        turn(slot);
        let word = Word::from_raw(slot.raw().load(Relaxed));
        let next = word.with_phase(Phase::Ready);
        if word.phase() != Phase::Running || word.epoch() != lease {
            return Expire::Lost(word);
        }
        match slot.raw().compare_exchange(word.raw(), next.raw(), Relaxed, Relaxed) {
            Ok(_) => Expire::Ready(next),
            Err(now) => Expire::Lost(Word::from_raw(now)),
        }
    }
}
mutation! {
    /// An extension keeps the epoch.
    ExtendWithoutBump:
    fn extend(slot: &SlotState, lease: Epoch) -> Result<Epoch, Stale> {
        let word = peek(slot);
        if word.phase() == Phase::Running && word.epoch() == lease { Ok(lease) } else { Err(Stale(word)) }
    }
}
mutation! {
    /// The timer takes a claim back in its old epoch.
    TakeBackWithoutBump:
    fn take_back(slot: &SlotState, claim: Epoch) -> Option<(Epoch, Phase)> {
        let word = peek(slot);
        (word.epoch() == claim && matches!(word.phase(), Phase::Ready | Phase::Doomed)).then(|| (claim, word.phase()))
    }
}
mutation! {
    /// A worker gives its batch back in its old epoch.
    GiveBackWithoutBump:
    fn give_back(slot: &SlotState, claim: Epoch) -> Option<(Epoch, Phase)> {
        let word = peek(slot);
        (word.epoch() == claim && word.phase() == Phase::Ready).then_some((claim, Phase::Ready))
    }
}
mutation! {
    /// A thief takes a claim in its old epoch.
    StealWithoutBump:
    fn steal(slot: &SlotState, claim: Epoch) -> Option<Epoch> {
        let word = peek(slot);
        (word.epoch() == claim && word.phase() == Phase::Ready).then_some(claim)
    }
}
mutation! {
    /// The timer fires by look and store.
    FireByStore:
    fn fire(slot: &SlotState) -> Fire {
        let word = peek(slot);
        if word.phase() == Phase::Doomed {
            return Fire::Doomed(word);
        }
        slot.raw().swap(word.with_phase(Phase::Ready).raw(), AcqRel);
        Fire::Ready(word.with_phase(Phase::Ready))
    }
}
mutation! {
    /// One flag for both: a poke looks like a handover.
    OneFlag:
    const POKE: Flag = Flag::Handover;
}
mutation! {
    /// A canceller does not check whose slot it is.
    CancelWithoutId:
    const CHECKS_ID: bool = false;
}

const JOBS: usize = 3;

/// One slot with everything around it, and the oracles.
struct Table<P> {
    state: SlotState,
    /// The job in the slot; 0: none. Written when filled and when dropped, read by holders.
    payload: UnsafeCell<u32>,
    /// The id of the job, for cancellers. Written while the slot is filled, read by anyone.
    id: AtomicU32,
    /// Stands for the intrusive link: only the owner of the index may touch it.
    link: UnsafeCell<u32>,
    /// A lane of one index, with a ring's edges.
    lane: AtomicU32,
    /// The seat of a worker: 0, or its epoch + 1. Relaxed: the protocol must not lean on what a claim carries.
    seat: AtomicU64,
    inbox: Inbox,
    /// Per job: outcomes, and drops of the payload. Not watched by loom: oracles order nothing.
    outcomes: [std::sync::atomic::AtomicU32; JOBS],
    drops: [std::sync::atomic::AtomicU32; JOBS],
    protocol: PhantomData<P>,
}

// SAFETY: who may touch payload and link is what the models check; loom reports every access that is not ordered.
unsafe impl<P> Sync for Table<P> {}
// SAFETY: nothing in it belongs to a thread.
unsafe impl<P> Send for Table<P> {}

impl<P: Protocol> Table<P> {
    fn new() -> Arc<Self> {
        Arc::new(Table {
            state: SlotState::new(),
            payload: UnsafeCell::new(0),
            id: AtomicU32::new(0),
            link: UnsafeCell::new(0),
            lane: AtomicU32::new(0),
            seat: AtomicU64::new(0),
            inbox: Inbox::new(1),
            outcomes: Default::default(),
            drops: Default::default(),
            protocol: PhantomData,
        })
    }

    /// Filled with job 1 and started once by the caller: the lease.
    fn started() -> (Arc<Self>, Epoch) {
        let table = Self::new();
        let lease = table.start(table.fill(1)).expect("nobody else knows it");
        (table, lease)
    }

    fn fill(&self, job: u32) -> Epoch {
        self.payload.with_mut(|payload| {
            // SAFETY: the caller owns the vacant slot; the models check it
            let payload = unsafe { &mut *payload };
            assert_eq!(*payload, 0, "filled over a payload");
            *payload = job;
        });
        self.id.store(job, Relaxed);
        P::fill(&self.state)
    }

    fn touch_link(&self) {
        // SAFETY: the caller owns the index; the models check it
        self.link.with_mut(|link| unsafe { *link += 1 });
    }

    fn push(&self) {
        self.touch_link();
        assert_eq!(self.lane.swap(1, AcqRel), 0, "the index was pushed twice");
    }

    /// The epoch of the popped index.
    fn pop(&self) -> Option<Epoch> {
        if self.lane.swap(0, AcqRel) == 0 {
            return None;
        }
        self.touch_link();
        let word = P::load(&self.state);
        assert!(matches!(word.phase(), Phase::Ready | Phase::Doomed), "popped {word:?}");
        Some(word.epoch())
    }

    fn start(&self, claim: Epoch) -> Option<Epoch> {
        match P::start(&self.state, claim) {
            Start::Running(word) => Some(word.epoch()),
            Start::Doomed | Start::Moved => None,
        }
    }

    /// What a handler does with its payload: the job in it.
    fn read(&self) -> u32 {
        // SAFETY: the caller is a holder; the models check it
        self.payload.with(|payload| unsafe { *payload })
    }

    fn end(&self, fate: Fate) -> impl FnMut(Word) -> Next {
        move |_| Next::End { fate, spend_failure: false }
    }

    /// Acknowledges, or leaves; reclaims the slot if that is its part. True: this one acknowledged.
    fn ack(&self, lease: Epoch, job: u32) -> bool {
        match P::settle(&self.state, lease, self.end(Fate::Acked)) {
            Ok(settled) => {
                self.outcome(job);
                if let Settled::Owner(_) = settled {
                    self.reclaim(job);
                }
                true
            }
            Err(Stale(_)) => {
                self.leave(job);
                false
            }
        }
    }

    fn leave(&self, job: u32) {
        if let Leave::Owner(_) = P::leave(&self.state) {
            self.reclaim(job);
        }
    }

    fn outcome(&self, job: u32) {
        let before = self.outcomes[job as usize].fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(before, 0, "job {job} ended twice");
    }

    fn outcomes(&self, job: u32) -> u32 {
        self.outcomes[job as usize].load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Drops the payload, as the owner of a slot whose job is over.
    fn reclaim(&self, job: u32) {
        self.touch_link();
        // SAFETY: the caller owns the slot; the models check it
        let found = self.payload.with_mut(|payload| unsafe { std::mem::take(&mut *payload) });
        assert_eq!(found, job, "dropped another job's payload");
        let before = self.drops[job as usize].fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(before, 0, "job {job} dropped twice");
    }

    fn dropped(&self, job: u32) -> u32 {
        self.drops[job as usize].load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Pops and runs what is in the lane until it is empty.
    fn run_lane(&self) {
        while let Some(claim) = self.pop() {
            match P::start(&self.state, claim) {
                Start::Running(word) => {
                    let job = self.read();
                    self.ack(word.epoch(), job);
                }
                Start::Doomed => self.dispose(claim),
                Start::Moved => panic!("popped an index that is somebody else's"),
            }
        }
    }

    fn dispose(&self, epoch: Epoch) {
        if let Dispose::Owner(word) = P::dispose(&self.state, epoch) {
            assert_eq!(word.fate(), Fate::Cancelled);
            self.reclaim(1);
        }
    }

    /// Cancels `job` as `cancel(job id)` does. True: it will not be acknowledged.
    fn cancel(&self, job: u32) -> Option<CancelStep> {
        let mut word = P::load(&self.state);
        loop {
            if P::CHECKS_ID && self.id.load(Relaxed) != job {
                return None;
            }
            match self.state.cancel(word, Fate::Cancelled) {
                CancelStep::Retry(now) => word = now,
                step => return Some(step),
            }
        }
    }

    /// Quiet at last: job 1 ended once, was dropped once, and nobody is left in the slot.
    fn assert_over(&self) {
        assert_eq!((self.outcomes(1), self.dropped(1)), (1, 1), "outcomes and drops of job 1");
        assert_eq!(self.state.load().holders(), 0);
        assert_eq!(self.lane.load(Relaxed), 0, "the index is left in the lane");
    }
}

fn spawn<P: Protocol>(table: &Arc<Table<P>>, body: impl FnOnce(&Table<P>) + Send + 'static) -> thread::JoinHandle<()> {
    let table = Arc::clone(table);
    thread::spawn(move || body(&table))
}

/// A model as a function of its protocol, checked as it is, and failing under each mutation.
macro_rules! model {
    ($(#[$doc:meta])* $name:ident, $bound:expr, fails: [$($mutation:ident as $twin:ident),* $(,)?]) => {
        mod $name {
            use super::*;
            $(#[$doc])*
            #[test]
            fn holds() {
                check(concat!("state/", stringify!($name)), $bound, super::$name::<Sound>);
            }
            $(
                #[test]
                fn $twin() {
                    must_fail(concat!("state/", stringify!($name), "/", stringify!($twin)), $bound, super::$name::<$mutation>);
                }
            )*
        }
    };
}

// ---- M7: two workers with the same claim ----

fn two_starts<P: Protocol>() {
    let table = Table::<P>::new();
    let claim = table.fill(1);
    let runs = move |table: &Table<P>| {
        if let Some(lease) = table.start(claim) {
            assert_eq!(lease, claim.next());
            assert_eq!(table.read(), 1);
            assert!(table.ack(lease, 1));
        }
    };
    let other = spawn(&table, runs);
    runs(&table);
    other.join().unwrap();
    table.assert_over();
}
model! {
    /// Both see Ready, both run it.
    two_starts, Bound::ALL, fails: [StartByStore as by_store]
}

// ---- the word carries the payload, whoever brought the index ----

fn hearsay_start<P: Protocol>() {
    let table = Table::<P>::new();
    let producer = spawn(&table, |table| {
        let claim = table.fill(1);
        table.seat.store(claim.raw() + 1, Relaxed);
    });
    let seat = table.seat.load(Relaxed);
    if seat != 0
        && let Some(lease) = table.start(Epoch::from_raw(seat - 1))
    {
        assert_eq!(table.read(), 1);
        assert!(table.ack(lease, 1));
    }
    producer.join().unwrap();
}
model! {
    /// A worker learns of a claim without any ordering, starts it, and reads a payload that is still being written.
    hearsay_start, Bound::ALL, fails: [FillWithoutRelease as fill_without_release, StartWithoutAcquire as start_without_acquire]
}

// ---- whoever sees it running finds the claim ----

fn claim_is_seen<P: Protocol>() {
    let table = Table::<P>::new();
    let claim = table.fill(1);
    let worker = spawn(&table, move |table| {
        if P::CLAIM_FIRST {
            table.seat.store(claim.raw() + 1, Relaxed);
        }
        table.start(claim);
        if !P::CLAIM_FIRST {
            table.seat.store(claim.raw() + 1, Relaxed);
        }
    });
    if P::load(&table.state).phase() == Phase::Running {
        assert_eq!(table.seat.load(Relaxed), claim.raw() + 1, "a running job that no claim speaks of is never expired");
    }
    worker.join().unwrap();
}
model! {
    /// The worker stops between its start and its claim, and the timer never learns that it runs.
    claim_is_seen, Bound::ALL, fails: [ClaimAfterStart as claim_after_start, StartWithoutRelease as start_without_release]
}

// ---- M8: ack, expiry, redelivery ----

fn ack_expire_redelivery<P: Protocol>() {
    let (table, lease) = Table::<P>::started();
    let expired = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let timer = spawn(&table, {
        let expired = Arc::clone(&expired);
        move |table| {
            if let Expire::Ready(_) = P::expire(&table.state, lease, 5) {
                expired.store(true, std::sync::atomic::Ordering::Relaxed);
                table.push();
            }
        }
    });
    let second = spawn(&table, |table| table.run_lane());
    assert_eq!(table.read(), 1);
    let acked = table.ack(lease, 1);
    timer.join().unwrap();
    second.join().unwrap();
    assert_ne!(acked, expired.load(std::sync::atomic::Ordering::Relaxed), "the lease ended twice, or never");
    table.run_lane();
    table.assert_over();
}
model! {
    /// The first worker acknowledges while its lease expires and a second one runs the job: both would end it, or its payload would go under a reader.
    ack_expire_redelivery, Bound::ALL, fails: [
        LateSettle as late_settle,
        SettleByStore as settle_by_store,
        SettleReclaims as settle_reclaims,
        ExpireDropsHolder as expire_drops_holder,
        StartWithoutBump as start_without_bump,
    ]
}

// ---- the timer owns the index after an expiry ----

fn expiry_takes_the_link<P: Protocol>() {
    let table = Table::<P>::new();
    table.fill(1);
    table.push();
    let worker = spawn(&table, |table| {
        let claim = table.pop().expect("pushed before");
        table.seat.store(claim.raw() + 1, Relaxed);
        table.start(claim);
        // and is stuck for ever
    });
    let seat = table.seat.load(Relaxed);
    if seat != 0
        && let Expire::Ready(_) = P::expire(&table.state, Epoch::from_raw(seat), 5)
    {
        table.push();
    }
    worker.join().unwrap();
}
model! {
    /// The timer writes the link of an expired job that the stuck worker's pop has not finished reading.
    expiry_takes_the_link, Bound::ALL, fails: [ExpireWithoutAcquire as expire_without_acquire, StartWithoutRelease as start_without_release]
}

// ---- M9: ack, nack, extend, expire on one lease ----

fn one_winner_per_epoch<P: Protocol>() {
    let (table, lease) = Table::<P>::started();
    let wins = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let contender = |act: fn(&Table<P>, Epoch) -> bool| {
        let wins = Arc::clone(&wins);
        spawn(&table, move |table| {
            wins.fetch_add(u32::from(act(table, lease)), std::sync::atomic::Ordering::Relaxed);
        })
    };
    let threads = [
        contender(|table, lease| P::settle(&table.state, lease, table.end(Fate::Acked)).is_ok()),
        contender(|table, lease| P::settle(&table.state, lease, |_| Next::Ready { spend_failure: true }).is_ok()),
        contender(|table, lease| P::extend(&table.state, lease).is_ok()),
    ];
    let expired = !matches!(P::expire(&table.state, lease, 5), Expire::Lost(_));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let wins = wins.load(std::sync::atomic::Ordering::Relaxed) + u32::from(expired);
    assert_eq!(wins, 1, "one transition ends an epoch");
    let word = table.state.load();
    let (failures, expiries) = (word.failures(), word.expiries());
    match word.phase() {
        Phase::Free => assert_eq!((word.holders(), failures, expiries), (0, 0, 0), "acknowledged"),
        Phase::Ready if expired => assert_eq!((word.holders(), failures, expiries), (1, 0, 1), "expired"),
        Phase::Ready => assert_eq!((word.holders(), failures, expiries), (0, 1, 0), "negatively acknowledged"),
        _ => assert_eq!((word.holders(), failures, expiries, word.epoch()), (1, 0, 0, lease.next()), "extended"),
    }
}
model! {
    /// Two of four would-be ends of one lease both believe that they were first.
    one_winner_per_epoch, Bound::preemptions(2), fails: [ExtendWithoutBump as extend_without_bump, ExpireIgnoresEpoch as expire_ignores_epoch, LateSettle as late_settle]
}

// ---- extend against expiry, with the handler going on ----

fn extend_or_expire<P: Protocol>() {
    let (table, lease) = Table::<P>::started();
    let timer = spawn(&table, move |table| {
        if let Expire::Ready(_) = P::expire(&table.state, lease, 5) {
            table.push();
        }
    });
    let canceller = spawn(&table, |table| {
        table.cancel(1);
    });
    match P::extend(&table.state, lease) {
        Ok(fresh) => assert!(table.ack(fresh, 1), "an extended lease was expired by a look at the old one"),
        Err(_) => table.leave(1),
    }
    timer.join().unwrap();
    canceller.join().unwrap();
    assert!(table.outcomes(1) == 1 || matches!(table.state.load().phase(), Phase::Ready | Phase::Doomed | Phase::Zombie | Phase::Free));
}
model! {
    /// The timer decided to expire the lease before the extension and carries it out after.
    extend_or_expire, Bound::preemptions(3), fails: [ExtendWithoutBump as extend_without_bump]
}

// ---- M10: stuck handler, expiry, redelivery, ack, refill ----

fn stuck_handler<P: Protocol>() {
    let (table, lease) = Table::<P>::started();
    // whoever reclaims the slot of job 1 fills it with job 2
    fn refill<P: Protocol>(table: &Table<P>) {
        if table.dropped(1) == 1 {
            table.fill(2);
        }
    }
    let stuck = spawn(&table, move |table| {
        assert_eq!(table.read(), 1, "a stuck handler sees the payload of the next job");
        match P::settle(&table.state, lease, table.end(Fate::Acked)) {
            Ok(settled) => {
                table.outcome(1);
                if let Settled::Owner(_) = settled {
                    table.reclaim(1);
                    refill(table);
                }
            }
            Err(_) => {
                assert_eq!(table.read(), 1, "a stuck handler sees the payload of the next job");
                if let Leave::Owner(_) = P::leave(&table.state) {
                    table.reclaim(1);
                    refill(table);
                }
            }
        }
    });
    // the timer, then the worker of the second delivery
    if let Expire::Ready(word) = P::expire(&table.state, lease, 5) {
        let second = table.start(word.epoch()).expect("nobody else knows it");
        assert_eq!(table.read(), 1);
        if let Ok(settled) = P::settle(&table.state, second, table.end(Fate::Acked)) {
            table.outcome(1);
            if let Settled::Owner(_) = settled {
                table.reclaim(1);
                refill(&table);
            }
        }
    }
    stuck.join().unwrap();
    assert_eq!((table.outcomes(1), table.dropped(1)), (1, 1));
    let word = table.state.load();
    assert_eq!((word.phase(), word.holders(), table.read()), (Phase::Ready, 0, 2), "the slot was not filled again");
}
model! {
    /// A stuck handler comes back after expiry, redelivery, ack and refill, and reads or settles the job of another.
    stuck_handler, Bound::ALL, fails: [
        SettleReclaims as settle_reclaims,
        ExpireDropsHolder as expire_drops_holder,
        LateSettle as late_settle,
        NeverLeaves as never_leaves,
        LeaveWithoutRelease as leave_without_release,
        SettleWithoutAcquire as settle_without_acquire,
        SettleWithoutRelease as settle_without_release,
    ]
}

// ---- two stale holders leave together ----

fn last_two_leave<P: Protocol>() {
    let (table, lease) = Table::<P>::started();
    assert!(matches!(table.state.expire(lease, 1), Expire::Ready(_)));
    let lease = table.start(lease).expect("nobody else knows it");
    assert!(matches!(table.state.expire(lease, 1), Expire::Buried(_)));
    table.outcome(1);
    let goes = |table: &Table<P>| {
        assert_eq!(table.read(), 1);
        table.leave(1);
    };
    let other = spawn(&table, goes);
    goes(&table);
    other.join().unwrap();
    table.assert_over();
}
model! {
    /// Both have left before either looks again: both reclaim. Or the last one drops what the other still reads.
    last_two_leave, Bound::ALL, fails: [
        LeaveRereads as leave_rereads,
        NeverLeaves as never_leaves,
        LeaveWithoutRelease as leave_without_release,
        LeaveWithoutAcquire as leave_without_acquire,
    ]
}

// ---- M11: M10's epoch with two bits ----

fn old_claim_new_epoch<P: Protocol>() {
    let table = Table::<P>::new();
    let claim = table.fill(1);
    let sleeper = spawn(&table, move |table| {
        if let Some(lease) = table.start(claim) {
            assert_eq!(table.read(), 1, "an old claim runs a new job");
            table.ack(lease, 1);
        }
    });
    // taken back, run, and the slot used again until the two low bits come round
    if let Some((second, _)) = P::take_back(&table.state, claim) {
        let lease = table.start(second).expect("nobody else knows it");
        table.ack(lease, 1);
        let refilled = table.fill(2);
        let (round, _) = P::take_back(&table.state, refilled).expect("an old claim runs a new job");
        assert_eq!(round.raw() & 3, claim.raw() & 3);
    }
    sleeper.join().unwrap();
    assert_eq!((table.outcomes(1), table.dropped(1)), (1, 1));
}
model! {
    /// A claim sleeps through four epochs of its slot.
    old_claim_new_epoch, Bound::ALL, fails: [TwoBitEpoch as two_bits, StartRereads as start_rereads]
}

// ---- M17: a caught panic against the expiry ----

fn panic_or_expire<P: Protocol>() {
    let (table, lease) = Table::<P>::started();
    let timer = spawn(&table, move |table| {
        if let Expire::Ready(_) = P::expire(&table.state, lease, 5) {
            table.push();
        }
    });
    let handler = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        assert_eq!(table.read(), 1);
        std::panic::resume_unwind(Box::new("the handler panics"));
    }));
    assert!(handler.is_err());
    match P::settle(&table.state, lease, |_| Next::Ready { spend_failure: true }) {
        Ok(Settled::Ready(word)) => {
            assert_eq!(word.failures(), 1);
            table.push();
        }
        Ok(other) => panic!("{other:?}"),
        Err(Stale(word)) => {
            assert_eq!(word.failures(), 0);
            table.leave(1);
        }
    }
    timer.join().unwrap();
    table.run_lane();
    table.assert_over();
    assert_eq!(table.state.load().failures() + table.state.load().expiries(), 1, "one failure or one expiry, not both");
}
model! {
    /// The failure of a panicked handler and the expiry of its lease both put the index into the lane.
    panic_or_expire, Bound::ALL, fails: [SettleByStore as settle_by_store, NeverLeaves as never_leaves, ExpireDropsHolder as expire_drops_holder]
}

// ---- cancel against start, settlement, reuse ----

fn cancel_or_run<P: Protocol>() {
    let table = Table::<P>::new();
    let claim = table.fill(1);
    let fate = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let worker = spawn(&table, {
        let fate = Arc::clone(&fate);
        move |table| match P::start(&table.state, claim) {
            Start::Running(word) => {
                assert_eq!(table.read(), 1);
                let settled = P::settle(&table.state, word.epoch(), |word| {
                    let fate = if word.is_cancelled() { Fate::Cancelled } else { Fate::Acked };
                    Next::End { fate, spend_failure: false }
                });
                let Ok(Settled::Owner(word)) = settled else { panic!("{settled:?}") };
                table.outcome(1);
                table.reclaim(1);
                fate.store(word.fate() as u32, std::sync::atomic::Ordering::Relaxed);
            }
            Start::Doomed => {
                table.outcome(1);
                table.dispose(claim);
                fate.store(Fate::Cancelled as u32, std::sync::atomic::Ordering::Relaxed);
            }
            Start::Moved => panic!("nobody moved it"),
        }
    });
    let step = table.cancel(1).expect("the id does not change");
    worker.join().unwrap();
    table.assert_over();
    let cancelled = fate.load(std::sync::atomic::Ordering::Relaxed) == Fate::Cancelled as u32;
    assert_eq!(matches!(step, CancelStep::Doomed | CancelStep::Flagged), cancelled, "{step:?} was not the truth");
}
model! {
    /// A canceller is told that it was in time, and the job is acknowledged all the same.
    cancel_or_run, Bound::ALL, fails: [SettleByStore as settle_by_store, StartByStore as start_by_store]
}

fn cancel_or_reuse<P: Protocol>() {
    let table = Table::<P>::new();
    let claim = table.fill(1);
    let worker = spawn(&table, move |table| {
        // job 1 is too old to start; its slot goes to job 2
        match table.state.end_claimed(claim, Fate::Expired) {
            Dispose::Owner(_) => table.reclaim(1),
            other => panic!("{other:?}"),
        }
        table.fill(2);
    });
    table.cancel(1);
    worker.join().unwrap();
    assert_eq!(table.state.load().phase(), Phase::Ready, "cancelled another job");
    assert_eq!(table.read(), 2);
}
model! {
    /// Between the canceller's look and its CAS the slot gets another job, which is cancelled instead.
    cancel_or_reuse, Bound::ALL, fails: [
        FillWithoutBump as fill_without_bump,
        CancelWithoutId as without_id,
        FillWithoutRelease as fill_without_release,
        LoadWithoutAcquire as load_without_acquire,
    ]
}

// ---- a doomed job is disposed of while a stale holder leaves ----

fn dispose_or_leave<P: Protocol>() {
    let (table, lease) = Table::<P>::started();
    let Expire::Ready(word) = table.state.expire(lease, 5) else { panic!("nobody else knows it") };
    assert_eq!(table.cancel(1), Some(CancelStep::Doomed));
    table.outcome(1);
    let stale = spawn(&table, |table| {
        assert_eq!(table.read(), 1);
        table.leave(1);
    });
    assert_eq!(P::start(&table.state, word.epoch()), Start::Doomed);
    table.dispose(word.epoch());
    stale.join().unwrap();
    table.assert_over();
}
model! {
    /// The worker that finds its claim doomed drops the payload under the eyes of a stale holder; or neither of them drops it.
    dispose_or_leave, Bound::ALL, fails: [
        DisposeReclaims as dispose_reclaims,
        DisposeWithoutAcquire as dispose_without_acquire,
        LeaveWithoutRelease as leave_without_release,
        NeverLeaves as never_leaves,
    ]
}

// ---- taking claims away ----

fn take_back_or_start<P: Protocol>() {
    let table = Table::<P>::new();
    let claim = table.fill(1);
    let worker = spawn(&table, move |table| {
        if let Some(lease) = table.start(claim) {
            assert_eq!(table.read(), 1);
            table.ack(lease, 1);
        }
    });
    if P::take_back(&table.state, claim).is_some() {
        table.push();
    }
    table.run_lane();
    worker.join().unwrap();
    table.assert_over();
}
model! {
    /// The timer pushes a claim that the worker, only late, starts after all.
    take_back_or_start, Bound::ALL, fails: [TakeBackWithoutBump as take_back_without_bump, StartByStore as start_by_store]
}

fn steal_or_start<P: Protocol>() {
    let table = Table::<P>::new();
    let claim = table.fill(1);
    let runs = |table: &Table<P>, claim: Epoch| {
        if let Some(lease) = table.start(claim) {
            assert_eq!(table.read(), 1);
            assert!(table.ack(lease, 1));
        }
    };
    let owner = spawn(&table, move |table| runs(table, claim));
    let timer = spawn(&table, move |table| {
        if P::take_back(&table.state, claim).is_some() {
            table.push();
        }
    });
    if let Some(stolen) = P::steal(&table.state, claim) {
        assert_eq!(stolen, claim.next());
        // nobody else knows this epoch
        assert!(matches!(table.state.load().phase(), Phase::Ready));
        runs(&table, stolen);
    }
    owner.join().unwrap();
    timer.join().unwrap();
    table.run_lane();
    table.assert_over();
}
model! {
    /// Owner, thief and timer all take the same claim for theirs.
    steal_or_start, Bound::ALL, fails: [StealWithoutBump as steal_without_bump, TakeBackWithoutBump as take_back_without_bump]
}

fn batch_return<P: Protocol>() {
    let table = Table::<P>::new();
    let claim = table.fill(1);
    let worker = spawn(&table, move |table| {
        if P::give_back(&table.state, claim).is_some() {
            table.push();
        }
    });
    // the timer still reads the old claim in the worker's seat
    if P::take_back(&table.state, claim).is_some() {
        table.push();
    }
    worker.join().unwrap();
    table.run_lane();
    table.assert_over();
}
model! {
    /// A worker pushes what it gives back, and the timer pushes it again by the claim it left behind.
    batch_return, Bound::ALL, fails: [GiveBackWithoutBump as give_back_without_bump]
}

// ---- M21: the timer inbox ----

/// The timer's side: what it owns, and what it does with its mail.
struct Timer {
    owns: bool,
}

impl Timer {
    fn read_mail<P: Protocol>(&mut self, table: &Table<P>) {
        let mut flags = None;
        table.inbox.drain(|_, found| flags = Some(found));
        let Some(flags) = flags else { return };
        if flags.handover() {
            assert!(!self.owns, "the index was handed over twice");
            self.owns = true;
            table.touch_link();
        }
        if self.owns {
            match table.state.load().phase() {
                Phase::Doomed => self.push(table),
                Phase::Delayed => {}
                other => panic!("the timer owns a slot that is {other:?}"),
            }
        }
    }

    fn fire<P: Protocol>(&mut self, table: &Table<P>) {
        if self.owns {
            P::fire(&table.state);
            self.push(table);
        }
    }

    fn push<P: Protocol>(&mut self, table: &Table<P>) {
        self.owns = false;
        table.push();
    }
}

fn arm_cancel_fire<P: Protocol>() {
    let (table, lease) = Table::<P>::started();
    let nacker = spawn(&table, move |table| match P::settle(&table.state, lease, |_| Next::Delayed { spend_failure: true }) {
        Ok(Settled::Delayed(_)) => {
            table.touch_link();
            table.inbox.post(0, Flag::Handover);
        }
        other => panic!("{other:?}"),
    });
    let canceller = spawn(&table, |table| match table.cancel(1) {
        Some(CancelStep::DoomedDelayed) => {
            table.outcome(1);
            table.inbox.post(0, P::POKE);
        }
        Some(CancelStep::Doomed) => table.outcome(1),
        Some(CancelStep::Flagged | CancelStep::Gone) | None => {}
        Some(CancelStep::Retry(_)) => unreachable!(),
    });
    let mut timer = Timer { owns: false };
    timer.read_mail(&table);
    timer.fire(&table);
    nacker.join().unwrap();
    canceller.join().unwrap();
    timer.read_mail(&table);
    timer.fire(&table);
    // exactly one push came of it
    let claim = table.pop().expect("the index was lost");
    match P::start(&table.state, claim) {
        Start::Running(word) => {
            assert!(table.ack(word.epoch(), 1));
        }
        Start::Doomed => table.dispose(claim),
        Start::Moved => panic!("nobody moved it"),
    }
    table.assert_over();
}
model! {
    /// A canceller's poke overtakes the nacker's handover; or the cancel falls between the timer's look and its fire.
    arm_cancel_fire, Bound::ALL, fails: [OneFlag as one_flag, FireByStore as fire_by_store]
}

/// Two slots, two senders, one timer: nothing posted is lost, whatever is posted while the list is being read.
fn mail<const FLAGS_FIRST: bool>() {
    struct Post {
        inbox: Inbox,
        /// What travels with a handover.
        due: [UnsafeCell<u32>; 2],
    }
    // SAFETY: a due time is written before its handover and read after; loom reports it if the inbox does not order them.
    unsafe impl Sync for Post {}
    // SAFETY: nothing in it belongs to a thread.
    unsafe impl Send for Post {}

    let post = Arc::new(Post { inbox: Inbox::new(2), due: [UnsafeCell::new(0), UnsafeCell::new(0)] });
    let hand_over = |post: &Post, index: u32| {
        // SAFETY: this sender alone owns the index
        post.due[index as usize].with_mut(|due| unsafe { *due = 7 });
        post.inbox.post(index, Flag::Handover);
    };
    let first = thread::spawn({
        let post = Arc::clone(&post);
        move || {
            post.inbox.post(1, Flag::Poke);
            hand_over(&post, 0);
        }
    });
    let second = thread::spawn({
        let post = Arc::clone(&post);
        move || hand_over(&post, 1)
    });
    let mut handed_over = [0, 0];
    let mut read = || {
        post.inbox.drain_in_order::<FLAGS_FIRST>(|index, flags| {
            if flags.handover() {
                handed_over[index as usize] += 1;
                // SAFETY: the handover gave us the index
                post.due[index as usize].with(|due| assert_eq!(unsafe { *due }, 7));
            }
        });
    };
    read();
    read();
    first.join().unwrap();
    second.join().unwrap();
    read();
    assert_eq!(handed_over, [1, 1], "mail was lost");
}

/// A slot is posted again between the clearing of its flags and the reading of its link: the rest of the list is lost.
#[test]
fn no_mail_is_lost() {
    check("inbox/no_mail_is_lost", Bound::ALL, mail::<false>);
}

#[test]
fn no_mail_is_lost_twin_flags_before_link() {
    must_fail("inbox/flags_before_link", Bound::ALL, mail::<true>);
}
