//! The checker: Wing and Gong's search ("Testing and verifying concurrent objects", 1993) with Lowe's memory of configurations that led nowhere (2017).

use std::collections::HashSet;
use std::hash::Hash;

/// One operation, from its call to its return. Of two instants no two are equal.
#[derive(Debug, Clone)]
pub struct Event<O> {
    pub called: u64,
    pub returned: u64,
    pub operation: O,
}

impl<O> Event<O> {
    /// Neither returned before the other was called.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.called < other.returned && other.called < self.returned
    }
}

/// The operations that were in progress at some time during the one at `at`.
pub fn beside<O>(history: &[Event<O>], at: usize) -> impl Iterator<Item = &O> {
    history.iter().enumerate().filter(move |(other, event)| *other != at && event.overlaps(&history[at])).map(|(_, event)| &event.operation)
}

/// A sequential model.
pub trait Model {
    type Operation;
    type State: Clone + Eq + Hash;

    /// The states in which the operation at `at`, with the answer that it got, may leave `state`; none if that answer is wrong there.
    fn step(&self, state: &Self::State, history: &[Event<Self::Operation>], at: usize) -> Vec<Self::State>;
}

/// Whether some order of the history's operations explains their answers. At most 64 operations.
pub fn explains<M: Model>(model: &M, initial: M::State, history: &[Event<M::Operation>]) -> bool {
    assert!(history.len() <= 64, "{} operations are too many for this checker", history.len());
    let all = if history.len() == 64 { u64::MAX } else { (1 << history.len()) - 1 };
    let mut seen = HashSet::new();
    let mut open = vec![(0u64, initial)];
    while let Some((done, state)) = open.pop() {
        if done == all {
            return true;
        }
        if !seen.insert((done, state.clone())) {
            continue;
        }
        let rest = || (0..history.len()).filter(|at| done & 1 << at == 0);
        // whoever returned before another was called comes before it
        let first_return = rest().map(|at| history[at].returned).min().expect("something is left");
        for at in rest().filter(|&at| history[at].called < first_return) {
            let states = model.step(&state, history, at);
            open.extend(states.into_iter().map(|state| (done | 1 << at, state)));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A register that holds 0 at first.
    struct Register;

    #[derive(Debug, Clone)]
    enum Access {
        Write(u32),
        Read(u32),
    }

    impl Model for Register {
        type Operation = Access;
        type State = u32;

        fn step(&self, state: &u32, history: &[Event<Access>], at: usize) -> Vec<u32> {
            match &history[at].operation {
                Access::Write(value) => vec![*value],
                Access::Read(value) if value == state => vec![*state],
                Access::Read(_) => vec![],
            }
        }
    }

    fn holds(history: &[(u64, u64, Access)]) -> bool {
        let history: Vec<_> = history
            .iter()
            .map(|(called, returned, operation)| Event { called: *called, returned: *returned, operation: operation.clone() })
            .collect();
        explains(&Register, 0, &history)
    }

    #[test]
    fn what_overlaps_may_come_in_either_order_and_what_does_not_may_not() {
        use Access::{Read, Write};
        assert!(holds(&[]));
        assert!(holds(&[(0, 3, Write(1)), (1, 2, Read(0))]));
        assert!(holds(&[(0, 3, Write(1)), (1, 2, Read(1))]));
        assert!(!holds(&[(0, 1, Write(1)), (2, 3, Read(0))]));
        assert!(!holds(&[(0, 1, Write(1)), (2, 3, Read(2))]));
        // two readers during one write: new, then old
        assert!(!holds(&[(0, 9, Write(1)), (1, 2, Read(1)), (3, 4, Read(0))]));
        assert!(holds(&[(0, 9, Write(1)), (1, 4, Read(1)), (2, 3, Read(0))]));
    }

    #[test]
    fn a_long_history_without_overlap_takes_no_time() {
        let history: Vec<_> =
            (0..32).flat_map(|n| [(4 * n, 4 * n + 1, Access::Write(n as u32)), (4 * n + 2, 4 * n + 3, Access::Read(n as u32))]).collect();
        assert!(holds(&history));
    }
}
