//! The state word beside a struct of plain fields: how it is packed, and every call on a slot.

use crate::bytes::Bytes;
use crate::faulty;
use ringmill::limits::CAPACITY_MAX;
use ringmill::slab::{Claim, Epoch, SlotState, Word};
use std::sync::atomic::Ordering::Relaxed;

#[path = "../../proptests/word/plain.rs"]
mod plain;

use plain::{Call, EPOCH_LAST, FATES, PHASES, Plain, make};

const CALLS_MAX: usize = 400;

pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    packing(&mut bytes);
    let slot = SlotState::new();
    let epoch = if bytes.flag() { EPOCH_LAST - bytes.below(8) } else { bytes.u64() & EPOCH_LAST };
    let mut plain = Plain { epoch, ..Plain::FREE };
    slot.raw().store(plain.pack(Word::FREE, 0).raw(), Relaxed);
    for _ in 0..CALLS_MAX {
        if bytes.is_empty() {
            break;
        }
        let call = call(&mut bytes);
        plain = make(&slot, plain, call);
        // the lie: a job that has run out four times has run out three times
        if faulty() && plain.expiries == 4 {
            plain.expiries = 3;
        }
        assert_eq!(Plain::read(slot.load()), plain, "after {call:?}");
    }
}

/// Fields into a word and back, over whatever was there; a claim and back.
fn packing(bytes: &mut Bytes<'_>) {
    let plain = Plain {
        phase: bytes.one_of(&PHASES),
        fate: bytes.one_of(&FATES),
        lane: bytes.below(8) as u8,
        holders: bytes.below(16) as u32,
        cancelled: bytes.flag(),
        watched: bytes.flag(),
        failures: u32::from(bytes.byte()),
        expiries: bytes.below(16) as u32,
        epoch: bytes.u64() & EPOCH_LAST,
    };
    let base = Word::from_raw(bytes.u64());
    let word = plain.pack(base, bytes.below(9) as usize);
    assert_eq!(Plain::read(word), plain);
    assert_eq!(word, plain.pack(Word::FREE, 0), "the order of the setters and the word before do not matter");
    assert_eq!(Word::from_raw(word.raw()), word);
    let (index, epoch) = (bytes.u32() % CAPACITY_MAX, Epoch::from_raw(bytes.u64()));
    let claim = Claim::new(index, epoch);
    assert_eq!((claim.index(), claim.epoch()), (index, epoch));
    assert_eq!(Claim::from_raw(claim.raw()), claim);
    assert!(!claim.is_none());
}

fn call(bytes: &mut Bytes<'_>) -> Call {
    let kind = bytes.below(17);
    let behind = u64::from(bytes.byte()).saturating_sub(250);
    match kind {
        0 => Call::Fill { lane: bytes.below(8) as u8, delayed: bytes.flag(), watched: bytes.flag() },
        1 | 2 => Call::Start { behind },
        3 => Call::Settle { behind, next: bytes.below(3) as u8, spend: bytes.flag() },
        4 => Call::Leave,
        5 => Call::Expire { behind, max: bytes.below(20) as u32 },
        6 => Call::Extend { behind },
        7 => Call::TakeBack { behind },
        8 => Call::Steal { behind },
        9 => Call::Dispose { behind },
        10 => Call::EndClaimed { behind },
        11 => Call::Cancel,
        12 => Call::Fire,
        13 => Call::Hold,
        14 => Call::Unhold,
        15 => Call::TakeOver,
        _ => Call::Restore,
    }
}
