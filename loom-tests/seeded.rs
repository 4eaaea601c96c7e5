//! Errors that a sanitizer must report, or its silence means nothing. `.ci/sanitize` runs each and expects it to fail.

use ringmill::chain::Chain;
use ringmill::ring::{IndexRing, Popped, Rules};
use ringmill::sync::atomic::Ordering;
use ringmill::sync::{Arc, UnsafeCell, thread};
use ringmill::{QueueConfig, Runtime};

/// Publishes without releasing, reads without acquiring: on x86 nothing ever goes wrong.
enum Relaxed {}
impl Rules for Relaxed {
    const PUBLISH: Ordering = Ordering::Relaxed;
    const SLOT_READ: Ordering = Ordering::Relaxed;
    const HEAD_READ: Ordering = Ordering::Relaxed;
    const HEAD_MOVE: Ordering = Ordering::Relaxed;
    const TAIL_MOVE: Ordering = Ordering::Relaxed;
    const TAIL_READ: Ordering = Ordering::Relaxed;
}

struct Cells([UnsafeCell<u64>; 2]);

// SAFETY: not at all; that is what must be reported
unsafe impl Sync for Cells {}

/// What is written before a push is read after the pop.
#[test]
#[ignore = "ThreadSanitizer must report it"]
fn a_ring_without_orderings() {
    let (ring, cells) = (Arc::new(IndexRing::<Relaxed>::with_rules(2, 2)), Arc::new(Cells(Default::default())));
    let (theirs, their_cells) = (ring.clone(), cells.clone());
    let publisher = thread::spawn(move || {
        for index in 0..2u32 {
            // SAFETY: nobody else writes it
            their_cells.0[index as usize].with_mut(|cell| unsafe { *cell = 7 });
            theirs.push(Chain::one(index));
        }
    });
    let mut seen = 0;
    while seen < 2 {
        let mut out = Popped::new();
        let _ = ring.pop(1, &mut out);
        for chain in out.chains() {
            // SAFETY: it was written before it was pushed, and still this is a race
            assert_eq!(cells.0[chain.first() as usize].with(|cell| unsafe { *cell }), 7);
            seen += 1;
        }
    }
    publisher.join().unwrap();
}

/// A payload is read after its delivery was acked.
#[test]
#[ignore = "AddressSanitizer must report it"]
fn a_payload_read_after_the_ack() {
    let mut builder = Runtime::builder();
    let jobs = builder.pull_queue::<Box<u64>>(QueueConfig::new("jobs").capacity(4)).unwrap();
    let runtime = builder.build().unwrap();
    jobs.producer().unwrap().publish(Box::new(7)).unwrap();
    let delivery = jobs.consumer().unwrap().recv().unwrap();
    let payload = std::ptr::from_ref::<u64>(delivery.payload());
    delivery.ack().unwrap();
    // SAFETY: none: the ack dropped it
    let late = unsafe { payload.read_volatile() };
    drop(runtime);
    assert_ne!(late, 8);
}
