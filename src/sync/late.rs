//! A waker is user code: it may poll its task then and there, or drop it, and come back with a publish or a settlement. So it is called when its thread holds no lock of
//! this crate: later, if it holds one, as the last of them is released.
//!
//! The guards of the `std` back end count. Those of the models do not: there a waker is called at once, and wakes a thread.

use super::contain;
use std::cell::{Cell, RefCell};
use std::task::Waker;

/// In `HELD`: wakers wait in `LATE`.
const WAIT: u32 = 1 << 31;

std::thread_local! {
    /// How many locks the thread holds.
    static HELD: Cell<u32> = const { Cell::new(0) };
    static LATE: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
}

/// One of the locks that the thread holds.
#[derive(Debug)]
pub struct Held(());

impl Held {
    /// A lock is about to be held.
    #[inline]
    pub fn begin() -> Self {
        HELD.with(|held| held.set(held.get() + 1));
        Held(())
    }
}

impl Drop for Held {
    #[inline]
    fn drop(&mut self) {
        let left = HELD.with(|held| {
            held.set(held.get() - 1);
            held.get()
        });
        if left == WAIT {
            wake_the_late();
        }
    }
}

/// Wakes a task, as soon as the thread holds no lock.
pub fn wake(waker: &Waker) {
    if HELD.with(Cell::get) == 0 {
        return drop(contain(|| waker.wake_by_ref()));
    }
    // its clone is user code too
    if let Ok(waker) = contain(|| waker.clone()) {
        let waits = LATE.try_with(|late| late.borrow_mut().push(waker)).is_ok();
        HELD.with(|held| held.set(held.get() | if waits { WAIT } else { 0 }));
    }
}

#[cold]
fn wake_the_late() {
    HELD.with(|held| held.set(0));
    let mut late = LATE.take();
    for waker in late.drain(..) {
        // one that panics is its executor's affair
        drop(contain(|| waker.wake()));
    }
    // its memory, for the next time
    let _ = LATE.try_with(|next| {
        if next.borrow().capacity() == 0 {
            next.replace(late);
        }
    });
}

/// True while the thread holds a lock of this crate that user code must not run under. In models never.
pub fn holds_a_lock() -> bool {
    HELD.with(Cell::get) != 0
}

/// Runs user code under a lock that is there for that: who is woken meanwhile need not wait for its end.
pub fn outside<R>(run: impl FnOnce() -> R) -> R {
    struct Back(u32);
    impl Drop for Back {
        fn drop(&mut self) {
            HELD.with(|held| {
                debug_assert_eq!(held.get(), 0, "a lock that was taken outside is held still");
                held.set(self.0);
            });
        }
    }
    let _back = Back(HELD.with(|held| held.replace(0)));
    run()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::Mutex;
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use std::task::Wake;

    /// Takes a lock when it is woken, and counts.
    struct Locks(Mutex<u32>, AtomicU32);

    impl Wake for Locks {
        fn wake(self: Arc<Self>) {
            *self.0.lock() += 1;
            // relaxed: one thread
            self.1.fetch_add(1, Relaxed);
        }
    }

    fn locks() -> (Arc<Locks>, Waker) {
        let locks = Arc::new(Locks(Mutex::new(0), AtomicU32::new(0)));
        (Arc::clone(&locks), Waker::from(locks))
    }

    fn woken(locks: &Locks) -> u32 {
        // relaxed: one thread
        locks.1.load(Relaxed)
    }

    #[test]
    fn a_waker_is_called_when_the_last_lock_is_released() {
        let (locks, waker) = locks();
        let other = Mutex::new(());
        wake(&waker);
        assert_eq!(woken(&locks), 1, "no lock is held");
        let (outer, inner) = (other.lock(), locks.0.lock());
        wake(&waker);
        wake(&waker);
        drop(inner);
        assert_eq!(woken(&locks), 1);
        drop(outer);
        assert_eq!(woken(&locks), 3);
        drop(other.lock());
        assert_eq!((woken(&locks), Arc::strong_count(&locks)), (3, 2), "once each");
    }

    #[test]
    fn under_a_lock_that_is_there_for_user_code_nobody_waits() {
        let (locks, waker) = locks();
        let turn = Mutex::new(());
        let held = turn.lock();
        outside(|| {
            drop(Mutex::new(()).lock());
            wake(&waker);
            assert_eq!(woken(&locks), 1);
        });
        wake(&waker);
        assert_eq!(woken(&locks), 1);
        drop(held);
        assert_eq!(woken(&locks), 2);
    }

    #[test]
    fn what_waits_is_woken_also_when_a_panic_releases_the_lock() {
        let (locks, waker) = locks();
        let lock = Mutex::new(());
        let panicked = contain(|| {
            let _held = lock.lock();
            wake(&waker);
            panic!("under the lock");
        });
        assert_eq!((panicked.is_err(), woken(&locks)), (true, 1));
    }
}
