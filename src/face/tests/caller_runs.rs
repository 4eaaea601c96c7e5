//! Jobs that run in their publisher's thread: they too keep what the queue promises.

use super::*;
use crate::tests::threads::Mutex;
use crate::{Binding, Context, ExchangeConfig, Job, LaneConfig, Overflow};

/// The numbers and lanes of jobs that ran.
type Ran = Arc<Mutex<Vec<(u32, usize)>>>;

/// A full queue, under the manual clock.
fn full() -> (Runtime, QueueHandle<u32>, Producer<u32>, Ran) {
    let ran = Ran::default();
    let seen = Arc::clone(&ran);
    let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
    let config = q(1).lanes([LaneConfig::new("urgent"), LaneConfig::new("bulk")]).overflow(Overflow::CallerRuns);
    let handler = move |&n: &u32, context: &Context<u32>| seen.lock().unwrap().push((n, context.lane()));
    let queue = builder.queue(config, handler).unwrap();
    let runtime = builder.build().unwrap();
    let producer = queue.producer().unwrap();
    producer.publish(0).unwrap();
    (runtime, queue, producer, ran)
}

#[test]
fn the_context_knows_the_lane() {
    let (_runtime, _, producer, ran) = full();
    producer.publish(Job::new(1).lane(1)).unwrap();
    assert_eq!(*ran.lock().unwrap(), [(1, 1)]);
}

#[test]
fn a_paused_queue_runs_nothing_in_its_callers_either() {
    let (runtime, queue, producer, ran) = full();
    queue.pause();
    let error = producer.publish(1).unwrap_err();
    assert_eq!((error.is_full(), error.into_inner()), (true, 1));
    assert!(ran.lock().unwrap().is_empty());
    queue.resume();
    producer.publish(2).unwrap();
    assert_eq!((&*ran.lock().unwrap(), queue.counts().rejected_full), (&vec![(2, 0)], 1));
    adds_up(&runtime);
}

#[test]
fn a_job_without_any_time_to_live_does_not_run() {
    let (_runtime, _, producer, ran) = full();
    assert!(producer.publish(Job::new(1).ttl(Duration::ZERO)).unwrap_err().is_full());
    producer.publish(Job::new(2).ttl(ms(1))).unwrap();
    assert_eq!(*ran.lock().unwrap(), [(2, 0)]);
}

/// What does not wait does not run a handler either, alone or in a fan-out; nor does a copy that could not be taken back.
#[test]
fn only_a_publish_that_may_take_its_time_runs_the_job() {
    let ran = Ran::default();
    let seen = Arc::clone(&ran);
    let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
    let handler = move |&n: &u32, context: &Context<u32>| seen.lock().unwrap().push((n, context.lane()));
    let runs = builder.queue(q(1).overflow(Overflow::CallerRuns), handler).unwrap();
    let other = builder.pull_queue::<u32>(QueueConfig::new("other").capacity(8)).unwrap();
    let both = builder.exchange(ExchangeConfig::direct("both")).unwrap();
    both.rebind([Binding::new("both", &runs), Binding::new("both", &other), Binding::new("one", &runs)]).unwrap();
    let runtime = builder.build().unwrap();
    let (producer, mut publisher) = (runs.producer().unwrap(), both.publisher());
    producer.publish(0).unwrap();
    assert!(producer.try_publish(1).unwrap_err().is_full());
    assert!(producer.publish_after(2, ms(1)).unwrap_err().is_full());
    assert!(publisher.try_publish("one", 3).unwrap_err().is_full());
    assert!(publisher.publish_best_effort("one", 4).unwrap_err().is_full());
    assert!(publisher.publish("both", 5).unwrap_err().is_full());
    let partial = publisher.publish_best_effort("both", 6).unwrap();
    assert_eq!((partial.copies, &*partial.missed[0].0, other.depth()), (1, "q", 1));
    assert!(ran.lock().unwrap().is_empty());
    assert_eq!(publisher.publish("one", 7).unwrap().copies, 1);
    assert_eq!(*ran.lock().unwrap(), [(7, 0)]);
    adds_up(&runtime);
}
