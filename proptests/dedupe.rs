//! The table of keys, and a queue that dedupes, against maps.

use proptest::prelude::*;
use ringmill::clock::{ManualClock, Timestamp};
use ringmill::dedupe::{Denied, Name, Table};
use ringmill::key::Key;
use ringmill::{Dedupe, Delivery, Job, JobError, JobId, QueueConfig, Refusal, Runtime, Verdict};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
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

    #[test]
    fn the_keys_that_are_taken_are_those_of_the_live_jobs(steps in prop::collection::vec((0u8..10, 0u8..6), 1..200)) {
        let clock = Arc::new(ManualClock::new());
        let mut builder = Runtime::builder().manual(Arc::clone(&clock));
        let config = QueueConfig::new("q").capacity(16).visibility(Duration::from_secs(1)).dedupe(Dedupe::WhileLive, 16);
        let queue = builder.pull_queue::<u8>(config).unwrap();
        let runtime = builder.build().unwrap();
        let (producer, consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
        let mut live: HashMap<u8, JobId> = HashMap::new();
        let mut dead: HashSet<(u8, JobId)> = HashSet::new();
        let mut held: Vec<Delivery<u8>> = Vec::new();
        for (act, key) in steps {
            match act {
                0..4 => match (producer.publish(Job::new(key).key([key])), live.get(&key)) {
                    (Ok(id), None) => drop(live.insert(key, id)),
                    (Err(error), Some(existing)) => prop_assert_eq!(error.refusal(), &Refusal::Duplicate { existing: *existing }),
                    (published, expected) => prop_assert!(false, "{:?} {:?}", published, expected),
                },
                4 => held.extend(consumer.try_recv().ok()),
                5..8 => if let Some(delivery) = held.pop() {
                    let (key, id) = (*delivery, delivery.job_id());
                    let verdict = match act {
                        5 => Verdict::Ack,
                        6 => Verdict::Reject(JobError::fatal("no")),
                        _ => Verdict::Retry(JobError::transient("again")),
                    };
                    // a rejected job is over with its letter, below: while a stale delivery still reads it, it keeps its key as it keeps its slot
                    if delivery.settle(verdict).is_ok() && act == 5 {
                        prop_assert_eq!(live.remove(&key), Some(id));
                    }
                },
                // leases run out, and the jobs that were delivered come back
                8 => runtime.advance(&clock, Duration::from_secs(2)),
                _ => {
                    queue.dead_letters().redrive_all();
                    let left: HashSet<JobId> = queue.dead_letters().list(100).iter().map(|letter| letter.job_id()).collect();
                    dead.retain(|(key, id)| {
                        if left.contains(id) {
                            return true;
                        }
                        assert_eq!(live.insert(*key, *id), None, "two live jobs with one key");
                        false
                    });
                }
            }
            // too many expiries or attempts bury a job too
            queue.dead_letters().for_each(|letter| {
                if live.get(letter.payload()) == Some(&letter.job_id()) {
                    live.remove(letter.payload());
                    dead.insert((*letter.payload(), letter.job_id()));
                }
            });
        }
        drop(held);
        queue.purge();
        let taken = runtime.snapshot().queues[0].keys;
        let phases = runtime.snapshot().queues[0].phases;
        prop_assert_eq!(taken, (phases.delayed + phases.running + phases.held) as usize);
    }
}
