//! Schedules in a runtime: most on the manual clock, whose wall a test sets.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests watch real threads from outside")]

use super::naive::at;
use super::{schedule, secs};
use crate::clock::{Clock, ManualClock};
use crate::cron::CronPeriodic;
use crate::{MissedPeriods, Producer, QueueConfig, QueueHandle, Runtime};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// When jobs were made, by the wall.
type Seen = Arc<Mutex<Vec<SystemTime>>>;

struct House {
    clock: Arc<ManualClock>,
    runtime: Runtime,
    queue: QueueHandle<()>,
    producer: Producer<()>,
}

impl House {
    fn new(wall: SystemTime) -> Self {
        let clock = Arc::new(ManualClock::new());
        clock.set_wall(wall);
        let mut builder = Runtime::builder().manual(Arc::clone(&clock));
        let queue = builder.queue(QueueConfig::new("q").capacity(1024), |_: &(), _: &_| ()).unwrap();
        let runtime = builder.build().unwrap();
        let producer = queue.producer().unwrap();
        House { clock, runtime, queue, producer }
    }

    fn cron(&self, text: &str, missed: MissedPeriods) -> (CronPeriodic<()>, Seen) {
        let (seen, clock) = (Seen::default(), Arc::clone(&self.clock));
        let log = Arc::clone(&seen);
        (self.producer.cron(&schedule(text), missed, move || log.lock().unwrap().push(clock.wall())), seen)
    }

    fn advance(&self, seconds: u64) {
        self.runtime.advance(&self.clock, secs(seconds));
    }

    /// Sets the wall so many seconds forwards or back.
    fn step(&self, seconds: i64) {
        let (wall, distance) = (self.clock.wall(), secs(seconds.unsigned_abs()));
        self.clock.set_wall(if seconds < 0 { wall - distance } else { wall + distance });
    }
}

/// What was seen since the last time, in hours after `from`.
fn hours(seen: &Seen, from: SystemTime) -> Vec<f64> {
    seen.lock().unwrap().drain(..).map(|time| time.duration_since(from).unwrap().as_secs_f64() / 3600.0).collect()
}

#[test]
fn every_minute_and_every_second_of_a_day_has_its_job() {
    let start = at((2024, 2, 28, 23, 59, 59)) + Duration::from_millis(250);
    let house = House::new(start);
    let (_minutely, minutes) = house.cron("* * * * *", MissedPeriods::Skip);
    let (_secondly, seconds) = house.cron("* * * * * *", MissedPeriods::CatchUp);
    house.advance(86_400);
    let leap_day = at((2024, 2, 29, 0, 0, 0));
    let want = |every: u64| (0..86_400 / every).map(|n| leap_day + secs(n * every)).collect::<Vec<_>>();
    assert!(*minutes.lock().unwrap() == want(60));
    assert!(*seconds.lock().unwrap() == want(1));
    assert_eq!(house.queue.counts().acked, 1_440 + 86_400);
    assert_eq!(house.queue.counts().periods_missed, 0);
}

#[test]
fn a_monthly_job_comes_at_its_second_through_a_spring_and_two_schedules_do_not_meet() {
    let house = House::new(at((2024, 1, 1, 0, 0, 0)));
    let (_monthly, ends) = house.cron("59 23 L * *", MissedPeriods::CatchUp);
    let (_yearly, leaps) = house.cron("0 12 29 2 *", MissedPeriods::Skip);
    house.advance(91 * 86_400);
    let month_ends = [31, 29, 31];
    let want: Vec<_> = (1..).zip(month_ends).map(|(month, day)| at((2024, month, day, 23, 59, 0))).collect();
    assert_eq!(*ends.lock().unwrap(), want);
    assert_eq!(*leaps.lock().unwrap(), [at((2024, 2, 29, 12, 0, 0))]);
}

#[test]
fn an_offset_moves_the_jobs() {
    let start = at((2026, 1, 1, 0, 0, 0));
    let house = House::new(start);
    let (seen, clock) = (Seen::default(), Arc::clone(&house.clock));
    let (log, east) = (Arc::clone(&seen), schedule("0 9 * * *").utc_offset(330).unwrap());
    let _guard = house.producer.cron(&east, MissedPeriods::Skip, move || log.lock().unwrap().push(clock.wall()));
    house.advance(2 * 86_400);
    assert_eq!(hours(&seen, start), [3.5, 27.5]);
}

#[test]
fn occurrences_that_were_slept_through_are_one_job_or_all() {
    for (missed, jobs) in [(MissedPeriods::Skip, 1), (MissedPeriods::CatchUp, 5)] {
        let start = at((2026, 1, 1, 0, 30, 0));
        let house = House::new(start);
        let (_guard, seen) = house.cron("0 * * * *", missed);
        // nobody acts meanwhile
        house.clock.advance(secs(5 * 3600));
        house.advance(3600);
        let seen = hours(&seen, start);
        assert_eq!(seen.len(), jobs + 1, "{missed:?}");
        assert_eq!((seen[jobs - 1], seen[jobs]), (5.0, 5.5), "{missed:?}");
    }
}

#[test]
fn a_wall_that_is_set_forwards_is_noticed_within_a_minute() {
    for (missed, jobs) in [(MissedPeriods::Skip, 1), (MissedPeriods::CatchUp, 5)] {
        let start = at((2026, 1, 1, 0, 30, 10));
        let house = House::new(start);
        let (_guard, seen) = house.cron("0 * * * *", missed);
        house.advance(100);
        house.step(5 * 3600);
        house.advance(60);
        let found = hours(&seen, start);
        assert_eq!(found.len(), jobs, "{missed:?}");
        assert!(found.iter().all(|hour| *hour <= 5.0 + 160.0 / 3600.0), "{missed:?}: {found:?}");
        house.advance(3600);
        assert_eq!(hours(&seen, at((2026, 1, 1, 6, 0, 0))), [0.0], "{missed:?}");
    }
}

#[test]
fn a_leap_over_thousands_of_occurrences_is_caught_up_with() {
    let house = House::new(at((2026, 1, 1, 0, 0, 0)));
    let (guard, seen) = house.cron("* * * * * *", MissedPeriods::CatchUp);
    house.advance(0);
    house.step(10_000);
    house.advance(1);
    assert_eq!(seen.lock().unwrap().len(), 10_001);
    drop(guard);
}

#[test]
fn what_has_been_is_not_published_again_when_the_wall_is_set_back() {
    for missed in [MissedPeriods::Skip, MissedPeriods::CatchUp] {
        let start = at((2026, 1, 1, 0, 0, 0));
        let house = House::new(start);
        let (_guard, seen) = house.cron("0 * * * *", missed);
        house.advance(2 * 3600 + 1800);
        assert_eq!(hours(&seen, start), [1.0, 2.0]);
        // 00:30 again
        house.step(-2 * 3600);
        house.advance(2 * 3600);
        assert_eq!(hours(&seen, start), []);
        house.advance(3600);
        assert_eq!(hours(&seen, start), [3.0]);
        // just before and just after an occurrence
        house.advance(1799);
        house.step(-2);
        house.advance(3);
        assert_eq!(hours(&seen, start), [4.0]);
        house.step(-2);
        house.advance(3);
        assert_eq!(hours(&seen, start), []);
        house.advance(3600);
        assert_eq!(hours(&seen, start), [5.0]);
    }
}

#[test]
fn a_wall_that_is_set_back_by_days_was_wrong_before() {
    let house = House::new(at((2063, 4, 5, 11, 30, 0)));
    let (_guard, seen) = house.cron("0 * * * *", MissedPeriods::CatchUp);
    house.advance(3600);
    seen.lock().unwrap().clear();
    let start = at((2026, 1, 1, 0, 30, 0));
    house.clock.set_wall(start);
    house.advance(2 * 3600);
    assert_eq!(hours(&seen, start), [0.5, 1.5]);
}

#[test]
fn a_stopped_schedule_and_a_dropped_one_are_over() {
    let house = House::new(UNIX_EPOCH);
    let (stopped, of_stopped) = house.cron("* * * * *", MissedPeriods::Skip);
    let (dropped, of_dropped) = house.cron("*/2 * * * *", MissedPeriods::CatchUp);
    assert_eq!(format!("{stopped:?}"), "CronPeriodic { schedule: CronSchedule { text: \"* * * * *\", utc_offset: 0 }, .. }");
    house.advance(120);
    stopped.stop();
    house.advance(120);
    drop(dropped);
    house.advance(3600);
    assert_eq!((of_stopped.lock().unwrap().len(), of_dropped.lock().unwrap().len()), (2, 2));
    assert_eq!(Arc::strong_count(&of_stopped), 1, "what the closure held is let go of");
}

#[test]
fn no_occurrences_are_no_jobs() {
    let house = House::new(at((4999, 12, 31, 23, 59, 59)));
    let (_guard, seen) = house.cron("@yearly", MissedPeriods::CatchUp);
    house.advance(3600);
    assert_eq!(seen.lock().unwrap().len(), 0);
}

/// On the machine's clocks, with threads.
#[test]
fn every_second_of_the_machines_wall_has_its_job() {
    let mut builder = Runtime::builder();
    let queue = builder.queue(QueueConfig::new("q"), |_: &(), _: &_| ()).unwrap();
    let _runtime = builder.build().unwrap();
    let (seen, begun) = (Seen::default(), SystemTime::now());
    let log = Arc::clone(&seen);
    let make = move || log.lock().unwrap().push(SystemTime::now());
    let _guard = queue.producer().unwrap().cron(&schedule("* * * * * *"), MissedPeriods::CatchUp, make);
    let patience = Instant::now();
    while seen.lock().unwrap().len() < 2 {
        assert!(patience.elapsed() < secs(20), "never");
        std::thread::sleep(Duration::from_millis(5));
    }
    let second = |time: &SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let jobs = seen.lock().unwrap().clone();
    assert!(jobs.iter().zip(1..).all(|(time, nth)| second(time) >= second(&begun) + nth), "never early: {begun:?}, {jobs:?}");
}
