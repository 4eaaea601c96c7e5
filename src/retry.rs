//! How long a failed job waits before it is tried again.
//!
//! A [`Backoff`] is data: it is told how often the job has failed and hands out the delay. It reads no clock and owns no randomness, so the same
//! seed gives the same delays.

use crate::clock::nanos;
use crate::rng::Rng;
use std::fmt;
use std::time::Duration;

/// How much of an exponential delay is left to chance.
///
/// Jobs that fail together, because what they need went away, must not come back together. Let `d = min(cap, base * factor^n)`, where `n` is the
/// number of failures before this one:
///
/// | jitter | delay | spread |
/// |---|---|---|
/// | `None` | `d` | none: what failed together comes back together |
/// | `Full` | random in `0 ..= d` | the widest; some come back almost at once |
/// | `Equal` | `d/2` + random in `0 ..= d/2` | half as wide; none comes back before `d/2` |
/// | `Decorrelated` | `min(cap, random in base ..= 3 * previous delay)` | grows by chance as well, and ignores `factor` |
///
/// After M. Brooker, "Exponential backoff and jitter" (AWS Architecture Blog, 2015).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Jitter {
    /// The delay is exactly `d`.
    None,
    /// Random in `0 ..= d`.
    #[default]
    Full,
    /// Random in `d/2 ..= d`.
    Equal,
    /// Random between `base` and three times the previous delay, at most `cap`.
    Decorrelated,
}

/// The delay before a failed job is tried again.
///
/// The default is 50 ms, doubled with every failure, at most 30 s, with full jitter.
///
/// # Guarantees
/// - An exponential delay lies in `0 ..= cap`, whatever the numbers: arithmetic saturates.
/// - A list gives its entries in order; the last one repeats.
///
/// # How far apart
/// With full jitter, jobs that failed at one moment come back evenly over `0 ..= d`. Of 10 000 jobs that fail together, the fullest 10 ms
/// therefore hold at least 10 ms / `d` of the retries: with the default 20 % after the first failure (`d` = 50 ms), 10 % after the second, 5 % after
/// the third, 2.5 % after the fourth, and so on. If already the first wave must stay below 5 % in 10 ms, take a `base` of 250 ms or more.
///
/// If they go on failing at once, for four retries each, the fullest 10 ms of the whole outage hold this share of all retries (50 ms, factor 2):
/// none 25 %, equal 10 %, full 8 %, decorrelated 3 %.
///
/// # Examples
/// ```
/// use ringmill::retry::{Backoff, Jitter};
/// use ringmill::rng::Rng;
/// use std::time::Duration;
///
/// let ms = Duration::from_millis;
/// let mut rng = Rng::new(7);
///
/// let exact = Backoff::Exponential { base: ms(50), factor: 2, cap: ms(300), jitter: Jitter::None };
/// let delays: Vec<_> = (0..5).map(|failures| exact.delay(failures, Duration::ZERO, &mut rng)).collect();
/// assert_eq!(delays, [ms(50), ms(100), ms(200), ms(300), ms(300)]);
///
/// let list = Backoff::List(vec![ms(10), ms(1000)]);
/// assert_eq!(list.delay(0, Duration::ZERO, &mut rng), ms(10));
/// assert_eq!(list.delay(9, Duration::ZERO, &mut rng), ms(1000));
///
/// assert!(Backoff::default().delay(2, Duration::ZERO, &mut rng) <= ms(200));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backoff {
    /// `base * factor^n`, at most `cap`, then jitter.
    Exponential {
        /// The delay after the first failure, before jitter.
        base: Duration,
        /// What it is multiplied with after each further failure. 1 keeps it constant.
        factor: u32,
        /// The longest delay.
        cap: Duration,
        /// What is left to chance.
        jitter: Jitter,
    },
    /// These delays, one after another; the last one repeats.
    List(Vec<Duration>),
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff::Exponential { base: Duration::from_millis(50), factor: 2, cap: Duration::from_secs(30), jitter: Jitter::Full }
    }
}

impl Backoff {
    /// Always the same delay.
    ///
    /// ```
    /// use ringmill::retry::Backoff;
    /// use ringmill::rng::Rng;
    /// use std::time::Duration;
    ///
    /// let second = Duration::from_secs(1);
    /// assert_eq!(Backoff::fixed(second).delay(40, Duration::ZERO, &mut Rng::new(1)), second);
    /// ```
    pub fn fixed(delay: Duration) -> Self {
        Backoff::List(vec![delay])
    }

    /// The delay after a failure that `failures_before` others of the same job went before.
    ///
    /// `previous` is the delay this gave for the job the last time (zero after its first failure); only [`Jitter::Decorrelated`] looks at it.
    ///
    /// # Complexity
    /// O(log `failures_before`); takes at most one number from `rng`.
    pub fn delay(&self, failures_before: u32, previous: Duration, rng: &mut Rng) -> Duration {
        match self {
            Backoff::Exponential { base, factor, cap, jitter } => {
                let (base, cap) = (nanos(*base), nanos(*cap));
                let full = base.saturating_mul(u64::from(*factor).saturating_pow(failures_before)).min(cap);
                Duration::from_nanos(match jitter {
                    Jitter::None => full,
                    Jitter::Full => rng.up_to(full),
                    Jitter::Equal => full - rng.up_to(full / 2),
                    Jitter::Decorrelated => {
                        let most = nanos(previous).max(base).saturating_mul(3);
                        (base + rng.up_to(most - base)).min(cap)
                    }
                })
            }
            Backoff::List(delays) => {
                let last = delays.len().saturating_sub(1);
                delays.get(last.min(failures_before as usize)).copied().unwrap_or_default()
            }
        }
    }

    /// Whether these numbers make sense together.
    ///
    /// # Errors
    /// The first field that does not, with its value and the allowed range.
    ///
    /// ```
    /// use ringmill::retry::Backoff;
    ///
    /// let invalid = Backoff::List(vec![]).validate().unwrap_err();
    /// assert_eq!(invalid.to_string(), "backoff.list is [], allowed: at least one delay");
    /// ```
    pub fn validate(&self) -> Result<(), Invalid> {
        match self {
            Backoff::Exponential { factor: 0, .. } => {
                Err(Invalid { field: "backoff.factor", value: "0".to_owned(), range: "at least 1; 1 keeps the delay constant" })
            }
            Backoff::Exponential { base, cap, .. } if base > cap => {
                Err(Invalid { field: "backoff.base", value: format!("{base:?} (backoff.cap is {cap:?})"), range: "at most backoff.cap" })
            }
            Backoff::List(delays) if delays.is_empty() => {
                Err(Invalid { field: "backoff.list", value: "[]".to_owned(), range: "at least one delay" })
            }
            _ => Ok(()),
        }
    }
}

/// A setting that makes no sense: which one, what it was, what it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The setting.
    pub field: &'static str,
    /// Its value.
    pub value: String,
    /// What it may be.
    pub range: &'static str,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, allowed: {}", self.field, self.value, self.range)
    }
}

impl std::error::Error for Invalid {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn exponential(jitter: Jitter) -> Backoff {
        Backoff::Exponential { base: 50 * MS, factor: 2, cap: 30_000 * MS, jitter }
    }

    #[test]
    fn without_jitter_the_delay_doubles_up_to_the_cap() {
        let mut rng = Rng::new(1);
        let delays: Vec<_> = (0..12).map(|n| exponential(Jitter::None).delay(n, Duration::ZERO, &mut rng).as_millis()).collect();
        assert_eq!(delays, [50, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
    }

    #[test]
    fn a_fixed_delay_stays_what_it_is() {
        let mut rng = Rng::new(1);
        assert_eq!([0, 1, 255].map(|n| Backoff::fixed(7 * MS).delay(n, Duration::ZERO, &mut rng)), [7 * MS; 3]);
    }

    #[test]
    fn equal_jitter_waits_at_least_half() {
        let mut rng = Rng::new(2);
        for _ in 0..1000 {
            let delay = exponential(Jitter::Equal).delay(3, Duration::ZERO, &mut rng);
            assert!((200 * MS..=400 * MS).contains(&delay), "{delay:?}");
        }
    }

    #[test]
    fn decorrelated_jitter_grows_from_the_previous_delay() {
        let mut rng = Rng::new(3);
        for _ in 0..1000 {
            let first = exponential(Jitter::Decorrelated).delay(0, Duration::ZERO, &mut rng);
            assert!((50 * MS..=150 * MS).contains(&first), "{first:?}");
            let second = exponential(Jitter::Decorrelated).delay(1, first, &mut rng);
            assert!((50 * MS..=3 * first).contains(&second), "{second:?}");
        }
    }

    #[test]
    fn nothing_overflows() {
        let mut rng = Rng::new(4);
        for jitter in [Jitter::None, Jitter::Full, Jitter::Equal, Jitter::Decorrelated] {
            let endless = Backoff::Exponential { base: Duration::MAX, factor: u32::MAX, cap: Duration::MAX, jitter };
            let _ = endless.delay(u32::MAX, Duration::MAX, &mut rng);
            assert_eq!(endless.validate(), Ok(()));
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_delays() {
        let run = || (0..5).map(|n| Backoff::default().delay(n, Duration::ZERO, &mut Rng::new(42))).collect::<Vec<_>>();
        assert_eq!(run(), run());
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let shrinking = Backoff::Exponential { base: MS, factor: 0, cap: MS, jitter: Jitter::None };
        assert_eq!(shrinking.validate().unwrap_err().field, "backoff.factor");
        let upside_down = Backoff::Exponential { base: 2 * MS, factor: 2, cap: MS, jitter: Jitter::None };
        assert_eq!(
            upside_down.validate().unwrap_err().to_string(),
            "backoff.base is 2ms (backoff.cap is 1ms), allowed: at most backoff.cap"
        );
        assert_eq!(Backoff::List(vec![]).validate().unwrap_err().field, "backoff.list");
        assert_eq!(Backoff::List(vec![MS]).validate(), Ok(()));
        assert_eq!(Backoff::default().validate(), Ok(()));
    }
}
