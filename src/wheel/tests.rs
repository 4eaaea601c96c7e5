use super::*;

/// Every entry that fires up to `to`, in order, in one unbounded call.
fn fired(wheel: &mut Wheel, to: u64) -> Vec<u32> {
    let mut out = Vec::new();
    assert_eq!(wheel.advance(to, usize::MAX, |id| out.push(id)), Advance::Done);
    out
}

#[test]
fn an_entry_fires_when_its_tick_is_reached_and_not_before() {
    let mut wheel = Wheel::new(4, 100);
    assert_eq!(wheel.capacity(), 4);
    wheel.insert(2, 107);
    assert_eq!(wheel.next_due(), Some(107));
    assert_eq!(fired(&mut wheel, 106), []);
    assert_eq!(fired(&mut wheel, 107), [2]);
    assert_eq!((wheel.len(), wheel.next_due(), wheel.due(2)), (0, None, None));
}

#[test]
fn entries_fire_in_the_order_of_their_ticks_and_then_of_their_insertion() {
    let mut wheel = Wheel::new(8, 0);
    for (id, due) in [(0, 70_000), (1, 5), (2, 300), (3, 5), (4, 299), (5, 70_000)] {
        wheel.insert(id, due);
    }
    assert_eq!(fired(&mut wheel, 1 << 20), [1, 3, 4, 2, 0, 5]);
}

#[test]
fn a_tick_that_has_passed_is_due_now() {
    let mut wheel = Wheel::new(2, 1000);
    wheel.insert(0, 3);
    assert_eq!((wheel.due(0), wheel.next_due()), (Some(1000), Some(1000)));
    assert_eq!(fired(&mut wheel, 0), [0]);
    assert_eq!(wheel.now(), 1000);
}

#[test]
fn a_cancelled_entry_does_not_fire_and_its_place_can_be_taken_again() {
    let mut wheel = Wheel::new(2, 0);
    wheel.insert(0, 64);
    wheel.insert(1, 64);
    assert!(wheel.cancel(0) && !wheel.cancel(0));
    wheel.insert(0, 65);
    assert_eq!(fired(&mut wheel, 64), [1]);
    assert_eq!(fired(&mut wheel, 65), [0]);
}

#[test]
fn a_rescheduled_entry_fires_once_at_its_new_tick() {
    let mut wheel = Wheel::new(1, 0);
    wheel.reschedule(0, 10);
    wheel.reschedule(0, 5000);
    assert_eq!(wheel.len(), 1);
    assert_eq!(fired(&mut wheel, 4999), []);
    wheel.reschedule(0, 5001);
    assert_eq!(fired(&mut wheel, 5000), []);
    assert_eq!(fired(&mut wheel, 5001), [0]);
}

#[test]
fn the_budget_bounds_what_one_call_fires() {
    let mut wheel = Wheel::new(100, 0);
    (0..100).for_each(|id| wheel.insert(id, 7));
    let mut out = Vec::new();
    assert_eq!(wheel.advance(10, 40, |id| out.push(id)), Advance::More);
    assert_eq!((out.len(), wheel.now(), wheel.next_due()), (40, 7, Some(7)));
    assert_eq!(wheel.advance(10, 60, |id| out.push(id)), Advance::Done);
    assert_eq!(out, (0..100).collect::<Vec<_>>());
    assert_eq!(wheel.now(), 10);
}

#[test]
fn the_budget_bounds_what_one_call_moves() {
    let mut wheel = Wheel::new(100, 0);
    (0..100).for_each(|id| wheel.insert(id, (1 << 40) + 5));
    let mut calls = 1;
    while wheel.advance(1 << 40, 10, |id| panic!("{id} fired early")) == Advance::More {
        assert_eq!(wheel.next_due(), Some(1 << 40), "there is more to do now");
        calls += 1;
    }
    assert_eq!(calls, 10);
    assert_eq!(fired(&mut wheel, (1 << 40) + 5).len(), 100);
}

#[test]
fn an_insert_between_two_halves_of_an_advance_is_kept() {
    let mut wheel = Wheel::new(8, 0);
    (0..4).for_each(|id| wheel.insert(id, (1 << 36) + 64 + u64::from(id)));
    assert_eq!(wheel.advance(1 << 36, 1, |_| {}), Advance::More);
    wheel.insert(4, 0);
    wheel.insert(5, 1 << 37);
    assert!(wheel.cancel(3));
    assert_eq!(fired(&mut wheel, (1 << 36) + 100), [4, 0, 1, 2]);
    assert_eq!(fired(&mut wheel, 1 << 37), [5]);
}

#[test]
fn the_cost_of_an_advance_does_not_depend_on_the_distance() {
    let mut wheel = Wheel::new(2, 0);
    wheel.insert(0, u64::MAX);
    // tick by tick, or block by block, this would not end
    assert_eq!(fired(&mut wheel, u64::MAX - 1), []);
    assert_eq!(wheel.now(), u64::MAX - 1);
    assert_eq!(fired(&mut wheel, u64::MAX), [0]);
    wheel.insert(1, u64::MAX);
    assert_eq!(fired(&mut wheel, u64::MAX), [1]);
}

#[test]
fn beyond_the_range_entries_fire_at_their_true_tick() {
    let range = 1u64 << 36;
    let mut wheel = Wheel::new(4, 63);
    wheel.insert(0, 3 * range + 1);
    wheel.insert(1, range);
    wheel.insert(2, u64::MAX);
    wheel.insert(3, range - 1);
    assert_eq!(fired(&mut wheel, range - 1), [3]);
    assert_eq!(fired(&mut wheel, range), [1]);
    assert_eq!(fired(&mut wheel, 3 * range), []);
    assert_eq!(fired(&mut wheel, 3 * range + 1), [0]);
    assert_eq!(wheel.len(), 1);
}

#[test]
fn the_earliest_parked_entry_may_be_cancelled() {
    let range = 1u64 << 36;
    // the two lists of parked entries take turns
    for start in [0, range, 2 * range] {
        let mut wheel = Wheel::new(3, 0);
        (range..=start).step_by(1 << 36).for_each(|tick| {
            wheel.insert(2, tick);
            assert_eq!(fired(&mut wheel, tick), [2]);
        });
        wheel.insert(0, start + range);
        assert!(wheel.cancel(0));
        assert_eq!(fired(&mut wheel, start + 5 * range), []);
        wheel.insert(0, start + 7 * range);
        assert_eq!(wheel.next_due(), Some(start + 7 * range), "the bound of the cancelled one is forgotten");
        wheel.insert(1, start + 9 * range + 1);
        assert!(wheel.cancel(0));
        assert_eq!(fired(&mut wheel, start + 9 * range), []);
        assert_eq!(fired(&mut wheel, start + 9 * range + 1), [1]);
    }
}

#[test]
fn a_clock_that_steps_back_fires_nothing_and_moves_nothing() {
    let mut wheel = Wheel::new(2, 500);
    wheel.insert(0, 600);
    assert_eq!(fired(&mut wheel, 100), []);
    assert_eq!(wheel.now(), 500);
    assert_eq!(fired(&mut wheel, 600), [0]);
}

#[test]
fn a_panic_in_fire_leaves_the_wheel_whole() {
    let mut wheel = Wheel::new(3, 0);
    (0..3).for_each(|id| wheel.insert(id, 1));
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = wheel.advance(1, usize::MAX, |id| assert_ne!(id, 1, "as planned"));
    }));
    assert!(unwound.is_err());
    assert_eq!(fired(&mut wheel, 1), [2]);
    assert!(wheel.is_empty());
}

#[test]
#[should_panic(expected = "the wheel has no entry 4")]
fn an_id_beyond_the_capacity_is_refused() {
    Wheel::new(4, 0).insert(4, 1);
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "entry 1 is in the wheel already")]
fn inserting_twice_is_an_error_in_debug_builds() {
    let mut wheel = Wheel::new(4, 0);
    wheel.insert(1, 1);
    wheel.insert(1, 2);
}

#[test]
fn a_wheel_without_room_is_empty_for_ever() {
    let mut wheel = Wheel::new(0, 9);
    assert_eq!((wheel.next_due(), wheel.capacity()), (None, 0));
    assert_eq!(fired(&mut wheel, u64::MAX), []);
}
