//! The rings that entries hang in: one per bucket, each closed by a sentinel.

/// The link of an entry that is in no ring.
pub(super) const NONE: u32 = u32::MAX;

/// An entry (or a bucket's sentinel, which has no due tick).
#[derive(Debug, Clone, Copy)]
struct Node {
    due: u64,
    next: u32,
    prev: u32,
}

const _: () = assert!(size_of::<Node>() == 16, "four entries to a cache line");

/// All entries and all buckets of a wheel. Entries come first; bucket `b` is node `entries + b`.
#[derive(Debug)]
pub(super) struct Lists {
    nodes: Box<[Node]>,
    entries: u32,
}

impl Lists {
    pub(super) fn new(entries: u32, buckets: usize) -> Self {
        assert!(entries < NONE - buckets as u32, "a wheel has room for at most {} entries", NONE - buckets as u32 - 1);
        let total = entries + buckets as u32;
        let node = |id| if id < entries { Node { due: 0, next: NONE, prev: NONE } } else { Node { due: 0, next: id, prev: id } };
        Lists { nodes: (0..total).map(node).collect(), entries }
    }

    /// How many entries there is room for.
    #[inline]
    pub(super) fn entries(&self) -> u32 {
        self.entries
    }

    #[inline]
    fn node(&mut self, id: u32) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    /// The due tick of `id`, if it is in a ring.
    #[inline]
    pub(super) fn due(&self, id: u32) -> Option<u64> {
        // an id behind the entries would name a bucket
        assert!(id < self.entries, "the wheel has no entry {id}");
        let node = &self.nodes[id as usize];
        (node.next != NONE).then_some(node.due)
    }

    /// The first entry of `bucket`, with its due tick.
    #[inline]
    pub(super) fn first(&self, bucket: usize) -> Option<(u32, u64)> {
        let first = self.nodes[self.entries as usize + bucket].next;
        (first < self.entries).then(|| (first, self.nodes[first as usize].due))
    }

    /// Hangs `id`, which is in no ring, at the end of `bucket`.
    #[inline]
    pub(super) fn push_back(&mut self, bucket: usize, id: u32, due: u64) {
        let sentinel = self.entries + bucket as u32;
        let last = self.node(sentinel).prev;
        *self.node(id) = Node { due, next: sentinel, prev: last };
        self.node(last).next = id;
        self.node(sentinel).prev = id;
    }

    /// Takes `id` out of its ring. Returns the bucket if that left it empty.
    #[inline]
    pub(super) fn unlink(&mut self, id: u32) -> Option<usize> {
        let Node { next, prev, .. } = *self.node(id);
        self.node(prev).next = next;
        self.node(next).prev = prev;
        self.node(id).next = NONE;
        // only a sentinel can be both neighbours of a single entry
        (next == prev && next >= self.entries).then(|| (next - self.entries) as usize)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_empty_bucket_has_no_first_entry() {
        let mut lists = Lists::new(2, 3);
        for bucket in 0..3 {
            assert_eq!(lists.first(bucket), None);
            lists.push_back(bucket, 1, 7);
            assert_eq!(lists.first(bucket), Some((1, 7)));
            assert_eq!(lists.unlink(1), Some(bucket));
            assert_eq!((lists.first(bucket), lists.due(1)), (None, None));
        }
    }
}
