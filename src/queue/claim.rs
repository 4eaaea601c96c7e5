//! Jobs are taken out of the lanes, and one is started.
//!
//! A claim is published in the claimer's own block *before* the job is started: from then on the timer can see it, age it, expire it or take it back,
//! and an idle colleague can steal it while it has not been started. The claim costs one store. See the slab's essay for the protocol.

use super::bent::{Bend, is_bent};
use super::{Accounts, Aftermath, Queue};
use crate::chain::{Chain, Links};
use crate::clock::{Timestamp, nanos};
use crate::config::Discipline;
use crate::id::JobId;
use crate::inbox::Flag;
use crate::lanes::{Cursor, StrictPicker};
use crate::ledger::{Block, Count};
use crate::limits::PREFETCH_MAX;
use crate::ring::{Pop, PopResult, Popped};
use crate::rng::Rng;
use crate::slab::{Claim, Dispose, Epoch, Fate, Phase, Start, Word};
use crate::sync::CachePadded;
use crate::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

/// How hard to look for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// A cheap poll, for spinning. May miss what a stalled publisher is about to make visible.
    Weak,
    /// Misses nothing that was published: the look before sleeping.
    Strict,
}

/// The claims of one worker or consumer, where the timer and thieves see them.
///
/// The first entries are prefetched jobs, `AHEAD_MAX` per lane; behind them, for a consumer, are the deliveries in its user's hands.
#[derive(Debug)]
pub struct ClaimBlock {
    /// A [`Claim`] each. Written (stores only) by the claimer, or by the settler of the delivery the entry belongs to; read by the timer and by thieves.
    entries: CachePadded<Box<[AtomicU64]>>,
    /// Prefetched jobs that have not been started. Written by the claimer; read by thieves as a hint.
    ahead: AtomicU32,
    /// The claim whose lease the timer has seen run out while it was still running; [`Claim::NONE`] once its handler has returned. Written by the timer
    /// and the claimer, by RMW; read by supervision.
    stuck: AtomicU64,
    /// Its consumer has been told that nothing comes any more. Written by the consumer, read by a shutdown that drains.
    left: AtomicBool,
    prefetched: usize,
}

impl ClaimBlock {
    fn new(lanes: usize, deliveries: usize) -> Self {
        let prefetched = lanes * AHEAD_MAX;
        ClaimBlock {
            entries: CachePadded::new((0..prefetched + deliveries).map(|_| AtomicU64::new(Claim::NONE.raw())).collect()),
            ahead: AtomicU32::new(0),
            stuck: AtomicU64::new(Claim::NONE.raw()),
            left: AtomicBool::new(false),
            prefetched,
        }
    }

    /// How many entries.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The claim in an entry.
    #[inline]
    pub(super) fn claim(&self, entry: usize) -> Claim {
        // edge claim.publish, acquire: the slot was Ready with this epoch when it was claimed
        Claim::from_raw(self.entries[entry].load(Acquire))
    }

    #[inline]
    fn publish(&self, entry: usize, claim: Claim) {
        // edge claim.publish, release: what the claimer has seen of the slot
        self.entries[entry].store(claim.raw(), Release);
    }

    fn clear(&self, entry: Option<u32>) {
        if let Some(entry) = entry {
            self.publish(entry as usize, Claim::NONE);
        }
    }

    /// The timer saw the lease of this claim run out.
    pub(super) fn mark_stuck(&self, claim: Claim) {
        // relaxed: supervision only; RMW because two may write
        self.stuck.swap(claim.raw(), Relaxed);
    }

    /// The lease had been settled after all.
    pub(super) fn unmark_stuck(&self, claim: Claim) {
        // relaxed, both: supervision only
        let _ = self.stuck.compare_exchange(claim.raw(), Claim::NONE.raw(), Relaxed, Relaxed);
    }

    /// True while the handler of a lease that ran out has not returned.
    pub fn is_stuck(&self) -> bool {
        // relaxed: supervision only
        self.stuck.load(Relaxed) != Claim::NONE.raw()
    }

    /// The consumer was told that nothing comes any more: a drain does not wait for it to receive what comes all the same, from a publisher that was on
    /// its way when the queue was closed.
    pub fn leave(&self) {
        // relaxed: read again and again
        self.left.store(true, Relaxed);
    }

    /// The holder of `lease` has it under a new epoch: its claim follows, wherever it stands.
    pub(super) fn reclaim(&self, lease: &Lease, epoch: Epoch) {
        let old = lease.claim();
        let new = Claim::new(lease.index, epoch.previous());
        for entry in 0..self.len() {
            // relaxed: only this claimer writes its entries
            if self.entries[entry].load(Relaxed) == old.raw() {
                self.publish(entry, new);
            }
        }
    }

    /// True when the timer sees no claim of `lease` here: the delivery was promoted into the wheel.
    pub(super) fn is_unobserved(&self, lease: &Lease) -> bool {
        let claim = lease.claim();
        // relaxed: only this claimer writes its entries
        self.entries.iter().all(|entry| entry.load(Relaxed) != claim.raw())
    }

    /// The handler has returned.
    #[inline]
    pub(super) fn clear_stuck(&self) {
        if self.is_stuck() {
            // relaxed: supervision only
            self.stuck.swap(Claim::NONE.raw(), Relaxed);
        }
    }
}

/// The right to run one job and to settle it, once.
#[derive(Debug)]
pub struct Lease {
    pub(super) index: u32,
    /// How often the job was snoozed before.
    snoozes: u32,
    /// The slot's word as the start left it; an extension moves its epoch on.
    pub(super) running: Cell<Word>,
    pub(super) job: JobId,
    pub(super) started: Timestamp,
    /// When it was extended last.
    pub(super) extended: Cell<Timestamp>,
    /// The entry of the claim block that a consumer's delivery occupies.
    pub(super) entry: Option<u32>,
}

impl Lease {
    /// The claim under which the timer observes it.
    fn claim(&self) -> Claim {
        Claim::new(self.index, self.epoch().previous())
    }

    /// The current lease.
    #[inline]
    pub(super) fn epoch(&self) -> Epoch {
        self.running.get().epoch()
    }

    /// The job.
    pub fn job_id(&self) -> JobId {
        self.job
    }

    /// Its lane.
    #[inline]
    pub fn lane(&self) -> usize {
        usize::from(self.running.get().lane())
    }

    /// The number of this delivery, from 1.
    pub fn attempt(&self) -> u32 {
        1 + self.failures() + self.expiries() + self.snoozes
    }

    /// How many deliveries of the job failed before.
    #[inline]
    pub fn failures(&self) -> u32 {
        self.running.get().failures()
    }

    /// How many leases of the job ran out before.
    pub fn expiries(&self) -> u32 {
        self.running.get().expiries()
    }

    /// The fencing number: grows with every delivery and extension of the job.
    pub fn fencing(&self) -> u64 {
        self.epoch().raw()
    }

    /// When the delivery was extended last, or started.
    pub fn extended(&self) -> Timestamp {
        self.extended.get()
    }

    /// When the delivery started.
    pub fn started(&self) -> Timestamp {
        self.started
    }
}

/// Prefetched jobs of one lane, in order.
#[derive(Debug)]
struct LaneClaims {
    held: [(u32, Epoch); AHEAD_MAX],
    at: usize,
    end: usize,
}

impl LaneClaims {
    /// The job that is started next. It may be somebody else's by now.
    fn head(&self) -> Option<u32> {
        (self.at < self.end).then(|| self.held[self.at].0)
    }
}

#[derive(Debug)]
enum Picker {
    Weighted(Cursor),
    Strict(StrictPicker),
}

/// A worker's or consumer's share of a queue: claims, accounts, counts. One thread at a time.
#[derive(Debug)]
pub struct Claimer<T> {
    pub(super) queue: Arc<Queue<T>>,
    pub(super) accounts: Accounts,
    pub(super) ledger: Arc<Block>,
    pub(super) block: Arc<ClaimBlock>,
    pub(super) rng: Rng,
    lanes: Vec<LaneClaims>,
    picker: Picker,
    popped: Popped,
    /// How many jobs to claim at a time.
    prefetch: u32,
    /// About how long a handler runs, in nanoseconds; 0: not known yet.
    run_estimate: u64,
    runs: u32,
    deliveries: usize,
    /// What jobs left that ended before they started: user code, for when the caller has let go of the claimer.
    left: Vec<Aftermath<T>>,
}

/// About this much work is claimed ahead.
const AHEAD_NANOS: u64 = 100_000;
/// Deliveries of one consumer that the timer observes; more are promoted into the wheel one by one.
pub(super) const DELIVERIES: usize = if cfg!(loom) { 2 } else { 32 };
/// Entries for prefetched jobs of one lane. A model has no chains longer than two, and the timer reads every entry.
const AHEAD_MAX: usize = if cfg!(loom) { 2 } else { PREFETCH_MAX as usize };

/// How many jobs of `run_nanos` each make up the work a worker claims ahead.
#[inline]
pub(super) fn jobs_ahead(run_nanos: u64) -> u32 {
    (AHEAD_NANOS / run_nanos.max(1)).clamp(1, u64::from(PREFETCH_MAX)) as u32
}

impl<T> Queue<T> {
    /// A new claimer, or `None` when the queue has as many handles as it can have. `offset` spreads the claimers over the lanes' table; a
    /// `detached` claimer's deliveries leave it before they are settled.
    pub fn open_claimer(self: &Arc<Self>, offset: usize, detached: bool, seed: u64) -> Option<Claimer<T>> {
        let accounts = self.credits.open(&self.slab)?;
        let lanes = self.lanes.len();
        let deliveries = if detached { DELIVERIES } else { 0 };
        let block = Arc::new(ClaimBlock::new(lanes, deliveries));
        self.claims.lock().push(Arc::clone(&block));
        let picker = match self.settings.discipline {
            Discipline::Weighted => Picker::Weighted(Cursor::new(offset)),
            Discipline::Strict { max_wait } => Picker::Strict(StrictPicker::new(lanes, max_wait).expect("a valid queue has 1..=8 lanes")),
        };
        Some(Claimer {
            accounts,
            ledger: self.ledger.open(lanes),
            block,
            rng: Rng::new(seed),
            lanes: (0..lanes).map(|_| LaneClaims { held: [(0, Epoch::from_raw(0)); AHEAD_MAX], at: 0, end: 0 }).collect(),
            picker,
            popped: Popped::new(),
            prefetch: self.settings.prefetch.unwrap_or(if detached { 1 } else { 8 }),
            run_estimate: 0,
            runs: 0,
            deliveries,
            left: Vec::new(),
            queue: Arc::clone(self),
        })
    }

    /// The payload of a delivery, where it lies.
    #[inline]
    pub fn payload<'a>(&'a self, lease: &'a Lease) -> &'a T {
        // SAFETY: a lease is made by a start that won and is consumed when its holder leaves the slot: while it is borrowed, the slot has a holder
        unsafe { self.slab.get(lease.index) }
    }

    /// True while somebody is there to take jobs.
    pub(super) fn has_takers(&self) -> bool {
        // relaxed: see `ClaimBlock::leave`
        self.claims.lock().iter().any(|block| !block.left.load(Relaxed))
    }

    /// Entries of claim blocks that watch a consumer's delivery.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn watched_deliveries(&self) -> usize {
        let watched = |block: &ClaimBlock| (block.prefetched..block.len()).filter(|&entry| !block.claim(entry).is_none()).count();
        self.claims.lock().iter().map(|block| watched(block)).sum()
    }
}

/// A claimer's parts while it takes jobs, without its picker, which calls back into them.
struct Hand<'a, T> {
    queue: &'a Queue<T>,
    accounts: &'a Accounts,
    ledger: &'a Block,
    block: &'a ClaimBlock,
    lanes: &'a mut [LaneClaims],
    popped: &'a mut Popped,
    left: &'a mut Vec<Aftermath<T>>,
    prefetch: u32,
    deliveries: usize,
}

impl<T> Hand<'_, T> {
    /// Starts the first job of `lane` that can be started.
    #[inline]
    fn start_from(&mut self, lane: usize, look: Look, now: Timestamp, started: &mut Option<Lease>) -> bool {
        loop {
            let claims = &mut self.lanes[lane];
            if claims.at == claims.end {
                if !self.refill(lane, look) {
                    return false;
                }
                continue;
            }
            let (index, epoch) = claims.held[claims.at];
            claims.at += 1;
            // relaxed: a hint
            self.block.ahead.store((claims.end - claims.at) as u32, Relaxed);
            if self.start(index, epoch, now, started) {
                return true;
            }
        }
    }

    /// Takes jobs out of a lane and publishes the claims.
    fn refill(&mut self, lane: usize, look: Look) -> bool {
        let mode = match look {
            Look::Weak => Pop::Weak,
            Look::Strict => Pop::Strict,
        };
        let queue = self.queue;
        if queue.lanes[lane].pop(self.prefetch, mode, self.popped) != PopResult::Taken {
            return false;
        }
        // the lines of all of them at once, before the first is waited for
        for chain in self.popped.chains() {
            queue.slab.prefetch(chain.first());
        }
        let mut end = 0;
        for chain in self.popped.chains() {
            for index in chain.iter(&queue.slab) {
                let epoch = queue.slab.state(index).load().epoch();
                if !is_bent(Bend::ClaimsUnseen) {
                    self.block.publish(lane * AHEAD_MAX + end, Claim::new(index, epoch));
                }
                self.lanes[lane].held[end] = (index, epoch);
                end += 1;
            }
        }
        (self.lanes[lane].at, self.lanes[lane].end) = (0, end);
        // relaxed: a hint
        self.block.ahead.store(end as u32, Relaxed);
        true
    }

    /// Starts a claimed job, unless it was cancelled, has expired, or went to somebody else.
    #[inline]
    fn start(&mut self, index: u32, epoch: Epoch, now: Timestamp, started: &mut Option<Lease>) -> bool {
        let queue = self.queue;
        let slot = queue.slab.slot(index);
        if slot.expires() <= now {
            let disposed = slot.state.end_claimed(epoch, Fate::Expired);
            self.dispose(index, disposed, now);
            return false;
        }
        let entry = (self.deliveries > 0).then(|| self.free_delivery()).flatten();
        if let Some(entry) = entry {
            // the delivery outlives the prefetch entry, so it has one of its own before it starts
            self.block.publish(entry as usize, Claim::new(index, epoch));
        }
        match slot.state.start(epoch) {
            Start::Running(word) => {
                let lease = started.insert(Lease {
                    index,
                    snoozes: slot.snoozes(),
                    running: Cell::new(word),
                    job: slot.job_id(),
                    started: now,
                    extended: Cell::new(now),
                    entry,
                });
                let first = lease.attempt() == 1;
                self.ledger.start(lease.lane(), first.then(|| now.since(slot.published()).as_nanos() as u64));
                if self.deliveries > 0 && entry.is_none() && queue.inbox.post(index, Flag::Poke) {
                    // too many deliveries to observe: the timer promotes this one into the wheel
                    queue.wake_timer(0);
                }
                true
            }
            Start::Doomed => {
                self.block.clear(entry);
                let disposed = slot.state.dispose(epoch);
                self.dispose(index, disposed, now);
                false
            }
            Start::Moved => {
                self.block.clear(entry);
                self.ledger.bump(Count::TakenBack);
                false
            }
        }
    }

    #[cold]
    fn dispose(&mut self, index: u32, disposed: Dispose, now: Timestamp) {
        match disposed {
            Dispose::Owner(word) => {
                self.queue.count_fate(self.ledger, word.fate());
                match self.queue.end(self.accounts, self.ledger, index, word, now, false) {
                    Aftermath::Nothing => {}
                    aftermath => self.left.push(aftermath),
                }
            }
            Dispose::Left(word) => self.queue.count_left(self.ledger, word.fate()),
            Dispose::Moved => self.ledger.bump(Count::TakenBack),
        }
    }

    /// An entry for a delivery: one that is empty, or whose delivery is over (it was forgotten and has expired).
    fn free_delivery(&self) -> Option<u32> {
        let range = self.block.prefetched..self.block.len();
        range.clone().chain(range).enumerate().find_map(|(turn, entry)| {
            let claim = self.block.claim(entry);
            let free = claim.is_none()
                || turn >= self.deliveries && {
                    let word = self.queue.slab.state(claim.index()).load();
                    word.epoch() != claim.epoch() && !(word.phase() == Phase::Running && word.epoch() == claim.epoch().next())
                };
            free.then_some(entry as u32)
        })
    }
}

impl<T> Claimer<T> {
    /// The queue.
    pub fn queue(&self) -> &Arc<Queue<T>> {
        &self.queue
    }

    /// Where the timer sees this claimer's claims.
    pub fn block(&self) -> &Arc<ClaimBlock> {
        &self.block
    }

    /// Its counts.
    pub fn ledger(&self) -> &Arc<Block> {
        &self.ledger
    }

    /// Claims and starts the next job.
    #[inline]
    pub fn next(&mut self, look: Look, now: Timestamp) -> Option<Lease> {
        let mut started = None;
        self.next_into(look, now, &mut started);
        started
    }

    /// As [`next`](Self::next), into its place: a lease that was just written cannot be moved without waiting for it. False, and nothing is
    /// written, when there is none.
    #[inline]
    pub fn next_into(&mut self, look: Look, now: Timestamp, started: &mut Option<Lease>) -> bool {
        if self.queue.is_paused() {
            return false;
        }
        let (mut hand, picker) = self.hand();
        let queue = hand.queue;
        match picker {
            Picker::Weighted(cursor) => {
                cursor.pick(&queue.settings.schedule, |lane| hand.start_from(lane, look, now, started).then_some(())).is_some()
            }
            Picker::Strict(strict) => {
                // both look at the claims
                let hand = RefCell::new(hand);
                let head_age = |lane: usize| {
                    let index = hand.borrow().lanes[lane].head().or_else(|| queue.lanes[lane].peek())?;
                    Some(now.since(queue.slab.slot(index).published()))
                };
                strict.pick(now, head_age, |lane| hand.borrow_mut().start_from(lane, look, now, started).then_some(())).is_some()
            }
        }
    }

    #[inline]
    fn hand(&mut self) -> (Hand<'_, T>, &mut Picker) {
        let hand = Hand {
            queue: &self.queue,
            accounts: &self.accounts,
            ledger: &self.ledger,
            block: &self.block,
            lanes: &mut self.lanes,
            popped: &mut self.popped,
            left: &mut self.left,
            prefetch: self.prefetch,
            deliveries: self.deliveries,
        };
        (hand, &mut self.picker)
    }

    /// True when a job is at hand without looking further.
    pub fn has_claims(&self) -> bool {
        self.lanes.iter().any(|lane| lane.at < lane.end)
    }

    /// False while the queue is paused or stopped.
    fn may_start(&self) -> bool {
        !self.queue.is_paused() && !self.queue.is_stopped()
    }

    /// Claims what is there without starting it. A strict look is the last one before sleeping.
    #[inline]
    pub fn look(&mut self, look: Look) -> bool {
        if !self.may_start() {
            return false;
        }
        let lanes = self.lanes.len();
        self.has_claims() || (0..lanes).any(|lane| self.hand().0.refill(lane, look))
    }

    /// The delivery is settled: nobody watches it any more. Its entry may have gone to another delivery since its lease ran out.
    pub(super) fn clear_delivery(&self, lease: &Lease) {
        if let Some(entry) = lease.entry
            && self.block.claim(entry as usize) == lease.claim()
        {
            self.block.clear(Some(entry));
        }
    }

    /// The user code that jobs left which ended before they started.
    pub fn take_left(&mut self) -> Vec<Aftermath<T>> {
        std::mem::take(&mut self.left)
    }

    /// Runs what they left.
    #[inline]
    pub fn run_left(&mut self) {
        if !self.left.is_empty() {
            self.take_left().into_iter().for_each(|aftermath| aftermath.run(&self.queue));
        }
    }

    /// Takes one job that a colleague has claimed and not started. For the idle: one who has claims (the queue may have been paused when it looked, and
    /// is not any more) keeps to them. True if there is something to start.
    pub fn steal(&mut self) -> bool {
        if !self.may_start() || self.has_claims() {
            return self.may_start();
        }
        let queue = Arc::clone(&self.queue);
        let blocks = queue.claims.lock();
        for block in blocks.iter().filter(|block| !Arc::ptr_eq(block, &self.block)) {
            // relaxed: a hint
            if block.ahead.load(Relaxed) == 0 {
                continue;
            }
            for entry in 0..block.prefetched {
                let claim = block.claim(entry);
                if claim.is_none() {
                    continue;
                }
                let state = queue.slab.state(claim.index());
                let word = state.load();
                if word.phase() != Phase::Ready || word.epoch() != claim.epoch() {
                    continue;
                }
                if let Some(epoch) = state.steal(claim.epoch()) {
                    let lane = usize::from(word.lane());
                    self.block.publish(lane * AHEAD_MAX, Claim::new(claim.index(), epoch));
                    self.lanes[lane].held[0] = (claim.index(), epoch);
                    (self.lanes[lane].at, self.lanes[lane].end) = (0, 1);
                    return true;
                }
            }
        }
        false
    }

    /// The handler returned after `ran`: learns how much work to claim ahead.
    #[inline]
    pub fn ran(&mut self, lane: usize, ran: Duration) {
        let nanos = nanos(ran);
        self.ledger.run(lane, nanos);
        self.block.clear_stuck();
        self.run_estimate = if self.run_estimate == 0 { nanos.max(1) } else { self.run_estimate - self.run_estimate / 8 + nanos / 8 };
        self.runs = self.runs.wrapping_add(1);
        // a division: not for every short job
        if (self.runs % 8 == 1 || nanos > AHEAD_NANOS) && self.deliveries == 0 && self.queue.settings.prefetch.is_none() {
            self.prefetch = jobs_ahead(self.run_estimate);
        }
        if self.runs.is_multiple_of(64) || nanos > AHEAD_NANOS {
            // relaxed: a hint
            self.queue.run_estimate.store(self.run_estimate, Relaxed);
        }
    }

    /// Gives the claimed jobs that were not started back to their lanes.
    pub fn give_back(&mut self) {
        let queue = Arc::clone(&self.queue);
        for (lane, claims) in self.lanes.iter_mut().enumerate() {
            for &(index, epoch) in &claims.held[claims.at..claims.end] {
                if !is_bent(Bend::KeepClaims) && queue.slab.state(index).take_back(epoch).is_some() {
                    queue.lanes[lane].push(Chain::one(index));
                }
            }
            claims.at = claims.end;
        }
        // relaxed: a hint
        self.block.ahead.store(0, Relaxed);
        queue.ring_bell(1);
    }

    /// A hint that more work waits than the `spoken_for` claims that the caller is about to start: for the last searcher, who decides whether to wake a
    /// colleague, and for sleepers.
    pub fn may_have_more(&self, spoken_for: usize) -> bool {
        let claimed: usize = self.lanes.iter().map(|lane| lane.end - lane.at).sum();
        self.may_start() && (claimed > spoken_for || self.queue.lanes.iter().any(|lane| lane.len_hint() > 0))
    }

    /// Runs what an act left over.
    pub fn after(&self, aftermath: Aftermath<T>) {
        aftermath.run(&self.queue);
    }
}

impl<T> Drop for Claimer<T> {
    fn drop(&mut self) {
        self.give_back();
        self.run_left();
        let queue = Arc::clone(&self.queue);
        // deliveries may outlive their consumer: the block stays while one of them is still current
        queue.claims.lock().retain(|block| !Arc::ptr_eq(block, &self.block));
        for entry in self.block.prefetched..self.block.len() {
            let claim = self.block.claim(entry);
            if !claim.is_none() && queue.inbox.post(claim.index(), Flag::Poke) {
                queue.wake_timer(0);
            }
        }
        queue.credits.close(&queue.slab, &mut self.accounts);
        queue.ledger.retire(&self.ledger);
    }
}
