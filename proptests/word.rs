//! The state word and the claim: every field keeps its value and leaves its neighbours alone; every transition does what a plain struct does.

use proptest::prelude::*;
use ringmill::limits::CAPACITY_MAX;
use ringmill::slab::{Claim, Epoch, Phase, SlotState, Start, Word};

mod plain;

use plain::{Call, EPOCH_LAST, FATES, PHASES, Plain, make};

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
        Just(Call::TakeOver),
        Just(Call::Cancel),
        Just(Call::Fire),
        Just(Call::Hold),
        Just(Call::Unhold),
        Just(Call::Restore),
    ]
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
