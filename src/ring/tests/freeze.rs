//! Threads that stop at the ring's crash points: one frozen at any step of push or pop holds nobody up and loses nothing.

use super::*;
use crate::sync::chaos;
use crate::tests::threads::mpsc::{self, Receiver, Sender, channel};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

/// Every crash point of the ring.
const STEPS: [&str; 10] = [
    "ring.push.tail_read",
    "ring.push.slot_read",
    "ring.push.refused",
    "ring.push.searched",
    "ring.push.filled",
    "ring.push.tail_compared",
    "ring.push.tail_moved",
    "ring.pop.head_read",
    "ring.pop.slot_read",
    "ring.pop.head_moved",
];
/// And that of a pop that meets another.
const LOST: &str = "ring.pop.head_lost";

/// A real thread that stops at every crash point and goes on when told.
struct Actor<T> {
    go: Sender<()>,
    stopped: Receiver<&'static str>,
    thread: thread::JoinHandle<T>,
}

impl<T: Send + 'static> Actor<T> {
    /// A thread that has not begun.
    fn new(body: impl FnOnce() -> T + Send + 'static) -> Self {
        let (go, told) = channel();
        let (stop, stopped) = channel();
        let thread = thread::spawn(move || {
            let _ = told.recv();
            chaos::set_hook(Some(Box::new(move |step| {
                // either end closed: the thread is let go
                if stop.send(step).is_ok() {
                    let _ = told.recv();
                }
            })));
            let result = body();
            chaos::set_hook(None);
            result
        });
        Actor { go, stopped, thread }
    }

    /// Lets it go on to its next crash point. `None`: it has finished.
    fn step(&mut self) -> Option<&'static str> {
        let _ = self.go.send(());
        match self.stopped.recv_timeout(Duration::from_secs(20)) {
            Ok(step) => Some(step),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("the thread hangs between two crash points"),
        }
    }

    /// Freezes it at the next crash point called `step`.
    fn run_to(mut self, step: &str) -> Self {
        while self.step().expect("the step is not on its way") != step {}
        self
    }

    /// Thaws it for good.
    fn finish(self) -> T {
        drop((self.go, self.stopped));
        self.thread.join().unwrap()
    }
}

fn popping(ring: &Arc<IndexRing>, max: u32) -> Actor<Vec<u32>> {
    let ring = Arc::clone(ring);
    Actor::new(move || {
        let mut out = Popped::new();
        assert_eq!(ring.pop(max, &mut out), !out.is_empty());
        firsts(&out)
    })
}

fn pushing(ring: &Arc<IndexRing>, indices: &'static [u32]) -> Actor<Vec<u32>> {
    let ring = Arc::clone(ring);
    Actor::new(move || {
        let chains: Vec<Chain> = indices.iter().map(|&index| Chain::one(index)).collect();
        match chains[..] {
            [chain] => ring.push(chain),
            _ => ring.push_batch(&chains),
        }
        vec![]
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Push,
    PushBatch,
    PopOne,
    PopMany,
}

/// What the victim comes upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scene {
    /// An empty ring.
    Quiet,
    /// A chain in the ring.
    Loaded,
    /// A chain in the ring whose producer has not moved tail.
    TailBehind,
    /// A producer that is about to take tail back.
    TailGoesBack,
}

/// What happens while the victim stands still at an earlier step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    /// Others push and pop three laps, and leave a chain in the ring.
    Laps,
    /// The same, then the stopped producer goes on: tail is where it was laps ago.
    TailTakenBack,
}

/// Four indices: 0 is the stopped producer's, 2 (and 3) a pushing victim's, the others the bystander's.
struct World {
    ring: Arc<IndexRing>,
    /// What the bystander holds.
    hand: Vec<u32>,
    /// What the bystander has pushed and not popped again.
    pushed: Vec<u32>,
    stopped: Option<Actor<Vec<u32>>>,
}

impl World {
    fn new(scene: Scene, victim: Victim) -> (Self, Actor<Vec<u32>>) {
        let ring = Arc::new(IndexRing::new(4));
        let mut world = World { ring: Arc::clone(&ring), hand: vec![1], pushed: vec![], stopped: None };
        match victim {
            Victim::PushBatch => {}
            Victim::Push => world.hand.push(3),
            _ => world.hand.extend([2, 3]),
        }
        match scene {
            Scene::Quiet => world.hand.push(0),
            Scene::Loaded => {
                world.hand.insert(0, 0);
                world.push_one();
            }
            Scene::TailBehind | Scene::TailGoesBack => {
                let step = if scene == Scene::TailBehind { "ring.push.filled" } else { "ring.push.tail_compared" };
                world.stopped = Some(pushing(&ring, &[0]).run_to(step));
                world.pushed.push(0);
            }
        }
        let victim = match victim {
            Victim::Push => pushing(&ring, &[2]),
            Victim::PushBatch => pushing(&ring, &[2, 3]),
            Victim::PopOne => popping(&ring, 1),
            Victim::PopMany => popping(&ring, 4),
        };
        (world, victim)
    }

    fn push_one(&mut self) {
        if !self.hand.is_empty() {
            let index = self.hand.remove(0);
            self.ring.push(Chain::one(index));
            self.pushed.push(index);
        }
    }

    fn pop_all(&mut self) -> Vec<u32> {
        let seen = drain(&self.ring);
        self.pushed.retain(|index| !seen.contains(index));
        self.hand.extend(&seen);
        seen
    }

    /// Whoever is not frozen goes on: what is in the ring comes out, and three laps of pushes and pops go round in order.
    fn others_go_on(&mut self) {
        self.pop_all();
        for _ in 0..12 {
            let round = self.hand.clone();
            while !self.hand.is_empty() {
                self.push_one();
            }
            assert_eq!(self.pop_all(), round, "a completed push was not delivered in its turn");
        }
    }

    fn meanwhile(&mut self, what: Meanwhile) {
        if what == Meanwhile::Nothing {
            return;
        }
        self.others_go_on();
        self.push_one();
        if what == Meanwhile::TailTakenBack {
            self.stopped.take().map(Actor::finish);
        }
    }

    /// Everybody goes on; every index is somewhere, once.
    fn thaw(mut self, victim: Actor<Vec<u32>>, reload: bool) {
        let undelivered = self.pushed.clone();
        if reload {
            while !self.hand.is_empty() {
                self.push_one();
            }
        }
        let took = victim.finish();
        if !reload {
            // the ring was empty when the victim woke: it took before it froze, or from the others that wake now
            assert!(undelivered.iter().all(|index| took.contains(index)), "{undelivered:?} were complete, but stayed with {took:?}");
        }
        let mut seen = took;
        seen.extend(self.stopped.take().map(Actor::finish).unwrap_or_default());
        self.pop_all();
        seen.extend(&self.hand);
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3], "lost or duplicated");
    }
}

/// Freezes the victim at its `stop`-th step, having let `what` happen at step `disturbed`. Says where it froze; `None`: it finished first.
fn freeze(scene: Scene, victim: Victim, what: Meanwhile, disturbed: usize, stop: usize, reload: bool) -> Option<&'static str> {
    let (mut world, mut actor) = World::new(scene, victim);
    let mut at = None;
    for number in 0..=stop {
        at = actor.step();
        if at.is_none() {
            break;
        }
        if number == disturbed {
            world.meanwhile(what);
        }
    }
    world.others_go_on();
    world.thaw(actor, reload);
    at
}

/// Every operation, every scene, every step to freeze at, every earlier step at which others get in between: real code, real threads.
#[test]
fn a_thread_frozen_at_any_step_holds_nobody_up() {
    let mut frozen_at = BTreeSet::new();
    let mut cases = 0;
    for scene in [Scene::Quiet, Scene::Loaded, Scene::TailBehind, Scene::TailGoesBack] {
        for victim in [Victim::Push, Victim::PushBatch, Victim::PopOne, Victim::PopMany] {
            for what in [Meanwhile::Nothing, Meanwhile::Laps, Meanwhile::TailTakenBack] {
                if what == Meanwhile::TailTakenBack && scene != Scene::TailGoesBack {
                    continue;
                }
                for disturbed in 0.. {
                    let mut reached = false;
                    for stop in disturbed.. {
                        cases += 1;
                        let Some(step) = freeze(scene, victim, what, disturbed, stop, cases % 2 == 0) else { break };
                        frozen_at.insert(step);
                        reached = true;
                    }
                    if !reached || what == Meanwhile::Nothing {
                        break;
                    }
                }
            }
        }
    }
    println!("{cases} freezes");
    assert_eq!(frozen_at, BTreeSet::from(STEPS).into_iter().chain([LOST]).collect(), "some step was never frozen at");
}

/// Completed chains beside any number of stopped producers are delivered at once, in the order in which they came.
#[test]
fn a_row_of_stopped_producers_hides_nothing() {
    let ring = Arc::new(IndexRing::new(8));
    let stopped: Vec<_> =
        [&[0], &[1], &[2], &[3], &[4], &[5]].map(|index| pushing(&ring, index).run_to("ring.push.slot_read")).into_iter().collect();
    push_each(&ring, [6, 7]);
    assert_eq!(drain(&ring), [6, 7]);
    stopped.into_iter().for_each(|producer| {
        producer.finish();
    });
    assert_eq!(drain(&ring), [0, 1, 2, 3, 4, 5], "each finds another slot when it wakes");
}

/// A push that has published and not returned is there for everybody.
#[test]
fn a_push_that_has_published_is_complete() {
    let ring = Arc::new(IndexRing::new(4));
    let stopped = [&[0], &[1]].map(|index| pushing(&ring, index).run_to("ring.push.filled"));
    assert_eq!((ring.len_hint(), ring.peek()), (2, Some(0)));
    push_each(&ring, [2]);
    assert_eq!(drain(&ring), [0, 1, 2]);
    stopped.into_iter().for_each(|producer| {
        producer.finish();
    });
    assert_eq!(ring.len_hint(), 0, "tail may have gone back, and nobody is told so");
    push_each(&ring, [2, 1]);
    assert_eq!(drain(&ring), [2, 1]);
}

/// A consumer that has slept through laps does not take the slot it finds ahead of its time for an empty ring.
#[test]
fn a_consumer_laps_behind_finds_what_is_there() {
    for laps in 1..4 {
        let ring = Arc::new(IndexRing::new(4));
        let late = popping(&ring, 4).run_to("ring.pop.head_read");
        for _ in 0..laps {
            push_each(&ring, 0..4);
            assert_eq!(drain(&ring), [0, 1, 2, 3]);
        }
        push_each(&ring, [2, 1]);
        assert_eq!(late.finish(), [2, 1], "{laps} laps behind");
    }
}

/// However far tail has gone back, a push finds the end of the ring in a number of looks that grows with the logarithm of its size.
#[test]
fn a_tail_that_has_gone_back_is_made_up_for_in_few_steps() {
    const CAPACITY: u32 = 1 << 14;
    for (laps, filled) in [(0, 1), (0, 9), (0, CAPACITY / 2), (0, CAPACITY - 2), (1, 0), (1, 7), (3, CAPACITY / 3), (2, CAPACITY - 2)] {
        let ring = Arc::new(IndexRing::new(CAPACITY));
        let back = pushing(&ring, &[0]).run_to("ring.push.tail_compared");
        assert_eq!(drain(&ring), [0]);
        for _ in 0..laps {
            push_each(&ring, 2..CAPACITY);
            drain(&ring);
            push_each(&ring, [0, 1]);
            drain(&ring);
        }
        push_each(&ring, 2..2 + filled.min(CAPACITY - 2));
        back.finish();
        let mut late = pushing(&ring, &[1]);
        let looks = std::iter::from_fn(|| late.step()).filter(|&step| step == "ring.push.searched").count();
        late.finish();
        assert!(looks <= 8 + 2 * 14, "{looks} looks after {laps} laps and {filled}");
        let all = drain(&ring);
        assert_eq!((all.len() as u32, all.last()), (filled.min(CAPACITY - 2) + 1, Some(&1)));
    }
}

/// While three threads stand frozen, two others pass tens of thousands of indices round.
#[test]
fn a_crowd_goes_on_beside_frozen_threads() {
    const ROUNDS: u32 = 20_000;
    let ring = Arc::new(IndexRing::new(8));
    let stopped = pushing(&ring, &[0]).run_to("ring.push.slot_read");
    let published = pushing(&ring, &[1]).run_to("ring.push.tail_compared");
    push_each(&ring, [2, 3, 4, 5, 6, 7]);
    let consumer = popping(&ring, 1).run_to("ring.pop.slot_read");
    let hands: Vec<Vec<u32>> = crate::tests::threads::scope(|scope| {
        let recycle = || {
            let mut out = Popped::new();
            for round in 0..ROUNDS {
                if ring.pop(1 + round % 3, &mut out) {
                    ring.push_batch(out.chains());
                }
            }
            let _ = ring.pop(1, &mut out);
            firsts(&out)
        };
        let crowd = [scope.spawn(recycle), scope.spawn(recycle)];
        crowd.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut seen: Vec<u32> = hands.into_iter().flatten().chain(drain(&ring)).collect();
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7], "what was complete is delivered beside the frozen");
    stopped.finish();
    published.finish();
    assert_eq!(consumer.finish(), [0], "it has lost its race, and takes what came since");
    assert_eq!(ring.len_hint(), 0);
}

/// One thread's turn in a random run.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Push(usize),
    Pop(u32),
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![(1usize..4).prop_map(Turn::Push), (1u32..5).prop_map(Turn::Pop)];
    prop::collection::vec(turn, 1..6)
}

/// Pushes from its hand, pops into it; what it holds at the end.
fn recycling(ring: &Arc<IndexRing>, mut hand: Vec<u32>, turns: Vec<Turn>) -> Actor<Vec<u32>> {
    let ring = Arc::clone(ring);
    Actor::new(move || {
        let mut out = Popped::new();
        for turn in turns {
            match turn {
                Turn::Push(count) => {
                    let chains: Vec<Chain> = hand.drain(..count.min(hand.len())).map(Chain::one).collect();
                    ring.push_batch(&chains);
                }
                Turn::Pop(max) => {
                    let _ = ring.pop(max, &mut out);
                    hand.extend(firsts(&out));
                }
            }
        }
        hand
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Random operations by three threads, switched at random crash points, all frozen where the run ends: whatever is complete comes out, what
    /// goes round after that goes round in order, and nothing is lost when they thaw.
    #[test]
    fn random_runs_frozen_anywhere_lose_nothing(
        scripts in prop::collection::vec(turns(), 3),
        schedule in prop::collection::vec(0usize..3, 0..120),
        origin in prop_oneof![Just(0u64), Just((1 << 59) - 4), Just(u64::MAX - 7), any::<u64>()],
    ) {
        // 0 and 1 belong to the first thread, 2 and 3 to the second; the third begins empty-handed; 4 is the bystander's
        let ring = Arc::new(IndexRing::with_origin(5, origin));
        let hands = [vec![0, 1], vec![2, 3], vec![]];
        let mut actors: Vec<_> = hands.into_iter().zip(scripts).map(|(hand, turns)| Some(recycling(&ring, hand, turns))).collect();
        let mut seen = vec![];
        for number in schedule {
            if let Some(mut actor) = actors[number].take() {
                match actor.step() {
                    Some(_) => actors[number] = Some(actor),
                    None => seen.extend(actor.finish()),
                }
            }
        }
        let mut hand = drain(&ring);
        hand.push(4);
        for _ in 0..5 {
            push_each(&ring, hand.iter().copied());
            prop_assert_eq!(&drain(&ring), &hand);
        }
        seen.extend(hand);
        actors.into_iter().flatten().for_each(|actor| seen.extend(actor.finish()));
        seen.extend(drain(&ring));
        seen.sort_unstable();
        prop_assert_eq!(seen, [0, 1, 2, 3, 4]);
    }
}
