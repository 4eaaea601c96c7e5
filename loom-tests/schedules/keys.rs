//! Jobs with partition keys on four workers that steal from each other: each key in its order, and one at a time. Nine threads.

use super::world::{Board, Inside, Still, Ticket, close_the_books, config, pool, publishers};
use ringmill::queue::Bend;
use ringmill::{Context, Job, JobError, OrderPolicy, QueueConfig, Runtime, ShutdownOptions, Verdict};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

const KEYS: usize = 3;
const EACH: usize = 3;

/// What is known of a key.
#[derive(Debug, Default)]
struct Key {
    inside: Inside,
    /// How many of its jobs are done.
    done: AtomicUsize,
}

fn with(config: QueueConfig, keyed: bool) {
    let board = Arc::new(Board::default());
    let keys: Arc<[Key; KEYS]> = Arc::default();
    let seen = Arc::clone(&keys);
    let mut builder = Runtime::builder().clock(Arc::new(Still));
    builder.pool(pool(4)).unwrap();
    let serve = move |ticket: &Ticket, _: &Context<Ticket>| {
        let (key, number) = (&seen[ticket.job / EACH], ticket.job % EACH);
        key.inside.alone(|| {
            // nobody is scheduled by it
            assert_eq!(key.done.load(Relaxed), number, "a key is out of order");
            if ticket.run() == 1 && ticket.job == 1 {
                return Verdict::Retry(JobError::transient("not yet"));
            }
            key.done.fetch_add(1, Relaxed);
            Verdict::Ack
        })
    };
    let jobs = builder.queue(config, serve).unwrap();
    let runtime = builder.build().unwrap();
    let publishing = publishers(&jobs, &board, KEYS, EACH, move |producer, board, number| {
        let job = Job::new(board.ticket(number));
        let job = if keyed { job.partition_key([b'a' + (number / EACH) as u8]) } else { job };
        producer.publish(job).expect("there is room for all");
    });
    publishing.into_iter().for_each(|publishing| publishing.join().unwrap());
    let report = runtime.shutdown(ShutdownOptions::new(Duration::from_secs(3600), Duration::from_secs(3600)));
    let queue = report.queue("jobs").unwrap();
    assert_eq!(queue.counts.panics, 0, "a key was met twice at a time, or out of order");
    assert!(report.is_clean(), "{report:?}");
    close_the_books(queue);
    assert!(keys.iter().all(|key| key.done.load(Relaxed) == EACH));
    drop((report, jobs));
    board.close();
}

fn ordered() -> QueueConfig {
    // more slots than jobs: `Full` may come early by those that others have in hand
    config(16).partitions(2)
}

fn keys() {
    with(ordered(), true);
}

crate::schedules::scenario!(
    keys,
    1700,
    // a job that is tried again gives its turn away
    skipping: "a key is", None, || with(ordered().order(OrderPolicy::Skip), true),
    // the keys were forgotten
    unkeyed: "a key is", None, || with(ordered(), false),
);

/// Found by random schedules only: by PCT whoever polls comes last, when nothing moves any more.
#[test]
fn drain_counts() {
    run::twin(Kind::Random, 1700, "undone", Some(Bend::DrainCounts), keys);
}
