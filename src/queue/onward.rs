//! Dead letters move on: to another queue, as jobs.
//!
//! A letter is in one place at any time. Whoever moves it has it in hand while it looks for the way and for a slot there, holds no lock meanwhile, and then either
//! fills the slot, which cannot fail, or puts the letter back where it was. So queues that send letters to each other never wait for each other's locks, and a target that is
//! full, closed or shutting down leaves the letter at its source. A dead letter has no holders: it became one when the last of them had left (see `end`).
//!
//! Letters are moved by the thread that ended the job, once its act is done. What cannot go then is tried again by whoever does the queue's chores: after a tick, two ticks and
//! so on up to a sweep where the target was full, at a sweep otherwise.

use super::bent::{Bend, is_bent};
use super::{Aftermath, Chore, House, Queue};
use crate::clock::Timestamp;
use crate::config::Overflow;
use crate::dead_letter::{DeadLetter, DeathReason, Kept, add_death};
use crate::dedupe::Name;
use crate::error::Refusal;
use crate::id::JobId;
use crate::ledger::Count;
use crate::slab::Epoch;
use crate::sync::atomic::Ordering::Relaxed;
use std::fmt;
use std::sync::Arc;

/// The way of dead letters to another queue.
pub trait Onward<T>: Send + Sync {
    /// Changes when a letter that had no way may have one.
    fn version(&self) -> u64;
    /// Where a letter goes; `None`: nowhere, or to more than one queue.
    fn way(&self, letter: &DeadLetter<T>) -> Option<Way<T>>;
}

/// Where a letter goes.
pub struct Way<T> {
    /// The queue.
    pub queue: Arc<Queue<T>>,
    /// The lane; `None`: the one it had.
    pub lane: Option<usize>,
    /// The routing key that it goes by.
    pub key: Option<Arc<str>>,
}

impl<T> fmt::Debug for Way<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").field("queue", &self.queue.settings.name).field("lane", &self.lane).field("key", &self.key).finish()
    }
}

impl<T> Queue<T> {
    /// Dead letters go this way from here on; `None`: they stay.
    pub fn set_onward(&self, onward: Option<Arc<dyn Onward<T>>>) {
        let before = std::mem::replace(&mut *self.onward.lock(), onward);
        // it may hold other queues
        drop(before);
    }

    /// True when a letter waits to move on and nobody is at it.
    pub(super) fn has_letters_to_move(&self, now: Timestamp) -> bool {
        if !self.moves_on {
            return false;
        }
        let onward = self.onward.lock().clone();
        onward.is_some_and(|onward| self.dead.lock().has_due(now, onward.version()))
    }

    /// Moves on whatever letters are due and find room. Not to be called with any lock.
    #[cold]
    pub(super) fn move_letters(&self, now: Timestamp) {
        if !self.moves_on {
            return;
        }
        let Some(onward) = self.onward.lock().clone() else { return };
        if !self.dead.lock().begin_moving() {
            return;
        }
        loop {
            self.move_each(&*onward, now);
            if self.dead.lock().end_moving() || is_bent(Bend::MovesOnce) {
                return;
            }
        }
    }

    /// One pass, oldest first, until one finds its target full.
    fn move_each(&self, onward: &dyn Onward<T>, now: Timestamp) {
        let (mut after, version) = (0, onward.version());
        loop {
            // (a statement of its own: the lock is not to be held below)
            let due = self.dead.lock().take_due(after, now, version);
            let Some(kept) = due else { return };
            if is_bent(Bend::HandUncounted) {
                self.dead.lock().has_moved();
            }
            after = kept.place;
            let Some(way) = onward.way(&kept.letter) else {
                self.stays(kept, version, now);
                continue;
            };
            let Kept { place, since, letter, unroutable } = kept;
            let aged = self.dead.lock().moves_on_aged().then_some(&self.settings.name);
            match way.queue.take_in(letter, way.lane, way.key, aged, now) {
                Ok(()) => {
                    {
                        let mut dead = self.dead.lock();
                        dead.has_moved();
                        dead.moved += 1;
                    }
                    self.settle_held(now);
                }
                Err((letter, refusal)) => {
                    let mut dead = self.dead.lock();
                    dead.put_back(Kept { place, since, letter, unroutable });
                    if !matches!(refusal, Refusal::Duplicate { .. } | Refusal::TooManyKeys { .. }) {
                        let again = now + dead.pause(self.settings.tick, self.sweep_every());
                        drop(dead);
                        if refusal != Refusal::Closed {
                            // relaxed: see `retry_letters`
                            self.letters_again.store(again.as_nanos(), Relaxed);
                            self.wake_timer(again.as_nanos());
                        }
                        return;
                    }
                }
            }
        }
    }

    /// A letter has no way on. Without a retention it stays, until it has one; otherwise it has reached its age, and goes.
    fn stays(&self, kept: Kept<T>, version: u64, now: Timestamp) {
        let mut dead = self.dead.lock();
        dead.unroutable += u64::from(kept.unroutable.is_none());
        if dead.moves_on_at_once() {
            dead.put_back(Kept { unroutable: Some(version), ..kept });
            return;
        }
        dead.has_moved();
        dead.dropped_by_age += 1;
        drop(dead);
        Aftermath::Evicted(kept.letter).run(self);
        self.settle_held(now);
    }

    /// Takes in a dead letter of another queue, or of this one, as a job; `by` is the key it goes by, if that is not the one it came by. If it was `aged` it has died of
    /// that, too, in that queue.
    ///
    /// # Errors
    /// The letter, unchanged, and why.
    #[allow(clippy::result_large_err, reason = "the letter comes back")]
    fn take_in(
        &self,
        mut letter: DeadLetter<T>,
        lane: Option<usize>,
        by: Option<Arc<str>>,
        aged: Option<&Arc<str>>,
        now: Timestamp,
    ) -> Result<(), (DeadLetter<T>, Refusal)> {
        if self.is_closed() {
            return Err((letter, Refusal::Closed));
        }
        let lane = lane.unwrap_or(letter.lane).min(self.lanes.len() - 1);
        let mut left = Vec::new();
        let taken = {
            let house = self.house.lock();
            match self.slot_for_letter(&house, lane, now, &mut left) {
                None => Err((letter, Refusal::Full { retry_after: None })),
                Some(index) => {
                    let name = Name::unclaimed(letter.key, JobId(self.reserve_ids(1)));
                    match self.name_again(name, now) {
                        Err(refusal) => {
                            self.credits.release(&self.slab, &house.accounts, index);
                            Err((letter, refusal))
                        }
                        Ok(name) => {
                            letter.lane = lane;
                            if let Some(source) = aged {
                                add_death(&mut letter.record.deaths, source, DeathReason::Aged, now, letter.came_by.as_ref());
                            }
                            letter.came_by = by.or(letter.came_by);
                            let expires = self.retention.map_or(Timestamp::MAX, |age| now + age);
                            self.revive(&house, index, name, letter, expires, now);
                            Ok(())
                        }
                    }
                }
            }
        };
        for aftermath in left {
            let (rest, letters) = aftermath.without_letters();
            if letters {
                // not here: that queue may evict another in its turn
                self.add_chore(Chore::RetireLetters(now));
            }
            rest.run(self);
        }
        if taken.is_ok() {
            self.revived();
        }
        taken
    }

    /// A slot; of a full queue that drops its oldest, that one's.
    fn slot_for_letter(&self, house: &House, lane: usize, now: Timestamp, left: &mut Vec<Aftermath<T>>) -> Option<u32> {
        let free = || self.credits.acquire(&self.slab, &house.accounts, lane);
        if let Some(index) = free() {
            return Some(index);
        }
        if self.settings.overflow != Overflow::DropOldest || self.would_hold() {
            return None;
        }
        // as many tries as a publish has
        (0..=self.lanes.len()).find_map(|_| {
            left.push(self.evict_for(lane, &house.accounts, &house.block, now)?);
            free()
        })
    }

    /// A dead letter is a job again, in a slot of its own. [`revived`](Self::revived) has to follow, when no lock is held. The caller owns `index`.
    pub(super) fn revive(&self, house: &House, index: u32, name: Name, letter: DeadLetter<T>, expires: Timestamp, now: Timestamp) {
        let DeadLetter { payload, lane, visibility, fencing, order, came_by, record, .. } = letter;
        self.set_name(index, name);
        self.slab.slot(index).describe(name.job, now, expires);
        if let Some(visibility) = visibility {
            self.set_visibility(index, visibility);
        }
        // SAFETY: `index` is a credit in hand: the slot is free and nobody else may touch it
        unsafe { self.slab.write(index, payload) };
        self.histories.restore(index, name.job, record, came_by);
        self.slab.state(index).fill_beyond(lane as u8, Epoch::from_raw(fencing));
        self.watch_time_to_live(index);
        self.line_up(index, lane, order);
        house.block.bump(Count::Accepted);
    }

    /// A letter was revived: rings for it, and takes it back if the queue has stopped meanwhile.
    pub(super) fn revived(&self) {
        self.ring_bell(1);
        if self.met_the_stop() {
            self.recall_all();
        }
    }
}
