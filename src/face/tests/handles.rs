//! Handles: how many there may be, and in which order they may go.

use super::*;
use crate::limits::{ACCOUNTS_MAX, SLEEPERS_MAX};
use crate::{Context, HandleError, RecvError};

#[test]
fn a_queue_has_as_many_handles_as_it_says_and_no_more() {
    let pull = Pull::<u32>::new(q(16));
    let mut producers = Vec::new();
    let refused = loop {
        match pull.queue.producer() {
            Ok(producer) => producers.push(producer),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, HandleError::TooManyHandles);
    assert_eq!(refused.to_string(), "the queue already has 1024 handles");
    assert!((ACCOUNTS_MAX - 4..ACCOUNTS_MAX).contains(&producers.len()), "{}", producers.len());
    assert_eq!(pull.consumer.try_clone().unwrap_err(), HandleError::TooManyHandles);
    assert_eq!(producers[0].try_clone().unwrap_err(), HandleError::TooManyHandles);
    // a failed attempt leaves nothing behind
    for _ in 0..100 {
        assert!(pull.queue.producer().is_err() && pull.queue.consumer().is_err());
    }
    producers.truncate(producers.len() - 2);
    let consumer = pull.queue.consumer().unwrap();
    producers[7].publish(1).unwrap();
    consumer.try_recv().unwrap().ack().unwrap();
    drop((producers, consumer));
    pull.settled();
}

#[test]
fn a_pull_queue_has_as_many_consumers_as_can_sleep() {
    let pull = Pull::<u32>::new(q(16));
    let consumers: Vec<_> = (1..SLEEPERS_MAX).map(|_| pull.consumer.try_clone().unwrap()).collect();
    let refused = pull.queue.consumer().unwrap_err();
    assert_eq!(refused, HandleError::TooManyConsumers);
    assert_eq!(refused.to_string(), "the queue already has 56 consumers");
    drop(consumers);
    assert!(pull.queue.consumer().is_ok());
}

#[test]
fn a_queue_with_a_handler_has_no_consumers() {
    let push = Push::new(q(4), |_: &u32, _: &Context<u32>| ());
    let refused = push.queue.consumer().unwrap_err();
    assert_eq!(refused, HandleError::NotAPullQueue);
    assert_eq!(refused.to_string(), "the queue has a handler, so it has no consumers");
}

#[test]
fn handles_come_and_go_for_ever() {
    let pull = Pull::<u32>::new(q(16));
    for n in 0..3 * ACCOUNTS_MAX as u32 {
        let producer = pull.queue.producer().unwrap();
        producer.publish(n).unwrap();
        drop(producer);
        let consumer = pull.queue.consumer().unwrap();
        let delivery = consumer.try_recv().unwrap();
        drop(consumer);
        delivery.ack().unwrap();
    }
    assert_eq!(pull.settled().acked, 3 * ACCOUNTS_MAX as u64, "what they counted stays");
}

#[test]
fn slots_at_hand_of_a_producer_that_goes_are_not_lost() {
    let pull = Pull::<u32>::new(q(100));
    for _ in 0..50 {
        let producer = pull.queue.producer().unwrap();
        producer.publish(1).unwrap();
        pull.get().unwrap().ack().unwrap();
    }
    assert_eq!((0..200).take_while(|&n| pull.producer.try_publish(n).is_ok()).count(), 100);
}

/// Runtime, queue handle, producer, consumer and delivery, dropped in the order that `order` names.
fn dropped_in(order: [usize; 5]) {
    let census = Census::default();
    let pull = Pull::<Counted>::new(q(8).prefetch(4));
    for n in 0..6 {
        pull.producer.publish(census.born(n)).unwrap();
    }
    pull.producer.publish_after(census.born(6), secs(60)).unwrap();
    pull.get().unwrap().reject("no").unwrap();
    let delivery = pull.get();
    let Pull { runtime, queue, producer, consumer, .. } = pull;
    let (mut runtime, mut queue, mut producer, mut consumer, mut delivery) =
        (Some(runtime), Some(queue), Some(producer), Some(consumer), delivery);
    for which in order {
        match which {
            0 => drop(runtime.take()),
            1 => drop(queue.take()),
            2 => drop(producer.take()),
            3 => drop(consumer.take()),
            _ => drop(delivery.take()),
        }
        if runtime.is_none()
            && let Some(consumer) = &consumer
        {
            assert!(matches!(consumer.try_recv(), Err(RecvError::Closed)), "{order:?}");
        }
        if runtime.is_none()
            && let Some(producer) = &producer
        {
            assert!(producer.publish(census.born(9)).unwrap_err().is_closed(), "{order:?}");
        }
    }
    assert_eq!(census.alive(), 0, "{order:?}");
}

#[test]
fn handles_may_be_dropped_in_every_order() {
    watched(|| {
        let mut orders = 0;
        for code in 0..5usize.pow(5) {
            let order: [usize; 5] = std::array::from_fn(|at| code / 5usize.pow(at as u32) % 5);
            if (0..5).all(|which| order.contains(&which)) {
                dropped_in(order);
                orders += 1;
            }
        }
        assert_eq!(orders, 120);
    });
}

#[test]
fn handles_say_who_they_are() {
    let pull = Pull::<u32>::new(q(4));
    pull.producer.publish(1).unwrap();
    let text = format!("{:?} {:?} {:?} {:?} {:?}", pull.runtime, pull.queue, pull.producer, pull.consumer, pull.get());
    assert!(text.contains("QueueHandle(\"q\")") && text.contains("Delivery"), "{text}");
    assert_eq!((pull.queue.name(), pull.queue.capacity(), pull.queue.depth()), ("q", 4, 1));
}
