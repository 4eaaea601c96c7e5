//! Publishing, and what must come of it.

use super::*;
use crate::model::{self, At, New, SHARED, Slot};
use crate::world::Sent;

impl Run {
    /// What a publish must come to; `None` where the queue has a choice.
    pub(super) fn expected(&self, queue: usize, lane: usize, key: Option<u8>, watched: bool) -> Option<Expected> {
        let model = &self.queues[queue].model;
        if self.closed {
            return Some(Expected::Closed);
        }
        if let Some(expected) = self.asked(queue, key, watched) {
            return Some(expected);
        }
        if model.room(lane) > 0 {
            return Some(Expected::Taken);
        }
        let no_room = model.letters_full() && model.rules.hold;
        match model.rules.overflow {
            Overflow::CallerRuns if !model.paused => Some(Expected::Ran),
            Overflow::DropNew if !no_room => Some(Expected::Letter),
            Overflow::DropOldest if !no_room => {
                // neither what others wait for would help, nor what is of another lane's reserve
                let helps = |slot: &Slot| model.may_have(lane, *slot) && !model.is_awaited(*slot);
                let waits = |job: &model::Job| job.holds.is_empty() && matches!(job.at, At::Waiting | At::Cancelled | At::Expired);
                let victim = |job: &model::Job| waits(job) && job.slots.iter().any(helps);
                if model.jobs.values().any(victim) { None } else { Some(Expected::Full) }
            }
            _ => Some(Expected::Full),
        }
    }

    /// What is known of a publish before it needs a slot.
    pub(super) fn asked(&self, queue: usize, key: Option<u8>, watched: bool) -> Option<Expected> {
        let model = &self.queues[queue].model;
        if model.has_key(key, self.now()) {
            return Some(Expected::Duplicate);
        }
        model.in_window(key).map(|_| if watched { Expected::Duplicate } else { Expected::Replaced })
    }

    /// A key, where keys mean something.
    pub(super) fn key_in(&self, queue: usize, key: Option<u8>) -> Option<u8> {
        let rules = &self.queues[queue].model.rules;
        key.filter(|_| rules.dedupe.is_some() || rules.partitions)
    }

    pub(super) fn job_with(&self, queue: usize, load: Load, lane: usize, ttl: Option<u64>, key: Option<u8>) -> Job<Load> {
        let partitions = self.queues[queue].model.rules.partitions;
        let job = Job::new(load).lane(lane);
        let job = if let Some(ttl) = ttl { job.ttl(ms(ttl)) } else { job };
        match key {
            Some(key) if partitions => job.partition_key([key]),
            Some(key) => job.key([key]),
            None => job,
        }
    }

    #[allow(clippy::too_many_arguments, reason = "what a job is published with")]
    pub(super) fn publish(&mut self, queue: usize, lane: usize, delay: u64, ttl: Option<u64>, key: Option<u8>, plan: u64, watched: bool) {
        let key = self.key_in(queue, key);
        let partitions = self.queues[queue].model.rules.partitions;
        // a delayed job of a partition key takes its place when its time has come
        let delay = if partitions && key.is_some() { 0 } else { delay };
        let now = self.now();
        // nobody runs now what is for later, or has no time to live
        let expected = self.expected(queue, lane, key, watched).map(|expected| match expected {
            Expected::Ran if delay > 0 || ttl == Some(0) => Expected::Full,
            expected => expected,
        });
        let load = Load::new(plan, &self.world);
        let number = load.number;
        let job = self.job_with(queue, load, lane, ttl, key);
        let producer = &self.queues[queue].producer;
        let result = if watched {
            let producer = producer.watched();
            let published = if delay > 0 { producer.publish_after(job, ms(delay)) } else { producer.publish(job) };
            published.map(|completion| {
                let id = completion.job_id();
                self.watched.push((queue, id, completion));
                id
            })
        } else if delay > 0 {
            producer.publish_after(job, ms(delay))
        } else {
            producer.publish(job)
        };
        let at = if delay == 0 { At::Waiting } else { At::Delayed(now + delay) };
        let slots = self.queues[queue].model.slot_for(lane);
        let new = New { load: Some(number), lane, slots, expires: ttl.map_or(u64::MAX, |ttl| now + ttl), key };
        self.published(queue, result.map_err(refused), expected, new, at);
    }

    /// What a job was published with, and what came of it.
    pub(super) fn published(&mut self, queue: usize, result: Result<JobId, Refused>, expected: Option<Expected>, new: New, at: At) {
        let (load, key) = (new.load.expect("its publisher knows it"), new.key);
        let how = (expected == Some(Expected::Ran)).then(|| self.see_caller(load));
        let came_to = match &result {
            Ok(_) if matches!(expected, Some(Expected::Letter | Expected::Replaced | Expected::Ran)) => expected.expect("it is some"),
            Ok(_) => Expected::Taken,
            Err((refusal, _)) => self.count_refusal(queue, refusal),
        };
        assert!(expected.is_none_or(|expected| expected == came_to), "{came_to:?} instead of {expected:?}: {result:?}");
        let now = self.now();
        let model = &mut self.queues[queue].model;
        match result {
            Ok(id) if came_to == Expected::Replaced => {
                assert_eq!(Some(id), model.in_window(key));
                model.replace(id, load, at, new.expires, now);
            }
            Ok(id) if came_to == Expected::Ran => model.ran_in_caller(id, how.expect("it ran"), key, now),
            Ok(id) => {
                self.evictions[queue] += usize::from(expected.is_none());
                model.take_in(id, new, at);
                if let Some(key) = key {
                    model.open_window(id, key, now);
                }
                if came_to == Expected::Letter {
                    model.bury(id, DeathReason::OverLength);
                }
            }
            Err((refusal, number)) => {
                assert!(!matches!(how, Some(How::Ack | How::Discard)), "it ran: {refusal}");
                assert_eq!(number, load, "a refused job comes back");
            }
        }
    }

    /// The publisher has run the handler. How that ended.
    fn see_caller(&mut self, load: u32) -> How {
        let seen = self.world.seen.lock().unwrap().pop_front().expect("the handler was called");
        assert_eq!((seen.job, seen.load, seen.attempt, seen.expiries), (None, load, 1, 0));
        if let Some(sent) = seen.sent {
            self.sent(sent, self.now());
        }
        seen.how
    }

    /// A handler has published, in the act that has just ended.
    pub(super) fn sent(&mut self, Sent { load, lane, result }: Sent, now: u64) {
        let model = &self.queues[PULL].model;
        // what has become ready in that act may have had to go
        let due = model.jobs.values().any(|job| job.leaves() <= now);
        let expected = self.expected(PULL, lane, None, false);
        let expected = expected.filter(|_| !(due && model.rules.overflow == Overflow::DropOldest && expected == Some(Expected::Full)));
        // and what was over may have gone before
        let gone = self.has_gone(PULL, now);
        let expected = expected.filter(|expected| !gone || model.room(lane) > 0 || *expected == Expected::Closed);
        let waits = matches!(model.rules.overflow, Overflow::Block(_)) && expected == Some(Expected::Full);
        let expected = if waits { Some(Expected::Deadlock) } else { expected };
        match result {
            Ok(id) => {
                let new = New { load: Some(load), lane, slots: model.slot_in_this_act(lane, gone), expires: u64::MAX, key: None };
                self.published(PULL, Ok(id), expected, new, At::Waiting);
            }
            Err(refusal) => {
                let came_to = self.count_refusal(PULL, &refusal);
                assert!(expected.is_none_or(|expected| expected == came_to), "{came_to:?} instead of {expected:?}");
            }
        }
    }

    /// The timer has ended a job that was over where it waited.
    pub(super) fn has_gone(&self, queue: usize, now: u64) -> bool {
        let Real { handle, model, .. } = &self.queues[queue];
        let real = self.sim.jobs(handle);
        model.jobs.iter().any(|(id, job)| job.may_be_gone(now) && !real.iter().any(|state| state.job == *id))
    }

    pub(super) fn count_refusal(&mut self, queue: usize, refusal: &Refusal) -> Expected {
        let counts = &mut self.queues[queue].model.counts;
        match refusal {
            Refusal::Full { .. } | Refusal::TimedOut => {
                counts.rejected_full += 1;
                Expected::Full
            }
            Refusal::Closed => {
                counts.rejected_closed += 1;
                Expected::Closed
            }
            Refusal::Duplicate { .. } => {
                counts.rejected_duplicate += 1;
                Expected::Duplicate
            }
            Refusal::WouldDeadlock => {
                counts.rejected_other += 1;
                Expected::Deadlock
            }
            Refusal::HandlerFailed { .. } => {
                counts.rejected_other += 1;
                Expected::Ran
            }
            other => panic!("refused for {other}"),
        }
    }

    pub(super) fn batch(&mut self, queue: usize, lane: usize, jobs: u64, key: Option<u8>, plan: u64) {
        let key = self.key_in(queue, key);
        let model = &self.queues[queue].model;
        let alone = key.is_some() || model.rules.overflow == Overflow::CallerRuns;
        if alone {
            return self.batch_one_by_one(queue, lane, jobs, key, plan);
        }
        let free = model.room(lane);
        // jobs beyond the free slots that may become letters
        let beyond = match model.rules.overflow {
            Overflow::Reject | Overflow::Block(_) => 0,
            Overflow::DropNew if model.rules.hold && !model.rules.onward => model.rules.letters - model.letters.len(),
            Overflow::DropNew if !model.rules.onward => usize::MAX - free,
            _ => return,
        };
        let (free, beyond) = if self.closed { (0, 0) } else { (free, beyond) };
        let loads: Vec<Load> = (0..jobs).map(|n| Load::new(plan.wrapping_add(n), &self.world)).collect();
        let numbers: Vec<u32> = loads.iter().map(|load| load.number).collect();
        let batch = self.queues[queue].producer.publish_batch(&mut loads.into_iter().map(|load| Job::new(load).lane(lane)));
        assert_eq!(batch.accepted, numbers.len().min(free + beyond));
        let refused = batch.refused.map(|error| {
            self.count_refusal(queue, error.refusal());
            error.into_inner().number
        });
        assert_eq!(refused, numbers.get(batch.accepted).copied());
        let (taken, letters) = numbers[..batch.accepted].split_at(free.min(batch.accepted));
        let slots = self.queues[queue].model.slots_for(lane, taken.len());
        let new = taken.iter().zip(slots).map(|(&load, slots)| New { load: Some(load), lane, slots, expires: u64::MAX, key: None });
        self.new.entry(queue).or_default().extend(new);
        self.bury_at_once(queue, lane, letters);
    }

    /// Jobs with keys, two of each, or such as their publisher may have to run: one after the other.
    fn batch_one_by_one(&mut self, queue: usize, lane: usize, jobs: u64, key: Option<u8>, plan: u64) {
        if matches!(self.queues[queue].model.rules.overflow, Overflow::DropOldest | Overflow::DropNew) {
            return;
        }
        let key_of = |at: usize| key.map(|key| (key + at as u8 / 2) % 5);
        let loads: Vec<Load> = (0..jobs).map(|n| Load::new(plan.wrapping_add(n), &self.world)).collect();
        let numbers: Vec<u32> = loads.iter().map(|load| load.number).collect();
        let mut jobs = loads
            .into_iter()
            .enumerate()
            .map(|(at, load)| self.job_with(queue, load, lane, None, key_of(at)))
            .collect::<Vec<_>>()
            .into_iter();
        let Real { handle, producer, model } = &self.queues[queue];
        let Batch { accepted, refused, .. } = producer.publish_batch(&mut jobs);
        drop(jobs);
        let states = self.sim.jobs(handle);
        let mut fresh = states.iter().map(|state| state.job).filter(|job| !model.jobs.contains_key(job)).collect::<Vec<_>>().into_iter();
        assert_eq!(refused.is_some(), accepted < numbers.len());
        let mut refusal = refused.map(self::refused);
        let blind: Vec<_> = numbers.iter().enumerate().map(|(at, _)| self.expected(queue, lane, key_of(at), false)).collect();
        for (at, &number) in numbers.iter().enumerate().take(accepted + 1) {
            let (mut expected, key) = (self.expected(queue, lane, key_of(at), false), key_of(at));
            if self.queues[queue].model.wrong == Some(Wrong::BatchBlind) {
                expected = blind[at];
            }
            let result = if at == accepted {
                Err(refusal.take().expect("it ended the batch"))
            } else {
                Ok(match expected {
                    Some(Expected::Taken) => fresh.next().expect("it is there"),
                    Some(Expected::Replaced) => self.queues[queue].model.in_window(key).expect("it waits"),
                    // its id is not known, and nobody waits for its end
                    _ => JobId::from_number(0),
                })
            };
            let slots = self.queues[queue].model.slot_for(lane);
            self.published(queue, result, expected, New { load: Some(number), lane, slots, expires: u64::MAX, key }, At::Waiting);
        }
        assert_eq!(fresh.next(), None);
    }

    /// The queue was full: these went straight to the letters, where the last of them are still.
    fn bury_at_once(&mut self, queue: usize, lane: usize, loads: &[u32]) {
        let Real { handle, model, .. } = &mut self.queues[queue];
        let there = loads.len().min(model.rules.letters);
        let (gone, there) = loads.split_at(loads.len() - there);
        let mut found = Vec::new();
        handle.dead_letters().for_each(|letter| found.push((letter.job_id(), letter.payload().number)));
        found.truncate(found.len() - handle.dead_letters().held());
        for (&load, &(id, number)) in there.iter().zip(&found[found.len() - there.len()..]) {
            assert_eq!(load, number, "the letters in the order in which they came");
            model.take_in(id, New { load: Some(load), lane, slots: SHARED, expires: u64::MAX, key: None }, At::Waiting);
            model.bury(id, DeathReason::OverLength);
        }
        for _ in gone {
            model.counts.accepted += 1;
            model.count_death(DeathReason::OverLength);
        }
    }

    pub(super) fn rebind(&mut self, set: usize) {
        let bindings = BINDINGS[set].iter().map(|&(key, queue, lane)| Binding::new(key, &self.queues[queue].handle).lane(lane));
        self.exchange.rebind(bindings).unwrap();
        self.bound = set;
    }

    pub(super) fn route(&mut self, to: usize, key: Option<u8>, plan: u64) {
        let targets: Vec<Target> = BINDINGS[self.bound]
            .iter()
            .filter(|(pattern, ..)| matches(pattern, ROUTES[to]))
            .map(|&(_, queue, lane)| {
                let key = self.key_in(queue, key);
                Target { queue, lane, key, expected: self.expected(queue, lane, key, false) }
            })
            .collect();
        let load = Load::new(plan, &self.world);
        let number = load.number;
        let job = Job::new(load);
        let job = if let Some(key) = key { job.key([key]).partition_key([key]) } else { job };
        match (&targets[..], self.publisher.publish(ROUTES[to], job)) {
            ([], Err(error)) => assert!(error.is_unroutable()),
            (&[Target { queue, lane, key, expected }], result) => {
                let result = match result {
                    Ok(routed) => Ok(routed.job.expect("one queue has it")),
                    Err(error) => {
                        let RouteRefusal::Queue { refusal, .. } = error.refusal().clone() else { panic!("{error}") };
                        Err((refusal, error.into_inner().number))
                    }
                };
                let slots = self.queues[queue].model.slot_for(lane);
                self.published(queue, result, expected, New { load: Some(number), lane, slots, expires: u64::MAX, key }, At::Waiting);
            }
            (_, Ok(routed)) => {
                assert_eq!(routed.copies, targets.len());
                targets.into_iter().for_each(|target| self.copied(target, number));
            }
            (_, Err(error)) => {
                let RouteRefusal::Queue { queue, refusal } = error.refusal().clone() else { panic!("{error}") };
                let at = targets.iter().position(|target| *queue == *self.queues[target.queue].model.rules.name).expect("it is a target");
                let came_to = self.count_refusal(targets[at].queue, &refusal);
                let allowed = match targets[at].expected {
                    // a copy does not go to the dead letters, and nobody runs it
                    Some(Expected::Letter | Expected::Ran) | None => Expected::Full,
                    Some(expected) => expected,
                };
                assert_eq!(came_to, allowed, "{error}");
                targets.iter().for_each(|target| self.evictions[target.queue] += usize::from(target.expected.is_none()));
                assert_eq!(error.into_inner().number, number);
            }
        }
    }

    /// One of several queues has a copy.
    fn copied(&mut self, target: Target, load: u32) {
        let Target { queue, lane, key, expected } = target;
        let (now, model) = (self.now(), &mut self.queues[queue].model);
        match expected {
            Some(Expected::Replaced) => {
                let id = model.in_window(key).expect("it waits");
                model.replace(id, load, At::Waiting, u64::MAX, now);
            }
            expected => {
                assert!(expected.is_none_or(|expected| expected == Expected::Taken), "{expected:?} has a copy");
                self.evictions[queue] += usize::from(expected.is_none());
                let slots = model.slot_for(lane);
                self.new.entry(queue).or_default().push(New { load: Some(load), lane, slots, expires: u64::MAX, key });
            }
        }
    }
}

/// Why a job was refused, and the payload that came back.
type Refused = (Refusal, u32);

pub(super) fn refused(error: PublishError<Load>) -> Refused {
    (error.refusal().clone(), error.into_inner().number)
}

/// Where a routed job goes, and what that must come to.
struct Target {
    queue: usize,
    lane: usize,
    key: Option<u8>,
    expected: Option<Expected>,
}

/// What a publish comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    Taken,
    Letter,
    /// Its payload takes the place of one that waits.
    Replaced,
    Full,
    Duplicate,
    Closed,
    /// Its publisher runs it, and it is accepted if it succeeds.
    Ran,
    /// A handler would have to wait.
    Deadlock,
}
