//! The whole example in one process: command line in, report out.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::Value;

use super::*;
use crate::drive::MAX_ATTEMPTS;
use crate::expected::{Expected, expected};

static GO: AtomicBool = AtomicBool::new(false);

fn prepare(words: &[&str]) -> Result<Replay, ReplayError> {
    Replay::prepare(Args::try_parse_from(std::iter::once(&"replay").chain(words)).expect("a right command line"))
}

/// The JSON report of a replay.
fn report(words: &[&str]) -> Value {
    let mut out = Vec::new();
    let balanced = prepare(words).unwrap().run(&GO, &mut out).unwrap();
    let report: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(report["ledger_ok"], balanced, "{report}");
    assert!(balanced, "{report}");
    report
}

#[track_caller]
fn assert_counts(report: &Value, counts: Expected) {
    let Expected { records, invalid, accepted, acked, dead_lettered, redelivered, panics } = counts;
    let fields = [
        ("records", records),
        ("invalid", invalid),
        ("accepted", accepted),
        ("acked", acked),
        ("dead_lettered", dead_lettered),
        ("redelivered", redelivered),
        ("panics", panics),
        ("dropped", 0),
        ("handed_back", 0),
        ("unpublished", 0),
        ("expired_leases", 0),
        ("stale_acks", 0),
        ("wake_rescued", 0),
    ];
    for (field, count) in fields {
        assert_eq!(report[field], count, "{field} in {report}");
    }
    let lanes = report["lanes"].as_array().unwrap();
    let started: u64 = lanes.iter().map(|lane| lane["started"].as_u64().unwrap()).sum();
    assert_eq!(started, accepted + redelivered, "{report}");
}

fn temp(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("ringmill-replay-{}-{name}", std::process::id()))
}

/// A trace from the wild, if it lies beside the project.
fn real(name: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    path.to_str().map(str::to_string)
}

#[test]
fn a_script_of_every_kind_ends_as_predicted() {
    let (trace, dead) = (temp("script.jsonl"), temp("script.dead"));
    let lines = [
        r#"{"at_us":0,"tenant":"a","key":"billing.invoice","lane":0,"service_us":5,"fail_times":1}"#,
        r#"{"at_us":1,"reject":true,"key":"mail.send"}"#,
        r#"{"at_us":2,"panic":true,"lane":2}"#,
        r#"{"at_us":3,"panic":true,"fail_times":2}"#,
        r#"{"at_us":4,"fail_times":9,"tenant":"b"}"#,
        r#"not a record"#,
        r#"{"at_us":5,"stall_ms":3}"#,
    ];
    std::fs::write(&trace, lines.join("\n")).unwrap();
    let words = [
        "--trace",
        trace.to_str().unwrap(),
        "--format",
        "jsonl",
        "--report",
        "json",
        "--loop",
        "3",
        "--dead-letters",
        dead.to_str().unwrap(),
    ];
    let report = report(&words);
    let redelivered = 3 * (1 + 4 + 2 + 4);
    assert_counts(
        &report,
        Expected { records: 21, invalid: 3, accepted: 18, acked: 9, dead_lettered: 9, redelivered, panics: 3 * (5 + 2) },
    );
    assert_eq!(report["invalid_lines"][0]["line"], 6);
    assert_eq!(report["invalid_lines"][0]["column"], 1);
    assert_eq!(report["tenants"]["distinct"], 2);

    let letters: Vec<Value> = std::fs::read_to_string(&dead).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut seen: Vec<_> = letters.iter().map(|letter| (letter["line"].as_u64().unwrap(), letter["attempts"].as_u64().unwrap())).collect();
    seen.sort_unstable();
    assert_eq!(seen, [(2, 1), (2, 1), (2, 1), (3, 5), (3, 5), (3, 5), (5, 5), (5, 5), (5, 5)]);
    for path in [trace, dead] {
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn the_generated_workload_ends_as_predicted() {
    let replay = prepare(&["--jobs", "20000", "--seed", "9", "--work-scale", "0", "--report", "json", "--capacity", "64"]).unwrap();
    let counts = expected(&replay.trace.records, 1, MAX_ATTEMPTS);
    let mut out = Vec::new();
    assert!(replay.run(&GO, &mut out).unwrap());
    assert_counts(&serde_json::from_slice(&out).unwrap(), counts);
}

#[test]
fn a_capacity_of_one_is_enough() {
    for capacity in ["1", "3"] {
        let report = report(&["--jobs", "500", "--work-scale", "0", "--report", "json", "--capacity", capacity]);
        assert_eq!(report["accepted"], 500);
    }
}

#[test]
fn a_real_access_log_ends_as_predicted() {
    let Some(path) = real("apache_access.log") else { return };
    let report = report(&["--trace", &path, "--format", "apache", "--report", "json"]);
    // 10 000 lines. Line 8 899 is cut off inside its user agent. Of the rest three are 500 (two failures each), two 403, two 416.
    let counts = Expected { records: 10_000, invalid: 1, accepted: 9_999, acked: 9_995, dead_lettered: 4, redelivered: 6, panics: 0 };
    assert_counts(&report, counts);
    let replay = prepare(&["--trace", &path, "--format", "apache"]).unwrap();
    assert_eq!(expected(&replay.trace.records, 1, MAX_ATTEMPTS), counts, "predicted from the records alone");
    assert_eq!((&report["invalid_lines"][0]["line"], &report["invalid_lines"][0]["column"]), (&8_899.into(), &183.into()));
    // 1 753 clients; all records of one of them are rejected or invalid, and only success is added up
    assert_eq!((&report["tenants"]["distinct"], &report["unit"]), (&1_752.into(), &"bytes".into()));
}

#[test]
fn a_real_inference_trace_ends_as_predicted() {
    let Some(path) = real("azure_llm_code.csv") else { return };
    let report = report(&["--trace", &path, "--format", "azure-llm", "--report", "json", "--work-scale", "0"]);
    assert_counts(&report, Expected { records: 8_819, accepted: 8_819, acked: 8_819, ..Expected::default() });
}

#[test]
fn a_paced_replay_takes_the_time_of_the_trace() {
    let trace = temp("paced.jsonl");
    std::fs::write(&trace, "{\"at_us\":400000}\n{\"at_us\":0}\n").unwrap();
    let words = ["--trace", trace.to_str().unwrap(), "--format", "jsonl", "--report", "json", "--speed", "4"];
    let elapsed = report(&words)["elapsed_s"].as_f64().unwrap();
    assert!(elapsed >= 0.1, "{elapsed} s");
    std::fs::remove_file(trace).unwrap();
}

#[test]
fn a_stopped_replay_still_reports_and_accounts_for_every_record() {
    let stop = AtomicBool::new(false);
    let replay = prepare(&["--jobs", "1000000", "--work-scale", "10", "--report", "json"]).unwrap();
    let mut out = Vec::new();
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            stop.store(true, Ordering::Relaxed);
        });
        assert!(replay.run(&stop, &mut out).unwrap());
    });
    assert!(start.elapsed() < Duration::from_secs(20));
    let report: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(report["interrupted"], true);
    assert!(report["unpublished"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn handlers_that_are_stuck_for_ever_are_accounted_for_too() {
    let trace = temp("stuck.jsonl");
    let lines: Vec<String> = (0..20).map(|at| format!("{{\"at_us\":{at},\"stall_ms\":{}}}", if at < 3 { 60_000 } else { 0 })).collect();
    std::fs::write(&trace, lines.join("\n")).unwrap();
    let stop = AtomicBool::new(false);
    let words = ["--trace", trace.to_str().unwrap(), "--format", "jsonl", "--report", "json", "--visibility-ms", "20", "--workers", "1"];
    let replay = prepare(&words).unwrap();
    let mut out = Vec::new();
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            stop.store(true, Ordering::Relaxed);
        });
        assert!(replay.run(&stop, &mut out).unwrap(), "{}", String::from_utf8_lossy(&out));
    });
    assert!(start.elapsed() < Duration::from_secs(20));
    let report: Value = serde_json::from_slice(&out).unwrap();
    let count = |field: &str| report[field].as_u64().unwrap();
    // the worker and its spare are stuck with a job each, whose leases have run out; nobody is left for the rest
    assert_eq!((count("accepted"), count("running"), count("expired_leases")), (20, 2, 2), "{report}");
    assert_eq!(count("acked") + count("handed_back"), 18, "{report}");
    std::fs::remove_file(trace).unwrap();
}

#[test]
fn more_dead_letters_than_their_queue_holds_all_come_out() {
    let (trace, dead) = (temp("poison.jsonl"), temp("poison.dead"));
    let lines: Vec<String> = (0..500).map(|at| format!("{{\"at_us\":{at},\"reject\":true}}")).collect();
    std::fs::write(&trace, lines.join("\n")).unwrap();
    for capacity in ["16", "4096"] {
        let files = ["--trace", trace.to_str().unwrap(), "--dead-letters", dead.to_str().unwrap()];
        let words = ["--format", "jsonl", "--report", "json", "--loop", "10", "--capacity", capacity];
        let report = report(&[&files[..], &words[..]].concat());
        assert_eq!(report["dead_lettered"], 5000);
        assert_eq!(std::fs::read_to_string(&dead).unwrap().lines().count(), 5000);
    }
    for path in [trace, dead] {
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn the_text_report_has_all_its_parts() {
    let mut out = Vec::new();
    prepare(&["--jobs", "100", "--work-scale", "0"]).unwrap().run(&GO, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    for part in [
        "generated workload, seed 1",
        "records",
        "accepted",
        "jobs/s",
        "critical",
        "worker",
        "tenant",
        "t00",
        "routing key",
        "mail.send",
        "the ledger balances",
    ] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
    assert!(text.lines().all(|line| line.len() <= 120), "{text}");
}

#[test]
fn dead_letters_never_overwrite_the_trace() {
    let trace = temp("same.jsonl");
    std::fs::write(&trace, "{\"at_us\":0}\n").unwrap();
    let path = trace.to_str().unwrap();
    let error = prepare(&["--trace", path, "--format", "jsonl", "--dead-letters", path]).unwrap_err();
    assert!(matches!(error, ReplayError::SameFile(_)), "{error}");
    assert_eq!(std::fs::read_to_string(&trace).unwrap(), "{\"at_us\":0}\n");
    std::fs::remove_file(trace).unwrap();
}

#[test]
fn files_that_cannot_be_made_or_read_are_named() {
    let error = prepare(&["--jobs", "1", "--dead-letters", "no/such/directory/dead"]).unwrap_err().to_string();
    assert!(error.starts_with("cannot write --dead-letters no/such/directory/dead: "), "{error}");
    let error = prepare(&["--trace", "no/such/trace", "--format", "apache"]).unwrap_err().to_string();
    assert!(error.starts_with("cannot read --trace no/such/trace: "), "{error}");
}

#[test]
fn a_stall_past_the_visibility_timeout_is_redelivered_and_its_ack_is_stale() {
    let trace = temp("stall.jsonl");
    std::fs::write(&trace, "{\"at_us\":0,\"stall_ms\":400}\n{\"at_us\":1}\n").unwrap();
    let words = ["--trace", trace.to_str().unwrap(), "--format", "jsonl", "--report", "json", "--visibility-ms", "50", "--workers", "2"];
    let report = report(&words);
    std::fs::remove_file(trace).unwrap();
    assert_eq!((&report["acked"], &report["redelivered"], &report["expired_leases"]), (&2.into(), &1.into(), &1.into()), "{report}");
    // the shutdown does not wait for the stuck handler, so that its late ack may come after the report
    assert!(report["stale_acks"].as_u64().unwrap() <= 1, "{report}");
}

#[cfg(not(feature = "config"))]
#[test]
fn a_build_without_topology_files_says_how_to_get_one() {
    let error = prepare(&["--topology", "examples/topologies/payments.yaml"]).unwrap_err().to_string();
    assert!(error.contains("--features config"), "{error}");
}

#[cfg(feature = "config")]
mod topologies {
    use super::*;

    /// So many jobs under each of the keys; every tenth of a key is rejected.
    fn trace(name: &str, keys: &[&str], each: u64) -> PathBuf {
        let path = temp(name);
        let line = |key: &str, n: u64| format!("{{\"at_us\":{n},\"key\":\"{key}\",\"reject\":{}}}\n", n.is_multiple_of(10));
        let text: String = keys.iter().flat_map(|key| (0..each).map(move |n| line(key, n))).collect();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Deliveries of each lane that had any.
    fn started(report: &Value) -> Vec<(&str, u64)> {
        let lanes = report["lanes"].as_array().unwrap().iter();
        lanes.map(|lane| (lane["name"].as_str().unwrap(), lane["started"].as_u64().unwrap())).filter(|lane| lane.1 > 0).collect()
    }

    fn through(file: &str, keys: &[&str]) -> Value {
        let trace = trace(&format!("{file}.jsonl"), keys, 200);
        let path = format!("examples/topologies/{file}");
        let report = report(&["--topology", &path, "--trace", trace.to_str().unwrap(), "--format", "jsonl", "--report", "json"]);
        let _ = std::fs::remove_file(trace);
        report
    }

    #[test]
    fn payments_go_by_key_and_the_rest_is_unroutable() {
        let report = through("payments.yaml", &["billing.x.y", "notifications", "other"]);
        assert_eq!(started(&report), [("billing_tasks.1", 200), ("notification_tasks.default", 200)]);
        assert_eq!((&report["unroutable"], &report["accepted"], &report["dead_lettered"]), (&200.into(), &400.into(), &40.into()));
    }

    #[test]
    fn requests_go_to_their_lanes_and_what_nobody_wants_to_the_alternate() {
        let report = through("weblog.toml", &["web.get.blog", "web.get.images", "web.post.api", "web.put.api"]);
        assert_eq!(started(&report), [("pages.writes", 200), ("pages.default", 200), ("assets.default", 200), ("odd.default", 200)]);
        assert_eq!((&report["unroutable"], &report["extra_copies"]), (&0.into(), &0.into()));
    }

    #[test]
    fn what_is_urgent_goes_to_the_audit_too() {
        let keys = ["tenant.acme.report", "tenant.acme.urgent.pay", "tenant.globex.urgent.pay", "tenant.initech.report"];
        let report = through("tenants.yaml", &keys);
        let wanted = [("acme.urgent", 200), ("acme.bulk", 200), ("globex.default", 200), ("shared.default", 200), ("audit.default", 400)];
        assert_eq!(started(&report), wanted);
        assert_eq!((&report["extra_copies"], &report["accepted"]), (&400.into(), &1200.into()));
    }

    #[test]
    fn an_exchange_that_is_not_there_is_named_with_those_that_are() {
        let error = prepare(&["--topology", "examples/topologies/weblog.toml", "--exchange", "request"]).unwrap_err().to_string();
        assert_eq!(error, "--exchange request is not in the topology, expected one of: requests, readers, leftovers");
    }

    #[test]
    fn exchanges_that_are_all_led_to_are_named_to_choose_from() {
        let path = temp("letters_only.yaml");
        std::fs::write(&path, "exchanges: [{ name: x, type: topic, bindings: [{ routing_key: '#', queue: parked }] }]\nqueues: [{ name: work, dlq: dead }, { name: dead, dead_letter_exchange: x }, { name: parked }]\n").unwrap();
        let error = prepare(&["--topology", path.to_str().unwrap()]).unwrap_err().to_string();
        std::fs::remove_file(path).unwrap();
        assert_eq!(error, "every exchange of the topology is an alternate or a dead-letter exchange, name one with --exchange: x");
    }

    #[test]
    fn nothing_overwrites_the_topology() {
        let path = temp("same.yaml");
        let text = std::fs::read_to_string("examples/topologies/payments.yaml").unwrap();
        std::fs::write(&path, &text).unwrap();
        let error = prepare(&["--topology", path.to_str().unwrap(), "--dead-letters", path.to_str().unwrap()]).unwrap_err();
        assert!(matches!(error, ReplayError::SameFile(_)), "{error}");
        let check = crate::args::Check { file: path.clone(), svg: None, dot: Some(path.clone()) };
        let error = crate::plan::check(&check, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, PlanError::SameFile(_)), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn check_says_what_is_there_and_draws_it() {
        let svg = temp("check.svg");
        let check = crate::args::Check { file: "examples/topologies/tenants.yaml".into(), svg: Some(svg.clone()), dot: None };
        let mut out = Vec::new();
        crate::plan::check(&check, &mut out).unwrap();
        let drawn = std::fs::read_to_string(&svg).unwrap();
        let _ = std::fs::remove_file(svg);
        assert!(drawn.starts_with("<svg ") && drawn.contains("globex_dead"));
        let said = String::from_utf8(out).unwrap();
        assert!(said.ends_with("good; exchanges 2, bindings 5, queues 4, dead-letter queues 2, pools 3\n"), "{said}");
        let faulty = crate::args::Check { file: "examples/topologies/none.yaml".into(), ..check };
        assert!(crate::plan::check(&faulty, &mut Vec::new()).unwrap_err().to_string().starts_with("error: cannot be read: "));
    }
}
