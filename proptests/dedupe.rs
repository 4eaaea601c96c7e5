//! A queue that dedupes, against a map.

use proptest::prelude::*;
use ringmill::clock::ManualClock;
use ringmill::{Dedupe, Delivery, Job, JobError, JobId, QueueConfig, Refusal, Runtime, Verdict};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

proptest! {
    #[test]
    fn the_keys_that_are_taken_are_those_of_the_live_jobs(steps in prop::collection::vec((0u8..11, 0u8..6), 1..200)) {
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
                // the keys from this one on, as far as one is taken
                9 => {
                    let free: Vec<u8> = (key..6).take_while(|key| !live.contains_key(key)).collect();
                    let batch = producer.watched().publish_batch(&mut (key..6).map(|key| Job::new(key).key([key])));
                    prop_assert_eq!(batch.completions.len(), free.len());
                    match batch.refused {
                        None => prop_assert_eq!(free.len(), usize::from(6 - key)),
                        Some(error) => {
                            let existing = live[&(key + free.len() as u8)];
                            prop_assert_eq!(error.refusal(), &Refusal::Duplicate { existing });
                        }
                    }
                    live.extend(free.into_iter().zip(batch.completions.iter().map(|completion| completion.job_id())));
                }
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
