//! One life of a runtime, from its seed to its last thread.

use crate::actors::{Stage, consume, handle, operate, produce};
use crate::books::{Outcome, check_end, check_rest};
use crate::oracle::{End, Oracle, Tally, chance, roll};
use ringmill::rng::Rng;
use ringmill::sync::Mutex;
use ringmill::{
    Backoff, DeadLetterConfig, DeadLetterOverflow, Discipline, Idle, Jitter, LaneConfig, Overflow, Placement, PoolConfig, QueueConfig,
    QueueHandle, QueueSnapshot, RetryPolicy, Runtime, ShutdownOptions, ShutdownReport,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed, Ordering::Release};
use std::time::{Duration, Instant};

type Queue = QueueHandle<crate::oracle::Parcel>;

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Producers stop, everything is done, then shutdown.
    Rest,
    /// Shutdown under load, with time to drain.
    Graceful,
    /// Shutdown under load, without.
    TimedOut,
    /// The runtime is dropped under load, its undone jobs with it.
    Dropped,
    /// A handler shuts it down.
    FromHandler,
}

/// Which step of its life the current runtime is in, for the watchdog.
static STEP: AtomicU32 = AtomicU32::new(0);
static STAGE: Mutex<String> = Mutex::new(String::new());

pub fn whereabouts() -> String {
    format!("step {} of {}, {} threads", STEP.load(Relaxed), STAGE.lock(), threads())
}

/// The threads of this process.
pub fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

struct Shape {
    workers: usize,
    producers: usize,
    consumers: usize,
    ending: Ending,
    length: Duration,
}

/// What outlives the lives.
pub struct World {
    pub push: &'static Oracle,
    pub pull: &'static Oracle,
    pub threads: usize,
}

/// Jobs that a flood makes for each of its queues.
pub const FLOOD: usize = 1_000_000;

/// Lives one life of at most about `jobs` jobs.
pub fn live(seed: u64, jobs: u64, world: &World) -> Outcome {
    let mut rng = Rng::new(seed);
    let flood = chance(&mut rng, 700);
    let ending = [Ending::Rest, Ending::Rest, Ending::Graceful, Ending::TimedOut, Ending::Dropped, Ending::FromHandler];
    let shape = Shape {
        workers: 1 + roll(&mut rng, 7) as usize + if flood { 4 } else { 0 },
        producers: 1 + roll(&mut rng, 3) as usize,
        consumers: 1 + roll(&mut rng, 2) as usize,
        ending: ending[roll(&mut rng, 5) as usize],
        length: Duration::from_millis(20 + roll(&mut rng, if flood { 10_000 } else { 400 })),
    };
    let quota = if flood { jobs.clamp(2_000, 2 * FLOOD as u64) } else { jobs.clamp(2_000, 40_000) } as usize / 2;
    world.push.begin(quota);
    world.pull.begin(quota);
    let (push_config, visibility) = queue_config("push", flood, &mut rng);
    let (pull_config, pull_visibility) = queue_config("pull", flood, &mut rng);
    let (push_lanes, pull_lanes) = (push_config.1, pull_config.1);
    let push = Stage::new(world.push, push_lanes, visibility, flood, rng.next_u64());
    let pull = Stage::new(world.pull, pull_lanes, pull_visibility, flood, rng.next_u64());
    let text = format!(
        "life {seed}: {}, {} workers, {} producers and {} consumers, {:?} after {:?}",
        if flood { "a flood" } else { "chaos" },
        shape.workers,
        shape.producers,
        shape.consumers,
        shape.ending,
        shape.length
    );
    STAGE.lock().clone_from(&text);
    STEP.store(1, Relaxed);

    let mut builder = Runtime::builder().seed(seed);
    let handler_stage = Arc::clone(&push);
    let push_queue = builder
        .queue(push_config.0, move |parcel: &crate::oracle::Parcel, context: &ringmill::Context<_>| handle(&handler_stage, parcel, context))
        .expect("the shape is valid");
    let pull_queue: Queue = builder.pull_queue(pull_config.0).expect("the shape is valid");
    let idle = match roll(&mut rng, 2) {
        0 => Idle::Park,
        _ => Idle::default(),
    };
    let pool = PoolConfig::new("default").workers(shape.workers).placement(Placement::None).idle(idle).spares(roll(&mut rng, 2) as usize);
    builder.pool(pool).expect("the shape is valid");
    for (queue, stage) in [(&push_queue, &push), (&pull_queue, &pull)] {
        if chance(&mut rng, 300) {
            let oracle = stage.oracle;
            queue.on_dead_letter_overflow(move |letter| {
                oracle.tally(Tally::Callback);
                letter.into_payload().end(End::Letter);
            });
        }
    }
    let runtime = builder.build().expect("threads can be started");
    *push.producer.lock() = Some(push_queue.producer().expect("accounts are left"));
    let actors = start(&shape, &push, &push_queue, &pull, &pull_queue);
    STEP.store(2, Relaxed);
    let until = Instant::now() + shape.length;
    let spent = || push.oracle.over.load(Relaxed) && pull.oracle.over.load(Relaxed);
    while Instant::now() < until && !spent() {
        std::thread::sleep(Duration::from_millis(2));
    }
    STEP.store(3, Relaxed);
    let report = finish(shape.ending, runtime, [(&push, &push_queue), (&pull, &pull_queue)], actors);
    STEP.store(6, Relaxed);
    close_books(report, world.threads, [(push, push_queue), (pull, pull_queue)], text)
}

fn queue_config(name: &str, flood: bool, rng: &mut Rng) -> ((QueueConfig, usize), Duration) {
    let lanes = 1 + roll(rng, 3) as usize;
    let visibility = Duration::from_millis(if flood { 2 + roll(rng, 4) } else { 4 + roll(rng, 12) });
    let capacity = if flood { 1_024 << roll(rng, 5) } else { [1, 2, 7, 16, 64, 500, 2_048][roll(rng, 6) as usize] };
    let overflow = match roll(rng, 5) {
        0 => Overflow::DropOldest,
        1 => Overflow::DropNew,
        2 => Overflow::CallerRuns,
        3 | 4 => Overflow::Block(Duration::from_micros(roll(rng, 20_000))),
        _ => Overflow::Reject,
    };
    let retry = RetryPolicy::new().max_attempts(1 + roll(rng, 5) as u32).max_expiries(roll(rng, 3) as u32).backoff(backoff(rng));
    let letters = DeadLetterConfig::new()
        // with 0 and Hold nothing but the shutdown frees a slot
        .capacity(1 + roll(rng, 63) as u32)
        .overflow(if chance(rng, 500) { DeadLetterOverflow::Hold } else { DeadLetterOverflow::DropOldest })
        .retention(if chance(rng, 300) { Duration::from_millis(10) } else { Duration::MAX });
    let reserve = if capacity > 8 && chance(rng, 300) { 2 } else { 0 };
    let mut config = QueueConfig::new(name)
        .capacity(capacity)
        .lanes((0..lanes).map(|lane| LaneConfig::new(format!("lane-{lane}")).weight(1 + roll(rng, 5) as u32).reserve(reserve)))
        .overflow(overflow)
        .visibility(visibility)
        .retry(retry)
        .dead_letters(letters);
    if chance(rng, 300) {
        config = config.discipline(Discipline::Strict { max_wait: Duration::from_millis(1 + roll(rng, 10)) });
    }
    if chance(rng, 500) {
        config = config.prefetch(1 + roll(rng, 31) as u32);
    }
    ((config, lanes), visibility)
}

fn backoff(rng: &mut Rng) -> Backoff {
    let base = Duration::from_micros(1 + roll(rng, 2_000));
    match roll(rng, 2) {
        0 => Backoff::fixed(base),
        _ => Backoff::Exponential { base, factor: 2, cap: Duration::from_millis(5), jitter: Jitter::Full },
    }
}

type Threads = Vec<std::thread::JoinHandle<()>>;

struct Actors {
    /// Who publishes, also again, and pauses: they come back when things are winding down.
    publishers: Threads,
    /// They come back when their queue is closed.
    consumers: Threads,
}

impl Actors {
    fn join(threads: &mut Threads, oracle: &Oracle) {
        for actor in threads.drain(..) {
            if actor.join().is_err() {
                oracle.violation(format_args!("an actor panicked"));
            }
        }
    }
}

fn start(shape: &Shape, push: &Arc<Stage>, push_queue: &Queue, pull: &Arc<Stage>, pull_queue: &Queue) -> Actors {
    let act = |name: &str, body: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.to_owned()).spawn(body).expect("threads can be started")
    };
    let (mut publishers, mut consumers) = (Vec::new(), Vec::new());
    for (stage, queue) in [(push, push_queue), (pull, pull_queue)] {
        for _ in 0..shape.producers {
            let (stage, producer) = (Arc::clone(stage), queue.producer().expect("accounts are left"));
            publishers.push(act("soak-producer", Box::new(move || produce(&stage, &producer))));
        }
        let (stage, queue) = (Arc::clone(stage), queue.clone());
        publishers.push(act("soak-operator", Box::new(move || operate(&stage, &queue))));
    }
    for _ in 0..shape.consumers {
        let (stage, consumer) = (Arc::clone(pull), pull_queue.consumer().expect("accounts are left"));
        consumers.push(act("soak-consumer", Box::new(move || consume(&stage, &consumer))));
    }
    Actors { publishers, consumers }
}

/// Ends the life. The report, unless the runtime was dropped.
fn finish(ending: Ending, runtime: Runtime, stages: [(&Arc<Stage>, &Queue); 2], mut actors: Actors) -> Option<ShutdownReport> {
    let oracle = stages[0].0.oracle;
    let wind_down = || stages.iter().for_each(|(stage, _)| stage.winding_down.store(true, Release));
    let options = |drain, cancel| ShutdownOptions::new(Duration::from_millis(drain), Duration::from_millis(cancel));
    let report = match ending {
        Ending::Rest => {
            wind_down();
            // one that is on its way with a job would find the rest over
            Actors::join(&mut actors.publishers, oracle);
            rest(&runtime, stages);
            STEP.store(4, Relaxed);
            Some(runtime.shutdown(options(5_000, 1_000)))
        }
        Ending::Graceful => Some(runtime.shutdown(options(500, 200))),
        Ending::TimedOut => Some(runtime.shutdown(options(0, 1))),
        Ending::Dropped => {
            // 10 s to drain is the default, and paused or held jobs never do
            let handle = runtime.shutdown_handle();
            wind_down();
            handle.request();
            for (_, queue) in stages {
                queue.purge();
            }
            drop(runtime);
            None
        }
        Ending::FromHandler => from_handler(runtime, stages[0].0),
    };
    STEP.store(5, Relaxed);
    wind_down();
    Actors::join(&mut actors.publishers, oracle);
    Actors::join(&mut actors.consumers, oracle);
    report
}

/// Leaves the runtime to a handler that feels like shutting it down; takes it back if none does.
fn from_handler(runtime: Runtime, stage: &Arc<Stage>) -> Option<ShutdownReport> {
    *stage.runtime.lock() = Some(runtime);
    let until = Instant::now() + Duration::from_millis(300);
    while Instant::now() < until {
        if let Some(report) = stage.report.lock().take() {
            return Some(report);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let runtime = stage.runtime.lock().take();
    match runtime {
        Some(runtime) => Some(runtime.shutdown(ShutdownOptions::new(Duration::ZERO, Duration::from_millis(100)))),
        None => loop {
            if let Some(report) = stage.report.lock().take() {
                return Some(report);
            }
            std::thread::sleep(Duration::from_millis(1));
        },
    }
}

/// In so many looks, a millisecond apart, something has to move. (Not within a time: a machine may stand still, and nobody looks then.)
const LOOKS: u32 = 20_000;
/// In so many looks one after the other nothing may wait or run: a follow-up without a slot is seen nowhere until a sweep, two milliseconds later, finds it one.
const STILL: u32 = 20;

/// Waits until nothing waits or runs. Held dead letters are taken out; a forgotten delivery may keep its slot.
fn rest(runtime: &Runtime, stages: [(&Arc<Stage>, &Queue); 2]) {
    let (mut still, mut moved, mut at_rest) = (0, 0, 0);
    while at_rest < STILL {
        let (mut idle, mut moves) = (true, 0);
        for (stage, queue) in stages {
            queue.resume();
            while let Some(letter) = queue.dead_letters().take() {
                letter.into_payload().end(End::Letter);
            }
            let forgotten = stage.oracle.total(Tally::Forgotten);
            let snapshot = runtime.snapshot();
            let QueueSnapshot { phases, counts, .. } = snapshot.queue(queue.name()).expect("it is there");
            moves += counts.started + counts.ended();
            let live = phases.ready + phases.running + phases.delayed + phases.held;
            idle &= live == 0 && u64::from(queue.depth()) <= forgotten && stage.oracle.total(Tally::Inside) == 0;
        }
        at_rest = if idle { at_rest + 1 } else { 0 };
        still = if moves == moved { still + 1 } else { 0 };
        moved = moves;
        if still > LOOKS {
            for (stage, queue) in stages {
                let snapshot = runtime.snapshot();
                stage.oracle.violation(format_args!("no rest, and nothing has moved in {LOOKS} looks: {:?}", snapshot.queue(queue.name())));
            }
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    // the last settlement's own counts may still be on their way
    std::thread::sleep(Duration::from_millis(2));
    let snapshot = runtime.snapshot();
    for (stage, queue) in stages {
        check_rest(stage.oracle, "at rest", snapshot.queue(queue.name()).expect("it is there"));
    }
}

/// Everything that was given to the outside comes back, everything else is gone; then the books must add up.
fn close_books(report: Option<ShutdownReport>, threads_before: usize, stages: [(Arc<Stage>, Queue); 2], shape: String) -> Outcome {
    let mut outcome = Outcome { shape, ..Outcome::default() };
    let deadline = Instant::now() + Duration::from_secs(10);
    while threads() > threads_before && Instant::now() < deadline {
        std::thread::sleep(Duration::from_micros(200));
    }
    let left = threads();
    if left > threads_before {
        outcome.violations.push(format!("{left} threads are left of {threads_before}"));
    }
    STEP.store(7, Relaxed);
    let mut report = report;
    for (stage, queue) in &stages {
        *stage.producer.lock() = None;
        let mut undone = report.as_mut().map_or_else(Vec::new, |report| report.take_undone(queue));
        undone.extend(queue.reclaim());
        while let Some(letter) = queue.dead_letters().take() {
            letter.into_payload().end(End::Letter);
        }
        // letters that were taken out made room for held ones; they are gone with the hand-back, and what was held came back by value
        let count = undone.len() as u64;
        undone.into_iter().for_each(|undone| undone.payload.end(End::HandedBack));
        let now = queue.snapshot();
        if report.is_some() {
            check_end(stage.oracle, &now, count, queue.name() == "pull");
        } else {
            check_rest(stage.oracle, "after its drop", &now);
        }
        outcome.jobs += now.counts.accepted;
        outcome.refused += stage.oracle.ended(End::Refused);
        outcome.deliveries += stage.oracle.total(Tally::Deliveries);
        outcome.retried += now.counts.retried;
        outcome.expired += now.counts.expired_leases;
        outcome.stale += now.counts.stale_settles;
        outcome.panics += now.counts.panics;
        outcome.dead += now.counts.dead_lettered;
        outcome.handed_back += now.counts.handed_back;
    }
    drop(report);
    for (stage, queue) in stages {
        // late, and after the shutdown: a failed attempt can be reclaimed
        stage.forgotten.lock().clear();
        queue.reclaim().into_iter().for_each(|undone| undone.payload.end(End::HandedBack));
        let (oracle, stale) = (stage.oracle, queue.counts().stale_settles);
        drop(queue);
        drop(stage);
        oracle.check_jobs(stale);
        outcome.violations.append(&mut oracle.violations.lock());
    }
    outcome
}
