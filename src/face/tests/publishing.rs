//! A job comes in, or comes back.

use super::*;
use crate::tests::threads::Mutex;
use crate::{DeadLetterConfig, DeathReason, Job, LaneConfig, Overflow, Pressure, PublishError, Refusal};
use std::sync::atomic::AtomicUsize;

#[test]
fn sixty_four_producers_and_no_worker_fill_exactly_the_capacity() {
    watched(|| {
        let mut builder = Runtime::builder();
        let queue = builder.pull_queue::<(usize, usize)>(q(5_000)).unwrap();
        let runtime = builder.build().unwrap();
        let accepted = AtomicUsize::new(0);
        crate::tests::threads::scope(|scope| {
            for me in 0..64 {
                let (queue, accepted) = (&queue, &accepted);
                scope.spawn(move || {
                    let producer = queue.producer().unwrap();
                    for n in 0.. {
                        match producer.try_publish((me, n)) {
                            Ok(_) => accepted.fetch_add(1, SeqCst),
                            Err(error) => {
                                assert!(error.is_full());
                                assert_eq!(error.into_inner(), (me, n), "the job comes back");
                                break;
                            }
                        };
                    }
                });
            }
        });
        assert_eq!(accepted.load(SeqCst), 5_000);
        assert_eq!(queue.depth(), 5_000);
        let counts = adds_up(&runtime);
        assert_eq!((counts.accepted, counts.rejected_full), (5_000, 64));
        let _ = runtime.shutdown(at_once());
    });
}

#[test]
fn one_active_producer_among_63_idle_ones_gets_every_slot() {
    let pull = Pull::<u32>::new(q(1_000));
    let idle: Vec<_> = (0..63).map(|_| pull.queue.producer().unwrap()).collect();
    // each has a few slots at hand afterwards
    for producer in &idle {
        producer.publish(0).unwrap();
    }
    while let Some(delivery) = pull.get() {
        delivery.ack().unwrap();
    }
    for n in 0..1_000 {
        pull.producer.try_publish(n).unwrap_or_else(|error| panic!("{n}: {error}"));
    }
    assert!(pull.producer.try_publish(1_000).unwrap_err().is_full());
    pull.settled();
}

#[test]
fn a_full_queue_rejects_with_a_hint_once_it_knows_its_pace() {
    let pull = Pull::<u32>::new(q(2));
    pull.producer.publish(1).unwrap();
    pull.producer.publish(2).unwrap();
    let error = pull.producer.publish(3).unwrap_err();
    assert_eq!(*error.refusal(), Refusal::Full { retry_after: None });
    assert_eq!(error.to_string(), "the queue is full");
    assert_eq!(error.into_inner(), 3);
    pull.advance(secs(1));
    pull.get().unwrap().ack().unwrap();
    pull.advance(secs(1));
    pull.producer.publish(3).unwrap();
    let error = pull.producer.publish(4).unwrap_err();
    assert!(matches!(error.refusal(), Refusal::Full { retry_after: Some(after) } if *after > Duration::ZERO), "{error}");
}

#[test]
fn a_refused_job_comes_back_whole() {
    let pull = Pull::<u32>::new(q(1).overflow(Overflow::Reject).lanes([LaneConfig::new("a"), LaneConfig::new("b")]));
    pull.producer.publish(0).unwrap();
    let job = Job::new(7).lane(1).ttl(secs(3)).visibility(secs(4));
    assert_eq!(pull.producer.publish(job).unwrap_err().into_job(), job);
    assert_eq!(pull.producer.publish_timeout(job, Duration::ZERO).unwrap_err().into_job(), job);
    assert_eq!(pull.producer.publish_after(job, secs(1)).unwrap_err().into_job(), job);
}

#[test]
fn drop_new_hands_a_job_back_whole_when_the_dead_letters_are_full() {
    let config = q(1).overflow(Overflow::DropNew).dead_letters(DeadLetterConfig::new().capacity(1));
    let pull = Pull::<u32>::new(config);
    pull.producer.publish(0).unwrap();
    pull.producer.publish(1).unwrap();
    let job = Job::new(7).ttl(secs(3)).visibility(secs(4));
    assert_eq!(pull.producer.publish(job).unwrap_err().into_job(), job);
    pull.settled();
}

#[test]
fn a_blocking_publish_waits_for_a_slot_and_counts_as_no_refusal() {
    watched(|| {
        let mut builder = Runtime::builder();
        let queue = builder.pull_queue::<u32>(q(1).overflow(Overflow::Block(secs(20)))).unwrap();
        let runtime = builder.build().unwrap();
        let (producer, consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
        producer.publish(1).unwrap();
        let waiting = std::thread::spawn(move || producer.publish(2).map(drop));
        eventually("a publisher waits", || snapshot(&runtime).publishers_waiting == 1);
        consumer.recv().unwrap().ack().unwrap();
        waiting.join().unwrap().unwrap();
        let delivery = consumer.recv().unwrap();
        assert_eq!(*delivery, 2);
        delivery.ack().unwrap();
        let counts = adds_up(&runtime);
        assert_eq!((counts.accepted, counts.acked, counts.rejected_full), (2, 2, 0));
    });
}

#[test]
fn waiting_publishers_are_served_in_the_order_they_came() {
    watched(|| {
        let mut builder = Runtime::builder();
        let queue = builder.pull_queue::<u32>(q(1)).unwrap();
        let runtime = builder.build().unwrap();
        queue.producer().unwrap().publish(0).unwrap();
        let mut waiting = Vec::new();
        for n in 1..=5 {
            let producer = queue.producer().unwrap();
            waiting.push(std::thread::spawn(move || producer.publish_timeout(n, Duration::MAX).map(drop)));
            eventually("it waits", || snapshot(&runtime).publishers_waiting == n as usize);
        }
        let consumer = queue.consumer().unwrap();
        for n in 0..=5 {
            let delivery = consumer.recv().unwrap();
            assert_eq!(*delivery, n);
            delivery.ack().unwrap();
        }
        for waiting in waiting {
            waiting.join().unwrap().unwrap();
        }
    });
}

#[test]
fn a_publish_with_a_deadline_comes_back_at_its_deadline() {
    watched(|| {
        let mut builder = Runtime::builder();
        let queue = builder.pull_queue::<String>(q(1).overflow(Overflow::Block(ms(30)))).unwrap();
        let runtime = builder.build().unwrap();
        let producer = queue.producer().unwrap();
        producer.publish("a".to_owned()).unwrap();
        for publish in [|p: &Producer<String>, job| p.publish_timeout(job, ms(30)), |p: &Producer<String>, job| p.publish(job)] {
            let begun = Instant::now();
            let error: PublishError<String> = publish(&producer, "b".to_owned()).unwrap_err();
            assert!((ms(30)..ms(3_000)).contains(&begun.elapsed()));
            assert_eq!(*error.refusal(), Refusal::TimedOut);
            assert!(error.is_full());
            assert_eq!(error.into_inner(), "b");
        }
        assert_eq!(adds_up(&runtime).rejected_full, 2);
        let _ = runtime.shutdown(at_once());
    });
}

#[test]
fn drop_oldest_buries_the_oldest_job_of_the_lowest_lane() {
    let lanes = [LaneConfig::new("high"), LaneConfig::new("low")];
    let pull = Pull::<u32>::new(q(64).lanes(lanes).overflow(Overflow::DropOldest));
    let low = |n| Job::new(n).lane(1);
    // single publishes and batches alike
    pull.producer.publish(low(0)).unwrap();
    assert_eq!(pull.producer.publish_batch(&mut (1..32).map(low)).accepted, 31);
    pull.producer.publish(low(32)).unwrap();
    assert_eq!(pull.producer.publish_batch(&mut (100..131).map(Job::new)).accepted, 31);
    for n in 200..232 {
        pull.producer.publish(n).unwrap();
    }
    let dropped: Vec<u32> = std::iter::from_fn(|| pull.queue.dead_letters().take())
        .map(|letter| {
            assert_eq!((letter.reason(), letter.lane()), (DeathReason::OverLength, 1));
            letter.into_payload()
        })
        .collect();
    assert_eq!(dropped, (0..32).collect::<Vec<u32>>());
    // the low lane holds one more, then the oldest of the high lane has to go
    pull.producer.publish(232).unwrap();
    pull.producer.publish(233).unwrap();
    let dropped: Vec<u32> = std::iter::from_fn(|| pull.queue.dead_letters().take()).map(|letter| letter.into_payload()).collect();
    assert_eq!(dropped, [32, 100]);
    let counts = pull.settled();
    assert_eq!((counts.accepted, counts.dead_over_length), (98, 34));
    let left: Vec<u32> = std::iter::from_fn(|| pull.get())
        .map(|delivery| {
            let n = *delivery;
            delivery.ack().unwrap();
            n
        })
        .collect();
    assert_eq!(left, (101..131).chain(200..234).collect::<Vec<u32>>(), "order is kept");
}

#[test]
fn drop_oldest_is_full_when_nothing_waits() {
    let pull = Pull::<u32>::new(q(1).overflow(Overflow::DropOldest));
    pull.producer.publish(1).unwrap();
    let running = pull.get().unwrap();
    assert!(pull.producer.publish(2).unwrap_err().is_full());
    running.ack().unwrap();
    pull.settled();
}

/// The slots of a reserve are of no use to another lane, so nobody dies for them.
#[test]
fn drop_oldest_takes_no_job_whose_slot_the_new_one_may_not_use() {
    let lanes = [LaneConfig::new("high"), LaneConfig::new("low").reserve(2)];
    let pull = Pull::<u32>::new(q(4).lanes(lanes).overflow(Overflow::DropOldest));
    let low = |n| Job::new(n).lane(1);
    let dropped = || pull.queue.dead_letters().take().map(|letter| letter.into_payload());
    // the first two of the low lane lie in its reserve, the third in what is shared
    assert_eq!(pull.producer.publish_batch(&mut (0..3).map(low)).accepted, 3);
    pull.producer.publish(100).unwrap();
    // the oldest low job would be no help: the lane above pays
    pull.producer.publish(101).unwrap();
    assert_eq!((dropped(), dropped()), (Some(100), None));
    // to the low lane itself any slot is good
    pull.producer.publish(low(3)).unwrap();
    assert_eq!((dropped(), dropped()), (Some(0), None));
    pull.producer.publish(low(4)).unwrap();
    assert_eq!((dropped(), dropped()), (Some(1), None));
    // now its oldest job lies in the shared slot
    pull.producer.publish(102).unwrap();
    assert_eq!((dropped(), dropped()), (Some(2), None));
    // with nothing but a reserve in the way, the queue is full
    let mut running = vec![pull.get().unwrap(), pull.get().unwrap()];
    running.retain(|delivery| delivery.lane() == 0);
    while running.len() < 2 {
        running.push(pull.get().unwrap());
        running.retain(|delivery| delivery.lane() == 0);
    }
    assert!(pull.producer.publish(103).unwrap_err().is_full());
    assert_eq!(dropped(), None, "nobody died for it");
    running.into_iter().for_each(|delivery| delivery.ack().unwrap());
    pull.settled();
}

/// A job whose lease ran out waits again in a slot that its late handler still reads: to end it would free nothing.
#[test]
fn drop_oldest_takes_no_job_whose_slot_is_still_read() {
    let pull = Pull::<u32>::new(q(2).visibility(secs(1)).overflow(Overflow::DropOldest));
    pull.producer.publish(1).unwrap();
    let late = pull.get().unwrap();
    pull.advance(secs(2));
    assert!(!late.is_current());
    pull.producer.publish(2).unwrap();
    assert!(pull.producer.publish(3).unwrap_err().is_full());
    assert!(late.ack().is_err());
    pull.producer.publish(4).unwrap();
    assert_eq!(pull.queue.dead_letters().take().map(|letter| letter.into_payload()), Some(1));
    pull.settled();
}

#[test]
fn a_publish_without_any_time_finds_the_slots_that_others_have_gathered() {
    let pull = Pull::<u32>::new(q(2).overflow(Overflow::Block(Duration::ZERO)));
    for round in 0..3 {
        pull.producer.publish(round).unwrap();
        pull.producer.publish_timeout(round, Duration::ZERO).unwrap();
        assert_eq!(*pull.producer.publish(round).unwrap_err().refusal(), Refusal::TimedOut);
        // the consumer keeps the slots, until somebody wants them
        while let Some(delivery) = pull.get() {
            delivery.ack().unwrap();
        }
    }
    pull.settled();
}

#[test]
fn drop_new_buries_the_new_job() {
    let pull = Pull::<u32>::new(q(1).overflow(Overflow::DropNew));
    pull.producer.publish(1).unwrap();
    let job = pull.producer.publish(2).unwrap();
    let letter = pull.queue.dead_letters().take().unwrap();
    assert_eq!((letter.job_id(), letter.reason(), *letter.payload()), (job, DeathReason::OverLength, 2));
    let counts = pull.settled();
    assert_eq!((counts.accepted, counts.dead_lettered, counts.dead_over_length), (2, 1, 1));
    assert_eq!(*pull.get().unwrap(), 1);
}

#[test]
fn caller_runs_works_the_job_off_in_the_publishers_thread() {
    let ran = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&ran);
    let push = Push::new(q(1).overflow(Overflow::CallerRuns), move |n: &u32, context: &crate::Context<u32>| {
        log.lock().unwrap().push((*n, context.worker().is_some(), context.job_id().is_some()));
        match n {
            13 => Err("unlucky"),
            14 => panic!("very unlucky"),
            _ => Ok(()),
        }
    });
    push.producer.publish(1).unwrap();
    push.producer.publish(2).unwrap();
    assert_eq!(*ran.lock().unwrap(), [(2, false, false)]);
    let error = push.producer.publish(13).unwrap_err();
    assert_eq!(*error.refusal(), Refusal::HandlerFailed { reason: "unlucky".into() });
    assert_eq!(error.into_inner(), 13);
    let error = push.producer.publish(14).unwrap_err();
    assert_eq!(*error.refusal(), Refusal::HandlerFailed { reason: "panicked: very unlucky".into() });
    assert!(push.producer.try_publish(3).unwrap_err().is_full(), "`try_publish` runs nothing");
    push.turn();
    assert_eq!(ran.lock().unwrap().last(), Some(&(1, true, true)));
    let counts = push.settled();
    assert_eq!((counts.accepted, counts.acked), (2, 2));
    assert_eq!((counts.rejected_full, counts.rejected_other), (1, 2), "a job that ran was not refused");
}

#[test]
fn a_flooded_low_lane_leaves_the_reserve_of_the_critical_lane_alone() {
    let lanes = [LaneConfig::new("critical").reserve(10), LaneConfig::new("low")];
    let pull = Pull::<u32>::new(q(100).lanes(lanes));
    let low = pull.queue.producer().unwrap();
    let flood = (0..200).take_while(|&n| low.publish(Job::new(n).lane(1)).is_ok()).count();
    assert_eq!(flood, 90);
    for n in 0..10 {
        pull.producer.publish(n).unwrap_or_else(|error| panic!("critical job {n}: {error}"));
    }
    assert!(pull.producer.publish(10).unwrap_err().is_full());
    // a slot that the low lane gives back is the low lane's and everybody's; one of the reserve stays a reserve
    for _ in 0..100 {
        pull.get().unwrap().ack().unwrap();
    }
    assert_eq!((0..200).take_while(|&n| low.publish(Job::new(n).lane(1)).is_ok()).count(), 90);
    pull.settled();
}

#[test]
fn a_watermark_crossing_is_signalled_once() {
    let pull = Pull::<u32>::new(q(100).watermarks(60, 80));
    let signals = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&signals);
    pull.queue.on_pressure(move |pressure| log.lock().unwrap().push(pressure));
    // chores are done by whoever looks for work
    let to_depth = |depth: u32| {
        while pull.queue.depth() < depth {
            pull.producer.publish(0).unwrap();
        }
        while pull.queue.depth() > depth {
            pull.get().unwrap().ack().unwrap();
        }
        pull.advance(secs(1));
        pull.get().map(|delivery| delivery.snooze(Duration::ZERO));
    };
    for depth in [79, 80, 100, 70, 61, 90] {
        to_depth(depth);
    }
    assert_eq!(*signals.lock().unwrap(), [Pressure::High], "up once, no matter how it wavers above the low mark");
    assert_eq!(pull.queue.pressure(), Pressure::High);
    for depth in [60, 75, 79, 10] {
        to_depth(depth);
    }
    assert_eq!(*signals.lock().unwrap(), [Pressure::High, Pressure::Low]);
    to_depth(95);
    assert_eq!(*signals.lock().unwrap(), [Pressure::High, Pressure::Low, Pressure::High]);
}

#[test]
fn a_batch_says_how_far_it_got_and_leaves_the_rest() {
    let pull = Pull::<Counted>::new(q(50));
    let census = Census::default();
    let mut jobs = (0..80).map(|n| census.born(n));
    let batch = pull.producer.publish_batch(&mut jobs);
    assert_eq!(batch.accepted, 50);
    let refused = batch.refused.unwrap();
    assert!(refused.is_full());
    assert_eq!(refused.into_inner().number, 50);
    assert_eq!(jobs.next().unwrap().number, 51);
    for n in 0..50 {
        let delivery = pull.get().unwrap();
        assert_eq!(delivery.number, n, "a lane keeps its order");
        delivery.ack().unwrap();
    }
    drop(jobs);
    assert_eq!(census.alive(), 0);
    pull.settled();
}

#[test]
fn an_invalid_job_ends_a_batch_where_it_stands() {
    let pull = Pull::<Counted>::new(q(50));
    let census = Census::default();
    let mut jobs = [1, 2, u32::MAX, 4].into_iter().map(|n| census.born(n));
    let batch = pull.producer.publish_batch(&mut jobs);
    assert_eq!(batch.accepted, 2);
    let refused = batch.refused.unwrap();
    assert_eq!(refused.to_string(), "the payload is invalid: the number is too large");
    assert_eq!(refused.into_inner().number, u32::MAX);
    assert_eq!(pull.producer.publish_batch(&mut jobs).accepted, 1);
    let counts = pull.settled();
    assert_eq!((counts.accepted, counts.rejected_invalid), (3, 1));
}

#[test]
fn a_batch_over_several_lanes_keeps_the_order_of_each() {
    let lanes = (0..3).map(|n| LaneConfig::new(format!("lane {n}")));
    let pull = Pull::<u32>::new(q(500).lanes(lanes));
    let mut jobs = (0..300).map(|n| Job::new(n).lane((n / 7 % 3) as usize));
    assert_eq!(pull.producer.publish_batch(&mut jobs).accepted, 300);
    let mut last = [None; 3];
    for _ in 0..300 {
        let delivery = pull.get().unwrap();
        assert!(last[delivery.lane()] < Some(*delivery));
        last[delivery.lane()] = Some(*delivery);
        delivery.ack().unwrap();
    }
}

#[test]
fn reserved_slots_cannot_be_taken_by_others_and_come_back_unused() {
    let pull = Pull::<u32>::new(q(10));
    let mut permits = pull.producer.reserve(0, 6).unwrap();
    assert_eq!(pull.producer.reserve(0, 5).unwrap_err(), Refusal::Full { retry_after: None }, "all or none");
    let other = pull.queue.producer().unwrap();
    assert_eq!((0..20).take_while(|&n| other.publish(n).is_ok()).count(), 4);
    for n in 0..3 {
        permits.publish(n).unwrap();
    }
    assert_eq!(permits.len(), 3);
    drop(permits);
    assert_eq!((0..20).take_while(|&n| other.publish(n).is_ok()).count(), 3);
    assert_eq!(pull.producer.reserve(1, 1).unwrap_err(), Refusal::NoSuchLane { lane: 1, lanes: 1 });
    assert!(pull.producer.reserve(0, 0).unwrap().is_empty());
    pull.settled();
}

#[test]
fn an_invalid_payload_is_refused_before_anything_is_taken() {
    let pull = Pull::<Counted>::new(q(1));
    let census = Census::default();
    let error = pull.producer.publish(census.born(u32::MAX)).unwrap_err();
    assert_eq!(*error.refusal(), Refusal::Invalid { reason: "the number is too large".into() });
    assert_eq!(error.into_inner().number, u32::MAX);
    assert_eq!((pull.queue.depth(), pull.counts().rejected_invalid, pull.counts().accepted), (0, 1, 0));
    assert!(pull.get().is_none());
    // the only slot is still there, for a permit too, and an invalid job gives its permit back
    let mut permit = pull.producer.reserve(0, 1).unwrap();
    assert!(permit.publish(census.born(u32::MAX)).is_err());
    drop(permit);
    pull.producer.publish(census.born(1)).unwrap();
    pull.settled();
}

#[test]
fn a_lane_that_is_not_there_is_named() {
    let pull = Pull::<u32>::new(q(4).lanes([LaneConfig::new("a"), LaneConfig::new("b")]));
    let error = pull.producer.publish(Job::new(1).lane(2)).unwrap_err();
    assert_eq!(error.to_string(), "lane is 2, the queue has lanes 0..2");
    assert_eq!(pull.counts().rejected_other, 1);
}

/// A lane with a reserve waits in its own line and in the shared one: no turns, no polling, and each slot goes to the first who may have it.
#[test]
fn publishers_of_a_lane_with_a_reserve_are_served_in_the_order_they_came() {
    watched(|| {
        let mut builder = Runtime::builder();
        let lanes = [LaneConfig::new("high").reserve(1), LaneConfig::new("low")];
        let queue = builder.pull_queue::<u32>(q(2).lanes(lanes)).unwrap();
        let runtime = builder.build().unwrap();
        let producer = queue.producer().unwrap();
        producer.publish(Job::new(100)).unwrap();
        producer.publish(Job::new(200).lane(1)).unwrap();
        let mut waiting = Vec::new();
        for (n, lane) in [(1, 0), (2, 1), (3, 0)] {
            let producer = queue.producer().unwrap();
            waiting.push(std::thread::spawn(move || producer.publish_timeout(Job::new(n).lane(lane), Duration::MAX).map(drop)));
            eventually("it waits", || snapshot(&runtime).publishers_waiting == n as usize);
        }
        let consumer = queue.consumer().unwrap();
        let (reserved, shared) = (consumer.recv().unwrap(), consumer.recv().unwrap());
        assert_eq!((*reserved, *shared), (100, 200));
        // the shared slot goes to the first of all; that of the reserve to the second of its lane, past one who may not have it
        for (ends, comes, left) in [(shared, 1, 2), (reserved, 3, 1)] {
            ends.ack().unwrap();
            let delivery = consumer.recv().unwrap();
            assert_eq!((*delivery, snapshot(&runtime).publishers_waiting), (comes, left));
            // it keeps its slot
            std::mem::forget(delivery);
        }
        let held = snapshot(&runtime);
        assert_eq!((held.phases.running, held.free), (2, 0));
        runtime.shutdown(at_once());
        let refused: Vec<_> = waiting.into_iter().map(|thread| thread.join().unwrap().err().map(|error| error.into_inner())).collect();
        assert_eq!(refused, [None, Some(2), None]);
    });
}
