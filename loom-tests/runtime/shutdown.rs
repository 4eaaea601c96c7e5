//! The end: every job that was taken in is run or comes out.

use super::world::{B1, B2, B3, DEEP1, DEEP2, Probe, TICK, VISIBILITY, World, config, jobs_of, model, twin};
use ringmill::clock::Timestamp;
use ringmill::queue::{Bend, Claimer, Plan, Queue, When};
use ringmill::sync::atomic::AtomicU64;
use ringmill::sync::{EventCount, thread};
use ringmill::{Dedupe, Job, JobError, Payload, QueueConfig, Refusal, Undone};
use std::sync::Arc;

/// What a publish said, against what became of the job.
fn assert_kept(world: &World, job: usize, published: &Result<ringmill::JobId, Refusal>, undone: &[Undone<Probe>]) {
    let handed_back = jobs_of(undone).iter().filter(|&&other| other == job).count();
    let ends = handed_back + usize::from(world.is_acked(job));
    match published {
        Ok(_) => assert_eq!(ends, 1, "job {job} was taken in, run {} and handed back {handed_back} times", world.is_acked(job)),
        Err(Refusal::Closed) => assert_eq!(ends, 0, "job {job} was refused, and run or handed back as well"),
        Err(other) => panic!("{other:?}"),
    }
}

/// What a worker does until the stop.
fn work_until_stopped(world: &World, claimer: &mut Claimer<Probe>) {
    if !world.queue.is_stopped() {
        world.work(claimer);
    }
    claimer.give_back();
}

/// (M18) A publish has passed the closed gate and is on its way in while everything is handed back: it says Ok, and the job stays behind.
fn published_into_the_hand_back<const DELAYED: bool>() {
    let world = World::new(&config(1));
    let publisher = world.publisher();
    let claimer = world.claimer();
    let when = if DELAYED { When::At(world.now() + 5 * TICK) } else { When::Now };
    let producing = thread::spawn({
        let world = world.clone();
        move || world.publish_to(&publisher, 0, 0, when)
    });
    world.queue.close();
    world.queue.stop();
    let undone = world.queue.hand_back();
    let published = producing.join().unwrap();
    assert_kept(&world, 0, &published, &undone);
    drop(undone);
    world.close_the_books(claimer);
}

#[test]
fn a_late_publish_is_handed_back_or_refused() {
    model("published_into_the_hand_back", B3, published_into_the_hand_back::<false>);
}

#[test]
fn a_late_publish_is_handed_back_or_refused_twin_no_second_look() {
    twin("published_into_the_hand_back", Bend::NoSecondLook, B3, published_into_the_hand_back::<false>);
}

#[test]
fn a_late_publish_is_handed_back_or_refused_twin_publisher_unfenced() {
    twin("published_into_the_hand_back", Bend::SilentPush, B3, published_into_the_hand_back::<false>);
}

#[test]
fn a_late_publish_is_handed_back_or_refused_twin_stop_unfenced() {
    twin("published_into_the_hand_back", Bend::StopUnfenced, B3, published_into_the_hand_back::<false>);
}

#[test]
fn a_late_delayed_publish_is_handed_back_or_refused() {
    model("delayed_into_the_hand_back", B3, published_into_the_hand_back::<true>);
}

#[test]
fn a_late_delayed_publish_is_handed_back_or_refused_twin() {
    twin("delayed_into_the_hand_back", Bend::NoSecondLook, B3, published_into_the_hand_back::<true>);
}

/// A publisher leaves, and its free slots move, as a drain looks whether it is done. Counted twice, they are as many as if no job were there.
/// (A look slot by slot meets nothing that moves: one execution. The twin has many.)
fn drained_as_slots_move() {
    // so many that the publisher keeps one of them for its next job
    let world = World::new(&config(32));
    let mut publisher = world.publisher();
    world.publish(&publisher, 0).unwrap();
    let mut claimer = world.claimer();
    let leaving = thread::spawn({
        let world = world.clone();
        move || world.queue.close_publisher(&mut publisher)
    });
    assert!(!world.queue.is_drained(world.now()), "a job waits");
    leaving.join().unwrap();
    world.run_dry(&mut claimer);
    assert!(world.queue.is_drained(world.now()));
    world.close_the_books(claimer);
}

#[test]
fn a_drain_sees_the_last_job() {
    model("drained_as_slots_move", B3, drained_as_slots_move);
}

#[test]
fn a_drain_sees_the_last_job_twin() {
    twin("drained_as_slots_move", Bend::DrainCounts, B3, drained_as_slots_move);
}

/// (M18) As above, for a job that an exchange has routed.
fn routed_into_the_hand_back() {
    let world = World::new(&config(1));
    let publisher = world.publisher();
    let claimer = world.claimer();
    let producing = thread::spawn({
        let world = world.clone();
        move || world.publish_routed(&publisher, 0)
    });
    world.queue.close();
    world.queue.stop();
    let undone = world.queue.hand_back();
    let published = producing.join().unwrap();
    assert_kept(&world, 0, &published, &undone);
    drop(undone);
    world.close_the_books(claimer);
}

#[test]
fn a_late_routed_job_is_handed_back_or_refused() {
    model("routed_into_the_hand_back", B3, routed_into_the_hand_back);
}

#[test]
fn a_late_routed_job_is_handed_back_or_refused_twin() {
    twin("routed_into_the_hand_back", Bend::NoSecondLook, B3, routed_into_the_hand_back);
}

/// A job is published behind another of its key, which runs: nobody is woken, and no bell rings. Bad: the publish and the stop miss each other, it says Ok and
/// the job stays behind.
fn keyed_into_the_hand_back() {
    let world = World::new(&config(2).partitions(1));
    let (publisher, mut claimer) = (world.publisher(), world.claimer());
    world.publish_in_order(&publisher, 0).unwrap();
    let lease = claimer.next(world.now()).unwrap();
    let producing = thread::spawn({
        let world = world.clone();
        move || world.publish_in_order(&publisher, 1)
    });
    world.queue.close();
    world.queue.stop();
    let undone = world.queue.hand_back();
    let published = producing.join().unwrap();
    assert_kept(&world, 1, &published, &undone);
    drop(undone);
    world.ack(&mut claimer, lease);
    world.close_the_books(claimer);
}

#[test]
fn a_late_keyed_job_is_handed_back_or_refused() {
    model("keyed_into_the_hand_back", B3, keyed_into_the_hand_back);
}

#[test]
fn a_late_keyed_job_is_handed_back_or_refused_twin() {
    twin("keyed_into_the_hand_back", Bend::NoSecondLook, B3, keyed_into_the_hand_back);
}

/// Two publishes meet the stop and the hand-back. `leave` is what comes between these; it says who closes the books.
fn two_publish(world: &World, leave: impl FnOnce() -> Claimer<Probe>) {
    let producing: Vec<_> = [0, 1]
        .map(|job| {
            let (world, publisher) = (world.clone(), world.publisher());
            thread::spawn(move || world.publish(&publisher, job))
        })
        .into();
    world.queue.close();
    world.queue.stop();
    let claimer = leave();
    let undone = world.queue.hand_back();
    for (job, producing) in producing.into_iter().enumerate() {
        assert_kept(world, job, &producing.join().unwrap(), &undone);
    }
    drop(undone);
    world.close_the_books(claimer);
}

/// (M18) Two publishers meet the stop: one takes the other's job back, and neither it nor the hand-back has it.
fn two_publish_into_the_hand_back() {
    let world = World::new(&config(2));
    let claimer = world.claimer();
    two_publish(&world, || claimer);
}

#[test]
fn two_late_publishes_do_not_take_each_others_jobs() {
    model("two_publish_into_the_hand_back", B1, two_publish_into_the_hand_back);
}

#[test]
#[ignore = "tier 2: a minute"]
fn two_late_publishes_do_not_take_each_others_jobs_deeper() {
    model("two_publish_into_the_hand_back", B2, two_publish_into_the_hand_back);
}

#[test]
fn two_late_publishes_do_not_take_each_others_jobs_twin() {
    twin("two_publish_into_the_hand_back", Bend::NoSecondLook, B1, two_publish_into_the_hand_back);
}

/// (M18) The same with a worker, who is joined before the hand-back, as the runtime does: it leaves with a claim in its pocket.
fn published_into_the_shutdown() {
    let world = World::new(&config(1));
    let publisher = world.publisher();
    let (claimer, mut worker) = (world.claimer(), world.claimer());
    let producing = thread::spawn({
        let world = world.clone();
        move || world.publish(&publisher, 0)
    });
    let working = thread::spawn({
        let world = world.clone();
        move || work_until_stopped(&world, &mut worker)
    });
    world.queue.close();
    world.queue.stop();
    working.join().unwrap();
    let undone = world.queue.hand_back();
    let published = producing.join().unwrap();
    assert_kept(&world, 0, &published, &undone);
    drop(undone);
    world.close_the_books(claimer);
}

#[test]
fn a_published_job_is_run_or_handed_back() {
    model("published_into_the_shutdown", B2, published_into_the_shutdown);
}

#[test]
fn a_published_job_is_run_or_handed_back_twin() {
    twin("published_into_the_shutdown", Bend::NoSecondLook, B2, published_into_the_shutdown);
}

/// (M20) Two publishers, a worker and the stop at once: a job that was accepted is neither acked nor handed back.
fn two_publish_into_the_shutdown() {
    let world = World::new(&config(2));
    let mut worker = world.claimer();
    let working = thread::spawn({
        let world = world.clone();
        move || {
            work_until_stopped(&world, &mut worker);
            worker
        }
    });
    two_publish(&world, || working.join().unwrap());
}

#[test]
fn two_published_jobs_are_run_or_handed_back() {
    model("two_publish_into_the_shutdown", B1, two_publish_into_the_shutdown);
}

#[test]
#[ignore = "tier 2: minutes"]
fn two_published_jobs_are_run_or_handed_back_deeper() {
    model("two_publish_into_the_shutdown", DEEP2, two_publish_into_the_shutdown);
}

#[test]
fn two_published_jobs_are_run_or_handed_back_twin() {
    twin("two_publish_into_the_shutdown", Bend::NoSecondLook, B1, two_publish_into_the_shutdown);
}

/// (M19) One job is with a worker and its lease runs out, another waits (or is on its way in), and all is shut down: the books do not balance.
fn shut_down_in_full_swing<const LATE: bool>() {
    let world = World::new(&config(2));
    let publisher = world.publisher();
    let (claimer, mut worker) = (world.claimer(), world.claimer());
    world.publish(&publisher, 0).unwrap();
    let lease = worker.next(world.now()).unwrap();
    world.turn(TICK);
    let publish = {
        let world = world.clone();
        move || world.publish(&publisher, 1)
    };
    let (early, late) = if LATE { (None, Some(thread::spawn(publish))) } else { (Some(publish()), None) };
    let working = thread::spawn({
        let world = world.clone();
        move || {
            world.ack(&mut worker, lease);
            work_until_stopped(&world, &mut worker);
        }
    });
    let timing = thread::spawn({
        let world = world.clone();
        move || world.turn(VISIBILITY)
    });
    world.queue.close();
    world.queue.stop();
    working.join().unwrap();
    timing.join().unwrap();
    let undone = world.queue.hand_back();
    let published = early.or_else(|| late.map(|late| late.join().unwrap())).unwrap();
    assert_kept(&world, 1, &published, &undone);
    assert_eq!(jobs_of(&undone).contains(&0), !world.is_acked(0), "job 0 was lost");
    drop(undone);
    world.close_the_books(claimer);
}

#[test]
fn the_books_balance_after_a_shutdown() {
    model("shut_down_in_full_swing", B2, shut_down_in_full_swing::<false>);
}

#[test]
#[ignore = "tier 2: minutes"]
fn the_books_balance_after_a_shutdown_deeper() {
    model("shut_down_in_full_swing, late", DEEP1, shut_down_in_full_swing::<true>);
}

#[test]
fn the_books_balance_after_a_shutdown_twin() {
    twin("shut_down_in_full_swing, late", Bend::NoSecondLook, DEEP1, shut_down_in_full_swing::<true>);
}

/// A consumer asks for another attempt as everything is handed back: the job is in neither hand, and is neither handed back nor named.
fn retried_into_the_hand_back<const DELAY: u32>() {
    let world = World::new(&config(1));
    let publisher = world.publisher();
    let (claimer, mut consumer) = (world.claimer(), world.detached());
    world.publish(&publisher, 0).unwrap();
    let lease = consumer.next(world.now()).unwrap();
    let consuming = thread::spawn({
        let world = world.clone();
        move || {
            assert!(world.settle(&mut consumer, lease, Plan::Retry(JobError::transient("again"), DELAY * TICK)));
        }
    });
    world.queue.close();
    world.queue.stop();
    let mut undone = world.queue.hand_back();
    let named = world.queue.running();
    // what has come back since
    undone.extend(world.queue.hand_back());
    assert!(!undone.is_empty() || !named.is_empty(), "the job is in no list");
    consuming.join().unwrap();
    undone.extend(world.queue.hand_back());
    assert_eq!(jobs_of(&undone), [0], "the job was lost, or handed back twice");
    drop(undone);
    world.close_the_books(claimer);
}

#[test]
fn a_late_retry_is_handed_back() {
    model("retried_into_the_hand_back", B3, retried_into_the_hand_back::<0>);
}

#[test]
fn a_late_retry_is_handed_back_twin() {
    twin("retried_into_the_hand_back", Bend::HandsKeep, B3, retried_into_the_hand_back::<0>);
}

#[test]
fn a_late_delay_is_handed_back() {
    model("put_off_into_the_hand_back", B3, retried_into_the_hand_back::<3>);
}

#[test]
fn a_late_delay_is_handed_back_twin() {
    twin("put_off_into_the_hand_back", Bend::HandsKeep, B3, retried_into_the_hand_back::<3>);
}

/// (M22) A publisher closes and a claimer goes, with jobs claimed and not started, while a colleague steals: a job is dropped with its claimer, or twice.
fn handles_go_with_jobs_inside() {
    let world = World::new(&config(2).prefetch(2));
    let mut publisher = world.publisher();
    let (mut claimer, mut other) = (world.claimer(), world.claimer());
    world.publish(&publisher, 0).unwrap();
    let producing = thread::spawn({
        let world = world.clone();
        move || {
            world.publish(&publisher, 1).unwrap();
            world.queue.close_publisher(&mut publisher);
        }
    });
    let leaving = thread::spawn({
        move || {
            claimer.look();
            drop(claimer);
        }
    });
    if other.steal() {
        world.work(&mut other);
    }
    producing.join().unwrap();
    leaving.join().unwrap();
    let publisher = world.publisher();
    world.run_dry(&mut other);
    assert!(world.is_acked(0) && world.is_acked(1), "a job went with its claimer");
    // one waits and one is claimed, and nobody is left to run them: they go with the queue
    world.publish(&publisher, 2).unwrap();
    world.publish(&publisher, 3).unwrap();
    assert!(other.look());
    drop(other);
    world.assert_dropped_with_the_queue();
}

#[test]
fn undelivered_jobs_are_dropped_once() {
    model("handles_go_with_jobs_inside", B2, handles_go_with_jobs_inside);
}

#[test]
fn undelivered_jobs_are_dropped_once_twin() {
    twin("handles_go_with_jobs_inside", Bend::KeepClaims, B2, handles_go_with_jobs_inside);
}

/// A batch meets the stop: what it took back is in nobody's hand.
fn batch_into_the_hand_back(config: &QueueConfig, job: fn(&World, usize) -> Job<Probe>) {
    let world = World::new(config);
    let publisher = world.publisher();
    let claimer = world.claimer();
    let producing = thread::spawn({
        let world = world.clone();
        move || world.publish_batch(&publisher, [0, 1].map(|number| job(&world, number))).0
    });
    world.queue.close();
    world.queue.stop();
    let mut undone = world.queue.hand_back();
    let accepted = producing.join().unwrap();
    undone.extend(world.queue.hand_back());
    assert_eq!(undone.len(), accepted, "what was taken in is not what comes out");
    assert_eq!(world.queue.gauges().keys, 0, "a key is nobody's");
    drop(undone);
    world.close_the_books(claimer);
}

fn plain_batch_into_the_hand_back() {
    batch_into_the_hand_back(&config(2), World::job);
}

/// The jobs of the batch leave their chain for a partition.
fn keyed_batch_into_the_hand_back() {
    batch_into_the_hand_back(&config(2).partitions(1), |world, number| world.job(number).partition_key(b"a"));
}

/// Each claims its key before it is in its lane.
fn named_batch_into_the_hand_back() {
    batch_into_the_hand_back(&config(2).dedupe(Dedupe::WhileLive, 4), |world, number| world.job(number).key([number as u8]));
}

#[test]
fn keys_of_a_late_batch_are_free() {
    model("named_batch_into_the_hand_back", B2, named_batch_into_the_hand_back);
}

#[test]
fn a_late_batch_is_handed_back() {
    model("batch_into_the_hand_back", B2, plain_batch_into_the_hand_back);
}

#[test]
fn a_late_keyed_batch_is_handed_back() {
    model("keyed_batch_into_the_hand_back", B2, keyed_batch_into_the_hand_back);
}

/// A payload whose drop asks the queue for what was handed back.
struct Nosy(std::sync::OnceLock<std::sync::Weak<Queue<Nosy>>>);

impl Payload for Nosy {}

impl Drop for Nosy {
    fn drop(&mut self) {
        let queue = self.0.get().and_then(std::sync::Weak::upgrade);
        assert!(queue.is_none_or(|queue| queue.hand_back().is_empty()));
    }
}

/// The hand-back drops a cancelled job, and the drop, which is user code, hands back as well: it waits for its own caller's lock.
fn handed_back_by_a_drop() {
    let bell = || Arc::new(EventCount::new());
    let queue = Queue::new(&config(1), TICK, VISIBILITY, bell(), bell(), Arc::new(AtomicU64::new(0))).unwrap();
    let queue = Arc::new(queue);
    let publisher = queue.open_publisher().unwrap();
    let nosy = Nosy(std::sync::OnceLock::from(Arc::downgrade(&queue)));
    let job = queue.try_publish(&publisher, Job::new(nosy), When::Now, Timestamp::ZERO).unwrap();
    assert!(queue.cancel(job));
    queue.close();
    queue.stop();
    assert!(queue.hand_back().is_empty(), "it was cancelled");
    assert_eq!(queue.totals().counts.dropped_cancelled, 1);
    assert_eq!(queue.free(), 1);
}

#[test]
fn drops_run_outside_the_hand_backs_locks() {
    model("handed_back_by_a_drop", B2, handed_back_by_a_drop);
}
