//! Threads that stop at the ring's crash points: one frozen at any step of push or pop holds nobody up and loses nothing.

use super::*;
use crate::sync::chaos;
use crate::tests::threads::mpsc::{self, Receiver, Sender, channel};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

/// Every crash point of the ring.
const STEPS: [&str; 15] = [
    "ring.push.claimed",
    "ring.push.slot_read",
    "ring.push.filled",
    "ring.push.refused",
    "ring.push.ticket_lost",
    "ring.pop.head_read",
    "ring.pop.slot_read",
    "ring.pop.head_moved",
    "ring.pop.head_lost",
    "ring.pop.tail_read",
    "ring.pop.scanned",
    "ring.pop.head_confirmed",
    "ring.pop.outwaited",
    "ring.pop.gave_up",
    "ring.pop.producer_came",
];

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

fn popping(ring: &Arc<IndexRing>, max: u32, mode: Pop) -> Actor<Vec<u32>> {
    let ring = Arc::clone(ring);
    Actor::new(move || {
        let mut out = Popped::new();
        let _ = ring.pop(max, mode, &mut out);
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
    PopWeak,
}

/// What the victim comes upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scene {
    /// An empty ring.
    Quiet,
    /// A chain in the ring.
    Loaded,
    /// A stopped producer at head, a chain behind it.
    Hole,
    /// The same, and a consumer stopped between its tombstone and its head CAS.
    SleepingKiller,
}

/// What happens while the victim stands still at an earlier step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    /// Others push and pop three laps, and leave a chain in the ring.
    Laps,
    /// The stopped producer finishes.
    HoleFilled,
}

/// Four indices: 0 is the stopped producer's, 2 (and 3) a pushing victim's, the others the bystander's.
struct World {
    ring: Arc<IndexRing>,
    /// What the bystander holds.
    hand: Vec<u32>,
    /// What the bystander has pushed and not popped again.
    pushed: Vec<u32>,
    hole: Option<Actor<Vec<u32>>>,
    killer: Option<Actor<Vec<u32>>>,
}

impl World {
    fn new(scene: Scene, victim: Victim) -> (Self, Actor<Vec<u32>>) {
        let ring = Arc::new(IndexRing::new(4));
        let mut world = World { ring: Arc::clone(&ring), hand: vec![1], pushed: vec![], hole: None, killer: None };
        match victim {
            Victim::PushBatch => {}
            Victim::Push => world.hand.push(3),
            _ => world.hand.extend([2, 3]),
        }
        if matches!(scene, Scene::Hole | Scene::SleepingKiller) {
            world.hole = Some(pushing(&ring, &[0]).run_to("ring.push.claimed"));
        } else {
            world.hand.push(0);
        }
        if scene != Scene::Quiet {
            world.push_one();
        }
        if scene == Scene::SleepingKiller {
            world.killer = Some(popping(&ring, 1, Pop::Strict).run_to("ring.pop.gave_up"));
        }
        let victim = match victim {
            Victim::Push => pushing(&ring, &[2]),
            Victim::PushBatch => pushing(&ring, &[2, 3]),
            Victim::PopOne => popping(&ring, 1, Pop::Strict),
            Victim::PopMany => popping(&ring, 4, Pop::Strict),
            Victim::PopWeak => popping(&ring, 4, Pop::Weak),
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
        match what {
            Meanwhile::Nothing => {}
            Meanwhile::Laps => {
                self.others_go_on();
                self.push_one();
            }
            Meanwhile::HoleFilled => {
                self.hole.take().map(Actor::finish);
            }
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
        seen.extend(self.killer.take().map(Actor::finish).unwrap_or_default());
        seen.extend(self.hole.take().map(Actor::finish).unwrap_or_default());
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
    for scene in [Scene::Quiet, Scene::Loaded, Scene::Hole, Scene::SleepingKiller] {
        for victim in [Victim::Push, Victim::PushBatch, Victim::PopOne, Victim::PopMany, Victim::PopWeak] {
            for what in [Meanwhile::Nothing, Meanwhile::Laps, Meanwhile::HoleFilled] {
                let has_hole = matches!(scene, Scene::Hole | Scene::SleepingKiller);
                if what == Meanwhile::HoleFilled && !has_hole {
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
    assert_eq!(frozen_at, BTreeSet::from(STEPS), "some step was never frozen at");
}

/// With as many slots as indices, a consumer asleep between its tombstone and its head CAS, and the producer that lost the ticket filling the
/// same slot a lap later: the next consumer moves head in the sleeper's place.
#[test]
fn a_slot_taken_over_under_a_sleeping_killer_is_passed() {
    let ring = Arc::new(IndexRing::new(2));
    let loser = pushing(&ring, &[0]).run_to("ring.push.claimed");
    push_each(&ring, [1]);
    let killer = popping(&ring, 1, Pop::Strict).run_to("ring.pop.gave_up");
    // the loser's ticket is dead: it claims the next one, which is the same slot
    let loser = loser.run_to("ring.push.filled");
    assert_eq!(ring.len_hint(), 3);
    assert_eq!(drain(&ring), [1, 0], "both completed pushes, past the sleeper");
    loser.finish();
    assert_eq!(killer.finish(), Vec::<u32>::new(), "the sleeper finds the ring empty");
}

/// A completed chain behind any number of stopped producers is delivered at once.
#[test]
fn a_row_of_stopped_producers_hides_nothing() {
    let ring = Arc::new(IndexRing::new(8));
    let stopped: Vec<_> =
        [&[0], &[1], &[2], &[3], &[4], &[5]].map(|index| pushing(&ring, index).run_to("ring.push.slot_read")).into_iter().collect();
    push_each(&ring, [6]);
    assert_eq!(drain(&ring), [6]);
    stopped.into_iter().for_each(|producer| {
        producer.finish();
    });
    assert_eq!(drain(&ring), [0, 1, 2, 3, 4, 5], "each takes a new ticket when it wakes");
}

/// A weak pop stops at a hole and writes nothing there.
#[test]
fn a_weak_pop_leaves_a_hole_to_its_producer() {
    let ring = Arc::new(IndexRing::new(4));
    let mut out = Popped::new();
    let late = pushing(&ring, &[0]).run_to("ring.push.claimed");
    push_each(&ring, [1]);
    assert_eq!(ring.pop(4, Pop::Weak, &mut out), PopResult::NotReady);
    late.finish();
    assert_eq!(drain(&ring), [0, 1], "the order of the tickets");
}

/// A hole without anything behind it is no reason to give a ticket up: the ring is empty.
#[test]
fn a_lone_push_under_way_is_an_empty_ring() {
    let ring = Arc::new(IndexRing::new(4));
    let mut out = Popped::new();
    let late = pushing(&ring, &[0]).run_to("ring.push.claimed");
    assert_eq!(ring.pop(4, Pop::Strict, &mut out), PopResult::Empty);
    assert_eq!(ring.len_hint(), 1);
    late.finish();
    assert_eq!(drain(&ring), [0]);
}

/// While three threads stand frozen, two others pass tens of thousands of indices round.
#[test]
fn a_crowd_goes_on_beside_frozen_threads() {
    const ROUNDS: u32 = 20_000;
    for mode in [Pop::Strict, Pop::Weak] {
        let ring = Arc::new(IndexRing::new(8));
        let stopped = pushing(&ring, &[0]).run_to("ring.push.claimed");
        push_each(&ring, [2, 3, 4, 5, 6, 7]);
        let killer = popping(&ring, 1, Pop::Strict).run_to("ring.pop.gave_up");
        let stopped_later = pushing(&ring, &[1]).run_to("ring.push.slot_read");
        let hands: Vec<Vec<u32>> = crate::tests::threads::scope(|scope| {
            let recycle = || {
                let mut out = Popped::new();
                for round in 0..ROUNDS {
                    // a weak pop alone would wait for the frozen producer
                    let mode = if round % 4 == 0 { Pop::Strict } else { mode };
                    if ring.pop(1 + round % 3, mode, &mut out) == PopResult::Taken {
                        ring.push_batch(out.chains());
                    }
                }
                let _ = ring.pop(1, Pop::Strict, &mut out);
                firsts(&out)
            };
            let crowd = [scope.spawn(recycle), scope.spawn(recycle)];
            crowd.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let mut seen: Vec<u32> = hands.into_iter().flatten().chain(drain(&ring)).collect();
        seen.sort_unstable();
        assert_eq!(seen, [2, 3, 4, 5, 6, 7], "what was complete is delivered beside the frozen");
        stopped.finish();
        stopped_later.finish();
        let mut late: Vec<u32> = killer.finish().into_iter().chain(drain(&ring)).collect();
        late.sort_unstable();
        assert_eq!(late, [0, 1]);
    }
}

/// One thread's turn in a random run.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Push(usize),
    Pop(u32, bool),
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![(1usize..4).prop_map(Turn::Push), (1u32..5, any::<bool>()).prop_map(|(max, strict)| Turn::Pop(max, strict))];
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
                Turn::Pop(max, strict) => {
                    let _ = ring.pop(max, if strict { Pop::Strict } else { Pop::Weak }, &mut out);
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
        origin in prop_oneof![Just(0u64), Just((1 << 58) - 4), Just(u64::MAX - 7), any::<u64>()],
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
