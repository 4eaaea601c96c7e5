//! Sleeping and waking: no published job is left while a worker sleeps.
//!
//! The transport is an array of places, each written once (release) and taken by a CAS (acquire): the eventcount is checked, not the ring.
//!
//! A lost wake-up shows as a sleep without end: loom reports the deadlock.

#![allow(clippy::disallowed_methods)]

use crate::support::{Bound, check, must_die};
use ringmill::sync::atomic::{AtomicU64, Ordering};
use ringmill::sync::eventcount::Rules;
use ringmill::sync::{Arc, EventCount, Parker, Retracted, Seat, Woken, thread};

// ---- the mutations ----

macro_rules! mutation {
    ($name:ident, $rule:ident) => {
        #[derive(Debug)]
        struct $name;
        impl Rules for $name {
            const $rule: bool = false;
        }
    };
}

#[derive(Debug)]
struct AsWritten;
impl Rules for AsWritten {}
mutation!(NoPublisherFence, PUBLISHER_FENCE);
mutation!(NoSleeperFence, SLEEPER_FENCE);
mutation!(NoLastSearcher, LAST_SEARCHER);
mutation!(NoSearcherFence, SEARCHER_FENCE);
mutation!(NoWakeEdge, WAKE_EDGE);
mutation!(BlindRetract, RETRACT_ASKS);
mutation!(WakerDoesNotCount, WAKER_COUNTS);

/// What a worker of the model does wrong, beside the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worker {
    Careful,
    /// Sleeps without a second look.
    NoSecondLook,
}

// ---- the transport ----

const EMPTY: u64 = 0;
const READY: u64 = 1;
const TAKEN: u64 = 2;

/// Where the jobs lie. RMW only, as loom wants it.
#[derive(Debug)]
pub struct Places {
    places: Vec<AtomicU64>,
    /// In a FIFO nobody reaches a job behind one that is not published yet.
    fifo: bool,
}

impl Places {
    pub fn new(places: usize, fifo: bool) -> Self {
        Places { places: (0..places).map(|_| AtomicU64::new(EMPTY)).collect(), fifo }
    }

    /// A place that was taken may be published to again.
    pub fn renew(&self, place: usize) {
        assert_eq!(self.places[place].swap(EMPTY, Ordering::AcqRel), TAKEN);
    }

    pub fn publish(&self, place: usize) {
        assert_eq!(self.places[place].swap(READY, Ordering::Release), EMPTY);
    }

    /// The first job in reach.
    fn find(&self) -> Option<usize> {
        for (index, place) in self.places.iter().enumerate() {
            match place.load(Ordering::Acquire) {
                READY => return Some(index),
                EMPTY if self.fifo => return None,
                _ => (),
            }
        }
        None
    }

    pub fn any(&self) -> bool {
        self.find().is_some()
    }

    pub fn take(&self) -> bool {
        while let Some(index) = self.find() {
            if self.places[index].compare_exchange(READY, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return true;
            }
        }
        false
    }
}

#[derive(Debug)]
struct Bench<R: Rules> {
    events: EventCount<R>,
    jobs: Places,
    closing: AtomicU64,
}

impl<R: Rules> Bench<R> {
    fn new(places: usize, fifo: bool) -> Arc<Self> {
        Arc::new(Bench { events: EventCount::with_rules(), jobs: Places::new(places, fifo), closing: AtomicU64::new(0) })
    }

    fn sleep(&self, seat: &Seat, parker: &Parker) {
        assert_eq!(self.events.sleep(seat, parker, None), Woken::Signalled);
    }

    fn publish(&self, place: usize) {
        self.jobs.publish(place);
        self.events.notify_one();
    }

    fn seat(&self) -> (Parker, Seat) {
        let parker = Parker::new();
        let seat = self.events.take_seat(parker.unparker()).expect("a free seat");
        (parker, seat)
    }

    /// The worker loop: takes `wanted` jobs, searching and sleeping as the protocol says.
    fn work(&self, wanted: usize, worker: Worker) {
        let (parker, seat) = self.seat();
        let mut taken = 0;
        let mut searching = false;
        while taken < wanted {
            if self.jobs.take() {
                taken += 1;
                if searching {
                    searching = false;
                    self.events.found_work(|| self.jobs.any());
                }
                continue;
            }
            if !searching && self.events.try_search(1) {
                searching = true;
                continue;
            }
            self.events.announce(&seat, searching);
            searching = true;
            if worker == Worker::Careful && self.jobs.any() {
                self.events.retract(&seat);
            } else {
                self.sleep(&seat, &parker);
            }
        }
        if searching {
            self.events.give_up_search();
        }
        self.events.free_seat(seat);
    }
}

/// Joins everybody, and sees that the counts came back to nothing.
fn finish<R: Rules>(bench: &Bench<R>, threads: Vec<thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(bench.events.census(), (0, 0), "nobody sleeps and nobody searches at the end");
}

// ---- one publisher, one worker ----

/// Bad interleaving: the worker finds nothing, the publisher publishes and sees no sleeper, the worker's bit becomes visible, it sleeps on a job.
fn two_jobs_one_worker<R: Rules + Send + Sync + 'static>(worker: Worker) -> impl Fn() + Send + Sync + 'static {
    move || {
        let bench = Bench::<R>::new(2, false);
        let at_work = Arc::clone(&bench);
        let thread = thread::spawn(move || at_work.work(2, worker));
        bench.publish(0);
        bench.publish(1);
        finish(&bench, vec![thread]);
    }
}

#[test]
fn no_wake_up_is_lost_between_one_publisher_and_one_worker() {
    check("parking.m13", Bound::preemptions(4), two_jobs_one_worker::<AsWritten>(Worker::Careful));
}

/// All 1 053 354 interleavings, 41 s on one quiet core.
#[test]
#[ignore = "long"]
fn no_wake_up_is_lost_between_one_publisher_and_one_worker_in_any_interleaving() {
    check("parking.m13.all", Bound::ALL, two_jobs_one_worker::<AsWritten>(Worker::Careful));
}

#[test]
fn a_publisher_without_fence_is_caught() {
    must_die("parking.m13.no_publisher_fence", "deadlock", Bound::preemptions(3), two_jobs_one_worker::<NoPublisherFence>(Worker::Careful));
}

#[test]
fn a_sleeper_without_fence_is_caught() {
    must_die("parking.m13.no_sleeper_fence", "deadlock", Bound::preemptions(3), two_jobs_one_worker::<NoSleeperFence>(Worker::Careful));
}

#[test]
fn a_sleeper_without_second_look_is_caught() {
    must_die("parking.m13.no_second_look", "deadlock", Bound::preemptions(3), two_jobs_one_worker::<AsWritten>(Worker::NoSecondLook));
}

#[test]
fn a_retraction_that_ignores_the_waker_is_caught() {
    must_die(
        "parking.m13.blind_retract",
        "nobody sleeps and nobody searches",
        Bound::preemptions(3),
        two_jobs_one_worker::<BlindRetract>(Worker::Careful),
    );
}

#[test]
fn a_waker_that_does_not_count_the_woken_is_caught() {
    must_die(
        "parking.m13.waker_does_not_count",
        "only a searcher leaves",
        Bound::preemptions(3),
        two_jobs_one_worker::<WakerDoesNotCount>(Worker::Careful),
    );
}

// ---- two publishers, one worker ----

/// Bad interleaving: the second publisher sees the seat already woken (or searching) for the first job, and the worker sleeps with the second one left.
fn two_publishers_one_worker<R: Rules + Send + Sync + 'static>() -> impl Fn() + Send + Sync + 'static {
    move || {
        let bench = Bench::<R>::new(2, false);
        let at_work = Arc::clone(&bench);
        let worker = thread::spawn(move || at_work.work(2, Worker::Careful));
        let publishing = Arc::clone(&bench);
        let publisher = thread::spawn(move || publishing.publish(1));
        bench.publish(0);
        finish(&bench, vec![worker, publisher]);
    }
}

#[test]
fn no_wake_up_is_lost_between_two_publishers_and_one_worker() {
    check("parking.m14", Bound::preemptions(3), two_publishers_one_worker::<AsWritten>());
}

#[test]
fn two_publishers_without_fence_are_caught() {
    must_die("parking.m14.no_publisher_fence", "deadlock", Bound::preemptions(3), two_publishers_one_worker::<NoPublisherFence>());
}

// ---- one publisher, two workers ----

/// Bad interleaving: the second job wakes nobody because the first worker still searches; that one takes one job and is busy for ever.
fn one_publisher_two_workers<R: Rules + Send + Sync + 'static>() -> impl Fn() + Send + Sync + 'static {
    move || {
        let bench = Bench::<R>::new(2, false);
        let workers = (0..2)
            .map(|_| {
                let at_work = Arc::clone(&bench);
                thread::spawn(move || at_work.work(1, Worker::Careful))
            })
            .collect();
        bench.publish(0);
        bench.publish(1);
        finish(&bench, workers);
    }
}

#[test]
fn no_job_is_left_while_a_second_worker_sleeps() {
    check("parking.m15", Bound::preemptions(2), one_publisher_two_workers::<AsWritten>());
}

#[test]
#[ignore = "tier 2: minutes"]
fn no_job_is_left_while_a_second_worker_sleeps_deeper() {
    check("parking.m15", Bound { preemptions: Some(3), seconds: 900 }, one_publisher_two_workers::<AsWritten>());
}

#[test]
fn a_last_searcher_that_tells_nobody_is_caught() {
    must_die("parking.m15.no_last_searcher", "deadlock", Bound::preemptions(2), one_publisher_two_workers::<NoLastSearcher>());
}

#[test]
fn a_last_searcher_without_fence_is_caught() {
    must_die("parking.m15.no_searcher_fence", "deadlock", Bound::preemptions(2), one_publisher_two_workers::<NoSearcherFence>());
}

/// Bad interleaving: publisher A stalls before it publishes place 0; B publishes place 1 and wakes a worker, who cannot reach it and sleeps
/// again; A publishes and wakes one worker for two jobs.
fn a_stalled_publisher_before_another<R: Rules + Send + Sync + 'static>() -> impl Fn() + Send + Sync + 'static {
    move || {
        let bench = Bench::<R>::new(2, true);
        let mut threads: Vec<_> = (0..2)
            .map(|_| {
                let at_work = Arc::clone(&bench);
                thread::spawn(move || at_work.work(1, Worker::Careful))
            })
            .collect();
        let publishing = Arc::clone(&bench);
        threads.push(thread::spawn(move || publishing.publish(1)));
        bench.publish(0);
        finish(&bench, threads);
    }
}

#[test]
fn a_job_behind_a_stalled_publisher_is_not_left() {
    check("parking.fifo", Bound::preemptions(2), a_stalled_publisher_before_another::<AsWritten>());
}

#[test]
fn a_job_behind_a_stalled_publisher_needs_the_last_searcher() {
    must_die("parking.fifo.no_last_searcher", "deadlock", Bound::preemptions(2), a_stalled_publisher_before_another::<NoLastSearcher>());
}

// ---- shutdown ----

/// Bad interleaving: the flag is set and everybody woken just before the worker announces itself; it sleeps through the shutdown.
fn shutdown_against_announce<R: Rules + Send + Sync + 'static>(looks_at_the_flag: bool) -> impl Fn() + Send + Sync + 'static {
    move || {
        let bench = Bench::<R>::new(0, false);
        let workers = (0..2)
            .map(|_| {
                let bench = Arc::clone(&bench);
                thread::spawn(move || {
                    let (parker, seat) = bench.seat();
                    let mut searching = false;
                    while bench.closing.load(Ordering::Acquire) == 0 {
                        bench.events.announce(&seat, searching);
                        searching = true;
                        if looks_at_the_flag && bench.closing.load(Ordering::Acquire) != 0 {
                            bench.events.retract(&seat);
                        } else {
                            bench.sleep(&seat, &parker);
                        }
                    }
                    if searching {
                        bench.events.give_up_search();
                    }
                    bench.events.free_seat(seat);
                })
            })
            .collect();
        bench.closing.swap(1, Ordering::Release);
        bench.events.notify_all();
        finish(&bench, workers);
    }
}

#[test]
fn nobody_sleeps_through_a_shutdown() {
    check("parking.shutdown", Bound::preemptions(3), shutdown_against_announce::<AsWritten>(true));
}

#[test]
fn a_shutdown_without_fence_is_caught() {
    must_die("parking.shutdown.no_publisher_fence", "deadlock", Bound::preemptions(3), shutdown_against_announce::<NoPublisherFence>(true));
}

#[test]
fn a_worker_that_announces_itself_without_fence_at_shutdown_is_caught() {
    must_die("parking.shutdown.no_sleeper_fence", "deadlock", Bound::preemptions(3), shutdown_against_announce::<NoSleeperFence>(true));
}

#[test]
fn a_second_look_that_forgets_the_flag_is_caught() {
    must_die("parking.shutdown.flag_forgotten", "deadlock", Bound::preemptions(3), shutdown_against_announce::<AsWritten>(false));
}

// ---- woken before it slept ----

/// Bad interleaving: the bit is cleared between the second look and the parking, so that no parker hands anything over, and the woken does not find what it was
/// woken for at its first look.
fn waker_against_sleep<R: Rules + Send + Sync + 'static>() -> impl Fn() + Send + Sync + 'static {
    move || {
        let bench = Bench::<R>::new(1, false);
        let at_work = Arc::clone(&bench);
        let worker = thread::spawn(move || {
            let (parker, seat) = at_work.seat();
            at_work.events.announce(&seat, false);
            if at_work.jobs.any() {
                at_work.events.retract(&seat);
            } else {
                at_work.sleep(&seat, &parker);
                assert!(at_work.jobs.any(), "whoever woke us had published");
            }
            at_work.events.found_work(|| false);
            assert!(at_work.jobs.take());
            at_work.events.free_seat(seat);
        });
        bench.publish(0);
        finish(&bench, vec![worker]);
    }
}

#[test]
fn who_was_woken_finds_what_for() {
    check("parking.woken", Bound::ALL, waker_against_sleep::<AsWritten>());
}

#[test]
fn a_sleep_that_takes_no_hand_over_is_caught() {
    must_die("parking.woken.no_wake_edge", "whoever woke us had published", Bound::ALL, waker_against_sleep::<NoWakeEdge>());
}

// ---- time is up ----

/// Bad interleaving: time is up while a waker clears the bit; both count the seat as searching (and nobody is ever woken again), or
/// neither does. Time does not pass in a model, so the retraction of a timed-out sleep is called by name.
fn timeout_against_waker<R: Rules + Send + Sync + 'static>() -> impl Fn() + Send + Sync + 'static {
    move || {
        let bench = Bench::<R>::new(1, false);
        let at_work = Arc::clone(&bench);
        let worker = thread::spawn(move || {
            let (parker, seat) = at_work.seat();
            at_work.events.announce(&seat, false);
            if !at_work.jobs.any() && at_work.events.retract(&seat) == Retracted::AlreadyWoken {
                assert!(at_work.jobs.any(), "whoever woke us had published");
            } else if at_work.events.is_asleep(&seat) {
                at_work.events.retract(&seat);
            }
            at_work.events.found_work(|| false);
            // and the next round works as ever, in spite of a stale token
            while !at_work.jobs.take() {
                at_work.events.announce(&seat, false);
                if at_work.jobs.any() {
                    at_work.events.retract(&seat);
                } else {
                    at_work.sleep(&seat, &parker);
                }
                at_work.events.found_work(|| false);
            }
            at_work.events.free_seat(seat);
        });
        bench.publish(0);
        finish(&bench, vec![worker]);
    }
}

#[test]
fn a_timeout_and_a_waker_agree_on_who_cleared_the_bit() {
    check("parking.timeout", Bound::ALL, timeout_against_waker::<AsWritten>());
}

#[test]
fn a_timeout_that_ignores_the_waker_is_caught() {
    must_die(
        "parking.timeout.blind_retract",
        "nobody sleeps and nobody searches",
        Bound::preemptions(3),
        timeout_against_waker::<BlindRetract>(),
    );
}

#[test]
fn a_waker_that_does_not_hand_over_what_it_published_is_caught() {
    must_die("parking.timeout.no_wake_edge", "whoever woke us had published", Bound::ALL, timeout_against_waker::<NoWakeEdge>());
}

// ---- targeted ----

/// Bad interleaving: work for one worker arrives as it announces itself, while another searches and so holds back untargeted wake-ups.
fn mailbox_of_one_worker<R: Rules + Send + Sync + 'static>(targeted: bool) -> impl Fn() + Send + Sync + 'static {
    move || {
        let bench = Bench::<R>::new(1, false);
        let (parker, seat) = bench.seat();
        let index = seat.index();
        assert!(bench.events.try_search(1)); // the main thread searches elsewhere all the while
        let at_work = Arc::clone(&bench);
        let owner = thread::spawn(move || {
            while !at_work.jobs.take() {
                at_work.events.announce(&seat, false);
                if at_work.jobs.any() {
                    at_work.events.retract(&seat);
                } else {
                    at_work.sleep(&seat, &parker);
                }
                at_work.events.found_work(|| false);
            }
            at_work.events.free_seat(seat);
        });
        let publishing = Arc::clone(&bench);
        let publisher = thread::spawn(move || {
            publishing.jobs.publish(0);
            if targeted {
                publishing.events.notify_seat(index);
            } else {
                publishing.events.notify_one();
            }
        });
        owner.join().unwrap();
        publisher.join().unwrap();
        bench.events.give_up_search();
        finish(&bench, Vec::new());
    }
}

#[test]
fn work_for_one_worker_wakes_that_worker() {
    check("parking.targeted", Bound::ALL, mailbox_of_one_worker::<AsWritten>(true));
}

#[test]
fn a_targeted_wake_up_without_fence_is_caught() {
    must_die("parking.targeted.no_publisher_fence", "deadlock", Bound::preemptions(3), mailbox_of_one_worker::<NoPublisherFence>(true));
}

#[test]
fn an_untargeted_wake_up_for_one_worker_is_caught() {
    must_die("parking.targeted.untargeted", "deadlock", Bound::preemptions(3), mailbox_of_one_worker::<AsWritten>(false));
}
