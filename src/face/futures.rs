//! Publishing and receiving for tasks: plain futures, for any executor.
//!
//! They borrow their handle mutably. So one handle waits for one thing at a time, which lets it keep its place in the lines for the next wait, and a future can be
//! sent to another thread although a handle cannot be shared.

use super::consumer::{Consumer, Delivery};
use super::producer::Producer;
use crate::error::{PublishError, RecvError};
use crate::id::JobId;
use crate::job::{Job, Payload};
use crate::queue::When;
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
}

impl<T: Payload> Future for PublishAsync<'_, T> {
    type Output = Result<JobId, PublishError<T>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        assert!(this.job.is_some(), "a publish was polled after it was done");
        let first = !std::mem::replace(&mut this.waits, true);
        this.producer.poll_publish(&mut this.job, When::Now, first, context.waker())
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
