//! `wakeup`: a consumer that sleeps, an item every 200 us: how soon it has it, and what the one pays who wakes it.

use crate::contest::{Contest, Role, Subject};
use crate::effort::Effort;
use crate::latency::paced::{self, Arrival};
use crate::ring::queue::Queue;
use crate::ring::{floor, peers};
use crate::systems::mill::{Mill, Options, Pull};
use crate::systems::through::Through;
use crate::systems::{Crew, System};
use ringmill::Idle;
use std::time::Duration;

const GAP: Duration = Duration::from_micros(200);
const CREW: Crew = Crew::alone_on(1);

pub fn contests(effort: &Effort) -> Vec<Contest> {
    let mill = |idle| move || Mill::<Arrival>::start(Options::of(CREW).idle(idle));
    let contest = Contest::of_many("wakeup", "a sleeping consumer", paced::metrics("a sleeping consumer"))
        .with(subject("ringmill, Park", Role::Mill, effort, mill(Idle::Park)))
        .with(subject("ringmill, pull queue, recv", Role::Mill, effort, || Pull::<Arrival>::start(CREW)))
        .with(through::<floor::Futex>("a word and a futex", Role::Yardstick, effort))
        .with(through::<floor::Monitor>("Mutex and Condvar", Role::Peer, effort))
        .with(through::<peers::Crossbeam>("crossbeam-channel", Role::Peer, effort))
        .with(through::<peers::Flume>("flume", Role::Peer, effort))
        .with(through::<peers::Kanal>("kanal", Role::Peer, effort))
        .with(through::<peers::Crossfire>("crossfire mpmc", Role::Peer, effort))
        .with(through::<peers::AsyncChannel>("async-channel", Role::Peer, effort))
        .with(through::<peers::StdSync>("std sync_channel", Role::Peer, effort))
        .with(through::<peers::Tokio>("tokio mpsc", Role::Peer, effort));
    vec![contest]
}

fn subject<S: System + 'static>(name: &str, role: Role, effort: &Effort, start: impl Fn() -> S + 'static) -> Subject {
    Subject::new(name, role, paced::run(GAP, effort, start))
}

fn through<Q: Queue>(name: &str, role: Role, effort: &Effort) -> Subject {
    subject(name, role, effort, || Through::<Q, Arrival>::start(CREW))
}
