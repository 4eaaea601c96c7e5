//! Jobs whose life is over before they start: they are ended where they wait, whether or not anybody works.

use super::*;
use crate::{Completed, DeadLetterConfig, DeadLetterOverflow, DeathReason, End, Job, LaneConfig};

fn short(number: u32) -> Job<u32> {
    Job::new(number).ttl(ms(100))
}

#[test]
fn expired_jobs_behind_a_busy_worker_are_dead_letters_on_time_and_give_their_slots_back() {
    watched(|| {
        let door = Door::default();
        let mut builder = Runtime::builder();
        let pass = door.clone();
        let queue = builder.queue(q(10), move |_: &u32, _: &_| pass.pass()).unwrap();
        builder.pool(PoolConfig::new("default").workers(1).spares(0)).unwrap();
        let runtime = builder.build().unwrap();
        let producer = queue.producer().unwrap();
        producer.publish(0).unwrap();
        eventually("the worker is busy", || queue.counts().started == 1);
        (1..10).for_each(|number| {
            producer.publish(short(number)).unwrap();
        });
        assert!(producer.publish(10).unwrap_err().is_full());
        eventually("the others are dead", || queue.dead_letters().len() == 9);
        assert_eq!((queue.depth(), queue.counts().started), (1, 1));
        producer.publish(10).unwrap();
        door.open();
        eventually("both are done", || queue.counts().acked == 2);
        assert_eq!(adds_up(&runtime).dead_expired, 9);
    });
}

#[test]
fn expired_jobs_die_on_time_where_nobody_takes_jobs() {
    for paused in [false, true] {
        let pull = Pull::<u32>::new(q(8).lanes([LaneConfig::new("high"), LaneConfig::new("low")]));
        if paused {
            pull.queue.pause();
        }
        for number in 0..6 {
            pull.producer.publish(short(number).lane(number as usize % 2)).unwrap();
        }
        pull.producer.publish(Job::new(6).lane(1)).unwrap();
        pull.advance(ms(99));
        assert_eq!((pull.queue.depth(), pull.queue.dead_letters().len()), (7, 0));
        pull.advance(ms(3));
        assert_eq!((pull.queue.depth(), pull.queue.dead_letters().len()), (1, 6));
        pull.queue.dead_letters().for_each(|letter| assert_eq!(letter.record().deaths[0].reason, DeathReason::Expired));
        assert_eq!(pull.settled().dead_expired, 6);
    }
}

#[test]
fn an_expired_job_behind_one_that_lives_waits_for_it() {
    let pull = Pull::<u32>::new(q(8));
    pull.producer.publish(Job::new(0).ttl(secs(1))).unwrap();
    (1..4).for_each(|number| {
        pull.producer.publish(short(number)).unwrap();
    });
    pull.advance(ms(500));
    assert_eq!((pull.queue.depth(), pull.queue.dead_letters().len()), (4, 0));
    pull.advance(ms(502));
    assert_eq!((pull.queue.depth(), pull.queue.dead_letters().len()), (0, 4));
    pull.settled();
}

#[test]
fn expired_jobs_of_a_partition_whose_key_is_busy_die_on_time() {
    let pull = Pull::<u32>::new(q(8).partitions(4));
    pull.producer.publish(Job::new(0).partition_key("a")).unwrap();
    let first = pull.get().unwrap();
    (1..4).for_each(|number| {
        pull.producer.publish(short(number).partition_key("a")).unwrap();
    });
    pull.producer.publish(Job::new(4).partition_key("a")).unwrap();
    pull.advance(ms(102));
    assert_eq!((pull.queue.depth(), pull.queue.dead_letters().len()), (2, 3));
    assert!(pull.get().is_none(), "the key is busy");
    first.ack().unwrap();
    let last = pull.get().unwrap();
    assert_eq!(*last.payload(), 4);
    last.ack().unwrap();
    assert_eq!(pull.settled().dead_expired, 3);
}

#[test]
fn cancelled_jobs_end_where_they_wait_and_those_who_wait_for_them_are_told() {
    let pull = Pull::<u32>::new(q(4));
    let (head, middle, last) = (
        pull.producer.watched().publish(0).unwrap(),
        pull.producer.watched().publish(1).unwrap(),
        pull.producer.watched().publish(2).unwrap(),
    );
    assert!(middle.cancel());
    pull.advance(ms(200));
    assert_eq!(pull.queue.depth(), 3, "one that lives is before it");
    assert!(head.cancel());
    pull.advance(ms(200));
    assert_eq!(pull.queue.depth(), 1);
    let end = |mut completion: crate::Completion<()>| completion.wait_timeout(Duration::ZERO).map(|Completed { end, .. }| end).unwrap();
    assert_eq!((end(head), end(middle)), (End::Cancelled, End::Cancelled));
    assert_eq!(*pull.get().unwrap().payload(), 2);
    drop(last);
    assert_eq!(pull.counts().dropped_cancelled, 2);
}

#[test]
fn a_cancelled_job_ends_within_a_sweep_also_where_time_leaps() {
    for keyed in [false, true] {
        let pull = Pull::<u32>::new(q(4).partitions(4).completed_records(4, secs(7_200)));
        let job = Job::new(0);
        let id = pull.producer.publish(if keyed { job.partition_key("k") } else { job }).unwrap();
        pull.advance(secs(10));
        let cancelled = pull.runtime.now();
        pull.queue.cancel(id);
        pull.advance(secs(3_600));
        let took = pull.queue.completed_job(id).unwrap().ended.since(cancelled);
        assert!(took <= ms(101), "{took:?}");
        pull.settled();
    }
}

#[test]
fn what_the_timer_ends_leaves_user_code_to_others() {
    let (census, letters) = (Census::default(), DeadLetterConfig::new().capacity(1).overflow(DeadLetterOverflow::DropOldest));
    let pull = Pull::<Counted>::new(q(8).dead_letters(letters));
    for number in 0..4 {
        pull.producer.publish(Job::new(census.born(number)).ttl(ms(10))).unwrap();
    }
    pull.queue.pause();
    pull.advance(ms(20));
    assert_eq!((pull.queue.depth(), pull.queue.dead_letters().len(), census.alive()), (0, 1, 4), "it drops no payload");
    assert!(pull.get().is_none());
    assert_eq!(census.alive(), 1);
    pull.settled();
    // nobody came by
    for number in 0..4 {
        pull.producer.publish(Job::new(census.born(number)).ttl(ms(10))).unwrap();
    }
    pull.advance(ms(20));
    let Pull { runtime, queue, producer, consumer, .. } = pull;
    drop(consumer);
    let report = runtime.shutdown(at_once());
    assert!(report.is_clean());
    assert_eq!((queue.counts().dead_expired, census.alive()), (8, 1));
    drop((queue, producer, report));
    assert_eq!(census.alive(), 0);
}

#[test]
fn so_many_expire_at_once_that_it_takes_several_turns() {
    let pull = Pull::<u32>::new(q(5_000).dead_letters(DeadLetterConfig::new().capacity(5_000)));
    (0..5_000).for_each(|number| {
        pull.producer.publish(short(number)).unwrap();
    });
    pull.advance(ms(102));
    assert_eq!((pull.queue.depth(), pull.queue.dead_letters().len()), (0, 5_000));
    pull.settled();
}

#[test]
fn a_job_that_has_come_to_the_head_of_its_partition_after_it_expired_dies_then() {
    let pull = Pull::<u32>::new(q(8).partitions(4));
    pull.producer.publish(Job::new(0).partition_key("a")).unwrap();
    pull.producer.publish(short(1).partition_key("a")).unwrap();
    pull.advance(ms(200));
    assert_eq!(pull.queue.dead_letters().len(), 0, "one that lives is before it");
    let first = pull.get().unwrap();
    pull.advance(ms(200));
    assert_eq!((pull.queue.depth(), pull.queue.dead_letters().len()), (1, 1));
    first.ack().unwrap();
    pull.settled();
}

#[test]
fn a_job_with_a_time_to_live_is_no_part_of_a_chain() {
    let pull = Pull::<u32>::new(q(8));
    let batch = pull.producer.publish_batch(&mut [short(0), Job::new(1), short(2), Job::new(3)].into_iter());
    assert_eq!(batch.accepted, 4);
    pull.advance(ms(200));
    assert_eq!((pull.queue.depth(), pull.queue.dead_letters().len()), (3, 1));
    let first = pull.get().unwrap();
    assert_eq!(*first.payload(), 1);
    pull.advance(ms(200));
    assert_eq!((pull.queue.depth(), pull.queue.dead_letters().len()), (2, 2));
    first.ack().unwrap();
    pull.settled();
}

#[test]
fn a_queue_that_nobody_comes_by_holds_no_more_payloads_than_are_bounded() {
    let letters = || DeadLetterConfig::new().capacity(4).overflow(DeadLetterOverflow::DropOldest);
    for cancels in [false, true] {
        let (pull, census) = (Pull::<Counted>::new(q(8).dead_letters(letters())), Census::default());
        for number in 0..400 {
            let job = Job::new(census.born(number));
            let published = pull.producer.publish(if cancels { job } else { job.ttl(ms(1)) });
            if let (Ok(job), true) = (published, cancels) {
                pull.queue.cancel(job);
            }
            pull.advance(ms(101));
        }
        assert!(census.alive() <= 8 + 8 + 4, "{} payloads", census.alive());
        assert!(pull.producer.publish(census.born(400)).unwrap_err().is_full());
        assert!(pull.get().is_none());
        pull.advance(ms(101));
        pull.producer.publish(census.born(401)).unwrap();
        pull.settled();
    }
}

#[test]
fn time_leaps_past_a_cancelled_job_that_cannot_be_ended_alone() {
    let pull = Pull::<u32>::new(q(100));
    let mut ids = pull.producer.watched().publish_batch(&mut (0..10)).completions;
    assert!(ids.remove(0).cancel());
    let began = Instant::now();
    pull.advance(secs(7 * 86_400));
    assert!(began.elapsed() < secs(10), "a week took {:?}", began.elapsed());
    assert_eq!(pull.queue.depth(), 10);
}
