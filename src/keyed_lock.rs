//! A lock per key: who works on the same thing waits for each other, and nobody else does.

use crate::error::ConfigError;
use crate::limits::CAPACITY_MAX;
use crate::sync::{Arc, Mutex, Parker, Unparker};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;

/// As many locks as there are keys, of which at most `bound` are in use at a time. First come, first served.
///
/// A handler that must not run beside another for the same customer takes the customer's lock. A key that nobody holds or waits for costs no memory.
///
/// # Guarantees
/// - Of each key there is one guard at a time. It passes to those who wait in the order in which they came.
/// - At most `bound` keys are in use: held, with whoever waits for them. One more is refused as [`TooManyKeysInUse`].
///
/// # Panics in between
/// A guard that a panic drops is passed on like any other. Nothing is poisoned: what the key stands for is not in the lock, and its next holder has to
/// look after it.
///
/// # Blocking
/// [`lock`](Self::lock) waits for as long as others hold the key. In a handler it keeps its worker waiting meanwhile, and the lease runs: there,
/// [`try_lock`](Self::try_lock) and a snooze are the better way. Who locks a key twice waits for itself, and so do two who lock two keys in
/// different orders. `Hash`, `Eq`, `Clone` and `Drop` of the key run under the table's lock, and must not call it.
///
/// ```
/// use ringmill::KeyedLock;
///
/// let customers = KeyedLock::new(2)?;
/// let ada = customers.lock("ada")?;
/// assert!(customers.try_lock("ada")?.is_none()); // held
/// let bob = customers.lock("bob")?; // of no concern to ada's
/// assert_eq!(customers.try_lock("eve").unwrap_err().bound, 2);
/// drop((ada, bob));
/// assert!(customers.try_lock("ada")?.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct KeyedLock<K> {
    /// Keys that are held, with the line of those who wait.
    held: Mutex<HashMap<K, Line>>,
    bound: usize,
}

type Line = VecDeque<Arc<Turn>>;

/// One thread's place in a line.
struct Turn {
    /// Set once, by whoever passes the lock on.
    come: Mutex<bool>,
    unparker: Unparker,
}

/// As many keys are in use as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TooManyKeysInUse {
    /// How many that is.
    pub bound: usize,
}

impl fmt::Display for TooManyKeysInUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys are in use, as many as may be", self.bound)
    }
}

impl std::error::Error for TooManyKeysInUse {}

impl<K: Hash + Eq + Clone> KeyedLock<K> {
    /// Locks for at most `bound` keys at a time: 1..=16777215. Memory is taken as it is needed.
    ///
    /// # Errors
    /// When `bound` is out of range.
    pub fn new(bound: usize) -> Result<Self, ConfigError> {
        if bound == 0 || bound > CAPACITY_MAX as usize {
            return Err(ConfigError::new("keyed lock", "bound", bound, format_args!("1..={CAPACITY_MAX}")));
        }
        Ok(KeyedLock { held: Mutex::new(HashMap::new()), bound })
    }

    /// The lock of `key`, waiting for those who came before.
    ///
    /// # Errors
    /// [`TooManyKeysInUse`]; a key that is in use already is never refused.
    pub fn lock(&self, key: K) -> Result<KeyedGuard<'_, K>, TooManyKeysInUse> {
        let parker = Parker::new();
        let turn = {
            let mut held = self.held.lock();
            match held.get_mut(&key) {
                None => return self.take(&mut held, key),
                Some(line) => {
                    let turn = Arc::new(Turn { come: Mutex::new(false), unparker: parker.unparker() });
                    line.push_back(Arc::clone(&turn));
                    turn
                }
            }
        };
        while !*turn.come.lock() {
            parker.park();
        }
        Ok(KeyedGuard { locks: self, key })
    }

    /// The lock of `key` if nobody holds it.
    ///
    /// # Errors
    /// [`TooManyKeysInUse`]; a key that is in use already is never refused.
    pub fn try_lock(&self, key: K) -> Result<Option<KeyedGuard<'_, K>>, TooManyKeysInUse> {
        let mut held = self.held.lock();
        if held.contains_key(&key) { Ok(None) } else { self.take(&mut held, key).map(Some) }
    }

    fn take(&self, held: &mut HashMap<K, Line>, key: K) -> Result<KeyedGuard<'_, K>, TooManyKeysInUse> {
        if held.len() >= self.bound {
            return Err(TooManyKeysInUse { bound: self.bound });
        }
        held.insert(key.clone(), Line::new());
        Ok(KeyedGuard { locks: self, key })
    }
}

impl<K: Hash + Eq> KeyedLock<K> {
    /// Passes the lock of `key` on.
    fn unlock(&self, key: &K) {
        let next = {
            let mut held = self.held.lock();
            let next = held.get_mut(key).and_then(VecDeque::pop_front);
            if next.is_none() {
                held.remove(key);
            }
            next
        };
        if let Some(turn) = next {
            *turn.come.lock() = true;
            turn.unparker.unpark();
        }
    }
}

impl<K> KeyedLock<K> {
    /// How many keys are in use. The answer may be old when it arrives.
    pub fn len(&self) -> usize {
        self.held.lock().len()
    }

    /// True when no key is in use.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K> fmt::Debug for KeyedLock<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedLock").field("in_use", &self.len()).field("bound", &self.bound).finish()
    }
}

/// The lock of one key, held until it is dropped.
#[must_use = "a guard that is dropped at once locks nothing"]
pub struct KeyedGuard<'a, K: Hash + Eq> {
    locks: &'a KeyedLock<K>,
    key: K,
}

impl<K: Hash + Eq> KeyedGuard<'_, K> {
    /// The key.
    pub fn key(&self) -> &K {
        &self.key
    }
}

impl<K: Hash + Eq> Drop for KeyedGuard<'_, K> {
    fn drop(&mut self) {
        self.locks.unlock(&self.key);
    }
}

impl<K: Hash + Eq + fmt::Debug> fmt::Debug for KeyedGuard<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyedGuard").field(&self.key).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    #![allow(clippy::disallowed_methods, clippy::disallowed_types)]

    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    #[test]
    fn of_each_key_there_is_one_guard_at_a_time() {
        let locks = KeyedLock::new(4).unwrap();
        let inside: [AtomicU32; 4] = Default::default();
        let rounds = AtomicU32::new(0);
        crate::tests::threads::scope(|scope| {
            for thread in 0..8usize {
                let (locks, inside, rounds) = (&locks, &inside, &rounds);
                scope.spawn(move || {
                    for round in 0..500 {
                        let key = (thread + round) % 4;
                        let guard = locks.lock(key).unwrap();
                        assert_eq!(inside[*guard.key()].fetch_add(1, Relaxed), 0, "two at once");
                        std::thread::yield_now();
                        inside[key].fetch_sub(1, Relaxed);
                        rounds.fetch_add(1, Relaxed);
                    }
                });
            }
        });
        assert_eq!((rounds.load(Relaxed), locks.is_empty()), (4_000, true));
    }

    #[test]
    fn those_who_wait_are_served_in_turn() {
        let locks = KeyedLock::new(1).unwrap();
        let served = Mutex::new(Vec::new());
        crate::tests::threads::scope(|scope| {
            let first = locks.lock(7).unwrap();
            for thread in 0..4 {
                let (locks, served) = (&locks, &served);
                scope.spawn(move || {
                    let _guard = locks.lock(7).unwrap();
                    served.lock().push(thread);
                });
                while locks.held.lock()[&7].len() <= thread {
                    std::thread::yield_now();
                }
            }
            drop(first);
        });
        assert_eq!(*served.lock(), [0, 1, 2, 3]);
    }

    #[test]
    fn a_panic_passes_the_lock_on() {
        let locks = KeyedLock::new(1).unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _guard = locks.lock("a").unwrap();
            panic!("on the way");
        }));
        assert!(panicked.is_err() && locks.try_lock("a").unwrap().is_some());
    }

    #[test]
    fn keys_in_use_are_bounded() {
        assert_eq!(KeyedLock::<u32>::new(0).unwrap_err().to_string(), "keyed lock: bound is 0, allowed is 1..=16777215");
        let locks = KeyedLock::new(1).unwrap();
        let guard = locks.lock("a").unwrap();
        assert_eq!(locks.lock("b").unwrap_err().to_string(), "1 keys are in use, as many as may be");
        assert!(locks.try_lock("a").unwrap().is_none());
        drop(guard);
        assert!(locks.lock("b").is_ok());
    }
}
