//! What leases cost: the workers, who announce each job, and the timer thread, which looks.

use super::throughput::measure;
use super::{Count, SUITE, WORKERS};
use crate::contest::{Better, Contest, Metric, Readings, Role, Subject};
use crate::effort::{Amount, Effort};
use crate::machine::used_by_threads;
use crate::systems::mill::{Batches, Mill, Options};
use crate::systems::{Crew, System};
use std::time::Duration;

/// What ringmill calls the thread that watches the leases.
const TIMER: &str = "rm-timer";
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// At full speed, which is more than the million jobs a second that a target speaks of.
pub fn contest(effort: &Effort) -> Contest {
    let metrics = vec![
        Metric::new("leases, publish_batch(32), 1p2w", "ns/job", Better::Lower),
        Metric::new("leases, timer thread", "% of a CPU", Better::Lower),
    ];
    Contest::of_many(SUITE, "leases", metrics)
        .with(subject("ringmill, visibility 30 s", Duration::from_secs(30), effort))
        .with(subject("ringmill, visibility 1 s", Duration::from_secs(1), effort))
        .with(subject("ringmill, visibility 1 year", YEAR, effort))
}

fn subject(name: &str, visibility: Duration, effort: &Effort) -> Subject {
    // several sweeps, which are 100 ms apart
    let mut amount = Amount::for_run(effort.pick(Duration::from_secs(2), Duration::from_millis(300)));
    Subject::new(name, Role::Mill, move || -> Readings {
        let options = Options { max_lease: YEAR, ..Options::of(Crew::of(WORKERS)).visibility(visibility) };
        let mut system = Batches(Mill::<Count>::start(options));
        let mut published = 0;
        let mut run = |jobs| {
            published += jobs;
            measure(&mut system, jobs)
        };
        let jobs = amount.find(&mut run);
        let before = used_by_threads(TIMER);
        let took = run(jobs);
        let used = used_by_threads(TIMER).zip(before).map(|(after, before)| after - before);
        system.stop(published);
        vec![Some(took.as_nanos() as f64 / jobs as f64), used.map(|used| 100.0 * used.as_secs_f64() / took.as_secs_f64())]
    })
}
