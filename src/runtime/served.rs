//! A queue as the runtime sees it, its payload forgotten; and a worker's seat at it.

use super::handler::{Context, Handler};
use super::inside::{self, RuntimeId};
use super::probe::{Probe, Watcher};
use crate::clock::{Clock, Timestamp};
use crate::completion::Answer;
use crate::job::Payload;
use crate::ledger::{Count, Totals};
use crate::queue::{Aftermath, ClaimBlock, Claimer, Gauges, Lease, Pressure, Publisher, Queue};
use crate::verdict::{JobError, Verdict};
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One queue, whatever its payload.
pub(crate) trait Served: Send + Sync + fmt::Debug {
    fn name(&self) -> &str;
    fn lane_names(&self) -> &[String];
    /// A worker's seat; `None` when the queue has as many handles as it can have, or no handler.
    fn seat(&self, worker: usize) -> Option<Box<dyn Station>>;
    fn turn(&self, clock: &dyn Clock) -> Timestamp;
    /// When there is something to do again, if nobody does anything before.
    fn next_event(&self) -> Timestamp;
    fn timer_has_mail(&self) -> bool;
    fn close(&self);
    fn stop(&self);
    fn is_drained(&self, deadline: Timestamp) -> bool;
    fn running(&self) -> Vec<(crate::id::JobId, u32)>;
    /// Whatever waits becomes undone.
    fn recall(&self);
    /// A boxed `Vec<Undone<T>>`, and how many.
    fn hand_back(&self) -> (Box<dyn Any + Send>, usize);
    fn drop_aged_letters(&self, now: Timestamp);
    fn gauges(&self) -> Gauges;
    fn oldest_eligible(&self, now: Timestamp) -> Vec<Option<Duration>>;
    fn totals(&self) -> Totals;
    fn pressure(&self) -> Pressure;
    fn is_paused(&self) -> bool;
    /// Dead letters do not move on any more, and periods are over.
    fn let_go(&self);
    /// Whoever publishes calls `run` on its way out.
    #[cfg(feature = "test-util")]
    fn run_at_once(&self, run: crate::queue::Run);
}

/// A round of jobs ends with the first that is over so long after the round began: chores wait for its end, and handlers may be slow.
pub(crate) const ROUND: Duration = Duration::from_millis(1);

/// A worker's seat at one queue.
pub(crate) trait Station: Send + fmt::Debug {
    /// Runs up to `budget` jobs, or for a [`ROUND`]. `now` is the time as of the last job boundary, and is moved on. Says how many ran.
    fn work(&mut self, budget: u32, now: &mut Timestamp, clock: &dyn Clock) -> u32;
    /// When the delivery ends that takes its time, if there is one: in simulations.
    fn busy_until(&self) -> Option<Timestamp>;
    /// Settles that delivery. False when there is none.
    fn finish(&mut self, clock: &dyn Clock) -> bool;
    /// How long the job had waited that is started next.
    fn head_waited(&self, now: Timestamp) -> Option<Duration>;
    /// Claims what is there without starting it. True if there is something to run.
    fn look(&mut self) -> bool;
    /// Takes a job that a colleague has claimed and not started.
    fn steal(&mut self) -> bool;
    /// True when a job has ended before it started, since this was asked last.
    fn take_disposed(&mut self) -> bool;
    /// A hint that more work waits.
    fn may_have_more(&self) -> bool;
    /// True when the timer left something to do.
    fn has_chores(&self) -> bool;
    fn do_chores(&mut self, clock: &dyn Clock);
    /// Nothing is started any more: claims go back.
    fn give_back(&mut self);
    fn block(&self) -> Arc<ClaimBlock>;
    fn count_rescued(&self);
}

/// What the erased queue and its seats share.
pub(crate) struct PushQueue<T, H> {
    pub(crate) queue: Arc<Queue<T>>,
    pub(crate) handler: Arc<H>,
    pub(crate) runtime: RuntimeId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) seed: u64,
    pub(crate) probe: Probe,
}

impl<T, H> fmt::Debug for PushQueue<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PushQueue").field(&self.queue).finish()
    }
}

/// A queue without a handler: its jobs are received by hand.
pub(crate) struct PullQueue<T>(pub(crate) Arc<Queue<T>>);

impl<T> fmt::Debug for PullQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PullQueue").field(&self.0).finish()
    }
}

macro_rules! delegate_served {
    ($queue:tt) => {
        fn name(&self) -> &str {
            &self.$queue.settings.name
        }

        fn lane_names(&self) -> &[String] {
            &self.$queue.settings.lane_names
        }

        fn turn(&self, clock: &dyn Clock) -> Timestamp {
            self.$queue.turn(clock)
        }

        fn next_event(&self) -> Timestamp {
            self.$queue.next_event()
        }

        fn timer_has_mail(&self) -> bool {
            self.$queue.timer_has_mail()
        }

        fn close(&self) {
            self.$queue.close();
        }

        fn stop(&self) {
            self.$queue.stop();
        }

        fn is_drained(&self, deadline: Timestamp) -> bool {
            self.$queue.is_drained(deadline)
        }

        fn running(&self) -> Vec<(crate::id::JobId, u32)> {
            self.$queue.running()
        }

        fn recall(&self) {
            self.$queue.recall_all();
        }

        fn hand_back(&self) -> (Box<dyn Any + Send>, usize) {
            let undone = self.$queue.hand_back();
            let count = undone.len();
            (Box::new(undone), count)
        }

        fn drop_aged_letters(&self, now: Timestamp) {
            self.$queue.drop_aged(now);
        }

        fn gauges(&self) -> Gauges {
            self.$queue.gauges()
        }

        fn oldest_eligible(&self, now: Timestamp) -> Vec<Option<Duration>> {
            self.$queue.oldest_eligible(now)
        }

        fn totals(&self) -> Totals {
            self.$queue.totals()
        }

        fn pressure(&self) -> Pressure {
            self.$queue.pressure()
        }

        fn is_paused(&self) -> bool {
            self.$queue.is_paused()
        }

        fn let_go(&self) {
            self.$queue.set_onward(None);
            self.$queue.let_go();
        }

        #[cfg(feature = "test-util")]
        fn run_at_once(&self, run: crate::queue::Run) {
            self.$queue.at_once.set(run);
        }
    };
}

impl<T: Payload, H: Handler<T>> Served for PushQueue<T, H> {
    delegate_served!(queue);

    fn seat(&self, worker: usize) -> Option<Box<dyn Station>> {
        let publisher = self.queue.open_publisher()?;
        // seeds only need to differ; the offset spreads the workers over the lanes' table
        let seed = self.seed ^ (worker as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let Some(claimer) = self.queue.open_claimer(worker, false, seed) else {
            let mut publisher = publisher;
            self.queue.close_publisher(&mut publisher);
            return None;
        };
        let block = Arc::clone(claimer.block());
        let context = Context::of_worker(Arc::clone(&self.queue), Arc::clone(&self.clock), worker, block);
        let watcher = self.probe.watch(&self.queue.settings.name, worker);
        Some(Box::new(Seat { claimer, publisher, handler: Arc::clone(&self.handler), runtime: self.runtime, context, watcher }))
    }
}

impl<T: Payload> Served for PullQueue<T> {
    delegate_served!(0);

    fn seat(&self, _worker: usize) -> Option<Box<dyn Station>> {
        None
    }
}

/// A worker's seat at a queue with a handler.
struct Seat<T: Payload, H> {
    claimer: Claimer<T>,
    /// For the chores of this queue that publish.
    publisher: Publisher,
    handler: Arc<H>,
    runtime: RuntimeId,
    context: Context<T>,
    watcher: Watcher,
}

impl<T: Payload, H: Handler<T>> Seat<T, H> {
    /// Starts a delivery, runs the handler on it and settles it. False when there is none.
    #[inline]
    fn run(&mut self, now: &mut Timestamp, clock: &dyn Clock) -> bool {
        let started = self.claimer.next_into(*now, self.context.place());
        self.claimer.run_left();
        if !started {
            return false;
        }
        self.watcher.begin(&self.context, *now);
        let outcome = self.context.deliver(&*self.handler);
        match self.watcher.keep(outcome, clock) {
            Some(outcome) => self.end(outcome, now, clock),
            None => *now = clock.stamp().max(*now),
        }
        true
    }

    /// The delivery ends as its handler said.
    #[inline(always)]
    fn end(&mut self, outcome: Result<Verdict, String>, now: &mut Timestamp, clock: &dyn Clock) {
        // one reading per job boundary: the end of this run is the start of the next
        let began = *now;
        *now = clock.stamp().max(began);
        self.claimer.ran(self.context.lane(), now.since(began));
        self.watcher.end(&self.context, &outcome, *now);
        if matches!(outcome, Ok(Verdict::Ack)) && !self.context.has_more() {
            self.claimer.ack(self.context.place(), *now);
        } else {
            let lease = self.context.end();
            self.settle(lease, outcome, *now);
        }
    }

    /// Settles a delivery that did not simply end well.
    #[cold]
    fn settle(&mut self, lease: Lease, outcome: Result<Verdict, String>, now: Timestamp) {
        let verdict = outcome.unwrap_or_else(|message| {
            self.claimer.ledger().bump(Count::Panics);
            Verdict::Retry(JobError::transient(format!("panicked: {message}")))
        });
        let (follow_up, answer) = self.context.take_more();
        match (verdict, follow_up) {
            (Verdict::Ack, Some(next)) => self.chain(lease, next, answer, now),
            (verdict, unwanted) => {
                let acked = verdict == Verdict::Ack;
                let plan = self.claimer.plan(&lease, verdict);
                match self.claimer.settle(lease, plan, now, true) {
                    Ok(aftermath) if acked => self.after(aftermath, answer),
                    Ok(aftermath) | Err((_, aftermath)) => {
                        self.claimer.after(aftermath);
                        self.discard(answer);
                    }
                }
                self.discard(unwanted);
            }
        }
    }

    #[cold]
    fn chain(&mut self, lease: Lease, next: crate::job::Job<T>, answer: Option<Answer>, now: Timestamp) {
        let fits = self.claimer.queue().is_well_formed(&next);
        match self.claimer.settle_chained(lease, next, fits, now, true) {
            Ok((aftermath, deferred)) => {
                self.after(aftermath, answer);
                self.claimer.queue().follow_through(deferred);
            }
            Err((_, unwanted, aftermath)) => {
                self.claimer.after(aftermath);
                self.discard(answer);
                self.discard(Some(unwanted));
            }
        }
    }

    /// The job was acked, perhaps with an answer.
    fn after(&self, aftermath: Aftermath<T>, answer: Option<Answer>) {
        self.claimer.after(match answer {
            Some(answer) => aftermath.answered(answer),
            None => aftermath,
        });
    }

    fn discard<U>(&self, unwanted: Option<U>) {
        if unwanted.is_some() {
            self.claimer.queue().discard(unwanted);
        }
    }
}

impl<T: Payload, H: Handler<T>> Station for Seat<T, H> {
    fn work(&mut self, budget: u32, now: &mut Timestamp, clock: &dyn Clock) -> u32 {
        let _inside = inside::enter(self.runtime);
        let (mut ran, began) = (0, *now);
        while ran < budget && now.since(began) < ROUND && !self.watcher.is_busy() && !self.claimer.queue().is_stopped() {
            if !self.run(now, clock) {
                break;
            }
            ran += 1;
        }
        ran
    }

    fn busy_until(&self) -> Option<Timestamp> {
        self.watcher.busy_until()
    }

    fn finish(&mut self, clock: &dyn Clock) -> bool {
        let Some((outcome, mut began)) = self.watcher.take_kept() else { return false };
        let _inside = inside::enter(self.runtime);
        self.end(outcome, &mut began, clock);
        true
    }

    fn head_waited(&self, now: Timestamp) -> Option<Duration> {
        self.claimer.head_waited(now)
    }

    fn look(&mut self) -> bool {
        self.claimer.look()
    }

    fn steal(&mut self) -> bool {
        self.claimer.steal()
    }

    fn take_disposed(&mut self) -> bool {
        self.claimer.take_disposed()
    }

    fn may_have_more(&self) -> bool {
        // beside the job that this worker is about to run
        self.claimer.may_have_more(1)
    }

    fn has_chores(&self) -> bool {
        self.claimer.queue().has_chores()
    }

    fn do_chores(&mut self, clock: &dyn Clock) {
        let _inside = inside::enter(self.runtime);
        for chore in self.claimer.queue().take_chores() {
            self.claimer.queue().do_chore(&self.publisher, chore, clock);
        }
    }

    fn give_back(&mut self) {
        self.claimer.give_back();
    }

    fn block(&self) -> Arc<ClaimBlock> {
        Arc::clone(self.claimer.block())
    }

    fn count_rescued(&self) {
        self.claimer.ledger().bump(Count::WakeRescued);
    }
}

impl<T: Payload, H> Drop for Seat<T, H> {
    fn drop(&mut self) {
        self.claimer.queue().close_publisher(&mut self.publisher);
    }
}

impl<T: Payload, H> fmt::Debug for Seat<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("context", &self.context).finish_non_exhaustive()
    }
}
