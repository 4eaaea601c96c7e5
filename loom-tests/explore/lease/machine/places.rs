//! The oracles of whole states: where every index is, and how it all ends.

use super::*;

impl State {
    /// Every index is in exactly one place, and the holders are those who are inside.
    pub fn check_places(&self, config: &Config) -> Result<(), Broken> {
        // these two lose count of the places by design; what comes of it must be caught
        if config.is(Mutation::NackPushesFirst) || config.is(Mutation::LeaveRereads) {
            return Ok(());
        }
        for index in 0..config.slots {
            let slot = &self.slots[at(index)];
            let word = slot.view();
            let mut places = Vec::with_capacity(4);
            let mut place = |there: bool, name: &'static str| {
                if there {
                    places.push(name);
                }
            };
            place(self.free >> index & 1 != 0, "free list");
            place(self.lane >> index & 1 != 0, "lane");
            place(self.timer.wheel >> index & 1 != 0, "wheel");
            place(self.timer.hand && self.timer.slot == index, "timer's hand");
            place(self.producer.hand && self.producer.slot == index, "producer's hand");
            place(slot.mail & HANDOVER != 0, "inbox");
            place(word.phase() == Phase::Running, "lease");
            place(word.phase() == Phase::Zombie && word.holders() > 0, "last holder");
            for (worker, name) in self.workers.iter().zip(NAMES) {
                place(worker.hand && worker.slot == index, name);
                let stolen = worker.at == At::StoreClaim;
                let first = if matches!(worker.at, At::Idle | At::Steal | At::ReadEpoch | At::StoreClaim | At::Start | At::Dispose) {
                    0
                } else {
                    1
                };
                for &claim in &worker.batch[(worker.cur + first) as usize..(worker.len + u8::from(stolen)) as usize] {
                    let claim = Claim::from_raw(claim);
                    let live = claim.index() == index as u32 && claim.epoch() == word.epoch();
                    place(live && matches!(word.phase(), Phase::Ready | Phase::Doomed), "live claim");
                }
            }
            if places.len() != 1 {
                return Err(format!("index {index} ({word:?}) is in {} places: {places:?}", places.len()));
            }
            let inside = (0..WORKERS).filter(|&worker| self.inside(worker, index)).count() as u32;
            if inside != word.holders() {
                return Err(format!("slot {index} counts {} holders, {inside} are inside", word.holders()));
            }
        }
        Ok(())
    }

    /// Nobody can take another step: everything must be over, except what a halted worker may keep.
    pub fn check_end(&self, config: &Config) -> Result<(), Broken> {
        if self.workers[0].halted {
            return self.check_stranded(config);
        }
        if self.producer.published < config.jobs {
            return Err("an index is lost: the producer starves".into());
        }
        if let Some(job) = self.fates[..config.jobs as usize].iter().position(|&fate| fate == 0) {
            return Err(format!("job {} has no outcome", job + 1));
        }
        if self.free != (1 << config.slots) - 1 {
            return Err(format!("an index is lost: free is {:b}", self.free));
        }
        if self.slots.iter().any(|slot| slot.payload != 0 || slot.view().holders() != 0 || slot.mail != 0) {
            return Err("a slot is left in disorder".into());
        }
        Ok(())
    }

    /// A worker that stops for ever may keep what it has in its hand, a zombie it holds, and the windows named in the essay; nothing else.
    fn check_stranded(&self, config: &Config) -> Result<(), Broken> {
        let worker = &self.workers[0];
        for index in bits(!self.free, config) {
            let slot = &self.slots[at(index)];
            let keeps = worker.hand && worker.slot == index
                || self.inside(0, index) && slot.view().phase() == Phase::Zombie
                || worker.at == At::Post && slot.mail != 0
                || worker.at == At::StoreClaim && Claim::from_raw(worker.batch[worker.len as usize]).index() == index as u32;
            let had_time = self.sweeps_at_halt + 3 <= config.sweeps;
            if !keeps && had_time {
                return Err(format!("slot {index} is stranded in {:?} by a worker that stopped at {:?}", slot.view(), worker.at));
            }
        }
        Ok(())
    }

    /// One line per slot, for traces.
    pub fn describe(&self, config: &Config) -> String {
        let slot = |slot: &Slot| {
            let word = slot.view();
            let cancelled = if word.is_cancelled() { " cancelled" } else { "" };
            format!("{:?}({:?} h{}{cancelled}) job {}", word.phase(), word.epoch(), word.holders(), slot.payload)
        };
        self.slots[..config.slots as usize].iter().map(slot).collect::<Vec<_>>().join(" | ")
    }
}
