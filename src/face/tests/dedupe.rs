//! Jobs with keys: which are duplicates, and when a key is free again.

use super::*;
use crate::{DeadLetterConfig, Dedupe, Job, JobId, LaneConfig, Overflow, Refusal, Verdict};

fn while_live(capacity: u64) -> QueueConfig {
    q(capacity).dedupe(Dedupe::WhileLive, 100)
}

fn window(capacity: u64, window: Duration) -> QueueConfig {
    q(capacity).dedupe(Dedupe::Window(window), 100)
}

/// A job whose key is its payload.
fn keyed(payload: &'static str) -> Job<&'static str> {
    Job::new(payload).key(payload)
}

/// Publishes it again: the job that it is a duplicate of, if it is one.
fn existing(pull: &Pull<&'static str>, payload: &'static str) -> Option<JobId> {
    match pull.producer.try_publish(keyed(payload)) {
        Ok(_) => None,
        Err(error) => match error.refusal() {
            Refusal::Duplicate { existing } => Some(*existing),
            other => panic!("{other}"),
        },
    }
}

#[test]
fn of_64_threads_with_one_key_one_is_accepted_and_one_job_runs() {
    let counts = watched(|| {
        let mut builder = Runtime::builder();
        let door = Door::default();
        let inside = door.clone();
        let queue = builder.queue(while_live(128), move |_: &u32, _: &_| inside.pass()).unwrap();
        let runtime = builder.build().unwrap();
        let start = Arc::new(crate::tests::threads::Barrier::new(64));
        let threads: Vec<_> = (0..64u32)
            .map(|n| {
                let (queue, start) = (queue.clone(), Arc::clone(&start));
                std::thread::spawn(move || {
                    let producer = queue.producer().unwrap();
                    start.wait();
                    producer.publish(Job::new(n).key("the same")).map_err(|error| (error.refusal().clone(), error.into_inner() == n))
                })
            })
            .collect();
        let (accepted, refused): (Vec<_>, Vec<_>) = threads.into_iter().map(|thread| thread.join().unwrap()).partition(Result::is_ok);
        assert_eq!(accepted.len(), 1);
        let existing = *accepted[0].as_ref().unwrap();
        for refused in refused {
            assert_eq!(refused.unwrap_err(), (Refusal::Duplicate { existing }, true));
        }
        door.open();
        eventually("it is done", || queue.counts().acked == 1);
        assert!(queue.producer().unwrap().publish(Job::new(0).key("the same")).is_ok(), "whoever sees the ack may publish the key again");
        runtime.shutdown(ShutdownOptions::default());
        queue.counts()
    });
    assert_eq!((counts.accepted, counts.acked, counts.rejected_duplicate), (2, 2, 63));
}

#[test]
fn every_end_of_a_job_frees_its_key() {
    type End = fn(&Pull<&'static str>, JobId);
    let ends: [(&str, End); 8] = [
        ("acked", |pull, _| pull.get().unwrap().ack().unwrap()),
        ("discarded", |pull, _| pull.get().unwrap().settle(Verdict::Discard).unwrap()),
        ("rejected", |pull, _| pull.get().unwrap().settle(Verdict::Reject(crate::JobError::fatal("no"))).unwrap()),
        ("out of attempts", |pull, _| drop(pull.get().unwrap())),
        ("cancelled", |pull, job| {
            assert!(pull.queue.cancel(job));
            assert!(pull.get().is_none());
        }),
        ("purged", |pull, _| assert_eq!(pull.queue.purge(), 1)),
        ("expired", |pull, _| {
            pull.advance(secs(61));
            assert!(pull.get().is_none());
        }),
        ("evicted", |pull, _| {
            pull.producer.publish("another").unwrap();
            pull.producer.publish("and another").unwrap();
        }),
    ];
    for (name, end) in ends {
        let pull = Pull::<&'static str>::new(while_live(2).overflow(Overflow::DropOldest).retry(at_once_up_to(1)));
        let job = pull.producer.publish(keyed("a").ttl(secs(60))).unwrap();
        assert_eq!(existing(&pull, "a"), Some(job), "{name}");
        end(&pull, job);
        assert_eq!(existing(&pull, "a"), None, "{name}");
        pull.settled();
    }
}

#[test]
fn what_is_no_end_keeps_the_key() {
    let letters = DeadLetterConfig::new().capacity(1);
    let pull = Pull::<&'static str>::new(while_live(8).retry(at_once_up_to(5)).visibility(secs(1)).dead_letters(letters));
    let job = pull.producer.publish_after(keyed("a"), secs(1)).unwrap();
    assert_eq!(existing(&pull, "a"), Some(job), "delayed");
    pull.advance(secs(2));
    let delivery = pull.get().unwrap();
    assert_eq!(existing(&pull, "a"), Some(job), "running");
    delivery.settle(Verdict::Retry(crate::JobError::transient("not yet"))).unwrap();
    assert_eq!(existing(&pull, "a"), Some(job), "waiting for its next attempt");
    pull.get().unwrap().snooze(secs(1)).unwrap();
    assert_eq!(existing(&pull, "a"), Some(job), "snoozed");
    pull.advance(secs(2));
    let overrun = pull.get().unwrap();
    pull.advance(secs(3));
    assert_eq!(existing(&pull, "a"), Some(job), "its lease ran out");
    assert!(overrun.ack().is_err());
    // the only letter there is room for
    pull.producer.publish("b").unwrap();
    pull.get().unwrap().ack().unwrap();
    pull.get().unwrap().settle(Verdict::Reject(crate::JobError::fatal("no"))).unwrap();
    pull.producer.publish(keyed("c")).unwrap();
    pull.get().unwrap().settle(Verdict::Reject(crate::JobError::fatal("no"))).unwrap();
    assert!(existing(&pull, "c").is_some(), "held for want of room among the dead letters");
    drop(pull.queue.dead_letters().take());
    assert_eq!(existing(&pull, "c"), None, "it has moved in there");
    pull.settled();
}

#[test]
fn a_stale_holder_keeps_no_key_and_frees_none() {
    let pull = Pull::<&'static str>::new(while_live(4).visibility(secs(1)));
    pull.producer.publish(keyed("a")).unwrap();
    let stuck = pull.get().unwrap();
    pull.advance(secs(3));
    pull.get().unwrap().ack().unwrap();
    // the slot lingers with the stuck holder, but the job has ended
    let second = pull.producer.publish(keyed("a")).unwrap();
    assert!(stuck.ack().is_err());
    assert_eq!(existing(&pull, "a"), Some(second), "the key is another job's by now");
    pull.get().unwrap().ack().unwrap();
    assert_eq!(existing(&pull, "a"), None);
    pull.settled();
}

#[test]
fn a_window_begins_with_the_acceptance_and_ends_on_time() {
    let pull = Pull::<&'static str>::new(window(8, secs(10)));
    let first = pull.producer.publish(keyed("a")).unwrap();
    pull.get().unwrap().ack().unwrap();
    pull.advance(secs(10) - ms(1));
    assert_eq!(existing(&pull, "a"), Some(first), "done long ago");
    pull.advance(ms(1));
    let second = pull.producer.publish(keyed("a")).unwrap();
    pull.advance(secs(5));
    assert_eq!(existing(&pull, "a"), Some(second));
    pull.advance(secs(5));
    assert_eq!(existing(&pull, "a"), None, "the other one is live, but its window has ended");
    assert_eq!(pull.counts().rejected_duplicate, 2);
}

#[test]
fn the_timer_clears_windows_that_have_ended() {
    let pull = Pull::<&'static str>::new(QueueConfig::new("q").capacity(1000).dedupe(Dedupe::Window(secs(1)), 600));
    for n in 0..600u32 {
        pull.producer.publish(Job::new("x").key(n.to_le_bytes())).unwrap();
    }
    assert_eq!(pull.seen().keys, 600);
    let error = pull.producer.publish(keyed("one more")).unwrap_err();
    assert_eq!(*error.refusal(), Refusal::TooManyKeys { bound: 600 });
    assert_eq!(error.to_string(), "the queue remembers 600 keys, as many as it may");
    assert!(pull.producer.publish("without a key").is_ok(), "jobs without a key are not concerned");
    pull.advance(secs(2));
    assert_eq!(pull.seen().keys, 0);
}

#[test]
fn a_full_table_makes_room_of_windows_that_have_ended() {
    let pull = Pull::<&'static str>::new(QueueConfig::new("q").capacity(1000).dedupe(Dedupe::Window(secs(1)), 200));
    for n in 0..200u32 {
        pull.producer.publish(Job::new("x").key(n.to_le_bytes())).unwrap();
    }
    // the clock moves, the timer does not
    pull.clock.advance(secs(1));
    for n in 200..400u32 {
        pull.producer.publish(Job::new("x").key(n.to_le_bytes())).unwrap();
    }
    assert_eq!(pull.seen().keys, 200);
    assert!(pull.producer.publish(keyed("one more")).is_err());
}

#[test]
fn a_bound_of_live_keys_is_exact() {
    let pull = Pull::<&'static str>::new(q(8).dedupe(Dedupe::WhileLive, 2));
    pull.producer.publish(keyed("a")).unwrap();
    pull.producer.publish(keyed("b")).unwrap();
    let error = pull.producer.publish(keyed("c")).unwrap_err();
    assert_eq!(*error.refusal(), Refusal::TooManyKeys { bound: 2 });
    assert!(!error.is_full() && !error.is_duplicate());
    assert!(existing(&pull, "a").is_some(), "duplicates are told so");
    pull.get().unwrap().ack().unwrap();
    pull.producer.publish(keyed("c")).unwrap();
    assert_eq!(pull.settled().rejected_other, 1);
}

#[test]
fn settings_and_keys_that_cannot_be_are_named() {
    let refused = |mode, bound| q(8).dedupe(mode, bound).validate().unwrap_err().to_string();
    assert_eq!(refused(Dedupe::WhileLive, 0), "queue `q`: dedupe bound is 0, allowed is 1..=16777215");
    assert_eq!(refused(Dedupe::WhileLive, 1 << 24), "queue `q`: dedupe bound is 16777216, allowed is 1..=16777215");
    assert_eq!(refused(Dedupe::Window(Duration::ZERO), 1), "queue `q`: dedupe: Window is 0ns, allowed is 1ms to 365d");
    let decade = secs(10 * 365 * 24 * 3600);
    assert_eq!(refused(Dedupe::Window(decade), 1), "queue `q`: dedupe: Window is 315360000s, allowed is 1ms to 365d");
    assert_eq!(refused(Dedupe::Debounce(Duration::ZERO), 1), "queue `q`: dedupe: Debounce is 0ns, allowed is 1ms to 365d");
    assert_eq!(refused(Dedupe::KeepLast(decade), 1), "queue `q`: dedupe: KeepLast is 315360000s, allowed is 1ms to 365d");

    let pull = Pull::<&'static str>::new(while_live(8));
    for (key, bytes) in [("".to_owned(), 0), ("x".repeat(1025), 1025)] {
        let error = pull.producer.publish(Job::new("x").key(key)).unwrap_err();
        assert_eq!(error.to_string(), format!("the key has {bytes} bytes, allowed are 1..=1024"));
        assert_eq!(error.into_inner(), "x");
    }
    pull.producer.publish(Job::new("x").key("y".repeat(1024))).unwrap();
    pull.producer.publish(Job::new("x").key([0u8])).unwrap();
    assert_eq!(pull.settled().rejected_invalid, 2);
}

#[test]
fn a_queue_that_does_not_dedupe_takes_no_notice_of_keys() {
    let pull = Pull::<&'static str>::new(q(8));
    pull.producer.publish(keyed("a")).unwrap();
    pull.producer.publish(keyed("a")).unwrap();
    pull.producer.publish(Job::new("a").key("")).unwrap();
    assert_eq!(pull.seen().keys, 0);
}

#[test]
fn a_duplicate_costs_a_full_queue_nothing() {
    let full = |overflow| {
        let pull = Pull::<&'static str>::new(while_live(1).overflow(overflow));
        let job = pull.producer.publish(keyed("a")).unwrap();
        (pull, job)
    };
    for overflow in [Overflow::Reject, Overflow::Block(secs(3600)), Overflow::DropOldest, Overflow::DropNew, Overflow::CallerRuns] {
        let (pull, job) = full(overflow);
        let error = pull.producer.publish(keyed("a")).unwrap_err();
        assert_eq!(*error.refusal(), Refusal::Duplicate { existing: job }, "{overflow:?}");
        let counts = pull.settled();
        assert_eq!((counts.accepted, counts.dead_lettered, counts.rejected_full), (1, 0, 0), "{overflow:?}");
    }
}

#[test]
fn a_job_that_goes_straight_to_the_dead_letters_leaves_its_window() {
    let new = |config: QueueConfig| {
        Pull::<&'static str>::new(config.overflow(Overflow::DropNew).dead_letters(DeadLetterConfig::new().capacity(1)))
    };
    let pull = new(window(1, secs(60)));
    pull.producer.publish("first").unwrap();
    let dead = pull.producer.publish(keyed("a")).unwrap();
    assert_eq!(existing(&pull, "a"), Some(dead), "it was accepted");
    assert!(pull.producer.publish(keyed("b")).unwrap_err().is_full(), "no room among the letters");
    assert_eq!(pull.seen().keys, 1, "what was refused leaves no key");
    let pull = new(while_live(1));
    pull.producer.publish("first").unwrap();
    pull.producer.publish(keyed("a")).unwrap();
    assert!(pull.producer.publish(keyed("a")).unwrap_err().is_full(), "the first one is dead, not live");
}

#[test]
fn a_job_has_its_key_while_its_publisher_runs_it() {
    let door = Door::default();
    let inside = door.clone();
    let config = while_live(1).overflow(Overflow::CallerRuns);
    let push = Push::<&'static str>::new(config, move |payload: &&str, _: &_| match *payload {
        "slow" => {
            inside.pass();
            Ok(())
        }
        "bad" => Err(crate::JobError::fatal("no")),
        _ => Ok(()),
    });
    push.producer.publish("fills the queue").unwrap();
    let queue = push.queue.clone();
    let slow = std::thread::spawn(move || queue.producer().unwrap().publish(keyed("slow")).unwrap());
    eventually("it has its key", || push.runtime.snapshot().queues[0].keys == 1);
    let error = push.producer.publish(keyed("slow")).unwrap_err();
    door.open();
    assert_eq!(*error.refusal(), Refusal::Duplicate { existing: slow.join().unwrap() });
    assert!(push.producer.publish(keyed("slow")).is_ok(), "it has ended");
    assert!(matches!(push.producer.publish(keyed("bad")).unwrap_err().refusal(), Refusal::HandlerFailed { .. }));
    assert_eq!(push.runtime.snapshot().queues[0].keys, 0);
}

#[test]
fn every_form_of_publish_asks_for_duplicates() {
    let mut pull = Pull::<&'static str>::new(while_live(16).lanes([LaneConfig::new("a"), LaneConfig::new("b")]));
    let first = pull.producer.publish(keyed("a")).unwrap();
    let refusal = Refusal::Duplicate { existing: first };
    assert_eq!(*pull.producer.publish_after(keyed("a"), secs(1)).unwrap_err().refusal(), refusal);
    assert_eq!(*pull.producer.publish_timeout(keyed("a").lane(1), secs(1)).unwrap_err().refusal(), refusal);
    {
        let mut permits = pull.producer.reserve(0, 2).unwrap();
        assert_eq!(*permits.publish(keyed("a")).unwrap_err().refusal(), refusal);
        permits.publish(keyed("b")).unwrap();
    }
    let mut jobs = [Job::new("x"), keyed("c"), Job::new("y"), keyed("c"), Job::new("z")].into_iter();
    let batch = pull.producer.publish_batch(&mut jobs);
    assert_eq!(batch.accepted, 3);
    assert!(batch.refused.unwrap().is_duplicate());
    assert_eq!(jobs.next().map(Job::into_payload), Some("z"));
    let mut publish = Box::pin(pull.producer.publish_async(keyed("a")));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Err(error)) = std::future::Future::poll(publish.as_mut(), &mut context) else { panic!("it waits") };
    assert_eq!(*error.refusal(), refusal);
    drop(publish);
    let counts = pull.settled();
    assert_eq!((counts.accepted, counts.rejected_duplicate), (5, 5));
}

#[test]
fn a_redriven_job_is_live_again() {
    let pull = Pull::<&'static str>::new(while_live(4));
    let reject = |pull: &Pull<&'static str>| pull.get().unwrap().settle(Verdict::Reject(crate::JobError::fatal("no"))).unwrap();
    let first = pull.producer.publish(keyed("a")).unwrap();
    reject(&pull);
    pull.producer.publish(keyed("b")).unwrap();
    reject(&pull);
    let second = pull.producer.publish(keyed("a")).unwrap();
    let letters = pull.queue.dead_letters();
    assert_eq!(letters.redrive(), Err(Refusal::Duplicate { existing: second }), "another one is live");
    assert_eq!((letters.redrive_all(), letters.len()), (1, 1), "the letter stays, and does not stand in the way of others");
    pull.get().unwrap().ack().unwrap();
    assert_eq!(letters.redrive(), Ok(true));
    assert_eq!(existing(&pull, "a"), Some(first));
    pull.get().unwrap().ack().unwrap();
    pull.get().unwrap().ack().unwrap();
    assert_eq!(pull.seen().keys, 0);
    pull.settled();
}

#[test]
fn a_follow_up_may_have_the_key_of_its_predecessor() {
    let pull = Pull::<&'static str>::new(while_live(4));
    let first = pull.producer.publish(keyed("a")).unwrap();
    pull.get().unwrap().complete_with(keyed("a")).unwrap();
    let second = existing(&pull, "a").expect("the follow-up has it");
    assert_ne!(first, second);
    // a key that another job has: nobody will ever accept it, so it ends among the dead letters
    pull.producer.publish(keyed("b")).unwrap();
    pull.get().unwrap().complete_with(keyed("b")).unwrap();
    pull.advance(secs(1));
    pull.get().unwrap().ack().unwrap();
    assert_eq!(pull.queue.dead_letters().take().unwrap().payload(), &"b");
    pull.settled();
}

#[test]
fn a_shutdown_gives_the_keys_back_with_the_jobs() {
    let pull = Pull::<&'static str>::new(while_live(4));
    pull.producer.publish(keyed("a")).unwrap();
    pull.producer.publish_after(keyed("b"), secs(60)).unwrap();
    let (queue, producer) = (pull.queue.clone(), pull.producer);
    let mut report = pull.runtime.shutdown(at_once());
    assert_eq!(report.take_undone(&queue).len(), 2);
    assert!(producer.publish(keyed("a")).unwrap_err().is_closed());
    assert_eq!(queue.queue.gauges().keys, 0);
}

#[test]
fn a_fan_out_of_a_job_with_a_key_goes_everywhere_or_nowhere() {
    let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
    let queues: Vec<_> = ["a", "b", "c"]
        .map(|name| QueueConfig::new(name).capacity(4))
        .map(|config| if config.name() == "c" { config } else { config.dedupe(Dedupe::WhileLive, 10) })
        .map(|config| builder.pull_queue::<&'static str>(config).unwrap())
        .into();
    let everywhere = builder.exchange(crate::ExchangeConfig::fanout("everywhere")).unwrap();
    queues.iter().for_each(|queue| everywhere.bind(crate::Binding::all(queue)).unwrap());
    let runtime = builder.build().unwrap();
    let mut publisher = everywhere.publisher();
    let seen = || -> Vec<_> {
        runtime.snapshot().queues.iter().map(|queue| (queue.keys, queue.capacity - queue.free, queue.counts.rejected_duplicate)).collect()
    };
    assert_eq!(publisher.publish("k", keyed("k")).unwrap().copies, 3);
    assert_eq!(seen(), [(1, 1, 0), (1, 1, 0), (0, 1, 0)]);
    // both know the key
    let error = publisher.publish("k", keyed("k")).unwrap_err();
    assert_eq!(error.into_job().into_payload(), "k");
    assert_eq!(seen(), [(1, 1, 1), (1, 1, 0), (0, 1, 0)]);
    // only the second does: the first gives slot and key back
    queues[0].consumer().unwrap().try_recv().unwrap().ack().unwrap();
    assert!(publisher.publish("k", keyed("k")).is_err());
    assert_eq!(seen(), [(0, 0, 1), (1, 1, 1), (0, 1, 0)]);
    // those that can have it
    let partial = publisher.publish_best_effort("k", keyed("k")).unwrap();
    assert_eq!((partial.copies, partial.missed.len()), (2, 1));
    assert_eq!(seen(), [(1, 1, 1), (1, 1, 2), (0, 2, 0)]);
    adds_up(&runtime);
}

// ---- windows in which jobs wait for others ----

fn waiting(capacity: u64, mode: Dedupe) -> QueueConfig {
    q(capacity).dedupe(mode, 100)
}

fn debounce(millis: u64) -> Dedupe {
    Dedupe::Debounce(ms(millis))
}

fn keep_last(millis: u64) -> Dedupe {
    Dedupe::KeepLast(ms(millis))
}

fn text(pull: &Pull<&'static str>, payload: &'static str) -> JobId {
    pull.producer.publish(Job::new(payload).key("k")).unwrap()
}

fn next(pull: &Pull<&'static str>) -> Option<&'static str> {
    pull.get().map(|delivery| {
        let text = *delivery;
        delivery.ack().unwrap();
        text
    })
}

#[test]
fn a_debounced_job_is_put_off_by_every_publish_and_has_the_last_payload() {
    let pull = Pull::<&'static str>::new(waiting(4, debounce(100)));
    let first = text(&pull, "one");
    pull.advance(ms(90));
    assert_eq!((text(&pull, "two"), next(&pull)), (first, None), "the same job");
    pull.advance(ms(90));
    assert_eq!((text(&pull, "three"), next(&pull)), (first, None));
    pull.advance(ms(99));
    assert_eq!(next(&pull), None);
    pull.advance(ms(2));
    let delivery = pull.get().unwrap();
    assert_eq!((delivery.job_id(), *delivery, delivery.attempt()), (first, "three", 1));
    // it runs: another window
    let second = text(&pull, "four");
    assert_ne!(second, first);
    delivery.ack().unwrap();
    pull.advance(ms(101));
    assert_eq!((next(&pull), next(&pull)), (Some("four"), None));
    let counts = pull.settled();
    assert_eq!((counts.accepted, counts.acked, counts.replaced, counts.rejected_duplicate), (2, 2, 2, 0));
    assert_eq!(pull.seen().keys, 0);
}

#[test]
fn keep_last_runs_the_newest_so_long_after_the_first() {
    let pull = Pull::<&'static str>::new(waiting(4, keep_last(100)));
    let first = text(&pull, "one");
    pull.advance(ms(60));
    assert_eq!(text(&pull, "two"), first);
    pull.advance(ms(39));
    assert_eq!((text(&pull, "three"), next(&pull)), (first, None));
    pull.advance(ms(2));
    text(&pull, "four");
    assert_eq!((next(&pull), next(&pull)), (Some("three"), None), "not put off");
    pull.advance(ms(99));
    assert_eq!(next(&pull), None);
    pull.advance(ms(2));
    assert_eq!(next(&pull), Some("four"));
    assert_eq!((pull.settled().replaced, pull.settled().acked), (2, 2));
}

#[test]
fn replacing_needs_no_slot_drops_the_old_payload_and_takes_the_new_limits() {
    let census = Census::default();
    let pull = Pull::<Counted>::new(waiting(1, debounce(50)).visibility(secs(30)));
    let publish = |number| pull.producer.try_publish(Job::new(census.born(number)).key("k").visibility(secs(2)).ttl(secs(1)));
    for number in 0..10 {
        publish(number).unwrap();
    }
    assert_eq!((census.alive(), pull.queue.depth()), (1, 1));
    assert!(pull.producer.try_publish(Job::new(census.born(99)).key("other")).unwrap_err().is_full());
    assert!(pull.producer.try_publish(census.born(u32::MAX)).is_err(), "invalid");
    assert_eq!(pull.producer.publish_batch(&mut (10..13).map(|n| Job::new(census.born(n)).key("k"))).accepted, 3);
    pull.advance(ms(60));
    let delivery = pull.get().unwrap();
    assert_eq!(delivery.number, 12);
    delivery.reject("no").unwrap();
    assert_eq!(pull.queue.dead_letters().redrive(), Ok(true), "a redriven job waits for nobody");
    let delivery = pull.get().unwrap();
    assert_eq!((delivery.number, pull.seen().keys), (12, 0));
    delivery.ack().unwrap();
    assert_eq!((census.alive(), pull.settled().replaced), (0, 12));
}

#[test]
fn a_window_ends_with_its_job_however_that_ends() {
    let pull = Pull::<&'static str>::new(waiting(4, debounce(50)));
    let first = text(&pull, "one");
    assert!(pull.queue.cancel(first));
    // cancelled and not yet gone: its key is still its own
    assert!(pull.producer.publish(Job::new("two").key("k")).unwrap_err().is_duplicate());
    pull.advance(ms(1));
    assert_eq!(next(&pull), None);
    assert_ne!(text(&pull, "three"), first);
    pull.advance(ms(51));
    assert_eq!(next(&pull), Some("three"));
    // what fails is retried without a window, and keeps nobody else from one
    text(&pull, "four");
    pull.advance(ms(51));
    pull.get().unwrap().retry("no").unwrap();
    text(&pull, "five");
    pull.advance(secs(60));
    assert_eq!((next(&pull), next(&pull)), (Some("four"), Some("five")));
    // and later is later
    pull.producer.publish_after(Job::new("six").key("k"), secs(10)).unwrap();
    pull.advance(ms(60));
    assert_eq!(next(&pull), None);
    pull.advance(secs(10));
    assert_eq!(next(&pull), Some("six"));
    // at shutdown
    text(&pull, "seven");
    text(&pull, "eight");
    let Pull { runtime, queue, .. } = pull;
    let undone = runtime.shutdown(at_once()).take_undone(&queue);
    assert_eq!(undone.iter().map(|job| job.payload).collect::<Vec<_>>(), ["eight"]);
    assert!(queue.snapshot().ledger_balances());
}

#[test]
fn of_64_threads_with_one_key_one_opens_the_window_and_the_last_payload_runs() {
    for mode in [debounce(2_000), keep_last(2_000)] {
        watched(move || {
            let census = Census::default();
            let mut builder = Runtime::builder();
            let (sent, seen) = mpsc::channel();
            let sent = crate::tests::threads::Mutex::new(sent);
            let queue =
                builder.queue(waiting(128, mode), move |job: &Counted, _: &_| sent.lock().unwrap().send(job.number).unwrap()).unwrap();
            let runtime = builder.build().unwrap();
            let start = Arc::new(crate::tests::threads::Barrier::new(64));
            let ids: std::collections::HashSet<JobId> = crate::tests::threads::scope(|scope| {
                let threads: Vec<_> = (0..64u32)
                    .map(|n| {
                        let (queue, start, census) = (&queue, &start, &census);
                        scope.spawn(move || {
                            let producer = queue.producer().unwrap();
                            start.wait();
                            producer.publish(Job::new(census.born(n)).key("the same")).unwrap()
                        })
                    })
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let counts = queue.counts();
            assert_eq!((ids.len(), counts.accepted, counts.replaced), (1, 1, 63));
            queue.producer().unwrap().publish(Job::new(census.born(64)).key("the same")).unwrap();
            assert_eq!(seen.recv_timeout(secs(20)).unwrap(), 64);
            runtime.shutdown(ShutdownOptions::default());
            assert_eq!((queue.counts().acked, census.alive()), (1, 0));
            assert!(queue.snapshot().ledger_balances());
        });
    }
}

/// Publishers that keep replacing, a timer that keeps firing, somebody who keeps cancelling: each payload is dropped once, each job ends once.
#[test]
fn windows_that_open_and_end_under_load_lose_nothing() {
    watched(|| {
        let census = Census::default();
        let mut builder = Runtime::builder();
        let queue = builder.queue(waiting(16, keep_last(1)), |_: &Counted, _: &_| ()).unwrap();
        let runtime = builder.build().unwrap();
        let published = std::sync::atomic::AtomicU64::new(0);
        crate::tests::threads::scope(|scope| {
            for thread in 0..3u32 {
                let (queue, census, published) = (&queue, &census, &published);
                scope.spawn(move || {
                    let producer = queue.producer().unwrap();
                    for n in 0..4_000 {
                        if let Ok(id) = producer.publish(Job::new(census.born(n)).key([(n % 3) as u8])) {
                            published.fetch_add(1, SeqCst);
                            if thread == 0 && n % 7 == 0 {
                                queue.cancel(id);
                            }
                        }
                    }
                });
            }
        });
        runtime.shutdown(ShutdownOptions::default());
        let counts = queue.counts();
        assert_eq!(counts.accepted + counts.replaced, published.into_inner());
        assert_eq!((census.alive(), counts.accepted), (0, counts.ended()));
        assert_eq!(queue.snapshot().keys, 0);
    });
}

#[test]
fn jobs_with_keys_travel_together_as_far_as_the_first_that_is_refused() {
    let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
    let queue = builder.pull_queue::<u32>(q(64).dedupe(Dedupe::WhileLive, 10).prefetch(1)).unwrap();
    let _runtime = builder.build().unwrap();
    let (producer, consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
    let job = |n: u32| Job::new(n).key(n.to_le_bytes());
    let mut jobs = [0, 1, 2, 3, 1, 4].map(job).into_iter();
    let batch = producer.publish_batch(&mut jobs);
    assert_eq!(batch.accepted, 4);
    let refused = batch.refused.unwrap();
    let Refusal::Duplicate { existing } = *refused.refusal() else { panic!("{refused}") };
    assert_eq!((refused.into_inner(), jobs.next().map(Job::into_payload)), (1, Some(4)));
    assert_eq!((queue.depth(), queue.counts().rejected_duplicate), (4, 1), "the slot of the one that was refused is free");

    // as many keys as may be taken, and one more
    let batch = producer.publish_batch(&mut (10..20).map(job));
    assert_eq!((batch.accepted, batch.refused.map(|error| error.refusal().clone())), (6, Some(Refusal::TooManyKeys { bound: 10 })));
    assert_eq!(queue.counts().rejected_other, 1);

    // each has its own key until its end
    let first = consumer.try_recv().unwrap();
    assert_eq!(*first.payload(), 0);
    assert!(producer.try_publish(job(0)).unwrap_err().is_duplicate());
    first.ack().unwrap();
    producer.try_publish(job(0)).unwrap();
    let second = consumer.try_recv().unwrap();
    assert_eq!((second.job_id(), *second.payload()), (existing, 1));
    second.ack().unwrap();
    let rest: Vec<u32> = std::iter::from_fn(|| consumer.try_recv().ok()).map(|delivery| delivery.ack().map(|()| 0).unwrap_or(1)).collect();
    assert_eq!(rest, [0; 9]);
    assert_eq!((queue.depth(), queue.counts().accepted), (0, 11));
    assert_eq!(producer.publish_batch(&mut (0..10).map(job)).accepted, 10, "all keys are free");
}

#[test]
fn a_batch_whose_iterator_panics_or_publishes_has_taken_the_keys_of_what_it_was_given() {
    let pull = Pull::<u32>::new(while_live(16));
    let job = |n: u32| Job::new(n).key(n.to_le_bytes());
    let mut jobs = (0..4).map(|n| if n == 3 { panic!("no more") } else { job(n) });
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pull.producer.publish_batch(&mut jobs)));
    assert!(caught.is_err());
    assert_eq!((pull.queue.depth(), pull.seen().keys), (3, 3));
    assert!(pull.producer.try_publish(job(2)).unwrap_err().is_duplicate());

    let mut jobs = (10..13).map(|n| {
        if n == 12 {
            assert!(pull.producer.try_publish(job(10)).unwrap_err().is_duplicate(), "it is in hand");
            pull.producer.try_publish(job(12)).unwrap();
        }
        job(n)
    });
    let batch = pull.producer.publish_batch(&mut jobs);
    assert_eq!(batch.accepted, 2);
    assert!(batch.refused.unwrap().is_duplicate(), "its iterator was faster");
    let mut got: Vec<u32> = std::iter::from_fn(|| pull.get()).map(|delivery| *delivery.payload()).collect();
    got.sort_unstable();
    assert_eq!(got, [0, 1, 2, 10, 11, 12]);
}

#[test]
fn a_full_queue_drops_its_oldest_for_each_of_a_batch_with_keys() {
    let pull = Pull::<u32>::new(while_live(4).overflow(Overflow::DropOldest));
    let job = |n: u32| Job::new(n).key(n.to_le_bytes());
    assert_eq!(pull.producer.publish_batch(&mut (0..10).map(job)).accepted, 10);
    assert_eq!((pull.queue.depth(), pull.seen().keys), (4, 4));
    for n in 6..10 {
        assert!(pull.producer.try_publish(job(n)).unwrap_err().is_duplicate());
        assert_eq!(*pull.get().unwrap().payload(), n);
    }
    pull.settled();
}
