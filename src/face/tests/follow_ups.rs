//! Jobs that a handler chains to its own: what a publish would refuse, and what is kept for others, holds for them too.

use super::*;
use crate::tests::threads::Mutex;
use crate::{Context, DeathReason, Dedupe, End, Job, LaneConfig, Overflow, Refusal, Verdict};

fn reserved(capacity: u64) -> QueueConfig {
    q(capacity).lanes([LaneConfig::new("urgent").reserve(1), LaneConfig::new("bulk")])
}

#[test]
fn a_follow_up_to_another_lane_leaves_the_reserve_if_there_is_another_slot() {
    let pull = Pull::<u32>::new(reserved(2));
    pull.producer.publish(Job::new(1).lane(0)).unwrap();
    pull.get().unwrap().complete_with(Job::new(2).lane(1)).unwrap();
    assert!(pull.producer.publish(Job::new(3).lane(1)).unwrap_err().is_full());
    pull.producer.publish(Job::new(4).lane(0)).unwrap();
    let mut waiting = [(); 2].map(|()| pull.get().map(|delivery| (*delivery, delivery.lane())));
    waiting.sort();
    assert_eq!(waiting, [Some((2, 1)), Some((4, 0))]);
    pull.settled();
}

#[test]
fn a_follow_up_keeps_a_reserved_slot_where_no_other_is_free() {
    let pull = Pull::<u32>::new(reserved(2));
    pull.producer.publish(Job::new(1).lane(0)).unwrap();
    pull.producer.publish(Job::new(2).lane(1)).unwrap();
    pull.get().unwrap().complete_with(Job::new(3).lane(1)).unwrap();
    assert!(pull.producer.publish(Job::new(4).lane(0)).unwrap_err().is_full(), "the credit came with it");
    (0..2).for_each(|_| pull.get().unwrap().ack().unwrap());
    pull.producer.publish(Job::new(5).lane(0)).unwrap();
}

/// Why a follow-up died that no publish would accept.
fn refused(config: QueueConfig, next: Job<Counted>) -> DeathReason {
    let pull = Pull::<Counted>::new(config);
    let census = next.payload().census.clone();
    pull.producer.publish(census.born(1)).unwrap();
    pull.get().unwrap().complete_with(next).unwrap();
    pull.advance(secs(1));
    assert!(pull.get().is_none(), "it was delivered");
    let reason = pull.queue.dead_letters().take().unwrap().reason();
    assert_eq!((pull.counts().accepted, pull.counts().acked, pull.counts().dead_lettered), (2, 1, 1));
    pull.settled();
    drop(pull);
    assert_eq!(census.alive(), 0);
    reason
}

#[test]
fn a_follow_up_that_no_publish_accepts_is_a_dead_letter() {
    let keyed = q(4).dedupe(Dedupe::WhileLive, 8);
    let long = "x".repeat(crate::limits::JOB_KEY_BYTES_MAX + 1);
    let two = || Job::new(Census::default().born(2));
    for (what, config, next) in [
        ("invalid", q(4), Job::new(Census::default().born(u32::MAX))),
        ("no key", keyed.clone(), two().key("")),
        ("a long key", keyed, two().key(&long)),
        ("no partition key", q(4).partitions(4), two().partition_key("")),
    ] {
        assert_eq!(refused(config, next), DeathReason::Rejected, "{what}");
    }
}

#[test]
fn a_handler_s_invalid_follow_up_is_never_run() {
    let ran = Arc::new(Mutex::new(Vec::new()));
    let (seen, census) = (Arc::clone(&ran), Census::default());
    let made = census.clone();
    let clock = Arc::new(ManualClock::new());
    let mut builder = Runtime::builder().manual(Arc::clone(&clock));
    let handler = move |job: &Counted, context: &Context<Counted>| {
        seen.lock().unwrap().push(job.number);
        context.complete_with(made.born(u32::MAX))
    };
    let queue = builder.queue(q(4), handler).unwrap();
    let runtime = builder.build().unwrap();
    queue.producer().unwrap().publish(census.born(1)).unwrap();
    runtime.advance(&clock, secs(1));
    assert_eq!((&*ran.lock().unwrap(), queue.dead_letters().len(), queue.depth()), (&vec![1], 1, 0));
    adds_up(&runtime);
}

#[test]
fn follow_ups_of_jobs_that_their_callers_ran_do_not_pile_up() {
    let clock = Arc::new(ManualClock::new());
    let mut builder = Runtime::builder().manual(Arc::clone(&clock));
    let follow = |n: &u32, context: &Context<u32>| if *n < 1000 { context.complete_with(n + 1000) } else { Verdict::Ack };
    let queue = builder.queue(q(1).overflow(Overflow::CallerRuns), follow).unwrap();
    let runtime = builder.build().unwrap();
    let producer = queue.producer().unwrap();
    producer.publish(0).unwrap();
    producer.publish(1).unwrap(); // runs here; 1001 has no slot
    for n in 2..10 {
        assert!(producer.publish(n).unwrap_err().is_full(), "job {n}");
    }
    runtime.advance(&clock, secs(1));
    assert_eq!((queue.counts().accepted, queue.counts().acked, queue.depth()), (4, 4, 0));
    producer.publish(2).unwrap();
    producer.publish(3).unwrap(); // as before
    assert!(matches!(producer.publish(4).unwrap_err().refusal(), Refusal::Full { .. }));
    adds_up(&runtime);
}

/// Settles a delivery when it is dropped.
struct Settles(Arc<Mutex<Option<Delivery<Settles>>>>);

impl Payload for Settles {}

impl Drop for Settles {
    fn drop(&mut self) {
        let delivery = self.0.lock().unwrap().take();
        delivery.into_iter().for_each(|delivery| delivery.ack().unwrap());
    }
}

#[test]
fn a_follow_up_that_meets_the_stop_drops_what_others_left_outside_of_its_consumers_lock() {
    watched(|| {
        let pull = Pull::<Settles>::new(q(4));
        let last = Arc::default();
        let publish = |settles| pull.producer.publish(Settles(settles)).unwrap_or_else(|_| panic!("there is room"));
        let [_, _, cancelled] = [Arc::default(), Arc::default(), Arc::clone(&last)].map(publish);
        let (first, second) = (pull.get().unwrap(), pull.get().unwrap());
        *last.lock().unwrap() = Some(second);
        assert!(pull.queue.cancel(cancelled));
        pull.queue.queue.stop();
        assert!(first.complete_with(Settles(Arc::default())).is_ok());
        let counts = pull.counts();
        assert_eq!((counts.acked, counts.dropped_cancelled, counts.handed_back), (2, 1, 1));
    });
}

#[test]
fn a_follow_up_that_is_handed_back_without_a_slot_leaves_a_record() {
    let pull = Pull::<u32>::new(q(1).visibility(secs(10)).completed_records(10, secs(3_600)));
    pull.producer.publish(1).unwrap();
    let late = pull.get().unwrap();
    pull.advance(secs(20));
    // the late one still reads the slot
    pull.get().unwrap().complete_with(2).unwrap();
    let mut report = pull.runtime.shutdown(at_once());
    let undone = report.take_undone(&pull.queue).remove(0);
    let ends: Vec<_> = pull.queue.completed().iter().map(|record| record.end).collect();
    assert_eq!((undone.payload, ends), (2, vec![End::Acked, End::HandedBack]));
    let record = pull.queue.completed_job(undone.job).unwrap();
    assert_eq!((record.published, record.attempts), (undone.published, 0));
    drop(late);
}

/// What comes of a follow-up, number 2, to `bulk`, that finds no slot because a stale holder still reads the old one; and of job 9, if there is another.
fn without_a_slot(config: QueueConfig, another: bool) -> (usize, Vec<u32>) {
    let pull = Pull::<u32>::new(config.visibility(secs(10)));
    pull.producer.publish(Job::new(1).lane(1)).unwrap();
    let late = pull.get().unwrap();
    pull.advance(secs(20));
    let current = pull.get().unwrap();
    if another {
        pull.producer.publish(Job::new(9).lane(1)).unwrap();
    }
    current.complete_with(Job::new(2).lane(1)).unwrap();
    let mut done = Vec::new();
    let mut take_all = || {
        pull.advance(secs(1));
        while let Some(delivery) = pull.get() {
            done.push(*delivery);
            delivery.ack().unwrap();
        }
    };
    take_all();
    drop(late);
    take_all();
    done.sort();
    (pull.queue.dead_letters().len(), done)
}

#[test]
fn a_follow_up_waits_for_its_slot_whatever_a_full_queue_does_with_other_jobs() {
    for overflow in [Overflow::Reject, Overflow::DropNew, Overflow::DropOldest] {
        // the one slot that is free is the urgent lane's
        assert_eq!(without_a_slot(reserved(2).overflow(overflow), false), (0, vec![2]), "{overflow:?}");
        assert_eq!(without_a_slot(reserved(3).overflow(overflow), true), (0, vec![2, 9]), "{overflow:?}");
    }
}

#[test]
fn a_follow_up_for_whose_key_there_is_no_room_waits_for_that_too() {
    let pull = Pull::<u32>::new(q(4).dedupe(Dedupe::WhileLive, 1).visibility(secs(10)));
    pull.producer.publish(1).unwrap();
    let current = pull.get().unwrap();
    pull.producer.publish(Job::new(9).key("a")).unwrap();
    current.complete_with(Job::new(2).key("b")).unwrap();
    pull.advance(secs(2));
    let other = pull.get().unwrap();
    assert_eq!((*other, pull.get().is_none(), pull.queue.dead_letters().len()), (9, true, 0));
    other.ack().unwrap();
    pull.advance(secs(2));
    assert_eq!(*pull.get().unwrap(), 2);
}
