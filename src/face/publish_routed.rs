//! Publishing through an exchange for tasks.

use super::completion::Completion;
use super::destination::{Address, Destination};
use super::exchange_publisher::{ExchangePublisher, Taken, all_counted, counted, refuse};
use super::fan_out::{Fan, Wait};
use super::producer::Producer;
use super::routed::{RouteError, RouteRefusal, Routed};
use super::watched_exchange::{WatchedCopies, WatchedExchange};
use super::ways::{Way, note_key, of, refusal_of};
use crate::error::Refusal;
use crate::exchange::Count;
use crate::job::{Job, Payload};
use crate::queue::When;
use crate::request::Request;
use crate::routing::{Hop, KeyError};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A job on its way to the queues that an exchange routes it to; made by [`ExchangePublisher::publish_async`] and its kin, whose output is `R`.
///
/// The bindings it goes by are those of its first poll. It takes its slots in the order of the queues' names, waits in the line of the first queue that is full,
/// and keeps what it has: slots of queues that come before. So poll it or drop it, but do not keep it waiting.
///
/// Dropped before it is done, it leaves the line, its slots go back, and the job is dropped; [`into_job`](Self::into_job) keeps it. Forgotten, it loses its slots.
///
/// A copy that is to take the place of a job with its key in a window ([`Dedupe::Debounce`](crate::Dedupe::Debounce)) needs no slot. If that window ends while another queue is waited for,
/// the job is refused where there is no slot then.
///
/// # Panics
/// When it is polled after it was done, or the payload's `clone` does; no queue has a copy then.
#[must_use = "a future does nothing unless it is polled"]
pub struct PublishRouted<'a, 'k, T: Payload, R> {
    publisher: &'a mut ExchangePublisher<T>,
    to: Result<Address<'k>, KeyError>,
    /// `None` once done.
    job: Option<Job<T>>,
    /// `None`: it may go to one queue only.
    several: Option<ToSeveral<T, R>>,
    /// Where it goes, from the first poll on, and how many alternates further on that is.
    hops: Vec<Hop>,
    alternates: usize,
    /// The slots it has, if it goes to several queues.
    slots: Vec<(usize, u32)>,
    /// It may stand in the line of the queue that follows on those.
    waits: bool,
}

type ToSeveral<T, R> = fn(&mut Fan<T>, Way<'_, T>, Job<T>, Wait) -> Result<R, (Job<T>, RouteRefusal)>;

impl<T: Payload> ExchangePublisher<T> {
    /// As [`publish_one`](Self::publish_one), from a task, which waits for a slot for as long as it takes, whatever the queue's policy.
    ///
    /// # Errors
    /// In the future's output, as there.
    pub fn publish_one_async<'k>(&mut self, to: impl Destination<'k>, job: impl Into<Job<T>>) -> PublishRouted<'_, 'k, T, Routed> {
        PublishRouted::new(self, to, job, None)
    }
}

impl<T: Payload + Clone> ExchangePublisher<T> {
    /// As [`publish`](Self::publish), from a task, in whatever executor it runs, which waits for room for as long as it takes, whatever the queues' policies: in
    /// one line with the threads that wait, first come, first served.
    ///
    /// ```
    /// use ringmill::{Binding, ExchangeConfig, QueueConfig, Runtime};
    ///
    /// let mut builder = Runtime::builder();
    /// let audit = builder.pull_queue::<u32>(QueueConfig::new("audit"))?;
    /// let small = builder.pull_queue::<u32>(QueueConfig::new("small").capacity(1))?;
    /// let news = builder.exchange(ExchangeConfig::direct("news"))?;
    /// news.rebind([Binding::new("both", &audit), Binding::new("both", &small), Binding::new("one", &audit)])?;
    /// let runtime = builder.build()?;
    /// let mut publisher = news.publisher();
    /// # let tokio = tokio::runtime::Builder::new_current_thread().build()?;
    /// # tokio.block_on(async {
    /// assert_eq!(publisher.publish_async("both", 1).await?.copies, 2);
    /// assert!(publisher.publish_one_async("one", 2).await?.job.is_some());
    /// assert!(publisher.publish_async("none", 3).await.unwrap_err().is_unroutable());
    /// let third = publisher.publish_async("both", 3); // would wait: `small` is full
    /// assert_eq!(third.into_job().unwrap().into_payload(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// In the future's output, as [`publish`](Self::publish); [`Refusal::WouldDeadlock`](crate::Refusal::WouldDeadlock) when a handler of the same runtime polls
    /// it while a queue is full.
    ///
    /// # Allocation
    /// Once, and twice if the job goes to several queues.
    #[doc(alias = "send")]
    pub fn publish_async<'k>(&mut self, to: impl Destination<'k>, job: impl Into<Job<T>>) -> PublishRouted<'_, 'k, T, Routed> {
        PublishRouted::new(self, to, job, Some(Fan::publish_with_care))
    }
}

impl<'a, T: Request> WatchedExchange<'a, T> {
    /// As [`ExchangePublisher::publish_one_async`].
    ///
    /// # Errors
    /// As there.
    pub fn publish_one_async<'k>(
        self,
        to: impl Destination<'k>,
        job: impl Into<Job<T>>,
    ) -> PublishRouted<'a, 'k, T, Completion<T::Answer>> {
        PublishRouted::new(self.publisher, to, job, None)
    }
}

impl<'a, T: Request + Clone> WatchedExchange<'a, T> {
    /// As [`ExchangePublisher::publish_async`].
    ///
    /// ```
    /// use ringmill::{Binding, End, ExchangeConfig, QueueConfig, Runtime};
    ///
    /// let mut builder = Runtime::builder();
    /// let mail = builder.queue(QueueConfig::new("mail"), |_: &&str, _: &_| ())?;
    /// let news = builder.exchange(ExchangeConfig::fanout("news"))?;
    /// news.bind(Binding::all(&mail))?;
    /// let runtime = builder.build()?;
    /// let mut publisher = news.publisher();
    /// # let tokio = tokio::runtime::Builder::new_current_thread().build()?;
    /// # tokio.block_on(async {
    /// let one = publisher.watched().publish_one_async("new", "hello").await?;
    /// assert_eq!(one.await?.end, End::Acked);
    /// for (queue, copy) in publisher.watched().publish_async("new", "hello").await?.completions {
    ///     assert_eq!((&*queue, copy.await?.end), ("mail", End::Acked));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # drop(runtime);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As there.
    pub fn publish_async<'k>(self, to: impl Destination<'k>, job: impl Into<Job<T>>) -> PublishRouted<'a, 'k, T, WatchedCopies<T>> {
        PublishRouted::new(self.publisher, to, job, Some(Fan::publish_all_watched))
    }
}

impl<'a, 'k, T: Payload, R> PublishRouted<'a, 'k, T, R> {
    fn new(
        publisher: &'a mut ExchangePublisher<T>,
        to: impl Destination<'k>,
        job: impl Into<Job<T>>,
        several: Option<ToSeveral<T, R>>,
    ) -> Self {
        PublishRouted {
            publisher,
            to: to.stated().check(),
            job: Some(job.into()),
            several,
            hops: Vec::new(),
            alternates: 0,
            slots: Vec::new(),
            waits: false,
        }
    }

    /// Gives up, and gives the job back; `None` when it was published or refused.
    pub fn into_job(mut self) -> Option<Job<T>> {
        self.job.take()
    }

    /// Leaves the line and gives the slots back.
    fn give_up(&mut self) {
        let producers = &self.publisher.beyond(self.alternates).ways.producers;
        if std::mem::take(&mut self.waits) {
            of(&self.hops[self.slots.len()], producers).leave_line();
        }
        for (at, slot) in self.slots.drain(..) {
            let Producer { handle, publisher } = of(&self.hops[at], producers);
            handle.queue.give_slot_back(publisher, slot);
        }
    }
}

impl<T: Payload, R: Taken<T>> PublishRouted<'_, '_, T, R> {
    fn look(&mut self, mut job: Job<T>, waker: &Waker) -> Poll<Result<R, RouteError<T>>> {
        if self.hops.is_empty() {
            job = match self.publisher.route(&self.to, job, &mut self.hops) {
                Ok((alternates, job)) => {
                    self.alternates = alternates;
                    job
                }
                Err(error) => return Poll::Ready(Err(error)),
            };
        }
        let (ExchangePublisher { ways, fan, counts, .. }, Ok(to)) = (self.publisher.beyond(self.alternates), &self.to) else {
            unreachable!("it was routed by it")
        };
        let producers = &ways.producers;
        if let [hop] = &self.hops[..] {
            note_key(of(hop, producers), *to);
            let (producer, watch, first) = (of(hop, producers), R::watch(), !std::mem::replace(&mut self.waits, true));
            let asked = job.lane;
            let (when, mut job) = (watch.as_ref().map_or(When::Now, When::Watched), Some(job.lane(usize::from(hop.lane))));
            let published = producer.poll_publish(&mut job, when, first, waker);
            self.job = job.map(|job| job.lane(asked));
            return published.map(|published| counted(published, producer, asked, counts).map(|id| R::of_one(producer, watch, id)));
        }
        let Some(several) = self.several else {
            return Poll::Ready(Err(refuse(job, RouteRefusal::Several { queues: self.hops.len() }, counts)));
        };
        let way = Way { hops: &self.hops, producers, to: *to };
        match fan.poll_slots(way, &job, &mut self.slots, &mut self.waits, waker) {
            Poll::Pending => {
                self.job = Some(job);
                Poll::Pending
            }
            Poll::Ready(Err(refusal)) => {
                let error = refuse(job, refusal, counts);
                self.give_up();
                Poll::Ready(Err(error))
            }
            Poll::Ready(Ok(())) => {
                // it may have waited for a long time: who hands back looks no more
                if let Some(hop) = self.hops.iter().find(|hop| of(hop, producers).handle.queue.is_stopped()) {
                    let Producer { handle, publisher } = of(hop, producers);
                    publisher.count_refusal(&Refusal::Closed, handle.clock.stamp());
                    let error = refuse(job, refusal_of(handle, Refusal::Closed), counts);
                    self.give_up();
                    return Poll::Ready(Err(error));
                }
                // they are all there: nobody waits any more
                std::mem::swap(&mut fan.slots, &mut self.slots);
                Poll::Ready(all_counted(several(fan, way, job, Wait::Never), counts))
            }
        }
    }
}

impl<T: Payload> ExchangePublisher<T> {
    /// Where a job goes: its hops, and how many alternates further on they are.
    fn route(&mut self, to: &Result<Address<'_>, KeyError>, job: Job<T>, hops: &mut Vec<Hop>) -> Result<(usize, Job<T>), RouteError<T>> {
        let to = match to {
            Ok(to) => to,
            Err(error) => return Err(refuse(job, RouteRefusal::BadKey(error.clone()), &self.counts)),
        };
        let refusal = match (self.ways.find(to, &job.payload, &self.exchange.inner), &mut self.alternate) {
            (Ok(([], _)), Some(alternate)) => {
                self.counts.add(Count::ToAlternate, 1);
                return alternate.route(&Ok(*to), job, hops).map(|(alternates, job)| (alternates + 1, job));
            }
            (Ok(([], _)), None) => self.exchange.unroutable(),
            (Ok((way, _)), _) => {
                hops.extend_from_slice(way);
                return Ok((0, job));
            }
            (Err(refusal), _) => refusal,
        };
        Err(refuse(job, refusal, &self.counts))
    }

    /// The publisher of the exchange that is so many alternates further on.
    fn beyond(&mut self, alternates: usize) -> &mut Self {
        (0..alternates).fold(self, |publisher, _| publisher.alternate.as_deref_mut().expect("it was there"))
    }
}

impl<T: Payload, R: Taken<T>> Future for PublishRouted<'_, '_, T, R> {
    type Output = Result<R, RouteError<T>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let job = this.job.take().expect("a publish was polled after it was done");
        this.look(job, context.waker())
    }
}

// the job is never pinned in place
impl<T: Payload, R> Unpin for PublishRouted<'_, '_, T, R> {}

impl<T: Payload, R> Drop for PublishRouted<'_, '_, T, R> {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl<T: Payload, R> fmt::Debug for PublishRouted<'_, '_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishRouted").field("publisher", &self.publisher).field("done", &self.job.is_none()).finish_non_exhaustive()
    }
}
