//! Many jobs are taken in at a time: one shared operation for a chain of them.

use super::Queue;
use super::bent::{Bend, is_bent};
use super::publish::{Publisher, When};
use crate::chain::{Chain, Links};
use crate::clock::{Clock, Timestamp};
use crate::config::Overflow;
use crate::error::{PublishError, Refusal};
use crate::id::JobId;
use crate::inbox::Flag;
use crate::job::{Job, Payload};
use crate::key::Key;
use crate::ledger::Count;
use crate::limits::CHAIN_MAX;
use crate::slab::Phase;
use crate::sync::atomic::Ordering::Relaxed;

/// What the publisher of a batch keeps of the jobs that are taken in: their number, or a handle to each one's end.
pub trait Keeps {
    /// How the next job is published: at once, watched or not.
    fn next(&mut self) -> When<'_>;
    /// That job is as good as in, with this id.
    fn note(&mut self, job: JobId);
    /// So many more are in.
    fn count(&mut self, jobs: usize);
}

impl Keeps for usize {
    #[inline]
    fn next(&mut self) -> When<'_> {
        When::Now
    }

    #[inline]
    fn note(&mut self, _: JobId) {}

    #[inline]
    fn count(&mut self, jobs: usize) {
        *self += jobs;
    }
}

impl<T: Payload> Queue<T> {
    /// Publishes jobs from `jobs` until it is exhausted or one is refused, which comes back. One shared operation and one look at the clock per chain of up to
    /// 32 jobs of one lane.
    ///
    /// `full` says what becomes of a job that finds no slot, or waits for others with its key, and counts it if it is refused. One that means to wait there is
    /// `patient`.
    pub fn publish_batch<K: Keeps>(
        &self,
        publisher: &Publisher,
        jobs: &mut impl Iterator<Item = Job<T>>,
        clock: &dyn Clock,
        patient: bool,
        mut kept: K,
        full: impl Fn(Job<T>, When<'_>) -> Result<JobId, PublishError<T>>,
    ) -> (K, Option<PublishError<T>>) {
        let mut pulled: Option<Job<T>> = None;
        loop {
            let Some(job) = pulled.take().or_else(|| jobs.next()) else { return (kept, None) };
            let lane = job.lane;
            // what waits for others with its key goes alone, and is checked then
            let credits = if self.makes_wait(job.key) {
                None
            } else if let Err(refusal) = self.check_publish(publisher, &job, || clock.stamp()) {
                publisher.count_refusal(&refusal, clock.stamp());
                return (kept, Some(PublishError::new(job, refusal)));
            } else {
                // (one that may expire goes alone as well: out of a chain it could not be taken)
                let behind = if job.ttl.is_some() { 0 } else { jobs.size_hint().0 };
                self.credits_for(publisher, lane, behind, patient)
            };
            let Some(credits) = credits else {
                match full(job, kept.next()) {
                    Ok(id) => {
                        kept.note(id);
                        kept.count(1);
                    }
                    Err(error) => return (kept, Some(error)),
                }
                continue;
            };
            let now = clock.stamp();
            let mut train = Train { queue: self, publisher, lane, credits: Some(credits), filled: [0; CHAIN_MAX as usize], len: 0 };
            let (mut job, mut refused) = (job, None);
            loop {
                match train.name(job.key, now) {
                    Ok(id) => train.load(job, id, now, &mut kept),
                    Err(refusal) => {
                        refused = Some(PublishError::new(job, refusal));
                        break;
                    }
                }
                if !train.has_room() {
                    break;
                }
                // user code: `train` publishes what it has even if this panics
                let Some(next) = jobs.next() else { break };
                // (closed: perhaps by that user code, and what comes now is refused)
                if self.is_closed() || next.lane != lane || next.ttl.is_some() || self.makes_wait(next.key) || !self.is_well_formed(&next) {
                    pulled = Some(next);
                    break;
                }
                job = next;
            }
            kept.count(train.len);
            drop(train);
            if self.is_stopped() {
                // what this batch has yet to publish is refused
                self.recall_all();
            }
            self.at_once.run();
            if let Some(error) = refused {
                publisher.count_refusal(error.refusal(), now);
                return (kept, Some(error));
            }
        }
    }

    /// Credits for a job and, as far as there are any, for those `behind` it.
    #[inline]
    fn credits_for(&self, publisher: &Publisher, lane: usize, behind: usize, patient: bool) -> Option<Chain> {
        let want = u32::try_from(behind).unwrap_or(u32::MAX).saturating_add(1).clamp(1, self.chain_limit());
        if patient {
            self.credits.acquire_chain_near(&self.slab, &publisher.accounts, lane, want)
        } else {
            self.credits.acquire_chain(&self.slab, &publisher.accounts, lane, want)
        }
    }

    /// How many jobs may travel as one chain: about what a worker takes on at a time.
    fn chain_limit(&self) -> u32 {
        if self.settings.overflow == Overflow::DropOldest {
            // a chain can only be taken as a whole, and an evictor that wants one would have to put the rest back behind younger jobs
            return 1;
        }
        // relaxed: a hint
        match self.run_estimate.load(Relaxed) {
            0 => CHAIN_MAX,
            nanos => super::claim::jobs_ahead(nanos),
        }
    }
}

/// Jobs of one lane on their way in as one chain; those with a partition key leave it for their partitions. Publishes what it has when it is dropped, also by a panic
/// of the user's iterator.
struct Train<'a, T: Payload> {
    queue: &'a Queue<T>,
    publisher: &'a Publisher,
    lane: usize,
    /// Credits not used yet.
    credits: Option<Chain>,
    filled: [u32; CHAIN_MAX as usize],
    len: usize,
}

impl<T: Payload> Train<'_, T> {
    fn has_room(&self) -> bool {
        self.credits.is_some()
    }

    /// The id of the next job to be loaded, for which there is room; its key is its own now.
    ///
    /// # Errors
    /// When another job has the key, or too many are taken.
    #[inline(always)]
    fn name(&self, key: Key, now: Timestamp) -> Result<JobId, Refusal> {
        let index = self.credits.expect("there is room").first();
        let key = if is_bent(Bend::BatchClaimsNothing) { Key::NONE } else { key };
        let id = self.queue.id_of_next(self.publisher, index, key, now)?;
        crate::crash_point!("queue.batch.named");
        Ok(id)
    }

    // always: a job that is passed on is copied
    #[inline(always)]
    fn load(&mut self, job: Job<T>, id: JobId, now: Timestamp, kept: &mut impl Keeps) {
        let Some(chain) = self.credits else { return };
        let index = chain.first();
        // the link is read before the index is filled and re-linked
        self.credits = (chain.len() > 1).then(|| Chain::new(self.queue.slab.next(index), chain.len() - 1));
        let (ttl, order) = (job.ttl, job.order);
        self.queue.write_job(index, id, job, now, now);
        self.queue.line_up_later(index, self.lane, order);
        self.queue.prefetch_order(order, self.lane);
        let promise = kept.next().promise().cloned();
        let watched = promise.is_some();
        if let Some(promise) = promise {
            self.queue.promise_end(index, id, promise);
        }
        self.queue.slab.state(index).fill_as(Phase::Ready, self.lane as u8, watched);
        kept.note(id);
        if let Some(ttl) = ttl
            && self.queue.inbox.post(index, Flag::Poke)
        {
            self.queue.wake_timer((now + ttl).as_nanos());
        }
        crate::crash_point!("queue.batch.filled");
        self.filled[self.len] = index;
        self.len += 1;
    }
}

impl<T: Payload> Drop for Train<'_, T> {
    fn drop(&mut self) {
        if let Some(rest) = self.credits.take() {
            for index in rest.iter(&self.queue.slab) {
                self.queue.credits.release(&self.queue.slab, &self.publisher.accounts, index);
            }
        }
        if self.len > 0 {
            let (unkeyed, ready) = self.queue.enter_keyed(&mut self.filled[..self.len]);
            if unkeyed > 0 {
                let chain = Chain::link(&self.queue.slab, &self.filled[..unkeyed]);
                self.queue.slab.note(chain);
                crate::crash_point!("queue.batch.linked");
                self.queue.lanes[self.lane].push(chain);
            }
            crate::crash_point!("queue.batch.pushed");
            self.publisher.ledger.add(Count::Accepted, self.len as u64);
            if unkeyed + ready > 0 {
                self.queue.ring_bell(unkeyed + ready);
            }
        }
    }
}
