//! Wakers are user code: they may poll their task then and there, or drop it.

use super::*;
use crate::tests::threads::Mutex;
use crate::{Dedupe, Job};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Wake, Waker};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task that is polled by whoever wakes it.
pub(super) struct Inline(Mutex<Option<Task>>);

impl Inline {
    pub(super) fn start(task: impl Future<Output = ()> + Send + 'static) -> Arc<Self> {
        let started = Arc::new(Inline(Mutex::new(Some(Box::pin(task)))));
        Arc::clone(&started).wake();
        started
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.lock().unwrap().is_none()
    }
}

impl Wake for Inline {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        // it is being polled: it looks again itself
        let Ok(mut task) = self.0.try_lock() else { return };
        if task.as_mut().is_some_and(|task| task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()) {
            *task = None;
        }
    }
}

/// A task that is dropped by whoever wakes it: its executor has gone.
#[derive(Default)]
struct Gone(Mutex<Option<Task>>);

impl Wake for Gone {
    fn wake(self: Arc<Self>) {
        let task = self.0.lock().unwrap().take();
        drop(task);
    }
}

/// A full queue whose two jobs are in somebody's hands, and a producer for a task.
fn in_hand() -> (Pull<u32>, [Delivery<u32>; 2], Producer<u32>) {
    let pull = Pull::new(q(2));
    let deliveries = [1, 2].map(|n| {
        pull.producer.publish(n).unwrap();
        pull.get().unwrap()
    });
    let producer = pull.queue.producer().unwrap();
    (pull, deliveries, producer)
}

#[test]
fn an_ack_wakes_nobody_under_its_consumer_s_lock() {
    watched(|| {
        let (pull, [first, second], mut producer) = in_hand();
        let task = Inline::start(async move {
            producer.publish_async(3).await.unwrap();
            second.ack().unwrap();
        });
        first.ack().unwrap();
        assert!(task.is_over());
        assert_eq!(pull.counts().acked, 2);
    });
}

#[test]
fn a_task_whose_executor_has_gone_may_hold_a_delivery() {
    watched(|| {
        let (pull, [first, second], mut producer) = in_hand();
        let gone = Arc::new(Gone::default());
        let mut task: Task = Box::pin(async move {
            producer.publish_async(3).await.unwrap();
            second.ack().unwrap();
        });
        assert!(task.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&gone)))).is_pending());
        *gone.0.lock().unwrap() = Some(task);
        first.ack().unwrap();
        assert_eq!((pull.counts().acked, pull.counts().abandoned), (1, 1));
    });
}

#[test]
fn the_timer_wakes_nobody_under_its_lock() {
    watched(|| {
        let Pull { clock, runtime, queue, producer, mut consumer } = Pull::<u32>::new(q(4).dedupe(Dedupe::Debounce(secs(1)), 10));
        producer.publish(Job::new(1).key("k")).unwrap();
        let task = Inline::start(async move {
            while let Ok(delivery) = consumer.recv_async().await {
                delivery.ack().unwrap();
                producer.publish(Job::new(2).key("k")).unwrap(); // takes the timer's lock
            }
        });
        runtime.advance(&clock, secs(10));
        assert!((8..=10).contains(&queue.counts().acked), "{}", queue.counts().acked);
        runtime.shutdown(at_once());
        assert!(task.is_over());
    });
}

#[test]
fn a_purge_wakes_nobody_under_its_lock() {
    watched(|| {
        let pull = Pull::<u32>::new(q(1));
        pull.producer.publish(1).unwrap();
        let (handle, mut producer) = (pull.queue.clone(), pull.queue.producer().unwrap());
        let task = Inline::start(async move {
            producer.publish_async(2).await.unwrap();
            handle.purge();
        });
        pull.queue.purge();
        assert!(task.is_over());
        assert_eq!(pull.counts().dropped_purged, 2);
    });
}

#[test]
fn a_handler_that_wakes_a_task_need_not_end_before_the_task_runs() {
    watched(|| {
        let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
        let answers = builder.pull_queue::<u32>(q(4)).unwrap();
        let (mut consumer, seen) = (answers.consumer().unwrap(), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&seen);
        let mut producer = None;
        let asked = answers.clone();
        let handler = move |n: &u32, _: &crate::Context<u32>| {
            asked.producer().unwrap().publish(*n).unwrap();
            assert!(seen.load(SeqCst), "whoever waits for the answer has it");
        };
        let questions = builder.queue(QueueConfig::new("questions"), handler).unwrap();
        let runtime = builder.build().unwrap();
        let task = Inline::start(async move {
            consumer.recv_async().await.unwrap().ack().unwrap();
            told.store(true, SeqCst);
        });
        producer.insert(questions.producer().unwrap()).publish(7).unwrap();
        runtime.turn();
        assert!(task.is_over());
        assert_eq!((questions.counts().acked, questions.counts().panics), (1, 0));
    });
}
