//! What cannot be is refused by name; what is merely strange works.

use super::*;
use crate::{
    Consumer, Context, DeadLetterConfig, Discipline, Job, LaneConfig, MissedPeriods, Overflow, Placement, Refusal, RuntimeBuilder, TICK,
};

fn refused(config: QueueConfig) -> String {
    let text = config.validate().unwrap_err().to_string();
    let built = Runtime::builder().pull_queue::<u32>(config).unwrap_err().to_string();
    assert_eq!(text, built, "the builder says the same");
    text
}

#[test]
fn capacities_from_1_to_what_fits_24_bits() {
    assert_eq!(refused(q(0)), "queue `q`: capacity is 0, allowed is 1..=16777215");
    assert_eq!(refused(q(1 << 24)), "queue `q`: capacity is 16777216, allowed is 1..=16777215");
    assert_eq!(refused(q(1 << 31)), "queue `q`: capacity is 2147483648, allowed is 1..=16777215");
    assert_eq!(refused(q(u64::MAX)), "queue `q`: capacity is 18446744073709551615, allowed is 1..=16777215");
    for capacity in [1, 2, 3, 5, 31, 33, 100, 1_000, 65_537] {
        let pull = Pull::<u32>::new(q(capacity));
        for _ in 0..2 {
            for n in 0..capacity as u32 {
                pull.producer.publish(n).unwrap();
            }
            assert!(pull.producer.publish(0).unwrap_err().is_full());
            for n in 0..capacity as u32 {
                let delivery = pull.get().unwrap();
                assert_eq!(*delivery, n);
                delivery.ack().unwrap();
            }
            assert!(pull.get().is_none());
        }
        pull.settled();
    }
}

#[test]
fn names_of_lanes_are_different_and_of_1_to_255_bytes() {
    let long = "x".repeat(256);
    let lanes = |names: [&str; 2]| q(4).lanes(names.map(LaneConfig::new));
    assert_eq!(refused(lanes(["a", "a"])), "queue `q`, lane `a`: lane name is that of another lane, allowed is each name once");
    assert_eq!(refused(lanes(["a", ""])), "queue `q`, lane ``: lane name is 0 bytes long, allowed is 1..=255 bytes");
    assert!(refused(lanes([&long, "b"])).ends_with("lane name is 256 bytes long, allowed is 1..=255 bytes"));
    assert!(lanes([&long[..255], "b"]).validate().is_ok());
}

#[test]
fn a_long_visibility_raises_max_lease_where_nobody_has_set_it() {
    assert!(q(4).visibility(secs(1_200)).validate().is_ok());
    assert_eq!(refused(q(4).visibility(secs(1_200)).max_lease(secs(600))), "queue `q`: max_lease is 600s, allowed is 20m to 365d");
    let pull = Pull::<u32>::new(q(4).visibility(secs(1_200)));
    pull.producer.publish(1).unwrap();
    let mut delivery = pull.get().unwrap();
    pull.advance(secs(1_000));
    assert_eq!(delivery.extend(secs(1_000)), Ok(secs(200)), "as long as the visibility, in all");
}

#[test]
fn lanes_from_1_to_8_of_weights_from_1_to_1024() {
    let lanes = |count: usize| q(64).lanes((0..count).map(|n| LaneConfig::new(n.to_string())));
    assert_eq!(refused(lanes(0)), "queue `q`: lanes is 0, allowed is 1..=8");
    assert_eq!(refused(lanes(9)), "queue `q`: lanes is 9, allowed is 1..=8");
    assert!(lanes(8).validate().is_ok());
    assert_eq!(refused(q(4).lanes([LaneConfig::new("a").weight(0)])), "queue `q`, lane `a`: lane weight is 0, allowed is 1..=1024");
    assert_eq!(refused(q(4).lanes([LaneConfig::new("a").weight(1_025)])), "queue `q`, lane `a`: lane weight is 1025, allowed is 1..=1024");
    assert_eq!(refused(q(4).weight(0)), "queue `q`: weight is 0, allowed is 1..=1024");
    let reserved = q(4).lanes([LaneConfig::new("a").reserve(2), LaneConfig::new("b").reserve(2)]);
    assert_eq!(refused(reserved), "queue `q`: lane reserves (sum) is 4, allowed is 0..4, the capacity");
    let overflowing = q(4).lanes([LaneConfig::new("a").reserve(u32::MAX), LaneConfig::new("b").reserve(u32::MAX)]);
    assert!(refused(overflowing).contains("8589934590"));
}

#[test]
fn times_within_their_ranges() {
    let year = "1ms to 365d";
    assert_eq!(refused(q(4).visibility(Duration::ZERO)), format!("queue `q`: visibility is 0ns, allowed is {year}"));
    assert_eq!(refused(q(4).visibility(Duration::MAX)), format!("queue `q`: visibility is {:?}, allowed is {year}", Duration::MAX));
    assert_eq!(refused(q(4).visibility(secs(601)).max_lease(secs(600))), "queue `q`: max_lease is 600s, allowed is 601s to 365d");
    assert_eq!(refused(q(4).max_lease(secs(29))), "queue `q`: max_lease is 29s, allowed is 30s to 365d");
    let strict = |max_wait| q(4).discipline(Discipline::Strict { max_wait });
    assert_eq!(refused(strict(Duration::ZERO)), format!("queue `q`: max_wait is 0ns, allowed is {year}"));
    assert_eq!(refused(strict(Duration::MAX)), format!("queue `q`: max_wait is {:?}, allowed is {year}", Duration::MAX));
    assert!(q(4).overflow(Overflow::Block(Duration::MAX)).validate().is_ok());
    let pull = Pull::<u32>::new(q(4));
    let refused = pull.producer.every(Duration::ZERO, MissedPeriods::Skip, || 1).unwrap_err();
    assert_eq!(refused.to_string(), "queue `q`: period is 0ns, allowed is 1ms or more");
    assert_eq!((refused.field(), refused.value(), refused.allowed()), ("period", "0ns", "1ms or more"));
    assert!(pull.producer.every(TICK, MissedPeriods::Skip, || 1).is_ok());
    assert!(pull.producer.every(Duration::MAX, MissedPeriods::CatchUp, || 1).is_ok());
    pull.advance(secs(1));
}

#[test]
fn attempts_expiries_backoff_watermarks_prefetch_and_letters() {
    let retry = |policy: RetryPolicy| refused(q(4).retry(policy));
    assert_eq!(retry(RetryPolicy::new().max_attempts(0)), "queue `q`: max_attempts is 0, allowed is 1..=255");
    assert_eq!(retry(RetryPolicy::new().max_attempts(256)), "queue `q`: max_attempts is 256, allowed is 1..=255");
    assert_eq!(retry(RetryPolicy::new().max_expiries(15)), "queue `q`: max_expiries is 15, allowed is 0..=14");
    assert_eq!(retry(RetryPolicy::new().backoff(Backoff::List(vec![]))), "queue `q`: backoff.list is [], allowed is at least one delay");
    for (low, high) in [(50, 50), (60, 50), (0, 101)] {
        assert_eq!(refused(q(4).watermarks(low, high)), format!("queue `q`: watermarks is ({low}, {high}), allowed is low < high <= 100"));
    }
    assert_eq!(refused(q(4).prefetch(0)), "queue `q`: prefetch is 0, allowed is 1..=32");
    assert_eq!(refused(q(4).prefetch(33)), "queue `q`: prefetch is 33, allowed is 1..=32");
    let letters = q(4).dead_letters(DeadLetterConfig::new().capacity(1 << 24));
    assert_eq!(refused(letters), "queue `q`: dead_letters.capacity is 16777216, allowed is 1..=16777215");
    let none = q(4).dead_letters(DeadLetterConfig::new().capacity(0));
    assert_eq!(refused(none), "queue `q`: dead_letters.capacity is 0, allowed is 1..=16777215");
    let age = q(4).dead_letters(DeadLetterConfig::new().retention(Duration::ZERO));
    assert_eq!(refused(age), "queue `q`: dead_letters.retention is 0ns, allowed is 1ms or more");
    assert_eq!(refused(QueueConfig::new("")), "queue ``: name is 0 bytes long, allowed is 1..=255 bytes");
    assert!(refused(QueueConfig::new("x".repeat(256))).ends_with("name is 256 bytes long, allowed is 1..=255 bytes"));
    // the smallest queue of all still has its marks
    let tiny = Pull::<u32>::new(q(1).watermarks(0, 1));
    tiny.producer.publish(1).unwrap();
    tiny.advance(secs(1));
    assert_eq!(tiny.queue.pressure(), crate::Pressure::High);
}

fn with_queue(pool: &str) -> RuntimeBuilder {
    let mut builder = Runtime::builder();
    builder.queue(q(4).pool(pool), |_: &u32, _: &Context<u32>| ()).unwrap();
    builder
}

#[test]
fn names_are_given_once_and_pools_exist() {
    let mut builder = with_queue("default");
    let again = builder.queue(q(4), |_: &u32, _: &Context<u32>| ()).unwrap_err();
    assert_eq!(again.to_string(), "runtime: queue is `q`, declared twice, allowed is each queue once");
    assert!(builder.pull_queue::<u8>(q(4)).is_err());
    builder.pool(PoolConfig::new("mine").workers(1)).unwrap();
    let again = builder.pool(PoolConfig::new("mine").workers(1)).unwrap_err();
    assert_eq!(again.to_string(), "runtime: pool is `mine`, declared twice, allowed is each pool once");
    let mut builder = with_queue("elsewhere");
    builder.pool(PoolConfig::new("mine").workers(1)).unwrap();
    let unknown = builder.build().unwrap_err().to_string();
    assert_eq!(unknown, "runtime: pool is `elsewhere`, which was not declared, allowed is mine, default");
}

#[test]
fn workers_from_1_to_48_also_more_than_cores() {
    let refused = |pool: PoolConfig| Runtime::builder().pool(pool).map(drop).unwrap_err().to_string();
    assert_eq!(refused(PoolConfig::new("p").workers(0)), "pool `p`: workers is 0, allowed is 1..=48");
    assert_eq!(refused(PoolConfig::new("p").workers(1_000)), "pool `p`: workers is 1000, allowed is 1..=48");
    assert_eq!(refused(PoolConfig::new("p").spares(9)), "pool `p`: spares is 9, allowed is 0..=8");
    watched(|| {
        let mut builder = Runtime::builder();
        let queue = builder.queue(q(1_000), |_: &u32, _: &Context<u32>| ()).unwrap();
        builder.pool(PoolConfig::new("default").workers(48).spares(8)).unwrap();
        let runtime = builder.build().unwrap();
        queue.producer().unwrap().publish_batch(&mut (0..1_000));
        let report = runtime.shutdown(ShutdownOptions::default());
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(report.queue("q").unwrap().counts.acked, 1_000);
    });
}

#[test]
fn a_core_that_is_not_there_is_named_and_nothing_is_left_running() {
    let mut builder = with_queue("default");
    let cores = "4095".parse().unwrap();
    builder.pool(PoolConfig::new("default").workers(1).placement(Placement::Cores(cores))).unwrap();
    let error = builder.build().unwrap_err().to_string();
    assert!(error.starts_with("placement: ") && error.contains("4095"), "{error}");
}

#[test]
fn a_runtime_without_queues_runs_and_ends() {
    watched(|| {
        let runtime = Runtime::builder().build().unwrap();
        assert!(runtime.snapshot().queues.is_empty());
        assert!(runtime.shutdown(ShutdownOptions::default()).is_clean());
    });
}

#[test]
fn batches_may_be_empty_or_huge_or_lie_about_their_length() {
    let pull = Pull::<u32>::new(q(1_000));
    assert_eq!(pull.producer.publish_batch(&mut std::iter::empty::<u32>()).accepted, 0);
    let mut endless = 0u32..;
    let batch = pull.producer.publish_batch(&mut endless);
    assert_eq!((batch.accepted, batch.refused.unwrap().into_inner(), endless.start), (1_000, 1_000, 1_001));
    pull.queue.purge();

    struct Liar(u32, usize);
    impl Iterator for Liar {
        type Item = u32;
        fn next(&mut self) -> Option<u32> {
            self.0 = self.0.checked_sub(1)?;
            Some(self.0)
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            (self.1, Some(self.1))
        }
    }
    for hint in [0, 3, 1_000, usize::MAX] {
        assert_eq!(pull.producer.publish_batch(&mut Liar(100, hint)).accepted, 100);
        assert_eq!(pull.queue.depth(), 100, "what was taken for the lie came back");
        assert_eq!(pull.queue.purge(), 100);
        pull.settled();
    }
}

#[test]
fn an_iterator_that_panics_in_the_middle_loses_nothing() {
    for at in [0, 1, 5, 31, 32, 33, 70] {
        let census = Census::default();
        let pull = Pull::<Counted>::new(q(100));
        let mut jobs = (0..80).map(|n| {
            assert_ne!(n, at, "in the middle");
            census.born(n)
        });
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pull.producer.publish_batch(&mut jobs)));
        assert!(caught.is_err());
        assert_eq!((pull.queue.depth(), census.alive()), (at, i64::from(at)));
        assert_eq!(pull.settled().accepted, u64::from(at));
        for n in 0..at {
            let delivery = pull.get().unwrap();
            assert_eq!(delivery.number, n);
            delivery.ack().unwrap();
        }
        assert_eq!(pull.producer.publish_batch(&mut (0..100).map(|n| census.born(n))).accepted, 100, "every slot is there");
    }
}

/// Panics where it is told to.
struct Touchy {
    on: On,
    counted: Counted,
}

#[derive(Clone, Copy, PartialEq)]
enum On {
    Drop,
    Validate,
    Clone,
    Nothing,
}

/// A panic whose payload panics when it is dropped.
struct Spiteful;

impl Drop for Spiteful {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("and another one");
        }
    }
}

impl Payload for Touchy {
    fn validate(&self) -> Result<(), Invalid> {
        if self.on == On::Validate {
            std::panic::panic_any(Spiteful);
        }
        Ok(())
    }
}

impl Drop for Touchy {
    fn drop(&mut self) {
        if self.on == On::Drop && !std::thread::panicking() {
            std::panic::panic_any(Spiteful);
        }
    }
}

impl Clone for Touchy {
    fn clone(&self) -> Self {
        assert!(self.on != On::Clone, "no clone");
        touchy(&self.counted.census, self.on)
    }
}

impl std::fmt::Debug for Touchy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Touchy")
    }
}

fn touchy(census: &Census, on: On) -> Touchy {
    Touchy { on, counted: census.born(0) }
}

#[test]
fn a_payload_whose_validate_panics_is_invalid() {
    let census = Census::default();
    let pull = Pull::<Touchy>::new(q(4));
    let error = pull.producer.publish(touchy(&census, On::Validate)).unwrap_err();
    assert_eq!(*error.refusal(), Refusal::Invalid { reason: "validate panicked: a panic without a message".into() });
    drop(error);
    let mut jobs = [touchy(&census, On::Nothing), touchy(&census, On::Validate)].into_iter();
    assert_eq!(pull.producer.publish_batch(&mut jobs).accepted, 1);
    pull.settled();
}

#[test]
fn a_payload_whose_drop_panics_is_counted_wherever_it_ends() {
    let census = Census::default();
    let touchy = || touchy(&census, On::Drop);
    let config =
        q(8).retry(at_once_up_to(1)).dead_letters(DeadLetterConfig::new().capacity(1).overflow(crate::DeadLetterOverflow::DropOldest));
    let pull = Pull::<Touchy>::new(config.clone());
    let next = || {
        pull.producer.publish(touchy()).unwrap();
        pull.get().unwrap()
    };
    next().ack().unwrap();
    next().settle(crate::Verdict::Discard).unwrap();
    next().complete_with(touchy()).unwrap();
    pull.get().unwrap().ack().unwrap();
    next().reject("kept").unwrap();
    next().reject("drops the one before").unwrap();
    let job = pull.producer.publish(touchy()).unwrap();
    assert!(pull.queue.cancel(job));
    assert!(pull.get().is_none());
    pull.producer.publish(touchy()).unwrap();
    assert_eq!(pull.queue.purge(), 1);
    pull.producer.publish(Job::new(touchy()).ttl(Duration::ZERO)).unwrap();
    assert!(pull.get().is_none());
    assert_eq!(pull.queue.dead_letters().purge(), 1);
    let counts = pull.settled();
    assert_eq!((counts.drop_panics, counts.accepted), (9, 9));
    assert_eq!(census.alive(), 0);
    // in a worker
    let push = Push::new(config, |_: &Touchy, _: &Context<Touchy>| ());
    push.producer.publish_batch(&mut (0..8).map(|_| touchy()));
    push.turn();
    let counts = push.settled();
    assert_eq!((counts.acked, counts.drop_panics, census.alive()), (8, 8, 0));
}

#[test]
fn a_payload_whose_clone_panics_harms_only_who_clones() {
    let census = Census::default();
    let pull = Pull::<Touchy>::new(q(4));
    pull.producer.publish(touchy(&census, On::Clone)).unwrap();
    pull.get().unwrap().reject("no").unwrap();
    let letters = pull.queue.dead_letters();
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| letters.list(9))).is_err());
    // nothing is poisoned, nothing is gone
    assert_eq!(letters.redrive(), Ok(true));
    pull.get().unwrap().ack().unwrap();
    assert_eq!(census.alive(), 0);
    pull.settled();
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Nothing;

#[derive(Clone, Copy, PartialEq, Debug)]
#[repr(align(128))]
struct Aligned(u8);

#[derive(Clone, Copy, PartialEq, Debug)]
struct Big([u8; 4096]);

#[derive(Clone, PartialEq, Debug)]
enum Niche {
    Text(Box<str>),
    None,
}

impl Payload for Nothing {}
impl Payload for Aligned {}
impl Payload for Big {}
impl Payload for Niche {}

fn goes_round<T: Payload + Clone + PartialEq + std::fmt::Debug>(make: impl Fn(u8) -> T) {
    let pull = Pull::<T>::new(q(50).retry(at_once_up_to(2)));
    let next = |consumer: &Consumer<T>, n: u8| {
        let delivery = consumer.try_recv().unwrap();
        assert_eq!(*delivery, make(n));
        assert!(std::ptr::from_ref(delivery.payload()).is_aligned());
        delivery
    };
    for _ in 0..3 {
        assert_eq!(pull.producer.publish_batch(&mut (0..50).map(&make).map(Job::new)).accepted, 50);
        assert_eq!(pull.producer.publish(make(9)).unwrap_err().into_inner(), make(9));
        for n in 0..50 {
            next(&pull.consumer, n).ack().unwrap();
        }
    }
    pull.producer.publish(make(1)).unwrap();
    next(&pull.consumer, 1).retry("again").unwrap();
    next(&pull.consumer, 1).complete_with(make(2)).unwrap();
    next(&pull.consumer, 2).reject("no").unwrap();
    assert_eq!(pull.queue.dead_letters().redrive(), Ok(true));
    next(&pull.consumer, 2).reject("no").unwrap();
    assert_eq!(pull.queue.dead_letters().take().unwrap().into_payload(), make(2));
    pull.settled();
    for n in 0..5 {
        pull.producer.publish_after(make(n), secs(u64::from(n))).unwrap();
    }
    let queue = pull.queue.clone();
    let mut undone = pull.runtime.shutdown(at_once()).take_undone(&queue);
    undone.sort_by_key(|job| job.job);
    assert_eq!(undone.into_iter().map(|job| job.payload).collect::<Vec<_>>(), (0..5).map(&make).collect::<Vec<_>>());
}

#[test]
fn payloads_of_every_shape_go_round() {
    goes_round(|_| Nothing);
    goes_round(|_| ());
    goes_round(Aligned);
    goes_round(|n| Big([n; 4096]));
    // a build without optimisation has a copy in every frame that it passes
    let huge = std::thread::Builder::new().stack_size(32 << 20).spawn(|| goes_round(|n| [n; 1 << 16])).unwrap();
    huge.join().unwrap();
    goes_round(|n| if n % 2 == 0 { Niche::None } else { Niche::Text(n.to_string().into()) });
    goes_round(|n| (n % 3 != 0).then(|| Box::new(n)));
    goes_round(|n| vec![n; usize::from(n)]);
    goes_round(std::num::NonZeroU8::new);
}

#[test]
fn permits_for_more_than_there_are_slots_are_refused() {
    let pull = Pull::<u32>::new(q(4));
    for count in [5, 1 << 24, usize::MAX] {
        assert!(matches!(pull.producer.reserve(0, count), Err(Refusal::Full { .. })));
        assert_eq!(pull.queue.depth(), 0);
    }
}
