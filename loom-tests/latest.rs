//! A few words that are replaced as a whole: readers see whole values in order, and a late replacement undoes nothing.
//!
//! Every value is a number, twice. Zero is in the slots that were never filled and is never published.

#![allow(clippy::disallowed_methods, reason = "outside of loom the models start real threads")]

use crate::support::{Bound, check, must_fail};
use ringmill::sync::atomic::Ordering::{self, Relaxed};
use ringmill::sync::latest::{Latest, Rules, Standard};
use ringmill::sync::{Arc, thread};

macro_rules! mutations {
    ($($name:ident: $rule:ident $kind:ty = $value:expr;)*) => { $(
        #[derive(Debug)]
        struct $name;
        impl Rules for $name {
            const $rule: $kind = $value;
        }
    )* };
}

mutations! {
    PublishRelaxed: PUBLISH Ordering = Relaxed;
    LookRelaxed: LOOK Ordering = Relaxed;
    FillRelaxed: FILL Ordering = Relaxed;
    LoadRelaxed: LOAD Ordering = Relaxed;
    GiveUpRelaxed: GIVE_UP Ordering = Relaxed;
    TakeRelaxed: TAKE Ordering = Relaxed;
    NoSecondLook: LOOKS_AGAIN bool = false;
    NoVersion: COUNTS bool = false;
}

type Pair<R> = Latest<2, R>;

fn pair<R: Rules>() -> Arc<Pair<R>> {
    // a writer looks before it writes, and would hide the readers' looks from loom
    #[cfg(loom)]
    ringmill::sync::thorough(true);
    let pair = Arc::new(Pair::with_rules([1, 1]));
    #[cfg(loom)]
    ringmill::sync::thorough(false);
    pair
}

/// Reads, and replaces with the next number. True if it did.
fn count<R: Rules>(latest: &Pair<R>) -> bool {
    let ([number, _], seen) = latest.read();
    latest.replace(seen, [number + 1, number + 1])
}

fn read_whole<R: Rules>(latest: &Pair<R>) -> u64 {
    let ([one, other], _) = latest.read();
    assert_eq!(one, other, "torn");
    assert_ne!(one, 0, "never filled");
    one
}

// ---- one writer ----

/// Bad interleaving: the value is replaced twice, so that the reader's slot is filled again, between its two looks.
fn a_slot_is_filled_again<R: Rules + Send + Sync + 'static>() -> impl Fn() + Send + Sync + 'static {
    || {
        let latest = pair::<R>();
        let writing = Arc::clone(&latest);
        let writer = thread::spawn(move || {
            assert!(count(&writing));
            assert!(count(&writing));
        });
        let first = read_whole(&latest);
        assert!(read_whole(&latest) >= first, "an older value after a newer");
        writer.join().unwrap();
        assert_eq!(read_whole(&latest), 3);
    }
}

#[test]
fn values_are_whole_and_in_order() {
    check("latest.whole", Bound::preemptions(3), a_slot_is_filled_again::<Standard>());
}

#[test]
fn a_reader_that_does_not_look_again_is_caught() {
    must_fail("latest.whole.no_second_look", Bound::preemptions(3), a_slot_is_filled_again::<NoSecondLook>());
}

#[test]
fn a_replacement_that_publishes_no_words_is_caught() {
    must_fail("latest.whole.publish", Bound::preemptions(3), a_slot_is_filled_again::<PublishRelaxed>());
}

#[test]
fn a_first_look_that_acquires_nothing_is_caught() {
    must_fail("latest.whole.look", Bound::preemptions(3), a_slot_is_filled_again::<LookRelaxed>());
}

#[test]
fn words_that_do_not_tell_of_the_slots_past_are_caught() {
    must_fail("latest.whole.fill", Bound::preemptions(3), a_slot_is_filled_again::<FillRelaxed>());
}

#[test]
fn a_second_look_that_may_come_before_the_words_is_caught() {
    must_fail("latest.whole.load", Bound::preemptions(3), a_slot_is_filled_again::<LoadRelaxed>());
}

#[test]
fn a_version_that_stands_still_is_caught_by_a_reader() {
    must_fail("latest.whole.no_version", Bound::preemptions(3), a_slot_is_filled_again::<NoVersion>());
}

// ---- two writers ----

/// Bad interleaving: one writer gives up the slot that a reader reads, another fills it without knowing why it may, and loses its CAS; the reader does not learn
/// that another slot is current.
fn a_slot_passes_between_writers<R: Rules + Send + Sync + 'static>() -> impl Fn() + Send + Sync + 'static {
    || {
        let latest = pair::<R>();
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let latest = Arc::clone(&latest);
                thread::spawn(move || u64::from(count(&latest)))
            })
            .collect();
        read_whole(&latest);
        let wins: u64 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        assert!(wins >= 1, "somebody gets through");
        assert_eq!(read_whole(&latest), 1 + wins, "a replacement was undone");
    }
}

#[test]
fn slots_pass_between_writers() {
    check("latest.pass", Bound::preemptions(3), a_slot_passes_between_writers::<Standard>());
}

#[test]
fn a_slot_that_is_given_up_without_a_word_is_caught() {
    must_fail("latest.pass.give_up", Bound::preemptions(3), a_slot_passes_between_writers::<GiveUpRelaxed>());
}

#[test]
fn a_slot_that_is_taken_without_a_look_is_caught() {
    must_fail("latest.pass.take", Bound::preemptions(3), a_slot_passes_between_writers::<TakeRelaxed>());
}

/// Bad interleaving: a replacement is begun, the value is replaced twice and the old slot is current again, and the first replacement goes through.
fn a_late_replacement<R: Rules + Send + Sync + 'static>() -> impl Fn() + Send + Sync + 'static {
    || {
        let latest = pair::<R>();
        let late = Arc::clone(&latest);
        let writer = thread::spawn(move || u64::from(count(&late)));
        let wins = u64::from(count(&latest)) + u64::from(count(&latest)) + writer.join().unwrap();
        assert_eq!(read_whole(&latest), 1 + wins, "a replacement was undone");
    }
}

#[test]
fn a_late_replacement_undoes_nothing() {
    check("latest.late", Bound::preemptions(3), a_late_replacement::<Standard>());
}

#[test]
fn a_version_that_stands_still_is_caught_by_a_writer() {
    must_fail("latest.late.no_version", Bound::preemptions(3), a_late_replacement::<NoVersion>());
}

/// Bad interleaving: a replacement that was begun before a confirmation comes through after it.
fn a_replacement_against_a_confirmation<R: Rules + Send + Sync + 'static>() -> impl Fn() + Send + Sync + 'static {
    || {
        let latest = pair::<R>();
        let (_, seen) = latest.read();
        let replacing = Arc::clone(&latest);
        let writer = thread::spawn(move || replacing.replace(seen, [2, 2]));
        let confirmed = latest.confirm(seen);
        assert_ne!(confirmed, writer.join().unwrap(), "one of them wins");
        assert_eq!(read_whole(&latest), if confirmed { 1 } else { 2 });
    }
}

#[test]
fn what_was_confirmed_is_not_replaced_by_what_was_begun_before() {
    check("latest.confirm", Bound::preemptions(3), a_replacement_against_a_confirmation::<Standard>());
}

#[test]
fn a_confirmation_that_does_not_count_is_caught() {
    must_fail("latest.confirm.no_version", Bound::preemptions(3), a_replacement_against_a_confirmation::<NoVersion>());
}
