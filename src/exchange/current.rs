//! A value that is swapped as a whole, and read without waiting.

use super::rules::{Rules, Sound};
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sync::{CachePadded, Mutex};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// The current value, with a version. A reader keeps the value it loaded and the version it had, and loads again when the version is another.
pub struct Current<S, R: Rules = Sound> {
    /// The version of what is under `latest`. Written under its lock, read by everybody.
    version: CachePadded<AtomicU64>,
    latest: Mutex<(u64, Arc<S>)>,
    /// One edit at a time. Taken before `latest`.
    edits: Mutex<()>,
    rules: PhantomData<fn() -> R>,
}

impl<S> Current<S> {
    /// The first value, of version 0.
    pub fn new(value: S) -> Self {
        Self::with_rules(value)
    }
}

impl<S, R: Rules> Current<S, R> {
    /// As [`new`](Current::new), under the rules `R`.
    #[doc(hidden)]
    pub fn with_rules(value: S) -> Self {
        Current {
            version: CachePadded::new(AtomicU64::new(0)),
            latest: Mutex::new((0, Arc::new(value))),
            edits: Mutex::new(()),
            rules: PhantomData,
        }
    }

    /// The version of the current value, or of one before it if it was swapped meanwhile.
    #[inline]
    pub fn version(&self) -> u64 {
        // relaxed: says only that it is worth a look; the lock of `latest` carries the value
        self.version.load(Relaxed)
    }

    /// The current value and its version.
    pub fn load(&self) -> (u64, Arc<S>) {
        let latest = self.latest.lock();
        // relaxed: a twin that believes the word, which may be ahead of what is here
        let version = if R::VERSION_LAST { latest.0 } else { self.version.load(Relaxed) };
        (version, Arc::clone(&latest.1))
    }

    /// Puts what `make` makes of the current value in its place. Edits are made one after the other; readers go on meanwhile. Returns the value before: what it owns may
    /// be the user's, whose drop may come back here.
    ///
    /// # Errors
    /// What `make` says; then nothing has changed.
    pub fn edit<E>(&self, make: impl FnOnce(&S) -> Result<S, E>) -> Result<Arc<S>, E> {
        let _one_at_a_time = self.edits.lock();
        let (version, value) = self.load();
        let next = Arc::new(make(&value)?);
        let version = version + 1;
        if !R::VERSION_LAST {
            // relaxed: a twin that tells too early
            self.version.store(version, Relaxed);
        }
        let before = {
            let mut latest = self.latest.lock();
            // relaxed: carried by the lock; who reads it early waits for the lock
            self.version.store(version, Relaxed);
            std::mem::replace(&mut *latest, (version, next))
        };
        Ok(before.1)
    }
}

impl<S: fmt::Debug, R: Rules> fmt::Debug for Current<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (version, value) = self.load();
        f.debug_struct("Current").field("version", &version).field("value", &value).finish()
    }
}
