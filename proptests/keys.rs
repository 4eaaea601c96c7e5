//! The table of keys, against a map.

use proptest::prelude::*;
use ringmill::clock::Timestamp;
use ringmill::dedupe::{Denied, Name, Table};
use ringmill::id::JobId;
use ringmill::key::Key;
use std::collections::HashMap;
use std::time::Duration;

#[derive(Debug, Clone)]
enum Step {
    Claim(u8),
    /// The job that has it forgets the key, by a look-up; or, if `late`, the one that had it last, at its place.
    Forget {
        key: u8,
        late: bool,
    },
    Pass(u64),
    Sweep,
}

/// Keys of two lines, and of three tags, so that most of them meet others in every way.
fn key(number: u8) -> Key {
    let number = u64::from(number);
    Key::from_halves((1 | (number & 1) << 63, (number % 3) << 61 | number))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..60).prop_map(Step::Claim),
        3 => (0u8..60, any::<bool>()).prop_map(|(key, late)| Step::Forget { key, late }),
        3 => (0u64..40).prop_map(Step::Pass),
        1 => Just(Step::Sweep),
    ]
}

proptest! {
    #[test]
    fn a_table_of_keys_does_what_a_map_does(bound in prop_oneof![1usize..10, 30usize..80], window in prop::option::of(1u64..100), steps in prop::collection::vec(step(), 1..600)) {
        let table = Table::new(bound, window.map(Duration::from_nanos));
        let mut model: HashMap<u8, (JobId, u64)> = HashMap::new();
        let mut before: HashMap<u8, Name> = HashMap::new();
        let mut now = 0;
        for (step, number) in steps.into_iter().zip(1..) {
            let id = JobId::from_number(number);
            let time = Timestamp::from_nanos(now);
            model.retain(|_, (_, until)| *until > now);
            match step {
                Step::Claim(key) => {
                    let held = model.get(&key).map(|(job, _)| *job);
                    prop_assert_eq!(table.holder(self::key(key), time), held);
                    let expected = match held {
                        Some(job) => Err(Denied::Taken(job)),
                        None if model.len() == bound => Err(Denied::Full),
                        None => Ok(()),
                    };
                    let claimed = table.claim(self::key(key), id, time);
                    prop_assert_eq!(claimed.map(drop), expected);
                    if let Ok(place) = claimed {
                        model.insert(key, (id, window.map_or(u64::MAX, |window| now + window)));
                        before.insert(key, Name { key: self::key(key), job: id, place });
                    }
                }
                Step::Forget { key, late } => {
                    let job = match late {
                        true => before.get(&key).copied(),
                        false => model.get(&key).map(|(job, _)| Name::unclaimed(self::key(key), *job)),
                    };
                    if let Some(name) = job {
                        table.forget_at(name);
                        if model.get(&key).is_some_and(|(holder, _)| *holder == name.job) {
                            model.remove(&key);
                        }
                    }
                }
                Step::Pass(nanos) => now += nanos,
                Step::Sweep => {
                    table.sweep(time);
                    prop_assert_eq!(table.len(), model.len());
                }
            }
            prop_assert!(table.len() <= bound);
        }
    }
}
