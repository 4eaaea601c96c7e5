//! A round through the dead letters, one by one and under no lock.

use super::Queue;
use crate::clock::Timestamp;
use crate::dead_letter::DeadLetter;
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
    /// There, until it is given back.
    letter: Option<DeadLetter<T>>,
}

impl<T> Queue<T> {
    /// A round through the dead letters that are there now.
    pub fn round(&self) -> Round<'_, T> {
        Round { queue: self, after: 0, until: self.dead.lock().next_place() }
    }
}

impl<'a, T> Round<'a, T> {
    /// The next letter. Those that go by their age until `now` are not found.
    pub fn next(&mut self, now: Timestamp) -> Option<Lent<'a, T>> {
        self.queue.retire_aged(now);
        let (place, letter) = self.queue.dead.lock().lend(self.after, self.until)?;
        self.after = place;
        Some(Lent { queue: self.queue, place, letter: Some(letter) })
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
            self.queue.dead.lock().give_back(self.place, letter);
        }
    }
}

impl<T> fmt::Debug for Lent<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").field("place", &self.place).field("letter", &self.letter).finish_non_exhaustive()
    }
}
