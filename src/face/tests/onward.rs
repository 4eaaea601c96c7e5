//! Dead letters move on to other queues.

use super::*;
use crate::clock::Timestamp;
use crate::tests::growth::grows_no_faster_than_its_size;
use crate::tests::threads::Mutex;
use crate::{
    Binding, BuildError, Context, DeadLetterConfig, DeadLetterOverflow, DeathReason, Dedupe, Exchange, ExchangeConfig, Job, JobError,
    LaneConfig, Overflow, RuntimeBuilder, Snapshot, Verdict,
};
use std::sync::atomic::AtomicU32;

const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);

fn named(name: &str, capacity: u64) -> QueueConfig {
    QueueConfig::new(name).capacity(capacity)
}

fn letters() -> DeadLetterConfig {
    DeadLetterConfig::new()
}

/// Pull queues of counted payloads under the manual clock.
struct World {
    clock: Arc<ManualClock>,
    runtime: Runtime,
    queues: Vec<(QueueHandle<Counted>, Producer<Counted>, Consumer<Counted>)>,
    census: Census,
}

impl World {
    fn new<const N: usize>(configs: [QueueConfig; N]) -> Self {
        Self::with(configs, |_, _| ())
    }

    fn with<const N: usize>(configs: [QueueConfig; N], more: impl FnOnce(&mut RuntimeBuilder, &[QueueHandle<Counted>])) -> Self {
        let clock = Arc::new(ManualClock::new());
        let mut builder = Runtime::builder().manual(Arc::clone(&clock));
        let handles: Vec<_> = configs.into_iter().map(|config| builder.pull_queue::<Counted>(config).unwrap()).collect();
        more(&mut builder, &handles);
        let runtime = builder.build().unwrap();
        let queues = handles.into_iter().map(|queue| (queue.clone(), queue.producer().unwrap(), queue.consumer().unwrap())).collect();
        World { clock, runtime, queues, census: Census::default() }
    }

    fn queue(&self, at: usize) -> &QueueHandle<Counted> {
        &self.queues[at].0
    }

    fn publish(&self, at: usize, number: u32) {
        self.queues[at].1.publish(self.census.born(number)).unwrap();
    }

    fn get(&self, at: usize) -> Option<Delivery<Counted>> {
        self.queues[at].2.try_recv().ok()
    }

    fn reject(&self, at: usize, number: u32) {
        self.publish(at, number);
        self.get(at).unwrap().reject(format!("no {number}")).unwrap();
    }

    /// Time passes, and everybody looks whether there is something to do.
    fn advance(&self, by: Duration) {
        pass(&self.runtime, &self.clock, by);
        for (queue, _, consumer) in &self.queues {
            queue.pause();
            let _ = consumer.try_recv();
            queue.resume();
        }
    }

    /// Nothing is in motion: every ledger balances, every letter that was written is accounted for, and every payload is somewhere.
    fn settled(&self) -> Snapshot {
        adds_up(&self.runtime);
        let snapshot = self.runtime.snapshot();
        let mut somewhere = 0;
        for queue in &snapshot.queues {
            let gone = queue.letters_moved
                + queue.letters_redriven
                + queue.letters_purged
                + queue.letters_dropped_oldest
                + queue.letters_dropped_by_age;
            assert_eq!(queue.counts.dead_lettered, queue.dead_letters as u64 + gone, "{queue:#?}");
            somewhere += queue.held() + queue.dead_letters as u64;
        }
        assert_eq!(somewhere, self.census.alive() as u64);
        snapshot
    }
}

/// Lets time pass, the most of it in one leap: a week has six million sweeps.
fn pass(runtime: &Runtime, clock: &ManualClock, by: Duration) {
    let slowly = by.min(secs(1));
    clock.advance(by - slowly);
    runtime.advance(clock, slowly);
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::ZERO + secs(seconds)
}

fn deaths(letter: &crate::DeadLetter<Counted>) -> Vec<(&str, DeathReason, u32)> {
    letter.record().deaths.iter().map(|death| (&*death.queue, death.reason, death.count)).collect()
}

#[test]
fn a_letter_moves_on_as_a_job_with_its_history() {
    let lanes = |names: &[&str]| names.iter().map(|name| LaneConfig::new(*name)).collect::<Vec<_>>();
    let world = World::new([
        named("a", 4).lanes(lanes(&["x", "y", "z"])).dead_letters(letters().queue("b")),
        named("b", 4).lanes(lanes(&["x", "y"])),
    ]);
    world.clock.advance(secs(1));
    world.queues[0].1.publish(Job::new(world.census.born(7)).lane(2).ttl(secs(5))).unwrap();
    let first = world.get(0).unwrap();
    let fencing = first.fencing();
    first.reject("no").unwrap();
    let seen = world.settled();
    let (a, b) = (seen.queue("a").unwrap(), seen.queue("b").unwrap());
    assert_eq!((a.counts.dead_lettered, a.letters_moved, a.dead_letters, a.free), (1, 1, 0, 4));
    assert_eq!((b.counts.accepted, b.phases.ready), (1, 1));
    // its time to live was for one life
    world.advance(secs(10));
    let delivery = world.get(1).unwrap();
    assert_eq!((delivery.number, delivery.lane(), delivery.attempt()), (7, 1, 1), "the last lane, for want of its own");
    assert!(delivery.fencing() > fencing);
    delivery.reject("nor here").unwrap();
    let letter = world.queue(1).dead_letters().take().unwrap();
    assert_eq!(deaths(&letter), [("b", DeathReason::Rejected, 1), ("a", DeathReason::Rejected, 1)]);
    assert_eq!((letter.record().deaths[1].first, letter.record().deaths[0].last), (at(1), at(11)));
    assert_eq!(letter.record().last_error.as_deref(), Some("nor here"));
    drop(letter);
    world.settled();
}

#[test]
fn a_history_survives_redrives_and_moves_and_merges_by_queue_and_reason() {
    let world =
        World::new([named("a", 4).dead_letters(letters().queue("b")), named("b", 4).dead_letters(letters().retention(WEEK).queue("a"))]);
    world.publish(0, 1);
    for _ in 0..2 {
        world.get(0).unwrap().reject("a").unwrap();
        world.get(1).unwrap().reject("b").unwrap();
        assert_eq!(world.queue(1).dead_letters().redrive_all(), 1);
        world.get(1).unwrap().reject("b again").unwrap();
        world.advance(WEEK);
    }
    world.get(0).unwrap().reject("a").unwrap();
    world.get(1).unwrap().reject("b").unwrap();
    let letter = world.queue(1).dead_letters().take().unwrap();
    assert_eq!(
        deaths(&letter),
        [("b", DeathReason::Rejected, 5), ("a", DeathReason::Rejected, 3), ("b", DeathReason::Aged, 2)],
        "three rounds: the latest first"
    );
    assert_eq!(letter.record().deaths[2].last, Timestamp::ZERO + 2 * WEEK);
    drop(letter);
    let seen = world.settled();
    assert_eq!((seen.queue("a").unwrap().letters_moved, seen.queue("b").unwrap().letters_moved), (3, 2));
}

#[test]
fn through_an_exchange_by_its_own_key_or_by_the_one_it_came_by() {
    let tasks = Mutex::new(None);
    let world = World::with(
        [
            named("a", 4).dead_letters(letters().exchange("dlx").routing_key("failed")),
            named("b", 4).overflow(Overflow::DropNew).dead_letters(letters().exchange("dlx")),
            named("failed", 9).lanes(["x", "y"].map(LaneConfig::new)),
            named("rest", 9),
        ],
        |builder, queues| {
            let rest = builder.exchange(ExchangeConfig::fanout("rest")).unwrap();
            rest.bind(Binding::all(&queues[3])).unwrap();
            let dlx = builder.exchange(ExchangeConfig::topic("dlx").alternate(&rest)).unwrap();
            dlx.rebind([Binding::new("failed", &queues[2]).lane(1), Binding::new("tasks.b.#", &queues[2])]).unwrap();
            let exchange = builder.exchange(ExchangeConfig::topic("tasks")).unwrap();
            exchange
                .rebind([Binding::new("tasks.a.#", &queues[0]), Binding::new("#.b", &queues[1]), Binding::new("tasks.b.*", &queues[1])])
                .unwrap();
            *tasks.lock().unwrap() = Some(exchange);
        },
    );
    let exchange: Exchange<Counted> = tasks.lock().unwrap().take().unwrap();
    let mut publisher = exchange.publisher();
    publisher.publish_one("tasks.a.1", world.census.born(1)).unwrap();
    world.get(0).unwrap().reject("no").unwrap();
    let route = exchange.route("tasks.b.2").unwrap();
    for _ in 0..2 {
        publisher.publish_one(&route, world.census.born(2)).unwrap();
        world.get(1).unwrap().reject("no").unwrap();
    }
    publisher.publish_one("other.b", world.census.born(3)).unwrap();
    world.get(1).unwrap().reject("no").unwrap();
    world.reject(1, 4); // by the queue's own name
    // number, lane, the key it came by, the key it was published by, and its key at its first death here
    let seen = |at: usize| {
        let delivery = world.get(at).unwrap();
        let (number, lane) = (delivery.number, delivery.lane());
        delivery.reject("again").unwrap();
        let letter = world.queue(at).dead_letters().take().unwrap();
        let first = letter.record().deaths[0].routing_key.as_deref().map(str::to_owned);
        (number, lane, letter.routing_key().map(str::to_owned), letter.record().routing_key.as_deref().map(str::to_owned), first)
    };
    let key = |key: &str| Some(key.to_owned());
    // the lanes in turn
    assert_eq!(seen(2), (2, 0, key("tasks.b.2"), key("tasks.b.2"), key("tasks.b.2")));
    assert_eq!(seen(2), (1, 1, key("failed"), None, key("failed")), "`a` needs no keys and keeps none");
    assert_eq!(seen(2).0, 2);
    assert_eq!(seen(3), (3, 0, key("other.b"), key("other.b"), key("other.b")));
    assert_eq!(seen(3), (4, 0, key("b"), None, key("b")));
    // one that never had a slot
    (0..4).for_each(|n| world.publish(1, n));
    publisher.publish_one(&route, world.census.born(9)).unwrap();
    assert_eq!((seen(2).0, world.settled().queue("b").unwrap().counts.dead_over_length), (9, 1));
}

#[test]
fn keys_are_kept_on_request_and_for_copies_of_a_fan_out() {
    let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
    let one = builder.pull_queue::<u32>(named("one", 2).dead_letters(letters().keep_routing_keys())).unwrap();
    let two = builder.pull_queue::<u32>(named("two", 2)).unwrap();
    let exchange = builder.exchange(ExchangeConfig::fanout("all")).unwrap();
    exchange.rebind([Binding::all(&one), Binding::all(&two)]).unwrap();
    let _runtime = builder.build().unwrap();
    let consumers = [one.consumer().unwrap(), two.consumer().unwrap()];
    exchange.publisher().publish("a.b", 1).unwrap();
    consumers.iter().for_each(|consumer| consumer.try_recv().unwrap().reject("no").unwrap());
    assert_eq!(one.dead_letters().take().unwrap().record().routing_key.as_deref(), Some("a.b"));
    assert_eq!(two.dead_letters().take().unwrap().record().routing_key, None);
    // the slot's next job came by none
    one.producer().unwrap().publish(2).unwrap();
    consumers[0].try_recv().unwrap().reject("no").unwrap();
    assert_eq!(one.dead_letters().take().unwrap().routing_key(), None);
}

#[test]
fn a_full_target_holds_letters_at_the_source_and_pushes_back() {
    let world = World::new([named("a", 2).dead_letters(letters().capacity(2).queue("b")), named("b", 1)]);
    for n in 0..5 {
        world.reject(0, n);
    }
    let seen = world.settled();
    let (a, b) = (seen.queue("a").unwrap(), seen.queue("b").unwrap());
    assert_eq!((a.letters_moved, a.dead_letters, a.phases.held, b.phases.ready), (1, 2, 2, 1));
    let error = world.queues[0].1.publish(world.census.born(9)).unwrap_err();
    assert!(error.is_full(), "the source is told");
    drop(error);
    for n in 0..5 {
        world.settled();
        let delivery = world.get(1).unwrap();
        assert_eq!((delivery.number, delivery.attempt()), (n, 1), "oldest first");
        delivery.ack().unwrap();
        world.advance(secs(5));
    }
    let seen = world.settled();
    assert_eq!((seen.queue("a").unwrap().letters_moved, seen.queue("b").unwrap().counts.acked, world.census.alive()), (5, 5, 0));
}

/// Whoever tries again goes by the timer's time, which does not step back: otherwise it would be time again at once, again and again.
#[test]
fn letters_that_wait_for_room_keep_nobody_busy_while_the_clock_is_behind() {
    let clock = Arc::new(ManualClock::new());
    let mut builder = Runtime::builder().manual(Arc::clone(&clock));
    let reject = |_: &u32, _: &_| Err::<(), _>(JobError::fatal("no"));
    let a = builder.queue(QueueConfig::new("a").dead_letters(DeadLetterConfig::new().queue("b")), reject).unwrap();
    let b = builder.pull_queue::<u32>(QueueConfig::new("b").capacity(1)).unwrap();
    let runtime = builder.build().unwrap();
    runtime.advance(&clock, secs(60));
    clock.set(at(30));
    a.producer().unwrap().publish_batch(&mut (0..3));
    runtime.advance(&clock, secs(1));
    assert_eq!((a.dead_letters().len(), b.depth()), (2, 1));
    b.consumer().unwrap().recv().unwrap().ack().unwrap();
    runtime.advance(&clock, secs(40));
    assert_eq!((a.dead_letters().len(), b.depth()), (1, 1));
}

#[test]
fn a_full_target_and_a_list_that_drops_its_oldest_or_calls_back() {
    for calls_back in [false, true] {
        let config = letters().capacity(2).overflow(DeadLetterOverflow::DropOldest).queue("b");
        let world = World::new([named("a", 2).dead_letters(config), named("b", 1)]);
        let taken = Arc::new(Mutex::new(Vec::new()));
        if calls_back {
            let taken = Arc::clone(&taken);
            world.queue(0).on_dead_letter_overflow(move |letter| taken.lock().unwrap().push(letter.payload().number));
        }
        (0..6).for_each(|n| world.reject(0, n));
        let snapshot = world.runtime.snapshot();
        let a = snapshot.queue("a").unwrap();
        let mut kept = Vec::new();
        world.queue(0).dead_letters().for_each(|letter| kept.push(letter.payload().number));
        if calls_back {
            assert_eq!((a.letters_dropped_oldest, taken.lock().unwrap().as_slice(), kept.as_slice()), (0, &[3, 4, 5][..], &[1, 2][..]));
        } else {
            assert_eq!((a.letters_dropped_oldest, &*kept), (3, &[4, 5][..]));
            world.settled();
        }
        assert_eq!((a.letters_moved, a.dead_letters, world.census.alive()), (1, 2, 3));
        adds_up(&world.runtime);
    }
}

#[test]
fn a_target_that_drops_its_oldest_makes_room_for_a_letter() {
    let world = World::new([
        named("a", 2).dead_letters(letters().queue("b")),
        named("b", 1).overflow(Overflow::DropOldest).dead_letters(letters().queue("c")),
        named("c", 9),
    ]);
    (0..3).for_each(|n| world.reject(0, n));
    world.advance(secs(5));
    let seen = world.settled();
    assert_eq!((seen.queue("b").unwrap().counts.dead_over_length, seen.queue("b").unwrap().letters_moved), (2, 2));
    let numbers = [1, 2, 2].map(|at| {
        let delivery = world.get(at).unwrap();
        let number = delivery.number;
        delivery.ack().unwrap();
        number
    });
    assert_eq!(numbers, [2, 0, 1]);
}

#[test]
fn what_a_letter_drives_out_moves_on_in_another_act_also_if_somebody_waits_for_its_end() {
    for watched in [false, true] {
        let clock = Arc::new(ManualClock::new());
        let mut builder = Runtime::builder().manual(Arc::clone(&clock));
        let [a, b, c] = [
            named("a", 2).dead_letters(letters().queue("b")),
            named("b", 1).overflow(Overflow::DropOldest).dead_letters(letters().queue("c")),
            named("c", 9),
        ]
        .map(|config| builder.pull_queue::<u32>(config).unwrap());
        let runtime = builder.build().unwrap();
        if watched {
            drop(b.producer().unwrap().watched().publish(1).unwrap());
        } else {
            b.producer().unwrap().publish(1).unwrap();
        }
        a.producer().unwrap().publish(2).unwrap();
        a.consumer().unwrap().try_recv().unwrap().reject("no").unwrap();
        assert_eq!((b.depth(), b.dead_letters().len(), c.depth()), (1, 1, 0), "watched: {watched}");
        b.consumer().unwrap().try_recv().unwrap().ack().unwrap();
        assert_eq!((b.dead_letters().len(), c.depth()), (0, 1), "watched: {watched}");
        adds_up(&runtime);
    }
}

#[test]
fn with_a_retention_letters_stay_that_long_and_then_move_on() {
    let world = World::new([named("a", 4).dead_letters(letters().retention(WEEK).queue("b")), named("b", 4)]);
    world.reject(0, 1);
    world.advance(WEEK - secs(1));
    assert_eq!(world.queue(0).dead_letters().len(), 1);
    world.advance(secs(2));
    assert_eq!(world.queue(0).dead_letters().len(), 0);
    world.get(1).unwrap().reject("no").unwrap();
    let letter = world.queue(1).dead_letters().take().unwrap();
    assert_eq!(deaths(&letter), [("b", DeathReason::Rejected, 1), ("a", DeathReason::Aged, 1), ("a", DeathReason::Rejected, 1)]);
}

#[test]
fn where_nobody_looks_for_work_aged_letters_move_on_before_they_are_found() {
    let world = World::new([named("a", 4).dead_letters(letters().retention(WEEK).queue("b")), named("b", 1)]);
    (0..3).for_each(|n| world.reject(0, n));
    world.clock.advance(WEEK);
    // a snapshot moves nothing
    assert_eq!(world.settled().queue("a").unwrap().dead_letters, 3);
    // one fits; the others cannot go, and are letters as before
    let found = world.queue(0).dead_letters();
    assert_eq!((found.len(), world.queue(1).depth()), (2, 1));
    assert_eq!(found.take().unwrap().into_payload().number, 1);
    world.get(1).unwrap().ack().unwrap();
    assert_eq!((found.take().is_none(), found.redrive(), world.queue(1).depth()), (true, Ok(false), 1));
    let delivery = world.get(1).unwrap();
    assert_eq!(delivery.number, 2);
    delivery.ack().unwrap();
    let seen = world.settled();
    let a = seen.queue("a").unwrap();
    assert_eq!((a.letters_moved, a.letters_purged, a.letters_dropped_by_age), (2, 1, 0));
}

#[test]
fn a_predicate_that_looks_at_the_letters_it_moves_ends() {
    crate::face::tests::watched(|| {
        let dlx = Mutex::new(None);
        let a = named("a", 4).dead_letters(letters().retention(WEEK).exchange("dlx").routing_key("x"));
        let world = World::with([a, named("b", 1)], |builder, _| {
            *dlx.lock().unwrap() = Some(builder.exchange::<Counted>(ExchangeConfig::direct("dlx")).unwrap());
        });
        let source = world.queue(0).clone();
        let binding = Binding::new("x", world.queue(1)).when(move |_, _: &Counted| source.dead_letters().len() < 9);
        dlx.lock().unwrap().as_ref().unwrap().rebind([binding]).unwrap();
        (0..2).for_each(|n| world.reject(0, n));
        world.clock.advance(WEEK);
        // the second finds its target full
        assert_eq!(world.queue(0).dead_letters().len(), 1);
        world.settled();
        dlx.lock().unwrap().as_ref().unwrap().rebind([]).unwrap();
    });
}

#[test]
fn what_nobody_wants_stays_and_is_counted_until_somebody_does() {
    let dlx = Mutex::new(None);
    let world = World::with([named("a", 4).dead_letters(letters().exchange("dlx").routing_key("x")), named("b", 4)], |builder, _| {
        *dlx.lock().unwrap() = Some(builder.exchange::<Counted>(ExchangeConfig::direct("dlx")).unwrap());
    });
    let dlx = dlx.lock().unwrap().take().unwrap();
    (0..3).for_each(|n| world.reject(0, n));
    world.advance(secs(60));
    let seen = world.settled();
    let a = seen.queue("a").unwrap();
    assert_eq!((a.dead_letters, a.letters_unroutable, a.letters_moved), (3, 3, 0), "each is counted once");
    let clone = world.queue(0).clone();
    dlx.rebind([Binding::new("x", world.queue(1)), Binding::new("x", &clone)]).unwrap();
    world.advance(secs(1));
    assert_eq!(world.settled().queue("a").unwrap().letters_moved, 0, "two queues: a letter is not copied");
    dlx.rebind([Binding::new("x", world.queue(1)).when(|_, job: &Counted| if job.number == 1 { panic!("1") } else { true })]).unwrap();
    world.advance(secs(1));
    let seen = world.settled();
    let a = seen.queue("a").unwrap();
    assert_eq!((a.dead_letters, a.letters_unroutable, a.letters_moved), (1, 3, 2), "a predicate that panics does not hold");
}

#[test]
fn of_those_that_nobody_wants_only_the_new_one_is_looked_at() {
    let world = |letters: usize| {
        let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
        let dead = DeadLetterConfig::new().capacity(letters as u32).exchange("dlx");
        let source = builder.pull_queue::<usize>(named("a", letters as u64).dead_letters(dead)).unwrap();
        let target = builder.pull_queue::<usize>(named("b", letters as u64)).unwrap();
        let dlx = builder.exchange(ExchangeConfig::fanout("dlx")).unwrap();
        (builder.build().unwrap(), source, target, dlx)
    };
    let die = |source: &QueueHandle<usize>, letters| {
        let (producer, consumer) = (source.producer().unwrap(), source.consumer().unwrap());
        for n in 0..letters {
            producer.publish(n).unwrap();
            consumer.try_recv().unwrap().reject("no").unwrap();
        }
    };
    grows_no_faster_than_its_size(20_000, world, |(runtime, source, target, dlx)| {
        let letters = source.snapshot().capacity as usize / 2;
        die(&source, letters);
        assert_eq!((source.dead_letters().len(), source.snapshot().letters_unroutable), (letters, letters as u64));
        dlx.bind(Binding::all(&target)).unwrap();
        die(&source, letters);
        assert_eq!(
            (source.dead_letters().len(), source.snapshot().letters_moved),
            (0, 2 * letters as u64),
            "all of them, once there is a way"
        );
        drop(runtime);
    });
}

#[test]
fn what_nobody_wants_at_its_age_is_dropped_and_counted() {
    let world = World::with([named("a", 4).dead_letters(letters().retention(WEEK).exchange("dlx").routing_key("x"))], |builder, _| {
        builder.exchange::<Counted>(ExchangeConfig::direct("dlx")).unwrap();
    });
    world.reject(0, 1);
    world.advance(WEEK - secs(1));
    assert_eq!((world.queue(0).dead_letters().len(), world.census.alive()), (1, 1));
    world.advance(secs(2));
    let seen = world.settled();
    let a = seen.queue("a").unwrap();
    assert_eq!((a.letters_dropped_by_age, a.letters_unroutable, a.dead_letters, world.census.alive()), (1, 1, 0, 0));
}

#[test]
fn the_receiving_queue_keeps_so_many_and_so_long() {
    let none = letters().capacity(0).overflow(DeadLetterOverflow::DropOldest);
    let parked = named("b", 3).overflow(Overflow::DropOldest).retention(WEEK).dead_letters(none);
    let world = World::new([named("a", 8).dead_letters(letters().queue("b")), parked]);
    (0..5).for_each(|n| world.reject(0, n));
    let seen = world.settled();
    let b = seen.queue("b").unwrap();
    assert_eq!((b.phases.ready, b.counts.dead_over_length, world.census.alive()), (3, 2, 3));
    world.publish(1, 9); // not a letter: it waits as long as it takes, and evicts another
    world.advance(WEEK - secs(1));
    assert_eq!(world.settled().queue("b").unwrap().held(), 3);
    world.advance(secs(2));
    let delivery = world.get(1).unwrap();
    assert_eq!(delivery.number, 9);
    delivery.ack().unwrap();
    let seen = world.settled();
    let b = seen.queue("b").unwrap();
    assert_eq!((b.counts.dead_expired, b.letters_dropped_oldest, b.held(), world.census.alive()), (2, 5, 0, 0));
}

#[test]
fn poison_among_ten_thousand_goes_to_its_queue_and_is_gone_a_week_later() {
    let clock = Arc::new(ManualClock::new());
    let mut builder = Runtime::builder().manual(Arc::clone(&clock));
    let poison = |n: &u32, _: &Context<u32>| if *n == 5_000 { Err(JobError::fatal("poison")) } else { Ok(()) };
    let work = builder.queue(named("work", 20_000).dead_letters(letters().queue("poison")), poison).unwrap();
    let none = letters().capacity(0).overflow(DeadLetterOverflow::DropOldest);
    let parked = builder.pull_queue::<u32>(named("poison", 10).retention(WEEK).dead_letters(none)).unwrap();
    builder.pool(PoolConfig::new("default").workers(1)).unwrap();
    let runtime = builder.build().unwrap();
    let consumer = parked.consumer().unwrap();
    assert_eq!(work.producer().unwrap().publish_batch(&mut (0..10_001)).accepted, 10_001);
    runtime.turn();
    let counts = adds_up(&runtime);
    assert_eq!((counts.acked, counts.dead_lettered, parked.depth()), (10_000, 1, 1));
    pass(&runtime, &clock, WEEK + secs(1));
    assert!(consumer.try_recv().is_err());
    adds_up(&runtime);
    assert_eq!((parked.depth(), parked.counts().dead_expired, parked.snapshot().letters_dropped_oldest), (0, 1, 1));
}

#[test]
fn a_letter_whose_key_is_taken_there_waits_and_holds_up_nobody() {
    let dedupe = |name| named(name, 4).dedupe(Dedupe::WhileLive, 100);
    let world = World::new([dedupe("a").dead_letters(letters().queue("b")), dedupe("b")]);
    let keyed = |at: usize, number: u32| world.queues[at].1.publish(Job::new(world.census.born(number)).key("k")).unwrap();
    keyed(1, 1);
    keyed(0, 2);
    world.get(0).unwrap().reject("no").unwrap();
    world.reject(0, 3);
    assert_eq!((world.queue(0).dead_letters().len(), world.queue(1).depth()), (1, 2));
    world.get(1).unwrap().ack().unwrap();
    world.advance(secs(5));
    let seen = world.settled();
    assert_eq!((seen.queue("a").unwrap().letters_moved, seen.queue("b").unwrap().keys), (2, 1));
    let (third, second) = (world.get(1).unwrap(), world.get(1).unwrap());
    assert_eq!((third.number, second.number), (3, 2));
    second.ack().unwrap();
    assert_eq!(world.runtime.snapshot().queue("b").unwrap().keys, 0);
    third.ack().unwrap();
}

#[test]
fn a_payload_moves_when_its_last_reader_has_left() {
    let retry = RetryPolicy::new().max_expiries(0);
    let world = World::new([named("a", 2).visibility(ms(100)).retry(retry).dead_letters(letters().queue("b")), named("b", 2)]);
    world.publish(0, 1);
    let late = world.get(0).unwrap();
    world.advance(secs(1));
    assert!(!late.is_current());
    assert_eq!((late.payload().number, world.queue(1).depth()), (1, 0), "it is still read");
    world.settled();
    assert!(late.ack().is_err());
    assert_eq!(world.queue(1).depth(), 1);
    let delivery = world.get(1).unwrap();
    assert_eq!(delivery.number, 1);
    delivery.ack().unwrap();
    assert_eq!(world.settled().queue("a").unwrap().counts.dead_expiries, 1);
}

#[test]
fn at_shutdown_letters_stay_and_moved_ones_come_back_with_their_history() {
    let world = World::new([named("a", 4).dead_letters(letters().queue("b")), named("b", 4)]);
    world.reject(0, 1);
    world.publish(0, 2);
    let running = world.get(0).unwrap();
    let World { runtime, queues, census, .. } = world;
    let mut report = runtime.shutdown(at_once());
    running.reject("late").unwrap();
    let undone = report.take_undone(&queues[1].0);
    assert_eq!((undone.len(), undone[0].payload.number, &*undone[0].deaths[0].queue), (1, 1, "a"));
    assert_eq!(queues[0].0.dead_letters().take().unwrap().payload().number, 2, "nothing moves any more");
    drop((undone, report));
    assert_eq!(census.alive(), 0);
    let weak = queues.iter().map(|(queue, ..)| Arc::downgrade(&queue.queue)).collect::<Vec<_>>();
    drop(queues);
    assert!(weak.iter().all(|queue| queue.upgrade().is_none()), "queues do not keep each other alive");
}

fn refusal(declare: impl FnOnce(&mut RuntimeBuilder)) -> (String, String, String) {
    let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
    declare(&mut builder);
    match builder.build() {
        Err(BuildError::Config(error)) => (error.field().to_owned(), error.value().to_owned(), error.allowed().to_owned()),
        other => panic!("built: {other:?}"),
    }
}

#[test]
fn circles_without_a_handler_are_refused_and_named() {
    let drops = |name: &str, to: &str| named(name, 2).overflow(Overflow::DropOldest).dead_letters(letters().queue(to));
    let keeps = |name: &str, to: &str| named(name, 2).retention(WEEK).dead_letters(letters().retention(secs(1)).queue(to));
    let circle = |configs: Vec<QueueConfig>| {
        let (field, value, _) = refusal(|builder| configs.into_iter().for_each(|config| drop(builder.pull_queue::<u32>(config).unwrap())));
        assert_eq!(field, "dead_letters");
        value
    };
    assert_eq!(circle(vec![drops("a", "b"), drops("b", "a")]), "`a -> b -> a`, a circle that goes on by itself");
    assert_eq!(circle(vec![keeps("a", "b"), drops("b", "c"), keeps("c", "a")]), "`a -> b -> c -> a`, a circle that goes on by itself");
    assert_eq!(circle(vec![drops("a", "a")]), "`a -> a`, a circle that goes on by itself");
    assert_eq!(circle(vec![keeps("a", "a")]), "`a -> a`, a circle that goes on by itself");
    assert_eq!(circle(vec![named("a", 2).dead_letters(letters().queue("a"))]), "`a -> a`, a circle without a pause");
    // through exchanges: by a key, by any, by an alternate
    for (config, key) in
        [(letters().exchange("x").routing_key("k"), "k"), (letters().exchange("x"), "k"), (letters().exchange("x").routing_key("k"), "l")]
    {
        let (_, value, _) = refusal(|builder| {
            let a = builder.pull_queue::<u32>(named("a", 2).overflow(Overflow::DropOldest).dead_letters(config)).unwrap();
            let b = builder.pull_queue::<u32>(drops("b", "a")).unwrap();
            let y = builder.exchange(ExchangeConfig::fanout("y")).unwrap();
            y.bind(Binding::all(&b)).unwrap();
            let x = builder.exchange(ExchangeConfig::topic("x").alternate(&y)).unwrap();
            x.bind(Binding::new("k", if key == "k" { &b } else { &a }).when(|_, _| true)).unwrap();
        });
        assert!(
            value == "`a -> x -> b -> a`, a circle that goes on by itself"
                || value.starts_with("`a -> x -> y -> b -> a`")
                || value.starts_with("`a -> x -> a`"),
            "{value}"
        );
    }
}

#[test]
fn circles_with_a_handler_in_them_are_retries() {
    // the pattern of a delay: rejected work waits elsewhere for a while and comes back
    let wait = named("wait", 9).retention(secs(10)).dead_letters(letters().queue("work"));
    let world = World::new([named("work", 9).dead_letters(letters().queue("wait")), wait]);
    world.reject(0, 1);
    for round in 1..4 {
        world.advance(secs(9));
        assert!(world.get(0).is_none());
        world.advance(secs(2));
        assert!(world.get(1).is_none(), "whoever looks there finds that it has expired");
        world.settled();
        assert_eq!(world.get(0).unwrap().reject(format!("{round}")), Ok(()));
    }
    let seen = world.settled();
    assert_eq!((seen.queue("work").unwrap().counts.dead_rejected, seen.queue("wait").unwrap().counts.dead_expired), (4, 3));
    // and a queue back to itself, after a while
    let world = World::new([named("a", 9).dead_letters(letters().retention(secs(10)).queue("a"))]);
    world.reject(0, 1);
    world.advance(secs(11));
    world.get(0).unwrap().ack().unwrap();
    let counts = world.settled().queues[0].counts;
    assert_eq!((counts.accepted, counts.dead_lettered, counts.acked), (2, 1, 1));
}

/// Nothing but rejecting handlers, and no retention: a poison job would run as fast as it can, for ever.
#[test]
fn circles_without_a_pause_are_refused_and_named() {
    let reject = |_: &u32, _: &Context<u32>| Verdict::Reject("no".into());
    let declare = |configs: &[(&str, DeadLetterConfig)]| {
        let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
        let queue = |(name, letters): &(&str, DeadLetterConfig)| builder.queue(named(name, 2).dead_letters(letters.clone()), reject);
        let queues: Vec<QueueHandle<u32>> = configs.iter().map(queue).map(Result::unwrap).collect();
        (builder, queues)
    };
    let refused = |builder: RuntimeBuilder, path: &str| {
        let error = builder.build().unwrap_err().to_string();
        assert!(error.contains(&format!("`{path}`, a circle without a pause")), "{error}");
    };
    let to = |queue: &str| letters().queue(queue);
    refused(declare(&[("a", to("b")), ("b", to("a"))]).0, "a -> b -> a");
    refused(declare(&[("s", to("a")), ("a", to("b")), ("b", to("c")), ("c", to("a"))]).0, "a -> b -> c -> a");
    declare(&[("a", to("b")), ("b", to("a").retention(ms(1)))]).0.build().unwrap();
    // a queue's own retention is none where a handler starts what comes; where nobody does, jobs wait for it
    let (mut builder, _) = declare(&[("a", to("b"))]);
    builder.queue(named("b", 2).retention(WEEK).dead_letters(to("a")), reject).unwrap();
    refused(builder, "a -> b -> a");
    let (mut builder, _) = declare(&[("a", to("b"))]);
    builder.pull_queue::<u32>(named("b", 2).retention(WEEK).dead_letters(to("a"))).unwrap();
    builder.build().unwrap();
    // through a fanout exchange, whatever the key was; an alternate gets what a predicate leaves
    let (mut builder, queues) = declare(&[("a", letters().exchange("x")), ("b", to("a"))]);
    builder.exchange(ExchangeConfig::fanout("x")).unwrap().bind(Binding::all(&queues[1])).unwrap();
    refused(builder, "a -> x -> b -> a");
    let (mut builder, queues) = declare(&[("a", letters().exchange("x").routing_key("k")), ("b", to("a")), ("c", letters())]);
    let y = builder.exchange(ExchangeConfig::fanout("y")).unwrap();
    y.bind(Binding::all(&queues[1])).unwrap();
    let x = builder.exchange(ExchangeConfig::topic("x").alternate(&y)).unwrap();
    x.bind(Binding::new("k", &queues[2]).when(|_, _| true)).unwrap();
    let _runtime = builder.build().unwrap();
    // and by a binding at run time
    let error = x.rebind([Binding::new("k", &queues[1])]).unwrap_err().to_string();
    assert!(error.contains("`a -> x -> b -> a`, a circle without a pause"), "{error}");
}

#[test]
fn bindings_that_would_close_a_circle_are_refused_at_run_time() {
    let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
    let drops = |name: &str, letters| named(name, 2).overflow(Overflow::DropOldest).dead_letters(letters);
    let a = builder.pull_queue::<u32>(drops("a", letters().exchange("x").routing_key("k"))).unwrap();
    let b = builder.pull_queue::<u32>(drops("b", letters().queue("a"))).unwrap();
    let x = builder.exchange(ExchangeConfig::topic("x")).unwrap();
    let _runtime = builder.build().unwrap();
    x.bind(Binding::new("l", &b)).unwrap();
    let error = x.bind(Binding::new("k", &b)).unwrap_err();
    assert!(error.to_string().contains("a -> x -> b -> a"), "{error}");
    assert!(x.rebind([Binding::new("#", &b)]).is_err());
    assert_eq!(x.bindings().len(), 1, "nothing has changed");
    x.rebind([Binding::new("k.*", &b), Binding::new("a", &a)]).unwrap();
}

/// Each by a key of its own, or all by any; to many queues, to two, or to all of them.
#[test]
fn many_queues_dead_letter_through_one_exchange() {
    /// Of the binding of this number: its key, and its queue.
    type Bound = fn(usize) -> (String, usize);
    let shapes: [(bool, Bound); 4] = [
        (true, |n| (format!("a.k{n}"), n)),
        (true, |n| ("a.#".to_owned(), n)),
        (false, |n| (format!("a.k{n}"), n % 2)),
        (false, |n| ("#".to_owned(), n)),
    ];
    for (by_key, binding) in shapes {
        let declare = |count| {
            let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
            let to_x = |n| if by_key { letters().exchange("x").routing_key(format!("a.k{n}")) } else { letters().exchange("x") };
            let queue = |n| builder.pull_queue::<u32>(named(&format!("q{n}"), 1).dead_letters(to_x(n).retention(WEEK))).unwrap();
            let queues: Vec<_> = (0..count).map(queue).collect();
            let x = builder.exchange(ExchangeConfig::topic("x")).unwrap();
            let bound = |n| {
                let (key, to) = binding(n);
                Binding::new(key, &queues[to]).when(|_, _| true)
            };
            x.rebind((0..count).map(bound)).unwrap();
            (builder, x, queues)
        };
        grows_no_faster_than_its_size(2_000, declare, |(builder, x, queues)| {
            let _runtime = builder.build().unwrap();
            x.bind(Binding::new("a.other", &queues[0])).unwrap();
        });
    }
}

#[test]
fn targets_that_cannot_be_are_named() {
    let found = refusal(|builder| drop(builder.pull_queue::<u32>(named("a", 2).dead_letters(letters().queue("b"))).unwrap()));
    assert_eq!(found, ("dead_letters.queue".into(), "`b`, which was not declared".into(), "a; did you mean `a`?".into()));
    // among hundreds, some and the nearest
    let (_, _, allowed) = refusal(|builder| {
        (0..300).for_each(|n| drop(builder.pull_queue::<u32>(named(&format!("queue-{n}"), 1)).unwrap()));
        builder.pull_queue::<u32>(named("z", 1).dead_letters(letters().queue("queeu-250"))).unwrap();
    });
    assert_eq!(
        allowed,
        "queue-0, queue-1, queue-10, queue-100, queue-101, queue-102, queue-103, queue-104 and 293 more; did you mean `queue-250`?"
    );
    let (field, value, allowed) = refusal(|builder| {
        for n in 0..300 {
            builder.pool(PoolConfig::new(format!("pool-{n}"))).unwrap();
        }
        builder.queue(named("q", 1).pool("pol-7"), |_: &u32, _: &Context<u32>| ()).unwrap();
    });
    assert_eq!((&*field, &*value), ("pool", "`pol-7`, which was not declared"));
    assert!(allowed.len() < 120 && allowed.ends_with("; did you mean `pool-7`?"), "{allowed}");
    let found = refusal(|builder| {
        builder.pull_queue::<u32>(named("a", 2).dead_letters(letters().queue("b"))).unwrap();
        builder.pull_queue::<u64>(named("b", 2)).unwrap();
    });
    assert_eq!((&*found.0, &*found.1), ("dead_letters.queue", "`b`, of another payload"));
    let found = refusal(|builder| {
        builder.pull_queue::<u32>(named("a", 2).dead_letters(letters().exchange("x"))).unwrap();
        builder.exchange::<u64>(ExchangeConfig::direct("x")).unwrap();
    });
    assert_eq!((&*found.0, &*found.1), ("dead_letters.exchange", "`x`, of another payload"));
    let found = refusal(|builder| {
        builder.pull_queue::<u32>(named("a", 2).dead_letters(letters().exchange("x").routing_key("k"))).unwrap();
        let queues = ["b", "c"].map(|name| builder.pull_queue::<u32>(named(name, 2)).unwrap());
        let x = builder.exchange(ExchangeConfig::fanout("x")).unwrap();
        x.rebind(queues.iter().map(Binding::all)).unwrap();
    });
    assert_eq!((&*found.0, &*found.1), ("dead_letters.routing_key", "`k`, which leads to `b`, `c`"));
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let field = |config: DeadLetterConfig| named("q", 2).dead_letters(config).validate().unwrap_err().field().to_owned();
    assert_eq!(field(letters().queue("")), "dead_letters.queue");
    assert_eq!(field(letters().exchange("x".repeat(256))), "dead_letters.exchange");
    assert_eq!(field(letters().exchange("x").queue("y")), "dead_letters.queue");
    assert_eq!(field(letters().routing_key("x")), "dead_letters.routing_key");
    for key in ["", "a..b", "a.*", ".", "#"] {
        assert_eq!(field(letters().exchange("x").routing_key(key)), "dead_letters.routing_key", "{key}");
    }
    assert_eq!(field(letters().queue("b").overflow(DeadLetterOverflow::DropOldest).capacity(0)), "dead_letters.capacity");
    for retention in [Duration::ZERO, Duration::MAX] {
        assert_eq!(named("q", 2).retention(retention).validate().unwrap_err().field(), "retention");
    }
}

/// Two queues with workers, whose jobs fail here or there a few times, and small lists: everything ends well once, and every ledger balances.
#[test]
fn under_load_nothing_is_lost_between_queues() {
    watched(|| {
        const JOBS: u32 = 3_000;
        let census = Census::default();
        let done = Arc::new(AtomicU32::new(0));
        let mut builder = Runtime::builder();
        let mut handles = Vec::new();
        // (were both lists small, they might be full of letters for each other; without a pause they would be refused)
        let at_once = letters().capacity(8).queue("b");
        for (name, dead) in [("a", at_once), ("b", letters().capacity(JOBS).queue("a").retention(ms(1)))] {
            let done = Arc::clone(&done);
            let handler = move |job: &Counted, context: &Context<Counted>| {
                if (job.number + context.lane() as u32).is_multiple_of(3) && context.fencing() < 40 {
                    return Err(JobError::fatal("elsewhere"));
                }
                done.fetch_add(1, SeqCst);
                Ok(())
            };
            let config = named(name, 64).pool(name).dead_letters(dead).overflow(Overflow::Block(secs(20)));
            handles.push(builder.queue(config, handler).unwrap());
            builder.pool(PoolConfig::new(name).workers(2).placement(crate::Placement::None)).unwrap();
        }
        let runtime = builder.build().unwrap();
        crate::tests::threads::scope(|scope| {
            for half in 0..2 {
                let (handles, census) = (&handles, &census);
                scope.spawn(move || {
                    let producer = handles[half].producer().unwrap();
                    for n in 0..JOBS / 2 {
                        producer.publish(census.born(n)).unwrap();
                    }
                });
            }
        });
        eventually("all are done", || done.load(SeqCst) == JOBS);
        let report = runtime.shutdown(ShutdownOptions::default());
        let queues = &report.snapshot().queues;
        assert!(queues.iter().all(QueueSnapshot::ledger_balances), "{queues:#?}");
        let moved: u64 = queues.iter().map(|queue| queue.letters_moved).sum();
        let accepted: u64 = queues.iter().map(|queue| queue.counts.accepted).sum();
        assert_eq!((accepted, census.alive()), (u64::from(JOBS) + moved, 0));
        assert!(moved > 0);
    });
}

#[test]
fn an_unbind_closes_no_circle() {
    let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
    let letters = DeadLetterConfig::new().exchange("deaths").routing_key("dead");
    let queue = builder.pull_queue::<u32>(q(2).overflow(Overflow::DropOldest).dead_letters(letters)).unwrap();
    let graves = builder.pull_queue::<u32>(QueueConfig::new("graves")).unwrap();
    let rest = builder.exchange(ExchangeConfig::fanout("rest")).unwrap();
    let deaths = builder.exchange(ExchangeConfig::direct("deaths").alternate(&rest)).unwrap();
    deaths.bind(Binding::new("dead", &graves)).unwrap();
    rest.bind(Binding::all(&queue)).unwrap();
    let _runtime = builder.build().unwrap();
    let error = deaths.unbind("dead", &graves).unwrap_err().to_string();
    assert!(error.contains("a circle that goes on by itself"), "{error}");
    assert_eq!(deaths.bindings().len(), 1, "nothing has changed");
    assert!(!deaths.unbind("other", &graves).unwrap());
    let producer = queue.producer().unwrap();
    (0..5).for_each(|n| assert!(producer.publish(n).is_ok()));
    assert_eq!((queue.depth(), graves.depth()), (2, 3));
}

#[test]
fn a_predicate_that_panics_when_it_is_dropped_costs_no_letter() {
    watched(|| {
        let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
        let source = builder.pull_queue::<u32>(named("a", 4).dead_letters(letters().exchange("x").routing_key("k"))).unwrap();
        let target = builder.pull_queue::<u32>(named("b", 4)).unwrap();
        let x = builder.exchange(ExchangeConfig::topic("x")).unwrap();
        let (bomb, again, to) = (Bomb, x.clone(), target.clone());
        // whoever moves the letter is the last to have the bindings by which it goes
        let binding = Binding::new("k", &target).when(move |_, _| {
            let _ = &bomb;
            again.rebind([Binding::new("k", &to)]).is_ok()
        });
        x.bind(binding).unwrap();
        let runtime = builder.build().unwrap();
        let (producer, consumer) = (source.producer().unwrap(), source.consumer().unwrap());
        for n in 0..2 {
            producer.publish(n).unwrap();
            consumer.try_recv().unwrap().reject("no").unwrap();
        }
        assert_eq!((source.dead_letters().len(), source.snapshot().letters_moved, target.depth()), (0, 2, 2));
        adds_up(&runtime);
    });
}
