//! Which worker runs on which CPU: the wish, the plan, and what became of it.
//!
//! Planning is a pure function of the wish and the [`Topology`]. Pinning is done by each worker for itself, as the first thing it does (so that what it
//! allocates afterwards lies near), is verified, and fails as a report: never by a panic. Nobody else's thread is ever pinned.

use super::idle::Idle;
use super::topology::{self, Cpu, CpuId, Topology};
use crate::limits::SLEEPERS_MAX;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

pub use super::topology::ListError;

/// Where workers run.
///
/// | placement | pins | which CPUs |
/// |---|---|---|
/// | `None` | never | the scheduler decides |
/// | `Auto` | unless workers outnumber the CPUs, or a CPU quota is smaller | one per physical core, near each other, one CPU left to everybody else if there are four |
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
        Placement::Auto if topology.is_crowded_by(workers) => return Ok(vec![None; workers]),
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

/// What became of a wish to pin a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PinOutcome {
    /// Pinned, and the system confirms it.
    Pinned(CpuId),
    /// The system took the wish and has no way to confirm it.
    Unconfirmed(CpuId),
    /// The system took the wish, yet the thread may run elsewhere.
    Elsewhere {
        /// The CPU asked for.
        requested: CpuId,
        /// Where the thread may run.
        mask: Vec<CpuId>,
    },
    /// The system refused: the CPU is offline, outside the cpuset, or pinning is not permitted.
    Refused(CpuId),
    /// The number is beyond what the system interface can say.
    OutOfRange {
        /// The CPU asked for.
        requested: CpuId,
        /// The first number that cannot be said.
        limit: usize,
    },
    /// This system does not pin threads.
    Unsupported,
}

impl PinOutcome {
    /// The CPU the thread is known, or believed, to run on.
    pub fn cpu(&self) -> Option<CpuId> {
        match self {
            PinOutcome::Pinned(cpu) | PinOutcome::Unconfirmed(cpu) => Some(*cpu),
            PinOutcome::Elsewhere { mask, .. } if mask.len() == 1 => Some(mask[0]),
            _ => None,
        }
    }
}

impl fmt::Display for PinOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PinOutcome::Pinned(cpu) => write!(f, "pinned to CPU {cpu}"),
            PinOutcome::Unconfirmed(cpu) => write!(f, "asked for CPU {cpu}; this system cannot confirm it"),
            PinOutcome::Elsewhere { requested, mask } => {
                write!(f, "asked for CPU {requested}, but may run on {}", joined(mask.iter()))
            }
            PinOutcome::Refused(cpu) => write!(f, "the system refused CPU {cpu}: offline, outside the cpuset, or not permitted"),
            PinOutcome::OutOfRange { requested, limit } => {
                write!(f, "CPU {requested} is beyond the {limit} this system's interface can name")
            }
            PinOutcome::Unsupported => f.write_str("this system does not pin threads"),
        }
    }
}

/// The first CPU number that core_affinity cannot say: it would index past the system's mask.
const CPU_LIMIT: usize = if cfg!(windows) {
    64
} else if cfg!(any(target_os = "linux", target_os = "android")) {
    1024
} else {
    128
};

/// Systems on which `get_core_ids` tells the mask of the calling thread.
const CONFIRMS: bool = cfg!(any(target_os = "linux", target_os = "android"));
/// Systems on which pinning does something.
const PINS: bool = cfg!(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd", windows));

/// Pins the current thread, and looks whether it worked. Never panics.
pub fn pin_current(cpu: CpuId) -> PinOutcome {
    if !PINS {
        return PinOutcome::Unsupported;
    }
    if cpu.0 >= CPU_LIMIT {
        return PinOutcome::OutOfRange { requested: cpu, limit: CPU_LIMIT };
    }
    if !core_affinity::set_for_current(core_affinity::CoreId { id: cpu.0 }) {
        return PinOutcome::Refused(cpu);
    }
    if !CONFIRMS {
        return PinOutcome::Unconfirmed(cpu);
    }
    match topology::allowed_now() {
        Some(mask) if mask == [cpu] => PinOutcome::Pinned(cpu),
        Some(mask) => PinOutcome::Elsewhere { requested: cpu, mask },
        None => PinOutcome::Unconfirmed(cpu),
    }
}

/// Where the workers really run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PlacementReport {
    /// One entry per worker, by index.
    pub workers: Vec<WorkerPlacement>,
    /// What the user should know, in sentences.
    pub warnings: Vec<String>,
}

/// Where one worker really runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerPlacement {
    /// The worker.
    pub index: usize,
    /// The CPU the plan gave it.
    pub requested: Option<usize>,
    /// The CPU it runs on; `None`: it may move.
    pub actual: Option<usize>,
    /// True if it runs where the plan wanted it, and stays there.
    pub pinned: bool,
    /// Other workers on the same CPU.
    pub shared_with: Vec<usize>,
    /// Anything else worth knowing, such as why pinning failed.
    pub note: Option<String>,
}

impl PlacementReport {
    /// What became of `plan`: `outcomes` holds what each worker's [`pin_current`] returned, `None` where it was not to be pinned.
    ///
    /// # Errors
    ///
    /// [`PinFailed`](PlacementError::PinFailed) for the first worker that is not where it should be, if `on_failure` is [`OnPinFailure::Error`].
    pub fn new(
        plan: &[Option<CpuId>],
        outcomes: &[Option<PinOutcome>],
        on_failure: OnPinFailure,
        topology: &Topology,
    ) -> Result<PlacementReport, PlacementError> {
        let actual: Vec<Option<CpuId>> =
            plan.iter().enumerate().map(|(index, _)| outcomes.get(index).and_then(Option::as_ref).and_then(PinOutcome::cpu)).collect();
        let mut report = PlacementReport::default();
        for (index, requested) in plan.iter().enumerate() {
            let outcome = outcomes.get(index).and_then(Option::as_ref);
            let pinned = requested.is_some() && actual[index] == *requested;
            let others = |same: &dyn Fn(CpuId, CpuId) -> bool| -> Vec<usize> {
                let Some(own) = actual[index] else { return Vec::new() };
                (0..plan.len()).filter(|&other| other != index && actual[other].is_some_and(|other| same(own, other))).collect()
            };
            let core = |id| topology.cpu(id).map(|cpu| cpu.core);
            let siblings = others(&|own, other| own != other && core(own).is_some() && core(own) == core(other));
            let failure = requested.filter(|_| !pinned).map(|cpu| (cpu, outcome.map_or("not tried".to_owned(), PinOutcome::to_string)));
            if let Some((cpu, reason)) = &failure {
                match on_failure {
                    OnPinFailure::Error => {
                        return Err(PlacementError::PinFailed { worker: index, core: cpu.0, reason: reason.clone() });
                    }
                    OnPinFailure::Warn => report.warnings.push(format!("worker {index} is not pinned: {reason}")),
                    OnPinFailure::Ignore => (),
                }
            }
            let note = match (failure, outcome) {
                (Some((_, reason)), _) => Some(reason),
                (None, Some(outcome @ PinOutcome::Unconfirmed(_))) => Some(outcome.to_string()),
                _ if !siblings.is_empty() => Some(format!("on one physical core with worker {}", joined(siblings.iter()))),
                _ if requested.is_some_and(|id| topology.cpu(id).is_some_and(|cpu| cpu.isolated)) => Some("on an isolated CPU".to_owned()),
                _ => None,
            };
            report.workers.push(WorkerPlacement {
                index,
                requested: requested.map(|cpu| cpu.0),
                actual: actual[index].map(|cpu| cpu.0),
                pinned,
                shared_with: others(&|own, other| own == other),
                note,
            });
        }
        Ok(report)
    }
}

/// What is unwise about waiting like `idle` on `plan`: spinning workers that take CPU time from each other, or from a quota.
pub fn warnings(idle: Idle, plan: &[Option<CpuId>], topology: &Topology) -> Vec<String> {
    let workers = plan.len();
    let mut warnings = Vec::new();
    if idle != Idle::BusySpin {
        return warnings;
    }
    let mut on_cpu: BTreeMap<CpuId, Vec<usize>> = BTreeMap::new();
    let mut on_core: BTreeMap<CpuId, BTreeSet<CpuId>> = BTreeMap::new();
    for (index, cpu) in plan.iter().enumerate().filter_map(|(index, cpu)| cpu.map(|cpu| (index, cpu))) {
        on_cpu.entry(cpu).or_default().push(index);
        on_core.entry(topology.cpu(cpu).map_or(cpu, |cpu| cpu.core)).or_default().insert(cpu);
    }
    for (cpu, sharing) in on_cpu.iter().filter(|(_, sharing)| sharing.len() > 1) {
        warnings.push(format!("workers {} spin on one CPU ({cpu}): each waits for the other's time slice", joined(sharing.iter())));
    }
    for cpus in on_core.values().filter(|cpus| cpus.len() > 1) {
        warnings.push(format!("CPUs {} are one physical core: workers that spin there slow each other down", joined(cpus.iter())));
    }
    let usable = topology.usable().len();
    if workers > usable {
        warnings.push(format!("{workers} workers spin on {usable} CPUs: they take each other's time; use Adaptive or Park"));
    } else if plan.iter().any(Option::is_none) {
        warnings.push("workers spin unpinned: the scheduler may put two on one CPU; pin them, or use Adaptive".to_owned());
    } else if workers == usable {
        warnings.push(format!("{workers} workers spin on all {usable} CPUs: producers and the timer have none of their own"));
    }
    if let Some(quota) = topology.quota_milli().filter(|_| topology.quota_below(workers)) {
        warnings.push(format!(
            "{workers} workers spin under a CPU quota of {}.{:03}: the whole process is stopped when it is used up; use Park",
            quota / 1000,
            quota % 1000
        ));
    }
    warnings
}

#[cfg(all(test, not(loom)))]
mod tests;
