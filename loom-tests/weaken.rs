//! Every ordering and every fence of `src`, weakened alone: which model notices?
//!
//! The sites are those that `src/tidy` reads from the source. Nothing is rebuilt: under loom the back end of `sync` weakens the operation of the place that
//! `RINGMILL_WEAKEN` names (`src/sync/weaken.rs`). A first run records which model reaches which place; then each weakening is given to the models that
//! reach it, the cheapest first, until one fails. The verdicts stand in `docs/memory-ordering.md`.
//!
//! What was found is kept in files of `CARGO_TARGET_TMPDIR`, so that a run that was stopped goes on where it was: delete them to begin again.

#[allow(dead_code, reason = "of `src/tidy` only what reads the source")]
#[path = "../src/tidy/sites.rs"]
mod sites;
#[allow(dead_code, reason = "as above")]
#[path = "../src/tidy/source.rs"]
mod source;

/// How many lines above its operation a comment may begin: as in `src/tidy.rs`.
const REACH: usize = 6;

/// Whether models run for this command's sake: twins, which fail by themselves, say nothing then.
#[cfg(loom)]
pub fn runs() -> bool {
    ringmill::sync::is_weakened() || reaches()
}

/// Whether models run to say which places they reach: then they need not be explored to their end.
#[cfg(loom)]
pub fn reaches() -> bool {
    std::env::var_os("RINGMILL_REACH").is_some()
}

/// The seconds that a model may take which is given `seconds` otherwise. What it reaches it reaches soon, and mostly it notices a weakening soon or not at all.
#[cfg(loom)]
pub fn seconds(seconds: u64) -> u64 {
    match (reaches(), ringmill::sync::is_weakened()) {
        (true, _) => seconds.min(3),
        (_, true) => seconds.min(60),
        _ => seconds,
    }
}

/// Called when a model has ended: prints the places it reached, where somebody asks for them.
#[cfg(loom)]
pub fn told(reached: &[(&str, u32)]) {
    let places = reached.iter().filter(|place| place.0.starts_with("src/"));
    places.for_each(|(file, line)| println!("reached {file}:{line}"));
}

#[test]
fn no_two_sites_are_one_place() {
    let (sites, unread) = sites::sites(&source::sources());
    assert!(unread.is_empty(), "{unread:?}");
    assert!(sites.len() > 50, "only {} sites were read", sites.len());
    let mut places: Vec<_> = sites.iter().map(|site| &site.place).collect();
    places.sort();
    places.windows(2).for_each(|two| assert_ne!(two[0], two[1], "one line, one operation of a kind"));
}

#[cfg(loom)]
mod command {
    use super::sites::{Site, sites};
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs;
    use std::io::Write;
    use std::path::PathBuf;
    use std::process::Command;
    use std::time::{Duration, Instant};

    /// Seconds after which no further model is given a weakening; `RINGMILL_MUTATION_SECONDS` says otherwise.
    const SECONDS: u64 = 300;

    /// Weakened together: where each alone survives because the other does its work.
    const GROUPS: [&[(&str, &str, &str)]; 0] = [];

    /// A model: its seconds, and the places it reaches.
    type Models = BTreeMap<String, (f64, BTreeSet<String>)>;

    fn kept(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
    }

    fn of_tests(flags: &[&str]) -> BTreeSet<String> {
        let list = Command::new(std::env::current_exe().unwrap()).args(["--list", "--format", "terse"]).args(flags).output().unwrap();
        String::from_utf8(list.stdout).unwrap().lines().filter_map(|line| Some(line.strip_suffix(": test")?.to_owned())).collect()
    }

    /// Runs a model by itself: whether it passed, what it said, seconds.
    fn run(model: &str, variable: (&str, &str)) -> (bool, String, f64) {
        let began = Instant::now();
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.args([model, "--exact", "--nocapture", "--test-threads=1"]).env(variable.0, variable.1).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), said, began.elapsed().as_secs_f64())
    }

    fn models() -> Models {
        // of this build: another one has its operations in other lines
        let built = fs::metadata(std::env::current_exe().unwrap()).unwrap().modified().unwrap();
        let file = kept("weaken-reach.txt");
        let fresh = fs::metadata(&file).is_ok_and(|known| known.modified().unwrap() > built);
        if !fresh {
            let _ = fs::remove_file(&file);
        }
        let mut models = Models::new();
        for line in fs::read_to_string(&file).unwrap_or_default().lines() {
            let mut parts = line.split(' ');
            let (name, seconds) = (parts.next().unwrap().to_owned(), parts.next().unwrap().parse().unwrap());
            models.insert(name, (seconds, parts.map(str::to_owned).collect()));
        }
        let all = of_tests(&[]);
        let ignored = of_tests(&["--ignored"]);
        for model in all.difference(&ignored).filter(|model| !model.starts_with("weaken::")) {
            if models.contains_key(model) {
                continue;
            }
            let (passed, said, seconds) = run(model, ("RINGMILL_REACH", "1"));
            assert!(passed, "{model} fails as it is:\n{said}");
            let places: BTreeSet<String> = said.lines().filter_map(|line| Some(line.strip_prefix("reached ")?.to_owned())).collect();
            let mut out = fs::OpenOptions::new().create(true).append(true).open(&file).unwrap();
            writeln!(out, "{model} {seconds:.2} {}", Vec::from_iter(places.iter().cloned()).join(" ")).unwrap();
            models.insert(model.clone(), (seconds, places));
        }
        models
    }

    fn place(site: &Site) -> String {
        format!("{}:{}", site.place.0, site.place.1)
    }

    fn at(site: &Site, ordering: &str) -> String {
        format!("{}:{}:{ordering}", place(site), site.place.2)
    }

    /// The first model that fails under `weakened`, or how many did not.
    fn verdict(models: &Models, places: &[String], weakened: &str) -> String {
        let mut reach: Vec<_> = models.iter().filter(|(_, (_, reached))| places.iter().all(|place| reached.contains(place))).collect();
        reach.sort_by(|one, other| one.1.0.total_cmp(&other.1.0));
        let (began, mut tried, mut cut) = (Instant::now(), 0, 0);
        let seconds = std::env::var("RINGMILL_MUTATION_SECONDS").map_or(SECONDS, |said| said.parse().unwrap());
        for (model, _) in &reach {
            if began.elapsed() > Duration::from_secs(seconds) {
                break;
            }
            let (passed, said, _) = run(model, ("RINGMILL_WEAKEN", weakened));
            tried += 1;
            match passed {
                false if said.contains("was cut after") => cut += 1,
                false => return format!("`{}`", model.trim_end_matches("::holds").rsplit("::").next().unwrap()),
                true => {}
            }
        }
        format!("none, SURVIVES {tried} of {} models, {cut} of them cut", reach.len())
    }

    /// `RINGMILL_SITES=slab/` weakens only what begins so.
    #[test]
    #[ignore = "tier 2: an hour; goes on where it was stopped"]
    fn orderings_one_at_a_time() {
        let (all, _) = sites(&super::source::sources());
        let models = models();
        let chosen = std::env::var("RINGMILL_SITES").unwrap_or_default();
        let reached: BTreeSet<&String> = models.values().flat_map(|model| &model.1).collect();
        for site in all.iter().filter(|site| !reached.contains(&place(site))) {
            println!("no model reaches {}", site.row());
        }
        let file = kept("weaken-verdicts.txt");
        let known = fs::read_to_string(&file).unwrap_or_default();
        let mut known: BTreeMap<String, String> =
            known.lines().filter_map(|line| line.split_once(" => ")).map(|(site, said)| (site.to_owned(), said.to_owned())).collect();
        let single = all
            .iter()
            .flat_map(|site| site.weaker().iter().map(move |to| (format!("{} {} -> {to}", site.name, site.op), vec![(site, *to)])));
        let groups = GROUPS.iter().map(|group| {
            let of = |&(name, op, to): &(&str, &str, &'static str)| {
                (all.iter().find(|site| site.name == name && site.op == op).unwrap_or_else(|| panic!("no site {name} {op}")), to)
            };
            let said = group.iter().map(|(name, op, to)| format!("{name} {op} -> {to}"));
            (said.collect::<Vec<_>>().join(" and "), group.iter().map(of).collect())
        });
        for (name, weakened) in single.chain(groups).filter(|(name, _)| name.starts_with(&chosen)) {
            if !known.contains_key(&name) {
                let places: Vec<String> = weakened.iter().map(|(site, _)| place(site)).collect();
                let said: Vec<String> = weakened.iter().map(|(site, to)| at(site, to)).collect();
                let verdict = verdict(&models, &places, &said.join(","));
                let mut out = fs::OpenOptions::new().create(true).append(true).open(&file).unwrap();
                writeln!(out, "{name} => {verdict}").unwrap();
                known.insert(name.clone(), verdict);
            }
            println!("{name}: {}", known[&name]);
        }
        for site in &all {
            let edges: Vec<String> = site.edges.iter().map(|edge| format!("`{edge}`")).collect();
            let of = |to: &&str| Some(format!("{to}: {}", known.get(&format!("{} {} -> {to}", site.name, site.op))?));
            let verdicts: Vec<String> = site.weaker().iter().filter_map(of).collect();
            println!("| {} | {} | {} | {} |", site.row(), site.said_ordering(), edges.join(", "), verdicts.join("; "));
        }
        let killed = known.values().filter(|said| said.starts_with('`')).count();
        println!("{} weakenings of {} sites, {killed} killed", known.len(), all.len());
    }
}
