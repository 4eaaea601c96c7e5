//! The report for people.

use crate::aggregate::Ranking;
use crate::outcome::{Lane, Quantiles, Worker};
use crate::report::Report;
use crate::table::{Table, grouped, nanos, short};

const NAME_WIDTH: usize = 40;

/// The whole report; ends with a line break.
pub fn render(report: &Report) -> String {
    let mut parts =
        vec![format!("{}\n", short(&report.trace, 100)), counts(report), speed(report), lanes(&report.lanes), workers(&report.workers)];
    parts.push(ranking("tenant", &report.tenants, report.unit));
    parts.push(ranking("routing key", &report.keys, report.unit));
    parts.retain(|part| !part.is_empty());
    parts.push(verdict(report));
    parts.join("\n")
}

fn counts(report: &Report) -> String {
    let line = |left: &str, a: u64, right: &str, b: u64| format!("  {left:<18}{:>12}    {right:<18}{:>10}\n", grouped(a), grouped(b));
    let last = |left: &str, a: u64| format!("  {left:<18}{:>12}\n", grouped(a));
    let counts = &report.counts;
    let mut rows = vec![
        line("records", report.records, "redelivered", counts.redelivered),
        line("  invalid", counts.invalid, "panics", counts.panics),
        line("  unpublished", counts.unpublished, "expired leases", counts.expired_leases),
        line("  accepted", counts.accepted, "stale acks", counts.stale_acks),
        line("    acked", counts.acked, "wake-ups rescued", report.wake_rescued),
        last("    dead-lettered", counts.dead_lettered),
        last("    dropped", counts.dropped),
        last("    handed back", counts.handed_back),
        last("    still running", counts.running),
    ];
    if counts.unroutable + counts.extra_copies > 0 {
        rows.insert(2, line("  unroutable", counts.unroutable, "extra copies", counts.extra_copies));
    }
    rows.concat()
}

fn speed(report: &Report) -> String {
    let mut text = format!("  {:.3} s, {} jobs/s", report.elapsed_s, grouped(report.jobs_per_s.round() as u64));
    if report.behind_max_s > 0.0 {
        text += &format!(", publisher at most {} behind the trace", nanos((report.behind_max_s * 1e9) as u64));
    }
    text + "\n"
}

fn lanes(lanes: &[Lane]) -> String {
    let mut table = Table::new(&["lane", "started", "wait p50", "p99", "p99.9", "max", "run p50", "p99", "p99.9", "max"]);
    for lane in lanes {
        let times = [lane.wait_ns, lane.run_ns].into_iter().flat_map(|Quantiles { p50, p99, p999, max }| [p50, p99, p999, max]);
        table.row([short(&lane.name, NAME_WIDTH), grouped(lane.started)].into_iter().chain(times.map(nanos)));
    }
    table.render()
}

fn workers(workers: &[Worker]) -> String {
    let core = |core: Option<usize>| core.map_or("-".to_string(), |core| core.to_string());
    let mut table = Table::new(&["worker", "core asked", "core got", "pinned", "jobs"]);
    for worker in workers {
        let pinned = if worker.pinned { "yes" } else { "no" };
        table.row([
            worker.index.to_string(),
            core(worker.requested_core),
            core(worker.actual_core),
            pinned.to_string(),
            grouped(worker.jobs),
        ]);
    }
    table.render()
}

fn ranking(kind: &str, ranking: &Ranking, unit: &str) -> String {
    if ranking.distinct == 0 {
        return String::new();
    }
    let mut table = Table::new(&[kind, "jobs", unit, "errors"]);
    for name in &ranking.top {
        table.row([short(&name.name, NAME_WIDTH), grouped(name.tally.jobs), grouped(name.tally.units), grouped(name.tally.errors)]);
    }
    let more = ranking.distinct - ranking.top.len();
    if more > 0 {
        table.row([format!("and {} more", grouped(more as u64))]);
    }
    table.render()
}

fn verdict(report: &Report) -> String {
    let state = if report.interrupted { "interrupted; " } else { "" };
    let ledger = if report.ledger_ok { "the ledger balances: every record is accounted for" } else { "THE LEDGER DOES NOT BALANCE" };
    format!("  {state}{ledger}\n")
}
