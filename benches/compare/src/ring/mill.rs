//! ringmill's data path without its protocol: the payload in a slab, its index through a ring, the free indices back.
//!
//! The free indices come home in one of two ways: through [`Credits`], the pool that the runtime uses, or through [`RingList`], a second ring in chains of 32
//! with a private cache at each end, which nobody can revoke.

use super::queue::{Consumer, Producer, Queue, Taken};
use super::{CAPACITY, CHUNK};
use ringmill::chain::{Chain, Hints, LinkArray, Links};
use ringmill::credit::{AccountId, CreditPool};
use ringmill::ring::{IndexRing, Popped};
use ringmill::sync::{pause, prefetch_for_write};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

const CHAIN: u32 = CHUNK as u32;
/// PAUSEs after a pop that came up short: an eager consumer keeps snatching the line that producers write.
const HOLD_OFF: u32 = 20;

/// Pushed one by one, popped up to 32 at a time: as `publish` and a worker do it.
pub struct Single<F>(PhantomData<F>);
/// Pushed and popped in chains of up to 32: as `publish_batch` and a worker do it.
pub struct Chunks<F>(PhantomData<F>);
/// Pushed and popped one by one, by a consumer that never holds off.
pub struct Prompt<F>(PhantomData<F>);

impl<F: FreeList> Queue for Prompt<F> {
    type Producer = Filler<F, 1>;
    type Consumer = Taker<F, 1>;

    fn open(producers: usize, consumers: usize) -> (Vec<Filler<F, 1>>, Vec<Taker<F, 1>>) {
        open(producers, consumers)
    }
}

impl<F: FreeList> Queue for Single<F> {
    type Producer = Filler<F, 1>;
    type Consumer = Taker<F, CHAIN>;

    fn open(producers: usize, consumers: usize) -> (Vec<Filler<F, 1>>, Vec<Taker<F, CHAIN>>) {
        open(producers, consumers)
    }
}

impl<F: FreeList> Queue for Chunks<F> {
    type Producer = Filler<F, CHAIN>;
    type Consumer = Taker<F, CHAIN>;

    fn open(producers: usize, consumers: usize) -> (Vec<Filler<F, CHAIN>>, Vec<Taker<F, CHAIN>>) {
        open(producers, consumers)
    }
}

fn open<F: FreeList, const LEN: u32, const MOST: u32>(producers: usize, consumers: usize) -> (Vec<Filler<F, LEN>>, Vec<Taker<F, MOST>>) {
    let slots = Slots::new(F::HINTS);
    let room = Arc::new(Room { lane: IndexRing::new(CAPACITY as u32), free: F::new(&slots), slots });
    let fillers = (0..producers).map(|_| Filler { hand: room.free.hand(), at_hand: None, room: Arc::clone(&room) });
    let takers = (0..consumers).map(|_| Taker { hand: room.free.hand(), room: Arc::clone(&room), polls: Polls::default() });
    (fillers.collect(), takers.collect())
}

struct Room<F: FreeList> {
    lane: IndexRing,
    slots: Slots,
    free: F,
}

/// The slab: payloads and links, each side by side, and the hints to its chains where the free list has any.
pub struct Slots {
    payload: Box<[AtomicU64]>,
    links: LinkArray,
    hints: Option<Hints>,
}

impl Slots {
    fn new(hints: bool) -> Self {
        let payload = (0..CAPACITY).map(|_| AtomicU64::new(0)).collect();
        Slots { payload, links: LinkArray::new(CAPACITY), hints: hints.then(|| Hints::new(CAPACITY as u32)) }
    }
}

impl Links for Slots {
    #[inline]
    fn link(&self, index: u32) -> &AtomicU32 {
        self.links.link(index)
    }

    #[inline]
    fn link_if_any(&self, index: u32) -> Option<&AtomicU32> {
        self.links.link_if_any(index)
    }

    #[inline]
    fn prefetch(&self, index: u32) {
        if let Some(payload) = self.payload.get(index as usize) {
            prefetch_for_write(payload);
        }
    }

    #[inline]
    fn hints(&self) -> Option<&Hints> {
        self.hints.as_ref()
    }
}

impl<F: FreeList> Drop for Room<F> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.free.count(), CAPACITY, "not every index came home");
        }
    }
}

/// Where the free indices are.
pub trait FreeList: Send + Sync + 'static {
    /// One thread's share.
    type Hand: Send;
    /// Whether it says what its chains hold, so that all their payloads can be asked for at once.
    const HINTS: bool;

    fn new(slots: &Slots) -> Self;
    fn hand(&self) -> Self::Hand;
    /// 1..=32 indices, if there are any.
    fn take(&self, hand: &mut Self::Hand, slots: &Slots) -> Option<Chain>;
    fn give(&self, hand: &mut Self::Hand, slots: &Slots, chain: Chain);
    /// 1..=32 indices that hang on nothing. A link is written once, when it is known what follows: its line is the producers' to read.
    fn give_each(&self, hand: &mut Self::Hand, slots: &Slots, indices: &[u32]);
    /// Gives back what the hand holds.
    fn close(&self, hand: &mut Self::Hand, slots: &Slots);
    /// How many there are, at rest.
    fn count(&self) -> usize;
}

// ---- a producer ----

pub struct Filler<F: FreeList, const LEN: u32> {
    room: Arc<Room<F>>,
    hand: F::Hand,
    /// Taken and not yet used; only where more are taken than are pushed at a time.
    at_hand: Option<Chain>,
}

impl<F: FreeList, const LEN: u32> Filler<F, LEN> {
    /// Up to `LEN` free indices.
    #[inline]
    fn slots(&mut self) -> Option<Chain> {
        let taken = match self.at_hand.take() {
            Some(chain) => chain,
            None => self.room.free.take(&mut self.hand, &self.room.slots)?,
        };
        if taken.len() <= LEN {
            return Some(taken);
        }
        debug_assert_eq!(LEN, 1);
        self.at_hand = Some(Chain::new(self.room.slots.next(taken.first()), taken.len() - 1));
        Some(Chain::one(taken.first()))
    }
}

impl<F: FreeList, const LEN: u32> Producer for Filler<F, LEN> {
    #[inline]
    fn push(&mut self, from: u64, to: u64) -> u64 {
        let Some(chain) = self.slots() else { return 0 };
        let (chain, rest) = split(&self.room.slots, chain, to - from);
        for (index, item) in chain.iter(&self.room.slots).zip(from..) {
            self.room.slots.payload[index as usize].store(item, Relaxed);
        }
        self.room.lane.push(chain);
        if let Some(rest) = rest {
            self.room.free.give(&mut self.hand, &self.room.slots, rest);
        }
        u64::from(chain.len())
    }
}

/// The first `most` of a chain, and the rest.
#[inline]
fn split(slots: &Slots, chain: Chain, most: u64) -> (Chain, Option<Chain>) {
    if u64::from(chain.len()) <= most {
        return (chain, None);
    }
    let most = most as u32;
    let rest = chain.iter(slots).nth(most as usize).expect("it is longer");
    (Chain::new(chain.first(), most), Some(Chain::new(rest, chain.len() - most)))
}

impl<F: FreeList, const LEN: u32> Drop for Filler<F, LEN> {
    fn drop(&mut self) {
        let Room { slots, free, .. } = &*self.room;
        if let Some(unused) = self.at_hand.take() {
            free.give(&mut self.hand, slots, unused);
        }
        free.close(&mut self.hand, slots);
    }
}

// ---- a consumer ----

/// Takes up to `MOST` at a time.
pub struct Taker<F: FreeList, const MOST: u32> {
    room: Arc<Room<F>>,
    hand: F::Hand,
    polls: Polls,
}

impl<F: FreeList, const MOST: u32> Consumer for Taker<F, MOST> {
    #[inline]
    fn pop(&mut self) -> Taken {
        let Room { lane, slots, free } = &*self.room;
        let Some(popped) = self.polls.pop(lane, MOST) else { return Taken::Nothing };
        let (mut sum, mut single, mut singles) = (0u64, [0; CHUNK], 0);
        for &chain in popped.chains() {
            if chain.len() > 1 {
                sum = chain.iter(slots).fold(sum, |sum, index| sum.wrapping_add(slots.payload[index as usize].load(Relaxed)));
                free.give(&mut self.hand, slots, chain);
            } else {
                sum = sum.wrapping_add(slots.payload[chain.first() as usize].load(Relaxed));
                single[singles] = chain.first();
                singles += 1;
            }
        }
        if singles > 0 {
            free.give_each(&mut self.hand, slots, &single[..singles]);
        }
        Taken::Some { count: u64::from(popped.indices()), sum }
    }
}

impl<F: FreeList, const MOST: u32> Drop for Taker<F, MOST> {
    fn drop(&mut self) {
        self.room.free.close(&mut self.hand, &self.room.slots);
    }
}

/// Polls a ring as a worker does: not at once after a pop that came up short.
struct Polls {
    out: Popped,
    short: bool,
}

impl Default for Polls {
    fn default() -> Self {
        Polls { out: Popped::new(), short: false }
    }
}

impl Polls {
    #[inline]
    fn pop(&mut self, ring: &IndexRing, most: u32) -> Option<&Popped> {
        if std::mem::take(&mut self.short) {
            pause(HOLD_OFF);
        }
        if !ring.pop(most, &mut self.out) {
            return None;
        }
        self.short = self.out.indices() < most;
        Some(&self.out)
    }
}

// ---- the runtime's credits ----

/// The runtime's free list; `WANT` at a time.
pub struct Credits<const WANT: usize>(CreditPool);

impl<const WANT: usize> FreeList for Credits<WANT> {
    type Hand = Option<AccountId>;
    // payloads lie 8 to a line here: as slow far, and slower near
    const HINTS: bool = false;

    fn new(slots: &Slots) -> Self {
        Credits(CreditPool::new(0..CAPACITY as u32, slots))
    }

    fn hand(&self) -> Option<AccountId> {
        Some(self.0.open_account().expect("accounts are left"))
    }

    #[inline]
    fn take(&self, hand: &mut Option<AccountId>, slots: &Slots) -> Option<Chain> {
        let id = hand.as_ref().expect("it is open");
        match WANT {
            1 => self.0.acquire(slots, id).map(Chain::one),
            _ => self.0.acquire_chain(slots, id, WANT as u32),
        }
    }

    #[inline]
    fn give(&self, hand: &mut Option<AccountId>, slots: &Slots, chain: Chain) {
        self.0.release_chain(slots, hand.as_ref().expect("it is open"), chain);
    }

    #[inline]
    fn give_each(&self, hand: &mut Option<AccountId>, slots: &Slots, indices: &[u32]) {
        self.give(hand, slots, Chain::link(slots, indices));
    }

    fn close(&self, hand: &mut Option<AccountId>, slots: &Slots) {
        if let Some(id) = hand.take() {
            self.0.close_account(slots, id);
        }
    }

    fn count(&self) -> usize {
        self.0.free() as usize
    }
}

// ---- a second ring ----

/// Free indices in a ring of their own.
pub struct RingList(IndexRing);

pub struct RingHand {
    polls: Polls,
    /// Chains that were popped and not used.
    left: usize,
    /// Indices on their way back, until they fill a chain.
    spent: [u32; CHUNK],
    spent_len: usize,
}

impl FreeList for RingList {
    type Hand = RingHand;
    const HINTS: bool = true;

    fn new(slots: &Slots) -> Self {
        let free = IndexRing::new(CAPACITY as u32);
        let indices: Vec<u32> = (0..CAPACITY as u32).collect();
        indices.chunks(CHUNK).for_each(|chunk| free.push(Chain::link(slots, chunk)));
        RingList(free)
    }

    fn hand(&self) -> RingHand {
        RingHand { polls: Polls::default(), left: 0, spent: [0; CHUNK], spent_len: 0 }
    }

    #[inline]
    fn take(&self, hand: &mut RingHand, slots: &Slots) -> Option<Chain> {
        if hand.left == 0 {
            hand.left = hand.polls.pop(&self.0, CHAIN)?.chains().len();
        }
        let chains = hand.polls.out.chains();
        let chain = chains[chains.len() - hand.left];
        hand.left -= 1;
        slots.prefetch_chain(chain);
        Some(chain)
    }

    #[inline]
    fn give(&self, hand: &mut RingHand, slots: &Slots, chain: Chain) {
        if chain.len() == CHAIN {
            slots.note(chain);
            return self.0.push(chain);
        }
        chain.iter(slots).for_each(|index| self.give_each(hand, slots, &[index]));
    }

    #[inline]
    fn give_each(&self, hand: &mut RingHand, slots: &Slots, mut indices: &[u32]) {
        while !indices.is_empty() {
            let RingHand { spent, spent_len, .. } = hand;
            let (now, later) = indices.split_at(indices.len().min(CHUNK - *spent_len));
            spent[*spent_len..][..now.len()].copy_from_slice(now);
            *spent_len += now.len();
            if *spent_len == CHUNK {
                self.0.push(Chain::link(slots, spent));
                *spent_len = 0;
            }
            indices = later;
        }
    }

    fn close(&self, hand: &mut RingHand, slots: &Slots) {
        while hand.left > 0 {
            let chain = self.take(hand, slots).expect("some are left");
            self.0.push(chain);
        }
        if hand.spent_len > 0 {
            self.0.push(Chain::link(slots, &hand.spent[..hand.spent_len]));
            hand.spent_len = 0;
        }
    }

    fn count(&self) -> usize {
        let (mut out, mut count) = (Popped::new(), 0);
        while self.0.pop(CHAIN, &mut out) {
            count += out.indices() as usize;
        }
        count
    }
}
