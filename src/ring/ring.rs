//! The ring itself: two counters, an array of words, and the two operations.

use super::popped::Popped;
use super::rules::{Rules, Sound};
use super::slot::{Seen, SlotLayout};
use crate::chain::Chain;
use crate::crash_point;
use crate::limits::CAPACITY_MAX;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sync::{CachePadded, pause};
use std::fmt;
use std::marker::PhantomData;

/// A bounded FIFO of index chains for any number of producers and consumers; see the [module](super) for the idea and the argument.
///
/// # Guarantees
/// Linearizable. A push never fails and never waits for room: the ring holds every index of its queue at once. A strict pop never says
/// [`Empty`](PopResult::Empty) while a chain whose push has returned is in the ring.
///
/// # Progress
/// Lock-free: a thread stopped at any instruction of push or pop delays the others by at most one run of patience (a few microseconds).
///
/// # What the caller keeps
/// Every index is below the capacity and in one place at a time: a chain is pushed by the owner of its indices, who owns them no longer. The
/// bound of the ring, and with it the whole argument, rests on that.
pub struct IndexRing<R: Rules = Sound> {
    /// The next ticket to be claimed. Producers add to it; consumers read it, only before they say Empty. Never behind `head`.
    tail: CachePadded<AtomicU64>,
    /// The oldest ticket not yet taken or passed over. Consumers move it by CAS; producers never read it.
    head: CachePadded<AtomicU64>,
    /// One [`SlotLayout`] word per position. Producers fill by CAS; a consumer writes only tombstones, by CAS, only at head.
    slots: Box<[AtomicU64]>,
    layout: SlotLayout,
    rules: PhantomData<fn() -> R>,
}

/// How sure a pop must be before it comes back with nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pop {
    /// Says `Empty` only when the ring was empty at an instant during the call; gives up the ticket of a late producer when something
    /// complete waits behind it.
    Strict,
    /// Says `NotReady` when nothing is ready at head. Never looks at tail, never writes a tombstone: a cheap poll. Nobody may go to sleep on it.
    Weak,
}

/// What a pop came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum PopResult {
    /// At least one chain was taken.
    Taken,
    /// Nothing ready at head, or nothing that is wanted. Never from a strict [`pop`](IndexRing::pop).
    NotReady,
    /// The ring was empty at an instant during the call. Only from a strict pop.
    Empty,
}

/// What a consumer finds at head.
enum AtHead {
    /// Ready chains, collected into the caller's `Popped`.
    Ready,
    /// A tombstone.
    Spent,
    /// The slot belongs to a later lap: either the caller's head is stale, or the ticket is spent and its tombstone overwritten.
    Later,
    /// A ticket without its chain; the word in its slot.
    Unfilled(u64),
}

/// What a consumer finds behind an unfilled head.
enum Behind {
    /// Nothing filled, and head stood still: the ring was empty.
    Nothing,
    /// A completed push: the head ticket is a hole.
    Completed,
    /// Head has moved here meanwhile.
    Moved(u64),
}

impl IndexRing {
    /// A ring for the indices `0..capacity`. Rounds up to a power of two, at least 2, of 8 bytes each.
    ///
    /// # Panics
    /// When `capacity` is above [`CAPACITY_MAX`].
    pub fn new(capacity: u32) -> Self {
        Self::with_origin(capacity, SlotLayout::for_capacity(capacity).slots())
    }

    /// As [`new`](Self::new), with the first ticket chosen, for tests of what happens after years.
    #[doc(hidden)]
    pub fn with_origin(capacity: u32, first_ticket: u64) -> Self {
        Self::with_rules(capacity, first_ticket)
    }
}

impl<R: Rules> IndexRing<R> {
    /// A ring that runs by other rules, for models.
    #[doc(hidden)]
    pub fn with_rules(capacity: u32, first_ticket: u64) -> Self {
        assert!(capacity <= CAPACITY_MAX, "capacity {capacity} is above {CAPACITY_MAX}");
        let layout = SlotLayout::for_capacity(capacity);
        let start = layout.position(first_ticket) as u64;
        let slots = (0..layout.slots())
            .map(|position| {
                // the first ticket at or after the origin that lands on this position
                let ticket = first_ticket.wrapping_add(position.wrapping_sub(start) & (layout.slots() - 1));
                AtomicU64::new(layout.vacant(ticket))
            })
            .collect();
        IndexRing {
            tail: CachePadded::new(AtomicU64::new(first_ticket)),
            head: CachePadded::new(AtomicU64::new(first_ticket)),
            slots,
            layout,
            rules: PhantomData,
        }
    }

    /// How many slots: the capacity, rounded up.
    pub fn slots(&self) -> u64 {
        self.layout.slots()
    }

    /// Adds `chain` at the tail. Never fails.
    ///
    /// One fetch_add and one CAS; again only if a consumer lost its patience in between.
    ///
    /// # Panics
    /// When the first index is outside the ring; nothing has been claimed then.
    // always: it is little more than its two shared operations
    #[inline(always)]
    pub fn push(&self, chain: Chain) {
        self.assert_inside(chain);
        loop {
            let ticket = self.claim_tickets(1);
            if self.fill(ticket, chain) {
                return;
            }
        }
    }

    /// Adds `chains` in this order, each as a push of its own; others may come in between. One fetch_add for all of them.
    ///
    /// A producer stopped in here leaves a hole for every chain not yet in place, where a single longer chain leaves one at most.
    ///
    /// # Panics
    /// As [`push`](Self::push).
    pub fn push_batch(&self, chains: &[Chain]) {
        chains.iter().for_each(|&chain| self.assert_inside(chain));
        let mut left = chains;
        while !left.is_empty() {
            let first = self.claim_tickets(left.len() as u64);
            for offset in 0..left.len() as u64 {
                // a lost ticket is skipped: the same chain takes the next one, so the order stays
                if self.fill(first.wrapping_add(offset), left[0]) {
                    left = &left[1..];
                }
            }
        }
    }

    /// Takes ready chains from the head, oldest first, while they hold at most `max_indices` together; the first whatever its length.
    ///
    /// One CAS on head for all of them. `out` is cleared first. After an answer other than `Taken` (and after a short batch) the caller does well to
    /// hold off for some 20 [`pause`]s before it looks again: an eager consumer keeps snatching the line that the producer is about to
    /// write, at half the throughput. The ring does not hold off by itself, for the caller may have other lanes to look at.
    #[inline]
    pub fn pop(&self, max_indices: u32, mode: Pop, out: &mut Popped) -> PopResult {
        self.pop_when(max_indices, mode, out, |_| true)
    }

    /// As [`pop`](Self::pop), for the chain at head alone, and only if it is `wanted`: otherwise `NotReady`.
    ///
    /// What `wanted` says is kept to: the chain that is taken is the one it was asked about. Until then the chain is others' to take as well.
    pub fn pop_if(&self, mode: Pop, out: &mut Popped, wanted: impl Fn(Chain) -> bool) -> PopResult {
        self.pop_when(1, mode, out, wanted)
    }

    #[inline]
    fn pop_when(&self, max_indices: u32, mode: Pop, out: &mut Popped, wanted: impl Fn(Chain) -> bool) -> PopResult {
        let mut head = self.read_head();
        crash_point!("ring.pop.head_read");
        let mut patience = R::PATIENCE;
        loop {
            match self.collect(head, max_indices, out) {
                AtHead::Ready if !wanted(out.chains()[0]) => return PopResult::NotReady,
                AtHead::Ready => match self.move_head(head, out.tickets()) {
                    Ok(()) => return PopResult::Taken,
                    Err(now) => head = now,
                },
                AtHead::Spent => head = self.pass(head),
                // the helping rule: with as many slots as indices, the producer that lost this ticket may have filled the same slot a lap
                // later while the consumer that gave it up sleeps before its head CAS; whoever comes here moves head in its place
                AtHead::Later if R::HELP => head = self.pass(head),
                // a model's mutation
                AtHead::Later => head = self.read_head(),
                AtHead::Unfilled(_) if mode == Pop::Weak => return PopResult::NotReady,
                AtHead::Unfilled(word) => match self.look_behind(head) {
                    Behind::Nothing => return PopResult::Empty,
                    Behind::Moved(now) => head = now,
                    Behind::Completed => {
                        if self.outwait(head, word, &mut patience) {
                            head = self.give_up(head, word);
                        }
                    }
                },
            }
        }
    }

    /// The first index at head, if a chain is ready there. Racy: by the time the caller looks at it, it may have been taken, settled and
    /// published again. For hints only.
    #[inline]
    pub fn peek(&self) -> Option<u32> {
        // relaxed, both: a hint. The caller owns nothing of the chain, so it may look only at what is atomic, which may have changed since in any case
        let head = self.head.load(Relaxed);
        match self.layout.decode(self.slot(head).load(Relaxed), head) {
            Seen::Filled(chain) => Some(chain.first()),
            _ => None,
        }
    }

    /// How many chains (not indices) are in the ring, pushes under way and holes included. Racy, and never to be used to decide
    /// that the ring is empty.
    #[inline]
    pub fn len_hint(&self) -> u64 {
        // relaxed: statistics, both
        let head = self.head.load(Relaxed);
        let tail = self.tail.load(Relaxed);
        (tail.wrapping_sub(head) as i64).max(0) as u64
    }

    // ---- push ----

    /// Before any ticket is claimed: a claim without an index would break the bound.
    #[inline]
    fn assert_inside(&self, chain: Chain) {
        assert!(u64::from(chain.first()) < self.layout.slots(), "index {} is outside the ring", chain.first());
    }

    #[inline]
    fn claim_tickets(&self, count: u64) -> u64 {
        // edge ring.ticket, release: the pops that brought these indices here; acquire: those of all earlier tickets
        let first = self.tail.fetch_add(count, R::TICKET);
        crash_point!("ring.push.claimed");
        first
    }

    /// Publishes `chain` with `ticket`. False if the ticket was given up.
    #[inline]
    fn fill(&self, ticket: u64, chain: Chain) -> bool {
        // in hand: what the ring says of itself would be read again after every acquire
        let layout = self.layout;
        let slot = self.slot(ticket);
        let filled = layout.filled(ticket, chain);
        // edge ring.give_up, acquire: what the consumer knew that gave the ticket up
        let mut word = slot.load(R::SLOT_READ);
        crash_point!("ring.push.slot_read");
        while layout.is_older(word, ticket) {
            // edge ring.publish, release: the links of the chain and everything written about its indices
            // edge ring.give_up, acquire: as above
            match slot.compare_exchange(word, filled, R::PUBLISH, R::PUBLISH_LOST) {
                Ok(_) => {
                    crash_point!("ring.push.filled");
                    return true;
                }
                Err(now) => word = now,
            }
            crash_point!("ring.push.refused");
        }
        crash_point!("ring.push.ticket_lost");
        false
    }

    // ---- pop ----

    #[inline]
    fn read_head(&self) -> u64 {
        // edge ring.advance, acquire: everything before head is settled
        self.head.load(R::HEAD_READ)
    }

    /// Reads the slots from `head` on into `out` as long as they are filled and fit.
    #[inline]
    fn collect(&self, head: u64, max_indices: u32, out: &mut Popped) -> AtHead {
        // in hand: what the ring says of itself would be read again after every acquire
        let (layout, slots) = (self.layout, &*self.slots);
        let mut refill = out.refill(max_indices);
        let found = loop {
            let ticket = head.wrapping_add(refill.tickets());
            // edge ring.publish, acquire: the links of the chain and everything written about its indices
            // edge ring.give_up, acquire: what the consumer knew that gave the ticket up
            let word = slots[layout.position(ticket)].load(R::SLOT_READ);
            crash_point!("ring.pop.slot_read");
            match layout.decode(word, ticket) {
                Seen::Filled(chain) if refill.fits(chain) => {
                    if refill.add(chain) {
                        break AtHead::Ready;
                    }
                }
                _ if !refill.is_empty() => break AtHead::Ready,
                Seen::Older => break AtHead::Unfilled(word),
                Seen::Newer => break AtHead::Later,
                _ => break AtHead::Spent,
            }
        };
        refill.finish();
        found
    }

    /// Moves head from `head` over `tickets` tickets, or says where it is.
    #[inline]
    fn move_head(&self, head: u64, tickets: u64) -> Result<(), u64> {
        // edge ring.advance, release: these tickets are settled; acquire: so are all before them
        match self.head.compare_exchange(head, head.wrapping_add(tickets), R::HEAD_MOVE, R::HEAD_MOVED) {
            Ok(_) => {
                crash_point!("ring.pop.head_moved");
                Ok(())
            }
            Err(now) => {
                crash_point!("ring.pop.head_lost");
                Err(now)
            }
        }
    }

    /// Moves head past a spent ticket, unless somebody has. Says where head is.
    fn pass(&self, head: u64) -> u64 {
        match self.move_head(head, 1) {
            Ok(()) => head.wrapping_add(1),
            Err(now) => now,
        }
    }

    /// Looks for a completed push behind the unfilled ticket `head`.
    #[inline(never)]
    fn look_behind(&self, head: u64) -> Behind {
        // edge ring.ticket, acquire: every push that returned before this call has its ticket below
        let tail = self.tail.load(R::TAIL_READ);
        crash_point!("ring.pop.tail_read");
        let claimed = tail.wrapping_sub(head);
        if claimed as i64 <= 0 {
            return Behind::Nothing;
        }
        let completed = (1..claimed.min(self.layout.slots())).any(|offset| {
            let ticket = head.wrapping_add(offset);
            // edge ring.publish, acquire: the push is complete, not just begun
            let word = self.slot(ticket).load(R::SLOT_READ);
            crash_point!("ring.pop.scanned");
            matches!(self.layout.decode(word, ticket), Seen::Filled(_))
        });
        // edge ring.advance, acquire: if head moved, what was seen behind it may have been taken, and says nothing
        let now = self.head.load(R::HEAD_READ);
        crash_point!("ring.pop.head_confirmed");
        match (now == head, completed) {
            (false, _) => Behind::Moved(now),
            (true, true) => Behind::Completed,
            (true, false) => Behind::Nothing,
        }
    }

    /// Waits a moment for the late producer of `head`, once per call. True if the slot still has that `word`.
    #[inline(never)]
    fn outwait(&self, head: u64, word: u64, patience: &mut u32) -> bool {
        while *patience > 0 {
            *patience -= 1;
            pause(PAUSES_PER_LOOK);
            // relaxed: only compared; whoever acts on a change reads it again
            if self.slot(head).load(Relaxed) != word {
                return false;
            }
        }
        crash_point!("ring.pop.outwaited");
        true
    }

    /// Gives the ticket `head` up: a tombstone in place of `word`, and head past it. Says where head is.
    #[inline(never)]
    fn give_up(&self, head: u64, word: u64) -> u64 {
        // edge ring.give_up, release: head had come this far, which the producer must know before it claims another ticket
        // edge ring.publish, acquire: the push of the lap before, or of the producer that came (redundant: both are read anew before use)
        match self.slot(head).compare_exchange(word, self.layout.tombstone(head), R::TOMBSTONE, R::TOMBSTONE_LOST) {
            Ok(_) => {
                crash_point!("ring.pop.gave_up");
                self.pass(head)
            }
            Err(_) => {
                crash_point!("ring.pop.producer_came");
                // edge ring.advance, acquire: as at the beginning of the call
                let now = self.head.load(R::HEAD_READ);
                crash_point!("ring.pop.head_read");
                now
            }
        }
    }

    #[inline]
    fn slot(&self, ticket: u64) -> &AtomicU64 {
        &self.slots[self.layout.position(ticket)]
    }
}

/// Pause hints between two looks at a late producer's slot.
const PAUSES_PER_LOOK: u32 = 4;

impl<R: Rules> fmt::Debug for IndexRing<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexRing")
            // relaxed: statistics, both
            .field("head", &self.head.load(Relaxed))
            .field("tail", &self.tail.load(Relaxed))
            .field("slots", &self.slots())
            .finish_non_exhaustive()
    }
}
