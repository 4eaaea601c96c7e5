//! The free list, the accounts and the line of waiters.
//!
//! A waiter in these models spins on its own patience instead of parking (except where the parker is the point): whoever would sleep for ever
//! then sees that everybody else is done, and says so.

#![allow(clippy::disallowed_methods, reason = "outside of loom the models start real threads")]

use crate::support::{Bound, check, must_fail};
use ringmill::chain::{Chain, LinkArray};
use ringmill::credit::rules::{Rules, Sound};
use ringmill::credit::stack::Stack;
use ringmill::credit::{AccountId, CreditPool, WaitError, Waiting};
use ringmill::sync::atomic::{AtomicU32, Ordering::AcqRel, Ordering::Acquire};
use ringmill::sync::{Arc, UnsafeCell, thread};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident { $($switch:ident = $value:expr),* })*) => {
        $($(#[$doc])* #[derive(Debug)] struct $name;
        impl Rules for $name { $(const $switch: bool = $value;)* })*
    };
}

rules! {
    /// Sound, and small pools have caches.
    Caching { KEEPS_ALL = true }
    Untagged { TAGGED = false }
    NoDepositFence { KEEPS_ALL = true, DEPOSIT_FENCE = false }
    NoWaitFence { KEEPS_ALL = true, WAIT_FENCE = false }
    NoRefillLook { KEEPS_ALL = true, REFILL_LOOKS = false }
    NoRevocation { KEEPS_ALL = true, REVOKES = false }
    NoRescan { KEEPS_ALL = true, RESCANS = false }
    CancelLeaks { KEEPS_ALL = true, PASSES_ON = false }
    NoLastLook { KEEPS_ALL = true, LAST_LOOK = false }
}

/// What a credit stands for: one user at a time. loom checks that the uses of a slot happen one after the other.
struct Slots(Vec<(AtomicBool, UnsafeCell<()>)>);

// SAFETY: the cells hold nothing and are never dereferenced; that their users exclude each other is what the models check.
unsafe impl Send for Slots {}
// SAFETY: as above.
unsafe impl Sync for Slots {}

impl Slots {
    fn new(count: u32) -> Self {
        Slots((0..count).map(|_| (AtomicBool::new(false), UnsafeCell::new(()))).collect())
    }

    fn occupy(&self, index: u32) {
        let (taken, cell) = &self.0[index as usize];
        assert!(!taken.swap(true, SeqCst), "{index} was handed out twice");
        cell.with_mut(|_| ());
    }

    fn vacate(&self, index: u32) {
        let (taken, cell) = &self.0[index as usize];
        cell.with_mut(|_| ());
        assert!(taken.swap(false, SeqCst), "{index} was given back twice");
    }
}

/// A pool in one chain, its links and its slots, and how many of the other threads are done.
struct World<R: Rules> {
    pool: CreditPool<R>,
    links: LinkArray,
    slots: Slots,
    done: AtomicU32,
    rules: PhantomData<R>,
}

impl<R: Rules> World<R> {
    fn new(credits: u32) -> Arc<Self> {
        let links = LinkArray::new(credits as usize);
        let pool = CreditPool::with_rules(0..credits, &links, credits.max(2));
        Arc::new(World { pool, links, slots: Slots::new(credits), done: AtomicU32::new(0), rules: PhantomData })
    }

    fn open(&self) -> AccountId {
        self.pool.open_account().expect("there are enough accounts")
    }

    fn acquire(&self, id: &AccountId) -> Option<u32> {
        self.pool.acquire(&self.links, id).inspect(|&index| self.slots.occupy(index))
    }

    fn release(&self, id: &AccountId, index: u32) {
        self.slots.vacate(index);
        self.pool.release(&self.links, id, index);
    }

    /// Waits, and complains when `others` are done and there is still no credit: then it would sleep for ever.
    fn wait(&self, id: &AccountId, others: u32) -> u32 {
        let mut seen_done = false;
        let patience = || {
            assert!(!seen_done, "asleep beside {} free credits", self.pool.free());
            seen_done = self.done.load(Acquire) == others;
            Some(Duration::ZERO)
        };
        let index = Waiting::new().wait(&self.links, &[(&self.pool, id)], patience, || false).expect("neither late nor closed");
        self.slots.occupy(index);
        index
    }

    fn finish(&self) {
        self.done.fetch_add(1, AcqRel);
    }

    /// At rest: `free` credits are counted, nobody waits, and one thread can take them all.
    fn settle(&self, id: &AccountId, free: u32) {
        assert_eq!((self.pool.free(), self.pool.waiting()), (free, 0));
        let taken = std::iter::from_fn(|| self.acquire(id)).count();
        assert_eq!(taken, free as usize, "not every free credit could be taken");
    }
}

// ---- the stack ----

/// M12. Bad: a popper reads the top and the one below, sleeps while both are popped and the first is pushed again, and then makes the second,
/// which is in use, the top.
fn stack_pop_pop_push_against_pop<R: Rules>() {
    let stack = Arc::new(Stack::<R>::with_rules(0..3));
    let slots = Arc::new(Slots::new(3));
    (0..3).for_each(|index| stack.push(Chain::one(index)));
    let other = {
        let (stack, slots) = (Arc::clone(&stack), Arc::clone(&slots));
        thread::spawn(move || {
            if let Some(chain) = stack.pop() {
                slots.occupy(chain.first());
            }
        })
    };
    let first = stack.pop().expect("three for three pops");
    slots.occupy(first.first());
    if let Some(second) = stack.pop() {
        slots.occupy(second.first());
    }
    slots.vacate(first.first());
    stack.push(first);
    other.join().unwrap();
    let mut left = 0;
    while let Some(chain) = stack.pop() {
        slots.occupy(chain.first());
        left += 1;
    }
    assert_eq!((left, stack.free()), (1, 0));
}

#[test]
fn a_stack_hands_no_index_out_twice() {
    check("credit: stack, pop pop push / pop", Bound::ALL, stack_pop_pop_push_against_pop::<Sound>);
}

#[test]
fn twin_a_stack_without_tags_does() {
    must_fail("credit: stack, untagged", Bound::ALL, stack_pop_pop_push_against_pop::<Untagged>);
}

/// Bad: the links inside a chain, or the slots behind it, are not visible to whoever pops it.
#[test]
fn a_popped_chain_is_whole() {
    check("credit: stack, chain of two / two poppers", Bound::ALL, || {
        let links = Arc::new(LinkArray::new(3));
        let stack = Arc::new(Stack::new(0..3));
        let slots = Arc::new(Slots::new(3));
        (0..3).for_each(|index| slots.occupy(index));
        let take = |stack: &Stack, links: &LinkArray, slots: &Slots| {
            stack.pop().map_or(0, |chain| chain.iter(links).inspect(|&index| slots.occupy(index)).count())
        };
        let other = {
            let (stack, links, slots) = (Arc::clone(&stack), Arc::clone(&links), Arc::clone(&slots));
            thread::spawn(move || take(&stack, &links, &slots))
        };
        slots.vacate(2);
        stack.push(Chain::one(2));
        let chain = Chain::link(&*links, &[1, 0]);
        (0..2).for_each(|index| slots.vacate(index));
        stack.push(chain);
        let mut taken = take(&stack, &links, &slots);
        taken += other.join().unwrap();
        taken += take(&stack, &links, &slots);
        assert_eq!(taken + take(&stack, &links, &slots), 3);
    });
}

// ---- accounts ----

/// Bad: the owner of an account takes an index that a revoker has just taken.
fn owner_takes_while_another_revokes<R: Rules>() {
    let world = World::<R>::new(2);
    let (idle, active) = (world.open(), world.open());
    // the idle account holds both
    let index = world.acquire(&idle).expect("two for one");
    world.release(&idle, index);
    let owner = {
        let world = Arc::clone(&world);
        thread::spawn(move || {
            let first = world.acquire(&idle);
            if let Some(index) = first {
                world.release(&idle, index);
            }
            idle
        })
    };
    let taken = world.acquire(&active);
    let idle = owner.join().unwrap();
    world.settle(&active, 2 - taken.iter().count() as u32);
    world.pool.close_account(&world.links, idle);
}

#[test]
fn an_idle_producer_s_account_can_be_revoked() {
    check("credit: owner / revoker", Bound::ALL, owner_takes_while_another_revokes::<Caching>);
}

#[test]
fn twin_without_revocation_capacity_is_lost() {
    must_fail("credit: owner / no revocation", Bound::ALL, owner_takes_while_another_revokes::<NoRevocation>);
}

/// Bad: a credit in the worker's account is lost to a producer, or reaches it before the worker is done with the slot.
fn worker_releases_while_a_producer_starves<R: Rules>() {
    let world = World::<R>::new(2);
    let (producer, worker) = (world.open(), world.open());
    let jobs = [world.acquire(&producer).unwrap(), world.acquire(&producer).unwrap()];
    let work = {
        let world = Arc::clone(&world);
        thread::spawn(move || {
            jobs.into_iter().for_each(|job| world.release(&worker, job));
        })
    };
    let taken = world.acquire(&producer);
    work.join().unwrap();
    world.settle(&producer, 2 - taken.iter().count() as u32);
}

#[test]
fn a_worker_s_account_can_be_revoked() {
    check("credit: worker / starving producer", Bound::ALL, worker_releases_while_a_producer_starves::<Caching>);
}

#[test]
fn twin_a_worker_s_account_that_is_not_revoked_starves_the_producer() {
    must_fail("credit: worker / no revocation", Bound::ALL, worker_releases_while_a_producer_starves::<NoRevocation>);
}

/// Bad: an account is closed and opened again, and the new owner meets what the old one left.
#[test]
fn a_closed_account_may_be_opened_by_another() {
    check("credit: close / open", Bound::ALL, || {
        let world = World::<Caching>::new(2);
        let old = world.open();
        let index = world.acquire(&old).unwrap();
        world.release(&old, index);
        let closer = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.pool.close_account(&world.links, old))
        };
        let new = world.open();
        if let Some(index) = world.acquire(&new) {
            world.release(&new, index);
        }
        closer.join().unwrap();
        world.settle(&new, 2);
    });
}

// ---- waiting ----

/// One credit, which `give` gives away while somebody waits for it.
fn given_against_wait<R: Rules>(give: impl FnOnce(&World<R>, &AccountId, u32)) {
    let world = World::<R>::new(1);
    let (holder, waiter) = (world.open(), world.open());
    let index = world.acquire(&holder).unwrap();
    let waits = {
        let world = Arc::clone(&world);
        thread::spawn(move || {
            let index = world.wait(&waiter, 1);
            world.release(&waiter, index);
        })
    };
    give(&world, &holder, index);
    world.finish();
    waits.join().unwrap();
    world.settle(&holder, 1);
}

/// Bad: the depositor reads the waiter count before its deposit is visible, the waiter scans before it is counted, and it sleeps for ever.
fn deposit_against_wait<R: Rules>() {
    given_against_wait::<R>(|world, holder, index| world.release(holder, index));
}

#[test]
fn a_deposit_reaches_a_waiter() {
    check("credit: deposit / wait", Bound::ALL, deposit_against_wait::<Caching>);
}

#[test]
fn twin_a_deposit_without_its_fence_does_not() {
    must_fail("credit: deposit / wait, no deposit fence", Bound::ALL, deposit_against_wait::<NoDepositFence>);
}

#[test]
fn twin_a_wait_without_its_fence_does_not() {
    must_fail("credit: deposit / wait, no wait fence", Bound::ALL, deposit_against_wait::<NoWaitFence>);
}

#[test]
fn twin_a_waiter_that_does_not_look_again_is_missed() {
    must_fail("credit: deposit / wait, no rescan", Bound::ALL, deposit_against_wait::<NoRescan>);
}

/// A credit comes from a thread without an account. Bad: it finds nobody in the line, puts the credit into the stack and reads the old count, while the waiter
/// has scanned the stack before: it sleeps for ever.
fn gift_against_wait<R: Rules>() {
    given_against_wait::<R>(|world, _, index| {
        world.slots.vacate(index);
        world.pool.release_unowned(&world.links, Chain::one(index));
    });
}

#[test]
fn a_credit_from_nobody_reaches_a_waiter() {
    check("credit: gift / wait", Bound::ALL, gift_against_wait::<Caching>);
}

#[test]
fn twin_a_credit_from_nobody_needs_a_last_look() {
    must_fail("credit: gift / wait, no last look", Bound::ALL, gift_against_wait::<NoLastLook>);
}

/// Bad: as above, with the real parker: the grant comes between the last look and the parking.
#[test]
fn a_deposit_wakes_a_parked_waiter() {
    check("credit: deposit / park", Bound::ALL, || {
        let world = World::<Caching>::new(1);
        let (holder, waiter) = (world.open(), world.open());
        let index = world.acquire(&holder).unwrap();
        let waits = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                let index = Waiting::new().wait(&world.links, &[(&world.pool, &waiter)], || Some(Duration::MAX), || false).unwrap();
                world.slots.occupy(index);
            })
        };
        world.release(&holder, index);
        waits.join().unwrap();
        world.settle(&holder, 0);
    });
}

/// Bad: the deadline and the grant come together, and the waiter leaves without the credit, or uses it before the slot is its own.
#[test]
fn a_late_waiter_uses_the_grant_that_beat_it() {
    check("credit: deposit / late waiter", Bound::ALL, || {
        let world = World::<Caching>::new(1);
        let (holder, waiter) = (world.open(), world.open());
        let index = world.acquire(&holder).unwrap();
        let waits = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                let got = Waiting::new().wait(&world.links, &[(&world.pool, &waiter)], || None, || false);
                got.inspect(|&index| world.slots.occupy(index)).is_ok()
            })
        };
        world.release(&holder, index);
        let used = waits.join().unwrap();
        world.settle(&holder, u32::from(!used));
    });
}

/// Bad: two deposits, one fence; the waiter is missed by both.
#[test]
fn a_batch_of_deposits_may_look_once() {
    check("credit: batch of deposits / wait", Bound::preemptions(3), || {
        let world = World::<Caching>::new(2);
        let (holder, waiter) = (world.open(), world.open());
        let held = [world.acquire(&holder).unwrap(), world.acquire(&holder).unwrap()];
        let waits = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.wait(&waiter, 1))
        };
        for index in held {
            world.slots.vacate(index);
            world.pool.deposit(&world.links, &holder, index);
        }
        world.pool.look_for_waiters(&world.links, &holder);
        world.finish();
        waits.join().unwrap();
        world.settle(&holder, 1);
    });
}

/// The least obvious one. Bad: a producer refills and so moves a free index from the stack, which the waiter has yet to scan, into its account,
/// which the waiter has scanned.
fn refill_against_wait<R: Rules>() {
    let world = World::<R>::new(2);
    let (producer, waiter) = (world.open(), world.open());
    let waits = {
        let world = Arc::clone(&world);
        thread::spawn(move || world.wait(&waiter, 1))
    };
    // either may have both for a moment, but there is one for each: a producer that comes away empty has met the waiter's hand
    let got = world.acquire(&producer);
    world.finish();
    waits.join().unwrap();
    world.settle(&producer, 1 - got.iter().count() as u32);
}

#[test]
fn a_refill_looks_for_waiters() {
    check("credit: refill / wait", Bound::ALL, refill_against_wait::<Caching>);
}

#[test]
fn twin_a_refill_that_does_not_look_leaves_one_asleep() {
    must_fail("credit: refill / wait, no look", Bound::ALL, refill_against_wait::<NoRefillLook>);
}

/// M16. One credit, two waiters, one release; one waiter gives up. Bad: the credit stays with the one that left, or on its way to it.
fn release_against_two_waiters_one_of_which_leaves<R: Rules>(closes: bool) {
    let world = World::<R>::new(1);
    let (holder, leaver, stayer) = (world.open(), world.open(), world.open());
    let index = world.acquire(&holder).unwrap();
    let leaves = {
        let world = Arc::clone(&world);
        thread::spawn(move || {
            match Waiting::new().wait(&world.links, &[(&world.pool, &leaver)], || None, || closes) {
                Ok(index) => {
                    world.slots.occupy(index);
                    world.release(&leaver, index);
                }
                Err(error) => assert_eq!(error, if closes { WaitError::Closed } else { WaitError::TimedOut }),
            }
            world.finish();
        })
    };
    let stays = {
        let world = Arc::clone(&world);
        thread::spawn(move || world.wait(&stayer, 2))
    };
    world.release(&holder, index);
    world.finish();
    leaves.join().unwrap();
    stays.join().unwrap();
    world.settle(&holder, 0);
}

#[test]
fn a_waiter_that_times_out_keeps_no_credit() {
    check("credit: release / two waiters, one late", Bound::preemptions(2), || {
        release_against_two_waiters_one_of_which_leaves::<Caching>(false);
    });
}

#[test]
fn a_waiter_that_is_closed_passes_its_grant_on() {
    check("credit: release / two waiters, one closed", Bound::preemptions(2), || {
        release_against_two_waiters_one_of_which_leaves::<Caching>(true);
    });
}

#[test]
fn twin_a_cancelled_grant_leaks() {
    must_fail("credit: two waiters, cancel leaks", Bound::preemptions(2), || {
        release_against_two_waiters_one_of_which_leaves::<CancelLeaks>(true);
    });
}

#[test]
fn twin_what_nobody_wanted_needs_a_last_look() {
    must_fail("credit: two waiters, no last look", Bound::preemptions(3), || {
        release_against_two_waiters_one_of_which_leaves::<NoLastLook>(true);
    });
}
