//! Publishing and receiving for tasks: plain futures, for any executor.
//!
//! They borrow their handle mutably. So one handle waits for one thing at a time, which lets it keep its place in the lines for the next wait, and a future can be
//! sent to another thread although a handle cannot be shared.

use super::completion::Completion;
use super::consumer::{Consumer, Delivery};
use super::producer::Producer;
use crate::error::{PublishError, RecvError};
use crate::id::JobId;
use crate::job::{Job, Payload};
use crate::queue::{Watch, When};
use crate::request::Request;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A job on its way into its queue; made by [`Producer::publish_async`].
///
/// Dropped before it is done, it leaves the line, a slot that it was just given goes to the next, and the job is dropped; [`into_job`](Self::into_job) keeps it.
///
/// # Panics
/// When it is polled after it was done.
#[must_use = "a future does nothing unless it is polled"]
pub struct PublishAsync<'a, T: Payload> {
    producer: &'a mut Producer<T>,
    /// `None` once done.
    job: Option<Job<T>>,
    /// It was polled, and may stand in the line.
    waits: bool,
}

impl<'a, T: Payload> PublishAsync<'a, T> {
    pub(super) fn new(producer: &'a mut Producer<T>, job: Job<T>) -> Self {
        PublishAsync { producer, job: Some(job), waits: false }
    }

    /// Gives up, and gives the job back; `None` when it was published or refused.
    pub fn into_job(mut self) -> Option<Job<T>> {
        self.job.take()
    }

    fn poll_as(&mut self, when: When<'_>, context: &mut Context<'_>) -> Poll<Result<JobId, PublishError<T>>> {
        assert!(self.job.is_some(), "a publish was polled after it was done");
        let first = !std::mem::replace(&mut self.waits, true);
        self.producer.poll_publish(&mut self.job, when, first, context.waker())
    }
}

impl<T: Payload> Future for PublishAsync<'_, T> {
    type Output = Result<JobId, PublishError<T>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().poll_as(When::Now, context)
    }
}

// the job is never pinned in place
impl<T: Payload> Unpin for PublishAsync<'_, T> {}

impl<T: Payload> Drop for PublishAsync<'_, T> {
    fn drop(&mut self) {
        if self.waits {
            self.producer.leave_line();
        }
    }
}

impl<T: Payload> fmt::Debug for PublishAsync<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishAsync").field("producer", &self.producer).field("done", &self.job.is_none()).finish_non_exhaustive()
    }
}

/// A job on its way into its queue, whose end will be waited for; made by [`Producer::publish_watched_async`].
///
/// As [`PublishAsync`], but for the handle that it yields.
///
/// # Panics
/// When it is polled after it was done.
#[must_use = "a future does nothing unless it is polled"]
#[derive(Debug)]
pub struct PublishWatched<'a, T: Request> {
    publish: PublishAsync<'a, T>,
    watch: Watch,
}

impl<'a, T: Request> PublishWatched<'a, T> {
    pub(super) fn new(publish: PublishAsync<'a, T>) -> Self {
        PublishWatched { publish, watch: Watch::new(None) }
    }

    /// As [`PublishAsync::into_job`].
    pub fn into_job(self) -> Option<Job<T>> {
        self.publish.into_job()
    }
}

impl<T: Request> Future for PublishWatched<'_, T> {
    type Output = Result<Completion<T::Answer>, PublishError<T>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let PublishWatched { publish, watch } = self.get_mut();
        let published = publish.poll_as(When::Watched(watch), context);
        published.map_ok(|job| Completion::new(publish.producer, watch, job))
    }
}

/// The next job; made by [`Consumer::recv_async`].
///
/// Dropped before it is done, it has taken nothing, and if it had just been woken for a job, another consumer is.
#[must_use = "a future does nothing unless it is polled"]
#[derive(Debug)]
pub struct RecvAsync<'a, T: Payload> {
    consumer: &'a mut Consumer<T>,
}

impl<'a, T: Payload> RecvAsync<'a, T> {
    pub(super) fn new(consumer: &'a mut Consumer<T>) -> Self {
        RecvAsync { consumer }
    }
}

impl<T: Payload> Future for RecvAsync<'_, T> {
    type Output = Result<Delivery<T>, RecvError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.consumer.poll_recv(context.waker())
    }
}

impl<T: Payload> Drop for RecvAsync<'_, T> {
    fn drop(&mut self) {
        self.consumer.rouse();
    }
}
