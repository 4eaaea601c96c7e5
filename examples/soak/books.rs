//! The books of a life, and of all lives: what must add up, adds up.

use crate::oracle::{End, Oracle, Tally};
use ringmill::QueueSnapshot;
use std::fmt;

/// How a life went.
#[derive(Default)]
pub struct Outcome {
    pub shape: String,
    /// Jobs that were accepted.
    pub jobs: u64,
    /// Publishes that were refused.
    pub refused: u64,
    pub deliveries: u64,
    pub retried: u64,
    pub expired: u64,
    pub stale: u64,
    pub panics: u64,
    pub dead: u64,
    pub handed_back: u64,
    pub violations: Vec<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} jobs accepted, {} refused, {} deliveries, {} leases expired, {} stale",
            self.shape, self.jobs, self.refused, self.deliveries, self.expired, self.stale
        )?;
        for violation in &self.violations {
            write!(f, "\n  VIOLATION {violation}")?;
        }
        Ok(())
    }
}

/// How all lives went.
#[derive(Default)]
pub struct Summary {
    pub lives: u64,
    pub jobs: u64,
    refused: u64,
    deliveries: u64,
    retried: u64,
    expired: u64,
    stale: u64,
    panics: u64,
    dead: u64,
    handed_back: u64,
}

impl Summary {
    pub fn add(&mut self, outcome: &Outcome) {
        self.lives += 1;
        self.jobs += outcome.jobs;
        self.refused += outcome.refused;
        self.deliveries += outcome.deliveries;
        self.retried += outcome.retried;
        self.expired += outcome.expired;
        self.stale += outcome.stale;
        self.panics += outcome.panics;
        self.dead += outcome.dead;
        self.handed_back += outcome.handed_back;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} lives, {} jobs accepted, {} refused, {} deliveries, {} retried, {} panics, {} leases expired, {} stale settlements, {} dead letters, {} handed back",
            self.lives,
            self.jobs,
            self.refused,
            self.deliveries,
            self.retried,
            self.panics,
            self.expired,
            self.stale,
            self.dead,
            self.handed_back
        )
    }
}

/// A queue at rest: the ledger, and no lost wake-up.
pub fn check_rest(oracle: &Oracle, when: &str, queue: &QueueSnapshot) {
    if !queue.ledger_balances() {
        oracle.violation(format_args!("the ledger does not balance {when}: {queue:?}"));
    }
    if queue.counts.wake_rescued > 0 {
        oracle.violation(format_args!("{} wake-ups were lost {when}", queue.counts.wake_rescued));
    }
    let letters = queue.letters_redriven
        + queue.letters_purged
        + queue.letters_dropped_oldest
        + queue.letters_dropped_by_age
        + queue.dead_letters as u64;
    let buried = letters + oracle.total(Tally::Callback);
    if queue.counts.dead_lettered != buried {
        oracle.violation(format_args!("{} dead letters were counted and {buried} are known {when}", queue.counts.dead_lettered));
    }
}

/// The end of a life whose undone jobs were given back by value, `undone` of them, and whose letters were taken out.
pub fn check_end(oracle: &Oracle, queue: &QueueSnapshot, undone: u64, is_pull: bool) {
    check_rest(oracle, "in the end", queue);
    let counts = &queue.counts;
    let forgotten = oracle.total(Tally::Forgotten);
    if queue.held() > forgotten {
        oracle.violation(format_args!("{} jobs are held in the end: {queue:?}", queue.held()));
    }
    let deliveries = oracle.total(Tally::Deliveries);
    if counts.started != deliveries {
        oracle.violation(format_args!("{} deliveries were counted and {deliveries} made", counts.started));
    }
    // every delivery ends in one way. One that ends while its job is cancelled, or after the shutdown, is counted by what became of the job
    let known = counts.acked + counts.retried + counts.snoozed + counts.dead_rejected + counts.dead_attempts;
    let known = known + counts.dropped_discarded + counts.expired_leases;
    let others = counts.dropped_cancelled + counts.handed_back + forgotten;
    if known > counts.started + oracle.total(Tally::InCaller) || known + others < counts.started {
        oracle.violation(format_args!("{} deliveries were started, {known} ended and {others} may have: {queue:?}", counts.started));
    }
    let acks = oracle.total(Tally::Acks);
    if is_pull && counts.acked != acks {
        oracle.violation(format_args!("{} acks were counted and {acks} confirmed", counts.acked));
    }
    // a publish that met the shutdown was accepted, handed back to its own publisher, and refused
    let Some(met) = counts.handed_back.checked_sub(undone).filter(|met| *met <= oracle.total(Tally::RefusedClosed)) else {
        return oracle.violation(format_args!("{} jobs were handed back and {undone} came", counts.handed_back));
    };
    let fresh = counts.accepted - queue.letters_redriven;
    let refused = oracle.ended(End::Refused) - met;
    // follow-ups of stale deliveries are dropped by the worker, or came back from the delivery
    let Some(lost) = oracle.total(Tally::Made).checked_sub(fresh + refused).filter(|lost| *lost <= counts.stale_settles) else {
        let made = oracle.total(Tally::Made);
        return oracle
            .violation(format_args!("{made} jobs were made, {fresh} accepted, {refused} refused, {} stale", counts.stale_settles));
    };
    let letters = queue.letters_dropped_oldest + queue.letters_dropped_by_age + queue.letters_purged + oracle.total(Tally::Callback);
    let dropped = counts.acked + queue.dropped() + letters + lost - oracle.ended(End::Letter) - oracle.ended(End::FollowUp);
    let inside = oracle.ended(End::Inside);
    if inside > dropped || inside + forgotten < dropped {
        oracle.violation(format_args!("{inside} payloads were dropped inside, {dropped} should have been, {forgotten} are forgotten"));
    }
}
