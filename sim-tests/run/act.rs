//! What consumers and operators do.

use super::*;
use crate::model::{self, At, Hold, New, Told};

impl Run {
    pub(super) fn recv(&mut self, consumer: usize) {
        let (queue, ref consumer) = self.consumers[consumer];
        let received = consumer.try_recv();
        if queue == PULL {
            self.see_made();
        }
        match received {
            Ok(real) => {
                let told =
                    Told { load: real.number, lane: real.lane(), attempt: real.attempt(), failures: real.failures(), expiries: None };
                let (job, now) = (real.job_id(), self.now());
                let hold = self.queues[queue].model.start(job, told, now);
                self.hands.push(Hand { queue, job, hold, real });
                self.observe();
            }
            Err(error) => {
                self.observe();
                let model = &self.queues[queue].model;
                let waits = model.jobs.values().any(|job| job.at == At::Waiting);
                assert!(model.paused || !waits, "{error}, and {:?}", model.jobs);
            }
        }
    }

    pub(super) fn settle(&mut self, at: usize, how: How) {
        let Hand { queue, job, hold, real } = self.hands.remove(at);
        let current = real.is_current();
        let result = match how {
            How::Ack | How::Chain => real.ack(),
            How::Retry => real.retry("no"),
            How::RetryAfter(delay) => real.settle(Verdict::RetryAfter("no".into(), ms(delay))),
            How::Snooze(delay) => real.snooze(ms(delay)),
            How::Reject => real.reject("never"),
            How::Discard => real.settle(Verdict::Discard),
            How::Break => {
                drop(real);
                if current {
                    Ok(())
                } else {
                    self.settled(queue, job, hold, how, false);
                    return;
                }
            }
        };
        assert_eq!(result.is_ok(), current);
        self.settled(queue, job, hold, how, current);
    }

    pub(super) fn settled(&mut self, queue: usize, job: JobId, hold: u64, how: How, counted: bool) {
        let now = self.now();
        let next = self.queues[queue].model.settle(job, hold, how, counted, now);
        self.new.entry(queue).or_default().extend(next);
    }

    pub(super) fn extend(&mut self, at: usize, length: u64) {
        let now = self.now();
        let hand = &mut self.hands[at];
        let model = &mut self.queues[hand.queue].model;
        let most = model.rules.max_lease;
        let hold = model.job(hand.job).holds.iter_mut().find(|hold| hold.id == hand.hold).unwrap();
        let left = (hold.started + most).saturating_sub(now);
        match hand.real.extend(ms(length)) {
            Ok(granted) => {
                assert!(hold.current);
                assert_eq!(granted, ms(length.min(left)));
                *hold = Hold { since: now, length: length.min(left), unseen: 0, ..hold.clone() };
            }
            Err(ExtendError::Capped) => assert!(hold.current && left == 0),
            Err(error) => assert!(!hold.current, "{error}"),
        }
    }

    pub(super) fn cancel(&mut self, queue: usize, job: usize) {
        let now = self.now();
        let Real { handle, model, .. } = &mut self.queues[queue];
        if model.jobs.is_empty() {
            return;
        }
        let id = *model.jobs.keys().nth(job % model.jobs.len()).unwrap();
        let done = handle.cancel(id);
        let expected = model.cancel(id, now);
        assert_eq!(done, expected, "cancelling {:?}", model.job(id));
    }

    pub(super) fn purge(&mut self, queue: usize) {
        let Real { handle, model, .. } = &mut self.queues[queue];
        let purged = handle.purge();
        let states = self.sim.jobs(handle);
        let waits = |at: At| matches!(at, At::Waiting | At::Cancelled | At::Expired);
        let waiting: Vec<JobId> = model.jobs.iter().filter(|(_, job)| waits(job.at)).map(|(id, _)| *id).collect();
        let mut gone = 0;
        for id in waiting {
            let waits = states.iter().any(|state| state.job == id && matches!(state.phase, sim::JobPhase::Waiting | sim::JobPhase::Doomed));
            gone += usize::from(!waits);
            match model.job(id).at {
                At::Waiting => model.end(id, End::Purged),
                At::Cancelled if !waits => model.end(id, End::Cancelled),
                // one that was delayed is the timer's still
                _ => {}
            }
        }
        assert_eq!(purged, gone);
    }

    pub(super) fn take_letter(&mut self, queue: usize) {
        let Real { handle, model, .. } = &mut self.queues[queue];
        let taken = handle.dead_letters().take().map(|letter| letter.job_id());
        assert_eq!(taken, model.letters.pop_front());
        if let Some(id) = taken {
            model.jobs.remove(&id);
        }
    }

    pub(super) fn redrive(&mut self, queue: usize, which: Option<usize>) {
        let now = self.now();
        let Real { handle, model, .. } = &mut self.queues[queue];
        let letters = model.letters.len();
        let id = model.letters.get(which.map_or(0, |which| which % letters.max(1))).copied();
        let lane = id.map_or(0, |id| model.job(id).lane);
        // the first that is held takes the letter's place, and leaves it its slot
        let has_room = model.room(lane) > 0;
        let fits = |job: &model::Job| model.may_have(lane, job.slots[0]);
        let may_fit = has_room || model.first_held().any(fits);
        let must_fit = has_room || may_fit && model.first_held().all(fits);
        let slots = if has_room { model.slot_for(lane) } else { model::Queue::slots_of(model.first_held().filter(|job| fits(job))) };
        let result = match id {
            Some(id) if which.is_some() => handle.dead_letters().redrive_job(id),
            _ => handle.dead_letters().redrive(),
        };
        let Some(id) = id.filter(|_| !self.closed) else {
            let expected = if self.closed { Err(Refusal::Closed) } else { Ok(false) };
            return assert_eq!(result, expected);
        };
        let (key, load) = (model.job(id).key, model.job(id).load);
        let taken = model.has_live_key(key, now);
        match result {
            Err(Refusal::Full { .. }) => assert!(!must_fit),
            Err(Refusal::Duplicate { .. }) => assert!(may_fit && taken),
            result => {
                assert_eq!(result, Ok(true));
                assert!(may_fit && !taken);
                model.letters.retain(|letter| *letter != id);
                model.jobs.remove(&id);
                model.take_in(id, New { load, lane, slots, expires: u64::MAX, key }, At::Waiting);
            }
        }
    }

    pub(super) fn purge_letters(&mut self, queue: usize) {
        let Real { handle, model, .. } = &mut self.queues[queue];
        let all: Vec<JobId> = model.letters.iter().copied().chain(model.held.iter().map(|(_, id)| *id)).collect();
        assert_eq!(handle.dead_letters().purge(), all.len());
        while let Some((_, id)) = model.held.pop_front() {
            let At::Held(reason) = model.job(id).at else { unreachable!("it is held") };
            model.bury(id, reason);
        }
        model.letters.clear();
        all.iter().for_each(|id| drop(model.jobs.remove(id)));
    }
}
