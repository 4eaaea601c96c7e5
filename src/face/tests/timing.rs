//! When things happen, on the manual clock.

use super::*;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::tests::threads::Mutex;
use crate::{Context, DeathReason, ExtendError, Idle, Jitter, Job, LaneConfig, MissedPeriods, Placement, RecvError, TICK};

const TICKS: [u64; 5] = [1, 999_999, 1_000_000, 1_500_001, 63_999_999];

#[test]
fn a_delayed_job_starts_not_before_its_time_and_at_most_a_tick_after() {
    for delay in TICKS.into_iter().chain([64, 65, 4_095, 4_097, 300_000].map(|millis| millis * 1_000_000 + 7)) {
        for start in [0, 1, 500_000, 999_999] {
            let pull = Pull::<u64>::new(q(4));
            pull.clock.advance(Duration::from_nanos(start));
            let delay = Duration::from_nanos(delay);
            pull.producer.publish_after(7, delay).unwrap();
            let due = pull.clock.now() + delay;
            pull.advance(delay.saturating_sub(Duration::from_nanos(1)));
            assert!(pull.get().is_none(), "{delay:?} from {start} ns: too early");
            pull.advance(Duration::from_nanos(1) + TICK);
            let delivery = pull.get().unwrap_or_else(|| panic!("{delay:?} from {start} ns: more than a tick late"));
            assert!(pull.clock.now() >= due);
            delivery.ack().unwrap();
            pull.settled();
        }
    }
}

#[test]
fn a_delayed_job_occupies_its_slot_and_has_not_begun_to_wait() {
    let pull = Pull::<u32>::new(q(2));
    pull.producer.publish_after(1, secs(3_600)).unwrap();
    pull.producer.publish_at(2, Timestamp::ZERO + secs(7_200)).unwrap();
    assert!(pull.producer.publish(3).unwrap_err().is_full());
    assert_eq!(pull.seen().phases.delayed, 2);
    pull.clock.advance(secs(3_600));
    pull.advance(TICK);
    let delivery = pull.get().unwrap();
    assert_eq!(*delivery, 1);
    delivery.ack().unwrap();
    let wait = &pull.seen().lanes[0].wait;
    assert!(wait.max() <= 2 * TICK.as_nanos() as u64, "the hour of its delay is no waiting time: {wait:?}");
}

#[test]
fn a_time_that_has_passed_is_now() {
    let pull = Pull::<u32>::new(q(4));
    pull.clock.advance(secs(10));
    pull.producer.publish_at(1, Timestamp::ZERO + secs(5)).unwrap();
    pull.producer.publish_after(2, Duration::ZERO).unwrap();
    for n in 1..=2 {
        let delivery = pull.get().unwrap();
        assert_eq!(*delivery, n);
        delivery.ack().unwrap();
    }
    // and one that never comes is no overflow
    pull.producer.publish_after(3, Duration::MAX).unwrap();
    pull.clock.advance(secs(100 * 365 * 24 * 3_600));
    pull.advance(secs(1));
    assert!(pull.get().is_none());
    pull.settled();
}

#[test]
fn a_thousand_delayed_jobs_come_in_the_order_of_their_times() {
    let pull = Pull::<u64>::new(q(1_000));
    for n in 0..1_000 {
        let delay = n * 7_919 % 1_000;
        pull.producer.publish_after(delay, ms(delay)).unwrap();
    }
    let mut seen = Vec::new();
    for _ in 0..=1_001 {
        while let Some(delivery) = pull.get() {
            let late = pull.clock.now().as_nanos() / 1_000_000 - *delivery;
            assert!(late <= 1);
            seen.push(*delivery);
            delivery.ack().unwrap();
        }
        pull.advance(ms(1));
    }
    assert_eq!(seen, (0..1_000).collect::<Vec<_>>());
}

fn times_of(missed: MissedPeriods) -> Vec<u64> {
    let clock = Arc::new(ManualClock::new());
    let (seen, log, watch) = (Arc::new(Mutex::new(Vec::new())), Arc::clone(&clock), Arc::clone(&clock));
    let ran = Arc::clone(&seen);
    let push = Push::on(clock, q(64), move |_: &u32, _: &_| ran.lock().unwrap().push(log.now().as_nanos() / 1_000_000));
    let periodic = push.producer.every(ms(10), missed, || 1).unwrap();
    assert_eq!(periodic.period(), ms(10));
    push.advance(ms(35));
    watch.advance(ms(50));
    push.advance(ms(10));
    periodic.stop();
    push.advance(ms(100));
    push.settled();
    seen.lock().unwrap().clone()
}

#[test]
fn a_periodic_job_comes_once_a_period_and_catches_up_or_skips() {
    assert_eq!(times_of(MissedPeriods::CatchUp), [10, 20, 30, 85, 85, 85, 85, 85, 90]);
    assert_eq!(times_of(MissedPeriods::Skip), [10, 20, 30, 85, 90]);
}

#[test]
fn periods_that_nobody_was_there_for_are_one_job_or_all() {
    for (missed, jobs) in [(MissedPeriods::Skip, 1), (MissedPeriods::CatchUp, 10)] {
        let pull = Pull::<u32>::new(q(64));
        let _periodic = pull.producer.every(ms(10), missed, || 1).unwrap();
        // the timer turns at every period, but no consumer comes by
        pull.advance(ms(105));
        let got = std::iter::from_fn(|| pull.get().map(|delivery| delivery.ack().unwrap())).count();
        assert_eq!(got, jobs, "{missed:?}");
    }
}

#[test]
fn millions_of_missed_periods_are_caught_up_with_some_thousands_at_a_time() {
    let pull = Pull::<u32>::new(q(8));
    let periodic = pull.producer.every(ms(1), MissedPeriods::CatchUp, || 1).unwrap();
    pull.clock.advance(secs(3_600));
    pull.runtime.turn();
    // a receiver looks for chores twice at most
    pull.get().unwrap().ack().unwrap();
    let missed = pull.counts().periods_missed;
    assert!((4_088..=8_184).contains(&missed), "{missed}");
    pull.get().unwrap().ack().unwrap();
    assert!((missed + 4_095..=missed + 8_191).contains(&pull.counts().periods_missed), "they are not forgotten");
    periodic.stop();
}

/// How many of 64 slow jobs, in so many queues of one worker, have run when a periodic job is made.
fn jobs_before_a_period(queues: usize) -> u64 {
    let (ran, before) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut builder = Runtime::builder();
    builder.pool(PoolConfig::new("default").workers(1).placement(Placement::None)).unwrap();
    let mut queue = |number| {
        let ran = Arc::clone(&ran);
        let handler = move |_: &u32, _: &Context<u32>| {
            std::thread::sleep(ms(10));
            ran.fetch_add(1, SeqCst);
        };
        builder.queue(QueueConfig::new(format!("jobs-{number}")).capacity(128), handler).unwrap()
    };
    let queues: Vec<_> = (0..queues).map(&mut queue).collect();
    let runtime = builder.build().unwrap();
    let producers: Vec<_> = queues.iter().map(|queue| queue.producer().unwrap()).collect();
    let (noted, seen) = (Arc::clone(&before), Arc::clone(&ran));
    let _periodic = producers[0].every(ms(20), MissedPeriods::Skip, move || {
        noted.fetch_max(seen.load(SeqCst), SeqCst);
        1
    });
    for (job, producer) in (0..64).zip(producers.iter().cycle()) {
        producer.publish(job).unwrap();
    }
    eventually("a period was made", || before.load(SeqCst) > 0 || ran.load(SeqCst) >= 64);
    runtime.shutdown(at_once());
    before.load(SeqCst)
}

#[test]
fn a_periodic_job_is_made_while_slow_jobs_wait() {
    for queues in [1, 2] {
        let before = jobs_before_a_period(queues);
        assert!((1..32).contains(&before), "{before} of 64 jobs came first, in {queues} queues");
    }
}

/// A clock that leaps when it is told to.
#[derive(Debug)]
struct Leaps(SystemClock, AtomicU64);

impl Clock for Leaps {
    fn now(&self) -> Timestamp {
        self.0.now() + Duration::from_nanos(self.1.load(SeqCst))
    }
}

#[test]
fn a_period_and_a_job_that_are_due_at_once_keep_no_sleeper_from_either() {
    watched(|| {
        for _ in 0..5 {
            let clock = Arc::new(Leaps(SystemClock::new(), AtomicU64::new(0)));
            let mut builder = Runtime::builder().clock(clock.clone());
            builder.pool(PoolConfig::new("default").workers(2).placement(Placement::None).idle(Idle::Park)).unwrap();
            let door = Door::default();
            let inner = door.clone();
            let handler = move |n: &u32, _: &Context<u32>| {
                if *n == 1 {
                    inner.pass();
                }
            };
            let queue = builder.queue(q(8), handler).unwrap();
            let runtime = builder.build().unwrap();
            let producer = queue.producer().unwrap();
            let made = Arc::new(AtomicU64::new(0));
            let counted = Arc::clone(&made);
            let _periodic = producer.every(secs(100), MissedPeriods::Skip, move || counted.fetch_add(1, SeqCst) as u32 + 2);
            producer.publish_after(1, secs(100)).unwrap();
            eventually("both workers have slept", || runtime.snapshot().pools[0].parks.iter().filter(|parks| **parks > 0).count() == 2);
            std::thread::sleep(ms(20));
            clock.1.store(101_000_000_000, SeqCst);
            eventually("the period is made beside the job that hangs", || made.load(SeqCst) > 0);
            door.open();
        }
    });
}

#[test]
fn a_turn_leaves_nothing_to_do_and_the_end_of_time_is_reached() {
    let clock = Arc::new(ManualClock::new());
    let mut builder = Runtime::builder().manual(Arc::clone(&clock));
    for pool in ["first", "second"] {
        builder.pool(PoolConfig::new(pool).workers(1)).unwrap();
    }
    let letters = crate::DeadLetterConfig::new().queue("graves");
    let graves = builder.queue(QueueConfig::new("graves").pool("first"), |_: &u32, _: &Context<u32>| ()).unwrap();
    let jobs = builder.queue(QueueConfig::new("jobs").pool("second").dead_letters(letters), |_: &u32, _: &Context<u32>| ()).unwrap();
    let runtime = builder.build().unwrap();
    // its letter becomes a job of a worker that has had its turn
    jobs.producer().unwrap().publish(Job::new(1).ttl(Duration::ZERO)).unwrap();
    runtime.turn();
    assert_eq!((jobs.counts().dead_lettered, graves.counts().acked), (1, 1));
    jobs.producer().unwrap().publish_after(2, secs(1)).unwrap();
    runtime.advance(&clock, Duration::MAX);
    assert_eq!((jobs.counts().acked, clock.now() + ms(1)), (1, Timestamp::MAX));
}

#[test]
fn a_period_that_finds_no_slot_is_counted() {
    let pull = Pull::<u32>::new(q(1));
    let _periodic = pull.producer.every(ms(10), MissedPeriods::CatchUp, || 1).unwrap();
    pull.advance(ms(55));
    drop(pull.get());
    assert_eq!(pull.counts().periods_missed, 4);
}

#[test]
fn an_expired_job_never_starts() {
    let pull = Pull::<u32>::new(q(8));
    pull.producer.publish(Job::new(1).ttl(ms(10))).unwrap();
    pull.producer.publish(Job::new(2).ttl(ms(20))).unwrap();
    pull.producer.publish_after(Job::new(3).ttl(ms(5)), ms(7)).unwrap();
    pull.producer.publish(Job::new(4).ttl(Duration::ZERO)).unwrap();
    pull.producer.publish(Job::new(5).ttl(Duration::MAX)).unwrap();
    pull.advance(ms(10));
    let started = pull.ack_all(|delivery| **delivery);
    assert_eq!(started, [2, 5]);
    let mut letters: Vec<_> = std::iter::from_fn(|| pull.queue.dead_letters().take()).map(|l| (*l.payload(), l.reason())).collect();
    letters.sort();
    assert_eq!(letters, [1, 3, 4].map(|n| (n, DeathReason::Expired)));
    let counts = pull.settled();
    assert_eq!((counts.dead_expired, counts.started), (3, 2));
}

/// Publishes a job that lives for ten seconds and waits for an hour, on a queue with one slot; what happened after eleven.
fn outlived(publish: impl FnOnce(&Producer<u32>)) {
    let clock = Arc::new(ManualClock::new());
    let mut builder = Runtime::builder().manual(Arc::clone(&clock));
    let config = q(1).dedupe(crate::Dedupe::Debounce(secs(3600)), 4);
    let queue = builder.queue(config, |_: &u32, _: &_| crate::Verdict::RetryAfter("not yet".into(), secs(3600))).unwrap();
    let runtime = builder.build().unwrap();
    let producer = queue.producer().unwrap();
    publish(&producer);
    runtime.advance(&clock, secs(9));
    assert_eq!((queue.depth(), queue.dead_letters().len()), (1, 0));
    runtime.advance(&clock, secs(2));
    assert_eq!((queue.depth(), queue.counts().dead_expired), (0, 1));
    assert_eq!(queue.dead_letters().list(1)[0].reason(), crate::DeathReason::Expired);
    producer.publish(Job::new(2).key("k")).unwrap(); // its key is free
    adds_up(&runtime);
}

#[test]
fn a_job_that_is_to_wait_for_longer_than_it_lives_dies_when_its_life_ends() {
    let mortal = || Job::new(1).ttl(secs(10));
    outlived(|producer| assert!(producer.publish_after(mortal(), secs(3600)).is_ok()));
    outlived(|producer| assert!(producer.publish(mortal()).is_ok())); // a retry
    outlived(|producer| assert!(producer.publish(mortal().key("k")).is_ok())); // a window
    outlived(|producer| {
        producer.publish(Job::new(0).key("k")).unwrap();
        producer.publish(mortal().key("k")).unwrap(); // in the place of one that would have lived
    });
}

#[test]
fn a_job_may_start_until_its_time_to_live_is_over_and_run_on() {
    let pull = Pull::<u32>::new(q(8));
    pull.producer.publish(Job::new(1).ttl(ms(10))).unwrap();
    pull.clock.advance(ms(10) - Duration::from_nanos(1));
    let delivery = pull.get().unwrap();
    pull.advance(ms(100));
    delivery.ack().unwrap();
    // a retry does not outlive it
    pull.producer.publish(Job::new(2).ttl(ms(10))).unwrap();
    pull.advance(ms(5));
    pull.get().unwrap().snooze(ms(6)).unwrap();
    pull.advance(ms(10));
    assert!(pull.get().is_none());
    assert_eq!(pull.queue.dead_letters().take().unwrap().reason(), DeathReason::Expired);
    pull.settled();
}

/// From the first look of the timer at a running lease, `visibility` and two sweeps later at the latest.
fn redelivered_within(pull: &Pull<u32>, visibility: Duration) {
    let sweep = (visibility / 8).clamp(TICK, ms(100));
    let first = pull.get().unwrap();
    let started = pull.clock.now();
    pull.advance(visibility - Duration::from_nanos(1));
    assert!(pull.get().is_none(), "redelivered early");
    assert!(first.is_current());
    let second = loop {
        pull.advance(TICK);
        let since = pull.clock.now().since(started);
        match pull.get() {
            Some(delivery) => break delivery,
            None => assert!(since <= visibility + 2 * sweep + TICK, "not yet after {since:?}"),
        }
    };
    assert!(!first.is_current());
    assert_eq!((second.attempt(), second.failures()), (2, 0));
    assert!(second.fencing() > first.fencing());
    assert_eq!(first.ack().unwrap_err().became(), crate::Became::Redelivered);
    second.ack().unwrap();
}

#[test]
fn a_lease_runs_out_never_early_and_within_two_sweeps() {
    for visibility in [ms(1), ms(10), ms(100), secs(1), secs(30)] {
        let pull = Pull::<u32>::new(q(4).visibility(visibility));
        for offset in [Duration::ZERO, Duration::from_nanos(333_333), ms(7)] {
            pull.advance(offset);
            pull.producer.publish(1).unwrap();
            redelivered_within(&pull, visibility);
        }
        let counts = pull.settled();
        assert_eq!((counts.acked, counts.expired_leases, counts.stale_settles), (3, 3, 3), "done once each");
    }
}

#[test]
fn a_job_may_have_a_visibility_of_its_own() {
    let pull = Pull::<u32>::new(q(4).visibility(ms(50)));
    pull.producer.publish(Job::new(1).visibility(ms(200))).unwrap();
    pull.producer.publish(2).unwrap();
    let (long, short) = (pull.get().unwrap(), pull.get().unwrap());
    pull.advance(ms(80));
    assert!(long.is_current() && !short.is_current());
    pull.advance(ms(119));
    assert!(long.is_current());
    pull.advance(ms(50));
    assert!(!long.is_current());
    // extremes are brought into range
    drop((long, short));
    while let Some(delivery) = pull.get() {
        delivery.ack().unwrap();
    }
    pull.producer.publish(Job::new(3).visibility(Duration::ZERO)).unwrap();
    pull.producer.publish(Job::new(4).visibility(Duration::MAX)).unwrap();
    let (zero, never) = (pull.get().unwrap(), pull.get().unwrap());
    pull.advance(ms(100));
    assert!(!zero.is_current() && never.is_current());
}

#[test]
fn a_visibility_of_a_job_s_own_ends_at_max_lease() {
    let pull = Pull::<u32>::new(q(4).visibility(secs(10)).max_lease(secs(60)));
    pull.producer.publish(Job::new(1).visibility(Duration::MAX)).unwrap();
    let first = pull.get().unwrap();
    pull.advance(secs(59));
    assert!(first.is_current());
    pull.advance(secs(20));
    assert!(!first.is_current());
}

#[test]
fn an_extension_counts_from_now_and_ends_at_max_lease() {
    let pull = Pull::<u32>::new(q(4).visibility(ms(100)).max_lease(ms(500)));
    pull.producer.publish(1).unwrap();
    let mut delivery = pull.get().unwrap();
    let fencing = delivery.fencing();
    pull.advance(ms(80));
    assert_eq!(delivery.extend(ms(300)), Ok(ms(300)));
    assert!(delivery.fencing() > fencing);
    pull.advance(ms(299));
    assert!(delivery.is_current(), "379 ms");
    assert_eq!(delivery.extend(ms(300)), Ok(ms(121)), "500 ms are the most");
    pull.advance(ms(120));
    assert!(delivery.is_current(), "499 ms");
    pull.advance(ms(60));
    assert!(!delivery.is_current());
    let Err(ExtendError::Stale(stale)) = delivery.extend(ms(10)) else { panic!("a lost lease is extended") };
    assert_eq!(stale.became(), crate::Became::Waiting);
    delivery.ack().unwrap_err();
    let mut delivery = pull.get().unwrap();
    pull.clock.advance(ms(500));
    assert_eq!(delivery.extend(ms(10)), Err(ExtendError::Capped));
    delivery.ack().unwrap();
    pull.settled();
}

#[test]
fn an_extension_may_be_shorter_than_the_visibility() {
    let pull = Pull::<u32>::new(q(4).visibility(secs(10)));
    pull.producer.publish(1).unwrap();
    let mut delivery = pull.get().unwrap();
    pull.advance(ms(300));
    assert_eq!(delivery.extend(ms(50)), Ok(ms(50)));
    pull.advance(ms(49));
    assert!(delivery.is_current());
    pull.advance(ms(300));
    assert!(!delivery.is_current());
}

#[test]
fn an_extension_that_comes_too_late_does_not_lengthen_the_next_delivery() {
    let pull = Pull::<u32>::new(q(4).visibility(ms(100)));
    pull.producer.publish(1).unwrap();
    let mut first = pull.get().unwrap();
    pull.advance(ms(150));
    let second = pull.get().unwrap();
    assert!(matches!(first.extend(secs(300)), Err(ExtendError::Stale(_))));
    pull.advance(ms(150));
    assert!(!second.is_current(), "the second delivery has the queue's visibility");
}

#[test]
fn a_delivery_is_late_at_four_fifths_of_its_visibility() {
    let clock = Arc::new(ManualClock::new());
    let inside = Arc::clone(&clock);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let push = Push::on(clock, q(4).visibility(ms(100)), move |_: &u32, context: &crate::Context<u32>| {
        let mut late = vec![context.is_late()];
        for step in [79, 1] {
            inside.advance(ms(step));
            late.push(context.is_late());
        }
        assert_eq!(context.extend(ms(50)), Ok(ms(50)));
        late.push(context.is_late());
        for step in [39, 1] {
            inside.advance(ms(step));
            late.push(context.is_late());
        }
        log.lock().unwrap().push(late);
    });
    push.producer.publish(1).unwrap();
    push.turn();
    assert_eq!(*seen.lock().unwrap(), [[false, false, true, false, false, true]]);
    push.settled();
}

#[test]
fn retries_come_after_the_delays_of_a_list() {
    let delays = [ms(10), ms(20), ms(500)];
    let pull = Pull::<u32>::new(q(4).retry(RetryPolicy::new().max_attempts(6).backoff(Backoff::List(delays.to_vec()))));
    pull.producer.publish(1).unwrap();
    for expected in [ms(10), ms(20), ms(500), ms(500), ms(500)] {
        pull.get().unwrap().retry("no").unwrap();
        pull.advance(expected - TICK);
        assert!(pull.get().is_none());
        pull.advance(2 * TICK);
    }
    pull.get().unwrap().retry("no").unwrap();
    assert_eq!(pull.queue.dead_letters().take().unwrap().record().failures, 6);
}

#[test]
fn ten_thousand_failures_at_once_come_back_spread() {
    const JOBS: u64 = 10_000;
    // the default's first waves are narrower than 200 ms, see `Backoff`: it keeps the promise from the fourth failure on, a base of 250 ms from the first
    let wide = Backoff::Exponential { base: ms(250), factor: 2, cap: secs(30), jitter: Jitter::Full };
    for (backoff, waves) in [(Backoff::default(), [false, false, false, true]), (wide, [true; 4])] {
        let pull = Pull::<u64>::new(q(JOBS).visibility(secs(600)).retry(RetryPolicy::new().max_attempts(5).backoff(backoff)));
        pull.producer.publish_batch(&mut (0..JOBS));
        for spread in waves {
            let running: Vec<_> = std::iter::from_fn(|| pull.get()).collect();
            assert_eq!(running.len() as u64, JOBS);
            for delivery in running {
                delivery.retry("all is down").unwrap();
            }
            let mut fullest = 0;
            let mut back = pull.seen().phases.ready;
            while u64::from(back) < JOBS {
                pull.advance(ms(10));
                let ready = pull.seen().phases.ready;
                fullest = fullest.max(ready - back);
                back = ready;
            }
            assert!(!spread || u64::from(fullest) < JOBS / 20, "{fullest} of {JOBS} retries in 10 ms");
        }
    }
}

#[test]
fn a_clock_that_steps_back_delays_and_breaks_nothing() {
    let pull = Pull::<u32>::new(q(8).visibility(ms(100)));
    pull.advance(secs(100));
    pull.producer.publish_after(1, ms(50)).unwrap();
    pull.producer.publish(2).unwrap();
    let running = pull.get().unwrap();
    pull.advance(ms(10));
    pull.clock.set(Timestamp::ZERO + secs(40));
    pull.runtime.turn();
    assert!(pull.get().is_none() && running.is_current());
    pull.producer.publish(3).unwrap();
    pull.get().unwrap().ack().unwrap();
    pull.advance(secs(59));
    assert!(running.is_current(), "time that was there before does not count twice");
    pull.advance(secs(2));
    assert!(!running.is_current());
    let mut left = pull.ack_all(|delivery| **delivery);
    left.sort();
    assert_eq!(left, [1, 2]);
    running.ack().unwrap_err();
    pull.settled();
}

#[test]
fn a_frozen_process_ages_no_lease() {
    let clock = Arc::new(ManualClock::new());
    let mut builder = Runtime::builder().manual(Arc::clone(&clock)).freeze_after(secs(1));
    let queue = builder.pull_queue::<u32>(q(8).visibility(ms(800))).unwrap();
    let runtime = builder.build().unwrap();
    let (producer, consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
    producer.publish(1).unwrap();
    producer.publish_after(2, secs(60)).unwrap();
    let delivery = consumer.recv().unwrap();
    runtime.advance(&clock, ms(200));
    // stopped, suspended, in a debugger
    clock.advance(secs(3_600));
    runtime.turn();
    assert!(delivery.is_current(), "the worker stood still as well");
    assert_eq!(*consumer.try_recv().unwrap(), 2, "delays go by real time");
    // at most two sweeps were counted for the hour
    runtime.advance(&clock, ms(390));
    assert!(delivery.is_current());
    runtime.advance(&clock, ms(500));
    assert!(!delivery.is_current(), "awake, leases age again");
}

#[test]
fn a_gap_that_is_no_freeze_ages_leases() {
    let pull = Pull::<u32>::new(q(8).visibility(ms(800)));
    pull.producer.publish(1).unwrap();
    let delivery = pull.get().unwrap();
    pull.advance(ms(200));
    pull.clock.advance(secs(3_600));
    pull.advance(ms(200));
    assert!(!delivery.is_current());
}

#[test]
fn more_deliveries_than_a_claim_block_holds_have_leases_all_the_same() {
    let pull = Pull::<u32>::new(q(200).visibility(ms(100)));
    pull.producer.publish_batch(&mut (0..150));
    let mut held: Vec<_> = std::iter::from_fn(|| pull.get()).collect();
    assert_eq!(held.len(), 150);
    pull.advance(ms(80));
    for delivery in &mut held[100..] {
        delivery.extend(ms(100)).unwrap();
    }
    pull.advance(ms(19));
    assert!(held.iter().all(Delivery::is_current));
    pull.advance(ms(40));
    let current: Vec<_> = held.iter().map(Delivery::is_current).collect();
    assert_eq!(current, [vec![false; 100], vec![true; 50]].concat());
    pull.advance(ms(100));
    assert!(!held.iter().any(Delivery::is_current));
    for delivery in held {
        delivery.ack().unwrap_err();
    }
    while let Some(delivery) = pull.get() {
        assert_eq!(delivery.attempt(), 2);
        delivery.ack().unwrap();
    }
    let counts = pull.settled();
    assert_eq!((counts.acked, counts.expired_leases), (150, 150));
}

#[test]
fn a_receiver_waits_until_its_deadline() {
    watched(|| {
        let mut builder = Runtime::builder();
        let queue = builder.pull_queue::<u32>(q(4)).unwrap();
        let _runtime = builder.build().unwrap();
        let consumer = queue.consumer().unwrap();
        let begun = Instant::now();
        assert_eq!(consumer.recv_timeout(ms(30)).unwrap_err(), RecvError::TimedOut);
        assert!((ms(30)..ms(3_000)).contains(&begun.elapsed()));
        assert_eq!(consumer.try_recv().unwrap_err(), RecvError::Empty);
        let producer = queue.producer().unwrap();
        let later = std::thread::spawn(move || producer.publish_after(5, ms(20)).map(drop));
        let delivery = consumer.recv().unwrap();
        assert_eq!(*delivery, 5);
        delivery.ack().unwrap();
        later.join().unwrap().unwrap();
    });
}

#[test]
fn no_head_of_a_lower_lane_waits_longer_than_max_wait_while_the_top_lane_is_saturated() {
    const MAX_WAIT: Duration = Duration::from_millis(50);
    let clock = Arc::new(ManualClock::new());
    let inside = Arc::clone(&clock);
    let longest = Arc::new(Mutex::new([Duration::ZERO; 3]));
    let log = Arc::clone(&longest);
    let feed = Arc::new(Mutex::new(None::<Producer<u64>>));
    let feeder = Arc::clone(&feed);
    let lanes = ["top", "middle", "low"].map(LaneConfig::new);
    let config = q(4_000).lanes(lanes).discipline(crate::Discipline::Strict { max_wait: MAX_WAIT });
    let push = Push::on(clock, config, move |published: &u64, context: &crate::Context<u64>| {
        let now = inside.now();
        let longest = &mut log.lock().unwrap()[context.lane()];
        *longest = now.since(Timestamp::from_nanos(*published)).max(*longest);
        // a job takes 1 ms; the lower lanes get one every 60 ms, so each is the head of its lane from the beginning
        if (now.as_nanos() / 1_000_000).is_multiple_of(60) && context.lane() == 0 {
            let feed = feeder.lock().unwrap();
            for lane in [1, 2] {
                feed.as_ref().unwrap().publish(Job::new(now.as_nanos()).lane(lane)).unwrap();
            }
        }
        inside.advance(ms(1));
    });
    *feed.lock().unwrap() = Some(push.queue.producer().unwrap());
    push.producer.publish_batch(&mut (0..3_000).map(|_| Job::new(0)));
    push.turn();
    let longest = *longest.lock().unwrap();
    assert!(push.settled().acked > 3_090);
    for lane in [1, 2] {
        assert!((MAX_WAIT * 7 / 8..=MAX_WAIT).contains(&longest[lane]), "top first, but not for ever: {longest:?}");
    }
}

#[test]
fn what_was_claimed_from_a_lower_lane_does_not_wait_longer_than_max_wait_either() {
    let clock = Arc::new(ManualClock::new());
    let inside = Arc::clone(&clock);
    let longest = Arc::new(Mutex::new(Duration::ZERO));
    let log = Arc::clone(&longest);
    let feed = Arc::new(Mutex::new(None::<Producer<u64>>));
    let feeder = Arc::clone(&feed);
    let config = q(4_000).lanes(["top", "low"].map(LaneConfig::new)).discipline(crate::Discipline::Strict { max_wait: ms(64) }).prefetch(8);
    let push = Push::on(clock, config, move |_: &u64, context: &crate::Context<u64>| {
        if context.lane() == 1 {
            let mut longest = log.lock().unwrap();
            *longest = inside.now().since(Timestamp::ZERO).max(*longest);
            if let Some(feed) = feeder.lock().unwrap().take() {
                // the other low jobs are claimed by now, and the lane looks empty
                feed.publish_batch(&mut (0..1_000).map(|_| Job::new(0)));
            }
        }
        inside.advance(ms(1));
    });
    *feed.lock().unwrap() = Some(push.queue.producer().unwrap());
    push.producer.publish_batch(&mut (0..4).map(|n| Job::new(n).lane(1)));
    push.turn();
    assert_eq!(push.settled().acked, 1_004);
    let longest = *longest.lock().unwrap();
    assert!((ms(56)..=ms(64)).contains(&longest), "{longest:?}");
}
