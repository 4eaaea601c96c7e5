//! Nothing is seen, and every delivery ends when its handler returns.

use crate::clock::{Clock, Timestamp};
use crate::runtime::handler::Context;
use crate::verdict::Verdict;

#[derive(Debug, Clone, Default)]
pub(crate) struct Probe {}

impl Probe {
    pub(crate) fn watch(&self, _queue: &std::sync::Arc<str>, _worker: usize) -> Watcher {
        Watcher
    }
}

pub(crate) struct Watcher;

impl Watcher {
    #[inline(always)]
    pub(crate) fn begin<T>(&mut self, _context: &Context<T>, _now: Timestamp) {}

    #[inline(always)]
    pub(crate) fn keep(&mut self, outcome: Result<Verdict, String>, _clock: &dyn Clock) -> Option<Result<Verdict, String>> {
        Some(outcome)
    }

    #[inline(always)]
    pub(crate) fn end<T>(&mut self, _context: &Context<T>, _outcome: &Result<Verdict, String>, _now: Timestamp) {}

    #[inline(always)]
    pub(crate) fn is_busy(&self) -> bool {
        false
    }

    pub(crate) fn busy_until(&self) -> Option<Timestamp> {
        None
    }

    pub(crate) fn take_kept(&mut self) -> Option<(Result<Verdict, String>, Timestamp)> {
        None
    }
}
