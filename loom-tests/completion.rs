//! The promise: a job's end reaches the handle that waits for it, or comes back to whoever ended the job.
//!
//! A lost wake-up shows as a sleep without end: loom reports the deadlock. The answer is a cell that loom watches: whoever takes it reads and writes it.

#![allow(clippy::disallowed_methods, reason = "outside of loom the models start real threads")]

use crate::support::{Bound, check, must_die, must_fail, waker_of};
use ringmill::End;
use ringmill::completion::{Kept, Look, Promise, Rules, Standard};
use ringmill::sync::{Arc, Parker, Unparker, UnsafeCell, thread};

macro_rules! mutations {
    ($($name:ident: $rule:ident;)*) => { $(
        #[derive(Debug)]
        struct $name;
        impl Rules for $name {
            const $rule: bool = false;
        }
    )* };
}

mutations! {
    LooksThenSays: ONE_HOLD;
    WakesFirst: WAKES_AFTER;
    WakesTheFirst: WAKES_THE_LATEST;
    GoesUnsaid: FORSAKES;
}

/// An answer: its owner writes to it.
struct Probe(UnsafeCell<u32>);

// SAFETY: whoever has the answer is its only owner; loom reports it if the promise gives it to two.
unsafe impl Send for Probe {}

/// The job has ended and was answered.
fn answered() -> Kept {
    Kept { answer: Some(Box::new(Probe(UnsafeCell::new(1)))), ..Kept::bare(End::Acked) }
}

/// What a handle got, or an ender had back: the answer is whole, and nobody else's.
fn own(kept: Kept) {
    assert_eq!(kept.end, End::Acked);
    let probe = kept.answer.expect("it was answered").downcast::<Probe>().expect("of this type");
    // SAFETY: the only owner, if the promise is right
    let before = probe.0.with_mut(|cell| unsafe { std::mem::replace(&mut *cell, 2) });
    assert_eq!(before, 1, "somebody had it before");
}

/// Waits as a handle does.
fn wait<R: Rules>(promise: &Promise<R>) -> Kept {
    let parker = Parker::new();
    wait_by(promise, &parker, || parker.unparker())
}

fn wait_by<R: Rules>(promise: &Promise<R>, parker: &Parker, sleeper: impl Fn() -> Unparker) -> Kept {
    loop {
        match promise.look(sleeper()) {
            Look::Ended(kept) => return kept,
            Look::Open => parker.park(),
            Look::Over => panic!("somebody else took it"),
        }
    }
}

// ---- waiting ----

/// Bad interleaving: the end is put in between the waiter's look and its word whom to wake; or the waiter is woken before the end is there, and sleeps again.
fn waited_for<R: Rules + Send + Sync + 'static>() -> impl Fn() + Send + Sync + 'static {
    || {
        let promise = Arc::new(Promise::<R>::with_rules());
        let ending = Arc::clone(&promise);
        let ender = thread::spawn(move || assert!(ending.keep(answered()).is_none(), "somebody waits"));
        own(wait(&promise));
        ender.join().unwrap();
        assert!(promise.has_ended() && matches!(promise.peek(), Look::Over));
    }
}

#[test]
fn whoever_waits_for_an_end_has_it() {
    check("completion.wait", Bound::ALL, waited_for::<Standard>());
}

#[test]
fn a_look_that_says_later_whom_to_wake_is_caught() {
    must_die("completion.wait.two_holds", "deadlock", Bound::ALL, waited_for::<LooksThenSays>());
}

#[test]
fn a_wake_up_before_the_end_is_there_is_caught() {
    must_die("completion.wait.wakes_first", "deadlock", Bound::ALL, waited_for::<WakesFirst>());
}

/// Bad interleaving: a task was polled in one executor and moved to another, and the first is woken.
fn moved_to_another_executor<R: Rules + Send + Sync + 'static>() -> impl Fn() + Send + Sync + 'static {
    || {
        let promise = Arc::new(Promise::<R>::with_rules());
        let ending = Arc::clone(&promise);
        let ender = thread::spawn(move || assert!(ending.keep(answered()).is_none()));
        let (first, second) = (Parker::new(), Parker::new());
        match promise.look(Unparker::of_task(&waker_of(&first))) {
            Look::Ended(kept) => own(kept),
            Look::Open => own(wait_by(&promise, &second, || Unparker::of_task(&waker_of(&second)))),
            Look::Over => panic!("nobody took it"),
        }
        ender.join().unwrap();
    }
}

#[test]
fn a_task_that_moved_is_woken_where_it_is() {
    check("completion.moved", Bound::ALL, moved_to_another_executor::<Standard>());
}

#[test]
fn waking_where_a_task_was_first_is_caught() {
    must_die("completion.moved.wakes_the_first", "deadlock", Bound::ALL, moved_to_another_executor::<WakesTheFirst>());
}

// ---- letting go ----

/// Bad interleaving: the handle goes as the end comes: both own the answer, or neither, and it is dropped by whoever lets go of the cell last.
fn let_go_as_it_ends<R: Rules + Send + Sync + 'static>() -> impl Fn() + Send + Sync + 'static {
    || {
        let promise = Arc::new(Promise::<R>::with_rules());
        let ending = Arc::clone(&promise);
        let ender = thread::spawn(move || ending.keep(answered()).map(own).is_some());
        // it may have slept before, and have given up
        let looked = promise.look(Parker::new().unparker());
        let had = match looked {
            Look::Ended(kept) => Some(kept),
            _ => None,
        };
        let left = promise.forsake();
        drop(promise);
        assert!(had.is_none() || left.is_none());
        let owned = had.or(left).map(own).is_some();
        assert_ne!(ender.join().unwrap(), owned, "one of them has the answer");
    }
}

#[test]
fn an_answer_is_the_handles_or_comes_back() {
    check("completion.let_go", Bound::ALL, let_go_as_it_ends::<Standard>());
}

#[test]
fn a_handle_that_goes_unsaid_is_caught() {
    must_fail("completion.let_go.unsaid", Bound::ALL, let_go_as_it_ends::<GoesUnsaid>());
}
