//! Follow-ups on their way from slot to slot, and those who look at the slots one by one to learn whether anything is left.

use super::world::{B3, World, config, model, twin};
use crate::support::Bound;
use ringmill::LaneConfig;
use ringmill::queue::{Bend, When};
use ringmill::sync::thread;

/// A worker ends its job, which has a follow-up, as the last one there is, and `finds_nothing` looks meanwhile. Bad: it sees the slot between the two; or the follow-up's while that is
/// empty yet, and the other one when it has been left.
fn chained(world: &World, finds_nothing: impl FnOnce(&World) -> bool) {
    let (publisher, mut worker) = (world.publisher(), world.claimer());
    world.publish_to(&publisher, 0, 1, When::Now).unwrap();
    let lease = worker.next(world.now()).unwrap();
    world.queue.close();
    let working = thread::spawn({
        let world = world.clone();
        move || {
            world.chain(&mut worker, lease, 1, 0);
            worker
        }
    });
    assert!(!finds_nothing(world), "a job runs, or its follow-up waits");
    let mut worker = working.join().unwrap();
    world.run_dry(&mut worker);
    assert!(world.is_acked(1), "the follow-up was lost");
    assert!(is_drained(world) && is_over(world), "nothing is left");
    world.close_the_books(worker);
}

/// What a drain asks.
fn is_drained(world: &World) -> bool {
    world.queue.is_drained(world.now())
}

/// What consumers ask.
fn is_over(world: &World) -> bool {
    world.queue.is_over()
}

/// One slot for both.
fn staying() -> World {
    World::new(&config(1).lanes(["other", "own"].map(LaneConfig::new)))
}

/// The follow-up may not stay in the second slot, and goes to the first: past whoever looks at one after the other.
fn moving() -> World {
    World::new(&config(2).lanes([LaneConfig::new("other"), LaneConfig::new("own").reserve(1)]))
}

fn drained_as_it_stays() {
    chained(&staying(), is_drained);
}

fn drained_as_it_moves() {
    chained(&moving(), is_drained);
}

fn over_as_it_moves() {
    chained(&moving(), is_over);
}

#[test]
fn a_drain_sees_a_follow_up_on_its_way() {
    model("drained_as_it_stays", Bound::ALL, drained_as_it_stays);
}

#[test]
fn a_drain_sees_a_follow_up_on_its_way_twin_uncounted() {
    twin("drained_as_it_stays", Bend::ChainUncounted, Bound::ALL, drained_as_it_stays);
}

#[test]
fn a_drain_sees_a_follow_up_change_its_slot() {
    model("drained_as_it_moves", B3, drained_as_it_moves);
}

#[test]
fn a_drain_sees_a_follow_up_change_its_slot_twin_uncounted() {
    twin("drained_as_it_moves", Bend::ChainUncounted, B3, drained_as_it_moves);
}

#[test]
fn a_drain_sees_a_follow_up_change_its_slot_twin_arrived_early() {
    twin("drained_as_it_moves", Bend::ChainArrivesEarly, B3, drained_as_it_moves);
}

#[test]
fn a_drain_sees_a_follow_up_change_its_slot_twin_counted_once() {
    twin("drained_as_it_moves", Bend::ChainsCountedOnce, B3, drained_as_it_moves);
}

#[test]
fn consumers_of_a_closed_queue_see_a_follow_up_on_its_way() {
    model("over_as_it_moves", B3, over_as_it_moves);
}

#[test]
fn consumers_of_a_closed_queue_see_a_follow_up_on_its_way_twin() {
    twin("over_as_it_moves", Bend::ChainArrivesEarly, B3, over_as_it_moves);
}
