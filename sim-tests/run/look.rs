//! The model learns what has happened, and everything must add up.

use super::*;
use crate::model::{self, At, New, SHARED, Told};

impl Run {
    /// The model learns what has happened in one act, and everything must add up.
    pub(super) fn observe(&mut self) {
        self.summary.acts += 1;
        let now = self.now();
        assert!(self.world.made.lock().unwrap().is_empty(), "made by nobody");
        self.see_ends();
        let before = self.records;
        self.see_starts(now);
        let (started, free) = (self.records > before, self.free_workers());
        let busy = self.queues.iter_mut().filter(|queue| started || !free[queue.model.rules.pool]);
        busy.for_each(|queue| queue.model.workers_are_busy(now));
        let evictions = std::mem::take(&mut self.evictions);
        let mut new = std::mem::take(&mut self.new);
        for (at, evictions) in evictions.into_iter().enumerate() {
            let arrived = if at == GRAVE { std::mem::take(&mut self.queues[WORK].model.moved) } else { Vec::new() };
            let Real { handle, model, .. } = &mut self.queues[at];
            let expires = model.rules.retention.map_or(u64::MAX, |age| now + age);
            let real = self.sim.jobs(handle);
            let mut coming = new.remove(&at).unwrap_or_default();
            coming.extend(arrived.into_iter().map(|load| New { load, lane: usize::MAX, slots: SHARED, expires, key: None }));
            // the lane of a letter is the one it had
            let unknown = real.iter().filter(|state| !model.jobs.contains_key(&state.job));
            coming.iter_mut().zip(unknown).filter(|(new, _)| new.lane == usize::MAX).for_each(|(new, state)| new.lane = state.lane);
            let mut letters = Vec::new();
            handle.dead_letters().for_each(|letter| letters.push(letter.job_id()));
            let held = letters.split_off(letters.len() - handle.dead_letters().held());
            if let Some(trace) = &mut self.trace {
                trace.push(format!("{now} ms, `{}`: {real:?}, letters {letters:?}, {:?}", model.rules.name, handle.counts()));
            }
            let over_length = handle.counts().dead_over_length - model.counts.dead_over_length;
            model.follow(&real, &letters, now, evictions, over_length, coming);
            model.assert_held(&held);
            self.add_up(at, now);
        }
        let alive: usize = self.queues.iter().map(|queue| queue.model.alive()).sum();
        let left: usize = self.queues.iter().map(|queue| self.sim.left_to_drop(&queue.handle)).sum();
        assert_eq!(self.world.alive.load(Relaxed), (alive + left + self.waiters.len()) as i64, "payloads that live");
        self.see_completions();
        self.see_waiters();
    }

    pub(super) fn see_ends(&mut self) {
        let ended: Vec<(usize, bool)> = self.sim.with_deliveries(|all| {
            let over = |flight: &(usize, &InFlight)| all[flight.1.record].ended.is_some();
            let ended = self.flying.iter().enumerate().filter(over);
            ended.map(|(at, flight)| (at, !matches!(all[flight.record].outcome, Outcome::Stale(_)))).collect()
        });
        for (at, counted) in ended.into_iter().rev() {
            let InFlight { queue, job, hold, seen, .. } = self.flying.remove(at);
            self.settled(queue, job, hold, seen.how, counted);
        }
    }

    pub(super) fn see_starts(&mut self, now: u64) {
        let fresh: Vec<_> = self.sim.with_deliveries(|all| all[self.records..].to_vec());
        for record in fresh {
            let seen = self.world.seen.lock().unwrap().pop_front().expect("a handler was called");
            assert_eq!((seen.job, seen.attempt), (Some(record.job), record.attempt));
            let queue = if *record.queue == *"work" { WORK } else { KEYED };
            let told =
                Told { load: seen.load, lane: seen.lane, attempt: seen.attempt, failures: seen.failures, expiries: Some(seen.expiries) };
            let model = &mut self.queues[queue].model;
            let hold = model.start(record.job, told, now);
            model.job(record.job).holds.last_mut().unwrap().next = seen.next;
            let mark = [record.job.get(), u64::from(seen.load), u64::from(seen.attempt), record.started.as_nanos(), record.worker as u64];
            self.summary.trace = mark.iter().fold(self.summary.trace, |hash, word| Rng::new(hash ^ word).next_u64());
            if let Some(sent) = seen.sent.clone() {
                self.sent(sent, now);
            }
            let flight = InFlight { record: self.records, queue, job: record.job, hold, seen };
            self.records += 1;
            match record.outcome {
                Outcome::Running => self.flying.push(flight),
                outcome => self.settled(queue, flight.job, hold, flight.seen.how, !matches!(outcome, Outcome::Stale(_))),
            }
        }
    }

    /// The ledger, the slots, and the model's own counts.
    pub(super) fn add_up(&mut self, at: usize, now: u64) {
        let told = self.told(at);
        let Real { handle, model, .. } = &mut self.queues[at];
        let room = [0, 1].map(|lane| self.sim.room(handle, lane) as usize);
        model.serve(&told, room[0].abs_diff(room[1]));
        let (counts, depth) = (handle.counts(), u64::from(handle.depth()));
        let no_job = counts.lingering_made - counts.lingering_gone + model.granted() as u64;
        assert_eq!(counts.accepted, counts.ended() + depth - no_job, "the ledger of `{}`: {counts:#?}", model.rules.name);
        assert_eq!(depth, model.occupied() as u64, "the slots of `{}`: {:#?}", model.rules.name, model.jobs);
        assert_eq!(room, [0, 1].map(|lane| model.room(lane)), "room for each lane of `{}`: {:#?}", model.rules.name, model.jobs);
        if model.rules.partitions {
            model.report_overruns(counts.expired_leases - model.counts.expired_leases, now);
        }
        // a worker may dispose of a job, and another one leave it after that, in one act
        let passed = counts.lingering_made - model.counts.lingering_made;
        assert!(passed <= model.take_ended_as_left(), "lingering jobs that nobody read: {counts:#?}");
        model.counts.lingering_made += passed;
        model.counts.lingering_gone += passed;
        // what depends on which worker looked where
        model.counts.taken_back = counts.taken_back;
        assert_eq!(counts, model.counts, "`{}`, at {now} (left: the queue)", model.rules.name);
    }

    pub(super) fn see_completions(&mut self) {
        let queues = &self.queues;
        self.watched.retain_mut(|(queue, job, completion)| {
            let end = queues[*queue].model.ends.get(job);
            assert_eq!(completion.is_over(), end.is_some(), "{job} has come to {end:?}");
            let Some(end) = end else { return true };
            assert_eq!(completion.try_take().expect("it is over").end, *end);
            false
        });
    }

    // ---- the end ----

    /// Everything that is left comes out by value, once.
    pub(super) fn shut_down(mut self) -> (Summary, Trace) {
        while !self.waiters.is_empty() {
            self.give_up(0);
            self.observe();
        }
        self.advance(0);
        self.summary.time = self.now();
        self.summary.deliveries = self.records as u64;
        self.summary.jobs = self.queues.iter().map(|queue| queue.model.counts.accepted).sum();
        let Run { sim, world, queues, consumers, hands, forgotten, flying, watched, publisher, exchange, .. } = self;
        let sim = Rc::try_unwrap(sim).expect("nobody else has it");
        let mut report = sim.shutdown(ShutdownOptions::new(Duration::ZERO, Duration::ZERO));
        let mut running = 0;
        for Real { handle, model, .. } in &queues {
            let undone = report.take_undone(handle);
            let mut ids: Vec<JobId> = undone.iter().map(|undone| undone.job).collect();
            ids.sort_unstable();
            let comes_back =
                |job: &model::Job| job.holds.is_empty() && matches!(job.at, At::Waiting | At::Delayed(_)) || matches!(job.at, At::Held(_));
            // an expired job that nobody has come to dies now, and is held if it finds no room
            let dies = |job: &model::Job| job.at == At::Expired && job.holds.is_empty();
            let room = model.rules.letters - model.letters.len();
            let held = if model.rules.hold { model.jobs.values().filter(|job| dies(job)).count().saturating_sub(room) } else { 0 };
            assert_eq!(ids.iter().filter(|id| dies(&model.jobs[id])).count(), held, "of `{}`: {:#?}", model.rules.name, model.jobs);
            let expected: Vec<JobId> = model.jobs.iter().filter(|(_, job)| comes_back(job)).map(|(id, _)| *id).collect();
            ids.retain(|id| !dies(&model.jobs[id]));
            assert_eq!(ids, expected, "handed back by `{}`: {:#?}", model.rules.name, model.jobs);
            for undone in &undone {
                let job = &model.jobs[&undone.job];
                assert_eq!((undone.lane, undone.failures, undone.expiries), (job.lane, job.failures, job.expiries));
                assert!(job.load.is_none_or(|load| load == undone.payload.number), "{} in {undone:?}: {job:?}", undone.payload.number);
            }
            let read = |job: &&model::Job| {
                !job.holds.is_empty() && matches!(job.at, At::Running | At::Dying(_) | At::Waiting | At::Delayed(_) | At::Expired)
            };
            running += model.jobs.values().filter(read).count();
        }
        assert_eq!(report.running().len(), running, "{:?}", report.running());
        // late verdicts count still
        drop(world.outlet.lock().unwrap().take());
        drop((hands, forgotten));
        for Real { handle, .. } in &queues {
            drop(handle.reclaim());
            assert!(handle.snapshot().ledger_balances(), "{:#?}", handle.snapshot());
        }
        let stuck = flying.len();
        drop((report, queues, consumers, watched, publisher, exchange));
        assert!(stuck > 0 || world.alive.load(Relaxed) == 0, "{} payloads are left", world.alive.load(Relaxed));
        (self.summary, self.trace)
    }
}
