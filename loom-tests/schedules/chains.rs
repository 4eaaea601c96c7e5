//! Follow-ups while the end is near: each goes from slot to slot and from lane to lane, and whoever looks at the slots one by one may find it in none of them. A shutdown with
//! time to drain, and consumers of a closed queue, wait for the last of a chain that had begun. Eight threads.

use super::world::{Board, Still, Ticket, close_the_books, config, pool, publishers};
use ringmill::sync::thread::{self, JoinHandle};
use ringmill::{Context, Job, LaneConfig, QueueConfig, QueueHandle, RecvError, Refusal, Runtime, ShutdownOptions, ShutdownReport, Verdict};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Chains whose first job is there before the queue closes, and those that may come too late.
const EARLY: usize = 2;
const LATE: usize = 2;
/// Jobs of a chain. They have numbers one after the other.
const LINKS: usize = 4;

const WORKERS: usize = 4;

/// Two lanes that have one slot each to themselves: what goes to the other lane leaves the slot.
fn lanes() -> QueueConfig {
    config(8).lanes(["even", "odd"].map(|name| LaneConfig::new(name).reserve(1)))
}

fn job(board: &Arc<Board>, number: usize) -> Job<Ticket> {
    Job::new(board.ticket(number)).lane(number % 2)
}

/// What comes after the job with this number.
fn next(board: &Arc<Board>, number: usize) -> Option<Job<Ticket>> {
    ((number + 1) % LINKS != 0).then(|| job(board, number + 1))
}

/// The early ones by the caller, who then has a runtime at work; the others by threads of theirs.
fn publish(jobs: &QueueHandle<Ticket>, board: &Arc<Board>) -> Vec<JoinHandle<()>> {
    let producer = jobs.producer().unwrap();
    for chain in 0..EARLY {
        producer.publish(job(board, chain * LINKS)).expect("there is room for all");
    }
    publishers(jobs, board, LATE, 1, |producer, board, late| {
        let first = (EARLY + late) * LINKS;
        if let Err(error) = producer.publish(job(board, first)) {
            assert!(matches!(error.refusal(), Refusal::Full { .. } | Refusal::Closed), "{error:?}");
            assert_eq!(error.into_inner().job, first, "somebody else's job came back");
            board.refuse(first);
        }
    })
}

/// Every chain was done to its end. One that came late may have come too late, or may have been cut; what comes next is handed back then.
fn close(board: &Arc<Board>, jobs: QueueHandle<Ticket>, mut report: ShutdownReport) {
    assert!(report.running().is_empty(), "{report:?}");
    board.hand_back(&report.take_undone(&jobs));
    for chain in 0..EARLY + LATE {
        let (first, end) = (chain * LINKS, (chain + 1) * LINKS);
        let done = (first..end).filter(|&job| board.acked(job) == 1).count();
        assert!(chain >= EARLY || done == LINKS, "chain {chain} was cut after {done} jobs");
        for job in first..end {
            let ends = [board.acked(job), board.handed_back(job), board.refused(job)];
            let due = match job - first {
                link if link < done => [[1, 0, 0]; 2],
                0 => [[0, 1, 0], [0, 0, 1]],
                link if link == done => [[0, 1, 0]; 2],
                _ => [[0; 3]; 2],
            };
            assert!(due.contains(&ends), "job {job} of a chain with {done} done has these ends: {ends:?}");
        }
    }
    close_the_books(&jobs.snapshot());
    drop((report, jobs));
    board.close();
}

fn drained() {
    let board = Arc::new(Board::default());
    let mut builder = Runtime::builder().clock(Arc::new(Still));
    builder.pool(pool(WORKERS)).unwrap();
    let served = Arc::clone(&board);
    let serve = move |ticket: &Ticket, context: &Context<Ticket>| {
        ticket.run();
        served.ack(ticket.job);
        next(&served, ticket.job).map_or(Verdict::Ack, |next| context.complete_with(next))
    };
    let jobs = builder.queue(lanes(), serve).unwrap();
    let runtime = builder.build().unwrap();
    let publishing = publish(&jobs, &board);
    let report = runtime.shutdown(ShutdownOptions::new(Duration::from_secs(3600), Duration::from_secs(3600)));
    publishing.into_iter().for_each(|publishing| publishing.join().unwrap());
    close(&board, jobs, report);
}

/// Receives until it is told that nothing will come. `waits`: else it looks again and again; whoever waits looks seldom. `over`: somebody was told so.
fn consume(jobs: &QueueHandle<Ticket>, board: &Arc<Board>, waits: bool, over: &Arc<AtomicBool>) -> JoinHandle<()> {
    let (consumer, board, over) = (jobs.consumer().unwrap(), Arc::clone(board), Arc::clone(over));
    thread::spawn(move || {
        loop {
            let delivery = match if waits { consumer.recv() } else { consumer.try_recv() } {
                Ok(delivery) => delivery,
                Err(RecvError::Closed) => return over.store(true, Relaxed),
                Err(RecvError::Empty) => {
                    thread::yield_now();
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            let number = delivery.read();
            assert!(number >= EARLY * LINKS || !over.load(Relaxed), "job {number} came when somebody had been told that nothing would");
            board.ack(number);
            match next(&board, number) {
                None => delivery.ack().expect("no lease runs out here"),
                Some(next) => assert!(delivery.complete_with(next).is_ok(), "no lease runs out here"),
            }
        }
    })
}

fn pulled() {
    let board = Arc::new(Board::default());
    let mut builder = Runtime::builder().clock(Arc::new(Still));
    let jobs = builder.pull_queue(lanes()).unwrap();
    let runtime = builder.build().unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let consuming: Vec<_> = (0..WORKERS).map(|number| consume(&jobs, &board, number > 0, &over)).collect();
    let publishing = publish(&jobs, &board);
    runtime.shutdown_handle().request();
    [publishing, consuming].into_iter().flatten().for_each(|thread| thread.join().unwrap());
    close(&board, jobs, runtime.shutdown(ShutdownOptions::new(Duration::ZERO, Duration::ZERO)));
}

/// A shutdown that drains.
mod drain {
    use super::drained;
    use ringmill::queue::Bend;
    crate::schedules::scenario!(
        drained,
        1700,
        uncounted: "was cut", Some(Bend::ChainUncounted), drained,
        arrived_early: "was cut", Some(Bend::ChainArrivesEarly), drained,
    );

    /// Found by random schedules only. PCT's two falls would have to be that of the one who looks, in the middle of it, and then that of the one whose follow-up has set out since.
    #[test]
    fn counted_once() {
        run::twin(Kind::Random, 1700, "was cut", Some(Bend::ChainsCountedOnce), drained);
    }
}

/// Consumers that go on until nothing will come.
mod pull {
    use super::pulled;
    use ringmill::queue::Bend;
    crate::schedules::scenario!(
        pulled,
        1900,
        uncounted: "nothing would", Some(Bend::ChainUncounted), pulled,
        arrived_early: "nothing would", Some(Bend::ChainArrivesEarly), pulled,
    );

    /// Found by random schedules only, as above.
    #[test]
    fn counted_once() {
        run::twin(Kind::Random, 1900, "nothing would", Some(Bend::ChainsCountedOnce), pulled);
    }
}
