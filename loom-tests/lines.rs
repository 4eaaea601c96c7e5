//! Waiting for a credit in two lines at once, and tasks that wait.
//!
//! Pool A has the index 0, pool B the index 1. As in `credit`, a waiting thread spins on its own patience, and complains when everybody else is done.

#![allow(clippy::disallowed_methods, reason = "outside of loom the models start real threads")]

use crate::support::{Bound, check, must_die, must_fail, waker_of};
use ringmill::chain::LinkArray;
use ringmill::credit::rules::Rules;
use ringmill::credit::{AccountId, CreditPool, Place, WaitError, Waiting};
use ringmill::sync::atomic::{AtomicU32, Ordering::AcqRel, Ordering::Acquire};
use ringmill::sync::{Arc, Parker, thread};
use std::task::Poll;
use std::time::Duration;

macro_rules! rules {
    ($($name:ident { $($switch:ident = $value:expr),* })*) => {
        $(#[derive(Debug)] struct $name;
        impl Rules for $name { $(const $switch: bool = $value;)* })*
    };
}

rules! {
    AsWritten {}
    NoDepositFence { DEPOSIT_FENCE = false }
    NoWaitFence { WAIT_FENCE = false }
    StaysInLine { LEAVES_ALL = false }
    Unnumbered { NUMBERED = false }
    CancelLeaks { PASSES_ON = false }
    LooksFirst { REGISTERS_FIRST = false }
}

const A: usize = 0;
const B: usize = 1;

struct World<R: Rules> {
    pools: [CreditPool<R>; 2],
    links: LinkArray,
    /// How many of the other threads are done.
    done: AtomicU32,
}

/// An account in each pool.
type Ids = [AccountId; 2];

impl<R: Rules> World<R> {
    fn new() -> Arc<Self> {
        let links = LinkArray::new(2);
        let pools = [CreditPool::with_rules(0..1, &links, 1), CreditPool::with_rules(1..2, &links, 1)];
        Arc::new(World { pools, links, done: AtomicU32::new(0) })
    }

    fn open(&self) -> Ids {
        [0, 1].map(|pool: usize| self.pools[pool].open_account().expect("there are enough accounts"))
    }

    fn places<'a>(&'a self, ids: &'a Ids) -> [Place<'a, R>; 2] {
        [(&self.pools[A], &ids[A]), (&self.pools[B], &ids[B])]
    }

    fn take(&self, ids: &Ids, pool: usize) -> u32 {
        self.pools[pool].acquire(&self.links, &ids[pool]).expect("it is free")
    }

    fn release(&self, ids: &Ids, pool: usize) {
        self.pools[pool].release(&self.links, &ids[pool], pool as u32);
        self.done.fetch_add(1, AcqRel);
    }

    /// Waits in both lines, and complains when `others` are done and there is still no credit.
    fn wait(&self, waiting: &Waiting, ids: &Ids, others: u32) -> usize {
        let mut seen_done = false;
        let patience = || {
            assert!(!seen_done, "asleep beside free credits");
            seen_done = self.done.load(Acquire) == others;
            Some(Duration::ZERO)
        };
        waiting.wait(&self.links, &self.places(ids), patience, || false).expect("neither late nor closed") as usize
    }

    /// At rest: nobody waits, and these are free.
    fn settle(&self, free: [u32; 2]) {
        assert_eq!([A, B].map(|pool| (self.pools[pool].free(), self.pools[pool].waiting())), free.map(|free| (free, 0)));
    }
}

/// Bad: the waiter is found in the first line, but a deposit of the second pool misses it.
fn deposit_in_the_second_line<R: Rules>() {
    let world = World::<R>::new();
    let (holder, waiter) = (world.open(), world.open());
    world.take(&holder, A);
    world.take(&holder, B);
    let waits = {
        let world = Arc::clone(&world);
        thread::spawn(move || assert_eq!(world.wait(&Waiting::new(), &waiter, 1), B))
    };
    world.release(&holder, B);
    waits.join().unwrap();
    world.settle([0, 0]);
}

#[test]
fn a_deposit_in_either_pool_reaches_a_waiter() {
    check("lines: deposit / wait in two", Bound::ALL, deposit_in_the_second_line::<AsWritten>);
}

#[test]
fn twin_a_deposit_in_the_second_pool_needs_its_fence() {
    must_fail("lines: deposit / wait in two, no deposit fence", Bound::ALL, deposit_in_the_second_line::<NoDepositFence>);
}

#[test]
fn twin_a_wait_in_two_lines_needs_its_fence() {
    must_fail("lines: deposit / wait in two, no wait fence", Bound::ALL, deposit_in_the_second_line::<NoWaitFence>);
}

/// Bad: both pools serve the waiter, and one credit is lost; or it is served by one and stays in the line of the other.
fn two_deposits_one_waiter<R: Rules>() {
    let world = World::<R>::new();
    let (holder, other, waiter) = (world.open(), world.open(), world.open());
    world.take(&holder, A);
    world.take(&other, B);
    let waits = {
        let world = Arc::clone(&world);
        thread::spawn(move || world.wait(&Waiting::new(), &waiter, 2))
    };
    let releases = {
        let world = Arc::clone(&world);
        thread::spawn(move || world.release(&other, B))
    };
    world.release(&holder, A);
    let got = waits.join().unwrap();
    releases.join().unwrap();
    let mut free = [1, 1];
    free[got] = 0;
    world.settle(free);
}

#[test]
fn a_waiter_in_two_lines_is_served_once() {
    check("lines: two deposits / wait in two", Bound::preemptions(2), two_deposits_one_waiter::<AsWritten>);
}

#[test]
fn twin_a_waiter_that_stays_in_the_other_line_is_caught() {
    must_fail("lines: two deposits, stays in line", Bound::preemptions(2), two_deposits_one_waiter::<StaysInLine>);
}

/// Bad: a granter of B takes the waiter from the line and sleeps; A serves it; the waiter comes again, for A alone, and is handed the credit of B.
fn a_turn_of_an_old_wait<R: Rules>() {
    let world = World::<R>::new();
    let (holder, other, waiter) = (world.open(), world.open(), world.open());
    world.take(&holder, A);
    world.take(&other, B);
    let waits = {
        let world = Arc::clone(&world);
        thread::spawn(move || {
            let waiting = Waiting::new();
            let first = world.wait(&waiting, &waiter, 2);
            let place: [Place<'_, R>; 1] = [(&world.pools[A], &waiter[A])];
            match waiting.wait(&world.links, &place, || None, || false) {
                Ok(second) => assert_eq!((first, second), (B, 0), "of the wrong pool"),
                Err(error) => assert_eq!(error, WaitError::TimedOut),
            }
        })
    };
    let releases = {
        let world = Arc::clone(&world);
        thread::spawn(move || world.release(&other, B))
    };
    world.release(&holder, A);
    waits.join().unwrap();
    releases.join().unwrap();
    assert_eq!((world.pools[A].waiting(), world.pools[B].waiting()), (0, 0));
}

#[test]
fn a_turn_serves_no_later_wait() {
    check("lines: two deposits / wait in two, then in one", Bound::preemptions(2), a_turn_of_an_old_wait::<AsWritten>);
}

#[test]
fn twin_a_turn_without_its_number_does() {
    must_fail("lines: turns without numbers", Bound::preemptions(3), a_turn_of_an_old_wait::<Unnumbered>);
}

/// Bad: a task that is polled by a new executor looks, is granted the credit while it says how to wake it, and the old executor is told.
fn grant_against_registration<R: Rules>() {
    let world = World::<R>::new();
    let (holder, waiter) = (world.open(), world.open());
    world.take(&holder, A);
    let waits = {
        let world = Arc::clone(&world);
        thread::spawn(move || {
            let place: [Place<'_, R>; 1] = [(&world.pools[A], &waiter[A])];
            let waiting = Waiting::new();
            let (old, new) = (Parker::new(), Parker::new());
            let poll = |parker: &Parker| waiting.poll(&world.links, &place, &waker_of(parker), || false);
            if poll(&old).is_pending() {
                while poll(&new).is_pending() {
                    new.park();
                }
            }
        })
    };
    world.release(&holder, A);
    waits.join().unwrap();
    world.settle([0, 1]);
}

#[test]
fn a_grant_wakes_whoever_polled_last() {
    check("lines: grant / registration", Bound::preemptions(3), grant_against_registration::<AsWritten>);
}

#[test]
fn twin_a_task_that_looks_before_it_registers_sleeps_for_ever() {
    must_die("lines: grant / look before registration", "deadlock", Bound::preemptions(3), grant_against_registration::<LooksFirst>);
}

/// Bad: a task is dropped just when it is granted the credit, which goes with it.
fn a_task_is_dropped<R: Rules>() {
    let world = World::<R>::new();
    let (holder, leaver, stayer) = (world.open(), world.open(), world.open());
    world.take(&holder, A);
    let leaves = {
        let world = Arc::clone(&world);
        thread::spawn(move || {
            let place: [Place<'_, R>; 1] = [(&world.pools[A], &leaver[A])];
            let (waiting, parker) = (Waiting::new(), Parker::new());
            match waiting.poll(&world.links, &place, &waker_of(&parker), || false) {
                Poll::Pending => {
                    waiting.leave(&world.links, world.pools.iter());
                    world.done.fetch_add(1, AcqRel);
                }
                Poll::Ready(_) => world.release(&leaver, A),
            }
        })
    };
    let stays = {
        let world = Arc::clone(&world);
        thread::spawn(move || {
            let place: [Place<'_, R>; 1] = [(&world.pools[A], &stayer[A])];
            let mut seen_done = false;
            let patience = || {
                assert!(!seen_done, "the credit went with the task");
                seen_done = world.done.load(Acquire) == 2;
                Some(Duration::ZERO)
            };
            Waiting::new().wait(&world.links, &place, patience, || false).expect("neither late nor closed");
        })
    };
    world.release(&holder, A);
    leaves.join().unwrap();
    stays.join().unwrap();
    world.settle([0, 1]);
}

#[test]
fn a_dropped_task_passes_its_grant_on() {
    check("lines: release / task dropped", Bound::preemptions(2), a_task_is_dropped::<AsWritten>);
}

#[test]
fn twin_a_dropped_task_that_keeps_its_grant_is_caught() {
    must_fail("lines: task dropped, grant kept", Bound::preemptions(2), a_task_is_dropped::<CancelLeaks>);
}
