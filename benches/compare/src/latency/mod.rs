//! `latency`: how soon.
//!
//! | shape | what |
//! |---|---|
//! | `ping-pong` | a round trip through two queues, between two pinned threads: ns |
//! | `every 200 us`, `every 20 us` | one job at a time, to a pinned worker: from the publish to the start of its handler, the publish call itself, and what CPU the workers use |

pub mod paced;
mod ping_pong;

use crate::contest::{Better, Contest, Metric, Role, Subject};
use crate::effort::Effort;
use crate::ring::{floor, mill, peers, vyukov};
use crate::systems::mill::{Mill, Options};
use crate::systems::peers::{Bare, Boxed, Rayon, ThreadPool, Tokio};
use crate::systems::through::Through;
use crate::systems::{Crew, System};
use paced::Arrival;
use ringmill::Idle;
use std::time::Duration;

const SUITE: &str = "latency";

pub fn contests(effort: &Effort) -> Vec<Contest> {
    vec![ping_pong(effort), starts(Duration::from_micros(200), effort), starts(Duration::from_micros(20), effort)]
}

fn ping_pong(effort: &Effort) -> Contest {
    let metric = |what| Metric::new(format!("ping-pong, {what}"), "ns", Better::Lower);
    Contest::of_many(SUITE, "ping-pong", vec![metric("p50"), metric("p99"), metric("p99.9")])
        .with(Subject::new("ringmill: ring + slab + credits", Role::Mill, ping_pong::of_queues::<mill::Prompt<mill::Credits<1>>>(effort)))
        .with(Subject::new("ringmill: runtime there, pull queue back, BusySpin", Role::Mill, ping_pong::of_runtime(effort)))
        .with(Subject::new("Vyukov ring (a sketch)", Role::Yardstick, ping_pong::of_queues::<vyukov::Vyukov>(effort)))
        .with(Subject::new("crossbeam ArrayQueue", Role::Peer, ping_pong::of_queues::<peers::ArrayQueue>(effort)))
        .with(Subject::new("concurrent-queue", Role::Peer, ping_pong::of_queues::<peers::ConcurrentQueue>(effort)))
        .with(Subject::new("thingbuf ThingBuf", Role::Peer, ping_pong::of_queues::<peers::ThingBuf>(effort)))
        .with(Subject::new("crossbeam-channel", Role::Peer, ping_pong::of_queues::<peers::Crossbeam>(effort)))
        .with(Subject::new("kanal", Role::Peer, ping_pong::of_queues::<peers::Kanal>(effort)))
        .with(Subject::new("crossfire mpmc", Role::Peer, ping_pong::of_queues::<peers::Crossfire>(effort)))
        .with(Subject::new("flume", Role::Peer, ping_pong::of_queues::<peers::Flume>(effort)))
        .with(Subject::new("async-channel", Role::Peer, ping_pong::of_queues::<peers::AsyncChannel>(effort)))
        .with(Subject::new("std sync_channel (MPSC)", Role::Narrow, ping_pong::of_queues::<peers::StdSync>(effort)))
        .with(Subject::new("tokio mpsc (MPSC)", Role::Narrow, ping_pong::of_queues::<peers::Tokio>(effort)))
        .with(Subject::new("disruptor multi-producer (broadcast)", Role::Narrow, ping_pong::of_queues::<peers::DisruptorMulti<1>>(effort)))
        .with(Subject::new("rtrb (SPSC)", Role::Narrow, ping_pong::of_queues::<peers::Rtrb>(effort)))
        .with(Subject::new("a word and a futex", Role::Narrow, ping_pong::of_queues::<floor::Futex>(effort)))
}

/// One worker, pinned to the second CPU.
const CREW: Crew = Crew::alone_on(1);

fn starts(gap: Duration, effort: &Effort) -> Contest {
    fn subject<S: System + 'static>(name: &str, role: Role, gap: Duration, effort: &Effort, start: impl Fn() -> S + 'static) -> Subject {
        Subject::new(name, role, paced::run(gap, effort, start))
    }
    let mill = |idle| move || Mill::<Arrival>::start(Options::of(CREW).idle(idle));
    Contest::of_many(SUITE, paced::name(gap), paced::metrics(&paced::name(gap)))
        .with(subject("ringmill, BusySpin", Role::Mill, gap, effort, mill(Idle::BusySpin)))
        .with(subject("ringmill, Adaptive", Role::Mill, gap, effort, mill(Idle::default())))
        .with(subject("ringmill, Park", Role::Mill, gap, effort, mill(Idle::Park)))
        .with(subject("ArrayQueue, spinning thread", Role::Yardstick, gap, effort, || Through::<peers::ArrayQueue, Arrival>::start(CREW)))
        .with(subject("crossbeam-channel, Box<dyn FnOnce>", Role::Peer, gap, effort, || Boxed::<Arrival>::start(CREW)))
        .with(subject("crossbeam-channel, fn and u64", Role::Peer, gap, effort, || Bare::<Arrival>::start(CREW)))
        .with(subject("rayon spawn", Role::Peer, gap, effort, || Rayon::<Arrival>::start(CREW)))
        .with(subject("threadpool execute", Role::Peer, gap, effort, || ThreadPool::<Arrival>::start(CREW)))
        .with(subject("tokio::spawn", Role::Peer, gap, effort, || Tokio::<Arrival>::start(CREW)))
        .with(subject("a word and a futex", Role::Narrow, gap, effort, || Through::<floor::Futex, Arrival>::start(CREW)))
}
