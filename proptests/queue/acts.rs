//! Every act, carried out on both. Where the real queue has a choice, the model follows it.

use super::model::{Act, At, CAPACITY, How, MAX_LEASE, Model, Numbered, SWEEP, VISIBILITY};
use super::pair::{Hand, Pair, ms};
use ringmill::{Became, ExtendError, Job, JobId, Refusal, Verdict};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Pair {
    /// Time has passed: delays, or lives that are shorter, end to the millisecond; leases never early and within two sweeps.
    fn follow_time(&mut self) {
        for job in self.jobs.values_mut() {
            if let At::Delayed(due) = job.at
                && due.min(job.expires) <= self.now
            {
                let ended = due.min(job.expires);
                job.at = At::Waiting((ended, self.acts), (ended, self.acts));
            }
        }
        for at in 0..self.hands.len() {
            let hand = &self.hands[at];
            if !hand.current {
                continue;
            }
            let age = self.now - hand.since;
            let current = match &hand.real {
                Some(real) => real.is_current(),
                // forgotten: enough time was let pass
                None => age < hand.length,
            };
            if age < hand.length {
                assert!(current, "the lease of job {} ended after {age} of {} ms", hand.job, hand.length);
            }
            if age > hand.length + 2 * SWEEP + 1 {
                assert!(!current, "the lease of job {} of {} ms still runs after {age}", hand.job, hand.length);
            }
            if !current {
                let (job, earliest) = (hand.job, hand.since + hand.length);
                self.hands[at].current = false;
                self.expired(job, earliest);
            }
        }
    }

    /// Jobs that the model has doomed and somebody has popped; `all` must have been.
    fn follow_disposals(&mut self, all: bool) {
        let (letters, _) = self.letters_and_held();
        let alive = self.alive.lock().clone();
        for &number in &letters {
            let job = &self.jobs[&number];
            if job.at != At::Letter {
                assert!(matches!(job.at, At::Waiting(..)) && job.expires <= self.now && job.holders == 0, "no letter yet: {job:?}");
                self.bury(number);
            }
        }
        assert_eq!(letters, self.letters.iter().copied().collect::<Vec<_>>(), "the dead letters, oldest first");
        let numbers: Vec<u32> = self.jobs.keys().copied().collect();
        for number in numbers {
            let job = &self.jobs[&number];
            match job.at {
                At::Cancelled if !alive.contains(&number) => {
                    self.tally.cancelled += 1;
                    self.end(number);
                }
                At::Cancelled => assert!(!all, "a cancelled job was not dropped: {job:?}"),
                At::Waiting(..) if all => panic!("{job:?} waits and is not delivered"),
                _ => {}
            }
        }
    }

    fn recv(&mut self) {
        match self.consumer.try_recv() {
            Ok(real) => {
                let number = real.0;
                assert!(!self.paused, "a paused queue delivers");
                let job = self.jobs[&number].clone();
                let At::Waiting(lo, _) = job.at else { panic!("delivered, but not waiting: {job:?}") };
                assert!(job.expires > self.now, "an expired job starts");
                for other in self.jobs.values().filter(|other| other.expires > self.now) {
                    if let At::Waiting(_, hi) = other.at {
                        assert!(other.lane >= job.lane, "the high lane goes first");
                        assert!(other.lane > job.lane || hi >= lo, "a lane is first in, first out: {job:?} before {other:?}");
                    }
                }
                assert_eq!((real.lane(), real.failures()), (job.lane, job.failures));
                assert_eq!(real.attempt(), 1 + job.failures + job.expiries + job.snoozes);
                if let Some(id) = job.id {
                    assert_eq!(real.job_id(), id);
                }
                let model = self.job(number);
                (model.at, model.id) = (At::Running, Some(real.job_id()));
                model.holders += 1;
                self.tally.started += 1;
                let hand = Hand { real: Some(real), job: number, current: true, started: self.now, since: self.now, length: VISIBILITY };
                self.hands.push(hand);
                self.follow_disposals(false);
            }
            Err(_) if self.paused => {}
            Err(_) => self.follow_disposals(true),
        }
    }

    fn clock_ms(&self) -> u64 {
        self.runtime.now().as_nanos() / 1_000_000
    }

    fn became(&self, number: u32) -> Option<Became> {
        let job = &self.jobs[&number];
        match job.at {
            At::Waiting(..) if job.expires <= self.now => None,
            At::Waiting(..) | At::Delayed(_) => Some(Became::Waiting),
            At::Running => Some(Became::Redelivered),
            _ => Some(Became::Ended),
        }
    }

    fn settle(&mut self, at: usize, how: How) {
        let Some(at) = self.in_hand(at) else { return };
        let mut hand = self.hands.remove(at);
        let real = hand.real.take().unwrap();
        let result = match how {
            How::Ack => real.ack(),
            How::Retry => real.retry("no"),
            How::Snooze(delay) => real.snooze(ms(delay)),
            How::Reject => real.reject("never"),
            How::Discard => real.settle(Verdict::Discard),
            How::Drop => {
                drop(real);
                self.tally.abandoned += 1;
                if hand.current {
                    Ok(())
                } else {
                    self.tally.stale += 1;
                    self.leave(hand.job);
                    return;
                }
            }
        };
        match result {
            Ok(()) => {
                assert!(hand.current, "a stale delivery was settled");
                self.settled(hand.job, how);
            }
            Err(stale) => {
                assert!(!hand.current, "a current delivery is stale");
                if let Some(became) = self.became(hand.job) {
                    assert_eq!(stale.became(), became);
                }
                self.tally.stale += 1;
                self.leave(hand.job);
            }
        }
    }

    /// The deliveries that are not forgotten, by number.
    fn in_hand(&self, number: usize) -> Option<usize> {
        let in_hand: Vec<usize> = (0..self.hands.len()).filter(|&at| self.hands[at].real.is_some()).collect();
        (!in_hand.is_empty()).then(|| in_hand[number % in_hand.len()])
    }

    fn extend(&mut self, at: usize, length: u64) {
        let Some(at) = self.in_hand(at) else { return };
        let now = self.now;
        let hand = &mut self.hands[at];
        let left = (hand.started + MAX_LEASE).saturating_sub(now);
        match hand.real.as_mut().unwrap().extend(ms(length)) {
            Ok(granted) => {
                assert!(hand.current);
                assert_eq!(granted, ms(length.min(left)));
                (hand.since, hand.length) = (now, length.min(left));
            }
            Err(ExtendError::Capped) => assert!(hand.current && left == 0),
            Err(error) => assert!(!hand.current, "{error}"),
        }
    }

    fn complete(&mut self, at: usize) {
        let Some(at) = self.in_hand(at) else { return };
        let number = self.hands[at].job;
        if self.hands[at].current && self.jobs[&number].holders > 1 {
            // a slot of its own, later: the behaviour tests have that
            return;
        }
        let mut hand = self.hands.remove(at);
        let next = self.next_number();
        let lane = self.jobs[&number].lane;
        let job = Job::new(Numbered::new(next, &self.alive)).lane(lane);
        match hand.real.take().unwrap().complete_with(job) {
            Ok(()) => {
                assert!(hand.current);
                self.settled(number, How::Ack);
                self.take_in(next, lane, self.here(), None, None);
            }
            Err((_, job)) => {
                assert!(!hand.current);
                assert_eq!(job.payload().0, next);
                self.tally.stale += 1;
                self.leave(number);
            }
        }
    }

    fn next_number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn publish(&mut self, lane: usize, delay: u64, ttl: Option<u64>) {
        let number = self.next_number();
        let mut job = Job::new(Numbered::new(number, &self.alive)).lane(lane);
        if let Some(ttl) = ttl {
            job = job.ttl(ms(ttl));
        }
        let full = self.occupied() == CAPACITY;
        match self.producer.publish_after(job, ms(delay)) {
            Ok(id) => {
                assert!(!full, "accepted beyond the capacity");
                let at = if delay == 0 || ttl == Some(0) { self.here() } else { At::Delayed(self.now + delay) };
                self.take_in(number, lane, at, Some(id), ttl);
            }
            Err(error) => {
                assert!(full, "refused with a slot free: {error}");
                assert_eq!(error.into_inner().0, number);
                self.tally.full += 1;
            }
        }
    }

    fn batch(&mut self, lane: usize, jobs: u32) {
        let free = (CAPACITY - self.occupied()) as u32;
        let (first, alive) = (self.next + 1, Arc::clone(&self.alive));
        let mut all = (first..first + jobs).map(|number| Job::new(Numbered::new(number, &alive)).lane(lane));
        let batch = self.producer.publish_batch(&mut all);
        assert_eq!(batch.accepted as u32, jobs.min(free));
        if jobs > free {
            assert_eq!(batch.refused.unwrap().into_inner().0, first + free);
            self.tally.full += 1;
        }
        for number in first..first + jobs.min(free) {
            self.take_in(number, lane, self.here(), None, None);
            // one after another
            self.acts += 1;
        }
        self.next += jobs;
    }

    fn cancel(&mut self, at: usize) {
        let known: Vec<(u32, JobId)> = self.jobs.iter().filter_map(|(&number, job)| Some((number, job.id?))).collect();
        if known.is_empty() {
            return;
        }
        let (number, id) = known[at % known.len()];
        if self.jobs[&number].holders > 0 && self.jobs[&number].at != At::Running {
            // when it is popped cannot be seen from outside; the behaviour tests have that
            return;
        }
        let done = self.queue.cancel(id);
        let now = self.now;
        let job = self.job(number);
        match job.at {
            // the timer may have noticed that it has expired
            At::Waiting(..) if job.expires <= now => {
                if done {
                    job.at = At::Cancelled;
                }
                return;
            }
            At::Waiting(..) | At::Delayed(_) => job.at = At::Cancelled,
            At::Running => job.cancelled = true,
            _ => return assert!(!done, "there was nothing to cancel"),
        }
        assert!(done);
    }

    fn redrive(&mut self, which: Option<usize>) {
        let number = match which {
            Some(at) if !self.letters.is_empty() => Some(self.letters[at % self.letters.len()]),
            _ => self.letters.front().copied(),
        };
        // a held job may take the place of the letter, and the letter its slot
        let full = self.occupied() == CAPACITY && self.held.is_empty();
        let result = match (which, number) {
            (Some(_), Some(number)) => self.queue.dead_letters().redrive_job(self.jobs[&number].id.unwrap()),
            _ => self.queue.dead_letters().redrive(),
        };
        match (number, result) {
            (None, result) => assert_eq!(result, Ok(false)),
            (Some(_), Err(refusal)) => assert!(full && matches!(refusal, Refusal::Full { .. })),
            (Some(number), result) => {
                assert_eq!(result, Ok(true));
                assert!(!full);
                self.letters.retain(|&letter| letter != number);
                let Model { lane, id, .. } = self.jobs[&number];
                self.take_in(number, lane, self.here(), id, None);
                self.bury_held();
            }
        }
    }

    fn purge(&mut self) {
        let waiting: Vec<u32> =
            self.jobs.iter().filter(|(_, job)| matches!(job.at, At::Waiting(..) | At::Cancelled)).map(|(&number, _)| number).collect();
        assert_eq!(self.queue.purge(), waiting.len());
        let mut letters = BTreeSet::new();
        self.queue.dead_letters().for_each(|letter| {
            letters.insert(letter.payload().0);
        });
        for number in waiting {
            let job = &self.jobs[&number];
            match job.at {
                At::Cancelled => {
                    self.tally.cancelled += 1;
                    self.end(number);
                }
                _ if letters.contains(&number) => {}
                _ => {
                    self.tally.purged += 1;
                    self.end(number);
                }
            }
        }
        self.follow_disposals(false);
    }

    fn advance(&mut self, by: u64) {
        self.runtime.advance(&self.clock, ms(by));
        self.now += by;
        assert_eq!(self.now, self.clock_ms());
        self.follow_time();
    }

    /// Jobs at the heads of lanes that are over have ended; what they left is dropped by whoever comes by.
    fn follow_the_timer(&mut self) {
        self.queue.pause();
        assert!(self.consumer.try_recv().is_err(), "a paused queue delivers");
        if !self.paused {
            self.queue.resume();
        }
        self.follow_disposals(false);
    }

    pub fn carry_out(&mut self, act: Act) {
        self.acts += 1;
        match act {
            Act::Publish { lane, delay, ttl } => self.publish(lane, delay, ttl),
            Act::Batch { lane, jobs } => self.batch(lane, jobs),
            Act::Recv => self.recv(),
            Act::Settle(at, how) => self.settle(at, how),
            Act::Forget(at) => {
                if let Some(at) = self.in_hand(at) {
                    self.forgotten.extend(self.hands[at].real.take());
                    let hand = &self.hands[at];
                    let left = (hand.since + hand.length + 2 * SWEEP + 2).saturating_sub(self.now);
                    self.advance(left);
                }
            }
            Act::Extend(at, length) => self.extend(at, length),
            Act::Complete(at) => self.complete(at),
            Act::Cancel(at) => self.cancel(at),
            Act::Pause(paused) => {
                if paused {
                    self.queue.pause();
                } else {
                    self.queue.resume();
                }
                self.paused = paused;
            }
            Act::TakeLetter => {
                let taken = self.queue.dead_letters().take().map(|letter| letter.payload().0);
                let expected = self.letters.pop_front();
                assert_eq!(taken, expected);
                if let Some(number) = expected {
                    self.job(number).at = At::Gone;
                }
                self.bury_held();
            }
            Act::Redrive(which) => self.redrive(which),
            Act::PurgeLetters => {
                assert_eq!(self.queue.dead_letters().purge(), self.letters.len() + self.held.len());
                while let Some(number) = self.letters.pop_front() {
                    self.job(number).at = At::Gone;
                    self.bury_held();
                }
            }
            Act::Purge => self.purge(),
            Act::Advance(by) => self.advance(by),
        }
        self.runtime.turn();
        self.follow_time();
        self.follow_the_timer();
        self.check();
    }
}
