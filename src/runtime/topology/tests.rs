use super::*;

/// A tree of files in a directory of its own, removed at the end.
struct Fixture(PathBuf);

impl Fixture {
    fn new(name: &str, files: &[(&str, &str)]) -> Fixture {
        let root = std::env::temp_dir().join(format!("ringmill-topology-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Fixture(root)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn ids(cpus: &[usize]) -> Option<Vec<CpuId>> {
    Some(cpus.iter().copied().map(CpuId).collect())
}

#[test]
fn lists_are_read_as_the_kernel_writes_them() {
    assert_eq!(parse_list("2-5,9"), Ok(vec![2, 3, 4, 5, 9]));
    assert_eq!(parse_list("7"), Ok(vec![7]));
    assert_eq!(parse_list(" 9, 1-2 "), Ok(vec![9, 1, 2]));
    assert_eq!(parse_list("3-3"), Ok(vec![3]));
}

#[test]
fn an_error_in_a_list_names_its_position() {
    let position = |text| parse_list(text).unwrap_err().position;
    assert_eq!(position(""), 0);
    assert_eq!(position("1,,2"), 2);
    assert_eq!(position("1,x"), 2);
    assert_eq!(position("1, x"), 3);
    assert_eq!(position("4-"), 2);
    assert_eq!(position("0,7-5"), 2);
    assert_eq!(position("-1"), 0);
    assert_eq!(position("1,+2"), 2);
    assert_eq!(position("99999999999999999999999"), 0);
    assert_eq!(position("0-4000000000"), 2);
    assert_eq!(position("0-65535,0-65535"), 8);
    assert_eq!(parse_list("1,x").unwrap_err().to_string(), "malformed list of CPUs at position 2: not a number");
}

#[test]
fn two_packages_with_smt_are_understood() {
    let mut files = vec![
        ("sys/devices/system/cpu/online".to_owned(), "0-7\n".to_owned()),
        ("sys/devices/system/cpu/isolated".to_owned(), "7\n".to_owned()),
        ("sys/devices/system/node/node0/cpulist".to_owned(), "0-1,4-5\n".to_owned()),
        ("sys/devices/system/node/node1/cpulist".to_owned(), "2-3,6-7\n".to_owned()),
        ("sys/devices/system/node/has_cpu".to_owned(), "0-1\n".to_owned()),
    ];
    for cpu in 0..8 {
        let dir = format!("sys/devices/system/cpu/cpu{cpu}");
        let low = cpu % 4;
        // an old kernel for odd CPUs: only thread_siblings_list
        let name = if cpu % 2 == 0 { "core_cpus_list" } else { "thread_siblings_list" };
        files.push((format!("{dir}/topology/{name}"), format!("{low},{}\n", low + 4)));
        files.push((format!("{dir}/topology/physical_package_id"), format!("{}\n", low / 2)));
        files.push((format!("{dir}/cache/index3/shared_cpu_list"), if low < 2 { "0-1,4-5\n" } else { "2-3,6-7\n" }.to_owned()));
    }
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let tree = Fixture::new("packages", &files);
    // CPU 0 is not ours; the isolated CPU 7 is not in the mask and can still be asked for
    let topology = Topology::read(&tree.0, ids(&[1, 2, 3, 4, 5, 6]));
    assert_eq!(topology.cpus().iter().map(|cpu| cpu.id.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(topology.usable().len(), 6);
    assert_eq!(topology.physical_cores(), 4);
    let six = *topology.cpu(CpuId(6)).unwrap();
    assert_eq!((six.core, six.cache, six.node), (CpuId(2), CpuId(2), 1));
    let seven = *topology.cpu(CpuId(7)).unwrap();
    assert!(seven.isolated && !seven.allowed && seven.core == CpuId(3));
    assert_eq!(topology.cpu(CpuId(0)), None);
    assert_eq!(topology.quota_milli(), None);
}

#[test]
fn a_machine_without_files_is_flat() {
    let topology = Topology::read(Path::new("/nowhere/at/all"), ids(&[2, 4]));
    assert_eq!(topology.usable().len(), 2);
    assert_eq!(topology.physical_cores(), 2);
    assert!(topology.cpus().iter().all(|cpu| cpu.cache == CpuId(0) && cpu.node == 0 && !cpu.isolated && cpu.allowed));
    assert!(!Topology::read(Path::new("/nowhere/at/all"), None).usable().is_empty());
    assert!(!Topology::read(Path::new("/nowhere/at/all"), ids(&[])).usable().is_empty());
}

#[test]
fn files_that_make_no_sense_are_as_good_as_missing() {
    let tree = Fixture::new(
        "nonsense",
        &[
            ("sys/devices/system/cpu/online", "what?"),
            ("sys/devices/system/cpu/cpu1/topology/core_cpus_list", "1-"),
            ("sys/devices/system/node/nodeX/cpulist", "0"),
            ("proc/self/cgroup", "0:\ncpu\n:::\n"),
            ("sys/fs/cgroup/cpu.max", "lots 0"),
        ],
    );
    let topology = Topology::read(&tree.0, ids(&[0, 1]));
    assert_eq!(topology.physical_cores(), 2);
    assert_eq!(topology.quota_milli(), None);
}

#[test]
fn all_isolated_is_usable_because_nothing_else_is() {
    let tree = Fixture::new("isolated", &[("sys/devices/system/cpu/online", "0-3"), ("sys/devices/system/cpu/isolated", "2-3")]);
    assert_eq!(Topology::read(&tree.0, ids(&[2, 3])).usable().len(), 2);
    assert_eq!(Topology::read(&tree.0, ids(&[1, 2])).usable().len(), 1);
    assert_eq!(Topology::read(&tree.0, ids(&[0, 1])).cpus().len(), 4);
}

#[test]
fn efficiency_cores_are_known() {
    let tree = Fixture::new("hybrid", &[("sys/devices/system/cpu/online", "0-3"), ("sys/devices/cpu_atom/cpus", "2-3")]);
    let topology = Topology::read(&tree.0, None);
    assert_eq!(topology.cpus().iter().map(|cpu| cpu.efficient).collect::<Vec<_>>(), [false, false, true, true]);
}

#[test]
fn the_smallest_quota_on_the_way_up_counts() {
    let tree = Fixture::new(
        "quota2",
        &[
            ("proc/self/cgroup", "0::/outer/inner\n"),
            ("sys/fs/cgroup/outer/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/outer/inner/cpu.max", "max 100000\n"),
        ],
    );
    let topology = Topology::read(&tree.0, ids(&[0, 1, 2]));
    assert_eq!(topology.quota_milli(), Some(1500));
    assert!(topology.quota_below(2) && !topology.quota_below(1));
    assert!(topology.is_crowded_by(2) && !topology.is_crowded_by(1));
}

#[test]
fn a_quota_of_the_first_version_is_read_too() {
    let tree = Fixture::new(
        "quota1",
        &[
            ("proc/self/cgroup", "5:cpu,cpuacct:/docker/abc\n0::/\n"),
            // in a container the mount is the group itself
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ],
    );
    assert_eq!(Topology::read(&tree.0, None).quota_milli(), Some(2000));
    let unlimited = Fixture::new(
        "quota0",
        &[
            ("proc/self/cgroup", "1:cpu:/\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ],
    );
    assert_eq!(Topology::read(&unlimited.0, None).quota_milli(), None);
}

#[test]
fn this_machine_has_a_cpu() {
    assert!(!Topology::machine().usable().is_empty());
    assert!(std::ptr::eq(Topology::machine(), Topology::machine()));
}
