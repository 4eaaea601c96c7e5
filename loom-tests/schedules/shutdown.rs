//! A shutdown while publishers publish and workers work: every job is refused, run, dead-lettered or handed back, and only one of these. Eight threads.

use super::world::{Board, Still, Ticket, close_the_books, config, pool, publishers};
use ringmill::queue::Bend;
use ringmill::{Context, JobError, Refusal, Runtime, ShutdownOptions, Verdict};
use std::sync::Arc;
use std::time::Duration;

const PUBLISHERS: usize = 3;
const EACH: usize = 2;

fn shutdown() {
    let board = Arc::new(Board::default());
    let mut builder = Runtime::builder().clock(Arc::new(Still));
    builder.pool(pool(3)).unwrap();
    let served = Arc::clone(&board);
    let serve = move |ticket: &Ticket, _: &Context<Ticket>| match (ticket.run(), ticket.job) {
        (1, 1) => Verdict::Retry(JobError::transient("not yet")),
        (_, 2) => Verdict::Reject(JobError::fatal("never")),
        (_, job) => {
            served.ack(job);
            Verdict::Ack
        }
    };
    let jobs = builder.queue(config(4), serve).unwrap();
    let runtime = builder.build().unwrap();
    let publishing = publishers(&jobs, &board, PUBLISHERS, EACH, |producer, board, job| {
        if let Err(error) = producer.publish(board.ticket(job)) {
            assert!(matches!(error.refusal(), Refusal::Full { .. } | Refusal::Closed), "{error:?}");
            assert_eq!(error.into_inner().job, job, "somebody else's job came back");
            board.refuse(job);
        }
    });
    let mut report = runtime.shutdown(ShutdownOptions::new(Duration::ZERO, Duration::from_secs(3600)));
    // no handler runs any more. A job that was never delivered is named if a late publisher has it in hand, its own or another's, and is about to give it back
    assert!(report.running().iter().all(|job| job.attempt == 0), "{report:?}");
    board.hand_back(&report.take_undone(&jobs));
    // whoever is later than that has its job back
    publishing.into_iter().for_each(|publishing| publishing.join().unwrap());
    let letters = jobs.dead_letters().purge();
    for job in 0..PUBLISHERS * EACH {
        let dead = u64::from(job == 2 && letters == 1);
        let ends = board.refused(job) + board.acked(job) + board.handed_back(job) + dead;
        assert_eq!(ends, 1, "job {job} has {ends} ends: {board:?}");
    }
    close_the_books(&jobs.snapshot());
    drop((report, jobs));
    board.close();
}

crate::schedules::scenario!(
    shutdown,
    600,
    no_second_look: "ends", Some(Bend::NoSecondLook), shutdown,
);
