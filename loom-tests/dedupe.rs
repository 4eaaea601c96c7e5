//! One key, several publishes; a publish and the end of the job that has the key; a look and the end of another job; fan-outs that want the same keys.

#![allow(clippy::disallowed_methods, reason = "outside of loom the models start real threads")]

use crate::support::{Bound, check, must_die, must_fail, twins};
use ringmill::clock::Timestamp;
use ringmill::dedupe::rules::{Rules, Sound};
use ringmill::dedupe::{Denied, Name, Place, Table};
use ringmill::id::JobId;
use ringmill::key::Key;
use ringmill::sync::{Arc, thread};
use std::time::Duration;

twins! {
    /// A claim looks first, and enters later.
    LooksThenEnters CLAIMS_AT_ONCE: bool = false;
    /// A job that ends takes the key from whoever has it.
    ForgetsAnybodys FORGETS_ITS_OWN: bool = false;
    /// A word that becomes free is taken by the first of the list.
    MovesUp STAYS_PUT: bool = false;
    /// A claim is refused when the pool has no room.
    LooksNowhere LOOKS_FOR_ROOM: bool = false;
    /// Whoever looks for room looks beside others who do.
    LooksBesideOthers LOOKS_ALONE: bool = false;
}

const NOW: Timestamp = Timestamp::ZERO;

/// Keys of the first line, and so of the first shard, with tags of their own: fixed, so that every execution is the same.
fn key_of(number: u64) -> Key {
    Key::from_halves((1, number << 56))
}

/// One of them.
fn key() -> Key {
    key_of(1)
}

fn job(number: u64) -> JobId {
    JobId::from_number(number)
}

fn table<R: Rules + 'static>(bound: usize) -> Arc<Table<R>> {
    Arc::new(Table::with_rules(bound, None))
}

/// Bad: both are accepted; or neither; or the one that is refused is told of a job that has not got the key.
fn publish_against_publish<R: Rules + 'static>() {
    let table = table::<R>(4);
    let other = {
        let table = Arc::clone(&table);
        thread::spawn(move || table.claim(key(), job(1), NOW).map(drop))
    };
    let mine = table.claim(key(), job(2), NOW).map(drop);
    match (mine, other.join().unwrap()) {
        (Ok(()), denied) => assert_eq!(denied, Err(Denied::Taken(job(2)))),
        (denied, other) => assert_eq!((denied, other), (Err(Denied::Taken(job(1))), Ok(()))),
    }
    assert_eq!(table.len(), 1);
}

/// Bad: the last holder of a job that ended long ago frees the key of the job that has it now.
fn publish_against_end<R: Rules + 'static>(by_place: bool) {
    let table = table::<R>(4);
    let place = table.claim(key(), job(1), NOW).unwrap();
    let ending = {
        let table = Arc::clone(&table);
        thread::spawn(move || {
            let name = Name { key: key(), job: job(1), place: if by_place { place } else { Place::NOWHERE } };
            table.forget_at(name);
            // a stale holder leaves
            table.forget_at(name);
        })
    };
    let claimed = table.claim(key(), job(2), NOW);
    assert!(claimed.is_ok() || claimed == Err(Denied::Taken(job(1))));
    let again = table.claim(key(), job(3), NOW);
    if claimed.is_ok() {
        assert_eq!(again, Err(Denied::Taken(job(2))), "the key was taken away from a live job");
    }
    ending.join().unwrap();
    let has_it = claimed.is_ok() || again.is_ok();
    assert_eq!((table.holder(key(), NOW).is_some(), table.len()), (has_it, usize::from(has_it)));
}

/// Bad: a look, which takes no lock, misses a key that is taken all the time, because its entry moves meanwhile.
fn look_against_end<R: Rules + 'static>() {
    let table = table::<R>(4);
    // in models a line has two words and a list
    for number in 1..4 {
        table.claim(key_of(number), job(number), NOW).unwrap();
    }
    let ending = {
        let table = Arc::clone(&table);
        thread::spawn(move || table.forget(key_of(1), job(1)))
    };
    assert_eq!(table.holder(key_of(3), NOW), Some(job(3)), "a look missed a taken key");
    ending.join().unwrap();
    assert_eq!((table.holder(key_of(1), NOW), table.len()), (None, 2));
}

/// Bad: both get one key each and neither gets through; or a copy goes into one queue only; or they wait for each other.
fn fan_out_against_fan_out(same_order: bool) {
    fn claim_both(first: &Table, second: &Table, id: JobId) -> bool {
        first.claim_with(key(), id, NOW, |denied| denied, || second.claim(key(), id, NOW).map(drop)).is_ok()
    }
    let tables = (table::<Sound>(4), table::<Sound>(4));
    let other = {
        let (first, second) = tables.clone();
        thread::spawn(move || if same_order { claim_both(&first, &second, job(1)) } else { claim_both(&second, &first, job(1)) })
    };
    let mine = claim_both(&tables.0, &tables.1, job(2));
    assert_ne!(mine, other.join().unwrap());
    assert_eq!(tables.0.holder(key(), NOW), tables.1.holder(key(), NOW));
    assert_eq!((tables.0.len(), tables.1.len()), (1, 1));
}

#[test]
fn of_two_publishes_with_one_key_one_is_accepted() {
    check("dedupe: publish / publish", Bound::ALL, publish_against_publish::<Sound>);
}

#[test]
fn twin_who_looks_before_it_enters_is_overtaken() {
    must_fail("dedupe: looks, then enters", Bound::ALL, publish_against_publish::<LooksThenEnters>);
}

#[test]
fn a_job_that_ends_frees_its_own_key_only() {
    check("dedupe: publish / end", Bound::ALL, || publish_against_end::<Sound>(false));
    check("dedupe: publish / end at a place", Bound::ALL, || publish_against_end::<Sound>(true));
}

#[test]
fn twin_a_late_end_frees_the_key_of_another() {
    must_fail("dedupe: forgets anybody's", Bound::ALL, || publish_against_end::<ForgetsAnybodys>(false));
    must_fail("dedupe: forgets anybody's at a place", Bound::ALL, || publish_against_end::<ForgetsAnybodys>(true));
}

#[test]
fn a_look_without_a_lock_misses_no_taken_key() {
    check("dedupe: look / end", Bound::ALL, look_against_end::<Sound>);
}

#[test]
fn twin_an_entry_that_moves_is_missed() {
    must_fail("dedupe: moves up", Bound::ALL, look_against_end::<MovesUp>);
}

#[test]
fn of_two_fan_outs_with_one_key_one_goes_everywhere() {
    check("dedupe: fan-out / fan-out", Bound::ALL, || fan_out_against_fan_out(true));
}

#[test]
fn twin_fan_outs_in_different_orders_wait_for_each_other() {
    must_die("dedupe: different orders", "deadlock", Bound::ALL, || fan_out_against_fan_out(false));
}

/// Bad: a key is refused because the room for it is kept by the shard of other keys, or is on its way from there.
fn claims_against_claims<R: Rules + 'static>() {
    let (one_shards, others) = (key_of, |number| Key::from_halves((u64::MAX, number)));
    let table = table::<R>(8);
    let claim = move |table: &Table<R>, key, number| table.claim(key, job(number), NOW).map(drop);
    // with the first key its shard takes room for four; the other shard takes what is left
    claim(&table, one_shards(1), 1).unwrap();
    (1..5).for_each(|number| claim(&table, others(number), number).unwrap());
    let other = {
        let table = Arc::clone(&table);
        thread::spawn(move || claim(&table, others(5), 5))
    };
    assert_eq!((claim(&table, others(6), 6), other.join().unwrap()), (Ok(()), Ok(())), "refused");
    assert_eq!((claim(&table, others(7), 7), claim(&table, others(8), 8)), (Ok(()), Err(Denied::Full)));
    assert_eq!(table.len(), 8);
    table.forget(one_shards(1), job(1));
    assert_eq!((table.len(), claim(&table, others(8), 8)), (7, Ok(())));
}

#[test]
fn room_that_a_shard_keeps_is_found() {
    check("dedupe: room", Bound::ALL, claims_against_claims::<Sound>);
}

#[test]
fn twin_who_looks_for_no_room_refuses() {
    must_fail("dedupe: looks for no room", Bound::ALL, claims_against_claims::<LooksNowhere>);
}

#[test]
fn twin_who_does_not_wait_for_another_look_refuses() {
    must_fail("dedupe: looks beside others", Bound::ALL, claims_against_claims::<LooksBesideOthers>);
}

/// Bad: two windows find room for one; or the room that a window leaves when it ends is lost.
#[test]
fn a_bound_of_one_admits_one() {
    check("dedupe: bound", Bound::ALL, || {
        let table = Arc::new(Table::new(1, Some(Duration::from_nanos(5))));
        let other = {
            let table = Arc::clone(&table);
            thread::spawn(move || table.claim(key_of(2), job(1), NOW))
        };
        let mine = table.claim(key(), job(2), NOW);
        let other = other.join().unwrap();
        assert!(mine.is_ok() != other.is_ok() && (mine == Err(Denied::Full) || other == Err(Denied::Full)));
        assert!(table.claim(key_of(3), job(3), Timestamp::from_nanos(5)).is_ok());
        assert_eq!(table.len(), 1);
    });
}
