//! Many threads on one clock, on a machine that ticks once a reading.

use super::{Disciplined, Machine};
use crate::sync::chaos::set_hook;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;

/// The counter ticks when it is read; the operating system's clock goes by it, at a pace that keeps changing.
struct Shared {
    ticks: AtomicU64,
}

const STEP: u64 = 100;
/// How far a line may fall behind a pace that changes by a quarter: 2^21 ticks of it.
const MOST: u64 = 1 << 18;

impl Shared {
    fn new() -> Self {
        Shared { ticks: AtomicU64::new(1 << 40) }
    }

    fn tick(&self) -> u64 {
        self.ticks.fetch_add(STEP, SeqCst)
    }
}

fn os_at(ticks: u64) -> u64 {
    // every 2^22 ticks: half a nanosecond a tick for one half, a quarter more than that for the other
    let (whole, part) = (ticks >> 22, ticks & ((1 << 22) - 1));
    whole * (9 << 18) + part / 2 + part.saturating_sub(1 << 21) / 8
}

impl Machine for Shared {
    fn ticks(&self) -> u64 {
        self.tick()
    }

    fn ticks_after_loads(&self) -> u64 {
        self.tick()
    }

    fn os_nanos(&self) -> u64 {
        os_at(self.tick())
    }
}

#[test]
fn no_thread_sees_time_step_back_while_others_replace_the_line() {
    let clock = Disciplined::new(Shared::new()).unwrap();
    let lines = AtomicU64::new(0);
    crate::tests::threads::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let (mut last, mut version) = (0, clock.line.read().1);
                for turn in 0..400_000 {
                    let time = if turn % 2 == 0 { clock.now() } else { clock.stamp() };
                    assert!(time >= last, "{time} after {last}");
                    last = time;
                    let now = clock.line.read().1;
                    lines.fetch_add(u64::from(now != version), SeqCst);
                    version = now;
                }
            });
        }
    });
    assert!(lines.load(SeqCst) > 10, "the line was replaced {lines:?} times only");
}

#[test]
fn threads_stopped_while_they_replace_the_line_stop_nobody() {
    let clock = Arc::new(Disciplined::new(Shared::new()).unwrap());
    let (stopped, go) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut last = 0;
    let mut look = |clock: &Disciplined<Shared>, readings: u32| {
        for _ in 0..readings {
            let before = os_at(clock.machine.tick());
            let time = clock.now();
            assert!(time >= last, "{time} after {last}");
            assert!(time + MOST >= before, "{time}, but the operating system said {before}");
            last = time;
        }
    };
    // one spare slot after the other, until there is none
    let mut threads = Vec::new();
    for count in 1..=3 {
        let (clock_there, stopped_there, go_there) = (Arc::clone(&clock), Arc::clone(&stopped), Arc::clone(&go));
        threads.push(thread::spawn(move || {
            let done = Arc::clone(&go_there);
            set_hook(Some(Box::new(move |at| {
                if at == "latest.filled" {
                    stopped_there.fetch_add(1, SeqCst);
                    while !go_there.load(SeqCst) {
                        thread::yield_now();
                    }
                }
            })));
            while !done.load(SeqCst) {
                clock_there.now();
            }
        }));
        while stopped.load(SeqCst) < count {
            thread::yield_now();
        }
        look(&clock, 200_000);
    }
    assert_eq!(stopped.load(SeqCst), 3);
    go.store(true, SeqCst);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    look(&clock, 200_000);
}
