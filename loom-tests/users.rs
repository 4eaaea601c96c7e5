//! A model as a user of the crate writes one: a small service, with ringmill's public API inside of loom.
//!
//! A runtime that was built with [`manual`](ringmill::RuntimeBuilder::manual) has no threads, so it fits into a model: loom's threads publish, receive and settle, and
//! one of them calls `turn` and is the timer. The page is `docs/guide/model-checking.md`.

use crate::support::{Bound, check, must_die};
use ringmill::clock::ManualClock;
use ringmill::sync::{UnsafeCell, thread};
use ringmill::{Consumer, Delivery, QueueConfig, QueueHandle, Runtime, ShutdownOptions};
use std::sync::Arc;
use std::time::Duration;

const LEASE: Duration = Duration::from_millis(8);

/// What the service does to the world: not atomic, and nobody's lock is around it. In a user's crate this is `loom::cell::UnsafeCell`.
#[derive(Debug)]
struct Account(UnsafeCell<u32>);

// SAFETY: this is what the model is about; loom reports it when two threads meet here
unsafe impl Sync for Account {}

impl Account {
    fn charge(&self, amount: u32) {
        // SAFETY: as above
        self.0.with_mut(|total| unsafe { *total += amount });
    }

    fn total(&self) -> u32 {
        // SAFETY: as above
        self.0.with(|total| unsafe { *total })
    }
}

/// How the service handles an order.
type Serve = fn(Delivery<u32>, &Account);

/// The account is charged by whoever's acknowledgement counts: of several deliveries of one order that is one.
fn charge_if_acked(order: Delivery<u32>, account: &Account) {
    let amount = *order.payload();
    if order.ack().is_ok() {
        account.charge(amount);
    }
}

/// The bug: after a late ack the delivery is somebody else's, and so is the account.
fn charge_anyway(order: Delivery<u32>, account: &Account) {
    let amount = *order.payload();
    let _ = order.ack();
    account.charge(amount);
}

struct Service {
    runtime: Runtime,
    clock: Arc<ManualClock>,
    orders: QueueHandle<u32>,
    account: Arc<Account>,
}

impl Service {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new());
        let mut builder = Runtime::builder().manual(Arc::clone(&clock));
        let orders = builder.pull_queue(QueueConfig::new("orders").capacity(1).visibility(LEASE)).unwrap();
        let runtime = builder.build().unwrap();
        Service { runtime, clock, orders, account: Arc::new(Account(UnsafeCell::new(0))) }
    }

    /// Time passes; leases run out.
    fn let_the_lease_run_out(&self) {
        // once to see the delivery, once to find it overdue
        self.runtime.turn();
        self.clock.advance(2 * LEASE);
        self.runtime.turn();
    }

    /// Everything is settled, nothing is lost, and the order was charged once.
    fn close(self, desk: Consumer<u32>) {
        drop(desk);
        let report = self.runtime.shutdown(ShutdownOptions::new(Duration::ZERO, Duration::ZERO));
        let queue = report.snapshot().queue("orders").unwrap().clone();
        assert!(queue.ledger_balances());
        assert_eq!((queue.counts.acked, self.account.total()), (1, 5));
    }
}

/// One clerk holds an order while its lease runs out; another gets it again, if it is back by then.
fn a_late_clerk(serve: Serve) {
    let service = Service::new();
    service.orders.producer().unwrap().publish(5).unwrap();
    let desk = service.orders.consumer().unwrap();
    let order = desk.try_recv().unwrap();
    let serving = thread::spawn({
        let account = Arc::clone(&service.account);
        move || serve(order, &account)
    });
    service.let_the_lease_run_out();
    if let Ok(order) = desk.try_recv() {
        serve(order, &service.account);
    }
    serving.join().unwrap();
    service.close(desk);
}

/// Publisher, worker and shutdown at once: what is not acked is handed back, by value.
fn a_shutdown_under_way() {
    let service = Service::new();
    let consumer = service.orders.consumer().unwrap();
    let producer = service.orders.producer().unwrap();
    let publishing = thread::spawn(move || producer.publish(5).is_ok());
    let serving = thread::spawn({
        let account = Arc::clone(&service.account);
        move || {
            if let Ok(order) = consumer.try_recv() {
                charge_if_acked(order, &account);
            }
        }
    });
    let Service { runtime, orders, account, .. } = service;
    let mut report = runtime.shutdown(ShutdownOptions::new(Duration::ZERO, Duration::ZERO));
    let accepted = publishing.join().unwrap();
    serving.join().unwrap();
    let undone = report.take_undone(&orders).len() + orders.reclaim().len();
    let counts = orders.counts();
    assert_eq!(counts.acked + undone as u64, u64::from(accepted), "{counts:?}");
    assert_eq!(u64::from(account.total()), 5 * counts.acked);
}

#[test]
fn an_order_is_charged_once() {
    check("users_late_clerk", Bound::preemptions(2), || a_late_clerk(charge_if_acked));
}

#[test]
fn an_order_is_charged_once_twin() {
    must_die("users_late_clerk", "Causality violation", Bound::preemptions(2), || a_late_clerk(charge_anyway));
}

#[test]
fn a_service_that_stops_loses_no_order() {
    check("users_shutdown", Bound::preemptions(1), a_shutdown_under_way);
}
