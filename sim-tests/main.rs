//! The whole runtime, simulated: the same code on one thread, in virtual time, by a seed, beside a plain model.
//!
//! A seed makes a service (four queues: with workers, by hand, with partitions, for dead letters; an exchange) with capacities, limits and policies of its own, and a list of
//! [steps](steps): publishes of every kind, by the test, by handlers and by tasks that wait, once or again and again; workers and the timer in an order of the seed's; handlers that fail, panic, take long or are
//! stuck; consumers that settle late or never; cancellations, pauses, purges, redrives, rebinding, leaps of the clock, a close. After every single act the [model](model) must agree about
//! every job, every count, every slot and the number of payloads that live. At the end whatever is left comes back by value.
//!
//! | | |
//! |---|---|
//! | `cargo test --release --features test-util --test sim` | 20 000 seeds, and the checks of the simulator itself |
//! | `RINGMILL_SIM_SEED=17 cargo test --release --features test-util --test sim seeds` | that seed again; its shortest form that fails is printed |
//! | `RINGMILL_SIM_SEEDS=1000000 ...`, `RINGMILL_SIM_SEEDS=1000000..2000000 ...` | so many seeds, those seeds |
//!
//! Without `--release` there are 300 seeds, and debug assertions.

#![allow(missing_docs, clippy::disallowed_types, clippy::disallowed_methods, reason = "a test that watches from outside")]

mod model;
mod run;
mod steps;
mod world;

use model::Wrong;
use ringmill::queue::Bend;
use ringmill::rng::Rng;
use ringmill::sim;
use run::{Setting, Summary, quieten, run, trace};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt::Debug;
use steps::{Step, steps};

/// Steps of a run.
const STEPS: usize = 200;
/// Seeds, unless the environment says otherwise. Without optimisation a few will do.
const SEEDS: u64 = if cfg!(debug_assertions) { 300 } else { 20_000 };

fn steps_of(seed: u64) -> Vec<Step> {
    steps(&mut Rng::new(seed), STEPS)
}

/// The steps that fail, as few as can be, and what they fail with.
fn shortest(setting: Setting, steps: Vec<Step>) -> (Vec<Step>, String) {
    let fails = |steps: &[Step]| run(setting, steps).is_err();
    let left = sim::shrink(steps, 2_000, fails);
    let message = run(setting, &left).expect_err("it fails");
    (left, message)
}

fn try_seed(setting: Setting) -> Summary {
    match run(setting, &steps_of(setting.seed)) {
        Ok(summary) => summary,
        Err(message) => {
            let (left, short) = {
                let _silent = Silent::begin();
                shortest(setting, steps_of(setting.seed))
            };
            let listed: Vec<String> = left.iter().map(|step| format!("    {:?}", step.act)).collect();
            panic!("seed {}: {message}\n{} of {STEPS} steps fail as well:\n{}\n{short}", setting.seed, left.len(), listed.join("\n"));
        }
    }
}

// two tests: one for each core of a small machine
#[test]
fn even_seeds_do_what_the_model_does() {
    run_seeds(0);
}

#[test]
fn odd_seeds_do_what_the_model_does() {
    run_seeds(1);
}

fn run_seeds(parity: u64) {
    quieten();
    let total = Cell::new(Summary::default());
    let (began, ran) = (std::time::Instant::now(), Cell::new(0_u64));
    sim::each_seed(SEEDS, |seed| {
        if seed % 2 == parity {
            total.set(total.get() + try_seed(Setting { seed, ..Setting::default() }));
            ran.set(ran.get() + 1);
        }
    });
    let Summary { acts, jobs, deliveries, time, trace } = total.get();
    let (seeds, took) = (ran.get(), began.elapsed());
    println!("{seeds} seeds, {acts} acts, {jobs} jobs, {deliveries} deliveries, {time} virtual ms, trace {trace:016x}, in {took:.1?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    quieten();
    let mut summaries = BTreeSet::new();
    for seed in 0..50 {
        let setting = Setting { seed, ..Setting::default() };
        let (summary, first) = trace(setting, &steps_of(seed)).expect("it passes");
        let (_, second) = trace(setting, &steps_of(seed)).expect("it passes");
        let differs = first.iter().zip(&second).find(|(first, second)| first != second);
        assert!(differs.is_none(), "seed {seed}: {differs:#?}");
        assert!(first.len() == second.len() && first.len() > STEPS, "seed {seed}: {} and {} lines", first.len(), second.len());
        summaries.insert(summary.trace);
    }
    assert!(summaries.len() > 45, "other seeds are other runs");
}

/// In the same run another choice of the scheduler is another trace: the comparison can fail.
#[test]
fn another_choice_is_another_run() {
    quieten();
    let setting = Setting { seed: 1, ..Setting::default() };
    let others = steps_of(1).into_iter().map(|step| Step { choices: step.choices ^ 1, ..step }).collect::<Vec<_>>();
    assert_ne!(trace(setting, &steps_of(1)).expect("it passes").1, trace(setting, &others).expect("it passes").1);
}

/// How many seeds it takes until `setting` is noticed.
fn seeds_until_noticed(setting: Setting, most: u64) -> Option<u64> {
    (0..most).find(|&seed| run(Setting { seed, ..setting }, &steps_of(seed)).is_err())
}

/// Each of the faults must be noticed within so many seeds.
fn assert_noticed<F: Copy + Debug>(faults: impl IntoIterator<Item = F>, setting: impl Fn(F) -> Setting, most: u64) {
    quieten();
    let _silent = Silent::begin();
    for fault in faults {
        let noticed = seeds_until_noticed(setting(fault), most);
        println!("{fault:?}: seed {noticed:?}");
        assert!(noticed.is_some(), "{fault:?} was not noticed");
    }
}

#[test]
fn a_model_with_a_wrong_rule_is_noticed() {
    use Wrong::*;
    let wrong = [
        Attempts,
        SnoozeSpends,
        ExpiryUncounted,
        KeyFreeEarly,
        HeldIsFree,
        StaleUncounted,
        AnyPool,
        CallerDelivers,
        LastComeFirst,
        LeaverKeeps,
        BatchBlind,
        CopiesOpenNone,
        ReserveForAll,
        ReserveLast,
        SkipCatchesUp,
    ];
    assert_noticed(wrong, |wrong| Setting { wrong: Some(wrong), ..Setting::default() }, 100);
}

/// Steps that ringmill leaves out, or does wrong. (Those that only another thread in between would notice are for the models of loom.)
#[test]
fn a_runtime_with_a_wrong_step_is_noticed() {
    use Bend::*;
    let bent = [SettleRereads, KeepCredit, KeepClaims, CancelUntold, CancelTells, ClaimsUnseen, TakeBackUnmarked, CloseUntold];
    assert_noticed(bent, |bent| Setting { bent: Some(bent), ..Setting::default() }, 500);
}

#[test]
fn a_failing_run_is_shrunk_to_a_few_steps() {
    quieten();
    let _silent = Silent::begin();
    let setting = Setting { wrong: Some(Wrong::Attempts), ..Setting::default() };
    let seed = seeds_until_noticed(setting, 100).expect("it is noticed");
    let setting = Setting { seed, ..setting };
    let (left, message) = shortest(setting, steps_of(seed));
    println!("seed {seed}: {left:#?}\n{message}");
    assert!(left.len() <= 12, "{} steps are left", left.len());
}

/// Failures that are wanted are not printed.
struct Silent;

impl Silent {
    fn begin() -> Self {
        run::SILENT.set(true);
        Silent
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        run::SILENT.set(false);
    }
}
