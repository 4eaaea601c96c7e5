//! The ring itself: two counters, an array of words, and the two operations.

use super::popped::Popped;
use super::rules::{Rules, Sound};
use super::slot::{Seen, SlotLayout};
use crate::chain::Chain;
use crate::crash_point;
use crate::limits::CAPACITY_MAX;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sync::{CachePadded, prefetch_for_write};
use std::fmt;
use std::marker::PhantomData;

/// Slots to a cache line.
const LINE: u64 = 8;
/// How many slots ahead of a push the lines of slots are asked for. Consumers have read them a lap ago, and from another die it takes as long as some 25 pushes
/// to have one back.
const AHEAD: u64 = 4 * LINE;

/// A bounded FIFO of index chains for any number of producers and consumers; see the [module](super) for the idea and the argument.
///
/// # Guarantees
/// Linearizable. A push never fails and never waits for room: the ring holds every index of its queue at once. A pop never says that there is nothing
/// while a chain whose push has returned is in the ring.
///
/// # Progress
/// Lock-free: a thread stopped at any instruction of push or pop holds nobody up. Others may have to look for the end of the ring, at a number of
/// slots that grows with the logarithm of its size.
///
/// # What the caller keeps
/// Every index is below the capacity and in one place at a time: a chain is pushed by the owner of its indices, who owns them no longer. The
/// bound of the ring, and with it the whole argument, rests on that.
pub struct IndexRing<R: Rules = Sound> {
    /// A ticket below which all are filled: where a producer begins to look for the first that is not. It may lag, and even go back; it never says too
    /// much. Consumers never look at it.
    tail: CachePadded<AtomicU64>,
    /// The oldest ticket not yet taken. Consumers move it by CAS; producers never read it.
    head: CachePadded<AtomicU64>,
    /// One [`SlotLayout`] word per position. Producers fill by CAS; consumers only read.
    slots: Box<[AtomicU64]>,
    layout: SlotLayout,
    rules: PhantomData<fn() -> R>,
}

/// What a consumer finds at head.
enum AtHead {
    /// Ready chains, collected into the caller's `Popped`.
    Ready,
    /// Nobody has filled this ticket.
    Unfilled,
    /// The slot belongs to a later lap: head has moved.
    Later,
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

    /// Adds `chain` behind all that are in. Never fails.
    ///
    /// One CAS; again only if another push has succeeded in between.
    ///
    /// # Panics
    /// When the first index is outside the ring; nothing has changed then.
    // always: it is little more than its shared operations
    #[inline(always)]
    pub fn push(&self, chain: Chain) {
        self.assert_inside(chain);
        let from = self.read_tail();
        if R::TAIL_FIRST {
            // a model's mutation
            self.move_tail(from.wrapping_add(1));
        }
        let ticket = self.fill(from, chain);
        self.move_tail(ticket.wrapping_add(1));
        self.prefetch_ahead(ticket);
    }

    /// Adds `chains` in this order, each as a push of its own; others may come in between.
    ///
    /// # Panics
    /// As [`push`](Self::push).
    pub fn push_batch(&self, chains: &[Chain]) {
        chains.iter().for_each(|&chain| self.assert_inside(chain));
        let mut ticket = self.read_tail();
        for &chain in chains {
            let filled = self.fill(ticket, chain);
            self.prefetch_ahead(filled);
            ticket = filled.wrapping_add(1);
        }
        self.move_tail(ticket);
    }

    /// Takes ready chains from the head, oldest first, while they hold at most `max_indices` together; the first whatever its length. False, with nothing
    /// in `out`, when the ring was empty at an instant during the call.
    ///
    /// One CAS on head for all of them. After a miss (and after a short batch) the caller does well to hold off for some 20
    /// [`pause`](crate::sync::pause)s before it looks again: an eager consumer keeps snatching the line that the producer is about to write, at half
    /// the throughput. The ring does not hold off by itself, for the caller may have other lanes to look at.
    #[inline]
    #[must_use]
    pub fn pop(&self, max_indices: u32, out: &mut Popped) -> bool {
        self.pop_when(max_indices, out, |_| true)
    }

    /// As [`pop`](Self::pop), for the chain at head alone, and only if it is `wanted`: otherwise false as well.
    ///
    /// What `wanted` says is kept to: the chain that is taken is the one it was asked about. Until then the chain is others' to take as well.
    #[must_use]
    pub fn pop_if(&self, out: &mut Popped, wanted: impl Fn(Chain) -> bool) -> bool {
        self.pop_when(1, out, wanted)
    }

    #[inline]
    fn pop_when(&self, max_indices: u32, out: &mut Popped, wanted: impl Fn(Chain) -> bool) -> bool {
        let mut head = self.read_head();
        loop {
            match self.collect(head, max_indices, out) {
                AtHead::Ready if !wanted(out.chains()[0]) => {
                    out.clear();
                    return false;
                }
                AtHead::Ready => match self.move_head(head, out.tickets()) {
                    Ok(()) => return true,
                    Err(now) => head = now,
                },
                AtHead::Unfilled => return false,
                AtHead::Later => head = self.moved_from(head),
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

    /// How many chains (not indices) are in the ring. Racy while others push and pop, and never to be used to decide that the ring is empty.
    pub fn len_hint(&self) -> u64 {
        // relaxed: statistics
        let head = self.head.load(Relaxed);
        let tail = self.read_tail();
        // tail may lag, even behind head
        let known = if tail.wrapping_sub(head) as i64 > 0 { tail } else { head };
        self.first_unfilled(known).0.wrapping_sub(head)
    }

    // ---- push ----

    /// Before anything is changed: an index from elsewhere would break the bound.
    #[inline]
    fn assert_inside(&self, chain: Chain) {
        assert!(u64::from(chain.first()) < self.layout.slots(), "index {} is outside the ring", chain.first());
    }

    #[inline]
    fn read_tail(&self) -> u64 {
        // edge ring.tail, acquire: all below is filled
        let tail = self.tail.load(R::TAIL_READ);
        crash_point!("ring.push.tail_read");
        tail
    }

    /// Publishes `chain` with the first ticket that is not filled, and says which. All tickets below `from` are.
    #[inline]
    fn fill(&self, from: u64, chain: Chain) -> u64 {
        // in hand: what the ring says of itself would be read again after every acquire
        let (layout, slots) = (self.layout, &*self.slots);
        let mut ticket = from;
        let mut slot = &slots[layout.position(ticket)];
        // edge ring.publish, acquire: whoever has filled it knew that all below are filled
        let mut word = slot.load(R::SLOT_READ);
        crash_point!("ring.push.slot_read");
        loop {
            if !layout.is_older(word, ticket) {
                (ticket, word) = self.first_unfilled(layout.written(word, ticket).wrapping_add(1));
                slot = &slots[layout.position(ticket)];
            }
            // edge ring.publish, release: the links of the chain, everything written about its indices, and that all tickets below are filled
            // edge ring.publish, acquire: whoever was first knew that all below are filled
            match slot.compare_exchange(word, layout.filled(ticket, chain), R::PUBLISH, R::PUBLISH_LOST) {
                Ok(_) => {
                    crash_point!("ring.push.filled");
                    return ticket;
                }
                Err(now) => word = now,
            }
            crash_point!("ring.push.refused");
        }
    }

    /// Asks for a line of slots ahead, once for each line that is filled. A hint.
    #[inline]
    fn prefetch_ahead(&self, filled: u64) {
        if filled.is_multiple_of(LINE) {
            prefetch_for_write(self.slot(filled.wrapping_add(AHEAD)));
        }
    }

    /// The first ticket that is not filled, with the word in its slot. All tickets below `from` are filled.
    ///
    /// Filled tickets are a run, so its end can be searched for: a few steps one by one, since it is rarely far, then in strides that double, then in
    /// strides that halve.
    #[inline(never)]
    fn first_unfilled(&self, from: u64) -> (u64, u64) {
        let layout = self.layout;
        let (mut next, mut stride, mut steps, mut narrowing) = (from, 1, 0, false);
        loop {
            let ticket = next.wrapping_add(stride - 1);
            // edge ring.publish, acquire: whoever has filled it knew that all below are filled
            let word = self.slot(ticket).load(R::SLOT_READ);
            crash_point!("ring.push.searched");
            if !layout.is_older(word, ticket) {
                next = layout.written(word, ticket).wrapping_add(1);
                steps += 1;
                if !narrowing && steps > R::STEPS {
                    // not past a lap: there is nothing to be found further out
                    stride = (stride * 2).min(layout.slots() / 2);
                } else if narrowing {
                    stride = (stride / 2).max(1);
                }
            } else if stride == 1 {
                return (ticket, word);
            } else {
                (stride, narrowing) = (stride / 2, true);
            }
        }
    }

    /// Tells producers to come that all tickets below `to` are filled, unless they know of more.
    #[inline]
    fn move_tail(&self, to: u64) {
        // relaxed: only compared. Whoever stands still between here and the store takes tail back; the next one searches further
        if to.wrapping_sub(self.tail.load(Relaxed)) as i64 > 0 {
            crash_point!("ring.push.tail_compared");
            // edge ring.tail, release: all below is filled
            self.tail.store(to, R::TAIL_MOVE);
        }
        crash_point!("ring.push.tail_moved");
    }

    // ---- pop ----

    #[inline]
    fn read_head(&self) -> u64 {
        // edge ring.advance, acquire: everything before head is taken
        let head = self.head.load(R::HEAD_READ);
        crash_point!("ring.pop.head_read");
        head
    }

    /// Where head is, once a word of a later lap was found at `head`: not there any more, since what made way for that word was taken.
    #[cold]
    fn moved_from(&self, head: u64) -> u64 {
        let now = self.read_head();
        assert_ne!(now, head, "the ring holds more chains than it has slots: an index was pushed twice");
        now
    }

    /// Reads the slots from `head` on into `out` as long as they are filled and fit.
    #[inline]
    fn collect(&self, head: u64, max_indices: u32, out: &mut Popped) -> AtHead {
        // in hand: what the ring says of itself would be read again after every acquire
        let (layout, slots) = (self.layout, &*self.slots);
        let mut refill = out.refill(max_indices);
        let found = loop {
            let ticket = head.wrapping_add(refill.tickets());
            // edge ring.publish, acquire: the links of the chain and everything written about its indices; of a later lap, that head has moved
            let word = slots[layout.position(ticket)].load(R::SLOT_READ);
            crash_point!("ring.pop.slot_read");
            match layout.decode(word, ticket) {
                Seen::Filled(chain) if refill.fits(chain) => {
                    if refill.add(chain) {
                        break AtHead::Ready;
                    }
                }
                _ if !refill.is_empty() => break AtHead::Ready,
                Seen::Newer => break AtHead::Later,
                _ => break AtHead::Unfilled,
            }
        };
        refill.finish();
        found
    }

    /// Moves head from `head` over `tickets` tickets, or says where it is.
    #[inline]
    fn move_head(&self, head: u64, tickets: u64) -> Result<(), u64> {
        // edge ring.advance, release: these tickets are taken; acquire: so are all before them
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

    #[inline]
    fn slot(&self, ticket: u64) -> &AtomicU64 {
        &self.slots[self.layout.position(ticket)]
    }
}

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
