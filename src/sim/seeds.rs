//! Many seeds, and the one that failed.

use std::env;
use std::fs;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

/// Runs `scenario` for the seeds 0, 1, 2, ... up to `seeds`; the first that panics is printed, with the commit and the command that runs it again, and the panic goes on.
///
/// `RINGMILL_SIM_SEED=17` runs that seed alone, `RINGMILL_SIM_SEEDS=100000` so many, `RINGMILL_SIM_SEEDS=100000..200000` those. (A number may be hexadecimal.)
///
/// ```
/// use ringmill::sim::{self, Sim};
/// use ringmill::{JobError, PoolConfig, QueueConfig};
/// use std::time::Duration;
///
/// sim::each_seed(20, |seed| {
///     let mut builder = Sim::builder(seed);
///     builder.pool(PoolConfig::new("default").workers(3)).unwrap();
///     let fail_once = |_: &u32, context: &ringmill::Context<u32>| if context.attempt() == 1 { Err(JobError::transient("no")) } else { Ok(()) };
///     let jobs = builder.queue(QueueConfig::new("jobs"), fail_once).unwrap();
///     let sim = Sim::start(builder).unwrap();
///     jobs.producer().unwrap().publish_batch(&mut (0..10));
///     sim.advance(Duration::from_secs(60));
///     assert_eq!((jobs.counts().acked, jobs.counts().retried), (10, 10)); // whoever ran them, in whatever order
/// });
/// ```
///
/// # Panics
/// When `scenario` does, or when what the variables say is no number.
pub fn each_seed(seeds: u64, scenario: impl Fn(u64)) {
    for seed in wanted(seeds) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| scenario(seed))) {
            complain(seed);
            resume_unwind(panic);
        }
    }
}

fn wanted(seeds: u64) -> Range<u64> {
    if let Ok(seed) = env::var("RINGMILL_SIM_SEED") {
        let seed = number(&seed);
        return seed..seed.saturating_add(1);
    }
    match env::var("RINGMILL_SIM_SEEDS") {
        Ok(said) => said.split_once("..").map_or_else(|| 0..number(&said), |(from, to)| number(from)..number(to)),
        Err(_) => 0..seeds,
    }
}

fn number(said: &str) -> u64 {
    let said = said.trim().replace('_', "");
    let parsed = said.strip_prefix("0x").map_or_else(|| said.parse(), |digits| u64::from_str_radix(digits, 16));
    parsed.unwrap_or_else(|error| panic!("a seed is a number, and `{said}` is none: {error}"))
}

fn complain(seed: u64) {
    let thread = std::thread::current();
    let test = thread.name().filter(|name| *name != "main").unwrap_or_default();
    let commit = commit().unwrap_or_else(|| "unknown".to_owned());
    eprintln!("seed {seed} failed, at commit {commit}. Again:\n    RINGMILL_SIM_SEED={seed} cargo test {test}");
}

/// The commit that is checked out where the test's package is.
fn commit() -> Option<String> {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?);
    let git = package.ancestors().map(|folder| folder.join(".git")).find(|git| git.is_dir())?;
    commit_of(&git)
}

fn commit_of(git: &Path) -> Option<String> {
    let head = fs::read_to_string(git.join("HEAD")).ok()?;
    let Some(reference) = head.trim().strip_prefix("ref: ") else { return Some(head.trim().to_owned()) };
    if let Ok(commit) = fs::read_to_string(git.join(reference)) {
        return Some(commit.trim().to_owned());
    }
    let packed = fs::read_to_string(git.join("packed-refs")).ok()?;
    packed.lines().find_map(|line| line.strip_suffix(reference)).map(|commit| commit.trim().to_owned())
}
