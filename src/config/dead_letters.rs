//! Where dead letters are kept, and where they go from there.

use super::{TICK, words};
use crate::error::ConfigError;
use crate::limits;
use crate::routing::RoutingKey;
use std::fmt;
use std::time::Duration;

/// What happens when the dead-letter queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DeadLetterOverflow {
    /// The job keeps its slot until there is room: the source queue back-pressures and nothing vanishes.
    ///
    /// It is held, and found [among the dead letters](crate::DeadLetterQueue) like the others, which count it [apart](crate::DeadLetterQueue::held). But it has not ended: whoever waits for its end
    /// waits on, its key is taken, and at shutdown it comes back [with the undone](crate::Origin::Held). It ends when it is taken out or redriven, or when there is room.
    #[default]
    Hold,
    /// The oldest dead letter is dropped and counted.
    DropOldest,
}

/// Where jobs go that will not be delivered again.
///
/// They go to the queue's own dead letters, a bounded list that is [looked at by hand](crate::DeadLetterQueue). There they stay; or, if it is said where to, they
/// move on: to another [`queue`](Self::queue) of the runtime, as jobs, or to where an [`exchange`](Self::exchange) leads them. They move on at once, or,
/// with a [`retention`](Self::retention), when they have been here for so long.
///
/// # Guarantees
/// - A letter is in one place at any time, and moves as a whole: a target that is full, closed or shutting down leaves it where it is, in its place. It
///   counts against the capacity of the list until it has gone; if that is full, the [`overflow`](Self::overflow) says what happens. So a full target
///   is felt at the source, and nothing vanishes, unless it says so.
/// - Its history goes with it, and comes back with it.
/// - Letters go oldest first, and one that finds its target full holds up those behind it. One that cannot be routed, or whose key another job has there, holds up nobody.
/// - Dead-lettering never goes in a circle by itself, nor from handler to handler without a pause: two queues that send their letters to each other need a [`retention`](Self::retention) of the letters, or
///   one of a queue [without a handler](crate::RuntimeBuilder::pull_queue) in which they wait. See [`RuntimeBuilder::build`](crate::RuntimeBuilder::build).
///
/// ```
/// use ringmill::clock::ManualClock;
/// use ringmill::{DeadLetterConfig, QueueConfig, Runtime};
/// use std::sync::Arc;
///
/// let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
/// let letters = DeadLetterConfig::new().queue("parked");
/// let work = builder.pull_queue::<&str>(QueueConfig::new("work").dead_letters(letters))?;
/// let parked = builder.pull_queue::<&str>(QueueConfig::new("parked"))?;
/// let runtime = builder.build()?;
///
/// work.producer()?.publish("bad")?;
/// work.consumer()?.try_recv()?.reject("it cannot be done")?;
/// assert!(work.dead_letters().is_empty()); // it has moved on
/// let consumer = parked.consumer()?;
/// consumer.try_recv()?.reject("nor here")?;
/// let deaths = parked.dead_letters().take().unwrap().record().deaths.clone();
/// assert_eq!(deaths.iter().map(|death| &*death.queue).collect::<Vec<_>>(), ["parked", "work"]);
/// let moved = runtime.snapshot().queue("work").unwrap().letters_moved;
/// assert_eq!((work.counts().dead_lettered, moved, parked.counts().accepted), (1, 1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterConfig {
    pub(crate) capacity: u32,
    pub(crate) overflow: DeadLetterOverflow,
    pub(crate) retention: Option<Duration>,
    pub(crate) exchange: Option<String>,
    pub(crate) routing_key: Option<String>,
    pub(crate) queue: Option<String>,
    pub(crate) keeps_routing_keys: bool,
}

impl DeadLetterConfig {
    /// 1 024 letters, kept for ever, [`DeadLetterOverflow::Hold`].
    pub fn new() -> Self {
        DeadLetterConfig {
            capacity: 1024,
            overflow: DeadLetterOverflow::Hold,
            retention: None,
            exchange: None,
            routing_key: None,
            queue: None,
            keeps_routing_keys: false,
        }
    }

    /// How many letters are kept: 1..=16777215; or 0, if they are dropped when they are too many
    /// ([`DropOldest`](DeadLetterOverflow::DropOldest)) and do not move on: held for want of room that never comes, a job would keep its slot until the shutdown.
    #[must_use]
    pub fn capacity(mut self, letters: u32) -> Self {
        self.capacity = letters;
        self
    }

    /// What happens when they are that many.
    #[must_use]
    pub fn overflow(mut self, overflow: DeadLetterOverflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// How long a letter is kept. Older ones move on, if it is said where to; if not, or if no binding wants them there, they are dropped and counted.
    ///
    /// That is done by whoever next looks for jobs in the queue, or by hand [at its letters](crate::DeadLetterQueue), before it finds any: no letter is counted, listed, taken or redriven
    /// that should be gone. Where nobody does, its memory is not freed. One that is to move on and cannot, because its target is full or closed, or has its key, is still a letter here and
    /// found as any other. Jobs that are [held](DeadLetterOverflow::Hold) age from when there is room for them.
    #[must_use]
    pub fn retention(mut self, age: Duration) -> Self {
        self.retention = Some(age);
        self
    }

    /// Letters move on to where this exchange, or its alternate, leads them: by [`routing_key`](Self::routing_key), or else by the key they came by (a job that was
    /// published to the queue itself came by the queue's name).
    ///
    /// A letter is moved, not copied: the exchange must lead it to one queue. One that it leads nowhere, or to several, or that came by a queue's name that is no routing key, stays among the dead letters and
    /// is counted as [unroutable](crate::QueueSnapshot::letters_unroutable); it is tried again when the bindings have changed.
    #[doc(alias = "dead_letter_exchange")]
    #[doc(alias = "x-dead-letter-exchange")]
    #[must_use]
    pub fn exchange(mut self, name: impl Into<String>) -> Self {
        self.exchange = Some(name.into());
        self
    }

    /// The routing key by which letters go through the [`exchange`](Self::exchange).
    #[doc(alias = "dead_letter_routing_key")]
    #[doc(alias = "x-dead-letter-routing-key")]
    #[must_use]
    pub fn routing_key(mut self, key: impl Into<String>) -> Self {
        self.routing_key = Some(key.into());
        self
    }

    /// Letters move on to this queue, whose payloads are of the same type: into the lane that they had, or its last if it has fewer.
    #[doc(alias = "dead_letter_target")]
    #[must_use]
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.queue = Some(name.into());
        self
    }

    /// Keeps the routing key that each job was published by, for its [record](crate::DeathRecord): 272 bytes per slot, reserved at once, and a copy of the key per
    /// publish. Kept in any case where letters go [through an exchange](Self::exchange) by the key they came by.
    ///
    /// ```
    /// use ringmill::{Binding, DeadLetterConfig, ExchangeConfig, QueueConfig, Runtime};
    ///
    /// let mut builder = Runtime::builder();
    /// let letters = DeadLetterConfig::new().keep_routing_keys();
    /// let words = builder.pull_queue::<&str>(QueueConfig::new("words").dead_letters(letters))?;
    /// let tasks = builder.exchange(ExchangeConfig::topic("tasks"))?;
    /// tasks.bind(Binding::new("#", &words))?;
    /// let runtime = builder.build()?;
    /// tasks.publisher().publish("greetings.en", "hello")?;
    /// words.consumer()?.recv()?.reject("no")?;
    /// assert_eq!(words.dead_letters().take().unwrap().routing_key(), Some("greetings.en"));
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn keep_routing_keys(mut self) -> Self {
        self.keeps_routing_keys = true;
        self
    }

    /// True when letters do not stay.
    pub(crate) fn moves_on(&self) -> bool {
        self.exchange.is_some() || self.queue.is_some()
    }

    /// True when they do not stay for any time.
    pub(crate) fn moves_on_at_once(&self) -> bool {
        self.moves_on() && self.retention.is_none()
    }

    /// True when the keys of jobs are to be remembered.
    pub(crate) fn needs_routing_keys(&self) -> bool {
        self.keeps_routing_keys || (self.exchange.is_some() && self.routing_key.is_none())
    }

    pub(super) fn faults(&self, scope: impl Fn() -> String) -> Vec<ConfigError> {
        let mut found = Vec::new();
        let mut refuse = |field: &str, value: &dyn fmt::Display, allowed: &dyn fmt::Display| {
            found.push(ConfigError::new(scope(), format!("dead_letters.{field}"), value, allowed));
        };
        let least = u32::from(self.overflow == DeadLetterOverflow::Hold || self.moves_on());
        if !(least..=limits::CAPACITY_MAX).contains(&self.capacity) {
            refuse("capacity", &self.capacity, &format_args!("{least}..={}", limits::CAPACITY_MAX));
        }
        if let Some(retention) = self.retention.filter(|retention| *retention < TICK) {
            refuse("retention", &format_args!("{retention:?}"), &words::between(TICK, Duration::MAX));
        }
        for (field, name) in [("exchange", &self.exchange), ("queue", &self.queue)] {
            if let Some(name) = name
                && !(1..=255).contains(&name.len())
            {
                refuse(field, &format_args!("{} bytes long", name.len()), &"1..=255 bytes");
            }
        }
        if let (Some(exchange), Some(queue)) = (&self.exchange, &self.queue) {
            refuse("queue", &format_args!("`{queue}`, beside the exchange `{exchange}`"), &"a queue or an exchange");
        }
        if let Some(key) = &self.routing_key {
            if self.exchange.is_none() {
                refuse("routing_key", &format_args!("`{key}`, without an exchange"), &"a routing key beside an exchange");
            }
            if let Err(error) = RoutingKey::new(key) {
                refuse("routing_key", &error.place_and_reason(), &"words without `*` and `#`");
            }
        }
        found
    }
}

impl Default for DeadLetterConfig {
    fn default() -> Self {
        Self::new()
    }
}
