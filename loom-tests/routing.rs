//! Tables that are swapped under publishers, and fan-outs that want each other's queues.

#![allow(clippy::disallowed_methods, reason = "outside of loom the models start real threads")]

use crate::support::{Bound, check, must_die, must_fail};
use ringmill::chain::LinkArray;
use ringmill::credit::{AccountId, CreditPool, Waiting};
use ringmill::exchange::rules::{Rules, Sound};
use ringmill::exchange::{Current, Held, Slots};
use ringmill::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use ringmill::sync::{Arc, thread};
use std::convert::Infallible;
use std::time::Duration;

/// The word is moved ahead of the table, and believed.
#[derive(Debug)]
struct VersionFirst;

impl Rules for VersionFirst {
    const VERSION_LAST: bool = false;
}

// ---- tables ----

/// A table of two parts that belong together.
type Table = (u32, u32);

/// Bad: a reader goes by a mix of tables; or it has seen the new version with the old table, and keeps the old one for good.
fn swap_against_readers<R: Rules + 'static>(looks_twice: bool) {
    let current = Arc::new(Current::<Table, R>::with_rules((0, 0)));
    let bound = Arc::new(AtomicBool::new(false));
    let reader = {
        let (current, bound) = (Arc::clone(&current), Arc::clone(&bound));
        thread::spawn(move || {
            let (mut version, mut table) = current.load();
            let mut last = 0;
            for _ in 0..2 {
                let returned = bound.load(Acquire);
                if current.version() != version {
                    (version, table) = current.load();
                }
                let (first, mut second) = *table;
                if looks_twice {
                    second = current.load().1.1;
                }
                assert_eq!(first, second, "a mix of two tables");
                assert!(first >= last, "back to an older table");
                assert!(!returned || first == 1, "the old table, after the swap had returned");
                last = first;
            }
        })
    };
    current.edit(|table| Ok::<Table, Infallible>((table.0 + 1, table.1 + 1))).unwrap();
    bound.store(true, Release);
    reader.join().unwrap();
}

#[test]
fn each_job_goes_by_the_old_table_or_the_new() {
    check("routing: swap / reader", Bound::ALL, || swap_against_readers::<Sound>(false));
}

#[test]
fn twin_a_version_that_moves_before_its_table_is_believed_for_ever() {
    must_fail("routing: version first", Bound::ALL, || swap_against_readers::<VersionFirst>(false));
}

#[test]
fn twin_a_reader_that_looks_twice_mixes_tables() {
    must_fail("routing: looks twice", Bound::ALL, || swap_against_readers::<Sound>(true));
}

/// Bad: of two edits at once, one is lost.
#[test]
fn two_edits_at_once_both_count() {
    check("routing: edit / edit", Bound::ALL, || {
        let current = Arc::new(Current::new((0, 0)));
        let other = {
            let current = Arc::clone(&current);
            thread::spawn(move || current.edit(|table| Ok::<Table, Infallible>((table.0 + 1, table.1))).unwrap())
        };
        current.edit(|table| Ok::<Table, Infallible>((table.0, table.1 + 1))).unwrap();
        other.join().unwrap();
        assert_eq!((*current.load().1, current.version()), ((1, 1), 2));
    });
}

// ---- fan-outs ----

/// Two queues of one slot each.
struct Queues {
    pools: [CreditPool; 2],
    links: LinkArray,
}

/// One publisher's way to them, in the order in which it names them.
struct Fan {
    queues: Arc<Queues>,
    accounts: [AccountId; 2],
    order: [usize; 2],
}

impl Fan {
    fn new(queues: &Arc<Queues>, order: [usize; 2]) -> Self {
        let accounts = [0, 1].map(|at| queues.pools[at].open_account().expect("there are enough accounts"));
        Fan { queues: Arc::clone(queues), accounts, order }
    }

    /// Takes a slot of both, and gives them back.
    fn publish(&self) {
        let mut room = Vec::new();
        let held = Held::of(self, &mut room).take_all(2).unwrap_or_else(|_| unreachable!("it waits for as long as it takes"));
        assert_eq!(held.len(), 2);
    }
}

impl Slots for Fan {
    type Refusal = ();

    fn take(&self, at: usize) -> Result<u32, ()> {
        let queue = self.order[at];
        self.queues.pools[queue].acquire(&self.queues.links, &self.accounts[queue]).ok_or(())
    }

    fn wait(&self, at: usize, (): ()) -> Result<u32, ()> {
        let queue = self.order[at];
        let patience = || Some(Duration::from_secs(3600));
        let line = [(&self.queues.pools[queue], &self.accounts[queue])];
        Waiting::new().wait(&self.queues.links, &line, patience, || false).map_err(|_| ())
    }

    fn give_back(&self, at: usize, slot: u32) {
        let queue = self.order[at];
        self.queues.pools[queue].release(&self.queues.links, &self.accounts[queue], slot);
    }
}

/// Bad: each has the slot that the other wants, and both wait for ever.
fn two_fan_outs(orders: [[usize; 2]; 2]) {
    let links = LinkArray::new(2);
    let pools = [CreditPool::new(0..1, &links), CreditPool::new(1..2, &links)];
    let queues = Arc::new(Queues { pools, links });
    let [one, other] = orders.map(|order| Fan::new(&queues, order));
    let thread = thread::spawn(move || other.publish());
    one.publish();
    thread.join().unwrap();
    assert_eq!(queues.pools.each_ref().map(|pool| (pool.free(), pool.waiting())), [(1, 0); 2]);
}

#[test]
fn two_fan_outs_that_want_the_same_queues_both_get_them() {
    check("routing: two fan-outs, one order", Bound::preemptions(3), || two_fan_outs([[0, 1], [0, 1]]));
}

#[test]
fn twin_fan_outs_without_a_common_order_wait_for_each_other() {
    must_die("routing: two fan-outs, two orders", "deadlock", Bound::preemptions(3), || two_fan_outs([[0, 1], [1, 0]]));
}
