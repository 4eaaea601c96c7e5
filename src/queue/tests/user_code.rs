//! User code runs outside of every lock, and its panics stay its own.

use super::*;
use crate::clock::Timestamp;
use crate::queue::Plan;
use crate::slab::Fate;
use crate::sync::late::holds_a_lock;
use crate::tests::threads::Mutex;
use crate::{Context, Delivery, Job, JobError, MissedPeriods, QueueHandle, ShutdownOptions, Verdict};

/// Calls something when it is dropped.
struct OnDrop(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Payload for OnDrop {}

impl OnDrop {
    fn new(act: impl FnOnce() + Send + 'static) -> Self {
        OnDrop(Mutex::new(Some(Box::new(act))))
    }

    fn quiet() -> Self {
        OnDrop(Mutex::new(None))
    }
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        let act = self.0.lock().unwrap().take();
        if let Some(act) = act {
            act();
        }
    }
}

fn bomb() -> OnDrop {
    OnDrop::new(|| panic!("as planned"))
}

#[test]
fn a_drop_at_shutdown_may_use_the_queue() {
    watched(|| {
        let clock = Arc::new(ManualClock::new());
        let mut builder = Runtime::builder().manual(clock);
        let queue = builder.pull_queue::<OnDrop>(q(4)).unwrap();
        let runtime = builder.build().unwrap();
        let (producer, handle) = (queue.producer().unwrap(), queue.clone());
        let reclaimed = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&reclaimed);
        // behind one that lives: the hand-back ends it, not the timer
        producer.publish(OnDrop::quiet()).unwrap();
        let job = producer.publish(OnDrop::new(move || *seen.lock().unwrap() = Some(handle.reclaim().len()))).unwrap();
        assert!(queue.cancel(job));
        let report = runtime.shutdown(ShutdownOptions::new(Duration::ZERO, Duration::ZERO));
        assert!(report.queue("q").unwrap().ledger_balances());
        assert_eq!(*reclaimed.lock().unwrap(), Some(1));
    });
}

#[test]
fn a_drop_in_a_receivers_look_may_settle_its_other_deliveries() {
    watched(|| {
        let clock = Arc::new(ManualClock::new());
        let mut builder = Runtime::builder().manual(clock);
        let queue = builder.pull_queue::<OnDrop>(q(4)).unwrap();
        let runtime = builder.build().unwrap();
        let (producer, consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
        let other: Arc<Mutex<Option<Delivery<OnDrop>>>> = Arc::default();
        producer.publish(OnDrop::quiet()).unwrap();
        *other.lock().unwrap() = Some(consumer.recv().unwrap());
        let held = Arc::clone(&other);
        let job = producer.publish(OnDrop::new(move || held.lock().unwrap().take().unwrap().ack().unwrap())).unwrap();
        assert!(queue.cancel(job));
        assert!(consumer.try_recv().is_err());
        assert_eq!((queue.counts().acked, queue.counts().dropped_cancelled), (1, 1));
        drop(runtime);
    });
}

#[test]
fn redrive_and_purge_take_their_locks_in_one_order() {
    watched(|| {
        let bare = Bare::<u32>::new(&q(64));
        let end = Instant::now() + ms(400);
        crate::tests::threads::scope(|scope| {
            let queue = &bare.queue;
            scope.spawn(move || {
                while Instant::now() < end {
                    let _ = queue.redrive(None, crate::clock::Timestamp::ZERO);
                }
            });
            scope.spawn(move || {
                while Instant::now() < end {
                    queue.purge(crate::clock::Timestamp::ZERO);
                }
            });
            let clock = ManualClock::new();
            let publisher = bare.queue.open_publisher().unwrap();
            while Instant::now() < end {
                let _ = bare.queue.try_publish(&publisher, Job::new(1).ttl(ms(1)), When::Now, clock.now());
                bare.queue.turn(&clock);
                clock.advance(ms(2));
                bare.queue.turn(&clock);
            }
        });
    });
}

fn push(
    handler: impl Fn(&OnDrop, &Context<OnDrop>) -> Verdict + Send + Sync + 'static,
) -> (Arc<ManualClock>, QueueHandle<OnDrop>, Runtime) {
    let clock = Arc::new(ManualClock::new());
    let mut builder = Runtime::builder().manual(Arc::clone(&clock));
    let queue = builder.queue(q(2), handler).unwrap();
    builder.pool(PoolConfig::new("default").workers(1)).unwrap();
    let runtime = builder.build().unwrap();
    (clock, queue, runtime)
}

#[test]
fn a_follow_up_that_is_not_wanted_may_panic_when_it_is_dropped() {
    let (_clock, queue, runtime) = push(|_, context| {
        let _ = context.complete_with(bomb());
        Verdict::Reject(JobError::fatal("changed its mind"))
    });
    queue.producer().unwrap().publish(OnDrop::quiet()).unwrap();
    runtime.turn();
    assert_eq!((queue.counts().dead_rejected, queue.counts().drop_panics), (1, 1));
}

#[test]
fn a_follow_up_of_a_stale_delivery_may_panic_when_it_is_dropped() {
    let mut builder = Runtime::builder();
    let config = q(4).visibility(ms(5)).retry(crate::RetryPolicy::new().max_expiries(0));
    let queue = builder
        .queue(config, |_: &OnDrop, context: &Context<OnDrop>| {
            assert!(soon(|| !context.is_current()));
            context.complete_with(bomb())
        })
        .unwrap();
    builder.pool(PoolConfig::new("default").workers(1).spares(0)).unwrap();
    let runtime = builder.build().unwrap();
    let producer = queue.producer().unwrap();
    for job in 1..=2 {
        producer.publish(OnDrop::quiet()).unwrap();
        assert!(soon(|| queue.counts().dead_expiries == job), "the worker is gone");
    }
    // the letter is written first, then the follow-up is dropped
    assert!(soon(|| queue.counts().drop_panics == 2));
    assert_eq!(queue.counts().stale_settles, 2);
    drop(runtime);
}

#[test]
fn a_periodic_job_that_finds_no_slot_may_panic_when_it_is_dropped() {
    let (clock, queue, runtime) = push(|_, _| Verdict::Ack);
    let producer = queue.producer().unwrap();
    let _first = producer.publish_after(OnDrop::quiet(), Duration::from_secs(60)).unwrap();
    let _second = producer.publish_after(OnDrop::quiet(), Duration::from_secs(60)).unwrap();
    let _periodic = producer.every(ms(10), MissedPeriods::Skip, bomb).unwrap();
    runtime.advance(&clock, ms(25));
    assert_eq!((queue.counts().periods_missed, queue.counts().drop_panics), (2, 2));
}

#[test]
fn a_panic_may_carry_a_bomb() {
    let (_clock, queue, runtime) = push(|_, _| Verdict::Ack);
    let producer = queue.producer().unwrap();
    producer.publish(OnDrop::new(|| std::panic::panic_any(bomb()))).unwrap();
    runtime.turn();
    assert_eq!((queue.counts().acked, queue.counts().drop_panics), (1, 1));
}

/// Whoever ends a job may be the last to have a callback that another thread replaces meanwhile.
#[test]
fn a_callback_that_is_replaced_as_jobs_die_is_dropped_under_no_lock() {
    watched(|| {
        let end = Instant::now() + ms(300);
        let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
        let queue = builder.pull_queue::<u32>(q(4).dead_letters(crate::DeadLetterConfig::new().capacity(1))).unwrap();
        let runtime = builder.build().unwrap();
        let under_a_lock = Arc::new(AtomicBool::new(false));
        queue.on_dead_letter_overflow(drop);
        crate::tests::threads::scope(|scope| {
            let (handle, under_a_lock) = (queue.clone(), Arc::clone(&under_a_lock));
            scope.spawn(move || {
                while Instant::now() < end {
                    let seen = Arc::clone(&under_a_lock);
                    let looker = OnDrop::new(move || {
                        seen.fetch_or(holds_a_lock(), SeqCst);
                    });
                    handle.on_dead_letter_overflow(move |_| {
                        let _ = &looker;
                    });
                }
            });
            let (producer, consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
            for n in 0.. {
                producer.publish(n).unwrap();
                consumer.recv().unwrap().reject("no").unwrap();
                if n % 4 == 0 {
                    queue.dead_letters().take();
                }
                if Instant::now() > end {
                    break;
                }
            }
        });
        assert!(!under_a_lock.load(SeqCst));
        assert_eq!(queue.dead_letters().held(), 0);
        drop(runtime);
    });
}

#[test]
fn a_callback_that_panics_when_it_is_dropped_ends_nobody() {
    let bare = Bare::<u32>::new(&q(4).dead_letters(crate::DeadLetterConfig::new().capacity(1)));
    let mut worker = bare.worker();
    let mut bury = |n| {
        bare.publish(n);
        let lease = worker.next(Timestamp::ZERO).unwrap();
        worker.settle(lease, Plan::End(Fate::Rejected, None), Timestamp::ZERO, true).unwrap()
    };
    bury(1).run(&bare.queue);
    let bomb = bomb();
    let callback = move |_| {
        let _ = &bomb;
    };
    bare.queue.on_dead_letter(Arc::new(callback), Timestamp::ZERO);
    let left = bury(2);
    bare.queue.on_dead_letter(Arc::new(|_| {}), Timestamp::ZERO);
    // the last to have it
    left.run(&bare.queue);
    assert_eq!(bare.queue.ledger.counts().drop_panics, 1);
}
