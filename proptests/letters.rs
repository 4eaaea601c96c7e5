//! Dead letters that move on, in topologies made at random, under the manual clock.
//!
//! A topology is refused exactly when a naive search finds a circle of queues that pass letters on by themselves, or one of queues that move them on at once, without a pause.
//! In the others, after every act: every ledger balances, every letter that was written is accounted for, every payload is in one place, and the history of
//! every letter has each death that was seen, in each queue.

use proptest::prelude::*;
use proptest::test_runner::Config;
use ringmill::clock::ManualClock;
use ringmill::sync::Mutex;
use ringmill::{
    Binding, BuildError, Consumer, DeadLetterConfig, DeadLetterOverflow, DeathReason, ExchangeConfig, Overflow, Payload, Producer,
    QueueConfig, QueueHandle, RetryPolicy, Runtime,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[derive(Debug, Clone, Copy)]
enum To {
    Nowhere,
    Queue(usize),
    /// Through the exchange, by the name of this queue; 4 is bound nowhere.
    Exchange(usize),
}

#[derive(Debug, Clone)]
struct Spec {
    capacity: u64,
    list: u32,
    list_drops: bool,
    overflow: Overflow,
    kept: Option<u64>,
    arrivals: Option<u64>,
    to: To,
}

fn spec(queues: usize) -> impl Strategy<Value = Spec> {
    let to = prop_oneof![1 => Just(To::Nowhere), 3 => (0..queues).prop_map(To::Queue), 2 => (0..=queues).prop_map(To::Exchange)];
    let overflow = prop_oneof![3 => Just(Overflow::Reject), 1 => Just(Overflow::DropOldest), 1 => Just(Overflow::DropNew)];
    let time = || proptest::option::weighted(0.3, 5u64..60);
    (1u64..5, 1u32..4, any::<bool>(), overflow, time(), time(), to).prop_map(
        |(capacity, list, list_drops, overflow, kept, arrivals, to)| Spec { capacity, list, list_drops, overflow, kept, arrivals, to },
    )
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Publish(usize, Option<u64>),
    Reject(usize),
    Ack(usize),
    Redrive(usize),
    TakeLetter(usize),
    Advance(u64),
}

fn act(queues: usize) -> impl Strategy<Value = Act> {
    let queue = move || 0..queues;
    prop_oneof![
        6 => (queue(), proptest::option::weighted(0.2, 1u64..20)).prop_map(|(queue, ttl)| Act::Publish(queue, ttl)),
        5 => queue().prop_map(Act::Reject),
        2 => queue().prop_map(Act::Ack),
        1 => queue().prop_map(Act::Redrive),
        1 => queue().prop_map(Act::TakeLetter),
        3 => (1u64..40).prop_map(Act::Advance),
    ]
}

fn world() -> impl Strategy<Value = (Vec<Spec>, Vec<Act>)> {
    (2usize..5).prop_flat_map(|queues| (proptest::collection::vec(spec(queues), queues), proptest::collection::vec(act(queues), 1..60)))
}

type Alive = Arc<Mutex<BTreeSet<u32>>>;

struct Numbered(u32, Alive);

impl Payload for Numbered {}

impl Drop for Numbered {
    fn drop(&mut self) {
        assert!(self.1.lock().remove(&self.0), "payload {} is dropped twice", self.0);
    }
}

fn target(spec: &Spec, queues: usize) -> Option<usize> {
    match spec.to {
        To::Queue(to) => Some(to),
        To::Exchange(to) => Some(to).filter(|to| *to < queues),
        To::Nowhere => None,
    }
}

/// Naively: from each queue along the ways, as many steps as there are queues.
fn must_be_refused(specs: &[Spec]) -> bool {
    let by_itself = |spec: &Spec| spec.overflow == Overflow::DropOldest || spec.arrivals.is_some();
    let at_once = |spec: &Spec| spec.kept.is_none() && spec.arrivals.is_none();
    circle(specs, by_itself) || circle(specs, at_once)
}

fn circle(specs: &[Spec], counts: impl Fn(&Spec) -> bool) -> bool {
    (0..specs.len()).any(|start| {
        let mut at = start;
        for _ in 0..specs.len() {
            if !counts(&specs[at]) {
                return false;
            }
            match target(&specs[at], specs.len()) {
                Some(next) if next == start => return true,
                Some(next) => at = next,
                None => return false,
            }
        }
        false
    })
}

struct Queues {
    clock: Arc<ManualClock>,
    runtime: Runtime,
    queues: Vec<(QueueHandle<Numbered>, Producer<Numbered>, Consumer<Numbered>)>,
    alive: Alive,
    next: u32,
    /// How often each payload was rejected in each queue.
    rejected: BTreeMap<(u32, String), u32>,
}

impl Queues {
    fn build(specs: &[Spec]) -> Result<Self, BuildError> {
        let clock = Arc::new(ManualClock::new());
        let mut builder = Runtime::builder().manual(Arc::clone(&clock));
        let mut handles = Vec::new();
        for (number, spec) in specs.iter().enumerate() {
            let mut letters = DeadLetterConfig::new().capacity(spec.list);
            if spec.list_drops {
                letters = letters.overflow(DeadLetterOverflow::DropOldest);
            }
            if let Some(kept) = spec.kept {
                letters = letters.retention(ms(kept));
            }
            letters = match spec.to {
                To::Nowhere => letters,
                To::Queue(to) => letters.queue(format!("q{to}")),
                To::Exchange(to) => letters.exchange("x").routing_key(format!("q{to}")),
            };
            let mut config = QueueConfig::new(format!("q{number}")).capacity(spec.capacity).overflow(spec.overflow).dead_letters(letters);
            if let Some(age) = spec.arrivals {
                config = config.retention(ms(age));
            }
            handles.push(builder.pull_queue::<Numbered>(config.visibility(ms(8)).retry(RetryPolicy::new().max_attempts(1))).unwrap());
        }
        let exchange = builder.exchange(ExchangeConfig::direct("x")).unwrap();
        exchange.rebind(handles.iter().map(|queue| Binding::new(queue.name(), queue))).unwrap();
        let runtime = builder.build()?;
        let queues = handles.into_iter().map(|queue| (queue.clone(), queue.producer().unwrap(), queue.consumer().unwrap())).collect();
        Ok(Queues { clock, runtime, queues, alive: Alive::default(), next: 0, rejected: BTreeMap::new() })
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Publish(queue, ttl) => {
                let number = self.next;
                self.next += 1;
                self.alive.lock().insert(number);
                let mut job = ringmill::Job::new(Numbered(number, Arc::clone(&self.alive)));
                if let Some(ttl) = ttl {
                    job = job.ttl(ms(ttl));
                }
                let _ = self.queues[queue].1.publish(job);
            }
            Act::Reject(queue) => {
                if let Ok(delivery) = self.queues[queue].2.try_recv() {
                    *self.rejected.entry((delivery.0, format!("q{queue}"))).or_default() += 1;
                    delivery.reject("no").unwrap();
                }
            }
            Act::Ack(queue) => {
                if let Ok(delivery) = self.queues[queue].2.try_recv() {
                    delivery.ack().unwrap();
                }
            }
            Act::Redrive(queue) => drop(self.queues[queue].0.dead_letters().redrive()),
            Act::TakeLetter(queue) => drop(self.queues[queue].0.dead_letters().take()),
            Act::Advance(by) => self.runtime.advance(&self.clock, ms(by)),
        }
    }

    fn adds_up(&self) {
        for (queue, _, consumer) in &self.queues {
            // somebody comes by, and drops what jobs left that the timer ended
            queue.pause();
            assert!(consumer.try_recv().is_err(), "a paused queue delivers");
            queue.resume();
        }
        let snapshot = self.runtime.snapshot();
        let mut somewhere = 0;
        for queue in &snapshot.queues {
            assert!(queue.ledger_balances(), "{queue:#?}");
            let gone = queue.letters_moved
                + queue.letters_redriven
                + queue.letters_purged
                + queue.letters_dropped_oldest
                + queue.letters_dropped_by_age;
            assert_eq!(queue.counts.dead_lettered, queue.dead_letters as u64 + gone, "{queue:#?}");
            somewhere += queue.held() + queue.dead_letters as u64;
        }
        assert_eq!(somewhere, self.alive.lock().len() as u64, "{snapshot:#?}");
        for (queue, ..) in &self.queues {
            queue.dead_letters().for_each(|letter| {
                let deaths = &letter.record().deaths;
                for ((number, queue), count) in &self.rejected {
                    if *number == letter.payload().0 {
                        let death = deaths.iter().find(|death| *death.queue == **queue && death.reason == DeathReason::Rejected);
                        assert_eq!(death.map(|death| death.count), Some(*count), "payload {number} in {queue}: {deaths:?}");
                    }
                }
                assert!(deaths.is_sorted_by(|one, other| one.last >= other.last), "the latest first: {deaths:?}");
                assert!(deaths.iter().all(|death| death.first <= death.last && death.count > 0));
            });
        }
    }
}

fn one(specs: &[Spec], acts: &[Act]) {
    let mut queues = match Queues::build(specs) {
        Ok(queues) => {
            assert!(!must_be_refused(specs), "built: {specs:?}");
            queues
        }
        Err(error) => {
            assert!(must_be_refused(specs), "{error}");
            return;
        }
    };
    for act in acts {
        queues.act(*act);
        queues.adds_up();
    }
    let Queues { runtime, queues, alive, .. } = queues;
    let mut report = runtime.shutdown(ringmill::ShutdownOptions::new(Duration::ZERO, Duration::ZERO));
    for (queue, producer, consumer) in queues {
        drop((report.take_undone(&queue), producer, consumer));
        while queue.dead_letters().take().is_some() {}
    }
    assert!(alive.lock().is_empty(), "lost: {alive:?}");
}

proptest! {
    #![proptest_config(Config { cases: 400, ..Config::default() })]

    #[test]
    fn letters_move_through_any_topology_and_nothing_is_lost((specs, acts) in world()) {
        one(&specs, &acts);
    }
}
