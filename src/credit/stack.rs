//! The global free list: a tagged stack of chains (Treiber 1986), one RMW per chain.

use super::rules::{Rules, Sound};
use crate::chain::Chain;
use crate::crash_point;
use crate::limits::{INDEX_BITS, INDEX_NONE};
use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::sync::{CachePadded, peek_u64};
use std::marker::PhantomData;
use std::ops::Range;

/// One push: the tag is above the index.
const TAG_ONE: u64 = 1 << INDEX_BITS;
const FIRST: u64 = INDEX_NONE as u64;

/// A stack of chains over a range of indices, LIFO: the slots used last are the ones still in cache.
///
/// Progress: lock-free. A thread stopped inside `push` or `pop` stops nobody; what it has in hand stays with it.
#[derive(Debug)]
pub struct Stack<R: Rules = Sound> {
    top: CachePadded<Top>,
    /// Per index, `len:8 | below:24`: the length of the chain that starts here and the first index of the chain under it. Written by whoever
    /// pushes the chain, who owns it; read by poppers, perhaps long after: the tag tells them.
    nodes: Box<[AtomicU32]>,
    base: u32,
    rules: PhantomData<R>,
}

/// Both words of this line change with every push and pop.
#[derive(Debug)]
struct Top {
    /// `tag:40 | first:24`. RMWs by everyone. The tag counts pushes: a top that reads the same is the same, because between two equal tops
    /// with one tag there are only pops, and no index comes up twice without a push. It wraps after 2^40 pushes, three hours of nothing but
    /// pushes at 100 million a second, and does harm only if a popper sleeps through exactly that many.
    word: AtomicU64,
    /// How many indices are in the stack. RMWs by everyone; raised before a push and lowered after a pop, so that it never underflows.
    free: AtomicU64,
}

impl Stack {
    /// An empty stack for the indices of `range`.
    pub fn new(range: Range<u32>) -> Self {
        Self::with_rules(range)
    }
}

impl<R: Rules> Stack<R> {
    /// An empty stack under the rules `R`.
    pub fn with_rules(range: Range<u32>) -> Self {
        Stack {
            top: CachePadded::new(Top { word: AtomicU64::new(FIRST), free: AtomicU64::new(0) }),
            nodes: range.clone().map(|_| AtomicU32::new(INDEX_NONE)).collect(),
            base: range.start,
            rules: PhantomData,
        }
    }

    /// Puts a chain, which the caller owns, on top.
    pub fn push(&self, chain: Chain) {
        let Top { word, free } = &*self.top;
        // relaxed: statistics
        free.fetch_add(u64::from(chain.len()), Relaxed);
        let mut top = peek_u64(word);
        loop {
            let node = chain.len() << INDEX_BITS | (top & FIRST) as u32;
            // relaxed: the pusher owns the node until the CAS
            self.node(chain.first()).store(node, Relaxed);
            crash_point!("credit.push");
            let tag = if R::TAGGED { (top & !FIRST).wrapping_add(TAG_ONE) } else { 0 };
            // edge credit.stack, release: the chain's links and node, and the end of the last use of its slots
            // relaxed on failure: CAS re-checks
            match word.compare_exchange_weak(top, tag | u64::from(chain.first()), Release, Relaxed) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }

    /// Takes the top chain; `None` when there is none.
    pub fn pop(&self) -> Option<Chain> {
        let Top { word, free } = &*self.top;
        // edge credit.stack, acquire: links, node and slots of the chain on top. Pops in between are RMWs and keep the push's release alive
        let mut top = word.load(Acquire);
        loop {
            let first = (top & FIRST) as u32;
            if first == INDEX_NONE {
                return None;
            }
            // relaxed: the acquire above; if the chain has been taken and the node rewritten since, the tag fails the CAS
            let node = self.node(first).load(Relaxed);
            crash_point!("credit.pop");
            // relaxed on success: the same top was acquired by the load
            // edge credit.stack, acquire (on failure): the new top
            match word.compare_exchange_weak(top, top & !FIRST | u64::from(node & INDEX_NONE), Relaxed, Acquire) {
                Ok(_) => {
                    let chain = Chain::new(first, node >> INDEX_BITS);
                    // relaxed: statistics
                    free.fetch_sub(u64::from(chain.len()), Relaxed);
                    return Some(chain);
                }
                Err(now) => top = now,
            }
        }
    }

    /// How many indices are in the stack: exact at rest, otherwise too high by what is just being moved.
    pub fn free(&self) -> u32 {
        // relaxed: statistics
        self.top.free.load(Relaxed) as u32
    }

    #[inline]
    fn node(&self, index: u32) -> &AtomicU32 {
        &self.nodes[(index - self.base) as usize]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn what_is_on_top_again_is_not_the_same_top() {
        let stack: Stack = Stack::new(0..4);
        let mut tops = HashSet::new();
        for _ in 0..8 {
            stack.push(Chain::new(2, 2));
            // relaxed: nobody else
            tops.insert(stack.top.word.load(Relaxed));
            assert_eq!((stack.free(), stack.pop(), stack.pop(), stack.free()), (2, Some(Chain::new(2, 2)), None, 0));
        }
        assert_eq!(tops.len(), 8);
        assert!(tops.iter().all(|top| top & FIRST == 2));
    }
}
