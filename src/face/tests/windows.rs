//! Copies of routed jobs that wait out windows (`Debounce`, `KeepLast`), as jobs do that are published to one queue.

use super::*;
use crate::{Binding, Dedupe, End, Exchange, ExchangeConfig, ExchangePublisher, Job, Overflow, Refusal, RouteRefusal, RuntimeBuilder};

const WINDOW: Duration = Duration::from_millis(100);

fn debounce(name: &str) -> QueueConfig {
    QueueConfig::new(name).capacity(8).dedupe(Dedupe::Debounce(WINDOW), 16)
}

fn keep_last(name: &str) -> QueueConfig {
    QueueConfig::new(name).capacity(8).dedupe(Dedupe::KeepLast(WINDOW), 16)
}

fn while_live(name: &str) -> QueueConfig {
    QueueConfig::new(name).capacity(8).dedupe(Dedupe::WhileLive, 16)
}

fn keyed<T>(payload: T) -> Job<T> {
    Job::new(payload).key("k")
}

/// Some pull queues and an exchange to all of them.
struct Hub<T: Payload> {
    clock: Arc<ManualClock>,
    runtime: Runtime,
    queues: Vec<QueueHandle<T>>,
    consumers: Vec<Consumer<T>>,
    publisher: ExchangePublisher<T>,
}

impl<T: Payload> Hub<T> {
    fn new(configs: impl IntoIterator<Item = QueueConfig>) -> Self {
        let clock = Arc::new(ManualClock::new());
        let mut builder: RuntimeBuilder = Runtime::builder().manual(Arc::clone(&clock));
        let queues: Vec<_> = configs.into_iter().map(|config| builder.pull_queue(config).unwrap()).collect();
        let exchange = builder.exchange(ExchangeConfig::fanout("all")).unwrap();
        exchange.rebind(queues.iter().map(Binding::all)).unwrap();
        let consumers = queues.iter().map(|queue| queue.consumer().unwrap()).collect();
        Hub { clock, runtime: builder.build().unwrap(), queues, consumers, publisher: exchange.publisher() }
    }

    fn advance(&self, by: Duration) {
        self.runtime.advance(&self.clock, by);
    }

    fn next(&self, queue: usize) -> Option<Delivery<T>> {
        self.consumers[queue].try_recv().ok()
    }

    fn counts(&self, queue: usize) -> Counts {
        self.queues[queue].counts()
    }

    fn keys(&self) -> Vec<usize> {
        self.runtime.snapshot().queues.iter().map(|queue| queue.keys).collect()
    }
}

fn refused_by(error: &crate::RouteError<impl Payload>) -> (String, Refusal) {
    match error.refusal() {
        RouteRefusal::Queue { queue, refusal } => (queue.to_string(), refusal.clone()),
        refusal => panic!("{refusal}"),
    }
}

#[test]
fn copies_wait_out_their_windows_and_take_the_payload_of_the_last() {
    let mut hub = Hub::<&str>::new([debounce("a"), keep_last("b"), QueueConfig::new("c").capacity(8)]);
    assert_eq!(hub.publisher.publish("x", keyed("first")).unwrap().copies, 3);
    hub.advance(ms(60));
    assert_eq!(hub.publisher.publish("x", keyed("second")).unwrap().copies, 3);
    assert_eq!((hub.queues[0].depth(), hub.queues[1].depth(), hub.queues[2].depth()), (1, 1, 2));
    assert!(hub.next(0).is_none() && hub.next(1).is_none(), "they wait for others");
    hub.advance(ms(41));
    assert!(hub.next(0).is_none(), "put off by the second");
    let kept = hub.next(1).unwrap();
    assert_eq!(*kept, "second");
    kept.ack().unwrap();
    hub.advance(ms(60));
    let debounced = hub.next(0).unwrap();
    assert_eq!(*debounced, "second");
    assert_eq!((hub.counts(0).accepted, hub.counts(0).replaced, hub.counts(1).replaced), (1, 1, 1));
    assert_eq!(hub.publisher.publish("x", keyed("third")).unwrap().copies, 3, "one that runs is waited for by nobody");
    debounced.ack().unwrap();
    hub.advance(ms(101));
    assert_eq!((*hub.next(0).unwrap(), *hub.next(1).unwrap()), ("third", "third"));
    adds_up(&hub.runtime);
}

/// Copies of routed jobs, jobs for the queue alone, and time that passes: with an equal queue that has no exchange the same is delivered at the same times.
#[test]
fn copies_do_what_direct_publishes_do() {
    for (seed, mode) in (1u64..40).zip([Dedupe::Debounce(ms(20)), Dedupe::KeepLast(ms(20))].into_iter().cycle()) {
        let config = |name: &str| QueueConfig::new(name).capacity(3).dedupe(mode, 2).lanes([crate::LaneConfig::new("one")]);
        // the other queues take whatever comes
        let mut hub = Hub::<u64>::new([QueueConfig::new("a"), config("b"), QueueConfig::new("c")]);
        let alone = Pull::<u64>::new(config("b"));
        let mut random = crate::rng::Rng::new(seed);
        for step in 0..200u64 {
            let job = Job::new(step).key([random.up_to(2) as u8]);
            let (routed, direct) = match random.up_to(5) {
                0..3 => (hub.publisher.publish("x", job).map(|_| ()).map_err(|error| refused_by(&error).1), alone.producer.publish(job)),
                3 => (
                    hub.queues[1].producer().unwrap().publish(job).map(|_| ()).map_err(|error| error.refusal().clone()),
                    alone.producer.publish(job),
                ),
                4 => {
                    hub.advance(ms(7));
                    alone.advance(ms(7));
                    continue;
                }
                _ => {
                    let (copy, job) = (hub.next(1), alone.get());
                    assert_eq!(copy.as_deref(), job.as_deref(), "seed {seed}, step {step}");
                    copy.map(Delivery::ack).transpose().unwrap();
                    job.map(Delivery::ack).transpose().unwrap();
                    continue;
                }
            };
            assert_eq!(
                routed.err().map(|refusal| refusal.to_string()),
                direct.err().map(|error| error.refusal().to_string()),
                "seed {seed}, step {step}"
            );
        }
        let (copies, jobs) = (hub.counts(1), alone.counts());
        assert_eq!((copies.accepted, copies.replaced, copies.acked), (jobs.accepted, jobs.replaced, jobs.acked), "seed {seed}");
        adds_up(&hub.runtime);
        alone.settled();
    }
}

#[test]
fn a_copy_that_takes_anothers_place_needs_no_slot_and_drops_what_was_there() {
    let census = Census::default();
    let mut hub = Hub::<Arc<Counted>>::new([debounce("a").capacity(1), keep_last("b").capacity(1), QueueConfig::new("c").capacity(9)]);
    for number in 0..5 {
        assert_eq!(hub.publisher.publish("x", keyed(Arc::new(census.born(number)))).unwrap().copies, 3, "{number}");
    }
    assert_eq!(census.alive(), 5, "the third queue has them all");
    while let Some(delivery) = hub.next(2) {
        delivery.ack().unwrap();
    }
    assert_eq!(census.alive(), 1, "the last one waits in the others");
    assert!(hub.publisher.publish("x", Job::new(Arc::new(census.born(9))).key("other")).unwrap_err().is_full());
    hub.advance(ms(101));
    assert_eq!((hub.next(0).unwrap().number, hub.next(1).unwrap().number), (4, 4));
    assert_eq!((hub.counts(0).replaced, hub.counts(1).accepted), (4, 1));
    adds_up(&hub.runtime);
}

#[test]
fn where_one_queue_refuses_no_window_is_opened_and_no_payload_replaced() {
    // a queue before, between and behind the ones with windows that has the key, or no room
    for at in 0..3 {
        for full in [false, true] {
            let names = ["a", "b", "c"];
            let configs = (0..3).map(|queue| match queue {
                queue if queue == at && full => QueueConfig::new(names[queue]).capacity(1),
                queue if queue == at => while_live(names[queue]),
                0 | 1 => debounce(names[queue]),
                _ => keep_last(names[queue]),
            });
            let mut hub = Hub::<&str>::new(configs);
            let blocks = hub.queues[at].producer().unwrap();
            let blocking = blocks.publish(keyed("blocks")).unwrap();
            let others: Vec<usize> = (0..3).filter(|queue| *queue != at).collect();
            let why = |error: crate::RouteError<&'static str>| {
                let (queue, refusal) = refused_by(&error);
                assert_eq!((queue.as_str(), error.into_inner()), (names[at], "refused"));
                match refusal {
                    Refusal::Duplicate { existing } => assert!(!full && existing == blocking),
                    refusal => assert!(full && matches!(refusal, Refusal::Full { .. })),
                }
            };
            why(hub.publisher.publish("x", keyed("refused")).unwrap_err());
            assert!(others.iter().all(|queue| hub.queues[*queue].depth() == 0 && hub.keys()[*queue] == 0), "no window is open");
            // now one is, with a payload of its own
            for queue in &others {
                hub.queues[*queue].producer().unwrap().publish(keyed("waits")).unwrap();
            }
            hub.advance(ms(50));
            why(hub.publisher.publish("x", keyed("refused")).unwrap_err());
            hub.advance(ms(51));
            for queue in &others {
                assert_eq!(*hub.next(*queue).unwrap(), "waits", "nor is it put off");
                assert_eq!(hub.counts(*queue).replaced, 0);
            }
            adds_up(&hub.runtime);
        }
    }
}

#[test]
fn a_job_that_was_cancelled_in_its_window_is_nobodys_to_replace() {
    let mut hub = Hub::<&str>::new([debounce("a"), keep_last("b")]);
    let waits = hub.queues[1].producer().unwrap().publish(keyed("waits")).unwrap();
    assert!(hub.queues[1].cancel(waits));
    let error = hub.publisher.publish("x", keyed("new")).unwrap_err();
    assert_eq!(refused_by(&error), ("b".to_owned(), Refusal::Duplicate { existing: waits }));
    assert_eq!(hub.keys(), [0, 1]);
    hub.advance(ms(101));
    assert!(hub.next(1).is_none(), "it has ended");
    assert_eq!(hub.publisher.publish("x", keyed("new")).unwrap().copies, 2);
    adds_up(&hub.runtime);
}

#[test]
fn best_effort_replaces_where_it_can() {
    let mut hub = Hub::<&str>::new([debounce("a"), while_live("b"), keep_last("c")]);
    hub.queues[1].producer().unwrap().publish(keyed("blocks")).unwrap();
    for (round, text) in ["first", "second"].into_iter().enumerate() {
        let partial = hub.publisher.publish_best_effort("x", keyed(text)).unwrap();
        assert_eq!((partial.copies, partial.missed.len(), &*partial.missed[0].0), (2, 1, "b"), "round {round}");
    }
    hub.advance(ms(101));
    assert_eq!((*hub.next(0).unwrap(), *hub.next(2).unwrap()), ("second", "second"));
    assert_eq!((hub.counts(0).replaced, hub.counts(1).accepted, hub.counts(2).replaced), (1, 1, 1));

    // where nobody takes it, it comes back
    let mut hub = Hub::<&str>::new([debounce("a"), while_live("b")]);
    hub.queues[0].queue.close();
    hub.queues[1].queue.close();
    let error = hub.publisher.publish_best_effort("x", keyed("back")).unwrap_err();
    assert!(error.is_closed());
    assert_eq!(error.into_inner(), "back");
}

#[test]
fn a_copy_waits_out_its_window_in_its_partition_and_has_its_own_limits() {
    let mut hub = Hub::<&str>::new([debounce("a").partitions(1), QueueConfig::new("b")]);
    hub.publisher.publish("x", keyed("old").partition_key("p")).unwrap();
    hub.publisher.publish("x", keyed("new").partition_key("p").ttl(ms(150))).unwrap();
    hub.queues[0].producer().unwrap().publish(Job::new("running").partition_key("p")).unwrap();
    let running = hub.next(0).unwrap();
    hub.advance(ms(101));
    assert!(hub.next(0).is_none(), "one job of a partition key at a time");
    hub.advance(ms(60));
    running.ack().unwrap();
    assert!(hub.next(0).is_none(), "the time to live is the last one's");
    assert_eq!(hub.queues[0].dead_letters().len(), 1);
    adds_up(&hub.runtime);
}

#[test]
fn a_watched_copy_opens_a_window_and_takes_nobodys_place() {
    let mut hub = Hub::<&str>::new([QueueConfig::new("a"), debounce("b"), keep_last("c")]);
    let mut copies = hub.publisher.watched().publish("x", keyed("first")).unwrap().completions;
    assert_eq!(copies.iter().map(|(queue, _)| &**queue).collect::<Vec<_>>(), ["a", "b", "c"]);
    let refused = hub.publisher.watched().publish("x", keyed("watched")).unwrap_err();
    assert_eq!(refused_by(&refused), ("b".to_owned(), Refusal::Duplicate { existing: copies[1].1.job_id() }));
    assert_eq!(hub.publisher.publish("x", keyed("second")).unwrap().copies, 3);
    hub.advance(ms(101));
    for (queue, payload) in [(0, "first"), (1, "second"), (2, "second")] {
        let delivery = hub.next(queue).unwrap();
        assert_eq!((*delivery, delivery.job_id()), (payload, copies[queue].1.job_id()));
        delivery.ack().unwrap();
        assert_eq!(copies[queue].1.try_take().unwrap().end, End::Acked);
    }
    hub.next(0).unwrap().ack().unwrap();
    assert!(hub.queues.iter().all(|queue| queue.queue.watches_none()));
    adds_up(&hub.runtime);
}

/// When the job of a key became ready, of a queue to which the two were published at once, the second `delayed` or the first.
fn ready_after(config: QueueConfig, delayed_first: bool) -> (u32, &'static str) {
    let pull = Pull::<&str>::new(config);
    let later = || pull.producer.publish_after(keyed("later"), secs(3600)).unwrap();
    let first = if delayed_first { later() } else { pull.producer.publish(keyed("now")).unwrap() };
    let second = if delayed_first { pull.producer.publish(keyed("now")).unwrap() } else { later() };
    assert_eq!((first, pull.counts().replaced), (second, 1));
    for waited in 0..4000 {
        if let Some(delivery) = pull.get() {
            let payload = *delivery;
            delivery.ack().unwrap();
            return (waited, payload);
        }
        pull.advance(secs(1));
    }
    panic!("it never came");
}

#[test]
fn a_delayed_publish_into_a_window_is_ready_no_earlier_than_it_asked_for() {
    assert_eq!(ready_after(q(4).dedupe(crate::Dedupe::Debounce(secs(10)), 4), false), (3600, "later"));
    assert_eq!(ready_after(q(4).dedupe(crate::Dedupe::KeepLast(secs(10)), 4), false), (3600, "later"));
    // of a burst the last: it asked for no delay
    assert_eq!(ready_after(q(4).dedupe(crate::Dedupe::Debounce(secs(10)), 4), true), (10, "now"));
    // the first opened the window, whose end stands
    assert_eq!(ready_after(q(4).dedupe(crate::Dedupe::KeepLast(secs(10)), 4), true), (3600, "now"));
}

#[test]
fn copies_in_their_windows_are_handed_back_at_shutdown() {
    let mut hub = Hub::<&str>::new([debounce("a"), keep_last("b"), QueueConfig::new("c")]);
    hub.publisher.publish("x", keyed("waits")).unwrap();
    hub.queues[1].queue.stop();
    let met = hub.publisher.publish("x", Job::new("meets the stop").key("l")).unwrap();
    assert_eq!(met.copies, 3);
    let Hub { runtime, queues, mut publisher, .. } = hub;
    let mut report = runtime.shutdown(at_once());
    for queue in &queues {
        let mut undone: Vec<&str> = report.take_undone(queue).into_iter().map(|undone| undone.payload).collect();
        undone.sort_unstable();
        assert_eq!(undone, ["meets the stop", "waits"], "{}", queue.name());
    }
    assert!(publisher.publish("x", keyed("late")).unwrap_err().is_closed());
}

#[test]
fn no_more_windows_are_open_than_the_bound() {
    let mut hub = Hub::<&str>::new([debounce("a"), QueueConfig::new("b").capacity(8).dedupe(Dedupe::KeepLast(WINDOW), 2)]);
    let publish = |hub: &mut Hub<&'static str>, key: &str| hub.publisher.publish("x", Job::new("job").key(key)).map(|routed| routed.copies);
    assert_eq!((publish(&mut hub, "1").unwrap(), publish(&mut hub, "2").unwrap()), (2, 2));
    let error = publish(&mut hub, "3").unwrap_err();
    assert_eq!(refused_by(&error), ("b".to_owned(), Refusal::TooManyKeys { bound: 2 }));
    assert_eq!((publish(&mut hub, "1").unwrap(), hub.keys()), (2, vec![2, 2]));
    let long = hub.publisher.publish("x", Job::new("job").key("x".repeat(1025))).unwrap_err();
    assert!(matches!(refused_by(&long).1, Refusal::BadKey { bytes: 1025 }));
    adds_up(&hub.runtime);
}

/// Fan-outs to overlapping queues in both orders of declaration, direct publishes, workers, and windows that end all the while: nobody stops anybody, and
/// nothing is lost.
#[test]
fn fan_outs_into_windows_come_through_and_add_up() {
    watched(|| {
        let mut builder = Runtime::builder();
        let config = |name: &str, mode| QueueConfig::new(name).capacity(16).dedupe(mode, 64).overflow(Overflow::Block(secs(20)));
        let handler = |_: &u32, _: &crate::Context<u32>| ();
        let queues = [
            builder.queue(config("c", Dedupe::Debounce(ms(1))), handler).unwrap(),
            builder.queue(config("b", Dedupe::WhileLive), handler).unwrap(),
            builder.queue(config("a", Dedupe::KeepLast(ms(1))), handler).unwrap(),
        ];
        builder.pool(PoolConfig::new("default").workers(2)).unwrap();
        let exchange: Exchange<u32> = builder.exchange(ExchangeConfig::topic("x")).unwrap();
        let [c, b, a] = &queues;
        exchange.rebind([c, b, a].map(|queue| Binding::new("all", queue))).unwrap();
        exchange.bind(Binding::new("ends", c)).unwrap();
        exchange.bind(Binding::new("ends", a)).unwrap();
        exchange.bind(Binding::new("late", c)).unwrap();
        exchange.bind(Binding::new("late", b)).unwrap();
        let runtime = builder.build().unwrap();
        let threads: Vec<_> = ["all", "ends", "late", "direct"]
            .into_iter()
            .map(|to| {
                let (exchange, queues) = (exchange.clone(), queues.clone());
                std::thread::spawn(move || {
                    let mut publisher = exchange.publisher();
                    let producers = queues.map(|queue| queue.producer().unwrap());
                    let mut copies = 0u64;
                    for number in 0..3_000u32 {
                        let job = Job::new(number).key([(number % 5) as u8]);
                        match to {
                            "direct" => copies += u64::from(producers[number as usize % 3].try_publish(job).is_ok()),
                            to => copies += publisher.publish(to, job).map_or(0, |routed| routed.copies as u64),
                        }
                    }
                    copies
                })
            })
            .collect();
        let copies: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        let report = runtime.shutdown(ShutdownOptions::default());
        let counts = ["a", "b", "c"].map(|name| report.queue(name).unwrap());
        assert!(counts.iter().all(|queue| queue.ledger_balances()));
        assert_eq!(counts.iter().map(|queue| queue.counts.accepted + queue.counts.replaced).sum::<u64>(), copies);
        assert!(counts[0].counts.replaced > 0 && counts[2].counts.replaced > 0);
    });
}
