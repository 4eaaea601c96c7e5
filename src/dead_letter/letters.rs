//! The bounded queue of the dead.

use super::record::DeadLetter;
use crate::clock::Timestamp;
use crate::config::{DeadLetterConfig, DeadLetterOverflow};
use crate::id::JobId;
use std::collections::VecDeque;
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
    number: u64,
    since: Timestamp,
    /// `None` while it is lent.
    letter: Option<DeadLetter<T>>,
    unroutable: Option<u64>,
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

/// The bounded queue of the dead, and the slots that wait for room in it. Passive: time is an argument, payloads are returned, never dropped.
///
/// # Moving on
/// One thread at a time goes through the letters that are due ([`begin_moving`](Self::begin_moving)). It takes one [in hand](Self::take_due), without any lock looks for
/// its way and a slot there, and then has [moved](Self::has_moved) it or [puts it back](Self::put_back) where it was. A letter in hand counts: to put it back cannot fail
/// for want of room.
///
/// # Looking
/// Any number of threads go through the letters to show them to user code, which runs under no lock: each is [lent](Self::lend) and [given back](Self::give_back). Its place stays meanwhile, so
/// it counts, and that costs no more than to find it; but nothing else finds the letter.
#[derive(Debug)]
pub struct DeadLetters<T> {
    config: DeadLetterConfig,
    letters: VecDeque<Place<T>>,
    /// Slots of dead jobs that wait for room, oldest first.
    held: VecDeque<u32>,
    moving: Moving,
    /// Letters in the mover's hand: 0 or 1.
    in_hand: usize,
    /// How long one that found its target full is left alone.
    pause: Duration,
    /// The place of the next letter.
    next_place: u64,
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
            letters: VecDeque::new(),
            held: VecDeque::new(),
            moving: Moving::No,
            in_hand: 0,
            pause: Duration::ZERO,
            next_place: 1,
            dropped_oldest: 0,
            dropped_by_age: 0,
            purged: 0,
            redriven: 0,
            moved: 0,
            unroutable: 0,
        }
    }

    /// How many letters there are.
    pub fn len(&self) -> usize {
        self.letters.len() + self.in_hand
    }

    /// How many there are, those included that are held for want of room.
    pub fn len_with_held(&self) -> usize {
        self.len() + self.held.len()
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
        // ages do not grow along the line, also of a clock that steps back: the first is the oldest
        let since = self.letters.back().map_or(now, |last| last.since.max(now));
        self.letters.push_back(Place { number: self.next_place, since, letter: Some(letter), unroutable: None });
        self.next_place += 1;
        self.dropped_oldest += u64::from(full);
        // (with no room but for those in hand or lent, the new one goes)
        Stored::Kept { evicted: if full { self.pop() } else { None } }
    }

    /// Remembers a slot whose job waits for room.
    pub fn hold(&mut self, index: u32) {
        self.held.push_back(index);
    }

    /// The longest-waiting held slot.
    pub fn first_held(&self) -> Option<u32> {
        self.held.front().copied()
    }

    /// Takes out the longest-waiting held slot, if there is room for it now.
    pub fn next_held(&mut self) -> Option<u32> {
        if self.is_full() { None } else { self.held.pop_front() }
    }

    /// Takes out the longest-waiting held slot, whether there is room or not.
    pub fn pop_held(&mut self) -> Option<u32> {
        self.held.pop_front()
    }

    /// Every held slot, at shutdown.
    pub fn take_held(&mut self) -> VecDeque<u32> {
        std::mem::take(&mut self.held)
    }

    /// The letters, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &DeadLetter<T>> {
        self.letters.iter().filter_map(|place| place.letter.as_ref())
    }

    /// Takes out the letter of `job`.
    pub fn remove(&mut self, job: JobId) -> Option<DeadLetter<T>> {
        let at = self.letters.iter().position(|place| place.letter.as_ref().is_some_and(|letter| letter.job == job))?;
        self.letters.remove(at)?.letter
    }

    /// Takes out the oldest letter.
    pub fn pop(&mut self) -> Option<DeadLetter<T>> {
        let at = self.letters.iter().position(|place| place.letter.is_some())?;
        self.letters.remove(at)?.letter
    }

    /// The place of the next letter that comes.
    pub fn next_place(&self) -> u64 {
        self.next_place
    }

    /// Lends the first letter behind the place `after` and before `until`, and says where it is.
    pub fn lend(&mut self, after: u64, until: u64) -> Option<(u64, DeadLetter<T>)> {
        let from = self.letters.partition_point(|place| place.number <= after);
        let place = self.letters.range_mut(from..).take_while(|place| place.number < until).find(|place| place.letter.is_some())?;
        place.letter.take().map(|letter| (place.number, letter))
    }

    /// A letter that was lent is back.
    pub fn give_back(&mut self, place: u64, letter: DeadLetter<T>) {
        let at = self.letters.partition_point(|other| other.number < place);
        debug_assert!(self.letters[at].number == place && self.letters[at].letter.is_none(), "nobody takes a place whose letter is lent");
        self.letters[at].letter = Some(letter);
    }

    /// True when no letter waits for a time or for a way.
    pub fn rests(&self) -> bool {
        self.letters.is_empty() || !self.config.moves_on() && self.config.retention.is_none()
    }

    /// True when a letter has reached its age: to be dropped, or to move on.
    pub fn has_aged(&self, now: Timestamp) -> bool {
        let aged = |place: &Place<T>| self.config.retention.is_some_and(|age| place.since + age <= now);
        self.letters.iter().find(|place| place.letter.is_some()).is_some_and(aged)
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

    fn is_due(&self, kept: &Place<T>, now: Timestamp, version: u64) -> bool {
        let here = kept.letter.is_some();
        here && self.config.moves_on()
            && kept.unroutable != Some(version)
            && self.config.retention.is_none_or(|age| kept.since + age <= now)
    }

    /// True when a letter would move on, by bindings of this `version`, and nobody is at it.
    pub fn has_due(&self, now: Timestamp, version: u64) -> bool {
        self.moving == Moving::No && self.letters.iter().any(|kept| self.is_due(kept, now, version))
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
        let from = self.letters.partition_point(|place| place.number <= after);
        let at = from + self.letters.range(from..).position(|kept| self.is_due(kept, now, version))?;
        let Place { number: place, since, letter, unroutable } = self.letters.remove(at)?;
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
        let Kept { place: number, since, letter, unroutable } = kept;
        let at = self.letters.partition_point(|other| other.number < number);
        self.letters.insert(at, Place { number, since, letter: Some(letter), unroutable });
    }

    /// The letter in hand has moved on, or was dropped.
    pub fn has_moved(&mut self) {
        self.in_hand = 0;
        self.pause = Duration::ZERO;
    }
}
