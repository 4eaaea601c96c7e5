//! Where a word leads from a node.

use super::words::NONE;

/// (node, word) -> node: an open hash table, at most half full.
#[derive(Debug)]
pub(super) struct Edges {
    cells: Box<[Cell]>,
    shift: u32,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    from: u32,
    word: u32,
    /// NONE: free.
    to: u32,
}

impl Edges {
    /// A table of these edges; no two of them leave a node with the same word.
    pub(super) fn new(edges: &[(u32, u32, u32)]) -> Self {
        let cells = (2 * edges.len()).next_power_of_two().max(2);
        let mut made = Edges { cells: vec![Cell { from: 0, word: 0, to: NONE }; cells].into(), shift: 64 - cells.trailing_zeros() };
        for &(from, word, to) in edges {
            let mut at = made.home(from, word);
            while made.cells[at].to != NONE {
                at = (at + 1) & (cells - 1);
            }
            made.cells[at] = Cell { from, word, to };
        }
        made
    }

    /// The node behind `word` at `from`, or NONE.
    #[inline]
    pub(super) fn find(&self, from: u32, word: u32) -> u32 {
        let mask = self.cells.len() - 1;
        let mut at = self.home(from, word);
        loop {
            let cell = self.cells[at & mask];
            if cell.to == NONE || (cell.from == from && cell.word == word) {
                return cell.to;
            }
            at += 1;
        }
    }

    #[inline]
    fn home(&self, from: u32, word: u32) -> usize {
        let key = u64::from(from) << 32 | u64::from(word);
        let mixed = (key ^ key >> 31).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> self.shift) as usize
    }
}
