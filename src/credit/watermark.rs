//! Two marks and a memory: a signal per crossing, none in between.

/// Hysteresis over a depth. It drives signals only; admission is exact and knows nothing of it.
///
/// ```
/// use ringmill::credit::{Signal, Watermark};
///
/// let mut mark = Watermark::new(60, 80);
/// assert_eq!(mark.update(79), None);
/// assert_eq!(mark.update(80), Some(Signal::High));
/// assert_eq!(mark.update(70), None); // between the marks nothing changes
/// assert_eq!(mark.update(60), Some(Signal::Low));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermark {
    low: u32,
    high: u32,
    above: bool,
}

/// A mark was crossed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The depth rose to the high mark.
    High,
    /// The depth fell to the low mark.
    Low,
}

impl Watermark {
    /// Marks at `low` and `high`; the depth starts below both.
    ///
    /// # Panics
    /// Unless `low < high`.
    pub fn new(low: u32, high: u32) -> Self {
        assert!(low < high, "the low watermark ({low}) lies below the high one ({high})");
        Watermark { low, high, above: false }
    }

    /// Tells the depth; says whether that crossed a mark.
    #[inline]
    pub fn update(&mut self, depth: u32) -> Option<Signal> {
        let crossed = if self.above { depth <= self.low } else { depth >= self.high };
        if !crossed {
            return None;
        }
        self.above = !self.above;
        Some(if self.above { Signal::High } else { Signal::Low })
    }

    /// Whether the last signal was [`Signal::High`].
    #[inline]
    pub fn is_high(&self) -> bool {
        self.above
    }
}
