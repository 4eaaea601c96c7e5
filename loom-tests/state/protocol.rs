//! The steps of the protocol as the models take them, and the mutations that replace one of them in a twin.

use ringmill::inbox::Flag;
use ringmill::slab::{Dispose, Epoch, Expire, Fate, Fire, Leave, Next, Phase, Settled, SlotState, Stale, Start, Word};
use ringmill::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// Makes every step of the protocol begin with an RMW.
///
/// loom 0.7.3 remembers one last access per atomic. A load that begins a CAS loop hides an earlier load by another thread from the CAS that
/// follows, and the order "CAS first, then that load" is never tried: without this, [`claim_is_seen`] has one execution and finds nothing.
pub(super) fn turn(slot: &SlotState) {
    slot.raw().fetch_or(0, Relaxed);
}

/// The steps a mutation may replace. The provided ones are the crate's.
pub(super) trait Protocol: Send + Sync + 'static {
    fn fill(slot: &SlotState) -> Epoch {
        turn(slot);
        slot.fill(0)
    }
    fn load(slot: &SlotState) -> Word {
        turn(slot);
        slot.load()
    }
    fn start(slot: &SlotState, claim: Epoch) -> Start {
        turn(slot);
        slot.start(claim)
    }
    fn settle(slot: &SlotState, lease: Epoch, decide: impl FnMut(Word) -> Next) -> Result<Settled, Stale> {
        turn(slot);
        slot.settle(lease, decide)
    }
    fn ack(slot: &SlotState, running: Word) -> bool {
        turn(slot);
        slot.ack(running)
    }
    fn leave(slot: &SlotState) -> Leave {
        turn(slot);
        slot.leave()
    }
    fn dispose(slot: &SlotState, epoch: Epoch) -> Dispose {
        turn(slot);
        slot.dispose(epoch)
    }
    fn expire(slot: &SlotState, lease: Epoch, max: u32) -> Expire {
        turn(slot);
        slot.expire(lease, max)
    }
    fn extend(slot: &SlotState, lease: Epoch) -> Result<Epoch, Stale> {
        turn(slot);
        slot.extend(lease)
    }
    fn take_back(slot: &SlotState, claim: Epoch) -> Option<(Epoch, Phase)> {
        turn(slot);
        slot.take_back(claim)
    }
    fn give_back(slot: &SlotState, claim: Epoch) -> Option<(Epoch, Phase)> {
        turn(slot);
        slot.take_back(claim)
    }
    fn steal(slot: &SlotState, claim: Epoch) -> Option<Epoch> {
        turn(slot);
        slot.steal(claim)
    }
    fn fire(slot: &SlotState) -> Fire {
        turn(slot);
        slot.fire()
    }
    const CLAIM_FIRST: bool = true;
    const POKE: Flag = Flag::Poke;
    const CHECKS_ID: bool = true;
}

/// No mutation.
pub(super) struct Sound;
impl Protocol for Sound {}

/// Declares a mutation: a type, and the step it replaces.
macro_rules! mutation {
    ($(#[$doc:meta])* $name:ident: $($step:tt)*) => {
        $(#[$doc])*
        pub(super) struct $name;
        impl Protocol for $name { $($step)* }
    };
}

pub(super) fn peek(slot: &SlotState) -> Word {
    turn(slot);
    Word::from_raw(slot.raw().load(Acquire))
}

pub(super) fn cas(slot: &SlotState, from: Word, to: Word) -> bool {
    slot.raw().compare_exchange(from.raw(), to.raw(), AcqRel, Acquire).is_ok()
}

pub(super) fn running(word: Word) -> Word {
    word.with_phase(Phase::Running).with_epoch(word.epoch().next()).with_holders(word.holders() + 1)
}

mutation! {
    /// Starts keep the epoch.
    StartWithoutBump:
    fn start(slot: &SlotState, claim: Epoch) -> Start {
        loop {
            let word = peek(slot);
            if word.epoch() != claim || word.phase() != Phase::Ready {
                return Start::Moved;
            }
            let next = running(word).with_epoch(claim);
            if cas(slot, word, next) {
                return Start::Running(next);
            }
        }
    }
}
mutation! {
    /// Starts by look and store.
    StartByStore:
    fn start(slot: &SlotState, claim: Epoch) -> Start {
        let word = peek(slot);
        if word.epoch() != claim || word.phase() != Phase::Ready {
            return Start::Moved;
        }
        slot.raw().swap(running(word).raw(), AcqRel);
        Start::Running(running(word))
    }
}
mutation! {
    /// A failed start takes the epoch it finds.
    StartRereads:
    fn start(slot: &SlotState, _claim: Epoch) -> Start {
        slot.start(peek(slot).epoch())
    }
}
mutation! {
    /// Starts compare two bits of the epoch.
    TwoBitEpoch:
    fn start(slot: &SlotState, claim: Epoch) -> Start {
        let found = peek(slot).epoch();
        if (found.raw() ^ claim.raw()) & 3 == 0 { slot.start(found) } else { Start::Moved }
    }
}
mutation! {
    /// Starts do not wait for the payload.
    StartWithoutAcquire:
    fn start(slot: &SlotState, claim: Epoch) -> Start {
        turn(slot);
        let word = Word::from_raw(slot.raw().load(Relaxed));
        if word.epoch() != claim || word.phase() != Phase::Ready {
            return Start::Moved;
        }
        match slot.raw().compare_exchange(word.raw(), running(word).raw(), Release, Relaxed) {
            Ok(_) => Start::Running(running(word)),
            Err(_) => Start::Moved,
        }
    }
}
mutation! {
    /// Starts publish nothing.
    StartWithoutRelease:
    fn start(slot: &SlotState, claim: Epoch) -> Start {
        let word = peek(slot);
        if word.epoch() != claim || word.phase() != Phase::Ready {
            return Start::Moved;
        }
        match slot.raw().compare_exchange(word.raw(), running(word).raw(), Acquire, Relaxed) {
            Ok(_) => Start::Running(running(word)),
            Err(_) => Start::Moved,
        }
    }
}
mutation! {
    /// The claim is published after the start.
    ClaimAfterStart:
    const CLAIM_FIRST: bool = false;
}
mutation! {
    /// A slot is filled in its old epoch.
    FillWithoutBump:
    fn fill(slot: &SlotState) -> Epoch {
        let word = Word::FREE.with_phase(Phase::Ready).with_epoch(peek(slot).epoch());
        slot.raw().swap(word.raw(), Release);
        word.epoch()
    }
}
mutation! {
    /// A fill publishes nothing.
    FillWithoutRelease:
    fn fill(slot: &SlotState) -> Epoch {
        let word = Word::FREE.with_phase(Phase::Ready).with_epoch(peek(slot).epoch().next());
        slot.raw().swap(word.raw(), Relaxed);
        word.epoch()
    }
}
mutation! {
    /// A look at the word that does not order the look at the id.
    LoadWithoutAcquire:
    fn load(slot: &SlotState) -> Word {
        turn(slot);
        Word::from_raw(slot.raw().load(Relaxed))
    }
}
mutation! {
    /// A settlement looks, then stores.
    SettleByStore:
    fn settle(slot: &SlotState, lease: Epoch, mut decide: impl FnMut(Word) -> Next) -> Result<Settled, Stale> {
        let word = peek(slot);
        if word.phase() != Phase::Running || word.epoch() != lease {
            return Err(Stale(word));
        }
        // what the crate's own settle makes of this word, stored over whatever is there by now
        let copy = SlotState::new();
        copy.restore(word);
        let epoch = copy.load().epoch();
        copy.raw().swap(word.with_epoch(epoch).raw(), Relaxed);
        let settled = copy.settle(epoch, &mut decide);
        slot.raw().swap(copy.load().with_epoch(lease).raw(), AcqRel);
        settled
    }
}
mutation! {
    /// A settlement takes any lease for its own.
    LateSettle:
    fn settle(slot: &SlotState, _lease: Epoch, decide: impl FnMut(Word) -> Next) -> Result<Settled, Stale> {
        slot.settle(peek(slot).epoch(), decide)
    }
}
mutation! {
    /// A settlement frees the slot though others hold it.
    SettleReclaims:
    fn settle(slot: &SlotState, lease: Epoch, decide: impl FnMut(Word) -> Next) -> Result<Settled, Stale> {
        match slot.settle(lease, decide) {
            Ok(Settled::Left(word)) => Ok(Settled::Owner(word)),
            other => other,
        }
    }
}
mutation! {
    /// A plain ack frees the slot though others hold it.
    AckUnderReaders:
    fn ack(slot: &SlotState, running: Word) -> bool {
        let next = running.with_holders(0).with_fate(Fate::Acked).with_phase(Phase::Free);
        cas(slot, running, next)
    }
}
mutation! {
    /// A plain ack takes the word it finds for its own.
    AckRereads:
    fn ack(slot: &SlotState, _running: Word) -> bool {
        slot.ack(peek(slot))
    }
}
mutation! {
    /// A settlement publishes nothing.
    SettleWithoutRelease:
    fn settle(slot: &SlotState, lease: Epoch, decide: impl FnMut(Word) -> Next) -> Result<Settled, Stale> {
        settle_ordered::<false>(slot, lease, decide)
    }
}
mutation! {
    /// A settlement does not wait for the readers that left.
    SettleWithoutAcquire:
    fn settle(slot: &SlotState, lease: Epoch, decide: impl FnMut(Word) -> Next) -> Result<Settled, Stale> {
        settle_ordered::<true>(slot, lease, decide)
    }
}

/// Ends with one ordering instead of two: Release or Acquire.
pub(super) fn settle_ordered<const RELEASE: bool>(
    slot: &SlotState,
    lease: Epoch,
    mut decide: impl FnMut(Word) -> Next,
) -> Result<Settled, Stale> {
    loop {
        turn(slot);
        let word = Word::from_raw(slot.raw().load(Relaxed));
        if word.phase() != Phase::Running || word.epoch() != lease {
            return Err(Stale(word));
        }
        let Next::End { fate, .. } = decide(word) else { panic!("this mutation only ends jobs") };
        let left = word.with_holders(word.holders() - 1).with_fate(fate);
        let next = left.with_phase(if left.holders() == 0 { Phase::Free } else { Phase::Zombie });
        if slot.raw().compare_exchange(word.raw(), next.raw(), if RELEASE { Release } else { Acquire }, Relaxed).is_ok() {
            return Ok(if left.holders() == 0 { Settled::Owner(next) } else { Settled::Left(next) });
        }
    }
}

mutation! {
    /// A leaver looks again after it has left.
    LeaveRereads:
    fn leave(slot: &SlotState) -> Leave {
        let _ = slot.leave();
        let word = peek(slot);
        if word.phase() == Phase::Zombie && word.holders() == 0 { Leave::Owner(word) } else { Leave::NotLast }
    }
}
mutation! {
    /// A stale holder goes without leaving.
    NeverLeaves:
    fn leave(_slot: &SlotState) -> Leave {
        Leave::NotLast
    }
}
mutation! {
    /// Leaving publishes nothing.
    LeaveWithoutRelease:
    fn leave(slot: &SlotState) -> Leave {
        leave_ordered::<false>(slot)
    }
}
mutation! {
    /// The last leaver does not wait for the other readers.
    LeaveWithoutAcquire:
    fn leave(slot: &SlotState) -> Leave {
        leave_ordered::<true>(slot)
    }
}

pub(super) fn leave_ordered<const RELEASE: bool>(slot: &SlotState) -> Leave {
    let holder = Word::FREE.with_holders(1).raw();
    let before = Word::from_raw(slot.raw().fetch_sub(holder, if RELEASE { Release } else { Acquire }));
    if before.phase() == Phase::Zombie && before.holders() == 1 { Leave::Owner(before) } else { Leave::NotLast }
}

mutation! {
    /// Whoever disposes of a slot does not wait for the readers that left.
    DisposeWithoutAcquire:
    fn dispose(slot: &SlotState, epoch: Epoch) -> Dispose {
        loop {
            turn(slot);
        let word = Word::from_raw(slot.raw().load(Relaxed));
            assert!(word.phase() == Phase::Doomed && word.epoch() == epoch);
            let next = word.with_phase(if word.holders() == 0 { Phase::Free } else { Phase::Zombie });
            if slot.raw().compare_exchange(word.raw(), next.raw(), Release, Relaxed).is_ok() {
                return if word.holders() == 0 { Dispose::Owner(next) } else { Dispose::Left(next) };
            }
        }
    }
}
mutation! {
    /// Whoever disposes of a slot does not look at the holders.
    DisposeReclaims:
    fn dispose(slot: &SlotState, epoch: Epoch) -> Dispose {
        match slot.dispose(epoch) {
            Dispose::Left(_) => Dispose::Owner(peek(slot)),
            other => other,
        }
    }
}
mutation! {
    /// An expiry counts the stuck holder out.
    ExpireDropsHolder:
    fn expire(slot: &SlotState, lease: Epoch, max: u32) -> Expire {
        let outcome = slot.expire(lease, max);
        if !matches!(outcome, Expire::Lost(_)) {
            slot.raw().fetch_sub(Word::FREE.with_holders(1).raw(), AcqRel);
        }
        outcome
    }
}
mutation! {
    /// An expiry ends whatever lease it finds.
    ExpireIgnoresEpoch:
    fn expire(slot: &SlotState, _lease: Epoch, max: u32) -> Expire {
        slot.expire(peek(slot).epoch(), max)
    }
}
mutation! {
    /// The timer takes the index without having seen its last owner go.
    ExpireWithoutAcquire:
    fn expire(slot: &SlotState, lease: Epoch, _max: u32) -> Expire {
        turn(slot);
        let word = Word::from_raw(slot.raw().load(Relaxed));
        let next = word.with_phase(Phase::Ready);
        if word.phase() != Phase::Running || word.epoch() != lease {
            return Expire::Lost(word);
        }
        match slot.raw().compare_exchange(word.raw(), next.raw(), Relaxed, Relaxed) {
            Ok(_) => Expire::Ready(next),
            Err(now) => Expire::Lost(Word::from_raw(now)),
        }
    }
}
mutation! {
    /// An extension keeps the epoch.
    ExtendWithoutBump:
    fn extend(slot: &SlotState, lease: Epoch) -> Result<Epoch, Stale> {
        let word = peek(slot);
        if word.phase() == Phase::Running && word.epoch() == lease { Ok(lease) } else { Err(Stale(word)) }
    }
}
mutation! {
    /// The timer takes a claim back in its old epoch.
    TakeBackWithoutBump:
    fn take_back(slot: &SlotState, claim: Epoch) -> Option<(Epoch, Phase)> {
        let word = peek(slot);
        (word.epoch() == claim && matches!(word.phase(), Phase::Ready | Phase::Doomed)).then(|| (claim, word.phase()))
    }
}
mutation! {
    /// A worker gives its batch back in its old epoch.
    GiveBackWithoutBump:
    fn give_back(slot: &SlotState, claim: Epoch) -> Option<(Epoch, Phase)> {
        let word = peek(slot);
        (word.epoch() == claim && word.phase() == Phase::Ready).then_some((claim, Phase::Ready))
    }
}
mutation! {
    /// A thief takes a claim in its old epoch.
    StealWithoutBump:
    fn steal(slot: &SlotState, claim: Epoch) -> Option<Epoch> {
        let word = peek(slot);
        (word.epoch() == claim && word.phase() == Phase::Ready).then_some(claim)
    }
}
mutation! {
    /// The timer fires by look and store.
    FireByStore:
    fn fire(slot: &SlotState) -> Fire {
        let word = peek(slot);
        if word.phase() == Phase::Doomed {
            return Fire::Doomed(word);
        }
        slot.raw().swap(word.with_phase(Phase::Ready).raw(), AcqRel);
        Fire::Ready(word.with_phase(Phase::Ready))
    }
}
mutation! {
    /// One flag for both: a poke looks like a handover.
    OneFlag:
    const POKE: Flag = Flag::Handover;
}
mutation! {
    /// A canceller does not check whose slot it is.
    CancelWithoutId:
    const CHECKS_ID: bool = false;
}
