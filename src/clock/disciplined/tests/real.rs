//! The machine that the tests run on.

use super::Machine;
use crate::clock::{Clock, SystemClock, Timestamp, tsc};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// What the guarantees promise while the operating system does not change its pace; it is far less in fact.
const BOUND: u64 = 10_000;

/// Readings in one thread for a second, each between two of the operating system's: however long the thread is interrupted, ours must lie between.
#[test]
fn a_second_of_stamps_stays_beside_the_operating_system() {
    let Some(clock) = tsc::process_wide() else { return };
    let (mut readings, mut last, mut worst) = (0u64, 0, 0);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        let before = clock.machine.os_nanos();
        let (stamp, time) = (clock.stamp(), clock.now());
        let after = clock.machine.os_nanos();
        for reading in [stamp, time] {
            let off = before.saturating_sub(reading).max(reading.saturating_sub(after));
            assert!(off <= BOUND, "off by {off} ns after {readings} readings");
            assert!(reading >= last, "{reading} after {last}");
            (worst, last) = (worst.max(off), reading);
        }
        readings += 1;
    }
    println!("{readings} readings, off by {worst} ns at most: {clock:?}");
}

#[test]
fn a_clock_begins_at_zero_and_runs() {
    let (clock, begun) = (SystemClock::new(), Instant::now());
    let first = clock.stamp();
    assert!(first < Timestamp::from_nanos(10_000_000_000), "{first:?}");
    while begun.elapsed() < Duration::from_millis(20) {
        assert!(clock.now() >= first);
    }
    assert!(clock.now().since(Timestamp::ZERO) >= Duration::from_millis(20) - Duration::from_nanos(BOUND));
}

/// Two threads pass a token with the time at which it was passed. By how much that lies after the time at which it arrived, at most.
fn passing(read: fn(&SystemClock) -> Timestamp) -> u64 {
    const ROUNDS: u64 = 200_000;
    let clock = SystemClock::new();
    let (turn, passed, back) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    crate::tests::threads::scope(|scope| {
        for me in 0..2 {
            let (turn, passed, back, clock) = (&turn, &passed, &back, &clock);
            scope.spawn(move || {
                for round in (me..ROUNDS).step_by(2) {
                    let mut looks = 0;
                    while turn.load(SeqCst) != round {
                        looks += 1;
                        if looks % 64 == 0 {
                            thread::yield_now();
                        }
                    }
                    let now = read(clock).as_nanos();
                    back.fetch_max(passed.load(SeqCst).saturating_sub(now), SeqCst);
                    passed.store(read(clock).as_nanos(), SeqCst);
                    turn.store(round + 1, SeqCst);
                }
            });
        }
    });
    back.into_inner()
}

#[test]
fn time_does_not_run_backwards_between_threads() {
    let (now, stamp) = (passing(|clock| clock.now()), passing(|clock| clock.stamp()));
    println!("back by {now} ns (now), {stamp} ns (stamp)");
    assert!(now <= 1_000 && stamp <= 1_000, "back by {now} ns (now), {stamp} ns (stamp)");
}
