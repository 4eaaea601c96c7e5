//! The back end for shuttle's schedules: whole runtimes with many threads, one schedule at a time, each drawn at random or by PCT.
//!
//! Every thread is a coroutine of the test's thread, so the machine's own words do, and all is sequentially consistent: this finds wrong protocols, and no wrong orderings.
//! Before each access there is a [point](pace) at which another thread may be let on. Condition variables and locks are shuttle's; a timed wait never times out, so that a
//! wake-up that is lost is a deadlock.

use pace::point;
use std::cell::Cell;
use std::fmt;
use std::time::Duration;

pub use shuttle::thread_local;
pub use std::sync::Arc;
/// A value made on first use. Whoever makes one must not reach a point meanwhile.
pub use std::sync::OnceLock;

/// When the scheduler is asked who goes on. To ask it takes hundreds of nanoseconds, and the answer is known beforehand but for a few points of a schedule: so it says, each time,
/// when it wants to be asked next.
pub mod pace {
    use std::cell::Cell;

    std::thread_local! {
        static STEP: Cell<u64> = const { Cell::new(0) };
        static NEXT: Cell<u64> = const { Cell::new(0) };
    }

    /// The number of the step at hand: accesses since the schedule began.
    pub fn step() -> u64 {
        STEP.get()
    }

    /// A schedule begins.
    pub fn begin() {
        STEP.set(0);
        NEXT.set(0);
    }

    /// The scheduler is to be asked at `step`, and again only if it says so; also whenever a thread waits, yields, takes a lock, or has made another one runnable.
    pub fn ask_at(step: u64) {
        NEXT.set(step);
    }

    /// Before an access.
    #[inline]
    pub(super) fn point() {
        let step = STEP.get() + 1;
        STEP.set(step);
        // what unwinds goes on to its end
        if step >= NEXT.get() && !std::thread::panicking() {
            // relaxed: a load of shuttle's is a place where it may switch; it has no other meaning
            shuttle::sync::atomic::AtomicBool::new(false).load(super::atomic::Ordering::Relaxed);
        }
    }
}

/// Atomics with a point before each access, and fences that are one.
pub mod atomic {
    use super::point;
    pub use std::sync::atomic::Ordering;

    /// A point.
    pub fn fence(_kind: Ordering) {
        point();
    }

    macro_rules! watched {
        ($($name:ident $value:ty: $($rmw:ident)*;)*) => { $(
            /// The standard library's, with a point before each access.
            #[derive(Debug, Default)]
            pub struct $name(std::sync::atomic::$name);

            impl $name {
                /// An atomic that holds `value`.
                pub const fn new(value: $value) -> Self {
                    $name(std::sync::atomic::$name::new(value))
                }

                /// As the standard library's.
                pub fn load(&self, kind: Ordering) -> $value {
                    point();
                    self.0.load(kind)
                }

                /// As the standard library's.
                pub fn store(&self, value: $value, kind: Ordering) {
                    point();
                    self.0.store(value, kind);
                }

                /// As the standard library's.
                ///
                /// # Errors
                /// The value that was found instead.
                pub fn compare_exchange(&self, current: $value, new: $value, success: Ordering, failure: Ordering) -> Result<$value, $value> {
                    point();
                    self.0.compare_exchange(current, new, success, failure)
                }

                /// As the standard library's, but never fails for nothing.
                ///
                /// # Errors
                /// The value that was found instead.
                pub fn compare_exchange_weak(&self, current: $value, new: $value, success: Ordering, failure: Ordering) -> Result<$value, $value> {
                    self.compare_exchange(current, new, success, failure)
                }

                $(
                    /// As the standard library's.
                    pub fn $rmw(&self, value: $value, kind: Ordering) -> $value {
                        point();
                        self.0.$rmw(value, kind)
                    }
                )*
            }
        )* };
    }

    atomics!(watched);
}

/// Threads, scheduled by shuttle.
pub mod thread {
    pub use shuttle::thread::{JoinHandle, ThreadId, current, yield_now};
    pub use std::thread::panicking;

    /// Spawns a thread.
    pub fn spawn<F, T>(body: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let handle = shuttle::thread::spawn(body);
        super::pace::ask_at(0);
        handle
    }

    /// Spawns a thread with a name.
    pub fn spawn_named<F>(name: String, body: F) -> std::io::Result<JoinHandle<()>>
    where
        F: FnOnce() + Send + 'static,
    {
        let spawned = shuttle::thread::Builder::new().name(name).spawn(body);
        super::pace::ask_at(0);
        spawned
    }
}

/// A cell that knows who is in it. An access takes a step: whoever else comes in the midst of it is a data race.
#[derive(Debug, Default)]
pub struct UnsafeCell<T> {
    inner: std::cell::UnsafeCell<T>,
    /// Readers that are in it; `-1`: a writer.
    users: Cell<isize>,
}

/// Leaves the cell, also when the access panics.
struct Leave<'a>(&'a Cell<isize>, isize);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - self.1);
    }
}

impl<T> UnsafeCell<T> {
    /// A cell around `value`.
    pub const fn new(value: T) -> Self {
        UnsafeCell { inner: std::cell::UnsafeCell::new(value), users: Cell::new(0) }
    }

    fn enter(&self, change: isize) -> Leave<'_> {
        let users = self.users.get();
        assert!(if change < 0 { users == 0 } else { users >= 0 }, "a data race: two threads meet in a cell");
        self.users.set(users + change);
        let leave = Leave(&self.users, change);
        point();
        leave
    }

    /// Shared access.
    pub fn with<R>(&self, access: impl FnOnce(*const T) -> R) -> R {
        let _inside = self.enter(1);
        access(self.inner.get())
    }

    /// Exclusive access.
    pub fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        let _inside = self.enter(-1);
        access(self.inner.get())
    }
}

/// A mutex known to shuttle.
#[derive(Debug, Default)]
pub struct Mutex<T>(shuttle::sync::Mutex<T>);

/// The guard of a [`Mutex`].
#[derive(Debug)]
pub struct MutexGuard<'a, T>(Option<shuttle::sync::MutexGuard<'a, T>>);

/// Says that nobody unwinds through a guard and goes on.
const HELD: &str = "a model does not unwind through a guard";

impl<T> Mutex<T> {
    /// A mutex around `value`.
    pub const fn new(value: T) -> Self {
        Mutex(shuttle::sync::Mutex::new(value))
    }

    /// Locks, waiting for the holder.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().expect(HELD)))
    }

    /// Locks, unless somebody holds it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok().map(|guard| MutexGuard(Some(guard)))
    }

    /// The value, by exclusive access.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().expect(HELD)
    }

    /// The value itself.
    pub fn into_inner(self) -> T {
        self.0.into_inner().expect(HELD)
    }
}

impl<T> std::ops::Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect(HELD)
    }
}

impl<T> std::ops::DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect(HELD)
    }
}

impl<T: fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        if let Some(guard) = self.0.take() {
            drop(guard);
            pace::ask_at(0);
        }
    }
}

/// A condition variable known to shuttle.
#[derive(Debug, Default)]
pub struct Condvar(shuttle::sync::Condvar);

impl Condvar {
    /// A condition nobody waits for.
    pub const fn new() -> Self {
        Condvar(shuttle::sync::Condvar::new())
    }

    /// Releases the guard, waits, locks again.
    pub fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let inner = guard.0.take().expect(HELD);
        MutexGuard(Some(self.0.wait(inner).expect(HELD)))
    }

    /// As [`wait`](Self::wait): time does not pass in a model.
    pub fn wait_timeout<'a, T>(&self, guard: MutexGuard<'a, T>, _timeout: Duration) -> (MutexGuard<'a, T>, bool) {
        (self.wait(guard), false)
    }

    /// Wakes one waiter.
    pub fn notify_one(&self) {
        self.0.notify_one();
        pace::ask_at(0);
    }

    /// Wakes every waiter.
    pub fn notify_all(&self) {
        self.0.notify_all();
        pace::ask_at(0);
    }
}
