//! Who waits for a job's end is told of it, once, and of the right one.

use super::world::{B2, B3, VISIBILITY, World, config, jobs_of, model, twin};
use ringmill::End;
use ringmill::completion::{Look as Told, Promise};
use ringmill::queue::{Bend, Plan, Watch, When};
use ringmill::slab::Fate;
use ringmill::sync::thread;
use std::sync::Arc;
use std::time::Duration;

/// What the promise was kept with; nothing: it is open still.
fn told(promise: &Promise) -> Option<End> {
    match promise.peek() {
        Told::Ended(kept) => Some(kept.end),
        Told::Open => None,
        Told::Over => panic!("nobody took it"),
    }
}

/// A job ends before its publisher goes on: its end finds no promise, and whoever waits for it waits for ever.
fn ended_at_once() {
    let world = World::new(&config(1));
    let publisher = world.publisher();
    let mut claimer = world.claimer();
    let watch = Watch::new(None);
    let promise = Arc::clone(&watch.promise);
    let publishing = thread::spawn({
        let world = world.clone();
        move || world.publish_to(&publisher, 0, 0, When::Watched(&watch)).unwrap()
    });
    world.work(&mut claimer);
    publishing.join().unwrap();
    world.run_dry(&mut claimer);
    assert_eq!(told(&promise), Some(End::Acked), "whoever waits is not told");
    world.close_the_books(claimer);
}

#[test]
fn an_end_finds_its_promise() {
    model("ended_at_once", B3, ended_at_once);
}

#[test]
fn an_end_finds_its_promise_twin() {
    twin("ended_at_once", Bend::PromiseLate, B3, ended_at_once);
}

/// A handle cancels as a worker starts and acks: it is told what the ledger says.
fn cancelled_as_it_runs() {
    let world = World::new(&config(1));
    let publisher = world.publisher();
    let mut claimer = world.claimer();
    let watch = Watch::new(None);
    let promise = Arc::clone(&watch.promise);
    let job = world.publish_to(&publisher, 0, 0, When::Watched(&watch)).unwrap();
    let slot = promise.slot().expect("it has one");
    let cancelling = thread::spawn({
        let world = world.clone();
        move || world.queue.cancel_at(slot, job)
    });
    // it may be done before it hears of the wish
    world.work(&mut claimer);
    let wished = cancelling.join().unwrap();
    world.run_dry(&mut claimer);
    claimer.run_left();
    let counts = world.queue.totals().counts;
    assert!(wished || counts.acked == 1, "nobody cancelled it, and it was not run");
    assert_eq!(told(&promise), Some(if counts.acked == 1 { End::Acked } else { End::Cancelled }), "the ledger says otherwise");
    world.close_the_books(claimer);
}

#[test]
fn a_handle_that_cancels_is_told_what_became_of_it() {
    model("cancelled_as_it_runs", B3, cancelled_as_it_runs);
}

#[test]
fn a_handle_that_cancels_is_told_what_became_of_it_twin() {
    twin("cancelled_as_it_runs", Bend::CancelTells, B3, cancelled_as_it_runs);
}

/// A stale holder settles as the current one does: the end that counts is told, not that of the late one.
fn settled_twice() {
    let world = World::new(&config(1));
    let publisher = world.publisher();
    let (mut late, mut current) = (world.claimer(), world.claimer());
    let watch = Watch::new(None);
    let promise = Arc::clone(&watch.promise);
    world.publish_to(&publisher, 0, 0, When::Watched(&watch)).unwrap();
    let lease = late.next(world.now()).unwrap();
    world.turn(Duration::ZERO);
    world.turn(VISIBILITY);
    let again = current.next(world.now()).expect("its lease ran out");
    let settling = thread::spawn({
        let world = world.clone();
        move || world.settle(&mut late, lease, Plan::End(Fate::Discarded, None))
    });
    world.ack(&mut current, again);
    assert_eq!(told(&promise), Some(End::Acked), "the end of the late one was told");
    assert!(!settling.join().unwrap(), "a stale settlement counted");
    world.close_the_books(current);
}

#[test]
fn the_end_that_counts_is_told() {
    model("told_of_the_end_that_counts", B2, settled_twice);
}

#[test]
fn the_end_that_counts_is_told_twin() {
    twin("told_of_the_end_that_counts", Bend::SettleRereads, B2, settled_twice);
}

/// A watched publish meets the stop: it has its job back, or its handle is told of the hand-back.
fn watched_into_the_hand_back() {
    let world = World::new(&config(1));
    let publisher = world.publisher();
    let claimer = world.claimer();
    let watch = Watch::new(None);
    let promise = Arc::clone(&watch.promise);
    let producing = thread::spawn({
        let world = world.clone();
        move || world.publish_to(&publisher, 0, 0, When::Watched(&watch)).is_ok()
    });
    world.queue.close();
    world.queue.stop();
    let undone = world.queue.hand_back();
    if producing.join().unwrap() {
        assert_eq!(jobs_of(&undone), [0]);
        assert_eq!(told(&promise), Some(End::HandedBack), "whoever waits is not told");
    }
    drop(undone);
    world.close_the_books(claimer);
}

#[test]
fn a_watched_job_that_meets_the_stop_is_told_of() {
    model("watched_into_the_hand_back", B3, watched_into_the_hand_back);
}

#[test]
fn a_watched_job_that_meets_the_stop_is_told_of_twin() {
    twin("watched_into_the_hand_back", Bend::NoSecondLook, B3, watched_into_the_hand_back);
}
