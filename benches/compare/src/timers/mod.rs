//! `timers`: ringmill's wheel beside other ways to keep timers. Ticks are milliseconds; nothing here sleeps.
//!
//! | shape | what |
//! |---|---|
//! | `1 M timers` | due in 1 to 10 000 ticks: inserted, cancelled in random order, or left to expire; ns a timer |
//! | `cancel + insert, 10 k resident` | one of them moved, as a lease is by an extension |
//! | `idle hour` | an hour passes in which none of 1 000 timers is due; ns an hour |

pub mod peers;
pub mod runs;

use crate::contest::{Better, Contest, Metric, Readings, Role, Subject};
use runs::Dues;

const SUITE: &str = "timers";

/// Timers with the numbers 0 to some capacity, each due at a tick.
pub trait Timers: 'static {
    /// Whether one can be taken out before it is due.
    const CANCELS: bool = true;

    fn new(capacity: usize) -> Self;
    /// Starts a timer that does not run, due later than now.
    fn insert(&mut self, timer: u32, due: u64);
    /// Stops a timer that runs.
    fn cancel(&mut self, timer: u32);
    /// Does something where timers can be inserted and cancelled.
    fn inside<R>(&mut self, act: impl FnOnce(&mut Self) -> R) -> R {
        act(self)
    }
    /// Lets time pass to this tick.
    fn advance(&mut self, to: u64, fire: impl FnMut(u32));
}

pub fn contests() -> Vec<Contest> {
    vec![million(), churn(), idle_hour()]
}

/// The same subjects in every shape.
pub fn everybody(contest: Contest, subject: impl Everybody) -> Contest {
    contest
        .with(subject.of::<peers::Mill>("ringmill wheel", Role::Mill))
        .with(subject.of::<peers::Tokio>("tokio-util DelayQueue", Role::Baseline))
        .with(subject.of::<peers::Hashed>("hierarchical_hash_wheel_timer, cancellable", Role::Peer))
        .with(subject.of::<peers::Quad>("hierarchical_hash_wheel_timer, no cancel", Role::Narrow))
        .with(subject.of::<peers::Heap>("BinaryHeap, lazy cancel", Role::Peer))
        .with(subject.of::<peers::Tree>("BTreeMap", Role::Peer))
}

/// A subject for any kind of timers.
pub trait Everybody {
    fn of<T: Timers>(&self, name: &str, role: Role) -> Subject;
}

fn million() -> Contest {
    struct Million(Dues);

    impl Everybody for Million {
        fn of<T: Timers>(&self, name: &str, role: Role) -> Subject {
            let dues = self.0.clone();
            Subject::new(name, role, move || -> Readings {
                let expired = runs::insert_and_expire::<T>(&dues, 1);
                if !T::CANCELS {
                    return vec![Some(expired.insert), None, None, Some(expired.rest), None, Some(expired.insert + expired.rest)];
                }
                let (cancelled, left_behind) = runs::insert_and_cancel::<T>(&dues);
                vec![
                    Some((expired.insert + cancelled.insert) / 2.0),
                    Some(cancelled.rest),
                    Some(left_behind),
                    Some(expired.rest),
                    Some(cancelled.insert + cancelled.rest + left_behind),
                    Some(expired.insert + expired.rest),
                ]
            })
        }
    }

    let metric = |what| Metric::new(format!("1 M timers, {what}"), "ns/timer", Better::Lower);
    let metrics = vec![
        metric("insert"),
        metric("cancel"),
        metric("what cancelled ones leave behind"),
        metric("expire"),
        metric("insert + cancel"),
        metric("insert + expire"),
    ];
    everybody(Contest::of_many(SUITE, "1 M timers", metrics), Million(Dues::random(1_000_000)))
}

fn churn() -> Contest {
    struct Churn;

    impl Everybody for Churn {
        fn of<T: Timers>(&self, name: &str, role: Role) -> Subject {
            Subject::new(name, role, move || vec![T::CANCELS.then(runs::churn::<T>)])
        }
    }

    everybody(Contest::new(SUITE, "cancel + insert, 10 k resident", "ns/pair", Better::Lower), Churn)
}

fn idle_hour() -> Contest {
    struct IdleHour;

    impl Everybody for IdleHour {
        fn of<T: Timers>(&self, name: &str, role: Role) -> Subject {
            Subject::of_one(name, role, runs::idle_hours::<T>)
        }
    }

    everybody(Contest::new(SUITE, "idle hour", "ns/hour", Better::Lower), IdleHour)
}
