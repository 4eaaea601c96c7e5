//! The back end for loom's models.

use std::time::Duration;

pub use loom::sync::Arc;
/// A value made on first use. loom does not see it: a model fills it before its threads start.
pub use std::sync::OnceLock;
pub use std::thread_local;

std::thread_local! {
    static THOROUGH: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether the models that this thread runs from now on try every order of two accesses to an atomic.
///
/// loom 0.7 keeps *one* last access per atomic to find out which orders are worth trying. A thread that loads and then writes hides the loads that
/// others made before its own, and "write first, then their load" is never tried. In a thorough model every access is preceded by an RMW of a shadow of
/// the atomic, which is hidden by nothing and orders nothing else; loads may still find old values, as they may in reality.
pub fn thorough(on: bool) {
    THOROUGH.set(on);
}

/// Atomics and fences, watched by loom.
pub mod atomic {
    use super::super::weaken::{fences, order};
    pub use loom::sync::atomic::Ordering;

    /// As the standard library's.
    #[track_caller]
    pub fn fence(kind: Ordering) {
        if fences() {
            loom::sync::atomic::fence(kind);
        }
    }

    macro_rules! watched {
        ($($name:ident $value:ty: $($rmw:ident)*;)*) => { $(
            /// loom's atomic, with a shadow in a [thorough](super::thorough) model.
            #[derive(Debug)]
            pub struct $name {
                inner: loom::sync::atomic::$name,
                shadow: Option<loom::sync::atomic::AtomicBool>,
            }

            impl $name {
                /// An atomic that holds `value`.
                pub fn new(value: $value) -> Self {
                    let shadow = super::THOROUGH.get().then(|| loom::sync::atomic::AtomicBool::new(false));
                    $name { inner: loom::sync::atomic::$name::new(value), shadow }
                }

                fn meet(&self) -> &loom::sync::atomic::$name {
                    if let Some(shadow) = &self.shadow {
                        // relaxed: for loom's eyes only
                        shadow.swap(true, Ordering::Relaxed);
                    }
                    &self.inner
                }

                /// As the standard library's.
                #[track_caller]
                pub fn load(&self, kind: Ordering) -> $value {
                    self.meet().load(order(kind, 0))
                }

                /// As the standard library's.
                #[track_caller]
                pub fn store(&self, value: $value, kind: Ordering) {
                    self.meet().store(value, order(kind, 0));
                }

                /// As the standard library's.
                ///
                /// # Errors
                /// The value that was found instead.
                #[track_caller]
                pub fn compare_exchange(&self, current: $value, new: $value, success: Ordering, failure: Ordering) -> Result<$value, $value> {
                    self.meet().compare_exchange(current, new, order(success, 0), order(failure, 1))
                }

                /// As the standard library's, but never fails for nothing.
                ///
                /// # Errors
                /// The value that was found instead.
                #[track_caller]
                pub fn compare_exchange_weak(&self, current: $value, new: $value, success: Ordering, failure: Ordering) -> Result<$value, $value> {
                    self.meet().compare_exchange_weak(current, new, order(success, 0), order(failure, 1))
                }

                $(
                    /// As the standard library's.
                    #[track_caller]
                    pub fn $rmw(&self, value: $value, kind: Ordering) -> $value {
                        self.meet().$rmw(value, order(kind, 0))
                    }
                )*
            }

            impl Default for $name {
                fn default() -> Self {
                    Self::new(<$value>::default())
                }
            }
        )* };
    }

    atomics!(watched);
}

/// Threads, scheduled by loom.
pub mod thread {
    pub use loom::thread::{JoinHandle, ThreadId, current, spawn, yield_now};
    pub use std::thread::panicking;

    /// Spawns a thread; loom keeps no names.
    pub fn spawn_named<F>(_name: String, body: F) -> std::io::Result<JoinHandle<()>>
    where
        F: FnOnce() + Send + 'static,
    {
        Ok(spawn(body))
    }
}

/// A cell whose accesses loom checks for races.
#[derive(Debug, Default)]
pub struct UnsafeCell<T>(loom::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    /// A cell around `value`.
    pub fn new(value: T) -> Self {
        UnsafeCell(loom::cell::UnsafeCell::new(value))
    }

    /// Shared access.
    pub fn with<R>(&self, access: impl FnOnce(*const T) -> R) -> R {
        self.0.with(access)
    }

    /// Exclusive access.
    pub fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        self.0.with_mut(access)
    }
}

/// A mutex known to loom.
#[derive(Debug, Default)]
pub struct Mutex<T>(loom::sync::Mutex<T>);

/// The guard of a [`Mutex`].
pub type MutexGuard<'a, T> = loom::sync::MutexGuard<'a, T>;

impl<T> Mutex<T> {
    /// A mutex around `value`.
    pub fn new(value: T) -> Self {
        Mutex(loom::sync::Mutex::new(value))
    }

    /// Locks, waiting for the holder.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("a model does not unwind through a guard")
    }

    /// Locks, unless somebody holds it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }

    /// The value, by exclusive access.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().expect("a model does not unwind through a guard")
    }

    /// The value itself.
    pub fn into_inner(self) -> T {
        self.0.into_inner().expect("a model does not unwind through a guard")
    }
}

/// A condition variable known to loom.
#[derive(Debug, Default)]
pub struct Condvar(loom::sync::Condvar);

impl Condvar {
    /// A condition nobody waits for.
    pub fn new() -> Self {
        Condvar(loom::sync::Condvar::new())
    }

    /// Releases the guard, waits, locks again.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(guard).expect("a model does not unwind through a guard")
    }

    /// As [`wait`](Self::wait): time does not pass in a model.
    pub fn wait_timeout<'a, T>(&self, guard: MutexGuard<'a, T>, _timeout: Duration) -> (MutexGuard<'a, T>, bool) {
        (self.wait(guard), false)
    }

    /// Wakes one waiter.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes every waiter.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}
