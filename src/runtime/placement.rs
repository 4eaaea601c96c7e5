//! Which worker runs on which CPU: the wish, the plan, and what became of it.
//!
//! Planning is a pure function of the wish and the [`Topology`]. Pinning is done by each worker for itself, as the first thing it does (so that what it
//! allocates afterwards lies near), is verified, and fails as a report: never by a panic. Nobody else's thread is ever pinned.

use super::topology::{self, Cpu, CpuId, Topology};
use crate::limits::SLEEPERS_MAX;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

mod pin;
mod report;

pub use super::topology::ListError;
pub use pin::{PinOutcome, pin_current};
pub use report::{PlacementReport, WorkerPlacement, warnings};

/// Where workers run.
///
/// | placement | pins | which CPUs |
/// |---|---|---|
/// | `None` | never | the scheduler decides |
/// | `Auto` | while there are fewer workers than CPUs, and no CPU quota is smaller | one per physical core, near each other, one CPU left to everybody else if there are four |
/// | `Cores` | always | the given ones, in the given order |
/// | `Spread` | always | one per physical core, across caches and memory nodes |
/// | `Pack` | always | one last-level cache is filled before the next is begun |
///
/// ```
/// use ringmill::runtime::placement::Placement;
///
/// let placement = Placement::Cores("2-5,9".parse()?);
/// assert_eq!(placement.to_string(), "cores 2,3,4,5,9");
/// assert_eq!(Placement::default(), Placement::Auto);
/// # Ok::<(), ringmill::runtime::placement::ListError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Placement {
    /// The scheduler decides, and may move workers.
    None,
    /// Pin where it helps.
    #[default]
    Auto,
    /// These CPUs, the first for the first worker. Isolated CPUs are allowed.
    Cores(CoreList),
    /// As far apart as possible: most cache and memory bandwidth for each worker.
    Spread,
    /// As close together as possible: cheapest hand-over between workers.
    Pack,
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Placement::None => f.write_str("none"),
            Placement::Auto => f.write_str("auto"),
            Placement::Cores(list) => write!(f, "cores {list}"),
            Placement::Spread => f.write_str("spread"),
            Placement::Pack => f.write_str("pack"),
        }
    }
}

/// A list of CPU numbers, as in `2-5,9`. The order is kept.
///
/// ```
/// use ringmill::runtime::placement::CoreList;
///
/// let list: CoreList = "9, 2-4".parse()?;
/// assert_eq!(list.as_slice(), [9, 2, 3, 4]);
/// let error = "2-5,x".parse::<CoreList>().unwrap_err();
/// assert_eq!(error.to_string(), "malformed list of CPUs at position 4: not a number");
/// # Ok::<(), ringmill::runtime::placement::ListError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreList(Vec<usize>);

impl CoreList {
    /// The CPU numbers, in the order given.
    pub fn as_slice(&self) -> &[usize] {
        &self.0
    }
}

impl FromStr for CoreList {
    type Err = ListError;

    fn from_str(text: &str) -> Result<Self, ListError> {
        topology::parse_list(text).map(CoreList)
    }
}

impl From<Vec<usize>> for CoreList {
    fn from(cpus: Vec<usize>) -> Self {
        CoreList(cpus)
    }
}

impl fmt::Display for CoreList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&joined(self.0.iter()))
    }
}

fn joined<T: fmt::Display>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

/// What happens when a worker cannot be pinned where the plan wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnPinFailure {
    /// The worker runs unpinned, and the report carries a warning.
    #[default]
    Warn,
    /// The runtime does not start.
    Error,
    /// The worker runs unpinned. The report still says so, without a warning.
    Ignore,
}

/// Why workers cannot be placed as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlacementError {
    /// A CPU that is not online, or that this process may not use.
    UnknownCore {
        /// The CPU asked for.
        core: usize,
        /// The CPUs that can be asked for.
        allowed: Vec<usize>,
    },
    /// A CPU is listed twice: two workers would share it.
    DuplicateCore {
        /// The CPU listed twice.
        core: usize,
    },
    /// More workers than CPUs to place them on.
    TooFewCores {
        /// The workers.
        workers: usize,
        /// The CPUs listed, or the CPUs of the process.
        cores: usize,
    },
    /// A worker could not be pinned, and [`OnPinFailure::Error`] was asked for.
    PinFailed {
        /// The worker.
        worker: usize,
        /// The CPU it was to run on.
        core: usize,
        /// What went wrong.
        reason: String,
    },
}

impl fmt::Display for PlacementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlacementError::UnknownCore { core, allowed } => {
                write!(f, "CPU {core} cannot be used by this process; allowed are {}", joined(allowed.iter()))
            }
            PlacementError::DuplicateCore { core } => write!(f, "CPU {core} is listed twice; each worker needs its own"),
            PlacementError::TooFewCores { workers, cores } => {
                write!(f, "{workers} workers cannot be placed on {cores} CPUs; each worker needs its own")
            }
            PlacementError::PinFailed { worker, core, reason } => write!(f, "worker {worker} could not be pinned to CPU {core}: {reason}"),
        }
    }
}

impl std::error::Error for PlacementError {}

/// The number of workers unless told otherwise: one less than there are physical cores for this process, not more than a CPU quota carries, at least one.
pub fn workers_default(topology: &Topology) -> usize {
    let quota = topology.quota_milli().map_or(usize::MAX, |milli| (milli / 1000) as usize);
    topology.physical_cores().saturating_sub(1).min(quota).clamp(1, SLEEPERS_MAX)
}

/// Decides the CPU of each worker; `None`: not pinned.
///
/// # Errors
///
/// [`UnknownCore`](PlacementError::UnknownCore), [`DuplicateCore`](PlacementError::DuplicateCore), [`TooFewCores`](PlacementError::TooFewCores).
pub fn plan(placement: &Placement, workers: usize, topology: &Topology) -> Result<Vec<Option<CpuId>>, PlacementError> {
    let ordered = match placement {
        Placement::None => return Ok(vec![None; workers]),
        // a worker pinned on every CPU leaves none to the publishers: ADR 0010 has the figures
        Placement::Auto if workers >= topology.usable().len() || topology.quota_below(workers) => return Ok(vec![None; workers]),
        Placement::Auto => in_order(topology, |ranked| {
            let Ranked { cpu, sibling, .. } = *ranked;
            (ranked.housekeeping, sibling, cpu.efficient, cpu.node, cpu.cache, cpu.id)
        }),
        Placement::Spread => in_order(topology, |ranked| {
            (ranked.sibling, ranked.cpu.efficient, ranked.core_in_cache, ranked.cache_in_node, ranked.cpu.node, ranked.cpu.id)
        }),
        Placement::Pack => in_order(topology, |ranked| {
            (ranked.cpu.node, ranked.cpu.cache, ranked.sibling, ranked.cpu.efficient, ranked.cpu.core, ranked.cpu.id)
        }),
        Placement::Cores(list) => listed(list, topology)?,
    };
    if workers > ordered.len() {
        return Err(PlacementError::TooFewCores { workers, cores: ordered.len() });
    }
    Ok(ordered.into_iter().take(workers).map(Some).collect())
}

fn listed(list: &CoreList, topology: &Topology) -> Result<Vec<CpuId>, PlacementError> {
    let mut seen = BTreeSet::new();
    list.0
        .iter()
        .map(|&core| {
            if topology.cpu(CpuId(core)).is_none() {
                let allowed = topology.cpus().iter().map(|cpu| cpu.id.0).collect();
                return Err(PlacementError::UnknownCore { core, allowed });
            }
            if !seen.insert(core) {
                return Err(PlacementError::DuplicateCore { core });
            }
            Ok(CpuId(core))
        })
        .collect()
}

/// A usable CPU and its place among the others.
struct Ranked {
    cpu: Cpu,
    /// 0: the first CPU of its physical core, 1: its sibling, ...
    sibling: usize,
    /// The number of its core within its cache.
    core_in_cache: usize,
    /// The number of its cache within its node.
    cache_in_node: usize,
    /// Left to interrupts and other threads as long as possible: the lowest CPU of four and more.
    housekeeping: bool,
}

fn in_order<K: Ord>(topology: &Topology, key: impl Fn(&Ranked) -> K) -> Vec<CpuId> {
    let usable = topology.usable();
    let mut cores: BTreeMap<CpuId, usize> = BTreeMap::new();
    let mut caches: BTreeMap<(usize, CpuId), BTreeSet<CpuId>> = BTreeMap::new();
    for cpu in &usable {
        caches.entry((cpu.node, cpu.cache)).or_default().insert(cpu.core);
    }
    let mut ranked: Vec<Ranked> = usable
        .iter()
        .map(|&cpu| {
            let siblings = cores.entry(cpu.core).or_insert(0);
            let sibling = *siblings;
            *siblings += 1;
            Ranked {
                cpu,
                sibling,
                core_in_cache: caches[&(cpu.node, cpu.cache)].range(..cpu.core).count(),
                cache_in_node: caches.range((cpu.node, CpuId(0))..(cpu.node, cpu.cache)).count(),
                housekeeping: usable.len() >= 4 && cpu.id == usable[0].id,
            }
        })
        .collect();
    ranked.sort_by_key(|ranked| key(ranked));
    ranked.into_iter().map(|ranked| ranked.cpu.id).collect()
}

#[cfg(all(test, not(loom)))]
mod tests;
