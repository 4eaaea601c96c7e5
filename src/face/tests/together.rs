//! Where two features meet in one job: windows, watching, partition keys, dead letters that move on.

use super::*;
use crate::{DeadLetterConfig, DeathReason, Dedupe, End, Job, JobError, Refusal, RuntimeBuilder};

fn keyed(payload: &'static str) -> Job<&'static str> {
    Job::new(payload).key("k")
}

#[test]
fn a_watched_job_opens_a_window_and_is_told_of_the_last_payloads_end() {
    for mode in [Dedupe::Debounce(ms(100)), Dedupe::KeepLast(ms(100))] {
        let pull = Pull::<&str>::new(q(4).dedupe(mode, 16));
        let mut first = pull.producer.watched().publish(keyed("first")).unwrap();
        pull.advance(ms(50));
        assert!(pull.get().is_none(), "{mode:?}: it waits for others");
        assert_eq!(pull.producer.publish(keyed("second")).unwrap(), first.job_id());
        pull.advance(ms(100));
        let delivery = pull.get().unwrap();
        assert_eq!((*delivery, delivery.job_id()), ("second", first.job_id()));
        assert!(!first.is_over());
        delivery.ack().unwrap();
        assert_eq!(first.try_take().unwrap().end, End::Acked);
        let counts = pull.settled();
        assert_eq!((counts.accepted, counts.replaced, counts.acked), (1, 1, 1));
    }
}

#[test]
fn a_watched_job_takes_nobodys_place() {
    let pull = Pull::<&str>::new(q(4).dedupe(Dedupe::Debounce(ms(100)), 16));
    let first = pull.producer.publish(keyed("first")).unwrap();
    let refused = pull.producer.watched().publish(keyed("second")).unwrap_err();
    assert_eq!(*refused.refusal(), Refusal::Duplicate { existing: first });
    assert_eq!(*refused.into_job().payload(), "second");
    pull.advance(ms(101));
    assert_eq!(*pull.get().unwrap(), "first");
}

#[test]
fn a_job_that_waited_out_its_window_lines_up_in_its_partition() {
    let pull = Pull::<&str>::new(q(8).partitions(1).dedupe(Dedupe::KeepLast(ms(100)), 16));
    pull.producer.publish(keyed("old").partition_key("p")).unwrap();
    pull.producer.publish(keyed("new").partition_key("p")).unwrap();
    pull.producer.publish(Job::new("running").partition_key("p")).unwrap();
    let running = pull.get().unwrap();
    pull.advance(ms(101));
    assert!(pull.get().is_none(), "one job of a partition key at a time");
    running.ack().unwrap();
    assert_eq!(*pull.get().unwrap(), "new");
}

#[test]
fn a_letter_that_moves_on_keeps_its_partition_key_and_its_watcher_was_told() {
    let clock = Arc::new(ManualClock::new());
    let mut builder: RuntimeBuilder = Runtime::builder().manual(Arc::clone(&clock));
    let second = builder.pull_queue::<&str>(QueueConfig::new("second").capacity(8).partitions(1)).unwrap();
    let moves = DeadLetterConfig::new().queue("second");
    let first = builder.pull_queue::<&str>(QueueConfig::new("first").capacity(8).partitions(1).dead_letters(moves)).unwrap();
    let runtime = builder.build().unwrap();
    let (producer, consumer, other) = (first.producer().unwrap(), first.consumer().unwrap(), second.consumer().unwrap());
    let mut handles: Vec<_> =
        ["a", "b"].map(|payload| producer.watched().publish(Job::new(payload).partition_key("p")).unwrap()).into_iter().collect();
    for handle in &mut handles {
        consumer.try_recv().unwrap().reject(JobError::fatal("no")).unwrap();
        assert_eq!(handle.try_take().unwrap().end, End::DeadLettered(DeathReason::Rejected));
    }
    runtime.turn();
    let moved = other.try_recv().unwrap();
    assert_eq!(*moved, "a");
    assert!(other.try_recv().is_err(), "they have one key there, too");
    moved.ack().unwrap();
    let moved = other.try_recv().unwrap();
    assert_eq!(*moved, "b");
    moved.ack().unwrap();
    let snapshot = runtime.snapshot();
    for (queue, acked) in [("first", 0), ("second", 2)] {
        let queue = snapshot.queue(queue).unwrap();
        assert!(queue.ledger_balances());
        assert_eq!(queue.counts.acked, acked);
    }
}
