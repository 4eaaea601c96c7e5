//! The paths that are counted: each prepares its rooms, then runs one operation so many times, in one thread, on a clock that stands still.
//!
//! What is prepared does not depend on how often the operation is run, and is never dropped: so the difference between two runs is the operations alone.

use ringmill::chain::{Chain, LinkArray, Links};
use ringmill::clock::{Clock, ManualClock, Timestamp};
use ringmill::credit::CreditPool;
use ringmill::queue::{Claimer, Lease, Publisher, Queue, When};
use ringmill::ring::{IndexRing, Popped};
use ringmill::rng::Rng;
use ringmill::sync::{EventCount, atomic::AtomicU64};
use ringmill::wheel::{Advance, Wheel};
use ringmill::{
    Binding, Context, Counts, ExchangeConfig, Handler, Job, JobError, Layers, Mux, Placement, PoolConfig, Producer, QueueConfig,
    QueueHandle, Runtime, RuntimeBuilder, Verdict,
};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

/// No path is run more often than this.
pub const RUNS_MAX: u32 = 2_048;
const CHAIN: u32 = 32;
const RETRY_DELAY: Duration = Duration::from_millis(5);
const TICK: Duration = Duration::from_millis(1);

/// Runs the operation so many times, and asserts what came of it.
type Run = Box<dyn FnMut(u32)>;

/// A path: what one operation is, and how to get ready for it.
pub struct Path {
    pub name: &'static str,
    /// One operation, in words.
    pub operation: &'static str,
    pub prepare: fn() -> Run,
}

pub const PATHS: [Path; 23] = [
    Path { name: "publish", operation: "a job published", prepare: publish },
    Path { name: "publish_batch_32", operation: "a job published, 32 at a time", prepare: publish_batch },
    Path {
        name: "publish_route",
        operation: "a job published by a route, through a topic exchange with 1 000 bindings",
        prepare: publish_route,
    },
    Path { name: "fan_out_3", operation: "a job published by a route to three queues", prepare: fan_out },
    Path { name: "claim_start", operation: "a job claimed and started by a worker, 8 claimed at a time", prepare: claim_start },
    Path { name: "settle_ack", operation: "a delivery acked by a worker", prepare: settle_ack },
    Path { name: "cycle", operation: "a job published, run and acked: rounds of 32, worker and timer included", prepare: cycle },
    Path { name: "cycle_batch_32", operation: "the same, the 32 published as a batch", prepare: cycle_batch },
    Path {
        name: "cycle_layers",
        operation: "as cycle, with three layers around the handler: a closure, two hooks, a net for panics",
        prepare: cycle_layers,
    },
    Path { name: "cycle_mux", operation: "as cycle, to one of 16 handlers by kind", prepare: cycle_mux },
    Path { name: "cycle_queues_4", operation: "as cycle, to four queues in turns, which one worker serves", prepare: cycle_queues },
    Path {
        name: "retry_nack",
        operation: "a delivery that failed, to be tried again after a delay: the worker's part",
        prepare: retry_nack,
    },
    Path { name: "retry_whole", operation: "the same until the job is back in its lane: the timer's part as well", prepare: retry_whole },
    Path { name: "credit", operation: "a credit taken and given back", prepare: credit },
    Path { name: "credit_chain_32", operation: "a chain of 32 credits taken and given back", prepare: credit_chain },
    Path { name: "ring_push", operation: "an index pushed", prepare: ring_push },
    Path { name: "ring_pop", operation: "an index popped", prepare: ring_pop },
    Path { name: "ring_pop_batch_32", operation: "an index popped, 32 at a time", prepare: ring_pop_batch },
    Path { name: "ring_push_chain_32", operation: "a chain of 32 pushed", prepare: ring_push_chain },
    Path { name: "ring_pop_chain_32", operation: "a chain of 32 popped", prepare: ring_pop_chain },
    Path { name: "wheel_insert", operation: "a timer inserted", prepare: wheel_insert },
    Path { name: "wheel_cancel", operation: "a timer cancelled", prepare: wheel_cancel },
    Path { name: "wheel_expire", operation: "a timer fired, about one a tick", prepare: wheel_expire },
];

// ---- the whole runtime ----

/// A runtime without threads: queues, and one worker for them.
struct Mill {
    runtime: Runtime,
    queues: Vec<QueueHandle<u64>>,
    producers: Vec<Producer<u64>>,
}

fn handler(job: &u64, _: &Context<u64>) {
    black_box(*job);
}

impl Mill {
    fn new() -> Self {
        Self::with(handler)
    }

    fn with(handler: impl Handler<u64>) -> Self {
        let mut builder = Self::builder();
        let queue = builder.queue(config("jobs"), handler).expect("the settings are valid");
        Self::open(builder, vec![queue])
    }

    fn of(queues: usize) -> Self {
        let mut builder = Self::builder();
        let queue = |number| builder.queue(config(&format!("jobs-{number}")), handler).expect("the settings are valid");
        let queues = (0..queues).map(queue).collect();
        Self::open(builder, queues)
    }

    fn builder() -> RuntimeBuilder {
        let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
        builder.pool(PoolConfig::new("default").workers(1).placement(Placement::None)).expect("the settings are valid");
        builder
    }

    fn open(builder: RuntimeBuilder, queues: Vec<QueueHandle<u64>>) -> Self {
        let runtime = builder.build().expect("nothing is started");
        let producers = queues.iter().map(|queue| queue.producer().expect("accounts are left")).collect();
        Mill { runtime, queues, producers }
    }

    /// To all queues in turns.
    fn publish(&self, jobs: u32) {
        let mut left = 0..u64::from(jobs);
        while !left.is_empty() {
            for (producer, job) in self.producers.iter().zip(&mut left) {
                producer.publish(black_box(job)).expect("there is room");
            }
        }
    }

    fn count(&self, of: impl Fn(Counts) -> u64) -> u64 {
        self.queues.iter().map(|queue| of(queue.counts())).sum()
    }

    fn publish_batch(&self) {
        let batch = self.producers[0].publish_batch(&mut (0..u64::from(CHAIN)).map(black_box));
        assert_eq!(batch.accepted, CHAIN as usize);
    }
}

fn config(name: &str) -> QueueConfig {
    QueueConfig::new(name).capacity(u64::from(RUNS_MAX))
}

fn publish() -> Run {
    let mill = Mill::new();
    Box::new(move |times| {
        mill.publish(times);
        assert_eq!(mill.count(|counts| counts.accepted), u64::from(times));
    })
}

fn publish_batch() -> Run {
    let mill = Mill::new();
    Box::new(move |times| {
        (0..times / CHAIN).for_each(|_| mill.publish_batch());
        assert_eq!(mill.count(|counts| counts.accepted), u64::from(times));
    })
}

/// The bindings of a topic exchange: many to one queue, and one key for all three.
fn publish_through(to: &'static str, copies: u64) -> Run {
    let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
    let queues = ["a", "b", "c"].map(|name| {
        let config = QueueConfig::new(name).capacity(u64::from(RUNS_MAX));
        builder.pull_queue::<u64>(config).expect("the settings are valid")
    });
    let topics = builder.exchange(ExchangeConfig::topic("topics")).expect("the settings are valid");
    let one = (0..1_000).map(|n| Binding::new(format!("one.{n}"), &queues[0]));
    topics.rebind(one.chain(queues.iter().map(|queue| Binding::new("three.#", queue)))).expect("the bindings are valid");
    let runtime = builder.build().expect("nothing is started");
    let (mut publisher, route) = (topics.publisher(), topics.route(to).expect("it is a key"));
    // what is opened by the first publish
    publisher.publish(&route, 0).expect("there is room");
    Box::new(move |times| {
        for job in 1..u64::from(times) {
            publisher.publish(&route, black_box(job)).expect("there is room");
        }
        assert_eq!(queues.iter().map(|queue| queue.counts().accepted).sum::<u64>(), u64::from(times) * copies);
        let _ = &runtime;
    })
}

fn publish_route() -> Run {
    publish_through("one.500", 1)
}

fn fan_out() -> Run {
    publish_through("three.here", 3)
}

fn cycle() -> Run {
    cycles(Mill::new())
}

fn cycle_layers() -> Run {
    let layers = Layers::new()
        .around(|_: &u64, _, next| next())
        .observe(|job: &u64, _: &_| *job, |span, _: &u64, _, _| assert_eq!(black_box(span), span))
        .catch_panic(|_: &u64, _, _| ());
    cycles(Mill::with(layers.handler(handler)))
}

fn cycle_mux() -> Run {
    const KINDS: [&str; 16] = [
        "audit",
        "email:bounce",
        "email:invoice",
        "email:welcome",
        "export",
        "image:crop",
        "image:resize",
        "image:thumb",
        "import",
        "index",
        "invoice:pay",
        "invoice:send",
        "report",
        "sms:send",
        "video:cut",
        "webhook",
    ];
    let mux =
        KINDS.iter().fold(Mux::by(|job: &u64| KINDS[*job as usize % 16]), |mux, kind| mux.on(*kind, handler).expect("each name once"));
    cycles(Mill::with(mux))
}

fn cycle_queues() -> Run {
    cycles(Mill::of(4))
}

fn cycles(mill: Mill) -> Run {
    Box::new(move |times| {
        for _ in 0..times / CHAIN {
            mill.publish(CHAIN);
            mill.runtime.turn();
        }
        assert_eq!(mill.count(|counts| counts.acked), u64::from(times));
    })
}

fn cycle_batch() -> Run {
    let mill = Mill::new();
    Box::new(move |times| {
        for _ in 0..times / CHAIN {
            mill.publish_batch();
            mill.runtime.turn();
        }
        assert_eq!(mill.count(|counts| counts.acked), u64::from(times));
    })
}

// ---- a worker's acts ----

/// A queue without a runtime, full, and a worker's claimer with a place for each delivery.
struct Bench {
    queue: Arc<Queue<u64>>,
    clock: ManualClock,
    claimer: Claimer<u64>,
    places: Vec<Option<Lease>>,
    /// Keeps its accounts open.
    _publisher: Publisher,
}

impl Bench {
    /// Every job waits in the lane.
    fn waiting() -> Self {
        let bell = || Arc::new(EventCount::new());
        let until = Arc::new(AtomicU64::new(u64::MAX));
        let queue = Queue::new(&config("jobs"), TICK, Duration::MAX, bell(), bell(), until).expect("the settings are valid");
        let queue = Arc::new(queue);
        let (clock, publisher) = (ManualClock::new(), queue.open_publisher().expect("accounts are left"));
        for job in 0..u64::from(RUNS_MAX) {
            queue.try_publish(&publisher, Job::new(job), When::Now, clock.now()).expect("there is room");
        }
        let claimer = queue.open_claimer(0, false, 1).expect("accounts are left");
        let places = (0..RUNS_MAX).map(|_| None).collect();
        Bench { queue, clock, claimer, places, _publisher: publisher }
    }

    /// Every job has been started.
    fn running() -> Self {
        let mut bench = Self::waiting();
        bench.start(RUNS_MAX);
        bench
    }

    fn start(&mut self, jobs: u32) {
        let now = self.clock.now();
        for place in &mut self.places[..jobs as usize] {
            assert!(self.claimer.next_into(now, place));
        }
    }

    fn nack(&mut self, errors: &mut Vec<JobError>, jobs: u32) {
        let now = self.clock.now();
        for place in &mut self.places[..jobs as usize] {
            let (lease, error) = (place.take().expect("it was started"), errors.pop().expect("there are enough"));
            let plan = self.claimer.plan(&lease, Verdict::RetryAfter(error, RETRY_DELAY));
            let aftermath = self.claimer.settle(lease, plan, now, true).expect("the lease is current");
            self.claimer.after(aftermath);
        }
    }

    /// Turns of the timer, until it has nothing more to do now. Says when it will have.
    fn turn(&self) -> Timestamp {
        loop {
            let next = self.queue.turn(&self.clock);
            if next > self.clock.now() {
                return next;
            }
        }
    }
}

/// What went wrong is the handler's to say, and to allocate.
fn errors() -> Vec<JobError> {
    (0..RUNS_MAX).map(|_| JobError::transient("busy")).collect()
}

fn claim_start() -> Run {
    let mut bench = Bench::waiting();
    Box::new(move |times| {
        bench.start(times);
        assert_eq!(bench.queue.totals().counts.started, u64::from(times));
    })
}

fn settle_ack() -> Run {
    let mut bench = Bench::running();
    Box::new(move |times| {
        let now = bench.clock.now();
        for place in &mut bench.places[..times as usize] {
            bench.claimer.ack(place, now);
        }
        assert_eq!(bench.queue.free(), times);
    })
}

fn retry_nack() -> Run {
    let (mut bench, mut errors) = (Bench::running(), errors());
    Box::new(move |times| {
        bench.nack(&mut errors, times);
        assert_eq!(bench.queue.totals().counts.retried, u64::from(times));
    })
}

fn retry_whole() -> Run {
    let (mut bench, mut errors) = (Bench::running(), errors());
    Box::new(move |times| {
        bench.nack(&mut errors, times);
        let due = bench.turn();
        assert_eq!(due, bench.clock.now() + RETRY_DELAY);
        bench.clock.advance(RETRY_DELAY);
        // the wheel is empty
        assert!(bench.turn() > due + RETRY_DELAY && bench.claimer.look());
    })
}

// ---- rooms ----

fn credits() -> (CreditPool, LinkArray) {
    let links = LinkArray::new(RUNS_MAX as usize);
    (CreditPool::new(0..RUNS_MAX, &links), links)
}

fn credit() -> Run {
    let (pool, links) = credits();
    let account = pool.open_account().expect("accounts are left");
    Box::new(move |times| {
        for _ in 0..times {
            let index = pool.acquire(&links, &account).expect("credits are left");
            pool.release(&links, &account, black_box(index));
        }
        assert_eq!(pool.free(), RUNS_MAX);
    })
}

fn credit_chain() -> Run {
    let (pool, links) = credits();
    let account = pool.open_account().expect("accounts are left");
    Box::new(move |times| {
        for _ in 0..times {
            let chain = pool.acquire_chain(&links, &account, CHAIN).expect("credits are left");
            assert_eq!(chain.len(), CHAIN);
            pool.release_chain(&links, &account, black_box(chain));
        }
        assert_eq!(pool.free(), RUNS_MAX);
    })
}

/// A ring with room for every chain, and what to pop into.
fn ring(chain: u32) -> (IndexRing, Popped) {
    (IndexRing::new(RUNS_MAX * chain), Popped::new())
}

/// Chains that follow one another.
fn push(ring: &IndexRing, chain: u32, times: u32) {
    for number in 0..times {
        ring.push(black_box(Chain::new(number * chain, chain)));
    }
}

fn pop(ring: &IndexRing, max: u32, out: &mut Popped, times: u32) {
    for _ in 0..times {
        assert!(ring.pop(max, out));
        assert_eq!(black_box(&*out).indices(), max);
    }
}

fn ring_push() -> Run {
    let (ring, _) = ring(1);
    Box::new(move |times| {
        push(&ring, 1, times);
        assert_eq!(ring.len_hint(), u64::from(times));
    })
}

fn ring_pop() -> Run {
    let (ring, mut out) = ring(1);
    push(&ring, 1, RUNS_MAX);
    Box::new(move |times| {
        pop(&ring, 1, &mut out, times);
        assert_eq!(ring.len_hint(), u64::from(RUNS_MAX - times));
    })
}

fn ring_pop_batch() -> Run {
    let (ring, mut out) = ring(1);
    push(&ring, 1, RUNS_MAX);
    Box::new(move |times| {
        pop(&ring, CHAIN, &mut out, times / CHAIN);
        assert_eq!(ring.len_hint(), u64::from(RUNS_MAX - times));
    })
}

/// The links of all chains are made beforehand: that is the slab's part.
fn linked_chains() -> LinkArray {
    let links = LinkArray::new((RUNS_MAX * CHAIN) as usize);
    (0..RUNS_MAX * CHAIN - 1).for_each(|index| links.set_next(index, index + 1));
    links
}

fn ring_push_chain() -> Run {
    let (ring, mut out) = ring(CHAIN);
    let links = linked_chains();
    Box::new(move |times| {
        push(&ring, CHAIN, times);
        assert!(ring.pop(CHAIN, &mut out));
        assert!(out.chains()[0].iter(&links).eq(0..CHAIN));
    })
}

fn ring_pop_chain() -> Run {
    let (ring, mut out) = ring(CHAIN);
    push(&ring, CHAIN, RUNS_MAX);
    Box::new(move |times| {
        pop(&ring, CHAIN, &mut out, times);
        assert_eq!(out.chains()[0].first(), (times - 1) * CHAIN);
    })
}

// ---- the wheel ----

/// A wheel, and when its timers are due: the timer `id` about `id` ticks from now.
fn wheel() -> (Wheel, Vec<u64>) {
    let mut rng = Rng::new(1);
    let dues = (0..u64::from(RUNS_MAX)).map(|id| 1 + id + rng.up_to(16)).collect();
    (Wheel::new(RUNS_MAX, 0), dues)
}

fn filled_wheel() -> Wheel {
    let (mut wheel, dues) = wheel();
    (0..).zip(&dues).for_each(|(id, &due)| wheel.insert(id, due));
    wheel
}

fn wheel_insert() -> Run {
    let (mut wheel, dues) = wheel();
    Box::new(move |times| {
        (0..times).zip(&dues).for_each(|(id, &due)| wheel.insert(id, due));
        assert_eq!(wheel.len(), times as usize);
    })
}

fn wheel_cancel() -> Run {
    let mut wheel = filled_wheel();
    Box::new(move |times| {
        (0..times).for_each(|id| assert!(wheel.cancel(id)));
        assert_eq!(wheel.len(), (RUNS_MAX - times) as usize);
    })
}

fn wheel_expire() -> Run {
    let mut wheel = filled_wheel();
    Box::new(move |times| {
        let (mut fired, mut tick) = (0, 0);
        while fired < times {
            tick += 1;
            while wheel.advance(tick, 256, |id| fired += u32::from(black_box(id) < RUNS_MAX)) == Advance::More {}
        }
        assert_eq!(wheel.len(), (RUNS_MAX - fired) as usize);
    })
}
