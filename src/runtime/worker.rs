//! The worker loop: look, run, and when there is nothing, wait.

use super::idle::{IdleState, Step};
use super::pool::PoolShared;
use super::served::{ROUND, Station};
use crate::clock::{Clock, Timestamp};
use crate::lanes::{Cursor, Schedule};
use crate::sync::{Parker, Seat, Woken, pause, thread};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One worker: its seats at the pool's queues, and how it waits.
pub(crate) struct Worker {
    pub(crate) index: usize,
    stations: Vec<Box<dyn Station>>,
    /// The queues' shares, as a table.
    schedule: Schedule,
    cursor: Cursor,
    shared: Arc<PoolShared>,
    clock: Arc<dyn Clock>,
    idle: IdleState,
    parker: Parker,
    seat: Option<Seat>,
    /// Counted as searching in the pool's eventcount.
    searching: bool,
    /// The time as of the last job boundary.
    now: Timestamp,
    /// The end of the last round that ran jobs.
    ended: Timestamp,
    /// `now` is of before a wait.
    stale: bool,
    /// It has slept and was woken, and has found nothing since.
    woken: bool,
    /// The queue that was asked for chores last.
    chores_at: usize,
}

/// After a round of so few jobs of a stream a worker holds off before it looks again: an eager one keeps snatching the line that the publisher is about to write.
const SHORT: u32 = 4;
/// Jobs that run before the worker looks at anything else.
pub(crate) const BUDGET: u32 = 64;
/// A sleeper looks around this often even if nobody wakes it; work that nobody fetches then means that a wake-up was lost.
const HEARTBEAT: Duration = Duration::from_millis(500);

impl Worker {
    pub(crate) fn new(
        index: usize,
        stations: Vec<Box<dyn Station>>,
        schedule: Schedule,
        shared: Arc<PoolShared>,
        clock: Arc<dyn Clock>,
        idle: IdleState,
    ) -> Self {
        let parker = Parker::new();
        let seat = shared.bell.take_seat(parker.unparker());
        let now = clock.now();
        let cursor = Cursor::new(index);
        Worker {
            index,
            stations,
            schedule,
            cursor,
            shared,
            clock,
            idle,
            parker,
            seat,
            searching: false,
            now,
            ended: now,
            stale: true,
            woken: false,
            chores_at: 0,
        }
    }

    /// Works until the pool stops, or until `retire` says that this worker is not needed any more.
    pub(crate) fn run(mut self, retire: impl Fn() -> bool) {
        while !self.shared.is_stopping() && !retire() {
            if !(self.end_search() && self.round(BUDGET)) {
                self.wait();
            }
        }
    }

    /// Ends a search that has found something, before that is run: while somebody counts as searching, publishers wake nobody, and a handler may take
    /// long. False when it has found nothing yet.
    #[inline]
    fn end_search(&mut self) -> bool {
        if !self.searching {
            return true;
        }
        if !self.stations.iter_mut().any(|station| station.look() || station.has_chores()) {
            return false;
        }
        self.searching = false;
        let stations = &self.stations;
        self.shared.bell.found_work(|| stations.iter().any(|station| station.may_have_more()));
        true
    }

    /// One round of a worker without a thread, or the end of a delivery that took its time. One that has found nothing takes what a colleague has claimed, as before a
    /// sleep. True if it did something.
    pub(crate) fn step(&mut self, budget: u32) -> bool {
        // whatever time it was in the last one
        self.stale = true;
        if let Some(until) = self.busy_until() {
            return until <= self.clock.now() && self.stations.iter_mut().any(|station| station.finish(&*self.clock));
        }
        let mut acted = self.round(budget);
        // what it found may have expired or been cancelled: there may be another one all the same, perhaps because that one has left
        while !acted && self.finds_work() {
            acted = self.round(budget);
        }
        // or something to do for others: what has ended may have become a job of theirs
        acted || self.stations.iter_mut().any(|station| station.take_disposed())
    }

    /// There is something to start, or a colleague has claimed it.
    fn finds_work(&mut self) -> bool {
        self.stations.iter_mut().any(|station| station.look()) || self.stations.iter_mut().any(|station| station.steal())
    }

    /// When the delivery ends that takes its time, if there is one: in simulations.
    pub(crate) fn busy_until(&self) -> Option<Timestamp> {
        self.stations.iter().find_map(|station| station.busy_until())
    }

    /// One look at every queue. True if a job ran or a chore was done.
    pub(crate) fn round(&mut self, budget: u32) -> bool {
        let ran = if self.stale && !self.end_pause() { 0 } else { self.work(budget) };
        let mut busy = ran > 0;
        self.stale = !busy;
        if busy {
            self.shared.count_jobs(self.index, u64::from(ran));
            self.idle.ran(ran, self.now.since(std::mem::replace(&mut self.ended, self.now)));
            if ran <= SHORT && self.stations.len() == 1 {
                pause(self.idle.hold_off());
            }
        }
        // no more queues than jobs have run, while there are jobs: to ask each of many after every job would cost more than the job
        let stations = self.stations.len();
        let asked = if busy { stations.min(ran as usize) } else { stations };
        for _ in 0..asked {
            self.chores_at = if self.chores_at + 1 < stations { self.chores_at + 1 } else { 0 };
            let station = &mut self.stations[self.chores_at];
            if station.has_chores() {
                station.do_chores(&*self.clock);
                (busy, self.stale) = (true, true);
            }
        }
        busy
    }

    /// Reads the clock anew if there is something to run, and learns from the pause that this ends. False if there is nothing.
    fn end_pause(&mut self) -> bool {
        let Some(station) = self.stations.iter_mut().find_map(|station| station.look().then_some(station)) else { return false };
        let began = self.now;
        self.now = self.clock.stamp().max(began);
        if std::mem::take(&mut self.woken)
            && let Some(waited) = station.head_waited(self.now)
        {
            self.idle.woken(waited);
        }
        self.idle.found_work(self.now.since(began));
        true
    }

    /// Runs jobs. Says how many.
    #[inline]
    fn work(&mut self, budget: u32) -> u32 {
        let (now, clock) = (&mut self.now, &*self.clock);
        match self.stations.as_mut_slice() {
            [only] => only.work(budget, now, clock),
            stations => {
                let (mut ran, began) = (0, *now);
                while ran < budget && now.since(began) < ROUND {
                    // a job a turn: weights hold to the job
                    let picked = self.cursor.pick(&self.schedule, |queue| (stations[queue].work(1, now, clock) > 0).then_some(()));
                    let Some((queue, ())) = picked else { break };
                    ran += 1;
                    if stations[queue].busy_until().is_some() {
                        break;
                    }
                }
                ran
            }
        }
    }

    /// Nothing was found.
    fn wait(&mut self) {
        let Some(seat) = &self.seat else {
            // more sleepers than seats: never announced, so never asleep
            thread::yield_now();
            return;
        };
        if !self.searching {
            self.searching = self.shared.bell.try_search(self.shared.search_limit());
        }
        let clock = &*self.clock;
        match self.idle.step(|| clock.now()) {
            Step::Spin(pauses) => return pause(pauses),
            Step::Yield => return thread::yield_now(),
            Step::Sleep => {}
        }
        // an idle worker takes what a colleague has claimed and is too busy to start
        if self.stations.iter_mut().any(|station| station.steal()) {
            return;
        }
        self.shared.bell.announce(seat, self.searching);
        self.searching = true;
        let more = |stations: &mut Vec<Box<dyn Station>>| stations.iter_mut().any(|station| station.look() || station.has_chores());
        if self.shared.is_stopping() || more(&mut self.stations) {
            self.shared.bell.retract(seat);
            return;
        }
        self.shared.count_park(self.index);
        let stations = &self.stations;
        let work = || stations.iter().any(|station| station.may_have_more());
        match self.shared.bell.sleep_watched(seat, &self.parker, HEARTBEAT, work) {
            Woken::Signalled => self.woken = true,
            Woken::TimedOut => self.stations[0].count_rescued(),
            Woken::Overdue => {}
        }
    }
}

/// A worker gives everything back when it goes, however it goes: one that stayed counted as searching would keep everybody else asleep.
impl Drop for Worker {
    fn drop(&mut self) {
        for station in &mut self.stations {
            station.give_back();
        }
        if std::mem::take(&mut self.searching) {
            self.shared.bell.give_up_search();
        }
        if let Some(seat) = self.seat.take() {
            self.shared.bell.free_seat(seat);
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("index", &self.index).field("stations", &self.stations).finish_non_exhaustive()
    }
}
