//! What one pop took.

use crate::chain::Chain;
use crate::limits::PREFETCH_MAX;

/// The most chains one pop takes.
pub const POPPED_MAX: usize = PREFETCH_MAX as usize;

/// The chains one pop took, oldest first. A fixed array: make one, reuse it for every pop.
///
/// The indices in it belong to whoever popped; a `Popped` that is cleared unread has lost them.
#[derive(Debug, Clone)]
pub struct Popped {
    chains: [Chain; POPPED_MAX],
    len: u32,
    indices: u32,
}

impl Popped {
    /// Nothing yet.
    pub const fn new() -> Self {
        Popped { chains: [Chain::one(0); POPPED_MAX], len: 0, indices: 0 }
    }

    /// The chains, oldest first.
    #[inline]
    pub fn chains(&self) -> &[Chain] {
        &self.chains[..self.len as usize]
    }

    /// How many indices the chains hold together.
    #[inline]
    pub fn indices(&self) -> u32 {
        self.indices
    }

    /// True when it holds nothing.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many chains: as many tickets.
    #[inline]
    pub(super) fn tickets(&self) -> u64 {
        u64::from(self.len)
    }

    /// Forgets what it holds.
    pub(super) fn clear(&mut self) {
        (self.len, self.indices) = (0, 0);
    }

    /// Forgets what it holds, and takes up to `max` indices.
    #[inline]
    pub(super) fn refill(&mut self, max: u32) -> Refill<'_> {
        self.clear();
        Refill { popped: self, len: 0, indices: 0, max }
    }
}

/// A [`Popped`] in the making. The counts are in hand until it is done: in the `Popped` they would be written with every chain.
pub(super) struct Refill<'a> {
    popped: &'a mut Popped,
    len: u32,
    indices: u32,
    max: u32,
}

impl Refill<'_> {
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many chains: as many tickets.
    #[inline]
    pub(super) fn tickets(&self) -> u64 {
        u64::from(self.len)
    }

    /// Whether `chain` may join without the total passing the maximum. The first always may.
    #[inline]
    pub(super) const fn fits(&self, chain: Chain) -> bool {
        self.len == 0 || self.indices + chain.len() <= self.max
    }

    /// Adds a chain that fits. True if no further chain can join.
    #[inline]
    pub(super) fn add(&mut self, chain: Chain) -> bool {
        self.popped.chains[self.len as usize] = chain;
        self.len += 1;
        self.indices += chain.len();
        self.indices >= self.max || self.len as usize == POPPED_MAX
    }

    #[inline]
    pub(super) fn finish(self) {
        (self.popped.len, self.popped.indices) = (self.len, self.indices);
    }
}

impl Default for Popped {
    fn default() -> Self {
        Self::new()
    }
}
