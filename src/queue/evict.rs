//! A full queue makes room: an old job goes to the dead letters.

use super::{Accounts, Aftermath, Queue};
use crate::clock::Timestamp;
use crate::ledger::Block;
use crate::ring::{Pop, PopResult, Popped};
use crate::slab::{Dispose, Fate};

impl<T> Queue<T> {
    /// Ends the oldest waiting job of the lowest lane where that helps a publisher to `lane`. `None` when it would help nowhere.
    ///
    /// Only the head of a lane can be taken out without disturbing the order behind it, so a lane whose oldest job is of no help is left alone, and
    /// the next lane up is asked.
    pub(super) fn evict_for(&self, lane: usize, accounts: &Accounts, ledger: &Block, now: Timestamp) -> Option<Aftermath<T>> {
        let index = self.pop_victim(lane)?;
        let (epoch, name) = (self.slab.state(index).load().epoch(), self.name_of(index));
        Some(match self.slab.state(index).end_claimed(epoch, Fate::OverLength) {
            Dispose::Owner(word) => {
                self.count_fate(ledger, index, word.fate());
                self.end(accounts, ledger, index, word, now, false)
            }
            Dispose::Left(word) => {
                self.count_left(ledger, name, word.fate());
                Aftermath::Nothing
            }
            Dispose::Moved => Aftermath::Nothing,
        })
    }

    /// The index of such a job, in the caller's hand.
    fn pop_victim(&self, lane: usize) -> Option<u32> {
        let mut popped = Popped::new();
        // a slot that the publisher's lane may use, and that is free as soon as the job has ended: no handler that overran its lease reads it still
        let helps = |index: u32| self.credits.may_occupy(lane, index) && self.slab.state(index).load().holders() == 0;
        let mut rings = self.lanes.iter().rev();
        // (chains have one index in a queue that evicts, see `chain_limit`: more could only be taken together)
        let taken =
            rings.any(|ring| ring.pop_if(Pop::Strict, &mut popped, |chain| chain.len() == 1 && helps(chain.first())) == PopResult::Taken);
        taken.then(|| popped.chains()[0].first())
    }
}
