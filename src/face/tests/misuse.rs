//! Handles in the wrong thread, at the wrong moment, in destructors; ids that are somebody else's; user code that panics where nobody expects any; a machine that
//! refuses. (What is refused by its value alone is in `bad_input`.)

use super::*;
use crate::tests::threads::Mutex;
use crate::{
    Binding, BuildError, Context, DeadLetterConfig, DeadLetterOverflow, Dedupe, ExchangeConfig, Idle, Job, JobId, Overflow, Placement,
    PublishError, WaitError,
};
use std::cell::RefCell;
use std::fmt;
use std::process::Command;
use std::sync::OnceLock;

// ---- ids ----

#[test]
fn ids_that_are_forged_or_over_name_nothing() {
    let pull = Pull::<u32>::new(q(4).retry(at_once_up_to(1)).completed_records(8, secs(3_600)));
    let over = pull.producer.publish(1).unwrap();
    pull.get().unwrap().ack().unwrap();
    let letter = pull.producer.publish(2).unwrap();
    pull.get().unwrap().reject("no").unwrap();
    let waiting = pull.producer.publish(3).unwrap();
    for forged in [JobId(0), JobId(waiting.get() + 1), JobId(1 << 40), JobId(u64::MAX)] {
        assert!(!pull.queue.cancel(forged), "{forged}");
        assert!(pull.queue.completed_job(forged).is_none(), "{forged}");
        assert!(pull.queue.dead_letters().take_job(forged).is_none(), "{forged}");
        assert_eq!(pull.queue.dead_letters().redrive_job(forged), Ok(false), "{forged}");
    }
    assert!(!pull.queue.cancel(over) && !pull.queue.cancel(letter), "over is over");
    assert!(pull.queue.dead_letters().take_job(waiting).is_none() && pull.queue.dead_letters().take_job(over).is_none());
    assert_eq!(*pull.get().unwrap(), 3, "nobody has touched it");
    pull.settled();
}

/// Slots are used again, ids are not: an old id does not name who came after.
#[test]
fn the_id_of_a_job_that_is_over_does_not_name_the_next_one_in_its_slot() {
    let pull = Pull::<u32>::new(q(1));
    let mut before = Vec::new();
    for n in 0..100 {
        let id = pull.producer.publish(n).unwrap();
        assert!(before.iter().all(|old| *old != id && !pull.queue.cancel(*old)));
        pull.get().unwrap().ack().unwrap();
        before.push(id);
    }
    assert_eq!(pull.settled().acked, 100);
}

// ---- deliveries ----

#[test]
fn a_delivery_may_be_settled_in_another_thread_whose_consumer_is_gone() {
    let Pull { queue, runtime, producer, consumer, .. } = Pull::<u32>::new(q(4).retry(at_once_up_to(2)));
    producer.publish_batch(&mut (0..4));
    let [acked, failed, kept, left] = std::array::from_fn(|_| consumer.try_recv().unwrap());
    drop(consumer);
    std::thread::spawn(move || {
        acked.ack().unwrap();
        failed.reject("no").unwrap();
        drop(left);
    })
    .join()
    .unwrap();
    kept.ack().unwrap();
    let counts = adds_up(&runtime);
    assert_eq!((counts.acked, counts.dead_lettered, counts.abandoned, queue.depth()), (2, 1, 1, 1));
}

/// Settles what it holds when it is dropped.
struct LastAct<T: Payload>(Option<Delivery<T>>);

impl<T: Payload> Drop for LastAct<T> {
    fn drop(&mut self) {
        self.0.take().unwrap().ack().unwrap();
    }
}

#[test]
fn a_delivery_may_be_settled_in_a_destructor_also_while_its_thread_panics() {
    let pull = Pull::<u32>::new(q(4));
    pull.producer.publish_batch(&mut (0..2));
    drop(LastAct(pull.get()));
    let last = LastAct(pull.get());
    let panicked = std::thread::spawn(move || {
        let _last = last;
        panic!("with a delivery in hand");
    });
    assert!(panicked.join().is_err());
    assert_eq!(pull.settled().acked, 2);
}

#[test]
fn a_thread_may_publish_receive_and_settle_while_its_locals_are_destroyed() {
    type Will = (Producer<u32>, Consumer<u32>, Delivery<u32>);
    struct LastWill(Option<Will>);
    impl Drop for LastWill {
        fn drop(&mut self) {
            let Some((producer, consumer, delivery)) = self.0.take() else { return };
            delivery.ack().unwrap();
            producer.publish(7).unwrap();
            producer.publish_after(8, secs(1)).unwrap();
            consumer.try_recv().unwrap().ack().unwrap();
        }
    }
    thread_local! {
        static WILL: RefCell<LastWill> = const { RefCell::new(LastWill(None)) };
    }
    let pull = Pull::<u32>::new(q(8));
    // with locals of the crate and of its locks made before ours, and after
    for early in [false, true] {
        pull.producer.publish(1).unwrap();
        let (producer, consumer) = (pull.queue.producer().unwrap(), pull.queue.consumer().unwrap());
        std::thread::spawn(move || {
            if early {
                WILL.with(|_| ());
            }
            let delivery = consumer.try_recv().unwrap();
            WILL.with(|will| will.borrow_mut().0 = Some((producer, consumer, delivery)));
        })
        .join()
        .unwrap();
    }
    let counts = pull.settled();
    assert_eq!((counts.accepted, counts.acked, pull.queue.depth()), (6, 4, 2));
}

// ---- the runtime, from inside ----

#[test]
fn a_runtime_dropped_in_its_own_handler_or_payload_does_not_wait_for_itself() {
    /// Has the runtime that it runs in, and drops it in the handler or with itself.
    struct Owner(Arc<Mutex<Option<Runtime>>>, bool);
    impl Payload for Owner {}
    impl Drop for Owner {
        fn drop(&mut self) {
            let (runtime, began) = (self.0.lock().unwrap().take(), Instant::now());
            drop(runtime);
            assert!(began.elapsed() < secs(2), "it has waited for itself, until it gave up");
        }
    }
    watched(|| {
        for in_handler in [true, false] {
            let gate = Door::default();
            let open = gate.clone();
            let mut builder = Runtime::builder();
            let queue = builder
                .queue(q(8).prefetch(1), move |owner: &Owner, _: &Context<Owner>| {
                    open.pass();
                    if owner.1 {
                        let runtime = owner.0.lock().unwrap().take();
                        drop(runtime);
                    }
                })
                .unwrap();
            builder.pool(PoolConfig::new("default").workers(1)).unwrap();
            let runtime = builder.build().unwrap();
            let owned = Arc::new(Mutex::new(None));
            let producer = queue.producer().unwrap();
            producer.publish(Owner(Arc::clone(&owned), in_handler)).unwrap();
            *owned.lock().unwrap() = Some(runtime);
            gate.open();
            eventually("it is done, and the runtime is gone", || queue.counts().acked == 1 && owned.lock().unwrap().is_none());
            assert_eq!(queue.counts().drop_panics, 0);
            eventually("nothing is taken any more", || {
                producer.publish(Owner(Arc::clone(&owned), false)).is_err_and(|error| error.is_closed())
            });
        }
    });
}

#[test]
fn a_handler_that_publishes_into_its_own_full_queue_has_its_job_back() {
    let handle = Arc::new(Mutex::new(None::<Producer<u32>>));
    let mine = Arc::clone(&handle);
    let full = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&full);
    let push = Push::<u32>::new(q(2), move |n: &u32, _: &Context<u32>| {
        let error: PublishError<u32> = mine.lock().unwrap().as_ref().unwrap().try_publish(n + 100).unwrap_err();
        assert!(error.is_full());
        assert_eq!(error.into_inner(), n + 100);
        seen.fetch_add(1, SeqCst);
    });
    *handle.lock().unwrap() = Some(push.queue.producer().unwrap());
    push.producer.publish(1).unwrap();
    // it fills the queue beside the one that runs
    push.producer.publish_after(2, secs(9)).unwrap();
    push.turn();
    assert_eq!((full.load(SeqCst), push.settled().acked), (1, 1));
    *handle.lock().unwrap() = None;
}

#[test]
fn a_turn_in_a_handler_or_on_a_runtime_with_threads_panics_and_harms_nothing() {
    let caught = |act: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).is_err();
    let mut builder = Runtime::builder();
    let queue = builder.queue(q(4), |_: &u32, _: &Context<u32>| ()).unwrap();
    let runtime = builder.build().unwrap();
    assert!(caught(&|| {
        runtime.turn();
    }));
    queue.producer().unwrap().publish(1).unwrap();
    assert!(runtime.shutdown(ShutdownOptions::default()).is_clean());
    assert_eq!(queue.counts().acked, 1);

    let within = Arc::new(Mutex::new(None::<std::sync::Weak<Runtime>>));
    let mine = Arc::clone(&within);
    let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
    let queue = builder
        .queue(q(4).retry(at_once_up_to(1)), move |_: &u32, _: &Context<u32>| {
            let runtime = mine.lock().unwrap().as_ref().unwrap().upgrade().unwrap();
            runtime.turn();
        })
        .unwrap();
    let runtime = Arc::new(builder.build().unwrap());
    *within.lock().unwrap() = Some(Arc::downgrade(&runtime));
    queue.producer().unwrap().publish(1).unwrap();
    runtime.turn();
    assert_eq!((adds_up(&runtime).dead_lettered, adds_up(&runtime).panics), (1, 1));
}

// ---- user code that panics ----

/// Says nothing about itself without a panic.
struct Unspeakable;

impl Payload for Unspeakable {}

impl fmt::Debug for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no Debug")
    }
}

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no Display")
    }
}

impl std::error::Error for Unspeakable {}

#[test]
fn a_payload_whose_debug_panics_is_never_asked_for_it() {
    let pull = Pull::<Unspeakable>::new(q(2).retry(at_once_up_to(1)));
    pull.producer.publish_batch(&mut [Unspeakable, Unspeakable].into_iter());
    let error = pull.producer.publish(Unspeakable).unwrap_err();
    let delivery = pull.get().unwrap();
    let said = format!("{error:?} {error} {delivery:?} {:?}", pull.queue);
    assert!(said.contains("full"), "{said}");
    delivery.reject("no").unwrap();
    let letter = pull.queue.dead_letters().take().unwrap();
    let queue = pull.queue.clone();
    let mut report = pull.runtime.shutdown(at_once());
    let said = format!("{letter:?} {report:?} {:?}", report.take_undone(&queue));
    assert!(said.contains("\"q\""), "{said}");
}

#[test]
fn an_error_whose_display_panics_is_a_failed_attempt() {
    let config = q(2).retry(at_once_up_to(2));
    let handler = |_: &u32, _: &Context<u32>| -> Result<(), Box<dyn std::error::Error>> { Err(Box::new(Unspeakable)) };
    let push = Push::<u32>::new(config.clone(), handler);
    push.producer.publish(1).unwrap();
    push.turn();
    let counts = push.settled();
    assert_eq!((counts.panics, counts.dead_lettered), (2, 1));
    assert_eq!(push.queue.dead_letters().take().unwrap().record().last_error.as_deref(), Some("panicked: no Display"));
    // by hand: the panic is the caller's, and the delivery has been dropped
    let pull = Pull::<u32>::new(config);
    pull.producer.publish(1).unwrap();
    let delivery = pull.get().unwrap();
    let error: Box<dyn std::error::Error> = Box::new(Unspeakable);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| delivery.retry(error))).is_err());
    assert_eq!((pull.settled().abandoned, pull.counts().retried), (1, 1));
}

#[test]
fn callbacks_that_panic_stop_no_worker_and_lose_no_job() {
    let letters = DeadLetterConfig::new().capacity(1).overflow(DeadLetterOverflow::Hold);
    let config = q(10).watermarks(20, 50).retry(at_once_up_to(1)).dead_letters(letters);
    let push = Push::<u32>::new(config, |_: &u32, _: &Context<u32>| crate::Verdict::Reject("no".into()));
    let called = Arc::new(AtomicU64::new(0));
    let (one, other) = (Arc::clone(&called), Arc::clone(&called));
    push.queue.on_pressure(move |_| {
        one.fetch_add(1, SeqCst);
        panic!("under pressure");
    });
    push.queue.on_dead_letter_overflow(move |_| {
        other.fetch_add(100, SeqCst);
        panic!("no room");
    });
    push.producer.publish_batch(&mut (0..10));
    push.advance(secs(1));
    let counts = push.settled();
    assert_eq!((counts.accepted, counts.started, push.queue.depth()), (10, 10, 0));
    assert!(called.load(SeqCst) >= 901, "both were called: {}", called.load(SeqCst));
}

// ---- the machine ----

#[test]
fn more_memory_than_there_is_is_refused_when_the_queue_is_declared() {
    type Vast = [u8; 1 << 25];
    for capacity in [1 << 23, (1 << 24) - 1] {
        let error = Runtime::builder().pull_queue::<Vast>(q(capacity)).unwrap_err();
        assert_eq!((error.field(), error.value()), ("capacity", capacity.to_string().as_str()));
        assert!(
            error.to_string().starts_with(&format!("queue `q`: capacity is {capacity}, allowed is what fits into memory at 335")),
            "{error}"
        );
    }
}

#[test]
fn names_of_every_kind_name_pools_and_threads() {
    watched(|| {
        for name in ["a\0b", "\0", "", "\u{1F980} \u{1F980} \u{1F980} \u{1F980}", &"x".repeat(100_000)] {
            let mut builder = Runtime::builder();
            let queue = builder.queue(q(4).pool(name), |_: &u32, _: &Context<u32>| ()).unwrap();
            builder.pool(PoolConfig::new(name).workers(1)).unwrap();
            let runtime = builder.build().unwrap_or_else(|error| panic!("{name:?}: {error}"));
            queue.producer().unwrap().publish(1).unwrap();
            assert!(runtime.shutdown(ShutdownOptions::default()).is_clean(), "{name:?}");
            assert_eq!(queue.counts().acked, 1, "{name:?}");
        }
    });
}

/// Tells a test that it is its own child, in which something is scarce.
const CHILD: &str = "RINGMILL_TEST_CHILD";

/// Threads of the crate that this process has.
#[cfg(target_os = "linux")]
fn own_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("rm-")).count()
}

/// Room for eight stacks of 1 GiB, and 48 are wanted. Three quarters of one are left when the next does not fit, and no
/// thread has an arena of its own in them: that stack is all that cannot be had, whatever the program takes itself.
#[cfg(target_os = "linux")]
#[test]
fn threads_that_cannot_be_had_are_an_error_and_none_is_left_running() {
    if std::env::var_os(CHILD).is_none() {
        let script =
            "ulimit -v 9175040; exec \"$0\" --exact face::tests::misuse::threads_that_cannot_be_had_are_an_error_and_none_is_left_running";
        let mut child = Command::new("sh");
        child.args(["-c", script]).arg(std::env::current_exe().unwrap());
        let scarce = [(CHILD, "1".to_owned()), ("RUST_MIN_STACK", (1_u64 << 30).to_string()), ("MALLOC_ARENA_MAX", "1".to_owned())];
        let output = child.envs(scarce).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let mut builder = Runtime::builder();
    let queue = builder.queue(q(4), |_: &u32, _: &Context<u32>| ()).unwrap();
    let producer = queue.producer().unwrap();
    producer.publish(1).unwrap();
    builder.pool(PoolConfig::new("default").workers(48).placement(Placement::None)).unwrap();
    let error = builder.build().unwrap_err();
    assert!(matches!(error, BuildError::Spawn(_)), "{error}");
    assert!(error.to_string().starts_with("a thread could not be started: "), "{error}");
    eventually("those that ran are gone", || own_threads() == 0);
    assert!(producer.publish(2).unwrap_err().is_closed());
}

/// Eight times as many threads as two cores have, on one.
#[test]
fn on_one_core_with_eight_times_as_many_threads_everything_is_done() {
    const JOBS: u32 = 500;
    for idle in [Idle::Park, Idle::default()] {
        watched(move || {
            let first = core_affinity::get_core_ids().and_then(|cores| cores.first().copied());
            if let Some(core) = first {
                // inherited by every thread below
                core_affinity::set_for_current(core);
            }
            let census = Census::default();
            let mut builder = Runtime::builder();
            let queue = builder.queue(q(64), |_: &Counted, _: &Context<Counted>| ()).unwrap();
            let pull = builder.pull_queue::<Counted>(QueueConfig::new("p").capacity(16)).unwrap();
            builder.pool(PoolConfig::new("default").workers(16).idle(idle)).unwrap();
            let runtime = builder.build().unwrap();
            let publishers: Vec<_> = (0..16)
                .map(|_| {
                    let (to_workers, to_consumers, census) = (queue.producer().unwrap(), pull.producer().unwrap(), census.clone());
                    std::thread::spawn(move || {
                        for n in 0..JOBS {
                            to_workers.publish_timeout(census.born(n), Duration::MAX).unwrap();
                            if n % 4 == 0 {
                                to_consumers.publish_timeout(census.born(n), Duration::MAX).unwrap();
                            }
                        }
                    })
                })
                .collect();
            let consumers: Vec<_> = (0..4)
                .map(|_| {
                    let consumer = pull.consumer().unwrap();
                    std::thread::spawn(move || std::iter::from_fn(|| consumer.recv().ok()).map(|delivery| delivery.ack().unwrap()).count())
                })
                .collect();
            publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
            let report = runtime.shutdown(ShutdownOptions::new(secs(20), secs(5)));
            let received: usize = consumers.into_iter().map(|consumer| consumer.join().unwrap()).sum();
            assert!(report.is_clean(), "{report:?}");
            assert_eq!((queue.counts().acked, received), (u64::from(16 * JOBS), 4 * JOBS as usize));
            assert_eq!((census.alive(), report.snapshot().wake_rescued()), (0, 0));
        });
    }
}

/// Does something when it is dropped.
struct Last<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Last<F> {
    /// Has the closure that calls it own this.
    fn hold(&self) {}
}

impl<F: FnOnce()> Drop for Last<F> {
    fn drop(&mut self) {
        if let Some(act) = self.0.take() {
            act();
        }
    }
}

#[test]
fn what_a_replaced_callback_or_predicate_held_may_do_the_same_when_it_is_dropped() {
    watched(|| {
        let pull = Pull::<u32>::new(q(4));
        let again = pull.queue.clone();
        let last = Last(Some(move || again.on_pressure(|_| ())));
        pull.queue.on_pressure(move |_| last.hold());
        pull.queue.on_pressure(|_| ());

        pull.producer.publish(1).unwrap();
        let delivery = Mutex::new(pull.get());
        let last = Last(Some(move || delivery.lock().unwrap().take().unwrap().reject("no").unwrap()));
        pull.queue.on_dead_letter_overflow(move |_| last.hold());
        pull.queue.on_dead_letter_overflow(|_| ());
        assert_eq!(pull.queue.dead_letters().len(), 1);

        let mut builder = Runtime::builder();
        let queue = builder.pull_queue::<u32>(q(4)).unwrap();
        let exchange = builder.exchange(ExchangeConfig::topic("x")).unwrap();
        exchange.bind(Binding::new("b", &queue)).unwrap();
        let (again, bound) = (exchange.clone(), queue.clone());
        let last = Last(Some(move || assert!(again.unbind("b", &bound).unwrap())));
        exchange
            .bind(Binding::new("a", &queue).when(move |_, _| {
                last.hold();
                true
            }))
            .unwrap();
        assert!(exchange.unbind("a", &queue).unwrap());
        assert!(exchange.bindings().is_empty());
    });
}

#[test]
fn a_handler_within_another_runtime_s_handler_is_told_that_it_would_wait_for_either() {
    let outer: Arc<OnceLock<QueueHandle<u32>>> = Arc::default();
    let told = Arc::new(Mutex::new(None));
    let (outermost, answer) = (Arc::clone(&outer), Arc::clone(&told));
    let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
    let handler = move |_: &u32, _: &Context<u32>| {
        let mut end = outermost.get().unwrap().producer().unwrap().watched().publish(2).unwrap();
        *answer.lock().unwrap() = Some(end.wait().err());
    };
    let inner = builder.queue(q(1).overflow(Overflow::CallerRuns), handler).unwrap();
    let _inner_runtime = builder.build().unwrap();
    inner.producer().unwrap().publish(0).unwrap(); // it is full
    let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
    let asks = inner.clone();
    let handler = move |&n: &u32, _: &Context<u32>| {
        if n == 1 {
            asks.producer().unwrap().publish(1).unwrap();
        }
    };
    let queue = builder.queue(q(4), handler).unwrap();
    let runtime = builder.build().unwrap();
    assert!(outer.set(queue.clone()).is_ok());
    queue.producer().unwrap().publish(1).unwrap();
    runtime.turn();
    assert_eq!(*told.lock().unwrap(), Some(Some(WaitError::WouldDeadlock)));
}

#[test]
fn a_refused_fan_out_has_its_job_back_whatever_its_copies_do_when_they_are_dropped() {
    #[derive(Debug)]
    struct Fussy {
        copy: bool,
    }
    impl Payload for Fussy {}
    impl Clone for Fussy {
        fn clone(&self) -> Self {
            Fussy { copy: true }
        }
    }
    impl Drop for Fussy {
        fn drop(&mut self) {
            assert!(!self.copy, "a copy is dropped");
        }
    }
    let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
    let free = builder.pull_queue::<Fussy>(QueueConfig::new("a")).unwrap();
    let full = builder.pull_queue::<Fussy>(QueueConfig::new("b").dedupe(Dedupe::WhileLive, 1)).unwrap();
    let exchange = builder.exchange(ExchangeConfig::fanout("x")).unwrap();
    exchange.rebind([&free, &full].map(Binding::all)).unwrap();
    let _runtime = builder.build().unwrap();
    full.producer().unwrap().publish(Job::new(Fussy { copy: false }).key("one")).unwrap();
    let error = exchange.publisher().publish("k", Job::new(Fussy { copy: false }).key("two")).unwrap_err();
    assert!(!error.into_inner().copy);
    assert_eq!((free.counts().drop_panics, free.depth()), (1, 0));
}
