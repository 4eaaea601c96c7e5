//! A job that is published to the pull queue again and again. Whoever receives there makes it first.

use super::*;
use crate::model::{At, New, Period, RESERVE, SHARED};

/// Such a job, until it is stopped.
pub(super) struct Again {
    lane: usize,
    model: Period,
    /// It is stopped when this is dropped.
    _guard: Periodic<Load>,
}

impl Run {
    /// From here on there is this one. (Where the queue drops jobs, nobody could say which of them are gone.)
    pub(super) fn every(&mut self, every: u64, catch_up: bool, lane: usize, plan: u64) {
        let Real { producer, model, .. } = &self.queues[PULL];
        if matches!(model.rules.overflow, Overflow::DropOldest | Overflow::DropNew) {
            return;
        }
        let world = Arc::clone(&self.world);
        let make = move || {
            let load = Load::new(plan, &world);
            world.made.lock().unwrap().push(load.number);
            Job::new(load).lane(lane)
        };
        let missed = if catch_up { MissedPeriods::CatchUp } else { MissedPeriods::Skip };
        let _guard = producer.every(ms(every), missed, make).unwrap();
        let all = catch_up || model.wrong == Some(Wrong::SkipCatchesUp);
        self.again = Some(Again { lane, model: Period::new(self.now(), every, all), _guard });
    }

    /// Somebody has come by the pull queue.
    pub(super) fn see_made(&mut self) {
        let (made, now) = (std::mem::take(&mut *self.world.made.lock().unwrap()), self.now());
        let Some(Again { lane, model, .. }) = &mut self.again else { return assert!(made.is_empty(), "made, and stopped before") };
        let lane = *lane;
        model.makes(made.len() as u64, now);
        let Real { handle, model, .. } = &self.queues[PULL];
        let mut fresh = self.sim.jobs(handle);
        fresh.retain(|state| !model.jobs.contains_key(&state.job));
        let mut fresh = fresh.into_iter();
        for load in made {
            let expected = self.expected(PULL, lane, None, false).expect("a queue that drops nothing has no choice");
            let gone = self.has_gone(PULL, now);
            let model = &mut self.queues[PULL].model;
            // what was over may have gone before
            if expected == Expected::Taken || gone && fresh.len() > 0 {
                let state = fresh.next().expect("it is there");
                let slots = match state.reserve_of {
                    _ if !gone => model.slot_for(lane),
                    Some(_) => RESERVE,
                    None => SHARED,
                };
                model.take_in(state.job, New { load: Some(load), lane, slots, expires: u64::MAX, key: None }, At::Waiting);
                continue;
            }
            model.counts.periods_missed += 1;
            let refused = if expected == Expected::Closed { &mut model.counts.rejected_closed } else { &mut model.counts.rejected_full };
            *refused += 1;
        }
        assert_eq!(fresh.next(), None);
    }
}

impl Again {
    pub(super) fn is_at_rest(&mut self, now: u64) {
        self.model.is_at_rest(now);
    }
}
