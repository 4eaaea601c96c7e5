//! Counts, gauges and histograms, read at leisure.

use super::exchange::Exchange;
use crate::clock::Timestamp;
use crate::dead_letter::Bindings;
use crate::exchange::{ExchangeCounts, ExchangeKind};
use crate::histogram::HistogramSnapshot;
use crate::job::Payload;
use crate::ledger::Counts;
use crate::queue::{Phases, Pressure};
use crate::runtime::PoolSnapshot;
use crate::runtime::pool::Pool;
use crate::runtime::served::Served;
use std::sync::Arc;
use std::time::Duration;

/// What a runtime looks like now.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot {
    /// When it was taken, on the runtime's clock.
    pub at: Timestamp,
    /// The queues, in the order of their declaration.
    pub queues: Vec<QueueSnapshot>,
    /// The exchanges, in the order of their declaration.
    pub exchanges: Vec<ExchangeSnapshot>,
    /// The pools, by name.
    pub pools: Vec<PoolSnapshot>,
}

impl Snapshot {
    /// The queue of that name.
    pub fn queue(&self, name: &str) -> Option<&QueueSnapshot> {
        self.queues.iter().find(|queue| queue.name == name)
    }

    /// The exchange of that name.
    pub fn exchange(&self, name: &str) -> Option<&ExchangeSnapshot> {
        self.exchanges.iter().find(|exchange| exchange.name == name)
    }

    /// Wake-ups that a timeout had to make good, over all queues: 0, or a wake-up was lost.
    pub fn wake_rescued(&self) -> u64 {
        self.queues.iter().map(|queue| queue.counts.wake_rescued).sum()
    }
}

/// What a queue looks like now.
///
/// ```
/// use ringmill::{QueueConfig, Runtime};
///
/// let mut builder = Runtime::builder();
/// let words = builder.pull_queue::<&str>(QueueConfig::new("words").capacity(8).partitions(4))?;
/// let runtime = builder.build()?;
/// let (producer, consumer) = (words.producer()?, words.consumer()?);
/// for word in ["a", "b", "c"] {
///     producer.publish(ringmill::Job::new(word).partition_key("letters"))?;
/// }
/// consumer.recv()?.ack()?;
/// let snapshot = runtime.snapshot();
/// let seen = snapshot.queue("words").unwrap();
/// assert_eq!((seen.free, seen.held(), seen.lingering(), seen.dropped()), (6, 2, 0, 0));
/// assert_eq!(seen.partitions.unwrap().skew(), 4.0); // one of four partitions has them all
/// assert!(seen.ledger_balances());
/// assert_eq!(snapshot.wake_rescued(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct QueueSnapshot {
    /// The queue.
    pub name: String,
    /// Slots.
    pub capacity: u32,
    /// Free slots; exact while nothing is in motion.
    pub free: u32,
    /// The other slots, by what they are doing.
    pub phases: Phases,
    /// Everything that was counted since the start.
    pub counts: Counts,
    /// Dead letters. None has reached its age, but for those that are to move on then and have not yet. Jobs that are [held](crate::DeadLetterOverflow::Hold) for want of room
    /// among them come on top: they are counted by [`phases`](Phases::held).
    pub dead_letters: usize,
    /// Dead letters dropped to make room for others.
    pub letters_dropped_oldest: u64,
    /// Dead letters dropped because of their age.
    pub letters_dropped_by_age: u64,
    /// Dead letters taken out by hand.
    pub letters_purged: u64,
    /// Dead letters published again.
    pub letters_redriven: u64,
    /// Dead letters that moved on to another queue, see [`DeadLetterConfig`](crate::DeadLetterConfig). They were counted as dead-lettered here, and as accepted there.
    pub letters_moved: u64,
    /// Dead letters that no binding wanted, or several did, when they were to move on; each is counted once.
    pub letters_unroutable: u64,
    /// Publishers that wait for a slot.
    pub publishers_waiting: usize,
    /// Keys that are taken, see [`QueueConfig::dedupe`](crate::QueueConfig::dedupe).
    pub keys: usize,
    /// How the jobs with a partition key spread, if the queue has [partitions](crate::QueueConfig::partitions).
    pub partitions: Option<PartitionsSnapshot>,
    /// How full it is, with hysteresis.
    pub pressure: Pressure,
    /// True while nothing is started.
    pub paused: bool,
    /// The lanes, most urgent first.
    pub lanes: Vec<LaneSnapshot>,
}

/// How the jobs with a partition key spread over the partitions of a queue.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct PartitionsSnapshot {
    /// Partitions.
    pub partitions: usize,
    /// Jobs with a partition key that wait, run or are delayed.
    pub jobs: u32,
    /// Partitions that have such jobs.
    pub used: u32,
    /// Jobs of the partition that has most.
    pub fullest: u32,
    /// Partitions of which a job is claimed or running.
    pub busy: usize,
    /// Keys that wait for a retry of one of their jobs.
    pub blocked_keys: usize,
}

impl PartitionsSnapshot {
    /// How uneven the load is: how many times its even share the fullest partition has. 1 where every partition has the same, the number of partitions
    /// where one has all, and 0 while there is nothing to spread.
    ///
    /// With many keys of one job each it is small once there are many more jobs than partitions. What stays large is a key that has most of the jobs: only one worker
    /// at a time can help it.
    pub fn skew(&self) -> f64 {
        if self.jobs == 0 { 0.0 } else { f64::from(self.fullest) * self.partitions as f64 / f64::from(self.jobs) }
    }
}

/// What a lane has seen.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LaneSnapshot {
    /// The lane.
    pub name: String,
    /// How long the job has been eligible that has waited longest; `None` while none waits. What grows here is not worked off: the queue is paused, its workers are busy or
    /// stuck, or there is more urgent work.
    ///
    /// A delayed job does not count before it is due. One that comes back counts from then: from the end of its delay, of its lease, or of a delivery that is tried again at
    /// once. One that a worker has claimed and not started counts, for it waits still; so does one with a partition key while others of its key are before it. One
    /// that was cancelled, or has expired, does not.
    pub oldest_eligible: Option<Duration>,
    /// Deliveries started.
    pub started: u64,
    /// From eligible to the first start.
    pub wait: HistogramSnapshot,
    /// From one job boundary to the next: the handler's run and, before it, the settling of the job before; one clock reading a job. Pull queues do not fill it.
    pub run: HistogramSnapshot,
}

impl QueueSnapshot {
    /// Slots whose job has ended while a stale handler still reads it: occupied, but not by a live job.
    pub fn lingering(&self) -> u64 {
        self.counts.lingering_made.saturating_sub(self.counts.lingering_gone)
    }

    /// Jobs that were accepted and have not ended: waiting, running, delayed or held. While slots are reserved, those too.
    pub fn held(&self) -> u64 {
        u64::from(self.capacity - self.free).saturating_sub(self.lingering())
    }

    /// Jobs that were dropped, for whatever reason.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped()
    }

    /// The ledger: `accepted = acked + dead-lettered + dropped + handed back + held`. True at every moment at which nothing is in motion.
    pub fn ledger_balances(&self) -> bool {
        self.counts.accepted == self.counts.ended() + self.held()
    }
}

/// What an exchange looks like now.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ExchangeSnapshot {
    /// The exchange.
    pub name: String,
    /// How it reads binding keys.
    pub kind: ExchangeKind,
    /// How many bindings it has.
    pub bindings: usize,
    /// The exchange that takes what no binding wants.
    pub alternate: Option<String>,
    /// Everything that was counted since the start.
    pub counts: ExchangeCounts,
}

/// An exchange, whatever its payload.
pub(super) trait Watched: Send + Sync {
    fn name(&self) -> &str;
    fn snapshot(&self) -> ExchangeSnapshot;
    /// Its bindings.
    fn table(&self) -> Arc<dyn Bindings>;
    /// The name of its alternate.
    fn alternate(&self) -> Option<&str>;
}

/// The exchanges of a runtime.
pub(super) type Exchanges = Vec<Arc<dyn Watched>>;

impl<T: Payload> Watched for Exchange<T> {
    fn name(&self) -> &str {
        Exchange::name(self)
    }

    fn snapshot(&self) -> ExchangeSnapshot {
        let (_, table) = self.inner.current.load();
        ExchangeSnapshot {
            name: self.name().to_owned(),
            kind: self.kind(),
            bindings: table.bindings().len(),
            alternate: Watched::alternate(self).map(str::to_owned),
            counts: self.counts(),
        }
    }

    fn table(&self) -> Arc<dyn Bindings> {
        self.inner.current.load().1
    }

    fn alternate(&self) -> Option<&str> {
        Exchange::alternate(self).map(Exchange::name)
    }
}

pub(super) fn take(at: Timestamp, queues: &[Arc<dyn Served>], exchanges: &Exchanges, pools: &[Arc<Pool>]) -> Snapshot {
    Snapshot {
        at,
        queues: queues.iter().map(|queue| of_queue(&**queue, at)).collect(),
        exchanges: exchanges.iter().map(|exchange| exchange.snapshot()).collect(),
        pools: pools.iter().map(|pool| pool.snapshot()).collect(),
    }
}

pub(super) fn of_queue(queue: &dyn Served, now: Timestamp) -> QueueSnapshot {
    queue.drop_aged_letters(now);
    let (gauges, totals) = (queue.gauges(), queue.totals());
    let lanes = queue.lane_names().iter().cloned().zip(totals.lanes).zip(queue.oldest_eligible(now));
    let lanes = lanes.map(|((name, lane), oldest_eligible)| LaneSnapshot {
        name,
        oldest_eligible,
        started: lane.started,
        wait: lane.wait,
        run: lane.run,
    });
    QueueSnapshot {
        name: queue.name().to_owned(),
        capacity: gauges.capacity,
        free: gauges.free,
        phases: gauges.phases,
        counts: totals.counts,
        dead_letters: gauges.dead_letters,
        letters_dropped_oldest: gauges.letters_dropped_oldest,
        letters_dropped_by_age: gauges.letters_dropped_by_age,
        letters_purged: gauges.letters_purged,
        letters_redriven: gauges.letters_redriven,
        letters_moved: gauges.letters_moved,
        letters_unroutable: gauges.letters_unroutable,
        publishers_waiting: gauges.publishers_waiting,
        keys: gauges.keys,
        partitions: gauges.partitions.map(|spread| PartitionsSnapshot {
            partitions: spread.partitions,
            jobs: spread.skew.jobs,
            used: spread.skew.used,
            fullest: spread.skew.fullest,
            busy: spread.busy,
            blocked_keys: spread.blocked_keys,
        }),
        pressure: queue.pressure(),
        paused: queue.is_paused(),
        lanes: lanes.collect(),
    }
}
