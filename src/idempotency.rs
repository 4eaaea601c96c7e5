//! Once per id: a side effect that a redelivered job must not have twice.

use crate::error::ConfigError;
use crate::limits::CAPACITY_MAX;
use crate::sync::{Arc, Mutex};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;

/// Remembers which ids are being worked on and what came of those that are done, so that of several deliveries of one job only one has its effect.
///
/// A job may be delivered again although its handler succeeded: the lease ran out before the ack. The handler asks the guard first. [`begin`](Self::begin)
/// says [`Fresh`](Begin::Fresh) once, with a [`Permit`]; while that is held the id is [`InFlight`](Begin::InFlight) for everybody else, and after
/// [`Permit::finish`] it is [`Done`](Begin::Done), with the result.
///
/// # Guarantees
/// - Of all calls with one id, one at a time is told `Fresh`, and none any more once a permit for it was finished and is remembered.
/// - At most `bound` ids are remembered. For a new one the id that has been done for longest is forgotten; an id in flight never is.
/// - It lives in memory: nothing of it survives the process. And an id that was forgotten is fresh again: the bound is to be larger than the number of jobs
///   that can be done between two deliveries of one.
///
/// # Panics in between
/// A permit that is dropped unfinished, by a panic too, takes its id back: the next call is told `Fresh`. Nothing is poisoned. Whether the effect has happened
/// by then nobody knows but its author, so what must not happen twice even then has to be made idempotent itself. A permit that is leaked
/// (`mem::forget`) keeps its id in flight for ever.
///
/// # Blocking
/// Each call takes one lock for a look into a table; nobody waits for a permit. `Hash`, `Eq` and `Clone` of the id run under the lock, and must not call the
/// guard; results are dropped outside of it.
///
/// ```
/// use ringmill::{Begin, IdempotencyGuard};
///
/// let payments: IdempotencyGuard<String, u32> = IdempotencyGuard::new(10_000)?;
/// let mut charged = 0;
/// for _delivery in 0..2 {
///     match payments.begin("order-42".to_owned()) {
///         Ok(Begin::Fresh(permit)) => {
///             charged += 1; // the effect
///             permit.finish(charged);
///         }
///         Ok(Begin::Done(receipt)) => assert_eq!(*receipt, 1),
///         Ok(Begin::InFlight) => unreachable!("somebody else is at it: let the job come back later"),
///         Err(full) => panic!("{full}"),
///     }
/// }
/// assert_eq!(charged, 1);
/// # Ok::<(), ringmill::ConfigError>(())
/// ```
pub struct IdempotencyGuard<K, R> {
    known: Mutex<Known<K, R>>,
    bound: usize,
}

struct Known<K, R> {
    ids: HashMap<K, State<R>>,
    /// Ids that are done, in that order. Each is in `ids`.
    done: VecDeque<K>,
}

enum State<R> {
    InFlight,
    Done(Arc<R>),
}

/// What a guard knows of an id.
#[derive(Debug)]
pub enum Begin<'a, K: Hash + Eq, R> {
    /// Nothing: the caller is the one to do it.
    Fresh(Permit<'a, K, R>),
    /// Somebody is at it.
    InFlight,
    /// It is done, and this came of it.
    Done(Arc<R>),
}

/// As many ids are in flight as the guard remembers: there is nothing that it could forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyInFlight {
    bound: usize,
}

impl fmt::Display for TooManyInFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ids are in flight, as many as the guard remembers", self.bound)
    }
}

impl std::error::Error for TooManyInFlight {}

impl<K: Hash + Eq + Clone, R> IdempotencyGuard<K, R> {
    /// A guard that remembers at most `bound` ids: 1..=16777215. Memory is taken as it is needed.
    ///
    /// # Errors
    /// When `bound` is out of range.
    pub fn new(bound: usize) -> Result<Self, ConfigError> {
        if bound == 0 || bound > CAPACITY_MAX as usize {
            return Err(ConfigError::new("idempotency guard", "bound", bound, format_args!("1..={CAPACITY_MAX}")));
        }
        Ok(IdempotencyGuard { known: Mutex::new(Known { ids: HashMap::new(), done: VecDeque::new() }), bound })
    }

    /// What is known of `id`; if nothing is, it is in flight from here on and the permit is the caller's.
    ///
    /// # Errors
    /// [`TooManyInFlight`] for a new id when all that are remembered are in flight.
    pub fn begin(&self, id: K) -> Result<Begin<'_, K, R>, TooManyInFlight> {
        let mut known = self.known.lock();
        match known.ids.get(&id) {
            Some(State::InFlight) => return Ok(Begin::InFlight),
            Some(State::Done(result)) => return Ok(Begin::Done(Arc::clone(result))),
            None => {}
        }
        // user code: if it panics nothing has happened yet
        let own = id.clone();
        let forgotten = if known.ids.len() < self.bound {
            None
        } else {
            let Some(oldest) = known.done.pop_front() else { return Err(TooManyInFlight { bound: self.bound }) };
            let entry = known.ids.remove_entry(&oldest);
            Some((oldest, entry))
        };
        known.ids.insert(own, State::InFlight);
        drop(known);
        // user code
        drop(forgotten);
        Ok(Begin::Fresh(Permit { guard: self, id: Some(id) }))
    }

    /// Forgets an id that is done. False when there is none, or it is in flight.
    ///
    /// ```
    /// use ringmill::{Begin, IdempotencyGuard};
    ///
    /// let guard: IdempotencyGuard<u32, &str> = IdempotencyGuard::new(10)?;
    /// let Ok(Begin::Fresh(permit)) = guard.begin(7) else { unreachable!("nobody has begun") };
    /// assert!(!guard.forget(&7)); // in flight
    /// permit.finish("done");
    /// assert!(guard.forget(&7) && !guard.forget(&7));
    /// # Ok::<(), ringmill::ConfigError>(())
    /// ```
    pub fn forget(&self, id: &K) -> bool {
        let mut known = self.known.lock();
        let Some(State::Done(_)) = known.ids.get(id) else { return false };
        let forgotten = (known.ids.remove_entry(id), known.done.iter().position(|done| done == id).and_then(|at| known.done.remove(at)));
        drop(known);
        // user code
        drop(forgotten);
        true
    }
}

impl<K, R> IdempotencyGuard<K, R> {
    /// How many ids it remembers now.
    pub fn len(&self) -> usize {
        self.known.lock().ids.len()
    }

    /// True when it remembers none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many it may remember.
    pub fn bound(&self) -> usize {
        self.bound
    }
}

impl<K, R> fmt::Debug for IdempotencyGuard<K, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyGuard").field("ids", &self.len()).field("bound", &self.bound).finish_non_exhaustive()
    }
}

/// The right to do what an id stands for, once. Dropped unfinished, it takes the id back.
#[must_use = "a permit that is dropped unfinished makes its id fresh again"]
pub struct Permit<'a, K: Hash + Eq, R> {
    guard: &'a IdempotencyGuard<K, R>,
    /// None: finished.
    id: Option<K>,
}

impl<K: Hash + Eq + Clone, R> Permit<'_, K, R> {
    /// It is done, and this came of it. Returned as those who ask later will see it.
    pub fn finish(mut self, result: R) -> Arc<R> {
        let result = Arc::new(result);
        // user code: a panic finds the id still in the permit
        let done = self.id.clone();
        if let (Some(id), Some(done)) = (&self.id, done) {
            let mut known = self.guard.known.lock();
            if let Some(state) = known.ids.get_mut(id) {
                *state = State::Done(Arc::clone(&result));
                known.done.push_back(done);
            }
            drop(known);
            // and again
            drop(self.id.take());
        }
        result
    }
}

impl<K: Hash + Eq, R> Drop for Permit<'_, K, R> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            let mut known = self.guard.known.lock();
            let forgotten = known.ids.remove_entry(&id);
            drop(known);
            // user code
            drop(forgotten);
        }
    }
}

impl<K: Hash + Eq, R> fmt::Debug for Permit<'_, K, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    #![allow(clippy::disallowed_methods, clippy::disallowed_types)]

    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    fn fresh<'a>(guard: &'a IdempotencyGuard<u32, u32>, id: u32) -> Permit<'a, u32, u32> {
        match guard.begin(id) {
            Ok(Begin::Fresh(permit)) => permit,
            other => panic!("{other:?}"),
        }
    }

    fn done(guard: &IdempotencyGuard<u32, u32>, id: u32) -> Option<u32> {
        match guard.begin(id) {
            Ok(Begin::Done(result)) => Some(*result),
            _ => None,
        }
    }

    #[test]
    fn of_many_threads_one_has_the_effect_and_the_others_its_result() {
        let guard = Arc::new(IdempotencyGuard::new(200).unwrap());
        let effects = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..16)
            .map(|_| {
                let (guard, effects) = (Arc::clone(&guard), Arc::clone(&effects));
                std::thread::spawn(move || {
                    for id in 0..200 {
                        loop {
                            match guard.begin(id).unwrap() {
                                Begin::Fresh(permit) => drop(permit.finish(effects.fetch_add(1, Relaxed))),
                                Begin::InFlight => std::thread::yield_now(),
                                Begin::Done(_) => break,
                            }
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!((effects.load(Relaxed), guard.len()), (200, 200));
    }

    #[test]
    fn the_id_done_for_longest_is_forgotten_and_none_in_flight() {
        let guard = IdempotencyGuard::new(2).unwrap();
        let first = fresh(&guard, 1);
        drop(fresh(&guard, 2).finish(20));
        drop(fresh(&guard, 3).finish(30));
        assert_eq!((done(&guard, 3), guard.len()), (Some(30), 2), "2 was forgotten, 1 is in flight");
        let second = fresh(&guard, 4);
        assert!(matches!(guard.begin(5), Err(TooManyInFlight { bound: 2 })));
        assert!(matches!(guard.begin(1), Ok(Begin::InFlight)));
        drop(second);
        drop(first.finish(10));
        assert_eq!(done(&guard, 1), Some(10));
    }

    #[test]
    fn a_panic_takes_the_id_back() {
        let guard = IdempotencyGuard::new(2).unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _permit = fresh(&guard, 1);
            panic!("on the way");
        }));
        assert!(panicked.is_err() && guard.is_empty());
        drop(fresh(&guard, 1).finish(7));
        assert_eq!(done(&guard, 1), Some(7));
        assert!(guard.forget(&1) && !guard.forget(&1));
        assert!(guard.is_empty());
    }

    #[test]
    fn a_bound_of_nothing_is_refused() {
        let refused = |bound| IdempotencyGuard::<u32, u32>::new(bound).unwrap_err().to_string();
        assert_eq!(refused(0), "idempotency guard: bound is 0, allowed is 1..=16777215");
        assert_eq!(refused(1 << 24), "idempotency guard: bound is 16777216, allowed is 1..=16777215");
    }

    /// Asks the guard something when it is dropped.
    struct Brittle(u32, Option<std::sync::Arc<IdempotencyGuard<Brittle, u32>>>);

    impl Clone for Brittle {
        fn clone(&self) -> Self {
            Brittle(self.0, self.1.clone())
        }
    }

    impl PartialEq for Brittle {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }

    impl Eq for Brittle {}

    impl Hash for Brittle {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            self.0.hash(state);
        }
    }

    impl Drop for Brittle {
        fn drop(&mut self) {
            if let Some(guard) = self.1.take() {
                assert!(guard.len() <= 2);
            }
        }
    }

    #[test]
    fn ids_are_dropped_when_the_lock_is_free() {
        let guard = std::sync::Arc::new(IdempotencyGuard::new(2).unwrap());
        for id in 0..6 {
            let Ok(Begin::Fresh(permit)) = guard.begin(Brittle(id, Some(guard.clone()))) else { panic!("it is new") };
            permit.finish(id); // from the third on, one is forgotten
        }
        assert!(guard.forget(&Brittle(5, None)));
        assert!(!guard.forget(&Brittle(0, None)));
        assert_eq!(guard.len(), 1);
    }

    #[test]
    fn an_id_whose_clone_panics_as_it_is_finished_is_taken_back() {
        let guard: IdempotencyGuard<Fragile, u32> = IdempotencyGuard::new(2).unwrap();
        let Ok(Begin::Fresh(permit)) = guard.begin(Fragile(std::sync::Arc::new(AtomicU32::new(1)))) else { panic!("it is new") };
        let finished = catch_unwind(AssertUnwindSafe(|| permit.finish(1)));
        assert!(finished.is_err());
        assert!(matches!(guard.begin(Fragile(std::sync::Arc::new(AtomicU32::new(1)))), Ok(Begin::Fresh(_))), "nothing is in flight");
    }

    /// Can be cloned so many times; all are equal.
    struct Fragile(std::sync::Arc<AtomicU32>);

    impl Clone for Fragile {
        fn clone(&self) -> Self {
            // relaxed: one thread
            let left = self.0.load(Relaxed).checked_sub(1).expect("no more clones");
            self.0.store(left, Relaxed);
            Fragile(self.0.clone())
        }
    }

    impl PartialEq for Fragile {
        fn eq(&self, _: &Self) -> bool {
            true
        }
    }

    impl Eq for Fragile {}

    impl Hash for Fragile {
        fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
    }

    #[test]
    fn an_id_whose_hash_panics_as_it_is_finished_is_taken_back() {
        // counts down to the hash that panics; the clones of an id are one id
        #[derive(Clone, PartialEq, Eq)]
        struct Id(u32, std::rc::Rc<std::cell::Cell<u32>>);
        impl Hash for Id {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.1.set(self.1.get().wrapping_sub(1));
                assert_ne!(self.1.get(), 0, "no hash");
                self.0.hash(state);
            }
        }
        let guard = IdempotencyGuard::new(1).unwrap();
        let hashes = std::rc::Rc::new(std::cell::Cell::new(0));
        let id = |number| Id(number, hashes.clone());
        let Ok(Begin::Fresh(permit)) = guard.begin(id(1)) else { panic!("it is new") };
        hashes.set(1);
        assert!(catch_unwind(AssertUnwindSafe(|| permit.finish(10))).is_err());
        let Ok(Begin::Fresh(permit)) = guard.begin(id(1)) else { panic!("nothing is in flight") };
        assert!(matches!(guard.begin(id(2)), Err(TooManyInFlight { bound: 1 })), "none in flight is forgotten");
        permit.finish(20);
        assert!(matches!(guard.begin(id(1)), Ok(Begin::Done(result)) if *result == 20));
    }

    #[test]
    fn an_id_whose_clone_panics_as_it_begins_costs_no_other_its_result() {
        #[derive(PartialEq, Eq, Hash)]
        struct Id(u32);
        impl Clone for Id {
            fn clone(&self) -> Self {
                assert_ne!(self.0, 2, "no clone");
                Id(self.0)
            }
        }
        let guard = IdempotencyGuard::new(1).unwrap();
        let Ok(Begin::Fresh(permit)) = guard.begin(Id(1)) else { panic!("it is new") };
        permit.finish(10);
        assert!(catch_unwind(AssertUnwindSafe(|| guard.begin(Id(2)).is_ok())).is_err());
        assert!(matches!(guard.begin(Id(1)), Ok(Begin::Done(result)) if *result == 10));
    }
}
