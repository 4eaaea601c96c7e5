//! Those who wait for a slot: first come, first served. A slot of a reserve is for the first of its lane.

use super::{Queue, Slot, Slots, Wrong};
use std::collections::{BTreeSet, VecDeque};

/// One who waits for a slot for a job in that lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    pub number: u64,
    pub lane: usize,
}

/// Those who wait, in the order in which they came, and those who have been given a slot and have not looked.
#[derive(Debug, Clone, Default)]
pub struct Line {
    waiting: VecDeque<Wait>,
    granted: Vec<Wait>,
    /// So many of the slots that were given are of the reserve.
    of_reserve: usize,
    /// One has left whose slot may have been of the reserve, and counts there still.
    unsure: bool,
}

impl Line {
    pub fn granted_of(&self, slot: Slot) -> usize {
        if slot == Slot::Reserve { self.of_reserve } else { self.granted.len() - self.of_reserve }
    }
}

/// How those who wait may be served: the line after it, and what is free then: of what all share, and of the reserve.
#[derive(Debug, Clone)]
struct Service {
    line: Line,
    free: [usize; 2],
}

impl Queue {
    /// Somebody finds no slot, and waits.
    pub fn join_line(&mut self, number: u64, lane: usize) {
        self.line.waiting.push_back(Wait { number, lane });
    }

    /// Whatever is free by now is for those who wait. In which order it became free nobody says: in one after which those who are `told` have been served and nobody else, and so
    /// much is `left` of the reserve.
    pub fn serve(&mut self, told: &BTreeSet<u64>, left: usize) {
        if !self.line.waiting.is_empty() || self.line.unsure {
            self.serve_in_some_order(told, left);
        }
        self.was_free = self.free(Slot::Shared);
    }

    fn serve_in_some_order(&mut self, told: &BTreeSet<u64>, left: usize) {
        let mut ways = Vec::new();
        for line in self.lines() {
            if let [Some(shared), Some(reserve)] = [Slot::Shared, Slot::Reserve].map(|slot| self.free_beside(&line, slot)) {
                self.serve_in_any_order(Service { line, free: [shared, reserve] }, &mut ways);
            }
        }
        let is_told = |wait: &Wait| told.contains(&wait.number);
        let tells = |line: &Line| line.granted.iter().all(is_told) && !line.waiting.iter().any(is_told);
        let fits = |way: &&Service| way.free[1] == left && tells(&way.line);
        let Some(way) = ways.iter().find(fits) else {
            panic!("{told:?} are served in `{}`, and {left} slots of the reserve are left: {:?} of {:?}", self.rules.name, self.line, ways)
        };
        self.line = Line { unsure: false, ..way.line.clone() };
    }

    /// The line; or, if somebody has left whose slot may have been of either kind, what it may be.
    fn lines(&self) -> Vec<Line> {
        let line = self.line.clone();
        let own = line.granted.iter().filter(|wait| self.may_have(wait.lane, Slot::Reserve)).count();
        let without = Line { of_reserve: line.of_reserve.saturating_sub(1), ..line.clone() };
        let possible = if line.unsure { vec![line, without] } else { vec![line] };
        possible.into_iter().filter(|line| line.of_reserve <= own).collect()
    }

    fn serve_in_any_order(&self, service: Service, ways: &mut Vec<Service>) {
        let mut is_over = true;
        for (at, slot) in [Slot::Shared, Slot::Reserve].into_iter().enumerate() {
            let mut next = service.clone();
            if next.free[at] > 0 && self.serve_next(&mut next.line, slot) {
                next.free[at] -= 1;
                is_over = false;
                self.serve_in_any_order(next, ways);
            }
        }
        if is_over {
            ways.push(service);
        }
    }

    /// A slot is for the first who may have it. False when nobody may.
    fn serve_next(&self, line: &mut Line, slot: Slot) -> bool {
        let mut may_have = (0..line.waiting.len()).filter(|&at| self.may_have(line.waiting[at].lane, slot));
        let last = self.wrong == Some(Wrong::LastComeFirst);
        let Some(next) = (if last { may_have.next_back() } else { may_have.next() }) else { return false };
        line.granted.extend(line.waiting.remove(next));
        line.of_reserve += usize::from(slot == Slot::Reserve);
        true
    }

    /// Somebody waits who is given such a slot if one becomes free.
    pub fn is_awaited(&self, slot: Slot) -> bool {
        self.line.waiting.iter().any(|wait| self.may_have(wait.lane, slot))
    }

    /// Slots that somebody was given and has not looked at.
    pub fn granted(&self) -> usize {
        self.line.granted.len()
    }

    /// Nobody gets a slot any more who was not given one before.
    pub fn close_line(&mut self) {
        self.turned_away.extend(self.line.waiting.drain(..).map(|wait| wait.number));
    }

    /// What has come of a wait, if something has: true for a slot.
    pub fn has_come_to(&self, waiter: u64) -> Option<bool> {
        let has_slot = self.line.granted.iter().any(|wait| wait.number == waiter);
        (has_slot || self.turned_away.contains(&waiter)).then_some(has_slot)
    }

    /// Whoever waits has looked, and takes what there is: one of these slots. Or gives up: a slot that it does not use is free again.
    pub fn leave_line(&mut self, waiter: u64) -> Slots {
        self.turned_away.retain(|other| *other != waiter);
        self.line.waiting.retain(|wait| wait.number != waiter);
        let Some(at) = self.line.granted.iter().position(|wait| wait.number == waiter) else { return &[] };
        let own = self.line.granted.iter().filter(|wait| self.may_have(wait.lane, Slot::Reserve)).count();
        let Wait { lane, .. } = self.line.granted.remove(at);
        match self.line.of_reserve {
            0 => super::SHARED,
            _ if !self.may_have(lane, Slot::Reserve) => super::SHARED,
            all if all == own => {
                self.line.of_reserve -= 1;
                super::RESERVE
            }
            _ => {
                self.line.unsure = true;
                super::EITHER
            }
        }
    }

    /// As [`leave_line`](Self::leave_line), of one who has not looked.
    pub fn give_up(&mut self, waiter: u64) {
        if self.wrong != Some(Wrong::LeaverKeeps) || self.has_come_to(waiter) != Some(true) {
            self.leave_line(waiter);
        }
    }
}
