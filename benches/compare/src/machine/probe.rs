//! Whether two CPUs share a cache, by a ping-pong of one line between them.
//!
//! Virtual CPUs move: the host may run two of them in one L3 at one moment and on two dies at the next. Figures of the two are figures of two machines, so
//! every run is probed before and after and counts only if both probes agree.

use super::cores::{cores, pin};
use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Below this a line's round trip stays in one cache; a die's edge costs three times as much.
const NEAR_NANOS: f64 = 200.0;
const ROUND_TRIPS: u64 = 1_000;
/// Parts of one probe. The middle one counts: an interrupt spoils one or two.
const PARTS: usize = 5;
/// A partner that is not there after so long is not scheduled: the probe says nothing.
const PATIENCE: Duration = Duration::from_millis(200);

/// How two CPUs stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// They share a cache.
    Near,
    /// They do not.
    Far,
}

impl State {
    pub const ALL: [State; 2] = [State::Near, State::Far];

    pub fn name(self) -> &'static str {
        match self {
            State::Near => "near",
            State::Far => "far",
        }
    }
}

/// What one probe found: the round trip of a line in nanoseconds, or nothing.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    pub round_trip: Option<f64>,
}

impl Probe {
    /// Plays a few milliseconds of ping-pong. One CPU is always near itself.
    pub fn take() -> Probe {
        if cores().len() < 2 {
            return Probe { round_trip: Some(0.0) };
        }
        let ball = CachePadded::new(AtomicU64::new(0));
        let parts = thread::scope(|scope| {
            let ball = &ball;
            scope.spawn(move || {
                pin(1);
                play(ball, 1);
            });
            // in a thread of its own: the caller stays where it may run
            scope
                .spawn(move || {
                    pin(0);
                    play(ball, 0)
                })
                .join()
                .expect("a probe does not panic")
        });
        Probe { round_trip: parts.map(median) }
    }

    pub fn state(&self) -> Option<State> {
        self.round_trip.map(|nanos| if nanos < NEAR_NANOS { State::Near } else { State::Far })
    }
}

/// Waits for the ball's parity to be `side`, hits it back. The times of the parts, in nanoseconds a round trip; `None` if the other side did not show up.
fn play(ball: &AtomicU64, side: u64) -> Option<[f64; PARTS]> {
    let mut parts = [0.0; PARTS];
    let mut turn = side;
    for part in &mut parts {
        let began = Instant::now();
        for _ in 0..ROUND_TRIPS {
            let mut looks = 0u32;
            while ball.load(Relaxed) != turn {
                std::hint::spin_loop();
                looks += 1;
                if looks.is_multiple_of(1 << 14) && began.elapsed() > PATIENCE {
                    return None;
                }
            }
            ball.store(turn + 1, Relaxed);
            turn += 2;
        }
        *part = began.elapsed().as_nanos() as f64 / ROUND_TRIPS as f64;
    }
    Some(parts)
}

fn median(mut parts: [f64; PARTS]) -> f64 {
    parts.sort_by(f64::total_cmp);
    parts[PARTS / 2]
}
