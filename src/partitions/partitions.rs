//! All partitions of a queue.

use super::homes::Seat;
use super::partition::Partition;
use super::place::{Place, Places, Role};
use super::ready::{Ready, WORD, ones};
use super::rules::{Rules, Sound};
use crate::chain::Links;
use crate::key::OrderKey;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sync::{Mutex, full_fence_after_rmw, prefetch_for_write};
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

/// Every so many-th look of a seat begins where it is not at home.
pub(super) const ABROAD: u32 = 16;

/// What follows a job that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// This one, which has the token now.
    Job(u32),
    /// One in this lane, for whoever comes: the token was given back.
    Ready(usize),
    /// None.
    Nothing,
}

/// How evenly the keys spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Skew {
    /// Jobs with a key.
    pub jobs: u32,
    /// Partitions that have any.
    pub used: u32,
    /// Jobs of the partition that has most.
    pub fullest: u32,
}

/// The partitions of a queue, and where each of its jobs stands. See the [module's](super) essay.
pub struct Partitions<R: Rules = Sound> {
    partitions: Box<[Partition]>,
    /// As many as `1 << bits`.
    bits: u32,
    places: Places,
    /// Per lane.
    ready: Box<[Ready]>,
    /// Who takes jobs.
    members: Mutex<Vec<u32>>,
    /// Counts changes of `members`. Written under its lock, read as a hint.
    version: AtomicU64,
    rules: PhantomData<fn() -> R>,
}

impl Partitions {
    /// `count` partitions, a power of two, for a queue of `capacity` slots.
    pub fn new(count: u32, lanes: usize, capacity: u32) -> Self {
        Self::with_rules(count, lanes, capacity)
    }
}

impl<R: Rules> Partitions<R> {
    /// Partitions that go by other rules, for models.
    #[doc(hidden)]
    pub fn with_rules(count: u32, lanes: usize, capacity: u32) -> Self {
        assert!(count.is_power_of_two(), "a power of two, as `QueueConfig::validate` sees to");
        Partitions {
            partitions: (0..count).map(|_| Partition::new()).collect(),
            bits: count.trailing_zeros(),
            places: Places::new(capacity, lanes),
            ready: (0..lanes).map(|_| Ready::new(count as usize)).collect(),
            members: Mutex::new(Vec::new()),
            version: AtomicU64::new(0),
            rules: PhantomData,
        }
    }

    /// How many partitions.
    pub fn count(&self) -> usize {
        self.partitions.len()
    }

    /// Where a job with a key stands. For the owner of the index, or a holder.
    #[inline]
    pub fn place(&self, index: u32) -> Place {
        self.places.get(index)
    }

    /// Says what key a job has that goes into the slot. The caller owns `index`.
    #[inline]
    pub fn set_place(&self, index: u32, place: Place) {
        self.places.set(index, place);
    }

    /// The job will not be taken, and passes nothing on. The caller owns `index`.
    pub fn set_apart(&self, index: u32) {
        if self.place(index).role() == Role::Keyed {
            self.places.set_role(index, Role::Apart);
        }
    }

    /// The partition of a key.
    #[inline]
    pub fn partition_of(&self, place: Place) -> usize {
        place.partition(self.bits)
    }

    /// Asks for the lines that a job with this key is about to change, in this lane: that of its partition, and that of the bit which says that it is ready.
    #[inline]
    pub fn prefetch(&self, key: OrderKey, lane: usize) {
        let at = Place::new(key, lane).partition(self.bits);
        prefetch_for_write(&self.partitions[at]);
        self.ready[lane].prefetch(at);
    }

    #[inline]
    fn of(&self, place: Place) -> &Partition {
        &self.partitions[place.partition(self.bits)]
    }

    // ---- in ----

    /// A job with a key takes its place at the end of its partition. True if nobody has the token: the caller wakes somebody. The caller's last look at the world
    /// is fenced from the push.
    #[inline]
    pub fn enter(&self, links: &impl Links, index: u32, key: OrderKey, lane: usize) -> bool {
        let place = Place::new(key, lane);
        self.places.set(index, place);
        self.enter_again(links, index, place)
    }

    /// As [`enter`](Self::enter), for a job whose place was set before.
    #[inline]
    pub fn enter_again(&self, links: &impl Links, index: u32, place: Place) -> bool {
        let at = place.partition(self.bits);
        if self.partitions[at].enter::<R>(links, index).is_held() {
            // whoever has the token sees the job when it gives it back
            full_fence_after_rmw();
            return false;
        }
        self.ready[place.lane()].say::<R>(at);
        true
    }

    /// As [`enter`](Self::enter), by a publisher that is stopped before it says that the partition is ready: for models.
    #[doc(hidden)]
    pub fn enter_and_stop(&self, links: &impl Links, index: u32, key: OrderKey, lane: usize) {
        let place = Place::new(key, lane);
        self.places.set(index, place);
        self.of(place).enter::<R>(links, index);
    }

    /// A bit that is set for nothing: for models.
    #[doc(hidden)]
    pub fn say_for_model(&self, partition: usize, lane: usize) {
        self.ready[lane].say::<R>(partition);
    }

    // ---- out ----

    /// A seat for somebody who takes jobs.
    pub fn join(&self) -> Seat {
        let mut members = self.members.lock();
        let member = (0..).find(|number| !members.contains(number)).expect("there are fewer members than numbers");
        members.push(member);
        self.members_changed();
        let words = self.partitions.len().div_ceil(WORD);
        let begin = member as usize * 7 % self.count();
        let oldest = self.ready.iter().map(|_| Cell::new(None)).collect();
        Seat { member, version: 0, mine: vec![0; words].into(), at: [begin; 2], looks: 0, oldest, row: (0, 0) }
    }

    /// Its owner takes no more jobs.
    pub fn part(&self, seat: &Seat) {
        self.members.lock().retain(|&member| member != seat.member);
        self.members_changed();
    }

    fn members_changed(&self) {
        // relaxed: whoever sees that it moved looks under the lock
        self.version.fetch_add(1, Relaxed);
    }

    /// Who takes jobs.
    pub fn members(&self) -> Vec<u32> {
        self.members.lock().clone()
    }

    /// Sees to it that the seat knows its homes.
    #[inline]
    fn settle(&self, seat: &mut Seat) {
        // relaxed: a hint, see `members_changed`
        if self.version.load(Relaxed) != seat.version {
            self.settle_anew(seat);
        }
    }

    #[cold]
    fn settle_anew(&self, seat: &mut Seat) {
        let members = self.members.lock();
        // relaxed: one that moves after this was moved by somebody whom we see under the lock, or see next time
        let version = self.version.load(Relaxed);
        seat.settle(self.count(), &members, version);
    }

    /// Takes up to `out.len()` heads of ready partitions for `lane`, each with its token: that whose head was found the [oldest](Self::peek_oldest), or those where `seat`
    /// is at home, or if none of them is ready, the others. Every [`ABROAD`]th look begins with the others: who is at home there may be busy for long, or not come at
    /// all. Says how many; with each its partition.
    pub fn take_ready(&self, links: &impl Links, lane: usize, seat: &mut Seat, out: &mut [(u32, u16)]) -> usize {
        self.settle(seat);
        if let Some(oldest) = seat.oldest[lane].take() {
            let (word, bit) = (usize::from(oldest) / WORD, usize::from(oldest) % WORD);
            let taken = self.take_from(links, lane, &mut usize::from(oldest), |at| u64::from(at == word) << bit, out);
            if taken > 0 {
                return taken;
            }
        }
        seat.looks = seat.looks.wrapping_add(1);
        let abroad_first = seat.looks.is_multiple_of(ABROAD);
        for abroad in [abroad_first, !abroad_first] {
            let foreign = if abroad { u64::MAX } else { 0 };
            let taken = self.take_from(links, lane, &mut seat.at[usize::from(abroad)], |word| seat.mine[word] ^ foreign, out);
            if taken > 0 {
                return taken;
            }
        }
        0
    }

    /// From the partitions of `mask`, a word of bits at a time; the first is that `at` which the last look ended.
    fn take_from(&self, links: &impl Links, lane: usize, at: &mut usize, mask: impl Fn(usize) -> u64, out: &mut [(u32, u16)]) -> usize {
        let ready = &self.ready[lane];
        let (words, want) = (ready.words(), out.len());
        let (first, bit) = (*at / WORD, *at % WORD);
        // once round: from the bit at which the last look ended, and at last what lies before it in the same word
        let mut step = 0;
        while step <= words && want > 0 {
            let mut found = 0;
            while step <= words {
                let word = (first + step) & (words - 1);
                let turn = match step {
                    0 => u64::MAX << bit,
                    _ if step == words => !(u64::MAX << bit),
                    _ => u64::MAX,
                };
                let mask = turn & mask(word);
                let bits = if R::CLEARS_FIRST { ready.clear(word, mask, want - found) } else { ready.bits(word) & mask };
                // the lines of all of them at once, before the first is waited for
                for partition in ones(bits).map(|bit| word * WORD + bit) {
                    prefetch_for_write(&self.partitions[partition]);
                    out[found].1 = partition as u16;
                    found += 1;
                }
                if found == want {
                    break;
                }
                step += 1;
            }
            // and of what waits in them
            for &(_, partition) in &out[..found] {
                if let Some(top) = self.partitions[usize::from(partition)].last_in() {
                    links.prefetch(top);
                }
            }
            let mut taken = 0;
            for entry in 0..found {
                let partition = out[entry].1;
                if let Some(index) = self.partitions[usize::from(partition)].take::<R>(links, &self.places) {
                    links.prefetch(index);
                    out[taken] = (index, partition);
                    taken += 1;
                }
                if !R::CLEARS_FIRST {
                    // a model's mutation
                    ready.clear(usize::from(partition) / WORD, 1 << (usize::from(partition) % WORD), 1);
                }
            }
            if let Some(last) = found.checked_sub(1) {
                *at = (usize::from(out[last].1) + 1) & (self.count() - 1);
            }
            if taken > 0 {
                return taken;
            }
        }
        0
    }

    /// A hint that a partition is ready.
    pub fn any_ready(&self) -> bool {
        self.ready.iter().any(|ready| (0..ready.words()).any(|word| ready.bits(word) != 0))
    }

    /// How long the oldest of the heads has `waited` of the partitions that are ready for `lane`; `seat` takes that partition's next of this lane. Racy: a hint.
    ///
    /// # Complexity
    /// O(ready partitions), and each one's lock.
    pub fn peek_oldest<W: Ord>(&self, links: &impl Links, lane: usize, seat: &Seat, waited: impl Fn(u32) -> W) -> Option<W> {
        let ready = &self.ready[lane];
        let partitions = (0..ready.words()).flat_map(|word| ones(ready.bits(word)).map(move |bit| word * WORD + bit));
        let heads = partitions.filter_map(|partition| {
            let mut head = None;
            self.partitions[partition].heads::<R>(links, |index| head = head.or(Some(index)));
            Some((waited(head?), partition as u16))
        });
        let (waited, oldest) = heads.max_by(|(one, _), (other, _)| one.cmp(other))?;
        seat.oldest[lane].set(Some(oldest));
        Some(waited)
    }

    /// The partitions that are said to be ready for `lane`.
    #[cfg(all(test, not(loom)))]
    pub(super) fn said(&self, lane: usize) -> Vec<usize> {
        let ready = &self.ready[lane];
        (0..ready.words()).flat_map(|word| ones(ready.bits(word)).map(move |bit| word * WORD + bit)).collect()
    }

    // ---- on ----

    /// A job whose place this was, and which had been taken, has ended, or goes its way without its key. True if the caller has to wake somebody.
    #[inline]
    pub fn leave(&self, links: &impl Links, place: Place) -> bool {
        let ready = match place.role() {
            Role::Unkeyed | Role::Apart => None,
            Role::Keyed => self.of(place).release::<R>(links, &self.places),
            Role::Loose => self.of(place).put_back::<R>(links, &self.places, place.key()),
        };
        self.say(self.partition_of(place), ready)
    }

    #[inline]
    fn say(&self, partition: usize, ready: Option<usize>) -> bool {
        if let Some(lane) = ready
            && R::RELEASE_SAYS
        {
            self.ready[lane].say::<R>(partition);
        }
        ready.is_some()
    }

    /// A head of the partition `at` has ended, which was in `lane` and run by the owner of `seat`. If that has run fewer than `in_a_row` of the partition, one after
    /// the other, it may go on with the next, provided that is of the same lane.
    #[inline]
    pub fn go_on(&self, links: &impl Links, at: usize, lane: usize, seat: &mut Seat, in_a_row: u32) -> Next {
        let partition = &self.partitions[at];
        seat.row = if seat.row.0 == at { (at, seat.row.1 + 1) } else { (at, 1) };
        let next = if seat.row.1 < in_a_row {
            partition.go_on::<R>(links, &self.places)
        } else {
            seat.row.1 = 0;
            partition.release::<R>(links, &self.places).map_or(Next::Nothing, Next::Ready)
        };
        let next_lane = match next {
            Next::Job(index) if self.places.lane(index) != lane => partition.push_back::<R>(links, &self.places, index),
            Next::Ready(lane) => lane,
            next => return next,
        };
        self.say(at, Some(next_lane));
        Next::Ready(next_lane)
    }

    /// The head in `index` waits for a retry, and its key with it. True if the caller has to wake somebody for the rest of the partition. The caller owns `index`.
    pub fn step_aside(&self, links: &impl Links, index: u32) -> bool {
        let place = self.place(index);
        self.of(place).set_aside(&self.places, index);
        self.leave(links, place)
    }

    // ---- for those who come without a token ----

    /// Shows, of every partition, the oldest waiting job, and the oldest of each key that waits.
    pub fn heads(&self, links: &impl Links, mut show: impl FnMut(u32)) {
        self.partitions.iter().for_each(|partition| partition.heads::<R>(links, &mut show));
    }

    /// Takes out the waiting job in `index` if it is one of those still, and is `wanted`. Its owner is the caller then, and it passes nothing on.
    pub fn take_out(&self, links: &impl Links, index: u32, wanted: impl Fn(u32) -> bool) -> bool {
        let taken = self.of(self.place(index)).take_out::<R>(links, index, wanted);
        if taken {
            self.set_apart(index);
        }
        taken
    }

    /// Takes out every job that waits in the partition `at`. They pass nothing on.
    pub fn drain(&self, links: &impl Links, at: usize) -> Vec<u32> {
        let jobs = self.partitions[at].drain::<R>(links);
        jobs.iter().for_each(|&index| self.set_apart(index));
        jobs
    }

    /// How these jobs spread, which are in slots and have keys.
    pub fn skew(&self, jobs: impl Iterator<Item = u32>) -> Skew {
        let mut loads = vec![0u32; self.count()];
        for index in jobs {
            loads[self.partition_of(self.place(index))] += 1;
        }
        let used = loads.iter().filter(|&&load| load > 0).count() as u32;
        Skew { jobs: loads.iter().sum(), used, fullest: loads.iter().copied().max().unwrap_or(0) }
    }

    /// How many tokens are out.
    pub fn held(&self) -> usize {
        self.partitions.iter().filter(|partition| partition.peek().is_held()).count()
    }

    /// How many keys wait for a retry.
    pub fn waiting_keys(&self) -> usize {
        self.partitions.iter().map(Partition::waiting_keys).sum()
    }
}

impl<R: Rules> fmt::Debug for Partitions<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partitions").field("count", &self.count()).field("held", &self.held()).finish_non_exhaustive()
    }
}
