//! A worker: pops a batch, publishes its claims, starts, reads, settles or leaves.

use super::*;

impl State {
    /// On to the next claim of the batch, or to a new batch.
    fn next_claim(&mut self, worker: usize) {
        let worker = &mut self.workers[worker];
        let (batch, len, cur) = (worker.batch, worker.len, worker.cur + 1);
        *worker = Worker { at: At::Start, batch, len, cur, ..Worker::default() };
        if cur >= len {
            *worker = Worker::default();
        }
    }

    fn go(&mut self, worker: usize, at: At) {
        self.workers[worker].at = at;
    }

    /// The slot is over and this worker's to clear.
    fn owns_dead(&mut self, worker: usize) {
        self.workers[worker].hand = true;
        self.workers[worker].at = At::Drop;
    }

    pub(super) fn settled(&mut self, config: &Config, worker: usize, settled: Settled) -> Result<(), Broken> {
        let me = self.workers[worker];
        match settled {
            Settled::Ready(_) => {
                self.workers[worker].hand = true;
                self.go(worker, At::Push);
            }
            Settled::Delayed(_) => {
                self.workers[worker].hand = true;
                self.go(worker, At::Mail);
            }
            Settled::Owner(word) => {
                self.end(me.slot, word.fate())?;
                self.owns_dead(worker);
            }
            Settled::Left(word) => {
                self.end(me.slot, word.fate())?;
                if config.is(Mutation::SettleReclaims) {
                    self.slot(me.slot).word = word.with_phase(Phase::Free).raw();
                    self.owns_dead(worker);
                } else {
                    self.next_claim(worker);
                }
            }
        }
        Ok(())
    }

    /// What settlement number `choice` does to `word`: 0 acknowledges, 1 fails, 2 fails with a delay.
    fn decide(config: &Config, choice: u8, word: Word) -> Next {
        let end = |fate| Next::End { fate, spend_failure: choice != 0 };
        match choice {
            0 => end(Fate::Acked),
            _ if word.is_cancelled() => end(Fate::Cancelled),
            _ if word.failures() + 1 > config.max_failures => end(Fate::Attempts),
            1 => Next::Ready { spend_failure: true },
            _ => Next::Delayed { spend_failure: true },
        }
    }

    fn started(&mut self, worker: usize, word: Word) -> Result<(), Broken> {
        let slot = self.workers[worker].slot;
        let job = self.slots[at(slot)].payload;
        if job == 0 {
            return Err(format!("starts slot {slot} without a payload"));
        }
        if self.fates[job as usize - 1] != 0 {
            return Err(format!("job {job} delivered after its end"));
        }
        let other = 1 - worker;
        if self.inside(other, slot) && self.workers[other].lease == word.epoch().raw() {
            return Err(format!("starts slot {slot} at {:?}, which worker {other} believes to be its lease", word.epoch()));
        }
        self.slot(slot).began = self.clock;
        let me = &mut self.workers[worker];
        me.job = job;
        me.lease = word.epoch().raw();
        me.at = At::Read;
        Ok(())
    }

    pub(super) fn worker(&self, config: &Config, worker: usize, out: &mut Successors) -> Result<(), Broken> {
        let me = self.workers[worker];
        if me.halted {
            return Ok(());
        }
        let name = NAMES[worker];
        let slot = me.slot;
        let claim = Claim::from_raw(me.batch[me.cur as usize % SEATS]);
        // every arm changes a copy and hands it in
        let mut next = *self;
        let mut step = |what: &'static str, next: State| out.push((name, what, next));
        if config.halt && worker == 0 && !(me.at == At::Idle && me.len == 0) {
            let mut halted = *self;
            halted.workers[0].halted = true;
            halted.sweeps_at_halt = self.timer.sweeps;
            step("halts for ever", halted);
        }
        match me.at {
            At::Idle => {
                if me.len < config.batch {
                    for popped in bits(self.lane, config) {
                        let mut next = *self;
                        next.lane &= !(1 << popped);
                        next.workers[worker] = Worker { at: At::ReadEpoch, slot: popped, hand: true, ..me };
                        step("pop", next);
                    }
                }
                if me.len > 0 {
                    next.workers[worker].at = At::Start;
                    step("stop popping", next);
                } else if self.steals > 0 {
                    for seat in 0..config.batch as usize {
                        let claim = Claim::from_raw(self.claims[(1 - worker) * SEATS + seat]);
                        if !claim.is_none() {
                            let mut next = *self;
                            next.steals -= 1;
                            next.workers[worker] = Worker { at: At::Steal, slot: claim.index() as u8, seen: claim.raw(), ..me };
                            step("read another's claim", next);
                        }
                    }
                }
            }
            At::Steal => {
                let epoch = Claim::from_raw(me.seen).epoch();
                let stolen = if config.is(Mutation::StealWithoutBump) {
                    let word = self.slots[at(slot)].view();
                    (word.epoch() == epoch && word.phase() == Phase::Ready).then_some(epoch)
                } else {
                    next.slot(slot).run(|state| state.steal(epoch))
                };
                match stolen {
                    Some(epoch) => {
                        let thief = &mut next.workers[worker];
                        thief.batch[0] = Claim::new(slot as u32, epoch).raw();
                        thief.at = At::StoreClaim;
                    }
                    None => next.workers[worker] = Worker::default(),
                }
                step("steal", next);
            }
            At::ReadEpoch => {
                let word = self.slots[at(slot)].view();
                if !matches!(word.phase(), Phase::Ready | Phase::Doomed) {
                    return Err(format!("popped index {slot} in phase {:?}", word.phase()));
                }
                let popper = &mut next.workers[worker];
                popper.batch[me.len as usize] = Claim::new(slot as u32, word.epoch()).raw();
                popper.hand = false;
                popper.at = At::StoreClaim;
                step("read the epoch", next);
            }
            At::StoreClaim => {
                if !config.is(Mutation::ClaimAfterStart) {
                    next.claims[worker * SEATS + me.len as usize] = me.batch[me.len as usize];
                }
                let popper = &mut next.workers[worker];
                popper.len += 1;
                popper.seen = 0;
                popper.slot = 0;
                popper.at = if popper.len == config.batch { At::Start } else { At::Idle };
                step("publish the claim", next);
            }
            At::Start => {
                let slot = claim.index() as u8;
                let epoch = if config.is(Mutation::StartRereads) { self.slots[at(slot)].view().epoch() } else { claim.epoch() };
                next.workers[worker].slot = slot;
                match next.slot(slot).run(|state| state.start(epoch)) {
                    Start::Running(mut word) => {
                        if config.is(Mutation::StartWithoutBump) {
                            word = word.with_epoch(epoch);
                            next.slot(slot).word = word.raw();
                        }
                        next.started(worker, word)?;
                        if config.is(Mutation::ClaimAfterStart) {
                            next.go(worker, At::StoreClaimLate);
                        }
                    }
                    Start::Doomed => next.go(worker, At::Dispose),
                    Start::Moved => next.next_claim(worker),
                }
                step("start", next);
                self.other_starts(config, worker, claim, &mut step)?;
            }
            At::StoreClaimLate => {
                next.claims[worker * SEATS + me.cur as usize] = claim.raw();
                next.go(worker, At::Read);
                step("publish the claim late", next);
            }
            At::Dispose => {
                let word = self.slots[at(slot)].view();
                match next.slot(slot).run(|state| state.dispose(claim.epoch())) {
                    Dispose::Owner(_) => next.owns_dead(worker),
                    Dispose::Left(_) if config.is(Mutation::DisposeReclaims) => {
                        next.slot(slot).word = word.with_phase(Phase::Free).raw();
                        next.owns_dead(worker);
                    }
                    Dispose::Left(_) | Dispose::Moved => next.next_claim(worker),
                }
                step("dispose", next);
            }
            At::Read => {
                if self.slots[at(slot)].payload != me.job {
                    return Err(format!("reads the payload of job {} in slot {slot}, finds {}", me.job, self.slots[at(slot)].payload));
                }
                next.go(worker, At::Settle);
                step("read the payload", next);
            }
            At::Settle => self.settle(config, worker, &mut step)?,
            At::SettleStore(choice) => {
                // the mutation: the word as it was seen, settled, stored over the word as it is
                next.slot(slot).word = me.seen;
                let settled =
                    next.slot(slot).run(|state| state.settle(Epoch::from_raw(me.lease), |word| Self::decide(config, choice, word)));
                next.settled(config, worker, settled.map_err(|stale| format!("{stale:?}"))?)?;
                step("settle by store", next);
            }
            At::Leave => {
                if config.is(Mutation::StaleNeverLeaves) {
                    next.next_claim(worker);
                } else {
                    if self.slots[at(slot)].view().holders() == 0 {
                        return Err(format!("leaves slot {slot} without holding it"));
                    }
                    match next.slot(slot).run(SlotState::leave) {
                        _ if config.is(Mutation::LeaveRereads) => next.go(worker, At::LeaveAgain),
                        Leave::Owner(_) => next.owns_dead(worker),
                        Leave::NotLast => next.next_claim(worker),
                    }
                }
                step("leave", next);
            }
            At::LeaveAgain => {
                let word = self.slots[at(slot)].view();
                if word.phase() == Phase::Zombie && word.holders() == 0 {
                    next.owns_dead(worker);
                } else {
                    next.next_claim(worker);
                }
                step("look again after leaving", next);
            }
            At::Push => {
                next.push_lane(slot)?;
                next.next_claim(worker);
                step("push", next);
            }
            At::SettleAfterPush => {
                match next.slot(slot).run(|state| state.settle(Epoch::from_raw(me.lease), |_| Next::Ready { spend_failure: true })) {
                    Ok(_) => next.next_claim(worker),
                    Err(_) => next.go(worker, At::Leave),
                }
                step("settle after the push", next);
            }
            At::Drop => {
                next.drop_payload(slot)?;
                next.go(worker, At::Free);
                step("drop the payload", next);
            }
            At::Free => {
                next.push_free(slot)?;
                next.next_claim(worker);
                step("free", next);
            }
            At::Mail => {
                let before = self.slots[at(slot)].mail;
                next.slot(slot).mail |= HANDOVER;
                if before == 0 {
                    next.workers[worker].hand = false;
                    next.go(worker, At::Post);
                } else {
                    next.next_claim(worker);
                }
                step("raise the handover flag", next);
            }
            At::Post => {
                next.push_inbox(slot)?;
                next.next_claim(worker);
                step("post", next);
            }
        }
        Ok(())
    }

    /// What a worker may do with an unstarted claim besides starting it.
    fn other_starts(&self, config: &Config, worker: usize, claim: Claim, step: &mut impl FnMut(&'static str, State)) -> Result<(), Broken> {
        let slot = claim.index() as u8;
        let word = self.slots[at(slot)].view();
        if self.ttl > 0 {
            let mut next = *self;
            next.ttl -= 1;
            next.workers[worker].slot = slot;
            match next.slot(slot).run(|state| state.end_claimed(claim.epoch(), Fate::Expired)) {
                Dispose::Moved => next.next_claim(worker),
                outcome => {
                    if word.phase() == Phase::Ready {
                        next.end(slot, Fate::Expired)?;
                    }
                    if matches!(outcome, Dispose::Owner(_)) { next.owns_dead(worker) } else { next.next_claim(worker) }
                }
            }
            step("drop unstarted, too old", next);
        }
        if self.returns > 0 && word.epoch() == claim.epoch() && word.phase() == Phase::Ready {
            let mut next = *self;
            next.returns -= 1;
            next.workers[worker].slot = slot;
            if !config.is(Mutation::ReturnWithoutBump) {
                next.slot(slot).run(|state| state.take_back(claim.epoch()));
            }
            next.workers[worker].hand = true;
            next.go(worker, At::Push);
            step("give back unstarted", next);
        }
        Ok(())
    }

    fn settle(&self, config: &Config, worker: usize, step: &mut impl FnMut(&'static str, State)) -> Result<(), Broken> {
        let me = self.workers[worker];
        let slot = me.slot;
        let word = self.slots[at(slot)].view();
        let mut lease = Epoch::from_raw(me.lease);
        let current = word.phase() == Phase::Running && word.epoch() == lease;
        if config.is(Mutation::LateSettle) && word.phase() == Phase::Running {
            lease = word.epoch();
        }
        let choices: &[(u8, &'static str)] = match (config.nack, config.delay) {
            (false, _) => &[(0, "acknowledge")],
            (true, false) => &[(0, "acknowledge"), (1, "fail")],
            (true, true) => &[(0, "acknowledge"), (1, "fail"), (2, "fail, delayed")],
        };
        for &(choice, what) in choices {
            let mut next = *self;
            if config.is(Mutation::SettleByStore) && current {
                next.workers[worker].seen = word.raw();
                next.go(worker, At::SettleStore(choice));
                step("look before settling", next);
                continue;
            }
            if config.is(Mutation::NackPushesFirst)
                && choice == 1
                && current
                && word.failures() < config.max_failures
                && !word.is_cancelled()
            {
                next.push_lane(slot)?;
                next.go(worker, At::SettleAfterPush);
                step("push before settling", next);
                continue;
            }
            match next.slot(slot).run(|state| state.settle(lease, |word| Self::decide(config, choice, word))) {
                Ok(settled) => {
                    if !current {
                        return Err(format!("settles slot {slot} in {word:?} with the lease e{}", me.lease));
                    }
                    if config.is(Mutation::AckKeepsHolder) && choice == 0 {
                        next.slot(slot).word = word.with_phase(Phase::Zombie).raw();
                        next.end(slot, Fate::Acked)?;
                        next.next_claim(worker);
                    } else {
                        next.settled(config, worker, settled)?;
                    }
                    step(what, next);
                }
                Err(Stale(_)) => {
                    next.go(worker, At::Leave);
                    step("settle too late", next);
                    break;
                }
            }
        }
        if self.extends > 0 {
            let mut next = *self;
            next.extends -= 1;
            let outcome = if config.is(Mutation::ExtendWithoutBump) {
                if current { Ok(lease) } else { Err(Stale(word)) }
            } else {
                next.slot(slot).run(|state| state.extend(lease))
            };
            match outcome {
                Ok(fresh) => {
                    next.slot(slot).began = self.clock;
                    next.workers[worker].lease = fresh.raw();
                    next.go(worker, At::Read);
                }
                Err(_) => next.go(worker, At::Leave),
            }
            step("extend", next);
        }
        Ok(())
    }
}
