//! A publisher that finds the queue full again and again stops asking for a while.

use super::exchanges::{Hub, two_lanes};
use super::futures::{Bell, block_on, poll};
use super::*;
use crate::{
    Context, DeadLetterConfig, Dedupe, ExchangeKind, Job, MissedPeriods, Overflow, PublishBreaker, PublishError, Refusal, RouteError,
    RouteRefusal,
};
use std::sync::atomic::AtomicU32;
use std::task::Poll;

/// Opens after three within a second, for five.
fn rule() -> PublishBreaker {
    PublishBreaker::new().failures(3).within(secs(1)).open(secs(5))
}

fn breaking(capacity: u64) -> QueueConfig {
    q(capacity).publish_breaker(rule())
}

/// One job in a queue for one, which its producer has found full so often.
fn full(times: u32, config: QueueConfig) -> Pull<u32> {
    let pull = Pull::new(config);
    pull.producer.publish(0).unwrap();
    find_full(&pull.producer, times);
    pull
}

fn find_full(producer: &Producer<u32>, times: u32) {
    for _ in 0..times {
        assert!(producer.publish(1).unwrap_err().is_full());
    }
}

/// How long the breaker is open yet.
fn left<T>(error: &PublishError<T>) -> Duration {
    match error.refusal() {
        Refusal::BreakerOpen { retry_after } => *retry_after,
        refusal => panic!("{refusal}"),
    }
}

fn is_open(producer: &Producer<u32>) -> bool {
    match producer.try_publish(1) {
        Ok(_) => false,
        Err(error) => error.is_breaker_open(),
    }
}

fn ack(pull: &Pull<u32>) {
    pull.get().unwrap().ack().unwrap();
}

// ---- when it opens ----

#[test]
fn it_opens_when_the_queue_was_full_so_often_and_not_before() {
    let pull = full(2, breaking(1));
    ack(&pull);
    pull.producer.publish(1).unwrap();
    find_full(&pull.producer, 3);
    let error = pull.producer.publish(7).unwrap_err();
    assert!(error.is_breaker_open() && !error.is_full() && !error.is_closed() && !error.is_duplicate());
    assert_eq!(error.to_string(), "the publisher's breaker is open, try again in 5s");
    assert_eq!(error.into_inner(), 7, "the job comes back");
    assert_eq!((pull.settled().rejected_full, pull.settled().rejected_breaker), (5, 1));
}

#[test]
fn it_may_open_at_the_first() {
    let pull = full(1, q(1).publish_breaker(rule().failures(1)));
    assert!(is_open(&pull.producer));
}

#[test]
fn a_job_that_gets_in_begins_the_count_anew() {
    let pull = full(2, breaking(1));
    ack(&pull);
    pull.producer.publish(1).unwrap();
    find_full(&pull.producer, 2);
    assert!(!is_open(&pull.producer), "that was the third");
    assert!(is_open(&pull.producer));
}

#[test]
fn refusals_for_another_reason_are_of_no_account() {
    let (census, config) = (Census::default(), breaking(1).dedupe(Dedupe::WhileLive, 8));
    let pull = Pull::<Counted>::new(config);
    pull.producer.publish(Job::new(census.born(0)).key("k")).unwrap();
    for _ in 0..3 {
        assert!(matches!(pull.producer.publish(census.born(u32::MAX)).unwrap_err().refusal(), Refusal::Invalid { .. }));
        assert!(pull.producer.publish(Job::new(census.born(1)).key("k")).unwrap_err().is_duplicate());
        assert!(pull.producer.publish(census.born(2)).unwrap_err().is_full());
    }
    assert!(pull.producer.publish(census.born(2)).unwrap_err().is_breaker_open());
    assert_eq!((pull.settled().rejected_duplicate, pull.settled().rejected_invalid, pull.settled().rejected_full), (3, 3, 3));
}

#[test]
fn what_was_longer_ago_is_of_no_account() {
    for (pause, opens) in [(500, true), (501, false)] {
        let pull = full(1, breaking(1));
        for _ in 0..2 {
            pull.advance(ms(pause));
            find_full(&pull.producer, 1);
        }
        assert_eq!(is_open(&pull.producer), opens, "{pause}");
    }
    // of many refusals it is the last three that count
    let pull = full(1, breaking(1));
    for pause in [900, 900, 500, 500] {
        pull.advance(ms(pause));
        assert!(!is_open(&pull.producer));
    }
    assert!(is_open(&pull.producer));
}

#[test]
fn a_publish_that_waited_in_vain_has_found_it_full() {
    let pull = full(0, breaking(1).overflow(Overflow::Block(Duration::ZERO)));
    for _ in 0..3 {
        assert_eq!(*pull.producer.publish(1).unwrap_err().refusal(), Refusal::TimedOut);
    }
    assert!(is_open(&pull.producer));
}

#[test]
fn reservations_that_find_no_room_count_too() {
    let pull = full(0, breaking(1));
    for _ in 0..3 {
        assert!(matches!(pull.producer.reserve(0, 1).unwrap_err(), Refusal::Full { .. }));
    }
    assert_eq!(pull.producer.reserve(0, 1).unwrap_err(), Refusal::BreakerOpen { retry_after: secs(5) });
}

#[test]
fn each_handle_has_a_breaker_of_its_own() {
    let pull = full(3, breaking(1));
    let other = pull.producer.try_clone().unwrap();
    assert!(is_open(&pull.producer));
    find_full(&other, 1);
    ack(&pull);
    other.publish(1).unwrap();
    assert!(is_open(&pull.producer));
}

#[test]
fn a_queue_without_one_is_asked_every_time() {
    let pull = full(5_000, q(1));
    assert_eq!((pull.settled().rejected_full, pull.settled().rejected_breaker), (5_000, 0));
}

// ---- while it is open ----

/// Nothing but the count of refusals has changed since `before`.
fn untouched(pull: &Pull<u32>, before: &QueueSnapshot, refused: u64) {
    let mut now = pull.seen();
    assert_eq!(now.counts.rejected_breaker - before.counts.rejected_breaker, refused);
    now.counts.rejected_breaker = before.counts.rejected_breaker;
    assert_eq!(now.counts, before.counts);
    assert_eq!((now.free, now.phases, now.publishers_waiting), (before.free, before.phases, before.publishers_waiting));
    assert_eq!(now.dead_letters, before.dead_letters);
    pull.settled();
}

#[test]
fn an_open_breaker_touches_nothing_whatever_the_policy() {
    let letters = || DeadLetterConfig::new().capacity(2);
    for overflow in [Overflow::Reject, Overflow::Block(Duration::ZERO), Overflow::DropOldest, Overflow::DropNew] {
        let pull = Pull::<u32>::new(breaking(2).overflow(overflow).dead_letters(letters()));
        let held = [0, 1].map(|n| {
            pull.producer.publish(n).unwrap();
            pull.get().unwrap()
        });
        if overflow == Overflow::DropNew {
            // the first two take the room among the dead letters
            pull.producer.publish(2).unwrap();
            pull.producer.publish(3).unwrap();
        }
        find_full(&pull.producer, 3);
        let letter = pull.queue.dead_letters().take();
        assert_eq!(letter.is_some(), overflow == Overflow::DropNew);
        // now there is room, and among the letters, and a job to drop
        let [first, second] = held;
        first.ack().unwrap();
        second.ack().unwrap();
        let other = pull.queue.producer().unwrap();
        other.publish(4).unwrap();
        let before = pull.seen();
        for n in 0..10 {
            assert_eq!(left(&pull.producer.publish(n).unwrap_err()), secs(5), "{overflow:?}");
        }
        untouched(&pull, &before, 10);
    }
}

#[test]
fn an_open_breaker_runs_nothing_in_its_callers_thread() {
    let ran = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&ran);
    let push = Push::<u32>::new(breaking(1).overflow(Overflow::CallerRuns), move |_: &u32, _: &Context<u32>| {
        count.fetch_add(1, SeqCst);
    });
    push.producer.publish(0).unwrap();
    for _ in 0..5 {
        push.producer.publish(1).unwrap(); // it runs here, so it is accepted
    }
    push.queue.pause();
    find_full(&push.producer, 3);
    push.queue.resume();
    assert!(push.producer.publish(1).unwrap_err().is_breaker_open());
    assert_eq!(ran.load(SeqCst), 5);
    push.advance(secs(5));
    push.producer.publish(1).unwrap();
    push.turn();
    assert_eq!((push.settled().acked, push.settled().rejected_breaker), (7, 1));
}

#[test]
fn every_form_of_publishing_is_refused() {
    watched(|| {
        let mut pull = full(3, breaking(1));
        ack(&pull); // there is room
        let before = pull.seen();
        let now = pull.runtime.now();
        let Pull { producer, .. } = &mut pull;
        let long = secs(1_000);
        let five = |error: PublishError<u32>| {
            assert_eq!(left(&error), secs(5));
            assert_eq!(error.into_inner(), 7, "the job comes back");
        };
        five(producer.publish(7).unwrap_err());
        five(producer.try_publish(7).unwrap_err());
        five(producer.publish_timeout(7, long).unwrap_err());
        five(producer.publish_after(7, ms(1)).unwrap_err());
        five(producer.publish_at(7, now + ms(1)).unwrap_err());
        assert_eq!(producer.reserve(0, 1).unwrap_err(), Refusal::BreakerOpen { retry_after: secs(5) });
        let mut jobs = [7, 8, 9].into_iter();
        let batch = producer.publish_batch(&mut jobs);
        five(batch.refused.unwrap());
        assert_eq!((batch.accepted, jobs.as_slice()), (0, &[8, 9][..]), "the rest was not pulled");
        let watched = producer.watched();
        five(watched.publish(7).unwrap_err());
        five(watched.try_publish(7).unwrap_err());
        five(watched.publish_timeout(7, long).unwrap_err());
        five(watched.publish_after(7, ms(1)).unwrap_err());
        five(watched.publish_at(7, now + ms(1)).unwrap_err());
        let batch = watched.publish_batch(&mut [7].into_iter());
        assert!(batch.completions.is_empty());
        five(batch.refused.unwrap());
        five(block_on(producer.publish_async(7)).unwrap_err());
        five(block_on(producer.publish_watched_async(7)).unwrap_err());
        untouched(&pull, &before, 15);
    });
}

#[test]
fn a_reserve_that_can_never_be_had_opens_nothing() {
    let pull = Pull::<u32>::new(q(8).publish_breaker(PublishBreaker::new().failures(1)));
    assert!(matches!(pull.producer.reserve(0, 9).unwrap_err(), Refusal::Full { .. }));
    pull.producer.publish(1).unwrap();
    assert_eq!(pull.settled().rejected_full, 1);
}

#[test]
fn what_was_reserved_before_stays_good_and_is_no_probe() {
    let pull = Pull::<u32>::new(breaking(2));
    let mut permits = pull.producer.reserve(0, 1).unwrap();
    pull.producer.publish(0).unwrap();
    find_full(&pull.producer, 3);
    permits.publish(1).unwrap();
    drop(permits);
    ack(&pull);
    assert!(is_open(&pull.producer));
    pull.advance(secs(5));
    pull.producer.publish(2).unwrap();
    find_full(&pull.producer, 1);
}

#[test]
fn a_payload_that_waits_out_a_window_is_not_replaced() {
    let pull = Pull::<u32>::new(breaking(1).dedupe(Dedupe::KeepLast(secs(2)), 4));
    let keyed = |n| Job::new(n).key("k");
    pull.producer.publish(keyed(0)).unwrap();
    find_full(&pull.producer, 2);
    pull.producer.publish(keyed(1)).unwrap(); // needs no slot, and says nothing of room
    find_full(&pull.producer, 1);
    assert!(pull.producer.publish(keyed(2)).unwrap_err().is_breaker_open());
    pull.advance(secs(3));
    assert_eq!(*pull.get().unwrap(), 1);
    assert_eq!(pull.counts().replaced, 1);
}

#[test]
fn a_closed_queue_says_so_all_the_same() {
    let Pull { runtime, producer, .. } = full(3, breaking(1));
    assert!(is_open(&producer));
    drop(runtime);
    assert!(producer.publish(1).unwrap_err().is_closed());
    assert_eq!(producer.reserve(0, 1).unwrap_err(), Refusal::Closed);
}

#[test]
fn what_the_runtime_publishes_itself_knows_no_breaker() {
    let pull = full(3, breaking(1));
    assert!(is_open(&pull.producer));
    let _periodic = pull.producer.every(ms(10), MissedPeriods::Skip, || 7).unwrap();
    let held = pull.get().unwrap();
    for _ in 0..10 {
        pull.advance(ms(10));
        assert!(pull.get().is_none());
    }
    assert_eq!(pull.counts().periods_missed, 10);
    held.ack().unwrap();
    pull.advance(ms(10));
    let delivery = pull.get().unwrap();
    assert_eq!(*delivery, 7, "the first that finds room");
    delivery.reject("no").unwrap();
    assert_eq!(pull.queue.dead_letters().redrive_all(), 1);
    assert!(is_open(&pull.producer));
    assert_eq!(pull.counts().rejected_breaker, 2);
}

// ---- when it closes ----

#[test]
fn the_time_to_wait_shrinks_to_nothing_and_a_probe_goes() {
    let pull = full(3, breaking(1));
    ack(&pull);
    for (passed, open) in [(0, 5_000), (1, 4_999), (999, 4_000), (3_998, 2), (1, 1)] {
        pull.advance(ms(passed));
        assert_eq!(left(&pull.producer.publish(1).unwrap_err()), ms(open));
    }
    pull.advance(ms(1));
    pull.producer.publish(1).unwrap();
    pull.settled();
}

#[test]
fn a_probe_that_gets_in_closes_it() {
    let pull = full(3, breaking(1));
    ack(&pull);
    pull.advance(secs(5));
    pull.producer.publish(1).unwrap();
    find_full(&pull.producer, 3);
    assert!(is_open(&pull.producer), "and it counts from the beginning");
}

#[test]
fn a_probe_that_finds_the_queue_full_opens_it_again() {
    let pull = full(3, breaking(1));
    for _ in 0..3 {
        pull.advance(secs(7));
        find_full(&pull.producer, 1);
        assert_eq!(left(&pull.producer.publish(1).unwrap_err()), secs(5));
    }
    assert_eq!((pull.settled().rejected_full, pull.settled().rejected_breaker), (6, 3));
}

#[test]
fn a_probe_that_is_refused_for_another_reason_leaves_it_to_the_next() {
    let (census, config) = (Census::default(), breaking(1).dedupe(Dedupe::WhileLive, 8));
    let pull = Pull::<Counted>::new(config);
    pull.producer.publish(Job::new(census.born(0)).key("k")).unwrap();
    for _ in 0..3 {
        assert!(pull.producer.publish(census.born(1)).unwrap_err().is_full());
    }
    pull.advance(secs(5));
    for _ in 0..3 {
        assert!(matches!(pull.producer.publish(census.born(u32::MAX)).unwrap_err().refusal(), Refusal::Invalid { .. }));
        assert!(pull.producer.publish(Job::new(census.born(1)).key("k")).unwrap_err().is_duplicate());
    }
    assert!(pull.producer.publish(census.born(1)).unwrap_err().is_full());
    assert!(pull.producer.publish(census.born(1)).unwrap_err().is_breaker_open());
}

#[test]
fn a_probe_that_is_given_up_leaves_it_to_the_next() {
    let mut pull = full(3, breaking(1));
    pull.advance(secs(5));
    let bell = Bell::new();
    let mut probe = pull.producer.publish_async(1);
    assert!(poll(&mut probe, &bell).is_pending());
    drop(probe);
    find_full(&pull.producer, 1);
    pull.advance(secs(5));
    let mut probe = pull.producer.publish_async(1);
    assert!(poll(&mut probe, &bell).is_pending());
    pull.consumer.try_recv().unwrap().ack().unwrap();
    assert!(matches!(poll(&mut probe, &bell), Poll::Ready(Ok(_))));
    drop(probe);
    find_full(&pull.producer, 2);
    assert!(!is_open(&pull.producer));
}

#[test]
fn a_batch_probes_with_its_first_chain() {
    let pull = full(3, breaking(1));
    pull.advance(secs(5));
    let mut jobs = 7..10;
    let batch = pull.producer.publish_batch(&mut jobs);
    assert!(batch.refused.unwrap().is_full());
    let batch = pull.producer.publish_batch(&mut jobs);
    assert_eq!(left(&batch.refused.unwrap()), secs(5));
    assert_eq!(jobs, 9..10);
    let pull = Pull::<u32>::new(breaking(100));
    pull.producer.publish_batch(&mut (0..100));
    find_full(&pull.producer, 3);
    pull.queue.purge();
    pull.advance(secs(5));
    let batch = pull.producer.publish_batch(&mut (0..200));
    assert_eq!(batch.accepted, 100);
    assert!(batch.refused.unwrap().is_full());
    // what comes after the chain that got in is the first of three again
    find_full(&pull.producer, 2);
    assert!(is_open(&pull.producer));
    pull.settled();
}

// ---- through exchanges ----

/// The middle one of three queues is full, and the publisher's breaker for it open.
fn open_in_the_middle(config: QueueConfig) -> Hub<u32> {
    let mut hub = Hub::fanout_with_a_small_queue(config);
    hub.publisher.publish("x", 0).unwrap();
    for _ in 0..3 {
        assert!(hub.publisher.publish("x", 1).unwrap_err().is_full());
    }
    hub
}

fn small() -> QueueConfig {
    two_lanes("b", 1).publish_breaker(rule())
}

fn refused_by_b(error: RouteError<u32>) {
    assert!(error.is_breaker_open() && !error.is_full());
    assert!(matches!(error.refusal(), RouteRefusal::Queue { queue, .. } if &**queue == "b"));
    assert_eq!(error.into_inner(), 7, "the job comes back");
}

#[test]
fn a_fan_out_is_refused_as_a_whole_and_best_effort_misses_the_queue() {
    watched(|| {
        let mut hub = open_in_the_middle(small());
        hub.queues[1].purge();
        let route = hub.exchange.route("x").unwrap();
        let publisher = &mut hub.publisher;
        refused_by_b(publisher.publish("x", 7).unwrap_err());
        refused_by_b(publisher.publish(&route, 7).unwrap_err());
        refused_by_b(publisher.try_publish("x", 7).unwrap_err());
        refused_by_b(publisher.publish_timeout("x", 7, secs(1_000)).unwrap_err());
        refused_by_b(publisher.watched().publish("x", 7).unwrap_err());
        refused_by_b(publisher.publish("x", Job::new(7).key("k")).unwrap_err());
        refused_by_b(block_on(publisher.publish_async("x", 7)).unwrap_err());
        assert_eq!(hub.depths(), [1, 0, 1]);
        let some = hub.publisher.publish_best_effort("x", 7).unwrap();
        assert_eq!((some.copies, &*some.missed[0].0, &some.missed[0].1), (2, "b", &Refusal::BreakerOpen { retry_after: secs(5) }));
        let some = hub.publisher.watched().publish_best_effort("x", 7).unwrap();
        assert_eq!((some.completions.len(), &*some.missed[0].0), (2, "b"));
        assert_eq!((hub.depths(), hub.queues[1].counts().rejected_breaker), ([3, 0, 3], 9));
        hub.runtime.advance(&hub.clock, secs(5));
        assert_eq!(hub.publisher.publish("x", 7).unwrap().copies, 3);
        assert_eq!(hub.publisher.publish_best_effort("x", 7).unwrap().missed[0].1, Refusal::Full { retry_after: None });
        adds_up(&hub.runtime);
    });
}

#[test]
fn a_fan_out_waits_for_no_queue_while_a_breaker_is_open() {
    watched(|| {
        let mut hub = open_in_the_middle(small());
        // what comes first is full too
        let first = hub.queues[0].producer().unwrap();
        while first.publish(0).is_ok() {}
        refused_by_b(hub.publisher.publish_timeout("x", 7, Duration::MAX).unwrap_err());
        let bell = Bell::new();
        let mut publish = Box::pin(hub.publisher.publish_async("x", 7));
        assert!(poll(&mut publish, &bell).is_ready());
    });
}

#[test]
fn a_probe_of_a_fan_out_that_another_queue_refuses_leaves_it_to_the_next() {
    let mut hub = open_in_the_middle(small());
    let last = hub.queues[2].producer().unwrap();
    while last.publish(0).is_ok() {}
    hub.queues[1].purge();
    hub.runtime.advance(&hub.clock, secs(5));
    let error = hub.publisher.publish("x", 7).unwrap_err();
    assert!(matches!(error.refusal(), RouteRefusal::Queue { queue, .. } if &**queue == "c"));
    hub.queues[2].purge();
    assert_eq!(hub.publisher.publish("x", 7).unwrap().copies, 3);
    adds_up(&hub.runtime);
}

#[test]
fn a_job_for_one_queue_is_refused_however_it_finds_there() {
    watched(|| {
        let mut hub = Hub::<u32>::new(ExchangeKind::Direct, [two_lanes("a", 8), small(), two_lanes("c", 8)]);
        hub.exchange.bind(crate::Binding::new("to.b", &hub.queues[1])).unwrap();
        let route = hub.exchange.route("to.b").unwrap();
        hub.publisher.publish(&route, 0).unwrap();
        for _ in 0..3 {
            assert!(hub.publisher.publish(&route, 1).unwrap_err().is_full());
        }
        hub.queues[1].purge();
        let publisher = &mut hub.publisher;
        refused_by_b(publisher.publish(&route, 7).unwrap_err());
        refused_by_b(publisher.publish("to.b", 7).unwrap_err());
        refused_by_b(publisher.publish_one("to.b", 7).unwrap_err());
        refused_by_b(publisher.try_publish_one(&route, 7).unwrap_err());
        refused_by_b(publisher.watched().publish_one("to.b", 7).unwrap_err());
        refused_by_b(publisher.publish_best_effort("to.b", 7).unwrap_err());
        refused_by_b(block_on(publisher.publish_one_async("to.b", 7)).unwrap_err());
        assert_eq!((hub.depths(), hub.queues[1].counts().rejected_breaker), ([0; 3], 7));
        hub.runtime.advance(&hub.clock, secs(5));
        hub.publisher.publish(&route, 7).unwrap();
        assert!(hub.publisher.publish(&route, 7).unwrap_err().is_full());
    });
}

// ---- settings ----

#[test]
fn settings_of_a_breaker_out_of_range_are_named() {
    let year = secs(365 * 24 * 3600);
    let said = |breaker: PublishBreaker| q(1).publish_breaker(breaker).validate().map_err(|error| error.to_string());
    for breaker in [rule().failures(1), rule().failures(1024), rule().within(ms(1)).open(year), rule().within(year).open(ms(1))] {
        assert_eq!(said(breaker), Ok(()));
    }
    for (breaker, message) in [
        (rule().failures(0), "queue `q`: publish_breaker: failures is 0, allowed is 1..=1024"),
        (rule().failures(1025), "queue `q`: publish_breaker: failures is 1025, allowed is 1..=1024"),
        (rule().within(Duration::ZERO), "queue `q`: publish_breaker: within is 0ns, allowed is 1ms to 365d"),
        (rule().within(2 * year), "queue `q`: publish_breaker: within is 63072000s, allowed is 1ms to 365d"),
        (rule().open(ms(1) / 2), "queue `q`: publish_breaker: open is 500µs, allowed is 1ms to 365d"),
        (rule().open(Duration::MAX), "queue `q`: publish_breaker: open is 18446744073709551615.999999999s, allowed is 1ms to 365d"),
    ] {
        assert_eq!(said(breaker), Err(message.to_owned()));
    }
}
