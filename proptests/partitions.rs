//! A queue with partitions on the manual clock, against a list per key.

use proptest::prelude::*;
use ringmill::clock::ManualClock;
use ringmill::{
    Backoff, Delivery, Job, JobError, JobId, LaneConfig, OrderPolicy, QueueConfig, RetryPolicy, Runtime, ShutdownOptions, Verdict,
};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

const RETRY: Duration = Duration::from_secs(10);
const LATER: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy)]
enum Step {
    /// To this key, in this lane; key 0 is none.
    Publish(u8, usize),
    Later(u8),
    Receive,
    /// The delivery that has been held for longest ends so.
    Settle(End),
    /// The newest waiting job of this key is cancelled.
    Cancel(u8),
    /// So many seconds go by.
    Pass(u64),
    Purge,
    Redrive,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Ack,
    Retry,
    Reject,
    Discard,
    /// Acked, with a follow-up of the same key.
    Chain,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u8..5, 0usize..2).prop_map(|(key, lane)| Step::Publish(key, lane)),
        1 => (1u8..5).prop_map(Step::Later),
        8 => Just(Step::Receive),
        4 => Just(Step::Settle(End::Ack)),
        3 => Just(Step::Settle(End::Retry)),
        1 => Just(Step::Settle(End::Reject)),
        1 => Just(Step::Settle(End::Discard)),
        1 => Just(Step::Settle(End::Chain)),
        1 => (1u8..5).prop_map(Step::Cancel),
        2 => (1u64..12).prop_map(Step::Pass),
        1 => Just(Step::Purge),
        1 => Just(Step::Redrive),
    ]
}

/// Number and key of a job.
type Payload = (u32, u8);

/// What is known of one key.
#[derive(Debug, Default)]
struct Line {
    /// In order; those that came due in one step come in any.
    waiting: VecDeque<Vec<u32>>,
    running: Option<u32>,
    /// Delayed, and until when: for a retry, and since the publish.
    retrying: Vec<(u32, Duration)>,
    later: Vec<(u32, Duration)>,
}

#[derive(Debug)]
struct Model {
    /// A retry keeps its key waiting.
    blocks: bool,
    now: Duration,
    lines: HashMap<u8, Line>,
}

impl Model {
    fn line(&mut self, key: u8) -> &mut Line {
        self.lines.entry(key).or_default()
    }

    fn wait(&mut self, (number, key): Payload) {
        if key != 0 {
            self.line(key).waiting.push_back(vec![number]);
        }
    }

    /// Time goes by: what is due takes its place, unless it has kept it.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        for line in self.lines.values_mut() {
            let mut due = Vec::new();
            let mut come = |list: &mut Vec<(u32, Duration)>| {
                due.extend(list.iter().filter(|(_, at)| *at <= self.now).map(|(number, _)| *number));
                list.retain(|(_, at)| *at > self.now);
            };
            come(&mut line.later);
            if !self.blocks {
                come(&mut line.retrying);
            }
            if !due.is_empty() {
                line.waiting.push_back(due);
            }
        }
    }

    /// The job is delivered: says what is wrong with that.
    fn deliver(&mut self, (number, key): Payload) -> Result<(), TestCaseError> {
        if key == 0 {
            return Ok(());
        }
        let (blocks, now) = (self.blocks, self.now);
        let line = self.line(key);
        prop_assert_eq!(line.running, None, "{} beside it", number);
        match line.retrying.first() {
            Some(&(retried, due)) if blocks => {
                prop_assert!(retried == number && due <= now, "{} before {}, which is due at {:?}", number, retried, due);
                line.retrying.clear();
            }
            _ => {
                let first = line.waiting.front_mut();
                let Some(group) = first.filter(|group| group.contains(&number)) else {
                    return Err(TestCaseError::fail(format!("{number} is not the first of {:?}", line.waiting)));
                };
                group.retain(|&waiting| waiting != number);
                line.waiting.retain(|group| !group.is_empty());
            }
        }
        line.running = Some(number);
        Ok(())
    }

    /// The keys of which a job can be taken.
    fn ready_keys(&self) -> usize {
        let ready = |line: &&Line| match line.retrying.first() {
            Some((_, due)) if self.blocks => *due <= self.now,
            _ => !line.waiting.is_empty(),
        };
        self.lines.values().filter(|line| line.running.is_none()).filter(ready).count()
    }

    /// The newest waiting job of the key goes, if it has an order of its own.
    fn newest(&mut self, key: u8) -> Option<u32> {
        match self.line(key).waiting.back()?[..] {
            [newest] => Some(newest),
            _ => None,
        }
    }

    fn purge(&mut self) {
        for line in self.lines.values_mut() {
            line.waiting.clear();
            if self.blocks {
                line.retrying.retain(|&(_, due)| due > self.now);
            }
        }
    }
}

fn keyed(payload: Payload) -> Job<Payload> {
    if payload.1 == 0 { Job::new(payload) } else { Job::new(payload).partition_key([payload.1]) }
}

/// Settles a delivery, and says so to the model. `number` is for a follow-up.
fn settle(model: &mut Model, delivery: Delivery<Payload>, end: End, number: u32) -> Result<(), TestCaseError> {
    let ((job, key), last) = (*delivery, delivery.failures() == 2);
    let settled = match end {
        End::Ack => delivery.ack(),
        End::Retry => delivery.retry(JobError::transient("again")),
        End::Reject => delivery.reject(JobError::fatal("no")),
        End::Discard => delivery.settle(Verdict::Discard),
        End::Chain => delivery.complete_with(keyed((number, key))).map_err(|(stale, _)| stale),
    };
    if key == 0 {
        return Ok(());
    }
    prop_assert!(settled.is_ok(), "a lease of a job with a key is not revoked");
    let due = model.now + RETRY;
    prop_assert_eq!(model.line(key).running.take(), Some(job));
    match end {
        End::Retry if !last => model.line(key).retrying.push((job, due)),
        End::Chain => model.wait((number, key)),
        _ => {}
    }
    Ok(())
}

fn check(steps: Vec<Step>, partitions: u32, policy: OrderPolicy) -> Result<(), TestCaseError> {
    let clock = Arc::new(ManualClock::new());
    let mut builder = Runtime::builder().manual(Arc::clone(&clock));
    let config = QueueConfig::new("q")
        .capacity(24)
        .lanes([LaneConfig::new("high").weight(2), LaneConfig::new("low")])
        .partitions(partitions)
        .order(policy)
        .visibility(Duration::from_secs(5))
        .retry(RetryPolicy::new().max_attempts(3).backoff(Backoff::fixed(RETRY)));
    let queue = builder.pull_queue::<Payload>(config).unwrap();
    let runtime = builder.build().unwrap();
    let (producer, consumers) = (queue.producer().unwrap(), [queue.consumer().unwrap(), queue.consumer().unwrap()]);
    let mut model = Model { blocks: policy == OrderPolicy::BlockKey, now: Duration::ZERO, lines: HashMap::new() };
    let mut held: VecDeque<Delivery<Payload>> = VecDeque::new();
    let mut ids: HashMap<u32, JobId> = HashMap::new();
    for (step, number) in steps.into_iter().zip(1..) {
        match step {
            Step::Publish(key, lane) => {
                if let Ok(id) = producer.publish(keyed((number, key)).lane(lane)) {
                    ids.insert(number, id);
                    model.wait((number, key));
                }
            }
            Step::Later(key) => {
                if let Ok(id) = producer.publish_after(keyed((number, key)), LATER) {
                    ids.insert(number, id);
                    let due = model.now + LATER;
                    model.line(key).later.push((number, due));
                }
            }
            Step::Receive => {
                if let Ok(delivery) = consumers[number as usize % 2].try_recv() {
                    model.deliver(*delivery)?;
                    held.push_back(delivery);
                }
            }
            Step::Settle(end) => {
                if let Some(delivery) = held.pop_front() {
                    settle(&mut model, delivery, end, number)?;
                }
            }
            Step::Cancel(key) => {
                if let Some(newest) = model.newest(key)
                    && let Some(&id) = ids.get(&newest)
                {
                    prop_assert!(queue.cancel(id));
                    model.line(key).waiting.pop_back();
                }
            }
            Step::Pass(seconds) => {
                // two ticks more, so that nothing is due just now
                let time = Duration::from_secs(seconds) + Duration::from_millis(2);
                runtime.advance(&clock, time);
                model.pass(time);
            }
            Step::Purge => {
                queue.purge();
                model.purge();
            }
            Step::Redrive => {
                let oldest = queue.dead_letters().list(1).first().map(|letter| *letter.payload());
                if queue.dead_letters().redrive() == Ok(true) {
                    model.wait(oldest.expect("one was redriven"));
                }
            }
        }
        let seen = queue.snapshot();
        prop_assert!(seen.ledger_balances(), "{:?}", seen);
        if model.blocks {
            let blocked = model.lines.values().filter(|line| !line.retrying.is_empty()).count();
            prop_assert!(seen.partitions.unwrap().blocked_keys >= blocked);
        }
    }
    for delivery in held {
        settle(&mut model, delivery, End::Ack, 0)?;
    }
    // what can be taken is found; then what is delayed comes, and is found as well
    for _ in 0..4 {
        while let Some(delivery) = consumers.iter().find_map(|consumer| consumer.try_recv().ok()) {
            model.deliver(*delivery)?;
            settle(&mut model, delivery, End::Ack, 0)?;
        }
        prop_assert_eq!(model.ready_keys(), 0, "{:?}", model);
        runtime.advance(&clock, RETRY + Duration::from_millis(2));
        model.pass(RETRY + Duration::from_millis(2));
    }
    let seen = queue.snapshot();
    prop_assert!(seen.ledger_balances());
    prop_assert_eq!((seen.held(), seen.partitions.unwrap().busy, seen.partitions.unwrap().blocked_keys), (0, 0, 0), "{:?}", seen);
    prop_assert!(runtime.shutdown(ShutdownOptions::default()).is_clean());
    Ok(())
}

proptest! {
    #[test]
    fn each_key_is_a_line_of_its_own(
        steps in prop::collection::vec(step(), 1..200),
        bits in 0u32..8,
        skips in any::<bool>(),
    ) {
        check(steps, 1 << bits, if skips { OrderPolicy::Skip } else { OrderPolicy::BlockKey })?;
    }
}
