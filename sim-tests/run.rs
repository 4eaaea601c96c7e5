//! One run: the simulated service and its model, side by side.

mod act;
mod look;
mod period;
mod publish;
mod service;
mod wait;

use crate::model::{New, Queue, Rules, Wrong};
use crate::steps::{Act, Step};
use crate::world::{How, Load, SIMULATED, Seen, World, handle, ms};
use period::Again;
use publish::Expected;
use ringmill::clock::ManualClock;
use ringmill::queue::{Bend, bend};
use ringmill::rng::Rng;
use ringmill::sim::{Outcome, Sim};
use ringmill::*;
use service::*;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use wait::Waiter;

/// What a run is made of beside its steps.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setting {
    /// Capacities, policies and counts are drawn from it.
    pub seed: u64,
    /// The model gets this wrong.
    pub wrong: Option<Wrong>,
    /// ringmill gets this wrong.
    pub bent: Option<Bend>,
}

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    pub acts: u64,
    pub jobs: u64,
    pub deliveries: u64,
    /// Virtual milliseconds.
    pub time: u64,
    /// A hash of every delivery: two runs that agree have done the same.
    pub trace: u64,
}

impl std::ops::Add for Summary {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Summary {
            acts: self.acts + other.acts,
            jobs: self.jobs + other.jobs,
            deliveries: self.deliveries + other.deliveries,
            time: self.time + other.time,
            trace: self.trace ^ other.trace,
        }
    }
}

/// Runs the steps. The message of what goes wrong.
pub fn run(setting: Setting, steps: &[Step]) -> Result<Summary, String> {
    run_to_the_end(setting, steps, None).map(|(summary, _)| summary)
}

/// As [`run`], with a line for every queue after every act: its jobs, its letters, its counts.
pub fn trace(setting: Setting, steps: &[Step]) -> Result<(Summary, Vec<String>), String> {
    run_to_the_end(setting, steps, Some(Vec::new())).map(|(summary, trace)| (summary, trace.unwrap_or_default()))
}

type Trace = Option<Vec<String>>;

fn run_to_the_end(setting: Setting, steps: &[Step], trace: Trace) -> Result<(Summary, Trace), String> {
    bend(setting.bent);
    let mut run = Run::new(setting, trace);
    let result = match catch_unwind(AssertUnwindSafe(|| steps.iter().for_each(|step| run.step(step)))) {
        Ok(()) => catch_unwind(AssertUnwindSafe(|| run.shut_down())),
        Err(panic) => {
            // what a bent step has left may panic as it is settled, and twice is too often; or as it is dropped
            run.hands.drain(..).for_each(std::mem::forget);
            let _ = catch_unwind(AssertUnwindSafe(|| drop(run)));
            Err(panic)
        }
    };
    bend(None);
    result.map_err(|panic| match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => panic.downcast_ref::<&str>().map_or("a panic", |text| *text).to_owned(),
    })
}

thread_local! {
    /// Failures are wanted.
    pub static SILENT: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Panics that handlers are told to make are not worth a word.
pub fn quieten() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let simulated = panic.payload().downcast_ref::<String>().is_some_and(|message| message == SIMULATED)
                || panic.payload().downcast_ref::<&str>().is_some_and(|message| *message == SIMULATED);
            if !simulated && !SILENT.get() {
                usual(panic);
            }
        }));
    });
}

struct Real {
    handle: QueueHandle<Load>,
    producer: Producer<Load>,
    model: Queue,
}

/// A delivery in the test's hands.
struct Hand {
    queue: usize,
    job: JobId,
    hold: u64,
    real: Delivery<Load>,
}

/// A delivery that a worker has.
struct InFlight {
    record: usize,
    queue: usize,
    job: JobId,
    hold: u64,
    seen: Seen,
}

struct Run {
    sim: Rc<Sim>,
    clock: Arc<ManualClock>,
    world: Arc<World>,
    queues: Vec<Real>,
    consumers: Vec<(usize, Consumer<Load>)>,
    exchange: Exchange<Load>,
    publisher: ExchangePublisher<Load>,
    bound: usize,
    /// The workers of each pool.
    pools: Vec<usize>,
    hands: Vec<Hand>,
    forgotten: Vec<Hand>,
    flying: Vec<InFlight>,
    watched: Vec<(usize, JobId, Completion<()>)>,
    /// Tasks that wait for a slot, and how many tasks there have been.
    waiters: Vec<Waiter>,
    tasks: u64,
    /// The job that is published again and again.
    again: Option<Again>,
    /// Deliveries that the model knows.
    records: usize,
    closed: bool,
    /// Nothing turns up, nothing is dropped for others, but by the act under way.
    evictions: [usize; 4],
    new: BTreeMap<usize, Vec<New>>,
    summary: Summary,
    trace: Trace,
}

impl Request for Load {
    type Answer = ();
}

impl Run {
    fn new(setting: Setting, trace: Trace) -> Self {
        let world = Arc::new(World::default());
        let mut rng = Rng::new(setting.seed ^ 0x5EED);
        let mut builder = Sim::builder(setting.seed);
        let pools: Vec<usize> = (0..=rng.up_to(1)).map(|at| 1 + rng.up_to(3 - 2 * at) as usize).collect();
        for (name, &workers) in POOLS.into_iter().zip(&pools) {
            builder.pool(PoolConfig::new(name).workers(workers).spares(rng.up_to(2) as usize)).unwrap();
        }
        let onward = rng.up_to(1) == 0;
        let mut queues = Vec::new();
        for (at, name) in ["work", "pull", "keyed", "grave"].into_iter().enumerate() {
            let capacity = 2 + rng.up_to(7) as usize;
            let rules = Rules {
                name,
                push: at == WORK || at == KEYED,
                pool: if at == KEYED { pools.len() - 1 } else { 0 },
                capacity,
                reserve: if at == WORK || at == PULL { reserve(capacity, &mut rng) } else { None },
                attempts: 1 + rng.up_to(3) as u32,
                expiries: rng.up_to(2) as u32,
                // its sweeps are at whole milliseconds
                visibility: 8 * (1 + rng.up_to(3)),
                max_lease: 60,
                backoff: 1 + rng.up_to(9),
                overflow: match rng.up_to(5) {
                    0 if at != GRAVE => Overflow::DropOldest,
                    1 if at != GRAVE => Overflow::DropNew,
                    2 if at == WORK => Overflow::CallerRuns,
                    // the thread of a simulation cannot wait; its tasks can
                    2 | 3 => Overflow::Block(Duration::ZERO),
                    _ => Overflow::Reject,
                },
                letters: 1 + rng.up_to(4) as usize,
                hold: at == WORK && onward || rng.up_to(1) == 0,
                onward: at == WORK && onward,
                dedupe: (at == WORK || at == PULL && rng.up_to(1) == 0).then(|| rule(&mut rng)),
                partitions: at == KEYED,
                retention: (at == GRAVE && rng.up_to(1) == 0).then(|| 20 + rng.up_to(100)),
            };
            let config = config(&rules, &mut rng);
            let handle = if rules.push { builder.queue(config, handle) } else { builder.pull_queue(config) }.unwrap();
            let producer = handle.producer().unwrap();
            queues.push(Real { handle, producer, model: Queue::new(rules, setting.wrong) });
        }
        let exchange = builder.exchange(ExchangeConfig::topic("exchange")).unwrap();
        let sim = Sim::start(builder).unwrap();
        let consumers = [PULL, PULL, GRAVE].map(|at| (at, queues[at].handle.consumer().unwrap())).into();
        let publisher = exchange.publisher();
        let clock = Arc::clone(sim.clock());
        *world.outlet.lock().unwrap() = Some(queues[PULL].handle.producer().unwrap());
        let mut run = Run {
            sim: Rc::new(sim),
            clock,
            world,
            queues,
            consumers,
            exchange,
            publisher,
            bound: 0,
            pools,
            hands: Vec::new(),
            forgotten: Vec::new(),
            flying: Vec::new(),
            watched: Vec::new(),
            waiters: Vec::new(),
            tasks: 0,
            again: None,
            records: 0,
            closed: false,
            evictions: [0; 4],
            new: BTreeMap::new(),
            summary: Summary::default(),
            trace,
        };
        run.rebind(0);
        run
    }

    fn now(&self) -> u64 {
        let nanos = self.sim.now().as_nanos();
        assert_eq!(nanos % 1_000_000, 0, "everything here happens at whole milliseconds");
        nanos / 1_000_000
    }

    // ---- steps ----

    fn step(&mut self, step: &Step) {
        self.sim.reseed(step.choices);
        self.lose_patience();
        let queues = self.queues.len();
        match step.act.clone() {
            Act::Publish { queue, lane, delay, ttl, key, plan, watched } => {
                self.publish(queue % queues, lane, delay, ttl, key, plan, watched);
            }
            Act::Batch { queue, lane, jobs, key, plan } => self.batch(queue % queues, lane, jobs, key, plan),
            Act::Route { to, key, plan } => self.route(to % ROUTES.len(), key, plan),
            Act::Wait { queue, lane, ttl, key, plan, watched, patience } => {
                self.wait(queue % queues, lane, ttl, key, plan, watched, patience);
            }
            Act::Look(at) if !self.waiters.is_empty() => self.look(at % self.waiters.len()),
            Act::GiveUp(at) if !self.waiters.is_empty() => self.give_up(at % self.waiters.len()),
            Act::Look(_) | Act::GiveUp(_) => {}
            Act::Every { every, catch_up, lane, plan } => self.every(every, catch_up, lane, plan),
            Act::Stop => drop(self.again.take()),
            Act::Rebind(set) => self.rebind(set % BINDINGS.len()),
            Act::Work(acts) => {
                for _ in 0..acts {
                    self.sim.step();
                    self.observe();
                }
            }
            Act::Idle => self.advance(0),
            Act::Advance(by) => self.advance(by),
            Act::Leap(by) => {
                self.clock.advance(ms(by));
                self.queues.iter_mut().for_each(|queue| queue.model.leap(by));
            }
            Act::Recv(consumer) => self.recv(consumer % self.consumers.len()),
            Act::Settle(at, how) if !self.hands.is_empty() => self.settle(at % self.hands.len(), how),
            Act::Forget(at) if !self.hands.is_empty() => {
                // it stays with somebody who does nothing about it, to the end
                let hand = self.hands.remove(at % self.hands.len());
                self.forgotten.push(hand);
            }
            Act::Extend(at, length) if !self.hands.is_empty() => self.extend(at % self.hands.len(), length),
            Act::Settle(..) | Act::Forget(_) | Act::Extend(..) => {}
            Act::Cancel(queue, job) => self.cancel(queue % queues, job),
            Act::Pause(queue, paused) => {
                let queue = &mut self.queues[queue % queues];
                if paused {
                    queue.handle.pause()
                } else {
                    queue.handle.resume()
                }
                queue.model.pause(paused);
            }
            Act::Purge(queue) => self.purge(queue % queues),
            Act::TakeLetter(queue) => self.take_letter(queue % queues),
            Act::Redrive(queue, which) => self.redrive(queue % queues, which),
            Act::PurgeLetters(queue) => self.purge_letters(queue % queues),
            Act::Close => {
                self.sim.runtime().shutdown_handle().request();
                self.queues.iter_mut().for_each(|queue| queue.model.close_line());
                self.closed = true;
            }
        }
        self.observe();
    }

    /// Which pools have a worker that runs nothing.
    fn free_workers(&self) -> Vec<bool> {
        let flying = |pool| self.flying.iter().filter(|flight| self.queues[flight.queue].model.rules.pool == pool).count();
        self.pools.iter().enumerate().map(|(pool, &workers)| flying(pool) < workers).collect()
    }

    fn advance(&mut self, by: u64) {
        let sim = Rc::clone(&self.sim);
        sim.run_until(ms(by), || {
            self.observe();
            false
        });
        self.observe();
        let (now, free) = (self.now(), self.free_workers());
        self.again.iter_mut().for_each(|again| again.is_at_rest(now));
        for Real { model, .. } in &mut self.queues {
            let any = model.wrong == Some(Wrong::AnyPool) && free.contains(&true);
            model.assert_at_rest(now, any || free[model.rules.pool]);
        }
    }
}
