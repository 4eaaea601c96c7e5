//! One run: the simulated service and its model, side by side.

use crate::model::{At, Hold, New, Queue, Rules, Told, Wrong};
use crate::steps::{Act, Step};
use crate::world::{How, Load, SIMULATED, Seen, World, handle, ms};
use ringmill::clock::ManualClock;
use ringmill::queue::{Bend, bend};
use ringmill::rng::Rng;
use ringmill::sim::{Outcome, Sim};
use ringmill::*;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

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

/// Runs the steps. The message of what goes wrong.
pub fn run(setting: Setting, steps: &[Step]) -> Result<Summary, String> {
    bend(setting.bent);
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut run = Run::new(setting);
        steps.iter().for_each(|step| run.step(step));
        run.shut_down()
    }));
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

const WORK: usize = 0;
const PULL: usize = 1;
const KEYED: usize = 2;
const GRAVE: usize = 3;

const ROUTES: [&str; 4] = ["a.b", "a.c", "d.b", "e"];
/// Sets of bindings: pattern, queue, lane.
const BINDINGS: [&[(&str, usize, usize)]; 4] = [
    &[("a.#", WORK, 1), ("*.b", PULL, 0), ("#", KEYED, 0)],
    &[("a.*", WORK, 0), ("a.c", PULL, 1)],
    &[("#", PULL, 0)],
    &[("*.b", WORK, 0), ("e", KEYED, 1), ("a.c", KEYED, 0)],
];

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
    workers: usize,
    hands: Vec<Hand>,
    forgotten: Vec<Hand>,
    flying: Vec<InFlight>,
    watched: Vec<(usize, JobId, Completion<()>)>,
    /// Deliveries that the model knows.
    records: usize,
    closed: bool,
    /// Nothing turns up, nothing is dropped for others, but by the act under way.
    evictions: usize,
    new: BTreeMap<usize, Vec<New>>,
    summary: Summary,
}

impl Request for Load {
    type Answer = ();
}

impl Run {
    fn new(setting: Setting) -> Self {
        let world = Arc::new(World::default());
        let mut rng = Rng::new(setting.seed ^ 0x5EED);
        let mut builder = Sim::builder(setting.seed);
        let workers = 1 + rng.up_to(3) as usize;
        builder.pool(PoolConfig::new("default").workers(workers).spares(rng.up_to(2) as usize)).unwrap();
        let onward = rng.up_to(1) == 0;
        let mut queues = Vec::new();
        for (at, name) in ["work", "pull", "keyed", "grave"].into_iter().enumerate() {
            let rules = Rules {
                name,
                push: at == WORK || at == KEYED,
                capacity: 2 + rng.up_to(7) as usize,
                attempts: 1 + rng.up_to(3) as u32,
                expiries: rng.up_to(2) as u32,
                // its sweeps are at whole milliseconds
                visibility: 8 * (1 + rng.up_to(3)),
                max_lease: 60,
                backoff: 1 + rng.up_to(9),
                overflow: match rng.up_to(3) {
                    0 if at != GRAVE => Overflow::DropOldest,
                    1 if at != GRAVE => Overflow::DropNew,
                    _ => Overflow::Reject,
                },
                letters: 1 + rng.up_to(4) as usize,
                hold: at == WORK && onward || rng.up_to(1) == 0,
                onward: at == WORK && onward,
                dedupe: at == WORK || at == PULL && rng.up_to(1) == 0,
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
        let mut run = Run {
            sim: Rc::new(sim),
            clock,
            world,
            queues,
            consumers,
            exchange,
            publisher,
            bound: 0,
            workers,
            hands: Vec::new(),
            forgotten: Vec::new(),
            flying: Vec::new(),
            watched: Vec::new(),
            records: 0,
            closed: false,
            evictions: 0,
            new: BTreeMap::new(),
            summary: Summary::default(),
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
        let queues = self.queues.len();
        match step.act.clone() {
            Act::Publish { queue, lane, delay, ttl, key, plan, watched } => {
                self.publish(queue % queues, lane, delay, ttl, key, plan, watched);
            }
            Act::Batch { queue, lane, jobs, plan } => self.batch(queue % queues, lane, jobs, plan),
            Act::Route { key, plan } => self.route(key % ROUTES.len(), plan),
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
                self.closed = true;
            }
        }
        self.observe();
    }

    fn advance(&mut self, by: u64) {
        let sim = Rc::clone(&self.sim);
        sim.run_until(ms(by), || {
            self.observe();
            false
        });
        self.observe();
        let (now, free) = (self.now(), self.flying.len() < self.workers);
        self.queues.iter_mut().for_each(|queue| queue.model.assert_at_rest(now, free));
    }

    /// What a publish must come to; `None` where the queue has a choice.
    fn expected(&self, queue: usize, key: Option<u8>) -> Option<Expected> {
        let model = &self.queues[queue].model;
        if self.closed {
            return Some(Expected::Closed);
        }
        if model.has_key(key) {
            return Some(Expected::Duplicate);
        }
        if model.occupied() < model.rules.capacity {
            return Some(Expected::Taken);
        }
        let no_room = model.letters_full() && model.rules.hold;
        match model.rules.overflow {
            Overflow::DropNew if !no_room => Some(Expected::Letter),
            Overflow::DropOldest if !no_room => {
                let victim = |job: &crate::model::Job| job.holds.is_empty() && matches!(job.at, At::Waiting | At::Cancelled | At::Expired);
                if model.jobs.values().any(victim) { None } else { Some(Expected::Full) }
            }
            _ => Some(Expected::Full),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "what a job is published with")]
    fn publish(&mut self, queue: usize, lane: usize, delay: u64, ttl: Option<u64>, key: Option<u8>, plan: u64, watched: bool) {
        let rules = &self.queues[queue].model.rules;
        let key = key.filter(|_| rules.dedupe || rules.partitions);
        // a delayed job of a partition key takes its place when its time has come
        let delay = if rules.partitions && key.is_some() { 0 } else { delay };
        let (now, expected) = (self.now(), self.expected(queue, key));
        let load = Load::new(plan, &self.world);
        let number = load.number;
        let mut job = Job::new(load).lane(lane);
        if let Some(ttl) = ttl {
            job = job.ttl(ms(ttl));
        }
        if let Some(key) = key {
            job = if rules.partitions { job.partition_key([key]) } else { job.key([key]) };
        }
        let producer = &self.queues[queue].producer;
        let result = if watched {
            producer.watched().publish_after(job, ms(delay)).map(|completion| {
                let id = completion.job_id();
                self.watched.push((queue, id, completion));
                id
            })
        } else {
            producer.publish_after(job, ms(delay))
        };
        let at = if delay == 0 { At::Waiting } else { At::Delayed(now + delay) };
        self.published(queue, result, expected, number, lane, at, ttl.map_or(u64::MAX, |ttl| now + ttl), key);
    }

    #[allow(clippy::too_many_arguments, reason = "what a job was published with, and what came of it")]
    fn published(
        &mut self,
        queue: usize,
        result: Result<JobId, PublishError<Load>>,
        expected: Option<Expected>,
        load: u32,
        lane: usize,
        at: At,
        expires: u64,
        key: Option<u8>,
    ) {
        let came_to = match &result {
            Ok(_) if expected == Some(Expected::Letter) => Expected::Letter,
            Ok(_) => Expected::Taken,
            Err(error) => self.count_refusal(queue, error.refusal()),
        };
        assert!(expected.is_none_or(|expected| expected == came_to), "{came_to:?} instead of {expected:?}: {result:?}");
        let model = &mut self.queues[queue].model;
        match result {
            Ok(id) if came_to == Expected::Letter => {
                model.take_in(id, Some(load), lane, at, expires, key);
                model.bury(id, DeathReason::OverLength);
            }
            Ok(id) => {
                self.evictions = usize::from(expected.is_none());
                model.take_in(id, Some(load), lane, at, expires, key);
            }
            Err(error) => assert_eq!(error.into_inner().number, load, "a refused job comes back"),
        }
    }

    fn count_refusal(&mut self, queue: usize, refusal: &Refusal) -> Expected {
        let counts = &mut self.queues[queue].model.counts;
        match refusal {
            Refusal::Full { .. } => {
                counts.rejected_full += 1;
                Expected::Full
            }
            Refusal::Closed => {
                counts.rejected_closed += 1;
                Expected::Closed
            }
            Refusal::Duplicate { .. } => {
                counts.rejected_duplicate += 1;
                Expected::Duplicate
            }
            other => panic!("refused for {other}"),
        }
    }

    fn batch(&mut self, queue: usize, lane: usize, jobs: u64, plan: u64) {
        let model = &self.queues[queue].model;
        if model.rules.overflow != Overflow::Reject {
            return;
        }
        let room = if self.closed { 0 } else { model.rules.capacity - model.occupied().min(model.rules.capacity) };
        let loads: Vec<Load> = (0..jobs).map(|n| Load::new(plan.wrapping_add(n), &self.world)).collect();
        let numbers: Vec<u32> = loads.iter().map(|load| load.number).collect();
        let batch = self.queues[queue].producer.publish_batch(&mut loads.into_iter().map(|load| Job::new(load).lane(lane)));
        assert_eq!(batch.accepted, numbers.len().min(room));
        let refused = batch.refused.map(|error| {
            self.count_refusal(queue, error.refusal());
            error.into_inner().number
        });
        assert_eq!(refused, numbers.get(room).copied());
        let new = numbers.iter().take(room).map(|&load| New { load: Some(load), lane, expires: u64::MAX });
        self.new.entry(queue).or_default().extend(new);
    }

    fn rebind(&mut self, set: usize) {
        let bindings = BINDINGS[set].iter().map(|&(key, queue, lane)| Binding::new(key, &self.queues[queue].handle).lane(lane));
        self.exchange.rebind(bindings).unwrap();
        self.bound = set;
    }

    fn route(&mut self, key: usize, plan: u64) {
        let targets: Vec<(usize, usize)> = BINDINGS[self.bound]
            .iter()
            .filter(|(pattern, ..)| matches(pattern, ROUTES[key]))
            .map(|&(_, queue, lane)| (queue, lane))
            .collect();
        let expected: Vec<Option<Expected>> = targets.iter().map(|&(queue, _)| self.expected(queue, None)).collect();
        let load = Load::new(plan, &self.world);
        let number = load.number;
        let result = self.publisher.publish(ROUTES[key], load);
        match (&targets[..], result) {
            ([], Err(error)) => assert!(error.is_unroutable()),
            (&[(queue, lane)], Ok(routed)) => {
                let id = routed.job.expect("one queue has it");
                self.published(queue, Ok(id), expected[0], number, lane, At::Waiting, u64::MAX, None);
            }
            (_, Ok(routed)) => {
                assert_eq!(routed.copies, targets.len());
                assert!(expected.iter().all(|expected| expected.is_none_or(|expected| expected == Expected::Taken)), "{expected:?}");
                self.evictions = expected.iter().filter(|expected| expected.is_none()).count();
                for (queue, lane) in targets {
                    self.new.entry(queue).or_default().push(New { load: Some(number), lane, expires: u64::MAX });
                }
            }
            (_, Err(error)) => {
                let RouteRefusal::Queue { queue, refusal } = error.refusal().clone() else { panic!("{error}") };
                let at = targets.iter().position(|&(target, _)| *queue == *self.queues[target].model.rules.name).expect("it is a target");
                let came_to = self.count_refusal(targets[at].0, &refusal);
                let allowed = match expected[at] {
                    // a copy does not go to the dead letters
                    Some(Expected::Letter) if targets.len() > 1 => Expected::Full,
                    Some(expected) => expected,
                    None => Expected::Full,
                };
                assert_eq!(came_to, allowed, "{error}");
                self.evictions = expected.iter().filter(|expected| expected.is_none()).count();
                assert_eq!(error.into_inner().number, number);
            }
        }
    }

    fn recv(&mut self, consumer: usize) {
        let (queue, ref consumer) = self.consumers[consumer];
        match consumer.try_recv() {
            Ok(real) => {
                let told =
                    Told { load: real.number, lane: real.lane(), attempt: real.attempt(), failures: real.failures(), expiries: None };
                let (job, now) = (real.job_id(), self.now());
                let hold = self.queues[queue].model.start(job, told, now);
                self.hands.push(Hand { queue, job, hold, real });
                self.observe();
            }
            Err(error) => {
                self.observe();
                let model = &self.queues[queue].model;
                let waits = model.jobs.values().any(|job| job.at == At::Waiting);
                assert!(model.paused || !waits, "{error}, and {:?}", model.jobs);
            }
        }
    }

    fn settle(&mut self, at: usize, how: How) {
        let Hand { queue, job, hold, real } = self.hands.remove(at);
        let current = real.is_current();
        let result = match how {
            How::Ack | How::Chain => real.ack(),
            How::Retry => real.retry("no"),
            How::RetryAfter(delay) => real.settle(Verdict::RetryAfter("no".into(), ms(delay))),
            How::Snooze(delay) => real.snooze(ms(delay)),
            How::Reject => real.reject("never"),
            How::Discard => real.settle(Verdict::Discard),
            How::Break => {
                drop(real);
                if current {
                    Ok(())
                } else {
                    self.settled(queue, job, hold, how, false);
                    return;
                }
            }
        };
        assert_eq!(result.is_ok(), current);
        self.settled(queue, job, hold, how, current);
    }

    fn settled(&mut self, queue: usize, job: JobId, hold: u64, how: How, counted: bool) {
        let now = self.now();
        if let Some(load) = self.queues[queue].model.settle(job, hold, how, counted, now) {
            self.new.entry(queue).or_default().push(New { load: Some(load), lane: 0, expires: u64::MAX });
        }
    }

    fn extend(&mut self, at: usize, length: u64) {
        let now = self.now();
        let hand = &mut self.hands[at];
        let model = &mut self.queues[hand.queue].model;
        let most = model.rules.max_lease;
        let hold = model.job(hand.job).holds.iter_mut().find(|hold| hold.id == hand.hold).unwrap();
        let left = (hold.started + most).saturating_sub(now);
        match hand.real.extend(ms(length)) {
            Ok(granted) => {
                assert!(hold.current);
                assert_eq!(granted, ms(length.min(left)));
                *hold = Hold { since: now, length: length.min(left), unseen: 0, ..hold.clone() };
            }
            Err(ExtendError::Capped) => assert!(hold.current && left == 0),
            Err(error) => assert!(!hold.current, "{error}"),
        }
    }

    fn cancel(&mut self, queue: usize, job: usize) {
        let now = self.now();
        let Real { handle, model, .. } = &mut self.queues[queue];
        if model.jobs.is_empty() {
            return;
        }
        let id = *model.jobs.keys().nth(job % model.jobs.len()).unwrap();
        let done = handle.cancel(id);
        let expected = model.cancel(id, now);
        assert_eq!(done, expected, "cancelling {:?}", model.job(id));
    }

    fn purge(&mut self, queue: usize) {
        let Real { handle, model, .. } = &mut self.queues[queue];
        let purged = handle.purge();
        let states = self.sim.jobs(handle);
        let waits = |at: At| matches!(at, At::Waiting | At::Cancelled | At::Expired);
        let waiting: Vec<JobId> = model.jobs.iter().filter(|(_, job)| waits(job.at)).map(|(id, _)| *id).collect();
        let mut gone = 0;
        for id in waiting {
            let waits = states.iter().any(|state| state.job == id && matches!(state.phase, sim::JobPhase::Waiting | sim::JobPhase::Doomed));
            gone += usize::from(!waits);
            match model.job(id).at {
                At::Waiting => model.end(id, End::Purged),
                At::Cancelled if !waits => model.end(id, End::Cancelled),
                // one that was delayed is the timer's still
                _ => {}
            }
        }
        assert_eq!(purged, gone);
    }

    fn take_letter(&mut self, queue: usize) {
        let Real { handle, model, .. } = &mut self.queues[queue];
        let taken = handle.dead_letters().take().map(|letter| letter.job_id());
        assert_eq!(taken, model.letters.pop_front());
        if let Some(id) = taken {
            model.jobs.remove(&id);
        }
    }

    fn redrive(&mut self, queue: usize, which: Option<usize>) {
        let Real { handle, model, .. } = &mut self.queues[queue];
        let letters = model.letters.len();
        let id = model.letters.get(which.map_or(0, |which| which % letters.max(1))).copied();
        let full = model.occupied() >= model.rules.capacity && model.held.is_empty();
        let result = match id {
            Some(id) if which.is_some() => handle.dead_letters().redrive_job(id),
            _ => handle.dead_letters().redrive(),
        };
        let Some(id) = id.filter(|_| !self.closed) else {
            let expected = if self.closed { Err(Refusal::Closed) } else { Ok(false) };
            return assert_eq!(result, expected);
        };
        let (lane, key, load) = (model.job(id).lane, model.job(id).key, model.job(id).load);
        let taken = model.has_key(key);
        match result {
            Err(Refusal::Full { .. }) => assert!(full),
            Err(Refusal::Duplicate { .. }) => assert!(!full && taken),
            result => {
                assert_eq!(result, Ok(true));
                assert!(!full && !taken);
                model.letters.retain(|letter| *letter != id);
                model.jobs.remove(&id);
                model.take_in(id, load, lane, At::Waiting, u64::MAX, key);
            }
        }
    }

    fn purge_letters(&mut self, queue: usize) {
        let Real { handle, model, .. } = &mut self.queues[queue];
        let all: Vec<JobId> = model.letters.iter().chain(&model.held).copied().collect();
        assert_eq!(handle.dead_letters().purge(), all.len());
        while let Some(id) = model.held.pop_front() {
            let At::Held(reason) = model.job(id).at else { unreachable!("it is held") };
            model.bury(id, reason);
        }
        model.letters.clear();
        all.iter().for_each(|id| drop(model.jobs.remove(id)));
    }

    // ---- looking ----

    /// The model learns what has happened in one act, and everything must add up.
    fn observe(&mut self) {
        self.summary.acts += 1;
        let now = self.now();
        self.see_ends();
        self.see_starts(now);
        let evictions = std::mem::take(&mut self.evictions);
        let mut new = std::mem::take(&mut self.new);
        for at in 0..self.queues.len() {
            let arrived = if at == GRAVE { std::mem::take(&mut self.queues[WORK].model.moved) } else { Vec::new() };
            let Real { handle, model, .. } = &mut self.queues[at];
            let expires = model.rules.retention.map_or(u64::MAX, |age| now + age);
            let real = self.sim.jobs(handle);
            let mut coming = new.remove(&at).unwrap_or_default();
            coming.extend(arrived.into_iter().map(|load| New { load, lane: usize::MAX, expires }));
            // the lane of a letter is the one it had
            let unknown = real.iter().filter(|state| !model.jobs.contains_key(&state.job));
            coming.iter_mut().zip(unknown).filter(|(new, _)| new.lane == usize::MAX).for_each(|(new, state)| new.lane = state.lane);
            let mut letters = Vec::new();
            handle.dead_letters().for_each(|letter| letters.push(letter.job_id()));
            model.follow(&real, &letters, now, evictions, coming);
            self.add_up(at, now);
        }
        let alive: usize = self.queues.iter().map(|queue| queue.model.alive()).sum();
        assert_eq!(self.world.alive.load(Relaxed), alive as i64, "payloads that live");
        self.see_completions();
    }

    fn see_ends(&mut self) {
        let ended: Vec<(usize, bool)> = self.sim.with_deliveries(|all| {
            let over = |flight: &(usize, &InFlight)| all[flight.1.record].ended.is_some();
            let ended = self.flying.iter().enumerate().filter(over);
            ended.map(|(at, flight)| (at, !matches!(all[flight.record].outcome, Outcome::Stale(_)))).collect()
        });
        for (at, counted) in ended.into_iter().rev() {
            let InFlight { queue, job, hold, seen, .. } = self.flying.remove(at);
            self.settled(queue, job, hold, seen.how, counted);
        }
    }

    fn see_starts(&mut self, now: u64) {
        let fresh: Vec<_> = self.sim.with_deliveries(|all| all[self.records..].to_vec());
        for record in fresh {
            let seen = self.world.seen.lock().unwrap().pop_front().expect("a handler was called");
            assert_eq!((seen.job, seen.attempt), (record.job, record.attempt));
            let queue = if *record.queue == *"work" { WORK } else { KEYED };
            let told =
                Told { load: seen.load, lane: seen.lane, attempt: seen.attempt, failures: seen.failures, expiries: Some(seen.expiries) };
            let model = &mut self.queues[queue].model;
            let hold = model.start(record.job, told, now);
            model.job(record.job).holds.last_mut().unwrap().next = seen.next;
            let mark = [record.job.get(), u64::from(seen.load), u64::from(seen.attempt), record.started.as_nanos(), record.worker as u64];
            self.summary.trace = mark.iter().fold(self.summary.trace, |hash, word| Rng::new(hash ^ word).next_u64());
            let flight = InFlight { record: self.records, queue, job: record.job, hold, seen };
            self.records += 1;
            match record.outcome {
                Outcome::Running => self.flying.push(flight),
                outcome => self.settled(queue, flight.job, hold, flight.seen.how, !matches!(outcome, Outcome::Stale(_))),
            }
        }
    }

    /// The ledger, the slots, and the model's own counts.
    fn add_up(&mut self, at: usize, now: u64) {
        let Real { handle, model, .. } = &mut self.queues[at];
        let (counts, depth) = (handle.counts(), u64::from(handle.depth()));
        let lingering = counts.lingering_made - counts.lingering_gone;
        assert_eq!(counts.accepted, counts.ended() + depth - lingering, "the ledger of `{}`: {counts:#?}", model.rules.name);
        assert_eq!(depth, model.occupied() as u64, "the slots of `{}`: {:#?}", model.rules.name, model.jobs);
        if model.rules.partitions {
            model.report_overruns(counts.expired_leases - model.counts.expired_leases, now);
        }
        // what depends on which worker looked where
        model.counts.taken_back = counts.taken_back;
        assert_eq!(counts, model.counts, "`{}`, at {now} (left: the queue)", model.rules.name);
    }

    fn see_completions(&mut self) {
        let queues = &self.queues;
        self.watched.retain_mut(|(queue, job, completion)| {
            let end = queues[*queue].model.ends.get(job);
            assert_eq!(completion.is_over(), end.is_some(), "{job} has come to {end:?}");
            let Some(end) = end else { return true };
            assert_eq!(completion.try_take().expect("it is over").end, *end);
            false
        });
    }

    // ---- the end ----

    /// Everything that is left comes out by value, once.
    fn shut_down(mut self) -> Summary {
        self.advance(0);
        self.summary.time = self.now();
        self.summary.deliveries = self.records as u64;
        self.summary.jobs = self.queues.iter().map(|queue| queue.model.counts.accepted).sum();
        let Run { sim, world, queues, consumers, hands, forgotten, flying, watched, publisher, exchange, .. } = self;
        let sim = Rc::try_unwrap(sim).expect("nobody else has it");
        let mut report = sim.shutdown(ShutdownOptions::new(Duration::ZERO, Duration::ZERO));
        let mut running = 0;
        for Real { handle, model, .. } in &queues {
            let undone = report.take_undone(handle);
            let mut ids: Vec<JobId> = undone.iter().map(|undone| undone.job).collect();
            ids.sort_unstable();
            let comes_back = |job: &crate::model::Job| {
                job.holds.is_empty() && matches!(job.at, At::Waiting | At::Delayed(_)) || matches!(job.at, At::Held(_))
            };
            // an expired job that nobody has come to dies now, and is held if it finds no room
            let dies = |job: &crate::model::Job| job.at == At::Expired && job.holds.is_empty();
            let room = model.rules.letters - model.letters.len();
            let held = if model.rules.hold { model.jobs.values().filter(|job| dies(job)).count().saturating_sub(room) } else { 0 };
            assert_eq!(ids.iter().filter(|id| dies(&model.jobs[id])).count(), held, "of `{}`: {:#?}", model.rules.name, model.jobs);
            let expected: Vec<JobId> = model.jobs.iter().filter(|(_, job)| comes_back(job)).map(|(id, _)| *id).collect();
            ids.retain(|id| !dies(&model.jobs[id]));
            assert_eq!(ids, expected, "handed back by `{}`: {:#?}", model.rules.name, model.jobs);
            for undone in &undone {
                let job = &model.jobs[&undone.job];
                assert_eq!((undone.lane, undone.failures, undone.expiries), (job.lane, job.failures, job.expiries));
                assert!(job.load.is_none_or(|load| load == undone.payload.number), "{} in {undone:?}: {job:?}", undone.payload.number);
            }
            let read = |job: &&crate::model::Job| {
                !job.holds.is_empty() && matches!(job.at, At::Running | At::Dying(_) | At::Waiting | At::Delayed(_) | At::Expired)
            };
            running += model.jobs.values().filter(read).count();
        }
        assert_eq!(report.running().len(), running, "{:?}", report.running());
        // late verdicts count still
        drop((hands, forgotten));
        for Real { handle, .. } in &queues {
            drop(handle.reclaim());
            assert!(handle.snapshot().ledger_balances(), "{:#?}", handle.snapshot());
        }
        let stuck = flying.len();
        drop((report, queues, consumers, watched, publisher, exchange));
        assert!(stuck > 0 || world.alive.load(Relaxed) == 0, "{} payloads are left", world.alive.load(Relaxed));
        self.summary
    }
}

/// What a publish comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Taken,
    Letter,
    Full,
    Duplicate,
    Closed,
}

fn config(rules: &Rules, rng: &mut Rng) -> QueueConfig {
    let overflow = if rules.hold { DeadLetterOverflow::Hold } else { DeadLetterOverflow::DropOldest };
    let mut letters = DeadLetterConfig::new().capacity(rules.letters as u32).overflow(overflow);
    if rules.onward {
        letters = letters.queue("grave");
    }
    let retry = RetryPolicy::new().max_attempts(rules.attempts).max_expiries(rules.expiries).backoff(Backoff::fixed(ms(rules.backoff)));
    let mut config = QueueConfig::new(rules.name)
        .capacity(rules.capacity as u64)
        .lanes([LaneConfig::new("high").weight(3), LaneConfig::new("low").weight(1)])
        .overflow(rules.overflow)
        .visibility(ms(rules.visibility))
        .max_lease(ms(rules.max_lease))
        .retry(retry)
        .dead_letters(letters);
    if rules.dedupe {
        config = config.dedupe(Dedupe::WhileLive, rules.capacity as u64 + 1);
    }
    if rules.partitions {
        config = config.partitions(4);
    }
    if let Some(age) = rules.retention {
        config = config.retention(ms(age));
    }
    if rng.up_to(1) == 0 {
        config = config.prefetch(1 + rng.up_to(7) as u32);
    }
    if rng.up_to(2) == 0 {
        config = config.discipline(Discipline::Strict { max_wait: ms(20) });
    }
    config
}

/// Topic matching, word by word.
fn matches(pattern: &str, key: &str) -> bool {
    fn from(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern, key) {
            ([], []) => true,
            (["#", rest @ ..], _) => (0..=key.len()).any(|skipped| from(rest, &key[skipped..])),
            (["*", rest @ ..], [_, key @ ..]) => from(rest, key),
            ([word, rest @ ..], [first, key @ ..]) => word == first && from(rest, key),
            _ => false,
        }
    }
    from(&pattern.split('.').collect::<Vec<_>>(), &key.split('.').collect::<Vec<_>>())
}
