//! What the machine looks like: CPUs, cores, caches, memory nodes, and how much of it this process may use.
//!
//! Linux tells everything in files; [`Topology::read`] takes the root they hang from, so that tests bring their own machine. Whatever is missing (another system, a container
//! that hides `/sys`) degrades: each CPU is then its own core, and all share one cache and one node.
//!
//! The allowed CPUs are asked for once per process, before anything is pinned: a pinned thread is told of one CPU only, and so are its children.

use crate::sync::OnceLock;
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The number of a CPU as the operating system counts: not an index into anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuId(pub usize);

impl fmt::Display for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One CPU (a hardware thread).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpu {
    /// Its number.
    pub id: CpuId,
    /// The lowest CPU of its physical core: equal for SMT siblings.
    pub core: CpuId,
    /// The lowest CPU that shares its last-level cache.
    pub cache: CpuId,
    /// Its memory node.
    pub node: usize,
    /// An efficiency core of a hybrid machine.
    pub efficient: bool,
    /// Kept free by the scheduler (`isolcpus`): used only when asked for by number.
    pub isolated: bool,
    /// In the mask of the process.
    pub allowed: bool,
}

/// The machine, as far as this process may use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// Allowed and isolated CPUs, by number.
    cpus: Vec<Cpu>,
    /// The CPU quota of the cgroup, in thousandths of a CPU.
    quota_milli: Option<u64>,
}

impl Topology {
    /// This machine. The first call in the process reads it; later calls see the same, whatever has been pinned since.
    pub fn machine() -> &'static Topology {
        static MACHINE: OnceLock<Topology> = OnceLock::new();
        MACHINE.get_or_init(|| Topology::read(Path::new("/"), allowed_now()))
    }

    /// The machine described by the files under `root`, of which the CPUs `allowed` may be used; `None`: all that are online.
    pub fn read(root: &Path, allowed: Option<Vec<CpuId>>) -> Topology {
        let sys = root.join("sys/devices/system");
        let online = list_in(&sys.join("cpu/online"));
        let isolated = list_in(&sys.join("cpu/isolated")).unwrap_or_default();
        let allowed: BTreeSet<usize> = match (allowed, &online) {
            (Some(allowed), _) if !allowed.is_empty() => allowed.into_iter().map(|cpu| cpu.0).collect(),
            (_, Some(online)) if !online.is_empty() => online.iter().copied().collect(),
            _ => (0..std::thread::available_parallelism().map_or(1, usize::from)).collect(),
        };
        let online: BTreeSet<usize> = online.map_or_else(|| allowed.clone(), BTreeSet::from_iter);
        let isolated: BTreeSet<usize> = isolated.into_iter().filter(|cpu| online.contains(cpu)).collect();
        let efficient = list_in(&root.join("sys/devices/cpu_atom/cpus")).unwrap_or_default();
        let nodes = nodes_in(&sys.join("node"));

        let cpus = allowed.union(&isolated).map(|&id| {
            let dir = sys.join(format!("cpu/cpu{id}"));
            let siblings = list_in(&dir.join("topology/core_cpus_list")).or_else(|| list_in(&dir.join("topology/thread_siblings_list")));
            let package =
                fs::read_to_string(dir.join("topology/physical_package_id")).ok().and_then(|text| text.trim().parse::<usize>().ok());
            let cache = list_in(&dir.join("cache/index3/shared_cpu_list"));
            let node = nodes.iter().find(|(_, cpus)| cpus.contains(&id)).map(|&(node, _)| node);
            Cpu {
                id: CpuId(id),
                core: CpuId(siblings.and_then(|cpus| cpus.into_iter().min()).unwrap_or(id)),
                cache: CpuId(cache.and_then(|cpus| cpus.into_iter().min()).unwrap_or(0)),
                // a machine without node files: a package is the next best thing
                node: node.or(package).unwrap_or(0),
                efficient: efficient.contains(&id),
                isolated: isolated.contains(&id),
                allowed: allowed.contains(&id),
            }
        });
        Topology { cpus: cpus.collect(), quota_milli: quota_milli(root) }
    }

    /// A machine made of `cpus`, for tests and simulations.
    pub fn from_parts(mut cpus: Vec<Cpu>, quota_milli: Option<u64>) -> Topology {
        cpus.sort_by_key(|cpu| cpu.id);
        cpus.dedup_by_key(|cpu| cpu.id);
        Topology { cpus, quota_milli }
    }

    /// Every CPU that can be asked for by number: the allowed ones and the isolated ones.
    pub fn cpus(&self) -> &[Cpu] {
        &self.cpus
    }

    /// The CPUs that are used unasked: allowed and, unless nothing else is allowed, not isolated.
    pub fn usable(&self) -> Vec<Cpu> {
        let allowed = || self.cpus.iter().copied().filter(|cpu| cpu.allowed);
        if allowed().all(|cpu| cpu.isolated) { allowed().collect() } else { allowed().filter(|cpu| !cpu.isolated).collect() }
    }

    /// One CPU by number.
    pub fn cpu(&self, id: CpuId) -> Option<&Cpu> {
        self.cpus.iter().find(|cpu| cpu.id == id)
    }

    /// Physical cores among the usable CPUs.
    pub fn physical_cores(&self) -> usize {
        self.usable().iter().map(|cpu| cpu.core).collect::<BTreeSet<_>>().len()
    }

    /// The CPU time the cgroup may use, in thousandths of a CPU; `None`: no quota.
    pub fn quota_milli(&self) -> Option<u64> {
        self.quota_milli
    }

    /// True if `workers` threads that never sleep would use up the quota and be stopped until the next period.
    pub fn quota_below(&self, workers: usize) -> bool {
        self.quota_milli.is_some_and(|quota| quota < workers as u64 * 1000)
    }

    /// True if `workers` threads cannot all run at once: more threads than usable CPUs, or a smaller quota.
    pub fn is_crowded_by(&self, workers: usize) -> bool {
        workers > self.usable().len() || self.quota_below(workers)
    }
}

/// The CPUs the current thread may run on, asked of the system.
pub(crate) fn allowed_now() -> Option<Vec<CpuId>> {
    core_affinity::get_core_ids().map(|ids| ids.into_iter().map(|id| CpuId(id.id)).collect())
}

/// A malformed list of CPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListError {
    /// Where in the text, in bytes from its beginning.
    pub position: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed list of CPUs at position {}: {}", self.position, self.reason)
    }
}

impl std::error::Error for ListError {}

/// The most CPUs one list may name; a typing error must not ask for all the memory there is.
const LIST_MAX: usize = 1 << 16;

/// Parses a list like `2-5,9`, the kernel's own notation. The order is kept.
pub fn parse_list(text: &str) -> Result<Vec<usize>, ListError> {
    let mut cpus = Vec::new();
    let mut position = 0;
    for part in text.split(',') {
        let number = |text: &str, position: usize| {
            let indent = text.len() - text.trim_start().len();
            let error = |reason| ListError { position: position + indent, reason };
            let text = text.trim();
            match text.parse::<usize>() {
                _ if text.is_empty() => Err(error("a number is missing")),
                // `parse` takes a sign, a list does not
                Ok(_) if text.starts_with('+') => Err(error("not a number")),
                Ok(number) if number < LIST_MAX => Ok(number),
                Ok(_) => Err(error("no machine has so many CPUs")),
                Err(_) => Err(error("not a number")),
            }
        };
        match part.split_once('-') {
            None => cpus.push(number(part, position)?),
            Some((first, last)) => {
                let (low, high) = (number(first, position)?, number(last, position + first.len() + 1)?);
                if low > high {
                    return Err(ListError { position, reason: "the range ends before it begins" });
                }
                if cpus.len() + (high - low) >= LIST_MAX {
                    return Err(ListError { position, reason: "no machine has so many CPUs" });
                }
                cpus.extend(low..=high);
            }
        }
        position += part.len() + 1;
    }
    Ok(cpus)
}

/// The list in a file; `None` if there is none, or it makes no sense.
fn list_in(path: &Path) -> Option<Vec<usize>> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    if text.is_empty() { Some(Vec::new()) } else { parse_list(text).ok() }
}

/// The memory nodes and their CPUs, by number.
fn nodes_in(dir: &Path) -> Vec<(usize, Vec<usize>)> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut nodes: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let node = entry.file_name().to_str()?.strip_prefix("node")?.parse().ok()?;
            Some((node, list_in(&entry.path().join("cpulist"))?))
        })
        .collect();
    nodes.sort();
    nodes
}

/// The smallest CPU quota on the way from the process's cgroup to the root.
fn quota_milli(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mounts = root.join("sys/fs/cgroup");
    groups.lines().filter_map(|line| group_quota(&mounts, line)).min()
}

/// The quota that one line of `/proc/self/cgroup` leads to: `0::/a/b` (version 2) or `4:cpu,cpuacct:/a/b` (version 1).
fn group_quota(mounts: &Path, line: &str) -> Option<u64> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, group) = (fields.next()?, fields.next()?, fields.next()?);
    let quota_of: fn(&Path) -> Option<u64> = if controllers.is_empty() { quota_v2 } else { quota_v1 };
    let mounts: Vec<PathBuf> = match controllers {
        "" => vec![mounts.to_path_buf(), mounts.join("unified")],
        list if list.split(',').any(|name| name == "cpu") => vec![mounts.join("cpu"), mounts.join(list)],
        _ => return None,
    };
    let group = Path::new(group.trim_start_matches('/'));
    // in a container the path may be the host's, and the mount the group itself: the walk ends at the mount either way
    mounts.iter().flat_map(|mount| group.ancestors().filter_map(move |dir| quota_of(&mount.join(dir)))).min()
}

/// `cpu.max`: `max 100000`, or quota and period in microseconds.
fn quota_v2(dir: &Path) -> Option<u64> {
    let text = fs::read_to_string(dir.join("cpu.max")).ok()?;
    let mut fields = text.split_whitespace();
    let quota: u64 = fields.next()?.parse().ok()?;
    let period: u64 = fields.next().map_or(Some(100_000), |period| period.parse().ok())?;
    quota.checked_mul(1000)?.checked_div(period)
}

/// `cpu.cfs_quota_us` (-1: none) and `cpu.cfs_period_us`.
fn quota_v1(dir: &Path) -> Option<u64> {
    let read = |name: &str| fs::read_to_string(dir.join(name)).ok()?.trim().parse::<u64>().ok();
    read("cpu.cfs_quota_us")?.checked_mul(1000)?.checked_div(read("cpu.cfs_period_us")?)
}

#[cfg(all(test, not(loom)))]
mod tests;
