//! Jobs with keys go in as a chain, each of which claims its key with its slot in hand and is in its lane later: meanwhile others are told that they are its duplicates.

use super::world::{B2, World, config, model, twin};
use ringmill::queue::{Bend, When};
use ringmill::sync::thread;
use ringmill::{Dedupe, Refusal};

/// The key of the batch's second job is somebody else's as well.
fn one_key_twice() {
    let world = World::new(&config(3).dedupe(Dedupe::WhileLive, 4));
    let (publisher, mut claimer) = (world.publisher(), world.claimer());
    let batch = thread::spawn({
        let (world, publisher) = (world.clone(), world.publisher());
        move || world.publish_batch(&publisher, [0, 1].map(|number| world.job(number).key([number as u8])))
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
