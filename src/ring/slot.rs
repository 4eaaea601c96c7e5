//! The slot word: which ticket wrote it, and what it carries.
//!
//! ```text
//!   63                    lg+5 lg+4          lg lg-1            0
//!  +--------------------------+----------------+----------------+
//!  |  lap = ticket >> lg      |    len - 1     |  first index   |
//!  +--------------------------+----------------+----------------+
//!        59 - lg bits               5 bits           lg bits
//! ```
//!
//! The lap is the ticket with its position cut off, so `word - tag(ticket)` (wrapping) answers every question at once: below 2^(lg+5) the word
//! belongs to this very ticket, negative it is from an earlier lap, otherwise from a later one. Laps wrap after 2^59 tickets; a thread would
//! have to sleep through 2^58 of them (nine years at a billion a second) inside one operation to take an old word for a new one.

use crate::chain::Chain;
use crate::limits::CHAIN_MAX;

/// Bits of `len - 1`.
const LEN_BITS: u32 = 5;
/// How far the lap is shifted above its place in the ticket: room for the length.
const LAP_SHIFT: u32 = LEN_BITS;

const _: () = assert!(CHAIN_MAX == 1 << LEN_BITS, "len - 1 fills its field exactly");

/// What a slot word means to the holder of a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// This chain was published with the ticket.
    Filled(Chain),
    /// From an earlier lap: the ticket is not filled.
    Older,
    /// From a later lap: the ticket was filled, and taken.
    Newer,
}

/// How the words of a ring with 2^`lg` slots are packed. Pure arithmetic, total over all tickets and words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotLayout {
    lg: u32,
    /// 2^lg. Kept, because it is wanted several times an operation.
    slots: u64,
}

impl SlotLayout {
    /// The layout of a ring that must hold `capacity` indices: at least two slots, a power of two.
    #[inline]
    pub const fn for_capacity(capacity: u32) -> Self {
        let slots = if capacity < 2 { 2 } else { (capacity as u64).next_power_of_two() };
        SlotLayout { lg: slots.trailing_zeros(), slots }
    }

    /// How many slots.
    #[inline]
    pub const fn slots(self) -> u64 {
        self.slots
    }

    /// Where the slot of `ticket` is.
    #[inline]
    pub const fn position(self, ticket: u64) -> usize {
        (ticket & (self.slots() - 1)) as usize
    }

    /// The word that publishes `chain` with `ticket`. The index must be below [`slots`](Self::slots).
    #[inline]
    pub const fn filled(self, ticket: u64, chain: Chain) -> u64 {
        debug_assert!((chain.first() as u64) < self.slots());
        self.tag(ticket) | ((chain.len() - 1) as u64) << self.lg | chain.first() as u64
    }

    /// The word of a slot whose first ticket will be `ticket`: one of the lap before.
    #[inline]
    pub const fn vacant(self, ticket: u64) -> u64 {
        self.tag(ticket.wrapping_sub(self.slots()))
    }

    /// What `word`, read from the slot of `ticket`, means to it.
    #[inline]
    pub const fn decode(self, word: u64, ticket: u64) -> Seen {
        let distance = word.wrapping_sub(self.tag(ticket));
        if distance < self.slots() << LAP_SHIFT {
            let len = (distance >> self.lg) as u32 + 1;
            Seen::Filled(Chain::new((distance & (self.slots() - 1)) as u32, len))
        } else if self.is_older(word, ticket) {
            Seen::Older
        } else {
            Seen::Newer
        }
    }

    /// Whether `word` is from an earlier lap than `ticket`: [`decode`](Self::decode) says [`Older`](Seen::Older).
    #[inline]
    pub const fn is_older(self, word: u64, ticket: u64) -> bool {
        (word.wrapping_sub(self.tag(ticket)) as i64) < 0
    }

    /// The ticket with which `word` was published. It was read from the slot of `ticket`, and is not older.
    #[inline]
    pub const fn written(self, word: u64, ticket: u64) -> u64 {
        let laps = word.wrapping_sub(self.tag(ticket)) >> (self.lg + LAP_SHIFT);
        ticket.wrapping_add(laps << self.lg)
    }

    /// The lap of `ticket`, where words carry it.
    #[inline]
    const fn tag(self, ticket: u64) -> u64 {
        (ticket & !(self.slots() - 1)) << LAP_SHIFT
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::limits::CAPACITY_MAX;

    const WRAP: u64 = 1 << 59;

    fn origins(layout: SlotLayout) -> impl Iterator<Item = u64> {
        let lap = layout.slots();
        [0, lap, 7 * lap, (u64::from(u32::MAX) - 1) * lap, WRAP - 2 * lap, WRAP - lap, WRAP, u64::MAX - 2 * lap + 1, u64::MAX - lap + 1]
            .into_iter()
    }

    #[test]
    fn slots_are_a_power_of_two_and_at_least_two() {
        for (capacity, slots) in
            [(0, 2), (1, 2), (2, 2), (3, 4), (4, 4), (5, 8), (255, 256), (256, 256), (257, 512), (CAPACITY_MAX, 1 << 24)]
        {
            assert_eq!(SlotLayout::for_capacity(capacity).slots(), slots, "capacity {capacity}");
        }
    }

    #[test]
    fn every_index_and_length_comes_back() {
        let layout = SlotLayout::for_capacity(16);
        for origin in origins(layout) {
            for position in 0..16 {
                let ticket = origin.wrapping_add(position);
                for first in 0..16 {
                    for len in 1..=CHAIN_MAX {
                        let chain = Chain::new(first, len);
                        assert_eq!(layout.decode(layout.filled(ticket, chain), ticket), Seen::Filled(chain), "ticket {ticket:#x}");
                        assert!(!layout.is_older(layout.filled(ticket, chain), ticket));
                    }
                }
                assert_eq!(layout.decode(layout.vacant(ticket), ticket), Seen::Older);
            }
        }
    }

    #[test]
    fn the_largest_ring_has_room_for_its_largest_index_and_chain() {
        let layout = SlotLayout::for_capacity(CAPACITY_MAX);
        let chain = Chain::new(CAPACITY_MAX - 1, CHAIN_MAX);
        for origin in origins(layout) {
            assert_eq!(layout.decode(layout.filled(origin, chain), origin), Seen::Filled(chain));
            assert_eq!(layout.decode(layout.filled(origin, chain), origin.wrapping_add(layout.slots())), Seen::Older);
        }
    }

    #[test]
    fn other_laps_are_older_or_newer_however_far() {
        let layout = SlotLayout::for_capacity(4);
        let chain = Chain::new(3, 32);
        for origin in origins(layout) {
            for laps in [1, 2, 3, 1 << 31, 1 << 32, (1 << 55) - 1] {
                let later = origin.wrapping_add(laps * 4);
                let (mine, theirs) = (layout.filled(origin, chain), layout.filled(later, chain));
                assert_eq!(layout.decode(mine, later), Seen::Older, "{laps} laps");
                assert_eq!(layout.decode(theirs, origin), Seen::Newer, "{laps} laps");
                assert_eq!((layout.written(mine, origin), layout.written(theirs, origin)), (origin, later), "{laps} laps");
            }
        }
    }

    #[test]
    fn no_two_tickets_of_a_window_share_a_word() {
        let layout = SlotLayout::for_capacity(2);
        let mut words: Vec<u64> = (0..64u64)
            .flat_map(|ticket| {
                let chains = (0..2).flat_map(|first| (1..=CHAIN_MAX).map(move |len| Chain::new(first, len)));
                let position_is_fixed = ticket % 2 == 0;
                chains.map(move |chain| layout.filled(ticket, chain)).filter(move |_| position_is_fixed)
            })
            .collect();
        let count = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), count);
    }
}
