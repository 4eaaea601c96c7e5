//! There and back.

use crate::contest::Readings;
use crate::effort::Effort;
use crate::machine::{cpu_number, nanos, pin, ticks};
use crate::ring::queue::{Consumer, Producer, Queue, Taken};
use crate::statistics::quantile;
use ringmill::{Context, Idle, Placement, PoolConfig, Producer as MillProducer, QueueConfig, Runtime, ShutdownOptions};
use std::cell::OnceCell;
use std::thread;
use std::time::{Duration, Instant};

/// Round trips of a run, unless it takes too long.
const TRIPS: u64 = 20_000;
const WARM_UP: u64 = 200;
/// Ends the other side.
const STOP: u64 = u64::MAX;

/// Through two queues of one kind.
pub fn of_queues<Q: Queue>(effort: &Effort) -> impl FnMut() -> Readings + use<Q> {
    let patience = effort.run;
    move || {
        let ((there, mut other_end), (mut back, here)) = (pair::<Q>(), pair::<Q>());
        thread::scope(|scope| {
            scope.spawn(move || {
                pin(1);
                loop {
                    match receive(&mut other_end) {
                        STOP => return,
                        item => send(&mut back, item),
                    }
                }
            });
            let (mut there, mut here) = (there, here);
            let play = move || {
                pin(0);
                let trip = |item| {
                    send(&mut there, item);
                    assert_eq!(receive(&mut here), item);
                };
                let times = trips(patience, trip);
                send(&mut there, STOP);
                times
            };
            summary(scope.spawn(play).join().expect("a player panicked"))
        })
    }
}

fn pair<Q: Queue>() -> (Q::Producer, Q::Consumer) {
    let (mut producers, mut consumers) = Q::open(1, 1);
    producers.pop().zip(consumers.pop()).expect("one of each was asked for")
}

#[inline]
fn send(producer: &mut impl Producer, item: u64) {
    while producer.push(item, item.wrapping_add(1)) == 0 {
        std::hint::spin_loop();
    }
}

#[inline]
fn receive(consumer: &mut impl Consumer) -> u64 {
    loop {
        match consumer.pop() {
            Taken::Some { count, sum } => {
                assert_eq!(count, 1);
                return sum;
            }
            Taken::Nothing => std::hint::spin_loop(),
            Taken::Closed => panic!("the other side has gone"),
        }
    }
}

/// A handler that answers into a pull queue of the same runtime.
pub fn of_runtime(effort: &Effort) -> impl FnMut() -> Readings + use<> {
    let patience = effort.run;
    thread_local! {
        /// A producer belongs to a thread.
        static BACK: OnceCell<MillProducer<u64>> = const { OnceCell::new() };
    }
    move || {
        let mut builder = Runtime::builder();
        let back = builder.pull_queue::<u64>(QueueConfig::new("back").capacity(1_024)).expect("the settings are valid");
        let answers = back.clone();
        let answer = move |item: &u64, _: &Context<u64>| {
            BACK.with(|producer| {
                let producer = producer.get_or_init(|| answers.producer().expect("accounts are left"));
                producer.publish(*item).map(drop).expect("there is room");
            });
        };
        let there = builder.queue(QueueConfig::new("there").capacity(1_024), answer).expect("the settings are valid");
        let placement = cpu_number(1).map_or(Placement::None, |cpu| Placement::Cores(vec![cpu].into()));
        let pool = PoolConfig::new("default").workers(1).idle(Idle::BusySpin).placement(placement);
        builder.pool(pool).expect("the settings are valid");
        let runtime = builder.build().expect("threads can be started");
        let times = thread::scope(|scope| {
            let play = || {
                pin(0);
                let producer = there.producer().expect("accounts are left");
                let consumer = back.consumer().expect("accounts are left");
                trips(patience, |item| {
                    producer.publish(item).expect("there is room");
                    let delivery = loop {
                        match consumer.try_recv() {
                            Ok(delivery) => break delivery,
                            Err(_) => std::hint::spin_loop(),
                        }
                    };
                    assert_eq!(*delivery.payload(), item);
                    delivery.ack().expect("its lease has not run out");
                })
            };
            scope.spawn(play).join().expect("a player panicked")
        });
        let played = times.len() as u64 + WARM_UP;
        let report = runtime.shutdown(ShutdownOptions::default());
        assert!(report.is_clean());
        for name in ["there", "back"] {
            let queue = report.queue(name).expect("it is there");
            assert!(queue.ledger_balances() && queue.counts.acked == played, "{queue:?}");
        }
        summary(times)
    }
}

/// The times of the trips, in ticks.
fn trips(patience: Duration, mut trip: impl FnMut(u64)) -> Vec<u64> {
    (0..WARM_UP).for_each(&mut trip);
    let mut times = Vec::with_capacity(TRIPS as usize);
    let began = Instant::now();
    let mut last = ticks();
    for item in 0..TRIPS {
        trip(item);
        let now = ticks();
        times.push(now - last);
        last = now;
        if item % 64 == 63 {
            if began.elapsed() > patience {
                break;
            }
            last = ticks();
        }
    }
    times
}

fn summary(mut times: Vec<u64>) -> Readings {
    times.sort_unstable();
    [500, 990, 999].map(|at| Some(nanos(quantile(&times, at) as u64) as f64)).to_vec()
}
