//! Publishers' breakers against a model that keeps all its answers.

use proptest::prelude::*;
use ringmill::clock::ManualClock;
use ringmill::{Consumer, Invalid, Payload, Producer, PublishBreaker, QueueConfig, QueueHandle, Refusal, Request, Runtime};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Clone)]
struct Load {
    valid: bool,
}

impl Payload for Load {
    fn validate(&self) -> Result<(), Invalid> {
        if self.valid { Ok(()) } else { Err(Invalid::new("it is not valid")) }
    }
}

impl Request for Load {
    type Answer = ();
}

#[derive(Debug, Clone)]
enum Act {
    /// By which of the handles, and how.
    Publish(usize, How),
    Invalid(usize),
    /// So many publish attempts of one handle at once.
    Insist(usize, usize),
    Ack,
    Pass(u64),
}

#[derive(Debug, Clone, Copy)]
enum How {
    Try,
    Batch,
    Later,
    Watched,
}

fn act() -> impl Strategy<Value = Act> {
    let how = prop_oneof![4 => Just(How::Try), 1 => Just(How::Batch), 1 => Just(How::Later), 1 => Just(How::Watched)];
    prop_oneof![
        6 => (0usize..2, how).prop_map(|(handle, how)| Act::Publish(handle, how)),
        1 => (0usize..2).prop_map(Act::Invalid),
        2 => (0usize..2, 1usize..6).prop_map(|(handle, times)| Act::Insist(handle, times)),
        2 => Just(Act::Ack),
        4 => (1u64..60).prop_map(Act::Pass),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Accepted,
    Full,
    Invalid,
    Open(u64),
}

/// What a handle was told so far, and when.
#[derive(Debug, Default)]
struct Told(Vec<(u64, Answer)>);

impl Told {
    /// When the breaker may be asked again, if it is not closed: found by going through all answers once more.
    fn until(&self, failures: usize, within: u64, open: u64) -> Option<u64> {
        let mut run: Vec<u64> = Vec::new();
        let mut until = None;
        for &(at, answer) in &self.0 {
            match answer {
                Answer::Accepted => (run.clear(), until = None).1,
                Answer::Full if until.is_some() => until = Some(at + open),
                Answer::Full => {
                    run.push(at);
                    let enough = run.len() >= failures && at - run[run.len() - failures] <= within;
                    if enough {
                        run.clear();
                        until = Some(at + open);
                    }
                }
                Answer::Invalid | Answer::Open(_) => {}
            }
        }
        until
    }
}

struct World {
    clock: Arc<ManualClock>,
    runtime: Runtime,
    queue: QueueHandle<Load>,
    producers: [Producer<Load>; 2],
    consumer: Consumer<Load>,
    told: [Told; 2],
    now: u64,
    depth: usize,
    capacity: usize,
    rule: (usize, u64, u64),
}

impl World {
    fn new(capacity: usize, rule: (usize, u64, u64)) -> Self {
        let ms = Duration::from_millis;
        let breaker = PublishBreaker::new().failures(rule.0 as u32).within(ms(rule.1)).open(ms(rule.2));
        let clock = Arc::new(ManualClock::new());
        let mut builder = Runtime::builder().manual(clock.clone());
        let queue = builder.pull_queue(QueueConfig::new("q").capacity(capacity as u64).publish_breaker(breaker)).unwrap();
        let runtime = builder.build().unwrap();
        let producers = [queue.producer().unwrap(), queue.producer().unwrap()];
        let consumer = queue.consumer().unwrap();
        World { clock, runtime, queue, producers, consumer, told: Default::default(), now: 0, depth: 0, capacity, rule }
    }

    fn publish(&mut self, handle: usize, how: How, valid: bool) -> Result<(), TestCaseError> {
        let (failures, within, open) = self.rule;
        let expected = match self.told[handle].until(failures, within, open) {
            Some(until) if self.now < until => Answer::Open(until - self.now),
            _ if !valid => Answer::Invalid,
            _ if self.depth < self.capacity => Answer::Accepted,
            _ => Answer::Full,
        };
        let (producer, load) = (&self.producers[handle], Load { valid });
        let result = match how {
            How::Try => producer.try_publish(load).map(|_| ()),
            How::Batch => producer.publish_batch(&mut [load].into_iter()).refused.map_or(Ok(()), Err),
            How::Later => producer.publish_after(load, Duration::from_millis(1)).map(|_| ()),
            How::Watched => producer.watched().publish(load).map(drop),
        };
        let answer = match result.as_ref().map_err(|error| error.refusal()) {
            Ok(()) => Answer::Accepted,
            Err(Refusal::Full { .. }) => Answer::Full,
            Err(Refusal::Invalid { .. }) => Answer::Invalid,
            Err(Refusal::BreakerOpen { retry_after }) => Answer::Open(retry_after.as_millis() as u64),
            Err(refusal) => return Err(TestCaseError::fail(format!("{refusal}"))),
        };
        prop_assert_eq!(answer, expected);
        self.told[handle].0.push((self.now, answer));
        self.depth += usize::from(answer == Answer::Accepted);
        Ok(())
    }

    fn act(&mut self, act: &Act) -> Result<(), TestCaseError> {
        match *act {
            Act::Publish(handle, how) => self.publish(handle, how, true)?,
            Act::Invalid(handle) => self.publish(handle, How::Try, false)?,
            Act::Insist(handle, times) => (0..times).try_for_each(|_| self.publish(handle, How::Try, true))?,
            Act::Ack => {
                if let Ok(delivery) = self.consumer.try_recv() {
                    delivery.ack().unwrap();
                    self.depth -= 1;
                }
            }
            Act::Pass(millis) => {
                self.runtime.advance(&self.clock, Duration::from_millis(millis));
                self.now += millis;
            }
        }
        let counts = self.queue.counts();
        let told =
            |wanted: fn(&Answer) -> bool| self.told.iter().flat_map(|told| &told.0).filter(|(_, answer)| wanted(answer)).count() as u64;
        prop_assert_eq!(counts.accepted, told(|answer| *answer == Answer::Accepted));
        prop_assert_eq!(counts.rejected_full, told(|answer| *answer == Answer::Full));
        prop_assert_eq!(counts.rejected_invalid, told(|answer| *answer == Answer::Invalid));
        prop_assert_eq!(counts.rejected_breaker, told(|answer| matches!(answer, Answer::Open(_))));
        prop_assert_eq!(self.queue.depth() as usize, self.depth);
        Ok(())
    }
}

proptest! {
    /// Two handles of one queue, each with its own breaker: every answer, the time it says, and every count.
    #[test]
    fn a_breaker_opens_and_closes_as_its_answers_say(
        capacity in 1usize..4,
        rule in (1usize..5, 1u64..120, 1u64..120),
        acts in prop::collection::vec(act(), 1..120),
    ) {
        let mut world = World::new(capacity, rule);
        for act in &acts {
            world.act(act)?;
        }
    }
}
