//! A record of a trace, which becomes one job; and what that job does when it is delivered.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The lane of what must not wait: writes and errors.
pub const CRITICAL: u8 = 0;
/// The lane of ordinary work.
pub const DEFAULT: u8 = 1;
/// The lane of what can wait: static assets, long prompts.
pub const LOW: u8 = 2;
/// The names of the lanes, highest first.
pub const LANES: [&str; 3] = ["critical", "default", "low"];

/// One record of a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The line of the file it comes from, or its number in a generated workload; from 1.
    pub line: u64,
    /// When it arrives, counted from the first record of the trace.
    pub at: Duration,
    /// On whose behalf the job runs.
    pub tenant: Arc<str>,
    /// The routing key: words joined by `.`.
    pub key: Arc<str>,
    /// One of [`CRITICAL`], [`DEFAULT`] and [`LOW`].
    pub lane: u8,
    /// What its job does.
    pub work: Work,
}

/// What a job does when it is delivered.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// Parse this line of an access log and add it to the aggregate.
    Apache {
        /// The whole line.
        line: Box<str>,
        /// Its status, which decides the verdict.
        status: u16,
    },
    /// Keep a core busy as an inference with so many tokens would.
    Llm {
        /// Tokens of the prompt.
        context: u32,
        /// Tokens of the answer.
        generated: u32,
    },
    /// Do as the trace says.
    Scripted(Script),
    /// Nothing: the line could not be read, and publishing it must be refused.
    Invalid(Fault),
}

/// The scripted course of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Script {
    /// How long each delivery keeps its core busy, in microseconds.
    pub service_us: u64,
    /// So many deliveries fail before one succeeds.
    pub fail_times: u32,
    /// The delivery that does not fail rejects the job: a dead letter.
    pub reject: bool,
    /// Failing deliveries panic. With `fail_times` 0 every delivery does.
    pub panic: bool,
    /// The first delivery sleeps so long before it does anything, in milliseconds.
    pub stall_ms: u64,
}

/// How one delivery ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The job is done.
    Ack,
    /// This delivery failed; another may succeed.
    Transient(&'static str),
    /// No delivery can succeed: a dead letter.
    Reject(&'static str),
    /// The handler panics.
    Panic(&'static str),
}

impl Work {
    /// How delivery number `attempt` (from 1) of this work ends.
    pub fn verdict(&self, attempt: u32) -> Verdict {
        match self {
            Work::Apache { status: 500..=599, .. } if attempt <= 2 => Verdict::Transient("the server answered 5xx"),
            Work::Apache { status: 403, .. } => Verdict::Reject("403 forbidden"),
            Work::Apache { status: 416, .. } => Verdict::Reject("416 range not satisfiable"),
            Work::Apache { .. } | Work::Llm { .. } => Verdict::Ack,
            Work::Scripted(script) => script.verdict(attempt),
            Work::Invalid(_) => Verdict::Reject("an invalid record was delivered"),
        }
    }
}

impl Script {
    fn verdict(&self, attempt: u32) -> Verdict {
        let always = self.panic && self.fail_times == 0;
        match attempt <= self.fail_times || always {
            true if self.panic => Verdict::Panic("scripted panic"),
            true => Verdict::Transient("scripted failure"),
            false if self.reject => Verdict::Reject("scripted rejection"),
            false => Verdict::Ack,
        }
    }
}

/// Why a line is no record: where reading stopped and what would have been right there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line of the file, from 1; 0 where the reader does not know it.
    pub line: u64,
    /// The byte of the line, from 1.
    pub column: usize,
    /// What was expected and what was found, as a clause.
    pub message: String,
}

impl Fault {
    /// A fault at the byte `offset` (from 0) of its line.
    pub fn at(offset: usize, message: impl Into<String>) -> Self {
        Fault { line: 0, column: offset + 1, message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

/// The names of tenants and keys, each stored once.
#[derive(Debug, Default)]
pub struct Names(HashSet<Arc<str>>);

impl Names {
    /// The one copy of `name`.
    pub fn get(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        self.0.insert(name.clone());
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apache(status: u16) -> Work {
        Work::Apache { line: "".into(), status }
    }

    #[test]
    fn server_errors_fail_twice_and_succeed_at_the_third_delivery() {
        for status in [500, 503, 599] {
            let ends: Vec<_> = (1..=3).map(|attempt| apache(status).verdict(attempt)).collect();
            assert!(matches!(ends[..], [Verdict::Transient(_), Verdict::Transient(_), Verdict::Ack]), "{status}: {ends:?}");
        }
    }

    #[test]
    fn forbidden_and_bad_ranges_are_rejected_at_once_and_other_errors_are_work_done() {
        assert!(matches!(apache(403).verdict(1), Verdict::Reject(_)));
        assert!(matches!(apache(416).verdict(1), Verdict::Reject(_)));
        for status in [200, 304, 404, 401, 499] {
            assert_eq!(apache(status).verdict(1), Verdict::Ack);
        }
    }

    #[test]
    fn a_script_fails_so_many_times_and_then_does_the_rest() {
        let fails = Script { fail_times: 2, reject: true, ..Script::default() };
        assert!(matches!(fails.verdict(2), Verdict::Transient(_)));
        assert!(matches!(fails.verdict(3), Verdict::Reject(_)));
        let panics_once = Script { fail_times: 1, panic: true, ..Script::default() };
        assert!(matches!(panics_once.verdict(1), Verdict::Panic(_)));
        assert_eq!(panics_once.verdict(2), Verdict::Ack);
        let poison = Script { panic: true, ..Script::default() };
        assert!(matches!(poison.verdict(100), Verdict::Panic(_)));
    }

    #[test]
    fn a_name_is_stored_once() {
        let mut names = Names::default();
        let (a, b) = (names.get("a"), names.get("a"));
        assert!(Arc::ptr_eq(&a, &b));
    }
}
