#![allow(clippy::disallowed_methods, reason = "tests read the clock")]

use super::*;
use std::time::Instant;

/// A wake-up that has come is not waited for: nothing may hang.
const LONG: Option<Duration> = Some(Duration::from_secs(5));

fn seated(events: &EventCount) -> (Parker, Seat) {
    let parker = Parker::new();
    let seat = events.take_seat(parker.unparker()).unwrap();
    (parker, seat)
}

#[test]
fn every_seat_is_taken_once_lowest_first() {
    let events = EventCount::new();
    let mut seats: Vec<Seat> = (0..SLEEPERS_MAX).map(|_| seated(&events).1).collect();
    assert!(seats.iter().enumerate().all(|(index, seat)| seat.index() == index));
    assert_eq!(events.take_seat(Parker::new().unparker()), None);
    events.free_seat(seats.remove(17));
    assert_eq!(seated(&events).1.index(), 17);
}

#[test]
fn a_notification_wakes_the_lowest_sleeper_and_counts_it_as_searching() {
    let events = EventCount::new();
    let (_, _zero) = seated(&events);
    let (parker_one, one) = seated(&events);
    let (_, two) = seated(&events);
    events.announce(&two, false);
    events.announce(&one, false);
    events.notify_one();
    assert_eq!(events.sleep(&one, &parker_one, LONG), Woken::Signalled);
    assert!(events.is_asleep(&two));
    assert_eq!(events.census(), (1, 1));
    events.notify_one(); // one searches: nobody else is woken
    assert!(events.is_asleep(&two));
}

#[test]
fn a_batch_wakes_as_many_as_it_has_jobs_less_those_who_search() {
    let events = EventCount::new();
    let seats: Vec<_> = (0..6).map(|_| seated(&events)).collect();
    seats.iter().skip(1).for_each(|(_, seat)| events.announce(seat, false));
    assert!(events.try_search(1));
    events.notify_pushed(3);
    assert_eq!(events.census(), (3, 3));
    events.notify_many(2);
    assert_eq!(events.census(), (3, 3));
    events.notify_many(usize::MAX);
    assert_eq!(events.census(), (0, 6));
}

#[test]
fn the_last_searcher_wakes_the_next_one_if_there_is_more() {
    let events = EventCount::new();
    let (_, sleeper) = seated(&events);
    events.announce(&sleeper, false);
    assert!(events.try_search(2) && events.try_search(2) && !events.try_search(2));
    events.found_work(|| unreachable!("somebody else still searches"));
    events.found_work(|| false);
    assert_eq!(events.census(), (1, 0));
    assert!(events.try_search(1));
    events.found_work(|| true);
    assert_eq!(events.census(), (0, 1));
}

#[test]
fn a_searcher_that_gives_up_hands_the_search_on() {
    let events = EventCount::new();
    let (_, sleeper) = seated(&events);
    events.announce(&sleeper, false);
    assert!(events.try_search(1));
    events.give_up_search();
    assert_eq!(events.census(), (0, 1));
}

#[test]
fn announcing_leaves_the_search_in_the_same_step() {
    let events = EventCount::new();
    let (_, seat) = seated(&events);
    assert!(events.try_search(1));
    events.announce(&seat, true);
    assert_eq!(events.census(), (1, 0));
    assert_eq!(events.retract(&seat), Retracted::InTime);
    assert_eq!(events.census(), (0, 1));
}

#[test]
fn taking_back_an_announcement_that_was_answered_counts_once() {
    let events = EventCount::new();
    let (_, seat) = seated(&events);
    events.announce(&seat, false);
    events.notify_one();
    assert_eq!(events.retract(&seat), Retracted::AlreadyWoken);
    assert_eq!(events.census(), (0, 1));
}

#[test]
fn a_stale_token_does_not_end_a_sleep() {
    let events = EventCount::new();
    let (parker, seat) = seated(&events);
    parker.unparker().unpark();
    events.announce(&seat, false);
    let (begun, timeout) = (Instant::now(), Duration::from_millis(2));
    assert_eq!(events.sleep(&seat, &parker, Some(timeout)), Woken::TimedOut);
    assert!(begun.elapsed() >= timeout);
    assert_eq!(events.census(), (0, 1));
}

#[test]
fn a_seat_is_woken_by_what_was_set_last() {
    let events = EventCount::new();
    let (old, seat) = seated(&events);
    let new = Parker::new();
    events.wake_by(&seat, new.unparker());
    events.announce(&seat, false);
    events.notify_one();
    assert_eq!([&old, &new].map(|parker| parker.park_timeout(Duration::ZERO)), [false, true]);
}

#[test]
fn a_targeted_wake_up_finds_its_sleeper_even_while_others_search() {
    let events = EventCount::new();
    let (_, low) = seated(&events);
    let (parker, high) = seated(&events);
    events.announce(&low, false);
    events.announce(&high, false);
    assert!(events.try_search(1));
    assert!(events.notify_seat(high.index()));
    assert_eq!(events.sleep(&high, &parker, LONG), Woken::Signalled);
    assert!(!events.notify_seat(high.index()), "it is awake");
    assert!(events.is_asleep(&low));
}

#[test]
fn a_lone_sleeper_is_woken_by_its_number() {
    let events = EventCount::new();
    let (parker, seat) = seated(&events);
    assert!(!events.notify_seat(seat.index()));
    events.announce(&seat, false);
    assert!(events.notify_seat(seat.index()));
    assert_eq!((events.sleep(&seat, &parker, LONG), events.census()), (Woken::Signalled, (0, 1)));
}

#[test]
fn everybody_wakes_at_the_end() {
    let events = EventCount::new();
    let seats: Vec<_> = (0..SLEEPERS_MAX).map(|_| seated(&events)).collect();
    seats.iter().for_each(|(_, seat)| events.announce(seat, false));
    events.notify_all();
    assert!(seats.iter().all(|(parker, seat)| events.sleep(seat, parker, LONG) == Woken::Signalled));
    assert_eq!(events.census(), (0, SLEEPERS_MAX as u32));
}

#[test]
fn what_changed_for_everybody_wakes_sleepers_only() {
    let events = EventCount::new();
    let seats: Vec<_> = (0..3).map(|_| seated(&events)).collect();
    seats.iter().step_by(2).for_each(|(_, seat)| events.announce(seat, false));
    assert!(events.try_search(1));
    events.notify_all();
    assert_eq!(events.census(), (0, 3));
    assert!(seats.iter().map(|(parker, _)| parker.park_timeout(Duration::ZERO)).eq([true, false, true]));
}

#[test]
fn a_watched_sleep_heals_a_lost_wake_up_and_tells() {
    let events = EventCount::new();
    let (parker, seat) = seated(&events);
    let (begun, beat) = (Instant::now(), Duration::from_millis(40));
    events.announce(&seat, false);
    let mut looks = 0;
    let slept = events.sleep_watched(&seat, &parker, beat, || {
        looks += 1;
        assert!(looks <= SUSPICIONS + 1 && begun.elapsed() >= beat, "the first look is a heartbeat later");
        true
    });
    assert_eq!((slept, looks), (Woken::TimedOut, SUSPICIONS + 1));
    assert_eq!(events.census(), (0, 1));
}

#[test]
fn a_watched_sleep_is_not_alarmed_by_work_that_somebody_rings_for() {
    let events = EventCount::new();
    let (parker, seat) = seated(&events);
    events.announce(&seat, false);
    let mut looks = 0;
    let slept = events.sleep_watched(&seat, &parker, Duration::from_millis(2), || {
        looks += 1;
        match looks {
            // no work: sleep on; then a publisher that was slow to ring
            1..4 => return false,
            4..8 => (),
            _ => events.notify_one(),
        }
        true
    });
    assert_eq!((slept, looks), (Woken::Signalled, 8));
}

#[test]
fn a_watched_sleep_is_not_alarmed_by_work_that_somebody_searches_for_but_does_not_wait_for_ever() {
    let events = EventCount::new();
    let (parker, seat) = seated(&events);
    events.announce(&seat, false);
    assert!(events.try_search(1));
    let mut looks = 0;
    let slept = events.sleep_watched(&seat, &parker, Duration::from_millis(1), || {
        looks += 1;
        assert!(looks <= 4);
        // no work for a moment: nobody is stopped
        looks != 2
    });
    assert_eq!((slept, looks), (Woken::Overdue, 4));
    assert_eq!(events.census(), (0, 2), "the one that is stopped still counts");
}

#[test]
fn consumers_are_rung_for_one_by_one_and_none_is_counted() {
    let events = EventCount::for_consumers();
    let seats: Vec<_> = (0..3).map(|_| seated(&events)).collect();
    seats.iter().for_each(|(_, seat)| events.announce(seat, false));
    events.notify_one();
    events.notify_one();
    assert_eq!(events.census(), (1, 0), "the second job does not wait for the first consumer");
    assert_eq!(events.retract(&seats[0].1), Retracted::AlreadyWoken);
    events.found_work(|| false);
    assert_eq!(events.census(), (1, 0));
    events.found_work(|| true);
    assert_eq!(events.census(), (0, 0), "who leaves work behind wakes the next");
    assert_eq!(events.sleep(&seats[2].1, &seats[2].0, LONG), Woken::Signalled);
    events.found_work(|| unreachable!("nobody sleeps"));
}
