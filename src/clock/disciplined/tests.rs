//! Machines whose clocks a test moves, and the real one.

#![allow(clippy::disallowed_methods, reason = "tests start threads and read the clock")]

mod real;
mod threads;

use super::{Disciplined, Machine, NARROW};
use crate::rng::Rng;
use crate::sync::chaos::set_hook;
use proptest::prelude::*;
use std::cell::Cell;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;

/// A machine; every reading takes its time.
struct World {
    /// The counter and the operating system's nanoseconds, each 64.32.
    ticks: Cell<u128>,
    os: Cell<u128>,
    /// What they advance by in a nanosecond of real time, 32.32.
    tick_rate: Cell<u64>,
    os_rate: Cell<u64>,
    /// So many of the next answers of the operating system are interrupted for a millisecond.
    interrupts: Cell<u32>,
    /// How late the counter of the CPU is that runs the thread.
    behind: Cell<u64>,
    rng: Cell<u64>,
}

/// 32.32 of `value`.
fn fixed(value: f64) -> u64 {
    (value * (1u64 << 32) as f64) as u64
}

impl World {
    fn new(ghz: f64) -> Self {
        World {
            ticks: Cell::new(u128::from(fixed(ghz)) * u128::from(300 * SECOND)),
            os: Cell::new(u128::from(7 * SECOND) << 32),
            tick_rate: Cell::new(fixed(ghz)),
            os_rate: Cell::new(fixed(1.0)),
            interrupts: Cell::new(0),
            behind: Cell::new(0),
            rng: Cell::new(1),
        }
    }

    fn pass(&self, nanos: u64) {
        self.suspend(nanos);
        self.stop_counter(nanos);
    }

    /// The counter goes on, the operating system's clock does not.
    fn suspend(&self, nanos: u64) {
        self.ticks.set(self.ticks.get() + u128::from(nanos) * u128::from(self.tick_rate.get()));
    }

    /// The operating system's clock goes on, the counter does not.
    fn stop_counter(&self, nanos: u64) {
        self.os.set(self.os.get() + u128::from(nanos) * u128::from(self.os_rate.get()));
    }

    fn os(&self) -> u64 {
        (self.os.get() >> 32) as u64
    }

    /// 5 to 15 ns: what a part of a reading takes.
    fn spend(&self) {
        let mut rng = Rng::new(self.rng.get());
        self.pass(5 + rng.up_to(10));
        self.rng.set(rng.next_u64());
    }
}

impl Machine for &World {
    fn ticks(&self) -> u64 {
        self.spend();
        let ticks = (self.ticks.get() >> 32) as u64 - self.behind.get();
        self.spend();
        ticks
    }

    fn ticks_after_loads(&self) -> u64 {
        self.ticks()
    }

    fn os_nanos(&self) -> u64 {
        if self.interrupts.get() > 0 {
            self.interrupts.set(self.interrupts.get() - 1);
            self.pass(MS);
        }
        self.spend();
        let os = self.os();
        self.spend();
        os
    }
}

/// How far a reading is outside of what the operating system said before and after it: positive when it is ahead.
fn distance(clock: &Disciplined<&World>) -> i64 {
    let before = clock.machine.os() as i64;
    let time = clock.now() as i64;
    let after = clock.machine.os() as i64;
    (time - after).max(0) + (time - before).min(0)
}

/// Readings every `step` for `length`; the greatest distance.
fn watch(clock: &Disciplined<&World>, step: u64, length: u64) -> i64 {
    let reads = (0..length / step).map(|_| {
        clock.machine.pass(step);
        distance(clock).abs()
    });
    reads.max().unwrap_or(0)
}

/// What a clock may be off by while the operating system's pace is steady: each sample by half of what it took, up to 45 ns here, in a line that reaches twice
/// as far as what it was fitted to; and the rounding of the rate.
const STEADY: i64 = 250;

#[test]
fn a_steady_machine_is_followed_for_a_hundred_years() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let world = World::new(0.2 + rng.up_to(60) as f64 / 10.0);
        // the two clocks never agree about the length of a second
        world.os_rate.set(fixed(1.0 + (rng.up_to(200) as f64 - 100.0) / 1e6));
        let clock = Disciplined::new(&world).unwrap();
        let (mut last, born) = (0, world.os());
        while world.os() < born + 100 * 365 * DAY {
            let most = 1 << rng.up_to(50);
            world.pass(rng.up_to(most));
            for _ in 0..rng.up_to(20) {
                let distance = distance(&clock);
                assert!(distance.abs() <= STEADY, "seed {seed}, day {}: off by {distance} ns", world.os() / DAY);
                world.pass(rng.up_to(MS));
            }
            let time = clock.stamp();
            assert!(time >= last, "seed {seed}: {time} after {last}");
            last = time;
        }
    }
}

#[test]
fn a_pace_that_drifts_is_followed() {
    let world = World::new(2.6);
    let clock = Disciplined::new(&world).unwrap();
    // one part in a million a second, up and down: a reading is off by what the pace changes between the line and what it was fitted to
    for second in 0..200 {
        let parts = if second / 50 % 2 == 0 { second % 50 } else { 50 - second % 50 };
        world.os_rate.set(fixed(1.0 + f64::from(parts) / 1e6));
        let off = watch(&clock, MS / 3, SECOND);
        assert!(off <= 2_500 + STEADY, "second {second}: off by {off} ns");
    }
}

#[test]
fn a_pace_that_leaps_is_found_again_in_the_lines_that_follow() {
    let world = World::new(2.6);
    let clock = Disciplined::new(&world).unwrap();
    watch(&clock, MS, 5 * SECOND);
    let mut last = 0_i64;
    for pace in [500, -500, 0, 80_000, -80_000, 0] {
        world.os_rate.set(fixed(1.0 + pace as f64 / 1e6));
        let (leap, off) = (last.abs_diff(pace) as i64, watch(&clock, MS, SECOND));
        assert!(off <= leap * 1_100 + STEADY, "{pace}: off by {off} ns, by a leap of {leap} millionths");
        // one more line to measure the new pace by, and to lose the lead
        watch(&clock, MS, 2 * SECOND);
        let off = watch(&clock, MS, 3 * SECOND);
        assert!(off <= STEADY, "{pace}: still off by {off} ns");
        last = pace;
    }
}

#[test]
fn an_idle_hour_costs_no_accuracy() {
    let world = World::new(3.1);
    let clock = Disciplined::new(&world).unwrap();
    watch(&clock, MS, 5 * SECOND);
    for hours in [1, 5, 100] {
        world.pass(hours * 3600 * SECOND);
        let off = watch(&clock, 10_000, SECOND / 10);
        assert!(off <= STEADY, "after {hours} hours: off by {off} ns");
    }
}

#[test]
fn a_suspend_puts_it_ahead_by_a_line_at_most_and_the_lead_is_lost() {
    let world = World::new(2.0);
    let clock = Disciplined::new(&world).unwrap();
    watch(&clock, MS, 5 * SECOND);
    world.suspend(3600 * SECOND);
    let ahead = distance(&clock);
    assert!(ahead >= 0 && ahead <= SECOND as i64 + STEADY, "ahead by {ahead} ns");
    watch(&clock, MS, 3 * SECOND);
    let off = watch(&clock, MS, SECOND);
    assert!(off <= STEADY, "still off by {off} ns");
}

#[test]
fn a_counter_that_stood_still_is_made_up_for_within_a_line() {
    let world = World::new(2.0);
    let clock = Disciplined::new(&world).unwrap();
    watch(&clock, MS, 5 * SECOND);
    world.stop_counter(3600 * SECOND);
    watch(&clock, MS, SECOND + 2 * MS);
    let off = watch(&clock, MS, 5 * SECOND);
    assert!(off <= STEADY, "still off by {off} ns");
}

#[test]
fn a_counter_that_is_reset_is_noticed_at_once() {
    let world = World::new(2.0);
    let clock = Disciplined::new(&world).unwrap();
    watch(&clock, MS, 5 * SECOND);
    let before = clock.now();
    world.ticks.set(0);
    let time = clock.now();
    assert!(time >= before && time - before <= SECOND, "{time} after {before}");
    watch(&clock, MS, 3 * SECOND);
    let off = watch(&clock, MS, SECOND);
    assert!(off <= STEADY, "still off by {off} ns");
}

#[test]
fn an_interrupted_question_is_answered_and_anchors_nothing() {
    let world = World::new(2.0);
    let clock = Disciplined::new(&world).unwrap();
    watch(&clock, MS, 5 * SECOND);
    world.pass(SECOND);
    let line = clock.line.read().0;
    world.interrupts.set(super::TRIES);
    let off = distance(&clock);
    assert!(off.abs() <= STEADY, "off by {off} ns");
    assert_eq!(clock.line.read().0, line);
    assert!(watch(&clock, MS, SECOND) <= STEADY);
    assert_ne!(clock.line.read().0, line);
}

/// One reading fits a line; before it puts it in place, another is interrupted and gets a bare answer, of a later time. The line must not come through: it
/// knows nothing of that answer.
#[test]
fn a_bare_answer_outdates_the_lines_that_are_being_fitted() {
    let world: &'static World = Box::leak(Box::new(World::new(2.0)));
    let clock: &'static Disciplined<&World> = Box::leak(Box::new(Disciplined::new(world).unwrap()));
    watch(clock, MS, 5 * SECOND);
    world.pass(SECOND);
    let answer: &'static Cell<u64> = Box::leak(Box::new(Cell::new(0)));
    set_hook(Some(Box::new(move |at| {
        if at == "latest.filled" && answer.get() == 0 {
            world.stop_counter(MS);
            world.interrupts.set(super::TRIES);
            answer.set(clock.now());
        }
    })));
    let outdated = clock.now();
    set_hook(None);
    assert!(answer.get() > 0, "the line was replaced");
    assert!(outdated >= answer.get(), "{outdated} after {answer:?}");
    assert!(clock.now() >= outdated);
}

#[test]
fn a_counter_that_is_slow_to_read_is_not_used() {
    let world = World::new(NARROW as f64);
    assert!(Disciplined::new(&world).is_none());
}

#[test]
fn a_cpu_that_is_behind_sets_time_back_by_no_more_than_that() {
    let world = World::new(2.0);
    let clock = Disciplined::new(&world).unwrap();
    let (mut rng, mut last) = (Rng::new(3), 0);
    for _ in 0..200_000 {
        world.behind.set(rng.up_to(1) * 1_000);
        world.pass(rng.up_to(100_000));
        let time = clock.stamp();
        assert!(time + 500 + 1 >= last, "{time} after {last}");
        last = time;
    }
}

/// What may befall a machine.
#[derive(Debug, Clone)]
enum Event {
    Pass(u64),
    Suspend(u64),
    StopCounter(u64),
    Reset,
    /// The operating system's pace, in millionths more or less.
    Pace(i64),
    Interrupt(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let time = || (0u32..45).prop_flat_map(|bits| 0u64..1 << bits);
    prop_oneof![
        10 => time().prop_map(Event::Pass),
        1 => time().prop_map(Event::Suspend),
        1 => time().prop_map(Event::StopCounter),
        1 => Just(Event::Reset),
        2 => (-100_000i64..100_000).prop_map(Event::Pace),
        2 => (1u32..12).prop_map(Event::Interrupt),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever happens, a thread's readings do not step back, are never behind what the operating system says by more than the line allows, and in the end the
    /// clock is where the operating system's is.
    #[test]
    fn time_never_steps_back_whatever_befalls_the_machine(events in prop::collection::vec(event(), 1..60), steps in 1u64..2 * MS) {
        let world = World::new(2.5);
        let clock = Disciplined::new(&world).unwrap();
        let mut last = 0;
        for event in &events {
            match *event {
                Event::Pass(nanos) => world.pass(nanos),
                Event::Suspend(nanos) => world.suspend(nanos),
                Event::StopCounter(nanos) => world.stop_counter(nanos),
                // not while the line begins in the first moments of the counter: a step to just before its start looks like a CPU that is a little behind
                Event::Reset if clock.line.read().0[0] > 10 * SECOND => world.ticks.set(0),
                Event::Reset => {}
                Event::Pace(parts) => world.os_rate.set(fixed(1.0 + parts as f64 / 1e6)),
                Event::Interrupt(times) => world.interrupts.set(times),
            }
            for _ in 0..20 {
                let time = clock.now();
                prop_assert!(time >= last, "{} after {}", time, last);
                last = time;
                world.pass(steps);
            }
        }
        watch(&clock, MS, 5 * SECOND);
        let off = watch(&clock, MS, 2 * SECOND);
        prop_assert!(off <= STEADY, "off by {} ns in the end", off);
    }
}
