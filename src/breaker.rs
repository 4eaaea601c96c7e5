//! A publisher's breaker: whoever finds a queue full again and again stops asking for a while.
//!
//! ```text
//!            n times full within w                  `open` has passed: the next publish is a probe
//!   closed -----------------------------> open --------------------------------------------------> probing
//!     ^                                    ^--------------------- full again -------------------------|
//!     +------------------------------------------------ accepted -------------------------------------+
//! ```
//!
//! It has no clock and sees no success: times are arguments, and so is the number of jobs that the publisher has got in so far, by which two looks tell whether there was
//! one between them. So a publish that is accepted writes nothing here. A refusal for another reason (an invalid payload, a duplicate) says nothing of room: it
//! neither opens nor closes anything.

use crate::clock::Timestamp;
use crate::config::PublishBreaker;
use std::collections::VecDeque;
use std::time::Duration;

/// The breaker of one publisher.
#[derive(Debug)]
pub struct Breaker {
    rule: PublishBreaker,
    state: State,
    /// How many jobs the publisher had got in when it last found the queue full, or when it began to probe.
    accepted: u64,
    /// When it found the queue full, oldest first: the last `failures` times at most, and none before its last success.
    full: VecDeque<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Timestamp },
    Probing,
}

impl Breaker {
    /// A closed one. Takes its memory here.
    pub fn new(rule: PublishBreaker) -> Self {
        Breaker { rule, state: State::Closed, accepted: 0, full: VecDeque::with_capacity(rule.failures as usize) }
    }

    /// While it is, nobody needs to [ask](Self::ask).
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// A publisher that has got `accepted` jobs in is about to publish: `None`, or how long it is refused yet.
    pub fn ask(&mut self, now: Timestamp, accepted: u64) -> Option<Duration> {
        match self.state {
            State::Open { until } if now < until => return Some(until.since(now)),
            State::Open { .. } => {
                self.state = State::Probing;
                // (what went into slots that it had reserved before was no probe)
                self.accepted = accepted;
            }
            State::Probing if accepted != self.accepted => self.state = State::Closed,
            State::Probing | State::Closed => {}
        }
        None
    }

    /// A publisher that has got `accepted` jobs in found the queue full.
    pub fn note_full(&mut self, now: Timestamp, accepted: u64) {
        let succeeded = accepted != self.accepted;
        match self.state {
            // of a publish that was let through before: a validation, or the iterator of a batch, may publish too
            State::Open { .. } => return,
            State::Probing if !succeeded => return self.open(now),
            State::Probing => self.state = State::Closed,
            State::Closed => {}
        }
        if succeeded {
            self.accepted = accepted;
            self.full.clear();
        }
        let failures = self.rule.failures as usize;
        if self.full.len() == failures {
            self.full.pop_front();
        }
        self.full.push_back(now);
        if self.full.len() == failures && now.since(self.full[0]) <= self.rule.within {
            self.open(now);
        }
    }

    fn open(&mut self, now: Timestamp) {
        self.state = State::Open { until: now + self.rule.open };
        self.full.clear();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    /// Opened at second 0, for five.
    fn opened() -> Breaker {
        let mut breaker = Breaker::new(PublishBreaker::new().failures(1).within(SECOND).open(5 * SECOND));
        breaker.note_full(at(0), 7);
        breaker
    }

    #[test]
    fn a_publish_that_was_let_through_before_does_not_keep_it_open() {
        let mut breaker = opened();
        breaker.note_full(at(4), 7);
        assert_eq!((breaker.ask(at(4), 7), breaker.ask(at(5), 7)), (Some(SECOND), None));
    }

    #[test]
    fn what_gets_in_past_an_open_breaker_does_not_close_it() {
        let mut breaker = opened();
        assert_eq!((breaker.ask(at(4), 8), breaker.ask(at(5), 9)), (Some(SECOND), None));
        breaker.note_full(at(5), 9);
        assert_eq!(breaker.ask(at(6), 9), Some(4 * SECOND));
    }

    #[test]
    fn a_probe_may_be_repeated_until_it_says_something() {
        let mut breaker = opened();
        assert_eq!((breaker.ask(at(5), 7), breaker.ask(at(9), 7), breaker.is_closed()), (None, None, false));
        assert_eq!((breaker.ask(at(9), 8), breaker.is_closed()), (None, true));
    }

    #[test]
    fn a_probe_that_got_in_is_known_at_the_next_refusal_too() {
        // between its question and its answer a publisher may publish something else: in a validation
        let mut breaker = Breaker::new(PublishBreaker::new().failures(2).within(SECOND));
        breaker.note_full(at(0), 7);
        breaker.note_full(at(0), 7);
        assert_eq!((breaker.ask(at(5), 7), breaker.is_closed()), (None, false));
        breaker.note_full(at(5), 8);
        assert!(breaker.is_closed());
        breaker.note_full(at(6), 8);
        assert!(!breaker.is_closed(), "that was the second");
    }

    #[test]
    fn a_time_that_steps_back_does_no_harm() {
        let mut breaker = opened();
        assert_eq!(breaker.ask(at(5), 7), None);
        breaker.note_full(at(4), 7);
        assert_eq!(breaker.ask(at(3), 7), Some(6 * SECOND));
    }
}
