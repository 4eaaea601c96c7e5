//! The timer's inbox: slots that want the timer's attention, each in it at most once.
//!
//! A bounded stack of indices: per slot two flags and a link of its own (the slot's link belongs to whoever owns the index, which a canceller
//! does not). Whoever raises the first flag pushes the slot; whoever finds a flag raised knows that it is in the list, or will be. The timer swaps
//! the whole list out, so the stack needs no tag: nothing is ever popped singly.
//!
//! Two flags, because two things are said. [`Handover`](Flag::Handover): *the index is yours*. [`Poke`](Flag::Poke): *look at the word again, if
//! the index is yours already*. A nacker makes a slot Delayed and then hands it over; in between a canceller may doom it and poke. With one flag
//! the timer would take the poke for the handover, and the index would be in two hands. With two, the timer does this:
//!
//! ```text
//!   handed over, or in the wheel already?  no: nothing. The handover will come, and the word will be looked at then
//!                                          yes: Doomed -> unlink, push into the lane; Delayed -> into the wheel
//! ```
//!
//! | edge | release | acquire | carries |
//! |---|---|---|---|
//! | `inbox.flag` | post | drain, clearing the flags | the due time; the doomed word behind a poke |
//! | `inbox.link` | drain, clearing the flags | post, raising the first flag | the timer has read the link: it may be written again |
//! | `inbox.push` | post | drain, taking the list | the link |
//!
//! The timer reads the link of a slot *before* it clears the flags: from then on the slot may be pushed again.
//!
//! Progress: `drain` is wait-free per entry, `post` is lock-free. Between its flag and its push a stopped sender keeps its own slot from being
//! posted, nobody else's.

use crate::limits::INDEX_NONE;
use crate::sync::CachePadded;
use crate::sync::atomic::{
    AtomicU32,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// What a sender wants of the timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Flag {
    /// The index is the timer's from now on.
    Handover = 1,
    /// The word of this slot has changed; look, if the index is yours.
    Poke = 2,
}

/// The flags found on a slot: at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    /// The index was handed over.
    #[inline]
    pub fn handover(self) -> bool {
        self.0 & Flag::Handover as u32 != 0
    }

    /// The slot was poked.
    #[inline]
    pub fn poke(self) -> bool {
        self.0 & Flag::Poke as u32 != 0
    }
}

#[derive(Debug)]
struct Entry {
    /// Set by senders, cleared by the timer. Not zero: in the list, or about to be pushed by whoever set the first flag.
    flags: AtomicU32,
    /// The next index of the list. Written by the sender that pushes, read by the timer before it clears the flags.
    next: AtomicU32,
}

/// Many senders, one receiver. Sending never waits and never fails.
#[derive(Debug)]
pub struct Inbox {
    /// The index pushed last. Senders push by CAS, the timer takes the whole list by swap.
    head: CachePadded<AtomicU32>,
    entries: Box<[Entry]>,
}

impl Inbox {
    /// An empty inbox for the slots `0..capacity`.
    pub fn new(capacity: u32) -> Self {
        let entry = |_| Entry { flags: AtomicU32::new(0), next: AtomicU32::new(INDEX_NONE) };
        Inbox { head: CachePadded::new(AtomicU32::new(INDEX_NONE)), entries: (0..capacity).map(entry).collect() }
    }

    /// Raises `flag` on `index`. True when this call put the index into the list: then the timer may have to be woken.
    pub fn post(&self, index: u32, flag: Flag) -> bool {
        let entry = &self.entries[index as usize];
        // edge inbox.flag, release: the due time, and the doomed word behind a poke
        // edge inbox.link, acquire: the timer has read the old link
        if entry.flags.fetch_or(flag as u32, AcqRel) != 0 {
            return false;
        }
        crate::crash_point!("inbox.flagged");
        // relaxed: CAS re-checks
        let mut head = self.head.load(Relaxed);
        loop {
            // relaxed: the first flag made the link ours
            entry.next.store(head, Relaxed);
            // edge inbox.push, release: the link
            match self.head.compare_exchange_weak(head, index, Release, Relaxed) {
                Ok(_) => return true,
                // relaxed: CAS re-checks
                Err(now) => head = now,
            }
        }
    }

    /// Takes everything out, last in first. For the timer only. Returns how many slots were visited.
    pub fn drain(&self, visit: impl FnMut(u32, Flags)) -> u32 {
        self.drain_in_order::<false>(visit)
    }

    /// [`drain`](Self::drain), and the mutation that the models must catch: the flags cleared before the link is read.
    #[doc(hidden)]
    pub fn drain_in_order<const FLAGS_FIRST: bool>(&self, mut visit: impl FnMut(u32, Flags)) -> u32 {
        // edge inbox.push, acquire: the links
        let mut index = self.head.swap(INDEX_NONE, Acquire);
        let mut visited = 0;
        crate::crash_point!("inbox.taken");
        while index != INDEX_NONE {
            let entry = &self.entries[index as usize];
            // edge inbox.link, release: the link was read, a sender may write it
            // edge inbox.flag, acquire: the due time, and the doomed word behind a poke
            let clear = || Flags(entry.flags.swap(0, AcqRel));
            // relaxed: single writer until the flags are cleared
            let follow = || entry.next.load(Relaxed);
            let (flags, next);
            if FLAGS_FIRST {
                flags = clear();
                next = follow();
            } else {
                next = follow();
                crate::crash_point!("inbox.link_read");
                flags = clear();
            }
            visit(index, flags);
            visited += 1;
            index = next;
        }
        visited
    }

    /// True when nothing was pushed at this moment. A sender between its flag and its push is not seen; it will wake the timer itself.
    #[inline]
    pub fn is_empty(&self) -> bool {
        // relaxed: the parking handshake has its own fence
        self.head.load(Relaxed) == INDEX_NONE
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn drained(inbox: &Inbox) -> Vec<(u32, bool, bool)> {
        let mut seen = Vec::new();
        inbox.drain(|index, flags| seen.push((index, flags.handover(), flags.poke())));
        seen
    }

    #[test]
    fn a_slot_is_in_the_list_once_with_all_its_flags() {
        let inbox = Inbox::new(4);
        assert!(inbox.post(2, Flag::Handover));
        assert!(!inbox.post(2, Flag::Poke));
        assert!(inbox.post(0, Flag::Poke));
        assert_eq!(drained(&inbox), [(0, false, true), (2, true, true)]);
        assert!(inbox.is_empty());
    }

    #[test]
    fn a_visited_slot_may_be_posted_again_at_once() {
        let inbox = Inbox::new(4);
        inbox.post(1, Flag::Handover);
        inbox.post(3, Flag::Handover);
        let mut visits = 0;
        inbox.drain(|index, _| {
            visits += 1;
            assert!(inbox.post(index, Flag::Poke));
        });
        assert_eq!(visits, 2);
        assert_eq!(drained(&inbox), [(1, false, true), (3, false, true)]);
    }
}
