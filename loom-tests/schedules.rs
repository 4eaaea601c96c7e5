//! Whole runtimes with eight and more threads, in schedules drawn at random and by PCT: where loom's models end. `--cfg ringmill_shuttle` only.
//!
//! `RUSTFLAGS="--cfg ringmill_shuttle" CARGO_TARGET_DIR=target/shuttle cargo test --release --features test-util --test loom -- schedules --nocapture`
//!
//! | variable | means |
//! |---|---|
//! | `RINGMILL_SCHEDULES` | how many schedules each scenario gets of each kind; 300 unless said |
//! | `RINGMILL_SEED` | the seed of the first; 1 unless said. A schedule is its seed: the next one's is one more |
//!
//! | file | what meets what |
//! |---|---|
//! | `lanes` | publishers and workers over two lanes: acks, retries, rejects, to the end |
//! | `shutdown` | a shutdown against publishers and workers |
//! | `waiting` | publishers that wait for slots, consumers, a cancel, a close |
//! | `leases` | leases that run out, against acks, extensions and stale holders, as a thread moves the clock |
//! | `keys` | jobs with partition keys, on workers that steal |
//! | `told` | fan-outs, and publishers that wait for the ends of their jobs |
//! | `chains` | follow-ups, against a shutdown that drains, and on consumers of a closed queue |
//! | `drawn` | the two kinds of schedules |
//! | `run` | runs a scenario, or a twin, and says how to see a failure again |
//!
//! A twin is a scenario with a fault: a step of the protocol is [bent](ringmill::queue::Bend), or the scenario's own service is wrong. Both kinds of schedules must find it.
//! A failure prints its seed, and the command that runs that schedule alone.

mod chains;
mod drawn;
mod keys;
mod lanes;
mod leases;
mod run;
mod shutdown;
mod told;
mod waiting;
mod world;

/// The tests of a scenario: schedules of each kind, and its twins under each.
macro_rules! scenario {
    ($scenario:path, $length:literal $(, $twin:ident: $reason:literal, $bent:expr, $faulty:expr)* $(,)?) => {
        use crate::schedules::{drawn::Kind, run};

        #[test]
        fn random() {
            run::check(Kind::Random, $length, $scenario);
        }

        #[test]
        fn pct() {
            run::check(Kind::Pct, $length, $scenario);
        }

        $(
            mod $twin {
                use super::*;

                #[test]
                fn random() {
                    run::twin(Kind::Random, $length, $reason, $bent, $faulty);
                }

                #[test]
                fn pct() {
                    run::twin(Kind::Pct, $length, $reason, $bent, $faulty);
                }
            }
        )*
    };
}
use scenario;
