//! Partitions on one thread, against a list per partition.

use super::partitions::ABROAD;
use super::ready::WORD;
use super::{Next, Partitions, Place, Role, Seat, Skew};
use crate::chain::{LinkArray, Links};
use crate::key::OrderKey;
use crate::rng::Rng;
use crate::sync::atomic::AtomicU32;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A key of the partition `at` among `1 << bits`.
fn key(bits: u32, at: usize, number: u64) -> OrderKey {
    OrderKey::from_high_bits((at as u64) << (64 - bits) | number << 8)
}

// ---- a plain model ----

const BITS: u32 = 2;
const LANES: u64 = 3;
const CAPACITY: u32 = 24;

/// A partition as a list of jobs.
#[derive(Default)]
struct Plain {
    line: VecDeque<u32>,
    /// What was set aside of each key that waits.
    aside: BTreeMap<u64, VecDeque<u32>>,
    is_held: bool,
}

struct World {
    partitions: Partitions,
    links: LinkArray,
    plain: [Plain; 1 << BITS],
    free: Vec<u32>,
    heads: Vec<u32>,
    loose: Vec<u32>,
    seats: [Seat; 2],
    rng: Rng,
}

impl World {
    fn new(seed: u64) -> Self {
        let partitions = Partitions::new(1 << BITS, LANES as usize, CAPACITY);
        let seats = [partitions.join(), partitions.join()];
        World {
            partitions,
            links: LinkArray::new(CAPACITY as usize),
            plain: Default::default(),
            free: (0..CAPACITY).collect(),
            heads: Vec::new(),
            loose: Vec::new(),
            seats,
            rng: Rng::new(seed),
        }
    }

    fn below(&mut self, count: usize) -> usize {
        self.rng.up_to(count as u64 - 1) as usize
    }

    fn one_of(&mut self, pick: impl Fn(&mut Self) -> &mut Vec<u32>) -> Option<u32> {
        let count = pick(self).len();
        (count > 0).then(|| {
            let at = self.below(count);
            pick(self).swap_remove(at)
        })
    }

    fn at(&self, index: u32) -> usize {
        self.partitions.partition_of(self.partitions.place(index))
    }

    fn key_of(&self, index: u32) -> u64 {
        self.partitions.place(index).key()
    }

    fn lane_of(&self, index: u32) -> usize {
        self.partitions.place(index).lane()
    }

    /// The oldest job of no waiting key; those before it are set aside.
    fn next(&mut self, at: usize) -> Option<u32> {
        while let Some(index) = self.plain[at].line.pop_front() {
            let key = self.key_of(index);
            match self.plain[at].aside.get_mut(&key) {
                Some(side) => side.push_back(index),
                None => return Some(index),
            }
        }
        None
    }

    fn can_be_taken(&self, at: usize) -> bool {
        let plain = &self.plain[at];
        !plain.is_held && plain.line.iter().any(|&index| !plain.aside.contains_key(&self.key_of(index)))
    }

    fn enter(&mut self) {
        let Some(index) = self.free.pop() else { return };
        let (at, number, lane) = (self.below(1 << BITS), self.rng.up_to(2), self.below(LANES as usize));
        let wakes = self.partitions.enter(&self.links, index, key(BITS, at, number), lane);
        assert_eq!((self.at(index), self.lane_of(index), wakes), (at, lane, !self.plain[at].is_held));
        self.plain[at].line.push_back(index);
    }

    fn take(&mut self) {
        let (lane, seat, want) = (self.below(LANES as usize), self.below(2), 1 + self.below(3));
        let said = self.partitions.said(lane);
        let ready: Vec<usize> = (0..1 << BITS).filter(|&at| said.contains(&at) && self.can_be_taken(at)).collect();
        let mut out = [(0, 0); 3];
        let taken = self.partitions.take_ready(&self.links, lane, &mut self.seats[seat], &mut out[..want]);
        let homes: Vec<usize> = self.seats[seat].homes().collect();
        let is_home = |at: &usize| homes.contains(at);
        let abroad_first = self.seats[seat].looks.is_multiple_of(ABROAD);
        let at_home = if abroad_first { ready.iter().all(is_home) } else { ready.iter().any(is_home) };
        assert_eq!(taken > 0, !ready.is_empty());
        for &(index, at) in &out[..taken] {
            let at = usize::from(at);
            assert!(ready.contains(&at) && is_home(&at) == at_home && !self.plain[at].is_held);
            assert_eq!(self.next(at), Some(index));
            self.plain[at].is_held = true;
            self.heads.push(index);
        }
        // a look for nothing sets aside all the same
        let still = self.partitions.said(lane);
        for at in said.into_iter().filter(|at| !still.contains(at)) {
            if !self.plain[at].is_held {
                assert_eq!(self.next(at), None);
            }
        }
    }

    fn end(&mut self) {
        let Some(index) = self.one_of(|world| &mut world.heads) else { return };
        self.plain[self.at(index)].is_held = false;
        let wakes = self.partitions.leave(&self.links, self.partitions.place(index));
        assert_eq!(wakes, !self.plain[self.at(index)].line.is_empty());
        self.free.push(index);
    }

    fn go_on(&mut self) {
        let Some(index) = self.one_of(|world| &mut world.heads) else { return };
        let (at, lane, may) = (self.at(index), self.lane_of(index), self.below(2) == 1);
        self.plain[at].is_held = false;
        let next = if may { self.next(at) } else { None };
        let expected = match next {
            Some(next) if self.lane_of(next) == lane => {
                self.plain[at].is_held = true;
                self.heads.push(next);
                Next::Job(next)
            }
            _ => {
                next.into_iter().for_each(|next| self.plain[at].line.push_front(next));
                self.plain[at].line.front().map_or(Next::Nothing, |&first| Next::Ready(self.lane_of(first)))
            }
        };
        let row = if may { u32::MAX } else { 1 };
        assert_eq!(self.partitions.go_on(&self.links, at, lane, &mut self.seats[0], row), expected);
        self.free.push(index);
    }

    fn step_aside(&mut self) {
        let Some(index) = self.one_of(|world| &mut world.heads) else { return };
        let (at, key) = (self.at(index), self.key_of(index));
        self.plain[at].is_held = false;
        assert!(self.plain[at].aside.insert(key, VecDeque::new()).is_none());
        assert_eq!(self.partitions.step_aside(&self.links, index), !self.plain[at].line.is_empty());
        assert_eq!(self.partitions.place(index).role(), Role::Loose);
        self.loose.push(index);
    }

    fn end_loose(&mut self) {
        let Some(index) = self.one_of(|world| &mut world.loose) else { return };
        let (at, key) = (self.at(index), self.key_of(index));
        let side = self.plain[at].aside.remove(&key).expect("its key waits");
        let wakes = self.partitions.leave(&self.links, self.partitions.place(index));
        assert_eq!(wakes, !side.is_empty() && !self.plain[at].is_held);
        side.into_iter().rev().for_each(|index| self.plain[at].line.push_front(index));
        self.free.push(index);
    }

    fn show_heads(&mut self) -> Vec<u32> {
        let mut shown = Vec::new();
        self.partitions.heads(&self.links, |index| shown.push(index));
        let firsts =
            |plain: &Plain| plain.line.front().into_iter().chain(plain.aside.values().filter_map(VecDeque::front)).copied().collect();
        assert_eq!(shown, self.plain.iter().flat_map::<Vec<u32>, _>(firsts).collect::<Vec<_>>());
        shown
    }

    fn take_out(&mut self) {
        let index = self.below(CAPACITY as usize) as u32;
        if self.partitions.place(index).role() != Role::Keyed {
            return;
        }
        let (is_head, wanted) = (self.show_heads().contains(&index), self.below(2) == 1);
        assert_eq!(self.partitions.take_out(&self.links, index, |asked| asked == index && wanted), is_head && wanted);
        if is_head && wanted {
            self.taken_out(index);
        }
    }

    fn drain(&mut self) {
        let at = self.below(1 << BITS);
        let jobs = self.partitions.drain(&self.links, at);
        let plain = &mut self.plain[at];
        let left: Vec<u32> = plain.aside.values_mut().chain([&mut plain.line]).flat_map(std::mem::take).collect();
        assert_eq!(jobs, left);
        jobs.into_iter().for_each(|index| self.taken_out(index));
    }

    /// It passes nothing on.
    fn taken_out(&mut self, index: u32) {
        let at = self.at(index);
        self.plain[at].line.retain(|&other| other != index);
        self.plain[at].aside.values_mut().for_each(|side| side.retain(|&other| other != index));
        assert_eq!(self.partitions.place(index).role(), Role::Apart);
        assert!(!self.partitions.leave(&self.links, self.partitions.place(index)));
        self.free.push(index);
    }

    fn look(&self) {
        let said: Vec<usize> = (0..LANES as usize).flat_map(|lane| self.partitions.said(lane)).collect();
        assert_eq!(self.partitions.any_ready(), !said.is_empty());
        for at in 0..1 << BITS {
            assert!(said.contains(&at) || !self.can_be_taken(at), "partition {at} was forgotten");
        }
        assert_eq!(self.partitions.held(), self.heads.len());
        assert_eq!(self.partitions.waiting_keys(), self.loose.len());
    }
}

#[test]
fn jobs_come_in_the_order_of_their_partition_one_at_a_time_and_none_is_forgotten() {
    for seed in 0..200 {
        let mut world = World::new(seed);
        let step = |world: &mut World| {
            match world.below(12) {
                0..4 => world.enter(),
                4..6 => world.take(),
                6 => world.end(),
                7 => world.go_on(),
                8 => world.step_aside(),
                9 => world.end_loose(),
                10 => world.take_out(),
                _ => match world.below(4) {
                    0 => world.drain(),
                    _ => drop(world.show_heads()),
                },
            }
            world.look();
        };
        let steps = || (0..300).for_each(|_| step(&mut world));
        if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(steps)) {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
        while world.free.len() < CAPACITY as usize {
            world.end();
            world.end_loose();
            world.take();
        }
        for lane in 0..LANES as usize {
            assert_eq!(world.partitions.take_ready(&world.links, lane, &mut world.seats[0], &mut [(0, 0)]), 0);
        }
        assert!(!world.partitions.any_ready());
    }
}

// ---- who takes what ----

/// 128 partitions with a job each in those of `ready`, whose index is the partition.
fn ready(ready: impl IntoIterator<Item = usize>) -> (Partitions, LinkArray) {
    let (partitions, links) = (Partitions::new(128, 1, 128), LinkArray::new(128));
    for at in ready {
        assert!(enter(&partitions, &links, at));
    }
    (partitions, links)
}

fn enter(partitions: &Partitions, links: &LinkArray, at: usize) -> bool {
    partitions.prefetch(key(7, at, 0), 0);
    partitions.enter(links, at as u32, key(7, at, 0), 0)
}

/// Takes as many and ends them.
fn take(partitions: &Partitions, links: &LinkArray, seat: &mut Seat, count: usize) -> Vec<usize> {
    let mut out = vec![(0, 0); count];
    let taken = partitions.take_ready(links, 0, seat, &mut out);
    out.truncate(taken);
    for &(index, at) in &out {
        assert_eq!(index, u32::from(at));
        assert!(!partitions.leave(links, partitions.place(index)));
    }
    out.into_iter().map(|(_, at)| at.into()).collect()
}

#[test]
fn ready_partitions_take_turns() {
    let (partitions, links) = ready(0..128);
    let mut seat = partitions.join();
    let first: Vec<usize> = (0..20).flat_map(|_| take(&partitions, &links, &mut seat, 5)).collect();
    assert_eq!(first, (0..100).collect::<Vec<_>>());
    first.into_iter().for_each(|at| assert!(enter(&partitions, &links, at)));
    assert_eq!(take(&partitions, &links, &mut seat, 0), []);
    assert_eq!(take(&partitions, &links, &mut seat, 2), [100, 101]);
    assert_eq!(take(&partitions, &links, &mut seat, 128), (102..128).chain(0..100).collect::<Vec<_>>());
    assert_eq!(take(&partitions, &links, &mut seat, 128), []);
}

#[test]
fn what_lies_before_the_turn_in_its_own_word_comes_last() {
    let (partitions, links) = ready([99]);
    let mut seat = partitions.join();
    assert_eq!(take(&partitions, &links, &mut seat, 1), [99]);
    [WORD + 1, 99, 100, 3].into_iter().for_each(|at| assert!(enter(&partitions, &links, at)));
    for next in [100, 3, 65, 99] {
        assert_eq!(take(&partitions, &links, &mut seat, 1), [next]);
    }
    assert_eq!(take(&partitions, &links, &mut seat, 1), []);
}

#[test]
fn the_oldest_head_that_was_looked_for_comes_first() {
    let (partitions, links) = ready([3, 99, 100]);
    let mut seat = partitions.join();
    let waited = |index: u32| [(3, 20), (99, 30), (100, 10)].into_iter().find(|known| known.0 == index).map(|known| known.1);
    assert_eq!(partitions.peek_oldest(&links, 0, &seat, waited), Some(Some(30)));
    assert_eq!(take(&partitions, &links, &mut seat, 2), [99]);
    // it was looked for once
    assert_eq!(take(&partitions, &links, &mut seat, 2), [3, 100]);
    assert_eq!(partitions.peek_oldest(&links, 0, &seat, waited), None);
    // somebody else had it first
    [3, 99].into_iter().for_each(|at| assert!(enter(&partitions, &links, at)));
    assert_eq!(partitions.peek_oldest(&links, 0, &seat, waited), Some(Some(30)));
    assert_eq!(take(&partitions, &links, &mut partitions.join(), 2), [99, 3]);
    assert_eq!(take(&partitions, &links, &mut seat, 2), []);
}

#[test]
fn those_where_nobody_comes_home_have_their_turns_too() {
    let (partitions, links) = ready(0..128);
    let (mut seat, idle) = (partitions.join(), partitions.join());
    let mut taken = BTreeSet::new();
    // each comes back at once, so that there is always something at home
    let looks = (0..).take_while(|_| {
        let next = take(&partitions, &links, &mut seat, 1)[0];
        assert!(enter(&partitions, &links, next));
        taken.insert(next);
        taken.len() < 128
    });
    assert!(looks.count() < 16 * 128);
    assert_eq!(idle.homes().count(), 0, "it has never looked");
}

#[test]
fn each_looks_at_home_first_and_homes_follow_those_who_come_and_go() {
    let (partitions, links) = ready([]);
    let mut seats = [partitions.join(), partitions.join()];
    let homes = |seat: &mut Seat| {
        assert_eq!(take(&partitions, &links, seat, 1), []);
        seat.homes().collect::<Vec<_>>()
    };
    let [mut ours, theirs] = seats.each_mut().map(homes);
    assert!(ours.len() > 32 && theirs.len() > 32);
    (0..128).for_each(|at| assert!(enter(&partitions, &links, at)));
    let mut at_home = take(&partitions, &links, &mut seats[0], 128);
    let mut elsewhere = take(&partitions, &links, &mut seats[0], 128);
    at_home.sort_unstable();
    elsewhere.sort_unstable();
    assert_eq!((&at_home, &elsewhere), (&ours, &theirs));
    ours.extend(theirs);
    ours.sort_unstable();
    assert_eq!(ours, (0..128).collect::<Vec<_>>());

    let [first, mut second] = seats;
    assert_eq!((partitions.members(), first.is_even(), second.is_even()), (vec![0, 1], true, false));
    partitions.part(&first);
    assert_eq!(homes(&mut second), ours);
    assert_eq!((partitions.members(), partitions.join().is_even()), (vec![1], true));
}

#[test]
fn who_joins_begins_elsewhere_than_those_before() {
    let (partitions, links) = ready(0..128);
    let begin = |seat: &Seat| (seat.at[0], seat.at[1]);
    let begins: BTreeSet<_> = (0..18).map(|_| begin(&partitions.join())).collect();
    assert_eq!((begins.len(), take(&partitions, &links, &mut partitions.join(), 0).len()), (18, 0));
}

#[test]
fn one_partition_is_gone_on_with_so_often_in_a_row() {
    let (partitions, links) = (Partitions::new(2, 1, 16), LinkArray::new(16));
    let mut seat = partitions.join();
    (0..8).for_each(|index| assert!(partitions.enter(&links, index, key(1, 0, 0), 0)));
    (8..12).for_each(|index| assert!(partitions.enter(&links, index, key(1, 1, 0), 0)));
    let mut out = [(0, 0); 2];
    assert_eq!(partitions.take_ready(&links, 0, &mut seat, &mut out), 2);
    let mut go_on = |at| partitions.go_on(&links, at, 0, &mut seat, 3);
    assert_eq!([go_on(0), go_on(0), go_on(0)], [Next::Job(1), Next::Job(2), Next::Ready(0)]);
    assert_eq!([go_on(1), go_on(1)], [Next::Job(9), Next::Job(10)]);
    assert_eq!(partitions.take_ready(&links, 0, &mut seat, &mut out), 1);
    let mut go_on = |at| partitions.go_on(&links, at, 0, &mut seat, 3);
    assert_eq!([go_on(0), go_on(1), go_on(1)], [Next::Job(4), Next::Job(11), Next::Nothing]);
}

#[test]
fn skew_is_what_the_fullest_has() {
    let (partitions, links) = (Partitions::new(4, 1, 16), LinkArray::new(16));
    for (index, at) in [0, 2, 2, 2, 3, 3].into_iter().enumerate() {
        partitions.enter(&links, index as u32, key(2, at, 0), 0);
    }
    assert_eq!((partitions.skew(0..6), partitions.count()), (Skew { jobs: 6, used: 3, fullest: 3 }, 4));
    assert_eq!(partitions.skew(0..0), Skew::default());
}

#[test]
fn a_job_without_a_key_passes_nothing_on() {
    let (partitions, links) = ready([]);
    let place = Place::new(key(7, 5, 0), 0);
    partitions.set_place(0, place);
    assert_eq!(partitions.place(0), place);
    partitions.set_place(0, Place::UNKEYED);
    partitions.set_apart(0);
    assert_eq!(partitions.place(0).role(), Role::Unkeyed);
    assert!(!partitions.leave(&links, partitions.place(0)));
}

// ---- beside others ----

type Act<'a> = Box<dyn FnOnce(&LinkArray) + 'a>;

/// Links; before the link of one index is looked at, once, others do something.
struct Beside<'a> {
    links: LinkArray,
    act: RefCell<Option<(u32, Act<'a>)>>,
}

impl Links for Beside<'_> {
    fn link(&self, index: u32) -> &AtomicU32 {
        let act = self.act.borrow_mut().take_if(|(at, _)| *at == index);
        if let Some((_, act)) = act {
            act(&self.links);
        }
        self.links.link(index)
    }

    fn link_if_any(&self, index: u32) -> Option<&AtomicU32> {
        self.links.link_if_any(index)
    }
}

#[test]
fn a_link_is_followed_to_no_job_where_its_own_has_gone() {
    // given back, gone on with, or taken by another, while a purge takes out what waits and one of its slots is used again, by a key of another partition
    for (ends, goes_on) in [(true, false), (true, true), (false, false)] {
        let partitions = Partitions::new(2, 2, 8);
        let links = Beside { links: LinkArray::new(8), act: RefCell::default() };
        let mut seats = [partitions.join(), partitions.join()];
        let mut out = [(0, 0)];
        if ends {
            partitions.enter(&links, 0, key(1, 0, 1), 0);
            assert_eq!(partitions.take_ready(&links, 0, &mut seats[0], &mut out), 1);
        }
        for index in 1..3 {
            partitions.enter(&links, index, key(1, 0, 1), 0);
        }
        *links.act.borrow_mut() = Some((
            2,
            Box::new(|links| {
                assert_eq!(partitions.drain(links, 0), [1, 2]);
                partitions.enter(links, 2, key(1, 1, 1), 1);
            }),
        ));
        if goes_on {
            assert_eq!(partitions.go_on(&links, 0, 0, &mut seats[0], 8), Next::Nothing);
        } else if ends {
            assert!(!partitions.leave(&links, partitions.place(0)));
        } else {
            assert_eq!(partitions.take_ready(&links, 0, &mut seats[0], &mut out), 0);
        }
        assert!(links.act.borrow().is_none(), "it was not looked at");
        assert_eq!((partitions.held(), partitions.take_ready(&links, 1, &mut seats[1], &mut out), out[0].0), (0, 1, 2));
    }
}
