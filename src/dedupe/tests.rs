//! Lines that are full, and windows that end.

use super::line::{Hook, Lines};
use super::rules::Sound;
use super::shard::{Entry, Shard};
use super::{Denied, Name, Names, Place, Table};
use crate::clock::Timestamp;
use crate::id::JobId;
use crate::key::Key;
use std::time::Duration;

const NOW: Timestamp = Timestamp::ZERO;
/// When a window of ten that begins now has ended.
const LATER: Timestamp = Timestamp::from_nanos(10);

/// A key of the first line. All of them have the same tag.
fn key(number: u64) -> Key {
    Key::from_halves((1, number + 1))
}

#[test]
fn entries_that_find_no_word_are_found_and_leave_in_any_order() {
    let lines = Lines::new(40, 1);
    for leaves in 0..40 {
        let mut shard = Shard::new(40, 1);
        for number in 0..40 {
            assert_eq!(shard.find(lines.home(key(number)), key(number)), None);
            shard.enter(lines.home(key(number)), Entry::new(key(number), JobId(number), 0));
        }
        // every other one first, from somewhere in the middle
        let order =
            (0..40).map(|number| (number + leaves) % 40).filter(|number| number % 2 == 0).chain((0..40).filter(|number| number % 2 == 1));
        let mut left: Vec<u64> = (0..40).collect();
        for number in order {
            let home = lines.home(key(number));
            let at = shard.find(home, key(number)).expect("it is there");
            shard.leave::<Sound>(home, at);
            left.retain(|other| *other != number);
            for number in 0..40 {
                let found = shard.find(home, key(number)).map(|at| shard.entry(at).job.0);
                assert_eq!(found, left.contains(&number).then_some(number));
            }
            assert_eq!(home.may_have(), !left.is_empty());
        }
    }
}

#[test]
fn a_word_that_was_cleared_is_used_again() {
    let lines = Lines::new(40, 1);
    let home = lines.home(key(0));
    assert_eq!([0, 1, 2].map(|index| home.hang(index)), [0, 1, 2].map(Hook::Word));
    home.clear_word(1);
    assert_eq!([3, 4].map(|index| home.hang(index)), [1, 3].map(Hook::Word));
}

#[test]
fn one_line_may_have_every_key_of_the_table() {
    let table = Table::new(1_000, None);
    for number in 0..1_000 {
        assert_eq!(table.holder(key(number), NOW), None);
        assert!(table.claim(key(number), JobId(number), NOW).is_ok());
    }
    assert_eq!(table.claim(key(1_000), JobId(1_000), NOW), Err(Denied::Full));
    for number in 0..1_000 {
        assert_eq!(table.holder(key(number), NOW), Some(JobId(number)));
        table.forget(key(number), JobId(number));
    }
    assert!(table.is_empty());
    assert!(!table.may_have(key(0)));
}

#[test]
fn a_full_table_has_lines_with_lists_and_a_look_at_others_takes_no_lock() {
    let table = Table::new(1 << 16, None);
    let keys: Vec<Key> = (0..1u32 << 16).map(|number| Key::of(&number.to_le_bytes())).collect();
    for (key, number) in keys.iter().zip(1..) {
        assert!(table.claim(*key, JobId(number), NOW).is_ok());
    }
    for (key, number) in keys.iter().zip(1..) {
        assert_eq!(table.holder(*key, NOW), Some(JobId(number)));
    }
    // keys that are not there: one line in 58 has a list, one word in some thousands the same tag by chance
    let others = (1u32 << 16..1 << 17).filter(|number| table.may_have(Key::of(&number.to_le_bytes()))).count();
    assert!((200..3_500).contains(&others), "{others} of 65536 looks at a free key go to the lock");
    for (key, number) in keys.iter().zip(1..) {
        table.forget(*key, JobId(number));
    }
    assert!(table.is_empty());
    assert!(!keys.iter().any(|key| table.may_have(*key)));
}

/// A table whose keys are taken for a window of ten, with these taken now.
fn with_window(keys: std::ops::Range<u64>) -> Table {
    let table = Table::new(1_000, Some(Duration::from_nanos(10)));
    keys.for_each(|number| assert!(table.claim(key(number), JobId(number), NOW).is_ok()));
    table
}

#[test]
fn a_claim_clears_away_two_windows_that_have_ended_and_a_sweep_a_bounded_number() {
    let table = with_window(0..300);
    assert!(table.claim(key(300), JobId(300), LATER).is_ok());
    assert_eq!((table.len(), table.bound()), (299, 1_000));
    table.sweep(Timestamp::from_nanos(9));
    assert_eq!(table.len(), 299);
    table.sweep(LATER);
    assert_eq!(table.len(), 43);
    table.sweep(LATER);
    assert_eq!((table.len(), table.holder(key(300), LATER)), (1, Some(JobId(300))));
}

#[test]
fn a_key_that_was_forgotten_leaves_nothing_to_clear_away() {
    let table = with_window(0..4);
    for number in [1, 0, 2] {
        table.forget(key(number), JobId(number));
    }
    assert!(table.claim(key(4), JobId(4), LATER).is_ok());
    assert_eq!(table.len(), 1, "the windows of the others would have come first");
}

#[test]
fn a_window_lasts_until_its_end_and_a_claim_after_it_begins_another() {
    let table = with_window(0..1);
    let (last, next) = (Timestamp::from_nanos(9), Timestamp::from_nanos(20));
    assert_eq!((table.holder(key(0), last), table.holder(key(0), LATER)), (Some(JobId(0)), None));
    assert_eq!(table.claim(key(0), JobId(1), last), Err(Denied::Taken(JobId(0))));
    assert!(table.claim(key(0), JobId(1), LATER).is_ok());
    assert_eq!((table.holder(key(0), LATER), table.holder(key(0), next), table.len()), (Some(JobId(1)), None, 1));
}

#[test]
fn what_is_refused_last_is_not_claimed() {
    let table = with_window(0..1);
    let refused = |number, now| table.claim_with(key(number), JobId(9), now, |_| "denied", || Err("more")).unwrap_err();
    assert_eq!((refused(0, NOW), refused(1, NOW), table.len()), ("denied", "more", 1));
    assert_eq!((table.holder(key(0), NOW), table.holder(key(1), NOW)), (Some(JobId(0)), None));
    // an entry whose window has ended, and which two others keep from being cleared away
    let table = with_window(0..3);
    assert_eq!(table.claim_with(key(2), JobId(9), LATER, |_| "denied", || Err("more")), Err("more"));
    assert_eq!((table.holder(key(2), LATER), table.holder(key(2), NOW), table.len()), (None, Some(JobId(2)), 1));
    assert_eq!(table.claim_with(key(2), JobId(9), LATER, |_| "denied", || Ok(())).map(drop), Ok(()));
}

#[test]
fn a_key_leads_to_the_slot_of_the_job_that_has_it() {
    let table = with_window(0..3);
    assert_eq!((table.place(key(0)), table.place(key(9))), (None, None));
    table.keep_place(key(2), JobId(7), 5);
    assert_eq!(table.place(key(2)), None, "another job has it");
    table.keep_place(key(2), JobId(2), 5);
    assert_eq!(table.place(key(2)), Some((JobId(2), 5)));
    assert!(table.claim(key(2), JobId(9), LATER).is_ok());
    assert_eq!(table.place(key(2)), None, "that was the last one's");
}

#[test]
fn a_place_is_good_for_its_own_key_and_job_only() {
    let table = Table::new(8, None);
    let place = table.claim(key(0), JobId(0), NOW).unwrap();
    let name = Name { key: key(0), job: JobId(0), place };
    table.forget_at(Name { key: key(1), ..name });
    table.forget_at(Name { job: JobId(1), ..name });
    table.forget_at(Name { place: Place(5), ..name });
    assert_eq!(table.holder(key(0), NOW), Some(JobId(0)));
    table.forget_at(name);
    assert!(table.is_empty());
    assert!(table.claim(key(0), JobId(0), NOW).is_ok() && !table.is_empty());
    table.forget_at(Name::unclaimed(key(0), JobId(0)));
    assert!(table.is_empty());
}

#[test]
fn a_name_comes_back() {
    let names = Names::new(2);
    let name = Name { key: Key::from_halves((1, 2)), job: JobId(3), place: Place(4) };
    names.set(1, name);
    assert_eq!((names.get(1), names.get(0).key, Name::unclaimed(name.key, name.job).place), (name, Key::NONE, Place::NOWHERE));
}

#[test]
fn a_bound_of_many_keys_is_exact() {
    const BOUND: u64 = 20_000;
    let table = Table::new(BOUND as usize, None);
    let key = |number: u64| Key::of(&number.to_le_bytes());
    let claim = |number: u64| table.claim(key(number), JobId(number), NOW);
    assert_eq!((0..2 * BOUND).filter(|number| claim(*number).is_ok()).count() as u64, BOUND);
    assert_eq!((table.len() as u64, claim(2 * BOUND)), (BOUND, Err(Denied::Full)));
    // a third of them go, and their shards keep some of the room
    (0..BOUND).step_by(3).for_each(|number| table.forget(key(number), JobId(number)));
    let free = BOUND - table.len() as u64;
    assert_eq!(free, BOUND.div_ceil(3));
    assert_eq!((0..BOUND).filter(|number| claim(3 * BOUND + number).is_ok()).count() as u64, free);
    assert_eq!(table.len() as u64, BOUND);
}

#[test]
fn four_threads_fill_a_table_to_its_bound_and_empty_it() {
    const EACH: u64 = 5_000;
    let table = Table::new(4 * EACH as usize, None);
    for round in 0..4 {
        let keys = |thread: u64| (0..EACH).map(move |number| (round * 4 + thread) * EACH + number);
        let key = |number: u64| Key::of(&number.to_le_bytes());
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let table = &table;
                scope.spawn(move || {
                    keys(thread).for_each(|number| assert!(table.claim(key(number), JobId(number), NOW).is_ok(), "there is room"))
                });
            }
        });
        assert_eq!((table.len() as u64, table.claim(key(u64::MAX), JobId(0), NOW)), (4 * EACH, Err(Denied::Full)));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let table = &table;
                // each those of another
                scope.spawn(move || keys(3 - thread).for_each(|number| table.forget(key(number), JobId(number))));
            }
        });
        assert!(table.is_empty());
    }
}
