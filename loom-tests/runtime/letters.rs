//! Dead letters that move on: a letter moves once, or stays, whoever else wants it. See ADR 0017.

use super::world::{B2, B3, Probe, World, config, jobs_of, model, twin};
use ringmill::queue::{Bend, Claimer, Onward, Plan, Queue, Way};
use ringmill::slab::Fate;
use ringmill::sync::thread;
use ringmill::{DeadLetter, DeadLetterConfig};
use std::sync::Arc;

/// To another queue.
struct To(Arc<Queue<Probe>>);

impl Onward<Probe> for To {
    fn version(&self) -> u64 {
        0
    }

    fn way(&self, _letter: &DeadLetter<Probe>) -> Option<Way<Probe>> {
        Some(Way { queue: Arc::clone(&self.0), lane: None, key: None })
    }
}

/// A queue with `slots`, the letters of which go to another one, of `room`. It has room for `slots` letters, too.
fn source_and_target(slots: u64, room: u64) -> (World, World) {
    let source = World::new(&config(slots).dead_letters(DeadLetterConfig::new().queue("target").capacity(slots as u32)));
    let target = source.beside(&config(room));
    (source, target)
}

fn connect(source: &World, target: &World) {
    source.queue.set_onward(Some(Arc::new(To(Arc::clone(&target.queue)))));
}

/// Starts the next job, which then dies.
fn kill(world: &World, claimer: &mut Claimer<Probe>) {
    let lease = claimer.next(world.now()).expect("a job waits");
    assert!(world.settle(claimer, lease, Plan::End(Fate::Rejected, None)));
}

/// What a worker does with the chore.
fn move_letters(world: &World) {
    world.queue.retire_letters(world.now());
}

/// What has come to `world`, in order.
fn come(world: &World, claimer: &mut Claimer<Probe>) -> Vec<usize> {
    std::iter::from_fn(|| world.work(claimer).map(|(job, _)| job)).collect()
}

/// The queues are not needed any more: they know each other.
fn close_the_books(source: (World, Claimer<Probe>), target: (World, Claimer<Probe>)) {
    source.0.queue.set_onward(None);
    source.0.close_the_books(source.1);
    target.0.close_the_books(target.1);
}

/// Who wants a letter, beside the one who moves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rival {
    Takes,
    Redrives,
    /// Another one who moves letters.
    Moves,
}

/// Two have the letter, or neither.
fn moved_or_taken(rival: Rival) {
    let (source, target) = source_and_target(1, 1);
    let publisher = source.publisher();
    let (mut claimer, mut receiver) = (source.claimer(), target.claimer());
    source.publish(&publisher, 0).unwrap();
    kill(&source, &mut claimer);
    connect(&source, &target);
    let moving = thread::spawn({
        let source = source.clone();
        move || move_letters(&source)
    });
    let mine = match rival {
        Rival::Takes => source.queue.take_letter(None, source.now()).is_some(),
        Rival::Redrives => source.queue.redrive(None, source.now()).expect("it has room"),
        Rival::Moves => {
            move_letters(&source);
            false
        }
    };
    moving.join().unwrap();
    let redriven = come(&source, &mut claimer);
    assert_eq!(redriven.len(), usize::from(mine && rival == Rival::Redrives));
    assert_eq!(come(&target, &mut receiver).len(), usize::from(!mine), "the letter was lost, or is in two places");
    close_the_books((source, claimer), (target, receiver));
}

#[test]
fn a_letter_moves_or_is_taken() {
    model("moved_or_taken", B3, || moved_or_taken(Rival::Takes));
}

#[test]
fn a_letter_moves_or_is_redriven() {
    model("moved_or_redriven", B3, || moved_or_taken(Rival::Redrives));
}

#[test]
fn a_letter_moves_or_is_redriven_twin() {
    twin("moved_or_redriven", Bend::RedriveLooksEarly, B3, || moved_or_taken(Rival::Redrives));
}

#[test]
fn a_letter_is_moved_by_one_of_two() {
    model("moved_by_one_of_two", B3, || moved_or_taken(Rival::Moves));
}

/// A letter is in hand, and goes back to its list, as another job dies: there are more letters than there is room for.
fn put_back_as_another_dies() {
    let (source, target) = source_and_target(1, 1);
    let (publisher, others) = (source.publisher(), target.publisher());
    let (mut claimer, mut receiver) = (source.claimer(), target.claimer());
    source.publish(&publisher, 0).unwrap();
    kill(&source, &mut claimer);
    connect(&source, &target);
    target.publish(&others, 1).unwrap();
    source.publish(&publisher, 2).unwrap();
    let lease = claimer.next(source.now()).unwrap();
    let moving = thread::spawn({
        let source = source.clone();
        move || move_letters(&source)
    });
    assert!(source.settle(&mut claimer, lease, Plan::End(Fate::Rejected, None)));
    moving.join().unwrap();
    let gauges = source.queue.gauges();
    assert_eq!((gauges.dead_letters, gauges.phases.held), (1, 1), "the letters have outgrown their list");
    // one after the other, as there is room
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.extend(come(&target, &mut receiver));
        move_letters(&source);
    }
    assert_eq!(seen, [1, 0, 2]);
    close_the_books((source, claimer), (target, receiver));
}

#[test]
fn a_letter_in_hand_keeps_its_place() {
    model("put_back_as_another_dies", B2, put_back_as_another_dies);
}

#[test]
fn a_letter_in_hand_keeps_its_place_twin() {
    twin("put_back_as_another_dies", Bend::HandUncounted, B2, put_back_as_another_dies);
}

/// Two jobs die at once, and whoever ends one moves letters on: the one who comes second leaves it to the first, who has passed by already.
fn two_die() {
    let (source, target) = source_and_target(2, 2);
    let publisher = source.publisher();
    let (mut claimer, mut other, mut receiver) = (source.claimer(), source.claimer(), target.claimer());
    source.publish(&publisher, 0).unwrap();
    source.publish(&publisher, 1).unwrap();
    connect(&source, &target);
    let lease = claimer.next(source.now()).unwrap();
    let dying = thread::spawn({
        let source = source.clone();
        move || kill(&source, &mut other)
    });
    assert!(source.settle(&mut claimer, lease, Plan::End(Fate::Rejected, None)));
    dying.join().unwrap();
    let mut seen = come(&target, &mut receiver);
    seen.sort_unstable();
    assert_eq!(seen, [0, 1], "a letter stays, though it has a way and room there");
    close_the_books((source, claimer), (target, receiver));
}

#[test]
fn letters_of_two_that_die_at_once_both_move() {
    model("two_die", B2, two_die);
}

#[test]
fn letters_of_two_that_die_at_once_both_move_twin() {
    twin("two_die", Bend::MovesOnce, B2, two_die);
}

/// A letter is on its way as its target stops and hands back: it stays behind in a lane that nobody looks at.
fn moved_into_the_hand_back() {
    let (source, target) = source_and_target(1, 1);
    let publisher = source.publisher();
    let (mut claimer, receiver) = (source.claimer(), target.claimer());
    source.publish(&publisher, 0).unwrap();
    kill(&source, &mut claimer);
    connect(&source, &target);
    let moving = thread::spawn({
        let source = source.clone();
        move || move_letters(&source)
    });
    target.queue.close();
    target.queue.stop();
    let mut undone = target.queue.hand_back();
    moving.join().unwrap();
    assert!(target.queue.gauges().phases.is_empty(), "a job waits where nobody comes");
    // what has come back since
    undone.extend(target.queue.hand_back());
    let stays = source.queue.take_letter(None, source.now()).is_some();
    assert_eq!(jobs_of(&undone).len(), usize::from(!stays), "the letter was lost, or is in two places");
    drop(undone);
    close_the_books((source, claimer), (target, receiver));
}

#[test]
fn a_letter_stays_or_is_handed_back() {
    model("moved_into_the_hand_back", B3, moved_into_the_hand_back);
}

#[test]
fn a_letter_stays_or_is_handed_back_twin() {
    twin("moved_into_the_hand_back", Bend::NoSecondLook, B3, moved_into_the_hand_back);
}

/// A letter moves, which makes room for a dead job that was held, as its queue hands back what it holds: that job is in two places, or in none.
fn moved_as_the_held_are_handed_back() {
    let (source, target) = source_and_target(1, 1);
    let publisher = source.publisher();
    let (mut claimer, mut receiver) = (source.claimer(), target.claimer());
    for job in 0..2 {
        source.publish(&publisher, job).unwrap();
        kill(&source, &mut claimer);
    }
    connect(&source, &target);
    let moving = thread::spawn({
        let source = source.clone();
        move || move_letters(&source)
    });
    source.queue.close();
    source.queue.stop();
    let undone = source.queue.hand_back();
    moving.join().unwrap();
    let letters = std::iter::from_fn(|| source.queue.take_letter(None, source.now())).count();
    assert_eq!(jobs_of(&undone).len() + letters, 1, "the held job was lost, or is in two places");
    assert_eq!(come(&target, &mut receiver), [0]);
    drop(undone);
    close_the_books((source, claimer), (target, receiver));
}

#[test]
fn a_held_job_is_a_letter_or_handed_back() {
    model("moved_as_the_held_are_handed_back", B2, moved_as_the_held_are_handed_back);
}

#[test]
fn a_held_job_is_a_letter_or_handed_back_twin() {
    twin("moved_as_the_held_are_handed_back", Bend::HeldLooksEarly, B2, moved_as_the_held_are_handed_back);
}

/// Somebody looks at the dead letters, of which there is one more than there is room for.
fn looking(source: &World) -> thread::JoinHandle<()> {
    let source = source.clone();
    thread::spawn(move || {
        let mut round = source.queue.round();
        while let Some(letter) = round.next(source.now()) {
            letter.payload().read();
        }
    })
}

/// A queue with room for one letter, and two dead jobs: one is held.
fn with_one_held() -> (World, Claimer<Probe>) {
    let world = World::new(&config(2).dead_letters(DeadLetterConfig::new().capacity(1)));
    let (publisher, mut claimer) = (world.publisher(), world.claimer());
    for job in 0..2 {
        world.publish(&publisher, job).unwrap();
        kill(&world, &mut claimer);
    }
    (world, claimer)
}

/// Room is made for what is held as somebody looks at it: it stays held, beside room, for ever.
fn looked_at_as_room_is_made() {
    let (world, claimer) = with_one_held();
    let looker = looking(&world);
    let taken = world.queue.take_letter(None, world.now());
    looker.join().unwrap();
    let gauges = world.queue.gauges();
    assert_eq!((gauges.dead_letters, gauges.phases.held), (2 - usize::from(taken.is_some()), 0), "held beside room");
    drop(taken);
    world.close_the_books(claimer);
}

#[test]
fn what_is_held_moves_in_when_it_was_looked_at() {
    model("looked_at_as_room_is_made", B3, looked_at_as_room_is_made);
}

#[test]
fn what_is_held_moves_in_when_it_was_looked_at_twin() {
    twin("looked_at_as_room_is_made", Bend::GivesBackBlindly, B3, looked_at_as_room_is_made);
}

/// The queue stops and hands back as somebody looks at what is held: its end is told to nobody.
fn looked_at_as_the_held_are_handed_back() {
    let (world, claimer) = with_one_held();
    let looker = looking(&world);
    world.queue.close();
    world.queue.stop();
    let mut undone = world.queue.hand_back();
    looker.join().unwrap();
    assert!(world.queue.gauges().phases.is_empty(), "it is held, and nobody comes");
    undone.extend(world.queue.hand_back());
    assert_eq!(jobs_of(&undone), [1]);
    drop(undone);
    world.close_the_books(claimer);
}

#[test]
fn what_is_held_is_handed_back_when_it_was_looked_at() {
    model("looked_at_as_the_held_are_handed_back", B3, looked_at_as_the_held_are_handed_back);
}

#[test]
fn what_is_held_is_handed_back_when_it_was_looked_at_twin() {
    twin("looked_at_as_the_held_are_handed_back", Bend::NoSecondLook, B3, looked_at_as_the_held_are_handed_back);
}
