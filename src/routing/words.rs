//! The words of a table, numbered.

use std::collections::BTreeMap;

/// "No such word", "no such node".
pub(super) const NONE: u32 = u32::MAX;

/// Words and their numbers: an open hash table, at most half full.
#[derive(Debug)]
pub(super) struct Words {
    /// All words, one behind the other.
    text: Box<str>,
    /// Where the word of each number ends; it begins where the one before it ends.
    ends: Box<[u32]>,
    cells: Box<[Cell]>,
    shift: u32,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    /// The upper half of the hash.
    hash: u32,
    /// NONE: free.
    word: u32,
}

impl Words {
    /// The words, which are numbered 0, 1, 2... in some order.
    pub(super) fn new(words: &BTreeMap<&str, u32>) -> Self {
        let mut by_number = vec![""; words.len()];
        words.iter().for_each(|(word, &number)| by_number[number as usize] = word);
        let cells = (2 * words.len()).next_power_of_two().max(2);
        let shift = 64 - cells.trailing_zeros();
        let mut made =
            Words { text: by_number.concat().into(), ends: Box::new([]), cells: vec![Cell { hash: 0, word: NONE }; cells].into(), shift };
        made.ends = by_number
            .iter()
            .scan(0, |end, word| {
                *end += word.len() as u32;
                Some(*end)
            })
            .collect();
        for (number, word) in by_number.iter().enumerate() {
            let hash = hash(word.as_bytes());
            let mut at = (hash >> shift) as usize;
            while made.cells[at].word != NONE {
                at = (at + 1) & (cells - 1);
            }
            made.cells[at] = Cell { hash: (hash >> 32) as u32, word: number as u32 };
        }
        made
    }

    /// The number of a word, or NONE.
    #[inline]
    pub(super) fn find(&self, word: &[u8]) -> u32 {
        let hash = hash(word);
        let mask = self.cells.len() - 1;
        let mut at = (hash >> self.shift) as usize & mask;
        loop {
            let cell = self.cells[at];
            if cell.word == NONE || (cell.hash == (hash >> 32) as u32 && self.text(cell.word) == word) {
                return cell.word;
            }
            at = (at + 1) & mask;
        }
    }

    #[inline]
    fn text(&self, word: u32) -> &[u8] {
        let word = word as usize;
        let begin = if word == 0 { 0 } else { self.ends[word - 1] };
        &self.text.as_bytes()[begin as usize..self.ends[word] as usize]
    }
}

/// A multiplicative hash, good in its upper bits, for what may collide: the words in a table are the program's own, and a cache only misses.
#[inline]
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let four = |at: usize| u64::from(u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
    let eight = |at: usize| four(at) | four(at + 4) << 32;
    let len = bytes.len();
    let mut state = mix(len as u64, 0);
    // the last piece overlaps the one before it where the length is no multiple
    match len {
        0 => state,
        1..4 => mix(state, u64::from(bytes[0]) | u64::from(bytes[len / 2]) << 8 | u64::from(bytes[len - 1]) << 16),
        4..=8 => mix(state, four(0) | four(len - 4) << 32),
        _ => {
            (0..len - 8).step_by(8).for_each(|at| state = mix(state, eight(at)));
            mix(state, eight(len - 8))
        }
    }
}

#[inline]
fn mix(state: u64, piece: u64) -> u64 {
    let mixed = (state ^ piece).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ mixed >> 29
}
