//! Lines that are full.

use super::line::Lines;
use super::rules::Sound;
use super::shard::{Entry, Shard};
use super::{Denied, Table};
use crate::clock::Timestamp;
use crate::id::JobId;
use crate::key::Key;

const NOW: Timestamp = Timestamp::ZERO;

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
