//! Schedules that are drawn from a seed: at random, or by PCT.

use ringmill::rng::Rng;
use ringmill::sync::pace;
use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// How a schedule is drawn.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Anybody may go on after each step, or after so many as the seed says: on average one, four, or sixteen.
    Random,
    /// Probabilistic concurrency testing (Burckhardt et al. 2010) of depth 3: threads have random ranks, the highest that can goes on, and at two random steps whoever is on falls to
    /// the lowest.
    Pct,
}

/// The steps at which somebody falls.
const FALLS: usize = 2;

/// How far it has come. Written by the scheduler, read by the test.
#[derive(Debug, Default)]
pub struct Progress {
    pub begun: AtomicU64,
    pub seed: AtomicU64,
    /// Of all schedules that have ended.
    pub steps: AtomicU64,
    pub longest: AtomicU64,
    /// All choices, as one number: the same seeds, the same choices.
    pub choices: AtomicU64,
    /// What the first panic said.
    pub failure: OnceLock<String>,
}

/// A scheduler for shuttle. What it draws depends on the seed alone, so that a schedule can be seen again without those before it.
#[derive(Debug)]
pub struct Drawn {
    kind: Kind,
    /// About how many steps the scenario has: PCT's falls are among them.
    length: u64,
    seeds: std::ops::Range<u64>,
    rng: Rng,
    /// Random: whoever goes on has at most twice so many steps, less one.
    stay: u64,
    /// The step at which somebody else may go on, or at which whoever is on falls.
    until: u64,
    falls: [u64; FALLS],
    /// PCT's ranks, by task; the higher goes on.
    ranks: Vec<u64>,
    /// Whoever falls, or yields, ranks below all others.
    lowest: u64,
    progress: Arc<Progress>,
}

/// First ranks are above.
const FALLEN: u64 = 1 << 32;

impl Drawn {
    pub fn new(kind: Kind, length: u64, seeds: std::ops::Range<u64>, progress: Arc<Progress>) -> Self {
        Drawn { kind, length, seeds, rng: Rng::new(0), stay: 1, until: 0, falls: [0; FALLS], ranks: Vec::new(), lowest: 0, progress }
    }

    fn anybody(&mut self, able: &[&Task], current: Option<TaskId>, yields: bool) -> TaskId {
        let here = current.and_then(|current| able.iter().position(|task| task.id() == current));
        if let Some(here) = here
            && !yields
            && pace::step() < self.until
        {
            return able[here].id();
        }
        self.until = pace::step() + 1 + self.rng.up_to(2 * self.stay - 2);
        match here {
            // whoever yields waits for somebody else
            Some(here) if yields && able.len() > 1 => {
                let drawn = self.rng.up_to(able.len() as u64 - 2) as usize;
                able[drawn + usize::from(drawn >= here)].id()
            }
            _ => able[self.rng.up_to(able.len() as u64 - 1) as usize].id(),
        }
    }

    fn highest(&mut self, able: &[&Task], current: Option<TaskId>, yields: bool) -> TaskId {
        for task in able {
            while self.ranks.len() <= usize::from(task.id()) {
                self.ranks.push(FALLEN | self.rng.next_u64() >> 1);
            }
        }
        let step = pace::step();
        let falls = self.falls.iter().filter(|fall| **fall <= step).count();
        self.falls.iter_mut().filter(|fall| **fall <= step).for_each(|fall| *fall = u64::MAX);
        if let Some(current) = current
            && (falls > 0 || yields)
        {
            self.lowest -= 1;
            self.ranks[usize::from(current)] = self.lowest;
        }
        self.until = self.falls.into_iter().min().unwrap_or(u64::MAX);
        able.iter().map(|task| task.id()).max_by_key(|id| self.ranks[usize::from(*id)]).expect("somebody is able")
    }

    /// The schedule before this one has come to its end.
    fn count(&self) {
        let steps = pace::step();
        self.progress.steps.fetch_add(steps, Relaxed);
        self.progress.longest.fetch_max(steps, Relaxed);
    }
}

impl Scheduler for Drawn {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.count();
        pace::begin();
        let seed = self.seeds.next()?;
        // neighbours are far apart
        self.rng = Rng::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ self.length);
        self.stay = [1, 4, 16][self.rng.up_to(2) as usize];
        self.until = 0;
        self.falls = std::array::from_fn(|_| 1 + self.rng.up_to(self.length));
        self.ranks.clear();
        self.lowest = FALLEN;
        self.progress.begun.fetch_add(1, Relaxed);
        self.progress.seed.store(seed, Relaxed);
        Some(Schedule::new(seed))
    }

    fn next_task(&mut self, able: &[&Task], current: Option<TaskId>, yields: bool) -> Option<TaskId> {
        let next = match self.kind {
            Kind::Random => self.anybody(able, current, yields),
            Kind::Pct => self.highest(able, current, yields),
        };
        pace::ask_at(self.until);
        let said = pace::step() << 8 | usize::from(next) as u64;
        let choices = (self.progress.choices.load(Relaxed) ^ said).wrapping_mul(0x0000_0100_0000_01B3);
        self.progress.choices.store(choices, Relaxed);
        Some(next)
    }

    fn next_u64(&mut self) -> u64 {
        self.rng.next_u64()
    }
}
