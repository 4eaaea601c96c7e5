//! One slot with everything around it, and the oracles.

use super::protocol::Protocol;
use ringmill::inbox::Inbox;
use ringmill::slab::{CancelStep, Dispose, Epoch, Fate, Leave, Next, Phase, Settled, SlotState, Stale, Start, Word};
use ringmill::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Relaxed},
};
use ringmill::sync::{UnsafeCell, thread};
use std::marker::PhantomData;
// not loom's: when a twin fails before a thread has begun, loom drops what it captured outside of the model, where its own Arc panics
use std::sync::Arc;

pub(super) const JOBS: usize = 3;

/// One slot with everything around it, and the oracles.
pub(super) struct Table<P> {
    pub(super) state: SlotState,
    /// The job in the slot; 0: none. Written when filled and when dropped, read by holders.
    pub(super) payload: UnsafeCell<u32>,
    /// The id of the job, for cancellers. Written while the slot is filled, read by anyone.
    pub(super) id: AtomicU32,
    /// Stands for the intrusive link: only the owner of the index may touch it.
    pub(super) link: UnsafeCell<u32>,
    /// A lane of one index, with a ring's edges.
    pub(super) lane: AtomicU32,
    /// The seat of a worker: 0, or its epoch + 1. Relaxed: the protocol must not lean on what a claim carries.
    pub(super) seat: AtomicU64,
    pub(super) inbox: Inbox,
    /// Per job: outcomes, and drops of the payload. Not watched by loom: oracles order nothing.
    pub(super) outcomes: [std::sync::atomic::AtomicU32; JOBS],
    pub(super) drops: [std::sync::atomic::AtomicU32; JOBS],
    pub(super) protocol: PhantomData<P>,
}

// SAFETY: who may touch payload and link is what the models check; loom reports every access that is not ordered.
unsafe impl<P> Sync for Table<P> {}
// SAFETY: nothing in it belongs to a thread.
unsafe impl<P> Send for Table<P> {}

impl<P: Protocol> Table<P> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Table {
            state: SlotState::new(),
            payload: UnsafeCell::new(0),
            id: AtomicU32::new(0),
            link: UnsafeCell::new(0),
            lane: AtomicU32::new(0),
            seat: AtomicU64::new(0),
            inbox: Inbox::new(1),
            outcomes: Default::default(),
            drops: Default::default(),
            protocol: PhantomData,
        })
    }

    /// Filled with job 1 and started once by the caller: the lease.
    pub(super) fn started() -> (Arc<Self>, Epoch) {
        let table = Self::new();
        let lease = table.start(table.fill(1)).expect("nobody else knows it");
        (table, lease)
    }

    pub(super) fn fill(&self, job: u32) -> Epoch {
        self.payload.with_mut(|payload| {
            // SAFETY: the caller owns the vacant slot; the models check it
            let payload = unsafe { &mut *payload };
            assert_eq!(*payload, 0, "filled over a payload");
            *payload = job;
        });
        self.id.store(job, Relaxed);
        P::fill(&self.state)
    }

    pub(super) fn touch_link(&self) {
        // SAFETY: the caller owns the index; the models check it
        self.link.with_mut(|link| unsafe { *link += 1 });
    }

    pub(super) fn push(&self) {
        self.touch_link();
        assert_eq!(self.lane.swap(1, AcqRel), 0, "the index was pushed twice");
    }

    /// The epoch of the popped index.
    pub(super) fn pop(&self) -> Option<Epoch> {
        if self.lane.swap(0, AcqRel) == 0 {
            return None;
        }
        self.touch_link();
        let word = P::load(&self.state);
        assert!(matches!(word.phase(), Phase::Ready | Phase::Doomed), "popped {word:?}");
        Some(word.epoch())
    }

    pub(super) fn start(&self, claim: Epoch) -> Option<Epoch> {
        match P::start(&self.state, claim) {
            Start::Running(word) => Some(word.epoch()),
            Start::Doomed | Start::Moved => None,
        }
    }

    /// What a handler does with its payload: the job in it.
    pub(super) fn read(&self) -> u32 {
        // SAFETY: the caller is a holder; the models check it
        self.payload.with(|payload| unsafe { *payload })
    }

    pub(super) fn end(&self, fate: Fate) -> impl FnMut(Word) -> Next {
        move |_| Next::End { fate, spend_failure: false }
    }

    /// Acknowledges, or leaves; reclaims the slot if that is its part. True: this one acknowledged.
    pub(super) fn ack(&self, lease: Epoch, job: u32) -> bool {
        match P::settle(&self.state, lease, self.end(Fate::Acked)) {
            Ok(settled) => {
                self.outcome(job);
                if let Settled::Owner(_) = settled {
                    self.reclaim(job);
                }
                true
            }
            Err(Stale(_)) => {
                self.leave(job);
                false
            }
        }
    }

    /// As [`ack`](Self::ack), by the short way where that is open.
    pub(super) fn plain_ack(&self, running: Word, job: u32) -> bool {
        if !P::ack(&self.state, running) {
            return self.ack(running.epoch(), job);
        }
        self.outcome(job);
        self.reclaim(job);
        true
    }

    pub(super) fn leave(&self, job: u32) {
        if let Leave::Owner(_) = P::leave(&self.state) {
            self.reclaim(job);
        }
    }

    pub(super) fn outcome(&self, job: u32) {
        let before = self.outcomes[job as usize].fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(before, 0, "job {job} ended twice");
    }

    pub(super) fn outcomes(&self, job: u32) -> u32 {
        self.outcomes[job as usize].load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Drops the payload, as the owner of a slot whose job is over.
    pub(super) fn reclaim(&self, job: u32) {
        self.touch_link();
        // SAFETY: the caller owns the slot; the models check it
        let found = self.payload.with_mut(|payload| unsafe { std::mem::take(&mut *payload) });
        assert_eq!(found, job, "dropped another job's payload");
        let before = self.drops[job as usize].fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(before, 0, "job {job} dropped twice");
    }

    pub(super) fn dropped(&self, job: u32) -> u32 {
        self.drops[job as usize].load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Pops and runs what is in the lane until it is empty.
    pub(super) fn run_lane(&self) {
        while let Some(claim) = self.pop() {
            match P::start(&self.state, claim) {
                Start::Running(word) => {
                    let job = self.read();
                    self.ack(word.epoch(), job);
                }
                Start::Doomed => self.dispose(claim),
                Start::Moved => panic!("popped an index that is somebody else's"),
            }
        }
    }

    pub(super) fn dispose(&self, epoch: Epoch) {
        if let Dispose::Owner(word) = P::dispose(&self.state, epoch) {
            assert_eq!(word.fate(), Fate::Cancelled);
            self.reclaim(1);
        }
    }

    /// Cancels `job` as `cancel(job id)` does. True: it will not be acknowledged.
    pub(super) fn cancel(&self, job: u32) -> Option<CancelStep> {
        let mut word = P::load(&self.state);
        loop {
            if P::CHECKS_ID && self.id.load(Relaxed) != job {
                return None;
            }
            match self.state.cancel(word, Fate::Cancelled) {
                CancelStep::Retry(now) => word = now,
                step => return Some(step),
            }
        }
    }

    /// Quiet at last: job 1 ended once, was dropped once, and nobody is left in the slot.
    pub(super) fn assert_over(&self) {
        assert_eq!((self.outcomes(1), self.dropped(1)), (1, 1), "outcomes and drops of job 1");
        assert_eq!(self.state.load().holders(), 0);
        assert_eq!(self.lane.load(Relaxed), 0, "the index is left in the lane");
    }
}

pub(super) fn spawn<P: Protocol, R: Send + 'static>(
    table: &Arc<Table<P>>,
    body: impl FnOnce(&Table<P>) -> R + Send + 'static,
) -> thread::JoinHandle<R> {
    let table = Arc::clone(table);
    thread::spawn(move || body(&table))
}
