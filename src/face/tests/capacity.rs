//! A queue that is full: who is told what, and whose the slots are.

use super::*;
use crate::{Binding, ExchangeConfig, ExchangePublisher, Job, LaneConfig, Overflow};

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
