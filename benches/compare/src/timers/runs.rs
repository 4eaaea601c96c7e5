//! What is done to timers, and what is asserted about it.

use super::Timers;
use ringmill::rng::Rng;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Timers are due 1 to this many ticks ahead.
pub const SPAN: u64 = 10_000;
/// Ticks by which the last timer must have fired: some round up more than once.
const SLACK: u64 = 64;

/// When each timer is due, and an order to cancel them in.
#[derive(Clone)]
pub struct Dues {
    dues: Rc<[u64]>,
    shuffled: Rc<[u32]>,
}

impl Dues {
    pub fn random(count: usize) -> Self {
        let mut rng = Rng::new(1);
        let dues = (0..count).map(|_| 1 + rng.up_to(SPAN - 1)).collect();
        let mut shuffled: Vec<u32> = (0..count as u32).collect();
        for at in (1..count).rev() {
            shuffled.swap(at, rng.up_to(at as u64) as usize);
        }
        Dues { dues, shuffled: shuffled.into() }
    }
}

/// Nanoseconds a timer.
pub struct Times {
    pub insert: f64,
    pub rest: f64,
}

/// All of them expire, while time passes in strides: none early, none left out, none twice.
pub fn insert_and_expire<T: Timers>(Dues { dues, .. }: &Dues, stride: u64) -> Times {
    let (mut timers, insert) = inserted::<T>(dues);
    let (mut fired, mut sum) = (0, 0u64);
    let began = Instant::now();
    for tick in (0..=SPAN + SLACK + stride).step_by(stride as usize).skip(1) {
        timers.advance(tick, |timer| {
            assert!(dues[timer as usize] <= tick, "a timer fired early");
            fired += 1;
            sum += u64::from(timer);
        });
    }
    let rest = each(began.elapsed(), dues.len());
    let count = dues.len() as u64;
    assert_eq!((fired, sum), (count, count * (count - 1) / 2), "not every timer fired once");
    Times { insert, rest }
}

/// All of them are cancelled, and then time passes: none fires. What that costs beside is what the cancelled ones left behind.
pub fn insert_and_cancel<T: Timers>(Dues { dues, shuffled }: &Dues) -> (Times, f64) {
    let (mut timers, insert) = inserted::<T>(dues);
    let began = Instant::now();
    timers.inside(|timers| shuffled.iter().for_each(|&timer| timers.cancel(timer)));
    let rest = each(began.elapsed(), dues.len());
    let began = Instant::now();
    for tick in 1..=SPAN + SLACK {
        timers.advance(tick, |_| panic!("a cancelled timer fired"));
    }
    (Times { insert, rest }, each(began.elapsed(), dues.len()))
}

fn inserted<T: Timers>(dues: &[u64]) -> (T, f64) {
    let mut timers = T::new(dues.len());
    let began = Instant::now();
    timers.inside(|timers| dues.iter().zip(0..).for_each(|(&due, timer)| timers.insert(timer, due)));
    let insert = each(began.elapsed(), dues.len());
    (timers, insert)
}

fn each(took: Duration, count: usize) -> f64 {
    took.as_nanos() as f64 / count as f64
}

const RESIDENT: usize = 10_000;
const MOVES: usize = 200_000;

/// Nanoseconds for one timer to be cancelled and started anew.
pub fn churn<T: Timers>() -> f64 {
    let Dues { dues, .. } = Dues::random(RESIDENT);
    let (mut timers, _) = inserted::<T>(&dues);
    let mut rng = Rng::new(2);
    let moves: Vec<(u32, u64)> = (0..MOVES).map(|_| (rng.up_to(RESIDENT as u64 - 1) as u32, 1 + rng.up_to(SPAN - 1))).collect();
    let began = Instant::now();
    timers.inside(|timers| {
        for &(timer, due) in &moves {
            timers.cancel(timer);
            timers.insert(timer, due);
        }
    });
    let took = each(began.elapsed(), MOVES);
    let mut fired = 0;
    (1..=SPAN + SLACK).for_each(|tick| timers.advance(tick, |_| fired += 1));
    assert_eq!(fired, RESIDENT, "not every timer fired once");
    took
}

const HOUR: u64 = 3_600_000;
const HOURS: u64 = 200;
const SLEEPERS: u32 = 1_000;

/// Nanoseconds for an hour in which nothing is due.
pub fn idle_hours<T: Timers>() -> f64 {
    let mut timers = T::new(SLEEPERS as usize);
    // beyond the end of the run, but not beyond what any of them can hold
    timers.inside(|timers| (0..SLEEPERS).for_each(|timer| timers.insert(timer, (HOURS + 1) * HOUR + u64::from(timer) * 60_000)));
    let began = Instant::now();
    (1..=HOURS).for_each(|hour| timers.advance(hour * HOUR, |_| panic!("a timer fired early")));
    began.elapsed().as_nanos() as f64 / HOURS as f64
}
