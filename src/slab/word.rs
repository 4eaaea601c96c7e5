//! The bits: what a state word and a claim say. Pure values; who may write which word is in [`state`](super::SlotState).

use crate::limits::{EPOCH_BITS, INDEX_BITS};
use std::fmt;

/// Numbers the deliveries of one slot, two steps each. Wraps after 2^36 steps: one slot delivering a million times a second needs nine hours,
/// and a stale claim would have to sleep through exactly that many.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

const EPOCH_MASK: u64 = (1 << EPOCH_BITS) - 1;

impl Epoch {
    /// The epoch of a slot that was never filled.
    pub const ZERO: Epoch = Epoch(0);

    /// The low 36 bits of `raw`.
    #[inline]
    pub const fn from_raw(raw: u64) -> Self {
        Epoch(raw & EPOCH_MASK)
    }

    /// The number, below 2^36.
    #[inline]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The epoch that follows; 2^36 - 1 is followed by 0.
    #[inline]
    pub const fn next(self) -> Self {
        Epoch::from_raw(self.0 + 1)
    }

    /// The epoch before; 0 is preceded by 2^36 - 1.
    #[inline]
    pub const fn previous(self) -> Self {
        Epoch::from_raw(self.0.wrapping_sub(1))
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}", self.0)
    }
}

/// Where a slot is in the life of its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Phase {
    /// No job. So is [`Zombie`](Phase::Zombie) without holders.
    Free = 0,
    /// To be run: in a lane, on the way there, or claimed by a worker that has not started it.
    Ready = 1,
    /// A handler has the lease.
    Running = 2,
    /// Waits for its time: with the timer, or on the way there.
    Delayed = 3,
    /// Ended while Ready or Delayed; whoever owns the index disposes of it.
    Doomed = 4,
    /// Ended, but stale holders still read the payload. The last one reclaims the slot.
    Zombie = 5,
    /// Dead, and kept by its letter, which waits for room. Empty: the payload is in the letter.
    Held = 6,
}

impl Phase {
    const fn from_bits(bits: u64) -> Self {
        match bits {
            0 => Phase::Free,
            1 => Phase::Ready,
            2 => Phase::Running,
            3 => Phase::Delayed,
            4 => Phase::Doomed,
            5 => Phase::Zombie,
            6 => Phase::Held,
            _ => unreachable!(),
        }
    }
}

/// Why a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Fate {
    /// It has not.
    None = 0,
    /// The handler acknowledged it.
    Acked = 1,
    /// The handler discarded it.
    Discarded = 2,
    /// The handler rejected it.
    Rejected = 3,
    /// It failed too often.
    Attempts = 4,
    /// Its leases expired too often.
    Expiries = 5,
    /// Its time to live ran out.
    Expired = 6,
    /// It was cancelled.
    Cancelled = 7,
    /// It was acknowledged, and its slot is filled again with a follow-up.
    Chained = 8,
    /// It was dropped to make room.
    OverLength = 9,
    /// It is being handed back undone at shutdown. A free slot says so until the job is among the undone.
    HandedBack = 10,
    /// It was purged.
    Purged = 11,
    /// It was handed back undone at shutdown, out of somebody's hand: the slot is empty.
    TakenOut = 12,
}

impl Fate {
    const fn from_bits(bits: u64) -> Self {
        match bits {
            0 => Fate::None,
            1 => Fate::Acked,
            2 => Fate::Discarded,
            3 => Fate::Rejected,
            4 => Fate::Attempts,
            5 => Fate::Expiries,
            6 => Fate::Expired,
            7 => Fate::Cancelled,
            8 => Fate::Chained,
            9 => Fate::OverLength,
            10 => Fate::HandedBack,
            11 => Fate::Purged,
            12 => Fate::TakenOut,
            _ => unreachable!(),
        }
    }
}

/// A run of bits in a word.
#[derive(Clone, Copy)]
struct Field {
    shift: u32,
    bits: u32,
}

impl Field {
    /// The field above this one.
    const fn then(self, bits: u32) -> Field {
        Field { shift: self.shift + self.bits, bits }
    }

    const fn max(self) -> u64 {
        (1 << self.bits) - 1
    }

    const fn mask(self) -> u64 {
        self.max() << self.shift
    }
}

// from the lowest bit up
const EXPIRIES: Field = Field { shift: 0, bits: 4 };
const FAILURES: Field = EXPIRIES.then(8);
const CANCELLED: Field = FAILURES.then(1);
const WATCHED: Field = CANCELLED.then(1);
const HOLDERS: Field = WATCHED.then(4);
const LANE: Field = HOLDERS.then(3);
const PHASE: Field = LANE.then(3);
const FATE: Field = PHASE.then(4);
const EPOCH: Field = FATE.then(EPOCH_BITS);

const _: () = assert!(EPOCH.shift + EPOCH.bits == 64, "the fields fill the word");
const _: () = assert!(LANE.max() as usize + 1 >= crate::limits::LANES_MAX);
const _: () = assert!(FAILURES.max() as u32 >= crate::limits::ATTEMPTS_MAX);
const _: () = assert!(EXPIRIES.max() as u32 > crate::limits::EXPIRIES_MAX, "the expiry beyond the limit is counted too");
const _: () = assert!(HOLDERS.max() as u32 >= crate::limits::HOLDERS_MAX);

/// One holder, as it is subtracted from a raw word.
pub(super) const ONE_HOLDER: u64 = 1 << HOLDERS.shift;

/// What a start adds to the raw word of a ready job: one epoch, one holder, and the step from one phase to the other.
const START: u64 = (1 << EPOCH.shift) + ONE_HOLDER + ((Phase::Running as u64 - Phase::Ready as u64) << PHASE.shift);

/// The state of one slot, unpacked from (and packed into) 64 bits. The layout is drawn in the [module essay](super).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Word(u64);

impl Word {
    /// A slot that was never filled.
    pub const FREE: Word = Word(0);

    /// The word with these bits.
    #[inline]
    pub const fn from_raw(raw: u64) -> Self {
        Word(raw)
    }

    /// The bits of the word.
    #[inline]
    pub const fn raw(self) -> u64 {
        self.0
    }

    #[inline]
    const fn get(self, field: Field) -> u64 {
        (self.0 >> field.shift) & field.max()
    }

    #[inline]
    const fn set(self, field: Field, value: u64) -> Self {
        debug_assert!(value <= field.max());
        Word((self.0 & !field.mask()) | ((value & field.max()) << field.shift))
    }

    /// Where the slot is in the life of its job.
    ///
    /// # Panics
    /// When the bits name no phase: no word of this crate does that.
    #[inline]
    pub const fn phase(self) -> Phase {
        Phase::from_bits(self.get(PHASE))
    }

    /// True in `phase` at `epoch`: one comparison, no decoding.
    #[inline]
    pub(super) const fn is(self, phase: Phase, epoch: Epoch) -> bool {
        self.0 & (PHASE.mask() | EPOCH.mask()) == (phase as u64) << PHASE.shift | epoch.raw() << EPOCH.shift
    }

    /// Why the job ended.
    ///
    /// # Panics
    /// When the bits name no fate: no word of this crate does that.
    #[inline]
    pub const fn fate(self) -> Fate {
        Fate::from_bits(self.get(FATE))
    }

    /// The lane of the job; a retry keeps it.
    #[inline]
    pub const fn lane(self) -> u8 {
        self.get(LANE) as u8
    }

    /// How many handlers may be reading the payload: the current one and the stale ones.
    #[inline]
    pub const fn holders(self) -> u32 {
        self.get(HOLDERS) as u32
    }

    /// Somebody asked to cancel while it ran.
    #[inline]
    pub const fn is_cancelled(self) -> bool {
        self.get(CANCELLED) != 0
    }

    /// Somebody wants to know how the job ends.
    #[inline]
    pub const fn is_watched(self) -> bool {
        self.get(WATCHED) != 0
    }

    /// One holder, and nobody wants to know how the job ends: one comparison, no decoding.
    #[inline]
    pub(super) const fn is_plain(self) -> bool {
        self.0 & (HOLDERS.mask() | WATCHED.mask()) == ONE_HOLDER
    }

    /// Failed attempts so far, at most 255.
    #[inline]
    pub const fn failures(self) -> u32 {
        self.get(FAILURES) as u32
    }

    /// Expired leases so far, at most 15.
    #[inline]
    pub const fn expiries(self) -> u32 {
        self.get(EXPIRIES) as u32
    }

    /// The delivery epoch.
    #[inline]
    pub const fn epoch(self) -> Epoch {
        Epoch::from_raw(self.get(EPOCH))
    }

    /// True for a job that has not failed, and whose lease has not run out.
    #[inline]
    pub const fn is_untried(self) -> bool {
        self.0 & (FAILURES.mask() | EXPIRIES.mask()) == 0
    }

    /// The word of a ready job when a delivery of it starts: one addition. There are fewer than [`HOLDERS_MAX`](crate::limits::HOLDERS_MAX) holders yet.
    #[inline]
    pub(super) const fn started(self) -> Self {
        debug_assert!(self.get(PHASE) == Phase::Ready as u64 && self.get(HOLDERS) < HOLDERS.max());
        // the epoch is uppermost: after the last one it begins anew
        Word(self.0.wrapping_add(START))
    }

    /// With another phase.
    #[inline]
    pub const fn with_phase(self, phase: Phase) -> Self {
        self.set(PHASE, phase as u64)
    }

    /// With another fate.
    #[inline]
    pub const fn with_fate(self, fate: Fate) -> Self {
        self.set(FATE, fate as u64)
    }

    /// With another lane, below 8.
    #[inline]
    pub const fn with_lane(self, lane: u8) -> Self {
        self.set(LANE, lane as u64)
    }

    /// With this many holders, at most 15.
    #[inline]
    pub const fn with_holders(self, holders: u32) -> Self {
        self.set(HOLDERS, holders as u64)
    }

    /// With or without the cancel flag.
    #[inline]
    pub const fn with_cancelled(self, cancelled: bool) -> Self {
        self.set(CANCELLED, cancelled as u64)
    }

    /// With or without somebody who wants to know how the job ends.
    #[inline]
    pub const fn with_watched(self, watched: bool) -> Self {
        self.set(WATCHED, watched as u64)
    }

    /// With this many failures; more than 255 count as 255.
    #[inline]
    pub const fn with_failures(self, failures: u32) -> Self {
        self.set(FAILURES, saturate(failures, FAILURES))
    }

    /// With this many expiries; more than 15 count as 15.
    #[inline]
    pub const fn with_expiries(self, expiries: u32) -> Self {
        self.set(EXPIRIES, saturate(expiries, EXPIRIES))
    }

    /// With another epoch.
    #[inline]
    pub const fn with_epoch(self, epoch: Epoch) -> Self {
        self.set(EPOCH, epoch.raw())
    }
}

#[inline]
const fn saturate(value: u32, field: Field) -> u64 {
    if value as u64 > field.max() { field.max() } else { value as u64 }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Word")
            .field("phase", &self.phase())
            .field("epoch", &self.epoch())
            .field("holders", &self.holders())
            .field("lane", &self.lane())
            .field("fate", &self.fate())
            .field("cancelled", &self.is_cancelled())
            .field("watched", &self.is_watched())
            .field("failures", &self.failures())
            .field("expiries", &self.expiries())
            .finish()
    }
}

/// What a worker publishes before it starts a job: a slot, and the epoch in which it found it.
///
/// ```text
///   63   60 59                                36+24 24 23          0
///  +-------+------------------------------------------+------------+
///  |   0   |                  epoch                   |   index    |
///  +-------+------------------------------------------+------------+
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim(u64);

const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;

impl Claim {
    /// An empty seat.
    pub const NONE: Claim = Claim(u64::MAX);

    /// The claim of `index` in `epoch`.
    #[inline]
    pub const fn new(index: u32, epoch: Epoch) -> Self {
        debug_assert!((index as u64) < INDEX_MASK);
        Claim(epoch.raw() << INDEX_BITS | index as u64)
    }

    /// The slot.
    #[inline]
    pub const fn index(self) -> u32 {
        (self.0 & INDEX_MASK) as u32
    }

    /// The epoch in which the slot was found.
    #[inline]
    pub const fn epoch(self) -> Epoch {
        Epoch::from_raw(self.0 >> INDEX_BITS)
    }

    /// True for an empty seat.
    #[inline]
    pub const fn is_none(self) -> bool {
        self.0 == u64::MAX
    }

    /// The claim with these bits.
    #[inline]
    pub const fn from_raw(raw: u64) -> Self {
        Claim(raw)
    }

    /// The bits of the claim.
    #[inline]
    pub const fn raw(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.write_str("Claim(none)");
        }
        write!(f, "Claim({} {:?})", self.index(), self.epoch())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_free_word_has_no_bits() {
        assert_eq!((Word::FREE.phase(), Word::FREE.fate(), Word::FREE.epoch()), (Phase::Free, Fate::None, Epoch::ZERO));
    }

    #[test]
    fn the_last_epoch_is_followed_by_the_first() {
        let last = Epoch::from_raw(u64::MAX);
        assert_eq!(last.raw(), (1 << 36) - 1);
        assert_eq!(last.next(), Epoch::ZERO);
    }

    #[test]
    fn a_start_moves_phase_epoch_and_holders_and_nothing_else() {
        for epoch in [Epoch::ZERO, Epoch::from_raw(7), Epoch::from_raw(u64::MAX)] {
            for (holders, fate, failures, expiries) in [(0, Fate::None, 0, 0), (14, Fate::Purged, 255, 15), (3, Fate::Acked, 1, 2)] {
                let ready = Word::FREE.with_phase(Phase::Ready).with_epoch(epoch).with_holders(holders).with_fate(fate);
                let ready = ready.with_failures(failures).with_expiries(expiries).with_lane(7).with_watched(true).with_cancelled(true);
                assert_eq!(ready.is_untried(), failures + expiries == 0);
                assert!(ready.is(Phase::Ready, epoch) && !ready.is(Phase::Ready, epoch.next()) && !ready.is(Phase::Doomed, epoch));
                assert_eq!(ready.started(), ready.with_phase(Phase::Running).with_epoch(epoch.next()).with_holders(holders + 1));
            }
        }
    }

    #[test]
    fn no_claim_is_mistaken_for_an_empty_seat() {
        assert!(Claim::NONE.is_none());
        assert!(!Claim::new(crate::limits::CAPACITY_MAX - 1, Epoch::from_raw(u64::MAX)).is_none());
    }
}
