//! The lease protocol: slots, workers, a sweeping timer, a canceller and a producer in every interleaving.
//!
//! Found here and nowhere else: an index in two places, a payload under a reader, a lease that is short or overdue, a job that a stopped worker
//! strands. The machine is in [`machine`]; each [`Mutation`] breaks one rule of the protocol and must be caught by the named configuration.

#![allow(clippy::disallowed_methods)]

mod machine;

use machine::{State, Successors};
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// What goes on, and how often.
#[derive(Debug, Clone, Copy)]
struct Config {
    slots: u8,
    jobs: u8,
    workers: usize,
    /// Claims per batch.
    batch: u8,
    sweeps: u8,
    /// Of a lease, in ticks; two ticks make a sweep. Also the patience with unstarted claims.
    lease: u8,
    max_failures: u32,
    max_expiries: u32,
    cancels: u8,
    /// Jobs found too old before their start.
    ttl: u8,
    /// Claims that a worker gives back.
    returns: u8,
    steals: u8,
    extends: u8,
    nack: bool,
    delay: bool,
    delayed_publish: bool,
    /// Worker 0 may stop for ever, anywhere.
    halt: bool,
    mutation: Mutation,
}

const BASE: Config = Config {
    slots: 1,
    jobs: 1,
    workers: 2,
    batch: 1,
    sweeps: 3,
    lease: 1,
    max_failures: 1,
    max_expiries: 1,
    cancels: 0,
    ttl: 0,
    returns: 0,
    steals: 0,
    extends: 0,
    nack: true,
    delay: false,
    delayed_publish: false,
    halt: false,
    mutation: Mutation::None,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutation {
    None,
    StartWithoutBump,
    StartRereads,
    FillWithoutBump,
    ReturnWithoutBump,
    TakeBackWithoutBump,
    StealWithoutBump,
    ExtendWithoutBump,
    ClaimAfterStart,
    LeaveRereads,
    StaleNeverLeaves,
    SettleByStore,
    SettleReclaims,
    AckKeepsHolder,
    LateSettle,
    NackPushesFirst,
    DisposeReclaims,
    ExpireDropsHolder,
    BuriedReclaims,
    SightWithoutEpoch,
    SightByClaim,
    AgeFromClaim,
    StampFromSweepBegin,
    NoTakeBack,
    OneFlag,
    FireByStore,
    CancelWithoutId,
    CancelReclaims,
}

impl Config {
    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == mutation
    }
}

/// Two multiplications per word: a fingerprint of a state.
#[derive(Default)]
struct Mix(u64, u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte as u64));
    }
    fn write_u8(&mut self, value: u8) {
        self.write_u64(value as u64);
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0xff51_afd7_ed55_8ccd);
        self.0 ^= self.0 >> 32;
        self.1 = (self.1.rotate_left(23) ^ value).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    }
    fn finish(&self) -> u64 {
        let mixed = (self.0 ^ self.1.rotate_left(31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ mixed >> 32
    }
}

/// For fingerprints, which are mixed already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn write(&mut self, _: &[u8]) {
        unreachable!("fingerprints are u64");
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

fn fingerprint(state: &State) -> u64 {
    let mut mix = Mix::default();
    state.hash(&mut mix);
    mix.finish()
}

/// Visits every reachable state, depth first. The number of states, or the first violation with the way there.
fn explore(config: &Config) -> Result<usize, String> {
    let first = State::first(config);
    let mut seen = HashSet::<u64, BuildHasherDefault<Identity>>::default();
    seen.insert(fingerprint(&first));
    let mut stack = vec![(first, 0, "", "")];
    let mut way = Vec::new();
    let mut successors = Successors::new();
    while let Some((state, depth, who, what)) = stack.pop() {
        way.truncate(depth);
        way.push((who, what, state));
        let verdict = match state.successors(config, &mut successors) {
            Err((who, broken)) => Err(format!("{who}: {broken}")),
            Ok(()) if successors.is_empty() => state.check_end(config),
            Ok(()) => Ok(()),
        };
        verdict.and_then(|()| state.check_places(config)).map_err(|broken| report(config, &way, broken))?;
        for &(who, what, next) in &successors {
            if seen.insert(fingerprint(&next)) {
                stack.push((next, depth + 1, who, what));
            }
        }
    }
    Ok(seen.len())
}

fn report(config: &Config, way: &[(&str, &str, State)], broken: String) -> String {
    let mut text = format!("{broken}\n");
    let mut before = String::new();
    for (who, what, state) in way {
        let now = state.describe(config);
        text += &if now == before { format!("  {who}: {what}\n") } else { format!("  {who}: {what} -> {now}\n") };
        before = now;
    }
    text
}

fn holds(name: &str, config: Config) {
    let began = std::time::Instant::now();
    match explore(&config) {
        Ok(states) => println!("lease/{name}: {states} states, {:.1} s, DONE", began.elapsed().as_secs_f64()),
        Err(report) => panic!("lease/{name}: {report}"),
    }
}

fn is_caught(mutation: Mutation, config: Config) {
    match explore(&Config { mutation, ..config }) {
        Ok(states) => panic!("{mutation:?} was not caught in {states} states"),
        Err(report) => println!("lease/{mutation:?}: caught: {}", report.lines().next().unwrap_or_default()),
    }
}

// ---- configurations that hold ----

const EXPIRY: Config = BASE;
const LONG: Config = Config { lease: 2, sweeps: 4, max_failures: 0, ..BASE };
const REUSE: Config = Config { jobs: 2, sweeps: 2, max_failures: 0, ..BASE };
const CANCEL: Config = Config { jobs: 2, cancels: 1, sweeps: 2, ttl: 1, max_failures: 0, ..BASE };
const DELAY: Config = Config { delay: true, delayed_publish: true, cancels: 2, sweeps: 1, ..BASE };
const BATCH: Config = Config { slots: 2, jobs: 2, batch: 2, sweeps: 2, nack: false, ..BASE };
const RETURN: Config = Config { slots: 1, jobs: 2, returns: 1, cancels: 1, sweeps: 2, nack: false, ..BASE };
const STEAL: Config = Config { slots: 1, jobs: 2, steals: 1, cancels: 1, sweeps: 2, nack: false, ..BASE };
const EXTEND: Config = Config { extends: 2, sweeps: 4, max_failures: 0, nack: false, ..BASE };
const HALT: Config = Config { halt: true, sweeps: 4, max_failures: 0, nack: false, ..BASE };
const HALT_EXTEND: Config = Config { halt: true, extends: 1, sweeps: 5, nack: false, ..BASE };
const ZOMBIES: Config = Config { jobs: 2, sweeps: 4, nack: false, ..BASE };

#[test]
fn a_lease_expires_and_is_redelivered() {
    holds("expiry", EXPIRY);
}

#[test]
fn a_lease_outlives_a_sweep() {
    holds("long", LONG);
}

#[test]
fn a_slot_is_used_again() {
    holds("reuse", REUSE);
}

#[test]
fn a_job_is_cancelled_and_its_slot_used_again() {
    holds("cancel", CANCEL);
}

#[test]
fn a_delayed_job_is_cancelled_or_fires() {
    holds("delay", DELAY);
}

#[test]
fn two_workers_claim_batches() {
    holds("batch", BATCH);
}

#[test]
fn a_batch_is_given_back() {
    holds("return", RETURN);
}

#[test]
fn a_claim_is_stolen() {
    holds("steal", STEAL);
}

#[test]
fn a_lease_is_extended() {
    holds("extend", EXTEND);
}

#[test]
fn a_worker_stops_for_ever() {
    holds("halt", HALT);
}

#[test]
fn a_worker_stops_after_an_extension() {
    holds("halt, extend", HALT_EXTEND);
}

#[test]
fn two_holders_go_stale() {
    holds("zombies", ZOMBIES);
}

// ---- mutations that must be caught ----

#[test]
fn every_mutation_is_caught() {
    use Mutation::*;
    for (mutation, config) in [
        (StartWithoutBump, EXPIRY),
        (StartRereads, STEAL),
        (FillWithoutBump, CANCEL),
        (ReturnWithoutBump, RETURN),
        (TakeBackWithoutBump, BATCH),
        (StealWithoutBump, STEAL),
        (ExtendWithoutBump, EXTEND),
        (ClaimAfterStart, HALT),
        (LeaveRereads, ZOMBIES),
        (StaleNeverLeaves, EXPIRY),
        (SettleByStore, EXPIRY),
        (SettleReclaims, EXPIRY),
        (AckKeepsHolder, EXPIRY),
        (LateSettle, EXPIRY),
        (NackPushesFirst, EXPIRY),
        (DisposeReclaims, Config { cancels: 1, ..EXPIRY }),
        (ExpireDropsHolder, EXPIRY),
        (BuriedReclaims, ZOMBIES),
        (SightWithoutEpoch, ZOMBIES),
        (SightByClaim, HALT_EXTEND),
        (AgeFromClaim, EXPIRY),
        (StampFromSweepBegin, LONG),
        (NoTakeBack, HALT),
        (OneFlag, DELAY),
        (FireByStore, DELAY),
        (CancelWithoutId, CANCEL),
        (CancelReclaims, CANCEL),
    ] {
        is_caught(mutation, config);
    }
}

// ---- larger, on request: cargo test --release --test explore -- --ignored --nocapture lease ----

#[test]
#[ignore = "minutes"]
fn large_two_slots_everything() {
    holds("large: two slots", Config { slots: 2, jobs: 2, cancels: 1, sweeps: 2, extends: 1, ..BASE });
}

#[test]
#[ignore = "minutes"]
fn large_three_jobs() {
    holds("large: three jobs", Config { jobs: 3, cancels: 1, ttl: 1, returns: 1, steals: 1, ..BASE });
}
