//! The workload that runs when no trace is given: a function of the number of jobs, a seed and nothing else.
//!
//! | what | how much |
//! |---|---|
//! | jobs | `--jobs`, 100 000 |
//! | tenants | 24; `t00` publishes half of all jobs, the others share the rest evenly |
//! | routing keys | `billing.invoice`, `billing.refund` (critical lane); `mail.send`, `search.index`, `user.profile` (default); `image.resize`, `report.daily` (low) |
//! | lanes | critical 10 %, default 60 %, low 30 % |
//! | arrivals | bursts of 32 jobs, a mean of 100 000 jobs a second |
//! | service time | critical 1 to 5 us, default 1 to 10 us, low 5 to 40 us, evenly spread |
//! | fail once, then succeed | 1 % |
//! | fail three times, then succeed | 0.1 % |
//! | rejected | 0.2 % |
//! | panic once, then succeed | 0.02 % |
//! | stall | 0.01 %, for 5 ms or a quarter of the visibility timeout, whichever is shorter: no lease expires |
//!
//! The shares are probabilities; `expected` counts what a seed really gives.

use std::time::Duration;

use crate::record::{CRITICAL, DEFAULT, LOW, Names, Record, Script, Work};
use crate::trace::{Trace, arrange};

const TENANTS: u64 = 24;
const BURST: u64 = 32;
const JOBS_PER_SECOND: u64 = 100_000;
const STALL: Duration = Duration::from_millis(5);
/// Everything rare is decided in hundredths of a percent.
const PARTS: u64 = 10_000;

/// The workload of `seed`.
pub fn workload(jobs: u64, seed: u64, visibility: Duration) -> Trace {
    let mut dice = Dice(seed);
    let mut names = Names::default();
    let stall_ms = STALL.min(visibility / 4).as_millis() as u64;
    let burst_gap_ns = 1_000_000_000 / JOBS_PER_SECOND * BURST;
    let mut records = Vec::with_capacity(jobs as usize);
    let mut at = Duration::ZERO;
    for number in 0..jobs {
        if number > 0 && number.is_multiple_of(BURST) {
            at += Duration::from_nanos(dice.below(2 * burst_gap_ns + 1));
        }
        let tenant = if dice.below(2) == 0 { 0 } else { 1 + dice.below(TENANTS - 1) };
        let (lane, keys, service_us): (u8, &[&str], _) = match dice.below(100) {
            0..10 => (CRITICAL, &["billing.invoice", "billing.refund"], 1 + dice.below(5)),
            10..70 => (DEFAULT, &["mail.send", "search.index", "user.profile"], 1 + dice.below(10)),
            _ => (LOW, &["image.resize", "report.daily"], 5 + dice.below(36)),
        };
        let key = keys[dice.below(keys.len() as u64) as usize];
        let script = Script { service_us, ..course(dice.below(PARTS), stall_ms) };
        let tenant = names.get(&format!("t{tenant:02}"));
        records.push(Record { line: number + 1, at, tenant, key: names.get(key), lane, work: Work::Scripted(script) });
    }
    arrange(format!("generated workload, seed {seed}"), records)
}

/// What happens to a job that drew this number.
fn course(drawn: u64, stall_ms: u64) -> Script {
    let plain = Script::default();
    match drawn {
        0..100 => Script { fail_times: 1, ..plain },
        100..110 => Script { fail_times: 3, ..plain },
        110..130 => Script { reject: true, ..plain },
        130..132 => Script { fail_times: 1, panic: true, ..plain },
        132..133 => Script { stall_ms, ..plain },
        _ => plain,
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    /// A number below `end`, by multiplication.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        ((u128::from(z) * u128::from(end)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expected::expected;

    const VISIBILITY: Duration = Duration::from_secs(30);

    #[test]
    fn the_same_seed_gives_the_same_jobs() {
        let [a, b, c] = [7, 7, 8].map(|seed| workload(1000, seed, VISIBILITY).records);
        assert_eq!(a, b);
        assert_ne!(a, c);
    }

    #[test]
    fn more_jobs_begin_with_the_same_jobs() {
        let (few, many) = (workload(100, 1, VISIBILITY), workload(1000, 1, VISIBILITY));
        assert_eq!(few.records[..], many.records[..100]);
    }

    #[test]
    fn the_shares_are_as_documented() {
        let trace = workload(100_000, 1, VISIBILITY);
        let count = |hit: &dyn Fn(&Record) -> bool| trace.records.iter().filter(|record| hit(record)).count();
        assert!((9_500..10_500).contains(&count(&|record| record.lane == CRITICAL)));
        assert!((29_000..31_000).contains(&count(&|record| record.lane == LOW)));
        assert!((49_000..51_000).contains(&count(&|record| &*record.tenant == "t00")));
        let span = trace.records.last().unwrap().at.as_secs_f64();
        assert!((0.95..1.05).contains(&span), "{span} s");
        let counts = expected(&trace.records, 1, 5);
        assert_eq!((counts.accepted, counts.acked + counts.dead_lettered), (100_000, 100_000));
        assert!((150..250).contains(&counts.dead_lettered), "{counts:?}");
        assert!((1100..1500).contains(&counts.redelivered), "{counts:?}");
        assert!((5..40).contains(&counts.panics), "{counts:?}");
    }

    #[test]
    fn a_stall_stays_short_of_the_visibility_timeout() {
        for visibility_ms in [1, 3, 8, 30_000] {
            let trace = workload(20_000, 1, Duration::from_millis(visibility_ms));
            for record in &trace.records {
                let Work::Scripted(script) = &record.work else { panic!("scripted") };
                assert!(script.stall_ms * 4 <= visibility_ms && script.stall_ms <= 5);
            }
        }
    }
}
