//! How deliveries end.

use super::*;
use crate::tests::threads::Mutex;
use crate::{Became, Context, DeathReason, Delivery, Job, JobError, LaneConfig, RetryDecision, Verdict};
use std::sync::atomic::AtomicUsize;

/// A panic whose own payload panics when it is dropped.
struct Spiteful;

impl Drop for Spiteful {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("and another one");
        }
    }
}

#[test]
fn every_verdict_lands_where_the_table_says() {
    let pull = Pull::<u32>::new(q(8).retry(RetryPolicy::new().max_attempts(2).backoff(Backoff::fixed(ms(10)))));
    let counts = |pull: &Pull<u32>| {
        let c = pull.settled();
        [c.acked, c.retried, c.snoozed, c.dead_rejected, c.dropped_discarded, c.dead_attempts]
    };
    let next = |pull: &Pull<u32>| {
        pull.producer.publish(1).unwrap();
        pull.get().unwrap()
    };
    next(&pull).ack().unwrap();
    assert_eq!(counts(&pull), [1, 0, 0, 0, 0, 0]);
    next(&pull).settle(Verdict::Discard).unwrap();
    assert_eq!(counts(&pull), [1, 0, 0, 0, 1, 0]);
    next(&pull).reject("never").unwrap();
    assert_eq!(counts(&pull), [1, 0, 0, 1, 1, 0]);
    assert_eq!(pull.queue.dead_letters().take().unwrap().record().last_error.as_deref(), Some("never"));
    next(&pull).retry("later").unwrap();
    assert_eq!(counts(&pull), [1, 1, 0, 1, 1, 0]);
    pull.advance(ms(11));
    pull.get().unwrap().snooze(ms(5)).unwrap();
    assert_eq!(counts(&pull), [1, 1, 1, 1, 1, 0]);
    pull.advance(ms(4));
    assert!(pull.get().is_none());
    pull.advance(ms(2));
    pull.get().unwrap().settle(Verdict::RetryAfter("late".into(), ms(1))).unwrap();
    assert_eq!(counts(&pull), [1, 1, 1, 1, 1, 1], "the second failure was the last attempt");
    let letter = pull.queue.dead_letters().take().unwrap();
    assert_eq!((letter.reason(), letter.record().failures, letter.record().snoozes), (DeathReason::TooManyAttempts, 2, 1));
    next(&pull).settle(Verdict::RetryAfter("soon".into(), ms(3))).unwrap();
    pull.advance(ms(2));
    assert!(pull.get().is_none(), "its own delay, not the queue's");
    pull.advance(ms(2));
    pull.get().unwrap().ack().unwrap();
}

#[test]
fn a_handlers_result_is_classified() {
    enum PayError {
        Declined,
        Unreachable,
    }
    impl From<PayError> for JobError {
        fn from(error: PayError) -> Self {
            match error {
                PayError::Declined => JobError::fatal("declined"),
                PayError::Unreachable => JobError::transient("unreachable"),
            }
        }
    }
    let push = Push::new(q(8).retry(at_once_up_to(3)), |n: &u32, context: &Context<u32>| match n {
        1 => Err(PayError::Declined),
        2 if context.attempt() < 3 => Err(PayError::Unreachable),
        _ => Ok(()),
    });
    push.producer.publish_batch(&mut (0..3));
    push.turn();
    let counts = push.settled();
    assert_eq!((counts.acked, counts.dead_rejected, counts.retried, counts.started), (2, 1, 2, 5));
}

#[test]
fn an_always_failing_handler_runs_exactly_max_attempts_times() {
    for attempts in [1, 2, 7, 255] {
        let ran = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ran);
        let push = Push::new(q(4).retry(at_once_up_to(attempts)), move |_: &u32, _: &_| {
            count.fetch_add(1, SeqCst);
            Err::<(), _>("no")
        });
        push.producer.publish(1).unwrap();
        push.turn();
        assert_eq!(ran.load(SeqCst), attempts as usize);
        let letter = push.queue.dead_letters().take().unwrap();
        assert_eq!((letter.reason(), letter.record().failures), (DeathReason::TooManyAttempts, attempts));
        push.settled();
    }
}

#[test]
fn snoozes_and_expiries_spend_no_attempt() {
    let config = q(4).visibility(ms(100)).retry(at_once_up_to(2).max_expiries(3));
    let pull = Pull::<u32>::new(config);
    pull.producer.publish(1).unwrap();
    for _ in 0..20 {
        pull.get().unwrap().snooze(Duration::ZERO).unwrap();
    }
    let mut overdue = Vec::new();
    for _ in 0..3 {
        overdue.push(pull.get().unwrap());
        pull.advance(ms(150));
    }
    pull.get().unwrap().retry("one").unwrap();
    let delivery = pull.get().unwrap();
    assert_eq!((delivery.attempt(), delivery.failures()), (1 + 20 + 3 + 1, 1));
    delivery.retry("two").unwrap();
    assert!(pull.queue.dead_letters().is_empty(), "the overdue ones still read it");
    for late in overdue {
        assert_eq!(late.ack().unwrap_err().became(), Became::Ended);
    }
    let record = pull.queue.dead_letters().take().unwrap().record().clone();
    assert_eq!((record.failures, record.expiries, record.snoozes), (2, 3, 20));
    assert_eq!(record.last_error.as_deref(), Some("two"));
    pull.settled();
}

#[test]
fn one_expiry_too_many_is_the_end() {
    for allowed in [0, 1, 14] {
        let pull = Pull::<u32>::new(q(4).visibility(ms(10)).retry(RetryPolicy::new().max_expiries(allowed)));
        pull.producer.publish(1).unwrap();
        let mut held = Vec::new();
        for _ in 0..=allowed {
            held.push(pull.get().unwrap_or_else(|| panic!("{} of {allowed}", held.len())));
            pull.advance(ms(20));
        }
        assert!(pull.get().is_none());
        pull.settled();
        for late in held {
            late.ack().unwrap_err();
        }
        let letter = pull.queue.dead_letters().take().unwrap();
        assert_eq!((letter.reason(), letter.record().expiries), (DeathReason::TooManyExpiries, allowed + 1));
        assert_eq!(pull.queue.depth(), 0);
        pull.settled();
    }
}

#[test]
fn a_retry_function_is_called_once_per_failure_that_leaves_attempts_over() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&calls);
    let policy = RetryPolicy::new().max_attempts(4).decide(move |n, error| {
        log.lock().unwrap().push((n, error.reason().to_owned()));
        RetryDecision::After(ms(10 * (u64::from(n) + 1)))
    });
    let pull = Pull::<u32>::new(q(4).retry(policy));
    pull.producer.publish(1).unwrap();
    for n in 0..4 {
        pull.get().unwrap().retry(format!("failure {n}")).unwrap();
        pull.advance(ms(10 * (n + 1) - 1));
        assert!(pull.get().is_none());
        pull.advance(ms(2));
    }
    assert_eq!(*calls.lock().unwrap(), [0, 1, 2].map(|n| (n, format!("failure {n}"))));
    assert_eq!(pull.queue.dead_letters().len(), 1);
}

#[test]
fn a_retry_function_may_reject_discard_or_panic() {
    let policy = RetryPolicy::new().backoff(Backoff::fixed(ms(5))).decide(|_, error| match error.reason() {
        "reject" => RetryDecision::Reject,
        "discard" => RetryDecision::Discard,
        "spite" => std::panic::panic_any(Spiteful),
        _ => panic!("no idea"),
    });
    let pull = Pull::<u32>::new(q(4).retry(policy));
    for reason in ["reject", "discard", "panic", "spite"] {
        pull.producer.publish(1).unwrap();
        pull.get().unwrap().retry(reason).unwrap();
    }
    let counts = pull.settled();
    assert_eq!((counts.dead_rejected, counts.dropped_discarded, counts.retried), (1, 1, 2));
    pull.advance(ms(6));
    for _ in 0..2 {
        pull.get().unwrap().ack().unwrap();
    }
}

#[test]
fn a_panic_is_a_failed_attempt_with_a_reason_and_the_worker_lives() {
    let push = Push::new(q(8).retry(at_once_up_to(2)), |n: &u32, context: &Context<u32>| match (n, context.attempt()) {
        (1, 1) => panic!("static"),
        (2, _) => panic!("formatted {}", 2),
        (3, 1) => std::panic::panic_any(3_u8),
        (4, _) => std::panic::panic_any(Spiteful),
        _ => {}
    });
    push.producer.publish_batch(&mut (0..6));
    push.turn();
    let mut letters: Vec<_> =
        std::iter::from_fn(|| push.queue.dead_letters().take()).map(|l| (*l.payload(), l.record().last_error.clone().unwrap())).collect();
    letters.sort();
    assert_eq!(letters, [(2, "panicked: formatted 2".into()), (4, "panicked: a panic without a message".into())]);
    let counts = push.settled();
    assert_eq!((counts.acked, counts.panics, counts.dead_attempts), (4, 6, 2));
    push.producer.publish(7).unwrap();
    push.turn();
    assert_eq!(push.settled().acked, 5, "the worker lives");
}

#[test]
fn a_panic_in_a_worker_thread_stops_no_worker() {
    watched(|| {
        let mut builder = Runtime::builder();
        let config = q(1_000).retry(RetryPolicy::new().max_attempts(3).backoff(Backoff::fixed(ms(1))));
        let queue = builder
            .queue(config, |n: &u32, context: &Context<u32>| {
                if n % 10 == 3 && context.failures() < 2 {
                    std::panic::panic_any(Spiteful);
                }
            })
            .unwrap();
        builder.pool(PoolConfig::new("default").workers(2)).unwrap();
        let runtime = builder.build().unwrap();
        queue.producer().unwrap().publish_batch(&mut (0..1_000));
        eventually("all are done", || snapshot(&runtime).counts.acked == 1_000);
        let report = runtime.shutdown(ShutdownOptions::default());
        assert!(report.is_clean());
        assert_eq!(report.queue("q").unwrap().counts.panics, 200);
    });
}

/// A service whose handler stands at the door where it `hangs`: of which job, and in which attempt.
fn with_a_door(
    config: QueueConfig,
    (workers, spares): (usize, usize),
    hangs: impl Fn(u32, u32) -> bool + Send + Sync + 'static,
) -> (Runtime, QueueHandle<u32>, Door) {
    let door = Door::default();
    let inner = door.clone();
    let mut builder = Runtime::builder();
    let handler = move |n: &u32, context: &Context<u32>| {
        if hangs(*n, context.attempt()) {
            inner.pass();
        }
    };
    let queue = builder.queue(config.visibility(ms(20)), handler).unwrap();
    builder.pool(PoolConfig::new("default").workers(workers).spares(spares)).unwrap();
    (builder.build().unwrap(), queue, door)
}

#[test]
fn when_all_workers_are_stuck_spares_move_the_jobs_and_shutdown_returns() {
    watched(|| {
        let (runtime, queue, door) = with_a_door(q(64).prefetch(4), (2, 2), |n, attempt| n < 2 && attempt == 1);
        let producer = queue.producer().unwrap();
        producer.publish_batch(&mut (0..30));
        eventually("the spares did it all", || snapshot(&runtime).counts.acked == 30);
        eventually("each stuck worker has its spare", || {
            let pool = &runtime.snapshot().pools[0];
            (pool.stuck, pool.spares) == (2, 2)
        });
        producer.publish(99).unwrap();
        eventually("and go on", || snapshot(&runtime).counts.acked == 31);
        let begun = Instant::now();
        let report = runtime.shutdown(ShutdownOptions::new(ms(100), ms(100)));
        assert!(begun.elapsed() < secs(3));
        assert!(!report.is_clean());
        let seen = report.queue("q").unwrap();
        assert!(seen.ledger_balances());
        assert_eq!((seen.counts.accepted, seen.counts.acked, seen.lingering()), (31, 31, 2));
        door.open();
    });
}

#[test]
fn a_spare_that_is_stuck_has_a_spare_too() {
    watched(|| {
        // wherever it comes, it hangs
        let (runtime, queue, door) = with_a_door(q(64), (1, 2), |n, attempt| n == 0 && attempt <= 2);
        queue.producer().unwrap().publish_batch(&mut (0..10));
        eventually("the second spare did it all", || snapshot(&runtime).counts.acked == 10);
        let pool = &runtime.snapshot().pools[0];
        assert_eq!((pool.stuck, pool.spares), (2, 2));
        door.open();
        eventually("nobody is stuck, and the spares are gone", || {
            let pool = &runtime.snapshot().pools[0];
            (pool.stuck, pool.spares) == (0, 0)
        });
        assert!(runtime.shutdown(ShutdownOptions::default()).is_clean());
    });
}

#[test]
fn spares_go_when_the_stuck_come_back() {
    watched(|| {
        let (runtime, queue, door) = with_a_door(q(64), (1, 1), |n, attempt| n == 0 && attempt == 1);
        let producer = queue.producer().unwrap();
        for round in 0..2 {
            producer.publish(round).unwrap();
            eventually("it is done", || snapshot(&runtime).counts.acked == u64::from(round) + 1);
        }
        assert_eq!(runtime.snapshot().pools[0].spares, 1);
        door.open();
        producer.publish(9).unwrap();
        eventually("the spare retires, also from its sleep", || {
            let pool = &runtime.snapshot().pools[0];
            (pool.stuck, pool.spares) == (0, 0)
        });
        assert!(runtime.shutdown(ShutdownOptions::default()).is_clean());
    });
}

#[test]
fn a_job_may_be_completed_with_its_follow_up_in_a_full_queue() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let push = Push::new(q(2).lanes(["a", "b"].map(LaneConfig::new)), move |n: &u32, context: &Context<u32>| {
        log.lock().unwrap().push((*n, context.lane()));
        match n {
            1..5 => context.complete_with(Job::new(n + 1).lane(1)),
            5 => context.complete_with(Job::new(6).lane(77)),
            _ => Verdict::Ack,
        }
    });
    push.producer.publish(1).unwrap();
    push.producer.publish(10).unwrap();
    push.turn();
    let seen = seen.lock().unwrap();
    let chain: Vec<_> = seen.iter().copied().filter(|(n, _)| *n < 10).collect();
    assert_eq!(chain, [(1, 0), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1)], "a lane that is not there becomes the last one");
    let counts = push.settled();
    assert_eq!((counts.accepted, counts.acked), (7, 7));
}

#[test]
fn a_delivery_may_be_completed_with_its_follow_up_in_a_full_queue() {
    let pull = Pull::<u32>::new(q(1).visibility(ms(10)));
    pull.producer.publish(1).unwrap();
    for n in 1..100 {
        let delivery = pull.get().unwrap();
        assert_eq!((*delivery, delivery.attempt()), (n, 1));
        delivery.complete_with(n + 1).unwrap();
        assert!(pull.producer.publish(0).unwrap_err().is_full());
        pull.settled();
    }
    let delivery = pull.get().unwrap();
    pull.advance(ms(20));
    let (stale, next) = delivery.complete_with(7).unwrap_err();
    assert_eq!((stale.became(), next.into_payload()), (Became::Waiting, 7));
    assert_eq!(*pull.get().unwrap(), 100);
}

#[test]
fn a_follow_up_waits_for_a_slot_of_its_own_while_a_stale_holder_reads_the_old_job() {
    let census = Census::default();
    let pull = Pull::<Counted>::new(q(1).visibility(ms(10)));
    pull.producer.publish(census.born(1)).unwrap();
    let stale = pull.get().unwrap();
    pull.advance(ms(20));
    pull.get().unwrap().complete_with(census.born(2)).unwrap();
    assert_eq!(stale.number, 1, "still readable");
    pull.advance(ms(20));
    assert!(pull.get().is_none(), "no slot yet");
    assert_eq!(stale.ack().unwrap_err().became(), Became::Ended);
    pull.advance(ms(20));
    let next = pull.get().or_else(|| pull.get()).unwrap();
    assert_eq!(next.number, 2);
    next.ack().unwrap();
    assert_eq!(census.alive(), 0);
    let counts = pull.settled();
    assert_eq!((counts.accepted, counts.acked), (2, 2));
}

#[test]
fn a_follow_up_takes_another_slot_when_there_is_one() {
    let pull = Pull::<u32>::new(q(2).visibility(ms(10)));
    pull.producer.publish(1).unwrap();
    let stale = pull.get().unwrap();
    pull.advance(ms(20));
    pull.get().unwrap().complete_with(2).unwrap();
    assert_eq!((*pull.get().unwrap(), *stale), (2, 1));
}

#[test]
fn a_late_settlement_touches_nothing_and_says_what_became_of_the_job() {
    let census = Census::default();
    let pull = Pull::<Counted>::new(q(4).visibility(ms(10)));
    pull.producer.publish(census.born(1)).unwrap();
    let (first, second, third);
    first = pull.get().unwrap();
    pull.advance(ms(20));
    second = pull.get().unwrap();
    assert_eq!(first.reject("late").unwrap_err().became(), Became::Redelivered);
    pull.advance(ms(20));
    assert_eq!(second.retry("late").unwrap_err().became(), Became::Waiting);
    third = pull.get().unwrap();
    assert_eq!((third.attempt(), third.failures(), third.number), (3, 0, 1));
    third.ack().unwrap();
    let counts = pull.settled();
    assert_eq!((counts.acked, counts.stale_settles, counts.dead_lettered, counts.retried), (1, 2, 0, 0));
    assert_eq!(census.alive(), 0, "dropped once");
}

#[test]
fn a_stale_holder_may_leave_before_or_after_the_end_of_the_job() {
    for stale_first in [true, false] {
        let census = Census::default();
        let pull = Pull::<Counted>::new(q(1).visibility(ms(10)));
        pull.producer.publish(census.born(1)).unwrap();
        let stale = pull.get().unwrap();
        pull.advance(ms(20));
        let current = pull.get().unwrap();
        let settle_stale = || assert!(stale.ack().is_err());
        if stale_first {
            settle_stale();
            current.ack().unwrap();
        } else {
            current.ack().unwrap();
            pull.settled();
            assert_eq!(pull.seen().lingering(), 1);
            assert!(pull.producer.publish(census.born(2)).unwrap_err().is_full(), "the slot is still read");
            settle_stale();
        }
        pull.producer.publish(census.born(3)).unwrap();
        pull.get().unwrap().ack().unwrap();
        pull.settled();
        assert_eq!(census.alive(), 0);
    }
}

/// A job whose lease has run out, and the delivery that came too late.
fn overrun(retry: RetryPolicy) -> (Pull<u32>, Delivery<u32>) {
    let pull = Pull::<u32>::new(q(4).visibility(secs(10)).retry(retry));
    pull.producer.publish(1).unwrap();
    let late = pull.get().unwrap();
    pull.advance(secs(20));
    (pull, late)
}

#[test]
fn a_late_settlement_leaves_what_is_known_of_the_job_alone() {
    let comes_back_at_once = || RetryPolicy::new().max_attempts(5).backoff(Backoff::fixed(Duration::ZERO));
    for how in 0..3 {
        let settle = |late: Delivery<u32>| match how {
            0 => assert!(late.retry("late").is_err()),
            1 => assert!(late.reject("late").is_err()),
            _ => drop(late),
        };
        // one that has ended, and whose payload the late one holds
        let (pull, late) = overrun(comes_back_at_once());
        pull.get().unwrap().reject("the real reason").unwrap();
        settle(late);
        let letter = pull.queue.dead_letters().take().unwrap();
        assert_eq!(letter.record().last_error.as_deref(), Some("the real reason"), "{how}");

        // one that is still alive
        let (pull, late) = overrun(comes_back_at_once());
        pull.get().unwrap().retry("the last failed attempt").unwrap();
        settle(late);
        let undone = pull.runtime.shutdown(at_once()).take_undone(&pull.queue).remove(0);
        assert_eq!((undone.failures, undone.last_error.as_deref()), (1, Some("the last failed attempt")), "{how}");
    }
}

#[test]
fn the_retry_function_is_not_asked_about_a_late_delivery() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&calls);
    let decide = move |n: u32, error: &JobError| {
        seen.lock().unwrap().push((n, error.reason().to_owned()));
        RetryDecision::After(Duration::ZERO)
    };
    let (pull, late) = overrun(RetryPolicy::new().max_attempts(5).decide(decide));
    pull.get().unwrap().retry("first").unwrap();
    assert!(late.retry("late").is_err());
    pull.get().unwrap().retry("second").unwrap();
    assert_eq!(*calls.lock().unwrap(), [(0, "first".to_owned()), (1, "second".to_owned())]);
}

#[test]
fn a_stuck_handler_is_noticed_whether_its_job_has_a_time_to_live_or_not() {
    watched(|| {
        for ttl in [None, Some(secs(600))] {
            let (runtime, queue, door) = with_a_door(q(4), (1, 1), |_, attempt| attempt == 1);
            let job = Job::new(1);
            queue.producer().unwrap().publish(ttl.map_or(job, |ttl| job.ttl(ttl))).unwrap();
            eventually("the spare does it", || snapshot(&runtime).counts.acked == 1);
            assert_eq!((runtime.snapshot().pools[0].stuck, snapshot(&runtime).counts.expired_leases), (1, 1), "{ttl:?}");
            door.open();
        }
    });
}

#[test]
fn a_worker_whose_overrun_was_reported_only_is_not_stuck_when_it_has_ended() {
    watched(|| {
        let mut builder = Runtime::builder();
        builder.pool(PoolConfig::new("default").workers(1).spares(1)).unwrap();
        let door = Door::default();
        let inner = door.clone();
        let retry = RetryPolicy::new().decide(move |_, _| {
            inner.pass();
            RetryDecision::Discard
        });
        let config = q(8).visibility(ms(10)).partitions(4).retry(retry);
        let queue = builder.queue(config, |_: &u32, _: &Context<u32>| Err::<(), _>("no".to_owned())).unwrap();
        let runtime = builder.build().unwrap();
        queue.producer().unwrap().publish(Job::new(1).partition_key("k")).unwrap();
        // its handler has returned, and it is not settled
        eventually("it is reported", || runtime.snapshot().pools[0].stuck == 1);
        door.open();
        eventually("it is settled, nobody is stuck, and the spare is gone", || {
            let pool = &runtime.snapshot().pools[0];
            (snapshot(&runtime).counts.dropped_discarded, pool.stuck, pool.spares) == (1, 0, 0)
        });
    });
}
