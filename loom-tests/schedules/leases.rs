//! Leases that run out as a thread moves the clock, against acks, extensions, and holders that come too late. Nine threads.

use super::world::{Board, Ticket, close_the_books, config, publishers};
use ringmill::clock::ManualClock;
use ringmill::queue::Bend;
use ringmill::sync::thread;
use ringmill::{Backoff, Consumer, Delivery, JobError, RetryPolicy, Runtime, ShutdownOptions};
use std::sync::Arc;
use std::time::Duration;

const PUBLISHERS: usize = 2;
const EACH: usize = 2;
const CONSUMERS: usize = 5;
const LEASE: Duration = Duration::from_millis(8);

/// What the ledger says counts.
fn ack_if_current(delivery: Delivery<Ticket>, board: &Board) {
    let job = delivery.read();
    if delivery.ack().is_ok() {
        board.ack(job);
    }
}

/// The bug: whoever ran it says it is done.
fn ack_anyway(delivery: Delivery<Ticket>, board: &Board) {
    let job = delivery.read();
    let _ = delivery.ack();
    board.ack(job);
}

type Ack = fn(Delivery<Ticket>, &Board);

/// What the `number`th consumer does with a delivery.
fn settle(number: usize, mut delivery: Delivery<Ticket>, board: &Board, ack: Ack) {
    match number {
        // in need of more time, and perhaps too late
        0 => {
            let _ = delivery.extend(4 * LEASE);
            ack(delivery, board);
        }
        // it fails, once
        1 if delivery.failures() == 0 => drop(delivery.retry(JobError::transient("not yet"))),
        // slow: others have their turns
        2 => {
            for _ in 0..3 {
                thread::yield_now();
            }
            ack(delivery, board);
        }
        _ => ack(delivery, board),
    }
}

fn consume(consumer: &Consumer<Ticket>, number: usize, board: &Board, ack: Ack) {
    for _ in 0..2 {
        if let Ok(delivery) = consumer.try_recv() {
            settle(number, delivery, board, ack);
        }
    }
}

fn with(ack: Ack) {
    let board = Arc::new(Board::default());
    let clock = Arc::new(ManualClock::new());
    let mut builder = Runtime::builder().manual(Arc::clone(&clock));
    let retry = RetryPolicy::new().max_attempts(10).max_expiries(14).backoff(Backoff::fixed(Duration::ZERO));
    let jobs = builder.pull_queue(config(8).visibility(LEASE).retry(retry)).unwrap();
    let runtime = Arc::new(builder.build().unwrap());
    let mut threads = publishers(&jobs, &board, PUBLISHERS, EACH, |producer, board, job| {
        producer.publish(board.ticket(job)).expect("there is room for all");
    });
    threads.extend((0..CONSUMERS).map(|number| {
        let (consumer, board) = (jobs.consumer().unwrap(), Arc::clone(&board));
        thread::spawn(move || consume(&consumer, number, &board, ack))
    }));
    threads.push(thread::spawn({
        let (runtime, clock) = (Arc::clone(&runtime), Arc::clone(&clock));
        move || {
            for _ in 0..3 {
                runtime.turn();
                clock.advance(2 * LEASE);
            }
            runtime.turn();
        }
    }));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let last = jobs.consumer().unwrap();
    runtime.turn();
    while let Ok(delivery) = last.try_recv() {
        ack(delivery, &board);
    }
    drop(last);
    let runtime = Arc::into_inner(runtime).expect("everybody has come back");
    let report = runtime.shutdown(ShutdownOptions::new(Duration::ZERO, Duration::ZERO));
    let queue = report.queue("jobs").unwrap();
    close_the_books(queue);
    assert_eq!((queue.counts.accepted, queue.counts.acked), (4, 4), "{queue:?}");
    for job in 0..PUBLISHERS * EACH {
        assert_eq!(board.acked(job), 1, "acks of job {job}");
    }
    drop((report, jobs));
    board.close();
}

fn leases() {
    with(ack_if_current);
}

crate::schedules::scenario!(
    leases,
    750,
    settle_rereads: "who holds a slot", Some(Bend::SettleRereads), leases,
    acked_anyway: "was acked twice", None, || with(ack_anyway),
);
