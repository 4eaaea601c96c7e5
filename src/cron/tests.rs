//! Schedules alone; [`jobs`] has them in a runtime.

use super::CronSchedule;
use super::due::Due;
use crate::rng::Rng;
use crate::{ConfigError, MissedPeriods};
use naive::{Date, at};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

mod jobs;
mod naive;

fn schedule(text: &str) -> CronSchedule {
    CronSchedule::new(text).unwrap_or_else(|error| panic!("{error}"))
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The first `count` occurrences after a date, as dates.
fn after(text: &str, from: Date, count: usize) -> Vec<Date> {
    let schedule = schedule(text);
    let times = std::iter::successors(Some(at(from)), |time| schedule.next_after(*time)).skip(1);
    times.take(count).map(naive::date).collect()
}

#[test]
fn months_end_on_their_last_day_and_leap_days_come_in_leap_years() {
    let ends = after("0 0 L * *", (2024, 1, 15, 0, 0, 0), 4);
    assert_eq!(ends, [(2024, 1, 31, 0, 0, 0), (2024, 2, 29, 0, 0, 0), (2024, 3, 31, 0, 0, 0), (2024, 4, 30, 0, 0, 0)]);
    // the 31st is passed over where there is none
    let ends = after("59 23 31 * *", (2025, 3, 31, 23, 59, 0), 2);
    assert_eq!(ends, [(2025, 5, 31, 23, 59, 0), (2025, 7, 31, 23, 59, 0)]);
    let leaps = after("0 12 29 2 *", (2096, 1, 1, 0, 0, 0), 2);
    assert_eq!(leaps, [(2096, 2, 29, 12, 0, 0), (2104, 2, 29, 12, 0, 0)], "2100 is none");
}

#[test]
fn weekdays_have_numbers_names_and_places_in_their_month() {
    // 1 May 2026 is a Friday
    let days = |text, count| after(text, (2026, 5, 1, 0, 0, 0), count).into_iter().map(|date| date.2).collect::<Vec<_>>();
    assert_eq!(days("0 9 * * MON-FRI", 6), [1, 4, 5, 6, 7, 8]);
    assert_eq!(days("0 9 * * mon-fri", 6), days("0 9 * * 1-5", 6));
    assert_eq!(days("0 9 * * 7", 2), [3, 10]);
    assert_eq!(days("0 9 * * 7", 2), days("0 9 * * 0", 2));
    assert_eq!(days("0 9 * * 5#2", 1), [8]);
    assert_eq!(days("0 9 * * 5#L", 1), [29]);
    assert_eq!(days("0 9 * * FRIL", 1), [29]);
    assert_eq!(days("0 9 16W * *", 1), [15]);
    assert_eq!(days("0 9 LW * *", 1), [29]);
    assert_eq!(days("0 9 ? * 3", 1), [6]);
}

#[test]
fn a_day_of_the_month_or_of_the_week_will_do_unless_both_must() {
    let days = |text| after(text, (2026, 2, 1, 0, 0, 0), 3).into_iter().map(|date| (date.1, date.2)).collect::<Vec<_>>();
    assert_eq!(days("0 0 10 * FRI"), [(2, 6), (2, 10), (2, 13)]);
    assert_eq!(days("0 0 13 * +FRI"), [(2, 13), (3, 13), (11, 13)]);
    // a step is no `*`
    assert_eq!(days("0 0 */20 * TUE"), [(2, 3), (2, 10), (2, 17)]);
}

#[test]
fn nicknames_are_what_they_stand_for() {
    for (nickname, text) in [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * SUN"),
        ("@Daily", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
    ] {
        assert_eq!(after(nickname, (2026, 1, 1, 0, 0, 0), 5), after(text, (2026, 1, 1, 0, 0, 0), 5), "{nickname}");
        assert_eq!(schedule(nickname).to_string(), nickname);
    }
}

#[test]
fn an_offset_is_the_wall_of_another_place() {
    let nine = schedule("0 9 * * MON");
    let monday = at((2026, 11, 30, 0, 0, 0));
    for (minutes, hours) in [(0, 9.0), (330, 3.5), (-300, 14.0), (1_439, 24.0 * 7.0 + 9.0 - 23.0 - 59.0 / 60.0)] {
        let next = nine.clone().utc_offset(minutes).unwrap().next_after(monday - secs(1)).unwrap();
        assert_eq!(next, monday + Duration::from_secs_f64(hours * 3600.0), "{minutes}");
    }
    assert_ne!(nine, nine.clone().utc_offset(1).unwrap());
    for minutes in [1_440, -1_440, i16::MIN] {
        let error = nine.clone().utc_offset(minutes).unwrap_err();
        assert_eq!(error.to_string(), format!("cron schedule `0 9 * * MON`: utc_offset is {minutes}, allowed is -1439..=1439 minutes"));
    }
}

#[test]
fn the_search_ends_with_the_years() {
    let daily = schedule("@daily");
    assert_eq!(daily.next_after(at((4999, 12, 30, 1, 0, 0))), Some(at((4999, 12, 31, 0, 0, 0))));
    for time in [at((4999, 12, 31, 0, 0, 0)), at((5000, 6, 1, 0, 0, 0)), UNIX_EPOCH - secs(3_000 * 366 * 86_400)] {
        assert_eq!(daily.next_after(time), None, "{time:?}");
    }
    let first = UNIX_EPOCH - secs(719_162 * 86_400);
    assert_eq!(daily.next_after(first), Some(first + secs(86_400)), "1 January of the year 1");
    assert_eq!(daily.next_after(first - secs(1)), None);
    // before 1970, and between two seconds
    assert_eq!(daily.next_after(UNIX_EPOCH - Duration::from_nanos(1)), Some(UNIX_EPOCH));
    assert_eq!(daily.next_after(UNIX_EPOCH - secs(86_401)), Some(UNIX_EPOCH - secs(86_400)));
    let second = schedule("* * * * * *");
    assert_eq!(second.next_after(UNIX_EPOCH + Duration::from_nanos(1)), Some(UNIX_EPOCH + secs(1)));
    assert_eq!(second.next_after(UNIX_EPOCH - Duration::from_nanos(1)), Some(UNIX_EPOCH));
    assert_eq!(second.next_after(UNIX_EPOCH), Some(UNIX_EPOCH + secs(1)));
}

#[test]
fn what_cannot_be_is_refused_by_its_field() {
    for (text, field, value) in [
        ("", "number of fields", "0"),
        ("* * * *", "number of fields", "4"),
        ("* * * * * * 2026", "number of fields", "7"),
        ("60 * * * * *", "second", "60"),
        ("60 * * * *", "minute", "60"),
        ("MON * * * *", "minute", "MON"),
        ("5/10 * * * *", "minute", "5/10"),
        ("*/0 * * * *", "minute", "*/0"),
        ("1,,2 * * * *", "minute", "1,,2"),
        (", * * * *", "minute", ","),
        ("-1 * * * *", "minute", "-1"),
        ("99999999999 * * * *", "minute", "99999999999"),
        ("* 24 * * *", "hour", "24"),
        ("* 5-1 * * *", "hour", "5-1"),
        ("* ? * * *", "hour", "?"),
        ("* * 0 * *", "day of month", "0"),
        ("* * 32 * *", "day of month", "32"),
        ("* * W * *", "day of month", "W"),
        ("* * 15W3 * *", "day of month", "15W3"),
        ("* * L-3 * *", "day of month", "L-3"),
        ("* * * 13 *", "month", "13"),
        ("* * * 1MON *", "month", "1MON"),
        ("* * * JANUARY *", "month", "JANUARY"),
        ("* * * * 8", "day of week", "8"),
        ("* * * * L", "day of week", "L"),
        ("* * * * 5#6", "day of week", "5#6"),
        ("* * * * ſUN", "day of week", "ſUN"),
        ("* * * * +", "day of week", "+"),
        ("0 0 30 2 *", "date", "30 2 *"),
        ("0 0 31 4,6,9,11 +MON", "date", "31 4,6,9,11 +MON"),
        ("@reboot", "nickname", "@reboot"),
    ] {
        let error = CronSchedule::new(text).expect_err(text);
        assert_eq!((error.field(), error.value()), (field, value), "{text}: {error}");
    }
    let text = |text: &str| CronSchedule::new(text).unwrap_err().to_string();
    assert_eq!(
        text("0 24 * * *"),
        "cron schedule `0 24 * * *`: hour is 24, allowed is 0-23: *, lists (1,5), ranges upwards (1-5), steps (*/5, 8-18/2)"
    );
    assert_eq!(
        text("0 0 30 2 *"),
        "cron schedule `0 0 30 2 *`: date is 30 2 *, allowed is one that comes: day of month, month, day of week"
    );
    assert_eq!(text("1 2 3"), "cron schedule `1 2 3`: number of fields is 3, allowed is 5, or 6 with seconds in front");
}

/// What croner reads, but as something else than it says.
#[test]
fn what_would_mean_something_else_is_refused() {
    let minute = "0-59: *, lists (1,5), ranges upwards (1-5), steps (*/5, 10-50/5)";
    let of_month = "1-31: *, lists (1,15), ranges upwards (1-5), steps (*/5, 1-15/2), L (the last), 15W (the weekday closest to it), LW (not beside L)";
    let month = "1-12 or JAN-DEC: *, lists (1,7), ranges upwards (1-5), steps (*/3, 1-6/2)";
    let of_week = "0-7 or SUN-SAT, 0 and 7 are Sunday: *, lists (1,5), ranges upwards (1-5, FRI-SUN), steps (*/2, 1-5/2), 5#2 (the second Friday), \
                   5#L or 5L (the last); + in front (only if the day of month fits too)";
    for (at, field, allowed, values) in [
        (0, "minute", minute, &["1/MON", "*/FEB", "5L", "5#1", "5W"][..]),
        (
            2,
            "day of month",
            of_month,
            &["LW,L", "L,15W,LW", "15W*", "15W?", "LW?", "L*", "15W/2", "15WW", "1-15W", "*W", "W15", "*/L", "5#1", "MON"],
        ),
        (3, "month", month, &["*/FEB", "1-6/MAR", "FEB/2", "FEB#1", "DEC-JAN", "JAN-FEB-MAR", "FEBL"]),
        (
            4,
            "day of week",
            of_week,
            &["SUN-SUN", "sun-sun", "0-SUN", "00-SUN", "SUN-7", "SUN-SUN/2", "1,SUN-SUN#1", "FRI#TUE", "5#3L", "5#3#L", "5#MONL"],
        ),
        (
            4,
            "day of week",
            of_week,
            &["*/TUE", "1-6/TUE", "5#", "5#0", "5#02", "5#1,2#6", "*#1", "*L", "1-5L", "1-5/2#1", "5#1/2", "5LL", "#1", "5#1-2"],
        ),
        (4, "day of week", of_week, &["FRI-MON", "5-1", "SAT-0", "1++", "++1", "1,+2", "5W", "FEB"]),
    ] {
        for value in values {
            let mut fields = ["0", "0", "*", "*", "*"];
            fields[at] = value;
            let text = fields.join(" ");
            let error = CronSchedule::new(&text).expect_err(&text);
            assert_eq!(error.to_string(), format!("cron schedule `{text}`: {field} is {value}, allowed is {allowed}"));
        }
    }
    // beside these
    let days = |text: &str| after(text, (2026, 5, 1, 0, 0, 0), 4).into_iter().map(|date| (date.1, date.2)).collect::<Vec<_>>();
    assert_eq!(days("0 0 * * SAT-SUN"), [(5, 2), (5, 3), (5, 9), (5, 10)]);
    assert_eq!(days("0 0 * * 6-7"), days("0 0 * * SAT-SUN"));
    assert_eq!(days("0 0 * * SUN-MON"), [(5, 3), (5, 4), (5, 10), (5, 11)]);
    assert_eq!(days("0 0 * * 0-7"), days("0 0 * * MON-SUN"));
    assert_eq!(days("0 0 * * MON-TUE#1"), [(5, 4), (5, 5), (6, 1), (6, 2)]);
    assert_eq!(days("0 0 15W,L * *"), [(5, 15), (5, 31), (6, 15), (6, 30)]);
    assert_eq!(days("0 0 31,LW * *"), [(5, 29), (5, 31), (6, 30), (7, 31)]);
}

#[test]
fn a_text_that_is_too_long_is_refused_unread() {
    let padded = |bytes: usize| format!("{:<bytes$}", "0 9 * * *");
    assert_eq!(schedule(&padded(256)).to_string(), padded(256));
    let error = CronSchedule::new(&padded(257)).unwrap_err();
    assert_eq!((error.field(), error.value(), error.allowed()), ("length", "257 bytes", "up to 256 bytes"));
    let error = CronSchedule::new(&"é,".repeat(1_500_000)).unwrap_err();
    let shown = "é,".repeat(16);
    assert_eq!(error.to_string(), format!("cron schedule `{shown}…`: length is 4500000 bytes, allowed is up to 256 bytes"));
    let minutes: Vec<String> = (0..60).map(|minute| minute.to_string()).collect();
    assert!(CronSchedule::new(&format!("{} * * * *", minutes.join(","))).is_ok());
}

#[test]
fn any_text_is_a_schedule_or_a_fault() {
    const WORDS: [&str; 28] = [
        "*", "?", "0", "1", "5", "07", "29", "31", "59", "60", "65535", "-", "/", ",", "#", "L", "W", "LW", "+", "@", "MON", "sun", "FEB",
        "dec", "\u{131}", "@daily", "2026", "",
    ];
    let field = |rng: &mut Rng| (0..=rng.up_to(3)).map(|_| WORDS[rng.up_to(27) as usize]).collect::<String>();
    let mut rng = Rng::new(1);
    let mut schedules = 0;
    for _ in 0..5_000 {
        // most have one field that is not `*`, or none would be a schedule
        let mut fields = vec!["*".to_owned(); 5];
        fields[rng.up_to(4) as usize] = field(&mut rng);
        let text = fields.join(" ");
        if let Ok(schedule) = CronSchedule::new(&text) {
            schedules += 1;
            assert!(schedule.next_after(UNIX_EPOCH).is_some(), "{text}");
        }
        let wild: Vec<_> = (0..6).map(|_| field(&mut rng)).collect();
        let _ = CronSchedule::new(&wild.join(" "));
    }
    assert!(schedules > 100, "{schedules}");
}

#[test]
fn rare_days_are_found_and_days_that_never_come_are_not_looked_for_for_ever() {
    assert_eq!(after("0 0 29 2 +WED", (2068, 3, 1, 0, 0, 0), 1), [(2096, 2, 29, 0, 0, 0)]);
    // the longest that it can be: 2100 has none
    assert_eq!(after("0 0 29 2 +THU", (2080, 3, 1, 0, 0, 0), 1), [(2120, 2, 29, 0, 0, 0)]);
    assert!(CronSchedule::new("0 0 0 30 2 *").is_err());
}

#[test]
fn schedules_are_texts() {
    let parsed: CronSchedule = " 0  9 * * * ".parse().unwrap();
    assert_eq!(parsed.to_string(), " 0  9 * * * ");
    assert_eq!(parsed, parsed.clone());
    assert_eq!(format!("{parsed:?}"), "CronSchedule { text: \" 0  9 * * * \", utc_offset: 0 }");
}

/// Fails unless the next occurrences after `time` are those that the naive reader finds.
fn agrees(text: &str, schedule: Result<&CronSchedule, &ConfigError>, reader: &naive::Reader, offset: i16, mut time: SystemTime) {
    let shift = |time: SystemTime, minutes: i64| {
        if minutes < 0 { time - secs(minutes.unsigned_abs() * 60) } else { time + secs(minutes.unsigned_abs() * 60) }
    };
    for _ in 0..3 {
        // nine years have a leap day but where a century begins
        let want = reader.next_after(shift(time, i64::from(offset)), 13 * 366).map(|next| shift(next, -i64::from(offset)));
        let Ok(schedule) = schedule else {
            assert_eq!(want, None, "{text} is refused");
            return;
        };
        let got = schedule.clone().utc_offset(offset).unwrap().next_after(time);
        match want {
            Some(_) => assert_eq!(got, want, "{text} at {offset} after {time:?}"),
            None => assert!(got.is_none_or(|got| got > time + secs(13 * 365 * 86_400)), "{text}"),
        }
        let Some(next) = want else { return };
        time = next;
    }
}

/// What is found and refused agrees with somebody who knows no cron and looks at every day and every second.
#[test]
fn a_schedule_is_what_a_naive_reader_makes_of_it() {
    for seed in 0..900 {
        let mut rng = Rng::new(seed);
        let text = naive::Reader::text(&mut rng);
        // not in 1969 anywhere
        let from = UNIX_EPOCH + secs(2 * 86_400 + rng.up_to(130 * 365 * 86_400)) + Duration::from_nanos(rng.up_to(1) * 999_999_999);
        let offset = rng.up_to(2 * 1_439) as i16 - 1_439;
        match naive::Reader::read(&text) {
            Some(reader) => agrees(&text, CronSchedule::new(&text).as_ref(), &reader, offset, from),
            // such as 5-1
            None => assert!(CronSchedule::new(&text).is_err(), "{text}"),
        }
    }
}

/// Whatever is put into a text: it is a schedule if the naive reader can read it, and no other; and the one that it reads.
#[test]
fn what_is_accepted_means_what_it_says() {
    const WORDS: [&str; 24] = [
        "*", "?", "0", "1", "5", "7", "07", "31", "-", "-", "/", "/", ",", ",", "#", "#", "L", "W", "LW", "+", "SUN", "Mon", "FEB", "SUN-",
    ];
    let mut rng = Rng::new(7);
    let mut accepted = [0; 5];
    for _ in 0..4_000 {
        let mut fields = ["0", "0", "*", "*", "*"].map(str::to_owned);
        let at = rng.up_to(4) as usize;
        // most of them begin as what can be read
        let listed: Vec<_> = (0..rng.up_to(2)).map(|_| naive::field(&mut rng, at + 1)).collect();
        fields[at] = listed.join(",");
        for _ in 0..rng.up_to(3) {
            let place = rng.up_to(fields[at].len() as u64) as usize;
            fields[at].insert_str(place, WORDS[rng.up_to(23) as usize]);
        }
        fields[2 + 2 * rng.up_to(1) as usize].push_str(["", "", "/9"][rng.up_to(2) as usize]);
        let text = fields.join(" ");
        let schedule = CronSchedule::new(&text);
        accepted[at] += usize::from(schedule.is_ok());
        match naive::Reader::read(&text) {
            Some(reader) => agrees(&text, schedule.as_ref(), &reader, 0, UNIX_EPOCH + secs(rng.up_to(130 * 365 * 86_400))),
            None => assert!(schedule.is_err(), "{text} is accepted"),
        }
    }
    assert!(accepted.iter().all(|count| *count > 50), "{accepted:?}");
}

/// Occurrences are neither lost nor doubled, nor early, whatever a wall does that is never set back by more than a day.
#[test]
fn a_restless_wall_loses_and_doubles_nothing() {
    for (seed, text, every) in (0..30).flat_map(|seed| [(seed, "0 * * * *", 3_600), (seed, "*/30 * * * * *", 30)]) {
        let mut rng = Rng::new(seed);
        let mut due = [MissedPeriods::CatchUp, MissedPeriods::Skip].map(|missed| Due::new(schedule(text), missed, UNIX_EPOCH));
        let (mut wall, mut furthest, mut jobs) = (0_u64, 0_u64, 0);
        for _ in 0..500 {
            wall = match rng.up_to(19) {
                0 => wall.saturating_sub(rng.up_to(86_399)).max(furthest.saturating_sub(86_000)),
                1 => wall + rng.up_to(86_399),
                2..=4 => wall.saturating_sub(rng.up_to(4)).max(furthest.saturating_sub(86_000)),
                _ => wall + rng.up_to(89),
            };
            let before = furthest / every;
            furthest = furthest.max(wall);
            let [caught, skipped] = due.each_mut().map(|due| {
                let mut looks = std::iter::from_fn(|| Some(due.look(UNIX_EPOCH + secs(wall))));
                let mut jobs = 0;
                looks.find(|(times, wait)| {
                    jobs += times;
                    !wait.is_zero()
                });
                jobs
            });
            jobs += caught;
            assert_eq!(jobs, furthest / every, "seed {seed}, {text}, at {wall}");
            assert_eq!(skipped, u64::from(furthest / every > before), "seed {seed}, {text}, at {wall}");
        }
    }
}

#[test]
fn a_wall_that_is_set_back_by_a_day_is_not_wrong_and_by_a_second_more_it_is() {
    for (back, again) in [(86_400, 0), (86_401, 1)] {
        let wall = at((2026, 1, 2, 0, 30, 0));
        let mut due = Due::new(schedule("0 * * * *"), MissedPeriods::Skip, wall - secs(3_600));
        assert_eq!(due.look(wall), (1, secs(60)));
        assert_eq!(due.look(wall - secs(back)), (0, secs(60)));
        assert_eq!(due.look(wall).0, again, "{back}");
    }
}

#[test]
fn so_many_occurrences_are_counted_in_one_look_and_the_others_in_the_next_ones() {
    let mut due = Due::new(schedule("* * * * * *"), MissedPeriods::CatchUp, UNIX_EPOCH);
    let looks = [0; 5].map(|_| due.look(UNIX_EPOCH + secs(600)));
    assert_eq!(looks, [(256, secs(0)), (256, secs(0)), (88, secs(1)), (0, secs(1)), (0, secs(1))]);
}
