//! Publishing, and what must come of it.

use super::*;
use crate::model::{self, At, New};
use crate::world::Sent;

impl Run {
    /// What a publish must come to; `None` where the queue has a choice.
    pub(super) fn expected(&self, queue: usize, key: Option<u8>, watched: bool) -> Option<Expected> {
        let (model, now) = (&self.queues[queue].model, self.now());
        if self.closed {
            return Some(Expected::Closed);
        }
        if model.has_key(key, now) {
            return Some(Expected::Duplicate);
        }
        if model.in_window(key).is_some() {
            return Some(if watched { Expected::Duplicate } else { Expected::Replaced });
        }
        if model.occupied() < model.rules.capacity {
            return Some(Expected::Taken);
        }
        let no_room = model.letters_full() && model.rules.hold;
        match model.rules.overflow {
            Overflow::DropNew if !no_room => Some(Expected::Letter),
            Overflow::DropOldest if !no_room => {
                let victim = |job: &model::Job| job.holds.is_empty() && matches!(job.at, At::Waiting | At::Cancelled | At::Expired);
                if model.jobs.values().any(victim) { None } else { Some(Expected::Full) }
            }
            _ => Some(Expected::Full),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "what a job is published with")]
    pub(super) fn publish(&mut self, queue: usize, lane: usize, delay: u64, ttl: Option<u64>, key: Option<u8>, plan: u64, watched: bool) {
        let rules = &self.queues[queue].model.rules;
        let key = key.filter(|_| rules.dedupe.is_some() || rules.partitions);
        // a delayed job of a partition key takes its place when its time has come
        let delay = if rules.partitions && key.is_some() { 0 } else { delay };
        let (now, expected) = (self.now(), self.expected(queue, key, watched));
        let load = Load::new(plan, &self.world);
        let number = load.number;
        let mut job = Job::new(load).lane(lane);
        if let Some(ttl) = ttl {
            job = job.ttl(ms(ttl));
        }
        if let Some(key) = key {
            job = if rules.partitions { job.partition_key([key]) } else { job.key([key]) };
        }
        let producer = &self.queues[queue].producer;
        let result = if watched {
            producer.watched().publish_after(job, ms(delay)).map(|completion| {
                let id = completion.job_id();
                self.watched.push((queue, id, completion));
                id
            })
        } else {
            producer.publish_after(job, ms(delay))
        };
        let at = if delay == 0 { At::Waiting } else { At::Delayed(now + delay) };
        self.published(queue, result, expected, number, lane, at, ttl.map_or(u64::MAX, |ttl| now + ttl), key);
    }

    #[allow(clippy::too_many_arguments, reason = "what a job was published with, and what came of it")]
    pub(super) fn published(
        &mut self,
        queue: usize,
        result: Result<JobId, PublishError<Load>>,
        expected: Option<Expected>,
        load: u32,
        lane: usize,
        at: At,
        expires: u64,
        key: Option<u8>,
    ) {
        let came_to = match &result {
            Ok(_) if matches!(expected, Some(Expected::Letter | Expected::Replaced)) => expected.expect("it is some"),
            Ok(_) => Expected::Taken,
            Err(error) => self.count_refusal(queue, error.refusal()),
        };
        assert!(expected.is_none_or(|expected| expected == came_to), "{came_to:?} instead of {expected:?}: {result:?}");
        let now = self.now();
        let model = &mut self.queues[queue].model;
        match result {
            Ok(id) if came_to == Expected::Replaced => {
                assert_eq!(Some(id), model.in_window(key));
                model.replace(id, load, expires, now);
            }
            Ok(id) => {
                self.evictions[queue] = usize::from(expected.is_none());
                model.take_in(id, Some(load), lane, at, expires, key);
                if let Some(key) = key {
                    model.open_window(id, key, now);
                }
                if came_to == Expected::Letter {
                    model.bury(id, DeathReason::OverLength);
                }
            }
            Err(error) => assert_eq!(error.into_inner().number, load, "a refused job comes back"),
        }
    }

    /// A handler has published, in the act that has just ended.
    pub(super) fn sent(&mut self, Sent { load, lane, result }: Sent, now: u64) {
        let model = &self.queues[PULL].model;
        // what has become ready in that act may have had to go
        let due = model.jobs.values().any(|job| matches!(job.at, At::Delayed(due) if due <= now));
        let expected = self.expected(PULL, None, false);
        let expected = expected.filter(|_| !(due && model.rules.overflow == Overflow::DropOldest && expected == Some(Expected::Full)));
        match result {
            Ok(id) => self.published(PULL, Ok(id), expected, load, lane, At::Waiting, u64::MAX, None),
            Err(refusal) => {
                let came_to = self.count_refusal(PULL, &refusal);
                assert!(expected.is_none_or(|expected| expected == came_to), "{came_to:?} instead of {expected:?}");
            }
        }
    }

    pub(super) fn count_refusal(&mut self, queue: usize, refusal: &Refusal) -> Expected {
        let counts = &mut self.queues[queue].model.counts;
        match refusal {
            Refusal::Full { .. } => {
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
            other => panic!("refused for {other}"),
        }
    }

    pub(super) fn batch(&mut self, queue: usize, lane: usize, jobs: u64, plan: u64) {
        let model = &self.queues[queue].model;
        let free = model.rules.capacity.saturating_sub(model.occupied());
        // jobs beyond the free slots that may become letters
        let beyond = match model.rules.overflow {
            Overflow::Reject => 0,
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
        let new = taken.iter().map(|&load| New { load: Some(load), lane, expires: u64::MAX });
        self.new.entry(queue).or_default().extend(new);
        self.bury_at_once(queue, lane, letters);
    }

    /// The queue was full: these went straight to the letters, where the last of them are still.
    fn bury_at_once(&mut self, queue: usize, lane: usize, loads: &[u32]) {
        let Real { handle, model, .. } = &mut self.queues[queue];
        let there = loads.len().min(model.rules.letters);
        let (gone, there) = loads.split_at(loads.len() - there);
        let mut found = Vec::new();
        handle.dead_letters().for_each(|letter| found.push((letter.job_id(), letter.payload().number)));
        for (&load, &(id, number)) in there.iter().zip(&found[found.len() - there.len()..]) {
            assert_eq!(load, number, "the letters in the order in which they came");
            model.take_in(id, Some(load), lane, At::Waiting, u64::MAX, None);
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

    pub(super) fn route(&mut self, key: usize, plan: u64) {
        let targets: Vec<(usize, usize)> = BINDINGS[self.bound]
            .iter()
            .filter(|(pattern, ..)| matches(pattern, ROUTES[key]))
            .map(|&(_, queue, lane)| (queue, lane))
            .collect();
        let expected: Vec<Option<Expected>> = targets.iter().map(|&(queue, _)| self.expected(queue, None, false)).collect();
        let load = Load::new(plan, &self.world);
        let number = load.number;
        let result = self.publisher.publish(ROUTES[key], load);
        match (&targets[..], result) {
            ([], Err(error)) => assert!(error.is_unroutable()),
            (&[(queue, lane)], Ok(routed)) => {
                let id = routed.job.expect("one queue has it");
                self.published(queue, Ok(id), expected[0], number, lane, At::Waiting, u64::MAX, None);
            }
            (_, Ok(routed)) => {
                assert_eq!(routed.copies, targets.len());
                assert!(expected.iter().all(|expected| expected.is_none_or(|expected| expected == Expected::Taken)), "{expected:?}");
                targets.iter().zip(&expected).for_each(|(&(queue, _), expected)| self.evictions[queue] = usize::from(expected.is_none()));
                for (queue, lane) in targets {
                    self.new.entry(queue).or_default().push(New { load: Some(number), lane, expires: u64::MAX });
                }
            }
            (_, Err(error)) => {
                let RouteRefusal::Queue { queue, refusal } = error.refusal().clone() else { panic!("{error}") };
                let at = targets.iter().position(|&(target, _)| *queue == *self.queues[target].model.rules.name).expect("it is a target");
                let came_to = self.count_refusal(targets[at].0, &refusal);
                let allowed = match expected[at] {
                    // a copy does not go to the dead letters
                    Some(Expected::Letter) if targets.len() > 1 => Expected::Full,
                    Some(expected) => expected,
                    None => Expected::Full,
                };
                assert_eq!(came_to, allowed, "{error}");
                targets.iter().zip(&expected).for_each(|(&(queue, _), expected)| self.evictions[queue] = usize::from(expected.is_none()));
                assert_eq!(error.into_inner().number, number);
            }
        }
    }
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
}
