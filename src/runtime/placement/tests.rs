#![allow(clippy::disallowed_methods)]

use super::*;
use crate::runtime::idle::Idle;
use std::time::Duration;

fn cpu(id: usize, core: usize, cache: usize, node: usize) -> Cpu {
    Cpu { id: CpuId(id), core: CpuId(core), cache: CpuId(cache), node, efficient: false, isolated: false, allowed: true }
}

/// Two nodes of two caches of two cores of two CPUs: CPU = sibling * 8 + core.
fn server() -> Topology {
    Topology::from_parts((0..16).map(|id| cpu(id, id % 8, id % 8 / 2 * 2, id % 8 / 4)).collect(), None)
}

/// `count` CPUs without any structure.
fn flat(count: usize) -> Topology {
    Topology::from_parts((0..count).map(|id| cpu(id, id, 0, 0)).collect(), None)
}

fn planned(placement: Placement, workers: usize, topology: &Topology) -> Vec<usize> {
    plan(&placement, workers, topology).unwrap().into_iter().map(|cpu| cpu.expect("a CPU").0).collect()
}

fn cores(text: &str) -> Placement {
    Placement::Cores(text.parse().unwrap())
}

#[test]
fn nobody_is_pinned_unasked() {
    assert_eq!(plan(&Placement::None, 3, &server()), Ok(vec![None; 3]));
}

#[test]
fn auto_takes_physical_cores_near_each_other_and_the_first_cpu_last() {
    assert_eq!(planned(Placement::Auto, 5, &server()), [1, 2, 3, 4, 5]);
    assert_eq!(planned(Placement::Auto, 9, &server()), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(planned(Placement::Auto, 15, &server())[14], 15);
    assert_eq!(planned(Placement::Auto, 1, &flat(2)), [0], "a small machine has no housekeeping CPU to spare");
}

#[test]
fn auto_prefers_fast_cores_and_siblings_last() {
    let mut cpus: Vec<Cpu> = (0..4).map(|id| cpu(id, id / 2 * 2, 0, 0)).collect();
    cpus.extend((4..6).map(|id| Cpu { efficient: true, ..cpu(id, id, 0, 0) }));
    let hybrid = Topology::from_parts(cpus, None);
    assert_eq!(planned(Placement::Auto, 5, &hybrid), [2, 4, 5, 1, 3]);
}

#[test]
fn auto_does_not_pin_a_crowd() {
    assert_eq!(plan(&Placement::Auto, 3, &flat(2)), Ok(vec![None; 3]));
    assert_eq!(plan(&Placement::Auto, 2, &flat(2)), Ok(vec![None; 2]), "the publishers need a CPU too");
    assert_eq!(plan(&Placement::Auto, 16, &server()), Ok(vec![None; 16]));
    let limited = Topology::from_parts(flat(8).cpus().to_vec(), Some(2500));
    assert_eq!(plan(&Placement::Auto, 3, &limited), Ok(vec![None; 3]));
    assert_eq!(planned(Placement::Auto, 2, &limited), [1, 2]);
}

#[test]
fn spread_goes_across_nodes_then_caches_then_cores_then_siblings() {
    assert_eq!(planned(Placement::Spread, 16, &server()), [0, 4, 2, 6, 1, 5, 3, 7, 8, 12, 10, 14, 9, 13, 11, 15]);
}

#[test]
fn pack_fills_one_cache_first() {
    assert_eq!(planned(Placement::Pack, 7, &server()), [0, 1, 8, 9, 2, 3, 10]);
}

#[test]
fn isolated_cpus_are_used_only_by_number() {
    let mut cpus = flat(4).cpus().to_vec();
    cpus[3] = Cpu { isolated: true, allowed: false, ..cpus[3] };
    let topology = Topology::from_parts(cpus, None);
    assert_eq!(planned(Placement::Pack, 3, &topology), [0, 1, 2]);
    assert_eq!(plan(&Placement::Pack, 4, &topology), Err(PlacementError::TooFewCores { workers: 4, cores: 3 }));
    assert_eq!(planned(cores("3"), 1, &topology), [3]);
}

#[test]
fn listed_cores_are_used_in_order_and_may_be_more_than_needed() {
    assert_eq!(planned(cores("5,2-3"), 2, &server()), [5, 2]);
}

#[test]
fn a_bad_list_is_refused_with_everything_one_needs_to_know() {
    let topology = Topology::from_parts(vec![cpu(2, 2, 0, 0), cpu(4, 4, 0, 0)], None);
    let error = |text, workers| plan(&cores(text), workers, &topology).unwrap_err().to_string();
    assert_eq!(error("2,3", 2), "CPU 3 cannot be used by this process; allowed are 2,4");
    assert_eq!(error("4,2,4", 2), "CPU 4 is listed twice; each worker needs its own");
    assert_eq!(error("2,4", 3), "3 workers cannot be placed on 2 CPUs; each worker needs its own");
}

#[test]
fn no_plan_uses_a_cpu_twice() {
    for (placement, workers) in [(Placement::Auto, 15), (Placement::Spread, 16), (Placement::Pack, 16)] {
        let all: BTreeSet<usize> = planned(placement, workers, &server()).into_iter().collect();
        assert_eq!(all.len(), workers);
    }
}

#[test]
fn the_default_leaves_one_core_free_and_is_at_least_one() {
    assert_eq!(workers_default(&server()), 7);
    assert_eq!(workers_default(&flat(2)), 1);
    assert_eq!(workers_default(&flat(1)), 1);
    assert_eq!(workers_default(&flat(500)), SLEEPERS_MAX);
    assert_eq!(workers_default(&Topology::from_parts(flat(8).cpus().to_vec(), Some(2500))), 2);
    assert_eq!(workers_default(&Topology::from_parts(flat(8).cpus().to_vec(), Some(500))), 1);
}

#[test]
#[cfg(target_os = "linux")]
fn pinning_is_verified_and_never_panics() {
    let allowed: Vec<CpuId> = Topology::machine().usable().iter().map(|cpu| cpu.id).collect();
    let pin = |cpu| std::thread::spawn(move || (pin_current(cpu), topology::allowed_now())).join().expect("no panic");
    for &cpu in &allowed {
        assert_eq!(pin(cpu), (PinOutcome::Pinned(cpu), Some(vec![cpu])));
    }
    assert_eq!(pin(CpuId(1023)).0, PinOutcome::Refused(CpuId(1023)));
    assert_eq!(pin(CpuId(1024)).0, PinOutcome::OutOfRange { requested: CpuId(1024), limit: 1024 });
    assert_eq!(pin(CpuId(usize::MAX)).0, PinOutcome::OutOfRange { requested: CpuId(usize::MAX), limit: 1024 });
}

#[test]
#[cfg(target_os = "linux")]
fn a_pinned_thread_still_sees_the_whole_machine() {
    let before = Topology::machine().usable().len();
    let seen = std::thread::spawn(|| {
        pin_current(Topology::machine().usable()[0].id);
        Topology::machine().usable().len()
    });
    assert_eq!(seen.join().unwrap(), before);
}

#[test]
fn the_report_says_who_runs_where() {
    let topology = server();
    let plan = [Some(CpuId(0)), Some(CpuId(8)), Some(CpuId(3)), None];
    let outcomes = [
        Some(PinOutcome::Pinned(CpuId(0))),
        Some(PinOutcome::Unconfirmed(CpuId(8))),
        Some(PinOutcome::Elsewhere { requested: CpuId(3), mask: vec![CpuId(0)] }),
        None,
    ];
    let report = PlacementReport::new(&plan, &outcomes, OnPinFailure::Warn, &topology).unwrap();
    let row = |index: usize| {
        let worker = &report.workers[index];
        (worker.requested, worker.actual, worker.pinned, worker.shared_with.as_slice())
    };
    assert_eq!(row(0), (Some(0), Some(0), true, [2].as_slice()));
    assert_eq!(report.workers[0].note.as_deref(), Some("on one physical core with worker 1"));
    assert_eq!(row(1), (Some(8), Some(8), true, [].as_slice()));
    assert_eq!(report.workers[1].note.as_deref(), Some("asked for CPU 8; this system cannot confirm it"));
    assert_eq!(row(2), (Some(3), Some(0), false, [0].as_slice()));
    assert_eq!(row(3), (None, None, false, [].as_slice()));
    assert_eq!(report.warnings, ["worker 2 is not pinned: asked for CPU 3, but may run on 0"]);
}

#[test]
fn a_failure_is_a_warning_an_error_or_nothing() {
    let plan = [Some(CpuId(1))];
    let outcomes = [Some(PinOutcome::Refused(CpuId(1)))];
    let report = |on_failure| PlacementReport::new(&plan, &outcomes, on_failure, &flat(2));
    assert_eq!(report(OnPinFailure::Warn).unwrap().warnings.len(), 1);
    let ignored = report(OnPinFailure::Ignore).unwrap();
    assert!(ignored.warnings.is_empty() && !ignored.workers[0].pinned && ignored.workers[0].note.is_some());
    assert_eq!(
        report(OnPinFailure::Error).unwrap_err().to_string(),
        "worker 0 could not be pinned to CPU 1: the system refused CPU 1: offline, outside the cpuset, or not permitted"
    );
    // a worker that never got so far
    assert!(PlacementReport::new(&plan, &[], OnPinFailure::Error, &flat(2)).is_err());
}

#[test]
fn spinning_is_warned_of_where_it_hurts() {
    let spin = |cpus: &[usize], topology: &Topology| {
        let plan: Vec<_> = cpus.iter().map(|&id| Some(CpuId(id))).collect();
        warnings(Idle::BusySpin, &plan, topology)
    };
    assert!(spin(&[1, 2], &server()).is_empty());
    assert_eq!(spin(&[1, 9], &server()), ["CPUs 1,9 are one physical core: workers that spin there slow each other down"]);
    assert_eq!(spin(&[1, 1], &server()), ["workers 0,1 spin on one CPU (1): each waits for the other's time slice"]);
    assert_eq!(spin(&[0, 1], &flat(2)), ["2 workers spin on all 2 CPUs: producers and the timer have none of their own"]);
    let limited = Topology::from_parts(flat(8).cpus().to_vec(), Some(1500));
    assert_eq!(
        spin(&[1, 2], &limited),
        ["2 workers spin under a CPU quota of 1.500: the whole process is stopped when it is used up; use Park"]
    );
    assert_eq!(warnings(Idle::BusySpin, &[None], &server()).len(), 1);
    assert_eq!(warnings(Idle::BusySpin, &[None; 3], &flat(2)).len(), 1);
    assert!(warnings(Idle::Park, &[None; 3], &flat(2)).is_empty());
    assert!(warnings(Idle::Adaptive { spin: Duration::MAX }, &[Some(CpuId(1)); 2], &limited).is_empty());
}
