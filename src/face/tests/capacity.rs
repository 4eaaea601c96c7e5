//! A queue that is full: who is told what, and whose the slots are.

use super::*;
use crate::tests::threads::Mutex;
use crate::{
    Binding, BufferConfig, Context, DeadLetterConfig, ExchangeConfig, ExchangePublisher, Job, LaneConfig, Overflow, Pressure, Refusal,
};
use std::cell::RefCell;
use std::rc::Rc;

/// When to try again, by a refused publish.
fn hint(pull: &Pull<u32>) -> Option<Duration> {
    match pull.producer.try_publish(0).unwrap_err().refusal() {
        Refusal::Full { retry_after } => *retry_after,
        other => panic!("refused as {other}"),
    }
}

#[track_caller]
fn is_about(hint: Option<Duration>, expected: Duration) {
    // a sweep sees what was settled, and says it, up to 100 ms late
    assert!(hint.is_some_and(|hint| hint.abs_diff(expected) <= ms(200)), "{hint:?} is not about {expected:?}");
}

/// One job is settled, and another one is published.
fn go_on(pull: &Pull<u32>) {
    pull.get().unwrap().ack().unwrap();
    pull.producer.publish(0).unwrap();
}

#[test]
fn a_full_queue_says_the_pace_at_which_jobs_are_settled_however_slow() {
    let pull = Pull::<u32>::new(q(4));
    assert_eq!(pull.producer.publish_batch(&mut (0..4)).accepted, 4);
    assert_eq!(hint(&pull), None, "nothing was settled yet");
    for n in 0..4 {
        pull.advance(secs(9));
        if n > 0 {
            is_about(hint(&pull), secs(10));
        }
        pull.advance(secs(1));
        go_on(&pull);
    }
    pull.advance(ms(200));
    is_about(hint(&pull), secs(10));
    pull.settled();
}

#[test]
fn a_queue_that_stands_still_says_for_how_long_and_then_its_new_pace() {
    let pull = Pull::<u32>::new(q(4));
    assert_eq!(pull.producer.publish_batch(&mut (0..4)).accepted, 4);
    pull.advance(secs(2));
    go_on(&pull);
    pull.advance(secs(1));
    is_about(hint(&pull), secs(2));
    pull.advance(secs(59));
    is_about(hint(&pull), secs(60));
    go_on(&pull);
    pull.advance(ms(200));
    is_about(hint(&pull), secs(60));
    for _ in 0..5 {
        pull.advance(secs(1));
        go_on(&pull);
    }
    pull.advance(ms(200));
    is_about(hint(&pull), secs(1));
}

#[test]
fn idle_hours_and_delayed_jobs_are_no_part_of_the_pace() {
    for delayed in [0, 1] {
        let pull = Pull::<u32>::new(q(4));
        if delayed == 1 {
            pull.producer.publish_after(0, secs(100 * 3_600)).unwrap();
        }
        for _ in 0..2 {
            pull.advance(secs(3_600));
            assert_eq!(pull.producer.publish_batch(&mut (0..4 - delayed)).accepted, 4 - delayed as usize);
            pull.advance(secs(1));
            go_on(&pull);
            pull.advance(ms(200));
            is_about(hint(&pull), secs(1));
            while let Some(delivery) = pull.get() {
                delivery.ack().unwrap();
            }
            pull.advance(ms(200));
        }
        // what came and went between two looks has not taken an hour either
        pull.advance(secs(3_600));
        pull.producer.publish(0).unwrap();
        pull.get().unwrap().ack().unwrap();
        pull.advance(ms(200));
        assert_eq!(pull.producer.publish_batch(&mut (0..4 - delayed)).accepted, 4 - delayed as usize);
        assert!(hint(&pull).unwrap() <= ms(200));
    }
}

#[test]
fn a_redrive_and_a_publish_that_no_handler_can_run_have_the_same_hint() {
    let pull = Pull::<u32>::new(q(1).overflow(Overflow::CallerRuns).dead_letters(DeadLetterConfig::new().capacity(1)));
    pull.producer.publish(0).unwrap();
    pull.advance(secs(10));
    pull.get().unwrap().reject("no").unwrap();
    pull.producer.publish(1).unwrap();
    pull.advance(ms(200));
    let expected = hint(&pull);
    is_about(expected, secs(10));
    assert_eq!(pull.queue.dead_letters().redrive(), Err(Refusal::Full { retry_after: expected }));
    assert_eq!(*pull.producer.publish(2).unwrap_err().refusal(), Refusal::Full { retry_after: expected });
    assert_eq!(pull.producer.reserve(0, 1).unwrap_err(), Refusal::Full { retry_after: expected });
}

// ---- a lane's reserve ----

const RESERVE: u32 = 1_300;

/// A queue of which half is the reserve of one lane, 63 idle producers that have cached slots of it, and an exchange before it and another queue.
struct Reserved {
    pull: Pull<u32>,
    publisher: ExchangePublisher<u32>,
    _idle: Vec<Producer<u32>>,
}

impl Reserved {
    fn new(config: QueueConfig) -> Self {
        let lanes = [LaneConfig::new("high").reserve(RESERVE), LaneConfig::new("low")];
        let clock = Arc::new(ManualClock::new());
        let mut builder = Runtime::builder().manual(Arc::clone(&clock));
        let queue = builder.pull_queue(config.lanes(lanes)).unwrap();
        let other = builder.pull_queue(QueueConfig::new("other").capacity(5_000)).unwrap();
        let exchange = builder.exchange(ExchangeConfig::topic("x")).unwrap();
        exchange.rebind([Binding::new("#", &queue), Binding::new("both", &other)]).unwrap();
        let runtime = builder.build().unwrap();
        let idle: Vec<_> = (0..63).map(|_| queue.producer().unwrap()).collect();
        let (producer, consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
        for producer in &idle {
            producer.publish(0).unwrap();
        }
        while let Ok(delivery) = consumer.try_recv() {
            delivery.ack().unwrap();
        }
        let pull = Pull { clock, runtime, queue, producer, consumer };
        Reserved { publisher: exchange.publisher(), pull, _idle: idle }
    }
}

#[test]
fn a_lane_fills_its_reserve_before_it_touches_the_shared_rest_however_it_is_published() {
    type Publish = fn(&mut Reserved, u32) -> bool;
    let one_by_one: [(&str, Publish); 6] = [
        ("publish", |it, n| it.pull.producer.publish(n).is_ok()),
        ("try_publish", |it, n| it.pull.producer.try_publish(n).is_ok()),
        ("publish_timeout", |it, n| it.pull.producer.publish_timeout(n, secs(1)).is_ok()),
        ("publish_async", |it, n| super::futures::block_on(it.pull.queue.producer().unwrap().publish_async(n)).is_ok()),
        ("by an exchange", |it, n| it.publisher.publish("one", n).is_ok()),
        ("by an exchange to two", |it, n| it.publisher.publish("both", n).is_ok()),
    ];
    let at_once: [(&str, Publish); 2] = [
        ("publish_batch", |it, n| it.pull.producer.publish_batch(&mut (0..n)).refused.is_none()),
        ("reserve", |it, n| {
            let mut permits = it.pull.producer.reserve(0, n as usize).unwrap();
            (0..n).all(|n| permits.publish(n).is_ok())
        }),
    ];
    for overflow in [Overflow::Block(secs(1)), Overflow::Reject] {
        let fill = |way: &str, publish: &dyn Fn(&mut Reserved) -> bool| {
            let mut it = Reserved::new(q(2 * u64::from(RESERVE)).overflow(overflow));
            assert!(publish(&mut it), "{way}, {overflow:?}: room for a reserve");
            let low = it.pull.queue.producer().unwrap();
            let got = (0..=RESERVE).take_while(|&n| low.try_publish(Job::new(n).lane(1)).is_ok()).count();
            assert_eq!(got, RESERVE as usize, "{way}, {overflow:?}: what the other lane gets of the shared rest");
            it.pull.settled();
        };
        for (way, publish) in one_by_one {
            fill(way, &|it| (0..RESERVE).all(|n| publish(it, n)));
        }
        for (way, publish) in at_once {
            fill(way, &|it| publish(it, RESERVE));
        }
    }
}

// ---- watermarks ----

/// What is heard of the watermarks.
fn heard(queue: &QueueHandle<u32>) -> Arc<Mutex<Vec<Pressure>>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heard);
    queue.on_pressure(move |pressure| log.lock().unwrap().push(pressure));
    heard
}

#[test]
fn a_publisher_that_finds_the_queue_full_tells_of_it_where_nobody_takes_jobs() {
    type Publish = fn(&Producer<u32>, &mut ExchangePublisher<u32>) -> bool;
    let ways: [(&str, Overflow, Publish); 10] = [
        ("publish", Overflow::Reject, |it, _| it.publish(0).is_err()),
        ("try_publish", Overflow::Block(secs(1)), |it, _| it.try_publish(0).is_err()),
        ("publish_after", Overflow::Reject, |it, _| it.publish_after(0, secs(1)).is_err()),
        ("publish_batch", Overflow::Reject, |it, _| it.publish_batch(&mut (0..9)).refused.is_some()),
        ("reserve", Overflow::Reject, |it, _| it.reserve(0, 1).is_err()),
        ("publish_timeout", Overflow::Reject, |it, _| it.publish_timeout(0, Duration::ZERO).is_err()),
        ("by an exchange", Overflow::Reject, |_, it| it.publish("one", 0).is_err()),
        ("by an exchange to two", Overflow::Reject, |_, it| it.publish("both", 0).is_err()),
        ("caller runs", Overflow::CallerRuns, |it, _| it.publish(0).is_err()),
        ("drop oldest", Overflow::DropOldest, |it, _| it.publish(0).is_ok()),
    ];
    for (way, overflow, publish) in ways {
        let clock = Arc::new(ManualClock::new());
        let mut builder = Runtime::builder().manual(Arc::clone(&clock));
        let queue = builder.pull_queue(q(10).overflow(overflow)).unwrap();
        let other = builder.pull_queue(QueueConfig::new("other")).unwrap();
        let exchange = builder.exchange(ExchangeConfig::topic("x")).unwrap();
        exchange.rebind([Binding::new("#", &queue), Binding::new("both", &other)]).unwrap();
        let runtime = builder.build().unwrap();
        let (producer, mut publisher, heard) = (queue.producer().unwrap(), exchange.publisher(), heard(&queue));
        assert_eq!(producer.publish_batch(&mut (0..10)).accepted, 10);
        runtime.advance(&clock, secs(1));
        assert_eq!((queue.pressure(), heard.lock().unwrap().len()), (Pressure::High, 0), "{way}: who should tell?");
        for _ in 0..2 {
            assert!(publish(&producer, &mut publisher), "{way}");
            assert_eq!(*heard.lock().unwrap(), [Pressure::High], "{way}: once");
        }
    }
}

#[test]
fn a_publisher_that_waits_tells_of_the_crossing_while_the_only_worker_is_stuck() {
    watched(|| {
        let (door, mut builder) = (Door::default(), Runtime::builder());
        let stuck = door.clone();
        let queue = builder.queue(q(4), move |_: &u32, _: &Context<u32>| stuck.pass()).unwrap();
        builder.pool(PoolConfig::new("default").workers(1)).unwrap();
        let runtime = builder.build().unwrap();
        let (producer, heard) = (queue.producer().unwrap(), heard(&queue));
        producer.publish(0).unwrap();
        eventually("the worker is stuck", || snapshot(&runtime).phases.running == 1);
        let waiting = std::thread::spawn(move || (0..4).all(|n| producer.publish_timeout(n, Duration::MAX).is_ok()));
        eventually("the callback is called", || *heard.lock().unwrap() == [Pressure::High]);
        eventually("it waits, still or after that", || (queue.depth(), snapshot(&runtime).publishers_waiting) == (4, 1));
        door.open();
        assert!(waiting.join().unwrap());
    });
}

#[test]
fn a_task_that_waits_is_polled_to_tell_of_the_crossing() {
    for by_exchange in [false, true] {
        let clock = Arc::new(ManualClock::new());
        let mut builder = Runtime::builder().manual(Arc::clone(&clock));
        let queue = builder.pull_queue(q(1)).unwrap();
        let other = builder.pull_queue(QueueConfig::new("other")).unwrap();
        let exchange = builder.exchange(ExchangeConfig::fanout("x")).unwrap();
        exchange.rebind([Binding::all(&queue), Binding::all(&other)]).unwrap();
        let runtime = builder.build().unwrap();
        let (mut producer, mut publisher, bell) = (queue.producer().unwrap(), exchange.publisher(), futures::Bell::new());
        producer.publish(0).unwrap();
        let heard = heard(&queue);
        let wait_and_hear = |poll: &mut dyn FnMut() -> bool| {
            assert!(poll(), "it waits");
            runtime.advance(&clock, secs(1));
            assert_eq!((bell.rung(), heard.lock().unwrap().len()), (1, 0), "the timer wakes, and calls nothing");
            assert!(poll(), "it waits still");
            assert_eq!(*heard.lock().unwrap(), [Pressure::High]);
        };
        if by_exchange {
            let mut waits = publisher.publish_async("k", 1);
            wait_and_hear(&mut || futures::poll(&mut waits, &bell).is_pending());
        } else {
            let mut waits = producer.publish_async(1);
            wait_and_hear(&mut || futures::poll(&mut waits, &bell).is_pending());
        }
    }
}

#[test]
fn no_handler_is_kept_from_its_job_by_the_callback_and_no_lock_is_held() {
    watched(|| {
        let mut builder = Runtime::builder();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let own = Arc::new(Mutex::new(None::<QueueHandle<u32>>));
        let (seen, queue_of) = (Arc::clone(&heard), Arc::clone(&own));
        let handler = move |n: &u32, _: &Context<u32>| {
            if *n == 0 {
                let queue = queue_of.lock().unwrap().clone().unwrap();
                eventually("the queue is full", || queue.pressure() == Pressure::High);
                let producer = queue.producer().unwrap();
                assert!(producer.try_publish(9).unwrap_err().is_full());
                assert!(producer.publish_timeout(9, secs(9)).is_err() && producer.reserve(0, 1).is_err());
                assert!(seen.lock().unwrap().is_empty(), "called in a handler");
            }
        };
        let queue = builder.queue(q(2), handler).unwrap();
        builder.pool(PoolConfig::new("default").workers(1)).unwrap();
        *own.lock().unwrap() = Some(queue.clone());
        let log = Arc::clone(&heard);
        queue.on_pressure(move |pressure| {
            assert!(!crate::sync::late::holds_a_lock());
            log.lock().unwrap().push(pressure);
        });
        let runtime = builder.build().unwrap();
        assert_eq!(queue.producer().unwrap().publish_batch(&mut (0..2)).accepted, 2);
        eventually("the worker calls", || *heard.lock().unwrap() == [Pressure::High, Pressure::Low]);
        *own.lock().unwrap() = None;
        assert_eq!(adds_up(&runtime).panics, 0);
    });
}

#[test]
fn a_buffer_that_finds_the_queue_full_tells_of_it() {
    let clock = Arc::new(ManualClock::new());
    let mut builder = Runtime::builder().manual(Arc::clone(&clock));
    let queue = builder.pull_queue(q(1)).unwrap();
    let runtime = builder.build().unwrap();
    let (producer, heard) = (queue.producer().unwrap(), heard(&queue));
    producer.publish(0).unwrap();
    let buffered = queue.producer().unwrap().buffered(BufferConfig::new().age(secs(9)), |_| ()).unwrap();
    buffered.publish(1).unwrap();
    runtime.advance(&clock, secs(1));
    assert!(heard.lock().unwrap().is_empty());
    drop(buffered);
    assert_eq!(*heard.lock().unwrap(), [Pressure::High]);
}

std::thread_local! {
    /// A producer that a callback can reach.
    static OWN: RefCell<Option<Rc<Producer<u32>>>> = const { RefCell::new(None) };
}

#[test]
fn a_wait_in_a_callback_leaves_the_wait_around_it_awake() {
    watched(|| {
        let mut builder = Runtime::builder();
        let queue = builder.pull_queue::<u32>(q(4)).unwrap();
        let runtime = builder.build().unwrap();
        let called = Arc::new(AtomicBool::new(false));
        let calls = Arc::clone(&called);
        queue.on_pressure(move |_| {
            // by the producer of the publish that waits around it, which has one place in the line
            if let Some(producer) = OWN.with(|own| own.borrow().clone()) {
                assert!(producer.publish_timeout(99, ms(20)).is_err());
                calls.store(true, SeqCst);
            }
        });
        let handle = queue.clone();
        let publisher = std::thread::spawn(move || {
            let producer = Rc::new(handle.producer().unwrap());
            OWN.with(|own| *own.borrow_mut() = Some(Rc::clone(&producer)));
            (0..4).for_each(|n| assert!(producer.publish(n).is_ok()));
            let began = Instant::now();
            producer.publish_timeout(4, secs(25)).unwrap();
            OWN.with(|own| drop(own.borrow_mut().take()));
            began.elapsed()
        });
        eventually("the callback has waited", || called.load(SeqCst));
        let consumer = queue.consumer().unwrap();
        (0..4).for_each(|_| consumer.try_recv().unwrap().ack().unwrap());
        assert!(publisher.join().unwrap() < secs(15));
        let _ = runtime.shutdown(at_once());
    });
}

#[test]
fn a_callback_that_publishes_to_the_full_queue_is_not_called_again_for_it() {
    let clock = Arc::new(ManualClock::new());
    let mut builder = Runtime::builder().manual(Arc::clone(&clock));
    let queue = builder.pull_queue(q(1)).unwrap();
    let runtime = builder.build().unwrap();
    let (calls, own) = (Arc::new(AtomicU64::new(0)), queue.clone());
    let count = Arc::clone(&calls);
    queue.on_pressure(move |_| {
        count.fetch_add(1, SeqCst);
        assert!(own.producer().unwrap().publish(1).unwrap_err().is_full());
        // and the last one's closure is dropped in the middle of its call
        own.on_pressure(|_| ());
    });
    queue.producer().unwrap().publish(0).unwrap();
    runtime.advance(&clock, secs(1));
    assert!(queue.producer().unwrap().publish(1).unwrap_err().is_full());
    assert!(queue.producer().unwrap().publish(1).unwrap_err().is_full());
    assert_eq!(calls.load(SeqCst), 1);
}
