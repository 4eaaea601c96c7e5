//! Virtual time: what happens in a moment, and how time gets from one moment to the next.

use super::Sim;
use crate::clock::Timestamp;
use crate::{Context, Discipline, Job, LaneConfig, PoolConfig, QueueConfig};
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
    assert_eq!((sim.jobs(&jobs).len(), jobs.counts().dead_expired), (0, 1));
}

#[test]
fn nobody_is_idle_beside_a_job_behind_others_that_have_expired() {
    let mut builder = Sim::builder(1);
    builder.pool(PoolConfig::new("default").workers(1)).unwrap();
    // every other one in the lane that was looked at before
    let lanes = [LaneConfig::new("high"), LaneConfig::new("low")];
    let config = QueueConfig::new("jobs").partitions(4).lanes(lanes).discipline(Discipline::Strict { max_wait: ms(1_000) });
    let jobs = builder.queue(config, |_: &u32, _: &Context<u32>| ()).unwrap();
    let sim = Sim::start(builder).unwrap();
    let producer = jobs.producer().unwrap();
    for n in 0..20 {
        producer.publish(Job::new(n).lane((n as usize + 1) % 2).partition_key("key").ttl(ms(1))).unwrap();
    }
    producer.publish(Job::new(20).partition_key("key")).unwrap();
    sim.clock().advance(ms(5));
    sim.run_until_idle();
    assert_eq!((jobs.counts().acked, jobs.counts().dead_expired), (1, 20));
}
