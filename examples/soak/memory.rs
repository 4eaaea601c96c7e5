//! Whether the process grows: what it has allocated, and what is resident, between two lives, when nothing is alive.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// Counts bytes that are allocated and not freed.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
static LIVE: AtomicI64 = AtomicI64::new(0);

// SAFETY: the system's allocator does the work
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as i64, Relaxed);
        // SAFETY: as the caller promised
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as i64, Relaxed);
        // SAFETY: as the caller promised
        unsafe { System.dealloc(block, layout) }
    }
}

/// What the process has after each life.
pub struct Memory {
    samples: Vec<Sample>,
}

struct Sample {
    /// Jobs that were done so far.
    jobs: u64,
    live: u64,
    resident: u64,
}

/// How that developed.
pub struct Growth {
    pub lives: usize,
    live: Change,
    resident: Change,
}

/// A mean in bytes between the first and the third tenth of the jobs, and in the last two.
struct Change {
    early: u64,
    late: u64,
}

impl Memory {
    /// Room for all samples, so that they are no growth.
    pub fn new() -> Self {
        Memory { samples: Vec::with_capacity(1 << 16) }
    }

    /// A life is over, after which `jobs` jobs were done in all.
    pub fn sample(&mut self, jobs: u64) {
        give_back();
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
        let live = LIVE.load(Relaxed) - statm.capacity() as i64;
        self.samples.push(Sample { jobs, live: live.max(0) as u64, resident: pages * 4096 });
    }

    pub fn growth(&self) -> Growth {
        let all = self.samples.last().map_or(0, |last| last.jobs);
        let mean = |from: u64, to: u64, of: fn(&Sample) -> u64| {
            let within = self.samples.iter().filter(|sample| (all * from / 10..=all * to / 10).contains(&sample.jobs));
            let (count, sum) = within.fold((0, 0), |(count, sum), sample| (count + 1, sum + of(sample)));
            sum / u64::max(count, 1)
        };
        let change = |of| Change { early: mean(1, 3, of), late: mean(8, 10, of) };
        Growth { lives: self.samples.len(), live: change(|sample| sample.live), resident: change(|sample| sample.resident) }
    }
}

/// What the system's allocator keeps of freed memory is not ours.
fn give_back() {
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            fn malloc_trim(keep: usize) -> i32;
        }
        // SAFETY: it may be called at any time
        unsafe { malloc_trim(0) };
    }
}

impl Growth {
    /// Of what is allocated, in bytes.
    pub fn bytes(&self) -> i64 {
        self.live.late as i64 - self.live.early as i64
    }
}

impl std::fmt::Display for Growth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Growth { live, resident, .. } = self;
        let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
        write!(
            f,
            "allocated between lives {:.3} MiB early, {:+} bytes late; resident {:.1} and {:.1} MiB",
            mib(live.early),
            self.bytes(),
            mib(resident.early),
            mib(resident.late)
        )
    }
}
