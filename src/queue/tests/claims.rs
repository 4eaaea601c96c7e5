//! A claim speaks of one delivery, and nobody else writes over it.

use super::*;
use crate::Job;

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
    let running = busy.next(Look::Strict, bare.clock.now()).unwrap();
    assert!(other.look(Look::Strict));
    // the queue was paused and resumed between its look and its theft
    assert!(other.steal(), "there is something to do");
    let mut left = Vec::new();
    while let Some(lease) = other.next(Look::Strict, bare.clock.now()) {
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
fn nothing_is_stolen_once_the_queue_has_stopped() {
    let bare = Bare::<u32>::new(&q(16).prefetch(4));
    let (mut busy, mut other) = (bare.worker(), bare.worker());
    for n in 0..4 {
        bare.publish(n);
    }
    let _running = busy.next(Look::Strict, bare.clock.now()).unwrap();
    bare.queue.stop();
    assert!(!other.steal());
}
