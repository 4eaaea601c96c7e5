//! Four publishers, four workers, two lanes: every job that is taken in ends once, and the runtime drains. Ten threads.

use super::world::{Board, Latch, Still, Ticket, close_the_books, config, pool, publishers};
use ringmill::queue::Bend;
use ringmill::{Context, Job, JobError, LaneConfig, Runtime, ShutdownOptions, Verdict};
use std::sync::Arc;
use std::time::Duration;

const PUBLISHERS: usize = 4;
const EACH: usize = 2;

/// More slots than jobs: `Full` may come early by those that others have in hand.
const SLOTS: u64 = 16;

/// A job fails at first, is rejected, or is done.
fn serve(ticket: &Ticket, _: &Context<Ticket>) -> Verdict {
    let run = ticket.run();
    match ticket.job {
        1 | 6 if run == 1 => Verdict::Retry(JobError::transient("not yet")),
        3 => Verdict::Reject(JobError::fatal("never")),
        _ => Verdict::Ack,
    }
}

/// The bug: what is to be tried again is said to be done.
fn forget(ticket: &Ticket, context: &Context<Ticket>) -> Verdict {
    match serve(ticket, context) {
        Verdict::Retry(_) if context.worker() == Some(3) => Verdict::Ack,
        verdict => verdict,
    }
}

fn with(serve: fn(&Ticket, &Context<Ticket>) -> Verdict) {
    let board = Arc::new(Board::default());
    let mut builder = Runtime::builder().clock(Arc::new(Still));
    builder.pool(pool(4)).unwrap();
    let lanes = [LaneConfig::new("high").weight(2), LaneConfig::new("low").weight(1)];
    // two of the jobs run twice
    let latch = Arc::new(Latch::new(PUBLISHERS * EACH + 2));
    let happens = Arc::clone(&latch);
    let serve = move |ticket: &Ticket, context: &Context<Ticket>| {
        let verdict = serve(ticket, context);
        happens.happened();
        verdict
    };
    let jobs = builder.queue(config(SLOTS).lanes(lanes), serve).unwrap();
    let runtime = builder.build().unwrap();
    let publishing = publishers(&jobs, &board, PUBLISHERS, EACH, |producer, board, job| {
        producer.publish(Job::new(board.ticket(job)).lane(job % 2)).expect("there is room for all");
    });
    publishing.into_iter().for_each(|publishing| publishing.join().unwrap());
    // a job that nobody runs is a deadlock; the shutdown would wake everybody
    latch.wait();
    let report = runtime.shutdown(ShutdownOptions::new(Duration::from_secs(3600), Duration::from_secs(3600)));
    assert!(report.is_clean(), "{report:?}");
    let queue = report.queue("jobs").unwrap();
    close_the_books(queue);
    assert_eq!((queue.counts.accepted, queue.counts.acked, queue.counts.dead_lettered, queue.counts.retried), (8, 7, 1, 2));
    for job in 0..PUBLISHERS * EACH {
        assert_eq!(board.runs(job), if [1, 6].contains(&job) { 2 } else { 1 }, "runs of job {job}");
    }
    drop((report, jobs));
    board.close();
}

pub fn lanes() {
    with(serve);
}

crate::schedules::scenario!(
    lanes,
    1500,
    silent_push: "deadlock", Some(Bend::SilentPush), lanes,
    kept_credit: "was not given back", Some(Bend::KeepCredit), lanes,
    forgotten: "deadlock", None, || with(forget),
);
