//! Consumers asleep on an eventcount that counts nobody as searching: threads and tasks of the program, which may take their time.
//!
//! A lost wake-up shows as a sleep without end: loom reports the deadlock.

#![allow(clippy::disallowed_methods)]

use crate::parking::Places;
use crate::support::{Bound, check, must_die, waker_of};
use ringmill::sync::eventcount::Standard;
use ringmill::sync::{Arc, EventCount, Parker, Seat, Unparker, thread};
use std::marker::PhantomData;

/// What a consumer of the model does wrong.
trait Habits: Send + Sync + 'static {
    /// It says how to wake it before it announces itself and looks.
    const REGISTERS_FIRST: bool = true;
    /// When it leaves, it wakes the next one if there is work.
    const PASSES_ON: bool = true;
    /// Nobody waits for a consumer that was woken.
    const UNCOUNTED: bool = true;
}

struct Good;
impl Habits for Good {}
struct LooksFirst;
impl Habits for LooksFirst {
    const REGISTERS_FIRST: bool = false;
}
struct KeepsTheCall;
impl Habits for KeepsTheCall {
    const PASSES_ON: bool = false;
}
struct Counted;
impl Habits for Counted {
    const UNCOUNTED: bool = false;
}

struct Bench<H: Habits> {
    events: EventCount<Standard>,
    jobs: Places,
    habits: PhantomData<H>,
}

/// A consumer, as the face has it: `rouse`, `poll_recv` and `lie_down` in small.
struct Consumer {
    seat: Seat,
    dozes: bool,
}

impl<H: Habits> Bench<H> {
    fn new(places: usize) -> Arc<Self> {
        let events = if H::UNCOUNTED { EventCount::for_consumers_with_rules() } else { EventCount::with_rules() };
        Arc::new(Bench { events, jobs: Places::new(places, false), habits: PhantomData })
    }

    fn consumer(&self, parker: &Parker) -> Consumer {
        Consumer { seat: self.events.take_seat(parker.unparker()).expect("a free seat"), dozes: false }
    }

    fn publish(&self, place: usize) {
        self.jobs.publish(place);
        self.events.notify_one();
    }

    /// True when it has a job.
    fn poll(&self, consumer: &mut Consumer, parker: &Parker) -> bool {
        if std::mem::replace(&mut consumer.dozes, false) {
            self.events.retract(&consumer.seat);
            if !H::UNCOUNTED {
                self.events.found_work(|| self.jobs.any());
            }
        }
        let waker = waker_of(parker);
        if H::REGISTERS_FIRST {
            self.events.wake_by(&consumer.seat, Unparker::of_task(&waker));
        }
        self.events.announce(&consumer.seat, false);
        if self.jobs.take() {
            self.get_up(consumer);
            return true;
        }
        if !H::REGISTERS_FIRST {
            self.events.wake_by(&consumer.seat, Unparker::of_task(&waker));
        }
        consumer.dozes = true;
        false
    }

    fn get_up(&self, consumer: &Consumer) {
        self.events.retract(&consumer.seat);
        if H::PASSES_ON {
            self.events.found_work(|| self.jobs.any());
        }
    }

    fn recv(&self, consumer: &mut Consumer, parker: &Parker) {
        while !self.poll(consumer, parker) {
            parker.park();
        }
    }
}

/// Bad: a task that is polled by a new executor looks, the job is published and the old executor told, and then it says how to wake it.
fn publish_against_registration<H: Habits>() {
    let bench = Bench::<H>::new(1);
    let receives = {
        let bench = Arc::clone(&bench);
        thread::spawn(move || {
            let (old, new) = (Parker::new(), Parker::new());
            let mut consumer = bench.consumer(&old);
            if !bench.poll(&mut consumer, &old) {
                bench.recv(&mut consumer, &new);
            }
        })
    };
    bench.publish(0);
    receives.join().unwrap();
    assert_eq!(bench.events.census(), (0, 0));
}

#[test]
fn a_publish_wakes_whoever_polled_last() {
    check("consumers: publish / registration", Bound::preemptions(3), publish_against_registration::<Good>);
}

#[test]
fn twin_a_consumer_that_looks_before_it_registers_sleeps_for_ever() {
    must_die("consumers: look before registration", "deadlock", Bound::preemptions(3), publish_against_registration::<LooksFirst>);
}

/// Bad: the job rings for a consumer whose future is dropped, and nobody else is told.
fn a_future_is_dropped<H: Habits>() {
    let bench = Bench::<H>::new(1);
    // the lower seat is woken first
    let (low, high) = (Parker::new(), Parker::new());
    let (mut leaver, mut stayer) = (bench.consumer(&low), bench.consumer(&high));
    let leaves = {
        let bench = Arc::clone(&bench);
        thread::spawn(move || {
            if bench.poll(&mut leaver, &low) {
                return true;
            }
            bench.get_up(&leaver);
            false
        })
    };
    let stays = {
        let bench = Arc::clone(&bench);
        thread::spawn(move || bench.recv(&mut stayer, &high))
    };
    bench.publish(0);
    // a job for the stayer where the leaver had the first
    if leaves.join().unwrap() {
        bench.jobs.renew(0);
        bench.publish(0);
    }
    stays.join().unwrap();
    assert_eq!(bench.events.census(), (0, 0));
}

#[test]
fn a_dropped_future_passes_its_wake_up_on() {
    check("consumers: publish / future dropped", Bound::preemptions(3), a_future_is_dropped::<Good>);
}

#[test]
fn twin_a_dropped_future_that_tells_nobody_is_caught() {
    must_die("consumers: future dropped in silence", "deadlock", Bound::preemptions(3), a_future_is_dropped::<KeepsTheCall>);
}

/// Bad: a consumer was woken for the first job and is not polled; the second job waits for it, beside a consumer that sleeps.
fn a_future_is_not_polled<H: Habits>() {
    let bench = Bench::<H>::new(2);
    let (low, high) = (Parker::new(), Parker::new());
    let (mut idler, mut worker) = (bench.consumer(&low), bench.consumer(&high));
    let idles = {
        let bench = Arc::clone(&bench);
        thread::spawn(move || {
            bench.poll(&mut idler, &low);
            idler
        })
    };
    let works = {
        let bench = Arc::clone(&bench);
        thread::spawn(move || bench.recv(&mut worker, &high))
    };
    bench.publish(0);
    bench.publish(1);
    works.join().unwrap();
    // not before: it is polled no more
    let idler = idles.join().unwrap();
    if idler.dozes {
        bench.get_up(&idler);
    }
    assert_eq!(bench.events.census(), (0, 0));
}

#[test]
fn a_future_that_is_not_polled_holds_up_its_own_job_at_most() {
    check("consumers: two jobs / future not polled", Bound::preemptions(3), a_future_is_not_polled::<Good>);
}

#[test]
fn twin_a_consumer_that_counts_as_searching_holds_up_the_others() {
    must_die("consumers: future not polled, counted", "deadlock", Bound::preemptions(3), a_future_is_not_polled::<Counted>);
}
