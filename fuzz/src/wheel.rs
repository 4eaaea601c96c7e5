//! The wheel beside a sorted map, from any origin.

use crate::bytes::Bytes;
use crate::faulty;
use ringmill::wheel::Advance;

#[path = "../../proptests/wheel/pair.rs"]
mod pair;

use pair::{CAPACITY, FAR, Pair, Tick};

const CALLS_MAX: usize = 400;

pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut pair = Pair::new(origin(&mut bytes));
    for _ in 0..CALLS_MAX {
        if bytes.is_empty() {
            break;
        }
        let id = bytes.below(u64::from(CAPACITY)) as u32;
        let now = pair.wheel.now();
        match bytes.below(8) {
            0..=2 => {
                let due = tick(&mut bytes).from(now);
                if !pair.wheel.contains(id) {
                    pair.put(id, due);
                }
            }
            3 => pair.put(id, tick(&mut bytes).from(now)),
            4 => {
                let before = pair.model.len();
                pair.model.retain(|_, other| *other != id);
                assert_eq!(pair.wheel.cancel(id), pair.model.len() < before);
            }
            5 | 6 => {
                let to = tick(&mut bytes).from(now);
                let budget = bytes.one_of(&[usize::MAX, 0, 1, 2, 7]);
                let _ = pair.advance(to, budget);
            }
            _ => {
                let to = tick(&mut bytes).from(now);
                while pair.advance(to, 3) == Advance::More {}
            }
        }
        // the lie: an entry at the last tick of a third-level round is due one later
        if faulty()
            && let Some(due) = pair.wheel.due(id)
            && due % (1 << 18) == (1 << 18) - 1
            && due != u64::MAX
        {
            pair.wheel.reschedule(id, due + 1);
        }
        pair.check();
        if !pair.wheel.contains(FAR) {
            pair.put(FAR, u64::MAX);
        }
    }
    while pair.advance(u64::MAX, 5) == Advance::More {}
    assert!(pair.wheel.is_empty() && pair.model.is_empty());
}

fn origin(bytes: &mut Bytes<'_>) -> u64 {
    match bytes.below(3) {
        0 => 0,
        1 => (1u64 << bytes.below(64)).saturating_add_signed(bytes.below(3) as i64 - 1),
        _ => bytes.u64() / 2,
    }
}

fn tick(bytes: &mut Bytes<'_>) -> Tick {
    match bytes.below(6) {
        0 | 1 => Tick::Ahead(u64::from(bytes.byte())),
        2 => Tick::Boundary { level: bytes.below(11) as u32, factor: bytes.below(66), off: bytes.below(3) as i64 - 1 },
        3 => Tick::Ahead(u64::from(bytes.u32()) << bytes.below(15)),
        4 => Tick::Behind(u64::from(bytes.u32() >> 12)),
        _ => Tick::End,
    }
}
