//! Where a key is looked for: one cache line of words that lead to entries.

use crate::key::Key;
use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};
use crate::sync::prefetch_for_write;

/// How many entries a line leads to; the others of that line are a list.
const WORDS: usize = if cfg!(loom) { 2 } else { 14 };
/// How many keys there are to a line, when as many are taken as may be. Then one line in 58 has a list.
const KEYS_PER_LINE: usize = 8;

/// The words of the keys whose hash leads here. Written under the lock of the line's shard, read there and by [looks](Home::may_have) without it.
///
/// ```text
/// word:  | tag: bits of the key's hash, never 0 | index of the entry |     0: free
///         31                                   i                    0     i: as many bits as the bound has
/// ```
#[derive(Debug)]
#[repr(align(64))]
struct Line {
    words: [AtomicU32; WORDS],
    /// One bit for each word that is not free. Written and read under the shard's lock.
    used: AtomicU32,
    /// One more than the index of the first entry that found no word; 0: there is none.
    list: AtomicU32,
}

/// The lines of a table.
#[derive(Debug)]
pub(super) struct Lines {
    lines: Box<[Line]>,
    index_bits: u32,
}

/// The line of a key, and how its word begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Home<'a> {
    line: &'a Line,
    /// The number of the line.
    pub(super) at: usize,
    tag: u32,
    index_mask: u32,
}

impl Lines {
    /// Lines for `bound` keys, as many as `shards` have in equal parts.
    pub(super) fn new(bound: usize, shards: usize) -> Self {
        let index_bits = usize::BITS - bound.saturating_sub(1).leading_zeros();
        assert!(index_bits < u32::BITS, "{bound} keys are more than a table can have");
        let count = bound.div_ceil(KEYS_PER_LINE).next_multiple_of(shards).max(shards);
        let line = || Line { words: std::array::from_fn(|_| AtomicU32::new(0)), used: AtomicU32::new(0), list: AtomicU32::new(0) };
        Lines { lines: (0..count).map(|_| line()).collect(), index_bits }
    }

    /// Where `key` is, if it is anywhere.
    #[inline]
    pub(super) fn home(&self, key: Key) -> Home<'_> {
        let (high, low) = key.halves();
        let at = ((u128::from(high) * self.lines.len() as u128) >> u64::BITS) as usize;
        let tag = ((low >> (u32::BITS + self.index_bits)) as u32).max(1) << self.index_bits;
        Home { line: &self.lines[at], at, tag, index_mask: (1 << self.index_bits) - 1 }
    }
}

/// Where an entry hangs on its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hook {
    /// On this word.
    Word(u8),
    /// In the list: one more than the index of the next one, 0 at its end.
    List(u32),
}

impl Home<'_> {
    /// Asks for the line.
    #[inline]
    pub(super) fn prefetch(&self) {
        prefetch_for_write(self.line);
    }

    /// True when the key may be taken; false only when it is not. Without a lock, so the answer may be old: a key that somebody claims meanwhile may be
    /// missed, but none that was claimed before and is taken all the time, because no entry ever moves from its word or out of the list.
    #[inline]
    pub(super) fn may_have(&self) -> bool {
        // relaxed, both: who needs certainty asks under the lock
        let mut seen = self.line.list.load(Relaxed) != 0;
        for word in &self.line.words {
            seen |= word.load(Relaxed) ^ self.tag <= self.index_mask;
        }
        seen
    }

    /// The first entry of which `is_it` is true, among those whose tag is the key's and those of the list. Under the lock.
    #[inline]
    pub(super) fn find(&self, is_it: impl Fn(u32) -> bool, next: impl Fn(u32) -> u32) -> Option<u32> {
        for word in &self.line.words {
            // relaxed: under the shard's lock
            let word = word.load(Relaxed);
            if word ^ self.tag <= self.index_mask && is_it(word & self.index_mask) {
                return Some(word & self.index_mask);
            }
        }
        // relaxed: under the shard's lock
        let mut at = self.line.list.load(Relaxed);
        while at != 0 {
            if is_it(at - 1) {
                return Some(at - 1);
            }
            at = next(at - 1);
        }
        None
    }

    /// Hangs an entry here. Under the lock.
    #[inline]
    pub(super) fn hang(&self, index: u32) -> Hook {
        // relaxed: under the shard's lock, as all of these
        let used = self.line.used.load(Relaxed);
        let free = used.trailing_ones();
        if let Some(word) = self.line.words.get(free as usize) {
            // relaxed, both: a look may see it late
            word.store(self.tag | index, Relaxed);
            self.line.used.store(used | 1 << free, Relaxed);
            return Hook::Word(free as u8);
        }
        // relaxed, both: a look may see it late
        let next = self.line.list.load(Relaxed);
        self.line.list.store(index + 1, Relaxed);
        Hook::List(next)
    }

    /// Takes an entry from here that hangs on a word.
    #[inline]
    pub(super) fn clear_word(&self, word: u8) {
        // relaxed, all: under the shard's lock; a look may see it late
        self.line.words[usize::from(word)].store(0, Relaxed);
        self.line.used.store(self.line.used.load(Relaxed) & !(1 << word), Relaxed);
    }

    /// The first of the list, as in [`Hook::List`]. Under the lock.
    pub(super) fn list(&self) -> u32 {
        // relaxed: under the shard's lock
        self.line.list.load(Relaxed)
    }

    /// The list begins here now. Under the lock.
    pub(super) fn set_list(&self, first: u32) {
        // relaxed: under the shard's lock; a look may see it late
        self.line.list.store(first, Relaxed);
    }
}
