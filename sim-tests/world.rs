//! What the simulated service works on: payloads that are counted, and handlers that do as their payload says.

use ringmill::rng::Rng;
use ringmill::sim;
use ringmill::{Context, Job, JobError, JobId, Payload, Producer, Refusal, Verdict};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The handlers' side of a run.
#[derive(Default)]
pub struct World {
    /// Payloads that live.
    pub alive: AtomicI64,
    /// The number of the last payload.
    pub last: AtomicU32,
    /// What handlers have seen, in the order of their calls.
    pub seen: Mutex<VecDeque<Seen>>,
    /// The numbers of the payloads that were made for another period.
    pub made: Mutex<Vec<u32>>,
    /// Where handlers publish to.
    pub outlet: Mutex<Option<Producer<Load>>>,
}

/// What a handler has seen of its delivery.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `None` in the publisher's thread.
    pub job: Option<JobId>,
    pub load: u32,
    pub lane: usize,
    pub attempt: u32,
    pub failures: u32,
    pub expiries: u32,
    /// What it decided.
    pub how: How,
    /// The payload of the follow-up that it left.
    pub next: Option<u32>,
    /// What it has published.
    pub sent: Option<Sent>,
}

/// A publish of a handler.
#[derive(Debug, Clone)]
pub struct Sent {
    pub load: u32,
    pub lane: usize,
    pub result: Result<JobId, Refusal>,
}

fn send(world: &Arc<World>, plan: u64) -> Option<Sent> {
    let load = Load::new(plan, world);
    let (number, lane) = (load.number, (plan & 1) as usize);
    let result = world.outlet.lock().unwrap().as_ref()?.publish(Job::new(load).lane(lane));
    Some(Sent { load: number, lane, result: result.map_err(|error| error.refusal().clone()) })
}

/// A numbered payload; `plan` says what its handler does, delivery by delivery.
pub struct Load {
    pub number: u32,
    plan: u64,
    world: Arc<World>,
}

impl Payload for Load {}

impl Load {
    pub fn new(plan: u64, world: &Arc<World>) -> Self {
        world.alive.fetch_add(1, Relaxed);
        Load { number: world.last.fetch_add(1, Relaxed) + 1, plan, world: Arc::clone(world) }
    }
}

/// A copy has the same number.
impl Clone for Load {
    fn clone(&self) -> Self {
        self.world.alive.fetch_add(1, Relaxed);
        Load { number: self.number, plan: self.plan, world: Arc::clone(&self.world) }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.world.alive.fetch_sub(1, Relaxed);
    }
}

/// How a delivery ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Ack,
    Retry,
    RetryAfter(u64),
    Snooze(u64),
    Reject,
    Discard,
    /// By hand: dropped unsettled. In a handler: a panic.
    Break,
    /// Acked, with a follow-up in the same slot. Handlers only.
    Chain,
}

impl How {
    pub fn random(rng: &mut Rng) -> Self {
        match rng.up_to(19) {
            0..=7 => How::Ack,
            8..=10 => How::Retry,
            11 => How::RetryAfter(rng.up_to(25)),
            12 | 13 => How::Snooze(rng.up_to(20)),
            14 | 15 => How::Reject,
            16 => How::Discard,
            17 | 18 => How::Break,
            _ => How::Chain,
        }
    }
}

/// The panic of a handler that was told to.
pub const SIMULATED: &str = "simulated";

/// The handler of every push queue.
pub fn handle(load: &Load, context: &Context<Load>) -> Verdict {
    let attempt = context.attempt();
    let mut rng = Rng::new(load.plan ^ u64::from(attempt).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut how = How::random(&mut rng);
    if how == How::Chain && (context.expiries() > 0 || context.job_id().is_none()) {
        // beside a stale reader, or in the publisher's thread, the follow-up needs a slot of its own, later: the behaviour tests have that
        how = How::Ack;
    }
    match rng.up_to(9) {
        0..=4 => {}
        5..=7 => sim::takes(ms(1 + rng.up_to(12))),
        8 => sim::takes(ms(rng.up_to(60))),
        _ => sim::takes(if rng.up_to(7) == 0 { Duration::MAX } else { ms(200) }),
    }
    let sent = if rng.up_to(5) == 0 { send(&load.world, rng.next_u64()) } else { None };
    let next = (how == How::Chain).then(|| Load::new(rng.next_u64(), &load.world));
    load.world.seen.lock().unwrap().push_back(Seen {
        job: context.job_id(),
        load: load.number,
        lane: context.lane(),
        attempt,
        failures: context.failures(),
        expiries: context.expiries(),
        how,
        next: next.as_ref().map(|next| next.number),
        sent,
    });
    match how {
        How::Ack => Verdict::Ack,
        How::Retry => Verdict::Retry(JobError::transient("no")),
        How::RetryAfter(delay) => Verdict::RetryAfter(JobError::transient("no"), ms(delay)),
        How::Snooze(delay) => Verdict::Snooze(ms(delay)),
        How::Reject => Verdict::Reject(JobError::fatal("never")),
        How::Discard => Verdict::Discard,
        How::Break => panic!("{SIMULATED}"),
        How::Chain => context.complete_with(next.expect("made above")),
    }
}
