//! A task waits for a slot.

use super::{Publisher, Queue, When};
use crate::clock::Clock;
use crate::error::{PublishError, Refusal};
use crate::id::JobId;
use crate::job::{Job, Payload};
use std::task::{Poll, Waker};

impl<T: Payload> Queue<T> {
    /// One look of a task that publishes: takes `job` when it is published or refused. The `first` look checks the job and joins the line, the others go on
    /// from there.
    pub fn poll_publish(
        &self,
        publisher: &Publisher,
        job: &mut Option<Job<T>>,
        when: When<'_>,
        first: bool,
        waker: &Waker,
        clock: &dyn Clock,
    ) -> Poll<Result<JobId, PublishError<T>>> {
        let Some(wanted) = job.take() else { return Poll::Pending };
        let checked = if first { self.check_publish(publisher, &wanted, || clock.stamp()) } else { Ok(()) };
        let published = match checked {
            Err(refusal) => self.replace(publisher, PublishError::new(wanted, refusal), when, true, clock.stamp()).map(Some),
            Ok(()) => match self.poll_slot(publisher, wanted.lane, first, waker) {
                Poll::Pending => {
                    *job = Some(wanted);
                    Ok(None)
                }
                Poll::Ready(Ok(index)) => self.admit_late(publisher, index, wanted, when, clock.stamp()).map(Some),
                Poll::Ready(Err(refusal)) => Err(PublishError::new(wanted, refusal)),
            },
        };
        match published {
            Ok(None) => Poll::Pending,
            Ok(Some(id)) => Poll::Ready(Ok(id)),
            Err(error) => {
                publisher.count_refusal(error.refusal(), clock.stamp());
                Poll::Ready(Err(error))
            }
        }
    }

    /// One look of a task that waits for a slot for a job in `lane`; the `first` joins the line.
    ///
    /// # Errors
    /// Closed.
    pub fn poll_slot(&self, publisher: &Publisher, lane: usize, first: bool, waker: &Waker) -> Poll<Result<u32, Refusal>> {
        // whoever has no deadline is only told when the queue closes
        let slot = self.credits.poll(&self.slab, &publisher.accounts, lane, first, waker, || self.is_closed()).map_err(|_| Refusal::Closed);
        if slot.is_pending() {
            self.tell_if_untold();
        }
        slot
    }

    /// A task does not wait any more: it leaves the line, and a slot that it was just given goes to the next.
    pub fn leave_line(&self, publisher: &Publisher) {
        self.credits.leave(&self.slab, &publisher.accounts);
    }
}
