//! How much is measured.

use std::time::{Duration, Instant};

/// How long and how often each subject runs.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    pub quick: bool,
    /// Rounds that must count, in one state.
    rounds: usize,
    /// The same when time is running out.
    rounds_late: usize,
    /// Rounds after which a contest ends however few count.
    rounds_max: usize,
    /// What one run should take, where a run's length is free.
    pub run: Duration,
    /// From here on time is running out.
    deadline: Option<Instant>,
}

impl Effort {
    pub fn full() -> Self {
        Effort { quick: false, rounds: 9, rounds_late: 9, rounds_max: 18, run: Duration::from_millis(60), deadline: None }
    }

    /// `all` in five minutes.
    pub fn quick() -> Self {
        let deadline = Some(Instant::now() + Duration::from_secs(120));
        Effort { quick: true, rounds: 5, rounds_late: 3, rounds_max: 8, run: Duration::from_millis(20), deadline }
    }

    /// Whether a contest may end after so many rounds, of which so many count in one state.
    pub fn is_enough(&self, rounds: usize, counted: usize) -> bool {
        let late = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        counted >= self.rounds || rounds >= self.rounds_max || (late && rounds >= self.rounds_late)
    }

    /// `full` or, in a hurry, `quick`.
    pub fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// A number of items that takes about as long as a run should, found out on first use.
#[derive(Debug)]
pub struct Amount {
    goal: Duration,
    items: Option<u64>,
}

const ITEMS_MIN: u64 = 1 << 10;
const ITEMS_MAX: u64 = 1 << 28;

impl Amount {
    pub fn for_run(goal: Duration) -> Self {
        Amount { goal, items: None }
    }

    /// The amount. `run` takes a number of items and says how long they took.
    pub fn find(&mut self, mut run: impl FnMut(u64) -> Duration) -> u64 {
        let goal = self.goal.as_secs_f64();
        *self.items.get_or_insert_with(|| {
            let mut items = ITEMS_MIN;
            loop {
                let took = run(items).as_secs_f64().max(1e-6);
                let right = (items as f64 * goal / took) as u64;
                // a short run says little about a long one
                if took >= goal / 4.0 || items >= ITEMS_MAX {
                    return right.clamp(ITEMS_MIN, ITEMS_MAX);
                }
                items = right.clamp(2 * items, 16 * items).min(ITEMS_MAX);
            }
        })
    }
}
