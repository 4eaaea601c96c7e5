//! A job waits out a window, and a publish with its key takes its place: one of the two payloads runs, the other is dropped or comes back, once. See ADR 0018.

use super::world::{B2, B3, Probe, TICK, World, aborts, config, jobs_of, model, twin};
use ringmill::queue::{Bend, Claimer, Publisher};
use ringmill::sync::thread;
use ringmill::{Dedupe, JobId, Refusal};
use std::time::Duration;

const WINDOW: Duration = Duration::from_millis(5);

/// A queue in which job 0 waits out its window.
fn with_a_window(mode: Dedupe) -> (World, Publisher, Claimer<Probe>, JobId) {
    let world = World::new(&config(2).dedupe(mode, 4));
    let (publisher, claimer) = (world.publisher(), world.claimer());
    let job = world.publish_keyed(&publisher, 0).unwrap();
    world.turn(Duration::ZERO);
    (world, publisher, claimer, job)
}

/// Every window ends, and what is ready then is run.
fn run_out(world: &World, claimer: &mut Claimer<Probe>) {
    for _ in 0..2 {
        world.turn(2 * WINDOW);
        world.run_dry(claimer);
    }
    claimer.run_left();
}

/// The window ends, and the job runs, as its payload is replaced: the handler reads what is written, or what was dropped.
fn replaced_as_it_fires(mode: Dedupe) {
    let (world, publisher, mut claimer, _) = with_a_window(mode);
    let mut worker = world.claimer();
    let firing = thread::spawn({
        let world = world.clone();
        move || {
            world.turn(WINDOW + TICK);
            world.work(&mut worker);
        }
    });
    world.publish_keyed(&publisher, 1).expect("it takes the place of the other, or opens a window");
    firing.join().unwrap();
    run_out(&world, &mut claimer);
    let replaced = world.queue.totals().counts.replaced;
    assert!(world.is_acked(1), "the last payload did not run");
    assert_eq!(u64::from(!world.is_acked(0)), replaced, "the first one ran and was replaced, or neither");
    world.close_the_books(claimer);
}

#[test]
fn a_payload_is_replaced_before_its_window_ends_or_not_at_all() {
    model("replaced_as_it_fires, keep last", B2, || replaced_as_it_fires(Dedupe::KeepLast(WINDOW)));
    model("replaced_as_it_fires, debounce", B2, || replaced_as_it_fires(Dedupe::Debounce(WINDOW)));
}

#[test]
fn a_payload_is_replaced_before_its_window_ends_or_not_at_all_twin() {
    twin("replaced_as_it_fires", Bend::ReplaceLooksEarly, B2, || replaced_as_it_fires(Dedupe::KeepLast(WINDOW)));
}

/// The job is cancelled, and disposed of, as its payload is replaced: one is dropped twice, or the publish says Ok and nobody has the job.
fn replaced_as_it_is_cancelled() {
    let (world, publisher, mut claimer, job) = with_a_window(Dedupe::KeepLast(WINDOW));
    let mut worker = world.claimer();
    let cancelling = thread::spawn({
        let world = world.clone();
        move || {
            assert!(world.queue.cancel(job), "it waits");
            world.turn(Duration::ZERO);
            assert!(world.work(&mut worker).is_none(), "a cancelled job ran");
            worker.run_left();
        }
    });
    let published = world.publish_keyed(&publisher, 1);
    cancelling.join().unwrap();
    run_out(&world, &mut claimer);
    let counts = world.queue.totals().counts;
    match &published {
        // in the place of the cancelled one
        Ok(id) if *id == job => assert_eq!((counts.replaced, counts.acked), (1, 0)),
        // the other had gone
        Ok(_) => assert_eq!((counts.replaced, counts.acked), (0, 1)),
        Err(Refusal::Duplicate { existing }) => assert_eq!((*existing, counts.acked), (job, 0)),
        Err(other) => panic!("{other:?}"),
    }
    assert_eq!(counts.dropped_cancelled, 1);
    world.close_the_books(claimer);
}

#[test]
fn a_cancelled_job_is_replaced_or_a_duplicate_or_gone() {
    model("replaced_as_it_is_cancelled", B2, replaced_as_it_is_cancelled);
}

#[test]
fn a_cancelled_job_is_replaced_or_a_duplicate_or_gone_twin() {
    const RACE: &str = "Causality violation: Concurrent write accesses";
    aborts("replaced_as_it_is_cancelled", Bend::ReplaceLooksEarly, RACE, B2, replaced_as_it_is_cancelled);
}

/// Everything is handed back as the payload is replaced: what comes out is not what was taken in.
fn replaced_into_the_hand_back() {
    let (world, publisher, claimer, _) = with_a_window(Dedupe::Debounce(WINDOW));
    let publishing = thread::spawn({
        let world = world.clone();
        move || world.publish_keyed(&publisher, 1)
    });
    world.queue.close();
    world.queue.stop();
    let undone = world.queue.hand_back();
    match publishing.join().unwrap() {
        Ok(_) if world.queue.totals().counts.replaced == 1 => assert_eq!(jobs_of(&undone), [1], "the publish was accepted"),
        // the other had been taken out before it
        Ok(_) => assert_eq!(jobs_of(&undone), [0, 1], "the publish was accepted"),
        Err(Refusal::Closed | Refusal::Duplicate { .. }) => assert_eq!(jobs_of(&undone), [0], "the publish was refused"),
        Err(other) => panic!("{other:?}"),
    }
    drop(undone);
    world.close_the_books(claimer);
}

#[test]
fn the_last_payload_is_handed_back() {
    model("replaced_into_the_hand_back", B3, replaced_into_the_hand_back);
}

#[test]
fn the_last_payload_is_handed_back_twin() {
    twin("replaced_into_the_hand_back", Bend::NoSecondLook, B3, replaced_into_the_hand_back);
}
