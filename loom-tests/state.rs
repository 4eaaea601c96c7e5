//! The state word and the timer inbox.
//!
//! The models run the crate's own [`SlotState`](ringmill::slab::SlotState) and [`Inbox`]; payload and link are cells whose races loom reports. A
//! twin replaces one step of the protocol by a mutation of it ([`Protocol`]) and must fail.

#![allow(clippy::disallowed_methods)]

mod protocol;
mod table;

use crate::support::{Bound, check, must_fail};
use protocol::*;
use ringmill::inbox::{Flag, Inbox};
use ringmill::slab::{CancelStep, Dispose, Epoch, Expire, Fate, Leave, Next, Phase, Settled, Stale, Start};
use ringmill::sync::atomic::Ordering::Relaxed;
use ringmill::sync::{UnsafeCell, thread};
use std::sync::Arc;
use table::{Table, spawn};

/// A model as a function of its protocol, checked as it is, and failing under each mutation.
macro_rules! model {
    ($(#[$doc:meta])* $name:ident, $bound:expr, fails: [$($mutation:ident as $twin:ident),* $(,)?]) => {
        mod $name {
            use super::*;
            $(#[$doc])*
            #[test]
            fn holds() {
                check(concat!("state/", stringify!($name)), $bound, super::$name::<Sound>);
            }
            $(
                #[test]
                fn $twin() {
                    must_fail(concat!("state/", stringify!($name), "/", stringify!($twin)), $bound, super::$name::<$mutation>);
                }
            )*
        }
    };
}

// ---- M7: two workers with the same claim ----

fn two_starts<P: Protocol>() {
    let table = Table::<P>::new();
    let claim = table.fill(1);
    let runs = move |table: &Table<P>| {
        if let Some(lease) = table.start(claim) {
            assert_eq!(lease, claim.next());
            assert_eq!(table.read(), 1);
            assert!(table.ack(lease, 1));
        }
    };
    let other = spawn(&table, runs);
    runs(&table);
    other.join().unwrap();
    table.assert_over();
}
model! {
    /// Both see Ready, both run it.
    two_starts, Bound::ALL, fails: [StartByStore as by_store]
}

// ---- the word carries the payload, whoever brought the index ----

fn hearsay_start<P: Protocol>() {
    let table = Table::<P>::new();
    let producer = spawn(&table, |table| {
        let claim = table.fill(1);
        table.seat.store(claim.raw() + 1, Relaxed);
    });
    let seat = table.seat.load(Relaxed);
    if seat != 0
        && let Some(lease) = table.start(Epoch::from_raw(seat - 1))
    {
        assert_eq!(table.read(), 1);
        assert!(table.ack(lease, 1));
    }
    producer.join().unwrap();
}
model! {
    /// A worker learns of a claim without any ordering, starts it, and reads a payload that is still being written.
    hearsay_start, Bound::ALL, fails: [FillWithoutRelease as fill_without_release, StartWithoutAcquire as start_without_acquire]
}

// ---- whoever sees it running finds the claim ----

fn claim_is_seen<P: Protocol>() {
    let table = Table::<P>::new();
    let claim = table.fill(1);
    let worker = spawn(&table, move |table| {
        if P::CLAIM_FIRST {
            table.seat.store(claim.raw() + 1, Relaxed);
        }
        table.start(claim);
        if !P::CLAIM_FIRST {
            table.seat.store(claim.raw() + 1, Relaxed);
        }
    });
    if P::load(&table.state).phase() == Phase::Running {
        assert_eq!(table.seat.load(Relaxed), claim.raw() + 1, "a running job that no claim speaks of is never expired");
    }
    worker.join().unwrap();
}
model! {
    /// The worker stops between its start and its claim, and the timer never learns that it runs.
    claim_is_seen, Bound::ALL, fails: [ClaimAfterStart as claim_after_start, StartWithoutRelease as start_without_release]
}

// ---- M8: ack, expiry, redelivery ----

/// The timer finds the lease of `epoch` overdue. Says whether it was.
fn expiring<P: Protocol>(table: &Arc<Table<P>>, epoch: Epoch) -> thread::JoinHandle<bool> {
    spawn(table, move |table| {
        let expired = matches!(P::expire(&table.state, epoch, 5), Expire::Ready(_));
        if expired {
            table.push();
        }
        expired
    })
}

fn ack_expire_redelivery<P: Protocol>() {
    let (table, lease) = Table::<P>::started();
    let timer = expiring(&table, lease);
    let second = spawn(&table, |table| table.run_lane());
    assert_eq!(table.read(), 1);
    let acked = table.ack(lease, 1);
    let expired = timer.join().unwrap();
    second.join().unwrap();
    assert_ne!(acked, expired, "the lease ended twice, or never");
    table.run_lane();
    table.assert_over();
}
model! {
    /// The first worker acknowledges while its lease expires and a second one runs the job: both would end it, or its payload would go under a reader.
    ack_expire_redelivery, Bound::ALL, fails: [
        LateSettle as late_settle,
        SettleByStore as settle_by_store,
        SettleReclaims as settle_reclaims,
        ExpireDropsHolder as expire_drops_holder,
        StartWithoutBump as start_without_bump,
    ]
}

fn plain_ack_expire_redelivery<P: Protocol>() {
    let table = Table::<P>::new();
    let Start::Running(running) = P::start(&table.state, table.fill(1)) else { panic!("nobody else knows it") };
    let timer = expiring(&table, running.epoch());
    let second = spawn(&table, |table| {
        if let Some(claim) = table.pop()
            && let Start::Running(running) = P::start(&table.state, claim)
        {
            let job = table.read();
            table.plain_ack(running, job);
        }
    });
    assert_eq!(table.read(), 1);
    let acked = table.plain_ack(running, 1);
    let expired = timer.join().unwrap();
    second.join().unwrap();
    assert_ne!(acked, expired, "the lease ended twice, or never");
    table.run_lane();
    table.assert_over();
}
model! {
    /// As before, by the ack's short way: the second worker, who holds the slot beside the first, would free it under the first one's eyes.
    plain_ack_expire_redelivery, Bound::preemptions(4), fails: [AckUnderReaders as ack_under_readers, AckRereads as ack_rereads]
}

// ---- the timer owns the index after an expiry ----

fn expiry_takes_the_link<P: Protocol>() {
    let table = Table::<P>::new();
    table.fill(1);
    table.push();
    let worker = spawn(&table, |table| {
        let claim = table.pop().expect("pushed before");
        table.seat.store(claim.raw() + 1, Relaxed);
        table.start(claim);
        // and is stuck for ever
    });
    let seat = table.seat.load(Relaxed);
    if seat != 0
        && let Expire::Ready(_) = P::expire(&table.state, Epoch::from_raw(seat), 5)
    {
        table.push();
    }
    worker.join().unwrap();
}
model! {
    /// The timer writes the link of an expired job that the stuck worker's pop has not finished reading.
    expiry_takes_the_link, Bound::ALL, fails: [ExpireWithoutAcquire as expire_without_acquire, StartWithoutRelease as start_without_release]
}

// ---- M9: ack, nack, extend, expire on one lease ----

fn one_winner_per_epoch<P: Protocol>() {
    let (table, lease) = Table::<P>::started();
    let wins = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let contender = |act: fn(&Table<P>, Epoch) -> bool| {
        let wins = Arc::clone(&wins);
        spawn(&table, move |table| {
            wins.fetch_add(u32::from(act(table, lease)), std::sync::atomic::Ordering::Relaxed);
        })
    };
    let threads = [
        contender(|table, lease| P::settle(&table.state, lease, table.end(Fate::Acked)).is_ok()),
        contender(|table, lease| P::settle(&table.state, lease, |_| Next::Ready { spend_failure: true }).is_ok()),
        contender(|table, lease| P::extend(&table.state, lease).is_ok()),
    ];
    let expired = !matches!(P::expire(&table.state, lease, 5), Expire::Lost(_));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let wins = wins.load(std::sync::atomic::Ordering::Relaxed) + u32::from(expired);
    assert_eq!(wins, 1, "one transition ends an epoch");
    let word = table.state.load();
    let (failures, expiries) = (word.failures(), word.expiries());
    match word.phase() {
        Phase::Free => assert_eq!((word.holders(), failures, expiries), (0, 0, 0), "acknowledged"),
        Phase::Ready if expired => assert_eq!((word.holders(), failures, expiries), (1, 0, 1), "expired"),
        Phase::Ready => assert_eq!((word.holders(), failures, expiries), (0, 1, 0), "negatively acknowledged"),
        _ => assert_eq!((word.holders(), failures, expiries, word.epoch()), (1, 0, 0, lease.next()), "extended"),
    }
}
model! {
    /// Two of four would-be ends of one lease both believe that they were first.
    one_winner_per_epoch, Bound::preemptions(3), fails: [ExtendWithoutBump as extend_without_bump, ExpireIgnoresEpoch as expire_ignores_epoch, LateSettle as late_settle]
}

// ---- extend against expiry, with the handler going on ----

fn extend_or_expire<P: Protocol>() {
    let (table, lease) = Table::<P>::started();
    let timer = spawn(&table, move |table| {
        if let Expire::Ready(_) = P::expire(&table.state, lease, 5) {
            table.push();
        }
    });
    let canceller = spawn(&table, |table| {
        table.cancel(1);
    });
    match P::extend(&table.state, lease) {
        Ok(fresh) => assert!(table.ack(fresh, 1), "an extended lease was expired by a look at the old one"),
        Err(_) => table.leave(1),
    }
    timer.join().unwrap();
    canceller.join().unwrap();
    assert!(table.outcomes(1) == 1 || matches!(table.state.load().phase(), Phase::Ready | Phase::Doomed | Phase::Zombie | Phase::Free));
}
model! {
    /// The timer decided to expire the lease before the extension and carries it out after.
    extend_or_expire, Bound::preemptions(5), fails: [ExtendWithoutBump as extend_without_bump]
}

// ---- M10: stuck handler, expiry, redelivery, ack, refill ----

fn stuck_handler<P: Protocol>() {
    let (table, lease) = Table::<P>::started();
    // whoever reclaims the slot of job 1 fills it with job 2
    fn refill<P: Protocol>(table: &Table<P>) {
        if table.dropped(1) == 1 {
            table.fill(2);
        }
    }
    let stuck = spawn(&table, move |table| {
        assert_eq!(table.read(), 1, "a stuck handler sees the payload of the next job");
        match P::settle(&table.state, lease, table.end(Fate::Acked)) {
            Ok(settled) => {
                table.outcome(1);
                if let Settled::Owner(_) = settled {
                    table.reclaim(1);
                    refill(table);
                }
            }
            Err(_) => {
                assert_eq!(table.read(), 1, "a stuck handler sees the payload of the next job");
                if let Leave::Owner(_) = P::leave(&table.state) {
                    table.reclaim(1);
                    refill(table);
                }
            }
        }
    });
    // the timer, then the worker of the second delivery
    if let Expire::Ready(word) = P::expire(&table.state, lease, 5) {
        let second = table.start(word.epoch()).expect("nobody else knows it");
        assert_eq!(table.read(), 1);
        if let Ok(settled) = P::settle(&table.state, second, table.end(Fate::Acked)) {
            table.outcome(1);
            if let Settled::Owner(_) = settled {
                table.reclaim(1);
                refill(&table);
            }
        }
    }
    stuck.join().unwrap();
    assert_eq!((table.outcomes(1), table.dropped(1)), (1, 1));
    let word = table.state.load();
    assert_eq!((word.phase(), word.holders(), table.read()), (Phase::Ready, 0, 2), "the slot was not filled again");
}
model! {
    /// A stuck handler comes back after expiry, redelivery, ack and refill, and reads or settles the job of another.
    stuck_handler, Bound::ALL, fails: [
        SettleReclaims as settle_reclaims,
        ExpireDropsHolder as expire_drops_holder,
        LateSettle as late_settle,
        NeverLeaves as never_leaves,
        LeaveWithoutRelease as leave_without_release,
        SettleWithoutAcquire as settle_without_acquire,
        SettleWithoutRelease as settle_without_release,
    ]
}

// ---- two stale holders leave together ----

fn last_two_leave<P: Protocol>() {
    let (table, lease) = Table::<P>::started();
    assert!(matches!(table.state.expire(lease, 1), Expire::Ready(_)));
    let lease = table.start(lease).expect("nobody else knows it");
    assert!(matches!(table.state.expire(lease, 1), Expire::Buried(_)));
    table.outcome(1);
    let goes = |table: &Table<P>| {
        assert_eq!(table.read(), 1);
        table.leave(1);
    };
    let other = spawn(&table, goes);
    goes(&table);
    other.join().unwrap();
    table.assert_over();
}
model! {
    /// Both have left before either looks again: both reclaim. Or the last one drops what the other still reads.
    last_two_leave, Bound::ALL, fails: [
        LeaveRereads as leave_rereads,
        NeverLeaves as never_leaves,
        LeaveWithoutRelease as leave_without_release,
        LeaveWithoutAcquire as leave_without_acquire,
    ]
}

// ---- M11: M10's epoch with two bits ----

fn old_claim_new_epoch<P: Protocol>() {
    let table = Table::<P>::new();
    let claim = table.fill(1);
    let sleeper = spawn(&table, move |table| {
        if let Some(lease) = table.start(claim) {
            assert_eq!(table.read(), 1, "an old claim runs a new job");
            table.ack(lease, 1);
        }
    });
    // taken back, run, and the slot used again until the two low bits come round
    if let Some((second, _)) = P::take_back(&table.state, claim) {
        let lease = table.start(second).expect("nobody else knows it");
        table.ack(lease, 1);
        let refilled = table.fill(2);
        let (round, _) = P::take_back(&table.state, refilled).expect("an old claim runs a new job");
        assert_eq!(round.raw() & 3, claim.raw() & 3);
    }
    sleeper.join().unwrap();
    assert_eq!((table.outcomes(1), table.dropped(1)), (1, 1));
}
model! {
    /// A claim sleeps through four epochs of its slot.
    old_claim_new_epoch, Bound::ALL, fails: [TwoBitEpoch as two_bits, StartRereads as start_rereads]
}

// ---- M17: a caught panic against the expiry ----

fn panic_or_expire<P: Protocol>() {
    let (table, lease) = Table::<P>::started();
    let timer = spawn(&table, move |table| {
        if let Expire::Ready(_) = P::expire(&table.state, lease, 5) {
            table.push();
        }
    });
    let handler = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        assert_eq!(table.read(), 1);
        std::panic::resume_unwind(Box::new("the handler panics"));
    }));
    assert!(handler.is_err());
    match P::settle(&table.state, lease, |_| Next::Ready { spend_failure: true }) {
        Ok(Settled::Ready(word)) => {
            assert_eq!(word.failures(), 1);
            table.push();
        }
        Ok(other) => panic!("{other:?}"),
        Err(Stale(word)) => {
            assert_eq!(word.failures(), 0);
            table.leave(1);
        }
    }
    timer.join().unwrap();
    table.run_lane();
    table.assert_over();
    assert_eq!(table.state.load().failures() + table.state.load().expiries(), 1, "one failure or one expiry, not both");
}
model! {
    /// The failure of a panicked handler and the expiry of its lease both put the index into the lane.
    panic_or_expire, Bound::ALL, fails: [SettleByStore as settle_by_store, NeverLeaves as never_leaves, ExpireDropsHolder as expire_drops_holder]
}

// ---- cancel against start, settlement, reuse ----

fn cancel_or_run<P: Protocol>() {
    let table = Table::<P>::new();
    let claim = table.fill(1);
    let fate = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let worker = spawn(&table, {
        let fate = Arc::clone(&fate);
        move |table| match P::start(&table.state, claim) {
            Start::Running(word) => {
                assert_eq!(table.read(), 1);
                let settled = P::settle(&table.state, word.epoch(), |word| {
                    let fate = if word.is_cancelled() { Fate::Cancelled } else { Fate::Acked };
                    Next::End { fate, spend_failure: false }
                });
                let Ok(Settled::Owner(word)) = settled else { panic!("{settled:?}") };
                table.outcome(1);
                table.reclaim(1);
                fate.store(word.fate() as u32, std::sync::atomic::Ordering::Relaxed);
            }
            Start::Doomed => {
                table.outcome(1);
                table.dispose(claim);
                fate.store(Fate::Cancelled as u32, std::sync::atomic::Ordering::Relaxed);
            }
            Start::Moved => panic!("nobody moved it"),
        }
    });
    let step = table.cancel(1).expect("the id does not change");
    worker.join().unwrap();
    table.assert_over();
    let cancelled = fate.load(std::sync::atomic::Ordering::Relaxed) == Fate::Cancelled as u32;
    assert_eq!(matches!(step, CancelStep::Doomed | CancelStep::Flagged), cancelled, "{step:?} was not the truth");
}
model! {
    /// A canceller is told that it was in time, and the job is acknowledged all the same.
    cancel_or_run, Bound::ALL, fails: [SettleByStore as settle_by_store, StartByStore as start_by_store]
}

fn cancel_or_reuse<P: Protocol>() {
    let table = Table::<P>::new();
    let claim = table.fill(1);
    let worker = spawn(&table, move |table| {
        // job 1 is too old to start; its slot goes to job 2
        match table.state.end_claimed(claim, Fate::Expired) {
            Dispose::Owner(_) => table.reclaim(1),
            other => panic!("{other:?}"),
        }
        table.fill(2);
    });
    table.cancel(1);
    worker.join().unwrap();
    assert_eq!(table.state.load().phase(), Phase::Ready, "cancelled another job");
    assert_eq!(table.read(), 2);
}
model! {
    /// Between the canceller's look and its CAS the slot gets another job, which is cancelled instead.
    cancel_or_reuse, Bound::ALL, fails: [
        FillWithoutBump as fill_without_bump,
        CancelWithoutId as without_id,
        FillWithoutRelease as fill_without_release,
        LoadWithoutAcquire as load_without_acquire,
    ]
}

// ---- a doomed job is disposed of while a stale holder leaves ----

fn dispose_or_leave<P: Protocol>() {
    let (table, lease) = Table::<P>::started();
    let Expire::Ready(word) = table.state.expire(lease, 5) else { panic!("nobody else knows it") };
    assert_eq!(table.cancel(1), Some(CancelStep::Doomed));
    table.outcome(1);
    let stale = spawn(&table, |table| {
        assert_eq!(table.read(), 1);
        table.leave(1);
    });
    assert_eq!(P::start(&table.state, word.epoch()), Start::Doomed);
    table.dispose(word.epoch());
    stale.join().unwrap();
    table.assert_over();
}
model! {
    /// The worker that finds its claim doomed drops the payload under the eyes of a stale holder; or neither of them drops it.
    dispose_or_leave, Bound::ALL, fails: [
        DisposeReclaims as dispose_reclaims,
        DisposeWithoutAcquire as dispose_without_acquire,
        LeaveWithoutRelease as leave_without_release,
        NeverLeaves as never_leaves,
    ]
}

// ---- taking claims away ----

fn take_back_or_start<P: Protocol>() {
    let table = Table::<P>::new();
    let claim = table.fill(1);
    let worker = spawn(&table, move |table| {
        if let Some(lease) = table.start(claim) {
            assert_eq!(table.read(), 1);
            table.ack(lease, 1);
        }
    });
    if P::take_back(&table.state, claim).is_some() {
        table.push();
    }
    table.run_lane();
    worker.join().unwrap();
    table.assert_over();
}
model! {
    /// The timer pushes a claim that the worker, only late, starts after all.
    take_back_or_start, Bound::ALL, fails: [TakeBackWithoutBump as take_back_without_bump, StartByStore as start_by_store]
}

fn steal_or_start<P: Protocol>() {
    let table = Table::<P>::new();
    let claim = table.fill(1);
    let runs = |table: &Table<P>, claim: Epoch| {
        if let Some(lease) = table.start(claim) {
            assert_eq!(table.read(), 1);
            assert!(table.ack(lease, 1));
        }
    };
    let owner = spawn(&table, move |table| runs(table, claim));
    let timer = spawn(&table, move |table| {
        if P::take_back(&table.state, claim).is_some() {
            table.push();
        }
    });
    if let Some(stolen) = P::steal(&table.state, claim) {
        assert_eq!(stolen, claim.next());
        // nobody else knows this epoch
        assert!(matches!(table.state.load().phase(), Phase::Ready));
        runs(&table, stolen);
    }
    owner.join().unwrap();
    timer.join().unwrap();
    table.run_lane();
    table.assert_over();
}
model! {
    /// Owner, thief and timer all take the same claim for theirs.
    steal_or_start, Bound::preemptions(4), fails: [StealWithoutBump as steal_without_bump, TakeBackWithoutBump as take_back_without_bump]
}

fn batch_return<P: Protocol>() {
    let table = Table::<P>::new();
    let claim = table.fill(1);
    let worker = spawn(&table, move |table| {
        if P::give_back(&table.state, claim).is_some() {
            table.push();
        }
    });
    // the timer still reads the old claim in the worker's seat
    if P::take_back(&table.state, claim).is_some() {
        table.push();
    }
    worker.join().unwrap();
    table.run_lane();
    table.assert_over();
}
model! {
    /// A worker pushes what it gives back, and the timer pushes it again by the claim it left behind.
    batch_return, Bound::ALL, fails: [GiveBackWithoutBump as give_back_without_bump]
}

// ---- M21: the timer inbox ----

/// The timer's side: what it owns, and what it does with its mail.
struct Timer {
    owns: bool,
}

impl Timer {
    fn read_mail<P: Protocol>(&mut self, table: &Table<P>) {
        let mut flags = None;
        table.inbox.drain(|_, found| flags = Some(found));
        let Some(flags) = flags else { return };
        if flags.handover() {
            assert!(!self.owns, "the index was handed over twice");
            self.owns = true;
            table.touch_link();
        }
        if self.owns {
            match table.state.load().phase() {
                Phase::Doomed => self.push(table),
                Phase::Delayed => {}
                other => panic!("the timer owns a slot that is {other:?}"),
            }
        }
    }

    fn fire<P: Protocol>(&mut self, table: &Table<P>) {
        if self.owns {
            P::fire(&table.state);
            self.push(table);
        }
    }

    fn push<P: Protocol>(&mut self, table: &Table<P>) {
        self.owns = false;
        table.push();
    }
}

fn arm_cancel_fire<P: Protocol>() {
    let (table, lease) = Table::<P>::started();
    let nacker = spawn(&table, move |table| match P::settle(&table.state, lease, |_| Next::Delayed { spend_failure: true }) {
        Ok(Settled::Delayed(_)) => {
            table.touch_link();
            table.inbox.post(0, Flag::Handover);
        }
        other => panic!("{other:?}"),
    });
    let canceller = spawn(&table, |table| match table.cancel(1) {
        Some(CancelStep::DoomedDelayed) => {
            table.outcome(1);
            table.inbox.post(0, P::POKE);
        }
        Some(CancelStep::Doomed) => table.outcome(1),
        Some(CancelStep::Flagged | CancelStep::Gone) | None => {}
        Some(CancelStep::Retry(_)) => unreachable!(),
    });
    let mut timer = Timer { owns: false };
    timer.read_mail(&table);
    timer.fire(&table);
    nacker.join().unwrap();
    canceller.join().unwrap();
    timer.read_mail(&table);
    timer.fire(&table);
    // exactly one push came of it
    let claim = table.pop().expect("the index was lost");
    match P::start(&table.state, claim) {
        Start::Running(word) => {
            assert!(table.ack(word.epoch(), 1));
        }
        Start::Doomed => table.dispose(claim),
        Start::Moved => panic!("nobody moved it"),
    }
    table.assert_over();
}
model! {
    /// A canceller's poke overtakes the nacker's handover; or the cancel falls between the timer's look and its fire.
    arm_cancel_fire, Bound::ALL, fails: [OneFlag as one_flag, FireByStore as fire_by_store]
}

/// Two slots, two senders, one timer: nothing posted is lost, whatever is posted while the list is being read.
fn mail<const FLAGS_FIRST: bool>() {
    struct Post {
        inbox: Inbox,
        /// What travels with a handover.
        due: [UnsafeCell<u32>; 2],
    }
    // SAFETY: a due time is written before its handover and read after; loom reports it if the inbox does not order them.
    unsafe impl Sync for Post {}
    // SAFETY: nothing in it belongs to a thread.
    unsafe impl Send for Post {}

    let post = Arc::new(Post { inbox: Inbox::new(2), due: [UnsafeCell::new(0), UnsafeCell::new(0)] });
    let hand_over = |post: &Post, index: u32| {
        // SAFETY: this sender alone owns the index
        post.due[index as usize].with_mut(|due| unsafe { *due = 7 });
        post.inbox.post(index, Flag::Handover);
    };
    let first = thread::spawn({
        let post = Arc::clone(&post);
        move || {
            post.inbox.post(1, Flag::Poke);
            hand_over(&post, 0);
        }
    });
    let second = thread::spawn({
        let post = Arc::clone(&post);
        move || hand_over(&post, 1)
    });
    let mut handed_over = [0, 0];
    let mut read = || {
        post.inbox.drain_in_order::<FLAGS_FIRST>(|index, flags| {
            if flags.handover() {
                handed_over[index as usize] += 1;
                // SAFETY: the handover gave us the index
                post.due[index as usize].with(|due| assert_eq!(unsafe { *due }, 7));
            }
        });
    };
    read();
    read();
    first.join().unwrap();
    second.join().unwrap();
    read();
    assert_eq!(handed_over, [1, 1], "mail was lost");
}

/// A slot is posted again between the clearing of its flags and the reading of its link: the rest of the list is lost.
#[test]
fn no_mail_is_lost() {
    check("inbox/no_mail_is_lost", Bound::ALL, mail::<false>);
}

#[test]
fn no_mail_is_lost_twin_flags_before_link() {
    must_fail("inbox/flags_before_link", Bound::ALL, mail::<true>);
}
