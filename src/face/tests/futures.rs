//! Tasks that publish and receive, on an executor made by hand and on tokio.

use super::*;
use crate::error::Refusal;
use crate::{Job, Overflow, PublishError, RecvError};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::AtomicU32;
use std::task::{Context, Poll, Wake, Waker};

/// Counts how often its task was woken, and unparks a thread.
pub(super) struct Bell {
    rung: AtomicU32,
    thread: std::thread::Thread,
}

impl Bell {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Bell { rung: AtomicU32::new(0), thread: std::thread::current() })
    }

    pub(super) fn rung(&self) -> u32 {
        self.rung.load(SeqCst)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.fetch_add(1, SeqCst);
        self.thread.unpark();
    }
}

pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Bell::new());
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// One poll, by a task of its own.
pub(super) fn poll<F: Future + Unpin>(future: &mut F, bell: &Arc<Bell>) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(&Waker::from(Arc::clone(bell))))
}

fn waiting<T: Payload>(pull: &Pull<T>) -> usize {
    pull.seen().publishers_waiting
}

// ---- publishing ----

#[test]
fn a_task_publishes_at_once_where_there_is_room() {
    let pull = Pull::<u32>::new(q(1));
    let mut producer = pull.queue.producer().unwrap();
    block_on(producer.publish_async(7)).unwrap();
    assert_eq!(*pull.get().unwrap(), 7);
}

#[test]
fn a_task_waits_for_a_slot_and_is_woken_once() {
    let pull = Pull::<u32>::new(q(1));
    let mut producer = pull.queue.producer().unwrap();
    pull.producer.publish(0).unwrap();
    let bell = Bell::new();
    let mut publish = producer.publish_async(1);
    assert!(poll(&mut publish, &bell).is_pending());
    assert!(poll(&mut publish, &bell).is_pending(), "polled for nothing");
    assert_eq!(bell.rung(), 0);
    pull.consumer.try_recv().unwrap().ack().unwrap();
    assert_eq!(bell.rung(), 1);
    assert!(poll(&mut publish, &bell).is_ready());
    drop(publish);
    assert_eq!(*pull.get().unwrap(), 1);
    assert_eq!((pull.counts().accepted, pull.counts().rejected_full), (2, 0));
}

#[test]
fn a_task_that_moved_is_woken_where_it_was_polled_last() {
    let pull = Pull::<u32>::new(q(1));
    let mut producer = pull.queue.producer().unwrap();
    pull.producer.publish(0).unwrap();
    let (old, new) = (Bell::new(), Bell::new());
    let mut publish = producer.publish_async(1);
    assert!(poll(&mut publish, &old).is_pending());
    assert!(poll(&mut publish, &new).is_pending());
    pull.consumer.try_recv().unwrap().ack().unwrap();
    assert_eq!((old.rung(), new.rung()), (0, 1));
    assert!(poll(&mut publish, &new).is_ready());
}

#[test]
fn threads_and_tasks_stand_in_one_line() {
    watched(|| {
        let mut builder = Runtime::builder();
        let queue = builder.pull_queue::<u32>(q(1)).unwrap();
        let runtime = builder.build().unwrap();
        queue.producer().unwrap().publish(0).unwrap();
        let mut handles = Vec::new();
        for n in 1..=6 {
            let mut producer = queue.producer().unwrap();
            handles.push(std::thread::spawn(move || match n % 2 {
                0 => block_on(producer.publish_async(n)).map(drop),
                _ => producer.publish_timeout(n, Duration::MAX).map(drop),
            }));
            eventually("it waits", || snapshot(&runtime).publishers_waiting == n as usize);
        }
        let mut consumer = queue.consumer().unwrap();
        for n in 0..=6 {
            let delivery = block_on(consumer.recv_async()).unwrap();
            assert_eq!(*delivery, n);
            delivery.ack().unwrap();
        }
        handles.into_iter().for_each(|handle| handle.join().unwrap().unwrap());
        adds_up(&runtime);
    });
}

#[test]
fn a_dropped_publish_leaves_the_line_and_its_job_can_be_kept() {
    let pull = Pull::<u32>::new(q(1));
    let mut producer = pull.queue.producer().unwrap();
    pull.producer.publish(0).unwrap();
    let bell = Bell::new();
    let mut publish = producer.publish_async(Job::new(1).lane(0));
    assert!(poll(&mut publish, &bell).is_pending());
    assert_eq!(waiting(&pull), 1);
    assert_eq!(publish.into_job().unwrap().into_payload(), 1);
    assert_eq!(waiting(&pull), 0);
    pull.get().unwrap().ack().unwrap();
    assert_eq!((pull.queue.depth(), bell.rung()), (0, 0));
    assert_eq!(Arc::strong_count(&bell), 1, "nothing of the task is kept");
    pull.settled();
}

/// The slot of the oldest job would be that of the task that waits: to end the job would not help.
#[test]
fn drop_oldest_takes_no_job_whose_slot_another_one_waits_for() {
    let pull = Pull::<u32>::new(q(2).overflow(Overflow::DropOldest));
    let mut producer = pull.queue.producer().unwrap();
    pull.producer.publish_batch(&mut (0..2));
    let bell = Bell::new();
    let mut publish = producer.publish_async(2);
    assert!(poll(&mut publish, &bell).is_pending());
    assert!(pull.producer.publish(3).unwrap_err().is_full());
    assert_eq!((pull.queue.dead_letters().len(), bell.rung()), (0, 0), "nobody died for it");
    pull.get().unwrap().ack().unwrap();
    assert_eq!(bell.rung(), 1);
    assert!(matches!(poll(&mut publish, &bell), Poll::Ready(Ok(_))));
    drop(publish);
    pull.producer.publish(4).unwrap();
    assert_eq!(pull.queue.dead_letters().take().map(|letter| letter.into_payload()), Some(1));
    pull.settled();
}

#[test]
fn a_dropped_publish_passes_its_slot_on() {
    let pull = Pull::<u32>::new(q(1));
    pull.producer.publish(0).unwrap();
    let (mut first, mut second) = (pull.queue.producer().unwrap(), pull.queue.producer().unwrap());
    let (early, late) = (Bell::new(), Bell::new());
    let mut leaves = first.publish_async(1);
    let mut stays = second.publish_async(2);
    assert!(poll(&mut leaves, &early).is_pending());
    assert!(poll(&mut stays, &late).is_pending());
    pull.get().unwrap().ack().unwrap();
    assert_eq!((early.rung(), late.rung()), (1, 0));
    drop(leaves);
    assert_eq!(late.rung(), 1);
    assert!(poll(&mut stays, &late).is_ready());
    assert_eq!(*pull.get().unwrap(), 2);
    drop(stays);
    pull.settled();
}

#[test]
fn a_forgotten_publish_keeps_no_slot() {
    let pull = Pull::<u32>::new(q(1));
    let mut producer = pull.queue.producer().unwrap();
    pull.producer.publish(0).unwrap();
    let bell = Bell::new();
    let mut publish = producer.publish_async(1);
    assert!(poll(&mut publish, &bell).is_pending());
    std::mem::forget(publish);
    pull.get().unwrap().ack().unwrap();
    assert_eq!((bell.rung(), pull.queue.depth()), (1, 1), "the slot was granted to it");
    block_on(producer.publish_async(2)).unwrap();
    let delivery = pull.get().unwrap();
    assert_eq!(*delivery, 2);
    delivery.ack().unwrap();

    // and when the producer goes instead
    pull.producer.publish(3).unwrap();
    let mut other = pull.queue.producer().unwrap();
    let mut publish = other.publish_async(4);
    assert!(poll(&mut publish, &bell).is_pending());
    std::mem::forget(publish);
    pull.get().unwrap().ack().unwrap();
    drop(other);
    assert_eq!((pull.queue.depth(), waiting(&pull)), (0, 0));
}

#[test]
fn a_refused_publish_gives_the_job_back_to_its_task() {
    let pull = Pull::<Counted>::new(q(1));
    let mut producer = pull.queue.producer().unwrap();
    let census = Census::default();
    let invalid = block_on(producer.publish_async(census.born(u32::MAX))).unwrap_err();
    assert!(matches!(invalid.refusal(), Refusal::Invalid { .. }));
    assert_eq!(invalid.into_inner().number, u32::MAX);
    let lane = block_on(producer.publish_async(Job::new(census.born(1)).lane(3))).unwrap_err();
    assert!(matches!(lane.refusal(), Refusal::NoSuchLane { lane: 3, lanes: 1 }));
    pull.producer.publish(census.born(2)).unwrap();
    drop(lane);
    let bell = Bell::new();
    let mut publish = producer.publish_async(census.born(3));
    assert!(poll(&mut publish, &bell).is_pending());
    pull.runtime.shutdown(at_once());
    assert_eq!(bell.rung(), 1);
    let Poll::Ready(Err(closed)) = poll(&mut publish, &bell) else { panic!("the queue is closed") };
    assert!(closed.is_closed());
    assert_eq!(closed.into_inner().number, 3);
    drop(publish);
    assert_eq!(census.alive(), 0);
}

#[test]
fn a_task_polled_by_a_handler_of_its_own_runtime_is_told_so() {
    type Refused = crate::tests::threads::Mutex<Vec<PublishError<u32>>>;
    let refused: Arc<Refused> = Arc::default();
    let producer: Arc<crate::tests::threads::Mutex<Option<Producer<u32>>>> = Arc::default();
    let (told, handle) = (Arc::clone(&refused), Arc::clone(&producer));
    let push = Push::<u32>::new(q(1), move |_: &u32, _: &_| {
        let mut handle = handle.lock().unwrap();
        told.lock().unwrap().extend(block_on(handle.as_mut().unwrap().publish_async(1)).err());
    });
    *producer.lock().unwrap() = Some(push.queue.producer().unwrap());
    push.producer.publish(0).unwrap();
    push.turn();
    let refused = refused.lock().unwrap().pop().unwrap();
    assert!(matches!(refused.refusal(), Refusal::WouldDeadlock));
    assert_eq!(refused.into_inner(), 1);
    *producer.lock().unwrap() = None;
    assert_eq!(push.settled().accepted, 1);
}

#[test]
#[should_panic(expected = "polled after it was done")]
fn a_publish_that_is_done_is_not_polled_again() {
    let pull = Pull::<u32>::new(q(4));
    let mut producer = pull.queue.producer().unwrap();
    let mut publish = producer.publish_async(1);
    let bell = Bell::new();
    assert!(poll(&mut publish, &bell).is_ready());
    let _ = poll(&mut publish, &bell);
}

// ---- receiving ----

#[test]
fn a_task_receives_what_is_there_and_waits_for_what_comes() {
    let mut pull = Pull::<u32>::new(q(4));
    pull.producer.publish(1).unwrap();
    block_on(pull.consumer.recv_async()).unwrap().ack().unwrap();
    let (old, new) = (Bell::new(), Bell::new());
    let mut recv = pull.consumer.recv_async();
    assert!(poll(&mut recv, &old).is_pending());
    assert!(poll(&mut recv, &new).is_pending());
    pull.producer.publish(2).unwrap();
    assert_eq!((old.rung(), new.rung()), (0, 1));
    let Poll::Ready(Ok(delivery)) = poll(&mut recv, &new) else { panic!("a job is there") };
    assert_eq!(*delivery, 2);
    delivery.ack().unwrap();
    drop(recv);
    assert_eq!((Arc::strong_count(&old), Arc::strong_count(&new)), (1, 1), "nothing of the tasks is kept");
    pull.settled();
}

#[test]
fn a_dropped_receive_loses_nothing_and_passes_its_wake_up_on() {
    let pull = Pull::<u32>::new(q(4));
    let (mut first, mut second) = (pull.queue.consumer().unwrap(), pull.queue.consumer().unwrap());
    let (early, late) = (Bell::new(), Bell::new());
    let mut leaves = first.recv_async();
    let mut stays = second.recv_async();
    assert!(poll(&mut leaves, &early).is_pending());
    assert!(poll(&mut stays, &late).is_pending());
    pull.producer.publish(7).unwrap();
    assert_eq!((early.rung(), late.rung()), (1, 0));
    drop(leaves);
    assert_eq!(late.rung(), 1);
    let Poll::Ready(Ok(delivery)) = poll(&mut stays, &late) else { panic!("the job is there") };
    assert_eq!((*delivery, delivery.attempt()), (7, 1));
    delivery.ack().unwrap();
    drop(stays);
    pull.settled();
}

#[test]
fn a_receive_that_is_not_polled_holds_nobody_up() {
    let pull = Pull::<u32>::new(q(4));
    let (mut first, mut second) = (pull.queue.consumer().unwrap(), pull.queue.consumer().unwrap());
    let (idle, busy) = (Bell::new(), Bell::new());
    let mut never = first.recv_async();
    let mut works = second.recv_async();
    assert!(poll(&mut never, &idle).is_pending());
    assert!(poll(&mut works, &busy).is_pending());
    pull.producer.publish(1).unwrap();
    pull.producer.publish(2).unwrap();
    assert_eq!((idle.rung(), busy.rung()), (1, 1), "each job rings for one of them");
    assert!(poll(&mut works, &busy).is_ready());
}

#[test]
fn a_forgotten_receive_leaves_its_consumer_usable() {
    let mut pull = Pull::<u32>::new(q(4));
    let bell = Bell::new();
    for asleep in [true, false] {
        let mut recv = pull.consumer.recv_async();
        assert!(poll(&mut recv, &bell).is_pending());
        std::mem::forget(recv);
        if !asleep {
            pull.producer.publish(1).unwrap();
        }
        let received = pull.consumer.recv_timeout(Duration::ZERO);
        assert_eq!(received.map(|delivery| delivery.ack().is_ok()), if asleep { Err(RecvError::TimedOut) } else { Ok(true) });
    }
    let mut recv = pull.consumer.recv_async();
    assert!(poll(&mut recv, &bell).is_pending());
    std::mem::forget(recv);
    drop(std::mem::replace(&mut pull.consumer, pull.queue.consumer().unwrap()));
    pull.producer.publish(2).unwrap();
    assert_eq!(*block_on(pull.consumer.recv_async()).unwrap(), 2);
}

#[test]
fn a_task_that_receives_from_a_closed_queue_is_told_when_the_last_job_ends() {
    let pull = Pull::<u32>::new(q(4));
    pull.producer.publish(1).unwrap();
    let delivery = pull.get().unwrap();
    let mut other = pull.queue.consumer().unwrap();
    let bell = Bell::new();
    let mut recv = other.recv_async();
    assert!(poll(&mut recv, &bell).is_pending());
    pull.runtime.shutdown_handle().request();
    assert!(poll(&mut recv, &bell).is_pending(), "the job may come back");
    let rung = bell.rung();
    delivery.ack().unwrap();
    pull.advance(secs(1));
    assert!(bell.rung() > rung);
    assert!(matches!(poll(&mut recv, &bell), Poll::Ready(Err(RecvError::Closed))));
}

#[test]
fn a_receiving_task_is_told_of_the_end() {
    let mut pull = Pull::<u32>::new(q(4));
    let bell = Bell::new();
    let mut recv = pull.consumer.recv_async();
    assert!(poll(&mut recv, &bell).is_pending());
    pull.runtime.shutdown(at_once());
    assert!(bell.rung() > 0);
    assert!(matches!(poll(&mut recv, &bell), Poll::Ready(Err(RecvError::Closed))));
}

#[test]
fn a_waker_that_panics_harms_nobody() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("this executor is broken");
        }
    }
    let mut pull = Pull::<u32>::new(q(1));
    let waker = Waker::from(Arc::new(Bomb));
    let mut recv = pull.consumer.recv_async();
    assert!(Pin::new(&mut recv).poll(&mut Context::from_waker(&waker)).is_pending());
    pull.producer.publish(1).unwrap();
    let mut publish = pull.producer.publish_async(2);
    assert!(Pin::new(&mut publish).poll(&mut Context::from_waker(&waker)).is_pending());
    let Poll::Ready(Ok(delivery)) = poll(&mut recv, &Bell::new()) else { panic!("a job is there") };
    delivery.ack().unwrap();
    assert!(poll(&mut publish, &Bell::new()).is_ready());
}

// ---- tokio ----

/// The futures can be sent although the handles cannot be shared: tasks of a multi-threaded executor own their handles.
#[test]
fn tasks_of_tokio_move_ten_thousand_jobs() {
    watched(|| {
        const TASKS: u32 = 8;
        const EACH: u32 = 2_500;
        let mut builder = Runtime::builder();
        let queue = builder.pull_queue::<u32>(q(16)).unwrap();
        let runtime = builder.build().unwrap();
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let sum = Arc::new(AtomicI64::new(0));
        let publishers: Vec<_> = (0..TASKS)
            .map(|task| {
                let mut producer = queue.producer().unwrap();
                tokio.spawn(async move {
                    for n in 0..EACH {
                        producer.publish_async(task * EACH + n).await.unwrap();
                    }
                })
            })
            .collect();
        let consumers: Vec<_> = (0..TASKS)
            .map(|_| {
                let (mut consumer, sum) = (queue.consumer().unwrap(), Arc::clone(&sum));
                tokio.spawn(async move {
                    while let Ok(delivery) = consumer.recv_async().await {
                        sum.fetch_add(i64::from(*delivery), SeqCst);
                        delivery.ack().unwrap();
                    }
                })
            })
            .collect();
        publishers.into_iter().for_each(|task| tokio.block_on(task).unwrap());
        eventually("all are done", || queue.depth() == 0);
        let jobs = i64::from(TASKS * EACH);
        assert_eq!(sum.load(SeqCst), jobs * (jobs - 1) / 2);
        let counts = adds_up(&runtime);
        assert_eq!((counts.accepted, counts.acked), (jobs as u64, jobs as u64));
        assert!(runtime.shutdown(ShutdownOptions::default()).is_clean());
        consumers.into_iter().for_each(|task| tokio.block_on(task).unwrap());
    });
}

/// Futures that are dropped at every stage, under load: nothing is lost, nobody sleeps for ever.
#[test]
fn tasks_that_give_up_lose_no_job() {
    watched(|| {
        const JOBS: u32 = 4_000;
        let mut builder = Runtime::builder();
        let queue = builder.pull_queue::<u32>(q(3)).unwrap();
        let runtime = builder.build().unwrap();
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let publishers: Vec<_> = (0..3)
            .map(|_| {
                let mut producer = queue.producer().unwrap();
                tokio.spawn(async move {
                    for n in 0..JOBS {
                        let mut job = Job::new(n);
                        loop {
                            let mut publish = producer.publish_async(job);
                            match patiently(&mut publish, n % 4).await {
                                Some(published) => break published.map(drop).unwrap(),
                                None => job = publish.into_job().unwrap(),
                            }
                        }
                    }
                })
            })
            .collect();
        let consumers: Vec<_> = (0..3)
            .map(|task| {
                let mut consumer = queue.consumer().unwrap();
                tokio.spawn(async move {
                    let mut received = 0;
                    loop {
                        match patiently(&mut consumer.recv_async(), task).await {
                            Some(Ok(delivery)) => delivery.ack().unwrap(),
                            Some(Err(_)) => return received,
                            None => continue,
                        }
                        received += 1;
                    }
                })
            })
            .collect();
        publishers.into_iter().for_each(|task| tokio.block_on(task).unwrap());
        eventually("all are done", || queue.depth() == 0);
        let report = runtime.shutdown(ShutdownOptions::default());
        assert!(report.is_clean());
        let received: u32 = consumers.into_iter().map(|task| tokio.block_on(task).unwrap()).sum();
        assert_eq!(received, 3 * JOBS);
    });
}

/// Polls `future` until it is ready, or was pending more than `times` times: at once again, the last time when it was woken.
async fn patiently<F: Future + Unpin>(future: &mut F, times: u32) -> Option<F::Output> {
    // the others need their turn where this gives up without waiting
    tokio::task::yield_now().await;
    let mut left = times;
    poll_fn(|context| match Pin::new(&mut *future).poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            if left > 0 {
                context.waker().wake_by_ref();
            }
            Poll::Pending
        }
    })
    .await
}

#[test]
fn a_task_that_was_woken_for_a_chore_and_gives_up_passes_it_on() {
    let pull = Pull::<u32>::new(q(8));
    let _periodic = pull.producer.every(secs(1), crate::MissedPeriods::Skip, || 7).unwrap();
    let (mut first, mut second) = (pull.queue.consumer().unwrap(), pull.queue.consumer().unwrap());
    let bells = [(); 2].map(|()| Bell::new());
    let mut receives = pin!(second.recv_async());
    let mut gives_up = Box::pin(first.recv_async());
    assert!(poll(&mut gives_up, &bells[0]).is_pending());
    assert!(poll(&mut receives, &bells[1]).is_pending());
    pull.advance(ms(1_500));
    assert_eq!(bells.each_ref().map(|bell| bell.rung()), [1, 0]);
    drop(gives_up);
    assert_eq!(bells[1].rung(), 1);
    let Poll::Ready(Ok(delivery)) = poll(&mut receives, &bells[1]) else { panic!("the period is made, and its job is there") };
    assert_eq!(*delivery, 7);
}
