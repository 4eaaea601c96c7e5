//! Handles to the ends of many jobs: of a batch, of reserved slots, of the copies of one job.

use super::*;
use crate::{
    Binding, Completion, Context, DeathReason, Dedupe, End, Exchange, ExchangeConfig, ExchangePublisher, Job, JobError, LaneConfig,
    Overflow, Refusal, Request, WatchedCopies,
};

/// A question; the answer is a text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ask(u32);

impl Payload for Ask {
    fn validate(&self) -> Result<(), Invalid> {
        if self.0 == u32::MAX { Err(Invalid::new("too large")) } else { Ok(()) }
    }
}

impl Request for Ask {
    type Answer = String;
}

fn end_of<A: 'static>(handle: &mut Completion<A>) -> End {
    handle.try_take().expect("its end was told").end
}

/// Acks everything with its number, and says which job had which number.
fn answer_all(pull: &Pull<Ask>) -> Vec<(crate::JobId, u32)> {
    std::iter::from_fn(|| {
        pull.get().map(|delivery| {
            let (job, number) = (delivery.job_id(), delivery.0);
            delivery.complete(number.to_string()).unwrap();
            (job, number)
        })
    })
    .collect()
}

// ---- batches ----

#[test]
fn a_watched_batch_has_a_handle_for_each_job_in_their_order() {
    let pull = Pull::new(q(200).lanes([LaneConfig::new("high"), LaneConfig::new("low")]).partitions(4).dedupe(Dedupe::WhileLive, 99));
    let mut jobs = (0..150u32).map(|number| {
        let job = Job::new(Ask(number)).lane((number / 40) as usize % 2);
        match number % 50 {
            7 => job.key(number.to_le_bytes()),
            8 => job.partition_key(b"p"),
            9 => job.ttl(secs(3600)),
            _ => job,
        }
    });
    let mut batch = pull.producer.watched().publish_batch(&mut jobs);
    assert!(batch.refused.is_none());
    assert_eq!(batch.completions.len(), 150);
    let answered = answer_all(&pull);
    assert_eq!(answered.len(), 150);
    for (number, handle) in (0..).zip(&mut batch.completions) {
        let done = handle.try_take().unwrap();
        assert_eq!((done.job, done.end, done.answer), (handle.job_id(), End::Acked, Some(number.to_string())));
        assert!(answered.contains(&(handle.job_id(), number)));
    }
    assert_eq!(pull.settled().acked, 150);
    assert!(pull.queue.queue.watches_none());
}

#[test]
fn a_watched_batch_ends_at_the_job_that_is_refused() {
    let pull = Pull::new(q(40).dedupe(Dedupe::WhileLive, 99));
    let watched = pull.producer.watched();
    let mut none = std::iter::empty::<Ask>();
    assert!(watched.publish_batch(&mut none).completions.is_empty());

    let mut jobs = [Job::new(Ask(1)).key("k"), Job::new(Ask(2)), Job::new(Ask(3)).key("k"), Job::new(Ask(4))].into_iter();
    let mut batch = watched.publish_batch(&mut jobs);
    let refused = batch.refused.unwrap();
    assert_eq!(*refused.refusal(), Refusal::Duplicate { existing: batch.completions[0].job_id() });
    assert_eq!((batch.completions.len(), refused.into_inner(), jobs.len()), (2, Ask(3), 1));
    assert!(batch.completions[1].cancel());

    let mut invalid = [Ask(5), Ask(u32::MAX), Ask(6)].into_iter();
    let batch_two = watched.publish_batch(&mut invalid);
    assert_eq!((batch_two.completions.len(), batch_two.refused.unwrap().into_inner(), invalid.len()), (1, Ask(u32::MAX), 1));
    let no_lane = watched.publish_batch(&mut std::iter::once(Job::new(Ask(7)).lane(9)));
    assert!(no_lane.completions.is_empty() && no_lane.refused.is_some());

    let mut endless = (100..).map(Ask);
    let full = watched.publish_batch(&mut endless);
    assert_eq!((full.completions.len(), full.refused.unwrap().into_inner()), (37, Ask(137)));
    drop(full.completions);
    assert_eq!(answer_all(&pull).len(), 39);
    assert_eq!(end_of(&mut batch.completions[0]), End::Acked);
    assert_eq!(end_of(&mut batch.completions[1]), End::Cancelled);
    assert!(pull.queue.queue.watches_none());
    pull.settled();
}

#[test]
fn a_watched_batch_does_with_a_full_queue_what_its_policy_says() {
    let of = |overflow, jobs: u32| {
        let pull = Pull::new(q(2).overflow(overflow));
        let batch = pull.producer.watched().publish_batch(&mut (0..jobs).map(Ask));
        (pull, batch)
    };
    let over_length = End::DeadLettered(DeathReason::OverLength);
    let (pull, mut batch) = of(Overflow::DropOldest, 4);
    assert_eq!(
        batch.completions.iter_mut().map(|handle| handle.try_take().map(|done| done.end)).collect::<Vec<_>>(),
        [Some(over_length), Some(over_length), None, None]
    );
    pull.settled();
    let (pull, mut batch) = of(Overflow::DropNew, 4);
    assert_eq!(
        batch.completions.iter_mut().map(|handle| handle.try_take().map(|done| done.end)).collect::<Vec<_>>(),
        [None, None, Some(over_length), Some(over_length)]
    );
    pull.settled();
    let (pull, batch) = of(Overflow::Block(Duration::ZERO), 4);
    assert_eq!((batch.completions.len(), batch.refused.unwrap().into_inner()), (2, Ask(2)));
    pull.settled();

    let push = Push::new(q(1).overflow(Overflow::CallerRuns), |ask: &Ask, context: &Context<Ask>| context.complete(ask.0.to_string()));
    let mut batch = push.producer.watched().publish_batch(&mut (0..3).map(Ask));
    assert!(batch.refused.is_none());
    assert!(!batch.completions[0].is_over());
    assert_eq!(batch.completions[2].try_take().unwrap().answer.as_deref(), Some("2"), "its publisher ran it");
    push.turn();
    assert_eq!(batch.completions[0].try_take().unwrap().answer.as_deref(), Some("0"));
    push.settled();
}

#[test]
fn a_watched_batch_takes_nobodys_place() {
    let pull = Pull::new(q(8).dedupe(Dedupe::Debounce(ms(100)), 8));
    let mut jobs = [1, 2].into_iter().map(|number| Job::new(Ask(number)).key("k"));
    let mut batch = pull.producer.watched().publish_batch(&mut jobs);
    assert_eq!(*batch.refused.unwrap().refusal(), Refusal::Duplicate { existing: batch.completions[0].job_id() });
    pull.advance(ms(101));
    assert_eq!(answer_all(&pull).len(), 1);
    assert_eq!(batch.completions[0].try_take().unwrap().answer.as_deref(), Some("1"));
    pull.settled();
}

#[test]
fn a_watched_batch_whose_iterator_panics_leaves_its_jobs_without_handles() {
    for at in [0, 1, 5, 32, 70] {
        let pull = Pull::new(q(100));
        let mut jobs = (0..80).map(|number| {
            assert_ne!(number, at, "in the middle");
            Ask(number)
        });
        let watched = std::panic::AssertUnwindSafe(|| pull.producer.watched().publish_batch(&mut jobs));
        assert!(std::panic::catch_unwind(watched).is_err());
        assert_eq!(answer_all(&pull).len(), at as usize);
        assert!(pull.queue.queue.watches_none());
        assert_eq!(pull.settled().drop_panics, 0);
    }
}

#[test]
fn a_watched_batch_that_meets_the_stop_is_told_of_what_was_handed_back() {
    let pull = Pull::new(q(64));
    let queue = Arc::clone(&pull.queue.queue);
    let mut jobs = (0..60).map(|number| {
        if number == 40 {
            queue.close();
            queue.stop();
        }
        Ask(number)
    });
    let mut batch = pull.producer.watched().publish_batch(&mut jobs);
    let refused = batch.refused.take().unwrap();
    assert!(refused.is_closed());
    let accepted = batch.completions.len();
    assert_eq!(refused.into_inner(), Ask(accepted as u32));
    assert!(accepted >= 40);
    assert_eq!(pull.queue.queue.hand_back().len(), accepted);
    assert!(batch.completions.iter_mut().all(|handle| end_of(handle) == End::HandedBack));
}

#[test]
fn jobs_of_a_watched_batch_may_be_waited_for_while_others_work() {
    watched(|| {
        let mut builder = Runtime::builder();
        let config = q(16).overflow(Overflow::Block(secs(20)));
        let queue = builder.queue(config, |ask: &Ask, context: &Context<Ask>| context.complete(ask.0.to_string())).unwrap();
        builder.pool(PoolConfig::new("default").workers(2)).unwrap();
        let runtime = builder.build().unwrap();
        let producer = queue.producer().unwrap();
        let batch = producer.watched().publish_batch(&mut (0..5_000).map(Ask));
        assert_eq!(batch.completions.len(), 5_000);
        for (number, mut handle) in (0u32..).zip(batch.completions) {
            assert_eq!(handle.wait().unwrap().answer, Some(number.to_string()));
        }
        drop(producer);
        assert!(runtime.shutdown(ShutdownOptions::default()).is_clean());
    });
}

// ---- reserved slots ----

#[test]
fn a_watched_job_in_a_reserved_slot_is_told_of() {
    let pull = Pull::new(q(3).dedupe(Dedupe::WhileLive, 8));
    let mut permits = pull.producer.reserve(0, 3).unwrap();
    let mut first = permits.publish_watched(Job::new(Ask(1)).key("k")).unwrap();
    assert!(permits.publish_watched(Job::new(Ask(2)).key("k")).unwrap_err().is_duplicate());
    assert_eq!(permits.publish_watched(Ask(u32::MAX)).unwrap_err().into_inner(), Ask(u32::MAX));
    assert_eq!(permits.publish_watched(Ask(3)).unwrap_err().into_inner(), Ask(3), "none is left");
    assert_eq!(answer_all(&pull).len(), 1);
    assert_eq!(first.wait().unwrap().answer.as_deref(), Some("1"));
    drop(permits);
    assert!(pull.queue.queue.watches_none());
    pull.settled();
}

// ---- copies ----

/// Three pull queues, whose names are not in the order of their declaration, and an exchange to them.
struct Hub {
    clock: Arc<ManualClock>,
    runtime: Runtime,
    queues: [QueueHandle<Ask>; 3],
    exchange: Exchange<Ask>,
    publisher: ExchangePublisher<Ask>,
}

impl Hub {
    fn new(configs: [QueueConfig; 3]) -> Self {
        let clock = Arc::new(ManualClock::new());
        let mut builder = Runtime::builder().manual(Arc::clone(&clock));
        let queues = configs.map(|config| builder.pull_queue(config).unwrap());
        let unwanted = builder.exchange(ExchangeConfig::direct("unwanted")).unwrap();
        let exchange = builder.exchange(ExchangeConfig::topic("x").alternate(&unwanted)).unwrap();
        let [b, c, a] = &queues;
        exchange.rebind([c, a, b].map(|queue| Binding::new("all", queue))).unwrap();
        exchange.bind(Binding::new("two", a)).unwrap();
        exchange.bind(Binding::new("two", c)).unwrap();
        exchange.bind(Binding::new("one", b)).unwrap();
        unwanted.bind(Binding::new("unwanted", c)).unwrap();
        Hub { clock, runtime: builder.build().unwrap(), queues, publisher: exchange.publisher(), exchange }
    }

    fn of(capacity: u64) -> Self {
        Self::new(["b", "c", "a"].map(|name| QueueConfig::new(name).capacity(capacity)))
    }

    fn next(&self, name: &str) -> Option<Delivery<Ask>> {
        let queue = self.queues.iter().find(|queue| queue.name() == name).unwrap();
        queue.consumer().unwrap().try_recv().ok()
    }

    fn settled(&self) {
        adds_up(&self.runtime);
        assert!(self.queues.iter().all(|queue| queue.queue.watches_none()));
    }
}

fn names(copies: &WatchedCopies<Ask>) -> Vec<&str> {
    copies.completions.iter().map(|(queue, _)| &**queue).collect()
}

#[test]
fn a_watched_fan_out_has_a_handle_per_copy_in_the_order_of_the_queues_names() {
    let mut hub = Hub::of(8);
    let (all, two) = (hub.exchange.route("all").unwrap(), hub.exchange.route("two").unwrap());
    let mut by_key = hub.publisher.watched().publish("all", Ask(1)).unwrap();
    let mut by_route = hub.publisher.watched().try_publish(&all, Ask(2)).unwrap();
    let mut waiting = hub.publisher.watched().publish_timeout(&two, Ask(3), secs(1)).unwrap();
    assert_eq!((names(&by_key), names(&by_route), names(&waiting)), (vec!["a", "b", "c"], vec!["a", "b", "c"], vec!["a", "c"]));
    for name in ["c", "a", "b"] {
        while let Some(delivery) = hub.next(name) {
            let answer = format!("{name}{}", delivery.0);
            delivery.complete(answer).unwrap();
        }
    }
    for (copies, number) in [(&mut by_key, 1), (&mut by_route, 2), (&mut waiting, 3)] {
        assert!(copies.missed.is_empty());
        for (queue, handle) in &mut copies.completions {
            let done = handle.try_take().unwrap();
            assert_eq!((done.end, done.job, done.answer), (End::Acked, handle.job_id(), Some(format!("{queue}{number}"))));
        }
    }
    assert_eq!((hub.exchange.counts().routed, hub.exchange.counts().extra_copies), (3, 5));
    hub.settled();
}

#[test]
fn each_copy_has_an_end_of_its_own() {
    let mut hub = Hub::of(8);
    let mut copies = hub.publisher.watched().publish("all", Ask(1)).unwrap().completions;
    hub.next("a").unwrap().reject(JobError::fatal("no")).unwrap();
    assert!(copies[1].1.cancel());
    let running = hub.next("c").unwrap();
    assert!(hub.next("b").is_none(), "it was cancelled");
    assert_eq!(end_of(&mut copies[0].1), End::DeadLettered(DeathReason::Rejected));
    assert_eq!(end_of(&mut copies[1].1), End::Cancelled);
    assert!(!copies[2].1.is_over());
    drop(copies); // nobody waits for the last one any more
    running.complete("unheard".to_owned()).unwrap();
    hub.settled();
}

#[test]
fn a_watched_copy_that_goes_to_the_dead_letters_of_a_full_queue_has_ended() {
    let mut hub = Hub::new(["b", "c", "a"].map(|name| QueueConfig::new(name).capacity(1).overflow(Overflow::DropNew)));
    hub.queues[1].producer().unwrap().publish(Ask(0)).unwrap(); // `c` is full
    for over in [vec![2], vec![0, 1, 2]] {
        let mut copies = hub.publisher.watched().publish_best_effort("all", Ask(1)).unwrap();
        assert_eq!((names(&copies), copies.missed.len()), (vec!["a", "b", "c"], 0));
        for (at, (_, handle)) in copies.completions.iter_mut().enumerate() {
            assert_eq!(handle.is_over(), over.contains(&at), "{over:?}, {at}");
            if handle.is_over() {
                assert_eq!(end_of(handle), End::DeadLettered(DeathReason::OverLength));
            }
        }
    }
    for name in ["a", "b", "c"] {
        hub.next(name).unwrap().ack().unwrap();
    }
    hub.settled();
}

#[test]
fn a_watched_job_for_one_queue_has_one_handle_by_every_way_there() {
    let mut hub = Hub::of(8);
    let route = hub.exchange.route("one").unwrap();
    let mut watched = hub.publisher.watched();
    let mut ends = vec![
        watched.publish_one("one", Ask(0)).unwrap(),
        watched.try_publish_one(&route, Ask(1)).unwrap(),
        watched.publish_one(&route, Ask(2)).unwrap(),
        watched.publish_one("unwanted", Ask(3)).unwrap(),
    ];
    for to in ["one", "unwanted"] {
        ends.push(watched.publish(to, Ask(4)).unwrap().completions.remove(0).1);
        ends.push(watched.try_publish(to, Ask(5)).unwrap().completions.remove(0).1);
        ends.push(watched.publish_timeout(to, Ask(6), secs(1)).unwrap().completions.remove(0).1);
        ends.push(watched.publish_best_effort(to, Ask(7)).unwrap().completions.remove(0).1);
    }
    for name in ["b", "c"] {
        while let Some(delivery) = hub.next(name) {
            let answer = delivery.0.to_string();
            delivery.complete(answer).unwrap();
        }
    }
    let numbers: Vec<u32> = ends.iter_mut().map(|end| end.try_take().unwrap().answer.unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7]);
    assert_eq!(hub.exchange.counts().routed, 7, "the others went on");
    hub.settled();
}

#[test]
fn a_watched_job_that_no_queue_takes_comes_back_and_has_no_handle() {
    let mut hub = Hub::of(1);
    hub.queues[1].producer().unwrap().publish(Ask(0)).unwrap(); // `c` is full
    let mut watched = hub.publisher.watched();
    let full = watched.publish("all", Ask(1)).unwrap_err();
    assert!(full.is_full());
    assert_eq!(full.into_inner(), Ask(1));
    assert!(watched.try_publish("all", Ask(2)).unwrap_err().is_full());
    assert!(watched.publish_timeout("all", Ask(3), Duration::ZERO).unwrap_err().is_full());
    assert!(watched.publish_one("unwanted", Ask(4)).unwrap_err().is_full());
    assert!(watched.publish_best_effort("unwanted", Ask(4)).unwrap_err().is_full());
    assert!(watched.publish("nobody", Ask(5)).unwrap_err().is_unroutable());
    assert!(watched.publish("no..key", Ask(6)).is_err());
    assert_eq!(watched.publish_one("all", Ask(7)).unwrap_err().refusal(), &crate::RouteRefusal::Several { queues: 3 });
    assert_eq!(watched.publish("all", Ask(u32::MAX)).unwrap_err().into_inner(), Ask(u32::MAX));
    assert!(watched.publish_one("one", Ask(u32::MAX)).is_err());
    assert_eq!(hub.queues.each_ref().map(QueueHandle::depth), [0, 1, 0], "no copy anywhere");

    let mut partial = hub.publisher.watched().publish_best_effort("all", Ask(8)).unwrap();
    assert_eq!((names(&partial), &*partial.missed[0].0, partial.missed.len()), (vec!["a", "b"], "c", 1));
    hub.next("a").unwrap().ack().unwrap();
    hub.next("b").unwrap().ack().unwrap();
    assert!(partial.completions.iter_mut().all(|(_, handle)| end_of(handle) == End::Acked));
    hub.next("c").unwrap().ack().unwrap();
    assert_eq!(hub.exchange.counts().missed, 1);
    hub.settled();
}

#[test]
fn watched_copies_that_are_duplicates_are_refused_all_together() {
    let [b, c, a] = ["b", "c", "a"].map(|name| QueueConfig::new(name).capacity(8).dedupe(Dedupe::WhileLive, 8));
    let mut hub = Hub::new([b, c.partitions(2), a]);
    let keyed = |number| Job::new(Ask(number)).key("k").partition_key("p");
    let mut first = hub.publisher.watched().publish("two", keyed(1)).unwrap();
    let refused = hub.publisher.watched().publish("all", keyed(2)).unwrap_err();
    let existing = first.completions[0].1.job_id();
    assert!(
        matches!(refused.refusal(), crate::RouteRefusal::Queue { refusal: Refusal::Duplicate { existing: by }, .. } if *by == existing)
    );
    let partial = hub.publisher.watched().publish_best_effort("all", keyed(3)).unwrap();
    assert_eq!((names(&partial), partial.missed.len()), (vec!["b"], 2));
    drop(partial);
    for name in ["a", "b", "c"] {
        hub.next(name).unwrap().ack().unwrap();
    }
    assert!(first.completions.iter_mut().all(|(_, handle)| end_of(handle) == End::Acked));
    hub.settled();
}

#[test]
fn watched_copies_that_wait_at_shutdown_are_handed_back_and_told_of() {
    let mut hub = Hub::of(8);
    let mut copies = hub.publisher.watched().publish("all", Ask(1)).unwrap();
    hub.queues[0].queue.stop();
    let mut late = hub.publisher.watched().publish("all", Ask(2)).unwrap();
    assert_eq!(names(&late), ["a", "b", "c"], "one that meets the stop is handed back like its siblings are");
    assert_eq!(end_of(&mut late.completions[1].1), End::HandedBack);
    let Hub { runtime, queues, mut publisher, .. } = hub;
    let report = runtime.shutdown(at_once());
    assert!(!report.is_clean());
    assert!(publisher.watched().publish("all", Ask(3)).unwrap_err().is_closed());
    assert!(copies.completions.iter_mut().all(|(_, handle)| end_of(handle) == End::HandedBack));
    assert!(queues.iter().all(|queue| queue.queue.watches_none()));
}

#[test]
fn a_handler_waits_for_its_copies_only_with_a_deadline() {
    watched(|| {
        let mut builder = Runtime::builder();
        let far = builder.pull_queue::<Ask>(QueueConfig::new("far")).unwrap();
        let exchange = builder.exchange(ExchangeConfig::fanout("x")).unwrap();
        exchange.bind(Binding::all(&far)).unwrap();
        let inner = exchange.clone();
        let near = builder
            .queue(QueueConfig::new("near"), move |_: &u32, _: &Context<u32>| {
                let mut end = inner.publisher().watched().publish_one("any", Ask(1)).unwrap();
                assert_eq!(end.wait().err(), Some(crate::WaitError::WouldDeadlock));
                assert_eq!(end.wait_timeout(ms(1)).err(), Some(crate::WaitError::TimedOut));
            })
            .unwrap();
        let runtime = builder.build().unwrap();
        let mut end = near.producer().unwrap().watched().publish(7).unwrap();
        assert_eq!(end.wait().unwrap().end, End::Acked);
        drop(runtime);
    });
}

#[test]
fn time_passes_for_watched_copies_as_for_others() {
    let mut hub = Hub::of(8);
    let mut copies = hub.publisher.watched().publish("two", Job::new(Ask(1)).ttl(secs(1))).unwrap();
    hub.next("a").unwrap().ack().unwrap();
    hub.runtime.advance(&hub.clock, secs(2));
    assert_eq!(end_of(&mut copies.completions[0].1), End::Acked);
    hub.next("c");
    assert_eq!(end_of(&mut copies.completions[1].1), End::DeadLettered(DeathReason::Expired));
    hub.settled();
}
