//! Fan-outs to two queues with workers, and publishers that wait for the ends of their jobs: all or nothing, and everybody is told once, of the right job. Nine threads.

use super::world::{Still, close_the_books, pool};
use ringmill::queue::Bend;
use ringmill::sync::thread;
use ringmill::{Binding, Context, End, ExchangeConfig, Payload, QueueConfig, Request, Runtime, ShutdownOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

const ASKING: usize = 3;
const SPREADING: usize = 2;

/// A number that is to be doubled.
#[derive(Debug, Clone)]
struct Number(u64);

impl Payload for Number {}

impl Request for Number {
    type Answer = u64;
}

fn told() {
    let doubled = Arc::new(AtomicU64::new(0));
    let mut builder = Runtime::builder().clock(Arc::new(Still));
    builder.pool(pool(2)).unwrap();
    let sum = Arc::clone(&doubled);
    let serve = move |number: &Number, context: &Context<Number>| {
        sum.fetch_add(2 * number.0, Relaxed);
        context.complete(2 * number.0)
    };
    let named = |name: &str| QueueConfig::new(name).capacity(8).prefetch(2);
    let left = builder.queue(named("left"), serve.clone()).unwrap();
    let right = builder.queue(named("right"), serve).unwrap();
    let all = builder.exchange(ExchangeConfig::fanout("all")).unwrap();
    all.rebind([Binding::all(&left), Binding::all(&right)]).unwrap();
    let runtime = builder.build().unwrap();
    let mut threads: Vec<_> = (0..ASKING)
        .map(|asking| {
            let producer = if asking % 2 == 0 { left.producer() } else { right.producer() }.unwrap();
            thread::spawn(move || {
                let number = 1 + asking as u64;
                let mut completion = producer.watched().publish(Number(number)).expect("there is room for all");
                let completed = completion.wait().expect("it is told");
                assert_eq!((completed.end, completed.answer), (End::Acked, Some(2 * number)));
            })
        })
        .collect();
    threads.extend((0..SPREADING).map(|_| {
        let mut publisher = all.publisher();
        thread::spawn(move || assert_eq!(publisher.publish("news", Number(10)).expect("there is room for all").copies, 2))
    }));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let report = runtime.shutdown(ShutdownOptions::new(Duration::from_secs(3600), Duration::from_secs(3600)));
    assert!(report.is_clean(), "{report:?}");
    let [left, right] = ["left", "right"].map(|name| report.queue(name).unwrap());
    close_the_books(left);
    close_the_books(right);
    assert_eq!((left.counts.acked, right.counts.acked), (4, 3));
    assert_eq!(doubled.load(Relaxed), 2 * (1 + 2 + 3) + 2 * 10 * 4);
}

crate::schedules::scenario!(
    told,
    1200,
    promise_late: "deadlock", Some(Bend::PromiseLate), told,
);
