//! The bounded queue of the dead.

use super::record::DeadLetter;
use crate::clock::Timestamp;
use crate::config::{DeadLetterConfig, DeadLetterOverflow};
use crate::id::JobId;
use std::collections::BTreeMap;
use std::ops::Bound::Excluded;
use std::time::Duration;

/// What became of a letter that was offered.
#[derive(Debug)]
pub enum Stored<T> {
    /// It is in the queue; an old one may have had to go.
    Kept {
        /// The letter that made room, to be dropped outside the lock.
        evicted: Option<DeadLetter<T>>,
    },
    /// The queue is full and keeps to `Hold`.
    NoRoom(DeadLetter<T>),
}

/// A letter, and its place in the line.
#[derive(Debug)]
pub struct Kept<T> {
    /// Grows along the line.
    pub place: u64,
    /// Since when it is kept.
    pub since: Timestamp,
    /// The letter.
    pub letter: DeadLetter<T>,
    /// It was found unroutable, under bindings of this version.
    pub unroutable: Option<u64>,
}

/// A place in the line.
#[derive(Debug)]
struct Place<T> {
    since: Timestamp,
    /// `None` while it is lent.
    letter: Option<DeadLetter<T>>,
    unroutable: Option<u64>,
}

/// The letter of a dead job that waits for room in the queue, and keeps its slot.
#[derive(Debug)]
pub struct Held<T> {
    /// Its place in the line.
    pub place: u64,
    /// The slot.
    pub slot: u32,
    /// The letter.
    pub letter: DeadLetter<T>,
}

/// Whether letters are being moved on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moving {
    No,
    /// Somebody goes through them.
    Yes,
    /// And has to do so again: others have come since.
    Again,
}

/// The bounded queue of the dead, and those that wait for room in it. Passive: time is an argument, payloads are returned, never dropped.
///
/// # Held
/// Who waits for room stands in the same line, behind the others, and keeps its slot. It is found like them by whoever looks, takes out or redrives, but has not ended: it neither
/// ages nor moves on, and when the queue stops it goes back to its user.
///
/// # Moving on
/// One thread at a time goes through the letters that are due ([`begin_moving`](Self::begin_moving)). It takes one [in hand](Self::take_due), without any lock looks for
/// its way and a slot there, and then has [moved](Self::has_moved) it or [puts it back](Self::put_back) where it was. A letter in hand counts: to put it back cannot fail
/// for want of room.
///
/// # Looking
/// Any number of threads go through the letters to show them to user code, which runs under no lock: each is [lent](Self::lend) and [given back](Self::give_back). Its place stays meanwhile, so
/// it counts; but nothing else finds the letter. Whoever makes room for one that is held, or hands back what is held, goes past one that is lent: who gives it back looks whether there is room for it,
/// and whether the queue has stopped. By the lock either the one sees that it is back, or the other what has changed.
///
/// Whoever knows a letter's place finds it, takes it out or puts it back in O(log letters). A letter without its place is searched for.
#[derive(Debug)]
pub struct DeadLetters<T> {
    config: DeadLetterConfig,
    /// By their numbers, which grow along the line.
    letters: BTreeMap<u64, Place<T>>,
    /// Those that wait for room, and their slots. No letter: it is lent.
    held: BTreeMap<u64, (u32, Option<DeadLetter<T>>)>,
    moving: Moving,
    /// Letters in the mover's hand: 0 or 1.
    in_hand: usize,
    /// How long one that found its target full is left alone.
    pause: Duration,
    /// The place of the next letter.
    next_place: u64,
    /// A version of the bindings, and the first place whose letter was not found unroutable under it: those before are not looked at again.
    barred: (u64, u64),
    /// Letters dropped to make room.
    pub dropped_oldest: u64,
    /// Letters dropped because of their age.
    pub dropped_by_age: u64,
    /// Letters dropped by `purge`.
    pub purged: u64,
    /// Letters published again.
    pub redriven: u64,
    /// Letters that moved on to another queue.
    pub moved: u64,
    /// Letters that were found to have no way on, or more than one.
    pub unroutable: u64,
}

impl<T> DeadLetters<T> {
    /// An empty dead-letter queue.
    pub fn new(config: DeadLetterConfig) -> Self {
        DeadLetters {
            config,
            letters: BTreeMap::new(),
            held: BTreeMap::new(),
            moving: Moving::No,
            in_hand: 0,
            pause: Duration::ZERO,
            next_place: 1,
            barred: (0, 0),
            dropped_oldest: 0,
            dropped_by_age: 0,
            purged: 0,
            redriven: 0,
            moved: 0,
            unroutable: 0,
        }
    }

    /// How many letters there are, without those that are held.
    pub fn len(&self) -> usize {
        self.letters.len() + self.in_hand
    }

    /// How many are held for want of room.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// True when another letter would have to be held.
    pub fn is_full(&self) -> bool {
        self.len() >= self.config.capacity as usize
    }

    /// Takes a letter in.
    pub fn store(&mut self, letter: DeadLetter<T>, now: Timestamp) -> Stored<T> {
        let full = self.is_full();
        if full && self.config.overflow == DeadLetterOverflow::Hold {
            return Stored::NoRoom(letter);
        }
        let place = self.next_place;
        self.next_place += 1;
        self.put(place, letter, now);
        self.dropped_oldest += u64::from(full);
        // (with no room but for those in hand or lent, the new one goes)
        Stored::Kept { evicted: if full { self.pop() } else { None } }
    }

    /// A letter has its place from `now` on.
    fn put(&mut self, place: u64, letter: DeadLetter<T>, now: Timestamp) {
        // ages do not grow along the line, also of a clock that steps back, or of one that was lent while it was held: the first is the oldest
        let before = self.letters.range(..place).next_back().map_or(now, |(_, before)| before.since.max(now));
        let since = self.letters.range(place..).next().map_or(before, |(_, behind)| behind.since.min(before));
        self.insert(place, Place { since, letter: Some(letter), unroutable: None });
    }

    fn insert(&mut self, place: u64, kept: Place<T>) {
        self.letters.insert(place, kept);
        self.barred.1 = self.barred.1.min(place);
    }

    /// A letter waits for room, and keeps its slot.
    pub fn hold(&mut self, slot: u32, letter: DeadLetter<T>) {
        self.held.insert(self.next_place, (slot, Some(letter)));
        self.next_place += 1;
    }

    /// The slot of the one that has been held for longest and is not lent.
    pub fn first_held(&self) -> Option<u32> {
        self.held.values().find(|(_, letter)| letter.is_some()).map(|(slot, _)| *slot)
    }

    /// Takes out the one that has been held for longest and is not lent, if there is room for it now.
    pub fn next_held(&mut self) -> Option<Held<T>> {
        if self.is_full() { None } else { self.pop_held() }
    }

    /// Takes out the one that has been held for longest and is not lent, whether there is room or not.
    pub fn pop_held(&mut self) -> Option<Held<T>> {
        let place = self.held.iter().find(|(_, (_, letter))| letter.is_some()).map(|(place, _)| *place)?;
        self.take_held(place)
    }

    /// Takes out what is held in this place, if it is there.
    pub fn take_held(&mut self, place: u64) -> Option<Held<T>> {
        let letter = self.held.get_mut(&place)?.1.take()?;
        let (slot, _) = self.held.remove(&place)?;
        Some(Held { place, slot, letter })
    }

    /// One that was held is a letter like the others from `now` on, in its place.
    pub fn move_in(&mut self, held: Held<T>, now: Timestamp) {
        debug_assert!(!self.is_full(), "`next_held` says that there is room");
        self.put(held.place, held.letter, now);
    }

    /// The letters, oldest first, those that are held at the end.
    pub fn iter(&self) -> impl Iterator<Item = &DeadLetter<T>> {
        self.places().map(|(_, letter)| letter)
    }

    fn places(&self) -> impl Iterator<Item = (u64, &DeadLetter<T>)> {
        let stored = self.letters.iter().map(|(place, kept)| (*place, &kept.letter));
        let held = self.held.iter().map(|(place, (_, letter))| (*place, letter));
        stored.chain(held).filter_map(|(place, letter)| Some((place, letter.as_ref()?)))
    }

    /// Where the letter of `job` is, or the oldest.
    pub fn find(&self, job: Option<JobId>) -> Option<u64> {
        self.places().find(|(_, letter)| job.is_none_or(|job| letter.job == job)).map(|(place, _)| place)
    }

    /// The letter in this place, if it is there and not held.
    pub fn at(&self, place: u64) -> Option<&DeadLetter<T>> {
        self.letters.get(&place)?.letter.as_ref()
    }

    /// Takes out the letter in this place, if it is there and not held.
    pub fn take_at(&mut self, place: u64) -> Option<DeadLetter<T>> {
        self.at(place)?;
        self.letters.remove(&place)?.letter
    }

    /// Takes out the oldest letter that is not held.
    fn pop(&mut self) -> Option<DeadLetter<T>> {
        let oldest = self.letters.iter().find(|(_, place)| place.letter.is_some()).map(|(place, _)| *place)?;
        self.take_at(oldest)
    }

    /// The place of the next letter that comes.
    pub fn next_place(&self) -> u64 {
        self.next_place
    }

    /// Lends the first letter behind the place `after` and before `until`, and says where it is.
    pub fn lend(&mut self, after: u64, until: u64) -> Option<(u64, DeadLetter<T>)> {
        let range = (Excluded(after), Excluded(until.max(after + 1)));
        let mut stored = self.letters.range_mut(range).map(|(place, kept)| (*place, &mut kept.letter));
        let mut held = self.held.range_mut(range).map(|(place, (_, letter))| (*place, letter));
        let (stored, held) = (stored.find(|(_, letter)| letter.is_some()), held.find(|(_, letter)| letter.is_some()));
        let (place, letter) = stored.into_iter().chain(held).min_by_key(|(place, _)| *place)?;
        Some((place, letter.take()?))
    }

    /// A letter that was lent is back. True if it is held: there may be room for it by now.
    pub fn give_back(&mut self, place: u64, letter: DeadLetter<T>) -> bool {
        let (home, held) = match (self.letters.get_mut(&place), self.held.get_mut(&place)) {
            (Some(kept), _) => (&mut kept.letter, false),
            (None, Some((_, home))) => (home, true),
            (None, None) => unreachable!("nobody takes a place whose letter is lent"),
        };
        *home = Some(letter);
        held
    }

    /// True when no letter waits for a time or for a way.
    pub fn rests(&self) -> bool {
        self.letters.is_empty() || !self.config.moves_on() && self.config.retention.is_none()
    }

    /// True when a letter has reached its age: to be dropped, or to move on.
    pub fn has_aged(&self, now: Timestamp) -> bool {
        let aged = |place: &Place<T>| self.config.retention.is_some_and(|age| place.since + age <= now);
        self.letters.values().find(|place| place.letter.is_some()).is_some_and(aged)
    }

    /// True when a letter has reached its age, and nobody moves letters on: whoever does so may be the caller, in a binding's predicate, and is not to be kept at it.
    pub fn may_retire(&self, now: Timestamp) -> bool {
        self.moving == Moving::No && self.has_aged(now)
    }

    /// Takes out the letters that have reached their age and do not move on then, to be dropped outside the lock.
    pub fn retire(&mut self, now: Timestamp) -> Vec<DeadLetter<T>> {
        let mut old = Vec::new();
        while !self.config.moves_on() && self.has_aged(now) {
            self.dropped_by_age += 1;
            old.extend(self.pop());
        }
        old
    }

    // ---- moving on ----

    /// True when letters do not stay for any time.
    pub fn moves_on_at_once(&self) -> bool {
        self.config.moves_on_at_once()
    }

    /// True when letters move on that have been kept for a time.
    pub fn moves_on_aged(&self) -> bool {
        self.config.moves_on() && self.config.retention.is_some()
    }

    /// The first letter behind the place `after` that is to move on, by bindings of this `version`. Ages do not grow along the line: if it has not its own, none has.
    fn first_due(&mut self, after: u64, now: Timestamp, version: u64) -> Option<u64> {
        if !self.config.moves_on() {
            return None;
        }
        let is_barred = |kept: &Place<T>| kept.unroutable == Some(version);
        let (barred_by, first) = self.barred;
        let first = if barred_by == version { first } else { 0 };
        let first = self.letters.range(first..).find(|(_, kept)| !is_barred(kept)).map_or(self.next_place, |(place, _)| *place);
        self.barred = (version, first);
        let mut behind = self.letters.range(first.max(after + 1)..);
        let (place, kept) = behind.find(|(_, kept)| kept.letter.is_some() && !is_barred(kept))?;
        self.config.retention.is_none_or(|age| kept.since + age <= now).then_some(*place)
    }

    /// True when a letter would move on, by bindings of this `version`, and nobody is at it.
    pub fn has_due(&mut self, now: Timestamp, version: u64) -> bool {
        self.moving == Moving::No && self.first_due(0, now, version).is_some()
    }

    /// The caller goes through the letters from here on; unless somebody else does, who will see that there is more.
    pub fn begin_moving(&mut self) -> bool {
        let begins = self.moving == Moving::No;
        self.moving = if begins { Moving::Yes } else { Moving::Again };
        begins
    }

    /// The caller has gone through them. False when it has to do so again.
    pub fn end_moving(&mut self) -> bool {
        let ends = self.moving == Moving::Yes;
        self.moving = if ends { Moving::No } else { Moving::Yes };
        ends
    }

    /// Takes in hand the first letter behind the place `after` that is due.
    pub fn take_due(&mut self, after: u64, now: Timestamp, version: u64) -> Option<Kept<T>> {
        let place = self.first_due(after, now, version)?;
        let Place { since, letter, unroutable } = self.letters.remove(&place)?;
        let letter = letter?;
        self.in_hand = 1;
        Some(Kept { place, since, letter, unroutable })
    }

    /// The letter in hand found its target full: how long to leave it alone, longer each time in a row, between these two.
    pub fn pause(&mut self, least: Duration, most: Duration) -> Duration {
        self.pause = (2 * self.pause).clamp(least, most);
        self.pause
    }

    /// The letter in hand goes back to its place.
    pub fn put_back(&mut self, kept: Kept<T>) {
        self.in_hand = 0;
        let Kept { place, since, letter, unroutable } = kept;
        self.insert(place, Place { since, letter: Some(letter), unroutable });
    }

    /// The letter in hand has moved on, or was dropped.
    pub fn has_moved(&mut self) {
        self.in_hand = 0;
        self.pause = Duration::ZERO;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::dead_letter::DeathRecord;
    use crate::key::{Key, OrderKey};
    use crate::rng::Rng;

    fn letter(number: u64) -> DeadLetter<u64> {
        let record = DeathRecord {
            deaths: Vec::new(),
            last_error: None,
            failures: 0,
            expiries: 0,
            snoozes: 0,
            published: Timestamp::ZERO,
            routing_key: None,
        };
        let (key, order) = (Key::NONE, OrderKey::NONE);
        DeadLetter { payload: number, job: JobId(number), lane: 0, visibility: None, fencing: 0, key, order, came_by: None, record }
    }

    /// What a walk over all letters finds.
    fn first_due(dead: &DeadLetters<u64>, after: u64, now: Timestamp, version: u64) -> Option<u64> {
        let due = |kept: &Place<u64>| {
            let aged = dead.config.retention.is_none_or(|age| kept.since + age <= now);
            kept.letter.is_some() && kept.unroutable != Some(version) && aged
        };
        dead.letters.range(after + 1..).find(|(_, kept)| due(kept)).map(|(place, _)| *place)
    }

    #[test]
    fn what_is_due_is_found_as_by_a_walk_over_all() {
        for seed in 0..300 {
            let mut rng = Rng::new(seed);
            let mut below = |bound: u64| rng.up_to(bound - 1);
            let config = DeadLetterConfig::new().capacity(8).exchange("x");
            let mut dead = DeadLetters::new(if seed % 3 == 0 { config.retention(Duration::from_secs(5)) } else { config });
            let (mut now, mut version, mut lent, mut after) = (Timestamp::ZERO, 0, Vec::new(), 0);
            for number in 0..400 {
                match below(12) {
                    0..4 => match dead.store(letter(number), now) {
                        Stored::Kept { .. } => {}
                        Stored::NoRoom(letter) => dead.hold(0, letter),
                    },
                    4 => version += below(2),
                    5 => now = now + Duration::from_secs(below(4)),
                    6 => lent.extend(dead.lend(below(number + 1), u64::MAX)),
                    7 if !lent.is_empty() => {
                        let (place, letter) = lent.swap_remove(below(lent.len() as u64) as usize);
                        dead.give_back(place, letter);
                    }
                    8 => drop(dead.find(None).and_then(|place| dead.take_at(place))),
                    9 => {
                        if let Some(held) = dead.next_held() {
                            dead.move_in(held, now);
                        }
                    }
                    _ => {
                        let expected = first_due(&dead, after, now, version);
                        let taken = dead.take_due(after, now, version);
                        assert_eq!(taken.as_ref().map(|kept| kept.place), expected, "seed {seed}, step {number}");
                        after = expected.unwrap_or(0);
                        match taken {
                            Some(kept) if below(3) > 0 => dead.put_back(Kept { unroutable: Some(version), ..kept }),
                            Some(kept) if below(2) > 0 => dead.put_back(kept),
                            Some(_) => dead.has_moved(),
                            None => {}
                        }
                    }
                }
                let expected = first_due(&dead, 0, now, version).is_some();
                assert_eq!(dead.has_due(now, version), expected, "seed {seed}, step {number}");
            }
        }
    }
}
