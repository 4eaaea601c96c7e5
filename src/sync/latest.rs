//! A few words, replaced as a whole, read without waiting.
//!
//! For what everybody reads all the time and somebody replaces now and then. A seqlock would do, but its readers wait for its writer.
//!
//! # The protocol
//!
//! There are four slots. `current` names one of them, and a version; `taken` has a bit per slot that somebody uses: the current one, and those that are being
//! filled.
//!
//! - **Read:** load `current`, load the words of its slot, load `current` again. If it has not changed, the words are those that it was published with.
//!   If it has, somebody replaced the value meanwhile: again.
//! - **Replace** what was seen: take a spare slot, fill it, move `current` to it and to the next version by one CAS on the version that was seen. Whoever wins gives
//!   up the old slot, whoever loses the new one. So a replacement that took long cannot undo a later one.
//! - **Confirm** what was seen: move `current` to the next version by the same CAS, in the same slot. Every replacement that was begun before now loses.
//!
//! A slot is filled only by whoever set its bit, and the bit of the current slot is set: nobody writes what is current. A reader whose slot was given up and filled
//! again finds that out: whoever filled it had seen that it was given up (edge `latest.spare`), so a reader that sees one of *its* words (edge `latest.words`)
//! sees another version at the second look.
//!
//! # Progress
//!
//! A thread that is stopped in a replacement keeps a spare slot and nothing else. When three are stopped there, no value can be replaced until one goes on;
//! [`replace`](Latest::replace) says so at once, reading and confirming go on.

use super::atomic::{AtomicU64, Ordering};
use super::{CachePadded, peek_u64};
use std::fmt;
use std::marker::PhantomData;

/// One is current, one is being filled; the others stand for threads that are stopped.
const SLOTS: u64 = 4;

/// The orderings. Everything but [`Standard`] is a mutation that a model must catch.
#[doc(hidden)]
pub trait Rules {
    /// The CAS on `current`.
    const PUBLISH: Ordering = Ordering::Release;
    /// The first look at `current`.
    const LOOK: Ordering = Ordering::Acquire;
    /// The stores of the words.
    const FILL: Ordering = Ordering::Release;
    /// The loads of the words.
    const LOAD: Ordering = Ordering::Acquire;
    /// Giving up a slot.
    const GIVE_UP: Ordering = Ordering::Release;
    /// Taking one.
    const TAKE: Ordering = Ordering::Acquire;
    /// The second look.
    const LOOKS_AGAIN: bool = true;
    /// A replacement moves the version on.
    const COUNTS: bool = true;
}

/// The protocol as it is.
#[derive(Debug)]
pub struct Standard;

impl Rules for Standard {}

/// The version that was read: what a replacement replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen(u64);

impl Seen {
    #[inline]
    fn slot(self) -> usize {
        (self.0 % SLOTS) as usize
    }
}

/// `WORDS` words; see the module's essay.
pub struct Latest<const WORDS: usize, R: Rules = Standard> {
    /// Version times [`SLOTS`], plus the slot. Written by CAS, by whoever replaces or confirms; read by everybody. Versions do not come back: there are 2^62.
    current: CachePadded<AtomicU64>,
    /// A bit per slot that is current or being filled. Written (RMW only) by whoever takes and gives up slots.
    taken: AtomicU64,
    /// Written by whoever set the slot's bit, never while it is current; read by everybody.
    slots: [CachePadded<[AtomicU64; WORDS]>; SLOTS as usize],
    rules: PhantomData<R>,
}

impl<const WORDS: usize> Latest<WORDS> {
    /// Holds `value`.
    pub fn new(value: [u64; WORDS]) -> Self {
        Self::with_rules(value)
    }
}

impl<const WORDS: usize, R: Rules> Latest<WORDS, R> {
    #[doc(hidden)]
    pub fn with_rules(value: [u64; WORDS]) -> Self {
        let slots = [value, [0; WORDS], [0; WORDS], [0; WORDS]].map(|words| CachePadded::new(words.map(AtomicU64::new)));
        Latest { current: CachePadded::new(AtomicU64::new(0)), taken: AtomicU64::new(1), slots, rules: PhantomData }
    }

    /// The latest value.
    ///
    /// # Progress
    /// Lock-free: it begins anew only if the value was replaced, or confirmed, meanwhile.
    #[inline]
    pub fn read(&self) -> ([u64; WORDS], Seen) {
        loop {
            // edge latest.publish, acquire: the words
            let seen = Seen(self.current.load(R::LOOK));
            let slot = &self.slots[seen.slot()];
            // edge latest.words, acquire: that the slot was given up before this word was written
            let words = std::array::from_fn(|word| slot[word].load(R::LOAD));
            // relaxed: ordered by the acquires of the words
            if !R::LOOKS_AGAIN || self.current.load(Ordering::Relaxed) == seen.0 {
                return (words, seen);
            }
        }
    }

    /// Replaces the value that was seen. False if it is not the latest any more, or no slot is to be had.
    pub fn replace(&self, seen: Seen, value: [u64; WORDS]) -> bool {
        let Some(slot) = self.take() else { return false };
        crate::crash_point!("latest.taken");
        for (word, value) in self.slots[slot].iter().zip(value) {
            // edge latest.words, release: that this slot was given up
            word.store(value, R::FILL);
        }
        crate::crash_point!("latest.filled");
        let won = self.publish(seen, slot);
        crate::crash_point!("latest.published");
        let spare = if won { seen.slot() } else { slot };
        // edge latest.spare, release: that another slot is current
        self.taken.fetch_and(!(1 << spare), R::GIVE_UP);
        won
    }

    /// Confirms the value that was seen: true if it is still the latest. Replacements of it that are under way will fail.
    pub fn confirm(&self, seen: Seen) -> bool {
        self.publish(seen, seen.slot())
    }

    fn publish(&self, seen: Seen, slot: usize) -> bool {
        let version = if R::COUNTS { seen.0 / SLOTS + 1 } else { seen.0 / SLOTS };
        // edge latest.publish, release: the words; relaxed when lost: nothing is concluded but that it was
        self.current.compare_exchange(seen.0, version * SLOTS + slot as u64, R::PUBLISH, Ordering::Relaxed).is_ok()
    }

    /// A slot that is neither current nor being filled.
    fn take(&self) -> Option<usize> {
        loop {
            let slot = (!peek_u64(&self.taken)).trailing_zeros();
            if u64::from(slot) >= SLOTS {
                return None;
            }
            // edge latest.spare, acquire: that another slot is current
            if self.taken.fetch_or(1 << slot, R::TAKE) & (1 << slot) == 0 {
                return Some(slot as usize);
            }
        }
    }
}

impl<const WORDS: usize, R: Rules> fmt::Debug for Latest<WORDS, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Latest").field(&self.read().0).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
