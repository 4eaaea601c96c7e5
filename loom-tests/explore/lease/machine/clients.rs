//! The canceller and the producer.

use super::*;

impl State {
    pub(super) fn canceller(&self, config: &Config, out: &mut Successors) -> Result<(), Broken> {
        let me = self.canceller;
        let slot = me.slot;
        let idle = Canceller { left: me.left, ..Canceller::default() };
        let mut next = *self;
        let mut step = |what: &'static str, next: State| out.push(("canceller", what, next));
        match me.at {
            CancelAt::Idle if me.left > 0 => {
                for (job, &lies) in (1..).zip(&self.lies).filter(|&(_, &lies)| lies != 0) {
                    let mut next = *self;
                    next.canceller = Canceller { at: CancelAt::LoadWord, left: me.left - 1, job, slot: lies - 1, word: 0 };
                    step("choose a job", next);
                }
            }
            CancelAt::Idle => {}
            CancelAt::LoadWord => {
                (next.canceller.word, next.canceller.at) = (self.slots[at(slot)].word, CancelAt::LoadId);
                step("load the word", next);
            }
            CancelAt::LoadId => {
                let mine = self.slots[at(slot)].id == me.job || config.is(Mutation::CancelWithoutId);
                next.canceller = if mine { Canceller { at: CancelAt::Cas, ..me } } else { idle };
                step("load the id", next);
            }
            CancelAt::Cas => {
                let before = self.slots[at(slot)];
                let outcome = next.slot(slot).run(|state| state.cancel(Word::from_raw(me.word), Fate::Cancelled));
                next.canceller = idle;
                match outcome {
                    CancelStep::Retry(word) => next.canceller = Canceller { at: CancelAt::LoadId, word: word.raw(), ..me },
                    CancelStep::Gone => {}
                    _ if before.payload != me.job => return Err(format!("the cancel of job {} hits job {}", me.job, before.payload)),
                    CancelStep::Flagged => {}
                    CancelStep::Doomed | CancelStep::DoomedDelayed => {
                        next.end(slot, Fate::Cancelled)?;
                        if outcome == CancelStep::DoomedDelayed {
                            next.canceller = Canceller { at: CancelAt::Mail, ..me };
                        } else if config.is(Mutation::CancelReclaims) && before.view().holders() == 0 {
                            next.drop_payload(slot)?;
                            next.slot(slot).word = next.slots[at(slot)].view().with_phase(Phase::Free).raw();
                            next.push_free(slot)?;
                        }
                    }
                }
                step("cancel", next);
            }
            CancelAt::Mail => {
                let before = self.slots[at(slot)].mail;
                next.slot(slot).mail |= POKE;
                next.canceller = if before == 0 { Canceller { at: CancelAt::Post, ..me } } else { idle };
                step("raise the poke flag", next);
            }
            CancelAt::Post => {
                next.push_inbox(slot)?;
                next.canceller = idle;
                step("post", next);
            }
        }
        Ok(())
    }

    pub(super) fn producer(&self, config: &Config, out: &mut Successors) -> Result<(), Broken> {
        let me = self.producer;
        let slot = me.slot;
        let mut next = *self;
        let done = Producer { published: me.published + 1, ..Producer::default() };
        let mut step = |what: &'static str, next: State| out.push(("producer", what, next));
        match me.at {
            ProducerAt::Idle => {
                if me.published < config.jobs {
                    for free in bits(self.free, config) {
                        let mut next = *self;
                        next.free &= !(1 << free);
                        next.producer = Producer { at: ProducerAt::Write, slot: free, hand: true, ..me };
                        step("take a free index", next);
                    }
                }
            }
            ProducerAt::Write => {
                if self.slots[at(slot)].payload != 0 {
                    return Err(format!("writes over the payload of slot {slot}"));
                }
                if (0..WORKERS).any(|worker| self.inside(worker, slot)) {
                    return Err(format!("writes slot {slot} under the eyes of a holder"));
                }
                (next.slot(slot).payload, next.slot(slot).id) = (me.published + 1, me.published + 1);
                next.producer.at = ProducerAt::Fill;
                step("write payload and id", next);
            }
            ProducerAt::Fill => {
                let word = self.slots[at(slot)].view();
                if word.holders() != 0 || !matches!(word.phase(), Phase::Free | Phase::Zombie) {
                    return Err(format!("fills slot {slot} in {word:?}"));
                }
                next.slot(slot).began = 0;
                next.lies[me.published as usize] = slot + 1;
                if config.delayed_publish {
                    let mut next = next;
                    next.slot(slot).run(|state| state.fill_delayed(0));
                    next.producer.at = ProducerAt::Mail;
                    step("fill, delayed", next);
                }
                next.slot(slot).run(|state| state.fill(0));
                if config.is(Mutation::FillWithoutBump) {
                    let filled = next.slots[at(slot)].view();
                    next.slot(slot).word = filled.with_epoch(word.epoch()).raw();
                }
                next.producer.at = ProducerAt::Push;
                step("fill", next);
            }
            ProducerAt::Push => {
                next.push_lane(slot)?;
                next.producer = done;
                step("push", next);
            }
            ProducerAt::Mail => {
                let before = self.slots[at(slot)].mail;
                next.slot(slot).mail |= HANDOVER;
                next.producer = if before == 0 { Producer { hand: false, at: ProducerAt::Post, ..me } } else { done };
                step("raise the handover flag", next);
            }
            ProducerAt::Post => {
                next.push_inbox(slot)?;
                next.producer = done;
                step("post", next);
            }
        }
        Ok(())
    }
}
