//! What became of a plan, and what is unwise about it.

use super::{OnPinFailure, PinOutcome, PlacementError, joined};
use crate::runtime::idle::Idle;
use crate::runtime::topology::{CpuId, Topology};
use std::collections::{BTreeMap, BTreeSet};

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
    /// What became of `plan`: `outcomes` holds what each worker's [`pin_current`](super::pin_current) returned, `None` where it was not to be pinned.
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
