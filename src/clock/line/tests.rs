//! Lines by hand, at 2 ticks a nanosecond.

use super::{LONGEST, Line, SHORTEST, SLACK, Sample};

const START: Sample = Sample { ticks: 1_000_000_000, os_nanos: 500 };

/// `nanos` after the start, by both clocks.
fn after(nanos: u64) -> Sample {
    Sample { ticks: START.ticks + 2 * nanos, os_nanos: START.os_nanos + nanos }
}

/// Fitted after a millisecond: two milliseconds long.
fn fitted() -> Line {
    Line::point(START, 0).next(after(SHORTEST)).expect("a millisecond is enough")
}

/// The last tick of the line.
fn last(line: &Line) -> u64 {
    line.ticks + line.span
}

#[test]
fn a_point_holds_at_its_tick_only() {
    let point = Line::point(START, 0);
    assert_eq!(point.at(START.ticks), Some(500));
    assert_eq!(point.at(START.ticks + 1), None);
    assert_eq!(point.at(START.ticks - SLACK), Some(500), "read just before, or on a CPU a little behind");
    assert_eq!(point.at(START.ticks - SLACK - 1), None);
    assert_eq!(point.at(0), None, "a counter that was reset");
    assert_eq!(point.end(), 500);
}

#[test]
fn the_first_line_is_fitted_after_a_millisecond() {
    let point = Line::point(START, 0);
    assert_eq!(point.next(after(SHORTEST - 1)), None);
    let line = fitted();
    assert_eq!((line.nanos, line.rate, line.span), (500 + SHORTEST, 1 << 31, 4 * SHORTEST));
    assert_eq!(line.at(line.ticks + 2_000), Some(line.nanos + 1_000));
    assert_eq!(line.at(last(&line)), Some(line.end()));
    assert_eq!(line.at(last(&line) + 1), None);
}

#[test]
fn lines_grow_to_a_second() {
    let (mut line, mut now, mut lines) = (fitted(), SHORTEST, 1);
    while line.end() - line.nanos < LONGEST {
        now += line.end() - line.nanos + 100;
        line = line.next(after(now)).unwrap();
        assert_eq!(line.nanos, 500 + now);
        lines += 1;
    }
    assert_eq!(lines, 10);
    line = line.next(after(now + 60 * LONGEST)).unwrap();
    assert_eq!(line.end() - line.nanos, LONGEST);
}

#[test]
fn who_is_behind_steps_forward() {
    let line = fitted();
    let late = Sample { os_nanos: after(4 * SHORTEST).os_nanos + 1_000, ..after(4 * SHORTEST) };
    let next = line.next(late).unwrap();
    assert_eq!(next.at(late.ticks), Some(late.os_nanos));
}

#[test]
fn who_is_ahead_loses_the_lead_by_the_end_of_the_line() {
    let line = fitted();
    // 500 ns of lead: the end of the line lies ahead of the operating system
    let early = Sample { ticks: last(&line) + 1, os_nanos: line.end() - 500 };
    let next = line.next(early).unwrap();
    assert_eq!(next.at(early.ticks), Some(line.end()), "no step back");
    let stretch = 2 * (early.os_nanos - line.os_nanos);
    assert!(next.end().abs_diff(early.os_nanos + stretch) <= 2, "{next:?}");
}

#[test]
fn a_great_lead_is_lost_at_half_speed() {
    let line = Line { nanos: fitted().nanos + LONGEST, ..fitted() };
    let next = line.next(after(4 * SHORTEST)).unwrap();
    assert_eq!(next.nanos, line.end());
    assert_eq!(next.end() - next.nanos, 3 * SHORTEST, "half of the six milliseconds that it spans");
}

#[test]
fn what_makes_no_sense_is_not_fitted_to() {
    let line = fitted();
    let samples = [
        ("rates that differ", Sample { ticks: after(4 * SHORTEST).ticks + SHORTEST, ..after(4 * SHORTEST) }),
        ("a counter that was reset", Sample { ticks: 17, ..after(4 * SHORTEST) }),
        ("a counter that ran ahead", Sample { os_nanos: line.os_nanos + 5, ..after(4 * SHORTEST) }),
        ("an operating system that stood still", Sample { os_nanos: line.os_nanos, ..after(4 * SHORTEST) }),
        ("a long time", after(1_000 * SHORTEST)),
    ];
    for (what, sample) in samples {
        assert_eq!(line.next(sample), Some(Line::point(sample, line.end())), "{what}");
    }
    let point = Line::point(START, 0);
    let slow = Sample { ticks: START.ticks + 17, ..after(2 * SHORTEST) };
    assert_eq!(point.next(slow), Some(Line::point(slow, 0)), "no such counter exists");
}

#[test]
fn nothing_overflows() {
    let end = Sample { ticks: u64::MAX, os_nanos: u64::MAX };
    assert_eq!(Line::point(START, 0).next(end), Some(Line::point(end, 0)));
    assert_eq!(Line::point(end, 0).next(START), Some(Line::point(START, u64::MAX)));
    assert_eq!(Line::point(end, 0).at(0), None);
}
