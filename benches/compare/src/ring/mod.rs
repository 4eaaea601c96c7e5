//! `ring`: raw queues of 8-byte items, 1 024 places.
//!
//! | shape | what |
//! |---|---|
//! | `solo` | one pinned thread, 64 in, 64 out: ns an item, in and out |
//! | `1p1c` to `8p8c` | producers and consumers, pinned where there are two: million items a second |
//! | `... chunks` | the same in chunks of 32 on both sides, by those who have chunks |

mod crowd;
mod mill;
mod peers;
mod queue;
mod solo;
mod vyukov;

use crate::contest::{Better, Contest, Role, Subject};
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
    singles.into_iter().chain(chunks).collect()
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
