//! Copies of a fan-out between their slots and their lanes.

use super::*;
use crate::{Job, Refusal};

#[test]
fn a_copy_that_meets_the_stop_is_handed_back_like_its_siblings() {
    let bare = Bare::<u32>::new(&q(4));
    let slot = bare.queue.slot_at_hand(&bare.publisher, 0).unwrap();
    bare.queue.close();
    bare.queue.stop();
    assert!(bare.queue.hand_back().is_empty());
    bare.queue.lay_payload(slot, 7);
    bare.queue.publish_laid(&bare.publisher, slot, Job::new(()), When::Now, bare.clock.now());
    let undone: Vec<u32> = bare.queue.hand_back().into_iter().map(|undone| undone.payload).collect();
    assert_eq!((undone, bare.queue.free()), (vec![7], 4));
}

#[test]
fn a_job_alone_that_meets_the_stop_comes_back_to_its_publisher() {
    let bare = Bare::<u32>::new(&q(4));
    let slot = bare.queue.slot_at_hand(&bare.publisher, 0).unwrap();
    bare.queue.close();
    bare.queue.stop();
    let error = bare.queue.publish_into(&bare.publisher, slot, Job::new(7), bare.clock.now()).unwrap_err();
    assert!(error.is_closed() && error.into_inner() == 7);
    assert!(bare.queue.hand_back().is_empty());
    assert_eq!(bare.queue.free(), 4);
}

#[test]
fn a_slot_is_refused_for_a_reason_and_can_be_given_back() {
    let bare = Bare::<u32>::new(&q(1));
    let take = |lane| bare.queue.take_slot(&bare.publisher, lane, crate::key::Key::NONE, bare.clock.now());
    assert_eq!(take(1), Err(Refusal::NoSuchLane { lane: 1, lanes: 1 }));
    let slot = take(0).unwrap();
    assert_eq!(take(0), Err(Refusal::Full { retry_after: None }));
    bare.queue.give_slot_back(&bare.publisher, slot);
    assert_eq!(take(0), Ok(slot));
    bare.queue.close();
    assert_eq!(take(0), Err(Refusal::Closed));
}
