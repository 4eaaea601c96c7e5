//! A word as a struct of plain fields, and each call on a slot as a change of that struct.

use ringmill::slab::{CancelStep, Dispose, Epoch, Expire, Fate, Fire, Leave, Next, Phase, Settled, SlotState, Start, Word};

pub const PHASES: [Phase; 7] = [Phase::Free, Phase::Ready, Phase::Running, Phase::Delayed, Phase::Doomed, Phase::Zombie, Phase::Held];
pub const FATES: [Fate; 13] = [
    Fate::None,
    Fate::Acked,
    Fate::Discarded,
    Fate::Rejected,
    Fate::Attempts,
    Fate::Expiries,
    Fate::Expired,
    Fate::Cancelled,
    Fate::Chained,
    Fate::OverLength,
    Fate::HandedBack,
    Fate::Purged,
    Fate::TakenOut,
];
pub const EPOCH_LAST: u64 = (1 << 36) - 1;

/// A word as a struct of plain fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain {
    pub phase: Phase,
    pub fate: Fate,
    pub lane: u8,
    pub holders: u32,
    pub cancelled: bool,
    pub watched: bool,
    pub failures: u32,
    pub expiries: u32,
    pub epoch: u64,
}

impl Plain {
    pub const FREE: Plain = Plain {
        phase: Phase::Free,
        fate: Fate::None,
        lane: 0,
        holders: 0,
        cancelled: false,
        watched: false,
        failures: 0,
        expiries: 0,
        epoch: 0,
    };

    pub fn read(word: Word) -> Plain {
        Plain {
            phase: word.phase(),
            fate: word.fate(),
            lane: word.lane(),
            holders: word.holders(),
            cancelled: word.is_cancelled(),
            watched: word.is_watched(),
            failures: word.failures(),
            expiries: word.expiries(),
            epoch: word.epoch().raw(),
        }
    }

    /// Packs the fields, beginning with field `first` of nine: the order of the setters must not matter.
    pub fn pack(self, base: Word, first: usize) -> Word {
        (0..9).fold(base, |word, step| match (first + step) % 9 {
            0 => word.with_phase(self.phase),
            1 => word.with_fate(self.fate),
            2 => word.with_lane(self.lane),
            3 => word.with_holders(self.holders),
            4 => word.with_cancelled(self.cancelled),
            5 => word.with_failures(self.failures),
            6 => word.with_expiries(self.expiries),
            7 => word.with_watched(self.watched),
            _ => word.with_epoch(Epoch::from_raw(self.epoch)),
        })
    }
}

/// One call on a slot. `behind` steps back from the current epoch: 0 is the right one, more is stale.
#[derive(Debug, Clone, Copy)]
pub enum Call {
    Fill { lane: u8, delayed: bool, watched: bool },
    Start { behind: u64 },
    Settle { behind: u64, next: u8, spend: bool },
    Leave,
    Expire { behind: u64, max: u32 },
    Extend { behind: u64 },
    TakeBack { behind: u64 },
    Steal { behind: u64 },
    Dispose { behind: u64 },
    EndClaimed { behind: u64 },
    TakeOver,
    Cancel,
    Fire,
    Hold,
    Unhold,
    Restore,
}

impl Plain {
    fn ended(self, fate: Fate) -> Plain {
        Plain { phase: if self.holders == 0 { Phase::Free } else { Phase::Zombie }, fate, ..self }
    }

    fn vacant(self) -> bool {
        self.holders == 0 && (self.phase == Phase::Free || self.phase == Phase::Zombie)
    }

    fn bumped(self) -> Plain {
        Plain { epoch: (self.epoch + 1) & EPOCH_LAST, ..self }
    }
}

/// Makes the call on the slot and on the struct; compares the outcome; returns the struct that the word must equal now.
pub fn make(slot: &SlotState, before: Plain, call: Call) -> Plain {
    let epoch = |behind: u64| Epoch::from_raw(before.epoch.wrapping_sub(behind));
    match call {
        Call::Fill { lane, delayed, watched } if before.vacant() => {
            let phase = if delayed { Phase::Delayed } else { Phase::Ready };
            let after = Plain { epoch: before.bumped().epoch, lane, phase, watched, ..Plain::FREE };
            let filled = slot.fill_as(phase, lane, watched);
            assert_eq!(filled.raw(), after.epoch);
            after
        }
        Call::Start { behind } => {
            let after = Plain { phase: Phase::Running, holders: before.holders + 1, ..before.bumped() };
            match slot.start(epoch(behind)) {
                Start::Running(word) => {
                    assert_eq!((Plain::read(word), before.phase, behind), (after, Phase::Ready, 0));
                    after
                }
                Start::Doomed => {
                    assert_eq!((before.phase, behind), (Phase::Doomed, 0));
                    before
                }
                Start::Moved => {
                    assert!(behind != 0 || !matches!(before.phase, Phase::Ready | Phase::Doomed));
                    before
                }
            }
        }
        Call::Settle { behind, next, spend } => {
            let spent = Plain { failures: (before.failures + u32::from(spend)).min(255), ..before };
            let left = |plain: Plain| Plain { holders: plain.holders - 1, ..plain };
            let outcome = slot.settle(epoch(behind), |word| {
                assert_eq!(Plain::read(word), before);
                match next {
                    0 => Next::Ready { spend_failure: spend },
                    1 => Next::Delayed { spend_failure: spend },
                    _ => Next::End { fate: Fate::Acked, spend_failure: spend },
                }
            });
            if behind != 0 || before.phase != Phase::Running {
                assert_eq!(Plain::read(outcome.expect_err("a stale settle").0), before);
                return before;
            }
            let (after, word) = match (outcome.expect("the current lease"), next) {
                (Settled::Ready(word), 0) => (Plain { phase: Phase::Ready, ..left(spent) }, word),
                (Settled::Delayed(word), 1) => (Plain { phase: Phase::Delayed, ..left(spent) }, word),
                (Settled::Owner(word), 2) if before.holders == 1 => (left(spent).ended(Fate::Acked), word),
                (Settled::Left(word), 2) if before.holders > 1 => (left(spent).ended(Fate::Acked), word),
                other => panic!("{other:?} from {before:?}"),
            };
            assert_eq!(Plain::read(word), after);
            after
        }
        // a running job keeps its own holder
        Call::Leave if before.holders > u32::from(before.phase == Phase::Running) => {
            let after = Plain { holders: before.holders - 1, ..before };
            let last = before.phase == Phase::Zombie && after.holders == 0;
            match slot.leave() {
                Leave::Owner(word) => assert_eq!((Plain::read(word), last), (after, true)),
                Leave::NotLast => assert!(!last),
            }
            after
        }
        Call::Expire { behind, max } => {
            let counted = Plain { expiries: (before.expiries + 1).min(15), ..before };
            match slot.expire(epoch(behind), max) {
                Expire::Lost(word) => {
                    assert_eq!(Plain::read(word), before);
                    assert!(behind != 0 || before.phase != Phase::Running);
                    before
                }
                Expire::Ready(word) => {
                    assert!(before.phase == Phase::Running && !before.cancelled && counted.expiries <= max.min(14));
                    assert_eq!(Plain::read(word), Plain { phase: Phase::Ready, ..counted });
                    Plain::read(word)
                }
                Expire::Buried(word) => {
                    assert!(before.phase == Phase::Running && (before.cancelled || counted.expiries > max.min(14)));
                    let fate = if before.cancelled { Fate::Cancelled } else { Fate::Expiries };
                    assert_eq!(Plain::read(word), counted.ended(fate));
                    Plain::read(word)
                }
            }
        }
        Call::Extend { behind } => match slot.extend(epoch(behind)) {
            Ok(lease) => {
                assert_eq!((lease.raw(), before.phase, behind), (before.bumped().epoch, Phase::Running, 0));
                before.bumped()
            }
            Err(stale) => {
                assert_eq!(Plain::read(stale.0), before);
                assert!(behind != 0 || before.phase != Phase::Running);
                before
            }
        },
        Call::TakeBack { behind } => {
            let mine = behind == 0 && matches!(before.phase, Phase::Ready | Phase::Doomed);
            let after = if mine { before.bumped() } else { before };
            assert_eq!(slot.take_back(epoch(behind)), mine.then(|| (Epoch::from_raw(after.epoch), before.phase)));
            after
        }
        Call::Steal { behind } => {
            let mine = behind == 0 && before.phase == Phase::Ready;
            let after = if mine { before.bumped() } else { before };
            assert_eq!(slot.steal(epoch(behind)), mine.then(|| Epoch::from_raw(after.epoch)));
            after
        }
        Call::Dispose { behind } => ended(slot.dispose(epoch(behind)), before, behind == 0 && before.phase == Phase::Doomed, before.fate),
        Call::EndClaimed { behind } => {
            let mine = behind == 0 && matches!(before.phase, Phase::Ready | Phase::Doomed);
            let fate = if before.phase == Phase::Doomed { before.fate } else { Fate::Expired };
            ended(slot.end_claimed(epoch(behind), Fate::Expired), before, mine, fate)
        }
        Call::TakeOver => match slot.take_over() {
            Some(word) => {
                assert_eq!((Plain::read(word), before.holders), (before, 0));
                assert!(matches!(before.phase, Phase::Ready | Phase::Delayed));
                Plain { phase: Phase::Doomed, fate: Fate::TakenOut, holders: 1, ..before }
            }
            None => {
                assert!(before.holders > 0 || !matches!(before.phase, Phase::Ready | Phase::Delayed));
                before
            }
        },
        Call::Cancel => match (slot.cancel(slot.load(), Fate::Cancelled), before.phase) {
            (CancelStep::Doomed, Phase::Ready) | (CancelStep::DoomedDelayed, Phase::Delayed) => {
                Plain { phase: Phase::Doomed, fate: Fate::Cancelled, ..before }
            }
            (CancelStep::Flagged, Phase::Running) => Plain { cancelled: true, ..before },
            (CancelStep::Gone, Phase::Free | Phase::Doomed | Phase::Zombie | Phase::Held) => before,
            other => panic!("{other:?}"),
        },
        Call::Fire if matches!(before.phase, Phase::Delayed | Phase::Doomed) => match slot.fire() {
            Fire::Ready(word) => {
                assert_eq!((Plain::read(word), before.phase), (Plain { phase: Phase::Ready, ..before }, Phase::Delayed));
                Plain::read(word)
            }
            Fire::Doomed(word) => {
                assert_eq!((Plain::read(word), before.phase), (before, Phase::Doomed));
                before
            }
        },
        Call::Hold if before.vacant() => {
            slot.hold();
            Plain { phase: Phase::Held, ..before }
        }
        Call::Unhold if before.phase == Phase::Held => {
            slot.unhold();
            Plain { phase: Phase::Free, ..before }
        }
        Call::Restore if before.phase == Phase::Held => {
            let after = Plain { phase: Phase::Ready, fate: Fate::None, failures: 7, ..before.bumped() };
            // a word from elsewhere: its epoch and its holders do not count
            let word = Plain { epoch: 5, holders: 3, ..after }.pack(Word::FREE, 0);
            assert_eq!(slot.restore(word).raw(), after.epoch);
            after
        }
        // the callers of these own the slot; without that they may not be called
        Call::Fill { .. } | Call::Leave | Call::Fire | Call::Hold | Call::Unhold | Call::Restore => before,
    }
}

fn ended(outcome: Dispose, before: Plain, mine: bool, fate: Fate) -> Plain {
    match outcome {
        Dispose::Owner(word) => {
            assert!(mine && before.holders == 0);
            assert_eq!(Plain::read(word), before.ended(fate));
            before.ended(fate)
        }
        Dispose::Left(_) => {
            assert!(mine && before.holders > 0);
            before.ended(fate)
        }
        Dispose::Moved => {
            assert!(!mine);
            before
        }
    }
}
