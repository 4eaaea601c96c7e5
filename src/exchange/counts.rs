//! What an exchange counts, as the [ledger](crate::ledger) of a queue does: one writer per block, added up by whoever reads.

use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::statistics::AtomicU64;
use crate::sync::{CachePadded, Mutex};
use std::sync::Arc;

macro_rules! counts {
    ($($(#[$doc:meta])* $variant:ident $field:ident,)*) => {
        /// One thing that is counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Count { $($(#[$doc])* $variant,)* }

        const COUNTS: usize = [$(Count::$variant),*].len();

        /// What an exchange counted, added up over its publishers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[non_exhaustive]
        pub struct ExchangeCounts { $($(#[$doc])* pub $field: u64,)* }

        impl ExchangeCounts {
            fn add(&mut self, block: &Block) {
                // relaxed: statistics
                $(self.$field += block.0[Count::$variant as usize].load(Relaxed);)*
            }
        }
    };
}

counts! {
    /// Jobs that at least one queue took.
    Routed routed,
    /// Copies that queues took beyond the first of a job: of fan-outs.
    ExtraCopies extra_copies,
    /// Jobs that no binding and no alternate exchange wanted.
    Unroutable unroutable,
    /// Jobs that no binding wanted and the alternate exchange was asked to take.
    ToAlternate to_alternate,
    /// Jobs that were routed and that a queue refused.
    Refused refused,
    /// Copies that a queue refused, in fan-outs of which others took theirs.
    Missed missed,
    /// Jobs published under something that is no routing key.
    BadKeys bad_keys,
}

impl ExchangeCounts {
    /// Copies that queues took.
    pub fn copies(&self) -> u64 {
        self.routed + self.extra_copies
    }
}

/// The counts of one publisher. One writer, many readers.
#[derive(Debug)]
pub struct Block(CachePadded<[AtomicU64; COUNTS]>);

impl Block {
    /// Counts `many`. Only the block's writer calls this.
    #[inline]
    pub fn add(&self, count: Count, many: u64) {
        let cell = &self.0[count as usize];
        // relaxed: single writer
        cell.store(cell.load(Relaxed) + many, Relaxed);
    }
}

/// The blocks of an exchange's publishers.
#[derive(Debug, Default)]
pub struct ExchangeLedger {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    live: Vec<Arc<Block>>,
    retired: ExchangeCounts,
}

impl ExchangeLedger {
    /// A block for a new publisher.
    pub fn open(&self) -> Arc<Block> {
        let block = Arc::new(Block(CachePadded::new(std::array::from_fn(|_| AtomicU64::new(0)))));
        self.inner.lock().live.push(Arc::clone(&block));
        block
    }

    /// Folds the block of a publisher that is gone into the retired total.
    pub fn retire(&self, block: &Arc<Block>) {
        let mut inner = self.inner.lock();
        if let Some(at) = inner.live.iter().position(|live| Arc::ptr_eq(live, block)) {
            let block = inner.live.swap_remove(at);
            inner.retired.add(&block);
        }
    }

    /// Everything, added up. While publishers count, the sum is of slightly different moments.
    pub fn counts(&self) -> ExchangeCounts {
        let inner = self.inner.lock();
        let mut counts = inner.retired;
        inner.live.iter().for_each(|block| counts.add(block));
        counts
    }
}
