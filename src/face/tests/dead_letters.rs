//! What will not be delivered again.

use super::*;
use crate::clock::Timestamp;
use crate::limits::JOB_KEY_BYTES_MAX;
use crate::tests::growth::grows_no_faster_than_its_size;
use crate::tests::threads::Mutex;
use crate::{Context, DeadLetterConfig, DeadLetterOverflow, DeathReason, Dedupe, Job, JobError, JobId, LaneConfig, Refusal};

fn reject(pull: &Pull<u32>, n: u32) {
    pull.producer.publish(n).unwrap();
    pull.get().unwrap().reject(format!("no {n}")).unwrap();
}

#[test]
fn one_poison_job_among_ten_thousand_good_ones_leaves_one_record() {
    let push = Push::new(q(20_000), |n: &u32, _: &Context<u32>| if *n == 5_000 { Err(JobError::fatal("poison")) } else { Ok(()) });
    assert_eq!(push.producer.publish_batch(&mut (0..10_001)).accepted, 10_001);
    push.turn();
    let counts = push.settled();
    assert_eq!((counts.acked, counts.dead_lettered), (10_000, 1));
    let letters = push.queue.dead_letters();
    assert_eq!(letters.len(), 1);
    let letter = &letters.list(10)[0];
    assert_eq!((*letter.payload(), letter.reason()), (5_000, DeathReason::Rejected));
    assert_eq!((letter.record().last_error.as_deref(), letter.record().deaths[0].count), (Some("poison"), 1));
}

#[test]
fn a_record_survives_a_redrive_and_merges_by_queue_and_reason() {
    let config = q(8).lanes(["a", "b"].map(LaneConfig::new)).visibility(ms(10)).retry(at_once_up_to(1).max_expiries(0));
    let pull = Pull::<u32>::new(config);
    pull.clock.advance(secs(1));
    let job = pull.producer.publish(Job::new(7).lane(1)).unwrap();
    pull.get().unwrap().reject("first").unwrap();
    let letters = pull.queue.dead_letters();
    pull.clock.advance(secs(1));
    assert_eq!(letters.redrive(), Ok(true));
    let delivery = pull.get().unwrap();
    assert_eq!((delivery.job_id(), delivery.lane(), delivery.attempt(), *delivery), (job, 1, 1, 7), "counted anew");
    delivery.retry("second").unwrap();
    letters.redrive_job(job).unwrap();
    pull.clock.advance(secs(1));
    pull.get().unwrap().reject("third").unwrap();
    let letter = letters.take_job(job).unwrap();
    let at = |n| Timestamp::ZERO + secs(n);
    let deaths: Vec<_> =
        letter.record().deaths.iter().map(|death| (&*death.queue, death.reason, death.count, death.first, death.last)).collect();
    assert_eq!(deaths, [("q", DeathReason::Rejected, 2, at(1), at(3)), ("q", DeathReason::TooManyAttempts, 1, at(2), at(2))]);
    assert_eq!(letter.record().last_error.as_deref(), Some("third"));
    assert_eq!((letter.lane(), letter.into_payload()), (1, 7));
    assert!(letters.is_empty());
    assert_eq!(pull.settled().accepted, 3, "a redrive is a publication");
}

#[test]
fn redrive_takes_one_some_or_all_oldest_first() {
    let pull = Pull::<u32>::new(q(8));
    for n in 0..6 {
        reject(&pull, n);
    }
    let letters = pull.queue.dead_letters();
    let jobs: Vec<_> = letters.list(99).iter().map(|letter| letter.job_id()).collect();
    assert_eq!(letters.list(2).len(), 2);
    assert_eq!(letters.redrive_job(jobs[3]), Ok(true));
    assert_eq!(letters.redrive_job(jobs[3]), Ok(false));
    assert_eq!(letters.redrive(), Ok(true));
    let get = || {
        let delivery = pull.get().unwrap();
        let n = *delivery;
        delivery.ack().unwrap();
        n
    };
    assert_eq!([get(), get()], [3, 0]);
    assert_eq!(letters.redrive_all(), 4);
    assert_eq!([get(), get(), get(), get()], [1, 2, 4, 5]);
    assert_eq!((letters.redrive(), letters.redrive_all()), (Ok(false), 0));
    let seen = pull.seen();
    assert_eq!((seen.letters_redriven, seen.dead_letters), (6, 0));
    pull.settled();
}

#[test]
fn those_that_are_wanted_are_redriven_and_the_others_keep_their_places() {
    watched(|| {
        let pull = Pull::<u32>::new(q(4));
        (0..8).for_each(|n| reject(&pull, n));
        let letters = pull.queue.dead_letters();
        let order = || letters.list(9).iter().map(|letter| *letter.payload()).collect::<Vec<_>>();
        let get = || {
            std::iter::from_fn(|| pull.get().inspect(|delivery| assert!(delivery.attempt() == 1))).map(|it| {
                let n = *it;
                it.ack().unwrap();
                n
            })
        };
        let mut asked = Vec::new();
        let redriven = letters.redrive_where(|letter| {
            asked.push(*letter.payload());
            // no lock is held, and its place is kept
            assert_eq!((letters.len(), order().contains(letter.payload())), (8 - (asked.len() - 1) / 2, false));
            letter.payload() % 2 == 1
        });
        assert_eq!((redriven, asked.len(), order()), (4, 8, vec![0, 2, 4, 6]));
        assert_eq!(get().collect::<Vec<_>>(), [1, 3, 5, 7]);
        // a lane that is full ends it, and nobody is asked in vain
        pull.producer.publish_batch(&mut (10..13));
        let mut asked = 0;
        let redriven = letters.redrive_where(|letter| {
            asked += 1;
            *letter.payload() > 0
        });
        assert_eq!((redriven, asked, order()), (1, 3, vec![0, 4, 6]));
        // those that come meanwhile are not asked for: no letter goes round for ever
        get().for_each(drop);
        let redriven = letters.redrive_where(|letter| {
            pull.get().into_iter().for_each(|delivery| delivery.reject("again").unwrap());
            *letter.payload() < 5
        });
        assert_eq!((redriven, order()), (2, vec![6, 0, 4]));
        pull.settled();
    });
}

#[test]
fn a_letter_at_which_somebody_panics_is_back_in_its_place() {
    let pull = Pull::<u32>::new(q(4));
    (0..4).for_each(|n| reject(&pull, n));
    let letters = pull.queue.dead_letters();
    let panics = std::panic::AssertUnwindSafe(|| letters.redrive_where(|letter| if *letter.payload() == 2 { panic!("two") } else { true }));
    assert!(std::panic::catch_unwind(panics).is_err());
    assert_eq!(letters.list(9).iter().map(|letter| *letter.payload()).collect::<Vec<_>>(), [2, 3]);
    assert_eq!((pull.queue.depth(), pull.seen().letters_redriven), (2, 2));
    pull.settled();
}

#[test]
fn a_letter_that_finds_no_slot_stays_where_it_is() {
    let pull = Pull::<u32>::new(q(2));
    for n in 0..4 {
        reject(&pull, n);
    }
    pull.producer.publish_batch(&mut (10..12));
    let letters = pull.queue.dead_letters();
    let order = || letters.list(9).iter().map(|letter| *letter.payload()).collect::<Vec<_>>();
    let third = letters.list(9)[2].job_id();
    assert_eq!(letters.redrive_job(third), Err(Refusal::Full { retry_after: None }));
    assert_eq!(letters.redrive(), Err(Refusal::Full { retry_after: None }));
    assert_eq!(letters.redrive_all(), 0);
    assert_eq!(order(), [0, 1, 2, 3]);
    pull.get().unwrap().ack().unwrap();
    assert_eq!(letters.redrive_all(), 1);
    assert_eq!(order(), [1, 2, 3]);
    pull.settled();
}

#[test]
fn a_full_dead_letter_queue_holds_the_dead_in_their_slots() {
    let pull = Pull::<u32>::new(q(4).dead_letters(DeadLetterConfig::new().capacity(2)));
    for n in 0..6 {
        reject(&pull, n);
    }
    let seen = pull.seen();
    assert_eq!((seen.dead_letters, seen.phases.held), (2, 4));
    assert!(pull.producer.publish(6).unwrap_err().is_full(), "the source is told");
    pull.settled();
    // room for one: the longest-held moves in and its slot is free
    let letters = pull.queue.dead_letters();
    assert_eq!(letters.take().unwrap().into_payload(), 0);
    assert_eq!(pull.seen().phases.held, 3);
    pull.producer.publish(6).unwrap();
    pull.get().unwrap().ack().unwrap();
    let rest: Vec<u32> = std::iter::from_fn(|| letters.take())
        .map(|letter| {
            assert_eq!(letter.record().last_error.as_deref(), Some(&*format!("no {}", letter.payload())));
            letter.into_payload()
        })
        .collect();
    assert_eq!(rest, [1, 2, 3, 4, 5]);
    let counts = pull.settled();
    assert_eq!((counts.dead_lettered, pull.queue.depth()), (6, 0));
}

#[test]
fn the_held_are_found_among_the_letters() {
    let pull = Pull::<u32>::new(q(4).dead_letters(DeadLetterConfig::new().capacity(2)));
    (0..6).for_each(|n| reject(&pull, n));
    let letters = pull.queue.dead_letters();
    assert_eq!((letters.len(), letters.held(), letters.list(3).len()), (6, 4, 3));
    let mut seen = Vec::new();
    letters.for_each(|letter| seen.push((*letter.payload(), letter.reason(), letter.record().last_error.as_deref() == Some("no 5"))));
    assert_eq!(seen.iter().map(|seen| seen.0).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    assert!(seen.iter().all(|&(n, reason, said)| (reason, said) == (DeathReason::Rejected, n == 5)));
    let mut out = Vec::new();
    assert_eq!(letters.export(&mut out, u32::to_string).unwrap(), 6);
    assert!(String::from_utf8(out).unwrap().lines().last().unwrap().ends_with(r#""payload":"5"}"#));
    // by its id: it leaves its slot to others
    let held = letters.list(9)[3].job_id();
    assert_eq!(letters.take_job(held).unwrap().into_payload(), 3);
    assert_eq!((letters.len(), letters.held(), pull.queue.depth()), (5, 3, 3));
    // or goes on in it
    pull.producer.publish(6).unwrap();
    let last = letters.list(9)[4].job_id();
    assert_eq!(letters.redrive_job(last), Ok(true));
    assert_eq!((letters.len(), letters.held(), pull.queue.depth()), (4, 2, 4));
    for n in [6, 5] {
        let delivery = pull.get().unwrap();
        assert_eq!((*delivery, delivery.attempt()), (n, 1));
        delivery.ack().unwrap();
    }
    pull.settled();
    // whoever chooses is asked about all of them
    assert_eq!(letters.redrive_where(|letter| *letter.payload() == 4), 1);
    assert_eq!((letters.redrive_all(), letters.len(), pull.queue.depth()), (3, 0, 4));
    let left: Vec<u32> = std::iter::from_fn(|| pull.get()).map(|delivery| *delivery).collect();
    assert_eq!(left, [4, 0, 1, 2]);
    let counts = pull.settled();
    let seen = pull.seen();
    assert_eq!((counts.dead_lettered, seen.letters_redriven, seen.letters_purged, seen.dead_letters), (6, 5, 1, 0));
}

#[test]
fn a_held_job_keeps_its_key_until_it_ends_and_when_it_is_redriven() {
    let pull = Pull::<u32>::new(q(4).dedupe(Dedupe::WhileLive, 4).dead_letters(DeadLetterConfig::new().capacity(1)));
    let letters = pull.queue.dead_letters();
    let publish = |n| pull.producer.publish(Job::new(n).key(format!("key {n}")));
    for n in 0..3 {
        publish(n).unwrap();
        pull.get().unwrap().reject("no").unwrap();
    }
    let ids: Vec<_> = letters.list(9).iter().map(|letter| letter.job_id()).collect();
    let duplicate_of = |n: usize| assert_eq!(publish(n as u32).unwrap_err().refusal(), &Refusal::Duplicate { existing: ids[n] });
    duplicate_of(1);
    assert_eq!(letters.redrive_job(ids[2]), Ok(true));
    duplicate_of(2);
    let delivery = pull.get().unwrap();
    assert_eq!((*delivery, delivery.job_id()), (2, ids[2]));
    delivery.ack().unwrap();
    publish(2).unwrap();
    // it is out of the list, and has ended
    assert!(letters.take_job(ids[1]).is_some());
    publish(1).unwrap();
    // somebody else has the key of the one that is left
    let existing = publish(0).unwrap();
    assert_eq!(letters.redrive(), Err(Refusal::Duplicate { existing }));
    pull.settled();
}

#[test]
fn a_held_letter_at_which_somebody_looks_moves_in_when_it_is_back() {
    watched(|| {
        let pull = Pull::<u32>::new(q(4).dead_letters(DeadLetterConfig::new().capacity(1)));
        let end = |n| {
            let end = pull.producer.watched().publish(n).unwrap();
            pull.get().unwrap().reject("no").unwrap();
            end
        };
        let ends = [0, 1, 2].map(end);
        let letters = pull.queue.dead_letters();
        let counts = || (letters.len(), letters.held(), pull.queue.depth());
        let redriven = letters.redrive_where(|letter| {
            if *letter.payload() == 1 {
                assert_eq!(letters.take().unwrap().into_payload(), 0, "the oldest that is there");
                // the next one that is held has gone past it
                assert_eq!((counts(), ends[2].is_over()), ((2, 1, 1), true));
                assert_eq!(letters.take().unwrap().into_payload(), 2);
                assert_eq!((counts(), ends[1].is_over(), letters.take().is_none()), ((1, 1, 1), false, true));
            }
            false
        });
        assert_eq!((redriven, counts(), ends[1].is_over()), (0, (1, 0, 0), true));
        // one that is asked about as the queue stops comes back with the undone, later
        end(3);
        let (queue, mut runtime) = (pull.queue.clone(), Some(pull.runtime));
        let redriven = queue.dead_letters().redrive_where(|letter| {
            if *letter.payload() == 3 {
                let report = runtime.take().unwrap().shutdown(at_once());
                assert!(report.queue("q").unwrap().ledger_balances());
            }
            *letter.payload() == 3
        });
        let undone: Vec<_> = queue.reclaim().into_iter().map(|undone| (undone.payload, undone.origin)).collect();
        assert_eq!((redriven, undone), (0, vec![(3, crate::Origin::Held)]));
        assert_eq!((queue.depth(), queue.dead_letters().held()), (0, 0));
    });
}

#[test]
fn to_redrive_some_of_many_letters_takes_no_search_for_each() {
    let dead = |letters: usize| {
        let pull = Pull::<u32>::new(q(letters as u64).dead_letters(DeadLetterConfig::new().capacity(letters as u32)));
        pull.producer.publish_batch(&mut (0..letters as u32));
        std::iter::from_fn(|| pull.get()).for_each(|delivery| delivery.reject("no").unwrap());
        pull
    };
    grows_no_faster_than_its_size(20_000, dead, |pull| {
        let letters = pull.queue.dead_letters();
        let half = letters.len() / 2;
        assert_eq!(letters.redrive_where(|letter| letter.payload() % 2 == 1), half);
        assert_eq!(letters.len(), half);
        pull.settled();
    });
}

#[test]
fn with_no_room_for_any_letter_the_dead_are_dropped_for_nothing_would_ever_make_room() {
    let error = q(2).dead_letters(DeadLetterConfig::new().capacity(0)).validate().unwrap_err();
    assert_eq!((error.field(), error.value()), ("dead_letters.capacity", "0"));
    let pull = Pull::<u32>::new(q(2).dead_letters(DeadLetterConfig::new().capacity(0).overflow(DeadLetterOverflow::DropOldest)));
    reject(&pull, 1);
    assert_eq!((pull.seen().phases.held, pull.queue.dead_letters().len(), pull.seen().letters_dropped_oldest), (0, 0, 1));
    pull.settled();
}

#[test]
fn drop_oldest_keeps_the_latest_and_counts_the_others() {
    let census = Census::default();
    let config = DeadLetterConfig::new().capacity(3).overflow(DeadLetterOverflow::DropOldest);
    let pull = Pull::<Counted>::new(q(4).dead_letters(config));
    for n in 0..10 {
        pull.producer.publish(census.born(n)).unwrap();
        pull.get().unwrap().reject("no").unwrap();
    }
    assert_eq!(census.alive(), 3);
    let mut kept = Vec::new();
    pull.queue.dead_letters().for_each(|letter| kept.push(letter.payload().number));
    assert_eq!(kept, [7, 8, 9]);
    assert_eq!((pull.seen().letters_dropped_oldest, pull.settled().dead_lettered), (7, 10));
}

#[test]
fn a_callback_takes_what_finds_no_room() {
    let census = Census::default();
    let pull = Pull::<Counted>::new(q(4).dead_letters(DeadLetterConfig::new().capacity(1)));
    let taken = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&taken);
    pull.queue.on_dead_letter_overflow(move |letter| {
        let number = letter.payload().number;
        log.lock().unwrap().push(number);
        assert_ne!(number, 3, "a callback that panics");
    });
    for n in 0..5 {
        pull.producer.publish(census.born(n)).unwrap();
        pull.get().unwrap().reject("no").unwrap();
    }
    assert_eq!(*taken.lock().unwrap(), [1, 2, 3, 4]);
    assert_eq!(census.alive(), 1);
    let counts = pull.settled();
    assert_eq!((counts.dead_lettered, counts.drop_panics, pull.queue.depth()), (5, 1, 0));
}

#[test]
fn a_callback_that_comes_late_is_given_those_that_are_held() {
    watched(|| {
        let census = Census::default();
        let pull = Pull::<Counted>::new(q(4).dead_letters(DeadLetterConfig::new().capacity(1)));
        let mut ends = Vec::new();
        for n in 0..5 {
            ends.push(pull.producer.watched().publish(census.born(n)).unwrap());
            pull.get().unwrap().reject(format!("no {n}")).unwrap();
        }
        assert!(pull.producer.publish(census.born(5)).unwrap_err().is_full());
        let taken = Arc::new(Mutex::new(Vec::new()));
        let (log, queue) = (Arc::clone(&taken), pull.queue.clone());
        pull.queue.on_dead_letter_overflow(move |letter| {
            let number = letter.payload().number;
            assert_eq!((queue.dead_letters().len(), letter.reason()), (5 - number as usize, DeathReason::Rejected), "no lock is held");
            assert_eq!(letter.record().last_error.as_deref(), Some(&*format!("no {number}")));
            log.lock().unwrap().push(number);
            assert_ne!(number, 2, "a callback that panics");
        });
        assert_eq!(*taken.lock().unwrap(), [1, 2, 3, 4]);
        assert_eq!((pull.seen().phases.held, pull.queue.depth(), census.alive()), (0, 0, 1));
        assert!(ends.iter().all(|end| end.is_over()), "who waits for a held job's end is told");
        pull.producer.publish(census.born(6)).unwrap();
        pull.get().unwrap().ack().unwrap();
        let counts = pull.settled();
        assert_eq!((counts.dead_lettered, counts.drop_panics), (5, 1));
    });
}

#[test]
fn letters_go_when_they_reach_their_age() {
    const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);
    let census = Census::default();
    let pull = Pull::<Counted>::new(q(4).dead_letters(DeadLetterConfig::new().retention(WEEK)));
    let reject = |n| {
        pull.producer.publish(census.born(n)).unwrap();
        pull.get().unwrap().reject("no").unwrap();
    };
    reject(1);
    pull.clock.advance(secs(3_600));
    reject(2);
    pull.clock.advance(WEEK - secs(3_600) - ms(1));
    pull.advance(ms(0));
    assert!(pull.get().is_none());
    assert_eq!(census.alive(), 2);
    // whoever looks for work next does it, not the timer: a drop is user code
    pull.advance(ms(200));
    assert!(pull.get().is_none());
    assert_eq!(census.alive(), 1);
    pull.clock.advance(WEEK);
    pull.advance(ms(200));
    assert!(pull.get().is_none());
    assert_eq!((census.alive(), pull.seen().letters_dropped_by_age, pull.queue.dead_letters().len()), (0, 2, 0));
    pull.settled();
}

/// How many letters it finds, of which that of this job may be one.
type Find = fn(&QueueHandle<Counted>, JobId) -> usize;

/// Every way to letters by hand, and the gauge.
const WAYS: [(&str, Find); 11] = [
    ("len", |queue, _| queue.dead_letters().len()),
    ("is_empty", |queue, _| usize::from(!queue.dead_letters().is_empty())),
    ("for_each", |queue, _| {
        let mut seen = 0;
        queue.dead_letters().for_each(|_| seen += 1);
        seen
    }),
    ("take", |queue, _| queue.dead_letters().take().into_iter().count()),
    ("take_job", |queue, job| queue.dead_letters().take_job(job).into_iter().count()),
    ("redrive", |queue, _| queue.dead_letters().redrive().unwrap().into()),
    ("redrive_job", |queue, job| queue.dead_letters().redrive_job(job).unwrap().into()),
    ("redrive_all", |queue, _| queue.dead_letters().redrive_all()),
    ("purge", |queue, _| queue.dead_letters().purge()),
    ("snapshot", |queue, _| queue.snapshot().dead_letters),
    ("debug", |queue, _| usize::from(!format!("{:?}", queue.dead_letters()).contains("len: 0"))),
];

#[test]
fn where_nobody_looks_for_work_no_letter_beyond_its_age_is_found() {
    let (week, census) = (secs(7 * 24 * 3_600), Census::default());
    for (name, way) in WAYS {
        let clock = Arc::new(ManualClock::new());
        let mut builder = Runtime::builder().manual(Arc::clone(&clock));
        let letters = DeadLetterConfig::new().capacity(1).retention(week);
        let queue = builder.pull_queue::<Counted>(q(4).dead_letters(letters)).unwrap();
        let runtime = builder.build().unwrap();
        let producer = queue.producer().unwrap();
        let consumer = queue.consumer().unwrap();
        let reject = |n| {
            let job = producer.publish(census.born(n)).unwrap();
            consumer.try_recv().unwrap().reject("no").unwrap();
            job
        };
        let job = reject(1);
        clock.advance(week - ms(1));
        assert_eq!(queue.dead_letters().len(), 1, "{name}");
        drop(consumer);
        clock.advance(30 * week);
        assert_eq!(way(&queue, job), 0, "{name}");
        let seen = queue.snapshot();
        assert_eq!((seen.letters_dropped_by_age, seen.letters_purged, seen.letters_redriven), (1, 0, 0), "{name}");
        assert_eq!((census.alive(), seen.counts.accepted), (0, 1), "{name}");
        adds_up(&runtime);
    }
}

#[test]
fn a_held_job_that_moves_in_where_an_old_letter_was_is_found_and_ages_from_then_on() {
    let pull = Pull::<u32>::new(q(4).dead_letters(DeadLetterConfig::new().capacity(1).retention(secs(10))));
    reject(&pull, 1);
    reject(&pull, 2);
    let letters = pull.queue.dead_letters();
    pull.clock.advance(secs(11));
    assert_eq!(letters.list(9).iter().map(|letter| *letter.payload()).collect::<Vec<_>>(), [2]);
    pull.clock.advance(secs(9));
    assert_eq!(letters.len(), 1);
    pull.clock.advance(secs(1));
    assert_eq!((letters.take().is_none(), pull.queue.snapshot().letters_dropped_by_age), (true, 2));
    pull.settled();
}

/// Its drop looks at the dead letters, whose lock must be free then.
struct Looker(QueueHandle<Looker>);

impl Payload for Looker {}

impl Drop for Looker {
    fn drop(&mut self) {
        assert_eq!(self.0.dead_letters().len(), 0);
    }
}

#[test]
fn old_letters_are_dropped_under_no_lock() {
    watched(|| {
        let pull = Pull::<Looker>::new(q(4).dead_letters(DeadLetterConfig::new().retention(secs(10))));
        let looks: [fn(&QueueHandle<Looker>) -> usize; 2] = [|queue| queue.dead_letters().len(), |queue| queue.snapshot().dead_letters];
        for looks in looks {
            for _ in 0..2 {
                pull.producer.publish(Looker(pull.queue.clone())).unwrap();
                pull.get().unwrap().reject("no").unwrap();
            }
            pull.clock.advance(secs(11));
            assert_eq!(looks(&pull.queue), 0);
        }
        let counts = pull.settled();
        assert_eq!((pull.queue.snapshot().letters_dropped_by_age, counts.drop_panics), (4, 0));
    });
}

#[test]
fn letters_that_go_make_room_for_the_held() {
    let letters = DeadLetterConfig::new().capacity(1).retention(secs(10));
    let pull = Pull::<u32>::new(q(4).dead_letters(letters));
    reject(&pull, 1);
    reject(&pull, 2);
    assert_eq!(pull.seen().phases.held, 1);
    pull.advance(secs(11));
    assert!(pull.get().is_none());
    assert_eq!(*pull.queue.dead_letters().list(9)[0].payload(), 2);
    assert_eq!(pull.queue.depth(), 0);
    pull.settled();
}

#[test]
fn a_purge_drops_letters_and_the_held_behind_them() {
    let pull = Pull::<u32>::new(q(4).dead_letters(DeadLetterConfig::new().capacity(2)));
    for n in 0..5 {
        reject(&pull, n);
    }
    assert_eq!(pull.queue.dead_letters().purge(), 5);
    assert_eq!((pull.queue.dead_letters().purge(), pull.queue.depth(), pull.seen().letters_purged), (0, 0, 5));
    pull.settled();
}

#[test]
fn after_a_redrive_a_job_has_all_its_attempts_again() {
    let pull = Pull::<u32>::new(q(4).retry(at_once_up_to(3)));
    pull.producer.publish(1).unwrap();
    for _ in 0..2 {
        for _ in 0..3 {
            pull.get().unwrap().retry("no").unwrap();
        }
        assert!(pull.get().is_none());
        assert_eq!(pull.queue.dead_letters().redrive(), Ok(true));
    }
    pull.get().unwrap().ack().unwrap();
    let counts = pull.settled();
    assert_eq!((counts.dead_attempts, counts.acked, counts.accepted), (2, 1, 3));
}

#[test]
fn a_redriven_job_keeps_its_own_visibility_timeout() {
    let pull = Pull::<u32>::new(q(2).visibility(secs(30)));
    pull.producer.publish(Job::new(1).visibility(secs(2))).unwrap();
    pull.get().unwrap().reject("no").unwrap();
    assert_eq!(pull.queue.dead_letters().list(1).len(), 1, "a copy changes nothing");
    assert_eq!(pull.queue.dead_letters().redrive(), Ok(true));
    let delivery = pull.get().unwrap();
    pull.advance(ms(1_900));
    assert!(delivery.is_current());
    pull.advance(secs(1));
    assert!(!delivery.is_current());
    drop(delivery);
    // and the next job in that slot has not inherited it
    pull.get().unwrap().ack().unwrap();
    pull.producer.publish(2).unwrap();
    let delivery = pull.get().unwrap();
    pull.advance(secs(3));
    delivery.ack().unwrap();
    pull.settled();
}

/// A payload whose drop publishes another, for ever.
struct Hydra(Arc<crate::tests::threads::Mutex<Option<Producer<Hydra>>>>);

impl Payload for Hydra {}

impl Drop for Hydra {
    fn drop(&mut self) {
        // busy: this one was refused while another was published
        if let Ok(Some(producer)) = self.0.try_lock().as_deref() {
            let _ = producer.publish(Hydra(Arc::clone(&self.0)));
        }
    }
}

#[test]
fn a_purge_ends_though_every_job_that_goes_brings_another() {
    watched(|| {
        let pull = Pull::<Hydra>::new(q(8));
        let producer = Arc::new(crate::tests::threads::Mutex::new(Some(pull.queue.producer().unwrap())));
        for _ in 0..5 {
            pull.producer.publish(Hydra(Arc::clone(&producer))).unwrap();
        }
        assert_eq!(pull.queue.purge(), 5);
        assert_eq!(pull.queue.depth(), 5, "what was published meanwhile stays");
        *producer.lock().unwrap() = None;
        assert_eq!(pull.queue.purge(), 5);
        assert_eq!(pull.settled().dropped_purged, 10);
    });
}

#[test]
fn a_purge_of_the_dead_ends_though_every_letter_brings_another() {
    watched(|| {
        let pull = Pull::<Hydra>::new(q(1).overflow(crate::Overflow::DropNew));
        let producer = Arc::new(crate::tests::threads::Mutex::new(Some(pull.queue.producer().unwrap())));
        for _ in 0..6 {
            pull.producer.publish(Hydra(Arc::clone(&producer))).unwrap();
        }
        assert_eq!(pull.queue.dead_letters().purge(), 5);
        assert_eq!(pull.queue.dead_letters().len(), 5);
        *producer.lock().unwrap() = None;
        assert_eq!(pull.queue.dead_letters().purge(), 5);
        pull.settled();
    });
}

#[test]
fn all_are_redriven_past_those_that_find_no_room() {
    // the only key that there may be is another job's
    let pull = Pull::<u32>::new(q(8).dedupe(Dedupe::WhileLive, 1));
    for job in [Job::new(1).key("a"), Job::new(2), Job::new(3)] {
        pull.producer.publish(job).unwrap();
        pull.get().unwrap().reject("no").unwrap();
    }
    pull.producer.publish(Job::new(4).key("b")).unwrap();
    let letters = pull.queue.dead_letters();
    assert_eq!((letters.redrive_all(), letters.len()), (2, 1));
    assert_eq!(letters.take().unwrap().into_payload(), 1);

    // the oldest letters' lane is full, another has a slot of its own
    let pull = Pull::<u32>::new(q(2).lanes([LaneConfig::new("a"), LaneConfig::new("b").reserve(1)]));
    for (n, lane) in [(1, 0), (2, 0), (3, 1)] {
        pull.producer.publish(Job::new(n).lane(lane)).unwrap();
        pull.get().unwrap().reject("no").unwrap();
    }
    pull.producer.publish(Job::new(4).lane(0)).unwrap();
    assert_eq!((pull.queue.snapshot().free, pull.queue.dead_letters().redrive_all()), (1, 1));
    let mut waiting = [(); 2].map(|()| *pull.get().unwrap());
    waiting.sort();
    assert_eq!(waiting, [3, 4]);

    // a queue that is closed takes none
    drop(pull.runtime);
    assert_eq!((pull.queue.dead_letters().redrive_all(), pull.queue.dead_letters().len()), (0, 2));
}

#[test]
fn a_job_that_dies_before_it_was_due_was_published_before_it_died() {
    let pull = Pull::<u32>::new(q(4).completed_records(9, secs(7_200)));
    pull.producer.publish_after(Job::new(1).ttl(secs(60)), secs(3_600)).unwrap();
    let cancelled = pull.producer.publish_after(2, secs(3_600)).unwrap();
    pull.advance(secs(100));
    assert!(pull.queue.cancel(cancelled));
    pull.advance(secs(1));
    assert!(pull.get().is_none());
    let letter = pull.queue.dead_letters().take().unwrap();
    assert!(letter.record().published <= letter.record().deaths[0].first, "{letter:?}");
    let record = pull.queue.completed_job(cancelled).unwrap();
    assert!(record.published <= record.ended, "{record:?}");
}

#[test]
fn letters_whose_keys_are_none_do_not_stand_for_each_other() {
    let pull = Pull::<u32>::new(q(8).dedupe(Dedupe::WhileLive, 8));
    for n in [1, 2] {
        pull.producer.publish(n).unwrap();
        // a follow-up is refused as a publish would be, and dies of it
        let key = "k".repeat(JOB_KEY_BYTES_MAX + 1);
        pull.get().unwrap().complete_with(Job::new(10 + n).key(key)).unwrap();
    }
    pull.advance(secs(1));
    assert!(pull.get().is_none());
    assert_eq!((pull.queue.dead_letters().redrive_all(), pull.queue.dead_letters().len()), (2, 0));
}

/// Takes so many lines, and looks at the letters while it does.
struct Sink<'a> {
    room: usize,
    text: Vec<u8>,
    queue: &'a QueueHandle<u32>,
}

impl std::io::Write for Sink<'_> {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let there = self.queue.dead_letters().list(9).len();
        assert_eq!(there, self.queue.dead_letters().len(), "all are in their places while it is written");
        self.room = self.room.checked_sub(1).ok_or(std::io::ErrorKind::StorageFull)?;
        self.text.extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.room == 0 { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

#[test]
fn an_export_that_fails_says_how_far_it_got_and_loses_nothing() {
    let pull = Pull::<u32>::new(q(8));
    let letters = pull.queue.dead_letters();
    (0..3).for_each(|n| reject(&pull, n));
    let text = |n: &u32| {
        assert_ne!(*n, 2, "two");
        n.to_string()
    };
    let order = || letters.list(9).iter().map(|letter| *letter.payload()).collect::<Vec<_>>();
    for (room, panics, written, job, said) in [
        (1, false, 1, Some(1), "the export ended after 1 letters, at job-"),
        (3, false, 3, None, "the export ended after 3 letters: "),
        (9, true, 2, Some(2), "the export ended after 2 letters, at job-"),
    ] {
        let mut sink = Sink { room, text: Vec::new(), queue: &pull.queue };
        let error = if panics { letters.export(&mut sink, text) } else { letters.export(&mut sink, u32::to_string) }.unwrap_err();
        assert_eq!(error.kind(), if panics { std::io::ErrorKind::Other } else { std::io::ErrorKind::StorageFull });
        let error = error.get_ref().unwrap().downcast_ref::<crate::ExportError>().unwrap();
        let failed = job.map(|at: usize| letters.list(9)[at].job_id());
        assert_eq!((error.written, error.job), (written, failed));
        assert!(error.to_string().starts_with(said), "{error}");
        assert_eq!(panics, matches!(&error.cause, crate::ExportFault::Panicked(said) if said.contains("two")));
        assert_eq!((String::from_utf8(sink.text).unwrap().lines().count(), order()), (written, vec![0, 1, 2]));
    }
    pull.settled();
}

#[test]
fn while_a_letter_is_written_others_may_act_on_the_letters() {
    watched(|| {
        let pull = Pull::<u32>::new(q(8).dead_letters(DeadLetterConfig::new().capacity(4).retention(secs(100))));
        (0..2).for_each(|n| reject(&pull, n));
        pull.clock.advance(secs(60));
        (2..5).for_each(|n| reject(&pull, n));
        assert_eq!(pull.seen().phases.held, 1);
        let letters = pull.queue.dead_letters();
        let mut seen = Vec::new();
        let log = std::cell::RefCell::new(&mut seen);
        let text = |n: &u32| {
            log.borrow_mut().push(*n);
            let others: Vec<u32> = letters.list(9).iter().map(|letter| *letter.payload()).collect();
            assert_eq!((letters.len(), others.len(), others.contains(n)), (5, 4, false), "its place is kept");
            if *n == 0 {
                // it is nobody else's; the oldest is the next one, which makes room for the held
                assert_eq!(letters.take().unwrap().into_payload(), 1);
                reject(&pull, 9);
            }
            n.to_string()
        };
        let mut out = Vec::new();
        assert_eq!(letters.export(&mut out, text).unwrap(), 4);
        assert_eq!(seen, [0, 2, 3, 4], "not the one that went, nor those that came");
        assert_eq!(letters.list(9).iter().map(|letter| *letter.payload()).collect::<Vec<_>>(), [0, 2, 3, 4, 9]);
        // of what reaches its age meanwhile nothing is written
        let text = |n: &u32| {
            pull.clock.advance(secs(41));
            n.to_string()
        };
        assert_eq!(letters.export(&mut Vec::new(), text).unwrap(), 4, "the fourth was due to go; the last was held until then");
        let seen = pull.queue.snapshot();
        assert_eq!((seen.letters_dropped_by_age, seen.letters_purged, seen.dead_letters), (5, 1, 0));
        pull.settled();
    });
}
