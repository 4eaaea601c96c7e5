//! Handles to the ends of jobs: every end, once; what is no end; waiting, awaiting, cancelling, letting go.

use super::*;
use crate::{
    CancelCause, Completion, Context, DeadLetterConfig, DeathReason, Dedupe, End, Job, JobError, Overflow, Request, Verdict, WaitError,
};
use std::future::Future;
use std::pin::pin;
use std::task::{Poll, Waker};

/// A question; the answer is a text.
#[derive(Debug, PartialEq, Eq)]
struct Ask(u32);

impl Payload for Ask {}

impl Request for Ask {
    type Answer = String;
}

impl Request for Counted {
    type Answer = Counted;
}

fn fatal() -> JobError {
    JobError::fatal("no")
}

fn asked(pull: &Pull<Ask>, number: u32) -> Completion<String> {
    pull.producer.watched().publish(Ask(number)).unwrap()
}

fn next(pull: &Pull<Ask>) -> Delivery<Ask> {
    pull.get().expect("a job is ready")
}

/// The end, which has come by now and comes once.
fn end_of<A: 'static>(handle: &mut Completion<A>) -> End {
    assert!(handle.is_over(), "the end has not been told");
    let end = handle.try_take().expect("nobody has taken it").end;
    assert!(handle.is_over() && handle.try_take().is_none());
    assert_eq!(handle.wait().err(), Some(WaitError::Taken));
    end
}

/// A way for a job to come to its end, when it is number 1 and the first in the queue.
type Way = fn(&Pull<Ask>, &Completion<String>);

/// Every way that needs no special queue, and what the handle yields.
const WAYS: [(&str, End, Way); 14] = [
    ("acked", End::Acked, |pull, _| next(pull).ack().unwrap()),
    ("completed", End::Acked, |pull, _| next(pull).complete("42".to_owned()).unwrap()),
    ("chained", End::Acked, |pull, _| {
        next(pull).complete_with(Ask(2)).unwrap();
        next(pull).ack().unwrap();
    }),
    ("discarded", End::Discarded, |pull, _| next(pull).settle(Verdict::Discard).unwrap()),
    ("rejected", End::DeadLettered(DeathReason::Rejected), |pull, _| next(pull).reject(fatal()).unwrap()),
    ("out of attempts", End::DeadLettered(DeathReason::TooManyAttempts), |pull, handle| {
        next(pull).retry("once").unwrap();
        assert!(!handle.is_over(), "a retry is no end");
        next(pull).retry("twice").unwrap();
    }),
    ("out of leases", End::DeadLettered(DeathReason::TooManyExpiries), |pull, handle| {
        let stuck = [next(pull), {
            pull.advance(secs(40));
            assert!(!handle.is_over(), "a lease that runs out is no end");
            next(pull)
        }];
        pull.advance(secs(40));
        assert!(!handle.is_over(), "its last holder has not left");
        stuck.into_iter().for_each(|delivery| assert!(delivery.ack().is_err()));
    }),
    ("expired", End::DeadLettered(DeathReason::Expired), |pull, _| {
        pull.advance(secs(3600));
        assert!(pull.get().is_none());
    }),
    ("cancelled while waiting", End::Cancelled, |pull, handle| {
        assert!(handle.cancel());
        assert!(pull.get().is_none());
    }),
    ("cancelled while running", End::Cancelled, |pull, handle| {
        let delivery = next(pull);
        assert!(handle.cancel() && delivery.cancelled() == Some(CancelCause::Cancelled) && !handle.is_over());
        delivery.retry("interrupted").unwrap();
    }),
    ("cancelled and stuck", End::Cancelled, |pull, handle| {
        let delivery = next(pull);
        assert!(handle.cancel());
        pull.advance(secs(40));
        assert!(handle.is_over(), "the timer ended it");
        assert!(delivery.ack().is_err());
    }),
    ("cancelled while delayed", End::Cancelled, |pull, handle| {
        next(pull).snooze(secs(60)).unwrap();
        assert!(handle.cancel());
        pull.advance(ms(2));
        assert!(pull.get().is_none());
    }),
    ("purged", End::Purged, |pull, _| assert_eq!(pull.queue.purge(), 1)),
    ("answered though cancelled", End::Acked, |pull, handle| {
        let delivery = next(pull);
        assert!(handle.cancel());
        delivery.ack().unwrap();
    }),
];

fn of_all_ways() -> QueueConfig {
    let retry = at_once_up_to(2).max_expiries(1);
    q(4).retry(retry).completed_records(10, secs(24 * 3600)).dedupe(Dedupe::WhileLive, 8)
}

#[test]
fn every_end_is_told_once_and_counted_and_recorded() {
    for (name, end, way) in WAYS {
        let pull = Pull::new(of_all_ways());
        let job = Job::new(Ask(1)).key("the one").ttl(secs(1800));
        let mut handle = pull.producer.watched().publish(job).unwrap();
        assert!(!handle.is_over() && handle.try_take().is_none(), "{name}");
        way(&pull, &handle);
        let counts = pull.settled();
        let told = handle.try_take().unwrap_or_else(|| panic!("{name}: nothing was told"));
        assert_eq!((told.job, told.end), (handle.job_id(), end), "{name}");
        assert_eq!(told.answer.is_some(), name == "completed", "{name}");
        assert_eq!(told.error.is_some(), ["rejected", "out of attempts"].contains(&name), "{name}");
        assert!(!handle.cancel() && handle.try_take().is_none(), "{name}");
        let counted = match end {
            End::Acked => counts.acked - u64::from(name == "chained"),
            End::Discarded => counts.dropped_discarded,
            End::Cancelled => counts.dropped_cancelled,
            End::Purged => counts.dropped_purged,
            End::DeadLettered(_) => counts.dead_lettered,
            _ => unreachable!(),
        };
        assert_eq!(counted, 1, "{name}: {counts:?}");
        let record = pull.queue.completed_job(handle.job_id()).unwrap_or_else(|| panic!("{name}: no record"));
        assert_eq!(record.end, end, "{name}");
        assert_eq!(u64::from(record.attempts), counts.started - u64::from(name == "chained"), "{name}");
        assert!(record.ended >= record.published, "{name}");
        assert_eq!(pull.queue.completed().iter().filter(|record| record.job == handle.job_id()).count(), 1, "{name}");
        assert!(pull.producer.publish(Job::new(Ask(3)).key("the one")).is_ok(), "{name}: its key is free");
    }
}

#[test]
fn what_overflows_is_told_to_its_publisher() {
    let pull = Pull::new(q(1).overflow(Overflow::DropOldest));
    let (mut old, mut new) = (asked(&pull, 1), asked(&pull, 2));
    assert_eq!(end_of(&mut old), End::DeadLettered(DeathReason::OverLength));
    next(&pull).ack().unwrap();
    assert_eq!(end_of(&mut new), End::Acked);
    pull.settled();

    let pull = Pull::new(q(1).overflow(Overflow::DropNew).completed_records(9, secs(9)));
    let (mut old, mut new) = (asked(&pull, 1), asked(&pull, 2));
    assert_eq!(end_of(&mut new), End::DeadLettered(DeathReason::OverLength));
    assert_eq!(pull.queue.completed_job(new.job_id()).unwrap().attempts, 0);
    assert!(!old.is_over() && !new.cancel());
    next(&pull).ack().unwrap();
    assert_eq!(end_of(&mut old), End::Acked);
    pull.settled();
}

#[test]
fn a_job_that_its_publisher_ran_is_over_with_its_answer() {
    let answer = |ask: &Ask, context: &Context<Ask>| match ask.0 {
        0 => Verdict::Discard,
        9 => Verdict::Reject(fatal()),
        number => context.complete(number.to_string()),
    };
    let push = Push::new(q(1).overflow(Overflow::CallerRuns).completed_records(9, secs(9)), answer);
    let publish = |number| push.producer.watched().publish(Ask(number));
    let mut waits = publish(1).unwrap();
    let mut ran = publish(2).unwrap();
    assert_eq!(ran.try_take().unwrap().answer.as_deref(), Some("2"));
    assert_eq!(end_of(&mut publish(0).unwrap()), End::Discarded);
    assert_eq!(publish(9).unwrap_err().into_inner(), Ask(9));
    assert_eq!(push.queue.completed().iter().map(|record| record.attempts).collect::<Vec<_>>(), [1, 1]);
    push.turn();
    assert_eq!(waits.wait().unwrap().answer.as_deref(), Some("1"));
    push.settled();
}

#[test]
fn a_dead_job_that_is_held_has_not_ended() {
    let pull = Pull::new(q(4).dead_letters(DeadLetterConfig::new().capacity(1)));
    let mut handles: Vec<_> = (0..3).map(|number| asked(&pull, number)).collect();
    (0..3).for_each(|_| next(&pull).reject(fatal()).unwrap());
    assert_eq!(handles.iter().map(Completion::is_over).collect::<Vec<_>>(), [true, false, false]);
    drop(pull.queue.dead_letters().take());
    assert_eq!(end_of(&mut handles[1]), End::DeadLettered(DeathReason::Rejected));
    assert!(!handles[2].is_over() && !handles[2].cancel());
    let (queue, mut report) = (pull.queue.clone(), pull.runtime.shutdown(at_once()));
    assert_eq!(end_of(&mut handles[2]), End::HandedBack);
    assert_eq!(report.take_undone(&queue).len(), 1);
}

#[test]
fn a_redriven_job_has_another_life_that_its_handle_does_not_follow() {
    let pull = Pull::new(q(1).completed_records(9, secs(9)));
    let mut handle = asked(&pull, 1);
    next(&pull).reject(fatal()).unwrap();
    assert!(pull.queue.dead_letters().redrive().unwrap());
    assert!(!handle.cancel(), "its slot and its id are those of its next life");
    let delivery = next(&pull);
    assert_eq!(delivery.job_id(), handle.job_id());
    delivery.complete("too late".to_owned()).unwrap();
    let outcome = handle.try_take().unwrap();
    assert_eq!((outcome.end, outcome.answer), (End::DeadLettered(DeathReason::Rejected), None));
    assert_eq!(outcome.error.as_deref(), Some("no"));
    let ends: Vec<End> = pull.queue.completed().iter().map(|record| record.end).collect();
    assert_eq!(ends, [End::DeadLettered(DeathReason::Rejected), End::Acked]);
    assert_eq!(pull.queue.completed_job(handle.job_id()).unwrap().end, End::Acked, "the latest");
    pull.settled();
}

#[test]
fn a_redrive_that_makes_room_for_a_held_job_tells_of_its_death() {
    let pull = Pull::new(q(2).dead_letters(DeadLetterConfig::new().capacity(1)));
    let mut handles: Vec<_> = (0..3)
        .map(|number| {
            let handle = asked(&pull, number);
            next(&pull).reject(fatal()).unwrap();
            handle
        })
        .collect();
    assert_eq!(pull.queue.depth(), 2, "dead letters and slots are full");
    assert!(pull.queue.dead_letters().redrive().unwrap());
    assert_eq!(end_of(&mut handles[1]), End::DeadLettered(DeathReason::Rejected));
    assert!(!handles[2].is_over());
    pull.settled();
}

#[test]
fn the_answer_is_that_of_the_delivery_that_counted() {
    let pull = Pull::new(q(2));
    let mut handle = asked(&pull, 1);
    let late = next(&pull);
    pull.advance(secs(40));
    let current = next(&pull);
    let (stale, answer) = late.complete("late".to_owned()).unwrap_err();
    assert_eq!((stale.became(), answer.as_str()), (crate::Became::Redelivered, "late"));
    assert!(!handle.is_over());
    current.complete("current".to_owned()).unwrap();
    assert_eq!(handle.wait().unwrap().answer.as_deref(), Some("current"));
    pull.settled();
}

#[test]
fn a_job_ends_though_a_late_handler_keeps_its_slot() {
    let pull = Pull::new(q(1).completed_records(9, secs(900)));
    let mut handle = asked(&pull, 1);
    let late = next(&pull);
    pull.advance(secs(40));
    next(&pull).complete("done".to_owned()).unwrap();
    assert_eq!(handle.wait().unwrap().answer.as_deref(), Some("done"));
    assert!(pull.producer.watched().publish(Ask(2)).unwrap_err().is_full());
    assert!(late.ack().is_err());
    let mut second = asked(&pull, 2);
    assert!(!second.is_over() && pull.queue.completed().len() == 1, "nothing is told twice");
    next(&pull).ack().unwrap();
    assert_eq!(end_of(&mut second), End::Acked);
    pull.settled();
}

#[test]
fn a_shutdown_tells_everybody() {
    let pull = Pull::new(q(8).completed_records(9, secs(900)));
    let mut waiting = asked(&pull, 1);
    let failing = next(&pull);
    let mut running = waiting;
    waiting = asked(&pull, 2);
    let mut delayed = pull.producer.watched().publish_after(Ask(3), secs(60)).unwrap();
    let mut refused = Vec::new();
    let Pull { runtime, queue, producer, consumer, .. } = pull;
    let mut report = runtime.shutdown(at_once());
    refused.extend(producer.watched().publish(Ask(4)).err());
    assert!(refused[0].is_closed());
    assert_eq!(end_of(&mut waiting), End::HandedBack);
    assert_eq!(end_of(&mut delayed), End::HandedBack);
    assert!(!running.is_over());
    failing.retry("again").unwrap();
    assert_eq!(end_of(&mut running), End::HandedBack);
    assert_eq!(queue.completed_job(running.job_id()).unwrap().attempts, 1);
    let mut numbers: Vec<u32> = report.take_undone(&queue).into_iter().map(|undone| undone.payload.0).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
    drop(consumer);
}

#[test]
fn a_publish_that_meets_the_stop_has_its_job_back_and_no_handle() {
    let mut builder = Runtime::builder().manual(Arc::new(ManualClock::new()));
    let queue = builder.pull_queue::<Ask>(q(4)).unwrap();
    let producer = queue.producer().unwrap();
    let mut early = producer.watched().publish(Ask(1)).unwrap();
    drop(builder);
    assert_eq!(end_of(&mut early), End::HandedBack);
    assert!(producer.watched().publish(Ask(2)).unwrap_err().is_closed());
    assert_eq!(queue.reclaim().len(), 1);
}

#[test]
fn a_handle_waits_in_another_thread_and_has_a_deadline() {
    watched(|| {
        let mut builder = Runtime::builder();
        let queue = builder.pull_queue::<Ask>(q(4)).unwrap();
        let runtime = builder.build().unwrap();
        let (producer, consumer) = (queue.producer().unwrap(), queue.consumer().unwrap());
        let mut handle = producer.watched().publish(Ask(1)).unwrap();
        assert_eq!(handle.wait_timeout(ms(5)).err(), Some(WaitError::TimedOut));
        let waiter = std::thread::spawn(move || handle.wait().unwrap());
        std::thread::sleep(ms(20));
        consumer.recv().unwrap().complete("yes".to_owned()).unwrap();
        assert_eq!(waiter.join().unwrap().answer.as_deref(), Some("yes"));
        drop(runtime);
    });
}

#[test]
fn a_handler_waits_for_its_own_runtime_only_with_a_deadline() {
    watched(|| {
        let (tell, told) = mpsc::channel();
        let tell = crate::sync::Mutex::new(tell);
        let inner = crate::sync::Mutex::new(None::<Producer<Ask>>);
        let inner = Arc::new(inner);
        let handler = {
            let inner = Arc::clone(&inner);
            move |ask: &Ask, context: &Context<Ask>| {
                if ask.0 == 0 {
                    let mut handle = inner.lock().as_ref().expect("it was put there").watched().publish(Ask(1)).unwrap();
                    let mut errors = vec![handle.wait().unwrap_err(), handle.wait_timeout(Duration::MAX).unwrap_err()];
                    let polled = pin!(&mut handle).poll(&mut std::task::Context::from_waker(Waker::noop()));
                    if let Poll::Ready(Err(error)) = polled {
                        errors.push(error);
                    }
                    errors.push(handle.wait_timeout(ms(5)).unwrap_err());
                    tell.lock().send((errors, handle)).unwrap();
                }
                context.complete(ask.0.to_string())
            }
        };
        let mut builder = Runtime::builder();
        let queue = builder.queue(q(4), handler).unwrap();
        builder.pool(PoolConfig::new("default").workers(1)).unwrap();
        let runtime = builder.build().unwrap();
        *inner.lock() = Some(queue.producer().unwrap());
        let mut outer = queue.producer().unwrap().watched().publish(Ask(0)).unwrap();
        let (errors, mut handle) = told.recv().unwrap();
        let [deadlock, late] = [WaitError::WouldDeadlock, WaitError::TimedOut];
        assert_eq!(errors, [deadlock, deadlock, deadlock, late]);
        assert_eq!(outer.wait().unwrap().answer.as_deref(), Some("0"));
        assert_eq!(handle.wait().unwrap().answer.as_deref(), Some("1"));
        inner.lock().take();
        runtime.shutdown(ShutdownOptions::default());
    });
}

#[test]
fn a_handler_has_what_is_over_without_waiting_and_waits_for_other_runtimes() {
    watched(|| {
        let mut far = Runtime::builder();
        let far_queue = far.queue(q(4), |ask: &Ask, context: &Context<Ask>| context.complete(format!("far {}", ask.0))).unwrap();
        let far = far.build().unwrap();
        let handler = move |ask: &Ask, context: &Context<Ask>| {
            let mut handle = far_queue.producer().unwrap().watched().publish(Ask(ask.0)).unwrap();
            context.complete(handle.wait().unwrap().answer.unwrap())
        };
        let mut near = Runtime::builder();
        let near_queue = near.queue(q(4), handler).unwrap();
        let near = near.build().unwrap();
        let mut handle = near_queue.producer().unwrap().watched().publish(Ask(7)).unwrap();
        assert_eq!(handle.wait().unwrap().answer.as_deref(), Some("far 7"));
        near.shutdown(ShutdownOptions::default());
        far.shutdown(ShutdownOptions::default());
    });
}

#[test]
fn a_handle_is_awaited_and_may_move_between_tasks() {
    let pull = Pull::new(q(4));
    let mut handle = asked(&pull, 1);
    let [first, second] = [Arc::new(Woken::default()), Arc::new(Woken::default())];
    for woken in [&first, &second] {
        let waker = Waker::from(Arc::clone(woken));
        assert!(pin!(&mut handle).poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    }
    next(&pull).complete("hello".to_owned()).unwrap();
    assert_eq!([first.times(), second.times()], [0, 1], "the latest is woken");
    let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let outcome = tokio.block_on(&mut handle).unwrap();
    assert_eq!(outcome.answer.as_deref(), Some("hello"));
    assert_eq!(tokio.block_on(handle).err(), Some(WaitError::Taken));
}

#[derive(Default)]
struct Woken(std::sync::atomic::AtomicUsize);

impl Woken {
    fn times(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn handles_of_jobs_may_be_dropped_in_every_order_and_nothing_leaks() {
    // what goes at which step: the handle, the producer, the queue's handle, the runtime (and its consumer), the job
    let mut orders: Vec<Vec<usize>> = vec![vec![]];
    for part in 0..5 {
        orders =
            orders.into_iter().flat_map(|order| (0..=order.len()).map(move |at| [&order[..at], &[part], &order[at..]].concat())).collect();
    }
    assert_eq!(orders.len(), 120);
    for order in orders {
        let census = Census::default();
        let pull = Pull::<Counted>::new(q(4));
        let mut handle = Some(pull.producer.watched().publish(census.born(1)).unwrap());
        let _waits = pull.producer.watched().publish(census.born(2)).unwrap();
        let mut delivery = pull.get();
        let Pull { runtime, queue, producer, consumer, .. } = pull;
        let (mut producer, mut queue, mut runtime) = (Some(producer), Some(queue), Some((runtime, consumer)));
        for &part in &order {
            match part {
                0 => drop(handle.take()),
                1 => drop(producer.take()),
                2 => drop(queue.take()),
                3 => drop(runtime.take().map(|(runtime, consumer)| (runtime.shutdown(at_once()), consumer))),
                _ => {
                    delivery.take().unwrap().complete(census.born(3)).unwrap();
                    let outcome = handle.as_mut().map(|handle| handle.wait().unwrap());
                    assert!(outcome.is_none_or(|outcome| outcome.answer.unwrap().number == 3), "{order:?}");
                }
            }
        }
        assert_eq!(census.alive(), 0, "{order:?}");
    }
}

#[test]
fn a_queue_that_goes_with_its_jobs_tells_that_they_are_lost() {
    let pull = Pull::new(q(4));
    let mut handle = asked(&pull, 1);
    // a handler that never comes back, as far as the queue can see
    let queue = Arc::downgrade(&pull.queue.queue);
    let stuck = pull.queue.queue.open_claimer(0, true, 1).unwrap();
    let mut stuck = stuck;
    let lease = stuck.next(pull.runtime.now()).unwrap();
    drop(stuck);
    let Pull { runtime, queue: handles, producer, consumer, .. } = pull;
    runtime.shutdown(at_once());
    assert!(!handle.is_over(), "it runs");
    drop((handles, producer, consumer, lease));
    assert!(queue.upgrade().is_none());
    assert_eq!(end_of(&mut handle), End::Lost);
    assert!(!handle.cancel());
}

/// An answer whose drop panics.
struct Bomb(Arc<AtomicI64>);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
        panic!("the answer does not want to go");
    }
}

struct Fuse(Arc<AtomicI64>);

impl Payload for Fuse {}

impl Request for Fuse {
    type Answer = Bomb;
}

#[test]
fn an_answer_whose_drop_panics_fails_no_job_and_stops_no_worker() {
    let answer = |fuse: &Fuse, context: &Context<Fuse>| context.complete(Bomb(Arc::clone(&fuse.0)));
    let gone = Arc::new(AtomicI64::new(0));
    let fuse = || Fuse(Arc::clone(&gone));
    let push = Push::new(q(8), answer);
    let watched = push.producer.watched();
    let [dropped, taken, left] = [(); 3].map(|()| watched.publish(fuse()).unwrap());
    push.producer.publish(fuse()).unwrap(); // nobody waits for it
    drop(dropped);
    push.turn();
    let counts = push.settled();
    assert_eq!((counts.acked, counts.panics, counts.drop_panics, gone.load(SeqCst)), (4, 0, 2, 2), "in the worker: kept in and counted");
    // in the hands of whoever owns them: his own
    let mut taken = taken;
    let outcome = taken.wait().unwrap();
    let mine = |act: Box<dyn FnOnce()>| assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).is_err());
    mine(Box::new(move || drop(outcome)));
    mine(Box::new(move || drop(left)));
    drop(taken);
    assert_eq!((gone.load(SeqCst), push.settled().drop_panics), (4, 2));
}

#[test]
fn an_answer_goes_with_its_verdict() {
    let census = Census::default();
    let handler = {
        let census = census.clone();
        move |_: &Counted, context: &Context<Counted>| {
            let done = context.complete(census.born(10));
            match context.attempt() {
                1 => Verdict::Retry("changed its mind".into()),
                2 => context.complete(census.born(20)), // the later one counts
                _ => done,
            }
        }
    };
    let push = Push::new(q(8).retry(at_once_up_to(3)), handler);
    let mut handle = push.producer.watched().publish(census.born(1)).unwrap();
    let mut chained = push.producer.watched().publish(census.born(2)).unwrap();
    assert!(chained.cancel());
    push.turn();
    assert_eq!(handle.wait().unwrap().answer.unwrap().number, 20);
    assert_eq!(end_of(&mut chained), End::Cancelled);
    assert_eq!((census.alive(), push.settled().drop_panics), (0, 0));
}

#[test]
fn a_net_for_panics_drops_the_answer_that_was_on_its_way() {
    let census = Census::default();
    let handler = {
        let census = census.clone();
        move |_: &Counted, context: &Context<Counted>| -> Verdict {
            let _ = context.complete(census.born(10));
            panic!("behind the answer")
        }
    };
    let net = |_: &Counted, _: &Context<Counted>, _: &str| Verdict::Ack;
    let push = Push::new(q(8), crate::Layers::new().catch_panic(net).handler(handler));
    let mut handle = push.producer.watched().publish(census.born(1)).unwrap();
    push.turn();
    let completed = handle.wait().unwrap();
    assert_eq!((completed.end, completed.answer.is_none(), census.alive()), (End::Acked, true, 0));
}

#[test]
fn an_answer_and_a_follow_up_may_go_together() {
    let handler = |ask: &Ask, context: &Context<Ask>| {
        if ask.0 > 0 {
            let _ = context.complete_with(Ask(ask.0 - 1));
        }
        context.complete(ask.0.to_string())
    };
    let push = Push::new(q(2), handler);
    let mut handle = push.producer.watched().publish(Ask(3)).unwrap();
    push.turn();
    assert_eq!(handle.wait().unwrap().answer.as_deref(), Some("3"));
    assert_eq!(push.settled().acked, 4);
}

/// Producers that wait, cancel, give up and let go; handlers that answer, fail, reject, discard and panic.
#[test]
fn every_handle_is_told_once_and_the_ledger_agrees() {
    watched(|| {
        let handler = |ask: &Ask, context: &Context<Ask>| match ask.0 % 11 {
            0 => Verdict::Discard,
            1 => Verdict::Reject(fatal()),
            2 if context.attempt() == 1 => Verdict::Snooze(ms(1)),
            3 if context.attempt() == 1 => panic!("once"),
            4 => Verdict::Ack,
            _ => context.complete(ask.0.to_string()),
        };
        let letters = DeadLetterConfig::new().overflow(crate::DeadLetterOverflow::DropOldest);
        let mut builder = Runtime::builder();
        let config = q(64).overflow(Overflow::Block(secs(20))).retry(at_once_up_to(3)).dead_letters(letters);
        let queue = builder.queue(config, handler).unwrap();
        builder.pool(PoolConfig::new("default").workers(3)).unwrap();
        let runtime = builder.build().unwrap();
        let threads: Vec<_> = (0..4u32)
            .map(|thread| {
                let producer = queue.producer().unwrap();
                std::thread::spawn(move || {
                    let (mut told, mut dropped) = (Counts::default(), 0);
                    for round in 0..3000u32 {
                        let number = round * 4 + thread;
                        let mut handle = producer.watched().publish(Ask(number)).unwrap();
                        match number % 7 {
                            0 => {
                                dropped += 1;
                                continue;
                            }
                            1 => drop(handle.cancel()),
                            2 => drop(handle.wait_timeout(Duration::ZERO).map(|outcome| note(&mut told, number, outcome))),
                            _ => {}
                        }
                        match handle.wait() {
                            Ok(outcome) => note(&mut told, number, outcome),
                            Err(error) => assert!(error == WaitError::Taken && number % 7 == 2),
                        }
                    }
                    (told, dropped)
                })
            })
            .collect();
        let (mut told, mut dropped) = ([0; 4], 0);
        for thread in threads {
            let (counts, let_go) = thread.join().unwrap();
            for (sum, count) in
                told.iter_mut().zip([counts.acked, counts.dead_lettered, counts.dropped_discarded, counts.dropped_cancelled])
            {
                *sum += count;
            }
            dropped += let_go;
        }
        let report = runtime.shutdown(ShutdownOptions::default());
        assert!(report.queue("q").unwrap().ledger_balances());
        let counts = queue.counts();
        let counted = [counts.acked, counts.dead_lettered, counts.dropped_discarded, counts.dropped_cancelled];
        assert_eq!(told.iter().sum::<u64>() + dropped, counts.accepted);
        assert_eq!(counts.accepted, 12_000);
        assert!(told.iter().zip(counted).all(|(told, counted)| *told <= counted), "{told:?} {counted:?}");
    });
}

fn note(told: &mut Counts, number: u32, outcome: crate::Completed<String>) {
    match outcome.end {
        End::Acked => {
            assert_eq!(outcome.answer, (number % 11 != 4).then(|| number.to_string()));
            told.acked += 1;
        }
        End::DeadLettered(DeathReason::Rejected) => told.dead_lettered += 1,
        End::Discarded => told.dropped_discarded += 1,
        End::Cancelled => told.dropped_cancelled += 1,
        end => panic!("{end}"),
    }
}

#[test]
fn a_million_jobs_leave_as_many_records_as_are_to_be_kept_and_an_hour_later_none() {
    let push = Push::new(q(1000).completed_records(5000, secs(3600)), |_: &u32, _: &Context<u32>| ());
    for round in 0..1000u32 {
        let batch = push.producer.publish_batch(&mut (round * 1000..(round + 1) * 1000));
        assert_eq!(batch.accepted, 1000);
        push.turn();
    }
    let records = push.queue.completed();
    assert_eq!((records.len(), push.settled().acked), (5000, 1_000_000));
    assert!(records.iter().all(|record| (record.end, record.attempts) == (End::Acked, 1)));
    let ids: Vec<u64> = records.iter().map(|record| record.job.get()).collect();
    assert!(ids.is_sorted() && ids[4999] - ids[0] == 4999, "the last ones");
    assert!(push.queue.queue.records_reserved() <= 8192, "{}", push.queue.queue.records_reserved());
    push.advance(secs(3599));
    assert_eq!(push.queue.completed().len(), 5000);
    push.advance(secs(1));
    assert!(push.queue.completed().is_empty());
    push.advance(secs(1));
    assert!(push.queue.queue.records_reserved() <= 64, "the timer gives the memory back");
}

#[test]
fn a_queue_without_records_has_none_and_bounds_are_named() {
    let pull = Pull::new(q(4));
    let handle = asked(&pull, 1);
    next(&pull).ack().unwrap();
    assert!(pull.queue.completed().is_empty() && pull.queue.completed_job(handle.job_id()).is_none());
    let refused = |count, age| q(4).completed_records(count, age).validate().unwrap_err().to_string();
    assert_eq!(refused(0, secs(1)), "queue `q`: completed_records: count is 0, allowed is 1..=16777215");
    assert_eq!(refused(1 << 24, secs(1)), "queue `q`: completed_records: count is 16777216, allowed is 1..=16777215");
    assert_eq!(refused(1, Duration::ZERO), "queue `q`: completed_records: age is 0ns, allowed is 1ms or more");
    assert!(q(4).completed_records(1, Duration::MAX).validate().is_ok());
}

/// The job that waits out the window has an end of its own: a task is told so like everybody else, instead of being given a handle that never hears of any.
#[test]
fn a_task_that_would_wait_for_the_end_of_another_job_is_told_that_it_is_a_duplicate() {
    let window = Duration::from_secs(1);
    let pull = Pull::<Ask>::new(q(2).dedupe(Dedupe::Debounce(window), 4));
    let keyed = |number| Job::new(Ask(number)).key("k");
    let first = pull.producer.publish(keyed(1)).unwrap();
    let mut producer = pull.queue.producer().unwrap();
    let publish = pin!(producer.publish_watched_async(keyed(2)));
    let Poll::Ready(Err(error)) = publish.poll(&mut std::task::Context::from_waker(Waker::noop())) else {
        panic!("it is taken in, or waits")
    };
    assert_eq!(*error.refusal(), crate::Refusal::Duplicate { existing: first });
    pull.advance(window);
    let delivery = next(&pull);
    assert_eq!(delivery.payload(), &Ask(1));
    delivery.ack().unwrap();
    pull.settled();
}
