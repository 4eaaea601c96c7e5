//! The index ring: models (a) to (q), and twins that run by one bent rule each.
//!
//! Letters follow the findings that the ring was built on. Each test says how many preemptions its model is given; deeper bounds are
//! tier 2, behind `#[ignore]`:
//! `RUSTFLAGS="--cfg loom -C debug-assertions" CARGO_TARGET_DIR=target/loom cargo test --release --test loom ring -- --ignored --test-threads=1 --nocapture`

#![allow(clippy::disallowed_methods, reason = "models make threads, and say how long they took")]

mod classic;

use crate::support::{Bound, check, must_fail};
use ringmill::chain::Chain;
use ringmill::ring::{IndexRing, Popped, Rules, Sound};
use ringmill::sync::atomic::Ordering;
use ringmill::sync::{Arc, UnsafeCell, thread};

// ---- the bent rules ----

/// Publishes without releasing.
enum SlotWritesRelaxed {}
impl Rules for SlotWritesRelaxed {
    const PUBLISH: Ordering = Ordering::Relaxed;
}

/// Reads slots without acquiring.
enum SlotReadsRelaxed {}
impl Rules for SlotReadsRelaxed {
    const SLOT_READ: Ordering = Ordering::Relaxed;
    const PUBLISH_LOST: Ordering = Ordering::Relaxed;
}

/// Moves and reads tail without order.
enum TailRelaxed {}
impl Rules for TailRelaxed {
    const TAIL_READ: Ordering = Ordering::Relaxed;
    const TAIL_MOVE: Ordering = Ordering::Relaxed;
}

/// Says that a ticket is filled before it is.
enum TailFirst {}
impl Rules for TailFirst {
    const TAIL_FIRST: bool = true;
}

// ---- what the models share ----

const B1: Bound = Bound::preemptions(1);
const B2: Bound = Bound::preemptions(2);
const B3: Bound = Bound::preemptions(3);

/// A ring, empty. A producer looks at a slot before it fills it, and would hide the consumers' looks from loom.
fn empty<R: Rules>(capacity: u32, origin: u64) -> IndexRing<R> {
    #[cfg(loom)]
    ringmill::sync::thorough(true);
    let ring = IndexRing::with_rules(capacity, origin);
    #[cfg(loom)]
    ringmill::sync::thorough(false);
    ring
}

/// A ring for `capacity` indices that already holds `initial`.
fn ring<R: Rules>(capacity: u32, initial: &[u32]) -> Arc<IndexRing<R>> {
    let ring = empty(capacity, u64::from(capacity.next_power_of_two()));
    initial.iter().for_each(|&index| ring.push(Chain::one(index)));
    Arc::new(ring)
}

fn push<R: Rules>(ring: &IndexRing<R>, indices: &[u32]) {
    match indices {
        &[index] => ring.push(Chain::one(index)),
        _ => ring.push_batch(&indices.iter().map(|&index| Chain::one(index)).collect::<Vec<_>>()),
    }
}

fn pop_up_to<R: Rules>(ring: &IndexRing<R>, max: u32) -> Vec<u32> {
    let mut out = Popped::new();
    let popped = ring.pop(max, &mut out);
    assert_eq!(popped, !out.is_empty());
    out.chains().iter().map(|chain| chain.first()).collect()
}

fn pop<R: Rules>(ring: &IndexRing<R>) -> Option<u32> {
    pop_up_to(ring, 1).first().copied()
}

/// Pops until `last` has come, whose push is known to be complete: the ring must not say Empty before.
fn pop_until<R: Rules>(ring: &IndexRing<R>, seen: &mut Vec<u32>, last: u32) {
    while !seen.contains(&last) {
        seen.push(pop(ring).expect("Empty, with a completed push in the ring"));
    }
}

/// What is left, then everything exactly once.
fn all_accounted_for<R: Rules>(ring: &IndexRing<R>, mut seen: Vec<u32>, count: u32) {
    seen.extend(std::iter::from_fn(|| pop(ring)));
    let order = seen.clone();
    seen.sort_unstable();
    assert_eq!(seen, (0..count).collect::<Vec<_>>(), "lost or duplicated: {order:?}");
}

fn comes_before(seen: &[u32], first: u32, second: u32) {
    let place = |index| seen.iter().position(|&other| other == index);
    assert!(place(first) < place(second), "{first} was pushed before {second}, but came out as {seen:?}");
}

// ---- the models ----

/// (a) Two producers and a consumer: one producer's second push overtakes its first, or both are hidden behind a slot that the other has not filled.
fn a_two_producers<R: Rules>() {
    let ring = ring::<R>(4, &[]);
    let (first, second) = (ring.clone(), ring.clone());
    let one = thread::spawn(move || {
        push(&first, &[0]);
        push(&first, &[1]);
    });
    let two = thread::spawn(move || push(&second, &[2]));
    let mut seen: Vec<u32> = pop(&ring).into_iter().collect();
    one.join().unwrap();
    pop_until(&ring, &mut seen, 1);
    comes_before(&seen, 0, 1);
    two.join().unwrap();
    all_accounted_for(&ring, seen, 3);
}

/// (b) Two producers for one slot: both fill it, or the one that lost goes on without knowing that it is filled.
fn b_two_for_one_slot<R: Rules>() {
    let ring = ring::<R>(2, &[]);
    let other = ring.clone();
    let producer = thread::spawn(move || push(&other, &[0]));
    push(&ring, &[1]);
    let mut seen = vec![];
    pop_until(&ring, &mut seen, 1);
    producer.join().unwrap();
    all_accounted_for(&ring, seen, 2);
}

/// (c) As many slots as indices, and every popped index pushed again: a consumer that stopped before its CAS on head, or meets a later lap where it
/// looks, takes an index that another has, or finds no head.
fn c_recycled<R: Rules>() {
    let (ring, slab) = (ring::<R>(2, &[0]), Slab::new(2));
    let recycle = |ring: &IndexRing<R>, slab: &Slab| {
        if let Some(index) = pop(ring) {
            slab.set(index, slab.get(index) + 1);
            push(ring, &[index]);
        }
    };
    let (other, cells) = (ring.clone(), slab.clone());
    let recycler = thread::spawn(move || recycle(&other, &cells));
    push(&ring, &[1]);
    recycle(&ring, &slab);
    recycle(&ring, &slab);
    recycler.join().unwrap();
    all_accounted_for(&ring, vec![], 2);
}

/// (d) Two batch pops race each other and a producer: both take the same chain, one skips a chain, or takes what is not written yet.
fn d_batch_pops_race<R: Rules>() {
    let (ring, slab) = (ring::<R>(4, &[]), Slab::new(3));
    let (first, second, written, read) = (ring.clone(), ring.clone(), slab.clone(), slab.clone());
    let producer = thread::spawn(move || {
        written.set(0, 7);
        push(&first, &[0]);
    });
    let take = |ring: &IndexRing<R>, slab: &Slab| {
        let taken = pop_up_to(ring, 2);
        taken.iter().for_each(|&index| assert_eq!(slab.get(index), 7));
        taken
    };
    let consumer = thread::spawn(move || take(&second, &read));
    [1, 2].into_iter().for_each(|index| slab.set(index, 7));
    push(&ring, &[1, 2]);
    let mut seen = take(&ring, &slab);
    seen.extend(consumer.join().unwrap());
    producer.join().unwrap();
    all_accounted_for(&ring, seen, 3);
}

/// (e) A batch beside another producer, who may come in between: its second chain comes out before its first, or both stay hidden.
fn e_batch_keeps_its_order<R: Rules>() {
    let ring = ring::<R>(4, &[]);
    let (first, second) = (ring.clone(), ring.clone());
    let batch = thread::spawn(move || push(&first, &[0, 1]));
    let other = thread::spawn(move || push(&second, &[2]));
    let mut seen: Vec<u32> = pop(&ring).into_iter().collect();
    batch.join().unwrap();
    pop_until(&ring, &mut seen, 1);
    comes_before(&seen, 0, 1);
    other.join().unwrap();
    all_accounted_for(&ring, seen, 3);
}

/// (f) Where a 32-bit lap would wrap, and where the 64-bit word and the ticket itself do: an old lap is taken for a new one, or a new one for an old one.
fn f_laps_wrap<R: Rules>(origin: u64) {
    let (ring, slab) = (Arc::new(empty::<R>(2, origin)), Slab::new(2));
    let (other, cells) = (ring.clone(), slab.clone());
    let recycler = thread::spawn(move || {
        cells.set(0, 7);
        push(&other, &[0]);
        if let Some(index) = pop(&other) {
            assert_eq!(cells.get(index), 7);
            push(&other, &[index]);
        }
    });
    slab.set(1, 7);
    push(&ring, &[1]);
    let seen: Vec<u32> = pop(&ring).into_iter().inspect(|&index| assert_eq!(slab.get(index), 7)).collect();
    recycler.join().unwrap();
    all_accounted_for(&ring, seen, 2);
}

/// A slab whose cells loom watches.
struct Slab(Vec<UnsafeCell<u32>>);

// SAFETY: a cell belongs to whoever holds its index, which the ring hands to one thread at a time; loom checks exactly that.
unsafe impl Sync for Slab {}
// SAFETY: plain numbers.
unsafe impl Send for Slab {}

impl Slab {
    fn new(count: usize) -> Arc<Self> {
        Arc::new(Slab((0..count).map(|_| UnsafeCell::new(0)).collect()))
    }

    fn get(&self, index: u32) -> u32 {
        // SAFETY: the caller holds `index`.
        self.0[index as usize].with(|cell| unsafe { *cell })
    }

    fn set(&self, index: u32, value: u32) {
        // SAFETY: the caller holds `index`.
        self.0[index as usize].with_mut(|cell| unsafe { *cell = value })
    }
}

/// (g) Free list, slab, lane, and back: a payload is written while its last reader still reads it, or read before it is written. `producers` is
/// one in (g1), two in (g2).
fn g_slab_cycle<R: Rules>(producers: usize) {
    let (free, lane, slab) = (ring::<R>(2, &[0, 1]), ring::<R>(2, &[]), Slab::new(2));
    let handles: Vec<_> = (0..producers)
        .map(|producer| {
            let (free, lane, slab) = (free.clone(), lane.clone(), slab.clone());
            thread::spawn(move || {
                let rounds = 2 - producer;
                (0..rounds)
                    .filter_map(|_| pop(&free))
                    .inspect(|&index| slab.set(index, slab.get(index) + 1))
                    .map(|index| push(&lane, &[index]))
                    .count()
            })
        })
        .collect();
    let consume = || {
        pop(&lane).inspect(|&index| {
            assert_eq!(slab.get(index), 1);
            slab.set(index, 0);
            push(&free, &[index]);
        })
    };
    let early = (0..2).filter_map(|_| consume()).count();
    let published: usize = handles.into_iter().map(|handle| handle.join().unwrap()).sum();
    let late = std::iter::from_fn(consume).count();
    assert_eq!(published, early + late);
    all_accounted_for(&free, vec![], 2);
}

/// (h) A push is seen complete, then the ring says Empty because the slot at head, which another producer has filled, is not seen filled: the first
/// did not know of it, or did not say so.
fn h_completed_push_is_seen<R: Rules>() {
    let ring = ring::<R>(2, &[]);
    let [one, other] = [0, 1].map(|index| {
        let ring = ring.clone();
        thread::spawn(move || push(&ring, &[index]))
    });
    one.join().unwrap();
    let mut seen = vec![];
    pop_until(&ring, &mut seen, 0);
    other.join().unwrap();
    all_accounted_for(&ring, seen, 2);
}

/// (i) A producer that stopped between its look at tail and its store takes tail back, over a lap and more: who begins to look there fills a
/// ticket twice, or lands behind one that is not filled. The recycler is the only consumer, so there is always one for it.
fn i_tail_taken_back<R: Rules>(rounds: usize) {
    let ring = ring::<R>(2, &[1]);
    let other = ring.clone();
    let producer = thread::spawn(move || push(&other, &[0]));
    for _ in 0..rounds {
        let index = pop(&ring).expect("Empty, with a completed push in the ring");
        push(&ring, &[index]);
    }
    producer.join().unwrap();
    all_accounted_for(&ring, vec![], 2);
}

/// Takes what there is and puts it back, so many times.
fn recycle<R: Rules>(ring: &Arc<IndexRing<R>>, rounds: usize) -> thread::JoinHandle<()> {
    let ring = ring.clone();
    thread::spawn(move || {
        for _ in 0..rounds {
            pop(&ring).into_iter().for_each(|index| push(&ring, &[index]));
        }
    })
}

/// (k) Two indices, one of them in a third thread's hand from time to time: a consumer with a stale head or a stale slot finds nothing and says Empty.
fn k_never_empty_beside_a_recycler<R: Rules>() {
    let ring = ring::<R>(2, &[0]);
    let other = ring.clone();
    let producer = thread::spawn(move || push(&other, &[1]));
    let recycler = recycle(&ring, 2);
    producer.join().unwrap();
    let seen = vec![pop(&ring).expect("Empty, with a completed push in the ring")];
    recycler.join().unwrap();
    all_accounted_for(&ring, seen, 2);
}

/// (l) A producer that stopped before its slot meets a later lap there, or loses its CAS to one, and goes on behind it: it knows nothing of the
/// tickets in between, and the consumer that it tells sees one of them as it was a lap before. Four slots, four indices.
fn l_meets_a_later_lap<R: Rules>(rounds: usize) {
    let ring = ring::<R>(4, &[0, 1, 2]);
    let other = ring.clone();
    let producer = thread::spawn(move || push(&other, &[3]));
    let recycler = recycle(&ring, rounds);
    producer.join().unwrap();
    let seen = vec![pop(&ring).expect("Empty, with completed pushes in the ring")];
    recycler.join().unwrap();
    all_accounted_for(&ring, seen, 4);
}

/// (m) A whole lap goes by (three indices, four slots): a consumer that knows of the last push sees a slot as it was a lap before, and says Empty.
fn m_a_whole_lap<R: Rules>() {
    let ring = ring::<R>(4, &[0]);
    let other = ring.clone();
    let producer = thread::spawn(move || {
        push(&other, &[2]);
        push(&other, &[1]);
    });
    let recycler = recycle(&ring, 3);
    producer.join().unwrap();
    let seen = vec![pop(&ring).expect("Empty, with completed pushes in the ring")];
    recycler.join().unwrap();
    all_accounted_for(&ring, seen, 3);
}

/// (n) A producer far behind the end: tail is moved once for a batch, so who comes meanwhile searches, step by step, in strides, back. It fills
/// beyond a ticket that is not filled, or beyond one that it does not know of.
fn n_search<R: Rules>(batch: u32) {
    let ring = ring::<R>(8, &[]);
    let (first, second) = (ring.clone(), ring.clone());
    let pusher = thread::spawn(move || push(&first, &(0..batch).collect::<Vec<_>>()));
    let other = thread::spawn(move || push(&second, &[batch]));
    other.join().unwrap();
    let mut seen = vec![];
    pop_until(&ring, &mut seen, batch);
    pusher.join().unwrap();
    all_accounted_for(&ring, seen, batch + 1);
}

/// Writes the links of a chain as plain memory and pushes it.
fn push_chain<R: Rules>(ring: &IndexRing<R>, links: &Slab, indices: &[u32]) {
    indices.windows(2).for_each(|pair| links.set(pair[0], pair[1]));
    ring.push(Chain::new(indices[0], indices.len() as u32));
}

/// Pops a chain and walks its links.
fn pop_chain<R: Rules>(ring: &IndexRing<R>, links: &Slab) -> Vec<u32> {
    let mut out = Popped::new();
    let _ = ring.pop(1, &mut out);
    let walk =
        |chain: &Chain| std::iter::successors(Some(chain.first()), |&index| Some(links.get(index))).take(chain.len() as usize).collect();
    out.chains().first().map(walk).unwrap_or_default()
}

/// (q) Chains of two, their links plain memory: a consumer walks links that are not written yet, or still being changed. The free list starts as
/// [0 -> 1] and [2]; the consumer gives indices back one by one, in reverse.
fn q_chains<R: Rules>() {
    let (free, lane, slab, links) = (ring::<R>(4, &[]), ring::<R>(4, &[]), Slab::new(3), Slab::new(3));
    push_chain(&free, &links, &[0, 1]);
    push_chain(&free, &links, &[2]);
    let producers: Vec<_> = (0..2)
        .map(|_| {
            let (free, lane, slab, links) = (free.clone(), lane.clone(), slab.clone(), links.clone());
            thread::spawn(move || {
                let indices = pop_chain(&free, &links);
                indices.iter().for_each(|&index| slab.set(index, 7));
                if !indices.is_empty() {
                    push_chain(&lane, &links, &indices);
                }
            })
        })
        .collect();
    let consume = || {
        let indices = pop_chain(&lane, &links);
        for &index in indices.iter().rev() {
            assert_eq!(slab.get(index), 7);
            slab.set(index, 0);
            push_chain(&free, &links, &[index]);
        }
        !indices.is_empty()
    };
    consume();
    consume();
    producers.into_iter().for_each(|producer| producer.join().unwrap());
    while consume() {}
    let mut seen: Vec<u32> = std::iter::from_fn(|| Some(pop_chain(&free, &links)).filter(|chain| !chain.is_empty())).flatten().collect();
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2], "lost or duplicated");
}

/// (M4) Two producers and two consumers of a ring of two: an index comes out twice or not at all, or before its payload is written.
fn two_and_two<R: Rules>() {
    let (ring, slab) = (ring::<R>(2, &[]), Slab::new(2));
    let producers: Vec<_> = [0, 1]
        .map(|index| {
            let (ring, slab) = (ring.clone(), slab.clone());
            thread::spawn(move || {
                slab.set(index, 7);
                push(&ring, &[index]);
            })
        })
        .into();
    let consume = |ring: &IndexRing<R>, slab: &Slab| pop(ring).inspect(|&index| assert_eq!(slab.get(index), 7));
    let other = {
        let (ring, slab) = (ring.clone(), slab.clone());
        thread::spawn(move || consume(&ring, &slab))
    };
    let mut seen: Vec<u32> = consume(&ring, &slab).into_iter().collect();
    seen.extend(other.join().unwrap());
    producers.into_iter().for_each(|producer| producer.join().unwrap());
    all_accounted_for(&ring, seen, 2);
}

/// Where laps wrap: a 32-bit lap, the 59 bits of the word, the ticket itself. One lap before each, in a ring of two.
const WRAPS: [u64; 3] = [u32::MAX as u64 * 2, (1 << 59) - 2, u64::MAX - 1];

// ---- tier 1 ----

#[test]
fn ring_a_two_producers() {
    check("ring (a)", B3, a_two_producers::<Sound>);
    must_fail("ring (a) with relaxed tail", B3, a_two_producers::<TailRelaxed>);
    must_fail("ring (a) with tail moved first", B3, a_two_producers::<TailFirst>);
}

#[test]
fn ring_b_two_for_one_slot() {
    check("ring (b)", Bound::ALL, b_two_for_one_slot::<Sound>);
    must_fail("ring (b) with relaxed tail", B3, b_two_for_one_slot::<TailRelaxed>);
    must_fail("ring (b) with tail moved first", B3, b_two_for_one_slot::<TailFirst>);
}

#[test]
fn ring_c_recycled() {
    check("ring (c)", B2, c_recycled::<Sound>);
    must_fail("ring (c) with relaxed slot writes", B2, c_recycled::<SlotWritesRelaxed>);
    must_fail("ring (c) with relaxed slot reads", B2, c_recycled::<SlotReadsRelaxed>);
}

#[test]
fn ring_d_batch_pops_race() {
    check("ring (d)", B2, d_batch_pops_race::<Sound>);
    must_fail("ring (d) with relaxed slot writes", B2, d_batch_pops_race::<SlotWritesRelaxed>);
    must_fail("ring (d) with relaxed slot reads", B2, d_batch_pops_race::<SlotReadsRelaxed>);
}

#[test]
fn ring_e_batch_keeps_its_order() {
    check("ring (e)", B2, e_batch_keeps_its_order::<Sound>);
    must_fail("ring (e) with relaxed tail", B2, e_batch_keeps_its_order::<TailRelaxed>);
    must_fail("ring (e) with tail moved first", B2, e_batch_keeps_its_order::<TailFirst>);
}

#[test]
fn ring_f_laps_wrap() {
    for origin in WRAPS {
        check("ring (f)", B3, move || f_laps_wrap::<Sound>(origin));
        must_fail("ring (f) with relaxed slot reads", B3, move || f_laps_wrap::<SlotReadsRelaxed>(origin));
    }
}

#[test]
fn ring_g_slab_cycle() {
    check("ring (g1)", Bound::ALL, || g_slab_cycle::<Sound>(1));
    check("ring (g2)", B2, || g_slab_cycle::<Sound>(2));
    must_fail("ring (g1) with relaxed slot writes", B3, || g_slab_cycle::<SlotWritesRelaxed>(1));
    must_fail("ring (g1) with relaxed slot reads", B3, || g_slab_cycle::<SlotReadsRelaxed>(1));
    must_fail("ring (g2) with relaxed slot writes", B2, || g_slab_cycle::<SlotWritesRelaxed>(2));
    must_fail("ring (g2) with relaxed slot reads", B2, || g_slab_cycle::<SlotReadsRelaxed>(2));
}

#[test]
fn ring_h_completed_push_is_seen() {
    check("ring (h)", B3, h_completed_push_is_seen::<Sound>);
    must_fail("ring (h) with relaxed tail", B3, h_completed_push_is_seen::<TailRelaxed>);
    must_fail("ring (h) with tail moved first", B3, h_completed_push_is_seen::<TailFirst>);
}

#[test]
fn ring_i_tail_taken_back() {
    check("ring (i)", B3, || i_tail_taken_back::<Sound>(3));
    must_fail("ring (i) with relaxed tail", B3, || i_tail_taken_back::<TailRelaxed>(3));
    must_fail("ring (i) with tail moved first", B3, || i_tail_taken_back::<TailFirst>(3));
}

#[test]
fn ring_k_never_empty_beside_a_recycler() {
    check("ring (k)", B2, k_never_empty_beside_a_recycler::<Sound>);
    must_fail("ring (k) with relaxed slot reads", B2, k_never_empty_beside_a_recycler::<SlotReadsRelaxed>);
    must_fail("ring (k) with relaxed tail", B2, k_never_empty_beside_a_recycler::<TailRelaxed>);
    must_fail("ring (k) with tail moved first", B2, k_never_empty_beside_a_recycler::<TailFirst>);
}

#[test]
fn ring_l_meets_a_later_lap() {
    check("ring (l)", B1, || l_meets_a_later_lap::<Sound>(5));
    must_fail("ring (l) with relaxed slot writes", B1, || l_meets_a_later_lap::<SlotWritesRelaxed>(5));
    must_fail("ring (l) with relaxed slot reads", B1, || l_meets_a_later_lap::<SlotReadsRelaxed>(5));
}

#[test]
fn ring_m_a_whole_lap() {
    check("ring (m)", B2, m_a_whole_lap::<Sound>);
    must_fail("ring (m) with relaxed slot reads", B2, m_a_whole_lap::<SlotReadsRelaxed>);
    must_fail("ring (m) with relaxed tail", B2, m_a_whole_lap::<TailRelaxed>);
    must_fail("ring (m) with tail moved first", B2, m_a_whole_lap::<TailFirst>);
}

#[test]
fn ring_n_search() {
    check("ring (n)", B2, || n_search::<Sound>(5));
    must_fail("ring (n) with relaxed slot writes", B2, || n_search::<SlotWritesRelaxed>(5));
    must_fail("ring (n) with relaxed slot reads", B2, || n_search::<SlotReadsRelaxed>(5));
}

#[test]
fn ring_q_chains() {
    check("ring (q)", B2, q_chains::<Sound>);
    must_fail("ring (q) with relaxed slot writes", B2, q_chains::<SlotWritesRelaxed>);
    must_fail("ring (q) with relaxed slot reads", B2, q_chains::<SlotReadsRelaxed>);
}

#[test]
fn ring_two_and_two() {
    check("ring (M4)", B2, two_and_two::<Sound>);
    must_fail("ring (M4) with relaxed slot writes", B2, two_and_two::<SlotWritesRelaxed>);
    must_fail("ring (M4) with relaxed slot reads", B2, two_and_two::<SlotReadsRelaxed>);
}

// ---- tier 2 ----

#[test]
#[ignore = "tier 2: the same models, deeper"]
fn ring_deep_bounded() {
    check("ring (c)", B3, c_recycled::<Sound>);
    check("ring (d)", B3, d_batch_pops_race::<Sound>);
    check("ring (e)", B3, e_batch_keeps_its_order::<Sound>);
    check("ring (f)", Bound::preemptions(4), || f_laps_wrap::<Sound>(WRAPS[0]));
    check("ring (g2)", B3, || g_slab_cycle::<Sound>(2));
    check("ring (i)", Bound::preemptions(4), || i_tail_taken_back::<Sound>(3));
    check("ring (k)", B3, k_never_empty_beside_a_recycler::<Sound>);
    check("ring (l)", B2, || l_meets_a_later_lap::<Sound>(5));
    check("ring (n)", B3, || n_search::<Sound>(5));
    check("ring (q)", B3, q_chains::<Sound>);
    check("ring (M4)", B3, two_and_two::<Sound>);
}

#[test]
#[ignore = "tier 2: every interleaving"]
fn ring_deep_unbounded() {
    check("ring (h)", Bound::ALL, h_completed_push_is_seen::<Sound>);
    check("ring (M5)", Bound::ALL, classic::an_index_goes_back::<IndexRing<Sound>>);
}
