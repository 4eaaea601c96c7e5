//! The state word and the claim: every field keeps its value and leaves its neighbours alone; every transition does what a plain struct does.

use proptest::prelude::*;
use ringmill::limits::CAPACITY_MAX;
use ringmill::slab::{CancelStep, Claim, Dispose, Epoch, Expire, Fate, Fire, Leave, Next, Phase, Settled, SlotState, Start, Word};

const PHASES: [Phase; 7] = [Phase::Free, Phase::Ready, Phase::Running, Phase::Delayed, Phase::Doomed, Phase::Zombie, Phase::Held];
const FATES: [Fate; 12] = [
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
];
const EPOCH_LAST: u64 = (1 << 36) - 1;

/// A word as a struct of plain fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Plain {
    phase: Phase,
    fate: Fate,
    lane: u8,
    holders: u32,
    cancelled: bool,
    watched: bool,
    failures: u32,
    expiries: u32,
    epoch: u64,
}

impl Plain {
    const FREE: Plain = Plain {
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

    fn read(word: Word) -> Plain {
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
    fn pack(self, base: Word, first: usize) -> Word {
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

fn plain() -> impl Strategy<Value = Plain> {
    let small = (0usize..7, 0usize..12, 0u8..8, 0u32..16, any::<bool>(), any::<bool>());
    let epoch = prop_oneof![0u64..4, EPOCH_LAST - 4..=EPOCH_LAST, 0..=EPOCH_LAST];
    (small, 0u32..256, 0u32..16, epoch).prop_map(|((phase, fate, lane, holders, cancelled, watched), failures, expiries, epoch)| Plain {
        phase: PHASES[phase],
        fate: FATES[fate],
        lane,
        holders,
        cancelled,
        watched,
        failures,
        expiries,
        epoch,
    })
}

/// All values of all small fields together, at the edges of the two wide ones: 13.8 million words.
#[test]
fn every_word_reads_back_what_was_packed() {
    for (phase, fate) in PHASES.iter().flat_map(|&phase| FATES.iter().map(move |&fate| (phase, fate))) {
        for small in 0..8 * 16 * 2 * 16 * 2u32 {
            let (lane, holders, cancelled, expiries) = ((small & 7) as u8, small >> 3 & 15, small >> 7 & 1 != 0, small >> 8 & 15);
            let watched = small >> 12 != 0;
            for failures in [0, 1, 128, 254, 255] {
                for epoch in [0, 1, 1 << 35, EPOCH_LAST] {
                    let plain = Plain { phase, fate, lane, holders, cancelled, watched, failures, expiries, epoch };
                    assert_eq!(Plain::read(plain.pack(Word::FREE, 0)), plain);
                }
            }
        }
    }
}

/// The one step that takes a short cut: only for a job that nobody else holds and nobody watches.
#[test]
fn a_watched_job_is_not_acked_by_the_short_cut() {
    for watched in [false, true] {
        let slot = SlotState::new();
        let Start::Running(word) = slot.start(slot.fill_as(Phase::Ready, 7, watched)) else { panic!("nobody else knows it") };
        assert_eq!(slot.ack(word), !watched);
        let after = Plain::read(slot.load());
        assert_eq!((after.phase, after.holders), if watched { (Phase::Running, 1) } else { (Phase::Free, 0) });
    }
}

proptest! {
    #[test]
    fn the_order_of_the_setters_and_the_word_before_do_not_matter(plain in plain(), base in any::<u64>(), first in 0usize..9) {
        let word = plain.pack(Word::from_raw(base), first);
        prop_assert_eq!(word, plain.pack(Word::FREE, 0));
        prop_assert_eq!(Plain::read(word), plain);
        prop_assert_eq!(Word::from_raw(word.raw()), word);
    }

    #[test]
    fn a_setter_touches_its_own_field_only(old in plain(), new in plain()) {
        let word = old.pack(Word::FREE, 0);
        prop_assert_eq!(Plain::read(word.with_phase(new.phase)), Plain { phase: new.phase, ..old });
        prop_assert_eq!(Plain::read(word.with_fate(new.fate)), Plain { fate: new.fate, ..old });
        prop_assert_eq!(Plain::read(word.with_lane(new.lane)), Plain { lane: new.lane, ..old });
        prop_assert_eq!(Plain::read(word.with_holders(new.holders)), Plain { holders: new.holders, ..old });
        prop_assert_eq!(Plain::read(word.with_cancelled(new.cancelled)), Plain { cancelled: new.cancelled, ..old });
        prop_assert_eq!(Plain::read(word.with_watched(new.watched)), Plain { watched: new.watched, ..old });
        prop_assert_eq!(Plain::read(word.with_failures(new.failures)), Plain { failures: new.failures, ..old });
        prop_assert_eq!(Plain::read(word.with_expiries(new.expiries)), Plain { expiries: new.expiries, ..old });
        prop_assert_eq!(Plain::read(word.with_epoch(Epoch::from_raw(new.epoch))), Plain { epoch: new.epoch, ..old });
    }

    #[test]
    fn counters_saturate(old in plain(), failures in any::<u32>(), expiries in any::<u32>()) {
        let word = old.pack(Word::FREE, 0).with_failures(failures).with_expiries(expiries);
        prop_assert_eq!(Plain::read(word), Plain { failures: failures.min(255), expiries: expiries.min(15), ..old });
    }

    #[test]
    fn epochs_count_modulo_2_to_the_36(raw in any::<u64>()) {
        let epoch = Epoch::from_raw(raw);
        prop_assert_eq!(epoch.raw(), raw & EPOCH_LAST);
        prop_assert_eq!(epoch.next().raw(), (epoch.raw() + 1) & EPOCH_LAST);
        prop_assert_ne!(epoch.next(), epoch);
    }

    #[test]
    fn a_claim_reads_back_what_was_packed(index in prop_oneof![0..4u32, CAPACITY_MAX - 4..CAPACITY_MAX, 0..CAPACITY_MAX], epoch in any::<u64>()) {
        let epoch = Epoch::from_raw(epoch);
        let claim = Claim::new(index, epoch);
        prop_assert_eq!((claim.index(), claim.epoch()), (index, epoch));
        prop_assert_eq!(Claim::from_raw(claim.raw()), claim);
        prop_assert!(!claim.is_none());
        prop_assert_ne!(claim.raw(), Claim::NONE.raw());
        // different claims differ
        prop_assert_ne!(Claim::new(index, epoch.next()), claim);
        prop_assert_ne!(Claim::new((index + 1) % CAPACITY_MAX, epoch), claim);
    }
}

/// One call on a slot. `behind` steps back from the current epoch: 0 is the right one, more is stale.
#[derive(Debug, Clone, Copy)]
enum Call {
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
    Cancel,
    Fire,
    Hold,
    Unhold,
    Restore,
}

fn call() -> impl Strategy<Value = Call> {
    let behind = || prop_oneof![6 => Just(0u64), 1 => 1u64..4];
    prop_oneof![
        (0u8..8, any::<bool>(), any::<bool>()).prop_map(|(lane, delayed, watched)| Call::Fill { lane, delayed, watched }),
        behind().prop_map(|behind| Call::Start { behind }),
        behind().prop_map(|behind| Call::Start { behind }),
        (behind(), 0u8..3, any::<bool>()).prop_map(|(behind, next, spend)| Call::Settle { behind, next, spend }),
        Just(Call::Leave),
        (behind(), 0u32..20).prop_map(|(behind, max)| Call::Expire { behind, max }),
        behind().prop_map(|behind| Call::Extend { behind }),
        behind().prop_map(|behind| Call::TakeBack { behind }),
        behind().prop_map(|behind| Call::Steal { behind }),
        behind().prop_map(|behind| Call::Dispose { behind }),
        behind().prop_map(|behind| Call::EndClaimed { behind }),
        Just(Call::Cancel),
        Just(Call::Fire),
        Just(Call::Hold),
        Just(Call::Unhold),
        Just(Call::Restore),
    ]
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
fn make(slot: &SlotState, before: Plain, call: Call) -> Plain {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn transitions_do_what_a_plain_struct_does(epoch in prop_oneof![Just(0u64), EPOCH_LAST - 8..=EPOCH_LAST], calls in prop::collection::vec(call(), 1..200)) {
        let slot = SlotState::new();
        let mut plain = Plain { epoch, ..Plain::FREE };
        slot.raw().store(plain.pack(Word::FREE, 0).raw(), std::sync::atomic::Ordering::Relaxed);
        for call in calls {
            plain = make(&slot, plain, call);
            prop_assert_eq!(Plain::read(slot.load()), plain, "after {:?}", call);
        }
    }
}
