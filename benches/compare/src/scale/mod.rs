//! `scale`: what a job costs as things grow, and by how much more.
//!
//! | shape | from | to |
//! |---|---|---|
//! | `depth` | 1 k jobs queued | 1 M |
//! | `lanes` | 1 | 8 |
//! | `queues` | 1 in a pool | 64 |
//! | `timers` | 1 k, inserted and expired | 1 M |
//! | `producers` | 1 | 64 |
//!
//! `depth`, `lanes` and `queues` run on one thread, in a runtime without threads whose clock stands still: what grows is the work, not the waiting.
//! `memory` is what a slot takes of the machine's memory.

mod cycles;
mod depth;
mod producers;
pub mod resident;

use crate::contest::{Better, Contest, Metric, Readings, Role, Subject};
use crate::effort::Effort;
use crate::timers::{Everybody, Timers, everybody, runs};

const SUITE: &str = "scale";

pub fn contests(effort: &Effort) -> Vec<Contest> {
    vec![depth::contest(effort), cycles::lanes(effort), cycles::queues(effort), timers(), producers::contest(effort), resident::contest()]
}

/// A contest with a metric for each of the points, and one for how much the last is above the first.
fn growth(what: &str, unit: &'static str, points: &[u64]) -> Contest {
    let point = |&point| Metric::new(format!("{what}: {}", short(point)), unit, Better::Lower);
    let ends = [points[0], points[points.len() - 1]].map(short);
    let growth = Metric::new(format!("{what}: {} to {}", ends[0], ends[1]), "times as much", Better::Lower);
    Contest::of_many(SUITE, what, points.iter().map(point).chain([growth]).collect())
}

/// A subject of such a contest: what a job costs at a point.
fn growing(name: &str, role: Role, points: &'static [u64], mut cost: impl FnMut(u64) -> f64 + 'static) -> Subject {
    Subject::new(name, role, move || -> Readings {
        let costs: Vec<f64> = points.iter().map(|&point| cost(point)).collect();
        let growth = costs[costs.len() - 1] / costs[0];
        costs.into_iter().chain([growth]).map(Some).collect()
    })
}

fn short(number: u64) -> String {
    match number {
        1_000_000.. => format!("{} M", number / 1_000_000),
        1_000.. => format!("{} k", number / 1_000),
        _ => number.to_string(),
    }
}

fn timers() -> Contest {
    const POINTS: &[u64] = &[1_000, 10_000, 100_000, 1_000_000];
    struct Growing;

    impl Everybody for Growing {
        fn of<T: Timers>(&self, name: &str, role: Role) -> Subject {
            let dues: Vec<_> = POINTS.iter().map(|&count| runs::Dues::random(count as usize)).collect();
            growing(name, role, POINTS, move |count| {
                let at = POINTS.iter().position(|&point| point == count).expect("it is one of the points");
                // in strides: a thousand timers would be lost among ten thousand ticks
                let times = runs::insert_and_expire::<T>(&dues[at], 100);
                times.insert + times.rest
            })
        }
    }

    everybody(growth("timers", "ns/timer", POINTS), Growing)
}
