//! Which worker looks after which partitions first.

use super::ready::WORD;
use crate::rng::Rng;
use std::cell::Cell;

/// The member that is at home in `partition`: the one with the highest score, where every pair of partition and member has a score of its own (rendezvous
/// hashing, Thaler and Ravishankar 1998). `None` if there are no members.
///
/// A member that comes takes its share from all the others, about 1/n of the partitions, and one that goes leaves its own to them: nothing else moves.
///
/// ```
/// use ringmill::partitions::home;
///
/// let moved = (0..1024).filter(|&p| home(p, &[0, 1, 2]) != home(p, &[0, 1, 2, 3])).count();
/// assert!((200..320).contains(&moved)); // about a quarter
/// ```
pub fn home(partition: usize, members: &[u32]) -> Option<u32> {
    members.iter().copied().max_by_key(|&member| (score(partition as u64, u64::from(member)), member))
}

fn score(partition: u64, member: u64) -> u64 {
    Rng::new(member << 32 | partition).next_u64()
}

/// A worker's or consumer's place among those who take from the partitions. Private to it.
#[derive(Debug)]
pub struct Seat {
    pub(super) member: u32,
    /// The version of the membership that `mine` is of.
    pub(super) version: u64,
    /// A bit for each partition that it is at home in.
    pub(super) mine: Box<[u64]>,
    /// The partition at which the next look begins, among those where it is at home, and among the others: ready partitions take turns.
    pub(super) at: [usize; 2],
    /// How many looks there were.
    pub(super) looks: u32,
    /// Per lane: the partition with the oldest head, if it was looked for.
    pub(super) oldest: Box<[Cell<Option<u16>>]>,
    /// The partition that it took the last job of, and how many in a row.
    pub(super) row: (usize, u32),
}

impl Seat {
    /// Makes itself at home among `members`.
    pub(super) fn settle(&mut self, partitions: usize, members: &[u32], version: u64) {
        self.mine.fill(0);
        for partition in (0..partitions).filter(|&partition| home(partition, members) == Some(self.member)) {
            self.mine[partition / WORD] |= 1 << (partition % WORD);
        }
        self.version = version;
    }

    /// True for every other seat.
    pub fn is_even(&self) -> bool {
        self.member.is_multiple_of(2)
    }

    /// In which partitions it is at home.
    pub fn homes(&self) -> impl Iterator<Item = usize> {
        self.mine.iter().enumerate().flat_map(|(word, &bits)| super::ready::ones(bits).map(move |bit| word * WORD + bit))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_comes_takes_its_share_and_nothing_else_moves() {
        const PARTITIONS: usize = 4096;
        for count in 1..16u32 {
            let before: Vec<u32> = (0..count).collect();
            let after: Vec<u32> = (0..=count).collect();
            let moved: Vec<usize> = (0..PARTITIONS).filter(|&p| home(p, &before) != home(p, &after)).collect();
            assert!(moved.iter().all(|&p| home(p, &after) == Some(count)), "only to the one that came");
            let share = PARTITIONS as f64 / f64::from(count + 1);
            assert!((moved.len() as f64 - share).abs() < 0.25 * share + 20.0, "{count} and one: {} moved", moved.len());
        }
    }

    #[test]
    fn a_member_that_goes_leaves_its_own_and_nothing_else_moves() {
        let (before, after) = ([0, 1, 2, 3], [0, 1, 3]);
        for partition in 0..1024 {
            let home_before = home(partition, &before);
            if home_before != Some(2) {
                assert_eq!(home(partition, &after), home_before);
            }
        }
        assert_eq!(home(7, &[]), None);
    }
}
