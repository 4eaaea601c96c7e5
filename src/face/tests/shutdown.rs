//! The end of a runtime: nothing is lost, nothing hangs.

use super::*;
use crate::tests::threads::Mutex;
use crate::{Batch, Context, DeadLetterConfig, Job, JobId, LaneConfig, Origin, RecvError, Refusal, ShutdownReport, Undone, Verdict};
use std::collections::BTreeSet;

fn by_number(mut undone: Vec<Undone<Counted>>) -> Vec<(u32, Origin)> {
    undone.sort_by_key(|job| job.payload.number);
    undone.iter().map(|job| (job.payload.number, job.origin)).collect()
}

fn balanced<'a>(report: &'a ShutdownReport, name: &str) -> &'a QueueSnapshot {
    let seen = report.queue(name).unwrap();
    assert!(seen.ledger_balances(), "{seen:#?}");
    seen
}

#[test]
fn waiting_claimed_delayed_and_held_jobs_come_back_by_value() {
    let census = Census::default();
    let pull = Pull::<Counted>::new(q(32).prefetch(4).dead_letters(DeadLetterConfig::new().capacity(1)));
    let Pull { runtime, queue, producer, consumer, .. } = pull;
    for n in 0..3 {
        producer.publish(census.born(n)).unwrap();
    }
    for n in 0..3 {
        consumer.try_recv().unwrap().reject(format!("no {n}")).unwrap();
    }
    for n in 10..20 {
        producer.publish(census.born(n)).unwrap();
    }
    producer.publish_after(census.born(30), secs(3_600)).unwrap();
    runtime.turn();
    producer.publish_after(census.born(31), secs(3_600)).unwrap();
    let running = consumer.try_recv().unwrap();
    assert_eq!(running.number, 10);
    let mut report = runtime.shutdown(at_once());
    assert!(!report.is_clean());
    assert_eq!(
        report.running().iter().map(|job| (job.queue.as_str(), job.job, job.attempt)).collect::<Vec<_>>(),
        [("q", running.job_id(), 1)]
    );
    let seen = balanced(&report, "q");
    assert_eq!((seen.counts.accepted, seen.counts.handed_back, seen.dead_letters), (15, 13, 1));
    let undone = report.take_undone(&queue);
    let held: Vec<_> = undone.iter().filter(|job| job.origin == Origin::Held).map(|job| job.last_error.as_deref().unwrap()).collect();
    assert_eq!(held, ["no 1", "no 2"]);
    let mut expected = vec![(1, Origin::Held), (2, Origin::Held)];
    expected.extend((11..20).map(|n| (n, Origin::Waiting)));
    expected.extend([(30, Origin::Delayed), (31, Origin::Delayed)]);
    assert_eq!(by_number(undone), expected);
    assert!(report.take_undone(&queue).is_empty(), "once");
    running.ack().unwrap();
    drop((report, queue, producer, consumer));
    assert_eq!(census.alive(), 0, "the letter goes with the last handle");
}

#[test]
fn after_a_shutdown_publishes_are_refused_and_receivers_are_told() {
    let pull = Pull::<u32>::new(q(4));
    let (queue, producer, consumer) = (pull.queue.clone(), pull.producer, pull.consumer);
    producer.publish(1).unwrap();
    let mut permits = producer.reserve(0, 1).unwrap();
    let _ = pull.runtime.shutdown(at_once());
    for refused in [
        producer.publish(2),
        producer.try_publish(2),
        producer.publish_timeout(2, secs(60)),
        producer.publish_after(2, ms(1)),
        permits.publish(2),
    ] {
        let error = refused.unwrap_err();
        assert!(error.is_closed());
        assert_eq!((error.to_string().as_str(), error.into_inner()), ("the queue is closed", 2));
    }
    assert!(producer.publish_batch(&mut (0..3)).refused.unwrap().is_closed());
    assert_eq!(producer.reserve(0, 1).unwrap_err(), Refusal::Closed);
    assert_eq!(queue.dead_letters().redrive(), Err(Refusal::Closed));
    assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Closed);
    assert_eq!(consumer.recv().unwrap_err(), RecvError::Closed);
    assert_eq!((queue.purge(), queue.cancel(JobId(1)), queue.reclaim().len()), (0, false, 0));
}

/// The iterator of a batch is user code, and may take its time.
#[test]
fn a_queue_that_closes_under_a_batch_takes_in_no_more_of_it() {
    for partitions in [None, Some(8)] {
        let pull = Pull::<u32>::new(partitions.map_or(q(64), |count| q(64).partitions(count)));
        let handle = pull.runtime.shutdown_handle();
        let mut jobs = (0..20).map(|number| {
            if number == 2 {
                handle.request();
            }
            Job::new(number).partition_key(b"a")
        });
        let Batch { accepted, refused, .. } = pull.producer.publish_batch(&mut jobs);
        let error = refused.unwrap();
        assert_eq!((accepted, error.is_closed(), error.into_inner(), jobs.len()), (2, true, 2, 17));
        drop(jobs);
        let report = pull.runtime.shutdown(at_once());
        assert_eq!((balanced(&report, "q").counts.accepted, report.undone_count(), pull.queue.reclaim().len()), (2, 2, 0));
    }
}

#[test]
fn a_delivery_may_be_settled_after_the_shutdown_and_a_failed_one_is_reclaimed() {
    let census = Census::default();
    let pull = Pull::<Counted>::new(q(8).retry(at_once_up_to(5)));
    for n in 0..6 {
        pull.producer.publish(census.born(n)).unwrap();
    }
    let mut running: Vec<_> = std::iter::from_fn(|| pull.get()).collect();
    let queue = pull.queue.clone();
    let report = pull.runtime.shutdown(at_once());
    assert_eq!((report.running().len(), report.undone_count()), (6, 0));
    balanced(&report, "q");
    running.remove(0).ack().unwrap();
    running.remove(0).reject("no").unwrap();
    running.remove(0).retry("again").unwrap();
    running.remove(0).snooze(secs(5)).unwrap();
    running.remove(0).complete_with(census.born(100)).unwrap();
    drop(running.remove(0));
    let mut undone = queue.reclaim();
    undone.sort_by_key(|job| job.payload.number);
    let seen: Vec<_> = undone.iter().map(|job| (job.payload.number, job.failures, job.last_error.as_deref(), job.origin)).collect();
    let dropped = Some("the delivery was dropped unsettled");
    assert_eq!(
        seen,
        [
            (2, 1, Some("again"), Origin::Interrupted),
            (3, 0, None, Origin::Interrupted),
            (5, 1, dropped, Origin::Interrupted),
            (100, 0, None, Origin::Waiting),
        ]
    );
    drop(undone);
    assert_eq!((census.alive(), queue.dead_letters().len(), queue.depth()), (1, 1, 0));
    let counts = queue.counts();
    assert_eq!((counts.accepted, counts.acked, counts.handed_back, counts.dead_lettered), (7, 2, 4, 1));
}

#[test]
fn nobody_waits_for_a_pull_queue_that_has_no_consumer() {
    watched(|| {
        let mut builder = Runtime::builder();
        let queue = builder.pull_queue::<u32>(q(8)).unwrap();
        let runtime = builder.build().unwrap();
        let producer = queue.producer().unwrap();
        producer.publish(1).unwrap();
        producer.publish_after(2, ms(1)).unwrap();
        // one that came and went is no consumer either; its delivery is waited for
        let consumer = queue.consumer().unwrap();
        let delivery = consumer.recv().unwrap();
        drop(consumer);
        let settles = std::thread::spawn(move || {
            std::thread::sleep(ms(30));
            delivery.snooze(Duration::ZERO).is_ok()
        });
        let begun = Instant::now();
        let mut report = runtime.shutdown(ShutdownOptions::new(secs(25), secs(1)));
        assert!(begun.elapsed() < secs(20));
        assert!(settles.join().unwrap());
        let mut undone: Vec<u32> = report.take_undone(&queue).into_iter().map(|job| job.payload).collect();
        undone.sort_unstable();
        assert_eq!((undone, report.running().len()), (vec![1, 2], 0));
    });
}

#[test]
fn a_drain_finishes_what_waits_and_what_becomes_due_in_time() {
    watched(|| {
        let mut builder = Runtime::builder();
        let queue = builder.queue(q(1_000), |_: &u32, _: &Context<u32>| std::thread::sleep(Duration::from_micros(50))).unwrap();
        builder.pool(PoolConfig::new("default").workers(2)).unwrap();
        let runtime = builder.build().unwrap();
        let producer = queue.producer().unwrap();
        producer.publish_batch(&mut (0..500));
        producer.publish_after(1, ms(30)).unwrap();
        producer.publish_after(2, secs(3_600)).unwrap();
        let mut report = runtime.shutdown(ShutdownOptions::new(secs(20), secs(1)));
        let seen = balanced(&report, "q");
        assert_eq!((seen.counts.acked, seen.counts.handed_back), (501, 1));
        assert!(report.running().is_empty());
        let undone = report.take_undone(&queue);
        assert_eq!((undone[0].payload, undone[0].origin), (2, Origin::Delayed));
    });
}

#[test]
fn with_a_handler_stuck_for_ever_shutdown_returns_by_its_deadline_and_names_the_job() {
    watched(|| {
        let door = Door::default();
        let inner = door.clone();
        let mut builder = Runtime::builder();
        let queue = builder
            .queue(q(64).prefetch(8), move |n: &u32, _: &Context<u32>| {
                if *n == 0 {
                    inner.pass();
                }
            })
            .unwrap();
        builder.pool(PoolConfig::new("default").workers(1).spares(0)).unwrap();
        let runtime = builder.build().unwrap();
        let producer = queue.producer().unwrap();
        producer.publish_batch(&mut (0..20));
        eventually("it runs", || snapshot(&runtime).counts.started == 1);
        let begun = Instant::now();
        let mut report = runtime.shutdown(ShutdownOptions::new(ms(50), ms(50)));
        assert!((ms(100)..secs(5)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        assert!(!report.is_clean());
        assert_eq!(report.running().len(), 1);
        let mut numbers: Vec<u32> = report.take_undone(&queue).iter().map(|job| job.payload).collect();
        numbers.sort();
        assert_eq!(numbers, (1..20).collect::<Vec<_>>(), "what the stuck worker had claimed, too");
        let seen = balanced(&report, "q");
        assert_eq!((seen.counts.handed_back, seen.held()), (19, 1));
        door.open();
        eventually("the late handler acks", || queue.counts().acked == 1);
        assert!(queue.reclaim().is_empty());
    });
}

#[test]
fn under_load_every_accepted_job_is_done_dead_dropped_or_returned_once() {
    watched(|| {
        for round in 0..15u64 {
            let done = Arc::new(Mutex::new(Vec::new()));
            let log = Arc::clone(&done);
            let mut builder = Runtime::builder().seed(round);
            let retry = RetryPolicy::new().max_attempts(3).backoff(Backoff::fixed(ms(1)));
            let queue = builder
                .queue(q(256).retry(retry), move |n: &u64, _: &Context<u64>| match n % 7 {
                    3 => Err("again"),
                    5 if n.is_multiple_of(5) => panic!("now and then"),
                    _ => {
                        log.lock().unwrap().push(*n);
                        Ok(())
                    }
                })
                .unwrap();
            builder.pool(PoolConfig::new("default").workers(2)).unwrap();
            let runtime = builder.build().unwrap();
            let publishers: Vec<_> = (0..3u64)
                .map(|me| {
                    let producer = queue.producer().unwrap();
                    std::thread::spawn(move || {
                        let mut accepted = Vec::new();
                        for n in (me..).step_by(3) {
                            let published = match n % 4 {
                                0 => producer.publish_after(n, ms(2)),
                                1 => producer.publish_timeout(n, Duration::MAX),
                                _ => producer.try_publish(n),
                            };
                            match published {
                                Ok(_) => accepted.push(n),
                                Err(error) if error.is_closed() => return accepted,
                                Err(_) => std::thread::yield_now(),
                            }
                        }
                        unreachable!()
                    })
                })
                .collect();
            std::thread::sleep(ms(5 + round));
            let mut report = runtime.shutdown(ShutdownOptions::new(ms(round % 3 * 5), secs(5)));
            let accepted: BTreeSet<u64> = publishers.into_iter().flat_map(|publisher| publisher.join().unwrap()).collect();
            // a publish that met the end may have left its job to be reclaimed
            let mut ends: Vec<u64> = report.take_undone(&queue).into_iter().chain(queue.reclaim()).map(|job| job.payload).collect();
            ends.extend(std::iter::from_fn(|| queue.dead_letters().take()).map(|letter| letter.into_payload()));
            ends.append(&mut done.lock().unwrap());
            let count = ends.len();
            let ends: BTreeSet<u64> = ends.into_iter().collect();
            assert_eq!(ends.len(), count, "round {round}: disjoint");
            assert_eq!(ends, accepted, "round {round}");
            let counts = queue.counts();
            assert_eq!(counts.accepted, counts.ended(), "round {round}: {counts:?}");
            assert_eq!((queue.depth(), counts.wake_rescued), (0, 0));
        }
    });
}

#[test]
fn a_publisher_that_waits_is_let_go_with_its_job() {
    watched(|| {
        let mut builder = Runtime::builder();
        let queue = builder.pull_queue::<u32>(q(1)).unwrap();
        let runtime = builder.build().unwrap();
        let producer = queue.producer().unwrap();
        producer.publish(1).unwrap();
        let waiting = std::thread::spawn(move || producer.publish_timeout(2, Duration::MAX).unwrap_err());
        eventually("it waits", || snapshot(&runtime).publishers_waiting == 1);
        let consumer = queue.consumer().unwrap();
        let receiving = std::thread::spawn(move || {
            let _first = consumer.recv();
            consumer.recv().unwrap_err()
        });
        eventually("it runs", || snapshot(&runtime).counts.started == 1);
        let _ = runtime.shutdown(at_once());
        let error = waiting.join().unwrap();
        assert!(error.is_closed());
        assert_eq!(error.into_inner(), 2);
        assert_eq!(receiving.join().unwrap(), RecvError::Closed);
    });
}

#[test]
fn a_shutdown_may_be_asked_for_from_anywhere() {
    watched(|| {
        let mut builder = Runtime::builder();
        let asked = Arc::new(Mutex::new(None::<crate::ShutdownHandle>));
        let ask = Arc::clone(&asked);
        let queue = builder.queue(q(8), move |_: &u32, _: &Context<u32>| ask.lock().unwrap().as_ref().unwrap().request()).unwrap();
        let runtime = builder.build().unwrap();
        let handle = runtime.shutdown_handle();
        *asked.lock().unwrap() = Some(handle.clone());
        assert!(!handle.is_requested());
        let producer = queue.producer().unwrap();
        producer.publish(1).unwrap();
        runtime.wait_for_shutdown_request();
        assert!(handle.is_requested());
        assert!(producer.publish(2).unwrap_err().is_closed());
        let report = runtime.shutdown(ShutdownOptions::default());
        assert!(report.is_clean(), "{report:?}");
        handle.request();
    });
}

#[test]
fn a_handler_may_shut_its_own_runtime_down() {
    watched(|| {
        let slot = Arc::new(Mutex::new(None::<Runtime>));
        let (reports, seen) = mpsc::channel();
        let (mine, reports) = (Arc::clone(&slot), Mutex::new(reports));
        let mut builder = Runtime::builder();
        let queue = builder
            .queue(q(8).prefetch(4), move |n: &u32, _: &Context<u32>| {
                if *n == 0 {
                    let runtime = loop {
                        if let Some(runtime) = mine.lock().unwrap().take() {
                            break runtime;
                        }
                    };
                    reports.lock().unwrap().send(runtime.shutdown(ShutdownOptions::default())).unwrap();
                }
            })
            .unwrap();
        builder.pool(PoolConfig::new("default").workers(1)).unwrap();
        let runtime = builder.build().unwrap();
        queue.producer().unwrap().publish_batch(&mut (0..5));
        *slot.lock().unwrap() = Some(runtime);
        let mut report = seen.recv().unwrap();
        assert_eq!(report.running().len(), 1, "itself");
        assert_eq!(report.take_undone(&queue).len(), 4);
        balanced(&report, "q");
        eventually("it is done as well", || queue.counts().acked == 1);
    });
}

#[test]
fn a_shutdown_takes_no_attempt_and_no_pause_in_its_way() {
    let pull = Pull::<u32>::new(q(8));
    pull.producer.publish(1).unwrap();
    pull.queue.pause();
    let queue = pull.queue.clone();
    let mut report = pull.runtime.shutdown(ShutdownOptions::default());
    let undone = report.take_undone(&queue);
    assert_eq!((undone[0].payload, undone[0].failures, undone[0].expiries), (1, 0, 0));
    balanced(&report, "q");
}

#[test]
fn runtimes_start_and_stop_under_load() {
    watched(|| {
        let census = Census::default();
        for round in 0..50 {
            let mut builder = Runtime::builder();
            let queue = builder.queue(q(64), |_: &Counted, _: &Context<Counted>| ()).unwrap();
            builder.pool(PoolConfig::new("default").workers(2)).unwrap();
            let runtime = builder.build().unwrap();
            let (producer, newborn) = (queue.producer().unwrap(), census.clone());
            let publisher = std::thread::spawn(move || while producer.publish_timeout(newborn.born(1), secs(60)).is_ok() {});
            if round % 2 == 0 {
                eventually("some have run", || queue.counts().acked > 10);
            }
            let report = runtime.shutdown(ShutdownOptions::new(ms(round % 3), secs(5)));
            publisher.join().unwrap();
            assert!(report.running().is_empty());
            drop(report);
            drop(queue.reclaim());
            let counts = queue.counts();
            assert_eq!((counts.accepted, counts.wake_rescued), (counts.ended(), 0));
            assert_eq!(census.alive(), 0, "round {round}");
        }
    });
}

#[test]
fn a_running_job_that_was_cancelled_ends_cancelled_and_is_not_handed_back() {
    let Pull { runtime, queue, producer, consumer, .. } = Pull::<u32>::new(q(4));
    (0..2).for_each(|n| drop(producer.publish(n)));
    let running = [(); 2].map(|()| consumer.try_recv().unwrap());
    running.iter().for_each(|delivery| assert!(queue.cancel(delivery.job_id())));
    runtime.shutdown(at_once());
    let [first, second] = running;
    first.retry("not today").unwrap();
    second.snooze(secs(1)).unwrap();
    let counts = queue.counts();
    assert_eq!((queue.reclaim().len(), counts.handed_back, counts.dropped_cancelled), (0, 0, 2));
}

#[test]
fn the_report_has_the_number_of_a_delivery_snoozes_included() {
    let pull = Pull::<u32>::new(q(4));
    pull.producer.publish(1).unwrap();
    pull.get().unwrap().snooze(Duration::ZERO).unwrap();
    let second = pull.get().unwrap();
    let report = pull.runtime.shutdown(at_once());
    assert_eq!((second.attempt(), report.running()[0].attempt), (2, 2));
}

#[test]
fn a_dead_job_that_is_held_keeps_no_consumer_of_a_closed_queue_waiting() {
    let pull = Pull::<u32>::new(q(4).dead_letters(DeadLetterConfig::new().capacity(1)));
    for n in 0..2 {
        pull.producer.publish(n).unwrap();
        pull.get().unwrap().reject("no").unwrap();
    }
    assert_eq!(pull.seen().phases.held, 1);
    pull.runtime.shutdown_handle().request();
    assert_eq!(pull.consumer.try_recv().unwrap_err(), crate::RecvError::Closed);
    pull.runtime.shutdown(at_once());
}

#[test]
fn what_periods_and_handlers_hold_goes_with_the_runtime_though_it_is_their_own_queue() {
    let alive = Arc::new(());
    let own: Arc<std::sync::OnceLock<QueueHandle<u32>>> = Arc::default();
    let (held, handle) = (Arc::clone(&alive), Arc::clone(&own));
    let mut builder = Runtime::builder();
    let handler = move |n: &u32, _: &_| {
        let _also = &held;
        if *n > 0 {
            handle.get().unwrap().producer().unwrap().try_publish(n - 1).unwrap();
        }
    };
    let queue = builder.queue(q(4), handler).unwrap();
    let runtime = builder.build().unwrap();
    assert!(own.set(queue.clone()).is_ok());
    let (held, handle) = (Arc::clone(&alive), queue.clone());
    let make = move || {
        let _also = &held;
        handle.depth()
    };
    let periodic = queue.producer().unwrap().every(secs(3600), crate::MissedPeriods::Skip, make).unwrap();
    queue.producer().unwrap().publish(3).unwrap();
    eventually("the last has run", || queue.counts().acked == 4);
    assert!(runtime.shutdown(ShutdownOptions::default()).is_clean());
    drop((periodic, queue, own));
    eventually("all of it is dropped", || Arc::strong_count(&alive) == 1);
}

/// How many hold on to what a period's closure owns, which has a handle of its own queue, when all but the closure has gone; `last` is what a period outlives.
fn holders_of_a_period<L>(queue: QueueHandle<u32>, last: L, before: bool) -> usize {
    let (marker, producer) = (Arc::new(()), queue.producer().unwrap());
    let (kept, held) = (queue.clone(), Arc::clone(&marker));
    let every = move || {
        let _also = &held;
        kept.depth()
    };
    let mut last = Some(last);
    if before {
        last = None;
    }
    let periodic = producer.every(secs(1), crate::MissedPeriods::Skip, every).unwrap();
    drop(last);
    drop((periodic, producer, queue));
    Arc::strong_count(&marker)
}

#[test]
fn periods_that_nobody_serves_are_let_go() {
    for before in [false, true] {
        let pull = Pull::<u32>::new(q(2));
        assert_eq!(holders_of_a_period(pull.queue.clone(), pull, before), 1, "runtime gone before: {before}");
        let mut builder = Runtime::builder();
        let queue = builder.pull_queue::<u32>(q(2)).unwrap();
        assert_eq!(holders_of_a_period(queue, builder, before), 1, "builder gone before: {before}");
    }
}

/// Follow-ups that change their slots all the time: each is of another lane's reserve.
#[test]
fn a_drain_follows_a_job_from_slot_to_slot() {
    watched(|| {
        const LAST: u32 = 20_000;
        let mut builder = Runtime::builder();
        let lanes = [LaneConfig::new("even").reserve(1), LaneConfig::new("odd").reserve(1)];
        let handler = |number: &u32, context: &Context<u32>| {
            let next = number + 1;
            if next <= LAST { context.complete_with(Job::new(next).lane(next as usize % 2)) } else { Verdict::Ack }
        };
        let queue = builder.queue(q(64).lanes(lanes), handler).unwrap();
        builder.pool(PoolConfig::new("default").workers(1)).unwrap();
        let runtime = builder.build().unwrap();
        queue.producer().unwrap().publish(0).unwrap();
        let report = runtime.shutdown(ShutdownOptions::default());
        assert!(report.is_clean(), "{:?} after {}", report, report.queue("q").unwrap().counts.acked);
        assert_eq!(balanced(&report, "q").counts.acked, u64::from(LAST) + 1);
    });
}

#[test]
fn a_drain_and_a_closed_queue_s_consumers_wait_for_a_follow_up_on_its_way() {
    let pull = Pull::<u32>::new(q(8));
    pull.producer.publish(1).unwrap();
    let delivery = pull.get().unwrap();
    pull.runtime.shutdown_handle().request();
    let (seen, late) = (Arc::new(AtomicU64::new(0)), pull.queue.consumer().unwrap());
    let (looked, queue) = (Arc::clone(&seen), pull.queue.clone());
    crate::sync::chaos::set_hook(Some(Box::new(move |at| {
        if at == "queue.settle.decided" {
            assert_eq!(late.recv_timeout(Duration::ZERO).unwrap_err(), RecvError::TimedOut);
            assert!(!queue.queue.is_drained(crate::clock::Timestamp::MAX));
            looked.fetch_add(1, SeqCst);
        }
    })));
    delivery.complete_with(2).unwrap();
    crate::sync::chaos::set_hook(None);
    assert_eq!(seen.load(SeqCst), 1);
    assert_eq!(*pull.get().unwrap(), 2);
}

#[test]
fn a_report_of_undone_jobs_is_not_clean_when_they_have_been_taken_out() {
    let pull = Pull::<u32>::new(q(4));
    pull.producer.publish(1).unwrap();
    let mut report = pull.runtime.shutdown(at_once());
    assert_eq!((report.take_undone(&pull.queue).len(), report.undone_count()), (1, 1));
    assert!(!report.is_clean());
}
