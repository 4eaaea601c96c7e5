//! The targets of a job: each once.

/// A target, by its number, and the lane its copy goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    /// The target.
    pub target: u32,
    /// The lane: 0 is the most urgent.
    pub lane: u8,
}

/// Gathers targets: each once, in the most urgent of the lanes it was offered with.
///
/// ```
/// use ringmill::routing::{Hop, TargetSet};
///
/// let mut set = TargetSet::new();
/// set.begin(8);
/// [Hop { target: 5, lane: 1 }, Hop { target: 2, lane: 0 }, Hop { target: 5, lane: 0 }].map(|hop| set.offer(hop));
/// assert_eq!(set.finish(), [Hop { target: 2, lane: 0 }, Hop { target: 5, lane: 0 }]);
/// ```
#[derive(Debug, Default)]
pub struct TargetSet {
    hops: Vec<Hop>,
    /// Per target: where in `hops` it is, plus one; 0: not there.
    places: Vec<u32>,
}

impl TargetSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Empties the set, for targets below `count`.
    #[inline]
    pub fn begin(&mut self, count: usize) {
        self.hops.iter().for_each(|hop| self.places[hop.target as usize] = 0);
        self.hops.clear();
        if self.places.len() < count {
            self.places.resize(count, 0);
        }
    }

    /// Adds a target, or makes it more urgent.
    #[inline]
    pub fn offer(&mut self, hop: Hop) {
        match &mut self.places[hop.target as usize] {
            place @ 0 => {
                self.hops.push(hop);
                *place = self.hops.len() as u32;
            }
            place => {
                let lane = &mut self.hops[*place as usize - 1].lane;
                *lane = hop.lane.min(*lane);
            }
        }
    }

    /// What was gathered, in the order of the targets' numbers. To be followed by [`begin`](Self::begin).
    #[inline]
    pub fn finish(&mut self) -> &[Hop] {
        if self.hops.len() > 1 {
            self.hops.sort_unstable();
        }
        &self.hops
    }

    /// What [`finish`](Self::finish) returned.
    #[inline]
    pub fn hops(&self) -> &[Hop] {
        &self.hops
    }
}
