//! The steps that make the protocol right, each as a switch that only a failing twin turns off.
//!
//! All of it is decided at compile time: [`Sound`], the only rules outside of tests, leaves no trace in the code.

use std::fmt::Debug;

/// What a pool does. Every constant defaults to the sound choice.
pub trait Rules: Debug + Send + Sync + 'static {
    /// The stack's top carries a tag that each push moves on.
    const TAGGED: bool = true;
    /// A full fence stands between a deposit and the look for waiters.
    const DEPOSIT_FENCE: bool = true;
    /// A full fence stands between joining the line and the last scan.
    const WAIT_FENCE: bool = true;
    /// The rest of a refill or revocation looks for waiters.
    const REFILL_LOOKS: bool = true;
    /// Who starves empties the other accounts.
    const REVOKES: bool = true;
    /// A waiter scans once more after it joined the line.
    const RESCANS: bool = true;
    /// A waiter that leaves and lost to a grant passes the grant on.
    const PASSES_ON: bool = true;
    /// A grant names the wait that it is for.
    const NUMBERED: bool = true;
    /// A waiter that one line has served leaves the others.
    const LEAVES_ALL: bool = true;
    /// A task says how to wake it before it looks.
    const REGISTERS_FIRST: bool = true;
    /// What no waiter wanted is deposited like anything else: with a look afterwards.
    const LAST_LOOK: bool = true;
    /// A refill keeps all of the chain, so that a model with two credits has a cache to speak of. Sound, but too much for a small pool.
    const KEEPS_ALL: bool = false;
}

/// The protocol as it is.
#[derive(Debug, Clone, Copy)]
pub struct Sound;

impl Rules for Sound {}
