//! A claim speaks of one delivery, and nobody else writes over it.

use super::*;
use crate::{Job, LaneConfig};

#[test]
fn a_stale_delivery_does_not_clear_the_claim_that_took_its_place() {
    let clock = Arc::new(ManualClock::new());
    let mut builder = Runtime::builder().manual(Arc::clone(&clock));
    let queue = builder.pull_queue::<usize>(q(64).visibility(Duration::from_secs(3_600)).max_lease(Duration::from_secs(3_600))).unwrap();
    let runtime = builder.build().unwrap();
    let (producer, consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
    let room = crate::queue::claim_block::DELIVERIES;
    producer.publish(Job::new(0).visibility(ms(10))).unwrap();
    for n in 1..room {
        producer.publish(n).unwrap();
    }
    producer.publish(Job::new(room).visibility(ms(300))).unwrap();
    let mut held: Vec<_> = (0..room).map(|_| consumer.try_recv().unwrap()).collect();
    runtime.advance(&clock, ms(250));
    assert!(!held[0].is_current());
    // every place is taken; that of the delivery which is over will do
    let watched = consumer.try_recv().unwrap();
    assert_eq!(*watched, room);
    let _again = consumer.try_recv().unwrap();
    held.remove(0).ack().unwrap_err();
    runtime.advance(&clock, ms(1_000));
    assert!(!watched.is_current(), "nobody sees this lease any more");
}

#[test]
fn a_worker_with_claims_of_its_own_does_not_steal() {
    let bare = Bare::<u32>::new(&q(16).prefetch(4));
    let (mut busy, mut other) = (bare.worker(), bare.worker());
    for n in 0..8 {
        bare.publish(n);
    }
    let running = busy.next(bare.clock.now()).unwrap();
    assert!(other.look());
    // the queue was paused and resumed between its look and its theft
    assert!(other.steal(), "there is something to do");
    let mut left = Vec::new();
    while let Some(lease) = other.next(bare.clock.now()) {
        left.push(*bare.queue.payload(&lease));
        let plan = other.plan(&lease, crate::Verdict::Ack);
        other.settle(lease, plan, bare.clock.now(), true).unwrap().run(&bare.queue);
        other.steal();
    }
    left.sort_unstable();
    assert_eq!(left, [1, 2, 3, 4, 5, 6, 7]);
    let plan = busy.plan(&running, crate::Verdict::Ack);
    busy.settle(running, plan, bare.clock.now(), true).unwrap().run(&bare.queue);
    assert_eq!(bare.queue.free(), 16);
}

#[test]
fn what_was_claimed_may_be_stolen_also_after_a_look_at_an_empty_lane() {
    let lanes = [LaneConfig::new("high").weight(1), LaneConfig::new("low").weight(1)];
    let bare = Bare::<u32>::new(&q(16).prefetch(8).lanes(lanes));
    for n in 0..8 {
        bare.publish(n);
    }
    let mut busy = bare.worker();
    // the lanes take turns, and the other one is empty: the worker looks there while it has claims
    let running: Vec<_> = (0..4).map(|_| busy.next(bare.clock.now()).unwrap()).collect();
    for n in 4..8 {
        let mut idle = bare.worker();
        assert!(idle.steal(), "job {n} waits for a worker that is busy");
        let lease = idle.next(bare.clock.now()).unwrap();
        assert_eq!(*bare.queue.payload(&lease), n);
        let plan = idle.plan(&lease, crate::Verdict::Ack);
        idle.settle(lease, plan, bare.clock.now(), true).unwrap().run(&bare.queue);
    }
    drop(running);
}

#[test]
fn a_consumer_finds_the_job_behind_those_that_have_ended_unstarted() {
    let clock = Arc::new(ManualClock::new());
    let mut builder = Runtime::builder().manual(Arc::clone(&clock));
    let queue = builder.pull_queue::<u32>(q(8).prefetch(8)).unwrap();
    let _runtime = builder.build().unwrap();
    let (producer, first, second) = (queue.producer().unwrap(), queue.consumer().unwrap(), queue.consumer().unwrap());
    producer.publish(0).unwrap();
    producer.publish(Job::new(1).ttl(ms(5))).unwrap();
    producer.publish(2).unwrap();
    // it has claimed the others too
    assert_eq!(*first.try_recv().unwrap(), 0);
    let cancelled = producer.publish(3).unwrap();
    assert!(queue.cancel(cancelled));
    clock.advance(ms(5));
    assert_eq!(second.try_recv().map(|delivery| *delivery), Ok(2));
    assert_eq!((queue.counts().dropped_cancelled, queue.counts().dead_expired), (1, 1));
}

#[test]
fn nothing_is_stolen_once_the_queue_has_stopped() {
    let bare = Bare::<u32>::new(&q(16).prefetch(4));
    let (mut busy, mut other) = (bare.worker(), bare.worker());
    for n in 0..4 {
        bare.publish(n);
    }
    let _running = busy.next(bare.clock.now()).unwrap();
    bare.queue.stop();
    assert!(!other.steal());
}

#[test]
fn what_was_stolen_and_not_started_may_be_stolen_again() {
    let bare = Bare::<u32>::new(&q(16).prefetch(8));
    bare.publish(0);
    bare.publish(1);
    let mut busy = bare.worker();
    let _running = busy.next(bare.clock.now()).unwrap();
    let mut thief = bare.worker();
    assert!(thief.steal(), "job 1 waits for a worker that is busy");
    // before it comes to that it is held up, by a job of another lane or of another queue
    let mut idle = bare.worker();
    assert!(idle.steal(), "job 1 waits for a thief that is busy");
    let lease = idle.next(bare.clock.now()).unwrap();
    assert_eq!(*bare.queue.payload(&lease), 1);
}
