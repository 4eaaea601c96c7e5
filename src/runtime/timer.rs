//! The timer thread: one turn of every queue, then sleep until the earliest wish.

use super::pool::Pool;
use super::served::Served;
use crate::clock::{Clock, Timestamp};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use crate::sync::{EventCount, Parker, thread};
use std::fmt;
use std::sync::Arc;

/// What the timer looks after.
pub(crate) struct Timer {
    pub(crate) queues: Vec<Arc<dyn Served>>,
    pub(crate) pools: Vec<Arc<Pool>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) bell: Arc<EventCount>,
    /// When the timer looks again by itself. Written by the timer, read by whoever has an earlier wish.
    pub(crate) until: Arc<AtomicU64>,
    pub(crate) stopping: AtomicBool,
}

impl Timer {
    /// One turn of every queue. Says when the next is wanted.
    pub(crate) fn turn(&self) -> Timestamp {
        self.queues.iter().map(|queue| queue.turn(&*self.clock)).min().unwrap_or(Timestamp::MAX)
    }

    /// When there is something to do again, if nobody does anything before.
    pub(crate) fn next_event(&self) -> Timestamp {
        self.queues.iter().map(|queue| queue.next_event()).min().unwrap_or(Timestamp::MAX)
    }

    /// Starts the timer's thread.
    pub(crate) fn start(self: &Arc<Self>) -> std::io::Result<thread::JoinHandle<()>> {
        let timer = Arc::clone(self);
        thread::spawn_named("rm-timer".to_owned(), move || timer.run())
    }

    /// Turns until it is stopped. The timer never runs user code, so it always comes back.
    fn run(&self) {
        let parker = Parker::new();
        let seat = self.bell.take_seat(parker.unparker()).expect("the timer's bell has one sleeper");
        let mut searching = false;
        // relaxed: the stopper fences and wakes
        while !self.stopping.load(Relaxed) {
            let next = self.turn();
            self.pools.iter().for_each(|pool| pool.supervise());
            // relaxed: the announcement's fence orders it before the second look
            self.until.store(next.as_nanos(), Relaxed);
            self.bell.announce(&seat, searching);
            searching = true;
            if self.stopping.load(Relaxed) || self.queues.iter().any(|queue| queue.timer_has_mail()) {
                self.bell.retract(&seat);
                continue;
            }
            let now = self.clock.now();
            if next <= now {
                self.bell.retract(&seat);
                continue;
            }
            let nap = self.clock.sleep_hint(next);
            self.bell.sleep(&seat, &parker, Some(nap));
        }
        if searching {
            self.bell.give_up_search();
        }
        self.bell.free_seat(seat);
    }

    pub(crate) fn stop(&self) {
        // relaxed: the bell's fence orders it
        self.stopping.store(true, Relaxed);
        self.bell.notify_all();
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("bell", &self.bell).finish_non_exhaustive()
    }
}
