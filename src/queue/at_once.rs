//! In simulations: whoever publishes lets the handlers run, on its way out. Without the feature `test-util` there is nothing to do.

#[cfg(feature = "test-util")]
use crate::sync::OnceLock;
#[cfg(feature = "test-util")]
use std::sync::Arc;

/// Lets the handlers run.
#[cfg(feature = "test-util")]
pub(crate) type Run = Arc<dyn Fn() + Send + Sync>;

/// What a publish does on its way out: it holds no lock, and its job is in.
#[derive(Default)]
pub(crate) struct AtOnce {
    #[cfg(feature = "test-util")]
    run: OnceLock<Run>,
}

impl AtOnce {
    #[inline(always)]
    pub(super) fn run(&self) {
        #[cfg(feature = "test-util")]
        if let Some(run) = self.run.get() {
            run();
        }
    }

    /// From here on.
    #[cfg(feature = "test-util")]
    pub(crate) fn set(&self, run: Run) {
        // the first stays
        let _ = self.run.set(run);
    }
}
