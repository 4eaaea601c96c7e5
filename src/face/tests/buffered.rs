//! Jobs are gathered before they are published.

use super::*;
use crate::clock::Clock;
use crate::tests::threads::Mutex;
use crate::{BufferConfig, BufferedProducer, DeadLetterConfig, Dedupe, Job, LaneConfig, Overflow, PublishBreaker, PublishError, Refusal};
use std::cell::RefCell;
use std::rc::Rc;

/// What a buffer's function was given: payloads, and why.
type Back = Arc<Mutex<Vec<(u32, String)>>>;

fn keeps(back: &Back) -> impl Fn(PublishError<Counted>) + Send + Sync + 'static {
    let back = Arc::clone(back);
    move |error| {
        let why = error.refusal().to_string();
        back.lock().unwrap().push((error.into_inner().number, why));
    }
}

fn numbers(back: &Back) -> Vec<u32> {
    back.lock().unwrap().iter().map(|(number, _)| *number).collect()
}

/// Numbers in, one after the other.
fn fill(buffered: &BufferedProducer<Counted>, census: &Census, numbers: std::ops::Range<u32>) {
    numbers.for_each(|number| buffered.publish(census.born(number)).unwrap());
}

fn all(pull: &Pull<Counted>) -> Vec<u32> {
    std::iter::from_fn(|| {
        pull.get().map(|delivery| {
            let number = delivery.payload().number;
            delivery.ack().unwrap();
            number
        })
    })
    .collect()
}

/// A buffer of a queue, and what it gave back.
fn buffer(pull: &Pull<Counted>, config: BufferConfig) -> (BufferedProducer<Counted>, Back) {
    let back = Back::default();
    (pull.queue.producer().unwrap().buffered(config, keeps(&back)).unwrap(), back)
}

fn config(jobs: usize, age: Duration) -> BufferConfig {
    BufferConfig::new().jobs(jobs).age(age)
}

#[test]
fn buffered_is_not_accepted_and_the_last_that_fits_publishes_all_in_order() {
    let (pull, census) = (Pull::new(q(100)), Census::default());
    let (buffered, back) = buffer(&pull, config(10, secs(1)));
    fill(&buffered, &census, 0..9);
    assert!(!buffered.is_empty());
    assert_eq!((buffered.len(), pull.queue.depth(), pull.counts().accepted), (9, 0, 0));
    fill(&buffered, &census, 9..10);
    assert_eq!((buffered.is_empty(), pull.queue.depth(), pull.counts().accepted), (true, 10, 10));
    assert_eq!(all(&pull), Vec::from_iter(0..10));
    drop(buffered);
    assert_eq!((numbers(&back), census.alive()), (vec![], 0));
    pull.settled();
}

#[test]
fn what_has_its_age_is_published_by_whoever_works_for_the_queue() {
    let (pull, census) = (Pull::new(q(100)), Census::default());
    let (buffered, _) = buffer(&pull, config(10, ms(5)));
    for round in 0..3 {
        pull.advance(secs(1));
        fill(&buffered, &census, 0..3);
        pull.advance(ms(4));
        assert!(pull.get().is_none());
        assert_eq!((buffered.len(), pull.queue.depth()), (3, 0), "round {round}");
        pull.advance(ms(2));
        assert_eq!(all(&pull), [0, 1, 2], "round {round}");
        assert!(buffered.is_empty());
    }
    // the age is the oldest one's, also where others left between
    fill(&buffered, &census, 0..1);
    pull.advance(ms(4));
    buffered.flush().unwrap();
    fill(&buffered, &census, 1..2);
    pull.advance(ms(4));
    assert_eq!((all(&pull), buffered.len()), (vec![0], 1));
    pull.advance(ms(2));
    assert_eq!(all(&pull), [1]);
    // it begins with the first, and no other puts it off
    pull.advance(secs(1));
    fill(&buffered, &census, 2..3);
    pull.advance(ms(3));
    assert_eq!((all(&pull), buffered.len()), (vec![], 1));
    fill(&buffered, &census, 3..4);
    pull.advance(ms(3));
    assert_eq!(all(&pull), [2, 3]);
    pull.settled();
}

#[test]
fn a_worker_publishes_what_has_its_age_without_its_owner() {
    watched(|| {
        let census = Census::default();
        let mut builder = Runtime::builder();
        let queue = builder.queue(q(100), |_: &Counted, _: &_| ()).unwrap();
        let runtime = builder.build().unwrap();
        let back = Back::default();
        let buffered = queue.producer().unwrap().buffered(config(1_000, ms(2)), keeps(&back)).unwrap();
        for round in 1..=5 {
            fill(&buffered, &census, 0..7);
            eventually("the jobs are done", || queue.counts().acked == 7 * round);
        }
        // one that nobody can reach any more goes on
        fill(&buffered, &census, 0..7);
        std::mem::forget(buffered);
        eventually("the jobs are done", || queue.counts().acked == 42);
        assert!(runtime.shutdown(ShutdownOptions::default()).is_clean());
        assert_eq!((numbers(&back), census.alive()), (vec![], 0));
    });
}

#[test]
fn a_full_queue_leaves_the_rest_in_the_buffer_and_a_full_buffer_refuses() {
    let (pull, census) = (Pull::new(q(6)), Census::default());
    let (buffered, back) = buffer(&pull, config(4, ms(10)));
    fill(&buffered, &census, 0..10);
    assert_eq!((buffered.len(), pull.queue.depth()), (4, 6));
    let error = buffered.publish(census.born(10)).unwrap_err();
    assert!(error.is_full());
    assert_eq!(error.into_inner().number, 10);
    assert!(matches!(buffered.flush(), Err(Refusal::Full { .. })));
    assert_eq!(buffered.len(), 4);
    let first = pull.get().unwrap();
    assert_eq!(first.payload().number, 0);
    first.ack().unwrap();
    fill(&buffered, &census, 10..11);
    assert_eq!(buffered.len(), 4, "one went in");
    // as soon as there is room, without its owner
    assert_eq!(all(&pull), [1, 2, 3, 4, 5, 6]);
    pull.advance(ms(25));
    assert_eq!(all(&pull), [7, 8, 9, 10]);
    assert_eq!((buffered.len(), numbers(&back).len(), census.alive()), (0, 0, 0));
    pull.settled();
}

#[test]
fn an_open_breaker_leaves_the_rest_in_the_buffer() {
    let breaker = PublishBreaker::new().failures(2).within(secs(1)).open(ms(50));
    let (pull, census) = (Pull::new(q(2).publish_breaker(breaker)), Census::default());
    let (buffered, back) = buffer(&pull, config(4, secs(60)));
    fill(&buffered, &census, 0..4);
    assert!(matches!(buffered.flush(), Err(Refusal::Full { .. })));
    assert_eq!(all(&pull), [0, 1]);
    assert!(matches!(buffered.flush(), Err(Refusal::BreakerOpen { .. })));
    assert_eq!((buffered.len(), pull.queue.depth()), (2, 0));
    pull.advance(ms(51));
    buffered.flush().unwrap();
    assert_eq!((all(&pull), numbers(&back)), (vec![2, 3], vec![]));
    pull.settled();
}

#[test]
fn a_thread_that_dies_with_a_buffer_publishes_it_or_gives_it_back() {
    for capacity in [100, 3] {
        let (pull, census) = (Pull::new(q(capacity)), Census::default());
        let (buffered, back) = buffer(&pull, config(10, secs(1)));
        fill(&buffered, &census, 0..7);
        let died = std::thread::spawn(move || {
            let _buffered = buffered;
            panic!("a bug");
        });
        assert!(died.join().is_err());
        let published = 7.min(capacity as u32);
        assert_eq!((all(&pull), numbers(&back)), (Vec::from_iter(0..published), Vec::from_iter(published..7)));
        assert!(back.lock().unwrap().iter().all(|(_, why)| why.contains("full")));
        assert_eq!(census.alive(), 0);
        pull.settled();
    }
}

#[test]
fn what_is_refused_for_good_goes_to_the_function_and_the_others_go_in() {
    let (pull, census) = (Pull::new(q(100).dedupe(Dedupe::WhileLive, 100)), Census::default());
    let (buffered, back) = buffer(&pull, config(100, secs(1)));
    fill(&buffered, &census, 0..2);
    buffered.publish(census.born(u32::MAX)).unwrap();
    buffered.publish(Job::new(census.born(2)).key("a")).unwrap();
    buffered.publish(Job::new(census.born(3)).key("a")).unwrap();
    buffered.publish(Job::new(census.born(4)).lane(9)).unwrap();
    buffered.publish(Job::new(census.born(5)).key("")).unwrap();
    fill(&buffered, &census, 6..8);
    buffered.flush().unwrap();
    assert_eq!(all(&pull), [0, 1, 2, 6, 7]);
    assert_eq!(numbers(&back), [u32::MAX, 3, 4, 5]);
    let counts = pull.settled();
    assert_eq!((counts.rejected_invalid, counts.rejected_duplicate, counts.rejected_other), (2, 1, 1));
    assert_eq!((buffered.len(), census.alive()), (0, 0));
}

#[test]
fn a_closed_queue_gives_everything_back() {
    let (pull, census) = (Pull::new(q(100)), Census::default());
    let (buffered, back) = buffer(&pull, config(10, secs(1)));
    fill(&buffered, &census, 0..5);
    let report = pull.runtime.shutdown(at_once());
    assert_eq!(report.undone_count(), 0, "they were not accepted");
    let error = buffered.publish(census.born(5)).unwrap_err();
    assert!(error.is_closed());
    assert_eq!((error.into_inner().number, numbers(&back), buffered.len()), (5, vec![0, 1, 2, 3, 4], 0));
    assert!(buffered.publish(census.born(6)).unwrap_err().is_closed(), "with an empty buffer too");
    assert_eq!(buffered.flush(), Ok(()), "there is nothing to publish");

    let (pull, back) = (Pull::new(q(100)), Back::default());
    let late = pull.producer.try_clone().unwrap().buffered(config(10, secs(1)), keeps(&back)).unwrap();
    fill(&late, &census, 0..5);
    let _ = pull.runtime.shutdown(at_once());
    drop(late);
    assert_eq!((numbers(&back), census.alive()), (vec![0, 1, 2, 3, 4], 0));
    assert!(back.lock().unwrap().iter().all(|(_, why)| why.contains("closed")));
}

#[test]
fn jobs_come_back_unpublished_when_they_are_asked_for() {
    let (pull, census) = (Pull::new(q(100)), Census::default());
    let (buffered, back) = buffer(&pull, config(10, secs(1)));
    fill(&buffered, &census, 0..5);
    let jobs: Vec<u32> = buffered.into_jobs().into_iter().map(|job| job.into_payload().number).collect();
    assert_eq!((jobs, pull.queue.depth(), numbers(&back)), (vec![0, 1, 2, 3, 4], 0, vec![]));
    assert_eq!(census.alive(), 0);
}

#[test]
fn lanes_keep_their_order_across_flushes_of_owner_and_worker() {
    let (pull, census) = (Pull::new(q(4).lanes([LaneConfig::new("high"), LaneConfig::new("low")])), Census::default());
    let (buffered, _) = buffer(&pull, config(5, ms(3)));
    let (mut given, mut taken) = (0, [vec![], vec![]]);
    for round in 0..200_u32 {
        for _ in 0..round % 4 {
            let job = Job::new(census.born(given)).lane(given as usize % 2);
            given += u32::from(buffered.publish(job).is_ok());
        }
        pull.advance(ms(u64::from(round % 3)));
        if round % 5 == 0 {
            let _ = buffered.flush();
        }
        for _ in 0..round % 3 {
            if let Some(delivery) = pull.get() {
                let number = delivery.payload().number;
                taken[number as usize % 2].push(number);
                delivery.ack().unwrap();
            }
        }
    }
    while buffered.flush().is_err() || pull.queue.depth() > 0 {
        all(&pull).into_iter().for_each(|number| taken[number as usize % 2].push(number));
    }
    assert!(given > 100 && taken.iter().all(|numbers| numbers.is_sorted()), "{taken:?}");
    assert_eq!((taken.iter().map(Vec::len).sum::<usize>(), census.alive()), (given as usize, 0));
    pull.settled();
}

#[test]
fn a_buffer_waits_where_its_queue_would() {
    watched(|| {
        let mut builder = Runtime::builder();
        let queue = builder.pull_queue::<u32>(q(4).overflow(Overflow::Block(secs(60)))).unwrap();
        let runtime = builder.build().unwrap();
        let buffered = queue.producer().unwrap().buffered(config(8, ms(1)), |refused| panic!("{refused}")).unwrap();
        let consumer = queue.consumer().unwrap();
        let owner = std::thread::spawn(move || (0..10_000).for_each(|number| buffered.publish(number).unwrap()));
        let taken = |consumer: &Consumer<u32>| {
            let delivery = consumer.recv_timeout(secs(30)).unwrap();
            let number = *delivery.payload();
            delivery.ack().unwrap();
            number
        };
        assert!((0..10_000).all(|number| taken(&consumer) == number));
        owner.join().unwrap();
        assert!(runtime.shutdown(at_once()).is_clean());
    });
}

#[test]
fn a_policy_that_runs_handlers_in_the_caller_does_so_for_what_was_buffered() {
    let ran = Arc::new(AtomicI64::new(0));
    let runs = Arc::clone(&ran);
    let clock = Arc::new(ManualClock::new());
    let mut builder = Runtime::builder().manual(clock);
    let queue = builder
        .queue(q(2).overflow(Overflow::CallerRuns), move |_: &u32, _: &_| {
            runs.fetch_add(1, SeqCst);
        })
        .unwrap();
    let _runtime = builder.build().unwrap();
    let buffered = queue.producer().unwrap().buffered(config(5, secs(1)), |refused| panic!("{refused}")).unwrap();
    (0..5).for_each(|number| buffered.publish(number).unwrap());
    assert_eq!((ran.load(SeqCst), queue.depth(), buffered.len()), (3, 2, 0));
}

std::thread_local! {
    /// A buffer that user code can reach.
    static AT_HAND: RefCell<Option<Rc<BufferedProducer<u32>>>> = const { RefCell::new(None) };
}

fn at_hand() -> Option<Rc<BufferedProducer<u32>>> {
    AT_HAND.with(|slot| slot.borrow().clone())
}

fn lay_at_hand(buffered: BufferedProducer<u32>) -> Rc<BufferedProducer<u32>> {
    let buffered = Rc::new(buffered);
    AT_HAND.with(|slot| *slot.borrow_mut() = Some(Rc::clone(&buffered)));
    buffered
}

fn taken_from_hand(buffered: Rc<BufferedProducer<u32>>) -> BufferedProducer<u32> {
    AT_HAND.with(|slot| drop(slot.borrow_mut().take()));
    Rc::into_inner(buffered).expect("nobody else has it")
}

#[test]
fn what_a_handler_buffers_that_a_flush_runs_is_not_lost() {
    let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
    let config_of_queue = q(1).overflow(Overflow::CallerRuns);
    let queue = builder
        .queue(config_of_queue, |n: &u32, _: &_| {
            if *n == 1 {
                at_hand().unwrap().publish(100).unwrap()
            }
        })
        .unwrap();
    let _runtime = builder.build().unwrap();
    let buffered = lay_at_hand(queue.producer().unwrap().buffered(config(2, secs(1)), |refused| panic!("{refused}")).unwrap());
    buffered.publish(0).unwrap();
    buffered.publish(1).unwrap();
    assert_eq!((queue.depth(), buffered.len()), (1, 1), "one is in, one ran here, and one is buffered");
    let left = taken_from_hand(buffered).into_jobs();
    assert_eq!(left.into_iter().map(Job::into_payload).collect::<Vec<_>>(), [100]);
}

#[test]
fn user_code_in_a_flush_may_look_at_the_buffer_and_add_to_it_but_not_flush() {
    watched(|| {
        let letters = DeadLetterConfig::new().capacity(1);
        let pull = Pull::<u32>::new(q(1).overflow(Overflow::DropOldest).dead_letters(letters));
        let buffered = pull.queue.producer().unwrap().buffered(config(10, ms(5)), |refused| panic!("{refused}")).unwrap();
        let buffered = lay_at_hand(buffered);
        let flushed = Arc::new(AtomicI64::new(0));
        let flushes = Arc::clone(&flushed);
        pull.queue.on_dead_letter_overflow(move |letter| {
            let buffered = at_hand().unwrap();
            flushes.fetch_add(i64::from(buffered.flush() == Err(Refusal::WouldDeadlock)), SeqCst);
            if *letter.payload() == 1 {
                buffered.publish(100).unwrap();
            }
            assert!(!buffered.is_empty());
        });
        (0..4).for_each(|number| buffered.publish(number).unwrap());
        // by whoever works for the queue, which is this thread
        pull.advance(ms(10));
        assert!(pull.get().is_some());
        assert_eq!((flushed.load(SeqCst), buffered.len()), (2, 1), "two found no room among the letters");
        let left = taken_from_hand(buffered).into_jobs();
        assert_eq!(left.into_iter().map(Job::into_payload).collect::<Vec<_>>(), [100]);
    });
}

#[test]
fn an_owner_that_only_looks_keeps_nobody_from_publishing_what_has_its_age() {
    watched(|| {
        let hour = secs(3600);
        let clock = Arc::new(ManualClock::new());
        let mut builder = Runtime::builder().manual(Arc::clone(&clock));
        let queue = builder.queue(q(100), |_: &u32, _: &_| ()).unwrap();
        let runtime = builder.build().unwrap();
        let buffered = queue.producer().unwrap().buffered(config(1_000, hour), |refused| panic!("{refused}")).unwrap();
        buffered.publish(7).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&stop);
        let looking = std::thread::spawn(move || {
            while !stops.load(SeqCst) {
                std::hint::black_box(buffered.len());
            }
        });
        runtime.advance(&clock, hour + ms(1));
        // the owner may stand still with the lock in hand
        eventually("it is published", || {
            runtime.advance(&clock, ms(1));
            queue.counts().acked == 1
        });
        assert!(clock.now().as_nanos() < 2 * hour.as_nanos() as u64, "it took another age");
        stop.store(true, SeqCst);
        looking.join().unwrap();
    });
}

#[test]
fn a_function_that_panics_harms_nobody() {
    let pull = Pull::<u32>::new(q(1));
    let buffered = pull.queue.producer().unwrap().buffered(config(10, ms(1)), |_| panic!("a bug")).unwrap();
    buffered.publish(Job::new(1).lane(7)).unwrap();
    buffered.publish(Job::new(2)).unwrap();
    assert_eq!(buffered.flush(), Ok(()));
    buffered.publish(Job::new(3)).unwrap();
    drop(buffered);
    assert_eq!((pull.queue.depth(), pull.counts().drop_panics), (1, 2));
    pull.settled();
}

#[test]
fn a_buffer_that_cannot_be_is_refused_by_name_value_and_range() {
    let pull = Pull::<u32>::new(q(1));
    let refused = |config: BufferConfig| pull.queue.producer().unwrap().buffered(config, drop).unwrap_err().to_string();
    assert_eq!(refused(config(0, ms(1))), "a buffer of queue `q`: jobs is 0, allowed is 1..=1024");
    assert_eq!(refused(config(1025, ms(1))), "a buffer of queue `q`: jobs is 1025, allowed is 1..=1024");
    assert_eq!(refused(config(1, Duration::ZERO)), "a buffer of queue `q`: age is 0ns, allowed is 1ms to 365d");
    assert_eq!(refused(config(1, Duration::MAX)), "a buffer of queue `q`: age is 18446744073709551615.999999999s, allowed is 1ms to 365d");
}
