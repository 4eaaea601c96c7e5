//! Jobs are taken out of the lanes, and one is started.
//!
//! A claim is published in the claimer's own block *before* the job is started: from then on the timer can see it, age it, expire it or take it back,
//! and an idle colleague can steal it while it has not been started. The claim costs one store. See the slab's essay for the protocol.

use super::bent::{Bend, is_bent};
use super::claim_block::{AHEAD_MAX, ClaimBlock, DELIVERIES};
use super::follow::Parting;
use super::order::{OrderSeat, Turn};
use super::{Accounts, Aftermath, Lease, Queue};
use crate::chain::{Chain, Links};
use crate::clock::{Timestamp, nanos};
use crate::config::Discipline;
use crate::inbox::Flag;
use crate::lanes::{Cursor, StrictPicker};
use crate::ledger::{Block, Count};
use crate::limits::PREFETCH_MAX;
use crate::ring::Popped;
use crate::rng::Rng;
use crate::slab::{Claim, Dispose, Epoch, Fate, Phase, Start};
use crate::sync::atomic::Ordering::Relaxed;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

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
    /// It looks at the claims while it picks, so it is taken out for that time.
    Strict(Option<Box<StrictPicker>>),
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
    /// Handlers that returned since the estimate was made, and how long they ran together.
    ran_jobs: u64,
    ran_nanos: u64,
    deliveries: usize,
    /// Its part in the partitions, if the queue has any.
    order: Option<Box<OrderSeat>>,
    /// What jobs left that ended before they started: user code, for when the caller has let go of the claimer.
    left: Vec<Aftermath<T>>,
    /// A job has ended here before it started, since somebody asked.
    disposed: bool,
}

/// About this much work is claimed ahead.
const AHEAD_NANOS: u64 = 100_000;
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
            Discipline::Strict { max_wait } => {
                let picker = StrictPicker::new(lanes, max_wait).expect("a valid queue has 1..=8 lanes");
                Picker::Strict(Some(Box::new(picker)))
            }
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
            ran_jobs: 0,
            ran_nanos: 0,
            deliveries,
            order: self.open_order_seat(),
            left: Vec::new(),
            disposed: false,
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

/// Publishes a claim of the job in `index`, which the claimer owns: it may be started under the epoch that is returned with it.
#[inline]
fn publish_claim<T>(queue: &Queue<T>, block: &ClaimBlock, entry: usize, index: u32) -> (u32, Epoch) {
    let epoch = queue.slab.state(index).load().epoch();
    if !is_bent(Bend::ClaimsUnseen) {
        block.publish(entry, Claim::new(index, epoch));
    }
    (index, epoch)
}

impl<T> Claimer<T> {
    /// Starts the first job of `lane` that can be started.
    // always: into the one place where most jobs start
    #[inline(always)]
    fn start_from(&mut self, lane: usize, now: Timestamp, started: &mut Option<Lease>) -> bool {
        loop {
            let claims = &mut self.lanes[lane];
            if claims.at == claims.end {
                if !self.refill(lane) {
                    return false;
                }
                continue;
            }
            let (index, epoch) = claims.held[claims.at];
            claims.at += 1;
            if self.start(index, epoch, now, started) {
                return true;
            }
        }
    }

    /// Takes jobs out of a lane, or out of the partitions, and publishes the claims.
    #[inline]
    fn refill(&mut self, lane: usize) -> bool {
        if self.order.is_some() { self.refill_in_turn(lane) } else { self.refill_from_lane(lane) }
    }

    /// Lane and partitions take turns: neither starves for a flood in the other.
    #[inline(never)]
    fn refill_in_turn(&mut self, lane: usize) -> bool {
        let Some(order) = &mut self.order else { return false };
        let partitions_first = order.partitions_first;
        order.partitions_first = !partitions_first;
        if partitions_first && self.refill_from_partitions(lane) {
            return true;
        }
        self.refill_from_lane_in_turn(lane) || !partitions_first && self.refill_from_partitions(lane)
    }

    /// Takes heads of partitions, each with its token.
    fn refill_from_partitions(&mut self, lane: usize) -> bool {
        self.learn();
        let queue = &*self.queue;
        let (Some(order), Some(mine)) = (&queue.order, self.order.as_deref_mut()) else { return false };
        let want = (self.prefetch as usize).min(AHEAD_MAX);
        let taken = order.partitions.take_ready(&queue.slab, lane, &mut mine.seat, &mut mine.taken[..want]);
        let mut partitions = [0; AHEAD_MAX];
        for (at, &(index, partition)) in mine.taken[..taken].iter().enumerate() {
            self.lanes[lane].held[at] = publish_claim(queue, &self.block, lane * AHEAD_MAX + at, index);
            partitions[at] = partition;
        }
        mine.heads[lane] = Some(partitions);
        (self.lanes[lane].at, self.lanes[lane].end) = (0, taken);
        self.tell_thieves(taken);
        taken > 0
    }

    /// Whose turn ends with the job in `index`, which this claimer has run. The caller owns `index`.
    pub(super) fn turn_of(&self, index: u32) -> Turn {
        let slot = self.queue.slab.slot(index);
        let Some(order) = self.order.as_deref().filter(|_| slot.is_keyed()) else { return Turn::Nobodys };
        let word = slot.state.load();
        let lane = usize::from(word.lane());
        // the claim that was started last, unless the job came by another lane or was extended
        let claims = &self.lanes[lane];
        let last = claims.at.checked_sub(1).filter(|&at| claims.held[at].0 == index && claims.held[at].1.next() == word.epoch());
        match (last, &order.heads[lane]) {
            (Some(at), Some(partitions)) => Turn::Heads(partitions[at], lane),
            _ => Turn::Other(self.queue.place_of(index)),
        }
    }

    /// It has ended. This claimer may go on with the next job of the partition, before its other claims.
    pub(super) fn end_turn(&mut self, turn: Turn) {
        let queue = &*self.queue;
        let (partition, lane) = match turn {
            Turn::Nobodys => return,
            Turn::Other(place) => return queue.pass_on_from_place(place),
            Turn::Heads(partition, lane) => (partition, lane),
        };
        let Some(OrderSeat { seat, .. }) = self.order.as_deref_mut() else { return };
        let in_a_row = if queue.is_stopped() { 0 } else { self.prefetch };
        if let Some(next) = queue.go_on(partition, lane, seat, in_a_row) {
            // in the entry of the claim that has ended
            let claims = &mut self.lanes[lane];
            claims.at -= 1;
            claims.held[claims.at] = publish_claim(queue, &self.block, lane * AHEAD_MAX + claims.at, next);
        }
    }

    fn refill_from_lane_in_turn(&mut self, lane: usize) -> bool {
        self.forget_heads(lane);
        self.refill_from_lane(lane)
    }

    /// The claims of `lane` are no heads that were taken from partitions here.
    fn forget_heads(&mut self, lane: usize) {
        if let Some(order) = &mut self.order {
            order.heads[lane] = None;
        }
    }

    fn refill_from_lane(&mut self, lane: usize) -> bool {
        self.learn();
        let queue = &*self.queue;
        if !queue.lanes[lane].pop(self.prefetch, &mut self.popped) {
            self.tell_thieves(0);
            return false;
        }
        crate::crash_point!("queue.claim.popped");
        // the lines of all of them at once, before the first is waited for
        for chain in self.popped.chains() {
            queue.slab.prefetch(chain.first());
            if chain.len() > 1 {
                queue.slab.prefetch_chain(*chain);
            }
        }
        let claims = &mut self.lanes[lane];
        let mut end = 0;
        for chain in self.popped.chains() {
            for index in chain.iter(&queue.slab) {
                claims.held[end] = publish_claim(queue, &self.block, lane * AHEAD_MAX + end, index);
                end += 1;
            }
        }
        (claims.at, claims.end) = (0, end);
        self.tell_thieves(end);
        true
    }

    /// So many jobs were claimed. Where there were none, those that were claimed from another lane wait still.
    #[inline]
    fn tell_thieves(&self, claimed: usize) {
        if claimed > 0 || !self.has_claims() {
            self.block.set_ahead(claimed as u32);
        }
    }

    /// Learns from the handlers that have returned how much work to claim ahead.
    fn learn(&mut self) {
        if self.ran_jobs == 0 {
            return;
        }
        let mean = std::mem::take(&mut self.ran_nanos) / std::mem::take(&mut self.ran_jobs);
        self.run_estimate = if self.run_estimate == 0 { mean.max(1) } else { self.run_estimate - self.run_estimate / 4 + mean / 4 };
        if self.deliveries == 0 && self.queue.settings.prefetch.is_none() {
            self.prefetch = jobs_ahead(self.run_estimate);
        }
        self.queue.note_run_estimate(self.run_estimate);
    }

    /// Starts a claimed job, unless it was cancelled, has expired, or went to somebody else.
    #[inline(always)]
    fn start(&mut self, index: u32, epoch: Epoch, now: Timestamp, started: &mut Option<Lease>) -> bool {
        let queue = &*self.queue;
        let slot = queue.slab.slot(index);
        if slot.expires() <= now {
            let parting = queue.parting(index);
            let disposed = slot.state.end_claimed(epoch, Fate::Expired);
            self.dispose(index, parting, disposed, now);
            return false;
        }
        let entry = (self.deliveries > 0).then(|| self.free_delivery()).flatten();
        if let Some(entry) = entry {
            // the delivery outlives the prefetch entry, so it has one of its own before it starts
            self.block.publish(entry as usize, Claim::new(index, epoch));
        }
        crate::crash_point!("queue.claim.published");
        match slot.state.start(epoch) {
            Start::Running(word) => {
                crate::crash_point!("queue.claim.started");
                let lease = started.insert(Lease {
                    index,
                    snoozes: slot.snoozes(),
                    running: Cell::new(word),
                    job: slot.job_id(),
                    started: now,
                    extended: Cell::new(now),
                    entry,
                });
                self.ledger.start(lease.lane(), lease.is_first().then(|| nanos(now.since(slot.published()))));
                if self.deliveries > 0 && entry.is_none() && queue.inbox.post(index, Flag::Poke) {
                    // too many deliveries to observe: the timer promotes this one into the wheel
                    queue.wake_timer(0);
                }
                true
            }
            Start::Doomed => {
                self.block.clear(entry);
                let parting = queue.parting(index);
                let disposed = slot.state.dispose(epoch);
                self.dispose(index, parting, disposed, now);
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
    fn dispose(&mut self, index: u32, parting: Parting, disposed: Dispose, now: Timestamp) {
        let Some(aftermath) = self.queue.dispose(&self.accounts, &self.ledger, index, parting, disposed, now) else {
            return self.ledger.bump(Count::TakenBack);
        };
        self.disposed = true;
        if !matches!(aftermath, Aftermath::Nothing) {
            self.left.push(aftermath);
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
    pub fn next(&mut self, now: Timestamp) -> Option<Lease> {
        let mut started = None;
        self.next_into(now, &mut started);
        started
    }

    /// As [`next`](Self::next), into its place: a lease that was just written cannot be moved without waiting for it. False, and nothing is
    /// written, when there is none.
    // always: into the worker's loop, and into `next`
    #[inline(always)]
    pub fn next_into(&mut self, now: Timestamp, started: &mut Option<Lease>) -> bool {
        if self.queue.is_paused() {
            return false;
        }
        let Picker::Weighted(cursor) = &mut self.picker else { return self.next_strict(now, started) };
        let mut order = cursor.order(&self.queue.settings.schedule);
        order.next().is_some_and(|turn| self.start_from(turn, now, started))
            || order.any(|lane| self.start_from_another(lane, now, started))
    }

    /// As [`start_from`](Self::start_from), from a lane whose turn it is not, or by the strict discipline: one copy of it.
    #[inline(never)]
    fn start_from_another(&mut self, lane: usize, now: Timestamp, started: &mut Option<Lease>) -> bool {
        self.start_from(lane, now, started)
    }

    #[inline(never)]
    fn next_strict(&mut self, now: Timestamp, started: &mut Option<Lease>) -> bool {
        let Picker::Strict(strict) = &mut self.picker else { return false };
        let Some(mut strict) = strict.take() else { return false };
        // both look at the claims
        let claimer = RefCell::new(&mut *self);
        let head_age = |lane: usize| {
            let claimer = claimer.borrow();
            let waited = |index: u32| now.since(claimer.queue.slab.slot(index).published());
            let claimed = claimer.lanes[lane].head();
            if claimer.order.is_none() || claimed.is_some() {
                return claimed.or_else(|| claimer.queue.lanes[lane].peek()).map(waited);
            }
            claimer.queue.lanes[lane].peek().map(waited).max(claimer.oldest_in_order(lane, waited))
        };
        let picked = strict.pick(now, head_age, |lane| claimer.borrow_mut().start_from_another(lane, now, started).then_some(()));
        self.picker = Picker::Strict(Some(strict));
        picked.is_some()
    }

    /// How long the oldest of the heads has `waited` of the partitions that are ready for `lane`. It is taken next of that lane's.
    fn oldest_in_order(&self, lane: usize, waited: impl Fn(u32) -> Duration) -> Option<Duration> {
        let (order, OrderSeat { seat, .. }) = (self.queue.order.as_ref()?, self.order.as_deref()?);
        order.partitions.peek_oldest(&self.queue.slab, lane, seat, waited)
    }

    /// How long the first of the claimed jobs has waited by `now`.
    pub fn head_waited(&self, now: Timestamp) -> Option<Duration> {
        let head = self.lanes.iter().find_map(LaneClaims::head)?;
        Some(now.since(self.queue.slab.slot(head).published()))
    }

    /// True when a job is at hand without looking further.
    pub fn has_claims(&self) -> bool {
        self.lanes.iter().any(|lane| lane.at < lane.end)
    }

    /// False while the queue is paused or stopped.
    fn may_start(&self) -> bool {
        !self.queue.is_paused() && !self.queue.is_stopped()
    }

    /// Claims what is there without starting it. It misses nothing that was published before.
    #[inline]
    pub fn look(&mut self) -> bool {
        if !self.may_start() {
            return false;
        }
        let lanes = self.lanes.len();
        self.has_claims() || (0..lanes).any(|lane| self.refill(lane))
    }

    /// The delivery is settled: nobody watches it any more. Its entry may have gone to another delivery since its lease ran out.
    pub(super) fn clear_delivery(&self, lease: &Lease) {
        if let Some(entry) = lease.entry
            && self.block.claim(entry as usize) == lease.claim()
        {
            self.block.clear(Some(entry));
        }
    }

    /// True when a job has ended before it started, since this was asked last. For runtimes without threads: others may have something to do by that.
    pub fn take_disposed(&mut self) -> bool {
        std::mem::take(&mut self.disposed)
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
            if !block.is_ahead() {
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
                    self.forget_heads(lane);
                    // it may start another one first
                    self.block.set_ahead(1);
                    return true;
                }
            }
        }
        false
    }

    /// The handler returned after `ran`.
    #[inline]
    pub fn ran(&mut self, lane: usize, ran: Duration) {
        let nanos = nanos(ran);
        self.ledger.run(lane, nanos);
        self.block.clear_stuck();
        self.ran_nanos = self.ran_nanos.saturating_add(nanos);
        self.ran_jobs += 1;
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
        self.block.set_ahead(0);
        queue.ring_bell(1);
    }

    /// A hint that more work waits, chores included, than the `spoken_for` claims that the caller is about to start: for the last searcher, who decides whether to wake
    /// a colleague, and for sleepers.
    pub fn may_have_more(&self, spoken_for: usize) -> bool {
        let claimed: usize = self.lanes.iter().map(|lane| lane.end - lane.at).sum();
        let waits = |queue: &Queue<T>| {
            queue.lanes.iter().any(|lane| lane.len_hint() > 0) || queue.order.as_ref().is_some_and(|order| order.partitions.any_ready())
        };
        self.queue.has_chores() || self.may_start() && (claimed > spoken_for || waits(&self.queue))
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
        if let (Some(order), Some(OrderSeat { seat, .. })) = (&queue.order, self.order.as_deref()) {
            order.partitions.part(seat);
        }
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
