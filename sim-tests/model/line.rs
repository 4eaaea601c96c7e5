//! Those who wait for a slot: first come, first served.

use super::{Queue, Wrong};

impl Queue {
    /// Somebody finds no slot, and waits.
    pub fn join_line(&mut self, waiter: u64) {
        self.line.push_back(waiter);
    }

    /// Whatever is free by now is for those who wait.
    pub fn serve(&mut self) {
        while !self.is_full() {
            let last = self.wrong == Some(Wrong::LastComeFirst);
            let Some(next) = (if last { self.line.pop_back() } else { self.line.pop_front() }) else { return };
            self.granted.push(next);
        }
    }

    pub fn is_waited_for(&self) -> bool {
        !self.line.is_empty()
    }

    /// Slots that somebody was given and has not looked at.
    pub fn granted(&self) -> usize {
        self.granted.len()
    }

    /// Nobody gets a slot any more who was not given one before.
    pub fn close_line(&mut self) {
        self.turned_away.extend(self.line.drain(..));
    }

    /// What has come of a wait, if something has: true for a slot.
    pub fn has_come_to(&self, waiter: u64) -> Option<bool> {
        let told = self.granted.contains(&waiter) || self.turned_away.contains(&waiter);
        told.then(|| self.granted.contains(&waiter))
    }

    /// Whoever waits has looked, and takes what there is; or gives up. A slot that it does not use is free again.
    pub fn leave_line(&mut self, waiter: u64) {
        self.line.retain(|other| *other != waiter);
        self.turned_away.retain(|other| *other != waiter);
        self.granted.retain(|other| *other != waiter);
    }

    /// As [`leave_line`](Self::leave_line), of one who has not looked.
    pub fn give_up(&mut self, waiter: u64) {
        if self.wrong != Some(Wrong::LeaverKeeps) || self.has_come_to(waiter) != Some(true) {
            self.leave_line(waiter);
        }
    }
}
