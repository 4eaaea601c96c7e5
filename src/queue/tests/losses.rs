//! Jobs that were in a hand when something else happened.

use super::*;
use crate::{DeadLetterConfig, Job, Overflow, Refusal};

#[test]
fn a_batch_that_meets_the_stop_gives_back_the_job_it_had_pulled() {
    let bare = Bare::<u32>::new(&q(512).lanes([crate::LaneConfig::new("a"), crate::LaneConfig::new("b")]));
    let queue = Arc::clone(&bare.queue);
    let mut jobs = [1, 2, 3].into_iter().map(|n| {
        if n == 2 {
            queue.close();
            queue.stop();
        }
        Job::new(n).lane(n as usize % 2)
    });
    let (accepted, refused) = bare.queue.publish_batch(&bare.publisher, &mut jobs, &bare.clock, false, 0, |job, when| {
        bare.queue.try_publish(&bare.publisher, job, when, bare.clock.now())
    });
    assert_eq!(accepted, 1);
    let refused = refused.expect("the second job was pulled");
    assert_eq!(refused.refusal(), &Refusal::Closed);
    assert_eq!(refused.into_inner(), 2);
    assert_eq!(bare.queue.hand_back().len(), 1);
}

#[test]
fn a_job_that_meets_the_stop_comes_back_whole() {
    let bare = Bare::<u32>::new(&q(8));
    bare.queue.stop();
    let job = Job::new(1).ttl(ms(5)).visibility(ms(7));
    let error = bare.queue.try_publish(&bare.publisher, job, When::Now, bare.clock.now()).unwrap_err();
    assert_eq!(error.into_job(), job);
}

#[test]
fn nothing_is_evicted_while_there_is_no_room_for_the_dead() {
    let bare = Bare::<u32>::new(&q(4).overflow(Overflow::DropOldest).dead_letters(DeadLetterConfig::new().capacity(1)));
    for n in 0..5 {
        bare.publish(n);
    }
    let error = bare.queue.try_publish(&bare.publisher, Job::new(5), When::Now, bare.clock.now()).unwrap_err();
    assert!(error.is_full());
    let phases = bare.queue.gauges().phases;
    assert_eq!((phases.ready, phases.held), (4, 0), "a refused publish costs nobody else his job");
}

#[test]
fn a_builder_that_is_dropped_closes_its_queues() {
    let mut builder = Runtime::builder();
    let queue = builder.pull_queue::<u32>(q(4)).unwrap();
    let producer = queue.producer().unwrap();
    producer.publish(1).unwrap();
    drop(builder);
    assert!(producer.publish(2).unwrap_err().is_closed());
    assert_eq!(queue.reclaim().len(), 1);

    let mut builder = Runtime::builder();
    let queue = builder.queue(q(4).pool("none"), |_: &u32, _: &_| ()).unwrap();
    builder.build().unwrap_err();
    assert!(queue.producer().unwrap().publish(2).unwrap_err().is_closed());
}

#[test]
fn a_run_as_long_as_time_itself_is_no_overflow() {
    let bare = Bare::<u32>::new(&q(4));
    let mut worker = bare.worker();
    (0..3).for_each(|_| worker.ran(0, Duration::MAX));
}

#[test]
fn a_letter_is_redriven_from_a_queue_that_is_full_of_the_dead() {
    let clock = Arc::new(ManualClock::new());
    let mut builder = Runtime::builder().manual(clock);
    let config = q(2).dead_letters(DeadLetterConfig::new().capacity(1));
    let queue = builder.pull_queue::<u32>(config).unwrap();
    let runtime = builder.build().unwrap();
    let (producer, consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
    for n in 1..=3 {
        producer.publish(n).unwrap();
        consumer.try_recv().unwrap().reject("no").unwrap();
    }
    assert!(producer.publish(4).unwrap_err().is_full(), "one letter, two held");
    let mut again = Vec::new();
    while let Ok(true) = queue.dead_letters().redrive() {
        let delivery = consumer.try_recv().unwrap();
        again.push(*delivery);
        delivery.ack().unwrap();
    }
    assert_eq!(again, [1, 2, 3]);
    assert!(runtime.snapshot().queue("q").unwrap().ledger_balances());
    assert_eq!(queue.depth(), 0);
}

#[test]
fn a_payload_is_that_of_the_job_that_waits_and_not_of_one_that_has_its_slot_now() {
    let config = q(1).dedupe(crate::Dedupe::KeepLast(ms(50)), 4);
    let bare = Bare::<u32>::new(&config);
    let key = || Job::new(1).key("a");
    let first = bare.queue.try_publish(&bare.publisher, key(), When::Now, bare.clock.now()).unwrap();
    assert!(bare.queue.has_its_payload(first, 0));
    // cancelled, fired, ended; and a delayed job has its slot
    assert!(bare.queue.cancel(first));
    bare.queue.turn(&bare.clock);
    let mut worker = bare.worker();
    assert!(worker.next(bare.clock.now()).is_none());
    worker.take_left().into_iter().for_each(|left| left.run(&bare.queue));
    let due = bare.clock.now() + ms(3_600_000);
    let second = bare.queue.try_publish(&bare.publisher, Job::new(2), When::At(due), bare.clock.now()).unwrap();
    assert!(!bare.queue.has_its_payload(first, 0), "it would put its own payload in the other's place");
    assert!(bare.queue.has_its_payload(second, 0));
}
