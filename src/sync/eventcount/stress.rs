//! Real threads: hundreds of thousands of sleeps, and none too long.
//!
//! The transport publishes by a plain release store, the shape that needs the publisher's fence most: an RMW would be a fence on x86 by itself.
#![allow(clippy::disallowed_methods)]

use super::*;
use crate::sync::Arc;
use crate::sync::atomic::AtomicBool;
use std::time::Instant;

/// The jobs of one publisher: a count of published ones and a count of taken ones.
#[derive(Debug, Default)]
struct Channel {
    /// Written by the publisher (store), read by workers.
    published: CachePadded<AtomicU64>,
    /// Written by workers (CAS).
    taken: CachePadded<AtomicU64>,
}

impl Channel {
    fn any(&self) -> bool {
        self.taken.load(Ordering::Acquire) < self.published.load(Ordering::Acquire)
    }

    fn take(&self) -> bool {
        let mut taken = self.taken.load(Ordering::Acquire);
        while taken < self.published.load(Ordering::Acquire) {
            match self.taken.compare_exchange(taken, taken + 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(seen) => taken = seen,
            }
        }
        false
    }
}

#[derive(Debug)]
struct Bench<R: Rules> {
    events: EventCount<R>,
    channels: Vec<Channel>,
    enough: AtomicBool,
    closing: AtomicBool,
    sleeps: AtomicU64,
    rescued: AtomicU64,
    ran: AtomicU64,
}

impl<R: Rules> Bench<R> {
    fn any(&self) -> bool {
        self.channels.iter().any(Channel::any)
    }

    fn work(&self, sleeps_wanted: u64, heartbeat: Duration) {
        let parker = Parker::new();
        let seat = self.events.take_seat(parker.unparker()).unwrap();
        let mut searching = false;
        loop {
            if self.channels.iter().any(Channel::take) {
                self.ran.fetch_add(1, Ordering::Relaxed);
                if std::mem::take(&mut searching) {
                    self.events.found_work(|| self.any());
                }
            } else if self.closing.load(Ordering::Acquire) {
                break;
            } else if !searching && self.events.try_search(1) {
                searching = true;
            } else {
                self.events.announce(&seat, searching);
                searching = true;
                if self.any() || self.closing.load(Ordering::Acquire) {
                    self.events.retract(&seat);
                    continue;
                }
                if self.events.sleep_watched(&seat, &parker, heartbeat, || self.any()) == Woken::TimedOut {
                    self.rescued.fetch_add(1, Ordering::Relaxed);
                    self.enough.store(true, Ordering::Release);
                }
                if self.sleeps.fetch_add(1, Ordering::Relaxed) + 1 >= sleeps_wanted {
                    self.enough.store(true, Ordering::Release);
                }
            }
        }
        if searching {
            self.events.give_up_search();
        }
        self.events.free_seat(seat);
    }

    fn publish(&self, channel: &Channel, seed: u64, patience: Instant) {
        let mut random = seed | 1;
        let mut published = 0;
        while !self.enough.load(Ordering::Acquire) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let burst = 1 + random % 3;
            for _ in 0..burst {
                published += 1;
                channel.published.store(published, Ordering::Release);
                if burst != 3 {
                    self.events.notify_one();
                }
            }
            if burst == 3 {
                self.events.notify_many(3);
            }
            // mostly wait for the workers to fall idle, and ring at all distances from their announcement, nanosecond by nanosecond
            if !random.is_multiple_of(8) {
                let mut polls = 0u32;
                while channel.any() && !self.enough.load(Ordering::Acquire) {
                    polls += 1;
                    if polls.is_multiple_of(256) {
                        assert!(Instant::now() < patience, "jobs lie there and nobody runs them: {:?}", self.events);
                        std::thread::yield_now();
                    }
                }
                delay((random >> 32) % 256);
            }
        }
    }
}

/// Some nanoseconds.
fn delay(turns: u64) {
    for turn in 0..turns {
        std::hint::black_box(turn);
    }
}

/// Runs until the workers slept so often; returns sleeps and lost wake-ups.
fn run<R: Rules + Send + Sync + 'static>(publishers: usize, workers: usize, sleeps: u64, heartbeat: Duration) -> (u64, u64) {
    let bench = Arc::new(Bench::<R> {
        events: EventCount::with_rules(),
        channels: (0..publishers).map(|_| Channel::default()).collect(),
        enough: AtomicBool::new(false),
        closing: AtomicBool::new(false),
        sleeps: AtomicU64::new(0),
        rescued: AtomicU64::new(0),
        ran: AtomicU64::new(0),
    });
    let patience = Instant::now() + Duration::from_secs(60);
    let at_work: Vec<_> = (0..workers)
        .map(|_| {
            let bench = Arc::clone(&bench);
            std::thread::spawn(move || bench.work(sleeps, heartbeat))
        })
        .collect();
    let publishing: Vec<_> = (0..publishers)
        .map(|index| {
            let bench = Arc::clone(&bench);
            std::thread::spawn(move || bench.publish(&bench.channels[index], 0x9E37_79B9 * (index as u64 + 1), patience))
        })
        .collect();
    for thread in publishing {
        thread.join().expect("a publisher saw its jobs run");
    }
    bench.closing.store(true, Ordering::Release);
    bench.events.notify_all();
    for thread in at_work {
        thread.join().expect("a worker ends");
    }
    let published: u64 = bench.channels.iter().map(|channel| channel.published.load(Ordering::Acquire)).sum();
    assert_eq!(bench.ran.load(Ordering::Relaxed), published, "every job ran once");
    assert_eq!(bench.events.census(), (0, 0), "nobody sleeps and nobody searches at the end");
    (bench.sleeps.load(Ordering::Relaxed), bench.rescued.load(Ordering::Relaxed))
}

#[test]
fn no_wake_up_is_lost_in_two_hundred_thousand_sleeps() {
    let mut total = 0;
    for publishers in 1..=4 {
        for workers in 1..=4 {
            let (sleeps, rescued) = run::<Standard>(publishers, workers, 12_500, Duration::from_secs(2));
            assert_eq!(rescued, 0, "a lost wake-up with {publishers} publishers and {workers} workers");
            total += sleeps;
        }
    }
    assert!(total >= 200_000, "{total}");
}

/// What a publisher pays while nobody sleeps, against the fence alone.
/// `cargo test --release --lib eventcount::stress::cost -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn cost_of_ringing_while_nobody_sleeps() {
    let events = EventCount::new();
    let rounds = 20_000_000u32;
    let time = |name: &str, body: &dyn Fn()| {
        let began = Instant::now();
        body();
        println!("{name}: {:.2} ns", began.elapsed().as_nanos() as f64 / f64::from(rounds));
    };
    time("notify_one", &|| (0..rounds).for_each(|_| std::hint::black_box(&events).notify_one()));
    time("full_fence", &|| {
        (0..rounds).for_each(|round| {
            std::hint::black_box(round);
            full_fence();
        })
    });
    assert!(events.try_search(1));
    time("notify_one while one searches", &|| (0..rounds).for_each(|_| std::hint::black_box(&events).notify_one()));
}

/// The bare race, without the sleep that hides it: in each round one thread publishes and rings while another announces itself and looks.
/// Returns the rounds in which neither saw the other.
fn litmus<R: Rules + Send + Sync + 'static>(rounds: u64) -> u64 {
    #[derive(Debug, Default)]
    struct Round {
        publisher: CachePadded<AtomicU64>,
        sleeper: CachePadded<AtomicU64>,
    }
    impl Round {
        /// Both meet here, and leave within some nanoseconds of each other.
        fn meet(mine: &AtomicU64, other: &AtomicU64, round: u64) {
            mine.store(round, Ordering::Release);
            let mut polls = 0u32;
            while other.load(Ordering::Acquire) < round {
                polls += 1;
                if polls.is_multiple_of(1024) {
                    std::thread::yield_now();
                }
            }
        }
    }
    let shared = Arc::new((EventCount::<R>::with_rules(), CachePadded::new(AtomicU64::new(0)), Round::default(), Round::default()));
    let publishing = Arc::clone(&shared);
    let publisher = std::thread::spawn(move || {
        let (events, published, begin, end) = &*publishing;
        for round in 1..=rounds {
            Round::meet(&begin.publisher, &begin.sleeper, round);
            delay(round % 32);
            published.store(round, Ordering::Release);
            events.notify_one();
            Round::meet(&end.publisher, &end.sleeper, round);
        }
    });
    let (events, published, begin, end) = &*shared;
    let parker = Parker::new();
    let seat = events.take_seat(parker.unparker()).unwrap();
    let mut lost = 0;
    for round in 1..=rounds {
        Round::meet(&begin.sleeper, &begin.publisher, round);
        delay(round / 32 % 32);
        events.announce(&seat, false);
        let found = published.load(Ordering::Acquire) == round;
        Round::meet(&end.sleeper, &end.publisher, round);
        lost += u64::from(!found && events.is_asleep(&seat));
        events.retract(&seat);
        events.found_work(|| false);
    }
    publisher.join().unwrap();
    lost
}

#[test]
fn publisher_and_sleeper_never_miss_each_other() {
    assert_eq!(litmus::<Standard>(300_000), 0);
}

/// That the race is real: without the publisher's fence this machine must show it (x86 included, where the sleeper's RMW is a fence anyway).
/// `cargo test --release --lib eventcount::stress -- --ignored --nocapture`
#[test]
#[ignore = "needs two cores that run at the same time"]
fn without_the_publishers_fence_they_miss_each_other() {
    #[derive(Debug)]
    struct NoPublisherFence;
    impl Rules for NoPublisherFence {
        const PUBLISHER_FENCE: bool = false;
    }
    let caught = (1..=20).find(|_| litmus::<NoPublisherFence>(1_000_000) > 0);
    println!("lost within {caught:?} million rounds");
    assert!(caught.is_some());
}
