//! Runs scenarios.

use super::drawn::{Drawn, Kind, Progress};
use crate::support::message;
use ringmill::queue::{Bend, bend};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};
use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

/// A twin that is not found out in so many schedules is not found.
const TWIN_SCHEDULES: u64 = 20_000;
/// A schedule that asks so often goes round in circles.
const ASKS_MAX: usize = 50_000;
/// How often a long run says how far it has come.
const SAYS: Duration = Duration::from_secs(60);

fn said(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |said| said.parse().unwrap_or_else(|_| panic!("{variable}: `{said}` is not a number")))
}

fn test() -> String {
    std::thread::current().name().expect("a test's thread bears its name").to_owned()
}

std::thread_local! {
    /// What is told if this thread panics.
    static ON_TRIAL: RefCell<Option<Arc<Progress>>> = const { RefCell::new(None) };
}

/// Whatever comes after a panic, the command that leads there is printed first.
fn tell_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if let Some(progress) = ON_TRIAL.take() {
                let (seed, test) = (progress.seed.load(Relaxed), test());
                progress.failure.set(message(info.payload())).expect("there is one first panic");
                println!(
                    "{test}: FAILED with seed {seed}, after {} schedules. Once more, alone:\n\
                     RINGMILL_SEED={seed} RINGMILL_SCHEDULES=1 RUSTFLAGS=\"--cfg ringmill_shuttle\" CARGO_TARGET_DIR=target/shuttle \
                     cargo test --release --features test-util --test loom -- --exact --nocapture {test}",
                    progress.begun.load(Relaxed)
                );
            }
            before(info);
        }));
    });
}

/// Runs `scenario` in the schedules of `seeds`. What it came to, and the panic that ended it.
fn run(kind: Kind, length: u64, seeds: std::ops::Range<u64>, scenario: fn()) -> (Arc<Progress>, Result<(), Box<dyn Any + Send>>) {
    let mut config = Config::new();
    config.stack_size = 0x2_0000;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(ASKS_MAX);
    config.silence_warnings = true;
    config.ungraceful_shutdown_config.immediately_return_on_panic = true;
    tell_on_panic();
    let progress = Arc::new(Progress::default());
    ON_TRIAL.set(Some(Arc::clone(&progress)));
    let (test, began) = (test(), Instant::now());
    let last = std::sync::Mutex::new(Instant::now());
    let told = Arc::clone(&progress);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let scheduler = Drawn::new(kind, length, seeds, Arc::clone(&progress));
        Runner::new(scheduler, config).run(move || {
            scenario();
            let mut last = last.lock().expect("it is not held across a panic");
            if last.elapsed() > SAYS {
                *last = Instant::now();
                println!("{test}: {} schedules in {:.0} s", told.begun.load(Relaxed), began.elapsed().as_secs_f64());
            }
        });
    }));
    ON_TRIAL.set(None);
    (progress, outcome.map(drop))
}

/// All schedules must hold.
pub fn check(kind: Kind, length: u64, scenario: fn()) {
    let (first, count) = (said("RINGMILL_SEED", 1), said("RINGMILL_SCHEDULES", 300));
    let began = Instant::now();
    let (progress, outcome) = run(kind, length, first..first + count, scenario);
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
    let (begun, seconds) = (progress.begun.load(Relaxed), began.elapsed().as_secs_f64());
    println!(
        "{}: {begun} schedules, seeds {first} to {}, {} steps on average, {} at most, {seconds:.1} s, {:.0} a second",
        test(),
        first + count - 1,
        progress.steps.load(Relaxed) / begun.max(1),
        progress.longest.load(Relaxed),
        begun as f64 / seconds
    );
}

/// Some schedule must fail, for `reason`.
pub fn twin(kind: Kind, length: u64, reason: &str, bent: Option<Bend>, scenario: fn()) {
    let first = said("RINGMILL_SEED", 1);
    let count = if said("RINGMILL_SCHEDULES", 300) == 1 { 1 } else { TWIN_SCHEDULES };
    bend(bent);
    let (progress, outcome) = run(kind, length, first..first + count, scenario);
    bend(None);
    let (test, begun) = (test(), progress.begun.load(Relaxed));
    assert!(outcome.is_err(), "{test}: the fault was not found in {begun} schedules, so its scenario proves nothing");
    let message = progress.failure.get().map_or("", String::as_str);
    assert!(message.contains(reason), "{test}: found, but not for \"{reason}\": {message}");
    println!("{test}: found after {begun} schedules: {}", message.lines().next().unwrap_or_default());
}

/// The same seed is the same schedule, also with others before it.
#[test]
fn the_same_seed_is_the_same_schedule() {
    for kind in [Kind::Random, Kind::Pct] {
        let choices = |seed| run(kind, 700, seed..seed + 1, super::lanes::lanes).0.choices.load(Relaxed);
        let [one, other, again] = [7, 8, 7].map(choices);
        assert_eq!(one, again, "{kind:?}");
        assert_ne!(one, other, "{kind:?}");
    }
}
