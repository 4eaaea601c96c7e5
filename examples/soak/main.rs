//! A chaos soak: seeded lives of whole runtimes on real threads, watched by an oracle that knows every job.
//!
//! ```text
//! cargo run --release --example soak -- --seed 1 --jobs 20000000 --seconds 60
//! RUSTFLAGS="--cfg ringmill_chaos" cargo run --release --example soak
//! ```
//!
//! A *life* is one runtime: a push queue on a pool of 1..=12 workers, a pull queue with its consumers, producers of every kind, an operator that cancels, pauses, purges
//! and redrives, and an end of some kind: graceful, out of time, dropped, or asked for by a handler. 2 % of deliveries panic, 3 % retry, 0.1 % overrun their lease.
//! Some lives are short, with queues of 1 to 2 048 slots; most are *floods* of up to two million jobs, in batches, through queues of up to 32 768.
//!
//! After each life the books are closed: every payload that was made was dropped once or given back once, no delivery was anybody else's, no job that was refused ran, none
//! ran again without a reason, the ledger balances, deliveries add up to what became of them, no wake-up was lost, every thread is gone. In the end the process must not have grown.
//!
//! Exit code 1 and the seed on any violation. A seed fixes the shape of its lives, not the schedule of their threads.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a user of the crate, not the crate")]

mod actors;
mod books;
mod life;
mod memory;
mod oracle;

use clap::Parser;
use ringmill::rng::Rng;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

#[derive(Parser, Debug)]
struct Options {
    /// The seed of the first life; each life derives the next one's.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Stop after so many jobs.
    #[arg(long, default_value_t = 300_000)]
    jobs: u64,
    /// Stop after so many seconds.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Print a line per life.
    #[arg(long)]
    verbose: bool,
}

/// When the current life must be over, in milliseconds since the start; a life that hangs is a violation.
static DEADLINE: AtomicU64 = AtomicU64::new(u64::MAX);
const LIFE_MAX: Duration = Duration::from_secs(60);
/// What is allocated between two lives grows by no more than so many bytes (a name, a list of the standard library), once there were lives enough to tell.
const GROWTH_MAX: i64 = 16_384;
const LIVES_TO_JUDGE: usize = 20;

fn main() -> ExitCode {
    let options = Options::parse();
    hush_chaos();
    let begun = Instant::now();
    let end = begun + Duration::from_secs(options.seconds);
    let mut rng = Rng::new(options.seed);
    let mut sum = books::Summary::default();
    let mut memory = memory::Memory::new();
    let seed = std::sync::Arc::new(AtomicU64::new(0));
    watch(begun, std::sync::Arc::clone(&seed));
    // the watchdog is a thread of ours, and a sanitizer has one
    let threads = life::threads();
    let jobs = life::FLOOD.min(options.jobs.max(40_000) as usize / 2);
    let world = life::World { push: oracle::Oracle::new("push", jobs), pull: oracle::Oracle::new("pull", jobs), threads };
    while sum.jobs < options.jobs && Instant::now() < end {
        let life = if sum.lives == 0 { options.seed } else { rng.next_u64() >> 16 };
        seed.store(life, Relaxed);
        DEADLINE.store((begun.elapsed() + LIFE_MAX).as_millis() as u64, Relaxed);
        let left = options.jobs - sum.jobs;
        let outcome = life::live(life, left, &world);
        DEADLINE.store(u64::MAX, Relaxed);
        if options.verbose || !outcome.violations.is_empty() {
            println!("{outcome}");
        }
        if !outcome.violations.is_empty() {
            println!("FAILED: replay this life with --seed {life} --jobs 1");
            return ExitCode::FAILURE;
        }
        sum.add(&outcome);
        memory.sample(sum.jobs);
    }
    let (took, growth) = (begun.elapsed().as_secs_f64(), memory.growth());
    println!("seed {}: {sum} in {took:.1} s, {:.2} M jobs/s; {growth}; no violation", options.seed, sum.jobs as f64 / 1e6 / took);
    // for a sanitizer something is kept of every thread
    if !cfg!(ringmill_sanitize) && growth.lives >= LIVES_TO_JUDGE && growth.bytes() > GROWTH_MAX {
        println!("FAILED: it grows");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Ends the process when a life hangs.
fn watch(begun: Instant, seed: std::sync::Arc<AtomicU64>) {
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(200));
            if begun.elapsed().as_millis() as u64 > DEADLINE.load(Relaxed) {
                println!("FAILED: the life of seed {} hangs: {}", seed.load(Relaxed), life::whereabouts());
                std::process::exit(1);
            }
        }
    });
}

/// The panics that the soak itself throws are not news.
fn hush_chaos() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<&str>() != Some(&actors::CHAOS) {
            loud(info);
        }
    }));
}
