//! The index ring against a `VecDeque`, and its slot words against plain arithmetic.

use proptest::prelude::*;
use ringmill::chain::Chain;
use ringmill::limits::CHAIN_MAX;
use ringmill::ring::{IndexRing, POPPED_MAX, Popped, Seen, SlotLayout};
use std::collections::VecDeque;

/// The laps of a word wrap here.
const WORD_WRAP: u64 = 1 << 58;

/// Origins where something wraps: a 32-bit lap, the word's lap, the ticket; and anywhere.
fn origins(slots: u64) -> impl Strategy<Value = u64> {
    let near = |wrap: u64| (0..3 * slots).prop_map(move |back| wrap.wrapping_sub(back));
    prop_oneof![Just(0), Just(slots), near((1 << 32) * slots), near(WORD_WRAP), near(0), any::<u64>()]
}

fn capacities() -> impl Strategy<Value = u32> {
    prop_oneof![1u32..=17, 255u32..=257]
}

#[derive(Debug, Clone)]
enum Step {
    /// Chains of these lengths, one push each or one batch.
    Push {
        lens: Vec<u32>,
        batch: bool,
    },
    Pop {
        max: u32,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lens = prop::collection::vec(prop_oneof![3 => Just(1u32), 1 => 1u32..=CHAIN_MAX], 0..40);
    let step = prop_oneof![
        (lens, any::<bool>()).prop_map(|(lens, batch)| Step::Push { lens, batch }),
        (0u32..70).prop_map(|max| Step::Pop { max }),
    ];
    prop::collection::vec(step, 1..80)
}

/// What a pop of at most `max` indices must take.
fn model_pop(model: &mut VecDeque<Chain>, max: u32) -> Vec<Chain> {
    let (mut taken, mut total) = (vec![], 0);
    while let Some(&chain) = model.front() {
        let fits = taken.is_empty() || total + chain.len() <= max;
        if !fits || taken.len() == POPPED_MAX {
            break;
        }
        total += chain.len();
        taken.extend(model.pop_front());
        if total >= max {
            break;
        }
    }
    taken
}

proptest! {
    #[test]
    fn the_ring_is_a_queue((capacity, origin) in capacities().prop_flat_map(|capacity| {
        (Just(capacity), origins(SlotLayout::for_capacity(capacity).slots()))
    }), steps in steps()) {
        let ring = IndexRing::with_origin(capacity, origin);
        let mut model = VecDeque::new();
        // indices not in the ring, the least recently used first
        let mut free: VecDeque<u32> = (0..capacity).collect();
        let mut out = Popped::new();
        for step in steps {
            match step {
                Step::Push { lens, batch } => {
                    // the indices behind the first of a chain are held by it too
                    let mut chains = vec![];
                    for len in lens {
                        let len = len.min(free.len() as u32);
                        if len > 0 {
                            let indices: Vec<u32> = free.drain(..len as usize).collect();
                            chains.push((Chain::new(indices[0], len), indices));
                        }
                    }
                    let plain: Vec<Chain> = chains.iter().map(|chain| chain.0).collect();
                    if batch {
                        ring.push_batch(&plain);
                    } else {
                        plain.iter().for_each(|&chain| ring.push(chain));
                    }
                    model.extend(chains);
                }
                Step::Pop { max } => {
                    let mut fronts: VecDeque<Chain> = model.iter().map(|chain| chain.0).collect();
                    let expected = model_pop(&mut fronts, max);
                    prop_assert_eq!(ring.pop(max, &mut out), !expected.is_empty());
                    prop_assert_eq!(out.chains(), &expected[..]);
                    prop_assert_eq!(out.indices(), expected.iter().map(Chain::len).sum::<u32>());
                    for _ in expected {
                        free.extend(model.pop_front().map(|chain| chain.1).unwrap_or_default());
                    }
                }
            }
            prop_assert_eq!(ring.len_hint(), model.len() as u64);
            prop_assert_eq!(ring.peek(), model.front().map(|chain| chain.0.first()));
        }
    }

    #[test]
    fn a_slot_word_says_what_was_packed(lg in 1u32..=24, ticket in any::<u64>(), first in any::<u32>(), len in 1..=CHAIN_MAX) {
        let layout = SlotLayout::for_capacity((1 << lg) - u32::from(lg == 24));
        prop_assert_eq!(layout.slots(), 1 << lg);
        // the largest ring has one slot more than indices
        let chain = Chain::new((first & ((1 << lg) - 1)).min((1 << 24) - 2), len);
        prop_assert_eq!(layout.decode(layout.filled(ticket, chain), ticket), Seen::Filled(chain));
        prop_assert_eq!(layout.written(layout.filled(ticket, chain), ticket), ticket);
        prop_assert_eq!(layout.decode(layout.vacant(ticket), ticket), Seen::Older);
        prop_assert_eq!(layout.position(ticket) as u64, ticket % layout.slots());
    }

    #[test]
    fn laps_apart_are_told_apart(lg in 1u32..=24, ticket in any::<u64>(), laps in 1u64..1 << 33, first in any::<u32>(), len in 1..=CHAIN_MAX) {
        let layout = SlotLayout::for_capacity((1 << lg) - u32::from(lg == 24));
        // as far as words reach: half of all tickets
        let laps = laps.min((WORD_WRAP >> lg) / 2 - 1);
        let later = ticket.wrapping_add(laps * layout.slots());
        let chain = Chain::new((first & ((1 << lg) - 1)).min((1 << 24) - 2), len);
        prop_assert_eq!(layout.decode(layout.filled(ticket, chain), later), Seen::Older);
        prop_assert_eq!(layout.decode(layout.filled(later, chain), ticket), Seen::Newer);
        prop_assert_eq!(layout.written(layout.filled(later, chain), ticket), later);
    }
}
