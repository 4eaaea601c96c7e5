//! What a slot costs beyond its payload.

use crate::inbox::Inbox;
use crate::ring::IndexRing;
use crate::slab::Slab;
use crate::wheel::Wheel;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, adding up what the current thread holds.
struct Weighing;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Weighing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = HELD.try_with(|held| held.set(held.get() + layout.size() as isize));
        // SAFETY: the caller's promise
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        let _ = HELD.try_with(|held| held.set(held.get() - layout.size() as isize));
        // SAFETY: the caller's promise
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static WEIGHING: Weighing = Weighing;

/// Bytes on the heap that `make` leaves behind.
fn weigh<R>(make: impl FnOnce() -> R) -> (usize, R) {
    let before = HELD.get();
    let made = make();
    ((HELD.get() - before) as usize, made)
}

/// Large, so that what a queue has once weighs nothing; a power of two, so that rings need no rounding up.
const SLOTS: usize = 1 << 16;

fn per_slot<R>(make: impl FnOnce() -> R) -> f64 {
    weigh(make).0 as f64 / SLOTS as f64
}

/// Job id, publish time, time to live, due time, visibility, extension: 8 bytes each; the snooze count: 4.
const METADATA: f64 = 6.0 * 8.0 + 4.0;

#[test]
fn a_slot_costs_at_most_64_bytes_beside_payload_and_metadata_and_8_per_lane() {
    let slab = per_slot(|| Slab::<u64>::new(SLOTS as u32)) - METADATA - 8.0;
    let wheel = per_slot(|| Wheel::new(SLOTS as u32, 0));
    let inbox = per_slot(|| Inbox::new(SLOTS as u32));
    let lane = per_slot(|| IndexRing::new(SLOTS as u32));
    println!("state word and link {slab:.2}, wheel {wheel:.2}, inbox {inbox:.2}: {:.2} bytes; {lane:.2} per lane", slab + wheel + inbox);
    assert!(slab + wheel + inbox <= 64.0);
    assert!(lane <= 8.01);
}

#[test]
fn a_queue_weighs_what_its_parts_weigh() {
    for lanes in [1, 8] {
        let config = || {
            crate::QueueConfig::new("q").capacity(SLOTS as u64).lanes((0..lanes).map(|lane| crate::LaneConfig::new(format!("lane-{lane}"))))
        };
        let mut builder = crate::Runtime::builder();
        let bytes = per_slot(|| builder.pull_queue::<u64>(config()).unwrap());
        let bookkeeping = bytes - METADATA - 8.0;
        println!("{lanes} lanes: {bytes:.2} bytes per slot in all, {bookkeeping:.2} beside payload and metadata");
        assert!(bookkeeping <= 64.0 + 8.0 * f64::from(lanes));
    }
}
