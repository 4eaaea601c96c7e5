//! Threads that stop for good in the middle of an operation, at every one of its crash points in turn: whoever else comes goes on. The progress table of
//! `docs/guarantees.md` names the tests.

use super::*;
use crate::key::OrderKey;
use crate::partitions::Place;
use crate::sync::chaos;
use crate::tests::threads::Mutex;
use crate::tests::threads::mpsc::{self, Receiver, Sender, channel};
use crate::{Binding, CancelCause, DeadLetterConfig, Dedupe, End, Exchange, ExchangeConfig, Job, JobError, JobId, PublishError, Verdict};
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// Two queues that an exchange leads to, under the manual clock.
struct World {
    clock: Arc<ManualClock>,
    runtime: Runtime,
    queue: QueueHandle<u32>,
    side: QueueHandle<u32>,
    exchange: Exchange<u32>,
}

/// What others publish; the stopped thread publishes smaller numbers.
const OTHERS: u32 = 100;
const OTHERS_KEY: &[u8] = b"others";

impl World {
    fn new(config: QueueConfig) -> Self {
        let clock = Arc::new(ManualClock::new());
        let mut builder = Runtime::builder().manual(Arc::clone(&clock));
        let queue = builder.pull_queue(config).unwrap();
        let side = builder.pull_queue(QueueConfig::new("side").capacity(64)).unwrap();
        let exchange = builder.exchange(ExchangeConfig::topic("e")).unwrap();
        exchange.rebind([Binding::new("both", &queue), Binding::new("both", &side), Binding::new("one", &side)]).unwrap();
        World { clock, runtime: builder.build().unwrap(), queue, side, exchange }
    }

    fn publish(&self, number: u32) {
        self.queue.producer().unwrap().try_publish(number).unwrap();
    }

    /// A delivery of `number`, in the hands of a consumer of its own.
    fn delivery(&self, number: u32) -> (Consumer<u32>, Delivery<u32>) {
        self.publish(number);
        let consumer = self.queue.consumer().unwrap();
        let delivery = consumer.try_recv().unwrap();
        assert_eq!(*delivery, number);
        (consumer, delivery)
    }

    /// Receives until all of `wanted` have come; what else comes is acked.
    fn receive(&self, from: &Consumer<u32>, wanted: impl IntoIterator<Item = u32>) -> Vec<Delivery<u32>> {
        let mut wanted: BTreeSet<u32> = wanted.into_iter().collect();
        let mut received = Vec::new();
        while !wanted.is_empty() {
            let delivery = from.try_recv().unwrap_or_else(|error| panic!("{error}, and {wanted:?} have not come"));
            if wanted.remove(&*delivery) { received.push(delivery) } else { delivery.ack().unwrap() }
        }
        received.sort_by_key(|delivery| **delivery);
        received
    }

    /// Whoever is not stopped does everything once. With `time`, the timer has its turn too.
    fn others_go_on(&self, time: bool) {
        let (producer, consumer) = (self.queue.producer().unwrap(), self.queue.consumer().unwrap());
        let wanted = OTHERS..OTHERS + 8;
        (OTHERS..OTHERS + 3).for_each(|number| accepted(producer.try_publish(number)));
        assert_eq!(producer.publish_batch(&mut (OTHERS + 3..OTHERS + 6)).accepted, 3);
        let mut permits = producer.reserve(0, 2).unwrap();
        permits.publish(OTHERS + 6).unwrap();
        permits.publish(OTHERS + 7).unwrap();
        drop(permits);
        let mut handle = producer.watched().try_publish(OTHERS + 8).unwrap();

        let mut got = self.receive(&consumer, wanted.chain([OTHERS + 8])).into_iter();
        let mut next = || got.next().unwrap();
        let mut first = next();
        assert!(first.is_current());
        first.extend(secs(5)).unwrap();
        first.ack().unwrap();
        next().settle(Verdict::Retry(JobError::transient("again"))).unwrap();
        next().reject("no").unwrap();
        next().snooze(secs(5)).unwrap();
        let running = next();
        assert!(self.queue.cancel(running.job_id()) && running.cancelled() == Some(CancelCause::Cancelled));
        running.ack().unwrap();
        next().complete_with(OTHERS + 9).unwrap();
        got.for_each(|delivery| delivery.ack().unwrap());
        assert!(handle.try_take().is_some_and(|done| done.end == End::Acked));
        self.receive(&consumer, [OTHERS + 1, OTHERS + 9]).into_iter().for_each(|delivery| delivery.ack().unwrap());

        // keys of their own, where the queue knows any
        for number in OTHERS + 10..OTHERS + 13 {
            producer.try_publish(Job::new(number).key(number.to_le_bytes()).partition_key(OTHERS_KEY)).unwrap();
            self.receive(&consumer, [number]).into_iter().for_each(|delivery| delivery.ack().unwrap());
        }

        let waiting = producer.try_publish(OTHERS + 13).unwrap();
        assert!(self.queue.cancel(waiting));
        producer.publish_after(OTHERS + 14, secs(5)).unwrap();
        let (mut router, beside) = (self.exchange.publisher(), self.side.consumer().unwrap());
        assert_eq!(router.try_publish("both", OTHERS + 15).unwrap().copies, 2);
        assert_eq!(router.try_publish(&self.exchange.route("one").unwrap(), OTHERS + 16).unwrap().copies, 1);
        self.receive(&consumer, [OTHERS + 15]).into_iter().for_each(|delivery| delivery.ack().unwrap());
        self.receive(&beside, [OTHERS + 15, OTHERS + 16]).into_iter().for_each(|delivery| delivery.ack().unwrap());
        if time {
            self.runtime.advance(&self.clock, secs(20));
            self.receive(&consumer, [OTHERS + 3, OTHERS + 14]).into_iter().for_each(|delivery| delivery.ack().unwrap());
        }
    }

    /// Nobody is stopped any more: everything comes to its end, and adds up.
    fn ends(self) {
        for _ in 0..3 {
            for queue in [&self.queue, &self.side] {
                let consumer = queue.consumer().unwrap();
                while let Ok(delivery) = consumer.try_recv() {
                    delivery.ack().unwrap();
                }
            }
            self.runtime.advance(&self.clock, secs(200));
        }
        adds_up(&self.runtime);
        for queue in self.runtime.snapshot().queues {
            assert_eq!(queue.free, queue.capacity, "slots are missing: {queue:#?}");
        }
    }
}

fn accepted(published: Result<JobId, PublishError<u32>>) {
    published.unwrap();
}

const BITS: u32 = 4;

/// A partition key whose partition is not that of the others' key.
fn mine() -> [u8; 4] {
    let partition = |key: &[u8]| Place::new(OrderKey::of(key), 0).partition(BITS);
    (0u32..).map(u32::to_le_bytes).find(|key| partition(key) != partition(OTHERS_KEY)).unwrap()
}

fn plain() -> QueueConfig {
    q(64)
        .visibility(secs(60))
        .retry(RetryPolicy::new().backoff(Backoff::fixed(Duration::ZERO)))
        .dead_letters(DeadLetterConfig::new().capacity(8))
}

/// Stops a thread at the `nth` crash point on its way through `act`, has `others` do what they do, and lets it go on. The step it stopped at; `None`: it has
/// fewer.
pub(super) fn stopped_at<W: Sync, A: Send>(
    nth: usize,
    world: &W,
    prepared: A,
    act: impl FnOnce(&W, A) + Send,
    others: impl FnOnce(&W) + Send,
) -> Option<&'static str> {
    let (stop, stopped) = channel();
    let (go, told) = channel::<()>();
    crate::tests::threads::scope(|scope| {
        let victim = scope.spawn(move || {
            let mut left = nth;
            // dropped with the hook: that is how it is known that the thread has not stopped
            chaos::set_hook(Some(Box::new(move |step| {
                if left == 0 {
                    let _ = stop.send(step);
                    let _ = told.recv();
                }
                left = left.wrapping_sub(1);
            })));
            act(world, prepared);
            chaos::set_hook(None);
        });
        let step = stopped.recv().ok();
        let mut went_on = true;
        if step.is_some() {
            let (done, seen) = channel::<()>();
            let others = scope.spawn(move || {
                let _done: Sender<()> = done;
                others(world);
            });
            went_on = !matches!(seen.recv_timeout(secs(20)), Err(mpsc::RecvTimeoutError::Timeout));
            // the stopped thread first, should the others wait for it
            drop(go);
            others.join().unwrap_or_else(|panic| {
                println!("a thread was stopped at {step:?}, its crash point number {nth}");
                std::panic::resume_unwind(panic)
            });
        } else {
            drop(go);
        }
        victim.join().unwrap();
        assert!(went_on, "held up by a thread that stopped at {step:?}, its crash point number {nth}");
        step
    })
}

/// Stops `act` at each of its crash points, one run each. It must come by each of `steps`.
fn nobody_waits_for<A: Send>(
    config: QueueConfig,
    prepare: impl Fn(&World) -> A,
    act: impl Fn(&World, A) + Send + Sync + Copy,
    time: bool,
    steps: &[&str],
) {
    let mut seen = BTreeSet::new();
    for nth in 0.. {
        let world = World::new(config.clone());
        let prepared = prepare(&world);
        let step = stopped_at(nth, &world, prepared, act, |world| world.others_go_on(time));
        world.ends();
        match step {
            Some(step) => seen.insert(step),
            None => break,
        };
    }
    for step in steps {
        assert!(seen.contains(step), "it was never stopped at {step}, only at {seen:?}");
    }
}

const PUSH: [&str; 4] = ["ring.push.tail_read", "ring.push.slot_read", "ring.push.filled", "park.publisher.fenced"];

#[test]
fn a_publisher_stopped_anywhere_holds_up_nobody_else() {
    let act = |world: &World, producer: Producer<u32>| {
        producer.try_publish(1).unwrap();
        drop(producer);
        assert_eq!(world.queue.capacity(), 64);
    };
    let steps = [&PUSH[..], &["credit.refill", "credit.pop", "queue.publish.filled", "queue.publish.pushed"]].concat();
    nobody_waits_for(plain(), |world| world.queue.producer().unwrap(), act, true, &steps);
}

#[test]
fn a_batch_stopped_anywhere_holds_up_nobody_else() {
    let act = |_: &World, producer: Producer<u32>| assert_eq!(producer.publish_batch(&mut (1..4)).accepted, 3);
    let steps = [&PUSH[..], &["queue.batch.filled", "queue.batch.linked", "queue.batch.pushed"]].concat();
    nobody_waits_for(plain(), |world| world.queue.producer().unwrap(), act, true, &steps);
}

#[test]
fn a_delayed_publish_stopped_anywhere_holds_up_nobody_else() {
    let act = |_: &World, producer: Producer<u32>| accepted(producer.publish_after(1, secs(1)));
    let steps = ["queue.publish.filled", "inbox.flagged", "queue.publish.posted", "park.publisher.fenced"];
    nobody_waits_for(plain(), |world| world.queue.producer().unwrap(), act, true, &steps);
}

#[test]
fn a_reservation_stopped_anywhere_holds_up_nobody_else() {
    let act = |_: &World, producer: Producer<u32>| {
        let mut permits = producer.reserve(0, 2).unwrap();
        permits.publish(1).unwrap();
    };
    nobody_waits_for(plain(), |world| world.queue.producer().unwrap(), act, true, &PUSH);
}

#[test]
fn a_watched_publish_stopped_anywhere_holds_up_nobody_else() {
    let act = |_: &World, producer: Producer<u32>| drop(producer.watched().try_publish(1).unwrap());
    nobody_waits_for(plain(), |world| world.queue.producer().unwrap(), act, true, &PUSH);
}

#[test]
fn a_watched_batch_stopped_anywhere_holds_up_nobody_else() {
    let act = |_: &World, producer: Producer<u32>| {
        let batch = producer.watched().publish_batch(&mut (1..4));
        assert_eq!(batch.completions.len(), 3);
        producer.reserve(0, 1).unwrap().publish_watched(4).unwrap();
    };
    let steps = [&PUSH[..], &["queue.batch.filled", "queue.batch.linked", "queue.batch.pushed", "queue.publish.filled"]].concat();
    nobody_waits_for(plain(), |world| world.queue.producer().unwrap(), act, true, &steps);
}

/// With the key claimed, and its lock free again: others' keys are theirs, and this one is taken.
#[test]
fn a_publish_with_a_key_stopped_anywhere_holds_up_nobody_else() {
    let act = |_: &World, producer: Producer<u32>| accepted(producer.try_publish(Job::new(1).key(b"mine")));
    let steps = [&PUSH[..], &["queue.publish.named"]].concat();
    nobody_waits_for(plain().dedupe(Dedupe::WhileLive, 64), |world| world.queue.producer().unwrap(), act, true, &steps);
}

#[test]
fn a_batch_with_keys_stopped_anywhere_holds_up_nobody_else() {
    let act = |_: &World, producer: Producer<u32>| {
        let mut jobs = (1..4).map(|n: u32| Job::new(n).key(n.to_le_bytes()));
        assert_eq!(producer.publish_batch(&mut jobs).accepted, 3);
    };
    let steps = [&PUSH[..], &["queue.batch.named", "queue.batch.filled", "queue.batch.linked", "queue.batch.pushed"]].concat();
    nobody_waits_for(plain().dedupe(Dedupe::WhileLive, 64), |world| world.queue.producer().unwrap(), act, true, &steps);
}

#[test]
fn a_publish_with_a_partition_key_stopped_anywhere_holds_up_nobody_else() {
    let act = |_: &World, producer: Producer<u32>| accepted(producer.try_publish(Job::new(1).partition_key(mine())));
    nobody_waits_for(plain().partitions(1 << BITS), |world| world.queue.producer().unwrap(), act, true, &["partition.entered"]);
}

#[test]
fn a_batch_with_partition_keys_stopped_anywhere_holds_up_nobody_else() {
    let act = |_: &World, producer: Producer<u32>| {
        let mut jobs = [Job::new(1).partition_key(mine()), Job::new(2), Job::new(3).partition_key(mine())].into_iter();
        assert_eq!(producer.publish_batch(&mut jobs).accepted, 3);
    };
    let steps = [&PUSH[..], &["queue.batch.filled", "partition.entered", "queue.batch.linked", "queue.batch.pushed"]].concat();
    nobody_waits_for(plain().partitions(1 << BITS), |world| world.queue.producer().unwrap(), act, true, &steps);
}

/// Copies that have gone in are taken at once; the others wait for nobody.
#[test]
fn a_fan_out_stopped_anywhere_holds_up_nobody_else() {
    let act = |world: &World, ()| assert_eq!(world.exchange.publisher().try_publish("both", 1).unwrap().copies, 2);
    let steps = [&PUSH[..], &["fan_out.copy", "credit.refill", "queue.publish.pushed"]].concat();
    nobody_waits_for(plain(), |_| (), act, true, &steps);
}

#[test]
fn a_watched_fan_out_stopped_anywhere_holds_up_nobody_else() {
    let act = |world: &World, ()| {
        let mut publisher = world.exchange.publisher();
        assert_eq!(publisher.watched().try_publish("both", 1).unwrap().completions.len(), 2);
        assert!(publisher.watched().try_publish_one("one", 2).is_ok());
    };
    let steps = [&PUSH[..], &["fan_out.copy", "queue.publish.filled", "queue.publish.pushed"]].concat();
    nobody_waits_for(plain(), |_| (), act, true, &steps);
}

#[test]
fn a_publish_by_route_stopped_anywhere_holds_up_nobody_else() {
    let act = |world: &World, ()| {
        let route = world.exchange.route("one").unwrap();
        assert_eq!(world.exchange.publisher().try_publish(&route, 1).unwrap().copies, 1);
    };
    nobody_waits_for(plain(), |_| (), act, true, &PUSH);
}

#[test]
fn a_consumer_stopped_in_a_claim_holds_up_its_own_job_only() {
    let prepare = |world: &World| {
        world.publish(1);
        world.queue.consumer().unwrap()
    };
    let act = |_: &World, consumer: Consumer<u32>| {
        // one that was stopped before it had its job may find that others have done it
        if let Ok(delivery) = consumer.try_recv() {
            delivery.ack().unwrap();
        }
    };
    let steps = ["ring.pop.head_read", "ring.pop.head_moved", "queue.claim.popped", "queue.claim.published", "queue.claim.started"];
    nobody_waits_for(plain(), prepare, act, true, &steps);
}

/// Settlements, one by one: what they leave half done is their own job's.
#[test]
fn a_settlement_stopped_anywhere_holds_up_nobody_else() {
    type Settle = fn(Delivery<u32>);
    let settlements: [(Settle, &[&str]); 7] = [
        (|delivery| delivery.ack().unwrap(), &["queue.settle.decided"]),
        (|delivery| delivery.retry("again").unwrap(), &["queue.settle.decided", "ring.push.slot_read", "park.publisher.fenced"]),
        (|delivery| delivery.settle(Verdict::RetryAfter(JobError::transient("later"), secs(1))).unwrap(), &["inbox.flagged"]),
        (|delivery| delivery.reject("no").unwrap(), &["queue.settle.decided"]),
        (|delivery| delivery.snooze(secs(1)).unwrap(), &["queue.settle.decided", "inbox.flagged", "park.publisher.fenced"]),
        (|delivery| delivery.complete_with(2).unwrap(), &["queue.settle.decided", "ring.push.slot_read"]),
        (drop, &["queue.settle.decided"]),
    ];
    for (settle, steps) in settlements {
        let act = move |_: &World, (consumer, delivery): (Consumer<u32>, Delivery<u32>)| {
            settle(delivery);
            drop(consumer);
        };
        nobody_waits_for(plain(), |world| world.delivery(1), act, true, steps);
    }
}

#[test]
fn an_extension_stopped_anywhere_holds_up_nobody_else() {
    let act = |_: &World, (consumer, mut delivery): (Consumer<u32>, Delivery<u32>)| {
        delivery.extend(secs(50)).unwrap();
        delivery.ack().unwrap();
        drop(consumer);
    };
    nobody_waits_for(plain(), |world| world.delivery(1), act, true, &["queue.extend.bumped", "queue.settle.decided"]);
}

/// Of a job that waits, of one that is delayed, and of one that runs.
#[test]
fn a_cancellation_stopped_anywhere_holds_up_nobody_else() {
    let delayed = |world: &World| {
        let job = world.queue.producer().unwrap().publish_after(1, secs(100)).unwrap();
        // its mail is read
        world.runtime.turn();
        job
    };
    let act = |world: &World, job| assert!(world.queue.cancel(job));
    nobody_waits_for(plain(), delayed, act, true, &["queue.cancel.decided", "inbox.flagged"]);
}

/// Whoever takes a key's job and stops has its partition; the keys of others go on.
#[test]
fn a_job_of_a_partition_stopped_anywhere_holds_up_its_own_partition_only() {
    let prepare = |world: &World| {
        let producer = world.queue.producer().unwrap();
        (1..3).for_each(|number| accepted(producer.try_publish(Job::new(number).partition_key(mine()))));
        world.queue.consumer().unwrap()
    };
    let act = |_: &World, consumer: Consumer<u32>| {
        while let Ok(delivery) = consumer.try_recv() {
            delivery.ack().unwrap();
        }
    };
    nobody_waits_for(plain().partitions(1 << BITS), prepare, act, true, &["queue.claim.published", "queue.claim.started"]);
}

/// A delayed job fires, a lease runs out, a claim is taken back, mail is read: the timer's lock is its own.
#[test]
fn a_timer_stopped_anywhere_holds_up_nobody() {
    let prepare = |world: &World| {
        let producer = world.queue.producer().unwrap();
        let overrun = world.delivery(1);
        producer.publish_after(2, secs(1)).unwrap();
        world.runtime.turn();
        producer.publish_after(3, secs(2)).unwrap();
        overrun
    };
    let act = |world: &World, overrun: (Consumer<u32>, Delivery<u32>)| {
        world.runtime.advance(&world.clock, secs(70));
        assert!(overrun.1.ack().is_err());
        drop(overrun.0);
    };
    nobody_waits_for(plain(), prepare, act, false, &["inbox.taken", "inbox.link_read", "queue.fire.decided", "queue.expire.decided"]);
}

/// The numbers that a handler has seen.
type Done = Arc<Mutex<BTreeSet<u32>>>;

/// Stops its thread the first time it comes to `place`, and says so; goes on when `told` is closed.
fn trap(place: &'static str, stop: Sender<()>, told: Receiver<()>) {
    chaos::set_hook(Some(Box::new(move |step| {
        // nobody listens any more: it has stopped once
        if step == place && stop.send(()).is_ok() {
            let _ = told.recv();
        }
    })));
}

/// Whoever was about to be woken by a thread that stops looks around by itself, twice a second; so do those who would have been woken later.
#[test]
fn a_waker_stopped_before_it_wakes_delays_nobody_for_long() {
    watched(|| {
        let done = Done::default();
        let seen = Arc::clone(&done);
        let mut builder = Runtime::builder();
        builder.pool(PoolConfig::new("default").workers(2)).unwrap();
        let handler = move |number: &u32, _: &_| {
            seen.lock().unwrap().insert(*number);
        };
        let queue = builder.queue(q(256), handler).unwrap();
        let runtime = builder.build().unwrap();
        let (stop, stopped) = channel();
        let (go, told) = channel();
        crate::tests::threads::scope(|scope| {
            let (producer, thawed) = (queue.producer().unwrap(), Arc::new(AtomicBool::new(false)));
            let over = Arc::clone(&thawed);
            scope.spawn(move || {
                trap("park.wake.cleared", stop, told);
                // the workers may be awake the first times
                while !over.load(SeqCst) {
                    accepted(producer.publish(0));
                    std::thread::sleep(ms(5));
                }
                chaos::set_hook(None);
            });
            stopped.recv().unwrap();
            drop(stopped);
            let other = queue.producer().unwrap();
            for number in 1..6 {
                accepted(other.publish(number));
                eventually("a job beside a waker that has stopped", || done.lock().unwrap().contains(&number));
            }
            thawed.store(true, SeqCst);
            drop(go);
        });
        eventually("all are done", || queue.depth() == 0);
        assert!(runtime.shutdown(ShutdownOptions::new(secs(5), secs(5))).is_clean());
    });
}

/// Every place at which a worker's thread can stop: while it looks, announces itself, claims, and settles.
#[test]
fn a_worker_stopped_anywhere_holds_up_its_own_jobs_only() {
    let steps = [
        "ring.pop.head_read",
        "ring.pop.slot_read",
        "ring.pop.head_moved",
        "queue.claim.popped",
        "queue.claim.published",
        "queue.claim.started",
        "queue.settle.decided",
        "park.announce.announced",
    ];
    for step in steps {
        println!("stopped at {step}");
        watched(move || worker_stopped_at(step));
    }
}

fn worker_stopped_at(place: &'static str) {
    let (stop, stopped) = channel();
    let (go, told) = channel();
    let unsprung = Mutex::new(Some((stop, told)));
    let trapped = OnceLock::new();
    let has_stopped = Arc::new(AtomicBool::new(false));
    let done = Done::default();
    let (seen, stands) = (Arc::clone(&done), Arc::clone(&has_stopped));
    let mut builder = Runtime::builder();
    builder.pool(PoolConfig::new("default").workers(2)).unwrap();
    let handler = move |number: &u32, _: &_| {
        if let Some((stop, told)) = unsprung.lock().unwrap().take() {
            trapped.set(std::thread::current().id()).unwrap();
            trap(place, stop, told);
        }
        // the other worker leaves the jobs to the one with the trap, until that one stands
        while trapped.get() != Some(&std::thread::current().id()) && !stands.load(SeqCst) {
            std::thread::sleep(ms(1));
        }
        seen.lock().unwrap().insert(*number);
    };
    let queue = builder.queue(q(256).prefetch(1), handler).unwrap();
    let runtime = builder.build().unwrap();
    let producer = queue.producer().unwrap();
    // one after the other, until the worker with the trap has come to the place
    let mut published = 0;
    while stopped.try_recv().is_err() {
        accepted(producer.publish(published));
        published += 1;
        std::thread::sleep(ms(1));
    }
    has_stopped.store(true, SeqCst);
    drop(stopped);
    let later = published..published + 20;
    later.clone().for_each(|number| accepted(producer.publish(number)));
    eventually("the jobs of the other worker", || {
        let done = done.lock().unwrap();
        // one may be in the hand of the stopped worker, if it was popped and not claimed yet
        later.clone().filter(|number| !done.contains(number)).count() <= 1
    });
    drop(go);
    eventually("all are done", || done.lock().unwrap().len() as u32 == later.end);
    assert!(runtime.shutdown(ShutdownOptions::new(secs(5), secs(5))).is_clean());
}
