//! The slots: where a job lies from its admission to its end.

use super::state::SlotState;
use super::word::{Fate, Phase};
use crate::chain::{Hints, Links};
use crate::clock::Timestamp;
use crate::id::JobId;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use crate::sync::{UnsafeCell, contain, prefetch_for_write};
use std::fmt;
use std::mem::MaybeUninit;
use std::time::Duration;

/// What a worker touches for every job, beside the payload.
///
/// Everything but `state` is written only by the owner of the index (see the table in the module's essay) before it hands the index on, so Relaxed is
/// enough: the ring, the inbox or the state word carries it.
#[repr(align(64))]
pub struct Slot<T> {
    /// Who owns the slot and its job: see [`SlotState`].
    pub state: SlotState,
    /// The job. Written while filling; read by anyone who wants to find or cancel a job, who re-checks the state word.
    job_id: AtomicU64,
    /// When the job became eligible, in nanoseconds. Owner of the index.
    published: AtomicU64,
    /// When the job's time to live ends; `u64::MAX`: never. Owner of the index.
    expires: AtomicU64,
    /// The intrusive link of whatever list holds the index.
    link: AtomicU32,
    /// How often the job was snoozed, and in the top bits whether it has a visibility timeout of its own and a partition key. Owner of the index.
    snoozes: AtomicU32,
    /// The payload. Written by the filler; read by holders; moved or dropped by whoever the state word made its owner.
    payload: UnsafeCell<MaybeUninit<T>>,
}

/// What only the timer, delays and leases of unusual length touch.
#[derive(Debug)]
struct Cold {
    /// When a delayed job is due, in nanoseconds. Owner of the index.
    due: AtomicU64,
    /// The job's own visibility timeout in nanoseconds, if the slot says that it has one. Owner of the index.
    visibility: AtomicU64,
    /// The length of an extended lease: the low bits of its epoch and milliseconds. Written by the holder once it has re-leased, before its new claim.
    extension: AtomicU64,
}

/// `N` slots and their links.
pub struct Slab<T> {
    slots: Box<[Slot<T>]>,
    cold: Box<[Cold]>,
    /// None in models, which have no caches.
    hints: Option<Hints>,
}

// SAFETY: the payload cells are reached only through `unsafe` methods whose callers hold the right that the state word gives them; a payload moves
// between threads (`Send`) and is read by several holders at once after a lease ran out (`Sync`).
unsafe impl<T: Send + Sync> Sync for Slab<T> {}
// SAFETY: as above; nothing in a slab is bound to a thread.
unsafe impl<T: Send + Sync> Send for Slab<T> {}

/// Below the whole epoch of the lease: its length in milliseconds, or, with the top bit, in seconds. A part of the epoch would not do: a slot may go through
/// millions of epochs between two extensions, and what was noted last would look like the later one.
const EXTENSION_BITS: u32 = 64 - crate::limits::EPOCH_BITS;
const EXTENSION_SECONDS: u64 = 1 << (EXTENSION_BITS - 1);
/// In [`Slot::snoozes`]: the job has a visibility timeout of its own. Keeps the cold line out of every other publish.
const OWN_VISIBILITY: u32 = 1 << 31;
/// There too: the job has a partition key. Keeps the line that has it out of the way of jobs without.
const KEYED: u32 = 1 << 30;
const FLAGS: u32 = OWN_VISIBILITY | KEYED;

impl<T> Slab<T> {
    /// The memory of a slot that is not shared with its neighbours, in bytes.
    pub const SLOT_BYTES: usize = size_of::<Slot<T>>();

    /// Whether the machine gives memory for `capacity` slots: it is asked for it, and has it back. (A machine that promises more than it has is believed.)
    pub fn fits(capacity: u32) -> bool {
        let mut slots = Vec::<Slot<T>>::new();
        let given = slots.try_reserve_exact(capacity as usize).is_ok();
        // or the question may be optimised away
        std::hint::black_box(&slots);
        given
    }

    /// `capacity` free slots.
    pub fn new(capacity: u32) -> Self {
        let slots = (0..capacity).map(|_| Slot {
            state: SlotState::new(),
            job_id: AtomicU64::new(0),
            published: AtomicU64::new(0),
            expires: AtomicU64::new(u64::MAX),
            link: AtomicU32::new(crate::limits::INDEX_NONE),
            snoozes: AtomicU32::new(0),
            payload: UnsafeCell::new(MaybeUninit::uninit()),
        });
        let cold = (0..capacity).map(|_| Cold { due: AtomicU64::new(0), visibility: AtomicU64::new(0), extension: AtomicU64::new(0) });
        Slab { slots: slots.collect(), cold: cold.collect(), hints: (!cfg!(loom)).then(|| Hints::new(capacity)) }
    }

    /// How many slots.
    pub fn capacity(&self) -> u32 {
        self.slots.len() as u32
    }

    /// The slot of `index`.
    #[inline]
    pub fn slot(&self, index: u32) -> &Slot<T> {
        &self.slots[index as usize]
    }

    /// The state word of `index`.
    #[inline]
    pub fn state(&self, index: u32) -> &SlotState {
        &self.slots[index as usize].state
    }

    /// Puts a payload into a free slot.
    ///
    /// # Safety
    /// The caller owns `index` and the slot holds no payload.
    #[inline]
    pub unsafe fn write(&self, index: u32, payload: T) {
        self.slots[index as usize].payload.with_mut(|cell| {
            // SAFETY: the caller owns the empty slot, so nobody else reads or writes the cell
            let cell = unsafe { &mut *cell };
            cell.write(payload);
        });
    }

    /// The payload, read where it lies.
    ///
    /// # Safety
    /// The caller is a holder (its `start` won and it has not left) or owns the index of an occupied slot, and stays so while the reference lives.
    #[inline]
    pub unsafe fn get(&self, index: u32) -> &T {
        self.slots[index as usize].payload.with(|cell| {
            // SAFETY: the payload of a slot with a holder or an owned index is not written again before the last holder has left
            let cell = unsafe { &*cell };
            // SAFETY: such a slot is occupied
            unsafe { cell.assume_init_ref() }
        })
    }

    /// Moves the payload out.
    ///
    /// # Safety
    /// The state word made the caller the owner of the payload (`Settled::Owner`, `Leave::Owner`, `Dispose::Owner`, or a held slot), and it takes it once.
    #[inline]
    pub unsafe fn take(&self, index: u32) -> T {
        self.slots[index as usize].payload.with(|cell| {
            // SAFETY: the caller is the payload's only owner
            let cell = unsafe { &*cell };
            // SAFETY: the slot is occupied, and counts as empty from here on
            unsafe { cell.assume_init_read() }
        })
    }

    /// Drops the payload where it lies. User code runs and may panic; the slot counts as empty either way.
    ///
    /// # Safety
    /// As [`take`](Self::take).
    #[inline]
    pub unsafe fn drop_in_place(&self, index: u32) {
        self.slots[index as usize].payload.with_mut(|cell| {
            // SAFETY: the caller is the payload's only owner
            let cell = unsafe { &mut *cell };
            // SAFETY: the slot is occupied, and counts as empty from here on
            unsafe { cell.assume_init_drop() }
        });
    }

    /// When the delayed job in `index` is due.
    pub fn due(&self, index: u32) -> Timestamp {
        // relaxed: carried by the inbox
        Timestamp::from_nanos(self.cold[index as usize].due.load(Relaxed))
    }

    /// Sets when the delayed job is due. The caller owns `index`.
    pub fn set_due(&self, index: u32, due: Timestamp) {
        // relaxed: carried by the inbox
        self.cold[index as usize].due.store(due.as_nanos(), Relaxed);
    }

    /// The job's own visibility timeout, if it has one.
    pub fn visibility(&self, index: u32) -> Option<Duration> {
        let slot = &self.slots[index as usize];
        // relaxed, both: carried by the state word
        (slot.snoozes.load(Relaxed) & OWN_VISIBILITY != 0).then(|| Duration::from_nanos(self.cold[index as usize].visibility.load(Relaxed)))
    }

    /// Gives the job a visibility timeout of its own. The caller owns `index` and has described the job.
    pub fn set_visibility(&self, index: u32, visibility: Duration) {
        let slot = &self.slots[index as usize];
        // relaxed, both: carried by the state word
        self.cold[index as usize].visibility.store(crate::clock::nanos(visibility).max(1), Relaxed);
        slot.snoozes.store(slot.snoozes.load(Relaxed) | OWN_VISIBILITY, Relaxed);
    }

    /// The length of the lease `epoch`, if it came about by extension.
    pub fn extension(&self, index: u32, epoch: u64) -> Option<Duration> {
        // relaxed: a reader that comes too early takes the lease to be as long as any other, and looks again before that is over
        let packed = self.cold[index as usize].extension.load(Relaxed);
        let length = packed & (2 * EXTENSION_SECONDS - 1);
        (length != 0 && packed >> EXTENSION_BITS == epoch).then(|| match length.checked_sub(EXTENSION_SECONDS) {
            Some(seconds) => Duration::from_secs(seconds),
            None => Duration::from_millis(length),
        })
    }

    /// Announces the length of the lease `epoch`, which the caller has just taken by extension. Rounded up to milliseconds, to seconds if it is longer
    /// than a day. A holder that was overtaken meanwhile leaves the note of its successor alone.
    pub fn set_extension(&self, index: u32, epoch: u64, length: Duration) {
        let millis = u64::try_from(length.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX).max(1);
        let length =
            if millis < EXTENSION_SECONDS { millis } else { EXTENSION_SECONDS + millis.div_ceil(1_000).min(EXTENSION_SECONDS - 1) };
        let epochs = u64::MAX >> EXTENSION_BITS;
        let cell = &self.cold[index as usize].extension;
        // relaxed: CAS re-checks
        let mut packed = cell.load(Relaxed);
        // epochs go round: less than half a round ahead is later
        while packed == 0 || epoch.wrapping_sub(packed >> EXTENSION_BITS) & epochs <= epochs / 2 {
            // relaxed, both: a reader that misses it looks again
            match cell.compare_exchange(packed, epoch << EXTENSION_BITS | length, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(now) => packed = now,
            }
        }
    }
}

impl<T> Slot<T> {
    /// The job in the slot, which may change at any time unless the caller holds it.
    #[inline]
    pub fn job_id(&self) -> JobId {
        // relaxed: the reader re-checks the state word
        JobId(self.job_id.load(Relaxed))
    }

    /// When the job became eligible.
    #[inline]
    pub fn published(&self) -> Timestamp {
        // relaxed: carried by the ring
        Timestamp::from_nanos(self.published.load(Relaxed))
    }

    /// When its time to live ends.
    #[inline]
    pub fn expires(&self) -> Timestamp {
        // relaxed: carried by the ring
        Timestamp::from_nanos(self.expires.load(Relaxed))
    }

    /// How often it was snoozed.
    #[inline]
    pub fn snoozes(&self) -> u32 {
        // relaxed: carried by the ring
        self.snoozes.load(Relaxed) & !FLAGS
    }

    /// True when the job has a partition key that means something to its queue.
    #[inline]
    pub fn is_keyed(&self) -> bool {
        // relaxed: carried by the state word
        self.snoozes.load(Relaxed) & KEYED != 0
    }

    /// Says that the job has a partition key. The caller owns the index and has described the job.
    #[inline]
    pub fn set_keyed(&self) {
        // relaxed, both: exclusive owner
        self.snoozes.store(self.snoozes.load(Relaxed) | KEYED, Relaxed);
    }

    /// Counts a snooze. The caller owns the index.
    pub fn add_snooze(&self) {
        if self.snoozes() < KEYED - 1 {
            // relaxed: exclusive owner
            self.snoozes.store(self.snoozes.load(Relaxed) + 1, Relaxed);
        }
    }

    /// Describes a new job. The caller owns the index of the free slot.
    #[inline]
    pub fn describe(&self, job: JobId, published: Timestamp, expires: Timestamp) {
        // relaxed, all four: exclusive owner; `slot.fill` releases them
        self.job_id.store(job.0, Relaxed);
        self.published.store(published.as_nanos(), Relaxed);
        self.expires.store(expires.as_nanos(), Relaxed);
        self.snoozes.store(0, Relaxed);
    }
}

impl<T> Links for Slab<T> {
    #[inline]
    fn link(&self, index: u32) -> &AtomicU32 {
        &self.slots[index as usize].link
    }

    #[inline]
    fn link_if_any(&self, index: u32) -> Option<&AtomicU32> {
        Some(&self.slots.get(index as usize)?.link)
    }

    #[inline]
    fn prefetch(&self, index: u32) {
        if let Some(slot) = self.slots.get(index as usize) {
            prefetch_for_write(slot);
        }
    }

    #[inline]
    fn hints(&self) -> Option<&Hints> {
        self.hints.as_ref()
    }
}

impl<T> Drop for Slab<T> {
    fn drop(&mut self) {
        for index in 0..self.capacity() {
            let word = self.state(index).load();
            let occupied = match word.phase() {
                Phase::Doomed if word.fate() == Fate::TakenOut => false,
                Phase::Ready | Phase::Running | Phase::Delayed | Phase::Doomed => true,
                // the delivery was forgotten, so its payload was never taken
                Phase::Zombie => word.holders() > 0,
                // it is in the letter
                Phase::Held => false,
                Phase::Free => false,
            };
            if occupied {
                // a payload whose drop panics must not keep the others from being dropped
                let _ = contain(|| {
                    // SAFETY: `&mut self`: nobody else can reach the slot, and an occupied slot holds a payload
                    unsafe { self.drop_in_place(index) }
                });
            }
        }
    }
}

impl<T> fmt::Debug for Slab<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slab").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("state", &self.state).field("job_id", &self.job_id()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_extension_is_noted_however_long_ago_the_last_one_was() {
        let slab = Slab::<()>::new(1);
        let (day, year) = (Duration::from_secs(86_400), Duration::from_secs(365 * 86_400));
        for (epoch, length) in
            [(2, day), (3 << 22, year), (1 << 24, Duration::from_millis(1)), ((1 << 24) + (3 << 22), day), (1 << 35, year)]
        {
            slab.set_extension(0, epoch, length);
            assert_eq!(slab.extension(0, epoch), Some(length));
            assert_eq!(slab.extension(0, epoch + 1), None);
        }
    }

    #[test]
    fn an_extension_is_rounded_up_and_ends_at_four_years() {
        let slab = Slab::<()>::new(1);
        let (millis, seconds) = (Duration::from_millis, Duration::from_secs);
        for (epoch, (asked, noted)) in (1..).zip([
            (Duration::ZERO, millis(1)),
            (Duration::from_nanos(1_000_001), millis(2)),
            (millis(EXTENSION_SECONDS - 1), millis(EXTENSION_SECONDS - 1)),
            (millis(EXTENSION_SECONDS), seconds(134_218)),
            (seconds(EXTENSION_SECONDS), seconds(EXTENSION_SECONDS - 1)),
            (Duration::MAX, seconds((1 << 27) - 1)),
        ]) {
            slab.set_extension(0, epoch, asked);
            assert_eq!(slab.extension(0, epoch), Some(noted));
        }
    }

    #[test]
    fn an_overtaken_holder_leaves_the_note_of_its_successor_alone() {
        let slab = Slab::<()>::new(1);
        slab.set_extension(0, 8, Duration::from_millis(5));
        slab.set_extension(0, 6, Duration::from_millis(7));
        assert_eq!(slab.extension(0, 8), Some(Duration::from_millis(5)));
        // once round
        slab.set_extension(0, (1 << crate::limits::EPOCH_BITS) - 2, Duration::from_millis(5));
        assert_eq!(slab.extension(0, 8), Some(Duration::from_millis(5)));
    }

    #[test]
    fn what_is_said_of_a_job_comes_back_until_the_next_is_described() {
        let slab = Slab::<()>::new(2);
        let (slot, timestamp) = (slab.slot(1), Timestamp::from_nanos);
        slot.describe(JobId(7), timestamp(5), timestamp(9));
        // twice: marks are set, not flipped
        for _ in 0..2 {
            slab.set_visibility(1, Duration::from_secs(3));
            slot.set_keyed();
            slot.add_snooze();
        }
        slab.set_due(1, timestamp(6));
        assert_eq!((slot.job_id(), slot.published(), slot.expires(), slab.due(1)), (JobId(7), timestamp(5), timestamp(9), timestamp(6)));
        assert_eq!((slot.snoozes(), slot.is_keyed(), slab.visibility(1)), (2, true, Some(Duration::from_secs(3))));
        // a neighbour, and the next job
        slot.describe(JobId(8), timestamp(6), timestamp(7));
        for index in 0..2 {
            assert_eq!((slab.slot(index).snoozes(), slab.slot(index).is_keyed(), slab.visibility(index)), (0, false, None));
        }
    }

    #[test]
    fn each_mark_stands_alone() {
        let slab = Slab::<()>::new(2);
        slab.slot(0).set_keyed();
        slab.set_visibility(1, Duration::ZERO);
        assert_eq!((slab.slot(0).is_keyed(), slab.visibility(0)), (true, None));
        assert_eq!((slab.slot(1).is_keyed(), slab.visibility(1)), (false, Some(Duration::from_nanos(1))));
    }

    #[test]
    fn snoozes_stop_counting_before_they_reach_the_marks() {
        let slab = Slab::<()>::new(1);
        let slot = slab.slot(0);
        for marks in [0, KEYED, OWN_VISIBILITY, FLAGS] {
            // relaxed: nobody else
            slot.snoozes.store(marks | (KEYED - 2), Relaxed);
            for _ in 0..3 {
                slot.add_snooze();
                assert_eq!(slot.snoozes.load(Relaxed), marks | (KEYED - 1));
            }
        }
    }

    #[test]
    fn a_slab_has_as_many_slots_as_asked_for_each_with_a_link_of_its_own() {
        let slab = Slab::<()>::new(3);
        assert_eq!(slab.capacity(), 3);
        slab.state(1).fill(0);
        assert_eq!([0, 1, 2].map(|index| slab.slot(index).state.load().phase()), [Phase::Free, Phase::Ready, Phase::Free]);
        let chain = crate::chain::Chain::link(&slab, &[2, 0, 1]);
        assert_eq!(chain.iter(&slab).collect::<Vec<_>>(), [2, 0, 1]);
        assert_eq!((slab.next_if_any(2), slab.next_if_any(3)), (0, crate::limits::INDEX_NONE));
        assert!(slab.hints().is_some());
    }

    #[test]
    fn no_machine_has_memory_for_everything() {
        assert!(Slab::<[u8; 4096]>::fits(1));
        assert!(!Slab::<[u8; 1 << 40]>::fits(u32::MAX));
    }

    #[test]
    fn a_slab_that_goes_drops_each_payload_that_was_not_taken() {
        use super::super::{Fate, Start};

        let payload = std::sync::Arc::new(());
        let slab = Slab::new(9);
        let put = |index: u32| {
            // SAFETY: nobody else knows the slab, and each slot is filled once
            unsafe { slab.write(index, payload.clone()) };
            slab.state(index)
        };
        let start = |state: &SlotState| {
            let Start::Running(word) = state.start(state.fill(0)) else { panic!("nobody else knows it") };
            word.epoch()
        };
        put(0).fill(0);
        start(put(1));
        put(2).fill_delayed(0);
        let doomed = put(3);
        doomed.fill(0);
        doomed.cancel(doomed.load(), Fate::Cancelled);
        put(4).hold();
        // SAFETY: whose slot is held has taken it out
        drop(unsafe { slab.take(4) });
        // deliveries that were forgotten, and one that came back and took its payload
        for index in [5, 6, 7] {
            let buried = put(index);
            buried.expire(start(buried), 0);
        }
        slab.state(6).leave();
        // SAFETY: the last holder has left, and takes it once
        drop(unsafe { slab.take(6) });
        let phases = [0, 1, 2, 3, 4, 5, 6, 7, 8].map(|index| slab.state(index).load().phase());
        use Phase::*;
        assert_eq!(phases, [Ready, Running, Delayed, Doomed, Held, Zombie, Zombie, Zombie, Free]);
        assert_eq!(std::sync::Arc::strong_count(&payload), 7);
        drop(slab);
        assert_eq!(std::sync::Arc::strong_count(&payload), 1);
    }
}
