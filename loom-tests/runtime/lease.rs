//! Who has a job, and who has lost it.

use super::world::{B2, B3, TICK, VISIBILITY, World, config, model, twin};
use ringmill::queue::{Bend, Claimer, Lease, Plan, When};
use ringmill::slab::Fate;
use ringmill::sync::thread;
use ringmill::{JobError, JobId};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::world::Probe;

/// Job 0 is with `claimer`, and the timer has seen it there.
fn delivered(world: &World, claimer: &mut Claimer<Probe>) -> Lease {
    let mut publisher = world.publisher();
    world.publish(&publisher, 0).unwrap();
    world.queue.close_publisher(&mut publisher);
    let lease = claimer.next(world.now()).expect("a job was published");
    world.turn(TICK);
    lease
}

/// (M9) The holder acks, the timer takes the lease away, a colleague has the job already: two acks, or none.
fn acked_as_it_expires() {
    let world = World::new(&config(1));
    let (mut holder, mut colleague) = (world.claimer(), world.claimer());
    let lease = delivered(&world, &mut holder);
    let holding = thread::spawn({
        let world = world.clone();
        move || world.ack(&mut holder, lease).1
    });
    let timing = thread::spawn({
        let world = world.clone();
        move || world.turn(VISIBILITY)
    });
    let second = world.work(&mut colleague);
    let first = holding.join().unwrap();
    timing.join().unwrap();
    let second = second.or_else(|| world.work(&mut colleague));
    assert_eq!(second.is_some(), !first, "one of the two deliveries is current");
    assert!(second.is_none_or(|(_, current)| current));
    world.close_the_books(colleague);
}

#[test]
fn one_of_two_deliveries_is_current() {
    model("acked_as_it_expires", B2, acked_as_it_expires);
}

#[test]
fn one_of_two_deliveries_is_current_twin_any_epoch() {
    twin("acked_as_it_expires", Bend::SettleRereads, B2, acked_as_it_expires);
}

#[test]
fn one_of_two_deliveries_is_current_twin_no_readers() {
    twin("acked_as_it_expires", Bend::EndUnderReaders, B2, acked_as_it_expires);
}

/// (M10) A stuck holder still reads while its job is run elsewhere and its slot is wanted for another: it sees the other payload, or the slot is never free again.
fn slot_wanted_under_a_stale_reader() {
    let world = World::new(&config(1));
    let (mut stuck, mut colleague) = (world.claimer(), world.claimer());
    let lease = delivered(&world, &mut stuck);
    let publisher = world.publisher();
    world.turn(VISIBILITY);
    let holding = thread::spawn({
        let world = world.clone();
        move || {
            assert_eq!(world.read(&lease), 0, "somebody else's payload");
            assert_eq!(world.ack(&mut stuck, lease), (0, false), "its lease had run out");
        }
    });
    let producing = thread::spawn({
        let world = world.clone();
        move || world.publish(&publisher, 1).is_ok()
    });
    assert_eq!(world.work(&mut colleague), Some((0, true)));
    holding.join().unwrap();
    let published = producing.join().unwrap();
    world.run_dry(&mut colleague);
    assert_eq!(world.is_acked(1), published);
    world.close_the_books(colleague);
}

#[test]
fn a_stale_reader_keeps_its_payload() {
    model("slot_wanted_under_a_stale_reader", B2, slot_wanted_under_a_stale_reader);
}

#[test]
fn a_stale_reader_keeps_its_payload_twin() {
    twin("slot_wanted_under_a_stale_reader", Bend::EndUnderReaders, B2, slot_wanted_under_a_stale_reader);
}

/// (M17) A handler panics as its lease runs out: the job comes back twice, or its slot never does.
fn panicked_as_it_expires() {
    let world = World::new(&config(1));
    let (mut holder, mut colleague) = (world.claimer(), world.claimer());
    let lease = delivered(&world, &mut holder);
    let holding = thread::spawn({
        let world = world.clone();
        move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                world.read(&lease);
                std::panic::resume_unwind(Box::new("the handler panics"));
            }));
            assert!(outcome.is_err());
            let plan = Plan::Retry(JobError::transient("panicked"), Duration::ZERO);
            world.settle(&mut holder, lease, plan)
        }
    });
    let timing = thread::spawn({
        let world = world.clone();
        move || world.turn(VISIBILITY)
    });
    world.work(&mut colleague);
    let current = holding.join().unwrap();
    timing.join().unwrap();
    world.run_dry(&mut colleague);
    assert!(world.is_acked(0), "the job was lost");
    let counts = world.queue.totals().counts;
    assert_eq!((counts.retried, counts.expired_leases), if current { (1, 0) } else { (0, 1) }, "it came back twice");
    world.close_the_books(colleague);
}

#[test]
fn a_panicking_handler_gives_back_once() {
    model("panicked_as_it_expires", B2, panicked_as_it_expires);
}

#[test]
fn a_panicking_handler_gives_back_once_twin() {
    twin("panicked_as_it_expires", Bend::SettleRereads, B2, panicked_as_it_expires);
}

/// One claimed job: its claimer starts it, an idle colleague steals it, the timer takes it back to its lane. Two of them run it, or it lies in two places.
fn claimed_stolen_taken_back() {
    let world = World::new(&config(1));
    let publisher = world.publisher();
    let (mut claimer, mut thief) = (world.claimer(), world.claimer());
    world.publish(&publisher, 0).unwrap();
    assert!(claimer.look());
    world.turn(TICK);
    let claiming = thread::spawn({
        let world = world.clone();
        move || {
            world.work(&mut claimer);
        }
    });
    let timing = thread::spawn({
        let world = world.clone();
        // twice the patience
        move || world.turn(VISIBILITY)
    });
    if thief.steal() {
        world.work(&mut thief);
    }
    claiming.join().unwrap();
    timing.join().unwrap();
    // had it been run, a look would find nothing: the last look, in the books
    if !world.is_acked(0) {
        world.run_dry(&mut thief);
    }
    assert!(world.is_acked(0), "nobody ran it");
    world.close_the_books(thief);
}

#[test]
fn a_claimed_job_has_one_taker() {
    model("claimed_stolen_taken_back", B2, claimed_stolen_taken_back);
}

#[test]
fn a_claimed_job_has_one_taker_twin() {
    twin("claimed_stolen_taken_back", Bend::TakeBackUnmarked, B2, claimed_stolen_taken_back);
}

/// Two jobs as one chain, claimed together; the second is stolen while the first runs.
fn stolen_behind_a_running_job() {
    let world = World::new(&config(2).prefetch(2));
    let publisher = world.publisher();
    let (mut claimer, mut thief) = (world.claimer(), world.claimer());
    world.publish(&publisher, 0).unwrap();
    world.publish(&publisher, 1).unwrap();
    let lease = claimer.next(world.now()).unwrap();
    assert!(claimer.has_claims());
    let stealing = thread::spawn({
        let world = world.clone();
        move || {
            if thief.steal() {
                world.work(&mut thief);
            }
            thief
        }
    });
    world.ack(&mut claimer, lease);
    world.work(&mut claimer);
    let mut thief = stealing.join().unwrap();
    world.run_dry(&mut thief);
    drop(claimer);
    world.run_dry(&mut thief);
    assert!(world.is_acked(0) && world.is_acked(1));
    world.close_the_books(thief);
}

#[test]
fn a_stolen_job_runs_once() {
    model("stolen_behind_a_running_job", B3, stolen_behind_a_running_job);
}

/// (M21) A delayed job is cancelled as it falls due: it is run after a cancel that said it would not be, it fires twice, or it stays with the timer.
fn cancelled_as_it_falls_due<const DUE: bool>() {
    let world = World::new(&config(1));
    let publisher = world.publisher();
    let mut claimer = world.claimer();
    let job: JobId = world.publish_to(&publisher, 0, 0, When::At(world.now() + 5 * TICK)).unwrap();
    let cancelling = thread::spawn({
        let world = world.clone();
        move || world.queue.cancel(job)
    });
    let timing = thread::spawn({
        let world = world.clone();
        move || world.turn(if DUE { 5 * TICK } else { TICK })
    });
    let early = world.work(&mut claimer);
    let cancelled = cancelling.join().unwrap();
    timing.join().unwrap();
    // no time passes
    world.turn(Duration::ZERO);
    let late = world.work(&mut claimer);
    let runs = usize::from(early.is_some()) + usize::from(late.is_some());
    let counts = world.queue.totals().counts;
    assert_eq!(runs as u64 + counts.dropped_cancelled, 1, "run {runs} times, {counts:?}");
    assert!(cancelled || runs == 1, "neither cancelled nor run");
    if !DUE {
        assert!(cancelled && runs == 0, "it was not due");
    }
    world.close_the_books(claimer);
}

#[test]
fn a_delayed_job_is_fired_or_cancelled() {
    model("cancelled_as_it_falls_due", B2, cancelled_as_it_falls_due::<true>);
}

#[test]
fn a_cancelled_delay_leaves_the_timer() {
    model("cancelled_before_it_falls_due", B2, cancelled_as_it_falls_due::<false>);
}

#[test]
fn a_cancelled_delay_leaves_the_timer_twin() {
    twin("cancelled_before_it_falls_due", Bend::CancelUntold, B2, cancelled_as_it_falls_due::<false>);
}

/// The timer ends a job where it waits, at the head of its lane, as a worker takes it: it runs after its time, dies twice, or its slot is lost.
fn expired_as_it_is_claimed() {
    let world = World::new(&config(2));
    let publisher = world.publisher();
    let mut claimer = world.claimer();
    world.publish_for(&publisher, 0, 5 * TICK).unwrap();
    world.publish(&publisher, 1).unwrap();
    // it is watched from here on
    world.turn(TICK);
    let working = thread::spawn({
        let world = world.clone();
        let mut claimer = world.claimer();
        move || {
            world.work(&mut claimer);
            claimer.run_left();
        }
    });
    world.turn(5 * TICK);
    working.join().unwrap();
    world.turn(Duration::ZERO);
    world.run_dry(&mut claimer);
    claimer.run_left();
    let counts = world.queue.totals().counts;
    assert_eq!((counts.acked + counts.dead_expired, counts.dead_expired), (2, u64::from(!world.is_acked(0))), "{counts:?}");
    assert_eq!((world.is_acked(1), counts.taken_back), (true, 0), "an index was where its job was not");
    world.close_the_books(claimer);
}

#[test]
fn an_expired_job_is_ended_once_where_it_waits() {
    model("expired_as_it_is_claimed", B2, expired_as_it_is_claimed);
}

#[test]
fn an_expired_job_is_ended_once_where_it_waits_twin() {
    twin("expired_as_it_is_claimed", Bend::EndsInPlace, B2, expired_as_it_is_claimed);
}

/// A holder puts its job off for a while as somebody cancels it and the timer turns: the poke overtakes the handover, and the job is in two places or in none.
fn cancelled_as_it_is_put_off() {
    let world = World::new(&config(1));
    let mut holder = world.claimer();
    let lease = delivered(&world, &mut holder);
    let job = lease.job_id();
    let cancelling = thread::spawn({
        let world = world.clone();
        move || world.queue.cancel(job)
    });
    let timing = thread::spawn({
        let world = world.clone();
        move || world.turn(TICK)
    });
    world.settle(&mut holder, lease, Plan::Snooze(100 * TICK));
    assert!(cancelling.join().unwrap(), "the job was there all the time");
    timing.join().unwrap();
    world.turn(Duration::ZERO);
    assert!(world.work(&mut holder).is_none(), "a cancelled job was run");
    world.close_the_books(holder);
}

#[test]
fn a_cancel_meets_a_snooze() {
    model("cancelled_as_it_is_put_off", B2, cancelled_as_it_is_put_off);
}

#[test]
fn a_cancel_meets_a_snooze_twin() {
    twin("cancelled_as_it_is_put_off", Bend::CancelUntold, B2, cancelled_as_it_is_put_off);
}

/// A job whose last lease runs out is buried under its holder, who leaves: no letter, or two.
fn buried_under_its_holder() {
    let world = World::new(&config(1).retry(ringmill::RetryPolicy::new().max_expiries(0)));
    let (mut holder, mut colleague) = (world.claimer(), world.claimer());
    let lease = delivered(&world, &mut holder);
    let holding = thread::spawn({
        let world = world.clone();
        move || {
            world.read(&lease);
            world.settle(&mut holder, lease, Plan::End(Fate::Discarded, None))
        }
    });
    let timing = thread::spawn({
        let world = world.clone();
        move || world.turn(VISIBILITY)
    });
    assert!(world.work(&mut colleague).is_none(), "it never comes back");
    let current = holding.join().unwrap();
    timing.join().unwrap();
    let counts = world.queue.totals().counts;
    assert_eq!((counts.dropped_discarded, counts.dead_lettered), if current { (1, 0) } else { (0, 1) });
    world.close_the_books(colleague);
}

#[test]
fn a_buried_job_is_one_letter() {
    model("buried_under_its_holder", B2, buried_under_its_holder);
}

#[test]
fn a_buried_job_is_one_letter_twin() {
    twin("buried_under_its_holder", Bend::KeepCredit, B2, buried_under_its_holder);
}
