//! Jobs with partition keys: their order, who waits for whom, and that everything else still does what it says.

use super::*;
use crate::key::OrderKey;
use crate::partitions::Place;
use crate::tests::threads::Mutex;
use crate::{
    Binding, Context, DeadLetterConfig, Dedupe, ExchangeConfig, Idle, Job, JobError, LaneConfig, OrderPolicy, Origin, Overflow, Refusal,
    Verdict,
};
use std::collections::HashMap;
use std::future::Future;

/// All keys share one partition unless a test wants more.
fn ordered(capacity: u64) -> QueueConfig {
    q(capacity).partitions(1).visibility(secs(1)).retry(RetryPolicy::new().backoff(Backoff::fixed(secs(10))))
}

/// A job whose key is the text before the number.
fn job(payload: &'static str) -> Job<&'static str> {
    Job::new(payload).partition_key(payload.trim_end_matches(char::is_numeric))
}

/// Three keys that have partitions of their own among `1 << bits`. (The hash has a secret: which those are is another matter in each run.)
fn apart(bits: u32) -> [&'static str; 3] {
    let partition = |key: &&str| Place::new(OrderKey::of(key.as_bytes()), 0).partition(bits);
    let mut keys: Vec<&'static str> = vec!["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    keys.sort_by_key(partition);
    keys.dedup_by_key(|key| partition(key));
    [keys[0], keys[1], keys[2]]
}

/// The `number`th job of a key.
fn nth(key: &'static str, number: u32) -> &'static str {
    format!("{key}{number}").leak()
}

fn publish(pull: &Pull<&'static str>, payloads: &[&'static str]) {
    for payload in payloads {
        pull.producer.publish(job(payload)).unwrap();
    }
}

/// Receives and acks what there is, one by one.
fn drained(pull: &Pull<&'static str>) -> Vec<&'static str> {
    let mut seen = Vec::new();
    while let Some(delivery) = pull.get() {
        seen.push(*delivery);
        delivery.ack().unwrap();
    }
    seen
}

fn failed(pull: &Pull<&'static str>) -> &'static str {
    let delivery = pull.get().unwrap();
    let payload = *delivery;
    delivery.settle(Verdict::Retry(JobError::transient("not yet"))).unwrap();
    payload
}

#[test]
fn jobs_of_a_key_come_in_order_and_one_at_a_time() {
    let pull = Pull::new(q(64).partitions(64));
    let [a, b, c] = apart(6);
    publish(&pull, &[nth(a, 1), nth(b, 1), nth(a, 2), nth(c, 1), nth(a, 3), nth(b, 2)]);
    let mut running = HashMap::new();
    while let Some(delivery) = pull.get() {
        assert!(running.insert(delivery.trim_end_matches(char::is_numeric), delivery).is_none(), "a key comes twice at a time");
    }
    assert_eq!(running.len(), 3);
    assert_eq!(pull.seen().partitions.unwrap().busy, 3);
    running.remove(a).unwrap().ack().unwrap();
    let second = pull.get().unwrap();
    assert_eq!(*second, nth(a, 2));
    assert!(pull.get().is_none());
    drop(running);
    second.ack().unwrap();
    assert_eq!(drained(&pull), [nth(a, 3)]);
    pull.settled();
}

#[test]
fn jobs_without_a_key_pass_by() {
    let pull = Pull::new(ordered(8));
    publish(&pull, &["a1", "a2"]);
    pull.producer.publish("free").unwrap();
    let (one, two) = (pull.get().unwrap(), pull.get().unwrap());
    let mut seen = [*one, *two];
    seen.sort_unstable();
    assert_eq!(seen, ["a1", "free"]);
    assert!(pull.get().is_none());
    drop((one, two));
    pull.settled();
}

#[test]
fn a_retry_blocks_its_key_and_not_its_partition() {
    let pull = Pull::new(ordered(16));
    publish(&pull, &["a1", "b1", "a2", "b2", "a3"]);
    assert_eq!(failed(&pull), "a1");
    assert_eq!(drained(&pull), ["b1", "b2"]);
    assert_eq!(pull.seen().partitions.unwrap().blocked_keys, 1);
    publish(&pull, &["a4", "c1"]);
    assert_eq!(drained(&pull), ["c1"]);
    pull.advance(secs(11));
    // it fails once more: those behind it go on waiting
    assert_eq!(failed(&pull), "a1");
    assert!(pull.get().is_none());
    pull.advance(secs(11));
    assert_eq!(drained(&pull), ["a1", "a2", "a3", "a4"]);
    assert_eq!(pull.seen().partitions.unwrap().blocked_keys, 0);
    assert_eq!(pull.settled().acked, 7);
}

#[test]
fn a_retry_at_once_keeps_its_turn() {
    let pull = Pull::new(ordered(16).retry(at_once_up_to(3)));
    publish(&pull, &["a1", "a2", "b1"]);
    assert_eq!(failed(&pull), "a1");
    assert_eq!(failed(&pull), "a1");
    // the third failure is one too many: it is dead, and its key goes on
    assert_eq!(failed(&pull), "a1");
    assert_eq!(drained(&pull), ["a2", "b1"]);
    assert_eq!(pull.settled().dead_lettered, 1);
}

#[test]
fn skip_lets_the_key_go_on_and_the_retried_job_comes_last() {
    let pull = Pull::new(ordered(16).order(OrderPolicy::Skip));
    publish(&pull, &["a1", "a2"]);
    assert_eq!(failed(&pull), "a1");
    assert_eq!(drained(&pull), ["a2"]);
    publish(&pull, &["a3"]);
    let running = pull.get().unwrap();
    assert_eq!(*running, "a3");
    publish(&pull, &["a4"]);
    pull.advance(secs(11));
    assert!(pull.get().is_none(), "its time has come, but its key is being worked on");
    running.ack().unwrap();
    assert_eq!(drained(&pull), ["a4", "a1"]);
    pull.settled();
}

#[test]
fn skip_and_a_retry_at_once() {
    let pull = Pull::new(ordered(16).order(OrderPolicy::Skip).retry(at_once_up_to(5)));
    publish(&pull, &["a1", "a2"]);
    assert_eq!(failed(&pull), "a1");
    assert_eq!(drained(&pull), ["a2", "a1"]);
    pull.settled();
}

#[test]
fn a_snooze_blocks_its_key_too() {
    let pull = Pull::new(ordered(16));
    publish(&pull, &["a1", "a2", "b1"]);
    pull.get().unwrap().settle(Verdict::Snooze(secs(5))).unwrap();
    assert_eq!(drained(&pull), ["b1"]);
    pull.advance(secs(6));
    assert_eq!(drained(&pull), ["a1", "a2"]);
    pull.settled();
}

#[test]
fn a_lease_that_runs_out_is_reported_and_its_key_stays_blocked() {
    let pull = Pull::new(ordered(16));
    publish(&pull, &["a1", "a2", "b1"]);
    let slow = pull.get().unwrap();
    for _ in 0..5 {
        pull.advance(secs(2));
        assert!(pull.get().is_none(), "its handler may be running still");
    }
    assert_eq!(pull.counts().expired_leases, 1);
    assert!(slow.ack().is_ok(), "nobody else had it");
    assert_eq!(drained(&pull), ["a2", "b1"]);
    assert_eq!(pull.settled().acked, 3);
}

#[test]
fn a_forgotten_delivery_blocks_its_key_until_the_shutdown() {
    let pull = Pull::new(ordered(16).partitions(4096));
    let [a, b, _] = apart(12);
    publish(&pull, &[nth(a, 1), nth(a, 2), nth(b, 1)]);
    let mut first = Vec::new();
    while let Some(delivery) = pull.get() {
        first.push(*delivery);
        if delivery.starts_with(a) { std::mem::forget(delivery) } else { delivery.ack().unwrap() }
    }
    assert!(first.len() == 2 && first.contains(&nth(a, 1)) && first.contains(&nth(b, 1)), "{first:?}");
    pull.advance(secs(100));
    assert!(pull.get().is_none());
    assert_eq!(pull.counts().expired_leases, 1);
    let Pull { runtime, queue, .. } = pull;
    let mut report = runtime.shutdown(at_once());
    assert_eq!(report.running().len(), 1);
    assert_eq!(report.take_undone(&queue).into_iter().map(|undone| undone.payload).collect::<Vec<_>>(), [nth(a, 2)]);
}

#[test]
fn it_is_delivered_again_where_that_is_wanted() {
    let pull = Pull::new(ordered(16).redeliver_overrun(true));
    publish(&pull, &["a1", "a2"]);
    let slow = pull.get().unwrap();
    pull.advance(secs(2));
    let again = pull.get().unwrap();
    assert_eq!((*again, again.attempt()), ("a1", 2));
    assert!(again.fencing() > slow.fencing());
    assert!(pull.get().is_none(), "the key goes on when the job has ended");
    again.ack().unwrap();
    let next = pull.get().unwrap();
    assert_eq!(*next, "a2");
    assert!(slow.ack().is_err());
    assert!(pull.get().is_none(), "the late one passes nothing on");
    next.ack().unwrap();
    pull.settled();
}

#[test]
fn a_job_buried_by_its_expiries_lets_the_key_go_on() {
    let pull = Pull::new(ordered(16).redeliver_overrun(true).retry(RetryPolicy::new().max_expiries(0)));
    publish(&pull, &["a1", "a2", "a3"]);
    let slow = pull.get().unwrap();
    pull.advance(secs(2));
    let next = pull.get().unwrap();
    assert_eq!(*next, "a2");
    assert!(slow.ack().is_err());
    assert!(pull.get().is_none());
    next.ack().unwrap();
    assert_eq!(drained(&pull), ["a3"]);
    assert_eq!(pull.settled().dead_lettered, 1);
    // and it is known whose key it had
    publish(&pull, &["a4", "a5"]);
    let running = pull.get().unwrap();
    assert!(pull.queue.dead_letters().redrive().unwrap());
    assert!(pull.get().is_none());
    running.ack().unwrap();
    assert_eq!(drained(&pull), ["a5", "a1"]);
    pull.settled();
}

#[test]
fn every_end_lets_the_key_go_on() {
    let ends: [fn(Delivery<&'static str>); 4] = [
        |delivery| delivery.settle(Verdict::Ack).unwrap(),
        |delivery| delivery.settle(Verdict::Discard).unwrap(),
        |delivery| delivery.settle(Verdict::Reject(JobError::fatal("no"))).unwrap(),
        |delivery| assert!(delivery.complete_with(Job::new("b9").partition_key("b")).is_ok()),
    ];
    for (number, end) in ends.into_iter().enumerate() {
        let pull = Pull::new(ordered(16));
        publish(&pull, &["a1", "a2", "b1"]);
        end(pull.get().unwrap());
        let expected: &[&str] = if number == 3 { &["a2", "b1", "b9"] } else { &["a2", "b1"] };
        assert_eq!(drained(&pull), expected);
        pull.settled();
    }
}

#[test]
fn a_full_house_of_dead_letters_holds_the_job_and_not_its_key() {
    let pull = Pull::new(ordered(4).dead_letters(DeadLetterConfig::new().capacity(1)));
    publish(&pull, &["a1", "a2", "a3"]);
    for _ in 0..2 {
        pull.get().unwrap().settle(Verdict::Reject(JobError::fatal("no"))).unwrap();
    }
    assert_eq!(pull.seen().phases.held, 1);
    assert_eq!(drained(&pull), ["a3"]);
    publish(&pull, &["a4"]);
    while pull.queue.dead_letters().redrive().unwrap() {}
    assert_eq!(drained(&pull), ["a4", "a1", "a2"]);
    pull.settled();
}

#[test]
fn a_delayed_job_takes_its_place_when_its_time_has_come() {
    let pull = Pull::new(ordered(16));
    pull.producer.publish_after(job("a1"), secs(5)).unwrap();
    publish(&pull, &["a2"]);
    let running = pull.get().unwrap();
    assert_eq!(*running, "a2");
    pull.advance(secs(6));
    assert!(pull.get().is_none());
    publish(&pull, &["a3"]);
    running.ack().unwrap();
    assert_eq!(drained(&pull), ["a1", "a3"]);
    pull.settled();
}

#[test]
fn cancelled_jobs_end_when_their_turn_comes() {
    let pull = Pull::new(ordered(16));
    publish(&pull, &["a1"]);
    let ids = ["a2", "a3", "a4"].map(|payload| pull.producer.publish(job(payload)).unwrap());
    let running = pull.get().unwrap();
    assert!(pull.queue.cancel(ids[0]) && pull.queue.cancel(ids[2]));
    assert_eq!(pull.seen().phases.ready, 3);
    running.ack().unwrap();
    assert_eq!(drained(&pull), ["a3"]);
    assert_eq!(pull.settled().dropped_cancelled, 2);
}

#[test]
fn a_cancelled_retry_lets_its_key_go_on() {
    let pull = Pull::new(ordered(16));
    let id = pull.producer.publish(job("a1")).unwrap();
    publish(&pull, &["a2"]);
    assert_eq!(failed(&pull), "a1");
    assert!(pull.queue.cancel(id));
    pull.runtime.turn();
    assert_eq!(drained(&pull), ["a2"]);
    assert_eq!(pull.settled().dropped_cancelled, 1);
}

#[test]
fn an_expired_job_never_starts() {
    let pull = Pull::new(ordered(16).visibility(secs(60)));
    publish(&pull, &["a1"]);
    pull.producer.publish(job("a2").ttl(secs(1))).unwrap();
    publish(&pull, &["a3"]);
    let running = pull.get().unwrap();
    pull.advance(secs(2));
    running.ack().unwrap();
    assert_eq!(drained(&pull), ["a3"]);
    assert_eq!(pull.settled().dead_expired, 1);
}

#[test]
fn a_purge_takes_what_waits_and_leaves_what_runs() {
    let pull = Pull::new(ordered(16));
    publish(&pull, &["a1", "b1", "a2", "a3", "b2"]);
    assert_eq!(failed(&pull), "a1");
    let running = pull.get().unwrap();
    assert_eq!(*running, "b1");
    assert_eq!(pull.queue.purge(), 3);
    publish(&pull, &["a4", "b3"]);
    assert!(pull.get().is_none());
    running.ack().unwrap();
    assert_eq!(drained(&pull), ["b3"]);
    pull.advance(secs(11));
    assert_eq!(drained(&pull), ["a1", "a4"]);
    assert_eq!(pull.settled().dropped_purged, 3);
}

#[test]
fn a_paused_queue_starts_nothing_and_forgets_nothing() {
    let pull = Pull::new(ordered(16));
    publish(&pull, &["a1", "a2"]);
    pull.queue.pause();
    assert!(pull.get().is_none());
    publish(&pull, &["a3"]);
    pull.queue.resume();
    assert_eq!(drained(&pull), ["a1", "a2", "a3"]);
    pull.settled();
}

#[test]
fn drop_oldest_drops_the_oldest_that_waits() {
    let pull = Pull::new(ordered(4).overflow(Overflow::DropOldest));
    publish(&pull, &["a1", "a2"]);
    pull.advance(ms(1));
    publish(&pull, &["b1"]);
    pull.advance(ms(1));
    pull.producer.publish("free").unwrap();
    let running = pull.get().unwrap();
    assert_eq!(*running, "a1");
    // full: behind the running job lies the oldest
    pull.advance(ms(1));
    publish(&pull, &["a3"]);
    pull.advance(ms(1));
    publish(&pull, &["a4"]);
    let dead: Vec<&str> = pull.queue.dead_letters().list(9).iter().map(|letter| *letter.payload()).collect();
    assert_eq!(dead, ["a2", "b1"]);
    running.ack().unwrap();
    let mut rest = drained(&pull);
    rest.sort_unstable();
    assert_eq!(rest, ["a3", "a4", "free"]);
    assert_eq!(pull.settled().dead_over_length, 2);
}

#[test]
fn drop_oldest_drops_one_after_the_other_in_whatever_partitions_they_wait() {
    let pull = Pull::<u32>::new(q(16).partitions(64).overflow(Overflow::DropOldest));
    for number in 0..32 {
        let key = format!("k{}", number * 7 % 16);
        pull.producer.publish(Job::new(number).partition_key(key.as_str())).unwrap();
        pull.advance(ms(1));
    }
    let dead: Vec<u32> = pull.queue.dead_letters().list(99).iter().map(|letter| *letter.payload()).collect();
    assert_eq!(dead, Vec::from_iter(0..16));
    assert_eq!(pull.settled().dead_over_length, 16);
}

#[test]
fn drop_oldest_spares_the_upper_lane() {
    let lanes = [LaneConfig::new("high"), LaneConfig::new("low")];
    let pull = Pull::new(ordered(3).lanes(lanes).overflow(Overflow::DropOldest));
    publish(&pull, &["a1", "a2"]);
    pull.producer.publish(job("b1").lane(1)).unwrap();
    // b1 lies behind the others of its partition and is no head: the oldest of the upper lane goes
    publish(&pull, &["a3"]);
    assert_eq!(drained(&pull), ["a2", "b1", "a3"]);
    let pull =
        Pull::new(ordered(2).partitions(1024).lanes([LaneConfig::new("high"), LaneConfig::new("low")]).overflow(Overflow::DropOldest));
    let [a, b, _] = apart(10);
    publish(&pull, &[nth(a, 1)]);
    pull.producer.publish(job(nth(b, 1)).lane(1)).unwrap();
    publish(&pull, &[nth(a, 2)]);
    assert_eq!(drained(&pull), [nth(a, 1), nth(a, 2)]);
    pull.settled();
}

#[test]
fn within_a_key_order_is_above_the_lane() {
    let pull = Pull::new(ordered(16).lanes([LaneConfig::new("high"), LaneConfig::new("low")]));
    pull.producer.publish(job("a1").lane(1)).unwrap();
    pull.producer.publish(job("a2").lane(0)).unwrap();
    pull.producer.publish(job("a3").lane(1)).unwrap();
    assert_eq!(drained(&pull), ["a1", "a2", "a3"]);
    pull.settled();
}

#[test]
fn a_batch_keeps_the_order() {
    let pull = Pull::new(q(64).partitions(8));
    let mut jobs = ["a1", "a2", "x", "y", "b1", "a3"].into_iter().map(|text| if text.len() == 1 { Job::new(text) } else { job(text) });
    assert_eq!(pull.producer.publish_batch(&mut jobs).accepted, 6);
    let seen = drained(&pull);
    let of = |key: &str| seen.iter().filter(|text| text.starts_with(key)).copied().collect::<Vec<_>>();
    assert_eq!((of("a"), of("b"), of("x").len() + of("y").len()), (vec!["a1", "a2", "a3"], vec!["b1"], 2));
    pull.settled();
}

#[test]
fn a_batch_goes_in_as_far_as_the_first_job_that_is_refused() {
    let pull = Pull::new(q(8).partitions(8));
    let mut jobs = [job("a1"), Job::new("x"), job("a2"), Job::new("bad").partition_key(b""), job("a3")].into_iter();
    let batch = pull.producer.publish_batch(&mut jobs);
    let error = batch.refused.unwrap();
    assert_eq!((batch.accepted, error.refusal()), (3, &Refusal::BadKey { bytes: 0 }));
    assert_eq!((error.into_inner(), jobs.len()), ("bad", 1));
    let mut more = (0..9).map(|number| job(nth("b", number)));
    let batch = pull.producer.publish_batch(&mut more);
    let error = batch.refused.unwrap();
    assert_eq!((batch.accepted, error.is_full()), (5, true));
    assert_eq!((error.into_inner(), more.len()), ("b5", 3));
    let seen = drained(&pull);
    let of = |key: &str| seen.iter().filter(|text| text.starts_with(key)).copied().collect::<Vec<_>>();
    assert_eq!((of("a"), of("b"), of("x")), (vec!["a1", "a2"], vec!["b0", "b1", "b2", "b3", "b4"], vec!["x"]));
    pull.settled();
}

#[test]
fn a_batch_whose_iterator_panics_has_published_what_it_was_given() {
    let pull = Pull::new(q(8).partitions(8));
    let mut jobs = (1..).map(|number| if number < 4 { job(nth("a", number)) } else { panic!("no more") });
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pull.producer.publish_batch(&mut jobs)));
    assert!(caught.is_err());
    assert_eq!(drained(&pull), ["a1", "a2", "a3"]);
    pull.settled();
}

/// A chain of jobs wakes by the partitions that have become ready, not by the jobs.
#[test]
fn a_batch_wakes_sleeping_workers() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut builder = Runtime::builder();
    let handler = {
        let seen = Arc::clone(&seen);
        move |text: &&'static str, _: &Context<&'static str>| seen.lock().unwrap().push(*text)
    };
    let queue = builder.queue(q(64).partitions(8), handler).unwrap();
    builder.pool(PoolConfig::new("default").workers(2).idle(Idle::Park)).unwrap();
    let runtime = builder.build().unwrap();
    let producer = queue.producer().unwrap();
    for round in 0..50 {
        let mut jobs = (0..6).map(|number| job(nth(["a", "b"][number as usize % 2], round * 6 + number)));
        assert_eq!(producer.publish_batch(&mut jobs).accepted, 6);
        eventually("the batch is done", || queue.counts().acked == u64::from(round + 1) * 6);
    }
    assert!(runtime.shutdown(Default::default()).is_clean());
    assert_eq!(queue.counts().wake_rescued, 0);
    let seen = seen.lock().unwrap();
    for key in ["a", "b"] {
        let numbers = seen.iter().filter_map(|text| text.strip_prefix(key)?.parse::<u32>().ok()).collect::<Vec<_>>();
        assert!(numbers.len() == 150 && numbers.is_sorted(), "{key}: {numbers:?}");
    }
}

#[test]
fn to_ask_for_the_memory_of_keys_changes_nothing() {
    let long = "k".repeat(300);
    for config in [q(8), q(8).partitions(4), q(8).dedupe(Dedupe::WhileLive, 8), q(8).partitions(4).dedupe(Dedupe::WhileLive, 8)] {
        let pull = Pull::new(config);
        let jobs = [
            Job::new("plain"),
            Job::new("both").partition_key(b"a").key(b"a"),
            Job::new("bad").partition_key(b"").key(&long),
            Job::new("nowhere").partition_key(b"a").key(b"b").lane(7),
        ];
        for job in &jobs {
            pull.producer.prefetch_keys(job);
        }
        assert!(pull.get().is_none());
        assert_eq!(pull.queue.counts(), Default::default());
        let accepted = jobs.into_iter().filter_map(|job| pull.producer.publish(job).ok()).count();
        assert!((2..=3).contains(&accepted));
        assert_eq!(drained(&pull).len(), accepted);
        pull.settled();
    }
}

#[test]
fn copies_of_a_routed_job_have_its_key() {
    let clock = Arc::new(ManualClock::new());
    let mut builder = Runtime::builder().manual(Arc::clone(&clock));
    let one = builder.pull_queue::<&'static str>(ordered(8)).unwrap();
    let two = builder.pull_queue::<&'static str>(QueueConfig::new("r").partitions(16)).unwrap();
    let plain = builder.pull_queue::<&'static str>(QueueConfig::new("plain")).unwrap();
    let exchange = builder.exchange(ExchangeConfig::topic("x")).unwrap();
    exchange
        .rebind([Binding::new("all.#", &one), Binding::new("all.#", &two), Binding::new("all.#", &plain), Binding::new("one", &one)])
        .unwrap();
    let runtime = builder.build().unwrap();
    let mut publisher = exchange.publisher();
    publisher.publish("all.a", job("a1")).unwrap();
    publisher.publish_one("one", job("a2")).unwrap();
    publisher.publish_best_effort("all", job("a3")).unwrap();
    let (mine, other, free) = (one.consumer().unwrap(), two.consumer().unwrap(), plain.consumer().unwrap());
    let running = mine.try_recv().unwrap();
    assert!(mine.try_recv().is_err());
    let also = other.try_recv().unwrap();
    assert!(other.try_recv().is_err());
    assert_eq!((*free.try_recv().unwrap(), *free.try_recv().unwrap()), ("a1", "a3"), "a queue without partitions takes no notice");
    drop((running, also));
    for bad in ["", &"k".repeat(1025)] {
        let error = publisher.publish("all", Job::new("a9").partition_key(bad)).unwrap_err();
        assert_eq!(error.to_string(), format!("queue `q`: the key has {} bytes, allowed are 1..=1024", bad.len()));
        assert!(publisher.publish_one("one", Job::new("a9").partition_key(bad)).is_err());
    }
    drop(runtime);
}

#[test]
fn keys_of_both_kinds_go_together() {
    let pull = Pull::new(ordered(8).dedupe(Dedupe::WhileLive, 8));
    let twice = || Job::new("a1").key("id").partition_key("a");
    pull.producer.publish(twice()).unwrap();
    assert!(pull.producer.publish(twice()).unwrap_err().is_duplicate());
    publish(&pull, &["a2"]);
    let running = pull.get().unwrap();
    assert!(pull.get().is_none());
    running.ack().unwrap();
    pull.producer.publish(twice()).unwrap();
    assert_eq!(drained(&pull), ["a2", "a1"]);
    assert_eq!(pull.seen().keys, 0);
    pull.settled();
}

#[test]
fn a_shutdown_hands_back_what_waits_in_partitions() {
    let pull = Pull::new(ordered(16));
    publish(&pull, &["a1", "b1", "a2", "b2", "c1"]);
    assert_eq!(failed(&pull), "a1"); // delayed, its key blocked
    let running = pull.get().unwrap(); // b1
    pull.producer.publish_after(job("d1"), secs(60)).unwrap();
    let Pull { runtime, queue, .. } = pull;
    let mut report = runtime.shutdown(at_once());
    let mut undone: Vec<_> = report.take_undone(&queue).into_iter().map(|undone| (undone.payload, undone.origin)).collect();
    undone.sort_unstable_by_key(|(payload, _)| *payload);
    use Origin::{Delayed, Waiting};
    assert_eq!(undone, [("a1", Delayed), ("a2", Waiting), ("b2", Waiting), ("c1", Waiting), ("d1", Delayed)]);
    running.ack().unwrap();
    let counts = queue.counts();
    assert_eq!((counts.accepted, counts.acked, counts.handed_back), (6, 1, 5));
}

#[test]
fn partition_counts_and_keys_out_of_range_are_refused() {
    let refused = |config: QueueConfig| config.validate().unwrap_err().to_string();
    for count in [0, 3, 8192, 1 << 20, u32::MAX] {
        let expected = format!("queue `q`: partitions is {count}, allowed is a power of two, 1..=4096");
        assert_eq!(refused(q(4).partitions(count)), expected);
    }
    assert!((0..=12).all(|bits| q(4).partitions(1 << bits).validate().is_ok()));
    assert!(
        refused(q(4).partitions(16).overflow(Overflow::CallerRuns)).starts_with("queue `q`: overflow is CallerRuns, allowed is any other")
    );
    let pull = Pull::new(ordered(4));
    for bad in ["", &"k".repeat(1025)] {
        let error = pull.producer.publish(Job::new("x").partition_key(bad)).unwrap_err();
        assert_eq!(*error.refusal(), Refusal::BadKey { bytes: bad.len() as u64 });
        assert_eq!(error.into_inner(), "x");
    }
    pull.producer.publish(Job::new("x").partition_key("k".repeat(1024))).unwrap();
    assert_eq!(drained(&pull), ["x"]);
    // a queue without partitions takes no notice
    assert!(Pull::<&str>::new(q(4)).producer.publish(Job::new("x").partition_key("")).is_ok());
    assert_eq!(pull.settled().rejected_invalid, 2);
}

#[test]
fn the_skew_is_that_of_the_fullest_partition() {
    let pull = Pull::new(q(256).partitions(4));
    assert_eq!((pull.seen().partitions.unwrap().skew(), Pull::<u8>::new(q(4)).seen().partitions), (0.0, None));
    for _ in 0..64 {
        publish(&pull, &["hot"]);
    }
    let seen = pull.seen().partitions.unwrap();
    assert_eq!((seen.partitions, seen.jobs, seen.used, seen.fullest), (4, 64, 1, 64));
    assert!((seen.skew() - 4.0).abs() < 1e-9);
}

#[test]
fn strict_lanes_do_not_forget_what_waits_in_partitions() {
    let lanes = [LaneConfig::new("high"), LaneConfig::new("low")];
    let discipline = crate::Discipline::Strict { max_wait: ms(80) };
    let pull = Pull::new(q(256).partitions(16).lanes(lanes).discipline(discipline).visibility(secs(60)));
    pull.producer.publish(job("low1").lane(1)).unwrap();
    for round in 0..40 {
        pull.producer.publish("high").unwrap();
        pull.advance(ms(4));
        let delivery = pull.get().unwrap();
        if *delivery == "low1" {
            assert!(round >= 15, "not before it is overdue");
            return;
        }
        delivery.ack().unwrap();
    }
    panic!("it waited for longer than `max_wait`");
}

/// What each key has seen, and whether it is being worked on.
#[derive(Default)]
struct Watch {
    last: HashMap<u32, HashMap<u32, u32>>,
    running: HashMap<u32, ()>,
}

#[test]
fn with_16_producers_each_key_is_monotone_and_never_worked_on_twice() {
    const PRODUCERS: u32 = 16;
    const JOBS: u32 = 2_000;
    const KEYS: u32 = 50;
    for (workers, retries) in [(4, false), (3, true)] {
        watched(move || {
            let watch = Arc::new(Mutex::new(Watch::default()));
            let seen = Arc::clone(&watch);
            let handler = move |&(key, producer, number): &(u32, u32, u32), context: &Context<(u32, u32, u32)>| {
                {
                    let mut watch = seen.lock().unwrap();
                    assert!(watch.running.insert(key, ()).is_none(), "key {key} twice at once");
                    if !(retries && number % 97 == 13 && context.attempt() == 1) {
                        let last = watch.last.entry(key).or_default().insert(producer, number);
                        assert!(last.is_none_or(|last| last < number), "key {key}: {number} after {last:?}");
                    }
                }
                if number % 64 == 0 {
                    std::thread::yield_now();
                }
                seen.lock().unwrap().running.remove(&key);
                if retries && number % 97 == 13 && context.attempt() == 1 {
                    return Err(JobError::transient("again"));
                }
                Ok(())
            };
            let mut builder = Runtime::builder();
            let retry = RetryPolicy::new().backoff(Backoff::fixed(ms(1)));
            let config = q(512).partitions(32).overflow(Overflow::Block(secs(20))).retry(retry);
            let queue = builder.queue(config, handler).unwrap();
            builder.pool(PoolConfig::new("default").workers(workers)).unwrap();
            let runtime = builder.build().unwrap();
            let producers: Vec<_> = (0..PRODUCERS)
                .map(|producer| {
                    let publisher = queue.producer().unwrap();
                    std::thread::spawn(move || {
                        for number in 0..JOBS {
                            let key = (number * 7 + producer) % KEYS;
                            publisher.publish(Job::new((key, producer, number)).partition_key(key.to_le_bytes())).unwrap();
                        }
                    })
                })
                .collect();
            producers.into_iter().for_each(|producer| producer.join().unwrap());
            eventually("all are done", || queue.counts().acked == u64::from(PRODUCERS * JOBS));
            assert_eq!(queue.counts().panics, 0, "an assertion in the handler failed");
            let counts = adds_up(&runtime);
            assert_eq!((counts.dead_lettered, counts.retried > 0), (0, retries));
            assert!(runtime.shutdown(ShutdownOptions::default()).is_clean());
        });
    }
}

#[test]
fn a_stuck_worker_keeps_one_key_and_others_take_its_other_partitions() {
    watched(|| {
        let door = Door::default();
        let inside = door.clone();
        let mut builder = Runtime::builder();
        let handler = move |stuck: &bool, _: &Context<bool>| {
            if *stuck {
                inside.pass();
            }
        };
        let queue = builder.queue(q(4096).partitions(64), handler).unwrap();
        builder.pool(PoolConfig::new("default").workers(2)).unwrap();
        let runtime = builder.build().unwrap();
        let producer = queue.producer().unwrap();
        producer.publish(Job::new(true).partition_key("stuck")).unwrap();
        for n in 0..1_000u32 {
            producer.publish(Job::new(false).partition_key(n.to_le_bytes())).unwrap();
        }
        // all but those whose keys share the partition
        eventually("the others are done", || {
            let seen = snapshot(&runtime);
            let blocked = seen.partitions.unwrap().fullest;
            seen.counts.acked >= u64::from(1_001 - blocked) && seen.partitions.unwrap().used == 1
        });
        door.open();
        eventually("all are done", || queue.counts().acked == 1_001);
        assert!(runtime.shutdown(ShutdownOptions::default()).is_clean());
    });
}

#[test]
fn the_rest_of_a_run_is_handed_back_when_it_is_cut_short() {
    watched(|| {
        let census = Census::default();
        let mut builder = Runtime::builder();
        let queue = builder.queue(q(4096).partitions(16), |_: &Counted, _: &Context<Counted>| std::thread::yield_now()).unwrap();
        builder.pool(PoolConfig::new("default").workers(2)).unwrap();
        let runtime = builder.build().unwrap();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (producer, census) = (queue.producer().unwrap(), census.clone());
                std::thread::spawn(move || {
                    let mut accepted = 0;
                    loop {
                        match producer.publish(Job::new(census.born(accepted)).partition_key((accepted % 40).to_le_bytes())) {
                            Ok(_) => accepted += 1,
                            Err(error) if error.is_closed() => return accepted,
                            Err(_) => std::thread::yield_now(),
                        }
                    }
                })
            })
            .collect();
        eventually("it runs", || queue.counts().acked > 1_000);
        // the workers have time to come back: what one of them gives back later is for `reclaim`
        let mut report = runtime.shutdown(ShutdownOptions::new(Duration::ZERO, secs(20)));
        let accepted: u32 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        let undone = report.take_undone(&queue).len() as u64;
        let counts = queue.counts();
        assert_eq!(counts.acked + counts.handed_back, counts.accepted);
        assert!(counts.handed_back >= undone && counts.accepted >= u64::from(accepted));
        drop(report);
        drop(queue);
        assert_eq!(census.alive(), 0, "nothing is left in a slot");
    });
}

/// The first job of the key waits for a retry under `Skip`, without its turn, and a stale holder still reads it.
fn read_while_it_waits() -> (Pull<&'static str>, Delivery<&'static str>) {
    let config = q(8).visibility(ms(10)).partitions(1).order(OrderPolicy::Skip).redeliver_overrun(true);
    let pull = Pull::<&'static str>::new(config);
    publish(&pull, &["a1"]);
    let stale = pull.get().unwrap();
    pull.advance(ms(50));
    assert!(!stale.is_current());
    pull.get().unwrap().settle(Verdict::RetryAfter("later".into(), secs(60))).unwrap();
    (pull, stale)
}

#[test]
fn a_job_without_its_turn_has_none_to_pass_on_when_it_is_handed_back() {
    let (Pull { runtime, queue, .. }, stale) = read_while_it_waits();
    assert_eq!(runtime.shutdown(at_once()).running().len(), 1);
    drop(stale);
    assert_eq!(queue.reclaim().len(), 1);
}

#[test]
fn nor_does_it_take_the_turn_of_the_job_that_has_it() {
    let (pull, _stale) = read_while_it_waits();
    publish(&pull, &["a2"]);
    let second = pull.get().unwrap();
    let Pull { runtime, queue, .. } = pull;
    let busy = |snapshot: &QueueSnapshot| snapshot.partitions.as_ref().unwrap().busy;
    assert_eq!(busy(&queue.snapshot()), 1);
    let report = runtime.shutdown(at_once());
    assert_eq!(busy(report.queue(queue.name()).unwrap()), 1);
    second.ack().unwrap();
    assert_eq!(busy(&queue.snapshot()), 0);
}

#[test]
fn nor_does_a_delayed_job_that_is_cancelled_as_the_queue_stops() {
    let Pull { runtime, queue, producer, .. } = Pull::<&'static str>::new(q(8).partitions(1));
    let late = producer.publish_after(job("a1"), secs(60)).unwrap();
    runtime.turn();
    let handle = queue.clone();
    // a task that is woken by the close, and by the stop, when the timer turns no more
    let mut consumer = queue.consumer().unwrap();
    let mut woken = 0;
    let task = super::wakers::Inline::start(std::future::poll_fn(move |context| {
        let mut received = consumer.recv_async();
        let polled = std::pin::Pin::new(&mut received).poll(context);
        std::mem::forget(received); // it waits on
        woken += 1;
        if woken == 3 {
            assert!(handle.cancel(late));
            return std::task::Poll::Ready(());
        }
        polled.map(drop)
    }));
    let report = runtime.shutdown(at_once());
    let counts = report.queue(queue.name()).unwrap().counts;
    assert_eq!((task.is_over(), counts.dropped_cancelled + counts.handed_back), (true, 1));
}

#[test]
fn strict_lanes_keep_max_wait_for_jobs_in_whatever_partitions() {
    let lanes = ["top", "bulk", "more"].map(LaneConfig::new);
    let config = q(512).lanes(lanes).discipline(crate::Discipline::Strict { max_wait: secs(16) }).partitions(64);
    let pull = Pull::<u64>::new(config);
    let mut longest = 0;
    for now in 0..6_000_u64 {
        // in tenths of a second: the top lane always has a job, and the others get few, each of another key
        pull.producer.publish(u64::MAX).unwrap();
        if now % 60 == 0 {
            pull.producer.publish(Job::new(now).lane(1).partition_key(now.to_le_bytes())).unwrap();
        }
        let delivery = pull.get().unwrap();
        if *delivery != u64::MAX {
            longest = longest.max(now - *delivery);
        }
        delivery.ack().unwrap();
        pull.advance(ms(100));
    }
    assert!((100..=170).contains(&longest), "a job of the lower lane waited for {longest} tenths of a second");
}
