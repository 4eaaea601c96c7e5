//! Jobs on their way: in, through, and out again.

use super::world::{B2, B3, DEEP3, TICK, World, config, hangs, hangs_unbent, model, twin};
use ringmill::queue::{Bend, Plan, When};
use ringmill::sync::{Parker, thread};
use ringmill::{JobError, LaneConfig, Overflow, Refusal};
use std::time::Duration;

fn retry_now() -> Plan {
    Plan::Retry(JobError::transient("again"), Duration::ZERO)
}

/// One slot, two jobs: the second publish finds the slot as its settler left it, or finds no slot.
fn two_jobs_through_one_slot() {
    let world = World::new(&config(1));
    let publisher = world.publisher();
    let (mut near, mut far) = (world.claimer(), world.claimer());
    let producing = thread::spawn({
        let world = world.clone();
        move || {
            let first = world.publish(&publisher, 0);
            assert!(first.is_ok(), "an empty queue took nothing");
            world.publish(&publisher, 1).is_ok()
        }
    });
    let working = thread::spawn({
        let world = world.clone();
        move || world.work(&mut far).is_some()
    });
    world.work(&mut near);
    let both = producing.join().unwrap();
    working.join().unwrap();
    world.run_dry(&mut near);
    assert!(world.is_acked(0));
    assert_eq!(world.is_acked(1), both, "accepted, and not run");
    world.close_the_books(near);
}

#[test]
fn two_jobs_pass_through_one_slot() {
    model("two_jobs_through_one_slot", B2, two_jobs_through_one_slot);
}

#[test]
fn two_jobs_pass_through_one_slot_twin() {
    twin("two_jobs_through_one_slot", Bend::KeepCredit, B2, two_jobs_through_one_slot);
}

/// (M5) A job is pushed back while a colleague is inside pop: the push is dropped because the ring seems full.
fn retried_under_a_pop() {
    let world = World::new(&config(2));
    let publisher = world.publisher();
    let (mut failing, mut acking) = (world.claimer(), world.claimer());
    world.publish(&publisher, 0).unwrap();
    world.publish(&publisher, 1).unwrap();
    let failing = thread::spawn({
        let world = world.clone();
        move || {
            if let Some(lease) = failing.next(world.now()) {
                assert!(world.settle(&mut failing, lease, retry_now()), "nobody took the lease away");
            }
            failing
        }
    });
    let other = thread::spawn({
        let world = world.clone();
        move || {
            world.work(&mut acking);
            world.work(&mut acking);
        }
    });
    let mut failing = failing.join().unwrap();
    other.join().unwrap();
    world.run_dry(&mut failing);
    assert!(world.is_acked(0) && world.is_acked(1), "a job that was pushed back was lost");
    world.close_the_books(failing);
}

#[test]
fn a_job_pushed_back_is_never_dropped() {
    model("retried_under_a_pop", B3, retried_under_a_pop);
}

/// (M6) A worker has looked at the first lane, a job arrives there, another in the second, it sleeps; or it sleeps with one of the two still there.
fn asleep_beside_a_job() {
    let world = World::new(&config(2).lanes([LaneConfig::new("high"), LaneConfig::new("low")]));
    let publisher = world.publisher();
    let mut claimer = world.claimer();
    let producing = thread::spawn({
        let world = world.clone();
        move || {
            world.publish_to(&publisher, 0, 1, When::Now).unwrap();
            world.publish_to(&publisher, 1, 0, When::Now).unwrap();
        }
    });
    let parker = Parker::new();
    let seat = world.bell.take_seat(parker.unparker()).unwrap();
    let (mut done, mut searching) = (0, false);
    while done < 2 {
        if world.work(&mut claimer).is_some() {
            done += 1;
            if std::mem::take(&mut searching) {
                world.bell.found_work(|| claimer.may_have_more(0));
            }
            continue;
        }
        world.bell.announce(&seat, searching);
        searching = true;
        if claimer.look() {
            world.bell.retract(&seat);
        } else {
            world.bell.sleep(&seat, &parker, None);
        }
    }
    producing.join().unwrap();
    world.close_the_books(claimer);
}

#[test]
fn nobody_sleeps_beside_a_job() {
    model("asleep_beside_a_job", B2, asleep_beside_a_job);
}

#[test]
#[ignore = "tier 2: minutes"]
fn nobody_sleeps_beside_a_job_deeper() {
    model("asleep_beside_a_job", DEEP3, asleep_beside_a_job);
}

#[test]
fn nobody_sleeps_beside_a_job_twin() {
    hangs("asleep_beside_a_job", Bend::SilentPush, B2, asleep_beside_a_job);
}

/// (M23) Somebody counts while a job goes in and out: more free slots than there are, or a job in no phase and in no free slot at rest.
fn counted_in_motion() {
    let world = World::new(&config(2));
    let publisher = world.publisher();
    let mut claimer = world.claimer();
    let producing = thread::spawn({
        let world = world.clone();
        move || {
            world.publish(&publisher, 0).unwrap();
        }
    });
    let counting = thread::spawn({
        let world = world.clone();
        move || {
            let gauges = world.queue.gauges();
            let occupied = gauges.phases.ready + gauges.phases.running + gauges.phases.delayed + gauges.phases.zombies;
            assert!(gauges.free <= gauges.capacity && occupied <= 1, "{gauges:?}");
            assert!(world.queue.occupied() <= gauges.capacity);
            let counts = world.queue.totals().counts;
            assert!(counts.acked <= 1 && counts.started <= 1, "{counts:?}");
        }
    });
    world.work(&mut claimer);
    producing.join().unwrap();
    counting.join().unwrap();
    world.run_dry(&mut claimer);
    world.close_the_books(claimer);
}

#[test]
fn gauges_never_underflow() {
    model("counted_in_motion", B2, counted_in_motion);
}

#[test]
fn gauges_never_underflow_twin() {
    twin("counted_in_motion", Bend::KeepCredit, B2, counted_in_motion);
}

/// (M24) A handler publishes into its own full queue, under each policy that does not wait, while a colleague puts a job back: it waits for itself.
fn published_by_its_own_handler() {
    for overflow in [Overflow::Reject, Overflow::DropOldest] {
        let world = World::new(&config(2).overflow(overflow));
        let publisher = world.publisher();
        let (mut claimer, mut colleague) = (world.claimer(), world.claimer());
        world.publish(&publisher, 0).unwrap();
        world.publish(&publisher, 1).unwrap();
        let lease = claimer.next(world.now()).unwrap();
        let other = colleague.next(world.now()).unwrap();
        let putting_back = thread::spawn({
            let world = world.clone();
            move || {
                assert!(world.settle(&mut colleague, other, retry_now()));
            }
        });
        match world.publish(&publisher, 2) {
            Err(Refusal::Full { .. }) => {}
            Ok(_) => assert!(matches!(overflow, Overflow::DropOldest), "a full queue took a job"),
            Err(other) => panic!("{other:?}"),
        }
        world.ack(&mut claimer, lease);
        putting_back.join().unwrap();
        world.run_dry(&mut claimer);
        world.close_the_books(claimer);
    }
}

#[test]
fn a_handler_is_refused_by_its_own_full_queue() {
    model("published_by_its_own_handler", B2, published_by_its_own_handler);
}

/// (M24) The handler of one job of two publishes, with all the patience there is. As the runtime has it, it is refused; where nobody knows that it is a handler, it
/// waits for a slot that it keeps occupied itself.
fn published_with_patience_by_its_own_handler<const KNOWN: bool>() {
    let world = World::new(&config(1));
    let publisher = world.publisher();
    let mut claimer = world.claimer();
    world.publish(&publisher, 0).unwrap();
    let handling = thread::spawn({
        let world = world.clone();
        move || {
            let lease = claimer.next(world.now()).unwrap();
            let published = world.queue.publish_within(&publisher, world.job(1), When::Now, &*world.clock, Duration::MAX, || KNOWN);
            assert!(matches!(published.unwrap_err().refusal(), Refusal::WouldDeadlock));
            world.ack(&mut claimer, lease);
            claimer
        }
    });
    world.turn(TICK);
    let claimer = handling.join().unwrap();
    world.close_the_books(claimer);
}

#[test]
fn a_handler_never_waits_for_its_own_queue() {
    model("published_with_patience_by_its_own_handler", B3, published_with_patience_by_its_own_handler::<true>);
}

#[test]
fn a_handler_never_waits_for_its_own_queue_twin() {
    hangs_unbent("published_with_patience_by_its_own_handler, unknown", B3, published_with_patience_by_its_own_handler::<false>);
}

/// A publisher waits for the only slot, its holder acks: the credit passes the waiter by.
fn waiting_for_the_only_slot() {
    let world = World::new(&config(1));
    let (first, second) = (world.publisher(), world.publisher());
    let mut claimer = world.claimer();
    world.publish(&first, 0).unwrap();
    let lease = claimer.next(world.now()).unwrap();
    let waiting = thread::spawn({
        let world = world.clone();
        move || {
            let published = world.queue.publish_within(&second, world.job(1), When::Now, &*world.clock, Duration::MAX, || false);
            assert!(published.is_ok(), "nobody closed the queue");
        }
    });
    world.ack(&mut claimer, lease);
    waiting.join().unwrap();
    assert!(world.work(&mut claimer).is_some());
    world.close_the_books(claimer);
}

#[test]
fn a_settlement_serves_the_waiting_publisher() {
    model("waiting_for_the_only_slot", B3, waiting_for_the_only_slot);
}

#[test]
fn a_settlement_serves_the_waiting_publisher_twin() {
    hangs("waiting_for_the_only_slot", Bend::KeepCredit, B3, waiting_for_the_only_slot);
}

/// The queue closes while a publisher goes to wait, and while the slot it waits for becomes free: it sleeps on, or takes the credit along.
fn closed_while_waiting() {
    let world = World::new(&config(1));
    let (first, second) = (world.publisher(), world.publisher());
    let mut claimer = world.claimer();
    world.publish(&first, 0).unwrap();
    let lease = claimer.next(world.now()).unwrap();
    let waiting = thread::spawn({
        let world = world.clone();
        move || {
            let published = world.queue.publish_within(&second, world.job(1), When::Now, &*world.clock, Duration::MAX, || false);
            published.is_ok()
        }
    });
    let closing = thread::spawn({
        let world = world.clone();
        move || world.queue.close()
    });
    closing.join().unwrap();
    // had it waited for the ack, the close would not be needed
    let published = waiting.join().unwrap();
    assert!(!published, "there was no slot");
    world.ack(&mut claimer, lease);
    world.close_the_books(claimer);
}

#[test]
fn a_close_lets_waiting_publishers_go() {
    model("closed_while_waiting", B3, closed_while_waiting);
}

#[test]
fn a_close_lets_waiting_publishers_go_twin() {
    hangs("closed_while_waiting", Bend::CloseUntold, B3, closed_while_waiting);
}
