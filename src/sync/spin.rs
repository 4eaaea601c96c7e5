//! Busy waiting that knows when to stop burning the core.

use crate::limits::MODEL;

/// Waits a little longer each turn: first with the CPU's pause hint, then by giving the time slice away.
///
/// `Backoff` is the retry delay everywhere in this crate; this is the other thing.
#[derive(Debug, Default, Clone, Copy)]
pub struct SpinWait {
    turn: u32,
}

/// Turns of doubling pauses (1, 2, 4 .. 64) before the first yield.
const PAUSE_TURNS: u32 = 7;

impl SpinWait {
    /// A wait that has not begun.
    pub const fn new() -> Self {
        SpinWait { turn: 0 }
    }

    /// Waits one turn. In a model it yields to the scheduler, as every spin loop in a model must.
    #[inline]
    pub fn spin(&mut self) {
        if !MODEL && self.turn < PAUSE_TURNS {
            pause(1 << self.turn);
        } else {
            super::thread::yield_now();
        }
        self.turn = self.turn.saturating_add(1);
    }

    /// True once further turns give the time slice away.
    #[inline]
    pub fn is_yielding(&self) -> bool {
        self.turn >= PAUSE_TURNS
    }

    /// Begins anew.
    #[inline]
    pub fn reset(&mut self) {
        self.turn = 0;
    }
}

/// `count` pause hints, for a hold-off of known length. Nothing in a model.
#[inline]
pub fn pause(count: u32) {
    if !MODEL {
        for _ in 0..count {
            std::hint::spin_loop();
        }
    }
}
