//! The entries of some lines, behind one lock.

use super::line::{Home, Hook, Lines};
use super::rules::Rules;
use crate::id::JobId;
use crate::key::Key;
use crate::sync::prefetch_for_write;
use std::collections::VecDeque;

/// A taken key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// [`Key::NONE`]: the entry is free.
    key: Key,
    pub(super) job: JobId,
    /// Until when, in nanoseconds.
    pub(super) until: u64,
    /// Where the job is, if that was said.
    pub(super) slot: Option<u32>,
    /// Of a free entry: the next free one, as in the list of a line.
    hook: Hook,
}

impl Entry {
    pub(super) fn new(key: Key, job: JobId, until: u64) -> Self {
        Entry { key, job, until, slot: None, hook: Hook::List(0) }
    }
}

/// Entries, and when their windows end.
#[derive(Debug)]
pub(super) struct Shard {
    entries: Vec<Entry>,
    /// One more than the index of the first free entry; 0: there is none.
    free: u32,
    /// How many keys may be entered here before the pool is asked for more.
    pub(super) room: usize,
    /// When windows end, and whose: about in order, as the publishers' clocks are.
    ends: VecDeque<(u64, u32)>,
}

impl Shard {
    /// A shard for a part of `bound` keys, one in `shards`. It takes more than its part: keys are spread by chance.
    pub(super) fn new(bound: usize, shards: usize) -> Self {
        let part = bound.div_ceil(shards);
        // more than six standard deviations above the mean: that one of the shards grows is less likely than that the machine fails
        let most = (part + 6 * part.isqrt() + 16).min(bound);
        Shard { entries: Vec::with_capacity(most), free: 0, room: 0, ends: VecDeque::new() }
    }

    /// The entry of `key`.
    #[inline]
    pub(super) fn find(&self, home: Home<'_>, key: Key) -> Option<u32> {
        let next = |at: u32| match self.entries[at as usize].hook {
            Hook::List(next) => next,
            Hook::Word(_) => 0,
        };
        home.find(|at| self.entries[at as usize].key == key, next)
    }

    /// True when the entry there is that of `key`.
    #[inline]
    pub(super) fn has(&self, at: u32, key: Key) -> bool {
        self.entries.get(at as usize).is_some_and(|entry| entry.key == key)
    }

    #[inline]
    pub(super) fn entry(&self, at: u32) -> &Entry {
        &self.entries[at as usize]
    }

    #[inline]
    pub(super) fn entry_mut(&mut self, at: u32) -> &mut Entry {
        &mut self.entries[at as usize]
    }

    /// Enters a key that is not here.
    #[inline]
    pub(super) fn enter(&mut self, home: Home<'_>, mut entry: Entry) -> u32 {
        match self.free.checked_sub(1) {
            Some(at) => {
                let place = &mut self.entries[at as usize];
                if let Hook::List(next) = place.hook {
                    self.free = next;
                }
                entry.hook = home.hang(at);
                *place = entry;
                // the next one may have been free for long: it is here when the next key comes
                if let Some(next) = self.entries.get((self.free as usize).wrapping_sub(1)) {
                    prefetch_for_write(next);
                }
                at
            }
            None => {
                let at = self.entries.len() as u32;
                entry.hook = home.hang(at);
                self.entries.push(entry);
                at
            }
        }
    }

    /// Drops an entry. `home` is its key's.
    #[inline]
    pub(super) fn leave<R: Rules>(&mut self, home: Home<'_>, at: u32) {
        match self.entries[at as usize].hook {
            Hook::Word(word) => {
                home.clear_word(word);
                if !R::STAYS_PUT {
                    self.fill_word(home);
                }
            }
            Hook::List(next) => self.unlist(home, at, next),
        }
        self.entries[at as usize] = Entry { hook: Hook::List(self.free), ..Entry::new(Key::NONE, JobId(0), 0) };
        self.free = at + 1;
    }

    /// Takes the entry, which the one `next` follows, out of its line's list.
    #[cold]
    fn unlist(&mut self, home: Home<'_>, at: u32, next: u32) {
        let mut before = home.list();
        if before == at + 1 {
            return home.set_list(next);
        }
        while let Some(entry) = before.checked_sub(1).map(|before| &mut self.entries[before as usize])
            && let Hook::List(follower) = entry.hook
        {
            if follower == at + 1 {
                entry.hook = Hook::List(next);
                return;
            }
            before = follower;
        }
        unreachable!("an entry that hangs on no word is in the list of its line");
    }

    /// Moves the first of the list to the word that has become free: what a table must not do.
    fn fill_word(&mut self, home: Home<'_>) {
        if let Some(first) = home.list().checked_sub(1)
            && let Hook::List(next) = self.entries[first as usize].hook
        {
            self.entries[first as usize].hook = home.hang(first);
            home.set_list(next);
        }
    }

    /// The window of the entry ends then.
    pub(super) fn push_end(&mut self, until: u64, at: u32) {
        self.ends.push_back((until, at));
    }

    /// The window of the entry needs no end any more. It was pushed a moment ago.
    pub(super) fn drop_end(&mut self, until: u64, at: u32) {
        if let Some(record) = self.ends.iter().rposition(|record| *record == (until, at)) {
            self.ends.remove(record);
        }
    }

    /// Clears away up to `most` windows that have ended. Says how many keys are free now.
    pub(super) fn clear<R: Rules>(&mut self, lines: &Lines, now: u64, most: usize) -> usize {
        let mut freed = 0;
        for _ in 0..most {
            let Some(&(until, at)) = self.ends.front().filter(|(until, _)| *until <= now) else { break };
            self.ends.pop_front();
            // the key may have been claimed anew since, or forgotten; and if another one has the entry, its window ends at the same time
            let entry = self.entries[at as usize];
            if entry.key.is_some() && entry.until == until {
                self.leave::<R>(lines.home(entry.key), at);
                freed += 1;
            }
        }
        freed
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_shard_has_room_for_six_deviations_more_than_its_part_and_for_no_more_than_all() {
        assert!(Shard::new(6_400, 64).entries.capacity() >= 100 + 6 * 10 + 16);
        assert!(Shard::new(5, 64).entries.capacity() < 10);
    }
}
