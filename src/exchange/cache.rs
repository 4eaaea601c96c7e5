//! The keys a publisher published by before, and the one target that each leads to.

use crate::limits::{CACHED_KEY_BYTES_MAX, CACHED_KEYS};
use crate::routing::{Hop, hash};
use std::fmt;

/// A cache of keys that lead to one target, whatever the job: 4-way set associative, for one thread and one table.
///
/// A service publishes by few keys, and by those again and again: the NATS server keeps such a cache beside its trie of subjects. A look-up is one hash of the key and one line
/// of memory. Nothing is allocated after the first key; what does not fit puts out another.
///
/// ```
/// use ringmill::exchange::KeyCache;
/// use ringmill::routing::Hop;
///
/// let mut cache = KeyCache::new();
/// cache.keep("billing.paid", Hop { target: 2, lane: 1 });
/// assert_eq!(cache.find("billing.paid"), Some(Hop { target: 2, lane: 1 }));
/// assert_eq!(cache.find("billing.open"), None);
/// cache.clear(); // the bindings have changed
/// assert_eq!(cache.find("billing.paid"), None);
/// ```
#[derive(Default)]
pub struct KeyCache {
    /// Per set: of the key in each cell some bits of its hash, or 0: free.
    tags: Box<[[u32; WAYS]]>,
    cells: Box<[[Cell; WAYS]]>,
    /// Which cell of a full set the next key takes.
    turn: usize,
}

const WAYS: usize = 4;
const SETS: usize = CACHED_KEYS / WAYS;
const _: () = assert!(SETS.is_power_of_two() && size_of::<Cell>() == 64);

/// A key and where it leads: a cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Cell {
    hop: Hop,
    len: u8,
    text: [u8; CACHED_KEY_BYTES_MAX],
}

/// Where a key is, if it is there.
struct Home {
    set: usize,
    tag: u32,
}

impl Home {
    #[inline]
    fn of(key: &[u8]) -> Self {
        let hash = hash(key);
        // the upper bits of the hash are its best
        Home { set: (hash >> (u64::BITS - SETS.trailing_zeros())) as usize, tag: (hash >> 20) as u32 | 1 }
    }
}

impl KeyCache {
    /// An empty one, which has no memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The target that `key` leads to, if it is known.
    #[inline]
    pub fn find(&self, key: &str) -> Option<Hop> {
        let key = key.as_bytes();
        if self.tags.is_empty() {
            return None;
        }
        let Home { set, tag } = Home::of(key);
        let cells = self.tags[set].iter().zip(&self.cells[set]);
        cells.filter(|(of, _)| **of == tag).find(|(_, cell)| cell.text[..cell.len.into()] == *key).map(|(_, cell)| cell.hop)
    }

    /// Keeps that `key` leads to `hop`. Longer keys than [`CACHED_KEY_BYTES_MAX`] are not kept.
    pub fn keep(&mut self, key: &str, hop: Hop) {
        let mut text = [0; CACHED_KEY_BYTES_MAX];
        let Some(room) = text.get_mut(..key.len()) else {
            return;
        };
        room.copy_from_slice(key.as_bytes());
        if self.tags.is_empty() {
            self.tags = vec![[0; WAYS]; SETS].into();
            self.cells = vec![[Cell { hop, len: 0, text: [0; CACHED_KEY_BYTES_MAX] }; WAYS]; SETS].into();
        }
        let Home { set, tag } = Home::of(key.as_bytes());
        let way = self.tags[set].iter().position(|&of| of == tag || of == 0).unwrap_or_else(|| {
            self.turn = (self.turn + 1) % WAYS;
            self.turn
        });
        self.tags[set][way] = tag;
        self.cells[set][way] = Cell { hop, len: key.len() as u8, text };
    }

    /// Forgets all keys.
    pub fn clear(&mut self) {
        self.tags.fill([0; WAYS]);
    }
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.tags.iter().flatten().filter(|&&tag| tag != 0).count();
        f.debug_struct("KeyCache").field("keys", &keys).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn hop(target: u32) -> Hop {
        Hop { target, lane: 0 }
    }

    #[test]
    fn keys_of_every_length_that_is_kept() {
        let mut cache = KeyCache::new();
        let long = "x".repeat(CACHED_KEY_BYTES_MAX + 1);
        for len in 1..=CACHED_KEY_BYTES_MAX {
            cache.keep(&long[..len], hop(len as u32));
        }
        cache.keep(&long, hop(0));
        let known: Vec<u32> = (1..=long.len()).filter_map(|len| cache.find(&long[..len])).map(|hop| hop.target).collect();
        assert_eq!(known, (1..=CACHED_KEY_BYTES_MAX as u32).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_set_puts_one_out_and_keeps_the_others() {
        let mut cache = KeyCache::new();
        let set = |key: &String| Home::of(key.as_bytes()).set == 0;
        let keys: Vec<String> = (0..).map(|n: u32| format!("key.{n}")).filter(set).take(3 * WAYS).collect();
        for (n, key) in keys.iter().enumerate() {
            cache.keep(key, hop(n as u32));
            assert_eq!(cache.find(key), Some(hop(n as u32)));
            assert_eq!(keys.iter().filter(|key| cache.find(key).is_some()).count(), (n + 1).min(WAYS));
        }
    }

    proptest! {
        /// What it knows is what it was told last; after `clear` it knows nothing.
        #[test]
        fn it_never_lies(acts in prop::collection::vec((0..3_000_u32, 0..9_u32, 0..200_u8), 1..3_000)) {
            let (mut cache, mut told) = (KeyCache::new(), HashMap::new());
            for (key, target, act) in acts {
                let key = format!("{key}.{}", "k".repeat(key as usize % 60));
                if act == 0 {
                    cache.clear();
                    told.clear();
                }
                match cache.find(&key) {
                    Some(hop) => prop_assert_eq!(told.get(&key), Some(&hop)),
                    None => {
                        cache.keep(&key, hop(target));
                        told.insert(key, hop(target));
                    }
                }
            }
        }
    }
}
