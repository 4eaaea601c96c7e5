//! What tests use of the standard library's threads. For a sanitizer its double, of parts that are compiled along: what happens inside of the standard library orders nothing for
//! ThreadSanitizer, so it would report everything that is handed through it.

use std::time::Duration;

#[cfg(ringmill_sanitize)]
pub(crate) use double::{Barrier, Mutex, mpsc, scope};
#[cfg(not(ringmill_sanitize))]
pub(crate) use std::{
    sync::{Barrier, Mutex, mpsc},
    thread::scope,
};

/// Runs `test` in a thread of its own and fails if it is not back in time: nothing may hang.
pub(crate) fn within<R: Send + 'static>(limit: Duration, what: &str, test: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, seen) = mpsc::channel();
    let runner = std::thread::spawn(move || {
        let result = test();
        let _ = done.send(());
        result
    });
    match seen.recv_timeout(limit) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what} is not over after {limit:?}"),
        _ => runner.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

#[cfg(ringmill_sanitize)]
mod double {
    use crate::sync::{Condvar, Mutex as Lock};
    use parking_lot::MutexGuard;
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU64, Ordering::AcqRel};
    use std::thread::ScopedJoinHandle;

    /// As the standard library's, but never poisoned.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(parking_lot::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Self {
            Mutex(parking_lot::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> Result<MutexGuard<'_, T>, Infallible> {
            Ok(self.0.lock())
        }

        pub(crate) fn try_lock(&self) -> Result<MutexGuard<'_, T>, ()> {
            self.0.try_lock().ok_or(())
        }
    }

    #[derive(Debug)]
    pub(crate) struct Barrier {
        parties: usize,
        /// How many have ever come.
        came: Lock<usize>,
        all: Condvar,
    }

    impl Barrier {
        pub(crate) fn new(parties: usize) -> Self {
            Barrier { parties, came: Lock::new(0), all: Condvar::new() }
        }

        pub(crate) fn wait(&self) {
            let mut came = self.came.lock();
            let round = *came / self.parties;
            *came += 1;
            while *came / self.parties == round {
                came = self.all.wait(came);
            }
            self.all.notify_all();
        }
    }

    /// Counts the threads of scopes that have ended. Whoever counts acquires what those before released.
    static ENDED: AtomicU64 = AtomicU64::new(0);

    struct Ends;

    impl Drop for Ends {
        fn drop(&mut self) {
            ENDED.fetch_add(1, AcqRel);
        }
    }

    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Scope<'scope, 'env>(&'scope std::thread::Scope<'scope, 'env>);

    impl<'scope> Scope<'scope, '_> {
        pub(crate) fn spawn<T: Send + 'scope>(&self, body: impl FnOnce() -> T + Send + 'scope) -> ScopedJoinHandle<'scope, T> {
            self.0.spawn(|| {
                let _ends = Ends;
                body()
            })
        }
    }

    pub(crate) fn scope<'env, T>(body: impl for<'scope> FnOnce(Scope<'scope, 'env>) -> T) -> T {
        let _all = Ends;
        std::thread::scope(|scope| body(Scope(scope)))
    }

    pub(crate) mod mpsc {
        use super::{Condvar, Lock};
        use std::collections::VecDeque;
        use std::sync::Arc;
        pub(crate) use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError};
        use std::time::{Duration, Instant};

        #[derive(Debug)]
        struct State<T> {
            values: VecDeque<T>,
            senders: usize,
            is_received: bool,
        }

        #[derive(Debug)]
        struct Channel<T> {
            state: Lock<State<T>>,
            changed: Condvar,
        }

        #[derive(Debug)]
        pub(crate) struct Sender<T>(Arc<Channel<T>>);

        #[derive(Debug)]
        pub(crate) struct Receiver<T>(Arc<Channel<T>>);

        pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
            let state = State { values: VecDeque::new(), senders: 1, is_received: true };
            let channel = Arc::new(Channel { state: Lock::new(state), changed: Condvar::new() });
            (Sender(Arc::clone(&channel)), Receiver(channel))
        }

        impl<T> Sender<T> {
            pub(crate) fn send(&self, value: T) -> Result<(), SendError<T>> {
                let mut state = self.0.state.lock();
                if !state.is_received {
                    return Err(SendError(value));
                }
                state.values.push_back(value);
                self.0.changed.notify_one();
                Ok(())
            }
        }

        impl<T> Clone for Sender<T> {
            fn clone(&self) -> Self {
                self.0.state.lock().senders += 1;
                Sender(Arc::clone(&self.0))
            }
        }

        impl<T> Drop for Sender<T> {
            fn drop(&mut self) {
                self.0.state.lock().senders -= 1;
                self.0.changed.notify_one();
            }
        }

        impl<T> Drop for Receiver<T> {
            fn drop(&mut self) {
                let mut state = self.0.state.lock();
                state.is_received = false;
                let _dropped_unlocked = (std::mem::take(&mut state.values), drop(state));
            }
        }

        impl<T> Receiver<T> {
            pub(crate) fn recv(&self) -> Result<T, RecvError> {
                self.recv_timeout(Duration::from_secs(1 << 30)).map_err(|_| RecvError)
            }

            pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
                self.recv_timeout(Duration::ZERO).map_err(|error| match error {
                    RecvTimeoutError::Timeout => TryRecvError::Empty,
                    RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
                })
            }

            pub(crate) fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
                let end = Instant::now() + timeout;
                let mut state = self.0.state.lock();
                loop {
                    if let Some(value) = state.values.pop_front() {
                        return Ok(value);
                    }
                    if state.senders == 0 {
                        return Err(RecvTimeoutError::Disconnected);
                    }
                    let left = end.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(RecvTimeoutError::Timeout);
                    }
                    state = self.0.changed.wait_timeout(state, left).0;
                }
            }
        }
    }
}
