//! A thread that stops in the middle of an operation, at every one of its crash points in turn, while a shutdown hands back: the job that it has in hand comes back by
//! value, or is named if it is being read or handed back by that thread.

use super::stopped::stopped_at;
use super::*;
use crate::tests::threads::Mutex;
use crate::{Job, JobError, JobId, OrderPolicy, Verdict};
use std::collections::BTreeSet;

/// A queue with one job, under the manual clock.
struct World {
    clock: Arc<ManualClock>,
    runtime: Mutex<Option<Runtime>>,
    queue: QueueHandle<u32>,
    job: JobId,
    /// What the shutdown said: how many jobs it gave back, and whom it named.
    report: Mutex<(usize, Vec<JobId>)>,
}

impl World {
    fn new(config: QueueConfig) -> Self {
        let clock = Arc::new(ManualClock::new());
        let mut builder = Runtime::builder().manual(Arc::clone(&clock));
        let queue = builder.pull_queue(config).unwrap();
        let runtime = builder.build().unwrap();
        let job = queue.producer().unwrap().publish(Job::new(1).partition_key("key")).unwrap();
        World { clock, runtime: Mutex::new(Some(runtime)), queue, job, report: Mutex::default() }
    }

    fn shut_down(&self) {
        let runtime = self.runtime.lock().unwrap().take().unwrap();
        let mut report = runtime.shutdown(at_once());
        let undone = report.take_undone(&self.queue).len();
        *self.report.lock().unwrap() = (undone, report.running().iter().map(|running| running.job).collect());
    }

    /// The job was given back or named, and is given back in the end, once. True if it was given back at once.
    fn adds_up(&self, step: &str) -> bool {
        let (undone, named) = self.report.lock().unwrap().clone();
        assert_eq!(undone + named.len(), 1, "a thread was stopped at {step}: {undone} jobs came back, named were {named:?}");
        assert!(named.iter().all(|&job| job == self.job));
        assert_eq!(undone + self.queue.reclaim().len(), 1, "what came back later, of a thread that was stopped at {step}");
        let counts = self.queue.counts();
        assert_eq!((counts.accepted, counts.handed_back, counts.ended()), (1, 1, 1), "stopped at {step}");
        assert_eq!(self.queue.depth(), 0, "stopped at {step}");
        undone == 1
    }
}

/// Stops `act` at each of its crash points, one run each, and shuts down meanwhile. It must come by each of `steps`, at which the job is given back at once or not.
fn is_accounted_for<A: Send>(
    config: QueueConfig,
    prepare: impl Fn(&World) -> A,
    act: impl Fn(A) + Send + Sync + Copy,
    steps: &[(&str, bool)],
) {
    let mut seen = BTreeSet::new();
    for nth in 0.. {
        let world = World::new(config.clone());
        let prepared = prepare(&world);
        let Some(step) = stopped_at(nth, &world, prepared, |_, prepared| act(prepared), World::shut_down) else { break };
        seen.insert((step, world.adds_up(step)));
    }
    for step in steps {
        assert!(seen.contains(step), "{step:?} is none of {seen:?}");
    }
}

fn plain() -> QueueConfig {
    q(4).retry(at_once_up_to(5))
}

fn delivery(world: &World) -> (Consumer<u32>, Delivery<u32>) {
    let consumer = world.queue.consumer().unwrap();
    let delivery = consumer.try_recv().unwrap();
    (consumer, delivery)
}

/// Everything that brings a job back.
const RETURNS: [fn(Delivery<u32>); 5] = [
    |delivery| delivery.retry("again").unwrap(),
    |delivery| delivery.settle(Verdict::RetryAfter(JobError::transient("later"), secs(1))).unwrap(),
    |delivery| delivery.snooze(Duration::ZERO).unwrap(),
    |delivery| delivery.snooze(secs(1)).unwrap(),
    drop,
];

fn come_back(config: &QueueConfig, steps: [&[(&str, bool)]; 5]) {
    for (settle, steps) in RETURNS.into_iter().zip(steps) {
        let act = move |(consumer, delivery)| {
            settle(delivery);
            drop::<Consumer<u32>>(consumer);
        };
        is_accounted_for(config.clone(), delivery, act, steps);
    }
}

#[test]
fn a_job_that_comes_back_as_a_shutdown_hands_back_is_handed_back_out_of_its_hand() {
    let pushes = [("queue.settle.decided", true), ("ring.push.slot_read", true), ("ring.push.filled", true)];
    let posts = [("queue.settle.decided", true), ("inbox.flagged", true)];
    come_back(&plain(), [&pushes, &posts, &pushes, &posts, &pushes]);
}

#[test]
fn a_job_with_a_partition_key_that_comes_back_as_a_shutdown_hands_back_is_handed_back_too() {
    for order in [OrderPolicy::BlockKey, OrderPolicy::Skip] {
        come_back(&plain().partitions(4).order(order), [&[("queue.settle.decided", true)]; 5]);
    }
}

/// Nothing that comes back is started any more: whoever settles hands it back, and may stop with it in its hand.
#[test]
fn a_job_that_its_settler_hands_back_is_named_until_it_is_among_the_undone() {
    for settle in RETURNS {
        let stopped_with = |world: &World| {
            let delivery = delivery(world);
            world.queue.queue.stop();
            delivery
        };
        let act = move |(consumer, delivery)| {
            settle(delivery);
            drop::<Consumer<u32>>(consumer);
        };
        is_accounted_for(plain(), stopped_with, act, &[("queue.settle.decided", false)]);
    }
}

/// The last one to read a job that was handed back under its hands.
#[test]
fn a_job_whose_late_reader_leaves_is_named_until_it_is_among_the_undone() {
    let overrun = |world: &World| {
        let delivery = delivery(world);
        let runtime = world.runtime.lock().unwrap();
        runtime.as_ref().unwrap().advance(&world.clock, secs(70));
        world.queue.queue.stop();
        world.queue.queue.recall_all();
        delivery
    };
    let act = |(consumer, delivery): (Consumer<u32>, Delivery<u32>)| {
        assert!(delivery.ack().is_err());
        drop(consumer);
    };
    is_accounted_for(plain(), overrun, act, &[("queue.settle.left", false)]);
}

#[test]
fn a_job_that_is_being_claimed_as_a_shutdown_hands_back_is_handed_back_until_it_has_started() {
    let act = |consumer: Consumer<u32>| drop(consumer.try_recv());
    let (claimed, started) = (("queue.claim.published", true), ("queue.claim.started", false));
    let steps = [("ring.pop.head_moved", true), ("queue.claim.popped", true), claimed, started];
    is_accounted_for(plain(), |world| world.queue.consumer().unwrap(), act, &steps);
    is_accounted_for(plain().partitions(4), |world| world.queue.consumer().unwrap(), act, &[claimed, started]);
}
