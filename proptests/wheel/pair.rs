//! The wheel under test beside a sorted map.

use ringmill::wheel::{Advance, Wheel};
use std::collections::BTreeMap;

pub const CAPACITY: u32 = 24;
/// An entry that waits for the end of time throughout: a far timer must not disturb the near ones.
pub const FAR: u32 = CAPACITY;

/// A tick in relation to the cursor.
#[derive(Debug, Clone, Copy)]
pub enum Tick {
    Ahead(u64),
    Behind(u64),
    /// `factor * 64^level + off` in absolute ticks from the start of the cursor's own round of that level.
    Boundary {
        level: u32,
        factor: u64,
        off: i64,
    },
    End,
}

impl Tick {
    pub fn from(self, now: u64) -> u64 {
        match self {
            Tick::Ahead(by) => now.saturating_add(by),
            Tick::Behind(by) => now.saturating_sub(by),
            Tick::Boundary { level, factor, off } => {
                let bucket = 1u64 << (6 * level);
                (now / bucket * bucket).saturating_add(factor.saturating_mul(bucket)).saturating_add_signed(off)
            }
            Tick::End => u64::MAX,
        }
    }
}

/// The wheel under test beside a sorted map of (due, insertion number) -> id.
pub struct Pair {
    pub wheel: Wheel,
    pub model: BTreeMap<(u64, u64), u32>,
    inserted: u64,
    /// The last advance was interrupted: the order of equal dues is not promised from here on.
    interrupted: bool,
    /// That has never happened.
    pub fifo: bool,
}

impl Pair {
    pub fn new(origin: u64) -> Self {
        let wheel = Wheel::new(CAPACITY + 1, origin);
        let mut pair = Pair { wheel, model: BTreeMap::new(), inserted: 0, interrupted: false, fifo: true };
        pair.put(FAR, u64::MAX);
        pair
    }

    pub fn put(&mut self, id: u32, due: u64) {
        self.model.retain(|_, other| *other != id);
        self.model.insert((due.max(self.wheel.now()), self.inserted), id);
        self.inserted += 1;
        self.wheel.reschedule(id, due);
    }

    pub fn advance(&mut self, to: u64, budget: usize) -> Advance {
        let (before, model, fifo) = (self.wheel.now(), &mut self.model, self.fifo);
        let (mut count, mut last) = (0, 0);
        let left = self.wheel.advance(to, budget, |id| {
            let ((due, _), expected) = model.pop_first().expect("the wheel fires what the model does not have");
            if fifo {
                assert_eq!(id, expected, "order at tick {due}");
            } else if id != expected {
                // an equal of the expected one
                let key = *model.iter().find(|(_, other)| **other == id).expect("the wheel fires what the model does not have").0;
                assert_eq!(key.0, due, "order of ticks");
                let seq = key.1;
                model.remove(&key);
                model.insert((due, seq), expected);
            }
            assert!(due <= to.max(before), "{id} is due at {due}, fired by {to}");
            assert!(due >= last, "order of ticks");
            last = due;
            count += 1;
        });
        assert!(count <= budget.max(1), "{count} fired on a budget of {budget}");
        self.interrupted = left == Advance::More;
        self.fifo &= !self.interrupted;
        if left == Advance::Done {
            assert_eq!(self.wheel.now(), to.max(before));
            if let Some((&(due, _), id)) = self.model.first_key_value() {
                assert!(due > self.wheel.now(), "{id}, due at {due}, did not fire by {to}");
            }
        }
        left
    }

    pub fn check(&self) {
        assert_eq!(self.wheel.len(), self.model.len());
        for (&(due, _), &id) in &self.model {
            assert_eq!(self.wheel.due(id), Some(due));
        }
        let now = self.wheel.now();
        match (self.wheel.next_due(), self.model.first_key_value()) {
            (None, None) => {}
            (Some(next), Some((&(due, _), _))) => {
                assert!(now <= next && next <= due, "next {next}, now {now}, earliest {due}");
                assert!(self.interrupted || due / 64 != now / 64 || next == due, "the earliest, {due}, is in level 0; next is {next}");
            }
            (next, earliest) => panic!("next {next:?}, earliest {earliest:?}"),
        }
    }
}
