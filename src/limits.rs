//! Every bound of the crate, with the relations between them checked at compile time.
//!
//! ```
//! use ringmill::limits::*;
//! use ringmill::{LaneConfig, PublishBreaker, QueueConfig, RetryPolicy, RoutingKey};
//!
//! let lanes = |count: usize| (0..count).map(|n| LaneConfig::new(n.to_string()).weight(1));
//! let largest = QueueConfig::new("q")
//!     .capacity(CAPACITY_MAX.into())
//!     .lanes(lanes(LANES_MAX))
//!     .weight(WEIGHT_MAX)
//!     .prefetch(PREFETCH_MAX)
//!     .retry(RetryPolicy::new().max_attempts(ATTEMPTS_MAX).max_expiries(EXPIRIES_MAX))
//!     .publish_breaker(PublishBreaker::new().failures(BREAKER_FAILURES_MAX))
//!     .partitions(PARTITIONS_MAX);
//! assert!(largest.validate().is_ok());
//! assert!(largest.clone().capacity(u64::from(CAPACITY_MAX) + 1).validate().is_err());
//! assert!(largest.clone().lanes(lanes(LANES_MAX + 1)).validate().is_err());
//! assert!(largest.clone().prefetch(PREFETCH_MAX + 1).validate().is_err());
//! assert!(largest.partitions(PARTITIONS_MAX * 2).validate().is_err());
//! assert!(RoutingKey::new(&"x".repeat(KEY_BYTES_MAX)).is_ok() && RoutingKey::new(&"x".repeat(KEY_BYTES_MAX + 1)).is_err());
//! assert!(RoutingKey::new(&vec!["x"; KEY_WORDS_MAX].join(".")).is_ok() && RoutingKey::new(&vec!["x"; KEY_WORDS_MAX + 1].join(".")).is_err());
//! assert!(CAPACITY_DEFAULT <= CAPACITY_MAX && CHAIN_MAX <= PREFETCH_MAX && LANES_MAX <= SOURCES_MAX);
//! assert_eq!((SLEEPERS_MAX, ACCOUNTS_MAX, JOB_KEY_BYTES_MAX, KIND_BYTES_MAX, BINDINGS_MAX), (56, 1024, 1024, 255, 1 << 20));
//! assert_eq!((CACHED_KEYS, CACHED_KEY_BYTES_MAX, BUFFERED_MAX), (1024, 54, 1024));
//! ```

/// The most slots a queue can have: 2^24 - 1, so that an index and "none" fit 24 bits.
pub const CAPACITY_MAX: u32 = (1 << INDEX_BITS) - 1;
/// The default capacity of a queue, in jobs.
pub const CAPACITY_DEFAULT: u32 = 65_536;
/// Bits of a slot index wherever one is packed into a word.
pub(crate) const INDEX_BITS: u32 = 24;
/// Bits of a delivery epoch in the state word and in a claim.
pub(crate) const EPOCH_BITS: u32 = 36;
/// "No index", in links and packed words.
pub(crate) const INDEX_NONE: u32 = (1 << INDEX_BITS) - 1;

/// A model checker runs the code: tables are small, for somebody looks at every word of them, and nobody spins.
pub(crate) const MODEL: bool = cfg!(any(loom, ringmill_shuttle));

/// The most lanes (priorities) a queue can have.
pub const LANES_MAX: usize = 8;
/// The most jobs that travel as one chain: one ring slot, one free-list node.
pub const CHAIN_MAX: u32 = 32;
/// The most jobs a worker may have claimed from one lane.
pub const PREFETCH_MAX: u32 = 32;
/// The most turns in the cycle of a lane schedule.
pub(crate) const LANE_TABLE: usize = 1024;
/// The largest weight of a lane, or of a queue within its pool.
pub const WEIGHT_MAX: u32 = 1024;
/// The most sources (lanes of a queue, or queues of a pool) that one discipline picks from.
pub const SOURCES_MAX: usize = 64;

/// The most failed attempts a job may be allowed.
pub const ATTEMPTS_MAX: u32 = 255;
/// The most lease expiries a job may be allowed. Each may leave one stuck holder behind.
pub const EXPIRIES_MAX: u32 = 14;
/// The most handlers that may hold one slot at a time: the current one and the stuck ones.
pub(crate) const HOLDERS_MAX: u32 = 15;

/// The most sleepers (workers of a pool, or consumers of a pull queue) one eventcount serves.
pub const SLEEPERS_MAX: usize = 56;
/// The most handles (producers, workers, consumers) with a credit account in one queue.
pub const ACCOUNTS_MAX: usize = if cfg!(loom) {
    4
} else if MODEL {
    64
} else {
    1024
};

/// The most bytes a routing key or binding key can have.
pub const KEY_BYTES_MAX: usize = 255;
/// The most bytes the key of a job can have.
pub const JOB_KEY_BYTES_MAX: usize = 1024;
/// The most jobs that are buffered in front of a queue.
pub const BUFFERED_MAX: usize = 1024;
/// The most partitions a queue can have: a worker looks for ready ones bit by bit, 64 in a word.
pub const PARTITIONS_MAX: u32 = 4096;
/// The most times in a row that a publisher may be told to find its queue full before its [breaker](crate::PublishBreaker) opens.
pub const BREAKER_FAILURES_MAX: u32 = 1024;
/// The most words a routing key or binding key can have.
pub const KEY_WORDS_MAX: usize = 32;
/// The most routing keys that an exchange's publisher remembers: of those that lead every job to one queue. A publish by one of them does not search the bindings.
pub const CACHED_KEYS: usize = 1024;
/// The most bytes of a routing key that is remembered.
pub const CACHED_KEY_BYTES_MAX: usize = 54;
/// The most bytes a name or prefix in a mux can have.
pub const KIND_BYTES_MAX: usize = 255;
/// The most bindings an exchange can have.
pub const BINDINGS_MAX: usize = 1 << 20;

/// Levels of the timer wheel.
pub(crate) const WHEEL_LEVELS: usize = 6;
/// Buckets of one level.
pub(crate) const WHEEL_BUCKETS: usize = 64;

const _: () = assert!(INDEX_BITS + EPOCH_BITS <= 64);
const _: () = assert!(HOLDERS_MAX > EXPIRIES_MAX, "every expiry may leave a holder behind");
const _: () = assert!(CHAIN_MAX <= PREFETCH_MAX, "a popped chain must fit the claims of a worker");
const _: () = assert!(LANES_MAX <= SOURCES_MAX && SOURCES_MAX <= LANE_TABLE);
const _: () = assert!(WHEEL_BUCKETS == 64, "one occupancy word per level");
