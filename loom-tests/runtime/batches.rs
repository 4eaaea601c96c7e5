//! Jobs with keys go in as a chain, each of which claims its key with its slot in hand and is in its lane later: meanwhile others are told that they are its duplicates.

use super::world::{B2, World, config, jobs_of, model, twin};
use ringmill::queue::{Bend, Publisher, When};
use ringmill::sync::thread;
use ringmill::{Dedupe, Refusal};

fn world() -> World {
    World::new(&config(3).dedupe(Dedupe::WhileLive, 4))
}

/// Jobs 0 and 1, with keys of their own. How many were taken in, and why no more.
fn publish_both(world: &World, publisher: &Publisher) -> (usize, Option<Refusal>) {
    let mut jobs = [0, 1].map(|number| world.job(number).key([number as u8])).into_iter();
    let (accepted, refused) = world.queue.publish_batch(publisher, &mut jobs, &*world.clock, false, 0, |job, when| {
        world.queue.try_publish(publisher, job, when, world.now())
    });
    assert_eq!(accepted + jobs.len() + usize::from(refused.is_some()), 2);
    (accepted, refused.map(|error| error.refusal().clone()))
}

/// The key of the batch's second job is somebody else's as well.
fn one_key_twice() {
    let world = world();
    let (publisher, mut claimer) = (world.publisher(), world.claimer());
    let batch = thread::spawn({
        let (world, publisher) = (world.clone(), world.publisher());
        move || publish_both(&world, &publisher)
    });
    let alone = world.publish_job(&publisher, 2, world.job(2).key([1]), When::Now);
    match (batch.join().unwrap(), alone) {
        ((2, None), Err(Refusal::Duplicate { .. })) => {}
        ((1, Some(Refusal::Duplicate { existing })), Ok(id)) => assert_eq!(existing, id),
        other => panic!("{other:?}"),
    }
    world.run_dry(&mut claimer);
    assert!(world.is_acked(0) && world.is_acked(1) != world.is_acked(2));
    assert_eq!(world.queue.gauges().keys, 0, "a key is nobody's");
    world.close_the_books(claimer);
}

#[test]
fn of_a_batch_and_a_publish_one_has_the_key() {
    model("one_key_twice", B2, one_key_twice);
}

#[test]
fn of_a_batch_and_a_publish_one_has_the_key_twin() {
    twin("one_key_twice", Bend::BatchClaimsNothing, B2, one_key_twice);
}

/// The batch meets the stop: what was taken in comes out, and no key stays behind.
fn into_the_hand_back() {
    let world = world();
    let claimer = world.claimer();
    let batch = thread::spawn({
        let (world, publisher) = (world.clone(), world.publisher());
        move || publish_both(&world, &publisher).0
    });
    world.queue.close();
    world.queue.stop();
    let mut undone = world.queue.hand_back();
    let accepted = batch.join().unwrap();
    undone.extend(world.queue.hand_back());
    assert_eq!(jobs_of(&undone).len(), accepted, "what was taken in is not what comes out");
    assert_eq!(world.queue.gauges().keys, 0, "a key is nobody's");
    drop(undone);
    world.close_the_books(claimer);
}

#[test]
fn keys_of_a_late_batch_are_free() {
    model("named_batch_into_the_hand_back", B2, into_the_hand_back);
}
