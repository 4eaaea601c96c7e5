//! A round through the dead letters, one by one and under no lock.

use super::Queue;
use crate::clock::Timestamp;
use crate::dead_letter::DeadLetter;
use crate::error::Refusal;
use crate::queue::bent::{Bend, is_bent};
use std::fmt;
use std::ops::Deref;

/// Goes through the letters that were there when it began, oldest first.
#[derive(Debug)]
pub struct Round<'a, T> {
    queue: &'a Queue<T>,
    /// The place of the last one that was lent.
    after: u64,
    /// The first place that is too new.
    until: u64,
}

/// A letter that somebody looks at. Its place is kept for it; nobody else finds it until this is dropped.
pub struct Lent<'a, T> {
    queue: &'a Queue<T>,
    place: u64,
    /// When.
    at: Timestamp,
    /// There, until it is given back.
    letter: Option<DeadLetter<T>>,
}

impl<T> Queue<T> {
    /// A round through the dead letters that are there now.
    pub fn round(&self) -> Round<'_, T> {
        Round { queue: self, after: 0, until: self.dead.lock().next_place() }
    }

    /// A letter that was lent is back. Runs user code: not to be called with any lock.
    fn give_back(&self, place: u64, letter: DeadLetter<T>, now: Timestamp) {
        let held = self.dead.lock().give_back(place, letter);
        if held && !is_bent(Bend::GivesBackBlindly) {
            // who made room, or recalled those that are held, has gone past it
            self.settle_held(now);
            if self.met_the_stop() {
                self.recall_all();
            }
        }
    }
}

impl<'a, T> Round<'a, T> {
    /// The next letter. Those that go by their age until `now` are not found.
    pub fn next(&mut self, now: Timestamp) -> Option<Lent<'a, T>> {
        self.queue.retire_aged(now);
        let (place, letter) = self.queue.dead.lock().lend(self.after, self.until)?;
        self.after = place;
        Some(Lent { queue: self.queue, place, at: now, letter: Some(letter) })
    }
}

impl<T> Lent<'_, T> {
    /// Gives it back, and publishes it again as [`Queue::redrive`] does. `Ok(false)`: somebody else took it in between.
    pub fn redrive(self, now: Timestamp) -> Result<bool, Refusal> {
        let (queue, place) = (self.queue, self.place);
        drop(self);
        queue.redrive_found(|_| Some(place), now)
    }
}

impl<T> Deref for Lent<'_, T> {
    type Target = DeadLetter<T>;

    fn deref(&self) -> &DeadLetter<T> {
        self.letter.as_ref().expect("it is there until it is given back")
    }
}

impl<T> Drop for Lent<'_, T> {
    fn drop(&mut self) {
        if let Some(letter) = self.letter.take() {
            self.queue.give_back(self.place, letter, self.at);
        }
    }
}

impl<T> fmt::Debug for Lent<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").field("place", &self.place).field("letter", &self.letter).finish_non_exhaustive()
    }
}
