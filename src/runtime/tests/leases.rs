//! Leases of deliveries that come late, on a manual clock. Each of these was a bug that the soak found, or its reading.

use crate::clock::ManualClock;
use crate::{Consumer, DeadLetterConfig, Delivery, Producer, QueueConfig, QueueHandle, RetryPolicy, Runtime, ShutdownOptions};
use std::sync::Arc;
use std::time::Duration;

const LEASE: Duration = Duration::from_millis(10);

struct Bench {
    clock: Arc<ManualClock>,
    runtime: Runtime,
    queue: QueueHandle<u32>,
    producer: Producer<u32>,
    consumer: Consumer<u32>,
}

fn bench(config: QueueConfig) -> Bench {
    let clock = Arc::new(ManualClock::new());
    let mut builder = Runtime::builder().manual(Arc::clone(&clock));
    let queue = builder.pull_queue::<u32>(config.visibility(LEASE)).unwrap();
    let runtime = builder.build().unwrap();
    let (producer, consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
    Bench { clock, runtime, queue, producer, consumer }
}

impl Bench {
    fn receive(&self) -> Delivery<u32> {
        self.consumer.try_recv().unwrap()
    }

    fn let_leases_run_out(&self) {
        self.runtime.advance(&self.clock, 4 * LEASE);
    }
}

/// The entry of a lease that ran out goes to another delivery; the late settlement cleared it, and the other lease never ran out.
#[test]
fn a_late_settlement_leaves_the_watch_over_other_deliveries_alone() {
    let bench = bench(QueueConfig::new("q").capacity(64));
    bench.producer.publish(0).unwrap();
    let late = bench.receive();
    bench.let_leases_run_out();
    // as many as are watched at a time: the last of them gets the late one's entry
    for job in 1..=31 {
        bench.producer.publish(job).unwrap();
    }
    let mut held: Vec<_> = (0..32).map(|_| bench.receive()).collect();
    assert!(late.ack().is_err());
    let last = held.pop().unwrap();
    let job = last.job_id();
    std::mem::forget(last);
    held.into_iter().for_each(|delivery| delivery.ack().unwrap());
    // the next claim takes the place of the last, which the timer has watched as well so far
    bench.producer.publish(99).unwrap();
    bench.receive().ack().unwrap();
    bench.let_leases_run_out();
    let again = bench.receive();
    assert_eq!((again.job_id(), again.attempt()), (job, 2));
    again.ack().unwrap();
}

/// A job that was cancelled between its claim and its start left its entry behind; after 32 of those nothing was watched without a search.
#[test]
fn a_start_that_fails_gives_its_watch_back() {
    let bench = bench(QueueConfig::new("q").capacity(64));
    for _ in 0..64 {
        let job = bench.producer.publish(1).unwrap();
        assert!(bench.queue.cancel(job));
        assert!(bench.consumer.try_recv().is_err());
    }
    bench.producer.publish(2).unwrap();
    let delivery = bench.receive();
    assert_eq!(bench.queue.queue.watched_deliveries(), 1);
    delivery.ack().unwrap();
}

/// The next delivery has the number that the stale one's extension would have had.
#[test]
fn a_stale_extension_does_not_lengthen_the_next_delivery() {
    let bench = bench(QueueConfig::new("q").capacity(4));
    bench.producer.publish(0).unwrap();
    let mut stale = bench.receive();
    bench.let_leases_run_out();
    let current = bench.receive();
    assert_eq!(current.attempt(), 2);
    assert!(stale.extend(Duration::from_secs(500)).is_err());
    bench.let_leases_run_out();
    assert!(!current.is_current());
    assert_eq!(bench.receive().attempt(), 3);
}

/// A redriven job gets another slot, whose numbers had not come as far.
#[test]
fn fencing_numbers_grow_across_a_redrive() {
    let bench = bench(QueueConfig::new("q").capacity(2).retry(RetryPolicy::new().max_attempts(9)).dead_letters(DeadLetterConfig::new()));
    let job = bench.producer.publish(7).unwrap();
    for _ in 0..5 {
        bench.receive().snooze(Duration::ZERO).unwrap();
    }
    let dead = bench.receive();
    let fencing = dead.fencing();
    dead.reject("no").unwrap();
    // takes the slot that was freed last
    bench.producer.publish(8).unwrap();
    assert_eq!(bench.queue.dead_letters().redrive_job(job), Ok(true));
    bench.receive().ack().unwrap();
    let again = bench.receive();
    assert_eq!(again.job_id(), job);
    assert!(again.fencing() > fencing, "{} after {fencing}", again.fencing());
    again.ack().unwrap();
}

/// It was counted neither as handed back nor as held while the stale delivery lasted.
#[test]
fn a_job_that_waits_for_its_stale_holder_at_shutdown_is_held() {
    let bench = bench(QueueConfig::new("q").capacity(4));
    bench.producer.publish(7).unwrap();
    let stale = bench.receive();
    bench.let_leases_run_out();
    let mut report = bench.runtime.shutdown(ShutdownOptions::new(Duration::ZERO, Duration::ZERO));
    let queue = report.queue("q").unwrap();
    assert!(queue.ledger_balances(), "{queue:?}");
    assert_eq!(queue.held(), 1);
    assert!(report.take_undone(&bench.queue).is_empty());
    assert!(stale.ack().is_err());
    assert_eq!(bench.queue.reclaim().len(), 1);
    let queue = bench.queue.snapshot();
    assert!(queue.ledger_balances(), "{queue:?}");
    assert_eq!((queue.held(), queue.counts.handed_back), (0, 1));
}

/// The shutdown waited its whole drain for a job that came in after the last consumer had left.
#[test]
fn a_drain_does_not_wait_for_consumers_that_were_told_to_leave() {
    let mut builder = Runtime::builder();
    let queue = builder.pull_queue::<u32>(QueueConfig::new("q").capacity(4)).unwrap();
    let runtime = builder.build().unwrap();
    let (producer, consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
    // a publisher that was on its way in
    let mut late = producer.reserve(0, 1).unwrap();
    runtime.shutdown_handle().request();
    assert!(matches!(consumer.recv(), Err(crate::RecvError::Closed)));
    late.publish_past_the_door(7);
    let begun = std::time::Instant::now();
    let mut report = runtime.shutdown(ShutdownOptions::new(Duration::from_secs(20), Duration::ZERO));
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(report.take_undone(&queue).len(), 1);
    drop(late);
}
