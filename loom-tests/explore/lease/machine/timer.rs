//! The timer: sweeps over the claims, reads its mail, fires what is due.

use super::*;

impl State {
    /// After one seat, or one piece of mail.
    fn timer_next(&mut self, config: &Config) {
        let timer = &mut self.timer;
        (timer.hand, timer.slot, timer.claim, timer.seen) = (false, 0, 0, 0);
        timer.at = TimerAt::Idle;
        if timer.sweeping {
            timer.seat += 1;
            if config.batch == 1 && timer.seat as usize % SEATS == 1 {
                timer.seat += 1;
            }
            timer.at = if (timer.seat as usize) < SEATS * config.workers { TimerAt::LoadClaim } else { TimerAt::EndSweep };
        }
    }

    pub(super) fn over(&self, config: &Config) -> bool {
        let ended = self.fates[..config.jobs as usize].iter().all(|&fate| fate != 0);
        ended && (!config.halt || self.free == (1 << config.slots) - 1)
    }

    pub(super) fn timer(&self, config: &Config, out: &mut Successors) -> Result<(), Broken> {
        let me = self.timer;
        let slot = me.slot;
        let mut next = *self;
        let mut step = |what: &'static str, next: State| out.push(("timer", what, next));
        match me.at {
            TimerAt::Idle => {
                if me.sweeps < config.sweeps && !self.over(config) {
                    next.clock += 1;
                    let now = next.clock;
                    next.timer = Timer { now, sweeps: me.sweeps + 1, seat: 0, sweeping: true, at: TimerAt::LoadClaim, ..me };
                    step("begin a sweep", next);
                }
                for posted in bits(self.inbox, config) {
                    let mut next = *self;
                    next.inbox &= !(1 << posted);
                    (next.timer.slot, next.timer.at) = (posted, TimerAt::TakeMail);
                    step("take from the inbox", next);
                }
                for due in bits(me.wheel, config) {
                    let mut next = *self;
                    next.timer.wheel &= !(1 << due);
                    (next.timer.slot, next.timer.hand, next.timer.at) = (due, true, TimerAt::Fire);
                    step("unlink from the wheel", next);
                }
            }
            TimerAt::LoadClaim => {
                let claim = Claim::from_raw(self.claims[me.seat as usize]);
                if claim.is_none() {
                    next.timer_next(config);
                } else {
                    (next.timer.claim, next.timer.slot, next.timer.at) = (claim.raw(), claim.index() as u8, TimerAt::LoadWord);
                }
                step("load a claim", next);
            }
            TimerAt::LoadWord => {
                let word = self.slots[at(slot)].view();
                next.sight(config, word);
                step("load the word", next);
            }
            TimerAt::Expire => {
                let sight = me.sights[me.seat as usize];
                let word = self.slots[at(slot)].view();
                let mut lease = Epoch::from_raw(sight.epoch);
                if config.is(Mutation::SightWithoutEpoch) {
                    lease = word.epoch();
                }
                match next.slot(slot).run(|state| state.expire(lease, config.max_expiries)) {
                    Expire::Lost(_) => next.timer_next(config),
                    outcome => {
                        if self.expiry_is_early(config, slot) {
                            return Err(format!("the lease of slot {slot} at {lease:?} expires too early"));
                        }
                        if config.is(Mutation::ExpireDropsHolder) {
                            let word = next.slots[at(slot)].view();
                            next.slot(slot).word = word.with_holders(word.holders() - 1).raw();
                        }
                        match outcome {
                            Expire::Ready(_) => (next.timer.hand, next.timer.at) = (true, TimerAt::Push),
                            Expire::Buried(word) => {
                                next.end(slot, word.fate())?;
                                if config.is(Mutation::BuriedReclaims) {
                                    next.drop_payload(slot)?;
                                }
                                next.timer_next(config);
                            }
                            Expire::Lost(_) => unreachable!(),
                        }
                    }
                }
                step("expire", next);
            }
            TimerAt::TakeBack => {
                let claim = Claim::from_raw(me.claim).epoch();
                let taken = if config.is(Mutation::TakeBackWithoutBump) {
                    let word = self.slots[at(slot)].view();
                    word.epoch() == claim && matches!(word.phase(), Phase::Ready | Phase::Doomed)
                } else {
                    next.slot(slot).run(|state| state.take_back(claim)).is_some()
                };
                if taken {
                    (next.timer.hand, next.timer.at) = (true, TimerAt::Push);
                } else {
                    next.timer_next(config);
                }
                step("take back", next);
            }
            TimerAt::Push => {
                next.push_lane(slot)?;
                next.timer_next(config);
                step("push", next);
            }
            TimerAt::EndSweep => {
                next.clock += 1;
                let stamp = if config.is(Mutation::StampFromSweepBegin) { me.now } else { next.clock };
                for sight in next.timer.sights.iter_mut().filter(|sight| sight.fresh) {
                    (sight.stamp, sight.fresh) = (stamp, false);
                }
                for (index, slot) in self.slots.iter().enumerate() {
                    if slot.view().phase() == Phase::Running && slot.began + 1 + 2 * config.lease <= me.now {
                        return Err(format!("the lease of slot {index} at {:?} is overdue by two sweeps", slot.view().epoch()));
                    }
                }
                (next.timer.seat, next.timer.sweeping, next.timer.at) = (0, false, TimerAt::Idle);
                if me.sweeps == config.sweeps {
                    (next.timer.sights, next.timer.now) = (Default::default(), 0);
                }
                step("end the sweep", next);
            }
            TimerAt::TakeMail => {
                let mail = self.slots[at(slot)].mail;
                next.slot(slot).mail = 0;
                let mine = mail & HANDOVER != 0 || config.is(Mutation::OneFlag) || me.wheel >> slot & 1 != 0;
                if mine {
                    next.timer.wheel &= !(1 << slot);
                    (next.timer.hand, next.timer.at) = (true, TimerAt::Look);
                } else {
                    next.timer_next(config);
                }
                step("take the flags", next);
            }
            TimerAt::Look => {
                match self.slots[at(slot)].view().phase() {
                    Phase::Doomed => next.timer.at = TimerAt::Push,
                    Phase::Delayed => {
                        next.timer.wheel |= 1 << slot;
                        next.timer_next(config);
                    }
                    other => return Err(format!("owns index {slot} in phase {other:?}")),
                }
                step("look at the word", next);
            }
            TimerAt::Fire => {
                let word = self.slots[at(slot)].view();
                if !matches!(word.phase(), Phase::Delayed | Phase::Doomed) {
                    return Err(format!("fires index {slot} in phase {:?}", word.phase()));
                }
                if config.is(Mutation::FireByStore) && word.phase() == Phase::Delayed {
                    (next.timer.seen, next.timer.at) = (word.with_phase(Phase::Ready).raw(), TimerAt::FireStore);
                } else {
                    let (Fire::Ready(_) | Fire::Doomed(_)) = next.slot(slot).run(SlotState::fire);
                    next.timer.at = TimerAt::Push;
                }
                step("fire", next);
            }
            TimerAt::FireStore => {
                next.slot(slot).word = me.seen;
                next.timer.at = TimerAt::Push;
                step("fire by store", next);
            }
        }
        Ok(())
    }

    /// Compares what lies at the claimed slot with what was seen there before, and ages it.
    ///
    /// A running lease is known by the epoch in the *word*, not by the claim: an extension needs no new claim.
    fn sight(&mut self, config: &Config, word: Word) {
        let timer = &mut self.timer;
        let claim = Claim::from_raw(timer.claim);
        let unstarted = word.epoch() == claim.epoch() && matches!(word.phase(), Phase::Ready | Phase::Doomed);
        let running = word.phase() == Phase::Running;
        let known = !config.is(Mutation::SightByClaim) || word.epoch() == claim.epoch().next();
        let mut found = Sight { slot: timer.slot, ..Sight::default() };
        if running && known {
            (found.kind, found.epoch) = (RUNS, word.epoch().raw());
        } else if unstarted {
            (found.kind, found.epoch) = (WAITS, claim.epoch().raw());
            if config.is(Mutation::AgeFromClaim) {
                // the claim is taken for the beginning of the lease
                (found.kind, found.epoch) = (RUNS, claim.epoch().next().raw());
            }
        }
        if config.is(Mutation::SightWithoutEpoch) {
            found.epoch = 0;
        }
        let sight = &mut timer.sights[timer.seat as usize];
        let same = (found.kind, found.slot, found.epoch) == (sight.kind, sight.slot, sight.epoch);
        if !same {
            *sight = Sight { fresh: found.kind != 0, ..found };
        }
        let old = same && timer.now - sight.stamp >= config.lease;
        if old && running && known {
            timer.at = TimerAt::Expire;
        } else if old && unstarted && !config.is(Mutation::NoTakeBack) {
            timer.at = TimerAt::TakeBack;
        } else {
            self.timer_next(config);
        }
    }
}
