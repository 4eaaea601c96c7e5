//! `ring`: raw queues of 8-byte items, 1 024 places.
//!
//! | shape | what |
//! |---|---|
//! | `solo` | one pinned thread, 64 in, 64 out: ns an item, in and out |
//! | `1p1c` to `8p8c` | producers and consumers, pinned where there are two: million items a second |
//! | `... chunks` | the same in chunks of 32 on both sides, by those who have chunks |
//! | `8p8c, 10 ms windows` | what the slowest 10 ms of a long run deliver, as a part of the median |
//! | `2p2c, a producer stopped` | how long 20 items take that are pushed while the other producer is stopped inside its push |

mod crowd;
pub mod floor;
pub mod mill;
pub mod peers;
pub mod queue;
pub mod solo;
mod stopped;
pub mod vyukov;
mod windows;

use crate::contest::{Better, Contest, Metric, Role, Subject};
use crate::effort::Effort;
use queue::Queue;

pub const CAPACITY: usize = 1_024;
/// Items that travel together, where they do.
pub const CHUNK: usize = 32;

/// Who produces and who consumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Solo,
    Crowd { pairs: usize },
}

impl Shape {
    const ALL: [Shape; 5] =
        [Shape::Solo, Shape::Crowd { pairs: 1 }, Shape::Crowd { pairs: 2 }, Shape::Crowd { pairs: 4 }, Shape::Crowd { pairs: 8 }];

    fn name(self) -> String {
        match self {
            Shape::Solo => "solo".to_owned(),
            Shape::Crowd { pairs } => format!("{pairs}p{pairs}c"),
        }
    }

    fn pairs(self) -> usize {
        match self {
            Shape::Solo => 1,
            Shape::Crowd { pairs } => pairs,
        }
    }
}

pub fn contests(effort: &Effort) -> Vec<Contest> {
    let singles = Shape::ALL.map(|shape| single(shape, effort));
    let chunks = Shape::ALL.map(|shape| chunked(shape, effort));
    singles.into_iter().chain(chunks).chain([windows(effort), stopped(effort)]).collect()
}

type Chained = mill::Single<mill::Credits<CHUNK>>;

fn windows(effort: &Effort) -> Contest {
    fn subject<Q: Queue>(name: &str, role: Role, effort: &Effort) -> Subject {
        Subject::new(name, role, windows::run::<Q>(8, effort))
    }
    let metrics = vec![
        Metric::new("8p8c, 10 ms windows: slowest to median", "of 1", Better::Higher),
        Metric::new("8p8c, 10 ms windows: median", "M items/s", Better::Higher),
    ];
    Contest::of_many("ring", "8p8c, 10 ms windows", metrics)
        .with(subject::<Chained>("ringmill: ring + slab, credits by 32", Role::Mill, effort))
        .with(subject::<mill::Chunks<mill::Credits<CHUNK>>>("ringmill: credits + slab + lane, chunks", Role::Mill, effort))
        .with(subject::<peers::ArrayQueue>("crossbeam ArrayQueue", Role::Baseline, effort))
        .with(subject::<peers::ConcurrentQueue>("concurrent-queue", Role::Peer, effort))
        .with(subject::<peers::Locked>("Mutex<VecDeque>", Role::Peer, effort))
        .with(subject::<peers::Crossbeam>("crossbeam-channel", Role::Peer, effort))
        .with(subject::<peers::Kanal>("kanal", Role::Peer, effort))
        .with(subject::<peers::Crossfire>("crossfire mpmc", Role::Peer, effort))
        .with(subject::<vyukov::Vyukov>("Vyukov ring (a sketch)", Role::Narrow, effort))
}

fn stopped(effort: &Effort) -> Contest {
    fn subject<Q: Queue>(name: &str, role: Role, effort: &Effort) -> Subject {
        Subject::new(name, role, stopped::run::<Q>(effort))
    }
    Contest::of_many("ring", "2p2c, a producer stopped", stopped::metrics())
        .with(subject::<Chained>("ringmill: ring + slab, credits by 32", Role::Mill, effort))
        .with(subject::<mill::Single<mill::Credits<1>>>("ringmill: ring + slab + credits", Role::Mill, effort))
        .with(subject::<peers::ArrayQueue>("crossbeam ArrayQueue", Role::Baseline, effort))
        .with(subject::<peers::ConcurrentQueue>("concurrent-queue", Role::Peer, effort))
        .with(subject::<peers::Locked>("Mutex<VecDeque>", Role::Peer, effort))
        .with(subject::<peers::Crossbeam>("crossbeam-channel", Role::Peer, effort))
        .with(subject::<peers::Kanal>("kanal", Role::Peer, effort))
        .with(subject::<peers::Crossfire>("crossfire mpmc", Role::Peer, effort))
        .with(subject::<vyukov::Vyukov>("Vyukov ring (a sketch)", Role::Narrow, effort))
}

/// Pushed one by one.
fn single(shape: Shape, effort: &Effort) -> Contest {
    let contest = empty(shape, "")
        .with(subject::<mill::Single<mill::RingList>>("ringmill: ring + slab", Role::Mill, shape, effort))
        .with(subject::<mill::Single<mill::Credits<CHUNK>>>("ringmill: ring + slab, credits by 32", Role::Mill, shape, effort))
        .with(subject::<mill::Single<mill::Credits<1>>>("ringmill: ring + slab + credits", Role::Mill, shape, effort))
        .with(subject::<peers::ArrayQueue>("crossbeam ArrayQueue", Role::Baseline, shape, effort))
        .with(subject::<peers::ConcurrentQueue>("concurrent-queue", Role::Peer, shape, effort))
        .with(subject::<peers::ThingBuf>("thingbuf ThingBuf", Role::Peer, shape, effort))
        .with(subject::<peers::Locked>("Mutex<VecDeque>", Role::Peer, shape, effort))
        .with(subject::<peers::Crossbeam>("crossbeam-channel", Role::Peer, shape, effort))
        .with(subject::<peers::Flume>("flume", Role::Peer, shape, effort))
        .with(subject::<peers::Kanal>("kanal", Role::Peer, shape, effort))
        .with(subject::<peers::Crossfire>("crossfire mpmc", Role::Peer, shape, effort))
        .with(subject::<peers::AsyncChannel>("async-channel", Role::Peer, shape, effort))
        .with(subject::<vyukov::Vyukov>("Vyukov ring (a sketch)", Role::Narrow, shape, effort));
    if shape.pairs() > 1 {
        return contest;
    }
    contest
        .with(subject::<peers::StdSync>("std sync_channel (MPSC)", Role::Narrow, shape, effort))
        .with(subject::<peers::Tokio>("tokio mpsc (MPSC)", Role::Narrow, shape, effort))
        .with(subject::<peers::DisruptorMulti<1>>("disruptor multi-producer (broadcast)", Role::Narrow, shape, effort))
        .with(subject::<peers::Rtrb>("rtrb (SPSC)", Role::Narrow, shape, effort))
}

/// In chunks on both sides. `ArrayQueue` and others that have none go one by one, as their users would.
fn chunked(shape: Shape, effort: &Effort) -> Contest {
    let contest = empty(shape, " chunks")
        .with(subject::<mill::Chunks<mill::RingList>>("ringmill: ring + slab", Role::Mill, shape, effort))
        .with(subject::<mill::Chunks<mill::Credits<CHUNK>>>("ringmill: credits + slab + lane", Role::Mill, shape, effort))
        .with(subject::<peers::ArrayQueue>("crossbeam ArrayQueue", Role::Baseline, shape, effort))
        .with(subject::<peers::KanalDrain>("kanal, drain_into", Role::Peer, shape, effort));
    if shape.pairs() > 1 {
        return contest;
    }
    contest
        .with(subject::<peers::DisruptorMulti<CHUNK>>("disruptor multi-producer (broadcast)", Role::Narrow, shape, effort))
        .with(subject::<peers::RtrbChunks>("rtrb chunks (SPSC)", Role::Narrow, shape, effort))
}

fn empty(shape: Shape, suffix: &str) -> Contest {
    let name = format!("{}{suffix}", shape.name());
    match shape {
        Shape::Solo => Contest::new("ring", name, "ns/item", Better::Lower),
        Shape::Crowd { .. } => Contest::new("ring", name, "M items/s", Better::Higher),
    }
}

fn subject<Q: Queue>(name: &str, role: Role, shape: Shape, effort: &Effort) -> Subject {
    match shape {
        Shape::Solo => Subject::of_one(name, role, solo::run::<Q>(effort)),
        Shape::Crowd { pairs } => Subject::of_one(name, role, crowd::run::<Q>(pairs, effort)),
    }
}
