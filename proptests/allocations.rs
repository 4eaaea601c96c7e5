//! Nothing is allocated per job in the steady state: a million jobs, pushed and pulled, singly and in batches, under a counting allocator.
//!
//! Every thread of the process counts: publisher, workers, consumer, timer.

#![allow(missing_docs, clippy::disallowed_methods)]

use ringmill::{
    Binding, Context, ExchangeConfig, Idle, LaneConfig, Layers, Mux, Overflow, PoolConfig, Producer, QueueConfig, Runtime, RuntimeBuilder,
    with_state,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The system's allocator, counting what is asked of it.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promise
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promise
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const WARM_UP: u64 = 100_000;
const JOBS: u64 = 1_000_000;

/// What a run over `JOBS` jobs allocated, after a warm-up.
fn allocations(run: impl FnMut(u64)) -> u64 {
    allocations_of(WARM_UP, JOBS, run)
}

fn allocations_of(warm_up: u64, jobs: u64, mut run: impl FnMut(u64)) -> u64 {
    run(warm_up);
    // the timer gets to know new claimers in its next sweep, which is at most 100 ms away where the machine is not busy
    std::thread::sleep(Duration::from_millis(500));
    let before = ALLOCATIONS.load(Relaxed);
    run(jobs);
    ALLOCATIONS.load(Relaxed) - before
}

fn config(name: &str) -> QueueConfig {
    QueueConfig::new(name).capacity(1024).lanes([LaneConfig::new("high").weight(3), LaneConfig::new("low")])
}

fn builder() -> RuntimeBuilder {
    let mut builder = Runtime::builder();
    builder.pool(PoolConfig::new("default").workers(2).idle(Idle::default())).expect("the shape is valid");
    builder
}

/// Publishes one by one, never waiting in the library.
fn publish(producer: &Producer<u64>, jobs: u64) {
    for mut job in 0..jobs {
        while let Err(refused) = producer.try_publish(job) {
            assert!(refused.is_full());
            job = refused.into_inner();
            std::thread::yield_now();
        }
    }
}

/// Publishes one by one into a queue that is full nearly always: waits in the line for a slot.
fn publish_blocking(producer: &Producer<u64>, jobs: u64) {
    for job in 0..jobs {
        producer.publish(job).expect("a slot becomes free in time");
    }
}

fn publish_batches(producer: &Producer<u64>, jobs: u64) {
    let mut jobs = 0..jobs;
    while let Some(mut refused) = producer.publish_batch(&mut jobs).refused {
        while let Err(again) = producer.try_publish(refused.into_inner()) {
            refused = again;
            std::thread::yield_now();
        }
    }
}

fn main() {
    a_million_jobs_allocate_nothing();
    println!("a million jobs of every kind: no allocation");
}

fn a_million_jobs_allocate_nothing() {
    for (name, push) in [("publish", publish as fn(&Producer<u64>, u64)), ("publish_batch", publish_batches)] {
        let mut builder = builder();
        let queue = builder.queue(config("push").overflow(Overflow::Reject), |_: &u64, _: &_| ()).expect("the shape is valid");
        let runtime = builder.build().expect("threads can be started");
        let producer = queue.producer().expect("accounts are left");
        let pushed = allocations(|jobs| {
            push(&producer, jobs);
            while queue.depth() > 0 {
                std::thread::yield_now();
            }
        });
        let report = runtime.shutdown(Default::default());
        assert_eq!(report.queue("push").expect("it is there").counts.acked, WARM_UP + JOBS);
        assert_eq!(pushed, 0, "allocations in a million jobs through {name} and a handler");
    }

    handlers_put_together_allocate_nothing();
    exchanges_allocate_nothing();
    blocked_publishers_allocate_nothing();

    let mut builder = builder();
    let queue = builder.pull_queue::<u64>(config("pull")).expect("the shape is valid");
    let runtime = builder.build().expect("threads can be started");
    let producer = queue.producer().expect("accounts are left");
    let consumer = queue.consumer().expect("accounts are left");
    let pulled = allocations(|jobs| {
        for job in 0..jobs {
            producer.try_publish(job).expect("there is room");
            consumer.recv_timeout(Duration::from_secs(5)).expect("there is a job").ack().expect("in time");
        }
    });
    let report = runtime.shutdown(Default::default());
    assert_eq!(report.queue("pull").expect("it is there").counts.acked, WARM_UP + JOBS);
    assert_eq!(pulled, 0, "allocations in a million jobs through a consumer");
}

/// A mux with state and layers in it and around it: by exact name, by prefix and by fallback.
fn handlers_put_together_allocate_nothing() {
    fn count(ran: &AtomicU64, _: &u64, _: &Context<u64>) {
        ran.fetch_add(1, Relaxed);
    }
    let counters = [(); 3].map(|()| std::sync::Arc::new(AtomicU64::new(0)));
    let [exact, prefix, fallback] = counters.each_ref().map(|counter| with_state(std::sync::Arc::clone(counter), count));
    let timed = Layers::new().timed(|_: &u64, _, took, _| assert!(took < Duration::from_secs(60)));
    let mux = Mux::by(|job: &u64| ["mail:welcome", "mail:bye", "image"][*job as usize % 3])
        .on("mail:welcome", timed.clone().handler(exact))
        .and_then(|mux| mux.on_prefix("mail:", prefix))
        .and_then(|mux| mux.on_prefix("mail:a", |job: &u64, _: &Context<u64>| assert_eq!(*job, u64::MAX, "no kind begins like this")))
        .and_then(|mux| mux.fallback(fallback))
        .expect("each name once");
    let layers = timed.around(|_: &u64, _, next| next()).catch_panic(|_: &u64, _, _| ());
    let mut builder = builder();
    let queue = builder.queue(config("kinds"), layers.handler(mux)).expect("the shape is valid");
    let runtime = builder.build().expect("threads can be started");
    let producer = queue.producer().expect("accounts are left");
    let handled = allocations(|jobs| {
        publish(&producer, jobs);
        while queue.depth() > 0 {
            std::thread::yield_now();
        }
    });
    let report = runtime.shutdown(Default::default());
    assert_eq!(report.queue("kinds").expect("it is there").counts.acked, WARM_UP + JOBS);
    let ran = counters.map(|counter| counter.load(Relaxed));
    assert_eq!(ran.iter().sum::<u64>(), WARM_UP + JOBS);
    assert!(ran.into_iter().all(|ran| ran > JOBS / 4), "{ran:?}");
    assert_eq!(handled, 0, "allocations in a million jobs through a mux and layers");
}

/// By key, by route and to three queues; predicates and an alternate exchange on the way.
fn exchanges_allocate_nothing() {
    let mut builder = Runtime::builder();
    let queues = ["a", "b", "c"].map(|name| builder.pull_queue::<u64>(config(name)).expect("the shape is valid"));
    let alternate = builder.exchange(ExchangeConfig::fanout("rest")).expect("the shape is valid");
    let exchange = builder.exchange(ExchangeConfig::topic("x").alternate(&alternate)).expect("the shape is valid");
    let runtime = builder.build().expect("threads can be started");
    let [a, b, _] = &queues;
    exchange
        .rebind([Binding::new("one.*", a), Binding::new("#.even", b).lane(1).when(|_, job| job % 2 == 0), Binding::new("one.#.even", a)])
        .expect("the bindings are valid");
    alternate.rebind(queues.iter().map(Binding::all)).expect("the bindings are valid");
    let (mut publisher, route) = (exchange.publisher(), exchange.route("one.of").expect("it is a key"));
    let consumers = queues.each_ref().map(|queue| queue.consumer().expect("accounts are left"));
    let mut copies = 0;
    let routed = allocations(|jobs| {
        for job in 0..jobs {
            for routed in [publisher.publish("one.even", job), publisher.publish(&route, job), publisher.publish("for.all", job)] {
                copies += routed.expect("there is room").copies as u64;
            }
            for consumer in &consumers {
                while let Ok(delivery) = consumer.try_recv() {
                    delivery.ack().expect("in time");
                }
            }
        }
    });
    let report = runtime.shutdown(Default::default());
    let acked: u64 = queues.iter().map(|queue| report.queue(queue.name()).expect("it is there").counts.acked).sum();
    // one or two, one, and three
    let jobs = WARM_UP + JOBS;
    assert_eq!((acked, copies), (copies, 5 * jobs + jobs / 2));
    assert_eq!(routed, 0, "allocations in three million jobs through exchanges");
}

/// A queue of two slots, one of them in reserve for the urgent lane: its publishers wait in two lines, and park.
fn blocked_publishers_allocate_nothing() {
    let mut builder = Runtime::builder();
    let lanes = [LaneConfig::new("high").reserve(1), LaneConfig::new("low")];
    let config = QueueConfig::new("full").capacity(2).lanes(lanes).overflow(Overflow::Block(Duration::from_secs(60)));
    let queue = builder.pull_queue::<u64>(config).expect("the shape is valid");
    let runtime = builder.build().expect("threads can be started");
    let producer = queue.producer().expect("accounts are left");
    let consumer = queue.consumer().expect("accounts are left");
    let (warm_up, jobs) = (WARM_UP / 20, JOBS / 20);
    let mut waits = 0;
    let blocked = std::thread::scope(|scope| {
        let waits = &mut waits;
        let receives = scope.spawn(move || {
            for received in 0..warm_up + jobs {
                let delivery = consumer.recv().expect("a job comes");
                // time for the publisher to fill the queue again, to look in vain, and to park; a snapshot allocates, so the run that counts goes without
                if received % 64 == 0 && received < warm_up - 2 {
                    let patience = std::time::Instant::now() + Duration::from_secs(10);
                    while queue.snapshot().publishers_waiting == 0 {
                        assert!(std::time::Instant::now() < patience, "the publisher does not wait, though the queue is full");
                        std::thread::yield_now();
                    }
                    *waits += 1;
                } else if received % 64 == 0 {
                    std::thread::sleep(Duration::from_millis(2));
                }
                delivery.ack().expect("in time");
            }
            // not dropped while the count goes on: its histograms are kept
            consumer
        });
        let blocked = allocations_of(warm_up, jobs, |jobs| publish_blocking(&producer, jobs));
        drop(receives.join());
        blocked
    });
    let report = runtime.shutdown(Default::default());
    assert_eq!(report.queue("full").expect("it is there").counts.acked, warm_up + jobs);
    assert!(waits > 20, "the publisher parked {waits} times only");
    assert_eq!(blocked, 0, "allocations in publishes that wait for a slot");
}
