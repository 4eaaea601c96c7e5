//! One of two producers is stopped inside its push for 10 ms. The other pushes 20 items meanwhile: when have they all been delivered?
//!
//! The producer is stopped by a signal whose handler sleeps, at whatever instruction it is: nothing is built into any queue for it. A signal that finds the
//! producer outside of its push does nothing and is sent again. Consumers poll, so that no wake-up is measured.
//!
//! The producers share one CPU and the consumers the other. So the one that wakes to send the signal interrupts the other at a random instruction, and has
//! the CPU for itself while the other sleeps; and consumers that give way on every miss are hardly ever taken off the CPU with an item in hand.

use super::queue::{Consumer, Producer, Queue, Taken};
use crate::contest::{Better, Metric, Readings};
use crate::effort::Effort;
use crate::machine::{nanos, pin, ticks};
use crossbeam_utils::CachePadded;
use ringmill::rng::Rng;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

const ITEMS: u64 = 20;
/// The stopped producer's items are ones, the other's are these: a sum tells how many of each it has.
const OTHERS: u64 = 1 << 40;
/// Items of the producer that is stopped which may be under way: enough to keep it pushing, few enough to be drained in no time.
const UNDER_WAY: u64 = 64;
/// A stop that takes longer than this to have an end held the others up.
const HELD_UP_NANOS: f64 = 1e6;

pub fn metrics() -> Vec<Metric> {
    vec![
        Metric::new("2p2c, a producer stopped: median of the stops", "us", Better::Lower),
        Metric::new("2p2c, a producer stopped: worst of the stops", "us", Better::Lower),
        Metric::new("2p2c, a producer stopped: stops that held others up", "%", Better::Lower),
    ]
}

/// From the first of the other producer's pushes to the last delivery.
pub fn run<Q: Queue>(effort: &Effort) -> impl FnMut() -> Readings + use<Q> {
    let stops = effort.pick(30, 10);
    move || {
        let mut times = stop_and_go::<Q>(stops);
        times.sort_by(f64::total_cmp);
        let held_up = times.iter().filter(|time| **time > HELD_UP_NANOS).count();
        let [median, worst] = [times[stops / 2], times[stops - 1]].map(|time| Some(time / 1e3));
        vec![median, worst, Some(100.0 * held_up as f64 / stops as f64)]
    }
}

/// What the four threads share.
#[derive(Default)]
struct Stage {
    /// Items taken, of each producer.
    ones: CachePadded<AtomicU64>,
    others: CachePadded<AtomicU64>,
    /// When the last of the others was taken.
    last: CachePadded<AtomicU64>,
    /// The producer that was stopped is to end; how many items it pushed, plus one, once it has.
    done: AtomicBool,
    pushed: AtomicU64,
}

/// Stops a producer `stops` times. How long it took each time, in nanoseconds.
fn stop_and_go<Q: Queue>(stops: usize) -> Vec<f64> {
    let (mut producers, consumers) = Q::open(2, 2);
    let (stage, victim) = (Stage::default(), signal::Victim::default());
    thread::scope(|scope| {
        let (stage, victim) = (&stage, &victim);
        for consumer in consumers {
            scope.spawn(move || consume(consumer, stage));
        }
        let (stopped, other) = (producers.pop().expect("there are two"), producers.pop().expect("there are two"));
        let stopped = scope.spawn(move || keep_pushing(stopped, stage, victim));
        let times = scope.spawn(move || push_beside(other, stage, victim, stops)).join().expect("a producer panicked");
        stage.done.store(true, Relaxed);
        let pushed = stopped.join().expect("a producer panicked");
        stage.pushed.store(pushed + 1, Relaxed);
        times
    })
}

/// The producer that stops the other one, and pushes while it is stopped.
fn push_beside(mut producer: impl Producer, stage: &Stage, victim: &signal::Victim, stops: usize) -> Vec<f64> {
    pin(0);
    let mut rng = Rng::new(1);
    let mut one_stop = |stop| {
        loop {
            // longer than the timer's slack, so that it lands anywhere
            thread::sleep(Duration::from_micros(100 + rng.up_to(50)));
            // the signal arrives when the other one has the CPU: perhaps only in the next sleep
            if !victim.is_stopped() {
                victim.stop();
                thread::yield_now();
            }
            if victim.is_stopped() {
                break;
            }
        }
        let began = ticks();
        for _ in 0..ITEMS {
            while !producer.try_push(OTHERS) {
                thread::yield_now();
            }
        }
        while stage.others.load(Relaxed) < (stop + 1) * ITEMS {
            thread::yield_now();
        }
        assert_eq!(stage.others.load(Relaxed), (stop + 1) * ITEMS, "something else came out than went in");
        let took = stage.last.load(Relaxed).saturating_sub(began);
        while victim.is_stopped() {
            thread::yield_now();
        }
        nanos(took) as f64
    };
    (0..stops as u64).map(&mut one_stop).collect()
}

/// The producer that will be stopped. How many items it pushed.
fn keep_pushing(mut producer: impl Producer, stage: &Stage, victim: &signal::Victim) -> u64 {
    pin(0);
    let _here = victim.is_me();
    let mut pushed = 0;
    while !stage.done.load(Relaxed) {
        if pushed - stage.ones.load(Relaxed).min(pushed) < UNDER_WAY && victim.inside(|| producer.try_push(1)) {
            pushed += 1;
        } else {
            std::hint::spin_loop();
        }
    }
    pushed
}

/// Until everything has been taken.
fn consume(mut consumer: impl Consumer, stage: &Stage) {
    pin(1);
    while stage.pushed.load(Relaxed) != stage.ones.load(Relaxed) + 1 {
        let Taken::Some { count, sum } = consumer.try_pop() else {
            thread::yield_now();
            continue;
        };
        let others = sum / OTHERS;
        assert_eq!(others + sum % OTHERS, count, "something else came out than went in");
        if others > 0 {
            stage.last.fetch_max(ticks(), Relaxed);
            stage.others.fetch_add(others, Relaxed);
        }
        stage.ones.fetch_add(count - others, Relaxed);
    }
}

/// Stopping a thread: the only place that talks to the system about signals.
mod signal {
    use std::marker::PhantomData;
    use std::sync::Once;
    use std::sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Acquire, Relaxed, Release, SeqCst},
        compiler_fence,
    };

    /// The producer is inside its push. Written and read by its own thread, the second time in the handler.
    static INSIDE: AtomicBool = AtomicBool::new(false);
    /// The handler sleeps.
    static STOPPED: AtomicBool = AtomicBool::new(false);
    const STOP: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 10_000_000 };

    /// Async-signal-safe: two atomics and a system call.
    extern "C" fn sleep_inside(_: libc::c_int) {
        if INSIDE.load(Relaxed) {
            STOPPED.store(true, Relaxed);
            // SAFETY: `STOP` is a valid time, and nothing is asked for what is left of it. It sets no errno unless it fails
            unsafe { libc::nanosleep(&STOP, std::ptr::null_mut()) };
            STOPPED.store(false, Relaxed);
        }
    }

    /// A thread that can be stopped. There is one at a time.
    #[derive(Default)]
    pub struct Victim {
        thread: AtomicU64,
    }

    /// While it lives the thread can be stopped.
    pub struct Here<'a> {
        victim: &'a Victim,
        /// It ends in its own thread.
        here: PhantomData<*const ()>,
    }

    impl Victim {
        /// The calling thread is the one.
        pub fn is_me(&self) -> Here<'_> {
            static INSTALL: Once = Once::new();
            INSTALL.call_once(|| {
                // SAFETY: all zeros is a valid `sigaction`
                let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
                action.sa_sigaction = sleep_inside as extern "C" fn(libc::c_int) as usize;
                action.sa_flags = libc::SA_RESTART;
                // SAFETY: `action` is valid, and its handler is async-signal-safe
                let installed = unsafe { libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()) };
                assert_eq!(installed, 0, "a handler can be installed");
            });
            // SAFETY: it has no preconditions
            let me = unsafe { libc::pthread_self() };
            self.thread.store(me as u64, Release);
            Here { victim: self, here: PhantomData }
        }

        /// Runs the push that may be stopped.
        #[inline]
        pub fn inside<R>(&self, push: impl FnOnce() -> R) -> R {
            INSIDE.store(true, Relaxed);
            // the handler runs in this thread
            compiler_fence(SeqCst);
            let result = push();
            compiler_fence(SeqCst);
            INSIDE.store(false, Relaxed);
            result
        }

        /// Tries to stop it. Nothing happens when it is not inside a push when the signal arrives.
        pub fn stop(&self) {
            let thread = self.thread.load(Acquire);
            if thread != 0 {
                // SAFETY: the thread lives: it takes its id back before it ends, and it ends only after the caller has told it to
                unsafe { libc::pthread_kill(thread as libc::pthread_t, libc::SIGUSR1) };
            }
        }

        pub fn is_stopped(&self) -> bool {
            STOPPED.load(Relaxed)
        }
    }

    impl Drop for Here<'_> {
        fn drop(&mut self) {
            self.victim.thread.store(0, Release);
        }
    }
}
