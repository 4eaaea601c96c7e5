//! Who does what in a life: producers, handlers, consumers, the operator. Each has its own dice.

use crate::oracle::{End, Oracle, Parcel, Reading, Tally, Trace, chance, roll};
use ringmill::rng::Rng;
use ringmill::sync::Mutex;
use ringmill::{
    Consumer, Context, Delivery, Job, JobError, JobId, Producer, PublishError, QueueHandle, RecvError, Runtime, ShutdownOptions,
    ShutdownReport, Verdict,
};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed},
};
use std::time::{Duration, Instant};

/// What the soak's own panics say.
pub const CHAOS: &str = "chaos";

/// What the actors of a life share.
pub struct Stage {
    pub oracle: &'static Oracle,
    pub lanes: usize,
    pub visibility: Duration,
    /// Many jobs in large queues, instead of few in small ones.
    pub flood: bool,
    /// The life winds down: no new jobs, no pauses.
    pub winding_down: AtomicBool,
    /// A job id lately published, for the operator to cancel.
    pub recent: Mutex<Option<JobId>>,
    /// For publishing from handlers.
    pub producer: Mutex<Option<Producer<Parcel>>>,
    /// A handler takes it and shuts it down.
    pub runtime: Mutex<Option<Runtime>>,
    pub report: Mutex<Option<ShutdownReport>>,
    /// Deliveries that are never settled while the runtime lives.
    pub forgotten: Mutex<Vec<Delivery<Parcel>>>,
    seeds: AtomicU64,
    seed: u64,
}

thread_local! {
    static DICE: RefCell<Option<Rng>> = const { RefCell::new(None) };
}

impl Stage {
    pub fn new(oracle: &'static Oracle, lanes: usize, visibility: Duration, flood: bool, seed: u64) -> Arc<Self> {
        Arc::new(Stage {
            oracle,
            lanes,
            visibility,
            flood,
            winding_down: AtomicBool::new(false),
            recent: Mutex::new(None),
            producer: Mutex::new(None),
            runtime: Mutex::new(None),
            report: Mutex::new(None),
            forgotten: Mutex::new(Vec::new()),
            seeds: AtomicU64::new(0),
            seed,
        })
    }

    /// Dice for one more actor.
    pub fn dice(&self) -> Rng {
        let mut rng = Rng::new(self.seed ^ self.seeds.fetch_add(1, Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        chaos_hook(rng.next_u64());
        rng
    }

    /// The dice of the current thread, a worker's: made at its first delivery.
    fn with_dice<R>(&self, roll: impl FnOnce(&mut Rng) -> R) -> R {
        let mut rng = DICE.with(|dice| dice.borrow_mut().take()).unwrap_or_else(|| self.dice());
        let result = roll(&mut rng);
        DICE.with(|dice| *dice.borrow_mut() = Some(rng));
        result
    }

    fn job(&self, parcel: Parcel, rng: &mut Rng) -> Job<Parcel> {
        let mut job = Job::new(parcel).lane(roll(rng, self.lanes as u64 - 1) as usize);
        if chance(rng, 20) {
            job = job.ttl(Duration::from_micros(roll(rng, 4_000)));
        }
        if chance(rng, 10) {
            job = job.visibility(self.visibility * 2);
        }
        job
    }

    fn refused(&self, error: PublishError<Parcel>) -> bool {
        let closed = error.is_closed();
        if closed {
            self.oracle.tally(Tally::RefusedClosed);
        }
        error.into_inner().end(End::Refused);
        closed
    }

    fn accepted(&self, id: JobId) {
        if id.get().is_multiple_of(64) {
            *self.recent.lock() = Some(id);
        }
    }
}

/// Publishes in every way there is until the jobs run out, the life winds down, or the queue is closed.
pub fn produce(stage: &Arc<Stage>, producer: &Producer<Parcel>) {
    let mut rng = stage.dice();
    while !stage.winding_down.load(Relaxed) {
        let most = if stage.flood { 999 } else { 99 };
        let closed = match roll(&mut rng, most) {
            0..40 => one(stage, &mut rng, |job, _| producer.try_publish(job)),
            40..60 => one(stage, &mut rng, |job, _| producer.publish(job)),
            60..70 => one(stage, &mut rng, |job, rng| producer.publish_timeout(job, Duration::from_micros(roll(rng, 5_000)))),
            70..80 => one(stage, &mut rng, |job, rng| producer.publish_after(job, Duration::from_micros(roll(rng, 5_000)))),
            80..85 => reserved(stage, producer, &mut rng),
            85..100 => batch(stage, producer, 100, &mut rng),
            _ => batch(stage, producer, 1_000, &mut rng),
        };
        match closed {
            None | Some(true) => return,
            Some(false) if chance(&mut rng, if stage.flood { 2 } else { 20 }) => {
                std::thread::sleep(Duration::from_micros(roll(&mut rng, 500)))
            }
            Some(false) => {}
        }
    }
}

type Published = Result<JobId, PublishError<Parcel>>;

/// `None`: no more jobs. `Some(true)`: the queue is closed.
fn one(stage: &Stage, rng: &mut Rng, publish: impl FnOnce(Job<Parcel>, &mut Rng) -> Published) -> Option<bool> {
    let job = stage.job(stage.oracle.make()?, rng);
    Some(match publish(job, rng) {
        Ok(id) => {
            stage.accepted(id);
            false
        }
        Err(error) => stage.refused(error),
    })
}

fn reserved(stage: &Stage, producer: &Producer<Parcel>, rng: &mut Rng) -> Option<bool> {
    let count = 1 + roll(rng, 7) as usize;
    let lane = roll(rng, stage.lanes as u64 - 1) as usize;
    let Ok(mut permits) = producer.reserve(lane, count) else { return Some(false) };
    let used = roll(rng, count as u64);
    for _ in 0..used {
        if let Err(error) = permits.publish(stage.oracle.make()?) {
            let full = error.is_full();
            if full {
                stage.oracle.violation(format_args!("a permit found the queue full"));
            }
            if stage.refused(error) {
                return Some(true);
            }
        }
    }
    Some(false)
}

fn batch(stage: &Stage, producer: &Producer<Parcel>, most: u64, rng: &mut Rng) -> Option<bool> {
    let numbers = stage.oracle.numbers(1 + roll(rng, most - 1) as usize);
    let mut jobs = numbers.map(|parcel| stage.job(parcel, rng)).peekable();
    jobs.peek()?;
    // what the queue has no room for comes when it has
    while jobs.peek().is_some() && !stage.winding_down.load(Relaxed) {
        let batch = producer.publish_batch(&mut jobs);
        if let Some(error) = batch.refused {
            if stage.refused(error) {
                jobs.for_each(|job| job.into_payload().end(End::Refused));
                return Some(true);
            }
            std::thread::yield_now();
        }
    }
    jobs.for_each(|job| job.into_payload().end(End::Refused));
    Some(false)
}

/// The handler of the push queue.
pub fn handle(stage: &Arc<Stage>, parcel: &Parcel, context: &Context<Parcel>) -> Verdict {
    let reading = parcel.enter(context.fencing(), || context.is_current());
    let verdict = stage.with_dice(|rng| decide(stage, &reading, context, rng));
    if !(reading.check_current(|| context.is_current()) && matches!(verdict, Verdict::Ack)) {
        reading.unfinished();
    }
    drop(reading);
    // outside of the dice: a panic would keep them
    if matches!(&verdict, Verdict::Reject(error) if error.reason() == CHAOS) {
        std::panic::panic_any(CHAOS);
    }
    verdict
}

fn decide(stage: &Stage, reading: &Reading<'_>, context: &Context<Parcel>, rng: &mut Rng) -> Verdict {
    match roll(rng, 9_999) {
        0..200 => return Verdict::Reject(JobError::fatal(CHAOS)),
        200..500 => return Verdict::Retry(JobError::transient("try again")),
        500..600 => return Verdict::Snooze(Duration::from_micros(roll(rng, 3_000))),
        600..650 => return Verdict::Reject(JobError::fatal("never")),
        650..700 => return Verdict::Discard,
        700..750 => return Verdict::RetryAfter(JobError::transient("soon"), Duration::ZERO),
        750..760 => std::thread::sleep(stage.visibility * (2 + roll(rng, 2) as u32)),
        760..860 if context.job_id().is_some() && context.extend(stage.visibility).is_ok() => reading.extended(context.fencing()),
        860..1_060 => {
            if let Some(parcel) = stage.oracle.make() {
                return context.complete_with(stage.job(parcel, rng));
            }
        }
        1_060..1_110 => publish_inside(stage, rng),
        1_110..1_130 => std::thread::sleep(Duration::from_micros(roll(rng, 300))),
        1_130..1_131 => shut_down_inside(stage),
        _ => {}
    }
    Verdict::Ack
}

fn publish_inside(stage: &Stage, rng: &mut Rng) {
    let producer = stage.producer.lock();
    let Some(producer) = &*producer else { return };
    // waits for nobody in a handler: `WouldDeadlock`
    one(stage, rng, |job, _| producer.publish_timeout(job, Duration::from_secs(3600)));
}

/// Only in lives that leave their runtime to the handlers.
fn shut_down_inside(stage: &Stage) {
    let runtime = stage.runtime.lock().take();
    if let Some(runtime) = runtime {
        let report = runtime.shutdown(ShutdownOptions::default());
        *stage.report.lock() = Some(report);
    }
}

/// Receives until the queue is closed; holds some deliveries past their lease, and some past the shutdown.
pub fn consume(stage: &Arc<Stage>, consumer: &Consumer<Parcel>) {
    let mut rng = stage.dice();
    let mut kept: Vec<(Instant, Delivery<Parcel>)> = Vec::new();
    let mut now = Instant::now();
    for turn in 0u64.. {
        let received = match roll(&mut rng, 3) {
            0 => consumer.try_recv(),
            1 => consumer.recv_timeout(Duration::from_micros(roll(&mut rng, 2_000))),
            _ => consumer.recv_timeout(Duration::from_millis(20)),
        };
        match received {
            Ok(delivery) if chance(&mut rng, if stage.flood { 2 } else { 5 }) => {
                kept.push((now + stage.visibility * roll(&mut rng, 3) as u32, delivery));
            }
            Ok(delivery) => finish(stage, delivery, &mut rng),
            Err(RecvError::Closed) => break,
            Err(_) => std::thread::yield_now(),
        }
        if turn.is_multiple_of(16) || !stage.flood {
            now = Instant::now();
        }
        while let Some(at) = kept.iter().position(|(until, _)| *until <= now) {
            finish(stage, kept.swap_remove(at).1, &mut rng);
        }
    }
    for (_, delivery) in kept {
        std::thread::sleep(Duration::from_micros(roll(&mut rng, 1_000)));
        finish(stage, delivery, &mut rng);
    }
}

fn finish(stage: &Stage, mut delivery: Delivery<Parcel>, rng: &mut Rng) {
    let fencing = delivery.fencing();
    let reading = delivery.payload().enter(fencing, || delivery.is_current());
    if !stage.flood && chance(rng, 1) {
        std::thread::sleep(stage.visibility * 3);
    }
    reading.check_current(|| delivery.is_current());
    let trace = reading.leave();
    if chance(rng, 10) && delivery.extend(stage.visibility).is_ok() && delivery.fencing() <= fencing {
        stage.oracle.violation(format_args!("an extension did not move the fencing number on"));
    }
    match roll(rng, 999) {
        way @ 0..61 => unfinished(stage, delivery, &trace, way, rng),
        61..81 => chain(stage, delivery, &trace, rng),
        _ => acked(&trace, delivery.ack().is_ok()),
    }
}

/// Ends a delivery otherwise than with an ack. That it was too late for that changes nothing here.
fn unfinished(stage: &Stage, delivery: Delivery<Parcel>, trace: &Trace, way: u64, rng: &mut Rng) {
    trace.unfinished();
    let _ = match way {
        0..30 => delivery.retry("try again"),
        30..40 => delivery.snooze(Duration::from_micros(roll(rng, 3_000))),
        40..45 => delivery.reject("never"),
        45..50 => delivery.settle(Verdict::Discard),
        50..60 => return drop(delivery),
        60..61 if !stage.flood => {
            stage.oracle.tally(Tally::Forgotten);
            return stage.forgotten.lock().push(delivery);
        }
        _ => delivery.settle(Verdict::RetryAfter(JobError::transient("soon"), Duration::ZERO)),
    };
}

fn acked(trace: &Trace, ok: bool) {
    if ok { trace.acked() } else { trace.unfinished() }
}

fn chain(stage: &Stage, delivery: Delivery<Parcel>, trace: &Trace, rng: &mut Rng) {
    let Some(parcel) = stage.oracle.make() else { return acked(trace, delivery.ack().is_ok()) };
    match delivery.complete_with(stage.job(parcel, rng)) {
        Ok(()) => trace.acked(),
        Err((_, next)) => {
            trace.unfinished();
            next.into_payload().end(End::FollowUp);
        }
    }
}

/// Cancels, pauses, purges, redrives, takes letters and snapshots, until the life winds down.
pub fn operate(stage: &Arc<Stage>, queue: &QueueHandle<Parcel>) {
    let mut rng = stage.dice();
    while !stage.winding_down.load(Acquire) {
        std::thread::sleep(Duration::from_micros(roll(&mut rng, if stage.flood { 20_000 } else { 1_000 })));
        match roll(&mut rng, 99) {
            0..40 => {
                let recent = *stage.recent.lock();
                recent.map(|id| queue.cancel(id));
            }
            40..50 => {
                queue.pause();
                std::thread::sleep(Duration::from_micros(roll(&mut rng, 2_000)));
                queue.resume();
            }
            50..53 => {
                queue.purge();
            }
            53..70 => {
                let _ = queue.dead_letters().redrive();
            }
            70..75 => {
                queue.dead_letters().redrive_all();
            }
            75..85 => {
                if let Some(letter) = queue.dead_letters().take() {
                    letter.into_payload().end(End::Letter);
                }
            }
            85..87 => {
                queue.dead_letters().purge();
            }
            _ => {
                queue.dead_letters().for_each(|letter| assert!(!letter.record().deaths.is_empty()));
            }
        }
    }
    queue.resume();
}

/// With `--cfg ringmill_chaos`, crash points yield, sleep or spin now and then.
#[cfg(ringmill_chaos)]
fn chaos_hook(seed: u64) {
    let mut rng = Rng::new(seed);
    ringmill::sync::chaos::set_hook(Some(Box::new(move |_| match roll(&mut rng, 9_999) {
        0..100 => std::thread::yield_now(),
        100..103 => std::thread::sleep(Duration::from_micros(roll(&mut rng, 3_000))),
        103..200 => (0..roll(&mut rng, 500)).for_each(|_| std::hint::spin_loop()),
        _ => {}
    })));
}

#[cfg(not(ringmill_chaos))]
fn chaos_hook(_seed: u64) {}
