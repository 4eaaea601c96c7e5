//! How long a worker without work looks for more before it sleeps.
//!
//! [`IdleState`] is passive: it is asked after every look that found nothing, and says what to do before the next. The budget is time, because a PAUSE takes 10 cycles
//! on one machine and 140 on another; but the clock is not read at every look. The state measures how long a look takes and plans the next reading
//! for when the budget may be used up, at most [`LOOKS_MAX`] looks ahead.
//!
//! # What an adaptive worker learns
//!
//! To spin for as long as a wake-up takes, and then to sleep, costs at most twice what the best choice in hindsight would have (Karlin et al. 1990, ski rental), if a
//! nanosecond of an idle CPU is worth as much as one that a job waits. Here the job's is worth [`SPIN_PER_WAKE`] of them. Two things are measured.
//! *What a wake-up takes here*: how long a job had waited when the worker that slept got to it; the budget follows, from what was configured to four times as much.
//! *How long the pauses are*: when [`LONG_SPELLS`] in a row were longer than the budget, spinning would have been in vain and is left out, until a pause was short
//! enough again.

use crate::clock::Timestamp;
use std::time::Duration;

/// What a worker does when it finds no work.
///
/// | idle | waits by | first job after a pause | CPU while idle |
/// |---|---|---|---|
/// | `BusySpin` | looking again, for ever | at once | all of it |
/// | `Adaptive` | looking again for some wake-ups' time, then sleeping | at once, or a wake-up (some 5 to 50 us) | so much after each job, while jobs come that often |
/// | `Park` | sleeping | a wake-up | none |
///
/// Adaptive workers give their time slice away instead of spinning where there are more of them than CPUs, or a CPU quota.
///
/// ```
/// use ringmill::runtime::idle::Idle;
/// use std::time::Duration;
///
/// assert_eq!(Idle::default(), Idle::Adaptive { spin: Duration::from_micros(20) });
/// assert!(!Idle::BusySpin.sleeps());
/// assert!(Idle::Park.sleeps());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Idle {
    /// Never sleeps. For pinned workers on cores of their own; without a CPU quota.
    BusySpin,
    /// Spins for a while, then sleeps. A worker learns how long a wake-up takes here, and whether jobs come often enough for spinning to be worth while: while they
    /// come at least every `spin`, none waits for a wake-up.
    Adaptive {
        /// How long to spin, where that pays; up to four times as long where wake-ups take long; zero is [`Park`](Idle::Park).
        spin: Duration,
    },
    /// Sleeps at once.
    Park,
}

impl Idle {
    /// How long an adaptive worker spins unless told otherwise: about what a park and a wake-up cost.
    ///
    /// ```
    /// use ringmill::Idle;
    ///
    /// assert_eq!(Idle::default(), Idle::Adaptive { spin: Idle::SPIN_DEFAULT });
    /// ```
    pub const SPIN_DEFAULT: Duration = Duration::from_micros(20);

    /// False if workers never sleep, so that nobody need wake them.
    pub const fn sleeps(self) -> bool {
        !matches!(self, Idle::BusySpin)
    }
}

impl Default for Idle {
    fn default() -> Self {
        Idle::Adaptive { spin: Idle::SPIN_DEFAULT }
    }
}

/// What to do before the next look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many PAUSEs.
    Spin(u32),
    /// Give the time slice away.
    Yield,
    /// Announce, look once more, sleep.
    Sleep,
}

/// PAUSEs between two looks while jobs stream in: less keeps the rings' lines bouncing, more delays the find.
pub const PAUSES: u32 = 20;
/// Looks in vain after which no stream is being waited for. From there on one PAUSE between two looks does: the lines rest in the worker's cache, and move
/// once, when something is published.
pub const STREAM_LOOKS: u32 = 8;
/// Jobs that follow each other as closely as this many nanoseconds are a stream: more of them come while a worker pauses. It pauses for no others.
const STREAM_GAP: u64 = 200;
/// The most looks between two readings of the clock.
pub const LOOKS_MAX: u32 = 16;
/// Readings after which a clock that does not move ends the spell: it would never use up the budget.
const STALLS_MAX: u32 = 64;

/// So many pauses in a row that were longer than the budget, and a worker sleeps without spinning.
pub const LONG_SPELLS: u32 = 4;
/// How many nanoseconds of a CPU that is idle anyway a worker spins for each that a job need not wait.
pub const SPIN_PER_WAKE: u64 = 4;
/// No wake-up takes longer than this many nanoseconds: a job that waited longer waited for something else as well.
const WAKE_NANOS_MAX: u64 = 1_000_000;

/// Where a worker stands in its idle spell, and what it has learnt from earlier ones.
#[derive(Debug, Clone)]
pub struct IdleState {
    idle: Idle,
    /// More workers than the machine can run at once.
    crowded: bool,
    /// The last jobs came closely one after the other.
    streams: bool,
    /// Looks in vain since work was last found.
    vain: u32,
    spell: Option<Spell>,
    /// The length of one look, in nanoseconds, as last measured. Kept from spell to spell; zero: never measured.
    look_nanos: u64,
    /// What a wake-up takes, in nanoseconds; zero: never measured.
    wake_nanos: u64,
    /// Pauses in a row that were longer than the budget.
    long_spells: u32,
}

#[derive(Debug, Clone, Copy)]
struct Spell {
    began: Timestamp,
    last_read: Timestamp,
    /// Looks since the last reading, and looks at which the next is due.
    looks: u32,
    due: u32,
    /// Readings in a row at which the clock had not moved.
    stalls: u32,
}

impl IdleState {
    /// A worker that is not idle yet. `crowded`: see [`Topology::is_crowded_by`](super::topology::Topology::is_crowded_by).
    pub const fn new(idle: Idle, crowded: bool) -> Self {
        IdleState { idle, crowded, streams: true, vain: 0, spell: None, look_nanos: 0, wake_nanos: 0, long_spells: 0 }
    }

    /// Work was found after a pause of `pause`, which ends the spell. The pause is counted from the end of the last job, whether the worker slept meanwhile or not; what a
    /// wake-up added to it does not count against spinning.
    pub fn found_work(&mut self, pause: Duration) {
        (self.spell, self.vain) = (None, 0);
        if let Idle::Adaptive { spin } = self.idle {
            let short = crate::clock::nanos(pause).saturating_sub(self.wake_nanos) <= crate::clock::nanos(self.budget(spin));
            self.long_spells = if short { 0 } else { self.long_spells.saturating_add(1) };
        }
    }

    /// `jobs` ran in the `time` since the last ones, pauses included: whether more are to be expected in a moment.
    #[inline]
    pub fn ran(&mut self, jobs: u32, time: Duration) {
        self.streams = crate::clock::nanos(time) <= u64::from(jobs) * STREAM_GAP;
    }

    /// PAUSEs before the next look after a short round.
    pub const fn hold_off(&self) -> u32 {
        if self.streams { PAUSES } else { 1 }
    }

    /// The worker slept, was woken, and found a job that had waited for `waited`: about what a wake-up takes here.
    pub fn woken(&mut self, waited: Duration) {
        let nanos = crate::clock::nanos(waited).clamp(1, WAKE_NANOS_MAX);
        self.wake_nanos = if self.wake_nanos == 0 { nanos } else { self.wake_nanos - self.wake_nanos / 8 + nanos / 8 };
    }

    /// How long a spell may be: a few times as long as a wake-up takes, at least what was configured, at most four times that.
    fn budget(&self, spin: Duration) -> Duration {
        Duration::from_nanos(self.wake_nanos.saturating_mul(SPIN_PER_WAKE)).clamp(spin, spin.saturating_mul(4))
    }

    /// Nothing was found: what to do before the next look. Reads the clock only now and then.
    ///
    /// After [`Step::Sleep`] the spell is over: whoever wakes and finds nothing gets a new one.
    #[inline]
    pub fn step(&mut self, now: impl FnOnce() -> Timestamp) -> Step {
        let budget = match self.idle {
            Idle::BusySpin => return self.spin(),
            Idle::Adaptive { spin } if !spin.is_zero() && self.long_spells < LONG_SPELLS => self.budget(spin),
            Idle::Adaptive { .. } | Idle::Park => return Step::Sleep,
        };
        match &mut self.spell {
            Some(spell) if spell.looks + 1 < spell.due => spell.looks += 1,
            Some(_) => {
                if self.is_over(now(), budget) {
                    self.spell = None;
                    return Step::Sleep;
                }
            }
            None => self.begin(now(), budget),
        }
        if self.crowded { Step::Yield } else { self.spin() }
    }

    fn spin(&mut self) -> Step {
        self.vain = self.vain.saturating_add(1);
        Step::Spin(if self.vain <= STREAM_LOOKS { self.hold_off() } else { 1 })
    }

    fn begin(&mut self, now: Timestamp, budget: Duration) {
        let due = self.looks_within(budget);
        self.spell = Some(Spell { began: now, last_read: now, looks: 0, due, stalls: 0 });
    }

    /// Reads the clock: measures the looks since the last reading, and plans the next.
    #[cold]
    fn is_over(&mut self, now: Timestamp, budget: Duration) -> bool {
        let Some(mut spell) = self.spell else { return true };
        let looks = u64::from(spell.looks + 1);
        let passed = now.since(spell.last_read);
        if passed.is_zero() {
            spell.stalls += 1;
        } else {
            spell.stalls = 0;
            // a reading after a preemption says nothing about looks: no look is that long
            self.look_nanos = (crate::clock::nanos(passed) / looks).clamp(1, LOOK_NANOS_MAX);
            spell.last_read = now;
        }
        let spent = now.since(spell.began);
        if spent >= budget || spell.stalls >= STALLS_MAX {
            return true;
        }
        spell.looks = 0;
        spell.due = self.looks_within(budget - spent);
        self.spell = Some(spell);
        false
    }

    /// Looks that fit into `rest`, as far as is known; one where nothing is known, or where each may be long.
    fn looks_within(&self, rest: Duration) -> u32 {
        if self.look_nanos == 0 || self.crowded {
            return 1;
        }
        (crate::clock::nanos(rest) / self.look_nanos).clamp(1, u64::from(LOOKS_MAX)) as u32
    }
}

/// The longest a look is believed to take.
const LOOK_NANOS_MAX: u64 = 10_000;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::cell::Cell;

    const SPIN: Duration = Duration::from_micros(20);

    /// Looks of `look` nanoseconds until the state says sleep: how long the spell was, and how often the clock was read.
    fn spell(state: &mut IdleState, look: u64) -> (u64, u32) {
        let (mut now, reads) = (1_000, Cell::new(0));
        loop {
            let step = state.step(|| {
                reads.set(reads.get() + 1);
                Timestamp::from_nanos(now)
            });
            match step {
                Step::Sleep => return (now - 1_000, reads.get()),
                Step::Spin(pauses) => assert!([1, PAUSES].contains(&pauses)),
                Step::Yield => (),
            }
            now += look;
            assert!(now < 1_000_000_000, "an idle spell without end");
        }
    }

    #[test]
    fn a_spinner_never_sleeps_nor_reads_the_clock() {
        let mut state = IdleState::new(Idle::BusySpin, true);
        for _ in 0..3 {
            for look in 0..10_000 {
                let pauses = if look < STREAM_LOOKS { PAUSES } else { 1 };
                assert_eq!(state.step(|| unreachable!()), Step::Spin(pauses));
            }
            state.found_work(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_parker_sleeps_at_once() {
        assert_eq!(IdleState::new(Idle::Park, false).step(|| unreachable!()), Step::Sleep);
        let mut none = IdleState::new(Idle::Adaptive { spin: Duration::ZERO }, false);
        assert_eq!(none.step(|| unreachable!()), Step::Sleep);
    }

    #[test]
    fn an_adaptive_worker_spins_for_its_budget_whatever_a_look_takes() {
        for look in [10, 60, 250, 900, 3_000, 15_000] {
            let mut state = IdleState::new(Idle::Adaptive { spin: SPIN }, false);
            for _ in 0..3 {
                let (length, reads) = spell(&mut state, look);
                assert!((20_000..20_000 + 2 * look).contains(&length), "{length} ns with looks of {look} ns");
                let looks = length / look;
                assert!(u64::from(reads) <= looks / u64::from(LOOKS_MAX) + 8, "{reads} readings in {looks} looks");
            }
        }
    }

    #[test]
    fn finding_work_begins_a_new_spell() {
        let mut state = IdleState::new(Idle::Adaptive { spin: SPIN }, false);
        let mut now = 0;
        for _ in 0..100 {
            for _ in 0..15 {
                now += 1_000;
                assert_ne!(state.step(|| Timestamp::from_nanos(now)), Step::Sleep);
            }
            state.found_work(Duration::from_micros(15));
        }
    }

    #[test]
    fn the_budget_follows_what_a_wake_up_takes() {
        let us = Duration::from_micros;
        let mut state = IdleState::new(Idle::Adaptive { spin: SPIN }, false);
        // four times a wake-up; at least what was configured, and at most four times that
        for (wake, least, most) in [(us(9), 34_000, 37_000), (us(900), 80_000, 81_000), (us(1), 20_000, 21_000)] {
            for _ in 0..200 {
                state.woken(wake);
            }
            let (length, _) = spell(&mut state, 100);
            assert!((least..=most).contains(&length), "{length} with wake-ups of {wake:?}");
        }
    }

    #[test]
    fn whoever_spun_in_vain_again_and_again_sleeps_at_once_until_a_pause_is_short() {
        let us = Duration::from_micros;
        let mut state = IdleState::new(Idle::Adaptive { spin: SPIN }, false);
        state.woken(us(20));
        for _ in 0..LONG_SPELLS {
            assert_ne!(state.step(|| Timestamp::ZERO), Step::Sleep, "it spins first");
            state.found_work(us(200));
        }
        assert_eq!(state.step(|| unreachable!()), Step::Sleep);
        // 35 us of which the wake-up took 20: it would have been found by spinning
        state.found_work(us(35));
        assert_ne!(state.step(|| Timestamp::ZERO), Step::Sleep);
    }

    #[test]
    fn a_crowd_yields_instead_of_spinning() {
        let mut state = IdleState::new(Idle::Adaptive { spin: SPIN }, true);
        assert_eq!(state.step(|| Timestamp::ZERO), Step::Yield);
        // a yield may take a whole time slice: the clock is read after each
        assert_eq!(state.step(|| Timestamp::from_nanos(4_000_000)), Step::Sleep);
    }

    #[test]
    fn a_clock_that_stands_still_or_steps_back_ends_the_spell() {
        for clock in [|_| 5_000, |step: u64| 1_000_000 - step.min(1_000) * 1_000] {
            let mut state = IdleState::new(Idle::Adaptive { spin: Duration::MAX }, false);
            let slept = (0..2_000).any(|step| state.step(|| Timestamp::from_nanos(clock(step))) == Step::Sleep);
            assert!(slept);
        }
    }

    #[test]
    fn one_preemption_does_not_spoil_the_measure() {
        let mut state = IdleState::new(Idle::Adaptive { spin: SPIN }, false);
        state.step(|| Timestamp::ZERO);
        assert_eq!(state.step(|| Timestamp::from_nanos(50_000_000)), Step::Sleep);
        let (length, _) = spell(&mut state, 100);
        assert!((20_000..22_000).contains(&length), "{length}");
    }
}
