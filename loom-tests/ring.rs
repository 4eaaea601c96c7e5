//! The index ring: models (a) to (q), and twins that run by one bent rule each.
//!
//! Letters follow the findings that the ring was built on. Unless a line says otherwise a model runs at preemption bound 3; deeper bounds are
//! tier 2, behind `#[ignore]`:
//! `RUSTFLAGS="--cfg loom -C debug-assertions" CARGO_TARGET_DIR=target/loom cargo test --release --test loom ring -- --ignored --test-threads=1 --nocapture`

#![allow(clippy::disallowed_methods, reason = "models make threads, and say how long they took")]

mod classic;

use crate::support::{Bound, check, must_fail};
use ringmill::chain::Chain;
use ringmill::ring::{IndexRing, Pop, PopResult, Popped, Rules, Sound};
use ringmill::sync::atomic::{AtomicBool, Ordering};
use ringmill::sync::{Arc, UnsafeCell, thread};

// ---- the bent rules ----

/// Publishes and gives up without releasing.
enum SlotWritesRelaxed {}
impl Rules for SlotWritesRelaxed {
    const PUBLISH: Ordering = Ordering::Relaxed;
    const TOMBSTONE: Ordering = Ordering::Relaxed;
}

/// Reads slots without acquiring.
enum SlotReadsRelaxed {}
impl Rules for SlotReadsRelaxed {
    const SLOT_READ: Ordering = Ordering::Relaxed;
    const PUBLISH_LOST: Ordering = Ordering::Relaxed;
}

/// Moves and reads head without order.
enum HeadRelaxed {}
impl Rules for HeadRelaxed {
    const HEAD_READ: Ordering = Ordering::Relaxed;
    const HEAD_MOVE: Ordering = Ordering::Relaxed;
    const HEAD_MOVED: Ordering = Ordering::Relaxed;
}

/// Claims tickets and reads tail without order.
enum TailRelaxed {}
impl Rules for TailRelaxed {
    const TICKET: Ordering = Ordering::Relaxed;
    const TAIL_READ: Ordering = Ordering::Relaxed;
}

/// Neither claims nor tail reads acquire: either alone would do.
enum TailNeverAcquired {}
impl Rules for TailNeverAcquired {
    const TICKET: Ordering = Ordering::Release;
    const TAIL_READ: Ordering = Ordering::Relaxed;
}

/// A consumer that finds a later lap at its head waits for somebody else to move head.
enum NoHelp {}
impl Rules for NoHelp {
    const HELP: bool = false;
}

// ---- what the models share ----

const B3: Bound = Bound::preemptions(3);
const B4: Bound = Bound::preemptions(4);
const B5: Bound = Bound::preemptions(5);

/// A ring for `capacity` indices that already holds `initial`.
fn ring<R: Rules>(capacity: u32, initial: &[u32]) -> Arc<IndexRing<R>> {
    let ring = IndexRing::with_rules(capacity, u64::from(capacity.next_power_of_two()));
    initial.iter().for_each(|&index| ring.push(Chain::one(index)));
    Arc::new(ring)
}

fn push<R: Rules>(ring: &IndexRing<R>, indices: &[u32]) {
    let chains: Vec<Chain> = indices.iter().map(|&index| Chain::one(index)).collect();
    ring.push_batch(&chains);
}

fn pop_up_to<R: Rules>(ring: &IndexRing<R>, max: u32) -> Vec<u32> {
    let mut out = Popped::new();
    let result = ring.pop(max, Pop::Strict, &mut out);
    assert_eq!(result == PopResult::Taken, !out.is_empty());
    out.chains().iter().map(|chain| chain.first()).collect()
}

fn pop<R: Rules>(ring: &IndexRing<R>) -> Option<u32> {
    pop_up_to(ring, 1).first().copied()
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

/// (a) Two producers and a consumer: one producer's second push overtakes its first when the consumer closes the first one's ticket.
fn a_two_producers<R: Rules>() {
    let ring = ring::<R>(4, &[]);
    let (first, second) = (ring.clone(), ring.clone());
    let one = thread::spawn(move || {
        push(&first, &[0]);
        push(&first, &[1]);
    });
    let two = thread::spawn(move || push(&second, &[2]));
    let mut seen: Vec<u32> = (0..2).filter_map(|_| pop(&ring)).collect();
    one.join().unwrap();
    two.join().unwrap();
    seen.extend(std::iter::from_fn(|| pop(&ring)));
    comes_before(&seen, 0, 1);
    all_accounted_for(&ring, seen, 3);
}

/// (b) A producer between its ticket and its slot, a consumer with something complete behind: both claim the slot, one CAS must lose.
fn b_producer_against_killer<R: Rules>() {
    let ring = ring::<R>(2, &[]);
    let other = ring.clone();
    let producer = thread::spawn(move || push(&other, &[0]));
    push(&ring, &[1]);
    let first = pop(&ring);
    assert!(first.is_some(), "the consumer's own completed push was not seen");
    let seen = first.into_iter().chain(pop(&ring)).collect();
    producer.join().unwrap();
    all_accounted_for(&ring, seen, 2);
}

/// (c) As many slots as indices: the consumer that gave a ticket up sleeps before its head CAS, the producer fills the same slot a lap later, a
/// third thread pops. Without the helping rule it waits for the sleeper.
fn c_slot_reclaimed_under_the_killer<R: Rules>() {
    let ring = ring::<R>(2, &[]);
    let (first, second) = (ring.clone(), ring.clone());
    let producer = thread::spawn(move || push(&first, &[0]));
    let consumer = thread::spawn(move || pop(&second));
    push(&ring, &[1]);
    let mut seen: Vec<u32> = pop(&ring).into_iter().collect();
    seen.extend(consumer.join().unwrap());
    producer.join().unwrap();
    all_accounted_for(&ring, seen, 2);
}

/// (c2) The same with every popped index pushed again: a stale consumer meets an index it has seen before.
fn c2_recycled<R: Rules>() {
    let ring = ring::<R>(2, &[]);
    let (first, second) = (ring.clone(), ring.clone());
    let producer = thread::spawn(move || push(&first, &[0]));
    let recycler = thread::spawn(move || pop(&second).into_iter().for_each(|index| push(&second, &[index])));
    push(&ring, &[1]);
    pop(&ring).into_iter().for_each(|index| push(&ring, &[index]));
    producer.join().unwrap();
    recycler.join().unwrap();
    all_accounted_for(&ring, vec![], 2);
}

/// (d) Two batch pops race each other and a hole: both take the same chain, or one skips a chain behind the hole.
fn d_batch_pops_race<R: Rules>() {
    let ring = ring::<R>(4, &[]);
    let (first, second) = (ring.clone(), ring.clone());
    let producer = thread::spawn(move || push(&first, &[0]));
    let consumer = thread::spawn(move || pop_up_to(&second, 2));
    push(&ring, &[1, 2]);
    let mut seen = pop_up_to(&ring, 2);
    seen.extend(consumer.join().unwrap());
    producer.join().unwrap();
    all_accounted_for(&ring, seen, 3);
}

/// (e) A batch loses its first ticket: its second chain must not come out before its first.
fn e_batch_keeps_its_order<R: Rules>() {
    let ring = ring::<R>(4, &[]);
    let (first, second) = (ring.clone(), ring.clone());
    let batch = thread::spawn(move || push(&first, &[0, 1]));
    let witness = thread::spawn(move || push(&second, &[2]));
    let mut seen: Vec<u32> = (0..2).filter_map(|_| pop(&ring)).collect();
    batch.join().unwrap();
    witness.join().unwrap();
    seen.extend(std::iter::from_fn(|| pop(&ring)));
    comes_before(&seen, 0, 1);
    all_accounted_for(&ring, seen, 3);
}

/// (f) Where a 32-bit lap would wrap, and where the 64-bit word and the ticket itself do: an old lap is taken for a new one.
fn f_laps_wrap<R: Rules>(origin: u64) {
    let ring = Arc::new(IndexRing::<R>::with_rules(2, origin));
    let (first, second) = (ring.clone(), ring.clone());
    let recycler = thread::spawn(move || {
        push(&first, &[0]);
        pop(&first).into_iter().for_each(|index| push(&first, &[index]));
    });
    let consumer = thread::spawn(move || pop(&second));
    push(&ring, &[1]);
    let mut seen: Vec<u32> = pop(&ring).into_iter().collect();
    recycler.join().unwrap();
    seen.extend(consumer.join().unwrap());
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

/// Pushes `index` and says so through a flag of its own.
fn push_flagged<R: Rules>(ring: &IndexRing<R>, index: u32, flag: &AtomicBool) {
    push(ring, &[index]);
    // edge model.flag, release: the push is complete
    flag.store(true, Ordering::Release);
}

/// Once the flag is up, the ring must not be Empty.
fn pop_if_flagged<R: Rules>(ring: &IndexRing<R>, flag: &AtomicBool) -> Vec<u32> {
    // edge model.flag, acquire: the push is complete
    if !flag.load(Ordering::Acquire) {
        return vec![];
    }
    let popped = pop(ring);
    assert!(popped.is_some(), "Empty, with a completed push in the ring");
    popped.into_iter().collect()
}

/// (h) A push is seen complete, then the ring says Empty because another producer's hole is in front of it.
fn h_completed_push_is_seen<R: Rules>() {
    let (ring, flag) = (ring::<R>(2, &[]), Arc::new(AtomicBool::new(false)));
    let (first, second, raised) = (ring.clone(), ring.clone(), flag.clone());
    let flagged = thread::spawn(move || push_flagged(&first, 0, &raised));
    let other = thread::spawn(move || push(&second, &[1]));
    let seen = pop_if_flagged(&ring, &flag);
    flagged.join().unwrap();
    other.join().unwrap();
    all_accounted_for(&ring, seen, 2);
}

/// (k) Two indices, one of them in a third thread's hand from time to time: a consumer with a stale head finds nothing and says Empty.
fn k_never_empty_beside_a_recycler<R: Rules>() {
    let (ring, flag) = (ring::<R>(2, &[0]), Arc::new(AtomicBool::new(false)));
    let (first, second, raised) = (ring.clone(), ring.clone(), flag.clone());
    let flagged = thread::spawn(move || push_flagged(&first, 1, &raised));
    let recycler = thread::spawn(move || {
        for _ in 0..2 {
            pop(&second).into_iter().for_each(|index| push(&second, &[index]));
        }
    });
    let seen = pop_if_flagged(&ring, &flag);
    flagged.join().unwrap();
    recycler.join().unwrap();
    all_accounted_for(&ring, seen, 2);
}

/// (m) A whole lap goes by (three indices, four slots) and its last push is flagged: a consumer with a stale tail says Empty. The only model
/// long enough to need the order of tail.
fn m_a_whole_lap<R: Rules>() {
    let (ring, flag) = (ring::<R>(4, &[]), Arc::new(AtomicBool::new(false)));
    let (first, second, raised) = (ring.clone(), ring.clone(), flag.clone());
    let flagged = thread::spawn(move || {
        push(&first, &[2]);
        push_flagged(&first, 1, &raised);
    });
    let recycler = thread::spawn(move || {
        push(&second, &[0]);
        for _ in 0..3 {
            pop(&second).into_iter().for_each(|index| push(&second, &[index]));
        }
    });
    let seen = pop_if_flagged(&ring, &flag);
    flagged.join().unwrap();
    recycler.join().unwrap();
    all_accounted_for(&ring, seen, 3);
}

/// Writes the links of a chain as plain memory and pushes it.
fn push_chain<R: Rules>(ring: &IndexRing<R>, links: &Slab, indices: &[u32]) {
    indices.windows(2).for_each(|pair| links.set(pair[0], pair[1]));
    ring.push(Chain::new(indices[0], indices.len() as u32));
}

/// Pops a chain and walks its links.
fn pop_chain<R: Rules>(ring: &IndexRing<R>, links: &Slab) -> Vec<u32> {
    let mut out = Popped::new();
    let _ = ring.pop(1, Pop::Strict, &mut out);
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

/// Where laps wrap: a 32-bit lap, the 58 bits of the word, the ticket itself. One lap before each, in a ring of two.
const WRAPS: [u64; 3] = [u32::MAX as u64 * 2, (1 << 58) - 2, u64::MAX - 1];

// ---- tier 1 ----

#[test]
fn ring_a_two_producers() {
    check("ring (a)", B3, a_two_producers::<Sound>);
}

#[test]
fn ring_b_producer_against_killer() {
    check("ring (b)", Bound::ALL, b_producer_against_killer::<Sound>);
}

#[test]
fn ring_c_slot_reclaimed_under_the_killer() {
    check("ring (c)", B3, c_slot_reclaimed_under_the_killer::<Sound>);
    must_fail("ring (c) without help", B3, c_slot_reclaimed_under_the_killer::<NoHelp>);
}

#[test]
fn ring_c2_recycled() {
    check("ring (c2)", B3, c2_recycled::<Sound>);
    must_fail("ring (c2) without help", B3, c2_recycled::<NoHelp>);
}

#[test]
fn ring_d_batch_pops_race() {
    check("ring (d)", B3, d_batch_pops_race::<Sound>);
}

#[test]
fn ring_e_batch_keeps_its_order() {
    check("ring (e)", B3, e_batch_keeps_its_order::<Sound>);
}

#[test]
fn ring_f_laps_wrap() {
    for origin in WRAPS {
        check("ring (f)", Bound::preemptions(2), move || f_laps_wrap::<Sound>(origin));
    }
    must_fail("ring (f) without help", B3, || f_laps_wrap::<NoHelp>(WRAPS[0]));
}

#[test]
fn ring_g_slab_cycle() {
    check("ring (g1)", Bound::ALL, || g_slab_cycle::<Sound>(1));
    check("ring (g2)", B3, || g_slab_cycle::<Sound>(2));
    must_fail("ring (g1) with relaxed slot writes", B3, || g_slab_cycle::<SlotWritesRelaxed>(1));
    must_fail("ring (g1) with relaxed slot reads", B3, || g_slab_cycle::<SlotReadsRelaxed>(1));
    must_fail("ring (g2) with relaxed slot writes", B3, || g_slab_cycle::<SlotWritesRelaxed>(2));
    must_fail("ring (g2) with relaxed slot reads", B3, || g_slab_cycle::<SlotReadsRelaxed>(2));
}

#[test]
fn ring_h_completed_push_is_seen() {
    check("ring (h)", Bound::ALL, h_completed_push_is_seen::<Sound>);
}

#[test]
fn ring_k_never_empty_beside_a_recycler() {
    check("ring (k)", B3, k_never_empty_beside_a_recycler::<Sound>);
    must_fail("ring (k) with relaxed head", B3, k_never_empty_beside_a_recycler::<HeadRelaxed>);
    must_fail("ring (k) without help", B3, k_never_empty_beside_a_recycler::<NoHelp>);
}

/// At bound 5, for nothing less catches a relaxed tail.
#[test]
fn ring_m_a_whole_lap() {
    check("ring (m)", B5, m_a_whole_lap::<Sound>);
    must_fail("ring (m) with relaxed tail", B5, m_a_whole_lap::<TailRelaxed>);
    must_fail("ring (m) with tail never acquired", B5, m_a_whole_lap::<TailNeverAcquired>);
    must_fail("ring (m) with relaxed head", B3, m_a_whole_lap::<HeadRelaxed>);
}

#[test]
fn ring_q_chains() {
    check("ring (q)", B3, q_chains::<Sound>);
    must_fail("ring (q) with relaxed slot writes", B3, q_chains::<SlotWritesRelaxed>);
    must_fail("ring (q) with relaxed slot reads", B3, q_chains::<SlotReadsRelaxed>);
}

#[test]
fn ring_two_and_two() {
    check("ring (M4)", B3, two_and_two::<Sound>);
    must_fail("ring (M4) with relaxed slot writes", B3, two_and_two::<SlotWritesRelaxed>);
    must_fail("ring (M4) with relaxed slot reads", B3, two_and_two::<SlotReadsRelaxed>);
}

// ---- tier 2 ----

#[test]
#[ignore = "tier 2: the same models, deeper"]
fn ring_deep_bounded() {
    check("ring (c)", B4, c_slot_reclaimed_under_the_killer::<Sound>);
    check("ring (c2)", B4, c2_recycled::<Sound>);
    check("ring (d)", B4, d_batch_pops_race::<Sound>);
    check("ring (f)", B4, || f_laps_wrap::<Sound>(WRAPS[0]));
    check("ring (g2)", B4, || g_slab_cycle::<Sound>(2));
    check("ring (q)", B4, q_chains::<Sound>);
}

#[test]
#[ignore = "tier 2: every interleaving"]
fn ring_deep_unbounded() {
    check("ring (a)", Bound::ALL, a_two_producers::<Sound>);
    check("ring (e)", Bound::ALL, e_batch_keeps_its_order::<Sound>);
    check("ring (k)", Bound::ALL, k_never_empty_beside_a_recycler::<Sound>);
}
