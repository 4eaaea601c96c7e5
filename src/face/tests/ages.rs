//! How long the jobs of a lane wait: the gauge of a snapshot.

use super::*;
use crate::{DeadLetterConfig, Job, LaneConfig, OrderPolicy, Verdict};

/// The age of the oldest eligible job, lane by lane.
fn ages<T: Payload>(pull: &Pull<T>) -> Vec<Option<Duration>> {
    let seen = pull.seen();
    assert_eq!(ages_of(&seen), ages_of(&pull.queue.snapshot()), "by the handle too");
    ages_of(&seen)
}

fn ages_of(queue: &QueueSnapshot) -> Vec<Option<Duration>> {
    queue.lanes.iter().map(|lane| lane.oldest_eligible).collect()
}

#[test]
fn a_delayed_job_does_not_age_before_it_is_due() {
    let pull = Pull::<u32>::new(q(8));
    assert_eq!(ages(&pull), [None]);
    pull.producer.publish_after(0, secs(3_600)).unwrap();
    pull.advance(secs(3_599));
    assert_eq!(ages(&pull), [None]);
    pull.advance(secs(11));
    assert_eq!(ages(&pull), [Some(secs(10))], "from when it was due");
    let delivery = pull.get().unwrap();
    assert_eq!(ages(&pull), [None], "a running job does not wait");
    delivery.ack().unwrap();
}

#[test]
fn the_oldest_job_of_each_lane_counts_while_nothing_is_started() {
    let pull = Pull::<u32>::new(q(8).lanes(["a", "b", "c"].map(LaneConfig::new)));
    pull.queue.pause();
    pull.producer.publish(Job::new(0).lane(1)).unwrap();
    pull.advance(secs(5));
    pull.producer.publish(Job::new(1).lane(1)).unwrap();
    pull.producer.publish(Job::new(2).lane(2)).unwrap();
    pull.advance(secs(1));
    assert_eq!(ages(&pull), [None, Some(secs(6)), Some(secs(1))]);
    pull.queue.resume();
    let oldest = pull.get().unwrap();
    assert_eq!((*oldest, ages(&pull)), (0, vec![None, Some(secs(1)), Some(secs(1))]), "those that a consumer has claimed wait too");
    pull.queue.cancel(pull.queue.producer().unwrap().publish(3).unwrap());
    assert_eq!(ages(&pull)[0], None, "a cancelled job waits for nothing but its disposal");
}

#[test]
fn a_job_that_comes_back_ages_from_then() {
    let pull = Pull::<u32>::new(q(1).visibility(secs(30)).retry(at_once_up_to(9).max_expiries(3)));
    // what the slot's last job left there says nothing of the next one
    let cancelled = pull.producer.publish_after(0, secs(100)).unwrap();
    pull.queue.cancel(cancelled);
    pull.advance(secs(1));
    assert!(pull.get().is_none() && pull.queue.depth() == 0);
    pull.producer.publish(7).unwrap();
    pull.advance(secs(1));
    assert_eq!(ages(&pull), [Some(secs(1))]);
    let comes_back = |ends: fn(Delivery<u32>), after: Duration| {
        pull.advance(secs(40));
        let delivery = pull.get().unwrap();
        pull.advance(secs(20));
        ends(delivery);
        pull.advance(after);
        assert!(ages(&pull)[0].is_none_or(|age| age <= ms(2)), "{:?}", ages(&pull));
        pull.advance(secs(3));
        let age = ages(&pull)[0].unwrap();
        assert!((secs(3)..=secs(3) + ms(2)).contains(&age), "{age:?}");
    };
    comes_back(|it| it.retry("again").unwrap(), Duration::ZERO);
    comes_back(|it| it.settle(Verdict::RetryAfter("again".into(), secs(60))).unwrap(), secs(60));
    comes_back(|it| it.snooze(Duration::ZERO).unwrap(), Duration::ZERO);
    comes_back(|it| it.snooze(secs(60)).unwrap(), secs(60));
    comes_back(drop, Duration::ZERO);
    // its lease runs out
    let delivery = pull.get().unwrap();
    pull.advance(secs(33));
    let age = ages(&pull)[0].unwrap();
    assert!((secs(2)..=secs(3)).contains(&age), "{age:?}");
    drop(delivery);
    pull.advance(secs(1));
    assert_eq!(ages(&pull)[0].unwrap(), age + secs(1));
    pull.get().unwrap().ack().unwrap();
    pull.settled();
}

#[test]
fn a_job_that_was_never_tried_ages_from_its_last_snooze() {
    let pull = Pull::<u32>::new(q(1));
    pull.producer.publish(0).unwrap();
    for delay in [Duration::ZERO, secs(60)] {
        pull.advance(secs(40));
        pull.get().unwrap().snooze(delay).unwrap();
        pull.advance(delay + secs(3));
        let age = ages(&pull)[0].unwrap();
        assert!((secs(3) - ms(2)..=secs(3) + ms(2)).contains(&age), "{age:?}");
    }
    pull.settled();
}

#[test]
fn jobs_in_partitions_age_and_so_do_those_behind_others_of_their_key() {
    for order in [OrderPolicy::BlockKey, OrderPolicy::Skip] {
        let pull = Pull::<u32>::new(q(8).partitions(4).order(order));
        pull.producer.publish(Job::new(0).partition_key("k")).unwrap();
        pull.advance(secs(1));
        pull.producer.publish(Job::new(1).partition_key("k")).unwrap();
        pull.advance(secs(1));
        assert_eq!(ages(&pull), [Some(secs(2))]);
        let first = pull.get().unwrap();
        assert_eq!(ages(&pull), [Some(secs(1))], "it waits for the first");
        first.ack().unwrap();
        pull.get().unwrap().ack().unwrap();
        assert_eq!(ages(&pull), [None]);
    }
}

#[test]
fn a_redriven_job_ages_from_its_redrive_and_dead_ones_do_not() {
    let pull = Pull::<u32>::new(q(2).dead_letters(DeadLetterConfig::new().capacity(1)).retry(at_once_up_to(1)));
    pull.producer.publish(0).unwrap();
    pull.producer.publish(1).unwrap();
    pull.get().unwrap().retry("no").unwrap();
    pull.get().unwrap().retry("no").unwrap();
    pull.advance(secs(9));
    assert_eq!((pull.seen().phases.held, ages(&pull)), (1, vec![None]));
    pull.queue.dead_letters().redrive().unwrap();
    pull.advance(secs(2));
    assert_eq!(ages(&pull), [Some(secs(2))]);
}
