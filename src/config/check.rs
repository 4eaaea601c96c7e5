//! Which settings of a queue can be.

use super::words;
use super::{Dedupe, Discipline, Overflow, QueueConfig, TICK, YEAR};
use crate::error::ConfigError;
use crate::limits;
use std::fmt;
use std::time::Duration;

impl QueueConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// The first setting that is out of range, with its value and what is allowed.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.faults().into_iter().next().map_or(Ok(()), Err)
    }

    /// Every setting that is out of range, and none that is so only because of another.
    pub(crate) fn faults(&self) -> Vec<ConfigError> {
        let mut found = Vec::new();
        let mut say = |result: Result<(), ConfigError>| found.extend(result.err());
        let scope = || format!("queue `{}`", self.name);
        let check = |ok, field, value: &dyn fmt::Display, allowed: &dyn fmt::Display| expect(scope, ok, field, value, allowed);
        let between = |field, value, low, high| range(scope, field, value, low, high);
        let spans = |field, value, low, high| spans(scope, field, value, low, high);
        say(named(scope, "name", &self.name));
        say(between("capacity", self.capacity, 1, u64::from(limits::CAPACITY_MAX)));
        say(between("lanes", self.lanes.len() as u64, 1, limits::LANES_MAX as u64));
        for (at, lane) in self.lanes.iter().enumerate() {
            let scope = || format!("queue `{}`, lane `{}`", self.name, lane.name);
            say(named(scope, "lane name", &lane.name));
            let is_new = self.lanes[..at].iter().all(|before| before.name != lane.name);
            say(expect(scope, is_new, "lane name", &"that of another lane", &"each name once"));
            say(range(scope, "lane weight", u64::from(lane.weight), 1, 1024));
        }
        let reserved: u64 = self.lanes.iter().map(|lane| u64::from(lane.reserve)).sum();
        if self.capacity > 0 {
            say(check(reserved < self.capacity, "lane reserves (sum)", &reserved, &format_args!("0..{}, the capacity", self.capacity)));
        }
        if let Discipline::Strict { max_wait } = self.discipline {
            say(spans("max_wait", max_wait, TICK, YEAR));
        }
        if let Overflow::Block(patience) = self.overflow {
            say(spans("overflow: Block", patience, Duration::ZERO, Duration::MAX));
        }
        say(spans("visibility", self.visibility, TICK, YEAR));
        if self.max_lease.is_some() {
            say(spans("max_lease", self.longest_lease(), self.visibility.min(YEAR), YEAR));
        }
        say(between("max_attempts", u64::from(self.retry.max_attempts), 1, u64::from(limits::ATTEMPTS_MAX)));
        say(between("max_expiries", u64::from(self.retry.max_expiries), 0, u64::from(limits::EXPIRIES_MAX)));
        if let Err(invalid) = self.retry.backoff.validate() {
            say(Err(ConfigError::new(scope(), invalid.field, invalid.value, invalid.range)));
        }
        self.dead_letters.faults(scope).into_iter().for_each(|fault| say(Err(fault)));
        if let Some(retention) = self.retention {
            say(spans("retention", retention, TICK, 10 * YEAR));
        }
        if let Some((mode, bound)) = self.dedupe {
            say(between("dedupe bound", bound, 1, u64::from(limits::CAPACITY_MAX)));
            let window = match mode {
                Dedupe::WhileLive => None,
                Dedupe::Window(window) => Some(("dedupe: Window", window)),
                Dedupe::Debounce(window) => Some(("dedupe: Debounce", window)),
                Dedupe::KeepLast(window) => Some(("dedupe: KeepLast", window)),
            };
            if let Some((field, window)) = window {
                say(spans(field, window, TICK, YEAR));
            }
        }
        if let Some(breaker) = self.publish_breaker {
            say(between("publish_breaker: failures", u64::from(breaker.failures), 1, u64::from(limits::BREAKER_FAILURES_MAX)));
            say(spans("publish_breaker: within", breaker.within, TICK, YEAR));
            say(spans("publish_breaker: open", breaker.open, TICK, YEAR));
        }
        if let Some((count, age)) = self.completed {
            say(between("completed_records: count", count, 1, u64::from(limits::CAPACITY_MAX)));
            say(spans("completed_records: age", age, TICK, Duration::MAX));
        }
        if let Some(count) = self.partitions {
            let fits = count.is_power_of_two() && count <= limits::PARTITIONS_MAX;
            say(check(fits, "partitions", &count, &format_args!("a power of two, 1..={}", limits::PARTITIONS_MAX)));
            let caller_runs = self.overflow == Overflow::CallerRuns;
            say(check(
                !caller_runs,
                "overflow",
                &"CallerRuns",
                &"any other: a queue with partitions keeps an order that its publishers would break",
            ));
        }
        let (low, high) = self.watermarks;
        say(check(low < high && high <= 100, "watermarks", &format_args!("({low}, {high})"), &"low < high <= 100"));
        if let Some(prefetch) = self.prefetch {
            say(between("prefetch", u64::from(prefetch), 1, u64::from(limits::PREFETCH_MAX)));
        }
        say(between("weight", u64::from(self.weight), 1, 1024));
        found
    }
}

/// What is set is `value`, and `allowed` is what may be.
fn expect(
    scope: impl Fn() -> String,
    ok: bool,
    field: &'static str,
    value: &dyn fmt::Display,
    allowed: &dyn fmt::Display,
) -> Result<(), ConfigError> {
    if ok { Ok(()) } else { Err(ConfigError::new(scope(), field, value, allowed)) }
}

pub(super) fn range(scope: impl Fn() -> String, field: &'static str, value: u64, low: u64, high: u64) -> Result<(), ConfigError> {
    expect(scope, (low..=high).contains(&value), field, &value, &format_args!("{low}..={high}"))
}

pub(super) fn spans(
    scope: impl Fn() -> String,
    field: &'static str,
    value: Duration,
    low: Duration,
    high: Duration,
) -> Result<(), ConfigError> {
    expect(scope, (low..=high).contains(&value), field, &format_args!("{value:?}"), &words::between(low, high))
}

fn named(scope: impl Fn() -> String, field: &'static str, name: &str) -> Result<(), ConfigError> {
    expect(scope, (1..=255).contains(&name.len()), field, &format_args!("{} bytes long", name.len()), &"1..=255 bytes")
}
