//! The timer's side of a queue: leases that ran out, claims that nobody starts, delays that ended.
//!
//! Leases are observed, not armed. Every sweep the timer reads each claim (slot, epoch) and the slot's word. A claim that it has not seen running before is
//! stamped with a time read *after* the look; a claim whose stamp is a lease old is expired, with exactly that epoch. So a lease is never short, and late by
//! less than two sweeps. Nothing here runs user code or drops a payload.
//!
//! *Frozen process.* When two sweeps are further apart than `freeze_after`, the workers stood still as well: lease ages then grow by two sweeps at the most.
//! Delays and schedules go by real time.

use super::bent::{Bend, is_bent};
use super::{Chore, ClaimBlock, Pressure, Queue};
use crate::clock::{Clock, Timestamp, nanos};
use crate::credit::{Signal, Watermark};
use crate::inbox::Flag;
use crate::ledger::{Block, Count, Counts};
use crate::slab::{CancelStep, Claim, Epoch, Expire, Fate, Fire, Phase, Word};
use crate::sync::atomic::Ordering::Relaxed;
use crate::wheel::{Advance, Wheel, tick_after, tick_reached};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What the timer has seen of one claim entry.
#[derive(Debug, Clone, Copy)]
struct Seen {
    claim: Claim,
    /// It has been seen running.
    running: bool,
    /// When that (or the claim itself) was seen first, on the lease clock.
    stamp: u64,
}

const UNSEEN: Seen = Seen { claim: Claim::NONE, running: false, stamp: 0 };

/// Why a slot has an entry in the wheel although the timer does not own its index.
#[derive(Debug, Clone, Copy)]
enum Watch {
    /// A lease that no claim block shows; `until` is on the lease clock.
    Lease { epoch: Epoch, until: u64 },
    /// The time to live of a waiting job, whatever its epoch: it may be stolen or taken back meanwhile. What is watched is the slot.
    TimeToLive,
}

/// The timer's private state for one queue. The timer thread holds its lock for a turn; nobody else needs it before shutdown.
#[derive(Debug)]
pub struct TimerSide {
    /// Entries are slot indices. A slot without a watch is owned by the timer: its job is delayed.
    pub(super) wheel: Wheel,
    watches: HashMap<u32, Watch>,
    /// Leases that ran out, were reported, and have not ended.
    overrun: HashMap<u32, Epoch>,
    seen: Vec<(Arc<ClaimBlock>, Box<[Seen]>)>,
    block: Arc<Block>,
    fired: Vec<u32>,
    poked: Vec<u32>,
    /// The time of the last turn; clocks that step back are clamped to it.
    last: Timestamp,
    /// Time as leases see it: real time without frozen stretches.
    lease_now: u64,
    next_sweep: Timestamp,
    /// Jobs may be over that wait at the heads of lanes and partitions.
    clears: bool,
    watermark: Watermark,
    /// Occupied slots at the last sweep.
    depth: u32,
    /// There was something to settle at the last sweep: not only free slots and delayed jobs.
    at_work: bool,
    /// How many jobs were settled up to the sweep that last saw more of them than the one before; and when that was, or when the queue was idle last.
    settled_before: u64,
    settled_at: Timestamp,
    /// Nanoseconds between two settlements, as that sweep saw it; 0: not known yet.
    pace: u64,
}

/// At most so many wheel entries are fired before the inbox and the sweep get their turn again.
const FIRE_BUDGET: usize = 256;

impl TimerSide {
    pub(super) fn new(capacity: u32, watermarks: (u32, u32), block: Arc<Block>) -> Self {
        TimerSide {
            wheel: Wheel::new(capacity, 0),
            watches: HashMap::new(),
            overrun: HashMap::new(),
            seen: Vec::new(),
            block,
            fired: Vec::with_capacity(FIRE_BUDGET),
            poked: Vec::with_capacity(FIRE_BUDGET),
            last: Timestamp::ZERO,
            lease_now: 0,
            next_sweep: Timestamp::ZERO,
            clears: false,
            watermark: Watermark::new(watermarks.0, watermarks.1),
            depth: 0,
            at_work: false,
            settled_before: 0,
            settled_at: Timestamp::ZERO,
            pace: 0,
        }
    }

    /// The time of the last turn.
    pub(super) fn last(&self) -> Timestamp {
        self.last
    }

    /// The timer owns this index: its job is delayed.
    pub(super) fn owns(&self, index: u32) -> bool {
        self.wheel.contains(index) && !self.watches.contains_key(&index)
    }

    /// How many jobs are delayed: entries without a watch.
    fn delayed(&self) -> u32 {
        self.wheel.len().saturating_sub(self.watches.len()) as u32
    }
}

impl<T> Queue<T> {
    /// How often the timer looks at the leases: an eighth of the visibility timeout, within 1 and 100 ms.
    pub fn sweep_every(&self) -> Duration {
        (self.settings.visibility / 8).clamp(self.settings.tick, Duration::from_millis(100).max(self.settings.tick))
    }

    /// One turn of the timer: inbox, sweep if it is time, wheel. Says when it wants the next turn.
    pub fn turn(self: &Arc<Self>, clock: &dyn Clock) -> Timestamp {
        let (now, next, clears) = self.turn_under_lock(&mut self.timer.lock(), clock);
        if clears && !self.clear_heads(now) {
            self.timer.lock().clears = true;
            return now;
        }
        next
    }

    /// The time, when the next turn is wanted, and whether there may be jobs to clear away.
    fn turn_under_lock(self: &Arc<Self>, side: &mut TimerSide, clock: &dyn Clock) -> (Timestamp, Timestamp, bool) {
        let now = self.observe(side, clock);
        self.drain_inbox(side, clock);
        let sweeps = now >= side.next_sweep;
        if sweeps {
            self.sweep(side, clock);
            self.watch_depth(side, now);
            side.next_sweep = now + self.sweep_every();
        }
        let more = self.fire_due(side, now);
        // relaxed: a hint, for the next sweep at the latest
        let clears = std::mem::take(&mut side.clears) || sweeps && self.marks.load(Relaxed);
        let periods = self.start_periods(now).min(self.retry_letters(now));
        if more {
            return (now, now, clears);
        }
        let tick = nanos(self.settings.tick).max(1);
        let due = side.wheel.next_due().map_or(Timestamp::MAX, |due| Timestamp::from_nanos(due.saturating_mul(tick)));
        (now, side.next_sweep.min(due).min(periods), clears)
    }

    /// When there is something to do again, if nobody does anything before; at most as late as the truth. For runtimes without threads, whose time passes in leaps: where nobody
    /// acts, no sweep finds anything.
    pub fn next_event(&self) -> Timestamp {
        let side = self.timer.lock();
        let sweep = if self.awaits_sweep(&side) { side.next_sweep } else { Timestamp::MAX };
        let tick = nanos(self.settings.tick).max(1);
        let due = side.wheel.next_due().map_or(Timestamp::MAX, |due| Timestamp::from_nanos(due.saturating_mul(tick)));
        let period = self.periods.lock().iter().map(|period| *period.next.lock()).min().unwrap_or(Timestamp::MAX);
        // relaxed: whoever writes it is not at it now
        sweep.min(due).min(period).min(Timestamp::from_nanos(self.letters_again.load(Relaxed)))
    }

    /// True when a sweep may find something: a lease or a claim to watch, a letter that ages, a change since the last one.
    fn awaits_sweep(&self, side: &TimerSide) -> bool {
        let watched = |claim: Claim| {
            let word = self.slab.state(claim.index()).load();
            match word.phase() {
                Phase::Running => word.epoch() == claim.epoch().next(),
                Phase::Ready | Phase::Doomed => word.epoch() == claim.epoch(),
                _ => false,
            }
        };
        let changed = || side.settled_before != settled(&self.ledger.counts()) || side.depth != self.occupied();
        !self.inbox.is_empty()
            || changed()
            || !self.dead.lock().rests()
            || !self.deferred.lock().is_empty()
            || self.awaits_clearing()
            || self.claims.lock().iter().any(|block| block.claims().any(watched))
    }

    /// True when somebody wants the timer's attention at once.
    pub fn timer_has_mail(&self) -> bool {
        // relaxed: ordered by the fence of the timer's announcement
        !self.inbox.is_empty() || self.periods_changed.load(Relaxed)
    }

    /// Reads the clock: never backwards, and with frozen stretches taken out of the lease clock.
    fn observe(&self, side: &mut TimerSide, clock: &dyn Clock) -> Timestamp {
        let now = clock.now().max(side.last);
        let gap = now.since(side.last);
        let sweep = self.sweep_every();
        let counted = if gap > self.settings.freeze_after.max(10 * sweep) { 2 * sweep } else { gap };
        side.lease_now = side.lease_now.saturating_add(nanos(counted));
        side.last = now;
        now
    }

    fn lease_length(&self, index: u32, epoch: Epoch) -> u64 {
        let own = self.slab.extension(index, epoch.raw()).or_else(|| self.slab.visibility(index));
        nanos(own.unwrap_or(self.settings.visibility))
    }

    fn drain_inbox(&self, side: &mut TimerSide, clock: &dyn Clock) {
        if self.inbox.is_empty() {
            return;
        }
        let mut mail = std::mem::take(&mut side.fired);
        let mut poked = std::mem::take(&mut side.poked);
        self.inbox.drain(|index, flags| if flags.handover() { mail.push(index) } else { poked.push(index) });
        for index in mail.drain(..) {
            // the index is ours now; a watch that was left behind speaks of an earlier delivery
            side.watches.remove(&index);
            side.wheel.cancel(index);
            self.keep(side, index);
        }
        for index in poked.drain(..) {
            if side.owns(index) {
                side.wheel.cancel(index);
                self.keep(side, index);
            } else {
                self.watch(side, index, clock);
            }
        }
        (side.fired, side.poked) = (mail, poked);
    }

    /// Files a delayed job that the timer owns, or passes it on if it was cancelled.
    fn keep(&self, side: &mut TimerSide, index: u32) {
        let word = self.slab.state(index).load();
        match word.phase() {
            Phase::Delayed => side.wheel.insert(index, tick_after(self.fires(index), self.settings.tick)),
            // for the worker that pops it to dispose of
            Phase::Doomed => {
                self.line_up_due(index, word);
                self.ring_bell(1);
            }
            other => debug_assert!(false, "the timer owns a slot that is {other:?}"),
        }
    }

    /// When a delayed job leaves the timer: when it is due, or when its time to live has ended.
    pub(super) fn fires(&self, index: u32) -> Timestamp {
        self.slab.due(index).min(self.slab.slot(index).expires())
    }

    /// A slot that is not the timer's wants watching: a lease without a claim, or a time to live.
    fn watch(&self, side: &mut TimerSide, index: u32, clock: &dyn Clock) {
        let word = self.slab.state(index).load();
        let (watch, due) = match word.phase() {
            Phase::Running => {
                let length = self.lease_length(index, word.epoch());
                // the stamp is read after the look: the lease comes out long rather than short
                let now = self.observe(side, clock);
                let until = side.lease_now.saturating_add(length);
                (Watch::Lease { epoch: word.epoch(), until }, now + Duration::from_nanos(length))
            }
            Phase::Ready if self.slab.slot(index).expires() != Timestamp::MAX => (Watch::TimeToLive, self.slab.slot(index).expires()),
            _ => return,
        };
        side.watches.insert(index, watch);
        side.wheel.reschedule(index, tick_after(due, self.settings.tick));
    }

    /// As [`expire`](Self::expire), for a lease that the wheel has watched. Where a claim shows it too, the handler is stuck, as if a sweep had found it.
    fn expire_watched(&self, side: &mut TimerSide, index: u32, epoch: Epoch) {
        let claim = Claim::new(index, epoch.previous());
        let holder = self.claims.lock().iter().find(|block| block.claims().any(|shown| shown == claim)).cloned();
        // marked first, as in `look`
        holder.iter().for_each(|block| block.mark_stuck(claim));
        if !self.expire(side, index, epoch) {
            holder.iter().for_each(|block| block.unmark_stuck(claim));
        }
    }

    /// Fires what is due. True when the budget ran out first.
    fn fire_due(&self, side: &mut TimerSide, now: Timestamp) -> bool {
        let mut fired = std::mem::take(&mut side.fired);
        let advance = side.wheel.advance(tick_reached(now, self.settings.tick), FIRE_BUDGET, |index| fired.push(index));
        for index in fired.drain(..) {
            match side.watches.remove(&index) {
                None => {
                    self.end_window(index);
                    let fired = self.slab.state(index).fire();
                    crate::crash_point!("queue.fire.decided");
                    let word = match fired {
                        // its life is over: nobody is to find it ready
                        Fire::Ready(_) if self.slab.slot(index).expires() <= now => {
                            side.clears |= self.expire_waiting(index, now);
                            self.slab.state(index).load()
                        }
                        Fire::Ready(word) => {
                            self.watch_again(side, index);
                            word
                        }
                        Fire::Doomed(word) => word,
                    };
                    self.line_up_due(index, word);
                    self.ring_bell(1);
                }
                Some(Watch::Lease { epoch, until }) if side.lease_now < until => {
                    // the process was frozen: the lease has time left
                    side.watches.insert(index, Watch::Lease { epoch, until });
                    let due = now + Duration::from_nanos(until - side.lease_now);
                    side.wheel.insert(index, tick_after(due, self.settings.tick));
                }
                Some(Watch::Lease { epoch, .. }) => self.expire_watched(side, index, epoch),
                Some(Watch::TimeToLive) => side.clears |= self.expire_waiting(index, now),
            }
        }
        side.fired = fired;
        advance == Advance::More
    }

    /// A waiting job's time to live has ended: whoever pops it disposes of it. (Another job may have the slot by now: its time is read after the word, which
    /// has to be the same still when the job is doomed.) True if it was.
    fn expire_waiting(&self, index: u32, now: Timestamp) -> bool {
        let slot = self.slab.slot(index);
        let state = &slot.state;
        let mut word = state.load();
        while word.phase() == Phase::Ready && slot.expires() <= now {
            match state.cancel(word, Fate::Expired) {
                CancelStep::Retry(found) => word = found,
                _ => {
                    // relaxed: a hint, see the field
                    self.marks.store(true, Relaxed);
                    // if it is not at the head of its lane it occupies its slot until somebody pops it
                    self.ring_bell(1);
                    return true;
                }
            }
        }
        false
    }

    /// The lease `epoch` has run out. True if it was still the current one. That of a job with a partition key may be reported only, and not revoked.
    fn expire(&self, side: &mut TimerSide, index: u32, epoch: Epoch) -> bool {
        if self.keeps_overrun(index) {
            let word = self.slab.state(index).load();
            let runs = word.phase() == Phase::Running && word.epoch() == epoch;
            if runs && side.overrun.insert(index, epoch) != Some(epoch) {
                side.block.bump(Count::ExpiredLeases);
            }
            return runs;
        }
        // of the job whose epoch this is, if the lease is still current
        let parting = self.parting(index);
        match self.slab.state(index).expire(epoch, self.settings.retry.max_expiries) {
            Expire::Ready(word) => {
                crate::crash_point!("queue.expire.decided");
                side.block.bump(Count::ExpiredLeases);
                // for those who ask since when it has waited
                self.slab.set_due(index, side.last);
                self.watch_again(side, index);
                self.return_to_lane(index, word);
                true
            }
            Expire::Buried(word) => {
                side.block.bump(Count::ExpiredLeases);
                // dead, but not ended before its last holder leaves
                self.leave_to_others(self.count_left(&side.block, parting, word.with_cancelled(false), side.last));
                true
            }
            Expire::Lost(_) => false,
        }
    }

    /// A job waits again: its time to live is watched again too.
    fn watch_again(&self, side: &mut TimerSide, index: u32) {
        let expires = self.slab.slot(index).expires();
        if expires != Timestamp::MAX {
            side.watches.insert(index, Watch::TimeToLive);
            side.wheel.reschedule(index, tick_after(expires, self.settings.tick));
        }
    }

    /// A job waits again that the caller owns and is about to push: tells the timer if it has a time to live to watch.
    #[inline]
    pub(super) fn watch_time_to_live(&self, index: u32) {
        let expires = self.slab.slot(index).expires();
        if expires != Timestamp::MAX && self.inbox.post(index, Flag::Poke) {
            self.wake_timer(expires.as_nanos());
        }
    }

    /// Pushes the index of a job that was taken before; it is the timer's.
    fn return_to_lane(&self, index: u32, word: Word) {
        self.line_up_again(index, word);
        self.ring_bell(1);
    }

    /// Looks at every claim once.
    fn sweep(&self, side: &mut TimerSide, clock: &dyn Clock) {
        self.meet_blocks(side);
        let seen = &side.seen;
        side.overrun.retain(|&index, &mut epoch| {
            let word = self.slab.state(index).load();
            let runs = word.phase() == Phase::Running && word.epoch() == epoch;
            if !runs {
                // it may have been marked again between its handler's return and its settlement, which counted
                seen.iter().for_each(|(block, _)| block.unmark_stuck(Claim::new(index, epoch.previous())));
            }
            runs
        });
        let mut seen = std::mem::take(&mut side.seen);
        let begun = side.lease_now;
        let mut fresh = false;
        for (block, entries) in &mut seen {
            for (entry, seen) in entries.iter_mut().enumerate() {
                fresh |= self.look(side, block, entry, seen, begun);
            }
        }
        if fresh {
            // read after the looks: whatever preempted us in between makes leases longer, not shorter
            self.observe(side, clock);
            let stamp = side.lease_now;
            for seen in seen.iter_mut().flat_map(|(_, entries)| entries.iter_mut()).filter(|seen| seen.stamp == FRESH) {
                seen.stamp = stamp;
            }
        }
        side.seen = seen;
    }

    /// Looks at one claim. True if it is to be stamped.
    fn look(&self, side: &mut TimerSide, block: &ClaimBlock, entry: usize, seen: &mut Seen, now: u64) -> bool {
        let claim = block.claim(entry);
        if claim.is_none() {
            *seen = UNSEEN;
            return false;
        }
        let index = claim.index();
        let word = self.slab.state(index).load();
        let runs = word.phase() == Phase::Running && word.epoch() == claim.epoch().next();
        if claim != seen.claim {
            *seen = Seen { claim, running: runs, stamp: FRESH };
            return true;
        }
        if runs {
            if !seen.running {
                (seen.running, seen.stamp) = (true, FRESH);
                return true;
            }
            if now.saturating_sub(seen.stamp) >= self.lease_length(index, word.epoch()) {
                // marked first: the handler, which clears the mark when it finds its lease lost, may return at any time
                block.mark_stuck(claim);
                if !self.expire(side, index, word.epoch()) {
                    block.unmark_stuck(claim);
                }
            }
            return false;
        }
        let waits = matches!(word.phase(), Phase::Ready | Phase::Doomed) && word.epoch() == claim.epoch();
        if waits
            && now.saturating_sub(seen.stamp) >= nanos(self.patience())
            && (is_bent(Bend::TakeBackUnmarked) || self.slab.state(index).take_back(claim.epoch()).is_some())
        {
            crate::crash_point!("queue.take_back.decided");
            // the claimer finds the epoch changed and forgets the index
            let word = self.slab.state(index).load();
            self.return_to_lane(index, word);
        }
        false
    }

    /// How long a claimed job may wait for its claimer to start it before others get it.
    fn patience(&self) -> Duration {
        2 * self.sweep_every()
    }

    /// Starts to watch new claim blocks and forgets those whose claimers are gone.
    fn meet_blocks(&self, side: &mut TimerSide) {
        let blocks = self.claims.lock();
        side.seen.retain(|(known, _)| blocks.iter().any(|block| Arc::ptr_eq(block, known)));
        for block in blocks.iter() {
            if !side.seen.iter().any(|(known, _)| Arc::ptr_eq(block, known)) {
                side.seen.push((Arc::clone(block), vec![UNSEEN; block.len()].into_boxed_slice()));
            }
        }
    }

    /// Watermarks, the age of keys and dead letters, the pace of settlements.
    fn watch_depth(self: &Arc<Self>, side: &mut TimerSide, now: Timestamp) {
        side.depth = self.occupied();
        if let Some(signal) = side.watermark.update(side.depth) {
            let pressure = match signal {
                Signal::High => Pressure::High,
                Signal::Low => Pressure::Low,
            };
            // relaxed: statistics
            self.pressure.store(pressure == Pressure::High, Relaxed);
            self.cross(pressure);
        }
        if self.is_closed() && self.is_over() {
            // a task that receives has no heartbeat: nobody else tells it that the last job has ended
            self.bell.notify_all();
        }
        self.sweep_keys(now);
        self.sweep_records(now);
        if self.dead.lock().has_aged(now) || self.has_letters_to_move(now) {
            self.add_chore(Chore::RetireLetters(now));
        }
        if !self.deferred.lock().is_empty() && self.free() > 0 {
            self.add_chore(Chore::Deferred);
        }
        self.watch_pace(side, now);
    }

    /// The pace of settlements. One sweep sees few of them or none, so the stretch behind the last ones counts, as far as there was something to settle.
    fn watch_pace(&self, side: &mut TimerSide, now: Timestamp) {
        let settled = settled(&self.ledger.counts());
        if settled > side.settled_before {
            let stretch = now.since(side.settled_at);
            // it has had something to do for a sweep at most
            let stretch = if side.at_work { stretch } else { stretch.min(self.sweep_every()) };
            side.pace = (nanos(stretch) / (settled - side.settled_before)).max(1);
            (side.settled_before, side.settled_at) = (settled, now);
        } else if !side.at_work {
            // that an idle queue settles nothing says nothing of its pace
            side.settled_at = now;
        }
        side.at_work = side.depth > side.delayed();
        if side.pace > 0 {
            // relaxed: a hint
            self.settle_gap.store(side.pace.max(nanos(now.since(side.settled_at))), Relaxed);
        }
    }

    pub(super) fn add_chore(&self, chore: Chore<T>) {
        self.chores.add(chore);
        self.bell.notify_one();
    }

    /// Has letters tried again whose target was full, if it is time. Says when it will be.
    fn retry_letters(&self, now: Timestamp) -> Timestamp {
        if !self.moves_on {
            return Timestamp::MAX;
        }
        // relaxed: a wish for a time; whoever writes it wakes the timer, and every sweep looks anyway
        let again = Timestamp::from_nanos(self.letters_again.load(Relaxed));
        if again > now {
            return again;
        }
        self.letters_again.store(u64::MAX, Relaxed);
        self.add_chore(Chore::RetireLetters(now));
        Timestamp::MAX
    }

    /// Hands due periods to whoever does chores. Says when the next one is due.
    fn start_periods(&self, now: Timestamp) -> Timestamp {
        let mut periods = self.periods.lock();
        // relaxed: written under the lock
        self.periods_changed.store(false, Relaxed);
        periods.retain(|period| {
            // relaxed: a stopped period may fire once more
            let stopped = period.stopped.load(Relaxed);
            if stopped {
                // dropping what its closure holds is user code
                self.add_chore(Chore::Forget(Arc::clone(period)));
            }
            !stopped
        });
        let mut next = Timestamp::MAX;
        for period in periods.iter() {
            let mut due = period.next.lock();
            if *due <= now {
                let (times, next) = (period.rhythm)(*due, now);
                *due = next;
                if times > 0 {
                    // relaxed: the chore list's lock carries it
                    let owed = if period.catch_up { period.owed.fetch_add(times, Relaxed) } else { period.owed.swap(1, Relaxed) };
                    if owed == 0 {
                        self.add_chore(Chore::Period(Arc::clone(period)));
                    }
                }
            }
            next = next.min(*due);
        }
        next
    }
}

/// How many jobs were settled, for the pace.
fn settled(counts: &Counts) -> u64 {
    counts.acked + counts.dead_lettered + counts.dropped_discarded + counts.dropped_cancelled
}

/// The stamp of a claim that this sweep has to stamp at its end.
const FRESH: u64 = u64::MAX;
