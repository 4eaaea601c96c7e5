//! The time to live of a waiting job is watched wherever the job has been meanwhile.

use super::*;
use crate::slab::Phase;
use crate::verdict::Verdict;
use crate::{Backoff, DeadLetterConfig, Job, RetryPolicy};

impl Bare<u32> {
    fn at(&self, at: Duration) {
        self.clock.set(crate::clock::Timestamp::ZERO + at);
        self.queue.turn(&self.clock);
    }

    fn phase(&self) -> Phase {
        self.queue.slab.state(0).load().phase()
    }

    fn with_a_job_that_lives_100_ms(config: QueueConfig) -> Self {
        let retry = RetryPolicy::new().backoff(Backoff::fixed(Duration::ZERO));
        let bare = Bare::new(&config.retry(retry).visibility(ms(40)));
        bare.publish(Job::new(1).ttl(ms(100)));
        bare
    }

    /// The job waits in a lane or claim, and is ended when its time has come; in a claim it is marked.
    fn dies_on_time(&self, then: Phase) {
        assert_eq!(self.phase(), Phase::Ready);
        self.at(ms(99));
        assert_eq!(self.phase(), Phase::Ready);
        self.at(ms(102));
        assert_eq!(self.phase(), then);
        assert_eq!(self.queue.totals().counts.dead_expired, u64::from(then == Phase::Free));
    }
}

#[test]
fn a_job_that_only_waits_dies_on_time() {
    let bare = Bare::with_a_job_that_lives_100_ms(q(1));
    bare.at(ms(1));
    bare.dies_on_time(Phase::Free);
}

#[test]
fn a_job_that_was_stolen_dies_on_time() {
    let bare = Bare::with_a_job_that_lives_100_ms(q(1));
    bare.at(ms(1));
    let (mut first, mut second) = (bare.worker(), bare.worker());
    assert!(first.look());
    assert!(second.steal());
    bare.dies_on_time(Phase::Doomed);
}

#[test]
fn a_job_that_was_taken_back_from_a_claimer_dies_on_time() {
    let bare = Bare::with_a_job_that_lives_100_ms(q(1));
    bare.at(ms(1));
    let mut worker = bare.worker();
    assert!(worker.look());
    worker.give_back();
    bare.dies_on_time(Phase::Free);
}

#[test]
fn a_job_that_is_retried_at_once_dies_on_time() {
    let bare = Bare::with_a_job_that_lives_100_ms(q(1));
    let mut worker = bare.worker();
    let lease = worker.next(bare.clock.now()).unwrap();
    // the timer hears of it while it runs
    bare.at(ms(30));
    let plan = worker.plan(&lease, Verdict::Retry("again".into()));
    worker.settle(lease, plan, bare.clock.now(), false).map(|aftermath| aftermath.run(&bare.queue)).unwrap();
    bare.at(ms(31));
    bare.dies_on_time(Phase::Free);
}

#[test]
fn a_job_that_waited_for_its_next_attempt_dies_on_time() {
    let bare = Bare::with_a_job_that_lives_100_ms(q(1));
    let mut worker = bare.worker();
    let lease = worker.next(bare.clock.now()).unwrap();
    let plan = worker.plan(&lease, Verdict::Snooze(ms(20)));
    worker.settle(lease, plan, bare.clock.now(), false).map(|aftermath| aftermath.run(&bare.queue)).unwrap();
    bare.at(ms(2));
    assert_eq!(bare.phase(), Phase::Delayed);
    bare.at(ms(30));
    bare.dies_on_time(Phase::Free);
}

#[test]
fn a_job_whose_lease_ran_out_dies_on_time() {
    let bare = Bare::with_a_job_that_lives_100_ms(q(1));
    let mut worker = bare.worker();
    let _lease = worker.next(bare.clock.now()).unwrap();
    (2..70).for_each(|at| bare.at(ms(at)));
    bare.dies_on_time(Phase::Zombie);
}

#[test]
fn the_watch_of_a_job_that_is_over_harms_no_successor() {
    let bare = Bare::with_a_job_that_lives_100_ms(q(1));
    bare.at(ms(1));
    let mut worker = bare.worker();
    let lease = worker.next(bare.clock.now()).unwrap();
    let plan = worker.plan(&lease, Verdict::Ack);
    worker.settle(lease, plan, bare.clock.now(), false).map(|aftermath| aftermath.run(&bare.queue)).unwrap();
    bare.publish(Job::new(2));
    bare.at(ms(150));
    assert_eq!(bare.phase(), Phase::Ready);
}

#[test]
fn a_delayed_job_whose_life_ends_is_not_started_by_a_worker_whose_time_is_a_little_older() {
    let bare = Bare::<u32>::new(&q(1));
    let due = crate::clock::Timestamp::ZERO + Duration::from_secs(3600);
    bare.queue.try_publish(&bare.publisher, Job::new(1).ttl(ms(100)), When::At(due), bare.clock.now()).unwrap();
    let mut worker = bare.worker();
    bare.at(ms(1));
    bare.at(ms(99));
    // it read the clock when its last job ended, and looks for the next one when that one's payload is dropped
    let boundary = bare.clock.now();
    bare.at(ms(101));
    assert!(worker.next(boundary).is_none());
}

#[test]
fn one_turn_ends_so_many_jobs_of_those_that_were_over_behind_one_that_lived_and_no_more() {
    for (plain, keyed) in [(600, 0), (0, 600), (300, 300)] {
        let letters = DeadLetterConfig::new().capacity(1024);
        let bare = Bare::<u32>::new(&q(1024).partitions(4).dead_letters(letters));
        let job = |number: u32| Job::new(number).ttl(ms(if number == 0 { 200 } else { 100 }));
        (0..plain).for_each(|number| {
            bare.publish(job(number));
        });
        (0..keyed).for_each(|number| {
            bare.publish(job(number).partition_key("k"));
        });
        (1..150).for_each(|at| bare.at(ms(at)));
        let ended = || bare.queue.totals().counts.dead_expired;
        assert_eq!(ended(), 0, "the first ones live");
        let turns = [0; 4].map(|_| {
            bare.at(ms(202));
            ended()
        });
        assert_eq!(turns, [256, 512, 600, 600], "{plain} and {keyed}");
    }
}
