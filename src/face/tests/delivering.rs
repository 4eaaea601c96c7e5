//! Who gets which job, and what they know of it.

use super::*;
use crate::tests::threads::Mutex;
use crate::{CancelCause, Context, Discipline, Job, LaneConfig, RecvError, Refusal, Verdict};
use std::collections::HashMap;

#[test]
fn weighted_lanes_get_exactly_their_share() {
    let picks = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&picks);
    let lanes = [LaneConfig::new("six").weight(6), LaneConfig::new("three").weight(3)];
    let push = Push::new(q(20_000).lanes(lanes), move |_: &u32, context: &Context<u32>| log.lock().unwrap().push(context.lane()));
    for lane in [0, 1] {
        assert_eq!(push.producer.publish_batch(&mut (0..9_000).map(|n| Job::new(n).lane(lane))).accepted, 9_000);
    }
    push.turn();
    let picks = picks.lock().unwrap();
    assert_eq!(picks[..9_000].iter().filter(|&&lane| lane == 0).count(), 6_000);
    for (at, cycle) in picks[..9_000].chunks(9).enumerate() {
        assert_eq!(cycle.iter().filter(|&&lane| lane == 1).count(), 3, "cycle {at}: {cycle:?}");
    }
    assert_eq!(picks.len(), 18_000, "and when one is empty, the other gets everything");
    assert!(picks[13_500..].iter().all(|&lane| lane == 1));
    let seen = snapshot(&push.runtime);
    assert_eq!(seen.lanes.iter().map(|lane| (lane.name.as_str(), lane.started)).collect::<Vec<_>>(), [("six", 9_000), ("three", 9_000)]);
    push.settled();
}

#[test]
fn a_pull_queue_shares_its_lanes_out_as_well() {
    let lanes = [LaneConfig::new("six").weight(6), LaneConfig::new("three").weight(3)];
    let pull = Pull::<u32>::new(q(2_000).lanes(lanes));
    for lane in [0, 1] {
        pull.producer.publish_batch(&mut (0..900).map(|n| Job::new(n).lane(lane)));
    }
    let mut picks = [0; 2];
    for _ in 0..900 {
        let delivery = pull.get().unwrap();
        picks[delivery.lane()] += 1;
        delivery.ack().unwrap();
    }
    assert_eq!(picks, [600, 300]);
}

#[test]
fn strict_lanes_go_from_top_to_bottom() {
    let lanes = ["a", "b", "c"].map(LaneConfig::new);
    let pull = Pull::<u32>::new(q(64).lanes(lanes).discipline(Discipline::Strict { max_wait: secs(3_600) }));
    for n in 0..30 {
        pull.producer.publish(Job::new(n).lane(n as usize % 3)).unwrap();
    }
    let lanes = pull.ack_all(Delivery::lane);
    assert!(lanes.is_sorted() && lanes.len() == 30, "{lanes:?}");
}

#[test]
fn a_pool_serves_its_queues_by_their_weights() {
    let clock = Arc::new(ManualClock::new());
    let picks = Arc::new(Mutex::new(Vec::new()));
    let mut builder = Runtime::builder().manual(clock);
    let handler = |name: &'static str| {
        let log = Arc::clone(&picks);
        move |_: &u32, _: &Context<u32>| log.lock().unwrap().push(name)
    };
    let critical = builder.queue(QueueConfig::new("critical").capacity(8_000).weight(6), handler("critical")).unwrap();
    let default = builder.queue(QueueConfig::new("default").capacity(8_000).weight(3), handler("default")).unwrap();
    let low = builder.queue(QueueConfig::new("low").capacity(8_000), handler("low")).unwrap();
    builder.pool(PoolConfig::new("default").workers(1)).unwrap();
    let runtime = builder.build().unwrap();
    for queue in [&critical, &default, &low] {
        queue.producer().unwrap().publish_batch(&mut (0..6_000));
    }
    runtime.turn();
    let picks = picks.lock().unwrap();
    let mut counts = HashMap::new();
    for name in &picks[..1_000] {
        *counts.entry(*name).or_insert(0) += 1;
    }
    assert_eq!((counts["critical"], counts["default"], counts["low"]), (600, 300, 100));
    assert_eq!(picks.len(), 18_000);
    adds_up(&runtime);
}

#[test]
fn what_a_stuck_worker_has_claimed_is_run_by_another() {
    watched(|| {
        let handler_door = Door::default();
        let inner = handler_door.clone();
        let ran = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&ran);
        let mut builder = Runtime::builder();
        let queue = builder
            .queue(q(64).prefetch(8), move |n: &u32, _: &Context<u32>| {
                if *n == 0 {
                    inner.pass();
                }
                log.lock().unwrap().push(*n);
            })
            .unwrap();
        builder.pool(PoolConfig::new("default").workers(2).spares(0)).unwrap();
        let runtime = builder.build().unwrap();
        // one batch: whoever gets the first has the others behind it
        queue.producer().unwrap().publish_batch(&mut (0..9));
        eventually("the others have run", || ran.lock().unwrap().len() == 8);
        handler_door.open();
        eventually("all have run", || snapshot(&runtime).counts.acked == 9);
        let counts = runtime.shutdown(ShutdownOptions::default()).queue("q").unwrap().counts;
        assert_eq!((counts.acked, counts.expired_leases, counts.started), (9, 0, 9));
    });
}

#[test]
fn a_worker_that_was_woken_for_a_long_job_keeps_nobody_asleep() {
    watched(|| {
        for _ in 0..20 {
            let door = Door::default();
            let inner = door.clone();
            let mut builder = Runtime::builder();
            let queue = builder
                .queue(q(64), move |long: &bool, _: &Context<bool>| {
                    if *long {
                        inner.pass();
                    }
                })
                .unwrap();
            builder.pool(PoolConfig::new("default").workers(2).spares(0)).unwrap();
            let runtime = builder.build().unwrap();
            let producer = queue.producer().unwrap();
            eventually("both sleep", || runtime.snapshot().pools[0].parks.iter().all(|&parks| parks > 0));
            producer.publish(true).unwrap();
            eventually("the long job runs", || snapshot(&runtime).counts.started == 1);
            let begun = Instant::now();
            producer.publish(false).unwrap();
            eventually("the other worker does the rest", || snapshot(&runtime).counts.acked == 1);
            assert!(begun.elapsed() < ms(400), "woken, not found by a heartbeat");
            door.open();
        }
    });
}

#[test]
fn a_claimed_job_that_nobody_starts_is_not_redelivered_but_passed_on() {
    let pull = Pull::<u32>::new(q(64).prefetch(8).visibility(ms(100)));
    pull.producer.publish_batch(&mut (0..8));
    let running = pull.get().unwrap();
    assert_eq!(*running, 0);
    // the others are claimed by this consumer, which looks no more; ten times the visibility passes
    for _ in 0..10 {
        pull.advance(ms(100));
    }
    running.ack().unwrap_err();
    let colleague = pull.queue.consumer().unwrap();
    let mut seen = Vec::new();
    while let Ok(delivery) = colleague.try_recv() {
        if *delivery != 0 {
            assert_eq!((delivery.attempt(), delivery.failures()), (1, 0), "a claim is no delivery");
        }
        seen.push(*delivery);
        delivery.ack().unwrap();
    }
    seen.sort();
    assert_eq!(seen, (0..8).collect::<Vec<_>>());
    assert!(pull.get().is_none(), "the first consumer has none of them any more");
    let counts = pull.settled();
    assert_eq!((counts.expired_leases, counts.acked), (1, 8));
}

#[test]
fn a_consumer_whose_claims_were_taken_back_finds_what_a_colleague_has_claimed() {
    let pull = Pull::<u32>::new(q(64).prefetch(8).visibility(ms(100)));
    pull.producer.publish_batch(&mut (0..3));
    let mut running = pull.get().unwrap();
    // this consumer looks no more: its two claims go back to the lane, and a colleague claims both and starts one
    let colleague = pull.queue.consumer().unwrap();
    for _ in 0..20 {
        pull.advance(ms(20));
        running.extend(ms(100)).unwrap();
    }
    let started = colleague.try_recv().unwrap();
    assert_eq!(*started, 1);
    assert_eq!(pull.get().as_deref(), Some(&2), "one of its colleague's claims is nobody's yet");
}

#[test]
fn a_consumer_that_goes_gives_back_what_it_has_claimed() {
    let pull = Pull::<u32>::new(q(64).prefetch(8));
    pull.producer.publish_batch(&mut (0..8));
    let other = pull.queue.consumer().unwrap();
    let first = other.try_recv().unwrap();
    drop(other);
    let mut left = pull.ack_all(|delivery| **delivery);
    left.sort();
    assert_eq!(left, (1..8).collect::<Vec<_>>());
    // a delivery outlives its consumer
    first.ack().unwrap();
    assert_eq!(pull.settled().acked, 8);
}

#[test]
fn a_delivery_of_a_consumer_that_is_gone_still_has_a_lease() {
    let pull = Pull::<u32>::new(q(4).visibility(ms(100)));
    pull.producer.publish(1).unwrap();
    let other = pull.queue.consumer().unwrap();
    let delivery = other.try_recv().unwrap();
    drop(other);
    pull.advance(ms(99));
    assert!(delivery.is_current());
    pull.advance(ms(100));
    assert!(!delivery.is_current());
    assert_eq!(pull.get().unwrap().attempt(), 2);
}

#[test]
fn a_forgotten_delivery_runs_out_and_a_dropped_one_failed() {
    let pull = Pull::<u32>::new(q(4).visibility(ms(100)).retry(at_once_up_to(5)));
    pull.producer.publish(1).unwrap();
    std::mem::forget(pull.get().unwrap());
    pull.advance(ms(99));
    assert!(pull.get().is_none());
    pull.advance(ms(30));
    let delivery = pull.get().unwrap();
    assert_eq!((delivery.attempt(), delivery.failures()), (2, 0));
    drop(delivery);
    let delivery = pull.get().unwrap();
    assert_eq!((delivery.attempt(), delivery.failures()), (3, 1));
    let counts = pull.settled();
    assert_eq!((counts.abandoned, counts.retried, counts.expired_leases), (1, 1, 1));
    delivery.reject("enough").unwrap();
    // the forgotten one may be read for ever: its slot lingers with the letter unwritten
    assert_eq!(pull.seen().phases.zombies, 1);
    pull.settled();
}

#[test]
fn a_dropped_delivery_leaves_its_reason() {
    let pull = Pull::<u32>::new(q(4).retry(at_once_up_to(1)));
    pull.producer.publish(1).unwrap();
    drop(pull.get());
    let letter = pull.queue.dead_letters().take().unwrap();
    assert_eq!(letter.record().last_error.as_deref(), Some("the delivery was dropped unsettled"));
}

#[test]
fn a_handler_is_told_why_it_should_come_to_an_end() {
    let pull = Pull::<u32>::new(q(4));
    let job = pull.producer.publish(1).unwrap();
    let delivery = pull.get().unwrap();
    assert_eq!(delivery.cancelled(), None);
    assert!(pull.queue.cancel(job));
    assert!(delivery.cancelled() == Some(CancelCause::Cancelled) && delivery.is_current());
    delivery.retry("stopped half-way").unwrap();
    assert!(pull.get().is_none(), "a cancelled job does not come back");
    assert!(!pull.queue.cancel(job));
    assert_eq!(pull.settled().dropped_cancelled, 1);
}

#[test]
fn each_cause_of_cancellation_reaches_a_running_handler() {
    watched(|| {
        let causes = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&causes);
        let mut builder = Runtime::builder();
        let queue = builder
            .queue(q(8).visibility(secs(600)), move |n: &u32, context: &Context<u32>| {
                assert_eq!(context.cancelled(), None);
                log.lock().unwrap().push((*n, None));
                let mut cause = None;
                eventually("it is told", || {
                    cause = context.cancelled();
                    cause.is_some()
                });
                log.lock().unwrap().push((*n, cause));
            })
            .unwrap();
        builder.pool(PoolConfig::new("default").workers(1)).unwrap();
        let runtime = builder.build().unwrap();
        let producer = queue.producer().unwrap();
        let seen = |n, cause| causes.lock().unwrap().contains(&(n, cause));
        let job = producer.publish(1).unwrap();
        eventually("it runs", || seen(1, None));
        assert!(queue.cancel(job));
        eventually("it was cancelled", || seen(1, Some(CancelCause::Cancelled)));
        producer.publish(Job::new(2).visibility(ms(5))).unwrap();
        eventually("it lost its lease", || seen(2, Some(CancelCause::LeaseLost)));
        // the redelivery of 2 loses its lease as well, and again, until its expiries are used up
        eventually("it is dead", || snapshot(&runtime).counts.dead_expiries == 1);
        producer.publish(3).unwrap();
        eventually("it runs", || seen(3, None));
        let report = runtime.shutdown(ShutdownOptions::new(Duration::ZERO, secs(10)));
        assert!(seen(3, Some(CancelCause::Shutdown)));
        assert!(report.running().is_empty());
        assert!(report.queue("q").unwrap().ledger_balances());
    });
}

#[test]
fn waiting_and_delayed_jobs_can_be_cancelled_once() {
    let pull = Pull::<u32>::new(q(8));
    let waiting = pull.producer.publish(1).unwrap();
    let delayed = pull.producer.publish_after(2, secs(3_600)).unwrap();
    let kept = pull.producer.publish(3).unwrap();
    pull.advance(ms(5));
    for job in [waiting, delayed] {
        assert!(pull.queue.cancel(job));
        assert!(!pull.queue.cancel(job));
    }
    pull.advance(ms(5));
    let delivery = pull.get().unwrap();
    assert_eq!(delivery.job_id(), kept);
    delivery.ack().unwrap();
    assert!(pull.get().is_none());
    assert!(!pull.queue.cancel(kept), "it is over");
    let counts = pull.settled();
    assert_eq!((counts.dropped_cancelled, counts.acked, pull.queue.depth()), (2, 1, 0));
}

#[test]
fn a_cancelled_job_that_is_acked_all_the_same_is_done() {
    let pull = Pull::<u32>::new(q(8));
    let job = pull.producer.publish(1).unwrap();
    let delivery = pull.get().unwrap();
    assert!(pull.queue.cancel(job));
    delivery.ack().unwrap();
    let counts = pull.settled();
    assert_eq!((counts.acked, counts.dropped_cancelled), (1, 0));
}

#[test]
fn a_cancelled_job_whose_lease_runs_out_does_not_come_back() {
    let pull = Pull::<u32>::new(q(8).visibility(ms(10)));
    let job = pull.producer.publish(1).unwrap();
    let delivery = pull.get().unwrap();
    assert!(pull.queue.cancel(job));
    pull.advance(ms(50));
    assert!(pull.get().is_none());
    assert_eq!(delivery.ack().unwrap_err().became(), crate::Became::Ended);
    let counts = pull.settled();
    assert_eq!((counts.acked, counts.dropped_cancelled, pull.queue.depth()), (0, 1, 0));
}

#[test]
fn a_paused_queue_starts_nothing_and_takes_in_everything() {
    let pull = Pull::<u32>::new(q(8));
    pull.producer.publish(1).unwrap();
    let running = pull.get().unwrap();
    pull.queue.pause();
    pull.producer.publish(2).unwrap();
    pull.producer.publish_after(3, ms(5)).unwrap();
    pull.advance(ms(100));
    assert_eq!(pull.consumer.try_recv().unwrap_err(), RecvError::Empty);
    running.ack().unwrap();
    assert!(pull.seen().paused);
    pull.queue.resume();
    assert_eq!((*pull.get().unwrap(), *pull.get().unwrap()), (2, 3));
}

#[test]
fn resume_wakes_sleeping_workers() {
    watched(|| {
        let mut builder = Runtime::builder();
        let queue = builder.queue(q(8), |_: &u32, _: &Context<u32>| ()).unwrap();
        builder.pool(PoolConfig::new("default").workers(2)).unwrap();
        let runtime = builder.build().unwrap();
        queue.pause();
        queue.producer().unwrap().publish_batch(&mut (0..5));
        std::thread::sleep(ms(20));
        assert_eq!(snapshot(&runtime).counts.started, 0);
        queue.resume();
        eventually("all have run", || snapshot(&runtime).counts.acked == 5);
        assert_eq!(runtime.snapshot().wake_rescued(), 0);
    });
}

#[test]
fn a_purge_drops_what_waits_and_nothing_else() {
    let census = Census::default();
    let pull = Pull::<Counted>::new(q(64).prefetch(8));
    for n in 0..20 {
        pull.producer.publish(census.born(n)).unwrap();
    }
    pull.producer.publish_after(census.born(100), ms(50)).unwrap();
    let running = pull.get().unwrap();
    let purged = pull.queue.purge();
    assert_eq!(purged, 19, "what the consumer has claimed and not started waits as well");
    assert_eq!(census.alive(), 2);
    assert!(pull.get().is_none());
    running.ack().unwrap();
    pull.advance(ms(60));
    assert_eq!(pull.get().unwrap().number, 100);
    let counts = pull.settled();
    assert_eq!((counts.dropped_purged, counts.acked), (19, 1));
}

#[test]
fn a_handler_that_would_wait_for_its_own_runtime_is_told_so() {
    watched(|| {
        let mut builder = Runtime::builder();
        let inbox = builder.pull_queue::<u32>(QueueConfig::new("inbox").capacity(1)).unwrap();
        let producer = Mutex::new(inbox.producer().unwrap());
        let consumer = Mutex::new(inbox.consumer().unwrap());
        let results = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&results);
        let queue = builder
            .queue(q(4), move |_: &u32, _: &Context<u32>| {
                let (producer, consumer) = (producer.lock().unwrap(), consumer.lock().unwrap());
                // while there is room and work, nothing has to wait
                producer.publish_timeout(1, Duration::MAX).unwrap();
                let full = producer.publish_timeout(2, Duration::MAX).unwrap_err();
                assert_eq!(full.refusal(), &Refusal::WouldDeadlock);
                consumer.recv().unwrap().ack().unwrap();
                let empty = consumer.recv().unwrap_err();
                log.lock().unwrap().push((full.into_inner(), empty));
            })
            .unwrap();
        builder.pool(PoolConfig::new("default").workers(1)).unwrap();
        let runtime = builder.build().unwrap();
        queue.producer().unwrap().publish(0).unwrap();
        eventually("it has run", || runtime.snapshot().queue("q").unwrap().counts.acked == 1);
        assert_eq!(*results.lock().unwrap(), [(2, RecvError::WouldDeadlock)]);
        let inbox = runtime.snapshot().queue("inbox").unwrap().counts;
        assert_eq!((inbox.rejected_full, inbox.rejected_other), (0, 1));
    });
}

#[test]
fn a_handler_of_another_runtime_may_wait() {
    watched(|| {
        let mut other = Runtime::builder();
        let numbers = other.pull_queue::<u32>(QueueConfig::new("numbers").capacity(1)).unwrap();
        let other = other.build().unwrap();
        let consumer = Mutex::new(numbers.consumer().unwrap());
        let mut builder = Runtime::builder();
        let queue = builder.queue(q(4), move |_: &u32, _: &Context<u32>| consumer.lock().unwrap().recv().unwrap().ack().unwrap()).unwrap();
        builder.pool(PoolConfig::new("default").workers(1)).unwrap();
        let runtime = builder.build().unwrap();
        queue.producer().unwrap().publish(0).unwrap();
        eventually("it runs", || snapshot(&runtime).counts.started == 1);
        numbers.producer().unwrap().publish(1).unwrap();
        eventually("it is done", || snapshot(&runtime).counts.acked == 1);
        assert_eq!(adds_up(&other).acked, 1);
    });
}

#[test]
fn deliveries_are_numbered_from_one_and_know_their_job() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let push = Push::new(q(4).lanes(["a", "b"].map(LaneConfig::new)).retry(at_once_up_to(9)), move |_: &u32, context: &Context<u32>| {
        log.lock().unwrap().push((context.job_id(), context.lane(), context.attempt(), context.failures(), context.expiries()));
        assert_eq!(context.worker(), Some(0));
        match context.attempt() {
            1 | 3 => Verdict::Retry("again".into()),
            2 => Verdict::Snooze(Duration::ZERO),
            _ => Verdict::Ack,
        }
    });
    let job = Some(push.producer.publish(Job::new(1).lane(1)).unwrap());
    push.turn();
    assert_eq!(*seen.lock().unwrap(), [(job, 1, 1, 0, 0), (job, 1, 2, 1, 0), (job, 1, 3, 1, 0), (job, 1, 4, 2, 0)]);
}

#[test]
fn many_consumers_and_producers_get_each_job_once() {
    watched(|| {
        let mut builder = Runtime::builder();
        let queue = builder.pull_queue::<u64>(q(100)).unwrap();
        let runtime = builder.build().unwrap();
        let sum = std::sync::atomic::AtomicU64::new(0);
        crate::tests::threads::scope(|scope| {
            for me in 0..4u64 {
                let producer = queue.producer().unwrap();
                scope.spawn(move || {
                    for n in 0..5_000 {
                        producer.publish_timeout(me * 5_000 + n, Duration::MAX).unwrap();
                    }
                });
            }
            for _ in 0..4 {
                let consumer = queue.consumer().unwrap();
                let sum = &sum;
                scope.spawn(move || {
                    for _ in 0..5_000 {
                        let delivery = consumer.recv().unwrap();
                        sum.fetch_add(*delivery, SeqCst);
                        delivery.ack().unwrap();
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), (0..20_000).sum::<u64>());
        let counts = adds_up(&runtime);
        assert_eq!((counts.acked, counts.expired_leases, counts.wake_rescued), (20_000, 0, 0));
    });
}
