//! Whatever happens to jobs: the handle of each is told once, its record says the same, and the ledger counts it.

use proptest::prelude::*;
use ringmill::clock::ManualClock;
use ringmill::{
    Backoff, Binding, Completion, Consumer, DeadLetterConfig, Delivery, End, ExchangeConfig, ExchangePublisher, Job, JobError, JobId,
    Overflow, Payload, Producer, QueueConfig, QueueHandle, Request, RetryPolicy, Runtime, ShutdownOptions, Verdict,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Clone)]
struct Ask;

impl Payload for Ask {}

impl Request for Ask {
    type Answer = u64;
}

/// One thing that happens. Numbers choose among what is there.
#[derive(Debug, Clone, Copy)]
enum Act {
    Publish { ttl: bool, delayed: bool },
    Batch { jobs: usize },
    Permit,
    Route { one: bool },
    Receive,
    Settle { delivery: usize, how: u8 },
    Cancel { handle: usize },
    LetGo { handle: usize },
    Pass { millis: u64 },
    Purge,
    Redrive,
    TakeLetter,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (any::<bool>(), prop::bool::weighted(0.2)).prop_map(|(ttl, delayed)| Act::Publish { ttl, delayed }),
        2 => (1usize..4).prop_map(|jobs| Act::Batch { jobs }),
        1 => Just(Act::Permit),
        2 => any::<bool>().prop_map(|one| Act::Route { one }),
        6 => Just(Act::Receive),
        6 => (0usize..8, 0u8..7).prop_map(|(delivery, how)| Act::Settle { delivery, how }),
        2 => (0usize..8).prop_map(|handle| Act::Cancel { handle }),
        1 => (0usize..8).prop_map(|handle| Act::LetGo { handle }),
        3 => (1u64..30).prop_map(|millis| Act::Pass { millis }),
        1 => Just(Act::Purge),
        1 => Just(Act::Redrive),
        1 => Just(Act::TakeLetter),
    ]
}

/// What is known of a job.
#[derive(Debug, Default)]
struct Known {
    /// How many deliveries each of its lives has had: it has a second one when it is redriven.
    lives: Vec<u32>,
    /// What was answered, and counted, in its first life.
    answer: Option<u64>,
}

struct World {
    clock: Arc<ManualClock>,
    runtime: Option<Runtime>,
    queue: QueueHandle<Ask>,
    producer: Producer<Ask>,
    router: ExchangePublisher<Ask>,
    consumer: Consumer<Ask>,
    jobs: HashMap<JobId, Known>,
    handles: Vec<Completion<u64>>,
    deliveries: Vec<Delivery<Ask>>,
}

const SHORT: Duration = Duration::from_millis(10);

impl World {
    fn new(evicts: bool) -> Self {
        let clock = Arc::new(ManualClock::new());
        let mut builder = Runtime::builder().manual(Arc::clone(&clock));
        let retry = RetryPolicy::new().max_attempts(2).max_expiries(1).backoff(Backoff::fixed(Duration::ZERO));
        let config = QueueConfig::new("q")
            .capacity(4)
            .visibility(SHORT)
            .retry(retry)
            .dead_letters(DeadLetterConfig::new().capacity(2))
            .overflow(if evicts { Overflow::DropOldest } else { Overflow::Reject })
            .completed_records(10_000, Duration::MAX);
        let queue = builder.pull_queue(config).unwrap();
        let exchange = builder.exchange(ExchangeConfig::fanout("x")).unwrap();
        exchange.bind(Binding::all(&queue)).unwrap();
        let runtime = Some(builder.build().unwrap());
        let router = exchange.publisher();
        let (producer, consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
        World { clock, runtime, queue, producer, router, consumer, jobs: HashMap::new(), handles: Vec::new(), deliveries: Vec::new() }
    }

    fn publish(&mut self, ttl: bool, delayed: bool) {
        let job = Job::new(Ask);
        let job = if ttl { job.ttl(2 * SHORT) } else { job };
        let watched = self.producer.watched();
        let published = if delayed { watched.publish_after(job, SHORT / 2) } else { watched.publish(job) };
        self.keep(published.ok());
    }

    fn keep(&mut self, handles: impl IntoIterator<Item = Completion<u64>>) {
        for handle in handles {
            self.jobs.insert(handle.job_id(), Known { lives: vec![0], answer: None });
            self.handles.push(handle);
        }
    }

    fn batch(&mut self, jobs: usize) {
        let batch = self.producer.watched().publish_batch(&mut std::iter::repeat_n(Ask, jobs));
        assert!(batch.completions.len() == jobs || batch.refused.is_some());
        self.keep(batch.completions);
    }

    fn permit(&mut self) {
        let handle = self.producer.reserve(0, 1).ok().map(|mut permits| permits.publish_watched(Ask).unwrap());
        self.keep(handle);
    }

    fn route(&mut self, one: bool) {
        let mut watched = self.router.watched();
        let handles = match one {
            true => watched.publish_one("any", Ask).into_iter().collect(),
            false => watched
                .publish("any", Ask)
                .map_or_else(|_| Vec::new(), |copies| copies.completions.into_iter().map(|copy| copy.1).collect()),
        };
        self.keep(handles);
    }

    fn receive(&mut self) {
        if let Ok(delivery) = self.consumer.try_recv() {
            *self.jobs.get_mut(&delivery.job_id()).unwrap().lives.last_mut().unwrap() += 1;
            self.deliveries.push(delivery);
        }
    }

    fn settle(&mut self, at: usize, how: u8) {
        if self.deliveries.is_empty() {
            return;
        }
        let delivery = self.deliveries.swap_remove(at % self.deliveries.len());
        let known = self.jobs.get_mut(&delivery.job_id()).unwrap();
        let answer = delivery.fencing();
        match how {
            0 => drop(delivery.ack()),
            1 => {
                if delivery.complete(answer).is_ok() && known.lives.len() == 1 {
                    known.answer = Some(answer);
                }
            }
            2 => drop(delivery.retry("again")),
            3 => drop(delivery.snooze(Duration::from_millis(3))),
            4 => drop(delivery.reject(JobError::fatal("no"))),
            5 => drop(delivery.settle(Verdict::Discard)),
            _ => drop(delivery),
        }
    }

    fn redrive(&mut self) {
        let mut oldest = None;
        self.queue.dead_letters().for_each(|letter| oldest = oldest.or(Some(letter.job_id())));
        if self.queue.dead_letters().redrive() == Ok(true) {
            self.jobs.get_mut(&oldest.unwrap()).unwrap().lives.push(0);
        }
    }

    fn go(&mut self, act: Act) {
        match act {
            Act::Publish { ttl, delayed } => self.publish(ttl, delayed),
            Act::Batch { jobs } => self.batch(jobs),
            Act::Permit => self.permit(),
            Act::Route { one } => self.route(one),
            Act::Receive => self.receive(),
            Act::Settle { delivery, how } => self.settle(delivery, how),
            Act::Cancel { handle } if !self.handles.is_empty() => {
                let handle = &self.handles[handle % self.handles.len()];
                let over = handle.is_over();
                assert!(!(handle.cancel() && over), "nothing is left to cancel");
            }
            Act::LetGo { handle } if !self.handles.is_empty() => drop(self.handles.swap_remove(handle % self.handles.len())),
            Act::Cancel { .. } | Act::LetGo { .. } => {}
            Act::Pass { millis } => {
                if let Some(runtime) = &self.runtime {
                    runtime.advance(&self.clock, Duration::from_millis(millis));
                }
            }
            Act::Purge => drop(self.queue.purge()),
            Act::Redrive => self.redrive(),
            Act::TakeLetter => drop(self.queue.dead_letters().take()),
        }
    }

    /// Records, ledger and handles say the same. Takes the ends that have come.
    fn check(&mut self) {
        let records = self.queue.completed();
        let counts = self.queue.counts();
        let count = |is: fn(&End) -> bool| records.iter().filter(|record| is(&record.end)).count() as u64;
        assert_eq!(count(|end| *end == End::Acked), counts.acked);
        assert_eq!(count(|end| matches!(end, End::DeadLettered(_))), counts.dead_lettered);
        assert_eq!(count(|end| *end == End::Discarded), counts.dropped_discarded);
        assert_eq!(count(|end| *end == End::Cancelled), counts.dropped_cancelled);
        assert_eq!(count(|end| *end == End::Purged), counts.dropped_purged);
        assert_eq!(count(|end| *end == End::HandedBack), counts.handed_back);
        let mut lives: HashMap<JobId, Vec<(End, u32)>> = HashMap::new();
        records.iter().for_each(|record| lives.entry(record.job).or_default().push((record.end, record.attempts)));
        for (job, ends) in &lives {
            let known = &self.jobs[job];
            for (&(end, attempts), &deliveries) in ends.iter().zip(&known.lives) {
                // (one that was put off after the stop is not counted)
                let uncounted = u32::from(end == End::HandedBack && attempts + 1 == deliveries);
                assert_eq!(attempts + uncounted, deliveries, "{job}: {ends:?} {known:?}");
            }
            assert!(ends.len() <= known.lives.len(), "{job}: {ends:?} {known:?}");
            assert_eq!(self.queue.completed_job(*job).map(|record| record.end), ends.last().map(|(end, _)| *end));
        }
        let jobs = &self.jobs;
        self.handles.retain_mut(|handle| {
            let ends = lives.get(&handle.job_id());
            assert_eq!(handle.is_over(), ends.is_some(), "{handle:?} {ends:?}");
            let Some(outcome) = handle.try_take() else { return true };
            assert_eq!((outcome.job, outcome.end), (handle.job_id(), ends.unwrap()[0].0));
            assert_eq!(outcome.answer, jobs[&outcome.job].answer);
            assert!(handle.try_take().is_none() && !handle.cancel());
            false
        });
    }
}

proptest! {
    #[test]
    fn handles_records_and_ledger_say_the_same(
        acts in prop::collection::vec(act(), 1..120),
        evicts in any::<bool>(),
        late in prop::collection::vec((0usize..8, 0u8..7), 8),
    ) {
        let mut world = World::new(evicts);
        for act in acts {
            world.go(act);
            world.check();
        }
        // what is still in somebody's hands is settled after the shutdown
        drop(world.runtime.take().map(|runtime| runtime.shutdown(ShutdownOptions::new(Duration::ZERO, Duration::ZERO))));
        world.check();
        for (delivery, how) in late {
            world.settle(delivery, how);
            world.check();
        }
        world.deliveries.clear();
        world.check();
        // one that died meanwhile may be held
        drop(world.queue.reclaim());
        world.check();
        prop_assert!(world.handles.is_empty(), "never told: {:?}", world.handles);
        let counts = world.queue.counts();
        prop_assert_eq!(counts.accepted, counts.ended());
    }
}
