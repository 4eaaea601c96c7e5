//! The arbiter: every transition of a slot, each one CAS loop on one word.

use super::word::{Epoch, Fate, ONE_HOLDER, Phase, Word};
use crate::limits::{EXPIRIES_MAX, HOLDERS_MAX};
use crate::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use crate::sync::store_exclusive;

/// The state word of one slot.
///
/// The [module essay](super) says who owns the index in each state, and which edge carries what. Every outcome carries the word *after* the
/// step, so that lane, fate and counters need not be read again (a slot that was given up must not be).
#[derive(Debug)]
pub struct SlotState {
    /// Written: by RMW from anyone who passes the epoch check; by plain store only from the exclusive owner of a slot that is Free, Held or a
    /// Zombie without holders. Read: by everyone.
    word: AtomicU64,
}

/// The lease or claim is not the current one. Carries the word that was found instead. The holder must [`leave`](SlotState::leave).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale(pub Word);

/// What [`start`](SlotState::start) found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The caller has the lease `word.epoch()`, and is a holder.
    Running(Word),
    /// Cancelled in the meantime: the caller [disposes](SlotState::dispose) of it.
    Doomed,
    /// Taken back or stolen: the index is somebody else's. Forget it.
    Moved,
}

/// What became of a slot that its index owner ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dispose {
    /// The slot is free; the caller owns payload and index.
    Owner(Word),
    /// A stale holder still reads the payload; the last one to leave reclaims the slot.
    Left(Word),
    /// The index is somebody else's. Forget it.
    Moved,
}

/// Where a settled delivery goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Back into its lane.
    Ready {
        /// Count this delivery as a failure.
        spend_failure: bool,
    },
    /// To the timer.
    Delayed {
        /// Count this delivery as a failure.
        spend_failure: bool,
    },
    /// Nowhere: the job is over.
    End {
        /// Why.
        fate: Fate,
        /// Count this delivery as a failure.
        spend_failure: bool,
    },
}

/// What [`settle`](SlotState::settle) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Ready again; the caller owns the index and pushes it into the lane.
    Ready(Word),
    /// Delayed; the caller owns the index and hands it to the timer.
    Delayed(Word),
    /// Over and free; the caller owns payload and index.
    Owner(Word),
    /// Over, but a stale holder still reads the payload.
    Left(Word),
}

/// What [`leave`](SlotState::leave) means for the leaver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// It was the last holder of an ended job: it owns payload and index.
    Owner(Word),
    /// The slot is not its business any more.
    NotLast,
}

/// What [`expire`](SlotState::expire) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expire {
    /// Ready again; the caller owns the index and pushes it into the lane.
    Ready(Word),
    /// Over: cancelled, or it expired too often. The stuck holder reclaims the slot if it ever leaves.
    Buried(Word),
    /// The lease was settled, extended or expired by somebody else.
    Lost(Word),
}

/// What one [`cancel`](SlotState::cancel) step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelStep {
    /// It was Ready; whoever owns the index disposes of it.
    Doomed,
    /// It runs; its handler and its settlement will see the flag.
    Flagged,
    /// It was Delayed; the caller pokes the timer, which owns the index.
    DoomedDelayed,
    /// The word changed to this one; check that it is still the same job, then try again.
    Retry(Word),
    /// There is nothing to cancel.
    Gone,
}

/// What [`fire`](SlotState::fire) found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fire {
    /// Ready now; the timer pushes it.
    Ready(Word),
    /// Cancelled while it waited; the timer pushes it all the same, for the worker that pops it to dispose of.
    Doomed(Word),
}

impl Word {
    /// The same word once its job is over: free, or a zombie while holders are left.
    #[inline]
    fn ended(self) -> Word {
        self.with_phase(if self.holders() == 0 { Phase::Free } else { Phase::Zombie })
    }

    #[inline]
    fn spend(self, failure: bool) -> Word {
        if failure { self.with_failures(self.failures() + 1) } else { self }
    }

    /// True when no job is in the slot and nobody reads it.
    #[inline]
    fn is_vacant(self) -> bool {
        matches!(self.phase(), Phase::Free | Phase::Zombie) && self.holders() == 0
    }
}

impl SlotState {
    /// A slot that was never filled.
    pub fn new() -> Self {
        SlotState { word: AtomicU64::new(Word::FREE.raw()) }
    }

    /// The word now.
    #[inline]
    pub fn load(&self) -> Word {
        // edge slot.fill, acquire: the job id that belongs to this epoch
        // edge slot.start, acquire: whoever sees it running finds the claim
        Word::from_raw(self.word.load(Acquire))
    }

    /// The word now, as the starting point of a CAS.
    #[inline]
    fn peek(&self) -> Word {
        // relaxed: CAS re-checks
        Word::from_raw(self.word.load(Relaxed))
    }

    /// The word now, for its exclusive owner: nobody else can change it.
    #[inline]
    fn owned(&self) -> Word {
        // relaxed: exclusive owner
        Word::from_raw(self.word.load(Relaxed))
    }

    #[inline]
    fn publish(&self, word: Word) {
        // edge slot.fill, release: payload and job id; that an undone job is in its list
        store_exclusive(&self.word, word.raw(), Release);
    }

    /// Free -> `phase`(e+1), Ready or Delayed, with counters and flags cleared, but marked if the job is `watched`. See [`fill`](Self::fill) and
    /// [`fill_delayed`](Self::fill_delayed).
    #[inline]
    pub fn fill_as(&self, phase: Phase, lane: u8, watched: bool) -> Epoch {
        let before = self.owned();
        debug_assert!(before.is_vacant(), "filled while {before:?}");
        let epoch = before.epoch().next();
        self.publish(Word::FREE.with_phase(phase).with_lane(lane).with_watched(watched).with_epoch(epoch));
        epoch
    }

    /// Free -> Ready(e+1) with counters and flags cleared. The caller owns the vacant slot, has written payload and id, and pushes the index
    /// into `lane` next.
    #[inline]
    pub fn fill(&self, lane: u8) -> Epoch {
        self.fill_as(Phase::Ready, lane, false)
    }

    /// As [`fill`](Self::fill), for a job that was delivered before, in another slot and up to the epoch `last`: its fencing numbers go on growing.
    pub fn fill_beyond(&self, lane: u8, last: Epoch) -> Epoch {
        let before = self.owned();
        debug_assert!(before.is_vacant(), "filled while {before:?}");
        let epoch = if before.epoch().raw() < last.raw() { last.next() } else { before.epoch().next() };
        self.publish(Word::FREE.with_phase(Phase::Ready).with_lane(lane).with_epoch(epoch));
        epoch
    }

    /// As [`fill`](Self::fill), but Delayed: the caller hands the index to the timer next.
    #[inline]
    pub fn fill_delayed(&self, lane: u8) -> Epoch {
        self.fill_as(Phase::Delayed, lane, false)
    }

    /// As [`fill`](Self::fill), for the follow-up that takes the slot of the job it completes.
    #[inline]
    pub fn refill(&self, lane: u8) -> Epoch {
        self.fill_as(Phase::Ready, lane, false)
    }

    /// Writes `word` (phase, lane, fate, counters) into a slot the caller owns, Free or Held, in the slot's own next epoch and without holders:
    /// a job that goes on where it was, here or in another slot.
    pub fn restore(&self, word: Word) -> Epoch {
        let before = self.owned();
        debug_assert!(before.is_vacant() || before.phase() == Phase::Held, "restored while {before:?}");
        let epoch = before.epoch().next();
        self.publish(word.with_epoch(epoch).with_holders(0));
        epoch
    }

    /// Free -> Held, fate and counters kept. The caller owns the slot, has taken the payload out, and keeps the index in the list of dead letters.
    pub fn hold(&self) {
        let before = self.owned();
        debug_assert!(before.is_vacant(), "held while {before:?}");
        self.publish(before.with_phase(Phase::Held));
    }

    /// Held -> Free. The caller owns the slot.
    pub fn unhold(&self) {
        let before = self.owned();
        debug_assert!(before.phase() == Phase::Held, "released while {before:?}");
        self.publish(before.with_phase(Phase::Free));
    }

    /// Forgets the fate of a job that ended as handed back: it is among the undone, and no longer on its way there. The caller owns the slot.
    pub fn has_arrived(&self) {
        let before = self.owned();
        debug_assert!(before.is_vacant() && before.fate() == Fate::HandedBack, "arrived while {before:?}");
        self.publish(before.with_fate(Fate::None));
    }

    /// Ready(e) -> Running(e+1), for the worker whose claim (this index, e) is published already.
    ///
    /// Fails for good when the epoch is another one. The new epoch must not be claimed in its place: it belongs to whoever made it.
    #[inline]
    pub fn start(&self, claim: Epoch) -> Start {
        let mut word = self.peek();
        loop {
            if !word.is(Phase::Ready, claim) {
                return if word.is(Phase::Doomed, claim) { Start::Doomed } else { Start::Moved };
            }
            debug_assert!(word.holders() < HOLDERS_MAX, "expiries bound the holders");
            let next = word.started();
            // edge slot.fill, acquire: payload and job id
            // edge slot.settle, acquire: what earlier deliveries wrote into the record
            // edge slot.start, release: the link was read and the claim was published before
            match self.word.compare_exchange_weak(word.raw(), next.raw(), AcqRel, Relaxed) {
                Ok(_) => return Start::Running(next),
                // relaxed: CAS re-checks
                Err(now) => word = Word::from_raw(now),
            }
        }
    }

    /// Doomed(e) -> Free, or Zombie while somebody still reads. For the owner of the index only: a live claim (this index, e), or a hand.
    pub fn dispose(&self, epoch: Epoch) -> Dispose {
        self.end(epoch, None)
    }

    /// As [`dispose`](Self::dispose), but from Ready(e), with `fate`: for a job that is dropped before it starts (time to live, drop oldest,
    /// purge, hand-back). A job that was doomed in the meantime keeps its earlier fate.
    pub fn end_claimed(&self, epoch: Epoch, fate: Fate) -> Dispose {
        self.end(epoch, Some(fate))
    }

    fn end(&self, epoch: Epoch, fate_of_ready: Option<Fate>) -> Dispose {
        let mut word = self.peek();
        loop {
            let next = match fate_of_ready {
                _ if word.is(Phase::Doomed, epoch) => word,
                Some(fate) if word.is(Phase::Ready, epoch) => word.with_fate(fate),
                _ => return Dispose::Moved,
            };
            let next = next.ended();
            // edge slot.leave, acquire: stale holders have read the payload for the last time
            // edge slot.settle, release: the link was read before; the last holder may free the slot
            match self.word.compare_exchange_weak(word.raw(), next.raw(), AcqRel, Relaxed) {
                Ok(_) if next.holders() == 0 => return Dispose::Owner(next),
                Ok(_) => return Dispose::Left(next),
                // relaxed: CAS re-checks
                Err(now) => word = Word::from_raw(now),
            }
        }
    }

    /// Ready or Delayed(e), read by nobody -> Doomed(e) with the fate `TakenOut`, and the caller a holder: the payload is the caller's, who takes it and then
    /// [leaves](Self::leave). The index is not: whoever has it disposes of the slot. Carries the word *before* the step.
    pub fn take_over(&self) -> Option<Word> {
        let mut word = self.peek();
        loop {
            if !matches!(word.phase(), Phase::Ready | Phase::Delayed) || word.holders() > 0 {
                return None;
            }
            let next = word.with_phase(Phase::Doomed).with_fate(Fate::TakenOut).with_holders(1);
            // edge slot.fill, acquire: payload and job id
            // edge slot.settle, acquire: what earlier deliveries wrote into the record
            // edge slot.leave, acquire: stale holders have read the payload for the last time
            match self.word.compare_exchange_weak(word.raw(), next.raw(), Acquire, Relaxed) {
                Ok(_) => return Some(word),
                // relaxed: CAS re-checks
                Err(now) => word = Word::from_raw(now),
            }
        }
    }

    /// Ends the delivery `lease`: Running(e) -> what `decide` says, and the caller is no holder any more.
    ///
    /// `decide` sees the word (counters, cancel flag) and is called again when another holder left or a cancel came in between.
    ///
    /// # Errors
    /// [`Stale`] when the lease has ended. Nothing was touched; the caller is still a holder and must [`leave`](Self::leave).
    #[inline]
    pub fn settle(&self, lease: Epoch, mut decide: impl FnMut(Word) -> Next) -> Result<Settled, Stale> {
        let mut word = self.peek();
        loop {
            if !word.is(Phase::Running, lease) {
                return Err(Stale(word));
            }
            let left = word.with_holders(word.holders() - 1);
            let next = match decide(word) {
                Next::Ready { spend_failure } => left.spend(spend_failure).with_phase(Phase::Ready),
                Next::Delayed { spend_failure } => left.spend(spend_failure).with_phase(Phase::Delayed),
                Next::End { fate, spend_failure } => left.spend(spend_failure).with_fate(fate).ended(),
            };
            // edge slot.settle, release: the payload was read, the record was written
            // edge slot.leave, acquire: stale holders have read the payload for the last time
            // relaxed on failure: CAS re-checks
            match self.word.compare_exchange_weak(word.raw(), next.raw(), AcqRel, Relaxed) {
                Ok(_) => {
                    return Ok(match next.phase() {
                        Phase::Ready => Settled::Ready(next),
                        Phase::Delayed => Settled::Delayed(next),
                        Phase::Free => Settled::Owner(next),
                        _ => Settled::Left(next),
                    });
                }
                // relaxed: CAS re-checks
                Err(now) => word = Word::from_raw(now),
            }
        }
    }

    /// As [`settle`](Self::settle) with the fate `Acked`, for the usual delivery: nobody else holds the slot, nobody watches the job, and the word is still
    /// `running`, as [`start`](Self::start) left it. True: the slot is free, its payload and index are the caller's. False, and nothing has changed, when the delivery is not
    /// that usual.
    #[inline]
    pub fn ack(&self, running: Word) -> bool {
        if !running.is_plain() {
            return false;
        }
        let next = running.with_holders(0).with_fate(Fate::Acked).with_phase(Phase::Free);
        // edge slot.settle, release: the payload was read, the record was written
        // edge slot.leave, acquire: stale holders have read the payload for the last time
        // relaxed on failure: `settle` looks again
        self.word.compare_exchange(running.raw(), next.raw(), AcqRel, Relaxed).is_ok()
    }

    /// Gives up a hold whose lease was lost.
    ///
    /// One RMW decides who reclaims: a leaver that looked again would find the same zombie as the one who left with it.
    #[inline]
    pub fn leave(&self) -> Leave {
        // edge slot.leave, release: the payload was read for the last time
        // edge slot.leave, acquire: so did the others
        // edge slot.settle, acquire: so did the one who ended the job
        let before = Word::from_raw(self.word.fetch_sub(ONE_HOLDER, AcqRel));
        debug_assert!(before.holders() > 0, "left without holding: {before:?}");
        if before.phase() == Phase::Zombie && before.holders() == 1 { Leave::Owner(before.with_holders(0)) } else { Leave::NotLast }
    }

    /// Running(e) -> Ready(e) after an overrun, the stuck holder kept. Over for good when it was cancelled or this expiry is one too many.
    ///
    /// At most [`EXPIRIES_MAX`] expiries are allowed, whatever `max_expiries` says: each may leave a holder behind.
    pub fn expire(&self, lease: Epoch, max_expiries: u32) -> Expire {
        let mut word = self.peek();
        loop {
            if !word.is(Phase::Running, lease) {
                return Expire::Lost(word);
            }
            let counted = word.with_expiries(word.expiries() + 1);
            let next = if word.is_cancelled() {
                counted.with_phase(Phase::Zombie).with_fate(Fate::Cancelled)
            } else if counted.expiries() > max_expiries.min(EXPIRIES_MAX) {
                counted.with_phase(Phase::Zombie).with_fate(Fate::Expiries)
            } else {
                counted.with_phase(Phase::Ready)
            };
            // edge slot.start, acquire: the starter has read the link, which is ours to write now
            match self.word.compare_exchange_weak(word.raw(), next.raw(), Acquire, Relaxed) {
                Ok(_) if next.phase() == Phase::Ready => return Expire::Ready(next),
                Ok(_) => return Expire::Buried(next),
                // relaxed: CAS re-checks
                Err(now) => word = Word::from_raw(now),
            }
        }
    }

    /// Running(e) -> Running(e+1) by the same holder: a fresh lease. An expiry of the old one comes too late from here on.
    ///
    /// # Errors
    /// [`Stale`] when the lease has ended; the caller is still a holder and must [`leave`](Self::leave) in the end.
    pub fn extend(&self, lease: Epoch) -> Result<Epoch, Stale> {
        let mut word = self.peek();
        loop {
            if !word.is(Phase::Running, lease) {
                return Err(Stale(word));
            }
            let next = word.with_epoch(lease.next());
            // relaxed: nothing changes hands; an RMW keeps the release sequence of slot.start
            match self.word.compare_exchange_weak(word.raw(), next.raw(), Relaxed, Relaxed) {
                Ok(_) => return Ok(next.epoch()),
                // relaxed: CAS re-checks
                Err(now) => word = Word::from_raw(now),
            }
        }
    }

    /// Takes an unstarted claim away: Ready or Doomed(e) -> the same phase, e+1. The caller owns the index. Also how a worker gives back a
    /// batch of its own: without the new epoch its old claim would come to life when the slot is filled again.
    pub fn take_back(&self, claim: Epoch) -> Option<(Epoch, Phase)> {
        self.bump(claim, true)
    }

    /// As [`take_back`](Self::take_back), for a thief that means to run the job: Ready only. It publishes its own claim next.
    pub fn steal(&self, claim: Epoch) -> Option<Epoch> {
        self.bump(claim, false).map(|(epoch, _)| epoch)
    }

    fn bump(&self, claim: Epoch, doomed_too: bool) -> Option<(Epoch, Phase)> {
        let mut word = self.peek();
        loop {
            if !(word.is(Phase::Ready, claim) || doomed_too && word.is(Phase::Doomed, claim)) {
                return None;
            }
            let next = word.with_epoch(claim.next());
            // edge slot.fill, acquire: payload and job id (the claim carried them already; a thief must not depend on it)
            match self.word.compare_exchange_weak(word.raw(), next.raw(), Acquire, Relaxed) {
                Ok(_) => return Some((next.epoch(), next.phase())),
                // relaxed: CAS re-checks
                Err(now) => word = Word::from_raw(now),
            }
        }
    }

    /// One attempt to cancel the job that `expected` speaks of. The caller has [loaded](Self::load) `expected` and *then* found the job's id in
    /// the slot; that the word has not changed since proves that it is still that job.
    pub fn cancel(&self, expected: Word, fate: Fate) -> CancelStep {
        let (next, done) = match expected.phase() {
            Phase::Ready => (expected.with_phase(Phase::Doomed).with_fate(fate), CancelStep::Doomed),
            Phase::Delayed => (expected.with_phase(Phase::Doomed).with_fate(fate), CancelStep::DoomedDelayed),
            // also when the flag is up already: only the CAS proves that the job still runs
            Phase::Running => (expected.with_cancelled(true), CancelStep::Flagged),
            Phase::Free | Phase::Doomed | Phase::Zombie | Phase::Held => return CancelStep::Gone,
        };
        // relaxed on success: the canceller takes nothing and gives nothing; the poke orders a doomed delay before the timer's look
        // edge slot.fill, acquire (on failure): the job id that belongs to this epoch
        match self.word.compare_exchange(expected.raw(), next.raw(), Relaxed, Acquire) {
            Ok(_) => done,
            Err(now) => CancelStep::Retry(Word::from_raw(now)),
        }
    }

    /// Delayed -> Ready when its time has come. Only for the timer, which owns the index; it pushes in either case.
    ///
    /// # Panics
    /// When the slot is neither Delayed nor Doomed: then its index was in two places.
    pub fn fire(&self) -> Fire {
        let mut word = self.peek();
        loop {
            match word.phase() {
                Phase::Delayed => {}
                Phase::Doomed => return Fire::Doomed(word),
                other => panic!("the timer fires a slot that is {other:?}"),
            }
            let next = word.with_phase(Phase::Ready);
            // relaxed: the timer owns the index since the inbox handed it over; an RMW keeps the release sequences
            match self.word.compare_exchange_weak(word.raw(), next.raw(), Relaxed, Relaxed) {
                Ok(_) => return Fire::Ready(next),
                // relaxed: CAS re-checks
                Err(now) => word = Word::from_raw(now),
            }
        }
    }

    /// The word itself, for the mutations that the models must catch.
    #[doc(hidden)]
    pub fn raw(&self) -> &AtomicU64 {
        &self.word
    }
}

impl Default for SlotState {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_next_delivery_has_a_greater_number_wherever_the_job_was_before() {
        for (here, before) in [(0, 9), (5, 9), (8, 9), (9, 9), (9, 8), (9, 0)] {
            let slot = SlotState::new();
            // relaxed: nobody else
            slot.word.store(Word::FREE.with_epoch(Epoch::from_raw(here)).raw(), Relaxed);
            assert_eq!(slot.fill_beyond(3, Epoch::from_raw(before)).raw(), 10, "in a slot at {here}, up to {before} before");
            let word = slot.load();
            assert_eq!((word.phase(), word.lane(), word.holders(), word.epoch().raw()), (Phase::Ready, 3, 0, 10));
        }
    }

    #[test]
    fn a_slot_is_vacant_without_a_job_and_without_a_reader() {
        use Phase::*;
        for phase in [Free, Ready, Running, Delayed, Doomed, Zombie, Held] {
            let word = Word::FREE.with_phase(phase);
            assert_eq!(word.is_vacant(), matches!(phase, Free | Zombie), "{phase:?}");
            assert!(!word.with_holders(1).is_vacant(), "{phase:?}");
        }
    }
}
