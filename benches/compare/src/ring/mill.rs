//! ringmill's data path without its protocol: the payload in a slab, its index through a ring, the free indices back.
//!
//! The free indices come home in one of two ways: through [`Credits`], the pool that the runtime uses, or through [`RingList`], a second ring in chains of 32
//! with a private cache at each end, which nobody can revoke.

use super::queue::{Consumer, Producer, Queue, Taken};
use super::{CAPACITY, CHUNK};
use ringmill::chain::{Chain, LinkArray, Links};
use ringmill::credit::{AccountId, CreditPool};
use ringmill::ring::{IndexRing, Popped};
use ringmill::sync::pause;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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
    let links = LinkArray::new(CAPACITY);
    let free = F::new(&links);
    let payload = (0..CAPACITY).map(|_| AtomicU64::new(0)).collect();
    let room = Arc::new(Room { lane: IndexRing::new(CAPACITY as u32), links, payload, free });
    let fillers = (0..producers).map(|_| Filler { hand: room.free.hand(), at_hand: None, room: Arc::clone(&room) });
    let takers = (0..consumers).map(|_| Taker { hand: room.free.hand(), room: Arc::clone(&room), polls: Polls::default() });
    (fillers.collect(), takers.collect())
}

struct Room<F: FreeList> {
    lane: IndexRing,
    links: LinkArray,
    payload: Box<[AtomicU64]>,
    free: F,
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

    fn new(links: &LinkArray) -> Self;
    fn hand(&self) -> Self::Hand;
    /// 1..=32 indices, if there are any.
    fn take(&self, hand: &mut Self::Hand, links: &LinkArray) -> Option<Chain>;
    fn give(&self, hand: &mut Self::Hand, links: &LinkArray, chain: Chain);
    /// 1..=32 indices that hang on nothing. A link is written once, when it is known what follows: its line is the producers' to read.
    fn give_each(&self, hand: &mut Self::Hand, links: &LinkArray, indices: &[u32]);
    /// Gives back what the hand holds.
    fn close(&self, hand: &mut Self::Hand, links: &LinkArray);
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
            None => self.room.free.take(&mut self.hand, &self.room.links)?,
        };
        if taken.len() <= LEN {
            return Some(taken);
        }
        debug_assert_eq!(LEN, 1);
        self.at_hand = Some(Chain::new(self.room.links.next(taken.first()), taken.len() - 1));
        Some(Chain::one(taken.first()))
    }
}

impl<F: FreeList, const LEN: u32> Producer for Filler<F, LEN> {
    #[inline]
    fn push(&mut self, from: u64, to: u64) -> u64 {
        let Some(chain) = self.slots() else { return 0 };
        let (chain, rest) = split(&self.room.links, chain, to - from);
        for (index, item) in chain.iter(&self.room.links).zip(from..) {
            self.room.payload[index as usize].store(item, Relaxed);
        }
        self.room.lane.push(chain);
        if let Some(rest) = rest {
            self.room.free.give(&mut self.hand, &self.room.links, rest);
        }
        u64::from(chain.len())
    }
}

/// The first `most` of a chain, and the rest.
#[inline]
fn split(links: &LinkArray, chain: Chain, most: u64) -> (Chain, Option<Chain>) {
    if u64::from(chain.len()) <= most {
        return (chain, None);
    }
    let most = most as u32;
    let rest = chain.iter(links).nth(most as usize).expect("it is longer");
    (Chain::new(chain.first(), most), Some(Chain::new(rest, chain.len() - most)))
}

impl<F: FreeList, const LEN: u32> Drop for Filler<F, LEN> {
    fn drop(&mut self) {
        let Room { links, free, .. } = &*self.room;
        if let Some(unused) = self.at_hand.take() {
            free.give(&mut self.hand, links, unused);
        }
        free.close(&mut self.hand, links);
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
        let Room { lane, links, payload, free } = &*self.room;
        let Some(popped) = self.polls.pop(lane, MOST) else { return Taken::Nothing };
        let (mut sum, mut single, mut singles) = (0u64, [0; CHUNK], 0);
        for &chain in popped.chains() {
            if chain.len() > 1 {
                sum = chain.iter(links).fold(sum, |sum, index| sum.wrapping_add(payload[index as usize].load(Relaxed)));
                free.give(&mut self.hand, links, chain);
            } else {
                sum = sum.wrapping_add(payload[chain.first() as usize].load(Relaxed));
                single[singles] = chain.first();
                singles += 1;
            }
        }
        if singles > 0 {
            free.give_each(&mut self.hand, links, &single[..singles]);
        }
        Taken::Some { count: u64::from(popped.indices()), sum }
    }
}

impl<F: FreeList, const MOST: u32> Drop for Taker<F, MOST> {
    fn drop(&mut self) {
        self.room.free.close(&mut self.hand, &self.room.links);
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

    fn new(links: &LinkArray) -> Self {
        Credits(CreditPool::new(0..CAPACITY as u32, links))
    }

    fn hand(&self) -> Option<AccountId> {
        Some(self.0.open_account().expect("accounts are left"))
    }

    #[inline]
    fn take(&self, hand: &mut Option<AccountId>, links: &LinkArray) -> Option<Chain> {
        let id = hand.as_ref().expect("it is open");
        match WANT {
            1 => self.0.acquire(links, id).map(Chain::one),
            _ => self.0.acquire_chain(links, id, WANT as u32),
        }
    }

    #[inline]
    fn give(&self, hand: &mut Option<AccountId>, links: &LinkArray, chain: Chain) {
        self.0.release_chain(links, hand.as_ref().expect("it is open"), chain);
    }

    #[inline]
    fn give_each(&self, hand: &mut Option<AccountId>, links: &LinkArray, indices: &[u32]) {
        self.give(hand, links, Chain::link(links, indices));
    }

    fn close(&self, hand: &mut Option<AccountId>, links: &LinkArray) {
        if let Some(id) = hand.take() {
            self.0.close_account(links, id);
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

    fn new(links: &LinkArray) -> Self {
        let free = IndexRing::new(CAPACITY as u32);
        let indices: Vec<u32> = (0..CAPACITY as u32).collect();
        indices.chunks(CHUNK).for_each(|chunk| free.push(Chain::link(links, chunk)));
        RingList(free)
    }

    fn hand(&self) -> RingHand {
        RingHand { polls: Polls::default(), left: 0, spent: [0; CHUNK], spent_len: 0 }
    }

    #[inline]
    fn take(&self, hand: &mut RingHand, _: &LinkArray) -> Option<Chain> {
        if hand.left == 0 {
            hand.left = hand.polls.pop(&self.0, CHAIN)?.chains().len();
        }
        let chains = hand.polls.out.chains();
        let chain = chains[chains.len() - hand.left];
        hand.left -= 1;
        Some(chain)
    }

    #[inline]
    fn give(&self, hand: &mut RingHand, links: &LinkArray, chain: Chain) {
        if chain.len() == CHAIN {
            return self.0.push(chain);
        }
        chain.iter(links).for_each(|index| self.give_each(hand, links, &[index]));
    }

    #[inline]
    fn give_each(&self, hand: &mut RingHand, links: &LinkArray, mut indices: &[u32]) {
        while !indices.is_empty() {
            let RingHand { spent, spent_len, .. } = hand;
            let (now, later) = indices.split_at(indices.len().min(CHUNK - *spent_len));
            spent[*spent_len..][..now.len()].copy_from_slice(now);
            *spent_len += now.len();
            if *spent_len == CHUNK {
                self.0.push(Chain::link(links, spent));
                *spent_len = 0;
            }
            indices = later;
        }
    }

    fn close(&self, hand: &mut RingHand, links: &LinkArray) {
        while hand.left > 0 {
            let chain = self.take(hand, links).expect("some are left");
            self.0.push(chain);
        }
        if hand.spent_len > 0 {
            self.0.push(Chain::link(links, &hand.spent[..hand.spent_len]));
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
