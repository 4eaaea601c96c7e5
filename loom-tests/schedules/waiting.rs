//! More publishers than slots, all waiting their turn; consumers that pull; somebody who cancels, and a close. Nobody is left waiting. Nine threads, ten with the timer.

use super::world::{Board, Still, Ticket, close_the_books, config};
use ringmill::sync::thread;
use ringmill::{Overflow, QueueHandle, RecvError, Refusal, Runtime, ShutdownOptions};
use std::sync::Arc;
use std::time::Duration;

const PUBLISHERS: usize = 5;
const CONSUMERS: usize = 2;

/// Receives and acks, so many at most.
fn consume(jobs: &QueueHandle<Ticket>, board: &Arc<Board>, most: usize) -> thread::JoinHandle<()> {
    let (consumer, board) = (jobs.consumer().unwrap(), Arc::clone(board));
    thread::spawn(move || {
        for _ in 0..most {
            match consumer.recv() {
                Ok(delivery) => {
                    let job = delivery.read();
                    delivery.ack().expect("no lease runs out here");
                    board.ack(job);
                }
                Err(RecvError::Closed) => return,
                Err(error) => panic!("{error}"),
            }
        }
    })
}

/// `early`: it is closed as they wait, and the consumers take but one each; else it is closed when all are through.
fn with(early: bool) {
    let board = Arc::new(Board::default());
    let mut builder = Runtime::builder().clock(Arc::new(Still));
    let jobs = builder.pull_queue(config(2).prefetch(1).overflow(Overflow::Block(Duration::from_secs(3600)))).unwrap();
    let runtime = builder.build().unwrap();
    let consuming: Vec<_> = (0..CONSUMERS).map(|_| consume(&jobs, &board, if early { 1 } else { usize::MAX })).collect();
    let publishing: Vec<_> = (0..PUBLISHERS)
        .map(|job| {
            let (producer, board, jobs) = (jobs.producer().unwrap(), Arc::clone(&board), jobs.clone());
            thread::spawn(move || match producer.publish(board.ticket(job)) {
                // it thinks better of it, perhaps in time
                Ok(id) if job == 0 => drop(jobs.cancel(id)),
                Ok(_) => {}
                Err(error) => {
                    assert!(matches!(error.refusal(), Refusal::Closed), "{error:?}");
                    board.refuse(job);
                }
            })
        })
        .collect();
    let join = |publishing: Vec<thread::JoinHandle<()>>| publishing.into_iter().for_each(|publishing| publishing.join().unwrap());
    if early {
        runtime.shutdown_handle().request();
        join(publishing);
    } else {
        join(publishing);
        runtime.shutdown_handle().request();
    }
    consuming.into_iter().for_each(|consuming| consuming.join().unwrap());
    let mut report = runtime.shutdown(ShutdownOptions::new(Duration::ZERO, Duration::ZERO));
    board.hand_back(&report.take_undone(&jobs));
    let queue = report.queue("jobs").unwrap().clone();
    let cancelled = queue.counts.dropped_cancelled;
    for job in 0..PUBLISHERS {
        let gone = if job == 0 { cancelled } else { 0 };
        let ends = board.refused(job) + board.acked(job) + board.handed_back(job) + gone;
        assert_eq!(ends, 1, "job {job} has {ends} ends: {queue:?}");
        assert!(early || board.refused(job) == 0, "job {job} was refused by an open queue");
    }
    close_the_books(&queue);
    drop((report, jobs));
    board.close();
}

fn to_the_end() {
    with(false);
}

fn closed_early() {
    with(true);
}

/// Everybody gets through.
mod open {
    use super::to_the_end;
    use ringmill::queue::Bend;
    crate::schedules::scenario!(
        to_the_end,
        700,
        kept_credit: "deadlock", Some(Bend::KeepCredit), to_the_end,
    );
}

/// Whoever is not through by then is told.
mod closed {
    use super::closed_early;
    use ringmill::queue::Bend;
    crate::schedules::scenario!(
        closed_early,
        400,
        close_untold: "deadlock", Some(Bend::CloseUntold), closed_early,
    );
}
