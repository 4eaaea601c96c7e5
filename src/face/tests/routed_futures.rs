//! Tasks that publish through an exchange.

use super::exchanges::{Hub, two_lanes};
use super::futures::{Bell, block_on, poll};
use super::*;
use crate::{Binding, Dedupe, End, ExchangeConfig, ExchangeKind, Job, Overflow, Refusal, RouteError, RouteRefusal, Routed};
use std::task::Poll;

/// Everything goes to all three queues; the second and the third hold one job.
fn small() -> Hub<u32> {
    let hub = Hub::new(ExchangeKind::Fanout, [two_lanes("a", 8), two_lanes("b", 1), two_lanes("c", 1)]);
    hub.exchange.rebind(hub.queues.iter().map(Binding::all)).unwrap();
    hub
}

fn fill(hub: &Hub<u32>, queue: usize) {
    hub.queues[queue].producer().unwrap().publish(0).unwrap();
}

fn take(hub: &Hub<u32>, queue: usize) -> u32 {
    let delivery = hub.queues[queue].consumer().unwrap().try_recv().unwrap();
    let payload = *delivery;
    delivery.ack().unwrap();
    payload
}

fn free(hub: &Hub<u32>) -> [u32; 3] {
    [0, 1, 2].map(|at| hub.queues[at].snapshot().free)
}

fn waiting(hub: &Hub<u32>) -> [usize; 3] {
    [0, 1, 2].map(|at| hub.queues[at].snapshot().publishers_waiting)
}

fn refusal<R: std::fmt::Debug>(published: Poll<Result<R, RouteError<u32>>>) -> RouteRefusal {
    match published {
        Poll::Ready(Err(error)) => error.refusal().clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_fan_out_waits_in_one_line_after_the_other_and_keeps_what_it_has() {
    let mut hub = small();
    fill(&hub, 1);
    fill(&hub, 2);
    let bell = Bell::new();
    let mut publisher = hub.exchange.publisher();
    let mut publish = publisher.publish_async("k", 7);
    assert!(poll(&mut publish, &bell).is_pending());
    assert_eq!((free(&hub), waiting(&hub)), ([7, 0, 0], [0, 1, 0]));
    assert!(poll(&mut publish, &bell).is_pending(), "polled for nothing");
    assert_eq!((take(&hub, 1), bell.rung()), (0, 1));
    assert!(hub.publisher.try_publish("k", 8).unwrap_err().is_full());
    assert!(poll(&mut publish, &bell).is_pending());
    assert_eq!((free(&hub), waiting(&hub), bell.rung()), ([7, 0, 0], [0, 0, 1], 1));
    assert!(hub.queues[0].consumer().unwrap().try_recv().is_err(), "no copy is anywhere yet");
    assert_eq!((take(&hub, 2), bell.rung()), (0, 2));
    let Poll::Ready(Ok(Routed { copies: 3, job: None })) = poll(&mut publish, &bell) else { panic!("there is room") };
    drop(publish);
    assert_eq!((hub.payloads(0), hub.payloads(1), hub.payloads(2)), (vec![7], vec![7], vec![7]));
    let counts = hub.exchange.counts();
    assert_eq!((counts.routed, counts.extra_copies, counts.refused), (1, 2, 1));
    drop(publisher);
    assert_eq!(free(&hub), [8, 1, 1]);
    adds_up(&hub.runtime);
}

#[test]
fn a_dropped_fan_out_leaves_the_line_and_its_slots() {
    let hub = small();
    fill(&hub, 2);
    let bell = Bell::new();
    let mut publisher = hub.exchange.publisher();
    for round in 0..3 {
        let mut publish = publisher.publish_async("k", Job::new(7).key("key"));
        assert!(poll(&mut publish, &bell).is_pending());
        assert_eq!((free(&hub), waiting(&hub)), ([7, 0, 0], [0, 0, 1]));
        assert_eq!(publish.into_job().unwrap().into_payload(), 7, "round {round}");
        assert_eq!((free(&hub), waiting(&hub)), ([8, 1, 0], [0, 0, 0]));
    }
    // the slot that it is granted while nobody looks goes on
    let mut publish = publisher.publish_async("k", 7);
    assert!(poll(&mut publish, &bell).is_pending());
    take(&hub, 2);
    drop(publish);
    assert_eq!((free(&hub), bell.rung()), ([8, 1, 1], 1));
    assert_eq!(block_on(publisher.publish_async("k", 8)).unwrap().copies, 3);
    assert_eq!(Arc::strong_count(&bell), 1, "nothing of the task is kept");
}

#[test]
fn fan_outs_that_want_each_other_s_queues_all_get_through() {
    watched(|| {
        let mut builder = Runtime::builder();
        let queues = ["a", "b", "c"].map(|name| builder.pull_queue::<u32>(QueueConfig::new(name).capacity(1)).unwrap());
        let exchange = builder.exchange(ExchangeConfig::direct("x")).unwrap();
        for (key, members) in [("ab", [0, 1]), ("bc", [1, 2]), ("ca", [2, 0])] {
            members.iter().for_each(|&at| exchange.bind(Binding::new(key, &queues[at])).unwrap());
        }
        let runtime = builder.build().unwrap();
        let publishers: Vec<_> = ["ab", "bc", "ca"]
            .map(|key| {
                let mut publisher = exchange.publisher();
                std::thread::spawn(move || {
                    for n in 0..500 {
                        let routed = block_on(publisher.publish_async(key, n)).unwrap();
                        assert_eq!(routed.copies, 2);
                    }
                })
            })
            .into();
        let consumers: Vec<_> = queues
            .iter()
            .map(|queue| {
                let mut consumer = queue.consumer().unwrap();
                std::thread::spawn(move || {
                    for _ in 0..1000 {
                        block_on(consumer.recv_async()).unwrap().ack().unwrap();
                    }
                })
            })
            .collect();
        publishers.into_iter().chain(consumers).for_each(|thread| thread.join().unwrap());
        adds_up(&runtime);
    });
}

#[test]
fn one_queue_is_waited_for_and_an_alternate_s_too() {
    let mut builder = Runtime::builder();
    let queue = builder.pull_queue::<u32>(q(1)).unwrap();
    let rest = builder.exchange(ExchangeConfig::fanout("rest")).unwrap();
    rest.bind(Binding::all(&queue)).unwrap();
    let exchange = builder.exchange(ExchangeConfig::direct("x").alternate(&rest)).unwrap();
    let runtime = builder.build().unwrap();
    let (mut publisher, bell) = (exchange.publisher(), Bell::new());
    assert!(block_on(publisher.publish_one_async("k", 1)).unwrap().job.is_some());
    let mut publish = publisher.publish_one_async("k", 2);
    assert!(poll(&mut publish, &bell).is_pending());
    assert!(poll(&mut publish, &bell).is_pending());
    assert_eq!((exchange.counts().to_alternate, rest.counts().routed, rest.counts().refused), (2, 1, 0));
    queue.consumer().unwrap().try_recv().unwrap().ack().unwrap();
    assert!(matches!(poll(&mut publish, &bell), Poll::Ready(Ok(Routed { copies: 1, job: Some(_) }))));
    drop(publish);
    assert_eq!(rest.counts().routed, 2);
    let mut third = publisher.publish_one_async("k", 3);
    assert!(poll(&mut third, &bell).is_pending());
    drop(third);
    assert_eq!((queue.snapshot().publishers_waiting, queue.depth()), (0, 1));
    adds_up(&runtime);
}

#[test]
fn what_cannot_be_routed_comes_back_and_holds_nothing() {
    let mut hub = small();
    let bell = Bell::new();
    assert!(matches!(refusal(poll(&mut hub.publisher.publish_async("a..b", 1), &bell)), RouteRefusal::BadKey(_)));
    assert_eq!(refusal(poll(&mut hub.publisher.publish_one_async("k", 1), &bell)), RouteRefusal::Several { queues: 3 });
    assert_eq!(free(&hub), [8, 1, 1]);
    hub.exchange.rebind([]).unwrap();
    let mut nowhere = hub.publisher.publish_async("k", 1);
    assert_eq!(refusal(poll(&mut nowhere, &bell)), RouteRefusal::Unroutable { exchange: "x".into() });
    assert!(nowhere.into_job().is_none(), "it came back with the error");
    hub.exchange.bind(Binding::all(&hub.queues[0]).when(|_, _| panic!("no"))).unwrap();
    assert_eq!(refusal(poll(&mut hub.publisher.publish_async("k", 1), &bell)), RouteRefusal::PredicatePanicked { message: "no".into() });
    let counts = hub.exchange.counts();
    assert_eq!((counts.bad_keys, counts.refused, counts.unroutable, counts.routed), (1, 2, 1, 0));
}

#[test]
fn a_waiting_fan_out_goes_by_the_bindings_of_its_first_poll() {
    let mut hub = small();
    fill(&hub, 1);
    let bell = Bell::new();
    let mut publisher = hub.exchange.publisher();
    let mut publish = publisher.publish_async("k", 7);
    hub.exchange.rebind([&hub.queues[0], &hub.queues[1]].map(Binding::all)).unwrap();
    assert!(poll(&mut publish, &bell).is_pending());
    hub.exchange.rebind([]).unwrap();
    take(&hub, 1);
    assert!(matches!(poll(&mut publish, &bell), Poll::Ready(Ok(Routed { copies: 2, .. }))));
    drop(publish);
    assert!(block_on(publisher.publish_async("k", 8)).unwrap_err().is_unroutable());
    assert_eq!((hub.payloads(0), hub.payloads(1), hub.payloads(2)), (vec![7], vec![7], vec![]));
    assert!(hub.publisher.publish("k", 9).unwrap_err().is_unroutable());
}

#[test]
fn a_shutdown_sends_a_waiting_fan_out_back_whole() {
    let hub = small();
    fill(&hub, 2);
    let bell = Bell::new();
    let mut publisher = hub.exchange.publisher();
    let mut publish = publisher.publish_async("k", 7);
    assert!(poll(&mut publish, &bell).is_pending());
    let Hub { runtime, queues, .. } = hub;
    runtime.shutdown(at_once());
    assert_eq!(bell.rung(), 1);
    let Poll::Ready(Err(error)) = poll(&mut publish, &bell) else { panic!("it is closed") };
    assert!(error.is_closed());
    assert_eq!(error.into_inner(), 7);
    assert_eq!(queues.map(|queue| queue.snapshot().free), [8, 1, 1], "before the future is dropped");
}

#[test]
fn a_clone_that_panics_leaves_no_copy_and_no_slot() {
    #[derive(Debug)]
    struct Brittle;
    impl Payload for Brittle {}
    impl Clone for Brittle {
        fn clone(&self) -> Self {
            panic!("brittle")
        }
    }
    let hub = Hub::<Brittle>::new(ExchangeKind::Fanout, ["a", "b", "c"].map(|name| two_lanes(name, 1)));
    hub.exchange.rebind(hub.queues.iter().map(Binding::all)).unwrap();
    let mut publisher = hub.exchange.publisher();
    let mut publish = publisher.publish_async("k", Brittle);
    let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(&mut publish, &Bell::new()).is_ready()));
    assert!(polled.is_err());
    drop(publish);
    assert_eq!([0, 1, 2].map(|at| hub.queues[at].snapshot().free), [1; 3]);
}

#[test]
fn a_handler_is_told_that_it_would_wait_for_itself() {
    let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
    let slot: Arc<std::sync::OnceLock<crate::Exchange<u32>>> = Arc::default();
    let seen = Arc::clone(&slot);
    let a = builder.pull_queue::<u32>(QueueConfig::new("a")).unwrap();
    let full = builder.pull_queue::<u32>(QueueConfig::new("full").capacity(1)).unwrap();
    let work = builder
        .queue(QueueConfig::new("work"), move |&n: &u32, _: &_| {
            let mut publisher = seen.get().expect("it was set").publisher();
            assert!(matches!(
                refusal(poll(&mut publisher.publish_async("k", n), &Bell::new())),
                RouteRefusal::Queue { refusal: Refusal::WouldDeadlock, .. }
            ));
        })
        .unwrap();
    let exchange = builder.exchange(ExchangeConfig::fanout("x")).unwrap();
    exchange.rebind([&a, &full].map(Binding::all)).unwrap();
    assert!(slot.set(exchange).is_ok());
    let runtime = builder.build().unwrap();
    full.producer().unwrap().publish(0).unwrap();
    work.producer().unwrap().publish(1).unwrap();
    runtime.turn();
    assert_eq!((work.counts().acked, a.depth(), a.snapshot().free), (1, 0, a.capacity()));
}

#[test]
fn every_copy_s_end_is_told() {
    let hub = Hub::<u32>::new(ExchangeKind::Fanout, [two_lanes("a", 8), two_lanes("b", 1), two_lanes("c", 1)]);
    hub.exchange.rebind(hub.queues.iter().map(Binding::all)).unwrap();
    fill(&hub, 1);
    let (bell, mut publisher) = (Bell::new(), hub.exchange.publisher());
    let mut publish = publisher.watched().publish_async("k", 7);
    assert!(poll(&mut publish, &bell).is_pending());
    take(&hub, 1);
    let Poll::Ready(Ok(copies)) = poll(&mut publish, &bell) else { panic!("there is room") };
    drop(publish);
    assert_eq!(copies.completions.iter().map(|(queue, _)| &**queue).collect::<Vec<_>>(), ["a", "b", "c"]);
    (0..3).for_each(|at| assert_eq!(take(&hub, at), 7));
    for (_, mut copy) in copies.completions {
        assert_eq!(copy.try_take().unwrap().end, End::Acked);
    }
    hub.exchange.rebind([Binding::all(&hub.queues[1])]).unwrap();
    fill(&hub, 1);
    let mut one = publisher.watched().publish_one_async("k", 8);
    assert!(poll(&mut one, &bell).is_pending());
    assert!(poll(&mut one, &bell).is_pending());
    take(&hub, 1);
    let Poll::Ready(Ok(mut end)) = poll(&mut one, &bell) else { panic!("there is room") };
    assert_eq!((end.try_take().is_none(), take(&hub, 1)), (true, 8));
    assert_eq!(end.try_take().unwrap().end, End::Acked);
}

#[test]
fn it_can_be_sent_to_another_thread() {
    fn sent<T: Send>(_: &T) {}
    let mut hub = small();
    sent(&hub.publisher.publish_async("k", 1));
    let mut watched = hub.exchange.publisher();
    sent(&watched.watched().publish_one_async("k", 1));
}

/// `all` leads to every queue, `c` to the last, which is full.
fn full_at_the_end() -> Hub<u32> {
    let hub = Hub::new(ExchangeKind::Direct, [two_lanes("a", 8), two_lanes("b", 1), two_lanes("c", 1)]);
    hub.queues.iter().for_each(|queue| hub.exchange.bind(Binding::new("all", queue)).unwrap());
    hub.exchange.bind(Binding::new("c", &hub.queues[2])).unwrap();
    fill(&hub, 2);
    hub
}

#[test]
fn who_is_given_the_last_slot_and_looks_after_the_shutdown_has_the_job_back() {
    for key in ["all", "c"] {
        let hub = full_at_the_end();
        let bell = Bell::new();
        let mut publisher = hub.exchange.publisher();
        let mut publish = publisher.publish_async(key, 7);
        assert!(poll(&mut publish, &bell).is_pending());
        take(&hub, 2);
        assert_eq!(bell.rung(), 1);
        assert!(hub.runtime.shutdown(at_once()).is_clean());
        let Poll::Ready(Err(error)) = poll(&mut publish, &bell) else { panic!("nobody hands it back any more") };
        assert!(error.is_closed());
        assert_eq!(hub.queues.map(|queue| queue.snapshot().free), [8, 1, 1]);
    }
}

/// The refusal of a publish to `key` that is polled outside of a handler `before` it is polled in one; then nobody waits.
fn told_in_a_handler(key: &str, before: bool) -> RouteRefusal {
    let hub = full_at_the_end();
    let bell = Bell::new();
    let mut publisher = hub.exchange.publisher();
    let mut publish = publisher.publish_async(key, 7);
    if before {
        assert!(poll(&mut publish, &bell).is_pending());
    }
    let inside = crate::runtime::inside::enter(hub.queues[1].runtime);
    let refusal = refusal(poll(&mut publish, &bell));
    drop((inside, publish));
    assert_eq!(waiting(&hub), [0; 3]);
    take(&hub, 2);
    assert_eq!(free(&hub), [8, 1, 1]);
    refusal
}

#[test]
fn whoever_is_told_that_it_would_deadlock_waits_no_more() {
    for (key, before) in [("c", false), ("c", true), ("all", false), ("all", true)] {
        let would_deadlock = RouteRefusal::Queue { queue: "c".into(), refusal: Refusal::WouldDeadlock };
        assert_eq!(told_in_a_handler(key, before), would_deadlock, "{key}, {before}");
    }
}

#[test]
fn fan_outs_that_are_granted_refused_and_dropped_in_any_order_leave_no_slot_and_no_place_behind() {
    for seed in 1..300 {
        let mut rng = crate::rng::Rng::new(seed);
        let configs = ["a", "b", "c"].map(|name| {
            let config = two_lanes(name, 1 + rng.up_to(1));
            let config = match rng.up_to(3) {
                0 => config,
                1 => config.dedupe(Dedupe::WhileLive, 16),
                2 => config.dedupe(Dedupe::Debounce(ms(5)), 16),
                _ => config.dedupe(Dedupe::KeepLast(ms(5)), 16),
            };
            if rng.up_to(3) == 0 { config.overflow(Overflow::DropOldest) } else { config }
        });
        let hub = Hub::<u32>::new(ExchangeKind::Direct, configs);
        let ways = [("abc", &[0, 1, 2][..]), ("ab", &[0, 1]), ("bc", &[1, 2]), ("c", &[2])];
        for (key, members) in ways {
            members.iter().for_each(|&at| hub.exchange.bind(Binding::new(key, &hub.queues[at])).unwrap());
        }
        let mut publishers = ways.map(|_| hub.exchange.publisher());
        random_acts(&hub, &mut publishers, ways.map(|(key, _)| key), &mut rng);
        drop(publishers);
        for _ in 0..20 {
            hub.runtime.advance(&hub.clock, ms(20));
            (0..3).for_each(|at| drop(hub.payloads(at)));
        }
        let capacities = [0, 1, 2].map(|at| hub.queues[at].capacity());
        assert_eq!((free(&hub), waiting(&hub)), (capacities, [0; 3]), "seed {seed}");
        adds_up(&hub.runtime);
    }
}

/// Four tasks publish, are polled and dropped, while others publish, take and settle, and time passes.
fn random_acts(hub: &Hub<u32>, publishers: &mut [crate::ExchangePublisher<u32>; 4], keys: [&'static str; 4], rng: &mut crate::rng::Rng) {
    let (bell, names) = (Bell::new(), ["x", "y"]);
    let mut tasks: Vec<_> = publishers
        .iter_mut()
        .zip(keys)
        .enumerate()
        .map(|(n, (publisher, to))| {
            let job = Job::new(n as u32);
            Some(publisher.publish_async(to, if n % 2 == 0 { job.key(names[n / 2]) } else { job.ttl(ms(3)) }))
        })
        .collect();
    let consumers: Vec<_> = hub.queues.iter().map(|queue| queue.consumer().unwrap()).collect();
    let direct: Vec<_> = hub.queues.iter().map(|queue| queue.producer().unwrap()).collect();
    let mut held = Vec::new();
    for _ in 0..40 {
        let at = rng.up_to(3) as usize;
        match rng.up_to(7) {
            0..=2 if tasks[at].as_mut().is_some_and(|task| poll(task, &bell).is_ready()) => tasks[at] = None,
            3 if rng.up_to(3) == 0 => tasks[at] = None,
            4 => held.extend(consumers[at % 3].try_recv().ok()),
            5 => held.pop().into_iter().for_each(|delivery| delivery.ack().unwrap()),
            6 => drop(direct[at % 3].try_publish(Job::new(9).key(names[at / 2]))),
            7 => hub.runtime.advance(&hub.clock, ms(1 + rng.up_to(5))),
            _ => {}
        }
    }
    held.into_iter().for_each(|delivery| delivery.ack().unwrap());
}

#[test]
fn whoever_waits_for_room_drops_no_other_job_alone_or_in_a_fan_out() {
    let mut hub =
        Hub::<u32>::new(ExchangeKind::Topic, [two_lanes("a", 8), two_lanes("b", 1).overflow(Overflow::DropOldest), two_lanes("c", 8)]);
    let [a, b, _] = &hub.queues;
    hub.exchange.rebind([Binding::new("one", b), Binding::new("two", a), Binding::new("two", b)]).unwrap();
    fill(&hub, 1);
    for key in ["one", "two"] {
        let mut publisher = hub.exchange.publisher();
        let mut publish = publisher.publish_async(key, 2);
        assert!(poll(&mut publish, &Bell::new()).is_pending(), "{key}");
        drop(publish);
        assert!(hub.publisher.publish_timeout(key, 2, Duration::ZERO).unwrap_err().is_full(), "{key}");
    }
    assert_eq!((hub.queues[1].dead_letters().len(), free(&hub), waiting(&hub)), (0, [8, 0, 8], [0; 3]));
    // whoever does not wait does
    assert_eq!(hub.publisher.publish("two", 3).unwrap().copies, 2);
    assert_eq!((hub.queues[1].dead_letters().len(), take(&hub, 1)), (1, 3));
}

#[test]
fn a_task_that_meets_the_stop_is_counted_alone_and_in_a_fan_out() {
    for key in ["one", "all"] {
        let hub = Hub::<u32>::new(ExchangeKind::Direct, [two_lanes("a", 8), two_lanes("b", 1), two_lanes("c", 1)]);
        hub.exchange.bind(Binding::new("one", &hub.queues[2])).unwrap();
        hub.queues.iter().for_each(|queue| hub.exchange.bind(Binding::new("all", queue)).unwrap());
        fill(&hub, 2);
        let bell = Bell::new();
        let mut publisher = hub.exchange.publisher();
        let mut publish = publisher.publish_async(key, 7);
        assert!(poll(&mut publish, &bell).is_pending());
        take(&hub, 2);
        drop(hub.runtime);
        let RouteRefusal::Queue { refusal: Refusal::Closed, .. } = refusal(poll(&mut publish, &bell)) else { panic!("{key}") };
        let closed: u64 = hub.queues.iter().map(|queue| queue.counts().rejected_closed).sum();
        assert_eq!(closed, 1, "{key}");
    }
}
