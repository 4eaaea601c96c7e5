//! Exchanges: where jobs go, what comes back, and what changes at run time.

use super::*;
use crate::{
    Binding, BindingInfo, DeadLetterConfig, DeathReason, Dedupe, Exchange, ExchangeConfig, ExchangeKind, ExchangePublisher, Job, KeyFault,
    LaneConfig, Overflow, Refusal, RouteRefusal, RoutingKey, RuntimeBuilder,
};

/// Three pull queues of some capacity, with two lanes each, and an exchange, under the manual clock.
pub(super) struct Hub<T: Payload> {
    pub(super) clock: Arc<ManualClock>,
    pub(super) runtime: Runtime,
    pub(super) queues: [QueueHandle<T>; 3],
    pub(super) exchange: Exchange<T>,
    pub(super) publisher: ExchangePublisher<T>,
}

pub(super) fn two_lanes(name: &str, capacity: u64) -> QueueConfig {
    QueueConfig::new(name).capacity(capacity).lanes([LaneConfig::new("high"), LaneConfig::new("low")])
}

impl<T: Payload> Hub<T> {
    pub(super) fn new(kind: ExchangeKind, configs: [QueueConfig; 3]) -> Self {
        let clock = Arc::new(ManualClock::new());
        let mut builder = Runtime::builder().manual(Arc::clone(&clock));
        let queues = configs.map(|config| builder.pull_queue(config).unwrap());
        let exchange = builder.exchange(ExchangeConfig::new("x", kind)).unwrap();
        let runtime = builder.build().unwrap();
        let publisher = exchange.publisher();
        Hub { clock, runtime, queues, exchange, publisher }
    }

    pub(super) fn topic() -> Self {
        Self::new(ExchangeKind::Topic, ["a", "b", "c"].map(|name| two_lanes(name, 8)))
    }

    /// Of three queues, the second holds one job.
    pub(super) fn fanout_with_a_small_queue(small: QueueConfig) -> Self {
        let hub = Self::new(ExchangeKind::Fanout, [two_lanes("a", 8), small, two_lanes("c", 8)]);
        hub.exchange.rebind(hub.queues.iter().map(Binding::all)).unwrap();
        hub
    }

    pub(super) fn depths(&self) -> [u32; 3] {
        [0, 1, 2].map(|at| self.queues[at].depth())
    }

    pub(super) fn payloads(&self, queue: usize) -> Vec<T>
    where
        T: Clone,
    {
        let consumer = self.queues[queue].consumer().unwrap();
        std::iter::from_fn(|| {
            consumer.try_recv().ok().map(|delivery| {
                let payload = T::clone(&delivery);
                delivery.ack().unwrap();
                payload
            })
        })
        .collect()
    }
}

fn builder() -> RuntimeBuilder {
    Runtime::builder().manual(Arc::new(ManualClock::new()))
}

// ---- where jobs go ----

#[test]
fn a_topic_exchange_sends_each_queue_one_copy_by_its_patterns() {
    let mut hub = Hub::topic();
    let [a, b, c] = &hub.queues;
    hub.exchange.bind(Binding::new("billing.#", a)).unwrap();
    hub.exchange.bind(Binding::new("#.created", b)).unwrap();
    hub.exchange.bind(Binding::new("billing.*", b)).unwrap();
    hub.exchange.bind(Binding::new("orders", c)).unwrap();
    for (key, copies) in [("billing", 1), ("billing.created", 2), ("billing.invoice.created", 2), ("orders", 1), ("billing.x.y", 1)] {
        assert_eq!(hub.publisher.publish(key, key).unwrap().copies, copies, "{key}");
    }
    assert_eq!(hub.payloads(0), ["billing", "billing.created", "billing.invoice.created", "billing.x.y"]);
    assert_eq!(hub.payloads(1), ["billing.created", "billing.invoice.created"]);
    assert_eq!(hub.payloads(2), ["orders"]);
    adds_up(&hub.runtime);
}

#[test]
fn a_direct_exchange_wants_the_very_key_and_may_send_it_to_several() {
    let mut hub = Hub::new(ExchangeKind::Direct, ["a", "b", "c"].map(|name| two_lanes(name, 8)));
    let [a, b, _] = &hub.queues;
    hub.exchange.rebind([Binding::new("k", a), Binding::new("k", b), Binding::new("k.l", a)]).unwrap();
    assert_eq!(hub.publisher.publish("k", 1).unwrap().copies, 2);
    assert_eq!(hub.publisher.publish("k.l", 2).unwrap().copies, 1);
    assert!(hub.publisher.publish("k.m", 3).unwrap_err().is_unroutable());
    assert_eq!(hub.depths(), [2, 1, 0]);
}

#[test]
fn a_fanout_exchange_sends_everything_everywhere() {
    let mut hub = Hub::fanout_with_a_small_queue(two_lanes("b", 8));
    for key in ["any", "key.at.all"] {
        assert_eq!(hub.publisher.publish(key, 7).unwrap().copies, 3);
    }
    assert_eq!(hub.depths(), [2, 2, 2]);
}

#[test]
fn the_lane_is_the_bindings_and_of_two_the_more_urgent() {
    let mut hub: Hub<&str> = Hub::topic();
    let [a, b, _] = &hub.queues;
    hub.exchange.rebind([Binding::new("x.#", a).lane(1), Binding::new("x.y", a), Binding::new("#", b).lane(1)]).unwrap();
    hub.publisher.publish("x.z", Job::new("low").lane(0)).unwrap();
    hub.publisher.publish("x.y", Job::new("high").lane(1)).unwrap();
    let started = |queue: usize| {
        hub.payloads(queue);
        hub.queues[queue].snapshot().lanes.iter().map(|lane| lane.started).collect::<Vec<_>>()
    };
    assert_eq!((started(0), started(1)), (vec![1, 1], vec![0, 2]));
}

#[test]
fn a_predicate_decides_job_by_job_and_a_weaker_binding_may_step_in() {
    let mut hub = Hub::topic();
    let [a, b, _] = &hub.queues;
    hub.exchange
        .rebind([
            Binding::new("#", a).when(|_, &job: &u32| job > 10),
            Binding::new("k", a).lane(1),
            Binding::new("#", b).when(|key: &RoutingKey<'_>, _| key.words().count() == 2),
        ])
        .unwrap();
    let route = hub.exchange.route("k").unwrap();
    for round in 0..2 {
        assert_eq!(hub.publisher.publish("k", 1).unwrap().copies, 1);
        assert_eq!(hub.publisher.publish(&route, 11).unwrap().copies, 1);
        assert_eq!(hub.publisher.publish("l.m", 11).unwrap().copies, 2);
        assert!(hub.publisher.publish("l", 1).unwrap_err().is_unroutable());
        assert_eq!(hub.depths(), [3 * (round + 1), round + 1, 0]);
    }
    hub.payloads(0);
    let lanes = hub.queues[0].snapshot().lanes;
    assert_eq!((lanes[0].started, lanes[1].started), (4, 2));
}

#[test]
fn a_predicate_that_panics_refuses_the_job() {
    let mut hub = Hub::topic();
    hub.exchange.bind(Binding::new("#", &hub.queues[0]).when(|_, _: &u32| panic!("no idea"))).unwrap();
    hub.exchange.bind(Binding::new("#", &hub.queues[1])).unwrap();
    let error = hub.publisher.publish("k", 5).unwrap_err();
    assert_eq!(error.refusal(), &RouteRefusal::PredicatePanicked { message: "no idea".into() });
    assert_eq!((error.into_inner(), hub.depths()), (5, [0, 0, 0]));
}

#[test]
fn a_predicate_whose_drop_panics_costs_no_publisher_its_job() {
    let mut hub = Hub::topic();
    let bomb = Bomb;
    hub.exchange.bind(Binding::new("#", &hub.queues[0]).when(move |_, _| size_of_val(&bomb) == 0)).unwrap();
    hub.publisher.publish("k", 1).unwrap();
    hub.exchange.rebind([Binding::new("#", &hub.queues[1])]).unwrap();
    // the publisher is the last who went by the old bindings
    assert_eq!(hub.publisher.publish("k", 2).unwrap().copies, 1);
    assert_eq!(hub.depths(), [1, 1, 0]);
}

/// What a publisher remembers of a key is the target that all its jobs go to, for as long as the bindings stay.
#[test]
fn a_key_that_comes_again_goes_by_the_bindings_that_there_are() {
    let mut hub = Hub::topic();
    let [a, b, c] = &hub.queues;
    let long = format!("long.{}", "x".repeat(200));
    let keys = ["one", "RoutingKey", &long];
    let to = |queue: &QueueHandle<u32>| hub.exchange.rebind(keys.map(|key| Binding::new(key, queue))).unwrap();
    let mut jobs = 0;
    for (bound, depths) in [(a, [6, 0, 0]), (b, [6, 6, 0]), (a, [12, 6, 0])] {
        to(bound);
        for _ in 0..2 {
            jobs += 1;
            hub.publisher.publish("one", jobs).unwrap();
            hub.publisher.publish(RoutingKey::new("RoutingKey").unwrap(), jobs).unwrap();
            hub.publisher.publish(&long, jobs).unwrap();
        }
        assert_eq!([a, b, c].map(|queue| queue.counts().accepted), depths);
        assert_eq!(hub.payloads(0).len() + hub.payloads(1).len(), 6);
    }
    // a second binding: two copies; a predicate: job by job; none: nowhere
    hub.exchange.bind(Binding::new("#", c)).unwrap();
    assert_eq!(hub.publisher.publish("one", 1).unwrap().copies, 2);
    hub.exchange.rebind([Binding::new("one", a).when(|_, &job: &u32| job > 10)]).unwrap();
    for _ in 0..2 {
        assert!(hub.publisher.publish("one", 1).unwrap_err().is_unroutable());
        assert_eq!(hub.publisher.publish("one", 11).unwrap().copies, 1);
    }
    hub.exchange.rebind([]).unwrap();
    assert!(hub.publisher.publish("one", 11).unwrap_err().is_unroutable());
    adds_up(&hub.runtime);
}

// ---- nobody wants it ----

#[test]
fn an_unroutable_job_comes_back_whole() {
    let census = Census::default();
    let mut hub: Hub<Counted> = Hub::topic();
    let error = hub.publisher.publish_one("k", Job::new(census.born(3)).ttl(secs(1))).unwrap_err();
    assert!(error.is_unroutable() && !error.is_full() && !error.is_closed());
    assert_eq!(error.to_string(), "no binding of exchange `x` wants the job");
    let job = error.into_job();
    assert_eq!((job.payload().number, job.ttl, census.alive()), (3, Some(secs(1)), 1));
    assert_eq!(hub.exchange.counts().unroutable, 1);
}

#[test]
fn a_job_that_its_queue_refuses_comes_back_in_the_lane_it_had() {
    let mut hub: Hub<u32> = Hub::new(ExchangeKind::Topic, [two_lanes("a", 1), two_lanes("b", 1), two_lanes("c", 1)]);
    hub.exchange.bind(Binding::new("k", &hub.queues[0])).unwrap();
    let route = hub.exchange.route("k").unwrap();
    let job = || Job::new(7).lane(1).ttl(secs(1));
    hub.publisher.publish(&route, 1).unwrap();
    assert_eq!(hub.publisher.publish(&route, job()).unwrap_err().into_job(), job());
    assert_eq!(hub.publisher.try_publish_one("k", job()).unwrap_err().into_job(), job());
    let mut waits = hub.publisher.publish_async("k", job());
    assert!(super::futures::poll(&mut waits, &super::futures::Bell::new()).is_pending());
    assert_eq!(waits.into_job(), Some(job()));
    hub.runtime.shutdown(at_once());
    assert_eq!(hub.publisher.publish("k", job()).unwrap_err().into_job(), job());
}

#[test]
fn an_alternate_exchange_takes_what_nobody_wants_by_key_and_by_route() {
    let mut builder = builder();
    let queues = ["a", "b"].map(|name| builder.pull_queue(two_lanes(name, 8)).unwrap());
    let last = builder.exchange(ExchangeConfig::fanout("last")).unwrap();
    let middle = builder.exchange(ExchangeConfig::topic("middle").alternate(&last)).unwrap();
    let first = builder.exchange(ExchangeConfig::topic("first").alternate(&middle)).unwrap();
    let runtime = builder.build().unwrap();
    first.bind(Binding::new("k", &queues[0])).unwrap();
    let (mut publisher, route) = (first.publisher(), first.route("l").unwrap());
    let error = publisher.publish(&route, 1).unwrap_err();
    assert_eq!(error.refusal(), &RouteRefusal::Unroutable { exchange: "last".into() });
    last.bind(Binding::all(&queues[1])).unwrap();
    publisher.publish(&route, 1).unwrap();
    publisher.publish("m", 2).unwrap();
    publisher.publish("k", 3).unwrap();
    assert_eq!((queues[0].depth(), queues[1].depth()), (1, 2));

    let seen = runtime.snapshot();
    let counts = |name: &str| seen.exchange(name).unwrap().counts;
    assert_eq!((counts("first").routed, counts("first").to_alternate), (1, 3));
    assert_eq!((counts("middle").routed, counts("middle").to_alternate), (0, 3));
    assert_eq!((counts("last").routed, counts("last").unroutable), (2, 1));
    assert_eq!(seen.exchange("first").unwrap().alternate.as_deref(), Some("middle"));
}

#[test]
fn something_that_is_no_key_is_refused_with_its_place() {
    let mut hub = Hub::topic();
    hub.exchange.bind(Binding::new("#", &hub.queues[0])).unwrap();
    for (key, fault, position) in [("", KeyFault::Empty, 0), ("a..b", KeyFault::EmptyWord, 2), ("a.#", KeyFault::Wildcard('#'), 2)] {
        let error = hub.publisher.publish(key, 9).unwrap_err();
        let RouteRefusal::BadKey(bad) = error.refusal() else { panic!("{error}") };
        assert_eq!((bad.fault(), bad.position()), (&fault, position), "{key:?}");
        assert_eq!(error.into_inner(), 9);
    }
    assert_eq!(hub.exchange.counts().bad_keys, 3);
    assert_eq!(hub.exchange.route("a.").unwrap_err().position(), 2);
}

// ---- fan-out ----

#[test]
fn one_full_queue_of_three_means_no_copy_anywhere() {
    let mut hub = Hub::fanout_with_a_small_queue(two_lanes("b", 1));
    hub.publisher.publish("k", 1).unwrap();
    for error in [hub.publisher.publish("k", 2).unwrap_err(), hub.publisher.try_publish("k", 2).unwrap_err()] {
        let RouteRefusal::Queue { queue, refusal: Refusal::Full { .. } } = error.refusal() else { panic!("{error}") };
        assert_eq!((&**queue, error.is_full()), ("b", true));
        assert_eq!((error.into_inner(), hub.depths()), (2, [1, 1, 1]));
    }
    // the slots that were taken are free again: the others can be filled to the brim
    for queue in [0, 2] {
        let producer = hub.queues[queue].producer().unwrap();
        assert_eq!((0..).take_while(|&job| producer.try_publish(job).is_ok()).count(), 7);
    }
    adds_up(&hub.runtime);
    assert_eq!(hub.queues[1].counts().rejected_full, 2);
    let counts = hub.exchange.counts();
    assert_eq!((counts.routed, counts.copies(), counts.refused), (1, 3, 2));
}

#[test]
fn best_effort_says_who_missed_it() {
    let mut hub = Hub::fanout_with_a_small_queue(two_lanes("b", 1));
    assert!(hub.publisher.publish_best_effort("k", 1).unwrap().missed.is_empty());
    let partial = hub.publisher.publish_best_effort("k", 2).unwrap();
    let missed: Vec<&str> = partial.missed.iter().map(|(queue, _)| &**queue).collect();
    assert_eq!((partial.copies, missed), (2, vec!["b"]));
    assert_eq!((hub.depths(), hub.exchange.counts().missed), ([2, 1, 2], 1));
    hub.queues.iter().for_each(|queue| while queue.producer().unwrap().try_publish(0).is_ok() {});
    let error = hub.publisher.publish_best_effort("k", 3).unwrap_err();
    assert!(error.is_full());
    assert_eq!(error.into_inner(), 3);
}

#[test]
fn best_effort_sends_a_copy_to_the_dead_letters_of_a_full_queue_that_drops_what_is_new() {
    let reason = |queue: &QueueHandle<u32>| queue.dead_letters().list(9).iter().map(|it| (it.reason(), *it.payload())).collect::<Vec<_>>();
    let over = |n| (DeathReason::OverLength, n);
    for dedupes in [false, true] {
        let config = |name: &str, capacity| {
            let letters = DeadLetterConfig::new().capacity(2);
            let config = two_lanes(name, capacity).overflow(Overflow::DropNew).dead_letters(letters);
            if dedupes { config.dedupe(Dedupe::WhileLive, 99) } else { config }
        };
        let mut hub = Hub::<u32>::new(ExchangeKind::Fanout, [config("a", 2), config("b", 1), two_lanes("c", 1)]);
        hub.exchange.rebind(hub.queues.iter().map(|queue| Binding::all(queue).lane(1))).unwrap();
        let job = |n: u32| if dedupes { Job::new(n).key(&n.to_string()[..]) } else { Job::new(n) };
        let mut publish = |n| {
            let partial = hub.publisher.publish_best_effort("k", job(n)).unwrap();
            (partial.copies, partial.missed.iter().map(|(queue, _)| queue.to_string()).collect::<Vec<_>>().concat())
        };
        assert_eq!(publish(1), (3, String::new()));
        assert_eq!(publish(2), (2, "c".to_owned()), "one has a slot, one a letter");
        assert_eq!(publish(3), (2, "c".to_owned()), "both have a letter");
        assert_eq!(publish(4), (1, "bc".to_owned()), "one has no room for letters either");
        assert_eq!((reason(&hub.queues[0]), reason(&hub.queues[1])), (vec![over(3), over(4)], vec![over(2), over(3)]));
        assert_eq!(hub.queues[1].dead_letters().list(1)[0].lane(), 1);
        let error = hub.publisher.publish_best_effort("k", job(5)).unwrap_err();
        assert!(matches!(error.refusal(), RouteRefusal::Queue { queue, refusal: Refusal::Full { .. } } if &**queue == "a"));
        assert_eq!((error.into_inner(), hub.depths()), (5, [2, 1, 1]));
        let counts = hub.exchange.counts();
        assert_eq!((counts.routed, counts.copies(), counts.missed, counts.refused), (4, 8, 4, 1));
        assert_eq!([0, 1, 2].map(|at| hub.queues[at].counts().rejected_full), [1, 2, 4]);
        assert_eq!(hub.publisher.publish("k", job(6)).unwrap_err().into_inner(), 6, "all or nothing is as it was");
        adds_up(&hub.runtime);
    }
}

#[test]
fn best_effort_passes_a_queue_by_whose_kind_of_key_the_job_has_not() {
    for (config, job) in [
        (two_lanes("b", 8).partitions(4), Job::new(1).partition_key("")),
        (two_lanes("b", 8).dedupe(Dedupe::WhileLive, 9), Job::new(1).key("")),
    ] {
        let mut hub = Hub::<u32>::new(ExchangeKind::Fanout, [two_lanes("a", 8), config, two_lanes("c", 8)]);
        hub.exchange.rebind(hub.queues.iter().map(Binding::all)).unwrap();
        let partial = hub.publisher.publish_best_effort("k", job).unwrap();
        let [(queue, Refusal::BadKey { bytes: 0 })] = &partial.missed[..] else { panic!("{partial:?}") };
        assert_eq!((partial.copies, &**queue), (2, "b"));
    }
}

#[test]
fn best_effort_to_one_queue_is_a_publish() {
    let mut hub = Hub::topic();
    hub.exchange.bind(Binding::new("k", &hub.queues[0])).unwrap();
    let partial = hub.publisher.publish_best_effort("k", 1).unwrap();
    assert_eq!((partial.copies, partial.missed.len()), (1, 0));
}

#[test]
fn a_full_queue_that_drops_its_oldest_holds_no_fan_out_up() {
    let mut hub = Hub::fanout_with_a_small_queue(two_lanes("b", 1).overflow(Overflow::DropOldest));
    (0..3).for_each(|job| assert_eq!(hub.publisher.publish("k", job).unwrap().copies, 3));
    assert_eq!((hub.payloads(0), hub.payloads(1)), (vec![0, 1, 2], vec![2]));
    assert_eq!(hub.queues[1].counts().dead_over_length, 2);
    adds_up(&hub.runtime);
}

#[test]
fn a_fan_out_is_validated_once_and_closed_queues_refuse_it() {
    let mut hub: Hub<Arc<Counted>> = Hub::fanout_with_a_small_queue(two_lanes("b", 8));
    let census = Census::default();
    let error = hub.publisher.publish("k", Arc::new(census.born(u32::MAX))).unwrap_err();
    assert!(matches!(error.refusal(), RouteRefusal::Queue { refusal: Refusal::Invalid { .. }, .. }));
    drop(error);
    let report = hub.runtime.shutdown(at_once());
    assert!(hub.publisher.publish("k", Arc::new(census.born(1))).unwrap_err().is_closed());
    assert_eq!((census.alive(), report.snapshot().exchange("x").unwrap().counts.routed), (0, 0));
}

#[test]
fn time_to_live_goes_with_every_copy() {
    let mut hub: Hub<u32> = Hub::fanout_with_a_small_queue(two_lanes("b", 8));
    hub.publisher.publish("k", Job::new(1).ttl(secs(1))).unwrap();
    hub.runtime.advance(&hub.clock, secs(2));
    (0..3).for_each(|queue| assert!(hub.payloads(queue).is_empty()));
    assert!(hub.queues.iter().all(|queue| queue.counts().dead_expired == 1));
    adds_up(&hub.runtime);
}

/// Says how often it was cloned, and panics at the clone that it is told.
#[derive(Debug)]
struct Cloned(Arc<AtomicI64>);

impl Payload for Cloned {}

impl Clone for Cloned {
    fn clone(&self) -> Self {
        assert_ne!(self.0.fetch_sub(1, SeqCst), 1, "this clone is one too many");
        Cloned(Arc::clone(&self.0))
    }
}

#[test]
fn a_job_is_cloned_once_less_than_it_has_queues() {
    let left = Arc::new(AtomicI64::new(100));
    let mut hub: Hub<Cloned> = Hub::topic();
    let [a, b, c] = &hub.queues;
    hub.exchange.rebind([Binding::new("one", a), Binding::new("#.all", a), Binding::new("#.all", b), Binding::new("#.all", c)]).unwrap();
    hub.publisher.publish("one", Cloned(Arc::clone(&left))).unwrap();
    assert_eq!(left.load(SeqCst), 100);
    hub.publisher.publish("all", Cloned(Arc::clone(&left))).unwrap();
    assert_eq!(left.load(SeqCst), 98);
}

#[test]
fn a_clone_that_panics_leaves_no_copy_anywhere() {
    let mut hub: Hub<Cloned> = Hub::fanout_with_a_small_queue(two_lanes("b", 1));
    let free = hub.queues.each_ref().map(|queue| queue.snapshot().free);
    // the second copy cannot be made when the first is there
    let left = Arc::new(AtomicI64::new(2));
    let payload = Cloned(Arc::clone(&left));
    let published = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| hub.publisher.publish("k", payload)));
    assert!(published.is_err());
    assert_eq!(hub.depths(), [0, 0, 0]);
    assert_eq!(hub.queues.each_ref().map(|queue| queue.snapshot().free), free);
    assert_eq!(Arc::strong_count(&left), 1, "all copies are dropped");
    adds_up(&hub.runtime);
    // and the slots are there
    assert_eq!(hub.publisher.publish("k", Cloned(Arc::new(AtomicI64::new(9)))).unwrap().copies, 3);
}

#[test]
fn a_fan_out_to_many_queues_is_all_or_nothing_as_to_few() {
    let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
    let queue = |n: usize| builder.pull_queue::<Cloned>(QueueConfig::new(format!("q{n}")).capacity(if n == 5 { 2 } else { 4 })).unwrap();
    let queues: Vec<_> = (0..20).map(queue).collect();
    let exchange = builder.exchange(ExchangeConfig::fanout("x")).unwrap();
    let runtime = builder.build().unwrap();
    exchange.rebind(queues.iter().map(Binding::all)).unwrap();
    let (mut publisher, route, left) = (exchange.publisher(), exchange.route("k").unwrap(), Arc::new(AtomicI64::new(1_000)));
    let mut publish = || {
        let job = Cloned(Arc::clone(&left));
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| publisher.publish(&route, job)))
    };
    let depths = |depth| assert!(queues.iter().all(|queue| queue.depth() == depth && queue.snapshot().free == queue.capacity() - depth));
    assert_eq!(publish().unwrap().unwrap().copies, 20);
    depths(1);
    left.store(7, SeqCst);
    assert!(publish().is_err(), "a clone panics");
    depths(1);
    left.store(1_000, SeqCst);
    assert!(publish().unwrap().is_ok());
    depths(2);
    let error = publish().unwrap().unwrap_err();
    assert!(error.is_full() && error.to_string().contains("`q5`"), "{error}");
    depths(2);
    drop(error);
    assert_eq!(Arc::strong_count(&left), 1 + 2 * 20);
    adds_up(&runtime);
}

#[test]
fn a_payload_that_cannot_be_cloned_goes_to_one_queue_or_comes_back() {
    let census = Census::default();
    let mut hub: Hub<Counted> = Hub::topic();
    let [a, b, _] = &hub.queues;
    hub.exchange.rebind([Binding::new("k", a), Binding::new("#", b)]).unwrap();
    let error = hub.publisher.publish_one("k", census.born(1)).unwrap_err();
    assert_eq!(error.refusal(), &RouteRefusal::Several { queues: 2 });
    assert_eq!(error.into_inner().number, 1);
    let routed = hub.publisher.try_publish_one("l", census.born(2)).unwrap();
    assert!(routed.copies == 1 && routed.job.is_some());
    assert_eq!(hub.depths(), [0, 1, 0]);
}

// ---- waiting ----

#[test]
fn a_fan_out_that_waits_keeps_the_slots_it_has_and_gets_the_last() {
    watched(|| {
        let mut builder = Runtime::builder();
        let a = builder.pull_queue::<u32>(QueueConfig::new("a").capacity(1)).unwrap();
        let b = builder.pull_queue::<u32>(QueueConfig::new("b").capacity(1).overflow(Overflow::Block(Duration::MAX))).unwrap();
        let exchange = builder.exchange(ExchangeConfig::fanout("x")).unwrap();
        exchange.rebind([Binding::all(&b), Binding::all(&a)]).unwrap();
        let _runtime = builder.build().unwrap();
        b.producer().unwrap().publish(0).unwrap();
        let mut publisher = exchange.publisher();
        let waiting = std::thread::spawn(move || publisher.publish("k", 1).unwrap().copies);
        eventually("it waits", || b.snapshot().publishers_waiting == 1);
        assert!(a.producer().unwrap().try_publish(2).unwrap_err().is_full());
        assert_eq!(a.counts().accepted, 0);
        b.consumer().unwrap().recv_timeout(secs(5)).unwrap().ack().unwrap();
        assert_eq!(waiting.join().unwrap(), 2);
        assert_eq!((a.counts().accepted, b.counts().accepted), (1, 2));
    });
}

/// Two exchanges bind the same small queues in opposite orders, and everybody waits for as long as it takes.
#[test]
fn fan_outs_that_want_each_others_queues_all_come_through() {
    watched(|| {
        const JOBS: u64 = 2_000;
        let mut builder = Runtime::builder();
        let queues = ["a", "b", "c"].map(|name| {
            let config = QueueConfig::new(name).capacity(1).overflow(Overflow::Block(Duration::MAX));
            builder.queue(config, |_: &u64, _: &_| ()).unwrap()
        });
        builder.pool(PoolConfig::new("default").workers(1)).unwrap();
        let exchanges = ["x", "y"].map(|name| builder.exchange(ExchangeConfig::fanout(name)).unwrap());
        exchanges[0].rebind(queues.iter().map(Binding::all)).unwrap();
        exchanges[1].rebind(queues.iter().rev().map(Binding::all)).unwrap();
        let runtime = builder.build().unwrap();
        let publishers = exchanges.map(|exchange| {
            std::thread::spawn(move || {
                let mut publisher = exchange.publisher();
                (0..JOBS).for_each(|job| assert_eq!(publisher.publish("k", job).unwrap().copies, 3));
            })
        });
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
        let report = runtime.shutdown(ShutdownOptions::default());
        assert!(report.snapshot().queues.iter().all(|queue| queue.counts.acked == 2 * JOBS && queue.ledger_balances()));
    });
}

#[test]
fn a_fan_out_that_waits_comes_back_at_its_deadline_and_at_the_close() {
    watched(|| {
        let mut builder = Runtime::builder();
        let queues = ["a", "b"].map(|name| builder.pull_queue::<u32>(QueueConfig::new(name).capacity(1)).unwrap());
        let exchange = builder.exchange(ExchangeConfig::fanout("x")).unwrap();
        exchange.rebind(queues.iter().map(Binding::all)).unwrap();
        let runtime = builder.build().unwrap();
        queues[1].producer().unwrap().publish(0).unwrap();
        let mut publisher = exchange.publisher();
        let error = publisher.publish_timeout("k", 1, ms(20)).unwrap_err();
        assert!(matches!(error.refusal(), RouteRefusal::Queue { refusal: Refusal::TimedOut, .. }) && error.is_full());
        assert!(publisher.publish("k", 1).unwrap_err().is_full(), "a queue that rejects is not waited for");
        let waiting = std::thread::spawn(move || publisher.publish_timeout("k", 1, Duration::MAX).unwrap_err().is_closed());
        eventually("it waits", || queues[1].snapshot().publishers_waiting == 1);
        runtime.shutdown(at_once());
        assert!(waiting.join().unwrap());
    });
}

#[test]
fn a_handler_may_not_wait_for_a_fan_out() {
    let clock = Arc::new(ManualClock::new());
    let mut builder = Runtime::builder().manual(clock);
    let full = ["a", "b"].map(|name| builder.pull_queue::<u32>(QueueConfig::new(name).capacity(1)).unwrap());
    let exchange = builder.exchange(ExchangeConfig::fanout("x")).unwrap();
    exchange.rebind(full.iter().map(Binding::all)).unwrap();
    let (send, refusals) = mpsc::channel();
    let inner = exchange.clone();
    let queue = builder
        .queue(q(8), move |_: &u32, _: &_| {
            let error = inner.publisher().publish_timeout("k", 1, secs(5)).unwrap_err();
            send.send(error.refusal().clone()).unwrap();
        })
        .unwrap();
    let runtime = builder.build().unwrap();
    full[1].producer().unwrap().publish(0).unwrap();
    queue.producer().unwrap().publish(0).unwrap();
    runtime.turn();
    let RouteRefusal::Queue { refusal, .. } = refusals.recv().unwrap() else { panic!("a queue refuses it") };
    assert_eq!((refusal, full[0].depth()), (Refusal::WouldDeadlock, 0));
}

// ---- changes at run time ----

#[test]
fn bindings_change_while_publishers_and_routes_live_on() {
    let mut hub = Hub::topic();
    let [a, b, c] = hub.queues.clone();
    let route = hub.exchange.route("k").unwrap();
    assert!(hub.publisher.publish(&route, 0).unwrap_err().is_unroutable());
    hub.exchange.bind(Binding::new("k", &b)).unwrap();
    hub.publisher.publish(&route, 1).unwrap();
    hub.exchange.bind(Binding::new("#", &a)).unwrap();
    assert_eq!(hub.publisher.publish(&route, 2).unwrap().copies, 2);
    assert!(hub.exchange.unbind("k", &b).unwrap());
    assert!(!hub.exchange.unbind("k", &b).unwrap());
    hub.exchange.bind(Binding::new("k", &c)).unwrap();
    assert_eq!(hub.publisher.publish(&route, 3).unwrap().copies, 2);
    hub.exchange.rebind([]).unwrap();
    assert!(hub.publisher.publish(&route, 4).unwrap_err().is_unroutable());
    assert_eq!((hub.payloads(0), hub.payloads(1), hub.payloads(2)), (vec![2, 3], vec![1, 2], vec![3]));
    adds_up(&hub.runtime);
}

#[test]
fn a_publisher_lets_go_of_queues_that_are_bound_no_more() {
    let mut hub = Hub::topic();
    let [a, b, _] = hub.queues.clone();
    hub.exchange.rebind([Binding::new("k", &a), Binding::new("l", &b)]).unwrap();
    hub.publisher.publish("k", 1).unwrap();
    hub.publisher.publish("l", 1).unwrap();
    assert_eq!(hub.publisher.ways.producers.iter().flatten().count(), 2);
    hub.exchange.unbind("k", &a).unwrap();
    hub.publisher.publish("l", 1).unwrap();
    assert_eq!(hub.publisher.ways.producers.iter().flatten().map(|producer| producer.queue().name()).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn binding_again_changes_the_lane_and_predicates_add_up() {
    let hub: Hub<u32> = Hub::topic();
    let a = &hub.queues[0];
    let by_hand = [
        Binding::new("k", a),
        Binding::new("k", a).when(|_, _| true),
        Binding::new("k", a).lane(1),
        Binding::new("k", a).when(|_, _| true),
    ];
    by_hand.into_iter().for_each(|binding| hub.exchange.bind(binding).unwrap());
    let bound = hub.exchange.bindings();
    let seen: Vec<(usize, bool)> = bound.iter().map(|BindingInfo { lane, guarded, .. }| (*lane, *guarded)).collect();
    assert_eq!(seen, [(1, false), (0, true), (0, true)]);
    hub.exchange
        .rebind([
            Binding::new("k", a),
            Binding::new("k", a).when(|_, _| true),
            Binding::new("k", a).lane(1),
            Binding::new("k", a).when(|_, _| true),
        ])
        .unwrap();
    assert_eq!(hub.exchange.bindings(), bound);
    assert!(hub.exchange.unbind("k", a).unwrap() && hub.exchange.bindings().is_empty());
}

#[test]
fn a_route_of_another_exchange_is_as_good_as_its_key() {
    let mut builder = builder();
    let a = builder.pull_queue(two_lanes("a", 8)).unwrap();
    let (one, other) =
        (builder.exchange(ExchangeConfig::topic("one")).unwrap(), builder.exchange(ExchangeConfig::<u32>::topic("other")).unwrap());
    let _runtime = builder.build().unwrap();
    one.bind(Binding::new("k", &a)).unwrap();
    let (foreign, own) = (other.route("k").unwrap(), one.route("l").unwrap());
    let mut publisher = one.publisher();
    publisher.publish(&foreign, 1).unwrap();
    assert!(publisher.publish(&own, 2).unwrap_err().is_unroutable());
    publisher.publish(&foreign, 3).unwrap();
    assert_eq!(a.depth(), 2);
}

#[test]
fn the_row_of_a_route_that_is_gone_serves_the_next() {
    let mut hub = Hub::topic();
    let [a, b, _] = &hub.queues;
    hub.exchange.rebind([Binding::new("k", a), Binding::new("l", b)]).unwrap();
    for round in 1..=4 {
        for (key, queue) in [("k", 0), ("l", 1)] {
            let route = hub.exchange.route(key).unwrap();
            let copy = route.clone();
            drop(route);
            hub.publisher.publish(&copy, round).unwrap();
            assert_eq!(hub.depths()[queue], round);
        }
    }
}

#[test]
fn a_binding_that_makes_no_sense_is_named_and_changes_nothing() {
    let hub: Hub<u32> = Hub::topic();
    let direct: Hub<u32> = Hub::new(ExchangeKind::Direct, ["a", "b", "c"].map(|name| two_lanes(name, 8)));
    let fanout: Hub<u32> = Hub::new(ExchangeKind::Fanout, ["a", "b", "c"].map(|name| two_lanes(name, 8)));
    let a = &hub.queues[0];
    let cases = [
        (
            &hub,
            Binding::new("a..b", a),
            "binding key is `a..b`, byte 2: a word is missing; words are split by single dots, allowed is words, `*` and `#`",
        ),
        (&hub, Binding::new("", a), "binding key is ``, byte 0: it is empty, allowed is words, `*` and `#`"),
        (&hub, Binding::new("k", a).lane(2), "lane of the binding `k` to queue `a` is 2, allowed is 0..2"),
        (&hub, Binding::new("k", &direct.queues[0]), "queue is `a`, of another runtime, allowed is a queue of this runtime"),
        (&direct, Binding::new("a.*", &direct.queues[0]), "binding key is `a.*`, allowed is words without `*` and `#`: it is direct"),
        (&fanout, Binding::new("k", &fanout.queues[0]), "binding key is `k`, allowed is `#`: it is fanout"),
    ];
    for (hub, binding, message) in cases {
        let error = hub.exchange.bind(binding).unwrap_err();
        assert_eq!(error.to_string(), format!("exchange `x`: {message}"));
        assert!(hub.exchange.bindings().is_empty());
    }
    hub.exchange.bind(Binding::new("k", a)).unwrap();
    assert_eq!(hub.exchange.unbind("k", &direct.queues[0]), Ok(false), "it has the name of a queue of another runtime only");
    assert!(hub.exchange.rebind([Binding::new("l", a), Binding::new("#.", a)]).is_err());
    assert_eq!(hub.exchange.bindings()[0].key.as_str(), "k");
}

#[test]
fn an_exchange_that_makes_no_sense_is_not_declared() {
    let mut one = builder();
    let exchange = one.exchange(ExchangeConfig::<u32>::topic("x")).unwrap();
    let twice = one.exchange(ExchangeConfig::<String>::direct("x")).unwrap_err();
    assert_eq!(twice.to_string(), "runtime: exchange is `x`, declared twice, allowed is each exchange once");
    assert_eq!(one.exchange(ExchangeConfig::<u32>::topic("")).unwrap_err().field(), "name");
    assert_eq!(one.exchange(ExchangeConfig::<u32>::topic("x".repeat(256))).unwrap_err().field(), "name");
    let foreign = builder().exchange(ExchangeConfig::topic("y").alternate(&exchange)).unwrap_err();
    assert_eq!(foreign.to_string(), "exchange `y`: alternate is `x`, of another runtime, allowed is an exchange of this runtime");
}

#[test]
fn counts_of_publishers_that_are_gone_remain() {
    let hub: Hub<u32> = Hub::topic();
    hub.exchange.bind(Binding::new("k", &hub.queues[0])).unwrap();
    for _ in 0..3 {
        hub.exchange.publisher().publish("k", 1).unwrap();
    }
    assert_eq!(hub.exchange.counts().routed, 3);
}

/// Under load, with two topologies that take turns: every job goes by the one or the other, never by a mix, and none is lost.
#[test]
fn rebinding_under_load_sends_each_job_by_one_table() {
    const JOBS: u64 = 40_000;
    const PUBLISHERS: u64 = 2;
    let mut builder = Runtime::builder();
    let queues = ["a", "b", "c", "d"].map(|name| builder.pull_queue::<u64>(QueueConfig::new(name).capacity(JOBS * PUBLISHERS)).unwrap());
    let exchange = builder.exchange(ExchangeConfig::topic("x")).unwrap();
    let runtime = builder.build().unwrap();
    let [a, _, c, _] = &queues;
    let old = [Binding::new("k.*", a), Binding::new("#", c)];
    exchange.rebind(old).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    // however the threads are scheduled, jobs go by both tables: half of them by the old one, some by the first swap's, and none go far ahead of the swaps
    let (published, swapped) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let exchange = exchange.clone();
            let (published, swapped) = (Arc::clone(&published), Arc::clone(&swapped));
            std::thread::spawn(move || {
                let (mut handle, route) = (exchange.publisher(), exchange.route("k.l").unwrap());
                for job in (0..JOBS).map(|job| job * PUBLISHERS + publisher) {
                    while published.load(SeqCst) >= JOBS + swapped.load(SeqCst) * JOBS / 16 {
                        std::thread::yield_now();
                    }
                    published.fetch_add(1, SeqCst);
                    let routed = if job % 4 < 2 { handle.publish("k.l", job) } else { handle.publish(&route, job) };
                    assert_eq!(routed.unwrap().copies, 2);
                }
            })
        })
        .collect();
    let swaps = {
        let (stop, exchange) = (Arc::clone(&stop), exchange.clone());
        let (published, swapped) = (Arc::clone(&published), Arc::clone(&swapped));
        let [a, b, c, d] = queues.clone();
        let wait_for = move |jobs: u64| eventually("so many are published", || published.load(SeqCst) >= jobs);
        std::thread::spawn(move || {
            let mut swaps = 0;
            wait_for(JOBS);
            while !stop.load(SeqCst) {
                exchange.rebind([Binding::new("#.l", &b), Binding::new("k.#", &d)]).unwrap();
                if swapped.fetch_add(1, SeqCst) == 0 {
                    wait_for(JOBS + 8);
                }
                exchange.rebind([Binding::new("k.*", &a), Binding::new("#", &c)]).unwrap();
                swaps += 2;
            }
            swaps
        })
    };
    publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
    stop.store(true, SeqCst);
    assert!(swaps.join().unwrap() > 10);
    let taken: Vec<Vec<u64>> = queues
        .iter()
        .map(|queue| {
            let consumer = queue.consumer().unwrap();
            let mut jobs: Vec<u64> = std::iter::from_fn(|| consumer.try_recv().ok().map(|job| (*job, job.ack().unwrap()).0)).collect();
            jobs.sort_unstable();
            jobs
        })
        .collect();
    assert_eq!((&taken[0], &taken[1]), (&taken[2], &taken[3]), "a job went by a mix of tables");
    let mut all: Vec<u64> = taken[0].iter().chain(&taken[1]).copied().collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..JOBS * PUBLISHERS), "jobs are missing or doubled");
    assert!(!taken[0].is_empty() && !taken[1].is_empty());
    adds_up(&runtime);
}
