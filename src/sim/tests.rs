//! Virtual time: what happens in a moment, and how time gets from one moment to the next.

use super::{JobPhase, Sim};
use crate::clock::Timestamp;
use crate::{Job, QueueConfig};
use std::time::Duration;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn what_becomes_due_in_a_turn_is_done_in_that_moment() {
    let mut builder = Sim::builder(1);
    let jobs = builder.pull_queue::<u32>(QueueConfig::new("jobs")).unwrap();
    let sim = Sim::start(builder).unwrap();
    // its time to live ends before its delay does
    jobs.producer().unwrap().publish_after(Job::new(1).ttl(ms(6)), ms(38)).unwrap();
    let mut moments = Vec::new();
    sim.run_until(ms(64), || {
        moments.push(sim.now());
        false
    });
    assert!(moments.iter().all(|moment| moment.as_nanos() % 1_000_000 == 0), "time creeps: {moments:?}");
    assert_eq!(sim.now(), Timestamp::ZERO + ms(64));
    assert_eq!(sim.jobs(&jobs)[0].phase, JobPhase::Doomed);
}
