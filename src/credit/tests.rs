//! The pool as its users see it, on one thread and on many.
#![allow(clippy::disallowed_methods, reason = "tests start threads and read the clock")]

use super::*;
use crate::chain::{Chain, LinkArray, Links, MARK};
use crate::limits::{ACCOUNTS_MAX, INDEX_NONE};
use crate::rng::Rng;
use crate::sync::chaos::set_hook;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::task::{Poll, Wake, Waker};
use std::time::{Duration, Instant};

const PARK: Duration = Duration::from_millis(5);

fn pool(capacity: u32) -> (CreditPool, LinkArray) {
    let links = LinkArray::new(capacity as usize);
    (CreditPool::new(0..capacity, &links), links)
}

/// Waits in the line of one pool.
fn wait(
    pool: &CreditPool,
    links: &LinkArray,
    id: &AccountId,
    patience: impl FnMut() -> Option<Duration>,
    closed: impl Fn() -> bool,
) -> Result<u32, WaitError> {
    Waiting::new().wait(links, &[(pool, id)], patience, closed)
}

fn drain(pool: &CreditPool, links: &LinkArray, id: &AccountId) -> Vec<u32> {
    std::iter::from_fn(|| pool.acquire(links, id)).collect()
}

#[test]
fn one_active_producer_gets_every_credit_once() {
    for capacity in [1, 2, 7, 8, 9, 255, 256, 1000] {
        let (pool, links) = pool(capacity);
        let id = pool.open_account().unwrap();
        let got: HashSet<u32> = drain(&pool, &links, &id).into_iter().collect();
        assert_eq!(got, (0..capacity).collect());
        assert_eq!(pool.free(), 0);
    }
}

#[test]
fn idle_accounts_do_not_shrink_the_capacity() {
    let (pool, links) = pool(1024);
    let idle: Vec<_> = (0..63).map(|_| pool.open_account().unwrap()).collect();
    for id in &idle {
        let index = pool.acquire(&links, id).unwrap();
        pool.release(&links, id, index);
    }
    let active = pool.open_account().unwrap();
    assert_eq!(drain(&pool, &links, &active).len(), 1024);
}

#[test]
fn a_worker_s_account_is_revoked_too() {
    let (pool, links) = pool(16);
    let (producer, worker) = (pool.open_account().unwrap(), pool.open_account().unwrap());
    let all = drain(&pool, &links, &producer);
    pool.release(&links, &worker, all[3]);
    assert_eq!(pool.acquire(&links, &producer), Some(all[3]));
}

#[test]
fn a_look_nearby_leaves_the_other_accounts_alone() {
    let (pool, links) = pool(16);
    let (producer, worker) = (pool.open_account().unwrap(), pool.open_account().unwrap());
    assert_eq!(pool.acquire_chain_near(&links, &producer, 0).map(|chain| chain.len()), Some(1));
    let rest: Vec<u32> = std::iter::from_fn(|| pool.acquire_near(&links, &producer)).collect();
    assert_eq!(rest.len(), 15);
    pool.release(&links, &worker, rest[3]);
    assert_eq!((pool.acquire_near(&links, &producer), pool.acquire_chain_near(&links, &producer, 4)), (None, None));
    assert_eq!(pool.acquire_near(&links, &worker), Some(rest[3]));
}

#[test]
fn each_of_several_accounts_keeps_its_share_of_a_refill() {
    // half of the pool over eight accounts; chains of eight travel
    let (pool, links) = pool(64);
    let ids: Vec<_> = (0..8).map(|_| pool.open_account().unwrap()).collect();
    assert!(pool.acquire(&links, &ids[0]).is_some());
    assert_eq!(pool.acquire_chain(&links, &ids[0], 32).unwrap().len(), 3, "of a share of four one was taken");
}

#[test]
fn a_pool_hands_out_its_own_range_only() {
    let links = LinkArray::new(100);
    let reserve = CreditPool::new(90..100, &links);
    assert_eq!(reserve.capacity(), 10);
    let id = reserve.open_account().unwrap();
    let got: HashSet<u32> = drain(&reserve, &links, &id).into_iter().collect();
    assert_eq!(got, (90..100).collect());
}

#[test]
fn the_credit_released_last_is_used_first() {
    let (pool, links) = pool(64);
    let id = pool.open_account().unwrap();
    let first = pool.acquire(&links, &id).unwrap();
    let second = pool.acquire(&links, &id).unwrap();
    pool.release(&links, &id, first);
    assert_eq!(pool.acquire(&links, &id), Some(first));
    pool.release(&links, &id, second);
    assert_eq!(pool.acquire(&links, &id), Some(second));
}

#[test]
fn a_chain_is_as_long_as_asked_or_as_the_place_allows() {
    let (pool, links) = pool(1024);
    let id = pool.open_account().unwrap();
    let chain = pool.acquire_chain(&links, &id, 10).unwrap();
    assert_eq!(chain.len(), 10);
    assert_eq!(pool.acquire_chain(&links, &id, 32).unwrap().len(), 22, "the rest of the refill was kept");
    assert_eq!(pool.acquire_chain(&links, &id, 99).unwrap().len(), 32);
    assert_eq!(pool.free(), 1024 - 64);
    pool.release_chain(&links, &id, chain);
    assert_eq!(pool.free(), 1024 - 54);
}

#[test]
fn a_refill_keeps_little_where_many_share() {
    let (pool, links) = pool(64);
    let ids: Vec<_> = (0..31).map(|_| pool.open_account().unwrap()).collect();
    let _one = pool.acquire(&links, &ids[0]).unwrap();
    pool.close_account(&links, pool.open_account().unwrap());
    assert_eq!(pool.free(), 63);
    // the seven others of the first chain went back: nobody needs to revoke for them
    let taken: u32 = std::iter::from_fn(|| pool.stack.pop()).map(|chain| chain.len()).sum();
    assert_eq!(taken, 63);
}

#[test]
fn a_closed_account_returns_what_it_holds() {
    let (pool, links) = pool(256);
    let id = pool.open_account().unwrap();
    let index = pool.acquire(&links, &id).unwrap();
    pool.release(&links, &id, index);
    pool.close_account(&links, id);
    assert_eq!(pool.free(), 256);
    let total: u32 = std::iter::from_fn(|| pool.stack.pop()).map(|chain| chain.len()).sum();
    assert_eq!(total, 256);
}

#[test]
fn accounts_run_out_and_are_used_again() {
    let (pool, links) = pool(16);
    let mut ids: Vec<_> = (0..ACCOUNTS_MAX).map(|_| pool.open_account().unwrap()).collect();
    assert_eq!(pool.open_account(), None);
    let same = |one: &AccountId, other: &AccountId| one == other;
    for (n, id) in ids.iter().enumerate() {
        assert!(same(id, id) && !ids[..n].iter().any(|other| same(id, other)), "account {n}");
    }
    // what any of them keeps (of chains of two, one) is found by the others
    for n in [63, 64, 700, ACCOUNTS_MAX - 1] {
        let all = drain(&pool, &links, &ids[0]);
        pool.release(&links, &ids[n], all[3]);
        assert_eq!((pool.free(), pool.acquire(&links, &ids[0])), (1, Some(all[3])), "account {n}");
        all.into_iter().for_each(|index| pool.release(&links, &ids[0], index));
    }
    pool.close_account(&links, ids.swap_remove(500));
    assert!(pool.open_account().is_some());
    assert_eq!(drain(&pool, &links, &ids[ACCOUNTS_MAX - 2]).len(), 16);
}

#[test]
fn a_credit_that_comes_with_the_deadline_is_taken_and_one_with_the_close_passed_on() {
    let (pool, links) = pool(1);
    let (waiter, other) = (pool.open_account().unwrap(), pool.open_account().unwrap());
    let only = pool.acquire(&links, &other).unwrap();
    let late = || {
        pool.release(&links, &other, only);
        None
    };
    assert_eq!(wait(&pool, &links, &waiter, late, || false), Ok(only));
    let closing = || {
        pool.release(&links, &other, only);
        true
    };
    assert_eq!(wait(&pool, &links, &waiter, || None, closing), Err(WaitError::Closed));
    assert_eq!((pool.free(), pool.acquire(&links, &other)), (1, Some(only)));
}

/// How often a task was woken.
#[derive(Default)]
struct Rung(AtomicU32);

impl Wake for Rung {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn the_newest_waker_of_a_task_is_woken_and_none_is_kept() {
    let (pool, links) = pool(1);
    let id = pool.open_account().unwrap();
    let only = pool.acquire(&links, &id).unwrap();
    let [old, new] = [(); 2].map(|()| Arc::new(Rung::default()));
    let waiting = Waiting::new();
    let poll = |rung: &Arc<Rung>| waiting.poll(&links, &[(&pool, &id)], &Waker::from(Arc::clone(rung)), || false);
    assert_eq!([poll(&old), poll(&new), poll(&new)], [Poll::Pending; 3]);
    pool.release_unowned(&links, Chain::one(only));
    assert_eq!((old.0.load(SeqCst), new.0.load(SeqCst), poll(&new)), (0, 1, Poll::Ready(Ok(only))));
    waiting.leave(&links, [&pool].into_iter());
    assert_eq!([old, new].map(|rung| Arc::strong_count(&rung)), [1, 1]);
}

#[test]
fn who_joins_while_a_credit_is_on_its_way_to_the_stack_is_served() {
    let (pool, links) = pool(1);
    let id = pool.open_account().unwrap();
    let only = pool.acquire(&links, &id).unwrap();
    let world = Rc::new((pool, links, id, Waiting::new()));
    let look = |(pool, links, id, waiting): &(CreditPool, LinkArray, AccountId, Waiting)| {
        waiting.poll(links, &[(pool, id)], Waker::noop(), || false)
    };
    let joining = Rc::clone(&world);
    set_hook(Some(Box::new(move |point| {
        if point == "credit.push" {
            assert_eq!(look(&joining), Poll::Pending);
        }
    })));
    let (pool, links, ..) = &*world;
    pool.release_unowned(links, Chain::one(only));
    set_hook(None);
    assert_eq!(look(&world), Poll::Ready(Ok(only)));
}

#[test]
fn a_wait_that_runs_out_of_patience_is_timed_out() {
    let (pool, links) = pool(1);
    let id = pool.open_account().unwrap();
    assert_eq!(wait(&pool, &links, &id, || None, || false), Ok(0));
    let mut asked = 0;
    let patience = || {
        asked += 1;
        (asked < 3).then_some(Duration::from_millis(1))
    };
    assert_eq!(wait(&pool, &links, &id, patience, || false), Err(WaitError::TimedOut));
    assert_eq!((asked, pool.waiting()), (3, 0));
}

#[test]
fn closing_sends_every_waiter_home() {
    let (pool, links) = pool(1);
    let holder = pool.open_account().unwrap();
    let index = pool.acquire(&links, &holder).unwrap();
    let closed = AtomicBool::new(false);
    crate::tests::threads::scope(|scope| {
        let waits: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let id = pool.open_account().unwrap();
                    wait(&pool, &links, &id, || Some(Duration::MAX), || closed.load(SeqCst))
                })
            })
            .collect();
        while pool.waiting() < 2 {
            std::thread::yield_now();
        }
        closed.store(true, SeqCst);
        pool.close();
        for wait in waits {
            assert_eq!(wait.join().unwrap(), Err(WaitError::Closed));
        }
    });
    pool.release(&links, &holder, index);
    assert_eq!(pool.free(), 1);
}

#[test]
fn waiters_are_served_in_the_order_they_came() {
    let (pool, links) = pool(3);
    let holder = pool.open_account().unwrap();
    let held = drain(&pool, &links, &holder);
    let served = AtomicU32::new(0);
    crate::tests::threads::scope(|scope| {
        for place in 0..3 {
            let (pool, links, served) = (&pool, &links, &served);
            scope.spawn(move || {
                let id = pool.open_account().unwrap();
                wait(pool, links, &id, || Some(Duration::MAX), || false).unwrap();
                assert_eq!(served.fetch_add(1, SeqCst), place);
            });
            while pool.waiting() < place + 1 {
                std::thread::yield_now();
            }
        }
        for (served_so_far, index) in (1..).zip(held) {
            pool.release(&links, &holder, index);
            while served.load(SeqCst) < served_so_far {
                std::thread::yield_now();
            }
        }
    });
}

#[test]
fn waking_all_asks_for_patience_again() {
    let (pool, links) = pool(1);
    let holder = pool.open_account().unwrap();
    let _index = pool.acquire(&links, &holder).unwrap();
    let late = AtomicBool::new(false);
    crate::tests::threads::scope(|scope| {
        let wait = scope.spawn(|| {
            let id = pool.open_account().unwrap();
            wait(&pool, &links, &id, || (!late.load(SeqCst)).then_some(Duration::MAX), || false)
        });
        while pool.waiting() == 0 {
            std::thread::yield_now();
        }
        late.store(true, SeqCst);
        while !wait.is_finished() {
            pool.wake_all();
            std::thread::yield_now();
        }
        assert_eq!(wait.join().unwrap(), Err(WaitError::TimedOut));
    });
}

/// Producers that wait, time out and hoard; workers that give back one by one or in batches; accounts that come and go. In the end every credit
/// is there, and one thread can take them all.
#[test]
fn nothing_is_lost_or_doubled_under_stress() {
    for (capacity, seed) in [(1, 1), (3, 2), (17, 3), (300, 4)] {
        stress(capacity, seed);
    }
}

fn stress(capacity: u32, seed: u64) {
    const THREADS: u64 = 6;
    let (pool, links) = pool(capacity);
    let occupied: Vec<AtomicBool> = (0..capacity).map(|_| AtomicBool::new(false)).collect();
    let (granted, timed_out) = (AtomicU32::new(0), AtomicU32::new(0));
    let stop = Instant::now() + Duration::from_millis(300);
    crate::tests::threads::scope(|scope| {
        for thread in 0..THREADS {
            let (pool, links, occupied, granted, timed_out) = (&pool, &links, &occupied, &granted, &timed_out);
            scope.spawn(move || {
                let mut rng = Rng::new(seed * 100 + thread);
                let mut id = pool.open_account().unwrap();
                let mut held: Vec<u32> = Vec::new();
                let enter = |index: u32| assert!(!occupied[index as usize].swap(true, SeqCst), "{index} twice, seed {seed}");
                let leave = |index: u32| assert!(occupied[index as usize].swap(false, SeqCst), "{index} freed twice, seed {seed}");
                while Instant::now() < stop {
                    match rng.up_to(9) {
                        0..=2 => {
                            let mut patience = rng.up_to(2);
                            let wait = wait(
                                pool,
                                links,
                                &id,
                                || {
                                    patience = patience.checked_sub(1)?;
                                    Some(PARK / 10)
                                },
                                || false,
                            );
                            match wait {
                                Ok(index) => {
                                    granted.fetch_add(1, SeqCst);
                                    enter(index);
                                    held.push(index);
                                }
                                Err(error) => {
                                    assert_eq!(error, WaitError::TimedOut);
                                    timed_out.fetch_add(1, SeqCst);
                                }
                            }
                        }
                        3 => {
                            if let Some(chain) = pool.acquire_chain(links, &id, 1 + rng.up_to(40) as u32) {
                                let indices: Vec<u32> = chain.iter(links).collect();
                                indices.iter().for_each(|&index| enter(index));
                                held.extend(indices);
                            }
                        }
                        4..=6 => {
                            if let Some(index) = held.pop() {
                                leave(index);
                                pool.release(links, &id, index);
                            }
                        }
                        7 => {
                            let batch: Vec<u32> = held.drain(..held.len().min(20)).collect();
                            batch.iter().for_each(|&index| leave(index));
                            batch.iter().for_each(|&index| pool.deposit(links, &id, index));
                            pool.look_for_waiters(links, &id);
                        }
                        8 => {
                            let batch: Vec<u32> = held.drain(..held.len().min(32)).collect();
                            if !batch.is_empty() {
                                batch.iter().for_each(|&index| leave(index));
                                let chain = Chain::link(links, &batch);
                                if rng.up_to(1) == 0 { pool.release_chain(links, &id, chain) } else { pool.release_unowned(links, chain) }
                            }
                        }
                        _ => {
                            pool.close_account(links, id);
                            id = pool.open_account().unwrap();
                        }
                    }
                }
                for index in held {
                    leave(index);
                    pool.release(links, &id, index);
                }
            });
        }
    });
    assert_eq!((pool.free(), pool.waiting()), (capacity, 0), "seed {seed}");
    assert!(granted.into_inner() > 0);
    let id = pool.open_account().unwrap();
    let all: HashSet<u32> = drain(&pool, &links, &id).into_iter().collect();
    assert_eq!(all.len(), capacity as usize, "seed {seed}");
}

/// Producers that only block and a worker that only releases: nobody sleeps for ever.
#[test]
fn blocked_producers_are_always_reached() {
    const EACH: u32 = 3_000;
    let (pool, links) = pool(4);
    let (send, receive) = crate::tests::threads::mpsc::channel();
    crate::tests::threads::scope(|scope| {
        for _ in 0..3 {
            let (pool, links, send) = (&pool, &links, send.clone());
            scope.spawn(move || {
                let id = pool.open_account().unwrap();
                for _ in 0..EACH {
                    let index = wait(pool, links, &id, || Some(Duration::MAX), || false).unwrap();
                    send.send(index).unwrap();
                }
            });
        }
        drop(send);
        let worker = pool.open_account().unwrap();
        while let Ok(index) = receive.recv() {
            pool.release(&links, &worker, index);
        }
    });
    assert_eq!((pool.free(), pool.waiting()), (4, 0));
}

/// A thread that stops inside push or pop stops nobody.
#[test]
fn a_stopped_thread_does_not_stop_the_stack() {
    for place in ["credit.push", "credit.pop", "credit.take_all", "credit.spill", "credit.refill", "credit.put", "credit.take"] {
        let (pool, links) = pool(64);
        let (frozen, go) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        crate::tests::threads::scope(|scope| {
            let (at_place, may_go) = (Arc::clone(&frozen), Arc::clone(&go));
            let (pool, links) = (&pool, &links);
            let frozen_thread = scope.spawn(move || {
                let id = pool.open_account().unwrap();
                let reached = Arc::clone(&at_place);
                crate::sync::chaos::set_hook(Some(Box::new(move |at| {
                    if at == place && !reached.swap(true, SeqCst) {
                        while !may_go.load(SeqCst) {
                            std::thread::yield_now();
                        }
                    }
                })));
                let idle = pool.open_account().unwrap();
                for _ in 0..3 {
                    let one = pool.acquire(links, &id).unwrap();
                    pool.release(links, &idle, one);
                    let got = drain(pool, links, &id);
                    got.into_iter().for_each(|index| pool.release(links, &id, index));
                }
                assert!(at_place.load(SeqCst), "{place} was never reached");
                crate::sync::chaos::set_hook(None);
                pool.close_account(links, id);
                pool.close_account(links, idle);
            });
            while !frozen.load(SeqCst) && !frozen_thread.is_finished() {
                std::thread::yield_now();
            }
            let id = pool.open_account().unwrap();
            for _ in 0..100 {
                let got = drain(pool, links, &id);
                assert!(!got.is_empty(), "nothing to be had beside a thread stopped at {place}");
                got.into_iter().for_each(|index| pool.release(links, &id, index));
            }
            pool.close_account(links, id);
            go.store(true, SeqCst);
        });
        assert_eq!(pool.free(), 64, "stopped at {place}");
    }
}

/// A thread that stops between cutting a credit and granting it keeps that credit, and the first of the line: who came later is served by the next who gives one
/// back, and the first may run out of patience.
#[test]
fn a_granter_that_stops_keeps_the_first_in_line_only() {
    let (pool, links) = pool(2);
    let id = pool.open_account().unwrap();
    let held: Vec<u32> = drain(&pool, &links, &id);
    assert_eq!(held.len(), 2);
    let (frozen, go, tired) = (AtomicBool::new(false), Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
    let (pool, links, frozen, tired) = (&pool, &links, Arc::new(frozen), &tired);
    crate::tests::threads::scope(|scope| {
        let first = scope.spawn(|| {
            let id = pool.open_account().unwrap();
            wait(pool, links, &id, || (!tired.load(SeqCst)).then_some(PARK), || false)
        });
        while pool.waiting() < 1 {
            std::thread::yield_now();
        }
        let second = scope.spawn(|| {
            let id = pool.open_account().unwrap();
            wait(pool, links, &id, || Some(PARK), || false)
        });
        while pool.waiting() < 2 {
            std::thread::yield_now();
        }
        let (at_place, may_go, mine) = (Arc::clone(&frozen), Arc::clone(&go), held[0]);
        let stopping = scope.spawn(move || {
            crate::sync::chaos::set_hook(Some(Box::new(move |at| {
                if at == "credit.grant" && !at_place.swap(true, SeqCst) {
                    while !may_go.load(SeqCst) {
                        std::thread::yield_now();
                    }
                }
            })));
            let id = pool.open_account().unwrap();
            pool.release(links, &id, mine);
            crate::sync::chaos::set_hook(None);
        });
        while !frozen.load(SeqCst) {
            std::thread::yield_now();
        }
        pool.release(links, &id, held[1]);
        assert_eq!(second.join().unwrap(), Ok(held[1]));
        assert!(!first.is_finished());
        tired.store(true, SeqCst);
        assert_eq!(first.join().unwrap(), Err(WaitError::TimedOut));
        go.store(true, SeqCst);
        stopping.join().unwrap();
    });
    assert_eq!((pool.free(), pool.waiting()), (1, 0), "the credit that nobody waits for any more");
}

/// One who has joined the line and looks around once more finds a credit that was given back meanwhile, before its giver has looked for waiters. It is not his turn.
#[test]
fn a_late_comer_who_finds_a_credit_hands_it_to_the_first_in_line() {
    let (pool, links) = pool(1);
    let id = pool.open_account().unwrap();
    let held = pool.acquire(&links, &id).unwrap();
    let (joined, go) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (pool, links) = (&pool, &links);
    let waits = || {
        let id = pool.open_account().unwrap();
        wait(pool, links, &id, || Some(PARK), || false)
    };
    crate::tests::threads::scope(|scope| {
        let first = scope.spawn(waits);
        while pool.waiting() < 1 {
            std::thread::yield_now();
        }
        let (at_place, may_go) = (Arc::clone(&joined), Arc::clone(&go));
        let last = scope.spawn(move || {
            crate::sync::chaos::set_hook(Some(Box::new(move |at| {
                if at == "credit.wait" {
                    at_place.store(true, SeqCst);
                    while !may_go.load(SeqCst) {
                        std::thread::yield_now();
                    }
                }
            })));
            let got = waits();
            crate::sync::chaos::set_hook(None);
            got
        });
        while !joined.load(SeqCst) {
            std::thread::yield_now();
        }
        pool.deposit(links, &id, held);
        go.store(true, SeqCst);
        assert_eq!(first.join().unwrap(), Ok(held));
        assert_eq!(pool.waiting(), 1);
        pool.release(links, &id, held);
        assert_eq!(last.join().unwrap(), Ok(held));
    });
    assert_eq!((pool.free(), pool.waiting()), (0, 0));
}

/// Two pools as a lane with a reserve sees them: its own first, then the shared one.
fn reserve_and_shared() -> (CreditPool, CreditPool, LinkArray) {
    let links = LinkArray::new(2);
    (CreditPool::new(0..1, &links), CreditPool::new(1..2, &links), links)
}

#[test]
fn lines_of_two_pools_are_served_in_the_order_they_came() {
    let (reserve, shared, links) = reserve_and_shared();
    let (in_reserve, in_shared) = (reserve.open_account().unwrap(), shared.open_account().unwrap());
    let held = (reserve.acquire(&links, &in_reserve).unwrap(), shared.acquire(&links, &in_shared).unwrap());
    let served = AtomicU32::new(0);
    let (reserve, shared, links, served) = (&reserve, &shared, &links, &served);
    crate::tests::threads::scope(|scope| {
        // the even ones may have either, the odd ones only what is shared
        for place in 0..4 {
            scope.spawn(move || {
                let (own, common) = (reserve.open_account().unwrap(), shared.open_account().unwrap());
                let places = [(reserve, &own), (shared, &common)];
                let places = if place % 2 == 0 { &places[..] } else { &places[1..] };
                let got = Waiting::new().wait(links, places, || Some(Duration::MAX), || false).unwrap();
                served.fetch_add(1 << (8 * place), SeqCst);
                got
            });
            while shared.waiting() < place + 1 {
                std::thread::yield_now();
            }
        }
        let until = |count: u32| {
            while served.load(SeqCst) != count {
                std::thread::yield_now();
            }
        };
        assert_eq!((reserve.waiting(), shared.waiting()), (2, 4));
        // the first of all, although the deposit is shared
        shared.release(links, &in_shared, held.1);
        until(1);
        assert_eq!((reserve.waiting(), shared.waiting()), (1, 3));
        // the first of those who may have it: not the second, who may not
        reserve.release(links, &in_reserve, held.0);
        until(1 | 1 << 16);
        assert_eq!((reserve.waiting(), shared.waiting()), (0, 2));
        shared.release(links, &in_shared, held.1);
        until(1 | 1 << 16 | 1 << 8);
        shared.release(links, &in_shared, held.1);
        until(1 | 1 << 16 | 1 << 8 | 1 << 24);
    });
    assert_eq!((reserve.waiting(), shared.waiting()), (0, 0));
}

/// Waiters in both lines, used again and again, that time out now and then; deposits in both pools. Nothing is lost, nothing lands in the wrong pool.
#[test]
fn waiters_in_two_lines_lose_nothing() {
    const EACH: u32 = 2_000;
    let (reserve, shared, links) = reserve_and_shared();
    let (reserve, shared, links) = (&reserve, &shared, &links);
    crate::tests::threads::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                let (own, common) = (reserve.open_account().unwrap(), shared.open_account().unwrap());
                let waiting = Waiting::new();
                let mut rng = Rng::new(thread);
                let mut done = 0;
                while done < EACH {
                    let both = rng.up_to(2) > 0;
                    let places = [(reserve, &own), (shared, &common)];
                    let mut patience = rng.up_to(3);
                    let patience = || {
                        patience = patience.checked_sub(1)?;
                        Some(PARK / 5)
                    };
                    match waiting.wait(links, if both { &places } else { &places[1..] }, patience, || false) {
                        Ok(index) => {
                            assert!(both || index == 1, "a slot of the reserve for one who may not have it");
                            let (pool, id) = places[index as usize];
                            pool.release(links, id, index);
                            done += 1;
                        }
                        Err(error) => assert_eq!(error, WaitError::TimedOut),
                    }
                }
            });
        }
    });
    assert_eq!([reserve, shared].map(|pool| (pool.free(), pool.waiting())), [(1, 0), (1, 0)]);
}

/// The owner reads the account, and before it goes on somebody else empties it, and the slots' links end a list.
#[test]
fn an_account_that_is_emptied_as_it_is_read_gives_nothing() {
    for (max, link) in (1..4).flat_map(|max| [INDEX_NONE, MARK | 2, MARK | INDEX_NONE].map(|link| (max, link))) {
        let (account, links) = (Arc::new(account::Account::new()), Arc::new(LinkArray::new(4)));
        assert_eq!(account.put(&*links, Chain::link(&*links, &[0, 1, 2, 3]), 4), None);
        let (theirs, their_links) = (Arc::clone(&account), Arc::clone(&links));
        crate::sync::chaos::set_hook(Some(Box::new(move |at| {
            if at == "credit.take.read" {
                assert_eq!(theirs.take_all().map(|chain| chain.len()), Some(4));
                (0..4).for_each(|index| their_links.set_next(index, link));
            }
        })));
        let taken = account.take(&*links, max);
        crate::sync::chaos::set_hook(None);
        assert_eq!(taken, None);
    }
}
