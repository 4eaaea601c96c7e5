//! Settings of pools: plain data, checked when the runtime is built.

use super::idle::Idle;
use super::placement::{OnPinFailure, Placement};
use crate::error::ConfigError;
use crate::limits;

/// A group of worker threads that serve the same queues.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolConfig {
    pub(crate) name: String,
    pub(crate) workers: Option<usize>,
    pub(crate) placement: Placement,
    pub(crate) on_pin_failure: OnPinFailure,
    pub(crate) idle: Idle,
    pub(crate) spares: usize,
}

impl PoolConfig {
    /// A pool with one worker per allowed physical core but one (at least one, at most 48, and no more than a CPU quota carries), placed by [`Placement::Auto`](crate::Placement::Auto).
    pub fn new(name: impl Into<String>) -> Self {
        PoolConfig {
            name: name.into(),
            workers: None,
            placement: Placement::Auto,
            on_pin_failure: OnPinFailure::Warn,
            idle: Idle::default(),
            spares: 1,
        }
    }

    /// How many workers: 1..=48.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Which cores the workers run on.
    #[must_use]
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// What happens when a worker cannot be pinned.
    ///
    /// ```
    /// use ringmill::{OnPinFailure, Placement, PoolConfig, QueueConfig, Runtime};
    ///
    /// // nobody stands in for a stuck worker; one that cannot be pinned works unpinned, and nobody is told
    /// let pool = PoolConfig::new("default").workers(1).spares(0).placement(Placement::Pack).on_pin_failure(OnPinFailure::Ignore);
    /// let mut builder = Runtime::builder();
    /// builder.pool(pool)?;
    /// let words = builder.queue(QueueConfig::new("words"), |_: &&str, _: &_| ())?;
    /// let runtime = builder.build()?;
    /// words.producer()?.publish("hello")?;
    /// assert!(runtime.shutdown(Default::default()).is_clean());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn on_pin_failure(mut self, on_pin_failure: OnPinFailure) -> Self {
        self.on_pin_failure = on_pin_failure;
        self
    }

    /// How a worker waits for work.
    #[must_use]
    pub fn idle(mut self, idle: Idle) -> Self {
        self.idle = idle;
        self
    }

    /// How many spare workers may stand in for workers whose handler is stuck past its lease, and for spares that are: 0..=8.
    #[must_use]
    pub fn spares(mut self, spares: usize) -> Self {
        self.spares = spares;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// The first setting that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let scope = || format!("pool `{}`", self.name);
        if let Some(workers) = self.workers
            && !(1..=Self::WORKERS_MAX).contains(&workers)
        {
            return Err(ConfigError::new(scope(), "workers", workers, format_args!("1..={}", Self::WORKERS_MAX)));
        }
        if self.spares > Self::SPARES_MAX {
            return Err(ConfigError::new(scope(), "spares", self.spares, format_args!("0..={}", Self::SPARES_MAX)));
        }
        Ok(())
    }

    /// Workers and spares together fit the seats of one eventcount.
    pub(crate) const WORKERS_MAX: usize = limits::SLEEPERS_MAX - Self::SPARES_MAX;
    pub(crate) const SPARES_MAX: usize = 8;
}
