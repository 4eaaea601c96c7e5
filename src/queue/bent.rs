//! Steps of the protocol that a model or a simulation may bend, to see that it notices. Elsewhere nothing is ever bent, and the compiler knows it.

/// A step left out, or done wrong.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bend {
    /// Whoever pushes neither fences nor rings the bell.
    SilentPush,
    /// A publisher does not ask again whether the queue has stopped.
    NoSecondLook,
    /// The stop does not fence.
    StopUnfenced,
    /// The close does not tell the publishers that wait.
    CloseUntold,
    /// A settlement takes the epoch it finds for its own.
    SettleRereads,
    /// A job that ends is freed whoever still reads it.
    EndUnderReaders,
    /// A job that ends keeps its slot.
    KeepCredit,
    /// Whoever cancels a delayed job does not tell the timer.
    CancelUntold,
    /// Claims are not published.
    ClaimsUnseen,
    /// A claimer that leaves keeps what it has claimed.
    KeepClaims,
    /// The timer takes an unstarted claim back without a new epoch.
    TakeBackUnmarked,
    /// A watched job's promise is noted when the job is in its lane already.
    PromiseLate,
    /// Whoever cancels a job tells that it was cancelled, before it has ended.
    CancelTells,
    /// A publish looks at the job that waits out a window, and replaces its payload when it has let go of the timer's lock in between.
    ReplaceLooksEarly,
    /// Whoever goes through the dead letters does not go once more for those that have come since.
    MovesOnce,
    /// A letter in hand does not count.
    HandUncounted,
    /// The hand-back looks which jobs are held, and takes them from the dead letters when it has let go of their lock in between.
    HeldLooksEarly,
    /// Whoever gives back what is held does not look for room.
    GivesBackBlindly,
    /// A redrive looks for a letter, and takes it out when it has let go of the letters' lock in between.
    RedriveLooksEarly,
    /// A drain believes the count of free slots.
    DrainCounts,
    /// The hand-back looks only where indices lie.
    HandsKeep,
    /// A follow-up on its way is not counted.
    ChainUncounted,
    /// A follow-up is counted as arrived before it is in.
    ChainArrivesEarly,
    /// Whoever looks at the slots one by one does not ask again whether a follow-up has set out since.
    ChainsCountedOnce,
    /// The timer ends a job that is over without taking it out of its lane.
    EndsInPlace,
    /// A timer that finds a buffer empty ends its watch when it has let go of the buffer's lock.
    LooksAway,
    /// A buffer's owner does not wait for who publishes what has its age.
    FlushesBeside,
    /// The jobs of a batch do not claim their keys.
    BatchClaimsNothing,
}

#[cfg(any(loom, feature = "test-util"))]
std::thread_local! {
    /// loom's threads are coroutines of the test's thread, so this is one value for a model and none of its neighbours'.
    static BENT: std::cell::Cell<Option<Bend>> = const { std::cell::Cell::new(None) };
}

/// Bends one step for the models that this thread runs from now on; `None`: none.
#[doc(hidden)]
pub fn bend(bend: Option<Bend>) {
    assert!(cfg!(loom) || bend != Some(Bend::EndUnderReaders), "only loom looks after the memory that is read then");
    #[cfg(any(loom, feature = "test-util"))]
    BENT.set(bend);
    #[cfg(not(any(loom, feature = "test-util")))]
    let _ = bend;
}

/// True while a model has bent this step.
#[inline(always)]
pub(crate) fn is_bent(bend: Bend) -> bool {
    #[cfg(any(loom, feature = "test-util"))]
    return BENT.get() == Some(bend);
    #[cfg(not(any(loom, feature = "test-util")))]
    {
        let _ = bend;
        false
    }
}
