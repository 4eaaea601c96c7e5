//! Nobody sleeps beside work.

use super::*;
use crate::{Idle, RecvError};

#[test]
fn a_worker_in_its_handler_is_no_searcher() {
    let second_runs = Arc::new(AtomicBool::new(false));
    let first_runs = Arc::new(AtomicBool::new(false));
    let second_ran = Arc::clone(&second_runs);
    let (seen, began) = (Arc::clone(&second_runs), Arc::clone(&first_runs));
    let mut builder = Runtime::builder();
    let queue = builder
        .queue(q(8), move |job: &u32, _: &_| match job {
            1 => {
                began.store(true, SeqCst);
                assert!(soon(|| seen.load(SeqCst)), "the other worker sleeps beside the second job");
            }
            _ => seen.store(true, SeqCst),
        })
        .unwrap();
    builder.pool(PoolConfig::new("default").workers(2).idle(Idle::Park)).unwrap();
    let runtime = builder.build().unwrap();
    let producer = queue.producer().unwrap();
    // both sleep
    std::thread::sleep(ms(50));
    producer.publish(1).unwrap();
    assert!(soon(|| first_runs.load(SeqCst)));
    producer.publish(2).unwrap();
    // not by the shutdown, which wakes everybody
    assert!(soon(|| second_ran.load(SeqCst)));
    let report = runtime.shutdown(crate::ShutdownOptions::default());
    let counts = report.queue("q").unwrap().counts;
    assert_eq!((counts.acked, counts.panics), (2, 0));
}

#[test]
fn a_receiver_comes_back_at_its_deadline_however_far_that_is() {
    watched(|| {
        let mut builder = Runtime::builder();
        let queue = builder.pull_queue::<u32>(q(8)).unwrap();
        let runtime = builder.build().unwrap();
        let consumer = queue.consumer().unwrap();
        let begun = Instant::now();
        assert_eq!(consumer.recv_timeout(ms(700)).unwrap_err(), RecvError::TimedOut);
        assert!((ms(700)..ms(2_000)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        drop(runtime);
    });
}

#[test]
fn claims_that_may_not_be_started_are_no_reason_to_wake_anybody() {
    let bare = Bare::<u32>::new(&q(8));
    let mut worker = bare.worker();
    for n in 0..3 {
        bare.publish(n);
    }
    assert!(worker.look());
    assert!(worker.may_have_more(1));
    bare.queue.set_paused(true);
    assert!(!worker.may_have_more(0));
    bare.queue.set_paused(false);
    assert!(worker.may_have_more(1));
    bare.queue.stop();
    assert!(!worker.may_have_more(0));
}
